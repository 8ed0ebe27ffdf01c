"""Means that are released once: how much a picture can move them, what they cost, what a resumed run does with them."""

import json
import math

import numpy as np
import pytest
from squares import squares
from test_privacy import train
from tiny import impatient, privately

import t2igan
from t2igan.config.checks import check
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.snapshot import load_snapshot
from t2igan.method import phases
from t2igan.method.phases.ledger import Ledger
from t2igan.method.phases.private_means import FILE_NAME, shared_out
from t2igan.method.privacy import means
from t2igan.method.privacy.accounting import epsilon_of, settle
from t2igan.training import plan, stopping
from t2igan.training.distributed import parallel

pytest.importorskip("dp_accounting")


@pytest.fixture
def with_means(config):
    """A configuration of the tiny kind: means, then a game that is held to them."""
    privately(config, ("generator", "adversarial"), means_epsilon=6.0)
    config.loss.paired_weight = 1.0
    config.pretrain_generator.update(task="regress", steps=4, images=0, batch_images=4)
    return config


REFUSED = {
    "means without the phase": ({"phases": ("adversarial",)}, "does not go with config.privacy.means_epsilon=6"),
    "the phase without means": ({"privacy.means_epsilon": 0.0}, "does not go with config.privacy.means_epsilon=0"),
    "private pictures completed": (
        {"pretrain_generator.task": "complete"},
        "sees released means alone; set it to 'reg",
    ),
    "nothing left": ({"privacy.means_epsilon": 8.0}, "leaves nothing of config.privacy.epsilon=8 to the game"),
    "more than all": ({"privacy.means_epsilon": 9.0, "phases": ("generator",)}, "leaves nothing of"),
    "no privacy": ({"privacy.epsilon": 0.0}, "a part of config.privacy.epsilon, which is 0"),
    "below nothing": ({"privacy.means_epsilon": -1.0}, "config.privacy.means_epsilon=-1"),
    "other phases": ({"phases": ("text", "generator", "adversarial")}, "others of config.phases="),
    "no norm": ({"privacy.residual_norm": 0.0}, "config.privacy.residual_norm=0.0"),
    "features": ({"privacy.means_features": "words"}, "none of 'auto', 'attributes', 'phrases'"),
    "held to pictures": (
        {"phases": ("adversarial",), "privacy.means_epsilon": 0.0},
        "config.loss.paired_weight=1.0: it shows the pictures to the generator",
    ),
}


def test_what_goes_with_no_means_is_refused_in_a_line(with_means):
    check(with_means)
    for changes, why in REFUSED.values():
        changed = with_means.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict(changes)
        with pytest.raises(UserError) as caught:
            check(changed)
        assert why in str(caught.value) and len(str(caught.value).splitlines()) == 1
    with_means.unlock().update(phases=("generator",))
    with_means.privacy.means_epsilon = 8.0
    check(with_means)


