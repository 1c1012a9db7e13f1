"""Memory commands are taken as they are said, and nothing else is taken for one."""

import pytest

from gateway.memory.commands import (
    CallIt,
    Correct,
    Forget,
    Remember,
    WhatDoYouKnow,
    alias_key,
    consents,
    entity_named,
    understand,
)
from gateway.shapes import Entity


@pytest.mark.parametrize(
    ("language", "said", "content"),
    [
        ("en", "Remember that the bins go out on Tuesday", "the bins go out on Tuesday"),
        ("en", "please remember that Anna is allergic to nuts.", "Anna is allergic to nuts"),
        ("en", "Could you remember my sister's name is Maria", "my sister's name is Maria"),
        ("en", "don't forget that we are vegetarians", "we are vegetarians"),
        ("en", "Note: the plumber is called Marek", "the plumber is called Marek"),
        ("fr", "Retiens que les poubelles sortent le mardi", "les poubelles sortent le mardi"),
        ("fr", "N’oublie pas que Léa est allergique aux noix", "Léa est allergique aux noix"),
        ("fr", "souviens-toi qu'on part en août", "on part en août"),
        ("pl", "Zapamiętaj, że śmieci wywożą we wtorek", "śmieci wywożą we wtorek"),
        ("pl", "zapamietaj ze lubie kawe", "lubie kawe"),
        ("pl", "Proszę, pamiętaj, że Ola nie je mięsa.", "Ola nie je mięsa"),
    ],
)
def test_remember(language: str, said: str, content: str) -> None:
    assert understand(said, language) == Remember(content, language)


@pytest.mark.parametrize(
    ("language", "said", "name", "alias"),
    [
        ("en", "call my office lamp the sun", "office lamp", "sun"),
        ("en", "when I say sun, I mean the office lamp", "office lamp", "sun"),
        ("fr", "Appelle la lampe du bureau le soleil", "lampe du bureau", "soleil"),
        ("pl", "nazywaj lampę biurową słońcem", "lampę biurową", "słońcem"),
        ("pl", "Nazwij lampę w biurze „żółte słońce”", "lampę w biurze", "żółte słońce"),
    ],
)
def test_call(language: str, said: str, name: str, alias: str) -> None:
    assert understand(said, language) == CallIt(name, alias, language)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "What do you know about me?"),
        ("en", "what do you remember about us"),
        ("fr", "Que sais-tu de moi ?"),
        ("fr", "Qu'est-ce que tu sais sur moi ?"),
        ("pl", "Co o mnie wiesz?"),
        ("pl", "co pamiętasz o mnie"),
    ],
)
def test_what_do_you_know(language: str, said: str) -> None:
    assert understand(said, language) == WhatDoYouKnow(language)


@pytest.mark.parametrize(
    ("language", "said", "topic"),
    [
        ("en", "Forget what I said about the bins", "the bins"),
        ("en", "please forget everything we told you about Anna's birthday.", "Anna's birthday"),
        ("en", "Could you forget all you know about the neighbours", "the neighbours"),
        ("en", "forget that the bins go out on Tuesday", "the bins go out on Tuesday"),
        ("fr", "Oublie ce que j'ai dit sur les poubelles", "les poubelles"),
        ("fr", "oublie tout ce que je t’ai dit à propos de Léa", "Léa"),
        ("fr", "Oublie ce que tu sais d'Anna", "Anna"),
        ("fr", "oublie que Léa n'aime pas le thé", "Léa n'aime pas le thé"),
        ("pl", "zapomnij, co mówiłem o śmieciach", "śmieciach"),
        ("pl", "Zapomnij o wszystkim, co ci mówiłam o Oli.", "Oli"),
        ("pl", "zapomnij wszystko, co wiesz o sąsiadach", "sąsiadach"),
        ("pl", "zapomnij, że Ola nie je mięsa", "Ola nie je mięsa"),
    ],
)
def test_forget(language: str, said: str, topic: str) -> None:
    assert understand(said, language) == Forget(topic, language)


def test_correct() -> None:
    assert understand("No, Anna's birthday is in May.", "en") == Correct("Anna's birthday is in May", "en")
    assert understand("nie, hasło to kot", "pl") == Correct("hasło to kot", "pl")
    for text in ("no, that's wrong", "No, Anna's birthday is in May?", "no", "no, not the kitchen", "non merci"):
        assert understand(text, "en") is None


def test_yes_and_no_and_nothing_else() -> None:
    for language, yes, no in [("en", "Yes, please!", "no, thanks"), ("fr", "oui", "Non."), ("pl", "tak, jasne", "nie")]:
        assert consents(yes, language) is True
        assert consents(no, language) is False
    for other in ("yes but not the blue one", "who wrote Hamlet?", "", "maybe", "no idea, what is it?"):
        assert consents(other, "en") is None


@pytest.mark.parametrize(
    "said",
    [
        "forget it",
        "forget that",
        "forget about the bins",
        "don't forget the bins",
        "I forgot what I said about the bins",
        "what did I say about the bins?",
        "oublie ça",
        "zapomnij o tym",
        "Do you remember that film?",
        "remember that song?",
        "remember to buy milk",
        "Remind me that the bins go out",
        "call mum",
        "call my wife",
        "call the plumber the day after tomorrow",
        "appelle maman",
        "czy pamiętasz, że obiecałem?",
        "what do you know about France?",
        "I can't remember that name",
        "",
        "remember that " + "a" * 5000,
    ],
)
def test_what_is_no_command_is_left_to_the_model(said: str) -> None:
    assert understand(said, "en") is None


def test_a_misjudged_language_is_forgiven() -> None:
    assert understand("zapamiętaj, że jutro wolne", "en") == Remember("jutro wolne", "pl")


def test_an_alias_has_a_key_in_any_script() -> None:
    assert alias_key("Sun Lamp") == "entity_alias.sun_lamp"
    assert alias_key("żółte słońce!") == "entity_alias.żółte_słońce"


def test_a_name_means_one_thing_or_none() -> None:
    lamps = [
        Entity(("Office lamp", "Desk light"), "light"),
        Entity(("Hall lamp",), "light"),
        Entity(("hall lamp",), "switch"),
    ]
    assert entity_named("the desk light", lamps) == lamps[0]
    assert entity_named("hall lamp", lamps) is None
    assert entity_named("garage lamp", lamps) is None
