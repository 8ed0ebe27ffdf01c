"""Devices: the mesh, where arrays live, and the one wrapper of jit, sharding and donation.

Parameters are replicated and batches split over one mesh axis, "data". Inside `jax.jit` the batch is whole, so means
over it are means over all devices and no step needs a `pmean`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t2igan.errors import UserError


def start(cpu_devices: int = 1) -> None:
    """Sets JAX up for this process; to be called before its first computation.

    Compiled programs are kept in `JAX_COMPILATION_CACHE_DIR` or, if that is not set, in the user's cache folder.

    Args:
      cpu_devices: simulated devices, where there is no accelerator. One with XLA's own threads is fastest
        (docs/performance.md); more are for trying out what runs on many.
    """
    if jax.config.jax_compilation_cache_dir is None:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(caches / "t2igan" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if cpu_devices > 1:
        # A device that waits for the others in a collective blocks a thread of XLA's one pool, which has a thread a
        # core: with too few of them all wait for ever. So, before the pool is made:
        os.environ.setdefault("NPROC", str(8 * cpu_devices))
    if jax.config.jax_num_cpu_devices == -1:  # nobody has chosen yet, as by JAX_NUM_CPU_DEVICES
        with contextlib.suppress(RuntimeError):  # JAX has started already, in a notebook say: take what it has
            jax.config.update("jax_num_cpu_devices", cpu_devices)


def make_mesh(devices: int = 0) -> Mesh:
    """Returns a one-axis mesh over `devices` devices (0 = all), as many of each process."""
    available = jax.devices()
    if devices > len(available):
        kind = available[0].platform
        raise UserError(f"config.devices={devices}, but there are {len(available)} ({kind}); set it to that or to 0")
    if devices and jax.process_count() > 1:  # in the order of processes, as their slices of a batch are
        share = devices // jax.process_count()
        of_process = [[d for d in available if d.process_index == i][:share] for i in range(jax.process_count())]
        available = [device for of_one in of_process for device in of_one]
    # Not jax.make_mesh: its axes are of explicit type, which linen's Embed refuses.
    return Mesh(np.array(available[: devices or None]), ("data",))


def connect(mesh: Mesh) -> None:
    """Has the processes connect for collectives over the mesh and over each of its axes, while they are in step.

    They would do so at the first collective, and give up after 30 s (gloo) if one of them still compiles.
    """
    if jax.process_count() == 1:
        return
    axes = mesh.axis_names
    ones = jax.make_array_from_callback(
        mesh.devices.shape,
        NamedSharding(mesh, PartitionSpec(*axes)),
        lambda index: np.ones((1,) * len(axes), np.float32),  # noqa: ARG005
    )
    for i, axis in enumerate(axes):
        others = NamedSharding(mesh, PartitionSpec(*(other for other in axes if other != axis)))
        jax.block_until_ready(jax.jit(lambda x, i=i: x.sum(i), out_shardings=others)(ones))
    jax.block_until_ready(jax.jit(lambda x: x.sum(), out_shardings=replicated(mesh))(ones))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds all of it."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Each device holds its share of the leading axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def compile_step(step: Callable, mesh: Mesh) -> Callable:
    """Returns (state, batch) -> (state, metrics), compiled over the mesh; the state passed in is used up."""
    everywhere = replicated(mesh)
    return jax.jit(
        step, in_shardings=(everywhere, split(mesh)), out_shardings=(everywhere, everywhere), donate_argnums=0
    )


def init_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `init(*arguments)` compiled, its results on every device of the mesh."""
    return jax.jit(init, out_shardings=replicated(mesh))(*arguments)


def abstract_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Returns shapes, dtypes and places of what `init_on` would give, without computing it."""
    everywhere = replicated(mesh)
    like = jax.eval_shape(init, *arguments)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), like)


def local(tree: Any) -> Any:
    """Returns arrays that this process can use alone, each whole and on one device; all processes must call it.

    In a single process they are those that are given. What is not an array on devices stays as it is.
    """
    if jax.process_count() == 1:
        return tree
    on_devices = lambda x: isinstance(x, jax.Array)  # noqa: E731
    in_parts = [x for x in jax.tree.leaves(tree) if on_devices(x) and not x.is_fully_replicated]
    if in_parts:
        whole = iter(jax.jit(lambda xs: xs, out_shardings=replicated(in_parts[0].sharding.mesh))(in_parts))
        tree = jax.tree.map(lambda x: next(whole) if on_devices(x) and not x.is_fully_replicated else x, tree)
    return jax.tree.map(lambda x: x.addressable_data(0) if on_devices(x) else x, tree)


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's part of a batch on its devices; the result is the batch of all processes."""
    sharding = split(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
