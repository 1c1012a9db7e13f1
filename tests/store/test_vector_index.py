"""The nearest among many: exact or by an index, never fewer than there are; and the index, kept by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest

from gateway.config import PostgresSettings, Settings
from gateway.errors import StoreUnavailable
from gateway.memory.indexing import VectorIndexes
from gateway.metrics import Metrics
from gateway.shapes import Scope, Space
from gateway.store import knowledge, migrations, vectors
from gateway.store.address import Address
from gateway.store.knowledge import EVERYTHING, Filter, NewKnowledge
from gateway.store.pool import Database
from gateway.store.setup import prepare

WIDTH = 16
FEW = 100  # up to so many these tests search exactly
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def clustered(count: int, seed: int = 5) -> np.ndarray:
    """Vectors of length 1 around 20 of them."""
    chance = np.random.default_rng(seed)
    made = chance.normal(size=(20, WIDTH))[chance.integers(20, size=count)] + chance.normal(size=(count, WIDTH)) * 0.4
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
async def space(database: Database, scope: Scope) -> int:
    async with database.scoped(scope) as connection:
        return await vectors.use_space(connection, Space("m", WIDTH))


@pytest.fixture
def indexes(database: Database, address: Address, scope: Scope) -> VectorIndexes:
    return VectorIndexes(database, address, scope.household_id, memory_mb=16, exact_rows=FEW)


async def store(
    database: Database,
    scope: Scope,
    space: int,
    made: np.ndarray,
    *,
    tags: Sequence[str] = (),
    kind: str = "fact",
    expires_at: datetime | None = None,
) -> list[int]:
    """Entries of the scope's own with these vectors; their ids."""
    async with database.scoped(scope) as connection:
        new = NewKnowledge("x", tags=tags, kind=kind, member_id=scope.member_id, expires_at=expires_at)
        ids = await knowledge.insert_many(connection, [new] * len(made))
        rows = [(row, scope.member_id, vector) for row, vector in zip(ids, made, strict=True)]
        await vectors.upsert(connection, space, "knowledge", rows)
    return ids


async def search(
    database: Database, scope: Scope, space: int, question: np.ndarray, *, only: Filter = EVERYTHING, limit: int = 10
) -> tuple[list[int], list[float], bool]:
    """The ids and cosines of the nearest, and whether the index was asked."""
    counted = "SELECT coalesce(pg_stat_get_xact_numscans(to_regclass(format('vectors_near_%s', $1::bigint))), 0)"
    async with database.scoped(scope) as connection:
        before = await connection.fetchval(counted, space)
        found = await knowledge.nearest(
            connection, space_id=space, embedding=question, limit=limit, only=only, exact_rows=FEW
        )
        by_index = before < await connection.fetchval(counted, space)
    return [entry.id for entry, _ in found], [cosine for _, cosine in found], by_index


def exactly(made: np.ndarray, ids: Sequence[int], question: np.ndarray, limit: int = 10) -> list[int]:
    return [ids[place] for place in np.argsort(-(made @ question))[:limit]]


async def whole(admin: asyncpg.Connection, space: int) -> bool | None:
    """Whether the space's index is there; False: half made."""
    found: bool | None = await admin.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(format('vectors_near_%s', $1::bigint))", space
    )
    return found


@asynccontextmanager
async def held_up(address: Address) -> AsyncIterator[None]:
    """A transaction that was there before: no index is whole until it is over."""
    connection = await address.connect()
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("SELECT count(*) FROM vectors")
            yield
    finally:
        await connection.close()


# --- search ---------------------------------------------------------------------------------------------------------


async def test_many_are_searched_by_the_index_and_ranked_exactly(
    database: Database, scope: Scope, space: int, indexes: VectorIndexes
) -> None:
    made = clustered(2000)
    ids = await store(database, scope, space, made)
    exact = await search(database, scope, space, made[7])
    assert exact[0] == exactly(made, ids, made[7])
    assert not exact[2]
    await indexes.keep()
    hit = 0
    for question in clustered(2050)[2000:]:
        found, cosines, by_index = await search(database, scope, space, question)
        assert by_index
        expected = exactly(made, ids, question)
        hit += len(set(found) & set(expected))
        # Scores are those of the whole vectors, not of their half-precision copies.
        assert cosines == pytest.approx([float(made[ids.index(row)] @ question) for row in found], abs=1e-6)
        assert cosines == sorted(cosines, reverse=True)
    assert hit >= 0.99 * 500


