"""What of the recalled goes before the model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.selection import Candidate, estimate_tokens, select
from gateway.shapes import Source

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def candidate(text: str, usefulness: float = 1.0, *, days: int = 0) -> Candidate:
    return Candidate(Source("knowledge", hash(text), text, at=NOON + timedelta(days=days)), usefulness)


def unrelated(_older: str, _newer: str) -> None:
    return None


def same_beginning(older: str, newer: str) -> Literal["supersedes"] | None:
    return "supersedes" if older.partition(":")[0] == newer.partition(":")[0] and older != newer else None


def texts(sources: tuple[Source, ...]) -> list[str]:
    return [source.text for source in sources]


def test_a_near_duplicate_is_told_once() -> None:
    chosen = select(
        [candidate("The bins go out on Tuesday evening", 0.8), candidate("the bins go out on Tuesday, evening!", 0.9)],
        1000,
        unrelated,
    )
    assert texts(chosen) == ["the bins go out on Tuesday, evening!"]


def test_what_differs_in_a_number_a_name_or_a_no_is_no_duplicate() -> None:
    told = [
        "The bins by the gate of the old house go out on Tuesday",
        "The bins by the gate of the old house go out on Friday",
        "The bins by the gate of the old house do not go out on Tuesday",
        "The bins by the gate of the old house go out on Tuesday 7",
    ]
    assert sorted(texts(select(map(candidate, told), 1000, unrelated))) == sorted(told)


def test_the_newer_of_two_that_contradict_stands_first() -> None:
    chosen = select(
        [
            candidate("wifi: sesame", 0.9, days=1),
            candidate("bins: Tuesday", 0.8),
            candidate("wifi: thistle", 0.1, days=2),
        ],
        1000,
        same_beginning,
    )
    assert texts(chosen) == ["wifi: thistle", "wifi: sesame", "bins: Tuesday"]
    assert [source.outdated for source in chosen] == [False, True, False]


def test_of_three_that_contradict_the_newest_stands_first() -> None:
    chosen = select([candidate(f"wifi: {day}", day / 10, days=day) for day in (3, 1, 2)], 1000, same_beginning)
    assert texts(chosen)[0] == "wifi: 3"
    assert [source.outdated for source in chosen] == [False, True, True]


def test_the_budget_holds_what_is_useful_for_its_length() -> None:
    long, short, other = candidate("x" * 290, 0.5), candidate("y" * 60, 0.4), candidate("z" * 60, 0.3)
    best = candidate("w" * 60, 1.0)
    assert texts(select([long, other, best, short], 66, unrelated)) == ["w" * 60, "y" * 60, "z" * 60]


def test_the_most_useful_goes_in_however_long() -> None:
    assert texts(select([candidate("y", 0.99), candidate("x" * 290, 1.0)], 97, unrelated)) == ["x" * 290]


@given(
    st.lists(st.tuples(st.text(max_size=40), st.floats(0, 1), st.integers(0, 3)), max_size=12),
    st.integers(0, 60),
)
def test_whatever_was_recalled(told: list[tuple[str, float, int]], budget: int) -> None:
    candidates = [candidate(text, usefulness, days=days) for text, usefulness, days in told]
    chosen = select(candidates, budget, same_beginning)
    assert sum(estimate_tokens(source.text) for source in chosen) <= budget
    known = {replace(one.source, outdated=False) for one in candidates}
    assert {replace(source, outdated=False) for source in chosen} <= known
    assert len({(source.text, source.at) for source in chosen}) == len(chosen)
