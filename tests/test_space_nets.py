"""The spaces of a game: codes of unit variance, decoders that undo encoders, components that lose least."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.data.dataset import pictures_a_caption
from t2igan.method import automatic
from t2igan.method.losses import reconstruction
from t2igan.nets import patches
from t2igan.nets.autoencoder import Autoencoder, PatchComponents, normalised, statistics_of


@pytest.fixture
def images():
    """Sixteen pictures whose neighbouring pixels are alike, float32 in [-1, 1]."""
    random = np.random.default_rng(0)
    coarse = random.uniform(-1, 1, (16, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    return jnp.asarray(np.clip(coarse + 0.1 * random.normal(size=coarse.shape), -1, 1), jnp.float32)


@pytest.mark.parametrize(
    ("factor", "encoder", "decoder"),
    [(2, (8,), (8,)), (4, (8,), (8, 8)), (4, (8, 8), (8, 8, 4)), (8, (8, 8), (8, 8))],
)
def test_an_autoencoder_has_the_shapes_that_its_factor_says(images, factor, encoder, decoder):
    module = Autoencoder(3, factor, 5, encoder, decoder, blocks=1)
    params = module.init(jax.random.key(0), images)
    codes = module.apply(params, images, method="encode")
    assert codes.shape == (16, 16 // factor, 16 // factor, 5) and codes.dtype == jnp.float32
    assert module.apply(params, codes, method="decode").shape == images.shape
    assert set(params) == {"params", "statistics"}


def test_codes_have_unit_variance_by_their_statistics(images):
    module = Autoencoder(3, 4, 6, (8,), (8, 8))
    params = module.init(jax.random.key(1), images)
    raw = 3 + 5 * module.apply(params, images, method="raw")
    codes = normalised(raw, *statistics_of(raw))
    np.testing.assert_allclose(codes.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(codes.var((0, 1, 2)), 1, rtol=1e-3)
    mean, mean_square = statistics_of(module.apply(params, images, method="raw"))
    known = params | {"statistics": {"mean": mean, "mean_square": mean_square}}
    np.testing.assert_allclose(module.apply(known, images, method="encode").var((0, 1, 2)), 1, rtol=1e-3)


def test_a_channel_that_never_changes_stays_finite():
    raw = jnp.full((2, 4, 4, 1), 7.0)
    assert jnp.isfinite(normalised(raw, *statistics_of(raw))).all()


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_all_components_lose_nothing_and_few_lose_what_the_variance_says(images, whitening):
    bytes_ = np.round((np.asarray(images) + 1) * 127.5).astype(np.uint8)
    exact = jnp.asarray(bytes_, jnp.float32) / 127.5 - 1
    params = patches.fit(bytes_, 4, 48, whitening)
    module = PatchComponents(3, 4, 48)
    np.testing.assert_allclose(module.apply(params, exact), exact, atol=2e-5)
    few = patches.fit(bytes_, 4, 6, whitening)
    kept = PatchComponents(3, 4, 6).apply(few, exact)
    variances = np.linalg.eigvalsh(
        np.cov(exact.reshape(16, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48).T)
    )
    lost = variances[:-6].sum() / 48
    assert ((kept - exact) ** 2).mean() == pytest.approx(lost, rel=0.01)
    assert patches.reconstruction_variance(few, np.asarray(exact)) == pytest.approx(lost, rel=0.01)


def test_components_have_variance_one_on_average_and_whitened_ones_each(images):
    bytes_ = np.round((np.asarray(images) + 1) * 127.5).astype(np.uint8)
    exact = jnp.asarray(bytes_, jnp.float32) / 127.5 - 1
    of = lambda whitening: np.asarray(
        PatchComponents(3, 4, 8).apply(patches.fit(bytes_, 4, 8, whitening), exact, method="encode")
    ).var((0, 1, 2))
    np.testing.assert_allclose(of(1.0), 1, rtol=0.01)
    for whitening in (0.0, 0.5):
        assert of(whitening).mean() == pytest.approx(1, rel=0.01)
    assert of(0.0).max() > of(0.5).max() > 1.5  # the first component stands out less, the whiter


def test_the_loss_of_a_reconstruction_by_hand():
    images = jnp.zeros((1, 2, 2, 1))
    decoded = jnp.asarray([[[[1.0], [0.0]], [[0.0], [0.0]]]])
    loss, terms = reconstruction.reconstruction_loss(images, decoded, 0.5)
    # |e| is 1 at one of four places; of two differences down one is 1, and of two across one.
    assert terms["loss/l1"] == 0.25 and terms["loss/gradient"] == 1.0 and loss == 0.75
    assert reconstruction.psnr(images, decoded) == pytest.approx(10 * np.log10(4 / 0.25))
    shifted, terms = reconstruction.reconstruction_loss(images, images + 0.1, 0.5)
    assert terms["loss/gradient"] == 0 and shifted == pytest.approx(0.1)


def test_features_join_the_loss_where_they_are_given():
    images = jnp.zeros((2, 2, 2, 1))
    decoded = jnp.ones((2, 2, 2, 1))
    features = lambda x: [jnp.concatenate([1 - x, x], -1)]
    loss, terms = reconstruction.reconstruction_loss(images, decoded, 0.5, features, 0.25)
    np.testing.assert_allclose(terms["loss/perceptual"], 2, rtol=1e-5)
    np.testing.assert_allclose(loss, 1 + 0.5, rtol=1e-5)
    assert "loss/perceptual" not in reconstruction.reconstruction_loss(images, decoded, 0.5, features)[1]


def test_the_squared_error_counts_what_is_far_off():
    images = jnp.zeros((1, 2, 2, 1))
    spread, at_one_place = jnp.full((1, 2, 2, 1), 0.1), jnp.zeros((1, 2, 2, 1)).at[0, 0, 0, 0].set(0.4)
    for decoded, squared in ((spread, 0.01), (at_one_place, 0.04)):
        loss, terms = reconstruction.reconstruction_loss(images, decoded, 0.0, squared_weight=4.0)
        np.testing.assert_allclose(terms["loss/squared"], [squared], rtol=1e-6)
        np.testing.assert_allclose(loss, [0.1 + 4 * squared], rtol=1e-6)
    assert "loss/squared" not in reconstruction.reconstruction_loss(images, decoded, 0.5)[1]


def test_total_variance_counts_pixels_in_units_of_the_networks():
    images = np.stack([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)])  # -1 and 1: variance 1
    assert automatic.total_variance(images) == pytest.approx(12)
    codes = np.random.default_rng(0).normal(size=(3_000, 2, 2, 3)).astype(np.float16)
    assert automatic.total_variance(codes) == pytest.approx(12, rel=0.05)
    many = np.broadcast_to(images[:, :1, :1], (2, 1, 1, 3)).repeat(6_000, 0)  # more than are looked at
    assert automatic.total_variance(many) == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize(
    ("variance", "weight"), [(203.4, 0.1), (1_627.0, 0.80), (712.0, 0.35), (356.0, 0.175), (1_379.0, 0.678)]
)
def test_the_automatic_penalty_weight_is_that_of_the_trial(variance, weight):
    assert automatic.penalty_weight(variance) == pytest.approx(weight, rel=0.01)


def test_the_paired_weight_is_full_at_one_picture_a_caption_and_none_at_two():
    assert automatic.paired_weight(1.0, 1_379.0, 2_048) == pytest.approx(20)
    assert automatic.paired_weight(1.5, 1_379.0, 2_048) == pytest.approx(10)
    assert automatic.paired_weight(2.0, 1_379.0, 2_048) == automatic.paired_weight(40.0, 1_379.0, 2_048) == 0
    # Twice the variance a value: half the weight, so that the product with the error stays.
    assert automatic.paired_weight(1.0, 2 * 1_379.0, 2_048) == pytest.approx(10)


def test_pictures_a_caption():
    assert pictures_a_caption([("a  Cat",), ("a cat",), ("a dog", "a cat")]) == 1.5
    assert pictures_a_caption([("one",), ("two",)]) == 1
    assert pictures_a_caption([("",)]) == 0
