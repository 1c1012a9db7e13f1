"""Making an external server ready: one with passwords, where nothing is there yet, by several starts at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from gateway.config import PostgresSettings, Settings
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.store import setup
from gateway.store.address import Address
from gateway.store.pool import Database
from gateway.store.server import EmbeddedServer
from tests.store.conftest import QUICK

SETTINGS = Settings(postgres=PostgresSettings(start_seconds=5))


@pytest.fixture
async def strict(run_folder: Path) -> AsyncIterator[Address]:
    """A server that asks for passwords, as the household's own does."""
    folder = run_folder / f"strict-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    rules = folder / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    async with EmbeddedServer(folder / "postgres", options=[*QUICK, f"hba_file={rules}"]) as server:
        owner = await replace(server.address, database="postgres").connect()
        await owner.execute("CREATE ROLE ai_assistant SUPERUSER LOGIN PASSWORD 'a secret'")
        await owner.close()
        yield replace(server.address, user="ai_assistant", password="a secret", database="ai_assistant")


async def test_the_serving_role_gets_its_password_when_it_needs_one(strict: Address) -> None:
    households = await asyncio.gather(*(setup.prepare(SETTINGS, strict) for _ in range(3)))
    assert households == [1, 1, 1]
    await (await Database.open(strict, PostgresSettings(), Metrics())).close()

    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ai_gateway'"
    owner = await strict.connect()
    before = await owner.fetchval(stored)
    assert await setup.prepare(SETTINGS, strict) == 1
    assert await owner.fetchval(stored) == before  # another gateway's connections go on working
    await owner.execute("ALTER ROLE ai_gateway PASSWORD 'something else'")
    assert await setup.prepare(SETTINGS, strict) == 1
    await (await Database.open(strict, PostgresSettings(), Metrics())).close()

    await owner.execute("ALTER ROLE ai_assistant PASSWORD 'a new secret'")
    assert await setup.prepare(SETTINGS, replace(strict, password="a new secret")) == 1
    await owner.close()


async def test_it_says_what_is_wrong(strict: Address) -> None:
    with pytest.raises(StartError, match="does not let ai_assistant in"):
        await setup.prepare(SETTINGS, replace(strict, password="wrong"))
    owner = await replace(strict, database="postgres").connect()
    await owner.execute("CREATE ROLE little LOGIN PASSWORD 'x'")
    with pytest.raises(StartError, match="missing and could not be made"):
        await setup.prepare(SETTINGS, replace(strict, user="little", password="x", database="none"))
    with pytest.raises(StartError, match="could not be prepared as little: permission denied"):
        await setup.prepare(SETTINGS, replace(strict, user="little", password="x", database="postgres"))
    await owner.close()


async def test_a_database_closed_to_the_public(strict: Address) -> None:
    owner = await replace(strict, database="postgres").connect()
    await owner.execute("CREATE DATABASE ai_assistant")
    await owner.execute("REVOKE CONNECT ON DATABASE ai_assistant FROM PUBLIC")
    assert await setup.prepare(SETTINGS, strict) == 1
    await owner.close()


async def test_a_role_that_the_server_never_lets_in(strict: Address, run_folder: Path) -> None:
    owner = await replace(strict, database="postgres").connect()
    rules = Path(await owner.fetchval("SHOW hba_file"))
    rules.write_text("local all ai_gateway reject\n" + rules.read_text())
    await owner.execute("SELECT pg_reload_conf()")
    await owner.close()

    async def refused() -> bool:
        try:
            connection = await replace(strict, user="ai_gateway", database="postgres").connect()
        except asyncpg.InvalidPasswordError:
            return False
        except asyncpg.InvalidAuthorizationSpecificationError:
            return True
        await connection.close()
        return False

    while not await refused():
        await asyncio.sleep(0.01)
    with pytest.raises(StartError, match="does not let ai_gateway in"):
        await setup.prepare(SETTINGS, strict)
