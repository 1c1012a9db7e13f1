"""Knowledge: what the household was told, found again by meaning, or by its words where there are no vectors."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from gateway.config import EmbeddingSettings
from gateway.errors import BadRequest, ModelError, NotFound, StoreUnavailable
from gateway.llm.embedding import Embedder, Vector
from gateway.memory.fusion import CANDIDATES, Hit, by_words, fuse
from gateway.shapes import Scope
from gateway.store import knowledge as rows
from gateway.store import vectors
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.knowledge import EVERYTHING, Filter, Knowledge, NewKnowledge, WordMatch
from gateway.store.pool import Database

if TYPE_CHECKING:
    import asyncpg

LOG = logging.getLogger(__name__)

VECTOR_KIND = "knowledge"
STATES_KEPT = 64
ONE_DOCUMENT_SECONDS = 5.0  # one text to be stored is not worth a longer wait: its vector comes later
JOURNAL_SECONDS = 2.0  # how long a write waits for those before it

IMPORT_BATCH = 500  # rows a transaction
IMPORT_EMBEDDED_AT_ONCE = 64  # the first lines of an import are found at once; a long one's vectors come later
MAX_LINE_BYTES = 262_144  # 8,000 characters escaped as JSON's pairs of \uXXXX, and room for the rest
MAX_LINE_ERRORS = 1000  # reported; the others are counted

_LAST_WORD = re.compile(r"\w+\Z")


@dataclass(frozen=True, slots=True)
class Pending:
    """Taken down in the journal while PostgreSQL is away: it will be stored, and has no id yet."""

    reference: str


Mode = Literal["hybrid", "vector", "text"]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Best first. `mode` tells how it was found: by vector, by words (`text`, also where the question got no vector),
    or by both (`hybrid`).

    A hit's score is a cosine on which the matched words add (`hybrid`), a cosine (`vector`), or a part of the greatest
    score that the question's words could give (`text`). `complete` is false where something that might belong here
    could not be looked at by meaning though it should: the question had no vector in time, or a row has none yet.
    `next_expiry`: when the first of all that the scope sees ends. `took`: milliseconds of each step.
    """

    hits: Sequence[Hit]
    mode: Mode
    complete: bool
    next_expiry: datetime | None
    took: Mapping[str, float]


@dataclass(slots=True)
class ImportReport:
    """How an import went: lines added, lines refused (the first MAX_LINE_ERRORS told), rows still without a vector."""

    added: int = 0
    refused: int = 0
    without_vector: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line: int, message: str) -> None:
        """Notes that `line` (counted from 1) was not taken, and why."""
        self.refused += 1
        if len(self.errors) < MAX_LINE_ERRORS:
            self.errors.append((line, message))


