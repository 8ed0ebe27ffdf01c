"""The pictures of a report, section by section, as data URIs with their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from t2igan.data import Dataset
from t2igan.data.spread import evenly_spread
from t2igan.evaluation.explain import explain, learned_extractors
from t2igan.evaluation.report import drawings
from t2igan.evaluation.report.explanation import attention_maps, change_rows
from t2igan.evaluation.report.images import SHARP_PX, data_uri, lit, read_sheets
from t2igan.evaluation.runs import configuration
from t2igan.inference.sample import Model

MAX_CAPTIONS, MAX_SEEDS, MAX_TIMES = 8, 6, 8
MAX_EXAMPLES = 12  # training pictures
MAX_RANKED = 8  # best, worst captions
MAX_PAIRS = 8  # nearest neighbours, an extractor
CHANGE_SEEDS = 4  # that a change is the mean of
SEARCHED_CAPTIONS = 20_000  # pictures whose captions are searched for other words
MAX_STRIPS = 4  # captions of least, most diversity
MAX_CHANGED = 3  # changed captions a kind
WAY_STEPS = 7
WAY_CAPTIONS = 256  # among which two are chosen
MAX_CHARACTERS = 240  # of a caption


@dataclass(frozen=True)
class Picture:
    """A picture and its words."""

    uri: str
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures in a row, under a caption."""

    caption: str
    pictures: tuple[Picture, ...]
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """A generated picture beside a real one."""

    caption: str
    generated: Picture
    real: Picture | None
    note: str
    wrong: tuple[tuple[str, str, str], ...] = ()  # attribute, asked for, seen


@dataclass(frozen=True)
class Drawn:
    """All pictures of a report; empty where there is nothing to show."""

    sharp: bool  # whether pixels are shown as squares
    grid: tuple[Strip, ...] = ()  # the fixed captions, a picture a seed
    times: tuple[str, ...] = ()  # pictures seen at each sheet
    over_time: tuple[Strip, ...] = ()  # the fixed captions, a picture a sheet
    best: tuple[Pair, ...] = ()
    worst: tuple[Pair, ...] = ()
    neighbours: tuple[tuple[str, tuple[Pair, ...]], ...] = ()  # by extractor
    least: tuple[Strip, ...] = ()
    most: tuple[Strip, ...] = ()
    robustness: tuple[tuple[str, tuple[Pair, ...]], ...] = ()  # by kind of change; "real" is of the clean caption
    ways: tuple[Strip, ...] = ()
    attention: tuple[Strip, ...] = ()
    changes: tuple[Strip, ...] = ()  # of a caption's words: the picture, the changed one, what changes, attention
    changes_of: str = ""  # that caption
    reads_words: bool = True
    examples: tuple[Picture, ...] = ()  # training pictures


def draw(
    model: Model | None,
    train: Dataset | None,
    shown: Dataset | None,
    evaluation: Mapping[str, Any] | None,
    workdir: Path,
) -> Drawn:
    """Draws all that a report shows of a run; what is missing leaves its section empty."""
    image_px = _image_px(model, train)
    sheets = read_sheets(workdir / "samples", image_px, MAX_TIMES) if image_px else []
    parts: dict[str, Any] = {"sharp": image_px <= SHARP_PX}
    if sheets:
        parts["times"] = tuple(_thousands(sheet.images_seen) for sheet in sheets)
        parts["over_time"] = tuple(
            Strip(
                clip(caption),
                tuple(picture(s.images[row, 0], f"{caption}, after {s.images_seen:,} pictures") for s in sheets),
            )
            for row, caption in enumerate(sheets[-1].captions[:MAX_CAPTIONS])
        )
    if train is not None:
        places = evenly_spread(len(train), MAX_EXAMPLES)
        examples = np.asarray(train.images[places])
        captions = [train.captions[i][0] for i in places]
        parts["examples"] = tuple(picture(x, c, note=c) for x, c in zip(examples, captions, strict=True))
    if model is not None:
        captions = sheets[-1].captions if sheets else _first_captions(configuration(workdir, model).sample, shown)
        seeds = sheets[-1].seeds if sheets else tuple(range(MAX_SEEDS))
        captions, seeds = captions[:MAX_CAPTIONS], seeds[:MAX_SEEDS]
        parts["grid"] = _grid(model, captions, seeds)
        parts["ways"] = _ways(model, captions, seeds, shown)
        attention = [_attention(model, caption, seeds[0]) for caption in captions[:3]]
        parts["attention"] = tuple(strip for strip in attention if strip)
        parts["reads_words"] = not captions or None not in attention
        parts["changes_of"] = _fitting(model, captions[0]) if captions else ""
        parts["changes"] = _changes(model, parts["changes_of"], seeds[:CHANGE_SEEDS], train, workdir)
        if evaluation is not None and shown is not None and train is not None:
            parts |= _of_evaluation(model, train, shown, evaluation.get("details", {}))
    return Drawn(**parts)


