"""What the benchmarks count and read; what they time is nobody's promise."""

import random

import jax
import jax.numpy as jnp
import pytest
from tiny import random_snapshot

from benchmarks import flops, fuzz, method, step
from benchmarks.__main__ import main
from benchmarks.timing import load
from t2igan.config.checks import check
from t2igan.inference.snapshot import save_snapshot


def test_flops_of_convolutions_are_those_of_the_definition():
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))

    def both(x, kernel, cotangent):
        y, backward = jax.vjp(flops._convolution, x, kernel)
        return y, backward(cotangent)

    compiled = jax.jit(both).lower(x, kernel, jnp.ones((2, 8, 8, 6))).compile()
    once = 2 * (2 * 8 * 8 * 6) * (3 * 3 * 4)
    assert flops.convolution_flops(compiled) == 3 * once  # forward, by the pictures, by the kernel
    assert 0 < flops.all_flops(compiled) < 3 * once  # XLA's own count leaves the padding out


def test_other_programs_have_none():
    compiled = jax.jit(jnp.matmul).lower(jnp.ones((8, 8)), jnp.ones((8, 8))).compile()
    assert flops.convolution_flops(compiled) == 0


@pytest.mark.parametrize("size_px", [8, 16, 64])
def test_a_configuration_of_another_size_is_a_valid_one(size_px):
    config = load("base")
    step.resized(config, size_px)
    check(config)


def test_the_configuration_to_be_timed_is_a_valid_one():
    check(load("dfgan64"))


@pytest.mark.parametrize("row", method.ROWS, ids=lambda row: f"{row.group}: {row.name}, {row.images}")
def test_every_row_of_the_ablation_is_a_valid_configuration(row):
    config = load("base")
    config.update_from_flattened_dict(row.changes)
    config.train.images = row.images
    check(config)


def test_no_two_rows_of_the_ablation_are_the_same_run():
    assert len({row.key(0) for row in method.ROWS}) == len(method.ROWS)


def test_the_ablation_shows_the_defaults_among_rows_that_saw_as_much():
    def line(group, name, seed, right, changes=(), **more):
        line = {"group": group, "name": name, "seed": seed, "changes": dict(changes), "images": 100, "train_images": 0}
        figures = {"attributes/mean": right, "attributes/all": right}
        return line | {"test": figures, "unseen": figures} | more

    weak = {"loss.penalty_weight": 0.01}
    lines = [
        line("pairs", "usual", 0, 0.9),
        line("pairs", "usual", 1, 0.8),
        line("pairs", "weak", 0, 0.5, weak),
        line("tricks", "trick", 0, 0.7, weak),
        line("few", "all as usual", 0, 0.6, train_images=10),
        line("long", "weak for long", 0, 0.99, weak, images=1000),
    ]
    pairs, tricks, few, long = method.table(lines).split("\n\n**")
    rows = lambda table: [text.split(" | ")[:3] for text in table.splitlines()[4:]]
    usual = ["2", "0.850 ± 0.050"]
    assert rows(pairs) == [["| usual", *usual], ["| weak", "1", "0.500"]]
    assert rows(tricks) == [["| **the defaults**", *usual], ["| trick", "1", "0.700"]]
    assert rows(few) == [["| all as usual", "1", "0.600"]]
    assert rows(long) == [["| weak for long", "1", "0.990"]]


def test_the_table_has_the_splits_that_were_measured():
    figures = {"attributes/mean": 0.9, "attributes/all": 0.5, "frechet_distance/attributes": 2.0}
    line = {"group": "g", "name": "x", "seed": 0, "changes": {"loss.penalty": "none"}, "images": 9, "train_images": 0}
    _, _, head, _, row = method.table([line | {"val": figures}]).splitlines()
    assert head == "| row | seeds | val: mean | all | Frechet | diversity | core seconds |"
    assert row == "| x | 1 | 0.900 | 0.500 | 2.000 | not finite |  |"
    head = method.table([line | {"test": figures, "unseen": figures}]).splitlines()[2]
    assert head == "| row | seeds | test: mean | all | unseen: mean | all | Frechet | diversity | core seconds |"


def test_the_benchmarks_are_listed(capsys):
    main()
    said = capsys.readouterr().out
    assert all(f"python -m benchmarks.{name} " in said for name in ("step", "peer", "sample", "loader"))


def test_every_kind_of_mutation_is_read_or_refused(tmp_path):
    """A few of each; `python -m benchmarks.fuzz` does thousands."""
    save_snapshot(tmp_path / "tiny.safetensors", random_snapshot(["a red cap", "green hair"]))
    strangers = fuzz.Strangers(tmp_path / "tiny.safetensors", tmp_path)
    ends = {kind: {strangers.attempt(kind, random.Random(f"{kind} {i}")) for i in range(8)} for kind in fuzz.KINDS}
    assert all(found <= {"read", "UserError", "refused"} for found in ends.values())
    assert {"read", "refused"} <= ends["body"] and "UserError" in ends["mask"] and "refused" in ends["body bytes"]
