"""`t2igan evaluate`: figures of trained runs, side by side."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given


def define(given: FlagValues) -> None:
    """Adds the flags of `evaluate`."""
    verb.define_workdir(given, "folder of a run; several stand side by side in the table")
    verb.define_which(given)
    flags.DEFINE_string(
        "split", "", "which split of the data; without it the test split of each run", flag_values=given
    )
    flags.DEFINE_integer("num", None, "pictures to draw; without it as many as the split has", flag_values=given)
    flags.DEFINE_integer("seed", 0, "seed of the noise", flag_values=given)
    flags.DEFINE_list(
        "metrics", [], "groups of metrics, such as attributes,frechet_distance; without it all", flag_values=given
    )
    verb.define_path(given, "inception_weights", "Inception-v3 for FID, a .safetensors file")
    verb.define_path(given, "clip_weights", "folder of a CLIP in Hugging Face's layout")
    flags.DEFINE_string("efficientnet_weights", None, "efficientnet_lite0, or its file of weights", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Measures trained runs on a split of their data, several side by side."""
    from t2igan.evaluation.evaluate import GROUPS
    from t2igan.evaluation.runs import evaluate_runs
    from t2igan.training.distributed import parallel

    workdirs = verb.workdirs(given, "evaluate")
    parallel.start()
    paths = {
        "inception": given.inception_weights,
        "clip": given.clip_weights,
        "efficientnet": given.efficientnet_weights,
    }
    weights = {name: str(path) for name, path in paths.items() if path is not None}
    evaluate_runs(
        workdirs, given.split, given.num, given.seed, given.metrics or tuple(GROUPS), weights, which=given.which
    )


VERB = verb.Verb(
    name="evaluate",
    summary="measure trained models on a split of their data",
    examples=("evaluate --workdir=runs/base --split=unseen", "evaluate --workdir=runs/base --workdir=runs/mlp"),
    define=define,
    run=run,
)
