"""Transparency as a fourth channel: from files through the networks' range and every space to transparent PNG."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageCms
from tiny import in_space, random_snapshot, shrink

from configs import base
from t2igan import Dataset, UserError, load, nets
from t2igan.cli.sample import save_files
from t2igan.config.checks import check
from t2igan.data import alpha, open_datasets, split_names
from t2igan.data.alike import same_picture, signature
from t2igan.data.decode import Decoding, decode, read_picture
from t2igan.data.summary import transparency
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.evaluate import evaluate
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.report.images import data_uri, lit
from t2igan.inference.drawing import to_bytes
from t2igan.inference.editing.composing import compose
from t2igan.inference.pictures import cut_sheet, gif_bytes, save_png, sheet
from t2igan.inference.serving.encoding import Encoder
from t2igan.inference.serving.links import Recipe
from t2igan.inference.snapshot import save_snapshot
from t2igan.method import automatic, phases
from t2igan.method.techniques.augment import augment
from t2igan.nets import patches
from t2igan.training import plan
from t2igan.training.distributed import parallel
from t2igan.training.train import train


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data, size_px: int, channels: int = 4, **how) -> np.ndarray:
    return decode(data, Decoding(size_px, channels, **how))[0]


def partial(num: int = 3, size: int = 16) -> np.ndarray:
    """Pictures of every alpha and colour, black where nothing is seen."""
    random = np.random.default_rng(0)
    return alpha.clean(random.integers(0, 256, (num, size, size, 4)).astype(np.uint8))


# Files.


def test_every_kind_of_transparency_is_read():
    clear = Image.new("RGBA", (8, 8), (200, 30, 10, 0))
    clear.paste((10, 200, 30, 255), (0, 0, 4, 8))
    expected = np.zeros((8, 8, 4), np.uint8)
    expected[:, :4] = (10, 200, 30, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.paste(1, (0, 0, 4, 8))
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    keyed.paste((10, 200, 30), (0, 0, 4, 8))
    files = {
        "PNG": encoded(clear), "WebP": encoded(clear, "WEBP", lossless=True, exact=True),
        "palette": encoded(palette, transparency=0), "GIF": encoded(palette, "GIF", transparency=0),
        "key": encoded(keyed, transparency=(1, 2, 3)), "array": np.asarray(clear),
    }  # fmt: skip
    for name, data in files.items():
        read = read_picture(data, Decoding(8, 4))
        np.testing.assert_array_equal(read.pixels, expected, name)
        assert read.is_transparent and read_picture(data, Decoding(8, 3)).is_transparent, name
    grey = Image.new("LA", (8, 8), (90, 40))
    assert (pixels(encoded(grey), 8) == (90, 90, 90, 40)).all()


def test_opaque_pictures_have_an_alpha_of_255_and_only_what_is_added_is_transparent():
    red = Image.new("RGB", (8, 4), (200, 60, 30))
    files = [encoded(red), encoded(red.convert("CMYK"), "TIFF"), np.asarray(red), encoded(red.convert("RGBA"))]
    for data in files:
        read = read_picture(data, Decoding(8, 4))
        assert not read.is_transparent and (read.pixels[..., 3] == 255).all()
        padded = pixels(data, 8, resize="pad")
        assert (padded[2:6, :, 3] == 255).all() and (padded[[0, 1, 6, 7]] == 0).all()
        assert abs(padded[4, 4, :3].astype(int) - (200, 60, 30)).max() <= 2
    deep = np.full((8, 8), 128 * 257, np.uint16)
    assert (pixels(encoded(Image.fromarray(deep)), 8) == (128, 128, 128, 255)).all()


def test_what_is_mixed_is_premultiplied():
    """A white disc on transparent black keeps its white to the last fringe; goldens for halves of two pixels."""
    disc = np.zeros((96, 96, 4), np.uint8)
    y, x = np.indices((96, 96)) - 47.5
    disc[y**2 + x**2 < 40**2] = 255
    for resample in ("lanczos", "area", "auto"):
        small = pixels(encoded(Image.fromarray(disc)), 20, resample=resample)
        fringe = small[(small[..., 3] > 0) & (small[..., 3] < 255)]
        assert len(fringe) > 20 and fringe[:, :3].min() >= 254, resample
        assert (small[small[..., 3] == 0] == 0).all()
    # Red seen by half and green seen whole: the mean of what is seen is (64, 128, 0) at 191, so (85, 170, 0).
    pair = np.array([[[255, 0, 0, 128], [0, 255, 0, 255]]] * 2, np.uint8)
    np.testing.assert_allclose(pixels(pair, 1, resample="area").ravel(), (85, 170, 0, 192), atol=1)
    # Nearest neighbour mixes nothing, and leaves every colour as it is.
    faint = np.full((4, 4, 4), (255, 7, 1, 1), np.uint8)
    assert (pixels(faint, 8) == (255, 7, 1, 1)).all() and (pixels(faint, 4) == (255, 7, 1, 1)).all()


def test_a_profile_changes_colours_and_not_alpha():
    from test_data_decode import swapped_primaries

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    half = Image.new("RGBA", (8, 8), (200, 60, 30, 100))
    got = pixels(encoded(half, icc_profile=swapped_primaries(srgb)), 8)[0, 0]
    opaque = pixels(encoded(half.convert("RGB"), icc_profile=swapped_primaries(srgb)), 8, 3)[0, 0]
    np.testing.assert_array_equal(got[:3], opaque)
    assert got[3] == 100 and got[2] > got[0]


def test_three_channels_are_what_four_look_like_on_the_background():
    picture = partial(1, 64)[0]
    for background in ((255, 255, 255), (10, 200, 30)):
        four = pixels(encoded(Image.fromarray(picture)), 16, resample="area")
        three = pixels(encoded(Image.fromarray(picture)), 16, 3, resample="area", background=background)
        assert np.abs(alpha.composited(four, background).astype(int) - three).max() <= 2


# The networks' range.


def test_a_picture_goes_through_the_range_of_the_networks_and_a_file_to_a_level(tmp_path):
    networks = nets.build(with_alpha(shrink(base.get_config())), 300)
    images = partial()
    x = networks.to_network({}, jnp.asarray(images))
    assert float(x.min()) >= -1 and float(x.max()) <= 1
    assert (np.asarray(x)[images[..., 3] == 0] == -1).all()
    back = np.asarray(to_bytes(networks.to_pixels({}, x)))
    assert np.abs(back.astype(int) - images).max() <= 1
    save_png(tmp_path / "a.png", back[0])
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written), back[0])
    again = decode((tmp_path / "a.png").read_bytes(), Decoding(16, 4))[0]
    np.testing.assert_array_equal(again, back[0])


def test_golden_values_of_the_range():
    """alpha 51 of 255 is 0.2, so colour 255 becomes 0.2 of the way from -1 to 1; and back."""
    x = nets.to_unit(jnp.asarray([[[[255, 0, 102, 51]]]], jnp.uint8))
    np.testing.assert_allclose(np.ravel(x), [-0.6, -1, -0.84, -0.6], atol=1e-6)
    np.testing.assert_allclose(np.ravel(x), np.ravel(alpha.in_unit(np.array([[[[255, 0, 102, 51]]]], np.uint8))), 1e-6)
    np.testing.assert_array_equal(np.ravel(to_bytes(x)), [255, 0, 102, 51])
    # More colour than alpha is no colour: it is cut. Alpha that rounds to nothing leaves nothing.
    wild = jnp.asarray([[[[1.0, -3.0, 0.0, 0.0]]], [[[1.0, 1.0, 1.0, -0.999]]]])
    np.testing.assert_array_equal(np.reshape(to_bytes(wild), (2, 4)), [[255, 0, 254, 128], [0, 0, 0, 0]])


def test_pictures_without_transparency_are_scaled_as_ever():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(
        nets.to_unit(jnp.asarray(images)), jnp.asarray(images).astype(jnp.float32) / 127.5 - 1
    )
    np.testing.assert_array_equal(alpha.in_unit(images), images.astype(np.float64) / 127.5 - 1)


def test_measures_of_the_data_are_of_what_the_networks_see():
    images = partial(64, 8)
    x = np.asarray(nets.to_unit(jnp.asarray(images)), np.float64)
    assert automatic.total_variance(images) == pytest.approx(x.var(0).sum(), rel=1e-5)
    params = patches.fit(images, 2, 16)  # all components: nothing is lost
    assert patches.reconstruction_variance(params, x) < 1e-8


# Augmentation.


def test_augmenting_opaque_pictures_is_augmenting_their_colours():
    random = np.random.default_rng(0)
    colours = jnp.asarray(random.uniform(-1, 1, (6, 8, 8, 3)), jnp.float32)
    opaque = jnp.concatenate([colours, jnp.ones((6, 8, 8, 1))], -1)
    key, kinds = jax.random.key(0), ("flip", "translate", "scale", "rotate", "colour")
    changed = augment(key, opaque, 0.7, kinds, alpha=True)
    plain = augment(key, colours, 0.7, kinds)
    np.testing.assert_allclose(changed[..., :3], plain, atol=2e-5)
    np.testing.assert_allclose(changed[..., 3], 1, atol=1e-6)


def test_augmented_colours_stay_within_what_is_seen():
    x = nets.to_unit(jnp.asarray(partial(8)))
    same = augment(jax.random.key(1), x, 0.0, ("colour", "cutout", "rotate"), alpha=True)
    np.testing.assert_array_equal(same, x)
    changed = augment(jax.random.key(1), x, 1.0, ("colour",), alpha=True)
    np.testing.assert_array_equal(changed[..., 3], x[..., 3])
    unseen = np.asarray(x)[..., 3] == -1
    np.testing.assert_allclose(np.asarray(changed)[unseen], -1, atol=1e-6)
    assert float(jnp.abs(changed - x).max()) > 0.2
    # Two alphas of one colour are that colour still: what changes a colour does not ask how much of it is seen.
    pair = nets.to_unit(jnp.asarray([[[[200, 40, 90, 255], [200, 40, 90, 90]]] * 2], jnp.uint8))
    after = np.asarray(augment(jax.random.key(3), pair, 1.0, ("colour",), alpha=True))[0, 0]
    straight = (after[:, :3] + 1) / (after[:, 3:] + 1)
    np.testing.assert_allclose(straight[0], straight[1], atol=1e-5)
    cut = augment(jax.random.key(2), x, 1.0, ("cutout",), alpha=True)
    assert (np.asarray(cut)[np.asarray(cut != x).any(-1)] == -1).all() and bool((cut != x).any())


# What is looked at, and what measures.


def test_sheets_and_reports_show_a_checkerboard():
    images = np.zeros((2, 16, 16, 4), np.uint8)
    images[1, 4:12, 4:12] = (255, 0, 0, 255)
    picture = sheet(images, [""], columns=2)
    assert picture.shape[-1] == 3
    clear, disc = cut_sheet(picture, [""], 2, 16)
    assert (clear[:2, :2] == 255).all() and (clear[:2, 2:4] == 204).all() and (clear[2:4, :2] == 204).all()
    assert (disc[4:12, 4:12] == (255, 0, 0)).all() and set(np.unique(clear)) == {204, 255}
    np.testing.assert_array_equal(alpha.on_checkerboard(images[0]), clear)
    assert data_uri(images[0]).startswith("data:image/png") and lit(images[1], np.ones((4, 4)), 1.0).shape[-1] == 3
    opaque = np.full((1, 4, 4, 3), 9, np.uint8)
    assert alpha.on_checkerboard(opaque) is opaque


def test_extractors_see_pictures_on_the_background(tmp_path):
    config = with_alpha(shrink(base.get_config()))
    images = partial(24)
    captions = [f"number {i}" for i in range(24)]
    four = Dataset.from_arrays(images, captions, channels=4)
    three = Dataset.from_arrays(alpha.composited(images, config.data.background), captions)
    tokenizer = Tokenizer.train(captions, 300, 16)
    of_four = FeatureExtractors(config, four, tokenizer, tmp_path)
    of_three = FeatureExtractors(config, three, tokenizer, tmp_path)
    assert of_four.by_name["probe"]._train.images.shape == (24, 16, 16, 3)
    np.testing.assert_array_equal(
        of_four.extract("pixels", images).features, of_three.extract("pixels", three.images).features
    )
    seen = of_four.extract_split("pixels", four, np.arange(5)).features
    np.testing.assert_array_equal(seen, of_three.extract_split("pixels", three, np.arange(5)).features)
    assert of_four.check(images) is images
    with pytest.raises(ValueError, match="must be uint8"):
        of_four.check(images[..., :3])
    with config.unlocked():
        config.data.background = (0, 0, 0)
    assert FeatureExtractors(config, four, tokenizer, tmp_path).train_hash != of_four.train_hash


def test_white_icons_are_different_pictures_and_copies_are_not():
    icons = np.zeros((4, 32, 32, 4), np.uint8)
    icons[0, :16], icons[1, :, :16], icons[2, 8:24, 8:24] = 255, 255, 255
    icons[3] = np.where(icons[2] > 0, 254, 0)  # once more, a level off
    signatures = np.stack([signature(icon) for icon in icons])
    content = np.arange(64, dtype=np.uint8).reshape(4, 16)
    np.testing.assert_array_equal(same_picture(content, signatures), [0, 1, 2, 2])


def test_what_is_kept_and_what_is_drawn_are_mixed_by_what_is_seen():
    """Half of nothing and half of white is white that is half seen, not grey."""
    nothing, white = np.zeros((1, 40, 40, 4), np.uint8), np.full((1, 40, 40, 4), 255, np.uint8)
    hidden = np.full((1, 40, 40, 1), 0.5, np.float32)
    mixed = compose(nothing, white, hidden, seam_px=0)
    assert (mixed[..., :3] >= 254).all() and abs(mixed[..., 3].astype(int) - 128).max() <= 1
    hidden[:, :20] = 0
    np.testing.assert_array_equal(compose(partial(1, 40), white, hidden)[:, :20], partial(1, 40)[:, :20])


def test_files_that_know_no_transparency_are_on_white_or_refused():
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[4:12, 4:12] = (255, 0, 0, 255)
    recipe = lambda form: Recipe("m", "a", seed=0, truncation=1.0, guidance=1.0, px=32, form=form, quality=95)
    for form, mode in (("png", "RGBA"), ("webp", "RGBA"), ("jpeg", "RGB")):
        with Image.open(io.BytesIO(Encoder().drawn(picture, recipe(form)))) as served:
            assert served.mode == mode and served.size == (32, 32)
            if form == "jpeg":
                assert np.asarray(served)[0, 0].min() > 250
    with Image.open(io.BytesIO(gif_bytes(np.stack([picture, picture[::-1]]), 50))) as moving:
        assert moving.n_frames >= 1


# The data.


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, of which eight are transparent in places, with captions."""
    for i in range(12):
        picture = Image.new("RGBA", (20, 20), (20 * i, 40, 200, 0 if i < 8 else 255))
        picture.paste((250, 20 * i, 0, 255), (2 + i % 3, 2, 15, 18))
        picture.save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"a square number {i}\n")
    return tmp_path


