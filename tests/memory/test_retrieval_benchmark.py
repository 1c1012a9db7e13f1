"""The retrieval benchmark judges what it says it judges: its family's memory is whole, and its figures are right."""

import random
from collections import Counter

import pytest

from tests.benchmarks.retrieval import (
    MEMBERS,
    SHARED,
    Collection,
    Figures,
    Question,
    halves,
    household,
    kept_share,
    mistyped,
    tell_order,
)


@pytest.fixture(scope="module")
def family() -> Collection:
    return household()


def test_a_family_has_two_hundred_facts_and_three_questions_to_each(family: Collection) -> None:
    assert len(family.texts) == len(set(family.texts)) == len(family.owners) == 200
    assert len({question.text for question in (*family.questions, *family.nothing)}) == 700
    current = len(family.texts) - len(family.newer)
    asked = Counter(place for question in family.questions for place in question.relevant)
    assert len(asked) == current
    assert set(asked.values()) == {3, 6}  # six where a fact took the place of another
    assert set(family.owners) == {SHARED, *MEMBERS}


def test_a_third_of_the_questions_is_in_another_language_than_the_answer(family: Collection) -> None:
    assert sum(question.across for question in family.questions) == 200


def test_twenty_facts_took_the_place_of_others_of_the_same_owner(family: Collection) -> None:
    assert len(family.newer) == len(set(family.newer.values())) == 20
    for old, new in family.newer.items():
        assert new > old
        assert family.owners[old] == family.owners[new]
        assert not any(old in question.relevant for question in family.questions)


def test_what_is_private_is_asked_by_its_owner(family: Collection) -> None:
    for question in family.questions:
        (place,) = question.relevant
        assert family.owners[place] in {SHARED, question.asker}
    assert {question.asker for question in family.questions} == {SHARED, *MEMBERS}


def test_a_hundred_questions_have_no_answer_and_half_of_them_are_near(family: Collection) -> None:
    assert len(family.nothing) == 100
    assert sum(question.near for question in family.nothing) == 50
    assert not any(question.relevant for question in family.nothing)


def test_questions_about_one_thing_are_in_one_half(family: Collection) -> None:
    tuning, reported = halves(family.questions)
    assert len(tuning) + len(reported) == len(family.questions)
    assert not {question.topic for question in tuning} & {question.topic for question in reported}
    assert abs(len(tuning) - len(reported)) < 30


def test_figures_of_what_was_found() -> None:
    asked = [Question("a", {3: 1.0}), Question("b", {4: 1.0, 5: 1.0})]
    figures = Figures.of(asked, [[1, 3], [5]])
    assert figures.recall == {1: [0.0, 0.5], 5: [1.0, 0.5], 10: [1.0, 0.5]}
    assert figures.ndcg == pytest.approx([0.6309, 0.6131], abs=1e-4)


def test_the_share_that_is_kept_and_its_interval() -> None:
    share, interval = kept_share([1.0, 0.0, 1.0, 1.0] * 50, [1.0, 1.0, 1.0, 1.0] * 50)
    assert share == 0.75
    assert 0.04 < interval < 0.08
    assert kept_share([1.0] * 9, [1.0] * 9) == (1.0, 0.0)


def test_what_is_out_of_force_is_counted_where_it_stands_first(capsys: pytest.CaptureFixture[str]) -> None:
    tested = Collection("tiny", ["old", "new", "other"], (), newer={0: 1})
    asked = [Question(text, {1: 1.0}) for text in "abcd"]
    tell_order(tested, [*asked, Question("e", {2: 1.0})], {"words": [[0, 1], [1, 0], [0], [], [2]]})
    assert "0.5000" in capsys.readouterr().out


def test_edits_are_in_a_word_of_four() -> None:
    text = "where does the robot vacuum usually get stuck"
    for seed in range(50):
        typed = mistyped(text, 2, random.Random(seed))
        changed = [word for word, before in zip(typed.split(), text.split(), strict=True) if word != before]
        assert len(changed) <= 2
