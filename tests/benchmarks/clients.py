"""The clients that a load comes from, in a process of their own.

    python -m tests.benchmarks.clients '{"port": 8080, "clients": 16, "seconds": 5, "asks": "repeated"}'

Each client keeps one connection and asks again as soon as it is answered. What happened is printed as a JSON object
(see `Told`). HTTP is spoken by hand: a client library would take more of the machine than what is measured.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, cast

import orjson
import uvloop

from gateway.edge.assist import STATIC_CONTEXT

HUNG_SECONDS = 90.0  # longer than the queue's patience and a whole answer
LONGEST_PAUSE = 5.0  # of a client that was told to come back
MODEL = "qwen3:4b-instruct"
SEED = 4
ROOMS = ("Kitchen", "Office", "Bedroom", "Hall", "Garage", "Bathroom", "Attic", "Cellar", "Nursery", "Garden")
THINGS = ("Lamp", "Ceiling Light", "Fan", "Heater", "Radio", "Printer", "Kettle", "Camera", "Pump", "Socket")
REPEATED = (
    "Who wrote Hamlet?",
    "What is the capital of France?",
    "Why is the sky blue?",
    "Qui a écrit Les Misérables ?",
    "Quelle est la capitale de la Pologne ?",
    "Kto napisał Pana Tadeusza?",
    "Jaka jest stolica Francji?",
    "How far is the moon?",
)
ONE = REPEATED[0]


@dataclass
class Plan:
    """What is asked for. `asks` is one of `ASKS`; `answered` is a file for the ids of answered turns, if wanted."""

    port: int
    clients: int
    seconds: float
    asks: str
    answered: str = ""
    seed: int = SEED
    times: int | None = None  # how often each client asks at most


@dataclass
class Told:
    """What happened. Times in milliseconds; `refused` were told to come back, `failed` is anything else by its kind."""

    answered: int = 0
    refused: int = 0
    hung: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    a_second: float = 0.0
    p50: dict[str, float] = field(default_factory=dict)
    p99: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: what kind it is, and its bytes."""

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A response."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> str | None:
        """A header's value; `name` in lower case."""
        _, found, rest = self.head.lower().partition(b"\r\n" + name + b":")
        return self.head[len(self.head) - len(rest) :].split(b"\r\n", 1)[0].strip().decode() if found else None


# --- what is asked ------------------------------------------------------------------------------------------------


def _post(path: str, body: dict[str, Any]) -> bytes:
    data = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


def _house() -> tuple[str, list[dict[str, Any]]]:
    """The system prompt of Home Assistant's assistant in a house of 100 things, and the tools it brings."""
    listed = "".join(
        f"- names: {room} {thing}\n  domain: {'light' if 'L' in thing else 'switch'}\n  areas: {room}\n"
        for room in ROOMS
        for thing in THINGS
    )
    names = {name: {"type": "string"} for name in ("name", "area", "floor")}
    schema = {"type": "object", "properties": {**names, "domain": {"type": "array", "items": {"type": "string"}}}}
    tools = [
        {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
        for name in ("HassTurnOn", "HassTurnOff")
    ]
    return f"You are a voice assistant.\n{STATIC_CONTEXT}\n{listed}", tools


HOUSE, TOOLS = _house()


def converse(text: str) -> bytes:
    """A turn of `/conversation`."""
    return _post("/conversation", {"text": text})


def assist(text: str) -> bytes:
    """A turn of Home Assistant's assistant: streamed, with the whole house in the prompt."""
    messages = [{"role": "system", "content": HOUSE}, {"role": "user", "content": text}]
    return _post("/api/chat", {"model": MODEL, "messages": messages, "tools": TOOLS, "stream": True})


def chat(text: str) -> bytes:
    """A turn of a plain client of Ollama's API, which is told 503 where there is no room."""
    return _post("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": text}]})


def _mix(plan: Plan, client: int) -> Iterator[Ask]:
    """60 of 100 repeated questions, 25 commands to the home, 15 questions that nobody asked before."""
    chance = random.Random(f"{plan.seed} {client}")
    repeated = [converse(text) for text in REPEATED]
    commands = [assist(f"turn {on} the {room} {thing}") for on in ("on", "off") for room in ROOMS for thing in THINGS]
    for number in count():
        kind = chance.choices(("repeated", "command", "new"), (60, 25, 15))[0]
        if kind == "new":
            text = f"Explain the entry {plan.seed} {client} {number} of the encyclopedia"
            yield Ask(kind, chance.choice((converse, chat))(text))
        else:
            yield Ask(kind, chance.choice(repeated if kind == "repeated" else commands))


def _always(data: bytes) -> Callable[[Plan, int], Iterator[Ask]]:
    def asks(plan: Plan, client: int) -> Iterator[Ask]:
        while True:
            yield Ask("repeated", data)

    return asks


