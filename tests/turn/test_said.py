"""What the model writes, as the clients of a whole gateway get it: spoken or as it is, its calls held to the offer."""

from __future__ import annotations

import json
from typing import Any

from gateway.edge.assist import STATIC_CONTEXT
from tests.house import House, speech
from tests.scripted_model import Answer, Tools

SYSTEM = f"{STATIC_CONTEXT}\n- names: Lamp\n  domain: light"
ON = {
    "type": "function",
    "function": {
        "name": "intent__HassTurnOn",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}, "level": {"type": "integer"}}},
    },
}
WISH = {"role": "user", "content": "Describe the lamp, and if it is dark, brighten it"}
MARKED = "**Two** things:\n\n- a `lamp` 💡\n- a [cat](https://example.com/cat)"


async def chat(
    house: House, *messages: dict[str, Any], tools: Any = (ON,), system: str | None = SYSTEM, **more: Any
) -> list[dict[str, Any]]:
    """The lines of a streamed chat."""
    head = [{"role": "system", "content": system}] if system else []
    body = {"model": "qwen3:4b-instruct", "messages": [*head, *messages], "tools": list(tools), **more}
    async with house.client.post("/api/chat", json=body) as response:
        assert response.status == 200
        return [json.loads(line) for line in (await response.text()).splitlines()]


def said(lines: list[dict[str, Any]]) -> str:
    return "".join(line["message"]["content"] for line in lines)


def calls(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call["function"] for line in lines for call in line["message"].get("tool_calls", ())]


async def test_a_voice_hears_words_and_a_chat_gets_marks(house: House) -> None:
    pieces = [MARKED[at : at + 5] for at in range(0, len(MARKED), 5)]
    house.model.script(*[Answer(*pieces)] * 3)
    spoken = "Two things:\n\na lamp.\na cat"
    assert speech(await house.say("Describe what is in the garden")) == spoken
    assert said(await chat(house, WISH)) == spoken
    assert said(await chat(house, WISH, system="You are helpful.")) == MARKED
    assert [row["content"] for row in await house.logged()][1::2] == [spoken, spoken, MARKED]


async def test_a_call_in_text_is_a_call(house: House) -> None:
    house.model.script(Answer('{"name": "HassTurnOn", ', '"parameters": {"name": "Lamp", "level": "50"}}'))
    lines = await chat(house, WISH)
    assert calls(lines) == [{"name": "intent__HassTurnOn", "arguments": {"name": "Lamp", "level": 50}}]
    assert said(lines) == ""


async def test_no_tool_but_an_offered_one_and_never_nothing_at_all(house: House) -> None:
    result = [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "intent__HassTurnOn", "arguments": {}}}],
        },
        {"role": "tool", "content": "{}"},
    ]
    house.model.script(*[Answer(Tools((("HassExplode", {}),)))] * 2)
    first, after_the_tool = await chat(house, WISH), await chat(house, WISH, *result, tools=())
    assert calls(first) == calls(after_the_tool) == []
    assert said(first) == "I have no answer to that."
    assert said(after_the_tool) == "Done."


async def test_json_that_was_asked_for_stays_json(house: House) -> None:
    wanted = '{"name": "intent__HassTurnOn", "arguments": {}}'
    house.model.script(Answer(wanted))
    lines = await chat(house, WISH, system="You are helpful.", format="json")
    assert (said(lines), calls(lines)) == (wanted, [])
