"""What a training will take, and the big configurations, compiled at full size for the devices they are meant for."""

import dataclasses
import importlib
import math
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from t2igan.config.checks import check, check_devices
from t2igan.errors import UserError
from t2igan.method import phases
from t2igan.nets.init import NETWORKS
from t2igan.training import plan
from t2igan.training.distributed import parallel

BIG = ("coco256",)  # of several devices and in parts; the others are compiled by `--dry_run` in the same way
MILLIONS = {"avatars64": 52, "coco64": 55, "coco256": 96, "gpu128": 41, "gpu256": 41}  # of the two players


def big(name):
    """A configuration, and the devices that it is meant for."""
    module = importlib.import_module(f"configs.{name}")
    return module.get_config(), module.DEVICES


@pytest.mark.parametrize(("name", "millions"), list(MILLIONS.items()))
def test_big_configurations_are_as_big_as_they_say(name, millions):
    config, devices = big(name)
    check(config)
    mesh = parallel.make_mesh(devices, config.shard_devices)
    for section in ("train", "pretrain_text"):
        check_devices(config[section].batch_images // config.train.microbatches, mesh.size, section)
    run = plan._run_without_data(config, mesh)
    shapes = {name: plan._shapes_of(run, name) for name in ("generator", "discriminator")}
    players = plan._count(shapes["generator"]) + plan._count(shapes["discriminator"])
    assert round(players / 1e6) == millions
    sharded = [x.sharding for x in jax.tree.leaves(parallel.abstract_on(mesh, lambda: shapes["generator"]))]
    assert any(not s.is_fully_replicated for s in sharded) == (config.shard_devices > 1)


@pytest.mark.parametrize("name", BIG)
def test_big_configurations_compile_for_their_devices(name):
    """The adversarial phase at full size, half a minute: what `--dry_run` does, and nothing runs."""
    config, devices = big(name)
    mesh = parallel.make_mesh(devices, config.shard_devices)
    run, given = plan._run_without_data(config, mesh), {}
    text = phases.build("text", run, given)
    given = plan.handed_on(given, jax.eval_shape(text.init, given))
    phase = phases.build("adversarial", run, given)
    game = plan.plan_phase(run, phase, given)
    learned = plan.handed_on(given, jax.eval_shape(phase.init, given))
    made = plan.Plan({name: plan._count(params) for name, params in learned.items()}, (game,), mesh)
    assert min(game.temporaries_bytes, game.batch_bytes, game.step_flop) > 0
    trained = 4 * (made.parameters["generator"] + made.parameters["discriminator"])
    whole, shards = 4 * sum(made.parameters.values()), config.shard_devices
    assert whole / shards <= game.parameters_bytes < 2 * whole / shards  # the rest are small arrays
    assert 2 * trained / shards <= game.optimizer_bytes < 2 * 2 * trained / shards
    assert 4 * made.parameters["generator"] / shards <= game.averages_bytes
    moved = game.collectives_bytes
    assert bool(moved) == (devices > 1)
    if devices > 1:  # every gradient is added up, some once for each time that their network is applied
        assert trained <= moved["all-reduce"] < 2.5 * trained
    assert ("all-gather" in moved and moved["all-gather"] > 0.8 * whole) == (shards > 1)
    plan.check_memory(made, 80 * 10**9)
    text = "\n".join(plan.lines(made, config))
    assert f"{made.parameters['generator']:,}" in text and "adversarial" in text and "bfloat16 in float32" in text


def test_every_phase_can_be_sharded(config, monkeypatch):
    """Lowered only; `test_parallel` runs two of them."""
    monkeypatch.setattr(parallel, "SHARDED_FROM_VALUES", 64)
    with config.unlocked():
        config.phases = tuple(name for name in phases.PHASES if name != "autoencoder")
        config.generator.update(channels=(8,), patch_px=4, attention_from_px=0)
        config.discriminator.update(kind="mlp", channels=(8,))
        config.inverter.update(channels=(4,), patch_px=4)
        config.image_encoder.update(channels=(4,), patch_px=4)
        config.loss.reconstruction_weight = 1.0
        config.pretrain_discriminator.task = "labels"
    run, given = plan._run_without_data(config, parallel.make_mesh(4, 2)), {}
    for name in config.phases:
        phase = phases.build(name, run, given)
        lowered, state, _ = plan.lower_step(run, phase, given)
        assert any(not x.sharding.is_fully_replicated for x in jax.tree.leaves(state.opt_state)), name
        assert "@Sharding" in lowered.as_text() or "sdy.sharding_constraint" in lowered.as_text(), name
        given = plan.handed_on(given, jax.eval_shape(phase.init, given))
    assert set(given) == set(NETWORKS) - {"space"}


def test_a_batch_has_the_columns_of_its_phase(config):
    run, _ = plan.without_data(config, parallel.make_mesh(1))
    given = {name: plan._shapes_of(run, name) for name in ("text", "image", "generator")}
    phase = phases.build("caption", run, given)
    phase = dataclasses.replace(phase, columns={"words": np.zeros((2, 5), np.int32)})
    _, batch = plan.abstract(run, phase, given)
    assert batch["words"].shape == (8, 5) and batch["images"].shape == (8, 16, 16, 3)


PROGRAM = """
  %all-reduce = (f32[3,4]{1,0}, bf16[10]{0}) all-reduce(%a, %b), channel_id=1, replica_groups=[2,4]<=[8]
  %ag = f32[8,2]{1,0} all-gather(%c), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %start = (f32[2]{0}, f32[8]{0}) all-gather-start(%d), replica_groups={{0,1,2,3}}
  %done = f32[8]{0} all-gather-done(%start)
  ROOT %rs = f32[5]{0} reduce-scatter(%e), replica_groups=[2,4]<=[8], dimensions={0}
  %rs2 = f32[5]{0} reduce-scatter(%e), replica_groups={{0,1},{2,3}}, dimensions={0}
  %fusion = f32[100]{0} fusion(%all-reduce), calls=%all-gather.computation
"""


def test_collectives_are_read_from_a_program():
    assert plan.collectives(PROGRAM) == {
        "all-reduce": 4 * 12 + 2 * 10,
        "all-gather": 4 * 16 + 4 * 8,
        "reduce-scatter": 4 * (5 * 4 + 5 * 2),
    }
    assert plan.collectives("%x = f32[4]{0} add(%a, %b)") == {}


def test_too_much_memory_is_refused(config):
    sizes = dict.fromkeys(("parameters", "averages", "optimizer", "batch"), 10**9)
    small = plan.PhasePlan(
        "text", 8, **{f"{n}_bytes": b for n, b in sizes.items()}, temporaries_bytes=0, step_flop=1e9,
        collectives_bytes={}, compile_s=1.0,
    )  # fmt: skip
    large = dataclasses.replace(small, phase="adversarial", temporaries_bytes=20 * 10**9, step_flop=math.nan)
    made = plan.Plan({"text": 5, "generator": 7}, (small, large), parallel.make_mesh(2))
    plan.check_memory(made, None)
    plan.check_memory(made, 24 * 10**9)
    with pytest.raises(UserError, match=r"adversarial takes 24\.0 GB a device, and a device has 16\.0 GB") as caught:
        plan.check_memory(made, 16 * 10**9)
    assert "config.train.batch_images, raise config.train.microbatches" in str(caught.value)
    lines = plan.lines(made, config)
    assert next(line.split() for line in lines if line.startswith("total")) == ["total", "4,000.0", "24,000.0"]
    assert any(line.split() == ["all", "12", "0.0"] for line in lines)
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 5})
    assert plan.memory_of(device) == 5 and plan.memory_of(jax.devices()[0]) is None


def test_a_dry_run_prints_and_refuses(request):
    """On the command line, with memory that is too little: the table comes first."""
    small = ["--config.generator.channels=(8,)", "--config.discriminator.channels=(8,)", "--config.loss.penalty=none"]
    small += [f"--config.text_encoder.{name}" for name in ("layers=1", "width=8", "heads=2", "pooling_queries=2")]
    done = subprocess.run(
        [sys.executable, "run.py", "--config=configs/mlp.py", "--config.phases=('adversarial',)", *small]
        + ["--dry_run", "--dry_run_devices=2", "--dry_run_memory_gb=0.0001"],
        **{"cwd": request.config.rootpath, "capture_output": True, "text": True, "check": False},
    )
    assert done.returncode == 2, done.stderr
    assert "2 x cpu (data 2)" in done.stdout and "MB a device" in done.stdout
    assert done.stderr.startswith("run.py: phase adversarial takes 0.0 GB") and "Traceback" not in done.stderr
