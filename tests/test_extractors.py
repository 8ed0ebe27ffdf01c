"""FeatureExtractors learn once, are kept, and look at pictures as they say."""

import json

import numpy as np
import pytest
from squares import QUICK, squares, tokenizer_of

from configs.base import get_config
from t2igan.data import Dataset
from t2igan.evaluation.extractors import (
    Extractor,
    FeatureExtractors,
    Matcher,
    Pixels,
    Settings,
    classifier,
    extractor,
    extractor_px,
    learnable_attributes,
    learned,
    shrink,
)


@pytest.fixture(scope="module")
def train():
    return squares("train", 300, seed=0)


@pytest.fixture(scope="module")
def test():
    return squares("test", 90, seed=1)


@pytest.fixture(scope="module")
def extractors(train, tmp_path_factory):
    return FeatureExtractors(
        get_config(), train, tokenizer_of(train), tmp_path_factory.mktemp("extractors"), settings=QUICK
    )


def test_every_extractor_keeps_the_interface(extractors, test):
    assert list(extractors.by_name) == ["attributes", "probe", "pixels"]
    assert extractors.main == "attributes"
    for name, one in extractors.by_name.items():
        assert isinstance(one, Extractor)
        assert one.name == name
        features = one.features(test.images[:40])
        assert features.shape[0] == 40 and features.dtype == np.float32
        alone = one.features(test.images[3:4])  # the same whatever it is asked for with
        np.testing.assert_allclose(alone, features[3:4], atol=1e-4)
    assert [isinstance(e, Matcher) for e in extractors.by_name.values()] == [False, True, False]


def test_the_classifier_reads_pictures(extractors, test):
    labels, probabilities, _ = extractors.classifier.classify(test.images)
    assert (labels == test.attribute_labels(extractors.vocabulary)).mean() > 0.97
    color, size = np.split(probabilities, [5], axis=1)  # four colours and none; two sizes
    np.testing.assert_allclose([color.sum(1), size.sum(1)], 1, atol=1e-5)
    np.testing.assert_array_equal(np.stack([color.argmax(1), size.argmax(1)], 1), labels)


