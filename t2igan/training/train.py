"""The whole training: the run's folder, the phases in order (`t2igan.training.loop`), and what is left at the end.

It keeps one invariant: what is on disk was finite, and together with the configuration it decides all that follows.
So the same command, given again after whatever stopped it, goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from t2igan import config as config_lib
from t2igan.config.checks import check, check_devices
from t2igan.config.checks.privacy import unwatched
from t2igan.data import Dataset, different
from t2igan.data.given import given_data
from t2igan.errors import UserError, command, lacks_locks
from t2igan.evaluation.evaluate import evaluate, without_details
from t2igan.evaluation.report.data_card import write_data_card
from t2igan.evaluation.report.facts import gather
from t2igan.evaluation.report.model_card import CARD_NAME, model_card
from t2igan.evaluation.report.privacy import privacy_lines
from t2igan.evaluation.runs import discriminate_with, draw_with
from t2igan.evaluation.table import summary_line
from t2igan.inference.files import explain_write_errors, write_json, write_text
from t2igan.inference.forked import check_not_forked
from t2igan.inference.sample import BEST_SNAPSHOT_NAME, SNAPSHOT_NAME, from_snapshot
from t2igan.inference.snapshot import Snapshot, load_snapshot, save_snapshot
from t2igan.method.phases import PHASES
from t2igan.training import stopping
from t2igan.training.averages import best_average
from t2igan.training.distributed import agreement, parallel, processes
from t2igan.training.logs import say, speak
from t2igan.training.loop import build_phase, run_phase, started
from t2igan.training.monitor import evaluated, snapshot_of
from t2igan.training.opening import inherit, open_run, pretrained_parts
from t2igan.training.record import check_same_configuration, write_configuration
from t2igan.training.run import Run
from t2igan.training.space import at_hand, fitted
from t2igan.training.warm_start import handed_on

LOCK_NAME = ".lock"


def train(
    config: ConfigDict | str | Path,
    workdir: str | Path,
    *,
    dataset: Dataset | None = None,
    val_dataset: Dataset | None = None,
    test_dataset: Dataset | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains by `config` in `workdir`, or goes on there; returns the final figures on the test split.

    Of several processes, which `processes.start` has brought together, all must call it with the same arguments.

    Args:
      config: a configuration, the name of a preset ("base"), or a file with `get_config()`.
      workdir: the run's folder.
      dataset: pictures to train on instead of those that `config.data` names; `Dataset.from_arrays` makes one.
      val_dataset: pictures to validate on; None = `config.data.val_fraction` of `dataset`.
      test_dataset: pictures to test on; None = `config.data.test_fraction` of `dataset`.
      overrides: what changed the configuration, noted in config.json.

    Raises:
      UserError: the configuration, the data or the folder cannot be used, or training went non-finite.
      KeyboardInterrupt: it was interrupted; everything is saved, and the same call goes on.
    """
    config, workdir = config_lib.as_config(config), config_lib.expanded(workdir, "workdir")
    check_not_forked()
    config, given = given_data(config, dataset, val_dataset, test_dataset)
    check(config)
    batch_keys = [f"{PHASES[phase].section}.batch_images" for phase in config.phases]
    speak(processes.leads())
    config, lines = unwatched(config)
    for line in lines:
        say(line)
    parallel.start(processes.local_cpu_devices(config.devices))
    mesh = parallel.make_mesh(config.devices, config.shard_devices)
    for key in batch_keys:
        check_devices(config_lib.get(config, key), mesh.size, key)
    agreement.check_configuration(config)
    agreement.check_shared(workdir)
    parallel.connect(mesh)
    with _alone(workdir):
        return _train(config, workdir, overrides, mesh, given)


def _train(
    config: ConfigDict,
    workdir: Path,
    overrides: Sequence[str],
    mesh: jax.sharding.Mesh,
    data: tuple[Dataset, Dataset, Dataset] | None,
) -> dict[str, Any]:
    check_same_configuration(config, workdir)
    with stopping.Interruption() as interruption:
        try:
            run = dataclasses.replace(open_run(config, workdir, mesh, data), interruption=interruption)
            write_configuration(config, workdir, overrides, run)
            try:
                return _run_phases(run)
            finally:
                run.logs.close()
        except stopping.Interrupted as error:
            found = stopping.what_there_is(workdir, config.phases)
            raise stopping.Interrupted(f"{str(error) or 'stopped'}; the same command goes on\n{found}") from None


def _run_phases(run: Run) -> dict[str, Any]:
    given, state = fitted(run, pretrained_parts(run, inherit(run))), None  # networks that have learned, by name
    phases = run.config.phases
    for i, name in enumerate(phases):
        run.interruption.check()
        given = at_hand(run, name, given)
        phase = build_phase(run, name, given)
        later = phases[i + 1 :]
        if processes.from_leader(lambda later=later: any(started(run.workdir, phase) for phase in later)):
            # What this phase left behind is in the later one's state: only its structure counts.
            given = handed_on(given, jax.eval_shape(phase.init, given))
            continue
        state = best_average(run, run_phase(run, phase, given), phase.name, phase.total_steps)
        given = handed_on(given, state)
    if processes.count() > 1:  # a single one stops within it, its snapshot written
        run.interruption.check()
    processes.no_more_stops()
    return finish(run, given, int(state.step))


