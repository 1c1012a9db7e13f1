"""The response cache: layers from the quickest to the one that lasts, what is written behind, and the figures.

An entry is fresh while it has not expired and the household's memory epoch is the one it was made in. One of another
epoch is a candidate: it stands if the same prompt would be asked again, which the pipeline finds out (`renew`). The
table and Redis are written behind, in batches: a hit costs no statement.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

from gateway.cache.entry import Entry
from gateway.cache.key import normalise
from gateway.cache.layers import MemoryLayer, RedisLayer, TableLayer
from gateway.config import CacheSettings
from gateway.errors import StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import CacheOutcome, Scope
from gateway.store.epoch import EpochWatch
from gateway.store.households import Moment
from gateway.store.pool import Database
from gateway.tasks import end

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
BATCH = 64
MAX_UNWRITTEN = 4096  # entries and hits that may wait for the table while it is away; the oldest are dropped

Layer = Literal["memory", "redis", "table"]


@dataclass
class _Figures:
    """What happened since the start, for one household."""

    outcomes: Counter[str] = field(default_factory=Counter)
    bypasses: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    seconds_saved: float = 0.0


class ResponseCache:
    """Looks up, stores and takes back answers. `start` and `close` bracket its writing task."""

    def __init__(
        self,
        database: Database,
        epoch: EpochWatch,
        settings: CacheSettings,
        metrics: Metrics,
        redis: RedisLayer | None = None,
    ) -> None:
        self._epoch = epoch
        self._metrics = metrics
        self._memory = MemoryLayer(settings.max_entries)
        self._redis = redis
        self._table = TableLayer(database, settings.max_entries)
        self._figures: dict[int, _Figures] = {}
        self._unwritten: OrderedDict[str, Entry] = OrderedDict()
        self._renewed: OrderedDict[str, Entry] = OrderedDict()
        self._touched: OrderedDict[str, tuple[Scope, int, datetime]] = OrderedDict()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to write behind."""
        if self._redis is not None:
            await self._redis.start()
        self._task = asyncio.create_task(self._write_behind(), name="cache write-behind")

    async def close(self) -> None:
        """Writes what is still to be written, and ends the task."""
        if self._task is not None:
            await end(self._task)
        try:
            await self.flush()
        except StoreUnavailable:
            log.warning("%d cached answers were not written: PostgreSQL is away", len(self._unwritten))
        if self._redis is not None:
            await self._redis.close()

    async def lookup(self, scope: Scope, key: str, moment: Moment) -> Entry | None:
        """The answer stored as `key`: the fresh one of the quickest layer that has it, else one of another memory
        epoch than `moment`'s, that may be taken over; None where there is none, or it expired, or was taken back."""
        found = self._memory.get(key, moment.generation)
        if found is not None and found.moment.epoch == moment.epoch:
            return self._hit(found, "memory", fresh=True)
        layer: Layer = "memory"
        async for name, entry in self._slower(scope, key, moment):
            # The read took time: answers may have been taken back meanwhile.
            if (now := self._epoch.moment()) is None or now.generation != moment.generation:
                return None
            if found is None or entry.moment.epoch == moment.epoch:
                found, layer = entry, name
            if found.moment.epoch == moment.epoch:
                break
        if found is None:
            return None
        self._keep(found)
        return self._hit(found, layer, fresh=found.moment.epoch == moment.epoch)

    def renew(self, entry: Entry, moment: Moment, until: datetime | None) -> bool:
        """Takes over the `entry` of an earlier memory epoch: it was asked with the very prompt of this `moment`. It
        ends at `until` at the latest, when the first of the memory it may rest on does. False where it is over."""
        expires_at = entry.expires_at if until is None else min(entry.expires_at, until)
        if expires_at <= datetime.now(UTC):
            return False
        renewed = replace(entry, moment=moment, expires_at=expires_at)
        self._keep(renewed)
        if entry.key in self._unwritten:
            self._unwritten[entry.key] = renewed
        else:
            self._renewed[entry.key] = renewed
            _bound(self._renewed)
        if self._redis is not None:
            self._redis.put(renewed)
        self._use(renewed)
        return True

    def count(self, scope: Scope, outcome: CacheOutcome) -> None:
        """Counts how the cache answered a turn."""
        figures = self._of(scope)
        figures.outcomes[outcome.outcome] += 1
        if outcome.outcome == "bypass":
            figures.bypasses[outcome.reason or "unknown"] += 1
        self._metrics.cache_of(outcome.outcome, outcome.reason or "").inc()

    def store(self, entry: Entry) -> None:
        """Keeps `entry` in memory at once, in Redis and the table soon."""
        self._keep(entry)
        self._renewed.pop(entry.key, None)
        self._unwritten[entry.key] = entry
        self._unwritten.move_to_end(entry.key)
        _bound(self._unwritten)
        if self._redis is not None:
            self._redis.put(entry)

    async def clear(self, scope: Scope, *, everything: bool = False, query: str | None = None) -> int:
        """Removes the household's expired entries, or all of them, or the scope's answers to one question, here and
        for every other gateway; how many. Raises StoreUnavailable."""
        await self.flush()
        if query is not None:
            gone = await self._table.take_back(scope, normalise(query))
            if self._redis is not None:
                self._redis.delete(gone)
            cleared = len(gone)
        else:
            cleared = await self._table.clear(scope, expired_only=not everything)
            if everything:
                self._memory.clear()
                if self._redis is not None:
                    await self._redis.clear()
        # One's own is seen at once: what memory still holds is of a generation that is over.
        await self._epoch.refresh()
        self._metrics.cache_entries.set(len(self._memory))
        return cleared

    def hit_rate(self, scope: Scope) -> float:
        """Turns that were answered without a model of their own, among those and misses, since the start: 0 to 1."""
        outcomes = self._of(scope).outcomes
        answered = outcomes["hit"] + outcomes["revalidated"] + outcomes["joined"]
        asked = answered + outcomes["miss"]
        return round(answered / asked, 4) if asked else 0.0

    async def stats(self, scope: Scope) -> dict[str, Any]:
        """Outcomes since the start, and what is stored, for the scope's household. Bytes are of the stored answers.
        Raises StoreUnavailable."""
        await self.flush()
        stored = await self._table.totals(scope)
        figures = self._of(scope)
        outcomes = figures.outcomes
        layers: dict[str, Any] = {
            "memory": {"entries": len(self._memory), "hits": figures.layers["memory"]},
            "table": {
                "entries": stored.entries,
                "hits": figures.layers["table"],
                "bytes": stored.bytes,
                "uses": stored.hits,
            },
        }
        if self._redis is not None:
            entries = await self._redis.count()
            layers["redis"] = {
                "entries": entries or 0,
                "hits": figures.layers["redis"],
                "available": entries is not None,
            }
        return {
            "hits": outcomes["hit"],
            "revalidated": outcomes["revalidated"],
            "joined": outcomes["joined"],
            "misses": outcomes["miss"],
            "bypasses": dict(figures.bypasses),
            "entries": stored.entries,
            "bytes": stored.bytes,
            "hit_rate": self.hit_rate(scope),
            "model_seconds_saved": round(figures.seconds_saved, 3),
            "layers": layers,
        }

    async def flush(self) -> None:
        """Writes entries and uses to the table. Raises StoreUnavailable, and keeps what was not written."""
        async with self._writing:
            while self._unwritten:
                (scope, generation), batch = next(self._batches(self._unwritten))
                await self._table.put(scope, batch, generation)
                _written(self._unwritten, batch)
            while self._renewed:
                (scope, _), batch = next(self._batches(self._renewed))
                await self._table.renew(scope, batch)
                _written(self._renewed, batch)
            while self._touched:
                scope = next(iter(self._touched.values()))[0]
                used = [(key, hits, at) for key, (whose, hits, at) in self._touched.items() if whose == scope]
                await self._table.touch(scope, used)
                if self._redis is not None:
                    self._redis.touch((key, at) for key, _, at in used)
                for key, hits, _ in used:
                    self._untouch(key, hits)

    async def _slower(self, scope: Scope, key: str, moment: Moment) -> AsyncIterator[tuple[Layer, Entry]]:
        if self._redis is not None and (entry := await self._redis.get(scope, key, moment.generation)) is not None:
            yield "redis", entry
        if (entry := await self._table.get(scope, key, moment.generation)) is not None:
            yield "table", entry

    def _hit(self, entry: Entry, layer: Layer, *, fresh: bool) -> Entry:
        if fresh:
            self._of(entry.scope).layers[layer] += 1
            self._use(entry)
        return entry

    def _use(self, entry: Entry) -> None:
        """Counts a use of an answer, and the model's time it saved."""
        _, hits, _ = self._touched.get(entry.key, (entry.scope, 0, None))
        self._touched[entry.key] = (entry.scope, hits + 1, datetime.now(UTC))
        _bound(self._touched)
        self._of(entry.scope).seconds_saved += entry.model_seconds

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

    def _keep(self, entry: Entry) -> None:
        self._memory.put(entry)
        self._metrics.cache_entries.set(len(self._memory))

    def _of(self, scope: Scope) -> _Figures:
        figures = self._figures.get(scope.household_id)
        if figures is None:
            figures = self._figures[scope.household_id] = _Figures()
        return figures

    @staticmethod
    def _batches(waiting: OrderedDict[str, Entry]) -> Iterator[tuple[tuple[Scope, int], list[Entry]]]:
        """What waits, in order, by those whose rows and whose generation it is."""
        for whose, entries in groupby(waiting.values(), key=lambda entry: (entry.scope, entry.moment.generation)):
            yield whose, list(entries)[:BATCH]


def _written(waiting: OrderedDict[str, Entry], batch: list[Entry]) -> None:
    for entry in batch:
        if waiting.get(entry.key) is entry:
            del waiting[entry.key]


def _bound(waiting: OrderedDict[str, Any]) -> None:
    while len(waiting) > MAX_UNWRITTEN:
        waiting.popitem(last=False)
