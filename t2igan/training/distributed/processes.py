"""Several processes that train together: who they are, how they start, agree and end.

A launcher tells each process its place by environment variables, or the user does by flags. The first process, the
leader, writes, logs and evaluates; the others have its word for what came of it. Nothing here does anything for a
single process.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import socket
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from t2igan import __version__
from t2igan.errors import UserError
from t2igan.training.distributed.channel import Channel, meet, split_address

START_TIMEOUT_S = 300.0  # for all processes to come; machines of a cluster do not start at the same moment
SILENT_FOR_S = 100  # a process that lives and says nothing: `jax.distributed` then ends all others
LOST = 3  # exit code of a process that ends because another did
PORTS = 61440, 4096  # the first, and how many: above Linux's own ephemeral ones, as jax does for Slurm
NOTICED_WITHIN_S = 3.0  # that another process is gone, by those that are not
AGREE_EVERY_S = 1.0  # how often processes ask each other whether to stop

_channel: Channel | None = None


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


def start(place: Place | None, time_limit_s: float = START_TIMEOUT_S) -> None:
    """Meets the other processes and starts `jax.distributed`; to be called before JAX's first computation.

    From then on this process ends, with a line on stderr and exit code `LOST`, as soon as another one has ended before
    `finish`.

    Raises:
      UserError: not all came in time, or they do not belong together.
    """
    global _channel
    if place is None:
        return
    alike = {"t2igan": __version__, "jax": importlib.metadata.version("jax")}
    begun = time.monotonic()
    # jax.distributed gets a port of its own from the leader, and starts when all are there: a process that it waits
    # for in vain ends in an abort, without an exception.
    facts = lambda: {"port": _free_port()}  # noqa: E731
    ends = functools.partial(_end, place)
    channel = meet(place.coordinator, place.processes, place.process, time_limit_s, ends, alike, facts)
    import jax

    # It would take SIGTERM for itself, where nobody asks it; ours is `Agreement`.
    jax.config.update("jax_enable_preemption_service", False)
    host, _, _ = place.coordinator.rpartition(":")
    jax.distributed.initialize(
        coordinator_address=f"{host}:{channel.facts['port']}",
        num_processes=place.processes,
        process_id=place.process,
        local_device_ids=None if place.local_devices is None else list(place.local_devices),
        cluster_detection_method="deactivate",
        initialization_timeout=max(round(time_limit_s - (time.monotonic() - begun)), 30),
        heartbeat_timeout_seconds=SILENT_FOR_S,
    )
    _channel = channel


def count() -> int:
    """Returns how many processes train together."""
    return _channel.processes if _channel else 1


def index() -> int:
    """Returns the number of this process, from 0."""
    return _channel.process if _channel else 0


def leads() -> bool:
    """Whether this process writes, logs and evaluates."""
    return index() == 0


def exchange(value: Any = None) -> list[Any]:
    """Returns the values that all processes give, by number; JSON must be able to hold them. Waits for all."""
    return _channel.exchange(value) if _channel else [value]


def from_leader(make: Callable[[], Any]) -> Any:
    """Returns to all what `make` returns to the leader, the only one to call it; JSON must be able to hold it.

    Nobody goes on before the leader is done, so what it wrote meanwhile can be read.
    """
    if not _channel:
        return make()
    return exchange(make() if leads() else None)[0]


def local_cpu_devices(devices: int) -> int:
    """Returns how many CPU devices this process simulates for `config.devices` of all (0 = one a process)."""
    if devices % count():
        raise UserError(
            f"config.devices={devices} cannot be shared by {count()} processes; set it to a multiple of that, or to 0"
        )
    return max(devices // count(), 1)


def finish() -> None:
    """Waits for all processes, and ends their being together; for the end of the work, or a stop that all agreed on."""
    global _channel
    if _channel:
        import jax

        exchange()
        _channel.close()
        _channel = None
        jax.distributed.shutdown()


def leave(reason: str, code: int) -> None:
    """Ends this process, of several, because of an error that the others may not have; tells them why.

    Returns for a single process, whose caller may go on. Otherwise it does not: the usual end of Python would wait for
    the others.
    """
    if _channel:
        _channel.close(reason.splitlines()[0] if reason else "unknown error")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def fail(error: Exception) -> None:
    """Ends this process, of several, because of an error of the program; returns for a single process."""
    if _channel:
        # Whose collective fails because another process is gone is ended by `_end`, with a line that says so.
        time.sleep(NOTICED_WITHIN_S)
        traceback.print_exception(error)
        leave(f"{type(error).__name__}: {error}", 1)


class Agreement:
    """Whether some process asks to stop, answered to all of them after the same step.

    They ask each other in rounds. Where the loop waits for the device anyway, a round's answer is waited for; between,
    it is read when the next round begins, so that nobody waits for a message under way. The leader says after how many
    steps that is: about `AGREE_EVERY_S` later.
    """

    def __init__(self, done: int):
        self._ticket: int | None = None
        self._gap_steps = 1
        self._next = done + 1
        self._last, self._time_s = done, time.monotonic()

    def stops(self, done: int, asked: bool, waits: bool) -> bool:
        """Returns whether all are to stop after step `done`; to be called once a step, by all alike.

        Args:
          done: steps that are done.
          asked: whether this process was asked to stop.
          waits: whether the loop waits for the device now.
        """
        if _channel is None:
            return asked
        if done < self._next and not waits:
            return False
        stop = self._read()
        self._ticket = _channel.post([asked, self._pace(done)])
        self._next = done + self._gap_steps
        return self._read() or stop if waits else stop

    def close(self) -> None:
        """Reads the last answer, at the end of the work."""
        self._read()

    def _read(self) -> bool:
        """Whether anybody asked in the last round."""
        if self._ticket is None or _channel is None:
            return False
        told = _channel.take(self._ticket)
        self._ticket, self._gap_steps = None, told[0][1]
        return any(asked for asked, _ in told)

    def _pace(self, done: int) -> int:
        """Steps to the next round by the time of those since the last: little more than before, at most."""
        now_s = time.monotonic()
        step_s = (now_s - self._time_s) / max(done - self._last, 1)
        self._last, self._time_s = done, now_s
        return min(max(round(AGREE_EVERY_S / max(step_s, 1e-6)), 1), 2 * self._gap_steps)


def _end(place: Place, message: str) -> None:
    """Ends this process at once: its main thread may wait in a collective for one that will never come."""
    goes_on = "" if " stopped: " in message else "; the same command goes on from the last checkpoint"
    os.write(2, f"run.py: {message}, so process {place.process} ends too{goes_on}\n".encode())
    os._exit(LOST)


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


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]
