"""What is to be forgotten is shown first, then it is gone from every place, and the answer says what was checked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from gateway.home.acting import ActionRecord
from gateway.home.things import Condition
from gateway.shapes import Scope
from gateway.store import cache as cache_rows
from gateway.store import entities
from gateway.store.cache import CacheRow
from gateway.store.pool import Database
from tests.household import Client, Household, add_member
from tests.memory.test_while_away import away

NOTHING_LEFT = {
    "entries": 0,
    "documents": 0,
    "history": 0,
    "conversations": 0,
    "training": 0,
    "actions": 0,
    "by_words": 0,
    "by_vectors": 0,
    "vectors": 0,
    "cached_answers": 0,
    "journal": 0,
}
EVERYWHERE = (
    "knowledge",
    "knowledge_history",
    "conversations",
    "training_data",
    "response_cache",
    "vectors",
    "actions",
)


async def forget(client: Client, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/memory/forget", json=wish)
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body


async def words_anywhere(admin: asyncpg.Connection, word: str) -> list[str]:
    """The tables in which a row has this word, whatever the column."""
    return [
        table
        for table in EVERYWHERE
        if await admin.fetchval(f"SELECT count(*) FROM {table} t WHERE to_jsonb(t)::text ILIKE $1", f"%{word}%")
    ]


def asked_for(words: str) -> entities.Action:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return entities.Action(at, "conversation", "hall", words, "light.yard", "turn_on", {}, "done")


@pytest.fixture
async def full(household: Household, client: Client, database: Database, scope: Scope) -> dict[str, int]:
    """The bins in every place, and something else in each beside them."""
    ids = {}
    for name, content in {
        "old": "the bins' day is Monday",
        "bins": "the bins' day is Tuesday",
        "bin": "An old bin stands in the cellar",
        "binder": "The binder with the bills is on the shelf",
        "tea": "Tea is at five",
    }.items():
        added = await (await client.post("/memory/add", json={"content": content, "source": "note"})).json()
        ids[name] = added["id"]
    assert added["superseded"] == []
    said = {
        "bins": household.turn(user="When is the bins' day?", text="Tuesday."),
        "told": household.turn(user="Remember that Tea is at five", text="OK."),
        "other": household.turn(user="Who wrote Hamlet?", text="Shakespeare."),
    }
    for turn in (said["bins"], said["other"]):
        await client.post("/training/feedback", json={"interaction_id": f"conv_{turn}", "score": 5})
    async with database.scoped(scope) as connection:
        generation = await connection.fetchval("SELECT cache_generation FROM households")
        await entities.log_actions(connection, [asked_for("Turn the bins' light on"), asked_for("Open the gate")], None)
        assert await cache_rows.put(connection, [CacheRow("h", "when is it", "Tuesday: the bins", 1)], generation, 10)
    return ids


async def test_by_query_from_every_place(
    household: Household, client: Client, full: dict[str, int], admin: asyncpg.Connection
) -> None:
    shown = await forget(client, query="what did I say about the bins?")
    assert shown["dry_run"] is True
    assert sorted(shown["entries"]["texts"]) == ["An old bin stands in the cellar", "the bins' day is Tuesday"]
    assert shown["history"]["texts"] == ["the bins' day is Monday"]
    assert shown["conversations"] == {"count": 1, "texts": ["When is the bins' day?"]}
    assert (shown["training"]["count"], shown["cached_answers"], shown["checked"]) == (1, 1, None)
    assert shown["actions"] == {"count": 1, "texts": ["Turn the bins' light on"]}
    assert await admin.fetchval("SELECT count(*) FROM knowledge") == 4

    gone = await forget(client, query="what did I say about the bins?", dry_run=False)
    assert gone == {**shown, "dry_run": False, "checked": NOTHING_LEFT}
    assert await words_anywhere(admin, "bins") == []
    assert await admin.fetchval("SELECT count(*) FROM response_cache") == 0
    done = (await (await client.get("/home/actions")).json())["actions"]
    assert [(one["words"], one["entity"], one["verdict"]) for one in done] == [
        ("Open the gate", "light.yard", "done"),
        ("", "light.yard", "done"),
    ]
    left = await (await client.get("/memory")).json()
    assert [entry["content"] for entry in left["entries"]] == [
        "The binder with the bills is on the shelf",
        "Tea is at five",
    ]
    assert {row["turn_id"] for row in await admin.fetch("SELECT turn_id FROM conversations")} != set()
    assert "bins" not in (await (await client.get("/training/export")).text())
    assert (await client.get(f"/memory/{full['bins']}/history")).status == 404
    found = await (await client.get("/memory/search?query=bins")).json()
    assert not any("bins" in hit["content"] for hit in found["results"])
    again = await forget(client, query="bins", dry_run=False)
    assert (again["entries"]["count"], again["checked"]) == (0, NOTHING_LEFT)
    assert not any(b"bins" in path.read_bytes() for path in household.journal._folder.glob("*.jsonl"))


async def test_by_ids_with_what_said_them(client: Client, full: dict[str, int], admin: asyncpg.Connection) -> None:
    gone = await forget(client, ids=[full["tea"], full["bins"], 999_999], dry_run=False)
    assert (gone["entries"]["count"], gone["history"]["count"]) == (2, 1)
    assert gone["conversations"]["texts"] == ["Remember that Tea is at five"]
    assert gone["checked"] == NOTHING_LEFT
    assert await words_anywhere(admin, "tea") == []
    # What was superseded, by its own id.
    await client.post("/memory/add", json={"content": "the code is 12"})
    newer = await (await client.post("/memory/add", json={"content": "the code is 13"})).json()
    gone = await forget(client, ids=newer["superseded"], dry_run=False)
    assert (gone["entries"]["count"], gone["history"]["texts"]) == (0, ["the code is 12"])


async def test_by_time_and_by_source(household: Household, client: Client, full: dict[str, int], admin: Any) -> None:
    early = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    shown = await forget(client, before=early)
    assert (shown["entries"]["count"], shown["conversations"]["count"]) == (0, 3)  # the turns are of an earlier year
    gone = await forget(client, source="note", dry_run=False)
    assert (gone["entries"]["count"], gone["history"]["count"], gone["checked"]) == (4, 1, NOTHING_LEFT)
    gone = await forget(client, before="2999-01-01T00:00:00Z", dry_run=False)
    assert gone["checked"] == NOTHING_LEFT
    assert gone["actions"]["count"] == 2
    for table in EVERYWHERE:
        rows = await admin.fetch(f"SELECT * FROM {table}")
        assert [row["words"] for row in rows] == (["", ""] if table == "actions" else [])


async def test_a_document_by_its_name_and_its_passages_by_their_words(
    client: Client, admin: asyncpg.Connection
) -> None:
    for name, text in (("bins.md", "# Bins\n\nThe bins are grey."), ("tea.md", "# Tea\n\nGreen tea.\n\nBins beside.")):
        form = aiohttp.FormData()
        form.add_field("file", text.encode(), filename=name)
        paper = await (await client.post("/documents", data=form)).json()
        while paper["state"] in ("waiting", "parsing"):
            await asyncio.sleep(0.02)
            paper = await (await client.get(f"/documents/{paper['id']}")).json()
        assert paper["state"] == "ready"
    shown = await forget(client, query="grey bins")
    assert [text for text in shown["entries"]["texts"] if "grey" in text]
    gone = await forget(client, source="bins.md", dry_run=False)
    assert (gone["documents"], gone["checked"]) == ({"count": 1, "texts": ["bins.md"]}, NOTHING_LEFT)
    assert [row["name"] for row in await admin.fetch("SELECT name FROM documents")] == ["tea.md"]
    assert not await admin.fetchval("SELECT count(*) FROM knowledge WHERE content ILIKE '%grey%'")


async def test_a_private_row_only_by_its_member(
    household: Household, client: Client, database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    ada = await add_member(admin, scope, "Ada", "token-of-ada")
    headers = {"Authorization": "Bearer token-of-ada"}
    added = await client.post("/memory/add", json={"content": "my bins are hidden"}, headers=headers)
    entry = await added.json()
    household.turn(member_id=ada.member_id, user="Where are my bins?")
    async with database.scoped(ada) as connection:
        await entities.log_actions(connection, [asked_for("Light my bins")], ada.member_id)
    for wish in ({"query": "bins"}, {"ids": [entry["id"]]}, {"before": "2999-01-01T00:00:00Z"}):
        gone = await forget(client, dry_run=False, **wish)
        assert (gone["entries"]["count"], gone["conversations"]["count"], gone["actions"]["count"]) == (0, 0, 0)
    answer = await client.post("/memory/forget", json={"query": "bins", "dry_run": False}, headers=headers)
    gone = await answer.json()
    assert (gone["entries"]["count"], gone["conversations"]["count"], gone["actions"]["count"]) == (1, 1, 1)
    assert await words_anywhere(admin, "bins") == []


async def test_what_was_done_a_moment_ago_is_noted_first_and_once(
    household: Household, client: Client, scope: Scope, admin: asyncpg.Connection
) -> None:
    now, off = datetime.now(UTC), Condition("off")

    def done(words: str) -> ActionRecord:
        return ActionRecord(now, scope, "mqtt", "hall", None, words, "light.yard", "turn_on", {}, "done", off, off)

    household.action_log([done("Light the bins")])
    await asyncio.gather(household.action_log.write(), household.action_log.write())
    assert await admin.fetchval("SELECT count(*) FROM actions") == 1
    household.action_log([done("Brighter at the bins")])
    gone = await forget(client, query="bins", dry_run=False)
    assert (gone["actions"]["count"], gone["checked"]) == (2, NOTHING_LEFT)
    assert [row["words"] for row in await admin.fetch("SELECT words FROM actions")] == ["", ""]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"dry_run": True}, "query"),
        ({"query": "bins", "ids": [1]}, "ids"),
        ({"before": None}, "before"),
        ({"query": ""}, "query"),
        ({"query": "what did I say about it?"}, "query"),
        ({"ids": []}, "ids"),
        ({"ids": [0]}, "ids.0"),
        ({"before": "yesterday"}, "before"),
        ({"source": " "}, "source"),
        ({"query": "bins", "dry_run": "no"}, "dry_run"),
    ],
)
async def test_a_bad_wish_names_its_field(client: Client, body: dict[str, Any], field: str) -> None:
    answer = await client.post("/memory/forget", data=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field


async def test_with_the_database_away_nothing_is_promised(
    household: Household, client: Client, postgres: Any, address: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.memory.forgetting.JOURNAL_SECONDS", 0.05)
    async with away(postgres, address):
        household.turn(user="The bins?")
        answer = await client.post("/memory/forget", json={"query": "bins", "dry_run": False})
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    assert await household.journal.flush(30)
    assert (await forget(client, query="bins", dry_run=False))["conversations"]["count"] == 1


async def test_history_and_restoring_over_http(client: Client) -> None:
    first = await (await client.post("/memory/add", json={"content": "the code is 12"})).json()
    second = await (await client.post("/memory/add", json={"content": "the code is 13"})).json()
    assert second["superseded"] == [first["id"]]
    assert (await client.post("/memory/add", json={"content": "The code is 13."})).status == 200
    history = await (await client.get(f"/memory/{second['id']}/history")).json()
    assert [version["content"] for version in history["versions"]] == ["the code is 13", "the code is 12"]
    restored = await client.post(f"/memory/{first['id']}/restore", json={})
    assert (restored.status, (await restored.json())["id"]) == (200, first["id"])
    assert (await client.post(f"/memory/{first['id']}/restore", json={})).status == 404
    missing = await client.post(f"/memory/{second['id']}/restore", json={"version": 999})
    assert (missing.status, (await missing.json())["error"]["field"]) == (404, "version")
    assert (await client.get("/memory/999999/history")).status == 404
