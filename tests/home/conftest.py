"""A house full of ambiguities, and the tools of both kinds of Home Assistant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.home.speech.intents import Commands, Left, Understood
from gateway.shapes import Entity, Message, Scope, Turn

NAMED: Mapping[str, Any] = {"name": {"type": "string"}, "area": {"type": "string"}, "floor": {"type": "string"}}
ON_OFF = NAMED | {
    "domain": {"type": "array", "items": {"type": "string"}},
    "device_class": {"type": "array", "items": {"type": "string", "enum": ["curtain", "garage", "window"]}},
}
TOOLS: Mapping[str, Mapping[str, Any]] = {
    "intent__HassTurnOn": ON_OFF,
    "intent__HassTurnOff": ON_OFF,
    "light__HassLightSet": NAMED
    | {
        "brightness": {"type": "integer"},
        "color": {"type": "string"},
        "temperature": {"type": "integer"},
        "domain": {"type": "array", "items": {"type": "string", "enum": ["light"]}},
    },
    "climate__HassClimateSetTemperature": NAMED | {"temperature": {"type": "number"}},
    "media_player__HassMediaPause": NAMED,
    "media_player__HassSetVolume": NAMED | {"volume_level": {"type": "integer"}},
    "media_player__HassMediaSearchAndPlay": NAMED | {"search_query": {"type": "string"}},
    "vacuum__HassVacuumStart": NAMED,
    "vacuum__HassVacuumCleanArea": {"area": {"type": "string"}, "name": {"type": "string"}},
    "assist_satellite__HassBroadcast": {"message": {"type": "string"}},
    "todo__HassListAddItem": {"item": {"type": "string"}, "name": {"type": "string"}},
    "homeassistant__GetLiveContext": {"name": {"type": "string"}, "domain": {}, "area": {"type": "string"}},
    "llm__GetDateTime": {},
}


def thing(names: str, domain: str, *areas: str) -> Entity:
    return Entity(tuple(names.split(", ")), domain, areas)


HOUSE = (
    thing("Lamp", "light", "Kitchen"),
    thing("Lamp", "light", "Bedroom"),
    thing("Kitchen", "media_player"),
    thing("TV", "media_player", "Living Room"),
    thing("TV", "switch", "Bedroom"),
    thing("Desk Lamp, reading light", "light", "Office"),
    thing("Desk Lamp 2", "light", "Office"),
    thing("Thermostat", "climate", "Office"),
    thing("Thermostat", "sensor", "Office"),
    thing("Front Door", "lock", "Hall", "Hallway"),
    thing("Garage", "cover", "Garage"),
    thing("Garage Lamp", "light", "Garage"),
    thing("Szafka", "light", "Kuchnia"),
    thing("Lampka nocna", "light", "Sypialnia"),
    thing("lampe de chevet", "light", "chambre"),
    thing("lampe de l'entrée", "light", "entrée"),
    thing("thermostat du salon", "climate", "salon"),
    thing("Coffee machine", "switch", "Kitchen"),
    thing("HeatPump", "switch"),
    thing("Movie Time", "scene"),
    thing("Goodnight", "script"),
    thing("Alarm", "alarm_control_panel"),
    thing("Main Valve", "valve"),
    thing("Rover", "vacuum", "Hall", "Hallway"),
    thing("Chores", "todo"),
)


def tools(*, bare: bool = False, without: tuple[str, ...] = ()) -> tuple[dict[str, Any], ...]:
    """What Home Assistant offers: `bare` names, as before 2026.11, or with the integration before them."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": name.rsplit("__", 1)[-1] if bare else name,
                "parameters": {"type": "object", "properties": dict(properties)},
            },
        }
        for name, properties in TOOLS.items()
        if name.rsplit("__", 1)[-1] not in without
    )


Hear = Callable[..., Understood | Left]


@pytest.fixture(scope="session")
def hear() -> Hear:
    """Says something in the house; what was understood."""
    usual = Commands()

    def said(
        text: str,
        language: str = "en",
        *,
        area: str | None = None,
        floor: str | None = None,
        entities: tuple[Entity, ...] = HOUSE,
        aliases: Mapping[str, str] | None = None,
        history: tuple[Message, ...] = (),
        offered: tuple[dict[str, Any], ...] | None = None,
        commands: Commands = usual,
    ) -> Understood | Left:
        turn = Turn(
            Scope(1),
            text,
            "ollama",
            entities=entities,
            area=area,
            floor=floor,
            history=history,
            tools=tools() if offered is None else offered,
            voice=True,
        )
        return commands.understand(turn, language, aliases)

    return said
