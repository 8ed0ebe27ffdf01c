"""Pictures inside a page: encoded once, small, and sharp where they are pixel art."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from t2igan.data.alpha import on_checkerboard
from t2igan.data.spread import evenly_spread
from t2igan.errors import UserError
from t2igan.inference.pictures import cut_sheet, read_facts

SHARP_PX = 48  # pictures up to this size are shown pixel by pixel and stored without loss
MAX_PX = 104  # larger ones are stored at this size
JPEG_QUALITY = 85
AMBER = (255, 170, 40)


@dataclass(frozen=True)
class Sheet:
    """A sheet of the fixed captions: pictures uint8 [captions, seeds, H, W, C] after so many pictures seen."""

    images_seen: int
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    images: np.ndarray


def data_uri(image: UInt8[np.ndarray, "H W C"]) -> str:
    """Returns a picture as a data URI: PNG up to 48 px, above that JPEG of at most 104 px.

    Behind what is transparent there is a checkerboard, whatever the colour of the page.
    """
    from PIL import Image

    image = on_checkerboard(image)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    file = io.BytesIO()
    if max(picture.size) <= SHARP_PX:
        picture.save(file, format="PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((MAX_PX, MAX_PX), Image.Resampling.LANCZOS)
        picture.save(file, format="JPEG", quality=JPEG_QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def lit(
    image: UInt8[np.ndarray, "H W C"], weights: Float[np.ndarray, "h w"], full: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns a picture lit where the weights are high: grey at 0, as it is at `full`; a grey one is lit in amber."""
    image = on_checkerboard(image)
    height, width = image.shape[:2]
    rows = np.arange(height) * weights.shape[0] // height
    columns = np.arange(width) * weights.shape[1] // width
    light = np.clip(weights[rows][:, columns] / max(full, 1e-9), 0, 1)[..., None]
    colors = np.broadcast_to(image, (height, width, 3)).astype(np.float64)
    grey = 60 + 0.25 * colors.mean(-1, keepdims=True)
    if image.shape[-1] == 1:
        colors = 0.4 * colors + 0.6 * np.array(AMBER)
    return np.round(light * colors + (1 - light) * grey).astype(np.uint8)


def read_sheets(folder: Path, image_px: int, most: int) -> list[Sheet]:
    """Returns at most `most` sheets of a run, evenly over training, the last one among them.

    Pictures in the folder that are no sheets of today's layout are left out; so are sheets of other captions or
    seeds than the last one has, which could not be compared.
    """
    from PIL import Image

    sheets = []
    for path in sorted(folder.glob("*.png")):
        try:
            facts = read_facts(path)
            captions, seeds = tuple(facts["captions"]), tuple(facts["seeds"])
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            images = cut_sheet(pixels, captions, len(seeds), image_px, facts.get("tops"))
            images = images.reshape(len(captions), len(seeds), *images.shape[1:])
            sheets.append(Sheet(int(path.stem), captions, seeds, images))
        except (OSError, ValueError, KeyError, TypeError, UserError):
            continue
    if not sheets:
        return []
    last = sheets[-1]
    sheets = [sheet for sheet in sheets if (sheet.captions, sheet.seeds) == (last.captions, last.seeds)]
    return [sheets[i] for i in evenly_spread(len(sheets), most)]
