"""A game on codes whose discriminator sees the pictures that are decoded of them; the decoder may go on learning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import in_space, on_one_device_and_two, random_batch, shrink

from configs import base
from t2igan import load, nets, step
from t2igan.config.checks import check
from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.snapshot import load_networks
from t2igan.method import automatic
from t2igan.method.game import Method
from t2igan.method.phases.joint import JointMethod, joint_step
from t2igan.nets.init import init_network
from t2igan.training import plan
from t2igan.training.distributed import parallel
from t2igan.training.train import train
from t2igan.training.warm_start import networks_of

VOCAB = 300


def judged(**settings):
    """The tiny configuration on codes, whose discriminator sees pictures."""
    config = in_space(shrink(base.get_config()), "autoencoder", autoencoder_steps=5)
    with config.unlocked(), config.ignore_type():
        config.phases = ("autoencoder", "text", "generator", "adversarial")
        config.pretrain_generator.task = "regress"
        config.discriminator.sees = "pictures"
        config.update_from_flattened_dict(settings)
    check(config)
    return config


@pytest.fixture(scope="module")
def game():
    """A method whose decoder learns, a batch of pictures, and its first state."""
    weights = {"loss.paired_weight": 2.0, "loss.paired_pixel_weight": 3.0}
    config = judged(**{"train.tune_decoder": True, "train.warmup_steps": 0} | weights)
    method = Method.create(config, nets.build(config, VOCAB), 100)
    pictures = random_batch(VOCAB)
    return method, pictures, jax.jit(functools.partial(step.init_state, method))(pictures | {"images": _codes(8)})


def _codes(num):
    return jnp.asarray(np.random.default_rng(1).normal(size=(num, 4, 4, 6)), jnp.float16)


def test_codes_are_judged_decoded_and_pictures_as_they_are(game):
    method, pictures, state = game
    networks, params = method.networks, state.params
    x = networks.to_network(params, pictures["images"])
    assert x.shape == (8, 4, 4, 6)
    np.testing.assert_array_equal(networks.judged(params, x, pictures["images"]), nets.to_unit(pictures["images"]))
    np.testing.assert_array_equal(networks.judged(params, x), networks.to_pixels(params, x))
    np.testing.assert_array_equal(networks.judged(params, x, _codes(8)), networks.to_pixels(params, x))
    in_space_alone = networks._replace(judges_pictures=False)
    assert in_space_alone.judged(params, x, pictures["images"]) is x
    as_it_is = networks._replace(decoder_learns=False)  # whoever was taught by decoded pictures is asked about such
    np.testing.assert_array_equal(as_it_is.judged(params, x, pictures["images"]), networks.to_pixels(params, x))


def test_the_losses_are_of_decoded_drawings(game):
    """Both players by hand: logits of pictures, and the pixel term is the mean distance to the decoded drawing."""
    method, pictures, state = game
    networks, params, key = method.networks, state.params | state.frozen, jax.random.key(0)
    z, tokens = jnp.ones((8, networks.z_dim)), pictures["tokens"]
    x = networks.to_network(params, pictures["images"])
    real = networks.judged(params, x, pictures["images"])
    text = step.encode(method, params, tokens)
    codes = networks.generator.apply(params["generator"], z, text)
    drawn = networks.to_pixels(params, codes)
    judge = lambda images: networks.discriminator.apply(params["discriminator"], images, text)
    assert drawn.shape == real.shape == (8, 16, 16, 3)

    loss, metrics = step.generator_loss(method, params, 0, x, tokens, key, z, judged=real)
    pixels, paired = jnp.abs(real - drawn).mean(), ((x - codes) ** 2).mean()
    expected = jax.nn.softplus(judge(real) - judge(drawn)).mean() + 2 * paired + 3 * pixels
    assert float(metrics["loss/paired_pixels"].mean()) == pytest.approx(float(pixels), rel=1e-5)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)

    _, metrics = step.discriminator_loss(method, params, 0, real, tokens, key, z)
    np.testing.assert_allclose(metrics["logits/real"], judge(real), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["logits/fake"], judge(drawn), rtol=1e-4, atol=1e-5)


def test_a_step_moves_the_decoder_and_leaves_the_encoder(game):
    method, pictures, state = game
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, pictures)
    assert np.isfinite(list(map(float, jax.tree.leaves(metrics)))).all()
    before, now = state.params["space"], after.params["space"]
    jax.tree.map(np.testing.assert_array_equal, before["params"]["encoder"], now["params"]["encoder"])
    jax.tree.map(np.testing.assert_array_equal, before["statistics"], now["statistics"])
    of_decoders = before["params"]["decoder"], now["params"]["decoder"]
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *of_decoders)
    assert max(jax.tree.leaves(moved)) > 0
    assert set(after.ema) == {"generator", "space"} and float(metrics["gradient_norm/space"]) > 0


def test_without_the_decoder_learning_the_game_takes_codes():
    config = judged()
    method = Method.create(config, nets.build(config, VOCAB), 100)
    batch = random_batch(VOCAB) | {"images": _codes(8)}
    space = init_network(method.networks, "space", jax.random.key(3), batch)
    state = jax.jit(functools.partial(step.init_state, method))(batch, {"space": space})
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
    assert set(after.params) == {"generator", "discriminator"}
    jax.tree.map(np.testing.assert_array_equal, after.frozen["space"], space)
    assert float(metrics["gradient_norm/generator"]) > 0  # through the decoder


def test_one_device_equals_two(game):
    method, pictures, state = game
    afters = on_one_device_and_two(functools.partial(step.train_step, method), state, pictures)
    results = [after.params for after in afters]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), *results)


def test_the_joint_step_judges_pictures_too():
    config = judged(**{"train.tune_decoder": True})
    networks = nets.build(config, VOCAB)
    method = JointMethod.create(config, networks, 100)
    pictures = random_batch(VOCAB)
    state = jax.jit(functools.partial(step.init_state, method.game))(pictures | {"images": _codes(8)})
    after, metrics = jax.jit(functools.partial(joint_step, method))(state, pictures)
    assert set(after.params) == {"generator", "discriminator", "text", "space"}
    assert float(metrics["gradient_norm/space"]) > 0


def test_the_penalty_follows_what_is_judged_and_the_paired_term_the_codes():
    config = judged(**{f"loss.{key}": "auto" for key in ("penalty_weight", "penalty_weight_end", "paired_weight")})
    settled = automatic.settle(config, 96.0, 96, 1.0, judged_variance=2034.0)
    assert settled.loss.penalty_weight == settled.loss.penalty_weight_end == pytest.approx(1.0)
    assert settled.loss.paired_weight == pytest.approx(automatic.paired_weight(1.0, 96.0, 96))


@pytest.mark.slow
def test_a_game_alone_begins_with_another_runs_space(tmp_path):
    """Weights follow from codes, which the decoder's learning needs for nothing else."""
    auto = {f"loss.{key}": "auto" for key in ("penalty_weight", "penalty_weight_end", "paired_weight")}
    train(judged(**{"phases": ("autoencoder",)}), tmp_path / "first")
    more = {"phases": ("adversarial",), "init_from": str(tmp_path / "first"), "train.tune_decoder": True}
    train(judged(**auto, **more), tmp_path / "second")
    _, state = read_checkpoint(tmp_path / "first" / "checkpoints" / "autoencoder")
    kept = load_networks(tmp_path / "second" / "space.safetensors")
    jax.tree.map(np.testing.assert_array_equal, networks_of(state)["space"], kept["space"])
    assert load(tmp_path / "second").sample(["a pixel person"]).shape == (1, 16, 16, 3)


