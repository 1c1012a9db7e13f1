"""No question is answered with another's answer, and true repeats are answered from the cache: a small run of
`python -m tests.benchmarks.false_hits`, and that it finds what it looks for."""

import random
from pathlib import Path

import pytest

from gateway.cache import key
from gateway.config import LlmSettings, RecallSettings, Settings
from tests.benchmarks import false_hits
from tests.benchmarks.false_hits import (
    Answers,
    Door,
    Figures,
    ask_all,
    differing,
    measured,
    one_word_changed,
    upper_bound,
)
from tests.house import House

DATA = Path(__file__).parents[3] / "shared" / "data"
there = pytest.mark.skipif(not (DATA / "gptcache").is_dir(), reason=f"there is no {DATA}")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A busy machine is to be slow, not to leave out a step: an answer without its recall is not stored."""
    return settings.model_copy(update={"recall": RecallSettings(seconds=60), "llm": LlmSettings(parallel=4)})


@pytest.fixture
def door(house: House) -> Door:
    house.model.answer = answers = Answers()
    return Door(house.client, house.url, answers)


@there
async def test_a_small_share_of_everything_has_no_false_hit(door: Door) -> None:
    outcome = await measured(door, DATA, share=0.01)
    assert outcome.wrong == []
    assert outcome.pairs > 10_000
    assert outcome.share >= 0.98
    assert {"word for word", "other case", "other punctuation", "polite before", "polite behind"} <= set(outcome.kinds)


async def test_a_key_that_forgets_a_word_is_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = key.normalise
    monkeypatch.setattr(key, "normalise", lambda said: " ".join(word for word in usual(said).split() if word != "not"))
    figures = Figures()
    await ask_all(door, ("Why is glass not a liquid?", "Why is glass green?"), usual, figures)
    await ask_all(door, ("Why is glass a liquid?",), usual, figures)
    assert figures.hits == 1
    assert len(figures.wrong) == 1
    assert "was given the answer to" in figures.wrong[0]


def test_the_bound_is_clopper_and_pearsons() -> None:
    # Tabulated values of the interval's upper end.
    assert upper_bound(0, 10) == pytest.approx(0.3085, abs=1e-4)
    assert upper_bound(1, 10) == pytest.approx(0.4450, abs=1e-4)
    assert upper_bound(5, 10) == pytest.approx(0.8129, abs=1e-4)
    assert upper_bound(0, 1_000_000) == pytest.approx(3.689e-6, rel=1e-3)
    assert upper_bound(0, 0) == 1.0


def test_pairs_of_different_classes() -> None:
    assert differing("aab") == 2
    assert differing("abcd") == 6
    assert differing("") == 0


def test_one_word_is_changed() -> None:
    changed = set(one_word_changed("Turn on lamp 2 in the kitchen before Anna", "en", random.Random(1)))
    assert {
        "Turn off lamp 2 in the kitchen before Anna",
        "Turn on lamp 3 in the kitchen before Anna",
        "Turn on lamp 2 in the bedroom before Anna",
        "Turn on lamp 2 in the kitchen after Anna",
    } <= changed
    assert any("not" in said.split() for said in changed)
    assert any("never" in said.split() for said in changed)
    assert all(said != "Turn on lamp 2 in the kitchen before Anna" for said in changed)


def test_every_kind_of_repeat_is_tried() -> None:
    kinds = {
        kind
        for seed in range(9)
        for kind, _ in false_hits.repeats_of("Who wrote Hamlet?", "en", random.Random(seed), question=True)
    }
    assert kinds == {
        "word for word",
        "other case",
        "other punctuation",
        "polite before",
        "polite behind",
        "hesitation",
        "both ends",
    }
