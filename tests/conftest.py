"""What all tests share: shape checks at run time, one compile cache, a tiny configuration of the real kind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Before JAX starts: eight simulated devices, so that "one device equals many" can be tested, and one compile cache.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
CACHE = Path(os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "t2igan-test-xla")))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("t2igan", "beartype.beartype")

import pytest  # noqa: E402


@pytest.fixture
def config():
    """The real default configuration with everything shrunk: trains in seconds."""
    from configs.base import get_config

    return shrink(get_config())


def shrink(config):
    """Makes a configuration small: networks of a few channels, phases of a few steps."""
    with config.unlocked():
        config.tokenizer.vocab_size = 300
        config.tokenizer.max_tokens = 32
        config.text_encoder.update(width=8, layers=1, heads=2, pooling_queries=2, sentence_dim=8)
        config.image_encoder.update(channels=(8, 8), features=8)
        config.generator.update(z_dim=4, channels=(8, 8, 8), style_dim=8, attention_heads=2)
        config.discriminator.update(channels=(8, 8, 8), features=8)
        config.train.update(steps=6, images=0, batch_images=8)
        config.pretrain_text.update(steps=4, images=0, batch_images=8, warmup_steps=1)
        config.log.every_images = 16
        config.sample.update(every_images=0, num_captions=2, num_seeds=2)
        config.evaluate.update(every_images=0, num_images=16, at_end=False)
        config.checkpoint.every_images = 16
    return config
