"""A wish for something to be done at home is told from a question about it."""

import pytest

from gateway.home.wishes import asks_to_act, asks_to_undo


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "turn on the light"),
        ("en", "Could you please switch the heating off"),
        ("en", "open the garage door"),
        ("en", "set the thermostat to 21"),
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