def test_a_picture_moves_the_sums_by_its_norm_and_no_more_than_that():
    """Golden: white 2 x 2 pictures, x = (1, 1, 1, 1) and |x| = 2; phi = (1, 1, 0), so w = 1 / sqrt(2)."""
    features = np.array([[1, 1, 0], [1, 0, 1]], np.float32)
    images = np.array([255, 0], np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    assert means.largest_norm(4) == 2.0
    half = 1 / math.sqrt(2)
    assert np.allclose(
        means.clipped_sums(features[:1], images[:1], 2.0), half * np.array([[1], [1], [0]]) @ np.ones((1, 4))
    )
    assert np.allclose(means.clipped_sums(features, images, 2.0)[:, 0], [0.0, half, -half])
    assert np.allclose(means.clipped_sums(features[:1], images[:1], 0.5)[:, 0], [half / 4, half / 4, 0.0])  # clipped
    random = np.random.default_rng(0)
    features = np.concatenate([np.ones((40, 1)), random.integers(2, size=(40, 9))], 1).astype(np.float32)
    images = random.choice(np.array([0, 255], np.uint8), (40, 3, 3, 3))  # as long as pictures can be
    for norm in (means.largest_norm(27), 2.0):
        for weights in (0.0, random.normal(size=(10, 27))):  # those that are known are public
            whole = means.clipped_sums(features, images, norm, weights)
            for out in range(40):
                rows = np.arange(40) != out
                moved = np.linalg.norm(whole - means.clipped_sums(features[rows], images[rows], norm, weights))
                assert moved == pytest.approx(norm)  # the bound is reached, whatever the caption names


def test_the_release_has_the_noise_that_it_says():
    features, images = np.ones((2, 1), np.float32), np.full((2, 40, 40, 3), 255, np.uint8)
    norm = means.largest_norm(4_800)
    first, second = (means.released(features, images, norm, 1.5) for _ in range(2))
    assert first.shape == (1, 4_800) and not np.array_equal(first, second)
    assert (first - 2).std() == pytest.approx(1.5 * norm, rel=0.06) and abs((first - 2).mean()) < 0.1 * norm


def test_means_cost_as_much_as_two_gaussians_by_hand():
    """Gaussians compose by 1 / sigma^2; one is known exactly (Balle & Wang 2018, arXiv:1805.06530)."""
    cdf = lambda x: 0.5 * math.erfc(-x / 2**0.5)
    delta, of_means, of_update = 1e-5, 1.7, 2.4
    sigma = (1 / of_means**2 + 3 / of_update**2) ** -0.5  # three updates on all pictures
    epsilon = epsilon_of(1.0, of_update, 3, delta, "pld", of_means)
    exact = cdf(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * cdf(-0.5 / sigma - epsilon * sigma)
    assert exact == pytest.approx(delta, rel=0.03) and exact <= delta * (1 + 1e-6)
    assert epsilon_of(1.0, 0.0, 0, delta, "pld", sigma) == pytest.approx(epsilon, abs=2e-3)
    parts = shared_out(of_means)
    assert sum(part**-2 for part in parts) ** -0.5 == pytest.approx(of_means)
    assert epsilon_of(1.0, parts[0], 1, delta, "pld", parts[1]) == pytest.approx(
        epsilon_of(1.0, 0.0, 0, delta, "pld", of_means), abs=2e-3
    )
    assert epsilon_of(1.0, 0.0, 0, delta, "rdp", of_means) > epsilon_of(1.0, 0.0, 0, delta, "pld", of_means)


def test_the_budget_is_shared_out(with_means):
    privacy = with_means.privacy
    privacy.update(epsilon=8.0, means_epsilon=6.0, delta=1e-5, batch_images=20, noise_multiplier=0.0)
    found = settle(privacy, 1_000, updates=200)
    assert found.spent(0) == pytest.approx(6.0, abs=0.02) and found.spent(0) <= 6.0
    assert found.spent(200) == pytest.approx(8.0, abs=0.1) and found.spent(200) <= 8.0
    privacy.means_epsilon = 0.0
    assert settle(privacy, 1_000, updates=200).noise_multiplier < found.noise_multiplier
    privacy.update(means_epsilon=8.0, batch_images=5_000)
    alone = settle(privacy, 1_000, updates=0)  # no batches are drawn
    assert alone.spent(0) <= 8.0 and alone.means_noise < found.means_noise
    privacy.update(means_epsilon=1e-9)
    with pytest.raises(UserError, match=r"means_epsilon=1e-09 wants a noise multiplier above 1000"):
        settle(privacy, 1_000, updates=0)


def test_weights_are_found_through_noise_and_what_tells_nothing_is_left_out():
    random = np.random.default_rng(0)
    features = np.concatenate([np.ones((3_000, 1)), random.integers(2, size=(3_000, 30))], 1).astype(np.float32)
    weights = np.zeros((31, 48))
    weights[:6] = random.normal(0, 0.3, (6, 48))  # of the other features none tells anything
    gram, deviation = means.gram(features), 30.0
    sums = gram @ weights + deviation * random.normal(size=(31, 48))
    found = means.solved(gram, sums, deviation, (4, 4, 3))
    plain = np.linalg.solve(gram, sums)
    assert np.square(found - weights).mean() < 0.4 * np.square(plain - weights).mean()
    assert np.abs(found[6:]).mean() < 0.3 * np.abs(plain[6:]).mean()
    drawn = means.pictures(features[:5], found, (4, 4, 3))
    assert drawn.shape == (5, 4, 4, 3) and drawn.dtype == np.uint8
    assert np.abs(drawn.reshape(5, -1) / 127.5 - 1 - np.clip(features[:5] @ weights, -1, 1)).mean() < 0.15


def test_features_name_attributes_by_pairs_and_captions_by_phrases():
    data = squares("train", 100, 0)
    named = means.of_attributes(data.attributes)
    assert named[0] == {("size", data.attributes[0]["size"])}  # black: no colour is named
    assert len(named[1]) == 3 and tuple(sorted(data.attributes[1].items())) in named[1]
    captions = [caption for of_one in data.captions for caption in of_one]
    tokenizer = Tokenizer.train(captions, vocab_size=300, max_tokens=12)
    table = means.table(of_tokens := means.of_tokens(tokenizer.encode(captions)), means.columns_of(of_tokens))
    assert table.shape[0] == len(captions) and (table[:, 0] == 1).all() and 20 < table.shape[1] <= means.MOST_FEATURES
    assert (table[:, 1:].sum(0) >= means.FEWEST_CAPTIONS).all()
    num_captions = np.array([len(of_one) for of_one in data.captions])
    of_pictures = means.of_pictures(table, num_captions)
    first = num_captions[0]
    assert np.allclose(of_pictures[1], table[first : first + num_captions[1]].mean(0)) and len(of_pictures) == 100


def test_means_are_released_once_and_a_resumed_run_takes_them(with_means, tmp_path, monkeypatch, capsys):
    releases = []
    release = means.released
    monkeypatch.setattr(means, "released", lambda *args: releases.append(1) or release(*args))
    with monkeypatch.context() as patched:
        patched.setattr(stopping, "Interruption", impatient(2))
        with pytest.raises(KeyboardInterrupt, match="stopped after step 2 of phase generator"):
            train(with_means, tmp_path)
    ledger, path = Ledger(tmp_path), tmp_path / FILE_NAME
    kept, spent = path.read_bytes(), ledger.means_noise()
    assert len(releases) == 2 and ledger.updates() == 0 and spent > 0
    assert load_snapshot(tmp_path / "snapshot.safetensors").info["privacy"]["epsilon"] <= 6.0

    ledger.path.unlink()  # a ledger that was lost
    with pytest.raises(UserError, match="is gone, so nobody knows what was spent"):
        train(with_means, tmp_path)
    ledger.write(0, spent)
    path.unlink()
    with pytest.raises(UserError, match="to release means again would spend as much again"):
        train(with_means, tmp_path)
    path.write_bytes(kept[:-8])
    with pytest.raises(UserError, match="is not what this run has released"):
        train(with_means, tmp_path)
    path.write_bytes(kept)
    train(with_means, tmp_path)
    assert len(releases) == 2 and path.read_bytes() == kept
    assert ledger.updates() == 8 and ledger.means_noise() == spent
    found = load_snapshot(tmp_path / "snapshot.safetensors").info["privacy"]
    assert found["epsilon"] == pytest.approx(epsilon_of(6 / 40, 1.0, 8, 1e-3, "pld", spent)) and found["epsilon"] <= 8
    said = capsys.readouterr().out
    assert "for epsilon 6 of 8" in said and "by sums of pictures, one a feature" in said
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert not [key for row in rows for key in row if "held_out" in key or "real" in key]
    assert [row["loss/paired"] for row in rows if "loss/paired" in row]


def killed(*_):
    raise RuntimeError("killed")


def test_a_process_killed_before_the_ledger_has_released_what_the_next_one_takes(with_means, tmp_path, monkeypatch):
    with_means.unlock().update(phases=("generator",))
    with_means.privacy.means_epsilon = with_means.privacy.epsilon
    with_means.loss.paired_weight = 0.0
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "write", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(with_means, tmp_path)
    kept = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / f"{FILE_NAME}.0.unfinished").write_bytes(b"half")
    train(with_means, tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == kept and Ledger(tmp_path).means_noise() > 0
    snapshot = load_snapshot(tmp_path / "snapshot.safetensors")
    assert 7.9 < snapshot.info["privacy"]["epsilon"] <= 8 and "updates of the discriminator" not in snapshot.model_card
    assert t2igan.load(tmp_path).sample("a large red square").shape == (1, 8, 8, 3)


def test_a_plan_with_means_releases_nothing(with_means):
    run, given = plan.without_data(with_means, parallel.make_mesh(1))
    for name in with_means.phases:
        phase = phases.build(name, run, given)
        _, batch = plan.abstract(run, phase, given)
        shown = batch["images" if name == "generator" else "means"]
        assert shown.shape == (4, 8, 8, 3) and shown.dtype == np.uint8
    assert not run.workdir.exists()
