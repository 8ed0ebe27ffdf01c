"""The adversarial step, called plainly: what it changes, what it leaves, and by how much."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t2igan import nets, step
from t2igan.method import losses
from t2igan.method.phases.text import TextMethod, init_text_state
from t2igan.step import Method
from t2igan.training.distributed import parallel

VOCAB = 40
# Whatever the defaults are.
PLAIN = {
    "loss.adversarial": "non_saturating",
    "loss.penalty": "r1",
    "loss.penalty_every": 1,
    "loss.mismatch_weight": 0.0,
    "loss.contrastive_weight": 0.0,
    "train.schedule": "cosine",
    "train.warmup_steps": 0,
    "train.beta1": 0.0,
    "train.clip_norm": 0.0,
    "train.discriminator_steps": 1,
    "train.tune_text": False,
}
# Networks that compile in no time, for what does not depend on the networks.
SMALL = {
    "data.image_size_px": 4,
    "generator.kind": "mlp",
    "generator.channels": (8,),
    "discriminator.kind": "mlp",
    "discriminator.channels": (8,),
    "train.batch_images": 4,
}


class Words(nn.Module):
    """A text encoder that only looks the words up."""

    @nn.compact
    def __call__(self, tokens):
        words = nn.Embed(VOCAB, 8)(tokens)
        return nets.Text(words.mean(1), words, tokens > 0)


def method_of(config, changes=()):
    config.update_from_flattened_dict(PLAIN | dict(changes))
    networks = nets.build(config, VOCAB)
    if config.generator.kind == "mlp":
        networks = networks._replace(text_encoder=Words())
    return Method.create(config, networks, total_steps=10)


def batch_of(config, seed=0):
    random, size = np.random.default_rng(seed), config.train.batch_images * config.train.discriminator_steps
    px = config.data.image_size_px
    return {
        "images": jnp.asarray(random.integers(0, 256, (size, px, px, config.data.channels)), jnp.uint8),
        "tokens": jnp.asarray(random.integers(1, VOCAB, (size, 6)), jnp.int32),
    }


def start(config, changes=()):
    """A method on small networks, a first state, a batch, and the compiled step."""
    method = method_of(config, SMALL | dict(changes))
    batch = batch_of(config)
    return method, first_state(method, batch), batch, jax.jit(functools.partial(step.train_step, method))


def first_state(method, batch, text_phase=None):
    """A state as `init_state` makes it, drawn by NumPy: initialisers take XLA longer than all the rest."""
    like = jax.eval_shape(functools.partial(step.init_state, method, batch, text_phase))
    params, frozen = draw(like.params), text_phase or draw(like.frozen)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like.opt_state)
    ema = {name: params[name] for name in like.ema}
    return step.State(
        step=jnp.int32(0),
        params=params,
        ema=ema,
        opt_state=zeros,
        frozen=frozen,
        tracks=dict.fromkeys(like.tracks, ema),
        control={name: jnp.float32(method.augment_probability) for name in like.control},
    )


def text_phase(method, config, batch):
    """Parameters as the text phase leaves them."""
    text_method = TextMethod.create(config, method.networks, 10)
    return draw(jax.eval_shape(functools.partial(init_text_state, text_method, batch)).params)


def draw(like):
    random = np.random.default_rng(0)
    values = lambda x: random.normal(size=x.shape) / np.prod(x.shape[:-1] or 1) ** 0.5
    return jax.tree.map(lambda x: jnp.asarray(values(x), x.dtype), like)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def close(a, b, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), a, b)


def moments(state, name):
    """Adam's first moment: after one step, (1 - beta1) * the gradient that it saw.

    Parameters themselves compare badly: the first step is the gradient's sign, and noise where that is almost zero.
    """
    return optax.tree.get(state.opt_state[name], "mu")


def changed(before, after):
    """Which parts of the state's dictionaries are other arrays than before."""
    return {
        f"{group}/{name}"
        for group in ("params", "opt_state", "ema", "frozen")
        for name, value in getattr(before, group).items()
        if not same(value, getattr(after, group)[name])
    }


def test_one_step_of_two_examples(config):
    """The real networks, made small."""
    method = method_of(config, {"train.batch_images": 2})
    batch = batch_of(config)
    state = jax.jit(functools.partial(step.init_state, method))(batch)
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
    assert state.step == 0 and after.step == 1 and after.step.dtype == jnp.int32
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert changed(state, after) == {
        "params/generator", "params/discriminator", "opt_state/generator", "opt_state/discriminator", "ema/generator",
    }  # fmt: skip
    assert set(metrics) == {
        "loss/discriminator", "loss/generator", "loss/penalty", "logits/real", "logits/fake",
        "gradient_norm/generator", "gradient_norm/discriminator",
        "learning_rate/generator", "learning_rate/discriminator",
    }  # fmt: skip
    for name, value in metrics.items():
        assert value.shape == () and value.dtype == jnp.float32 and np.isfinite(value), name
    assert all(x.dtype == y.dtype for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True))


