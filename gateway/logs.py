"""The log: one line an event, as JSON for programs or readable for a person at a terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from gateway.config import LogSettings

# A secret may slip into a message by way of a library's exception. These are the shapes secrets have here.
_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;]+"), r"\1 ***"),
    (re.compile(r"(?<=://)([^\s/@:\"']*):[^\s/\"']*@"), r"\1:***@"),
    (re.compile(r"(?i)\b(password|passwd|token|secret|api_key)([\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"), r"\1\2***"),
)
# A line without any of these, in lower case, has no such shape: to look for them is quicker than to match the patterns.
_TELLTALES = ("://", "bearer", "basic", "passw", "token", "secret", "api_key")
_NOT_A_WORD = "_token"  # of "prompt_tokens": the patterns want a word that begins so


def redacted(text: str) -> str:
    """`text` without bearer tokens, passwords of addresses, and values of keys that name a secret."""
    folded = text.casefold().replace(_NOT_A_WORD, "")
    if not any(telltale in folded for telltale in _TELLTALES):
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """What the event tells beside its message: `logger.info("...", extra={"fields": {...}})`."""
    found = getattr(record, "fields", None)
    return found if isinstance(found, Mapping) else {}


class JsonLines(logging.Formatter):
    """`{"at": "...Z", "level": "info", "logger": "gateway.turn", "message": "turn", ...fields, "traceback"?}`"""

    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line = {**own, **fields(record), **own}  # a field may not stand for what is told of every event
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return redacted(_as_json(line))


class Readable(logging.Formatter):
    """`14:05:31 info     gateway.turn: turn  cache=hit total_ms=1.2`, and a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        # One event is one line, whatever stands in the message.
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        line = f"{at} {record.levelname.lower():<8} {record.name}: {message}"
        shown = " ".join(f"{name}={_shown(value)}" for name, value in fields(record).items() if value is not None)
        if shown:
            line += f"  {shown}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redacted(line)


def setup(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sends the log to `stream` (default: standard error), in place of wherever it went before.

    The gateway's own events are told from `settings.level` on; libraries' from warning on (with level debug: info).
    """
    stream = sys.stderr if stream is None else stream
    readable = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Readable() if readable else JsonLines())
    root = logging.getLogger()
    for former in list(root.handlers):
        if isinstance(former, logging.StreamHandler) and isinstance(former.formatter, JsonLines | Readable):
            root.removeHandler(former)
    root.addHandler(handler)
    level = getattr(logging, settings.level.upper())
    root.setLevel(logging.INFO if level == logging.DEBUG else logging.WARNING)
    logging.getLogger("gateway").setLevel(level)
    # Nobody is told which thread it was: it need not be found out for each line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Nor at which line of the source (logging's documentation names this among its optimisations).
    logging._srcfile = None  # noqa: SLF001
    # aiohttp's access log would tell every request; turns have a line of their own, and the rest is in the metrics.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _shown(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(" =\"'"):
        return value
    return _as_json(value)


def _as_json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # A lone surrogate or an integer beyond 64 bits: the event is worth more than its exact value.
        return orjson.dumps(repr(value).encode("utf-8", "backslashreplace").decode()).decode()
