"""`/measurements`: what the home's sensors told, and what its things changed to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from aiohttp import BodyPartReader, web
from pydantic import BeforeValidator, Field

from gateway.edge.api import (
    FORM,
    JSON,
    Input,
    Moment,
    Name,
    Nothing,
    Output,
    QueryBool,
    answer,
    body_pieces,
    digits,
    form_errors,
)
from gateway.edge.keys import MEASUREMENTS, SCOPE
from gateway.edge.memory import LineError
from gateway.errors import BadRequest, UnsupportedMediaType
from gateway.memory.measurements import Format

CSV = "text/csv"
TYPES = (CSV, JSON, FORM)
PIECE = 65_536  # bytes
DAY = timedelta(days=1)


class Intake(Input):
    entity: Name | None = Field(default=None, description="Whose values they are, where no column tells it")
    shared: QueryBool = Field(
        default=False, description="With a member's token: for everyone in the household, not the member alone"
    )


class Taken(Output):
    added: int
    changed: int = Field(description="Were there with another value")
    known: int = Field(description="Were there as they are, or stand twice in the file")
    skipped: int = Field(description="Told nothing: unavailable, unknown, empty")
    refused: int
    errors: list[LineError] = Field(
        description="The first thousand rows that were refused, by their line (in JSON: which object, from 1)"
    )


class Wanted(Input):
    entity: Name
    since: Moment | None = Field(default=None, description="Left out: a day before `until`")
    until: Moment | None = Field(default=None, description="Left out: now")
    parts: Annotated[
        int, Field(ge=1, le=1000, description="Into how many parts the time is cut"), BeforeValidator(digits)
    ] = 96


class Bucket(Output):
    at: datetime = Field(description="Where the part begins")
    count: int
    min: float
    max: float
    mean: float
    last: float


class Change(Output):
    at: datetime
    state: str


class History(Output):
    entity: str
    unit: str | None
    since: datetime
    until: datetime
    seconds: float = Field(description="How long a part is")
    parts: list[Bucket] = Field(description="Those in which something was measured")
    changes: list[Change] = Field(description="The states that it changed to: the newest 500, oldest first")


class Unwanted(Input):
    entity: Name
    since: Moment | None = Field(default=None, description="Left out: from the beginning")
    until: Moment | None = Field(default=None, description="Left out: to the end")


class Deleted(Output):
    deleted: int


class Entity(Output):
    entity: str
    kind: Literal["measurement", "event"] = Field(description="Whether it tells numbers or states")
    unit: str | None
    first: datetime
    last: datetime


class Entities(Output):
    entities: list[Entity]


async def add(request: web.Request, upload: Intake) -> web.Response:
    """Takes a file in, as it comes: CSV by its head, or Home Assistant's history as CSV or JSON."""
    if request.content_type == FORM:
        pieces, written = await _file(request)
    elif request.content_type in (CSV, JSON):
        pieces, written = body_pieces(request), "csv" if request.content_type == CSV else "json"
    else:
        raise UnsupportedMediaType(f"The body should be {CSV}, {JSON} or a form with a file ({FORM}).")
    report = await request.app[MEASUREMENTS].take_in(
        request[SCOPE], pieces, written, entity=upload.entity, shared=upload.shared
    )
    return answer(
        Taken(
            added=report.added,
            changed=report.changed,
            known=report.known,
            skipped=report.skipped,
            refused=report.refused,
            errors=[LineError(line=row, message=message) for row, message in report.errors],
        )
    )


async def read(request: web.Request, wanted: Wanted) -> web.Response:
    """What an entity told: its numbers in equal parts of the time, and the states that it changed to."""
    until = wanted.until or datetime.now(UTC)
    since = wanted.since or until - DAY
    if since >= until:
        raise BadRequest("since should be before until.", field="since")
    width = max((until - since) / wanted.parts, timedelta(seconds=1))
    past = await request.app[MEASUREMENTS].past(request[SCOPE], wanted.entity, since, until, width)
    return answer(
        History(
            entity=wanted.entity,
            unit=past.unit,
            since=since,
            until=until,
            seconds=width.total_seconds(),
            parts=[
                Bucket(at=part.at, count=part.count, min=part.min, max=part.max, mean=part.mean, last=part.last)
                for part in past.buckets
            ],
            changes=[Change(at=change.time, state=change.state) for change in past.changes],
        )
    )


async def delete(request: web.Request, unwanted: Unwanted) -> web.Response:
    """Forgets what an entity told, in a time or at all."""
    deleted = await request.app[MEASUREMENTS].forget(request[SCOPE], unwanted.entity, unwanted.since, unwanted.until)
    return answer(Deleted(deleted=deleted))


async def entities(request: web.Request, _: Nothing) -> web.Response:
    """Every entity of which something is kept."""
    known = await request.app[MEASUREMENTS].entities(request[SCOPE])
    return answer(
        Entities(
            entities=[
                Entity(entity=one.entity, kind=one.kind, unit=one.unit, first=one.first, last=one.last) for one in known
            ]
        )
    )


async def _file(request: web.Request) -> tuple[AsyncIterator[bytes], Format]:
    """The form's one part, `file`, as it comes; JSON where its name or type says so."""
    with form_errors():
        part = await (await request.multipart()).next()
    if not isinstance(part, BodyPartReader) or part.name != "file":
        raise BadRequest("The form should have one part, the file.", field="file")
    json = part.headers.get("Content-Type", "").startswith(JSON) or (part.filename or "").lower().endswith(".json")

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            with form_errors():
                piece = await part.read_chunk(PIECE)
            if not piece:
                return
            yield piece

    return pieces(), "json" if json else "csv"
