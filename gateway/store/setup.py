"""Makes a database ready to be served: role, database, migrations, household. Safe to run again, and at once twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

import asyncpg

from gateway.config import Settings
from gateway.errors import StartError
from gateway.store.address import SERVING_ROLE, Address
from gateway.store.migrations import migrate

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
HOUSEHOLD_LOCK = 0x6169_6768
# The server says no, for good: waiting would not help.
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


async def prepare(settings: Settings, address: Address) -> int:
    """Makes the database at `address` (its owner's) ready and returns the household's id.

    Waits `postgres.start_seconds` for the server. Raises StartError with what to do.
    """
    owner = await connect_owner(address, settings.postgres.start_seconds)
    try:
        await make_role(owner)
        await migrate(owner)
        await _let_in(owner, address)
        return await _household(owner, settings.household.name)
    except asyncpg.PostgresError as error:
        raise StartError(f"the database could not be prepared as {address.user}: {error}") from error
    finally:
        await owner.close()


async def connect_owner(address: Address, seconds: float) -> asyncpg.Connection:
    """A connection as the schema's owner; makes the database where it is missing. Waits up to `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await address.connect()
        except asyncpg.InvalidCatalogNameError:
            await _make_database(address)
        except REFUSED as error:
            raise StartError(f"PostgreSQL at {address.host} does not let {address.user} in: {error}") from error
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            if time.monotonic() > deadline:
                reason = str(error) or type(error).__name__
                raise StartError(
                    f"PostgreSQL does not answer at {address.host} port {address.port} after {seconds:g} s: {reason}"
                ) from error
            await asyncio.sleep(PAUSE_SECONDS)


async def make_role(owner: asyncpg.Connection) -> None:
    """Makes the serving role where it is missing. Roles are the whole cluster's, so another start may be as far."""
    role = await owner.fetchrow(
        "SELECT rolsuper OR rolbypassrls AS free FROM pg_roles WHERE rolname = $1", SERVING_ROLE
    )
    if role is None:
        with contextlib.suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await owner.execute(f"CREATE ROLE {SERVING_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
    elif role["free"]:
        raise StartError(
            f"the role {SERVING_ROLE} is above row-level security; as a superuser: "
            f"ALTER ROLE {SERVING_ROLE} NOSUPERUSER NOBYPASSRLS"
        )


async def _make_database(address: Address) -> None:
    try:
        connection = await replace(address, database="postgres").connect()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise StartError(f"the database {address.database} is missing and could not be made: {error}") from error
    try:
        name = '"' + address.database.replace('"', '""') + '"'
        await connection.execute(f"CREATE DATABASE {name}")
        log.info("made the database %s", address.database)
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another start was quicker
    except asyncpg.PostgresError as error:
        raise StartError(f"the database {address.database} is missing and could not be made: {error}") from error
    finally:
        await connection.close()


async def _let_in(owner: asyncpg.Connection, address: Address) -> None:
    """Sees to it that the serving role may connect; its password is set only when it does not work."""
    database = '"' + address.database.replace('"', '""') + '"'
    for attempt in range(5):
        try:
            connection = await address.serving.connect()
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            if attempt == 4:
                raise StartError(f"PostgreSQL at {address.host} does not let {SERVING_ROLE} in: {error}") from error
        except asyncpg.InsufficientPrivilegeError:
            await owner.execute(f"GRANT CONNECT ON DATABASE {database} TO {SERVING_ROLE}")
            continue
        except (OSError, TimeoutError) as error:
            raise StartError(f"PostgreSQL at {address.host} went away: {error}") from error
        else:
            await connection.close()
            return
        try:
            await owner.execute(f"ALTER ROLE {SERVING_ROLE} LOGIN PASSWORD '{address.serving.password}'")
        except asyncpg.InternalServerError as error:
            # "tuple concurrently updated": another gateway sets it, to the same.
            log.debug("the role's password is being set elsewhere: %s", error)


async def _household(owner: asyncpg.Connection, name: str) -> int:
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock($1)", HOUSEHOLD_LOCK)
        found = await owner.fetchval("SELECT id FROM households ORDER BY id LIMIT 1")
        if found is None:
            found = await owner.fetchval("INSERT INTO households (name) VALUES ($1) RETURNING id", name)
            log.info("made the household %s", name)
        return int(found)
