"""Curves over training, drawn by Matplotlib as SVG that takes its colours and its font from the page."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from t2igan.errors import UserError

# The page's own colours: Matplotlib draws with the stand-ins, which then become variables of the style sheet.
INK, MUTED, LINE, SERIES = "#000101", "#000202", "#000303", ("#000404", "#000505", "#000606", "#000707", "#000808")
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {c: f"--series-{i}" for i, c in enumerate(SERIES)}
SIZE_INCHES = (4.4, 2.5)
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
COLOR_OF = {"generator": 0, "fake": 0, "discriminator": 1, "real": 1}  # the same thing in the same colour everywhere


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


def charts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Chart]]:
    """Returns the charts of the rows of metrics.jsonl: phase -> what its steps measured, "figures" -> looks between."""
    steps: dict[str, list] = {}
    looks = []
    for row in rows:
        if "images_per_s" in row:
            steps.setdefault(row["phase"], []).append(row)
        else:
            looks.append(row)
    drawn = {phase: _step_charts(of_phase) for phase, of_phase in steps.items()} | {"figures": _look_charts(looks)}
    return {name: of_one for name, of_one in drawn.items() if of_one}


def svg(chart: Chart, prefix: str) -> str:
    """Returns a chart as an `<svg>` element to stand in a page that has the variables of `VARIABLES`.

    `prefix` begins the ids in it, and has to differ between the charts of a page.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
    except ImportError as error:
        raise UserError("a report needs Matplotlib and Jinja: pip install 't2igan[report]'") from error

    settings = {
        "svg.fonttype": "none",  # text stays text, in the font of the page
        "svg.hashsalt": prefix,
        "font.size": 10,
        "axes.edgecolor": LINE,
        "axes.labelcolor": MUTED,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for number, series in enumerate(chart.series):
            axes.plot(
                series.x,
                series.y,
                color=MUTED if series.dashed else SERIES[COLOR_OF.get(series.name, number) % len(SERIES)],
                linestyle=(0, (4, 3)) if series.dashed else "-",
                linewidth=1.2 if series.dashed else 1.7,
                marker="o" if len(series.x) < 5 else None,
                markersize=3.5,
                label=series.name,
            )
        if chart.logarithmic and all(y > 0 for series in chart.series for y in series.y):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(_short)
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_major_formatter(_short)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0)
        axes.set_xlabel("pictures seen")
        if len(chart.series) > 1:
            figure.legend(
                loc="outside upper left",
                ncols=min(len(chart.series), 3),
                frameon=False,
                handlelength=1.2,
                columnspacing=1.2,
                borderaxespad=0,
            )
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _for_page(file.getvalue(), prefix, chart.title)


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


def _look_charts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
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


def _short(value: float, _: int) -> str:
    return (f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "−")


def _for_page(text: str, prefix: str, title: str) -> str:
    """Only the element, scaled by the page, with the page's colours and font and ids of its own."""
    text = text[text.index("<svg") :]
    for needless in (
        r"<!--.*?-->",
        r"<metadata>.*?</metadata>",
        r"<style.*?</style>",
        r' transform="rotate\(-?0 [^"]*"',
    ):
        text = re.sub(needless, "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(
        r"font-family: [^;\"]*; ", "", re.sub(r"font: ([\d.]+)px ([^;\"]*)", r"font-size: \1px; font-family: \2", text)
    )
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    return re.sub(r"\n\s*", " ", text)
