"""Content credentials (C2PA): valid, trusted, changed, taken out, and what is none."""

import base64
import io
import stat

import numpy as np
import pytest
from commands import run_verb
from PIL import Image
from served import Gated, run_folder, running

from benchmarks import credentials as measured
from t2igan.cli import serve
from t2igan.cli.parse import named, parse
from t2igan.errors import UserError
from t2igan.inference import credentials
from t2igan.inference.credentials import make_certificate, read_credentials, read_signer
from t2igan.inference.pictures import save_png
from t2igan.inference.provenance import picture_bytes, read_claims
from t2igan.inference.serving.models import open_models
from t2igan.inference.verify import verify

pytest.importorskip("c2pa")

FACTS = {"prompt": "red", "seed": 1, "t2igan": "1", "model": "0" * 12, "c2pa": True}
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A signer, its root, and the root of another one."""
    folder = tmp_path_factory.mktemp("keys")
    private, root = make_certificate(folder / "mine")
    return private, root, make_certificate(folder / "other", "somebody")[1]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_signing_keeps_pixels_and_recipe(keys, form):
    raw = picture_bytes(PICTURE, form, FACTS)
    signed = read_signer(keys[0]).signed(raw, form, "trainedAlgorithmicMedia", "1")
    assert read_claims(io.BytesIO(signed)) == read_claims(io.BytesIO(raw))
    before, after = (np.asarray(Image.open(io.BytesIO(one))) for one in (raw, signed))
    np.testing.assert_array_equal(before, after)
    assert b"trainedAlgorithmicMedia" in signed


@pytest.mark.parametrize("side", [16, 512])
def test_what_the_benchmark_measures_is_at_most_4_kb(keys, side):
    """Whatever the size of the picture and of its recipe."""
    picture, facts = PICTURE.repeat(side // 16, 0).repeat(side // 16, 1), FACTS | {"prompt": side * "red "}
    for form, raw in measured.files(picture, facts).items():
        assert 0 < measured.more_bytes(read_signer(keys[0]), raw, form) <= 4_096


def test_a_signed_picture_is_valid_and_trusted_by_who_knows_its_root(keys, tmp_path):
    save_png(tmp_path / "x.png", PICTURE, FACTS, signer=read_signer(keys[0]))
    anybody = verify(tmp_path / "x.png")
    assert not anybody.failed
    assert any("of 't2igan test certificate' hold" in line and "t2igan 1" in line for line in anybody.lines)
    assert any("not checked: who that is" in line for line in anybody.lines)
    known = verify(tmp_path / "x.png", roots=keys[1])
    assert not known.failed and any("comes from" in line for line in known.lines)
    unknown = verify(tmp_path / "x.png", roots=keys[2])
    assert unknown.failed and any("it is untrusted" in line for line in unknown.lines)


def test_one_changed_byte_is_seen(keys, tmp_path):
    """A pixel is changed where the file stays a picture: WebP and PNG would not even open."""
    raw = picture_bytes(PICTURE, "JPEG", FACTS)
    signed = bytearray(read_signer(keys[0]).signed(raw, "JPEG", "trainedAlgorithmicMedia", "1"))
    signed[-30] ^= 1
    (tmp_path / "x.jpg").write_bytes(bytes(signed))
    found = read_credentials(tmp_path / "x.jpg", "JPEG")
    assert found.state == "invalid" and "changed after it was signed (assertion.dataHash.mismatch)" in found.why
    assert verify(tmp_path / "x.jpg").failed


def test_what_is_taken_out_is_missed_where_the_recipe_is_left(keys, tmp_path):
    save_png(tmp_path / "x.png", PICTURE, FACTS, signer=read_signer(keys[0]))
    (tmp_path / "stripped.png").write_bytes(picture_bytes(PICTURE, "PNG", FACTS))
    found = verify(tmp_path / "stripped.png")
    assert found.failed and any("they were taken out" in line for line in found.lines)
    with Image.open(tmp_path / "x.png") as picture:
        picture.save(tmp_path / "saved.png")
    saved = verify(tmp_path / "saved.png")
    assert saved.lines[0].startswith("says: nothing of how it was made") and not saved.failed


def test_words_that_look_like_credentials_are_none(tmp_path):
    save_png(tmp_path / "x.png", PICTURE, FACTS | {"c2pa": False, "prompt": "jumb c2pa"})
    assert read_credentials(tmp_path / "x.png", "PNG").state == "none"


def test_a_reader_that_dies_or_hangs_is_a_line(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"jumb c2pa")
    for program in ("import os; os.abort()", "print('no JSON')"):
        monkeypatch.setattr(credentials, "_READER", program)
        assert read_credentials(tmp_path / "x.png", "PNG").state == "unreadable"
    monkeypatch.setattr(credentials, "READ_S", 0.2)
    monkeypatch.setattr(credentials, "_READER", "import time; time.sleep(60)")
    assert read_credentials(tmp_path / "x.png", "PNG").state == "unreadable"


def test_without_the_library_it_is_said(keys, tmp_path, monkeypatch):
    save_png(tmp_path / "x.png", PICTURE, FACTS, signer=read_signer(keys[0]))

    def missing():
        raise UserError("content credentials need a package: pip install 't2igan[c2pa]'")

    monkeypatch.setattr(credentials, "_library", missing)
    assert read_credentials(tmp_path / "x.png", "PNG").state == "unread"
    assert any("not checked: it has content credentials" in line for line in verify(tmp_path / "x.png").lines)


def test_keys_that_are_none_are_explained(keys, tmp_path, monkeypatch):
    private, root, other = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600 and b"PRIVATE" not in root.read_bytes()
    (tmp_path / "mixed.pem").write_bytes(private.read_bytes().split(b"-----BEGIN CERT")[0] + other.read_bytes())
    (tmp_path / "none.pem").write_bytes(b"x")
    for path, words in (
        (root, "must hold a private key"),
        (tmp_path / "none.pem", "must hold a private key"),
        (tmp_path / "mixed.pem", "of another private key"),
        (tmp_path / "nowhere.pem", "cannot be read"),
    ):
        with pytest.raises(UserError, match=words):
            read_signer(path)
    with pytest.raises(UserError, match="not overwritten"):
        make_certificate(private.with_name("mine"))
    no_use = credentials._certificate
    monkeypatch.setattr(credentials, "_certificate", lambda *given: no_use(*given[:4], True))  # all of them are roots
    refused, _ = make_certificate(tmp_path / "refused")
    monkeypatch.undo()
    with pytest.raises(UserError, match="cannot be written as 't2igan test certificate'"):
        read_signer(refused)
    locked, _ = make_certificate(tmp_path / "locked", password="secret")
    with pytest.raises(UserError, match="password"):
        read_signer(locked)
    assert read_signer(locked, "secret").algorithm == "es256"
    with pytest.raises(UserError, match="holds no certificate"):
        read_credentials(root, "PNG", tmp_path / "none.pem")


def test_a_server_signs_what_it_draws_in_every_form(keys, tmp_path):
    catalogue = Gated(list(open_models([run_folder(tmp_path)]).values()))
    catalogue.gate.set()
    with running(catalogue, signer=read_signer(keys[0])) as server:
        server.when_ready()
        for form in ("png", "jpeg", "webp"):
            body = {"prompt": "a red cap", "output_format": form}
            status, _, answer = server.ask("POST", "/v1/images/generations", body)
            assert status == 200, answer
            raw = base64.b64decode(answer["data"][0]["b64_json"])
            claims = read_claims(io.BytesIO(raw))
            assert claims.facts["c2pa"] is True and claims.source_type == "trainedAlgorithmicMedia"
            (tmp_path / form).write_bytes(raw)
            if form == "png":  # a reader is a process of its own
                assert read_credentials(tmp_path / form, "PNG", keys[1]).state == "trusted"
            else:
                assert b"jumb" in raw
        again = server.ask("GET", answer["data"][0]["url"].partition(server.url)[2])[2]
        assert b"jumb" in again and read_claims(io.BytesIO(again)).facts == claims.facts


def test_a_server_says_at_once_what_is_wrong_with_a_certificate(keys, tmp_path, monkeypatch):
    verb = named("serve")
    settings = lambda: serve.settings_of(serve.resolve(parse(verb, ["--workdir=x"])))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("T2IGAN_SERVE_C2PA", str(keys[0]))
    assert settings().signer.name == "t2igan test certificate"
    monkeypatch.setenv("T2IGAN_SERVE_C2PA", str(tmp_path / "nowhere.pem"))
    with pytest.raises(UserError, match=r"nowhere\.pem cannot be read"):
        settings()
    monkeypatch.setenv("T2IGAN_SERVE_C2PA", str(keys[1]))
    with pytest.raises(UserError, match="must hold a private key"):
        settings()


def test_the_command_makes_a_certificate(tmp_path, capsys):
    run_verb("keys", f"--out={tmp_path / 'a'}", "--kind=certificate", "--name=Studio X")
    assert "nobody trusts this root" in capsys.readouterr().out
    assert read_signer(tmp_path / "a.c2pa.pem").name == "Studio X"
    with pytest.raises(UserError, match="--name='x' is for a certificate"):
        run_verb("keys", f"--out={tmp_path / 'b'}", "--name=x")
