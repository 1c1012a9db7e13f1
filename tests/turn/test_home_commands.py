"""Commands to the home, end to end: the tool call at once, the confirmation from what the client reports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import ollama
import pytest

from tests.house import House
from tests.scripted_model import Answer

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "home-assistant-requests"
SYSTEM = """You are a voice assistant for Home Assistant.
You are in area Kitchen and all generic commands like 'turn on the lights' should target this area.
Static Context: An overview of the areas and the devices in this smart home:
- names: Kitchen Lights
  domain: light
  areas: Kitchen
- names: Office lamp
  domain: light
  areas: Office
- names: Front Door
  domain: lock
  areas: Hall
"""
NAMES = {"name": {"type": "string"}, "area": {"type": "string"}, "floor": {"type": "string"}}
LISTS = {"domain": {"type": "array", "items": {"type": "string"}}}


def tool(name: str, **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "required": [], "properties": {**NAMES, **LISTS, **more}}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


OLD = [tool("HassTurnOn"), tool("HassTurnOff"), tool("HassLightSet", brightness={"type": "integer"})]
NEW = [
    tool("intent__HassTurnOn"),
    tool("intent__HassTurnOff"),
    tool("light__HassLightSet", brightness={"type": "integer"}),
]


def done(name: str, entity: str) -> dict[str, Any]:
    targets = [{"name": name, "type": "entity", "id": entity}]
    return {"speech": {}, "response_type": "action_done", "data": {"targets": [], "success": targets, "failed": []}}


async def ask(house: House, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message to a request as Home Assistant sends it."""
    body = {"model": "qwen3:4b-instruct", "stream": True, "messages": messages, "tools": tools}
    async with house.client.post("/api/chat", json=body) as response:
        assert response.status == 200, await response.text()
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines[-1]["done"]
    said = "".join(line["message"].get("content") or "" for line in lines)
    calls = [call["function"] for line in lines for call in line["message"].get("tool_calls") or ()]
    return {"role": "assistant", "content": said, "calls": calls}


