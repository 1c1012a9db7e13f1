"""What the household says of its things, and how several sources become one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import orjson
import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings
from gateway.errors import SettingsError
from gateway.home import learning
from gateway.home.configured import Overrides, load, parse
from gateway.home.keeping import Keeping
from gateway.home.learning import Learning, Merging
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms import given_ids
from gateway.home.registry import Change, Registry
from gateway.home.things import Condition, Order, Publication, Thing
from gateway.shapes import Scope
from gateway.store.pool import Database
from tests.mosquitto_server import Mosquitto

LAMP = {"name": "Lamp"}
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXT = """
floors:
  Ground floor: [Kitchen, Hall]
entities:
  light.desk:
    name: Desk lamp
    aliases: [reading light]
    area: kitchen
  "sensor.*_battery": {exposed: false}
  sensor.hall_battery: {exposed: true}
"""


@dataclass(frozen=True)
class Listens:
    topics: tuple[str, ...]

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        return before

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        return ()


def test_what_is_said_of_a_thing() -> None:
    said = parse(TEXT, "entities.yaml")
    lamp = said.applied(Thing("light.desk", "0x1", "zigbee2mqtt"))
    assert (lamp.names, lamp.area, lamp.floor) == (("Desk lamp", "reading light", "0x1"), "kitchen", "Ground floor")
    assert not said.applied(Thing("sensor.attic_battery", "x", "statestream")).exposed
    assert said.applied(Thing("sensor.hall_battery", "x", "statestream")).exposed
    untouched = Thing("light.other", "Other", "discovery")
    assert said.applied(untouched) == untouched
    assert parse("", "entities.yaml") == Overrides()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("entities:\n  light.a:\n    nmae: x\n", "line 3: entities.light.a.nmae: is not known here"),
        ("entities:\n  light.a: {}\n  Light B:\n    name: x\n", "line 3: entities.Light B: is no id"),
        ("entities:\n  light.a:\n    exposed: maybe\n", "line 3: entities.light.a.exposed: Input should be"),
        ("floors:\n  Up: Bedroom\n", "line 2: floors.Up: should be a list of areas"),
        ("rooms: []\n", "line 1: rooms: is not known here"),
        (
            "things:\n  light.a:\n    cmd_t: a\n  light.b: {stat_t: b}\n",
            "line 4: things.light.b: command_topic is missing",
        ),
        ("things:\n  light.a:\n    cmd_t: a\n    stae_topic: b\n", "line 4: things.light.a.stae_topic: no light has"),
        ("things:\n  light.a:\n    cmd_t: a/#\n", "line 2: things.light.a: "),
        ("things:\n  switch.a:\n    cmd_t: a\n    pl_on: on\n", "line 4: things.switch.a.pl_on: should be in quotes"),
        ("things:\n  sensor.a: {stat_t: a, val_tpl: '{{ x'}\n", "line 2: things.sensor.a: "),
        ("things:\n  camera.a: {}\n", "line 2: things.camera.a: camera is nothing that can be described"),
        ("things:\n  light.*: {cmd_t: a}\n", "line 2: things.light.*: is no id"),
        ("things:\n  light.a: x\n", "line 2: things.light.a: should say the topics"),
        ("things: [light.a]\n", "line 1: things: should name things"),
        ("floors: 3\n", "line 1: floors: should name things"),
        ("- a\n", "line 1: should have"),
        ("entities:\n  light.a: {name: 'x\n", "line 3: "),
        ("entities:\n  light.a:\n    exposed: !!bool maybe\n", "line 3: is not YAML (this is no bool)"),
        ("entities:\n  light.a:\n    name: 2026-02-30\n", "line 3: is not YAML (this is no timestamp)"),
        ("entities:\n  light.a:\n    name: !!timestamp x\n", "line 3: is not YAML (this is no timestamp)"),
        ("entities:\n  light.a: !!python/name:os.system x\n", "line 2: is not YAML (could not determine"),
        ("entities: {}\nthings: {}\nentities: {}\n", "line 3: entities stands here twice"),
        ("entities:\n  light.a: {}\n  light.a: {}\n", "line 3: light.a stands here twice"),
        ("entities:\n  light.a: &a {name: *a}\n", "line 2: "),
        ("entities:\n  ? [a]\n  : b\n", "line 2: "),
        ("entities:\n  light.a: " + "[" * 50 + "]" * 50, "line 2: holds too much"),
    ],
)
def test_a_mistake_is_told_by_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"entities\.yaml, line") as caught:
        parse(text, "entities.yaml")
    assert told in caught.value.message


def test_what_is_nested_without_an_end_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match=r"entities\.yaml is not YAML \(it is nested too deeply\)"):
        parse("[" * 1000, "entities.yaml")


def test_the_file_that_ships_says_nothing() -> None:
    shipped = Path(__file__).parents[2] / "config" / "entities.yaml"
    assert load(shipped) == Overrides()
    lines = [line.removeprefix("# ") for line in shipped.read_text().splitlines()[4:]]
    example = parse("\n".join(lines), "x")
    assert example.entities.keys() == {"light.kitchen_desk_lamp"}
    lamp, radio, well = example.things.values()
    assert (lamp.id, lamp.name, lamp.area, lamp.origin) == (
        "light.workbench",
        "Workbench lamp",
        "Workshop",
        "configured",
    )
    assert {"play", "pause", "set_volume"} <= radio.capabilities
    assert (well.id, well.unit) == ("sensor.well", "cm")


def test_a_thing_that_is_described_in_short() -> None:
    (lamp,) = parse(
        "things:\n  light.work_bench:\n    ~: a/b\n    cmd_t: ~/set\n    stat_t: '~'\n    json_attributes_topic: x\n"
        "    avty: {t: ~/online}\n",
        "entities.yaml",
    ).things.values()
    assert lamp.name == "Work bench"
    assert lamp.driver is not None
    assert set(lamp.driver.topics) == {"a/b", "a/b/online"}
    assert [one.topic for one in lamp.driver.command(Order("turn_on", {}), Condition())] == ["a/b/set"]


@pytest.fixture
def sources() -> list[Registry]:
    return [Registry(), Registry(), Registry()]


@pytest.fixture
def merged(sources: list[Registry]) -> Iterator[Registry]:
    registry = Registry()
    with ExitStack() as stack:
        Merging(sources, registry).watch(stack)
        yield registry


def test_of_one_thing_the_first_tells_and_the_others_add(sources: list[Registry], merged: Registry) -> None:
    first, _, last = sources
    last.put(Thing("light.a", "Home Assistant's", "statestream", area="Attic"))
    last.saw("light.a", Condition().told(AT, state="on", effect="blink"))
    driver = Listens(("a",))
    first.put(Thing("light.a", "Lamp", "discovery", driver=driver))
    thing = merged.things["light.a"]
    assert (thing.names, thing.area, thing.driver) == (("Lamp", "Home Assistant's"), "Attic", driver)
    assert merged.condition("light.a").state == "on"
    first.saw("light.a", Condition().told(AT, state="off", brightness=3))
    assert merged.condition("light.a").state == "off"
    assert merged.condition("light.a").attributes == {"effect": "blink", "brightness": 3}
    first.drop("light.a")
    assert (merged.things["light.a"].origin, merged.condition("light.a").state) == ("statestream", "on")
    last.drop("light.a")
    assert not merged.things


def test_what_was_known_before_gives_way_to_what_is_told(sources: list[Registry], merged: Registry) -> None:
    first, second, kept = sources
    old, stood = (
        Thing("light.a", "Old name", "kept", ("older name",), "Attic", "Upper floor", "lamp", "W"),
        Condition().told(AT, state="on", effect="x"),
    )
    kept.put(old, replace(stood, available=True))
    assert (merged.things["light.a"], merged.condition("light.a").state) == (old, "on")
    first.put(Thing("light.a", "Lamp", "discovery"))
    # It is what it is told to be now, and stands as it stood until it says more.
    assert merged.things["light.a"] == Thing("light.a", "Lamp", "discovery")
    assert merged.condition("light.a").state == "on"
    later = AT + timedelta(hours=1)
    first.saw("light.a", Condition().told(later, state="on"))
    now = merged.condition("light.a")
    assert (now.changed, now.seen, now.attributes, now.available) == (AT, later, {}, None)
    # Whether it is there, whoever knows may say.
    second.put(Thing("light.a", "Home Assistant's", "statestream"))
    second.saw("light.a", Condition(available=False))
    assert merged.condition("light.a").available is False
    first.saw("light.a", Condition().told(later, state="off"))
    assert (merged.condition("light.a").state, merged.condition("light.a").changed) == ("off", later)


@pytest.mark.parametrize("discovered_first", [True, False])
def test_a_device_told_by_two_is_one_thing(
    sources: list[Registry], merged: Registry, *, discovered_first: bool
) -> None:
    discovery, zigbee, _ = sources
    discovered = Thing("light.lamp_2", "Lamp", "discovery", driver=Listens(("bridge/x", "zigbee2mqtt/lamp")))
    told = Thing("light.lamp", "lamp", "zigbee2mqtt", driver=Listens(("zigbee2mqtt/lamp", "zigbee2mqtt/lamp/a")))
    steps = [lambda: discovery.put(discovered), lambda: zigbee.put(told)]
    for step in steps if discovered_first else reversed(steps):
        step()
    assert merged.things == {"light.lamp_2": discovered}
    zigbee.saw("light.lamp", Condition().told(AT, state="on"))
    assert merged.things.keys() == {"light.lamp_2"}
    discovery.drop("light.lamp_2")
    assert merged.things.keys() == {"light.lamp"}
    assert merged.condition("light.lamp").state == "on"


async def test_the_file_is_read_anew_and_a_mistake_keeps_what_was_read(broker: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "entities.yaml"
    path.write_text("entities:\n  light.desk: {name: Desk lamp}\n")
    registry, settings = Registry(), MqttSettings(url=SecretStr(broker.url))
    async with Link(settings, "ha") as ha, Link(settings, "us") as us:
        home = HomeSettings(entities_file=path)
        async with Learning(us, registry, home, lambda: datetime.now(UTC)) as learning:
            ha.publish("homeassistant/statestream/light/desk/state", "on", retain=True)
            assert await registry.until("light.desk", lambda now: now.state == "on", 20) is not None
            assert registry.things["light.desk"].names == ("Desk lamp", "desk")

            for wrong in ("entities: [\n", "entities: !!bool maybe\n", "[" * 1000):
                path.write_text(wrong)
                os.utime(path, (1, 1))
                await learning.read()
                assert learning.error is not None
                assert registry.things["light.desk"].name == "Desk lamp"

            names: list[str] = []

            def hear(change: Change) -> None:
                if change.thing is not None:
                    names.append(change.thing.name)

            with registry.watching(hear):
                path.write_text("entities:\n  light.desk: {name: Reading lamp}\n")
                found = await registry.until(
                    "light.desk", lambda _: registry.things["light.desk"].name == "Reading lamp", 20
                )
                assert found is not None
            assert names == ["Reading lamp"]


async def test_the_log_tells_what_is_known(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LOOK_SECONDS", 0)
    caplog.set_level(logging.INFO, learning.__name__)
    settings, home = MqttSettings(url=SecretStr(broker.url)), HomeSettings(entities_file=Path("nowhere.yaml"))

    async def told(words: str) -> None:
        async with asyncio.timeout(20):
            while words not in caplog.text:
                await asyncio.sleep(0)

    async with (
        Link(settings, "ha") as ha,
        Link(settings, "us") as us,
        Learning(us, Registry(), home, lambda: datetime.now(UTC)),
    ):
        await told("things at home: none are known so far")
        ha.publish("homeassistant/statestream/light/desk/state", "on", retain=True)
        await told("things at home: 1 (statestream 1), 1 of them exposed")
    said = [record for record in caplog.records if record.name == learning.__name__]
    assert len(said) == 2, "what has not changed is not said again"


def lamp_at(base: str) -> str:
    return f"""