@contextlib.contextmanager
def _alone(workdir: Path) -> Iterator[None]:
    """Keeps a second training out of the folder while this one is in it: they would delete each other's files."""
    from filelock import FileLock, Timeout

    with contextlib.ExitStack() as held:
        if processes.leads():
            with explain_write_errors(workdir):
                workdir.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(FileLock(workdir / LOCK_NAME).acquire(timeout=0))
                except Timeout as error:
                    raise UserError(
                        f"another training goes on in {workdir}; wait for it, stop it, or choose another --workdir"
                    ) from error
                except (NotImplementedError, OSError) as error:
                    if not lacks_locks(error):
                        raise
                    say(f"{workdir}: this disk has no locks, so take care that no second training runs there")
        yield


def finish(run: Run, learned: dict[str, Any], done: int) -> dict[str, Any]:
    """Writes the final snapshot, evaluates it, and says what there is and how to use it."""
    if "generator" not in learned:
        networks = ", ".join(learned)
        say(f"done: {run.workdir / 'checkpoints'} holds {networks}; add the phase 'adversarial' to draw pictures")
        return {}
    alone = parallel.local(learned)
    return processes.from_leader(lambda: _conclude(run, alone, done))


def _conclude(run: Run, learned: dict[str, Any], done: int) -> dict[str, Any]:
    path, figures = run.workdir / SNAPSHOT_NAME, {}
    snapshot = snapshot_of(run, learned, done, run.config.phases[-1])
    digest = save_snapshot(path, snapshot)
    with run.interruption.at_once():  # the snapshot is there, whatever comes
        if run.config.train.ema_tracks and run.config.evaluate.every_images:
            evaluated(run, snapshot)  # the average that was chosen may be the best model there was
        if run.config.evaluate.at_end:
            figures = _final_figures(run, snapshot, learned)
            figures |= {"model": digest, "step": done}
            write_json(run.workdir / f"evaluation_{run.test_data.split}.json", figures)
            snapshot = dataclasses.replace(snapshot, metrics=without_details(figures))
    facts = gather(
        run.workdir,
        run.config.to_dict(),
        dataclasses.replace(snapshot, digest=digest),
        different([run.train_data, run.val_data, run.test_data]),
        run.tokenizer,
    )
    card = model_card(facts)
    write_text(run.workdir / CARD_NAME, card)
    write_data_card(facts)
    save_snapshot(path, dataclasses.replace(snapshot, model_card=card))
    sheets = sorted((run.workdir / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    say(f"\nmodel:    {path}")
    if line := _best_line(run, digest):
        say(line)
    for line in privacy_lines(snapshot.info):
        say(line)
    if sheets:
        say(f"pictures: {sheets[-1]}")
    if figures:
        say(f"metrics:  {summary_line(figures, explained=True)}")
        for finding in figures["verdict"]:
            say(f"verdict:  {finding['text']}")
    say(f"look:     {command('report', workdir=run.workdir)}")
    own = command("sample", workdir=run.workdir, prompt=run.test_data.captions[0][0], num=8, seed=0, out="me.png")
    say(f"draw your own:\n  {own}")
    return figures


def _final_figures(run: Run, snapshot: Snapshot, learned: dict[str, Any]) -> dict[str, Any]:
    return evaluate(
        draw_with(from_snapshot(snapshot, run.tokenizer)),
        run.test_data,
        run.extractors,
        num_images=max(run.config.evaluate.num_images, len(run.test_data)),
        seed=0,
        discriminate=_discriminator(run, snapshot.params, learned),
    )


def _best_line(run: Run, digest: str) -> str:
    """Says which model did best on the way, where that is another than the last; "" otherwise."""
    path, metric = run.workdir / BEST_SNAPSHOT_NAME, run.best_metric[0]
    if not path.is_file() or (best := load_snapshot(path)).digest == digest:
        return ""
    value = best.metrics["figures"][metric]["value"]
    where = f"of phase {best.info['phase']}, step {best.info['step']:,}"
    return f"best:     {path} {where}, by {metric} {value:.3f} on the way; --which=best uses it"


def _discriminator(run: Run, params: dict[str, Any], learned: dict[str, Any]) -> Any:
    """Returns what scores pictures as the discriminator does; None where no phase left one behind."""
    if "discriminator" not in learned:
        return None
    params = params | {"discriminator": jax.device_get(learned["discriminator"])}
    return discriminate_with(run.networks, params, run.tokenizer, run.config.discriminator.normalisation)
