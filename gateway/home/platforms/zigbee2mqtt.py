"""Things that zigbee2mqtt tells of at `<base>/bridge/devices` and `/groups`: how they stand, and how they are moved.

    <base>/bridge/devices   [{"friendly_name": "kitchen/lamp", "definition": {"exposes": [...]}, ...}, ...]   retained
    <base>/kitchen/lamp     {"state": "ON", "brightness": 120, ...}
    <base>/kitchen/lamp/set {"state": "OFF"}
    <base>/kitchen/lamp/availability   {"state": "online"}, before 2.0 also plain: online                      retained

What a device has is in its `exposes`; their `access` says whether something is told (1), may be set (2), may be asked
for (4).
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.colors import hs_of, kelvin_of, rgb_from_hs, rgb_from_xy, rgb_of
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.components import one_of
from gateway.home.platforms.discovery import slug_of
from gateway.home.platforms.drivers import Draft, number_of, unscaled
from gateway.home.platforms.following import Following
from gateway.home.registry import Registry
from gateway.home.things import CannotDo, Condition, Order, Publication, Thing

log = logging.getLogger(__name__)

TOLD, SET = 1, 2  # bits of access
MOST_THINGS = 20_000
BRIGHTEST = 254  # where an expose does not tell its own
# Sensors by the name of what they expose: Home Assistant's class of the device.
CLASSES: Mapping[str, str] = {
    "temperature": "temperature", "device_temperature": "temperature", "soil_moisture": "moisture",
    "humidity": "humidity", "pressure": "pressure", "illuminance": "illuminance", "illuminance_lux": "illuminance",
    "battery": "battery", "battery_low": "battery", "power": "power", "energy": "energy", "voltage": "voltage",
    "current": "current", "co2": "carbon_dioxide", "co": "carbon_monoxide", "carbon_monoxide": "carbon_monoxide",
    "carbon_monoxide_alarm": "carbon_monoxide", "pm25": "pm25", "voc": "volatile_organic_compounds", "noise": "sound",
    "occupancy": "occupancy", "presence": "presence", "motion": "motion", "contact": "door", "water_leak": "moisture",
    "smoke": "smoke", "gas": "gas", "vibration": "vibration", "tamper": "tamper", "moving": "moving",
}  # fmt: skip
NOT_FOR_EARS = frozenset({"linkquality", "update", "update_available", "identify", "effect"})
MIDDLE_SPEEDS = ("off", "on", "auto", "smart")  # modes of a fan that are no speed


def called(name: str, address: Any, *parts: str) -> str:
    """The second part of an id: of a device's name (of its address, where no letter of the name can be written so), and
    of a part of it."""
    return "_".join(filter(None, (slug_of(name) or slug_of(str(address)), *map(slug_of, parts)))) or "thing"


def spoken(name: str) -> str:
    """A device's name as people say it: `kitchen/desk_lamp` is the kitchen desk lamp."""
    return " ".join(re.split(r"[/_\s]+", name.strip("/_ "))) or name


# --- what a device exposes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Feature:
    """One value of a device: where it stands in the device's JSON, and what may be told and set."""

    name: str
    key: str
    kind: str
    access: int = TOLD
    on: Any = "ON"
    off: Any = "OFF"
    least: float | None = None
    most: float | None = None
    unit: str | None = None
    values: tuple[str, ...] = ()

    @property
    def settable(self) -> bool:
        return bool(self.access & SET)

    def scaled(self, value: Any, most: float) -> int | None:
        """`value` of 0 (or the least) to the feature's own greatest as one of 0 to `most`."""
        if not _is_number(value):
            return None
        low, high = self.least or 0.0, self.most or BRIGHTEST
        return round(max(0.0, min(1.0, (value - low) / (high - low))) * most) if high > low else None

    def unscaled(self, value: Any, most: float) -> int:
        """The other way round. Raises ValueError where it is no number."""
        low, high = self.least or 0.0, self.most or BRIGHTEST
        return round(low + max(0.0, min(1.0, number_of(str(value)) / most)) * (high - low))


