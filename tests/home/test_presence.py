"""The gateway as a device: what it tells over a real broker, and what its switches and buttons do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings, Settings
from gateway.edge import keys
from gateway.errors import StoreUnavailable
from gateway.home.link import Link
from gateway.home.presence import OUR_ENTITIES, Presence, Seen, description
from gateway.home.refusals import Refusals
from gateway.metrics import Metrics
from gateway.shapes import Scope, Turn
from gateway.switches import Switches
from gateway.tasks import end
from tests.house import House
from tests.mosquitto_server import Mosquitto
from tests.scripted_model import Answer

SECONDS = 20
QUESTION = "What is the capital of France?"


@pytest.fixture
def show_words() -> bool:
    return False


@pytest.fixture
def settings(settings: Settings, broker: Mosquitto, show_words: bool, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("gateway.home.presence.PAUSE_SECONDS", 0.0)
    return settings.model_copy(
        update={"mqtt": MqttSettings(url=SecretStr(broker.url)), "home": HomeSettings(show_words=show_words)}
    )


class Watcher:
    """Knows the last that was said on each topic, as a client that subscribes to everything does."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.last: dict[str, bytes] = {}
        self.retained: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self._something = asyncio.Event()

    async def listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            topic = str(message.topic)
            self.last[topic] = message.payload
            if message.retain:
                self.retained.add(topic)
            if topic == "ai-gateway/event":
                self.events.append(json.loads(message.payload))
            self._something.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():
                self._something.clear()
                await self._something.wait()

    async def knows_it(self) -> None:
        """Returns when the gateway has told all of itself."""
        told = {"ai-gateway/figures", "ai-gateway/cache", "ai-gateway/learning", "ai-gateway/status"}
        await self.until(lambda: told <= self.last.keys() and any("/config" in topic for topic in self.last))

    def figures(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.last.get("ai-gateway/figures", b"{}"))
        return told

    async def presses(self, topic: str, payload: str, *, retain: bool = False) -> None:
        await self.client.publish(topic, payload, qos=1, retain=retain)


@asynccontextmanager
async def watching(broker: Mosquitto) -> AsyncIterator[Watcher]:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        watcher = Watcher(client)
        await client.subscribe("ai-gateway/#", qos=1)
        await client.subscribe("homeassistant/#", qos=1)
        listening = asyncio.create_task(watcher.listen())
        try:
            yield watcher
        finally:
            await end(listening)


@pytest.fixture
async def kept(broker: Mosquitto) -> None:
    """What a broker may have kept from before the gateway's start."""
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("ai-gateway/cache/set", "OFF", qos=1, retain=True)
        await client.publish("ai-gateway/last", '{"question": "Where is the key?"}', qos=1, retain=True)


@pytest.fixture
async def watcher(house: House, broker: Mosquitto) -> AsyncIterator[Watcher]:
    async with watching(broker) as watcher:
        await watcher.knows_it()
        yield watcher


def config(watcher: Watcher) -> dict[str, Any]:
    topics = [topic for topic in watcher.last if topic.startswith("homeassistant/device/ai_gateway_")]
    assert len(topics) == 1
    assert topics[0].endswith("/config")
    told: dict[str, Any] = json.loads(watcher.last[topics[0]])
    return told


async def test_it_describes_itself_and_all_of_it_is_kept_by_the_broker(watcher: Watcher, broker: Mosquitto) -> None:
    told = config(watcher)
    assert told["origin"]["name"] == "ai-gateway"
    assert told["availability_topic"] == "ai-gateway/status"
    assert {name: one["platform"] for name, one in told["components"].items()} == {
        "turns": "sensor",
        "answer_seconds": "sensor",
        "hit_rate": "sensor",
        "model": "sensor",
        "queue": "sensor",
        "memory": "sensor",
        "question": "sensor",
        "answer": "sensor",
        "turn": "event",
        "clear_cache": "button",
        "warm_model": "button",
        "cache": "switch",
        "learning": "switch",
    }
    assert told["components"]["question"] == {"platform": "sensor"}  # that is: taken away
    async with watching(broker) as later:
        await later.knows_it()
        assert later.retained >= {"ai-gateway/figures", "ai-gateway/cache", "ai-gateway/learning", "ai-gateway/status"}
        assert "ai-gateway/event" not in later.last
        assert config(later) == told


