"""The rest of Ollama's API, by its official client: with an Ollama behind the gateway, and with the embedded models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import ollama
import pytest

from gateway.app import listening, open_gateway
from gateway.config import EmbeddingSettings, LlmSettings, PostgresSettings, ServerSettings, Settings
from gateway.edge.keys import CHAT
from gateway.store.address import Address
from tests.house import House
from tests.scripted_model import CUT, HANG, Answer, ErrorLine

MODEL = "qwen3:4b-instruct"


@pytest.fixture
async def client(house: House) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(house.url) as client:
        yield client


# --- with an Ollama behind ----------------------------------------------------------------------------------------


async def test_generate(house: House, client: ollama.AsyncClient) -> None:
    house.model.script(Answer("Once ", "upon"), Answer("Once ", "upon"))
    whole = await client.generate(MODEL, "A story", system="Be brief.", raw=True, options={"seed": 7})
    assert whole.response == "Once upon"
    assert whole.context == list(range(30_000))
    parts = [part async for part in await client.generate(MODEL, "A story", stream=True, keep_alive="1m")]
    assert [part.response for part in parts] == ["Once ", "upon", ""]
    assert parts[-1].done
    first, second = house.model.seen("/api/generate")
    assert (first["system"], first["raw"], first["options"]["seed"]) == ("Be brief.", True, 7)
    # The same context length as every turn's: another would make Ollama load the model again.
    assert first["options"]["num_ctx"] == second["options"]["num_ctx"] == 8192
    assert (first["keep_alive"], second["keep_alive"]) == ("30m", "1m")
    assert await house.logged() == []


async def test_what_generate_fails_with_is_ollamas(house: House, client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        await client.generate("no-such-model", "A story")
    assert missing.value.status_code == 404
    house.model.script(Answer("Once ", ErrorLine("out of memory")), Answer("Once ", CUT), Answer("Once ", CUT))
    with pytest.raises(ollama.ResponseError, match="out of memory"):
        await client.generate(MODEL, "A story")
    with pytest.raises(ollama.ResponseError, match="broke off"):
        await client.generate(MODEL, "A story")
    stream = await client.generate(MODEL, "A story", stream=True)
    assert (await anext(stream)).response == "Once "
    with pytest.raises(ollama.ResponseError, match="broke off"):
        await anext(stream)
    for bad in (b"{", b"[]", b'{"prompt": "x"}', b'{"model": "m", "stream": 1}', b'{"model": "m", "options": [1]}'):
        async with house.client.post("/api/generate", data=bad) as response:
            assert (response.status, set(await response.json())) == (400, {"error"})


async def test_generate_waits_its_turn_and_ends_with_its_client(house: House) -> None:
    house.model.script(Answer("Once ", HANG))
    async with house.client.post("/api/generate", json={"model": MODEL, "prompt": "A story"}) as response:
        assert b"Once" in await response.content.readline()
        turn = asyncio.create_task(house.say("What is the capital of France?"))
        while house.gateway.application[CHAT].queue.waiting == 0:
            await asyncio.sleep(0.01)
        assert house.model.chats == []
        response.close()
    await asyncio.wait_for(house.model.client_gone.wait(), 20)
    assert (await turn)["error"] is None


async def test_a_chat_without_messages_loads_the_model(house: House, client: ollama.AsyncClient) -> None:
    await client.chat(MODEL, keep_alive=0)
    assert house.model.chats[-1]["messages"] == []
    assert house.model.chats[-1]["keep_alive"] == 0
    assert house.model.chats[-1]["options"] == {"num_ctx": 8192}


async def test_pull_tells_its_progress(house: House, client: ollama.AsyncClient) -> None:
    house.model.pull_gate = asyncio.Event()
    seen: list[int | None] = []
    async for progress in await client.pull("all-minilm", stream=True):
        seen.append(progress.completed)
        if progress.completed == 0:
            house.model.pull_gate.set()  # it came while the rest was not there yet
        last = progress.status
    assert (seen, last) == ([None, 0, 512, 1024, None, None], "success")
    assert (await client.pull("all-minilm")).status == "success"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        await client.pull("no-such-model")
    stream = await client.pull("no-such-model", stream=True)
    assert (await anext(stream)).status == "pulling manifest"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        await anext(stream)


async def test_what_ollama_knows_is_told(house: House, client: ollama.AsyncClient) -> None:
    assert (await client.show(MODEL)).capabilities == ["completion", "tools"]
    assert (await client.ps()).models == []
    with pytest.raises(ollama.ResponseError) as missing:
        await client.show("no-such-model")
    assert (missing.value.status_code, missing.value.error) == (404, "model 'no-such-model' not found")


async def test_embeddings_are_ollamas_own(house: House, client: ollama.AsyncClient) -> None:
    made = await client.embed("nomic-embed-text", ["one", "two"], truncate=False)
    assert [len(vector) for vector in made.embeddings] == [768, 768]
    assert house.model.seen("/api/embed")[-1]["truncate"] is False
    assert len((await client.embeddings("nomic-embed-text", "one")).embedding) == 768


async def test_the_rest_is_passed_on(house: House, client: ollama.AsyncClient, tmp_path: Path) -> None:
    assert (await client.delete("nomic-embed-text:latest")).status == "success"
    assert "nomic-embed-text:latest" not in house.model.models
    with pytest.raises(ollama.ResponseError) as missing:
        await client.delete("nomic-embed-text:latest")
    assert missing.value.status_code == 404
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x" * 3_000_000)  # over the bound of a body, and not kept
    await client.create_blob(file)
    seen = house.model.requests[-1]
    assert (seen.method, seen.body) == ("POST", 3_000_000)
    async with house.client.get("/api/something/new?x=1&y=%2F") as response:
        assert response.status == 404
    assert house.model.requests[-1].path == "/api/something/new"


async def test_neither_a_token_goes_along_nor_foreign_headers_come_back(house: House) -> None:
    headers = {"Cookie": "secret", "X-Request-Id": "abc"}
    body = {"model": "nomic-embed-text:latest"}
    async with house.client.delete("/api/delete", json=body, headers=headers) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "X-Ollama" not in response.headers
    passed = {name.lower() for name in house.model.requests[-1].headers}
    assert not passed & {"cookie", "authorization", "x-request-id", "origin"}


async def test_ollama_is_known_by_its_words(house: House) -> None:
    async with house.client.get("/") as response:
        assert (response.status, await response.text()) == (200, "Ollama is running")
    async with house.client.head("/") as response:
        assert response.status == 200


async def test_an_ollama_that_is_away(house: House, client: ollama.AsyncClient) -> None:
    await house.model.stop()
    for call in (client.ps(), client.show(MODEL), client.generate(MODEL, "x"), client.pull("all-minilm")):
        with pytest.raises(ollama.ResponseError) as away:
            await call
        assert away.value.status_code == 503


# --- with the embedded models -------------------------------------------------------------------------------------


@pytest.fixture
async def alone(address: Address, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a gateway with no Ollama."""
    settings = Settings(
        data=tmp_path / "data",
        postgres=PostgresSettings(
            host=address.host, port=address.port, user=address.user, database=address.database, pool_size=4
        ),
        llm=LlmSettings(backend="embedded"),
        embedding=EmbeddingSettings(backend="embedded"),
        server=ServerSettings(port=0, shutdown_seconds=1),
    )
    async with (
        open_gateway(settings, lambda words: None) as gateway,
        listening(gateway.application, settings) as port,
    ):
        yield f"http://127.0.0.1:{port}"