Features = Mapping[str, Feature]


def _feature(told: Mapping[str, Any]) -> Feature | None:
    name, key, kind = told.get("name"), told.get("property"), told.get("type")
    if not (isinstance(name, str) and isinstance(key, str) and isinstance(kind, str)) or not key:
        return None
    values = told.get("values")
    access = told.get("access")
    return Feature(
        name,
        key,
        kind,
        access if isinstance(access, int) else TOLD,
        told.get("value_on", "ON"),
        told.get("value_off", "OFF"),
        _number(told.get("value_min")),
        _number(told.get("value_max")),
        told["unit"] if isinstance(told.get("unit"), str) else None,
        tuple(str(value) for value in values) if isinstance(values, list) else (),
    )


def _features(expose: Mapping[str, Any]) -> dict[str, Feature]:
    """The features of a light, a cover ..., by their name."""
    found = (_feature(one) for one in _objects(expose.get("features")))
    return {one.name: one for one in found if one is not None}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


# --- drivers ------------------------------------------------------------------------------------------------------

Told = Mapping[str, Any]
Heard = tuple[str | None, dict[str, Any]]


@dataclass(frozen=True)
class Z2mDriver(ABC):
    """What all of them share: the device's topic, its JSON, its availability."""

    topic: str
    features: Features = field(default_factory=dict)
    bridge: str = field(default="", kw_only=True)  # where the bridge tells whether it is there itself
    # Who is there, by the topic that told it last.
    online: dict[str, bool] = field(compare=False, repr=False, default_factory=dict, kw_only=True)

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic, self._availability, *filter(None, (self.bridge,)))

    @property
    def _availability(self) -> str:
        return f"{self.topic}/availability"

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        if topic != self.topic:
            online = _online(payload)
            if online is None:
                return before
            self.online[topic] = online
            # No device is reached without its bridge, whose word is not heard of the device itself.
            available = self.online.get(self._availability) if self.online.get(self.bridge, True) else False
            return replace(before, available=available, seen=before.seen if topic == self.bridge else at)
        try:
            told = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return before
        if not isinstance(told, dict):
            return before
        state, attributes = self.heard(told, before, at)
        if state is None and not attributes:
            return before
        return before.told(at, state=state, **attributes)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        try:
            wanted = orjson.dumps(self.wanted(order, now)).decode()
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise CannotDo(f"{self.topic} cannot {order.action.replace('_', ' ')} like that") from error
        return (Publication(f"{self.topic}/set", wanted),)

    @abstractmethod
    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:
        """The state, None where it was not told, and the attributes."""

    @abstractmethod
    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        """What is set on the device. Raises CannotDo, or where a value is none that it can be what Python raises."""

    def value(self, told: Told, name: str) -> Any:
        """What was told of a feature; None where nothing was."""
        one = self.features.get(name)
        return None if one is None else told.get(one.key)

    def switched(self, told: Told) -> str | None:
        """on or off by the feature `state`."""
        one = self.features.get("state")
        if one is None or one.key not in told:
            return None
        value = told[one.key]
        return "on" if value == one.on else "off" if value == one.off else None

    def switching(self, action: str, now: Condition) -> dict[str, Any]:
        """What turns the feature `state` on or off. Raises CannotDo."""
        one = self.settable("state", action)
        if action == "toggle":
            action = "turn_off" if now.state == "on" else "turn_on"
        return {one.key: one.on if action == "turn_on" else one.off}

    def settable(self, name: str, action: str) -> Feature:
        """That feature. Raises CannotDo where it cannot be set."""
        one = self.features.get(name)
        if one is None or not one.settable:
            raise CannotDo(f"{self.topic} cannot {action.replace('_', ' ')}: it has no {name} that can be set")
        return one


def chosen(one: Feature, value: Any) -> dict[str, Any]:
    """What sets a feature to one of its values, in their own spelling. Raises CannotDo."""
    options = Draft(one.kind, {})
    options.options[one.name] = one.values
    return {one.key: one_of(options, one.name, value)}


