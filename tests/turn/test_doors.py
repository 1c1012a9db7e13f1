"""Who speaks, for clients that can send no header; and what a client may say of itself."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from gateway.config import ServerSettings, Settings
from tests.house import House, speech
from tests.scripted_model import Answer

ASKED = "Which locker number is mine, the locker?"


@pytest.fixture
async def token(house: House) -> str:
    """Ada's token; she has told a secret."""
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, 'Ada', $2)",
        house.gateway.household_id,
        hashlib.sha256(b"ada-token").digest(),
    )
    told = await house.say("Remember that my locker number is 77", headers={"Authorization": "Bearer ada-token"})
    assert told["intent"] == "memory.remember"
    return "ada-token"


async def chat(house: House, door: str = "", *, model: str = "qwen3:4b-instruct", system: str = "Be brief.") -> str:
    """What the model was given as the last message."""
    body: dict[str, Any] = {
        "model": model,
        "stream": False,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": ASKED}],
    }
    async with house.client.post(f"{door}/api/chat", json=body) as response:
        assert response.status == 200, await response.text()
    said: str = house.model.chats[-1]["messages"][-1]["content"]
    return said


async def test_a_token_in_the_path_opens_the_members_memory(house: House, token: str) -> None:
    assert "77" in await chat(house, f"/as/{token}")
    assert "77" in await chat(house, f"/as/{token}/ha")
    assert "77" not in await chat(house)


async def test_an_unknown_token_in_the_path_is_refused(house: House, token: str) -> None:
    async with house.client.post("/as/wrong/api/chat", json={"model": "m", "messages": []}) as response:
        assert response.status == 401
        assert set(await response.json()) == {"error"}


async def test_a_name_without_a_token_opens_nothing(house: House, token: str) -> None:
    assert "77" not in await chat(house, model="qwen3:4b-instruct@ada")
    assert "77" not in await chat(house, system="Be brief.\n[gw user=Ada device=d1 lang=pl]")


async def test_what_a_client_says_of_itself_is_taken_out_and_used(house: House) -> None:
    await chat(house, system="Be brief.\n[gw device=satellite 1 user=None lang=pl]")
    assert house.model.chats[-1]["messages"][0]["content"] == "Be brief."
    rows = await house.logged()
    assert rows[-1]["metadata"]["device_id"] == "satellite 1"
    assert rows[-1]["language"] == "pl"


async def test_by_the_voice_door_a_failure_is_spoken(house: House) -> None:
    await house.model.stop()
    body = {
        "model": "qwen3:4b-instruct",
        "stream": False,
        "messages": [{"role": "user", "content": "Who wrote Hamlet?"}],
    }
    async with house.client.post("/ha/api/chat", json=body) as response:
        assert response.status == 200
        assert (await response.json())["message"]["content"] == "I can't reach my language model at the moment."
    async with house.client.post("/api/chat", json=body) as response:
        assert response.status == 503


class TestBounded:
    """A gateway that answers one request at a time."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        server = ServerSettings(port=0, shutdown_seconds=1, max_connections=1)
        return settings.model_copy(update={"server": server})

    async def test_one_too_many_is_told_to_come_back(self, house: House) -> None:
        gate = asyncio.Event()
        house.model.script(Answer("Once ", gate, "upon"))
        first = asyncio.create_task(house.say("Describe the history of France"))
        await asyncio.wait_for(house.model.arrived(1), 10)
        async with house.client.get("/memory") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
        gate.set()
        assert speech(await first) == "Once upon"


class TestBelieved:
    """A household that believes what its own Home Assistant says of the speaker."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        server = ServerSettings(port=0, shutdown_seconds=1, believed_networks=("127.0.0.0/8",))
        return settings.model_copy(update={"server": server})

    async def test_a_name_opens_the_members_memory(self, house: House, token: str) -> None:
        assert "77" in await chat(house, model="qwen3:4b-instruct@ada")
        assert "77" in await chat(house, system="Be brief.\n[gw user=Ada]")
        assert "77" not in await chat(house, system="Be brief.\n[gw user=Nobody]")
