"""What was found in the data and what was left out, in words for the terminal and as `data_report.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from t2igan.data import personal
from t2igan.data.alike import same_picture
from t2igan.data.alpha import ALPHA_CHANNELS
from t2igan.data.dataset import NONE, Dataset
from t2igan.data.reasons import kinds, reasons
from t2igan.data.spread import evenly_spread
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import counted

SHOWN_REASONS = 5
SHOWN_VALUES = 6
SHOWN_WORDS = 12
FEW_PICTURES = 30  # held out; on fewer, a share of right answers is uncertain by a fifth
FEW_TO_LEARN_FROM, VERY_FEW_TO_LEARN_FROM = 2_000, 100  # different pictures of the training split
MAX_COUNTED = 100_000  # captions whose tokens are counted, evenly over all
MIN_CUT = 0.02  # of a picture; less is a pixel or two
MUCH_CUT = 0.2  # may be what the caption tells of: a head, a line below a letter
ADVISE_SHARE = 0.1  # of the pictures that lose so much, from which to advise against the crop


def as_json(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Returns what `data_report.json` holds: `counts`, and what takes a look at all pictures and captions."""
    return {
        **counts(datasets),
        "nearly_the_same_in_two_splits": _alike(datasets, _shared(datasets)),
        **personal.as_json(datasets),
    }


