"""What an order asks of a thing's condition: how far it got, what it assumes, and the order that takes it back."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import IntEnum
from typing import Any

from gateway.home.colors import rgb_from_hs, rgb_of
from gateway.home.things import Condition, Order

BRIGHTNESS, POSITION, TEMPERATURE, VOLUME, MIRED = 3, 1, 0.1, 0.02, 3
HUE, SATURATION = 20, 25  # degrees and per cent: a lamp's own primaries are never quite the colour that was asked for
VOLUME_STEP = 0.1

_OFF = frozenset({"off", "standby", "unknown", "unavailable", ""})
_MOVING = frozenset({"opening", "closing"})
# Nothing that a thing says can confirm these: the broker's word that it has the message is all there is.
_UNSEEN = frozenset({"activate", "press"})
# The states that carry out an action that has no other values, and those on the way there.
_STATES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "turn_off": (frozenset({"off", "standby"}), frozenset()),
    "lock": (frozenset({"locked"}), frozenset({"locking"})),
    "unlock": (frozenset({"unlocked", "open", "opening"}), frozenset({"unlocking"})),
    "play": (frozenset({"playing"}), frozenset({"buffering"})),
    "pause": (frozenset({"paused", "idle", "standby", "off"}), frozenset()),
    "start": (frozenset({"cleaning", "on"}), frozenset()),
    "return_to_base": (frozenset({"docked", "returning"}), frozenset()),
    "mow": (frozenset({"mowing"}), frozenset()),
    "dock": (frozenset({"docked", "returning"}), frozenset()),
}
_STUCK = frozenset({"jammed", "error"})
# The attributes that tell how an order was taken, beside the state.
_CONCERNS: Mapping[str, tuple[str, ...]] = {
    "turn_on": ("brightness", "color", "rgb_color", "hs_color", "color_temp_kelvin", "percentage", "effect"),
    "open": ("current_position",),
    "close": ("current_position",),
    "set_position": ("current_position",),
    "set_tilt": ("current_tilt_position",),
    "set_temperature": ("temperature", "hvac_mode"),
    "set_mode": ("mode", "preset_mode", "hvac_mode"),
    "set_fan_mode": ("fan_mode",),
    "set_speed": ("percentage",),
    "set_humidity": ("humidity",),
    "set_volume": ("volume_level",),
    "change_volume": ("volume_level",),
    "mute": ("is_volume_muted",),
    "unmute": ("is_volume_muted",),
    "next": ("media_title",),
    "previous": ("media_title",),
}
# These are about their attributes only.
_STATE_APART = frozenset({"set_tilt", "set_fan_mode", "set_humidity", "set_volume", "change_volume", "mute", "unmute"})


class Progress(IntEnum):
    """How far an order got: not at all, on its way, carried out; or the thing is stuck."""

    STUCK = -1
    NONE = 0
    UNDERWAY = 1
    REACHED = 2


def settle(order: Order, now: Condition) -> Order:
    """The order in values that do not depend on how the thing stands: what is toggled is switched one way, a volume
    that is changed is set, a colour's name is its red, green and blue."""
    values = dict(order.values)
    if order.action == "toggle":
        if now.state in {"open", "opening"}:
            return Order("close")
        if now.state in {"closed", "closing"}:
            return Order("open")
        if now.state in {"locked", "unlocked"}:
            return Order("unlock" if now.state == "locked" else "lock")
        if now.state != "unknown":
            return Order("turn_on" if now.state in _OFF else "turn_off")
        return order
    if order.action == "change_volume" and (level := _number(now.attributes.get("volume_level"))) is not None:
        by = _number(values.get("by")) or 0.0
        return Order("set_volume", {"volume_level": round(min(1.0, max(0.0, level + by)), 3)})
    if order.action == "turn_on" and "color" in values and (rgb := rgb_of(values["color"])) is not None:
        del values["color"]
        return Order("turn_on", {**values, "rgb_color": rgb})
    return order


