"""What a picture is to the generator: noise, styles, what they are off by, and the caption; kept in an `.npz` file."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.files import write_bytes

FORMAT = "t2igan codes 1"
TUNED = "tuned/"  # before the picture's number and the path of an array


@dataclasses.dataclass(frozen=True)
class Codes:
    """N pictures as a generator draws them: `draw(styles + offsets, words of the captions)`.

    Attributes:
      noise: float32 [N, Z].
      styles: float32 [N, U, S], those of noise and caption.
      offsets: float32 [N, U, S], what the picture wants besides; 0 where nothing but noise was looked for.
      captions: N captions.
      psnr_db: float32 [N], how near the drawing came to the visible pixels of the picture.
      model: short hash of the weights; other weights would draw other pictures.
      tuned: of each picture, by what the generator's arrays were moved for it (`t2igan.inference.editing.tuning`),
        float16 by path; () where none was.
    """

    noise: np.ndarray
    styles: np.ndarray
    offsets: np.ndarray
    captions: tuple[str, ...]
    psnr_db: np.ndarray
    model: str
    tuned: tuple[dict[str, np.ndarray], ...] = ()

    def __len__(self) -> int:
        return len(self.noise)

    def __getitem__(self, rows: slice | list[int]) -> Codes:
        """Returns some of the pictures."""
        captions = tuple(np.asarray(self.captions, object)[rows])
        each = np.arange(len(self))[rows]
        tuned = tuple(self.tuned[row] for row in each) if self.tuned else ()
        arrays = self.noise[rows], self.styles[rows], self.offsets[rows]
        return Codes(*arrays, captions, self.psnr_db[rows], self.model, tuned)

    def tuning(self, row: int = 0) -> dict[str, np.ndarray]:
        """Returns by what the generator is moved for a picture; {} where it is not."""
        return self.tuned[row] if self.tuned else {}

    def save(self, path: Path) -> None:
        """Writes an `.npz` file, whole or not at all."""
        buffer = io.BytesIO()
        moved = {f"{TUNED}{row}/{of}": array for row, each in enumerate(self.tuned) for of, array in each.items()}
        arrays: dict[str, Any] = {
            **moved,
            "format": np.array(FORMAT),
            "noise": self.noise,
            "styles": self.styles,
            "offsets": self.offsets,
            "captions": np.array(self.captions, np.str_),
            "psnr_db": self.psnr_db,
            "model": np.array(self.model),
        }
        np.savez(buffer, **arrays)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Codes:
        """Reads what `save` wrote. Raises `UserError` for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["format"]) != FORMAT:
                    raise KeyError("format")
                array = lambda name: np.asarray(file[name], np.float32)
                captions = tuple(str(caption) for caption in file["captions"])
                tuned: list[dict[str, np.ndarray]] = [{} for _ in captions]
                for name in file.files:
                    if name.startswith(TUNED):
                        row, _, of = name.removeprefix(TUNED).partition("/")
                        tuned[int(row)][of] = np.asarray(file[name], np.float16)
                arrays = array("noise"), array("styles"), array("offsets")
                moved = tuple(tuned) if any(tuned) else ()
                return cls(*arrays, captions, array("psnr_db"), str(file["model"]), moved)
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} holds no codes of pictures; `invert --out=codes.npz` writes such a file"
            ) from error
