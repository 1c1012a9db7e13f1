"""Things that devices describe on a real broker, in the forms in which Tasmota, ESPHome, zigbee2mqtt and others do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.app import open_gateway
from gateway.config import MqttSettings, Settings
from gateway.edge import keys
from gateway.home.line import Message
from gateway.home.link import HOME_ASSISTANT_TOPIC, Link
from gateway.home.platforms.discovery import FILTERS, Discovery
from gateway.home.registry import Change, Registry
from gateway.home.things import Condition, Order, Thing
from gateway.metrics import Metrics
from tests.mosquitto_server import Mosquitto

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


class Home:
    """A registry that learns by discovery from a broker, and a second link: the devices'."""

    def __init__(self, devices: Link, registry: Registry, discovery: Discovery) -> None:
        self.devices = devices
        self.registry = registry
        self.discovery = discovery

    def publish(self, topic: str, payload: Any, *, retain: bool = True) -> None:
        text = payload if isinstance(payload, (str, bytes)) else orjson.dumps(payload)
        # One QoS for all: a broker keeps the order only of messages of the same one.
        self.devices.publish(topic, text, qos=1, retain=retain)

    async def thing(self, thing_id: str, holds: Callable[[Thing], bool] = lambda thing: True) -> Thing:
        """Waits until there is such a thing."""
        await self._until(lambda: thing_id in self.registry.things and holds(self.registry.things[thing_id]))
        return self.registry.things[thing_id]

    async def gone(self, thing_id: str) -> None:
        await self._until(lambda: thing_id not in self.registry.things)

    async def _until(self, holds: Callable[[], bool]) -> None:
        changed = asyncio.Event()

        def watch(change: Change) -> None:
            changed.set()

        with self.registry.watching(watch):
            async with asyncio.timeout(20):
                while not holds():
                    changed.clear()
                    await changed.wait()

    async def stands(self, thing_id: str, state: str, **attributes: Any) -> Condition:
        """Waits until a thing stands so."""

        def holds(now: Condition) -> bool:
            return now.state == state and attributes.items() <= dict(now.attributes).items()

        found = await self.registry.until(thing_id, holds, 20)
        assert found is not None, self.registry.condition(thing_id)
        return found


@asynccontextmanager
async def home(broker: Mosquitto, **options: Any) -> AsyncIterator[Home]:
    settings = MqttSettings(url=SecretStr(broker.url))
    async with Link(settings, "gateway") as link, Link(settings, "devices") as devices:
        registry = Registry()
        discovery = Discovery(link, registry, lambda: NOW, **options)
        discovery.open()
        here = Home(devices, registry, discovery)
        # Once a first thing came and went, what is not kept by the broker is heard too.
        here.publish("homeassistant/button/first/config", {"name": "First", "cmd_t": "first"})
        await here.thing("button.first")
        here.publish("homeassistant/button/first/config", "")
        await here.gone("button.first")
        try:
            yield here
        finally:
            discovery.close()


def sent(thing: Thing, action: str, now: Condition | None = None, **values: Any) -> list[tuple[str, Any]]:
    """What an order publishes; JSON read."""
    assert thing.driver is not None
    made = thing.driver.command(Order(action, values), now or Condition())
    return [(one.topic, orjson.loads(one.payload) if one.payload.startswith("{") else one.payload) for one in made]


def here_and_now() -> tuple[Registry, Callable[[str, Any], None]]:
    """A registry that learns without a broker, and how it hears something."""
    link = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1")), "nowhere")
    registry = Registry()
    discovery = Discovery(link, registry, lambda: NOW)

    def hear(topic: str, payload: Any) -> None:
        message = Message(topic, payload.encode() if isinstance(payload, str) else orjson.dumps(payload))
        listen = discovery._heard if topic.startswith("homeassistant/") else discovery._following._heard
        listen(message)

    return registry, hear


DEVICE: Mapping[str, Any] = {"ids": ["kit_1"], "name": "Kitchen lamp", "sa": "Kitchen", "mf": "Somebody"}


