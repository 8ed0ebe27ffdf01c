"""Provenance: what files say of how they were made, and what of that can be checked."""

import io
import json
import stat

import numpy as np
import pytest
from commands import run_verb
from PIL import Image
from tiny import random_snapshot

import t2igan
from t2igan.errors import UserError
from t2igan.inference.pictures import enlarge, read_facts, save_png, sheet
from t2igan.inference.provenance import EDITED, GENERATED, picture_bytes, read_claims
from t2igan.inference.signatures import make_keys, sign, signed
from t2igan.inference.snapshot import save_snapshot
from t2igan.inference.verify import verify

FACTS = {"prompt": 'grüne <Haare> & "Hut" 🎩 \x01', "seed": 3, "t2igan": "1", "model": "0" * 12}
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.mark.parametrize(("form", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_says_how_it_was_made(tmp_path, form, ending, channels):
    path = tmp_path / f"x.{ending}"
    path.write_bytes(picture_bytes(PICTURE[..., :channels], form, FACTS))
    claims = read_claims(path)
    kept = FACTS if form == "PNG" else FACTS | {"prompt": FACTS["prompt"]}
    assert (claims.form, claims.size_px, claims.source_type) == (form, (16, 16), GENERATED)
    assert claims.tool == "t2igan 1"
    assert claims.facts == kept == read_facts(path)
    plain = len(picture_bytes(PICTURE[..., :channels], form))
    assert path.stat().st_size - plain < 1_200  # bytes; docs/trust.md


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_other_programs_find_the_source_type(form):
    """Pillow's own reader, where `defusedxml` is there, or the text as it stands."""
    raw = picture_bytes(PICTURE, form, FACTS, EDITED)
    with Image.open(io.BytesIO(raw)) as picture:
        picture.load()
        packet = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"].encode()
    assert b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in packet


def test_a_picture_that_was_not_drawn_says_nothing(tmp_path):
    save_png(tmp_path / "data.png", PICTURE)
    assert read_claims(tmp_path / "data.png").source_type == ""
    assert "nothing of how it was made" in verify(tmp_path / "data.png").lines[0]


def test_a_recipe_that_a_jpeg_cannot_hold_is_left_out(tmp_path):
    (tmp_path / "x.jpg").write_bytes(picture_bytes(PICTURE, "JPEG", {"prompts": ["red cap"] * 10_000}))
    claims = read_claims(tmp_path / "x.jpg")
    assert claims.source_type == GENERATED and claims.facts == {}


DAMAGE = {
    "recipe no JSON": ("t2igan", "{"),
    "recipe a list": ("t2igan", "[1]"),
    "recipe of brackets": ("t2igan", "[" * 200_000),
    "recipe of 2 MB": ("t2igan", json.dumps({"prompt": "x" * 2_000_000})),
    "XMP no XML": ("XML:com.adobe.xmp", "<x"),
    "XMP that grows": ("XML:com.adobe.xmp", '<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><l>&b;</l>'),
    "XMP of 2 MB": ("XML:com.adobe.xmp", "<x>" + "y" * 2_000_000 + "</x>"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_claims_count_as_none(tmp_path, kind):
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_itxt(*DAMAGE[kind], zip=True)
    Image.fromarray(PICTURE).save(tmp_path / "x.png", pnginfo=info)
    try:
        claims = read_claims(tmp_path / "x.png")
    except UserError as error:  # Pillow refuses texts of more than 1 MB
        assert "2 MB" in kind and "no picture that can be opened" in str(error)
    else:
        assert claims.facts == {} and claims.source_type == ""


@pytest.mark.parametrize("raw", [b"", b"x" * 100, picture_bytes(PICTURE, "PNG", FACTS)[:200]])
def test_what_is_no_picture_is_explained(tmp_path, raw):
    (tmp_path / "x.png").write_bytes(raw)
    with pytest.raises(UserError, match="no picture that can be opened"):
        verify(tmp_path / "x.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_snapshot(folder / "snapshot.safetensors", random_snapshot(["a red cap", "green hair"]))
    return folder, t2igan.load(folder)


def drawn(run, path, form="PNG", change=None, **more):
    model = run[1]
    image = enlarge(model.sample("red", seed=5), 2)[0].copy()
    if change:
        change(image)
    facts = {"model": model.digest, "prompt": "red", "seed": 5, "truncation": 1.0, "guidance": 1.0} | more
    path.write_bytes(picture_bytes(image, form, facts))


def test_a_picture_is_drawn_again_from_its_recipe(run, tmp_path):
    drawn(run, tmp_path / "x.png")
    found = verify(tmp_path / "x.png", run[1])
    assert "the same in every pixel" in found.lines[-1] and not found.failed
    drawn(run, tmp_path / "x.webp", "WEBP")
    assert "levels of 255 away" in verify(tmp_path / "x.webp", run[1]).lines[-1]
    assert "which anybody can write; with --workdir" in verify(tmp_path / "x.png").lines[-1]


def test_a_picture_that_was_changed_fails(run, tmp_path):
    drawn(run, tmp_path / "x.png", change=lambda image: image[:4, :4].__iadd__(9))
    found = verify(tmp_path / "x.png", run[1])
    assert found.failed and "1.6% of its pixels are others" in found.lines[-1]
    drawn(run, tmp_path / "y.png", seed=6)
    assert verify(tmp_path / "y.png", run[1]).failed


@pytest.mark.parametrize(
    ("facts", "words", "failed"),
    [
        ({"model": "other"}, "names the model 'other'", False),
        ({"prompt": 7}, "a prompt that is no text", True),
        ({"seed": "x"}, "a seed that is no whole number", True),
        ({"prompts": ["a"] * 100, "seeds": [1]}, "not one of 1 to 64", False),
        ({"truncation": 1e9}, "truncation=", True),
        ({"negative": 5}, "a negative prompt that is no text", True),
        ({"prompts": ["a"], "seed": 1}, "not checked", False),
        ({"prompts": ["a"], "seeds": [1] * 64, "scale": 64}, "smaller than the sheet", False),
        ({"prompts": ["a"] * 64, "seeds": [1], "scale": 2, "layout": "row"}, "smaller than the sheet", False),
        ({"prompts": ["red"], "seeds": [5], "scale": 2, "layout": "row", "dtype": ["int8"]}, "every pixel", False),
    ],
)
def test_recipes_of_strangers_do_no_harm(run, tmp_path, facts, words, failed):
    drawn(run, tmp_path / "x.png", **facts)
    found = verify(tmp_path / "x.png", run[1])
    assert words in found.lines[-1] and found.failed == failed


def test_a_sheet_is_drawn_again(run, tmp_path):
    model = run[1]
    images = model.sample(["red", "red", "hair", "hair"], [1, 2, 1, 2])
    facts = {"model": model.digest, "prompts": ["red", "hair"], "seeds": [1, 2], "scale": 2}
    save_png(tmp_path / "x.png", sheet(images, ["red", "hair"], 2, 2), facts)
    assert "the same in every pixel" in verify(tmp_path / "x.png", model).lines[-1]


@pytest.mark.parametrize(("said", "failed"), [({"dtype": "int8"}, False), ({"dtype": "float32"}, True)])
def test_rounded_weights_draw_other_pixels_and_nothing_is_said_against_them(run, tmp_path, said, failed):
    drawn(run, tmp_path / "x.png", change=lambda image: image[:4, :4].__ixor__(9), truncation=1, **said)
    found = verify(tmp_path / "x.png", run[1])
    words = (
        "of its pixels are others" if failed else "levels of 255 away (mean; it says that an export with int8 weights"
    )
    assert words in found.lines[-1] and found.failed == failed


def test_a_snapshot_is_signed_beside_the_file(run, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes((run[0] / "snapshot.safetensors").read_bytes())
    private, public, fingerprint = make_keys(tmp_path / "mine")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600 and b"PRIVATE" not in public.read_bytes()
    assert signed(path).state == "none"
    assert verify(path, trusted=public).failed and not verify(path).failed
    assert sign(path, private) == (tmp_path / "x.safetensors.sig", fingerprint)
    assert signed(path, public) == signed(path) and signed(path).state == "valid"
    found = verify(path, trusted=public)
    assert not found.failed and fingerprint in found.lines[0]
    assert any("hash of its weights" in line for line in found.lines)
    _, other, _ = make_keys(tmp_path / "other")
    assert signed(path, other).state == "invalid"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    changed = verify(path)
    assert changed.failed and "the file is another one" in changed.lines[0] and "does not load" in changed.lines[-1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"public_key": 7}', '{"public_key": "AAAA", "signature": "AAAA"}'])
def test_damaged_signatures_are_invalid(tmp_path, text):
    (tmp_path / "x").write_bytes(b"file")
    (tmp_path / "x.sig").write_text(text)
    assert signed(tmp_path / "x").state == "invalid"


def test_keys_are_never_overwritten_and_passwords_count(tmp_path):
    private, public, _ = make_keys(tmp_path / "mine", "secret")
    with pytest.raises(UserError, match="not overwritten"):
        make_keys(tmp_path / "mine")
    public.unlink()
    with pytest.raises(UserError, match="not overwritten"):
        make_keys(tmp_path / "mine")
    (tmp_path / "x").write_bytes(b"file")
    with pytest.raises(UserError, match="password"):
        sign(tmp_path / "x", private)
    with pytest.raises(UserError, match="no private key"):
        sign(tmp_path / "x", tmp_path / "x")
    assert sign(tmp_path / "x", private, "secret")


def test_the_commands_make_keys_sign_and_verify(run, tmp_path, capsys):
    def command(*words):
        run_verb(*words)
        return capsys.readouterr().out

    path = tmp_path / "x.safetensors"
    path.write_bytes((run[0] / "snapshot.safetensors").read_bytes())
    drawn(run, tmp_path / "x.png")
    assert "fingerprint" in command("keys", f"--out={tmp_path / 'mine'}")
    assert "signed by the key" in command("keys", f"--sign={path}", f"--key={tmp_path / 'mine.key'}")
    said = command(
        "verify", str(path), str(tmp_path / "x.png"), f"--key={tmp_path / 'mine.pub'}", f"--workdir={run[0]}"
    )
    assert "unchanged since" in said and "the same in every pixel" in said
    with pytest.raises(UserError, match=r"1 of 2 files did not pass: .*nowhere"):
        command("verify", str(path), str(tmp_path / "nowhere.png"))
    for words in (["verify"], ["keys"], ["keys", f"--sign={path}"]):
        with pytest.raises(UserError):
            command(*words)
