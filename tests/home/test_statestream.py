"""What Home Assistant's mqtt_statestream tells, over a real broker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pydantic import SecretStr

from gateway.config import MqttSettings
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.statestream import MOST_ATTRIBUTES, Statestream
from gateway.home.registry import Registry
from gateway.home.things import Condition
from tests.mosquitto_server import Mosquitto

BASE = "homeassistant/statestream"


async def test_what_home_assistant_tells_over_the_broker(broker: Mosquitto) -> None:
    settings = MqttSettings(url=SecretStr(broker.url))
    registry = Registry()
    async with Link(settings, "ha") as ha, Link(settings, "us") as us:
        for key, value in (
            ("friendly_name", '"Kitchen lamp"'),
            ("rgb_color", "[255, 0, 10]"),
            ("brightness", "128"),
            ("state", "on"),
        ):
            ha.publish(f"{BASE}/light/kitchen/{key}", value, retain=True)
        Statestream(us, registry, BASE, lambda: datetime.now(UTC)).open()

        async def until(state: str, available: bool | None = True) -> Condition:
            found = await registry.until(
                "light.kitchen", lambda now: (now.state, now.available) == (state, available), 20
            )
            assert found is not None
            return found

        now = await until("on")
        thing = registry.things["light.kitchen"]
        assert (thing.name, thing.origin, thing.driver) == ("Kitchen lamp", "statestream", None)
        assert now.attributes == {"rgb_color": (255, 0, 10), "brightness": 128}
        ha.publish(f"{BASE}/light/kitchen/state", "unavailable", retain=True)
        await until("on", False)
        ha.publish(f"{BASE}/light/kitchen/brightness", "null", retain=True)
        ha.publish(f"{BASE}/light/kitchen/state", "off", retain=True)
        assert (await until("off")).attributes == {"rgb_color": (255, 0, 10)}
        gone = asyncio.Event()
        with registry.watching(lambda change: gone.set() if change.thing is None else None):
            ha.publish(f"{BASE}/light/kitchen/state", "", retain=True)
            await asyncio.wait_for(gone.wait(), 20)
        assert not registry.things


def test_what_cannot_be_understood_changes_nothing() -> None:
    registry, at = Registry(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    stream = Statestream(Link(MqttSettings(), "nobody"), registry, BASE, lambda: at)
    for topic, payload in (
        ("light/Lamp!/state", b"on"),
        ("sensor/node/config", b"{}"),
        ("switch/ai_gateway_cache/state", b"on"),
        ("sensor/ai_gateway_turns_today/friendly_name", b'"AI gateway Turns today"'),
        ("light/kitchen/brightness", b"{"),
        ("light/kitchen/forecast", b'"' + b"x" * 5000 + b'"'),
    ):
        stream.heard(Message(f"{BASE}/{topic}", payload))
    assert not registry.things
    stream.heard(Message(f"{BASE}/sensor/attic/unit_of_measurement", '"°C"'.encode()))
    stream.heard(Message(f"{BASE}/sensor/attic/state", b"21.5"))
    stream.heard(Message(f"{BASE}/sensor/attic/last_changed", b'"2026-03-01T11:30:00+00:00"'))
    stream.heard(Message(f"{BASE}/sensor/attic/last_changed", b'"yesterday"'))
    assert registry.things["sensor.attic"].unit == "°C"
    now = registry.condition("sensor.attic")
    assert (now.state, now.changed, now.seen) == ("21.5", at.replace(hour=11, minute=30), at)
    # Nothing that PostgreSQL could not keep.
    stream.heard(Message(f"{BASE}/sensor/{'a' * 250}/state", b"1"))
    stream.heard(Message(f"{BASE}/sensor/attic/note", rb'{"a\u0000": ["b\u0000\\u0000"]}'))
    assert registry.things.keys() == {"sensor.attic"}
    assert registry.condition("sensor.attic").attributes["note"] == {"a": ["b\\u0000"]}
    for number in range(2 * MOST_ATTRIBUTES):
        stream.heard(Message(f"{BASE}/sensor/attic/a{number}", b"1"))
    assert len(registry.condition("sensor.attic").attributes) == MOST_ATTRIBUTES
