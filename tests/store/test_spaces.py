"""Embedding spaces as the database keeps them: which one is searched, which is built, and when they change places."""

from __future__ import annotations

from typing import Any

import asyncpg
import numpy as np
import pytest

from gateway.errors import Conflict, NotFound
from gateway.shapes import Scope, Space
from gateway.store import households, knowledge, vectors
from gateway.store.pool import Database

OLD, NEW, THIRD = Space("old", 3), Space("new", 4), Space("third", 5)


async def settle(database: Database, scope: Scope, space: Space) -> str:
    async with database.scoped(scope) as connection:
        return await vectors.settle(connection, space)


async def give(database: Database, scope: Scope, space: Space, rows: dict[int, int | None]) -> None:
    """Vectors for these entries, each with its owner."""
    async with database.scoped(scope) as connection:
        space_id = await connection.fetchval("SELECT id FROM embedding_spaces WHERE model = $1", space.model)
        vector = np.ones(space.dimensions, np.float32)
        made: Any = [(row, owner, vector) for row, owner in rows.items()]
        await vectors.upsert(connection, space_id, "knowledge", made)


async def states(admin: asyncpg.Connection) -> dict[str, str]:
    rows = await admin.fetch("SELECT model, state FROM embedding_spaces WHERE household_id = 1")
    return {row["model"]: row["state"] for row in rows}


async def ids(admin: asyncpg.Connection) -> dict[str, int]:
    return {row["model"]: row["id"] for row in await admin.fetch("SELECT model, id FROM embedding_spaces")}


async def test_the_first_space_is_current_at_once(database: Database, scope: Scope, admin: asyncpg.Connection) -> None:
    for _ in range(2):
        assert await settle(database, scope, OLD) == "current"
    assert await states(admin) == {"old": "current"}


