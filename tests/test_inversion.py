"""Inverter and generator: their loss by hand, and that learning it works."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2igan import nets, step
from t2igan.method.game import Method
from t2igan.method.losses.inversion import InversionWeights, complete, divergence_from_normal, inversion_loss
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state
from t2igan.nets.init import init_network
from t2igan.nets.inverter import Inverted
from t2igan.training.distributed import parallel

VOCAB = 40


@pytest.fixture
def small(config):
    """Fully connected generator and a small inverter: compiled in no time."""
    config.generator.update(kind="mlp", channels=(32,))
    config.discriminator.update(kind="mlp", channels=(8,))
    config.inverter.update(channels=(8,), patch_px=4, features=32)
    config.pretrain_generator.update(learning_rate=1e-2, schedule="constant", warmup_steps=1)
    return config


def batch_of(seed=0, num=8):
    """Pictures of one colour on the left and one on the right."""
    random = np.random.default_rng(seed)
    images = np.repeat(random.integers(0, 256, (num, 1, 2, 3)), 16, axis=1).repeat(8, axis=2)
    return {
        "images": jnp.asarray(images, jnp.uint8),
        "tokens": jnp.asarray(random.integers(1, VOCAB, (num, 6)), jnp.int32),
    }


def networks_and_params(config, names=("text", "generator", "inverter")):
    networks, batch = nets.build(config, VOCAB), batch_of()
    init = lambda name: init_network(networks, name, jax.random.key(0), batch)
    return networks, {name: init(name) for name in names}


def test_the_divergence_by_hand():
    mean, log_std = jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[0.0, np.log(2.0)], [0.0, 0.0]])
    # KL(N(1, 2^2) || N(0, 1)) = (1 + 4 - 1) / 2 - log 2, and the mean over two dimensions.
    expected = [(2 - np.log(2)) / 2, 0.0]
    np.testing.assert_allclose(divergence_from_normal(Inverted(mean, log_std, mean)), expected, rtol=1e-6)
    check_grads(lambda m, s: divergence_from_normal(Inverted(m, s, m)), (mean, log_std), order=2)


def test_the_divergence_against_sampling():
    random = np.random.default_rng(0)
    mean, std = 0.7, 0.4
    x = mean + std * random.normal(size=400_000)
    log_ratio = -((x - mean) ** 2) / (2 * std**2) - np.log(std) + x**2 / 2
    inverted = Inverted(jnp.array([[mean]]), jnp.log(jnp.array([[std]])), jnp.zeros((1, 1)))
    assert float(divergence_from_normal(inverted)[0]) == pytest.approx(log_ratio.mean(), rel=0.01)


def test_the_loss_by_hand(small):
    networks, params = networks_and_params(small, ("text", "image", "generator", "inverter"))
    batch, key = batch_of(), jax.random.key(1)
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
    visible = jnp.ones_like(images[..., :1]).at[:, :8].set(0)
    text = networks.text_encoder.apply(params["text"], batch["tokens"])
    weights = InversionWeights(perceptual=0.3, prior=0.2)
    loss, terms = inversion_loss(networks, params, images, visible, text, key, weights)

    inverted = networks.inverter.apply(params["inverter"], images, visible)
    z = inverted.mean + np.exp(inverted.log_std) * jax.random.normal(key, inverted.mean.shape)
    drawn = networks.generator.apply(params["generator"], z, text)
    a, b = (np.asarray(networks.image_encoder.apply(params["image"], x)) for x in (images, drawn))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    expected = np.asarray(((drawn - images) ** 2).mean((1, 2, 3)))
    expected = expected + 0.3 * (1 - cosine) + 0.2 * np.asarray(divergence_from_normal(inverted))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert set(terms) == {"loss/reconstruction", "loss/prior", "loss/perceptual"}
    without = {name: p for name, p in params.items() if name != "image"}  # no text phase, no image tower
    assert "loss/perceptual" not in inversion_loss(networks, without, images, visible, text, key, weights)[1]


def test_hidden_places_are_not_looked_at_and_visible_ones_are_kept(small):
    networks, params = networks_and_params(small)
    batch = batch_of()
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
    visible = jnp.ones_like(images[..., :1]).at[:, 4:12].set(0)
    text = networks.text_encoder.apply(params["text"], batch["tokens"])
    done = complete(networks, params, images, visible, text)
    other = complete(networks, params, jnp.where(visible == 0, 0.3, images), visible, text)
    np.testing.assert_array_equal(done, other)
    np.testing.assert_array_equal(np.where(visible == 1, done, 0), np.where(visible == 1, images, 0))
    assert (np.asarray(done) != np.asarray(images)).any()


def test_the_phase_learns_and_the_inverters_noise_is_better_than_any(small):
    method = GeneratorMethod.create(small, nets.build(small, VOCAB), total_steps=200)
    batch, held_out = batch_of(num=64), batch_of(seed=1, num=64)
    state = jax.jit(functools.partial(init_generator_state, method))(batch)
    before = state
    train_step = jax.jit(functools.partial(generator_step, method))
    history = []
    for _ in range(200):
        state, metrics = train_step(state, batch)
        history.append(float(metrics["loss/inversion"]))
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert np.mean(history[-5:]) < 0.5 * history[0]
    assert train_step._cache_size() == 1 and state.step == 200
    jax.tree.map(np.testing.assert_array_equal, before.frozen, state.frozen)

    networks, params = method.networks, state.frozen | state.params
    images = held_out["images"].astype(jnp.float32) / 127.5 - 1
    text = networks.text_encoder.apply(params["text"], held_out["tokens"])
    z = networks.inverter.apply(params["inverter"], images, jnp.ones_like(images[..., :1])).mean
    error = lambda z: float(((networks.generator.apply(params["generator"], z, text) - images) ** 2).mean())
    at_random = [error(jax.random.normal(jax.random.key(seed), z.shape)) for seed in range(5)]
    assert error(z) < 0.5 * min(at_random)


def test_a_mask_is_drawn_anew_each_step(small):
    small.pretrain_generator.update(masks=("half",), caption_dropout=0.0)
    method = GeneratorMethod.create(small, nets.build(small, VOCAB), total_steps=10)
    batch = batch_of()
    state = jax.jit(functools.partial(init_generator_state, method))(batch)
    train_step = jax.jit(functools.partial(generator_step, method))
    first, again = train_step(state, batch)[1], train_step(state, batch)[1]
    later = train_step(state.replace(step=jnp.int32(1)), batch)[1]
    assert first["loss/prior"] == again["loss/prior"] != later["loss/prior"]


def test_the_adversarial_phase_can_reproduce_pictures_too(small):
    """The term trains the inverter along, and adds to the generator's loss by its weight."""
    networks, given = networks_and_params(small)
    batch = batch_of()
    small.loss.reconstruction_weight = 2.0
    small.train.update(batch_images=8, warmup_steps=0)
    method = Method.create(small, networks, 10)
    state = jax.jit(functools.partial(step.init_state, method, batch))(given)
    assert set(state.params) == {"generator", "discriminator", "inverter"} and set(state.ema) == {
        "generator",
        "inverter",
    }
    jax.tree.map(np.testing.assert_array_equal, state.params["inverter"], given["inverter"])
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
    assert {"loss/reconstruction", "loss/prior", "gradient_norm/inverter"} <= metrics.keys()
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), state.params, after.params))
    assert any(moved)
    real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)
    everyone = state.frozen | state.params
    text = step.encode(method, everyone, batch["tokens"])
    term, _ = inversion_loss(
        networks, everyone, real, jnp.ones_like(real[..., :1]), text, jax.random.fold_in(key, 1), method.inversion
    )
    small.loss.reconstruction_weight = 0.0
    without = Method.create(small, networks, 10)
    with_term, _ = step.generator_loss(method, everyone, 0, real, batch["tokens"], key)
    plain, _ = step.generator_loss(without, everyone, 0, real, batch["tokens"], key)
    assert float(with_term) == pytest.approx(float(plain + 2 * term.mean()), rel=1e-5)


def test_one_device_equals_two(small):
    small.pretrain_generator.beta2 = 0.5
    method = GeneratorMethod.create(small, nets.build(small, VOCAB), total_steps=10)
    batch = {name: np.asarray(x) for name, x in batch_of().items()}
    results = []
    for devices in (1, 2):
        mesh = parallel.make_mesh(devices)
        state = parallel.init_on(mesh, functools.partial(init_generator_state, method, batch), {})
        train_step = parallel.compile_step(functools.partial(generator_step, method), mesh)
        results.append(train_step(state, parallel.to_devices(batch, mesh))[1]["loss/inversion"])
    assert float(results[0]) == pytest.approx(float(results[1]), rel=1e-5)
