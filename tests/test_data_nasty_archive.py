"""Archives that are broken, or made to harm: each costs what is broken in it, says so, and nothing else happens."""

import gzip
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_archives import config_of, make_tar, make_zip, pairs, png

from t2igan.data.sources import spool
from t2igan.data.sources.archive import Archive
from t2igan.data.sources.tarred import BLOCK, tar_members
from t2igan.data.sources.zipped import zip_members
from t2igan.errors import UserError

TAR, GZ, ZIP = "x.tar", "x.tar.gz", "x.zip"


def tar_of(*members, **changes):
    """The bytes of a tar: red.png and red.txt, then the members; `changes` are to the header of the first of these."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number, (name, data) in enumerate([*pairs("red").items(), *members]):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in changes.items() if number == 2 else ():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def link(name, target, type=tarfile.SYMTYPE):
    """A tar with a member that is no file."""
    return tar_of((name, b""), type=type, linkname=target)


def header(name, size, type=tarfile.REGTYPE):
    """A tar header with a size that may be a lie; a negative one as GNU writes it."""
    info = tarfile.TarInfo(name)
    info.type = type
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 or size >= 8**11 else b"%011o\0" % size
    if size >= 8**11:
        block[124] = 0x80
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def zip_of(*members):
    """The bytes of a zip: red.png and red.txt, then the members, stored."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [*pairs("red").items(), *members]:
            archive.writestr(name, data)
    return stream.getvalue()


def info(name, mode=0o100644, method=zipfile.ZIP_STORED):
    """A zip member with a Unix mode and a method of its own."""
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    made.compress_type = method
    return made


def patched(data, marker, offset, value):
    """The bytes with `value` at `offset` behind the last occurrence of a marker."""
    at = data.rindex(marker) + offset
    return data[:at] + value + data[at + len(value) :]


RED, BLUE = png("red"), tuple(pairs("blue").items())
LONG, ROW = "a" * 5000, b"file_name,text\n"
SPARSE = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,5", "GNU.sparse.size": "9"}
GLOBAL = b"9 a=bcde\n".ljust(BLOCK, b"\0")
TAR_OF_TWO, ZIP_OF_TWO = tar_of(*BLUE), zip_of(*BLUE)
TAR_OF_NOISE = tar_of(("x.png", random.Random(0).randbytes(9000)), *BLUE)
ONE, TWO = TAR_OF_TWO[: 4 * BLOCK], TAR_OF_TWO[4 * BLOCK :]
DIGITS, COMMENT = b"1" * 8192, b"65536 comment=".ljust(65535, b"c") + b"\n"
BEHIND_IS_LOST = (TAR, "damaged: what lies behind")


def blue_and(suffix, data, *more):
    """A tar with the picture blue.png, beside it a member with another suffix, and more."""
    return tar_of(BLUE[0], (f"blue.{suffix}", data), *more)


def directory(offset, value):
    """A zip with blue.png and blue.txt, in whose directory something else is said of the latter."""
    return patched(ZIP_OF_TWO, b"PK\1\2", offset, value)


