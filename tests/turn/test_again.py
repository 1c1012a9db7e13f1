"""What asks for the answer anew, and what says that it was wrong; and what only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.turn.again import asks_again, corrects

AGAIN = {
    "en": (
        "ask again",
        "Ask again, please.",
        "Please ask again",
        "Ask the model again!",
        "Can you ask the model again?",
        "could you check again please",
        "Check that again",
        "Try again",
        "No, try again.",
        "Try once more",
        "Look it up again",
        "Think again",
        "Answer my question again",
        "Ask that one more time",
        "Recheck that",
        "Double-check that, please",
        "Are you sure? Check again.",
        "Give me another answer",
        "I want a new answer",
        "Ask again without the cache",
        "Don't use the cache",
        "regenerate the answer",
        "retry",
    ),
    "fr": (
        "Redemande",
        "redemande au modèle",
        "Redemande, s'il te plaît",
        "Essaie encore",
        "Essaie encore une fois",
        "Réessaie",
        "Demande à nouveau au modèle",
        "Pose la question encore une fois",
        "Vérifie de nouveau, stp",
        "Tu peux vérifier encore une fois ?",
        "Non, vérifie à nouveau.",
        "Donne-moi une autre réponse",
        "Réponds sans le cache",
    ),
    "pl": (
        "Zapytaj jeszcze raz",
        "zapytaj jeszcze raz, proszę",
        "Zapytaj model ponownie",
        "Zapytaj ponownie model",
        "Spróbuj jeszcze raz",
        "Sprawdź ponownie",
        "Sprawdź to jeszcze raz",
        "Jeszcze raz zapytaj",
        "Nie, sprawdź jeszcze raz.",
        "Czy możesz sprawdzić jeszcze raz?",
        "Odpowiedz jeszcze raz",
        "Daj mi inną odpowiedź",
        "Bez pamięci podręcznej",
        "zapytaj jeszcze raz modelu",
    ),
}
NOT_AGAIN = {
    "en": (
        "do it again",
        "say that again",
        "repeat that",
        "tell me again who wrote Hamlet",
        "turn it on again",
        "ask Anna again",
        "ask again tomorrow whether it rains",
        "check the door again",
        "check the weather",
        "try turning it off and on again",
        "never again",
        "play it again",
        "who said try again fail again fail better",
        "what is the cache",
        "refresh the page how",
        "again",
        "what does it mean to think again",
    ),
    "fr": (
        "encore",
        "joue encore cette chanson",
        "répète",
        "dis-le encore une fois",
        "allume encore la lumière",
        "demande encore à Anna",
        "vérifie la porte",
        "est-ce qu'il va encore pleuvoir",
        "encore une fois",
    ),
    "pl": (
        "jeszcze raz",
        "powtórz",
        "powiedz to jeszcze raz",
        "włącz jeszcze raz światło",
        "zapytaj Annę jeszcze raz",
        "sprawdź drzwi",
        "czy jeszcze raz spadnie deszcz",
        "zagraj to ponownie",
    ),
}
WRONG = {
    "en": (
        "No, that's wrong",
        "that's wrong",
        "That is not right.",
        "That's not right, the capital is Canberra",
        "that isn't correct",
        "That's incorrect",
        "No, that is not true",
        "You're wrong",
        "No, you are mistaken",
        "Sorry, but that's wrong",
        "I think that's wrong",
        "that was wrong, it was 1815",
        "your answer is wrong",
        "The answer was wrong",
        "You got that wrong",
        "wrong answer",
        "Wrong!",
        "No, wrong",
        "no it isn't Sydney, it's Canberra",
        "that's wrong it's Canberra",
        "That's not what I asked",
        "This is completely false",
    ),
    "fr": (
        "Non, c'est faux",
        "c’est faux",
        "C'est faux, c'est Canberra",
        "Non, ce n'est pas vrai.",
        "ce n'est pas ça",
        "C'est pas ça",
        "Tu te trompes",
        "Non, tu t'es trompé, c'est Lyon",
        "mauvaise réponse",
        "Ta réponse est fausse",
        "c'est une erreur",
        "Non, ce n'est pas Sydney, c'est Canberra",
        "Faux !",
    ),
    "pl": (
        "Nie, to nieprawda",
        "to nieprawda",
        "To nieprawda, stolicą jest Canberra",
        "To jest błąd",
        "to źle",
        "nie, to źle",
        "To nie jest prawda.",
        "Mylisz się",
        "Nie, mylisz się, to Canberra",
        "pomyliłeś się",
        "Pomyliłaś się",
        "zła odpowiedź",
        "Twoja odpowiedź jest błędna",
        "nie masz racji",
        "Nieprawda!",
        "Nie, to nie Sydney, tylko Canberra",
    ),
}
NOT_WRONG = {
    "en": (
        "no, turn it off",
        "No, the kitchen light",
        "no",
        "no thanks",
        "is it wrong to lie",
        "is that wrong",
        "that's wrong?",
        "It is wrong to lie",
        "what is wrong with the printer",
        "what's wrong",
        "that's not right to say",
        "that's right",
        "yes, that's correct",
        "no, it's fine",
        "no, it's not necessary",
        "you're not wrong",
        "turn on the wrong light",
        "why is that not true",
        "isn't that wrong",
        "true or false: the earth is flat",
        "wrong way by which band",
        "tell me if that's wrong",
        "don't get me wrong",
        "remember that your answer is wrong sometimes",
        "that's wrong of him",
    ),
    "fr": (
        "non, éteins-la",
        "non merci",
        "est-ce que c'est faux",
        "c'est faux ?",
        "pourquoi c'est faux",
        "c'est vrai",
        "c'est faux de dire que la terre est plate",
        "vrai ou faux",
        "non, c'est bon",
        "qu'est-ce qui ne va pas",
        "un faux plafond c'est quoi",
    ),
    "pl": (
        "nie, wyłącz to",
        "nie",
        "nie, dziękuję",
        "czy to nieprawda",
        "dlaczego to nieprawda",
        "to prawda",
        "to nieprawda, że ziemia jest płaska",
        "nie wiem",
        "nie, w kuchni",
        "co jest źle",
        "błąd 404 co to",
        "źle śpię",
    ),
}


def every(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(language, said) for language, sentences in table.items() for said in sentences]


@pytest.mark.parametrize(("language", "said"), every(AGAIN))
def test_asks_again(language: str, said: str) -> None:
    assert asks_again(said, language)
    assert not corrects(said, language)


@pytest.mark.parametrize(("language", "said"), [*every(NOT_AGAIN), *every(NOT_WRONG), *every(WRONG)])
def test_does_not_ask_again(language: str, said: str) -> None:
    assert not asks_again(said, language)


@pytest.mark.parametrize(("language", "said"), every(WRONG))
def test_corrects(language: str, said: str) -> None:
    assert corrects(said, language)


@pytest.mark.parametrize(("language", "said"), [*every(NOT_WRONG), *every(NOT_AGAIN)])
def test_does_not_correct(language: str, said: str) -> None:
    assert not corrects(said, language)


@pytest.mark.parametrize("language", ["en", "fr", "pl", "de"])
def test_a_misjudged_language_changes_nothing(language: str) -> None:
    assert asks_again("zapytaj jeszcze raz", language)
    assert corrects("no, that's wrong", language)


def test_one_word_counts_in_its_own_language_alone() -> None:
    assert corrects("faux", "fr")
    assert not corrects("faux", "en")
    assert corrects("błąd", "pl")
    assert not corrects("błąd", "fr")


@given(st.text(max_size=500), st.sampled_from(["en", "fr", "pl", "xx"]))
def test_any_text_has_an_answer(said: str, language: str) -> None:
    assert asks_again(said, language) in {True, False}
    assert corrects(said, language) in {True, False}
