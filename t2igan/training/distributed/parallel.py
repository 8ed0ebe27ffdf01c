"""Devices: the mesh, where arrays live, and the one wrapper of jit, sharding and donation.

Batches are split over all devices. Inside `jax.jit` the batch is whole, so means over it are means over all devices
and no step needs a `pmean`. Parameters, averages and optimizer states are replicated, on a mesh with one axis, "data";
or, on a mesh with a second axis, "shard", the devices along that share one copy of them, each holding its part (ZeRO,
Rajbhandari et al. 2020, arXiv:1910.02054). A network's parameters are then gathered where it is applied, and their
gradients added up where each part lies.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t2igan.config import cache_folder
from t2igan.errors import UserError

SHARDED_FROM_VALUES = 2**16  # smaller arrays are on every device: to gather them takes longer than they are worth
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt, as in malloc.h
LARGE_MAPS_VALUES = 300_000  # of all pictures on a device together, places times channels (docs/performance.md)


def start(cpu_devices: int = 1) -> None:
    """Sets JAX up for this process; to be called before its first computation.

    Compiled programs are kept in `JAX_COMPILATION_CACHE_DIR` or, if that is not set, in the user's cache folder.

    Args:
      cpu_devices: simulated devices, where there is no accelerator. One with XLA's own threads is fastest
        (docs/performance.md); more are for trying out what runs on many.
    """
    _keep_freed_memory()
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if cpu_devices > 1:
        # A device that waits for the others in a collective blocks a thread of XLA's one pool, which has a thread a
        # core: with too few of them all wait for ever. So, before the pool is made:
        os.environ.setdefault("NPROC", str(8 * cpu_devices))
    if jax.config.jax_num_cpu_devices == -1:  # nobody has chosen yet, as by JAX_NUM_CPU_DEVICES
        with contextlib.suppress(RuntimeError):  # JAX has started already, in a notebook say: take what it has
            jax.config.update("jax_num_cpu_devices", cpu_devices)


def _keep_freed_memory() -> None:
    """Has the C library keep memory that was freed, for what is allocated next.

    On a CPU each call of a compiled step asks for the memory of its intermediates anew. glibc would hand so large a
    block back after each, so that every step began with thousands of page faults: a tenth of the time of `base.py`
    (docs/performance.md). Where it is not glibc, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def only_compile() -> None:
    """Has this process compile for simulated devices, even where there are others; to be called before `start`."""
    jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("NPROC", str(os.cpu_count()))  # nothing runs on several, so nobody waits


def make_mesh(devices: int = 0, shard_devices: int = 1) -> Mesh:
    """Returns a mesh over `devices` devices (0 = all), as many of each process.

    Its axis is "data"; with `shard_devices` above 1 there is a second one, "shard", of that size. Neighbours along it
    are neighbours in `jax.devices()`, so on one machine, where it has so many devices.
    """
    available = jax.devices()
    if devices > len(available):
        kind = available[0].platform
        raise UserError(f"config.devices={devices}, but there are {len(available)} ({kind}); set it to that or to 0")
    if devices and jax.process_count() > 1:  # in the order of processes, as their slices of a batch are
        share = devices // jax.process_count()
        of_process = [[d for d in available if d.process_index == i][:share] for i in range(jax.process_count())]
        available = [device for of_one in of_process for device in of_one]
    # Not jax.make_mesh: its axes are of explicit type, which linen's Embed refuses.
    used = np.array(available[: devices or None])
    if shard_devices == 1:
        return Mesh(used, ("data",))
    if used.size % shard_devices:
        raise UserError(
            f"config.shard_devices={shard_devices} does not divide the {used.size} devices; set it to a divisor of "
            f"that, 1 for a copy of everything on each, or set config.devices"
        )
    return Mesh(used.reshape(-1, shard_devices), ("data", "shard"))


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
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names if "shard" in mesh.axis_names else "data"))


