"""The place of a process among several: a launcher tells it by environment variables, or the user by flags."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

from t2igan.errors import UserError
from t2igan.training.distributed.meeting import split_address

PORTS = 61440, 4096  # the first, and how many: above Linux's own ephemeral ones, as jax does for Slurm


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of this process among several."""

    coordinator: str  # HOST:PORT at which process 0 waits for the others
    processes: int
    process: int
    local_devices: tuple[int, ...] | None = None  # those of this machine's accelerators that are its own; None = all


def find(
    environ: Mapping[str, str], coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Place | None:
    """Returns the place of this process, or None where it is the only one.

    Flags go before the environment, which may tell the rest: Slurm (`srun`) and Open MPI (`mpirun`) tell everything,
    an indexed job of Kubernetes the number of the process.

    Raises:
      UserError: something is missing, or cannot be.
    """
    found = _open_mpi(environ) or _slurm(environ) or {}
    given = (coordinator, processes, process) != (None, None, None)
    if not given and found.get("processes", 1) == 1:
        return None
    if given and "process" not in found and "JOB_COMPLETION_INDEX" in environ:
        found["process"] = _number(environ, "JOB_COMPLETION_INDEX")
    place = {
        "coordinator": found.get("coordinator") if coordinator is None else coordinator,
        "processes": found.get("processes") if processes is None else processes,
        "process": found.get("process") if process is None else process,
    }
    if place["processes"] == 1 and place["process"] in (None, 0):
        return None
    missing = [f"--{name}" for name, value in place.items() if value is None]
    if missing:
        by = found.get("by", "")
        raise UserError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            f"{f', which {by} does not tell' if by else ''}; "
            f"each of several processes needs --coordinator=HOST:PORT --processes=N --process=I (docs/scaling.md)"
        )
    try:
        split_address(place["coordinator"])
    except ValueError as error:
        raise UserError(
            f"--coordinator={place['coordinator']} is not HOST:PORT, the machine of process 0 and a free port there"
        ) from error
    if place["processes"] < 1:
        raise UserError(f"--processes={place['processes']} must be 1 or more")
    if not 0 <= place["process"] < place["processes"]:
        raise UserError(
            f"--process={place['process']} must lie between 0 and {place['processes'] - 1}, for "
            f"--processes={place['processes']}"
        )
    return Place(**place, local_devices=_local_devices(environ, found))


def _open_mpi(environ: Mapping[str, str]) -> dict[str, Any]:
    """What `mpirun` tells; of Open MPI 4 where it runs itself, which we take for the machine of process 0, as jax."""
    if "OMPI_COMM_WORLD_SIZE" not in environ or "OMPI_COMM_WORLD_RANK" not in environ:
        return {}
    found = {
        "by": "Open MPI",
        "processes": _number(environ, "OMPI_COMM_WORLD_SIZE"),
        "process": _number(environ, "OMPI_COMM_WORLD_RANK"),
        "local": _number(environ, "OMPI_COMM_WORLD_LOCAL_RANK", 0),
        "locals": _number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE", 1),
    }
    uri = environ.get("OMPI_MCA_orte_hnp_uri", "")
    job = uri.partition(";")[0] or environ.get("PMIX_NAMESPACE", "")
    port = PORTS[0] + zlib.crc32(job.encode()) % PORTS[1]
    if found["locals"] == found["processes"] and job:
        found["coordinator"] = f"127.0.0.1:{port}"
    elif "tcp://" in uri:
        host = uri.partition("tcp://")[2].replace(":", ",").split(",")[0]
        found["coordinator"] = f"{host}:{port}"
    return found


def _slurm(environ: Mapping[str, str]) -> dict[str, Any]:
    """What `srun` tells the tasks of a step; the batch script itself is none."""
    if any(name not in environ for name in ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID")):
        return {}
    # An interactive shell has the numbers of its job, but is a step of one task.
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
    port = PORTS[0] + _number(environ, "SLURM_JOB_ID") % PORTS[1]
    nodes = environ["SLURM_STEP_NODELIST"]  # node7 | node7,node9 | node[007-015,020],other
    first = nodes.split(",")[0].split("[")
    host = first[0] + first[1].rstrip("]").split("-")[0] if len(first) > 1 else first[0]
    here = environ.get("SLURM_STEP_TASKS_PER_NODE", "1")  # 4 | 4(x2) | 4(x2),3: of the first node, and of all as a rule
    return {
        "by": "Slurm",
        "coordinator": f"{host}:{port}",
        "processes": _number(environ, tasks, 1),
        "process": _number(environ, "SLURM_PROCID"),
        "local": _number(environ, "SLURM_LOCALID", 0),
        "locals": int(here.split("(")[0].split(",")[0]),
    }


def _local_devices(environ: Mapping[str, str], found: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Of several processes on a machine each takes one accelerator, unless the launcher has shared them out."""
    if found.get("locals", 1) == 1 or "JAX_LOCAL_DEVICE_IDS" in environ or "SLURM_GPUS_PER_TASK" in environ:
        return None
    visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if 0 < len(visible) < found["locals"]:
        return None
    return (found["local"],)


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    value = environ.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UserError(f"the environment variable {name}={value!r}, set by the launcher, is no number") from None
