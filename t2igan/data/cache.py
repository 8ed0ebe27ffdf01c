"""Pictures decoded once, kept as one memory-mapped uint8 array a data set and way of decoding.

    CACHE/pictures/KEY/images.npy     uint8 [N, H, W, C]; rows of pictures that cannot be used are zero
                       content.npy    uint8 [N, 16]: hash of what was encoded; the same picture has the same
                       signatures.npy uint8 [N, 72]: how it looks, small (`t2igan.data.alike`)
                       sizes.npy      int32 [N, 2]: width and height before, in pixels
                       transparent.npy bool [N]: whether anything was transparent; older caches do not have it
                       failures.json  {row: reason}
                       unread.json    rows of those among them that could not be read: tried again every time

KEY is a hash of where the pictures lie (names, sizes, times of change: `Stored.stamp`) and how they were decoded. A
folder gets its name when all in it is written, so that a killed or failed process leaves nothing that could be taken
for whole; a lock makes a second process wait instead of decoding the same again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from t2igan.config import cache_folder as user_cache
from t2igan.config import expanded
from t2igan.data.alike import SIGNATURE_BYTES, signature
from t2igan.data.decode import Decoding, Unusable, read_picture
from t2igan.data.room import PICTURES, make_room
from t2igan.data.stored import InMemory, Stored, reason_of
from t2igan.data.workers import usable_cores
from t2igan.errors import UserError, lacks_locks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that a notebook has no widgets: bars are text then
    from tqdm.auto import tqdm

VERSION = 2  # of what decoding yields: to be raised when the same file decodes to other pixels
CONTENT_BYTES = 16
CHUNK_PICTURES = 64  # a thread takes this many at a time
PROGRESS_MIN_PICTURES = 2000
SAY_WAITING_AFTER_S = 2.0

log = logging.getLogger(__name__)


@dataclass
class Decoded:
    """Pictures of a source in the order of their records; rows in `failures` hold nothing.

    `images` is uint8 [N, H, W, C], or None where they were only looked at (`keep_images=False`).
    """

    images: np.ndarray | None
    content: np.ndarray
    signatures: np.ndarray
    sizes: np.ndarray
    transparent: np.ndarray | None = None  # bool [N]; None = not known
    failures: dict[int, str] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)  # failures of the disk, not of the picture
    folder: Path | None = None  # where it is kept; None = in memory only

    @classmethod
    def empty(cls, num: int, images: np.ndarray | None) -> Decoded:
        """Returns room for `num` pictures, around `images`."""
        return cls(
            images,
            content=np.zeros((num, CONTENT_BYTES), np.uint8),
            signatures=np.zeros((num, SIGNATURE_BYTES), np.uint8),
            sizes=np.zeros((num, 2), np.int32),
            transparent=np.zeros(num, bool),
        )


def cache_folder(data_config: Any) -> Path:
    """Returns `config.data.cache_dir`, or by default the user's own cache; it may not exist yet."""
    if data_config.cache_dir:
        return expanded(data_config.cache_dir, "config.data.cache_dir")
    return user_cache()


# What is kept of a picture besides its pixels: content, signature, two sizes, whether it is transparent.
FOUND_BYTES = CONTENT_BYTES + SIGNATURE_BYTES + 2 * 4 + 1


def images_bytes(num: int, how: Decoding) -> int:
    """Returns the size of `num` decoded pictures."""
    return num * how.size_px**2 * how.channels


def is_in_memory(places: Sequence[Stored]) -> bool:
    """Whether all pictures are at hand already, as in the embedded data, and need no cache."""
    return all(isinstance(place, InMemory) for place in places)


