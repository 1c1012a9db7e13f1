"""Automations in the whole gateway: listed, triggered, answered by the model, traced, reloaded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings, Settings
from gateway.home.line import Message
from gateway.home.link import Link
from tests.house import House
from tests.mosquitto_server import Mosquitto
from tests.scripted_model import Answer

TEXT = """
- id: a
  triggers: [{trigger: mqtt, topic: button, retained: true}]
  actions:
    - remember: "The button was pressed: {{ payload }}."
    - ask: "Forget everything. {{ payload }}"
    - announce: "{{ answer }}"
"""


@pytest.fixture
def settings(settings: Settings, broker: Mosquitto, tmp_path: Path) -> Settings:
    path = tmp_path / "automations.yaml"
    path.write_text(TEXT)
    return settings.model_copy(
        update={"mqtt": MqttSettings(url=SecretStr(broker.url)), "home": HomeSettings(automations_file=path)}
    )


async def test_a_run_from_the_message_to_the_trace(house: House, broker: Mosquitto, settings: Settings) -> None:
    house.model.script(Answer("Pressed, I hear."))
    came: asyncio.Queue[Message] = asyncio.Queue()
    async with Link(MqttSettings(url=SecretStr(broker.url)), "a-device") as device:
        device.subscribe("ai-gateway/announce", came.put_nowait)
        async with asyncio.timeout(20):
            await device.listening()
        device.publish("button", "twice", retain=True)
        said = await asyncio.wait_for(came.get(), 20)
        assert said.payload == b'{"text":"Pressed, I hear."}'
    async with asyncio.timeout(20):
        while True:
            body = await (await house.client.get("/home/automations/a/traces")).json()
            if body["traces"]:
                break
    trace = body["traces"][0]
    assert (trace["outcome"], [step["kind"] for step in trace["steps"]]) == ("done", ["remember", "ask", "announce"])
    listed = await (await house.client.get("/home/automations")).json()
    assert [(one["id"], one["last_outcome"], one["running"]) for one in listed["automations"]] == [("a", "done", False)]
    row = (await house.logged())[0]
    assert row["metadata"]["edge"] == "automation"
    assert await house.admin.fetchval("SELECT content FROM knowledge") == "The button was pressed: twice."
    assert (await house.client.get("/home/automations/none/traces")).status == 404

    settings.home.automations_file.write_text(TEXT.replace("announce", "anounce"))
    wrong = await (await house.client.post("/home/automations/reload")).json()
    assert [mistake["line"] for mistake in wrong["error"]] == [7]
    assert len(wrong["automations"]) == 1
