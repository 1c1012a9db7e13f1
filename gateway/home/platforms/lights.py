"""Lights of the three schemas of Home Assistant's discovery: default, json and template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from gateway.home.colors import Rgb, hs_of, kelvin_of, rgb_from_hs, rgb_from_xy, rgb_of, xy_of
from gateway.home.platforms.drivers import (
    NONE,
    BadDescription,
    Draft,
    Reading,
    Said,
    Sender,
    attribute_take,
    json_object,
    number_of,
)
from gateway.home.things import UNKNOWN, CannotDo, Condition, Publication

KELVIN = (2000, 6535)  # where a description names no bounds
COLOR_MODES = ("hs", "rgb", "rgbw", "rgbww", "xy")
FULL = 255


def light(draft: Draft) -> None:
    """A light."""
    schema = draft.text("schema", "basic")
    {"basic": basic, "default": basic, "json": json, "template": template}.get(schema, unknown)(draft)
    if "color_temp_kelvin" in draft.capabilities:
        draft.bounds("color_temp_kelvin", *kelvin_bounds(draft))
    if "brightness" in draft.capabilities:
        draft.bounds("brightness", 0, FULL)
    effects = draft.texts("effect_list")
    if "effect" in draft.capabilities and effects:
        draft.options["effect"] = effects


def unknown(_draft: Draft) -> None:
    """Of a schema that there is not."""
    raise BadDescription("schema must be basic, json or template")


def kelvin_bounds(draft: Draft) -> tuple[float, float]:
    """The warmest and the coldest white, in kelvin or by mireds."""
    warmest, coldest = draft.number("max_mireds", 0), draft.number("min_mireds", 0)
    return (
        kelvin_of(warmest) if warmest > 0 else draft.number("min_kelvin", KELVIN[0]),
        kelvin_of(coldest) if coldest > 0 else draft.number("max_kelvin", KELVIN[1]),
    )


def colored(rgb: Rgb, *, hs: tuple[float, float] | None = None) -> dict[str, Any]:
    """The attributes of a colour; the colour's temperature is no more."""
    return {"rgb_color": rgb, "hs_color": hs or hs_of(rgb), "color_temp_kelvin": None}


def white(kelvin: float) -> dict[str, Any]:
    """The attributes of a white; the colour is no more."""
    return {"color_temp_kelvin": round(kelvin), "rgb_color": None, "hs_color": None}


def wanted_color(values: Mapping[str, Any]) -> Rgb | None:
    """The colour that is asked for. Raises CannotDo where it is not known."""
    said = values.get("rgb_color", values.get("color"))
    if said is None:
        return None
    rgb = rgb_of(said)
    if rgb is None:
        raise CannotDo("that colour is not known")
    return rgb


def wanted_brightness(values: Mapping[str, Any]) -> int | None:
    """The brightness that is asked for, 0 to 255."""
    said = values.get("brightness")
    if said is None:
        return None
    if not 0 <= float(said) <= FULL:
        raise CannotDo("a brightness is 0 to 255")
    return round(float(said))


def refuse_missing(draft: Draft, values: Mapping[str, Any]) -> None:
    """Raises CannotDo for what the light does not have."""
    wanted = {"color" if name == "rgb_color" else name for name, value in values.items() if value is not None}
    missing = wanted - draft.capabilities
    if missing:
        raise CannotDo(f"it has no {min(missing).replace('_', ' ')}")


def whole(number: float) -> float:
    """A whole number as one, for a payload."""
    return int(number) if float(number).is_integer() else number


# --- the default schema: a topic for each ability --------------------------------------------------------------------


