"""How the processes of one training find each other, and notice that one has ended: a TCP connection of each with the
first, the leader.

What they tell each other goes through `jax.distributed` (`t2igan.training.distributed.processes`). That cannot be asked
before all have come, though: a process that it waits for in vain, or that comes twice, ends in an abort of its C++ side
that no handler sees, and so do all others when the leader ends (tests/test_processes.py shows it). So they meet here
first, where what is wrong can be said in a line; and the connections stay open, because the kernel closes them in the
moment in which a process ends, long before its heartbeats are missed.

Messages are lines of JSON. Nothing is secret and nobody is asked who they are: as with `jax.distributed` itself, the
network between the machines must be one's own.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from typing import Any

from t2igan.errors import UserError

HELLO_TIMEOUT_S = 10.0  # for a newcomer to say who it is; others that knock at the port are let go
PARTING_S = 1.0  # what the leader waits after its last words: the others end by them, not by its end
LONGEST_MESSAGE = 65536  # bytes
# A machine that vanishes says nothing: the kernel asks after so long a silence, and gives up after so many questions.
KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPALIVE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}  # Linux's, macOS's


class Meeting:
    """The connections of one process: the leader's with all others, anybody else's with the leader."""

    def __init__(self, process: int, processes: int):
        self.process = process
        self.processes = processes
        self.port = 0  # a free one of the leader's machine, for `jax.distributed`
        self.hosts: dict[int, str] = {}  # by process, where known
        self.connections: dict[int, socket.socket] = {}  # by process
        self._parted = False
        self._on_lost: Callable[[str], None] = lambda message: None  # noqa: ARG005
        self._listener: threading.Thread | None = None

    def name(self, process: int) -> str:
        """Returns a process's number and machine, for messages."""
        host = f" on {self.hosts[process]}" if process in self.hosts else ""
        return f"process {process} of {self.processes}{host}"

    def watch(self, on_lost: Callable[[str], None]) -> None:
        """From now on calls `on_lost(message)`, in a thread of its own, when a process ends before it parts."""
        self._on_lost = on_lost
        self._listener = threading.Thread(target=self._listen, name="meeting", daemon=True)
        self._listener.start()

    def lose(self, message: str) -> None:
        """Calls `on_lost` since a process is gone; tells the others before, who would else name this one."""
        self._tell({"lost": message})
        self._on_lost(message)

    def part(self, reason: str = "") -> None:
        """Takes leave: for good if there is no reason, otherwise the others are told that it is why they must end."""
        self._parted = True
        self._tell({"ended": reason} if reason else {"bye": True})

    def wait_for_all(self, time_limit_s: float) -> None:
        """Waits until those that this process is connected with have parted."""
        if self._listener:
            self._listener.join(time_limit_s)

    def _tell(self, message: Mapping[str, Any]) -> None:
        for connection in self.connections.values():
            send(connection, message)
        if self.process == 0 and "bye" not in message:
            time.sleep(PARTING_S)

    def _listen(self) -> None:
        present = {connection: process for process, connection in self.connections.items()}
        while present:
            for connection in wait(list(present)):
                process, said = present.pop(connection), receive(connection)
                if self._parted or "bye" in said:
                    continue
                how = f"stopped: {said['ended']}" if "ended" in said else "ended without a word"
                self.lose(said.get("lost", f"{self.name(process)} {how}"))
                return


def meet(address: str, processes: int, process: int, time_limit_s: float) -> Meeting:
    """Returns this process's end of the meeting when all have come.

    Args:
      address: HOST:PORT at which the leader, process 0, waits for the others.
      processes: how many there are.
      process: which of them this is.
      time_limit_s: how long to wait.

    Raises:
      UserError: the leader cannot be reached, not all came in time, or they do not belong together.
    """
    host, port = split_address(address)
    meeting = Meeting(process, processes)
    hello = {"process": process, "processes": processes, "host": socket.gethostname()}
    deadline = time.monotonic() + time_limit_s
    if process:
        _join(meeting, host, port, hello, deadline, time_limit_s)
    else:
        with _server(host, port) as server:
            _gather(meeting, server, address, hello, deadline, time_limit_s)
        with socket.create_server(("", 0)) as server:
            meeting.port = server.getsockname()[1]
        for connection in meeting.connections.values():
            send(connection, {"welcome": meeting.port})
    for connection in meeting.connections.values():
        connection.settimeout(None)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return meeting


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of HOST:PORT or [IPv6]:PORT; ValueError for anything else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(address)
    return host.strip("[]"), int(port)


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Writes a message; one who is gone is noticed by who reads."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection: socket.socket) -> dict[str, Any]:
    """Returns the next message; {} where there is none: the other has ended, is too slow, or speaks otherwise."""
    line = b""
    with contextlib.suppress(OSError, ValueError):
        while not line.endswith(b"\n") and len(line) < LONGEST_MESSAGE:
            part = connection.recv(1)  # messages are few and short, and the next one is not to be read
            if not part:
                return {}
            line += part
        message = json.loads(line)
        return message if isinstance(message, dict) else {}
    return {}


