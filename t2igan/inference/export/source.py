"""What is exported: a trained model that computes in float32, and what goes with it wherever it goes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, command
from t2igan.inference.arguments import as_prompts
from t2igan.inference.drawing import noise, pictures
from t2igan.inference.files import read_small
from t2igan.inference.pretrained.opening import WEIGHTS
from t2igan.inference.private import without_private
from t2igan.inference.provenance import PNG_KEY, png_texts
from t2igan.inference.sample import Model, from_snapshot, snapshot_path
from t2igan.inference.snapshot import DATA_CARD_NAME, Snapshot, digest_of, load_snapshot

NUM_CHECKED = 64  # pairs of a caption and a seed that every export is compared on
NUM_EXAMPLES = 6
# What editing and describing need besides, and may be left out: networks by the name of the one that needs them.
LEFT_OUT = {
    "inverter": ("inverter",),
    "captioner": ("captioner", "image", "matching"),
    "completer": ("completer",),
}
INCLUDED = ("captioner",)
GUIDANCE = 1.5  # with which models that know guidance are compared


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model, and captions and seeds on which its exports are compared with it.

    `snapshot` has float32 weights, and no paths of the machine it was trained on.
    """

    snapshot: Snapshot
    model: Model
    captions: list[str]
    seeds: list[int]
    examples: list[str]  # captions to show: the first that were given, or the run's own; [] where there are none
    data_card: str = ""  # of the run's folder; "" where there is none
    include: tuple[str, ...] = ()  # names in `INCLUDED` that a page takes along, however large that makes it

    @property
    def guided(self) -> bool:
        """Whether the model can draw without a caption, and so with guidance."""
        return bool(self.snapshot.config["augment"]["caption_dropout"])

    @property
    def tokenizer_json(self) -> str:
        """What `tokenizers.Tokenizer.from_str` reads; `encode_special_tokens` has to be set by whoever reads it."""
        return self.snapshot.tokenizer

    @property
    def drawing(self) -> dict[str, Any]:
        """The parameters that drawing takes, by network; a snapshot may have others, for editing."""
        return {name: params for name, params in self.snapshot.params.items() if name in ("text", "generator", "space")}

    def check_reads_itself(self, form: str) -> None:
        """Raises `UserError` where captions are read by a pretrained model, which `form` does not take along."""
        if self.snapshot.pretrained:
            raise UserError(
                f"the text encoder is built on {self.snapshot.pretrained['name']!r}, which --format={form} does not "
                f"take along; give --format=hub or snapshot, or train with config.text_encoder.pretrained=''"
            )

    def tokens(self) -> np.ndarray:
        """Returns the rows of ids of the captions, int32 [N, T]."""
        return self.model.tokenizer.encode(self.captions)

    def noise(self) -> np.ndarray:
        """Returns the noise of the seeds, float32 [N, Z]."""
        return np.asarray(noise(jnp.asarray(self.seeds, jnp.uint32), self.model.networks.z_dim))

    def bytes(self) -> np.ndarray:
        """Returns what `Model.sample` draws of captions and seeds, uint8 [N, H, W, C]."""
        with jax.default_matmul_precision("highest"):
            return self.model.sample(self.captions, self.seeds, cut_long=True)  # captions as they stand

    def floats(self, guidance: float | None = None) -> np.ndarray:
        """Returns the same pictures before they become bytes, float32 [N, H, W, C] in [-1, 1] or a little beyond."""
        draw = jax.jit(pictures, static_argnums=0)
        with jax.default_matmul_precision("highest"):
            return np.asarray(draw(self.model.networks, self.model.params, self.tokens(), self.noise(), guidance))

    def description(self) -> dict[str, Any]:
        """Returns what a program that draws with an export wants to know, for JSON."""
        config = self.snapshot.config
        return {
            "t2igan": __version__,
            "weights": self.snapshot.digest,
            "image_size_px": config["data"]["image_size_px"],
            "channels": config["data"]["channels"],
            "z_dim": self.model.networks.z_dim,
            "max_tokens": config["tokenizer"]["max_tokens"],
            "guidance": self.guided,
            "license": config["model_card"]["license"],
            "data_license": config["model_card"]["data_license"],
            "config": {key: config[key] for key in ("generator", "text_encoder", "space", "tokenizer", "train")},
        }

    def provenance(self, dtype: str) -> dict[str, Any]:
        """Returns what pictures of an export with weights of `dtype` say of how they were made, for JSON.

        "recipe" is what is the same for all of them, and "texts" the other chunks of a PNG, by keyword.
        """
        recipe = {"t2igan": __version__, "model": self.snapshot.digest, "dtype": dtype}
        texts = png_texts(recipe)
        return {"recipe": recipe, "texts": {key: text for key, text in texts.items() if key != PNG_KEY}}


