"""Distances and retrieval: golden values by hand, independent formulas, what must not change a figure."""

import math

import numpy as np
import pytest
import scipy.linalg

from t2igan.evaluation.metrics import (
    frechet_distance,
    frechet_infinity,
    frechet_resampled,
    interval,
    interval_of_mean,
    interval_of_share,
    kernel_distance,
    match_ranks,
    resampled_counts,
)


def gaussian(seed, shape, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, scale, shape)


def mixed(seed, shape):
    """Features with correlated columns of very different sizes."""
    random = np.random.default_rng(seed)
    return random.normal(size=shape) @ (random.normal(size=(shape[1], shape[1])) * np.logspace(-2, 1, shape[1]))


def rotation(seed, dimension):
    return np.linalg.qr(gaussian(seed, (dimension, dimension)))[0]


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
    turned = rotation(6, 10)
    assert frechet_distance(fake, real) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(real[::-1], fake) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(real @ turned + 5, fake @ turned + 5) == pytest.approx(distance, rel=1e-9)
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


def test_frechet_resampled_counts_pictures_as_often_as_told():
    real, fake = mixed(20, (60, 6)), mixed(21, (50, 6))
    random = np.random.default_rng(22)
    of_real, of_fake = random.multinomial(60, np.full(60, 1 / 60), 3), random.multinomial(50, np.full(50, 1 / 50), 3)
    found = frechet_resampled(real, fake, of_real, of_fake)
    expected = [
        frechet_distance(np.repeat(real, r, axis=0), np.repeat(fake, f, axis=0))
        for r, f in zip(of_real, of_fake, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    ones = frechet_resampled(real, fake, np.ones((1, 60), int), np.ones((1, 50), int))
    assert ones[0] == pytest.approx(frechet_distance(real, fake), rel=1e-6)


def test_frechet_infinity_is_the_line_through_its_points():
    real, fake = mixed(23, (500, 8)), mixed(24, (400, 8)) + 0.1
    found = frechet_infinity(real, fake, points=6, seed=0)
    slope = np.cov(1 / found.num_images, found.frechet)[0, 1] / np.var(1 / found.num_images, ddof=1)
    intercept = found.frechet.mean() - slope * (1 / found.num_images).mean()  # least squares, written out
    assert found.value == pytest.approx(intercept, rel=1e-6)
    assert found.num_images.tolist() == [200, 240, 280, 320, 360, 400]
    assert found.frechet[-1] == pytest.approx(frechet_distance(real, fake), rel=1e-9)  # of all, in whatever order


def test_frechet_infinity_has_less_bias_than_the_distance():
    real = gaussian(25, (20_000, 16))
    distances, extrapolated = [], []
    for seed in range(8):
        fake = gaussian(100 + seed, (400, 16))
        distances.append(frechet_distance(real, fake))
        extrapolated.append(frechet_infinity(real, fake, seed=seed).value)
    assert abs(np.mean(extrapolated)) < 0.25 * np.mean(distances)  # the true distance is 0
    with pytest.raises(ValueError, match="too few"):
        frechet_infinity(real, fake[:32], seed=0)


def kernel_distance_by_the_definition(real, fake):
    """Equation 3 of Gretton et al. 2012, pair by pair."""
    k = lambda x, y: (x @ y / len(x) + 1) ** 3
    n, m = len(real), len(fake)
    within = lambda x: sum(k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j)
    across = sum(k(x, y) for x in real for y in fake)
    return within(real) / (n * (n - 1)) + within(fake) / (m * (m - 1)) - 2 * across / (n * m)


def test_kernel_distance_equals_its_definition_and_scikit_learn():
    from sklearn.metrics.pairwise import polynomial_kernel

    real, fake = gaussian(30, (40, 5)), gaussian(31, (30, 5), shift=0.5)
    value = kernel_distance(real, fake, seed=0).value
    assert value == pytest.approx(kernel_distance_by_the_definition(real, fake), rel=1e-6)
    xx, yy, xy = (
        polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1) for a, b in ((real, real), (fake, fake), (real, fake))
    )
    unbiased = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    assert value == pytest.approx(unbiased(xx) + unbiased(yy) - 2 * xy.mean(), rel=1e-6)


def test_kernel_distance_is_unbiased_and_its_error_honest():
    values, errors = zip(
        *(kernel_distance(gaussian(s, (60, 4)), gaussian(99 + s, (60, 4)), seed=s) for s in range(60)), strict=True
    )
    spread = np.std(values, ddof=1)
    assert abs(np.mean(values)) < 3 * spread / len(values) ** 0.5  # 0 for equal distributions, however few pictures
    assert 0.7 * spread < np.mean(errors) < 4 * spread
    assert np.isnan(kernel_distance(gaussian(0, (19, 4)), gaussian(1, (60, 4)), seed=0).standard_error)


def test_kernel_distance_invariances():
    real, fake = gaussian(32, (80, 6)), gaussian(33, (70, 6), scale=1.5)
    value = kernel_distance(real, fake, seed=0).value
    turned = rotation(34, 6)
    assert kernel_distance(real @ turned, fake @ turned, seed=0).value == pytest.approx(value, rel=1e-9)
    assert kernel_distance(real[::-1], fake[::-1], seed=1).value == pytest.approx(value, rel=1e-9)
    assert kernel_distance(fake, real, seed=0).value == pytest.approx(value, rel=1e-9)


def test_kernel_distance_in_blocks_is_that_in_one_piece(monkeypatch):
    from t2igan.evaluation.metrics import distances

    real, fake = gaussian(35, (50, 4)), gaussian(36, (45, 4))
    value = kernel_distance(real, fake, seed=0).value
    monkeypatch.setattr(distances, "BLOCK", 7)
    assert kernel_distance(real, fake, seed=0).value == pytest.approx(value, rel=1e-9)


def test_distances_see_mode_collapse_and_noise():
    real = gaussian(37, (300, 8))
    healthy, collapsed, noise = gaussian(38, (300, 8)), np.repeat(real[:1], 300, axis=0), gaussian(39, (300, 8), 4.0)
    for distance in (frechet_distance, lambda a, b: kernel_distance(a, b, seed=0).value):
        assert distance(real, collapsed) > 10 * abs(distance(real, healthy))
        assert distance(real, noise) > 10 * abs(distance(real, healthy))


def ranks_by_sorting(queries, targets):
    """The rank of each query's own target among all, by cosine."""
    cosine = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        targets / np.linalg.norm(targets, axis=1)[:, None]
    ).T
    return [int(np.flatnonzero(np.argsort(-row) == i)[0]) + 1 for i, row in enumerate(cosine)]


