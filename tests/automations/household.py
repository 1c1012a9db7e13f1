"""A home that does things by itself: a real broker, things that say what a test tells, a scripted assistant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gateway.automations.engine import Automations
from gateway.automations.world import Assistant
from gateway.config import MqttSettings
from gateway.errors import GatewayError, NotFound
from gateway.home.acting import Asker, Outcome, Result, Verdict, Wanted
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.things import Condition, Order, Thing
from gateway.shapes import CacheOutcome, Reply, Scope, Turn
from tests.mosquitto_server import Mosquitto

SEEN = "test/seen"


class ScriptedActor:
    """Takes every order, does as its script says, and remembers."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.carried: list[tuple[Wanted, Asker]] = []
        self.verdict: Verdict = "done"
        self.locked: tuple[str, ...] = ()

    def ordered(self, orders: Mapping[str, Order]) -> Wanted:
        for thing_id in orders:
            if (thing := self.registry.things.get(thing_id)) is None or not thing.exposed:
                raise NotFound(f"there is no {thing_id} that may be touched")
        return Wanted(orders)

    def guarded(self, wanted: Wanted) -> tuple[str, ...]:
        return tuple(name for name in wanted.orders if name in self.locked)

    async def carry_out(self, wanted: Wanted, asker: Asker) -> Outcome:
        self.carried.append((wanted, asker))
        stands = Condition()
        return Outcome(wanted, tuple(Result(name, name, self.verdict, stands, stands) for name in wanted.orders))


@dataclass
class Home:
    """What a test does in it and sees of it."""

    path: Path
    folder: Path
    url: str
    registry: Registry = field(default_factory=Registry)
    actor: ScriptedActor = field(init=False)
    asked: list[Turn] = field(default_factory=list)
    answer: str = "Well then."
    fails: GatewayError | None = None
    held: asyncio.Event | None = None
    began: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    kept: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    preferred: dict[str, Any] = field(default_factory=dict)
    question: str | None = None
    time: datetime = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
    came: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.actor = ScriptedActor(self.registry)

    def now(self) -> datetime:
        return self.time

    def later(self, **more: float) -> None:
        self.time += timedelta(**more)

    def write(self, text: str) -> None:
        """The file, put in place at once, as editors do."""
        written = self.path.with_suffix(".new")
        written.write_text(text, encoding="utf-8")
        written.replace(self.path)

    async def ask(self, turn: Turn) -> Reply:
        self.asked.append(turn)
        self.began.put_nowait(turn.utterance)
        if self.held is not None:
            await self.held.wait()
        return Reply(
            turn.id,
            turn.conversation_id or "c1",
            self.answer,
            "en",
            "m",
            CacheOutcome("miss"),
            intent="HassTurnOn" if turn.acts else None,
            actions=({"thing": "light.a", "action": "turn_on", "verdict": "done"},) if turn.acts else (),
            error=self.fails,
        )

    async def remember(self, content: str, tags: Sequence[str]) -> None:
        self.kept.append((content, tags))

    async def prefer(self, key: str, value: Any) -> None:
        self.preferred[key] = value

    def told(self, thing_id: str, state: str, **attributes: Any) -> None:
        """A thing says how it stands."""
        if thing_id not in self.registry.things:
            self.registry.put(Thing(thing_id, thing_id.partition(".")[2].replace("_", " ").title(), "configured"))
        before = self.registry.condition(thing_id)
        self.registry.saw(thing_id, before.told(self.time, state=state, **attributes))

    async def next(self) -> tuple[str, Any]:
        """The next message that automations sent (of the topics that a test listens to), JSON taken apart."""
        message = await asyncio.wait_for(self.came.get(), 20)
        text = message.payload.decode()
        return message.topic, json.loads(text) if text[:1] in "{[" else text

    async def through(self) -> None:
        """Waits until the broker has delivered all that was sent until now."""
        await self.link.send(SEEN, "here")
        while (await self.next())[0] != SEEN:
            pass

    async def send(self, topic: str, payload: str | Mapping[str, Any], *, retain: bool = False) -> None:
        """A device's message, from a connection as good as its own."""
        await self.link.send(topic, payload if isinstance(payload, str) else json.dumps(payload), retain=retain)

    @asynccontextmanager
    async def automations(self, text: str | None = None, *, hears: Sequence[str] = ()) -> AsyncIterator[Automations]:
        """Runs the file's automations; `hears`: topics whose messages `next` tells, beside the announcements."""
        if text is not None:
            self.write(text)
        assistant = Assistant(
            Scope(1),
            self.registry,
            self.link,
            self.actor,  # type: ignore[arg-type]
            self.ask,
            self.remember,
            self.prefer,
            lambda: self.question,
        )
        for topic in ("ai-gateway/announce", SEEN, *hears):
            self.link.subscribe(topic, self.came.put_nowait)
        async with Automations(self.path, self.folder, assistant, self.now, "en") as automations:
            yield automations


@asynccontextmanager
async def living(broker: Mosquitto, tmp_path: Path) -> AsyncIterator[Home]:
    """A home with its link up."""
    home = Home(tmp_path / "automations.yaml", tmp_path / "traces", broker.url)
    up = asyncio.Event()

    async def greeting() -> None:
        up.set()

    async with Link(MqttSettings(url=SecretStr(broker.url)), "gateway-1") as home.link:
        home.link.greet(greeting)
        await asyncio.wait_for(up.wait(), 20)
        yield home


async def ready(home: Home) -> None:
    """Waits until what automations subscribed to is heard: the broker answers in order."""
    probe: asyncio.Queue[Message] = asyncio.Queue()
    home.link.subscribe("test/ready", probe.put_nowait)
    while True:
        await home.link.send("test/ready", "x")
        try:
            await asyncio.wait_for(probe.get(), 0.2)
        except TimeoutError:
            continue
        break
    home.link.unsubscribe("test/ready", probe.put_nowait)
