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

import numpy as np

from gateway.config import EmbeddingSettings
from gateway.errors import BadRequest, ModelError, NotFound, StoreUnavailable
from gateway.llm.embedding import Vector
from gateway.memory import order
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.expansion import Expansion
from gateway.memory.fusion import CANDIDATES, Hit, by_words, fuse
from gateway.memory.lines import numbered
from gateway.memory.spaces import ServedSpace, Spaces
from gateway.memory.threshold import Background
from gateway.shapes import Scope
from gateway.store import history, vectors
from gateway.store import knowledge as rows
from gateway.store.epoch import EpochWatch
from gateway.store.history import Version
from gateway.store.journal import Journal
from gateway.store.knowledge import EVERYTHING, Filter, Knowledge, NewKnowledge, WordMatch
from gateway.store.pool import Database

if TYPE_CHECKING:
    import asyncpg

LOG = logging.getLogger(__name__)

VECTOR_KIND = "knowledge"
DOCUMENT_KIND = "document"
STATES_KEPT = 64
ONE_DOCUMENT_SECONDS = 5.0  # one text to be stored is not worth a longer wait: its vector comes later
JOURNAL_SECONDS = 2.0  # how long a write waits for those before it

IMPORT_BATCH = 500  # rows a transaction
IMPORT_PATIENCE_SECONDS = 30.0  # a PostgreSQL that starts anew amid an import is waited for
IMPORT_PAUSE_SECONDS = 0.5
IMPORT_EMBEDDED_AT_ONCE = 64  # the first lines of an import are found at once; a long one's vectors come later
MAX_LINE_BYTES = 262_144  # 8,000 characters escaped as JSON's pairs of \uXXXX, and room for the rest
MAX_LINE_ERRORS = 1000  # reported; the others are counted

NEAR = 20  # entries that something new is compared with
SOURCES_APART = "; "
MAX_SOURCE = 255  # characters, as an entry's source may have
REVIVING_WORDS = 2  # of a question, that say what it is about: one alone names too much
REVIVING_SHARE = 0.75
REVIVED = 3  # entries brought back by one question at most

_LAST_WORD = re.compile(r"\w+\Z")


@dataclass(frozen=True, slots=True)
class Kept:
    """What was told is `entry` now. `merged`: it was known, and was told once more. `superseded`: entries that it
    contradicts, which are history now."""

    entry: Knowledge
    merged: bool = False
    superseded: tuple[int, ...] = ()


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
    score that the question's words could give (`text`); where the memory is in several languages, likeness stands in
    the cosine's place (see `gateway.memory.threshold`). `complete` is false where something that might belong here
    could not be looked at by meaning though it should: the question had no vector in time, or a row has none yet.
    `next_expiry`: when the first of all that the scope sees ends. `took`: milliseconds of each step. `min_score`: the
    cosine from which a text has to do with the question, for the model that was asked; 0 where none was. `background`:
    what was learned of the scope's memory, and `vectors` of the hits by their ids, to tell what belongs.
    """

    hits: Sequence[Hit]
    mode: Mode
    complete: bool
    next_expiry: datetime | None
    took: Mapping[str, float]
    min_score: float = 0.0
    background: Background | None = None
    vectors: Mapping[int, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Made:
    """Vectors of some texts, in their order, and the id of the space that they are of: the current one's as of then."""

    space_id: int
    vectors: Vector


