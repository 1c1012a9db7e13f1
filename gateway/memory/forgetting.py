"""Forgetting for good: what would go is shown first, then it goes from every place, and it is looked for again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from gateway.errors import BadRequest, StoreUnavailable
from gateway.memory import order
from gateway.memory.documents import Documents
from gateway.memory.knowledge import KnowledgeBase
from gateway.shapes import Scope
from gateway.store import forgetting as rows
from gateway.store import history
from gateway.store import knowledge as entries
from gateway.store.epoch import EpochWatch
from gateway.store.forgetting import Row
from gateway.store.journal import Journal
from gateway.store.pool import Database

if TYPE_CHECKING:
    import asyncpg

JOURNAL_SECONDS = 2.0
CANDIDATES = 1000  # entries looked at for the words of a query at a time
ROUNDS = 100  # of finding and deleting, until nothing is found
BATCH = 1000  # rows a transaction
PHRASES = 100  # texts looked for in what was said by one statement
SEARCHED = 20  # forgotten texts that are searched for afterwards

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be forgotten: exactly one of what is about `query` (has all of its words that say something, in
    whatever form), the entries `ids`, what was told `before` then, what comes from `source` (a document's name too).

    Without `passages` of documents only what people told is meant.
    """

    query: str | None = None
    ids: tuple[int, ...] | None = None
    before: datetime | None = None
    source: str | None = None
    passages: bool = True


