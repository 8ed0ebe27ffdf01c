"""Inception-v3 and CLIP in Flax against independent implementations in torch, with seeded weights.

The golden values were computed by pytorch-fid 0.3.0 (its `InceptionV3([3])`) and Hugging Face's `CLIPModel`
(transformers 5.23, torch 2.15) with the weights of `tests/pretrained.py`. Where torch and those packages are installed,
the same comparison is made with them on the spot; everywhere else the golden values stand for them.
"""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretrained import CLIP_CONFIG, pictures, seeded
from safetensors.numpy import save_file
from squares import QUICK, squares, tokenizer_of

from configs.base import get_config
from t2igan.data.tokenizer import PretrainedTokenizer
from t2igan.errors import UserError
from t2igan.evaluation.evaluate import evaluate
from t2igan.evaluation.extractors import Extractor, FeatureExtractors, Matcher
from t2igan.evaluation.extractors import inception as inception_extractor
from t2igan.evaluation.extractors.clip import Clip
from t2igan.evaluation.extractors.inception import Inception
from t2igan.nets import inception as net
from t2igan.nets.clip import ACTIVATIONS, build_clip, params_of_hugging_face
from t2igan.training import train


def inception_shapes():
    """Names and shapes as pytorch-fid has them."""
    names = {"kernel": "conv.weight", "scale": "bn.weight", "bias": "bn.bias"}
    names |= {"mean": "bn.running_mean", "variance": "bn.running_var"}
    init = jax.eval_shape(net.Inception().init, jax.random.key(0), jnp.zeros((1, 8, 8, 3), jnp.float32))
    shapes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(init["params"]):
        *modules, last = [key.key for key in path]
        shape = tuple(leaf.shape[i] for i in (3, 2, 0, 1)) if last == "kernel" else leaf.shape
        shapes[".".join([*modules, names[last]])] = shape
    return shapes | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}


def clip_shapes():
    """Names and shapes as Hugging Face's CLIPModel has them."""
    text, vision, out = CLIP_CONFIG["text_config"], CLIP_CONFIG["vision_config"], CLIP_CONFIG["projection_dim"]
    width, patch = vision["hidden_size"], vision["patch_size"]
    shapes = {
        "logit_scale": (),
        "text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["hidden_size"]),
        "text_model.embeddings.position_embedding.weight": (text["max_position_embeddings"], text["hidden_size"]),
        "vision_model.embeddings.class_embedding": (width,),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": ((vision["image_size"] // patch) ** 2 + 1, width),
        "visual_projection.weight": (out, width),
        "text_projection.weight": (out, text["hidden_size"]),
    }
    norms = {"text_model": ["final_layer_norm"], "vision_model": ["pre_layrnorm", "post_layernorm"]}
    for tower, c in (("text_model", text), ("vision_model", vision)):
        d, wide = c["hidden_size"], c["intermediate_size"]
        linear = {f"self_attn.{x}": (d, d) for x in ("q_proj", "k_proj", "v_proj", "out_proj")}
        linear |= {"mlp.fc1": (wide, d), "mlp.fc2": (d, wide)}
        for i in range(c["num_hidden_layers"]):
            layer = f"{tower}.encoder.layers.{i}"
            for name, shape in linear.items():
                shapes[f"{layer}.{name}.weight"], shapes[f"{layer}.{name}.bias"] = shape, shape[:1]
            norms[tower] += [f"encoder.layers.{i}.{name}" for name in ("layer_norm1", "layer_norm2")]
        for name in norms[tower]:
            shapes[f"{tower}.{name}.weight"] = shapes[f"{tower}.{name}.bias"] = (d,)
    return shapes


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    """No padding to batches: a picture of 299 px costs a second."""
    monkeypatch.setattr(inception_extractor, "BATCH_IMAGES", 2)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(seeded(inception_shapes()), path)
    return path


