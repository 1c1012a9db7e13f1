"""Home Assistant's prompt is taken apart at the right places, in both of its layouts."""

import json
from pathlib import Path

import pytest

from gateway.edge.assist import dissect

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "home-assistant-requests"
OLD = """You are a voice assistant.
You are in area Living Room (floor Ground (old)) and all generic commands like 'turn on' should target this area.
This device is not able to start timers.
Static Context: An overview of the areas and the devices in this smart home:
- names: Kitchen Light, big light
  domain: light
  areas: Kitchen
- names: '404'
  domain: sensor

"""


def test_the_old_layout() -> None:
    told = dissect(OLD)
    assert told.area == "Living Room"
    assert told.floor == "Ground (old)"
    assert len(told.volatile) == 2
    assert "area Living Room" not in told.head
    assert [(entity.names, entity.domain, entity.areas) for entity in told.entities] == [
        (("Kitchen Light", "big light"), "light", ("Kitchen",)),
        (("404",), "sensor", ()),
    ]
    assert told.assist


def test_an_extra_system_prompt_is_no_part_of_the_head() -> None:
    extra = "The user was asked whether to close the garage door."
    assert dissect(OLD + extra).head.rstrip() == dissect(OLD).head.rstrip()
    assert dissect(OLD + extra).volatile[-1] == extra
    control = "When controlling Home Assistant always call the intent tools. Use them."
    new = OLD.replace("You are in area", "You were in area") + control + "\nThis device is not able to start timers."
    assert dissect(f"{new}\n{extra}").volatile[-1] == extra
    assert control in dissect(f"{new}\n{extra}").head
    assert control in dissect(OLD.replace("This device", "That device") + control).head


def test_the_time_is_no_part_of_the_head() -> None:
    told = dissect("You are helpful.\nCurrent time is 10:11:12. Today's date is 2026-03-01.\nBe brief.")
    assert told.clock == ("Current time is 10:11:12. Today's date is 2026-03-01.",)
    assert told.head == "You are helpful.\nBe brief."
    assert not told.assist


def test_another_prompt_stays_as_it_is() -> None:
    said = "Current time is a nice song.\n\n  You are in area 51.  \n"
    assert dissect(said).head == said


def test_broken_context_costs_the_entities_and_nothing_else() -> None:
    told = dissect(
        "Static Context: An overview of the areas and the devices in this smart home:\n- names: [a\n  b: c: d\nrest"
    )
    assert told.entities == ()
    assert told.volatile == ("rest",)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded requests of real Home Assistants are not here")
@pytest.mark.parametrize("version", ["2026.2.3", "2026.11.0"])
def test_every_room_of_a_real_home_has_the_same_head(version: str) -> None:
    lines = (RECORDED / f"{version}.jsonl").read_text().splitlines()
    prompts = [body["messages"][0]["content"] for line in lines if (body := json.loads(line)["body"])]
    told = [dissect(prompt) for prompt in prompts]
    assert {parts.area for parts in told} == {"Kitchen", "Bedroom", None}
    assert len({parts.head for parts in told}) == 1
    assert all(len(parts.entities) > 60 and parts.assist for parts in told)
