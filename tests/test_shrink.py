"""Smaller models: what is taken away is taken away everywhere, what matters stays, and the rest learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exported import random_model
from squares import squares
from test_export_kinds import KINDS

import t2igan
from t2igan import config as config_lib
from t2igan import nets
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors, Settings
from t2igan.inference.export import Exported, web_page
from t2igan.inference.export.source import in_float32
from t2igan.inference.snapshot import load_snapshot, save_snapshot
from t2igan.nets.channels import chosen, gated, narrowed, pruned
from t2igan.training.shrink import distil, export, figures, student

CAPTIONS = ["a red square on blue", "a green square", "blue", "a red cat and a green one"]
WIDER = {"generator.channels": (16, 16, 16), "generator.style_dim": 24}
OF_A_KIND = (
    "growing, patches, guidance",
    "grey, two blocks, no words",
    "fully connected, guidance",
    "codes of an autoencoder",
)


def groups_of(model, module=None):
    narrower = nets.kind_of(config_lib.from_dict(model.config), "generator").narrower
    return narrower.groups(module or model.networks.generator)


def drawn(model, module, params, num=6):
    tokens = jnp.asarray(model.tokenizer.encode((CAPTIONS * num)[:num]))
    text = model.networks.text_encoder.apply(model.params["text"], tokens)
    z = jax.random.normal(jax.random.key(1), (num, model.networks.z_dim))
    return np.asarray(jax.jit(module.apply)(params, z, text))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "wide.safetensors"
    save_snapshot(path, dataclasses.replace(random_model(CAPTIONS, **WIDER), model_card="# Wide\n\n## Data\n\nNone.\n"))
    return path


@pytest.fixture(scope="module")
def wide(snapshot):
    return in_float32(load_snapshot(snapshot))


@pytest.mark.parametrize("kind", OF_A_KIND)
def test_channels_that_nothing_reads_can_be_taken_away(kind):
    """Half of each group shut by a gate of 0, or taken away: the pictures of any kind of generator are the same."""
    model = in_float32(random_model(CAPTIONS, **KINDS[kind]))
    module, _ = student.narrower(model, 0.5)
    groups, smaller = groups_of(model), groups_of(model, module)
    params = model.params["generator"]
    random = np.random.default_rng(0)
    kept = chosen([random.random(group.size) for group in groups], groups, [group.size for group in smaller])
    shut = [jnp.zeros(group.size).at[channels].set(1.0) for group, channels in zip(groups, kept, strict=True)]
    found = drawn(model, module, pruned(params, groups, kept))
    expected = drawn(model, model.networks.generator, gated(params, groups, shut))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert np.abs(expected - drawn(model, model.networks.generator, params)).max() > 0.01


def test_what_pictures_do_not_need_goes_first(wide):
    """A channel without effect has no sensitivity, and is not among those that are kept."""
    groups = groups_of(wide)
    useless = [np.arange(group.size) % 2 == 0 for group in groups]
    gates = [jnp.asarray(~never, jnp.float32) for never in useless]
    mute = in_float32(
        dataclasses.replace(
            random_model(CAPTIONS, **WIDER),
            params=wide.params | {"generator": gated(wide.params["generator"], groups, gates)},
        )
    )
    scores = student.sensitivities(mute, groups, CAPTIONS)
    for group, score, never in zip(groups, scores, useless, strict=True):
        assert (score[never] == 0).all() and (score[~never] > 0).all(), group.name
    small = student.pruned_student(mute, 0.5, CAPTIONS)
    expected = drawn(mute, mute.networks.generator, mute.params["generator"])
    np.testing.assert_allclose(drawn(mute, small.module, small.params), expected, rtol=0, atol=2e-5)


def test_sensitivity_is_that_of_the_pictures(wide):
    """|dG/dg|^2 by finite differences of one group's gates, the mean over the same captions and noise."""
    groups, num, size = groups_of(wide), 192, 1e-2
    place = next(i for i, group in enumerate(groups) if group.name == "maps 2")
    scores = student.sensitivities(wide, groups, CAPTIONS)[place]

    def images(gate):
        gates = [jnp.ones(group.size) for group in groups]
        params = gated(wide.params["generator"], groups, [*gates[:place], gate, *gates[place + 1 :]])
        return drawn(wide, wide.networks.generator, params, num)

    ones = jnp.ones(groups[place].size)
    exact = [((images(ones) - images(ones - size * (jnp.arange(len(ones)) == c))) ** 2).sum() for c in range(4)]
    np.testing.assert_allclose(scores[:4], np.array(exact) / size**2 / num, rtol=0.35)  # a random projection each


