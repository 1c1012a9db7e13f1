"""`/home`: what stands there, what changes as it does, what was done."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from pydantic import SecretStr

from gateway.config import MqttSettings, Settings
from gateway.edge import home
from gateway.home.link import Link
from gateway.home.things import Condition, Thing
from gateway.store import entities
from tests.house import House
from tests.household import Client, Household, add_member
from tests.mosquitto_server import Mosquitto

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAMP = Thing(
    "light.desk", "Desk lamp", "zigbee2mqtt", ("reading light",), "Office", capabilities=frozenset({"turn_on"})
)
ATTIC = Thing("sensor.attic", "Attic", "statestream", unit="°C", exposed=False)


async def listed(client: Client, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"/home/entities{query}")
    assert response.status == 200, await response.text()
    found: list[dict[str, Any]] = (await response.json())["entities"]
    return found


async def test_what_stands_at_home(household: Household, client: Client) -> None:
    household.registry.put(ATTIC)
    household.registry.put(LAMP, Condition().told(AT, state="on", brightness=12, rgb_color=(1, 2, 3)))
    lamp, attic = await listed(client)
    assert lamp.pop("age_seconds") > 0
    assert lamp == {
        "id": "light.desk",
        "names": ["Desk lamp", "reading light"],
        "domain": "light",
        "area": "Office",
        "floor": None,
        "device_class": None,
        "unit": None,
        "capabilities": ["turn_on"],
        "state": "on",
        "attributes": {"brightness": 12, "rgb_color": [1, 2, 3]},
        "available": None,
        "changed_at": "2026-03-01T12:00:00Z",
        "seen_at": "2026-03-01T12:00:00Z",
        "origin": "zigbee2mqtt",
        "exposed": True,
    }
    assert (attic["state"], attic["exposed"], attic["age_seconds"]) == ("unknown", False, None)
    for query, ids in (
        ("?domain=light", ["light.desk"]),
        ("?area=office", ["light.desk"]),
        ("?q=READING", ["light.desk"]),
        ("?q=sensor.", ["sensor.attic"]),
        ("?domain=light&q=attic", []),
    ):
        assert [one["id"] for one in await listed(client, query)] == ids
    assert (await client.get("/home/entities?room=x")).status == 400


async def told(response: ClientResponse) -> tuple[str, Any]:
    """The next event of a stream."""
    kind, data = "", ""
    while line := (await asyncio.wait_for(response.content.readline(), 20)).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        kind, data = (value, data) if name == "event" else (kind, value)
    return kind, json.loads(data) if kind else data


async def test_what_changes_is_told_as_it_does(
    household: Household, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household.registry.put(LAMP)
    async with client.get("/home/events") as response:
        assert response.content_type == home.EVENTS
        kind, whole = await told(response)
        assert (kind, [one["id"] for one in whole["entities"]]) == ("snapshot", ["light.desk"])
        household.registry.saw("light.desk", Condition().told(AT, state="on"))
        household.registry.put(ATTIC)
        household.registry.drop("light.desk")
        kind, lamp = await told(response)
        assert (kind, lamp["id"], lamp["state"]) == ("change", "light.desk", "on")
        assert (await told(response))[1]["id"] == "sensor.attic"
        assert await told(response) == ("gone", {"id": "light.desk"})
    monkeypatch.setattr(home, "HEARTBEAT_SECONDS", 0.01)
    async with client.get("/home/events") as response:
        assert (await told(response))[0] == "snapshot"
        assert await told(response) == ("", "still here")


async def test_who_does_not_read_is_cut_off(household: Household) -> None:
    household.registry.put(LAMP)
    async with household.client() as client, client.get("/home/events") as response:
        await told(response)
        assert client.app is not None
        (follower,) = client.app[home.FOLLOWERS]
        for _ in range(home.MOST_WAITING + 1):
            household.registry.saw("light.desk", Condition().told(AT, state="on"))
        assert follower.over
        async with asyncio.timeout(20):
            with pytest.raises(Exception, match=r"(?i)payload|closed|reset"):
                await response.content.read()
        household.registry.saw("light.desk", Condition().told(AT, state="off"))
        assert [one["state"] for one in await listed(client)] == ["off"]


async def test_the_end_does_not_wait_for_who_follows(household: Household) -> None:
    async with household.client() as client, client.get("/home/events") as response:
        await told(response)
        assert client.app is not None
        await home.end_events(client.app)
        assert await asyncio.wait_for(response.content.read(), 20) == b""


async def test_what_was_done(household: Household, client: Client, admin: asyncpg.Connection) -> None:
    done = entities.Action(
        AT, "wyoming", "hall", "light on", "light.desk", "turn_on", {"brightness": 3}, "done", {}, {}
    )
    ada = await add_member(admin, household.scope, "Ada", "secret")
    async with household.database.scoped(household.scope) as connection:
        await entities.log_actions(connection, [done], None)
    async with household.database.scoped(ada) as connection:
        await entities.log_actions(connection, [done], ada.member_id)
    (shared,) = (await (await client.get("/home/actions")).json())["actions"]
    assert (shared["entity"], shared["verdict"], shared["values"]) == ("light.desk", "done", {"brightness": 3})
    theirs = await client.get("/home/actions?limit=10", headers={"Authorization": "Bearer secret"})
    assert len((await theirs.json())["actions"]) == 2
    assert (await (await client.get("/home/actions?entity=light.x")).json())["actions"] == []


class TestWholeGateway:
    """Over a real broker, in a whole gateway."""

    @pytest.fixture
    def settings(self, settings: Settings, broker: Mosquitto) -> Settings:
        return settings.model_copy(update={"mqtt": MqttSettings(url=SecretStr(broker.url))})

    async def test_what_zigbee2mqtt_tells_is_listed(self, house: House, settings: Settings) -> None:
        switch = {"type": "binary", "name": "state", "property": "state", "access": 7}
        plug = {"friendly_name": "plug", "definition": {"exposes": [{"type": "switch", "features": [switch]}]}}
        async with Link(settings.mqtt, "zigbee2mqtt") as link, house.client.get("/home/events") as response:
            assert (await told(response))[0] == "snapshot"
            link.publish("zigbee2mqtt/plug", '{"state": "ON"}', retain=True)
            link.publish("zigbee2mqtt/bridge/devices", json.dumps([plug]), retain=True)
            while (await told(response))[1]["state"] != "on":
                pass
        async with house.client.get("/home/entities?domain=switch") as response:
            (one,) = (await response.json())["entities"]
        assert (one["id"], one["state"], one["origin"]) == ("switch.plug", "on", "zigbee2mqtt")
