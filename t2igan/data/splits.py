"""Which splits there are: the data's own, and those that a hash of the pictures holds out of the training split.

Training learns from `train`, choices and figures on the way are made on `val`, and `test` is measured once, at the
end. Data seldom has all three. What is missing is held out of the training pictures by what is in them, so that a
picture stays on its side whatever its name, its caption or its place; the test split takes the smallest hashes and the
validation split the largest ones, so that neither depends on how large the other is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from t2igan.data.alike import same_picture
from t2igan.errors import UserError, nearest

Part = Literal["all", "train", "val", "test"]
# The customary names. Data with one of these has such a split of its own, whichever of them the configuration asks for.
HELD_OUT_SPLIT = "minival"  # never the data's own split of another name: for COCO, whose "val" is tested on
VAL_SPLITS = ("val", "valid", "validation", "dev", "eval", HELD_OUT_SPLIT)
TEST_SPLITS = ("test", "testing")
TRAIN_SPLITS = ("train", "training")
MOST_HELD_OUT = 1 / 8  # of the pictures, for each of the two, where a share alone would be fewer than the least number


@dataclass(frozen=True)
class Held:
    """What is held out of the training split: shares of the pictures (0 = no such part), and the least number."""

    val: float = 0.0
    test: float = 0.0
    least: int = 1


@dataclass(frozen=True)
class Splits:
    """The splits of a data set by the names that are used for them.

    `own` are those of the data; `train`, `val` and `test` are names of splits, held out or the data's own.
    """

    own: tuple[str, ...]
    train: str
    val: str
    test: str
    held: Held

    @property
    def names(self) -> tuple[str, ...]:
        """Every split that can be opened, that for training first."""
        more = [name for name, share in ((self.val, self.held.val), (self.test, self.held.test)) if share]
        return tuple(dict.fromkeys((*(self.own or (self.train,)), *more)))

    def resolved(self, split: str, data_config: Any) -> str:
        """Returns the name of what is asked for: the data's "validation" where the configuration says "val"."""
        names = {data_config.val_split: self.val, data_config.test_split: self.test}
        return (names | {data_config.train_split: self.train}).get(split, split)

    def part(self, split: str) -> tuple[str, Part]:
        """Returns the split of the data ("" = it has none) that a split is in, and which part of it it is."""
        holds = bool(self.held.val or self.held.test)
        base = self.train if self.own else ""
        if split == self.train and holds:
            return base, "train"
        if split == self.val and self.held.val:
            return base, "val"
        if split == self.test and self.held.test:
            return base, "test"
        return (split if self.own else ""), "all"


def find_splits(own: Sequence[str], data_config: Any, slices: bool = False) -> Splits:
    """Returns the splits of data that itself names the splits `own`; `slices`: "train[:10%]" may be asked for.

    UserError where validation and test would be one split.
    """
    train, val, test = data_config.train_split, data_config.val_split, data_config.test_split
    if val == test != train:
        raise UserError(
            f"config.data.val_split and config.data.test_split are both {val!r}: what a training is steered by cannot "
            "be what it is judged on.\n"
            'Set config.data.val_split="minival", which is held out of the training pictures.'
        )

    def has(split: str) -> bool:
        return split in own or (slices and any(split.startswith(f"{name}[") for name in own))

    # The names that the configuration asks for, and then what the data calls such splits: "training" for "train".
    asked_train, train = train, _own_name(train, own, {val, test})
    test, val = (train if name == asked_train else name for name in (test, val))
    test = _own_name(test, own, {train, val})
    val = _own_name(val, own, {train, test})
    can_hold = not own or has(train)
    others = set(own) - {train}

    def share(split: str, customary: Sequence[str], fraction: float) -> float:
        # Beside splits of the data's own, only a customary name is taken for a wish, since any other may be a slip.
        wished = not others or split in customary
        return fraction if can_hold and wished and not has(split) and split != train else 0.0

    held = Held(
        val=share(val, VAL_SPLITS, data_config.val_fraction),
        test=share(test, (*TEST_SPLITS, *VAL_SPLITS), data_config.test_fraction),
        least=data_config.min_held_out,
    )
    return Splits(tuple(own), train, val, test, held)


def no_such_split(name: str, split: str, splits: Splits, data_config: Any) -> UserError:
    """Returns the error for a split that the data does not have, and that is not held out either."""
    way = "Set config.data.train_split, val_split and test_split."
    for key in ("val", "test"):
        if split == data_config[f"{key}_split"] and data_config[f"{key}_fraction"] == 0:
            way = (
                f"Set config.data.{key}_fraction above 0 to hold some of the training pictures out, or "
                f"config.data.{key}_split={splits.train} to look at the training pictures themselves."
            )
    near = nearest(split, splits.names)
    return UserError(f"{name} has no split {split!r}{near}\nThere are: {', '.join(splits.names)}. {way}")


def parts(content: np.ndarray, signatures: np.ndarray, held: Held) -> np.ndarray:
    """Returns the part of each picture, "train", "val" or "test"; pictures that are the same are in one part.

    Args:
      content: uint8 [N, 16], hashes of what is encoded.
      signatures: uint8 [N, 72], of `t2igan.data.alike`.
      held: how much is held out.
    """
    start, end = (content[:, half].copy().view(">u8")[:, 0] for half in (slice(8), slice(8, 16)))
    first = same_picture(content, signatures)
    # Of pictures that are the same, the one whose hash starts lowest speaks for all; its other half is still random.
    order = np.lexsort((start, first))
    speaks = order[np.searchsorted(first[order], first)]
    return divide(end[speaks].astype(np.float64) / 2.0**64, held)


def divide(ranks: np.ndarray, held: Held) -> np.ndarray:
    """Returns "train", "val" or "test" for each of float64 [N] ranks in [0, 1); equal ranks are in one part.

    At least `held.least` different ranks are held out for each, where that is no more than an eighth (rounded up) of
    them; at least one is left to train on, and one to test on goes before one to validate on.
    """
    different = np.unique(ranks)
    num = len(different)
    least = min(held.least, math.ceil(num * MOST_HELD_OUT))
    wanted_test = max(int((different < held.test).sum()), least) if held.test else 0
    wanted_val = max(int((different >= 1 - held.val).sum()), least) if held.val else 0
    num_test = max(min(wanted_test, num - 1 - min(1, wanted_val)), min(wanted_test, 1, num - 1), 0)
    num_val = max(min(wanted_val, num - 1 - num_test), 0)
    part = np.full(len(ranks), "train")
    if num_test:
        part[ranks <= different[num_test - 1]] = "test"
    if num_val:
        part[ranks >= different[num - num_val]] = "val"
    return part.astype("<U5")


def _own_name(wanted: str, own: Sequence[str], taken: set[str]) -> str:
    """Returns the data's own name of a customary split: "validation" for "val"; `wanted` where it has none."""
    if wanted in own or wanted == HELD_OUT_SPLIT:
        return wanted
    group = next((names for names in (TEST_SPLITS, VAL_SPLITS, TRAIN_SPLITS) if wanted in names), ())
    return next((name for name in group if name in own and name not in taken), wanted)
