"""Wyoming, Home Assistant's voice protocol: a program that handles what was said, on a TCP port of its own.

An event is a line of JSON, then as many bytes of JSON and of payload as the line says:

    {"type": "transcript", "version": "1.10.2", "data_length": 91}
    {"text": "turn on the light", "language": "en", "context": {"conversation_id": "01K", "device_id": "d"}}

What comes and what goes, in this order:

    describe    ->  info
    ping        ->  pong
    transcript  ->  handled-start, handled-chunk ..., handled (or not-handled), handled-stop
    what cannot be understood or is too large  ->  error, and the connection is closed

`handled` and `not-handled` hold the whole text, so that clients which do not know the streamed events (Home Assistant
among them) need only wait for it. `not-handled` is a turn that failed; its text says so in the user's language. Events
of other types are dropped, as the protocol asks. The protocol knows no tokens: only loopback and the trusted networks
may connect, and they speak for the household.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from wyoming.asr import Transcript
from wyoming.error import Error
from wyoming.event import Event
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled
from wyoming.info import Attribution, Describe, HandleModel, HandleProgram, Info
from wyoming.ping import Ping, Pong
from wyoming.server import AsyncEventHandler, AsyncTcpServer, HandlerFactory
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from gateway import __version__
from gateway.config import ServerSettings
from gateway.edge.api import Input, Name, Text, parse
from gateway.edge.middleware import trusted
from gateway.errors import BadRequest, Forbidden, GatewayError, PayloadTooLarge, StartError, Unavailable
from gateway.shapes import Reply, Scope, Turn
from gateway.tasks import end
from gateway.turn.pipeline import Pipeline

log = logging.getLogger(__name__)

PROGRAM = "ai-gateway"
SERVICE = "_wyoming._tcp.local."
NAME_FILE = "wyoming-name"
MULTICAST = ("224.0.0.251", 5353)
LOOK_SECONDS = 30.0  # between two looks at our own address
# A character takes up to 12 bytes where JSON escapes it; the rest of an event has this much room.
BYTES_PER_CHARACTER = 12
ROOM_BYTES = 32_768
REFUSED_REMEMBERED = 256


# --- events -------------------------------------------------------------------------------------------------------


async def read_event(reader: asyncio.StreamReader, max_bytes: int) -> Event | None:
    """The next event, or None where the client has gone.

    The package's own reader keeps as many bytes as are announced, however many, and fails on what is no event; this
    one takes `max_bytes` of data and payload together (and of the line what `reader` was made for). Raises
    PayloadTooLarge, or BadRequest for what is no event.
    """
    try:
        line = await reader.readline()
    except ValueError as error:
        raise PayloadTooLarge("The event's first line is too long.") from error
    if not line.endswith(b"\n"):
        return None
    header = _object(line, "The event's first line")
    kind = header.get("type")
    if not isinstance(kind, str):
        raise BadRequest("The event has no type.", field="type")
    data_length, payload_length = _length(header, "data_length"), _length(header, "payload_length")
    if data_length + payload_length > max_bytes:
        raise PayloadTooLarge(f"The event has more than the {max_bytes} bytes that are allowed.")
    data = header.get("data")
    if data is None:
        data = {}
    elif not isinstance(data, dict):
        raise BadRequest("The event's data is no JSON object.", field="data")
    try:
        if data_length:
            data |= _object(await reader.readexactly(data_length), "The event's data")
        payload = await reader.readexactly(payload_length) if payload_length else None
    except asyncio.IncompleteReadError:
        return None
    return Event(kind, data, payload)


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{what} is not JSON.") from error
    if not isinstance(value, dict):
        raise BadRequest(f"{what} is no JSON object.")
    return value


def _length(header: dict[str, Any], name: str) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{name} is no number of bytes.", field=name)
    return value


def _none_for_nothing(value: object) -> object:
    return None if value == "" else value


Label = Annotated[Name | None, BeforeValidator(_none_for_nothing)]
Language = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] | None,
    BeforeValidator(_none_for_nothing),
]


class _Context(BaseModel):
    """What Home Assistant says of the talk and of who heard it (2026.2: the conversation alone)."""

    conversation_id: Label = None
    device_id: Label = None
    satellite_id: Label = None


class _Transcript(Input):
    """What is read of a transcript; whatever else stands in it and in its context is the client's own affair."""

    model_config = ConfigDict(extra="ignore")

    text: Text
    language: Language = None
    context: _Context | None = None


