"""What each kind of thing comes to, from descriptions as Tasmota, ESPHome, zigbee2mqtt and others publish them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.home.colors import hs_of, rgb_from_hs, rgb_from_xy, rgb_of, xy_of
from gateway.home.platforms.components import COMPONENTS
from gateway.home.platforms.discovery import based, described, name_of, object_of, slug_of, thing_of
from gateway.home.platforms.drivers import BadDescription, Driver
from gateway.home.things import ACTIONS, CannotDo, Condition, Order, Publication, Thing

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def made(component: str, config: Mapping[str, Any]) -> Thing:
    """The thing of a description with short keys."""
    whole = described(component, config, "place")
    return thing_of(replace(whole, config=based(whole.config)), f"{component}.thing")


def heard(thing: Thing, *messages: tuple[str, Any], before: Condition | None = None) -> Condition:
    """How it stands after those messages; what is no text is sent as JSON."""
    now = before or Condition()
    assert thing.driver is not None
    for topic, payload in messages:
        assert topic in thing.driver.topics
        text = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
        now = thing.driver.read(topic, text, now, NOW)
    return now


def sent(thing: Thing, action: str, now: Condition | None = None, **values: Any) -> list[tuple[str, Any]]:
    """What an order publishes, JSON read."""
    assert thing.driver is not None
    made = thing.driver.command(Order(action, values), now or Condition())
    return [(one.topic, orjson.loads(one.payload) if one.payload.startswith("{") else one.payload) for one in made]


@dataclass
class Case:
    """A description, what its device says, how it then stands, and what orders publish."""

    component: str
    config: Mapping[str, Any]
    messages: tuple[tuple[str, Any], ...]
    state: str
    attributes: Mapping[str, Any]
    orders: tuple[tuple[str, Mapping[str, Any], list[tuple[str, Any]]], ...] = ()


CASES = {
    "tasmota dimmer": Case(
        "light",
        {
            "name": "Dimmer",
            "cmd_t": "~cmnd/POWER",
            "stat_t": "~tele/STATE",
            "val_tpl": "{{value_json.POWER}}",
            "stat_val_tpl": "{{value_json.POWER}}",
            "pl_off": "OFF",
            "pl_on": "ON",
            "bri_cmd_t": "~cmnd/Dimmer",
            "bri_stat_t": "~tele/STATE",
            "bri_scl": 100,
            "on_cmd_type": "brightness",
            "bri_val_tpl": "{{value_json.Dimmer}}",
            "clr_temp_cmd_t": "~cmnd/CT",
            "clr_temp_stat_t": "~tele/STATE",
            "clr_temp_val_tpl": "{{value_json.CT}}",
            "rgb_cmd_t": "~cmnd/Color2",
            "rgb_stat_t": "~tele/STATE",
            "rgb_val_tpl": "{{value_json.Color.split(',')[0:3]|join(',')}}",
            "avty_t": "~tele/LWT",
            "pl_avail": "Online",
            "pl_not_avail": "Offline",
            "~": "tasmota_1/",
        },
        (
            ("tasmota_1/tele/LWT", "Online"),
            ("tasmota_1/tele/STATE", {"POWER": "ON", "Dimmer": 60, "Color": "153,0,0,0,0", "CT": 250}),
        ),
        "on",
        {"brightness": 153, "color_temp_kelvin": 4000},
        (
            ("turn_on", {"brightness": 51}, [("tasmota_1/cmnd/Dimmer", "20")]),
            ("turn_on", {}, [("tasmota_1/cmnd/Dimmer", "60")]),
            (
                "turn_on",
                {"color": "blue", "brightness": 255},
                [("tasmota_1/cmnd/Color2", "0,0,255"), ("tasmota_1/cmnd/Dimmer", "100")],
            ),
            (
                "turn_on",
                {"color_temp_kelvin": 2700, "brightness": 255},
                [("tasmota_1/cmnd/Dimmer", "100"), ("tasmota_1/cmnd/CT", "370")],
            ),
            ("turn_off", {}, [("tasmota_1/cmnd/POWER", "OFF")]),
            ("turn_on", {"brightness": 0}, [("tasmota_1/cmnd/POWER", "OFF")]),
        ),
    ),
    "esphome light": Case(
        "light",
        {
            "schema": "json",
            "color_mode": True,
            "sup_clrm": ["rgb", "color_temp"],
            "brightness": True,
            "effect": True,
            "fx_list": ["None", "Rainbow"],
            "name": "Strip",
            "stat_t": "strip/light/strip/state",
            "cmd_t": "strip/light/strip/command",
            "avty_t": "strip/status",
            "uniq_id": "ESPlightstrip",
            "dev": {"ids": "8caab5", "name": "strip", "sw": "esphome"},
        },
        (
            ("strip/status", "online"),
            (
                "strip/light/strip/state",
                {"state": "ON", "color_mode": "rgb", "brightness": 255, "color": {"r": 255, "g": 0, "b": 0}},
            ),
        ),
        "on",
        {"brightness": 255, "rgb_color": (255, 0, 0), "hs_color": (0, 100)},
        (
            (
                "turn_on",
                {"rgb_color": (0, 10, 255), "brightness": 128, "effect": "Rainbow"},
                [
                    (
                        "strip/light/strip/command",
                        {"state": "ON", "brightness": 128, "color": {"r": 0, "g": 10, "b": 255}, "effect": "Rainbow"},
                    )
                ],
            ),
        ),
    ),
    "zigbee2mqtt bulb": Case(
        "light",
        {
            "availability": [
                {"topic": "zigbee2mqtt/bridge/state", "value_template": "{{ value_json.state }}"},
                {"topic": "zigbee2mqtt/Bulb/availability", "value_template": "{{ value_json.state }}"},
            ],
            "availability_mode": "all",
            "brightness": True,
            "brightness_scale": 254,
            "command_topic": "zigbee2mqtt/Bulb/set",
            "device": {"identifiers": ["zigbee2mqtt_0x00158d0001"], "name": "Bulb"},
            "effect": True,
            "effect_list": ["blink"],
            "max_mireds": 454,
            "min_mireds": 250,
            "name": None,
            "object_id": "bulb",
            "schema": "json",
            "state_topic": "zigbee2mqtt/Bulb",
            "supported_color_modes": ["xy", "color_temp"],
            "unique_id": "0x00158d0001_light_zigbee2mqtt",
        },
        (
            ("zigbee2mqtt/bridge/state", {"state": "online"}),
            ("zigbee2mqtt/Bulb/availability", {"state": "online"}),
            (
                "zigbee2mqtt/Bulb",
                {
                    "brightness": 127,
                    "color": {"hue": 240, "saturation": 100, "x": 0.15, "y": 0.06},
                    "color_mode": "xy",
                    "color_temp": 250,
                    "linkquality": 90,
                    "state": "ON",
                },
            ),
        ),
        "on",
        {"brightness": 128, "rgb_color": (0, 0, 255)},
        (
            ("turn_on", {"brightness": 255}, [("zigbee2mqtt/Bulb/set", {"state": "ON", "brightness": 254})]),
            ("turn_on", {"color_temp_kelvin": 4000}, [("zigbee2mqtt/Bulb/set", {"state": "ON", "color_temp": 250})]),
        ),
    ),
    "zigbee2mqtt contact": Case(
        "binary_sensor",
        {
            "device_class": "door",
            "payload_off": True,
            "payload_on": False,
            "state_topic": "zigbee2mqtt/Door",
            "value_template": "{{ value_json.contact }}",
        },
        (("zigbee2mqtt/Door", {"contact": False, "battery": 90}),),
        "on",
        {},
    ),
    "zigbee2mqtt blind": Case(
        "cover",
        {
            "command_topic": "zigbee2mqtt/Blind/set",
            "position_template": "{{ value_json.position }}",
            "position_topic": "zigbee2mqtt/Blind",
            "set_position_template": '{ "position": {{ position }} }',
            "set_position_topic": "zigbee2mqtt/Blind/set",
            "state_closing": "DOWN",
            "state_opening": "UP",
            "state_stopped": "STOP",
            "state_topic": "zigbee2mqtt/Blind",
            "value_template": '{% if "running" in value_json and value_json["running"] %}DOWN{% else %}STOP{% endif %}',
        },
        (("zigbee2mqtt/Blind", {"position": 40}),),
        "open",
        {"current_position": 40},
        (
            ("set_position", {"position": 25}, [("zigbee2mqtt/Blind/set", {"position": 25})]),
            ("open", {}, [("zigbee2mqtt/Blind/set", "OPEN")]),
            ("stop", {}, [("zigbee2mqtt/Blind/set", "STOP")]),
        ),
    ),
    "cover by position alone, turned about": Case(
        "cover",
        {
            "pos_t": "c/pos",
            "set_pos_t": "c/set",
            "pos_open": 0,
            "pos_clsd": 255,
            "tilt_cmd_t": "c/tilt",
            "tilt_status_t": "c/tilted",
            "tilt_min": 0,
            "tilt_max": 90,
        },
        (("c/pos", "255"), ("c/tilted", "45")),
        "closed",
        {"current_position": 0, "current_tilt_position": 50},
        (
            ("set_position", {"position": 100}, [("c/set", "0")]),
            ("open", {}, [("c/set", "0")]),
            ("set_tilt", {"position": 100}, [("c/tilt", "90")]),
        ),
    ),
    "garage door": Case(
        "cover",
        {"cmd_t": "g/set", "stat_t": "g/state", "dev_cla": "garage", "pl_stop": None},
        (("g/state", "opening"),),
        "opening",
        {},
        (("toggle", {}, [("g/set", "CLOSE")]), ("close", {}, [("g/set", "CLOSE")])),
    ),
    "cover that stops": Case(
        "cover",
        {"cmd_t": "g/set", "stat_t": "g/state"},
        (("g/state", "closing"), ("g/state", "stopped")),
        "closed",
        {},
    ),
    "tasmota socket": Case(
        "switch",
        {
            "name": "Socket",
            "stat_t": "tele/s/STATE",
            "val_tpl": "{{value_json.POWER}}",
            "cmd_t": "cmnd/s/POWER",
            "stat_off": "OFF",
            "stat_on": "ON",
            "pl_off": 0,
            "pl_on": 1,
        },
        (("tele/s/STATE", {"POWER": "OFF"}),),
        "off",
        {},
        (("turn_on", {}, [("cmnd/s/POWER", "1")]), ("toggle", {}, [("cmnd/s/POWER", "1")])),
    ),
    "shelly relay": Case(
        "switch",
        {
            "~": "shellyplus1-a/",
            "command_topic": "~rpc",
            "command_template": '{"id":1,"src":"x","method":"Switch.Set","params":{"id":0,"on":{{ value }}}}',
            "payload_on": "true",
            "payload_off": "false",
            "state_topic": "~status/switch:0",
            "value_template": "{{ value_json.output | string | lower }}",
            "state_on": "true",
            "state_off": "false",
        },
        (("shellyplus1-a/status/switch:0", {"id": 0, "output": True, "apower": 8.9}),),
        "on",
        {},
        (
            (
                "turn_off",
                {},
                [
                    (
                        "shellyplus1-a/rpc",
                        {"id": 1, "src": "x", "method": "Switch.Set", "params": {"id": 0, "on": False}},
                    )
                ],
            ),
        ),
    ),
    "energy": Case(
        "sensor",
        {
            "stat_t": "tele/s/SENSOR",
            "val_tpl": "{{value_json['ENERGY'].Total | float | round(1)}}",
            "unit_of_meas": "kWh",
        },
        (("tele/s/SENSOR", {"ENERGY": {"Total": "12.345"}}),),
        "12.3",
        {},
    ),
    "fan": Case(
        "fan",
        {
            "cmd_t": "f/set",
            "stat_t": "f/state",
            "pct_cmd_t": "f/speed/set",
            "pct_stat_t": "f/speed",
            "spd_rng_min": 1,
            "spd_rng_max": 3,
            "pr_mode_cmd_t": "f/mode/set",
            "pr_mode_stat_t": "f/mode",
            "pr_modes": ["Sleep", "auto"],
            "osc_stat_t": "f/osc",
        },
        (("f/state", "ON"), ("f/speed", "2"), ("f/mode", "auto"), ("f/osc", "oscillate_on")),
        "on",
        {"percentage": 67, "preset_mode": "auto", "oscillating": True},
        (
            ("set_speed", {"percentage": 100}, [("f/speed/set", "3")]),
            ("set_speed", {"percentage": 1}, [("f/speed/set", "1")]),
            ("set_speed", {"percentage": 0}, [("f/set", "OFF")]),
            ("turn_on", {"percentage": 34}, [("f/set", "ON"), ("f/speed/set", "1")]),
            ("set_mode", {"mode": "sleep"}, [("f/mode/set", "Sleep")]),
        ),
    ),
    "zigbee2mqtt thermostat": Case(
        "climate",
        {
            "action_template": "{% set values = {None:None,'idle':'idle','heat':'heating'} %}"
            "{{ values[value_json.running_state] }}",
            "action_topic": "zigbee2mqtt/TRV",
            "current_temperature_template": "{{ value_json.local_temperature }}",
            "current_temperature_topic": "zigbee2mqtt/TRV",
            "max_temp": "30",
            "min_temp": "5",
            "mode_command_topic": "zigbee2mqtt/TRV/set/system_mode",
            "mode_state_template": "{{ value_json.system_mode }}",
            "mode_state_topic": "zigbee2mqtt/TRV",
            "modes": ["off", "heat", "auto"],
            "preset_mode_command_topic": "zigbee2mqtt/TRV/set/preset",
            "preset_mode_state_topic": "zigbee2mqtt/TRV",
            "preset_mode_value_template": "{{ value_json.preset }}",
            "preset_modes": ["eco", "boost"],
            "temp_step": 0.5,
            "temperature_command_topic": "zigbee2mqtt/TRV/set/occupied_heating_setpoint",
            "temperature_state_template": "{{ value_json.occupied_heating_setpoint }}",
            "temperature_state_topic": "zigbee2mqtt/TRV",
        },
        (
            (
                "zigbee2mqtt/TRV",
                {
                    "local_temperature": 19.5,
                    "occupied_heating_setpoint": 21,
                    "running_state": "heat",
                    "system_mode": "heat",
                    "preset": "eco",
                },
            ),
        ),
        "heat",
        {
            "current_temperature": 19.5,
            "temperature": 21,
            "hvac_action": "heating",
            "hvac_mode": "heat",
            "preset_mode": "eco",
        },
        (
            ("set_temperature", {"temperature": 22}, [("zigbee2mqtt/TRV/set/occupied_heating_setpoint", "22.0")]),
            (
                "set_temperature",
                {"temperature": 20.5, "hvac_mode": "Auto"},
                [
                    ("zigbee2mqtt/TRV/set/system_mode", "auto"),
                    ("zigbee2mqtt/TRV/set/occupied_heating_setpoint", "20.5"),
                ],
            ),
            ("set_mode", {"mode": "boost"}, [("zigbee2mqtt/TRV/set/preset", "boost")]),
            ("set_mode", {"mode": "off"}, [("zigbee2mqtt/TRV/set/system_mode", "off")]),
            ("turn_off", {}, [("zigbee2mqtt/TRV/set/system_mode", "off")]),
            ("turn_on", {}, [("zigbee2mqtt/TRV/set/system_mode", "heat")]),
        ),
    ),
    "boiler": Case(
        "water_heater",
        {
            "mode_cmd_t": "b/mode/set",
            "mode_stat_t": "b/mode",
            "modes": ["off", "eco"],
            "temp_cmd_t": "b/t/set",
            "temp_stat_t": "b/t",
            "pow_cmd_t": "b/power",
        },
        (("b/mode", "eco"), ("b/t", "55")),
        "eco",
        {"temperature": 55, "operation_mode": "eco"},
        (("turn_off", {}, [("b/power", "OFF")]), ("set_temperature", {"temperature": 50}, [("b/t/set", "50.0")])),
    ),
    "humidifier": Case(
        "humidifier",
        {
            "cmd_t": "h/set",
            "stat_t": "h/state",
            "hum_cmd_t": "h/hum/set",
            "hum_stat_t": "h/hum",
            "min_hum": 30,
            "max_hum": 80,
            "modes": ["eco"],
            "mode_cmd_t": "h/mode",
        },
        (("h/state", "ON"), ("h/hum", "45"), ("h/mode", "eco")),
        "on",
        {"humidity": 45, "mode": "eco"},
        (("set_humidity", {"humidity": 50}, [("h/hum/set", "50")]), ("set_mode", {"mode": "Eco"}, [("h/mode", "eco")])),
    ),
    "zigbee2mqtt lock": Case(
        "lock",
        {
            "command_topic": "zigbee2mqtt/Lock/set",
            "payload_lock": "LOCK",
            "payload_unlock": "UNLOCK",
            "state_locked": "LOCK",
            "state_unlocked": "UNLOCK",
            "state_topic": "zigbee2mqtt/Lock",
            "value_template": "{{ value_json.state }}",
        },
        (("zigbee2mqtt/Lock", {"state": "UNLOCK"}),),
        "unlocked",
        {},
        (("lock", {}, [("zigbee2mqtt/Lock/set", "LOCK")]), ("unlock", {}, [("zigbee2mqtt/Lock/set", "UNLOCK")])),
    ),
    "valve": Case(
        "valve",
        {"cmd_t": "v/set", "stat_t": "v/state"},
        (("v/state", "open"),),
        "open",
        {},
        (("close", {}, [("v/set", "CLOSE")]),),
    ),
    "valve with positions": Case(
        "valve",
        {"cmd_t": "v/set", "stat_t": "v/state", "pos": True},
        (("v/state", {"state": "opening", "position": 10}), ("v/state", "30")),
        "open",
        {"current_position": 30},
        (("close", {}, [("v/set", "0")]), ("set_position", {"position": 60}, [("v/set", "60")])),
    ),
    "valetudo robot": Case(
        "vacuum",
        {
            "cmd_t": "valetudo/r/command",
            "stat_t": "valetudo/r/hass",
            "sup_feat": ["start", "stop", "return_home", "fan_speed"],
            "fanspd_lst": ["low", "max"],
            "set_fan_spd_t": "valetudo/r/fan/set",
        },
        (("valetudo/r/hass", {"state": "cleaning", "battery_level": 80, "fan_speed": "max"}),),
        "cleaning",
        {"battery_level": 80, "fan_speed": "max", "fan_mode": "max"},
        (
            ("start", {}, [("valetudo/r/command", "start")]),
            ("return_to_base", {}, [("valetudo/r/command", "return_to_base")]),
            ("set_fan_mode", {"mode": "low"}, [("valetudo/r/fan/set", "low")]),
        ),
    ),
    "mower": Case(
        "lawn_mower",
        {
            "act_stat_t": "m/state",
            "strt_mw_cmd_t": "m/set",
            "dock_cmd_t": "m/set",
            "dock_cmd_tpl": '{"do": "{{ value }}"}',
        },
        (("m/state", "mowing"),),
        "mowing",
        {},
        (("mow", {}, [("m/set", "start_mowing")]), ("dock", {}, [("m/set", {"do": "dock"})])),
    ),
    "player": Case(
        "media_player",
        {
            "cmd_t": "radio/set",
            "stat_t": "radio/state",
            "payload_play": "PLAY",
            "payload_pause": "PAUSE",
            "payload_mute": "MUTE",
            "volume_command_topic": "radio/volume/set",
            "volume_state_topic": "radio/volume",
            "volume_scale": 100,
            "mute_state_topic": "radio/muted",
            "title_topic": "radio/title",
        },
        (("radio/state", "playing"), ("radio/volume", "40"), ("radio/muted", "OFF"), ("radio/title", "News")),
        "playing",
        {"volume_level": 0.4, "is_volume_muted": False, "media_title": "News"},
        (
            ("pause", {}, [("radio/set", "PAUSE")]),
            ("mute", {}, [("radio/set", "MUTE")]),
            ("set_volume", {"volume_level": 0.255}, [("radio/volume/set", "26")]),
        ),
    ),
    "alarm": Case(
        "alarm_control_panel", {"cmd_t": "a/set", "stat_t": "a/state"}, (("a/state", "armed_away"),), "armed_away", {}
    ),
    "siren": Case(
        "siren",
        {"cmd_t": "s/set", "stat_t": "s/state"},
        (("s/state", {"state": "ON"}),),
        "on",
        {},
        (("turn_off", {}, [("s/set", {"state": "OFF"})]),),
    ),
    "number": Case(
        "number",
        {"cmd_t": "n/set", "stat_t": "n/state", "min": 0, "max": 10, "cmd_tpl": '{"value": {{ value }}}'},
        (("n/state", "3.0"),),
        "3",
        {},
        (("set_value", {"value": 4.5}, [("n/set", {"value": 4.5})]),),
    ),
    "select": Case(
        "select",
        {"cmd_t": "n/set", "stat_t": "n/state", "ops": ["Auto", "Manual"]},
        (("n/state", "Auto"), ("n/state", "Nonsense")),
        "Auto",
        {},
        (("select", {"option": "manual"}, [("n/set", "Manual")]),),
    ),
    "text": Case(
        "text",
        {"cmd_t": "n/set", "stat_t": "n/state"},
        (("n/state", "hello"),),
        "hello",
        {},
        (("set_value", {"value": "there"}, [("n/set", "there")]),),
    ),
    "button": Case(
        "button", {"cmd_t": "b/set", "pl_prs": "go"}, (), "unknown", {}, (("press", {}, [("b/set", "go")]),)
    ),
    "scene": Case(
        "scene", {"cmd_t": "s/set", "pl_on": "movie"}, (), "unknown", {}, (("activate", {}, [("s/set", "movie")]),)
    ),
    "event": Case(
        "event",
        {"stat_t": "e", "evt_typ": ["single", "double"]},
        (("e", {"event_type": "double"}), ("e", {"event_type": "triple"})),
        NOW.isoformat(),
        {"event_type": "double"},
    ),
    "tracker": Case("device_tracker", {"stat_t": "d", "pl_home": "yes"}, (("d", "yes"),), "home", {}),
    "light of templates": Case(
        "light",
        {
            "schema": "template",
            "cmd_t": "t/set",
            "stat_t": "t/state",
            "cmd_on_tpl": "on{% if brightness is defined %},{{ brightness }}{% endif %}"
            "{% if red is defined %},{{ '%02x%02x%02x' | format(red, green, blue) }}{% endif %}",
            "cmd_off_tpl": "off",
            "stat_tpl": "{{ value.split(',')[0] }}",
            "bri_tpl": "{{ value.split(',')[1] }}",
            "r_tpl": "{{ value.split(',')[2] }}",
            "g_tpl": "{{ value.split(',')[3] }}",
            "b_tpl": "{{ value.split(',')[4] }}",
        },
        (("t/state", "on,40,1,2,3"),),
        "on",
        {"brightness": 40, "rgb_color": (1, 2, 3)},
        (
            ("turn_on", {"brightness": 9, "color": "red"}, [("t/set", "on,9,ff0000")]),
            ("turn_off", {}, [("t/set", "off")]),
        ),
    ),
    "light of templates that tells nothing": Case(
        "light",
        {"schema": "template", "cmd_t": "t/set", "cmd_on_tpl": "on", "cmd_off_tpl": "off"},
        (("t/set", "on"),),
        "on",
        {"assumed_state": True},
    ),
    "light by colour alone": Case(
        "light",
        {
            "cmd_t": "l/set",
            "rgb_cmd_t": "l/rgb",
            "hs_cmd_t": "l/hs",
            "on_cmd_type": "first",
            "fx_cmd_t": "l/fx",
            "fx_list": "a",
        },
        (("l/set", "ON"), ("l/rgb", "128,0,0")),
        "on",
        {"rgb_color": (255, 0, 0), "brightness": 128, "assumed_state": True},
        (("turn_on", {"color": "#00ff00", "effect": "a"}, [("l/set", "ON"), ("l/hs", "120.0,100.0"), ("l/fx", "a")]),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_thing_is_read_and_commanded(name: str) -> None:
    case = CASES[name]
    thing = made(case.component, case.config)
    now = heard(thing, *case.messages)
    assert now.state == case.state
    assert {key: now.attributes.get(key) for key in case.attributes} == case.attributes
    if "assumed_state" not in case.attributes and case.messages:
        assert now.available is True
    for action, values, expected in case.orders:
        assert sent(thing, action, now, **values) == expected
        assert action in thing.capabilities
    assert {one for one in thing.capabilities if one in ACTIONS} >= {one[0] for one in case.orders}


def test_every_component_is_shown() -> None:
    assert {case.component for case in CASES.values()} == set(COMPONENTS)


@pytest.mark.parametrize(
    "component, config, order",
    [
        ("switch", {"cmd_t": "a"}, Order("open")),
        ("light", {"cmd_t": "a"}, Order("turn_on", {"brightness": 3})),
        ("light", {"cmd_t": "a", "schema": "json", "rgb": True}, Order("turn_on", {"color": "dark matter"})),
        ("light", {"cmd_t": "a", "schema": "json", "brightness": True}, Order("turn_on", {"brightness": 300})),
        ("fan", {"cmd_t": "a", "pct_cmd_t": "b"}, Order("set_speed", {"percentage": 101})),
        ("fan", {"cmd_t": "a", "pct_cmd_t": "b"}, Order("set_speed", {"percentage": "fast"})),
        ("cover", {"cmd_t": "a"}, Order("set_position", {"position": 5})),
        ("climate", {"temp_cmd_t": "a"}, Order("set_temperature", {"temperature": 90})),
        ("climate", {"mode_cmd_t": "a"}, Order("set_mode", {"mode": "party"})),
        ("select", {"cmd_t": "a", "ops": ["x"]}, Order("select", {"option": "y"})),
        ("number", {"cmd_t": "a"}, Order("set_value", {"value": 0})),
        ("text", {"cmd_t": "a", "max": 3}, Order("set_value", {"value": "long"})),
        ("switch", {"cmd_t": "a", "stat_t": "b", "cmd_tpl": "{{ value.x.y }}"}, Order("turn_on")),
        ("sensor", {"stat_t": "a"}, Order("toggle")),
    ],
)
def test_what_a_thing_cannot_do_is_said(component: str, config: Mapping[str, Any], order: Order) -> None:
    thing = made(component, config)
    assert thing.driver is not None
    with pytest.raises(CannotDo):
        thing.driver.command(order, Condition())


@pytest.mark.parametrize(
    "component, config",
    [
        ("light", {"schema": "json"}),
        ("light", {"cmd_t": "a", "schema": "odd"}),
        ("light", {"cmd_t": "a", "bri_scl": 0}),
        ("light", {"cmd_t": "a/+"}),
        ("light", {"cmd_t": "$SYS/a"}),
        ("cover", {}),
        ("cover", {"cmd_t": "a", "pos_open": 0}),
        ("fan", {"cmd_t": "a", "spd_rng_min": 9, "spd_rng_max": 3}),
        ("select", {"cmd_t": "a", "ops": [{}]}),
        ("number", {"cmd_t": "a", "min": "x"}),
        ("sensor", {"stat_t": "a", "avty": ["x"]}),
        ("sensor", {"stat_t": "a", "val_tpl": "{% for"}),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(component: str, config: Mapping[str, Any]) -> None:
    with pytest.raises(BadDescription):
        made(component, config)


@pytest.mark.parametrize(
    "mode, messages, available",
    [
        ("all", ["a online"], None),
        ("all", ["a online", "b online"], True),
        ("all", ["a online", "b offline"], False),
        ("any", ["a offline"], None),
        ("any", ["a offline", "b online"], True),
        ("any", ["a offline", "b offline"], False),
        ("latest", ["a online", "b offline"], False),
        ("latest", ["b offline", "a online"], True),
        ("latest", ["a online", "a nonsense"], True),
        ("latest", ["a offline", "b online", "a nonsense"], True),
    ],
)
def test_availability_by_several_topics(mode: str, messages: list[str], available: bool | None) -> None:
    thing = made("sensor", {"stat_t": "s", "avty": [{"t": "a"}, {"t": "b"}], "avty_mode": mode})
    told = [(topic, payload) for topic, payload in (message.split() for message in messages)]
    assert heard(thing, *told, ("s", "5")).available is available


def test_a_message_that_says_nothing_changes_nothing() -> None:
    thing = made("sensor", {"stat_t": "s", "val_tpl": "{{ value_json.a.b }}"})
    before = heard(thing, ("s", {"a": {"b": 1}}))
    assert thing.driver is not None
    for payload in (b"", b"{", b"[]", b'{"a": 3}', b"\xff", b'{"a": {"b": "' + b"x" * 70_000 + b'"}}', b'{"a": {}}'):
        assert thing.driver.read("s", payload, before, NOW) is before


@pytest.mark.parametrize(
    ("component", "config", "order", "heard_back"),
    [
        ("switch", {"cmd_t": "a", "cmd_tpl": "{{ value.foo.bar }}"}, Order("turn_on"), None),
        (
            "light",
            {"schema": "template", "cmd_t": "a", "cmd_on_tpl": "on {{ brightness | int }}", "cmd_off_tpl": "off"},
            Order("turn_on"),
            "off",
        ),
    ],
)
def test_a_template_of_commands_that_fails_is_found_out_by_the_command(
    component: str, config: Mapping[str, Any], order: Order, heard_back: str | None
) -> None:
    thing = made(component, config)
    assert thing.driver is not None
    with pytest.raises(CannotDo):
        thing.driver.command(order, Condition())
    if heard_back is not None:
        assert heard(thing, ("a", heard_back)).state == heard_back


def test_a_lock_is_never_unlatched_by_a_toggle() -> None:
    lock = made("lock", {"cmd_t": "a", "stat_t": "b", "pl_open": "UNLATCH"})
    assert lock.driver is not None
    for state, payload in (("LOCKED", "UNLOCK"), ("UNLOCKED", "LOCK"), ("OPEN", "LOCK")):
        assert sent(lock, "toggle", heard(lock, ("b", state))) == [("a", payload)]
    with pytest.raises(CannotDo, match="not known"):
        lock.driver.command(Order("toggle"), Condition())
    one_way = made("cover", {"cmd_t": "a", "stat_t": "b", "pl_cls": None})
    assert one_way.driver is not None
    with pytest.raises(CannotDo):
        one_way.driver.command(Order("toggle"), Condition("closed"))


def test_no_nul_is_read() -> None:
    sensor = made("sensor", {"stat_t": "a", "val_tpl": "{{ value_json.a }}"})
    assert heard(sensor, ("a", r'{"a": "x\u0000y"}')).state == "xy"
    assert heard(made("sensor", {"stat_t": "a"}), ("a", "x\x00y")).state == "xy"


@pytest.mark.parametrize(
    ("component", "config", "order"),
    [
        ("climate", {"mode_cmd_t": "a", "mode_cmd_tpl": '{"mode":"{{ value }}"}'}, Order("set_mode", {"mode": "cool"})),
        (
            "climate",
            {"temp_cmd_t": "a", "temp_cmd_tpl": "{{ (value * 10) | int }}"},
            Order("set_temperature", {"temperature": 21}),
        ),
        ("cover", {"set_pos_t": "a", "set_pos_tpl": "{{ 100 - position }}"}, Order("set_position", {"position": 30})),
        ("text", {"cmd_t": "a", "cmd_tpl": '{"text": {{ value | tojson }}}'}, Order("set_value", {"value": "hi"})),
    ],
)
def test_what_a_template_made_of_a_command_is_not_taken_for_what_is(
    component: str, config: Mapping[str, Any], order: Order
) -> None:
    thing = made(component, config)
    assert isinstance(thing.driver, Driver)
    assert thing.driver.command(order, Condition())
    assert "a" not in thing.driver.topics
    assert thing.driver.assumed is ("temp_cmd_t" not in config)


def test_the_same_event_twice_is_two() -> None:
    bell = made("event", {"stat_t": "e", "evt_typ": "ring"})
    assert bell.driver is not None
    first = heard(bell, ("e", {"event_type": "ring"}))
    later = NOW + timedelta(seconds=1)
    second = bell.driver.read("e", b'{"event_type": "ring"}', first, later)
    assert (second.state, second.changed) == (later.isoformat(), later)


def test_the_few_speeds_of_a_fan_are_told() -> None:
    assert made("fan", {"cmd_t": "a", "pct_cmd_t": "b", "spd_rng_max": 3}).options["percentage"] == ("33", "67", "100")
    assert "percentage" not in made("fan", {"cmd_t": "a", "pct_cmd_t": "b"}).options


def test_orders_are_published_safely() -> None:
    plain, kept = made("button", {"cmd_t": "a"}), made("button", {"cmd_t": "a", "qos": 2, "ret": True})
    assert plain.driver is not None
    assert kept.driver is not None
    assert plain.driver.command(Order("press"), Condition()) == (Publication("a", "PRESS", 1, False),)
    assert kept.driver.command(Order("press"), Condition()) == (Publication("a", "PRESS", 2, True),)


@pytest.mark.parametrize(
    "config, name, object_id",
    [
        ({"name": "Lamp"}, "Lamp", "lamp"),
        ({"name": "Power", "dev": {"name": "Plug"}}, "Plug Power", "plug_power"),
        ({"name": "Plug Power", "dev": {"name": "Plug"}}, "Plug Power", "plug_power"),
        ({"name": None, "dev": {"name": "Lampka nocna ołówka"}}, "Lampka nocna ołówka", "lampka_nocna_olowka"),
        ({"dev_cla": "carbon_dioxide", "dev": {"name": "Air"}}, "Air Carbon dioxide", "air_carbon_dioxide"),
        ({"name": "L'entrée"}, "L'entrée", "l_entree"),
        ({"name": "Lamp", "obj_id": "Other Lamp"}, "Lamp", "other_lamp"),
        ({"name": "Lamp", "def_ent_id": "light.third"}, "Lamp", "third"),
        ({"name": "灯"}, "灯", "place"),
        ({"name": ["x"]}, "place", "place"),
        ({}, "place", "place"),
    ],
)
def test_names_and_ids_are_as_in_home_assistant(config: Mapping[str, Any], name: str, object_id: str) -> None:
    description = described("light", config, "place")
    assert (name_of(description), object_of(description)) == (name, object_id)


def test_what_only_adjusts_a_device_is_not_exposed() -> None:
    assert made("sensor", {"stat_t": "s"}).exposed
    assert not made("sensor", {"stat_t": "s", "ent_cat": "diagnostic"}).exposed
    assert not made("sensor", {"stat_t": "s", "en": False}).exposed


@given(st.integers(0, 255), st.integers(0, 255), st.randoms())
def test_colours_survive_being_sent(one: int, other: int, order: random.Random) -> None:
    parts = [255, one, other]
    order.shuffle(parts)
    rgb = (parts[0], parts[1], parts[2])
    assert rgb_from_hs(*hs_of(rgb)) == pytest.approx(rgb, abs=1)
    assert rgb_from_xy(*xy_of(rgb)) == pytest.approx(rgb, abs=12)
    assert rgb_of(f"#{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}") == rgb


ALL_KEYS = sorted({key for case in CASES.values() for key in case.config} | {"~", "dev", "cmps", "avty_tpl", "off_dly"})
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{{ value }}", "a/b", "~", "None"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["t", "topic", "val_tpl", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.sampled_from(sorted(CASES)),
    st.dictionaries(st.sampled_from(ALL_KEYS), JUNK, max_size=4),
    st.lists(st.one_of(JUNK, st.binary(max_size=20)), max_size=4),
    st.sampled_from(sorted(ACTIONS)),
    JUNK,
)
def test_no_description_message_or_order_raises_what_is_not_expected(
    name: str, changes: Mapping[str, Any], payloads: list[Any], action: str, value: Any
) -> None:
    case = CASES[name]
    try:
        thing = made(case.component, {**case.config, **changes})
    except BadDescription:
        return
    assert isinstance(thing.driver, Driver)
    now = Condition()
    said = [payload if isinstance(payload, bytes) else _encoded(payload) for payload in payloads]
    said += [_encoded(payload) for _, payload in case.messages]
    for topic in thing.driver.topics:
        for payload in said:
            now = thing.driver.read(topic, payload, now, NOW)
    assert isinstance(now.state, str)
    orjson.dumps(dict(now.attributes))
    for values in ({}, dict.fromkeys(ACTIONS[action], value)):
        try:
            made_of_it = thing.driver.command(Order(action, values), now)
        except CannotDo:
            continue
        assert all(isinstance(one.payload, str) for one in made_of_it)


def _encoded(payload: Any) -> bytes:
    if isinstance(payload, str):
        return payload.encode(errors="replace")
    try:
        return orjson.dumps(payload)
    except (TypeError, orjson.JSONEncodeError):
        return repr(payload).encode()


@given(st.text(max_size=40))
def test_a_slug_is_a_part_of_an_id(name: str) -> None:
    slug = slug_of(name)
    assert slug == slug_of(slug)
    assert not set(slug) - set("abcdefghijklmnopqrstuvwxyz0123456789_")