def data_of(folder, channels):
    config = shrink(base.get_config())
    with config.unlocked():
        config.data.update(source=str(folder), channels=channels, image_size_px=16, min_held_out=2)
    return config


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_transparency_that_is_lost_is_said(folder, channels):
    config = data_of(folder, channels)
    for again in range(2):  # decoded, and then from the cache
        datasets = open_datasets(config.data, split_names(config.data))
        said = transparency(datasets, config.data)
        if channels == 4:
            assert said == [] and datasets[0].images.shape[1:] == (16, 16, 4), again
        else:
            assert len(said) == 1 and "8 of 12 pictures" in said[0] and "config.data.channels=4" in said[0], again
            assert "(255, 255, 255)" in said[0]


def test_four_channels_of_opaque_pictures_are_allowed_and_said(folder):
    for i in range(8):
        (folder / f"{i}.png").unlink()
        (folder / f"{i}.txt").unlink()
    config = data_of(folder, 4)
    datasets = open_datasets(config.data, split_names(config.data))
    (said,) = transparency(datasets, config.data)
    assert "config.data.channels=4, but of 4 pictures none is transparent" in said
    assert all((dataset.images[..., 3] == 255).all() for dataset in datasets)


def test_arrays_keep_their_transparency_where_that_is_asked_for():
    images = partial(4)
    kept = Dataset.from_arrays(images, ["a"] * 4, channels=4)
    np.testing.assert_array_equal(kept.images, images)
    assert Dataset.from_arrays(images, ["a"] * 4).images.shape[-1] == 3
    assert Dataset.from_arrays(images[..., :3], ["a"] * 4, channels=4).images[..., 3].min() == 255
    with pytest.raises(UserError, match="channels=2 must be 1"):
        Dataset.from_arrays(images, ["a"] * 4, channels=2)


