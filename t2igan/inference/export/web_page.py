"""A trained model as one HTML file that draws in a browser: no server, no request, from a disk or any static host.

The parts are in `web/`: tokenizer, noise and networks in plain JavaScript, and the page. Weights, tokenizer and card go
into the file. Where Node is at hand, what the page computes is compared with JAX before it is written.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data.tokenizer import nfkc_exceptions
from t2igan.errors import UserError
from t2igan.inference.editing.describing import check_captioner
from t2igan.inference.examples import captions_of
from t2igan.inference.export import web_captioner
from t2igan.inference.export.check import TARGETS, compare_bytes, run_in
from t2igan.inference.export.int8 import SMALL_ARRAY, int8_levels
from t2igan.inference.export.source import Source
from t2igan.inference.files import write_text
from t2igan.inference.snapshot import flatten
from t2igan.nets.autoencoder import Autoencoder, PatchComponents
from t2igan.nets.generator import Generator, MLPGenerator
from t2igan.nets.text_encoder import TextEncoder

PARTS = Path(__file__).parent / "web"
ENGINE = ("tokenizer.js", "noise.js", "engine.js", "product.js", "open.js", "words.js", "png.js")
SEEING = ("seeing.js", "given.js")  # of pages that describe pictures, too
GPU_FROM_PX = 64  # smaller pictures are drawn before a graphics card would have begun
LIMIT_MB = 1.6  # of a page: with a captioner that makes it larger, it has none, unless that is asked for
LIMIT_LARGE_MB = 4.0  # of one whose pictures are so large
PAGE_BEGINS = "The page:"  # the comment at which the engine ends
OLDEST_NODE = 18  # it has DecompressionStream


def write_file(source: Source, path: Path, dtype: str) -> None:
    """Writes the page, with weights of `dtype`: "int8", "float16" or "float32".

    It describes pictures where the model has a captioner and the page stays below the limit of its size, or where
    `source.include` has it.

    Raises:
      UserError: captions are read by a pretrained model, or a network is none of those that the page knows.
    """
    source.check_reads_itself("web")
    included = "captioner" in source.include
    if included and not web_captioner.knows(source):
        check_captioner(source.model, "include=captioner")
        raise UserError("the page does not know this captioner or image tower; leave out include=captioner")
    page = _page(source, dtype, web_captioner.knows(source))
    if web_captioner.knows(source) and not included and len(page.encode()) > limit_mb(source) * 1e6:
        page = _page(source, dtype, describes=False)
    write_text(path, page)


def limit_mb(source: Source) -> float:
    """Returns how many megabytes the page of a model may have with a captioner."""
    return LIMIT_MB if source.snapshot.config["data"]["image_size_px"] < GPU_FROM_PX else LIMIT_LARGE_MB


def _page(source: Source, dtype: str, describes: bool) -> str:
    script = f"{engine(drawn_by_gpu(source), describes)}\n{_plain('page.js')}"
    script += f"\n{_plain('describing.js')}" if describes else ""
    style = (PARTS / "page.css").read_text(encoding="utf-8")
    values = {
        "HASH": _hash(script),
        "STYLE_HASH": _hash(style),
        "TITLE": html.escape(title_of(source)),
        "STYLE": style,
        "SCRIPT": script,
        "DESCRIBING": (PARTS / "describing.html").read_text(encoding="utf-8") if describes else "",
        "DATA": base64.b64encode(packed(source, dtype, describes)).decode(),
    }
    page = (PARTS / "page.html").read_text(encoding="utf-8")
    return re.sub("%%([A-Z_]+)%%", lambda found: values[found[1]], page)


def drawn_by_gpu(source: Source) -> bool:
    """Whether the page may draw on a graphics card: pictures are large enough, and `web/gpu.js` knows the networks."""
    networks, config = source.model.networks, source.snapshot.config
    generator = networks.generator
    known = type(generator) is Generator and not generator.growing
    in_one_step = networks.space is None or (known and generator.patch_px == 1)
    return known and in_one_step and config["data"]["image_size_px"] >= GPU_FROM_PX


def knows(source: Source) -> bool:
    """Whether the page can draw with a model: no network of one's own, no pretrained text encoder."""
    try:
        source.check_reads_itself("web")
        about(source)
    except UserError:
        return False
    return True


def engine(gpu: bool = False, describes: bool = False) -> str:
    """Returns the JavaScript that draws, without the page around it.

    Args:
      gpu: with what draws on a graphics card.
      describes: with what describes pictures.
    """
    parts = (*ENGINE, *(("gpu.js",) if gpu else ()), *(SEEING if describes else ()))
    wasm = base64.b64encode((PARTS / "product.wasm").read_bytes()).decode()
    return "\n".join(_plain(part) for part in parts).replace("%%WASM%%", wasm)