async def test_a_members_few_are_found_among_many_of_anothers(
    database: Database, scope: Scope, member: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    ben = Scope(
        scope.household_id,
        await admin.fetchval("INSERT INTO members (household_id, name) VALUES ($1, 'Ben') RETURNING id", 1),
    )
    made = clustered(1000)
    adas = await store(database, member, space, made)
    # Ben's lie on the other side: whoever asks near Ada's finds hers first, and sees none of them.
    bens = await store(database, ben, space, -made[:15])
    shared = await store(database, scope, space, -made[15:20])
    await indexes.keep()
    for who, seen in [(ben, {*bens, *shared}), (scope, {*shared}), (member, {*adas, *shared})]:
        found, _, by_index = await search(database, who, space, made[3], limit=20)
        assert len(found) == min(20, len(seen))
        assert set(found) <= seen
        assert by_index == (who == member)
    mine = Filter(member=ben.member_id)
    assert set((await search(database, ben, space, made[3], only=mine, limit=20))[0]) == set(bens)
    assert (await search(database, member, space, made[3], only=mine))[0] == []


async def test_another_household_shares_the_table_and_nothing_else(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    made = clustered(300)
    await store(database, scope, space, made)
    other = Scope(await admin.fetchval("INSERT INTO households (name) VALUES ('Other') RETURNING id"))
    async with database.scoped(other) as connection:
        theirs = await vectors.use_space(connection, Space("m", WIDTH))
    ids = await store(database, other, theirs, made[:3])
    await indexes.keep()
    assert set((await search(database, other, theirs, made[0]))[0]) == set(ids)
    for name in (space, theirs):
        assert set((await search(database, other, name, made[0]))[0]) <= set(ids)
    async with database.unscoped() as connection:
        assert (
            await connection.fetch("SELECT * FROM nearest_knowledge($1, $2, 10, $3)", space, made[0], FEW)
            == await connection.fetch("SELECT * FROM vector_indexes(10)")
            == []
        )


@pytest.mark.parametrize(
    "only",
    [
        Filter(tags=["rare"]),
        Filter(kind="rare"),
        Filter(since=datetime.now(UTC) - timedelta(days=1), tags=["rare"]),
        Filter(until=LONG_AGO + timedelta(days=1)),
    ],
)
async def test_a_filter_that_keeps_few_is_exact(
    database: Database, scope: Scope, space: int, indexes: VectorIndexes, admin: asyncpg.Connection, only: Filter
) -> None:
    made, rare = clustered(1000), clustered(12, seed=9)
    await store(database, scope, space, made)
    ids = await store(database, scope, space, rare, tags=["rare", "other"], kind="rare")
    if only.until:
        await admin.execute("UPDATE knowledge SET created_at = $1 WHERE kind = 'rare'", LONG_AGO)
    await indexes.keep()
    for limit in (5, 50):
        found, _, by_index = await search(database, scope, space, made[0], only=only, limit=limit)
        assert found == exactly(rare, ids, made[0], limit)
        assert not by_index


async def test_what_is_kept_far_away_is_found_all_the_same(
    database: Database, scope: Scope, space: int, indexes: VectorIndexes
) -> None:
    """More than a few, and beyond where the index gives up: the list is as long as it can be."""
    chance = np.random.default_rng(3)
    near = np.zeros((12_000, WIDTH), np.float32)
    near[:, :4] = np.abs(chance.normal(size=(12_000, 4)))
    far = -near[:300]
    await store(database, scope, space, near)
    ids = await store(database, scope, space, far, tags=["far"])
    await indexes.keep()
    found, _, by_index = await search(database, scope, space, near[0], only=Filter(tags=["far"]), limit=50)
    assert by_index
    cosines = far @ near[0] / np.linalg.norm(far, axis=1)
    assert found == [ids[place] for place in np.argsort(-cosines)[:50]]


async def test_what_has_expired_is_not_found_by_the_index(
    database: Database, scope: Scope, space: int, indexes: VectorIndexes
) -> None:
    made = clustered(400)
    await store(database, scope, space, made, expires_at=LONG_AGO)
    ids = await store(database, scope, space, made)
    await indexes.keep()
    found, _, by_index = await search(database, scope, space, made[5], limit=50)
    assert by_index
    assert len(found) == 50
    assert set(found) <= set(ids)


async def test_on_the_oldest_server_too(postgres16: Address) -> None:
    """Its planner is another one, and takes the index all the same."""
    address = replace(postgres16, database=f"index_{uuid.uuid4().hex}")
    home = Scope(await prepare(Settings(), address))
    database = await Database.open(address, PostgresSettings(pool_size=2), Metrics())
    try:
        async with database.scoped(home) as connection:
            space = await vectors.use_space(connection, Space("m", WIDTH))
        made = clustered(1000)
        ids = await store(database, home, space, made)
        rare = await store(database, home, space, made[:9], tags=["rare"])
        await VectorIndexes(database, address, home.household_id, memory_mb=16, exact_rows=FEW).keep()
        found, _, by_index = await search(database, home, space, made[20])
        assert by_index
        assert found == exactly(made, ids, made[20])
        found, _, by_index = await search(database, home, space, made[20], only=Filter(tags=["rare"]))
        assert not by_index
        assert found == exactly(made[:9], rare, made[20])
    finally:
        await database.close()


# --- its keeping ----------------------------------------------------------------------------------------------------


async def test_made_when_grown_and_dropped_when_shrunk(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    await store(database, scope, space, clustered(FEW))
    await indexes.keep()
    assert await whole(admin, space) is None
    await store(database, scope, space, clustered(1))
    await indexes.keep()
    assert await whole(admin, space)
    made = await admin.fetchval("SELECT to_regclass(format('vectors_near_%s', $1::bigint))::oid", space)
    await admin.execute("DELETE FROM knowledge WHERE id % 2 = 0")
    await indexes.keep()
    assert made == await admin.fetchval("SELECT to_regclass(format('vectors_near_%s', $1::bigint))::oid", space)
    await admin.execute("DELETE FROM knowledge WHERE id % 4 = 1")
    await indexes.keep()
    assert await whole(admin, space) is None


async def test_dropped_with_its_space(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    await store(database, scope, space, clustered(FEW + 1))
    await indexes.keep()
    async with database.scoped(scope) as connection:
        current = await vectors.use_space(connection, Space("another", WIDTH))
    await indexes.keep()
    assert await whole(admin, space), "one may go back to a retired space"
    await admin.execute("DELETE FROM embedding_spaces WHERE id = $1", space)
    await indexes.keep()
    assert await whole(admin, space) is None
    assert await whole(admin, current) is None


async def test_no_index_takes_vectors_that_wide(
    database: Database, scope: Scope, admin: asyncpg.Connection, indexes: VectorIndexes
) -> None:
    async with database.scoped(scope) as connection:
        wide = await vectors.use_space(connection, Space("wide", 4096))
    await store(database, scope, wide, np.eye(FEW + 1, 4096, dtype=np.float32))
    await indexes.keep()
    assert await whole(admin, wide) is None


async def test_half_made_it_is_made_anew(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    made = clustered(FEW + 50)
    ids = await store(database, scope, space, made)
    await indexes.keep()
    await admin.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(format('vectors_near_%s', $1::bigint))",
        space,
    )
    found = await search(database, scope, space, made[0])
    assert (found[0], found[2]) == (exactly(made, ids, made[0]), False)
    await indexes.keep()
    assert await whole(admin, space)
    assert (await search(database, scope, space, made[0]))[2]


async def test_memory_goes_on_while_it_is_made_and_an_end_gives_it_up(
    database: Database, scope: Scope, admin: asyncpg.Connection, address: Address, space: int, indexes: VectorIndexes
) -> None:
    made = clustered(FEW + 50)
    ids = await store(database, scope, space, made)
    async with held_up(address):
        async with indexes:
            while await whole(admin, space) is None:
                await asyncio.sleep(0.01)
            ids += await store(database, scope, space, made[:1])
            assert set((await search(database, scope, space, made[0], limit=2))[0]) == {ids[0], ids[-1]}
            another = VectorIndexes(database, address, scope.household_id, memory_mb=16, exact_rows=FEW)
            await another.keep()  # returns: it leaves the making to the first
            assert await whole(admin, space) is False
        assert await whole(admin, space) is False
        assert not await admin.fetch("SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND pid <> $1", 0)
    async with indexes:
        while not await whole(admin, space):
            await asyncio.sleep(0.01)
    assert set((await search(database, scope, space, made[0], limit=2))[0]) == {ids[0], ids[-1]}


async def test_the_migration_taken_back_leaves_none(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    await store(database, scope, space, clustered(FEW + 1))
    await indexes.keep()
    await admin.execute(next(migration.down for migration in migrations.read() if migration.name == "vector_index"))
    assert await whole(admin, space) is None


async def test_one_that_fails_is_not_tried_at_every_round(
    database: Database, scope: Scope, admin: asyncpg.Connection, space: int, indexes: VectorIndexes
) -> None:
    await store(database, scope, space, clustered(FEW + 1))
    await admin.execute(f"CREATE TABLE vectors_near_{space} ()")
    with pytest.raises(StoreUnavailable, match="already exists"):
        await indexes.keep()
    await admin.execute(f"DROP TABLE vectors_near_{space}")
    await indexes.keep()
    assert await whole(admin, space) is None
