"""Folders, texts, rows and lists that are broken or meant to do harm: each costs what it concerns, and no more.

In every case a good picture lies beside what is bad, and is still used.
"""

import os
import shutil
import threading

import pytest
from nasty import (
    AS_ROOT,
    LEADS_OUT,
    NO_FILE,
    NO_TEXT,
    as_params,
    assert_reasons,
    bind_socket,
    found_in,
    lock,
    picture,
    with_good_picture,
    write_bytes,
)

from configs.base import get_config
from t2igan.data import open_dataset
from t2igan.data.encoding import UNCLEAR
from t2igan.data.sources.captions import MAX_CAPTION_CHARACTERS
from t2igan.data.sources.found import Files
from t2igan.data.sources.pairing import pair
from t2igan.data.sources.walk import holds_pictures, walk
from t2igan.data.stored import InMemory
from t2igan.errors import UserError


@pytest.fixture
def root(tmp_path):
    return with_good_picture(tmp_path)


# What is done to the folder, what is then found besides the good picture, and the reasons for what is left out.
FILES = {
    "a pipe for a picture": (lambda d: os.mkfifo(d / "x.png"), {}, {"x.png": "not a regular file but a pipe"}),
    "a pipe for a caption": (
        lambda d: (picture(d / "x.png"), os.mkfifo(d / "x.txt")),
        {},
        {"x.txt": "not a regular file but a pipe", "x.png": NO_TEXT},
    ),
    "a pipe for metadata": (lambda d: os.mkfifo(d / "metadata.csv"), {}, {"metadata.csv": "but a pipe"}),
    "a pipe for something else": (lambda d: os.mkfifo(d / "queue"), {}, {}),
    "a socket": (lambda d: bind_socket(d / "x.png"), {}, {"x.png": "not a regular file but a socket"}),
    "a link to a device": (lambda d: (d / "x.png").symlink_to("/dev/zero"), {}, {"x.png": LEADS_OUT}),
    "a link to a file outside": (
        lambda d: ((d / "x.png").symlink_to(d.parent / "outside/secret.png"), (d / "x.txt").write_text("x")),
        {},
        {"x.png": LEADS_OUT},
    ),
    "a caption that is a link outside": (
        lambda d: (picture(d / "x.png"), (d / "x.txt").symlink_to("../outside/secret.txt")),
        {},
        {"x.txt": LEADS_OUT, "x.png": NO_TEXT},
    ),
    "metadata that is a link outside": (
        lambda d: (d / "metadata.jsonl").symlink_to("/etc/passwd"),
        {},
        {"metadata.jsonl": LEADS_OUT},
    ),
    "a link to a folder outside": (lambda d: (d / "more").symlink_to("../outside"), {}, {"more": LEADS_OUT}),
    "a link to something else outside": (lambda d: (d / "notes.md").symlink_to("/etc/passwd"), {}, {}),
    "a link to the root of everything": (lambda d: (d / "all").symlink_to("/"), {}, {"all": LEADS_OUT}),
    "a link to itself": (lambda d: (d / "x.png").symlink_to("x.png"), {}, {"x.png": "too many levels of symbolic"}),
    "links to each other": (
        lambda d: ((d / "x.png").symlink_to("y.png"), (d / "y.png").symlink_to("x.png")),
        {},
        {"x.png": "symbolic", "y.png": "symbolic"},
    ),
    "a link to nothing": (lambda d: (d / "x.png").symlink_to("gone.png"), {}, {"x.png": "a link to nothing"}),
    "a folder that holds itself": (lambda d: ((d / "a").mkdir(), (d / "a/b").symlink_to("..")), {}, {}),
    "a link to a file inside": (lambda d: (d / "x.png").symlink_to("good.png"), {}, {"x.png": NO_TEXT}),
    "a folder called like a picture": (lambda d: picture(d / "x.png" / "y.png", "y"), {"x.png/y.png": ("y",)}, {}),
    "a folder called like a caption": (
        lambda d: (picture(d / "x.png"), (d / "x.txt").mkdir()),
        {},
        {"x.png": NO_TEXT},
    ),
    "a folder called like metadata": (lambda d: (d / "metadata.csv").mkdir(), {}, {}),
    "an empty picture": (
        lambda d: (write_bytes(d / "x.png", b""), (d / "x.txt").write_text("x")),
        {},
        {"x.png": "empty"},
    ),
    "hidden files, and what systems leave behind": (
        lambda d: [picture(d / name, "x") for name in (".x.png", ".git/x.png", "__MACOSX/x.png", "@eaDir/a/x.png")],
        {},
        {},
    ),
    "a name that is no UTF-8": (
        lambda d: (picture(d / os.fsdecode(b"caf\xe9.png")), (d / os.fsdecode(b"caf\xe9.txt")).write_text("x")),
        {"caf\\xe9.png": ("x",)},
        {},
    ),
    "a name that clears the screen, in two lines": (
        lambda d: picture(d / "\x1b[2J\nx.png", "x"),
        {"\\x1b[2J\\nx.png": ("x",)},
        {},
    ),
    "a name of 250 bytes": (lambda d: picture(d / ("x" * 246 + ".png"), "x"), {"x" * 246 + ".png": ("x",)}, {}),
    "a suffix that lies": (lambda d: shutil.copy(d / "good.png", d / "good.jpg"), {"good.jpg": ("good",)}, {}),
    "pictures that Pillow does not read": (
        lambda d: [write_bytes(d / name, b"x") for name in ("x.svg", "x.HEIC", "y.eps", "good.svg")],
        {},
        dict.fromkeys(("x.svg", "x.HEIC", "y.eps"), "cannot be read: "),
    ),
    "a file that must not be read": (lambda d: lock(d / "x.png"), {"x.png": ("locked",)}, {}),  # decoding says so
    "a caption that must not be read": pytest.param(
        lambda d: (picture(d / "x.png", "x"), (d / "x.txt").chmod(0)),
        {},
        {"x.png": "no caption: x.txt: cannot be read: permission denied"},
        marks=pytest.mark.skipif(AS_ROOT, reason="root may read everything"),
    ),
    "a folder that must not be listed": pytest.param(
        lambda d: (picture(d / "locked" / "x.png"), (d / "locked").chmod(0)),
        {},
        {"locked": "cannot be read: permission denied"},
        marks=pytest.mark.skipif(AS_ROOT, reason="root may list everything"),
    ),
}

