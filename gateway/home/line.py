"""A line to the MQTT broker: one connection that is kept up, and who listens over it."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.matcher import MQTTMatcher

from gateway.config import MqttSettings
from gateway.errors import Unavailable
from gateway.home.connection import V5, V311, Connection, is_filter, refuses_version

log = logging.getLogger(__name__)

# Seconds between two tries, doubled each time: a broker back from a restart is found soon, one long gone seldom asked.
FIRST_PAUSE, SHORT_PAUSE, LONGEST_PAUSE = 0.5, 5.0, 30.0
LONG_AWAY = 300.0
STEADY = 10.0  # a connection that held this long counts as good
BATCH = 100  # topics asked for in one packet
EXACT = 1  # the identifier of all subscriptions without wildcards; those with one have another each


@dataclass(frozen=True, slots=True)
class Message:
    """What came. `retained`: it was kept by the broker, and may be old. The last two are MQTT 5's."""

    topic: str
    payload: bytes
    retained: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


Handler = Callable[[Message], None]


async def _no_more(connection: Connection) -> None:
    """The work of a line that only listens."""


class Line:
    """One connection, made anew whenever it is lost; what is listened to is asked for again each time."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        *,
        came: Callable[[bool], None],
        name: str = "MQTT",
        will: tuple[str, str] | None = None,
        rounds: int = 1,
        work: Callable[[Connection], Awaitable[None]] = _no_more,
        changed: Callable[[], None] = lambda: None,
        tells: Callable[[], bool] = lambda: True,
    ) -> None:
        """`client_id`, `will` and `rounds` are as Connection has them. `work` is awaited whenever there is something to
        do, once all that is listened to was asked for. `changed` is called when the line is up, and when it is down;
        `came` with each message, and whether it is live (not retained). While it `tells`, the log has by `name`
        when the broker is there and when it is away."""
        self._settings = settings
        self._client_id = client_id
        self._name = name
        self._will = will
        self._rounds = rounds
        self._work = work
        self._changed = changed
        self._came = came
        self._tells = tells
        self._session: Connection | None = None
        self._speaks_5 = True
        self._handlers: dict[str, list[Handler]] = {}
        self._filters = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._identifiers: dict[int, str] = {}
        self._identifier_of: dict[str, int] = {}
        self._to_subscribe: dict[str, None] = {}
        self._unsubscribed: set[str] = set()
        self._asked = asyncio.Event()
        self.something_to_do = asyncio.Event()
        self.connection: Connection | None = None
        """The connection, where there is one."""
        self.failure = "it was not reached yet"
        """What ended the last one, for people."""
        self.heard_elsewhere: set[str] = set()
        """Topics whose messages come by another line sooner (see `pass_on`): what comes here is not listened to."""

    @property
    def topics(self) -> frozenset[str]:
        """The topics and filters that are listened to."""
        return frozenset(self._handlers)

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Calls `handler` with each message of a topic (or filter), from now on and after each connection."""
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
        self._ask_for([topic])

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
            self.something_to_do.set()

    def ask_again(self) -> None:
        """Asks the broker for everything once more, and so for all that it retains."""
        self._ask_for(self._handlers)

    async def listening(self) -> None:
        """Waits until the broker has confirmed all that is listened to."""
        await self._asked.wait()

    def pass_on(self, message: Message) -> None:
        """Tells those who listen here what came by another line."""
        self._tell(message, self._fitting(message.topic))

    async def keep_up(self) -> None:
        """Connects, and again whenever the connection is lost. Never ends."""
        pause, away_since = FIRST_PAUSE, time.monotonic()
        told, first = False, self._tells()
        while True:
            since = None
            try:
                connection = self._session_with_broker()
                async with connection:
                    since = time.monotonic()
                    if told or first:
                        version = "5" if connection.protocol is V5 else "3.1.1"
                        log.info("%s: the broker is there (MQTT %s)", self._name, version)
                    told = first = False
                    await self._serve(connection)
            except (aiomqtt.MqttError, Unavailable) as error:
                self.failure = error.message if isinstance(error, Unavailable) else _words(error)
                if since is None and self._other_version(error):
                    continue
            except Exception as error:
                # A boundary: nobody but this task brings the line back, whatever it was that ended it.
                self.failure = type(error).__name__
                if not told:
                    log.exception("%s: the link failed", self._name)
            now = time.monotonic()
            if since is not None:
                away_since = now
                pause = FIRST_PAUSE if now - since > STEADY else pause
            tells = self._tells()
            # Not in step with all the others that lost the same broker.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            if not told and tells and self._tells():
                told = True
                log.warning("%s: the broker is away (%s); it is tried until it is back", self._name, self.failure)
            pause = min(2 * pause, SHORT_PAUSE if now - away_since < LONG_AWAY else LONGEST_PAUSE)

    # --- the connection --------------------------------------------------------------------------------------------

    def _session_with_broker(self) -> Connection:
        if self._session is None:
            protocol = V5 if self._speaks_5 else V311
            self._session = Connection(
                self._settings, self._client_id, protocol, self._take, will=self._will, rounds=self._rounds
            )
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
        self._to_subscribe.clear()
        self.ask_again()
        self.connection = connection
        self._changed()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_working(connection), name="mqtt-work")
                await connection.until_lost()
        except* aiomqtt.MqttError as errors:
            raise aiomqtt.MqttError(str(errors.exceptions[0])) from errors
        finally:
            self.connection = None
            self._asked.clear()
            self._changed()

    async def _keep_working(self, connection: Connection) -> None:
        while True:
            self.something_to_do.clear()
            await self._renew(connection)
            self._asked.set()
            await self._work(connection)
            await self.something_to_do.wait()

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

    def _ask_for(self, topics: Iterable[str]) -> None:
        self._to_subscribe |= dict.fromkeys(topics)
        self._asked.clear()
        self.something_to_do.set()

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
        self._came(not message.retain)
        with suppress(UnicodeDecodeError):
            topic = message.topic
            if topic in self.heard_elsewhere:
                return
            told = message.properties
            came = Message(
                topic,
                bytes(message.payload),
                bool(message.retain),
                getattr(told, "ResponseTopic", None),
                getattr(told, "CorrelationData", None),
            )
            self._tell(came, self._who_hears(topic, getattr(told, "SubscriptionIdentifier", ())))

    def _who_hears(self, topic: str, identifiers: Iterable[int]) -> list[Handler]:
        # With MQTT 5 a broker sends a message once for each filter that it fits, and says which one.
        known = [one for one in identifiers if one == EXACT or one in self._identifiers]
        if not known or self._session is None or not self._session.tells_subscriptions:
            return self._fitting(topic)
        return _each_once(self._handlers.get(topic if one == EXACT else self._identifiers[one], []) for one in known)

    def _fitting(self, topic: str) -> list[Handler]:
        return _each_once((self._handlers.get(topic, []), *self._filters.iter_match(topic)))  # type: ignore[no-untyped-call]

    def _tell(self, message: Message, handlers: Iterable[Handler]) -> None:
        for handler in handlers:
            try:
                handler(message)
            except Exception:
                # A boundary: what one part makes of a message must not keep the others from it.
                log.exception("MQTT: a message on %s was too much for one part", message.topic)


def _each_once(lists: Iterable[list[Handler]]) -> list[Handler]:
    return list(dict.fromkeys(handler for handlers in lists for handler in handlers))


def _words(error: Exception) -> str:
    """What ended a connection, for people: paho tells of one that broke off as an unspecified error with a number."""
    text = re.sub(r"^\[code:\d+\] ", "", str(error))
    return "the connection broke off" if text == "Unspecified error" else text
