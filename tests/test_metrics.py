"""Golden values by hand, SciPy's formula, and what must not change a figure."""

import numpy as np
import pytest
import scipy.linalg

from t2igan.metrics import attributes_right, diversity_within_captions, frechet_distance, r_precision


def gaussian(seed, shape, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, scale, shape)


def mixed(seed, shape):
    """Features with correlated columns of very different sizes."""
    random = np.random.default_rng(seed)
    return random.normal(size=shape) @ (random.normal(size=(shape[1], shape[1])) * np.logspace(-2, 1, shape[1]))


def test_frechet_of_one_dimension_by_hand():
    # means 1 and 4, variances 2 and 8: 9 + (sqrt(2) - sqrt(8))^2 = 11
    real, fake = np.array([[0.0], [2.0]]), np.array([[2.0], [6.0]])
    assert frechet_distance(real, fake) == pytest.approx(11.0, rel=1e-12)


def test_frechet_of_independent_axes_by_hand():
    # Diagonal covariances 2 and 8 on both axes, equal means: 2 * (sqrt(2) - sqrt(8))^2 with rotated samples
    square = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert frechet_distance(square, 2 * square) == pytest.approx(2 * (2 / 3), rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 12), (64, 64, 48)])
def test_frechet_equals_the_formula_with_sqrtm(n, m, d):
    real, fake = mixed(0, (n, d)), mixed(1, (m, d)) + 0.3
    c_real, c_fake = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(c_real @ c_fake).real
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(c_real + c_fake - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


def test_frechet_equals_the_symmetric_eigendecomposition():
    real, fake = mixed(2, (300, 20)), mixed(3, (300, 20))
    c_real, c_fake = np.cov(real.T), np.cov(fake.T)
    values, vectors = np.linalg.eigh(c_real)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c_fake @ root), 0)).sum()
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(c_real + c_fake) - 2 * cross
    # The reference is the less exact side: it takes roots of eigenvalues that are zero up to rounding.
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


def test_frechet_invariances():
    real, fake = mixed(4, (90, 10)), mixed(5, (80, 10))
    distance = frechet_distance(real, fake)
    rotation, _ = np.linalg.qr(gaussian(6, (10, 10)))
    assert frechet_distance(fake, real) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(real[::-1], fake) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(real @ rotation + 5, fake @ rotation + 5) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(3 * real, 3 * fake) == pytest.approx(9 * distance, rel=1e-9)


def test_frechet_of_too_few_pictures_for_the_dimension_is_exact():
    real = gaussian(7, (5, 64)).astype(np.float32)  # covariance of rank 4
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(real, real + np.float32(0.5)) == pytest.approx(64 * 0.25, rel=1e-5)
    assert frechet_distance(np.ones((3, 4)), np.ones((3, 4))) == 0.0


def test_frechet_is_biased_upwards_as_its_docstring_says():
    few, many = (frechet_distance(gaussian(8, (n, 16)), gaussian(9, (n, 16))) for n in (50, 2000))
    assert few > 10 * many > 0


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((1, 3)), np.zeros((9, 3)), "two or more"),
        (np.zeros((9, 3)), np.zeros((9, 4)), "must be|Type-check"),  # the tests' own shape checks come first
        (np.full((9, 3), np.nan), np.zeros((9, 3)), "finite"),
    ],
)
def test_frechet_refuses(real, fake, message):
    with pytest.raises((ValueError, TypeError), match=message):
        frechet_distance(real, fake)


def test_attributes_right_by_hand():
    predicted = np.array([[0, 1], [0, 2], [3, 2], [1, 0]])
    expected = np.array([[0, 1], [0, 1], [3, 2], [2, -1]])
    each, mean, everything = attributes_right(predicted, expected)
    np.testing.assert_allclose(each, [0.75, 0.5])
    assert (mean, everything) == (0.625, 0.5)


def test_an_unknown_label_is_never_right():
    assert attributes_right(np.array([[-1]]), np.array([[-1]])).mean == 0.0
    with pytest.raises(ValueError, match="not empty"):
        attributes_right(np.zeros((0, 2), int), np.zeros((0, 2), int))


def test_r_precision_by_hand():
    # The third picture is nearer to the first caption than to its own.
    sentences = np.eye(3)
    images = np.array([[2.0, 0.1, 0.0], [0.0, 9.0, 1.0], [1.0, 0.0, 0.5]])
    precision, candidates = r_precision(images, sentences, captions=["a", "b", "c"], seed=0)
    assert (precision, candidates) == (pytest.approx(2 / 3), 3)


def test_r_precision_does_not_count_a_duplicate_caption_as_an_error():
    sentences = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    images = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]])
    result = r_precision(images, sentences, captions=["same", "same", "other"], seed=0)
    assert result == (1.0, 2)


def test_r_precision_of_unrelated_embeddings_is_chance():
    images, sentences = gaussian(10, (2000, 32)), gaussian(11, (2000, 32))
    precision, candidates = r_precision(images, sentences, captions=range(2000), candidates=20, seed=3)
    assert candidates == 20
    assert precision == pytest.approx(1 / 20, abs=0.02)
    assert r_precision(images, sentences, captions=range(2000), candidates=20, seed=3).precision == precision


def test_r_precision_does_not_see_lengths_and_counts_ties_against():
    images = gaussian(12, (50, 8))
    lengths = np.linspace(0.1, 9, 50)[:, None]
    assert r_precision(images, images * lengths, captions=range(50), seed=0).precision == 1.0
    assert r_precision(images, np.ones((50, 8)), captions=range(50), seed=0).precision == 0.0
    with pytest.raises(ValueError, match="two different"):
        r_precision(images, images, captions=["a"] * 50, seed=0)


def test_diversity_by_hand():
    black, grey, white = (np.full((2, 2, 3), value, np.uint8) for value in (0, 51, 255))
    # pairs of "a": 51, 255, 204; of "b": 255; "c" has no pair
    images = np.stack([black, white, grey, white, black, grey])
    groups = ["a", "b", "a", "a", "b", "c"]
    assert diversity_within_captions(images, groups) == pytest.approx(((51 + 255 + 204) / 3 + 255) / 2 / 255)
    assert diversity_within_captions(np.stack([grey, grey]), ["a", "a"]) == 0.0


def test_diversity_equals_all_pairs():
    images = np.random.default_rng(13).integers(0, 256, (7, 5, 5, 1), np.uint8)
    pairs = [np.abs(images[i].astype(int) - images[j]).mean() for i in range(7) for j in range(i)]
    assert diversity_within_captions(images, [0] * 7) == pytest.approx(np.mean(pairs) / 255)
    with pytest.raises(ValueError, match="no caption"):
        diversity_within_captions(images, range(7))
