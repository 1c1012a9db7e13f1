"""What sensors told, read from files: CSV with a head, and the JSON of Home Assistant's `/api/history/period`.

Both are read as they come, in bounded memory. What comes out is numbered: a CSV's lines, or the JSON's objects, counted
from 1. A row is a `Reading`, or the words that say what is wrong with it, or SKIPPED for one that tells nothing.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, tzinfo
from enum import Enum
from typing import Any

from gateway.errors import BadRequest
from gateway.memory.lines import numbered
from gateway.store.measurements import Reading

MAX_ROW_BYTES = 65_536
MAX_NAME = 255  # characters of an entity's name, and of a state, as Home Assistant has it
MAX_UNIT = 50
MAX_ATTRIBUTES = 4096  # characters as JSON; longer ones (a forecast, a picture) are left out
# What PostgreSQL holds, and no sensor goes beyond.
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

# The heads by which columns are known, the first that is there first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "entity": ("entity", "entity_id", "sensor", "sensor_id", "statistic_id", "device", "name", "id"),
    "time": ("time", "last_changed", "timestamp", "datetime", "date_time", "last_updated", "date", "start"),
    "value": ("value", "state", "reading", "measurement", "mean"),
    "unit": ("unit", "unit_of_measurement", "units"),
}
NOTHING_TOLD = frozenset({"", "unavailable", "unknown", "none", "null"})
_SECONDS = re.compile(r"\d{9,10}(?:\.\d+)?")
_MILLISECONDS = re.compile(r"\d{12,13}")
_BETWEEN = re.compile(r"[\s,\[\]]*")


class Skipped(Enum):
    """A row that tells nothing: the sensor was away."""

    SKIPPED = "skipped"


SKIPPED = Skipped.SKIPPED
Row = Reading | Skipped | str


async def from_csv(pieces: AsyncIterator[bytes], zone: tzinfo, entity: str | None) -> AsyncIterator[tuple[int, Row]]:
    """Rows of a CSV (commas, semicolons or tabs), a line each, by its head.

    `zone` is of times that do not say theirs, `entity` the name where no column tells it. Raises BadRequest that names
    the column that is missing.
    """
    columns: dict[str, int] | None = None
    separator = ","
    async for number, line in numbered(pieces, MAX_ROW_BYTES):
        if line is None:
            yield number, f"is longer than {MAX_ROW_BYTES} bytes"
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            yield number, f"is not UTF-8 (at byte {error.start})"
            continue
        if not text.strip():
            continue
        if columns is None:
            separator = max(",;\t", key=text.count)
            columns = _columns(_fields(text, separator) or [], entity)
            continue
        fields = _fields(text, separator)
        if fields is None:
            yield number, "has a quotation mark that is not closed"
        elif len(fields) <= max(columns.values()):
            yield number, f"has {len(fields)} fields, fewer than the head"
        else:
            value = fields[columns["value"]].strip()
            if separator != "," and value.count(",") == 1:
                value = value.replace(",", ".") if "." not in value else value
            yield (
                number,
                reading(
                    fields[columns["entity"]] if "entity" in columns else entity,
                    fields[columns["time"]],
                    value,
                    fields[columns["unit"]] if "unit" in columns else None,
                    zone=zone,
                ),
            )
    if columns is None:
        raise BadRequest("The file is empty: there is no head to tell the columns.")


async def from_json(pieces: AsyncIterator[bytes], zone: tzinfo, entity: str | None) -> AsyncIterator[tuple[int, Row]]:
    """Rows of Home Assistant's history: a list of lists of states, of which only the first need name its entity.

    `zone` and `entity` as `from_csv` has them. Raises BadRequest where it is no JSON.
    """
    named = entity
    number = 0
    attributes: dict[str, Any] = {}
    async for value in _objects(pieces):
        number += 1
        if "entity_id" in value:
            named, attributes = value["entity_id"], {}
        if isinstance(told := value.get("attributes"), dict):
            attributes = told
        yield (
            number,
            reading(
                named,
                value.get("last_changed") or value.get("last_updated"),
                value.get("state"),
                attributes.get("unit_of_measurement"),
                zone=zone,
                attributes=told if isinstance(told, dict) else {},
            ),
        )


def reading(
    entity: Any, time: Any, value: Any, unit: Any, *, zone: tzinfo, attributes: Mapping[str, Any] | None = None
) -> Row:
    """One row of what a file tells; `zone` is of a time that does not say its own."""
    named = _words(entity, MAX_NAME)
    if named is None:
        return f"entity should be a name of 1 to {MAX_NAME} characters"
    told = "" if value is None else str(value).strip()
    if told.casefold() in NOTHING_TOLD:
        return SKIPPED
    at = moment(time, zone)
    if at is None:
        return "time should be as 2026-03-01T12:00:00Z, or seconds since 1970"
    number = _number(told)
    if number is not None:
        if not math.isfinite(number):
            return "value should be a finite number"
        measured_in = _words(unit, MAX_UNIT) if unit else None
        return Reading(named, at, number, measured_in)
    state = _words(told, MAX_NAME)
    if state is None:
        return f"value should be a number, or a state of up to {MAX_NAME} characters"
    return Reading(named, at, state, attributes=_storable(attributes or {}))


def moment(told: Any, zone: tzinfo) -> datetime | None:
    """A point in time from ISO 8601 (in `zone` where it has no offset), or seconds or milliseconds since 1970."""
    text = str(told).strip() if isinstance(told, str | int | float) else ""
    try:
        if _SECONDS.fullmatch(text):
            at = datetime.fromtimestamp(float(text), UTC)
        elif _MILLISECONDS.fullmatch(text):
            at = datetime.fromtimestamp(float(text) / 1000, UTC)
        else:
            at = datetime.fromisoformat(text)
            at = (at.replace(tzinfo=zone) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if EARLIEST <= at <= LATEST else None


def _columns(head: list[str], entity: str | None) -> dict[str, int]:
    known = {name.strip().casefold().replace(" ", "_"): place for place, name in reversed(list(enumerate(head)))}
    found = {
        column: known[next(name for name in names if name in known)]
        for column, names in COLUMNS.items()
        if any(name in known for name in names)
    }
    for column in ("entity", "time", "value"):
        if column not in found and not (column == "entity" and entity is not None):
            raise BadRequest(
                f"The head has no column for {column}; it may be called {', '.join(COLUMNS[column])}.", field=column
            )
    return found


def _fields(line: str, separator: str) -> list[str] | None:
    """The line's fields; None where a quotation is not closed in it."""
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader((line,), delimiter=separator, strict=True))
    except csv.Error:
        return None


