"""A look at a database from outside, for the operator: what is there, and what the gateway would miss."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from gateway.config import Settings
from gateway.errors import StartError, StoreUnavailable
from gateway.shapes import Space
from gateway.store import migrations
from gateway.store.address import SERVING_ROLE, Address
from gateway.store.server import EmbeddedServer

EXTENSIONS = ("vector", "pg_trgm", "unaccent")
FOLDER = "postgres"


@dataclass(frozen=True, slots=True)
class Database:
    """What was found. `extensions` maps each one the gateway needs to its version, or None where it can't be had.

    `role` tells whether the serving role is there and below row-level security (None: not there). `pending` are the
    migrations that the next start would apply; `spaces` the current embedding spaces; `too_old` says what is, if
    something is.
    """

    version: str
    now: datetime
    extensions: dict[str, str | None]
    role: bool | None
    pending: list[str]
    spaces: list[Space]
    too_old: str | None


@asynccontextmanager
async def household_database(settings: Settings) -> AsyncIterator[Address]:
    """The database that the settings name; or the embedded one, running for as long as this is entered.

    Raises StartError where the embedded one cannot be started.
    """
    if settings.postgres.host:
        yield Address.of(settings.postgres)
        return
    async with EmbeddedServer(settings.data / FOLDER, database=settings.postgres.database) as server:
        yield server.address


def is_made(settings: Settings) -> bool:
    """Whether there is an embedded database in the data folder."""
    return (settings.data / FOLDER / "PG_VERSION").exists()


async def examine(address: Address) -> Database:
    """Looks at the database as its owner, changing nothing. Raises StoreUnavailable with the reason."""
    try:
        connection = await address.connect()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error
    try:
        return await _examine(connection)
    except asyncpg.PostgresError as error:
        raise StoreUnavailable(str(error)) from error
    finally:
        await connection.close()


async def _examine(connection: asyncpg.Connection) -> Database:
    server = await connection.fetchrow(
        """
        SELECT current_setting('server_version') AS version, clock_timestamp() AS now,
               (SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = $1) AS role,
               to_regclass('public.embedding_spaces') IS NOT NULL AS made
        """,
        SERVING_ROLE,
    )
    assert server is not None  # noqa: S101 - a SELECT without FROM has one row
    extensions = await connection.fetch(
        """
        SELECT name, coalesce(installed_version, default_version) AS version
        FROM pg_available_extensions WHERE name = ANY ($1)
        """,
        EXTENSIONS,
    )
    spaces = []
    if server["made"]:
        spaces = await connection.fetch(
            """
            SELECT model, dimensions, query_prefix, document_prefix, recipe FROM embedding_spaces
            WHERE state = 'current' ORDER BY household_id
            """
        )
    try:
        await migrations.check_versions(connection)
        too_old = None
    except StartError as error:
        too_old = error.message
    versions = {row["name"]: row["version"] for row in extensions}
    return Database(
        version=server["version"].split()[0],
        now=server["now"],
        extensions={name: versions.get(name) for name in EXTENSIONS},
        role=server["role"],
        pending=await migrations.pending(connection),
        spaces=[Space(**row) for row in spaces],
        too_old=too_old,
    )