def progress(order: Order, before: Condition, now: Condition) -> Progress:
    """How far `order` got with a thing that stood as `before` when it was sent and stands as `now`."""
    if now.state in _STUCK and now.state != before.state:
        return Progress.STUCK
    action, values = order.action, order.values
    if action in _STATES:
        reached, underway = _STATES[action]
        return _stage(now.state in reached, now.state in underway)
    if action in {"open", "close", "set_position"}:
        target = {"open": 100.0, "close": 0.0}.get(action)
        target = _number(values.get("position")) if target is None else target
        return _moved(action, target or 0.0, before, now)
    if action == "stop":
        return _stage(now.state not in _MOVING and now.state != "unknown")
    if action in {"next", "previous"}:
        title = now.attributes.get("media_title")
        return _stage(title is not None and title != before.attributes.get("media_title"))
    if action == "change_volume":
        was, level = (_number(one.attributes.get("volume_level")) for one in (before, now))
        by = _number(values.get("by")) or 0.0
        return _stage(level is not None and (was is None or (level - was) * by > 0))
    if action == "toggle":  # of what was unknown before: whichever way it went
        return _stage(now.state not in {"unknown", before.state})
    return _stage(_fulfilled(action, values, now))


def already(order: Order, now: Condition) -> bool:
    """Whether the thing stands as ordered, or is on its way there by itself."""
    if order.action in {"stop", "next", "previous", "change_volume", *_UNSEEN}:
        return False
    if (order.action, now.state) in {("open", "opening"), ("close", "closing")}:
        return True
    return progress(order, now, now) is Progress.REACHED


def moving(now: Condition) -> bool:
    """Whether the thing is on its way somewhere."""
    return now.state in _MOVING


def concerned(order: Order, before: Condition, now: Condition) -> Condition:
    """How the thing stands in what the order is about; in all else as `before`: who turned that may have meant it."""
    names = _CONCERNS.get(order.action, () if order.action in _STATES else None)
    if names is None or order.action in {"turn_on", "turn_off"}:
        return now
    others = {name: value for name, value in before.attributes.items() if name not in names}
    state = before.state if order.action in _STATE_APART else now.state
    return replace(now, state=state, attributes={**now.attributes, **others})


def changed(order: Order, before: Condition, now: Condition) -> bool:
    """Whether what the order is about became another, whichever way."""
    return before.state != now.state or any(
        before.attributes.get(name) != now.attributes.get(name) for name in _CONCERNS.get(order.action, ())
    )


def unseen(order: Order, now: Condition) -> bool:
    """Whether nothing that the thing says could confirm the order."""
    if order.action in _UNSEEN or now.attributes.get("assumed_state") is True:
        return True
    return order.action in {"next", "previous"} and "media_title" not in now.attributes


def assumed(order: Order, now: Condition, at: datetime) -> Condition:
    """How the thing is taken to stand after an order that nothing confirms."""
    action, values = order.action, order.values
    if action in _UNSEEN:
        return now.told(at, state=at.isoformat(timespec="seconds"))
    if action in {"open", "close", "set_position"}:
        position = {"open": 100.0, "close": 0.0}.get(action, _number(values.get("position")))
        if "current_position" not in now.attributes and action == "set_position":
            return now.told(at)
        told = {"current_position": position} if "current_position" in now.attributes else {}
        return now.told(at, state="closed" if position == 0 else "open", **told)
    state = {
        "turn_on": "on",
        "turn_off": "off",
        "lock": "locked",
        "unlock": "unlocked",
        "play": "playing",
        "pause": "paused",
        "start": "cleaning",
        "return_to_base": "returning",
        "mow": "mowing",
        "dock": "returning",
    }.get(action)
    if action in {"set_value", "select"}:
        return now.told(at, state=str(values.get("value", values.get("option", now.state))))
    if action == "turn_on" and now.state not in _OFF:
        state = None  # what is on in a way of its own (heating, playing) stays so
    if action in {"mute", "unmute"}:
        return now.told(at, is_volume_muted=action == "mute")
    names = {"set_tilt": {"position": "current_tilt_position"}, "set_fan_mode": {"mode": "fan_mode"}}.get(action, {})
    return now.told(at, state=state, **{names.get(name, name): value for name, value in values.items()})


