"""Single flight: the same question asked while it is being answered joins that answer's stream.

One task draws the stream and keeps what came; everyone who follows it, the one who started it included, reads from
there at their own pace. Nobody in particular owns it: it goes on while one is left who follows, and ends with the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, TypeVar

from gateway.shapes import Delta
from gateway.tasks import end

T = TypeVar("T")


class Flight(Generic[T]):
    """A stream that several follow. `shared` is what its drawing finds out on the way, for all of them."""

    def __init__(self, shared: T, deltas: AsyncGenerator[Delta, None], ending: Callable[[], None]) -> None:
        """Begins to draw `deltas`. `ending` is called when nobody may join any more."""
        self.shared = shared
        self._ending = ending
        self._came: list[Delta] = []
        self._news = asyncio.Event()
        self._over = False
        self._failure: Exception | None = None
        self._followers = 0
        self._task = asyncio.create_task(self._draw(deltas), name="answer under way")

    @asynccontextmanager
    async def following(self) -> AsyncIterator[AsyncGenerator[Delta, None]]:
        """The deltas: what came so far at once, and the rest as it comes. A failure is raised to everyone.

        Leaving the block is leaving the flight, and the last to leave ends it.
        """
        self._followers += 1
        try:
            async with aclosing(self._deltas()) as deltas:
                yield deltas
        finally:
            self._followers -= 1
            if not self._followers:
                self._ending()  # before anything is awaited: nobody is to join what is being ended
                await end(self._task)

    async def _deltas(self) -> AsyncGenerator[Delta, None]:
        read = 0
        while True:
            while read < len(self._came):
                read += 1
                delta = self._came[read - 1]
                if delta.queue is None or read == len(self._came):  # where it stood in the queue is old news
                    yield delta
            if self._failure is not None:
                raise self._failure
            if self._over:
                return
            await self._news.wait()

    async def _draw(self, deltas: AsyncGenerator[Delta, None]) -> None:
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    self._came.append(delta)
                    self._tell()
        except Exception as error:  # noqa: BLE001
            # Not lost: it is raised to everyone who follows, and named there as every failure of a turn is.
            self._failure = error
        finally:
            self._ending()
            self._over = True
            self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Flights(Generic[T]):
    """The answers under way, each under a name that only the very same question has."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, name: Hashable) -> Flight[T] | None:
        """The answer under way to this question, if there is one."""
        return self._flights.get(name)

    def start(self, name: Hashable, shared: T, deltas: AsyncGenerator[Delta, None]) -> Flight[T]:
        """Begins to draw `deltas` for whoever follows; the caller has to follow it, as the first."""

        def ending() -> None:
            if self._flights.get(name) is flight:
                del self._flights[name]

        flight = Flight(shared, deltas, ending)
        self._flights[name] = flight
        return flight
