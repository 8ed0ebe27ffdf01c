"""The whole training: the run's folder, the phases in order (`t2igan.training.loop`), and what is left at the end.

It keeps one invariant: what is on disk was finite, and together with the configuration it decides all that follows.
So the same command, given again after whatever stopped it, goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from t2igan import __version__, nets
from t2igan import config as config_lib
from t2igan.config.checks import check, check_devices
from t2igan.data import Dataset, different
from t2igan.data.given import given_data
from t2igan.data.summary import cut_captions, few_held_out
from t2igan.errors import UserError, command
from t2igan.evaluation.evaluate import evaluate, without_details
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.report.card import CARD_NAME, model_card
from t2igan.evaluation.report.environment import environment
from t2igan.evaluation.report.facts import gather
from t2igan.evaluation.runs import discriminate_with, draw_with
from t2igan.evaluation.table import summary_line
from t2igan.inference.files import explain_write_errors, write_json, write_text
from t2igan.inference.forked import check_not_forked
from t2igan.inference.pretrained.features import efficientnet_file, efficientnet_params
from t2igan.inference.pretrained.opening import tuned_from
from t2igan.inference.pretrained.text_model import read_text_model
from t2igan.inference.sample import SNAPSHOT_NAME, from_snapshot
from t2igan.inference.snapshot import load_networks, save_networks, save_snapshot
from t2igan.method.phases import PHASES
from t2igan.nets.efficientnet import EfficientNet
from t2igan.nets.init import init_network
from t2igan.nets.pretrained_text import TUNED
from t2igan.nets.projected import FEATURES, FIXED
from t2igan.training import warm_start as inheritance
from t2igan.training.averages import best_average
from t2igan.training.data import open_data
from t2igan.training.distributed import agreement, parallel, processes
from t2igan.training.logs import Logs, say, speak
from t2igan.training.loop import build_phase, run_phase, started
from t2igan.training.monitor import snapshot_of
from t2igan.training.run import Run
from t2igan.training.tokenizing import open_tokenizer
from t2igan.training.warm_start import handed_on

INHERITED_NAME = "inherited.safetensors"
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
      val_dataset: pictures to watch and steer by; None = `config.data.val_fraction` of `dataset`.
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
    _check_same_configuration(config, workdir)
    run = open_run(config, workdir, mesh, data)
    _write_configuration(config, workdir, overrides, run)
    try:
        given, state = pretrained_parts(run, inherit(run)), None  # networks that have learned, by name
        for i, name in enumerate(config.phases):
            phase = build_phase(run, name, given)
            later = config.phases[i + 1 :]
            if processes.from_leader(lambda later=later: any(started(workdir, phase) for phase in later)):
                # What this phase left behind is in the later one's state: only its structure counts.
                given = handed_on(given, jax.eval_shape(phase.init, given))
                continue
            state = best_average(run, run_phase(run, phase, given), phase.total_steps)
            given = handed_on(given, state)
        processes.no_more_stops()
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
                except NotImplementedError:  # a disk without locks
                    pass
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
        source = inheritance.read(run.config.init_from)
        alike = run.tokenizer.identity == source.identity
        with_text = alike and inheritance.text_fits(source, run.networks, run.batch_shapes)
        taken, report = inheritance.take(source, run.networks, run.batch_shapes, run.config.seed, with_text)
        for line in report:
            say(line)
        save_networks(path, taken)

    processes.from_leader(write)
    return load_networks(path)


def pretrained_parts(run: Run, given: dict[str, Any]) -> dict[str, Any]:
    """Returns `given` and what is pretrained of networks: a tuned language model, a discriminator's features."""
    if "text" not in given and run.config.text_encoder.pretrained and run.tokenizer.mode == TUNED:
        key = jax.random.fold_in(jax.random.key(run.config.seed), 31)
        fresh = jax.device_get(init_network(run.networks, "text", key, run.batch_shapes))
        given = given | {"text": tuned_from(fresh, run.tokenizer.params)}
    features_from = run.config.discriminator.features_from
    if features_from and {"discriminator", "adversarial", "joint"} & set(run.config.phases):
        discriminator = given.get("discriminator")
        if discriminator is None:
            key = jax.random.fold_in(jax.random.key(run.config.seed), 32)
            discriminator = jax.device_get(init_network(run.networks, "discriminator", key, run.batch_shapes))
        features = efficientnet_params(features_from, "config.discriminator.features_from", EfficientNet())["params"]
        fixed = dict(discriminator[FIXED]) | {FEATURES: features}  # of another run's too: it may have had none
        given = given | {"discriminator": dict(discriminator) | {FIXED: fixed}}
    return given