def title_of(source: Source) -> str:
    """Returns the first heading of the model's card, without its escapes."""
    heading = re.match("# (.+)", source.snapshot.model_card)
    return re.sub(r"\\(.)", r"\1", heading[1]) if heading else "Pictures from captions"


def packed(source: Source, dtype: str, describes: bool = False) -> bytes:
    """Returns weights, tokenizer and description as `web/open.js` reads them; with those that describe pictures."""
    arrays, blob, named = [], bytearray(), flatten(_weights(source))
    told = about(source) | source.provenance(dtype)
    if describes:
        named |= flatten(web_captioner.weights(source))
        seeing = web_captioner.about(source)
        told |= seeing | {"space": told["space"] | seeing["space"]}
    for name, array in named.items():
        kind, axis, content = stored(name, array, dtype)
        blob += b"\0" * (-len(blob) % 4)
        arrays.append({"name": name, "shape": array.shape, "kind": kind, "at": len(blob), "axis": axis})
        blob += content
    head = {"arrays": arrays, "about": told, "tokenizer": _tokenizer(source)}
    text = json.dumps(head, separators=(",", ":")).encode()
    return zlib.compress(len(text).to_bytes(4, "little") + text + b"\0" * (-len(text) % 4) + bytes(blob), 9)


def stored(name: str, array: np.ndarray, dtype: str) -> tuple[str, int, bytes]:
    """Returns the kind of an array in the page, the axis that has scales, and its bytes."""
    if dtype == "float32" or array.size < SMALL_ARRAY:
        return "f4", 0, array.astype("<f4").tobytes()
    if dtype == "float16" or name == web_captioner.EXACT:
        return "f2", 0, array.astype("<f2").tobytes()
    axis = 0 if name.endswith(("embedding", "positions")) else array.ndim - 1  # a scale a token, or an output
    levels, scale = int8_levels(array, axis)
    return "i1", axis, scale.astype("<f2").tobytes() + levels.tobytes()


def _weights(source: Source) -> dict[str, Any]:
    """The parameters by the names that `web/engine.js` asks for."""
    params = source.snapshot.params
    names = {"text": params["text"]["params"], "generator": params["generator"]["params"]}
    if isinstance(source.model.networks.space, PatchComponents):
        of = params["space"]["params"]
        names["space"] = {"basis": {"kernel": (of["basis"] * of["scale"]).T, "bias": of["mean"]}}
    elif source.model.networks.space is not None:
        names["space"] = {"decoder": params["space"]["params"]["decoder"]}
    return names


def about(source: Source) -> dict[str, Any]:
    """Returns what the page is told of the model.

    Raises:
      UserError: a network is none of those that the page knows.
    """
    networks, config = source.model.networks, source.snapshot.config
    text = networks.text_encoder
    for module, known in ((text, (TextEncoder,)), (networks.generator, (Generator, MLPGenerator))):
        if type(module) not in known:
            raise UserError(f"the page does not know {type(module).__name__}; give --format=stablehlo")
    return {
        "z_dim": networks.z_dim,
        "image_size_px": config["data"]["image_size_px"],
        "channels": config["data"]["channels"],
        "guidance": source.guided,
        "webgpu": drawn_by_gpu(source),
        "card": source.snapshot.model_card or "This model has no card.",
        "examples": example_captions(source),
        "text": {
            "width": text.width,
            "layers": text.layers,
            "heads": text.heads,
            "queries": text.pooling_queries,
            "sentence_dim": text.sentence_dim,
        },
        "generator": _about_generator(networks.generator),
        "space": _about_space(networks.space),
    }


def _about_generator(module: Any) -> dict[str, Any]:
    if isinstance(module, MLPGenerator):
        size = {"size": module.image_px, "channels": module.image_channels}
        return {"kind": "mlp", "layers": len(module.widths)} | size
    keys = ("channels", "base_px", "patch_px", "blocks", "attention_from_px", "growing", "image_channels")
    return {"kind": "residual", "heads": module.attention_heads} | {key: getattr(module, key) for key in keys}


def _about_space(module: Any) -> dict[str, Any]:
    if module is None:
        return {"kind": "pixels"}
    common = {"factor": module.factor, "image_channels": module.image_channels}
    if isinstance(module, PatchComponents):
        return {"kind": "patches"} | common
    if isinstance(module, Autoencoder):
        return {"kind": "autoencoder", "widths": module.decoder_widths, "blocks": module.blocks} | common
    raise UserError(f"the page does not know {type(module).__name__}; give --format=stablehlo")