# What is made, how many of the pictures red and blue can be used, and for which file which reason is given.
CASES = {
    # Names.
    "tar: a name that climbs": (TAR, tar_of(("../up.png", RED)), 1, ("../up.png", "leads out")),
    "tar: an absolute name": (TAR, tar_of(("/etc/x.png", RED)), 1, ("/etc/x.png", "leads out")),
    "tar: a name of Windows": (TAR, tar_of(("C:\\x.png", RED)), 1, ("C:\\x.png", "leads out")),
    "tar: a name that is no UTF-8": (TAR, tar_of(("\udce9.png", RED)), 1, ("\\xe9.png", "no caption")),
    "tar: a name with a line end": (TAR, tar_of(("a\nb.png", RED)), 1, ("a\\nb.png", "no caption")),
    "tar: a name of 5,000 letters": (TAR, tar_of((f"{LONG}.png", RED)), 1, (f"{LONG}.png", "no caption")),
    "tar: a name twice": (TAR, tar_of(("red.png", RED)), 1, ("red.png", "stored twice")),
    "tar: a folder with a picture's name": (TAR, tar_of(("x.png/", b""), type=tarfile.DIRTYPE), 1, None),
    "zip: a name that climbs": (ZIP, zip_of(("../up.png", RED)), 1, ("../up.png", "leads out")),
    "zip: an absolute name": (ZIP, zip_of(("/etc/x.png", RED)), 1, ("/etc/x.png", "leads out")),
    "zip: a name with backslashes": (ZIP, zip_of(("..\\x.png", RED)), 1, ("..\\x.png", "leads out")),
    "zip: a name with an escape": (ZIP, zip_of(("\x1b[2J.png", RED)), 1, ("\\x1b[2J.png", "no caption")),
    # What is no file.
    "tar: a link that leads out": (TAR, link("x.png", "/etc/passwd"), 1, ("x.png", "not a file but a link")),
    "tar: a hard link": (TAR, link("x.png", "red.png", tarfile.LNKTYPE), 1, ("x.png", "not a file but a link")),
    "tar: a link to itself": (TAR, link("x.txt", "x.txt"), 1, ("x.txt", "not a file but a link")),
    "tar: a device": (TAR, link("x.png", "", tarfile.CHRTYPE), 1, ("x.png", "a pipe or a device")),
    "tar: a pipe": (TAR, link("x.png", "", tarfile.FIFOTYPE), 1, ("x.png", "a pipe or a device")),
    "tar: a sparse file": (TAR, tar_of(("x.png", RED), pax_headers=SPARSE), 1, ("x.png", "a sparse file")),
    "zip: a link": (ZIP, zip_of((info("x.png", 0o120777), b"/etc/passwd")), 1, ("x.png", "a link")),
    "zip: a device": (ZIP, zip_of((info("x.png", 0o020666), b"")), 1, ("x.png", "a device")),
    # Damage.
    "tar: a damaged header": (TAR, patched(TAR_OF_TWO, b"blue.png", 0, b"\xff\xff"), 1, BEHIND_IS_LOST),
    "tar: cut off in a header": (TAR, TAR_OF_TWO[: 4 * BLOCK + 100], 1, BEHIND_IS_LOST),
    "tar: cut off in a picture": (TAR, TAR_OF_TWO[: 5 * BLOCK + 10], 1, ("blue.png", "the archive ends within it")),
    "tar: cut off between members": (TAR, TAR_OF_TWO[: 4 * BLOCK], 1, (TAR, "it has no end mark")),
    "tar: rubbish behind the end": (TAR, TAR_OF_TWO + b"rubbish" * 100, 2, BEHIND_IS_LOST),
    "tar.gz: cut off": (GZ, gzip.compress(TAR_OF_NOISE)[:-4000], 1, ("x.png", "the archive ends within it")),
    "tar.gz: rubbish behind the end": (GZ, gzip.compress(TAR_OF_TWO) + b"rubbish", 2, None),
    "zip: a program before it": (ZIP, b"#!/bin/sh\n" * 9 + ZIP_OF_TWO, 2, None),
    "zip: a damaged picture": (ZIP, patched(ZIP_OF_TWO, b"IDAT", 9, b"\0\0"), 2, ("blue.png", "damaged in")),
    "zip: a size that is a lie": (ZIP, directory(24, b"\1\0\0\0"), 1, ("blue.png", "blue.txt: damaged in the archive")),
    "zip: a place without a member": (ZIP, directory(42, b"\7\0\0\0"), 1, ("blue.txt", "overlaps")),
    "zip: a place behind the end": (ZIP, directory(42, b"\0\0\0\7"), 1, ("blue.png", "no member where its directory")),
    "zip: encrypted": (ZIP, directory(8, b"\1\0"), 1, ("blue.txt", "encrypted")),
    "zip: an unknown method": (ZIP, directory(10, b"\x62\0"), 1, ("blue.txt", "compressed with ppmd")),
    "zip: another method": (ZIP, zip_of((info("x.png", method=zipfile.ZIP_LZMA), RED)), 1, ("x.png", "lzma")),
    # Headers that lie.
    "tar: a negative size": (TAR, header("x.png", -1024) + tar_of(), 0, ("x.png", "the archive ends within it")),
    "tar: a size that leads back": (TAR, ONE + header("x.png", -3 * BLOCK), 1, BEHIND_IS_LOST),
    "tar: a negative header": (TAR, ONE + header("x", -1024, tarfile.XHDTYPE), 1, BEHIND_IS_LOST),
    "tar: a huge size": (TAR, header("x.png", 1 << 62) + tar_of(), 0, ("x.png", "the archive ends within it")),
    "tar: a name of 4 GB": (TAR, ONE + header("x", 1 << 32, tarfile.GNUTYPE_LONGNAME), 1, BEHIND_IS_LOST),
    "tar: a header of digits": (TAR, ONE + header("x", 8192, tarfile.XHDTYPE) + DIGITS + TWO, 1, BEHIND_IS_LOST),
    "tar: a header of 64 KB": (TAR, ONE + header("x", 65536, tarfile.XHDTYPE) + COMMENT + TWO, 1, BEHIND_IS_LOST),
    "tar: headers without end": (TAR, ONE + (header("x", 512, tarfile.XGLTYPE) + GLOBAL) * 999, 1, BEHIND_IS_LOST),
    # Texts and metadata in archives.
    "a caption of nothing": (TAR, blue_and("txt", b""), 1, ("blue.png", "no caption: blue.txt has none")),
    "a caption of zeros": (TAR, blue_and("txt", bytes(5000)), 1, ("blue.png", "no caption: blue.txt has none")),
    "a caption of a megabyte": (TAR, blue_and("txt", b"word " * 300_000), 2, None),
    "a caption that is no UTF-8": (TAR, blue_and("txt", b"sch\xf6n"), 2, None),
    "a caption that is damaged": (ZIP, patched(ZIP_OF_TWO, b"all blue", 0, b"A"), 1, ("blue.png", "txt: damaged in")),
    "JSON that is none": (TAR, blue_and("json", b"{"), 1, ("blue.png", "blue.json is not JSON")),
    "JSON nested without end": (TAR, blue_and("json", b"[" * 100_000), 1, ("blue.png", "blue.json is not JSON")),
    "a class of nothing": (TAR, blue_and("cls", b"\n"), 1, ("blue.png", "no caption")),
    "a class with broken JSON": (TAR, blue_and("cls", b"3", ("blue.json", b"{")), 2, None),
    "metadata that climbs": (ZIP, zip_of(("metadata.csv", ROW + b"../x.png,x\n")), 1, ("metadata.csv:2", "not inside")),
    "metadata of what is not there": (ZIP, zip_of(("metadata.csv", ROW + b"x.png,x\n")), 1, ("x.png", "no such file")),
}  # fmt: skip


