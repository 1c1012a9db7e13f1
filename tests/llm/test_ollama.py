"""Ollama's wire, well and unwell."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.config import LlmSettings
from gateway.errors import BadRequest, ModelError, ModelNotFound, ModelRefused, ModelTimeout, ModelUnavailable
from gateway.llm.chat import ChatModel
from gateway.llm.ollama import OllamaChat, OllamaServer, keep_alive, same_model
from gateway.shapes import ChatRequest, Delta, Message, ToolCall
from tests.scripted_model import BLANK, BROKEN, CUT, HANG, Answer, ErrorLine, ScriptedModel, Thinking, Tools

MODEL = "qwen3:4b-instruct"
HELLO = ChatRequest(messages=(Message("user", "Hello"),), model=MODEL)


@pytest.fixture
async def chat(scripted_model: ScriptedModel) -> AsyncIterator[OllamaChat]:
    model = OllamaChat(scripted_model.url, LlmSettings())
    yield model
    await model.close()


async def answer(chat: ChatModel, request: ChatRequest = HELLO) -> list[Delta]:
    async with aclosing(chat.stream(request)) as stream:
        return [delta async for delta in stream]


async def test_an_answer_comes_in_deltas_and_ends_with_its_figures(
    chat: OllamaChat, scripted_model: ScriptedModel
) -> None:
    scripted_model.script(Answer(Thinking("hm"), "Good ", "day", usage={"prompt_eval_count": 7, "eval_count": 2}))
    *deltas, last = await answer(chat)
    assert [delta.thinking for delta in deltas] == ["hm", "", ""]
    assert "".join(delta.content for delta in deltas) == "Good day"
    assert all(delta.finish is None for delta in deltas)
    assert last.finish is not None
    assert last.finish.reason == "stop"
    assert last.finish.model == MODEL
    assert (last.finish.usage.prompt_tokens, last.finish.usage.completion_tokens) == (7, 2)
    assert (last.finish.usage.load_ns, last.finish.usage.prompt_ns, last.finish.usage.completion_ns) == (
        1_000_000,
        2_000_000,
        2_000_000,
    )


async def test_the_first_delta_is_there_before_the_answer_is(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    gate = asyncio.Event()
    scripted_model.script(Answer("first", gate, "second"))
    async with aclosing(chat.stream(HELLO)) as stream:
        assert (await anext(stream)).content == "first"
        gate.set()
        assert [delta.content async for delta in stream] == ["second", ""]


async def test_what_the_client_sent_goes_along_unchanged(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    tool = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object"}}}
    request = ChatRequest(
        messages=(
            Message("system", "S"),
            Message("user", "Look", images=("aW1hZ2U=",)),
            Message("assistant", "", tool_calls=(ToolCall("HassTurnOn", {"name": "lamp"}),), thinking="so"),
            Message("tool", "{}", extra={"tool_name": "HassTurnOn"}),
        ),
        model=MODEL,
        tools=(tool,),
        options={"num_ctx": 4096.0, "temperature": 0, "unheard_of": [1]},
        format={"type": "object"},
        think=False,
        keep_alive=-1.0,
        extra={"truncate": False, "shift": True},
    )
    await answer(chat, request)
    assert scripted_model.chats == [
        {
            "model": MODEL,
            "stream": True,
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "Look", "images": ["aW1hZ2U="]},
                {
                    "role": "assistant",
                    "content": "",
                    "thinking": "so",
                    "tool_calls": [{"function": {"name": "HassTurnOn", "arguments": {"name": "lamp"}}}],
                },
                {"role": "tool", "content": "{}", "tool_name": "HassTurnOn"},
            ],
            "tools": [tool],
            "options": {"num_ctx": 4096.0, "temperature": 0, "unheard_of": [1]},
            "format": {"type": "object"},
            "think": False,
            "keep_alive": -1.0,
            "truncate": False,
            "shift": True,
        }
    ]


async def test_what_the_client_left_out_is_the_households(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    await answer(chat, ChatRequest(messages=(Message("user", "Hello"),), model=""))
    (sent,) = scripted_model.chats
    assert sent["model"] == LlmSettings().model
    assert sent["options"] == {"num_ctx": LlmSettings().context_tokens}
    assert sent["keep_alive"] == LlmSettings().keep_alive
    assert not {"tools", "format", "think"} & sent.keys()


@pytest.mark.parametrize("setting, sent", [("30m", "30m"), ("-1", -1), ("0", 0), ("1h30m", "1h30m"), ("-1s", "-1s")])
def test_keep_alive_without_a_unit_is_a_number(setting: str, sent: str | int) -> None:
    assert keep_alive(setting) == sent


async def test_tool_calls_come_as_objects(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer(Tools((("HassTurnOn", {"name": "lamp"}), ("HassTurnOff", {})))))
    deltas = await answer(chat)
    assert deltas[0].tool_calls == (ToolCall("HassTurnOn", {"name": "lamp"}), ToolCall("HassTurnOff", {}))
    assert deltas[-1].finish is not None
    assert deltas[-1].finish.reason == "tool_calls"


def raw(**message: Any) -> dict[str, Any]:
    return {"model": MODEL, "message": {"role": "assistant", "content": "", **message}, "done": False}


@pytest.mark.parametrize(
    "arguments, expected",
    [('{"name": "lamp"}', {"name": "lamp"}), ("", {}), ("  ", {}), (None, {})],
)
async def test_arguments_in_openai_s_form_are_understood(
    chat: OllamaChat, scripted_model: ScriptedModel, arguments: Any, expected: dict[str, Any]
) -> None:
    scripted_model.script(Answer(raw(tool_calls=[{"function": {"name": "f", "arguments": arguments}}])))
    assert (await answer(chat))[0].tool_calls == (ToolCall("f", expected),)


@pytest.mark.parametrize(
    "line",
    [
        raw(tool_calls=[{"function": {"name": "f", "arguments": "[1]"}}]),
        raw(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]),
        raw(tool_calls=[{"function": {"name": "f", "arguments": "{"}}]),
        raw(tool_calls=[{"function": {}}]),
        raw(tool_calls=["f"]),
        {"message": "hello", "done": False},
    ],
)
async def test_a_line_of_the_wrong_shape_is_an_error(
    chat: OllamaChat, scripted_model: ScriptedModel, line: dict[str, Any]
) -> None:
    scripted_model.script(Answer(line))
    with pytest.raises(ModelError):
        await answer(chat)


@pytest.mark.parametrize("done_reason, reason", [("stop", "stop"), ("length", "length"), ("load", "stop")])
async def test_how_it_ended(chat: OllamaChat, scripted_model: ScriptedModel, done_reason: str, reason: str) -> None:
    scripted_model.script(Answer("x", done_reason=done_reason))
    finish = (await answer(chat))[-1].finish
    assert finish is not None
    assert finish.reason == reason


async def test_blank_lines_are_passed_over(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer("a", BLANK, "b"))
    assert "".join(delta.content for delta in await answer(chat)) == "ab"


async def test_a_very_long_line_is_read(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer("x" * 1_000_000))
    assert len((await answer(chat))[0].content) == 1_000_000


# --- mishaps


async def test_a_refusal_keeps_its_status_and_words(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer(status=400, error=f"registry.ollama.ai/library/{MODEL} does not support vision"))
    with pytest.raises(ModelRefused) as refused:
        await answer(chat)
    assert refused.value.status == 400
    assert refused.value.message == f"registry.ollama.ai/library/{MODEL} does not support vision"


async def test_an_unknown_model_is_not_found(chat: OllamaChat) -> None:
    with pytest.raises(ModelNotFound) as refused:
        await answer(chat, ChatRequest(messages=HELLO.messages, model="llama9"))
    assert (refused.value.status, refused.value.message) == (404, "model 'llama9' not found")


@pytest.mark.parametrize(
    "step, words",
    [(BROKEN, "not JSON"), (CUT, "broke off"), (ErrorLine("out of memory"), "out of memory")],
)
async def test_a_mishap_in_mid_stream_comes_after_what_was_said(
    chat: OllamaChat, scripted_model: ScriptedModel, step: Any, words: str
) -> None:
    scripted_model.script(Answer("so far", step))
    async with aclosing(chat.stream(HELLO)) as stream:
        assert (await anext(stream)).content == "so far"
        with pytest.raises(ModelError, match=words):
            await anext(stream)


async def test_a_stream_that_ends_without_its_end_is_broken_off(
    chat: OllamaChat, scripted_model: ScriptedModel
) -> None:
    # The error line's twin: the server closes the stream in good order, but early.
    scripted_model.script(Answer("a", {"message": {"role": "assistant", "content": "b"}}, ErrorLine("")))
    with pytest.raises(ModelError):
        await answer(chat)


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        chat = OllamaChat(f"http://127.0.0.1:{taken.getsockname()[1]}", LlmSettings())
        try:
            for ask in (answer(chat), chat.models(), chat.check()):
                with pytest.raises(ModelUnavailable, match="cannot be reached"):
                    await ask
        finally:
            await chat.close()


async def test_a_model_server_that_went_away_and_came_back(scripted_model: ScriptedModel) -> None:
    chat = OllamaChat(scripted_model.url, LlmSettings())
    port = int(scripted_model.url.rsplit(":", 1)[1])
    try:
        await answer(chat)
        await scripted_model.stop()
        with pytest.raises(ModelUnavailable):
            await answer(chat)
        await scripted_model.start(port)
        assert "".join(delta.content for delta in await answer(chat)) == "I heard: Hello"
    finally:
        await chat.close()


@pytest.mark.parametrize(
    "changed, steps, words",
    [
        ({"first_token_seconds": 0.05}, (HANG,), "no first word within 0.05 s"),
        ({"between_tokens_seconds": 0.05}, ("a", HANG), "fell silent"),
        ({"total_seconds": 0.05}, ("a", HANG), "did not finish its answer within 0.05 s"),
    ],
)
async def test_each_wait_has_its_bound_and_its_words(
    scripted_model: ScriptedModel, changed: dict[str, Any], steps: tuple[Any, ...], words: str
) -> None:
    chat = OllamaChat(scripted_model.url, LlmSettings(**changed))
    scripted_model.script(Answer(*steps))
    try:
        with pytest.raises(ModelTimeout, match=words) as refused:
            await answer(chat)
        assert refused.value.status == 504
        await asyncio.wait_for(scripted_model.client_gone.wait(), 10)  # and the model stops
    finally:
        await chat.close()


async def test_a_connection_that_is_never_accepted() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # A backlog of none holds one connection; what comes after it waits.
        with socket.create_connection(address):
            chat = OllamaChat(f"http://127.0.0.1:{address[1]}", LlmSettings(connect_seconds=0.05))
            try:
                with pytest.raises(ModelTimeout, match=r"did not accept a connection within 0\.05 s"):
                    await answer(chat)
            finally:
                await chat.close()


async def test_closing_the_stream_stops_the_model(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer("a", HANG))
    async with aclosing(chat.stream(HELLO)) as stream:
        assert (await anext(stream)).content == "a"
    await asyncio.wait_for(scripted_model.client_gone.wait(), 10)


async def test_cancelling_the_reader_stops_the_model(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    scripted_model.script(Answer(HANG))
    reader = asyncio.create_task(answer(chat))
    await scripted_model.arrived(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.wait_for(scripted_model.client_gone.wait(), 10)


async def test_what_cannot_be_json_is_the_clients_mistake(chat: OllamaChat) -> None:
    with pytest.raises(BadRequest):
        await answer(chat, ChatRequest(messages=(Message("user", "\ud800"),), model=MODEL))


# --- the rest of its API


async def test_models_and_check(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    assert [entry["model"] for entry in await chat.models()] == scripted_model.models
    assert await chat.version() == "0.13.5"
    await chat.check()
    scripted_model.models.remove(MODEL)
    with pytest.raises(ModelNotFound, match=f"ollama pull {MODEL}"):
        await chat.check()
    scripted_model.failing = (503, "server busy")
    with pytest.raises(ModelRefused, match="server busy"):
        await chat.check()


@pytest.mark.parametrize(
    "asked, there, same",
    [
        ("nomic-embed-text", "nomic-embed-text:latest", True),
        ("qwen3:4b", "qwen3:4b", True),
        ("qwen3", "qwen3:4b", False),
        ("hf.co:443/a/b", "hf.co:443/a/b:latest", True),
    ],
)
def test_names_without_a_tag_mean_the_latest(asked: str, there: str, same: bool) -> None:
    assert same_model(asked, there) is same


async def test_something_else_at_the_address(scripted_model: ScriptedModel) -> None:
    server = OllamaServer(f"{scripted_model.url}/v1")
    try:
        with pytest.raises(ModelError):
            await server.version()
        with pytest.raises(ModelError):
            await server.models()
    finally:
        await server.close()


async def test_a_path_in_front_of_the_api_is_kept(scripted_model: ScriptedModel) -> None:
    chat = OllamaChat(f"{scripted_model.url}/behind/", LlmSettings())
    try:
        with pytest.raises(ModelNotFound):
            await chat.models()
        assert [seen.path for seen in scripted_model.requests] == ["/behind/api/tags"]
    finally:
        await chat.close()


async def test_other_paths_are_passed_through(chat: OllamaChat, scripted_model: ScriptedModel) -> None:
    response = await chat.proxy("POST", "/api/show", b'{"model": "nobody"}', {"Content-Type": "application/json"})
    assert response.status == 404
    assert await response.json() == {"error": "model 'nobody' not found"}
    response = await chat.proxy("GET", "/api/version?x=1")
    assert (response.status, await response.json()) == (200, {"version": "0.13.5"})
    await scripted_model.stop()
    with pytest.raises(ModelUnavailable):
        await chat.proxy("GET", "/api/version")
