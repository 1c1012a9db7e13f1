"""The pool: bounded, honest about why it cannot serve, and clean after whatever a caller does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from gateway.config import PostgresSettings
from gateway.errors import PoolExhausted, StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import households, knowledge
from gateway.store.address import Address
from gateway.store.pool import Database
from tests.store.conftest import until


@pytest.fixture
def postgres_settings() -> PostgresSettings:
    return PostgresSettings(pool_size=2, acquire_seconds=0.05, statement_seconds=1)


async def test_who_asks(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        assert await connection.fetchval("SELECT current_user") == "ai_gateway"
        assert await connection.fetchval("SHOW statement_timeout") == "1s"
        assert await households.moment(connection) == (1, 1)
    async with database.unscoped() as connection:
        assert await households.moment(connection) is None
    await database.check()


async def test_a_request_waits_its_bound_and_is_told_when_to_come_again(database: Database, scope: Scope) -> None:
    async with database.scoped(scope), database.scoped(scope):
        assert database.stats().in_use == 2
        waiting = asyncio.create_task(database.check())
        await until(lambda: database.stats().waiting == 1)
        with pytest.raises(PoolExhausted) as told:
            await waiting
        assert (told.value.status, told.value.retry_after) == (503, 1)
    assert database.stats().in_use == database.stats().waiting == 0
    await database.check()


async def test_many_at_once_take_turns(address: Address, scope: Scope) -> None:
    metrics = Metrics()
    database = await Database.open(address, PostgresSettings(pool_size=2, acquire_seconds=60), metrics)
    busiest = 0

    async def work() -> None:
        nonlocal busiest
        async with database.scoped(scope) as connection:
            busiest = max(busiest, database.stats().in_use)
            await knowledge.insert(connection, content="x")

    await asyncio.gather(*(work() for _ in range(50)))
    assert busiest == 2
    async with database.scoped(scope) as connection:
        assert await knowledge.count(connection) == 50
        assert 'gateway_pool_connections{state="in_use"} 1.0' in metrics.render().decode()
    await database.close()


async def test_an_error_of_the_caller_takes_everything_back(database: Database, scope: Scope) -> None:
    for error in (ConnectionResetError("the client went away"), ValueError("x")):
        with pytest.raises(type(error)):  # noqa: PT012 - and it is not taken for PostgreSQL's
            async with database.scoped(scope) as connection:
                await knowledge.insert(connection, content="x")
                raise error
    async with database.scoped(scope) as connection:
        assert await knowledge.count(connection) == 0


async def test_an_error_of_a_statement_passes(database: Database, scope: Scope) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.scoped(scope) as connection:
            await knowledge.insert(connection, content="")


async def test_a_swallowed_error_is_not_a_success(database: Database, scope: Scope) -> None:
    with pytest.raises(RuntimeError, match="nothing was written"):  # noqa: PT012
        async with database.scoped(scope) as connection:
            await knowledge.insert(connection, content="x")
            with pytest.raises(asyncpg.CheckViolationError):
                await knowledge.insert(connection, content="")


async def test_a_cancelled_caller_gives_its_connection_back(database: Database, scope: Scope) -> None:
    entered = asyncio.Event()

    async def slow() -> None:
        async with database.scoped(scope) as connection:
            await knowledge.insert(connection, content="x")
            entered.set()
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(3):
        entered.clear()
        task = asyncio.create_task(slow())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.scoped(scope) as one, database.scoped(scope) as another:
        assert await knowledge.count(one) == await knowledge.count(another) == 0


async def test_a_statement_over_its_time(database: Database, scope: Scope) -> None:
    with pytest.raises(StoreUnavailable):
        async with database.scoped(scope) as connection:
            await connection.execute("SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)")
    await database.check()


async def test_a_connection_that_is_cut(database: Database, scope: Scope, admin: asyncpg.Connection) -> None:
    with pytest.raises(StoreUnavailable) as told:  # noqa: PT012
        async with database.scoped(scope) as connection:
            process = connection.get_server_pid()
            await admin.execute("SELECT pg_terminate_backend($1)", process)
            await connection.fetchval("SELECT 1")
    assert told.value.retry_after == 1
    await database.check()


async def test_a_database_that_is_gone(address: Address, database: Database, postgres: Address, scope: Scope) -> None:
    owner = await postgres.connect()
    await owner.execute(f"DROP DATABASE {address.database} WITH (FORCE)")
    await owner.close()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            async with database.scoped(scope):
                pytest.fail("there is no database to be in")
        with pytest.raises(StoreUnavailable):
            await database.check()


async def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await Database.open(Address(str(tmp_path), 5432, "x", "", "x"), PostgresSettings(), Metrics())


async def test_closing_does_not_wait_for_ever(address: Address, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.pool.GRACE_SECONDS", 0.01)
    database = await Database.open(address, PostgresSettings(), Metrics())
    with pytest.raises(StoreUnavailable):
        async with database.scoped(scope):
            await database.close()
