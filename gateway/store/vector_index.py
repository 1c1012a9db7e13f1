"""The index of an embedding space: whether it is worth having, and its making and dropping while the gateway serves.

A search looks at all rows while they are few; among many an HNSW index over half-precision copies of the space's
vectors finds the nearest (`nearest_knowledge` in the migrations chooses). The gateway makes it by itself, with the
rights of the schema's owner, and nobody who reads or writes waits for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from gateway.errors import StoreUnavailable
from gateway.store.address import CONNECTION_ERRORS, Address

MOST_DIMENSIONS = 4000  # of an index over halfvec
SEARCHED = ("current", "building")  # states of spaces that are searched, or will be
LOCK = 0x6169_6769  # one gateway makes indexes, the others go on
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SpaceIndex:
    """A space, how many vectors it has (as far as they were counted), and whether its index is there (`whole`; None:
    there is none, False: half made). Of a space that is gone `dimensions`, `state` and `vectors` are None."""

    space: int
    dimensions: int | None
    state: str | None
    vectors: int | None
    whole: bool | None

    def wanted(self, exact_rows: int) -> bool:
        """Whether an index should be made: there is none, and more vectors than an exact search is quick for."""
        return (
            not self.whole
            and self.state in SEARCHED
            and self.dimensions is not None
            and self.dimensions <= MOST_DIMENSIONS
            and (self.vectors or 0) > exact_rows
        )

    def useless(self, exact_rows: int) -> bool:
        """Whether there is an index to be dropped: half made, of a space that is gone, or of not half as many vectors
        as it takes to make one (so that it does not come and go with a few entries)."""
        return self.whole is False or (self.whole is True and (self.vectors or 0) < exact_rows / 2)


async def read(connection: asyncpg.Connection, exact_rows: int) -> list[SpaceIndex]:
    """The household's spaces with their indexes, and indexes left of spaces that are gone. Vectors are counted up to
    one over `exact_rows`."""
    return [SpaceIndex(**row) for row in await connection.fetch("SELECT * FROM vector_indexes($1)", exact_rows + 1)]


class IndexMaker:
    """Makes and drops indexes; see `index_maker`."""

    def __init__(self, owner: asyncpg.Connection) -> None:
        self._owner = owner

    async def make(self, space: int, dimensions: int) -> None:
        """Makes the index of a space of this width. What ends it half-way leaves a half-made index, to be dropped."""
        await self._owner.execute(
            f"CREATE INDEX CONCURRENTLY {_name(space)} ON public.vectors"
            f" USING hnsw ((embedding::public.halfvec({dimensions:d})) public.halfvec_cosine_ops)"
            f" WHERE space_id = {space:d} AND kind = 'knowledge'"
        )

    async def drop(self, space: int) -> None:
        """Drops the index of a space, where there is one."""
        await self._owner.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{_name(space)}")


@asynccontextmanager
async def index_maker(address: Address, memory_mb: int) -> AsyncIterator[IndexMaker | None]:
    """Makes indexes as the owner of the schema at `address`; None while another gateway does (or the server still works
    for one that was killed).

    A build takes up to `memory_mb` and one processor: the rest of the machine belongs to those who speak. Cancelled, it
    ends on the server too. Raises StoreUnavailable where PostgreSQL is away or cannot do it, for a full disk, say.
    """
    try:
        owner = await address.connect(
            server_settings={
                "application_name": "ai-gateway indexes",
                "maintenance_work_mem": f"{memory_mb:d}MB",
                "max_parallel_maintenance_workers": "0",
                "statement_timeout": "0",
            }
        )
        try:
            free = await owner.fetchval("SELECT pg_try_advisory_lock($1)", LOCK)
            yield IndexMaker(owner) if free else None
        finally:
            try:
                await owner.close(timeout=CLOSE_SECONDS)
            except (*CONNECTION_ERRORS, TimeoutError):
                owner.terminate()
    except (*CONNECTION_ERRORS, TimeoutError) as error:
        raise StoreUnavailable(f"the indexes of the vectors cannot be kept: {error}", retry_after=5) from error


def _name(space: int) -> str:
    return f"vectors_near_{space:d}"