def clip(text: Any, most: int = MAX_CHARACTERS) -> str:
    """Returns a text cut to a length that a page can bear."""
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _of_evaluation(model: Model, train: Dataset, shown: Dataset, details: Mapping[str, Any]) -> dict[str, tuple]:
    """Draws the drawings that an evaluation singled out once more, from their captions and seeds."""
    ranked = details.get("captions", {})
    neighbours = {name: of_one["nearest"] for name, of_one in details.get("memorisation", {}).items()}
    diversity = details.get("diversity", {})
    robustness = {kind: of_one.get("examples", ()) for kind, of_one in details.get("robustness", {}).items()}
    return {
        "best": _ranked(model, shown, ranked.get("best", ())),
        "worst": _ranked(model, shown, ranked.get("worst", ())),
        "neighbours": tuple((name, _nearest(model, train, pairs)) for name, pairs in neighbours.items() if pairs),
        "least": _strips(model, diversity.get("least", ())),
        "most": _strips(model, diversity.get("most", ())),
        "robustness": tuple((kind, _changed(model, pairs)) for kind, pairs in robustness.items() if pairs),
    }


def _grid(model: Model, captions: Sequence[str], seeds: Sequence[int]) -> tuple[Strip, ...]:
    drawn = drawings.pictures_of(model, [c for c in captions for _ in seeds], list(seeds) * len(captions))
    rows = drawn.reshape(len(captions), len(seeds), *drawn.shape[1:])
    return tuple(
        Strip(clip(caption), tuple(picture(x, f"{caption}, seed {s}") for x, s in zip(row, seeds, strict=True)))
        for caption, row in zip(captions, rows, strict=True)
    )


def _ways(model: Model, captions: Sequence[str], seeds: Sequence[int], shown: Dataset | None) -> tuple[Strip, ...]:
    """Between two seeds of a caption; between two captions that differ little, and two that differ much."""
    if not captions or len(seeds) < 2:
        return ()
    caption = captions[0]
    ends = (seeds[0], seeds[1])
    name = f"from seed {ends[0]} to seed {ends[1]}"
    strips = [_way(f"{clip(caption)}", drawings.between_seeds(model, caption, ends, WAY_STEPS), name)]
    known = [*captions, *(of_one[0] for of_one in (shown.captions[:WAY_CAPTIONS] if shown is not None else ()))]
    for first, second in _far_and_near(model, list(dict.fromkeys(known))):
        drawn = drawings.between_captions(model, (first, second), seeds[0], WAY_STEPS)
        strips.append(_way(f"{clip(first)} → {clip(second)}", drawn, f"seed {seeds[0]}"))
    return tuple(strips)


def _far_and_near(model: Model, captions: Sequence[str]) -> list[tuple[str, str]]:
    """The first caption with the one that is most like it, and with the one that is least like it, token by token."""
    if len(captions) < 2:
        return []
    tokens = model.tokenizer.own.encode(captions)
    different = (tokens[1:] != tokens[0]).sum(1)
    chosen = dict.fromkeys((int(different.argmin()), int(different.argmax())))
    return [(captions[0], captions[1 + i]) for i in chosen]


def _attention(model: Model, caption: str, seed: int) -> Strip | None:
    attention = drawings.attend(model, caption, seed)
    if attention is None:
        return None
    whole = picture(attention.image, caption, note="all")
    # Each word in its own light: the brightest place of a word that is hardly read is still shown.
    parts = [
        picture(lit(attention.image, weights, float(weights.max())), f"where “{word}” is read", note=word)
        for word, weights in zip(attention.words, attention.weights, strict=True)
        if any(character.isalnum() for character in word)
    ]
    return Strip(clip(caption), (whole, *parts))