# Whole trainings.


def with_alpha(config, **settings):
    with config.unlocked():
        config.data.channels = 4
        config.update_from_flattened_dict(settings)
    return config


def test_the_game_grows_and_inverts_with_four_channels():
    """Traced, not compiled: the smallest stage of growing, with the inverter's term and all augmentations."""
    config = with_alpha(shrink(base.get_config()))
    with config.unlocked():
        config.phases = ("adversarial",)
        config.loss.reconstruction_weight = 1.0
        config.augment.probability = 0.3
        config.train.grow_share = 0.5
    check(config)
    run = plan._run_without_data(config, parallel.make_mesh(1))
    phase = phases.build("adversarial", run, {})
    state = jax.eval_shape(phase.init, {})
    shapes = {k: jax.ShapeDtypeStruct((phase.step_images, *v.shape[1:]), v.dtype) for k, v in run.batch_shapes.items()}
    assert shapes["images"].shape[-1] == 4
    after, _ = jax.eval_shape(functools.partial(phase.step, **dict(phase.decided(0))), state, shapes)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_patches_keep_transparency():
    config = in_space(with_alpha(shrink(base.get_config())), "patches", autoencoder_steps=4)
    with config.unlocked():
        config.phases = ("adversarial",)
        config.space.channels = 24
    check(config)
    coarse = alpha.clean(partial(64, 4).repeat(4, 1).repeat(4, 2))
    networks, params = nets.build(config, 300), {"space": patches.fit(coarse, 4, 24)}
    encoded = networks.to_network(params, jnp.asarray(coarse))
    assert encoded.shape == (64, 4, 4, 24)
    again = np.asarray(to_bytes(networks.to_pixels(params, encoded))).astype(int)
    seen = coarse[..., 3:] > 20
    assert np.abs(again - coarse)[..., 3].max() <= 1 and (np.abs(again - coarse) * seen).max() <= 1