def test_ranks_equal_those_by_sorting():
    images, sentences = gaussian(40, (50, 6)), gaussian(41, (50, 6))
    ranks, candidates = match_ranks(images, images + sentences, captions=range(50), seed=0)
    assert candidates == 50
    assert ranks.tolist() == ranks_by_sorting(images, images + sentences)


def test_ranks_by_hand():
    # The third picture is nearer to the first caption than to its own.
    sentences = np.eye(3)
    images = np.array([[2.0, 0.1, 0.0], [0.0, 9.0, 1.0], [1.0, 0.0, 0.5]])
    ranks, candidates = match_ranks(images, sentences, captions=["a", "b", "c"], seed=0)
    assert (ranks.tolist(), candidates) == ([1, 1, 2], 3)
    assert match_ranks(sentences, images, captions=["a", "b", "c"], seed=0).ranks.tolist() == [1, 1, 1]


def test_ranks_do_not_count_a_duplicate_caption_as_an_error():
    sentences = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    images = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]])
    result = match_ranks(images, sentences, captions=["same", "same", "other"], seed=0)
    assert (result.ranks.tolist(), result.candidates) == ([1, 1, 1], 2)


def test_ranks_of_unrelated_embeddings_are_chance():
    images, sentences = gaussian(10, (2000, 32)), gaussian(11, (2000, 32))
    ranks, candidates = match_ranks(images, sentences, captions=range(2000), candidates=20, seed=3)
    assert candidates == 20
    for k in (1, 5, 10):
        assert (ranks <= k).mean() == pytest.approx(k / 20, abs=0.03)
    assert ranks.mean() == pytest.approx(10.5, abs=0.4)
    np.testing.assert_array_equal(
        match_ranks(images, sentences, captions=range(2000), candidates=20, seed=3).ranks, ranks
    )


