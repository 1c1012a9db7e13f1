"""Drivers of what zigbee2mqtt tells of: how a device's JSON is read and its commands written, by what it exposes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.colors import hs_of, kelvin_of, rgb_from_hs, rgb_from_xy, rgb_of
from gateway.home.platforms.components import one_of
from gateway.home.platforms.drivers import Draft, number_of, unscaled
from gateway.home.things import CannotDo, Condition, Order, Publication

TOLD, SET = 1, 2  # bits of access
BRIGHTEST = 254  # where an expose does not tell its own
MIDDLE_SPEEDS = ("off", "on", "auto", "smart")  # modes of a fan that are no speed


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


def feature_of(told: Mapping[str, Any]) -> Feature | None:
    """A feature as it is told of in `exposes`; None where it is none."""
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


def features_of(expose: Mapping[str, Any]) -> dict[str, Feature]:
    """The features of a light, a cover ..., by their name."""
    found = (feature_of(one) for one in objects(expose.get("features")))
    return {one.name: one for one in found if one is not None}


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, where it is one."""
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
