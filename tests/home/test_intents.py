"""What is understood and what is left to the model: a wrong action is worse than a slow one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.home.speech.intents import Commands, Left, Understood
from gateway.shapes import Entity, Message
from tests.home.conftest import HOUSE, TOOLS, Hear, thing, tools


def call(found: Understood | Left) -> tuple[str, dict[str, Any]] | str:
    return found.reason if isinstance(found, Left) else (found.tool.rsplit("__", 1)[-1], dict(found.arguments))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("turn on the desk lamp", ("HassTurnOn", {"name": "Desk Lamp"})),
        ("turn on the reading light", ("HassTurnOn", {"name": "reading light"})),
        ("turn off desk lamp 2", ("HassTurnOff", {"name": "Desk Lamp 2"})),
        ("set the desk lamp to 50%", ("HassLightSet", {"name": "Desk Lamp", "brightness": 50})),
        ("dim the desk lamp to 40 percent", ("HassLightSet", {"name": "Desk Lamp", "brightness": 40})),
        ("make the desk lamp red", ("HassLightSet", {"name": "Desk Lamp", "color": "red"})),
        ("turn on the lights in the office", ("HassTurnOn", {"area": "Office", "domain": ["light"]})),
        ("turn on the lamp in the kitchen", ("HassTurnOn", {"name": "Lamp", "area": "Kitchen"})),
        ("turn off the TV in the bedroom", ("HassTurnOff", {"name": "TV", "area": "Bedroom", "domain": ["switch"]})),
        ("turn on the thermostat", ("HassTurnOn", {"name": "Thermostat", "domain": ["climate"]})),
        (
            "set the thermostat to 20.5 degrees",
            ("HassClimateSetTemperature", {"name": "Thermostat", "temperature": 20.5}),
        ),
        ("turn on the heat pump", ("HassTurnOn", {"name": "HeatPump"})),
        ("turn off all the lights in the house", ("HassTurnOff", {"domain": ["light"]})),
        ("start rover", ("HassVacuumStart", {"name": "Rover"})),
        ("broadcast dinner is ready", ("HassBroadcast", {"message": "dinner is ready"})),
        ("what time is it", ("GetDateTime", {})),
    ],
)
def test_commands(hear: Hear, text: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert call(hear(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "turn on the lamp",  # there are two
        "turn on the TV",  # a player and a switch
        "turn on the kitchen",  # a player and a room
        "turn off everything",
        "turn on the lights",  # where?
        "turn on the lights upstairs",
        "turn on the garden light",
        "desk lamp on?",
        "don't turn on the desk lamp",
        "please don't turn on the desk lamp",
        "could you not turn on the desk lamp",
        "would you mind not turning on the desk lamp",
        "turn on the desk lamp and the coffee machine",
        "turn on the desk lamp then turn off the coffee machine",
        "turn on the desk lamp if it is dark",
        "turn on the desk lamp in ten minutes",
        "turn on the desk lamp for five minutes",
        "turn off everything except the desk lamp",
        "turn off the lights in the kitchen and the office",
        "set desk lamp 250%",
        "why is the desk lamp on",
        "did you turn on the desk lamp",
        "turn on the lamp in the hall",  # none there
        "broadcast dinner is ready and turn off the coffee machine",
        "add milk and turn off the coffee machine to my chores list",
        "play jazz in the kitchen",
        "hello",
        "a" * 500,
    ],
)
def test_left_to_the_model(hear: Hear, text: str) -> None:
    found = hear(text)
    assert isinstance(found, Left) or (text == "turn on the lamp in the hall" and "name" not in found.arguments)


@pytest.mark.parametrize(
    "text",
    [
        "unlock the front door",
        "lock the front door",
        "open the garage",
        "close the garage",
        "turn on movie time",
        "run goodnight",
        "open the main valve",
        "open the curtains in the office",
    ],
)
def test_what_can_hurt_is_left_to_the_model(hear: Hear, text: str) -> None:
    assert isinstance(hear(text), Left)


def test_the_household_allows_by_domain_and_by_name(hear: Hear) -> None:
    by_domain, by_name = Commands(allowed=["scene"]), Commands(allowed=["front door"])
    assert call(hear("turn on movie time", commands=by_domain)) == (
        "HassTurnOn",
        {"name": "Movie Time"},
    )
    assert isinstance(hear("lock the front door", commands=by_domain), Left)
    assert call(hear("lock the front door", commands=by_name)) == ("HassTurnOn", {"name": "Front Door"})
    assert isinstance(hear("turn on movie time", commands=by_name), Left)
    assert call(hear("close the garage", commands=Commands(allowed=["cover"]))) == ("HassTurnOff", {"name": "Garage"})


def test_the_household_keeps_more_for_the_model(hear: Hear) -> None:
    commands = Commands(kept=["coffee machine", "climate"])
    assert call(hear("turn on the coffee machine", commands=commands)) == "gated"
    assert call(hear("set the thermostat to 20 degrees", commands=commands)) == "gated"
    assert call(hear("turn on the desk lamp", commands=commands)) == ("HassTurnOn", {"name": "Desk Lamp"})


def test_the_room_completes_a_command(hear: Hear) -> None:
    assert call(hear("turn on the lights", area="Office")) == ("HassTurnOn", {"area": "Office", "domain": ["light"]})
    assert call(hear("turn on the lamp", area="Kitchen")) == ("HassTurnOn", {"name": "Lamp", "area": "Kitchen"})
    assert isinstance(hear("turn on the lamp", area="Office"), Left)  # neither is here
    assert call(hear("pause", area="Living Room")) == ("HassMediaPause", {"area": "Living Room"})


def test_all_the_lights_may_be_this_room_s_or_the_house_s(hear: Hear) -> None:
    assert call(hear("turn off all the lights", area="Office")) == "here or everywhere"
    assert call(hear("turn off all the lights everywhere", area="Office")) == ("HassTurnOff", {"domain": ["light"]})
    assert call(hear("turn off all the lights in here", area="Office")) == (
        "HassTurnOff",
        {"area": "Office", "domain": ["light"]},
    )


def test_of_what_a_client_tells_only_the_speaker_s_floor_is_known(hear: Hear) -> None:
    said = "turn on the lights on the first floor"
    assert isinstance(hear(said), Left)
    assert call(hear(said, area="Office", floor="First Floor")) == (
        "HassTurnOn",
        {"floor": "First Floor", "domain": ["light"]},
    )


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("turn on the lights on the first floor", {"floor": "First Floor", "domain": ["light"]}),
        ("turn on the lights upstairs", {"floor": "Upstairs", "domain": ["light"]}),
        ("turn on the lights on the second floor", None),
    ],
)
def test_floors_of_the_things_are_known(hear: Hear, text: str, arguments: dict[str, Any] | None) -> None:
    things = (
        Entity(("Counter",), "light", ("Kitchen",), "First Floor"),
        Entity(("Bedside",), "light", ("Bedroom",), "Upstairs"),
    )
    understood = hear(text, entities=things)
    assert (call(understood) == ("HassTurnOn", arguments)) if arguments else isinstance(understood, Left)


def test_of_two_of_one_name_the_one_on_the_floor_is_meant(hear: Hear) -> None:
    things = (
        Entity(("Lamp",), "light", ("Kitchen",), "First Floor"),
        Entity(("Lamp",), "light", ("Bedroom",), "Upstairs"),
        Entity(("Counter",), "light", ("Kitchen",), "First Floor"),
    )
    assert call(hear("turn on the lamp on the first floor", entities=things)) == (
        "HassTurnOn",
        {"name": "Lamp", "area": "Kitchen", "floor": "First Floor"},
    )
    assert isinstance(hear("turn on the counter upstairs", entities=things), Left)


def test_offered_names_are_used_as_they_are(hear: Hear) -> None:
    new, old = hear("turn on the desk lamp"), hear("turn on the desk lamp", offered=tools(bare=True))
    assert isinstance(new, Understood)
    assert new.tool == "intent__HassTurnOn"
    assert isinstance(old, Understood)
    assert old.tool == "HassTurnOn"


def test_what_is_not_offered_is_not_called(hear: Hear) -> None:
    assert call(hear("turn on the desk lamp", offered=tools(without=("HassTurnOn",)))) == "not offered"
    assert call(hear("turn on the desk lamp", offered=())) == "no tools"
    assert call(hear("cancel all timers")) == "not offered"
    twice = (*tools(), *tools(bare=True))
    assert call(hear("turn on the desk lamp", offered=twice)) == "not offered"


@pytest.mark.parametrize(
    "text", ["turn on the desk lamp", "could you turn on all the lights in the house", "lock the front door"]
)
def test_every_argument_is_a_parameter(hear: Hear, text: str) -> None:
    found = hear(text, commands=Commands(allowed=["lock"]))
    assert isinstance(found, Understood)
    assert set(found.arguments) <= set(TOOLS[found.tool])


@pytest.mark.parametrize(
    "text",
    [
        "could you please turn on the desk lamp for me, thanks",
        "Hey, can you switch on the desk lamp please?",
        "um turn on the, uh, desk lamp",
        "would you mind turning on the desk lamp",
        "okay now turn the desk lamp on would you",
        "I'd like you to turn on the desk lamp right now",
        "Turn on the desk lamp!",
    ],
)
def test_courtesies_and_fillers(hear: Hear, text: str) -> None:
    assert call(hear(text)) == ("HassTurnOn", {"name": "Desk Lamp"})


def test_a_courtesy_is_no_part_of_a_message(hear: Hear) -> None:
    assert call(hear("broadcast dinner is ready please")) == ("HassBroadcast", {"message": "dinner is ready"})


def test_a_name_alone_is_a_command_only_as_it_stands(hear: Hear) -> None:
    assert call(hear("desk lamp")) == ("HassTurnOn", {"name": "Desk Lamp"})
    assert isinstance(hear("thanks, desk lamp"), Left)
    asked = (Message("user", "turn it off"), Message("assistant", "Which lamp should I turn off?"))
    assert call(hear("desk lamp", history=asked)) == "a name alone"


def test_one_misheard_letter(hear: Hear) -> None:
    assert call(hear("turn on the coffee maschine")) == ("HassTurnOn", {"name": "Coffee machine"})
    assert call(hear("turn on the lights in the offise")) == ("HassTurnOn", {"area": "Office", "domain": ["light"]})


@pytest.mark.parametrize(
    "text", ["turn on the deck lamp", "turn on the toffee machine", "turn on coffee machina twice"]
)
def test_another_word_is_not_a_misheard_one(hear: Hear, text: str) -> None:
    assert isinstance(hear(text), Left)


def test_a_letter_that_could_be_two_names_is_left(hear: Hear) -> None:
    house = (thing("Heater", "switch"), thing("Header", "switch"), thing("Table", "light"))
    assert isinstance(hear("turn on the heaper", entities=house), Left)
    assert isinstance(hear("turn on the tablet", entities=house), Left)


def test_learned_aliases(hear: Hear) -> None:
    aliases = {"my office": "Desk Lamp", "grandpa": "lamp", "the dragon": "no such thing"}
    assert call(hear("turn on my office", aliases=aliases)) == ("HassTurnOn", {"name": "Desk Lamp"})
    assert isinstance(hear("turn on grandpa", aliases=aliases), Left)  # two are called so
    assert isinstance(hear("turn on the dragon", aliases=aliases), Left)
    assert isinstance(hear("turn on my office"), Left)


def test_an_alias_that_is_also_another_thing_s_name_is_left(hear: Hear) -> None:
    assert isinstance(hear("turn on the coffee machine", aliases={"coffee machine": "Desk Lamp"}), Left)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("zgaś lampkę nocną", ("HassTurnOff", {"name": "Lampka nocna"})),
        ("ustaw jasność lampki nocnej na 30 procent", ("HassLightSet", {"name": "Lampka nocna", "brightness": 30})),
        ("włącz światła w kuchni", ("HassTurnOn", {"area": "Kuchnia", "domain": ["light"]})),
        ("czy możesz włączyć lampkę nocną?", ("HassTurnOn", {"name": "Lampka nocna"})),
        ("proszę włącz szafkę", ("HassTurnOn", {"name": "Szafka"})),
    ],
)
def test_polish(hear: Hear, text: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert call(hear(text, "pl")) == expected


@pytest.mark.parametrize(
    "text", ["nie włączaj lampki nocnej", "włącz szafę", "włącz lampkę nocną za pięć minut", "lampka nocna?"]
)
def test_polish_left(hear: Hear, text: str) -> None:
    assert isinstance(hear(text, "pl"), Left)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("allume la lampe de chevet", ("HassTurnOn", {"name": "lampe de chevet"})),
        ("éteins la lampe de l'entrée s'il te plaît", ("HassTurnOff", {"name": "lampe de l'entrée"})),
        (
            "est-ce que tu peux allumer la lumière de l’entrée ?",
            ("HassTurnOn", {"area": "entrée", "domain": ["light"]}),
        ),
        ("mets la lampe de chevet à 50 %", ("HassLightSet", {"name": "lampe de chevet", "brightness": 50})),
    ],
)
def test_french(hear: Hear, text: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert call(hear(text, "fr")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ferme l'entrée",  # a door, or its lights
        "état du thermostat du salon",
        "état thermostat du salon",
        "n'allume pas la lampe de chevet",
        "allume la lampe de chevet dans dix minutes",
    ],
)
def test_french_left(hear: Hear, text: str) -> None:
    assert isinstance(hear(text, "fr"), Left)


def test_questions_ask_for_the_live_context(hear: Hear) -> None:
    found = hear("is the desk lamp on")
    assert isinstance(found, Understood)
    assert found.ask_model_after
    assert call(found) == ("GetLiveContext", {"name": "Desk Lamp"})
    assert isinstance(hear("is the desk lamp on", offered=tools(without=("GetLiveContext",))), Left)


def test_other_languages_are_loaded_when_heard(hear: Hear) -> None:
    assert call(hear("schalte die Desk Lamp ein", "de")) == ("HassTurnOn", {"name": "Desk Lamp"})
    assert call(hear("turn on the desk lamp", "en-GB")) == ("HassTurnOn", {"name": "Desk Lamp"})
    assert call(hear("turn on the desk lamp", "tlh")) == "unknown language"


def test_warming_tells_what_is_known() -> None:
    assert Commands().warm(["en", "fr-CA", "tlh", "en"]) == ["en", "fr"]


def test_understanding_is_the_same_at_any_time(hear: Hear) -> None:
    said = ("turn on the coffee machine", "turn off all the lights in the house", "turn on the lamp")
    fresh = Commands(memory=0)
    assert [hear(text) for text in said] == [hear(text, commands=fresh) for text in reversed(said)][::-1]


@pytest.mark.parametrize("place", range(len(HOUSE)))
def test_what_is_named_is_meant(hear: Hear, place: int) -> None:
    """Whatever thing is named, no call goes to another."""
    entity: Entity = HOUSE[place]
    for said in (f"turn on the {entity.names[0]}", f"turn off {entity.names[-1]}"):
        found = hear(said)
        if isinstance(found, Understood):
            assert found.arguments.get("name") in entity.names
            same = {other.domain for other in HOUSE if set(other.names) & set(entity.names)}
            assert set(found.arguments.get("domain", [entity.domain])) <= same