def _online(payload: bytes) -> bool | None:
    try:
        told = orjson.loads(payload)
    except orjson.JSONDecodeError:
        told = payload.decode("utf-8", "replace").strip()
    if isinstance(told, dict):
        told = told.get("state")
    return None if told not in ("online", "offline") else told == "online"


def _cannot(topic: str, order: Order) -> CannotDo:
    return CannotDo(f"{topic} cannot {order.action.replace('_', ' ')}")


@dataclass(frozen=True)
class Switch(Z2mDriver):
    """Something that is on or off; a group of switches too."""

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002 (the drivers' common shape)
        return self.switched(told), {}

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        if order.action not in ("turn_on", "turn_off", "toggle"):
            raise _cannot(self.topic, order)
        return self.switching(order.action, now)


@dataclass(frozen=True)
class Light(Z2mDriver):
    """A light, or a group of lights."""

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        attributes: dict[str, Any] = {}
        if (brightness := self._brightness(told)) is not None:
            attributes["brightness"] = brightness
        mode = self._color_mode(told)
        mireds = self.value(told, "color_temp")
        if _is_number(mireds) and mireds > 0 and mode in (None, "color_temp"):
            attributes |= {"color_temp_kelvin": kelvin_of(mireds), "rgb_color": None, "hs_color": None}
        elif (rgb := self._rgb(told)) is not None:
            attributes |= {"rgb_color": rgb, "hs_color": hs_of(rgb), "color_temp_kelvin": None}
        if self.features.get("effect") and isinstance(self.value(told, "effect"), str):
            attributes["effect"] = self.value(told, "effect")
        return self.switched(told), attributes

    def _color_mode(self, told: Told) -> Any:
        """It is not exposed; where a device has several endpoints it is told of each, as the state is: `state_l1`."""
        state = self.features.get("state")
        return told.get(f"color_mode{state.key.removeprefix('state') if state is not None else ''}")

    def _brightness(self, told: Told) -> int | None:
        one = self.features.get("brightness")
        return None if one is None else one.scaled(told.get(one.key), 255)

    def _rgb(self, told: Told) -> tuple[int, int, int] | None:
        one = self.features.get("color_xy") or self.features.get("color_hs")
        color = told.get(one.key) if one is not None else None
        if not isinstance(color, dict):
            return None
        x, y, hue, saturation = (_number(color.get(name)) for name in ("x", "y", "hue", "saturation"))
        if self._color_mode(told) != "hs" and x is not None and y is not None:
            return rgb_from_xy(x, y)
        if hue is not None and saturation is not None:
            return rgb_from_hs(hue, saturation)
        return None

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        if order.action not in ("turn_on", "turn_off", "toggle"):
            raise _cannot(self.topic, order)
        wanted = self.switching(order.action, now)
        values = order.values if order.action == "turn_on" else {}
        if "brightness" in values:
            one = self.settable("brightness", "set a brightness")
            wanted[one.key] = one.unscaled(values["brightness"], 255)
        if "color_temp_kelvin" in values:
            one = self.settable("color_temp", "set a colour temperature")
            mireds = kelvin_of(float(values["color_temp_kelvin"]))
            wanted[one.key] = round(min(max(mireds, one.least or 0), one.most or mireds))
        if (color := values.get("rgb_color", values.get("color"))) is not None:
            rgb = rgb_of(color)
            has = self.features.get("color_xy") or self.features.get("color_hs")
            if rgb is None or has is None:
                raise CannotDo(f"{self.topic} cannot be {color}")
            wanted[has.key] = dict(zip("rgb", rgb, strict=True))
        if "effect" in values:
            wanted |= chosen(self.settable("effect", "show an effect"), values["effect"])
        return wanted


@dataclass(frozen=True)
class Cover(Z2mDriver):
    """A cover: 0 is closed, 100 open."""

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        position, tilt = self.value(told, "position"), self.value(told, "tilt")
        attributes = {
            name: round(value)
            for name, value in (("current_position", position), ("current_tilt_position", tilt))
            if _is_number(value)
        }
        moving = {"UP": "opening", "DOWN": "closing"}.get(str(told.get("moving"))) or {
            "opening": "opening",
            "closing": "closing",
        }.get(str(told.get("motor_state")))
        state = {"OPEN": "open", "CLOSE": "closed"}.get(str(self.value(told, "state")))
        if "current_position" in attributes:
            state = "open" if attributes["current_position"] > 0 else "closed"
        return moving or state, attributes

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        action = order.action
        if action == "toggle":
            action = "close" if now.state in ("open", "opening") else "open"
        if action in ("set_position", "set_tilt"):
            one = self.settable("position" if action == "set_position" else "tilt", action)
            return {one.key: unscaled(float(order.values["position"]), 0, 100)}
        words = {"open": "OPEN", "turn_on": "OPEN", "close": "CLOSE", "turn_off": "CLOSE", "stop": "STOP"}
        if action not in words:
            raise _cannot(self.topic, order)
        if "state" not in self.features and action != "stop":
            return {self.settable("position", action).key: 100 if words[action] == "OPEN" else 0}
        return {self.settable("state", action).key: words[action]}


@dataclass(frozen=True)
class Lock(Z2mDriver):
    """A lock."""

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        seen = self.value(told, "lock_state")
        if seen in ("locked", "unlocked"):
            return seen, {}
        switched = self.switched(told)
        return None if switched is None else "locked" if switched == "on" else "unlocked", {}

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        if order.action not in ("lock", "unlock"):
            raise _cannot(self.topic, order)
        return self.switching("turn_on" if order.action == "lock" else "turn_off", now)


@dataclass(frozen=True)
class Fan(Z2mDriver):
    """A fan, whose speed is one of some words, or a number."""

    @property
    def speeds(self) -> tuple[str, ...]:
        """The words that are speeds, slowest first."""
        one = self.features.get("mode")
        return tuple(value for value in one.values if value not in MIDDLE_SPEEDS) if one is not None else ()

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        state = self.switched(told)
        attributes: dict[str, Any] = {}
        mode, speed = self.value(told, "mode"), self.features.get("speed")
        if isinstance(mode, str):
            state = state or ("off" if mode == "off" else "on")
            if mode in self.speeds:
                attributes["percentage"] = round(100 * (self.speeds.index(mode) + 1) / len(self.speeds))
            attributes["preset_mode"] = mode if mode in ("auto", "smart") else None
        if speed is not None and (percent := speed.scaled(told.get(speed.key), 100)) is not None:
            attributes["percentage"] = percent
        return state, attributes

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        action, percent = order.action, order.values.get("percentage")
        if action == "toggle":
            action = "turn_off" if now.state == "on" else "turn_on"
        if action == "set_mode":
            return chosen(self.settable("mode", action), order.values["mode"])
        if action == "turn_off" or (action == "set_speed" and percent == 0):
            return self.switching("turn_off", now) if "state" in self.features else {self._mode: "off"}
        if action not in ("turn_on", "set_speed"):
            raise _cannot(self.topic, order)
        if percent is None:
            return self.switching("turn_on", now) if "state" in self.features else {self._mode: "on"}
        if "speed" in self.features:
            one = self.settable("speed", "set a speed")
            return {one.key: one.unscaled(percent, 100)}
        if not self.speeds:
            raise CannotDo(f"{self.topic} has no speeds")
        step = max(1, -(-round(float(percent)) * len(self.speeds) // 100))
        return {self._mode: self.speeds[min(step, len(self.speeds)) - 1]}

    @property
    def _mode(self) -> str:
        return self.settable("mode", "set a speed").key


@dataclass(frozen=True)
class Climate(Z2mDriver):
    """A thermostat."""

    @property
    def setpoint(self) -> str:
        """The name of the feature that says which temperature is wanted."""
        return next((name for name in SETPOINTS if name in self.features), SETPOINTS[0])

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        attributes = {
            name: value
            for name, value in (
                ("temperature", self.value(told, self.setpoint)),
                ("current_temperature", self.value(told, "local_temperature")),
                ("fan_mode", self.value(told, "fan_mode")),
                ("preset_mode", self.value(told, "preset")),
                ("hvac_action", _DOING.get(str(self.value(told, "running_state")))),
            )
            if value is not None
        }
        mode = self.value(told, "system_mode")
        state = mode if isinstance(mode, str) else None
        if "system_mode" not in self.features and attributes:
            state = "heat"
        if state is not None:
            attributes["hvac_mode"] = state
        return state, attributes

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:  # noqa: ARG002
        match order.action:
            case "set_temperature":
                wanted: dict[str, Any] = {}
                if (mode := order.values.get("hvac_mode")) is not None:
                    wanted |= chosen(self.settable("system_mode", "set a mode"), mode)
                if (temperature := order.values.get("temperature")) is not None:
                    one = self.settable(self.setpoint, "set a temperature")
                    wanted[one.key] = number_of(str(temperature))
                return wanted
            case "set_mode":
                return chosen(self.settable("system_mode", "set a mode"), order.values["mode"])
            case "set_fan_mode":
                return chosen(self.settable("fan_mode", "set a fan"), order.values["mode"])
            case "turn_on" | "turn_off":
                one = self.settable("system_mode", order.action)
                modes = [mode for mode in one.values if mode != "off"] or ["heat"]
                mode = "heat" if "heat" in modes else modes[0]
                return {one.key: "off" if order.action == "turn_off" else mode}
        raise _cannot(self.topic, order)


SETPOINTS = ("occupied_heating_setpoint", "current_heating_setpoint", "occupied_cooling_setpoint")
_DOING = {"heat": "heating", "cool": "cooling", "idle": "idle", "off": "off", "fan_only": "fan"}


@dataclass(frozen=True)
class Single(Z2mDriver):
    """Any other value: a sensor, a number, a choice, a switch of its own, something that happens."""

    domain: str = "sensor"

    @property
    def one(self) -> Feature:
        return next(iter(self.features.values()))

    def heard(self, told: Told, before: Condition, at: datetime) -> Heard:  # noqa: ARG002
        if self.one.key not in told:
            return None, {}
        value = told[self.one.key]
        if self.domain == "event":
            # As Home Assistant has it: the state is when it happened, what happened an attribute.
            return (at.isoformat(), {"event_type": value}) if isinstance(value, str) and value else (None, {})
        if self.domain in ("switch", "binary_sensor"):
            # Contact is when it is closed; on, of a door, is open.
            on, off = (False, True) if self.one.name == "contact" else (self.one.on, self.one.off)
            return ("on" if value == on else "off" if value == off else None), {}
        if value is None or isinstance(value, dict | list):
            return None, {}
        words = str(value).lower() if isinstance(value, bool) else str(value)
        return words[:255], {"unit_of_measurement": self.one.unit} if self.one.unit else {}

    def wanted(self, order: Order, now: Condition) -> dict[str, Any]:
        match self.domain, order.action:
            case "switch", "turn_on" | "turn_off" | "toggle":
                on = order.action == "turn_on" or (order.action == "toggle" and now.state != "on")
                return {self.one.key: self.one.on if on else self.one.off}
            case "number", "set_value":
                return {self.one.key: number_of(str(order.values["value"]))}
            case "text", "set_value":
                return {self.one.key: str(order.values["value"])}
            case "select", "select":
                return chosen(self.one, order.values["option"])
        raise _cannot(self.topic, order)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene of a group."""

    topic: str
    number: int

    @property
    def topics(self) -> tuple[str, ...]:
        return ()

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:  # noqa: ARG002
        return before

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:  # noqa: ARG002
        if order.action not in ("activate", "turn_on"):
            raise _cannot(self.topic, order)
        return (Publication(f"{self.topic}/set", orjson.dumps({"scene_recall": self.number}).decode()),)


# --- things -------------------------------------------------------------------------------------------------------


def things_of(base: str, device: Mapping[str, Any]) -> list[Thing]:
    """What a device of `bridge/devices` is, by what it exposes; empty where it cannot be used."""
    name, definition = device.get("friendly_name"), device.get("definition")
    if not isinstance(name, str) or not name or not isinstance(definition, dict):
        return []
    if device.get("disabled") is True or device.get("type") == "Coordinator":
        return []
    found = []
    for expose in _objects(definition.get("exposes")):
        thing = _described(f"{base}/{name}", name, device.get("ieee_address"), expose)
        if thing is not None:
            found.append(thing)
    return found


def _described(topic: str, device: str, address: Any, expose: Mapping[str, Any]) -> Thing | None:
    kind, features = expose.get("type"), _features(expose)
    endpoint = expose.get("endpoint")
    place = spoken(endpoint) if isinstance(endpoint, str) else ""
    name = " ".join(filter(None, (spoken(device), place)))
    thing_id = called(device, address, endpoint if isinstance(endpoint, str) else "")
    match kind:
        case "light":
            return light(thing_id, name, topic, features)
        case "switch" if "state" in features:
            return Thing(
                f"switch.{thing_id}",
                name,
                "zigbee2mqtt",
                device=device,
                capabilities=_able(features["state"].settable, "turn_on", "turn_off", "toggle"),
                driver=Switch(topic, features),
            )
        case "cover":
            return _cover(thing_id, name, topic, features)
        case "lock":
            able = _able("state" in features and features["state"].settable, "lock", "unlock")
            return Thing(
                f"lock.{thing_id}",
                name,
                "zigbee2mqtt",
                device=device,
                capabilities=able,
                driver=Lock(topic, features),
            )
        case "fan":
            return _fan(thing_id, name, topic, features)
        case "climate":
            return _climate(thing_id, name, topic, features)
        case "binary" | "numeric" | "enum" | "text":
            return _single(topic, device, address, expose)
    return None  # lists and composites: nothing that can be said or asked in a sentence


def light(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    """A light with those features."""
    can = {"turn_on", "turn_off", "toggle"}
    limits, options = {}, {}
    if "brightness" in features:
        can.add("brightness")
        limits["brightness"] = (0.0, 255.0)
    if (warmth := features.get("color_temp")) is not None:
        can.add("color_temp_kelvin")
        if warmth.least and warmth.most:
            limits["color_temp_kelvin"] = (float(kelvin_of(warmth.most)), float(kelvin_of(warmth.least)))
    if "color_xy" in features or "color_hs" in features:
        can |= {"color", "rgb_color", "hs_color"}
    if (effect := features.get("effect")) is not None:
        can.add("effect")
        options["effect"] = effect.values
    return Thing(
        f"light.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        limits=limits,
        options=options,
        driver=Light(topic, features),
    )


def _cover(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    can = {"open", "close", "toggle"}
    if "state" in features:
        can.add("stop")
    for feature, able in (("position", "set_position"), ("tilt", "set_tilt")):
        if feature in features:
            can.add(able)
    return Thing(
        f"cover.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        driver=Cover(topic, features),
    )


def _fan(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    driver = Fan(topic, features)
    can = {"turn_on", "turn_off", "toggle"}
    if driver.speeds or "speed" in features:
        can |= {"set_speed", "percentage"}
    options = {}
    if (mode := features.get("mode")) is not None:
        can.add("set_mode")
        options["mode"] = mode.values
    return Thing(
        f"fan.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        options=options,
        driver=driver,
    )


def _climate(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    driver = Climate(topic, features)
    can, limits, options = {"temperature", "current_temperature"}, {}, {}
    wanted = features.get(driver.setpoint)
    if wanted is not None and wanted.settable:
        can.add("set_temperature")
        if wanted.least is not None and wanted.most is not None:
            limits["temperature"] = (wanted.least, wanted.most)
    for feature, actions in (("system_mode", ("set_mode", "turn_on", "turn_off")), ("fan_mode", ("set_fan_mode",))):
        if (one := features.get(feature)) is not None and one.settable:
            can |= set(actions)
            options["hvac_mode" if feature == "system_mode" else feature] = one.values
    return Thing(
        f"climate.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        limits=limits,
        options=options,
        driver=driver,
    )


def _single(topic: str, device: str, address: Any, expose: Mapping[str, Any]) -> Thing | None:
    one = _feature(expose)
    if one is None or not one.access & (TOLD | SET):
        return None
    settable = one.settable
    domain, actions = {
        "binary": ("switch", ("turn_on", "turn_off", "toggle")) if settable else ("binary_sensor", ()),
        "numeric": ("number", ("set_value",)) if settable else ("sensor", ()),
        "enum": ("select", ("select",)) if settable else ("sensor", ()),
        "text": ("text", ("set_value",)) if settable else ("sensor", ()),
    }[one.kind]
    if one.name == "action":
        domain, actions = "event", ()
    limits = {"value": (one.least, one.most)} if one.least is not None and one.most is not None else {}
    return Thing(
        f"{domain}.{called(device, address, one.key)}",
        f"{spoken(device)} {spoken(one.key)}",
        "zigbee2mqtt",
        device_class=CLASSES.get(one.name),
        unit=one.unit,
        device=device,
        capabilities=frozenset(actions),
        limits=limits,
        options={"option": one.values} if domain == "select" else {},
        # What sets a device up, or tells of its radio, is not spoken of, as in Home Assistant.
        exposed=one.name not in NOT_FOR_EARS and expose.get("category") != "config",
        driver=Single(topic, {one.name: one}, domain),
    )


def _able(able: bool, *actions: str) -> frozenset[str]:
    return frozenset(actions if able else ())


def group_of(base: str, group: Mapping[str, Any], devices: Mapping[str, list[Thing]]) -> Iterator[Thing]:
    """What a group of `bridge/groups` is, of lights or of switches, and its scenes; `devices` are the things of each
    device's address.

    A group of lights can what one of its lights can: zigbee2mqtt tells each what it understands.
    """
    name, address = group.get("friendly_name"), group_address(group)
    if not isinstance(name, str) or not name:
        return
    topic, group_id = f"{base}/{name}", called(name, address)
    members = [
        next((thing for thing in devices.get(str(member.get("ieee_address")), ()) if _leads(thing)), None)
        for member in _objects(group.get("members"))
    ]
    drivers = [thing.driver for thing in members if thing is not None]
    lights = [driver for driver in drivers if isinstance(driver, Light)]
    if lights and len(lights) == len(drivers):
        features = {
            key: replace(one, key=_PLAIN.get(one.name, one.name))
            for driver in lights
            for key, one in driver.features.items()
            if key != "effect"
        }
        yield light(group_id, spoken(name), topic, features)
    elif drivers and all(isinstance(driver, Switch) for driver in drivers):
        state = {"state": Feature("state", "state", "binary", TOLD | SET)}
        able = _able(True, "turn_on", "turn_off", "toggle")
        yield Thing(
            f"switch.{group_id}",
            spoken(name),
            "zigbee2mqtt",
            device=name,
            capabilities=able,
            driver=Switch(topic, state),
        )
    for scene in _objects(group.get("scenes")):
        number, word = scene.get("id"), scene.get("name")
        if isinstance(number, int) and isinstance(word, str) and word:
            yield Thing(
                f"scene.{called(name, address, slug_of(word) or str(number))}",
                spoken(word),
                "zigbee2mqtt",
                device=name,
                capabilities=frozenset({"activate"}),
                driver=Scene(topic, number),
            )


def group_address(group: Mapping[str, Any]) -> str:
    """What tells a group from all others, as its address does a device."""
    return f"group_{group.get('id')}"


_PLAIN = {"color_xy": "color", "color_hs": "color"}


def _leads(thing: Thing) -> bool:
    return thing.domain in ("light", "switch") and isinstance(thing.driver, Light | Switch)


# --- the source ---------------------------------------------------------------------------------------------------


Owner = tuple[str, str, int]  # an address, the id that its thing would have, which of those that would have the same


class Ids:
    """The ids of a bridge's things. Of those that would have the same, each has its address in its own: an id must not
    pass to another thing because a third one is gone, or because they are told in another order. What is there keeps
    its id, whatever comes."""

    def __init__(self) -> None:
        self._given: dict[Owner, str] = {}

    @property
    def owners(self) -> dict[str, Owner]:
        """What the ids stand for."""
        return {thing_id: owner for owner, thing_id in self._given.items()}

    def give(self, told: Iterable[tuple[str, Thing]]) -> dict[str, Thing]:
        """The things by their ids, of those that are told of now, each with the address of its device or group."""
        things: dict[Owner, Thing] = {}
        count: Counter[tuple[str, str]] = Counter()
        for address, thing in told:
            count[address, thing.id] += 1
            if len(things) < MOST_THINGS:
                things[address, thing.id, count[address, thing.id]] = thing
        self._given = {owner: thing_id for owner, thing_id in self._given.items() if owner in things}
        taken = set(self._given.values())
        wanting = Counter(thing_id for _, thing_id in count)
        for owner in [one for one in things if one not in self._given]:
            address, wanted, _ = owner
            alone = wanting[wanted] == 1 and wanted not in taken
            base = thing_id = wanted if alone else f"{wanted}_{slug_of(address)}"
            number = 1
            while thing_id in taken:
                number += 1
                thing_id = f"{base}_{number}"
            taken.add(thing_id)
            self._given[owner] = thing_id
        return {self._given[owner]: replace(thing, id=self._given[owner]) for owner, thing in things.items()}


class Zigbee2Mqtt:
    """One zigbee2mqtt: `open` begins to listen below its base topic and keeps `registry` as it says."""

    def __init__(self, link: Link, registry: Registry, base: str, now: Callable[[], datetime]) -> None:
        """`registry` is this one's alone (see `learning`). `now` is aware."""
        self._link = link
        self._following = Following(link, registry, now)
        self._base = base
        self._devices: Any = []
        self._groups: Any = []
        self._ids = Ids()

    def open(self) -> None:
        """Listens from now on."""
        self._link.subscribe(f"{self._base}/bridge/devices", self._told_devices)
        self._link.subscribe(f"{self._base}/bridge/groups", self._told_groups)

    def _told_devices(self, message: Message) -> None:
        devices = self._list(message)
        if devices is not None:
            self._devices = devices
            self._describe()

    def _told_groups(self, message: Message) -> None:
        groups = self._list(message)
        if groups is not None:
            self._groups = groups
            self._describe()

    def _list(self, message: Message) -> list[Any] | None:
        try:
            told = orjson.loads(message.payload) if message.payload else []
        except orjson.JSONDecodeError:
            told = None
        if isinstance(told, list):
            return told
        log.warning("zigbee2mqtt: what it tells at %s cannot be read", message.topic)
        return None

    def _describe(self) -> None:
        """Takes up what is there now, and drops what is not."""
        by_address: dict[str, list[Thing]] = {}
        for device in _objects(self._devices):
            by_address[str(device.get("ieee_address"))] = things_of(self._base, device)
        told = [(address, thing) for address, things in by_address.items() for thing in things]
        for group in _objects(self._groups):
            told += ((group_address(group), thing) for thing in group_of(self._base, group, by_address))
        before = self._ids.owners
        found, owners = self._ids.give(told), self._ids.owners
        # All of them first: what one tells that is gone, another of the same name must not be told by what was kept.
        for thing_id in [thing_id for thing_id, owner in before.items() if owners.get(thing_id) != owner]:
            self._following.forget(thing_id)
        for thing in found.values():
            driver = thing.driver
            if isinstance(driver, Z2mDriver):
                driver = replace(driver, bridge=f"{self._base}/bridge/state")
            self._following.follow(replace(thing, driver=driver))
