"""Several processes that train together: how they start, tell each other things, agree to stop, and end.

The first process, the leader, writes, logs and evaluates; the others have its word for what came of it. Heartbeats,
messages and the step after which all stop are those of `jax.distributed`. Nothing here does anything for a single
process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from t2igan.errors import UserError, program
from t2igan.training.distributed.launchers import Place
from t2igan.training.distributed.meeting import Meeting, meet

START_TIMEOUT_S = 300.0  # for all processes to come; machines of a cluster do not start at the same moment
SILENT_FOR_S = 60  # without a heartbeat a process counts as gone; threads of JAX send them, however busy Python is
LOST = 3  # exit code of a process that ends because another did
NOTICED_WITHIN_S = 3.0  # that another process has ended, by those that have not
FOREVER_MS = 10**9  # eleven days: a process that waits in vain is ended by its threads that watch


@dataclasses.dataclass
class _Group:
    """The processes of a training, as one of them sees them."""

    meeting: Meeting
    client: Any  # of JAX's coordination service
    stops: Any  # JAX's agreement about the step after which to stop
    exchanged: int = 0
    steps: int = 0
    asked: bool = False
    heartbeats: threading.Thread | None = None
    finishing: threading.Event = dataclasses.field(default_factory=threading.Event)


_group: _Group | None = None
_ending = threading.Lock()  # never let go: heartbeats and a message may say at once that a process is lost


def start(place: Place | None, time_limit_s: float = START_TIMEOUT_S) -> None:
    """Meets the other processes and starts `jax.distributed`; to be called before JAX's first computation.

    From then on this process ends, with a line on stderr and exit code `LOST`, as soon as another one has ended before
    `finish`, or has been silent for `SILENT_FOR_S`. And SIGTERM only asks to stop (`stops`); a second one ends it.

    Raises:
      UserError: not all came in time, or they do not belong together.
    """
    global _group
    if place is None:
        return
    begun = time.monotonic()
    meeting = meet(place.coordinator, place.processes, place.process, time_limit_s)
    import jax
    from jax._src.distributed import global_state

    # Or a process that is gone ends all others in an abort of JAX's C++ side; `_end` does so with a line.
    jax.config.update("jax_enable_recoverability", True)
    host, _, _ = place.coordinator.rpartition(":")
    jax.distributed.initialize(
        coordinator_address=f"{host}:{meeting.port}",
        num_processes=place.processes,
        process_id=place.process,
        local_device_ids=None if place.local_devices is None else list(place.local_devices),
        cluster_detection_method="deactivate",
        initialization_timeout=max(round(time_limit_s - (time.monotonic() - begun)), 30),
        heartbeat_timeout_seconds=SILENT_FOR_S,
    )
    _group = _Group(meeting, global_state.client, global_state.preemption_sync_manager)
    # Orbax would ask it at each save, with steps that begin anew in each phase; they must only grow.
    global_state.preemption_sync_manager = None
    meeting.watch(_end)
    _group.heartbeats = threading.Thread(target=_watch, args=(_group,), name="heartbeats", daemon=True)
    _group.heartbeats.start()


def count() -> int:
    """Returns how many processes train together."""
    return _group.meeting.processes if _group else 1


def index() -> int:
    """Returns the number of this process, from 0."""
    return _group.meeting.process if _group else 0


def leads() -> bool:
    """Whether this process writes, logs and evaluates."""
    return index() == 0


def exchange(value: Any = None) -> list[Any]:
    """Returns the values that all processes give, by number; JSON must be able to hold them. Waits for all.

    All processes must call it, and what calls it, in the same order. It is not a collective of the devices, as those of
    `jax.experimental.multihost_utils` are: they give up where the leader evaluates for long.
    """
    if not _group:
        return [value]
    client, folder = _group.client, "t2igan/exchange/{}/".format
    last, now = folder(_group.exchanged), folder(_group.exchanged + 1)
    _group.exchanged += 1
    client.key_value_set(f"{now}{index()}", json.dumps(value, default=_plain))
    client.wait_at_barrier(now, FOREVER_MS)
    client.key_value_delete(f"{last}{index()}")  # which all have read
    values = dict(client.key_value_dir_get(now))
    return [json.loads(values[f"{now}{process}"]) for process in range(count())]


def from_leader(make: Callable[[], Any]) -> Any:
    """Returns to all what `make` returns to the leader, the only one to call it; JSON must be able to hold it.

    Nobody goes on before the leader is done, so what it wrote meanwhile can be read.
    """
    if not _group:
        return make()
    return exchange(make() if leads() else None)[0]


def stops(asked: bool) -> bool:
    """Whether all are to stop after this step, since one of them was asked to; to be called once a step, by all alike.

    `asked` is whether this process was, otherwise than by SIGTERM, which needs no telling.
    """
    if not _group:
        return asked
    if asked and not _group.asked:
        os.kill(os.getpid(), signal.SIGTERM)  # JAX's own thread takes it, and tells the others
    _group.asked, _group.steps = asked, _group.steps + 1
    return _group.stops.reached_sync_point(_group.steps)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Returns the signals that ask to stop and that a handler of Python's may have: SIGTERM is JAX's, of several."""
    return (signal.SIGINT,) if _group else (signal.SIGINT, signal.SIGTERM)