def _changes(
    model: Model, caption: str, seeds: Sequence[int], train: Dataset | None, workdir: Path
) -> tuple[Strip, ...]:
    """What changes when words of a caption are left out or exchanged; judged by the run's own classifier."""
    if not caption:
        return ()
    known, extractors = [], None
    if train is not None:
        known = [caption for of_one in train.captions[:SEARCHED_CAPTIONS] for caption in of_one]
        config = configuration(workdir, model)
        extractors = learned_extractors(config, train, model.tokenizer, workdir)
    found = explain(model, caption, seeds, {}, known, extractors)
    names = ("the caption", "changed", "what changes", "attention")
    return tuple(
        Strip(clip(said), tuple(picture(x, name, note=name) for x, name in zip(pictures, names, strict=False)))
        for said, pictures in change_rows(found, attention_maps(model, caption, seeds))
    )


def _fitting(model: Model, caption: str) -> str:
    """What the model reads of a caption that is too long for it, to the last whole word."""
    while int(model.tokenizer.lengths([caption])[0]) > model.tokenizer.max_tokens:
        caption = caption.rpartition(" ")[0]
    return caption


def _ranked(model: Model, shown: Dataset, ranked: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    ranked = [one for one in ranked if one["row"] < len(shown)][:MAX_RANKED]
    drawn = drawings.pictures_of(model, [one["caption"] for one in ranked], [one["seed"] for one in ranked])
    pairs = []
    for one, image in zip(ranked, drawn, strict=True):
        notes = [f"seed {one['seed']}"]
        if one.get("rank") is not None:
            notes.append(f"rank {one['rank']}")
        if one.get("attributes_right") not in (None, 0, 1):
            notes.append(f"{one['attributes_right']:.0%} of attributes right")
        pairs.append(
            Pair(
                clip(one["caption"]),
                picture(image, one["caption"]),
                picture(shown.images[one["row"]], "the real picture"),
                ", ".join(notes),
                tuple((name, asked, seen) for name, (asked, seen) in (one.get("wrong") or {}).items()),
            )
        )
    return tuple(pairs)


def _nearest(model: Model, train: Dataset, pairs: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    pairs = [pair for pair in pairs if pair["train_row"] < len(train)][:MAX_PAIRS]
    drawn = drawings.pictures_of(model, [pair["caption"] for pair in pairs], [pair["seed"] for pair in pairs])
    return tuple(
        Pair(
            clip(pair["caption"]),
            picture(image, pair["caption"]),
            picture(train.images[pair["train_row"]], f"training picture {pair['train_row']}"),
            f"distance {pair['distance']:.3g}" + (", a copy" if pair.get("copy") else ""),
        )
        for pair, image in zip(pairs, drawn, strict=True)
    )


def _strips(model: Model, captions: Sequence[Mapping[str, Any]]) -> tuple[Strip, ...]:
    strips = []
    for one in captions[:MAX_STRIPS]:
        seeds = list(one["seeds"])[:MAX_SEEDS]
        drawn = drawings.pictures_of(model, [one["caption"]] * len(seeds), seeds)
        pictures = tuple(picture(x, f"{one['caption']}, seed {s}") for x, s in zip(drawn, seeds, strict=True))
        strips.append(Strip(clip(one["caption"]), pictures, f"distance {one['distance']:.3g}"))
    return tuple(strips)


def _changed(model: Model, examples: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    examples = examples[:MAX_CHANGED]
    seeds = [one["seed"] for one in examples]
    clean = drawings.pictures_of(model, [one["clean"] for one in examples], seeds)
    changed = drawings.pictures_of(model, [one["changed"] for one in examples], seeds)
    return tuple(
        Pair(clip(one["changed"]), picture(after, one["changed"]), picture(before, one["clean"]), clip(one["clean"]))
        for one, before, after in zip(examples, clean, changed, strict=True)
    )


def _way(caption: str, images: np.ndarray, note: str) -> Strip:
    pictures = tuple(picture(x, f"step {i} of {len(images) - 1}") for i, x in enumerate(images))
    return Strip(caption, pictures, note)


def picture(image: np.ndarray, alt: str, note: str = "") -> Picture:
    """Returns a picture and its words, cut to what a page can bear."""
    return Picture(data_uri(np.asarray(image)), clip(alt), clip(note))


def _first_captions(sample: ConfigDict, shown: Dataset | None) -> tuple[str, ...]:
    """The captions of the sheet that is not drawn yet, by the run's `config.sample`."""
    captions = tuple(sample.captions)
    if captions or shown is None:
        return captions
    return tuple(of_one[0] for of_one in shown.captions[: sample.num_captions])


def _image_px(model: Model | None, train: Dataset | None) -> int:
    if model is not None:
        return model.config["data"]["image_size_px"]
    return train.images.shape[1] if train is not None else 0


def _thousands(images: int) -> str:
    return f"{images / 1000:,.0f}k" if images >= 1000 else str(images)
