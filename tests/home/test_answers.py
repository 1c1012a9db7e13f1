"""What is said about what was done: only what Home Assistant reports."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.home.speech.answers import confirm, results
from gateway.home.speech.intents import Understood
from gateway.shapes import Message, ToolCall
from tests.home.conftest import Hear


def reported(*success: dict[str, str], failed: tuple[dict[str, str], ...] = (), new: bool = True) -> str:
    inner: dict[str, Any] = {
        "speech": {},
        "response_type": "action_done",
        "data": {"success": list(success), "failed": list(failed)},
    }
    if not new:
        inner["data"]["targets"] = []
    return orjson.dumps({"data": inner, "error": False} if new else inner).decode()


LAMP = {"name": "Desk Lamp", "type": "entity", "id": "light.desk_lamp"}
AREA = {"name": "Office", "type": "area", "id": "office"}


def understood(hear: Hear, text: str, language: str = "en", **more: Any) -> Understood:
    found = hear(text, language, **more)
    assert isinstance(found, Understood), found
    return found


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "text, language, said",
    [
        ("turn on the desk lamp", "en", "Turned on the light"),
        ("turn off the lights in the office", "en", "Turned off the lights"),
        ("set the desk lamp to 50%", "en", "Brightness set"),
        ("éteins la lampe de chevet", "fr", "Éteint"),
        ("włącz lampkę nocną", "pl", "Włączono lampkę nocną"),
        ("włącz światła w kuchni", "pl", "Włączono światła w kuchni"),
    ],
)
def test_the_package_s_own_words(hear: Hear, text: str, language: str, said: str, new: bool) -> None:
    assert confirm(understood(hear, text, language), reported(AREA, LAMP, new=new)) == said


def test_the_room_in_its_case(hear: Hear) -> None:
    command = understood(hear, "włącz światła tutaj", "pl", area="Kuchnia")
    assert confirm(command, reported(AREA, LAMP)) == "Włączono światła w kuchni"


def test_a_kind_of_thing_without_a_word_of_its_own(hear: Hear) -> None:
    odd = {"name": "Desk Lamp", "type": "entity", "id": "oddity.desk_lamp"}
    assert confirm(understood(hear, "turn on the desk lamp"), reported(odd)) == "Done"


@pytest.mark.parametrize(
    "result",
    [
        reported(LAMP, failed=(LAMP,)),
        reported(failed=(LAMP,)),
        reported(),
        '{"data":{"error":"MatchFailedError","error_text":"no"},"error":true}',
        '{"error":"MatchFailedError","error_text":"no"}',
        '{"data":{"speech":{},"response_type":"error","data":{"code":"no_valid_targets"}},"error":false}',
        '{"success":false}',
        "no json",
        "[]",
        "",
    ],
)
def test_what_failed_is_the_model_s_to_tell(hear: Hear, result: str) -> None:
    assert confirm(understood(hear, "turn on the desk lamp"), result) is None


def test_a_broadcast_has_no_target(hear: Hear) -> None:
    assert confirm(understood(hear, "broadcast dinner is ready"), reported()) == "Done"


@pytest.mark.parametrize("wrap", [True, False])
def test_the_time(hear: Hear, wrap: bool) -> None:
    now = {"date": "2026-11-21", "time": "14:05:09", "timezone": "CET", "weekday": "Saturday"}
    result = {"data": now, "error": False} if wrap else {"success": True, "result": now}
    assert confirm(understood(hear, "what time is it"), orjson.dumps(result).decode()) == "2:05 PM"
    assert confirm(understood(hear, "what time is it"), '{"success": true, "result": {"time": "soon"}}') is None


def test_a_question_is_the_model_s_to_answer(hear: Hear) -> None:
    assert confirm(understood(hear, "is the desk lamp on"), '{"success": true, "result": "on"}') is None


def test_the_result_of_this_very_call(hear: Hear) -> None:
    command = understood(hear, "turn on the desk lamp")
    asked = Message("assistant", tool_calls=(ToolCall(command.tool, {"name": "Desk Lamp"}),))
    other = Message("assistant", tool_calls=(ToolCall(command.tool, {"name": "Lamp"}),))
    answer = Message("tool", "{}")
    assert results(command, (asked, answer)) == "{}"
    assert results(command, (other, answer)) is None
    assert results(command, (asked, answer, asked, answer)) is None
    assert results(command, (asked,)) is None
    assert results(command, ()) is None
