"""`t2igan report`: a run on one page, and its model card."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given


def define(given: FlagValues) -> None:
    """Adds the flags of `report`."""
    verb.define_workdir(given)
    verb.define_path(given, "out", "the page, .html; without it report.html in the run's folder")
    flags.DEFINE_string("split", None, "which split to show; without it the run's test split", flag_values=given)
    flags.DEFINE_integer("num", None, "pictures to draw, if the model has to be evaluated first", flag_values=given)
    flags.DEFINE_integer("seed", 0, "seed of that evaluation", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Writes one page about a run, and its model card."""
    from t2igan.config import get_config
    from t2igan.evaluation.report import write_report
    from t2igan.training.distributed import parallel

    workdir = verb.workdir(given, "report")
    parallel.start()
    base = get_config("base").to_dict()
    write_report(workdir, given.out, given.split, base=base, num_images=given.num, seed=given.seed)


VERB = verb.Verb(
    name="report",
    summary="write one page about a run, and its model card (pip install 't2igan[report]')",
    examples=("report --workdir=runs/base",),
    define=define,
    run=run,
)
