"""The link to a real broker."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from gateway.config import MqttSettings
from gateway.home.link import Link, Message
from tests.mosquitto_server import Mosquitto


async def test_what_is_published_comes_back(broker: Mosquitto) -> None:
    came: asyncio.Queue[Message] = asyncio.Queue()
    async with Link(MqttSettings(url=SecretStr(broker.url)), "gateway-1") as link:
        link.subscribe("house/+/state", came.put_nowait)
        link.publish("house/lamp/state", "ON", retain=True)
        message = await asyncio.wait_for(came.get(), 10)
        assert (message.topic, message.payload) == ("house/lamp/state", b"ON")
