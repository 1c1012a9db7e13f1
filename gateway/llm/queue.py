"""The one bounded queue in front of the models: so many at once, so many waiting, the most urgent first.

A small computer that answers two turns at once answers both at half the speed and needs twice the memory, so turns wait
here, where they are counted and bounded, and not inside a model server.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from statistics import median

from gateway.errors import GatewayError, QueueFull, QueueTimeout
from gateway.metrics import Metrics
from gateway.shapes import Priority, QueuePlace

# What a turn is taken to last until one has been seen, in seconds.
FIRST_GUESS_SECONDS = 5.0
# How many of the last turns' durations are remembered. Their median is what a turn lasts: one story of five minutes
# does not make the next question seem hopeless.
REMEMBERED = 20
# The bounds of what a refused client is told, in seconds.
SHORTEST_RETRY, LONGEST_RETRY = 1, 120

Order = tuple[Priority, int]
"""The more urgent first, and among equals who came first."""


@dataclass(eq=False)
class Entry:
    """One turn on its way through the queue, from `AdmissionQueue.entered`.

    `server` is whose place it holds, empty while it waits at `position` (1: the next). `counts`: whether how long it
    lasts says something about how long turns last. The rest is the queue's own.
    """

    order: Order
    ends: float
    seconds: float
    suits: Callable[[], Sequence[str]]
    wanted: Callable[[], object] | None
    server: str = ""
    position: int = 0
    expected: float = 0.0
    counts: bool = True
    refused: GatewayError | None = None
    late: Callable[[Entry], GatewayError] | None = None
    since: float = 0.0
    promised: bool = False
    leaving: bool = False
    names: Sequence[str] = ()
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def background(self) -> bool:
        """Whether it gives way to every turn."""
        return self.order[0] is Priority.BACKGROUND

    async def waits(self) -> AsyncGenerator[QueuePlace, None]:
        """Yields where it stands whenever that changes, and ends when it has its place.

        Raises QueueTimeout when it got none in time, QueueFull when a more urgent turn took its place in the queue.
        """
        told = 0
        while not self.server:
            if self.refused is not None:
                raise self.refused
            if self.position != told:
                told = self.position
                yield QueuePlace(told, round(self.expected, 1))
                continue
            self.stirred.clear()
            try:
                async with asyncio.timeout(max(self.ends - time.monotonic(), 0)):
                    await self.stirred.wait()
            except TimeoutError:
                self._expire()

    def _expire(self) -> None:
        # What came in the same moment as the timeout holds.
        if not self.server and self.refused is None and self.late is not None:
            raise self.late(self)


class AdmissionQueue:
    """Hands out the `places` of the servers (how many each has, by name); `size` turns may wait for one.

    A free place goes to the first in the queue that may use it. A newcomer to a full queue takes the room of the last
    one behind it, if one is less urgent. Background work starts only while no turn waits, never on the last free place
    of a server with several, and is called back as soon as a turn would wait for its place.
    """

    def __init__(self, places: Mapping[str, int], size: int, metrics: Metrics) -> None:
        self._places = dict(places)
        self._size = size
        self._metrics = metrics
        self._inside: list[Entry] = []
        self._waiters: list[Entry] = []  # in their order
        self._numbers = itertools.count()
        self._lasted: deque[float] = deque(maxlen=REMEMBERED)
        metrics.queue_expected.set_function(self.expected)
        self._measure()

    @property
    def active(self) -> int:
        """How many are answered now."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def active_at(self, server: str) -> int:
        """How many the server answers now."""
        return sum(entry.server == server for entry in self._inside)

    def expected(self, priority: Priority = Priority.CHAT) -> float:
        """How many seconds a turn would wait that came now and could use every server."""
        ghost = Entry((priority, next(self._numbers)), 0, 0, tuple, None, names=tuple(self._places))
        ahead = [entry for entry in self._waiters if entry.order < ghost.order]
        return self._expectations([*ahead, ghost])[-1]

    @asynccontextmanager
    async def admitted(
        self,
        seconds: float,
        *,
        priority: Priority = Priority.CHAT,
        suits: Callable[[], Sequence[str]] | None = None,
    ) -> AsyncIterator[str]:
        """`async with queue.admitted(30) as server: ...` holds a place of that server while the block runs.

        Raises as `entered` and `Entry.waits` do.
        """
        with self.entered(seconds, priority=priority, suits=suits) as entry:
            async for _ in entry.waits():
                pass
            yield entry.server

    @contextmanager
    def entered(
        self,
        seconds: float,
        *,
        priority: Priority = Priority.CHAT,
        suits: Callable[[], Sequence[str]] | None = None,
        wanted: Callable[[], object] | None = None,
        order: Order | None = None,
    ) -> Iterator[Entry]:
        """Stands in the queue, and then holds a place, until the block is left; `Entry.waits` waits for the place.

        `suits` says whose places will do, the best first; it is asked again whenever a place comes free. `wanted` is
        called when background work is to leave its place at once. `order` is that of an earlier entry of the same turn,
        which keeps its rank when it comes a second time.

        Raises QueueFull at once where as many wait as may, and QueueTimeout at once where, as turns have lasted lately,
        no place will come free within `seconds`. Both say in `retry_after` when to come back.
        """
        entry = Entry(
            order=order or (priority, next(self._numbers)),
            ends=time.monotonic() + seconds,
            seconds=seconds,
            suits=suits or (lambda: tuple(self._places)),
            wanted=wanted,
            late=self._late,
        )
        whole = False
        try:
            self._come(entry)
            yield entry
            whole = True
        finally:
            self._leave(entry, whole=whole)

    def look_again(self) -> None:
        """Whose places will do has changed for somebody: whoever can be helped is."""
        self._assign()
        self._tell()

    # --- coming and going

    def _come(self, entry: Entry) -> None:
        insort(self._waiters, entry, key=lambda one: one.order)
        self._assign()
        if not entry.server:
            self._refuse_hopeless(entry)
        self._tell()

    def _leave(self, entry: Entry, *, whole: bool) -> None:
        if entry in self._waiters:
            self._waiters.remove(entry)
        elif entry in self._inside:
            self._inside.remove(entry)
            if whole and entry.counts and not entry.background:
                self._lasted.append(time.monotonic() - entry.since)
        self._assign()
        self._tell()

    def _refuse_hopeless(self, newcomer: Entry) -> None:
        """Raises for a newcomer without room, or without a chance; else the last one gives up its room to it."""
        # Who was promised the place of background work hardly waits, and takes no room.
        waiting = [entry for entry in self._waiters if not entry.promised]
        last = waiting[-1] if len(waiting) > self._size else None
        if last is newcomer:
            if not newcomer.background:
                self._metrics.queue_refused.labels("full").inc()
            raise QueueFull(
                f"{self._size} turns wait for the model already; try again in a moment",
                retry_after=_retry(self.expected(newcomer.order[0])),
            )
        if self._lasted and not newcomer.background:
            expected = self._expectations(self._waiters)[self._waiters.index(newcomer)]
            if expected > newcomer.seconds:
                self._metrics.queue_refused.labels("expected").inc()
                raise QueueTimeout(
                    f"the model is busy for about {expected:.0f} s, longer than this turn may wait "
                    f"({newcomer.seconds:g} s); try again later",
                    retry_after=_retry(expected),
                )
        if last is not None:
            self._waiters.remove(last)
            if not last.background:
                self._metrics.queue_refused.labels("displaced").inc()
            last.refused = QueueFull(
                "more urgent turns took the room in the queue; try again in a moment",
                retry_after=_retry(self.expected(last.order[0])),
            )
            last.stirred.set()

    def _late(self, entry: Entry) -> QueueTimeout:
        if not entry.background:
            self._metrics.queue_refused.labels("timeout").inc()
        return QueueTimeout(
            f"the model was busy with other turns for {entry.seconds:g} s; try again in a moment",
            retry_after=_retry(self.expected(entry.order[0])),
        )

    # --- who gets which place

    def _assign(self) -> None:
        """Gives free places out in order, and calls back background work whose place a turn would wait for."""
        promised = Counter(entry.server for entry in self._inside if entry.leaving)
        turns_wait = False
        for entry in tuple(self._waiters):
            entry.promised = False
            entry.names = entry.suits() or tuple(self._places)
            spare = self._spare if entry.background else self._free
            server = ""
            if not (entry.background and turns_wait):
                server = next((name for name in entry.names if spare(name)), "")
            if server:
                self._waiters.remove(entry)
                self._inside.append(entry)
                entry.server, entry.since, entry.position = server, time.monotonic(), 0
                entry.stirred.set()
            elif not entry.background:
                turns_wait = True
                held = next((name for name in entry.names if promised[name]), None)
                if held is not None:
                    promised[held] -= 1
                entry.promised = held is not None or self._call_back(entry.names)

    def _free(self, server: str) -> bool:
        return self.active_at(server) < self._places[server]

    def _spare(self, server: str) -> bool:
        """Whether background work may take a place there: the last of several stays for a turn."""
        places = self._places[server]
        return self.active_at(server) < (places - 1 if places > 1 else places)

    def _call_back(self, names: Sequence[str]) -> bool:
        for name in names:
            for entry in self._inside:
                if entry.server == name and entry.wanted is not None and entry.background and not entry.leaving:
                    entry.leaving = True
                    entry.wanted()
                    return True
        return False

    # --- how long it takes

    def _typical(self) -> float:
        return median(self._lasted) if self._lasted else FIRST_GUESS_SECONDS

    def _remaining(self, entry: Entry) -> float:
        """What an active turn still takes: as long as turns took on that lasted as long as it has already."""
        if entry.background:
            return 0.0  # called back when a turn needs its place
        lasted = time.monotonic() - entry.since
        longer = [seconds for seconds in self._lasted or (FIRST_GUESS_SECONDS,) if seconds > lasted]
        return median(longer) - lasted if longer else self._typical()

    def _expectations(self, waiters: Sequence[Entry]) -> list[float]:
        """For each of them in order, in how many seconds a place that suits it will be free."""
        if not waiters:
            return []
        free_in: dict[str, list[float]] = {}
        for server, places in self._places.items():
            inside = [self._remaining(entry) for entry in self._inside if entry.server == server]
            free_in[server] = inside + [0.0] * (places - len(inside))
            heapq.heapify(free_in[server])
        typical, expectations = self._typical(), []
        for entry in waiters:
            server = min(entry.names or self._places, key=lambda name: free_in[name][0])
            expected = free_in[server][0]
            heapq.heapreplace(free_in[server], expected + typical)
            expectations.append(expected)
        return expectations

    def _tell(self) -> None:
        for position, (entry, expected) in enumerate(
            zip(self._waiters, self._expectations(self._waiters), strict=True), 1
        ):
            entry.expected = expected
            if entry.position != position:
                entry.position = position
                entry.stirred.set()
        self._measure()

    def _measure(self) -> None:
        waiting = Counter(entry.order[0] for entry in self._waiters)
        for priority in Priority:
            self._metrics.queue_waiting.labels(priority.name.lower()).set(waiting[priority])
        self._metrics.queue_active.set(len(self._inside))
        for server in self._places:
            self._metrics.model_active.labels(server).set(self.active_at(server))


def _retry(expected: float) -> int:
    return min(max(math.ceil(expected), SHORTEST_RETRY), LONGEST_RETRY)
