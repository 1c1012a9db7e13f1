"""A whole gateway on a real database, with a scripted model for exact answers, delays and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from pydantic.json_schema import models_json_schema

from gateway.app import Gateway, listening, open_gateway
from gateway.config import OllamaSettings, PostgresSettings, ServerSettings, Settings
from gateway.edge import keys
from gateway.store.address import Address
from tests.household import languages
from tests.scripted_model import ScriptedModel


@dataclass(frozen=True)
class House:
    """The gateway's client, the model behind it, and the database below it."""

    url: str
    client: aiohttp.ClientSession
    model: ScriptedModel
    gateway: Gateway
    admin: asyncpg.Connection

    async def say(self, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """One turn through `/conversation`; the whole reply."""
        async with self.client.post("/conversation", json={"text": text, **more}, headers=headers) as response:
            assert response.status == 200, await response.text()
            body: dict[str, Any] = await response.json()
            return body

    async def logged(self) -> list[asyncpg.Record]:
        """Every row of `conversations`, in order, once the journal is drained."""
        assert await self.gateway.application[keys.JOURNAL].flush(20)
        return list(await self.admin.fetch("SELECT * FROM conversations ORDER BY id"))


@pytest.fixture(scope="session", autouse=True)
def made_once() -> Iterator[None]:
    """What takes most of a gateway's start and is the same for all: the classifier, and the schemas of the REST edge.

    A classifier's table of 39 MB would also outlive its gateway for many tests.
    """
    schemas = cache(models_json_schema)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.app.Languages", lambda known, folder: languages(known))
        patch.setattr("gateway.edge.openapi.models_json_schema", lambda models, **more: schemas(tuple(models), **more))
        yield


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture
def settings(address: Address, model: ScriptedModel, tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path / "data",
        postgres=PostgresSettings(
            host=address.host, port=address.port, user=address.user, database=address.database, pool_size=4
        ),
        ollama=OllamaSettings(url=model.url),
        server=ServerSettings(port=0, shutdown_seconds=1),
    )


@pytest.fixture
async def house(
    settings: Settings, model: ScriptedModel, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    # On a machine that is busy with other tests a second may pass between two reads of the epoch.
    monkeypatch.setattr("gateway.store.epoch.CONFIRMED_SECONDS", 30.0)
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield House(f"http://127.0.0.1:{port}", client, model, gateway, admin)


def speech(reply: dict[str, Any]) -> str:
    """What was said."""
    said: str = reply["response"]["speech"]["plain"]["speech"]
    return said
