"""Pictures as files of the size and form that a client asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import t2igan
from t2igan.data.alpha import composited, has_alpha
from t2igan.inference.credentials import Signer
from t2igan.inference.pictures import SHOWN_PX, enlarge
from t2igan.inference.provenance import EDITED, GENERATED, picture_bytes, png_texts
from t2igan.inference.serving.links import Recipe
from t2igan.inference.serving.png import repeated_png
from t2igan.inference.watermark import Secret, mark

WHITE = (255, 255, 255)
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


def shown_px(native_px: int) -> int:
    """Returns the size in which a picture is handed out where none is asked for: as drawn, or enlarged to 128 px."""
    return -(-SHOWN_PX // native_px) * native_px


def resized(image: np.ndarray, px: int) -> np.ndarray:
    """Returns a square picture at `px`: pixels stay sharp squares, also where `px` is no whole multiple.

    It is enlarged by the next whole factor and brought to the size by means over areas, which is exact for multiples.

    Args:
      image: uint8 [H, H, C].
      px: the size wanted, larger or smaller.
    """
    from PIL import Image

    native_px = image.shape[0]
    if px == native_px:
        return image
    large = enlarge(image[None], -(-px // native_px))[0]
    if large.shape[0] == px:
        return large
    grey = large.shape[-1] == 1
    picture = Image.fromarray(large[..., 0] if grey else large).resize((px, px), Image.Resampling.BOX)
    return np.asarray(picture).reshape(px, px, image.shape[-1])


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Makes files of pictures; they say how they were made, as those of `t2igan sample` do."""

    secret: Secret | None = None  # of a watermark
    signer: Signer | None = None  # of content credentials (C2PA)

    def file(self, image: np.ndarray, px: int, form: str, quality: int, facts: Mapping[str, Any]) -> bytes:
        """Returns a picture as a file.

        Args:
          image: uint8 [H, H, C] as drawn.
          px: its size in the file.
          form: "png", "jpeg" or "webp".
          quality: of the latter two, from 0 to 100.
          facts: how it was made; a PNG holds them whole.
        """
        facts = {"t2igan": t2igan.__version__, **facts}
        source_type = EDITED if facts.get("verb") in ("edit", "complete") else GENERATED
        if self.secret is not None:
            image = self.marked(image[None])[0]
            facts["watermark"] = self.secret.fingerprint
        if self.signer is not None:
            facts["c2pa"] = True
        raw = _file(image, px, form, quality, facts, source_type)
        if self.signer is None:
            return raw
        return self.signer.signed(raw, form.upper(), source_type, t2igan.__version__)

    def drawn(self, image: np.ndarray, recipe: Recipe) -> bytes:
        """Returns the picture of a recipe as a file."""
        facts: dict[str, Any] = {"model": recipe.model}
        facts |= {"truncation": recipe.truncation, "guidance": recipe.guidance}
        if recipe.negative:
            facts["negative"] = recipe.negative
        facts |= {"prompt": recipe.prompt, "seed": recipe.seed}
        return self.file(image, recipe.px, recipe.form, recipe.quality, facts)

    def marked(self, images: np.ndarray) -> np.ndarray:
        """Returns pictures uint8 [N, H, H, C] with the watermark, where there is one."""
        return images if self.secret is None else mark(images, self.secret)


def _file(image: np.ndarray, px: int, form: str, quality: int, facts: Mapping[str, Any], source_type: str) -> bytes:
    if form == "png":
        factor, rest = divmod(px, image.shape[0])
        texts = png_texts(facts, source_type)
        return repeated_png(resized(image, px), 1, texts) if rest else repeated_png(image, factor, texts)
    image = resized(image, px)
    if form == "jpeg" and has_alpha(image):  # which knows no transparency
        image = composited(image, WHITE)
    return picture_bytes(image, form.upper(), facts, source_type, quality=quality)