async def test_the_figures_follow_the_turns(house: House, watcher: Watcher) -> None:
    first = watcher.figures()
    assert (first["turns"], first["answer_seconds"], first["hit_rate"]) == (0, None, 0.0)
    assert (first["model"], first["model_name"], first["queue"]) == ("ready", "qwen3:4b-instruct", 0)
    await house.say(QUESTION)
    await house.say(QUESTION)
    await house.say("Remember that the bins go out on Tuesday")
    await house.logged()
    await house.say("Who wrote Hamlet?")
    await watcher.until(lambda: watcher.figures()["hit_rate"] == 33.3)
    assert watcher.figures()["answer_seconds"] > 0
    assert watcher.figures()["memory"] == 1
    assert watcher.figures()["turns"] >= 3


async def test_every_turn_is_an_event_without_its_words(house: House, watcher: Watcher) -> None:
    house.model.script(Answer("Paris."), Answer(status=500, error="out of memory"))
    said = await house.say(QUESTION, area="Kitchen")
    await house.say("Who wrote Hamlet?")
    await house.say("Remember that the bins go out on Tuesday")
    last = await house.say(QUESTION)
    await watcher.until(lambda: len(watcher.events) == 4)
    assert [event["event_type"] for event in watcher.events] == ["answered", "failed", "acted", "answered"]
    assert watcher.events[0]["interaction_id"] == said["interaction_id"]
    assert (watcher.events[0]["area"], watcher.events[3]["cache"]) == ("Kitchen", last["cache"])
    everything = b"".join(watcher.last.values()).decode() + json.dumps(watcher.events)
    assert "capital" not in everything
    assert "bins" not in everything


@pytest.mark.parametrize("show_words", [True])
async def test_words_are_shown_where_the_household_wants_it_and_never_a_members(house: House, watcher: Watcher) -> None:
    assert config(watcher)["components"]["question"]["state_topic"] == "ai-gateway/last"
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, 'Ada', sha256('ada-token'))",
        house.gateway.household_id,
    )
    house.model.script(Answer("Paris."), Answer("77."))
    await house.say(QUESTION)
    await watcher.until(lambda: b"capital" in watcher.last.get("ai-gateway/last", b""))
    assert json.loads(watcher.last["ai-gateway/last"]) == {"question": QUESTION, "answer": "Paris."}
    assert watcher.events[-1]["answer"] == "Paris."
    await house.say("What is my locker number?", headers={"Authorization": "Bearer ada-token"})
    await watcher.until(lambda: len(watcher.events) == 2)
    assert "locker" not in json.dumps(watcher.events) + str(watcher.last)


async def test_the_caches_switch_is_the_caches(house: House, watcher: Watcher) -> None:
    assert (watcher.last["ai-gateway/cache"], watcher.last["ai-gateway/learning"]) == (b"ON", b"ON")
    assert (await house.say(QUESTION))["cache"] == "miss"
    await watcher.presses("ai-gateway/cache/set", "OFF")
    await watcher.until(lambda: watcher.last["ai-gateway/cache"] == b"OFF")
    assert (await house.say(QUESTION))["cache"] == "bypass:disabled"
    await watcher.presses("ai-gateway/cache/set", "ON")
    await watcher.until(lambda: watcher.last["ai-gateway/cache"] == b"ON")
    assert (await house.say(QUESTION))["cache"] == "hit"
    await watcher.presses("ai-gateway/learning/set", "OFF")
    await watcher.until(lambda: watcher.last["ai-gateway/learning"] == b"OFF")
    assert house.gateway.application[keys.SWITCHES].off == ("learning",)


async def test_the_buttons_clear_the_cache_and_load_the_model(house: House, watcher: Watcher) -> None:
    assert (await house.say(QUESTION))["cache"] == "miss"
    assert (await house.say(QUESTION))["cache"] == "hit"
    asked = len(house.model.chats)
    await watcher.presses("ai-gateway/model/warm", "PRESS")
    async with asyncio.timeout(SECONDS):
        while len(house.model.chats) == asked:
            await asyncio.sleep(0.02)
    assert house.model.chats[-1]["options"]["num_predict"] == 1
    await watcher.presses("ai-gateway/cache/clear", "PRESS")
    async with asyncio.timeout(SECONDS):
        while (await house.say(QUESTION))["cache"] != "miss":
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("show_words", [True])
async def test_work_on_data_shows_no_words(house: House, watcher: Watcher) -> None:
    turn = Turn(Scope(house.gateway.household_id), "Summarise: the safe's number is 99", "automation", task=True)
    _ = [piece async for piece in house.gateway.application[keys.PIPELINE].run(turn)]
    await watcher.until(lambda: len(watcher.events) == 1)
    assert "safe" not in json.dumps(watcher.events) + str(watcher.last)


