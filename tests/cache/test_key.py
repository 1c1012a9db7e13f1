"""The key tells apart what could be answered differently, and nothing else."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.key import cache_key, folded, normalise
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
        "Please, what is the capital of France?",
        "What is the capital of France, please?",
        "what is the capital of france please",
        "Hey, um, what is the capital of France? Thanks a lot!",
        "Okay, what is the capital of France? Thank you very much.",
        "Excuse me, what is the capital of France?",
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
        (".5 plus 3", "5 plus 3"),
        ("what is 5!", "what is 5"),
        ("what is 5 !", "what is 5"),
        ("what is n!", "what is n"),
        ("how long is 5'", 'how long is 5"'),
        ("what is the meaning of ?", "what is the meaning of !"),
        ("Who leads US?", "Who leads us?"),
        ("Who made Turkey?", "Who made turkey?"),
        ("How many mW are there?", "How many MW are there?"),
        ("what is 5 m in feet", "what is 5 M in feet"),
        ("What does `Split` do?", "What does `split` do?"),
        ("Where is bit.ly/aB?", "Where is bit.ly/ab?"),
        ("if a:\n  b\nc", "if a:\n  b\n  c"),
        ("how do you spell please", "how do you spell"),
        ("How do you say no, thanks?", "How do you say no?"),
        ("Hello, how do you spell it?", "how do you spell it"),
        ("Comment dit-on oui, merci ?", "Comment dit-on oui ?"),
        ("whom did the king please", "whom did the king"),
        ("can you swim", "you swim"),
        ("can you tell red from green", "tell red from green"),
        ("hello world in Python", "world in Python"),
        ("hey jude by whom", "jude by whom"),
        ("where do I put the please", "where do I put the"),
        ("que veut dire merci", "que veut dire"),
        ("jak się pisze proszę", "jak się pisze"),
        ("no, why is the sky blue", "why is the sky blue"),
        ("nie, dlaczego niebo jest niebieskie", "dlaczego niebo jest niebieskie"),
    ],
)
def test_other_words_have_another_key(one: str, other: str) -> None:
    assert key(replace(TURN, utterance=one)) != key(replace(TURN, utterance=other))


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Can you tell me who wrote Hamlet?", "tell me who wrote hamlet"),
        ("Could you please explain gravity, please?", "explain gravity"),
        ("So, well, what is gravity?", "what is gravity"),
        ("How do you say thank you in French, please?", "how do you say thank you in french"),
        ("Hey, how do you spell necessary? Thanks!", "how do you spell necessary"),
        ("Where does chocolate come from? Thanks", "where does chocolate come from"),
        ("Bonjour, le miel est-il bon pour la toux, stp", "le miel est-il bon pour la toux"),
        ("Proszę, na jakim kontynencie leży Egipt", "na jakim kontynencie leży egipt"),
        ("WHAT IS THE POPULATION OF THE US", "what is the population of the us"),
        ("S'il te plaît, quelle est la capitale de la France ?", "quelle est la capitale de la france"),
        (
            "Bonjour, euh, quelle est la capitale de la France, s'il vous plaît ? Merci !",
            "quelle est la capitale de la france",
        ),
        ("Est-ce que tu peux m'expliquer la gravité, stp", "m'expliquer la gravité"),
        ("Hej, jaka jest stolica Polski, proszę?", "jaka jest stolica polski"),
        ("Czy mógłbyś mi wyjaśnić grawitację? Dziękuję bardzo!", "mi wyjaśnić grawitację"),
        ("Dzień dobry, yyy, kto napisał Lalkę?", "kto napisał lalkę"),
    ],
)
def test_courtesy_is_taken_off_in_each_language(said: str, asked: str) -> None:
    assert normalise(said) == asked


@pytest.mark.parametrize(
    "said",
    [
        "how do you say thank you",
        "how do you say no, thank you",
        "what does s'il te plaît mean",
        "Comment dit-on merci",
        "Jak jest proszę po angielsku",
        "jak napisać proszę",
        'what does "hello, please" mean, thanks',
        "who is it please",
        "please please me",
        "explain please",
        "is it good for me",
        "ok computer by whom",
        "do as you please",
    ],
)
def test_what_may_be_meant_stays(said: str) -> None:
    assert normalise(said) == folded(said)


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


@given(st.lists(st.text("abcdfgk0123456789", min_size=1, max_size=6), min_size=1, max_size=8))
def test_no_word_is_dropped_and_none_changes_its_place(words: list[str]) -> None:
    assert normalise("  ".join(words) + " ?") == " ".join(words)