def _join(meeting: Meeting, host: str, port: int, hello: dict, deadline: float, time_limit_s: float) -> None:
    who = f"process {meeting.process} of {meeting.processes}"
    connection, reason = None, ""
    while connection is None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise UserError(
                f"{who} cannot reach the coordinator at {host}:{port} within {time_limit_s:g} s ({reason}).\n"
                f"Is process 0 running there, and is that its address as seen from {hello['host']}?"
            )
        try:
            connection = socket.create_connection((host, port), timeout=min(left_s, 10))
        except OSError as error:  # refused, or a name that is not known yet
            reason = error.strerror or str(error)
            time.sleep(min(0.2, max(deadline - time.monotonic(), 0)))
    send(connection, {"hello": hello})
    connection.settimeout(max(deadline - time.monotonic(), 0) + HELLO_TIMEOUT_S)  # the leader has the same limit
    answer = receive(connection)
    if "refused" in answer:
        raise UserError(answer["refused"])
    if "welcome" not in answer:
        raise UserError(f"{who}: what answers at {host}:{port} is not process 0 of this training, or it has ended")
    meeting.port = answer["welcome"]
    meeting.connections[0], meeting.hosts[0] = connection, host


def _gather(
    meeting: Meeting, server: socket.socket, address: str, hello: dict, deadline: float, time_limit_s: float
) -> None:
    """At the leader: waits for all others."""
    newcomers: list[socket.socket] = []
    meeting.hosts[0] = hello["host"]
    while len(meeting.connections) < meeting.processes - 1:
        server.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection, _ = server.accept()
            connection.settimeout(HELLO_TIMEOUT_S)
            theirs = receive(connection).get("hello")
            if not isinstance(theirs, dict) or not theirs.keys() >= hello.keys():  # not one of us
                connection.close()
                continue
            newcomers.append(connection)
            wrong = _wrong(meeting, theirs)
        except TimeoutError:
            wrong = _missing(meeting, address, time_limit_s)
        if wrong:
            for newcomer in newcomers:
                send(newcomer, {"refused": wrong})
            raise UserError(wrong)
        meeting.connections[theirs["process"]], meeting.hosts[theirs["process"]] = connection, theirs["host"]


def _wrong(meeting: Meeting, theirs: dict) -> str:
    """Why a newcomer does not belong here."""
    number = theirs["process"]
    if theirs["processes"] != meeting.processes:
        return (
            f"process {number} on {theirs['host']} was started with --processes={theirs['processes']}, process 0 with "
            f"--processes={meeting.processes}; give all the same"
        )
    if number in meeting.hosts:
        return (
            f"two processes are number {number}: on {meeting.hosts[number]} and on {theirs['host']}; "
            f"give each a --process of its own"
        )
    return ""


def _missing(meeting: Meeting, address: str, time_limit_s: float) -> str:
    missing = sorted(set(range(1, meeting.processes)) - meeting.connections.keys())
    shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    return (
        f"only {meeting.processes - len(missing)} of {meeting.processes} processes came to {address} within "
        f"{time_limit_s:g} s.\n"
        f"Missing: process {shown}. Start them with the same --coordinator, or look into their logs"
    )


def _server(host: str, port: int) -> socket.socket:
    """Listens on the port: of this machine only if the host says so, otherwise of all its networks."""
    try:
        if host in ("localhost", "127.0.0.1"):
            return socket.create_server(("127.0.0.1", port))
        if socket.has_dualstack_ipv6():
            with contextlib.suppress(PermissionError):
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"process 0 cannot wait for the others at port {port} of this machine ({error.strerror or error}); "
            f"choose another port in --coordinator"
        ) from error
