"""Bad input gets a clear 4xx that names the field, and changes nothing."""

from __future__ import annotations

import io
import json
from typing import Any

import asyncpg
import pytest

from gateway.edge.api import MAX_ID
from tests.household import Client

JSON = {"Content-Type": "application/json"}
TABLES = ("knowledge", "preferences", "training_data", "response_cache", "vectors")


@pytest.mark.parametrize(
    "path, body, field",
    [
        ("/memory/add", {}, "content"),
        ("/memory/add", {"content": ""}, "content"),
        ("/memory/add", {"content": " \n\t"}, "content"),
        ("/memory/add", {"content": None}, "content"),
        ("/memory/add", {"content": 5}, "content"),
        ("/memory/add", {"content": ["a"]}, "content"),
        ("/memory/add", {"content": "x" * 8001}, "content"),
        ("/memory/add", {"content": "a\x00b"}, "content"),
        ("/memory/add", {"content": "a\ud800b"}, "content"),
        ("/memory/add", {"content": "a", "colour": "red"}, "colour"),
        ("/memory/add", {"content": "a", "tags": "lighting"}, "tags"),
        ("/memory/add", {"content": "a", "tags": ["ok", 3]}, "tags.1"),
        ("/memory/add", {"content": "a", "tags": ["a,b"]}, "tags.0"),
        ("/memory/add", {"content": "a", "tags": ["t"] * 33}, "tags"),
        ("/memory/add", {"content": "a", "tags": ["\udfff"]}, "tags"),
        ("/memory/add", {"content": "a", "source": "s" * 256}, "source"),
        ("/memory/add", {"content": "a", "pinned": 1}, "pinned"),
        ("/memory/add", {"content": "a", "expires_at": "tomorrow"}, "expires_at"),
        ("/memory/add", {"content": "a", "expires_at": 1767225600}, "expires_at"),
        ("/memory/add", {"content": "a", "expires_at": "2026-01-01T00:00:00"}, "expires_at"),
        ("/memory/add", {"content": "a", "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ("/preferences/set", {"key": "k"}, "value"),
        ("/preferences/set", {"key": "k", "value": None}, "value"),
        ("/preferences/set", {"key": "", "value": 1}, "key"),
        ("/preferences/set", {"key": "k" * 256, "value": 1}, "key"),
        ("/preferences/set", {"key": "k", "value": {"a": ["b\x00"]}}, "value"),
        ("/preferences/set", {"key": "k", "value": {"a\x00": 1}}, "value"),
        ("/preferences/set", {"key": "k", "value": {"a": "\ud83d"}}, "value"),
        ("/preferences/set", {"key": "k", "value": 2**64}, "value"),
        ("/preferences/set", {"key": "k", "value": "x" * 8001}, "value"),
        ("/preferences/set", {"key": "k", "value": 1, "category": "c" * 101}, "category"),
        ("/training/feedback", {"interaction_id": "conv_1"}, "score"),
        ("/training/feedback", {"interaction_id": "conv_1", "score": 0}, "score"),
        ("/training/feedback", {"interaction_id": "conv_1", "score": 6}, "score"),
        ("/training/feedback", {"interaction_id": "conv_1", "score": "5"}, "score"),
        ("/training/feedback", {"interaction_id": "conv_1", "score": 4.5}, "score"),
        ("/training/feedback", {"interaction_id": "conv_1", "score": True}, "score"),
        ("/training/feedback", {"score": 5}, "interaction_id"),
    ],
)
async def test_a_bad_field_is_named(
    client: Client, admin: asyncpg.Connection, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(path, data=json.dumps(body), headers=JSON)
    assert answer.status == 400
    error = (await answer.json())["error"]
    assert error["field"] == field
    assert error["code"] == "bad_request"
    assert field.split(".", maxsplit=1)[0] in error["message"]
    for table in TABLES:
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"content": "a"} x', "not JSON"),
        (b'{"content": NaN}', "content"),
        (b'{"content": "\xff"}', "UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b'"text"', "should be"),
        (b"[]", "should be"),
        (b"null", "should be"),
    ],
)
async def test_what_is_no_json_object_is_refused(client: Client, body: bytes, words: str) -> None:
    answer = await client.post("/memory/add", data=body, headers=JSON)
    assert answer.status == 400
    assert words in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    "path, field",
    [
        ("/memory/search", "query"),
        ("/memory/search?query=", "query"),
        ("/memory/search?query=%20", "query"),
        ("/memory/search?query=a%00b", "query"),
        ("/memory/search?query=%ED%A0%80", "query"),
        ("/memory/search?query=%FF", "query"),
        ("/memory/search?query=a&limit=0", "limit"),
        ("/memory/search?query=a&limit=201", "limit"),
        ("/memory/search?query=a&limit=five", "limit"),
        ("/memory/search?query=a&limit=5.5", "limit"),
        ("/memory/search?query=a&limit=%D9%A5", "limit"),
        ("/memory/search?query=a&limit=1&limit=2", "limit"),
        ("/memory/search?query=a&member=0", "member"),
        (f"/memory/search?query=a&member={MAX_ID + 1}", "member"),
        ("/memory/search?query=a&tags=a,,b", "tags.1"),
        ("/memory/search?query=a&color=red", "color"),
        ("/memory?after=-1", "after"),
        ("/preferences/get?key=", "key"),
        ("/training/export?min_score=9", "min_score"),
        ("/training/export?since=yesterday", "since"),
        ("/training/export?only_new=1", "only_new"),
        ("/conversations?role=system", "role"),
        ("/cache/stats?verbose=true", "verbose"),
    ],
)
async def test_a_bad_parameter_is_named(client: Client, path: str, field: str) -> None:
    from yarl import URL

    answer = await client.get(URL(path, encoded=True))
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field


