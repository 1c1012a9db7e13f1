"""A whole gateway whose database and model server are reached through proxies that can be told to misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from gateway.app import listening, open_gateway
from gateway.config import (
    OllamaSettings,
    PostgresSettings,
    RecallSettings,
    ServerSettings,
    Settings,
)
from gateway.edge import status
from gateway.memory import knowledge, preferences, rounds
from gateway.store import epoch, journal, pool
from gateway.store.address import Address
from gateway.training import feedback
from gateway.turn import understand
from tests.faults.proxy import Proxy
from tests.house import House
from tests.scripted_model import ScriptedModel


@pytest.fixture
async def postgres_proxy(address: Address) -> AsyncIterator[Proxy]:
    async with Proxy(f"{address.host}/.s.PGSQL.{address.port}") as proxy:
        yield proxy


@pytest.fixture
async def model_proxy(model: ScriptedModel) -> AsyncIterator[Proxy]:
    where = urlsplit(model.url)
    assert where.hostname is not None
    async with Proxy(where.hostname, where.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds that no setting holds, shortened for tests that wait for them."""
    for module, name, seconds in (
        (pool, "GRACE_SECONDS", 0.5),
        (pool, "CONNECT_SECONDS", 1.0),
        (epoch, "LONGEST_PAUSE_SECONDS", 0.5),
        (knowledge, "ONE_DOCUMENT_SECONDS", 1.0),
        (rounds, "IDLE_SECONDS", 0.5),
        (status, "CHECK_SECONDS", 1.0),
        (knowledge, "JOURNAL_SECONDS", 0.5),
        (knowledge, "IMPORT_PAUSE_SECONDS", 0.05),
        (preferences, "JOURNAL_SECONDS", 0.5),
        (feedback, "JOURNAL_SECONDS", 0.5),
        (understand, "PATIENCE_SECONDS", 0.5),
        (journal, "LONGEST_PAUSE_SECONDS", 0.5),
        (journal, "CLOSE_SECONDS", 1.0),
        (journal, "PATIENCE_SECONDS", 0.5),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def model_url(model_proxy: Proxy) -> str:
    return f"http://127.0.0.1:{model_proxy.port}"


@pytest.fixture
def settings(address: Address, postgres_proxy: Proxy, model_url: str, tmp_path: Path) -> Settings:
    """Bounds that a test can wait for."""
    return Settings(
        data=tmp_path / "data",
        postgres=PostgresSettings(
            host="127.0.0.1",
            port=postgres_proxy.port,
            user=address.user,
            database=address.database,
            pool_size=4,
            acquire_seconds=0.5,
            statement_seconds=0.5,
        ),
        ollama=OllamaSettings(url=model_url),
        recall=RecallSettings(seconds=0.4),
        server=ServerSettings(port=0, shutdown_seconds=1),
    )


@pytest.fixture
async def house(settings: Settings, model: ScriptedModel, admin: asyncpg.Connection) -> AsyncIterator[House]:
    """As elsewhere, but for the second after which the memory's state counts as unknown: that is what is tested."""
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield House(f"http://127.0.0.1:{port}", client, model, gateway, admin)