def basic(draft: Draft) -> None:
    """A light with a topic for each ability."""
    power = draft.sends("command_topic")
    if power is None:
        raise BadDescription("command_topic is missing")
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    words = {on: "on", off: "off", NONE: UNKNOWN}
    draft.tells_state("state_topic", "state_value_template", words, power, words)
    kind = draft.text("on_command_type", "last")
    dimmer = draft.sends("brightness_command_topic", "brightness_command_template")
    scale = draft.number("brightness_scale", FULL)
    if scale <= 0:
        raise BadDescription("brightness_scale must be greater than 0")
    kelvin = draft.flag("color_temp_kelvin")
    warmth = draft.sends("color_temp_command_topic", "color_temp_command_template")
    effect = draft.sends("effect_command_topic", "effect_command_template")
    senders = {
        mode: sender
        for mode in COLOR_MODES
        if (sender := draft.sends(f"{mode}_command_topic", f"{mode}_command_template")) is not None
    }
    apart = dimmer is not None or draft.topic("brightness_state_topic") is not None

    def brightness_take(text: str, _before: Condition) -> Said | None:
        value = float(text)
        return {"brightness": min(FULL, round(value / scale * FULL))} if value > 0 else None

    def color_take(mode: str) -> Callable[[str, Condition], Said | None]:
        def take(text: str, _before: Condition) -> Said | None:
            parts = [float(part) for part in text.split(",")]
            if mode == "hs":
                return colored(rgb_from_hs(parts[0], parts[1]), hs=(parts[0], parts[1]))
            if mode == "xy":
                return colored(rgb_from_xy(parts[0], parts[1]))
            most = max(parts)
            if most <= 0:
                return None
            rgb = rgb_of([part if apart else part / most * FULL for part in parts[:3]])
            return None if rgb is None else colored(rgb) | ({} if apart else {"brightness": min(FULL, round(most))})

        return take

    def warmth_take(text: str, _before: Condition) -> Said:
        value = float(text)
        return white(value if kelvin else kelvin_of(value))

    if dimmer is not None:
        draft.reads("brightness_state_topic", "brightness_value_template", brightness_take, echo=dimmer)
    for mode, sender in senders.items():
        draft.reads(f"{mode}_state_topic", f"{mode}_value_template", color_take(mode), echo=sender)
    if warmth is not None:
        draft.reads("color_temp_state_topic", "color_temp_value_template", warmth_take, echo=warmth)
    if effect is not None:
        draft.reads("effect_state_topic", "effect_value_template", attribute_take("effect"), echo=effect)

    def paint(rgb: Rgb, brightness: float) -> Publication:
        mode, sender = next(iter(senders.items()))
        if mode == "hs":
            hue, saturation = hs_of(rgb)
            return sender(f"{hue},{saturation}", hue=hue, sat=saturation)
        if mode == "xy":
            x, y = xy_of(rgb)
            return sender(f"{x},{y}", x=x, y=y)
        names = ("red", "green", "blue", "white", "cold_white", "warm_white")
        keys = names[:3] + {"rgb": (), "rgbw": names[3:4], "rgbww": names[4:]}[mode]
        share = 1 if dimmer is not None else brightness / FULL
        parts = [round(part * share) for part in rgb] + [0] * (len(keys) - 3)
        return sender(",".join(map(str, parts)), **dict(zip(keys, parts, strict=True)))

    def turn_on(values: Mapping[str, Any], now: Condition) -> Iterable[Publication]:
        refuse_missing(draft, values)
        rgb, brightness = wanted_color(values), wanted_brightness(values)
        if brightness == 0:
            yield power(off)
            return
        if kind == "first":
            yield power(on)
        elif kind == "brightness" and brightness is None:
            brightness = round(now.attributes.get("brightness") or FULL)
        present = brightness or now.attributes.get("brightness") or FULL
        if rgb is not None:
            yield paint(rgb, present)
        if brightness is not None and dimmer is not None:
            yield dimmer(max(1, round(brightness / FULL * scale)))
        elif brightness is not None and rgb is None and senders:
            yield paint(rgb_of(now.attributes.get("rgb_color")) or (FULL, FULL, FULL), brightness)
        temperature = values.get("color_temp_kelvin")
        if temperature is not None and warmth is not None:
            yield warmth(round(temperature) if kelvin else kelvin_of(temperature))
        if values.get("effect") is not None and effect is not None:
            yield effect(values["effect"])
        if kind == "last":
            yield power(on)

    draft.can(turn_on=turn_on, turn_off=lambda _values, _now: [power(off)])
    if dimmer is not None or senders.keys() & {"rgb", "rgbw", "rgbww"}:
        draft.can("brightness")
    if senders:
        draft.can("color", "rgb_color")
    if warmth is not None:
        draft.can("color_temp_kelvin")
    if effect is not None:
        draft.can("effect")


