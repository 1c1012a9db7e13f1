"""The link to the home's MQTT broker."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import aiomqtt

from gateway.config import MqttSettings
from gateway.errors import StartError, Unavailable
from gateway.home.connection import OURS, Connection
from gateway.home.line import Handler, Line, Message
from gateway.metrics import Metrics
from gateway.tasks import end

log = logging.getLogger(__name__)

STATUS_TOPIC = "ai-gateway/status"
HOME_ASSISTANT_TOPIC = "homeassistant/status"
SEND_SECONDS = 2.0
CLOSE_SECONDS = 2.0
AT_ONCE = 16  # messages on their way to the broker; MQTT's own bound is 20 with most
FLOOD = 500  # messages a second from which on they may be late, and a broker drops what it cannot get rid of
# Of the home's line a packet is read in so many rounds of the loop: a turn takes a good dozen rounds, and in a flood
# each would bring a message.
HOME_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Outgoing:
    topic: str
    payload: str | bytes
    qos: int
    retain: bool
    correlation: bytes | None


Greeting = Callable[[], Awaitable[None]]


def client_id(path: Path) -> str:
    """The name by which the broker knows this gateway again: made once, and kept at `path`. It is the data folder's and
    not the household's, because of two clients of one name a broker throws out the first. Raises StartError."""
    try:
        if path.exists() and (known := path.read_text(encoding="utf-8").strip()):
            return known
        made = f"ai-gateway-{secrets.token_hex(4)}"  # with what `Link` adds under 23 characters: every broker takes it
        path.write_text(f"{made}\n", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path} cannot be kept ({error})") from error
    return made


