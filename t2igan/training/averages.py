"""Which moving average is drawn with: of several half-lives, the one that does best, chosen when training is done.

How long an average should reach back is hard to say before, and cheap to say after (Karras et al. 2024,
arXiv:2312.02696, who interpolate between averages that were kept; here each is kept whole, `config.train.ema_tracks`).
"""

from __future__ import annotations

from typing import Any

from t2igan.evaluation.evaluate import flat_figures
from t2igan.evaluation.table import summary_line
from t2igan.inference.sample import from_snapshot
from t2igan.training.distributed import parallel, processes
from t2igan.training.logs import say
from t2igan.training.monitor import cheap_figures, snapshot_of
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of


def best_average(run: Run, state: Any, phase: str, done: int) -> Any:
    """Returns the state with the best of its averages in `ema`, by the metric of the best checkpoint on the val split.

    Where there are no further averages (`state.tracks`) the state is returned as it is. The checkpoint keeps all of
    them, so the choice is in the snapshot and in the phases after.
    """
    if not getattr(state, "tracks", None):
        return state
    averages = {"1": state.ema, **state.tracks}
    alone = parallel.local(state.replace(opt_state=()))
    with run.interruption.at_once():
        best = processes.from_leader(lambda: _best(run, alone, phase, done))
    return state.replace(ema=averages[best])


def _best(run: Run, state: Any, phase: str, done: int) -> str:
    metric, lower_is_better = run.best_metric
    found = {}
    for name, average in {"1": state.ema, **state.tracks}.items():
        snapshot = snapshot_of(run, networks_of(state.replace(ema=average)), done, phase)
        num_images = max(run.config.evaluate.num_images, len(run.val_data))
        looked = cheap_figures(run, from_snapshot(snapshot, run.tokenizer), num_images)
        say(f"average of half-life x {name}: {summary_line(looked)}")
        found[name] = flat_figures(looked).get(metric)
    if None in found.values():
        say(f"there are too few pictures in split {run.val_data.split!r} to choose by {metric}")
        return "1"
    best = (min if lower_is_better else max)(found, key=found.__getitem__)
    say(f"the average of half-life x {best} is kept")
    return best
