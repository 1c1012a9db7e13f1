"""What the model may do at home where its client offers nothing: the tools, in Home Assistant's names and parameters.

They name nothing of the house, so that a prompt's beginning stays the same when a lamp comes or goes; what is there is
told by `context`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import yaml

from gateway.home.registry import Registry
from gateway.home.speech.intents import DATE_TIME, LIVE_CONTEXT
from gateway.home.things import Condition, Thing

MOST_TOLD = 100  # things in one live context: a small model reads no more
# What Home Assistant tells of a thing beside its state, and what MQTT things tell in its place.
_TELLING = (
    "device_class",
    "unit_of_measurement",
    "current_temperature",
    "temperature",
    "humidity",
    "brightness",
    "current_position",
    "percentage",
    "hvac_mode",
    "fan_mode",
    "preset_mode",
    "volume_level",
    "media_title",
    "source",
)
_OPENABLE = ["awning", "blind", "curtain", "damper", "door", "garage", "gate", "shade", "shutter", "window"]
_CLASSES = [*_OPENABLE, "tv", "speaker", "receiver", "projector", "outlet", "switch", "water", "gas"]


def _tool(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    parameters = {"type": "object", "required": list(required), "properties": dict(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _where(*domains: str, classes: Sequence[str] = ()) -> dict[str, Any]:
    """The parameters that say which things are meant."""
    of_domain: dict[str, Any] = {"type": "string", "enum": list(domains)} if domains else {"type": "string"}
    found: dict[str, Any] = {
        "name": {"type": "string"},
        "area": {"type": "string"},
        "floor": {"type": "string"},
        "domain": {"type": "array", "items": of_domain},
    }
    if classes:
        found["device_class"] = {"type": "array", "items": {"type": "string", "enum": list(classes)}}
    return found


def _percent(of_what: str) -> dict[str, Any]:
    return {"type": "integer", "description": f"{of_what}, 0 to 100"}


TOOLS: tuple[dict[str, Any], ...] = (
    _tool(
        "HassTurnOn",
        "Turns on, opens or presses things, activates a scene, locks a lock.",
        _where(classes=_CLASSES),
    ),
    _tool("HassTurnOff", "Turns off or closes things, unlocks a lock.", _where(classes=_CLASSES)),
    _tool("HassToggle", "Turns on what is off, and off what is on.", _where(classes=_CLASSES)),
    _tool(
        "HassLightSet",
        "Sets the brightness, colour or colour temperature of lights.",
        {
            **_where("light"),
            "brightness": _percent("Brightness"),
            "color": {"type": "string", "description": "A colour's English name, or #rrggbb"},
            "temperature": {"type": "integer", "description": "Colour temperature in kelvin"},
        },
    ),
    _tool(
        "HassSetPosition",
        "Sets how far covers or valves are open.",
        {**_where("cover", "valve", classes=[*_OPENABLE, "water", "gas"]), "position": _percent("Position")},
        ["position"],
    ),
    _tool("HassStopMoving", "Stops covers or valves that move.", _where("cover", "valve", classes=_OPENABLE)),
    _tool(
        "HassClimateSetTemperature",
        "Sets the temperature that a thermostat keeps.",
        {**_where("climate"), "temperature": {"type": "number"}},
        ["temperature"],
    ),
    _tool(
        "HassClimateSetFanMode",
        "Sets the fan of an air conditioner.",
        {**_where("climate"), "fan_mode": {"type": "string"}},
        ["fan_mode"],
    ),
    _tool(
        "HassFanSetSpeed", "Sets the speed of fans.", {**_where("fan"), "percentage": _percent("Speed")}, ["percentage"]
    ),
    _tool(
        "HassHumidifierSetpoint",
        "Sets the humidity that a humidifier keeps.",
        {"name": {"type": "string"}, "humidity": _percent("Humidity")},
        ["name", "humidity"],
    ),
    _tool(
        "HassHumidifierMode",
        "Sets the mode of a humidifier.",
        {"name": {"type": "string"}, "mode": {"type": "string"}},
        ["name", "mode"],
    ),
    _tool(
        "HassSetVolume",
        "Sets the volume of a media player.",
        {**_where("media_player"), "volume_level": _percent("Volume")},
        ["volume_level"],
    ),
    _tool(
        "HassSetVolumeRelative",
        "Makes a media player louder or quieter.",
        {**_where("media_player"), "volume_step": {"description": '"up", "down", or per cent to add: -100 to 100'}},
        ["volume_step"],
    ),
    _tool("HassMediaPlayerMute", "Mutes a media player.", _where("media_player")),
    _tool("HassMediaPlayerUnmute", "Unmutes a media player.", _where("media_player")),
    _tool("HassMediaPause", "Pauses a media player.", _where("media_player")),
    _tool("HassMediaUnpause", "Resumes a media player.", _where("media_player")),
    _tool("HassMediaNext", "Skips to the next item.", _where("media_player")),
    _tool("HassMediaPrevious", "Goes back to the previous item.", _where("media_player")),
    _tool("HassVacuumStart", "Starts a vacuum cleaner.", _where("vacuum")),
    _tool("HassVacuumReturnToBase", "Sends a vacuum cleaner to its base.", _where("vacuum")),
    _tool("HassLawnMowerStartMowing", "Starts a lawn mower.", _where("lawn_mower")),
    _tool("HassLawnMowerDock", "Sends a lawn mower to its dock.", _where("lawn_mower")),
    _tool(
        LIVE_CONTEXT,
        "Tells how things stand right now. Use it for any question about a current state, value or mode, and before "
        "something is done on a condition. Filter by name, area or domain.",
        {
            "name": {"type": "string"},
            "area": {"type": "string"},
            "domain": {"type": "array", "items": {"type": "string"}},
        },
    ),
    _tool(DATE_TIME, "Tells the date and the time.", {}),
)
NAMES = frozenset(tool["function"]["name"] for tool in TOOLS)
ACTING = NAMES - {LIVE_CONTEXT, DATE_TIME}  # those that `Actor.wanted` takes


def bare(tool: str) -> str:
    """A tool's name as here: newer clients put an integration's name and `__` before it."""
    return tool.rsplit("__", 1)[-1]


def listed(value: Any) -> tuple[str, ...]:
    """What a parameter lists, in small letters; models give one value as it is, and nothing as an empty string."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(one).strip().casefold() for one in values if one is not None and str(one).strip())


