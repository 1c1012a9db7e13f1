"""Whether the parts beside the gateway answer: one short try each, for readiness and for the doctor."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.config import MqttSettings
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from paho.mqtt.enums import MQTTProtocolVersion

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


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """By what the broker is known, and we are known to it; None for mqtt://. Raises Unavailable where a file of the
    settings cannot be used."""
    if urlsplit(settings.url.get_secret_value()).scheme != "mqtts":
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"mqtt.ca_file is {settings.ca_file}, and cannot be used ({error})") from error
    if settings.cert_file:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
        except (OSError, ssl.SSLError) as error:
            names = "mqtt.cert_file and mqtt.key_file" if settings.key_file else "mqtt.cert_file"
            raise Unavailable(f"{names} cannot be used ({error})") from error
    context.sslsocket_class = _Closing
    return context


class _Closing(ssl.SSLSocket):
    """A socket that a handshake does not leave open when it fails; paho forgets it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


async def check_mqtt(settings: MqttSettings, seconds: float = SECONDS) -> str:
    """Connects to the broker and leaves again; what it speaks. Raises Unavailable with the reason, never with the
    password."""
    from paho.mqtt.enums import MQTTProtocolVersion

    try:
        # paho's client blocks: a thread of its own, for as long as it may take.
        await asyncio.to_thread(_greet, settings, MQTTProtocolVersion.MQTTv5, seconds)
    except _Refused:
        try:
            await asyncio.to_thread(_greet, settings, MQTTProtocolVersion.MQTTv311, seconds)
        except _Refused as error:
            raise Unavailable(
                f"the MQTT broker refuses us ({error}); check the user and password in MQTT_URL"
            ) from error
        return "MQTT 3.1.1"
    return "MQTT 5"


class _Refused(Exception):
    """The broker answered, and does not want us."""


def _greet(settings: MqttSettings, protocol: MQTTProtocolVersion, seconds: float) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    parts = urlsplit(settings.url.get_secret_value())
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    client.connect_timeout = seconds
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    context = tls_context(settings)
    if context is not None:
        client.tls_set_context(context)
    verdict: list[str] = []
    client.on_connect = lambda *event: verdict.append(str(event[3]) if event[3].is_failure else "")
    client.on_disconnect = lambda *_: verdict.append("it closed the connection")
    deadline = time.monotonic() + seconds
    try:
        client.connect(parts.hostname or "", parts.port or MQTT_PORTS[parts.scheme])
        while not verdict and time.monotonic() < deadline:
            client.loop(timeout=0.1)
    except OSError as error:
        raise Unavailable(f"the MQTT broker does not answer ({error}); check MQTT_URL, and that it runs") from error
    finally:
        client.on_disconnect = None
        client.disconnect()
    if not verdict:
        raise Unavailable(f"the MQTT broker does not answer within {seconds:g} s; check MQTT_URL, and that it runs")
    if verdict[0]:
        raise _Refused(verdict[0])
