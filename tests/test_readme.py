"""What the README tells a new user to type works as it stands."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.home.configured import load
from gateway.home.things import Thing
from tests.house import House

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


async def run(command: str, house: House) -> str:
    """The command's output, said to the gateway under test."""
    command = command.replace("http://localhost:8080", house.url).replace("curl ", "curl --silent --fail-with-body ", 1)
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_every_command_of_the_readme(house: House) -> None:
    assert len(COMMANDS) == 13
    interaction_id = ""
    for command in COMMANDS:
        output = await run(command.replace("conv_123", interaction_id), house)
        if "/conversation" in command:
            interaction_id = json.loads(output)["interaction_id"]
        elif "/memory/add" in command:
            assert json.loads(output)["id"] > 0
        elif "/memory/search" in command:
            assert any("50% brightness" in hit["content"] for hit in json.loads(output)["results"])
        elif "/memory/forget" in command:
            assert json.loads(output)["dry_run"] is True
        elif "/documents" in command:
            assert json.loads(output)["state"] == "waiting"
        elif "/measurements" in command:
            assert json.loads(output)["added"] == 2
        elif "/preferences/get" in command:
            assert json.loads(output)["value"] == {"entity_id": "light.office_main"}
        elif "/training/export" in command:
            messages = json.loads(output)["messages"]
            assert [message["role"] for message in messages] == ["user", "assistant"]
            assert messages[0]["content"] == "When do the bins go out?"
        elif "/cache/stats" in command:
            assert {"hits", "misses", "bypasses", "entries", "bytes", "hit_rate"} <= set(json.loads(output))


def test_the_entities_of_the_readme(tmp_path: Path) -> None:
    example = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    file = tmp_path / "entities.yaml"
    file.write_text(example, encoding="utf-8")
    lamp = load(file).applied(Thing("light.0x00158d0001", "Lamp", "discovery"))
    assert (lamp.name, lamp.aliases, lamp.area, lamp.floor) == (
        "Desk lamp",
        ("reading light", "Lamp"),
        "Kitchen",
        "Ground floor",
    )
    assert not load(file).applied(Thing("sensor.remote_battery", "Battery", "discovery")).exposed


FILE = Path(__file__).parent.parent / "config" / "automations.yaml"
TRIALS = re.findall(r"python -m gateway (automations .+)", README + FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", TRIALS)
def test_the_automations_are_checked_and_tried(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "gateway.yaml"
    settings.write_text(f"home: {{automations_file: {FILE}}}", encoding="utf-8")
    assert main([*shlex.split(command), "--config", str(settings)]) == 0
    said = capsys.readouterr().out
    assert "is right: 5 automations" in said or said.endswith("done\n")