def context(registry: Registry) -> str:
    """What is at home, for the model's prompt: names, kinds and areas, no states; the same until a thing comes, goes or
    changes its names. Empty where nothing is exposed."""
    told = [_described(thing) for thing in asked_about(registry, {})]
    if not told:
        return ""
    return "Static Context: An overview of the areas and the devices in this smart home:\n" + _yaml(told)


def live_context(registry: Registry, arguments: Mapping[str, Any], now: datetime) -> str:
    """How the exposed things stand that `arguments` (name, area, domain) mean, each with how long ago it was heard of
    last: the result of the tool GetLiveContext, JSON."""
    found = asked_about(registry, arguments)
    if not found:
        return orjson.dumps({"success": False, "error": "No exposed thing fits that name, area or domain."}).decode()
    told = []
    for thing in found[:MOST_TOLD]:
        condition = registry.condition(thing.id)
        told.append(_described(thing) | live(condition, now, thing.unit))
    text = "Live Context: An overview of the areas and the devices in this smart home:\n" + _yaml(told)
    if len(found) > MOST_TOLD:
        text += f"And {len(found) - MOST_TOLD} more: ask by name, area or domain.\n"
    return orjson.dumps({"success": True, "result": text}).decode()


def asked_about(registry: Registry, arguments: Mapping[str, Any]) -> list[Thing]:
    """The exposed things that `arguments` (name, area, floor, domain, device_class; none: all) mean."""
    names, areas, floors, domains, classes = (
        listed(arguments.get(key)) for key in ("name", "area", "floor", "domain", "device_class")
    )
    found = (
        thing
        for thing in registry.things.values()
        if thing.exposed
        and (not names or not thing.called.isdisjoint(names))
        and (not areas or (thing.area or "").casefold() in areas)
        and (not floors or (thing.floor or "").casefold() in floors)
        and (not domains or thing.domain in domains)
        and (not classes or (thing.device_class or "").casefold() in classes)
    )
    return sorted(found, key=_by_name)


def live(condition: Condition, now: datetime, unit: str | None = None) -> dict[str, Any]:
    """A condition as a model is told it: state, age, and the attributes that say something."""
    state = "unavailable" if condition.available is False else condition.state
    told: dict[str, Any] = {"state": state}
    if condition.seen is not None:
        told["heard"] = age(now, condition.seen)
    if condition.changed is not None and condition.changed != condition.seen:
        told["changed"] = age(now, condition.changed)
    attributes = {name: condition.attributes[name] for name in _TELLING if name in condition.attributes}
    if unit is not None:
        attributes.setdefault("unit_of_measurement", unit)
    if attributes:
        told["attributes"] = {name: _simple(value) for name, value in attributes.items()}
    return told


def age(now: datetime, then: datetime) -> str:
    """How long ago `then` was, in the plainest words."""
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def date_time(now: datetime) -> str:
    """The result of the tool GetDateTime: `now` in its own zone, JSON."""
    told = {
        "date": now.date().isoformat(),
        "time": now.strftime("%H:%M:%S"),
        "timezone": now.tzname(),
        "weekday": now.strftime("%A"),
    }
    return orjson.dumps({"success": True, "result": told}).decode()


def _by_name(thing: Thing) -> tuple[str, str]:
    return thing.name.casefold(), thing.id


def _described(thing: Thing) -> dict[str, Any]:
    told = {"names": ", ".join(thing.names), "domain": thing.domain}
    if thing.area:
        told["areas"] = thing.area
    return told


def _simple(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float)) else str(value)


def _yaml(told: list[dict[str, Any]]) -> str:
    return str(yaml.safe_dump(told, allow_unicode=True, sort_keys=False, width=10_000))
