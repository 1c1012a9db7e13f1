"""Whether the parts beside the gateway answer: one short try each, for readiness and for the doctor."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.errors import Unavailable

if TYPE_CHECKING:
    from paho.mqtt.client import Client

SECONDS = 3.0
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


async def check_redis(url: str, seconds: float = SECONDS) -> None:
    """Asks the Redis at `url` for a PONG. Raises Unavailable with the reason, never with the password."""
    import redis.asyncio  # 6 MB that a household without a Redis need not carry; paho likewise
    from redis.exceptions import RedisError

    try:
        client = redis.asyncio.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, single_connection_client=True
        )
    except ValueError as error:
        raise Unavailable("REDIS_URL is no address such as redis://127.0.0.1:6379/0") from error
    try:
        async with asyncio.timeout(seconds):
            await client.ping()
    except TimeoutError as error:
        raise Unavailable(f"Redis does not answer within {seconds:g} s; check REDIS_URL, and that it runs") from error
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer ({error}); check REDIS_URL, and that it runs") from error
    finally:
        await client.aclose()


async def check_mqtt(url: str, seconds: float = SECONDS) -> None:
    """Connects to the broker at `url` and leaves again. Raises Unavailable with the reason, never with the password."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    parts = urlsplit(url)
    try:
        port = parts.port or MQTT_PORTS[parts.scheme]
        host = parts.hostname or ""
    except (KeyError, ValueError):
        host = ""
    if not host:
        raise Unavailable("MQTT_URL is no address such as mqtt://127.0.0.1:1883")
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect_timeout = seconds
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    # paho's client blocks: a thread of its own, for as long as it may take.
    await asyncio.to_thread(_greet, client, host, port, seconds)


def _greet(client: Client, host: str, port: int, seconds: float) -> None:
    verdict: list[str] = []
    client.on_connect = lambda *event: verdict.append(str(event[3]) if event[3].is_failure else "")
    deadline = time.monotonic() + seconds
    try:
        client.connect(host, port)
        while not verdict and time.monotonic() < deadline:
            client.loop(timeout=0.1)
    except OSError as error:
        raise Unavailable(f"the MQTT broker does not answer ({error}); check MQTT_URL, and that it runs") from error
    finally:
        client.disconnect()
    if not verdict:
        raise Unavailable(f"the MQTT broker does not answer within {seconds:g} s; check MQTT_URL, and that it runs")
    if verdict[0]:
        raise Unavailable(f"the MQTT broker refuses us ({verdict[0]}); check the user and password in MQTT_URL")