def drawn_and_kept(model, folder):
    """Pictures of a model, after they are found to be what is in the files that `sample` writes of them."""
    images = model.sample(["a square number 3"] * 2, seed=[0, 1])
    assert images.shape == (2, 16, 16, 4) and images.dtype == np.uint8
    assert (images[images[..., 3] == 0] == 0).all()
    save_files(folder / "drawn", images, [("a square", 0), ("a square", 1)], 1, {})
    files = sorted((folder / "drawn").glob("*.png"))
    with Image.open(files[1]) as written:
        assert written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written), images[1])
    return images


def test_a_snapshot_draws_transparent_pictures(tmp_path):
    snapshot = random_snapshot(["a square number 3", "another one"], {"data.channels": 4})
    save_snapshot(tmp_path / "a.safetensors", snapshot)
    model = load(tmp_path / "a.safetensors")
    images = drawn_and_kept(model, tmp_path)
    assert len(np.unique(images[..., 3])) > 2 and model.config["data"]["channels"] == 4


@pytest.mark.slow
def test_a_training_draws_transparent_pictures(folder, tmp_path):
    config = in_space(data_of(folder, 4), "autoencoder", autoencoder_steps=4)
    with config.unlocked():
        config.phases = ("autoencoder", "adversarial")
        config.train.update(steps=2)
        config.guard.num_images = 0
    check(config)
    train(config, tmp_path / "run")
    drawn_and_kept(load(tmp_path / "run"), tmp_path)
    assert "colour with transparency" in (tmp_path / "run" / "model_card.md").read_text()


