"""What an evaluation says, put into rows to read: figures with their scales, confusions, captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Of each the first that there is, whoever judged.
HEADLINES = (
    ("attributes/mean",),
    ("attributes/all",),
    ("paired/nearest",),
    ("retrieval/caption_at_1",),
    ("frechet_distance",),
    ("coverage",),
    ("diversity_within",),
    ("memorisation/auc",),
)
MAX_TILES = 6
GROUPS = {
    "frechet_distance": (
        "Fréchet distance",
        "How far the features of generated and real pictures lie apart, as two Gaussians. Real: as many training "
        "pictures, whose captions are others, so that drawings of the split's own captions may come out below them.",
    ),
    "kernel_distance": (
        "Kernel distance",
        "The same question without the Gaussians, and without bias from few pictures.",
    ),
    "precision_recall": (
        "Quality and coverage",
        "Precision, density: do generated pictures lie among real ones? Recall, coverage: are all real ones reached?",
    ),
    "classifier_score": ("Classifier score", "Clear pictures of many kinds score high; it looks at no real picture."),
    "attributes": (
        "Attributes",
        "Share of pictures with what the caption says, as a classifier of real pictures sees it.",
    ),
    "binding": (
        "Binding",
        "Right values on the wrong things: swapped between two things, or leaked from one to the other.",
    ),
    "paired": (
        "The caption's own picture",
        "Each caption has a picture of its own: how often is it the nearest of all real ones to what was drawn?",
    ),
    "retrieval": ("Retrieval", "Does a picture find its own caption among others, and a caption its picture?"),
    "diversity": ("Diversity", "How much pictures differ: of one caption over seeds, and of different captions."),
    "memorisation": (
        "Memorisation",
        "Are generated pictures nearer to training pictures than real pictures that were held out are?",
    ),
    "membership": (
        "Membership",
        "Can training pictures be told from others by what is drawn? 0.5 is a guess; the control shows what is found.",
    ),
    "robustness": (
        "Robustness",
        "What is kept when captions are misspelt, reordered, paraphrased, or have unknown words.",
    ),
    "discriminator": ("Discriminator", "Does it know the training pictures by heart?"),
}
ARROWS = {"higher": "↑", "lower": "↓", "real": "≈"}
ARROW_WORDS = {"higher": "higher is better", "lower": "lower is better", "real": "nearer to real pictures is better"}
# What only "all figures" shows: attribute by attribute, other ranks, and any extractor but the first.
SECONDARY = re.compile(r"/each/|^classifier_score/attributes/|_at_5/|_at_10/|_rank_")
MAX_CONFUSED = 14  # values of an attribute; of more, only the commonest confusions are listed
MAX_MISTAKES = 6


@dataclass(frozen=True)
class Scale:
    """Where the marks of a figure stand on a line from 0 to 100; None for marks that it lacks."""

    value: float
    low: float | None
    high: float | None
    real: float | None
    floor: float | None


@dataclass(frozen=True)
class FigureRow:
    """One figure, ready to print."""

    name: str
    label: str
    value: str
    interval: str
    real: str
    floor: str
    copied: str
    extractor: str
    arrow: str
    arrow_words: str
    scale: Scale


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one kind."""

    title: str
    note: str
    rows: tuple[FigureRow, ...]

    @property
    def copied(self) -> bool:
        """Whether copying the picture of the nearest caption has figures too."""
        return any(row.copied for row in self.rows)


@dataclass(frozen=True)
class Mistake:
    """What was asked for, what was seen instead, and how often of how many."""

    asked: str
    seen: str
    times: int
    of: int


@dataclass(frozen=True)
class Confusion:
    """An attribute: how often each value asked for (a row) was seen as which (a column)."""

    name: str
    values: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # () where there are too many values to show
    shares: tuple[tuple[float, ...], ...]  # of a row
    mistakes: tuple[Mistake, ...]  # commonest first
    right: float
    real_right: float | None


def headlines(evaluation: Mapping[str, Any]) -> list[FigureRow]:
    """Returns the few figures that come first."""
    figures, chosen = evaluation["figures"], []
    for (start,) in HEADLINES:
        names = [name for name in figures if name == start or name.startswith(f"{start}/")]
        names = [name for name in names if name.count("/") <= start.count("/") + 1]
        if start == "attributes/all" and sum("/each/" in name for name in figures) < 2:
            continue  # one attribute: all at once is the mean
        if names:
            chosen.append(figure_row(names[0], figures[names[0]]))
    return chosen[:MAX_TILES]