async def turn(
    house: House, said: str, result: Any, tools: list[dict[str, Any]] = OLD
) -> tuple[list[dict[str, Any]], str]:
    """A command and its result: the calls, and what was said of it."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": said}]
    first = await ask(house, messages, tools)
    if not first["calls"]:
        return [], first["content"]
    messages.append({"role": "assistant", "tool_calls": [{"function": call} for call in first["calls"]]})
    messages.append({"role": "tool", "content": json.dumps(result)})
    return first["calls"], (await ask(house, messages, tools))["content"]


async def test_a_command_is_called_and_confirmed_without_the_model(house: House) -> None:
    calls, said = await turn(house, "turn on the office lamp", done("Office lamp", "light.office_lamp"))
    assert [(call["name"], call["arguments"]["name"]) for call in calls] == [("HassTurnOn", "Office lamp")]
    assert said == "Turned on the light"
    assert not house.model.chats
    rows = await house.logged()
    assert {row["intent"] for row in rows} == {"HassTurnOn"}


async def test_the_newer_names_and_the_newer_results(house: House) -> None:
    result = {"data": done("Office lamp", "light.office_lamp"), "error": False}
    calls, said = await turn(house, "please turn off the office lamp", result, NEW)
    assert [call["name"] for call in calls] == ["intent__HassTurnOff"]
    assert said == "Turned off the light"
    assert not house.model.chats


async def test_the_room_is_the_speakers(house: House) -> None:
    calls, _ = await turn(house, "turn on the lights", done("Kitchen Lights", "light.kitchen_lights"))
    assert calls[0]["arguments"]["area"] == "Kitchen"
    assert calls[0]["arguments"]["domain"] == ["light"]


@pytest.mark.parametrize(
    "result",
    [
        {"error": "MatchFailedError", "error_text": "no such thing"},
        {"data": {"error": "MatchFailedError", "error_text": "no such thing"}, "error": True},
        {"speech": {}, "response_type": "action_done", "data": {"targets": [], "success": [], "failed": []}},
        "no JSON",
    ],
)
async def test_what_did_not_work_is_never_confirmed(house: House, result: Any) -> None:
    house.model.script(Answer("I could not do that."))
    calls, said = await turn(house, "turn on the office lamp", result)
    assert calls
    assert said == "I could not do that."
    assert house.model.chats[-1]["messages"][-1]["role"] == "tool"


@pytest.mark.parametrize(
    "said",
    [
        "unlock the front door",
        "lock the front door",
        "turn on the office lamp and then the kitchen lights",
        "turn on the office lamp in five minutes",
        "turn on the office lamp if it is dark",
        "don't turn on the office lamp",
        "is the office lamp on?",
        "turn on the garage lamp",
    ],
)
async def test_what_is_gated_or_doubtful_is_the_models(house: House, said: str) -> None:
    house.model.script(Answer("The model answers."))
    calls, answer = await turn(house, said, {})
    assert (calls, answer) == ([], "The model answers.")


async def test_a_learned_alias_is_a_further_name(house: House) -> None:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "call the office lamp the sun"}]
    assert "sun" in (await ask(house, messages, OLD))["content"]
    calls, _ = await turn(house, "turn on the sun", done("Office lamp", "light.office_lamp"))
    assert calls[0]["arguments"]["name"] == "Office lamp"


async def test_an_alias_may_stand_for_an_entity_id(house: House) -> None:
    alias = {"key": "entity_alias.my_reading_light", "value": {"entity_id": "light.corner_2"}, "category": "aliases"}
    async with house.client.post("/preferences/set", json=alias) as response:
        assert response.status == 201
    calls, _ = await turn(house, "turn on my reading light", done("Corner", "light.corner_2"))
    assert calls[0]["arguments"]["name"] == "light.corner_2"


async def test_an_action_is_understood_anew_each_time(house: House) -> None:
    for _ in range(2):
        calls, _said = await turn(house, "turn on the office lamp", done("Office lamp", "light.office_lamp"))
        assert len(calls) == 1
    async with house.client.get("/cache/stats") as response:
        assert (await response.json())["entries"] == 0


async def test_where_nothing_can_be_reached_nothing_is_pretended(house: House) -> None:
    reply = await house.say("turn on the kitchen light")
    assert reply["response"]["speech"]["plain"]["speech"] == "I can't operate anything at home from here."
    assert not house.model.chats


async def test_a_large_image_goes_through_and_a_large_text_does_not(house: House) -> None:
    def body(**message: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": "Describe this", **message}]
        return {"model": "qwen3:4b-instruct", "stream": False, "messages": messages}

    picture = "aGk=" * 500_000
    async with house.client.post("/api/chat", data=io.BytesIO(json.dumps(body(images=[picture])).encode())) as response:
        assert response.status == 200
    assert house.model.chats[-1]["messages"][-1]["images"] == [picture]
    async with house.client.post(
        "/api/chat", data=io.BytesIO(json.dumps(body(more="x" * 2_000_000)).encode())
    ) as response:
        assert response.status == 413


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded requests of real Home Assistants are not here")
@pytest.mark.parametrize("version", ["2026.2.3", "2026.11.0"])
async def test_recorded_requests_are_answered_in_ollamas_own_types(house: House, version: str) -> None:
    house.model.models.append("smollm2:135m")
    for line in (RECORDED / f"{version}.jsonl").read_text(encoding="utf-8").splitlines():
        recorded = json.loads(line)
        async with house.client.request(recorded["method"], recorded["path"], json=recorded["body"]) as response:
            assert response.status == 200
            text = await response.text()
        if recorded["path"] == "/api/tags":
            assert "smollm2:135m" in [model.model for model in ollama.ListResponse.model_validate_json(text).models]
            continue
        answers = [ollama.ChatResponse.model_validate_json(part) for part in text.splitlines()]
        assert all(answer.message.role == "assistant" for answer in answers)
        assert answers[-1].done
        offered = {offer["function"]["name"] for offer in recorded["body"]["tools"]}
        calls = [call.function.name for answer in answers for call in answer.message.tool_calls or ()]
        assert set(calls) <= offered
        assert calls or "".join(answer.message.content or "" for answer in answers).strip()
