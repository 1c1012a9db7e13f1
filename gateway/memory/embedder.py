"""Vectors that come late: for rows stored while the embedding model was away, by an import, or by the journal."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.config import EmbeddingSettings
from gateway.errors import ModelError, StoreUnavailable
from gateway.llm.embedding import Embedder
from gateway.memory.knowledge import VECTOR_KIND
from gateway.memory.rounds import Rounds
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import knowledge, members, vectors
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

if TYPE_CHECKING:
    import asyncpg

LOG = logging.getLogger(__name__)


class LateEmbedder(Rounds):
    """One task that embeds the rows of a household, shared and members' own, that have no vector yet.

    `async with` starts and ends it; `wake` says that there is something to do.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        epoch: EpochWatch,
        metrics: Metrics,
        settings: EmbeddingSettings,
        household_id: int,
    ) -> None:
        super().__init__("late vectors", self._round)
        self._database = database
        self._embedder = embedder
        self._epoch = epoch
        self._metrics = metrics
        self._settings = settings
        self._household = Scope(household_id)
        self._space_id: int | None = None

    async def embed_all(self) -> int:
        """Embeds what has no vector, in every scope of the household; how many there were.

        Raises ModelError or StoreUnavailable where a part is away; what was embedded until then stays.
        """
        done = 0
        try:
            for scope in await self._scopes():
                done += await self._embed(scope)
        except ModelError:
            with suppress(StoreUnavailable):
                self._metrics.unembedded.set(await self._count())
            raise
        self._metrics.unembedded.set(0)
        return done

    async def _round(self) -> None:
        if done := await self.embed_all():
            LOG.info("made %d vectors that were missing", done)

    async def _scopes(self) -> list[Scope]:
        async with self._database.scoped(self._household) as connection:
            return await members.scopes(connection, self._household.household_id)

    async def _embed(self, scope: Scope) -> int:
        done = 0
        while True:
            async with self._database.scoped(scope) as connection:
                space_id = await self._space(connection)
                rows = await knowledge.without_vector(connection, space_id, limit=self._settings.batch_size)
            if not rows:
                return done
            try:
                async with asyncio.timeout(self._settings.document_seconds):
                    made = await self._embedder.documents([content for _, content, _ in rows])
            except TimeoutError:
                raise ModelError("The embedding model took too long for a batch.") from None
            async with self._database.scoped(scope) as connection:
                stored = await vectors.upsert(
                    connection,
                    space_id,
                    VECTOR_KIND,
                    [(row, member, vector) for (row, _, member), vector in zip(rows, made, strict=True)],
                    made_of=[content for _, content, _ in rows],
                )
            await self._epoch.refresh()
            done += stored

    async def _space(self, connection: asyncpg.Connection) -> int:
        if self._space_id is None:
            self._space_id = await vectors.use_space(connection, self._embedder.space)
        return self._space_id

    async def _count(self) -> int:
        counts = []
        for scope in await self._scopes():
            async with self._database.scoped(scope) as connection:
                space_id = await self._space(connection)
                counts.append(await knowledge.count_without_vector(connection, space_id))
        shared, *seen_by_members = counts
        return shared + sum(seen - shared for seen in seen_by_members)  # a member sees the shared rows too