def open_archive(path, tmp_path):
    return Archive(config_of(path, cache_dir=str(tmp_path / "cache")), [path])


@pytest.mark.parametrize("case", CASES)
def test_a_bad_archive_costs_what_is_bad_in_it(tmp_path, case):
    name, data, usable, expected = CASES[case]
    path = tmp_path / name
    path.write_bytes(data)
    records, skipped = open_archive(path, tmp_path).records(None)
    reasons = [(s.file, s.reason) for s in skipped]
    assert len(records) == usable, reasons
    for record in records:
        try:
            assert record.image.read() == png(record.file.removesuffix(".png"))
        except ValueError as error:
            reasons.append((record.file, str(error)))
    if expected:
        assert [file for file, reason in reasons if file == expected[0] and expected[1] in reason], reasons
    else:
        assert not reasons


NOT_ARCHIVES = {
    "nothing": (TAR, b"", "empty file"),
    "text called .tar": (TAR, b"this is not a tar archive. " * 50, "not a tar archive"),
    "a picture called .tar": (TAR, png(), "not a tar archive"),
    "text called .zip": (ZIP, b"neither is this", "not a zip archive"),
    "a zip without its end": (ZIP, zip_of()[:-40], "not a zip archive"),
    "a zip whose directory lies": (
        ZIP,
        patched(zip_of(), b"PK\5\6", 12, b"\xff\xff\xff\x7f"),
        "zip archive",
    ),
    "a zip with a damaged directory": (ZIP, patched(zip_of(), b"PK\1\2", 0, b"XXXX"), "not a zip archive"),
    "a gzip of text": ("x.tar.gz", gzip.compress(b"not a tar" * 100), "not a tar archive"),
    "a gzip of rubbish": ("x.tar.gz", b"\x1f\x8b" + b"\xff" * 100, "damaged"),
    "zstd": ("x.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(100), "unpack it"),
    "a header without a checksum": (TAR, header("x", 5)[:148] + b"0" * 364 + bytes(1024), "not a tar archive"),
    "a first header too long": (TAR, header("x", 1 << 40, tarfile.XHDTYPE), "not a tar archive"),
}


@pytest.mark.parametrize("case", NOT_ARCHIVES)
def test_what_is_no_archive_is_said(tmp_path, case):
    name, data, reason = NOT_ARCHIVES[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} cannot be read: .*{reason}"):
        open_archive(tmp_path / name, tmp_path).splits()
    # Beside good ones it costs no more than itself.
    make_tar(tmp_path / "good.tar", pairs("lime"))
    both = Archive(config_of(tmp_path, cache_dir=str(tmp_path / "cache")), [tmp_path / name, tmp_path / "good.tar"])
    records, skipped = both.records(None)
    assert [r.file for r in records] == ["good.tar/lime.png"] and [s.file for s in skipped] == [name]


def test_members_that_share_data_are_refused(tmp_path):
    # A "better zip bomb" (Fifield 2019): many members of one stretch of bytes.
    data = zip_of()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("red.png").header_offset
    (tmp_path / ZIP).write_bytes(patched(data, b"PK\1\2", 42, struct.pack("<I", start)))
    members, skipped = zip_members(tmp_path / ZIP)
    assert len(members) == 1 and skipped[0].reason.startswith("overlaps")


def test_a_member_that_claims_little_and_holds_much_is_not_unpacked(tmp_path):
    path = make_zip(tmp_path / ZIP, {"x.png": bytes(50_000_000)})
    (member,) = zip_members(path)[0].values()
    tracemalloc.start()
    with pytest.raises(ValueError, match="damaged in the archive: size"):
        replace(member, size_bytes=100).read()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000
    with pytest.raises(ValueError, match="too big"):
        replace(member, size_bytes=1 << 40).read()


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "RATIO_COUNTS_FROM_BYTES", 1 << 20)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_of(("x.png", bytes(20_000_000)))))
    with pytest.raises(UserError, match="a bomb: it unpacks to more than 200 times its size"):
        open_archive(path, tmp_path).splits()
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "LEAVE_FREE_BYTES", 1 << 60)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_of()))
    with pytest.raises(UserError, match=r"config\.data\.cache_dir to a folder with more room"):
        open_archive(path, tmp_path).splits()
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    folder = tmp_path / "cache" / "unpacked"
    folder.mkdir(parents=True)
    (folder / "old.tar.1.unfinished").write_bytes(b"x")
    (folder / "new.tar.2.unfinished").write_bytes(b"x")
    os.utime(folder / "old.tar.1.unfinished", (1, 1))
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_of()))
    open_archive(path, tmp_path).splits()
    left = {file.name for file in folder.iterdir()}
    assert "old.tar.1.unfinished" not in left and "new.tar.2.unfinished" in left and len(left) == 2