def back(domain: str, before: Condition, now: Condition) -> Order | None:
    """The order that makes a thing of that domain, which stands as `now`, stand as `before` again; None where there is
    none, or it does already."""
    state, was = before.state, before.attributes
    if state == "unknown":
        return None
    if domain == "light":
        if state in _OFF:
            return Order("turn_off") if now.state not in _OFF else None
        values = {name: was[name] for name in ("brightness", "effect") if was.get(name) is not None}
        mode = str(was.get("color_mode") or "")
        rgb = _rgb(before)
        if rgb is not None and mode != "color_temp" and (mode or "color_temp_kelvin" not in was):
            values["rgb_color"] = rgb
        elif was.get("color_temp_kelvin") is not None and mode in {"", "color_temp"} and (mode or rgb is None):
            values["color_temp_kelvin"] = was["color_temp_kelvin"]
        order = Order("turn_on", values)
        return None if already(order, now) else order
    if domain in {"cover", "valve"}:
        if (position := _number(was.get("current_position"))) is not None:
            order = Order("set_position", {"position": round(position)})
        else:
            order = Order("close" if state in {"closed", "closing"} else "open")
        return None if already(order, now) else order
    if domain in {"climate", "water_heater"}:
        values = {}
        if was.get("temperature") is not None and was["temperature"] != now.attributes.get("temperature"):
            values["temperature"] = was["temperature"]
        if state != now.state:
            if state in _OFF:
                return Order("turn_off")
            if not values:
                return Order("set_mode", {"mode": state})
            values["hvac_mode"] = state
        if values:
            return Order("set_temperature", values)
        if was.get("fan_mode") is not None and was["fan_mode"] != now.attributes.get("fan_mode"):
            return Order("set_fan_mode", {"mode": was["fan_mode"]})
        return None
    if domain == "media_player":
        if (state in _OFF) != (now.state in _OFF):
            return Order("turn_off" if state in _OFF else "turn_on")
        if was.get("volume_level") is not None and was["volume_level"] != now.attributes.get("volume_level"):
            return Order("set_volume", {"volume_level": was["volume_level"]})
        if "is_volume_muted" in was and was["is_volume_muted"] != now.attributes.get("is_volume_muted"):
            return Order("mute" if was["is_volume_muted"] else "unmute")
        if state != now.state and state in {"playing", "paused"}:
            return Order("play" if state == "playing" else "pause")
        return None
    if domain == "lock" and state in {"locked", "unlocked"}:
        return Order("lock" if state == "locked" else "unlock") if state != now.state else None
    if domain in {"number", "text", "select"} and state != now.state:
        return Order("select", {"option": state}) if domain == "select" else Order("set_value", {"value": state})
    if domain in {"vacuum", "lawn_mower"} and state != now.state:
        busy, home = ("start", "return_to_base") if domain == "vacuum" else ("mow", "dock")
        return Order(busy if state in {"cleaning", "mowing"} else home)
    return _back_on_or_off(domain, before, now)


def _back_on_or_off(domain: str, before: Condition, now: Condition) -> Order | None:
    was = before.attributes
    if before.state not in {"on", "off"}:
        return None
    if before.state == "off":
        return Order("turn_off") if now.state != "off" else None
    if domain == "fan" and was.get("percentage") is not None:
        order = Order("turn_on", {"percentage": was["percentage"]})
        return None if already(order, now) else order
    if now.state != "on":
        return Order("turn_on")
    if domain == "humidifier" and was.get("humidity") != now.attributes.get("humidity") and "humidity" in was:
        return Order("set_humidity", {"humidity": was["humidity"]})
    mode = was.get("preset_mode") or was.get("mode")
    if mode is not None and mode != (now.attributes.get("preset_mode") or now.attributes.get("mode")):
        return Order("set_mode", {"mode": mode})
    return None


def _stage(reached: bool, underway: bool = False) -> Progress:
    return Progress.REACHED if reached else Progress.UNDERWAY if underway else Progress.NONE


