"""Ollama's wire into a Turn, and a Reply into its lines."""

from typing import Any

import orjson
import pytest

from gateway.edge import ollama
from gateway.errors import BadRequest
from gateway.shapes import CacheControl, CacheOutcome, Delta, Message, Reply, Scope, ToolCall, Turn, Usage

TOOL = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}


def turn_of(body: dict[str, Any], max_text: int = 8000) -> Turn:
    checked = ollama.parse(orjson.dumps({"model": "m", **body}))
    return ollama.from_chat(checked, Scope(1), cache_control=CacheControl.DEFAULT, max_text=max_text)


def test_a_first_turn() -> None:
    turn = turn_of(
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi", "images": ["aGk="]}]}
    )
    assert (turn.head, turn.utterance, turn.history, turn.images) == ("S", "Hi", (), ("aGk=",))
    assert turn.continuation == ()
    assert turn.sends_history


def test_a_turn_that_goes_on_with_a_tools_result() -> None:
    call = {"function": {"name": "HassTurnOn", "arguments": {"name": "lamp"}}}
    turn = turn_of(
        {
            "messages": [
                {"role": "user", "content": "turn on"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "content": "{}", "tool_name": "HassTurnOn"},
            ],
            "tools": [TOOL],
        }
    )
    assert turn.utterance == "turn on"
    assert turn.continuation == (
        Message("assistant", tool_calls=(ToolCall("HassTurnOn", {"name": "lamp"}),)),
        Message("tool", "{}", extra={"tool_name": "HassTurnOn"}),
    )
    assert turn.tools == (TOOL,)


def test_history_that_begins_in_the_middle_of_a_round() -> None:
    turn = turn_of(
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "tool", "content": "{}"},
                {"role": "user", "content": "Hi"},
            ]
        }
    )
    assert turn.history == (Message("tool", "{}"),)


def test_unknown_fields_and_options_are_kept_for_the_model() -> None:
    turn = turn_of(
        {
            "messages": [{"role": "user", "content": "Hi"}],
            "options": {"seed": 1, "cache": False},
            "keep_alive": -1.0,
            "logprobs": True,
            "tools": None,
        }
    )
    assert turn.request == {"options": {"seed": 1}, "keep_alive": -1.0, "logprobs": True}
    assert turn.cache_control is CacheControl.NO_STORE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"messages": {}}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"role": "narrator"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, "messages"),
        ({"messages": [{"role": "user", "images": "x"}]}, "messages.0.images"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "x"}]}]}, "messages.0.tool_calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}]},
            "messages.0.tool_calls",
        ),
        ({"options": [1]}, "options"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": ["x"]}, "tools"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as raised:
        ollama.parse(orjson.dumps({"model": "m", **body}))
    assert raised.value.field == field


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"model": "\\ud800"}', b"\xff"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        ollama.parse(data)


def test_endless_nesting_is_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadRequest):
        ollama.parse(orjson.dumps({"model": "m", "options": {"x": deep}}))


def test_a_long_utterance_is_refused_and_a_long_prompt_is_not() -> None:
    turn_of({"messages": [{"role": "system", "content": "S" * 9000}, {"role": "user", "content": "Hi"}]})
    with pytest.raises(BadRequest):
        turn_of({"messages": [{"role": "user", "content": "x" * 8001}]})


def test_the_lines_of_an_answer() -> None:
    turn = turn_of({"messages": [{"role": "user", "content": "Hi"}]})
    reply = Reply(
        turn_id=turn.id,
        conversation_id="c",
        text="Hello",
        language="en",
        model="m",
        cache=CacheOutcome("miss"),
        tool_calls=(ToolCall("HassTurnOn", {"name": "lamp"}),),
        usage=Usage(3, 2),
    )
    line = ollama.to_line(turn, Delta("Hello"))
    assert line is not None
    assert (line["model"], line["message"], line["done"]) == ("m", {"role": "assistant", "content": "Hello"}, False)
    last = ollama.to_last_line(reply)
    assert (last["done"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (True, "stop", 3, 2)
    assert last["message"] == {"role": "assistant", "content": ""}
    whole = ollama.to_whole(reply)
    assert whole["message"]["tool_calls"] == [{"function": {"name": "HassTurnOn", "arguments": {"name": "lamp"}}}]
    assert ollama.to_line(turn, Delta()) is None
