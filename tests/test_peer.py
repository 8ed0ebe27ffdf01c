"""Our step against an independent one in PyTorch: pictures, logits, losses, penalties, gradients, whole steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_step import draw

from t2igan import nets, step

torch = pytest.importorskip("torch", reason="the extra 'peer' is not installed")
from benchmarks.peer import step as peer_step  # noqa: E402
from benchmarks.peer.networks import Text  # noqa: E402
from benchmarks.peer.weights import as_ours  # noqa: E402

VOCAB = 40
# Both compute in float32, in another order: a single operation differs by 1e-7 of its terms, and sums cancel.
CLOSE = 2e-5  # of the norm
# Gradients of the attention's small weights are what is left of larger terms, and less exact.
CLOSE_GRADIENTS = 1e-4
# A first step of Adam's has the size of the learning rate and the sign of the gradient, whatever that is: where it is
# almost zero its last digits decide.
CLOSE_AFTER_STEPS = 5e-4


def apart(ours, theirs):
    """The norm of the difference as a share of the norm."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    return np.linalg.norm(ours - theirs) / max(np.linalg.norm(ours), 1e-12)


def by_path(tree):
    """Our parameters (or gradients) of a network by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree["params"])
    return {tuple(key.key for key in path): np.asarray(value) for path, value in flat}


def all_close(ours, network, tensors, share=CLOSE_GRADIENTS):
    theirs = as_ours(network, tensors)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        if path[-2:] == ("key", "bias"):
            continue  # adds the same to the logits of all words, which the softmax takes out: its gradient is noise
        assert apart(value, theirs[path]) < share, (path, apart(value, theirs[path]))


@pytest.fixture(scope="module", params=["pixels", "codes"])
def game(request):
    """A tiny game: configuration, method, a batch in which a caption comes twice, and random parameters throughout."""
    from tiny import in_space, shrink

    from configs.base import get_config

    config, on_codes = shrink(get_config()), request.param == "codes"
    config.train.warmup_steps = 0
    if on_codes:
        in_space(config, "autoencoder", autoencoder_steps=1)
        with config.ignore_type():
            config.loss.paired_weight = 2.0
    method = step.Method.create(config, nets.build(config, VOCAB), total_steps=10)
    random = np.random.default_rng(0)
    tokens = random.integers(1, VOCAB, (8, 6)).astype(np.int32)
    tokens[:, 4:] *= random.integers(0, 2, (8, 2), np.int32)  # some padding
    tokens[3] = tokens[2]
    images = jnp.asarray(random.integers(0, 256, (8, 16, 16, 3)), jnp.uint8)
    if on_codes:
        images = jnp.asarray(random.normal(size=(8, 4, 4, 6)), jnp.float16)
    batch = {"images": images, "tokens": jnp.asarray(tokens)}
    like = jax.eval_shape(functools.partial(step.init_state, method, batch))
    return config, method, batch, draw(like.params | like.frozen)


def peer_of(config, params):
    return peer_step.Peer(config, VOCAB, jax.device_get(params))


def pictures(array):
    return torch.from_numpy(np.array(array)).permute(0, 3, 1, 2)


def noise_of(method, number, num):
    """The noise of a step's two updates, as `t2igan.step` draws it."""
    key = jax.random.split(step.stream(method.seed, "discriminator 0", number))[0]
    keys = key, step.stream(method.seed, "generator", number)
    return tuple(torch.from_numpy(np.array(step.noise(method, key, num))) for key in keys)


def test_networks_agree(game):
    config, method, batch, params = game
    peer = peer_of(config, params)
    z = jax.random.normal(jax.random.key(1), (8, config.generator.z_dim))

    @jax.jit
    def play(params, tokens, z):
        text = step.encode(method, params, tokens)
        fake = method.networks.generator.apply(params["generator"], z, text)
        return text, fake, method.networks.discriminator.apply(params["discriminator"], fake, text)

    text, fake, logits = play(params, batch["tokens"], z)
    with torch.no_grad():
        of_peer = peer.text_encoder(torch.from_numpy(np.array(batch["tokens"])).long())
        drawn = peer.generator(torch.from_numpy(np.array(z)), of_peer)
        judged = peer.discriminator(drawn, of_peer.sentence)
    assert apart(text.sentence, of_peer.sentence) < CLOSE
    assert apart(text.words, of_peer.words) < CLOSE
    np.testing.assert_array_equal(text.mask, of_peer.mask)
    assert apart(fake, drawn.permute(0, 2, 3, 1)) < CLOSE
    assert apart(logits, judged) < CLOSE
    assert np.std(logits) > 0.01 and np.std(text.sentence, axis=0).mean() > 0.01  # there is something to compare


