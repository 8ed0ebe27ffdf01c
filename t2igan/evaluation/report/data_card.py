"""The data card: what a model learned from, as far as the data itself says; it holds no caption and no path.

After Pushkarna et al. 2022, arXiv:2204.01075, shortened to what can be counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2igan.evaluation.report.facts import RunFacts, read_json
from t2igan.evaluation.report.model_card import UNKNOWN_LICENSE, escape, source_name
from t2igan.inference.files import write_text
from t2igan.inference.snapshot import DATA_CARD_NAME

SHOWN_VALUES = 8  # of an attribute or a column
SHORT_VALUE = 60  # characters


def write_data_card(facts: RunFacts) -> Path | None:
    """Writes the data card of a run into its folder; None where its data was not at hand."""
    report = read_json(facts.workdir / "data_report.json")
    if not facts.splits or not isinstance(report, dict) or "splits" not in report:
        return None
    path = facts.workdir / DATA_CARD_NAME
    write_text(path, data_card(facts, report))
    return path


def data_card(facts: RunFacts, report: Mapping[str, Any]) -> str:
    """Returns the data card as Markdown.

    Args:
      facts: of the run, with its splits.
      report: what `data_report.json` of the run holds.
    """
    parts = [
        _title(facts),
        _splits(report),
        _captions(facts),
        _attributes(facts),
        _rights(report),
        _personal(report),
        _doubles(report),
        _unknown(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(facts: RunFacts) -> str:
    data = facts.config["data"]
    size = data["image_size_px"]
    lines = [
        f"# Data of {escape(facts.name)}",
        "",
        "Counted by t2igan when the model was trained; nobody looked at the pictures for it.",
        "",
        f"- Source: {escape(source_name(facts.config))}",
        f"- Licence: {escape(facts.license or UNKNOWN_LICENSE)}",
        f"- Hash of the training pictures and captions: `{facts.data_fingerprint or 'unknown'}`",
        f"- Learned at {size} x {size} px, {data['channels']} channels; made square by {escape(data['resize'])!r}",
    ]
    return "\n".join(lines)


def _splits(report: Mapping[str, Any]) -> str:
    lines = [
        "## Splits",
        "",
        "| split | pictures | captions | left out | the same file again |",
        "|---|---|---|---|---|",
    ]
    reasons: Counter[str] = Counter()
    for name, split in report["splits"].items():
        counts = [split[key] for key in ("pictures", "captions", "left_out", "same_picture_again")]
        lines.append(f"| {escape(name)} | {' | '.join(f'{count:,}' for count in counts)} |")
        reasons.update(split["reasons"])
    if reasons:
        lines += ["", f"Left out because: {_listed(reasons)}."]
    return "\n".join(lines)


def _captions(facts: RunFacts) -> str:
    train = facts.splits[0]
    shortest, median, longest = train.caption_tokens
    cut = f"; {train.cut_share:.1%} are longer than the model reads and were cut" if train.cut_share else ""
    return f"## Captions\n\nOf {train.name!r}: {shortest} to {longest} tokens, {median} in the middle{cut}."


def _attributes(facts: RunFacts) -> str:
    train = facts.splits[0]
    if not train.attributes:
        return ""
    lines = ["## Attributes", "", f"Of the {train.num_images:,} pictures of {escape(train.name)!r}:", ""]
    lines += [f"- {escape(name)}: {_listed(values)}" for name, values in train.attributes.items()]
    lines += ["", "What is rare here is drawn badly or not at all, and what is missing cannot be drawn."]
    return "\n".join(lines)


def _listed(values: Mapping[str, int]) -> str:
    shown = sorted(values.items(), key=lambda item: -item[1])[:SHOWN_VALUES]
    more = f", and {len(values) - len(shown):,} more" if len(values) > len(shown) else ""
    return ", ".join(f"{escape(str(value)[:SHORT_VALUE])} {count:,}" for value, count in shown) + more


def _rights(report: Mapping[str, Any]) -> str:
    lines = ["## Rights and consent", ""]
    columns = report.get("licences") or {}
    lines += [
        f"- {escape(split)}, column {escape(name)!r}: {_listed(values)}"
        for split, of_split in columns.items()
        for name, values in of_split.items()
    ]
    if not columns:
        lines.append("No column of the data tells of licences, rights or consent, picture by picture.")
    return "\n".join(lines)


def _personal(report: Mapping[str, Any]) -> str:
    found = report.get("captions_that_may_be_personal") or {}
    listed = _listed({kind: of_kind["captions"] for kind, of_kind in found.items()})
    said = (
        f"Captions with what looks like: {listed}."
        if found
        else ("No caption has what looks like an e-mail address, a phone number or an address.")
    )
    return f"## Personal\n\n{said} Patterns find forms, not people: names of persons and faces are not looked for."


def _doubles(report: Mapping[str, Any]) -> str:
    exact = report.get("same_picture_in_two_splits") or {}
    near = report.get("nearly_the_same_in_two_splits") or {}
    lines = [f"- the same file in both {escape(names)}: {count:,}" for names, count in exact.items()]
    lines += [f"- more that are nearly the same in both {escape(names)}: {count:,}" for names, count in near.items()]
    if not lines:
        return "## Pictures in two splits\n\nNone were found, also none that are nearly the same."
    flatter = "Figures on the later split flatter a model that has learned these by heart."
    return "\n".join(["## Pictures in two splits", "", *lines, "", flatter])


def _unknown(facts: RunFacts) -> str:
    notes = str(facts.config["model_card"]["notes"]).strip()
    said = (
        "Who made the pictures and captions, when and what for, who is shown and has agreed to it, and who is missing: "
        "the data does not say, and whoever passes the model on should."
    )
    return f"## Not known from the data\n\n{said}" + (f" The owner's notes: {notes}" if notes else "")
