"""The page: gathers what there is to know and to see of a run, and renders it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2igan import config as config_lib
from t2igan.data import Dataset, list_splits, open_dataset
from t2igan.data.model_tokenizer import ModelTokenizer
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, command, nearest
from t2igan.evaluation.report import curves, edits, plots, sections, tables
from t2igan.evaluation.report.data_card import write_data_card
from t2igan.evaluation.report.environment import environment
from t2igan.evaluation.report.explanation import LIMITS
from t2igan.evaluation.report.facts import RunFacts, changed_from, gather, is_current, read_json, read_record
from t2igan.evaluation.report.model_card import CARD_NAME, model_card
from t2igan.evaluation.runs import evaluate_run
from t2igan.inference.console import say
from t2igan.inference.files import write_text
from t2igan.inference.sample import SNAPSHOT_NAME, Model, from_snapshot
from t2igan.inference.snapshot import Snapshot, load_snapshot, put_model_card

REPORT_NAME = "report.html"
SECTIONS = {
    "pictures": "Pictures",
    "time": "Over training",
    "figures": "Figures",
    "captions": "Best and worst",
    "attributes": "Confusions",
    "neighbours": "Neighbours",
    "diversity": "Diversity",
    "robustness": "Robustness",
    "ways": "In between",
    "attention": "Attention",
    "inversion": "Inversion",
    "completion": "Completion",
    "edits": "Edits",
    "descriptions": "Descriptions",
    "words": "Words",
    "curves": "Curves",
    "data": "Data",
    "configuration": "Configuration",
    "environment": "Environment",
}


OF_EDITING = ("inversion", "completion", "edits", "descriptions")  # shown of a run that has the networks


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a report is made of; None for what is not there."""

    workdir: Path
    facts: RunFacts
    model: Model | None
    train: Dataset | None
    shown: Dataset | None  # the split that is evaluated
    evaluation: Mapping[str, Any] | None
    missing: str  # why there is no evaluation; "" where there is one


def write(
    workdir: Path,
    out: Path | None,
    split: str | None,
    *,
    base: Mapping[str, Any] | None,
    num_images: int | None,
    seed: int,
) -> Path:
    """Writes the report and the model card; see `t2igan.evaluation.report.write_report`."""
    out = out or workdir / REPORT_NAME
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out={out} must end in .html")
    template = _template()
    sources = collect(workdir, split, num_images, seed)
    say("drawing the report")
    html = template.render(context(sources, base))
    write_text(out, html)
    card = model_card(sources.facts)
    write_text(workdir / CARD_NAME, card)
    data_card = write_data_card(sources.facts)
    in_snapshot = sources.model is not None and put_model_card(workdir / SNAPSHOT_NAME, card, sources.facts.digest)
    say(f"report:     {out} ({len(html.encode()) / 1e6:.1f} MB, one file)")
    say(f"model card: {workdir / CARD_NAME}{', and in the snapshot' if in_snapshot else ''}")
    if data_card:
        say(f"data card:  {data_card}")
    return out


def collect(workdir: Path, split: str | None, num_images: int | None, seed: int) -> Sources:
    """Opens what there is of a run, and evaluates its model where that was not done yet."""
    record = read_record(workdir)
    config = config_lib.from_dict(record["config"])
    if line := config_lib.looks_at_private(config, "pictures and figures of the report"):
        say(line)
    split = split or config.data.test_split
    snapshot = load_snapshot(workdir / SNAPSHOT_NAME) if (workdir / SNAPSHOT_NAME).is_file() else None
    train, shown, missing = None, None, ""
    try:
        train = open_dataset(config.data, config.data.train_split)
        splits = list_splits(config.data)
    except UserError as error:
        missing = f"The data cannot be opened: {error}"
    else:
        if split not in splits:
            raise UserError(f"--split={split} is none of {', '.join(splits)}{nearest(split, splits)}")
        shown = train if split == config.data.train_split else open_dataset(config.data, split)
    if snapshot is None:
        missing = "There is no snapshot yet: the training writes one at every evaluation and at its end."
    evaluation = read_json(workdir / f"evaluation_{split}.json")
    if not is_current(evaluation, snapshot.digest if snapshot else ""):
        evaluation = None
        if not missing:
            say(f"evaluating on the split {split!r} first (`{command('evaluate', workdir=workdir)}` writes the same)")
            evaluate_run(workdir, split, num_images, seed)
            evaluation = read_json(workdir / f"evaluation_{split}.json")
            if not is_current(evaluation, snapshot.digest):  # a training in the same folder has gone on meanwhile
                evaluation, missing = None, "The model changed while it was evaluated; make the report once more."
    facts = gather(workdir, config.to_dict(), snapshot, _distinct(train, shown), _tokenizer(workdir, snapshot))
    model = from_snapshot(snapshot) if snapshot else None
    return Sources(workdir, facts, model, train, shown, evaluation, missing)


