"""Frames as GIF and MP4: how many, how large, how long; and what is said where a library is missing."""

import builtins
import io
import json

import numpy as np
import pytest
from PIL import Image

from t2igan.errors import UserError
from t2igan.inference import animation

FACTS = {"verb": "mix", "captions": ["a réd hat"]}


@pytest.fixture
def frames():
    """Three pictures of one colour each."""
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in ((200, 30, 30), (30, 200, 30), (30, 30, 200))])


def test_a_gif_goes_there_and_back(frames, tmp_path):
    animation.save_animation(tmp_path / "some" / "a.gif", frames, 2, 100, FACTS)
    image = Image.open(tmp_path / "some" / "a.gif")
    assert (image.n_frames, image.size, image.info["duration"], image.info["loop"]) == (4, (32, 32), 100, 0)
    assert json.loads(image.info["comment"]) == FACTS
    image.seek(3)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[0, 0], [30, 200, 30])


@pytest.mark.parametrize(("channels", "scale", "size"), [(3, 9, 144), (1, 9, 144), (4, 9, 144), (3, 1, 16)])
def test_an_mp4_shows_the_frames_at_their_rate(frames, channels, scale, size, tmp_path):
    av = pytest.importorskip("av")
    if channels == 4:
        frames = np.concatenate([frames, np.full_like(frames[..., :1], 255)], axis=-1)
    animation.save_animation(tmp_path / "a.mp4", frames[..., :channels], scale, 100, FACTS)
    with av.open(io.BytesIO((tmp_path / "a.mp4").read_bytes())) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate)) == (size, size, 10.0)
        assert json.loads(container.metadata["comment"]) == FACTS
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 4 * animation.ROUNDS
    wanted = frames[1, 0, 0, :3] if channels > 1 else frames[1, 0, 0, 0]
    assert np.abs(shown[1][size // 2, size // 2].astype(int) - wanted).max() <= 8


def test_a_side_that_is_odd_becomes_even(frames, tmp_path):
    av = pytest.importorskip("av")
    animation.save_animation(tmp_path / "odd.mp4", frames[:, :15, :15], 1, 50, {})
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (16, 16)


def test_without_the_library_one_line_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_av(name, *arguments, **more):
        if name == "av":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)
    animation.check_can_write(tmp_path / "a.gif")
    with pytest.raises(UserError, match=r"pip install 't2igan\[video\]'") as error:
        animation.check_can_write(tmp_path / "a.mp4")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(builtins, "__import__", real)
    av = pytest.importorskip("av")
    monkeypatch.setattr(animation, "ENCODERS", ("no_such_encoder",))
    with pytest.raises(UserError, match="none of the encoders no_such_encoder"):
        animation.check_can_write(tmp_path / "a.mp4")
    assert av.codec.Codec("mpeg4", "w").name == "mpeg4"
