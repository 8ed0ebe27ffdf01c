"""The space of the game in a run: where it comes from, the codes of the training pictures, settings that follow.

Codes are computed once, before the first phase that is played on them, and kept in the run's folder as float16:

    space.safetensors       the network of the space, as the phase `autoencoder`, a fit or another run left it
    codes_DIGEST.npy        float16 [N, h, w, c] of the training pictures, mapped into memory; DIGEST is the network's
    unlabelled_codes_...    the same of pictures without captions, where a phase takes those

All can be deleted: they are made again from the checkpoint of the phase.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import config as config_lib
from t2igan.data.dataset import Dataset, pictures_a_caption
from t2igan.data.unlabelled import open_unlabelled, with_unlabelled
from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.files import explain_write_errors, whole
from t2igan.inference.snapshot import load_networks, save_networks
from t2igan.method import automatic
from t2igan.method.phases import PHASES
from t2igan.nets import SPACES
from t2igan.training.distributed import parallel, processes
from t2igan.training.logs import say
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of

SPACE_NAME = "space.safetensors"
ENCODED_AT_ONCE = 64
FITTED_PICTURES = 5_000  # training pictures that a space is computed from


def fitted(run: Run, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is given of networks, with the space's where that is computed from the training pictures at once."""
    compute = SPACES[run.config.space.kind].fit
    if compute is None or "space" in given:
        return dict(given)

    def fit() -> None:
        if (run.workdir / SPACE_NAME).is_file():
            return
        images = run.train_data.images
        some = images[np.arange(0, len(images), max(len(images) // FITTED_PICTURES, 1))]
        save_networks(run.workdir / SPACE_NAME, {"space": compute(np.asarray(some), run.config.space)})

    processes.from_leader(fit)
    return dict(given) | load_networks(run.workdir / SPACE_NAME)


def at_hand(run: Run, phase: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is given of networks, with the space's own from the run's folder; writes it there where it is not.

    To be called by all processes before a phase is built. A run that is resumed knows only the shapes of what earlier
    phases left, and the state of the phase `text`, unlike the others', does not hold it.
    """
    if run.networks.space is None or _learns_from_nothing(run, phase):
        return dict(given)
    path = run.workdir / SPACE_NAME
    space = given.get("space")
    is_known = space is not None and all(isinstance(x, np.ndarray | jax.Array) for x in jax.tree.leaves(space))
    if not processes.from_leader(path.is_file):
        alone = parallel.local(space) if is_known else None

        def write() -> None:
            save_networks(path, {"space": jax.device_get(alone) if is_known else _of_checkpoint(run)})

        processes.from_leader(write)
    # A decoder that learned on in a game is another than the one there.
    return load_networks(path) | {name: given[name] for name in given if name != "space" or is_known}


def training_data(run: Run, phase: str, unlabelled: bool = False) -> Dataset:
    """Returns what the batches of a phase are made of: pictures, or their codes, which are computed once.

    They are pictures where the space is learned, also where a game teaches its decoder alone. With `unlabelled`, and
    where the space is learned from nothing, those of `config.data.unlabelled_source` come after the training pictures,
    if there are any.
    """
    learns_space = _learns_space(run, phase)
    more = (unlabelled or _learns_from_nothing(run, phase)) and bool(run.config.data.unlabelled_source)
    if learns_space or run.networks.space is None:
        data = run.train_data
        images = open_unlabelled(run.config.data).images if more else None
    else:
        data = dataclasses.replace(run.train_data, images=_codes_of_training_pictures(run))
        make = lambda: str(_codes(run, open_unlabelled(run.config.data), "unlabelled_codes"))
        images = np.load(processes.from_leader(make), mmap_mode="r") if more else None
    if images is None:
        return data
    say(f"phase {phase}: {len(data):,} training pictures, and {len(images):,} without captions")
    return with_unlabelled(data, images)


def settled(run: Run, phase: str) -> Any:
    """Returns the run's configuration with numbers and tasks in place of "auto", and says what they are."""
    wanted = automatic.wanted(run.config, PHASES[phase].auto)
    if not wanted:
        return run.config

    pictures = played = run.train_data.images
    if automatic.needs_variance(wanted) and run.networks.space is not None:
        played = _codes_of_training_pictures(run)

    def measure() -> str:
        variance = judged = automatic.total_variance(played) if automatic.needs_variance(wanted) else 0.0
        if variance and run.networks.judges_pictures:
            judged = automatic.total_variance(pictures)
        values = int(np.prod(run.batch_shapes["images"].shape[1:]))
        ratio = pictures_a_caption(run.train_data.captions)
        config = automatic.settle(run.config, variance, values, ratio, judged)
        chosen = ", ".join(f"{key}={_short(config_lib.get(config, key))}" for key in wanted)
        facts = f"{ratio:.2f} pictures a caption" + (f", total variance {variance:,.1f}" if variance else "")
        facts += f", of pictures {judged:,.1f}" if judged != variance else ""
        say(f"phase {phase}: {chosen} ({facts})")
        return config_lib.to_json(config)

    return config_lib.from_dict(json.loads(processes.from_leader(measure)))


def _learns_space(run: Run, phase: str) -> bool:
    """Whether a phase learns the space, or its decoder, and so looks at pictures themselves."""
    return "space" in PHASES[phase].trains(run.config)


def _learns_from_nothing(run: Run, phase: str) -> bool:
    """Whether a phase learns the whole space; a game has one already, whose decoder it may go on teaching."""
    return _learns_space(run, phase) and not PHASES[phase].game


def _of_checkpoint(run: Run) -> Any:
    phases = [phase for phase in run.config.phases if _learns_space(run, phase)]
    found = next((f for phase in phases if (f := read_checkpoint(run.workdir / "checkpoints" / phase))), None)
    if found is None:
        raise UserError(
            f"{run.workdir / SPACE_NAME} is gone, and so is the checkpoint of the phase {', '.join(map(repr, phases))}"
            f"; bring one of them back, or train again in a new --workdir"
        )
    return networks_of(found[1])["space"]


def _codes_of_training_pictures(run: Run) -> np.ndarray:
    return np.load(processes.from_leader(lambda: str(_codes(run, run.train_data, "codes"))), mmap_mode="r")


def _codes(run: Run, data: Dataset, name: str) -> Path:
    """Returns the file with the codes of pictures, `name` and a digest, made now if it is not there."""
    params = load_networks(run.workdir / SPACE_NAME)["space"]
    path = run.workdir / f"{name}_{_digest(params, data)}.npy"
    if path.is_file():
        return path
    encode = jax.jit(lambda params, images: run.networks.to_network(params, images).astype(jnp.float16))
    num = len(data)
    with explain_write_errors(run.workdir), whole(path) as place:
        for old in run.workdir.glob(f"{name}_*.npy*"):
            old.unlink()
        shape = (num, *run.batch_shapes["images"].shape[1:])
        codes = np.lib.format.open_memmap(place, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, num, ENCODED_AT_ONCE):
            rows = np.arange(start, min(start + ENCODED_AT_ONCE, num))
            images = data.images[rows]
            padded = np.pad(images, [(0, ENCODED_AT_ONCE - len(rows))] + [(0, 0)] * 3, mode="edge")
            codes[rows] = np.asarray(encode({"space": params}, padded))[: len(rows)]
        codes.flush()
        del codes
    say(f"codes of {num:,} pictures of {data.split!r}: {shape[1]} x {shape[2]} x {shape[3]} numbers each")
    return path


def _digest(params: Any, data: Dataset) -> str:
    hashed = hashlib.sha256(f"{data.fingerprint()} {np.float16.__name__}".encode())
    for leaf in jax.tree.leaves(params):
        hashed.update(np.ascontiguousarray(leaf).tobytes())
    return hashed.hexdigest()[:12]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
