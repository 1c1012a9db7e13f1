"""The tools that the model gets, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings
from gateway.errors import GatewayError
from gateway.home.acting import Actor
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.speech.intents import DOMAINS
from gateway.home.things import Condition, Thing
from gateway.home.tools import ACTING, MOST_TOLD, TOOLS, context, date_time, live_context
from tests.home.simulated import whole_house

NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)
PARAMETERS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}


def a_house() -> Registry:
    registry = Registry()
    for device in whole_house():
        registry.put(device.thing(), device.truth)
    return registry


def an_actor(registry: Registry) -> Actor:
    link = Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1:1")), "never opened")
    return Actor(registry, link, HomeSettings(), lambda: NOW)


REGISTRY = a_house()
ACTOR = an_actor(REGISTRY)


def test_every_tool_does_something_and_names_nothing_of_the_house() -> None:
    names = {name for device in whole_house() for name in (device.name, device.area or "")}
    assert not any(name in json.dumps(TOOLS) for name in names if name)
    given_values = {"color": "red", "volume_step": "up", "temperature": 20}
    for tool in ACTING:
        values = {
            name: given_values.get(name, "auto" if "mode" in name else 50)
            for name in PARAMETERS[tool]["properties"]
            if name not in {"name", "area", "floor", "domain", "device_class"}
        }
        if tool == "HassLightSet":
            values["temperature"] = 2700
        (domain,) = list(DOMAINS.get(tool, {"light"}))[:1]
        if domain in {thing.domain for thing in REGISTRY.things.values()} - {"cover"}:
            could = _could(tool, {**values, "area": "Kitchen", "domain": [domain]})
            assert could in {"yes", "cannot_do"}, tool  # a thermostat without a fan mode, a player that is not muted


def _could(tool: str, arguments: Mapping[str, Any]) -> str:
    try:
        ACTOR.wanted(tool, arguments, None)
    except GatewayError as error:
        return error.code
    return "yes"


@given(
    st.sampled_from(sorted(ACTING)),
    st.dictionaries(
        st.sampled_from(("name", "area", "floor", "domain", "brightness", "color", "temperature", "position", "mode")),
        st.one_of(
            st.sampled_from(("Kitchen", "Kitchen Lamp 1", "light", "all", "", "Upstairs", "50%", "red")),
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text("abK %", max_size=5),
            st.lists(st.text("abK %", max_size=5), max_size=2),
            st.dictionaries(st.just("a"), st.integers(), max_size=1),
        ),
    ),
)
def test_whatever_a_model_makes_of_the_parameters_is_told_apart(tool: str, arguments: Mapping[str, Any]) -> None:
    try:
        wanted = ACTOR.wanted(tool, arguments, "Kitchen")
    except GatewayError:
        return
    assert wanted.orders
    assert all(REGISTRY.things[thing_id].exposed for thing_id in wanted.orders)


def test_live_context_tells_states_with_their_age() -> None:
    registry = Registry()
    registry.put(
        Thing("sensor.bedroom", "Bedroom Temperature", "discovery", area="Bedroom", unit="°C"),
        Condition("21.5", {}, True, NOW - timedelta(hours=2), NOW - timedelta(minutes=3)),
    )
    registry.put(Thing("light.lamp", "Lamp", "discovery", aliases=("Big one",)), Condition("on", {"brightness": 9}))
    registry.put(Thing("light.gone", "Gone", "discovery"), Condition("on", {}, False))
    registry.put(Thing("light.hidden", "Hidden", "discovery", exposed=False), Condition("on"))
    told = json.loads(live_context(registry, {"name": "bedroom temperature"}, NOW))
    assert told["success"] is True
    head, _, listed = told["result"].partition("\n")
    assert head.startswith("Live Context")
    assert yaml.safe_load(listed) == [
        {
            "names": "Bedroom Temperature",
            "domain": "sensor",
            "areas": "Bedroom",
            "state": "21.5",
            "heard": "3 min ago",
            "changed": "2 h ago",
            "attributes": {"unit_of_measurement": "°C"},
        }
    ]
    lights = json.loads(live_context(registry, {"domain": "light"}, NOW))["result"]
    assert [one["state"] for one in yaml.safe_load(lights.partition("\n")[2])] == ["unavailable", "on"]
    assert json.loads(live_context(registry, {"name": "Hidden"}, NOW))["success"] is False


def test_live_context_is_bounded() -> None:
    text = json.loads(live_context(REGISTRY, {}, NOW))["result"]
    assert text.count("- names:") == MOST_TOLD
    assert "more: ask by name" in text


def test_the_static_context_knows_no_states() -> None:
    before = context(REGISTRY)
    assert before.count("- names:") == len(REGISTRY.things)
    REGISTRY.saw("light.kitchen_lamp_1", Condition("on"))
    assert context(REGISTRY) == before
    assert context(Registry()) == ""


def test_date_and_time() -> None:
    told = json.loads(date_time(NOW))["result"]
    assert (told["date"], told["time"], told["weekday"]) == ("2026-11-21", "14:05:00", "Saturday")