def _same_new(plan: Plan, client: int) -> Iterator[Ask]:
    while True:
        yield Ask("new", converse(f"Explain the entry {plan.seed} of the encyclopedia"))


ASKS: dict[str, Callable[[Plan, int], Iterator[Ask]]] = {
    "mix": _mix,
    "repeated": _always(converse(ONE)),
    "repeated by Home Assistant": _always(assist(ONE)),
    "the same, new": _same_new,
}


# --- asking -------------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection that is kept open; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Answered] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, without saying so

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        answered = _parsed(self._received)
        if answered is not None and self._waiting is not None and not self._waiting.done():
            self._received.clear()
            self._waiting.set_result(answered)

    async def ask(self, data: bytes) -> Answered:
        """Sends a request and returns the whole response. Raises OSError."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._waiting

    def close(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()


def _parsed(received: bytearray) -> Answered | None:
    """The response, once all of it is there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end])
    body = received[end + 4 :]
    status = int(head[9:12])
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        return Answered(status, head, bytes(body)) if body.endswith(b"0\r\n\r\n") else None
    _, found, rest = lower.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError("a response of no known length")
    length = int(rest.split(b"\r\n", 1)[0])
    return Answered(status, head, bytes(body)) if len(body) >= length else None


class Load:
    """All clients of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.told = Told()
        self.times: dict[str, list[float]] = {}
        self.ids: list[str] = []

    async def run(self) -> Told:
        """Every client asks until the time is over, and hears its last answer out."""
        plan = self.plan
        connections = [await self._connected() for _ in range(plan.clients)]
        began = time.perf_counter()
        until = began + plan.seconds
        await asyncio.gather(*(self._client(each, one, until) for each, one in enumerate(connections)))
        self.told.a_second = self.told.answered / (time.perf_counter() - began)
        for kind, times in self.times.items():
            cuts = quantiles(times, n=100) if len(times) > 1 else times * 99
            self.told.counts[kind], self.told.p50[kind], self.told.p99[kind] = len(times), cuts[49], cuts[98]
        if plan.answered:
            with Path(plan.answered).open("a") as file:
                file.writelines(f"{one}\n" for one in self.ids)
        return self.told

    async def _connected(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.plan.port)
        return connection

    async def _client(self, number: int, connection: Connection, until: float) -> None:
        asks = ASKS[self.plan.asks](self.plan, number)
        for done, ask in enumerate(asks):
            if done == self.plan.times or time.perf_counter() >= until:
                break
            began = time.perf_counter()
            try:
                async with asyncio.timeout(HUNG_SECONDS):
                    answered = await connection.ask(ask.data)
            except TimeoutError:
                self.told.hung += 1
                connection.close()
                connection = await self._connected()
                continue
            except (OSError, ValueError) as error:
                self._failed(type(error).__name__)
                connection = await self._connected()
                continue
            pause = self._note(ask, answered, (time.perf_counter() - began) * 1000)
            if pause:
                await asyncio.sleep(min(pause, LONGEST_PAUSE, max(until - time.perf_counter(), 0)))
        connection.close()

    def _note(self, ask: Ask, answered: Answered, milliseconds: float) -> float:
        """Counts a response; how many seconds its client is to wait."""
        retry = answered.header(b"retry-after")
        if answered.status == 503 and retry is not None:
            self.told.refused += 1
            return float(retry)
        if answered.status != 200:
            self._failed(f"{answered.status} {answered.body[:100]!r}")
            return 0.0
        if self.plan.answered and (turn := _turn(answered)):
            self.ids.append(turn)
        if retry is not None:  # a voice, which hears in words that there is no room
            self.told.refused += 1
            return float(retry)
        if ask.kind == "command" and b'"tool_calls"' not in answered.body:
            self._failed("a command that called no tool")
            return 0.0
        if b'"response_type":"error"' in answered.body or b'\n{"error":' in answered.body:
            self._failed(f"an error: {answered.body[-300:]!r}")
            return 0.0
        self.told.answered += 1
        self.times.setdefault(ask.kind, []).append(milliseconds)
        return 0.0

    def _failed(self, kind: str) -> None:
        self.told.failed[kind] = self.told.failed.get(kind, 0) + 1


def _turn(answered: Answered) -> str | None:
    """The id that the response names its turn by."""
    if named := answered.header(b"x-interaction-id"):
        return named
    with suppress(orjson.JSONDecodeError):
        return str(orjson.loads(answered.body)["interaction_id"])
    return None


if __name__ == "__main__":
    print(orjson.dumps(asdict(uvloop.run(Load(Plan(**orjson.loads(sys.argv[1]))).run()))).decode())
