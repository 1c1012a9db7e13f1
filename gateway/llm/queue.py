"""The one bounded queue in front of the model: so many at once, so many waiting, first come first served."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import QueueFull, QueueTimeout
from gateway.metrics import Metrics

# What a turn is taken to last until one has been seen, and how much a new one weighs in the running mean.
FIRST_GUESS_SECONDS = 5.0
WEIGHT = 0.2
# The bounds of what a refused client is told, in seconds.
SHORTEST_RETRY, LONGEST_RETRY = 1, 120


class AdmissionQueue:
    """Lets `parallel` turns to the model at once and `size` more wait, in the order they came.

    A small computer that answers two turns at once answers both at half the speed and needs twice the memory, so
    turns wait here, where they are counted and bounded, and not inside the model server.
    """

    def __init__(self, parallel: int, size: int, metrics: Metrics) -> None:
        self._parallel = parallel
        self._size = size
        self._metrics = metrics
        self._active = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._typical_seconds = FIRST_GUESS_SECONDS

    @property
    def active(self) -> int:
        """How many turns the model answers now."""
        return self._active

    @property
    def waiting(self) -> int:
        """How many turns wait."""
        return len(self._waiters)

    @asynccontextmanager
    async def admitted(self, seconds: float) -> AsyncIterator[None]:
        """`async with queue.admitted(30): ...` holds one of the places while the block runs.

        Raises QueueFull at once where as many wait as may, QueueTimeout when no place came free within `seconds`;
        both say in `retry_after` when to come back.
        """
        await self._enter(seconds)
        began = time.monotonic()
        try:
            yield
        finally:
            self._typical_seconds += WEIGHT * (time.monotonic() - began - self._typical_seconds)
            self._leave()

    async def _enter(self, seconds: float) -> None:
        # A free place beside waiters cannot be: `_leave` hands a place on before anyone else can see it.
        if self._active < self._parallel:
            self._active += 1
            self._measure()
            return
        if len(self._waiters) >= self._size:
            self._metrics.queue_refused.labels("full").inc()
            raise QueueFull(
                f"{self._size} turns wait for the model already; try again in a moment", retry_after=self._retry_after()
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._measure()
        try:
            # Not wait_for: this one never loses a result that comes in the same moment as the timeout.
            await asyncio.wait({turn}, timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        if not turn.done():
            self._give_up(turn)
            self._metrics.queue_refused.labels("timeout").inc()
            raise QueueTimeout(
                f"the model was busy with other turns for {seconds:g} s; try again in a moment",
                retry_after=self._retry_after(),
            )

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._leave()  # the place was handed over in the same moment: it goes to the next
        else:
            self._waiters.remove(turn)
            self._measure()

    def _leave(self) -> None:
        if self._waiters:
            self._waiters.popleft().set_result(None)
        else:
            self._active -= 1
        self._measure()

    def _retry_after(self) -> int:
        ahead = (len(self._waiters) + 1) / self._parallel
        return min(max(math.ceil(ahead * self._typical_seconds), SHORTEST_RETRY), LONGEST_RETRY)

    def _measure(self) -> None:
        self._metrics.queue_active.set(self._active)
        self._metrics.queue_waiting.set(len(self._waiters))
