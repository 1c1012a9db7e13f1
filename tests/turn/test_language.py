"""The language of a turn: the same turn always gets the same one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.shapes import Message, Scope, Turn
from gateway.store.preferences import Preference
from gateway.turn.language import PREFERRED_KEY, Languages

TURN = Turn(scope=Scope(1), utterance="What is the capital of France?", edge="conversation")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Languages:
    return Languages(("en", "fr", "pl"), tmp_path_factory.mktemp("data"))


def wish(language: Any, *, member: int | None = None, age: int = 0) -> Preference:
    at = NOW - timedelta(days=age)
    return Preference(1, PREFERRED_KEY, language, "user", member, at, at)


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("turn on the kitchen light", "en"),
        ("What is the capital of France?", "en"),
        ("allume la lumière du salon", "fr"),
        ("quelle heure est-il", "fr"),
        ("zapal lampe w kuchni", "pl"),
        ("jaka jest stolica Polski", "pl"),
        ("ok", "en"),  # says nothing of its language: the household's first
        ("", "en"),
    ],
)
def test_detected_among_the_households(languages: Languages, said: str, language: str) -> None:
    assert languages.of(replace(TURN, utterance=said), (), ()) == language


def test_what_is_given_comes_first(languages: Languages) -> None:
    assert languages.of(replace(TURN, language="pl-PL"), (), [wish({"language": "fr"})]) == "pl"


def test_then_what_is_preferred_the_speakers_own_before_the_households(languages: Languages) -> None:
    shared, own = wish({"language": "fr"}), wish({"language": "pl"}, member=7, age=3)
    assert languages.of(TURN, (), [shared]) == "fr"
    assert languages.of(TURN, (), [shared, own]) == "pl"
    assert languages.of(TURN, (), [wish({"language": 3})]) == "en"


def test_then_the_conversations(languages: Languages) -> None:
    history = (Message("user", "Jaka jest stolica Francji?"), Message("assistant", "Paris."))
    assert languages.of(replace(TURN, utterance="ok"), history, ()) == "pl"


def test_a_household_of_one_language_speaks_it() -> None:
    assert Languages(("pl",)).of(TURN, (), ()) == "pl"


@pytest.mark.parametrize(
    "text,language",
    [
        ("Anna is allergic to nuts", "en"),
        ("Les poubelles sortent le mardi", "fr"),
        ("Śmieci we wtorek", "pl"),
        ("Netflix", None),
        ("pizza Hawaii", None),
        ("1234", None),
    ],
)
def test_of_a_text_that_is_kept_only_where_it_is_sure(languages: Languages, text: str, language: str | None) -> None:
    assert languages.of_text(text) == language
    assert Languages(("fr",)).of_text(text) == "fr"


def test_where_the_table_cannot_be_kept_it_stays_in_memory(tmp_path: Path) -> None:
    assert Languages(("en", "fr"), tmp_path / "missing").of(TURN, (), ()) == "en"