def decoded(
    places: Sequence[Stored], files: Sequence[str], how: Decoding, data_config: Any, keep_images: bool = True
) -> Decoded:
    """Returns pictures decoded, from the cache where they were before; `files` are their names, one a place.

    With `keep_images=False` they are read, hashed and looked at, and only what was found is kept. Where the cache
    cannot be written, decodes into memory and says so. Pictures that are in memory anyway are not cached.
    """
    if is_in_memory(places):
        return _in_memory(places, how, keep_images)
    root = cache_folder(data_config) / PICTURES
    folder = root / _key(places, files, how, keep_images)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f"{folder.name}.lock"):
            found = _load(folder, len(places), how, keep_images)
            if found is not None and found.unread:
                found = _read_again(folder, found, places, how)
            if found is None:
                needed = len(places) * FOUND_BYTES + (images_bytes(len(places), how) if keep_images else 0)
                make_room(root.parent, needed, limit_bytes=round(data_config.cache_gb * 1e9))
                _write(folder, places, how, keep_images)
                found = _load(folder, len(places), how, keep_images)
            os.utime(folder)  # used now: the longest unused goes first
    except OSError as error:
        log.warning("decoded pictures are not kept in %s (%s): config.data.cache_dir names another folder", root, error)
        return _in_memory(places, how, keep_images)
    if found is None:
        raise UserError(f"{folder} was written and cannot be read back; is the disk sound?")
    return found


def _key(places: Sequence[Stored], files: Sequence[str], how: Decoding, keep_images: bool) -> str:
    digest = hashlib.sha256(repr((VERSION, PIL.__version__, astuple(how), keep_images)).encode())
    # Names too: two files may be of one size and time, and change places.
    for place, file in zip(places, files, strict=True):
        digest.update(repr((file, place.stamp)).encode())
    return digest.hexdigest()[:24]


def _in_memory(places: Sequence[Stored], how: Decoding, keep_images: bool) -> Decoded:
    shape = (len(places), how.size_px, how.size_px, how.channels)
    result = Decoded.empty(len(places), np.zeros(shape, np.uint8) if keep_images else None)
    _fill(result, places, how)
    return result


def _fill(result: Decoded, places: Sequence[Stored], how: Decoding) -> None:
    """Decodes every picture into its row, on a thread a core: Pillow decodes and resizes without Python's lock."""

    def chunk(start: int) -> int:
        stop = min(start + CHUNK_PICTURES, len(places))
        for i in range(start, stop):
            _fill_row(result, i, places[i], how)
        return stop - start

    # Threads only get in each other's way where a picture is decoded in 0.1 ms.
    small = all(isinstance(place, InMemory) for place in places[:CHUNK_PICTURES])
    workers = 1 if small else min(16, usable_cores())
    # disable=None: no bar where stderr is not a terminal; delay: none for what is done in a moment.
    quiet = True if len(places) <= PROGRESS_MIN_PICTURES else None
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(places), desc="decoding", unit=" pictures", disable=quiet, delay=1.0) as bar,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what is unusable is reported anyway
        try:
            for count in pool.map(chunk, range(0, len(places), CHUNK_PICTURES)):
                bar.update(count)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the whole set
            raise
    result.failures = dict(sorted(result.failures.items()))


def _fill_row(result: Decoded, row: int, place: Stored, how: Decoding) -> None:
    """Decodes one picture into its row, or notes why there is none."""
    try:
        stored = place.read()
    except Exception as error:
        result.failures[row] = reason_of(error)
        if isinstance(error, OSError):
            result.unread.add(row)
        return
    try:
        result.content[row] = content_hash(stored)
        picture = read_picture(stored, how)
    except Unusable as error:
        result.failures[row] = str(error)
    except Exception as error:
        result.failures[row] = reason_of(error)
    else:
        result.sizes[row] = picture.size_px
        result.signatures[row] = signature(picture.pixels)
        if result.transparent is not None:
            result.transparent[row] = picture.is_transparent
        if result.images is not None:
            result.images[row] = picture.pixels