# Bytes of a text beside x.png, and the captions or the reason.
TEXTS = {
    "no bytes": (b"", "no caption: x.txt has none"),
    "blanks": (b" \r\n\t\n", "no caption: x.txt has none"),
    "a byte order mark and nothing": (b"\xef\xbb\xbf", "no caption: x.txt has none"),
    "only a translation": (b"de.utf8=Ein X", "no caption: x.txt has none"),
    "a byte order mark and CRLF": (b"\xef\xbb\xbfone\r\ntwo\r\n", ("one", "two")),
    "mixed line ends": (b"one\rtwo\nthree\r\nfour", ("one", "two", "three", "four")),
    "UTF-16": ("\ufeffschön\nblau".encode("utf-16-le"), ("schön", "blau")),
    "UTF-16, big endian, cut within a character": ("\ufeffschön".encode("utf-16-be") + b"\0", ("schön",)),
    "Latin-1": ("schön".encode("latin-1"), ("schön",)),
    "NULs": (b"a\0cat\0\0", ("a cat",)),
    "only NULs": (b"\0" * 5000, "no caption: x.txt has none"),
    "escape sequences": (b"a \x1b[31mred\x07 cat", ("a [31mred cat",)),
    "a megabyte in one line": (b"cat " * 250_000, ("cat " * (MAX_CAPTION_CHARACTERS // 4 - 1) + "cat",)),
    "a picture for a text": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", f"no caption: x.txt: {UNCLEAR}"),
    "100 MB, most of it never read": (b"a cat\n" + b"\0" * 100_000_000, ("a cat",)),
}


@pytest.mark.parametrize(("make", "captions", "reasons"), as_params(FILES))
def test_files(root, make, captions, reasons):
    make(root)
    found, left_out = found_in(root)
    assert found == captions
    assert_reasons(left_out, reasons)


@pytest.mark.parametrize(("data", "expected"), as_params(TEXTS))
def test_texts(root, data, expected):
    picture(root / "x.png")
    write_bytes(root / "x.txt", data)
    found, left_out = found_in(root)
    if isinstance(expected, tuple):
        assert found == {"x.png": expected} and not left_out
    else:
        assert not found and left_out == {"x.png": expected}


def nest(root, name, levels):
    """Makes folders in each other and returns a descriptor of the last; a path may be too long to name it."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    return folder


def test_folders_deeper_than_calls_may_nest(root):
    os.close(nest(root, "d", 1200))
    deepest = root.joinpath(*["d"] * 1200)
    picture(deepest / "x.png", "deep")
    try:
        assert found_in(root) == ({"d/" * 1200 + "x.png": ("deep",)}, {})
    finally:  # what removes the folder of a test is recursive
        root.joinpath(*["d"] * 600).rename(root / "lower half")


def test_paths_too_long_to_name(root):
    os.close(nest(root, "x" * 250, 20))
    found, left_out = found_in(root)
    ((folder, reason),) = left_out.items()
    assert not found and reason == "cannot be read: file name too long" and len(folder) > 3500


def test_links_are_followed_when_asked_for(root):
    (root / "a").symlink_to("../outside")
    (root / "b").symlink_to("../outside")
    (root.parent / "outside" / "back").symlink_to("../root")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "file.png").symlink_to("../outside/secret.png")
    (root / "file.txt").symlink_to("../outside/secret.txt")
    found, left_out = found_in(root, follow_links=True)
    assert sorted(found.values()) == [("secret",)] * 2 and "file.png" in found
    assert left_out == {"zero.png": "not a regular file but a device"}


def test_a_root_that_is_a_link_is_followed(root):
    (root.parent / "link").symlink_to("root")
    assert found_in(root.parent / "link") == ({}, {})


@pytest.mark.skipif(AS_ROOT, reason="root may list everything")
def test_a_root_that_must_not_be_listed(root):
    root.chmod(0)
    with pytest.raises(UserError, match="cannot be read: permission denied"):
        walk(root)
    root.chmod(0o700)


def test_a_folder_that_vanishes(root):
    with pytest.raises(UserError, match="there is no such file"):
        walk(root / "gone")
    assert not holds_pictures(root / "gone") and holds_pictures(root)


def test_files_that_vanish_while_they_are_read(root):
    names = ["x.png", "x.txt", "good.png", "good.txt"]
    files = Files("x", names, lambda name: (root / name).open("rb"), lambda name: InMemory((root / name).read_bytes()))
    (root / "good.png").unlink()
    found = pair(files, get_config().data)
    reasons = {skipped.file: skipped.reason for _, skipped in found.skipped}
    assert reasons == {"good.png": NO_FILE, "x.png": f"no caption: x.txt: {NO_FILE}"}


def test_everything_at_once(root):
    """What each case of FILES makes, in folders of one data set: opened in the end, decoded, with what can be used."""
    usable = 1
    for number, case in enumerate(FILES.values()):
        make, captions, _ = case.values if hasattr(case, "marks") else case
        folder = root / str(number)
        picture(folder / "good.png", "good")
        if AS_ROOT and hasattr(case, "marks"):
            usable += 1
            continue
        make(folder)
        usable += 1 + len(captions)
    config = get_config().data
    config.update(source=str(root), val_fraction=0.0, test_fraction=0.0)
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_dataset(config, "train")), daemon=True)
    thread.start()
    thread.join(60)  # a pipe that is opened would never return
    (dataset,) = opened
    usable -= not AS_ROOT  # the file that must not be read: only decoding finds out
    assert len(dataset) == usable and (dataset.images == (0, 255, 0)).all()
    assert not any("secret" in caption for captions in dataset.captions for caption in captions)
