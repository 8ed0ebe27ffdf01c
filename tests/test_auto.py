"""What `--config=auto` chooses: pure functions of hand-made facts; then a folder, end to end."""

import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

import t2igan
from t2igan import config as config_lib
from t2igan.config import get
from t2igan.config.checks import check
from t2igan.data.peek import Peek, peek
from t2igan.errors import UserError
from t2igan.method import phases
from t2igan.training import auto, plan
from t2igan.training.auto import machine as machine_lib
from t2igan.training.auto import written
from t2igan.training.auto.choose import (
    JUDGED,
    LEAST_PICTURES,
    NOISES,
    Decision,
    choose,
    choose_shape,
    configured,
    risks,
)
from t2igan.training.auto.facts import DataFacts, MachineFacts, Rates
from t2igan.training.auto.lengths import lengths, overhead_s, phase_images
from t2igan.training.auto.shapes import SHAPES, predicted_images_s
from t2igan.training.distributed import parallel

BY_SIZE = {(shape.preset, shape.size_px): shape for shape in SHAPES}
CODES_64 = BY_SIZE["folder64", 64]
LAPTOP = MachineFacts("cpu", "cpu", 1, 2, 16 * 10**9, 100e9, 0.0)
GPU = MachineFacts("gpu", "NVIDIA H100", 1, 16, 80 * 10**9, 40e12, 300e12, ("minilm",))
OLD_GPU = dataclasses.replace(GPU, kind="T4", memory_bytes=5 * 10**9, float32_flop_s=5e12, bfloat16_flop_s=2e12)
DRAWINGS = DataFacts(
    pictures=5000, distinct=5000, held_out=(250, 250), width_px=512, height_px=512, short_side_px=512, style="drawings",
    flat_share=0.6, cut_share=0.0, alpha_share=0.0, visible_level=float("nan"), grey_share=0.0, captions=4800,
    pictures_a_caption=1.04, caption_words=8, longest_tokens=17, vocabulary=120, unseen_share=0.0, english=True,
    sides_share=0.0,
)  # fmt: skip
SEEN = Peek(512, 512, 512, 512, 0.0, 0.0, float("nan"), 0.0, 0.6)
RATES = {
    "autoencoder": Rates(100.0, 10.0), "text": Rates(800.0, 10.0), "generator": Rates(500.0, 10.0),
    "adversarial": Rates(150.0, 10.0),
}  # fmt: skip


def decided(data, machine=LAPTOP, shape=CODES_64):
    """Values by key, and reasons by what they are about."""
    decisions = choose(shape, data, machine)
    values = {key: value for decision in decisions for key, value in decision.values.items()}
    return values, {decision.about: decision.why for decision in decisions}


# The shape.


@pytest.mark.parametrize(
    ("machine", "minutes", "preset", "size_px"),
    [
        (LAPTOP, 90, "folder64", 128),
        (LAPTOP, 30, "folder64", 64),
        (LAPTOP, 10, "folder64", 64),
        (LAPTOP, 7, "folder", 32),
        (LAPTOP, 3, "base", 16),
        (GPU, 120, "gpu256", 256),
        (GPU, 5, "folder64", 128),
        (dataclasses.replace(LAPTOP, float32_flop_s=20e9), 30, "folder", 32),
    ],
)
def test_the_shape_is_the_largest_that_fits_the_minutes(machine, minutes, preset, size_px):
    shape, why = choose_shape(SEEN, machine, float(minutes))
    assert (shape.preset, shape.size_px) == (preset, size_px), why
    assert "512 x 512 px" in why and ("would want" in why) == (16 < size_px < 256)


def test_the_nearest_that_was_refused_is_named():
    machine = dataclasses.replace(LAPTOP, float32_flop_s=20e9)
    assert "small networks on codes, 64 px would want" in choose_shape(SEEN, machine, 30.0)[1]
    assert "small networks on codes, 128 px would want" in choose_shape(SEEN, machine, 40.0)[1]