# --- the json schema: everything in one message ----------------------------------------------------------------------


def json(draft: Draft) -> None:
    """A light that is told and tells everything in one JSON message."""
    command = draft.sends("command_topic")
    if command is None:
        raise BadDescription("command_topic is missing")
    scale = draft.number("brightness_scale", FULL)
    if scale <= 0:
        raise BadDescription("brightness_scale must be greater than 0")
    kelvin = draft.flag("color_temp_kelvin")
    modes = set(draft.texts("supported_color_modes"))
    modes |= {mode for mode in (*COLOR_MODES, "color_temp") if draft.flag(mode)}  # as it was written before
    colors = [mode for mode in COLOR_MODES if mode in modes]
    if colors:
        draft.can("color", "rgb_color")
    if "color_temp" in modes:
        draft.can("color_temp_kelvin")
    if draft.flag("brightness") or modes - {"onoff"}:
        draft.can("brightness")
    if draft.flag("effect") or draft.texts("effect_list"):
        draft.can("effect")

    def take(text: str, _before: Condition) -> Said:
        told = json_object(text)
        said: dict[str, Any] = {}
        if "state" in told:
            said["state"] = {"ON": "on", "OFF": "off", None: UNKNOWN}[told["state"]]
        if told.get("brightness") and "brightness" in draft.capabilities:
            said["brightness"] = max(1, min(FULL, round(float(told["brightness"]) / scale * FULL)))
        mode, temperature, color = told.get("color_mode"), told.get("color_temp"), told.get("color")
        if isinstance(color, Mapping) and colors and mode != "color_temp":
            said |= color_of(color, mode)
        if temperature and "color_temp" in modes and mode in {None, "color_temp"}:
            warm = white(float(temperature) if kelvin else kelvin_of(float(temperature)))
            said |= warm if mode or "rgb_color" not in said else {"color_temp_kelvin": warm["color_temp_kelvin"]}
        if "effect" in told and "effect" in draft.capabilities:
            said["effect"] = None if told["effect"] is None else str(told["effect"])
        return said

    if draft.reads("state_topic", "", take, echo=command):
        draft.assumed = True

    def turn_on(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        refuse_missing(draft, values)
        rgb, brightness = wanted_color(values), wanted_brightness(values)
        if brightness == 0:
            yield command('{"state":"OFF"}')
            return
        message: dict[str, Any] = {"state": "ON"}
        if rgb is not None:
            message["color"] = color_payload(rgb, colors[0])
        if brightness is not None:
            message["brightness"] = max(1, round(brightness / FULL * scale))
        temperature = values.get("color_temp_kelvin")
        if temperature is not None:
            message["color_temp"] = round(temperature) if kelvin else kelvin_of(temperature)
        if values.get("effect") is not None:
            message["effect"] = values["effect"]
        yield command(orjson.dumps(message).decode())

    draft.can(turn_on=turn_on, turn_off=lambda _values, _now: [command('{"state":"OFF"}')])


def color_of(color: Mapping[str, Any], mode: str | None) -> dict[str, Any]:
    """The colour of a light's message: in the form of its mode, or else of whichever keys it has."""
    hue, saturation = color.get("h", color.get("hue")), color.get("s", color.get("saturation"))
    if "r" in color and mode not in {"hs", "xy"}:
        rgb = rgb_of([color["r"], color["g"], color["b"]])
        return {} if rgb is None else colored(rgb)
    if "x" in color and mode != "hs":
        return colored(rgb_from_xy(float(color["x"]), float(color["y"])))
    if hue is not None and saturation is not None:
        return colored(rgb_from_hs(float(hue), float(saturation)), hs=(float(hue), float(saturation)))
    return {}


def color_payload(rgb: Rgb, mode: str) -> Mapping[str, float]:
    """The colour as a light of that mode takes it."""
    if mode == "hs":
        hue, saturation = hs_of(rgb)
        return {"h": whole(hue), "s": whole(saturation)}
    if mode == "xy":
        x, y = xy_of(rgb)
        return {"x": x, "y": y}
    red, green, blue = rgb
    more = {"rgb": {}, "rgbw": {"w": 0}, "rgbww": {"c": 0, "w": 0}}[mode]
    return {"r": red, "g": green, "b": blue} | more


# --- the template schema ---------------------------------------------------------------------------------------------


def template(draft: Draft) -> None:
    """A light whose messages templates make and read."""
    plain = draft.sends("command_topic")
    if plain is None:
        raise BadDescription("command_topic is missing")
    on, off = (draft.template(f"command_{which}_template") for which in ("on", "off"))
    if on is None or off is None:
        raise BadDescription("command_on_template and command_off_template are needed")
    switch_on, switch_off = (Sender(plain.topic, which, plain.qos, plain.retain) for which in (on, off))
    kelvin = draft.flag("color_temp_kelvin")
    reading = {
        name: draft.template(f"{name}_template")
        for name in ("state", "brightness", "color_temp", "red", "green", "blue", "effect")
    }
    colorful = all(reading[part] is not None for part in ("red", "green", "blue"))

    def brightness_take(text: str, _before: Condition) -> Said | None:
        value = round(float(text))
        return {"brightness": min(FULL, value)} if value > 0 else None

    # Such a light tells both its colour and its white, and not which of them it shows.
    def warmth_take(text: str, _before: Condition) -> Said:
        return {"color_temp_kelvin": round(float(text) if kelvin else kelvin_of(float(text)))}

    def part_take(index: int) -> Callable[[str, Condition], Said | None]:
        def take(text: str, before: Condition) -> Said | None:
            parts = list(before.attributes.get("rgb_color") or (0, 0, 0))
            parts[index] = number_of(text)
            rgb = rgb_of(parts)
            return None if rgb is None else {"rgb_color": rgb, "hs_color": hs_of(rgb)}

        return take

    topic = draft.topic("state_topic")
    takes = {
        "state": lambda text, _before: {"state": {"on": "on", "off": "off", NONE: UNKNOWN}[text]},
        "brightness": brightness_take,
        "color_temp": warmth_take,
        "effect": attribute_take("effect"),
    }
    if colorful:
        takes |= {part: part_take(index) for index, part in enumerate(("red", "green", "blue"))}
    if topic is not None and reading["state"] is not None and not draft.optimistic:
        draft.readings[topic] = [Reading(one, takes[name]) for name, one in reading.items() if one and name in takes]
    else:
        # What a template sent cannot be read back, but for the two that take nothing, where they can do with nothing.
        words = {}
        for sender, state in ((switch_on, "on"), (switch_off, "off")):
            with suppress(CannotDo):
                words[sender("", state=state).payload] = {"state": state}
        draft.readings[plain.topic] = [Reading(None, lambda text, _before: words.get(text))]
        draft.assumed = True

    def turn_on(values: Mapping[str, Any], now: Condition) -> Iterable[Publication]:
        refuse_missing(draft, values)
        rgb, brightness = wanted_color(values), wanted_brightness(values)
        if brightness == 0:
            yield switch_off("", state="off")
            return
        names: dict[str, Any] = {"state": "on"}
        if brightness is not None:
            names["brightness"] = brightness
        temperature = values.get("color_temp_kelvin")
        if temperature is not None:
            names["color_temp"] = round(temperature) if kelvin else kelvin_of(temperature)
        if rgb is not None:
            share = 1.0
            if reading["brightness"] is None:
                share = (brightness or now.attributes.get("brightness") or FULL) / FULL
            names |= dict(zip(("red", "green", "blue"), (round(part * share) for part in rgb), strict=True))
            names["hue"], names["sat"] = hs_of(rgb)
        if values.get("effect") is not None:
            names["effect"] = values["effect"]
        yield switch_on("", **names)

    draft.can(turn_on=turn_on, turn_off=lambda _values, _now: [switch_off("", state="off")])
    if reading["brightness"] is not None:
        draft.can("brightness")
    if reading["color_temp"] is not None:
        draft.can("color_temp_kelvin")
    if colorful:
        draft.can("color", "rgb_color")
    if draft.texts("effect_list"):
        draft.can("effect")
