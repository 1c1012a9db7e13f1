"""Single flight: one stream for everyone who asks the same, whoever comes, goes, or is late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache.flight import Flight, Flights
from gateway.errors import ModelTimeout
from gateway.shapes import Delta, QueuePlace

NAME = "the question"


class Stream:
    """A stream drawn piece by piece, on command."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
        self.drawn = asyncio.Event()
        self.closed = asyncio.Event()

    def say(self, *pieces: str) -> None:
        for piece in pieces:
            self._pieces.put_nowait(Delta(piece))

    def put(self, piece: Delta | Exception | None) -> None:
        self._pieces.put_nowait(piece)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        self.drawn.set()
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed.set()


async def heard(flight: Flight[None], words: list[str]) -> None:
    async with flight.following() as deltas:
        async for delta in deltas:
            words += [delta.content]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_late_hears_the_beginning_at_once_and_the_rest_as_it_comes() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    first: list[str] = []
    one = asyncio.create_task(heard(flight, first))
    stream.say("Once", " upon")
    await settle()
    late: list[str] = []
    found = flights.find(NAME)
    assert found is flight
    other = asyncio.create_task(heard(found, late))
    await settle()
    assert late == ["Once", " upon"]
    stream.say(" a time")
    stream.put(None)
    await asyncio.gather(one, other)
    assert first == late == ["Once", " upon", " a time"]
    assert flights.find(NAME) is None


async def test_the_one_who_started_it_may_leave() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    starter = asyncio.create_task(heard(flight, []))
    words: list[str] = []
    other = asyncio.create_task(heard(flight, words))
    stream.say("one")
    await settle()
    starter.cancel()
    await settle()
    assert not stream.closed.is_set()
    stream.say(" two")
    stream.put(None)
    await other
    assert words == ["one", " two"]


async def test_the_last_to_leave_ends_it() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    everyone = [asyncio.create_task(heard(flight, [])) for _ in range(3)]
    await stream.drawn.wait()
    for one in everyone[:2]:
        one.cancel()
    await settle()
    assert not stream.closed.is_set()
    everyone[2].cancel()
    await asyncio.gather(*everyone, return_exceptions=True)
    assert stream.closed.is_set()
    assert flights.find(NAME) is None


async def test_nobody_joins_what_is_being_ended() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    only = asyncio.create_task(heard(flight, []))
    await stream.drawn.wait()
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    another = flights.start(NAME, None, Stream().deltas())
    assert flights.find(NAME) is another
    flight._ending()
    assert flights.find(NAME) is another
    leaving = asyncio.create_task(heard(another, []))
    await settle()
    leaving.cancel()


async def test_a_failure_is_heard_by_all_also_by_those_who_come_while_it_is_told() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    words: list[list[str]] = [[], []]
    everyone = [asyncio.create_task(heard(flight, one)) for one in words]
    stream.say("Once")
    stream.put(ModelTimeout("the model fell silent"))
    results = await asyncio.gather(*everyone, heard(flight, []), return_exceptions=True)
    assert [type(result) for result in results] == [ModelTimeout] * 3
    assert words == [["Once"], ["Once"]]
    assert len(flights) == 0


async def test_where_a_turn_stood_in_the_queue_is_not_told_to_those_who_come_later() -> None:
    stream, flights = Stream(), Flights[None]()
    flight = flights.start(NAME, None, stream.deltas())
    first: list[str] = []
    starter = asyncio.create_task(heard(flight, first))
    for position in (3, 2):
        stream.put(Delta(queue=QueuePlace(position, 1.0)))
        await settle()
    stream.say("Hello")
    await settle()
    late: list[str] = []
    other = asyncio.create_task(heard(flight, late))
    stream.put(None)
    await asyncio.gather(starter, other)
    assert first == ["", "", "Hello"]
    assert late == ["Hello"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["join", "leave", "say", "say", "join"]), max_size=40), st.booleans(), st.randoms())
def test_whoever_stays_hears_everything(steps: list[str], fails: bool, random: object) -> None:
    async def history() -> None:
        stream, flights = Stream(), Flights[None]()
        flight = flights.start(NAME, None, stream.deltas())
        said: list[str] = []
        staying: list[tuple[asyncio.Task[None], list[str]]] = []

        def join() -> None:
            words: list[str] = []
            staying.append((asyncio.create_task(heard(flight, words)), words))

        join()
        await settle()
        for number, step in enumerate(steps):
            if step == "join":
                join()
            elif step == "say":
                said.append(str(number))
                stream.say(str(number))
            elif len(staying) > 1:
                leaving, _ = staying.pop(random.randrange(len(staying)))  # type: ignore[attr-defined]
                leaving.cancel()
            if random.random() < 0.5:  # type: ignore[attr-defined]
                await settle()
        assert not stream.closed.is_set()
        stream.put(ModelTimeout("late") if fails else None)
        ended = await asyncio.gather(*(task for task, _ in staying), return_exceptions=True)
        assert all(isinstance(end, ModelTimeout) is fails for end in ended)
        assert all(words == said for _, words in staying)
        assert stream.closed.is_set()
        assert len(flights) == 0

    asyncio.run(history())