def test_the_probe_matches_pictures_and_captions(extractors, test):
    probe = extractors.by_name["probe"]
    features, images = probe.features_and_embedding(test.images)
    sentences = probe.embed_captions([captions[0] for captions in test.captions])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(sentences, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(features, probe.features(test.images))
    matched, others = (images * sentences).sum(1).mean(), (images * np.roll(sentences, 1, axis=0)).sum(1).mean()
    assert matched > others + 0.3
    assert probe.identities(["a  SMALL square", "a small square", "a large square"])[0:2] == [
        *probe.identities(["a small square"]) * 2
    ]


def test_learned_features_have_unit_variance_on_training_pictures(extractors, train):
    for name in ("attributes", "probe"):
        assert extractors.by_name[name].features(train.images).var(0).mean() == pytest.approx(1.0, rel=0.02)


def test_pixels_are_means_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    expected = images.reshape(5, 16, 2, 16, 2, 3).astype(float).mean((2, 4)).reshape(5, -1) / 255
    np.testing.assert_allclose(Pixels().features(images), expected, atol=0.51 / 255)
    np.testing.assert_array_equal(
        Pixels().features(images[:, :8, :8]), images[:, :8, :8].reshape(5, -1) / np.float32(255)
    )


def test_what_was_extracted_of_a_split_is_remembered(extractors, test, monkeypatch):
    rows = np.arange(0, 90, 3)
    first = extractors.extract_split("attributes", test, rows)
    np.testing.assert_array_equal(first.features, extractors.by_name["attributes"].features(test.images[rows]))
    monkeypatch.setattr(extractors, "extract", None)
    assert extractors.extract_split("attributes", test, rows) is first


def test_attributes_that_cannot_be_learned_are_left_out(train):
    attributes = tuple(a | {"file": str(i), "shape": "square"} for i, a in enumerate(train.attributes))
    dataset = Dataset("squares", "train", train.images, train.captions, attributes)
    values = learnable_attributes(dataset)
    assert values == {"color": ["blue", "green", "none", "red", "yellow"], "size": ["large", "small"]}


def test_extractors_are_kept_and_learned_anew_when_damaged(train, test, tmp_path):
    told = []

    def load():
        settings = Settings(classifier_steps=3, features=8)
        extractors = FeatureExtractors(
            get_config(), train, tokenizer_of(train), tmp_path, lambda *p: told.append(p), settings
        )
        return extractors.learn().classifier

    first = load()
    assert told == [("classifier", 3, 3)]
    again = load()
    assert len(told) == 1
    for one, other in zip(first.classify(test.images), again.classify(test.images), strict=True):
        np.testing.assert_array_equal(one, other)

    whole = first.path.read_bytes()
    for damaged in (whole[:100], whole[: len(whole) // 2], whole[:-8] + b"damaged!", b""):
        first.path.write_bytes(damaged)
        told.clear()
        load()
        assert told == [("classifier", 3, 3)]
        assert first.path.read_bytes() == whole  # learned alike, written whole
    assert [p.name for p in tmp_path.iterdir()] == [first.path.name]


def test_other_data_or_settings_are_other_extractors(train, test, tmp_path):
    def paths(dataset=train, **settings):
        extractors = FeatureExtractors(
            get_config(), dataset, tokenizer_of(train), tmp_path, settings=Settings(**settings)
        )
        return extractors.by_name["attributes"].path, extractors.by_name["probe"].path

    assert paths() == paths()
    both = [paths(), paths(test), paths(features=64), paths(max_images=7)]
    assert len({path for pair in both for path in pair}) == 8
    # What one extractor does not use does not make it learn anew.
    assert [a == b for a, b in zip(paths(), paths(classifier_steps=5), strict=True)] == [False, True]
    assert [a == b for a, b in zip(paths(), paths(probe_steps=5), strict=True)] == [True, False]


def test_a_folder_that_cannot_be_written_does_not_stop_the_extractors(train, test, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    settings = Settings(classifier_steps=2, features=8)
    extractors = FeatureExtractors(
        get_config(), train, tokenizer_of(train), tmp_path / "file", settings=settings
    ).learn()
    assert len(extractors.classifier.classify(test.images).labels) == len(test)
    assert "not kept" in caplog.text


class Lazy:
    """Pictures that can only be read by rows, few at a time, as data larger than memory is."""

    def __init__(self, images, at_most):
        self._images, self._at_most = images, at_most
        self.shape, self.dtype, self.ndim = images.shape, images.dtype, 4

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        rows = np.asarray(rows)
        assert rows.ndim == 1 and len(rows) <= self._at_most
        return self._images[rows]


def test_extractors_read_few_pictures_at_a_time_and_learn_from_so_many_at_most(train, monkeypatch):
    monkeypatch.setattr(extractor, "READ_IMAGES", 64)
    rows = learned.training_rows(300, 100)
    assert len(set(rows.tolist())) == 100 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, learned.training_rows(300, 100))
    small = learned.training_pictures(Dataset("d", "train", train.images, train.captions), rows, 8)
    np.testing.assert_array_equal(small, train.images[rows])
    lazy = Lazy(train.images, 64)
    np.testing.assert_array_equal(learned.read_shrunk(lazy, rows, 8), train.images[rows])


def test_extractors_without_attributes_have_no_classifier(tmp_path):
    train = squares("train", 40, 0, px=12, with_attributes=False)
    extractors = FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path)
    assert extractors.main == "probe"
    assert extractors.classifier is None
    assert json.loads(json.dumps(extractors.hash(["probe", "pixels"])))
    assert extractors.hash(["probe"]) != extractors.hash(["pixels"])


def test_sizes_at_which_extractors_look():
    assert [extractor_px(px) for px in (4, 16, 28, 30, 32, 64, 100, 256)] == [8, 16, 28, 32, 32, 32, 32, 32]


def test_shrink_is_the_mean_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    blocks = images.reshape(3, 32, 2, 32, 2, 3).astype(float).mean((2, 4))
    np.testing.assert_allclose(shrink(images, 32), blocks, atol=0.51)
    assert shrink(images, 64) is images
    flat = np.full((2, 50, 50, 1), 137, np.uint8)
    np.testing.assert_array_equal(shrink(flat, 32), np.full((2, 32, 32, 1), 137))
    ramp = np.arange(3, dtype=np.uint8).reshape(1, 3, 1, 1).repeat(3, axis=2) * 60  # rows 0, 60, 120
    np.testing.assert_array_equal(shrink(ramp, 2)[0, :, 0, 0], [20, 100])


def test_extracting_compiles_once(extractors, test):
    extractors.classifier.classify(test.images[:3])
    before = classifier._classify._cache_size()
    extractors.classifier.classify(test.images)
    extractors.classifier.classify(test.images[:1])
    assert classifier._classify._cache_size() == before
