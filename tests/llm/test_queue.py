"""The admission queue: bounded, fair, and it never loses a place."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import QueueFull, QueueTimeout
from gateway.llm.queue import LONGEST_RETRY, SHORTEST_RETRY, AdmissionQueue
from gateway.metrics import Metrics

LONG = 3600.0


class Visitor:
    """A turn that enters the queue, says so, and leaves when it is told to."""

    def __init__(self, queue: AdmissionQueue, seconds: float = LONG) -> None:
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(queue, seconds))

    async def _visit(self, queue: AdmissionQueue, seconds: float) -> None:
        async with queue.admitted(seconds):
            self.inside.set()
            await self.leave.wait()

    async def gone(self) -> None:
        self.leave.set()
        await self.task


async def settle() -> None:
    """Lets every task run until all of them wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_as_many_as_may_go_in_and_the_rest_wait_in_order() -> None:
    metrics = Metrics()
    queue = AdmissionQueue(2, 3, metrics)
    visitors = [Visitor(queue) for _ in range(5)]
    await settle()
    assert [visitor.inside.is_set() for visitor in visitors] == [True, True, False, False, False]
    assert (queue.active, queue.waiting) == (2, 3)
    assert metrics.registry.get_sample_value("gateway_queue_waiting") == 3
    for index in range(5):
        await visitors[index].gone()
        await settle()
        assert [visitor.inside.is_set() for visitor in visitors] == [i <= index + 2 for i in range(5)]
    assert (queue.active, queue.waiting) == (0, 0)
    assert metrics.registry.get_sample_value("gateway_queue_active") == 0


async def test_one_too_many_is_refused_at_once_and_told_when_to_come_back() -> None:
    metrics = Metrics()
    queue = AdmissionQueue(1, 1, metrics)
    first, second = Visitor(queue), Visitor(queue)
    await settle()
    with pytest.raises(QueueFull) as refused:
        async with queue.admitted(LONG):
            pytest.fail("there was no place")
    assert refused.value.status == 503
    assert refused.value.retry_after is not None
    assert SHORTEST_RETRY <= refused.value.retry_after <= LONGEST_RETRY
    assert metrics.registry.get_sample_value("gateway_queue_refused_total", {"reason": "full"}) == 1
    await first.gone()
    await second.gone()
    assert (queue.active, queue.waiting) == (0, 0)


async def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    metrics = Metrics()
    queue = AdmissionQueue(1, 5, metrics)
    inside = Visitor(queue)
    await inside.inside.wait()
    with pytest.raises(QueueTimeout) as refused:
        async with queue.admitted(0.001):
            pytest.fail("there was no place")
    assert refused.value.retry_after is not None
    assert (queue.active, queue.waiting) == (1, 0)
    assert metrics.registry.get_sample_value("gateway_queue_refused_total", {"reason": "timeout"}) == 1
    await inside.gone()
    assert queue.active == 0


async def test_no_queue_at_all_still_admits() -> None:
    queue = AdmissionQueue(1, 0, Metrics())
    async with queue.admitted(0):
        assert queue.active == 1
        with pytest.raises(QueueFull):
            async with queue.admitted(LONG):
                pass
    assert queue.active == 0


async def test_an_error_inside_gives_the_place_back() -> None:
    queue = AdmissionQueue(1, 1, Metrics())
    with pytest.raises(ValueError, match="inside"):
        async with queue.admitted(LONG):
            raise ValueError("inside")
    assert queue.active == 0


async def test_a_place_handed_over_in_the_moment_of_a_cancellation_goes_on_to_the_next() -> None:
    queue = AdmissionQueue(1, 5, Metrics())
    inside, cancelled, following = Visitor(queue), Visitor(queue), Visitor(queue)
    await settle()
    inside.leave.set()
    # One step: `inside` leaves and hands over; `cancelled` has its place and not yet run.
    while not inside.task.done():
        await asyncio.sleep(0)
    cancelled.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled.task
    await asyncio.wait_for(following.inside.wait(), 10)
    await following.gone()
    assert (queue.active, queue.waiting) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(
    parallel=st.integers(1, 3),
    size=st.integers(0, 4),
    steps=st.lists(
        st.tuples(st.sampled_from(["come", "leave", "cancel", "cancel waiting"]), st.integers(0, 9), st.booleans()),
        max_size=40,
    ),
)
def test_never_more_inside_than_may_and_never_a_place_lost(
    parallel: int, size: int, steps: list[tuple[str, int, bool]]
) -> None:
    async def run() -> None:
        queue = AdmissionQueue(parallel, size, Metrics())
        everyone: deque[Visitor] = deque()
        for what, which, pause in steps:
            if what == "come":
                everyone.append(Visitor(queue))
            elif everyone:
                inside = [one for one in everyone if one.inside.is_set() and not one.task.done()]
                waiting = [one for one in everyone if not one.inside.is_set() and not one.task.done()]
                among = {"leave": inside, "cancel": inside, "cancel waiting": waiting}[what]
                if among:
                    chosen = among[which % len(among)]
                    chosen.leave.set() if what == "leave" else chosen.task.cancel()
            if pause:
                await settle()
            assert queue.active <= parallel
            assert queue.waiting <= size
        await settle()
        inside = [one for one in everyone if one.inside.is_set() and not one.task.done()]
        assert queue.active == len(inside)
        assert not queue.waiting or queue.active == parallel
        for one in everyone:
            one.leave.set()
        for one in everyone:
            if not one.task.done():
                await asyncio.wait([one.task])
            if not one.task.cancelled():
                assert one.task.exception() is None or isinstance(one.task.exception(), QueueFull)
        assert (queue.active, queue.waiting) == (0, 0)

    asyncio.run(run())