SETTINGS = {
    "non-saturating, R1": {"loss.adversarial": "non_saturating", "loss.penalty": "r1"},
    "R3GAN": {"loss.adversarial": "relativistic", "loss.penalty": "r1_r2"},
    "DF-GAN": {"loss.adversarial": "hinge", "loss.penalty": "ma_gp", "loss.mismatch_weight": 0.5},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_penalties_and_gradients_agree(game, name):
    config, _, batch, params = game
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(SETTINGS[name])
    method = step.Method.create(config, nets.build(config, VOCAB), total_steps=10)
    weight = float(method.penalty_weight(0))
    real = method.networks.to_network({}, batch["images"])
    z = jax.random.normal(jax.random.key(1), (8, config.generator.z_dim))
    key = jax.random.key(0)

    @jax.jit
    def ours(params):
        def loss_of(player, loss):
            mean = lambda own: loss(method, params | {player: own}, 0, real, batch["tokens"], key, z)
            return jax.value_and_grad(mean, has_aux=True)(params[player])

        text = step.encode(method, params, batch["tokens"])
        fake = method.networks.generator.apply(params["generator"], z, text)
        return (
            loss_of("discriminator", step.discriminator_loss), loss_of("generator", step.generator_loss), text, fake,
        )  # fmt: skip

    ((d_loss, metrics), d_grads), ((g_loss, _), g_grads), text, fake = ours(params)
    peer = peer_of(config, params)
    of_peer = Text(*(torch.from_numpy(np.array(x)) for x in (text.sentence, text.words, text.mask)))
    tokens = torch.from_numpy(np.array(batch["tokens"]))
    critic = peer.discriminator
    loss, judged = peer_step.discriminator_loss(
        config, critic, pictures(real), pictures(fake), tokens, of_peer, weight, peer_step.by_autograd, critic
    )
    loss.backward()
    assert apart(d_loss, loss.item()) < CLOSE
    assert apart(metrics["logits/real"], judged.real.detach()) < CLOSE
    assert apart(metrics["logits/fake"], judged.fake.detach()) < CLOSE
    assert apart(metrics["loss/penalty"], judged.penalty.detach()) < CLOSE
    assert judged.penalty.min() > 0
    all_close(by_path(d_grads), critic, {n: p.grad for n, p in critic.named_parameters()})
    peer.config = config  # and in the form that can be compiled as a whole
    inputs = dict(critic.named_parameters()), pictures(real), pictures(fake), tokens, of_peer, weight
    of_whole, (loss, _) = peer.transformed()(*inputs)
    assert apart(d_loss, loss.item()) < CLOSE
    all_close(by_path(d_grads), critic, {name: grad.detach() for name, grad in of_whole.items()})

    drawn = peer.generator(torch.from_numpy(np.array(z)), of_peer)
    loss, _ = peer_step.generator_loss(config, critic, pictures(real), drawn, of_peer)
    loss.backward()
    assert apart(g_loss, loss.item()) < CLOSE
    all_close(by_path(g_grads), peer.generator, {n: p.grad for n, p in peer.generator.named_parameters()})


def test_three_whole_steps_agree(game):
    """Learning rates, moments, clipping and averages too."""
    config, method, batch, params = game
    peer = peer_of(config, params)
    like = jax.eval_shape(functools.partial(step.init_state, method, batch))
    state = step.State(
        step=jnp.int32(0),
        params={name: params[name] for name in like.params},
        ema={name: params[name] for name in like.ema},
        opt_state=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like.opt_state),
        frozen={name: params[name] for name in like.frozen},
    )
    train_step = jax.jit(functools.partial(step.train_step, method))
    images, tokens = torch.from_numpy(np.array(batch["images"])), torch.from_numpy(np.array(batch["tokens"])).long()
    for number in range(3):
        settings = peer_step.Settings.of(method, number)
        theirs = peer.step(images, tokens, noise_of(method, number, 8), settings)
        state, metrics = train_step(state, batch)
        for name, value in theirs.items():
            if abs(value.item()) > 1e-6:  # a loss that the game has brought to nothing has no digits to compare
                assert apart(metrics[name], value.item()) < (CLOSE_AFTER_STEPS if number else CLOSE_GRADIENTS), name
            else:
                assert abs(metrics[name] - value.item()) < 1e-7, name
    for name, network in (("generator", peer.generator), ("discriminator", peer.discriminator)):
        all_close(by_path(state.params[name]), network, dict(network.named_parameters()), CLOSE_AFTER_STEPS)
    all_close(by_path(state.ema["generator"]), peer.ema, dict(peer.ema.named_parameters()), CLOSE_AFTER_STEPS)
    moved = optax.tree.norm(optax.tree.sub(state.params["generator"], params["generator"]))
    assert moved / optax.tree.norm(params["generator"]) > 2 * CLOSE_AFTER_STEPS  # so that says something
