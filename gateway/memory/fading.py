"""Fading: what nobody recalls is less and less sure to be wanted, is archived, and long after that deleted for good.

An entry's confidence halves with each half-life since it was told, changed or put before the model. Pinned ones stay.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from gateway.config import MemorySettings
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.rounds import Rounds
from gateway.shapes import Scope
from gateway.store import history, members
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)

FADING_SECONDS = 21_600.0  # between two looks at every entry: a half-life is days
BATCH = 1000


class Fading(Rounds):
    """One task that writes down what was recalled, and lets fade what was not. `async with` starts and ends it."""

    def __init__(
        self,
        database: Database,
        knowledge: KnowledgeBase,
        epoch: EpochWatch,
        settings: MemorySettings,
        household_id: int,
    ) -> None:
        super().__init__("fading", self._round)
        self._database = database
        self._knowledge = knowledge
        self._epoch = epoch
        self._settings = settings
        self._household = Scope(household_id)
        self._faded_at: float | None = None

    async def fade(self) -> tuple[int, int]:
        """Looks at every entry of the household; how many were archived, and how many versions deleted for good.

        Raises StoreUnavailable; what was done until then stays.
        """
        archived = deleted = 0
        async with self._database.scoped(self._household) as connection:
            scopes = await members.scopes(connection, self._household.household_id)
        for scope in scopes:
            if self._settings.half_life_days:
                archived += await self._fade(scope)
            if self._settings.archive_days:
                async with self._database.scoped(scope) as connection:
                    before = datetime.now(UTC) - timedelta(days=self._settings.archive_days)
                    deleted += await history.delete_archived(connection, before)
        if archived:
            await self._epoch.refresh()
        return archived, deleted

    async def _round(self) -> None:
        await self._knowledge.write_recalled()
        if self._faded_at is None or time.monotonic() - self._faded_at >= FADING_SECONDS:
            archived, deleted = await self.fade()
            self._faded_at = time.monotonic()
            if archived or deleted:
                LOG.info("archived %d entries that nobody recalled, deleted %d for good", archived, deleted)

    async def _fade(self, scope: Scope) -> int:
        half_life = timedelta(days=self._settings.half_life_days)
        after: int | None = 0
        while after is not None:
            async with self._database.scoped(scope) as connection:
                after = await history.fade(connection, half_life=half_life, after=after, limit=BATCH)
        archived = 0
        while True:
            async with self._database.scoped(scope) as connection:
                faded = await history.faded(connection, self._settings.archive_below, BATCH)
                if not faded:
                    return archived
                archived += await history.put_away(connection, faded, "archived")
