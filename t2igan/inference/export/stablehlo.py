"""A trained model as StableHLO by `jax.export`: what JAX alone draws with, on CPU, CUDA, TPU and ROCm, in any batch.

Two programs: `model.stablehlo`, tokens and seeds to bytes, and `model_z.stablehlo`, tokens and noise to pictures in
[-1, 1]. JAX promises to read such files for six months of its releases, so what has to last is exported as ONNX.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.drawing import draw, pictures
from t2igan.inference.export.check import TARGETS, compare_bytes, compare_floats, run_alone
from t2igan.inference.export.places import example
from t2igan.inference.export.source import GUIDANCE, Source
from t2igan.inference.files import first_line, write_json, write_text
from t2igan.inference.snapshot import flatten, unflatten

PLATFORMS = ("cpu", "cuda", "tpu", "rocm")
PROMISE = (
    "JAX promises that programs are read by its releases of the next six months, and by those of the three weeks "
    "before the one that wrote them (https://docs.jax.dev/en/latest/export/export.html). Export again, or keep an ONNX "
    "file, for longer."
)


def write(source: Source, folder: Path, dtype: str, weights: str) -> None:
    """Writes the two programs, what they are, the tokenizer and a program that draws with them.

    Args:
      source: what is exported.
      folder: a new one.
      dtype: "float32".
      weights: "inside" the programs, or "beside" them, once, in weights.npz.

    Raises:
      UserError: `flatbuffers` is not installed, or captions are read by a pretrained model.
    """
    del dtype  # of this form there is one
    source.check_reads_itself("stablehlo")
    if not _has_flatbuffers():
        raise UserError("--format=stablehlo wants flatbuffers, which JAX does not install: pip install flatbuffers")
    params = flatten(source.drawing)
    for name, function in (("model", _from_seeds), ("model_z", _from_noise)):
        shapes = _shapes(source, name).values()
        if weights == "beside":
            given = {key: jax.ShapeDtypeStruct(value.shape, value.dtype) for key, value in params.items()}
            exported = _exported(
                lambda params, *inputs, f=function: f(source, unflatten(params), *inputs), given, *shapes
            )
        else:
            exported = _exported(lambda *inputs, f=function: f(source, unflatten(params), *inputs), *shapes)
        (folder / f"{name}.stablehlo").write_bytes(exported.serialize())
    if weights == "beside":
        arrays: Any = params
        np.savez(folder / "weights.npz", **arrays)
    about = source.description() | {
        "jax": jax.__version__,
        "calling_convention": exported.calling_convention_version,
        "platforms": PLATFORMS,
        "promise": PROMISE,
        "weights_are": weights,
        "programs": {name: _described(_shapes(source, name)) for name in ("model", "model_z")},
    }
    write_json(folder / "model.json", about)
    write_text(folder / "tokenizer.json", source.tokenizer_json)
    shutil.copy(example("stablehlo_sample.py"), folder / "sample.py")


def _exported(program: Callable, *shapes: Any) -> jax.export.Exported:
    try:
        return jax.export.export(jax.jit(program), platforms=PLATFORMS)(*shapes)
    except Exception as error:  # of whatever kind a network's code raises for a number of pictures that is a symbol
        raise UserError(
            f"jax.export cannot take this model: {first_line(error)}\nA network of one's own must work for any number "
            f"of pictures: `x.shape[0]` for `len(x)`, and -1 where a reshape needs it"
        ) from error


def check(source: Source, folder: Path, dtype: str) -> list[str]:
    """Draws with JAX alone what `source` draws, and returns a line a comparison; `UserError` where they differ."""
    given = {"captions": source.captions, "seeds": source.seeds, "z": source.noise().tolist()}
    found = run_alone(_PROGRAM, given | {"guidance": GUIDANCE}, folder, modules=("flax",))
    target = TARGETS[dtype]
    lines = [
        compare_bytes("model.stablehlo", found["images"], source.bytes(), target),
        compare_floats("model_z.stablehlo", found["floats"], source.floats(), target),
    ]
    if source.guided:
        expected = source.floats(GUIDANCE)
        lines.append(compare_floats(f"model_z.stablehlo, guidance {GUIDANCE}", found["guided"], expected, target))
    return lines


_PROGRAM = """
sys.path.insert(0, str(folder))
import sample

model = sample.Model(folder)
found = {
    "images": model(given["captions"], given["seeds"]),
    "floats": model.from_noise(given["captions"], given["z"]),
}
if model.about["guidance"]:
    found["guided"] = model.from_noise(given["captions"], given["z"], given["guidance"])
save(**found)
"""


def _from_seeds(source: Source, params: Any, tokens: Any, seeds: Any, truncation: Any, guidance: Any = None) -> Any:
    return draw(source.model.networks, params, tokens, seeds, truncation, guidance)


def _from_noise(source: Source, params: Any, tokens: Any, z: Any, guidance: Any = None) -> Any:
    return pictures(source.model.networks, params, tokens, z, guidance)


def _shapes(source: Source, name: str) -> dict[str, jax.ShapeDtypeStruct]:
    """The inputs of a program; the number of pictures is left open."""
    (batch,) = jax.export.symbolic_shape("batch")
    number = jax.ShapeDtypeStruct((), jnp.float32)
    shapes = {"tokens": jax.ShapeDtypeStruct((batch, source.model.tokenizer.max_tokens), jnp.int32)}
    if name == "model":
        shapes |= {"seeds": jax.ShapeDtypeStruct((batch,), jnp.uint32), "truncation": number}
    else:
        shapes |= {"z": jax.ShapeDtypeStruct((batch, source.model.networks.z_dim), jnp.float32)}
    return shapes | ({"guidance": number} if source.guided else {})


def _described(shapes: dict[str, jax.ShapeDtypeStruct]) -> dict[str, str]:
    return {name: f"{shape.dtype} [{', '.join(map(str, shape.shape))}]" for name, shape in shapes.items()}


def _has_flatbuffers() -> bool:
    import importlib.util

    return importlib.util.find_spec("flatbuffers") is not None
