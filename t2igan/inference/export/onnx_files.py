"""A trained model as ONNX: two files that any runtime of ONNX draws with, for as long as there is one.

`model.onnx`: tokens int64 [N, T], seeds int64 [N], truncation float32 [] -> images uint8 [N, H, W, C], as
`Model.sample` draws them (opset 18). `model_z.onnx`: tokens, z float32 [N, Z] -> images float32 [N, H, W, C] in [-1, 1]
or a little beyond (opset 17). N and T may be any; where the model knows guidance, guidance float32 [] comes last.
Tokenizer, configuration, and what pictures say of how they were made, are in the metadata of both.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.export.check import TARGETS, compare_bytes, compare_floats, run_alone
from t2igan.inference.export.places import example
from t2igan.inference.export.source import GUIDANCE, Source
from t2igan.inference.snapshot import flatten

if TYPE_CHECKING:
    from t2igan.inference.export.graph import Graph

OPSETS = {"model.onnx": 18, "model_z.onnx": 17}  # BitwiseXor came with 18, LayerNormalization with 17
LARGEST_BYTES = 2**31 - 2**20  # a protocol buffer ends at 2 GiB
INSTALL = "pip install 't2igan[export]'"


def write(source: Source, folder: Path, dtype: str, weights: str) -> None:
    """Writes the two files and a program that draws with them; arguments as for the other forms.

    Raises:
      UserError: `onnx` is not installed, captions are read by a pretrained model, a network has no ONNX form, or the
        weights are above 2 GiB.
    """
    del weights
    source.check_reads_itself("onnx")
    for library in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(library) is None:
            raise UserError(f"--format=onnx wants {library}, which is not installed: {INSTALL}")
    total = sum(array.nbytes for array in flatten(source.drawing).values())
    if total > LARGEST_BYTES:
        raise UserError(f"the weights are {total / 2**30:.1f} GiB, and an ONNX file ends at 2; give --format=stablehlo")
    for name, opset in OPSETS.items():
        model = build(source, name == "model.onnx", dtype, opset)
        (folder / name).write_bytes(model.SerializeToString())
    shutil.copy(example("onnx_sample.py"), folder / "sample.py")


def build(source: Source, from_seeds: bool, dtype: str = "float32", opset: int = 18) -> Any:
    """Returns one of the two as an `onnx.ModelProto`; `from_seeds` is the one that draws the noise itself."""
    from t2igan.inference.export import onnx_layers as layers
    from t2igan.inference.export.graph import Graph
    from t2igan.inference.export.onnx_noise import write_noise

    g, z_dim = Graph(dtype), source.model.networks.z_dim
    tokens = g.input("tokens", np.int64, ["N", "T"])
    if from_seeds:
        z = write_noise(g, g.input("seeds", np.int64, ["N"]), z_dim)
        z = g.op("Mul", z, g.input("truncation", np.float32, []))
    else:
        z = g.input("z", np.float32, ["N", z_dim])
    guidance = g.input("guidance", np.float32, []) if source.guided else None
    images = _pictures(g, source, tokens, z, guidance)
    if from_seeds:
        images = layers.to_bytes(g, images, source.snapshot.config["data"]["channels"])
    about = source.description()
    metadata = {"t2igan": json.dumps(about), "tokenizer": source.tokenizer_json}
    metadata |= {"provenance": json.dumps(source.provenance(dtype))}
    shape = ["N", about["image_size_px"], about["image_size_px"], about["channels"]]
    return g.model(images, np.uint8 if from_seeds else np.float32, shape, opset, metadata)


def _pictures(g: Graph, source: Source, tokens: str, z: str, guidance: str | None) -> str:
    """Pictures [N, H, W, C] of tokens and noise."""
    from t2igan.inference.export import onnx_networks as networks
    from t2igan.inference.export.onnx_layers import channels_last

    built, params = source.model.networks, source.snapshot.params
    text = networks.writer_of(built.text_encoder, networks.TEXT_WRITERS)(g, built.text_encoder, params["text"], tokens)
    if guidance is not None:
        text = networks.without_caption(g, text, guidance)
    write_generator = networks.writer_of(built.generator, networks.GENERATOR_WRITERS)
    images = write_generator(g, built.generator, params["generator"], z, text, guidance)
    if built.space is not None:
        images = networks.writer_of(built.space, networks.SPACE_WRITERS)(g, built.space, params["space"], images)
    return channels_last(g, images)


def check(source: Source, folder: Path, dtype: str) -> list[str]:
    """Draws with onnxruntime what `source` draws, and returns a line a comparison; `UserError` where they differ."""
    given = {"captions": source.captions, "seeds": source.seeds, "z": source.noise().tolist()}
    found = run_alone(_PROGRAM, given | {"guidance": GUIDANCE}, folder, modules=("jax", "flax"))
    target = TARGETS[dtype]
    lines = [
        compare_bytes("model.onnx", found["images"], source.bytes(), target),
        compare_floats("model_z.onnx", found["floats"], source.floats(), target),
    ]
    if source.guided:
        for guidance in (GUIDANCE, 0.0):
            expected, name = source.floats(guidance), f"model_z.onnx, guidance {guidance:g}"
            lines.append(compare_floats(name, found[f"guided_{guidance:g}"], expected, target))
    return lines


_PROGRAM = """
sys.path.insert(0, str(folder))
import sample

model, from_noise = sample.Model(folder / "model.onnx"), sample.Model(folder / "model_z.onnx")
found = {
    "images": model(given["captions"], given["seeds"]),
    "floats": from_noise.from_noise(given["captions"], given["z"]),
}
if model.about["guidance"]:
    for guidance in (given["guidance"], 0.0):
        found[f"guided_{guidance:g}"] = from_noise.from_noise(given["captions"], given["z"], guidance)
save(**found)
"""
