"""The log's two forms, and what must not get into it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import logs
from gateway.config import LogSettings


@pytest.fixture
def clean_logging() -> Iterator[None]:
    root, own, access = logging.getLogger(), logging.getLogger("gateway"), logging.getLogger("aiohttp.access")
    handlers, levels = list(root.handlers), [logger.level for logger in (root, own, access)]
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    for logger, level in zip((root, own, access), levels, strict=True):
        logger.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


pytestmark = pytest.mark.usefixtures("clean_logging")
turn_log = logging.getLogger("gateway.turn")


def test_json_lines_carry_the_fields() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(), stream)
    turn_log.info("turn", extra={"fields": {"turn_id": "ab", "timings": {"recall": 1.5}, "message": "not this"}})
    line = json.loads(stream.getvalue())
    assert line["at"].endswith("+00:00")
    assert (line["level"], line["logger"], line["message"]) == ("info", "gateway.turn", "turn")
    assert (line["turn_id"], line["timings"]) == ("ab", {"recall": 1.5})


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    logs.setup(LogSettings(), stream)
    turn_log.info("turn\nand more", extra={"fields": {"cache": "hit", "words": "two words", "intent": None}})
    assert stream.getvalue().endswith('info     gateway.turn: turn\\nand more  cache=hit words="two words"\n')


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_is_told(form: str) -> None:
    stream = io.StringIO()
    logs.setup(LogSettings.model_validate({"format": form}), stream)
    try:
        raise LookupError("nothing there")
    except LookupError:
        turn_log.exception("failed")
    assert "LookupError: nothing there" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer sesame-1",
        "authorization: bearer sesame-1",
        "cannot connect to redis://house:sesame-1@redis:6379/0",
        "cannot connect to mqtt://:sesame-1@broker",
        "cannot connect to postgresql://ai:sesame-1@db@postgres/ai",
        "password=sesame-1",
        "{'token': 'sesame-1'}",
    ],
)
def test_no_secret_is_told(form: str, secret: str) -> None:
    stream = io.StringIO()
    logs.setup(LogSettings.model_validate({"format": form}), stream)
    turn_log.warning("%s", secret, extra={"fields": {"error": secret}})
    assert "sesame" not in stream.getvalue()
    assert "***" in stream.getvalue()


PIECES = (
    "token",
    "_token",
    "Token",
    "api_",
    "key",
    "ſecret",
    "pass",
    "word",
    "bearer ",
    "BASIC ",
    "://",
    "a:b@",
    "=",
    " ",
)


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_the_quick_look_misses_no_secret(text: str) -> None:
    everything = text
    for pattern, replacement in logs._SECRETS:
        everything = pattern.sub(replacement, everything)
    assert logs.redacted(text) == everything


def test_values_that_are_no_json_do_not_lose_the_event() -> None:
    # Not by way of a logger: pytest would collect the message too, and cannot send it from one process to another.
    record = turn_log.makeRecord(turn_log.name, logging.INFO, __file__, 1, "odd \ud800", (), None)
    record.fields = {"big": 2**70, "set": {1}, 5: "five"}
    assert "odd" in json.loads(logs.JsonLines().format(record))
    assert "odd" in logs.Readable().format(record)


def test_libraries_are_quiet_and_the_gateway_speaks_from_its_level_on() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(level="info", format="text"), stream)
    logging.getLogger("some.library").info("chatter")
    turn_log.debug("detail")
    logging.getLogger("some.library").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "detail" not in stream.getvalue()
    assert "trouble" in stream.getvalue()
    logs.setup(LogSettings(level="debug", format="text"), stream)
    turn_log.debug("detail")
    assert stream.getvalue().count("detail") == 1
