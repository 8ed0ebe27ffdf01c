"""The verbs that edit pictures: what they write, the recipe in it, and what is refused in a line."""

from pathlib import Path

import numpy as np
import pytest
from gifs import shown_ms
from PIL import Image
from tiny import random_snapshot

from t2igan.inference.editing import Codes, inversion
from t2igan.inference.editing.inversion import Effort
from t2igan.inference.pictures import enlarge, read_facts, save_png
from t2igan.inference.sample import from_snapshot
from t2igan.inference.snapshot import save_snapshot

HAT, HATLESS = "a person with a red hat and a blue top", "a person with a blue top"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a picture that it drew, twice enlarged, masks, and what is no picture."""
    path = tmp_path_factory.mktemp("editing")
    snapshot = random_snapshot([HAT, HATLESS])
    save_snapshot(path / "model.safetensors", snapshot)
    save_snapshot(path / "mlp.safetensors", random_snapshot([HAT, HATLESS], {"generator.kind": "mlp"}))
    picture = from_snapshot(snapshot).sample(HAT, seed=1)
    save_png(path / "me.png", enlarge(picture, 2)[0])
    mask = np.zeros((32, 32, 1), np.uint8)
    mask[16:] = 255
    save_png(path / "mask.png", mask)
    save_png(path / "empty.png", np.zeros_like(mask))
    save_png(path / "small.png", mask[:20])
    (path / "notes.png").write_text("not a picture")
    return path


@pytest.fixture
def run(folder, monkeypatch, console):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(inversion.QUALITIES, "good", Effort(2, 1, 1))
    monkeypatch.setitem(inversion.COMPLETIONS, "good", Effort(2, 1, 0))

    def call(*words, code=0):
        done = console(words[0], "--workdir=model.safetensors", *words[1:])
        assert done.returncode == code
        return done.stderr if code else done.stdout

    return call


def pixels(path):
    return np.asarray(Image.open(path))


def test_completing_keeps_bytes_and_the_recipe(run):
    words = ("complete", "--image=me.png", "--mask=mask.png", f"--prompt={HAT}", "--seed=3", "--scale=1")
    run(*words, "--out=a.png")
    run(*words, "--out=b.png")
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    before = pixels("me.png")[::2, ::2]
    np.testing.assert_array_equal(pixels("a.png")[:8], before[:8])
    assert (pixels("a.png")[8:] != before[8:]).any()
    facts = read_facts(Path("a.png"))
    assert (
        facts.items() >= {"verb": "complete", "prompt": HAT, "seed": 3, "mask": "mask.png", "image": "me.png"}.items()
    )
    said = run("complete", "--image=me.png", "--pad=2,4,6,4", f"--prompt={HAT}", "--num=2", "--out=versions")
    facts = read_facts(Path("versions/00001_seed1.png"))
    assert facts["pad"] == [2, 4, 6, 4] and facts["diversity_levels"] > 0
    assert f"they differ by {facts['diversity_levels']:.1f} levels of 255" in said


def test_masks_that_hide_all_or_half_of_it_are_taken(run):
    for name, level in (("all", 255), ("soft", 128)):
        save_png(Path(f"{name}.png"), np.full((16, 16, 1), level, np.uint8))
        run(
            "complete", "--image=me.png", f"--mask={name}.png", f"--prompt={HAT}", "--scale=1", f"--out={name}_done.png"
        )
    drawn, mixed, before = pixels("all_done.png"), pixels("soft_done.png"), pixels("me.png")[::2, ::2]
    between = (mixed >= np.minimum(before, drawn)) & (mixed <= np.maximum(before, drawn))
    assert between.mean() > 0.9 and (mixed != before).any()


def test_a_prompt_that_contradicts_what_is_visible_is_called_so(run):
    """Or a picture of anything else: what is visible cannot be drawn, and the one who asks is told how badly it is."""
    save_png_of_noise()
    said = run("complete", "--image=noise.png", "--pad=2,2,2,2", f"--prompt={HATLESS}", "--out=n.png")
    assert "noise.png: what is visible is drawn to" in said and "is unlike what this model draws" in said


def test_edits_variations_mixes_and_codes(run):
    said = run("edit", "--image=me.png", f"--caption={HAT}", f"--prompt={HATLESS}", "--negative=hat", "--out=e.png")
    assert "me.png: reproduced to" in said and "of the pixels" in said
    assert (
        read_facts(Path("e.png")).items()
        >= {"verb": "edit", "caption": HAT, "prompt": HATLESS, "negative": "hat"}.items()
    )
    assert pixels("e.png").shape == (128, 128, 3)
    said = run("vary", "--image=me.png", f"--caption={HAT}", "--strength=0.25", "--num=2", "--out=v.png")
    assert read_facts(Path("v.png")).items() >= {"strength": 0.25, "seeds": [0, 1]}.items()
    assert "they differ by" in said and read_facts(Path("v.png"))["diversity_levels"] > 0
    said = run("mix", f"--prompt={HAT}", f"--prompt={HATLESS}", "--frames=3", "--out=m.gif")
    assert "3 frames, there and back, in m.gif" in said
    assert shown_ms(Image.open("m.gif")) == 4 * 120
    pytest.importorskip("av")
    said = run("mix", f"--prompt={HAT}", f"--prompt={HATLESS}", "--frames=3", "--out=m.mp4")
    assert "3 frames, there and back, in m.mp4" in said and Path("m.mp4").read_bytes()[4:8] == b"ftyp"
    run("mix", f"--prompt={HAT}", f"--prompt={HATLESS}", "--levels=3", "--out=l.png")
    assert read_facts(Path("l.png")).items() >= {"levels": 3, "captions": [HAT, HATLESS]}.items()
    run("invert", "--image=me.png", f"--caption={HAT}", "--out=c.npz")
    assert Codes.load(Path("c.npz")).captions == (HAT,)


def test_a_picture_that_is_far_off_is_called_so(run):
    save_png_of_noise()
    said = run("invert", "--image=noise.png", f"--caption={HAT}", "--out=n.npz")
    assert "is unlike what this model draws" in said


def save_png_of_noise():
    save_png(Path("noise.png"), np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))


P, C = f"--prompt={HAT}", f"--caption={HAT}"
REFUSED = {
    "mask of another size": (["complete", "--image=me.png", "--mask=small.png", P], "has 32x20 pixels"),
    "empty mask": (["complete", "--image=me.png", "--mask=empty.png", P], "hides nothing"),
    "mask that is none": (["edit", "--image=me.png", "--mask=notes.png", P, C], "mask notes.png cannot be used"),
    "neither mask nor pad": (["complete", "--image=me.png", P], "give either --mask=FILE or --pad"),
    "mask and pad": (["complete", "--image=me.png", "--mask=mask.png", "--pad=1,1,1,1", P], "give either"),
    "pad of three": (["complete", "--image=me.png", "--pad=1,1,1", P], "must be four whole numbers"),
    "pad of two signs": (["complete", "--image=me.png", "--pad=--3,1,1,1", P], "must be four whole numbers"),
    "pad of a superscript": (["complete", "--image=me.png", "--pad=\u00b2,1,1,1", P], "must be four whole numbers"),
    "scale below 0": (["vary", "--image=me.png", f"--caption={HAT}", "--scale=-1"], "--scale=-1 must be 0 or more"),
    "pad of words": (["complete", "--image=me.png", "--pad=a,b,c,d", P], "must be four whole numbers"),
    "pad too large": (["complete", "--image=me.png", "--pad=8,8,8,8", P], "leaves nothing"),
    "no picture": (["vary", "--image=notes.png", C], "notes.png cannot be used: not a picture"),
    "no such file": (["vary", "--image=gone.png", C], "gone.png"),
    "strength too large": (["vary", "--image=me.png", "--strength=1.5", C], "--strength=1.5 must lie between 0 and 1"),
    "strength below 0": (["vary", "--image=me.png", "--strength=-1", C], "--strength=-1.0 must lie between 0 and 1"),
    "no caption": (["edit", "--image=me.png", P], "add the phase 'caption' to config.phases"),
    "no prompt": (["edit", "--image=me.png", C], "--prompt is missing"),
    "brackets": (["edit", "--image=me.png", C, "--prompt=a (red hat:1.3"], "is not closed"),
    "one picture": (["mix", "--image=me.png", C], "takes 2 pictures"),
    "pictures and prompts": (["mix", "--image=me.png", "--image=me.png", P, C], "either two pictures"),
    "frame_ms": (["mix", P, P, "--frame_ms=5", "--out=m.gif"], "--frame_ms=5 must lie between 20 and 60000"),
    "video of no kind": (["mix", P, P, "--out=m.webm"], "--out=m.webm must end in .gif or .mp4 or .png"),
    "levels": (["mix", P, P, "--levels=99"], "levels=99 must lie between 0 and 8"),
    "frames": (["mix", P, P, "--frames=1"], "frames=1 must be 2 or more"),
    "captions": (["invert", "--image=me.png", "--image=me.png", *[C] * 3], "2 pictures and 3 captions"),
    "ending": (["invert", "--image=me.png", C, "--out=c.png"], "--out=c.png must end in .npz"),
    "no image": (["vary", C], "--image is given 0 times"),
    "no captioner": (["describe", "--image=me.png"], "add the phase 'caption' to config.phases"),
    "weights in a sample": (["sample", "--prompt=a hat:1.3) b"], "no bracket is open"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said_in_a_line_or_two(run, name):
    words, says = REFUSED[name]
    said = run(*words, code=2)
    assert says in said
    assert len(said.strip().splitlines()) <= 2


def test_a_generator_without_styles_is_refused(folder, monkeypatch, console):
    monkeypatch.chdir(folder)
    done = console("vary", "--workdir=mlp.safetensors", "--image=me.png", C)
    assert done.returncode == 2 and "config.generator.kind='residual'" in done.stderr