async def _objects(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The objects of a list, or of lists in a list."""
    decoder, text = json.JSONDecoder(), ""
    encoding = codecs.getincrementaldecoder("utf-8-sig")()
    async for piece in _and_the_end(pieces):
        try:
            text += encoding.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError as error:
            raise BadRequest("The body is not UTF-8.") from error
        place = 0
        while (place := _skip(text, place)) < len(text):
            if text[place] != "{":
                raise BadRequest("The body should be a list of states, as Home Assistant's history is.")
            try:
                value, place = decoder.raw_decode(text, place)
            except (ValueError, RecursionError) as error:
                if piece is None or len(text) - place > MAX_ROW_BYTES:
                    raise BadRequest("The body is not JSON, or an object in it is too long.") from error
                break  # the rest of it comes with the next piece
            yield value
        text = text[place:]


async def _and_the_end(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    async for piece in pieces:
        yield piece
    yield None


def _skip(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return place if found is None else found.end()


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _words(value: Any, longest: int) -> str | None:
    """The text without blanks around it; None where it is none that can be kept."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not 0 < len(text) <= longest or "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return None
    return text


def _storable(attributes: Mapping[str, Any]) -> str:
    """As JSON that PostgreSQL takes: nothing where it is too long, or holds what is no text."""
    written = json.dumps(attributes, allow_nan=True)
    hostile = re.search(r"\\u0000|\\ud[89a-f]|\bNaN\b|\bInfinity\b", written)
    return "{}" if hostile or len(written) > MAX_ATTRIBUTES else written
