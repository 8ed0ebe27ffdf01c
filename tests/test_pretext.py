"""What was done to a picture is what the labels say, against NumPy's own turning and mirroring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.method.techniques.pretext import TRANSFORMS, classification, transform


@pytest.mark.parametrize("size_px", [8, 15])
def test_the_labels_say_what_was_done(size_px):
    images = np.random.default_rng(0).normal(size=(60, size_px, size_px, 3)).astype(np.float32)
    changed, labels = (np.asarray(x) for x in jax.jit(transform)(jax.random.key(0), jnp.asarray(images)))
    assert changed.shape == images.shape and labels.shape == (60, 3)
    for column, answers in enumerate(TRANSFORMS.values()):
        assert set(labels[:, column]) == set(range(answers))  # every answer occurs
    part = round(size_px * 0.75)
    rest = size_px - part
    corners = [(0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)]
    for image, result, (rotation, flip, place) in zip(images, changed, labels, strict=True):
        top, left = corners[place]
        expected = image[top : top + part, left : left + part]
        expected = jax.image.resize(expected, image.shape, "linear")
        expected = np.fliplr(expected) if flip else expected
        np.testing.assert_allclose(result, np.rot90(expected, rotation), atol=1e-5)


def test_classification_by_hand():
    """Two questions of two and three answers; the second picture's second label is unknown."""
    logits = jnp.log(jnp.array([[0.25, 0.75, 0.5, 0.25, 0.25], [0.5, 0.5, 0.1, 0.1, 0.8]]))
    labels = jnp.array([[1, 1], [0, -1]])
    loss, right = classification(logits, labels, (2, 3))
    np.testing.assert_allclose(loss, [-(np.log(0.75) + np.log(0.25)) / 2, -np.log(0.5)], rtol=1e-5)
    np.testing.assert_allclose(right, [0.5, 1.0])


def test_a_picture_of_which_nothing_is_known_counts_nothing():
    loss, right = classification(jnp.ones((1, 2)), jnp.array([[-1]]), (2,))
    assert loss == 0 and right == 0
    gradient = jax.grad(lambda x: classification(x, jnp.array([[-1]]), (2,))[0].sum())(jnp.ones((1, 2)))
    assert (gradient == 0).all()
