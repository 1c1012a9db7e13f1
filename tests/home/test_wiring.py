"""The whole gateway with a broker: it is there, ready, told of, and gone again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import aiomqtt
from pydantic import SecretStr

from gateway.app import listening, open_gateway
from gateway.config import MqttSettings, OllamaSettings, PostgresSettings, ServerSettings, Settings
from gateway.doctor import examine
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
