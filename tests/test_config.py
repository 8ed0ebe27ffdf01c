"""The configurations that are shipped pass; what cannot work is refused with its key, its value and a way out."""

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from t2igan import config as config_lib
from t2igan.config import changed_keys, from_dict, get, to_json, total_steps
from t2igan.config.checks import check, check_devices
from t2igan.errors import UserError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("[!_]*.py"))


@pytest.fixture
def base():
    return load(CONFIGS[0].with_name("base.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_pass(path):
    config = load(path)
    check(config)
    assert config.is_locked


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_have_the_keys_of_base(path, base):
    assert config_lib.flatten(load(path).to_dict()).keys() == config_lib.flatten(base.to_dict()).keys()


def test_the_tiny_configuration_passes(config):
    check(config)


# Changed keys, and what the message has to say.
REFUSED = {
    "differences that rounding hides": (
        {"loss.penalty": "finite_difference", "compute_dtype": "bfloat16"},
        ["config.loss.penalty='finite_difference'", "config.compute_dtype='bfloat16'", "'float32'", "'r1_r2'"],
    ),
    "a model that is neither": (
        {"init_which": "newest"},
        ["config.init_which='newest' is none of 'latest', 'best'"],
    ),
    "snapshots before the beginning": ({"checkpoint.keep_every_images": -1}, ["must be 0 or greater"]),
    "size the generator cannot make": (
        {"data.image_size_px": 24},
        ["config.data.image_size_px=24", "4 * 2^2 * 1 = 16", "config.generator.base_px=6", "3 entries"],
    ),
    "size no base makes": ({"data.image_size_px": 17}, ["config.data.image_size_px=17", "Choose a size such as"]),
    "size the discriminator cannot halve": (
        {"discriminator.channels": (8,) * 6},
        ["config.data.image_size_px=16", "5 times", "config.discriminator", "divisible by 32"],
    ),
    "size the image tower cannot halve": ({"image_encoder.patch_px": 3}, ["config.image_encoder", "divisible by 6"]),
    "misspelt loss": (
        {"loss.adversarial": "relativstic"},
        ["config.loss.adversarial='relativstic'", "'hinge'", "did you mean 'relativistic'?"],
    ),
    "misspelt penalty": ({"loss.penalty": "wgan-gp"}, ["config.loss.penalty='wgan-gp'", "did you mean 'wgan_gp'?"]),
    "misspelt schedule": ({"train.schedule": "cosin"}, ["config.train.schedule='cosin'", "did you mean 'cosine'?"]),
    "misspelt text schedule": ({"pretrain_text.schedule": "step"}, ["config.pretrain_text.schedule='step'"]),
    "unknown network": ({"generator.kind": "residul"}, ["config.generator.kind='residul'", "did you mean 'residual'?"]),
    "unknown judge": ({"discriminator.kind": "cnn"}, ["config.discriminator.kind='cnn'", "'mlp'"]),
    "unknown dtype": ({"compute_dtype": "float16"}, ["config.compute_dtype='float16'", "did you mean", "'bfloat16'"]),
    "two channels": ({"data.channels": 2}, ["config.data.channels=2", "1, 3, 4"]),
    "background of four": ({"data.background": (0, 0, 0, 0)}, ["config.data.background=(0, 0, 0, 0)", "three"]),
    "background by name": ({"data.background": ("r", "g", "b")}, ["config.data.background=", "three whole numbers"]),
    "no phase": ({"phases": ()}, ["config.phases", "'adversarial'"]),
    "unknown phase": ({"phases": ("txt", "adversarial")}, ["config.phases", "'txt'", "did you mean 'text'?"]),
    "phase that is no name": ({"phases": (1,)}, ["config.phases has 1", "'text'"]),
    "phases turned round": ({"phases": ("adversarial", "text")}, ["('adversarial', 'text')", "in the order"]),
    "phase twice": ({"phases": ("text", "text")}, ["('text', 'text')", "once"]),
    "phase of no length": ({"train.images": 0}, ["config.train", "steps, images and epochs", "'adversarial'"]),
    "text heads": (
        {"text_encoder.width": 64, "text_encoder.heads": 3},
        ["config.text_encoder.width=64", "config.text_encoder.heads=3"],
    ),
    "attention heads": (
        {"generator.channels": (128, 96, 64), "generator.attention_heads": 5},
        ["config.generator.channels=(128, 96, 64)", "config.generator.attention_heads=5"],
    ),
    "an unknown way to make squares": ({"data.resize": "cropp"}, ["'cropp'", "did you mean 'crop'"]),
    "an unknown filter": ({"data.resample": "cubic"}, ["config.data.resample='cubic'", "'lanczos'"]),
    "more than all pictures": ({"data.min_usable": 50.0}, ["config.data.min_usable=50.0", "share"]),
    "a cache of less than nothing": ({"data.cache_gb": -1.0}, ["config.data.cache_gb=-1.0"]),
    "shared by nobody": ({"shard_devices": 0}, ["config.shard_devices=0", "greater than 0"]),
    "no channels": ({"generator.channels": ()}, ["config.generator.channels=()", "one or more"]),
    "half a channel": ({"discriminator.channels": (8.5,)}, ["config.discriminator.channels=(8.5,)", "whole"]),
    "channels that are no numbers": ({"image_encoder.channels": ("a",)}, ["config.image_encoder.channels=('a',)"]),
    "matching without the text phase": (
        {"loss.contrastive_weight": 1.0, "phases": ("adversarial",)},
        ["config.loss.contrastive_weight=1.0", "config.phases=('adversarial',)", "set it to 0 or add the phase"],
    ),
    "mismatch beyond one": ({"loss.mismatch_weight": 1.5}, ["config.loss.mismatch_weight=1.5", "0 to 1"]),
    "mismatch with nobody": (
        {"loss.mismatch_weight": 0.5, "train.batch_images": 1},
        ["config.loss.mismatch_weight=0.5", "config.train.batch_images=1"],
    ),
    "mismatch with nobody at a time": (
        {"loss.mismatch_weight": 0.5, "train.batch_images": 8, "train.microbatches": 8},
        ["config.train.batch_images=8", "config.train.microbatches=8", "16 or more"],
    ),
    "a joint batch in unequal parts": (
        {
            "phases": ("adversarial", "joint"),
            "train.microbatches": 3,
            "train.batch_images": 12,
            "joint.batch_images": 8,
        },
        ["config.joint.batch_images=8", "config.train.microbatches=3"],
    ),
    "several scales of no maps": (
        {"discriminator.multi_scale": True, "discriminator.kind": "mlp"},
        ["config.discriminator.multi_scale=True", "'mlp'", "'residual'"],
    ),
    "exponential to zero": (
        {"train.schedule": "exponential", "train.learning_rate_end": 0.0},
        ["config.train.learning_rate_end=0.0", "exponential"],
    ),
    "exponential penalty from zero": (
        {"train.schedule": "exponential", "loss.penalty_weight": 0.0, "loss.penalty_weight_end": 0.1},
        ["config.loss.penalty_weight=0.0", "config.loss.penalty_weight_end=0.1", "exponential"],
    ),
    "exponential beta from zero": (
        {"train.schedule": "exponential", "train.beta2": 0.0, "train.beta2_end": 0.99},
        ["config.train.beta2=0.0", "config.train.beta2_end=0.99", "exponential"],
    ),
    "cycle without the text phase": (
        {"loss.cycle_weight": 1.0, "phases": ("adversarial",)},
        ["config.loss.cycle_weight=1.0", "set it to 0 or add the phase"],
    ),
    "labels that are none": (
        {"loss.label_smoothing": 0.1, "loss.adversarial": "wasserstein"},
        ["config.loss.label_smoothing=0.1", "'wasserstein'", "'hinge'"],
    ),
    "a label below zero": (
        {"loss.label_smoothing": 1.0, "loss.adversarial": "hinge"},
        ["config.loss.label_smoothing=1.0", "less than 1"],
    ),
    "misspelt normalisation": (
        {"discriminator.normalisation": "spectrl"},
        ["config.discriminator.normalisation='spectrl'", "did you mean 'spectral'?"],
    ),
    "misspelt optimizer": ({"train.optimizer": "adm"}, ["config.train.optimizer='adm'", "'optimistic_adam'"]),
    "misspelt augmentation": (
        {"augment.kinds": ("flop",)},
        ["config.augment.kinds has 'flop'", "did you mean 'flip'?"],
    ),
    "augmentation by nothing": ({"augment.kinds": (), "augment.probability": 0.3}, ["config.augment.kinds is empty"]),
    "probability beyond one": ({"augment.probability": 1.1}, ["config.augment.probability=1.1", "between 0 and 1"]),
    "target that is never passed": ({"augment.target": 1.0}, ["config.augment.target=1.0", "0.6 is usual"]),
    "all captions dropped": ({"augment.caption_dropout": 1.0}, ["config.augment.caption_dropout=1.0", "less than 1"]),
    "exponential noise to zero": (
        {"train.schedule": "exponential", "augment.instance_noise": 0.1},
        ["config.augment.instance_noise=0.1", "config.augment.instance_noise_end=0.0", "exponential"],
    ),
    "parts that are not equal": (
        {"train.microbatches": 3},
        ["config.train.batch_images=32", "config.train.microbatches=3"],
    ),
    "an average of no length": ({"train.ema_tracks": (0.0,)}, ["config.train.ema_tracks=(0.0,)", "(0.25, 4.0)"]),
    "one average twice": ({"train.ema_tracks": (2.0, 2.0)}, ["config.train.ema_tracks=(2.0, 2.0)", "different"]),
    "growing all the time": ({"train.grow_share": 1.0}, ["config.train.grow_share=1.0", "a half each is usual"]),
    "growing without maps": (
        {"train.grow_share": 0.5, "generator.kind": "mlp"},
        ["config.train.grow_share=0.5", "'mlp'", "set it to 0"],
    ),
    "a rate that is not lower": ({"guard.rate_factor": 1.0}, ["config.guard.rate_factor=1.0", "between 0 and 1"]),
    "rollbacks below zero": ({"guard.rollbacks": -1}, ["config.guard.rollbacks=-1", "0 or greater"]),
    "matching of a text that never learned": (
        {"phases": ("adversarial", "text_matching")},
        ["config.phases has 'text_matching'", "the phase 'text'", "config.init_from"],
    ),
    "unknown mask": (
        {"pretrain_generator.masks": ("box", "circle")},
        ["config.pretrain_generator.masks has 'circle'", "'stroke'"],
    ),
    "no mask": ({"pretrain_generator.masks": ()}, ["config.pretrain_generator.masks=()", "'whole'"]),
    "captions dropped more than always": (
        {"pretrain_generator.caption_dropout": 1.1},
        ["config.pretrain_generator.caption_dropout=1.1", "0 to 1"],
    ),
    "unknown task": ({"pretrain_discriminator.task": "label"}, ["task='label'", "did you mean 'labels'?"]),
    "joint at a rate below zero": ({"joint.text_learning_rate": -1.0}, ["config.joint.text_learning_rate=-1.0"]),
    "a phase of no batch": ({"text_matching.batch_images": 0}, ["config.text_matching.batch_images=0"]),
    "a further phase of no length": (
        {"phases": ("text", "generator"), "pretrain_generator.images": 0},
        ["config.pretrain_generator has no length", "'generator'"],
    ),
    "an inverter that cannot halve": (
        {"phases": ("text", "generator"), "inverter.channels": (8,) * 6},
        ["config.data.image_size_px=16", "config.inverter"],
    ),
    "seed beyond 32 bits": ({"seed": 2**32}, ["config.seed=4294967296", "4294967295"]),
    "small vocabulary": ({"tokenizer.vocab_size": 200}, ["config.tokenizer.vocab_size=200", "259"]),
    "room for no word": ({"tokenizer.max_tokens": 2}, ["config.tokenizer.max_tokens=2", "3"]),
    "all of it held out": ({"data.test_fraction": 1.0}, ["config.data.test_fraction=1.0", "less than 1"]),
    "beta of one": ({"train.beta2_end": 1.0}, ["config.train.beta2_end=1.0", "less than 1"]),
    "a rate of nothing": ({"train.generator_learning_rate": 0.0}, ["config.train.generator_learning_rate=0.0"]),
    "a rate of nan": ({"pretrain_text.learning_rate": float("nan")}, ["config.pretrain_text.learning_rate=nan"]),
    "a rate that ends below zero": ({"train.learning_rate_end": -0.1}, ["config.train.learning_rate_end=-0.1"]),
    "no batch": ({"train.batch_images": 0}, ["config.train.batch_images=0", "greater than 0"]),
    "a sheet of nothing": ({"sample.num_captions": 0}, ["config.sample.num_captions=0", "greater than 0"]),
    "a caption that is a number": ({"sample.captions": (3,)}, ["config.sample.captions has 3", "('a red hat',)"]),
    "an example of nothing": ({"model_card.examples": ("a hat", " ")}, ["config.model_card.examples has ' '"]),
    "devices below zero": ({"devices": -1}, ["config.devices=-1", "0 or greater"]),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_with_key_and_value(base, changes, said):
    base.update_from_flattened_dict(changes)
    with pytest.raises(UserError) as error:
        check(base)
    missing = [words for words in said if words not in str(error.value)]
    assert not missing, str(error.value)


def test_the_advice_on_a_size_is_good_advice(base):
    for size in (12, 20, 24, 28, 32, 48, 64, 96, 128, 256):
        base.data.image_size_px = size
        with pytest.raises(UserError) as error:
            check(base)
        base_px, maps = map(int, re.search(r"base_px=(\d+) .* (\d+) entries", str(error.value)).groups())
        base.generator.update(base_px=base_px, channels=(64,) * maps)
        check(base)
        base.generator.update(base_px=4, channels=(128, 96, 64))


def test_fully_connected_networks_make_any_size(base):
    base.update_from_flattened_dict({"data.image_size_px": 18, "generator.kind": "mlp", "discriminator.kind": "mlp"})
    base.phases = ("adversarial",)
    check(base)
    base.phases = ("text", "adversarial")
    with pytest.raises(UserError, match=r"image_size_px=18 .* config\.image_encoder"):
        check(base)


def test_batches_divide_among_devices():
    check_devices(32, 4, "train.batch_images")
    with pytest.raises(UserError, match=r"config\.train\.batch_images=30 .* 4 devices.* 28 or 32"):
        check_devices(30, 4, "train.batch_images")
    with pytest.raises(UserError, match=r"batch_images=3 .* 8 or 16"):
        check_devices(3, 8, "train.batch_images")


def test_only_keys_that_compute_count_as_changed(base):
    old, changed = base.to_dict(), base.copy_and_resolve_references()
    changed.update_from_flattened_dict(
        {"log.every_images": 1, "evaluate.at_end": False, "sample.captions": ("x",), "devices": 2, "data.tfds_dir": "y"}
    )
    assert changed_keys(old, changed.to_dict()) == []
    changed.update_from_flattened_dict({"loss.penalty": "r2", "data.source": "z", "generator.channels": (8, 8, 8)})
    assert changed_keys(old, changed.to_dict()) == ["generator.channels", "loss.penalty"]


@pytest.mark.parametrize("key", ["loss.penalty_every", "text_encoder.kind", "data.language", "pretrain_generator"])
def test_a_key_that_one_side_lacks_has_its_default(base, key):
    """So a run from before the key was added goes on, and what it left can be read."""
    old = base.to_dict()
    *groups, name = key.split(".")
    group = old[groups[0]] if groups else old
    del group[name]
    assert changed_keys(old, base.to_dict()) == changed_keys(base.to_dict(), old) == []
    assert from_dict(old).to_dict() == base.to_dict()


def test_a_key_that_one_side_lacks_counts_where_the_other_has_no_default(base):
    old = base.to_dict()
    del old["loss"]["penalty_every"]
    base.loss.penalty_every = 4
    assert changed_keys(old, base.to_dict()) == changed_keys(base.to_dict(), old) == ["loss.penalty_every"]


def test_a_key_that_was_removed_or_is_ones_own_does_not_count(base):
    old = base.to_dict()
    old["loss"]["forgotten"] = 3
    old["mine"] = {"weight": 1.0}
    assert changed_keys(old, base.to_dict()) == changed_keys(base.to_dict(), old) == []
    assert from_dict(old).mine.weight == 1.0


def test_json_gives_the_configuration_back(base):
    again = from_dict(json.loads(to_json(base)))
    assert again.to_dict() == base.to_dict()
    assert again.generator.channels == base.generator.channels and again.is_locked
    assert changed_keys(base.to_dict(), json.loads(to_json(base))) == []
    check(again)


@pytest.mark.parametrize(
    ("steps", "images", "epochs", "expected"),
    [
        (7, 100, 3.0, 7),  # steps come first
        (0, 100, 3.0, 4),  # then images, the last batch not cut
        (0, 96, 0.0, 3),
        (0, 0, 2.0, 63),  # then epochs: 2,000 images
        (0, 0, 0.001, 1),  # never nothing
    ],
)
def test_the_first_duration_that_is_not_zero_counts(steps, images, epochs, expected):
    section = SimpleNamespace(steps=steps, images=images, epochs=epochs, batch_images=32)
    assert total_steps(section, dataset_images=1000) == expected


def test_get_follows_dots(base):
    assert get(base, "train.batch_images") == base.train.batch_images and get(base, "seed") == base.seed
