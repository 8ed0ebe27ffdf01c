"""Which curves a report shows of what was logged, and which spreads of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_POINTS = 400  # a curve; more would only make the page larger
MAX_FIGURES = 6  # charts of figures that were looked at during training

TITLES = {
    "loss": "Losses",
    "loss/penalty": "Gradient penalty",
    "logits": "Logits of the discriminator",
    "gradient_norm": "Gradient norms",
    "learning_rate": "Learning rates",
    "images_per_s": "Pictures a second",
    "inverse_temperature": "Inverse temperature",
}
ORDER = ("loss", "loss/penalty", "logits", "gradient_norm", "inverse_temperature", "learning_rate", "images_per_s")
NOT_DRAWN = {"phase", "step", "images"}
LOGARITHMIC = {"gradient_norm"}


@dataclass(frozen=True)
class Series:
    """One curve: a name and its points; dashed where it is of real pictures."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A few curves that belong together."""

    title: str
    series: tuple[Series, ...]
    logarithmic: bool = False


@dataclass(frozen=True)
class Spread:
    """How some numbers spread, kind by kind: kind -> their quantiles at 5, 25, 50, 75 and 95 %."""

    title: str
    quantiles: dict[str, tuple[float, ...]]


def charts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Chart]]:
    """Returns the charts of the rows of metrics.jsonl: phase -> what its steps measured, "figures" -> evaluations."""
    steps: dict[str, list] = {}
    evaluations = []
    for row in rows:
        if "images_per_s" in row:
            steps.setdefault(row["phase"], []).append(row)
        else:
            evaluations.append(row)
    drawn = {phase: _step_charts(of_phase) for phase, of_phase in steps.items()} | {
        "figures": _evaluation_charts(evaluations)
    }
    return {name: of_one for name, of_one in drawn.items() if of_one}


def spreads(details: Mapping[str, Any]) -> list[Spread]:
    """Returns the spreads in the details of an evaluation: distances to training pictures, logits."""
    found = []
    for extractor, of_one in details.get("memorisation", {}).items():
        if quantiles := of_one.get("quantiles"):
            found.append((f"Distance to the nearest training picture, {extractor}", quantiles))
    if logits := details.get("discriminator"):
        names = {"train": "training", "held_out": "held out", "generated": "generated"}
        found.append(("Logits of the discriminator", {names[key]: logits[key] for key in names if key in logits}))
    return [Spread(title, {name: tuple(map(float, q)) for name, q in quantiles.items()}) for title, quantiles in found]


def _step_charts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Groups what the steps of a phase measured by the first part of its name."""
    groups: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for row in rows for key in row if key not in NOT_DRAWN):
        group = key if key in TITLES else key.partition("/")[0]
        groups.setdefault(group, []).append(key)
    place = {group: i for i, group in enumerate(ORDER)}
    drawn = []
    for group in sorted(groups, key=lambda group: place.get(group, len(ORDER) - 2)):
        series = [_series(rows, key, key.partition("/")[2].replace("_", " ") or key) for key in sorted(groups[group])]
        series = [s for s in series if s.x]
        if series and (group == "loss" or any(any(s.y) for s in series)):  # a penalty that is off draws nothing
            title = TITLES.get(group, group.replace("_", " ").replace("/", ": ").capitalize())
            drawn.append(Chart(title, tuple(series), group in LOGARITHMIC))
    return drawn


def _evaluation_charts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """One chart a figure, with the same figure of real pictures where there is one ("NAME/real")."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if _is_number(value))
    names = [
        key
        for key in keys
        if key not in NOT_DRAWN and not key.endswith("/real") and "/each/" not in key and not key.startswith("num_")
    ]
    names = [key for key in names if "real_" not in key and key not in ("seed", "attributes/unknown")]
    drawn = []
    for key in names[:MAX_FIGURES]:
        real = _series(rows, f"{key}/real", "real pictures", dashed=True)
        series = (_series(rows, key, "generated"), *([real] if real.x else []))
        if len(series[0].x) > 1:  # one look is no curve
            drawn.append(Chart(key.replace("_", " "), series))
    return drawn


def _series(rows: Sequence[Mapping[str, Any]], key: str, name: str, dashed: bool = False) -> Series:
    points = [(float(row["images"]), float(row[key])) for row in rows if _is_number(row.get(key))]
    stride = max(math.ceil(len(points) / MAX_POINTS), 1)
    points = points[::-stride][::-1]  # from the end, which is what one looks for
    return Series(name, tuple(x for x, _ in points), tuple(y for _, y in points), dashed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
