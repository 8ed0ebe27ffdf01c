"""Charts as SVG, drawn by Matplotlib, that take their colours and their font from the page they stand in."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from t2igan.errors import UserError
from t2igan.evaluation.report.curves import Chart, Spread

# The page's own colours: Matplotlib draws with the stand-ins, which then become variables of the style sheet.
INK, MUTED, LINE, SERIES = "#000101", "#000202", "#000303", ("#000404", "#000505", "#000606", "#000707", "#000808")
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {c: f"--series-{i}" for i, c in enumerate(SERIES)}
SIZE_INCHES = (4.4, 2.5)
# The same thing in the same colour everywhere.
COLOR_OF = {"generator": 0, "fake": 0, "generated": 0, "discriminator": 1, "real": 1, "training": 1, "held out": 4}


def chart_svg(chart: Chart, prefix: str) -> str:
    """Returns a chart as an `<svg>` element to stand in a page that has the variables of `VARIABLES`.

    `prefix` begins the ids in it, and has to differ between the charts of a page. UserError without Matplotlib.
    """
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

    with matplotlib.rc_context(_settings(prefix)):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for number, series in enumerate(chart.series):
            axes.plot(
                series.x,
                series.y,
                color=MUTED if series.dashed else _color(series.name, number),
                linestyle=(0, (4, 3)) if series.dashed else "-",
                linewidth=1.2 if series.dashed else 1.7,
                marker="o" if len(series.x) < 5 else None,
                markersize=3.5,
                label=series.name,
            )
        _quiet(axes, grid="y")
        if chart.logarithmic and all(y > 0 for series in chart.series for y in series.y):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(_short)
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
        return _svg(figure, prefix, chart.title)


def spread_svg(spread: Spread, prefix: str) -> str:
    """Returns boxes from 25 to 75 % with a line at the median and whiskers at 5 and 95 %; else like `chart_svg`."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(spread.quantiles)[::-1]  # the first one on top
    with matplotlib.rc_context(_settings(prefix)):
        figure = Figure(figsize=(SIZE_INCHES[0], 0.55 + 0.42 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for row, name in enumerate(names):
            low, first, median, third, high = spread.quantiles[name]
            color = _color(name, row)
            axes.plot([low, high], [row, row], color=color, linewidth=1.2)
            axes.barh(row, third - first, left=first, height=0.42, color=color, alpha=0.45)
            axes.plot([median, median], [row - 0.21, row + 0.21], color=color, linewidth=2)
        _quiet(axes, grid="x")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(_short)
        return _svg(figure, prefix, spread.title)


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("a report needs Matplotlib and Jinja: pip install 't2igan[report]'") from error
    return matplotlib


def _settings(prefix: str) -> dict[str, Any]:
    return {
        "svg.fonttype": "none",  # text stays text, in the font of the page
        "svg.hashsalt": prefix,  # the same ids every time
        "font.size": 10,
        "axes.edgecolor": LINE,
        "axes.labelcolor": MUTED,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
    }


def _quiet(axes: Any, grid: str) -> None:
    """Leaves of the frame what one reads by."""
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


def _color(name: str, number: int) -> str:
    return SERIES[COLOR_OF.get(name, number) % len(SERIES)]


def _short(value: float, _: int) -> str:
    return (f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "−")


def _svg(figure: Any, prefix: str, title: str) -> str:
    """Only the element, scaled by the page, with the page's colours and font and ids of its own."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for needless in ("<!--.*?-->", "<metadata>.*?</metadata>", "<style.*?</style>", r' transform="rotate\(-?0 [^"]*"'):
        text = re.sub(needless, "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    return re.sub(r"\n\s*", " ", text)
