"""The meaning of the folders that pictures lie in: splits, classes, repeats, or nothing but places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from t2igan.data.sources.captions import SPLITS
from t2igan.data.sources.names import ARCHIVE_SUFFIXES, folded, shown_name
from t2igan.data.splits import TRAIN_SPLITS

MAX_SPLIT_DEPTH = 4  # folders above the pictures that are looked at for splits
# Folders that are called by these words alone are places, not classes.
PICTURE_WORDS = frozenset(
    "image images img imgs pic pics picture pictures photo photos jpg jpgs jpeg jpegs png pngs webp gif jpegimages "
    "frame frames dcim".split()
)
TEXT_WORDS = frozenset(
    "text texts txt caption captions cap caps label labels annotation annotations annot annots ann anns description "
    "descriptions desc prompt prompts sentence sentences metadata meta json tag tags".split()
)
MASK_WORDS = frozenset("mask masks seg segs segmentation segmentations depth depths edge edges thumb thumbs".split())
PLACE_WORDS = frozenset(
    "folder folders dir new old copy data dataset datasets set sets file files batch batches part parts chunk chunks "
    "shard shards split splits all raw orig original originals processed preprocessed padded resized cropped crop "
    "crops aligned augmented aug input inputs output outputs out sample samples tmp temp download downloads upload "
    "uploads unsorted unlabeled unlabelled small large full trainset testset valset".split()
)
NUMBERED = re.compile(r"(\d{1,4})[ ._-]+(?=.*[^\W\d_])(.+)")  # "001.Black_footed_Albatross", "10_sks cat"
REPEATED = re.compile(r"([1-9]\d{0,2})_(?=.*[^\W\d_])(.+)")
MAX_REPEATS = 500
SIZE = re.compile(r"\d+ ?(x ?\d+|px)")
CODE = re.compile(r"[a-z]{0,2}[-_ ]?\d{4,}|(?=.*\d)[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)


class Folders:
    """What the folders of a set of pictures stand for.

    A folder that holds everything is passed over, as archives often have one. Folders are splits where one of them is
    for training: without, "test" and "dev" are names like any others.
    """

    def __init__(self, pictures: Iterable[str], data_config: Any):
        """`pictures` are relative posix names."""
        self._pictures = list(pictures)
        self._config = data_config
        self._parents = {tuple(parent) for parent in ([*name.split("/")[:-1]] for name in self._pictures)}
        self._level, self._splits = self._find_splits()
        first, last = (min(self._parents), max(self._parents)) if self._parents else ((), ())
        depth = 0
        while len(first) > depth < len(last) and first[depth] == last[depth] and depth != self._level:
            depth += 1
        self._depth = depth  # what is above holds everything
        self.repeats_by_folder = self._find_repeats()

    def split(self, name: str) -> str | None:
        """Returns the split that a file's folder stands for; None where it stands for none."""
        parts = name.split("/")[:-1]
        return self._splits.get(parts[self._level]) if 0 <= self._level < len(parts) else None

    def labels(self) -> dict[str, str]:
        """Returns picture -> the class that its folder is called by; {} unless there are two classes or more.

        {} also where some picture lies in no folder: then folders are places. Pictures whose folders are called by
        numbers, or "images" and the like, have none. A single folder is no class, just where the pictures are, except
        where it says how often they are repeated ("10_sks cat").
        """
        labels: dict[str, str] = {}
        classes: dict[tuple[str, ...], str] = {}
        for name in self._pictures:
            parent = tuple(name.split("/")[:-1])
            if parent not in classes:
                classes[parent] = self._class(parent)
            if not self._below(parent) and not classes[parent]:
                return {}
            if classes[parent]:
                labels[name] = classes[parent]
        return labels if len(set(labels.values())) > 1 or self.repeats_by_folder else {}

    def places(self) -> list[str]:
        """Returns the names of folders that pictures lie in and that say nothing: '00000', 'images'."""
        return sorted({parent[-1] for parent in self._parents if self._below(parent) and not self._class(parent)})

    def repeats(self, name: str) -> int:
        """Returns how often a picture is to be drawn by the name of its folder: 10 in "10_sks cat"."""
        return self.repeats_by_folder.get(name.split("/")[-2], 1) if "/" in name else 1

    def _below(self, parent: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the folders of a parent that tell pictures apart and are no splits."""
        return tuple(part for i, part in enumerate(parent) if i >= self._depth and i != self._level)

    def _class(self, parent: tuple[str, ...]) -> str:
        """Returns the class of pictures in a folder, the nearest that says something; "" where there is none."""
        if parent and parent[-1] in self.repeats_by_folder:
            return shown_name(REPEATED.fullmatch(parent[-1])[2])
        return next((self._said(part) for part in reversed(self._below(parent)) if self._said(part)), "")

    def _said(self, folder: str) -> str:
        """Returns what the name of a folder says, "" where that is nothing."""
        if self._are_numbered and (match := NUMBERED.fullmatch(folder)):
            folder = match[2]
        is_split = folder.lower() in SPLITS and not self._nearest - set(SPLITS)
        is_mask = self._have_places and is_called(folder, MASK_WORDS)
        return "" if is_split or is_mask or is_place(folder) else shown_name(folder)

    @cached_property
    def _nearest(self) -> set[str]:
        """The folders that pictures lie in, without those that are called like places."""
        return {part for parent in self._parents for part in self._below(parent)[-1:] if not is_place(part)}

    @cached_property
    def _are_numbered(self) -> bool:
        return bool(self._nearest) and all(NUMBERED.fullmatch(part) for part in self._nearest)

    @cached_property
    def _have_places(self) -> bool:
        return any(is_called(part, PICTURE_WORDS) for parent in self._parents for part in parent)

    def _find_repeats(self) -> dict[str, int]:
        """Returns folder -> repeats where every picture lies in a folder such as "10_sks cat", as kohya's scripts want.

        Numbers that count the folders ("1_cat", "2_dog", "3_owl"; "01_cat") are none.
        """
        folders = {parent[-1] if parent else "" for parent in self._parents}
        matches = {folder: REPEATED.fullmatch(folder) for folder in folders}
        if not folders or not all(matches.values()):
            return {}
        repeats = {folder: int(match[1]) for folder, match in matches.items() if match}
        counted = len(repeats) > 1 and set(repeats.values()) == set(range(1, len(repeats) + 1))
        return {} if counted or max(repeats.values()) > MAX_REPEATS else repeats

    def _find_splits(self) -> tuple[int, dict[str, str]]:
        """Returns at which level folders are splits, and folder -> split; no folder where none are."""
        for level in range(MAX_SPLIT_DEPTH):
            folders = sorted({parent[level] for parent in self._parents if len(parent) > level})
            if splits := splits_among(folders, self._config):
                return level, splits
        return -1, {}


def splits_among(names: Iterable[str], data_config: Any) -> dict[str, str]:
    """Returns name -> split for those names of folders or files that are splits; {} unless one is for training.

    "Train" and "Val"; "training_set" and "test_set"; "train2017" and "val2017"; "seg_train" and "seg_test": what is
    beside the word must be the same. A folder called "train" is a class where others beside it are no splits.
    """
    train = data_config.train_split
    chosen = (train, data_config.val_split, data_config.test_split)
    known = {word.lower(): word for word in (*SPLITS, *chosen) if word}
    words = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    pattern = re.compile(rf"(?:^|(?<=[\W_\d]))((?i:{words}))(?=$|[\W_\dA-Z]|set|data)|^((?i:{words}))$")
    alone: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {}
    names = list(names)
    for name in names:
        if name in chosen:
            alone[name] = name
        elif name.lower() in known:
            alone[name] = known[name.lower()]
        elif matches := list(pattern.finditer(name)):
            match = matches[-1]
            rest = re.sub(r"\d+", "", (name[: match.start()] + "*" + name[match.end() :]).lower())
            groups.setdefault(rest, {})[name] = known[match[0].lower()]
    found: dict[str, str] = {}
    is_train = {*TRAIN_SPLITS, train}
    if is_train & set(alone.values()) and (len(set(alone.values())) > 1 or len(alone) == len(names)):
        found |= alone
    for group in groups.values():
        if is_train & set(group.values()) and len(set(group.values())) > 1:
            found |= group
    return found


def is_place(folder: str) -> bool:
    """Whether the name of a folder says nothing of what is in it: a number, a code, "images", "batch_3"."""
    words = PICTURE_WORDS | TEXT_WORDS | PLACE_WORDS | set(SPLITS)
    return CODE.fullmatch(folder) is not None or (folder.lower() not in SPLITS and is_called(folder, words))


def is_called(folder: str, words: Iterable[str]) -> bool:
    """Whether a name consists of nothing but such words, and numbers."""
    return all(word in words for word in re.split(r"[\W\d_]+", SIZE.sub("", folder.lower())) if word)


def core(name: str) -> tuple[str, ...]:
    """Returns the folders of a file without those that only say what kind it is: images/train/a.png -> ("train",)."""
    parts = []
    for part in name.split("/")[:-1]:
        suffix = next((s for s in ARCHIVE_SUFFIXES if part.lower().endswith(s)), "")
        part = part[: len(part) - len(suffix)]
        if not is_called(part, PICTURE_WORDS | TEXT_WORDS | {"set", "data", "dataset", "all", "raw"}):
            parts.append(folded(part))
        elif any(character.isdigit() for character in part):
            parts.append(re.sub(r"\D+", "", part))
    return tuple(parts)


def kinds_of_repeats(repeats: Mapping[str, int]) -> str:
    """Returns folders with their repeats in words: "'10_sks cat' 10 times, '2_dog' 2 times"."""
    most = Counter(repeats).most_common(5)
    more = f", and {len(repeats) - 5} more" if len(repeats) > 5 else ""
    return ", ".join(f"{shown_name(folder)!r} {count} times" for folder, count in most) + more