def shardings(mesh: Mesh, tree: Any) -> Any:
    """Returns where each array of a state lies: split along the mesh's axis "shard", or on every device.

    Split is the largest dimension that the axis divides, of arrays of at least `SHARDED_FROM_VALUES` values; the last
    of several that are as large. `tree` has arrays or their shapes.
    """

    def place(x: Any) -> NamedSharding:
        size = mesh.shape.get("shard", 1)
        dimensions = [d for d, length in enumerate(x.shape) if length % size == 0]
        if size == 1 or not dimensions or np.prod(x.shape) < SHARDED_FROM_VALUES:
            return replicated(mesh)
        longest = max(dimensions, key=lambda d: (x.shape[d], d))
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "shard"))

    return jax.tree.map(place, tree)


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A network whose parameters are sharded, to be applied like the network itself.

    Left to itself, XLA splits channels in some layers and pictures in others and moves activations between them: six
    times the bytes, for networks of 32 px on eight devices (docs/scaling.md).
    """

    network: Any
    mesh: Mesh

    def apply(self, params: Any, *arguments: Any, **settings: Any) -> Any:
        """As `network.apply`; each device has all parameters meanwhile, and its part of their gradients after."""
        return self.network.apply(_gather(self.mesh, params), *arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.network, name)


def gathered(networks: Any, mesh: Mesh) -> Any:
    """Returns a `t2igan.nets.Networks` for parameters that are placed by `shardings`; itself, where none is sharded."""
    if "shard" not in mesh.axis_names:
        return networks
    found = {name: network for name, network in networks._asdict().items() if hasattr(network, "apply")}
    return networks._replace(**{name: Gathered(network, mesh) for name, network in found.items()})


def _gather(mesh: Mesh, params: Any) -> Any:
    @jax.custom_vjp
    def whole(params):
        return jax.lax.with_sharding_constraint(params, replicated(mesh))

    def backward(_, gradients):
        # First added up, then cut. Asked for parts, XLA would rather gather activations and compute parts only.
        gradients = jax.lax.with_sharding_constraint(gradients, replicated(mesh))
        return (jax.lax.with_sharding_constraint(gradients, shardings(mesh, gradients)),)

    whole.defvjp(lambda params: (whole(params), None), backward)
    return whole(params)


def compile_step(
    step: Callable, mesh: Mesh, state: Any = None, *, step_map_values: int = 0, remat: bool = False
) -> Callable:
    """Returns (state, batch) -> (state, metrics), compiled over the mesh; the state passed in is used up.

    Args:
      step: the pure step.
      mesh: the devices.
      state: the state or its shapes, by which it is decided what is sharded on a mesh with such an axis; may be left
        out on another.
      step_map_values: places times channels of the largest map that is convolved, of all pictures of a batch
        together; XLA is told by it how to convolve.
      remat: whether parts of the step are to be computed twice, so as not to keep them.
    """
    everywhere = replicated(mesh)
    places = everywhere if state is None else shardings(mesh, state)
    return jax.jit(
        step,
        in_shardings=(places, split(mesh)),
        out_shardings=(places, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].platform, step_map_values // mesh.size, remat),
    )


@functools.cache
def compiler_options(platform: str, map_values: int, remat: bool = False) -> dict[str, str] | None:
    """Returns what XLA is told when it compiles a step; None where it does best by itself, on all but CPUs.

    Convolutions of large maps go to Eigen: YNNPACK, which XLA takes, convolves on one core and needs up to twice as
    long for them, and a tenth less CPU time for small ones (docs/performance.md). XLA's option is experimental, so it
    is tried out first. And where parts are to be computed twice, barriers stay that XLA drops at once, only to find
    that both parts are the same.

    Args:
      platform: of the devices: "cpu", "gpu", "tpu".
      map_values: places times channels of the largest map that is convolved, of all pictures on one device.
      remat: whether parts are to be computed twice.
    """
    if platform != "cpu":
        return None
    options = {}
    if map_values >= LARGE_MAPS_VALUES:
        eigen = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}  # and nothing else
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # another version of XLA does not know it
            jax.jit(lambda: 0, compiler_options=eigen).lower().compile()
            options |= eigen
    if remat:
        options["xla_disable_hlo_passes"] = "cse_barrier_expander"
    return options or None


def init_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `init(*arguments)` compiled, its results on the devices of the mesh as `shardings` says."""
    return jax.jit(init, out_shardings=shardings(mesh, jax.eval_shape(init, *arguments)))(*arguments)


def abstract_on(mesh: Mesh, init: Callable[..., Any], *arguments: Any) -> Any:
    """Returns shapes, dtypes and places of what `init_on` would give, without computing it."""
    like = jax.eval_shape(init, *arguments)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.tree.map(place, like, shardings(mesh, like))


def local(tree: Any) -> Any:
    """Returns arrays that this process can use alone, each whole and on one device; all processes must call it.

    In a single process without shards they are those that are given. What is not an array on devices stays as it is.
    """
    on_devices = lambda x: isinstance(x, jax.Array)
    in_parts = [x for x in jax.tree.leaves(tree) if on_devices(x) and not x.is_fully_replicated]
    if jax.process_count() == 1 and not in_parts:
        return tree
    if in_parts:
        whole = iter(jax.jit(lambda xs: xs, out_shardings=replicated(in_parts[0].sharding.mesh))(in_parts))
        tree = jax.tree.map(lambda x: next(whole) if on_devices(x) and not x.is_fully_replicated else x, tree)
    return jax.tree.map(lambda x: x.addressable_data(0) if on_devices(x) else x, tree)


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's part of a batch on its devices; the result is the batch of all processes."""
    sharding = split(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