@dataclass(slots=True)
class ImportReport:
    """How an import went: lines added, lines whose very words were known, lines refused (the first MAX_LINE_ERRORS
    told), rows still without a vector."""

    added: int = 0
    merged: int = 0
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
        spaces: Spaces,
        backgrounds: Backgrounds,
        journal: Journal,
        epoch: EpochWatch,
        settings: EmbeddingSettings,
        wake_embedder: Callable[[], None],
        language_of: Callable[[str], str | None],
    ) -> None:
        """`language_of` tells the language of what is to be kept, or None; it may be called in another thread."""
        self._database = database
        self._spaces = spaces
        self._backgrounds = backgrounds
        self._journal = journal
        self._epoch = epoch
        self._settings = settings
        self._wake_embedder = wake_embedder
        self._language_of = language_of
        # By household, member and space: the epoch, and what `_state` found in it.
        self._states: OrderedDict[tuple[int, int | None, int], tuple[int, bool, datetime | None]] = OrderedDict()
        # Put before the model since it was last written down, by whose scope it was.
        self._recalled: dict[tuple[int, int | None], set[int]] = {}

    async def add(self, scope: Scope, new: NewKnowledge, *, hurry: bool = False) -> Knowledge | Pending:
        """The entry that `keep` makes of `new`, or what waits."""
        kept = await self.keep(scope, new, hurry=hurry)
        return kept if isinstance(kept, Pending) else kept.entry

    async def keep(self, scope: Scope, new: NewKnowledge, *, hurry: bool = False) -> Kept | Pending:
        """Stores `new` with its vector, or without one where that can't be made now (it is made later).

        What the same owner has said before is told once more, and not kept twice; what it contradicts becomes history
        (see `gateway.memory.order`). With PostgreSQL away it goes to the journal; in a `hurry` (somebody has spoken,
        and waits) as soon as it has not answered for a second. Raises JournalFull where that is full too.
        """
        said = new.content
        new = self._in_its_language(replace(new, content=order.corrected(said)[0]))
        away = hurry and self._epoch.current() is None
        patience = self._settings.query_seconds if hurry else ONE_DOCUMENT_SECONDS
        made = None if away else await self._vectors_of_documents([new.content], patience)
        # One for both ways: where PostgreSQL stored it and could not say so, the journal adds no second one.
        reference = f"mem_{secrets.token_hex(16)}"
        if not away and await self._settled():
            try:
                async with self._database.scoped(scope) as connection:
                    kept = await self._put_in_order(connection, new, said, made, reference)
                    entry = kept.entry
                    await self._keep_vectors(connection, [(entry.id, entry.member_id, entry.content)], made)
            except StoreUnavailable as error:
                LOG.warning("knowledge goes to the journal: %s", error.message)
            else:
                await self._changed(made is None)
                return kept
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

    async def add_once(self, scope: Scope, new: NewKnowledge) -> Literal["added", "known", "replaced", "pending"]:
        """`keep` in a hurry: whether it was new, known before, or puts an end to something that was."""
        kept = await self.keep(scope, new, hurry=True)
        if isinstance(kept, Pending):
            return "pending"
        if kept.superseded:
            return "replaced"
        return "known" if kept.merged else "added"

    async def correct(self, scope: Scope, content: str, source: str) -> bool:
        """Keeps `content` where it contradicts something known, of the speaker's own or else of the shared memory, and
        puts an end to that; whether it did. Raises StoreUnavailable."""
        for owner in dict.fromkeys((scope.member_id, None)):
            new = NewKnowledge(content, source=source, member_id=owner)
            async with self._database.scoped(scope) as connection:
                near = await _near(connection, new, None)
            if any(order.relation(known.content, content) == "supersedes" for known, _ in near):
                await self.keep(scope, new, hurry=True)
                return True
        return False

    async def _put_in_order(
        self,
        connection: asyncpg.Connection,
        new: NewKnowledge,
        said: str,
        made: _Made | None,
        reference: str,
    ) -> Kept:
        """Stores `new`, which was said in the words `said`, beside what it has to do with."""
        await history.lock(connection)
        same, superseded = None, []
        for known, cosine in await _near(connection, new, made):
            match order.relation(known.content, said, cosine):
                case "same":
                    same = same or known
                case "supersedes":
                    superseded.append(known)
        pinned = new.pinned or any(known.pinned for known in superseded)
        if same is None:
            entry = await rows.insert(
                connection,
                content=new.content,
                source=new.source,
                tags=new.tags,
                kind=new.kind,
                member_id=new.member_id,
                expires_at=new.expires_at,
                pinned=pinned,
                reference=reference,
                language=new.language,
            )
        else:
            entry = await _merge(connection, same, replace(new, pinned=pinned))
        gone = tuple(known.id for known in superseded)
        await history.put_away(connection, gone, "superseded", replaced_by=entry.id)
        return Kept(entry, same is not None, gone)

    async def search(
        self,
        scope: Scope,
        query: str | Expansion,
        *,
        limit: int,
        mode: Mode = "hybrid",
        only: Filter = EVERYTHING,
    ) -> SearchResult:
        """What the scope knows that is nearest to `query`, within `only`; by words if the question gets no vector."""
        asked = query if isinstance(query, Expansion) else Expansion(query, query)
        watch = _Watch()
        space = (await self._spaces.in_use()).current
        vector = await self._vector_of_query(space, asked.meaning) if mode != "text" else None
        watch.lap("embed")
        background = self._backgrounds.of(scope, space) if vector is not None else None
        candidates = max(limit, CANDIDATES)
        async with self._database.scoped(scope) as connection:
            missing, next_expiry = await self._state(connection, scope, space.id)
            near: list[tuple[Knowledge, float]] = []
            matched: list[tuple[Knowledge, WordMatch]] = []
            made: Mapping[int, Vector] = {}
            watch.lap("state")
            if mode != "vector" or vector is None:
                matched = await rows.matching(
                    connection, query=asked.question, also=asked.also, limit=candidates, only=only
                )
                watch.lap("text")
            if vector is not None:
                sought = vector if background is None else background.sought(vector)
                near = await rows.nearest(connection, space_id=space.id, embedding=sought, limit=candidates, only=only)
                ids = {entry.id for entry, _ in (*near, *matched)}
                made = await vectors.of_rows(connection, space.id, VECTOR_KIND, list(ids))
                watch.lap("vector")
        if vector is None or space.embedder is None:
            return SearchResult(by_words(matched)[:limit], "text", mode == "text", next_expiry, watch.took)
        hits = _ranked(vector, near, matched, made, background)[:limit]
        watch.lap("fuse")
        return SearchResult(
            hits, mode, not missing, next_expiry, watch.took, space.embedder.min_score, background, made
        )

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
        """Changes the named fields of an entry, and its vector and language where the words change; what it was before
        is history. Raises NotFound."""
        content = changes.get("content")
        if content is not None and changes.get("language") is None:
            changes = {**changes, "language": self._language_of(content)}
        made = await self._vectors_of_documents([content], ONE_DOCUMENT_SECONDS) if content is not None else None
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            await history.keep_before(connection, entry_id, changes)
            entry = _found(await rows.update(connection, entry_id, **changes), entry_id)
            await self._keep_vectors(connection, [(entry.id, entry.member_id, entry.content)], made)
        # A row that changes hands loses its vector as well, whatever its words.
        await self._changed(made is None)
        return entry

    async def delete(self, scope: Scope, entry_id: int) -> None:
        """Forgets an entry, its vectors and its history; also one that is history already. Raises NotFound."""
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            there = await rows.delete(connection, entry_id)
            if not await history.forget(connection, entry_id) and not there:
                raise _missing(entry_id)
        await self._changed(False)

    async def history(self, scope: Scope, entry_id: int) -> tuple[Knowledge | None, list[Version]]:
        """The entry, None where it is out of force, and what it was and took the place of, the newest first.

        Raises NotFound where there is neither.
        """
        async with self._database.scoped(scope) as connection:
            entry = await rows.get(connection, entry_id)
            versions = await history.versions(connection, entry_id)
        if entry is None and not versions:
            raise _missing(entry_id)
        return entry, versions

    async def restore(self, scope: Scope, entry_id: int, version_id: int | None = None) -> Knowledge:
        """Puts a version of the entry's history back in force: the one with this id, or the last. Raises NotFound."""
        await self._settled_or_away()
        async with self._database.scoped(scope) as connection:
            await history.lock(connection)
            versions = await history.versions(connection, entry_id)
            chosen = next((one for one in versions if version_id in (None, one.id)), None)
            if chosen is None:
                if version_id is None:
                    raise _missing(entry_id)
                raise NotFound(f"Entry {entry_id} has no version {version_id}.", field="version")
            entry = await history.restore(connection, chosen)
        await self._changed(True)
        return entry

    async def revive(self, scope: Scope, utterance: str) -> list[Knowledge]:
        """Brings back what nobody recalled for so long that it was archived, where the utterance names it: it has
        nearly all of the words that say what the question is about."""
        wanted = order.telling(utterance)
        if len(wanted) < REVIVING_WORDS:
            return []
        async with self._database.scoped(scope) as connection:
            named = await history.matching(
                connection, [order.beginning(word) for word in wanted], limit=NEAR, archived=True
            )
            named = [version for version in named if order.share(wanted, version.content) >= REVIVING_SHARE][:REVIVED]
            if not named:
                return []
            await history.lock(connection)
            # Another turn may have been quicker.
            revived = [
                await history.restore(connection, version)
                for version in named
                if await history.get(connection, version.id) is not None
            ]
        await self._changed(True)
        return revived

    def recalled(self, scope: Scope, ids: Sequence[int]) -> None:
        """Notes that these entries were put before the model; written down with others' before long."""
        if ids:
            self._recalled.setdefault((scope.household_id, scope.member_id), set()).update(ids)

    async def write_recalled(self) -> None:
        """Writes down what `recalled` noted. Raises StoreUnavailable, and keeps what was not written."""
        while self._recalled:
            (household_id, member_id), ids = next(iter(self._recalled.items()))
            async with self._database.scoped(Scope(household_id, member_id)) as connection:
                await history.recalled(connection, written := sorted(ids))
            ids.difference_update(written)
            if not ids:
                del self._recalled[household_id, member_id]

    async def import_lines(
        self,
        scope: Scope,
        pieces: AsyncIterator[bytes],
        read: Callable[[bytes], NewKnowledge],
    ) -> ImportReport:
        """Adds an entry a line of JSONL, in batches, in bounded memory whatever the length.

        `pieces` are bytes as they come; `read` makes an entry of a line or raises BadRequest, which is reported with
        the line's number. A PostgreSQL that goes away for a while is waited for; what was stored before it went for
        good, or the connection did, stays.
        """
        await self._settled_or_away()
        report = ImportReport()
        name = secrets.token_hex(8)
        batch: list[NewKnowledge] = []
        async for number, line in numbered(pieces, MAX_LINE_BYTES):
            if line is None:
                report.refuse(number, f"is longer than {MAX_LINE_BYTES} bytes")
                continue
            if not line.strip():
                continue
            try:
                batch.append(replace(read(line), reference=f"imp_{name}_{number}"))
            except BadRequest as error:
                report.refuse(number, error.message)
            if len(batch) >= (IMPORT_EMBEDDED_AT_ONCE if report.added < IMPORT_EMBEDDED_AT_ONCE else IMPORT_BATCH):
                await self._store_surely(scope, batch, report)
                batch = []
        if batch:
            await self._store_surely(scope, batch, report)
        return report

    async def _store_surely(self, scope: Scope, lines: Sequence[NewKnowledge], report: ImportReport) -> None:
        patient_until = time.monotonic() + IMPORT_PATIENCE_SECONDS
        again = False
        while True:
            try:
                return await self._store_batch(scope, lines, report, again=again)
            except StoreUnavailable:
                if time.monotonic() >= patient_until:
                    raise
            again = True
            await asyncio.sleep(IMPORT_PAUSE_SECONDS)

    async def _store_batch(
        self, scope: Scope, lines: Sequence[NewKnowledge], report: ImportReport, *, again: bool
    ) -> None:
        batch = await asyncio.to_thread(lambda: [self._in_its_language(new) for new in _folded(lines)])
        made = None
        if report.added < IMPORT_EMBEDDED_AT_ONCE:
            made = await self._vectors_of_documents([new.content for new in batch], self._settings.document_seconds)
        try:
            async with self._database.scoped(scope) as connection:
                await history.lock(connection)
                # PostgreSQL may have stored the batch before, vectors and all, and could not say so.
                stored = await rows.count_referenced(connection, [new.reference for new in batch]) if again else 0
                fresh = [] if stored else await _unknown(connection, batch)
                ids = await rows.insert_many(connection, [batch[place] for place in fresh])
                await self._keep_vectors(
                    connection,
                    [
                        (row, batch[place].member_id, batch[place].content)
                        for row, place in zip(ids, fresh, strict=True)
                    ],
                    _some(made, fresh),
                )
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error.message} The import stopped; its first {report.added} entries are stored.", retry_after=5
            ) from error
        added = stored or len(ids)
        report.added += added
        report.merged += len(lines) - added
        report.without_vector += len(ids) if made is None else 0
        await self._changed(made is None)

    def _in_its_language(self, new: NewKnowledge) -> NewKnowledge:
        return new if new.language else replace(new, language=self._language_of(new.content))

    async def _vector_of_query(self, space: ServedSpace, query: str) -> Vector | None:
        if space.embedder is None:
            return None
        try:
            async with asyncio.timeout(self._settings.query_seconds):
                return await space.embedder.query(query)
        except (ModelError, TimeoutError) as error:
            LOG.info("searching by words alone: %s", _why(error))
            return None

    async def _vectors_of_documents(self, contents: Sequence[str], seconds: float) -> _Made | None:
        """Nobody waits for the vectors of a space that is being built: the one who builds it makes them."""
        try:
            space = (await self._spaces.in_use()).current
            if space.embedder is None:
                return None
            async with asyncio.timeout(min(seconds, self._settings.document_seconds)):
                return _Made(space.id, await space.embedder.documents(contents))
        except StoreUnavailable:
            return None  # whoever stores what they are of finds out
        except (ModelError, TimeoutError) as error:
            LOG.info("stored without vectors for now: %s", _why(error))
            return None

    async def _keep_vectors(
        self, connection: asyncpg.Connection, stored: Sequence[tuple[int, int | None, str]], made: _Made | None
    ) -> None:
        """Keeps what was `made` for rows, each (id, member_id, content); nothing where its space was dropped since."""
        if made is None or not await vectors.still_there(connection, made.space_id):
            return
        kept = [(row, member, vector) for (row, member, _), vector in zip(stored, made.vectors, strict=True)]
        texts = [content for _, _, content in stored]
        await vectors.upsert(connection, made.space_id, VECTOR_KIND, kept, made_of=texts)

    async def _state(self, connection: asyncpg.Connection, scope: Scope, space_id: int) -> tuple[bool, datetime | None]:
        """Whether a row of the scope has no vector yet, and when the first of them expires.

        Both take a look at every row, and both move the epoch when they change: asked once an epoch.
        """
        who = (scope.household_id, scope.member_id, space_id)
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


