"""What the gateway tells of itself at a glance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.cache.responses import ResponseCache
from gateway.errors import ModelError, StoreUnavailable
from gateway.llm.fleet import Fleet
from gateway.shapes import Scope
from gateway.store import conversations, knowledge
from gateway.store.pool import Database

CHECK_SECONDS = 3.0  # a model that has not answered by then is away


@dataclass(frozen=True, slots=True)
class Glance:
    """`turns` of today; `hit_rate` 0 to 1, since the start; `queue` turns that wait for a model; `memory` entries that
    the household shares. None: not known, as the database is away."""

    turns: int | None
    hit_rate: float
    model: str
    model_ready: bool
    queue: int
    memory: int | None


class Figures:
    """Takes a glance at the gateway, for the household."""

    def __init__(
        self, database: Database, cache: ResponseCache, fleet: Fleet, household: Scope, time_zone: tzinfo
    ) -> None:
        """`time_zone` is where midnight is looked for."""
        self._database = database
        self._cache = cache
        self._fleet = fleet
        self._household = household
        self._time_zone = time_zone

    async def __call__(self) -> Glance:
        """How it stands now."""
        turns = memory = None
        midnight = datetime.now(self._time_zone).replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._database.scoped(self._household) as connection:
                turns = await conversations.count_since(connection, midnight)
                memory = await knowledge.count(connection)
        except (StoreUnavailable, TimeoutError):
            pass
        ready = True
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._fleet.check()
        except (ModelError, TimeoutError):
            ready = False
        return Glance(
            turns=turns,
            hit_rate=self._cache.hit_rate(self._household),
            model=self._fleet.name,
            model_ready=ready,
            queue=self._fleet.queue.waiting,
            memory=memory,
        )
