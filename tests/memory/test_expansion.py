"""What a question is expanded by, and what it is not."""

import pytest

from gateway.memory.expansion import expand, leans
from gateway.shapes import Entity

THINGS = (
    Entity(("Office main light", "sun lamp"), "light", ("Office",)),
    Entity(("Kitchen light",), "light", ("Kitchen",)),
    Entity(("Lamp",), "light", ("Hall",)),
    Entity(("lamp",), "light", ("Attic",)),
    Entity(("LAMP",), "light", ("Cellar",)),
)


@pytest.mark.parametrize(
    ("question", "others"),
    [
        ("is the Sun Lamp dimmable", ("Office main light", "Office")),
        ("who chose the kitchen light?", ()),  # its area's name is said in its own
        ("what is in the office", ()),  # a room names none of its things
        ("which lamp is broken", ()),  # three are called so
        ("what does the sunshine do", ()),
    ],
)
def test_the_other_names_of_a_thing(question: str, others: tuple[str, ...]) -> None:
    expansion = expand(question, things=THINGS)
    assert expansion.added.get("name", ()) == others
    assert all(other in expansion.meaning for other in others)
    assert set(others) <= set(expansion.also)


@pytest.mark.parametrize(
    ("language", "question", "before"),
    [
        ("en", "and upstairs?", "Which plants need water?"),
        ("en", "when is her birthday?", "Who is Anna?"),
        ("fr", "et à l'étage ?", "Quelles plantes ont besoin d'eau ?"),
        ("pl", "a na górze?", "Które rośliny trzeba podlać?"),
    ],
)
def test_a_question_that_leans_on_the_one_before(language: str, question: str, before: str) -> None:
    expansion = expand(question, language=language, before=before)
    assert expansion.added["before"] == (before,)
    assert expansion.meaning == f"{before} {question}"
    assert expand(question, language=language).meaning == question


@pytest.mark.parametrize(
    ("language", "question"),
    [
        ("en", "When is Anna's birthday?"),
        ("en", "What did the plumber say about the boiler and the pipes when it was so cold?"),
        ("fr", "Quel est le mot de passe du wifi ?"),
        ("pl", "Kiedy są urodziny Anny?"),
        ("en", "what is on the roof"),  # "on" is a pronoun in Polish alone
    ],
)
def test_a_question_that_stands_by_itself(language: str, question: str) -> None:
    assert not leans(question, language)
    assert "before" not in expand(question, language=language, before="Which plants need water?").added


@pytest.mark.parametrize(
    ("language", "question", "numbers"),
    [
        ("en", "the 2 cables", ("two",)),
        ("en", "who has twenty-one keys", ("21",)),
        ("fr", "les vingt et un verres", ("21",)),
        ("fr", "les quatre-vingt-dix marches", ("90",)),
        ("pl", "trzy klucze", ("3",)),
        ("pl", "dwadzieścia jeden", ("21",)),
        ("en", "one of them", ()),  # an article, mostly
        ("en", "house 2024", ()),
        ("en", "number 7²", ()),
    ],
)
def test_numbers_in_words_and_digits(language: str, question: str, numbers: tuple[str, ...]) -> None:
    assert expand(question, language=language).added.get("number", ()) == numbers


@pytest.mark.parametrize(
    ("question", "spelling"),
    [
        ("which colour", "color"),
        ("the gray sofa", "grey"),
        ("who organised it", "organized"),
        ("wi-fi", "wifi"),
    ],
)
def test_other_spellings(question: str, spelling: str) -> None:
    assert spelling in expand(question).also


def test_a_question_with_nothing_to_add() -> None:
    expansion = expand("Who?", things=THINGS)
    assert (expansion.meaning, expansion.also, dict(expansion.added)) == ("Who?", (), {})
