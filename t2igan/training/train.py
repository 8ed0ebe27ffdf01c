"""The whole training: the run's folder, the phases in order (`t2igan.training.loop`), and what is left at the end.

It keeps one invariant: what is on disk was finite, and together with the configuration it decides all that follows.
So the same command, given again after whatever stopped it, goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import __version__, nets
from t2igan import config as config_lib
from t2igan.config.checks import check, check_devices
from t2igan.data import Dataset, check_usable, open_datasets
from t2igan.data.summary import as_json, left_out
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, lacks_locks
from t2igan.evaluation.evaluate import evaluate, without_details
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.report.card import CARD_NAME, model_card
from t2igan.evaluation.report.environment import environment
from t2igan.evaluation.report.facts import gather
from t2igan.evaluation.runs import discriminate_with, draw_with
from t2igan.evaluation.table import IN_BRACKETS, summary_line
from t2igan.inference.files import explain_write_errors, write_json, write_text
from t2igan.inference.sample import BEST_SNAPSHOT_NAME, SNAPSHOT_NAME, from_snapshot
from t2igan.inference.snapshot import load_networks, load_snapshot, save_networks, save_snapshot
from t2igan.method.phases import PHASES
from t2igan.training import warm_start as inheritance
from t2igan.training.averages import best_average
from t2igan.training.distributed import agreement, parallel, processes
from t2igan.training.logs import Logs, say, speak
from t2igan.training.loop import build_phase, run_phase, started
from t2igan.training.monitor import evaluated, snapshot_of
from t2igan.training.run import Run
from t2igan.training.warm_start import handed_on

INHERITED_NAME = "inherited.safetensors"
LOCK_NAME = ".lock"


def train(config, workdir: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains by `config` in `workdir`, or goes on there; returns the final figures on the test split.

    Of several processes, which `processes.start` has brought together, all must call it with the same arguments.

    Raises:
      UserError: the configuration, the data or the folder cannot be used, or training went non-finite.
    """
    check(config)
    batch_keys = [f"{PHASES[phase].section}.batch_images" for phase in config.phases]
    speak(processes.leads())
    parallel.start(processes.local_cpu_devices(config.devices))
    mesh = parallel.make_mesh(config.devices, config.shard_devices)
    for key in batch_keys:
        check_devices(config_lib.get(config, key), mesh.size, key)
    agreement.check_configuration(config)
    agreement.check_shared(workdir)
    parallel.connect(mesh)
    with _alone(workdir):
        return _train(config, workdir, overrides, mesh)


def _train(config, workdir: Path, overrides: tuple[str, ...], mesh: jax.sharding.Mesh) -> dict[str, Any]:
    _check_same_configuration(config, workdir)
    run = open_run(config, workdir, mesh)
    _write_configuration(config, workdir, overrides, run)
    try:
        given, state = inherit(run), None  # networks that have learned, by name
        for i, name in enumerate(config.phases):
            phase = build_phase(run, name, given)
            later = config.phases[i + 1 :]
            if processes.from_leader(lambda later=later: any(started(workdir, phase) for phase in later)):
                # What this phase left behind is in the later one's state: only its structure counts.
                given = handed_on(given, jax.eval_shape(phase.init, given))
                continue
            state = best_average(run, run_phase(run, phase, given), phase.name, phase.total_steps)
            given = handed_on(given, state)
        return finish(run, given, int(state.step))
    finally:
        run.logs.close()


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


def inherit(run: Run) -> dict[str, Any]:
    """Returns what the run begins with of another's networks (`config.init_from`), and says what that is.

    It is kept in the run's folder, which needs the other run no more.
    """
    if not run.config.init_from:
        return {}
    path = run.workdir / INHERITED_NAME

    def write() -> None:
        if path.is_file():
            return
        source = inheritance.read(run.config.init_from, run.config.init_which)
        with_text = run.tokenizer == source.tokenizer and inheritance.text_fits(source, run.networks, run.batch_shapes)
        taken, report = inheritance.take(source, run.networks, run.batch_shapes, run.config.seed, with_text)
        for line in report:
            say(line)
        save_networks(path, taken)

    processes.from_leader(write)
    return load_networks(path)


def open_run(config, workdir: Path, mesh) -> Run:
    """Opens data, tokenizer, networks and logs; trains nothing but the tokenizer."""
    train_data, test_data = open_datasets(config.data, (config.data.train_split, config.data.test_split))
    if processes.leads():
        write_json(workdir / "data_report.json", as_json([train_data, test_data]))
    for dataset in (train_data, test_data):
        if dataset.skipped:
            say(f"{left_out(dataset)}; all are listed in {workdir / 'data_report.json'}")
        check_usable(dataset, config.data)
    agreement.check_data(train_data, config.data.source)
    tokenizer = Tokenizer.from_json(processes.from_leader(lambda: _tokenizer(config, workdir, train_data)))
    say(
        f"{train_data.name}: {len(train_data):,} training pictures of {config.data.image_size_px} px, "
        f"{len(test_data):,} to test on; {tokenizer.vocab_size} tokens; {mesh.size} x {mesh.devices.flat[0].platform}"
    )
    if config.sample.captions:
        tokenizer.encode_prompts(config.sample.captions)  # too long, empty: better said now than at the first sheet
    extractors = FeatureExtractors.of_run(config, train_data, tokenizer, workdir)
    processes.from_leader(extractors.verify)  # of several processes one evaluates
    project = config.log.wandb_project if config.log.wandb else ""
    return Run(
        config=config,
        workdir=workdir,
        mesh=mesh,
        train_data=train_data,
        test_data=test_data,
        tokenizer=tokenizer,
        networks=nets.build(config, tokenizer.vocab_size),
        extractors=extractors,
        logs=Logs(workdir, processes.leads(), project, config.to_dict()),
    )