def test_pictures_are_not_made_larger_than_they_are():
    seen = lambda px: dataclasses.replace(SEEN, width_px=px, height_px=px, short_side_px=px, long_side_px=px)
    sizes = {px: choose_shape(seen(px), GPU, 300.0)[0].size_px for px in (8, 16, 28, 40, 64, 100, 200)}
    assert sizes == {8: 16, 16: 16, 28: 32, 40: 32, 64: 64, 100: 128, 200: 256}
    assert not choose_shape(seen(28), GPU, 300.0)[0].on_codes and "pixel art" in choose_shape(seen(28), GPU, 300.0)[1]


def test_a_size_that_was_given_is_kept_and_one_without_networks_is_refused():
    assert choose_shape(SEEN, LAPTOP, 30.0, 32)[0].size_px == 32
    shape, why = choose_shape(SEEN, LAPTOP, 1.0, 256)
    assert shape.size_px == 256 and "expect blobs" in why
    with pytest.raises(UserError, match="image_size_px=48: --config=auto has networks for 16, 32, 64, 128 and 256 px"):
        choose_shape(SEEN, LAPTOP, 30.0, 48)


def test_a_device_without_the_memory_gets_a_smaller_shape():
    assert choose_shape(SEEN, dataclasses.replace(GPU, memory_bytes=10**9), 300.0)[0].preset != "gpu256"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.preset} {shape.size_px}")
def test_every_shape_is_a_valid_configuration_for_all_kinds_of_data(shape):
    many = dataclasses.replace(DRAWINGS, captions=10, pictures_a_caption=500.0, distinct=40, grey_share=1.0)
    photographs = dataclasses.replace(
        DRAWINGS, style="photographs", cut_share=0.5, alpha_share=0.2, visible_level=250.0
    )
    icons = dataclasses.replace(DRAWINGS, alpha_share=0.9, visible_level=100.0, distinct=500)
    several = dataclasses.replace(DRAWINGS, pictures_a_caption=1.22)
    for data in (DRAWINGS, many, photographs, icons, several):
        for machine in (LAPTOP, GPU, OLD_GPU, dataclasses.replace(GPU, devices=3)):
            config = configured(shape, choose(shape, data, machine))
            assert config.data.image_size_px == shape.size_px
            with config.unlocked():
                config.text_encoder.pretrained = ""
            check(config)
            assert set(config.phases) <= set(shape.gflop) and config.train.batch_images % machine.devices == 0
            assert all(predicted_images_s(shape, phase, machine) > 0 for phase in config.phases)


@pytest.mark.parametrize(
    ("shape", "phase"),
    [
        (CODES_64, "autoencoder"),
        (CODES_64, "text"),
        (BY_SIZE["folder64", 128], "autoencoder"),
        (BY_SIZE["base", 16], "text"),
    ],
)
def test_the_work_of_a_shape_is_what_xla_counts(shape, phase):
    config = shape.config()
    run = plan._run_without_data(config, parallel.make_mesh(1))
    made = phases.build(phase, run, {})
    lowered, _, _ = plan.lower_step(run, made, {})
    gflop = lowered.cost_analysis()["flops"] / made.step_images / 1e9
    assert shape.gflop[phase] == pytest.approx(gflop, rel=0.1)


# What follows from the data.


def test_one_picture_a_caption_is_regressed_first_and_many_are_not():
    values, whys = decided(DRAWINGS)
    assert values["phases"] == ("autoencoder", "text", "generator", "adversarial")
    assert values["pretrain_generator.task"] == "regress" and "1.04 pictures a caption" in whys["method"]
    assert (values["discriminator.sees"], values["discriminator.patch_px"]) == ("pictures", 4)
    assert values["train.tune_decoder"] and "with the decoder" in whys["method"]
    assert "discriminator.sees" not in decided(dataclasses.replace(DRAWINGS, distinct=1_999))[0]
    values, whys = decided(dataclasses.replace(DRAWINGS, captions=20, pictures_a_caption=250.0))
    assert values["phases"] == ("autoencoder", "text", "adversarial") and "250.0 pictures a caption" in whys["method"]
    values, _ = decided(DRAWINGS, shape=BY_SIZE["folder", 32])
    assert values["phases"] == ("text", "generator", "adversarial") and "loss.penalty_weight" not in values


