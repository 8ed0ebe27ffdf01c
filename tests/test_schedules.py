"""End points, the value half way, and what a half-life is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.errors import UserError
from t2igan.method.optim.schedules import SCHEDULES, ema_decay, schedule

# At half the steps, from 8 to 2.
HALF = {"constant": 8.0, "cosine": 5.0, "linear": 5.0, "exponential": 4.0}
QUARTER = {"constant": 8.0, "cosine": 2 + 6 * (1 + 0.5**0.5) / 2, "linear": 6.5, "exponential": 8 * 2**-0.5}


END = {"constant": 8.0, "cosine": 2.0, "linear": 2.0, "exponential": 2.0}


def at(schedule, steps):
    """Values at several steps, as a jitted step sees them."""
    return np.asarray(jax.jit(jax.vmap(lambda step: jnp.asarray(schedule(step))))(jnp.asarray(steps)))


@pytest.mark.parametrize("shape", SCHEDULES)
def test_values_by_hand(shape):
    values = at(schedule(shape, 8.0, 2.0, 100), [0, 25, 50, 100, 1000])
    np.testing.assert_allclose(values, [8.0, QUARTER[shape], HALF[shape], END[shape], END[shape]], rtol=1e-5)


@pytest.mark.parametrize("shape", SCHEDULES)
@pytest.mark.parametrize(("start", "end"), [(8.0, 2.0), (2.0, 8.0)])
def test_monotone_within_its_ends(shape, start, end):
    values = at(schedule(shape, start, end, 20), range(25))
    steps = np.diff(values) * np.sign(end - start)
    assert (steps >= -1e-6).all()
    assert values.min() >= 2 - 1e-5 and values.max() <= 8 + 1e-5


@pytest.mark.parametrize("shape", SCHEDULES)
def test_equal_ends_are_constant(shape):
    assert not at(schedule(shape, 0.0, 0.0, 10), range(12)).any()


@pytest.mark.parametrize("shape", SCHEDULES)
def test_warmup_rises_from_zero_and_the_end_stays_where_it_was(shape):
    values = at(schedule(shape, 8.0, 2.0, 100, warmup_steps=20), [0, 5, 10, 20, 60, 100])
    np.testing.assert_allclose(values, [0, 2, 4, 8, HALF[shape], END[shape]], rtol=1e-5)


def test_warmup_longer_than_training_only_rises():
    values = at(schedule("cosine", 8.0, 2.0, 10, warmup_steps=16), [0, 4, 10])
    np.testing.assert_allclose(values, [0, 2, 5], rtol=1e-6)


def test_an_unknown_shape_names_the_known():
    with pytest.raises(UserError, match=r"'cosin'.*cosine"):
        schedule("cosin", 1.0, 0.0, 10)


def test_after_the_half_life_the_weight_is_one_half():
    decay = ema_decay(half_life_images=640.0, ramp=0.0, batch_images=32)
    assert np.prod(at(decay, range(640 // 32))) == pytest.approx(0.5, rel=1e-5)


def test_the_half_life_counts_images_not_steps():
    decay, larger = ema_decay(640.0, 0.0, 32), ema_decay(640.0, 0.0, 64)
    assert float(larger(0)) == pytest.approx(float(decay(0)) ** 2, rel=1e-5)


def test_the_ramp_shortens_the_half_life_early():
    values = at(ema_decay(half_life_images=640.0, ramp=0.5, batch_images=32), range(1000))
    # After the first step 32 images are seen: a half-life of 16 images, two of them a batch.
    np.testing.assert_allclose(values[[0, 9]], [2**-2.0, 2 ** (-32 / 160)], rtol=1e-5)
    np.testing.assert_allclose(values[39:], 2 ** (-32 / 640), rtol=1e-5)  # 1,280 images seen: the ramp is over
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("ramp", [0.0, 0.05])
def test_no_half_life_is_no_average(ramp):
    assert float(ema_decay(0.0, ramp, 32)(3)) == 0.0


def test_the_half_life_of_the_average_may_itself_move():
    decay = ema_decay(schedule("linear", 320.0, 640.0, 10), ramp=0.0, batch_images=32)
    assert float(decay(0)) == pytest.approx(2 ** (-32 / 320))
    assert float(decay(10)) == pytest.approx(2 ** (-32 / 640))
