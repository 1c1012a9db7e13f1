"""The memory epoch moves when durable memory changes, and only then; and is unknown rather than wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest

from gateway.shapes import Scope, Space
from gateway.store import (
    cache,
    conversations,
    households,
    knowledge,
    preferences,
    training,
    vectors,
)
from gateway.store.address import Address
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database
from tests.store.conftest import until

SPACE = Space("m", 3)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Change = Callable[[asyncpg.Connection, "Ids"], Awaitable[object]]


@dataclass(frozen=True)
class Ids:
    knowledge: int
    preference: int
    space: int


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


MOVES: dict[str, Change] = {
    "knowledge added": lambda c, i: knowledge.insert(c, content="new"),
    "many added": lambda c, i: knowledge.insert_many(c, [knowledge.NewKnowledge("a"), knowledge.NewKnowledge("b")]),
    "content": lambda c, i: knowledge.update(c, i.knowledge, content="other"),
    "tags": lambda c, i: knowledge.update(c, i.knowledge, tags=["x"]),
    "source": lambda c, i: knowledge.update(c, i.knowledge, source="x"),
    "kind": lambda c, i: knowledge.update(c, i.knowledge, kind="x"),
    "pinned": lambda c, i: knowledge.update(c, i.knowledge, pinned=True),
    "expiry": lambda c, i: knowledge.update(c, i.knowledge, expires_at=NOW),
    "owner": lambda c, i: c.execute("UPDATE knowledge SET member_id = (SELECT current_member())"),
    "knowledge deleted": lambda c, i: knowledge.delete(c, i.knowledge),
    "preference set": lambda c, i: preferences.put(c, key="new", value=1),
    "preference changed": lambda c, i: preferences.put(c, key="k", value=2),
    "preference's category": lambda c, i: preferences.update(c, i.preference, category="x"),
    "preference deleted": lambda c, i: preferences.delete(c, i.preference),
    "vector came late": lambda c, i: vectors.upsert(
        c, i.space, "knowledge", [(i.knowledge + 1, None, vector(1, 2, 3))]
    ),
    "vector changed": lambda c, i: vectors.upsert(c, i.space, "knowledge", [(i.knowledge, None, vector(3, 2, 1))]),
    "another space": lambda c, i: vectors.use_space(c, Space("other", 3)),
}
STAYS: dict[str, Change] = {
    "confidence": lambda c, i: knowledge.update(c, i.knowledge, confidence=0.5),
    "recalled": lambda c, i: c.execute("UPDATE knowledge SET last_recalled_at = now()"),
    "nothing changed": lambda c, i: knowledge.update(c, i.knowledge, content="The bins go out on Tuesday"),
    "the same preference": lambda c, i: preferences.put(c, key="k", value=1),
    "the same vector": lambda c, i: vectors.upsert(c, i.space, "knowledge", [(i.knowledge, None, vector(1, 2, 3))]),
    "the same space": lambda c, i: vectors.use_space(c, SPACE),
    "nothing found": lambda c, i: c.execute("DELETE FROM knowledge WHERE false"),
    "a turn": lambda c, i: conversations.insert(c, [conversations.Said("t", "s", None, "user", "hi", None, None, NOW)]),
    "a cached answer": lambda c, i: cache.put(c, [cache.CacheRow("h", "q", "r", 1)], 1, 10),
    "feedback": lambda c, i: training.upsert_feedback(c, "turn", 5),
    "reading": lambda c, i: knowledge.nearest(c, space_id=i.space, embedding=vector(1, 0, 0), limit=1),
}
BY_THE_OWNER = {
    "the household's name": ("UPDATE households SET name = 'x' WHERE id = 1", True),
    "the household's settings": ("UPDATE households SET settings = '{\"a\": 1}' WHERE id = 1", True),
    "a member's name": ("UPDATE members SET name = 'Bea'", True),
    "a member's token": ("UPDATE members SET token_hash = sha256('x')", False),
    "everything thrown away": ("TRUNCATE knowledge", True),
    "another household's memory": (
        "INSERT INTO households (name) VALUES ('x'); INSERT INTO knowledge (household_id, content) VALUES (2, 'x')",
        False,
    ),
}


@pytest.fixture
async def ids(database: Database, scope: Scope, member: Scope) -> Ids:
    async with database.scoped(scope) as connection:
        space = await vectors.use_space(connection, SPACE)
        known = await knowledge.insert(connection, content="The bins go out on Tuesday")
        liked, _ = await preferences.put(connection, key="k", value=1)
        await vectors.upsert(connection, space, "knowledge", [(known.id, None, vector(1, 2, 3))])
        said = [conversations.Said("turn", "s", None, role, "hi", None, None, NOW) for role in ("user", "assistant")]
        await conversations.insert(connection, said)
    return Ids(known.id, liked.id, space)


async def epoch(database: Database, scope: Scope) -> int:
    async with database.scoped(scope) as connection:
        found = await households.moment(connection)
    assert found is not None
    return found.epoch


@pytest.mark.parametrize(
    "change,moves",
    [(c, True) for c in MOVES.values()] + [(c, False) for c in STAYS.values()],
    ids=[*MOVES, *STAYS],
)
async def test_what_moves_it(database: Database, member: Scope, ids: Ids, change: Change, moves: bool) -> None:
    before = await epoch(database, member)
    async with database.scoped(member) as connection:
        await change(connection, ids)
    assert (await epoch(database, member) > before) == moves


@pytest.mark.parametrize("statement,moves", BY_THE_OWNER.values(), ids=BY_THE_OWNER)
async def test_what_the_owner_does_counts_too(
    admin: asyncpg.Connection, database: Database, scope: Scope, ids: Ids, statement: str, moves: bool
) -> None:
    before = await epoch(database, scope)
    await admin.execute(statement)
    assert (await epoch(database, scope) > before) == moves


async def test_it_moves_with_the_change_and_not_without(database: Database, scope: Scope) -> None:
    before = await epoch(database, scope)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with database.scoped(scope) as connection:
            await knowledge.insert(connection, content="x")
            raise ZeroDivisionError
    assert await epoch(database, scope) == before


@pytest.fixture
async def watch(address: Address, household_id: int) -> AsyncIterator[EpochWatch]:
    async with EpochWatch(address, household_id) as watch:
        yield watch


async def write(database: Database, scope: Scope) -> int:
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="x")
        found = await households.moment(connection)
    assert found is not None
    return found.epoch


async def test_the_watch_knows_it_at_once_and_follows_others(
    watch: EpochWatch, database: Database, scope: Scope
) -> None:
    await watch.refresh()
    assert watch.current() == 1
    written = await write(database, scope)
    await until(lambda: watch.current() == written)


async def test_after_a_refresh_ones_own_write_is_seen(watch: EpochWatch, database: Database, scope: Scope) -> None:
    for _ in range(20):
        written = await write(database, scope)
        await watch.refresh()
        assert watch.current() == written


async def test_a_change_is_announced(address: Address, database: Database, scope: Scope, household_id: int) -> None:
    """Without a read of its own: nothing reads here after the start."""
    watch = EpochWatch(address, household_id)
    await watch._connect()
    await watch.refresh()
    written = await write(database, scope)
    await until(lambda: watch._moment is not None and watch._moment.epoch == written)
    await watch.close()


async def test_it_is_unknown_when_the_last_read_is_old(watch: EpochWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    await watch.refresh()
    assert watch.current() is not None
    monkeypatch.setattr("gateway.store.epoch.CONFIRMED_SECONDS", -1.0)
    assert watch.current() is None


async def test_it_is_unknown_while_held(watch: EpochWatch) -> None:
    await watch.refresh()
    watch.hold("journal")
    watch.hold("import")
    watch.release("journal")
    assert watch.current() is None
    watch.release("import")
    watch.release("import")
    await watch.refresh()
    assert watch.current() == 1


async def test_it_is_unknown_while_postgresql_is_away_and_known_again_after(
    watch: EpochWatch, postgres: Address, address: Address
) -> None:
    owner = await postgres.connect()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ai-gateway epoch'"
    await watch.refresh()
    assert watch.current() == 1
    await owner.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS false")
    await owner.execute(f"{cut} AND datname = $1", address.database)
    await watch.refresh()
    assert watch.current() is None
    await watch.refresh()
    assert watch.current() is None
    await owner.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS true")
    await until(lambda: watch.current() == 1)
    await owner.close()


async def test_a_cancelled_refresh_leaves_it_unknown(watch: EpochWatch, admin: asyncpg.Connection) -> None:
    """A write may be committed; nobody may answer as if it were not."""
    await watch.refresh()
    async with admin.transaction():
        await admin.execute("LOCK TABLE households IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(watch.refresh())
        await until(watch._reading.locked)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert watch.current() is None
    await until(lambda: watch.current() == 1)


async def test_it_starts_without_postgresql(address: Address, tmp_path: object, household_id: int) -> None:
    watch = EpochWatch(Address(str(tmp_path), 1, "x", "", "x"), household_id)
    await watch.start()
    await watch.refresh()
    assert watch.current() is None
    await watch.close()
    await watch.close()


async def test_a_household_that_is_not_there(address: Address) -> None:
    async with EpochWatch(address, 10**6) as watch:
        await watch.refresh()
        assert watch.current() is None


async def test_expiry_is_no_write(database: Database, scope: Scope) -> None:
    """The cache asks for the next expiry instead."""
    later = datetime.now(UTC) + timedelta(hours=1)
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="gone", expires_at=NOW)
        assert await knowledge.next_expiry(connection) is None
        await knowledge.insert(connection, content="x", expires_at=later)
        assert await knowledge.next_expiry(connection) == later
