"""Captions of which a part is left out, and what a picture teaches where its caption is true of several."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import on_one_device_and_two, random_batch, shrink

from configs import base
from t2igan import nets, step
from t2igan.config.checks import check
from t2igan.data import Batches, Dataset
from t2igan.data.partial import PartialRows, partial_captions, parts
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.snapshot import load_snapshot
from t2igan.method import phases
from t2igan.method.game import Method
from t2igan.method.losses.paired import nearest_noise, paired_noise
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state
from t2igan.method.phases.joint import JointMethod, joint_step
from t2igan.nets.inverter import Inverted
from t2igan.training import plan
from t2igan.training.distributed import parallel
from t2igan.training.train import train

VOCAB = 300


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("teapot", ["teapot"]),
        ("", []),
        ("man: light skin tone, beard", ["man", ": light skin tone", ", beard"]),
        ("a sad person with a beard wearing a red shirt", ["a sad person", " with a beard", " wearing a red shirt"]),
        ("a man and a dog in black and white", ["a man", " and a dog", " in black and white"]),
        ("Mrs. Claus. It snows.", ["Mrs. Claus", ". It snows."]),
        ("一个人,戴着帽子，穿红衣服", ["一个人", ",戴着帽子", "，穿红衣服"]),
        ("in a room", ["in a room"]),
        (" , a cat, ", ["a cat"]),
    ],
)  # fmt: skip
def test_parts(caption, expected):
    assert parts(caption) == expected
    if caption.strip(" ,") == caption:
        assert "".join(parts(caption)) == caption


def test_a_part_or_more_is_left_out_and_the_first_stays():
    caption = "a person in a red shirt with a beard, angry, dark skin"
    found = partial_captions(caption, 8)
    assert len(found) == len(set(found)) == 8 and found == partial_captions(caption, 8)
    whole = parts(caption)
    for one in found:
        assert one.startswith("a person") and len(one) < len(caption)
        assert set(parts(one)) <= set(whole)
    assert set(partial_captions(caption, 100)) > set(found) and len(partial_captions(caption, 100)) == 2**4 - 1
    assert partial_captions("man: light skin tone", 8) == ("man",)
    assert partial_captions("teapot", 8) == partial_captions("", 8) == ()
    long = partial_captions(", ".join(f"word {i}" for i in range(40)), 8)
    assert len(long) == 8


def test_batches_have_their_share_of_partial_captions():
    captions = tuple((f"a thing, number {i}", f"another with {i}") if i % 2 else (f"thing {i}",) for i in range(12))
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((12, 8, 8, 3), np.uint8)
    data = Dataset("small", "train", images, captions)
    tokenizer = Tokenizer.train([one for of_one in captions for one in of_one], VOCAB, 16)
    batches = lambda share, **more: Batches(
        data, tokenizer, seed=3, batch_images=12, partial_share=share, tell_shared=True, **more
    )
    plain, none, some, whole = (batches(share) for share in (0.0, 0.0, 0.5, 1.0))
    texts = lambda of, number: [tokenizer.decode(row) for row in of[number]["tokens"]]
    np.testing.assert_array_equal(plain[4]["tokens"], none[4]["tokens"])
    np.testing.assert_array_equal(plain[4]["images"], some[4]["images"])
    full, shares = {one for of_one in captions for one in of_one}, []
    for number in range(15):
        parted = [text not in full for text in texts(some, number)]
        shares.append(np.mean(parted) / 0.5)  # a half of the pictures has a caption of one part
        assert sum(text in ("a thing", "another") for text in texts(whole, number)) == 6
        assert whole[number]["shared"].sum() == 6 and (np.array(parted) == some[number]["shared"]).all()
        assert [
            a == b or b in ("a thing", "another")
            for a, b in zip(texts(plain, number), texts(some, number), strict=True)
        ]
    assert 0.3 < np.mean(shares) < 0.7
    parts_of_processes = [batches(0.5, process_index=i, process_count=2)[7]["tokens"] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts_of_processes), some[7]["tokens"])


@pytest.mark.parametrize("share", [1e-9, 0.0])
def test_captions_that_are_true_of_other_pictures_are_told(share):
    """Parts of others, where captions lose parts, and those of several pictures, capitals aside."""
    captions = (("a man",), ("a man: dark",), ("a house",), ("a house, red",), ("A dog",), ("a dog",))
    data = Dataset("small", "train", np.zeros((6, 8, 8, 3), np.uint8), captions)
    tokenizer = Tokenizer.train([one for (one,) in captions], VOCAB, 16, lowercase=False)
    batch = Batches(data, tokenizer, seed=0, batch_images=6, partial_share=share, tell_shared=True)[0]
    texts = [tokenizer.decode(row) for row in batch["tokens"]]
    assert dict(zip(texts, batch["shared"].tolist(), strict=True)) == {
        "a man": share > 0, "a man: dark": False, "a house": share > 0, "a house, red": False, "A dog": True,
        "a dog": True,
    }  # fmt: skip
    assert "shared" not in Batches(data, tokenizer, seed=0, batch_images=6, partial_share=share)[0]


@pytest.mark.parametrize(("others", "is_used"), [(24, True), (25, False)])
def test_a_name_that_very_many_captions_begin_with_keeps_its_picture(others, is_used):
    captions = ("man", *(f"man, number {i}" for i in range(others)))
    rows = PartialRows(captions, 1.0)
    assert ("man" in rows.captions) == is_used
    of, half = np.arange(len(captions)), np.full(len(captions), 0.5)
    replaced, is_partial = rows.replaced(of, half, half)
    assert is_partial.all() == is_used and is_partial.any() == is_used
    if not is_used:
        np.testing.assert_array_equal(replaced, of)
    # Where no picture is called so, it may be a part of any number of captions.
    assert "woman" in PartialRows([f"woman, number {i}" for i in range(40)], 1.0).captions


def test_the_nearest_of_several_noises_by_hand():
    """Drawings are their noise, as a picture of one value: the nearest noise to each picture is found."""
    draw = lambda z: z[:, None, None, :1]
    z, key = jnp.zeros((5, 1)), jax.random.key(2)
    others = jax.random.normal(key, (3, 5, 1))
    real = jnp.linspace(-2, 2, 5)[:, None, None, None] * jnp.ones((5, 2, 2, 1))
    found = nearest_noise(draw, real, z, key, 4)
    tried = np.concatenate([z[None], others])[..., 0]
    expected = [min(tried[:, i], key=lambda one: abs(one - float(real[i, 0, 0, 0]))) for i in range(5)]
    np.testing.assert_array_equal(found[:, 0], np.array(expected, np.float32))
    assert nearest_noise(draw, real, z, key, 1) is z
    gradient = jax.grad(lambda scale: nearest_noise(lambda z: scale * draw(z), real, z, key, 4).sum())(1.0)
    assert gradient == 0


def test_what_the_inverter_says_counts_for_partial_captions_alone():
    """An inverter by hand that is sure of 1.5: that is the noise, and -log(std) + (1.5^2 + std^2 - 1) / 2 its cost."""
    told = Inverted(jnp.full((4, 2), 1.5), jnp.full((4, 2), -5.0), jnp.zeros((4, 1)))
    sure = types.SimpleNamespace(apply=lambda *_: told)
    networks = nets.build(noisy(), VOCAB)._replace(inverter=sure)
    real, z, draw = jnp.zeros((4, 2, 2, 1)), jnp.zeros((4, 2)), lambda z: z[:, None, None]
    arguments = (networks, {"inverter": None}, draw, real, jnp.zeros((4, 3)), z, jax.random.key(0), 0)
    partial = jnp.array([True, False, True, False])
    noise, cost = paired_noise(*arguments, partial)
    np.testing.assert_allclose(noise, np.where(partial, 1.5, 0.0)[:, None] * np.ones((4, 2)), atol=0.03)
    np.testing.assert_allclose(cost, np.where(partial, 5 + (1.5**2 + np.exp(-10.0) - 1) / 2, 0.0), rtol=1e-6)
    noise, cost = paired_noise(*arguments)  # no caption is whole
    assert (noise > 1.4).all() and (cost > 5).all()
    far = types.SimpleNamespace(apply=lambda *_: told._replace(mean=jnp.full((4, 2), 1e6)))
    noise, cost = paired_noise(networks._replace(inverter=far), *arguments[1:])
    assert (noise == 4).all() and (cost > 1e11).all()


def noisy(**settings):
    """The tiny configuration that regresses with several noises."""
    config = shrink(base.get_config())
    with config.unlocked(), config.ignore_type():
        config.pretrain_generator.task = "regress"
        config.loss.update(paired_weight=2.0, paired_noises=4)
        config.phases = ("text", "generator", "adversarial")
        config.update_from_flattened_dict(settings)
    check(config)
    return config


def test_the_game_holds_the_nearest_drawing_to_the_picture():
    errors, state = {}, None
    batch, key = random_batch(VOCAB), jax.random.key(0)
    for number in (1, 4):
        config = noisy(**{"loss.paired_noises": number})
        method = Method.create(config, nets.build(config, VOCAB), 100)
        state = state or jax.jit(functools.partial(step.init_state, method))(batch)
        x = method.networks.to_network(state.params, batch["images"])
        loss = jax.jit(functools.partial(step.generator_loss, method, step=0))
        _, metrics = loss(params=state.params | state.frozen, real=x, tokens=batch["tokens"], key=key)
        errors[number] = np.asarray(metrics["loss/paired"])
    # The first noise is among those that are tried.
    assert (errors[4] <= errors[1]).all() and (errors[4] < errors[1]).any()


def partial_batch():
    """A batch of which every second caption is a part of its picture's."""
    return random_batch(VOCAB) | {"shared": jnp.arange(8) % 2 == 0}


