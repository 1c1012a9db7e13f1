"""The Wyoming door: a client that speaks the protocol's own event classes over TCP, and clients that do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.asr import Transcript
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled
from wyoming.info import Describe, Info
from wyoming.intent import Recognize
from wyoming.ping import Ping, Pong
from zeroconf import NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from gateway.config import OPEN_TO_ANYONE, ServerSettings, Settings
from gateway.edge import keys, wyoming
from gateway.errors import BadRequest, PayloadTooLarge, StartError
from gateway.shapes import Scope
from tests.house import House
from tests.scripted_model import HANG, Answer

HOST = "127.0.0.1"
BOUND = 4096  # bytes of an event, in the tests of the reader


def opened(
    pipeline: Any, scope: Scope, server: ServerSettings, data: Path, **more: Any
) -> AbstractAsyncContextManager[int]:
    """The door, on a free port."""
    terms: dict[str, Any] = {"host": HOST, "port": 0, "max_connections": 8, "idle_seconds": 60}
    return wyoming.listening(pipeline, scope, server, languages=("en", "fr"), data=data, **(terms | more))


def door_of(house: House, settings: Settings, **more: Any) -> AbstractAsyncContextManager[int]:
    """The door of a whole gateway."""
    scope = Scope(house.gateway.household_id)
    return opened(house.gateway.application[keys.PIPELINE], scope, settings.server, settings.data, **more)


@pytest.fixture
async def port(house: House, settings: Settings) -> AsyncIterator[int]:
    async with door_of(house, settings) as port:
        yield port


class Clockwork:
    """In the pipeline's place where no turn is to be had, or only one that breaks."""

    async def run(self, turn: Any) -> AsyncGenerator[Any, None]:
        raise RuntimeError("a mistake of ours")
        yield


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a door with nothing behind it."""
    async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path) as port:
        yield port


def to(port: int, host: str = HOST) -> AsyncTcpClient:
    return AsyncTcpClient(host, port)


async def answers(client: AsyncTcpClient, event: Event) -> list[Event]:
    """Sends an event and reads until nothing more belongs to its answer: up to a pong of ours."""
    await client.write_event(event)
    return [answer async for answer in until_pong(client)]


async def until_pong(client: AsyncTcpClient) -> AsyncIterator[Event]:
    await client.write_event(Ping(text="done?").event())
    while not Pong.is_type((event := await heard(client)).type):
        yield event


async def heard(client: AsyncTcpClient) -> Event:
    event = await client.read_event()
    assert event is not None, "the connection was closed"
    return event


def terminal(events: list[Event]) -> Event:
    """The event that a client waits for which knows no streaming."""
    (event,) = [event for event in events if event.type in ("handled", "not-handled", "error")]
    return event


async def served(port: int) -> None:
    """Until a new connection is answered."""
    while True:
        async with to(port) as client:
            with suppress(OSError):
                await client.write_event(Ping().event())
                if (event := await client.read_event()) is not None and Pong.is_type(event.type):
                    return


# --- what a client gets -------------------------------------------------------------------------------------------


async def test_describe(bare: int) -> None:
    async with to(bare) as client:
        (event,) = await answers(client, Describe().event())
    info = Info.from_event(event)
    (program,) = info.handle
    assert program.name == "ai-gateway"
    assert program.installed
    assert program.supports_handled_streaming
    assert not program.supports_home_control
    assert [model.languages for model in program.models] == [["en", "fr"]]
    # An intent program would go before ours, in name and languages.
    assert not info.intent


async def test_a_turn_is_streamed_and_then_told_whole(house: House, port: int) -> None:
    house.model.script(Answer("It is ", "Paris."))
    said = Transcript(
        "What is the capital of France?",
        language="en",
        context={"conversation_id": "01K", "device_id": "dev", "satellite_id": "assist_satellite.x", "more": [1]},
    )
    async with to(port) as client:
        events = await answers(client, said.event())
    assert [event.type for event in events] == [
        "handled-start",
        "handled-chunk",
        "handled-chunk",
        "handled",
        "handled-stop",
    ]
    assert HandledStart.is_type(events[0].type)
    assert HandledStop.is_type(events[-1].type)
    chunks = [HandledChunk.from_event(event).text for event in events if HandledChunk.is_type(event.type)]
    assert chunks == ["It is", " Paris."]
    handled = Handled.from_event(events[-2])
    assert handled.text == "It is Paris."
    assert handled.context is not None
    assert handled.context["conversation_id"] == "01K"
    user, assistant = await house.logged()
    assert (user["session_id"], user["content"], user["language"]) == ("01K", "What is the capital of France?", "en")
    assert assistant["content"] == "It is Paris."
    assert handled.context["interaction_id"] == f"conv_{user['turn_id']}"


async def test_the_conversation_goes_on_over_connections(house: House, port: int) -> None:
    # Home Assistant 2026.2 says no more than this.
    for words in ("My name is Ada.", "What is my name?"):
        async with to(port) as client:
            events = await answers(client, Transcript(words, context={"conversation_id": "01K"}).event())
        assert Handled.is_type(terminal(events).type)
    asked = [message["content"] for message in house.model.chats[-1]["messages"]]
    assert "My name is Ada." in asked
    assert "What is my name?" in asked[-1]


async def test_without_a_context_a_conversation_begins(house: House, port: int) -> None:
    async with to(port) as client:
        events = await answers(client, Event("transcript", {"text": "Hello there", "language": "", "context": None}))
    context = Handled.from_event(terminal(events)).context
    assert context is not None
    assert context["conversation_id"]


async def test_a_failed_turn_is_not_handled_and_says_so(house: House, port: int) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    async with to(port) as client:
        events = await answers(client, Transcript("Quelle est la capitale ?", language="fr-FR").event())
        failed = NotHandled.from_event(terminal(events))
        assert NotHandled.is_type(terminal(events).type)
        assert failed.text == "Mon modèle de langage n'a pas pu répondre."
        # The connection goes on.
        assert Handled.is_type(terminal(await answers(client, Transcript("And now?").event())).type)


async def test_other_events_are_dropped(bare: int) -> None:
    async with to(bare) as client:
        for event in (
            Event("select-program", {"name": "another"}),
            Event("audio-chunk", {"rate": 16000}, b"\0" * 2048),
            Recognize("turn on the light").event(),
            Event("transcript-start"),
        ):
            assert await answers(client, event) == []


async def test_a_client_that_goes_ends_its_turn(house: House, port: int) -> None:
    house.model.script(Answer("Once upon a", HANG))
    async with to(port) as client:
        await client.write_event(Transcript("Tell me about the sea").event())
        assert HandledStart.is_type((await heard(client)).type)
        assert HandledChunk.from_event(await heard(client)).text == "Once upon"
    await house.model.client_gone.wait()
    await served(port)
    row = (await house.logged())[-1]
    assert row["metadata"]["cut_off"]
    assert row["content"] == "Once upon"


async def test_a_turn_is_finished_before_the_next_event(house: House, port: int) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("one ", gate, "two"), Answer("three"))
    async with to(port) as client:
        await client.write_event(Transcript("Count to two").event())
        await client.write_event(Transcript("Go on counting").event())
        assert HandledStart.is_type((await heard(client)).type)
        gate.set()
        texts = [Handled.from_event(event).text async for event in until_pong(client) if Handled.is_type(event.type)]
    assert texts == ["one two", "three"]


# --- what a client may not do -------------------------------------------------------------------------------------

MALFORMED = [
    b"\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\xfe\n",
    b"[]\n",
    b'"transcript"\n',
    b"{}\n",
    b'{"type": 5}\n',
    b'{"type": "ping", "data": []}\n',
    b'{"type": "ping", "data_length": "3"}\n',
    b'{"type": "ping", "data_length": true}\n',
    b'{"type": "ping", "data_length": -1}\n',
    b'{"type": "ping", "data_length": 1e999}\n',
    b'{"type": "ping", "data_length": NaN}\n',
    b'{"type": "ping", "data_length": 3}\n[1]',
    b'{"type": "ping", "data_length": 3}\n{"\xff',
    b"[" * 10_000 + b"\n",
    b'{"type": "transcript"}\n',
    b'{"type": "transcript", "data": {"text": 5}}\n',
    b'{"type": "transcript", "data": {"text": "  "}}\n',
    b'{"type": "transcript", "data": {"text": "a\\u0000b"}}\n',
    b'{"type": "transcript", "data": {"text": "\\ud800"}}\n',
    b'{"type": "transcript", "data": {"text": "hi", "language": "../en"}}\n',
    b'{"type": "transcript", "data": {"text": "hi", "context": "01K"}}\n',
    b'{"type": "transcript", "data": {"text": "hi", "context": {"conversation_id": 1}}}\n',
    b'{"type": "transcript", "data": {"text": "' + b"a" * 8001 + b'"}}\n',
]
OVERSIZED = [
    b'{"type": "transcript", "data_length": 1000000000}\n',
    b'{"type": "audio-chunk", "payload_length": 1000000000}\n',
    b'{"type": "audio-chunk", "payload_length": 100000000000000000000000000}\n',
    b'{"type": "x", "data_length": 100000, "payload_length": 100000}\n',
]


@pytest.mark.parametrize("sent", MALFORMED)
async def test_a_malformed_event_ends_its_own_connection_alone(bare: int, sent: bytes) -> None:
    async with to(bare) as other:
        assert await answers(other, Event("nothing")) == []
        async with to(bare) as client:
            assert client._writer is not None
            client._writer.write(sent)
            error = Error.from_event(await heard(client))
            assert error.code == "bad_request"
            assert await client.read_event() is None
        assert await answers(other, Event("nothing")) == []


@pytest.mark.parametrize("sent", OVERSIZED)
async def test_an_oversized_event_is_refused_before_it_is_read(bare: int, sent: bytes) -> None:
    async with to(bare) as client:
        assert client._writer is not None
        client._writer.write(sent)
        error = Error.from_event(await heard(client))
        assert error.code in ("too_large", "bad_request")
        assert await client.read_event() is None
    await served(bare)


async def test_a_line_without_end_is_refused(bare: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, bare)
    writer.write(b'{"type": "')
    with suppress(OSError):
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()
    with suppress(OSError):
        answer = await reader.read()
        assert not answer or orjson.loads(answer.splitlines()[0])["type"] == "error"
    writer.close()
    await served(bare)


async def test_the_longest_text_there_may_be_fits(house: House, port: int) -> None:
    async with to(port) as client:
        # Six bytes for each half of a character, in a line of its own and in the bytes behind it.
        data = b'{"text": "' + b"\\ud83d\\ude00" * 8000 + b'"}'
        assert client._writer is not None
        client._writer.write(b'{"type": "transcript", "data_length": %d}\n' % len(data) + data)
        events = [event async for event in until_pong(client)]
    assert Handled.is_type(terminal(events).type)


async def test_a_mistake_of_ours_ends_the_connection_alone(bare: int, caplog: pytest.LogCaptureFixture) -> None:
    async with to(bare) as client:
        await client.write_event(Transcript("Hello").event())
        error = Error.from_event(await heard(client))
        assert error.code == "internal"
        assert "a mistake of ours" not in error.text
        assert await client.read_event() is None
    assert any(record.exc_info for record in caplog.records)
    caplog.clear()
    await served(bare)


async def test_more_connections_than_there_may_be(tmp_path: Path) -> None:
    async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path, max_connections=1) as port:
        async with to(port) as first:
            assert await answers(first, Event("nothing")) == []
            async with to(port) as second:
                assert Error.from_event(await heard(second)).code == "unavailable"
                assert await second.read_event() is None
            assert await answers(first, Event("nothing")) == []
        await served(port)


async def test_a_silent_client_is_let_go(tmp_path: Path) -> None:
    async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path, idle_seconds=0.05) as port:
        for half in (b"", b'{"type": ', b'{"type": "ping", "data_length": 20}\n{"text'):
            async with to(port) as client:
                assert client._writer is not None
                client._writer.write(half)
                assert await client.read_event() is None


async def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    terms = {"max_connections": 1, "idle_seconds": 0.2}
    async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path, **terms) as port:
        _, writer = await asyncio.open_connection(HOST, port, limit=1)
        ping = orjson.dumps({"type": "ping", "data": {"text": "a" * 50_000}}) + b"\n"
        with suppress(OSError):
            while True:
                writer.write(ping)
                await writer.drain()
        writer.transport.abort()
        await served(port)


@pytest.mark.parametrize(
    "address, networks, words, trusted",
    [
        ("127.0.0.1", (), "", True),
        ("::1", (), "", True),
        ("::ffff:127.0.0.1", (), "", True),
        ("192.168.1.7", (), "", False),
        ("192.168.1.7", ("192.168.1.0/24",), "", True),
        ("::ffff:192.168.1.7", ("192.168.1.0/24",), "", True),
        ("192.168.2.7", ("192.168.1.0/24",), "", False),
        ("fe80::1%eth0", ("fe80::/10",), "", True),
        ("8.8.8.8", (), OPEN_TO_ANYONE, True),
        ("", (), "", False),
        ("localhost", (), "", False),
    ],
)
def test_who_may_connect(address: str, networks: tuple[str, ...], words: str, trusted: bool) -> None:
    assert wyoming.trusted(address, ServerSettings(trusted_networks=networks, open_to_anyone=words)) is trusted


async def test_a_stranger_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = wyoming.outgoing_address()
    if own is None:
        pytest.skip("this machine has no address but loopback")
    network = f"{own}/32"
    # Not announced: nobody outside this test is to find it.
    door = wyoming.WyomingServer(own, 0, server=ServerSettings(), max_connections=8)
    await door.start(lambda reader, writer: pytest.fail("a stranger was let in"))
    try:
        for _ in range(2):
            async with to(door.address[1], own) as client:
                assert Error.from_event(await heard(client)).code == "forbidden"
                assert await client.read_event() is None
    finally:
        await door.stop()
    assert [record.args for record in caplog.records if record.levelno == logging.WARNING] == [(own,)]
    assert wyoming.trusted(own, ServerSettings(trusted_networks=(network,)))


# --- the reader ---------------------------------------------------------------------------------------------------

lengths = st.one_of(st.none(), st.integers(), st.integers(0, 40), st.floats(), st.text(), st.booleans())
headers = st.dictionaries(
    st.sampled_from(["type", "data", "data_length", "payload_length", "version"]),
    st.one_of(lengths, st.dictionaries(st.text(), st.integers()), st.lists(st.integers()), st.just("ping")),
)
streams = st.one_of(
    st.binary(max_size=200),
    st.tuples(headers, st.binary(max_size=80)).map(lambda parts: _dumped(parts[0]) + b"\n" + parts[1]),
)


def _dumped(header: dict[str, Any]) -> bytes:
    import json  # writes every number that Python has, in or out of bounds

    return json.dumps(header).encode()


@given(streams)
def test_whatever_comes_is_an_event_an_error_or_the_end(stream: bytes) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader(limit=BOUND)
        reader.feed_data(stream)
        reader.feed_eof()
        try:
            while (event := await wyoming.read_event(reader, BOUND)) is not None:
                assert isinstance(event.type, str)
                assert isinstance(event.data, dict)
        except (BadRequest, PayloadTooLarge):
            return

    asyncio.run(read())


# --- the end ------------------------------------------------------------------------------------------------------


async def test_a_turn_in_flight_is_finished_at_the_end(house: House, settings: Settings) -> None:
    gate = asyncio.Event()
    house.model.script(Answer("one ", gate, "two"))
    leaving = settings.model_copy(update={"server": settings.server.model_copy(update={"shutdown_seconds": 60})})
    door = door_of(house, leaving)
    port = await door.__aenter__()
    async with to(port) as client, to(port) as idle:
        assert await answers(idle, Event("nothing")) == []
        await client.write_event(Transcript("Count to two").event())
        assert HandledStart.is_type((await heard(client)).type)
        closing = asyncio.create_task(door.__aexit__(None, None, None))
        assert await idle.read_event() is None
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection(HOST, port)
        gate.set()
        events = []
        while (event := await client.read_event()) is not None:
            events.append(event)
        await closing
    assert Handled.from_event(terminal(events)).text == "one two"


async def test_a_turn_that_takes_too_long_is_cut_off_at_the_end(house: House, settings: Settings) -> None:
    house.model.script(Answer("one ", HANG))
    hasty = settings.model_copy(update={"server": settings.server.model_copy(update={"shutdown_seconds": 0})})
    async with door_of(house, hasty) as port:
        client = to(port)
        await client.connect()
        await client.write_event(Transcript("Count to two").event())
        assert HandledStart.is_type((await heard(client)).type)
        assert HandledChunk.is_type((await heard(client)).type)
    assert await client.read_event() is None
    await client.disconnect()
    assert (await house.logged())[-1]["metadata"]["cut_off"]


async def test_a_port_that_is_taken(bare: int, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="GATEWAY_WYOMING_PORT"):
        async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path, port=bare):
            pass


# --- being found --------------------------------------------------------------------------------------------------


def test_the_name_is_kept(tmp_path: Path) -> None:
    name = wyoming.stable_name(tmp_path)
    assert len(name) == 12
    assert wyoming.stable_name(tmp_path) == name
    (tmp_path / wyoming.NAME_FILE).write_bytes(b"\xff not a name")
    another = wyoming.stable_name(tmp_path)
    assert another != name
    assert wyoming.stable_name(tmp_path) == another


def test_a_name_that_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="GATEWAY_DATA"):
        wyoming.stable_name(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "bound, reachable",
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("0.0.0.0", "10.0.0.9"),  # noqa: S104 (compared, not bound)
        ("::", "10.0.0.9"),
        ("192.168.1.7", "192.168.1.7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_where_others_reach_it(bound: str, reachable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wyoming, "outgoing_address", lambda: "10.0.0.9")
    assert wyoming.reachable_address(bound) == reachable


async def test_it_is_found_by_zeroconf_and_says_goodbye() -> None:
    seen: asyncio.Queue[tuple[str, ServiceStateChange]] = asyncio.Queue()

    def tell(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        seen.put_nowait((name, state_change))

    async def until(change: ServiceStateChange, name: str) -> None:
        while await seen.get() != (name, change):
            pass

    # Random, as other tests may look at the same time.
    mine = f"{id(seen) & 0xFFFFFFFFFFFF:012x}"
    full = f"{mine}.{wyoming.SERVICE}"
    async with AsyncZeroconf(interfaces=[HOST]) as network:
        browser = AsyncServiceBrowser(network.zeroconf, wyoming.SERVICE, handlers=[tell])
        async with wyoming.announced_at(mine, HOST, 10700):
            await until(ServiceStateChange.Added, full)
            found = AsyncServiceInfo(wyoming.SERVICE, full)
            assert await found.async_request(network.zeroconf, 3000)
            assert (found.parsed_addresses(), found.port) == ([HOST], 10700)
            with pytest.raises(NonUniqueNameException):
                async with wyoming.announced_at(mine, HOST, 10701):
                    pass
        await until(ServiceStateChange.Removed, full)
        await browser.async_cancel()


async def test_it_is_announced_wherever_the_network_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # No network; then one without multicast; then one that works, until it gives us another address.
    addresses = iter([None, "10.0.0.7", "10.0.0.7", "10.0.0.8", "10.0.0.8", "10.0.0.9"])
    seen: list[tuple[str, str]] = []
    there = asyncio.Event()

    @asynccontextmanager
    async def announced_at(name: str, address: str, port: int) -> AsyncIterator[None]:
        if address == "10.0.0.7":
            raise OSError("Network is unreachable")
        seen.append(("at", address))
        if address == "10.0.0.9":
            there.set()
        yield
        seen.append(("gone from", address))

    monkeypatch.setattr(wyoming, "LOOK_SECONDS", 0)
    monkeypatch.setattr(wyoming, "announced_at", announced_at)
    monkeypatch.setattr(wyoming, "outgoing_address", lambda: next(addresses, "10.0.0.9"))
    async with opened(Clockwork(), Scope(1), ServerSettings(), tmp_path, host="0.0.0.0"):  # noqa: S104 (for a moment)
        await there.wait()
    assert seen == [("at", "10.0.0.8"), ("gone from", "10.0.0.8"), ("at", "10.0.0.9")]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
