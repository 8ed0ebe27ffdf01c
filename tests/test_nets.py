"""Shapes at many sizes, what must not influence what, and the scale of things at the start."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets
from t2igan.nets import layers
from t2igan.nets.layers import Text
from t2igan.nets.text_encoder import BagOfPairs

VOCAB = 50
SIZES = {
    "16px": {"data.image_size_px": 16},
    "grey": {"data.channels": 1},
    "28px": {"data.image_size_px": 28, "generator.base_px": 7},
    "32px_by_patches": {"data.image_size_px": 32, "generator.patch_px": 2, "discriminator.patch_px": 2},
    "256px": {
        "data.image_size_px": 256,
        "generator.channels": (8,) * 7,
        "discriminator.channels": (8,) * 7,
        "image_encoder.channels": (8,) * 6,
    },
    "mlp": {"generator.kind": "mlp", "discriminator.kind": "mlp"},
}


def build(config, changes=()):
    config.update_from_flattened_dict(dict(changes))
    return nets.build(config, VOCAB)


def some_tokens(batch=3, length=12):
    """Captions of several lengths, padded with 0."""
    tokens = np.random.default_rng(0).integers(3, VOCAB, (batch, length))
    tokens[np.arange(length) >= np.linspace(length // 2, length, batch).astype(int)[:, None]] = 0
    return jnp.asarray(tokens, jnp.int32)


def noise(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def trained(init, *arguments):
    """Parameters as after some training, none of them zero; initialisers take long to compile."""

    def draw(path, leaf):
        values = noise(zlib.crc32(jax.tree_util.keystr(path).encode()), *leaf.shape)
        if leaf.ndim > 1:
            return values / np.prod(leaf.shape[:-1]) ** 0.5
        return 0.1 * values + (path[-1].key == "scale")

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0), *arguments))


def initial(networks, z, tokens, images):
    """Parameters and outputs of all networks."""
    # Not the default generator of bits: that takes XLA half a minute to compile here.
    keys = iter(jax.random.split(jax.random.key(0, impl="rbg"), 5))
    text, text_params = networks.text_encoder.init_with_output(next(keys), tokens)
    fake, generator_params = networks.generator.init_with_output(next(keys), z, text)
    logits, discriminator_params = networks.discriminator.init_with_output(next(keys), images, text)
    features, image_params = networks.image_encoder.init_with_output(next(keys), images)
    matched, matching_params = networks.matching.init_with_output(next(keys), features, text.sentence)
    outputs = vars(text) | {"fake": fake, "logits": logits, "features": features} | matched._asdict()
    return [text_params, generator_params, discriminator_params, image_params, matching_params], outputs


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", SIZES)
def test_shapes_and_float32_outside(config, size, dtype):
    networks = build(config, SIZES[size] | {"compute_dtype": dtype})
    px, channels = config.data.image_size_px, config.data.channels
    images = jnp.zeros((3, px, px, channels))
    z, tokens = noise(0, 3, networks.z_dim), some_tokens()
    params, outputs = jax.eval_shape(lambda: initial(networks, z, tokens, images))
    assert {name: x.shape for name, x in outputs.items()} == {
        "sentence": (3, config.text_encoder.sentence_dim),
        "words": (3, 12, config.text_encoder.width),
        "mask": (3, 12),
        "fake": (3, px, px, channels),
        "logits": (3,),
        "features": (3, config.image_encoder.features),
        "images": (3, config.image_encoder.features),
        "sentences": (3, config.image_encoder.features),
        "inverse_temperature": (),
    }
    assert outputs.pop("mask").dtype == bool
    assert {x.dtype for x in jax.tree.leaves((params, outputs))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("changes", [{}, {"compute_dtype": "bfloat16"}, SIZES["mlp"]], ids=str)
def test_everything_starts_at_a_sane_scale(config, changes):
    networks = build(config, changes)
    arguments = noise(0, 16, networks.z_dim), some_tokens(16), noise(1, 16, 16, 16, 3)
    _, outputs = jax.jit(functools.partial(initial, networks))(*arguments)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(outputs))
    assert 0.1 < outputs["fake"].std() < 1.5
    assert 0.1 < outputs["logits"].std() < 5
    # Whatever the encoder's training left behind, the sentence has unit variance.
    np.testing.assert_allclose(outputs["sentence"].std(-1), np.ones(16), rtol=0.02)


@pytest.fixture
def drawing(config):
    """A text encoder and a generator, tokens -> Text and (Text) -> pictures, and tokens."""
    networks, tokens = build(config), some_tokens()
    z = noise(0, 3, networks.z_dim)
    text_params = trained(networks.text_encoder.init, tokens)
    encode = jax.jit(functools.partial(networks.text_encoder.apply, text_params))
    params = trained(networks.generator.init, z, encode(tokens))
    return encode, jax.jit(functools.partial(networks.generator.apply, params, z)), tokens


def test_padding_does_not_influence_text_nor_picture(drawing):
    encode, draw, tokens = drawing
    text, longer = encode(tokens), encode(jnp.pad(tokens, ((0, 0), (0, 7))))
    np.testing.assert_allclose(longer.sentence, text.sentence, atol=1e-5)
    real = np.asarray(text.mask)
    np.testing.assert_allclose(np.asarray(longer.words[:, :12])[real], np.asarray(text.words)[real], atol=1e-5)
    np.testing.assert_allclose(draw(longer), draw(text), rtol=1e-4, atol=1e-4)


def test_a_token_counts_in_its_own_caption_only(drawing):
    encode, draw, tokens = drawing
    text, other = encode(tokens), encode(tokens.at[0, 2].set((tokens[0, 2] + 1) % VOCAB))
    for before, after in ((text.sentence, other.sentence), (draw(text), draw(other))):
        assert abs(after - before)[0].max() > 1e-3
        np.testing.assert_allclose(after[1:], before[1:], atol=1e-5)


def test_words_count_where_the_mask_says(drawing):
    encode, draw, tokens = drawing
    text = encode(tokens)
    noisy, real = text.words + noise(2, *text.words.shape), text.mask[..., None]
    picture = draw(text)
    np.testing.assert_array_equal(draw(text.replace(words=jnp.where(real, text.words, noisy))), picture)
    assert abs(draw(text.replace(words=jnp.where(real, noisy, text.words))) - picture).max() > 1e-2


MULTI_SCALE = {"discriminator.multi_scale": True}


@pytest.mark.parametrize("changes", [{}, SIZES["mlp"], MULTI_SCALE], ids=["residual", "mlp", "multi_scale"])
def test_the_discriminator_judges_each_picture_alone(config, changes):
    networks = build(config, changes)
    images, sentences = noise(0, 4, 16, 16, 3), noise(1, 4, 8)
    text = Text(sentences, noise(2, 4, 5, 8), jnp.ones((4, 5), bool))
    params = trained(networks.discriminator.init, images, text)

    @jax.jit
    def judge(images, sentences):
        return networks.discriminator.apply(params, images, text.replace(sentence=sentences))

    logits = judge(images, sentences)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(judge(images[order], sentences[order]), logits[order], rtol=1e-4, atol=1e-4)
    for changed in (judge(images.at[1].add(0.5), sentences), judge(images, sentences.at[1].add(0.5))):
        assert abs(changed - logits)[1] > 1e-2
        np.testing.assert_allclose(np.delete(changed, 1), np.delete(logits, 1), rtol=1e-4, atol=1e-4)


def test_the_logit_is_the_mean_of_the_heads_of_all_maps(config):
    """Each head sees a map of its own: with the last one's weights at zero the others still judge, at two thirds."""
    images, text = noise(0, 4, 16, 16, 3), Text(noise(1, 4, 8), noise(2, 4, 5, 8), jnp.ones((4, 5), bool))
    plain, heads = (build(config, {"discriminator.multi_scale": flag}).discriminator for flag in (False, True))
    params = trained(heads.init, images, text)
    names = {name for name in params["params"] if name.startswith("realness")}
    assert names == {"realness", "realness_8", "realness_16"}
    logits = {"all": jax.jit(heads.apply)(params, images, text)}
    for name in names:
        suffix = name.removeprefix("realness")
        others = {
            key: jax.tree.map(jnp.zeros_like, of_one)
            if key
            in {f"{part}{other}" for part in ("realness", "project") for other in ("", "_8", "_16")}
            - {name, f"project{suffix}"}
            else of_one
            for key, of_one in params["params"].items()
        }
        logits[name] = jax.jit(heads.apply)({"params": others}, images, text)
    np.testing.assert_allclose(sum(logits[name] for name in names), logits["all"], rtol=1e-3, atol=1e-4)
    own = {key: of_one for key, of_one in params["params"].items() if not key.endswith(("_8", "_16"))}
    np.testing.assert_allclose(logits["realness"], plain.apply({"params": own}, images, text) / 3, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, SIZES["mlp"]], ids=["residual", "mlp"])
