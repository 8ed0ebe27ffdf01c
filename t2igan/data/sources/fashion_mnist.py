"""Fashion-MNIST as TFDS prepares it, without the TensorFlow that its own builder takes to read four files."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np

from t2igan.errors import UserError

# name -> (sha256 that TFDS expects, modification time in the original's gzip header)
FILES = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        1504176606,
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        1504176606,
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        1504176627,
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        1504176627,
    ),
}
GZIP_FNAME = 8  # flag: the header holds a file name
GZIP_HEADER_BYTES = 10


def prepare(data_dir: str, files_dir: str, file_format: str) -> None:
    """Prepares fashion_mnist under `data_dir`, from the original files in `files_dir`; "" downloads them.

    UserError where `files_dir` lacks a file, or holds one that is not the original.
    """
    import tensorflow_datasets as tfds
    from PIL import Image

    # Everything but the reading stays TFDS's own: addresses, checksums, features, version.
    class WithoutTensorFlow(tfds.image_classification.FashionMNIST, skip_registration=True):
        name = "fashion_mnist"

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            paths = dl_manager.download({name: urljoin(self.URL, name) for name in FILES})
            return {
                split: self._generate_examples(
                    paths[f"{prefix}-images-idx3-ubyte.gz"], paths[f"{prefix}-labels-idx1-ubyte.gz"]
                )
                for split, prefix in (("train", "train"), ("test", "t10k"))
            }

        def _generate_examples(self, images_path: Any, labels_path: Any) -> Any:
            images = np.frombuffer(gzip.decompress(images_path.read_bytes())[16:], np.uint8)
            labels = np.frombuffer(gzip.decompress(labels_path.read_bytes())[8:], np.uint8)
            for index, pixels in enumerate(images.reshape(-1, 28, 28)):
                yield index, {"image": Image.fromarray(pixels), "label": int(labels[index])}

    with tempfile.TemporaryDirectory(prefix="fashion_mnist_") as repaired:
        if files_dir:
            for name, (sha256, mtime_s) in FILES.items():
                Path(repaired, name).write_bytes(_original(Path(files_dir, name), sha256, mtime_s))
        # TFDS looks into manual_dir before it downloads, and checks what it finds there.
        config = tfds.download.DownloadConfig(manual_dir=repaired if files_dir else None, try_download_gcs=False)
        builder = WithoutTensorFlow(data_dir=data_dir, file_format=file_format)
        builder.download_and_prepare(download_config=config)


def repair_gzip(raw: bytes, name: str, mtime_s: int) -> bytes:
    """Returns the gzip file with the original name and time in its header, where they were taken out.

    Debian removes both, so that its packages can be built reproducibly; the compressed data stays as it was.
    """
    if len(raw) < GZIP_HEADER_BYTES or raw[:2] != b"\x1f\x8b" or raw[3] != 0:
        return raw
    header = raw[:3] + bytes([GZIP_FNAME]) + struct.pack("<I", mtime_s) + raw[8:GZIP_HEADER_BYTES]
    return header + name.removesuffix(".gz").encode() + b"\0" + raw[GZIP_HEADER_BYTES:]


def _original(path: Path, sha256: str, mtime_s: int) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"config.data.tfds_files_dir: {path} cannot be read ({error.strerror}).\n"
            f"The folder must hold {', '.join(FILES)}."
        ) from error
    for candidate in (raw, repair_gzip(raw, path.name, mtime_s)):
        if hashlib.sha256(candidate).hexdigest() == sha256:
            return candidate
    raise UserError(
        f"config.data.tfds_files_dir: {path} is not the original file ({len(raw)} bytes, other sha256).\n"
        "Get it again, or leave tfds_files_dir empty to download it."
    )
