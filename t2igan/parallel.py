"""Devices: the mesh, where arrays live, and the one wrapper of jit, sharding and donation.

Parameters are replicated and batches split over one mesh axis, "data". Inside `jax.jit` the batch is whole, so means
over it are means over all devices and no step needs a `pmean`.
"""

from __future__ import annotations

import contextlib
import functools
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
    """Returns a one-axis mesh over the first `devices` devices of all processes (0 = all)."""
    available = jax.devices()
    if devices > len(available):
        kind = available[0].platform
        raise UserError(f"config.devices={devices}, but there are {len(available)} ({kind}); set it to that or to 0")
    # Not jax.make_mesh: its axes are of explicit type, which linen's Embed refuses.
    return Mesh(np.array(available[: devices or None]), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds all of it."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Each device holds its share of the leading axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def compile_step(step: Callable, mesh: Mesh, step_pixels: int = 0) -> Callable:
    """Returns (state, batch) -> (state, metrics), compiled over the mesh; the state passed in is used up.

    `step_pixels` is how many pixels the pictures of a batch have together: XLA is told by it how to convolve.
    """
    everywhere = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(everywhere, split(mesh)),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].platform, step_pixels // mesh.size),
    )


LARGE_MAPS_PIXELS = 50_000  # of all pictures on a device together; below, maps fit into the cache of a core


@functools.cache
def compiler_options(platform: str, pixels: int) -> dict[str, str] | None:
    """Returns what XLA is told when it compiles a step for "cpu", "gpu", "tpu"; None where it does best by itself.

    On a CPU convolutions of large maps go to Eigen: YNNPACK, which XLA takes, needs up to twice as long for them, and
    a tenth less for small ones (docs/performance.md). XLA's option is experimental, so it is tried out first.

    Args:
      platform: of the devices.
      pixels: of all pictures of a batch that are on one device.
    """
    if platform != "cpu" or pixels < LARGE_MAPS_PIXELS:
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}  # and nothing else
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA does not know it
        return None
    return options


def init_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `init(*arguments)` compiled, its results on every device of the mesh."""
    return jax.jit(init, out_shardings=replicated(mesh))(*arguments)


def abstract_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Returns shapes, dtypes and places of what `init_on` would give, without computing it."""
    everywhere = replicated(mesh)
    like = jax.eval_shape(init, *arguments)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), like)


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's part of a batch on its devices; the result is the batch of all processes."""
    sharding = split(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
