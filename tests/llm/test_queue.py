"""The admission queue: bounded, the most urgent first, and it never loses a place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import QueueFull, QueueTimeout, Unavailable
from gateway.llm.queue import FIRST_GUESS_SECONDS, LONGEST_RETRY, SHORTEST_RETRY, AdmissionQueue
from gateway.metrics import Metrics
from gateway.shapes import Priority, QueuePlace

LONG = 3600.0


class Visitor:
    """A turn that enters the queue, says so, and leaves when it is told to."""

    def __init__(
        self,
        queue: AdmissionQueue,
        priority: Priority = Priority.CHAT,
        servers: Sequence[str] = ("m",),
        seconds: float = LONG,
    ) -> None:
        self.priority = priority
        self.servers = servers
        self.server = ""
        self.told: list[QueuePlace] = []
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        self.called_back = False
        self.task = asyncio.create_task(self._visit(queue, seconds))

    async def _visit(self, queue: AdmissionQueue, seconds: float) -> None:
        with queue.entered(seconds, priority=self.priority, suits=lambda: self.servers, wanted=self._go) as entry:
            async for place in entry.waits():
                self.told.append(place)
            self.server = entry.server
            self.inside.set()
            await self.leave.wait()

    def _go(self) -> None:
        assert self.priority is Priority.BACKGROUND
        self.called_back = True
        self.task.cancel()

    @property
    def is_inside(self) -> bool:
        return self.inside.is_set() and not self.task.done()

    @property
    def waits(self) -> bool:
        return not self.inside.is_set() and not self.task.done()

    async def gone(self) -> None:
        self.leave.set()
        await self.task


async def settle() -> None:
    """Lets every task run until all of them wait."""
    for _ in range(10):
        await asyncio.sleep(0)


def one(places: int = 1, size: int = 5, metrics: Metrics | None = None) -> AdmissionQueue:
    return AdmissionQueue({"m": places}, size, metrics or Metrics())


def refused(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("gateway_queue_refused_total", {"reason": reason})


async def let_last(queue: AdmissionQueue, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a turn been measured that lasted so long."""
    with monkeypatch.context() as patched:
        with queue.entered(LONG) as entry:
            pass_ = entry.since + seconds
            patched.setattr("gateway.llm.queue.time.monotonic", lambda: pass_)
        assert queue.active == 0


# --- the bounds


async def test_as_many_as_may_go_in_and_the_rest_wait_in_order() -> None:
    metrics = Metrics()
    queue = one(2, 3, metrics)
    visitors = [Visitor(queue) for _ in range(5)]
    await settle()
    assert [visitor.is_inside for visitor in visitors] == [True, True, False, False, False]
    assert (queue.active, queue.waiting) == (2, 3)
    assert metrics.registry.get_sample_value("gateway_queue_waiting", {"priority": "chat"}) == 3
    assert metrics.registry.get_sample_value("gateway_model_active", {"server": "m"}) == 2
    for index in range(5):
        await visitors[index].gone()
        await settle()
        assert [visitor.inside.is_set() for visitor in visitors] == [i <= index + 2 for i in range(5)]
    assert (queue.active, queue.waiting) == (0, 0)
    assert metrics.registry.get_sample_value("gateway_queue_active") == 0


async def test_one_too_many_is_refused_at_once_and_told_when_to_come_back() -> None:
    metrics = Metrics()
    queue = one(1, 1, metrics)
    first, second = Visitor(queue), Visitor(queue)
    await settle()
    with pytest.raises(QueueFull) as caught:
        async with queue.admitted(LONG):
            pytest.fail("there was no place")
    assert caught.value.status == 503
    assert caught.value.retry_after is not None
    assert SHORTEST_RETRY <= caught.value.retry_after <= LONGEST_RETRY
    assert refused(metrics, "full") == 1
    await first.gone()
    await second.gone()
    assert (queue.active, queue.waiting) == (0, 0)


async def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    metrics = Metrics()
    queue = one(metrics=metrics)
    inside = Visitor(queue)
    await inside.inside.wait()
    with pytest.raises(QueueTimeout, match=r"busy with other turns for 0\.001 s") as caught:
        async with queue.admitted(0.001):
            pytest.fail("there was no place")
    assert caught.value.retry_after is not None
    assert (queue.active, queue.waiting) == (1, 0)
    assert refused(metrics, "timeout") == 1
    await inside.gone()
    assert queue.active == 0