def test_ranks_do_not_see_lengths_or_rotations_and_count_ties_against():
    images = gaussian(12, (50, 8))
    lengths = np.linspace(0.1, 9, 50)[:, None]
    assert (match_ranks(images, images * lengths, captions=range(50), seed=0).ranks == 1).all()
    assert (match_ranks(images, np.ones((50, 8)), captions=range(50), seed=0).ranks == 50).all()
    other, turned = gaussian(13, (50, 8)), rotation(14, 8)
    np.testing.assert_array_equal(
        match_ranks(images, other, captions=range(50), seed=0).ranks,
        match_ranks(images @ turned, other @ turned, captions=range(50), seed=0).ranks,
    )
    with pytest.raises(ValueError, match="two different"):
        match_ranks(images, images, captions=["a"] * 50, seed=0)


def test_resampled_counts_are_resamples():
    counts = resampled_counts(30, 400, seed=0)
    assert (counts.sum(1) == 30).all()
    assert counts.mean(0) == pytest.approx(np.ones(30), abs=0.25)
    np.testing.assert_array_equal(counts, resampled_counts(30, 400, seed=0))


def test_interval_of_mean_holds_the_truth_about_95_times_of_100():
    inside = 0
    for seed in range(200):
        values = gaussian(seed, 80, shift=3.0)
        low, high = interval_of_mean(values, np.arange(80), resampled_counts(80, 200, seed=seed))
        inside += low <= 3.0 <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_interval_of_mean_resamples_captions_with_all_their_drawings():
    # Ten drawings a caption, all alike: as uncertain as one drawing a caption, and wider than if they were 300.
    of_caption = gaussian(50, 30)
    values, captions = np.repeat(of_caption, 10), np.repeat(np.arange(30), 10)
    counts = resampled_counts(30, 500, seed=1)
    once = interval_of_mean(of_caption, np.arange(30), counts)
    assert interval_of_mean(values, captions, counts) == pytest.approx(once)
    low, high = interval_of_mean(values, np.arange(300), resampled_counts(300, 500, seed=1))
    assert high - low < 0.5 * (once.high - once.low)


def test_wilsons_interval_by_hand():
    of = lambda right, wrong: interval_of_share(np.repeat([True, False], [right, wrong]), np.arange(right + wrong))
    assert of(8, 2) == pytest.approx((0.49016, 0.94331), abs=1e-5)
    assert of(5, 5) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert of(0, 10) == pytest.approx((0, 0.27754), abs=1e-5)  # z² / (n + z²)
    assert of(10, 0) == pytest.approx((1 - 0.27754, 1), abs=1e-5)


@pytest.mark.parametrize(("share", "num"), [(0.997, 425), (0.9, 425), (0.5, 100), (0.02, 100)])
def test_wilsons_interval_holds_the_truth_about_95_times_of_100(share, num):
    """Exactly: over all numbers of right ones, each as likely as the binomial distribution says."""
    inside = 0.0
    for right in range(num + 1):
        low, high = interval_of_share(np.arange(num) < right, np.arange(num))
        inside += math.comb(num, right) * share**right * (1 - share) ** (num - right) * (low <= share <= high)
    assert 0.92 <= inside <= 0.985


def test_drawings_of_a_caption_that_are_alike_count_once():
    once, groups = np.arange(30) < 24, np.arange(30)
    ten = interval_of_share(np.repeat(once, 10), np.repeat(groups, 10))
    assert ten == pytest.approx(interval_of_share(once, groups), abs=0.005)
    eight = np.tile(np.arange(10) < 8, 30)  # of each caption's ten
    assert interval_of_share(eight, np.repeat(groups, 10)) == pytest.approx(interval_of_share(eight, np.arange(300)))
    for all_alike in (True, False):  # nothing is known of how alike they are
        found = interval_of_share(np.full(300, all_alike), np.repeat(groups, 10))
        assert found == pytest.approx(interval_of_share(np.full(30, all_alike), groups))


def test_interval_by_hand():
    values = np.arange(101.0)
    assert interval(values) == pytest.approx((2.5, 97.5))
    assert interval(values, centre=7.0) == pytest.approx((2.5 - 43, 97.5 - 43))
