"""Membership: attacks by hand-worked scores, on a model that copies and on one that knows nothing."""

import numpy as np
import pytest

from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluation import metrics
from t2igan.evaluation.evaluate import GROUPS, ON_REQUEST, chosen_groups
from t2igan.evaluation.evaluators.membership import DRAWINGS, membership
from t2igan.evaluation.evaluators.samples import Drawn, Evaluation
from t2igan.evaluation.extractors import FeatureExtractors


@pytest.mark.parametrize(
    ("members", "others", "share", "found"),
    [
        ([5, 6, 7, 8], [1, 2, 3, 4], 0.01, 1.0),
        ([1, 2, 3, 4], [5, 6, 7, 8], 0.01, 0.0),
        ([3.5, 4.5], [1, 2, 3, 4], 0.25, 1.0),  # one of four may pass: the threshold is 3
        ([3.5, 4.5], [1, 2, 3, 4], 0.24, 0.5),  # none may: the threshold is 4
        ([4, 4], [4, 4], 0.01, 0.0),  # equal to an other is not found
        ([1], [0], 1.0, 1.0),
    ],
)
def test_true_positives_by_hand(members, others, share, found):
    assert metrics.true_positives(np.array(members), np.array(others), share) == found


def test_the_area_by_hand():
    assert metrics.membership_auc(np.array([2, 3]), np.array([1, 2])) == (1 + 0.5 + 1 + 1) / 4
    with pytest.raises(ValueError):
        metrics.true_positives(np.array([]), np.array([1]))


def test_the_control_copies_so_many():
    placed = metrics.copies_placed(np.ones((2000, 16)), 0.01, seed=0)
    assert 0.008 < (placed == 0).mean() < 0.012
    assert metrics.near_share(np.array([[0.1, 0.2, 0.3, 0.4]]), 0.2).tolist() == [0.5]


class Fixed(FeatureExtractors):
    """What an evaluation asks of its extractors here: the training split."""

    def __init__(self, train):
        self.train = train

    def train_rows(self, num):
        return np.arange(min(num, len(self.train)))


def evaluation(draw, num=120, shared=0):
    random = np.random.default_rng(0)
    pictures = lambda: random.integers(0, 256, (num, 8, 8, 3), np.uint8)
    split = lambda images, name: Dataset(name, name, images, tuple((f"{name} {i}",) for i in range(num)))
    train = split(pictures(), "train")
    held_out = pictures()
    held_out[:shared] = train.images[:shared]
    test = split(held_out, "test")
    counts = metrics.resampled_counts(num, 100, seed=0)
    drawn = Drawn(np.arange(0), [], [], np.zeros(0, "U1"), {})
    return Evaluation(draw(train), test, Fixed(train), 0, np.arange(num), drawn, (), counts)


def noise(_train):
    def draw(_captions, seeds):
        return np.stack([np.random.default_rng(s).integers(0, 256, (8, 8, 3), np.uint8) for s in seeds])

    return draw


def copying(share):
    def of(train):
        rows = {captions[0]: i for i, captions in enumerate(train.captions)}

        def draw(captions, seeds):
            drawn = noise(train)(captions, seeds)
            for i, (caption, seed) in enumerate(zip(captions, seeds, strict=True)):
                if caption in rows and np.random.default_rng(seed).random() < share:
                    drawn[i] = train.images[rows[caption]]
            return drawn

        return draw

    return of


def test_a_model_that_knows_nothing_gives_nothing_away():
    found = evaluation(noise)
    membership(found)
    auc, control = found.figures["membership/auc/nearest"], found.figures["membership/auc/control"]
    assert auc.low <= 0.5 <= auc.high and found.figures["membership/tpr/nearest"].value < 0.08
    # What 1 % of copies look like to the same attack: 1 - 0.99^16 = 15 % of the members are found.
    copied = found.figures["membership/tpr/control"]
    assert control.value > auc.value + 0.05 and copied.low > 0.05 and 0.07 < copied.value < 0.3
    assert auc.num_images == DRAWINGS * 240


def test_a_model_that_copies_is_found_out():
    found = evaluation(copying(0.2))
    membership(found)
    assert found.figures["membership/auc/nearest"].low > 0.9
    assert found.figures["membership/tpr/nearest"].value > 0.9
    assert found.figures["membership/auc/density"].low > 0.9


def test_pictures_of_both_splits_count_as_members():
    found = evaluation(copying(1.0), shared=60)
    membership(found)
    assert found.details["membership"]["left_out_as_members"] == 60
    assert found.figures["membership/auc/nearest"].value == 1.0


def test_too_few_pictures_say_so():
    found = evaluation(noise, num=40)
    membership(found)
    assert not found.figures and "50 of each are needed" in found.left_out["membership"]


def test_it_is_measured_where_it_is_named():
    assert "membership" in ON_REQUEST and "membership" not in GROUPS
    assert chosen_groups(["membership", "attributes"]) == ["attributes", "membership"]
    with pytest.raises(UserError, match="membership"):
        chosen_groups(["membershp"])
