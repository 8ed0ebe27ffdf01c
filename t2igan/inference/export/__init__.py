"""Trained models out of t2igan: files that draw without it. `t2igan.export` is the one function to call.

Each form is a module that writes files and one that checks them: what was written is opened as its user opens it, in a
process without t2igan, and compared with JAX on 64 captions and seeds before it takes its place.
"""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from t2igan.config import Registry
from t2igan.errors import UserError
from t2igan.inference.export.source import Source
from t2igan.inference.files import explain_write_errors

WEIGHTS = ("inside", "beside")


@dataclasses.dataclass(frozen=True)
class Format:
    """A form that a model can be exported in.

    Attributes:
      module: dotted name of a module with functions `write(source, folder, dtype, weights)` and
        `check(source, folder, dtype) -> lines`; where there is a suffix, `write_file` and `check_file` of a file.
      about: what it is for, in a line.
      dtypes: of the weights that it can store, the usual one first.
      suffix: of the file's name, where it is one file; "" = a folder.
      weights: where the weights can lie.
    """

    module: str
    about: str
    dtypes: tuple[str, ...] = ("float32",)
    suffix: str = ""
    weights: tuple[str, ...] = ("inside",)


FORMATS: Registry[Format] = Registry("form of export")
FORMATS.register(
    "onnx",
    Format(
        f"{__name__}.onnx_files",
        "onnxruntime draws with it, in any language, for years",
        ("float32", "float16", "int8"),
    ),
)
FORMATS.register(
    "stablehlo", Format(f"{__name__}.stablehlo", "JAX alone draws with it, on CPU, CUDA, TPU and ROCm", weights=WEIGHTS)
)
FORMATS.register(
    "web",
    Format(
        f"{__name__}.web_page", "one HTML page that draws by itself", ("int8", "float16", "float32"), suffix=".html"
    ),
)
FORMATS.register(
    "hub", Format(f"{__name__}.hub", "a folder in the layout of the Hugging Face Hub", ("float32", "float16"))
)
FORMATS.register(
    "snapshot",
    Format(
        f"{__name__}.hub",
        "one file for t2igan, half as large in float16",
        ("float32", "float16"),
        suffix=".safetensors",
    ),
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export wrote, and how near it is to the model.

    Attributes:
      out: the folder or file.
      size_bytes: of each file by its name, "space/index.html".
      checks: a line a comparison with JAX.
      shrunk: (what, before, after) of a model that was shrunk for the export; () of one that was not.
    """

    out: Path
    size_bytes: dict[str, int]
    checks: tuple[str, ...]
    shrunk: tuple[tuple[str, str, str], ...] = ()


def check_form(format: str, out: Path, dtype: str | None, weights: str) -> str:
    """Returns the type of weights; `UserError` for a form, type or place that there is not."""
    form = FORMATS[format]
    dtype = form.dtypes[0] if dtype is None else dtype
    _check_choice("dtype", dtype, form.dtypes, format)
    _check_choice("weights", weights, form.weights, format)
    _check_place(out, format, form)
    return dtype


def write(source: Source, format: str, out: Path, dtype: str | None = None, weights: str = "inside") -> Exported:
    """Writes a model in a form that draws without t2igan, and compares it with JAX before it is there.

    Args:
      source: the model.
      format: a name in `FORMATS`.
      out: the folder to write, or the file, where the form is one file. What it has of the same names is replaced.
      dtype: of the weights; None = the form's first.
      weights: "inside" the programs or "beside" them, where the form allows it.

    Raises:
      UserError: as `t2igan.export`.
    """
    dtype = check_form(format, out, dtype, weights)
    form = FORMATS[format]
    writer = importlib.import_module(form.module)
    with explain_write_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as unfinished:
            folder = Path(unfinished)
            if form.suffix:
                writer.write_file(source, folder / out.name, dtype)
                checks = writer.check_file(source, folder / out.name, dtype)
            else:
                writer.write(source, folder, dtype, weights)
                checks = writer.check(source, folder, dtype)
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            sizes = {file.as_posix(): (folder / file).stat().st_size for file in files}
            for file in files:
                place = (out.parent if form.suffix else out) / file
                place.parent.mkdir(parents=True, exist_ok=True)
                (folder / file).replace(place)
    return Exported(out, sizes, tuple(checks))


def _check_choice(name: str, value: Any, choices: tuple[str, ...], format: str) -> None:
    if value not in choices:
        raise UserError(f"{name}={value!r} is not what format {format!r} has: give {' or '.join(map(repr, choices))}")


def _check_place(out: Path, format: str, form: Format) -> None:
    if form.suffix and (out.suffix.lower() != form.suffix or out.is_dir()):
        raise UserError(f"out={out} must be a file that ends in {form.suffix}: format {format!r} is one file")
    if not form.suffix and (out.is_file() or out.suffix in (".onnx", ".safetensors", ".stablehlo", ".html")):
        raise UserError(f"out={out} must be a folder: format {format!r} is several files; leave out the {out.suffix!r}")
