"""What clients see of the queue: where their turn stands, if they ask; and when to come back, if it is full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import orjson
import pytest

from gateway.config import LlmServerSettings, Settings
from gateway.edge.keys import CHAT
from gateway.llm.queue import FIRST_GUESS_SECONDS
from tests.house import House, speech
from tests.scripted_model import HANG, Answer, ScriptedModel

MODEL = "qwen3:4b-instruct"
ASKS = {"Prefer": "respond-async, Queue-Status;x=1"}
CHAT_BODY = {"model": MODEL, "messages": [{"role": "user", "content": "And the second?"}]}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"llm": settings.llm.model_copy(update={"queue_size": 1})})


@asynccontextmanager
async def busy(house: House) -> AsyncIterator[asyncio.Event]:
    """The model answers somebody else, until the event is set."""
    gate = asyncio.Event()
    house.model.script(Answer(gate, "The first."))
    other = asyncio.create_task(house.say("What is the first prime number?"))
    await house.model.arrived(1)
    try:
        yield gate
    finally:
        gate.set()
        await other


async def waits(house: House) -> None:
    """Returns once a turn waits."""
    async with asyncio.timeout(20):
        while not house.gateway.application[CHAT].queue.waiting:
            await asyncio.sleep(0.005)


async def test_ollamas_client_that_asks_is_told_where_it_stands(house: House) -> None:
    async with busy(house) as gate, house.client.post("/api/chat", json=CHAT_BODY, headers=ASKS) as response:
        assert response.headers["Preference-Applied"] == "queue-status"
        first = json.loads(await response.content.readline())
        assert first["queue"] == {"position": 1, "expected_seconds": pytest.approx(FIRST_GUESS_SECONDS, abs=3)}
        assert (first["model"], first["done"]) == (MODEL, False)
        assert first["message"] == {"role": "assistant", "content": ""}
        gate.set()
        rest = [json.loads(line) async for line in response.content]
    assert rest[0]["queue"] == {"position": 0, "expected_seconds": 0.0}
    assert "".join(line["message"]["content"] for line in rest) == "I heard: And the second?"
    assert (rest[-1]["done"], "queue" in rest[-1]) == (True, False)


async def test_who_does_not_ask_hears_nothing_of_the_queue(house: House) -> None:
    async with busy(house) as gate:
        asked = asyncio.create_task(house.client.post("/api/chat", json=CHAT_BODY))
        await waits(house)
        assert not asked.done()
        gate.set()
        response = await asked
        lines = [json.loads(line) async for line in response.content]
    assert "Preference-Applied" not in response.headers
    assert not any("queue" in line for line in lines)
    assert lines[0]["message"]["content"]


async def test_who_asks_and_need_not_wait_gets_the_answer_alone(house: House) -> None:
    async with house.client.post("/api/chat", json=CHAT_BODY, headers=ASKS) as response:
        assert not any(["queue" in json.loads(line) async for line in response.content])
    house.model.script(Answer(status=500, error="out of memory"))
    body = {**CHAT_BODY, "messages": [{"role": "user", "content": "And the third?"}]}
    async with house.client.post("/api/chat", json=body, headers=ASKS) as response:
        assert response.status == 500


async def test_openais_client_that_asks_is_told_where_it_stands(house: House) -> None:
    async with busy(house) as gate, openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "And the second?"}], stream=True, extra_headers=ASKS
        )
        told: list[Any] = []
        said = ""
        async for chunk in stream:
            if (place := getattr(chunk, "queue", None)) is not None:
                told.append(place["position"])
                assert chunk.choices == []
                gate.set()
            for choice in chunk.choices:
                said += choice.delta.content or ""
    assert told == [1, 0]
    assert said == "I heard: And the second?"


async def test_a_conversation_that_asks_is_told_where_it_stands(house: House) -> None:
    body = {"text": "And the second?", "stream": True}
    async with busy(house) as gate, house.client.post("/conversation", json=body, headers=ASKS) as response:
        assert response.headers["Preference-Applied"] == "queue-status"
        assert await response.content.readline() == b"event: queue\n"
        told = orjson.loads((await response.content.readline()).removeprefix(b"data: "))
        assert told["position"] == 1
        gate.set()
        rest = await response.text()
    assert rest.count("event: queue") == 1
    assert rest.count("event: reply") == 1


async def test_a_full_queue_is_a_503_that_says_when_to_come_back_and_a_voice_hears_it(house: House) -> None:
    async with busy(house) as gate:
        # Ahead of a chat that comes now: who speaks goes first, and takes the room that there is.
        waiting = asyncio.create_task(house.say("And the second?"))
        await waits(house)
        for path in ("/api/chat", "/v1/chat/completions"):
            async with house.client.post(path, json=CHAT_BODY) as response:
                assert response.status == 503
                assert 1 <= int(response.headers["Retry-After"]) <= 120
        refused = await house.say("And the third?")
        assert refused["error"]["code"] == "queue_full"
        assert "busy" in speech(refused)
        gate.set()
        assert (await waiting)["error"] is None


async def test_who_speaks_takes_the_room_of_who_writes(house: House) -> None:
    async with busy(house) as gate:
        chat = asyncio.create_task(house.client.post("/api/chat", json=CHAT_BODY))
        await waits(house)
        voice = asyncio.create_task(house.say("And the third?"))
        assert (await chat).status == 503
        gate.set()
        assert speech(await voice).endswith("And the third?")


async def test_who_leaves_the_queue_makes_room_and_the_model_never_hears_of_it(house: House) -> None:
    async with busy(house) as gate:
        async with house.client.post("/api/chat", json=CHAT_BODY, headers=ASKS) as response:
            await response.content.readline()
            response.close()
        async with asyncio.timeout(20):
            while house.gateway.application[CHAT].queue.waiting:
                await asyncio.sleep(0.005)
        gate.set()
    assert len(house.model.chats) == 1


async def test_who_leaves_in_mid_answer_ends_the_generation(house: House) -> None:
    house.model.script(Answer("Once ", HANG))
    async with house.client.post("/api/chat", json=CHAT_BODY) as response:
        assert b"Once" in await response.content.readline()
        response.close()
    await asyncio.wait_for(house.model.client_gone.wait(), 20)
    assert house.gateway.application[CHAT].queue.active == 0


async def test_the_figures_tell_of_the_queue(house: House) -> None:
    async with busy(house) as gate:
        waiting = asyncio.create_task(house.say("And the second?"))
        await waits(house)
        async with house.client.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        gate.set()
        await waiting
    server = house.model.url.removeprefix("http://")
    assert 'gateway_queue_waiting{priority="voice"} 1.0' in lines
    assert "gateway_queue_active 1.0" in lines
    assert f'gateway_model_up{{server="{server}"}} 1.0' in lines
    assert f'gateway_model_active{{server="{server}"}} 1.0' in lines
    assert any(line.startswith("gateway_queue_expected_seconds ") and float(line.split()[1]) > 0 for line in lines)


class TestSeveralServers:
    """Two of them."""

    @pytest.fixture
    async def second(self) -> AsyncIterator[ScriptedModel]:
        async with ScriptedModel() as model:
            yield model

    @pytest.fixture
    def settings(self, settings: Settings, model: ScriptedModel, second: ScriptedModel) -> Settings:
        servers = (LlmServerSettings(url=model.url), LlmServerSettings(url=second.url, models=(MODEL,)))
        return settings.model_copy(update={"llm": settings.llm.model_copy(update={"servers": servers})})

    async def test_a_turn_moves_on_to_the_other_and_readiness_tells_each(
        self, house: House, second: ScriptedModel
    ) -> None:
        await house.model.stop()
        assert speech(await house.say("Who wrote Hamlet?")).endswith("Who wrote Hamlet?")
        assert len(second.chats) == 1
        async with house.client.get("/readyz") as response:
            assert response.status == 200
            told = await response.json()
        assert told["status"] == "degraded"
        well = {name: part["ok"] for name, part in told["parts"].items() if name.startswith("chat")}
        first_name, second_name = (url.removeprefix("http://") for url in (house.model.url, second.url))
        assert well == {"chat": True, f"chat at {first_name}": False, f"chat at {second_name}": True}
        assert not told["parts"][f"chat at {first_name}"]["needed"]

    async def test_what_is_passed_on_goes_where_the_model_is(self, house: House, second: ScriptedModel) -> None:
        body = {"model": MODEL, "prompt": "A story", "stream": False}
        async with (
            house.gateway.application[CHAT].place(MODEL),  # the first is busy
            house.client.post("/api/generate", json=body) as response,
        ):
            assert (await response.json())["response"] == "I heard: A story"
        assert len(second.seen("/api/generate")) == 1
