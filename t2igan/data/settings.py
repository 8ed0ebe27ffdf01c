"""Checks the group `data` of a configuration, without JAX: also for those who only open data."""

from __future__ import annotations

import io
import re
from typing import Any

from t2igan.config.constraints import is_whole, listed
from t2igan.data.decode import RESAMPLING, RESIZES
from t2igan.errors import UserError, nearest

CAPTION_GROUP = re.compile(r"\{caption\}|\(\?P<caption>")
CHOICES = {
    "channels": (1, 3, 4),
    "resize": RESIZES,
    "resample": ("auto", *RESAMPLING),
    "captions": ("all", "first"),
    "folder_labels": ("auto", "use", "ignore"),
}
# Those that texts have most often where they are not UTF-8, to choose from.
ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp932", "gb18030", "big5", "cp949", "utf-16", "latin-1")


def check_data(data: Any) -> None:
    """Raises `UserError` for a value of the group `data` that is not accepted."""
    for key, known in CHOICES.items():
        if data[key] not in known:
            near = nearest(str(data[key]), known)
            raise UserError(f"config.data.{key}={data[key]!r} is none of {listed(known)}{near}")
    if not data.image_size_px > 0:
        raise UserError(f"config.data.image_size_px={data.image_size_px} must be greater than 0")
    for key in ("cache_gb", "workers"):
        if not data[key] >= 0:
            raise UserError(f"config.data.{key}={data[key]} must be 0 or greater")
    if not 0 <= data.min_usable <= 1:
        raise UserError(f"config.data.min_usable={data.min_usable} must be a share from 0 to 1")
    for key in ("val_fraction", "test_fraction"):
        if not 0 <= data[key] < 1:
            raise UserError(f"config.data.{key}={data[key]} must be at least 0 and less than 1")
    if not data.min_held_out >= 1:
        raise UserError(f"config.data.min_held_out={data.min_held_out} must be 1 or greater")
    for key in ("train_split", "val_split", "test_split"):
        if not data[key]:
            raise UserError(
                f"config.data.{key} is empty; give the name of a split, such as {key.removesuffix('_split')!r}"
            )
    _check_encoding(data.encoding)
    if data.caption_from_name and not CAPTION_GROUP.search(data.caption_from_name):
        raise UserError(
            f"config.data.caption_from_name={data.caption_from_name!r} does not say where the caption is.\n"
            'Accepted: a template such as "{caption}_{}", or a regular expression with (?P<caption>...).'
        )
    if len(data.background) != 3 or not all(is_whole(v) and 0 <= v <= 255 for v in data.background):
        raise UserError(f"config.data.background={data.background} must be three whole numbers from 0 to 255")


def _check_encoding(name: str) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name or "utf-8")  # knows texts from "hex" and "rot13"
    except LookupError:
        raise UserError(
            f"config.data.encoding={name!r} is no encoding of text that Python has{nearest(name, ENCODINGS)}\n"
            f'Usual ones are {listed(ENCODINGS)}; "" finds out by itself'
        ) from None