def _moved(action: str, target: float, before: Condition, now: Condition) -> Progress:
    """Movement counts only where it is this order's: towards the target, and not begun before it."""
    position, was = (_number(one.attributes.get("current_position")) for one in (now, before))
    if position is None:
        end = "open" if action == "open" else "closed" if action == "close" else ""
        if now.state == end:
            return Progress.REACHED
    elif abs(position - target) <= POSITION and now.state not in _MOVING:
        return Progress.REACHED
    up = action == "open" or (action == "set_position" and was is not None and target > was)
    down = action == "close" or (action == "set_position" and was is not None and target < was)
    if before.state == ("opening" if up else "closing"):
        return Progress.NONE
    if (up and now.state == "opening") or (down and now.state == "closing"):
        return Progress.UNDERWAY
    if position is None or was is None or now.state in _MOVING:
        return Progress.NONE
    return _stage(False, was + POSITION < position <= target if up else target <= position < was - POSITION)


def _fulfilled(action: str, values: Mapping[str, Any], now: Condition) -> bool:
    told = now.attributes
    if action == "turn_on":
        return now.state not in _OFF and all(_has(name, value, now) for name, value in values.items())
    if action == "set_tilt":
        return _near(told.get("current_tilt_position"), values.get("position"), POSITION)
    if action == "set_temperature":
        mode = values.get("hvac_mode")
        fits = "temperature" not in values or _near(told.get("temperature"), values["temperature"], TEMPERATURE)
        return fits and (mode is None or _same(mode, now.state))
    if action == "set_mode":
        modes = (now.state, told.get("mode"), told.get("preset_mode"), told.get("hvac_mode"))
        return any(_same(values.get("mode"), mode) for mode in modes)
    if action == "set_fan_mode":
        return _same(values.get("mode"), told.get("fan_mode"))
    if action == "set_speed":
        return now.state not in _OFF and _has("percentage", values.get("percentage"), now)
    if action == "set_humidity":
        return _near(told.get("humidity"), values.get("humidity"), 1)
    if action == "set_volume":
        return _near(told.get("volume_level"), values.get("volume_level"), VOLUME)
    if action in {"mute", "unmute"}:
        return told.get("is_volume_muted") is (action == "mute")
    if action == "set_value":
        value = values.get("value")
        return str(value) == now.state or _near(now.state, value, 1e-6)
    if action == "select":
        return str(values.get("option")) == now.state
    return False


def _has(name: str, value: Any, now: Condition) -> bool:
    told = now.attributes
    if name == "brightness":
        return _near(told.get("brightness"), value, BRIGHTNESS)
    if name == "percentage":
        step = _number(told.get("percentage_step")) or 0.0  # a fan of few speeds takes the next of them
        return _near(told.get("percentage"), value, max(1.0, step - 0.01))
    if name == "color_temp_kelvin":
        kelvin, wanted = _number(told.get(name)), _number(value)
        return bool(kelvin and wanted) and abs(1e6 / (kelvin or 1) - 1e6 / (wanted or 1)) <= MIRED
    if name in {"rgb_color", "color"}:
        wanted_rgb, rgb = rgb_of(value), _rgb(now)
        return wanted_rgb is not None and rgb is not None and _alike(wanted_rgb, rgb)
    return _same(value, told.get(name))


def _rgb(condition: Condition) -> tuple[int, int, int] | None:
    """The colour a thing tells, in whichever of its forms."""
    told = condition.attributes
    if (rgb := rgb_of(told.get("rgb_color"))) is not None:
        return rgb
    hs = told.get("hs_color")
    if isinstance(hs, (list, tuple)) and len(hs) == 2:
        hue, saturation = (_number(one) for one in hs)
        if hue is not None and saturation is not None:
            return rgb_from_hs(hue, saturation)
    return rgb_of(told.get("color"))


def _alike(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two colours are the same in hue and saturation; how bright they are is another matter."""
    (hue, saturation, _), (other_hue, other_saturation, _) = (
        colorsys.rgb_to_hsv(*(part / 255 for part in color)) for color in (one, other)
    )
    if abs(saturation - other_saturation) * 100 > SATURATION:
        return False
    apart = abs(hue - other_hue) * 360
    return min(apart, 360 - apart) <= HUE or max(saturation, other_saturation) * 100 <= SATURATION


def _near(told: Any, wanted: Any, within: float) -> bool:
    one, other = _number(told), _number(wanted)
    return one is not None and other is not None and abs(one - other) <= within + 1e-9


def _same(one: Any, other: Any) -> bool:
    return one is not None and other is not None and str(one).casefold() == str(other).casefold()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
