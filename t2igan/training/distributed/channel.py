"""How the processes of one training talk besides their arrays: a TCP connection of each with the first, the leader.

It brings them together before `jax.distributed` starts, because what goes wrong there ends in an abort of its C++ side
that no handler sees; it passes small values round, so that no process waits in a collective while the leader evaluates;
and it is open for as long as a process lives, so that the others know at once when one is no more.

Messages are lines of JSON. Nothing is secret and nobody is asked who they are: as with `jax.distributed` itself, the
network between the machines must be one's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t2igan.errors import UserError

# A machine that vanishes says nothing: the kernel asks after so long a silence, and gives up after so many questions.
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TIMES = 20, 10, 4
HELLO_TIMEOUT_S = 10.0  # for a newcomer to say who it is; others that knock at the port are let go


class Lost(Exception):
    """Another process ended before the work was done; the message says which."""


class Channel:
    """The connections of one process: the leader's with all others, anybody else's with the leader.

    `on_lost(message)` is called in a thread of its own, once, when another process has ended too early; whoever waits
    for an answer then gets `Lost`.
    """

    def __init__(self, process: int, processes: int, on_lost: Callable[[str], None]):
        self.process = process
        self.processes = processes
        self.facts: dict[str, Any] = {}  # what the leader told all of them
        self._on_lost = on_lost
        self._lines: dict[int, _Line] = {}  # by process
        self._hosts: dict[int, str] = {}
        self._asked = 0
        self._asked_of_all: dict[int, dict[int, Any]] = {}  # at the leader: ticket -> process -> value
        self._answers: dict[int, list] = {}
        self._lost = ""
        self._closed = False
        self._changed = threading.Condition()
        os.register_at_fork(after_in_child=self._forget)

    def exchange(self, value: Any = None) -> list[Any]:
        """Gives a value that JSON can hold to all processes and returns theirs by number; waits for the last of them.

        All processes must call `exchange` and `post` in the same order. Raises `Lost`.
        """
        return self.take(self.post(value))

    def post(self, value: Any = None) -> int:
        """As `exchange`, but returns at once a ticket for `take`."""
        with self._changed:
            self._asked += 1
            ticket = self._asked
        if self.process == 0:
            self._collect(0, ticket, json.loads(json.dumps(value, default=_plain)))
        else:
            self._lines[0].send({"ticket": ticket, "value": value})
        return ticket

    def take(self, ticket: int) -> list[Any]:
        """Returns the values of all processes by number, when all have posted theirs. Raises `Lost`."""
        with self._changed:
            self._changed.wait_for(lambda: ticket in self._answers or self._lost)
            if ticket not in self._answers:
                raise Lost(self._lost)
            return self._answers.pop(ticket)

    def close(self, reason: str = "") -> None:
        """Takes leave: for good if there is no reason, otherwise the others are told that it is why they must end."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            lines = list(self._lines.values())
        for line in lines:
            line.send({"bye": reason})
            line.close()

    def _collect(self, process: int, ticket: int, value: Any) -> None:
        """At the leader: notes a value; when it was the last, everybody gets all."""
        with self._changed:
            values = self._asked_of_all.setdefault(ticket, {})
            values[process] = value
            if len(values) < self.processes:
                return
            answer = [values[i] for i in range(self.processes)]
            del self._asked_of_all[ticket]
        for line in self._lines.values():
            line.send({"ticket": ticket, "values": answer})
        with self._changed:
            self._answers[ticket] = answer
            self._changed.notify_all()

    def _listen(self, process: int, line: _Line) -> None:
        """Reads what a process says until it says no more."""
        for message in line:
            if "bye" in message:
                if message["bye"]:
                    self._lose(process, f"stopped: {message['bye']}")
                return
            if "lost" in message:
                self._end(message["lost"])
                return
            if "values" in message:
                with self._changed:
                    self._answers[message["ticket"]] = message["values"]
                    self._changed.notify_all()
            else:
                self._collect(process, message["ticket"], message["value"])
        self._lose(process, "ended without a word")

    def _lose(self, process: int, how: str) -> None:
        host = f" on {self._hosts[process]}" if process in self._hosts else ""
        message = f"process {process} of {self.processes}{host} {how}"
        if not self._closed:
            for other, line in self._lines.items():
                if other != process:
                    line.send({"lost": message})
        self._end(message)

    def _end(self, message: str) -> None:
        with self._changed:
            if self._closed or self._lost:
                return
            self._lost = message
            self._changed.notify_all()
        self._on_lost(message)

    def _watch(self) -> None:
        for process, line in self._lines.items():
            threading.Thread(target=self._listen, args=(process, line), name="channel", daemon=True).start()

    def _forget(self) -> None:
        """In a forked child: a copy of a connection would outlive its process."""
        for line in self._lines.values():
            line.drop()