def test_each_update_changes_its_own_player(config):
    method, state, batch, _ = start(config)
    real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)
    for name, update in (("discriminator", step.update_discriminator), ("generator", step.update_generator)):
        after, metrics = jax.jit(functools.partial(update, method))(state, real, batch["tokens"], key)
        assert changed(state, after) == {f"params/{name}", f"opt_state/{name}"}
        assert f"loss/{name}" in metrics and after.step == state.step


@pytest.mark.parametrize("tune_text", [False, True])
def test_the_text_encoder_moves_only_if_tuned(config, tune_text):
    _, state, batch, train_step = start(config, {"train.tune_text": tune_text})
    assert ("text" in state.params) == ("text" in state.ema) == tune_text == ("text" not in state.frozen)
    before, (after, metrics) = state, train_step(state, batch)
    assert same(before.frozen, after.frozen)
    assert ("params/text" in changed(before, after)) == tune_text == ("learning_rate/text" in metrics)


def test_the_text_phase_is_taken_over(config):
    method = method_of(config, SMALL)
    batch = batch_of(config)
    learned = text_phase(method, config, batch)
    state = jax.jit(functools.partial(step.init_state, method))(batch, learned)
    assert set(state.frozen) == {"text", "image", "matching"}
    assert same(state.frozen, learned)
    assert set(learned) == {"text", "image", "matching"}  # left as it was


def test_the_matching_term_adds_to_the_generators_loss(config):
    method, _, batch, _ = start(config, {"loss.contrastive_weight": 3.0})
    state = first_state(method, batch, text_phase(method, config, batch))
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
    assert np.isfinite(metrics["loss/matching"]) and metrics["loss/matching"] > 0
    config.loss.contrastive_weight = 0.0
    without = Method.create(config, method.networks, 10)
    other, metrics_without = jax.jit(functools.partial(step.train_step, without))(state, batch)
    assert same(other.params["discriminator"], after.params["discriminator"])
    assert not same(other.params["generator"], after.params["generator"])
    assert metrics_without["loss/generator"] == pytest.approx(float(metrics["loss/generator"]), rel=1e-5)
    assert same(state.frozen, after.frozen)


def test_the_average_after_one_step_by_hand(config):
    # A half-life of half a batch: a quarter of the old is left.
    _, state, batch, train_step = start(config, {"train.ema_half_life_images": 2.0, "train.ema_ramp": 0.0})
    after, _ = train_step(state, batch)
    expected = jax.tree.map(lambda a, b: a / 4 + 3 * b / 4, state.ema["generator"], after.params["generator"])
    close(after.ema["generator"], expected, rtol=1e-6, atol=1e-7)


def test_one_update_by_hand(config):
    changes = {"loss.penalty": "none", "loss.adversarial": "wasserstein", "train.beta1": 0.5}
    method, state, batch, _ = start(config, changes)
    real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)
    after, metrics = jax.jit(functools.partial(step.update_discriminator, method))(state, real, batch["tokens"], key)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        z = jax.random.normal(jax.random.split(key)[0], (4, method.networks.z_dim))
        text = method.networks.text_encoder.apply(state.frozen["text"], batch["tokens"])
        fake = method.networks.generator.apply(state.params["generator"], z, text)
        score = functools.partial(method.networks.discriminator.apply, params, text=text)
        return (score(fake) - score(real)).mean()

    value, gradients = loss(state.params["discriminator"])
    assert metrics["loss/discriminator"] == pytest.approx(float(value), rel=1e-4)
    assert metrics["gradient_norm/discriminator"] == pytest.approx(float(optax.tree.norm(gradients)), rel=1e-4)
    seen = jax.tree.map(lambda m: m / 0.5, moments(after, "discriminator"))
    close(seen, gradients, rtol=1e-3, atol=1e-6)
    # The first step of Adam is the rate, against the sign of the gradient.
    rate = config.train.discriminator_learning_rate
    expected = jax.tree.map(lambda p, g: p - rate * g / (abs(g) + 1e-8), state.params["discriminator"], seen)
    close(after.params["discriminator"], expected, atol=1e-6)