async def test_a_light_is_learned_told_and_commanded(broker: Mosquitto) -> None:
    async with home(broker) as here:
        here.publish(
            "homeassistant/light/kit_1/config",
            {
                "~": "kitchen/lamp",
                "name": None,
                "uniq_id": "kit_1",
                "schema": "json",
                "cmd_t": "~/set",
                "stat_t": "~/state",
                "avty": [{"t": "~/online", "val_tpl": "{{ value_json.state }}"}],
                "brightness": True,
                "sup_clrm": ["xy", "color_temp"],
                "dev": DEVICE,
            },
        )
        lamp = await here.thing("light.kitchen_lamp")
        assert (lamp.name, lamp.area, lamp.device, lamp.origin) == (
            "Kitchen lamp",
            "Kitchen",
            "Kitchen lamp",
            "discovery",
        )
        assert lamp.capabilities >= {"turn_on", "turn_off", "toggle", "brightness", "color", "color_temp_kelvin"}
        here.publish("kitchen/lamp/online", {"state": "online"})
        here.publish(
            "kitchen/lamp/state", {"state": "ON", "brightness": 127, "color_mode": "color_temp", "color_temp": 370}
        )
        now = await here.stands("light.kitchen_lamp", "on", brightness=127, color_temp_kelvin=2703)
        assert now.available is True
        here.publish("kitchen/lamp/online", {"state": "offline"})
        assert await here.registry.until("light.kitchen_lamp", lambda now: now.available is False, 20)
        assert sent(lamp, "turn_on", brightness=255) == [("kitchen/lamp/set", {"state": "ON", "brightness": 255})]
        [(_, red)] = sent(lamp, "turn_on", color="red")
        assert red["color"] == pytest.approx({"x": 0.64, "y": 0.33}, abs=0.01)
        assert sent(lamp, "turn_off") == [("kitchen/lamp/set", {"state": "OFF"})]
        assert sent(lamp, "toggle", now) == [("kitchen/lamp/set", {"state": "OFF"})]


async def test_a_switch_and_sensors_of_one_topic_are_all_told_by_its_one_kept_message(broker: Mosquitto) -> None:
    async with home(broker) as here:
        here.publish("plug/state", {"power": 12.5, "state": "ON"})
        base = {"stat_t": "plug/state", "dev": {"ids": ["plug"], "name": "Plug"}}
        here.publish(
            "homeassistant/switch/plug/socket/config",
            base | {"name": None, "cmd_t": "plug/set", "val_tpl": "{{ value_json.state }}", "uniq_id": "p1"},
        )
        await here.stands("switch.plug", "on")
        here.publish(
            "homeassistant/sensor/plug/power/config",
            base | {"name": "Power", "val_tpl": "{{ value_json.power }}", "unit_of_meas": "W", "dev_cla": "power"},
        )
        power = await here.thing("sensor.plug_power")
        assert (power.name, power.unit, power.device_class) == ("Plug Power", "W", "power")
        await here.stands("sensor.plug_power", "12.5")
        here.publish("homeassistant/switch/plug/socket/config", "")
        await here.gone("switch.plug")
        here.publish("plug/state", {"power": 13, "state": "OFF"})
        await here.stands("sensor.plug_power", "13")


async def test_a_device_tells_of_all_its_components_and_takes_one_back(broker: Mosquitto) -> None:
    device = {
        "dev": {"ids": "heater", "name": "Heater", "sa": "Bath"},
        "o": {"name": "maker"},
        "~": "heater",
        "avty_t": "~/online",
        "stat_t": "~/state",
        "cmps": {
            "power": {
                "p": "switch",
                "uniq_id": "h1",
                "name": "Power",
                "cmd_t": "~/set",
                "val_tpl": "{{ value_json.p }}",
            },
            "warm": {"p": "sensor", "uniq_id": "h2", "dev_cla": "temperature", "val_tpl": "{{ value_json.t }}"},
            "photo": {"p": "camera", "uniq_id": "h3", "t": "heater/picture"},
        },
    }
    async with home(broker) as here:
        here.publish("homeassistant/device/heater/config", device)
        await here.thing("sensor.heater_temperature")
        assert set(here.registry.things) == {"switch.heater_power", "sensor.heater_temperature"}
        here.publish("heater/online", "offline")
        here.publish("heater/state", {"p": "OFF", "t": 40})
        await here.stands("sensor.heater_temperature", "40")
        assert (await here.stands("switch.heater_power", "off")).available is False
        here.publish(
            "homeassistant/device/heater/config", device | {"cmps": device["cmps"] | {"warm": {"p": "sensor"}}}
        )
        await here.gone("sensor.heater_temperature")
        assert set(here.registry.things) == {"switch.heater_power"}
        here.publish("homeassistant/device/heater/config", "")
        await here.gone("switch.heater_power")