def example_captions(source: Source) -> list[str]:
    """Returns the captions that were given to be shown, or those of the model's card, or else words that it knows."""
    return source.examples or captions_of(source.snapshot) or source.captions[:3]


def _tokenizer(source: Source) -> dict[str, Any]:
    read = json.loads(source.tokenizer_json)
    merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in read["model"]["merges"]]
    steps = [step["type"] for step in read["normalizer"]["normalizers"]]
    return {
        "vocab": read["model"]["vocab"],
        "merges": merges,
        "max_tokens": source.model.tokenizer.max_tokens,
        "lowercase": "Lowercase" in steps,
        "keep": "".join(
            f"\\u{{{first:x}}}" + (f"-\\u{{{last:x}}}" if last > first else "") for first, last in nfkc_exceptions()
        ),
    }


def _plain(name: str) -> str:
    """A file of `web/` without its lines of comments, and without the words that make a module of it."""
    code = (PARTS / name).read_text(encoding="utf-8")
    return re.sub(rf"^ *//(?! {PAGE_BEGINS}).*\n|^export ", "", code, flags=re.MULTILINE)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def check_file(source: Source, path: Path, dtype: str) -> list[str]:
    """Draws with the page's own code in Node what `source` draws; `UserError` where they differ.

    Without Node there is only a line that says so.
    """
    node = node_path()
    if node is None:
        return [
            f"{path.name}: not compared, for Node {OLDEST_NODE} or newer (https://nodejs.org) is not on this machine"
        ]
    with tempfile.TemporaryDirectory(prefix="t2igan-export-") as scratch:
        place = Path(scratch)
        given = {"captions": source.captions, "seeds": source.seeds}
        (place / "given.json").write_text(json.dumps(given), encoding="utf-8")
        (place / "check.mjs").write_text(_PROGRAM, encoding="utf-8")
        done = run_in(place, [node, "check.mjs", str(path.absolute())], "the page, in Node,")
        if done.returncode:
            raise UserError(f"the page cannot draw in Node ({node}): {_error_line(done.stderr)}")
        expected = source.bytes()
        found = np.fromfile(place / "found.bin", np.uint8).reshape(expected.shape)
    timed = json.loads(done.stdout)
    line = compare_bytes(path.name, found, expected, TARGETS[dtype])
    lines = [f"{line}; {timed['each']:.1f} ms of CPU a picture in Node, by {timed['by']}"]
    if timed["said"]:
        return [*lines, web_captioner.compared(path.name, timed["said"], source, found)]
    if web_captioner.knows(source):
        lines.append(
            f"{path.name}: it does not describe pictures, with which it would have more than {limit_mb(source)} MB; "
            f"--include=captioner takes that along"
        )
    return lines


def node_path() -> str | None:
    """Returns where Node is, None where it is not there or too old for what the page asks of a browser."""
    node = shutil.which("node")
    if node is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)\.", said)
    return node if major and int(major[1]) >= OLDEST_NODE else None


def _error_line(text: str) -> str:
    lines = [line for line in text.splitlines() if "Error" in line] or text.strip().splitlines() or ["no message"]
    return lines[0].strip()


# The page's script up to where it asks for the document is the engine; it is run as it stands in the file.
_PROGRAM = """
import { readFileSync, writeFileSync } from 'node:fs';

const page = readFileSync(process.argv[2], 'utf-8');
const script = page.match(/<script type="module">([^]*?)\\n\\/\\/ The page:/)[1];
const data = page.match(/<script type="text\\/plain" id="data">([^]*?)<\\/script>/)[1];
const describes = /^class Seeing/m.test(script) ? ', Seeing' : '';
writeFileSync('engine.mjs', script + `\\nexport { bestMaths, openModel, picture${describes} };`);
const { bestMaths, openModel, picture, Seeing } = await import('./engine.mjs');
const { captions, seeds } = JSON.parse(readFileSync('given.json', 'utf-8'));
const { maths, by } = await bestMaths(), model = await openModel(data, maths), drawn = [], times = [];
picture(model, captions[0], 0);
captions.forEach((caption, i) => {
  const start = process.cpuUsage();
  drawn.push(Buffer.from(picture(model, caption, seeds[i]).buffer));
  times.push(process.cpuUsage(start).user / 1000);
});
const each = times.sort((a, b) => a - b)[times.length >> 1]; // the median: the first ones wait for their compilation
writeFileSync('found.bin', Buffer.concat(drawn));
const seeing = model.about.captioner && new Seeing(model);
const said = seeing ? drawn.map((bytes) => seeing.describe(new Uint8Array(bytes))) : [];
console.log(JSON.stringify({ each, by, said }));
"""