def counts(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Returns for each split counts and, with file and reason, all that was left out; quickly, for JSON."""
    return {
        "source": datasets[0].name,
        "description": datasets[0].description,
        "splits": {
            dataset.split: {
                "pictures": len(dataset),
                "captions": sum(map(len, dataset.captions)),
                "left_out": len(dataset.skipped),
                "transparent": None if dataset.transparent is None else int(dataset.transparent.sum()),
                "reasons": dict(kinds(dataset.skipped).most_common()),
                "same_picture_again": _doubles(dataset),
                "fingerprint": dataset.fingerprint(),
                "files_left_out": [{"file": s.file, "reason": s.reason} for s in dataset.skipped],
            }
            for dataset in datasets
        },
        "same_picture_in_two_splits": _shared(datasets),
        "not_read": [{"file": s.file, "reason": s.reason} for s in datasets[0].unread],
        "notes": _notes(datasets),
    }


def left_out(dataset: Dataset) -> str:
    """Returns in a line how many files of a split were left out, why most of them, and the first."""
    why = printable(reasons(dataset.skipped, SHOWN_REASONS))
    first = printable(dataset.skipped[0].file)
    return f"{dataset.split}: left out {counted(len(dataset.skipped), 'picture')}: {why}. The first: {first}"


def unread(dataset: Dataset) -> str:
    """Returns in a line which files that may have captions were not read, and why; "" where there are none."""
    if not dataset.unread:
        return ""
    by_reason: dict[str, list[str]] = {}
    for one in dataset.unread:
        by_reason.setdefault(one.reason, []).append(printable(one.file))
    said = [
        f"{files[0]}{f' and {len(files) - 1:,} more' if len(files) > 1 else ''} ({printable(reason)})"
        for reason, files in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
    more = f"; and {len(said) - SHOWN_REASONS} more kinds" if len(said) > SHOWN_REASONS else ""
    return f"not read: {'; '.join(said[:SHOWN_REASONS])}{more}"


def lines(datasets: Sequence[Dataset], data_config: Any, tokenizer_config: Any) -> list[str]:
    """Returns what a user wants to know of the data before training on it, the first split being the training split."""
    train, datasets = datasets[0], list({dataset.split: dataset for dataset in datasets}.values())
    found = [f"{train.name}: {train.description}" if train.description else train.name, ""]
    found += [_row(d) for d in datasets]
    found += ["", *_sizes(train, data_config), *_captions(train, tokenizer_config), *_attributes(train)]
    found += [f"note: {printable(note)}" for note in _notes(datasets)]
    found += [unread(train)] if train.unread else []
    found += transparency(datasets, data_config)
    found += few_held_out(datasets)
    found += [left_out(dataset) for dataset in datasets if dataset.skipped] or ["nothing was left out"]
    found += personal.remarks(datasets)
    exact = _shared(datasets)
    found += duplicates(datasets, exact)
    found += [
        f"{counted(count, 'picture')} more in both {names}, in another file or nearly the same"
        for names, count in _alike(datasets, exact).items()
    ]
    return found


def duplicates(datasets: Sequence[Dataset], exact: dict[str, int] | None = None) -> list[str]:
    """Returns what there is to say of pictures that are there twice, byte by byte: in a split, and in two.

    Args:
      datasets: the splits, the training split first.
      exact: pictures in both of two splits, by their names; None = they are counted.
    """
    again = [(dataset.split, _doubles(dataset)) for dataset in datasets]
    return [
        *(f"{split}: {counted(count, 'picture')} again, byte by byte" for split, count in again if count),
        *(
            f"{counted(count, 'picture')} in both {names}: figures on the one flatter what has learned the other"
            for names, count in (_shared(datasets) if exact is None else exact).items()
        ),
    ]


def transparency(datasets: Sequence[Dataset], data_config: Any) -> list[str]:
    """Returns a remark where transparency is lost, or where none is there to be kept."""
    known = {dataset.split: dataset.transparent for dataset in datasets if dataset.transparent is not None}
    total, count = sum(map(len, known.values())), sum(int(of_one.sum()) for of_one in known.values())
    if data_config.channels != ALPHA_CHANNELS and count:
        return [
            f"transparent in places: {count:,} of {counted(total, 'picture')}, shown on config.data.background="
            f"{tuple(data_config.background)}; config.data.channels=4 keeps their transparency"
        ]
    if data_config.channels == ALPHA_CHANNELS and total and not count:
        return [
            f"config.data.channels=4, but of {counted(total, 'picture')} none is transparent: what is drawn will be "
            f"opaque, and config.data.channels=3 learns less for nothing"
        ]
    return []


def few_held_out(datasets: Sequence[Dataset]) -> list[str]:
    """Returns a remark where splits after the first are too small to measure much on, with what to do."""
    few = [dataset for dataset in datasets[1:] if len(dataset) < FEW_PICTURES and dataset.split != datasets[0].split]
    if not few:
        return []
    sizes = " and ".join(f"{counted(len(dataset), 'picture')} in {dataset.split}" for dataset in few)
    return [
        f"only {sizes}: figures on so few say little, and some cannot be had. Add pictures, or raise "
        "config.data.val_fraction and test_fraction"
    ]


def different_pictures(dataset: Dataset) -> int:
    """Returns how many pictures of a split differ; of several that are one in other files, one counts."""
    if dataset.content is None or dataset.signatures is None or not len(dataset):
        return len(dataset)
    return len(np.unique(same_picture(dataset.content, dataset.signatures)))


def few_to_learn_from(pictures: int, game_images: int) -> list[str]:
    """Returns what is at risk where so few different pictures are trained on, shown so many times in the game."""
    if pictures < VERY_FEW_TO_LEARN_FROM:
        return [
            f"{pictures} different pictures teach no more than themselves: expect copies and blends of them, and take "
            f"no new combination of words for granted"
        ]
    if pictures < FEW_TO_LEARN_FROM:
        return [
            f"{pictures:,} different pictures are shown {game_images / pictures:.0f} times each in the game: they may "
            f"be learned by heart, so look at the copies that the evaluation counts (memorisation) before you trust a "
            f"drawing"
        ]
    return []


def cut_captions(train: Dataset, tokenizer: Tokenizer) -> list[str]:
    """Returns a remark where training captions are longer than the networks read; of many, some are looked at."""
    captions = [caption for of_one in train.captions for caption in of_one]
    captions = captions[:: len(captions) // MAX_COUNTED + 1]
    lengths = tokenizer.lengths(captions)
    long = int((lengths > tokenizer.max_tokens).sum())
    if not long:
        return []
    are = "is longer than config.tokenizer.max_tokens" if long == 1 else "are longer than config.tokenizer.max_tokens"
    return [
        f"captions: {long:,} of {len(captions):,} {are}={tokenizer.max_tokens} and {'is' if long == 1 else 'are'} cut; "
        f"the longest has {lengths.max()}"
    ]


def examples(dataset: Dataset, num: int) -> tuple[np.ndarray, list[str]]:
    """Returns uint8 [n, H, W, C], evenly spread over a split, and a caption of each; several take turns."""
    rows = evenly_spread(len(dataset), num)
    captions = [dataset.captions[row] for row in rows]
    return dataset.images[rows], [of_one[i % len(of_one)] for i, of_one in enumerate(captions)]


def printable(text: str) -> str:
    """Returns a file name fit for a terminal: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _row(dataset: Dataset) -> str:
    """A line of the table of splits; numbers stand below each other."""
    pictures, picture_noun = counted(len(dataset), "picture").split()
    captions, caption_noun = counted(sum(map(len, dataset.captions)), "caption").split()
    return f"{dataset.split:<12} {pictures:>9} {picture_noun:<8}  {captions:>9} {caption_noun}"


def _notes(datasets: Sequence[Dataset]) -> list[str]:
    return list(dict.fromkeys(note for dataset in datasets for note in dataset.notes))


def _sizes(dataset: Dataset, data_config: Any) -> list[str]:
    if dataset.sizes is None or not len(dataset):
        return []
    size_px = data_config.image_size_px
    width, height = np.median(dataset.sizes, axis=0).astype(int)
    (min_width, min_height), (max_width, max_height) = dataset.sizes.min(0), dataset.sizes.max(0)
    shorter = dataset.sizes.min(1)
    said = [
        f"size: {width}x{height} px (median), {min_width} to {max_width} wide, {min_height} to {max_height} high; "
        f"made {size_px}x{size_px} ({data_config.resize})"
    ]
    if small := int((shorter < size_px).sum()):
        said.append(f"{small:,} are smaller than that and are enlarged")
    if data_config.resize == "crop":
        said += _cut(dataset.sizes)
    return said


def _cut(sizes: np.ndarray) -> list[str]:
    """Returns what the crop to a square in the middle cuts off, and what to do where that is a lot."""
    lost = 1 - sizes.min(1) / np.maximum(sizes.max(1), 1)  # of each picture's area
    cut = lost > MIN_CUT
    if not cut.any():
        return []
    much = int((lost > MUCH_CUT).sum())
    share = int(cut.sum()) / len(lost)
    long = int((lost > 0.5).sum())
    words = f"{int(cut.sum()):,} ({share:.0%}) are not square: the crop cuts off {np.median(lost[cut]):.0%} of them "
    words += f"(median; {lost.max():.0%} at most)"
    words += f", {long:,} are more than twice as long as wide" if long else ""
    if much >= ADVISE_SHARE * len(lost):
        words += f', {much:,} lose more than {MUCH_CUT:.0%}: config.data.resize="pad" keeps the whole picture'
    return [words]


def _captions(dataset: Dataset, tokenizer_config: Any) -> list[str]:
    captions = [caption for of_one in dataset.captions for caption in of_one]
    t = tokenizer_config
    tokenizer = Tokenizer.train(captions, t.vocab_size, t.max_tokens, t.lowercase)
    lengths = tokenizer.lengths(captions)
    words = np.array([len(caption.split()) for caption in captions])
    said = [
        f"captions: {counted(round(np.median(words)), 'word')} (median), {words.max()} at most; "
        f"{len(set(captions)):,} different; "
        f"{np.median(lengths):.0f} tokens of {tokenizer.vocab_size} kinds (median)"
    ]
    rare = personal.rare_words(captions[:: len(captions) // MAX_COUNTED + 1], tokenizer)
    if rare:
        shown = ", ".join(printable(word) for word in rare[:SHOWN_WORDS]) + (", ..." if len(rare) > SHOWN_WORDS else "")
        said.append(
            f"tokenizer: {len(rare):,} words that at most {personal.FEW_CAPTIONS} captions have can be read from it, "
            f"and snapshots hold it; is there a name among them? {shown}"
        )
    return [*said, *cut_captions(dataset, tokenizer)]


def _attributes(dataset: Dataset) -> list[str]:
    said = []
    for name, values in dataset.attribute_values().items():
        numbers = Counter(attributes.get(name, NONE) for attributes in dataset.attributes or ())
        listed = ", ".join(f"{value} {count:,}" for value, count in numbers.most_common(SHOWN_VALUES))
        more = f", and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
        said.append(f"attribute {name}: {listed}{more}")
    return said


def _doubles(dataset: Dataset) -> int:
    """How many pictures are there already, byte by byte."""
    return 0 if dataset.content is None else len(dataset) - len(np.unique(dataset.content, axis=0))


def _shared(datasets: Sequence[Dataset]) -> dict[str, int]:
    """How many pictures of later splits are in the first one, too: "train and test" -> number."""
    first, *others = datasets
    if first.content is None:
        return {}
    known = {row.tobytes() for row in first.content}
    found = {
        f"{first.split} and {other.split}": sum(row.tobytes() in known for row in other.content)
        for other in others
        if other.content is not None
    }
    return {names: count for names, count in found.items() if count}


def _alike(datasets: Sequence[Dataset], exact: dict[str, int]) -> dict[str, int]:
    """How many pictures of later splits are in the first one in another file; names -> number without `exact`."""
    first, *others = datasets
    found: dict[str, int] = {}
    for other in others:
        if any(one is None for one in (first.content, first.signatures, other.content, other.signatures)):
            continue
        content = np.concatenate([first.content, other.content])
        same = same_picture(content, np.concatenate([first.signatures, other.signatures]))
        found[f"{first.split} and {other.split}"] = int((same[len(first) :] < len(first)).sum())
    return {names: more for names, count in found.items() if (more := count - exact.get(names, 0)) > 0}