async def test_what_is_junk_is_counted_and_the_rest_is_learned(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    junk: list[Any] = [
        b"\xff\xfe",
        "{",
        "[]",
        "7",
        "{}",
        {"cmd_t": "a/#"},
        {"cmd_t": ["a"]},
        {"cmd_t": "a", "stat_t": "b", "val_tpl": "{{ "},
        {"cmd_t": "a" * 70_000},
    ]
    async with home(broker) as here:
        for payload in junk:
            here.publish("homeassistant/switch/junk/config", payload, retain=False)
        here.publish("homeassistant/toaster/junk/config", {"cmd_t": "a"}, retain=False)
        here.publish("homeassistant/switch/good/config", {"name": "Good", "cmd_t": "good/set"}, retain=False)
        await here.thing("switch.good")
        assert set(here.registry.things) == {"switch.good"}
        assert here.discovery.refused == len(junk) + 1
        assert caplog.text.count("cannot be used") == 2


async def test_our_own_device_is_not_taken_for_one_of_the_home(broker: Mosquitto) -> None:
    async with home(broker) as here:
        components = {"cache": {"p": "switch", "uniq_id": "c", "cmd_t": "ai-gateway/cache/set"}}
        ours = {"dev": {"ids": "gw"}, "o": {"name": "ai-gateway"}, "cmps": components}
        here.publish("homeassistant/device/ai-gateway/config", ours)
        here.publish("homeassistant/switch/good/config", {"name": "Good", "cmd_t": "good/set"})
        await here.thing("switch.good")
        assert set(here.registry.things) == {"switch.good"}


async def test_two_of_one_name_get_two_ids_and_keep_them(broker: Mosquitto) -> None:
    lamps = {key: {"name": "Lamp", "cmd_t": f"{key}/set", "uniq_id": key} for key in ("a", "b")}
    async with home(broker) as here:
        for key in ("a", "b"):
            here.publish(f"homeassistant/switch/{key}/config", lamps[key], retain=False)
        second = await here.thing("switch.lamp_2")
        assert sent(second, "turn_on") == [("b/set", "ON")]
        here.publish("homeassistant/switch/a/config", "", retain=False)
        await here.gone("switch.lamp")
        here.publish("homeassistant/switch/b/config", lamps["b"] | {"name": "Other"}, retain=False)
        await here.thing("switch.lamp_2", lambda thing: thing.name == "Other")
        here.publish("homeassistant/switch/a/config", lamps["a"], retain=False)
        await here.thing("switch.lamp")
        ids = here.discovery.given
    assert ids == {"switch/a": "switch.lamp", "switch/b": "switch.lamp_2"}
    async with home(broker, ids=ids) as here:
        here.publish("homeassistant/switch/b/config", lamps["b"], retain=False)
        assert sent(await here.thing("switch.lamp_2"), "turn_on") == [("b/set", "ON")]


async def test_a_switch_that_never_tells_is_taken_to_be_as_it_was_commanded_by_anyone(broker: Mosquitto) -> None:
    async with home(broker) as here:
        here.publish(
            "homeassistant/switch/fan/config", {"name": "Fan", "cmd_t": "fan/set", "pl_on": "1", "pl_off": "0"}
        )
        await here.thing("switch.fan")
        assert here.registry.condition("switch.fan").attributes == {"assumed_state": True}
        here.publish("fan/set", "1")
        await here.stands("switch.fan", "on", assumed_state=True)
        here.publish(
            "homeassistant/switch/fan/config",
            {"name": "Fan", "cmd_t": "fan/set", "stat_t": "fan/state", "pl_on": "1", "pl_off": "0"},
        )
        here.publish("fan/state", "0")
        assert "assumed_state" not in (await here.stands("switch.fan", "off")).attributes
        here.publish(
            "homeassistant/switch/fan/config",
            {"name": "Fan", "cmd_t": "fan/set", "stat_t": "fan/state", "pl_on": "1", "pl_off": "0", "opt": True},
        )
        await here.stands("switch.fan", "on", assumed_state=True)
        here.publish("fan/state", "0")
        await here.stands("switch.fan", "off", assumed_state=True)


async def test_motion_that_is_not_taken_back_ends_by_itself(broker: Mosquitto) -> None:
    config = {"name": "Motion", "stat_t": "motion", "off_dly": 0.01, "pl_on": "motion"}
    async with home(broker) as here:
        here.publish("homeassistant/binary_sensor/m/config", config)
        await here.thing("binary_sensor.motion")
        states: asyncio.Queue[str] = asyncio.Queue()
        with here.registry.watching(lambda change: states.put_nowait(change.now.state)):
            here.publish("motion", "motion")
            async with asyncio.timeout(20):
                assert [await states.get(), await states.get()] == ["on", "off"]


KEYS = ["dev", "o", "cmps", "~", "name", "uniq_id", "cmd_t", "stat_t", "p", "avty", "val_tpl", "def_ent_id", "sa", "x"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["switch", "light", "a/b", "~/c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)
TOPICS = [
    f"homeassistant/{place}/config" for place in ("switch/a", "light/n/b", "device/c", "device/n/d", "odd/e", "x")
]


@given(st.lists(st.tuples(st.sampled_from(TOPICS), VALUES | st.binary(max_size=9) | st.just(b"")), max_size=12))
def test_no_message_raises_and_what_is_told_is_what_is_there(messages: list[tuple[str, Any]]) -> None:
    registry = Registry()
    link = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1")), "nowhere")
    discovery = Discovery(link, registry, lambda: NOW)
    discovery.open()
    for topic, payload in messages:
        text = payload if isinstance(payload, bytes) else _json(payload)
        discovery._heard(Message(topic, text))
    assert set(registry.things) == set(discovery._owners)
    for thing_id, thing in registry.things.items():
        assert thing.id == thing_id
        assert thing.name
    # Each is taken back by an empty message where it was told, and then nothing is left.
    for topic in TOPICS:
        discovery._heard(Message(topic, b""))
    assert not registry.things
    assert not discovery._described
    assert not discovery._tellers
    assert link.topics == {*FILTERS, HOME_ASSISTANT_TOPIC}


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer that JSON's usual readers cannot hold
        return b"{}"


def test_no_more_things_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.home.platforms.discovery.MAX_THINGS", 3)
    registry = Registry()
    link = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1")), "nowhere")
    metrics = Metrics()
    discovery = Discovery(link, registry, lambda: NOW, metrics=metrics)
    for number in range(5):
        told = orjson.dumps({"name": f"Lamp {number}", "cmd_t": "a"})
        discovery._heard(Message(f"homeassistant/switch/{number}/config", told))
    assert set(registry.things) == {"switch.lamp_0", "switch.lamp_1", "switch.lamp_2"}
    assert discovery.refused == 2
    assert metrics.registry.get_sample_value("gateway_discovery_refused_total") == 2
    discovery._heard(Message("homeassistant/switch/0/config", b""))
    discovery._heard(Message("homeassistant/switch/4/config", orjson.dumps({"name": "Lamp 4", "cmd_t": "a"})))
    assert set(registry.things) == {"switch.lamp_1", "switch.lamp_2", "switch.lamp_4"}


def test_a_topic_is_followed_as_long_as_a_thing_is_told_by_it() -> None:
    link = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1")), "nowhere")
    discovery = Discovery(link, Registry(), lambda: NOW)

    def told(name: str, config: Any) -> set[str]:
        payload = orjson.dumps(config) if config else b""
        discovery._heard(Message(f"homeassistant/sensor/{name}/config", payload))
        return link.topics - {HOME_ASSISTANT_TOPIC}

    assert told("a", {"name": "A", "stat_t": "one"}) == {"one"}
    assert told("b", {"name": "B", "stat_t": "one", "avty_t": "two"}) == {"one", "two"}
    assert told("a", {"name": "A", "stat_t": "three"}) == {"one", "two", "three"}
    assert told("b", None) == {"three"}
    assert told("a", None) == set()


def test_an_id_that_is_given_up_is_free_for_another() -> None:
    registry = Registry()
    discovery = Discovery(Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1")), "nowhere"), registry, lambda: NOW)

    def told(place: str, unique: str) -> list[str]:
        payload = orjson.dumps({"name": "Lamp", "cmd_t": "a", "uniq_id": unique}) if unique else b""
        discovery._heard(Message(f"homeassistant/switch/{place}/config", payload))
        return sorted(registry.things)

    assert told("old", "1") == ["switch.lamp"]
    assert told("old", "") == []
    assert told("new", "2") == ["switch.lamp"]
    assert discovery.given == {"switch/2": "switch.lamp"}
    assert told("old", "1") == ["switch.lamp", "switch.lamp_2"]
    assert discovery.given == {"switch/1": "switch.lamp_2", "switch/2": "switch.lamp"}


def test_a_thing_is_there_as_long_as_one_topic_describes_it() -> None:
    registry, hear = here_and_now()
    lamp = {"name": "Lamp", "uniq_id": "1"}

    def commanded() -> list[str]:
        return [topic for thing in registry.things.values() for topic, _ in sent(thing, "turn_on")]

    hear("homeassistant/switch/old/config", lamp | {"cmd_t": "a"})
    hear("homeassistant/switch/new/config", lamp | {"cmd_t": "b"})
    assert commanded() == ["b"]
    hear("homeassistant/switch/new/config", "")
    assert commanded() == ["a"]
    hear("homeassistant/switch/old/config", "")
    assert not registry.things


def test_what_comes_in_the_place_of_another_has_its_id() -> None:
    registry, hear = here_and_now()
    for unique in ("1", "2"):
        hear("homeassistant/switch/lamp/config", {"name": "Lamp", "cmd_t": "a", "uniq_id": unique})
        assert set(registry.things) == {"switch.lamp"}


def test_parts_of_a_device_have_each_its_own_base() -> None:
    registry, hear = here_and_now()
    parts = {one: {"p": "switch", "~": one, "name": one, "cmd_t": "~/set"} for one in ("a", "b")}
    hear("homeassistant/device/d/config", {"dev": {"ids": "d"}, "o": {}, "avty": {"t": "~/online"}, "cmps": parts})
    topics = {thing.driver.topics[0] for thing in registry.things.values() if thing.driver is not None}
    assert topics == {"a/online", "b/online"}


async def test_a_device_that_moves_to_another_topic_is_one_thing(broker: Mosquitto) -> None:
    lamp = {"name": "Lamp", "cmd_t": "lamp/set", "uniq_id": "lamp"}
    async with home(broker) as here:
        here.publish("homeassistant/switch/lamp/config", lamp)
        await here.thing("switch.lamp")
        whole = {"dev": {"ids": "l", "name": "Hall"}, "o": {"name": "x"}, "cmps": {"lamp": lamp | {"p": "switch"}}}
        here.publish("homeassistant/device/lamp/config", whole)
        await here.thing("switch.lamp", lambda thing: thing.name == "Hall Lamp")
        here.publish("homeassistant/switch/lamp/config", "")
        here.publish("homeassistant/switch/last/config", {"name": "Last", "cmd_t": "last"})
        await here.thing("switch.last")
        assert set(here.registry.things) == {"switch.lamp", "switch.last"}


async def test_what_a_broker_kept_of_an_event_is_no_event(broker: Mosquitto) -> None:
    config = {"name": "Bell", "stat_t": "bell", "evt_typ": ["ring"]}
    async with home(broker) as here:
        here.publish("bell", {"event_type": "ring"})
        here.publish("homeassistant/event/bell/config", config)
        here.publish("homeassistant/sensor/bell/config", {"name": "Bell", "stat_t": "bell", "val_tpl": "heard"})
        await here.stands("sensor.bell", "heard")
        assert here.registry.condition("event.bell").state == "unknown"
        here.publish("bell", {"event_type": "ring"}, retain=False)
        await here.stands("event.bell", NOW.isoformat(), event_type="ring")


async def test_a_sensor_that_is_silent_for_too_long_is_out_of_reach(broker: Mosquitto) -> None:
    async with home(broker) as here:
        here.publish("homeassistant/sensor/s/config", {"name": "S", "stat_t": "s", "exp_aft": 0.01})
        await here.thing("sensor.s")
        heard: asyncio.Queue[bool | None] = asyncio.Queue()
        with here.registry.watching(lambda change: heard.put_nowait(change.now.available)):
            here.publish("s", "5")
            async with asyncio.timeout(20):
                assert [await heard.get(), await heard.get()] == [True, False]


class Clock:
    """A loop's timers, which end when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self._timers: list[tuple[float, asyncio.TimerHandle]] = []
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def call_later(self, seconds: float, act: Callable[..., None], *given: Any) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(self.seconds + seconds, act, given, self)  # type: ignore[arg-type]
        self._timers.append((self.seconds + seconds, timer))
        return timer

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """As a loop has it."""

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        due = [timer for when, timer in self._timers if when <= self.seconds]
        self._timers = [(when, timer) for when, timer in self._timers if when > self.seconds]
        for timer in due:
            if not timer.cancelled():
                timer._run()


def test_what_no_longer_expires_stands_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    registry, hear = here_and_now()
    door = {"name": "Door", "stat_t": "door"}
    for lapse in ({"off_dly": 5}, {"exp_aft": 5}):
        hear("homeassistant/binary_sensor/door/config", door | lapse)
        hear("door", "ON")
        hear("homeassistant/binary_sensor/door/config", door)
        clock.passes(60)
        now = registry.condition("binary_sensor.door")
        assert (now.state, now.available) == ("on", True)


def test_availability_does_not_keep_a_state_from_lapsing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    registry, hear = here_and_now()
    sensor = {"name": "S", "stat_t": "s", "avty_t": "a", "pl_on": "1", "pl_off": "0"}
    hear("homeassistant/binary_sensor/s/config", sensor | {"off_dly": 5, "exp_aft": 30})

    def stands() -> tuple[str, bool | None]:
        now = registry.condition("binary_sensor.s")
        return now.state, now.available

    hear("a", "online")
    hear("s", "1")
    for seconds, then in ((4, ("on", True)), (4, ("off", True)), (20, ("off", True)), (4, ("off", False))):
        clock.passes(seconds)
        hear("a", "online")
        hear("s", "nonsense")
        assert stands() == then
    hear("s", "1")
    assert stands() == ("on", True)
    hear("a", "offline")
    hear("s", "0")
    assert stands() == ("off", False)


async def test_the_gateway_learns_things_from_its_broker(settings: Settings, broker: Mosquitto) -> None:
    with_broker = settings.model_copy(update={"mqtt": MqttSettings(url=SecretStr(broker.url))})
    async with Link(MqttSettings(url=SecretStr(broker.url)), "devices") as devices:
        devices.publish("homeassistant/switch/lamp/config", b'{"name": "Lamp", "cmd_t": "lamp/set"}', retain=True)
        async with open_gateway(with_broker, lambda words: None) as gateway:
            registry = gateway.application[keys.REGISTRY]
            assert await registry.until("switch.lamp", lambda now: "assumed_state" in now.attributes, 20)
            assert [one.names for one in registry.entities()] == [("Lamp", "switch.lamp")]


async def test_what_was_heard_of_its_availability_is_known_after_it_is_described_again(broker: Mosquitto) -> None:
    lamp = {"name": "Lamp", "cmd_t": "lamp/set", "avty": [{"t": "power"}, {"t": "net"}], "avty_mode": "all"}
    async with home(broker) as here:
        here.publish("homeassistant/switch/lamp/config", lamp)
        await here.thing("switch.lamp")
        for topic in ("power", "net"):
            here.publish(topic, "online")
        assert await here.registry.until("switch.lamp", lambda now: now.available is True, 20)
        here.publish("homeassistant/switch/lamp/config", lamp)
        here.publish("net", "offline")
        assert await here.registry.until("switch.lamp", lambda now: now.available is False, 20)
        here.publish("net", "online")
        assert await here.registry.until("switch.lamp", lambda now: now.available is True, 20)