async def test_without_entries_there_is_nothing_to_build(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    await settle(database, scope, OLD)
    assert await settle(database, scope, NEW) == "current"
    assert await states(admin) == {"old": "retired", "new": "current"}


async def test_another_space_is_built_until_nobodys_entry_is_missing(
    database: Database, scope: Scope, member: Scope, admin: asyncpg.Connection
) -> None:
    await settle(database, scope, OLD)
    async with database.scoped(member) as connection:
        shared = await knowledge.insert(connection, content="shared")
        own = await knowledge.insert(connection, content="own", member_id=member.member_id)
    assert await settle(database, scope, NEW) == "building"
    assert await settle(database, scope, NEW) == "building"
    new = (await ids(admin))["new"]
    await give(database, scope, NEW, {shared.id: None})
    async with database.scoped(scope) as connection:
        assert [one.space for one in await vectors.in_use(connection)] == [OLD, NEW]
        assert await vectors.progress(connection, new) == (2, 1)
        assert not await vectors.switch(connection, new), "the household cannot see Ada's own, and waits for it"
    await give(database, member, NEW, {own.id: member.member_id})
    async with database.scoped(scope) as connection:
        assert await vectors.progress(connection, new) == (2, 0)
        assert await vectors.switch(connection, new)
        assert not await vectors.switch(connection, new), "done already"
        assert [one.space for one in await vectors.in_use(connection)] == [NEW]
    assert await states(admin) == {"old": "retired", "new": "current"}


async def test_settings_that_change_again_end_the_first_change(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        entry = await knowledge.insert(connection, content="x")
    await give(database, scope, OLD, {entry.id: None})
    await settle(database, scope, NEW)
    assert await settle(database, scope, THIRD) == "building"
    assert await states(admin) == {"old": "current", "new": "retired", "third": "building"}
    assert await settle(database, scope, OLD) == "current"
    assert await states(admin) == {"old": "current", "new": "retired", "third": "retired"}


async def test_one_that_is_whole_still_is_switched_to_at_once(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        entry = await knowledge.insert(connection, content="x")
    await give(database, scope, OLD, {entry.id: None})
    assert await settle(database, scope, NEW) == "building"
    await give(database, scope, NEW, {entry.id: None})
    assert await settle(database, scope, NEW) == "current"
    assert await settle(database, scope, OLD) == "current"
    assert await states(admin) == {"old": "current", "new": "retired"}


async def test_one_set_aside_stays_so_while_the_settings_name_it(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="x")
    await settle(database, scope, NEW)
    numbers = await ids(admin)
    await vectors.go_to(admin, scope.household_id, numbers["old"])
    assert await states(admin) == {"old": "current", "new": "set_aside"}
    assert await settle(database, scope, NEW) == "set_aside"
    await vectors.go_to(admin, scope.household_id, numbers["new"])
    assert await states(admin) == {"old": "set_aside", "new": "current"}
    assert await settle(database, scope, NEW) == "current"
    assert await states(admin) == {"old": "retired", "new": "current"}, "the settings and the operator agree again"


async def test_dropping(database: Database, scope: Scope, admin: asyncpg.Connection) -> None:
    home = scope.household_id
    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        entry = await knowledge.insert(connection, content="x")
    await give(database, scope, OLD, {entry.id: None})
    await settle(database, scope, NEW)
    numbers = await ids(admin)
    for name, why in (("old", "is searched"), ("new", "is being built")):
        with pytest.raises(Conflict, match=why):
            await vectors.drop(admin, home, numbers[name])
    await give(database, scope, NEW, {entry.id: None})
    await settle(database, scope, NEW)
    [old, new] = await vectors.sizes(admin, home)
    assert (old.stored.space, old.stored.state, old.vectors, old.missing) == (OLD, "retired", 1, 0)
    assert (new.stored.space, new.stored.state, new.vectors, new.missing) == (NEW, "current", 1, 0)
    assert old.bytes < new.bytes < 300
    async with database.scoped(scope) as connection:
        assert await vectors.still_there(connection, numbers["old"])
    await vectors.drop(admin, home, numbers["old"])
    async with database.scoped(scope) as connection:
        assert not await vectors.still_there(connection, numbers["old"])
    assert await states(admin) == {"new": "current"}
    assert await admin.fetchval("SELECT count(*) FROM vectors") == 1
    for act in (vectors.drop, vectors.go_to):
        with pytest.raises(NotFound, match="no space"):
            await act(admin, home, numbers["old"])


async def test_nobody_reaches_into_another_household(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    other = Scope(await admin.fetchval("INSERT INTO households (name) VALUES ('Other') RETURNING id"))
    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        await knowledge.insert(connection, content="x")
    await settle(database, scope, NEW)
    assert await settle(database, other, THIRD) == "current"
    new = (await ids(admin))["new"]
    async with database.scoped(other) as connection:
        assert await vectors.progress(connection, new) == (0, 0)
        assert not await vectors.switch(connection, new)
        assert not await vectors.still_there(connection, new)
        assert [one.space for one in await vectors.in_use(connection)] == [THIRD]
    for act in (vectors.drop, vectors.go_to):
        with pytest.raises(NotFound):
            await act(admin, other.household_id, new)
    assert [size.stored.space for size in await vectors.sizes(admin, other.household_id)] == [THIRD]
    assert await states(admin) == {"old": "current", "new": "building"}


async def test_one_builds_at_a_time(database: Database, scope: Scope) -> None:
    home = scope.household_id
    async with database.unscoped() as one, database.unscoped() as two:
        assert await vectors.begin_building(one, home)
        assert not await vectors.begin_building(two, home)
        assert await vectors.begin_building(two, home + 1)
        await vectors.end_building(one, home)
        assert await vectors.begin_building(two, home)
        await vectors.end_building(two, home)
        await vectors.end_building(two, home + 1)


async def test_only_what_is_searched_moves_the_epoch(database: Database, scope: Scope) -> None:
    async def epoch() -> int:
        async with database.scoped(scope) as connection:
            moment = await households.moment(connection)
        assert moment is not None
        return moment.epoch

    await settle(database, scope, OLD)
    async with database.scoped(scope) as connection:
        entry = await knowledge.insert(connection, content="x")
        await knowledge.insert(connection, content="y")
    await settle(database, scope, NEW)
    before = await epoch()
    await give(database, scope, NEW, {entry.id: None})
    async with database.scoped(scope) as connection:
        await connection.execute("UPDATE vectors SET embedding = '[4,3,2,1]'")
        await connection.execute("DELETE FROM vectors")
    assert await epoch() == before
    await give(database, scope, OLD, {entry.id: None})
    assert (after := await epoch()) > before
    async with database.scoped(scope) as connection:
        await connection.execute("UPDATE vectors SET embedding = '[3,2,1]'")
    assert (changed := await epoch()) > after
    async with database.scoped(scope) as connection:
        await connection.execute("DELETE FROM vectors")
    assert (gone := await epoch()) > changed
    assert await settle(database, scope, NEW) == "building"
    assert await epoch() == gone
