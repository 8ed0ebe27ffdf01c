"""The techniques in the step: each does what its switch says, and none leaves a trace where it is off."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import SMALL, close, first_state, moments, same, start

from t2igan import nets, step
from t2igan.method import losses
from t2igan.method.techniques import regularize
from t2igan.step import Method
from t2igan.training.distributed import parallel

# Switch -> what turns it on.
TECHNIQUES = {
    "augmentation": {"augment.probability": 0.5},
    "adaptive augmentation": {"augment.target": 0.6},
    "instance noise": {"augment.instance_noise": 0.1},
    "caption noise": {"augment.sentence_noise": 0.1},
    "caption dropout": {"augment.caption_dropout": 0.5},
    "spectral norm": {"discriminator.normalisation": "spectral"},
    "weight norm": {"discriminator.normalisation": "weight"},
    "dropout": {"discriminator.dropout": 0.5},
    "label smoothing": {"loss.label_smoothing": 0.1},
    "one-step attack": {"loss.attack_steps": 1},
    "projected attack": {"loss.attack_steps": 3},
    "weight decay": {"train.weight_decay": 0.1},
    "adaptive clipping": {"train.adaptive_clip": 0.01},
    "optimistic Adam": {"train.optimizer": "optimistic_adam"},
    "microbatches": {"train.microbatches": 2},
    "tracks": {"train.ema_tracks": (0.25, 4.0)},
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_each_changes_the_step_and_keeps_it_finite(config, name):
    _, state, batch, plain_step = start(config)
    plain, plain_metrics = plain_step(state, batch)
    _, state, batch, train_step = start(config, TECHNIQUES[name])
    after, metrics = train_step(state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert all(np.isfinite(value) for value in metrics.values())
    extra = {"adaptive augmentation": {"logits/real_sign", "augment_probability"}}.get(name, set())
    assert set(metrics) == set(plain_metrics) | extra
    unchanged = name in ("tracks", "adaptive augmentation")  # the one follows, the other starts at probability 0
    assert same(after.params["discriminator"], plain.params["discriminator"]) == unchanged


def test_off_leaves_no_trace(config):
    """No state, no loop, and no random draw but the normal noise of the pictures."""
    method, state, batch, _ = start(config)
    assert state.tracks == {} and state.control == {}
    traces = ("name=_bernoulli", "while[", "scan[")
    traced = lambda: str(jax.make_jaxpr(functools.partial(step.train_step, method))(state, batch))
    assert not any(trace in traced() for trace in traces) and "name=_normal" in traced()
    method, *_ = start(config, {"augment.probability": 0.5, "loss.attack_steps": 2, "train.microbatches": 2})
    assert sum(trace in traced() for trace in traces) >= 2


def test_microbatches_are_the_whole_batch(config):
    changes = {"train.beta1": 0.5, "loss.adversarial": "relativistic", "loss.penalty": "r1_r2"}
    _, state, batch, train_step = start(config, changes | {"train.batch_images": 8})
    whole, whole_metrics = train_step(state, batch)
    for parts in (2, 4):
        config.train.microbatches = parts
        method = Method.create(config, start(config, changes | {"train.batch_images": 8})[0].networks, 10)
        method = dataclasses.replace(method, microbatches=parts)
        after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
        for name in ("generator", "discriminator"):
            close(moments(after, name), moments(whole, name), rtol=1e-4, atol=1e-5)
        for name in ("loss/discriminator", "loss/penalty", "logits/real", "logits/fake"):
            assert metrics[name] == pytest.approx(float(whole_metrics[name]), rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("changes", [{}, {"loss.penalty_every": 3}, {"train.discriminator_steps": 2}])
def test_what_the_number_decides_is_what_the_step_decides(config, changes):
    method, state, batch, by_itself = start(config, changes)
    lazy = "loss.penalty_every" in changes
    assert [step.decided(method, i) for i in (0, 1)] == (
        [(("penalty_due", True),), (("penalty_due", False),)] if lazy else [(), ()]
    )
    for number in (0, 1) if lazy else ():
        now = state.replace(step=jnp.int32(number))
        told = jax.jit(functools.partial(step.train_step, method, **dict(step.decided(method, number))))
        (after, metrics), (expected, expected_metrics) = told(now, batch), by_itself(now, batch)
        close(after.params, expected.params, rtol=1e-4, atol=1e-5)
        close(metrics, expected_metrics, rtol=1e-4, atol=1e-5)
        assert "cond[" not in str(jax.make_jaxpr(told)(now, batch))


def test_further_averages_have_their_own_half_lives(config):
    changes = {"train.ema_half_life_images": 4.0, "train.ema_ramp": 0.0, "train.ema_tracks": (0.5, 2.0)}
    _, state, batch, train_step = start(config, changes)
    zero = jax.tree.map(jnp.zeros_like, state.ema)
    state = state.replace(ema=zero, tracks={"0.5": zero, "2": zero})
    after, _ = train_step(state, batch)
    # A batch of 4 pictures is one half-life of the first, two of a half as long, and half of one twice as long.
    for average, share in ((after.ema, 0.5), (after.tracks["0.5"], 0.75), (after.tracks["2"], 1 - 0.5**0.5)):
        expected = jax.tree.map(lambda x: share * x, after.params["generator"])  # noqa: B023
        close(average["generator"], expected, rtol=1e-5, atol=1e-7)


def test_the_probability_follows_the_signs_of_the_real_logits(config):
    changes = {"augment.target": 0.6, "augment.adapt_images": 40, "augment.probability": 0.5}
    _, state, batch, train_step = start(config, changes)
    after, metrics = train_step(state, batch)
    moved = 0.1 if metrics["logits/real_sign"] > 0.6 else -0.1
    assert metrics["augment_probability"] == pytest.approx(0.5)
    assert float(after.control["augment_probability"]) == pytest.approx(0.5 + moved)
    # It counts: at 0 pictures are shown as they are.
    never = state.replace(control={"augment_probability": jnp.float32(0.0)})
    _, plain = start(config, {"augment.target": 0.0, "augment.probability": 0.0})[3](never.replace(control={}), batch)
    _, adaptive = train_step(never, batch)
    assert adaptive["logits/real"] == pytest.approx(float(plain["logits/real"]), rel=1e-5)
    assert adaptive["logits/real"] != metrics["logits/real"]


@pytest.mark.parametrize("name", ["relativistic", "wasserstein", "hinge"])
def test_where_only_differences_count_the_sign_is_that_of_a_difference(config, name):
    """Shifting all logits changes nothing then, and must not change the probability."""
    changes = {"augment.target": 0.6, "loss.adversarial": name, "loss.penalty": "none"}
    _, state, batch, train_step = start(config, changes)
    signs = []
    for shift in (-50.0, 50.0):
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: x + shift if x.shape == (1,) and path[-1].key == "bias" else x,  # noqa: B023
            state.params["discriminator"],
        )
        _, metrics = train_step(state.replace(params=state.params | {"discriminator": params}), batch)
        signs.append(float(metrics["logits/real_sign"]))
    assert abs(metrics["logits/real"]) > 20  # it was shifted
    assert (signs[0] == signs[1]) == losses.ADVERSARIAL[name].relative == (name != "hinge")
    assert abs(signs[0]) < 1 or name == "hinge"


def test_several_batches_at_once_are_changed_like_one(config):
    """So that what was attacked, or is compared, is what is judged, in however many passes."""
    changes = {"augment.probability": 0.9, "augment.instance_noise": 0.3, "augment.instance_noise_end": 0.3}
    method, state, batch, _ = start(config, changes)
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
    text = step.encode(method, state.frozen, batch["tokens"])
    critic = step.make_critic(method, state.params["discriminator"], 0, jax.random.key(3), len(images))
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), (images, text))
    logits = critic(*twice)
    close(logits, jnp.tile(critic(images, text), 2), rtol=1e-4, atol=1e-5)
    assert len(np.unique(np.asarray(logits[: len(images)]))) == len(images)


def test_instance_noise_fades_by_its_schedule(config):
    changes = {"augment.instance_noise": 1.0, "augment.instance_noise_end": 0.0, "train.schedule": "linear"}
    method, state, batch, train_step = start(config, changes)
    _, plain = start(config, {"train.schedule": "linear"})[3](state.replace(step=jnp.int32(10)), batch)
    _, at_end = train_step(state.replace(step=jnp.int32(10)), batch)
    assert at_end["logits/real"] == pytest.approx(float(plain["logits/real"]), rel=1e-5)
    assert float(method.instance_noise(5)) == pytest.approx(0.5)


def test_the_discriminator_reads_the_caption_that_the_generator_reads_blurred(config):
    method, state, batch, _ = start(config, {"augment.sentence_noise": 0.5})
    z, key = jnp.zeros((4, method.networks.z_dim)), jax.random.key(0)
    text, fake = step.draw(method, state.frozen | state.params, batch["tokens"], z, key)
    read = step.encode(method, state.frozen, batch["tokens"])
    assert (text.sentence == read.sentence).all() and (text.words == read.words).all()
    clean = method.networks.generator.apply(state.params["generator"], z, text)
    assert not same(fake, clean)


def test_a_dropped_caption_is_no_mismatch(config):
    """With all captions dropped and mismatched ones the only fakes, there are none: the plain fakes are left."""
    changes = {"loss.mismatch_weight": 1.0, "loss.penalty": "none", "augment.caption_dropout": 0.999999}
    method, state, batch, train_step = start(config, changes)
    _, metrics = train_step(state, batch)
    judge = lambda logit: float(jax.nn.softplus(logit))
    # logits of real and fake are means; with a batch whose captions are all dropped the loss is theirs alone.
    assert metrics["loss/discriminator"] != pytest.approx(judge(0.0) * 2) and np.isfinite(metrics["loss/discriminator"])
    text = regularize.no_caption(step.encode(method, state.frozen, batch["tokens"]))
    real = batch["images"].astype(jnp.float32) / 127.5 - 1
    logits = method.networks.discriminator.apply(state.params["discriminator"], real, text)
    assert metrics["logits/real"] == pytest.approx(float(logits.mean()), rel=1e-4)


def test_spectral_norm_bounds_what_the_losses_see(config):
    method, state, batch, train_step = start(config, {"discriminator.normalisation": "spectral"})
    big = jax.tree.map(lambda x: 100 * x, state.params["discriminator"])
    state = state.replace(params=state.params | {"discriminator": big})
    _, metrics = train_step(state, batch)
    assert abs(metrics["logits/real"]) < 100
    config.discriminator.normalisation = "none"
    plain = Method.create(config, method.networks, 10)
    _, unbounded = jax.jit(functools.partial(step.train_step, plain))(state, batch)
    assert abs(unbounded["logits/real"]) > 10 * abs(metrics["logits/real"])


@pytest.mark.parametrize(
    "name", ["augmentation", "adaptive augmentation", "spectral norm", "projected attack", "dropout"]
)
def test_one_device_equals_many(config, name):
    method, state, batch, _ = start(config, TECHNIQUES[name] | {"train.batch_images": 8, "train.beta1": 0.5})
    results = []
    for devices in (1, 4):
        mesh = parallel.make_mesh(devices)
        train_step = parallel.compile_step(functools.partial(step.train_step, method), mesh)
        copied = jax.device_put(jax.tree.map(np.asarray, state), parallel.replicated(mesh))
        on_mesh = parallel.to_devices({key: np.asarray(array) for key, array in batch.items()}, mesh)
        results.append(jax.device_get(train_step(copied, on_mesh)))
    (one, one_metrics), (many, many_metrics) = results
    close(moments(one, "discriminator"), moments(many, "discriminator"), rtol=1e-3, atol=1e-5)
    close(one_metrics, many_metrics, rtol=1e-3, atol=1e-5)


def test_the_cycle_term_reads_the_caption_back(config):
    from test_step import method_of, text_phase

    method, _, batch, _ = start(config, {"loss.cycle_weight": 2.0})
    state = first_state(method, batch, text_phase(method, config, batch))
    after, metrics = jax.jit(functools.partial(step.train_step, method))(state, batch)
    assert 0 < metrics["loss/cycle"] < 2
    without = dataclasses.replace(method, cycle_weight=0.0)
    other, _ = jax.jit(functools.partial(step.train_step, without))(state, batch)
    assert not same(other.params["generator"], after.params["generator"])
    assert same(other.params["discriminator"], after.params["discriminator"])
    assert method_of(config, SMALL).cycle_weight == 2.0


@pytest.mark.parametrize("kind", ["residual", "mlp"])
def test_guidance_goes_from_no_caption_through_the_caption(config, kind):
    """0 is the style of no caption, 1 the caption's own; the style moves along the line between them."""
    config.generator.kind = kind
    generator, random = nets.build(config, 40).generator, np.random.default_rng(0)
    text = nets.Text(
        *(jnp.asarray(random.normal(size=s), jnp.float32) for s in ((2, 8), (2, 5, 8))), jnp.ones((2, 5), bool)
    )
    z = jnp.asarray(random.normal(size=(2, 4)), jnp.float32)
    params = jax.jit(generator.init)(jax.random.key(0), z, text)
    params = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape) / 4, jnp.float32), params)
    drawn = jax.jit(generator.apply)
    np.testing.assert_allclose(drawn(params, z, text, 1.0), drawn(params, z, text), rtol=1e-3, atol=1e-3)
    without = text.replace(sentence=jnp.zeros_like(text.sentence))
    np.testing.assert_allclose(drawn(params, z, text, 0.0), drawn(params, z, without), rtol=1e-3, atol=1e-3)
    assert abs(drawn(params, z, text, 2.0) - drawn(params, z, text)).max() > 1e-2


def test_contrast_sees_the_pairs_of_all_devices():
    """Each caption against the pictures of all devices: the same loss as on one, and not each device's own."""
    random = np.random.default_rng(0)
    images, sentences = (jnp.asarray(random.normal(size=(8, 6)), jnp.float32) for _ in range(2))
    loss = jax.jit(lambda x, y: losses.contrastive(x, y, 5.0))
    mesh = parallel.make_mesh(4)
    split = [jax.device_put(x, parallel.split(mesh)) for x in (images, sentences)]
    np.testing.assert_allclose(loss(*split), loss(images, sentences), rtol=1e-5)
    alone = jnp.concatenate([loss(images[i : i + 2], sentences[i : i + 2]) for i in range(0, 8, 2)])
    assert abs(alone - loss(images, sentences)).min() > 0.05
