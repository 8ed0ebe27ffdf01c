"""A line a request on stderr, in JSON or plain; prompts are in none unless the settings say so."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
import warnings
from typing import Any

from t2igan.inference.sample import PromptWarning

LOGGER = logging.getLogger("t2igan.serving")
_SERVER_LOGGER = logging.getLogger("uvicorn.error")
_SAME_OF_ALL = logging.LogRecord(LOGGER.name, logging.INFO, __file__, 0, "", (), None).__dict__
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


class _Record(logging.LogRecord):
    """A line's facts. Who wrote it, in which thread and process, is not looked up, which takes longer than the line."""

    def __init__(self, level: int, event: str, facts: dict[str, Any], error: BaseException | None):
        now = time.time()
        info = (type(error), error, error.__traceback__) if error is not None else None
        self.__dict__ = _SAME_OF_ALL | {
            "msg": event,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "created": now,
            "msecs": now % 1 * 1000,
            "exc_info": info,
            "facts": facts,
        }


class _Lines(logging.Formatter):
    """One line a record: what is in `record.facts`, or the message."""

    def __init__(self, form: str):
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        when = f"{_second(int(record.created))}.{int(record.msecs):03}Z"
        facts = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        facts |= getattr(record, "facts", {})
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        if self._form == "json":
            return _ENCODER.encode(facts)
        trace = facts.pop("traceback", "")
        rest = " ".join(f"{name}={_plain(value)}" for name, value in list(facts.items())[3:])
        return f"{when} {facts['event']} {rest}" + (f"\n{trace}" if trace else "")


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    """A time since 1970 as ISO 8601 has it, without its zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


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
    LOGGER.handle(_Record(level, event, facts, error))
