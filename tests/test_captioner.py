"""Pictures to captions: the captioner, what its phase learns and counts, beam search, and the verb."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot, shrink

from configs.base import get_config
from t2igan import nets
from t2igan.data.tokenizer import BEGIN, PAD, Tokenizer
from t2igan.errors import UserError
from t2igan.inference.editing import describe
from t2igan.inference.editing.describing import search
from t2igan.inference.pictures import save_png
from t2igan.inference.sample import from_snapshot
from t2igan.inference.snapshot import save_snapshot
from t2igan.method.phases.caption import CaptionMethod, caption_step, init_caption_state, next_token_loss
from t2igan.nets.captioner import strangeness, with_reference

CAPTIONS = ["a red square", "a blue square", "a big red dot", "a blue dot"]


def pictures():
    """Squares and dots of two colours, each plainly another."""
    images = np.full((4, 16, 16, 3), 255, np.uint8)
    images[0, 2:8, 2:8] = images[2, 6:14, 6:14] = (220, 30, 30)
    images[1, 2:8, 2:8] = images[3, 9:12, 9:12] = (30, 30, 220)
    return images


@pytest.fixture(scope="module")
def taught():
    """A captioner that has seen four pictures often; the tower is as it was drawn."""
    config = shrink(get_config())
    with config.unlocked():
        config.tokenizer.max_tokens = 16
        config.captioning.update(learning_rate=3e-2, learning_rate_end=0.2, warmup_steps=5)
        config.captioner.update(width=16)
    tokenizer = Tokenizer.train(CAPTIONS, 300, 16)
    networks = nets.build(config, tokenizer.vocab_size)
    method = CaptionMethod.create(config, networks, 60)
    batch = {"images": jnp.asarray(pictures()), "tokens": jnp.asarray(tokenizer.encode(CAPTIONS))}
    first = jax.jit(lambda batch: init_caption_state(method, batch))(batch)
    step, state, losses = jax.jit(lambda state, batch: caption_step(method, state, batch)), first, []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss/caption"]))
    return config, tokenizer, networks, batch, first, state, losses


@pytest.fixture(scope="module")
def model(taught):
    config, tokenizer, _, _, _, state, _ = taught
    snapshot = random_snapshot(CAPTIONS)
    learned = jax.device_get({name: (state.frozen | state.params)[name] for name in ("image", "captioner")})
    snapshot = dataclasses.replace(
        snapshot, config=config.to_dict(), tokenizer=tokenizer.to_json(), params=snapshot.params | learned
    )
    return from_snapshot(snapshot), snapshot


def test_the_phase_learns_captions_leaves_the_tower_and_counts_moments(taught):
    _, _, networks, batch, first, state, losses = taught
    assert losses[-1] < 0.1 < 2 < losses[0]
    jax.tree.map(np.testing.assert_array_equal, state.frozen, first.frozen)
    features = networks.image_encoder.apply(state.frozen["image"], nets.to_unit(batch["images"]))
    own = state.params["captioner"]["params"]
    np.testing.assert_allclose(own["reference_mean"], features.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own["reference_second"], features.T @ features / 4, rtol=1e-4, atol=1e-5)


def test_a_token_depends_on_those_before_it_alone(taught):
    _, _, networks, batch, _, state, _ = taught
    features = jnp.ones((1, 8))
    apply = jax.jit(lambda tokens: networks.captioner.apply(state.params["captioner"], features, tokens))
    tokens = batch["tokens"][:1]
    other = tokens.at[:, 3:].set(7)
    np.testing.assert_array_equal(apply(tokens)[:, :3], apply(other)[:, :3])
    assert np.abs(apply(tokens)[:, 3:] - apply(other)[:, 3:]).max() > 1e-3


def test_padding_counts_for_nothing_in_the_loss(taught):
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]]]))

    class Fixed:
        def apply(self, params, features, tokens):  # noqa: ARG002
            return logits[:, : tokens.shape[1]]

    networks = taught[2]._replace(captioner=Fixed())
    loss, right = next_token_loss(networks, {}, jnp.zeros((1, 2)), jnp.array([[1, 1, 2, PAD]]))
    np.testing.assert_allclose(loss, [(np.log(4) + np.log(2)) / 2], rtol=1e-6)
    np.testing.assert_allclose(right, [0.5])


def test_strangeness_is_1_on_the_average_of_what_was_counted_and_more_far_away():
    random = np.random.default_rng(0)
    batches = [jnp.asarray(random.normal(size=(64, 5)) @ np.diag([1, 2, 0.1, 3, 1]) + 4, jnp.float32) for _ in range(3)]
    params = {"params": {"reference_mean": jnp.zeros(5), "reference_second": jnp.eye(5), "other": jnp.ones(1)}}
    for number, features in enumerate(batches):
        params = with_reference(params, features, float(number))
    together = jnp.concatenate(batches)
    np.testing.assert_allclose(params["params"]["reference_mean"], together.mean(0), rtol=1e-5)
    assert float(strangeness(params, together).mean()) == pytest.approx(1, abs=0.1)
    assert strangeness(params, together + jnp.array([0, 0, 2.0, 0, 0])).min() > 10  # far where features vary little


def test_beams_find_the_captions_and_no_less_likely_ones_than_greed(model, taught):
    _, tokenizer, networks, batch, _, state, _ = taught
    features = np.asarray(networks.image_encoder.apply(state.frozen["image"], nets.to_unit(batch["images"])))
    (_, greedy_scores), (rows, scores) = (search(model[0], features, beams) for beams in (1, 3))
    assert (scores >= greedy_scores - 1e-6).all()
    assert [tokenizer.decode(row[row != PAD]) for row in rows] == CAPTIONS
    assert (rows[:, 0] == BEGIN).all()
    logs = jax.nn.log_softmax(
        networks.captioner.apply(state.params["captioner"], jnp.asarray(features), jnp.asarray(rows[:, :-1]))
    )
    logs = np.asarray(logs)
    logs = logs - np.log1p(-np.exp(logs[..., [PAD, BEGIN]]).sum(-1, keepdims=True))  # neither can follow
    taken = np.take_along_axis(logs, rows[:, 1:, None], axis=2)[..., 0] * (rows[:, 1:] != PAD)
    np.testing.assert_allclose(scores, taken.sum(1), rtol=1e-3, atol=1e-3)


def test_pictures_are_described_and_a_strange_one_is_called_so(model):
    found = describe(model[0], pictures(), beams=2)
    assert [of.caption for of in found] == CAPTIONS
    assert all(0.8 < of.confidence <= 1 and not of.unlike for of in found)
    noise = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    (strange,) = describe(model[0], noise)
    assert strange.unlike and strange.strangeness > 10
    for beams, images, says in [(0, pictures(), "beams=0"), (2, pictures()[:, :8], "this model's are uint8")]:
        with pytest.raises(UserError, match=says):
            describe(model[0], images, beams)


def test_a_snapshot_without_a_captioner_says_which_phase_to_add():
    with pytest.raises(UserError, match=r"add the phase 'caption' to config.phases"):
        describe(from_snapshot(random_snapshot(CAPTIONS)), pictures())


def test_the_verb_describes_pictures_and_folders(model, tmp_path, console):
    save_snapshot(tmp_path / "model.safetensors", model[1])
    folder = tmp_path / "pictures"
    for name, image in zip("abcd", pictures(), strict=True):
        save_png(folder / f"{name}.png", image)
    (folder / "b.txt").write_text("mine\n")
    (folder / "e.png").write_text("no picture")
    words = ["describe", f"--workdir={tmp_path / 'model.safetensors'}"]
    done = console(*words, f"--image={folder}", "--txt")
    assert done.returncode == 0 and "3 captions written beside 5 pictures" in done.stdout
    assert "left out" in done.stdout and "e.png cannot be used: not a picture" in done.stdout
    assert [(folder / f"{name}.txt").read_text() for name in "abcd"] == [
        f"{CAPTIONS[0]}\n", "mine\n", f"{CAPTIONS[2]}\n", f"{CAPTIONS[3]}\n",
    ]  # fmt: skip
    done = console(*words, f"--image={folder / 'a.png'}", f"--image={folder / 'c.png'}", "--json")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["caption"] for row in rows] == [CAPTIONS[0], CAPTIONS[2]]
    assert set(rows[0]) == {"image", "caption", "confidence", "strangeness", "unlike"}
    for given, says in [
        ([], "--image is missing"),
        ([f"--image={folder / 'e.png'}"], "not a picture"),
        ([f"--image={tmp_path / 'gone.png'}"], "gone.png"),
    ]:
        done = console(*words, *given)
        assert done.returncode == 2 and says in done.stderr
