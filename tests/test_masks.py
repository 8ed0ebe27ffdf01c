"""Masks hide what their names say, and the same key hides the same."""

import jax
import numpy as np
import pytest

from t2igan.method.techniques.masks import MASKS, random_visible


def hidden(kind, num=64, height=16, width=12, seed=0):
    visible = np.asarray(random_visible(jax.random.key(seed), num, height, width, (kind,)))
    assert visible.shape == (num, height, width, 1) and visible.dtype == np.float32
    assert set(np.unique(visible)) <= {0.0, 1.0}
    return visible[..., 0] == 0


def test_whole_hides_nothing():
    assert not hidden("whole").any()


def test_a_box_is_a_rectangle_of_a_quarter_to_three_quarters_of_each_side():
    sides = []
    for one in hidden("box"):
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        sides.append((len(rows) / 16, len(columns) / 12))
    sides = np.array(sides)
    assert (sides >= 0.25 - 1 / 12).all() and (sides <= 0.75 + 1 / 12).all()
    assert sides[:, 0].std() > 0.1 and sides[:, 1].std() > 0.1


def test_a_half_is_one_of_four():
    masks = hidden("half")
    halves = [np.zeros((16, 12), bool) for _ in range(4)]
    halves[0][:8], halves[1][8:], halves[2][:, :6], halves[3][:, 6:] = True, True, True, True
    found = [sum((one == half).all() for one in masks) for half in halves]
    assert sum(found) == len(masks) and min(found) > 4


def test_a_stroke_is_one_line_across_the_picture():
    from scipy import ndimage

    shares = []
    for one in hidden("stroke", height=32, width=32):
        assert ndimage.label(one, np.ones((3, 3)))[1] == 1  # of one piece
        shares.append(one.mean())
    assert min(shares) > 0.02 and max(shares) < 0.8 and np.std(shares) > 0.02


def test_every_kind_comes_about_equally_often_and_pictures_differ():
    visible = np.asarray(random_visible(jax.random.key(1), 400, 8, 8, ("whole", "half")))
    whole = (visible == 1).all((1, 2, 3)).mean()
    assert 0.4 < whole < 0.6


@pytest.mark.parametrize("kind", MASKS)
def test_the_same_key_hides_the_same(kind):
    np.testing.assert_array_equal(hidden(kind), hidden(kind))
    if kind != "whole":
        assert (hidden(kind) != hidden(kind, seed=1)).any()