def open_source(
    path: str | Path,
    which: str = "latest",
    captions: Sequence[str] | None = None,
    license: str | None = None,
    without: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Source:
    """Returns the model of a run's folder or of a snapshot as it is exported.

    Args:
      path: as for `t2igan.load`.
      which: as for `t2igan.load`.
      captions: to compare with; None = made of the words that the model's tokenizer knows.
      license: of the model; None = as the snapshot says.
      without: names in `LEFT_OUT`.
      include: names in `INCLUDED`.

    Raises:
      UserError: there is no snapshot, it has no generator, or a caption is empty or too long.
    """
    found = snapshot_path(path, which)
    snapshot = lightened(load_snapshot(found), without)
    source = source_of(snapshot if license is None else licensed(snapshot, license), str(found), captions)
    return dataclasses.replace(source, data_card=data_card_beside(found), include=tuple(include))


def data_card_beside(snapshot: Path) -> str:
    """Returns the data card that lies beside a snapshot; "" where there is none."""
    beside = snapshot.with_name(DATA_CARD_NAME)
    return read_small(beside).decode("utf-8", "replace") if beside.is_file() else ""


def source_of(snapshot: Snapshot, label: str, captions: Sequence[str] | None = None) -> Source:
    """Returns a snapshot as it is exported; `label` is how messages name it."""
    if missing := [name for name in ("generator", "text") if name not in snapshot.params]:
        raise UserError(
            f"{label} has no {' and no '.join(missing)}, so there is nothing that draws; train the phase 'adversarial' "
            f"or 'generator' first: `{command('train', config='...', workdir='...')}`"
        )
    full = config_lib.from_dict(snapshot.config).to_dict()
    own = {name: params for name, params in snapshot.params.items() if name != WEIGHTS}
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), own)
    params |= {name: snapshot.params[name] for name in (WEIGHTS,) if name in snapshot.params}
    snapshot = dataclasses.replace(snapshot, config=without_private(full), params=params)
    model = in_float32(snapshot)
    examples = list(full["sample"]["captions"] if captions is None else as_prompts(captions))
    captions = made_captions(model.tokenizer) if captions is None else as_prompts(captions)
    model.tokenizer.check_prompts(captions)
    captions = [captions[i % len(captions)] for i in range(NUM_CHECKED)]
    # Small seeds, as people type them, and some over the whole range.
    seeds = [i if i % 4 else (i * 2_654_435_761 + 1) % 2**32 for i in range(NUM_CHECKED)]
    return Source(snapshot, model, captions, seeds, examples[:NUM_EXAMPLES])


def check_without(without: Sequence[str]) -> None:
    """Raises `UserError` for a network that cannot be left out."""
    if wrong := [name for name in without if name not in LEFT_OUT]:
        raise UserError(f"without={wrong[0]!r} is none of {', '.join(LEFT_OUT)}, which a model draws without, too")


def check_include(include: Sequence[str], without: Sequence[str] = ()) -> None:
    """Raises `UserError` for what a page cannot take along, and for what is to be left out as well."""
    if wrong := [name for name in include if name not in INCLUDED]:
        raise UserError(f"include={wrong[0]!r} is not what a page can take along: {', '.join(INCLUDED)}")
    if both := [name for name in include if name in without]:
        raise UserError(f"{both[0]!r} is both in include and in without; leave it out of one of them")


def lightened(snapshot: Snapshot, without: Sequence[str]) -> Snapshot:
    """Returns a snapshot without some networks of `LEFT_OUT`; those that it does not have are not missed."""
    check_without(without)
    left_out = {network for name in without for network in LEFT_OUT[name]}
    params = {name: network for name, network in snapshot.params.items() if name not in left_out}
    if len(params) == len(snapshot.params):
        return snapshot
    digest = digest_of(params)
    what = f"- Weights: `{digest}`, those of `{snapshot.digest}` without {' and '.join(without)}"
    card = re.sub(r"(?m)^- Weights: `\w+` \(.*\)$", lambda _: what, snapshot.model_card)
    return dataclasses.replace(snapshot, params=params, digest=digest, model_card=card)


def licensed(snapshot: Snapshot, license: str) -> Snapshot:
    """Returns a snapshot whose configuration and card state a licence of the model."""
    config = dict(snapshot.config) | {"model_card": dict(snapshot.config["model_card"]) | {"license": license}}
    card = re.sub(
        "(?m)^- Licence of the model: .*$", lambda _: f"- Licence of the model: {license}", snapshot.model_card
    )
    return dataclasses.replace(snapshot, config=config, model_card=card)


def in_float32(snapshot: Snapshot) -> Model:
    """Returns the model of a snapshot computing in float32, as all exports do, however it was trained."""
    return from_snapshot(dataclasses.replace(snapshot, config=dict(snapshot.config) | {"compute_dtype": "float32"}))


def made_captions(tokenizer: Tokenizer, num: int = NUM_CHECKED) -> list[str]:
    """Returns captions of all lengths of the words that a tokenizer has learned; always the same, and at hand anywhere.

    They make no sense. What an export computes is compared on them as well as on any.
    """
    json_model = json.loads(tokenizer.to_json())["model"]
    words = sorted(token[1:] for token in json_model["vocab"] if re.fullmatch("Ġ[a-z]{2,}", token))
    words = words or ["a", "b", "c"]
    random = np.random.default_rng(0)
    made: list[str] = []
    while len(made) < num:
        length = 1 + len(made) % max(tokenizer.max_tokens - 2, 1)
        caption = " ".join(words[i] for i in random.integers(len(words), size=length))
        while int(tokenizer.lengths([caption])[0]) > tokenizer.max_tokens and " " in caption:
            caption = caption.rpartition(" ")[0]
        made.append(caption)
    return made
