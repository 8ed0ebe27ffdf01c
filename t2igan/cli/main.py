"""Runs a command line: finds the verb, reads what was given, and says a user's mistake in a line."""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from absl import logging

from t2igan import __version__, errors
from t2igan.cli import help as help_lib
from t2igan.cli.parse import HELP, named, parse, plugins_among, split
from t2igan.cli.verb import load_plugins
from t2igan.errors import UserError
from t2igan.inference.console import escape_what_consoles_lack
from t2igan.training.distributed import processes


def main(argv: Sequence[str], program: str = errors.CONSOLE) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 130 when interrupted, 141 when not read.

    Args:
      argv: the program and its words, as `sys.argv`.
      program: what the user typed to start it, for messages that say how to go on.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.FATAL)  # what libraries log with a traceback also reaches us, and is said in a line
    escape_what_consoles_lack()
    interrupt_again()
    errors.started_as(program)
    try:
        _run(argv[1:], program)
    except UserError as error:
        print(f"{errors.program()}: {error}", file=sys.stderr)
        processes.leave(str(error), 2)
        return 2
    except KeyboardInterrupt as error:
        reason = str(error) or "interrupted; the same command goes on from the last checkpoint"
        print(f"{errors.program()}: {reason}", file=sys.stderr)
        processes.leave("interrupted", 130)
        return 130
    except BrokenPipeError:  # what reads the lines has gone, as in `t2igan models | head -1`
        # Python flushes it at its end, and would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell says that a program ended by SIGPIPE
    except Exception as error:
        processes.fail(error)
        raise
    return 0


def interrupt_again() -> None:
    """Lets no Ctrl-C get lost that comes while Python collects garbage or lets go of an object.

    What is raised there is only reported: JAX has a callback in the garbage collection, where a training spends time.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Once more, when the main thread is out of here: at once it would be raised here, and lost again.
            again = threading.Timer(0.05, _thread.interrupt_main)
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook


def console() -> None:
    """The installed command `t2igan`."""
    sys.exit(main(sys.argv))


def _run(words: Sequence[str], program: str) -> None:
    load_plugins(plugins_among(words))
    word, rest = split(words)
    if "--version" in rest and word is None:
        print(f"t2igan {__version__}")
    elif word == "help" or (word is None and any(one in HELP for one in rest)):
        print(help_lib.of_program(program))
    elif any(one in HELP for one in rest):
        print(help_lib.of_verb(named(word), program))
    else:
        verb = named(word)
        verb.run(parse(verb, rest))