@pytest.mark.parametrize(
    ("channels", "share", "multiple", "width"),
    [
        (96, 0.6, 4, 56),
        (32, 0.6, 4, 16),
        (8, 0.6, 2, 4),
        (8, 0.1, 4, 4),
        (6, 0.5, 3, 3),
        (256, 1.0, 1, 256),
        (1, 0.5, 1, 1),
    ],
)
def test_widths_are_multiples_that_suit(channels, share, multiple, width):
    assert narrowed(channels, share, multiple) == width


def test_a_student_learns_to_draw_the_same(wide):
    before = student.pruned_student(wide, 0.6, CAPTIONS)
    errors = []
    after = distil.distilled(wide, before, CAPTIONS, 3200, progress=lambda *late: errors.append(late[2]))
    assert len(errors) == 100 and errors[-1] < 0.8 * errors[0]
    teacher = drawn(wide, wide.networks.generator, wide.params["generator"])
    far = [np.abs(drawn(wide, s.module, s.params) - teacher).mean() for s in (before, after)]
    assert far[1] < 0.8 * far[0]
    again = distil.distilled(wide, before, CAPTIONS, 3200)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again.params, after.params))


def test_a_shrunk_export_is_a_page_a_snapshot_and_a_card(snapshot, tmp_path, monkeypatch):
    """Without its data, from captions that are given; then again from the snapshot that it left."""
    monkeypatch.setattr(export, "open_datasets", no_data)
    # What pages draw is compared elsewhere; programs for many pictures take long to compile.
    monkeypatch.setattr(web_page, "check_file", lambda *_: ["x.html: 64"])
    for name, few in {"NUM_COMPARED": 2, "NUM_TIMED": 1, "NUM_CAPTIONS": 1, "NUM_SEEDS": 2}.items():
        monkeypatch.setattr(figures, name, few)
    done = t2igan.export(snapshot, "web", tmp_path / "x.html", captions=CAPTIONS, shrink=0.6, shrink_images=3200)
    assert set(done.size_bytes) == {"x.html", "x.safetensors"}
    assert ("parameters of all that draws" in {row[0] for row in done.shrunk}) and "x.html: 64" in done.checks[0]
    small = load_snapshot(tmp_path / "x.safetensors")
    assert tuple(small.config["generator"]["channels"]) == (10, 10, 10) and small.config["generator"]["style_dim"] == 16
    head, shrunk, data = small.model_card.split("\n## ")
    assert head.startswith("# Wide") and "3,200 of its pictures" in shrunk and data.startswith("Data")
    assert "| parameters of all that draws |" in shrunk and load_snapshot(snapshot).digest in shrunk
    rows = {name: values for name, *values in done.shrunk}
    whole, less = (int(number.replace(",", "")) for number in rows["parameters of all that draws"])
    assert whole > 1.5 * less and float(rows["its weights in float32, MB"][1]) == pytest.approx(4e-6 * less, abs=0.01)
    images = t2igan.load(tmp_path / "x.safetensors").sample(CAPTIONS)
    assert images.shape == (4, 16, 16, 3)
    with pytest.raises(UserError, match=r"takes nothing away|must be a number"):
        t2igan.export(tmp_path / "x.safetensors", "web", tmp_path / "y.html", captions=CAPTIONS, shrink=0.95)


def test_before_and_after_are_measured_by_the_names_of_today(wide, tmp_path, monkeypatch):
    for name, few in {"NUM_COMPARED": 2, "NUM_TIMED": 1, "NUM_CAPTIONS": 1, "NUM_SEEDS": 2, "NUM_EVALUATED": 6}.items():
        monkeypatch.setattr(figures, name, few)
    train, test = squares("train", 40, 0, px=16), squares("test", 12, 1, px=16)
    quick = Settings(classifier_steps=2, classifier_batch_images=8)
    config = config_lib.from_dict(wide.config)
    extractors = FeatureExtractors(config, train, wide.tokenizer, tmp_path, settings=quick)
    found = figures.compare(wide, wide, CAPTIONS, test, extractors)
    named = {"attributes/mean", "attributes/all", "frechet_distance/attributes", "diversity_within/pixels"}
    assert named == {name for name in found.figures if "/" in name} and named <= found.result["figures"].keys()