_Said = tuple[int | None, str, str]  # whose, its kind, the words


def _ranked(
    question: Vector,
    near: Sequence[tuple[Knowledge, float]],
    matched: Sequence[tuple[Knowledge, WordMatch]],
    made: Mapping[int, Vector],
    background: Background | None,
) -> list[Hit]:
    """What both legs found in one ranking, by cosine or by likeness; `made` are the vectors of what has one."""
    ids = list(made)
    stacked = np.stack([made[row] for row in ids]) if ids else np.empty((0, len(question)), dtype=np.float32)
    cosines = dict(zip(ids, (stacked @ question).tolist(), strict=True))
    alike = dict(zip(ids, background.likeness(question, stacked).tolist(), strict=True)) if background else {}
    closeness = alike if background is not None and background.several_languages else cosines
    nearest = sorted(
        ((entry, closeness[entry.id]) for entry, _ in near if entry.id in closeness),
        key=lambda found: (-found[1], -found[0].id),
    )
    return [
        replace(hit, cosine=cosines.get(hit.entry.id), likeness=alike.get(hit.entry.id))
        for hit in fuse(nearest, matched, closeness)
    ]


async def _near(
    connection: asyncpg.Connection, new: NewKnowledge, made: _Made | None
) -> list[tuple[Knowledge, float | None]]:
    """What `new` may have to do with, of the same owner and kind: with the same words, near in meaning (with its
    cosine), or about the same subject."""
    if new.kind == DOCUMENT_KIND:
        return []
    only = Filter(member=new.member_id, kind=new.kind)
    found: dict[int, tuple[Knowledge, float | None]] = {}
    if made is not None:
        near = await rows.nearest(connection, space_id=made.space_id, embedding=made.vectors[0], limit=NEAR, only=only)
        found |= {known.id: (known, cosine) for known, cosine in near}
    stated = order.statement(new.content)
    query = " ".join(stated.subject) if stated is not None else new.content
    matched = [known for known, _ in await rows.matching(connection, query=query, limit=NEAR, only=only)]
    for known in (*await history.same_words(connection, [new.content], new.member_id), *matched):
        found.setdefault(known.id, (known, None))
    return [
        (known, cosine)
        for known, cosine in found.values()
        if known.member_id == new.member_id and known.kind == new.kind and known.document_id is None
    ]