def test_archives_are_files_inside_the_folder(tmp_path):
    outside = make_tar(tmp_path / "outside" / "x.tar", pairs("blue"))
    inside = make_tar(tmp_path / "data" / "a.tar", pairs("red"))
    (tmp_path / "data" / "b.tar").symlink_to(outside)
    os.mkfifo(tmp_path / "data" / "c.tar")
    (tmp_path / "data" / "d.tar").symlink_to("/dev/zero")
    files = sorted((tmp_path / "data").glob("*.tar"))
    records, skipped = Archive(config_of(tmp_path / "data"), files).records(None)
    assert [record.captions for record in records] == [("all red",)]
    reasons = {s.file: s.reason for s in skipped}
    assert "leads out" in reasons["b.tar"] and "a pipe" in reasons["c.tar"] and "leads out" in reasons["d.tar"]
    follow = Archive(config_of(tmp_path / "data", follow_links=True), files)
    assert (
        len(follow.records(None)[0]) == 2 and "a device" in {s.file: s.reason for s in follow.records(None)[1]}["d.tar"]
    )
    with pytest.raises(UserError, match="a pipe"):
        Archive(config_of(tmp_path / "data" / "c.tar"), [tmp_path / "data" / "c.tar"]).splits()
    inside.unlink()
    with pytest.raises(UserError, match="there is no such file"):
        Archive(config_of(inside), [inside]).splits()


