"""Phase "completion": a completer begins as its generator, learns what is hidden, and leaves all else as it is."""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot, shrink

import t2igan
from configs.base import get_config
from t2igan import nets
from t2igan.config import checks
from t2igan.errors import UserError
from t2igan.inference.editing import complete, completed, completing, diversity_levels, has_completer
from t2igan.inference.sample import from_snapshot
from t2igan.inference.snapshot import save_snapshot
from t2igan.method.phases.completion import CompletionMethod, completion_step, init_completion_state, put_over
from t2igan.nets.init import init_network
from t2igan.training.warm_start import networks_of

CAPTION = "a person with a red hat"
STEPS = 30


@pytest.fixture(scope="module")
def method():
    config = shrink(get_config())
    with config.unlocked():
        config.data.image_size_px = 8
        config.generator.update(channels=(8,), patch_px=2, attention_from_px=0)  # what compiles in no time
        config.discriminator.update(kind="mlp", channels=(8,))
        config.completion.update(generator_learning_rate=5e-3, discriminator_learning_rate=5e-3)
    return CompletionMethod.create(config, nets.build(config, 40), STEPS)


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    images = np.broadcast_to(random.integers(0, 256, (8, 1, 1, 3)), (8, 8, 8, 3)).astype(np.uint8)
    return {"images": jnp.asarray(images), "tokens": jnp.asarray(random.integers(1, 40, (8, 6)).astype(np.int32))}


@pytest.fixture(scope="module")
def first(method, batch):
    with jax.default_prng_impl("rbg"):  # for which XLA compiles initialisers faster
        return jax.jit(lambda: init_completion_state(method, batch))()


@pytest.fixture(scope="module")
def learned(method, batch, first):
    """The last state, and the metrics of each step, on plain pictures: what is hidden is what is seen."""
    step, state, rows = jax.jit(functools.partial(completion_step, method)), first, []
    for _ in range(STEPS):
        state, metrics = step(state, batch)
        rows.append(jax.device_get(metrics))
    return state, rows


@pytest.fixture(scope="module")
def draw(method):
    """(state, batch, visible, pictures) -> what completer and generator draw of the same noise and captions."""
    networks = method.game.networks

    @jax.jit
    def both(params, tokens, visible, x):
        text = networks.text_encoder.apply(params["text"], tokens)
        z = jax.random.normal(jax.random.key(1), (len(x), networks.z_dim))
        completed = networks.completer.apply(params["completer"], z, x, visible, text)
        return completed, networks.generator.apply(params["generator"], z, text)

    return lambda state, batch, visible, x: both(state.frozen | state.params, batch["tokens"], visible, x)