async def _merge(connection: asyncpg.Connection, known: Knowledge, new: NewKnowledge) -> Knowledge:
    """One entry of both, in the newer words: with the sources and tags of each, and for as long as the longer one."""
    source, tags, pinned, expires_at = _joined(known, new)
    return await history.merge(
        connection, known, content=new.content, source=source, tags=tags, pinned=pinned, expires_at=expires_at
    )


def _joined(
    known: Knowledge | NewKnowledge, new: Knowledge | NewKnowledge
) -> tuple[str | None, tuple[str, ...], bool, datetime | None]:
    """Source, tags, whether it is pinned, and when it ends, of two that say the same."""
    sources = [*(known.source or "").split(SOURCES_APART), *(new.source or "").split(SOURCES_APART)]
    source = SOURCES_APART.join(filter(None, dict.fromkeys(sources))) or None
    return (
        source if source is None or len(source) <= MAX_SOURCE else known.source,
        tuple(dict.fromkeys((*known.tags, *new.tags))),
        known.pinned or new.pinned,
        max(known.expires_at, new.expires_at) if known.expires_at and new.expires_at else None,
    )


def _folded(batch: Sequence[NewKnowledge]) -> list[NewKnowledge]:
    """The batch with what stands in it twice once."""
    folded: dict[_Said, NewKnowledge] = {}
    for new in batch:
        said = (new.member_id, new.kind, new.content)
        source, tags, pinned, expires_at = _joined(folded.get(said, new), new)
        folded[said] = replace(new, source=source, tags=tags, pinned=pinned, expires_at=expires_at)
    return list(folded.values())


async def _unknown(connection: asyncpg.Connection, batch: Sequence[NewKnowledge]) -> list[int]:
    """The places of those in `batch` whose very words their owner has not said yet; the others are merged."""
    known: dict[_Said, Knowledge] = {}
    for owner in {new.member_id for new in batch}:
        contents = [new.content for new in batch if new.member_id == owner]
        for same in await history.same_words(connection, contents, owner):
            known[owner, same.kind, same.content] = same
    fresh = []
    for place, new in enumerate(batch):
        entry = known.get((new.member_id, new.kind, new.content))
        if entry is None:
            fresh.append(place)
        elif _joined(entry, new) != _joined(entry, entry):
            await _merge(connection, entry, new)
    return fresh


def _some(made: _Made | None, places: Sequence[int]) -> _Made | None:
    return None if made is None else _Made(made.space_id, made.vectors[list(places)])


def _why(error: ModelError | TimeoutError) -> str:
    return error.message if isinstance(error, ModelError) else "the embedding model took too long"


def _found(entry: Knowledge | None, entry_id: int) -> Knowledge:
    if entry is None:
        raise _missing(entry_id)
    return entry


def _missing(entry_id: int) -> NotFound:
    return NotFound(f"There is no entry {entry_id}.", field="id")
