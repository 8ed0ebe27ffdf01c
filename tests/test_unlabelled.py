"""Pictures without captions in the phases that learn from pictures alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import shrink

from configs import base
from t2igan import nets
from t2igan.data import Batches, Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.data.unlabelled import columns_with_unlabelled, with_unlabelled
from t2igan.inference.snapshot import save_networks
from t2igan.method.phases.discriminator import DiscriminatorMethod, discriminator_step, init_discriminator_state
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state
from t2igan.nets import patches
from t2igan.nets.init import init_network
from t2igan.training import plan
from t2igan.training.distributed import parallel
from t2igan.training.space import SPACE_NAME, training_data
from t2igan.training.train import train

VOCAB = 300
SMALL = {
    "generator.kind": "mlp", "generator.channels": (8,), "discriminator.kind": "mlp", "discriminator.channels": (8,),
    "inverter.channels": (4,), "inverter.patch_px": 4, "text_encoder.pooling_queries": 1, "train.clip_norm": 0.0,
}  # fmt: skip


def pictures(num, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, 16, 16, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five pictures without captions."""
    more = tmp_path / "more"
    more.mkdir()
    for i, image in enumerate(pictures(5, seed=1)):
        Image.fromarray(image).save(more / f"{i}.png")
    return more


def batch(num=8):
    """Every other picture has a caption."""
    tokens = np.random.default_rng(0).integers(3, VOCAB, (num, 6)).astype(np.int32)
    return {
        "images": jnp.asarray(pictures(num)),
        "tokens": jnp.asarray(tokens),
        "captioned": jnp.arange(num, dtype=jnp.int32) % 2,
    }


def other_captions(of, captioned):
    """The batch with other tokens where `captioned` is 0, or 1."""
    tokens = jnp.where((of["captioned"] == captioned)[:, None], 3 + (of["tokens"] + 7) % 200, of["tokens"])
    return of | {"tokens": tokens}


def test_more_pictures_stand_behind_those_with_captions():
    captioned = Dataset.from_arrays(pictures(4), ["a", "b", "c", "d"])
    captioned = captioned.take(np.arange(4))
    more = with_unlabelled(captioned, pictures(3, seed=1))
    assert len(more) == 7 and more.images.shape == (7, 16, 16, 3)
    np.testing.assert_array_equal(more.images[np.array([6, 0, 3])], [pictures(3, 1)[2], *pictures(4)[[0, 3]]])
    np.testing.assert_array_equal(np.asarray(more.images), np.concatenate([pictures(4), pictures(3, 1)]))
    columns = columns_with_unlabelled({"labels": np.ones((4, 2), np.int32)}, 4, 3)
    np.testing.assert_array_equal(columns["labels"], [[1, 1]] * 4 + [[-1, -1]] * 3)
    np.testing.assert_array_equal(columns["captioned"], [1] * 4 + [0] * 3)


def test_repeats_are_those_of_the_captioned():
    """Two sources of which one is repeated, and pictures without captions, which come once an epoch."""
    captioned = dataclasses.replace(Dataset.from_arrays(pictures(2), ["a", "b"]), repeats=np.array([3, 1]))
    more = with_unlabelled(captioned, pictures(2, seed=1))
    np.testing.assert_array_equal(more.repeats, [3, 1, 1, 1])
    tokenizer = Tokenizer.train(["a", "b"], VOCAB, 6)
    columns = columns_with_unlabelled({}, 2, 2)
    drawn = Batches(more, tokenizer, seed=0, batch_images=6, columns=columns)[0]
    assert drawn["captioned"].sum() == 4 and drawn["images"].shape == (6, 16, 16, 3)


def test_the_generator_completes_them_without_a_caption(config):
    config.update_from_flattened_dict(SMALL | {"pretrain_generator.caption_dropout": 0.0})
    method = GeneratorMethod.create(config, nets.build(config, VOCAB), 100)
    first = batch()
    state = jax.jit(functools.partial(init_generator_state, method, first))()
    step = jax.jit(functools.partial(generator_step, method))
    loss = lambda batch: float(step(state, batch)[1]["loss/inversion"])
    assert loss(other_captions(first, 0)) == loss(first) != loss(other_captions(first, 1))
    everyone = first | {"captioned": jnp.ones(8, jnp.int32)}
    plain = {name: first[name] for name in ("images", "tokens")}
    assert float(step(state, everyone)[1]["loss/inversion"]) == pytest.approx(
        float(jax.jit(functools.partial(generator_step, method))(state, plain)[1]["loss/inversion"]), rel=1e-5
    )