def _tokenizer(config, workdir: Path, train_data: Dataset) -> str:
    """Returns the run's tokenizer as JSON; inherited or trained, and written, where there is none yet."""
    path = workdir / "tokenizer.json"
    # Without config.json it is of a start that failed, perhaps with another configuration.
    if path.is_file() and (workdir / "config.json").is_file():
        return path.read_text(encoding="utf-8")
    tokenizer = _inherited_tokenizer(config, train_data)
    if tokenizer is None:
        captions = [caption for captions in train_data.captions for caption in captions]
        t = config.tokenizer
        tokenizer = Tokenizer.train(captions, t.vocab_size, t.max_tokens, t.lowercase)
    write_text(path, tokenizer.to_json())
    return tokenizer.to_json()


def _inherited_tokenizer(config, train_data: Dataset) -> Tokenizer | None:
    """The tokenizer of `config.init_from`, where the text encoder that goes with it can be taken."""
    if not config.init_from:
        return None
    source = inheritance.read(config.init_from, config.init_which)
    shapes = {
        "images": jax.ShapeDtypeStruct((2, *train_data.images.shape[1:]), np.uint8),
        "tokens": jax.ShapeDtypeStruct((2, source.tokenizer.max_tokens), np.int32),
    }
    fits = source.tokenizer.max_tokens == config.tokenizer.max_tokens and inheritance.text_fits(
        source, nets.build(config, source.tokenizer.vocab_size), shapes
    )
    return source.tokenizer if fits else None


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
    if run.config.train.ema_tracks and run.config.evaluate.every_images:
        evaluated(run, snapshot)  # the average that was chosen may be the best model there was
    if run.config.evaluate.at_end:
        figures = evaluate(
            draw_with(from_snapshot(snapshot)),
            run.test_data,
            run.extractors,
            num_images=max(run.config.evaluate.num_images, len(run.test_data)),
            seed=0,
            discriminate=_discriminator(run, snapshot.params, learned),
        )
        figures |= {"model": digest, "step": done}
        write_json(run.workdir / f"evaluation_{run.test_data.split}.json", figures)
        snapshot = dataclasses.replace(snapshot, metrics=without_details(figures))
    facts = gather(
        run.workdir,
        run.config.to_dict(),
        dataclasses.replace(snapshot, digest=digest),
        [run.train_data, run.test_data],
        run.tokenizer,
    )
    card = model_card(facts)
    write_text(run.workdir / CARD_NAME, card)
    save_snapshot(path, dataclasses.replace(snapshot, model_card=card))
    caption = shlex.quote(run.test_data.captions[0][0])  # it may come from anywhere, and is to be pasted
    sheets = sorted((run.workdir / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    say(f"\nmodel:    {path}")
    if line := _best_line(run, digest):
        say(line)
    if sheets:
        say(f"pictures: {sheets[-1]}")
    if figures:
        say(f"metrics:  {summary_line(figures)} ({IN_BRACKETS})")
        for finding in figures["verdict"]:
            say(f"verdict:  {finding['text']}")
    say(f"look:     python run.py report --workdir={run.workdir}")
    command = f"python run.py sample --workdir={run.workdir} --prompt={caption} --num=8 --seed=0 --out=me.png"
    say(f"draw your own:\n  {command}")
    return figures


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


def _check_same_configuration(config, workdir: Path) -> None:
    path = workdir / "config.json"
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); mend its JSON, or choose another --workdir") from error
    new = json.loads(config_lib.to_json(config))
    changed = config_lib.changed_keys(old, new)
    if changed:
        old, new = config_lib.flatten(old), config_lib.flatten(new)
        listed = "; ".join(f"config.{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in changed[:4])
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"{workdir} was begun with another configuration: {listed}{more}.\n"
            f"Set it back to go on there; or begin anew with what that run has learned, for example to train longer: "
            f"--config.init_from={workdir} and another --workdir"
        )


def _write_configuration(config, workdir: Path, overrides: tuple[str, ...], run: Run) -> None:
    path = workdir / "config.json"
    fingerprint = run.train_data.fingerprint()
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("data_fingerprint") != fingerprint:
            raise UserError(
                f"the training pictures or captions of {config.data.source} are not those that {workdir} was begun "
                f"with.\nBring the old ones back to go on there; or begin anew with what that run has learned: "
                f"--config.init_from={workdir} and another --workdir"
            )
    if run.leads:
        record = {
            "t2igan": __version__,
            "overrides": list(overrides),
            "data_fingerprint": fingerprint,
            "environment": environment(),
            "config": json.loads(config_lib.to_json(config)),
        }
        write_json(path, record)