def test_a_whole_caption_keeps_its_first_noise():
    batch, key = partial_batch(), jax.random.key(0)
    method = Method.create(noisy(), nets.build(noisy(), VOCAB), 100)
    state = jax.jit(functools.partial(step.init_state, method))(batch)
    arguments = (method, state.params | state.frozen, 0)
    x = method.networks.to_network(state.params, batch["images"])
    loss = jax.jit(functools.partial(step.generator_loss, *arguments))
    error = lambda shared: np.asarray(loss(x, batch["tokens"], key, shared=shared)[1]["loss/paired"])
    mixed, whole, parts_only = error(batch["shared"]), error(jnp.zeros(8, bool)), error(None)
    np.testing.assert_allclose(mixed, np.where(batch["shared"], parts_only, whole), rtol=1e-5)
    one = Method.create(noisy(**{"loss.paired_noises": 1}), method.networks, 100)
    loss = jax.jit(functools.partial(step.generator_loss, one, *arguments[1:]))
    np.testing.assert_allclose(whole, loss(x, batch["tokens"], key)[1]["loss/paired"], rtol=1e-5)


@pytest.mark.parametrize("number", [4, 0])
def test_a_step_on_two_devices_equals_that_on_one(number):
    batch = partial_batch()
    config = noisy(**{"train.warmup_steps": 0, "loss.paired_noises": number})
    method = Method.create(config, nets.build(config, VOCAB), 100)
    state = jax.jit(functools.partial(step.init_state, method))(batch)
    afters = on_one_device_and_two(functools.partial(step.train_step, method), state, batch)
    results = [after.params for after in afters]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), *results)
    assert ("inverter" in state.frozen) == (number == 0) and "inverter" not in state.params


