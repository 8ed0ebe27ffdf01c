"""A game in a space of codes, from the phase that learns it to pictures; and pixels as they always were."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import impatient, in_space, random_batch, shrink

from configs import base
from t2igan import load, nets
from t2igan.config.checks import check
from t2igan.errors import UserError
from t2igan.method import phases
from t2igan.method.game import Method
from t2igan.method.phases import PHASES, autoencoder, generator
from t2igan.nets.init import NETWORKS
from t2igan.step import generator_loss, init_state, train_step
from t2igan.training import plan, stopping
from t2igan.training.distributed import parallel
from t2igan.training.train import train

VOCAB = 300


def codes(config, kind="autoencoder", **settings):
    """The tiny configuration on maps of 4 x 4 codes of 6 numbers."""
    with in_space(config, kind, autoencoder_steps=5).unlocked():
        config.phases = ("text", "generator", "adversarial")
        if kind == "autoencoder":
            config.phases = ("autoencoder", *config.phases)
        config.loss.update(penalty_weight="auto", penalty_weight_end="auto", paired_weight="auto")
        config.pretrain_generator.task = "auto"
        config.update_from_flattened_dict(settings)
    check(config)
    return config


# Pixels.


def test_a_step_on_pixels_is_bit_for_bit_what_it_was():
    """The seam is nothing: bytes give the same bits as the scaling that the step once did itself."""
    config = shrink(base.get_config())
    method = Method.create(config, nets.build(config, VOCAB), 100)
    pictures = random_batch(VOCAB)
    assert method.networks.space is None and method.paired_weight == 0
    scaled = pictures | {"images": jax.jit(lambda x: x.astype(jnp.float32) / 127.5 - 1)(pictures["images"])}
    state = jax.jit(functools.partial(init_state, method))(pictures)
    step = jax.jit(functools.partial(train_step, method))
    after, metrics = step(state, pictures)
    expected, expected_metrics = step(state, scaled)
    for name in metrics:
        np.testing.assert_array_equal(metrics[name], expected_metrics[name], name)
    jax.tree.map(np.testing.assert_array_equal, after, expected)
    # What the version before there were spaces had on the same batch.
    expected = {"loss/discriminator": 0.67188662, "loss/generator": 0.6293245, "loss/penalty": 0.03716996}
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5), name


def test_pictures_pass_the_seam_of_pixels_unchanged():
    networks = nets.build(shrink(base.get_config()), VOCAB)
    x = networks.to_network({}, jnp.asarray([[[[0], [51], [255]]]], jnp.uint8))
    np.testing.assert_allclose(x.ravel(), [-1, -0.6, 1], atol=1e-6)
    assert networks.to_pixels({}, x) is x


# The phase autoencoder.


@pytest.fixture
def coding():
    """A method that learns fast, its first state, a batch of eight smooth pictures, and the compiled step."""
    config = codes(shrink(base.get_config()))
    config.pretrain_autoencoder.update(learning_rate=1e-2, schedule="constant", noise=0.1)
    networks = nets.build(config, VOCAB)
    method = autoencoder.AutoencoderMethod.create(config, networks, 200)
    pictures = random_batch(VOCAB)
    coarse = np.random.default_rng(1).integers(0, 256, (8, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    pictures["images"] = jnp.asarray(coarse, jnp.uint8)
    state = jax.jit(functools.partial(autoencoder.init_autoencoder_state, method))(pictures)
    return method, state, pictures, jax.jit(functools.partial(autoencoder.autoencoder_step, method))


def test_a_hundred_steps_learn_eight_pictures_and_their_statistics(coding):
    method, state, pictures, step = coding
    history = []
    for _ in range(150):
        state, metrics = step(state, pictures)
        history.append(float(metrics["loss/l1"]))
    assert np.isfinite(history).all() and np.mean(history[-5:]) < 0.25 * history[0]
    encoded = method.networks.to_network(state.params, pictures["images"])
    assert encoded.shape == (8, 4, 4, 6)
    assert float(encoded.std()) == pytest.approx(1, rel=0.15) and abs(float(encoded.mean())) < 0.15
    again = method.networks.to_pixels(state.params, encoded)
    assert float(jnp.abs(again - (pictures["images"] / 127.5 - 1)).mean()) < 0.25


def test_codes_that_were_computed_before_are_the_codes(coding):
    method, state, pictures, _ = coding
    encoded = method.networks.to_network(state.params, pictures["images"])
    kept = encoded.astype(jnp.float16)
    np.testing.assert_array_equal(method.networks.to_network({}, kept), kept.astype(jnp.float32))


# The generator by regression, and the paired term.


def test_regression_learns_eight_captions(config):
    config.pretrain_generator.update(task="regress", learning_rate=1e-2, schedule="constant")
    method = generator.GeneratorMethod.create(config, nets.build(config, VOCAB), 100)
    pictures = random_batch(VOCAB)
    state = jax.jit(functools.partial(generator.init_generator_state, method))(pictures)
    assert set(state.params) == {"generator"} and "inverter" not in state.frozen
    step = jax.jit(functools.partial(generator.generator_step, method))
    first = None
    for _ in range(60):
        state, metrics = step(state, pictures)
        first = first or float(metrics["loss/regression"])
    assert float(metrics["loss/regression"]) < 0.75 * first


def test_the_paired_term_is_the_mean_squared_error_of_what_a_caption_draws(config):
    networks = nets.build(config, VOCAB)
    without = Method.create(config, networks, 100)
    with config.unlocked():
        config.loss.paired_weight = 3.0
    paired = Method.create(config, networks, 100)
    pictures = random_batch(VOCAB)
    state = jax.jit(functools.partial(init_state, paired))(pictures)
    params = state.params | state.frozen
    real, z, key = networks.to_network({}, pictures["images"]), jnp.ones((8, networks.z_dim)), jax.random.key(0)
    of = lambda method: generator_loss(method, params, 0, real, pictures["tokens"], key, z)
    (loss, metrics), (plain, _) = of(paired), of(without)
    text = networks.text_encoder.apply(params["text"], pictures["tokens"])
    error = ((networks.generator.apply(params["generator"], z, text) - real) ** 2).mean()
    assert metrics["loss/paired"].mean() == pytest.approx(float(error), rel=1e-5)
    assert loss == pytest.approx(float(plain + 3 * error), rel=1e-5)


# The whole way.


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A whole tiny training on codes, with pictures that have no captions; its folder and configuration."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("space")
    more = folder / "more"
    more.mkdir()
    for i in range(5):
        Image.fromarray(np.full((20, 20, 3), 50 * i, np.uint8)).save(more / f"{i}.png")
    config = codes(shrink(base.get_config()), **{"data.unlabelled_source": str(more)})
    train(config, folder / "run")
    return folder / "run", config


@pytest.mark.slow
def test_a_training_on_codes_leaves_all_that_is_needed_to_draw(coded):
    workdir, _ = coded
    model = load(workdir)
    assert {"generator", "text", "space"} <= set(model.params)
    images = model.sample(["a pixel person with short green hair"] * 3, seed=[0, 1, 0])
    assert images.shape == (3, 16, 16, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[0], images[2])
    sheets = {path.name.split("_")[0] for path in (workdir / "samples").glob("*.png")}
    assert {"autoencoder", "generator"} <= sheets
    (kept,) = workdir.glob("codes_*.npy")
    stored = np.load(kept)
    assert stored.dtype == np.float16 and stored.shape == (5_880, 4, 4, 6)
    rows = (workdir / "metrics.jsonl").read_text()
    assert "psnr/held_out" in rows and "loss/regression" in rows and "loss/paired" in rows


@pytest.fixture(scope="module")
def stopped(coded, tmp_path_factory):
    """The folder of the same training, stopped after every third step and begun again, up to the game."""
    workdir, said = tmp_path_factory.mktemp("stopped") / "run", ""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stopping, "Interruption", impatient(3))
        while "of phase adversarial" not in said:
            with pytest.raises(stopping.Interrupted) as caught:
                train(coded[1], workdir)
            said = str(caught.value)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("lost", [(), ("space.safetensors", "codes_*.npy")], ids=["kept", "lost"])
def test_a_training_that_was_stopped_in_the_game_goes_on_to_the_same_end(coded, stopped, tmp_path, lost):
    workdir, config = coded
    parts = shutil.copytree(stopped, tmp_path / "parts")
    for pattern in lost:
        (path,) = parts.glob(pattern)
        path.unlink()
    train(config, parts)
    one, other = load(workdir), load(parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one.params, other.params)


@pytest.mark.slow
def test_a_training_on_components_of_patches(tmp_path):
    config = codes(shrink(base.get_config()), "patches", **{"space.channels": 12})
    config.phases = ("text", "discriminator", "adversarial")
    train(config, tmp_path)
    images = load(tmp_path).sample(["a pixel person"])
    assert images.shape == (1, 16, 16, 3)
    assert not list((tmp_path / "checkpoints").glob("autoencoder"))


@pytest.mark.parametrize("kind", ["patches", "autoencoder"])
def test_a_plan_needs_no_codes(kind):
    config = codes(shrink(base.get_config()), kind)
    made = plan.make_plan(config, parallel.make_mesh(1))
    assert [phase.phase for phase in made.phases] == list(config.phases)
    assert made.parameters["space"] > 0
    games = {phase.phase: phase for phase in made.phases}
    # Codes of 4 x 4 x 6 float16 numbers, and 32 tokens of int32; pictures are 16 x 16 x 3 bytes.
    assert games["adversarial"].batch_bytes == 8 * (4 * 4 * 6 * 2 + 32 * 4)
    if kind == "autoencoder":
        assert games["autoencoder"].batch_bytes == 8 * (16 * 16 * 3 + 32 * 4)


def test_every_phase_can_be_sharded_on_codes(monkeypatch):
    """Lowered only."""
    monkeypatch.setattr(parallel, "SHARDED_FROM_VALUES", 64)
    config = codes(shrink(base.get_config()))
    with config.unlocked():
        config.phases = PHASES.names()
        config.pretrain_generator.task = "complete"
        config.loss.reconstruction_weight = config.loss.cycle_weight = 1.0
    run, given = plan._run_without_data(config, parallel.make_mesh(4, 2)), {}
    for name in config.phases:
        phase = phases.build(name, run, given)
        _, state, _ = plan.lower_step(run, phase, given)
        assert any(not x.sharding.is_fully_replicated for x in jax.tree.leaves(state.opt_state)), name
        given = plan.handed_on(given, jax.eval_shape(phase.init, given))
    assert set(given) == set(NETWORKS)


REFUSED = {
    "unknown kind": ({"space.kind": "codes"}, ["config.space.kind='codes'", "'autoencoder'"]),
    "phase without space": ({"space.kind": "pixels"}, ["'autoencoder'", "config.space.kind='pixels'"]),
    "space without phase": ({"phases": ("text", "adversarial")}, ["wants the phase 'autoencoder'"]),
    "factor that does not divide": ({"space.factor": 3}, ["image_size_px=16", "config.space.factor=3"]),
    "too many levels": ({"space.decoder_channels": (8, 8, 8, 8)}, ["config.space.factor=4", "fewer entries"]),
    "colour in codes": (
        {"augment.probability": 0.3, "augment.kinds": ("colour", "translate")},
        ["'colour'", "'translate', 'cutout'"],
    ),
    "a fully connected player": ({"generator.kind": "mlp"}, ["config.generator.kind='mlp'", "'residual'"]),
    "half automatic": ({"loss.penalty_weight_end": 0.2}, ["must both be 'auto'"]),
    "neither number nor auto": ({"loss.paired_weight": "much"}, ["config.loss.paired_weight='much'", "'auto'"]),
    "automatic without R1": ({"loss.penalty": "wgan_gp"}, ["config.loss.penalty='wgan_gp'", "number"]),
    "a generator of another size": ({"generator.base_px": 4}, ["config.data.image_size_px / config.space.factor=4"]),
    "no blocks": ({"space.blocks": 0}, ["config.space.blocks=0"]),
    "components": ({"space.kind": "patches", "phases": ("text",), "space.channels": 49}, ["48 components at most"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_anything_compiles(name):
    changes, words = REFUSED[name]
    config = codes(shrink(base.get_config()))
    with config.ignore_type(), config.unlocked():
        for key, value in changes.items():
            config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError) as error:
        check(config)
    assert all(word in str(error.value) for word in words), str(error.value)