def test_dropout_wants_a_stream_and_keeps_the_mean(config, changes):
    images, text = noise(0, 2, 16, 16, 3), Text(noise(1, 2, 8), noise(2, 2, 5, 8), jnp.ones((2, 5), bool))
    judge = build(config, changes | {"discriminator.dropout": 0.5}).discriminator
    params = trained(judge.init, images, text)
    certain = jax.jit(judge.apply)(params, images, text)
    drawn = lambda seed: judge.apply(params, images, text, rngs={"dropout": jax.random.key(seed)})
    logits = jax.jit(jax.vmap(drawn))(jnp.arange(2000))
    assert logits.std(0).min() > 1e-2
    np.testing.assert_allclose(logits.mean(0), certain, atol=5 * float(logits.std()) / 2000**0.5)


def test_leaky_relu_keeps_the_second_moment():
    x = noise(0, 100_000)
    assert float((layers.leaky_relu(x) ** 2).mean()) == pytest.approx(1.0, rel=0.02)
    assert layers.leaky_relu(jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16


def test_resampling_by_hand():
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]]).reshape(1, 2, 2, 1)
    doubled = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 6, 6], [3, 3, 6, 6]])
    np.testing.assert_array_equal(layers.upsample(x)[0, ..., 0], doubled)
    np.testing.assert_array_equal(layers.downsample(x)[0, ..., 0], [[3.0]])


