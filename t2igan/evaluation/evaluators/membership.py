"""Group `membership`: attacks that guess which pictures a model was trained on, beside one that must succeed.

An attacker has a picture with its caption, and asks whether the model learned from it. Black box: the model is asked to
draw the caption many times, and how near the drawings come is the guess. White box: the discriminator's logit, which
only the owner has. The control is the same model as if it copied: it shows what the attack would have found.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group, digest, drawn
from t2igan.evaluation.extractors.extractor import in_parts
from t2igan.evaluation.extractors.pixels import Pixels

ATTACKED_IMAGES = 400  # members, and as many others
DRAWINGS = 16  # of each one's caption
COPIED_SHARE = 0.01  # of a member's drawings that the control replaces by the member itself
NEAR = 0.05  # quantile of all distances within which a drawing counts as near
FEWEST = 50  # members, and others: below, 1 % of the others is less than one picture


def membership(evaluation: Evaluation) -> None:
    """Can members be told from held-out pictures by what the model draws, and by the discriminator?"""
    train, split = evaluation.extractors.train, evaluation.dataset
    members = evaluation.extractors.train_rows(ATTACKED_IMAGES)
    known = _digests(train, np.arange(len(train)))
    rows = evaluation.real_rows
    in_both = np.isin(_digests(split, rows), known)  # a picture that is in both is a member
    others = rows[~in_both][:ATTACKED_IMAGES]
    if min(len(members), len(others)) < FEWEST:
        evaluation.left_out["membership"] = (
            f"{len(members)} training and {len(others)} held-out pictures of their own; {FEWEST} of each are needed"
        )
        return
    inside, outside = _distances(evaluation, train, members, 0), _distances(evaluation, split, others, 1)
    radius = float(np.quantile(np.concatenate([inside, outside]), NEAR))
    copying = metrics.copies_placed(inside, COPIED_SHARE, seed=evaluation.seed)
    scores = {
        "nearest": ("nearest drawing", -inside.min(1), -outside.min(1)),
        "density": ("share of drawings that are near", *(metrics.near_share(d, radius) for d in (inside, outside))),
        "control": (f"control: {COPIED_SHARE:.0%} copied", -copying.min(1), -outside.min(1)),
    }
    if evaluation.discriminate is not None:
        logits = lambda dataset, chosen: evaluation.discriminate(
            dataset.images[chosen], [dataset.captions[row][0] for row in chosen]
        )
        scores["discriminator"] = ("white box: discriminator", logits(train, members), logits(split, others))
    for name, (label, of_members, of_others) in scores.items():
        _add(evaluation, name, label, of_members, of_others)
    evaluation.details["membership"] = {
        "members": len(members),
        "others": len(others),
        "left_out_as_members": int(in_both.sum()),
        "drawings": DRAWINGS,
        "copied_share": COPIED_SHARE,
    }


def _add(evaluation: Evaluation, name: str, label: str, members: np.ndarray, others: np.ndarray) -> None:
    facts = {
        "group": "membership",
        "extractor": "discriminator" if name == "discriminator" else "pixels",
        "num_images": DRAWINGS * (len(members) + len(others)),
    }
    figures: tuple[tuple[str, Callable[..., float], float, str], ...] = (
        ("auc", metrics.membership_auc, 0.5, label),
        ("tpr", metrics.true_positives, 0.01, "  found at 1 % false alarms"),
    )
    for kind, figure, guess, said in figures:
        value, interval = figure(members, others), _interval(evaluation, figure, members, others)
        evaluation.add(f"membership/{kind}/{name}", value, interval, real=guess, label=said, direction="real", **facts)


def _interval(
    evaluation: Evaluation, figure: Callable[..., float], members: np.ndarray, others: np.ndarray
) -> metrics.Interval | None:
    """The interval over pictures, members and others each resampled by themselves."""
    if evaluation.counts is None:
        return None
    random = np.random.default_rng([evaluation.seed, 5])
    resampled = lambda x: x[random.integers(len(x), size=len(x))]
    return metrics.interval(np.array([figure(resampled(members), resampled(others)) for _ in evaluation.counts]))


def _distances(evaluation: Evaluation, dataset, rows: np.ndarray, stream: int) -> np.ndarray:
    """Root mean squares of the differences, from 0 to 1, of pictures to drawings of their own captions, [N, K]."""
    captions = [dataset.captions[row][0] for row in rows]
    wanted = Pixels().features(np.asarray(dataset.images[rows]))
    seeds = np.random.default_rng([evaluation.seed, 6, stream]).integers(2**31, size=(len(rows), DRAWINGS))
    found = np.zeros((len(rows), DRAWINGS))
    for column in range(DRAWINGS):
        images = drawn(evaluation.draw, captions, seeds[:, column].tolist())
        found[:, column] = np.sqrt(((Pixels().features(images) - wanted) ** 2).mean(1))
    return found


def _digests(dataset, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([digest(dataset.images[part]) for part in in_parts(rows)])


GROUPS = {"membership": Group((membership,))}