@pytest.fixture(scope="module")
def extractor(inception_file):
    return Inception(inception_file)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP folder as one downloads it, small: 297 letters and words, begin 298, end 299."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("clip")
    vocabulary = {f"word{i}": i for i in range(298)} | {"a": 297, "<s>": 298, "</s>": 299}
    del vocabulary["word297"]
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="word0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 298), ("</s>", 299)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(CLIP_CONFIG))
    save_file(seeded(clip_shapes()), folder / "model.safetensors")
    return folder


# Features 0..3 and their sum weighted by cos(0), cos(1), cos(2), ... of two pictures.
GOLDEN_INCEPTION = {
    16: (
        [[0.0, 0.00028037629, 0.058861792, 3.5149021], [0.0, 0.0, 0.091173313, 3.2711220]],
        [2.1529489, 2.1231260],
        [165.65707, 164.74423],
    ),
    40: (
        [[0.0, 0.0041308561, 0.059993792, 3.4724569], [0.0, 0.0, 0.10720526, 3.4611034]],
        [2.2044227, 2.2475333],
        [168.17084, 173.71672],
    ),
}
GOLDEN_CLIP_IMAGES = [
    [-1.2910790, -2.4452899, -1.3478417, -0.097363994, 2.7054899, -0.032670315]
    + [-1.7780423, 0.46453029, -0.84276021, 1.9103202, -0.60405403, -0.20459654],
    [-0.90737343, -0.59661490, 0.86312741, 1.0751662, 1.5694867, 0.47672725]
    + [-1.6199144, 1.3236763, -2.2422686, 0.78628820, -1.6094259, 1.9233706],
]
GOLDEN_CLIP_TEXT = [
    [2.3907449, -3.3850193, -1.6168773, -0.74351925, -0.51327819, 0.15226066]
    + [-1.8531040, 2.2845011, 0.75633633, -2.3877263, 0.041994669, -0.91479766],
    [3.5392439, -1.4879423, -0.99354374, -1.1989442, -1.1438795, -1.7163709]
    + [1.2890332, 0.77289981, 1.3376979, 0.59478962, -1.8633673, 0.083398052],
]
TOKENS = np.array([[298, 5, 17, 200] + [299] * 8, [298, *range(1, 11), 299]], np.int32)


@pytest.mark.parametrize("px", GOLDEN_INCEPTION)
def test_inception_has_the_features_of_pytorch_fid(extractor, px):
    features = extractor.features(pictures(2, px)).astype(np.float64)
    first, means, weighted = GOLDEN_INCEPTION[px]
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features[:, :4], first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features.mean(1), means, rtol=1e-5)
    np.testing.assert_allclose(features @ np.cos(np.arange(2048)), weighted, rtol=1e-5)


def test_inception_beside_pytorch_fid(extractor, monkeypatch):
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("pytorch_fid.inception")
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: seeded(inception_shapes()))
    load = torch.nn.Module.load_state_dict
    tensors = lambda weights: {name: torch.from_numpy(x) for name, x in weights.items()}
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda self, w: load(self, tensors(w), strict=False))
    network = theirs.InceptionV3([3]).eval()
    images = pictures(2, 40)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255)[0][:, :, 0, 0].numpy()
    np.testing.assert_allclose(extractor.features(images), expected, rtol=1e-3, atol=1e-3)


def test_grey_pictures_are_seen_as_three_equal_channels(extractor):
    grey = pictures(2, 16, channels=1)
    np.testing.assert_allclose(
        extractor.features(grey), extractor.features(grey.repeat(3, axis=-1)), rtol=1e-4, atol=1e-4
    )


def test_weights_given_go_before_those_of_the_configuration(inception_file, clip_folder, tmp_path):
    train, config = squares("train", 40, 0), get_config()
    with config.unlocked():
        config.evaluate.inception_weights = "/no/such"
    with pytest.raises(UserError, match="'/no/such' is not a file"):
        FeatureExtractors.of_run(config, train, tokenizer_of(train), tmp_path)
    weights = {"inception": str(inception_file), "clip": str(clip_folder)}
    extractors = FeatureExtractors.of_run(config, train, tokenizer_of(train), tmp_path, weights)
    assert {"inception", "clip"} < set(extractors.by_name)
    assert (
        "inception"
        not in FeatureExtractors.of_run(config, train, tokenizer_of(train), tmp_path, {"inception": ""}).by_name
    )


