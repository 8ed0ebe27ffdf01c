"""What a picture is to the generator: noise, styles, what they are off by, and the caption; kept in an `.npz` file."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.files import write_bytes

FORMAT = "t2igan codes 1"


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
    """

    noise: np.ndarray
    styles: np.ndarray
    offsets: np.ndarray
    captions: tuple[str, ...]
    psnr_db: np.ndarray
    model: str

    def __len__(self) -> int:
        return len(self.noise)

    def __getitem__(self, rows: slice | list[int]) -> Codes:
        """Returns some of the pictures."""
        captions = tuple(np.asarray(self.captions, object)[rows])
        return Codes(self.noise[rows], self.styles[rows], self.offsets[rows], captions, self.psnr_db[rows], self.model)

    def save(self, path: Path) -> None:
        """Writes an `.npz` file, whole or not at all."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            format=np.array(FORMAT),
            noise=self.noise,
            styles=self.styles,
            offsets=self.offsets,
            captions=np.array(self.captions, np.str_),
            psnr_db=self.psnr_db,
            model=np.array(self.model),
        )
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
                return cls(
                    array("noise"), array("styles"), array("offsets"), captions, array("psnr_db"), str(file["model"])
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} holds no codes of pictures; `invert --out=codes.npz` writes such a file"
            ) from error