class Link:
    """The gateway's two lines to the broker: one for all that it says and what is said to it, one for what the home
    tells of itself, of which there may be more than can be read in time. `async with` keeps them up.

    Who subscribes before it is entered also hears what the broker kept for this gateway while it was stopped.
    """

    def __init__(self, settings: MqttSettings, client_id: str, metrics: Metrics | None = None) -> None:
        """`client_id` is the same at each start, so that the broker knows the session again."""
        metrics = metrics or Metrics()
        self._settings = settings
        self._up = metrics.mqtt_connected
        self._in, self._out = metrics.mqtt_messages.labels("in"), metrics.mqtt_messages.labels("out")
        self._dropped = metrics.mqtt_dropped
        self._ours = Line(
            settings,
            client_id,
            will=(STATUS_TOPIC, "offline"),
            work=self._speak,
            changed=self._ours_changed,
            came=self._was_spoken_to,
        )
        self._home = Line(
            settings,
            f"{client_id}-in",
            name="MQTT, the home's line",
            rounds=HOME_ROUNDS,
            changed=self._show,
            came=self._home_spoke,
            tells=lambda: self.connected,  # otherwise our own line does
        )
        self._lines = (self._ours, self._home)
        self._greetings: list[Greeting] = [self._say_online]
        self._greeted = False
        self._waiting: OrderedDict[str | int, _Outgoing] = OrderedDict()
        self._numbers = count()
        self._all_out = asyncio.Event()
        self._came = self._live = 0
        self._busy = False
        self._tasks: list[asyncio.Task[None]] = []
        self.subscribe(HOME_ASSISTANT_TOPIC, self._home_assistant_spoke)

    async def __aenter__(self) -> Self:
        kept_up = [asyncio.create_task(line.keep_up(), name="mqtt") for line in self._lines]
        self._tasks = [*kept_up, asyncio.create_task(self._watch_for_floods(), name="mqtt-floods")]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.connected:
            # Who leaves in good order leaves no will behind, so it says itself that it goes.
            self.publish(STATUS_TOPIC, "offline", retain=True)
            self._all_out.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_out.wait()
        await end(*self._tasks)
        self._tasks = []

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._ours.connection is not None

    @property
    def topics(self) -> frozenset[str]:
        """The topics and filters that are listened to."""
        return self._ours.topics | self._home.topics

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Calls `handler` with each message of a topic (or filter), from now on and after each connection; with the
        retained ones first, of which handlers that were there before hear again. It must be quick, must not block, and
        must not raise. A topic that cannot be one is never heard of."""
        self._line(topic).subscribe(topic, handler)

    def unsubscribe(self, topic: str, handler: Handler) -> None:
        """Ends that."""
        self._line(topic).unsubscribe(topic, handler)

    async def listening(self) -> None:
        """Waits until the broker has confirmed all that is subscribed to."""
        for line in self._lines:
            await line.listening()

    async def hear_now(self, topics: Iterable[str]) -> None:
        """Before something is done whose answer is awaited on `topics` of the home: while the home says more than can
        be read in time, they are heard over our own line, until that is over."""
        late = self._busy or self._came > FLOOD or self._home.connection is None
        if not late or not self.connected:
            return
        for topic in topics:
            self._home.heard_elsewhere.add(topic)
            self._ours.subscribe(topic, self._home.pass_on)
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._ours.listening()

    def greet(self, greeting: Greeting) -> None:
        """Awaits `greeting` after each connection, once the subscriptions are renewed, and whenever Home Assistant was
        restarted: for what others must be told anew."""
        self._greetings.append(greeting)

    async def send(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publishes now: what commands something must not come late. Raises Unavailable where the broker is away, or
        is lost before it has the message; it is not told again then."""
        connection = self._ours.connection
        if connection is None:
            raise Unavailable(f"the MQTT broker is away: {self._ours.failure}")
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
        self._ours.something_to_do.set()

    async def check(self) -> str | None:
        """What there is to say of a link that is up. Raises Unavailable with the reason where it is not."""
        for line in self._lines:
            if line.connection is None:
                raise Unavailable(f"the MQTT broker is away: {line.failure}; check MQTT_URL, and that it runs")
        return None

    # --- the lines -------------------------------------------------------------------------------------------------

    def _line(self, topic: str) -> Line:
        return self._ours if topic.startswith(OURS) or topic == HOME_ASSISTANT_TOPIC else self._home

    def _ours_changed(self) -> None:
        self._greeted = False
        self._show()

    def _show(self) -> None:
        self._up.set(int(all(line.connection is not None for line in self._lines)))

    def _was_spoken_to(self, live: bool) -> None:  # noqa: ARG002
        self._in.inc()

    async def _speak(self, connection: Connection) -> None:
        """Says what there is to be said."""
        if not self._greeted:
            self._greeted = True
            await self._greet()
        while self._waiting and connection.unconfirmed < AT_ONCE:
            self._hand_over(connection, self._waiting.popitem(last=False)[1])
        if not self._waiting and not connection.unconfirmed:
            self._all_out.set()

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
            self._ours.something_to_do.set()

    def _hand_over(self, connection: Connection, one: _Outgoing) -> None:
        try:
            _, confirmed = connection.hand_over(one.topic, one.payload, one.qos, one.retain, one.correlation)
        except ValueError as error:
            self._dropped.inc()
            log.warning("MQTT: nothing can be published on %r (%s)", one.topic[:200], error)
            return
        self._out.inc()
        if not confirmed.done():
            confirmed.add_done_callback(lambda _: self._ours.something_to_do.set())

    # --- floods ----------------------------------------------------------------------------------------------------

    def _home_spoke(self, live: bool) -> None:
        self._in.inc()
        self._came += 1
        self._live += live

    async def _watch_for_floods(self) -> None:
        """A broker that cannot get rid of its messages drops some of them, and does not say so. What it retains it
        still has, so after a flood it is asked for that once more."""
        dropping = False
        while True:
            self._came = self._live = 0
            await asyncio.sleep(1)
            dropping = dropping or self._live > FLOOD
            self._busy = self._came > FLOOD
            if self._busy or self._home.connection is None:
                continue
            for topic in self._home.heard_elsewhere:
                self._ours.unsubscribe(topic, self._home.pass_on)
            self._home.heard_elsewhere.clear()
            if dropping:
                dropping = False
                self._home.ask_again()
