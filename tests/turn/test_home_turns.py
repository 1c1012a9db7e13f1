"""Turns that act at home, end to end: a whole gateway, a real broker, and devices that answer, lie or are dead."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import aiomqtt
import asyncpg
import pytest
from pydantic import SecretStr
from wyoming.asr import Transcript

from gateway.app import listening, open_gateway
from gateway.config import HomeSettings, MqttSettings, Settings
from gateway.edge import keys
from gateway.edge.wyoming import from_transcript
from gateway.home.acting import Actor
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.speech.intents import GATED, Commands
from gateway.home.things import Condition, Order, Publication, Thing
from gateway.shapes import Reply, Scope, Turn
from gateway.tasks import end
from gateway.turn.act import Act, Consents
from gateway.turn.home import Home as AtHome
from tests.house import House, speech
from tests.mosquitto_server import Mosquitto
from tests.scripted_model import HANG, Answer, Tools

RESULTS = {
    "turn_on": "on",
    "turn_off": "off",
    "lock": "locked",
    "unlock": "unlocked",
    "open": "open",
    "close": "closed",
}


@dataclass(frozen=True)
class Json:
    """How the devices of this house are spoken to."""

    thing_id: str

    @property
    def topics(self) -> tuple[str, ...]:
        return (f"house/{self.thing_id}/state",)

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        told = json.loads(payload)
        return replace(before.told(at, **told), available=True)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        return (Publication(f"house/{self.thing_id}/set", json.dumps({"action": order.action, **order.values})),)


@dataclass
class Devices:
    """The devices, their states as they tell them, and every command that came."""

    broker: Mosquitto
    link: Link
    registry: Registry
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    commands: asyncio.Queue[tuple[str, dict[str, Any]]] = field(default_factory=asyncio.Queue)
    listening: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self.broker.port) as client:
            await client.subscribe("house/+/set", qos=1)
            self.listening.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                thing_id, wanted = message.topic.value.split("/")[1], json.loads(message.payload)
                self.commands.put_nowait((thing_id, dict(wanted)))
                if thing_id not in self.dead:
                    state = self.states[thing_id]
                    state["state"] = RESULTS[wanted.pop("action")]
                    state |= wanted
                    await client.publish(f"house/{thing_id}/state", json.dumps(state), qos=1)

    def add(self, thing_id: str, name: str, area: str | None, state: Mapping[str, Any], **more: Any) -> None:
        """A thing that is known, and stands as `state` says."""
        self.states[thing_id] = dict(state)
        driver = Json(thing_id)
        capabilities = frozenset({*RESULTS, "brightness"})
        thing = Thing(thing_id, name, "discovery", area=area, capabilities=capabilities, driver=driver, **more)
        told = {key: value for key, value in state.items() if key != "state"}
        condition = replace(Condition().told(datetime.now(UTC), state=state["state"], **told), available=True)
        self.registry.put(thing, condition)

        def hear(message: Message) -> None:
            before = self.registry.condition(thing_id)
            self.registry.saw(thing_id, driver.read(message.topic, message.payload, before, datetime.now(UTC)))

        self.link.subscribe(driver.topics[0], hear)

    def commanded(self) -> list[tuple[str, dict[str, Any]]]:
        """What came since it was last asked."""
        found = []
        while not self.commands.empty():
            found.append(self.commands.get_nowait())
        return found


@dataclass(frozen=True)
class Home(House):
    devices: Devices


@pytest.fixture
async def home(
    settings: Settings, broker: Mosquitto, admin: asyncpg.Connection, model: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Home]:
    monkeypatch.setattr("gateway.store.epoch.CONFIRMED_SECONDS", 30.0)
    links: list[Link] = []

    class Known(Link):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            links.append(self)

    monkeypatch.setattr("gateway.app.Link", Known)
    settings = settings.model_copy(
        update={
            "mqtt": MqttSettings(url=SecretStr(broker.url)),
            "home": HomeSettings(confirm_seconds=0.5),
        }
    )
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        registry = gateway.application[keys.REGISTRY]
        devices = Devices(broker, links[0], registry)
        devices.add("light.kitchen", "Kitchen Light", "Kitchen", {"state": "off"})
        devices.add("light.counter", "Counter Light", "Kitchen", {"state": "off"})
        devices.add("light.office", "Office Lamp", "Office", {"state": "off"})
        devices.add("light.loft", "Loft Light", "Loft", {"state": "on"}, floor="Upstairs")
        devices.add("climate.office", "Office Heating", "Office", {"state": "heat", "current_temperature": 19.5})
        devices.add("lock.front", "Front Door", "Hall", {"state": "locked"})
        devices.add("light.salon", "Lumière du salon", "Salon", {"state": "off"})
        devices.add("light.sypialnia", "Lampa w sypialni", "Sypialnia", {"state": "off"})
        devices.add(
            "sensor.bedroom", "Bedroom Temperature", "Bedroom", {"state": "21.5"}, unit="°C", device_class="temperature"
        )
        devices.add("light.secret", "Secret Light", "Kitchen", {"state": "off"}, exposed=False)
        running = asyncio.create_task(devices.run())
        await devices.listening.wait()
        async with asyncio.timeout(20):
            await links[0].listening()
        yield Home(f"http://127.0.0.1:{port}", client, model, gateway, admin, devices)
        await end(running)


async def test_a_command_is_carried_out_and_confirmed(home: Home) -> None:
    reply = await home.say("turn on the kitchen light")
    assert speech(reply) == "Turned on the light"
    assert reply["intent"] == "HassTurnOn"
    assert home.devices.commanded() == [("light.kitchen", {"action": "turn_on"})]
    assert not home.model.chats
    row = (await home.logged())[-1]
    assert row["metadata"]["actions"] == [{"thing": "light.kitchen", "action": "turn_on", "verdict": "done"}]


@pytest.mark.parametrize(
    ("language", "said", "thing", "answer"),
    [
        ("fr", "allume la lumière du salon", "light.salon", None),
        ("pl", "włącz lampę w sypialni", "light.sypialnia", None),
    ],
)
async def test_in_the_other_languages(home: Home, language: str, said: str, thing: str, answer: str | None) -> None:
    reply = await home.say(said, language=language)
    assert home.devices.commanded() == [(thing, {"action": "turn_on"})]
    assert speech(reply)
    assert not home.model.chats
    again = await home.say(said, language=language)
    assert home.devices.commanded() == []
    assert speech(again).startswith({"fr": "C'est déjà le cas", "pl": "Tak już jest"}[language])


async def test_an_area_at_once_and_one_that_is_dead(home: Home) -> None:
    home.devices.dead.add("light.counter")
    reply = await home.say("turn on the lights", area="kitchen")
    assert {thing for thing, _ in home.devices.commanded()} == {"light.kitchen", "light.counter"}
    assert speech(reply) == "Done only in part. No answer from Counter Light."
    assert reply["intent"] == "HassTurnOn"


async def test_a_floor_at_once(home: Home) -> None:
    reply = await home.say("turn off all the lights upstairs")
    assert home.devices.commanded() == [("light.loft", {"action": "turn_off"})]
    assert speech(reply) == "Turned off the lights"


async def test_a_dead_thing_is_not_said_to_have_answered(home: Home) -> None:
    home.devices.dead.add("light.office")
    assert speech(await home.say("turn on the office lamp")) == "No answer from Office Lamp."
    registry = home.devices.registry
    registry.saw("light.office", replace(registry.condition("light.office"), available=False))
    home.devices.commanded()
    assert speech(await home.say("turn on the office lamp")) == "Not reachable at the moment: Office Lamp."
    assert home.devices.commanded() == []


async def test_what_the_household_calls_it(home: Home) -> None:
    assert "moon" in speech(await home.say("when I say moon I mean the office lamp"))
    assert speech(await home.say("turn on the moon")) == "Turned on the light"
    assert home.devices.commanded() == [("light.office", {"action": "turn_on"})]


@pytest.mark.parametrize(
    ("language", "said", "yes", "asked"),
    [
        ("en", "unlock the front door", "yes", "Shall I unlock Front Door?"),
        ("fr", "déverrouille front door", "oui, vas-y", "Dois-je déverrouiller : Front Door ?"),
    ],
)
async def test_what_is_guarded_needs_a_yes(home: Home, language: str, said: str, yes: str, asked: str) -> None:
    reply = await home.say(said, conversation_id="c1", language=language)
    assert speech(reply) == asked
    assert reply["continue_conversation"] is True
    assert home.devices.commanded() == []
    # Nobody else's yes counts.
    await home.say(yes, conversation_id="c2", language=language)
    assert home.devices.commanded() == []
    await home.say(yes, conversation_id="c1", language=language)
    assert home.devices.commanded() == [("lock.front", {"action": "unlock"})]
    await home.say(yes, conversation_id="c1", language=language)
    assert home.devices.commanded() == []


async def test_a_gate_is_asked_for_in_polish(home: Home) -> None:
    home.devices.add("cover.brama", "Brama", None, {"state": "closed"}, device_class="gate")
    reply = await home.say("otwórz bramę", conversation_id="c1", language="pl")
    assert speech(reply) == "Czy mam otworzyć: Brama?"
    assert speech(await home.say("nie", conversation_id="c1", language="pl")) == "Dobrze, zostawiam."
    await home.say("otwórz bramę", conversation_id="c1", language="pl")
    await home.say("tak", conversation_id="c1", language="pl")
    assert home.devices.commanded() == [("cover.brama", {"action": "open"})]


@pytest.mark.parametrize("words", ["no", "forget it", "what is the capital of France?"])
async def test_anything_but_a_yes_leaves_it(home: Home, words: str) -> None:
    await home.say("unlock the front door", conversation_id="c1")
    await home.say(words, conversation_id="c1")
    await home.say("yes", conversation_id="c1")
    assert home.devices.commanded() == []


@pytest.mark.parametrize(
    ("language", "words", "said"),
    [
        ("en", "undo that", "It is as it was before: Office Lamp."),
        ("en", "never mind, turn it back", "It is as it was before: Office Lamp."),
        ("fr", "annule ça", "C'est de nouveau comme avant : Office Lamp."),
        ("pl", "cofnij to", "Jest znowu tak, jak było: Office Lamp."),
    ],
)
async def test_undone(home: Home, language: str, words: str, said: str) -> None:
    await home.say("turn on the office lamp", conversation_id="c1", language="en")
    home.devices.commanded()
    assert speech(await home.say(words, conversation_id="c1", language=language)) == said
    assert home.devices.commanded() == [("light.office", {"action": "turn_off"})]
    reply = await home.say(words, conversation_id="c1", language=language)
    assert home.devices.commanded() == []
    assert speech(reply) in {
        "There is nothing that I could take back.",
        "Il n'y a rien que je puisse annuler.",
        "Nie ma niczego, co mógłbym cofnąć.",
    }


async def test_what_is_guarded_is_not_unlocked_by_undo_alone(home: Home) -> None:
    registry = home.devices.registry
    home.devices.states["lock.front"]["state"] = "unlocked"
    registry.saw("lock.front", registry.condition("lock.front").told(datetime.now(UTC), state="unlocked"))
    await home.say("lock the front door", conversation_id="c1")
    await home.say("yes", conversation_id="c1")
    assert home.devices.commanded() == [("lock.front", {"action": "lock"})]
    assert speech(await home.say("undo that", conversation_id="c1")) == "Shall I unlock Front Door?"
    assert home.devices.commanded() == []
    await home.say("yes", conversation_id="c1")
    assert home.devices.commanded() == [("lock.front", {"action": "unlock"})]


@pytest.mark.parametrize(
    ("language", "question", "answer"),
    [
        ("en", "is the kitchen light on?", "No, off"),
        ("en", "what is the temperature in the bedroom?", "21.5 degrees"),
        ("en", "what is the temperature in the office?", "19.5 degrees"),
        ("pl", "jaka jest temperatura w bedroom", "Temperatura wynosi 21,5 stopnia"),
        ("en", "are any lights on in the kitchen?", "No"),
        ("en", "is the front door locked?", "Yes"),
        ("en", "which lights are on", "Loft Light"),
        ("en", "how many lights are on", "1"),
        ("en", "are all the lights off?", "No, Loft Light is not off"),
        ("en", "what is the bedroom temperature", "Bedroom temperature is 21.5 °C"),
        ("fr", "est-ce que la lumière du salon est allumée ?", "Non"),
        ("pl", "czy lampa w sypialni jest włączona?", "Nie"),
    ],
)
async def test_states_are_told_at_once(home: Home, language: str, question: str, answer: str) -> None:
    reply = await home.say(question, language=language)
    assert speech(reply).startswith(answer)
    assert {source["kind"] for source in reply["sources"]} == {"state"}
    assert reply["response"]["response_type"] == "query_answer"
    assert reply["cache"].startswith("bypass")
    assert not home.model.chats
    assert home.devices.commanded() == []


async def test_a_state_that_changed_is_told_as_it_is_now(home: Home) -> None:
    assert speech(await home.say("is the kitchen light on?")) == "No, off"
    await home.say("turn on the kitchen light")
    assert speech(await home.say("is the kitchen light on?")) == "Yes"


async def test_what_cannot_be_reached_is_not_guessed(home: Home) -> None:
    registry = home.devices.registry
    registry.saw("light.kitchen", replace(registry.condition("light.kitchen"), available=False))
    assert speech(await home.say("is the kitchen light on?")) == "Not reachable at the moment: Kitchen Light."
    registry.saw("light.kitchen", Condition())
    assert speech(await home.say("is the kitchen light on?")) == "I don't know that at the moment: Kitchen Light."


async def test_no_is_not_said_while_one_cannot_be_asked(home: Home) -> None:
    home.model.answer = lambda body: Answer("I cannot see all of them.")
    registry = home.devices.registry
    registry.saw("light.counter", replace(registry.condition("light.counter"), available=False))
    for question in ("are any lights on in the kitchen?", "which lights are on in the kitchen?"):
        assert speech(await home.say(question)) == "I cannot see all of them."
    await home.say("turn on the kitchen light")
    assert speech(await home.say("are any lights on in the kitchen?")).startswith("Yes")


async def test_the_time_is_told_without_the_model(home: Home) -> None:
    assert re.search(r"\d", speech(await home.say("what time is it")))
    assert not home.model.chats


async def test_the_model_words_what_the_package_cannot(home: Home) -> None:
    home.model.script(Answer("Elle est éteinte."))
    reply = await home.say("quel est l'état de la lumière du salon ?", language="fr")
    assert speech(reply) == "Elle est éteinte."
    asked = home.model.chats[-1]["messages"][-1]["content"]
    assert "home: state" in asked
    assert "Lumière du salon (Salon): off" in asked
    assert "ago" in asked
    assert "Secret" not in json.dumps(home.model.chats)
    assert reply["cache"] == "bypass:state"


async def test_a_general_question_stays_small_and_is_kept(home: Home) -> None:
    first = await home.say("What is the capital of France?")
    assert first["cache"] == "miss"
    assert not home.model.chats[0].get("tools")
    assert "Kitchen Light" not in json.dumps(home.model.chats)
    assert (await home.say("What is the capital of France?"))["cache"] == "hit"


async def test_the_model_acts_by_tools(home: Home) -> None:
    home.model.script(
        Answer(Tools((("HassTurnOn", {"name": "Office Lamp"}), ("HassTurnOn", {"name": "Secret Light"})))),
        Answer("The lamp ", "is on; I know no other."),
    )
    reply = await home.say("make it cosy in the office please, the usual way")
    assert home.devices.commanded() == [("light.office", {"action": "turn_on"})]
    assert speech(reply) == "The lamp is on; I know no other."
    first, second = home.model.chats
    assert {"HassTurnOn", "GetLiveContext"} <= {tool["function"]["name"] for tool in first["tools"]}
    assert "Kitchen Light" in first["messages"][0]["content"]
    assert "Secret" not in first["messages"][0]["content"]
    told, unknown = [message["content"] for message in second["messages"] if message["role"] == "tool"]
    assert json.loads(told)["data"]["success"][0]["id"] == "light.office"
    assert json.loads(unknown)["error"] == "not_found"
    assert second["messages"][: len(first["messages"])] == first["messages"]
    row = (await home.logged())[-1]
    assert row["intent"] == "HassTurnOn"
    metadata = row["metadata"]
    assert metadata["actions"] == [{"thing": "light.office", "action": "turn_on", "verdict": "done"}]
    assert metadata["tool_calls"] == []


async def test_the_model_cannot_move_what_is_guarded(home: Home) -> None:
    home.model.script(Answer(Tools((("HassTurnOff", {"name": "Front Door"}),))))
    reply = await home.say("let my mother in, would you", conversation_id="c1")
    assert speech(reply) == "Shall I unlock Front Door?"
    assert home.devices.commanded() == []
    await home.say("yes please", conversation_id="c1")
    assert home.devices.commanded() == [("lock.front", {"action": "unlock"})]
    assert len(home.model.chats) == 1


async def test_a_yes_is_one_to_all_that_was_asked(home: Home) -> None:
    home.devices.add("cover.garage", "Garage", "Hall", {"state": "closed"})
    home.model.script(
        Answer(Tools((("HassTurnOff", {"name": "Front Door"}), ("HassTurnOn", {"name": "Garage"})))),
    )
    reply = await home.say("let my mother in, would you", conversation_id="c1")
    assert speech(reply) == "Shall I unlock Front Door? Shall I open Garage?"
    await home.say("yes please", conversation_id="c1")
    assert home.devices.commanded() == [("lock.front", {"action": "unlock"}), ("cover.garage", {"action": "open"})]


async def test_a_call_that_is_refused_is_not_passed_over_in_silence(home: Home) -> None:
    home.model.script(
        Answer(Tools((("HassTurnOn", {"name": "Ghost"}), ("HassTurnOn", {"name": "Office Lamp"})))), Answer("")
    )
    assert "done" not in speech(await home.say("make it cosy in the office please, the usual way")).lower()


async def test_the_model_looks_and_the_answer_is_not_kept(home: Home) -> None:
    for _ in range(2):
        home.model.script(Answer(Tools((("GetLiveContext", {"area": "Bedroom"}),))), Answer("Quite warm."))
        reply = await home.say("is the bedroom pleasant to sleep in?")
        assert speech(reply) == "Quite warm."
        assert reply["cache"].startswith("bypass")
        assert {source["kind"] for source in reply["sources"]} == {"state"}
    assert len(home.model.chats) == 4


async def test_the_model_comes_to_an_end(home: Home) -> None:
    home.model.answer = lambda body: Answer(Tools((("GetLiveContext", {}),)))
    reply = await home.say("please sort out my living room somehow")
    assert len(home.model.chats) == 5
    assert "tools" not in home.model.chats[-1]
    assert speech(reply) == "I have no answer to that."


async def test_a_client_that_leaves_ends_the_model(home: Home) -> None:
    home.model.script(Answer(Tools((("HassTurnOn", {"name": "Office Lamp"}),))), Answer(HANG))
    asking = asyncio.create_task(home.say("make it cosy in the office please, the usual way"))
    await home.model.arrived(2)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await home.model.client_gone.wait()
    row = (await home.logged())[-1]
    assert row["metadata"]["finish"] == "cut_off"
    assert row["metadata"]["actions"][0]["verdict"] == "done"


async def test_a_client_with_tools_of_its_own_acts_itself(home: Home) -> None:
    tool = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}
    body = {
        "model": "qwen3:4b-instruct",
        "stream": False,
        "messages": [{"role": "user", "content": "turn on the kitchen light"}],
        "tools": [tool],
    }
    home.model.script(Answer(Tools((("HassTurnOn", {"name": "Kitchen Light"}),))))
    async with home.client.post("/api/chat", json=body) as response:
        told = await response.json()
    assert told["message"]["tool_calls"]
    assert home.devices.commanded() == []


async def test_openai_clients_act_too(home: Home) -> None:
    body = {"model": "qwen3:4b-instruct", "messages": [{"role": "user", "content": "turn on the kitchen light"}]}
    async with home.client.post("/v1/chat/completions", json=body) as response:
        told = await response.json()
    assert told["choices"][0]["message"]["content"] == "Turned on the light"
    assert home.devices.commanded() == [("light.kitchen", {"action": "turn_on"})]


async def test_with_the_broker_away_it_is_said(home: Home) -> None:
    await home.devices.broker.stop()
    while home.devices.link.connected:
        await asyncio.sleep(0)
    assert speech(await home.say("turn on the kitchen light")) == "I can't reach the home at the moment."
    # How it stood is told as what it is: old.
    told = speech(await home.say("is the kitchen light on?"))
    assert told == "I can't reach the home at the moment. When I last heard from it: No, off"


async def test_without_a_link_it_is_out_of_reach(house: House, tmp_path: Path) -> None:
    assert speech(await house.say("turn on the kitchen light")) == "I can't operate anything at home from here."


class TestBrokerNeverThere:
    """Since the first start, so that nothing at home is known."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"mqtt": MqttSettings(url=SecretStr("mqtt://127.0.0.1:1"))})

    async def test_it_is_said_that_the_home_is_away(self, house: House) -> None:
        assert speech(await house.say("turn on the kitchen light")) == "I can't reach the home at the moment."
        assert speech(await house.say("allume la lumière de la cuisine", language="fr")) == (
            "Je n'arrive pas à joindre la maison pour le moment."
        )


