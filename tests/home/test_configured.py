"""What the household says of its things, and how several sources become one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings
from gateway.errors import SettingsError
from gateway.home.configured import Overrides, load, parse
from gateway.home.learning import Learning, Merging
from gateway.home.link import Link
from gateway.home.registry import Change, Registry
from gateway.home.things import Condition, Order, Publication, Thing
from tests.mosquitto_server import Mosquitto

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
        ("floors: 3\n", "line 1: floors: should name things"),
        ("- a\n", "line 1: should have"),
        ("entities:\n  light.a: {name: 'x\n", "line 3: "),
    ],
)
def test_a_mistake_is_told_by_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"entities\.yaml, line") as caught:
        parse(text, "entities.yaml")
    assert told in caught.value.message


def test_the_file_that_ships_says_nothing() -> None:
    shipped = Path(__file__).parents[2] / "config" / "entities.yaml"
    assert load(shipped) == Overrides()
    lines = [line.removeprefix("# ") for line in shipped.read_text().splitlines()[3:]]
    assert parse("\n".join(lines), "x").entities.keys() == {"light.kitchen_desk_lamp"}


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
        Thing("light.a", "Old name", "kept", ("older name",), "Attic"),
        Condition().told(AT, state="on", effect="x"),
    )
    kept.put(old, replace(stood, available=True))
    assert (merged.things["light.a"], merged.condition("light.a").state) == (old, "on")
    first.put(Thing("light.a", "Lamp", "discovery"))
    # It is called as it is told now, and stands as it stood until it says more.
    assert (merged.things["light.a"].names, merged.things["light.a"].area) == (("Lamp",), "Attic")
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

            path.write_text("entities: [\n")
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
