"""Which state the household's memory is in, known without asking PostgreSQL each time.

A cached answer may be given while the memory it was made of is unchanged, and while nobody has taken it back. Two
gateways may share a database and anyone may change a row with psql, so the moment that counts is the database's own,
read at most a second ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from types import TracebackType
from typing import Any

import asyncpg

from gateway.store import households
from gateway.store.address import CONNECTION_ERRORS, Address
from gateway.store.households import Moment
from gateway.tasks import end

log = logging.getLogger(__name__)

EPOCH_CHANNEL, GENERATION_CHANNEL = "memory_epoch", "cache_generation"
READ_SECONDS = 0.5
CONFIRMED_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class EpochWatch:
    """Follows one household's memory epoch over a connection outside the pool."""

    def __init__(self, address: Address, household_id: int) -> None:
        self._address = address.serving
        self._household_id = household_id
        self._connection: asyncpg.Connection | None = None
        self._reading = asyncio.Lock()
        self._moment: Moment | None = None
        self._announced = Moment(0, 0)
        self._read_at = 0.0
        self._holds: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def moment(self) -> Moment | None:
        """The memory epoch and the generation of stored answers; None while they are not known: unread for over a
        second, or held."""
        if self._holds or time.monotonic() - self._read_at > CONFIRMED_SECONDS:
            return None
        return self._moment

    def current(self) -> int | None:
        """The memory epoch; None while it is not known."""
        return moment.epoch if (moment := self.moment()) is not None else None

    def hold(self, reason: str) -> None:
        """Memory has changed in a way that the database does not show yet: the epoch is unknown until `release`."""
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        """Takes back a `hold`; harmless without one."""
        self._holds.discard(reason)

    async def refresh(self) -> None:
        """Reads the epoch now. After a write of one's own: `current` then shows it, or nothing. Never raises."""
        async with self._reading:
            await self._read()

    async def start(self) -> None:
        """Reads for the first time, if PostgreSQL answers, and follows from then on."""
        async with self._reading:
            with contextlib.suppress(*CONNECTION_ERRORS):
                await self._connect()
                await self._read()
        self._task = asyncio.create_task(self._follow(), name="memory epoch watch")

    async def close(self) -> None:
        """Stops following. May be called twice."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        self._forget()
        await self._disconnect()

    async def __aenter__(self) -> EpochWatch:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _follow(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            if self._connection is None:
                try:
                    async with self._reading:
                        await self._connect()
                except CONNECTION_ERRORS as error:
                    log.debug("the memory epoch is unknown: %s", error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                    continue
                pause = FIRST_PAUSE_SECONDS
            await self.refresh()
            if self._connection is not None:
                await asyncio.sleep(READ_SECONDS)

    async def _connect(self) -> None:
        connection = await self._address.connect(
            command_timeout=CONFIRMED_SECONDS,
            server_settings={
                "application_name": "ai-gateway epoch",
                "app.household_id": str(self._household_id),
            },
        )
        try:
            await connection.add_listener(EPOCH_CHANNEL, self._notified)
            await connection.add_listener(GENERATION_CHANNEL, self._notified)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def _read(self) -> None:
        if self._connection is None:
            self._forget()
            return
        asked_at = time.monotonic()  # what comes back is true of some moment after this one
        self._announced = Moment(0, 0)
        try:
            moment = await households.moment(self._connection)
        except CONNECTION_ERRORS as error:
            log.info("the memory epoch is unknown until PostgreSQL answers again: %s", type(error).__name__)
            self._forget()
            await self._disconnect()
        except BaseException:
            # Cancelled half-way (the caller's client went away): a write may be committed that was not seen.
            self._forget()
            raise
        else:
            # A change announced while the answer was on its way is newer than the answer.
            self._moment = None if moment is None else _newer(moment, self._announced)
            self._read_at = asked_at

    def _notified(self, _connection: Any, _process: int, channel: str, payload: str) -> None:
        household, _, moved = payload.partition(":")
        if household == str(self._household_id) and moved.isdigit():
            announced = Moment(int(moved), 0) if channel == EPOCH_CHANNEL else Moment(0, int(moved))
            self._announced = _newer(self._announced, announced)
            if self._moment is not None:
                self._moment = _newer(self._moment, self._announced)

    def _forget(self) -> None:
        self._moment = None

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*CONNECTION_ERRORS):
                await connection.close(timeout=CONFIRMED_SECONDS)


def _newer(one: Moment, other: Moment) -> Moment:
    return Moment(max(one.epoch, other.epoch), max(one.generation, other.generation))