def meet(
    address: str,
    processes: int,
    process: int,
    time_limit_s: float,
    on_lost: Callable[[str], None],
    alike: Mapping[str, str],
    facts: Callable[[], Mapping[str, Any]] = dict,
) -> Channel:
    """Returns this process's end of the channel when all have come.

    Args:
      address: HOST:PORT at which the leader, process 0, waits for the others.
      processes: how many there are.
      process: which of them this is.
      time_limit_s: how long to wait.
      on_lost: what to do when another process ends too early.
      alike: what must be the same for all, by name; else all raise.
      facts: at the leader: what is told to all when they have come, `Channel.facts`.

    Raises:
      UserError: the leader cannot be reached, not all came in time, or they do not belong together.
    """
    host, port = split_address(address)
    channel = Channel(process, processes, on_lost)
    hello = {"process": process, "processes": processes, "host": socket.gethostname(), "alike": dict(alike)}
    deadline = time.monotonic() + time_limit_s
    if process:
        _join(channel, host, port, hello, deadline, time_limit_s)
    else:
        with _server(host, port) as server:
            _gather(channel, server, address, hello, deadline, time_limit_s)
        channel.facts = dict(facts())
        for line in channel._lines.values():
            line.send({"welcome": channel.facts})
    channel._watch()
    return channel


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of HOST:PORT or [IPv6]:PORT; ValueError for anything else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(address)
    return host.strip("[]"), int(port)


def _join(channel: Channel, host: str, port: int, hello: dict, deadline: float, time_limit_s: float) -> None:
    who = f"process {channel.process} of {channel.processes}"
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
    line = _Line(connection)
    line.send({"hello": hello})
    connection.settimeout(max(deadline - time.monotonic(), 0) + HELLO_TIMEOUT_S)  # the leader has the same limit
    answer = next(iter(line), None)
    if answer is None:
        raise UserError(f"{who}: what answers at {host}:{port} is not process 0 of this training, or it has ended")
    if "refused" in answer:
        raise UserError(answer["refused"])
    connection.settimeout(None)
    channel.facts = answer["welcome"]
    channel._lines[0] = line
    channel._hosts[0] = host


def _gather(
    channel: Channel, server: socket.socket, address: str, hello: dict, deadline: float, time_limit_s: float
) -> None:
    """At the leader: waits for all others."""
    newcomers: list[_Line] = []
    channel._hosts[0] = hello["host"]

    def refuse(why: str) -> UserError:
        for line in newcomers:
            line.send({"refused": why})
            line.close()
        return UserError(why)

    while len(channel._lines) < channel.processes - 1:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            missing = sorted(set(range(1, channel.processes)) - channel._lines.keys())
            shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
            raise refuse(
                f"only {channel.processes - len(missing)} of {channel.processes} processes came to {address} within "
                f"{time_limit_s:g} s.\nMissing: process {shown}. Start them with the same --coordinator, or look "
                f"into their logs"
            )
        server.settimeout(left_s)
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        line = _Line(connection)
        connection.settimeout(HELLO_TIMEOUT_S)
        theirs = (next(iter(line), None) or {}).get("hello")
        if not isinstance(theirs, dict) or not theirs.keys() >= hello.keys():  # not one of us
            line.close()
            continue
        connection.settimeout(None)
        newcomers.append(line)
        number = theirs["process"]
        if theirs["processes"] != channel.processes:
            raise refuse(
                f"process {number} on {theirs['host']} was started with --processes={theirs['processes']}, process 0 "
                f"with --processes={channel.processes}; give all the same"
            )
        if number in channel._hosts:
            raise refuse(
                f"two processes are number {number}: on {channel._hosts[number]} and on {theirs['host']}; "
                f"give each a --process of its own"
            )
        for name, value in hello["alike"].items():
            if theirs["alike"].get(name) != value:
                raise refuse(
                    f"process {number} on {theirs['host']} has {name} {theirs['alike'].get(name)}, process 0 has "
                    f"{value}; give all the same"
                )
        channel._lines[number] = line
        channel._hosts[number] = theirs["host"]


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


class _Line:
    """A connection as lines of JSON."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._file = connection.makefile("r", encoding="utf-8")
        self._sending = threading.Lock()
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # Linux, macOS
            if idle is not None:
                connection.setsockopt(socket.IPPROTO_TCP, idle, KEEPALIVE_IDLE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TIMES)

    def send(self, message: Mapping[str, Any]) -> None:
        """Writes a message; one who is gone is noticed by who reads."""
        data = (json.dumps(message, default=_plain) + "\n").encode()
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(data)

    def __iter__(self):
        with contextlib.suppress(OSError, ValueError):  # reset, timed out; no JSON
            for text in self._file:
                message = json.loads(text)
                if isinstance(message, dict):
                    yield message

    def close(self) -> None:
        """Sends what is on its way, and ends."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """Lets go of this process's copy of the connection."""
        with contextlib.suppress(OSError):
            socket.close(self._connection.detach())


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, tuples' kin."""
    return value.item() if isinstance(value, np.generic) else list(value)