async def test_no_queue_at_all_still_admits() -> None:
    queue = one(1, 0)
    async with queue.admitted(0):
        assert queue.active == 1
        with pytest.raises(QueueFull):
            async with queue.admitted(LONG):
                pass
    assert queue.active == 0


async def test_an_error_inside_gives_the_place_back() -> None:
    queue = one()
    with pytest.raises(ValueError, match="inside"):
        async with queue.admitted(LONG):
            raise ValueError("inside")
    assert queue.active == 0


async def test_a_place_handed_over_in_the_moment_of_a_cancellation_goes_on_to_the_next() -> None:
    queue = one()
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


# --- who goes first


async def test_the_more_urgent_goes_first_and_among_equals_who_came_first() -> None:
    queue = one(size=9)
    inside = Visitor(queue)
    await settle()
    priorities = [Priority.AUTOMATION, Priority.CHAT, Priority.VOICE, Priority.CHAT, Priority.VOICE]
    visitors = [Visitor(queue, priority) for priority in priorities]
    await settle()
    assert [visitor.told[-1].position for visitor in visitors] == [5, 3, 1, 4, 2]
    await inside.gone()
    for index in (2, 4, 1, 3, 0):
        await asyncio.wait_for(visitors[index].inside.wait(), 10)
        assert sum(visitor.is_inside for visitor in visitors) == 1
        await visitors[index].gone()


async def test_a_more_urgent_turn_takes_the_room_of_the_last_one() -> None:
    metrics = Metrics()
    queue = one(1, 2, metrics)
    inside, chat, automation = Visitor(queue), Visitor(queue), Visitor(queue, Priority.AUTOMATION)
    await settle()
    voice = Visitor(queue, Priority.VOICE)
    with pytest.raises(QueueFull, match="more urgent") as caught:
        await automation.task
    assert caught.value.retry_after is not None
    assert refused(metrics, "displaced") == 1
    with pytest.raises(QueueFull):  # its equals are not driven out
        await Visitor(queue).task
    assert refused(metrics, "full") == 1
    await inside.gone()
    await asyncio.wait_for(voice.inside.wait(), 10)
    await voice.gone()
    await asyncio.wait_for(chat.inside.wait(), 10)
    await chat.gone()
    assert (queue.active, queue.waiting) == (0, 0)


async def test_who_waits_is_told_whenever_it_moves() -> None:
    queue = one()
    visitors = [Visitor(queue) for _ in range(3)]
    await settle()
    assert visitors[0].told == []
    assert visitors[2].told == [QueuePlace(2, 2 * FIRST_GUESS_SECONDS)]
    await visitors[0].gone()
    await settle()
    assert [place.position for place in visitors[2].told] == [2, 1]
    await visitors[1].gone()
    await visitors[2].gone()


async def test_a_turn_that_comes_a_second_time_keeps_its_rank() -> None:
    queue = one()
    with queue.entered(LONG) as first:
        waiting = Visitor(queue)
        await settle()
        order = first.order
    await settle()
    following = Visitor(queue)
    await settle()
    with queue.entered(LONG, order=order) as again:
        places = again.waits()
        assert (await anext(places)).position == 1
        await waiting.gone()
        with pytest.raises(StopAsyncIteration):
            await anext(places)
        assert following.waits
    await asyncio.wait_for(following.inside.wait(), 10)
    await following.gone()


# --- how long it takes


async def test_who_could_not_be_answered_in_time_is_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    queue = one(metrics=metrics)
    await let_last(queue, 40, monkeypatch)
    inside = Visitor(queue)
    await settle()
    expected = metrics.registry.get_sample_value("gateway_queue_expected_seconds")
    assert expected is not None
    assert 35 < expected <= 40
    with pytest.raises(QueueTimeout, match="longer than this turn may wait") as caught:
        async with queue.admitted(20):
            pytest.fail("there was no place")
    assert caught.value.retry_after is not None
    assert 20 < caught.value.retry_after <= 40
    assert refused(metrics, "expected") == 1
    patient = Visitor(queue, seconds=100)
    await settle()
    assert patient.waits
    with pytest.raises(QueueTimeout):  # behind both it would take twice as long
        async with queue.admitted(60):
            pytest.fail("there was no place")
    await inside.gone()
    await patient.gone()


