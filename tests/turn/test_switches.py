"""What may be switched off while the gateway runs: the response cache, and learning from what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.edge import keys
from gateway.errors import Unavailable
from gateway.switches import Switches
from tests.house import House, speech
from tests.scripted_model import Answer

CAPITAL = "What is the capital of France?"


def test_what_is_switched_off_stays_so_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "switches.json"
    switches = Switches(file)
    assert (switches.cache, switches.learning, switches.off) == (True, True, ())
    switches.turn("cache", on=False)
    assert (switches.cache, switches.learning) == (False, True)
    again = Switches(file)
    assert again.off == ("cache",)
    again.turn("cache", on=True)
    assert Switches(file).off == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"cache": 0, "lamp": false}', b"\xff"])
def test_a_file_that_makes_no_sense_leaves_all_on(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "switches.json"
    file.write_bytes(content)
    assert Switches(file).off == ()


def test_what_cannot_be_kept_is_not_switched(tmp_path: Path) -> None:
    switches = Switches(tmp_path / "away" / "switches.json")
    with pytest.raises(Unavailable, match="cannot be kept"):
        switches.turn("cache", on=False)
    assert switches.cache


async def test_a_cache_that_is_off_answers_nothing_and_takes_nothing(house: House) -> None:
    switches = house.gateway.application[keys.SWITCHES]
    house.model.script(Answer("Paris."), Answer("Paris!"), Answer("Paris?!"))
    assert (await house.say(CAPITAL))["cache"] == "miss"
    switches.turn("cache", on=False)
    off = await house.say(CAPITAL)
    assert (speech(off), off["cache"]) == ("Paris!", "bypass:disabled")
    other = await house.say("Who wrote Hamlet?")
    assert other["cache"] == "bypass:disabled"
    switches.turn("cache", on=True)
    on = await house.say(CAPITAL)
    assert (speech(on), on["cache"]) == ("Paris.", "hit")  # the one stored before; the one meanwhile was not
    assert (await house.say("Who wrote Hamlet?"))["cache"] == "miss"


async def test_what_is_said_while_learning_is_off_is_neither_recalled_nor_exported(house: House) -> None:
    switches = house.gateway.application[keys.SWITCHES]
    switches.turn("learning", on=False)
    secret = await house.say("The surprise party for Anna is on the ninth of May, keep it quiet")
    switches.turn("learning", on=True)
    known = await house.say("The plumber for Bernard comes on the tenth of June, write it down")
    assert len(await house.logged()) == 4  # both are in the log, and in their conversations
    recalled = await house.say("What did I say about the surprise party for Anna?")
    assert "conversation" not in {source["kind"] for source in recalled["sources"]}
    recalled = await house.say("What did I say about the plumber for Bernard?")
    assert "conversation" in {source["kind"] for source in recalled["sources"]}
    recalled = await house.say("What did we talk about today?")
    assert not [source for source in recalled["sources"] if "surprise party for Anna is" in source["text"]]

    for reply in (secret, known):
        opinion = {"interaction_id": reply["interaction_id"], "score": 5}
        async with house.client.post("/training/feedback", json=opinion) as response:
            assert response.status == 201
    async with house.client.get("/training/export") as response:
        lines = [json.loads(line)["messages"][0]["content"] for line in (await response.text()).splitlines()]
    assert lines == ["The plumber for Bernard comes on the tenth of June, write it down"]