def test_resampling_undoes_itself():
    x = noise(0, 2, 8, 8, 3)
    np.testing.assert_allclose(layers.downsample(layers.upsample(x)), x, rtol=1e-6)


@pytest.mark.parametrize("patch_px", [1, 2, 4])
def test_space_and_depth_are_inverse(patch_px):
    x = noise(0, 2, 8, 8, 3)
    folded = layers.space_to_depth(x, patch_px)
    assert folded.shape == (2, 8 // patch_px, 8 // patch_px, 3 * patch_px**2)
    np.testing.assert_array_equal(layers.depth_to_space(folded, patch_px), x)


def test_a_patch_becomes_the_channels_of_its_place():
    x = jnp.arange(32.0).reshape(1, 4, 4, 2)
    np.testing.assert_array_equal(layers.space_to_depth(x, 2)[0, 1, 0], x[0, 2:4, 0:2].reshape(-1))


def test_a_bag_of_pairs_reads_order_and_no_padding():
    """As it is drawn, without training: what is near in it are captions that share pairs."""
    bag = BagOfPairs(vocab_size=40, width=32, sentence_dim=16)
    tokens = jnp.array([[1, 5, 6, 7, 8, 2], [1, 7, 8, 5, 6, 2], [1, 6, 5, 8, 7, 2]])
    text, params = bag.init_with_output(jax.random.key(0), tokens)
    padded = bag.apply(params, jnp.pad(tokens, [(0, 0), (0, 3)]))
    np.testing.assert_allclose(text.sentence, padded.sentence, atol=1e-5)
    assert not np.asarray(padded.words)[:, 6:].any()
    same, swapped, shuffled = np.asarray(text.sentence @ text.sentence[0] / 16)
    assert same == pytest.approx(1, abs=1e-3) and same > swapped > shuffled
