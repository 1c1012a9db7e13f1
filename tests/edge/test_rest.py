"""The owner's calls, and those beside them."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from gateway.shapes import Scope
from tests.household import Client, Household, add_member


async def test_knowledge_is_kept_found_corrected_and_forgotten(client: Client) -> None:
    added = await client.post(
        "/memory/add",
        json={
            "content": "The user prefers lights at 50% brightness in the evening",
            "tags": ["preference", "lighting"],
            "source": "user_feedback",
        },
    )
    assert added.status == 201
    entry = await added.json()
    await client.post("/memory/add", json={"content": "The bins go out on Tuesday", "tags": ["bins"]})

    found = await client.get("/memory/search?query=lights%20brightness&limit=5")
    assert found.status == 200
    results = (await found.json())["results"]
    assert results[0]["id"] == entry["id"]
    assert results[0]["tags"] == ["preference", "lighting"]
    assert results[0]["source"] == "user_feedback"
    assert [hit["score"] for hit in results] == sorted((hit["score"] for hit in results), reverse=True)

    tagged = await (await client.get("/memory/search?query=lights&tags=bins")).json()
    assert [hit["content"] for hit in tagged["results"]] == ["The bins go out on Tuesday"]
    nothing = await (await client.get("/memory/search?query=lights&tags=bins,lighting")).json()
    assert nothing["results"] == []

    changed = await client.patch(f"/memory/{entry['id']}", json={"content": "The moon is far away", "source": None})
    assert (await changed.json())["content"] == "The moon is far away"
    moon = await (await client.get("/memory/search?query=far%20moon&limit=1")).json()
    assert moon["results"][0]["id"] == entry["id"]
    assert moon["complete"] is True

    assert (await client.delete(f"/memory/{entry['id']}")).status == 204
    assert (await client.delete(f"/memory/{entry['id']}")).status == 404
    assert (await client.get(f"/memory/{entry['id']}")).status == 404


async def test_an_entry_has_its_language(client: Client) -> None:
    async def added(**entry: str) -> dict[str, Any]:
        answer = await client.post("/memory/add", json=entry)
        assert answer.status == 201
        return await answer.json()

    entry = await added(content="Anna is allergic to nuts")
    assert entry["language"] == "en"
    assert (await added(content="Netflix"))["language"] is None
    assert (await added(content="Netflix and so on", language="fr"))["language"] == "fr"
    assert (await client.post("/memory/add", json={"content": "x", "language": "English"})).status == 400

    url = f"/memory/{entry['id']}"
    changed = await client.patch(url, json={"content": "Anna est allergique aux noix"})
    assert (await changed.json())["language"] == "fr"
    changed = await client.patch(url, json={"content": "Anna jest uczulona na orzechy", "language": "pl"})
    assert (await changed.json())["language"] == "pl"
    changed = await client.patch(url, json={"pinned": True})
    assert (await changed.json())["language"] == "pl"

    lines = b'{"content": "Grandma buries the dahlias in October"}\n{"content": "Babcia", "language": "pl"}\n'
    await client.post("/memory/import", data=lines, headers={"Content-Type": "application/x-ndjson"})
    found = await (await client.get("/memory/search?query=burying&mode=text")).json()
    assert [(hit["content"], hit["language"]) for hit in found["results"]] == [
        ("Grandma buries the dahlias in October", "en")
    ]


async def test_a_listing_goes_on_where_the_page_before_ended(client: Client) -> None:
    for number in range(5):
        await client.post("/memory/add", json={"content": f"fact {number}"})
    seen: list[str] = []
    after = 0
    while after is not None:
        page = await (await client.get("/memory", params={"limit": 2, **({"after": after} if after else {})})).json()
        seen += [entry["content"] for entry in page["entries"]]
        after = page["next"]
    assert seen == [f"fact {number}" for number in range(5)]


async def test_preferences_are_set_read_changed_and_deleted(client: Client) -> None:
    setting = {
        "key": "entity_alias.my_office",
        "value": {"entity_id": "light.office_main"},
        "category": "aliases",
    }
    first = await client.post("/preferences/set", json=setting)
    assert first.status == 201
    assert (await client.post("/preferences/set", json={**setting, "value": 7})).status == 200
    got = await client.get("/preferences/get?key=entity_alias.my_office")
    preference = await got.json()
    assert preference["value"] == 7

    of_category = await (await client.get("/preferences/get?category=aliases")).json()
    assert [item["key"] for item in of_category["preferences"]] == ["entity_alias.my_office"]
    assert (await client.get("/preferences/get?key=entity_alias.my_office&category=other")).status == 404
    assert (await client.get("/preferences/get?key=unknown")).status == 404

    changed = await client.patch(f"/preferences/{preference['id']}", json={"value": ["a", None, 1.5]})
    assert (await changed.json())["value"] == ["a", None, 1.5]
    assert (await client.get(f"/preferences/{preference['id']}")).status == 200
    assert (await client.delete(f"/preferences/{preference['id']}")).status == 204
    assert (await (await client.get("/preferences")).json())["preferences"] == []


async def test_feedback_makes_one_row_and_changes_it(
    household: Household, client: Client, admin: asyncpg.Connection
) -> None:
    turn_id = household.turn(user="Turn on the lights?", text="Done.")
    opinion = {"interaction_id": f"conv_{turn_id}", "score": 5, "comment": "Correctly turned on all lights"}
    assert (await client.post("/training/feedback", json=opinion)).status == 201
    assert (await client.post("/training/feedback", json=opinion)).status == 200
    assert (await client.post("/training/feedback", json={**opinion, "score": 1})).status == 200
    rows = await admin.fetch("SELECT input_text, output_text, feedback_score FROM training_data")
    assert [tuple(row) for row in rows] == [("Turn on the lights?", "Done.", 1)]


@pytest.mark.parametrize("interaction", ["conv_123", "123", f"conv_{'0' * 32}"])
async def test_feedback_on_an_unknown_turn_is_404(client: Client, interaction: str) -> None:
    answer = await client.post("/training/feedback", json={"interaction_id": interaction, "score": 5})
    assert answer.status == 404
    assert (await answer.json())["error"]["field"] == "interaction_id"


async def test_an_export_is_chat_messages_a_line_and_sent_once(household: Household, client: Client) -> None:
    for score in (5, 3, 1):
        turn_id = household.turn(user=f"asked {score}", text="said \u2028 \\ \n")
        await client.post("/training/feedback", json={"interaction_id": f"conv_{turn_id}", "score": score})
    lines = (await (await client.get("/training/export?min_score=3&only_new=true")).text()).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["messages"] for line in lines] == [
        [{"role": "user", "content": f"asked {score}"}, {"role": "assistant", "content": "said \u2028 \\ \n"}]
        for score in (5, 3)
    ]
    rest = await (await client.get("/training/export?only_new=true")).text()
    assert [json.loads(line)["messages"][0]["content"] for line in rest.splitlines()] == ["asked 1"]
    assert (await (await client.get("/training/export?only_new=true")).text()) == ""
    assert (await (await client.get("/training/export?since=2099-01-01T00:00:00%2B01:00")).text()) == ""


async def test_conversations_are_paged_newest_first(household: Household, client: Client) -> None:
    turns = [household.turn(user=f"question {number}") for number in range(3)]
    assert await household.journal.flush(30)
    page = await (await client.get("/conversations?limit=4")).json()
    assert [message["interaction_id"] for message in page["messages"]] == [
        f"conv_{turn}" for turn in (turns[2], turns[2], turns[1], turns[1])
    ]
    rest = await (await client.get(f"/conversations?before={page['next']}&role=user")).json()
    assert [message["content"] for message in rest["messages"]] == ["question 0"]
    assert rest["next"] is None
    assert (await (await client.get("/conversations?conversation_id=other")).json())["messages"] == []


async def test_the_cache_is_told_about_and_cleared(client: Client) -> None:
    stats = await (await client.get("/cache/stats")).json()
    assert {"hits", "misses", "bypasses", "entries", "bytes", "hit_rate", "model_seconds_saved"} <= stats.keys()
    for query in ("", "?all=true", "?query=what%20is%20it"):
        assert await (await client.delete(f"/cache/clear{query}")).json() == {"cleared": 0}


async def test_an_import_takes_good_lines_and_reports_the_others_by_number(
    household: Household, client: Client
) -> None:
    lines = [
        b'{"content": "one", "tags": ["t"]}',
        b"not json",
        b"",
        b'{"content": "two", "colour": 1}',
        b'{"content": "' + b"x" * 300_000 + b'"}',
        b'{"content": " "}',
        '{"content": "zażółć"}'.encode(),
    ]
    answer = await client.post(
        "/memory/import", data=b"\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status == 200
    report = await answer.json()
    assert (report["added"], report["refused"]) == (2, 4)
    assert [error["line"] for error in report["errors"]] == [2, 4, 5, 6]
    found = await (await client.get("/memory/search?query=zażółć&limit=1")).json()
    assert found["results"][0]["content"] == "zażółć"


async def test_a_long_import_is_embedded_late(household: Household, client: Client) -> None:
    lines = b"".join(b'{"content": "fact number %d"}\n' % number for number in range(700))
    report: dict[str, Any] = await (
        await client.post("/memory/import", data=lines, headers={"Content-Type": "application/jsonl"})
    ).json()
    assert report["added"] == 700
    assert 0 < report["without_vector"] < 700
    await household.late.embed_all()
    found = await (await client.get("/memory/search?query=fact%20number%20699&limit=1")).json()
    assert found["complete"] is True
    assert found["results"][0]["content"] == "fact number 699"


async def test_without_its_embedding_model_memory_goes_by_words(household: Household, client: Client) -> None:
    household.model.embed_failing = (500, "out of memory")
    assert (await client.post("/memory/add", json={"content": "The bins go out on Tuesday"})).status == 201
    found = await (await client.get("/memory/search?query=bins%20Tuesday")).json()
    assert found["mode"] == "text"
    assert found["results"][0]["content"] == "The bins go out on Tuesday"
    household.model.embed_failing = None
    await household.late.embed_all()
    found = await (await client.get("/memory/search?query=the%20bins")).json()
    assert (found["mode"], found["complete"]) == ("hybrid", True)


async def test_a_search_says_how_it_found(household: Household, client: Client) -> None:
    for number, content in enumerate(("The thermostat is in the hall", "The hall is blue", "Bread is in the kitchen")):
        await client.post("/memory/add", json={"content": content, "kind": "fact" if number else "place"})
    asked = "/memory/search?query=where%20is%20the%20thermstat"
    found = await (await client.get(f"{asked}&explain=true")).json()
    assert found["mode"] == "hybrid"
    assert {"embed", "text", "vector"} <= found["took_ms"].keys()
    best = next(hit for hit in found["results"] if hit["content"] == "The thermostat is in the hall")
    assert best["explanation"]["text"]["rank"] == 1
    assert best["explanation"]["vector"]["score"] == best["explanation"]["cosine"]
    assert best["explanation"]["cosine"] < best["score"] <= best["explanation"]["cosine"] + 0.15

    by_words = await (await client.get(f"{asked}&mode=text")).json()
    assert (by_words["mode"], by_words["complete"], by_words["took_ms"]) == ("text", True, None)
    assert by_words["results"][0]["content"] == "The thermostat is in the hall"
    assert by_words["results"][0]["explanation"] is None
    by_meaning = await (await client.get(f"{asked}&mode=vector&explain=true")).json()
    assert by_meaning["mode"] == "vector"
    assert all(hit["explanation"]["text"] is None for hit in by_meaning["results"])
    for mode in ("hybrid", "vector", "text"):
        places = await (await client.get(f"{asked}&mode={mode}&kind=place")).json()
        assert [hit["content"] for hit in places["results"]] == ["The thermostat is in the hall"]
        for unmet in ("since=2199-01-01T00:00:00Z", "until=2001-01-01T00:00:00Z", "kind=nothing"):
            assert (await (await client.get(f"{asked}&mode={mode}&{unmet}")).json())["results"] == []


async def test_what_is_typed_is_completed(client: Client) -> None:
    for content in ("The thermostat is in the hall", "Thermos flasks: hall cupboard", "Zażółć"):
        await client.post("/memory/add", json={"content": content})

    async def suggested(prefix: str) -> list[tuple[str, int]]:
        found = await (await client.get("/memory/suggest", params={"prefix": prefix})).json()
        return [(one["text"], one["entries"]) for one in found["suggestions"]]

    assert await suggested("Is the ha") == [("Is the hall", 2)]
    assert await suggested("THERM") == [("thermos", 1), ("thermostat", 1)]
    assert await suggested("zażó") == [("zazolc", 1)]
    assert await suggested("the hall ") == []
    assert await suggested("?") == []


async def test_members_see_their_own_and_what_is_shared(
    household: Household, scope: Scope, admin: asyncpg.Connection
) -> None:
    await add_member(admin, scope, "Ada", "ada-token")
    await add_member(admin, scope, "Bob", "bob-token")
    async with (
        household.client() as anyone,
        household.client(headers={"Authorization": "Bearer ada-token"}) as ada,
        household.client(headers={"Authorization": "Bearer bob-token"}) as bob,
    ):
        own = await (await ada.post("/memory/add", json={"content": "Ada's secret garden"})).json()
        await ada.post("/memory/add", json={"content": "everyone's garden", "shared": True})
        await ada.post("/preferences/set", json={"key": "colour", "value": "red"})
        await anyone.post("/preferences/set", json={"key": "colour", "value": "blue"})

        for stranger in (bob, anyone):
            assert (await stranger.get(f"/memory/{own['id']}")).status == 404
            assert (await stranger.patch(f"/memory/{own['id']}", json={"content": "mine"})).status == 404
            assert (await stranger.delete(f"/memory/{own['id']}")).status == 404
            found = await (await stranger.get("/memory/search?query=secret%20garden")).json()
            assert [hit["content"] for hit in found["results"]] == ["everyone's garden"]
            assert (await (await stranger.get("/preferences/get?key=colour")).json())["value"] == "blue"
        found = await (await ada.get("/memory/search?query=secret%20garden")).json()
        assert [hit["content"] for hit in found["results"]] == ["Ada's secret garden", "everyone's garden"]
        mine = await (await ada.get(f"/memory/search?query=garden&member={own['member_id']}")).json()
        assert [hit["content"] for hit in mine["results"]] == ["Ada's secret garden"]
        assert (await (await ada.get("/preferences/get?key=colour")).json())["value"] == "red"