@pytest.mark.parametrize("number", ["0", str(MAX_ID + 1), "9" * 30, "abc", "-1", "1.0", "%D9%A1"])
@pytest.mark.parametrize("family", ["memory", "preferences"])
async def test_an_id_that_no_row_has_is_404(client: Client, family: str, number: str) -> None:
    answer = await client.get(f"/{family}/{number}")
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "not_found"


async def test_bodies_are_bounded(client: Client, admin: asyncpg.Connection) -> None:
    async def pieces() -> Any:
        yield b'{"content": "'
        for _ in range(20):
            yield b"x" * 65_536
        yield b'"}'

    for body in (io.BytesIO(b'{"content": "' + b"x" * 1_048_576 + b'"}'), pieces()):
        answer = await client.post("/memory/add", data=body, headers=JSON)
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "too_large"
    assert await admin.fetchval("SELECT count(*) FROM knowledge") == 0


async def test_a_body_of_another_type_is_refused(client: Client) -> None:
    for path in ("/memory/add", "/memory/import"):
        answer = await client.post(path, data="content=a", headers={"Content-Type": "application/xml"})
        assert answer.status == 415
    squeezed = await client.post("/memory/add", data=b"no gzip", headers={**JSON, "Content-Encoding": "gzip"})
    assert squeezed.status == 400


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("PUT", "/memory/add", "POST"),
        ("GET", "/memory/add", "POST"),
        ("POST", "/memory/search", "GET"),
        ("DELETE", "/memory", "GET"),
        ("POST", "/memory/1", "DELETE,GET,PATCH"),
        ("GET", "/cache/clear", "DELETE"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(client: Client, method: str, path: str, allowed: str) -> None:
    answer = await client.request(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    assert (await answer.json())["error"]["code"] == "method_not_allowed"


async def test_a_bad_change_leaves_all_as_it_was(client: Client) -> None:
    added = await (await client.post("/memory/add", json={"content": "kept"})).json()
    entry = await (await client.get(f"/memory/{added['id']}")).json()
    for change in ({"content": None}, {"content": "new", "tags": None}, {"id": 7}, {"content": "x" * 8001}, {}):
        assert (await client.patch(f"/memory/{entry['id']}", json=change)).status == 400
    assert await (await client.get(f"/memory/{entry['id']}")).json() == entry


async def test_a_text_of_the_greatest_length_is_taken(client: Client) -> None:
    assert (await client.post("/memory/add", json={"content": "ł" * 8000})).status == 201
