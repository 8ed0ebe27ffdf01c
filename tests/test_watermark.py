"""The watermark: there or not, found after what pictures go through, refused where it cannot be."""

import io
import stat

import numpy as np
import pytest
from commands import run_verb
from PIL import Image
from tiny import random_snapshot

import t2igan
from benchmarks.watermark import CHANGES
from t2igan.errors import UserError
from t2igan.inference.pictures import enlarge, save_png
from t2igan.inference.snapshot import save_snapshot
from t2igan.inference.verify import verify
from t2igan.inference.watermark import PSNR_DB, Secret, find, make_secret, mark, read_secret

SECRET, OTHER = Secret(bytes(range(32))), Secret(bytes(32))


def drawing(seed=0, px=64):
    """Shapes of flat colours on white with soft noise, as generators draw them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:px, :px] / px
    image = np.full((px, px, 3), 255.0)
    for _ in range(6):
        inside = (x - random.uniform()) ** 2 + (y - random.uniform()) ** 2 < random.uniform(0.02, 0.1)
        image[inside] = random.integers(0, 256, 3)
    return np.clip(image + random.normal(0, 1.5, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("px", [64, 96, 128])
def test_a_marked_picture_looks_the_same_and_is_found(px):
    image = drawing(px=px)
    marked = mark(image[None], SECRET)[0]
    error = ((marked.astype(float) - image) ** 2).mean()
    assert 10 * np.log10(255**2 / error) == pytest.approx(PSNR_DB, abs=0.5)
    found = find(marked, SECRET)
    assert found.there and found.how == "in place" and found.by_chance <= 0.002 and found.score > 5
    assert not find(image, SECRET).there and not find(marked, OTHER).there


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ("JPEG 75", "in place"),
        ("twice as large, then JPEG 75", "in place"),
        ("resized to 3/4", "in place"),
        ("mirrored", "mirrored"),
        ("cut to 0.8 of its sides", "cut"),
    ],
)
def test_it_outlives_what_pictures_go_through(change, how):
    marked = mark(drawing(1)[None], SECRET)[0]
    changed = np.asarray(CHANGES[change](Image.fromarray(marked), np.random.default_rng(0)))
    found = find(changed, SECRET)
    assert found.there and found.how == how


def test_few_pictures_without_it_seem_to_have_it():
    """Ranks among other secrets are even, whatever the picture; of 20 at 0.5 %, two are a chance of 1 in 200."""
    secrets = [Secret(np.random.default_rng(seed).bytes(32)) for seed in range(20)]
    found = [find(drawing(seed % 4), secret, also_cut=False) for seed, secret in enumerate(secrets)]
    assert sum(one.there for one in found) < 2
    assert 0.5 < np.mean([one.by_chance > 0.5 for one in found]) < 0.95  # 0.75 expected


def test_transparency_stays_and_grey_works():
    image = np.concatenate([drawing(2), np.full((64, 64, 1), 255, np.uint8)], -1)
    image[:, :24] = 0
    marked = mark(image[None], SECRET)[0]
    np.testing.assert_array_equal(marked[..., 3], image[..., 3])
    assert marked[:, :24].max() == 0 and find(marked, SECRET).there
    grey = drawing(3)[..., :1]
    assert find(mark(grey[None], SECRET)[0], SECRET).there


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 300, 3), (64, 64, 1), (3, 3, 4)])
def test_pictures_of_any_shape_and_of_one_colour_are_looked_at(shape):
    assert not find(np.full(shape, 255, np.uint8), SECRET).there


def test_small_pictures_are_refused():
    with pytest.raises(UserError, match="32 px, and a watermark wants 64 px"):
        mark(np.zeros((1, 32, 32, 3), np.uint8), SECRET)


def test_the_pattern_is_the_same_for_ever():
    """Whoever marked pictures last year finds them this year."""
    marked = mark(np.full((1, 64, 64, 3), 128, np.uint8), SECRET)[0]
    assert marked[0, :8, 0].tolist() == [129, 131, 130, 128, 126, 125, 126, 126]


def test_secrets_are_kept(tmp_path):
    path, secret = make_secret(tmp_path / "mine")
    assert read_secret(path) == secret and stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UserError, match="not overwritten"):
        make_secret(tmp_path / "mine")
    for text in ("", "x", "t2igan watermark 1\nzz", "t2igan watermark 1\n" + "00" * 31):
        (tmp_path / "bad.mark").write_text(text)
        with pytest.raises(UserError, match="no secret of a watermark"):
            read_secret(tmp_path / "bad.mark")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model of 64 px and one of 16 px."""
    folder = tmp_path_factory.mktemp("run")
    large = {"data.image_size_px": 64, "generator.base_px": 16}
    save_snapshot(folder / "large.safetensors", random_snapshot(["a red cap", "green hair"], large))
    save_snapshot(folder / "small.safetensors", random_snapshot(["a red cap", "green hair"]))
    return folder


def test_the_commands_mark_and_find(run, tmp_path, capsys):
    run_verb("keys", f"--out={tmp_path / 'mine'}", "--kind=watermark")
    secret = f"--watermark={tmp_path / 'mine.mark'}"
    large = run / "large.safetensors"
    (tmp_path / "prompts.txt").write_text("red\n")
    sharded = ["--shard=0/1", f"--prompts={tmp_path / 'prompts.txt'}"]
    with pytest.raises(UserError, match="--shard draws without --watermark"):
        run_verb("sample", f"--workdir={large}", secret, *sharded, f"--out={tmp_path / 'shards'}")
    for words, message in (
        ([f"--workdir={large}", f"--out={tmp_path / 'x.png'}"], "marks pictures, not sheets"),
        ([f"--workdir={run / 'small.safetensors'}", f"--out={tmp_path / 'y'}"], "16 px, and a watermark wants 64 px"),
    ):
        with pytest.raises(UserError, match=message):
            run_verb("sample", "--prompt=red", secret, *words)
    run_verb("sample", f"--workdir={large}", "--prompt=red", secret, f"--out={tmp_path / 'drawn'}")
    capsys.readouterr()
    (drawn,) = (tmp_path / "drawn").iterdir()
    run_verb("verify", str(drawn), secret)
    assert "is in it (in place)" in capsys.readouterr().out
    model = t2igan.load(large)
    known = verify(drawn, model, secret=read_secret(tmp_path / "mine.mark"))
    assert "the same in every pixel" in known.lines[-1] and not known.failed
    unknown = verify(drawn, model)
    assert "it says that it has the watermark" in unknown.lines[-1] and not unknown.failed


def test_what_was_never_marked_is_not_found(tmp_path):
    save_png(tmp_path / "x.png", enlarge(drawing()[None], 2)[0])
    assert any("was not found" in line for line in verify(tmp_path / "x.png", secret=SECRET).lines)


def test_a_server_marks_what_it_gives_away_and_refuses_small_models(run):
    from t2igan.inference.serving.encoding import Encoder
    from t2igan.inference.serving.models import open_models
    from t2igan.inference.serving.service import Service
    from t2igan.inference.serving.settings import Settings

    file = Encoder(SECRET).file(drawing(4), 128, "jpeg", 90, {"prompt": "red"})
    with Image.open(io.BytesIO(file)) as picture:
        assert find(np.asarray(picture), SECRET).there
    with pytest.raises(UserError, match="the model small draws 16 px"):
        Service(open_models([run / "small.safetensors"]), Settings(watermark=SECRET))