async def test_spoken_over_wyoming(home: Home) -> None:
    scope = Scope(home.gateway.household_id)
    ask = from_transcript(Transcript("turn on the office lamp").event(), scope, 1000)
    pieces = [piece async for piece in home.gateway.application[keys.PIPELINE].run(ask)]
    assert isinstance(pieces[-1], Reply)
    assert pieces[-1].text == "Turned on the light"
    assert home.devices.commanded() == [("light.office", {"action": "turn_on"})]


async def test_work_on_data_touches_nothing(home: Home) -> None:
    turn = Turn(Scope(home.gateway.household_id), "turn on the office lamp", "automation", task=True)
    _ = [piece async for piece in home.gateway.application[keys.PIPELINE].run(turn)]
    assert home.devices.commanded() == []
    assert not home.model.chats[-1].get("tools")


@pytest.mark.parametrize(
    "said",
    [
        "please dim whatever light is behind the sofa",
        "turn everything off in the kitchen",
        "make the kitchen light go on",
    ],
)
async def test_a_model_without_tools_does_not_pretend(said: str) -> None:
    registry, consents = Registry(), Consents()
    registry.put(Thing("light.kitchen", "Kitchen Light", "discovery", area="Kitchen"))
    at_home = AtHome(
        registry,
        cast(Actor, None),  # nothing is carried out here
        Commands(allowed=GATED),
        consents,
        now=lambda: datetime.now(UTC),
        model_acts=lambda: False,
    )
    turn = at_home.furnished(Turn(Scope(1), said, "wyoming", voice=True))
    assert at_home.offers(turn)
    act = await at_home.understood(turn, "en", {}, "c1")
    assert isinstance(act, Act)
    assert act.text == "I did not understand what is to be done at home."
    assert not at_home.for_model(turn, "en", ()).tools


async def test_the_words_of_what_was_done_are_forgotten_by_voice(home: Home) -> None:
    await home.say("turn on the kitchen light")
    await home.say("turn on the office lamp")
    asked = speech(await home.say("Forget what I said about the kitchen light", conversation_id="c1"))
    assert asked.startswith("I would forget: turn on the kitchen light")
    assert speech(await home.say("Yes, please.", conversation_id="c1")) == "Done, that is forgotten."
    async with home.client.get("/home/actions") as response:
        done = (await response.json())["actions"]
    assert [(one["words"], one["entity"]) for one in done] == [
        ("turn on the office lamp", "light.office"),
        ("", "light.kitchen"),
    ]


async def test_of_what_was_done_alone_the_words_are_forgotten_by_voice(home: Home) -> None:
    await home.say("turn on the kitchen light")
    await home.logged()
    await home.admin.execute("DELETE FROM conversations")
    asked = speech(await home.say("Forget what I said about the kitchen light", conversation_id="c1"))
    assert asked == "I would forget: turn on the kitchen light. Shall I?"
    await home.say("Yes, please.", conversation_id="c1")
    assert await home.admin.fetchval("SELECT words FROM actions") == ""