async def test_a_button_pressed_twice_does_it_once_at_a_time(broker: Mosquitto, tmp_path: Path) -> None:
    pressed, held = asyncio.Semaphore(0), asyncio.Event()
    times: list[str] = []

    async def press() -> None:
        times.append("pressed")
        pressed.release()
        await held.wait()

    async def figures() -> Seen:
        raise StoreUnavailable("nothing is known")

    metrics = Metrics()
    async with Link(MqttSettings(url=SecretStr(broker.url)), "gateway-1", metrics) as link:
        presence = Presence(
            link=link,
            refusals=Refusals(link, metrics),
            switches=Switches(tmp_path / "switches.json"),
            figures=figures,
            clear_cache=press,
            warm_model=press,
            household_uid="7f",
            show_words=False,
        )
        async with presence, watching(broker) as watcher:
            await watcher.until(lambda: {"ai-gateway/learning", "ai-gateway/status"} <= watcher.last.keys())
            for payload in ("PRESS", "PRESS", "nonsense"):
                await watcher.presses("ai-gateway/cache/clear", payload)
            await watcher.until(lambda: "ai-gateway/error" in watcher.last)  # so both were heard
            await asyncio.wait_for(pressed.acquire(), SECONDS)
            assert times == ["pressed"]
            held.set()
            async with asyncio.timeout(SECONDS):
                while len(times) < 2:
                    await watcher.presses("ai-gateway/cache/clear", "PRESS")


async def test_what_goes_wrong_with_a_button_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def press() -> None:
        raise RuntimeError("there is no such model")

    async def figures() -> Seen:
        raise StoreUnavailable("nothing is known")

    link = Link(MqttSettings(), "nobody")
    presence = Presence(
        link=link,
        refusals=Refusals(link, Metrics()),
        switches=Switches(tmp_path / "switches.json"),
        figures=figures,
        clear_cache=press,
        warm_model=press,
        household_uid="7f",
        show_words=False,
    )
    await presence._do("ai-gateway/model/warm")
    assert ["ai-gateway/model/warm" in record.message for record in caplog.records] == [True]


async def test_what_the_broker_kept_is_not_done_at_the_start(
    kept: None, house: House, watcher: Watcher, broker: Mosquitto
) -> None:
    await watcher.presses("ai-gateway/learning/set", "OFF")
    await watcher.until(lambda: watcher.last["ai-gateway/learning"] == b"OFF")
    assert house.gateway.application[keys.SWITCHES].off == ("learning",)  # and not the cache
    # Words that were shown by a gateway that was allowed to are taken back.
    async with watching(broker) as later:
        await later.knows_it()
        assert "ai-gateway/last" not in later.last


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("ai-gateway/cache/set", "off"),
        ("ai-gateway/learning/set", ""),
        ("ai-gateway/cache/clear", "ON"),
        ("ai-gateway/model/warm", "{}"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(house: House, watcher: Watcher, topic: str, payload: str) -> None:
    await watcher.presses(topic, payload)
    await watcher.until(lambda: "ai-gateway/error" in watcher.last)
    assert json.loads(watcher.last["ai-gateway/error"])["topic"] == topic
    assert house.gateway.application[keys.SWITCHES].off == ()


async def test_home_assistant_restarted_is_told_again(house: House, watcher: Watcher, broker: Mosquitto) -> None:
    """A broker that forgot everything is told all anew."""
    await broker.stop()
    broker.forget()
    await broker.start()
    async with watching(broker) as later:
        await later.knows_it()
        assert config(later) == config(watcher)


def test_the_description_is_what_discovery_takes() -> None:
    for show_words in (False, True):
        told = description("7f", show_words=show_words)
        shown = [one for one in told["components"].values() if len(one) > 1]
        assert len({one["unique_id"] for one in shown}) == len(shown) == (13 if show_words else 11)
        ids = {one["default_entity_id"] for one in shown}
        assert len(ids) == len(shown)
        assert {"sensor.ai_gateway_turns_today", "switch.ai_gateway_cache", "event.ai_gateway_turn"} <= ids
        assert all(one["default_entity_id"].startswith(f"{one['platform']}.{OUR_ENTITIES}") for one in shown)
        assert all(one["name"] and one["icon"].startswith("mdi:") for one in shown)
        json.dumps(told)
