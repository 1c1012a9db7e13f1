"""`/memory`: what the household was told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from gateway.edge.api import (
    JSON_LINES,
    Changes,
    Id,
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
from gateway.edge.keys import FORGETTING, KNOWLEDGE, PREFERENCES, SCOPE, SETTINGS
from gateway.errors import BadRequest, UnsupportedMediaType
from gateway.memory.aliases import things
from gateway.memory.expansion import expand
from gateway.memory.forgetting import Checked, Found, Wish
from gateway.memory.fusion import Hit as Match
from gateway.memory.knowledge import Pending
from gateway.shapes import Scope
from gateway.store.forgetting import Row
from gateway.store.knowledge import Filter, Knowledge, NewKnowledge

FORGOTTEN_TEXTS = 100  # shown of each place
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


class Oblivion(Input):
    """Exactly one of `query`, `ids`, `before` and `source`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("query", "ids", "before", "source")]}
    )

    query: Annotated[Text, Field(description="What is about all of its words, in whatever form")] = ""
    ids: Annotated[list[Id], Field(min_length=1, max_length=1000, description="These entries")] = Field(
        default_factory=list
    )
    before: Annotated[Moment | None, Field(description="All that was told and said before then")] = None
    source: Annotated[Name, Field(description="What comes from there; also the document of this name")] = ""
    dry_run: bool = Field(default=True, description="Only show what would go")

    def wish(self) -> Wish:
        """What is to be forgotten. Raises BadRequest."""
        given = self.model_fields_set - {"dry_run"}
        if len(given) != 1 or (given == {"before"} and self.before is None):
            name = next(iter(sorted(given)), "query")
            raise BadRequest("Exactly one of query, ids, before and source should be given.", field=name)
        return Wish(self.query or None, tuple(self.ids) or None, self.before, self.source or None)


class Restoration(Input):
    version: Id | None = Field(default=None, description="By its id in the history; null: the last one")


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


class Kept(Entry):
    merged: bool = Field(description="It was known, and was told once more: this is that entry")
    superseded: list[int] = Field(description="Entries that it contradicts: they are history now")


class Version(Output):
    """What an entry was."""

    id: int = Field(description="The version's own")
    entry_id: int = Field(description="Whose version it is; merged: the entry that it went into")
    content: str
    source: str | None
    tags: list[str]
    kind: str
    member_id: int | None
    pinned: bool
    expires_at: datetime | None
    created_at: datetime
    ended_at: datetime = Field(description="When it went out of force")
    reason: Literal["edited", "superseded", "merged", "archived"]
    replaced_by: int | None = Field(description="The entry that took its place")


class History(Output):
    entry: Entry | None = Field(description="What it is now; null: it is out of force")
    versions: list[Version] = Field(description="What it was, and what it took the place of; the newest first")


class Place(Output):
    """What is forgotten in one place: how much, and the first texts."""

    count: int
    texts: list[str]


class Remains(Output):
    """What was looked for again afterwards. All are 0, unless it was told again meanwhile."""

    entries: int
    documents: int
    history: int
    conversations: int
    training: int
    actions: int
    by_words: int = Field(description="Found by a search by words")
    by_vectors: int | None = Field(description="Found by a search by meaning; null: questions get no vectors now")
    vectors: int = Field(description="Vectors of the entries, of any embedding model")
    cached_answers: int = Field(description="Answers made before it was forgotten")
    journal: int = Field(description="Records that wait to be stored")


class Forgotten(Output):
    dry_run: bool
    entries: Place = Field(description="Entries, and passages of documents")
    documents: Place
    history: Place = Field(description="What entries were before")
    conversations: Place = Field(description="Turns in which it was said, whole")
    training: Place = Field(description="Rated turns, exported or not")
    actions: Place = Field(description="What was done at home: it stays listed, without the words that asked for it")
    cached_answers: int = Field(description="All that are stored end with whatever goes")
    checked: Remains | None = Field(default=None, description="Null with dry_run")


class Leg(Output):
    rank: int = Field(description="Counted from 1")
    score: float


class Explanation(Output):
    """How one entry was found."""

    vector: Leg | None = Field(description="By its meaning, among the nearest; the score is the cosine")
    text: Leg | None = Field(description="By its words; the score is BM25's")
    cosine: float | None = Field(description="Also of an entry that only its words found; null: there is no vector")
    likeness: float | None = Field(
        description="The cosine without what all entries, all of a language and all questions have in common; null: "
        "there is no vector, or too little memory to learn that from"
    )
    share: float | None = Field(description="The part of the question's words, by their weight, that the entry has")


class Hit(Entry):
    score: float = Field(
        description="In mode hybrid the cosine and, for the words, up to 0.15 more; in mode vector the cosine; in mode "
        "text the part of the greatest score that the question's words could give. Where the memory is in several "
        "languages, likeness stands in the cosine's place"
    )
    explanation: Explanation | None = Field(default=None, description="With explain=true")


