"""A result of `evaluate` as lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from t2igan.errors import counted

ARROWS = {"higher": "higher is better", "lower": "lower is better", "real": "as real is best"}


def summary_line(result: Mapping[str, Any], explained: bool = False) -> str:
    """Returns what matters of a result in one line, with the same figures of real pictures in brackets.

    `explained` adds what the brackets are, where there are some.
    """
    figures = result["figures"]
    parts = []
    if "attributes/mean" in figures:
        line = f"attributes right {_with_real(figures['attributes/mean'])}"
        parts.append(f"{line}, all at once {_with_real(figures['attributes/all'])}")
    elif "retrieval/caption_at_1/probe" in figures:
        parts.append(f"finds its caption {_with_real(figures['retrieval/caption_at_1/probe'])}")
    distances = [name for name in figures if name.startswith("frechet_distance/")]
    if distances and figures[distances[0]]["real"] is not None:  # without a ceiling it says nothing by itself
        parts.append(f"Fréchet {_with_real(figures[distances[0]])} by {figures[distances[0]]['extractor']}")
    if explained and any("(" in part for part in parts):
        parts[-1] += " (in brackets: of real pictures)"
    num_real = result["counts"]["num_real"]
    parts = parts or [f"too few real pictures to measure by, {num_real} in all"]
    return f"{result['split']}, {counted(result['counts']['num_images'], 'picture')}: " + " · ".join(parts)


def table(results: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """Returns the figures of one result, or of several side by side, as aligned lines; then the verdicts.

    `names` are headings of several results. What stands beside them is that of the first.
    """
    alone = len(results) == 1
    headings = ["generated"] if alone else list(names)
    labels = {name: figure for result in results for name, figure in result["figures"].items()}
    copied = ["copied"] if any(figure.get("copied") is not None for figure in labels.values()) else []
    rows = [["", *headings, "real", "shuffled", *copied, "by", ""]]
    seen_groups: set[str] = set()
    for name, figure in labels.items():
        own = [result["figures"].get(name) for result in results]
        note = ARROWS[figure["direction"]]
        values = [_with_interval(f) if f else "" for f in own]
        first = next(f for f in own if f)
        if figure["group"] not in seen_groups:
            seen_groups.add(figure["group"])
            rows.append([f"{figure['group']}:"])
        rows.append([f"  {figure['label']}", *values, _number(first["real"]), _number(first["floor"])])
        rows[-1] += [*(_number(first.get(column)) for column in copied), figure["extractor"], note]
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(rows[0]) - 1)]
    lines = [_heading(result, "" if alone else name) for result, name in zip(results, names or [""], strict=True)]
    last = len(widths) - 1
    for row in rows:
        cells = [
            f"{cell:<{width}}" if column in (0, last) else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, *row[len(widths) :]]).rstrip())
    if copied:
        lines.append("copied: the training pictures whose captions are nearest, in place of drawings")
    for name, why in {k: v for result in results for k, v in result["left_out"].items()}.items():
        lines.append(f"left out: {name} ({why})")
    for result, name in zip(results, names or [""], strict=True):
        lines += [f"{'' if alone else name + ': '}{finding['text']}" for finding in result["verdict"]]
    return "\n".join(lines)


def _heading(result: Mapping[str, Any], name: str) -> str:
    counts = result["counts"]
    return (
        f"{name + ': ' if name else ''}{counted(counts['num_images'], 'picture')} drawn from the captions of "
        f"{counts['num_real']:,} in split {result['split']!r} of {result['data']}, seed {result['seed']}"
    )


def _with_interval(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return _number(figure["value"])
    return f"{_number(figure['value'])} [{_number(figure['low'])}, {_number(figure['high'])}]"


def _with_real(figure: Mapping[str, Any]) -> str:
    return _number(figure["value"]) + ("" if figure["real"] is None else f" ({_number(figure['real'])})")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