async def test_the_embedded_models_answer_what_they_can(alone: str) -> None:
    async with ollama.AsyncClient(alone) as client:
        short = {"num_predict": 4, "seed": 1, "temperature": 0}
        whole = await client.generate("smollm2:135m", "What is the capital of France?", system="Brief.", options=short)
        assert whole.response
        assert whole.done_reason == "length"
        assert whole.eval_count == 4
        stream = await client.generate("smollm2", "What is the capital of France?", options=short, stream=True)
        parts = [part async for part in stream]
        assert len(parts) > 2
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        assert (await client.generate("smollm2:135m")).done_reason == "load"
        assert (await client.chat("smollm2:135m")).done_reason == "load"

        for name in ("smollm2:135m", "smollm2", "smollm2:latest"):
            assert (await client.pull(name)).status == "success"
        assert [one.status async for one in await client.pull("smollm2", stream=True)][-1] == "success"
        shown = await client.show("smollm2:135m")
        assert shown.capabilities == ["completion"]
        assert shown.details is not None
        assert shown.details.family == "llama"
        assert [one.model for one in (await client.ps()).models] == ["smollm2:135m"]

        made = await client.embed("multilingual-e5-small", ["Where is the cat?", "The cat is in the garden."])
        one, two = (np.asarray(vector) for vector in made.embeddings)
        assert len(one) == 384
        assert one @ two > 0.8
        assert (await client.embeddings("multilingual-e5-small", "Where is the cat?")).embedding == pytest.approx(one)
        assert (await client.embeddings("multilingual-e5-small", "")).embedding == []


async def test_the_embedded_models_refuse_in_ollamas_words(alone: str) -> None:
    async with ollama.AsyncClient(alone) as client:
        for call, status, says in (
            (client.generate("llama3", "x"), 404, "model 'llama3' not found"),
            (client.generate("smollm2:135m", "x", raw=True), 400, "template"),
            (client.generate("smollm2:135m", "x", images=[b"x"]), 400, "vision"),
            (client.generate("smollm2:135m", "x", think=True), 400, "thinking"),
            (client.pull("llama3"), 500, "file does not exist"),
            (client.show("llama3"), 404, "model 'llama3' not found"),
            (client.embed("llama3", "x"), 404, "model 'llama3' not found"),
            (client.embed("smollm2:135m", "x"), 501, "does not support embeddings"),
            (client.embed("multilingual-e5-small", "x", dimensions=100), 400, "384"),
            (client.delete("smollm2:135m"), 404, "no Ollama"),
            (client.copy("smollm2:135m", "x"), 404, "no Ollama"),
        ):
            with pytest.raises(ollama.ResponseError, match=says) as refused:
                await call
            assert refused.value.status_code == status
    async with aiohttp.ClientSession(alone) as session:
        async with session.post("/api/pull", json={"model": "llama3"}) as response:
            lines = [json.loads(line) async for line in response.content]
        assert (response.status, lines[-1]) == (200, {"error": "pull model manifest: file does not exist"})
        for bad in ({"prompt": 3}, {"images": "x", "prompt": "x"}, {"options": 1, "prompt": "x"}):
            async with session.post("/api/generate", json={"model": "smollm2:135m", **bad}) as response:
                assert response.status == 400
        async with session.post("/api/embed", json={"model": "multilingual-e5-small", "input": [1]}) as response:
            assert response.status == 400
        async with session.post(
            "/v1/embeddings", json={"model": "multilingual-e5-small", "input": "a cat"}
        ) as response:
            assert len((await response.json())["data"][0]["embedding"]) == 384
        async with session.post("/v1/embeddings", json={"model": "llama3", "input": "a cat"}) as response:
            assert response.status == 404