def test_the_joint_step_and_the_plan_know_partial_captions():
    config = noisy(**{"augment.partial_captions": 0.5})
    method = JointMethod.create(config, nets.build(config, VOCAB), 100)
    batch = partial_batch()
    state = jax.jit(functools.partial(step.init_state, method.game))(batch)
    after, metrics = jax.jit(functools.partial(joint_step, method))(state, batch)
    assert int(after.step) == 1 and np.isfinite(float(metrics["loss/paired"]))
    run, given = plan.without_data(config, parallel.make_mesh(1))
    _, shapes = plan.abstract(run, phases.build("text", run, given), given)
    assert shapes["shared"].dtype == bool


def test_regression_with_several_noises_learns_two_pictures_of_one_caption():
    """One caption, two pictures: the mean of both with one noise, either with several, or with an inverter's."""
    batch = random_batch(VOCAB)
    tokens = jnp.tile(batch["tokens"][:1], (8, 1))
    pictures = np.where(np.arange(8)[:, None, None, None] % 2, 230, 25) * np.ones((8, 16, 16, 3))
    batch = {"images": jnp.asarray(pictures, jnp.uint8), "tokens": tokens}
    spread = {}
    for number in (1, 8, 0):
        settings = {"pretrain_generator.learning_rate": 3e-3, "inverter.prior_weight": 0.1}
        config = noisy(**{"loss.paired_noises": number} | settings)
        networks = nets.build(config, VOCAB)
        method = GeneratorMethod.create(config, networks, 240)
        state = init_generator_state(method, batch)
        one = jax.jit(lambda state, batch, method=method: generator_step(method, state, batch))
        for _ in range(120):
            state, _ = one(state, batch)
        text = networks.text_encoder.apply(state.frozen["text"], tokens)
        z = jax.random.normal(jax.random.key(5), (8, networks.z_dim))
        means = networks.generator.apply(state.params["generator"], z, text).mean((1, 2, 3))
        spread[number] = float(means.std())
    assert spread[1] < 0.2 and spread[8] > 0.5 and spread[0] > 0.4, spread  # black and white are 1.6 apart


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"loss.paired_noises": -1}, "config.loss.paired_noises=-1"),
        ({"loss.paired_noises": 0, "phases": ("text", "adversarial")}, "config.loss.paired_noises=0 reads noise by"),
        (
            {"loss.paired_noises": 0, "loss.paired_weight": 0.0, "pretrain_generator.task": "complete"},
            "config.loss.paired_noises=0 has nothing to choose for",
        ),
        ({"loss.paired_weight": 0.0, "pretrain_generator.task": "complete"}, "config.loss.paired_noises=4 has nothing"),
        ({"augment.partial_captions": 1.5}, "config.augment.partial_captions=1.5"),
    ],
)
def test_what_is_refused(settings, expected):
    with pytest.raises(UserError, match=expected.replace(".", r"\.")):
        noisy(**settings)


def test_regression_leaves_captions_out_as_the_game_does():
    """All captions left out, as far as a share may go: what they say makes no difference."""
    config = noisy(**{"augment.caption_dropout": 0.9999, "loss.paired_noises": 1})
    method = GeneratorMethod.create(config, nets.build(config, VOCAB), 10)
    batch = random_batch(VOCAB)
    state = init_generator_state(method, batch)
    one = jax.jit(functools.partial(generator_step, method))
    losses = [
        one(state, batch | {"tokens": tokens})[1]["loss/regression"]
        for tokens in (batch["tokens"], batch["tokens"][::-1])
    ]
    assert losses[0] == losses[1]


def test_a_whole_training_with_the_inverters_noise_leaves_no_inverter(tmp_path):
    """It knows captions that lack a part and nothing else; edits and reports must not take it for one of pictures."""
    config = noisy(**{"loss.paired_noises": 0, "augment.partial_captions": 0.5})
    with config.unlocked():
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.sample.update(num_captions=1, num_seeds=1)
        config.devices = 1
    train(config, tmp_path)
    assert set(load_snapshot(tmp_path / "snapshot.safetensors").params) == {"generator", "text"}
