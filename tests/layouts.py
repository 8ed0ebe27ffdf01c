"""Small collections in the layouts that people have: files by name, a picture of one colour for each name of one."""

import io
import json
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image

from configs.base import get_config
from t2igan.data.sources import open_source

SUFFIXES = (".png", ".jpg", ".webp")


def picture(name, size=(8, 8)):
    """The bytes of a picture; another one for each name."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (*size[::-1], 3), np.uint8)
    suffix = name.rpartition(".")[2].upper()
    Image.fromarray(pixels).save(stream, {"JPG": "JPEG"}.get(suffix, suffix))
    return stream.getvalue()


def lay_out(root, files):
    """Writes files: a list of names of pictures, or name -> text, bytes, what is to be JSON, or None for a picture.

    The value of an archive is such a dict of its members. Returns the root.
    """
    files = dict.fromkeys(files) if isinstance(files, list) else files
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(name, content) if name.endswith((".zip", ".tar")) else as_bytes(name, content))
    return root


def as_bytes(name, content):
    """The content of a file by its name."""
    if content is None:
        return picture(name)
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def packed(name, members):
    """The bytes of an archive."""
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, as_bytes(member, content))
    else:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for member, content in members.items():
                data = as_bytes(member, content)
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def config_of(path, **changes):
    """The `data` group for a source, all of it in one split."""
    config = get_config().data
    config.update({"source": str(path), "val_fraction": 0.0, "test_fraction": 0.0, "image_size_px": 8} | changes)
    return config


def source_of(path, **changes):
    """The source that opens a path."""
    return open_source(config_of(path, **changes))


def captions_of(path, split=None, **changes):
    """File -> captions of what can be used."""
    return {record.file: record.captions for record in source_of(path, **changes).records(split)[0]}


def reasons_of(path, split=None, **changes):
    """File -> reason of what was left out."""
    return {one.file: one.reason for one in source_of(path, **changes).records(split)[1]}


def unread_of(path, **changes):
    """File -> reason of what may have captions and was not read."""
    return {one.file: one.reason for one in source_of(path, **changes).unread()}


def in_file(name, content):
    """The text of a list: JSON lines by its suffix."""
    return "\n".join(map(json.dumps, content)) if name.endswith(".jsonl") else content
