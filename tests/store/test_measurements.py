"""What sensors told, in SQL."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.shapes import Scope
from gateway.store import measurements
from gateway.store.measurements import Change, Reading
from gateway.store.pool import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


async def keep(database: Database, scope: Scope, *readings: tuple[float, float | str]) -> tuple[int, int]:
    async with database.scoped(scope) as connection:
        return await measurements.keep(
            connection, [Reading("a", minutes(at), value) for at, value in readings], scope.member_id
        )


async def test_the_epoch_does_not_move(database: Database, admin: asyncpg.Connection, scope: Scope) -> None:
    before = await admin.fetchval("SELECT memory_epoch FROM households WHERE id = $1", scope.household_id)
    assert await keep(database, scope, (0, 1.0), (1, "on")) == (2, 0)
    async with database.scoped(scope) as connection:
        assert await measurements.delete(connection, "a", None, None) == 2
    assert await admin.fetchval("SELECT memory_epoch FROM households WHERE id = $1", scope.household_id) == before


async def test_the_last_told_of_one_time_is_kept(database: Database, scope: Scope) -> None:
    assert await keep(database, scope, (0, 1.0), (0, 2.0), (0, "on"), (0, "off")) == (2, 0)
    assert await keep(database, scope, (0, 2.0), (0, "off")) == (0, 0)
    assert await keep(database, scope, (0, 3.0), (0, "on")) == (0, 2)
    async with database.scoped(scope) as connection:
        found = await measurements.summary(connection, "a", NOON, minutes(1))
        assert found is not None
        assert (found.count, found.last.value) == (1, 3)
        state = await measurements.state_at(connection, "a", minutes(5))
        assert state is not None
        assert state.state == "on"


async def test_a_summary_against_one_made_by_hand(database: Database, scope: Scope) -> None:
    chance = random.Random(5)
    told = sorted({chance.randrange(0, 600): chance.uniform(-20, 40) for _ in range(200)}.items())
    await keep(database, scope, *((float(at), value) for at, value in told))
    since, until = 100, 500
    inside = [(at, value) for at, value in told if since <= at < until]
    ends = [at for at, _ in inside[1:]] + [until]
    mean = sum(value * (end - at) for (at, value), end in zip(inside, ends, strict=True)) / (until - inside[0][0])
    async with database.scoped(scope) as connection:
        found = await measurements.summary(connection, "a", minutes(since), minutes(until))
        assert found is not None
        assert found.count == len(inside)
        assert (found.lowest.time, found.lowest.value) == min(
            ((minutes(at), value) for at, value in inside), key=lambda pair: pair[1]
        )
        assert found.highest.value == max(value for _, value in inside)
        assert found.last.time == minutes(inside[-1][0])
        assert found.mean == pytest.approx(mean)
        assert await measurements.summary(connection, "a", minutes(700), minutes(800)) is None
        assert await measurements.summary(connection, "b", minutes(0), minutes(800)) is None


async def test_the_value_at_a_time(database: Database, scope: Scope) -> None:
    await keep(database, scope, (0, 1.0), (10, 2.0))
    hour = timedelta(hours=1)
    async with database.scoped(scope) as connection:
        for at, value in [(-1, None), (0, 1), (9, 1), (10, 2), (69, 2), (70, None)]:
            found = await measurements.measured_at(connection, "a", minutes(at), hour)
            assert (found.value if found else None) == value


async def test_changes_and_the_last_of_them(database: Database, scope: Scope) -> None:
    await keep(database, scope, (0, "off"), (1, "on"), (2, "on"), (3, "Off"), (4, "off"), (5, "on"), (6, "idle"))
    async with database.scoped(scope) as connection:

        async def last(*states: str, since: float | None = None, until: float = 60) -> float | None:
            found: Change | None = await measurements.last_change(
                connection, "a", states, None if since is None else minutes(since), minutes(until)
            )
            return None if found is None else (found.time - NOON) / timedelta(minutes=1)

        seen = await measurements.changes(connection, "a", minutes(0), minutes(60), 10)
        assert [(change.time, change.state) for change in seen] == [
            (minutes(at), state)
            for at, state in [(0, "off"), (1, "on"), (3, "Off"), (4, "off"), (5, "on"), (6, "idle")]
        ]
        assert len(await measurements.changes(connection, "a", minutes(0), minutes(60), 2)) == 2
        assert await last("on") == 5
        assert await last("on", until=5) == 1
        assert await last("off") == 3  # told again, and in other letters: it was off since then
        assert await last("off", "idle") == 6
        assert await last("off", since=4) is None
        assert await last("off", until=3) is None  # what was told first is no change
        assert await last("open") is None


async def test_entities_are_found_by_steps_in_the_index(
    database: Database, admin: asyncpg.Connection, scope: Scope, member: Scope
) -> None:
    await admin.execute(
        """
        INSERT INTO measurements (household_id, entity, time, value)
        SELECT $1, 'sensor.' || s, now() - make_interval(mins => t), t
        FROM generate_series(1, 20) s, generate_series(1, 500) t
        """,
        scope.household_id,
    )
    await keep(database, member, (0, 1.0))
    await admin.execute("ANALYZE measurements")
    async with database.scoped(scope) as connection:
        assert len(await measurements.entities(connection)) == 20
    async with database.scoped(member) as connection:
        assert len(await measurements.entities(connection)) == 21
        plan = await connection.fetch(
            """
            EXPLAIN SELECT entity FROM measurements m WHERE m.entity > 'sensor.1' ORDER BY m.entity LIMIT 1
            """
        )
        assert any("entity > 'sensor.1'" in row[0] and "Index Cond" in row[0] for row in plan)