def test_two_discriminator_steps_see_a_part_each(config):
    changes = {"train.discriminator_steps": 2, "train.beta1": 0.5, "train.discriminator_learning_rate": 1e-7}
    method, state, batch, train_step = start(config, changes)
    assert len(batch["images"]) == 8
    after, _ = train_step(state, batch)

    by_hand, real = state, batch["images"].astype(jnp.float32) / 127.5 - 1
    update = jax.jit(functools.partial(step.update_discriminator, method))
    for i in range(2):
        key = step.stream(method.seed, f"discriminator {i}", 0)
        by_hand, _ = update(by_hand, real[i::2], batch["tokens"][i::2], key)
    close(moments(after, "discriminator"), moments(by_hand, "discriminator"), rtol=1e-3, atol=1e-5)
    for part in (0, 1):
        other, _ = train_step(state, batch | {"images": batch["images"].at[part::2].set(128)})
        assert not same(moments(other, "discriminator"), moments(after, "discriminator"))


def test_a_lazy_penalty_comes_rarely_and_as_much_stronger(config):
    lazy, state, batch, _ = start(config, {"loss.penalty_every": 3, "loss.penalty_weight": 0.2, "train.beta1": 0.5})
    lazy = dataclasses.replace(lazy, penalty_weight=optax.constant_schedule(0.2))
    eager = dataclasses.replace(lazy, penalty_every=1, penalty_weight=optax.constant_schedule(0.6))
    without = dataclasses.replace(eager, penalty=losses.no_penalty)
    real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)
    lazily, eagerly, never = (
        jax.jit(functools.partial(step.update_discriminator, method)) for method in (lazy, eager, without)
    )
    for number, like in ((0, eagerly), (1, never), (2, never), (3, eagerly)):
        now = state.replace(step=jnp.int32(number))
        (after, metrics), (expected, _) = (f(now, real, batch["tokens"], key) for f in (lazily, like))
        close(moments(after, "discriminator"), moments(expected, "discriminator"), rtol=1e-3, atol=1e-6)
        assert (metrics["loss/penalty"] > 0) == (number % 3 == 0)


def test_rates_and_weights_follow_their_schedules(config):
    method = method_of(
        config,
        {
            "train.schedule": "linear",
            "train.learning_rate_end": 0.5,
            "train.warmup_steps": 2,
            "train.beta2": 0.9,
            "train.beta2_end": 0.99,
            "loss.penalty_weight": 1.0,
            "loss.penalty_weight_end": 0.1,
        },
    )
    rate = config.train.generator_learning_rate
    values = [float(method.generator_rate(i)) for i in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(values, [0, rate / 2, rate, 0.75 * rate, 0.5 * rate], rtol=1e-5)
    config.train.warmup_steps = 100  # of ten steps: half of them at most
    short = Method.create(config, method.networks, 10)
    assert float(short.generator_rate(5)) == pytest.approx(rate)
    np.testing.assert_allclose([float(method.beta2(i)) for i in (0, 5, 10)], [0.9, 0.945, 0.99], rtol=1e-5)
    np.testing.assert_allclose([float(method.penalty_weight(i)) for i in (0, 5, 10)], [1, 0.55, 0.1], rtol=1e-5)


def test_the_penalty_counts_by_its_weight(config):
    """The gradient is linear in the weight, which falls from 1 to 0.5 over ten steps."""
    changes = {"loss.penalty_weight": 1.0, "loss.penalty_weight_end": 0.5, "train.schedule": "linear"}
    method, state, batch, _ = start(config, changes | {"train.beta1": 0.5})
    real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)

    @jax.jit
    def gradient(number, scale):
        scaled = dataclasses.replace(method, penalty_weight=lambda step: scale * method.penalty_weight(step))
        after, _ = step.update_discriminator(scaled, state.replace(step=number), real, batch["tokens"], key)
        return moments(after, "discriminator")

    without, at_start, at_end = gradient(0, 0.0), gradient(0, 1.0), gradient(10, 1.0)
    expected = jax.tree.map(lambda a, b: a + (b - a) / 2, without, at_start)
    close(at_end, expected, rtol=1e-3, atol=1e-6)
    assert not same(without, at_start)


def test_clipping_bounds_what_adam_sees(config):
    _, state, batch, train_step = start(config, {"train.clip_norm": 1e-3, "train.beta1": 0.5})
    after, metrics = train_step(state, batch)
    for name in ("generator", "discriminator"):
        assert metrics[f"gradient_norm/{name}"] > 1e-3  # as it was before clipping
        assert float(optax.tree.norm(moments(after, name))) == pytest.approx(0.5e-3, rel=1e-3)