def open_run(config, workdir: Path, mesh, data: tuple[Dataset, Dataset, Dataset] | None = None) -> Run:
    """Opens data (where it is not given), tokenizer, networks and logs; trains nothing but the tokenizer."""
    name = config.text_encoder.pretrained
    # What is wrong with what others have learned is said before pictures are decoded.
    model = read_text_model(name) if name else None
    if config.discriminator.features_from:
        efficientnet_file(config.discriminator.features_from, "config.discriminator.features_from")
    train_data, val_data, test_data = opened = open_data(config, workdir, data)
    tokenizer = open_tokenizer(config, workdir, train_data, model)
    say(
        f"{train_data.name}: {len(train_data):,} training pictures of {config.data.image_size_px} px, "
        f"{len(val_data):,} to watch, {len(test_data):,} to test on; "
        f"{tokenizer.vocab_size} tokens; {mesh.size} x {mesh.devices.flat[0].platform}"
    )
    for remark in [*train_data.notes, *few_held_out(opened), *cut_captions(train_data, tokenizer)]:
        say(remark)
    if config.sample.captions:
        tokenizer.encode_prompts(config.sample.captions)  # too long, empty: better said now than at the first sheet
    project = config.log.wandb_project if config.log.wandb else ""
    return Run(
        config=config,
        workdir=workdir,
        mesh=mesh,
        train_data=train_data,
        val_data=val_data,
        test_data=test_data,
        tokenizer=tokenizer,
        networks=nets.build(config, tokenizer.vocab_size, tokenizer.pretrained),
        extractors=FeatureExtractors.of_run(config, train_data, tokenizer, workdir),
        logs=Logs(workdir, processes.leads(), project, config.to_dict()),
    )


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
    snapshot = snapshot_of(run, learned, done)
    digest = save_snapshot(path, snapshot)
    if run.config.evaluate.at_end:
        figures = evaluate(
            draw_with(from_snapshot(snapshot, run.tokenizer)),
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
        different([run.train_data, run.val_data, run.test_data]),
        run.tokenizer,
    )
    card = model_card(facts)
    write_text(run.workdir / CARD_NAME, card)
    save_snapshot(path, dataclasses.replace(snapshot, model_card=card))
    sheets = sorted((run.workdir / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    say(f"\nmodel:    {path}")
    if sheets:
        say(f"pictures: {sheets[-1]}")
    if figures:
        say(f"metrics:  {summary_line(figures)}")
        for finding in figures["verdict"]:
            say(f"verdict:  {finding['text']}")
    say(f"look:     {command('report', workdir=run.workdir)}")
    own = command("sample", workdir=run.workdir, prompt=run.test_data.captions[0][0], num=8, seed=0, out="me.png")
    say(f"draw your own:\n  {own}")
    return figures


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


def _write_configuration(config, workdir: Path, overrides: Sequence[str], run: Run) -> None:
    if run.leads:
        record = {
            "t2igan": __version__,
            "overrides": list(overrides),
            "data_fingerprint": run.train_data.fingerprint(),
            "environment": environment(),
            "config": json.loads(config_lib.to_json(config)),
        }
        write_json(workdir / "config.json", record)