def no_more_stops() -> None:
    """After the last step: SIGTERM ends this process again."""
    if _group:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def local_cpu_devices(devices: int) -> int:
    """Returns how many CPU devices this process simulates for `config.devices` of all (0 = one a process)."""
    if devices % count():
        raise UserError(
            f"config.devices={devices} cannot be shared by {count()} processes; set it to a multiple of that, or to 0"
        )
    return max(devices // count(), 1)


def finish() -> None:
    """Waits for all processes, and ends their being together; for the end of the work, or a stop that all agreed on."""
    global _group
    if not _group:
        return
    import jax
    from jax._src.distributed import global_state

    _group.finishing.set()
    exchange()
    group, _group = _group, None
    global_state.preemption_sync_manager = group.stops  # to be ended before the rest
    if group.meeting.process == 0:  # after the others, whose part of `jax.distributed` aborts without this one
        group.meeting.wait_for_all(float(SILENT_FOR_S))
    jax.distributed.shutdown()
    group.meeting.part()
    group.heartbeats.join()  # the end of Python aborts what waits in JAX


def leave(reason: str, code: int) -> None:
    """Ends this process, of several, because of an error that the others may not have; tells them why.

    Returns for a single process, whose caller may go on. Otherwise it does not: the usual end of Python would wait for
    the others.
    """
    if _group:
        _group.meeting.part(reason.splitlines()[0] if reason else "unknown error")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def fail(error: Exception) -> None:
    """Ends this process, of several, because of an error of the program; returns for a single process."""
    if _group:
        # Whose collective fails because another process is gone is ended by `_end`, with a line that says so.
        time.sleep(NOTICED_WITHIN_S)
        traceback.print_exception(error)
        leave(f"{type(error).__name__}: {error}", 1)


def _watch(group: _Group) -> None:
    """Waits until a process sends no more heartbeats, because it is stopped or stuck."""
    everybody = list(range(group.meeting.processes))
    while not group.finishing.is_set():
        try:
            present = group.client.get_live_nodes(everybody)
        except RuntimeError:  # the leader, who counts them, has ended, which is noticed otherwise; or this process has
            return
        silent = sorted(set(everybody) - present.keys())
        if silent and not group.finishing.is_set():
            group.meeting.lose(f"{group.meeting.name(silent[0])} has been silent for {SILENT_FOR_S} s")
        group.finishing.wait(1.0)


def _end(message: str) -> None:
    """Ends this process at once: its main thread may wait in a collective for one that will never come."""
    _ending.acquire()
    goes_on = "" if " stopped: " in message else "; the same command goes on from the last checkpoint"
    os.write(2, f"{program()}: {message}, so process {index()} ends too{goes_on}\n".encode())
    os._exit(LOST)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, tuples' kin."""
    return value.item() if isinstance(value, np.generic) else list(value)
