"""What a run ran on: versions, machine and devices, as plain values for JSON."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from t2igan.data.workers import usable_cores

PACKAGES = ("t2igan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers", "ml-collections")


def environment() -> dict[str, Any]:
    """Returns the versions of Python and the libraries, the machine and the devices that JAX sees."""
    import jax

    from t2igan import __version__

    devices = jax.devices()
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    return {
        "python": platform.python_version(),
        "versions": versions | {"t2igan": __version__},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_cores": usable_cores(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    """The name of the processor: Linux tells it in a file, other systems through `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
