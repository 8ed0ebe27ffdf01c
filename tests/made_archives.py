"""Small archives, whole and broken, for the tests of what reads them."""

import io
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from configs.base import get_config

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def config_of(path, **changes):
    """The `data` group for a source: all of it is one split unless `changes` say otherwise."""
    config = get_config().data
    config.source = str(path)
    config.val_fraction = config.test_fraction = 0.0
    config.image_size_px = 8
    config.update(changes)
    return config


def png(colour="red", size=(8, 8)):
    """The bytes of a PNG in one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def pairs(*colours):
    """Members of an archive: a picture and its caption for each colour."""
    return {name: data for c in colours for name, data in ((f"{c}.png", png(c)), (f"{c}.txt", f"all {c}".encode()))}


def as_bytes(data):
    return data.encode() if isinstance(data, str) else data


def make_tar(path, members, format=tarfile.PAX_FORMAT, mode="w", changes=()):
    """Writes an uncompressed tar of name -> bytes; `changes` are name -> what to set in its header."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=format) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(as_bytes(data))
            for key, value in dict(changes).get(name, {}).items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(as_bytes(data)))
    return path


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    """Writes a zip of name -> bytes; names may be `zipfile.ZipInfo`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return path


def skipped(dataset):
    """File -> reason of what was left out."""
    return {s.file: s.reason for s in dataset.skipped}
