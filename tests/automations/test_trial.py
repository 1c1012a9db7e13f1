"""`python -m gateway automations`: the file checked, one tried with nothing sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.__main__ import main

FILE = Path(__file__).parents[2] / "config" / "automations.yaml"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"home: {{automations_file: {json.dumps(str(FILE))}}}\n")
    return str(path)


COMMANDS = (("cover.gate", "open"), ("cover.garage", "open"), ("cover.garage", "stop"), ("light.hall", "turn_on"))


def test_the_file_is_checked(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["automations", "check", "--config", config]) == 0
    assert "is right: 5 automations, 0 enabled." in capsys.readouterr().out
    (tmp_path / "wrong.yaml").write_text("- id: a\n  triggers: []\n")
    Path(config).write_text(f"home: {{automations_file: {json.dumps(str(tmp_path / 'wrong.yaml'))}}}\n")
    assert main(["automations", "check", "--config", config]) == 2
    assert "wrong.yaml: line 2: triggers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["washing_machine_done"], "announces (en): (the assistant's answer)\ndone"),
        (["door_left_open", "--state", "binary_sensor.living_room_motion=on"], "announces (Living Room, en)"),
        (
            ["good_morning", "--at", "2026-03-02T07:30", "--payload", '{"occupancy": true}', "--known", "weather=rain"],
            "Weather: rain",
        ),
        (["good_morning", "--at", "2026-03-02T12:30", "--payload", '{"occupancy": true}'], "conditions[0] does not"),
        (["good_morning", "--payload", "{}"], "no trigger would begin a run"),
        (["notification_in_a_sentence", "--topic", "phones/a/notification", "--payload", '{"text": "x"}'], ": x\n"),
        (["ask_again", "--payload", '{"action": "single"}', "--question", "Why?"], "asks (Living Room): Why?"),
    ],
)
def test_one_is_tried(config: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--config", config, "automations", "run", *arguments])
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "trigger, arguments, said",
    [
        ({"trigger": "mqtt", "topic": "x", "enabled": False}, [], "no trigger would begin a run"),
        ({"trigger": "state", "attribute": "b", "to": "50"}, [], "publishes to out (qos 1): unknown 50"),
        ({"trigger": "state", "attribute": "b"}, ["--from", "1", "--to", "2"], "publishes to out (qos 1): 1 2"),
        ({"trigger": "state", "attribute": "b", "to": "50"}, ["--to", "2"], "no trigger would begin a run"),
    ],
)
def test_a_trigger_is_tried_as_it_would_be_heard(
    config: str,
    tmp_path: Path,
    trigger: dict[str, object],
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    payload = "{{ trigger.from_state.attributes.b }} {{ trigger.to_state.attributes.b }}"
    trigger = trigger if trigger["trigger"] == "mqtt" else {"entity_id": "light.a", **trigger}
    file = tmp_path / "one.yaml"
    actions = {"publish": {"topic": "out", "payload": payload}}
    file.write_text(json.dumps([{"id": "one", "triggers": trigger, "actions": actions}]))
    Path(config).write_text(f"home: {{automations_file: {json.dumps(str(file))}}}\n")
    main(["--config", config, "automations", "run", "one", *arguments])
    assert said in capsys.readouterr().out


def test_what_is_guarded_is_told(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gate.yaml"
    steps = [{"command": {"entity_id": one, "action": action}} for one, action in COMMANDS]
    file.write_text(json.dumps([{"id": "gate", "triggers": {"trigger": "mqtt", "topic": "gate"}, "actions": steps}]))
    Path(config).write_text(f"home: {{automations_file: {json.dumps(str(file))}, allowed: [cover.gate]}}\n")
    assert main(["--config", config, "automations", "run", "gate"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:-1] == [
        "commands cover.gate: open",
        "commands cover.garage: open (guarded: not done unless home.allowed names it)",
        "commands cover.garage: stop",
        "commands light.hall: turn_on",
    ]


def test_one_that_is_not_there(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", config, "automations", "run", "none"]) == 1
    assert "there is no automation none" in capsys.readouterr().err
