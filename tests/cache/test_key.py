"""The key tells apart what could be answered differently, and nothing else."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.key import cache_key, normalise
from gateway.shapes import Message, Scope, ToolCall, Turn

TURN = Turn(scope=Scope(1), utterance="What is the capital of France?", edge="ollama", head="Be brief.")


def key(turn: Turn = TURN, **changed: Any) -> str:
    given: dict[str, Any] = {
        "model": "m",
        "language": "en",
        "local_date": date(2026, 3, 1),
        "head": turn.head,
        "history": turn.history,
    }
    return cache_key(turn, **{**given, **changed})


@pytest.mark.parametrize(
    "said",
    [
        "what is the capital of france",
        "  What   is the capital\tof France ?!",
        "WHAT IS THE CAPITAL OF FRANCE?",
        "«What is the capital of France?»",
    ],
)
def test_the_same_question_in_other_clothes_has_the_same_key(said: str) -> None:
    assert key(replace(TURN, utterance=said)) == key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("is the door open", "is the door not open"),
        ("turn it on", "turn it off"),
        ("set it to 20", "set it to 21"),
        ("set it to 5²", "set it to 52"),
        ("who did Anna call", "who did call Anna"),
        ("tea for Ann", "tea for Anne"),
        ("la côte", "la cote"),
        ("sąd", "sad"),
        ("-5 plus 3", "5 plus 3"),
    ],
)
def test_other_words_have_another_key(one: str, other: str) -> None:
    assert key(replace(TURN, utterance=one)) != key(replace(TURN, utterance=other))


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": Scope(2)},
        {"scope": Scope(1, 7)},
        {"area": "Kitchen"},
        {"floor": "Ground"},
        {"volatile": ("You are in area Kitchen",)},
        {"images": ("aGk=",)},
        {"tools": ({"type": "function", "function": {"name": "HassTurnOn"}},)},
        {"request": {"options": {"temperature": 0.9}}},
        {"request": {"format": "json"}},
        {"request": {"think": True}},
        {"request": {"something_new": 1}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_field_of_the_turn_counts(changed: dict[str, Any]) -> None:
    assert key(replace(TURN, **changed)) != key()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"language": "fr"},
        {"local_date": date(2026, 3, 2)},
        {"head": "Be long."},
        {"history": (Message("user", "Hello"),)},
        {"history": (Message("assistant", "", tool_calls=(ToolCall("HassTurnOn", {"name": "Lamp"}),)),)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_everything_around_the_turn_counts(changed: dict[str, Any]) -> None:
    assert key(**changed) != key()


def test_how_an_answer_is_delivered_does_not_count() -> None:
    assert key(replace(TURN, request={"keep_alive": -1.0, "stream": True})) == key()


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_more(said: str) -> None:
    assert normalise(normalise(said)) == normalise(said)


@given(st.lists(st.text("abcdefgh0123456789", min_size=1, max_size=6), min_size=1, max_size=8))
def test_no_word_is_dropped_and_none_changes_its_place(words: list[str]) -> None:
    assert normalise("  ".join(words) + " ?") == " ".join(words)
