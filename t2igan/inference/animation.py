"""Frames as one moving picture: GIF, or MP4 where PyAV and an encoder for H.264 or MPEG-4 are there."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from t2igan.data.alpha import on_checkerboard
from t2igan.errors import UserError
from t2igan.inference.files import write_bytes
from t2igan.inference.pictures import enlarge, gif_bytes

SUFFIXES = (".gif", ".mp4")
ENCODERS = ("libx264", "libopenh264", "mpeg4")  # of FFmpeg; the first one that is there
ROUNDS = 3  # that a video goes there and back; a GIF goes on for ever


def check_can_write(path: Path) -> None:
    """Raises `UserError` where `save_animation` could not write such a file because a library is missing."""
    if path.suffix.lower() == ".mp4":
        _encoder()


def save_animation(
    path: Path, images: UInt8[np.ndarray, "N H W C"], scale: int, frame_ms: int, facts: Mapping[str, Any]
) -> None:
    """Writes frames, there and back, as the ending of `path` says, whole or not at all.

    Args:
      path: a file that ends in .gif or .mp4.
      images: the frames; behind what is transparent there is a checkerboard.
      scale: as in `enlarge`.
      frame_ms: how long a frame is shown.
      facts: the recipe, which becomes the file's comment.

    Raises:
      UserError: the file cannot be written, or there is no encoder.
    """
    write = _mp4 if path.suffix.lower() == ".mp4" else gif_bytes
    write_bytes(path, write(enlarge(np.asarray(images), scale), frame_ms, json.dumps(facts)))


def _encoder() -> str:
    """The name of an encoder that is there."""
    try:
        import av
    except ImportError as error:
        raise UserError("an MP4 needs PyAV: pip install 't2igan[video]'; or choose --out=FILE.gif") from error
    for name in ENCODERS:
        try:
            return av.codec.Codec(name, "w").name
        except (av.error.FFmpegError, ValueError):
            continue
    raise UserError(f"PyAV has none of the encoders {', '.join(ENCODERS)} here; choose --out=FILE.gif")


def _mp4(frames: np.ndarray, frame_ms: int, comment: str) -> bytes:
    """H.264 with halved colours, which everything plays: sides are even, and frames are shown in colour."""
    encoder = _encoder()
    import av

    shown = on_checkerboard(frames)
    frames = np.concatenate([shown, shown[-2:0:-1]])
    if frames.shape[-1] == 1:
        frames = frames.repeat(3, axis=-1)
    odd = [(0, side % 2) for side in frames.shape[1:3]]
    frames = np.pad(frames, [(0, 0), *odd, (0, 0)], mode="edge")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = comment
        stream: Any = container.add_stream(encoder, rate=Fraction(1000, frame_ms))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if encoder == "libx264":
            stream.options = {"crf": "12"}
        for picture in [x for _ in range(ROUNDS) for x in frames]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()