@pytest.mark.parametrize("name", ["inception", "clip"])
def test_damaged_weights_are_found_before_training(inception_file, clip_folder, tmp_path, name):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    weights = {"inception": str(shutil.copy(inception_file, tmp_path)), "clip": str(folder)}
    data, config = squares("train", 40, 0), get_config()
    extractors = FeatureExtractors.of_run(config, data, tokenizer_of(data), tmp_path, weights)
    extractors.verify()
    damaged = Path(weights["inception"]) if name == "inception" else folder / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(UserError, match=f"config.evaluate.{name}_weights: .* is not a whole .safetensors file"):
        extractors.verify()
    with config.unlocked():
        config.evaluate[f"{name}_weights"] = weights[name]
        config.devices = 1
    with pytest.raises(UserError, match="is not a whole"):
        train.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_weights_that_are_not_inceptions_are_refused(inception_file, tmp_path):
    with pytest.raises(UserError, match=r"inception_weights='/no/such' is not a file"):
        Inception("/no/such")
    weights = seeded({"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3)})
    save_file(weights, tmp_path / "few.safetensors")
    with pytest.raises(UserError, match=r"there is no 'Conv2d_1a_3x3.bn.bias'"):
        Inception(tmp_path / "few.safetensors").features(pictures(1, 8))
    whole = inception_file.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole"):
        Inception(tmp_path / "cut.safetensors").features(pictures(1, 8))
    shapes = inception_shapes() | {"Conv2d_1a_3x3.bn.bias": (31,)}
    with pytest.raises(ValueError, match=r"'Conv2d_1a_3x3.bn.bias' has shape \(31,\), not \(32,\)"):
        net.params_of_torch({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


@pytest.fixture(scope="module")
def towers():
    image_tower, text_tower = build_clip(CLIP_CONFIG, 299)
    params = params_of_hugging_face(seeded(clip_shapes()), image_tower, text_tower)
    return image_tower, text_tower, jax.tree.map(jnp.asarray, params)


def test_clip_has_the_embeddings_of_hugging_face(towers):
    image_tower, text_tower, (of_images, of_text) = towers
    mean, deviation = np.array((0.48145466, 0.4578275, 0.40821073)), np.array((0.26862954, 0.26130258, 0.27577711))
    images = jnp.asarray((pictures(2, 20) / 255 - mean) / deviation, jnp.float32)
    np.testing.assert_allclose(image_tower.apply(of_images, images), GOLDEN_CLIP_IMAGES, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(text_tower.apply(of_text, jnp.asarray(TOKENS)), GOLDEN_CLIP_TEXT, rtol=1e-4, atol=1e-4)


def test_what_follows_the_end_plays_no_part(towers):
    _, text_tower, (_, of_text) = towers
    other = TOKENS.copy()
    other[0, 5:] = 7
    np.testing.assert_allclose(text_tower.apply(of_text, jnp.asarray(other)), GOLDEN_CLIP_TEXT, rtol=1e-4, atol=1e-4)


def test_clip_beside_hugging_face(towers):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    image_tower, text_tower, (of_images, of_text) = towers
    theirs = transformers.CLIPModel(transformers.CLIPConfig(**CLIP_CONFIG)).eval()
    theirs.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in seeded(clip_shapes()).items()}, strict=False)
    x = np.random.default_rng(0).normal(size=(3, 20, 20, 3)).astype(np.float32)
    with torch.no_grad():
        images = theirs.visual_projection(theirs.vision_model(torch.from_numpy(x.transpose(0, 3, 1, 2))).pooler_output)
        text = theirs.text_projection(theirs.text_model(torch.from_numpy(TOKENS).long()).pooler_output)
    np.testing.assert_allclose(image_tower.apply(of_images, jnp.asarray(x)), images, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(text_tower.apply(of_text, jnp.asarray(TOKENS)), text, rtol=1e-4, atol=1e-4)


def test_activations():
    x = jnp.array([-2.0, -0.5, 0.0, 1.0])
    np.testing.assert_allclose(ACTIVATIONS["quick_gelu"](x), x / (1 + np.exp(-1.702 * x)), rtol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), [-0.0455003, -0.1542688, 0, 0.8413447], atol=1e-6)


def test_a_clip_folder_reads_pictures_and_captions(clip_folder):
    clip = Clip(clip_folder)
    assert isinstance(clip, Extractor) and isinstance(clip, Matcher)
    features, embedding = clip.features_and_embedding(pictures(2, 20))  # its own size: nothing is resized
    np.testing.assert_allclose(features, GOLDEN_CLIP_IMAGES, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(embedding, features / np.linalg.norm(features, axis=1)[:, None], rtol=1e-5)
    text = np.array(GOLDEN_CLIP_TEXT)
    captions = ["word5 word17 word200", "word1 word2 word3 word4 word5 word6 word7 word8 word9 word10 word11 word12"]
    expected = text / np.linalg.norm(text, axis=1)[:, None]
    np.testing.assert_allclose(clip.embed_captions(captions), expected, rtol=1e-3, atol=1e-4)  # the second is cut
    one, other, third = clip.identities(["word1 a", "word1  a", "a word1"])
    assert one == other != third
    grey = pictures(1, 16, channels=1)
    np.testing.assert_allclose(clip.features(grey), clip.features(grey.repeat(3, axis=-1)), rtol=1e-4, atol=1e-4)


def test_bicubic_resizing_is_that_of_pillow(clip_folder):
    """Bytes after resizing, within a level of rounding: what CLIP's own preparation does."""
    from PIL import Image

    for px in (16, 64):
        images = pictures(2, px)
        resized = [np.asarray(Image.fromarray(x).resize((20, 20), Image.Resampling.BICUBIC)) for x in images]
        x = jax.image.resize(jnp.asarray(images, jnp.float32), (2, 20, 20, 3), "cubic", antialias=True)
        assert np.abs(np.round(np.clip(x, 0, 255)) - np.stack(resized)).max() <= 1
    clip = Clip(clip_folder)
    np.testing.assert_allclose(clip.features(images), clip.features(np.stack(resized)), rtol=0.05, atol=0.05)


def test_folders_that_are_no_clip_are_refused(clip_folder, tmp_path):
    with pytest.raises(UserError, match=r"has no config.json and no model.safetensors"):
        Clip(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((clip_folder / name).read_bytes())
    (tmp_path / "config.json").write_text('{"text_config": {}, "projection_dim": 3}')
    with pytest.raises(UserError, match="'vision_config'"):
        Clip(tmp_path)
    config = json.loads(json.dumps(CLIP_CONFIG))
    config["vision_config"]["hidden_act"] = "swish"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="hidden_act='swish'"):
        Clip(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CLIP_CONFIG))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        Clip(tmp_path)
    with pytest.raises(ValueError, match="no end token"):
        PretrainedTokenizer('{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": '
                            'null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": {"type": '
                            '"WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}')  # fmt: skip


def test_evaluations_name_the_pretrained_extractors(clip_folder, inception_file, tmp_path):
    train, test = squares("train", 40, 0), squares("test", 4, 1)
    weights = {"inception": str(inception_file), "clip": str(clip_folder)}
    extractors = FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path, settings=QUICK, weights=weights)
    assert list(extractors.by_name) == ["attributes", "probe", "pixels", "inception", "clip"]
    draw = lambda captions, _: test.images[[i % 4 for i in range(len(captions))]]
    result = evaluate(
        draw,
        test,
        extractors,
        num_images=4,
        seed=0,
        metrics=("kernel_distance", "retrieval"),
        extractor_names=("inception", "clip"),
    )
    assert {figure["extractor"] for figure in result["figures"].values()} == {"inception", "clip"}
    assert "retrieval/caption_at_1/clip" in result["figures"]
    without = FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path, settings=QUICK)
    assert extractors.hash(["probe"]) == without.hash(["probe"])
    assert extractors.hash(["inception"]) != extractors.hash(["clip"])
