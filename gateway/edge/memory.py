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
    QueryBool,
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
from gateway.memory.fusion import Hit as Found
from gateway.memory.knowledge import Pending
from gateway.shapes import Scope
from gateway.store.knowledge import Filter, Knowledge, NewKnowledge

LINE_TYPES = (JSON_LINES, "application/jsonl", "application/json", "text/plain", "application/octet-stream")

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="What sort of thing it is")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$", description="Its language, in two or three letters")]


class Addition(Input):
    content: Text
    tags: Tags = Field(default_factory=list)
    source: Name | None = None
    kind: Kind = "fact"
    expires_at: Moment | None = None
    pinned: bool = False
    language: Language | None = Field(default=None, description="Found by the gateway where it is not given")
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
            language=self.language,
        )


class Change(Changes):
    content: Text = ""
    tags: Tags = Field(default_factory=list)
    source: Name | None = None
    kind: Kind = "fact"
    expires_at: Moment | None = None
    pinned: bool = False
    language: Language | None = None


class Search(Input):
    query: Text
    limit: QueryLimit = 5
    tags: QueryTags = Field(default_factory=list, description="Only entries that have all of these")
    kind: Kind | None = Field(default=None, description="Only entries of this kind")
    member: QueryId | None = Field(default=None, description="Only what is this member's own, by id")
    since: Moment | None = Field(default=None, description="Only what was told then or later")
    until: Moment | None = Field(default=None, description="Only what was told before then")
    document: QueryId | None = Field(default=None, description="Only passages of this document, by id")
    mode: Literal["hybrid", "vector", "text"] = Field(
        default="hybrid", description="By meaning and by words, by meaning alone, or by words alone"
    )
    explain: QueryBool = Field(default=False, description="Say of each entry how it was found, and how long it took")


class Suggestions(Input):
    prefix: Name = Field(description="What has been typed so far")
    limit: Annotated[QueryLimit, Field(le=50)] = 8


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
    document_id: int | None = Field(default=None, description="The document that it is a passage of")
    page: int | None = None
    heading: str | None = Field(default=None, description="What it stands under in its document")
    language: str | None = Field(default=None, description="Two or three letters; null: not known")


class Leg(Output):
    rank: int = Field(description="Counted from 1")
    score: float


class Explanation(Output):
    """How one entry was found."""

    vector: Leg | None = Field(description="By its meaning, among the nearest; the score is the cosine")
    text: Leg | None = Field(description="By its words; the score is BM25's")
    cosine: float | None = Field(description="Also of an entry that only its words found; null: there is no vector")
    share: float | None = Field(description="The part of the question's words, by their weight, that the entry has")


class Hit(Entry):
    score: float = Field(
        description="In mode hybrid the cosine and, for the words, up to 0.15 more; in mode vector the cosine; in mode "
        "text the part of the greatest score that the question's words could give"
    )
    explanation: Explanation | None = Field(default=None, description="With explain=true")


class Results(Output):
    results: list[Hit] = Field(description="Best first")
    mode: Literal["hybrid", "vector", "text"] = Field(
        description="How it was found: text, whatever was asked for, while questions get no vectors"
    )
    complete: bool = Field(description="False while something could not be compared by its meaning")
    took_ms: dict[str, float] | None = Field(default=None, description="With explain=true: each step's milliseconds")


class Suggestion(Output):
    text: str = Field(description="What was typed, its last word completed")
    entries: int = Field(description="How many entries have that word")


class Suggested(Output):
    suggestions: list[Suggestion] = Field(description="The commonest first")


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
    only = Filter(tuple(wanted.tags), wanted.member, wanted.kind, wanted.since, wanted.until, wanted.document)
    found = await request.app[KNOWLEDGE].search(
        request[SCOPE], wanted.query, limit=wanted.limit, mode=wanted.mode, only=only
    )
    hits = [
        Hit(
            score=round(hit.score, 6),
            explanation=_explained(hit) if wanted.explain else None,
            **_entry(hit.entry).model_dump(),
        )
        for hit in found.hits
    ]
    took = {step: round(milliseconds, 3) for step, milliseconds in found.took.items()} if wanted.explain else None
    return answer(Results(results=hits, mode=found.mode, complete=found.complete, took_ms=took))


async def suggest(request: web.Request, wanted: Suggestions) -> web.Response:
    """Completes what is being typed by words of the memory."""
    found = await request.app[KNOWLEDGE].suggest(request[SCOPE], wanted.prefix, limit=wanted.limit)
    return answer(Suggested(suggestions=[Suggestion(text=text, entries=entries) for text, entries in found]))


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


def _explained(hit: Found) -> Explanation:
    return Explanation(
        vector=None
        if hit.vector_rank is None or hit.cosine is None
        else Leg(rank=hit.vector_rank, score=round(hit.cosine, 6)),
        text=None
        if hit.text_rank is None or hit.words is None
        else Leg(rank=hit.text_rank, score=round(hit.words.bm25, 6)),
        cosine=None if hit.cosine is None else round(hit.cosine, 6),
        share=None if hit.words is None else round(hit.words.share, 6),
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
        document_id=entry.document_id,
        page=entry.page,
        heading=entry.heading,
        language=entry.language,
    )
