"""Vectors that come late: for rows stored while the embedding model was away, by an import, or by the journal; and all
of them, for a space that is being built."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from gateway.config import EmbeddingSettings
from gateway.errors import ModelError, StoreUnavailable
from gateway.llm.embedding import Embedder
from gateway.memory.knowledge import VECTOR_KIND
from gateway.memory.rounds import Rounds
from gateway.memory.spaces import ServedSpace, Spaces
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import knowledge, members, vectors
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a space is: `done` of `entries` have their vector in it."""

    space: ServedSpace
    done: int
    entries: int

    @property
    def tenths(self) -> int:
        return self.done * 10 // self.entries if self.entries else 10

    def __str__(self) -> str:
        return f"building {self.space}: {self.done} of {self.entries} entries"


class LateEmbedder(Rounds):
    """One task that embeds the rows of a household, shared and members' own, that have no vector yet: first in the
    space that is searched, then in the one being built, which takes its place when nothing is missing in it.

    `async with` starts and ends it; `wake` says that there is something to do. Of several gateways one builds.
    """

    def __init__(
        self,
        database: Database,
        spaces: Spaces,
        epoch: EpochWatch,
        metrics: Metrics,
        settings: EmbeddingSettings,
        household_id: int,
    ) -> None:
        super().__init__("late vectors", self._round)
        self._database = database
        self._spaces = spaces
        self._epoch = epoch
        self._metrics = metrics
        self._settings = settings
        self._household = Scope(household_id)
        self._progress: Progress | None = None

    @property
    def progress(self) -> Progress | None:
        """How far the space is that is being built, as of the last look; None where none is."""
        return self._progress

    async def embed_all(self) -> int:
        """Embeds what has no vector in the space that is searched, in every scope of the household; how many it made.

        Raises ModelError or StoreUnavailable where a part is away; what was embedded until then stays.
        """
        current = (await self._spaces.read()).current
        done = 0
        try:
            if current.embedder is not None:
                async for stored in self._make(current, current.embedder):
                    await self._epoch.refresh()
                    done += stored
        except ModelError:
            with suppress(StoreUnavailable):
                self._metrics.unembedded.set(await self._missing(current))
            raise
        self._metrics.unembedded.set(0 if current.embedder is not None else await self._missing(current))
        return done

    async def _round(self) -> None:
        away: ModelError | None = None
        try:
            if done := await self.embed_all():
                LOG.info("made %d vectors that were missing", done)
        except ModelError as error:
            away = error  # perhaps for good, with a model that is left: the new one's space does not wait for it
        await self._build(gives_way=away is None)
        if away is not None:
            raise away

    async def _build(self, *, gives_way: bool) -> None:
        building = (await self._spaces.read()).building
        if building is None:
            self._note(None)
            return
        async with self._database.unscoped() as connection:
            household_id = self._household.household_id
            alone = building.embedder is not None and await vectors.begin_building(connection, household_id)
            try:
                self._note(await self._look(building))
                if alone and building.embedder is not None:
                    await self._build_alone(building, building.embedder, gives_way)
            finally:
                if alone:
                    await vectors.end_building(connection, household_id)

    async def _build_alone(self, building: ServedSpace, embedder: Embedder, gives_way: bool) -> None:
        """Until every entry has its vector, and then switches. Where it `gives_way` it ends when a round is asked for:
        rows of the space that is searched go first."""
        made = True
        while made:  # what is written while it is looked whether all is there
            made = False
            async for stored in self._make(building, embedder):
                made = True
                if self._progress is not None:
                    done = min(self._progress.done + stored, self._progress.entries)
                    self._note(Progress(building, done, self._progress.entries))
                in_use = await self._spaces.in_use()
                if in_use.building is None or in_use.building.id != building.id:
                    self.wake()  # this one was set aside; perhaps there is another
                    return
                if gives_way and self.wanted:
                    return
            async with self._database.scoped(self._household) as connection:
                switched = await vectors.switch(connection, building.id)
            if switched:
                await self._epoch.refresh()
                await self._spaces.read()
                self._note(None)
                return

    async def _make(self, space: ServedSpace, embedder: Embedder) -> AsyncIterator[int]:
        """Embeds everyone's rows that have no vector in `space`, batch by batch; how many vectors each batch stored."""
        found = True
        while found:  # again from the first row, for those that changed meanwhile
            found = False
            for scope in await self._scopes():
                after = 0
                while True:
                    async with self._database.scoped(scope) as connection:
                        rows = await knowledge.without_vector(
                            connection, space.id, after=after, limit=self._settings.batch_size
                        )
                    if not rows:
                        break
                    found, after = True, rows[-1][0]
                    yield await self._embed(space, embedder, scope, rows)

    async def _embed(
        self, space: ServedSpace, embedder: Embedder, scope: Scope, rows: list[tuple[int, str, int | None]]
    ) -> int:
        texts = [content for _, content, _ in rows]
        try:
            async with asyncio.timeout(self._settings.document_seconds):
                made = await embedder.documents(texts)
        except TimeoutError:
            raise ModelError("The embedding model took too long for a batch.") from None
        kept = [(row, member, vector) for (row, _, member), vector in zip(rows, made, strict=True)]
        async with self._database.scoped(scope) as connection:
            if not await vectors.still_there(connection, space.id):
                return 0
            return await vectors.upsert(connection, space.id, VECTOR_KIND, kept, made_of=texts)

    async def _scopes(self) -> list[Scope]:
        async with self._database.scoped(self._household) as connection:
            return await members.scopes(connection, self._household.household_id)

    async def _look(self, space: ServedSpace) -> Progress:
        async with self._database.scoped(self._household) as connection:
            entries, missing = await vectors.progress(connection, space.id)
        return Progress(space, entries - missing, entries)

    async def _missing(self, space: ServedSpace) -> int:
        looked = await self._look(space)
        return looked.entries - looked.done

    def _note(self, progress: Progress | None) -> None:
        before, self._progress = self._progress, progress
        self._metrics.space_missing.set(0 if progress is None else progress.entries - progress.done)
        if progress is not None and (
            before is None or before.space.id != progress.space.id or before.tenths != progress.tenths
        ):
            LOG.info("%s", progress)