@pytest.mark.parametrize("sizes", [(), (2, 3)], ids=["transforms", "attributes"])
def test_the_discriminator_asks_about_them_and_tells_them_from_what_is_drawn_without_a_caption(config, sizes):
    config.update_from_flattened_dict(SMALL | {"augment.caption_dropout": 0.0, "loss.mismatch_weight": 0.5})
    networks = nets.build(config, VOCAB)
    method = DiscriminatorMethod.create(config, networks, 100, sizes)
    first = batch()
    if sizes:
        labels = np.random.default_rng(1).integers(0, 2, (8, 2)).astype(np.int32)
        first["labels"] = jnp.where(first["captioned"][:, None] == 1, jnp.asarray(labels), -1)
    given = {"generator": init_network(networks, "generator", jax.random.key(0), first)}
    state = jax.jit(functools.partial(init_discriminator_state, method, first))(given)
    step = jax.jit(functools.partial(discriminator_step, method))
    of_game = lambda batch: float(step(state, batch)[1]["loss/discriminator"])
    assert of_game(other_captions(first, 0)) == of_game(first) != of_game(other_captions(first, 1))
    metrics = step(state, first)[1]
    answers = sizes or (4, 2, 5)
    # The head starts at zero: a guess, of which the mean is over those that can be asked about.
    assert float(metrics["loss/questions"]) == pytest.approx(np.log(answers).mean(), rel=1e-4)


def test_in_a_space_of_codes_theirs_are_computed_once(folder, tmp_path):
    config = shrink(base.get_config())
    with config.unlocked():
        config.data.unlabelled_source = str(folder)
        config.space.update(kind="patches", factor=4, channels=6)
        config.generator.channels = config.discriminator.channels = (8, 8)
        config.generator.base_px = 2
        config.image_encoder.update(channels=(8,), patch_px=1)
    networks = nets.build(config, VOCAB)
    params = patches.fit(pictures(20), 4, 6)
    save_networks(tmp_path / SPACE_NAME, {"space": params})
    data = Dataset.from_arrays(pictures(7), list("abcdefg"))
    blank = plan._run_without_data(config, parallel.make_mesh(1))
    run = dataclasses.replace(blank, workdir=tmp_path, train_data=data, networks=networks)
    alone = training_data(run, "adversarial")
    assert alone.images.shape == (7, 4, 4, 6)
    both = training_data(run, "generator", unlabelled=True)
    assert both.images.shape == (12, 4, 4, 6) and both.images.dtype == np.float16 and len(both.captions) == 12
    np.testing.assert_array_equal(both.images[:7], alone.images)
    expected = networks.to_network({"space": params}, jnp.asarray(pictures(5, seed=1)))
    np.testing.assert_allclose(both.images[7:], expected, atol=2e-3)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*codes_*.npy")}
    assert len(kept) == 2
    np.testing.assert_array_equal(training_data(run, "discriminator", unlabelled=True).images[:], both.images[:])
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*codes_*.npy")} == kept
    assert training_data(run, "adversarial").images.shape == (7, 4, 4, 6)


@pytest.mark.slow
def test_a_training_takes_them_where_they_are_of_use(folder, tmp_path, capsys):
    captioned = tmp_path / "captioned"
    captioned.mkdir()
    for i, image in enumerate(pictures(16, seed=2)):
        Image.fromarray(image).save(captioned / f"{i}.png")
        (captioned / f"{i}.txt").write_text(f"picture number {i}\n")
    config = shrink(base.get_config())
    with config.unlocked():
        config.data.update(source=str(captioned), unlabelled_source=str(folder), min_held_out=2)
        config.phases = ("generator", "discriminator")
        config.update_from_flattened_dict(SMALL)
        config.pretrain_generator.update(steps=2, masks=("box",))
        config.pretrain_discriminator.steps = 2
        config.sample.num_captions = 1
    train(config, tmp_path / "run")
    said = capsys.readouterr().out
    for phase in config.phases:
        assert f"phase {phase}: 12 training pictures, and 5 without captions" in said
