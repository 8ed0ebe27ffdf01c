"""Keys of a configuration that the command line changes: which there are, and what they take."""

import re

import pytest

import t2igan
from t2igan.cli.overrides import overridden, with_overrides
from t2igan.errors import UserError


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.train.imagess=3", "there is no config.train.imagess; did you mean config.train.images?"),
        ("--config.trian.images=3", "there is no config.trian.images; did you mean config.train?"),
        ("--noconfig.evaluate.at_ends", "there is no config.evaluate.at_ends; did you mean config.evaluate.at_end?"),
        ("--config.imags=3", "there is no config.imags."),
        (
            "--config.data.source.x=3",
            "there is no config.data.source.x: config.data.source='pixel_avatars' is no group",
        ),
        ("--config.train=3", "config.train is a group of keys; give one of them a value, as in --config.train."),
        ("--config.train.images=1.5", "config.train.images=1.5 must be a whole number, such as 128000"),
        ("--config.train.beta1=x", "config.train.beta1=x must be a number, such as 0.0"),
        ("--config.train.tune_text=5", "config.train.tune_text=5 must be True or False, such as False"),
        ("--config.generator.channels[0]=128", 'given together, as in --config.generator.channels="(96, 64, 32)"'),
        ("--config.train.images", "Missing value for flag --config.train.images"),
    ],
)
def test_a_key_that_there_is_not_and_a_value_of_another_type_are_one_line(flag, words):
    with pytest.raises(UserError, match=re.escape(words)) as raised:
        with_overrides(t2igan.get_config("base"), [flag])
    assert "\n" not in str(raised.value)


def test_values_are_taken_in_the_ways_that_shells_allow():
    flags = [
        "--config.generator.channels=(48,32,16)",
        "--config.discriminator.channels=48,32,16",
        "--noconfig.evaluate.at_end",
        "--config.train.tune_text=true",
        "--config.loss.paired_weight=auto",
        "--config.data.source=a=b: c",
    ]
    config = with_overrides(t2igan.get_config("base"), flags)
    assert config.generator.channels == config.discriminator.channels == (48, 32, 16)
    assert config.train.tune_text and not config.evaluate.at_end
    assert config.loss.paired_weight == "auto" and config.data.source == "a=b: c"
    assert "data.source" in overridden(flags) and "evaluate.at_end" in overridden(flags)
