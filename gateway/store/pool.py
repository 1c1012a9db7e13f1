"""The connection pool, and the scope in which every statement runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import orjson
from pgvector import Vector

from gateway.config import PostgresSettings
from gateway.errors import PoolExhausted, StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store.address import CONNECT_SECONDS, CONNECTION_ERRORS, Address

log = logging.getLogger(__name__)

# The client gives up this much after the server should have: for a server that is gone without a word.
GRACE_SECONDS = 5.0
# Whoever gives up in the middle (recall's time is over, a client left) does not wait longer than this to be let go.
LETTING_GO_SECONDS = 0.25
# What says that PostgreSQL, or this connection to it, is not in a state to answer now. The statement is not at fault.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # what asyncpg makes of a connection cut at a bad moment
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement cancelled by its timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.PostgresSystemError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections of the pool: `size` may be open, `in_use` are lent, `waiting` callers wait for one."""

    size: int
    in_use: int
    waiting: int


class Database:
    """PostgreSQL as the gateway sees it: as the role `ai_gateway`, one scope a transaction."""

    def __init__(self, pool: asyncpg.Pool, settings: PostgresSettings, metrics: Metrics) -> None:
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._free = asyncio.Semaphore(settings.pool_size)
        self._in_use = 0
        self._waiting = 0
        metrics.pool.labels("size").set(settings.pool_size)
        metrics.pool.labels("in_use").set_function(lambda: self._in_use)
        metrics.pool.labels("waiting").set_function(lambda: self._waiting)

    @classmethod
    async def open(cls, address: Address, settings: PostgresSettings, metrics: Metrics) -> Database:
        """Connects as the serving role of `address`. Raises StoreUnavailable when that cannot be done."""
        try:
            pool = await asyncpg.create_pool(
                **address.serving.arguments(),
                min_size=1,
                max_size=settings.pool_size,
                timeout=CONNECT_SECONDS,
                command_timeout=settings.statement_seconds + GRACE_SECONDS,
                init=register_codecs,
                reset=_leave_transaction,
                server_settings={
                    "application_name": "ai-gateway",
                    "statement_timeout": str(int(settings.statement_seconds * 1000)),
                    "idle_in_transaction_session_timeout": "600000",
                },
            )
        except (*AWAY, OSError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(f"PostgreSQL does not answer at {address.host}: {error}") from error
        return cls(pool, settings, metrics)

    @asynccontextmanager
    async def scoped(self, scope: Scope) -> AsyncIterator[asyncpg.Connection]:
        """One transaction that sees what `scope` may see; committed at the end, rolled back on an error.

        Raises PoolExhausted when no connection came free within `acquire_seconds`, StoreUnavailable when PostgreSQL
        is away or did not answer in time. Errors of the statements themselves pass as they are.
        """
        async with self._connection() as connection:
            try:
                # The simple protocol takes both statements in one round trip; the values are integers.
                await connection.execute(
                    f"BEGIN; SELECT set_config('app.household_id', '{scope.household_id:d}', true),"
                    f" set_config('app.member_id', '{'' if scope.member_id is None else int(scope.member_id)}', true)"
                )
                yield connection
            except BaseException:
                # Releasing would roll back as well, and asyncpg would log it as a mistake of ours.
                if not _is_gone(connection):
                    await _roll_back(connection)
                raise
            if await connection.execute("COMMIT") == "ROLLBACK":
                raise RuntimeError("a statement failed, its error was swallowed, and so nothing was written")

    @asynccontextmanager
    async def unscoped(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection without a scope: it sees no rows. For what comes before a scope is known."""
        async with self._connection() as connection:
            yield connection

    async def check(self) -> None:
        """Asks PostgreSQL for a sign of life. Raises StoreUnavailable or PoolExhausted."""
        async with self._connection() as connection:
            await connection.execute("SELECT 1", timeout=CONNECT_SECONDS)

    def stats(self) -> PoolStats:
        """How busy the pool is."""
        return PoolStats(self._settings.pool_size, self._in_use, self._waiting)

    async def close(self) -> None:
        """Waits for lent connections, a few seconds at most, and closes all."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        await self._take_turn()
        connection: asyncpg.Connection | None = None
        try:
            try:
                connection = await self._pool.acquire(timeout=CONNECT_SECONDS)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                # Whatever keeps us from connecting, the server is not there for us.
                raise StoreUnavailable(f"PostgreSQL does not answer: {type(error).__name__}", retry_after=1) from error
            try:
                yield connection
            except CONNECTION_ERRORS as error:
                # An OSError may well be the caller's own, while it sends rows on to a client.
                if isinstance(error, AWAY) or _is_gone(connection):
                    raise StoreUnavailable(f"PostgreSQL went away: {type(error).__name__}", retry_after=1) from error
                raise
            finally:
                await self._give_back(connection)
        finally:
            self._in_use -= 1
            self._free.release()

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.acquire_seconds):
                await self._free.acquire()
        except TimeoutError:
            self._metrics.pool_exhausted.inc()
            raise PoolExhausted(
                f"every database connection was busy for {self._settings.acquire_seconds:g} s", retry_after=1
            ) from None
        finally:
            self._waiting -= 1
        self._in_use += 1

    async def _give_back(self, connection: asyncpg.Connection) -> None:
        try:
            await self._pool.release(connection, timeout=LETTING_GO_SECONDS)
        except CONNECTION_ERRORS as error:
            # asyncpg has closed it by now and opens another when one is needed; what the caller did stands.
            log.debug("a database connection was dropped: %s", error)


async def register_codecs(connection: asyncpg.Connection) -> None:
    """Lets the connection take and give jsonb as Python values and vectors as float32 arrays."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=orjson.loads,
    )
    await connection.set_type_codec(
        "vector",
        schema="public",
        encoder=lambda value: (value if isinstance(value, Vector) else Vector(value)).to_binary(),
        decoder=lambda value: Vector.from_binary(value).to_numpy(),
        format="binary",
    )


def _is_gone(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the pool has taken it back already


async def _roll_back(connection: asyncpg.Connection) -> None:
    try:
        async with asyncio.timeout(LETTING_GO_SECONDS):
            await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()  # the server rolls back by itself, when it hears of it
    except BaseException:
        connection.terminate()
        raise


async def _leave_transaction(connection: asyncpg.Connection) -> None:
    # Nothing but transactions with local settings runs here, so nothing else needs resetting: a round trip saved.
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