@pytest.mark.slow
def test_what_follows_the_game_has_the_decoder_that_it_left(tmp_path):
    """Phases after it, and the snapshot; the codes of the training pictures stay what they were."""
    config = judged(**{"train.tune_decoder": True, "phases": ("autoencoder", "text", "adversarial", "inversion")})
    train(config, tmp_path)
    _, state = read_checkpoint(tmp_path / "checkpoints" / "adversarial")
    left, drawing = networks_of(state)["space"]["params"], load(tmp_path).params["space"]["params"]
    jax.tree.map(np.testing.assert_array_equal, left["decoder"], drawing["decoder"])
    _, state = read_checkpoint(tmp_path / "checkpoints" / "autoencoder")
    first = networks_of(state)["space"]["params"]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)  # an average is rounded
    jax.tree.map(close, first["encoder"], drawing["encoder"])
    changes = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), first["decoder"], drawing["decoder"])
    assert max(jax.tree.leaves(changes)) > 0
    assert len(list(tmp_path.glob("codes_*.npy"))) == 1


def test_a_plan_counts_pictures_where_the_decoder_learns():
    made = plan.make_plan(judged(**{"train.tune_decoder": True}), parallel.make_mesh(1))
    games = {phase.phase: phase for phase in made.phases}
    assert games["adversarial"].batch_bytes == 8 * (16 * 16 * 3 + 32 * 4)
    assert games["generator"].batch_bytes == 8 * (4 * 4 * 6 * 2 + 32 * 4)


REFUSED = {
    "what there is not": ({"discriminator.sees": "codes"}, ["config.discriminator.sees='codes'", "'pictures'"]),
    "pixels": (
        {"space.kind": "pixels", "phases": ("text", "adversarial"), "generator.base_px": 8},
        ["config.space.kind='pixels'", "'space'"],
    ),
    "a phase on codes": ({"phases": ("autoencoder", "text", "discriminator", "adversarial")}, ["'discriminator'"]),
    "a decoder for nobody": (
        {"discriminator.sees": "space", "train.tune_decoder": True},
        ["config.train.tune_decoder=True", "'pictures'", "False"],
    ),
    "a pixel term for nobody": (
        {"discriminator.sees": "space", "loss.paired_pixel_weight": 1.0},
        ["config.loss.paired_pixel_weight=1.0", "'pictures'"],
    ),
    "a decoder that is computed": (
        {"space.kind": "patches", "phases": ("text", "adversarial"), "train.tune_decoder": True},
        ["config.train.tune_decoder=True", "'patches'", "'autoencoder'"],
    ),
    "a weight below 0": ({"loss.paired_pixel_weight": -1.0}, ["config.loss.paired_pixel_weight=-1.0"]),
    "a tower of another size": ({"discriminator.patch_px": 32}, ["config.data.image_size_px=16"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_anything_compiles(name):
    changes, words = REFUSED[name]
    with pytest.raises(UserError) as error:
        judged(**changes)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_pictures_that_are_judged_may_be_augmented_as_pictures():
    judged(**{"augment.probability": 0.3, "augment.kinds": ("colour", "rotate")})
