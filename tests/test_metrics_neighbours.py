"""Precision, recall, density, coverage against the `prdc` package, nearest neighbours against scikit-learn."""

import numpy as np
import pytest
from prdc import compute_prdc
from sklearn.neighbors import NearestNeighbors

from t2igan.evaluation.metrics import manifolds, nearest, neighbours


def gaussian(seed, shape, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, scale, shape)


def figures(real, fake, **ks):
    return [float(values.mean()) for values in manifolds(real, fake, **ks)]


@pytest.mark.parametrize(("n", "m", "d", "k"), [(150, 120, 8, 3), (90, 140, 20, 5), (60, 60, 2, 7)])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_manifolds_equal_prdc(n, m, d, k, shift):
    real, fake = gaussian(0, (n, d)), gaussian(1, (m, d), shift=shift)
    theirs = compute_prdc(real, fake, nearest_k=k)
    ours = figures(real, fake, precision_k=k, coverage_k=k)
    expected = [theirs[name] for name in ("precision", "recall", "density", "coverage")]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_manifolds_take_a_k_each():
    real, fake = gaussian(2, (80, 6)), gaussian(3, (70, 6))
    precision, recall, density, coverage = figures(real, fake)
    theirs3, theirs5 = compute_prdc(real, fake, nearest_k=3), compute_prdc(real, fake, nearest_k=5)
    assert (precision, recall) == pytest.approx((theirs3["precision"], theirs3["recall"]), rel=1e-6)
    assert (density, coverage) == pytest.approx((theirs5["density"], theirs5["coverage"]), rel=1e-6)


def test_manifolds_by_hand():
    # On a line, k = 1: real balls 0 ± 1, 1 ± 1, 3 ± 2; fake balls 0.5 ± 4, 4.5 ± 4, 9 ± 4.5.
    real, fake = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [4.5], [9.0]])
    found = manifolds(real, fake, precision_k=1, coverage_k=1)
    assert found.precision.tolist() == [True, True, False]
    assert found.recall.tolist() == [True, True, True]
    assert found.density.tolist() == [2.0, 1.0, 0.0]
    assert found.coverage.tolist() == [True, True, True]


def test_manifolds_in_blocks_are_those_in_one_piece(monkeypatch):
    real, fake = gaussian(4, (75, 5)), gaussian(5, (64, 5))
    whole = manifolds(real, fake)
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 8 * 75 * 10)
    for one, other in zip(manifolds(real, fake), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_manifolds_do_not_see_order_rotation_or_place():
    real, fake = gaussian(6, (90, 7)), gaussian(7, (80, 7))
    expected = figures(real, fake)
    turn, _ = np.linalg.qr(gaussian(8, (7, 7)))
    assert figures(real[::-1], np.roll(fake, 9, axis=0)) == pytest.approx(expected, rel=1e-9)
    assert figures(real @ turn + 1000, fake @ turn + 1000) == pytest.approx(expected, rel=1e-9)
    assert figures(5 * real, 5 * fake) == pytest.approx(expected, rel=1e-9)


def test_a_copy_of_the_real_pictures_has_all_and_duplicates_do_not_hide():
    real = gaussian(9, (60, 6)) + 100  # far from 0, where rounding is worst
    precision, recall, density, coverage = figures(real, real.copy())
    assert (precision, recall, coverage) == (1.0, 1.0, 1.0)
    assert density >= 1.0
    doubled = np.repeat(real[:10], 6, axis=0)  # their own balls have no extent: on the rim counts
    precision, recall, _, coverage = figures(real, doubled)
    assert precision == 1.0
    assert recall == pytest.approx(1 / 6)
    assert coverage < 1.0


def test_known_failures():
    real = gaussian(10, (400, 6))
    one_mode = gaussian(11, (400, 6), 0.02) + real[0] / 4
    precision, recall, density, coverage = figures(real, one_mode)
    assert precision > 0.9 and recall < 0.05 and coverage < 0.2
    precision, recall, density, coverage = figures(real, gaussian(12, (400, 6), 5.0))  # noise
    assert precision < 0.3 and density < 0.3 and coverage < 0.6
    precision, recall, density, coverage = figures(real, gaussian(13, (400, 6)))  # healthy
    assert min(precision, recall) > 0.75 and density == pytest.approx(1.0, abs=0.15)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.05)  # Naeem et al. 2020, section 3.3


def test_manifolds_refuse_too_few():
    with pytest.raises(ValueError, match="5 neighbours"):
        manifolds(gaussian(14, (5, 2)), gaussian(15, (9, 2)))


@pytest.mark.parametrize("block_bytes", [2**26, 8 * 30 * 4])
def test_nearest_equals_scikit_learn(block_bytes, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", block_bytes)
    queries, references = gaussian(16, (50, 30)), gaussian(17, (70, 30))
    distances, found = nearest(queries, references)
    expected, rows = NearestNeighbors(n_neighbors=1).fit(references).kneighbors(queries)
    np.testing.assert_allclose(distances, expected[:, 0], rtol=1e-9)
    np.testing.assert_array_equal(found, rows[:, 0])


def test_nearest_is_exact_for_twins_and_finds_the_first(monkeypatch):
    references = (gaussian(18, (40, 5)) + 1e6).astype(np.float32)
    references[31] = references[7]
    for block_bytes in (2**26, 8 * 5 * 6):
        monkeypatch.setattr(neighbours, "BLOCK_BYTES", block_bytes)
        distances, found = nearest(references[[31, 3]], references)
        assert distances.tolist() == [0.0, 0.0]
        assert found.tolist() == [7, 3]
    with pytest.raises(ValueError, match="nothing"):
        nearest(references, references[:0])
