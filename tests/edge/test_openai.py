"""OpenAI's requests into turns, its official client against the whole gateway, and its errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.edge.assist import STATIC_CONTEXT
from gateway.edge.ollama import check_chat, from_chat
from gateway.edge.openai import to_ollama
from gateway.errors import BadRequest
from gateway.shapes import CacheControl, Scope
from tests.house import House
from tests.scripted_model import CUT, HANG, Answer, Thinking, Tools

MODEL = "qwen3:4b-instruct"
ASK: list[Any] = [{"role": "user", "content": "Describe the capital of France"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALLED = Tools((("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})))


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as client:
        yield client


# --- the request --------------------------------------------------------------------------------------------------


def words(**more: Any) -> dict[str, Any]:
    return to_ollama({"model": "m", "messages": ASK, **more})


def test_fields_have_ollamas_names() -> None:
    made = words(
        temperature=0.5,
        top_p=0.9,
        seed=7,
        max_completion_tokens=50,
        frequency_penalty=1,
        presence_penalty=-1,
        stop="END",
        reasoning_effort="minimal",
        user="someone",
        store=False,
        metadata={"a": "b"},
        keep_alive="5m",
        options={"num_ctx": 4096},
        n=1,
        logprobs=False,
        tools=None,
    )
    assert made == {
        "model": "m",
        "messages": [{"role": "user", "content": "Describe the capital of France"}],
        "tools": [],
        "options": {
            "num_ctx": 4096,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "num_predict": 50,
            "frequency_penalty": 1,
            "presence_penalty": -1,
            "stop": ["END"],
        },
        "think": "low",
        "keep_alive": "5m",
    }


def test_messages_have_ollamas_shape() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    made = words(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is"},
                    {"type": "text", "text": "this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                ],
            },
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        ]
    )["messages"]
    assert made == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is\nthis?", "images": ["aGk="]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}],
        },
        {"role": "tool", "content": "rain", "tool_name": "get_weather"},
        {"role": "assistant", "content": "No."},
    ]


@pytest.mark.parametrize(
    "given, made",
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}, {"type": "object"}),
    ],
)
def test_the_answers_format(given: Any, made: Any) -> None:
    assert words(response_format=given).get("format") == made


@pytest.mark.parametrize(
    "choice, names",
    [
        (None, ["get_weather", "other"]),
        ("auto", ["get_weather", "other"]),
        ("required", ["get_weather", "other"]),
        ("none", []),
        ({"type": "function", "function": {"name": "other"}}, ["other"]),
    ],
)
def test_the_choice_of_tools(choice: Any, names: list[str]) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    made = words(tools=[WEATHER, other], tool_choice=choice)
    assert [tool["function"]["name"] for tool in made["tools"]] == names


@pytest.mark.parametrize(
    "more, field",
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"functions": [{}]}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"options": 1}, "options"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": 3}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"reasoning_effort": "utmost"}, "reasoning_effort"),
        ({"messages": None}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]},
            "messages.0.content.0",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": 1}]}, "messages.0.tool_calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]}]},
            "messages.0.tool_calls",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as raised:
        words(**more)
    assert raised.value.field == field


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = """model messages tools tool_choice options think n stop stream stream_options response_format temperature
seed reasoning_effort logprobs functions keep_alive"""
fields = st.sampled_from(FIELDS.split())
said = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | values},
    optional={
        "content": values | st.just([{"type": "text", "text": "x"}]),
        "tool_calls": values | st.just([{"id": [], "function": {"name": "x", "arguments": "3"}}]),
        "tool_call_id": values,
        "name": values,
    },
)


@given(st.dictionaries(fields, values), st.none() | st.lists(said, max_size=3))
def test_whatever_comes_is_a_turn_or_a_refusal(body: dict[str, Any], messages: list[Any] | None) -> None:
    with suppress(BadRequest):
        chat = to_ollama({"model": "m", **body, **({"messages": messages} if messages else {})})
        check_chat(chat)
        if chat["messages"]:
            from_chat(chat, Scope(1), cache_control=CacheControl.DEFAULT, max_text=100)


# --- the official client ------------------------------------------------------------------------------------------


async def test_whole(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer("Par", "is.", usage={"prompt_eval_count": 11, "eval_count": 3}))
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, temperature=0, seed=7)
    assert answer.choices[0].message.content == "Paris."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 3, 14)
    assert house.model.chats[-1]["options"]["seed"] == 7
    user, assistant = await house.logged()
    assert (user["content"], assistant["content"]) == ("Describe the capital of France", "Paris.")
    assert answer.id == f"chatcmpl-{user['turn_id']}"


async def test_streamed(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer(Thinking("hm"), "Par", "is.", usage={"prompt_eval_count": 11, "eval_count": 3}))
    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(part or "" for part in said) == "Paris."
    assert said.count("Par") == 1
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 14
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_without_being_asked_no_figures_are_streamed(house: House, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


async def test_tools_are_called_and_their_results_told(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer(CALLED), Answer("Rain in both."))
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    calls = [call for call in message.tool_calls if call.type == "function"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    told: list[Any] = [
        *ASK,
        message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in calls),
    ]
    after = await client.chat.completions.create(model=MODEL, messages=told, tools=[WEATHER])
    assert after.choices[0].message.content == "Rain in both."
    sent = house.model.chats[-1]["messages"]
    assert [one["role"] for one in sent[-3:]] == ["assistant", "tool", "tool"]
    assert sent[-3]["tool_calls"][1]["function"] == {"name": "get_weather", "arguments": {"city": "Rome"}}
    assert sent[-1]["tool_name"] == "get_weather"


async def test_tools_are_called_in_a_stream(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer(CALLED))
    async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER]) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert final.choices[0].finish_reason == "tool_calls"


class City(BaseModel):
    name: str
    country: str


async def test_a_structured_answer(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer('{"name": "Paris", ', '"country": "France"}'))
    answer = await client.chat.completions.parse(model=MODEL, messages=ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", country="France")
    assert house.model.chats[-1]["format"]["properties"]["name"]["type"] == "string"


async def test_pictures_reach_the_model(house: House, client: openai.AsyncOpenAI) -> None:
    picture: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    question: Any = {"role": "user", "content": [{"type": "text", "text": "Describe this"}, picture]}
    await client.chat.completions.create(model=MODEL, messages=[question])
    assert house.model.chats[-1]["messages"][-1]["images"] == ["aGk="]


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [one.id async for one in client.models.list()] == [MODEL, "nomic-embed-text:latest"]
    one = await client.models.retrieve(MODEL)
    assert (one.id, one.object) == (MODEL, "model")
    assert one.created > 0
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such-model")


async def test_embeddings(house: House, client: openai.AsyncOpenAI) -> None:
    made = await client.embeddings.create(model="nomic-embed-text", input=["one", "two", "one"])
    assert [one.index for one in made.data] == [0, 1, 2]
    assert len(made.data[0].embedding) == house.model.embed_dimensions
    assert made.data[0].embedding == made.data[2].embedding != made.data[1].embedding
    assert made.usage.prompt_tokens == 3
    plain = await client.embeddings.create(model="nomic-embed-text", input="one", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(made.data[0].embedding)
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="no-such-model", input="one")
    for bad in ([1, 2], "", [], [""]):
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="nomic-embed-text", input=bad)  # type: ignore[arg-type]


# --- errors -------------------------------------------------------------------------------------------------------


async def test_errors_have_openais_shape(house: House, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="no-such-model", messages=ASK)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as two:
        await client.chat.completions.create(model=MODEL, messages=ASK, n=2)
    assert (two.value.param, two.value.type) == ("n", "invalid_request_error")
    house.model.script(Answer(status=500, error="out of memory"))
    with pytest.raises(openai.InternalServerError) as failed:
        await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert "out of memory" in failed.value.message
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model=MODEL, messages=[])
    async with house.client.post("/v1/chat/completions", data=b"{") as response:
        assert response.status == 400
        assert set(await response.json()) == {"error"}
    await house.model.stop()
    with pytest.raises(openai.InternalServerError) as away:
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Who wrote Hamlet?"}])
    assert away.value.status_code == 503


async def test_an_answer_that_breaks_off_is_an_error_in_the_stream(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer("Par", CUT))
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == ["", "Par"]
    with pytest.raises(openai.APIError) as broken:
        await anext(stream)
    assert broken.value.code == "model_error"


async def test_home_assistants_prompt_hears_a_sentence(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    system = f"{STATIC_CONTEXT}\n- names: Lamp\n  domain: light"
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": "Who wrote Hamlet?"}],
    )
    assert answer.choices[0].message.content == "My language model could not answer that."


async def test_a_client_that_goes_away_ends_the_generation(house: House, client: openai.AsyncOpenAI) -> None:
    house.model.script(Answer("Once ", HANG))
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await asyncio.wait_for(house.model.client_gone.wait(), 20)