def test_what_is_taken_from_a_preset_is_what_that_preset_has():
    """Written twice, for a shape must not read other presets: networks of 128 px, and the game of paired pictures."""
    values, _ = decided(DRAWINGS, shape=BY_SIZE["folder64", 128])
    config, preset = BY_SIZE["folder64", 128].config(), t2igan.get_config("emoji128")
    assert config.space.to_dict() == preset.space.to_dict()
    assert config.image_encoder.patch_px == preset.image_encoder.patch_px
    for key in (*JUDGED, "discriminator.patch_px"):
        assert values[key] == get(preset, key), key
    assert all(get(t2igan.get_config("emoji64"), key) == value for key, value in NOISES.items())


def test_several_noises_are_tried_where_captions_have_several_pictures():
    several = dataclasses.replace(DRAWINGS, pictures_a_caption=1.22, distinct=700)
    values, whys = decided(several)
    assert values["loss.paired_noises"] == 4 and "one of them where it has several, then plays" in whys["method"]
    assert "loss.paired_noises" not in decided(DRAWINGS)[0]
    assert "loss.paired_noises" not in decided(several, shape=BY_SIZE["folder", 32])[0]


def test_small_data_is_augmented_and_the_risk_is_said():
    values, whys = decided(DRAWINGS)
    assert values["augment.target"] == 0 and "not few" in whys["augmentation"]
    for pictures in (500, 50):
        few = dataclasses.replace(DRAWINGS, pictures=pictures, distinct=pictures, held_out=(pictures // 8,) * 2)
        values, whys = decided(few)
        assert values["augment.target"] == 0.6 and values["augment.kinds"] == ("translate", "cutout")
        said = "\n".join(risks(few, {"adversarial": 6000}, LAPTOP))
        assert f"{pictures} different pictures" in said
        assert ("by heart" in said) == (pictures == 500) and ("copies and blends" in said) == (pictures == 50)
        assert ("6 held-out pictures" in said) == (pictures == 50)
    assert risks(DRAWINGS, {"adversarial": 6000}, LAPTOP) == []
    assert "200 of 5,000 pictures" in risks(dataclasses.replace(DRAWINGS, distinct=4800), {}, LAPTOP)[0]
    assert "busy (9.5 processes a core)" in risks(DRAWINGS, {}, dataclasses.replace(LAPTOP, load=9.5))[0]


def test_on_pixels_photographs_are_mirrored_unless_captions_tell_sides():
    pixels = BY_SIZE["folder", 32]
    few = dataclasses.replace(DRAWINGS, distinct=500, style="photographs")
    assert "flip" in decided(few, shape=pixels)[0]["augment.kinds"]
    assert "flip" not in decided(dataclasses.replace(few, sides_share=0.1), shape=pixels)[0]["augment.kinds"]
    assert "flip" not in decided(dataclasses.replace(few, style="drawings"), shape=pixels)[0]["augment.kinds"]
    assert "flip" not in decided(few)[0]["augment.kinds"]


def test_free_english_captions_get_minilm_where_it_is_installed():
    free = dataclasses.replace(DRAWINGS, vocabulary=3000, unseen_share=0.3)
    with_it = dataclasses.replace(LAPTOP, text_models=("minilm",))
    assert decided(free, with_it)[0]["text_encoder.pretrained"] == "minilm"
    values, whys = decided(free)
    assert "text_encoder.pretrained" not in values and "pip install" in whys["text"]
    assert "text_encoder.pretrained" not in decided(dataclasses.replace(free, english=False), with_it)[0]
    assert "text_encoder.pretrained" not in decided(DRAWINGS, with_it)[0]


def test_drawings_are_padded_where_a_crop_would_cut_them_and_photographs_are_cropped():
    wide = dataclasses.replace(DRAWINGS, cut_share=0.4)
    assert decided(wide)[0]["data.resize"] == "pad" and decided(DRAWINGS)[0]["data.resize"] == "crop"
    values, whys = decided(dataclasses.replace(wide, style="photographs"))
    assert values["data.resize"] == "crop" and "40%" in whys["squares"]


def test_colours_grey_and_what_would_vanish_on_white():
    assert decided(dataclasses.replace(DRAWINGS, grey_share=1.0))[0]["data.channels"] == 1
    icons = dataclasses.replace(DRAWINGS, alpha_share=0.9, visible_level=240.0)
    assert decided(icons)[0]["data.channels"] == 4 and "transparent" in decided(icons)[1]["colours"]
    bright = dataclasses.replace(DRAWINGS, alpha_share=0.4, visible_level=240.0)
    assert decided(bright)[0]["data.background"] == (0, 0, 0)
    assert "data.background" not in decided(dataclasses.replace(bright, visible_level=90.0))[0]


def test_batches_fit_the_devices_the_memory_and_the_pictures():
    values, whys = decided(dataclasses.replace(DRAWINGS, distinct=50), dataclasses.replace(LAPTOP, devices=3))
    assert values["pretrain_text.batch_images"] == 18 and values["train.batch_images"] == 33
    values, whys = decided(DRAWINGS, OLD_GPU, BY_SIZE["gpu128", 128])
    assert "pretrain_generator.learning_rate" not in values
    three = decided(DRAWINGS, dataclasses.replace(OLD_GPU, devices=3), BY_SIZE["gpu128", 128])[0]
    assert three["train.batch_images"] % (3 * three["train.microbatches"]) == 0
    assert values["train.microbatches"] > 1 and values["compute_dtype"] == "float32" and "bfloat16" in whys["batches"]


def test_too_few_pictures_are_refused():
    with pytest.raises(UserError, match=f"15 different pictures to train on are too few.*{LEAST_PICTURES}"):
        choose(CODES_64, dataclasses.replace(DRAWINGS, distinct=15), LAPTOP)


# The lengths.


@pytest.mark.parametrize("minutes", [10, 30, 120])
def test_the_phases_fill_the_minutes(minutes):
    config = configured(CODES_64, choose(CODES_64, DRAWINGS, LAPTOP))
    decisions, images = lengths(config, DRAWINGS, LAPTOP, RATES, float(minutes), spent_s=20.0)
    seconds = sum(images[phase] / RATES[phase].images_s for phase in images)
    seconds += 20 + overhead_s(config, DRAWINGS, LAPTOP, RATES, 60.0 * minutes - 20)
    assert 0.93 * 60 * minutes < seconds <= 1.01 * 60 * minutes
    config = configured(CODES_64, [*choose(CODES_64, DRAWINGS, LAPTOP), *decisions])
    check(config)
    assert config.train.images == images["adversarial"] and not config.train.steps
    assert 1 <= config.train.images / config.evaluate.every_images <= 2


def test_small_data_ends_early_rather_than_being_learned_by_heart():
    few = dataclasses.replace(DRAWINGS, pictures=50, distinct=50, held_out=(6, 6))
    config = configured(CODES_64, choose(CODES_64, few, LAPTOP))
    decisions, images = lengths(config, few, LAPTOP, RATES, 120.0)
    assert images["adversarial"] <= 120 * 50 and images["text"] <= 150 * 50 and "ends early" in decisions[0].why
    assert decisions[1].values["augment.adapt_images"] == images["adversarial"] // 2


def test_what_one_phase_cannot_use_goes_to_the_others():
    names, batches = tuple(RATES), dict.fromkeys(RATES, 16)
    plenty = phase_images(names, DRAWINGS, RATES, 1000.0, batches)
    few = phase_images(names, dataclasses.replace(DRAWINGS, distinct=250), RATES, 1000.0, batches)
    assert plenty["text"] == 96_000 and few["text"] == 37_000 and few["adversarial"] == 30_000
    assert few["autoencoder"] > 1.5 * plenty["autoencoder"] == 63_000
    least = phase_images(names, DRAWINGS, RATES, 0.1, batches)
    assert set(least.values()) == {320}


# The file.


def test_the_file_gives_the_same_configuration(tmp_path):
    config = configured(CODES_64, choose(CODES_64, dataclasses.replace(DRAWINGS, cut_share=0.4), LAPTOP))
    config.data.source = 'it\'s "mine" \\ {x}'
    config.sample.captions = ("a", "b")
    config.train.images = 12_345
    why = Decision("size", "because\nof " + 60 * "words ", {"data.image_size_px": 64})
    text = written.as_python(config.lock(), [why, Decision("data", "none")], ["much"], 30.0)
    (tmp_path / "auto_config.py").write_text(text)
    again = written.read(tmp_path / "auto_config.py", 30.0, "")
    assert config_lib.flatten(again) == config_lib.flatten(config)
    assert max(map(len, text.splitlines())) <= 120 and "at risk: much" in text
    with pytest.raises(UserError, match=r"was chosen for --minutes=30, not for 40; give 30 again"):
        written.read(tmp_path / "auto_config.py", 40.0, "")
    with pytest.raises(UserError, match=r"was chosen for config.data.source=it's .*, not for elsewhere"):
        written.read(tmp_path / "auto_config.py", 30.0, "elsewhere")


# A folder, from the command to the snapshot.


def save(folder, number, size=(64, 64), caption="{} {}"):
    """Pictures of a square on coarse blocks of grey, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    colours = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "black": (10, 10, 10)}
    for i in range(number):
        name = sorted(colours)[i % 4]
        blocks = random.integers(0, 256, (4, 4, 1)).repeat(3, 2).astype(np.uint8)
        pixels = np.asarray(Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)).copy()
        side = size[1] // 3
        y, x = random.integers(0, (size[1] - side, size[0] - side))
        pixels[y : y + side, x : x + side] = colours[name]
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(caption.format(name, i))
    return folder


@pytest.fixture
def measured_once(monkeypatch):
    """A machine that is not measured; how often it was asked stands in the list."""
    asked = []
    monkeypatch.setattr(machine_lib, "measure", lambda devices: asked.append(devices) or LAPTOP)
    monkeypatch.setattr(machine_lib, "timed", lambda config: {phase: RATES[phase] for phase in config.phases})
    return asked


def test_a_look_at_pictures(tmp_path):
    config = t2igan.get_config("auto").unlock()
    config.data.source = str(save(tmp_path / "wide", 9, (90, 60)))
    seen = peek(config.data)
    assert (seen.width_px, seen.short_side_px) == (90, 60)
    assert seen.cut_share == 1 and seen.flat_share > 0.9 and seen.alpha_share == 0 and seen.grey_share < 1
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4)).astype(np.uint8)
    noise[..., :3] = 250
    for i in range(3):
        Image.fromarray(np.roll(noise, i, 0)).save(tmp_path / "wide" / f"{i}.png")
    seen = peek(config.data)
    assert seen.alpha_share == pytest.approx(1 / 3) and seen.visible_level == pytest.approx(250, abs=2)


@pytest.mark.parametrize("number", [50, 500])
def test_a_small_folder_is_chosen_for_and_chosen_once(tmp_path, capsys, measured_once, number):
    source = save(tmp_path / "pets", number, (64, 64), "a {0} square, number {1}")
    config = t2igan.auto_config(source, tmp_path / "run", 30, {"seed": 7})
    said = capsys.readouterr().out
    assert config.seed == 7 and config.augment.target == 0.6 and config.data.image_size_px == 64
    assert "at risk" in said and "chosen before" not in said
    again = t2igan.auto_config(source, tmp_path / "run", 30, {"seed": 7})
    assert config_lib.flatten(again) == config_lib.flatten(config) and measured_once == [0]
    assert "chosen before, and kept" in capsys.readouterr().out
    from_file = t2igan.get_config(tmp_path / "run" / "auto_config.py")
    assert json.loads(config_lib.to_json(from_file)) == json.loads(config_lib.to_json(config))


@pytest.mark.usefixtures("measured_once")
def test_what_cannot_be_chosen_for_is_said_in_a_line(tmp_path, monkeypatch):
    for minutes in (0.5, 10**6, "ten", float("nan"), True):
        with pytest.raises(UserError, match=f"--minutes={minutes} must lie between 1 and 20,160"):
            auto.auto_config("pets", tmp_path / "run", minutes)
    with pytest.raises(UserError, match=r"config\.data\.source names none"):
        auto.auto_config("", tmp_path / "run")
    with pytest.raises(UserError, match="is no key of a configuration"):
        auto.auto_config("pets", tmp_path / "run", 30, {"train.image": 3})
    with pytest.raises(UserError, match=r"changes=.*images"):
        auto.auto_config("pets", tmp_path / "run", 30, {"train.images": "many"})
    with pytest.raises(UserError, match="nowhere"):
        auto.auto_config(tmp_path / "nowhere", tmp_path / "run")
    with (
        pytest.raises(UserError, match="measures what one process can do, and there are 3"),
        monkeypatch.context() as m,
    ):
        m.setattr(auto.processes, "count", lambda: 3)
        auto.auto_config("pets", tmp_path / "run")
    few = save(tmp_path / "few", 9)
    with pytest.raises(UserError, match="5 different pictures to train on are too few"):
        auto.auto_config(few, tmp_path / "run")
    for text in few.glob("*.txt"):
        text.unlink()
    with pytest.raises(UserError, match="9 pictures, and not one has a caption"):
        auto.auto_config(few, tmp_path / "run")
    for picture in few.glob("*.png"):
        picture.write_bytes(b"none")
        picture.with_suffix(".txt").write_text("a caption")
    with pytest.raises(UserError, match="not one of 9 pictures can be used"):
        auto.auto_config(few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_a_folder_to_a_model_and_on(tmp_path, console, monkeypatch):
    """The real command with networks of some channels and phases of some steps; the machine is measured, briefly."""
    for name, value in {"SMALL_MAPS": (2, 8, 8), "CALLS": 1, "STEPS": 1}.items():
        monkeypatch.setattr(machine_lib, name, value)
    source, workdir = save(tmp_path / "pets", 40, (16, 16), "a {0} square"), tmp_path / "run"
    small = {
        "text_encoder.width": 8, "text_encoder.layers": 1, "text_encoder.heads": 2, "text_encoder.pooling_queries": 2,
        "text_encoder.sentence_dim": 8, "image_encoder.channels": (8, 8), "image_encoder.features": 8,
        "generator.kind": "mlp", "generator.channels": (8,), "generator.z_dim": 4, "discriminator.kind": "mlp",
        "discriminator.channels": (8,), "augment.target": 0.0,
        "devices": 1, "evaluate.at_end": False, "evaluate.every_images": 0, "guard.num_images": 0,
        "sample.num_captions": 2, "sample.num_seeds": 2, "pretrain_text.steps": 2, "train.steps": 2,
    }  # fmt: skip
    words = [f"--config.{key}={value}" for key, value in small.items()]
    command = ["train", "--config=auto", f"--config.data.source={source}", f"--workdir={workdir}", *words]
    done = console(*command, "--minutes=1")
    said = done.stdout
    assert done.returncode == 0, done.stderr
    for about in (
        "data",
        "machine",
        "size",
        "space",
        "squares",
        "method",
        "text",
        "augmentation",
        "lengths",
        "at risk",
    ):
        assert f"\n  {about:<13}" in said, about
    assert "chosen before" not in said and "phase adversarial: compiling" in said
    assert said.count("teach no more than themselves") == 2  # the training says so by any configuration
    images = t2igan.load(workdir).sample(["a red square"], seed=0)
    assert images.shape == (1, 16, 16, 3)
    done = console(*command, "--minutes=1")
    assert done.returncode == 0 and "chosen before, and kept" in done.stdout and "compiling" not in done.stdout
    done = console(*command, "--minutes=2")
    assert done.returncode == 2 and "was chosen for --minutes=1, not for 2" in done.stderr
    done = console("train", f"--config={workdir / 'auto_config.py'}", "--minutes=1")
    assert done.returncode == 2 and "--minutes=1 is for --config=auto" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a system whose processes have all cores")
def test_cores_are_those_that_the_process_may_use():
    """This thread's alone are changed, and given back."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine_lib.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert machine_lib.usable_cores() == len(before)
