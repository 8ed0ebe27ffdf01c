"""Which of the splits that data names is meant by one of the configuration: "training" by "train"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Names of one role, for training, for testing, and for looking on the way.
ROLES = (
    ("train", "training"),
    ("test", "testing"),
    ("val", "validation", "valid", "dev", "eval"),
)


def own_split(split: str, own: Sequence[str], data_config: Any) -> str | None:
    """Returns the data's own split that is meant by `split`; None where the data has none such.

    The split of that name; otherwise the only one of the same role, as "training" is for "train". Where data has no
    split to test on and one to validate on, as COCO has, that is what `config.data.test_split` means.
    """
    if split in own:
        return split
    roles = [role for role in ROLES if split in role]
    if split == data_config.test_split and roles and not set(own) & set(ROLES[1]):
        roles.append(ROLES[2])
    for role in roles:
        fits = [name for name in own if name in role and name != data_config.train_split]
        if len(fits) == 1:
            return fits[0]
    return None


def configured(own: Sequence[str], data_config: Any) -> dict[str, str]:
    """Returns name -> the data's own split; for training and testing the name is the configuration's."""
    names = {}
    wanted = {own_split(split, own, data_config): split for split in (data_config.train_split, data_config.test_split)}
    for split in own:
        names[wanted.get(split, split)] = split
    return names