def figure_groups(evaluation: Mapping[str, Any], all_of_them: bool = True) -> list[FigureGroup]:
    """Returns the figures by kind, in the order of the evaluation; all, or only those that come first."""
    groups: dict[str, list[FigureRow]] = {}
    shown = set()
    for name, figure in evaluation["figures"].items():
        row, extractor = figure_row(name, figure), figure.get("extractor") or ""
        question = name.removesuffix(f"/{extractor}")
        if all_of_them or not (SECONDARY.search(name) or question in shown):
            groups.setdefault(figure.get("group") or name.partition("/")[0], []).append(row)
        shown.add(question)
    return [
        FigureGroup(*GROUPS.get(group, (group.replace("_", " ").capitalize(), "")), tuple(rows))
        for group, rows in groups.items()
    ]


def figure_row(name: str, figure: Mapping[str, Any]) -> FigureRow:
    """Returns one figure of an evaluation, ready to print."""
    low, high = figure.get("low"), figure.get("high")
    direction = figure.get("direction", "")
    return FigureRow(
        name=name,
        label=figure.get("label") or name,
        value=number(figure["value"]),
        interval="" if low is None or high is None else f"{number(low)} – {number(high)}",
        real=number(figure.get("real")),
        floor=number(figure.get("floor")),
        copied=number(figure.get("copied")),
        extractor=figure.get("extractor") or "",
        arrow=ARROWS.get(direction, ""),
        arrow_words=ARROW_WORDS.get(direction, ""),
        scale=scale(figure),
    )


def scale(figure: Mapping[str, Any]) -> Scale:
    """Returns where a figure's marks stand: shares on a line from 0 to 1, anything else up to its largest mark."""
    marks = {key: figure.get(key) for key in ("value", "low", "high", "real", "floor")}
    known = [float(mark) for mark in marks.values() if mark is not None]
    start, end = min(0.0, *known), max(known)
    if figure.get("direction") == "higher" and start == 0 and end <= 1:
        end = 1.0
    span = (end - start) or 1.0
    return Scale(**{key: None if mark is None else 100 * (mark - start) / span for key, mark in marks.items()})


def confusions(evaluation: Mapping[str, Any]) -> list[Confusion]:
    """Returns the confusions of each attribute, the most often wrong attribute first."""
    found = []
    for name, of_one in evaluation.get("details", {}).get("attributes", {}).items():
        values, counts = tuple(of_one["values"]), of_one["generated"]
        mistakes = [
            Mistake(values[row], values[column], times, sum(of_row))
            for row, of_row in enumerate(counts)
            for column, times in enumerate(of_row)
            if row != column and times
        ]
        mistakes.sort(key=lambda mistake: (-mistake.times, mistake.asked, mistake.seen))
        shown = counts if len(values) <= MAX_CONFUSED else ()
        right = _share_right(counts)
        found.append(
            Confusion(
                name=name,
                values=values,
                counts=tuple(tuple(of_row) for of_row in shown),
                shares=tuple(tuple(n / max(sum(of_row), 1) for n in of_row) for of_row in shown),
                mistakes=tuple(mistakes[:MAX_MISTAKES]),
                right=1.0 if right is None else right,
                real_right=_share_right(of_one.get("real") or ()),
            )
        )
    return sorted(found, key=lambda confusion: confusion.right)


def number(value: float | int | None) -> str:
    """Returns a number as a reader wants it: three or four figures, a real minus sign; "" for None."""
    if value is None:
        return ""
    size = abs(value)
    if value == int(value) and size > 1:  # 1 is mostly a share, and stands below others
        text = f"{int(value):,}"
    elif size >= 100:
        text = f"{value:,.0f}"
    elif size >= 10:
        text = f"{value:.1f}"
    elif size >= 0.01 or value == 0:
        text = f"{value:.3f}"
    else:
        text = f"{value:.1e}" if size < 1e-4 else f"{value:.4f}"
    return text.replace("-", "−")


def duration(seconds: float | int) -> str:
    """Returns seconds as "45 s", "12 min" or "3 h 20 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _share_right(counts: Sequence[Sequence[int]]) -> float | None:
    total = sum(map(sum, counts))
    return sum(of_row[i] for i, of_row in enumerate(counts)) / total if total else None
