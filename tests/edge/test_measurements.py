"""`/measurements`: files of sensors taken in as they come, and read again in parts of a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from gateway.config import MeasurementSettings
from gateway.memory.measurements import Measurements
from gateway.shapes import Scope
from gateway.store import entities
from gateway.store.pool import Database
from tests.household import Client, Household, add_member

CSV = {"Content-Type": "text/csv"}
HISTORY = """entity_id,state,last_changed
sensor.bedroom_temperature,19.5,2026-03-01T21:00:00.000Z
sensor.bedroom_temperature,unavailable,2026-03-01T22:00:00.000Z
sensor.bedroom_temperature,16.5,2026-03-02T04:40:00.000Z
binary_sensor.garage_door,on,2026-03-01T21:10:00.000Z
binary_sensor.garage_door,off,2026-03-01T21:15:00.000Z
"""


async def sent(client: Client, text: str | bytes, query: str = "", **headers: str) -> dict[str, Any]:
    response = await client.post(f"/measurements{query}", data=text, headers={**CSV, **headers})
    assert response.status == 200, await response.text()
    body: dict[str, Any] = await response.json()
    return body


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in ("added", "changed", "known", "skipped", "refused"))


async def test_home_assistants_export(client: Client) -> None:
    assert counts(await sent(client, HISTORY)) == (4, 0, 0, 1, 0)
    assert counts(await sent(client, HISTORY)) == (0, 0, 4, 1, 0)
    assert counts(await sent(client, HISTORY.replace("16.5", "16.4"))) == (0, 1, 3, 1, 0)
    listed = (await (await client.get("/measurements/entities")).json())["entities"]
    assert [(one["entity"], one["kind"]) for one in listed] == [
        ("binary_sensor.garage_door", "event"),
        ("sensor.bedroom_temperature", "measurement"),
    ]
    assert (listed[1]["first"], listed[1]["last"]) == ("2026-03-01T21:00:00Z", "2026-03-02T04:40:00Z")
    query = "since=2026-03-01T20:00:00Z&until=2026-03-02T06:00:00Z&parts=10"
    past = await (await client.get(f"/measurements?entity=sensor.bedroom_temperature&{query}")).json()
    assert past["seconds"] == 3600
    assert [(part["at"], part["count"], part["last"]) for part in past["parts"]] == [
        ("2026-03-01T21:00:00Z", 1, 19.5),
        ("2026-03-02T04:00:00Z", 1, 16.4),
    ]
    past = await (await client.get(f"/measurements?entity=binary_sensor.garage_door&{query}")).json()
    assert [change["state"] for change in past["changes"]] == ["on", "off"]


async def test_heads_separators_and_times(client: Client, admin: asyncpg.Connection) -> None:
    text = (
        "\ufeffTimestamp;Sensor;Unit of measurement;Value;Remark\r\n"
        '2026-07-01 12:00:00;attic;"°C";"21,5";no zone told\r\n'
        "1782901800;attic;°C;22;seconds\r\n"
        "1782903600000;attic;°C;23;milliseconds\r\n"
        "\r\n"
        "2026-07-01T15:00:00+02:00;attic;;running;a state"
    )
    assert counts(await sent(client, text.encode())) == (4, 0, 0, 0, 0)
    rows = await admin.fetch("SELECT time, value, unit FROM measurements ORDER BY time")
    assert [tuple(row) for row in rows] == [
        (datetime(2026, 7, 1, 10, tzinfo=UTC), 21.5, "°C"),
        (datetime(2026, 7, 1, 10, 30, tzinfo=UTC), 22, "°C"),
        (datetime(2026, 7, 1, 11, tzinfo=UTC), 23, "°C"),
    ]


async def test_a_file_without_names(client: Client, admin: asyncpg.Connection) -> None:
    text = "time,value\n2026-03-01T12:00:00Z,1\n"
    refused = await client.post("/measurements", data=text, headers=CSV)
    assert (refused.status, (await refused.json())["error"]["field"]) == (400, "entity")
    assert counts(await sent(client, text, "?entity=sensor.loft")) == (1, 0, 0, 0, 0)
    assert await admin.fetchval("SELECT entity FROM measurements") == "sensor.loft"


async def test_bad_rows_are_told_by_their_line_and_the_others_kept(client: Client) -> None:
    long = "x" * 70_000
    text = (
        "\n".join(
            [
                "entity,time,value",
                "a,2026-03-01T12:00:00Z,1",
                "a,yesterday,1",
                "a,2026-03-01T12:00:00Z",
                'a,2026-03-01T12:00:00Z,"1',
                " ,2026-03-01T12:00:00Z,1",
                "a,2026-03-01T12:00:00Z,nan",
                "a\x00b,2026-03-01T12:00:00Z,1",
                f"a,2026-03-01T12:00:00Z,{long}",
                f"a,2026-03-01T12:00:00Z,{'y' * 300}",
                "a,9999-12-31T12:00:00Z,1",
                "a,2026-03-01T13:00:00Z,2",
            ]
        ).encode()
        + b"\n\xff,2026-03-01T12:00:00Z,1\n"
    )
    report = await sent(client, text)
    assert counts(report) == (2, 0, 0, 0, 10)
    assert [error["line"] for error in report["errors"]] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 13]


@pytest.mark.parametrize(
    "text, field",
    [("", None), ("\n\n", None), ("entity,value\na,1\n", "time"), ("entity,time\n", "value"), ("hello", "entity")],
)
async def test_a_head_that_is_none(client: Client, text: str, field: str | None) -> None:
    refused = await client.post("/measurements", data=text, headers=CSV)
    assert (refused.status, (await refused.json())["error"].get("field")) == (400, field)


async def test_the_json_of_home_assistants_history(client: Client, admin: asyncpg.Connection) -> None:
    """With `minimal_response` only the first state of each entity names it, and tells its attributes."""
    history = [
        [
            {
                "entity_id": "sensor.hall_temperature",
                "state": "20.1",
                "last_changed": "2026-03-01T12:00:00+00:00",
                "attributes": {"unit_of_measurement": "°C", "friendly_name": 'Hall "} temperature'},
            },
            {"state": "20.4", "last_changed": "2026-03-01T12:10:00+00:00"},
            {"state": "unknown", "last_changed": "2026-03-01T12:20:00+00:00"},
        ],
        [],
        [
            {
                "entity_id": "light.hall",
                "state": "on",
                "last_changed": "2026-03-01T12:00:00+00:00",
                "attributes": {"brightness": 128, "note": "a\x00b"},
            },
            {"state": None, "last_changed": "2026-03-01T12:00:00+00:00"},
            {"state": "off", "last_changed": 5},
        ],
    ]
    body = json.dumps(history, ensure_ascii=False)
    report = await sent(client, body.encode(), **{"Content-Type": "application/json"})
    assert counts(report) == (3, 0, 0, 2, 1)
    assert report["errors"][0]["line"] == 6
    rows = await admin.fetch("SELECT entity, value, unit FROM measurements ORDER BY time")
    assert [tuple(row) for row in rows] == [
        ("sensor.hall_temperature", 20.1, "°C"),
        ("sensor.hall_temperature", 20.4, "°C"),
    ]
    assert await admin.fetchval("SELECT attributes FROM events") == {}


@pytest.mark.parametrize(
    "body", [b'{"entity_id": "a"', b"[[1]]", b'"words"', b"[{]", b"\xff", b"[" + b'{"a":' * 100_000, b"[[nothing]]"]
)
async def test_json_that_is_none(client: Client, body: bytes) -> None:
    refused = await client.post("/measurements", data=body, headers={"Content-Type": "application/json"})
    assert refused.status == 400


async def test_a_form_with_a_file(client: Client) -> None:
    for name, text in (("history.csv", HISTORY), ("history.json", '[[{"entity_id":"a","state":"1"}]]')):
        form = aiohttp.FormData()
        form.add_field("file", text.encode(), filename=name)
        response = await client.post("/measurements?shared=true", data=form)
        assert response.status == 200, await response.text()
    form = aiohttp.FormData()
    form.add_field("thing", b"x", filename="x.csv")
    assert (await client.post("/measurements", data=form)).status == 400
    assert (await client.post("/measurements", data=b"x", headers={"Content-Type": "text/html"})).status == 415
    assert (await client.post("/measurements?tags=x", data=b"x", headers=CSV)).status == 400
    for query in ("parts=0", "parts=x", "since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", ""):
        entity = "entity=a&" if query else ""
        assert (await client.get(f"/measurements?{entity}{query}")).status == 400


async def test_a_long_upload_in_batches(client: Client, admin: asyncpg.Connection) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"entity,time,value\n"
        for minute in range(12_000):
            yield f"sensor.a,{(start + timedelta(minutes=minute)).isoformat()},{minute % 100}\n".encode()

    assert counts(await sent(client, pieces())) == (12_000, 0, 0, 0, 0)  # type: ignore[arg-type]
    assert await admin.fetchval("SELECT count(*) FROM measurements") == 12_000


async def test_whose_they_are(client: Client, household: Household, admin: asyncpg.Connection, scope: Scope) -> None:
    await add_member(admin, scope, "Ada", "secret")
    token = {"Authorization": "Bearer secret"}
    await sent(client, HISTORY, **token)
    assert (await (await client.get("/measurements/entities")).json())["entities"] == []
    theirs = await (await client.get("/measurements/entities", headers=token)).json()
    assert len(theirs["entities"]) == 2
    assert counts(await sent(client, HISTORY, "?shared=true", **token))[0] == 4
    assert len((await (await client.get("/measurements/entities")).json())["entities"]) == 2
    query = "entity=sensor.bedroom_temperature"
    gone = await client.delete(f"/measurements?{query}&until=2026-03-02T00:00:00Z")
    assert (await gone.json())["deleted"] == 1
    assert (await (await client.delete(f"/measurements?{query}", headers=token)).json())["deleted"] == 3
    assert await admin.fetchval("SELECT count(*) FROM measurements") == 0


def done_at(at: datetime) -> entities.Action:
    return entities.Action(at, "conversation", "hall", "Open the gate", "cover.gate", "open", {}, "done")


async def test_kept_as_long_as_wanted(
    client: Client, database: Database, admin: asyncpg.Connection, scope: Scope
) -> None:
    await sent(client, HISTORY)
    now = datetime(2026, 3, 8, 22, tzinfo=UTC)
    async with database.scoped(scope) as connection:
        await entities.log_actions(connection, [done_at(now - timedelta(days=7, hours=1)), done_at(now)], None)
    for settings, gone in [
        (MeasurementSettings(), 0),
        (MeasurementSettings(keep_days=7), 1),
        (MeasurementSettings(keep_days=7, keep_events_days=7), 3),
    ]:
        assert await Measurements(database, settings, scope.household_id, UTC).prune(now) == gone
    assert [row["at"] for row in await admin.fetch("SELECT at FROM actions")] == [now]
    async with Measurements(database, MeasurementSettings(keep_days=1), scope.household_id, UTC):
        while await admin.fetchval("SELECT count(*) FROM measurements"):
            pass
