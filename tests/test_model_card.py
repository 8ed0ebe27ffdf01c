"""What is known of a run, and the model card that says it."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from evaluations import made_up_evaluation
from tiny import random_snapshot

from t2igan.data import Dataset, Skipped
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.report import facts
from t2igan.evaluation.report.data_card import data_card, write_data_card
from t2igan.evaluation.report.environment import environment
from t2igan.evaluation.report.model_card import escape, model_card
from t2igan.inference.examples import STAND_IN, captions_of, drawing_code
from t2igan.inference.snapshot import Snapshot, load_snapshot, put_model_card, save_snapshot

CAPTIONS = ["a person with a red cap", "a person with a blue top and glasses", "green hair"]


@pytest.fixture(scope="module")
def snapshot():
    return random_snapshot(CAPTIONS)


def small_dataset(split="train", n=4):
    pictures = np.zeros((n, 16, 16, 3), np.uint8)
    captions = tuple((f"a red | cap {i // 2}", "a *cap*") for i in range(n))
    attributes = tuple({"hat": "cap" if i else "none"} for i in range(n))
    skipped = (Skipped("x.png", "no caption"), Skipped("y.png", "no caption"))
    return Dataset("caps", split, pictures, captions, attributes, skipped)


def gathered(tmp_path, snapshot, digest="abc", **record):
    config = json.loads(json.dumps(snapshot.config, default=list))
    config["model_card"]["notes"] = "Ask *me*."
    record = {
        "overrides": ["--config.data.source=/home/me/caps", "--config.seed=1"],
        "data_fingerprint": "f00",
    } | record
    (tmp_path / "config.json").write_text(json.dumps(record | {"config": config}))
    snapshot = Snapshot(snapshot.params, snapshot.config, snapshot.tokenizer, {}, snapshot.info, digest)
    splits = [small_dataset(), small_dataset("test")]
    return facts.gather(tmp_path, config, snapshot, splits, Tokenizer.from_json(snapshot.tokenizer))


def test_facts_are_what_the_folder_says(snapshot, tmp_path):
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for phase, images_seen in (("text", 100), ("text", 200), ("adversarial", 50)):
            row = {"phase": phase, "step": 1, "images": images_seen, "images_per_s": 10.0}
            file.write(json.dumps(row) + "\n")
    for split, model in (("test", "abc"), ("unseen", "of another")):
        (tmp_path / f"evaluation_{split}.json").write_text(json.dumps(made_up_evaluation(model, CAPTIONS, split)))
    (tmp_path / "evaluation_old.json").write_text('{"split": "old", "frechet": 1}')
    (tmp_path / "evaluation_cut.json").write_text('{"split"')
    known = gathered(tmp_path, snapshot, environment=environment())
    assert list(known.evaluations) == ["test"]
    assert known.images_seen == {"text": 200, "adversarial": 50}
    assert known.training_s == 25
    assert known.parameters["generator"] == sum(x.size for x in jax.tree.leaves(snapshot.params["generator"]))
    train = known.splits[0]
    assert (train.num_images, train.num_captions, train.skipped) == (4, 3, {"no caption": 2})
    assert train.attributes == {"hat": {"cap": 3, "none": 1}}
    assert train.caption_tokens[0] >= 3
    assert known.trained_on["versions"]["jax"] == jax.__version__
    assert known.trained_on["versions"]["t2igan"]


def test_changed_keys_are_those_that_differ():
    base = {"a": {"b": 1, "c": (1, 2)}}
    assert facts.changed_from(base, {"a": {"b": 2, "c": [1, 2]}, "new": 3}) == {"a.b": (2, 1), "new": (3, None)}
    assert facts.changed_from(None, base) == {}


@pytest.mark.parametrize(
    ("source", "said", "expected"),
    [
        ("pixel_avatars", "", "CC0"),
        ("tfds:fashion_mnist", "", "MIT"),
        ("tfds:fashion_mnist:3.0.1", "", "MIT"),
        ("tfds:fashion_mnist_corrupted", "", ""),
        ("/no/such/folder", "", ""),
        ("pixel_avatars", "mine", "mine"),
    ],
)
def test_the_licence_of_data_is_said_only_where_it_is_known(source, said, expected):
    config = {"data": {"source": source}, "model_card": {"data_license": said}}
    assert facts.data_license(config).startswith(expected)
    assert bool(facts.data_license(config)) == bool(expected)


def test_a_licence_beside_the_pictures_is_pointed_at(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("")
    config = {"data": {"source": str(tmp_path)}, "model_card": {"data_license": ""}}
    assert "LICENSE.txt" in facts.data_license(config)


def test_the_card_says_what_matters(snapshot, tmp_path):
    (tmp_path / "evaluation_test.json").write_text(json.dumps(made_up_evaluation("abc", CAPTIONS)))
    card = model_card(gathered(tmp_path, snapshot, environment=environment()))
    for heading in ("Intended use", "Data", "Training", "Results", "Limits", "How to draw"):
        assert f"\n## {heading}\n" in card
    assert "| attributes right ↑ | 0.998 | 0.996 – 0.999 | 1.000 | 0.410 | attributes |" in card
    assert r"It copies \<b\>training\</b\> pictures." in card
    assert "| train | 4 | 3 | 2 |" in card
    assert "is hat: right in 0.950" in card
    assert "Ask *me*." in card
    assert "--config.seed=1" in card
    assert "/home/me" not in card  # a card travels; where its data lay stays at home
    assert str(tmp_path) not in card
    assert "model.sample(" in card


def test_a_card_without_anything_measured_says_so(snapshot, tmp_path):
    card = model_card(gathered(tmp_path, snapshot))
    assert "Not evaluated yet" in card
    (tmp_path / "config.json").unlink()
    bare = facts.gather(tmp_path, snapshot.config, None, [], None)
    assert "was not at hand" in model_card(bare)
    assert "none yet" in model_card(bare)


@pytest.mark.parametrize(
    "captions",
    [["a red hat"], ['it\'s a "hat"', "hats, [two], blue", "brackets](, and `ticks`"], ["a caf\u00e9", "\u732b"]],
)
def test_captions_of_a_card_are_read_again(snapshot, captions):
    config = dict(snapshot.config) | {"model_card": {}}
    card = f"# A model\n\n```python\n{drawing_code(captions)}\n```\n"
    named = captions_of(dataclasses.replace(snapshot, config=config, model_card=card))
    assert named == [caption.replace("`", "'") for caption in captions]


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("images = model.sample('a hat')", ["a hat"]),
        ("images = model.sample(captions)", []),
        ("images = model.sample(", []),
        ("(" * 10_000, []),
        ("model.load('a hat')", []),
    ],
)
def test_a_card_of_another_hand_is_read_as_far_as_it_goes(snapshot, code, named):
    assert captions_of(dataclasses.replace(snapshot, model_card=f"# A\n\n```python\n{code}\n```\n")) == named


def test_a_card_shows_captions_that_were_chosen_and_none_that_may_be_personal(snapshot, tmp_path):
    own = json.loads(json.dumps(snapshot.config, default=list))
    own["data"]["source"] = "/home/me/caps"
    snapshot = dataclasses.replace(snapshot, config=own)
    personal = model_card(gathered(tmp_path, snapshot))
    assert STAND_IN in personal and captions_of(dataclasses.replace(snapshot, model_card=personal)) == []
    own["model_card"]["examples"] = ["a hat", "two hats"]
    assert "'two hats'" in model_card(gathered(tmp_path, snapshot)) and captions_of(snapshot) == ["a hat", "two hats"]


def test_text_stays_text_in_a_card():
    assert escape("a *b* <i>\n# c | `d`") == r"a \*b\* \<i\> \# c \| \`d\`"


def test_the_card_is_in_the_snapshot_and_harms_nothing(snapshot, tmp_path):
    path = tmp_path / "snapshot.safetensors"
    digest = save_snapshot(path, snapshot)
    assert load_snapshot(path).model_card == ""  # as of snapshots of before there were cards
    assert put_model_card(path, "# card ü", digest)
    loaded = load_snapshot(path)
    assert loaded.model_card == "# card ü"
    assert (loaded.digest, loaded.config, loaded.info) == (
        digest,
        json.loads(json.dumps(snapshot.config)),
        snapshot.info,
    )
    jax.tree.map(np.testing.assert_array_equal, loaded.params, snapshot.params)
    before = path.stat().st_mtime_ns
    assert put_model_card(path, "# card ü", digest)
    assert path.stat().st_mtime_ns == before  # nothing to do
    assert not put_model_card(path, "# another", "other weights")
    assert load_snapshot(path).model_card == "# card ü"


def test_the_environment_is_plain_and_complete():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"jax", "jaxlib", "flax", "numpy", "t2igan"} <= found["versions"].keys()
    assert found["cpu_cores"] >= 1
    assert "cpu" in found["devices"]


REPORT = {
    "splits": {
        "train": {"pictures": 4, "captions": 8, "left_out": 2, "same_picture_again": 1, "reasons": {"no caption": 2}},
        "test": {"pictures": 1_234, "captions": 2, "left_out": 0, "same_picture_again": 0, "reasons": {}},
    },
    "same_picture_in_two_splits": {"train and test": 3},
    "nearly_the_same_in_two_splits": {"train and test": 2},
    "captions_that_may_be_personal": {"e-mail address": {"captions": 1, "listed": [{"caption": "ask me@x.org"}]}},
    "licences": {"train": {"license": {"CC0 | x": 3, "none": 1}}},
}


def test_the_data_card_counts_and_tells_nothing_private(snapshot, tmp_path):
    known = gathered(tmp_path, snapshot)
    assert write_data_card(known) is None  # a run of before there was a report of its data
    (tmp_path / "data_report.json").write_text(json.dumps(REPORT))
    text = write_data_card(known).read_text()
    assert text == data_card(known, REPORT)
    assert "| train | 4 | 8 | 2 | 1 |" in text and "| test | 1,234 | 2 | 0 | 0 |" in text
    assert "no caption 2" in text and "- hat: cap 3, none 1" in text
    assert r"column 'license': CC0 \| x 3, none 1" in text
    assert "e-mail address 1" in text and "me@x.org" not in text
    assert "the same file in both train and test: 3" in text and "nearly the same in both train and test: 2" in text
    assert "/home/me" not in text and "a red" not in text and "Ask *me*." in text


def test_a_data_card_of_clean_data_says_that_nothing_was_found(snapshot, tmp_path):
    empty = {key: {} for key in REPORT} | {"splits": REPORT["splits"]}
    text = data_card(gathered(tmp_path, snapshot), empty)
    assert "No column of the data tells of licences" in text and "None were found" in text
    assert "No caption has what looks like an e-mail address" in text
