"""The whole gateway with a broker: it is there, ready, told of, and gone again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import orjson
from pydantic import SecretStr

from gateway.app import listening, open_gateway
from gateway.config import HomeSettings, MqttSettings, OllamaSettings, PostgresSettings, ServerSettings, Settings
from gateway.doctor import examine
from gateway.edge import keys
from gateway.home.link import STATUS_TOPIC
from gateway.store.address import Address
from tests.mosquitto_server import Mosquitto
from tests.scripted_model import ScriptedModel


async def test_the_gateway_and_its_broker(broker: Mosquitto, address: Address, tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        settings = Settings(
            data=tmp_path / "data",
            postgres=PostgresSettings(
                host=address.host, port=address.port, user=address.user, database=address.database, pool_size=4
            ),
            ollama=OllamaSettings(url=model.url),
            mqtt=MqttSettings(url=SecretStr(broker.url)),
            server=ServerSettings(port=0, shutdown_seconds=1),
        )
        async with aiomqtt.Client("127.0.0.1", broker.port) as client, asyncio.timeout(60):
            await client.subscribe(STATUS_TOPIC, qos=1)
            async with (
                open_gateway(settings, lambda words: None) as gateway,
                listening(gateway.application, settings) as port,
                aiohttp.ClientSession(f"http://127.0.0.1:{port}") as web,
            ):
                assert (await anext(client.messages)).payload == b"online"
                async with web.get("/readyz") as response:
                    assert (await response.json())["parts"]["mqtt"]["ok"]
                async with web.get("/metrics") as response:
                    assert "gateway_mqtt_connected 1.0" in await response.text()
                findings = [finding async for finding in examine(settings) if finding.part == "MQTT"]
                assert [(finding.state, finding.words) for finding in findings] == [("ok", "answers, with MQTT 5")]
            assert (await anext(client.messages)).payload == b"offline"
        assert (tmp_path / "data" / "mqtt-client-id").read_text().startswith("ai-gateway-")


async def test_a_thing_of_the_file_is_switched_by_who_asks(broker: Mosquitto, address: Address, tmp_path: Path) -> None:
    (tmp_path / "entities.yaml").write_text(
        "things:\n  light.bench:\n    name: Workbench lamp\n    command_topic: bench/set\n    state_topic: bench\n"
    )
    async with ScriptedModel() as model:
        settings = Settings(
            data=tmp_path / "data",
            postgres=PostgresSettings(
                host=address.host, port=address.port, user=address.user, database=address.database, pool_size=4
            ),
            ollama=OllamaSettings(url=model.url),
            mqtt=MqttSettings(url=SecretStr(broker.url)),
            home=HomeSettings(entities_file=tmp_path / "entities.yaml"),
            server=ServerSettings(port=0, shutdown_seconds=1),
        )
        async with aiomqtt.Client("127.0.0.1", broker.port) as lamp, asyncio.timeout(60):
            await lamp.subscribe("bench/set", qos=1)
            await lamp.publish("bench", "OFF", retain=True, qos=1)
            switch = {"name": "Plug", "cmd_t": "plug/set", "uniq_id": "plug"}
            await lamp.publish("homeassistant/switch/plug/config", orjson.dumps(switch), retain=True, qos=1)
            async with (
                open_gateway(settings, lambda words: None) as gateway,
                listening(gateway.application, settings) as port,
                aiohttp.ClientSession(f"http://127.0.0.1:{port}") as web,
            ):
                registry, link = gateway.application[keys.REGISTRY], gateway.application[keys.LINK]
                assert link is not None
                await link.listening()
                assert await registry.until("light.bench", lambda now: now.state == "off", 20)
                assert await registry.until("switch.plug", lambda _: "switch.plug" in registry.things, 20)
                asked = asyncio.create_task(
                    web.post("/conversation", json={"text": "turn on the workbench lamp", "language": "en"})
                )
                command = await anext(lamp.messages)
                assert command.payload == b"ON"
                await lamp.publish("bench", "ON", retain=True, qos=1)
                async with await asked as response:
                    assert response.status == 200
                assert registry.condition("light.bench").state == "on"
                done: list[dict[str, Any]] = []
                while not done:  # it is noted after the answer
                    async with web.get("/home/actions") as response:
                        done = (await response.json())["actions"]
                assert [(one["entity"], one["verdict"]) for one in done] == [("light.bench", "done")]
        assert orjson.loads((tmp_path / "data" / "home-ids.json").read_bytes()) == {"switch/plug": "switch.plug"}
