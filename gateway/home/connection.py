"""A connection to an MQTT broker: aiomqtt's, whose session outlives it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.config import MqttSettings
from gateway.parts import MQTT_PORTS, tls_context
from gateway.tasks import end

T = TypeVar("T")
V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
SESSION_SECONDS = 3600  # for how long the broker keeps what comes while the gateway is away
WILL_SECONDS = 3  # a break shorter than this is told to nobody
# Unconfirmed messages that the broker may have under way to us. Where it is not told, Mosquitto takes 20, queues 1000
# more, and drops the rest: of the retained ones too, of which a filter may bring thousands.
RECEIVE_MAXIMUM = 65535
OURS = "ai-gateway/"
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
# A subscription is confirmed behind all that the broker has under way to us, in a flood tens of thousands of messages.
# That a broker is gone is noticed before, by its silence.
BEHIND_SECONDS = 120.0
# The broker is asked after so long a silence, and given up after as much again: at most 8 s with paho's own clock.
KEEPALIVE_SECONDS = 3
REFUSED_VERSION = 132
# A command is small and is waited for: held back to be sent with others it would be 40 ms late.
AT_ONCE = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
PACKET_ROOM = 512  # bytes of a packet beside topic and payload
# paho logs each failed try; the link says once that the broker is away.
QUIET = logging.getLogger(f"{__name__}.paho")
QUIET.setLevel(logging.CRITICAL)


class Connection(aiomqtt.Client):
    """One session with one broker, entered again after each break. What it had published and was not confirmed goes
    out again by itself then, marked as a duplicate.

    aiomqtt gives each message a task, and knows a message that it sends no longer once the connection is lost. So this
    class hears and speaks one layer below, of the version that requirements.txt pins; the rest is aiomqtt's.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        protocol: aiomqtt.ProtocolVersion,
        came: Callable[[MQTTMessage], None],
        *,
        will: tuple[str, str] | None = None,
        rounds: int = 1,
    ) -> None:
        """`came` hears each message; it must not raise. `will` is the topic and payload that the broker publishes
        (retained) when the gateway is lost. In so many `rounds` of the loop one packet is read. Raises Unavailable
        where the settings name a certificate that is none."""
        parts = urlsplit(settings.url.get_secret_value())
        new = protocol is V5
        connect, testament = None, None
        if new:
            connect, testament = properties(PacketTypes.CONNECT), properties(PacketTypes.WILLMESSAGE)
            connect.SessionExpiryInterval = SESSION_SECONDS
            connect.ReceiveMaximum = RECEIVE_MAXIMUM
            testament.WillDelayInterval = WILL_SECONDS
        super().__init__(
            parts.hostname or "",
            parts.port or MQTT_PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            identifier=client_id,
            protocol=protocol,
            will=aiomqtt.Will(*will, qos=1, retain=True, properties=testament) if will else None,
            clean_session=None if new else False,
            clean_start=False if new else MQTT_CLEAN_START_FIRST_ONLY,
            properties=connect,
            keepalive=KEEPALIVE_SECONDS,
            timeout=ANSWER_SECONDS,
            tls_context=tls_context(settings),
            socket_options=[AT_ONCE],
            logger=QUIET,
        )
        self._client.connect_timeout = CONNECT_SECONDS
        self.protocol = protocol
        self._came = came
        self._thread = threading.get_ident()
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._most_qos = 2
        self._rounds = rounds
        self._round = 0
        self._largest: int | None = None
        self.settled = False
        """Whether the broker ever let us in, so that its version of MQTT is known."""
        self.tells_subscriptions = False
        """Whether a message says which subscriptions it comes by. A broker may then send it once for each of them."""

    async def __aenter__(self) -> Self:
        """Raises aiomqtt.MqttError where the broker is not there or refuses."""
        self._connected, self._disconnected = self._loop.create_future(), self._loop.create_future()
        entering = asyncio.ensure_future(super().__aenter__())
        try:
            await asyncio.shield(entering)
        except BaseException:
            # The thread that connects cannot be stopped: it is waited for, so that it leaves no open socket behind.
            self._connected.cancel()
            await asyncio.wait([entering])
            await self._hang_up()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(aiomqtt.MqttError):
                await super().__aexit__(kind, error, trace)
        finally:
            await self._hang_up()

    @property
    def unconfirmed(self) -> int:
        """How many messages the broker has not confirmed yet."""
        return len(self._unconfirmed)

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection ends."""
        return self._disconnected

    async def until_lost(self) -> None:
        """Waits for the end of the connection, and raises it as aiomqtt.MqttError."""
        await asyncio.wait([self._disconnected])
        error = self._disconnected.exception()
        raise aiomqtt.MqttError(str(error or "the broker ended the connection")) from error

    async def ask_for(self, topics: Sequence[str], identifier: int) -> list[str]:
        """Subscribes to topics or filters, all under one identifier, and returns those that the broker refuses."""
        if self.protocol is V5:
            told = properties(PacketTypes.SUBSCRIBE)
            if self.tells_subscriptions:
                told.SubscriptionIdentifier = identifier
            options = SubscribeOptions(qos=1)
            answers = await self.subscribe(
                [(topic, options) for topic in topics], properties=told, timeout=BEHIND_SECONDS
            )
        else:
            # Here a broker cannot be told to send on unconfirmed, so only what is said to us ourselves is confirmed.
            wanted = [(topic, int(topic.startswith(OURS))) for topic in topics]
            answers = await self.subscribe(wanted, timeout=BEHIND_SECONDS)
        values = [answer.value if isinstance(answer, ReasonCode) else answer for answer in answers]
        return [topic for topic, value in zip(topics, values, strict=False) if value >= 0x80]

    async def leave(self, topics: Sequence[str]) -> None:
        """Takes subscriptions back."""
        await self.unsubscribe(list(topics), timeout=BEHIND_SECONDS)

    def hand_over(
        self, topic: str, payload: str | bytes, qos: int, retain: bool, correlation: bytes | None = None
    ) -> tuple[int, asyncio.Future[None]]:
        """Publishes, and returns the message's number and what is done once the broker has it, or fails where it
        refuses. A message not confirmed (QoS 1 and 2) is published again after a break, unless it is withdrawn.
        Raises ValueError for what no broker, or not this one, would take."""
        if not _is_topic(topic):
            raise ValueError("it is no topic to publish to")
        told = None
        if correlation is not None and self.protocol is V5:
            told = properties(PacketTypes.PUBLISH)
            told.CorrelationData = correlation
        if self._largest is not None and len(payload) + len(topic) + PACKET_ROOM > self._largest:
            raise ValueError(f"the broker takes no more than {self._largest} bytes")
        qos = min(qos, self._most_qos)
        info = self._client.publish(topic, payload, qos, retain, told)
        confirmed: asyncio.Future[None] = self._loop.create_future()
        if qos == 0:
            confirmed.set_result(None)
        else:
            self._unconfirmed[info.mid] = confirmed
        return info.mid, confirmed

    def withdraw(self, number: int) -> None:
        """Does not publish that message again."""
        self._unconfirmed.pop(number, None)
        message = self._client._out_messages.pop(number, None)  # noqa: SLF001
        if message is not None and message.state != MessageState.MQTT_MS_QUEUED:
            self._client._inflight_messages -= 1  # noqa: SLF001

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109
        """aiomqtt's, but for asyncio.wait_for: until Python 3.12 who is cancelled there as the answer comes goes on."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("the broker did not answer in time") from None

    async def _misc_loop(self) -> None:
        """aiomqtt's, but for a broker that has much to say: its answer to a ping stands behind all of that."""
        paho = self._client
        while True:
            if paho._ping_t and paho._last_bytes_received > paho._ping_t:  # noqa: SLF001
                paho._ping_t = 0.0  # noqa: SLF001
            if paho.loop_misc() is not MQTT_ERR_SUCCESS:
                return
            await asyncio.sleep(1)

    async def _hang_up(self) -> None:
        self._client._sock_close()  # noqa: SLF001
        if self._misc_task is not None:
            await end(self._misc_task)
            self._misc_task = None

    # --- what paho calls -------------------------------------------------------------------------------------------

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        identifiers = bool(getattr(properties, "SubscriptionIdentifierAvailable", 1))
        self.tells_subscriptions = self.protocol is V5 and identifiers
        self._most_qos = int(getattr(properties, "MaximumQoS", 2))
        self._largest = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            self._connected.set_exception(ClosedEarly("the broker closed the connection before it was made"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Paho, userdata: Any, message: MQTTMessage) -> None:  # noqa: ARG002
        self._came(message)

    def _on_publish(self, *event: Any, **more: Any) -> None:  # noqa: ARG002
        mid, reason_code = event[2:4]
        confirmed = self._unconfirmed.pop(mid, None)
        if confirmed is None or confirmed.done():
            return
        if reason_code.is_failure:
            confirmed.set_exception(aiomqtt.MqttError(str(reason_code)))
            confirmed.exception()  # who published and went away is not told
        else:
            confirmed.set_result(None)

    def _on_socket_open(self, client: Paho, userdata: Any, sock: Any) -> None:
        super()._on_socket_open(client, userdata, sock)
        # In place of aiomqtt's reader. Like it from the thread that connects.
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock.fileno(), self._read)

    def _read(self) -> None:
        """Reads one packet in so many rounds of the loop, which come at once where nobody else needs them."""
        self._round = (self._round + 1) % self._rounds
        if self._round:
            return
        try:
            self._client.loop_read()
            # What TLS has taken from the socket already, the loop does not see.
            while isinstance(sock := self._client.socket(), ssl.SSLSocket) and sock.pending():
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001
            # A boundary, as aiomqtt's: whatever paho meets here, the connection is of no more use.
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _on_socket_register_write(self, client: Paho, userdata: Any, sock: Any) -> None:
        if threading.get_ident() != self._thread:
            super()._on_socket_register_write(client, userdata, sock)
            return
        # aiomqtt would do it in the loop's next round, by when the socket's number may be another's.
        self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001
            # A boundary, as aiomqtt's: whatever paho meets here, the connection is of no more use.
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


class ClosedEarly(aiomqtt.MqttError):
    """The broker hung up instead of answering, as old ones do that do not know MQTT 5."""


def refuses_version(error: aiomqtt.MqttError) -> bool:
    """Whether it is the protocol's version that the broker did not like."""
    if isinstance(error, MqttConnectError):
        code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
        return code in (1, REFUSED_VERSION)
    return isinstance(error, ClosedEarly)


def properties(packet: int) -> Properties:
    """MQTT 5's properties of one kind of packet."""
    return Properties(packet)  # type: ignore[no-untyped-call]


def _is_topic(topic: str) -> bool:
    """Whether one may publish to it."""
    return bool(topic) and not set(topic) & {"+", "#", "\0"} and _is_short(topic)


def is_filter(topic: str) -> bool:
    """Whether one may subscribe to it: a broker ends the connection of who asks for what is no topic."""
    levels = topic.split("/")
    wild = all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels) and "#" not in levels[:-1]
    return bool(topic) and wild and "\0" not in topic and _is_short(topic)


def _is_short(topic: str) -> bool:
    try:
        return len(topic.encode()) <= 65535
    except UnicodeEncodeError:
        return False
