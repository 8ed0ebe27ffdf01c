"""Differential privacy: what is refused, what a budget buys, samples and noise, a run to its end and a killed one."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from squares import squares
from tiny import impatient, privately

import t2igan
from t2igan.config import looks_at_private
from t2igan.config.checks import check
from t2igan.config.checks.privacy import ONLY, unwatched
from t2igan.errors import UserError
from t2igan.inference.snapshot import load_snapshot
from t2igan.method import phases
from t2igan.method.phases.ledger import FILE_NAME, Ledger
from t2igan.method.phases.private import PrivateMethod, noise_like, private_gradient
from t2igan.method.privacy import noise
from t2igan.method.privacy.accounting import epsilon_of, settle
from t2igan.method.privacy.sampling import PoissonBatches
from t2igan.training import plan, stopping
from t2igan.training.distributed import parallel

pytest.importorskip("dp_accounting")


@pytest.fixture
def private(config):
    """A configuration of the tiny kind that asks for privacy."""
    privately(config, ("adversarial",)).train.tune_text = True
    return config


CHANGES = {
    "compute_dtype": "bfloat16",
    "remat": True,
    "space.kind": "patches",
    "data.unlabelled_source": "more",
    "train.microbatches": 2,
    "train.ema_tracks": (2.0,),
    "loss.penalty_every": 2,
    "loss.attack_steps": 1,
    "guard.rollbacks": 1,
}
REFUSED = {
    "phases": (("text", "adversarial"), "would look at private pictures; leave them out"),
    "loss.paired_weight": (1.0, "it shows the pictures to the generator, unless means are released"),
    "loss.adversarial": ("relativistic", "set it to 'minimax', 'non_saturating', 'least_squares', 'hinge'"),
    "loss.penalty": ("r1_r2", "wants config.loss.penalty to be 'r1', 'none'; it is 'r1_r2'"),
    "privacy.epsilon": (math.inf, "protects nothing"),
    "privacy.delta": (1.0, "must be below 1"),
    "privacy.clip_norm": (0.0, "must be greater than 0"),
    "privacy.accountant": ("moments", "none of 'pld', 'rdp'"),
}


def test_what_would_look_at_private_pictures_is_refused_in_a_line(private):
    check(private)
    for key, (value, why) in REFUSED.items():
        changed = private.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict({key: value})
        with pytest.raises(UserError) as caught:
            check(changed)
        assert why in str(caught.value) and len(str(caught.value).splitlines()) == 1
    from t2igan.config.checks import privacy

    for key, (value, why) in ONLY.items():
        changed = private.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict({key: CHANGES.get(key, 0.5)})
        with pytest.raises(UserError) as caught:
            privacy.check(changed)
        assert f"config.{key}=" in str(caught.value) and f"{why}; set it to {value!r}" in str(caught.value)
    changed = private.copy_and_resolve_references().unlock()
    with changed.ignore_type():
        changed.loss.update(penalty_weight="auto", penalty_weight_end="auto")
    with pytest.raises(UserError, match="'auto' measures the private pictures"):
        check(changed)


def test_what_watches_is_switched_off_and_named(private):
    private.evaluate.update(every_images=100, at_end=True)
    private.guard.num_images = 8
    quiet, (line,) = unwatched(private)
    assert (quiet.evaluate.every_images, quiet.evaluate.at_end, quiet.guard.num_images) == (0, False, 0)
    assert all(f"config.{key}" in line for key in ("evaluate.every_images", "evaluate.at_end", "guard.num_images"))
    assert unwatched(quiet) == (quiet, [])
    private.privacy.epsilon = 0.0
    assert unwatched(private) == (private, [])


def test_epsilon_is_that_of_other_accountants():
    """Golden: 4,000 updates on 256 of 6,227 pictures; one Gaussian release by Balle & Wang 2018 (arXiv:1805.06530)."""
    assert epsilon_of(256 / 6227, 1.482, 4_000, 1e-5, "pld") == pytest.approx(10.0, abs=0.02)
    assert epsilon_of(256 / 6227, 1.557, 4_000, 1e-5, "rdp") == pytest.approx(10.0, abs=0.02)
    cdf = lambda x: 0.5 * math.erfc(-x / 2**0.5)
    sigma, delta = 1.3, 1e-5
    epsilon = epsilon_of(1.0, sigma, 1, delta, "pld")
    exact = cdf(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * cdf(-0.5 / sigma - epsilon * sigma)
    assert exact == pytest.approx(delta, rel=0.02) and exact <= delta * (1 + 1e-6)  # rounded up, never down
    assert epsilon_of(0.1, 1.0, 0, delta, "pld") == 0 and epsilon_of(0.1, 0.0, 1, delta, "rdp") == math.inf


def test_noise_is_found_for_a_length_or_a_length_for_noise(private):
    privacy = private.privacy
    privacy.update(epsilon=3.0, delta=1e-5, batch_images=20, noise_multiplier=0.0, accountant="rdp")
    found = settle(privacy, 1_000, updates=500)
    assert found.updates == 500 and found.spent(500) <= 3.0
    less = epsilon_of(found.sampling_rate, found.noise_multiplier - 0.005, 500, 1e-5, "rdp")
    assert less > 3.0  # no more than it takes
    privacy.noise_multiplier = found.noise_multiplier
    longer = settle(privacy, 1_000, updates=5_000)
    assert 500 <= longer.updates < 520 and longer.spent(longer.updates) <= 3.0 < longer.spent(longer.updates + 1)
    privacy.noise_multiplier = 0.1
    with pytest.raises(UserError, match=r"spends more than .* with one update"):
        settle(privacy, 1_000, updates=10)
    with pytest.raises(UserError, match="is more than the 10 training pictures"):
        settle(privacy, 10, updates=10)
    privacy.delta = 0.01
    with pytest.raises(UserError, match="would allow to publish one of the 1,000"):
        settle(privacy, 1_000, updates=10)


def test_noise_is_normal_and_never_the_same():
    values = noise.standard_normals(200_001)
    assert values.shape == (200_001,) and values.dtype == np.float32
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.01  # nine, six standard errors
    assert abs((values.astype(float) ** 4).mean() - 3) < 0.3 and abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert not np.array_equal(values[:10], noise.standard_normals(10))


def batches_of(num, batch_images, **changes):
    images = np.arange(num, dtype=np.uint8)[:, None, None, None]
    tokens = np.arange(2 * num, dtype=np.int32)[:, None]
    every = {"updates": 2, "public_captions": 3, "noise_values": 5}
    return PoissonBatches(
        images, tokens, 2 * np.arange(num), np.full(num, 2), 0, batch_images=batch_images, **every | changes
    )


def test_each_picture_comes_by_itself_with_the_same_probability():
    batches = batches_of(50, 10, updates=200)
    batch = batches[0]
    counts, mask = batch["mask"].sum(1), batch["mask"].astype(bool)
    assert abs(counts.mean() - 10) < 1.2 and abs(counts.var() - 8) < 3.5 and counts.min() < 6 < 14 < counts.max()
    of_each = np.bincount(batch["images"][..., 0, 0, 0][mask], minlength=50)
    assert of_each.sum() == counts.sum() and of_each.min() > 10 and of_each.max() < 80
    for row, there in zip(batch["images"][..., 0, 0, 0], mask, strict=True):
        assert len(set(row[there])) == there.sum()  # each once at most
    assert (batch["tokens"][mask][:, 0] // 2 == batch["images"][mask].ravel()).all()  # with a caption of its own
    assert batch["tokens"].shape[1] == batches.room() and batches.room(60) > batches.room()
    again = batches[0]
    assert not np.array_equal(batch["mask"], again["mask"]) and not np.array_equal(batch["noise"], again["noise"])
    assert np.array_equal(batch["public_tokens"], again["public_tokens"])  # these follow from seed and step
    # Whatever the private sample is like.
    other = batches_of(20, 15, updates=200)[0]
    assert np.array_equal(other["public_tokens"] % 40, batches_of(20, 3, updates=200)[0]["public_tokens"] % 40)
    assert noise.drawn(7, 1.0).tolist() == list(range(7)) and len(noise.drawn(1_000, 1e-9)) == 0


def test_a_ledger_keeps_what_was_released_whatever_becomes_of_its_file(tmp_path):
    Ledger(tmp_path).write(0, 1.5)
    ledger = Ledger(tmp_path)
    ledger.write(2)
    ledger.path.unlink()  # by whom ever, in the middle of a training
    ledger.write(4)
    assert (Ledger(tmp_path).updates(), Ledger(tmp_path).means_noise()) == (4, 1.5)
    ledger.path.write_text("4")
    with pytest.raises(UserError, match="cannot be read, so nobody knows what was spent"):
        Ledger(tmp_path).write(6)
    assert list(tmp_path.iterdir()) == [ledger.path]


def tiny_data():
    return [squares(split, num, seed) for seed, (split, num) in enumerate([("train", 40), ("val", 12), ("test", 12)])]


def train(config, workdir):
    train_data, val_data, test_data = tiny_data()
    return t2igan.train(config, workdir, dataset=train_data, val_dataset=val_data, test_dataset=test_data)


def test_a_private_run_says_what_it_spent_and_goes_on_with_the_count(private, tmp_path, monkeypatch, capsys):
    """Stopped, gone on, and killed: steps that were lost stay spent, and the training ends so much earlier."""
    with monkeypatch.context() as patched:
        patched.setattr(stopping, "Interruption", impatient(2))
        with pytest.raises(KeyboardInterrupt, match="stopped after step 2"):
            train(private, tmp_path)
    assert Ledger(tmp_path).updates() == 4  # two steps of two
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path, killed, ignore=shutil.ignore_patterns("killed"))
    train(private, tmp_path)
    said = capsys.readouterr().out
    assert "off, since it would look at private pictures: signs of overfitting" in said
    snapshot = load_snapshot(tmp_path / "snapshot.safetensors")
    found = snapshot.info["privacy"]
    assert Ledger(tmp_path).updates() == found["updates"] == 8 and snapshot.metrics == {}
    assert found["epsilon"] == pytest.approx(epsilon_of(6 / 40, 1.0, 8, 1e-3, "pld")) and found["epsilon"] <= 8
    assert f"privacy:  epsilon {found['epsilon']:.2f} at delta 0.001" in said and "assumed: captions" in said
    assert "## Privacy" in snapshot.model_card and "captions, attributes" in snapshot.model_card
    for told in (json.loads((tmp_path / "config.json").read_text())["data_fingerprint"], "left out |  "):
        assert told not in snapshot.model_card
    assert not (tmp_path / "data_report.json").exists() and not list(tmp_path.glob("evaluation*"))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert not [key for row in rows for key in row if "real" in key or "penalty" in key or "guard" in key]
    assert t2igan.load(tmp_path).sample("a large red square").shape == (1, 8, 8, 3)

    Ledger(killed).write(6)  # a third step was made, and nothing of it saved
    train(private, killed)
    found = load_snapshot(killed / "snapshot.safetensors").info
    assert found["step"] == 3 and found["privacy"]["updates"] == 8 and Ledger(killed).updates() == 8
    assert "1 steps were made and lost" in capsys.readouterr().out
    (killed / FILE_NAME).unlink()
    with pytest.raises(UserError, match="is gone, so nobody knows what was spent"):
        train(private, killed)


def test_a_plan_has_the_batches_of_a_training_and_counts_no_epsilon(private, capsys):
    run, given = plan.without_data(private, parallel.make_mesh(1))
    phase = phases.build("adversarial", run, given)
    assert "epsilon" not in capsys.readouterr().out
    _, batch = plan.abstract(run, phase, given)
    values = sum(leaf.size for leaf in jax.tree.leaves(plan._shapes_of(run, "discriminator")["params"]))
    tokens = private.tokenizer.max_tokens
    assert {name: like.shape for name, like in batch.items()} == {
        "images": (2, 16, 8, 8, 3), "tokens": (2, 16, tokens), "mask": (2, 16), "noise": (2, values),
        "public_tokens": (3, 4, tokens),
    }  # fmt: skip


def test_what_looks_at_private_pictures_says_so(private):
    line = looks_at_private(private, "these figures")
    assert line == (
        "privacy: these figures come from looking at private pictures, which epsilon 8 does not cover; keep them"
    )
    private.privacy.epsilon = 0.0
    assert not looks_at_private(private, "these figures")


def test_an_update_has_the_noise_that_it_says(private):
    """Without a picture in the sample, the gradient is that of fakes and noise of sigma C / B, and nothing else."""
    from t2igan import nets, step
    from t2igan.method.game import Method

    networks = nets.build(private, 300)
    game = Method.create(private, networks, 4)
    shapes = {
        "images": jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8),
        "tokens": jax.ShapeDtypeStruct((2, 5), jnp.int32),
    }
    state = step.init_state(game, shapes)
    count = sum(x.size for x in jax.tree.leaves(state.params["discriminator"]))
    part = {
        "images": jnp.full((8, 8, 8, 3), 200, jnp.uint8),
        "tokens": jnp.ones((8, 5), jnp.int32),
        "mask": jnp.zeros(8),
        "public_tokens": jnp.ones((4, 5), jnp.int32),
    }
    method = PrivateMethod(
        game, True, clip_norm=0.5, noise_multiplier=3.0, batch_images=6, by_ghost=True, microbatch_images=0
    )
    gradient = jax.jit(lambda part: private_gradient(method, state, part, jax.random.key(0))[0])
    values = jnp.asarray(noise.standard_normals(count))
    without, with_noise = (gradient(part | {"noise": share * values}) for share in (0.0, 1.0))
    difference = jax.tree.map(lambda a, b: a - b, with_noise, without)
    expected = noise_like(difference, 3.0 * 0.5 / 6 * values)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), difference, expected)
    assert np.concatenate([np.ravel(x) for x in jax.tree.leaves(difference)]).std() == pytest.approx(0.25, rel=0.1)
