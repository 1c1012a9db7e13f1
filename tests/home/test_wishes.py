"""A wish for something to be done at home is told from a question about it."""

import pytest

from gateway.home.speech.wishes import asks_to_act, asks_to_undo


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "turn on the light"),
        ("en", "Could you please switch the heating off"),
        ("en", "open the garage door"),
        ("en", "set the thermostat to 21"),
        ("en", "turn on the toaster"),
        ("en", "turn everything off in the kitchen"),
        ("fr", "éteins tout"),
        ("pl", "zgaś wszystko"),
        ("fr", "Allume la lumière"),
        ("fr", "peux-tu éteindre la lampe s'il te plaît"),
        ("pl", "Włącz światło w kuchni"),
    ],
)
def test_a_wish(language: str, said: str) -> None:
    assert asks_to_act(said, language)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "What turns on a light?"),
        ("en", "How do I open the garage door?"),
        ("en", "turn on the light?"),
        ("en", "set theory"),
        ("en", "Raise the number two to the power of ten"),
        ("en", "Turn the following text into French"),
        ("en", "Turn to page ten"),
        ("en", "Tell me a story about the kitchen"),
        ("fr", "Qui a allumé la lumière ?"),
        ("pl", "Kto włączył światło?"),
        ("de", "Schalte das Licht ein"),
    ],
)
def test_no_wish(language: str, said: str) -> None:
    assert not asks_to_act(said, language)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Stop the kitchen blind, please"),
        ("en", "make the coffee maker go on"),
        ("en", "set the bedroom to 21 degrees"),
        ("fr", "arrête la machine à café"),
        ("pl", "uruchom ekspres do kawy"),
    ],
)
def test_a_wish_for_what_is_known_by_its_name(language: str, said: str) -> None:
    known = ["Kitchen Blind", "Coffee Maker", "Bedroom", "Machine à café", "Ekspres do kawy"]
    assert asks_to_act(said, language, known)
    assert not asks_to_act(said, language, ["Garden", "Maker of coffee"])
    assert not asks_to_act(f"{said}?", language, known)


def test_what_is_known_is_not_always_wished_for() -> None:
    for said in ("Tell me a story about the bedroom", "How do I make the bedroom warm", "What is on in the bedroom"):
        assert not asks_to_act(said, "en", ["Bedroom"])


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Undo that."),
        ("en", "undo"),
        ("en", "never mind, turn it back"),
        ("en", "please put it back as it was"),
        ("en", "oops, undo what you just did"),
        ("fr", "annule ça"),
        ("fr", "Annule ça, s'il te plaît."),
        ("fr", "remets ça comme avant"),
        ("pl", "cofnij to"),
        ("pl", "Przywróć to, proszę"),
        ("pl", "zrób to, jak było"),
    ],
)
def test_taking_back(language: str, said: str) -> None:
    assert asks_to_undo(said, language)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "how do I undo a commit?"),
        ("en", "turn back the clock"),
        ("en", "undo the zip of the tent"),
        ("fr", "annule le minuteur"),
        ("pl", "cofnij zegar o godzinę"),
        ("de", "undo that"),
    ],
)
def test_not_taking_back(language: str, said: str) -> None:
    assert not asks_to_undo(said, language)
