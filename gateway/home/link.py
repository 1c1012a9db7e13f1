"""The link to the home's MQTT broker."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.matcher import MQTTMatcher

from gateway.config import MqttSettings
from gateway.errors import StartError, Unavailable
from gateway.home.connection import V5, V311, Connection, is_filter, refuses_version
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

STATUS_TOPIC = "ai-gateway/status"
HOME_ASSISTANT_TOPIC = "homeassistant/status"
SEND_SECONDS = 2.0
CLOSE_SECONDS = 2.0
# Seconds between two tries, doubled each time: a broker back from a restart is found soon, one long gone seldom asked.
FIRST_PAUSE, SHORT_PAUSE, LONGEST_PAUSE = 0.5, 5.0, 30.0
LONG_AWAY = 300.0
STEADY = 10.0  # a connection that held this long counts as good
AT_ONCE = 16  # messages on their way to the broker; MQTT's own bound is 20 with most
BATCH = 100  # topics asked for in one packet
EXACT = 1  # the identifier of all subscriptions without wildcards; those with one have another each
FLOOD = 500  # live messages a second from which on a broker may drop what it cannot get rid of


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


def _words(error: Exception) -> str:
    """What ended a connection, for people: paho tells of one that broke off as an unspecified error with a number."""
    text = re.sub(r"^\[code:\d+\] ", "", str(error))
    return "the connection broke off" if text == "Unspecified error" else text


def client_id(path: Path) -> str:
    """The name by which the broker knows this gateway again: made once, and kept at `path`. It is the data folder's and
    not the household's, because of two clients of one name a broker throws out the first. Raises StartError."""
    try:
        if path.exists() and (known := path.read_text(encoding="utf-8").strip()):
            return known
        made = f"ai-gateway-{secrets.token_hex(6)}"  # 23 characters: every broker takes as many
        path.write_text(f"{made}\n", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path} cannot be kept ({error})") from error
    return made