def test_of_private_pictures_only_captions_are_used(snapshot, monkeypatch, capsys):
    own = load_snapshot(snapshot)
    private = dataclasses.replace(own, config=dict(own.config) | {"privacy": {"epsilon": 3.0}})
    monkeypatch.setattr(export, "open_datasets", lambda *_: [squares("train", 3, 0), squares("test", 3, 1)])
    found = export._data_of(snapshot, private, None)
    assert found.captions and found.train is found.test is found.workdir is None
    assert "nothing is measured on them" in capsys.readouterr().out
    assert export._data_of(snapshot, own, None).test is not None


def test_the_data_card_goes_with_a_shrunk_model(snapshot, tmp_path, monkeypatch):
    path = tmp_path / "run" / "model.safetensors"
    save_snapshot(path, load_snapshot(snapshot))
    path.with_name("data_card.md").write_text("squares")
    monkeypatch.setattr(export, "shrunk", lambda *_: (load_snapshot(snapshot), ()))
    sources = []

    def write(source, form, out, *_):
        sources.append(source)
        return Exported(out, {form: 1}, ())

    monkeypatch.setattr(export, "write", write)
    t2igan.export(path, "hub", tmp_path / "hub", captions=CAPTIONS, shrink=0.5)
    t2igan.export(path, "onnx", tmp_path / "onnx", captions=CAPTIONS, shrink=0.5)
    assert [source.data_card for source in sources] == ["squares"] * 2
    assert (tmp_path / "onnx" / "data_card.md").read_text() == "squares"


def no_data(*_):
    raise UserError("there is no data")


def test_where_a_form_fails_the_shrunk_model_is_kept(snapshot, tmp_path, monkeypatch):
    def fails(*_):
        raise UserError("no such library")

    monkeypatch.setattr(export, "shrunk", lambda *_: (load_snapshot(snapshot), ()))

    monkeypatch.setattr("t2igan.inference.export.onnx_files.write", fails)
    with pytest.raises(
        UserError, match=r"no such library\nThe shrunk model is in .*model\.safetensors: give --workdir"
    ):
        t2igan.export(snapshot, "onnx", tmp_path / "out", captions=CAPTIONS, shrink=0.5, shrink_images=32)
    assert t2igan.load(tmp_path / "out").sample("a green square").shape == (1, 16, 16, 3)


def test_a_place_that_cannot_be_written_is_named_before_it_learns(snapshot, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(export, "shrunk", no_data)
    with pytest.raises(UserError, match="could not write below"):
        t2igan.export(snapshot, "web", tmp_path / "file" / "x.html", captions=CAPTIONS, shrink=0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shrink": 0.0}, r"shrink=0\.0 must be a number from 0\.1 to 1"),
        ({"shrink": 1.5}, r"shrink=1\.5 must be"),
        ({"shrink": float("nan")}, "shrink=nan must be"),
        ({"shrink": 0.99, "captions": CAPTIONS}, "takes nothing away"),
        ({"shrink": 0.5, "shrink_images": 0}, "shrink_images=0 must be 1 or more"),
        (
            {"shrink": 0.5},
            r"captions it was trained with.*not at hand: there is no data\nGive captions.*--prompts=FILE",
        ),
    ],
)
def test_wrong_arguments_are_explained(snapshot, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setattr(export, "open_datasets", no_data)
    with pytest.raises(UserError, match=words):
        t2igan.export(snapshot, "web", tmp_path / "x.html", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_kind_of_ones_own_that_says_nothing_of_its_channels_is_refused(wide, monkeypatch):
    plain = dataclasses.replace(nets.GENERATORS["residual"], narrower=None)
    monkeypatch.setattr(nets, "kind_of", lambda *_: plain)
    with pytest.raises(UserError, match="kind 'residual' cannot be shrunk"):
        student.narrower(wide, 0.5)
