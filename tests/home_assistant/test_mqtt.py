"""The gateway as a device of a real Home Assistant, and Home Assistant's entities here, over a real broker.

Run by `scripts/test --home-assistant`, as its neighbour.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt

from gateway import __version__
from gateway.tasks import end
from tests.home_assistant.home import FOLDER, ONLY_WHEN_ASKED, Home, Watch, gateway, install, watching
from tests.mosquitto_server import Mosquitto, free_port
from tests.scripted_model import Answer, ScriptedModel

pytestmark = ONLY_WHEN_ASKED

QUESTION = "What is the capital of France?"
STATESTREAM = "homeassistant/statestream"
SECONDS = 20
RENEWED = 10.0  # seconds in which all is as before, once the other side is back
HOME_ASSISTANTS_PAUSE = 10.0  # between two of its own tries to reach the broker
TURNS, EVENT = "sensor.ai_gateway_turns_today", "event.ai_gateway_turn"
CACHE, LEARNING = "switch.ai_gateway_cache", "switch.ai_gateway_learning"
CLEAR, WARM = "button.ai_gateway_clear_cache", "button.ai_gateway_warm_model"
AT_FIRST = {
    TURNS: "0",
    "sensor.ai_gateway_answer_time": "unknown",
    "sensor.ai_gateway_cache_hit_rate": "0.0",
    "sensor.ai_gateway_model": "ready",
    "sensor.ai_gateway_queue": "0",
    "sensor.ai_gateway_memory_entries": "0",
    EVENT: "unknown",
    CACHE: "on",
    LEARNING: "on",
    CLEAR: "unknown",
    WARM: "unknown",
}
WORDS = {"sensor.ai_gateway_last_question": "unknown", "sensor.ai_gateway_last_answer": "unknown"}


class Gateway:
    """Its REST API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def say(self, text: str) -> dict[str, Any]:
        async with self._session.post("/conversation", json={"text": text}) as reply:
            said: dict[str, Any] = await reply.json()
            assert reply.status == 200, said
            return said

    async def entities(self) -> dict[str, dict[str, Any]]:
        async with self._session.get("/home/entities") as reply:
            return {one["id"]: one for one in (await reply.json())["entities"]}

    async def until(self, entity: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """That entity, once it is as it should be."""
        async with asyncio.timeout(SECONDS):
            while True:
                found = (await self.entities()).get(entity)
                if found is not None and holds(found):
                    return found
                await asyncio.sleep(0.1)


class Wiretap:
    """What goes over the broker from now on; `kept`: also what it kept."""

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._topics: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if self._kept or not message.retain:
                self._topics.put_nowait((str(message.topic), message.payload))

    async def hears(self, holds: Callable[[str, bytes], bool], seconds: float = SECONDS) -> float:
        """Waits for such a message; the seconds it took."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while not holds(*await self._topics.get()):
                pass
        return time.monotonic() - began


def is_birth(topic: str, payload: bytes) -> bool:
    return (topic, payload) == ("homeassistant/status", b"online")


def is_discovery(topic: str, payload: bytes) -> bool:
    return topic.startswith("homeassistant/device/ai_gateway_") and b'"ai-gateway"' in payload


@asynccontextmanager
async def tapping(broker: Mosquitto, *, kept: bool = False) -> AsyncIterator[Wiretap]:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        tap = Wiretap(kept=kept)
        await client.subscribe("homeassistant/#", qos=1)
        await client.subscribe("ai-gateway/#", qos=1)
        listening = asyncio.create_task(tap.listen(client))
        try:
            yield tap
        finally:
            await end(listening)


@asynccontextmanager
async def following() -> AsyncIterator[Watch]:
    async with watching() as watch:
        task = asyncio.create_task(watch.follow())
        try:
            yield watch
        finally:
            await end(task)


async def test_the_gateway_is_a_device_in_home_assistant(broker: Mosquitto) -> None:
    await install()
    home, port, folder = Home(), free_port(), FOLDER / f"mqtt-{time.time_ns()}"
    took: list[tuple[str, float]] = []
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(ScriptedModel())
        model.answer = lambda body: Answer("Paris.")
        session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))

        def serve(**more: Any) -> AbstractAsyncContextManager[Path]:
            return gateway(folder, port, free_port(), **more, OLLAMA_URL=model.url, MQTT_URL=broker.url)

        stack.push_async_callback(home.run, "stop")
        began = time.monotonic()
        await home.run("start", "--port", str(free_port()), "--mqtt", f"127.0.0.1:{broker.port}")
        took.append(("Home Assistant started, twice", time.monotonic() - began))
        here = Gateway(session)
        async with following() as there:
            async with serve(settings="home: {show_words: true}", killed=True):
                began = time.monotonic()
                await there.until(lambda: AT_FIRST.items() | WORDS.items() <= there.states.items(), SECONDS)
                took.append(("the gateway started, until all of it is seen", time.monotonic() - began))
                await _is_one_device(AT_FIRST.keys() | WORDS.keys())
                await _turns_are_seen(here, there)
                await _switches_and_buttons(here, there, model)
                await _asks_by_mqtt(there, broker)
                await _its_entities_are_known_here(here, there, broker)
                await there.call("switch", "turn_off", entity_id=LEARNING)
                await there.reads(LEARNING, "off")
            await there.until(lambda: _states(there) == {"unavailable"}, RENEWED)
        async with AsyncExitStack() as second:
            log = await second.enter_async_context(serve())
            async with following() as there:
                await there.reads(LEARNING, "off")  # as it was left
                await there.until(lambda: not WORDS.keys() & there.states.keys(), SECONDS)
                await _is_one_device(AT_FIRST.keys())
                await there.call("switch", "turn_on", entity_id=LEARNING)
                await there.reads(LEARNING, "on")
            async with tapping(broker) as tap:
                restarting = asyncio.create_task(home.restart())
                await tap.hears(is_birth, 120)
                took.append(("Home Assistant's birth, until it is told again", await tap.hears(is_discovery, RENEWED)))
                await restarting
            async with following() as there:
                await _works(here, there)
                took += await _broker_is_restarted(there, broker)
                await _works(here, there)
                took += await _broker_is_restarted(there, broker, emptied=True)
                await _works(here, there)
                await second.aclose()
                await there.until(lambda: _states(there) == {"unavailable"}, RENEWED)
            assert "Traceback" not in log.read_text()
        assert "ai_gateway" not in await home.run("log", "10000")  # nothing that it was told makes it complain
    for what, seconds in took:
        print(f"{seconds:8.2f} s  {what}")


def _states(there: Watch) -> set[str]:
    return {there.states.get(entity, "gone") for entity in AT_FIRST}


async def _is_one_device(known: Set[str]) -> None:
    async with watching() as registries:
        devices = [one for one in await registries.ask("config/device_registry/list") if one["name"] == "AI gateway"]
        assert [one["sw_version"] for one in devices] == [__version__]
        entities = await registries.ask("config/entity_registry/list")
        ours = {one["entity_id"] for one in entities if one["device_id"] == devices[0]["id"]}
        assert ours == known


async def _turns_are_seen(here: Gateway, there: Watch) -> None:
    await here.say("Remember that the bins go out on Tuesday")
    await there.reads("sensor.ai_gateway_memory_entries", "1")
    assert there.attributes[EVENT]["event_type"] == "acted"
    assert (await here.say(QUESTION))["cache"] == "miss"
    await there.until(lambda: there.attributes[EVENT].get("event_type") == "answered", SECONDS)
    assert there.attributes[EVENT]["edge"] == "conversation"
    assert (await here.say(QUESTION))["cache"] == "hit"
    await there.reads(TURNS, "3")
    await there.reads("sensor.ai_gateway_cache_hit_rate", "50.0")
    assert float(there.states["sensor.ai_gateway_answer_time"]) > 0
    await there.reads("sensor.ai_gateway_last_question", QUESTION)
    assert there.attributes["sensor.ai_gateway_last_answer"]["text"] == "Paris."


async def _switches_and_buttons(here: Gateway, there: Watch, model: ScriptedModel) -> None:
    await there.call("switch", "turn_off", entity_id=CACHE)
    await there.reads(CACHE, "off")
    assert (await here.say(QUESTION))["cache"] == "bypass:disabled"
    await there.call("switch", "turn_on", entity_id=CACHE)
    await there.reads(CACHE, "on")
    assert (await here.say(QUESTION))["cache"] == "hit"
    await there.call("switch", "turn_off", entity_id=LEARNING)
    await there.reads(LEARNING, "off")
    await there.call("button", "press", entity_id=CLEAR)
    async with asyncio.timeout(SECONDS):
        while (await here.say(QUESTION))["cache"] != "miss":
            await asyncio.sleep(0.05)
    asked = len(model.chats)
    await there.call("button", "press", entity_id=WARM)
    async with asyncio.timeout(SECONDS):
        while len(model.chats) == asked:
            await asyncio.sleep(0.05)
    assert model.chats[-1]["options"]["num_predict"] == 1


async def _its_entities_are_known_here(here: Gateway, there: Watch, broker: Mosquitto) -> None:
    """By `mqtt_statestream`: what its demo house has, and not what it was told of the gateway itself."""
    light = "light.kitchen_lights"
    async with tapping(broker) as tap:
        await there.call("switch", "turn_on", entity_id=LEARNING)
        await tap.hears(lambda topic, _: topic == f"{STATESTREAM}/switch/ai_gateway_learning/state")
        for state in ("off", "on"):
            await there.call("light", f"turn_{state}", entity_id=light)
            await tap.hears(
                lambda *told, state=state: told == (f"{STATESTREAM}/light/kitchen_lights/state", state.encode())
            )
            await here.until(light, lambda now, state=state: now["state"] == state)
    lamp = await here.until(light, lambda now: "brightness" in now["attributes"])
    assert (lamp["origin"], lamp["names"][0]) == ("statestream", "Kitchen Lights")
    assert not [entity for entity in await here.entities() if "ai_gateway" in entity]
    said = await here.say("Are the kitchen lights on?")
    assert said["response"]["speech"]["plain"]["speech"] == "Yes", said


async def _asks_by_mqtt(there: Watch, broker: Mosquitto) -> None:
    """As an automation of Home Assistant's would ask, by its own client."""
    async with tapping(broker) as tap:
        asked = json.dumps({"text": QUESTION, "id": "hall"})
        await there.call("mqtt", "publish", topic="ai-gateway/turn/request", payload=asked, qos=1)
        await tap.hears(lambda topic, told: topic == "ai-gateway/turn/response/hall" and b'"speech"' in told)
    await there.until(lambda: there.attributes[EVENT].get("edge") == "mqtt", SECONDS)


async def _broker_is_restarted(there: Watch, broker: Mosquitto, *, emptied: bool = False) -> list[tuple[str, float]]:
    """Returns when all is there again, with what took how long."""
    await broker.stop()
    if emptied:
        broker.forget()
    await there.until(lambda: _states(there) == {"unavailable"}, SECONDS)
    await broker.start()
    began, took = time.monotonic(), []
    if emptied:
        async with tapping(broker, kept=True) as tap:
            await tap.hears(is_discovery, RENEWED)
        took.append(("the broker emptied, until the gateway has told of itself", time.monotonic() - began))
    await there.until(lambda: "unavailable" not in _states(there), HOME_ASSISTANTS_PAUSE + RENEWED)
    return [*took, (f"the broker {'emptied' if emptied else 'restarted'}, until all is seen", time.monotonic() - began)]


async def _works(here: Gateway, there: Watch) -> None:
    """All as before: what it tells is there, and the switch switches."""
    await there.until(lambda: "unavailable" not in _states(there) and "gone" not in _states(there), SECONDS)
    assert int(there.states[TURNS]) > 3
    await there.call("switch", "turn_off", entity_id=CACHE)
    await there.reads(CACHE, "off")
    assert (await here.say(QUESTION))["cache"] == "bypass:disabled"
    await there.call("switch", "turn_on", entity_id=CACHE)
    await there.reads(CACHE, "on")