async def test_before_anything_was_measured_nobody_is_refused_for_a_guess() -> None:
    queue = one()
    visitors = [Visitor(queue, seconds=FIRST_GUESS_SECONDS / 2) for _ in range(2)]
    await settle()
    assert visitors[1].waits
    for visitor in visitors:
        await visitor.gone()


async def test_one_long_answer_does_not_make_the_rest_seem_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = one()
    for seconds in (2, 3, 300):
        await let_last(queue, seconds, monkeypatch)
    visitors = [Visitor(queue, seconds=15) for _ in range(3)]
    await settle()
    assert [place.expected_seconds for visitor in visitors for place in visitor.told] == [
        pytest.approx(3, abs=1),
        pytest.approx(6, abs=1),
    ]
    for visitor in visitors:
        await visitor.gone()


async def test_what_failed_says_nothing_about_how_long_a_turn_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = one()
    with pytest.raises(ValueError, match="inside"):
        async with queue.admitted(LONG):
            raise ValueError("inside")
    inside = Visitor(queue)
    await settle()
    assert queue.expected() == pytest.approx(FIRST_GUESS_SECONDS, abs=1)
    await inside.gone()


# --- several servers


async def test_the_first_free_place_that_suits_is_taken_in_its_order_of_preference() -> None:
    queue = AdmissionQueue({"a": 1, "b": 1}, 9, Metrics())
    first = Visitor(queue, servers=("b", "a"))
    second = Visitor(queue, servers=("b", "a"))
    only_b = Visitor(queue, servers=("b",))
    any_place = Visitor(queue, servers=("b", "a"))
    await settle()
    assert (first.server, second.server) == ("b", "a")
    await second.gone()
    await settle()
    assert only_b.waits
    assert any_place.server == "a"  # which does not pass over one that could have used the place
    await first.gone()
    await settle()
    assert only_b.server == "b"
    await only_b.gone()
    await any_place.gone()


async def test_what_suits_is_asked_again_when_it_changes() -> None:
    queue = AdmissionQueue({"a": 1, "b": 1}, 9, Metrics())
    inside = Visitor(queue, servers=("a",))
    waiting = Visitor(queue, servers=("a",))
    await settle()
    waiting.servers = ("a", "b")
    queue.look_again()
    await settle()
    assert waiting.server == "b"
    await inside.gone()
    await waiting.gone()


# --- background


async def test_background_work_is_called_back_when_a_turn_would_wait() -> None:
    queue = one(1, 0)  # not even a queue: who is promised a place needs no room in it
    background = Visitor(queue, Priority.BACKGROUND)
    await asyncio.wait_for(background.inside.wait(), 10)
    turn = Visitor(queue)
    await asyncio.wait_for(turn.inside.wait(), 10)
    assert background.called_back
    with pytest.raises(QueueFull):
        await Visitor(queue, Priority.BACKGROUND).task
    await turn.gone()


async def test_background_work_waits_while_anybody_waits() -> None:
    queue = AdmissionQueue({"a": 1, "b": 1}, 9, Metrics())
    inside, waiting = Visitor(queue, servers=("a",)), Visitor(queue, servers=("a",))
    background = Visitor(queue, Priority.BACKGROUND, servers=("b",))
    await settle()
    assert background.waits
    await inside.gone()
    await asyncio.wait_for(background.inside.wait(), 10)
    turn = Visitor(queue, servers=("a",))  # waits for another place than the background's
    await settle()
    assert not background.called_back
    await waiting.gone()
    await turn.gone()
    await background.gone()


async def test_background_work_leaves_the_last_of_several_places_free() -> None:
    queue = one(2)
    first, second = Visitor(queue, Priority.BACKGROUND), Visitor(queue, Priority.BACKGROUND)
    await settle()
    assert (first.is_inside, second.is_inside) == (True, False)
    turn = Visitor(queue)
    await settle()
    assert turn.is_inside
    assert not first.called_back
    another = Visitor(queue)
    await settle()
    assert another.is_inside
    assert first.called_back
    for visitor in (turn, another, second):
        await visitor.gone()


# --- any history