class Results(Output):
    results: list[Hit] = Field(description="Best first")
    mode: Literal["hybrid", "vector", "text"] = Field(
        description="How it was found: text, whatever was asked for, while questions get no vectors"
    )
    complete: bool = Field(description="False while something could not be compared by its meaning")
    expansion: dict[str, list[str]] | None = Field(
        default=None,
        description="With explain=true: what was looked for beside the question, and why (name, number, ...)",
    )
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
    merged: int = Field(description="Lines whose very words were known already")
    refused: int
    without_vector: int = Field(description="Stored, and found by their words until their vectors are made")
    errors: list[LineError] = Field(description="The first thousand lines that were refused")


async def add(request: web.Request, addition: Addition) -> web.Response:
    """Keeps one thing."""
    scope = request[SCOPE]
    kept = await request.app[KNOWLEDGE].keep(scope, addition.entry(scope))
    if isinstance(kept, Pending):
        return answer(Reference(reference=kept.reference), status=202)
    entry = _entry(kept.entry).model_dump()
    shown = Kept(merged=kept.merged, superseded=list(kept.superseded), **entry)
    return answer(shown, status=200 if kept.merged else 201)


async def search(request: web.Request, wanted: Search) -> web.Response:
    """Finds what is nearest to the question."""
    called, _ = things((), await request.app[PREFERENCES].visible(request[SCOPE]))
    asked = expand(wanted.query, things=called)
    only = Filter(tuple(wanted.tags), wanted.member, wanted.kind, wanted.since, wanted.until, wanted.document)
    found = await request.app[KNOWLEDGE].search(request[SCOPE], asked, limit=wanted.limit, mode=wanted.mode, only=only)
    hits = [
        Hit(
            score=round(hit.score, 6),
            explanation=_explained(hit) if wanted.explain else None,
            **_entry(hit.entry).model_dump(),
        )
        for hit in found.hits
    ]
    took = {step: round(milliseconds, 3) for step, milliseconds in found.took.items()} if wanted.explain else None
    added = {why: list(texts) for why, texts in asked.added.items()} if wanted.explain else None
    return answer(Results(results=hits, mode=found.mode, complete=found.complete, expansion=added, took_ms=took))


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


async def history(request: web.Request, _: Nothing) -> web.Response:
    """What an entry was before."""
    entry, versions = await request.app[KNOWLEDGE].history(request[SCOPE], path_id(request))
    return answer(
        History(
            entry=None if entry is None else _entry(entry),
            versions=[
                Version(
                    id=version.id,
                    entry_id=version.entry_id,
                    content=version.content,
                    source=version.source,
                    tags=list(version.tags),
                    kind=version.kind,
                    member_id=version.member_id,
                    pinned=version.pinned,
                    expires_at=version.expires_at,
                    created_at=version.created_at,
                    ended_at=version.ended_at,
                    reason=version.reason,
                    replaced_by=version.replaced_by,
                )
                for version in versions
            ],
        )
    )


async def restore(request: web.Request, wanted: Restoration) -> web.Response:
    """Puts a version back in force."""
    return answer(_entry(await request.app[KNOWLEDGE].restore(request[SCOPE], path_id(request), wanted.version)))


async def forget(request: web.Request, wanted: Oblivion) -> web.Response:
    """Forgets for good, or shows what would go."""
    scope, forgetting, wish = request[SCOPE], request.app[FORGETTING], wanted.wish()
    if wanted.dry_run:
        return answer(_forgotten(await forgetting.find(scope, wish), None))
    return answer(_forgotten(*await forgetting.forget(scope, wish)))


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
            merged=report.merged,
            refused=report.refused,
            without_vector=report.without_vector,
            errors=[LineError(line=line, message=message) for line, message in report.errors],
        )
    )


def _forgotten(found: Found, checked: Checked | None) -> Forgotten:
    return Forgotten(
        dry_run=checked is None,
        entries=_place(found.entries),
        documents=_place(found.documents),
        history=_place(found.versions),
        conversations=Place(count=found.conversations, texts=_place(found.turns).texts),
        training=_place(found.training),
        actions=_place(found.actions),
        cached_answers=found.answers if found else 0,
        checked=None
        if checked is None
        else Remains(
            entries=checked.entries,
            documents=checked.documents,
            history=checked.versions,
            conversations=checked.conversations,
            training=checked.training,
            actions=checked.actions,
            by_words=checked.by_words,
            by_vectors=checked.by_vectors,
            vectors=checked.vectors,
            cached_answers=checked.answers,
            journal=checked.journal,
        ),
    )


def _place(rows: Sequence[Row]) -> Place:
    return Place(count=len(rows), texts=[row.text for row in rows[:FORGOTTEN_TEXTS]])


def _explained(hit: Match) -> Explanation:
    return Explanation(
        vector=None
        if hit.vector_rank is None or hit.cosine is None
        else Leg(rank=hit.vector_rank, score=round(hit.cosine, 6)),
        text=None
        if hit.text_rank is None or hit.words is None
        else Leg(rank=hit.text_rank, score=round(hit.words.bm25, 6)),
        cosine=None if hit.cosine is None else round(hit.cosine, 6),
        likeness=None if hit.likeness is None else round(hit.likeness, 6),
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