def from_transcript(event: Event, scope: Scope, max_text_characters: int) -> Turn:
    """The turn that a `transcript` asks for. Raises BadRequest that names the field."""
    given = parse(orjson.dumps(event.data), _Transcript, {"max_text": max_text_characters})
    context = given.context or _Context()
    return Turn(
        scope=scope,
        utterance=given.text.strip(),
        edge="wyoming",
        conversation_id=context.conversation_id,
        device_id=context.device_id or context.satellite_id,
        language=given.language,
        voice=True,
    )


def to_event(reply: Reply) -> Event:
    """`handled` with the answer, or `not-handled` with the words for what failed. The context goes on with the talk."""
    context = {"conversation_id": reply.conversation_id, "interaction_id": reply.interaction_id}
    outcome = Handled if reply.error is None else NotHandled
    return outcome(text=reply.text, context=context).event()


def to_error(error: GatewayError) -> Event:
    """The error as Wyoming has it."""
    return Error(text=error.message, code=error.code).event()


def describe(languages: Sequence[str]) -> Event:
    """`info`. The languages are named one by one: Home Assistant 2026.2 takes an empty list for none, not for all."""
    attribution = Attribution(name=PROGRAM, url="")
    model = HandleModel(
        name=PROGRAM,
        attribution=attribution,
        installed=True,
        description=None,
        version=__version__,
        languages=list(languages),
    )
    program = HandleProgram(
        name=PROGRAM,
        attribution=attribution,
        installed=True,
        description="A voice assistant that remembers",
        version=__version__,
        models=[model],
        supports_handled_streaming=True,
        # Nothing at home is acted on by way of this door.
        supports_home_control=False,
    )
    return Info(handle=[program]).event()


# --- connections --------------------------------------------------------------------------------------------------


class _Gone(Exception):
    """The client has closed the connection, or does not read what it is sent."""