def test_no_recompilation_after_the_first_call(config):
    method = method_of(config, SMALL | {"train.tune_text": True})
    batch, mesh = batch_of(config), parallel.make_mesh(1)
    state = parallel.init_on(mesh, lambda: first_state(method, batch))
    on_host = {name: np.asarray(array) for name, array in batch.items()}
    train_step = parallel.compile_step(functools.partial(step.train_step, method), mesh)
    for _ in range(3):
        state, _ = train_step(state, parallel.to_devices(on_host, mesh))
    assert train_step._cache_size() == 1 and state.step == 3


def test_the_same_inputs_give_the_same_bits(config):
    _, state, batch, train_step = start(config, {"loss.penalty": "wgan_gp"})
    first, second = train_step(state, batch), train_step(state, batch)
    assert same(first, second)


def test_every_step_draws_its_own_noise(config):
    _, state, batch, train_step = start(config, {"train.generator_learning_rate": 1e-9})
    (_, first), (_, later) = train_step(state, batch), train_step(state.replace(step=jnp.int32(1)), batch)
    assert first["logits/real"] == later["logits/real"] and first["logits/fake"] != later["logits/fake"]


def test_streams_differ_by_seed_name_and_step():
    keys = [(seed, name, number) for seed in (0, 1) for name in ("init", "generator") for number in (0, 1)]
    drawn = {tuple(jax.random.key_data(step.stream(*key)).tolist()) for key in keys}
    assert len(drawn) == len(keys)


def test_mismatched_captions_are_fakes(config):
    """With weight 1 they are the only ones: each picture with the caption before its own."""
    method, state, batch, train_step = start(config, {"loss.mismatch_weight": 1.0, "loss.penalty": "none"})
    _, metrics = train_step(state, batch)
    score = functools.partial(method.networks.discriminator.apply, state.params["discriminator"])
    real = batch["images"].astype(jnp.float32) / 127.5 - 1
    tokens = batch["tokens"]
    right, wrong = (score(real, step.encode(method, state.frozen, t)) for t in (tokens, tokens[jnp.arange(-1, 3)]))
    expected = (jax.nn.softplus(-right) + jax.nn.softplus(wrong)).mean()
    assert metrics["loss/discriminator"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("penalty", losses.PENALTIES)
def test_mismatched_captions_cost_no_convolution(config, penalty):
    """What the discriminator makes of pictures before it reads captions is computed and differentiated once."""
    residual = {"discriminator.kind": "residual", "discriminator.channels": (8,), "loss.penalty": penalty}
    convolutions = []
    for weight in (0.0, 0.5):
        method = method_of(config, SMALL | residual | {"loss.mismatch_weight": weight})
        batch = batch_of(config)
        state = jax.eval_shape(functools.partial(step.init_state, method, batch))
        traced = jax.make_jaxpr(functools.partial(step.train_step, method))(state, batch)
        convolutions.append(str(traced).count("conv_general_dilated["))
    assert convolutions[0] == convolutions[1] > 0


@pytest.mark.parametrize("penalty", losses.PENALTIES)
def test_penalties_do_not_see_mismatched_captions(config, penalty):
    results = []
    for weight in (0.0, 0.5):
        _, state, batch, train_step = start(config, {"loss.penalty": penalty, "loss.mismatch_weight": weight})
        results.append(train_step(state, batch)[1])
    for name in ("loss/penalty", "logits/real", "logits/fake"):
        assert results[0][name] == pytest.approx(float(results[1][name]), rel=1e-5), name


@pytest.mark.parametrize("penalty", losses.PENALTIES)
def test_every_pair_goes_with_every_penalty(config, penalty):
    method, state, batch, _ = start(config, {"loss.penalty": penalty})
    for name, metrics, moved in updates_of_all_pairs(step.update_discriminator, method, state, batch):
        assert all(np.isfinite(value) for value in metrics.values()), name
        assert (metrics["loss/penalty"] > 0) == (penalty != "none"), name
        assert np.isfinite(moved) and moved > 0, name


def test_every_pair_moves_the_generator(config):
    method, state, batch, _ = start(config)
    for name, metrics, moved in updates_of_all_pairs(step.update_generator, method, state, batch):
        assert all(np.isfinite(value) for value in metrics.values()), name
        assert np.isfinite(moved) and moved > 0, name


def updates_of_all_pairs(update, method, state, batch):
    """Metrics of each adversarial pair, and how far it moves the parameters; in one program, to compile once."""

    @jax.jit
    def all_pairs(state, batch):
        results = {}
        real, key = batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.key(0)
        for name, pair in losses.ADVERSARIAL.items():
            of_pair = dataclasses.replace(method, adversarial=pair)
            after, metrics = update(of_pair, state, real, batch["tokens"], key)
            results[name] = metrics, optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
        return results

    return [(name, *result) for name, result in all_pairs(state, batch).items()]
