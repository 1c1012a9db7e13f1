"""The response cache: a layer in memory before the `response_cache` table.

An entry is good while it is not expired and the household's memory epoch is the one it was made in. The table is
written behind, in batches, by one task: a hit costs no statement.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gateway.cache.key import normalise
from gateway.config import CacheSettings
from gateway.errors import StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import Reply, Scope, Source, Usage
from gateway.store import cache as cache_store
from gateway.store import conversations
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
TABLE_SECONDS = 1.0  # the model may be quicker than a table that takes longer
_NEVER = datetime.min.replace(tzinfo=UTC)  # a row without an end is not one of ours, and counts as ended
MAX_UNWRITTEN = 4096  # entries and hits that may wait for the table while it is away; the oldest are dropped


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer. `model_seconds` is what the model took for it, and what each hit saves."""

    key: str
    scope: Scope
    query: str
    text: str
    thinking: str
    model: str
    language: str
    epoch: int
    fingerprint: str
    created_at: datetime
    expires_at: datetime
    sources: tuple[Source, ...]
    usage: Usage
    model_seconds: float
    turn_id: str


@dataclass
class _Figures:
    """What happened since the start, for one household."""

    hits: int = 0
    misses: int = 0
    bypasses: Counter[str] = field(default_factory=Counter)
    seconds_saved: float = 0.0