def test_an_evaluation_looks_at_what_is_seen(tmp_path):
    """Of drawings that differ only where nothing is seen of them, none differs."""
    config = with_alpha(shrink(base.get_config()))
    images = partial(12, 8)
    captions = [f"number {i % 6}" for i in range(12)]
    data = Dataset.from_arrays(images, captions, channels=4)
    extractors = FeatureExtractors(config, data, Tokenizer.train(captions, 300, 16), tmp_path)

    def draw(captions, seeds):
        drawn = np.zeros((len(captions), 8, 8, 4), np.uint8)
        drawn[..., :3] = np.asarray(seeds)[:, None, None, None] % 256
        drawn[:, :4] = 255
        return drawn

    options = {"num_images": 12, "seed": 0, "resamples": 0, "extractor_names": ("pixels",)}
    found = evaluate(draw, data, extractors, metrics=("diversity", "memorisation"), **options)["figures"]
    assert found["diversity_within/pixels"]["value"] == 0 and found["memorisation/copies"]["value"] == 0
    assert found["diversity_within/pixels"]["real"] > 0


REFUSED = {
    "pretrained features": (
        {"discriminator.kind": "projected", "discriminator.features_from": "efficientnet_lite0"},
        ["config.discriminator.kind='projected'", "config.data.channels=4", "'residual'"],
    ),
    "two channels": ({"data.channels": 2}, ["config.data.channels=2", "1, 3, 4"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_with_transparency_is_said_before_anything_compiles(name):
    changes, words = REFUSED[name]
    config = with_alpha(shrink(base.get_config()), **changes)
    with pytest.raises(UserError) as error:
        check(config)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_given_data_of_other_channels_is_refused(tmp_path):
    config = with_alpha(shrink(base.get_config()))
    images = partial(40)
    with pytest.raises(UserError, match=r"with 3 channels.*config\.data\.channels=4.*channels=4"):
        train(config, tmp_path, dataset=Dataset.from_arrays(images, ["a"] * 40))
