"""What may be answered from the cache, and what may be stored."""

from dataclasses import replace

import pytest

from gateway.cache import law
from gateway.errors import ModelTimeout
from gateway.shapes import CacheControl, CacheOutcome, Entity, Message, Reply, Scope, ToolCall, Turn

TURN = Turn(scope=Scope(1), utterance="What is the capital of France?", edge="ollama")
REPLY = Reply(turn_id=TURN.id, conversation_id="c", text="Paris.", language="en", model="m", cache=CacheOutcome("miss"))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "What is the capital of France?"),
        ("en", "Who wrote Hamlet?"),
        ("en", "When do the bins go out?"),
        ("en", "How do I make pancakes?"),
        ("fr", "Quelle est la capitale de la France ?"),
        ("fr", "Qui a écrit Les Misérables ?"),
        ("pl", "Jaka jest stolica Polski?"),
        ("pl", "Kto napisał Pana Tadeusza?"),
    ],
)
def test_a_question_whose_answer_stays_may_be_cached(language: str, said: str) -> None:
    assert law.why_not_look(replace(TURN, utterance=said), language, ()) is None


@pytest.mark.parametrize(
    ("language", "said", "reason"),
    [
        ("en", "Turn on the kitchen light", "action"),
        ("en", "Could you please turn off the fan", "action"),
        ("en", "remember that I like tea", "action"),
        ("en", "What time is it?", "freshness"),
        ("en", "How warm is it in the bedroom?", "freshness"),
        ("en", "What's the weather like?", "freshness"),
        ("en", "Is the door locked?", "state"),
        ("en", "Where am I?", "state"),
        ("en", "Tell me a joke", "novelty"),
        ("en", "Pick a number", "novelty"),
        ("fr", "Allume la lumière", "action"),
        ("fr", "Peux-tu éteindre la lampe ?", "action"),
        ("fr", "Quelle heure est-il ?", "freshness"),
        ("fr", "Est-ce que la porte est fermée ?", "state"),
        ("fr", "Raconte-moi une blague", "novelty"),
        ("pl", "Włącz światło", "action"),
        ("pl", "Zapamiętaj, że lubię herbatę", "action"),
        ("pl", "Która godzina?", "freshness"),
        ("pl", "Jaka jest pogoda?", "freshness"),
        ("pl", "Czy drzwi są zamknięte?", "state"),
        ("pl", "Opowiedz dowcip", "novelty"),
        ("de", "Was ist die Hauptstadt von Frankreich?", "language"),
        ("en", "?!", "empty"),
    ],
)
def test_what_acts_or_wants_to_be_new_is_always_asked(language: str, said: str, reason: str) -> None:
    assert law.why_not_look(replace(TURN, utterance=said), language, ()) == reason


def test_a_misjudged_language_does_not_let_a_command_through() -> None:
    assert law.why_not_look(replace(TURN, utterance="włącz światło"), "en", ()) == "action"


def test_a_question_about_a_thing_at_home_is_about_its_state() -> None:
    at_home = (Entity(("Coffee machine",), "switch", ("Kitchen",)),)
    turn = replace(TURN, utterance="What about the coffee machine?", entities=at_home)
    assert law.why_not_look(turn, "en", ()) == "state"


def test_tools_in_the_history_or_the_turn_are_never_cached() -> None:
    called = Message("assistant", tool_calls=(ToolCall("HassTurnOn", {}),))
    assert law.why_not_look(TURN, "en", (called,)) == "tools"
    assert law.why_not_look(replace(TURN, continuation=(Message("tool", "{}"),)), "en", ()) == "tools"


def test_the_client_may_refuse() -> None:
    assert law.why_not_look(replace(TURN, cache_control=CacheControl.NO_STORE), "en", ()) == "no-store"
    assert law.why_not_look(replace(TURN, task=True), "en", ()) == "task"


def why_not(
    reply: Reply = REPLY, turn: Turn = TURN, *, complete: bool = True, epoch: int | None = 1, ttl: int = 60
) -> str | None:
    return law.why_not_store(turn, reply, recall_complete=complete, epoch=epoch, ttl_seconds=ttl)


def test_a_whole_answer_is_stored() -> None:
    assert why_not() is None


def test_what_is_not_whole_is_not_stored() -> None:
    assert why_not(replace(REPLY, finish="length")) == "incomplete-answer"
    assert why_not(replace(REPLY, finish="cut_off")) == "incomplete-answer"
    assert why_not(replace(REPLY, error=ModelTimeout("late"))) == "incomplete-answer"
    assert why_not(replace(REPLY, text=" \n")) == "empty-answer"
    assert why_not(replace(REPLY, tool_calls=(ToolCall("HassTurnOn", {}),))) == "tools"
    assert why_not(complete=False) == "incomplete-recall"
    assert why_not(replace(REPLY, degraded=("memory",))) == "incomplete-recall"
    assert why_not(epoch=None) == "epoch-unknown"
    assert why_not(ttl=0) == "disabled"
