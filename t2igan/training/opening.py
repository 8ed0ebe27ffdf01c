"""How a run begins: its data, tokenizer and networks, and what it takes over from other runs and models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import nets
from t2igan.config import total_steps
from t2igan.data import Dataset, check_all_usable, different, open_datasets, split_names
from t2igan.data.summary import (
    as_json,
    counts,
    cut_captions,
    different_pictures,
    duplicates,
    few_held_out,
    few_to_learn_from,
    left_out,
    transparency,
    unread,
)
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.inference.files import write_json, write_text
from t2igan.inference.pretrained.features import efficientnet_file, efficientnet_params
from t2igan.inference.pretrained.opening import reader_of, snapshot_parts, tuned_from
from t2igan.inference.pretrained.text_model import read_text_model
from t2igan.inference.snapshot import load_networks, save_networks
from t2igan.method.phases import PHASES
from t2igan.nets.efficientnet import EfficientNet
from t2igan.nets.init import init_network
from t2igan.nets.pretrained_text import TUNED
from t2igan.nets.projected import FEATURES, FIXED
from t2igan.training import warm_start as inheritance
from t2igan.training.distributed import agreement, processes
from t2igan.training.logs import Logs, say
from t2igan.training.record import check_same_data
from t2igan.training.run import Run

MANY_PICTURES = 20_000  # of which enough differ
INHERITED_NAME = "inherited.safetensors"
DATA_REPORT_NAME = "data_report.json"


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
    kinds = [PHASES[phase] for phase in run.config.phases]
    if features_from and any("discriminator" in (*kind.trains(run.config), *kind.uses(run.config)) for kind in kinds):
        discriminator = given.get("discriminator")
        if discriminator is None:
            key = jax.random.fold_in(jax.random.key(run.config.seed), 32)
            discriminator = jax.device_get(init_network(run.networks, "discriminator", key, run.batch_shapes))
        features = efficientnet_params(features_from, "config.discriminator.features_from", EfficientNet())["params"]
        fixed = dict(discriminator[FIXED]) | {FEATURES: features}  # of another run's too: it may have had none
        given = given | {"discriminator": dict(discriminator) | {FIXED: fixed}}
    return given


def open_run(config, workdir: Path, mesh, data: tuple[Dataset, Dataset, Dataset] | None = None) -> Run:
    """Opens data, tokenizer, networks and logs; trains nothing but the tokenizer."""
    name = config.text_encoder.pretrained
    # What is wrong with what others have learned is said before pictures are decoded.
    model = read_text_model(name) if name else None
    if config.discriminator.features_from:
        efficientnet_file(config.discriminator.features_from, "config.discriminator.features_from")
    opened = data or open_datasets(config.data, split_names(config.data))
    train_data, val_data, test_data = opened
    check_same_data(config, workdir, train_data)
    looks = not config.privacy.epsilon  # nothing is said or written of what is in private pictures
    if processes.leads() and looks:
        _report_data(workdir / DATA_REPORT_NAME, opened)
    listed = f"; all are listed in {workdir / DATA_REPORT_NAME}" if looks else ""
    if train_data.unread:
        say(f"{unread(train_data)}{listed}")
    for dataset in different(opened):
        if dataset.skipped:
            say(f"{left_out(dataset)}{listed}")
    check_all_usable(opened, config.data)
    agreement.check_data(train_data, config.data.source)
    own = Tokenizer.from_json(processes.from_leader(lambda: _tokenizer(config, workdir, train_data)))
    tokenizer = reader_of(config, own, model)
    processes.from_leader(lambda: _describe(tokenizer, workdir))
    say(
        f"{train_data.name}: {len(train_data):,} training pictures of {config.data.image_size_px} px, "
        f"{len(val_data):,} to validate on, {len(test_data):,} to test on; "
        f"{tokenizer.vocab_size} tokens; {mesh.size} x {mesh.devices.flat[0].platform}"
    )
    for remark in [
        *train_data.notes,
        *(transparency(opened, config.data) if looks else ()),
        *few_held_out(opened),
        *(duplicates(different(opened)) if looks else ()),
        *(_at_risk(config, train_data) if looks else ()),
        *cut_captions(train_data, tokenizer),
    ]:
        say(remark)
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
        val_data=val_data,
        test_data=test_data,
        tokenizer=tokenizer,
        networks=nets.build(config, tokenizer.vocab_size, tokenizer.pretrained),
        extractors=extractors,
        logs=Logs(workdir, processes.leads(), project, config.to_dict()),
    )


def _report_data(path: Path, datasets: Sequence[Dataset]) -> None:
    """Writes what was found in the data, unless it is told there already: what a resumed run would find again."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    found = json.loads(json.dumps(counts(datasets)))
    if found != {key: told.get(key) for key in found}:
        write_json(path, as_json(datasets))


def _at_risk(config, train_data: Dataset) -> list[str]:
    """Returns what small data puts at risk in a game."""
    if "adversarial" not in config.phases or len(train_data) > MANY_PICTURES:
        return []
    game_images = total_steps(config.train, len(train_data)) * config.train.batch_images
    return few_to_learn_from(different_pictures(train_data), game_images)


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


def _describe(tokenizer: Tokenizer, workdir: Path) -> None:
    """Writes which pretrained model captions are read with; UserError where the run was begun with other weights."""
    _, description = snapshot_parts(tokenizer, in_snapshot=False)
    path = workdir / inheritance.PRETRAINED_NAME
    if not description or not (workdir / "config.json").is_file() or not path.is_file():
        if description:
            write_json(path, description)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))["digest"]
    if begun != description["digest"]:
        raise UserError(
            f"{workdir} was begun with other weights of {description['name']!r}: their hash was {begun}, and is "
            f"{description['digest']}.\nBring the old ones back to go on there, or choose another --workdir"
        )


def _inherited_tokenizer(config, train_data: Dataset) -> Tokenizer | None:
    """The tokenizer of `config.init_from`, where the text encoder that goes with it can be taken."""
    if not config.init_from or config.text_encoder.pretrained:
        return None
    source = inheritance.read(config.init_from, config.init_which)
    if source.pretrained:
        return None
    shapes = {
        "images": jax.ShapeDtypeStruct((2, *train_data.images.shape[1:]), np.uint8),
        "tokens": jax.ShapeDtypeStruct((2, source.tokenizer.max_tokens), np.int32),
    }
    fits = source.tokenizer.max_tokens == config.tokenizer.max_tokens and inheritance.text_fits(
        source, nets.build(config, source.tokenizer.vocab_size), shapes
    )
    return source.tokenizer if fits else None
