"""Tool calls in text become calls, arguments are repaired, and what was not offered is left out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.shapes import Delta, Finish, FinishReason, ToolCall
from gateway.turn.tools import OfferedTools, mended

LIGHT: dict[str, Any] = {
    "name": {"type": "string"},
    "area": {"type": ["string", "null"]},
    "domain": {"type": "array", "items": {"type": "string", "enum": ["light", "switch"]}},
    "brightness": {"type": "integer"},
    "temperature": {"type": "number"},
    "transition": {"type": "boolean"},
    "mode": {"type": "string", "enum": ["Day", "Night"]},
    "extra": {"type": "object", "properties": {"count": {"type": "integer"}}},
}


def tool(name: str, *required: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": LIGHT, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [tool("HassTurnOn"), tool("intent__HassTurnOff", "name"), tool("light__HassLightSet")]
ON = ToolCall("HassTurnOn", {"name": "lamp"})
OFF = ToolCall("intent__HassTurnOff", {"name": "lamp"})


async def answer(
    *pieces: str | Delta,
    tools: list[dict[str, Any]] = TOOLS,
    reason: FinishReason = "stop",
    voice: bool = False,
    in_text: bool = True,
) -> tuple[str, tuple[ToolCall, ...], str]:
    """The text, the calls and the reason of the mended answer."""

    async def deltas() -> AsyncGenerator[Delta, None]:
        for piece in pieces:
            yield Delta(piece) if isinstance(piece, str) else piece
        yield Delta(finish=Finish(reason))

    all_ = [delta async for delta in mended(deltas(), tools, in_text=in_text, voice=voice)]
    assert [delta.finish is not None for delta in all_] == [False] * (len(all_) - 1) + [True]
    assert all_[-1].finish is not None
    text = "".join(delta.content for delta in all_)
    return text, tuple(call for delta in all_ for call in delta.tool_calls), all_[-1].finish.reason


CALL = '{"name": "HassTurnOn", "arguments": {"name": "lamp"}}'
OFF_CALL = '{"name": "HassTurnOff", "parameters": {"name": "lamp"}}'


@pytest.mark.parametrize(
    "written, calls",
    [
        (CALL, (ON,)),
        (f"\n  {CALL}\n", (ON,)),
        (f"```json\n{CALL}\n```", (ON,)),
        (f"```\n{CALL}```\n", (ON,)),
        (f"<tool_call>\n{CALL}\n</tool_call>", (ON,)),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>{OFF_CALL}</tool_call>", (ON, OFF)),
        (f"<|python_tag|>{CALL}<|eom_id|>", (ON,)),
        (f"[TOOL_CALLS] [{CALL}, {OFF_CALL}]", (ON, OFF)),
        (f"<tool_call>\n```json\n{CALL}\n```\n</tool_call>", (ON,)),
        (f"[{CALL}]", (ON,)),
        (f"{CALL}\n{OFF_CALL}", (ON, OFF)),
        (f"{CALL}; {OFF_CALL}", (ON, OFF)),
        ('{"tool_calls": [{"id": "1", "type": "function", "function": ' + CALL + "}]}", (ON,)),
        ('{"type": "function", "function": ' + CALL + "}", (ON,)),
        ('{"type": "function", "name": "HassTurnOn", "parameters": {"name": "lamp"}}', (ON,)),
        ('{"function": "HassTurnOn", "args": {"name": "lamp"}}', (ON,)),
        ('{"tool": "HassTurnOn", "input": {"name": "lamp"}}', (ON,)),
        ('{"arguments": {"name": "lamp"}, "name": "HassTurnOn"}', (ON,)),
        ('{"HassTurnOn": {"name": "lamp"}}', (ON,)),
        ("{'name': 'HassTurnOn', 'arguments': {'name': 'lamp'}}", (ON,)),
        ('{"name": "HassTurnOn", "arguments": "{\\"name\\": \\"lamp\\"}"}', (ON,)),
        ('{"name": "HassTurnOn"}', (ToolCall("HassTurnOn", {}),)),
        ('{"name": "HassTurnOn", "arguments": null}', (ToolCall("HassTurnOn", {}),)),
        ('{"name": "HassTurnOn", "arguments": {"name": "the {big} \\"lamp\\""}}',
         (ToolCall("HassTurnOn", {"name": 'the {big} "lamp"'}),)),
        (f'[{CALL}, {{"name": "HassUnheardOf", "arguments": {{}}}}]', (ON,)),
        (CALL[:-1], (ON,)),  # a bracket forgotten
        (f"<tool_call>{CALL}", (ON,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_call_in_text_is_a_call(written: str, calls: tuple[ToolCall, ...], size: int) -> None:
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    text, found, reason = await answer(*pieces)
    assert (text.strip(), found, reason) == ("", calls, "tool_calls")


@pytest.mark.parametrize(
    "written",
    [
        "Set it to {value}, or [this], or <b>that</b>.",
        '`code`, ```python\nprint({})\n``` and {"room": 1}',
        '{"name": "Ada", "age": 36}',
        '{"name": "HassUnheardOf", "arguments": {}}',
        '{"name": "lamp"}',
        '{"names": ["a"]}',
        '[1, 2] [{"a": 1}] {"name": {"first": "Ada"}}',
        '{"name": "HassTurnOn", "arguments": [1, 2]}',
        '{"name": "HassTurnOn", "arguments": {broken}}',
        '{"name": "HassTurnOn", "arguments": {"name": "lam',
        "[",
        "``",
        "<tool",
        "<tool_call> is a mark",
        '{"name": "' + "x" * 10_000 + '"}',
        '{"room": {"name": "Hall"}, "name": "HassTurnOn"}',
        '{"name": "Ada", "args": [' + CALL + "]}",
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_other_text_stays_as_it_is(written: str, size: int) -> None:
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    assert await answer(*pieces) == (written, (), "stop")


async def test_text_around_a_call_stays() -> None:
    text, calls, _ = await answer("Sure, ", f"I will. {CALL}", " Done, I think.")
    assert (text, calls) == ("Sure, I will.  Done, I think.", (ON,))


async def test_a_voice_hears_no_claim_that_was_made_before_the_result() -> None:
    text, calls, _ = await answer("Sure. ", CALL, "\nThe lamp is on now.", voice=True)
    assert (text, calls) == ("Sure. ", (ON,))


@pytest.mark.parametrize(
    "written", ['{"name": "HassUnheardOf", "parameters": {"x": 1}}', '<tool_call>{"a": 1}</tool_call>']
)
async def test_a_voice_does_not_read_a_call_that_was_not_offered(written: str) -> None:
    assert await answer(written, voice=True) == ("", (), "stop")
    assert await answer(written) == (written, (), "stop")


async def test_a_call_cut_short_is_none() -> None:
    text, calls, reason = await answer(CALL[:-1], reason="length")
    assert (text, calls, reason) == (CALL[:-1], (), "length")


async def test_an_answer_that_was_to_be_json_is_left_alone() -> None:
    assert await answer(CALL, in_text=False) == (CALL, (), "stop")


async def test_without_tools_there_is_no_call() -> None:
    called = Delta(tool_calls=(ON,), finish=None)
    assert await answer("Hm.", called, tools=[], reason="tool_calls") == ("Hm.", (), "stop")
    assert await answer(CALL, tools=[]) == (CALL, (), "stop")


async def test_calls_of_the_models_own_are_held_to_the_offer() -> None:
    text, calls, reason = await answer(
        "On it {",
        Delta(tool_calls=(ToolCall("intent__HassTurnOn", {"name": "lamp"}), ToolCall("HassExplode", {}))),
        reason="tool_calls",
    )
    assert (text, calls, reason) == ("On it {", (ON,), "tool_calls")


async def test_nothing_is_held_back_that_is_no_call() -> None:
    async def deltas() -> AsyncGenerator[Delta, None]:
        for piece in ("It is ", '{"', "x", '": 1} and ', "[", "so", "] on"):
            yield Delta(piece)
        yield Delta(finish=Finish("stop"))

    said = [delta.content async for delta in mended(deltas(), TOOLS)]
    assert said == ["It is ", '{"x', '": 1} and ', "[so", "] on", ""]


async def test_the_models_stream_is_closed_with_ours() -> None:
    closed: list[bool] = []

    async def deltas() -> AsyncGenerator[Delta, None]:
        try:
            yield Delta("a")
            yield Delta("b")
        finally:
            closed.append(True)

    stream = mended(deltas(), TOOLS)
    await anext(stream)
    await stream.aclose()
    assert closed == [True]


bits = st.sampled_from([CALL, OFF_CALL, *"{}[]\"'\\: a\n", "<tool_call>", "```", "name"])


@given(st.lists(bits), st.data())
async def test_how_the_text_is_cut_never_shows(parts: list[str], data: st.DataObject) -> None:
    text, pieces = "".join(parts), []
    while text:
        size = data.draw(st.integers(1, 30))
        pieces.append(text[:size])
        text = text[size:]
    assert await answer(*pieces) == await answer("".join(parts))


# --- names and arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, meant",
    [
        ("HassTurnOn", "HassTurnOn"),
        ("intent__HassTurnOn", "HassTurnOn"),
        ("HassLightSet", "light__HassLightSet"),
        ("homeassistant.hassturnoff", "intent__HassTurnOff"),
        ("HassTurn", None),
        ("", None),
    ],
)
def test_a_name_is_the_offered_one(written: str, meant: str | None) -> None:
    assert OfferedTools(TOOLS).name(written) == meant


def test_a_name_that_may_be_either_is_neither() -> None:
    assert OfferedTools([tool("a__get"), tool("b__get")]).name("get") is None


@pytest.mark.parametrize(
    "given_, fitted",
    [
        ({"name": "lamp", "unknown": "x"}, {"name": "lamp", "unknown": "x"}),
        ('{"name": "lamp"}', {"name": "lamp"}),
        ('"{\\"name\\": \\"lamp\\"}"', {"name": "lamp"}),
        ("", {}),
        (None, {}),
        ([], {}),
        ([{"name": "lamp"}], {"name": "lamp"}),
        ({"brightness": "50"}, {"brightness": 50}),
        ({"brightness": "50 %"}, {"brightness": 50}),
        ({"brightness": 50.0}, {"brightness": 50}),
        ({"brightness": 50.5}, {"brightness": 50.5}),
        ({"brightness": "half"}, {"brightness": "half"}),
        ({"temperature": "21.5"}, {"temperature": 21.5}),
        ({"temperature": 21}, {"temperature": 21}),
        ({"transition": "True"}, {"transition": True}),
        ({"transition": "perhaps"}, {"transition": "perhaps"}),
        ({"name": 404}, {"name": "404"}),
        ({"name": ["lamp"]}, {"name": "lamp"}),
        ({"name": ["a", "b"]}, {"name": ["a", "b"]}),
        ({"domain": "Light"}, {"domain": ["light"]}),
        ({"domain": '["light", "switch"]'}, {"domain": ["light", "switch"]}),
        ({"mode": "night"}, {"mode": "Night"}),
        ({"mode": "dusk"}, {"mode": "dusk"}),
        ({"extra": '{"count": "2"}'}, {"extra": {"count": 2}}),
        ({"brightness": "", "domain": None, "mode": None}, {}),
        ({"area": None, "name": ""}, {"area": None, "name": ""}),
    ],
)
def test_arguments_are_repaired_where_that_is_certain(given_: Any, fitted: dict[str, Any]) -> None:
    call = OfferedTools(TOOLS).call("HassTurnOn", given_)
    assert call is not None
    assert call.arguments == fitted
    assert orjson.dumps(call.arguments) == orjson.dumps(fitted)


@pytest.mark.parametrize("arguments", ["lamp", "[1]", 3, ["lamp"], True])
def test_arguments_that_are_nothing_of_the_sort_are_no_call(arguments: Any) -> None:
    assert OfferedTools(TOOLS).call("HassTurnOn", arguments) is None


def test_nothing_is_left_out_that_must_be_there() -> None:
    call = OfferedTools(TOOLS).call("HassTurnOff", {"name": None})
    assert call == ToolCall("intent__HassTurnOff", {"name": None})