def context(sources: Sources, base: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the template's variables: plain values and data URIs."""
    facts, evaluation = sources.facts, sources.evaluation
    drawn = sections.draw(sources.model, sources.train, sources.shown, evaluation, sources.workdir)
    shown, model = sources.shown, sources.model
    edited = edits.draw(model, shown) if model is not None and shown is not None else {}
    charts = curves.charts(facts.rows)
    numbered = {
        phase: [(chart.title, plots.chart_svg(chart, f"{phase}{number}")) for number, chart in enumerate(of_phase)]
        for phase, of_phase in charts.items()
    }
    spreads = curves.spreads((evaluation or {}).get("details", {}))
    flat = config_lib.flatten(facts.config)
    changed = changed_from(base, facts.config)
    return {
        "facts": facts,
        "evaluation": evaluation,
        "missing": sources.missing,
        "verdict": (evaluation or {}).get("verdict", []),
        "headlines": tables.headlines(evaluation) if evaluation else [],
        "groups": tables.figure_groups(evaluation, all_of_them=False) if evaluation else [],
        "all_groups": tables.figure_groups(evaluation) if evaluation else [],
        "confusions": tables.confusions(evaluation) if evaluation else [],
        "binding": (evaluation or {}).get("details", {}).get("binding", []),
        "others": {
            split: tables.headlines(of_split)
            for split, of_split in facts.evaluations.items()
            if evaluation is None or split != evaluation["split"]
        },
        "drawn": drawn,
        "edited": edited,
        "limits": LIMITS,
        "charts": numbered,
        "spreads": [(spread.title, plots.spread_svg(spread, f"spread{i}")) for i, spread in enumerate(spreads)],
        "changed": changed,
        "compared": base is not None,
        "unchanged": {key: value for key, value in flat.items() if key not in changed},
        "reported_on": environment(),
        "card": model_card(facts),
        "sections": {id: title for id, title in SECTIONS.items() if id not in OF_EDITING or id in edited},
    }


def _template() -> Any:
    try:
        import jinja2
        import matplotlib  # noqa: F401 - found missing now, not after the evaluation
        from markupsafe import Markup
    except ImportError as error:
        raise UserError("a report needs Matplotlib and Jinja: pip install 't2igan[report]'") from error
    # Captions, file names and configuration are others' text: everything is escaped but the SVG that `curves` made.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("t2igan.evaluation.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = tables.number
    environment.filters["duration"] = tables.duration
    environment.filters["svg"] = Markup
    environment.filters["clip"] = sections.clip
    return environment.get_template("page.html")


def _distinct(*splits: Dataset | None) -> list[Dataset]:
    return list({split.split: split for split in splits if split is not None}.values())


def _tokenizer(workdir: Path, snapshot: Snapshot | None) -> Tokenizer | None:
    if snapshot:
        own = Tokenizer.from_json(snapshot.tokenizer)
        if not snapshot.pretrained:
            return own
        return ModelTokenizer(snapshot.pretrained["tokenizer"], snapshot.config["tokenizer"]["max_tokens"], own)
    path = workdir / "tokenizer.json"
    return Tokenizer.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None
