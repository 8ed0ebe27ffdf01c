"""What the benchmarks count and read; what they time is nobody's promise."""

import random
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from benchmarks import attention, flops, fuzz, method, paraphrases, prompts, step, variety
from benchmarks.__main__ import main
from benchmarks.timing import load
from t2igan.config.checks import check
from t2igan.data.seen import Seen
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference.snapshot import save_snapshot


class Captions(NamedTuple):
    """As much of a data set as is looked at."""

    captions: tuple[tuple[str, ...], ...]


def test_flops_of_convolutions_are_those_of_the_definition():
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))

    def both(x, kernel, cotangent):
        y, backward = jax.vjp(flops._convolution, x, kernel)
        return y, backward(cotangent)

    compiled = jax.jit(both).lower(x, kernel, jnp.ones((2, 8, 8, 6))).compile()
    once = 2 * (2 * 8 * 8 * 6) * (3 * 3 * 4)
    assert flops.convolution_flops(compiled) == 3 * once  # forward, by the pictures, by the kernel
    assert 0 < flops.all_flops(compiled) < 3 * once  # XLA's own count leaves the padding out


def test_other_programs_have_none():
    compiled = jax.jit(jnp.matmul).lower(jnp.ones((8, 8)), jnp.ones((8, 8))).compile()
    assert flops.convolution_flops(compiled) == 0


@pytest.mark.parametrize("size_px", [8, 16, 64])
def test_a_configuration_of_another_size_is_a_valid_one(size_px):
    config = load("base")
    step.resized(config, size_px)
    check(config)


def test_the_configuration_to_be_timed_is_a_valid_one():
    check(load("dfgan64"))


@pytest.mark.parametrize("row", method.ROWS, ids=lambda row: f"{row.group}: {row.name}, {row.images}")
def test_every_row_of_the_ablation_is_a_valid_configuration(row):
    config = load("base")
    config.update_from_flattened_dict(row.changes)
    config.train.images = row.images
    check(config)


def test_no_two_rows_of_the_ablation_are_the_same_run():
    assert len({row.key(0) for row in method.ROWS}) == len(method.ROWS)


def test_the_ablation_shows_the_defaults_among_rows_that_saw_as_much():
    def line(group, name, seed, right, changes=(), **more):
        line = {"group": group, "name": name, "seed": seed, "changes": dict(changes), "images": 100, "train_images": 0}
        figures = {"attributes/mean": right, "attributes/all": right}
        return line | {"test": figures, "unseen": figures} | more

    weak = {"loss.penalty_weight": 0.01}
    lines = [
        line("pairs", "usual", 0, 0.9),
        line("pairs", "usual", 1, 0.8),
        line("pairs", "weak", 0, 0.5, weak),
        line("tricks", "trick", 0, 0.7, weak),
        line("few", "all as usual", 0, 0.6, train_images=10),
        line("long", "weak for long", 0, 0.99, weak, images=1000),
    ]
    pairs, tricks, few, long = method.table(lines).split("\n\n**")
    rows = lambda table: [text.split(" | ")[:3] for text in table.splitlines()[4:]]
    usual = ["2", "0.850 ± 0.050"]
    assert rows(pairs) == [["| usual", *usual], ["| weak", "1", "0.500"]]
    assert rows(tricks) == [["| **the defaults**", *usual], ["| trick", "1", "0.700"]]
    assert rows(few) == [["| all as usual", "1", "0.600"]]
    assert rows(long) == [["| weak for long", "1", "0.990"]]


def test_the_table_has_the_splits_that_were_measured():
    figures = {"attributes/mean": 0.9, "attributes/all": 0.5, "frechet_distance/attributes": 2.0}
    line = {"group": "g", "name": "x", "seed": 0, "changes": {"loss.penalty": "none"}, "images": 9, "train_images": 0}
    _, _, head, _, row = method.table([line | {"val": figures}]).splitlines()
    assert head == "| row | seeds | val: mean | all | Frechet | diversity | core seconds |"
    assert row == "| x | 1 | 0.900 | 0.500 | 2.000 | not finite |  |"
    head = method.table([line | {"test": figures, "unseen": figures}]).splitlines()[2]
    assert head == "| row | seeds | test: mean | all | unseen: mean | all | Frechet | diversity | core seconds |"


def test_the_benchmarks_are_listed(capsys):
    main()
    said = capsys.readouterr().out
    assert all(f"python -m benchmarks.{name} " in said for name in ("step", "peer", "sample", "loader"))