things:
  light.bench:
    name: Bench
    command_topic: {base}/set
    state_topic: {base}
    availability: [{{topic: {base}/power}}, {{topic: {base}/net}}]
    availability_mode: all
entities:
  light.bench: {{area: Workshop}}
"""


async def test_what_no_platform_tells_of_is_described_in_the_file_and_switched(
    broker: Mosquitto, database: Database, scope: Scope, tmp_path: Path
) -> None:
    path = tmp_path / "entities.yaml"
    path.write_text(lamp_at("bench"))
    home, settings = HomeSettings(entities_file=path), MqttSettings(url=SecretStr(broker.url))

    def now() -> datetime:
        return datetime.now(UTC)

    async with aiomqtt.Client("127.0.0.1", broker.port) as lamp, asyncio.timeout(60):
        await lamp.subscribe("+/set", qos=1)
        for base in ("bench", "desk"):
            await lamp.publish(f"{base}/power", "online", retain=True, qos=1)
            await lamp.publish(f"{base}/net", "online", retain=True, qos=1)
            await lamp.publish(base, "OFF", retain=True, qos=1)
        registry = Registry()
        async with (
            Keeping(registry, database, scope, now) as keeping,
            Link(settings, "us") as us,
            Learning(us, registry, home, now, keeping) as learning,
        ):

            async def switched(action: str, topic: str) -> None:
                driver = registry.things["light.bench"].driver
                assert driver is not None
                (one,) = driver.command(Order(action, {}), registry.condition("light.bench"))
                await us.send(one.topic, one.payload)
                came = await anext(lamp.messages)
                assert came.topic.value == topic
                await lamp.publish(topic.removesuffix("/set"), came.payload, retain=True, qos=1)
                assert await registry.until("light.bench", lambda now: now.state == action.removeprefix("turn_"), 20)

            ready = await registry.until("light.bench", lambda now: now.available is True and now.state == "off", 20)
            assert ready is not None
            thing = registry.things["light.bench"]
            assert (thing.name, thing.area, thing.origin) == ("Bench", "Workshop", "configured")
            await switched("turn_on", "bench/set")

            # Called otherwise, it is as available as before, and a single topic decides again.
            path.write_text(lamp_at("bench").replace("name: Bench", "name: Work bench"))
            await learning.read()
            assert registry.things["light.bench"].name == "Work bench"
            assert registry.condition("light.bench").state == "on"
            for told, available in (("offline", False), ("online", True)):
                await lamp.publish("bench/net", told, retain=True, qos=1)
                assert await registry.until("light.bench", lambda now, wanted=available: now.available is wanted, 20)

            path.write_text("things:\n  light.bench: {}\n")
            await learning.read()
            assert learning.error is not None
            assert "line 2: things.light.bench: command_topic is missing" in learning.error
            await switched("turn_off", "bench/set")

            path.write_text(lamp_at("desk"))
            await learning.read()
            assert await registry.until("light.bench", lambda now: now.state == "off", 20)
            await switched("turn_on", "desk/set")

            await keeping.write()
            path.write_text("")
            await learning.read()
            assert "light.bench" not in registry.things
            path.write_text(lamp_at("desk"))
            await learning.read()
            assert await registry.until("light.bench", lambda now: now.state == "on", 20)

        # What is taken out of the file while nobody looks is not remembered.
        for text, known in ((lamp_at("desk"), {"light.bench"}), ("things: 3", {"light.bench"}), ("", set())):
            path.write_text(text)
            registry = Registry()
            away = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1:1")), "us")
            async with Keeping(registry, database, scope, now) as keeping, Learning(away, registry, home, now, keeping):
                assert set(registry.things) == known


async def test_the_ids_of_two_of_one_name_are_kept_over_a_restart(broker: Mosquitto, tmp_path: Path) -> None:
    settings, ids = MqttSettings(url=SecretStr(broker.url)), tmp_path / "home-ids.json"
    home = HomeSettings(entities_file=tmp_path / "entities.yaml")

    async def told(ha: Link, *keys: str) -> dict[str, str]:
        """Which id each of these lamps has, told in this order, by the topic of its commands. Then they are silent."""
        registry = Registry()
        async with (
            Link(settings, "us") as us,
            Learning(us, registry, home, lambda: datetime.now(UTC), ids=ids),
        ):
            for number, key in enumerate(keys, 1):
                came = asyncio.Event()

                def hear(_: Change, number: int = number, came: asyncio.Event = came) -> None:
                    if len(registry.things) == number:
                        came.set()

                with registry.watching(hear):
                    config = LAMP | {"cmd_t": key, "uniq_id": key}
                    ha.publish(f"homeassistant/switch/{key}/config", orjson.dumps(config), retain=True)
                    await asyncio.wait_for(came.wait(), 20)
        for key in keys:
            await ha.send(f"homeassistant/switch/{key}/config", "", retain=True)
        return {
            thing.driver.command(Order("turn_on", {}), Condition())[0].topic: thing_id
            for thing_id, thing in registry.things.items()
            if thing.driver is not None
        }

    async with Link(settings, "ha") as ha:
        assert await told(ha, "a", "b") == {"a": "switch.lamp", "b": "switch.lamp_2"}
        assert await told(ha, "b") == {"b": "switch.lamp_2"}
        assert await told(ha, "b", "a") == {"a": "switch.lamp", "b": "switch.lamp_2"}
        ids.write_text("[]")
        assert await told(ha, "b", "a") == {"a": "switch.lamp_2", "b": "switch.lamp"}


async def test_ids_that_could_not_be_kept_are_kept_as_soon_as_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.home.learning.LOOK_SECONDS", 0.01)
    ids = tmp_path / "data" / "home-ids.json"
    tries, save = asyncio.Semaphore(0), given_ids.save

    def saving(path: Path, given: Mapping[str, str]) -> None:
        try:
            save(path, given)
        finally:
            loop.call_soon_threadsafe(tries.release)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(given_ids, "save", saving)
    us = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1:1")), "us")
    home = HomeSettings(entities_file=tmp_path / "entities.yaml")
    async with Learning(us, Registry(), home, lambda: AT, ids=ids) as learning, asyncio.timeout(20):
        learning._discovery._heard(Message("homeassistant/switch/lamp/config", orjson.dumps(LAMP | {"cmd_t": "a"})))
        for _ in range(3):
            await tries.acquire()
        ids.parent.mkdir()
        while not ids.exists():
            await tries.acquire()
        assert learning._saving is not None
        await learning._saving
        done = learning._saving
        await asyncio.sleep(0.1)
        assert learning._saving is done  # there is nothing more to keep
    assert sum("cannot be kept" in record.message for record in caplog.records) == 1
