"""PostgreSQL away, the broker away, both away, while somebody speaks to the home: what is understood is done as long as
the home is there, what is said is true, and nothing is done late.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import asyncpg
import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings, Settings
from gateway.edge import keys
from gateway.home import action_log
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.store.address import Address
from gateway.tasks import end
from tests.faults.proxy import Proxy
from tests.house import House, speech
from tests.mosquitto_server import Mosquitto
from tests.store.conftest import until

HANGS = 30.0  # whatever takes longer hangs
REQUEST, RESPONSE = "ai-gateway/turn/request", "ai-gateway/turn/response"

LAMP, DOOR = "light.desk_lamp", "lock.front_door"
DESCRIBED = {
    "light/desk": {
        "name": "Desk Lamp",
        "unique_id": "desk",
        "state_topic": "desk/state",
        "command_topic": "desk/set",
        "device": {"identifiers": ["desk"], "suggested_area": "Office"},
    },
    "lock/front": {
        "name": "Front Door",
        "unique_id": "front",
        "state_topic": "front/state",
        "command_topic": "front/set",
        "device": {"identifiers": ["front"], "suggested_area": "Hall"},
    },
}
TOLD = {b"ON": "ON", b"OFF": "OFF", b"LOCK": "LOCKED", b"UNLOCK": "UNLOCKED"}


@pytest.fixture
def settings(settings: Settings, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(action_log, "PAUSE_SECONDS", 0.05)
    return settings.model_copy(
        update={"mqtt": MqttSettings(url=SecretStr(broker.url)), "home": HomeSettings(confirm_seconds=5.0)}
    )


@dataclass
class Devices:
    """A lamp and a lock that do as they are told, and whoever asks over MQTT."""

    broker: Mosquitto
    commands: list[tuple[str, bytes]] = field(default_factory=list)
    answers: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    states: dict[str, str] = field(default_factory=lambda: {"desk": "OFF", "front": "LOCKED"})
    client: aiomqtt.Client | None = None
    _task: asyncio.Task[None] | None = None

    async def switch_on(self) -> None:
        """They connect, and tell what they are and how they stand."""
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(ready), name="devices")
        await asyncio.wait([self._task, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), self._task

    async def switch_off(self) -> None:
        assert self._task is not None
        await end(self._task)

    async def _run(self, ready: asyncio.Event) -> None:
        async with aiomqtt.Client("127.0.0.1", self.broker.port) as self.client:
            for topic in ("+/set", f"{RESPONSE}/+"):
                await self.client.subscribe(topic, qos=1)
            for name, told in DESCRIBED.items():
                await self.client.publish(f"homeassistant/{name}/config", json.dumps(told), qos=1, retain=True)
            for name, state in self.states.items():
                await self.client.publish(f"{name}/state", state, qos=1, retain=True)
            ready.set()
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                topic = str(message.topic)
                if topic.startswith(RESPONSE):
                    self.answers.put_nowait(json.loads(message.payload))
                    continue
                name = topic.split("/")[0]
                self.commands.append((name, message.payload))
                self.states[name] = TOLD[message.payload]
                await self.client.publish(f"{name}/state", self.states[name], qos=1, retain=True)

    async def ask(self, text: str) -> dict[str, Any]:
        """One turn over MQTT."""
        assert self.client is not None
        await self.client.publish(REQUEST, json.dumps({"text": text, "conversation_id": "c1"}), qos=1)
        return await asyncio.wait_for(self.answers.get(), HANGS)


@dataclass(frozen=True)
class Home:
    house: House
    devices: Devices
    registry: Registry
    link: Link

    async def stands(self, thing_id: str, state: str) -> None:
        """Waits until the gateway knows it."""
        assert await self.registry.until(thing_id, lambda now: now.state == state, HANGS) is not None

    async def has_no_memory(self) -> None:
        await until(lambda: self.house.gateway.application[keys.EPOCH].current() is None)

    async def has_no_broker(self) -> None:
        await until(lambda: not self.link.connected)


@pytest.fixture
async def home(house: House, broker: Mosquitto) -> AsyncIterator[Home]:
    application = house.gateway.application
    link, registry = application[keys.LINK], application[keys.REGISTRY]
    assert link is not None
    async with asyncio.timeout(HANGS):
        await link.listening()
    devices = Devices(broker)
    await devices.switch_on()
    home = Home(house, devices, registry, link)
    await until(lambda: {LAMP, DOOR} <= set(registry.things))
    await home.stands(LAMP, "off")
    await home.stands(DOOR, "locked")
    yield home
    await devices.switch_off()


async def done(address: Address, many: int) -> list[asyncpg.Record]:
    """What was noted as done, once it is so much."""
    owner = await address.connect()
    try:
        async with asyncio.timeout(HANGS):
            while len(rows := await owner.fetch("SELECT thing_id, action, verdict FROM actions ORDER BY id")) < many:
                await asyncio.sleep(0.01)
        return list(rows)
    finally:
        await owner.close()


@pytest.mark.parametrize("kind", ["refuse", "hang"])
async def test_without_postgresql_the_home_is_still_operated(
    kind: str, home: Home, postgres_proxy: Proxy, address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    devices, house = home.devices, home.house
    getattr(postgres_proxy, kind)()
    await home.has_no_memory()

    # Over MQTT as over REST, and said as it is: it was done, and the device confirmed it.
    reply = await devices.ask("turn on the desk lamp")
    assert (reply["speech"], reply["intent"], reply["error"]) == ("Turned on the light", "HassTurnOn", None)
    assert speech(await house.say("is the desk lamp on?", conversation_id="c2")) == "Yes"
    assert speech(await house.say("turn off the desk lamp", conversation_id="c2")) == "Turned off the light"
    assert devices.commands == [("desk", b"ON"), ("desk", b"OFF")]

    # What is guarded is asked for, done at a yes, and taken back at another.
    assert (await devices.ask("unlock the front door"))["speech"] == "Shall I unlock Front Door?"
    assert len(devices.commands) == 2
    await devices.ask("yes")
    assert devices.commands[2:] == [("front", b"UNLOCK")]
    assert (await devices.ask("undo that"))["speech"] == "Shall I lock Front Door?"
    await devices.ask("yes")
    assert devices.commands[3:] == [("front", b"LOCK")]
    assert not house.model.chats

    # All of it is known once PostgreSQL is back.
    postgres_proxy.serve()
    noted = await done(address, 4)
    assert [(row["thing_id"], row["action"], row["verdict"]) for row in noted] == [
        (LAMP, "turn_on", "done"),
        (LAMP, "turn_off", "done"),
        (DOOR, "unlock", "done"),
        (DOOR, "lock", "done"),
    ]
    assert caplog.text.count("waits to be noted") == 1  # and not at each try
    assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
    owner = await address.connect()
    said = await owner.fetch("SELECT content FROM conversations WHERE role = 'user' ORDER BY id")
    await owner.close()
    assert [row["content"] for row in said] == [
        "turn on the desk lamp",
        "is the desk lamp on?",
        "turn off the desk lamp",
        "unlock the front door",
        "yes",
        "undo that",
        "yes",
    ]


async def test_without_the_broker_nothing_is_done_and_nothing_is_done_late(home: Home) -> None:
    devices, house = home.devices, home.house
    await devices.switch_off()
    await devices.broker.stop()
    await home.has_no_broker()
    assert speech(await house.say("turn on the desk lamp")) == "I can't reach the home at the moment."
    # Everything else goes on.
    assert speech(await house.say("Who wrote Hamlet?")).startswith("I heard: ")
    await devices.broker.start()
    await devices.switch_on()
    await until(lambda: home.link.connected)
    assert speech(await house.say("is the desk lamp on?")) == "No, off"
    assert speech(await house.say("turn on the desk lamp")) == "Turned on the light"
    assert devices.commands == [("desk", b"ON")], "once, and only when asked again"


async def test_without_either_it_is_said_and_all_is_as_before_when_they_are_back(
    home: Home, postgres_proxy: Proxy, address: Address
) -> None:
    devices, house = home.devices, home.house
    await devices.switch_off()
    await devices.broker.stop()
    postgres_proxy.refuse()
    await home.has_no_broker()
    await home.has_no_memory()
    for language, words, answer in (
        ("en", "turn on the desk lamp", "I can't reach the home at the moment."),
        ("fr", "allume desk lamp", "Je n'arrive pas à joindre la maison pour le moment."),
        ("pl", "włącz desk lamp", "Nie mogę się teraz połączyć z domem."),
    ):
        assert speech(await house.say(words, language=language)) == answer
    reply = await house.say("Who wrote Hamlet?")
    assert speech(reply).startswith("I heard: ")
    assert "memory" in reply["without"]
    async with house.client.get("/readyz") as response:
        parts = (await response.json())["parts"]
    assert (parts["mqtt"]["ok"], parts["postgres"]["ok"], parts["chat"]["ok"]) == (False, False, True)

    # The broker first: the home needs no more than that.
    await devices.broker.start()
    await devices.switch_on()
    await until(lambda: home.link.connected)
    assert speech(await house.say("turn on the desk lamp")) == "Turned on the light"
    assert devices.commands == [("desk", b"ON")]
    postgres_proxy.serve()
    assert await house.gateway.application[keys.JOURNAL].flush(HANGS)
    verdicts = [row["verdict"] for row in await done(address, 1)]
    assert verdicts.count("done") == 1
