"""Editing: pictures and masks as they are given, codes found and kept, completed, edited, varied, mixed."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import random_snapshot

from t2igan.errors import UserError
from t2igan.inference.editing import (
    Codes,
    complete,
    compose,
    decoding_of,
    drawn_codes,
    edit,
    inversion,
    invert,
    mix,
    mix_styles,
    padded,
    read_mask,
    read_picture,
    vary,
)
from t2igan.inference.editing.changing import changed_places
from t2igan.inference.editing.composing import membrane
from t2igan.inference.editing.inversion import Effort, Target
from t2igan.inference.editing.mixing import caption_between, great_circle, steps_between
from t2igan.inference.pictures import enlarge, save_png, sheet
from t2igan.inference.sample import from_snapshot

HAT, HATLESS, HAIR = "a person with a red hat and a blue top", "a person with a blue top", "green hair"
SHORT = Effort(tries=2, noise_steps=2, offset_steps=3)


@pytest.fixture(scope="module")
def model():
    return from_snapshot(random_snapshot([HAT, HATLESS, HAIR]))


@pytest.fixture(scope="module")
def how(model):
    return decoding_of(model.config)


@pytest.fixture(scope="module")
def images(model):
    return model.sample([HAT, HATLESS], seed=[1, 2])


@pytest.fixture(scope="module")
def codes(model, images):
    return invert(model, images, [HAT, HATLESS], effort=SHORT)


def encoded(array, kind="PNG", **settings):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


def random_picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# Pictures and masks that are given.


@pytest.mark.parametrize("scale", [0, 3])
def test_the_only_picture_of_a_sheet_is_taken_out_of_it_and_of_several_none_is_guessed(tmp_path, how, images, scale):
    facts = {"prompts": [HAT], "seeds": [1], "scale": scale}
    save_png(tmp_path / "one.png", sheet(images[:1], [HAT], 1, scale), facts)
    np.testing.assert_array_equal(read_picture(tmp_path / "one.png", how).pixels, images[0])
    save_png(tmp_path / "two.png", sheet(images, [HAT], 2, scale), facts | {"seeds": [1, 2]})
    with pytest.raises(
        UserError, match=r"two\.png is a sheet of 2 pictures; give a single one: `t2igan sample --out=F"
    ):
        read_picture(tmp_path / "two.png", how)
    save_png(tmp_path / "cut.png", sheet(images[:1], [HAT], 1, scale)[:20], facts)
    with pytest.raises(UserError, match="is a sheet of 1 picture;"):
        read_picture(tmp_path / "cut.png", how)
    for prompts in (5, None, {}):  # a stranger's recipe
        save_png(tmp_path / "odd.png", sheet(images, ["", ""], 2, scale), facts | {"prompts": prompts})
        with pytest.raises(UserError, match="is a sheet of 1 picture;"):
            read_picture(tmp_path / "odd.png", how)


def test_the_picture_of_a_sheet_has_the_size_that_it_has_there(tmp_path, how, images):
    save_png(tmp_path / "one.png", sheet(images[:1], [HAT], 1, 4), {"prompts": [HAT], "seeds": [1], "scale": 4})
    given = read_picture(tmp_path / "one.png", how)
    assert given.size_px == (64, 64)
    smaller = read_picture(tmp_path / "one.png", dataclasses.replace(how, size_px=8))
    expected = read_picture(encoded(enlarge(images[:1], 4)[0]), dataclasses.replace(how, size_px=8))
    np.testing.assert_array_equal(smaller.pixels, expected.pixels)


@pytest.mark.parametrize("scale", [1, 2, 8, 16])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_picture_that_was_only_enlarged_comes_back_exactly(how, scale, kind):
    small = random_picture(16, 16, 3)
    given = read_picture(encoded(enlarge(small[None], scale)[0], kind), how)
    np.testing.assert_array_equal(given.pixels, small)
    assert given.size_px == (16 * scale, 16 * scale)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (random_picture(40, 70), "JPEG"),
        (random_picture(9, 5, 4), "PNG"),
        (random_picture(64, 64, 3), "WEBP"),
        (random_picture(200, 31).astype(bool), "PNG"),
        (random_picture(33, 32).astype(np.uint16), "TIFF"),
    ],
    ids=lambda x: x if isinstance(x, str) else str(x.shape),
)
def test_pictures_of_any_size_mode_and_format_are_taken(how, array, kind):
    given = read_picture(encoded(array, kind), how)
    assert (given.pixels.shape, given.pixels.dtype) == ((16, 16, 3), np.uint8)
    assert given.size_px == array.shape[1::-1]


def test_what_is_no_picture_is_named(how, tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    with pytest.raises(UserError, match=r"notes.png cannot be used: not a picture"):
        read_picture(text, how)
    with pytest.raises(UserError, match=r"gone.png: .*give the file of a picture"):
        read_picture(tmp_path / "gone.png", how)
    with pytest.raises(UserError, match="give the file of a picture"):
        read_picture(tmp_path, how)
    with pytest.raises(UserError, match="cannot be decoded"):
        read_picture(encoded(random_picture(64, 64, 3))[:200], how)


def test_masks_hide_what_is_white_or_transparent_and_mix_what_is_grey(how):
    given = read_picture(encoded(random_picture(32, 32, 3)), how)
    half = np.zeros((32, 32), np.uint8)
    half[:, 16:] = 255
    hidden = read_mask(encoded(half), given, how)
    assert hidden.shape == (16, 16, 1)
    np.testing.assert_array_equal(hidden[..., 0], np.arange(16)[None, :].repeat(16, 0) >= 8)
    see_through = np.dstack([random_picture(32, 32, 3), 255 - half])
    np.testing.assert_array_equal(read_mask(encoded(see_through), given, how), hidden)
    soft = read_mask(encoded(np.full((16, 16), 51, np.uint8)), given, how)
    np.testing.assert_allclose(soft, 0.2)
    assert read_mask(np.full((32, 32), 255, np.uint8), given, how).min() == 1


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (encoded(np.full((20, 32), 255, np.uint8)), "has 32x20 pixels, and the picture 64x32"),
        (encoded(np.zeros((32, 64), np.uint8)), "hides nothing"),
        (b"nothing", "not a picture"),
        (np.ones((16, 16), np.float32), "the mask is float32"),
    ],
)
def test_masks_that_cannot_be_are_said(how, mask, says):
    given = read_picture(encoded(random_picture(32, 64, 3)), how)
    with pytest.raises(UserError, match=says):
        read_mask(mask, given, how)


def test_padding_leaves_the_picture_where_it_was_asked_for(how):
    small = random_picture(8, 8, 3)
    given, hidden = padded(encoded(small), (2, 5, 6, 3), how)
    np.testing.assert_array_equal(given.pixels[5:13, 2:10], small)
    assert hidden.sum() == 16 * 16 - 8 * 8
    assert not hidden[5:13, 2:10].any()
    for pad, says in [
        ((0, 0, 0, 0), "not all 0"),
        ((-1, 1, 1, -1), "0 or more"),
        ((4, 0, 0, 0), "let left"),
        ((8, 8, 8, 8), "leaves nothing"),
    ]:
        with pytest.raises(UserError, match=says):
            padded(encoded(small), pad, how)


# What is put together.


def test_what_is_kept_stays_to_the_byte_and_the_seam_is_evened_out():
    image, drawn = random_picture(2, 16, 16, 3), np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), np.uint8)
    hidden = np.zeros((1, 16, 16, 1), np.float32)
    hidden[:, 4:12, 4:12] = 1
    hidden[:, 4, 4] = 0.25
    kept = np.broadcast_to(hidden == 0, image.shape)
    for seam_px in (None, 0.0, 3.0):
        made = compose(image, drawn, hidden, seam_px)
        np.testing.assert_array_equal(made[kept], image[kept])
    hard = compose(image, drawn, hidden)
    whole = np.broadcast_to(hidden == 1, image.shape)
    np.testing.assert_array_equal(hard[whole], drawn[whole])
    expected = np.rint(0.75 * image[:, 4, 4] + 0.25 * drawn[:, 4, 4])
    np.testing.assert_array_equal(hard[:, 4, 4], expected)
    # A drawing that is 40 levels too dark: the seam goes, and far inside the drawing is as it was.
    flat = np.full((1, 64, 64, 1), 100, np.uint8)
    hidden = (np.arange(64) >= 16).astype(np.float32)[None, None, :, None].repeat(64, 1)
    made = compose(flat, flat - 40, hidden)[0, 32, :, 0].astype(int)
    assert (np.diff(made) <= 0).all() and made[16] >= 85 and made[40] == 60


def test_a_membrane_solves_its_equation():
    known = np.zeros((1, 9, 9, 1), bool)
    known[:, :, 0] = True
    u = membrane(np.ones((1, 9, 9, 1)), known, reach_px=2.0)[0, :, :, 0]
    around = np.pad(u, 1, mode="edge")
    mean = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
    assert np.abs(4 * (mean - u) - u / 4)[:, 1:].max() < 0.02


# Codes.


def test_the_distance_counts_visible_pixels_alone():
    target = Target(jnp.zeros((1, 1, 2, 1)), jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1), None)
    images = jnp.array([0.5, 9.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(inversion.distance(images, target), [0.5 + 0.25], rtol=1e-5)


def test_searching_goes_downhill_and_leaves_what_a_rate_of_0_holds(model, images):
    from t2igan.inference.editing.inverting import encode_text
    from t2igan.nets import to_unit

    target = Target(to_unit(jnp.asarray(images)), jnp.ones((2, 16, 16, 1)), encode_text(model, [HAT, HATLESS]))
    networks, params = model.networks, model.params
    z = jax.random.normal(jax.random.key(0), (2, networks.z_dim))
    start = inversion.attempt(networks, params, inversion.nothing_yet(networks, 2), target, z)
    worse = inversion.attempt(networks, params, start, target, 9 * z)
    better = np.asarray(worse.loss) < np.asarray(start.loss)
    np.testing.assert_array_equal(worse.noise, np.where(better[:, None], 9 * z, z))
    found, state, losses = start, inversion.optimizer_state(start), []
    for _ in range(6):
        found, state = inversion.improve(networks, params, found, state, target, np.float32(0), np.float32(0.01))
        losses.append(found.loss)
    np.testing.assert_array_equal(found.noise, start.noise)
    np.testing.assert_allclose(losses[0], start.loss, rtol=1e-4)
    assert (losses[-1] < losses[0]).all()
    assert np.abs(found.offsets).max() > 0


def test_codes_are_each_pictures_own_and_hidden_pixels_do_not_count(model, images, codes):
    assert codes.noise.shape == (2, model.networks.z_dim)
    assert codes.styles.shape == codes.offsets.shape == (2, 8, 8)
    assert codes.captions == (HAT, HATLESS)
    assert codes.model == model.digest
    told = []
    visible = np.ones((2, 16, 16, 1), np.float32)
    visible[:, :4] = 0
    other = images.copy()
    other[:, :4] = 0
    seen = [
        invert(model, x, [HAT, HATLESS], effort=SHORT, visible=visible, progress=lambda *a: told.append(a))
        for x in (images, other)
    ]
    np.testing.assert_array_equal(seen[0].noise, seen[1].noise)
    np.testing.assert_array_equal(seen[0].psnr_db, seen[1].psnr_db)
    assert told[len(told) // 2 - 1] == told[-1] == (SHORT.total, SHORT.total)


def test_codes_are_kept_in_a_file(codes, tmp_path):
    codes.save(tmp_path / "some.npz")
    again = Codes.load(tmp_path / "some.npz")
    for name in ("noise", "styles", "offsets", "psnr_db"):
        np.testing.assert_array_equal(getattr(again, name), getattr(codes, name))
    assert (again.captions, again.model) == (codes.captions, codes.model)
    assert again[1:].captions == (HATLESS,)
    np.savez(tmp_path / "other.npz", noise=np.zeros(3))
    (tmp_path / "text.npz").write_text("text")
    for name in ("other.npz", "text.npz", "gone.npz"):
        with pytest.raises(UserError, match=f"{name} holds no codes"):
            Codes.load(tmp_path / name)


# What is done with them.


def test_drawn_codes_are_what_sample_draws(model, images):
    of = drawn_codes(model, [HAT, HATLESS], [1, 2])
    still = vary(model, of[:1], 0.0)
    assert np.abs(still.astype(int) - images[:1]).max() <= 1
    frames = mix(model, of[:1], of[1:], num=3)
    assert np.abs(frames[[0, 2]].astype(int) - images).max() <= 1
    uses = of.styles.shape[1]
    assert np.abs(mix_styles(model, of[:1], of[1:], uses).astype(int) - images[:1]).max() <= 1
    assert np.abs(mix_styles(model, of[:1], of[1:], 0).astype(int) - images[:1]).max() > 1


def test_variations_differ_by_seed_and_more_by_strength(model):
    of = drawn_codes(model, HAT, 1)
    near, far = (vary(model, of, strength, num=4, seed=7).astype(int) for strength in (0.1, 1.0))
    drawn = vary(model, of, 0.0).astype(int)
    assert np.abs(far - drawn).mean() > np.abs(near - drawn).mean() > 0
    assert np.abs(far[0] - far[1]).max() > 1
    np.testing.assert_array_equal(vary(model, of, 1.0, num=4, seed=7), far)
    for strength in (-0.1, 1.5):
        with pytest.raises(UserError, match=r"strength=.* must lie between 0 and 1"):
            vary(model, of, strength)


def test_completing_keeps_what_is_visible_to_the_byte_and_seeds_differ(model, images, monkeypatch):
    from t2igan.inference.editing import completing

    monkeypatch.setitem(completing.COMPLETIONS, "good", Effort(1, 1, 0))
    hidden = np.zeros((16, 16, 1), np.float32)
    hidden[8:] = 1
    hidden[7, :4] = 0.5
    made = complete(model, images[0], hidden, HAT, num=2, seed=5)
    kept = np.broadcast_to(hidden == 0, images[0].shape)
    for version in made:
        np.testing.assert_array_equal(version[kept], images[0][kept])
    assert np.abs(made[0].astype(int) - made[1]).max() > 1
    other = images[0].copy()
    other[8:] = 0
    np.testing.assert_array_equal(complete(model, other, hidden, HAT, num=2, seed=5)[:, 8:], made[:, 8:])
    whole = complete(model, images[0], np.ones_like(hidden), HAT, num=2)  # a caption drawn
    assert np.isfinite(whole).all() and whole.std() > 1
    for wrong in (np.zeros_like(hidden), hidden[:8], hidden[..., 0]):
        with pytest.raises(UserError, match=r"hidden is .* not all 0"):
            complete(model, images[0], wrong, HAT)


def test_an_edit_changes_what_the_caption_changes_and_nothing_for_the_same_caption(model, images, codes):
    same = edit(model, images[0], HAT, caption=HAT, codes=codes[:1])
    np.testing.assert_array_equal(same.image, images[0])
    assert not same.hidden.any()
    changed = edit(model, images[0], f"(green:1.2) {HAIR}", caption=HAT, codes=codes[:1])
    kept = np.broadcast_to(changed.hidden == 0, images[0].shape)
    assert changed.hidden.any()
    np.testing.assert_array_equal(changed.image[kept], images[0][kept])
    mask = np.zeros((16, 16, 1), np.float32)
    mask[:3] = 1
    inside = edit(model, images[0], HAIR, caption=HAT, hidden=mask, codes=codes[:1]).image
    np.testing.assert_array_equal(inside[3:], images[0][3:])
    assert (inside[:3] != images[0][:3]).any()


def test_where_a_caption_changes_a_picture():
    before = np.zeros((6, 8, 8, 3), np.uint8)
    after = before.copy()
    after[:, 0, :4, 1] = 200  # in all drawings
    after[:, 1, :4, 1] = 40  # little, beside that
    after[0, 2] = 200  # in the picture alone
    after[1:, 3] = 200  # in all but the picture
    after[:3, 4] = 200  # in two of five others
    wanted = np.zeros((8, 8, 1), np.float32)
    wanted[0, :4] = wanted[1, :4] = 1
    np.testing.assert_array_equal(changed_places(before, after), wanted)
    after[:, 1, :4, 1] = 31  # never less than 32 of 255 beside such a change ...
    assert not changed_places(before, after)[1:].any()
    after[:, 0, :4, 1] = 0  # ... but it counts where nothing else changes as much, down to 10
    assert changed_places(before, after)[1, :4].all()
    after[:, 1, :4, 1] = 9
    assert not changed_places(before, after).any()


def test_only_drawings_that_have_what_the_picture_has_are_asked_what_becomes_of_it():
    before = np.full((8, 4, 4, 3), 250, np.uint8)
    after = before.copy()
    before[:4, 0] = 100  # a hairdo that three of seven others have, each of a shade of its own
    before[1:4, 0] += np.array([0, 15, 30], np.uint8)[:, None, None]
    after[:4, 0] = 20
    before[:3, 1], after[:3, 1] = 100, 20  # one that only two of them have
    before[:, 2], after[:, 2] = 100, 100
    after[0, 2] = 20  # all have it, and it changes in the picture alone
    wanted = np.zeros((4, 4, 1), np.float32)
    wanted[0] = 1
    np.testing.assert_array_equal(changed_places(before, after), wanted)
    before[3, 0] = 140  # the third is another
    assert not changed_places(before, after).any()


def test_what_does_not_fit_the_model_is_said(model, images, codes):
    import dataclasses

    strange = dataclasses.replace(codes[:1], model="0" * 12)
    for call, says in [
        (lambda: vary(model, strange, 0.5), "codes are of the model 000000000000"),
        (lambda: vary(model, codes, 0.5), "codes of 2 pictures"),
        (lambda: mix(model, codes[:1], codes[1:], num=1), "frames=1 must be 2 or more"),
        (lambda: mix_styles(model, codes[:1], codes[1:], 99), "levels=99 must lie between 0 and 8"),
        (lambda: invert(model, images[:, :8], HAT), r"this model's are uint8 \[N, 16, 16, 3\]"),
        (lambda: invert(model, images / 255, HAT), "pictures are float64"),
        (lambda: invert(model, images, [HAT] * 3), "2 pictures but 3 captions"),
        (lambda: invert(model, images, HAT, "god"), "quality='god' is none of 'fast', 'good', 'best'"),
    ]:
        with pytest.raises(UserError, match=says):
            call()


def test_captions_change_one_difference_at_a_time():
    assert steps_between("a red hat and a blue top", "a green hat and a pink top") == [
        "a red hat and a blue top",
        "a green hat and a blue top",
        "a green hat and a pink top",
    ]
    assert steps_between("a  hat", "a hat") == ["a  hat"]
    middle = caption_between("a red hat and a blue top", "a green hat and a pink top", 0.5)
    assert middle.caption == "a green hat and a blue top"
    quarter = caption_between("a red hat and a blue top", "a green hat and a pink top", 0.125)
    assert quarter.shares == (0.75, 0.25)
    assert quarter.read == ("a red hat and a blue top",)


def test_the_great_circle_keeps_lengths():
    one, other = np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])
    np.testing.assert_allclose(great_circle(one, other, 0.5), [[3 / 2**0.5, 3 / 2**0.5]], rtol=1e-6)
    np.testing.assert_allclose(great_circle(one, other, 0.0), one)
    np.testing.assert_allclose(great_circle(one, 2 * one, 0.25), [[2.5, 0]])
    np.testing.assert_allclose(great_circle(one, 0 * one, 0.5), [[1, 0]], atol=1)