def test_every_kind_of_mutation_is_read_or_refused(tmp_path):
    """A few of each; `python -m benchmarks.fuzz` does thousands."""
    save_snapshot(tmp_path / "tiny.safetensors", random_snapshot(["a red cap", "green hair"]))
    strangers = fuzz.Strangers(tmp_path / "tiny.safetensors", tmp_path)
    ends = {kind: {strangers.attempt(kind, random.Random(f"{kind} {i}")) for i in range(8)} for kind in fuzz.KINDS}
    assert all(found <= {"read", "UserError", "refused"} for found in ends.values())
    assert {"read", "refused"} <= ends["body"] and "UserError" in ends["mask"] and "refused" in ends["body bytes"]


def test_of_captions_equally_near_the_share_that_is_right_counts():
    nearness = np.array([[1.0, 1.0, 0.0], [0.2, 0.1, 0.9]])
    right = np.array([[True, False, False], [True, True, False]])
    assert paraphrases.share_right(nearness, right) == 0.25
    assert paraphrases.best_places(nearness, right).tolist() == [0, 1]


def test_words_in_common_are_counted_whatever_their_marks():
    assert paraphrases.overlap(["a blue heart", "kitten"], ["blue heart", "Woman: red hair"]).tolist() == [
        [2 / 3, 0],
        [0, 0],
    ]


def test_every_prompt_is_written_once_and_names_captions():
    prompts = [*paraphrases.REWORDED, *paraphrases.UNSEEN]
    assert len(set(prompts)) == len(prompts) == 64
    data = Captions((("blue heart",), ("man running: dark skin tone",)))
    assert paraphrases.right_rows(data, ("man running*", "*cat")).tolist() == [False, True]
    with pytest.raises(ValueError, match="no caption matches"):
        paraphrases.right_rows(data, ("cat",))


def test_a_word_is_exchanged_for_one_that_no_caption_has_and_words_change_places():
    random = np.random.default_rng(0)
    captions = ["a velvet cap, and a hat", "©"]
    words = [prompt.split() for prompt in prompts.exchanged(captions, 40, random)]
    longer = [words_of for words_of in words if len(words_of) > 1]
    for changed in longer:
        others = [(a, b.strip(",")) for a, b in zip(captions[0].split(), changed, strict=True) if a != b]
        assert len(others) == 1 and others[0][1] in prompts.OTHERS and others[0][1] != "velvet"
    assert 0 < len(longer) < 40 and all(one[0] in prompts.OTHERS for one in words if len(one) == 1)
    (mixed,) = prompts.shuffled([*captions, "hat hat"], 9, random)
    assert mixed != captions[0] and sorted(mixed.split()) == sorted(captions[0].split())


def test_the_share_of_prompts_that_are_named_is_counted():
    captions = ["a red cap and green hair", "a green cap and red hair"]
    tokenizer = Tokenizer.train(captions, 300, 16)
    model = SimpleNamespace(seen=Seen.of(captions, captions, tokenizer), tokenizer=tokenizer)
    asked = {"test": [*captions, "a red cap and red hair"], "exchanged": ["a red locomotive", "a red cap"]}
    figures = prompts.measure(model, asked)
    assert figures["test"] == {"share": 0.0, "prompts": 3, "named": []}
    assert figures["exchanged"] == {"share": 0.5, "prompts": 2, "named": ["a red locomotive"]}


def test_variance_is_parted_into_that_within_captions_and_that_between():
    x = np.array([[[0.0, 1.0], [2.0, 1.0]], [[4.0, 1.0], [6.0, 1.0]]])
    assert variety.variances(x) == (2.0, 8.0)


def test_the_caption_s_own_picture_is_looked_for_among_all():
    real = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (0, 100)])
    others = np.full((1, 16, 16, 3), 200, np.uint8)
    drawn = np.stack([np.stack([real[0], others[0]]), np.stack([real[1], real[1]])])
    assert variety.own_is_nearest(drawn, real, others) == 0.75


def test_how_much_of_a_change_lies_where_a_word_is_read_most():
    weights = np.arange(100.0).reshape(10, 10)  # most read: the last row
    moved = np.ones((20, 20))  # two pixels a place
    moved[18:] = 11.0
    change = SimpleNamespace(moved=moved)
    assert attention.in_most_read(change, weights) == 11 / 20
    assert attention.in_most_read(SimpleNamespace(moved=np.ones((20, 20))), weights) == pytest.approx(0.1)
