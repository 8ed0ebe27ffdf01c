"""A trained model as one file, and as a folder in the layout of the Hugging Face Hub; nothing is uploaded.

The folder has `README.md` (the card, with front matter that the Hub reads), `model.safetensors` (a snapshot, which
`t2igan.load` opens, the folder too), `config.json` and `tokenizer.json`, and the run's `data_card.md` where it has one.
In `space/` is a static Space: the page that draws in a browser, for a repository of its own.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.export import web_page
from t2igan.inference.export.check import TARGETS, compare_bytes, run_alone
from t2igan.inference.export.source import Source, in_float32
from t2igan.inference.files import write_json, write_text
from t2igan.inference.pretrained.opening import WEIGHTS
from t2igan.inference.sample import MODEL_NAME, load, snapshot_path
from t2igan.inference.snapshot import DATA_CARD_NAME, Snapshot, flatten, load_snapshot, save_snapshot

SPACE = "space"  # the folder of a static Space
PAGE_DTYPE = "int8"


def write_file(source: Source, path: Path, dtype: str) -> None:
    """Writes a snapshot with weights of `dtype`, "float32" or "float16"; its card is headed by the file's name."""
    heading = f"# {path.stem}".replace("_", r"\_")
    snapshot = stored(source.snapshot, dtype)
    named = re.sub(r"\A# .*", lambda _: heading, snapshot.model_card)
    save_snapshot(path, dataclasses.replace(snapshot, model_card=named))


def write(source: Source, folder: Path, dtype: str, weights: str) -> None:
    """Writes the folder; arguments as for `t2igan.inference.export.stablehlo.write`."""
    del weights
    save_snapshot(folder / MODEL_NAME, stored(source.snapshot, dtype))
    write_json(folder / "config.json", source.description())
    write_text(folder / "tokenizer.json", source.tokenizer_json)
    write_text(folder / "README.md", card(source))
    if source.data_card:
        write_text(folder / DATA_CARD_NAME, source.data_card)
    if web_page.knows(source):
        write_text(folder / SPACE / "README.md", space_card(source))
        web_page.write_file(source, folder / SPACE / "index.html", PAGE_DTYPE)


def stored(snapshot: Snapshot, dtype: str) -> Snapshot:
    """Returns a snapshot with weights of `dtype`; a language model's that it holds are float16 already."""
    own = {name: params for name, params in snapshot.params.items() if name != WEIGHTS}
    cast = jax.tree.map(lambda x: np.asarray(x, dtype), own)
    return dataclasses.replace(snapshot, params=cast | {k: v for k, v in snapshot.params.items() if k == WEIGHTS})


def card(source: Source) -> str:
    """Returns the model card with the Hub's front matter: licence, library, task, an example to try."""
    config = source.snapshot.config
    caption = json.dumps(web_page.example_captions(source)[0], ensure_ascii=False)
    name = license_name(config["model_card"]["license"])
    lines = [
        *("---", "library_name: t2igan", "pipeline_tag: text-to-image"),
        *((f"license: {name}",) if name else ()),
        *("tags:", "- text-to-image", "- gan", "- jax", "- flax", "- t2igan"),
        *("widget:", f"- text: {caption}", "---", ""),
    ]
    text = source.snapshot.model_card or (
        f"# A model of t2igan\n\nIt draws pictures of {config['data']['image_size_px']} px from captions. "
        "`t2igan report --workdir=RUN` writes its card, which an export made afterwards has here.\n"
    )
    use = (
        "\n## From this folder\n\n"
        "```python\n"
        "import t2igan\n\n"
        'model = t2igan.load(".")  # the folder with model.safetensors\n'
        f"images = model.sample([{caption}], seed=0)  # uint8 [N, H, W, C]\n"
        "```\n"
    )
    data = f"\nWhat it learned from: [{DATA_CARD_NAME}]({DATA_CARD_NAME}).\n" if source.data_card else ""
    return "\n".join(lines) + text + data + use


def space_card(source: Source) -> str:
    """Returns the README of a static Space with the page."""
    name = license_name(source.snapshot.config["model_card"]["license"])
    lines = [
        *("---", f"title: {json.dumps(web_page.title_of(source), ensure_ascii=False)}", "sdk: static"),
        *("app_file: index.html", *((f"license: {name}",) if name else ()), "---", ""),
        "A text-to-image GAN that draws in the browser; made by `t2igan export --format=hub`.",
    ]
    return "\n".join(lines) + "\n"


def license_name(stated: str) -> str:
    """Returns a licence as the Hub spells it ("CC-BY-4.0" -> "cc-by-4.0"); "" for none, "other" for what it lacks."""
    name = re.sub(r"[\s_]+", "-", stated.strip().lower()).replace("cc0-1.0-universal", "cc0-1.0")
    if not name:
        return ""
    known = (
        r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[1-4]\.0|[al]?gpl-[23]\.0|bsd-[23]-clause|unlicense|openrail"
    )
    return name if re.fullmatch(known, name) else "other"


def check(source: Source, folder: Path, dtype: str) -> list[str]:
    """Reads the folder with safetensors alone, then draws with `t2igan.load`; a line a comparison."""
    lines = [*_check_weights(source, folder, folder / MODEL_NAME, dtype), _check_pictures(source, folder, dtype)]
    page = folder / SPACE / "index.html"
    return [*lines, *(web_page.check_file(source, page, PAGE_DTYPE) if page.is_file() else ())]


def check_file(source: Source, path: Path, dtype: str) -> list[str]:
    """The same for a file alone."""
    return [*_check_weights(source, path.parent, path, dtype), _check_pictures(source, path, dtype)]


_PROGRAM = """
from safetensors import safe_open

with safe_open(given["path"], framework="numpy") as file:
    config = json.loads(file.metadata()["config"])
    save(**{name.replace("/", ":"): file.get_tensor(name) for name in file.keys()})
"""


def _check_weights(source: Source, folder: Path, path: Path, dtype: str) -> list[str]:
    found = run_alone(_PROGRAM, {"path": str(path.absolute())}, folder, modules=("jax", "flax"))
    expected = flatten(stored(source.snapshot, dtype).params)
    same = {name.replace("/", ":") for name in expected} == found.keys() and all(
        np.array_equal(found[name.replace("/", ":")], array) for name, array in expected.items()
    )
    if not same:
        raise UserError(f"{path} does not hold the weights that were written to it; is the disk in order?")
    return [f"{path.name}: {len(found)} arrays, read by safetensors alone, equal bit by bit"]


def _check_pictures(source: Source, path: Path, dtype: str) -> str:
    load(path)
    images = in_float32(load_snapshot(snapshot_path(path))).sample(source.captions, source.seeds, cut_long=True)
    expected = source.model.sample(source.captions, source.seeds, cut_long=True)
    return compare_bytes("t2igan.load", images, expected, TARGETS[dtype])
