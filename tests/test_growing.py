"""Progressive growing: which size is drawn when, sizes that follow each other without a jump, what learns when."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import batch_of, changed, draw, first_state, method_of, same

from t2igan import nets, step
from t2igan.method.techniques.growing import Growth

GROWING = {"train.grow_share": 0.5, "train.batch_images": 2, "generator.attention_from_px": 0}


@pytest.fixture
def grown(config):
    """Networks with weights everywhere, two pictures, noise and text."""
    config.update_from_flattened_dict(GROWING)
    networks, random = nets.build(config, 40), np.random.default_rng(0)
    text = nets.Text(jnp.asarray(random.normal(size=(2, 8)), jnp.float32), jnp.zeros((2, 5, 8)), jnp.ones((2, 5), bool))
    z, images = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 4), (2, 16, 16, 3)))
    generator = draw(jax.eval_shape(networks.generator.init, jax.random.key(0), z, text))
    discriminator = draw(jax.eval_shape(networks.discriminator.init, jax.random.key(0), images, text))
    draws = jax.jit(
        lambda stage, fade: networks.generator.apply(generator, z, text, grown=(stage, fade)), static_argnums=0
    )
    scores = jax.jit(
        lambda x, stage, fade: networks.discriminator.apply(discriminator, x, text, grown=(stage, fade)),
        static_argnums=1,
    )
    whole = networks.generator.apply(generator, z, text)
    return draws, scores, images, whole, networks.discriminator.apply(discriminator, images, text)


def reduced(images, px):
    """The means over blocks, at full size again."""
    n = images.shape[1] // px
    small = np.asarray(images).reshape(2, px, n, px, n, 3).mean((2, 4))
    return small.repeat(n, 1).repeat(n, 2)


def test_stages_by_hand():
    growth = Growth.create(levels=3, total_steps=100, share=0.4, fade_share=0.5)
    assert growth.starts == (0, 20, 40) and growth.fade_steps == 10
    stages = [int(growth.stage(jnp.int32(i))) for i in (0, 19, 20, 39, 40, 99)]
    assert stages == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose([growth.fade(1, jnp.int32(i)) for i in (20, 24, 29, 35)], [0.1, 0.5, 1, 1], rtol=1e-6)
    assert growth.fade(0, jnp.int32(3)) == 1
    assert Growth.create(3, 100, 0.0, 0.5) == Growth() and Growth.create(1, 100, 0.5, 0.5) == Growth()


def test_a_stage_draws_its_own_size(grown):
    draws, _, _, whole, _ = grown
    for stage, px in ((0, 4), (1, 8), (2, 16)):
        picture = draws(stage, 1.0)
        assert picture.shape == (2, 16, 16, 3)
        np.testing.assert_allclose(reduced(picture, px), picture, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(draws(2, 1.0), whole, rtol=1e-3, atol=1e-2)  # values in the hundreds


def test_a_size_fades_in_from_the_one_before(grown):
    draws, scores, images, _, logits = grown
    for stage in (1, 2):
        np.testing.assert_allclose(draws(stage, 0.0), draws(stage - 1, 1.0), rtol=1e-3, atol=1e-2)
        middle = (draws(stage, 0.0) + draws(stage, 1.0)) / 2
        np.testing.assert_allclose(draws(stage, 0.5), middle, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(scores(images, stage, 0.0), scores(images, stage - 1, 1.0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores(images, 2, 1.0), logits, rtol=1e-3, atol=1e-4)


def test_the_discriminator_sees_the_stages_size_alone(grown):
    _, scores, images, _, _ = grown
    for stage, px in ((0, 4), (1, 8)):
        np.testing.assert_allclose(
            scores(jnp.asarray(reduced(images, px)), stage, 1.0), scores(images, stage, 1.0), rtol=1e-3, atol=1e-4
        )
    assert abs(scores(jnp.asarray(reduced(images, 8)), 2, 1.0) - scores(images, 2, 1.0)).max() > 1e-3


def test_a_step_teaches_the_levels_so_far_and_starts_the_optimizers_anew(config):
    method = method_of(config, GROWING)
    assert method.growth.starts == (0, 2, 4)
    batch = batch_of(config)
    state = first_state(method, batch)
    train_step = jax.jit(functools.partial(step.train_step, method))
    after, metrics = train_step(state, batch)
    assert all(np.isfinite(value) for value in metrics.values())

    def moved(after):
        pairs = ((name, of_one, after.params["generator"]["params"][name]) for name, of_one in before.items())
        return {name for name, x, y in pairs if not same(x, y)}

    before = state.params["generator"]["params"]
    assert "pixels_0" in moved(after) and "pixels_2" not in moved(after)
    at_end, _ = train_step(state.replace(step=jnp.int32(9)), batch)
    assert "pixels_2" in moved(at_end)
    assert changed(state, after) >= {"params/generator", "params/discriminator", "ema/generator"}
    # Told the stage by the number of the step, it does the same without branches.
    assert [dict(step.decided(method, i))["stage"] for i in (0, 1, 2, 9)] == [0, 0, 1, 2]
    told, _ = jax.jit(functools.partial(step.train_step, method, stage=2))(state.replace(step=jnp.int32(9)), batch)
    np.testing.assert_allclose(
        told.params["generator"]["params"]["pixels_2"]["kernel"],
        at_end.params["generator"]["params"]["pixels_2"]["kernel"],
        atol=1e-5,
    )
    # At the first step of a stage moments of old are forgotten, after it they are not.
    ones = jax.tree.map(jnp.ones_like, state.opt_state)
    counts = []
    for number in (2, 3):
        later, _ = train_step(state.replace(step=jnp.int32(number), opt_state=ones), batch)
        counts.append(int(jax.tree.leaves(later.opt_state["generator"])[0]))
    assert counts == [1, 2]


def test_every_optimizer_starts_anew_as_it_first_did(config):
    """The optimistic one's first step is not of twice the gradient, as it is after a gradient of zero."""
    method = method_of(config, GROWING | {"train.optimizer": "optimistic_adam"})
    batch = batch_of(config)
    state = first_state(method, batch).replace(step=jnp.int32(2))
    used = jax.tree.map(jnp.ones_like, state.opt_state)
    train_step = jax.jit(functools.partial(step.train_step, method, stage=1))
    (fresh, _), (anew, _) = train_step(state, batch), train_step(state.replace(opt_state=used), batch)
    jax.tree.map(np.testing.assert_array_equal, fresh.params, anew.params)


def test_a_generator_that_grows_draws_at_any_time_what_it_has_learned(config):
    """A new level adds nothing at first: as initialised, the whole generator draws what the first level does."""
    config.update_from_flattened_dict(GROWING)
    generator = nets.build(config, 40).generator
    text = nets.Text(jnp.ones((2, 8)), jnp.zeros((2, 5, 8)), jnp.ones((2, 5), bool))
    z = jnp.ones((2, 4))
    params = jax.jit(generator.init)(jax.random.key(0), z, text)
    small = generator.apply(params, z, text, grown=(0, 1.0))
    np.testing.assert_allclose(generator.apply(params, z, text), small, rtol=1e-5, atol=1e-6)
    assert abs(small).max() > 1e-2