class WyomingHandler(AsyncEventHandler):
    """One connection: its events are answered one after the other, and it ends with its first bad one.

    While a turn is being answered the next event is read ahead, because that is how a client that has gone is
    noticed: its turn is then cancelled. As over HTTP, closing one's sending side counts as going.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        pipeline: Pipeline,
        scope: Scope,
        info: Event,
        max_text_characters: int,
        idle_seconds: float,
    ) -> None:
        super().__init__(reader, writer)
        self._pipeline = pipeline
        self._scope = scope
        self._info = info
        self._max_text_characters = max_text_characters
        self._idle_seconds = idle_seconds
        self._ending = False
        self._busy = False

    async def run(self) -> None:
        """Answers events until the client goes, sends a bad one, is silent for too long or does not read."""
        try:
            await self._events()
        except _Gone as error:
            log.debug("a Wyoming client is gone: %r", error.__cause__)
        except Exception:
            # The boundary: what has no name is logged with its traceback, and ends this connection alone.
            log.exception("a Wyoming connection failed")
            with suppress(_Gone):
                await self.write_event(to_error(GatewayError("Something went wrong; the log has it.")))
        finally:
            await self._close()

    async def _close(self) -> None:
        """Sends what is still to be sent, if the client reads it in time, and lets go of the socket."""
        self.writer.close()
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self.writer.wait_closed()
        except OSError as error:
            log.debug("a Wyoming connection did not end well: %r", error)
        finally:
            self.writer.transport.abort()

    def end(self) -> bool:
        """Lets the connection end after the event it is answering; whether there is none, so that it may go now."""
        self._ending = True
        return not self._busy

    async def handle_event(self, event: Event) -> bool:
        """Answers one event; whether the connection goes on."""
        if Transcript.is_type(event.type):
            await self._answer(from_transcript(event, self._scope, self._max_text_characters))
        elif Describe.is_type(event.type):
            await self.write_event(self._info)
        elif Ping.is_type(event.type):
            await self.write_event(Pong(text=Ping.from_event(event).text).event())
        return True

    async def write_event(self, event: Event) -> None:
        """Sends an event. Whoever does not read it in time counts as gone, and does not hold the model's place."""
        try:
            async with asyncio.timeout(self._idle_seconds):
                await super().write_event(event)
        except OSError as error:  # the timeout is one too
            raise _Gone from error

    async def _events(self) -> None:
        ahead = self._read_ahead()
        try:
            while not self._ending:
                await asyncio.wait({ahead}, timeout=self._idle_seconds)
                event = ahead.result() if ahead.done() else None
                if event is None:
                    return
                if isinstance(event, GatewayError):
                    await self.write_event(to_error(event))
                    return
                ahead = self._read_ahead()
                if not await self._handle(event, ahead):
                    return
        finally:
            await end(ahead)

    def _read_ahead(self) -> asyncio.Task[Event | GatewayError | None]:
        return asyncio.create_task(self._read(), name="wyoming read")

    async def _read(self) -> Event | GatewayError | None:
        """The next event, what is wrong with it, or None at the end: a result, because it may have to wait."""
        try:
            return await read_event(self.reader, event_bytes(self._max_text_characters))
        except GatewayError as error:
            return error
        except OSError:
            return None

    async def _handle(self, event: Event, ahead: asyncio.Task[Event | GatewayError | None]) -> bool:
        self._busy = True
        work = asyncio.create_task(self.handle_event(event), name=f"wyoming {event.type[:32]}")
        try:
            await asyncio.wait({work, ahead}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and ahead.result() is None:
                return False
            return await work
        except GatewayError as error:
            await self.write_event(to_error(error))
            return False
        finally:
            self._busy = False
            await end(work)

    async def _answer(self, turn: Turn) -> None:
        started = False
        async with aclosing(self._pipeline.run(turn)) as answer:
            async for piece in answer:
                if isinstance(piece, Reply):
                    await self.write_event(to_event(piece))
                elif piece.content:
                    if not started:
                        started = True
                        await self.write_event(HandledStart().event())
                    await self.write_event(HandledChunk(piece.content).event())
        if started:
            await self.write_event(HandledStop().event())


class WyomingServer(AsyncTcpServer):
    """The package's server with bounds on who may connect and how many at once, and with a graceful end."""

    def __init__(self, host: str, port: int, *, server: ServerSettings, max_connections: int) -> None:
        super().__init__(host, port)
        self._settings = server
        self._max_connections = max_connections
        self._stopping = False
        self._told: set[str] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once it does: the numeric address and the port."""
        server = cast("asyncio.Server", self._server)
        host, port, *_ = server.sockets[0].getsockname()
        return str(host), int(port)

    async def stop(self) -> None:
        """Stops listening, ends idle connections at once, and lets turns in flight go on for `shutdown_seconds`."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        tasks = list(self._handlers)
        for task, handler in self._handlers.items():
            if not isinstance(handler, WyomingHandler) or handler.end():
                task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.shutdown_seconds)
            await end(*late)
        if self._server is not None:
            await self._server.wait_closed()

    async def _handler_callback(
        self, handler_factory: HandlerFactory, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._stopping:
            writer.close()
        elif not trusted(address, self._settings):
            self._tell(address)
            _refuse(writer, Forbidden("This address may not speak for the household."))
        elif len(self._handlers) >= self._max_connections:
            _refuse(writer, Unavailable("There are as many connections as there may be.", retry_after=1))
        else:
            handler = handler_factory(reader, writer)
            task = asyncio.create_task(handler.run(), name=f"wyoming connection {address}")
            self._handlers[task] = handler
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._handlers.pop(task, None)

    def _tell(self, address: str) -> None:
        """Logs who was refused, once each: Home Assistant tries again every half minute."""
        if address not in self._told and len(self._told) < REFUSED_REMEMBERED:
            self._told.add(address)
            log.warning("Wyoming: %s is in none of server.trusted_networks and is refused", address)


def _refuse(writer: asyncio.StreamWriter, error: GatewayError) -> None:
    event = to_error(error)
    writer.write(orjson.dumps({"type": event.type, "data": event.data}) + b"\n")
    writer.close()


def event_bytes(max_text_characters: int) -> int:
    """The most that an event may take, so that every text of that length fits."""
    return max_text_characters * BYTES_PER_CHARACTER + ROOM_BYTES


@asynccontextmanager
async def listening(
    pipeline: Pipeline,
    scope: Scope,
    server: ServerSettings,
    *,
    host: str,
    port: int,
    languages: Sequence[str],
    data: Path,
    max_connections: int,
    idle_seconds: float,
) -> AsyncIterator[int]:
    """Listens, announces itself to the network it listens on, and yields the port (0 asks for any that is free).

    Raises StartError. At the end turns in flight have `server.shutdown_seconds`.
    """
    info = describe(languages)

    def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WyomingHandler:
        return WyomingHandler(
            reader,
            writer,
            pipeline=pipeline,
            scope=scope,
            info=info,
            max_text_characters=server.max_text_characters,
            idle_seconds=idle_seconds,
        )

    door = WyomingServer(host, port, server=server, max_connections=max_connections)
    try:
        await door.start(connection)
    except OSError as error:
        raise StartError(
            f"cannot listen for Wyoming on {host} port {port}: {error.strerror or error}; set GATEWAY_WYOMING_PORT, or "
            "wyoming.enabled to false, or stop what listens there"
        ) from error
    try:
        bound, port = door.address
        async with _announced(stable_name(data), bound, port):
            yield port
    finally:
        await door.stop()


# --- being found --------------------------------------------------------------------------------------------------


def stable_name(data: Path) -> str:
    """The name in zeroconf, made once and kept in the data folder: by it Home Assistant knows us again.

    Twelve hexadecimal digits, like the MAC addresses that other programs take. Raises StartError.
    """
    path = data / NAME_FILE
    try:
        kept = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else ""
        if re.fullmatch(r"[0-9a-f]{12}", kept):
            return kept
        name = secrets.token_hex(6)
        path.write_text(name + "\n", encoding="ascii")
    except OSError as error:
        raise StartError(f"{path} cannot be read or written ({error.strerror}); check GATEWAY_DATA") from error
    return name


def reachable_address(bound: str) -> str | None:
    """Where others reach what is bound to this numeric address; None where nobody else does."""
    address = ipaddress.ip_address(bound.partition("%")[0])
    if address.is_loopback:
        return None
    return outgoing_address() if address.is_unspecified else str(address)


def outgoing_address() -> str | None:
    """The machine's address that multicast would leave from, or None without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(MULTICAST)
        except OSError:
            return None
        address = ipaddress.ip_address(probe.getsockname()[0])
    return None if address.is_loopback else str(address)


@asynccontextmanager
async def _announced(name: str, bound: str, port: int) -> AsyncIterator[None]:
    if ipaddress.ip_address(bound.partition("%")[0]).is_loopback:
        log.info("Wyoming is not announced: only this machine reaches %s", bound)
        yield
        return
    announcing = asyncio.create_task(announce(name, bound, port), name="wyoming zeroconf")
    try:
        yield
    finally:
        await end(announcing)


async def announce(name: str, bound: str, port: int) -> None:
    """Lets zeroconf find us until cancelled, at whichever address others reach us.

    After a power cut the router may come up long after us, and later give us another address.
    """
    address: str | None = None
    told = ""
    async with AsyncExitStack() as here:
        while True:
            now = reachable_address(bound)
            if now != address:
                await here.aclose()
                address = None
            if now is not None and address is None:
                try:
                    await here.enter_async_context(announced_at(name, now, port))
                    address = now
                except (ZeroconfError, OSError) as error:
                    problem = f"{type(error).__name__}: {error}"
                    if problem != told:
                        log.warning("Wyoming is not announced by zeroconf (%s)", problem)
                    told = problem
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def announced_at(name: str, address: str, port: int) -> AsyncIterator[None]:
    """Answers zeroconf's questions at this address, and says goodbye at the end.

    Raises zeroconf's Error (the name is taken) or OSError (there is no multicast here).
    """
    info = AsyncServiceInfo(
        SERVICE, f"{name}.{SERVICE}", port=port, parsed_addresses=[address], server=f"{name}.local."
    )
    async with AsyncZeroconf(interfaces=[address]) as network:
        await (await network.async_register_service(info))
        log.info("Wyoming is announced as %s at %s port %d", name, address, port)
        yield
