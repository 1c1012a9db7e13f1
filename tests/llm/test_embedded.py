"""The embedded model: the real one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config import LlmSettings
from gateway.errors import ModelNotFound, ModelRefused, ModelTimeout, ModelUnavailable, StartError
from gateway.llm import embedded
from gateway.llm.embedded import MODEL, EmbeddedChat
from gateway.shapes import ChatRequest, Delta, Message, ToolCall

SETTINGS = LlmSettings(context_tokens=1024)
# With temperature 0 the same prompt gets the same answer on the same machine.
ASK = ChatRequest(
    messages=(Message("user", "What is the capital of Poland?"),),
    model="",
    options={"temperature": 0, "num_predict": 24, "num_ctx": 4096, "unheard_of": True},
)
TOOL = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def chat() -> AsyncIterator[EmbeddedChat]:
    said: list[str] = []
    model = await EmbeddedChat.load(SETTINGS, said.append)
    assert said
    assert MODEL in said[0]
    yield model
    await model.close()


async def answer(chat: EmbeddedChat, request: ChatRequest) -> list[Delta]:
    async with aclosing(chat.stream(request)) as stream:
        return [delta async for delta in stream]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.content for delta in deltas)


async def test_a_real_question_gets_a_real_answer_and_a_warm_head_is_not_read_again(chat: EmbeddedChat) -> None:
    await chat.check()
    *deltas, last = await answer(chat, ASK)
    assert "Warsaw" in text(deltas)
    assert len(deltas) > 1
    assert all(delta.finish is None for delta in deltas)
    assert last.finish is not None
    assert last.finish.model == MODEL
    assert last.finish.reason in ("stop", "length")
    usage = last.finish.usage
    assert usage.prompt_tokens > 10
    assert usage.completion_tokens > 1
    assert usage.prompt_ns > 0
    assert usage.completion_ns > 0
    again = (await answer(chat, ASK))[-1].finish
    assert again is not None
    assert again.usage.cached_prompt_tokens is not None
    assert again.usage.cached_prompt_tokens >= usage.prompt_tokens - 1


async def test_options_are_obeyed(chat: EmbeddedChat) -> None:
    short = (await answer(chat, replace(ASK, options={"num_predict": 2})))[-1].finish
    assert short is not None
    assert short.reason == "length"
    assert short.usage.completion_tokens == 2
    stopped = await answer(chat, replace(ASK, options={**ASK.options, "stop": ["Warsaw"]}))
    assert "Warsaw" not in text(stopped)
    assert stopped[-1].finish is not None
    assert stopped[-1].finish.reason == "stop"
    shape = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
    whole = await answer(chat, replace(ASK, format=shape, options={"temperature": 0, "num_predict": 60}))
    assert list(json.loads(text(whole))) == ["city"]
    assert text(await answer(chat, replace(ASK, format="json"))).startswith("{")


async def test_without_a_bound_of_the_clients_an_answer_ends_at_the_households() -> None:
    chat = await EmbeddedChat.load(SETTINGS.model_copy(update={"answer_tokens": 3}))
    try:
        finish = (await answer(chat, replace(ASK, options={})))[-1].finish
        assert finish is not None
        assert finish.usage.completion_tokens == 3
    finally:
        await chat.close()


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({"model": "qwen3:4b"}, 404, "model 'qwen3:4b' not found"),
        ({"think": True}, 400, '"smollm2:135m" does not support thinking'),
        ({"think": "high"}, 400, '"smollm2:135m" does not support thinking'),
        ({"tools": (TOOL,)}, 400, "registry.ollama.ai/library/smollm2:135m does not support tools"),
        (
            {"messages": (Message("user", "Look", images=("aW1hZ2U=",)),)},
            400,
            "registry.ollama.ai/library/smollm2:135m does not support vision",
        ),
        ({"format": "yaml"}, 400, "format is neither json nor a JSON schema"),
    ],
)
async def test_what_it_cannot_do_is_refused_in_ollama_s_words(change: dict[str, Any], status: int, words: str) -> None:
    # Refused before the model is asked: no server needs to be there.
    chat = EmbeddedChat(Listening("http://127.0.0.1:9"), "key", embedded.model_file(), SETTINGS)
    try:
        with pytest.raises((ModelRefused, ModelNotFound)) as refused:
            await answer(chat, replace(ASK, **change))
        assert (refused.value.status, refused.value.message) == (status, words)
    finally:
        await chat.close()


class Listening:
    """Where a server listens, without one."""

    def __init__(self, address: str) -> None:
        self.listening_address = address


async def test_what_llama_cpp_refuses_is_refused(chat: EmbeddedChat) -> None:
    for options in ({"temperature": "hot"}, {"num_predict": "many"}):
        with pytest.raises(ModelRefused) as refused:
            await answer(chat, replace(ASK, options=options))
        assert refused.value.status == 400
    with pytest.raises(ModelRefused, match="context size"):
        await answer(chat, replace(ASK, messages=(Message("user", "word " * 2000),)))
    assert "Warsaw" in text(await answer(chat, ASK))


async def test_tools_may_be_ignored_and_their_results_are_told() -> None:
    chat = await EmbeddedChat.load(SETTINGS, ignore_tools=True)
    messages = (
        Message("user", "turn on the lamp"),
        Message("assistant", tool_calls=(ToolCall("HassTurnOn", {"name": "lamp"}),)),
        Message("tool", '{"error": false}'),
    )
    try:
        deltas = await answer(chat, replace(ASK, messages=messages, tools=(TOOL,)))
        assert not any(delta.tool_calls for delta in deltas)
        assert deltas[-1].finish is not None
    finally:
        await chat.close()


async def test_closing_the_stream_ends_the_answer_at_once(chat: EmbeddedChat) -> None:
    endless = replace(ASK, options={"num_predict": -1, "temperature": 0, "ignore_eos": True})
    async with aclosing(chat.stream(replace(endless, messages=(Message("user", "Tell me a long story."),)))) as stream:
        assert (await anext(stream)).content
    # There is one slot: the next answer would wait for the rest of the story.
    assert "Warsaw" in text(await answer(chat, ASK))


async def test_cancelling_while_the_prompt_is_read_ends_it(chat: EmbeddedChat) -> None:
    # Nothing comes before the prompt is read: the timeout falls into that.
    hurried = EmbeddedChat(
        chat._server, "", embedded.model_file(), SETTINGS.model_copy(update={"first_token_seconds": 0.001})
    )
    hurried._session.headers.update(chat._session.headers)
    try:
        with pytest.raises(ModelTimeout, match="no first word"):
            await answer(hurried, replace(ASK, messages=(Message("user", "word " * 900),)))
    finally:
        await hurried._session.close()
    assert "Warsaw" in text(await answer(chat, ASK))


async def test_nobody_else_on_the_machine_may_ask_it(chat: EmbeddedChat) -> None:
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.post(f"{chat._url}/v1/chat/completions", json={"messages": []}) as response,
    ):
        assert response.status == 401
    assert chat._url.startswith("http://127.0.0.1:")


async def test_its_entry_is_what_ollama_s_client_reads(chat: EmbeddedChat) -> None:
    (entry,) = await chat.models()
    assert entry["model"] == entry["name"] == chat.name == MODEL
    assert entry["size"] > 50_000_000
    assert entry["modified_at"].endswith("Z")


async def test_closed_is_closed() -> None:
    chat = await EmbeddedChat.load(SETTINGS)
    port = int(chat._url.rsplit(":", 1)[1])
    await chat.close()
    await chat.close()
    with pytest.raises(ModelUnavailable):
        await chat.check()
    with pytest.raises(ModelUnavailable):
        await answer(chat, ASK)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
        pass


async def test_closing_while_it_answers_ends_that_answer() -> None:
    chat = await EmbeddedChat.load(SETTINGS)
    started = asyncio.Event()

    async def read() -> None:
        async with aclosing(chat.stream(replace(ASK, options={"num_predict": -1, "temperature": 0.9}))) as stream:
            async for _ in stream:
                started.set()

    reader = asyncio.create_task(read(), name="reader")
    await started.wait()
    reader.cancel()
    await asyncio.wait([reader])
    await chat.close()


async def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF no")
    with pytest.raises(StartError, match=r"broken\.gguf"):
        await EmbeddedChat.load(SETTINGS, file=broken)


async def test_where_the_package_is_missing_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    assert not embedded.installed()
    with pytest.raises(StartError, match=r"requirements-embedded\.txt"):
        await EmbeddedChat.load(SETTINGS)
