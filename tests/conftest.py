"""Fixtures of the database: one real PostgreSQL for the whole run, a database of its own for each test."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import asyncpg
import pytest
from filelock import FileLock

from gateway.config import PostgresSettings, Settings
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store.address import Address
from gateway.store.pool import Database, register_codecs
from gateway.store.server import EmbeddedServer
from gateway.store.setup import prepare

pytest_plugins = ("tests.house", "tests.redis_server", "tests.mosquitto_server")

TEMPLATE = "gateway_template"
MEMORY = Path("/dev/shm")  # noqa: S108 (what is made there is locked, and named by the run)
ROOM = 1 << 30  # a run takes a fifth of it
# Nothing of a test run must survive a power cut; several workers share the server.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300", "shared_buffers=64MB")


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder for the databases, in memory where there is room: on a disk each test's own takes many times as long."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    parent = MEMORY if roomy else Path(tempfile.gettempdir())
    for left in parent.glob("gateway-tests-*/"):
        with left.with_suffix(".lock").open("a") as users:
            _remove_unused(left, users)  # what a run that was killed left behind
    with shared_folder(parent) as folder:
        yield folder


@contextmanager
def shared_folder(parent: Path) -> Iterator[Path]:
    """A folder that all workers of one run share. Not pytest's own: as root PostgreSQL's user must reach it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    folder = parent / f"gateway-tests-{run[:16]}"
    with folder.with_suffix(".lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        folder.mkdir(exist_ok=True)
        yield folder
        _remove_unused(folder, users)  # the last worker to leave tidies up


def _remove_unused(folder: Path, users: IO[str]) -> None:
    """Removes a folder whose lock nobody else holds."""
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def template(run_folder: Path) -> Iterator[Address]:
    """The address of a prepared database that tests copy and never connect to."""
    server = EmbeddedServer(run_folder / "postgres", options=QUICK)
    asyncio.run(server.start())
    address = replace(server.address, database=TEMPLATE)
    try:
        with FileLock(run_folder / "template.lock"):
            if not (run_folder / "template.made").exists():
                asyncio.run(prepare(Settings(), address))
                (run_folder / "template.made").touch()
        yield address
    finally:
        asyncio.run(server.stop())


@pytest.fixture(scope="session")
def postgres(template: Address) -> Address:
    """The server's address, to make empty databases with."""
    return replace(template, database="postgres")


@pytest.fixture
async def address(template: Address, postgres: Address) -> AsyncIterator[Address]:
    """A migrated database of this test's own, with one household; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    owner = await postgres.connect()
    try:
        await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template.database} STRATEGY FILE_COPY")
        yield replace(template, database=name)
        await owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await owner.close()


@pytest.fixture
async def admin(address: Address) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the schema's owner, whom no policy holds."""
    connection = await address.connect()
    await register_codecs(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def database(address: Address, postgres_settings: PostgresSettings) -> AsyncIterator[Database]:
    """The gateway's own view of this test's database."""
    database = await Database.open(address, postgres_settings, Metrics())
    yield database
    await database.close()


@pytest.fixture
def postgres_settings() -> PostgresSettings:
    """Settings of the pool; a module may override this fixture."""
    return PostgresSettings(pool_size=4)


@pytest.fixture
async def household_id(admin: asyncpg.Connection) -> int:
    """The household that the first start makes."""
    return int(await admin.fetchval("SELECT id FROM households ORDER BY id LIMIT 1"))


@pytest.fixture
def scope(household_id: int) -> Scope:
    """The household itself speaking: shared memory only."""
    return Scope(household_id)


@pytest.fixture
async def member(admin: asyncpg.Connection, household_id: int) -> Scope:
    """A member of the household, Ada."""
    ada = await admin.fetchval("INSERT INTO members (household_id, name) VALUES ($1, 'Ada') RETURNING id", household_id)
    return Scope(household_id, int(ada), "Ada")
