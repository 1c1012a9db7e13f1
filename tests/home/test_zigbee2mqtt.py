"""zigbee2mqtt's devices and groups: what they are, how they stand, how they are moved; over a real broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.config import MqttSettings
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.zigbee2mqtt import Zigbee2Mqtt, things_of
from gateway.home.registry import Registry
from gateway.home.things import CannotDo, Condition, Order, Thing
from tests.mosquitto_server import Mosquitto

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def binary(name: str, access: int = 7, **more: Any) -> dict[str, Any]:
    return {"type": "binary", "name": name, "property": name, "access": access} | more


def numeric(name: str, least: float | None = None, most: float | None = None, **more: Any) -> dict[str, Any]:
    bounds = {} if most is None else {"value_min": least, "value_max": most}
    return {"type": "numeric", "name": name, "property": name, "access": 7} | bounds | more


STATE = binary("state", value_on="ON", value_off="OFF", value_toggle="TOGGLE")
BRIGHTNESS = numeric("brightness", 0, 254)
COLOR_TEMP = numeric("color_temp", 150, 500, unit="mired")
COLOR = {
    "type": "composite",
    "name": "color_xy",
    "property": "color",
    "access": 7,
    "features": [numeric("x"), numeric("y")],
}
LIGHT = {"type": "light", "features": [STATE, BRIGHTNESS, COLOR_TEMP, COLOR]}
LINK = numeric("linkquality", 0, 255, access=1, category="diagnostic")


def device(name: str, *exposes: Mapping[str, Any], address: str = "0x1", **more: Any) -> dict[str, Any]:
    return {
        "ieee_address": address,
        "type": "Router",
        "friendly_name": name,
        "definition": {"model": "M", "vendor": "V", "exposes": list(exposes)},
    } | more


def only(*exposes: Mapping[str, Any], name: str = "kitchen/desk_lamp") -> Thing:
    (thing,) = things_of("zigbee2mqtt", device(name, *exposes))
    return thing


def heard(thing: Thing, told: Any, before: Condition | None = None) -> Condition:
    assert thing.driver is not None
    return thing.driver.read(thing.driver.topics[0], json.dumps(told).encode(), before or Condition(), AT)


def sent(thing: Thing, action: str, now: Condition | None = None, **values: Any) -> Any:
    assert thing.driver is not None
    (one,) = thing.driver.command(Order(action, values), now or Condition())
    assert one.topic == f"{thing.driver.topics[0]}/set"
    return json.loads(one.payload)


def test_a_light() -> None:
    lamp = only(LIGHT)
    assert (lamp.id, lamp.name, lamp.origin) == ("light.kitchen_desk_lamp", "kitchen desk lamp", "zigbee2mqtt")
    assert {"brightness", "color_temp_kelvin", "rgb_color", "turn_on"} <= lamp.capabilities
    assert lamp.limits["color_temp_kelvin"] == (2000, 6667)
    warm = heard(lamp, {"state": "ON", "brightness": 127, "color_mode": "color_temp", "color_temp": 370})
    assert (warm.state, warm.attributes["brightness"], warm.attributes["color_temp_kelvin"]) == ("on", 128, 2703)
    red = heard(lamp, {"color_mode": "xy", "color": {"x": 0.7006, "y": 0.2993}, "color_temp": 250}, warm)
    assert red.state == "on"
    assert "color_temp_kelvin" not in red.attributes
    assert red.attributes["rgb_color"][0] == 255
    assert sent(lamp, "turn_on", brightness=255, color="red") == {
        "state": "ON",
        "brightness": 254,
        "color": {"r": 255, "g": 0, "b": 0},
    }
    assert sent(lamp, "turn_on", color_temp_kelvin=2700) == {"state": "ON", "color_temp": 370}
    assert sent(lamp, "turn_on", color_temp_kelvin=100_000) == {"state": "ON", "color_temp": 150}
    assert sent(lamp, "toggle", warm) == {"state": "OFF"}
    with pytest.raises(CannotDo):
        sent(lamp, "open")


def test_what_a_light_does_not_have_it_cannot() -> None:
    bulb = only({"type": "light", "features": [STATE]})
    for values in ({"brightness": 3}, {"color": "red"}, {"color_temp_kelvin": 3000}, {"effect": "blink"}):
        with pytest.raises(CannotDo):
            sent(bulb, "turn_on", **values)


def test_two_endpoints_are_two_things() -> None:
    left = {"type": "switch", "endpoint": "left", "features": [STATE | {"property": "state_left"}]}
    right = {"type": "switch", "endpoint": "right", "features": [STATE | {"property": "state_right"}]}
    one, two = things_of("z", device("hall", left, right))
    assert (one.id, one.name, two.id) == ("switch.hall_left", "hall left", "switch.hall_right")
    assert sent(two, "turn_off") == {"state_right": "OFF"}
    assert heard(two, {"state_left": "ON"}).state == "unknown"
    assert heard(two, {"state_right": "ON"}).state == "on"


def test_each_endpoint_of_a_light_has_its_own_colour() -> None:
    features = [one | {"property": f"{one['property']}_l1"} for one in (STATE, BRIGHTNESS, COLOR_TEMP, COLOR)]
    lamp = only({"type": "light", "endpoint": "l1", "features": features})
    told = {"state_l1": "ON", "color_temp_l1": 300, "color_l1": {"x": 0.7, "y": 0.3, "hue": 120, "saturation": 100}}
    other = {"color_mode_l2": "color_temp", "color_mode": "color_temp"}
    red = heard(lamp, told | other | {"color_mode_l1": "xy"})
    assert "color_temp_kelvin" not in red.attributes
    assert red.attributes["rgb_color"][0] == 255
    assert heard(lamp, told | {"color_mode_l1": "hs"}).attributes["rgb_color"] == (0, 255, 0)
    assert heard(lamp, told | {"color_mode_l1": "color_temp"}).attributes["color_temp_kelvin"] == 3333


def test_a_cover() -> None:
    words = {"type": "enum", "name": "state", "property": "state", "access": 3, "values": ["OPEN", "CLOSE", "STOP"]}
    blind = only({"type": "cover", "features": [words, numeric("position", 0, 100)]}, name="blind")
    assert heard(blind, {"position": 30, "state": "CLOSE"}) == Condition("open", {"current_position": 30}, None, AT, AT)
    assert heard(blind, {"position": 0, "state": "OPEN"}).state == "closed"
    assert heard(blind, {"position": 40, "moving": "UP"}).state == "opening"
    assert sent(blind, "open") == {"state": "OPEN"}
    assert sent(blind, "set_position", position=42) == {"position": 42}
    assert sent(blind, "stop") == {"state": "STOP"}
    with pytest.raises(CannotDo):
        sent(blind, "set_tilt", position=3)


def test_a_lock() -> None:
    state = binary("state", value_on="LOCK", value_off="UNLOCK")
    lock = only({"type": "lock", "features": [state, {"type": "enum", "name": "lock_state", "property": "lock_state"}]})
    assert heard(lock, {"state": "LOCK"}).state == "locked"
    assert heard(lock, {"state": "LOCK", "lock_state": "unlocked"}).state == "unlocked"
    assert sent(lock, "unlock") == {"state": "UNLOCK"}


def test_a_fan() -> None:
    modes = ["off", "low", "medium", "high", "on", "auto"]
    mode = {"type": "enum", "name": "mode", "property": "fan_mode", "access": 7, "values": modes}
    fan = only({"type": "fan", "features": [STATE | {"property": "fan_state"}, mode]})
    assert heard(fan, {"fan_mode": "medium"}).attributes["percentage"] == 67
    assert heard(fan, {"fan_state": "OFF"}).state == "off"
    assert sent(fan, "set_speed", percentage=34) == {"fan_mode": "medium"}
    assert sent(fan, "set_speed", percentage=0) == {"fan_state": "OFF"}
    assert sent(fan, "turn_on", percentage=100) == {"fan_mode": "high"}


def test_a_thermostat() -> None:
    valve = only(
        {
            "type": "climate",
            "features": [
                numeric("occupied_heating_setpoint", 5, 30),
                numeric("local_temperature", access=5),
                {
                    "type": "enum",
                    "name": "system_mode",
                    "property": "system_mode",
                    "access": 7,
                    "values": ["off", "heat"],
                },
                {"type": "enum", "name": "running_state", "property": "running_state", "values": ["idle", "heat"]},
            ],
        }
    )
    told = {"occupied_heating_setpoint": 21, "local_temperature": 19.5, "system_mode": "heat", "running_state": "heat"}
    now = heard(valve, told)
    assert now.state == "heat"
    assert now.attributes["temperature"] == 21
    assert now.attributes["current_temperature"] == 19.5
    assert now.attributes["hvac_action"] == "heating"
    assert valve.limits["temperature"] == (5, 30)
    assert sent(valve, "set_temperature", temperature=22.5) == {"occupied_heating_setpoint": 22.5}
    assert sent(valve, "turn_off") == {"system_mode": "off"}


def test_everything_else() -> None:
    things = {
        thing.id: thing
        for thing in things_of(
            "zigbee2mqtt",
            device(
                "Door",
                binary("contact", 1, value_on=False, value_off=True),
                numeric("temperature", access=1, unit="°C"),
                {"type": "enum", "name": "action", "property": "action", "access": 1, "values": ["single"]},
                {"type": "enum", "name": "mode", "property": "mode", "access": 3, "values": ["a", "b"]},
                numeric("delay", 0, 60, category="config"),
                {"type": "list", "name": "x", "property": "x", "access": 1},
                LINK,
            ),
        )
    }
    assert things.keys() == {
        "binary_sensor.door_contact",
        "sensor.door_temperature",
        "event.door_action",
        "select.door_mode",
        "number.door_delay",
        "sensor.door_linkquality",
    }
    contact = things["binary_sensor.door_contact"]
    assert heard(contact, {"contact": False}).state == "on"
    assert heard(contact, {"contact": True}).state == "off"
    assert contact.device_class == "door"
    warmth = heard(things["sensor.door_temperature"], {"temperature": 21.5})
    assert (warmth.state, warmth.attributes) == ("21.5", {"unit_of_measurement": "°C"})
    assert heard(things["event.door_action"], {"action": "single"}).attributes == {"event_type": "single"}
    assert heard(things["event.door_action"], {"action": ""}) == Condition()
    assert not things["number.door_delay"].exposed
    assert not things["sensor.door_linkquality"].exposed
    assert sent(things["number.door_delay"], "set_value", value=3) == {"delay": 3}
    with pytest.raises(CannotDo):
        sent(things["select.door_mode"], "select", option="c")
    with pytest.raises(CannotDo):
        sent(contact, "turn_on")


def test_what_no_device_takes_is_not_sent() -> None:
    def options(name: str, *values: str) -> dict[str, Any]:
        return {"type": "enum", "name": name, "property": name, "access": 7, "values": list(values)}

    lamp = only({"type": "light", "features": [STATE, BRIGHTNESS, COLOR_TEMP, options("effect", "Blink")]})
    blind = only({"type": "cover", "features": [numeric("position", 0, 100)]})
    fan = only({"type": "fan", "features": [STATE, options("mode", "low", "high")]})
    setpoint, modes = numeric("current_heating_setpoint", 5, 30), options("system_mode", "off", "heat")
    valve = only({"type": "climate", "features": [setpoint, modes, options("fan_mode", "auto", "low")]})
    delay, choice = only(numeric("delay", 0, 60)), only(options("choice", "One", "Two"))
    wrong: list[tuple[Thing, str, dict[str, Any]]] = [
        (lamp, "turn_on", {"color_temp_kelvin": 0}),
        (lamp, "turn_on", {"brightness": None}),
        (lamp, "turn_on", {"brightness": float("nan")}),
        (lamp, "turn_on", {"effect": "rainbow"}),
        (blind, "set_position", {"position": 150}),
        (blind, "set_position", {"position": -1}),
        (blind, "set_position", {}),
        (fan, "set_mode", {"mode": "turbo"}),
        (fan, "set_speed", {"percentage": "much"}),
        (valve, "set_fan_mode", {"mode": "turbo"}),
        (valve, "set_mode", {"mode": "cool"}),
        (valve, "set_temperature", {"temperature": 20, "hvac_mode": "cool"}),
        (valve, "set_temperature", {"temperature": "warm"}),
        (delay, "set_value", {"value": "long"}),
        (choice, "select", {"option": "three"}),
        (choice, "select", {}),
    ]
    for thing, action, values in wrong:
        with pytest.raises(CannotDo):
            sent(thing, action, **values)
    # The device's own spelling is what it understands.
    assert sent(valve, "set_fan_mode", mode="Auto") == {"fan_mode": "auto"}
    assert sent(valve, "set_temperature", temperature=20, hvac_mode="Heat") == {
        "system_mode": "heat",
        "current_heating_setpoint": 20,
    }
    assert sent(fan, "set_mode", mode="HIGH") == {"mode": "high"}
    assert sent(choice, "select", option="two") == {"choice": "Two"}
    assert sent(lamp, "turn_on", effect="blink") == {"state": "ON", "effect": "Blink"}


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "state",
                        "brightness",
                        "color",
                        "color_temp",
                        "color_mode",
                        "position",
                        "x",
                        "y",
                        "hue",
                        "saturation",
                        "fan_mode",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)
def test_no_payload_raises(told: Any) -> None:
    payload = told if isinstance(told, bytes) else json.dumps(told).encode()
    hs = COLOR | {"name": "color_hs"}
    cover = {"type": "cover", "features": [numeric("position"), STATE]}
    fan = {"type": "fan", "features": [{"type": "enum", "name": "mode", "property": "fan_mode", "values": ["low"]}]}
    lamp = {"type": "light", "features": [STATE, BRIGHTNESS, COLOR_TEMP, hs]}
    for thing in things_of("z", device("a", LIGHT, lamp, cover, fan, numeric("state"), binary("state"))):
        assert thing.driver is not None
        for topic in thing.driver.topics:
            thing.driver.read(topic, payload, Condition(), AT)


class Bridge:
    """A zigbee2mqtt of which the test is the one who tells."""

    def __init__(self, link: Link, registry: Registry) -> None:
        self.link = link
        self.registry = registry

    def tell(self, topic: str, told: Any) -> None:
        self.link.publish(f"home/z2m/{topic}", told if isinstance(told, str) else json.dumps(told), retain=True)

    async def until(self, thing_id: str, **wanted: Any) -> Condition:
        def holds(now: Condition) -> bool:
            return all(getattr(now, name, now.attributes.get(name)) == value for name, value in wanted.items())

        found = await self.registry.until(thing_id, holds, 20)
        assert found is not None, self.registry.condition(thing_id)
        return found

    async def until_there(self, *ids: str) -> None:
        there = asyncio.Event()
        with self.registry.watching(lambda _: there.set()):
            async with asyncio.timeout(20):
                while self.registry.things.keys() != set(ids):
                    await there.wait()
                    there.clear()


@pytest.fixture
async def bridge(broker: Mosquitto) -> AsyncIterator[Bridge]:
    settings = MqttSettings(url=SecretStr(broker.url))
    async with Link(settings, "them") as them, Link(settings, "us") as us:
        registry = Registry()
        Zigbee2Mqtt(us, registry, "home/z2m", lambda: datetime.now(UTC)).open()
        yield Bridge(them, registry)


async def test_devices_come_tell_and_go(bridge: Bridge) -> None:
    lamp, plug = device("kitchen/lamp", LIGHT), device("plug", {"type": "switch", "features": [STATE]}, address="0x2")
    bridge.tell("kitchen/lamp", {"state": "ON", "brightness": 254})
    bridge.tell("kitchen/lamp/availability", {"state": "online"})
    bridge.tell("plug/availability", "offline")  # as before 2.0
    bridge.tell("bridge/devices", [device("Coordinator", type="Coordinator", definition=None), lamp, plug])
    assert (await bridge.until("light.kitchen_lamp", state="on", available=True)).attributes["brightness"] == 255
    await bridge.until("switch.plug", available=False)

    bridge.tell("bridge/state", {"state": "offline"})
    await bridge.until("light.kitchen_lamp", available=False, state="on")
    bridge.tell("bridge/state", "online")
    await bridge.until("light.kitchen_lamp", available=True)
    await bridge.until("switch.plug", available=False)

    bridge.tell("bridge/devices", [device("lamp", LIGHT), plug])  # renamed
    await bridge.until_there("light.lamp", "switch.plug")
    bridge.tell("lamp", {"state": "OFF"})
    await bridge.until("light.lamp", state="off")
    bridge.tell("bridge/devices", "no list")
    bridge.tell("bridge/devices", [])
    await bridge.until_there()


async def test_groups_and_their_scenes(bridge: Bridge) -> None:
    plain = device("a", {"type": "light", "features": [STATE]}, address="0xa")
    coloured = device("b", LIGHT, address="0xb")
    bridge.tell("bridge/devices", [plain, coloured])
    group = {
        "friendly_name": "Living room/All",
        "members": [{"ieee_address": "0xa", "endpoint": 1}, {"ieee_address": "0xb", "endpoint": 11}],
        "scenes": [{"id": 3, "name": "Film"}],
    }
    bridge.tell("bridge/groups", [group, {"friendly_name": "empty", "members": []}])
    await bridge.until_there("light.a", "light.b", "light.living_room_all", "scene.living_room_all_film")
    both = bridge.registry.things["light.living_room_all"]
    assert "brightness" in both.capabilities
    bridge.tell("Living room/All", {"state": "ON", "brightness": 127})
    await bridge.until("light.living_room_all", state="on", brightness=128)
    scene = bridge.registry.things["scene.living_room_all_film"]
    assert sent_by(scene) == ("home/z2m/Living room/All/set", {"scene_recall": 3})


def sent_by(scene: Thing) -> tuple[str, Any]:
    assert scene.driver is not None
    (one,) = scene.driver.command(Order("activate"), Condition())
    return one.topic, json.loads(one.payload)


async def test_an_id_stays_with_its_device(bridge: Bridge) -> None:
    kitchen, bedroom, bath = (
        device(name, {"type": "light", "features": [STATE]}, address=address)
        for name, address in (("Кухня", "0xa1"), ("a/b", "0xb2"), ("a_b", "0xc3"))
    )
    bridge.tell("a/b", {"state": "ON"})
    bridge.tell("a_b", {"state": "OFF"})
    bridge.tell("bridge/devices", [kitchen, bedroom, bath])
    await bridge.until_there("light.0xa1", "light.a_b_0xb2", "light.a_b_0xc3")
    await bridge.until("light.a_b_0xb2", state="on")
    await bridge.until("light.a_b_0xc3", state="off")
    bridge.tell("bridge/devices", [bath, kitchen])
    await bridge.until_there("light.0xa1", "light.a_b_0xc3")
    assert bridge.registry.condition("light.a_b_0xc3").state == "off"
    other = bridge.registry.things["light.a_b_0xc3"].driver
    assert other is not None
    assert other.topics[0] == "home/z2m/a_b"


def test_an_id_is_written_with_plain_letters() -> None:
    assert only(LIGHT, name="Kuchyň/Småstad").id == "light.kuchyn_smastad"
    assert only(numeric("temperature", access=1), name="Ванная").id == "sensor.0x1_temperature"


async def test_another_device_of_the_same_id_begins_unknown(bridge: Bridge) -> None:
    switch = {"type": "switch", "features": [STATE]}
    bridge.tell("old/plug", {"state": "ON"})
    bridge.tell("bridge/devices", [device("old/plug", switch)])
    await bridge.until("switch.old_plug", state="on")
    bridge.tell("bridge/devices", [device("old_plug", switch, address="0x2")])
    await bridge.until("switch.old_plug", state="unknown")
    bridge.tell("old_plug", {"state": "OFF"})
    await bridge.until("switch.old_plug", state="off")


async def test_another_device_of_the_same_name_begins_unknown(bridge: Bridge) -> None:
    exposes = {"type": "switch", "features": [STATE]}, numeric("power", access=1)
    bridge.tell("plug", {"state": "ON", "power": 5})
    bridge.tell("plug/availability", "offline")
    bridge.tell("bridge/devices", [device("plug", *exposes)])
    await bridge.until("switch.plug", state="on", available=False)
    await bridge.until("sensor.plug_power", state="5", available=False)
    bridge.tell("plug", "")  # the broker keeps them no longer
    bridge.tell("plug/availability", "")
    bridge.tell("bridge/devices", [device("plug", *exposes, address="0x2")])
    await bridge.until("switch.plug", state="unknown", available=None)
    await bridge.until("sensor.plug_power", state="unknown", available=None)
    bridge.tell("bridge/state", "offline")
    await bridge.until("switch.plug", available=False)
    bridge.tell("bridge/state", "online")
    await bridge.until("switch.plug", available=None)


async def test_what_is_described_later_is_told_by_what_was_heard(bridge: Bridge) -> None:
    switch = {"type": "switch", "features": [STATE]}
    bridge.tell("plug", {"state": "ON", "power": 5})
    bridge.tell("plug/availability", "online")
    bridge.tell("bridge/devices", [device("plug", switch)])
    await bridge.until("switch.plug", state="on", available=True)
    bridge.tell("bridge/devices", [device("plug", switch, numeric("power", access=1))])  # interviewed anew
    await bridge.until("sensor.plug_power", state="5", available=True)
    assert bridge.registry.condition("switch.plug").state == "on"


async def test_what_comes_while_the_bridge_is_away_cannot_be_reached(bridge: Bridge) -> None:
    switch = {"type": "switch", "features": [STATE]}
    bridge.tell("bridge/state", {"state": "offline"})
    bridge.tell("bridge/devices", [device("one", switch)])
    await bridge.until("switch.one", available=False, seen=None)
    bridge.tell("two/availability", {"state": "online"})
    bridge.tell("bridge/devices", [device("one", switch), device("two", switch, address="0x2")])
    await bridge.until("switch.two", available=False)
    bridge.tell("bridge/state", {"state": "online"})
    await bridge.until("switch.two", available=True)


async def test_a_command_arrives_at_the_device(bridge: Bridge) -> None:
    came: asyncio.Queue[Message] = asyncio.Queue()
    bridge.link.subscribe("home/z2m/+/set", came.put_nowait)
    bridge.tell("bridge/devices", [device("lamp", LIGHT)])
    await bridge.until_there("light.lamp")
    driver = bridge.registry.things["light.lamp"].driver
    assert driver is not None
    for one in driver.command(Order("turn_on", {"brightness": 128}), Condition()):
        await bridge.link.send(one.topic, one.payload, qos=one.qos, retain=one.retain)
    message = await asyncio.wait_for(came.get(), 20)
    assert json.loads(message.payload) == {"state": "ON", "brightness": 127}
