"""The link to the home's MQTT broker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.config import MqttSettings
from gateway.errors import Unavailable

log = logging.getLogger(__name__)

STATUS_TOPIC = "ai-gateway/status"
PORTS = {"mqtt": 1883, "mqtts": 8883}
SEND_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
MAX_WAITING = 1000  # messages kept while the broker is away


@dataclass(frozen=True, slots=True)
class Message:
    """What came. `retained`: it was kept by the broker, and may be old. The last two are MQTT 5's."""

    topic: str
    payload: bytes
    retained: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Outgoing:
    topic: str
    payload: str | bytes
    qos: int
    retain: bool
    correlation: bytes | None


Handler = Callable[[Message], None]
Greeting = Callable[[], Awaitable[None]]


class Link:
    """One connection for the whole gateway. `async with` keeps it up; what it is asked for is renewed each time."""

    def __init__(self, settings: MqttSettings, client_id: str) -> None:
        """`client_id` is the same at each start, so that the broker knows the session again."""
        self._settings = settings
        self._client_id = client_id
        self._handlers: dict[str, list[Handler]] = {}
        self._greetings: list[Greeting] = []
        self._client: aiomqtt.Client | None = None
        self._failure = "it was not reached yet"
        self._task: asyncio.Task[None] | None = None
        self._outgoing: deque[_Outgoing] = deque(maxlen=MAX_WAITING)
        self._something_to_do = asyncio.Event()
        self._unsubscribed: set[str] = set()
        self._subscribed: set[str] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_up(), name="mqtt")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            # The client's own errors while it is taken down may hide that it was cancelled: so until it is.
            while not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task], timeout=1.0)
            self._task = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._client is not None

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Calls `handler` with each message of a topic (or filter), from now on and after each connection. It must be
        quick, must not block, and must not raise."""
        handlers = self._handlers.setdefault(topic, [])
        if handler not in handlers:
            handlers.append(handler)
        self._unsubscribed.discard(topic)
        self._something_to_do.set()

    def unsubscribe(self, topic: str, handler: Handler) -> None:
        """Ends that."""
        handlers = self._handlers.get(topic, [])
        if handler in handlers:
            handlers.remove(handler)
        if not handlers and self._handlers.pop(topic, None) is not None:
            self._unsubscribed.add(topic)
            self._something_to_do.set()

    def greet(self, greeting: Greeting) -> None:
        """Awaits `greeting` after each connection, once the subscriptions are renewed, and whenever Home Assistant was
        restarted: for what others must be told anew."""
        self._greetings.append(greeting)

    async def send(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publishes now: what commands something must not come late. Raises Unavailable where the broker is away."""
        client = self._client
        if client is None:
            raise Unavailable(f"the MQTT broker is away: {self._failure}")
        try:
            await client.publish(topic, payload, qos=qos, retain=retain, timeout=SEND_SECONDS)
        except aiomqtt.MqttError as error:
            raise Unavailable(f"the MQTT broker did not take a message ({error})") from error

    def publish(
        self,
        topic: str,
        payload: str | bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> None:
        """Publishes soon, in order; while the broker is away it waits, bounded (the oldest is dropped and counted)."""
        self._outgoing.append(_Outgoing(topic, payload, qos, retain, correlation))
        self._something_to_do.set()

    async def check(self) -> str | None:
        """What there is to say of a link that is up. Raises Unavailable with the reason where it is not."""
        if self._client is None:
            raise Unavailable(f"the MQTT broker is away: {self._failure}; check MQTT_URL, and that it runs")
        return None

    async def _keep_up(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._connection() as client:
                    pause = FIRST_PAUSE
                    await self._serve(client)
            except aiomqtt.MqttError as error:
                self._failure = str(error)
                log.warning("MQTT: %s; tried again in %.0f s", error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _connection(self) -> aiomqtt.Client:
        parts = urlsplit(self._settings.url.get_secret_value())
        return aiomqtt.Client(
            parts.hostname or "",
            parts.port or PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(STATUS_TOPIC, "offline", qos=1, retain=True),
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._subscribed.clear()
        self._something_to_do.set()
        await client.publish(STATUS_TOPIC, "online", qos=1, retain=True)
        self._client = client
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._work(client), name="mqtt-out")
                try:
                    async for message in client.messages:
                        self._deliver(message)
                finally:
                    sending.cancel()
        except* aiomqtt.MqttError as errors:
            raise aiomqtt.MqttError(str(errors.exceptions[0])) from errors
        finally:
            self._client = None

    async def _work(self, client: aiomqtt.Client) -> None:
        greeted = False
        while True:
            self._something_to_do.clear()
            for topic in tuple(self._unsubscribed):
                await client.unsubscribe(topic)
                self._unsubscribed.discard(topic)
                self._subscribed.discard(topic)
            for topic in [topic for topic in self._handlers if topic not in self._subscribed]:
                await client.subscribe(topic, qos=1)
                self._subscribed.add(topic)
            if not greeted:
                greeted = True
                for greeting in self._greetings:
                    await greeting()
            while self._outgoing:
                one = self._outgoing[0]
                properties = None
                if one.correlation is not None:
                    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                    properties.CorrelationData = one.correlation
                await client.publish(one.topic, one.payload, qos=one.qos, retain=one.retain, properties=properties)
                self._outgoing.popleft()
            await self._something_to_do.wait()

    def _deliver(self, message: aiomqtt.Message) -> None:
        properties = message.properties
        payload = message.payload
        came = Message(
            str(message.topic),
            payload,
            bool(message.retain),
            getattr(properties, "ResponseTopic", None),
            getattr(properties, "CorrelationData", None),
        )
        for topic, handlers in list(self._handlers.items()):
            if message.topic.matches(topic):
                for handler in tuple(handlers):
                    handler(came)