@dataclass(slots=True)
class Found:
    """What a wish means, place by place. `turns` have each side that says it; `answers` counts all that is cached, as
    nobody can tell of an answer what it was made of. Of `actions`, what was done at home, only the words go in which it
    was asked for."""

    entries: list[Row] = field(default_factory=list)
    documents: list[Row] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    turns: list[Row] = field(default_factory=list)
    training: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    answers: int = 0

    def __bool__(self) -> bool:
        return bool(self.entries or self.documents or self.versions or self.turns or self.training or self.actions)

    @property
    def conversations(self) -> int:
        """How many turns there are, of one side or both."""
        return len({row.turn_id for row in self.turns})

    def add(self, other: Found) -> None:
        """Counts `other` in."""
        for place in ("entries", "documents", "versions", "turns", "training", "actions"):
            getattr(self, place).extend(getattr(other, place))
        self.answers = max(self.answers, other.answers)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked for after forgetting, and how much of it was still there: 0 everywhere, unless it was told again
    meanwhile. `by_vectors` is None where questions get no vectors at the moment."""

    entries: int
    documents: int
    versions: int
    conversations: int
    training: int
    actions: int
    by_words: int
    by_vectors: int | None
    vectors: int
    answers: int
    journal: int


class Forgetting:
    """Forgets in a scope: a member's own and the shared memory, never another member's."""

    def __init__(
        self,
        database: Database,
        knowledge: KnowledgeBase,
        documents: Documents,
        journal: Journal,
        epoch: EpochWatch,
        end_answers: Callable[[Scope], Awaitable[int]],
        write_actions: Callable[[], Awaitable[None]],
    ) -> None:
        """`end_answers` ends every stored answer of the household, in all layers, for every gateway. `write_actions`
        writes what was done at home and waits to be noted; it may raise StoreUnavailable."""
        self._database = database
        self._knowledge = knowledge
        self._documents = documents
        self._journal = journal
        self._epoch = epoch
        self._end_answers = end_answers
        self._write_actions = write_actions

    async def find(self, scope: Scope, wish: Wish) -> Found:
        """What the wish means now, also what waits in the journal. Raises BadRequest, StoreUnavailable."""
        wanted = _telling(wish)
        await self._settle()
        return await self._find(scope, wish, wanted)

    async def forget(self, scope: Scope, wish: Wish) -> tuple[Found, Checked]:
        """Forgets it for good: what went, and what was checked afterwards. Raises BadRequest, StoreUnavailable."""
        wanted = _telling(wish)
        await self._settle()
        async with self._database.scoped(scope) as connection:
            begun = await rows.now(connection)
        gone = Found()
        for _ in range(ROUNDS):
            found = await self._find(scope, wish, wanted)
            if not found:
                break
            await self._delete(scope, found)
            gone.add(found)
        if gone:
            gone.answers = await self._end_answers(scope)
        await self._epoch.refresh()
        return gone, await self._check(scope, wish, wanted, gone, begun)

    async def _settle(self) -> None:
        if not await self._journal.flush(JOURNAL_SECONDS):
            raise StoreUnavailable("PostgreSQL is away, and nothing can be forgotten without it.", retry_after=5)
        await self._write_actions()

    async def _find(self, scope: Scope, wish: Wish, wanted: Sequence[str]) -> Found:
        found = Found()
        beginnings = [order.beginning(word) for word in wanted]
        async with self._database.scoped(scope) as connection:
            if wanted:
                found.entries = await _with_words(connection, wish, wanted)
                found.versions = [
                    Row(version.id, version.content)
                    for version in await history.matching(connection, beginnings, limit=CANDIDATES)
                    if _about(wanted, version.content)
                ]
            elif wish.ids is not None:
                found.entries = await rows.by_ids(connection, wish.ids)
            else:
                found.entries = await rows.told(connection, before=wish.before, source=wish.source)
                found.documents = await rows.documents(connection, before=wish.before, source=wish.source)
            of_entries = [*(row.id for row in found.entries), *(wish.ids or ())]
            known = {row.id for row in found.versions}
            found.versions += [
                row
                for row in await rows.versions(connection, of=of_entries, before=wish.before, source=wish.source)
                if row.id not in known
            ]
            found.answers = await rows.count_answers(connection)
        phrases = [] if wish.before else list(dict.fromkeys(row.text for row in (*found.entries, *found.versions)))
        found.turns = await self._said(scope, "conversations", wish, wanted, phrases)
        found.training = await self._said(scope, "training_data", wish, wanted, phrases)
        found.actions = await self._said(scope, "actions", wish, wanted, phrases)
        return found

    async def _said(
        self,
        scope: Scope,
        table: rows.Said,
        wish: Wish,
        wanted: Sequence[str],
        phrases: Sequence[str],
    ) -> list[Row]:
        """Rows of what was said that are about the words, that say one of the texts, or are older."""
        if not wanted and not phrases and wish.before is None:
            return []
        beginnings = [order.beginning(word) for word in wanted]
        found: dict[int, Row] = {}
        async with self._database.scoped(scope) as connection:
            last = await rows.last_id(connection, table)
        for after in range(0, last, rows.WINDOW):
            for some in _batches(phrases, PHRASES) if phrases else iter([()]):
                # A transaction each: one of them takes long enough, where much was said.
                async with self._database.scoped(scope) as connection:
                    said = await rows.said(
                        connection, table, after=after, beginnings=beginnings, phrases=some, before=wish.before
                    )
                spoken = [f" {' '.join(order.words(text))} " for text in some]
                for row in said:
                    if wish.before is not None or _about(wanted, row.text) or _says(row.text, spoken):
                        found[row.id] = row
        return list(found.values())

    async def _delete(self, scope: Scope, found: Found) -> None:
        for document in found.documents:
            await self._documents.delete(scope, document.id)
        # First what was said: where this breaks off, the wish finds the rest again by the entries.
        for turns in _batches([row.turn_id for row in found.turns], BATCH):
            async with self._database.scoped(scope) as connection:
                await rows.delete_turns(connection, turns)
        for ids in _batches([row.id for row in found.actions], BATCH):
            async with self._database.scoped(scope) as connection:
                await rows.empty_actions(connection, ids)
        places: tuple[tuple[rows.Table, list[Row]], ...] = (
            ("training_data", found.training),
            ("knowledge_history", found.versions),
            ("knowledge", found.entries),
        )
        for table, which in places:
            for ids in _batches([row.id for row in which], BATCH):
                async with self._database.scoped(scope) as connection:
                    await rows.delete(connection, table, ids)

    async def _check(self, scope: Scope, wish: Wish, wanted: Sequence[str], gone: Found, begun: datetime) -> Checked:
        left = await self._find(scope, wish, wanted)
        forgotten = {row.id for row in gone.entries}
        by_words, by_vectors = 0, 0
        vectors = True
        questions = [wish.query] if wish.query else [row.text for row in gone.entries[:SEARCHED]]
        for question in questions:
            by_text = await self._knowledge.search(scope, question, limit=SEARCHED, mode="text")
            by_words += sum(
                hit.entry.id in forgotten
                or (_about(wanted, hit.entry.content) and (wish.passages or hit.entry.document_id is None))
                for hit in by_text.hits
            )
            by_meaning = await self._knowledge.search(scope, question, limit=SEARCHED, mode="vector")
            vectors = vectors and by_meaning.mode == "vector"
            by_vectors += sum(hit.entry.id in forgotten for hit in by_meaning.hits)
        waiting = 0 if await self._journal.flush(JOURNAL_SECONDS) else self._journal.records_waiting
        async with self._database.scoped(scope) as connection:
            return Checked(
                entries=len(left.entries),
                documents=len(left.documents),
                versions=len(left.versions),
                conversations=left.conversations,
                training=len(left.training),
                actions=len(left.actions),
                by_words=by_words,
                by_vectors=by_vectors if vectors else None,
                vectors=await rows.count_vectors(connection, sorted(forgotten)),
                answers=await rows.count_answers(connection, begun) if gone else 0,
                journal=waiting,
            )


def _telling(wish: Wish) -> tuple[str, ...]:
    """The words that the query is about; none where it is no query. Raises BadRequest where it has none."""
    if wish.query is None:
        return ()
    wanted = order.telling(wish.query)
    if not wanted:
        raise BadRequest("query has no word that says what to forget", field="query")
    return wanted


async def _with_words(connection: asyncpg.Connection, wish: Wish, wanted: Sequence[str]) -> list[Row]:
    """Every entry about these words: by how their forms begin, and as search finds them."""
    matched = await entries.matching(connection, query=" ".join(wanted), limit=CANDIDATES)
    candidates = {
        entry.id: Row(entry.id, entry.content) for entry, _ in matched if wish.passages or entry.document_id is None
    }
    beginnings = [order.beginning(word) for word in wanted]
    after = 0
    while rows_here := await rows.with_words(
        connection, beginnings, passages=wish.passages, after=after, limit=CANDIDATES
    ):
        candidates |= {row.id: row for row in rows_here}
        after = rows_here[-1].id
    return [row for _, row in sorted(candidates.items()) if _about(wanted, row.text)]


def _about(wanted: Sequence[str], text: str) -> bool:
    return bool(wanted) and order.share(wanted, text) == 1


def _says(text: str, spoken: Sequence[str]) -> bool:
    """Whether the text says one of these, given as plain words with blanks around."""
    said = f" {' '.join(order.words(text))} "
    return any(one in said for one in spoken if one.strip())


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
