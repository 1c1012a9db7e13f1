"""When two texts say the same, and when the newer puts an end to the older."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.order import SAME_COSINE, alike, corrected, relation, share, statement, telling, words


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("my office is the small room", "My office is the small room."),
        ("The bins go out on Tuesday", "Bins go out Tuesday"),
        ("On Tuesday the bins go out", "the bins go out on Tuesday"),
        ("Léa n'aime pas les noix", "lea n’aime pas les noix"),
        ("Les poubelles sortent le mardi", "Le mardi les poubelles sortent"),
        ("Śmieci wywożą we wtorek", "we wtorek śmieci wywożą!"),
        ("Ben doesn't eat fish", "Ben does not eat fish"),
    ],
)
def test_said_once_more(old: str, new: str) -> None:
    assert relation(old, new) == relation(new, old) == "same"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("my office is the small room", "my office is the attic room"),
        ("The wifi password is hunter2", "the WiFi password is Sesame"),
        ("Anna's birthday is in June", "Anna's birthday is in May"),
        ("Anna's birthday is on the 5th of May", "No, Anna's birthday is in May"),
        ("the dentist's appointment is on Monday", "the dentist's appointment is on Thursday"),
        ("the key is under the mat", "the key is in the drawer"),
        ("my son is 8 years old", "my son is 9 years old"),
        ("the freezer is at -18 degrees", "the freezer is at 18 degrees"),
        ("my plumber is called Marek", "my plumber is called Jan"),
        ("Anna does eat meat", "Anna does not eat meat"),
        ("mon bureau est la petite pièce", "mon bureau est la pièce du grenier"),
        ("Le mot de passe du wifi est chat", "le mot de passe du wifi, c'est chien"),
        ("L'anniversaire de Léa est en juin", "non, l'anniversaire de Léa est en juillet"),
        ("mon médecin s'appelle Petit", "mon médecin s'appelle Grand"),
        ("moje biuro to mały pokój", "moje biuro to pokój na strychu"),
        ("Hasło do wifi to kot", "hasło do wifi to pies"),
        ("Urodziny Anny są w maju", "urodziny Anny są w czerwcu"),
        ("mój hydraulik nazywa się Marek", "mój hydraulik nazywa się Jan"),
        ("my brother is tired", "no, my brother is ill"),
    ],
)
def test_an_end_to_what_was(old: str, new: str) -> None:
    assert relation(old, new) == "supersedes"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Anna is allergic to nuts", "Anna is a nurse"),
        ("my sister is a nurse", "my sister is a mother"),
        ("my office is the small room", "my office is cold"),
        ("my brother is the best cook", "my brother is the best man"),
        ("my password is hunter2", "my password is too long"),
        ("Anna's birthday is in May", "Anna's birthday is on the 5th of May"),
        ("Anna's birthday is in May", "Ben's birthday is in June"),
        ("the meeting is on Monday", "the meeting is at 10:00"),
        ("my office is the small room", "my office is the attic room because it is quiet"),
        ("Ben likes Anna", "Anna likes Ben"),
        ("Maria likes tea", "Marie likes tea"),
        ("Anna likes tea", "Anna likes coffee"),
        ("the bins go out at 7", "the bins go out at 8"),
        ("the code is 12", "is the code 13?"),
        ("fact 1", "fact 2"),
        ("5 degrees", "-5 degrees"),
        ("I like C", "I like C++"),
        ("les poubelles sortent le mardi", "les poubelles sortent le jeudi"),
        ("Ania lubi kawę", "Ania lubi herbatę"),
    ],
)
def test_nothing_to_do_with_each_other(old: str, new: str) -> None:
    assert relation(old, new, 0.999) is None


def test_what_is_far_in_meaning_is_not_the_same() -> None:
    assert relation("On Tuesday the bins go out", "the bins go out on Tuesday", SAME_COSINE - 0.01) is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts(old: str, new: str) -> None:
    found = relation(old, new)
    assert found in ("same", "supersedes", None)
    if words(new):
        assert relation(new, new) == "same"
    if found == "same":
        assert relation(new, old) == "same"
    assert 0 <= share(telling(old), new) <= 1


SUBJECTS = st.sampled_from(
    ["the wifi password", "my favourite cake", "Anna's birthday cake", "moje hasło", "mon adresse"]
)
VALUES = st.text(alphabet="bcdfghjkl", min_size=4, max_size=8)


@given(SUBJECTS, SUBJECTS, VALUES, VALUES)
def test_only_the_same_subject_is_superseded(one: str, other: str, old: str, new: str) -> None:
    was, now = f"{one} is {old}", f"{other} is {new}"
    if one != other:
        assert relation(was, now) is None
    elif old == new:
        assert relation(was, now) == "same"
    elif statement(was).single:  # type: ignore[union-attr]
        assert relation(was, now) == "supersedes"


def test_forms_of_a_word() -> None:
    for one, other in [("bin", "bins"), ("poubelle", "poubelles"), ("smieci", "smieciach"), ("szafa", "szafie")]:
        assert alike(one, other)
        assert alike(other, one)
    for one, other in [("plant", "planet"), ("bins", "bingo"), ("tea", "team"), ("2024", "2025"), ("at", "as")]:
        assert not alike(one, other)


def test_a_correction_is_a_statement() -> None:
    assert corrected("no, Anna's birthday is in May") == ("Anna's birthday is in May", True)
    assert corrected("Non, en fait le code est 12") == ("le code est 12", True)
    assert corrected("nie, hasło to kot") == ("hasło to kot", True)
    for text in ("no, not the dog", "no smoking", "nothing is in the fridge"):
        assert corrected(text) == (text, False)
