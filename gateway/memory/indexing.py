"""The vectors' indexes are made when the memory has grown, and dropped when it has shrunk, without an operator."""

from __future__ import annotations

import logging
import time

from gateway.errors import StoreUnavailable
from gateway.memory.rounds import Rounds
from gateway.shapes import Scope
from gateway.store import vector_index
from gateway.store.address import Address
from gateway.store.knowledge import EXACT_ROWS
from gateway.store.pool import Database
from gateway.store.vector_index import IndexMaker, SpaceIndex

LOG = logging.getLogger(__name__)

PAUSE_SECONDS = 600.0  # after one that failed: it would read every vector again, to fail again


class VectorIndexes(Rounds):
    """One task that keeps the indexes of a household's embedding spaces as `gateway.store.vector_index` says.

    `async with` starts and ends it. An index that is being made when it ends is given up, and made anew at the next
    start; so is one whose gateway or database was killed.
    """

    def __init__(
        self,
        database: Database,
        address: Address,
        household_id: int,
        memory_mb: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:
        """`address` is the owner's; making an index may take `memory_mb`. Up to `exact_rows` there need be none."""
        super().__init__("vector indexes", self.keep)
        self._database = database
        self._address = address
        self._household = Scope(household_id)
        self._memory_mb = memory_mb
        self._exact_rows = exact_rows
        self._not_before = 0.0

    async def keep(self) -> None:
        """Makes what is wanted and drops what is useless. Raises StoreUnavailable; the rest waits for a later round."""
        if time.monotonic() < self._not_before:
            return
        if not any(self._to_do(index) for index in await self._indexes()):
            return
        try:
            async with vector_index.index_maker(self._address, self._memory_mb) as maker:
                if maker is not None:
                    await self._keep(maker)
        except StoreUnavailable:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            raise

    async def _keep(self, maker: IndexMaker) -> None:
        for index in await self._indexes():  # anew: another gateway may have been at it until now
            if index.useless(self._exact_rows):
                await maker.drop(index.space)
                LOG.info("dropped the index of the vectors of space %d", index.space)
            if index.wanted(self._exact_rows) and index.dimensions is not None:
                LOG.info(
                    "making an index of the vectors of space %d; until it is there searches are exact", index.space
                )
                begun = time.monotonic()
                await maker.make(index.space, index.dimensions)
                took = time.monotonic() - begun
                LOG.info("made the index of the vectors of space %d in %.0f s", index.space, took)

    def _to_do(self, index: SpaceIndex) -> bool:
        return index.useless(self._exact_rows) or index.wanted(self._exact_rows)

    async def _indexes(self) -> list[SpaceIndex]:
        async with self._database.scoped(self._household) as connection:
            return await vector_index.read(connection, self._exact_rows)