def test_a_bad_archive_of_several_does_not_stop_the_others(tmp_path):
    make_zip(tmp_path / "a.zip", {"metadata.csv": "no,columns,of,use\n1,2,3,4\n", "x.png": png()})
    make_zip(tmp_path / "b.zip", pairs("blue"))
    files = [tmp_path / "a.zip", tmp_path / "b.zip"]
    records, skipped = Archive(config_of(tmp_path), files).records(None)
    assert [r.file for r in records] == ["b.zip/blue.png"] and skipped[0].file == "a.zip"
    with pytest.raises(UserError, match=r"metadata\.csv"):
        Archive(config_of(files[0]), files[:1]).records(None)


def test_listing_an_archive_keeps_no_headers(tmp_path):
    path = make_tar(tmp_path / TAR, [(f"{i:06d}.png", b"x") for i in range(2000)])
    tracemalloc.start()
    members, _ = tar_members(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(members) == 2000 and peak_bytes < 2000 * 400  # 220 a place; with the headers of `tarfile`, 570


# Anything at all


def check_anything(path, tmp_path):
    """Opens what may be anything, and reads all that it says it has."""
    try:
        source = open_archive(path, tmp_path)
        source.splits()
    except UserError:
        return
    records, _ = source.records(None)
    for record in records:
        assert record.image.path == str(path) or record.image.path.startswith(str(tmp_path / "cache"))
        try:
            record.image.read()
        except (ValueError, OSError) as error:
            assert str(error)


GOOD = {
    "x.tar": tar_of(*BLUE),
    "y.tar": tar_of(("ü" * 120 + ".png", RED), ("c.cls", b"3"), ("c.png", RED)),
    "x.zip": zip_of(*BLUE, ("metadata.jsonl", b'{"file_name": "blue.png", "text": "x"}')),
    "x.tar.gz": gzip.compress(tar_of(*BLUE)),
}
ANYTHING = settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANYTHING
@given(data=st.binary(max_size=2000), start=st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]))
def test_any_bytes(tmp_path, data, start):
    path = tmp_path / "any.tar"
    path.write_bytes(start + data)
    check_anything(path, tmp_path)


@ANYTHING
@given(
    name=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 1 << 16)),
)
def test_any_change_of_a_good_archive(tmp_path, name, changes, cut):
    data = bytearray(GOOD[name])
    for at, value in changes:
        data[at % len(data) : at % len(data) + len(value)] = value
    path = tmp_path / name
    path.write_bytes(bytes(data)[: cut and cut % len(data)])
    check_anything(path, tmp_path)


@ANYTHING
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(
                [b"path", b"size", b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.major", b"hdrcharset"]
            ),
            st.one_of(st.integers(-(1 << 70), 1 << 70).map(lambda n: b"%d" % n), st.binary(max_size=20)),
            st.integers(-3, 3),
        ),
        max_size=6,
    )
)
def test_any_extended_header(tmp_path, fields):
    body = b""
    for key, value, error in fields:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + len(str(len(rest) + 2))
        body += b"%d" % max(0, length + error) + rest
    padded = body + bytes(-len(body) % BLOCK)
    path = tmp_path / "pax.tar"
    path.write_bytes(header("x", len(body), tarfile.XHDTYPE) + padded + tar_of(*BLUE))
    check_anything(path, tmp_path)
