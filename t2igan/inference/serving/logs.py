"""A line a request on stderr, in JSON or plain; prompts are in none unless the settings say so."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

from t2igan.inference.sample import PromptWarning

LOGGER = logging.getLogger("t2igan.serving")
_SERVER_LOGGER = logging.getLogger("uvicorn.error")


class _Lines(logging.Formatter):
    """One line a record: what is in `record.facts`, or the message."""

    def __init__(self, form: str):
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        facts = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        facts |= getattr(record, "facts", {})
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        if self._form == "json":
            return json.dumps(facts, ensure_ascii=False, default=str)
        trace = facts.pop("traceback", "")
        rest = " ".join(f"{name}={_plain(value)}" for name, value in list(facts.items())[3:])
        return f"{when} {facts['event']} {rest}" + (f"\n{trace}" if trace else "")


def _plain(value: Any) -> str:
    """A value as it stands or, where a client could make it look like another line, in quotes."""
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def set_up(form: str) -> None:
    """Sends the lines of this server, and uvicorn's warnings, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    warnings.simplefilter("ignore", PromptWarning)  # it names the prompt
    for logger, level in ((LOGGER, logging.INFO), (_SERVER_LOGGER, logging.WARNING)):
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log(event: str, level: int = logging.INFO, error: BaseException | None = None, **facts: Any) -> None:
    """Writes a line; facts that are None are left out."""
    facts = {name: value for name, value in facts.items() if value is not None}
    if not LOGGER.isEnabledFor(level):
        return
    info = (type(error), error, error.__traceback__) if error is not None else None
    # Not `LOGGER.log`, which looks for its caller on the stack at every line.
    LOGGER.handle(LOGGER.makeRecord(LOGGER.name, level, __file__, 0, event, (), info, extra={"facts": facts}))