def _read_again(folder: Path, found: Decoded, places: Sequence[Stored], how: Decoding) -> Decoded | None:
    """Returns what is kept with the pictures that can be read by now; the caller holds the lock."""
    images = np.load(folder / "images.npy", mmap_mode="r+") if found.images is not None else None
    # What is mapped by other processes is written only where they use nothing: in the rows of failures.
    mended = replace(found, images=images, failures=dict(found.failures), unread=set())
    for row in sorted(found.unread):
        mended.failures.pop(row, None)
        _fill_row(mended, row, places[row], how)
    if mended.failures == found.failures:
        return found
    if images is not None:
        images.flush()
    _save_facts(folder, mended)
    log.info("%d pictures that could not be read before are read now", len(found.unread) - len(mended.unread))
    return _load(folder, len(places), how, keep_images=images is not None)


def content_hash(stored: bytes | np.ndarray) -> np.ndarray:
    """Returns uint8 [16], equal for the same encoded bytes or the same array."""
    digest = hashlib.sha256()
    if isinstance(stored, np.ndarray):
        digest.update(repr((stored.shape, stored.dtype.str)).encode())
        digest.update(np.ascontiguousarray(stored).data)
    else:
        digest.update(stored)
    return np.frombuffer(digest.digest()[:CONTENT_BYTES], np.uint8)


def _write(folder: Path, places: Sequence[Stored], how: Decoding, keep_images: bool) -> None:
    for left in folder.parent.glob(f"{folder.name}.*.unfinished"):  # by a process that was killed: we have the lock
        shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
    unfinished.mkdir()
    try:
        images = None
        if keep_images:
            images = _room_on_disk(unfinished / "images.npy", (len(places), how.size_px, how.size_px, how.channels))
        result = Decoded.empty(len(places), images)
        _fill(result, places, how)
        if images is not None:
            images.flush()
        _save_facts(unfinished, result)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _save_facts(folder: Path, result: Decoded) -> None:
    """Writes all but the pictures; each file is whole or as it was."""
    for name in ("content", "signatures", "sizes", "transparent"):
        if getattr(result, name) is None:
            continue
        np.save(folder / f"{name}.new.npy", getattr(result, name))
        (folder / f"{name}.new.npy").replace(folder / f"{name}.npy")
    failures = dict(sorted(result.failures.items()))
    for name, values in (("unread", sorted(result.unread)), ("failures", failures)):
        (folder / f"{name}.new").write_text(json.dumps(values), encoding="utf-8")
        (folder / f"{name}.new").replace(folder / f"{name}.json")


def _room_on_disk(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Returns a memory-mapped .npy file whose room is taken: OSError now, where a full disk would kill us later."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(path.stat().st_size, 1))
    return images


def _load(folder: Path, num: int, how: Decoding, keep_images: bool) -> Decoded | None:
    """Returns what is kept, or None where there is none or it is damaged."""
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False) if keep_images else None
        content = np.load(folder / "content.npy", allow_pickle=False)
        signatures = np.load(folder / "signatures.npy", allow_pickle=False)
        sizes = np.load(folder / "sizes.npy", allow_pickle=False)
        known = (folder / "transparent.npy").is_file()
        transparent = np.load(folder / "transparent.npy", allow_pickle=False) if known else None
        unread = {int(row) for row in json.loads((folder / "unread.json").read_text("utf-8"))}
        failures = {int(i): str(r) for i, r in json.loads((folder / "failures.json").read_text("utf-8")).items()}
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError, AttributeError, TypeError) as error:
        log.warning("%s is damaged and is made anew: %s", folder, error)
        return None
    if images is not None and images.shape != (num, how.size_px, how.size_px, how.channels):
        return None
    shapes = (num, CONTENT_BYTES), (num, SIGNATURE_BYTES), (num, 2)
    if (content.shape, signatures.shape, sizes.shape) != shapes:
        return None
    if transparent is not None and transparent.shape != (num,):
        return None
    return Decoded(images, content, signatures, sizes, transparent, failures, unread, folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes, also against one that runs on another machine on most shared disks."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=SAY_WAITING_AFTER_S)
    except Timeout:
        log.warning("another process is decoding the same pictures: waiting for it (%s)", path)
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if not lacks_locks(error):
            raise
        yield  # at worst two processes decode the same
        return
    try:
        yield
    finally:
        lock.release()