class Link:
    """One connection for the whole gateway. `async with` keeps it up; what it is asked for is renewed each time.

    Who subscribes before it is entered also hears what the broker kept for this gateway while it was stopped.
    """

    def __init__(self, settings: MqttSettings, client_id: str, metrics: Metrics | None = None) -> None:
        """`client_id` is the same at each start, so that the broker knows the session again."""
        metrics = metrics or Metrics()
        self._settings = settings
        self._client_id = client_id
        self._up = metrics.mqtt_connected
        self._in, self._out = metrics.mqtt_messages.labels("in"), metrics.mqtt_messages.labels("out")
        self._dropped = metrics.mqtt_dropped
        self._handlers: dict[str, list[Handler]] = {}
        self._filters = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._identifiers: dict[int, str] = {}
        self._identifier_of: dict[str, int] = {}
        self._greetings: list[Greeting] = [self._say_online]
        self._session: Connection | None = None
        self._connection: Connection | None = None
        self._speaks_5 = True
        self._failure = "it was not reached yet"
        self._task: asyncio.Task[None] | None = None
        self._waiting: OrderedDict[str | int, _Outgoing] = OrderedDict()
        self._numbers = count()
        self._something_to_do = asyncio.Event()
        self._all_out = asyncio.Event()
        self._unsubscribed: set[str] = set()
        self._to_subscribe: dict[str, None] = {}
        self._greeted = False
        self._live = 0
        self.subscribe(HOME_ASSISTANT_TOPIC, self._home_assistant_spoke)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_up(), name="mqtt")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if self._connection is not None:
            # Who leaves in good order leaves no will behind, so it says itself that it goes.
            self.publish(STATUS_TOPIC, "offline", retain=True)
            self._all_out.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_out.wait()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._connection is not None

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Calls `handler` with each message of a topic (or filter), from now on and after each connection; with the
        retained ones first, of which handlers that were there before hear again. It must be quick, must not block, and
        must not raise. A topic that cannot be one is never heard of."""
        if not is_filter(topic):
            log.warning("MQTT: %r is no topic to subscribe to", topic[:200])
            return
        handlers = self._handlers.setdefault(topic, [])
        if handler in handlers:
            return
        handlers.append(handler)
        if "+" in topic or "#" in topic:
            self._filters[topic] = handlers
            self._identify(topic)
        self._unsubscribed.discard(topic)
        self._to_subscribe[topic] = None
        self._something_to_do.set()

    def unsubscribe(self, topic: str, handler: Handler) -> None:
        """Ends that."""
        handlers = self._handlers.get(topic, [])
        if handler in handlers:
            handlers.remove(handler)
        if not handlers and self._handlers.pop(topic, None) is not None:
            if (identifier := self._identifier_of.pop(topic, None)) is not None:
                del self._filters[topic], self._identifiers[identifier]
            self._to_subscribe.pop(topic, None)
            self._unsubscribed.add(topic)
            self._something_to_do.set()

    def greet(self, greeting: Greeting) -> None:
        """Awaits `greeting` after each connection, once the subscriptions are renewed, and whenever Home Assistant was
        restarted: for what others must be told anew."""
        self._greetings.append(greeting)

    async def send(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publishes now: what commands something must not come late. Raises Unavailable where the broker is away, or
        is lost before it has the message; it is not told again then."""
        connection = self._connection
        if connection is None:
            raise Unavailable(f"the MQTT broker is away: {self._failure}")
        try:
            number, confirmed = connection.hand_over(topic, payload, qos, retain)
        except ValueError as error:
            raise Unavailable(f"the MQTT broker cannot be sent this ({error})") from error
        try:
            await asyncio.wait((confirmed, connection.lost), timeout=SEND_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not confirmed.done():
                raise Unavailable("the MQTT broker did not take a message")
            confirmed.result()
            self._out.inc()
        except aiomqtt.MqttError as error:
            raise Unavailable(f"the MQTT broker did not take a message ({error})") from error
        finally:
            connection.withdraw(number)

    def publish(
        self,
        topic: str,
        payload: str | bytes,
        *,
        qos: int | None = None,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> None:
        """Publishes soon, in order; while the broker is away it waits, bounded (the oldest is dropped and counted), a
        retained one only until there is a newer one of its topic.

        `qos`: left out it is 1 for what is retained, which may well be told twice, and 2 for what happens once: also
        where the connection breaks before the broker confirms, who listens hears it once."""
        key = topic if retain else next(self._numbers)
        self._waiting.pop(key, None)
        qos = (1 if retain else 2) if qos is None else qos
        self._waiting[key] = _Outgoing(topic, payload, qos, retain, correlation)
        if len(self._waiting) > self._settings.buffer:
            self._waiting.popitem(last=False)
            self._dropped.inc()
        self._something_to_do.set()

    async def check(self) -> str | None:
        """What there is to say of a link that is up. Raises Unavailable with the reason where it is not."""
        if self._connection is None:
            raise Unavailable(f"the MQTT broker is away: {self._failure}; check MQTT_URL, and that it runs")
        return None

    # --- the connection --------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        pause, away_since, told = FIRST_PAUSE, time.monotonic(), False
        while True:
            since = None
            try:
                connection = self._session_with_broker()
                async with connection:
                    since = time.monotonic()
                    log.info("MQTT: the broker is there (MQTT %s)", "5" if connection.protocol is V5 else "3.1.1")
                    told = False
                    await self._serve(connection)
            except (aiomqtt.MqttError, Unavailable) as error:
                self._failure = error.message if isinstance(error, Unavailable) else _words(error)
                if since is None and self._other_version(error):
                    continue
            except Exception as error:
                # A boundary: nobody but this task brings the link back, whatever it was that ended it.
                self._failure = type(error).__name__
                if not told:
                    log.exception("MQTT: the link failed")
            now = time.monotonic()
            if since is not None:
                away_since = now
                pause = FIRST_PAUSE if now - since > STEADY else pause
            if not told:
                told = True
                log.warning("MQTT: the broker is away (%s); it is tried until it is back", self._failure)
            # Not in step with all the others that lost the same broker.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, SHORT_PAUSE if now - away_since < LONG_AWAY else LONGEST_PAUSE)

    def _session_with_broker(self) -> Connection:
        if self._session is None:
            protocol = V5 if self._speaks_5 else V311
            will = (STATUS_TOPIC, "offline")
            self._session = Connection(self._settings, self._client_id, protocol, will, self._take)
        return self._session

    def _other_version(self, error: Exception) -> bool:
        """After a broker did not let us in: whether to try at once with MQTT 3.1.1. Once it was let in, a version is
        kept until the gateway ends: a broker that is only slow to start must not cost what MQTT 5 brings."""
        if self._session is None or self._session.settled:
            return False
        was_5, self._session = self._speaks_5, None
        self._speaks_5 = not (was_5 and isinstance(error, aiomqtt.MqttError) and refuses_version(error))
        return not self._speaks_5

    async def _serve(self, connection: Connection) -> None:
        connection.settled = True
        self._unsubscribed.clear()
        self._to_subscribe = dict.fromkeys(self._handlers)
        self._greeted = False
        self._connection = connection
        self._up.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work(connection), name="mqtt-out")
                group.create_task(self._watch_for_floods(), name="mqtt-floods")
                await connection.until_lost()
        except* aiomqtt.MqttError as errors:
            raise aiomqtt.MqttError(str(errors.exceptions[0])) from errors
        finally:
            self._connection = None
            self._up.set(0)

    async def _work(self, connection: Connection) -> None:
        while True:
            self._something_to_do.clear()
            await self._renew(connection)
            if not self._greeted:
                self._greeted = True
                await self._greet()
            while self._waiting and connection.unconfirmed < AT_ONCE:
                self._hand_over(connection, self._waiting.popitem(last=False)[1])
            if not self._waiting and not connection.unconfirmed:
                self._all_out.set()
            await self._something_to_do.wait()

    async def _renew(self, connection: Connection) -> None:
        """Tells the broker what is and what is no longer listened to."""
        while self._unsubscribed:
            batch = list(self._unsubscribed)[:BATCH]
            self._unsubscribed.difference_update(batch)
            await connection.leave(batch)
        while self._to_subscribe:
            first = next(iter(self._to_subscribe))
            identifier = self._identifier_of.get(first, EXACT)
            # One identifier goes with one packet.
            batch = [topic for topic in self._to_subscribe if self._identifier_of.get(topic, EXACT) == identifier]
            for topic in batch[:BATCH]:
                del self._to_subscribe[topic]
            for topic in await connection.ask_for(batch[:BATCH], identifier):
                log.warning("MQTT: the broker does not let us listen to %s", topic)

    async def _greet(self) -> None:
        for greeting in tuple(self._greetings):
            try:
                await greeting()
            except Exception:
                # A boundary: what one part has to say must not keep the others, nor the link, from theirs.
                log.exception("MQTT: a greeting failed")

    async def _say_online(self) -> None:
        self.publish(STATUS_TOPIC, "online", retain=True)

    def _home_assistant_spoke(self, message: Message) -> None:
        if message.payload == b"online" and not message.retained:
            self._greeted = False
            self._something_to_do.set()

    def _hand_over(self, connection: Connection, one: _Outgoing) -> None:
        try:
            _, confirmed = connection.hand_over(one.topic, one.payload, one.qos, one.retain, one.correlation)
        except ValueError as error:
            self._dropped.inc()
            log.warning("MQTT: nothing can be published on %r (%s)", one.topic[:200], error)
            return
        self._out.inc()
        if not confirmed.done():
            confirmed.add_done_callback(lambda _: self._something_to_do.set())

    # --- what comes ------------------------------------------------------------------------------------------------

    def _identify(self, topic: str) -> None:
        if topic in self._identifier_of:
            return
        # The same after a restart, so that what the broker kept meanwhile still says by which filter it came.
        identifier = crc32(topic.encode()) % 2**27 + 2
        while identifier in self._identifiers:
            identifier += 1
        self._identifiers[identifier] = topic
        self._identifier_of[topic] = identifier

    def _take(self, message: MQTTMessage) -> None:
        """One message, read from the socket: whoever is busy is not given the next, so nothing piles up in here."""
        self._in.inc()
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if not message.retain:
            self._live += 1
        told = message.properties
        came = Message(
            topic,
            bytes(message.payload),
            bool(message.retain),
            getattr(told, "ResponseTopic", None),
            getattr(told, "CorrelationData", None),
        )
        for handler in self._who_hears(topic, getattr(told, "SubscriptionIdentifier", ())):
            try:
                handler(came)
            except Exception:
                # A boundary: what one part makes of a message must not keep the others from it.
                log.exception("MQTT: a message on %s was too much for one part", topic)

    def _who_hears(self, topic: str, identifiers: Iterable[int]) -> list[Handler]:
        # With MQTT 5 a broker sends a message once for each filter that it fits, and says which one.
        known = [one for one in identifiers if one == EXACT or one in self._identifiers]
        if known and self._session is not None and self._session.tells_subscriptions:
            lists = [self._handlers.get(topic if one == EXACT else self._identifiers[one], ()) for one in known]
        else:
            lists = [self._handlers.get(topic, ()), *self._filters.iter_match(topic)]  # type: ignore[no-untyped-call]
        if len(lists) == 1:
            return list(lists[0])
        return list(dict.fromkeys(handler for handlers in lists for handler in handlers))

    async def _watch_for_floods(self) -> None:
        """A broker that cannot get rid of its messages drops some of them, and does not say so. What it retains it
        still has, so after a flood it is asked for that once more."""
        flooded = False
        while True:
            self._live = 0
            await asyncio.sleep(1)
            if self._live > FLOOD:
                flooded = True
            elif flooded:
                flooded = False
                self._to_subscribe = dict.fromkeys(self._handlers)
                self._something_to_do.set()
