"""A tiny configuration of the real kind, and a generator of it."""

import jax
import jax.numpy as jnp
import numpy as np

from configs import base


def shrink(config):
    """Makes a configuration small: networks of a few channels, phases of a few steps."""
    with config.unlocked():
        if config.phases == base.get_config().phases:
            config.phases = ("text", "adversarial")  # tests that want others ask for them
        config.inverter.kind = "residual"
        config.tokenizer.vocab_size = 300
        config.tokenizer.max_tokens = 32
        config.text_encoder.update(width=8, layers=1, heads=2, pooling_queries=2, sentence_dim=8)
        config.image_encoder.update(channels=(8, 8), features=8)
        config.generator.update(z_dim=4, channels=(8, 8, 8), style_dim=8, attention_heads=2)
        config.discriminator.update(channels=(8, 8, 8), features=8)
        config.inverter.update(channels=(8, 8), features=8)
        config.captioner.update(width=8, layers=1, heads=2)
        config.train.update(steps=6, images=0, batch_images=8)
        config.pretrain_text.update(steps=4, images=0, batch_images=8, warmup_steps=1)
        others = "pretrain_generator pretrain_discriminator text_matching joint inversion completion captioning"
        for section in others.split():
            config[section].update(steps=4, images=0, batch_images=8, warmup_steps=1)
        config.log.every_images = 16
        config.sample.update(every_images=0, num_captions=2, num_seeds=2)
        config.evaluate.update(every_images=0, num_images=16, at_end=False, classifier_steps=3, probe_steps=3)
        config.checkpoint.every_images = 0
    return config


def privately(config, phases, **privacy):
    """Makes a small configuration one that asks for privacy, of pictures of 8 px and one device."""
    with config.unlocked():
        config.devices = 1
        config.phases = phases
        config.loss.adversarial = "non_saturating"
        config.privacy.update(epsilon=8.0, delta=1e-3, batch_images=6, noise_multiplier=1.0, **privacy)
        config.train.update(steps=4, batch_images=4, discriminator_steps=2)
        config.data.image_size_px = 8
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.log.every_images = config.checkpoint.every_images = 12
    return config


def in_space(config, kind, autoencoder_steps):
    """The small networks again, on maps of 4 x 4 places of 6 numbers instead of pixels."""
    with config.unlocked():
        config.space.update(kind=kind, factor=4, channels=6, encoder_channels=(8,), decoder_channels=(8, 8), blocks=1)
        for name in ("generator", "discriminator"):
            config[name].channels = (8, 8)
        config.generator.base_px = 2
        config.image_encoder.update(channels=(8,), patch_px=1)
        config.inverter.update(channels=(8,))
        config.pretrain_autoencoder.update(steps=autoencoder_steps, images=0, batch_images=8, warmup_steps=1)
    return config


def random_batch(vocab_size, num_images=8, px=16, channels=3, num_tokens=6):
    """A batch of pictures and captions without any sense."""
    random = np.random.default_rng(0)
    return {
        "images": jnp.asarray(random.integers(0, 256, (num_images, px, px, channels)), jnp.uint8),
        "tokens": jnp.asarray(random.integers(1, vocab_size, (num_images, num_tokens)), jnp.int32),
    }


def on_one_device_and_two(step, state, batch):
    """The states after a step, as (state, batch) -> (state, metrics), from the same state and batch."""
    from t2igan.training.distributed import parallel

    state, batch = jax.device_get((state, batch))
    for devices in (1, 2):
        mesh = parallel.make_mesh(devices)
        compiled = parallel.compile_step(step, mesh)
        after, _ = compiled(jax.device_put(state, parallel.replicated(mesh)), parallel.to_devices(batch, mesh))
        yield jax.device_get(after)


def impatient(steps):
    """A `stopping.Interruption` that asks each training to stop after so many steps, as Ctrl-C would."""
    from t2igan.training import stopping

    class Impatient(stopping.Interruption):
        left = steps

        def stops(self):
            self.left -= 1
            return self.left <= 0

    return Impatient


def random_snapshot(captions, changes=None, captioner=False):
    """A snapshot in which every weight is drawn at random, so that words, places and noise all matter.

    `changes` are values of the configuration by dotted key. With a captioner it also knows which words were seen.
    """
    from configs.base import get_config
    from t2igan import nets
    from t2igan.data.seen import MIN_CAPTIONS, Seen
    from t2igan.data.tokenizer import Tokenizer
    from t2igan.inference.snapshot import Snapshot

    config = shrink(get_config())
    tokenizer = Tokenizer.train(captions, 300, 16)
    with config.unlocked():
        config.tokenizer.max_tokens = 16
        config.update_from_flattened_dict(changes or {})
    networks = nets.build(config, tokenizer.vocab_size)
    tokens = jnp.ones((1, 16), jnp.int32)

    def init(key):
        text, text_params = networks.text_encoder.init_with_output(key, tokens)
        made = {"text": text_params, "generator": networks.generator.init(key, jnp.zeros((1, networks.z_dim)), text)}
        if captioner:
            features, made["image"] = networks.image_encoder.init_with_output(key, jnp.zeros((1, 16, 16, 3)))
            made["captioner"] = networks.captioner.init(key, features, tokens)
        return made

    random = np.random.default_rng(0)
    shapes = jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(lambda x: (0.3 * random.normal(size=x.shape)).astype(np.float32), shapes)
    info = {"step": 4, "t2igan": "1", "data": "caps"}
    if not captioner:
        return Snapshot(params, config.to_dict(), tokenizer.to_json(), {}, info)
    own = params["captioner"]["params"]  # a reference that pictures can have
    own.update(reference_mean=np.zeros(8, np.float32), reference_second=np.eye(8, dtype=np.float32))
    often = [f"{caption}{' too' * number}" for caption in captions for number in range(MIN_CAPTIONS)]
    seen = Seen.of(often, [], tokenizer).to_json()
    return Snapshot(params, config.to_dict(), tokenizer.to_json(), {}, info, seen=seen)