def lower_half_hidden(size=8, num=8):
    return jnp.ones((num, size, size, 1)).at[:, size // 2 :].set(0)


def test_a_fresh_completer_draws_what_its_generator_draws(draw, first, batch):
    completed, drawn = draw(first, batch, lower_half_hidden(), nets.to_unit(batch["images"]))
    np.testing.assert_allclose(completed, drawn, atol=1e-6)


def test_it_learns_to_look_and_all_else_stays(first, learned):
    state, rows = learned
    mean = lambda name, some: np.mean([row[name] for row in some])
    for name in ("loss/visible", "loss/hidden"):
        assert mean(name, rows[-5:]) < 0.8 * mean(name, rows[:5]), name
    jax.tree.map(np.testing.assert_array_equal, state.frozen, first.frozen)
    assert "completer" in networks_of(state) and "critic" not in networks_of(state)
    jax.tree.map(np.testing.assert_array_equal, networks_of(state)["completer"], state.ema["completer"])


def test_what_is_hidden_is_not_seen(draw, batch, learned):
    state, visible, x = learned[0], lower_half_hidden(), nets.to_unit(batch["images"])
    completed, _ = draw(state, batch, visible, x)
    np.testing.assert_array_equal(completed, draw(state, batch, visible, x.at[:, 4:].set(0.5))[0])
    assert np.abs(draw(state, batch, jnp.ones_like(visible), x)[0] - completed).max() > 1e-3


def test_what_is_visible_is_put_over_the_drawing():
    images, lines = jnp.full((1, 2, 2, 1), 3.0), jnp.array([[1.0], [0.0]]).reshape(1, 2, 1, 1)
    np.testing.assert_array_equal(put_over(-images, images, lines)[0, :, :, 0], [[3, 3], [-3, -3]])


def test_a_completer_that_is_there_goes_on(method, batch, learned):
    given = networks_of(learned[0])
    state = jax.eval_shape(lambda: init_completion_state(method, batch, given))
    assert jax.tree.structure(state.params["completer"]) == jax.tree.structure(given["completer"])
    assert "completer" not in state.frozen


@pytest.fixture(scope="module")
def model():
    """A completer whose every weight is drawn at random, without an inverter."""
    snapshot = random_snapshot([CAPTION, "a person"])
    networks = from_snapshot(snapshot).networks
    like = {"images": np.zeros((2, 16, 16, 3), np.float32), "tokens": np.ones((2, 16), np.int32)}
    shapes = jax.eval_shape(lambda: init_network(networks, "completer", jax.random.key(0), like))
    random = np.random.default_rng(1)
    made = jax.tree.map(lambda x: (0.1 * random.normal(size=x.shape)).astype(np.float32), shapes)
    return from_snapshot(dataclasses.replace(snapshot, params=snapshot.params | {"completer": made}))


def test_a_completer_fills_what_no_noise_fits_and_keeps_what_is_visible(model):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    hidden, told = np.zeros((16, 16, 1), np.float32), []
    hidden[8:] = 1
    note = lambda *done: told.append(done)
    two = completed(model, picture, hidden, CAPTION, num=2, seed=5, quality="fast", progress=note)
    assert told == [(16, 32), (32, 32)]  # 16 noises for each of two versions, one version after the other
    assert (two.images[:, :8] == picture[:8]).all()
    assert diversity_levels(two.images, hidden[..., 0] == 1) > 0.1
    one = complete(model, picture, hidden, CAPTION, seed=6, quality="fast")
    assert np.abs(two.images[1].astype(int) - one[0]).max() <= 1  # the same seed, whatever else is drawn
    picture[8:] = 0  # what was hidden
    np.testing.assert_array_equal(complete(model, picture, hidden, CAPTION, seed=6, quality="fast"), one)
    bare = copy.copy(model)
    bare.params = {name: params for name, params in model.params.items() if name != "completer"}
    assert (complete(bare, picture, hidden, CAPTION, seed=6, quality="fast") != one).any()


def test_noise_that_draws_what_is_visible_is_left_alone(model, monkeypatch):
    monkeypatch.setattr(completing, "filled", lambda *_: pytest.fail("a completer was asked"))
    monkeypatch.setattr(completing, "SEEN_DB", 0.0)
    picture, hidden = model.sample(CAPTION, 1).reshape(16, 16, 3), np.ones((16, 16, 1), np.float32)
    hidden[4:-4, 4:-4] = 0
    versions = complete(model, picture, hidden, CAPTION, num=3, seed=5, quality="fast")
    assert (versions[:, 4:-4, 4:-4] == picture[4:-4, 4:-4]).all()


def test_a_snapshot_has_a_completer_or_has_not(model, tmp_path):
    snapshot = random_snapshot([CAPTION, "a person"])
    save_snapshot(tmp_path / "with.safetensors", dataclasses.replace(snapshot, params=model.params))
    t2igan.export(tmp_path / "with.safetensors", "snapshot", tmp_path / "without.safetensors", without=["completer"])
    assert has_completer(t2igan.load(tmp_path / "with.safetensors"))
    assert not has_completer(t2igan.load(tmp_path / "without.safetensors"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator.kind": "mlp"}, "config.generator.kind='mlp' cannot be told"),
        ({"completion.masks": ("whole",)}, "hides nothing"),
        ({"completion.masks": ("hole",)}, "'hole'"),
        ({"completer.width": 0.0}, "config.completer.width=0"),
        ({"phases": ("completion",)}, "'completion', which needs what"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    config = shrink(get_config())
    with config.unlocked():
        config.phases = ("text", "adversarial", "completion")
        config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=said):
        checks.check(config)
