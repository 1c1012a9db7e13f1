"""Who may, and in whose words a refusal comes."""

from __future__ import annotations

import logging

import asyncpg
import pytest

from gateway.config import OPEN_TO_ANYONE, ServerSettings, Settings
from gateway.errors import StoreUnavailable
from gateway.shapes import Scope
from tests.household import Client, Household, add_member


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "[::1]:8080",
        "192.168.1.5",
        "pi.local",
        "gw.example",
    ],
)
async def test_known_hosts_are_let_in(household: Household, host: str) -> None:
    async with household.client(Settings(server=ServerSettings(allowed_hosts=("gw.example",)))) as client:
        assert (await client.get("/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "local", "user@localhost", "::1", "a:b:c"],
)
async def test_unknown_hosts_are_not(client: Client, host: str) -> None:
    answer = await client.get("/healthz", headers={"Host": host})
    assert answer.status == 403
    assert (await answer.json())["error"]["field"] == "Host"


@pytest.mark.parametrize(
    "origin, status",
    [
        ("http://127.0.0.1:8080", 200),
        ("https://gw.example", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://127.0.0.1", 403),
        ("http://192.168.1.5:8080", 403),
        ("null", 403),
        ("file://", 403),
        ("http://127.0.0.1:8080@evil.example", 403),
    ],
)
async def test_a_foreign_origin_is_refused(household: Household, origin: str, status: int) -> None:
    async with household.client(Settings(server=ServerSettings(allowed_hosts=("gw.example",)))) as client:
        answer = await client.get("/memory", headers={"Host": "127.0.0.1:8080", "Origin": origin})
        assert answer.status == status


async def test_a_page_elsewhere_may_link_to_the_documentation_and_load_nothing(client: Client) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert (await client.get("/docs", headers=elsewhere)).status == 200
    assert (await client.get("/training/export", headers=elsewhere)).status == 403


async def test_tokens_name_members_and_unknown_ones_are_refused_everywhere(
    household: Household, scope: Scope, admin: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await add_member(admin, scope, "Ada", "ada-token")
    async with household.client() as client:
        for header in ("Bearer wrong", "Bearer ", "Bearer", "Basic YTpi", "ada-token", "Bearer \udcff"):
            answer = await client.get("/memory", headers={"Authorization": header})
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        known = {"Authorization": "bearer ada-token"}
        assert (await client.get("/memory", headers=known)).status == 200
    assert "ada-token" not in caplog.text


async def test_from_elsewhere_a_token_is_needed(household: Household, scope: Scope, admin: asyncpg.Connection) -> None:
    await add_member(admin, scope, "Ada", "ada-token")
    elsewhere = {"X-Forwarded-For": "203.0.113.7"}  # a proxy on this machine speaks for someone who is not
    async with household.client() as client:
        for path in ("/memory", "/metrics", "/training/export", "/nowhere"):
            assert (await client.get(path, headers=elsewhere)).status == 401
        for path in ("/healthz", "/docs", "/openapi.json"):
            assert (await client.get(path, headers=elsewhere)).status == 200
        known = {**elsewhere, "Authorization": "Bearer ada-token"}
        assert (await client.get("/memory", headers=known)).status == 200
    opened = Settings(server=ServerSettings(open_to_anyone=OPEN_TO_ANYONE))
    async with household.client(opened) as client:
        assert (await client.get("/memory", headers=elsewhere)).status == 200


async def test_a_token_known_before_is_believed_while_the_database_is_away(
    household: Household, scope: Scope, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(admin, scope, "Ada", "ada-token")
    monkeypatch.setattr("gateway.edge.middleware.TOKEN_FRESH_SECONDS", 0.0)
    async with household.client() as client:
        known = {"Authorization": "Bearer ada-token"}
        assert (await client.get("/cache/stats", headers=known)).status == 200

        def away(*_: object) -> None:
            raise StoreUnavailable("PostgreSQL is away")

        monkeypatch.setattr("gateway.store.members.by_token_hash", away)
        assert (await client.get("/cache/stats", headers=known)).status == 200
        answer = await client.get("/cache/stats", headers={"Authorization": "Bearer another"})
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        monkeypatch.undo()


async def test_a_revoked_token_ends(
    household: Household, scope: Scope, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(admin, scope, "Ada", "ada-token")
    monkeypatch.setattr("gateway.edge.middleware.TOKEN_FRESH_SECONDS", 0.0)
    async with household.client(headers={"Authorization": "Bearer ada-token"}) as client:
        assert (await client.get("/memory")).status == 200
        await admin.execute("UPDATE members SET revoked_at = now()")
        assert (await client.get("/memory")).status == 401


async def test_errors_speak_the_language_of_their_path(client: Client) -> None:
    ours = await (await client.get("/nowhere")).json()
    assert ours["error"]["code"] == "not_found"
    ollama = await (await client.get("/api/nowhere")).json()
    assert isinstance(ollama["error"], str)
    openai = await (await client.get("/v1/nowhere")).json()
    assert openai["error"]["type"] == "invalid_request_error"


async def test_what_has_no_name_is_500_without_its_words(
    household: Household, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(household.knowledge, "page", broken)
    answer = await client.get("/memory", headers={"X-Request-Id": "mine-1"})
    assert answer.status == 500
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert "secret" not in await answer.text()
    assert "a secret detail" in caplog.text
    assert "mine-1" in caplog.text


async def test_request_ids_are_minted_where_none_fits(client: Client) -> None:
    for given in ("", "a b", "x" * 65, "ż"):
        answer = await client.get("/healthz", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] not in ("", given)


async def test_readiness_tells_each_part(household: Household, client: Client) -> None:
    assert (await (await client.get("/readyz")).json())["status"] == "ready"
    household.parts_away = {"postgres"}
    answer = await client.get("/readyz")
    assert answer.status == 200
    assert await answer.json() == {
        "status": "degraded",
        "parts": {
            "chat": {"ok": True, "needed": True, "message": None},
            "postgres": {"ok": False, "needed": False, "message": "postgres is away"},
        },
    }
    household.parts_away = {"chat"}
    assert (await client.get("/readyz")).status == 503
    assert (await client.get("/healthz")).status == 200


async def test_figures_name_paths_by_their_pattern(client: Client) -> None:
    await client.get("/memory/12345")
    await client.get("/secret-path")
    figures = await (await client.get("/metrics")).text()
    assert 'gateway_http_requests_total{path="/memory/{id}",status="404"}' in figures
    assert "12345" not in figures
    assert "secret-path" not in figures