class History:
    """Runs a history, and looks after every step whether the queue keeps what it promises."""

    def __init__(self, places: dict[str, int], size: int) -> None:
        self.places = places
        self.size = size
        self.queue = AdmissionQueue(places, size, Metrics())
        self.everyone: list[Visitor] = []

    def come(self, priority: Priority, servers: Sequence[str]) -> None:
        self.everyone.append(Visitor(self.queue, priority, [name for name in servers if name in self.places] or ["a"]))

    def check(self) -> None:
        inside = [visitor for visitor in self.everyone if visitor.is_inside]
        used = Counter(visitor.server for visitor in inside)
        for server, places in self.places.items():
            assert used[server] <= places
            assert self.queue.active_at(server) <= places
        assert all(visitor.server in visitor.servers for visitor in inside)

    def check_settled(self) -> None:
        """Nothing is under way: who waits, waits for a reason."""
        self.check()
        inside = [visitor for visitor in self.everyone if visitor.is_inside]
        waiting = [visitor for visitor in self.everyone if visitor.waits]
        assert self.queue.active == len(inside)
        assert self.queue.waiting == len(waiting) <= self.size
        used = Counter(visitor.server for visitor in inside)
        turns = [visitor for visitor in waiting if visitor.priority is not Priority.BACKGROUND]
        for turn in turns:
            # No place it could use is free, nor held by background work.
            assert all(used[server] == self.places[server] for server in turn.servers)
            assert not any(other.priority is Priority.BACKGROUND and other.server in turn.servers for other in inside)
        # Nobody is behind one who is less urgent, or who came later.
        order = sorted(waiting, key=lambda visitor: (visitor.priority, self.everyone.index(visitor)))
        assert [visitor.told[-1].position for visitor in order] == list(range(1, len(order) + 1))


@settings(max_examples=150, deadline=None)
@given(
    places=st.dictionaries(st.sampled_from("ab"), st.integers(1, 3), min_size=1),
    size=st.integers(0, 4),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "leave", "cancel inside", "cancel waiting"]),
            st.integers(0, 9),
            st.sampled_from(Priority),
            st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a")]),
            st.booleans(),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_places_and_order_hold_and_nobody_is_lost(
    places: dict[str, int], size: int, steps: list[tuple[str, int, Priority, tuple[str, ...], bool]]
) -> None:
    places = {"a": 1, **places}

    async def run() -> None:
        history = History(places, size)
        for what, which, priority, servers, pause in steps:
            inside = [visitor for visitor in history.everyone if visitor.is_inside]
            waiting = [visitor for visitor in history.everyone if visitor.waits]
            if what == "come":
                history.come(priority, servers)
            elif among := (waiting if what == "cancel waiting" else inside):
                chosen = among[which % len(among)]
                chosen.leave.set() if what == "leave" else chosen.task.cancel()
            await asyncio.sleep(0)
            history.check()
            if pause:
                await settle()
                history.check_settled()
        await settle()
        history.check_settled()
        # Everyone who came is answered, or was told why not.
        for visitor in history.everyone:
            visitor.leave.set()
        await asyncio.wait_for(asyncio.gather(*(v.task for v in history.everyone), return_exceptions=True), 20)
        for visitor in history.everyone:
            if not visitor.task.cancelled() and visitor.task.exception() is not None:
                assert isinstance(visitor.task.exception(), Unavailable)
            elif not visitor.task.cancelled():
                assert visitor.inside.is_set()
        assert (history.queue.active, history.queue.waiting) == (0, 0)

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(parallel=st.integers(1, 2), priorities=st.lists(st.sampled_from(list(Priority)[:3]), max_size=12))
def test_turns_are_answered_in_the_order_of_priority_and_arrival(parallel: int, priorities: list[Priority]) -> None:
    async def run() -> None:
        queue = one(parallel, 20)
        first = [Visitor(queue) for _ in range(parallel)]
        await settle()
        visitors = [Visitor(queue, priority) for priority in priorities]
        await settle()
        answered: list[int] = []
        for visitor in first:
            await visitor.gone()
        while any(not visitor.task.done() for visitor in visitors):
            await settle()
            for number, visitor in enumerate(visitors):
                if visitor.is_inside and number not in answered:
                    answered.append(number)
            inside = [visitor for visitor in visitors if visitor.is_inside]
            await inside[0].gone()
        expected = sorted(range(len(priorities)), key=lambda number: (priorities[number], number))
        if parallel == 1:
            assert answered == expected
        assert sorted(answered) == sorted(expected)

    asyncio.run(run())