class KnowledgeBase:
    """Knowledge of every scope. Each write is followed by a read of the epoch, so that no older answer is given."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        journal: Journal,
        epoch: EpochWatch,
        settings: EmbeddingSettings,
        wake_embedder: Callable[[], None],
        language_of: Callable[[str], str | None],
    ) -> None:
        """`language_of` tells the language of what is to be kept, or None; it may be called in another thread."""
        self._database = database
        self._embedder = embedder
        self._journal = journal
        self._epoch = epoch
        self._settings = settings
        self._wake_embedder = wake_embedder
        self._language_of = language_of
        self._spaces: dict[int, int] = {}
        # By household and member: the epoch, and what `_state` found in it.
        self._states: OrderedDict[tuple[int, int | None], tuple[int, bool, datetime | None]] = OrderedDict()

    async def add(self, scope: Scope, new: NewKnowledge, *, hurry: bool = False) -> Knowledge | Pending:
        """Stores `new` with its vector, or without one where that can't be made now (it is made later).

        With PostgreSQL away it goes to the journal; in a `hurry` (somebody has spoken, and waits) as soon as it has not
        answered for a second. Raises JournalFull where that is full too.
        """
        new = self._in_its_language(new)
        away = hurry and self._epoch.current() is None
        patience = self._settings.query_seconds if hurry else ONE_DOCUMENT_SECONDS
        vector = None if away else await self._vector_of_document(new.content, patience)
        # One for both ways: where PostgreSQL stored it and could not say so, the journal adds no second one.
        reference = f"mem_{secrets.token_hex(16)}"
        if not away and await self._settled():
            try:
                async with self._database.scoped(scope) as connection:
                    entry = await rows.insert(
                        connection,
                        content=new.content,
                        source=new.source,
                        tags=new.tags,
                        kind=new.kind,
                        member_id=new.member_id,
                        expires_at=new.expires_at,
                        pinned=new.pinned,
                        reference=reference,
                        language=new.language,
                    )
                    await self._keep_vectors(connection, scope, [(entry.id, entry.member_id, vector, entry.content)])
            except StoreUnavailable as error:
                LOG.warning("knowledge goes to the journal: %s", error.message)
            else:
                await self._changed(vector is None)
                return entry
        self._journal.append(
            {
                "kind": "knowledge",
                "reference": reference,
                "household_id": scope.household_id,
                "member_id": new.member_id,
                "content": new.content,
                "source": new.source,
                "tags": list(new.tags),
                "kind_of": new.kind,
                "pinned": new.pinned,
                "expires_at": new.expires_at.isoformat() if new.expires_at else None,
                "language": new.language,
            }
        )
        return Pending(reference)

    async def add_once(self, scope: Scope, new: NewKnowledge) -> Literal["added", "known", "pending"]:
        """Like `add` in a hurry, but for words that the same owner has said before: they stay as they are (`known`)."""
        try:
            if self._epoch.current() is not None:
                async with self._database.scoped(scope) as connection:
                    if await rows.find_same(connection, new.content, new.member_id) is not None:
                        return "known"
        except StoreUnavailable:
            pass  # `add` takes it down in the journal
        return "pending" if isinstance(await self.add(scope, new, hurry=True), Pending) else "added"

    async def search(
        self,
        scope: Scope,
        query: str,
        *,
        limit: int,
        mode: Mode = "hybrid",
        only: Filter = EVERYTHING,
    ) -> SearchResult:
        """What the scope knows that is nearest to `query`, within `only`; by words if the question gets no vector."""
        watch = _Watch()
        vector = await self._vector_of_query(query) if mode != "text" else None
        watch.lap("embed")
        candidates = max(limit, CANDIDATES)
        async with self._database.scoped(scope) as connection:
            space_id = await self._space(connection, scope)
            missing, next_expiry = await self._state(connection, scope, space_id)
            near: list[tuple[Knowledge, float]] = []
            matched: list[tuple[Knowledge, WordMatch]] = []
            cosines: dict[int, float] = {}
            watch.lap("state")
            if mode != "vector" or vector is None:
                matched = await rows.matching(connection, query=query, limit=candidates, only=only)
                watch.lap("text")
            if vector is not None:
                near = await rows.nearest(connection, space_id=space_id, embedding=vector, limit=candidates, only=only)
                seen = {entry.id for entry, _ in near}
                if others := [entry.id for entry, _ in matched if entry.id not in seen]:
                    cosines = await rows.cosines(connection, space_id=space_id, embedding=vector, ids=others)
                watch.lap("vector")
        if vector is None:
            return SearchResult(by_words(matched)[:limit], "text", mode == "text", next_expiry, watch.took)
        hits = fuse(near, matched, cosines)[:limit]
        return SearchResult(hits, mode, not missing, next_expiry, watch.took)

    async def suggest(self, scope: Scope, prefix: str, *, limit: int) -> list[tuple[str, int]]:
        """Completes the last word of `prefix` by words of the scope's knowledge (in lower case, without accents); each
        with how many entries have that word, the commonest first. Nothing after a blank."""
        before, begun = split_last_word(prefix)
        if not begun:
            return []
        async with self._database.scoped(scope) as connection:
            found = await rows.suggest_words(connection, begun, limit)
        return [(before + word, entries) for word, entries in found]

    async def get(self, scope: Scope, entry_id: int) -> Knowledge:
        """One entry. Raises NotFound."""
        async with self._database.scoped(scope) as connection:
            entry = await rows.get(connection, entry_id)
        return _found(entry, entry_id)

    async def page(
        self, scope: Scope, *, after: int = 0, limit: int, tags: Sequence[str] = (), member: int | None = None
    ) -> list[Knowledge]:
        """Up to `limit` entries with ids over `after`, in the order of their ids."""
        async with self._database.scoped(scope) as connection:
            return await rows.page(connection, after=after, limit=limit, tags=tags, member=member)

    async def newest(self, scope: Scope, *, limit: int) -> tuple[list[Knowledge], int]:
        """The last `limit` entries, newest first, and how many the scope sees in all."""
        async with self._database.scoped(scope) as connection:
            return await rows.newest(connection, limit), await rows.count(connection)

    async def update(self, scope: Scope, entry_id: int, changes: Mapping[str, Any]) -> Knowledge:
        """Changes the named fields of an entry, and its vector and language where the words change. Raises NotFound."""
        content = changes.get("content")
        if content is not None and changes.get("language") is None:
            changes = {**changes, "language": self._language_of(content)}
        vector = await self._vector_of_document(content) if content is not None else None
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            entry = _found(await rows.update(connection, entry_id, **changes), entry_id)
            await self._keep_vectors(connection, scope, [(entry.id, entry.member_id, vector, entry.content)])
        # A row that changes hands loses its vector as well, whatever its words.
        await self._changed(vector is None)
        return entry

    async def delete(self, scope: Scope, entry_id: int) -> None:
        """Forgets an entry and its vectors. Raises NotFound."""
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            if not await rows.delete(connection, entry_id):
                raise _missing(entry_id)
        await self._changed(False)

    async def import_lines(
        self,
        scope: Scope,
        pieces: AsyncIterator[bytes],
        read: Callable[[bytes], NewKnowledge],
    ) -> ImportReport:
        """Adds an entry a line of JSONL, in batches, in bounded memory whatever the length.

        `pieces` are bytes as they come; `read` makes an entry of a line or raises BadRequest, which is reported with
        the line's number. What was stored before the connection or PostgreSQL broke off stays.
        """
        await self._settled_or_away()
        report = ImportReport()
        batch: list[NewKnowledge] = []
        async for number, line in _lines(pieces):
            if line is None:
                report.refuse(number, f"is longer than {MAX_LINE_BYTES} bytes")
                continue
            if not line.strip():
                continue
            try:
                batch.append(read(line))
            except BadRequest as error:
                report.refuse(number, error.message)
            if len(batch) >= (IMPORT_EMBEDDED_AT_ONCE if report.added < IMPORT_EMBEDDED_AT_ONCE else IMPORT_BATCH):
                await self._store_batch(scope, batch, report)
                batch = []
        if batch:
            await self._store_batch(scope, batch, report)
        return report

    async def _store_batch(self, scope: Scope, batch: Sequence[NewKnowledge], report: ImportReport) -> None:
        batch = await asyncio.to_thread(lambda: [self._in_its_language(new) for new in batch])
        embedded: Sequence[Vector | None] = [None] * len(batch)
        if report.added < IMPORT_EMBEDDED_AT_ONCE:
            embedded = await self._vectors_of_documents([new.content for new in batch])
        try:
            async with self._database.scoped(scope) as connection:
                ids = await rows.insert_many(connection, batch)
                await self._keep_vectors(
                    connection,
                    scope,
                    [
                        (row, new.member_id, vector, new.content)
                        for row, new, vector in zip(ids, batch, embedded, strict=True)
                    ],
                )
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error.message} The import stopped; its first {report.added} entries are stored.", retry_after=5
            ) from error
        report.added += len(ids)
        missing = sum(vector is None for vector in embedded)
        report.without_vector += missing
        await self._changed(missing > 0)

    def _in_its_language(self, new: NewKnowledge) -> NewKnowledge:
        return new if new.language else replace(new, language=self._language_of(new.content))

    async def _vector_of_query(self, query: str) -> Vector | None:
        try:
            async with asyncio.timeout(self._settings.query_seconds):
                return await self._embedder.query(query)
        except (ModelError, TimeoutError) as error:
            LOG.info("searching by words alone: %s", _why(error))
            return None

    async def _vector_of_document(self, content: str, seconds: float = ONE_DOCUMENT_SECONDS) -> Vector | None:
        return (await self._vectors_of_documents([content], seconds))[0]

    async def _vectors_of_documents(
        self, contents: Sequence[str], seconds: float | None = None
    ) -> Sequence[Vector | None]:
        bound = min(seconds or self._settings.document_seconds, self._settings.document_seconds)
        try:
            async with asyncio.timeout(bound):
                return list(await self._embedder.documents(contents))
        except (ModelError, TimeoutError) as error:
            LOG.info("stored without vectors for now: %s", _why(error))
            return [None] * len(contents)

    async def _keep_vectors(
        self,
        connection: asyncpg.Connection,
        scope: Scope,
        made: Sequence[tuple[int, int | None, Vector | None, str]],
    ) -> None:
        kept = [(row, member, vector) for row, member, vector, _ in made if vector is not None]
        if kept:
            texts = [text for _, _, vector, text in made if vector is not None]
            await vectors.upsert(connection, await self._space(connection, scope), VECTOR_KIND, kept, made_of=texts)

    async def _state(self, connection: asyncpg.Connection, scope: Scope, space_id: int) -> tuple[bool, datetime | None]:
        """Whether a row of the scope has no vector yet, and when the first of them expires.

        Both take a look at every row, and both move the epoch when they change: asked once an epoch.
        """
        who = (scope.household_id, scope.member_id)
        epoch = self._epoch.current()
        known = self._states.get(who)
        if known is not None and known[0] == epoch and (known[2] is None or known[2] > datetime.now(UTC)):
            return known[1], known[2]
        missing = bool(await rows.without_vector(connection, space_id, limit=1))
        next_expiry = await rows.next_expiry(connection)
        if epoch is not None:
            self._states[who] = (epoch, missing, next_expiry)
            self._states.move_to_end(who)
            if len(self._states) > STATES_KEPT:
                self._states.popitem(last=False)
        return missing, next_expiry

    async def _space(self, connection: asyncpg.Connection, scope: Scope) -> int:
        space_id = self._spaces.get(scope.household_id)
        if space_id is None:
            space_id = await vectors.use_space(connection, self._embedder.space)
            self._spaces[scope.household_id] = space_id
        return space_id

    async def _settled(self) -> bool:
        """Whether every memory write before this one is stored; while they wait, later ones queue behind them."""
        return not self._journal.pending_memory or await self._journal.flush(JOURNAL_SECONDS)

    async def _settled_or_away(self) -> None:
        if not await self._settled():
            raise StoreUnavailable("PostgreSQL is away, and this cannot be done without it.", retry_after=5)

    async def _changed(self, without_vector: bool) -> None:
        await self._epoch.refresh()
        if without_vector:
            self._wake_embedder()


def split_last_word(text: str) -> tuple[str, str]:
    """The text in two: what stands before its last word, and that word, empty where the text ends in something else."""
    begun = _LAST_WORD.search(text)
    return (text, "") if begun is None else (text[: begun.start()], begun[0])


class _Watch:
    """Milliseconds of each step."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        """Notes how long `step` took, which has just ended."""
        now = time.perf_counter()
        self.took[step] = (now - self._since) * 1000
        self._since = now


def _why(error: ModelError | TimeoutError) -> str:
    return error.message if isinstance(error, ModelError) else "the embedding model took too long"


def _found(entry: Knowledge | None, entry_id: int) -> Knowledge:
    if entry is None:
        raise _missing(entry_id)
    return entry


def _missing(entry_id: int) -> NotFound:
    return NotFound(f"There is no entry {entry_id}.", field="id")


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Numbered lines of a stream of bytes; None for one over MAX_LINE_BYTES, of which no more than that is held."""
    number, rest, dropping = 1, bytearray(), False
    async for piece in pieces:
        *ended, begun = piece.split(b"\n")
        for end in ended:
            rest += end
            yield number, None if dropping or len(rest) > MAX_LINE_BYTES else bytes(rest)
            number, rest, dropping = number + 1, bytearray(), False
        rest += begun
        if len(rest) > MAX_LINE_BYTES:
            rest, dropping = bytearray(), True
    if rest or dropping:
        yield number, None if dropping else bytes(rest)
