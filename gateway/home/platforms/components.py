"""What each kind of Home Assistant's discovery (switch, cover, climate ...) comes to: its readings and its orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.home.platforms.drivers import (
    NONE,
    BadDescription,
    Draft,
    Driver,
    Said,
    Sender,
    Take,
    Write,
    attribute_take,
    json_object,
    number_of,
    scaled,
    unscaled,
)
from gateway.home.platforms.lights import light
from gateway.home.things import UNKNOWN, CannotDo, Condition, Publication

MAX_STEPS = 20  # speeds of a fan that are told one by one
ALARM_STATES = (
    "disarmed",
    "armed_home",
    "armed_away",
    "armed_night",
    "armed_vacation",
    "armed_custom_bypass",
    "pending",
    "arming",
    "disarming",
    "triggered",
)


def drive(component: str, config: Mapping[str, Any]) -> tuple[Driver, Draft]:
    """The driver of a thing, from its description with all keys spelled out, and what else it came to (capabilities,
    limits, options). Raises BadDescription, also for a component that is none of COMPONENTS."""
    describe = COMPONENTS.get(component)
    if describe is None:
        raise BadDescription(f"{component} is no component that is known here")
    draft = Draft(component, config)
    try:
        describe(draft)
    except CannotDo as error:  # a template of a command that is tried while it is read
        raise BadDescription(error.message) from error
    return draft.driver(), draft


def always(sender: Sender, payload: str) -> Write:
    """An order that is the same message each time."""
    return lambda _values, _now: [sender(payload)]


def needed(draft: Draft, key: str, template: str = "") -> Sender:
    """Where something is commanded. Raises BadDescription where it is not told."""
    sender = draft.sends(key, template)
    if sender is None:
        raise BadDescription(f"{key} is missing")
    return sender


def one_of(draft: Draft, name: str, value: Any) -> str:
    """The option that is meant, in its own spelling. Raises CannotDo."""
    said = str(value).strip().casefold()
    options = draft.options.get(name, ())
    for option in options:
        if option.casefold() == said:
            return option
    if options:
        raise CannotDo(f"it has no {name.replace('_', ' ')} of that name")
    return str(value)


def choice(
    draft: Draft, attribute: str, options: str, command: tuple[str, str], state: tuple[str, str], default: str = ""
) -> Sender | None:
    """An attribute that has but a few values (a mode, a preset, an effect), read and commanded."""
    sender = draft.sends(*command)
    draft.reads(state[0], state_template(draft, state[1], default), attribute_take(attribute), echo=sender)
    listed = draft.texts(options)
    if listed:
        draft.options[attribute] = listed
    if sender is not None or draft.topic(state[0]) is not None:
        draft.can(attribute)
    return sender


def state_template(draft: Draft, key: str, default: str) -> str:
    """The template of that name, or the one that stands for all."""
    return key if draft.config.get(key) is not None else default


# --- on and off ------------------------------------------------------------------------------------------------------


def switch(draft: Draft) -> None:
    """A switch, and what else is only on or off."""
    power = needed(draft, "command_topic", "command_template")
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    told = {draft.text("state_on", on): "on", draft.text("state_off", off): "off", NONE: UNKNOWN}
    draft.tells_state("state_topic", "value_template", told, power, {on: "on", off: "off"})
    draft.can(turn_on=always(power, on), turn_off=always(power, off))


def siren(draft: Draft) -> None:
    """A siren: told in JSON where there is no template."""
    plain = needed(draft, "command_topic", "command_template")
    quiet = Sender(plain.topic, draft.template("command_off_template") or plain.template, plain.qos, plain.retain)
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    words = {draft.text("state_on", on): "on", draft.text("state_off", off): "off", NONE: UNKNOWN}

    def say(sender: Sender, payload: str) -> Publication:
        return sender(f'{{"state":"{payload}"}}') if sender.template is None else sender(payload, state=payload)

    def take(text: str, _before: Condition) -> Said | None:
        if text.startswith("{"):
            text = str(json_object(text)["state"])
        return {"state": words[text]}

    if draft.reads("state_topic", "state_value_template", take, echo=plain):
        draft.assumed = True
    draft.can(turn_on=lambda _v, _n: [say(plain, on)], turn_off=lambda _v, _n: [say(quiet, off)])


def fan(draft: Draft) -> None:
    """A fan: on and off, its speed in percent (its options: those that it has, where they are few), presets."""
    power = needed(draft, "command_topic", "command_template")
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    told = {on: "on", off: "off", NONE: UNKNOWN}
    draft.tells_state("state_topic", "state_value_template", told, power, told)
    least, most = draft.number("speed_range_min", 1), draft.number("speed_range_max", 100)
    if not 0 < least < most:
        raise BadDescription("speed_range_min must be above 0 and below speed_range_max")
    reset = draft.text("payload_reset_percentage", NONE)
    speed = draft.sends("percentage_command_topic", "percentage_command_template")

    def speed_take(text: str, _before: Condition) -> Said:
        return {"percentage": None if text == reset else scaled(float(text), least - 1, most)}

    def set_speed(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        percentage = float(values["percentage"])
        if percentage == 0:
            return [power(off)]
        if speed is None:
            raise CannotDo("it has no percentage")
        return [speed(max(round(least), unscaled(percentage, least - 1, most)))]

    def turn_on(values: Mapping[str, Any], now: Condition) -> Iterable[Publication]:
        if values.get("percentage") is None:
            return [power(on)]
        speeds = [*set_speed(values, now)]
        return [power(on), *speeds] if values["percentage"] else speeds

    draft.can(turn_on=turn_on, turn_off=always(power, off))
    if speed is not None:
        draft.reads("percentage_state_topic", "percentage_value_template", speed_take, echo=speed)
        # A fan that is off would keep the speed for when it is on, and who asks for one wants it to turn.
        draft.can(
            "percentage", set_speed=lambda values, now: (turn_on if now.state == "off" else set_speed)(values, now)
        )
        draft.bounds("percentage", 0, 100)
        if most - least < MAX_STEPS:
            steps = range(round(least), round(most) + 1)
            draft.options["percentage"] = tuple(str(scaled(step, least - 1, most)) for step in steps)
    preset = choice(
        draft,
        "preset_mode",
        "preset_modes",
        ("preset_mode_command_topic", "preset_mode_command_template"),
        ("preset_mode_state_topic", "preset_mode_value_template"),
    )
    if preset is not None:
        draft.can(set_mode=lambda values, _now: [preset(one_of(draft, "preset_mode", values["mode"]))])
    swinging = {
        draft.text("payload_oscillation_on", "oscillate_on"): True,
        draft.text("payload_oscillation_off", "oscillate_off"): False,
    }
    draft.reads(
        "oscillation_state_topic", "oscillation_value_template", lambda text, _b: {"oscillating": swinging[text]}
    )
    draft.reads("direction_state_topic", "direction_value_template", attribute_take("direction"))


def humidifier(draft: Draft) -> None:
    """A humidifier: on and off, the humidity that is wanted, modes."""
    power = needed(draft, "command_topic", "command_template")
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    told = {on: "on", off: "off", NONE: UNKNOWN}
    draft.tells_state("state_topic", "state_value_template", told, power, told)
    draft.can(turn_on=always(power, on), turn_off=always(power, off))
    target_humidity(draft)
    draft.reads("current_humidity_topic", "current_humidity_template", attribute_take("current_humidity", number_of))
    mode = choice(
        draft,
        "mode",
        "modes",
        ("mode_command_topic", "mode_command_template"),
        ("mode_state_topic", "mode_state_template"),
    )
    if mode is not None:
        draft.can(set_mode=lambda values, _now: [mode(one_of(draft, "mode", values["mode"]))])
    draft.reads("action_topic", "action_template", attribute_take("action"))


def target_humidity(draft: Draft) -> None:
    """The humidity that is wanted, in percent."""
    wanted = draft.sends("target_humidity_command_topic", "target_humidity_command_template")
    draft.reads(
        "target_humidity_state_topic",
        "target_humidity_state_template",
        attribute_take("humidity", number_of),
        echo=wanted,
    )
    if wanted is None:
        return
    least, most = draft.number("min_humidity", 0), draft.number("max_humidity", 100)
    draft.bounds("humidity", least, most)

    def set_humidity(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        return [wanted(round(within(draft, "humidity", values["humidity"])))]

    draft.can("humidity", set_humidity=set_humidity)


def within(draft: Draft, attribute: str, value: Any) -> float:
    """The value, if the thing goes so far. Raises CannotDo."""
    number = float(value)
    least, most = draft.limits.get(attribute, (float("-inf"), float("inf")))
    if not least <= number <= most:
        raise CannotDo(f"its {attribute.replace('_', ' ')} goes from {least:g} to {most:g}")
    return number


# --- open and closed -------------------------------------------------------------------------------------------------


def payload_or_none(draft: Draft, key: str, default: str) -> str | None:
    """A payload; None where the description says expressly that there is none."""
    return None if key in draft.config and draft.config[key] is None else draft.text(key, default)


def cover(draft: Draft) -> None:
    """A blind, a shutter, a garage door: by commands, by positions, or both; slats."""
    moves = draft.sends("command_topic")
    places = draft.sends("set_position_topic", "set_position_template")
    closed, opened = draft.number("position_closed", 0), draft.number("position_open", 100)
    if closed == opened:
        raise BadDescription("position_open and position_closed must differ")
    tilt_least, tilt_most = draft.number("tilt_min", 0), draft.number("tilt_max", 100)
    if tilt_least == tilt_most:
        raise BadDescription("tilt_min and tilt_max must differ")
    state_topic = draft.topic("state_topic")
    # A position alone tells whether it is open, where nothing else does.
    alone = state_topic is None
    stopped = draft.text("state_stopped", "stopped")
    told = {
        draft.text("state_opening", "opening"): "opening",
        draft.text("state_closing", "closing"): "closing",
        draft.text("state_open", "open"): "open",
        draft.text("state_closed", "closed"): "closed",
        NONE: UNKNOWN,
    }
    names = {"position_open": opened, "position_closed": closed, "tilt_min": tilt_least, "tilt_max": tilt_most}

    def state_take(text: str, before: Condition) -> Said:
        if text != stopped:
            return {"state": told[text]}
        position = before.attributes.get("current_position")
        shut = before.state in {"closed", "closing"} if position is None else position == 0
        return {"state": "closed" if shut else "open"}

    def position_take(text: str, _before: Condition) -> Said:
        told_tilt: dict[str, Any] = {}
        value: Any = text
        if text.startswith("{"):
            both = json_object(text)
            value = both["position"]
            if "tilt_position" in both:
                told_tilt["current_tilt_position"] = scaled(float(both["tilt_position"]), tilt_least, tilt_most)
        position = scaled(float(value), closed, opened)
        state = {"state": "open" if position > 0 else "closed"} if alone else {}
        return {"current_position": position} | told_tilt | state

    def tilt_take(text: str, _before: Condition) -> Said:
        return {"current_tilt_position": scaled(float(text), tilt_least, tilt_most)}

    # The position before the state: where both come in one message, "stopped" asks where.
    draft.reads("position_topic", "position_template", position_take, echo=None if moves else places, names=names)
    if state_topic is not None:
        draft.reads("state_topic", "value_template", state_take)
    if draft.optimistic or (state_topic is None and draft.topic("position_topic") is None):
        draft.assumed = True
        if moves is not None:
            sent = {draft.text("payload_open", "OPEN"): "open", draft.text("payload_close", "CLOSE"): "closed"}
            draft.tells_state("", "", {}, moves, sent)
    slats = draft.sends("tilt_command_topic", "tilt_command_template")
    draft.reads("tilt_status_topic", "tilt_status_template", tilt_take, echo=slats, names=names)

    def set_position(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        if places is None:
            raise CannotDo("it has no positions")
        position = float(values["position"])
        return [places(unscaled(position, closed, opened), position=round(position), **names)]

    for action, key, payload, position in (
        ("open", "payload_open", "OPEN", 100),
        ("close", "payload_close", "CLOSE", 0),
        ("stop", "payload_stop", "STOP", None),
    ):
        said = payload_or_none(draft, key, payload)
        if moves is not None and said is not None:
            draft.can(**{action: always(moves, said)})
        elif places is not None and position is not None:
            draft.can(**{action: lambda _values, now, to=position: set_position({"position": to}, now)})
    if places is not None:
        draft.can("current_position", set_position=set_position)
    elif draft.topic("position_topic") is not None:
        draft.can("current_position")
    if slats is not None:

        def set_tilt(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
            tilt = float(values["position"])
            return [slats(unscaled(tilt, tilt_least, tilt_most), tilt_position=round(tilt), **names)]

        draft.can("current_tilt_position", set_tilt=set_tilt)
    if not draft.orders and not draft.readings:
        raise BadDescription("command_topic, set_position_topic or state_topic is needed")


def valve(draft: Draft) -> None:
    """A valve: open and closed, or by its position."""
    moves = draft.sends("command_topic", "command_template")
    by_position = draft.flag("reports_position")
    closed, opened = draft.number("position_closed", 0), draft.number("position_open", 100)
    if closed == opened:
        raise BadDescription("position_open and position_closed must differ")
    told = {
        draft.text("state_opening", "opening"): "opening",
        draft.text("state_closing", "closing"): "closing",
        draft.text("state_open", "open"): "open",
        draft.text("state_closed", "closed"): "closed",
        NONE: UNKNOWN,
    }

    def take(text: str, _before: Condition) -> Said:
        state: Any = text
        position: Any = text
        if text.startswith("{"):
            both = json_object(text)
            state, position = both.get("state"), both.get("position")
        if not by_position:
            return {"state": told[str(state)]}
        moving = {"state": told[str(state)]} if told.get(str(state)) in {"opening", "closing"} else {}
        try:
            percent = scaled(float(position), closed, opened)
        except (TypeError, ValueError):
            if not moving:
                raise
            return moving
        return {"current_position": percent, "state": "open" if percent > 0 else "closed"} | moving

    names = {"position_open": opened, "position_closed": closed}
    if by_position:
        draft.assumed = draft.reads("state_topic", "value_template", take, echo=moves, names=names)
        draft.can("current_position")
    else:
        draft.reads("state_topic", "value_template", take, names=names)
        if draft.optimistic or draft.topic("state_topic") is None:
            sent = {draft.text("payload_open", "OPEN"): "open", draft.text("payload_close", "CLOSE"): "closed"}
            draft.tells_state("", "", {}, moves, sent)
    if moves is None:
        return

    def set_position(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        position = float(values["position"])
        return [moves(unscaled(position, closed, opened), position=round(position), **names)]

    for action, key, payload, position in (
        ("open", "payload_open", "OPEN", 100),
        ("close", "payload_close", "CLOSE", 0),
    ):
        said = payload_or_none(draft, key, payload)
        if by_position:
            draft.can(**{action: lambda _values, now, to=position: set_position({"position": to}, now)})
        elif said is not None:
            draft.can(**{action: always(moves, said)})
    if by_position:
        draft.can(set_position=set_position)
    stop = draft.text("payload_stop")
    if stop:
        draft.can(stop=always(moves, stop))


def lock(draft: Draft) -> None:
    """A lock."""
    moves = needed(draft, "command_topic", "command_template")
    shut, release = draft.text("payload_lock", "LOCK"), draft.text("payload_unlock", "UNLOCK")
    told = {
        draft.text("state_locked", "LOCKED"): "locked",
        draft.text("state_unlocked", "UNLOCKED"): "unlocked",
        draft.text("state_locking", "LOCKING"): "locking",
        draft.text("state_unlocking", "UNLOCKING"): "unlocking",
        draft.text("state_jammed", "JAMMED"): "jammed",
        draft.text("state_open", "OPEN"): "open",
        draft.text("state_opening", "OPENING"): "opening",
        draft.text("payload_reset", NONE): UNKNOWN,
    }
    draft.tells_state("state_topic", "value_template", told, moves, {shut: "locked", release: "unlocked"})
    draft.can(lock=always(moves, shut), unlock=always(moves, release))
    latch = draft.text("payload_open")
    if latch:
        draft.can(open=always(moves, latch))


def alarm_control_panel(draft: Draft) -> None:
    """An alarm: it is only looked at."""
    told: dict[str, Said] = {state: {"state": state} for state in ALARM_STATES}
    told[NONE] = {"state": UNKNOWN}
    draft.reads("state_topic", "value_template", lambda text, _before: told[text])


# --- warm and cold ---------------------------------------------------------------------------------------------------


def heating(draft: Draft, default_modes: tuple[str, ...], state: str) -> None:
    """What a climate and a water heater have in common: temperatures, modes, power. `state` is the attribute that the
    mode is told as, beside the state itself."""
    reads, sends = draft.reads, draft.sends
    modes = draft.texts("modes", default_modes)
    mode = sends("mode_command_topic", "mode_command_template")
    power = sends("power_command_topic", "power_command_template")
    warmth = sends("temperature_command_topic", "temperature_command_template")
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")

    def template(key: str) -> str:
        return state_template(draft, key, "value_template")

    def mode_take(text: str, _before: Condition) -> Said:
        return {"state": UNKNOWN if text == NONE else text, state: None if text == NONE else text}

    if mode is not None or draft.topic("mode_state_topic") is not None:
        draft.assumed = reads("mode_state_topic", template("mode_state_template"), mode_take, echo=mode)
        draft.options[state] = modes
        draft.can(state)
    reads(
        "temperature_state_topic",
        template("temperature_state_template"),
        attribute_take("temperature", number_of),
        echo=warmth,
    )
    reads(
        "current_temperature_topic",
        template("current_temperature_template"),
        attribute_take("current_temperature", number_of),
    )
    if draft.topic("current_temperature_topic") is not None:
        draft.can("current_temperature")

    def set_mode(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        if mode is None:
            raise CannotDo("it has no modes")
        return [mode(one_of(draft, state, values["mode"]))]

    def set_temperature(values: Mapping[str, Any], now: Condition) -> Iterable[Publication]:
        if values.get("hvac_mode") is not None:
            yield from set_mode({"mode": values["hvac_mode"]}, now)
        if values.get("temperature") is not None and warmth is not None:
            yield warmth(within(draft, "temperature", values["temperature"]))

    if warmth is not None:
        fahrenheit = draft.text("temperature_unit").upper() == "F"
        least, most = ((44.6, 95) if fahrenheit else (7, 35)) if state == "hvac_mode" else (43.3, 60)
        if state != "hvac_mode" and fahrenheit:
            least, most = 110, 140
        draft.bounds("temperature", draft.number("min_temp", least), draft.number("max_temp", most))
        draft.can("temperature", set_temperature=set_temperature)
    if mode is not None:
        draft.can(set_mode=set_mode)
    if power is not None:
        draft.can(turn_on=always(power, on), turn_off=always(power, off))
    elif mode is not None and "off" in modes:
        # As Home Assistant turns one on that has no switch: in the first of these that it knows, or its first.
        usual = [*(one for one in ("heat_cool", "heat", "cool", "auto") if one in modes), *modes]
        first = next((one for one in usual if one != "off"), None)
        draft.can(turn_off=always(mode, "off"))
        if first is not None:
            draft.can(turn_on=always(mode, first))


def climate(draft: Draft) -> None:
    """A thermostat, an air conditioner."""
    heating(draft, ("auto", "off", "cool", "heat", "dry", "fan_only"), "hvac_mode")
    fans = choice(
        draft,
        "fan_mode",
        "fan_modes",
        ("fan_mode_command_topic", "fan_mode_command_template"),
        ("fan_mode_state_topic", "fan_mode_state_template"),
        "value_template",
    )
    if fans is not None:
        draft.options.setdefault("fan_mode", ("auto", "low", "medium", "high"))
        draft.can(set_fan_mode=lambda values, _now: [fans(one_of(draft, "fan_mode", values["mode"]))])
    preset = choice(
        draft,
        "preset_mode",
        "preset_modes",
        ("preset_mode_command_topic", "preset_mode_command_template"),
        ("preset_mode_state_topic", "preset_mode_value_template"),
        "value_template",
    )
    if preset is not None:
        plain = draft.orders.get("set_mode")

        def set_mode(values: Mapping[str, Any], now: Condition) -> Iterable[Publication]:
            said = str(values["mode"]).casefold()
            modes = {one.casefold() for one in draft.options.get("hvac_mode", ())}
            if said in modes and plain is not None:
                return plain(values, now)
            return [preset(said if said == "none" else one_of(draft, "preset_mode", values["mode"]))]

        draft.can(set_mode=set_mode)
    target_humidity(draft)
    for attribute, topic, template in (
        ("current_humidity", "current_humidity_topic", "current_humidity_template"),
        ("target_temp_high", "temperature_high_state_topic", "temperature_high_state_template"),
        ("target_temp_low", "temperature_low_state_topic", "temperature_low_state_template"),
    ):
        draft.reads(topic, state_template(draft, template, "value_template"), attribute_take(attribute, number_of))
    for attribute, topic, template in (
        ("hvac_action", "action_topic", "action_template"),
        ("swing_mode", "swing_mode_state_topic", "swing_mode_state_template"),
    ):
        draft.reads(topic, state_template(draft, template, "value_template"), attribute_take(attribute))


def water_heater(draft: Draft) -> None:
    """A boiler."""
    modes = ("off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance")
    heating(draft, modes, "operation_mode")


# --- what goes about -------------------------------------------------------------------------------------------------


def vacuum(draft: Draft) -> None:
    """A vacuum cleaner; its state comes in JSON."""
    command = draft.sends("command_topic")
    features = draft.texts(
        "supported_features", ("start", "stop", "return_home", "status", "battery", "clean_spot", "locate", "pause")
    )

    def take(text: str, _before: Condition) -> Said:
        told = json_object(text)
        said: dict[str, Any] = {}
        if "state" in told:
            said["state"] = UNKNOWN if told["state"] is None else str(told["state"])
        if told.get("battery_level") is not None:
            said["battery_level"] = number_of(str(told["battery_level"]))
        if told.get("fan_speed") is not None:
            said["fan_speed"] = said["fan_mode"] = str(told["fan_speed"])  # it is ordered as a mode
        return said

    draft.reads("state_topic", "value_template", take)
    if command is not None:
        for feature, action, key, payload in (
            ("start", "start", "payload_start", "start"),
            ("stop", "stop", "payload_stop", "stop"),
            ("pause", "pause", "payload_pause", "pause"),
            ("return_home", "return_to_base", "payload_return_to_base", "return_to_base"),
        ):
            if feature in features:
                draft.can(**{action: always(command, draft.text(key, payload))})
    speeds = draft.texts("fan_speed_list")
    speed = draft.sends("set_fan_speed_topic")
    if speeds:
        draft.options["fan_speed"] = speeds
    if speed is not None:
        draft.can("fan_speed", set_fan_mode=lambda values, _now: [speed(one_of(draft, "fan_speed", values["mode"]))])


def lawn_mower(draft: Draft) -> None:
    """A mower."""
    told = {state: {"state": state} for state in ("mowing", "paused", "docked", "returning", "error")}
    take: Take = lambda text, _before: {"state": UNKNOWN} if text == NONE else told[text]  # noqa: E731
    draft.reads("activity_state_topic", "activity_value_template", take)
    for action, key, payload in (
        ("mow", "start_mowing", "start_mowing"),
        ("pause", "pause", "pause"),
        ("dock", "dock", "dock"),
    ):
        sender = draft.sends(f"{key}_command_topic", f"{key}_command_template")
        if sender is not None:
            draft.can(**{action: always(sender, payload)})


def media_player(draft: Draft) -> None:
    """A player. Home Assistant's discovery has none: this is for what a household describes itself, in keys made like
    those of the others. It can do that of which the payload is told."""
    command = needed(draft, "command_topic", "command_template")
    draft.reads("state_topic", "state_value_template", lambda text, _b: {"state": UNKNOWN if text == NONE else text})
    for action in ("turn_on", "turn_off", "play", "pause", "next", "previous", "mute", "unmute"):
        if payload := draft.text(f"payload_{action}"):
            draft.can(**{action: always(command, payload)})
    scale = draft.number("volume_scale", 1)
    if scale <= 0:
        raise BadDescription("volume_scale must be above 0")
    volume = draft.sends("volume_command_topic", "volume_command_template")
    draft.reads(
        "volume_state_topic",
        "volume_value_template",
        attribute_take("volume_level", lambda text: round(number_of(text) / scale, 3)),
        echo=volume,
    )
    if volume is not None:

        def set_volume(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
            level = float(values["volume_level"]) * scale
            return [volume(round(level) if scale > 1 else round(level, 3))]

        draft.can("volume_level", set_volume=set_volume)
    muted = {
        "ON": True,
        "OFF": False,
        draft.text("payload_mute", "ON"): True,
        draft.text("payload_unmute", "OFF"): False,
    }
    draft.reads("mute_state_topic", "mute_value_template", lambda text, _b: {"is_volume_muted": muted[text]})
    draft.reads("title_topic", "title_template", attribute_take("media_title"))


# --- values ----------------------------------------------------------------------------------------------------------


def value(draft: Draft, convert: Callable[[str], str]) -> Sender:
    """What is a number, a text or one of several options."""
    sender = needed(draft, "command_topic", "command_template")

    def take(text: str, _before: Condition) -> Said:
        return {"state": UNKNOWN if text == NONE else convert(text)}

    if draft.reads("state_topic", "value_template", take, echo=sender):
        draft.assumed = True
    return sender


def number(draft: Draft) -> None:
    """A number that may be set."""
    sender = value(draft, lambda text: str(number_of(text)))
    draft.bounds("value", draft.number("min", 1), draft.number("max", 100))

    def set_value(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        return [sender(number_of(str(within(draft, "value", values["value"]))))]

    draft.can(set_value=set_value)


def text(draft: Draft) -> None:
    """A text that may be set."""
    sender = value(draft, str)
    least, most = draft.number("min", 0), draft.number("max", 255)

    def set_value(values: Mapping[str, Any], _now: Condition) -> Iterable[Publication]:
        wanted = str(values["value"])
        if not least <= len(wanted) <= most:
            raise CannotDo(f"it takes {least:g} to {most:g} characters")
        return [sender(wanted)]

    draft.can(set_value=set_value)


def select(draft: Draft) -> None:
    """One of several options."""
    draft.options["option"] = draft.texts("options")

    def known(said: str) -> str:
        if said not in draft.options["option"]:
            raise ValueError(said)
        return said

    sender = value(draft, known)
    draft.can(select=lambda values, _now: [sender(one_of(draft, "option", values["option"]))])


def button(draft: Draft) -> None:
    """A button."""
    sender = needed(draft, "command_topic", "command_template")
    draft.can(press=always(sender, draft.text("payload_press", "PRESS")))


def scene(draft: Draft) -> None:
    """A scene."""
    sender = needed(draft, "command_topic")
    activate = always(sender, draft.text("payload_on", "ON"))
    draft.can(activate=activate, turn_on=activate)


def sensor(draft: Draft) -> None:
    """A measured value."""
    draft.lapses_after("expire_after", "away")
    draft.reads("state_topic", "value_template", lambda said, _before: {"state": UNKNOWN if said == NONE else said})


def binary_sensor(draft: Draft) -> None:
    """A contact, a motion sensor: on or off."""
    on, off = draft.text("payload_on", "ON"), draft.text("payload_off", "OFF")
    told: Mapping[str, Said] = {NONE: {"state": UNKNOWN}, off: {"state": "off"}, on: {"state": "on"}}
    draft.lapses_after("off_delay", "off")
    draft.lapses_after("expire_after", "away")
    draft.reads("state_topic", "value_template", lambda said, _before: told[said])


def event(draft: Draft) -> None:
    """A button that was pressed, a bell that rang: its state is the time of the last event (see Driver.read)."""
    types = draft.texts("event_types")
    draft.options["event_type"] = types

    def take(text: str, _before: Condition) -> Said:
        kind = str(json_object(text)["event_type"])
        if kind not in types:
            raise ValueError(kind)
        return {"event_type": kind}

    draft.reads("state_topic", "value_template", take)


def device_tracker(draft: Draft) -> None:
    """Whether somebody or something is at home."""
    words = {
        draft.text("payload_home", "home"): "home",
        draft.text("payload_not_home", "not_home"): "not_home",
        draft.text("payload_reset", NONE): UNKNOWN,
    }
    draft.reads("state_topic", "value_template", lambda text, _before: {"state": words.get(text, text)})


COMPONENTS: Mapping[str, Callable[[Draft], None]] = {
    "alarm_control_panel": alarm_control_panel,
    "binary_sensor": binary_sensor,
    "button": button,
    "climate": climate,
    "cover": cover,
    "device_tracker": device_tracker,
    "event": event,
    "fan": fan,
    "humidifier": humidifier,
    "lawn_mower": lawn_mower,
    "light": light,
    "lock": lock,
    "media_player": media_player,
    "number": number,
    "scene": scene,
    "select": select,
    "sensor": sensor,
    "siren": siren,
    "switch": switch,
    "text": text,
    "vacuum": vacuum,
    "valve": valve,
    "water_heater": water_heater,
}