class ResponseCache:
    """Looks up, stores and forgets answers. `start` and `close` bracket its writing task."""

    def __init__(self, database: Database, epoch: EpochWatch, settings: CacheSettings, metrics: Metrics) -> None:
        self._database = database
        self._epoch = epoch
        self._settings = settings
        self._metrics = metrics
        self._memory: OrderedDict[str, Entry] = OrderedDict()
        self._figures: dict[int, _Figures] = {}
        self._unwritten: OrderedDict[str, Entry] = OrderedDict()
        self._touched: OrderedDict[str, tuple[Scope, int, datetime]] = OrderedDict()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to write behind."""
        self._task = asyncio.create_task(self._write_behind(), name="cache write-behind")

    async def close(self) -> None:
        """Writes what is still to be written, and ends the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
        except StoreUnavailable:
            log.warning("%d cached answers were not written: PostgreSQL is away", len(self._unwritten))

    async def lookup(self, scope: Scope, key: str) -> Entry | None:
        """The answer stored as `key` in this memory epoch, or None. Unknown epoch: None."""
        epoch = self._epoch.current()
        if epoch is None:
            return None
        now = datetime.now(UTC)
        entry = self._memory.get(key)
        if entry is not None and _good(entry, epoch, now):
            self._memory.move_to_end(key)
        else:
            self._memory.pop(key, None)
            entry = await self._from_table(scope, key, epoch, now)
            # The read took time: the memory may have changed meanwhile.
            if entry is None or self._epoch.current() != epoch:
                return None
            self._keep(entry)
        _, hits, _ = self._touched.get(key, (scope, 0, now))
        self._touched[key] = (entry.scope, hits + 1, now)
        _bound(self._touched)
        figures = self._of(scope)
        figures.hits += 1
        figures.seconds_saved += entry.model_seconds
        return entry

    def count(self, scope: Scope, outcome: str, reason: str | None) -> None:
        """Counts a lookup's outcome (hits are counted where they happen)."""
        figures = self._of(scope)
        if outcome == "miss":
            figures.misses += 1
        elif outcome == "bypass":
            figures.bypasses[reason or "unknown"] += 1
        self._metrics.cache.labels(outcome, reason or "").inc()

    def store(self, entry: Entry) -> None:
        """Keeps `entry` in memory at once, and in the table soon."""
        self._keep(entry)
        self._unwritten[entry.key] = entry
        self._unwritten.move_to_end(entry.key)
        _bound(self._unwritten)

    async def forget_answer(self, scope: Scope, turn_id: str) -> None:
        """Takes away the stored answer that the turn gave or made (after a low score). Raises StoreUnavailable."""
        for key in [key for key, entry in self._memory.items() if entry.turn_id == turn_id]:
            await self._drop(scope, key)
        async with self._database.scoped(scope) as connection:
            said = await conversations.turn(connection, turn_id)
        for row in said:
            if stored := (row.metadata or {}).get("cache_key"):
                await self._drop(scope, str(stored))

    async def clear(self, scope: Scope, *, everything: bool = False, query: str | None = None) -> int:
        """Removes the household's expired entries, or all of them, or the scope's answers to one question; how many."""
        await self.flush()
        now = datetime.now(UTC)
        words = normalise(query) if query is not None else None
        for key, entry in list(self._memory.items()):
            if entry.scope.household_id != scope.household_id:
                continue
            if words is not None:
                ends = entry.query == words and entry.scope.member_id in (None, scope.member_id)
            else:
                ends = everything or entry.expires_at <= now
            if ends:
                del self._memory[key]
        self._metrics.cache_entries.set(len(self._memory))
        async with self._database.scoped(scope) as connection:
            if everything:
                return await cache_store.clear_all(connection)
            if words is not None:
                return await cache_store.clear_query(connection, words)
            return await cache_store.clear_expired(connection)

    async def stats(self, scope: Scope) -> dict[str, Any]:
        """Outcomes since the start, and what is stored, for the scope's household. Bytes are of the stored answers."""
        await self.flush()
        async with self._database.scoped(scope) as connection:
            stored = await cache_store.stats(connection)
        figures = self._of(scope)
        asked = figures.hits + figures.misses
        return {
            "hits": figures.hits,
            "misses": figures.misses,
            "bypasses": dict(figures.bypasses),
            "entries": stored.entries,
            "bytes": stored.bytes,
            "hit_rate": round(figures.hits / asked, 4) if asked else 0.0,
            "model_seconds_saved": round(figures.seconds_saved, 3),
        }

    async def flush(self) -> None:
        """Writes entries and hits to the table. Raises StoreUnavailable, and keeps what was not written."""
        async with self._writing:
            while self._unwritten:
                key, entry = next(iter(self._unwritten.items()))
                async with self._database.scoped(entry.scope) as connection:
                    await cache_store.put(connection, _to_row(entry), self._settings.max_entries)
                if self._unwritten.get(key) is entry:
                    del self._unwritten[key]
            while self._touched:
                scope = next(iter(self._touched.values()))[0]
                batch = {key: touch for key, touch in self._touched.items() if touch[0] == scope}
                async with self._database.scoped(scope) as connection:
                    await cache_store.touch(connection, [(key, hits, used) for key, (_, hits, used) in batch.items()])
                for key, (_, written, _) in batch.items():
                    self._untouch(key, written)

    def _untouch(self, key: str, written: int) -> None:
        """Hits counted while the batch was written stay for the next one."""
        scope, hits, used = self._touched[key]
        if hits > written:
            self._touched[key] = (scope, hits - written, used)
        else:
            del self._touched[key]

    async def _write_behind(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except StoreUnavailable:
                log.debug("cache entries wait for PostgreSQL")

    async def _from_table(self, scope: Scope, key: str, epoch: int, now: datetime) -> Entry | None:
        try:
            async with asyncio.timeout(TABLE_SECONDS), self._database.scoped(scope) as connection:
                row = await cache_store.get(connection, key)
        except (StoreUnavailable, TimeoutError):
            return None
        if row is None:
            return None
        entry = _from_row(row, scope)
        return entry if _good(entry, epoch, now) else None

    async def _drop(self, scope: Scope, key: str) -> None:
        self._memory.pop(key, None)
        self._unwritten.pop(key, None)
        async with self._database.scoped(scope) as connection:
            await cache_store.delete(connection, key)

    def _keep(self, entry: Entry) -> None:
        self._memory[entry.key] = entry
        self._memory.move_to_end(entry.key)
        while len(self._memory) > self._settings.max_entries:
            self._memory.popitem(last=False)
        self._metrics.cache_entries.set(len(self._memory))

    def _of(self, scope: Scope) -> _Figures:
        return self._figures.setdefault(scope.household_id, _Figures())


def _good(entry: Entry, epoch: int, now: datetime) -> bool:
    return entry.epoch == epoch and now < entry.expires_at


def _bound(waiting: OrderedDict[str, Any]) -> None:
    while len(waiting) > MAX_UNWRITTEN:
        waiting.popitem(last=False)


def _to_row(entry: Entry) -> cache_store.CacheRow:
    return cache_store.CacheRow(
        query_hash=entry.key,
        query_text=entry.query,
        response=entry.text,
        member_id=entry.scope.member_id,
        memory_epoch=entry.epoch,
        prompt_fingerprint=entry.fingerprint,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        metadata={
            "thinking": entry.thinking,
            "model": entry.model,
            "language": entry.language,
            "turn_id": entry.turn_id,
            "model_seconds": entry.model_seconds,
            "prompt_tokens": entry.usage.prompt_tokens,
            "completion_tokens": entry.usage.completion_tokens,
            "sources": [[source.kind, source.id, source.text, source.score] for source in entry.sources],
        },
    )


def _from_row(row: cache_store.CacheRow, scope: Scope) -> Entry:
    kept = row.metadata or {}
    return Entry(
        key=row.query_hash,
        scope=replace(scope, member_id=row.member_id),
        query=row.query_text,
        text=row.response,
        thinking=kept.get("thinking", ""),
        model=kept.get("model", ""),
        language=kept.get("language", ""),
        epoch=row.memory_epoch,
        fingerprint=row.prompt_fingerprint,
        created_at=row.created_at or _NEVER,
        expires_at=row.expires_at or _NEVER,
        sources=_sources(kept.get("sources", ())),
        usage=Usage(prompt_tokens=kept.get("prompt_tokens", 0), completion_tokens=kept.get("completion_tokens", 0)),
        model_seconds=kept.get("model_seconds", 0.0),
        turn_id=kept.get("turn_id", ""),
    )


def _sources(rows: Iterable[Iterable[Any]]) -> tuple[Source, ...]:
    return tuple(Source(kind, ref, text, score) for kind, ref, text, score in rows)


def entry_of(
    reply: Reply,
    scope: Scope,
    *,
    key: str,
    query: str,
    epoch: int,
    fingerprint: str,
    expires_at: datetime,
    model_seconds: float,
) -> Entry:
    """The entry that keeps `reply`, made in `epoch` for the prompt with `fingerprint`. `query` is normalised."""
    return Entry(
        key=key,
        scope=scope,
        query=query,
        text=reply.text,
        thinking=reply.thinking,
        model=reply.model,
        language=reply.language,
        epoch=epoch,
        fingerprint=fingerprint,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        sources=reply.sources,
        usage=reply.usage,
        model_seconds=model_seconds,
        turn_id=reply.turn_id,
    )
