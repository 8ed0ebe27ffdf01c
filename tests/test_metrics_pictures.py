"""Attributes, binding, classifier score, diversity, memorisation: by hand, by other formulas, on known failures."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import entropy, mannwhitneyu
from sklearn.metrics import confusion_matrix, roc_auc_score

from t2igan.evaluation.metrics import (
    across_groups,
    attributes_right,
    binding,
    classifier_score,
    classifier_scores,
    closer_than,
    confusion,
    copies,
    distance_ratio,
    overfitting,
    quantiles,
    within_groups,
)


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


def test_confusion_equals_scikit_learn_and_leaves_out_the_unknown():
    random = np.random.default_rng(0)
    expected, predicted = random.integers(4, size=200), random.integers(4, size=200)
    np.testing.assert_array_equal(confusion(predicted, expected, 4), confusion_matrix(expected, predicted))
    assert confusion(np.array([1, 1]), np.array([-1, 0]), 2).tolist() == [[0, 1], [0, 0]]


VOCABULARY = {"hair": ["blue", "green", "none", "red"], "hat": ["cap", "none"], "top": ["green", "red", "yellow"]}
RED, GREEN, BLUE = "red", "green", "blue"


def labels(*rows):
    """(hair, top) in words -> labels of hair, hat, top."""
    return np.array([[VOCABULARY["hair"].index(h), 0, VOCABULARY["top"].index(t)] for h, t in rows])


def test_binding_by_hand():
    expected = labels((RED, GREEN), (RED, GREEN), (GREEN, RED), (RED, GREEN), (RED, RED), (BLUE, GREEN))
    predicted = labels((GREEN, RED), (GREEN, GREEN), (GREEN, RED), (BLUE, GREEN), (GREEN, GREEN), (RED, RED))
    (pair,) = binding(predicted, expected, VOCABULARY)
    assert (pair.attributes, pair.shared) == (("hair", "top"), ("green", "red"))
    # The fifth caption has one value for both, the sixth a blue that no top can have.
    assert (pair.num_images, pair.wrong, pair.swaps, pair.leaks) == (4, 3, 1, 2)
    # The wrong ones' hair is green, green, blue; their tops red, green, green. All were asked for red hair, green top.
    assert pair.swaps_by_chance == pytest.approx(3 * (2 / 3) * (1 / 3))
    assert pair.leaks_by_chance == pytest.approx(3 * (1 - (1 / 3) * (2 / 3)))


def test_binding_by_chance_is_what_shuffling_each_attribute_gives():
    random = np.random.default_rng(1)
    vocabulary = {"a": list("uvwx"), "b": list("uvwx")}
    expected, predicted = random.integers(4, size=(60, 2)), random.integers(4, size=(60, 2))
    (pair,) = binding(predicted, expected, vocabulary)
    relevant = expected[:, 0] != expected[:, 1]
    wrong = relevant & (predicted != expected).any(1)
    e, p = expected[wrong], predicted[wrong]
    both = [(a == e[i, 1]) and (b == e[i, 0]) for i in range(len(e)) for a, b in product(p[:, 0], p[:, 1])]
    assert pair.swaps_by_chance == pytest.approx(np.mean(both) * len(e))
    assert pair.swaps == int(((p[:, 0] == e[:, 1]) & (p[:, 1] == e[:, 0])).sum())


def test_a_generator_that_swaps_is_far_above_chance():
    random = np.random.default_rng(2)
    vocabulary = {"a": list("uvwxyz"), "b": list("uvwxyz")}
    expected = random.integers(6, size=(400, 2))
    swapping = np.where(random.random((400, 1)) < 0.3, expected[:, ::-1], expected)
    (pair,) = binding(swapping, expected, vocabulary)
    assert pair.swaps == pair.wrong > 50
    assert pair.swaps > 3 * pair.swaps_by_chance
    (pair,) = binding(random.integers(6, size=(400, 2)), expected, vocabulary)
    assert pair.swaps == pytest.approx(pair.swaps_by_chance, abs=12)
    (pair,) = binding(expected, expected, vocabulary)
    assert (pair.wrong, pair.swaps, pair.swaps_by_chance) == (0, 0, 0.0)


def test_classifier_score_equals_scipy_entropies():
    p = np.random.default_rng(3).dirichlet(np.ones(6), size=200)
    expected = np.exp(np.mean([entropy(row, p.mean(0)) for row in p]))
    assert classifier_score(p) == pytest.approx(expected, rel=1e-6)
    q = np.random.default_rng(4).dirichlet(np.ones(3), size=200)
    other = np.exp(np.mean([entropy(row, q.mean(0)) for row in q]))
    assert classifier_scores([p, q]) == pytest.approx((expected * other) ** 0.5, rel=1e-6)


def test_classifier_score_of_known_cases():
    assert classifier_score(np.tile(np.eye(5), (4, 1))) == pytest.approx(5.0)  # clear, and of all kinds
    assert classifier_score(np.repeat(np.eye(5)[:1], 20, axis=0)) == pytest.approx(1.0)  # one mode
    assert classifier_score(np.full((20, 5), 0.2)) == pytest.approx(1.0)  # unclear
    with pytest.raises(ValueError, match="not empty"):
        classifier_score(np.zeros((0, 3)))


def test_diversity_by_hand():
    # pairs of "a": 51, 255, 204; of "b": 255; "c" has no pair
    vectors = np.repeat(np.array([[0], [255], [51], [255], [0], [51]], np.uint8), 12, axis=1)
    found = within_groups(vectors, ["a", "b", "a", "a", "b", "c"])
    assert found == {"a": pytest.approx((51 + 255 + 204) / 3), "b": pytest.approx(255)}
    assert within_groups(vectors[[2, 5]], ["a", "a"]) == {"a": 0.0}


def test_diversity_equals_all_pairs():
    vectors = np.random.default_rng(13).normal(size=(7, 25))
    pairs = [np.abs(vectors[i] - vectors[j]).mean() for i, j in combinations(range(7), 2)]
    assert across_groups(vectors) == pytest.approx(np.mean(pairs))
    assert within_groups(vectors, [0] * 7) == {0: pytest.approx(np.mean(pairs))}
    assert across_groups(vectors[::-1]) == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError, match="no caption"):
        within_groups(vectors, range(7))
    with pytest.raises(ValueError, match="two pictures"):
        across_groups(vectors[:1])


def test_closer_than_equals_scipy_and_scikit_learn():
    random = np.random.default_rng(5)
    fake, real = random.integers(0, 30, 80) / 10, random.integers(5, 35, 60) / 10  # many ties
    ours = closer_than(fake, real)
    assert ours == pytest.approx(mannwhitneyu(real, fake).statistic / (80 * 60), rel=1e-6)
    is_fake = np.r_[np.ones(80), np.zeros(60)]
    assert ours == pytest.approx(roc_auc_score(is_fake, -np.r_[fake, real]), rel=1e-6)
    weights, of_real = random.integers(0, 4, 80), random.integers(0, 4, 60)
    repeated = closer_than(np.repeat(fake, weights), np.repeat(real, of_real))
    assert closer_than(fake, real, weights, of_real) == pytest.approx(repeated, rel=1e-9)


def test_closer_than_of_known_cases():
    real = np.random.default_rng(6).random(100) + 1
    assert closer_than(np.zeros(50), real) == 1.0  # memorised
    assert closer_than(real + 9, real) == 0.0
    assert closer_than(real, real) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="nothing to compare"):
        closer_than(real[:0], real)


def test_ratio_copies_and_quantiles():
    assert distance_ratio(np.array([1.0, 2.0, 9.0]), np.array([4.0, 3.0, 5.0])) == 0.5
    assert np.isnan(distance_ratio(np.ones(3), np.zeros(3)))
    assert copies(np.array(["a", "b", "c"]), np.array(["c", "x", "a", "a"])).tolist() == [True, False, True]
    np.testing.assert_allclose(quantiles(np.arange(101)), [5, 25, 50, 75, 95])


def test_overfitting_of_the_discriminator():
    assert overfitting(np.array([3.0, 5.0]), np.array([2.0, 4.0]), np.array([-2.0, 2.0])) == pytest.approx(0.25)
    assert overfitting(np.ones(3), np.ones(3), np.zeros(3)) == 0.0
    assert overfitting(np.ones(3), np.zeros(3), np.zeros(3)) == 1.0
    assert np.isnan(overfitting(np.zeros(3), np.zeros(3), np.zeros(3)))
