"""`/memory`: what the household was told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from gateway.edge.api import (
    JSON_LINES,
    Changes,
    Input,
    Moment,
    Name,
    Nothing,
    Output,
    QueryId,
    QueryLimit,
    QueryTags,
    Tags,
    Text,
    answer,
    body_pieces,
    parse,
    path_id,
)
from gateway.edge.keys import KNOWLEDGE, SCOPE, SETTINGS
from gateway.errors import UnsupportedMediaType
from gateway.memory.knowledge import Pending
from gateway.shapes import Scope
from gateway.store.knowledge import Knowledge, NewKnowledge

LINE_TYPES = (JSON_LINES, "application/jsonl", "application/json", "text/plain", "application/octet-stream")

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="What sort of thing it is")]


class Addition(Input):
    content: Text
    tags: Tags = Field(default_factory=list)
    source: Name | None = None
    kind: Kind = "fact"
    expires_at: Moment | None = None
    pinned: bool = False
    shared: bool = Field(
        default=False, description="With a member's token: for everyone in the household, not the member alone"
    )

    def entry(self, scope: Scope) -> NewKnowledge:
        """What is to be stored when it is this scope that says so."""
        return NewKnowledge(
            content=self.content,
            source=self.source,
            tags=tuple(dict.fromkeys(self.tags)),
            kind=self.kind,
            member_id=None if self.shared else scope.member_id,
            expires_at=self.expires_at,
            pinned=self.pinned,
        )


class Change(Changes):
    content: Text = ""
    tags: Tags = Field(default_factory=list)
    source: Name | None = None
    kind: Kind = "fact"
    expires_at: Moment | None = None
    pinned: bool = False


class Search(Input):
    query: Text
    limit: QueryLimit = 5
    tags: QueryTags = Field(default_factory=list, description="Only entries that have all of these")
    member: QueryId | None = Field(default=None, description="Only what is this member's own, by id")


class Page(Input):
    after: Annotated[QueryId | None, Field(description="`next` of the page before")] = None
    limit: QueryLimit = 50
    tags: QueryTags = Field(default_factory=list, description="Only entries that have all of these")
    member: QueryId | None = Field(default=None, description="Only what is this member's own, by id")


class Entry(Output):
    id: int
    content: str
    source: str | None
    tags: list[str]
    kind: str
    member_id: int | None = Field(description="Whose it is; null: shared by the household")
    confidence: float
    pinned: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Hit(Entry):
    score: float = Field(description="Cosine, or the matched share of the question's words where mode is text")


class Results(Output):
    results: list[Hit] = Field(description="Best first")
    mode: Literal["vector", "text"] = Field(description="Found by meaning, or by words while there are no vectors")
    complete: bool = Field(description="False while something could not be compared by its meaning")


class Entries(Output):
    entries: list[Entry]
    next: int | None = Field(description="`after` of the next page; null: this was the last")


class Reference(Output):
    """Taken down while PostgreSQL is away; it will be stored."""

    status: Literal["pending"] = "pending"
    reference: str


class LineError(Output):
    line: int = Field(description="Counted from 1")
    message: str


class Imported(Output):
    added: int
    refused: int
    without_vector: int = Field(description="Stored, and found by their words until their vectors are made")
    errors: list[LineError] = Field(description="The first thousand lines that were refused")


async def add(request: web.Request, addition: Addition) -> web.Response:
    """Keeps one thing."""
    scope = request[SCOPE]
    added = await request.app[KNOWLEDGE].add(scope, addition.entry(scope))
    if isinstance(added, Pending):
        return answer(Reference(reference=added.reference), status=202)
    return answer(_entry(added), status=201)


async def search(request: web.Request, wanted: Search) -> web.Response:
    """Finds what is nearest to the question."""
    found = await request.app[KNOWLEDGE].search(
        request[SCOPE], wanted.query, limit=wanted.limit, tags=wanted.tags, member=wanted.member
    )
    hits = [Hit(score=round(score, 6), **_entry(entry).model_dump()) for entry, score in found.hits]
    return answer(Results(results=hits, mode=found.mode, complete=found.complete))


async def page(request: web.Request, wanted: Page) -> web.Response:
    """Lists in the order of ids."""
    entries = await request.app[KNOWLEDGE].page(
        request[SCOPE], after=wanted.after or 0, limit=wanted.limit + 1, tags=wanted.tags, member=wanted.member
    )
    shown = entries[: wanted.limit]
    more = len(entries) > wanted.limit
    return answer(Entries(entries=[_entry(entry) for entry in shown], next=shown[-1].id if more else None))


async def read(request: web.Request, _: Nothing) -> web.Response:
    """One entry."""
    return answer(_entry(await request.app[KNOWLEDGE].get(request[SCOPE], path_id(request))))


async def change(request: web.Request, change: Change) -> web.Response:
    """Corrects an entry."""
    changes = change.model_dump(exclude_unset=True)
    return answer(_entry(await request.app[KNOWLEDGE].update(request[SCOPE], path_id(request), changes)))


async def delete(request: web.Request, _: Nothing) -> web.Response:
    """Forgets an entry."""
    await request.app[KNOWLEDGE].delete(request[SCOPE], path_id(request))
    return web.Response(status=204)


async def import_lines(request: web.Request, _: Nothing) -> web.Response:
    """JSONL of any length: the fields of /memory/add a line."""
    if request.content_type not in LINE_TYPES:
        raise UnsupportedMediaType(f"The body should be JSON lines (Content-Type: {JSON_LINES}).")
    scope = request[SCOPE]
    context = {"max_text": request.app[SETTINGS].server.max_text_characters}
    report = await request.app[KNOWLEDGE].import_lines(
        scope, body_pieces(request), lambda line: parse(line, Addition, context).entry(scope)
    )
    return answer(
        Imported(
            added=report.added,
            refused=report.refused,
            without_vector=report.without_vector,
            errors=[LineError(line=line, message=message) for line, message in report.errors],
        )
    )


def _entry(entry: Knowledge) -> Entry:
    return Entry(
        id=entry.id,
        content=entry.content,
        source=entry.source,
        tags=list(entry.tags),
        kind=entry.kind,
        member_id=entry.member_id,
        confidence=entry.confidence,
        pinned=entry.pinned,
        expires_at=entry.expires_at,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
    )
