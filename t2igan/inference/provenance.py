"""What picture files say of how they came to be: XMP's digital source type and the recipe, in PNG, JPEG and WebP.

The digital source type is IPTC's (Photo Metadata Standard 2023.1): other programs read it and can say that a picture is
made by a trained model. The recipe is ours. Neither is bound to the pixels: whoever has the file can remove or change
both, and programs that save a picture anew mostly drop them.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import UInt8

from t2igan.config.strict_json import read_group
from t2igan.errors import UserError

PNG_KEY, PNG_XMP_KEY = "t2igan", "XML:com.adobe.xmp"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = "trainedAlgorithmicMedia"  # drawn by a model that learned from pictures
EDITED = "compositeWithTrainedAlgorithmicMedia"  # a picture of which such a model drew a part
FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
MAX_RECIPE = 1_000_000  # characters that are read of a recipe
MAX_JPEG_PACKET = 65_000  # bytes of XMP that a JPEG can hold in one segment
MAX_PIXELS = 100_000_000  # of a picture that is opened
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "t2igan": "urn:t2igan:recipe:1",
}
# What XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class Claims:
    """What a picture file says of itself; anybody may have written it."""

    form: str  # "PNG", "JPEG", "WEBP", or another one of Pillow's
    size_px: tuple[int, int]  # width, height
    source_type: str  # the last part of XMP's DigitalSourceType; "" where there is none
    tool: str  # XMP's CreatorTool; ""
    facts: dict[str, Any]  # the recipe; {}


def picture_bytes(
    image: UInt8[np.ndarray, "H W C"],
    form: str,
    facts: Mapping[str, Any] | None = None,
    source_type: str | None = None,
    **options: Any,
) -> bytes:
    """Returns a picture file that says how it was made.

    Args:
      image: the picture, one channel, three, or four with transparency (no JPEG).
      form: "PNG", "JPEG" or "WEBP".
      facts: the recipe, ready for JSON.
      source_type: `GENERATED`, `EDITED`, or "" for none; None = `GENERATED` where there are facts.
      **options: of Pillow's writer, such as quality=90.
    """
    from PIL import Image, PngImagePlugin

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        for key, text in png_texts(facts, source_type).items():
            info.add_itxt(key, text)
        options |= {"pnginfo": info}
    elif facts or source_type:
        source_type = GENERATED if source_type is None else source_type
        packet = xmp_packet(source_type, _recipe(facts), str((facts or {}).get("t2igan", "")))
        if len(packet.encode()) > MAX_JPEG_PACKET:  # a recipe of hundreds of prompts
            packet = xmp_packet(source_type, "", str((facts or {}).get("t2igan", "")))
        options |= {"xmp": packet.encode()}
    file = io.BytesIO()
    picture.save(file, format=form, **options)
    return file.getvalue()


def png_texts(facts: Mapping[str, Any] | None, source_type: str | None = None) -> dict[str, str]:
    """Returns what a PNG says of how it was made, by keyword of its iTXt chunks; arguments as in `picture_bytes`."""
    source_type = (GENERATED if facts else "") if source_type is None else source_type
    texts = {PNG_KEY: _recipe(facts)} if facts else {}
    if source_type:
        texts[PNG_XMP_KEY] = xmp_packet(source_type, "", str((facts or {}).get("t2igan", "")))
    return texts


def _recipe(facts: Mapping[str, Any] | None) -> str:
    return _ENCODER.encode(facts).encode("utf-8", "replace").decode() if facts else ""


def xmp_packet(source_type: str, recipe: str, version: str) -> str:
    """Returns an XMP packet (ISO 16684-1) with the digital source type, the tool, and the recipe where it is given."""
    return _packet(source_type, recipe, version) if recipe else _plain_packet(source_type, version)


@functools.lru_cache(maxsize=16)
def _plain_packet(source_type: str, version: str) -> str:
    return _packet(source_type, "", version)


def _packet(source_type: str, recipe: str, version: str) -> str:
    said = {"xmp:CreatorTool": f"t2igan {version}".strip()}
    if source_type:
        said["Iptc4xmpExt:DigitalSourceType"] = SOURCE_TYPES + source_type
    if recipe:
        said["t2igan:recipe"] = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", recipe)
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items() if prefix != "rdf")
    values = " ".join(f"{name}={quoteattr(value)}" for name, value in said.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_NAMESPACES["rdf"]}">'
        f'<rdf:Description rdf:about="" {names} {values}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def read_claims(path: Path | io.BytesIO) -> Claims:
    """Returns what a picture file, or its bytes, says of itself; what is damaged in it counts as not there.

    Raises:
      UserError: it is no picture that can be opened, or has more than `MAX_PIXELS`.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError(
                    f"{path} has {picture.width} x {picture.height} px; {MAX_PIXELS:,} are looked at at most"
                )
            form, size = str(picture.format), picture.size
            if form == "PNG":
                picture.load()  # texts may stand behind the pixels
            text = getattr(picture, "text", {}).get(PNG_KEY, "")
            packet = picture.info.get("xmp") or picture.info.get(PNG_XMP_KEY) or b""
    except UserError:
        raise
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        raise UserError(f"{path} is no picture that can be opened ({type(error).__name__}); is it whole?") from error
    said = _read_xmp(packet)
    source = said.get("Iptc4xmpExt:DigitalSourceType", "")
    return Claims(
        form=form,
        size_px=size,
        source_type=source.removeprefix(SOURCE_TYPES)[:100],
        tool=said.get("xmp:CreatorTool", "")[:100],
        facts=_group(text or said.get("t2igan:recipe", "")),
    )


def _read_xmp(packet: bytes | str) -> dict[str, str]:
    """The attributes and elements of an XMP packet that are of use here; {} where it is none."""
    raw = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    if len(raw) > MAX_RECIPE or b"<!" in raw:  # document types: entities that grow without end
        return {}
    try:
        root = ElementTree.fromstring(raw.strip(b"\0 \n"))
    except (ElementTree.ParseError, ValueError):
        return {}
    wanted = {f"{{{uri}}}": prefix for prefix, uri in _NAMESPACES.items()}
    said: dict[str, str] = {}
    for description in root.iter(f"{{{_NAMESPACES['rdf']}}}Description"):
        found = [*description.items(), *((child.tag, child.text or "") for child in description)]
        for name, value in found:
            uri, brace, tag = str(name).rpartition("}")
            if uri + brace in wanted:
                said[f"{wanted[uri + brace]}:{tag}"] = value.strip()
    return said


def _group(text: str) -> dict[str, Any]:
    if not text or len(text) > MAX_RECIPE:
        return {}
    try:
        return read_group(text, "the recipe")
    except UserError:
        return {}
