"""The gateway as a device in Home Assistant, by MQTT device discovery.

Below `ai-gateway/`, all retained but the event and the commands:

    figures           {"turns": 12, "answer_seconds": 0.84, "hit_rate": 40.0, "model": "ready", ...}
    last              {"question": "...", "answer": "..."}, only where `home.show_words` allows it
    event             {"event_type": "answered", "edge": "conversation", ...} of each turn
    cache, learning   ON or OFF; switched by `cache/set`, `learning/set`
    cache/clear, model/warm   PRESS
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from statistics import median
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from gateway import __version__
from gateway.errors import BadRequest, GatewayError
from gateway.home.line import Message
from gateway.home.link import STATUS_TOPIC, Link
from gateway.home.refusals import Refusals
from gateway.shapes import Reply, Turn
from gateway.switches import SWITCHES, Switch, Switches
from gateway.tasks import end

log = logging.getLogger(__name__)

OUR_ENTITIES = "ai_gateway_"  # what Home Assistant calls the gateway's entities begins so
FIGURES, LAST, EVENT = "ai-gateway/figures", "ai-gateway/last", "ai-gateway/event"
PAUSE_SECONDS = 5.0  # from a change until the figures are told
IDLE_SECONDS = 60.0  # after which they are told though no turn came: the model may have gone
ANSWERS = 50  # whose time is told by their median
LONGEST_STATE = 255  # characters of a state in Home Assistant
EVENTS = {"answered": "answered", "cached": "answered", "acted": "acted", "failed": "failed", "cut_off": "cut_off"}

Press = Callable[[], Awaitable[object]]


class Seen(Protocol):
    """What there is to tell; see `gateway.turn.figures.Glance`."""

    @property
    def turns(self) -> int | None: ...
    @property
    def hit_rate(self) -> float: ...
    @property
    def model(self) -> str: ...
    @property
    def model_ready(self) -> bool: ...
    @property
    def queue(self) -> int: ...
    @property
    def memory(self) -> int | None: ...


class Presence:
    """Shows the gateway as long as its block runs, and heeds its switches and buttons."""

    def __init__(
        self,
        *,
        link: Link,
        refusals: Refusals,
        switches: Switches,
        figures: Callable[[], Awaitable[Seen]],
        clear_cache: Press,
        warm_model: Press,
        household_uid: str,
        show_words: bool,
    ) -> None:
        """`figures` is asked at most every few seconds. `show_words`: whether what is said may be shown."""
        self._link = link
        self._refuse = refusals
        self._switches = switches
        self._figures = figures
        self._buttons = {"ai-gateway/cache/clear": clear_cache, "ai-gateway/model/warm": warm_model}
        self._name = re.sub(r"[^a-zA-Z0-9]", "", household_uid)
        self._show_words = show_words
        self._seconds: deque[float] = deque(maxlen=ANSWERS)
        self._last: dict[str, str] | None = None
        self._told: dict[str, Any] | None = None
        self._changed = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._pressed: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for name in SWITCHES:
            self._link.subscribe(f"ai-gateway/{name}/set", self._switch)
        for topic in self._buttons:
            self._link.subscribe(topic, self._press)
        self._link.greet(self._announce)
        if self._link.connected:  # it was before there was this greeting
            await self._announce()
        self._telling = asyncio.create_task(self._tell(), name="presence")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in SWITCHES:
            self._link.unsubscribe(f"ai-gateway/{name}/set", self._switch)
        for topic in self._buttons:
            self._link.unsubscribe(topic, self._press)
        tasks = [*self._pressed, *([self._telling] if self._telling is not None else [])]
        await end(*tasks)

    def heard(self, turn: Turn, reply: Reply, outcome: str) -> None:
        """Takes note of a turn, its reply, and how it ended (see `gateway.turn.record.Listener`)."""
        if outcome in ("answered", "cached", "acted"):
            self._seconds.append(reply.timings.get("total", 0.0) / 1000)
        event = {
            "event_type": EVENTS.get(outcome, "answered"),
            "edge": turn.edge,
            "area": turn.area,
            "language": reply.language,
            "cache": str(reply.cache),
            "intent": reply.intent,
            "seconds": round(reply.timings.get("total", 0.0) / 1000, 3),
            "interaction_id": turn.interaction_id,
        }
        # A member's words are the member's own, and Home Assistant would show them to everybody.
        if self._show_words and turn.scope.member_id is None and not turn.task:
            self._last = {"question": turn.utterance, "answer": reply.text}
            event |= self._last
        self._link.publish(EVENT, orjson.dumps(event))
        self._changed.set()

    # --- telling

    async def _announce(self) -> None:
        """All that others have to be told anew: who this is, and how the switches stand; then the figures."""
        topic = f"homeassistant/device/ai_gateway_{self._name}/config"
        self._link.publish(topic, orjson.dumps(description(self._name, show_words=self._show_words)), retain=True)
        for name in SWITCHES:
            self._publish_switch(name)
        if not self._show_words:
            self._link.publish(LAST, b"", retain=True)  # nor may the broker keep what it was told before
        self._publish_figures()
        self._changed.set()

    def _publish_switch(self, name: Switch) -> None:
        self._link.publish(f"ai-gateway/{name}", "ON" if self._switches.is_on(name) else "OFF", retain=True)

    def _publish_figures(self) -> None:
        if self._told is not None:
            self._link.publish(FIGURES, orjson.dumps(self._told), retain=True)
        if self._last is not None:
            self._link.publish(LAST, orjson.dumps(self._last), retain=True)

    async def _tell(self) -> None:
        while True:
            self._changed.clear()
            try:
                self._told = self._to_json(await self._figures())
                self._publish_figures()
            except Exception:
                # A boundary: the figures come from every part, and none of them may end the telling for good.
                log.exception("the gateway's figures could not be told")
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._changed.wait()
            await asyncio.sleep(PAUSE_SECONDS)  # a turn is written down by then, and more may have come

    def _to_json(self, seen: Seen) -> dict[str, Any]:
        return {
            "turns": seen.turns,
            "answer_seconds": round(median(self._seconds), 3) if self._seconds else None,
            "hit_rate": round(100 * seen.hit_rate, 1),
            "model": "ready" if seen.model_ready else "away",
            "model_name": seen.model,
            "queue": seen.queue,
            "memory": seen.memory,
        }

    # --- being told

    def _switch(self, message: Message) -> None:
        name = next(one for one in SWITCHES if message.topic == f"ai-gateway/{one}/set")
        if self._is_kept(message):
            return
        try:
            if message.payload not in (b"ON", b"OFF"):
                raise BadRequest("This should be ON or OFF.")
            self._switches.turn(name, on=message.payload == b"ON")
        except GatewayError as error:
            self._refuse(message.topic, error)
        self._publish_switch(name)

    def _press(self, message: Message) -> None:
        if self._is_kept(message):
            return
        if message.payload != b"PRESS":
            self._refuse(message.topic, BadRequest("This should be PRESS."))
        elif not any(task.get_name() == message.topic for task in self._pressed):  # once is enough while it is done
            task = asyncio.create_task(self._do(message.topic), name=message.topic)
            self._pressed.add(task)
            task.add_done_callback(self._pressed.discard)

    async def _do(self, topic: str) -> None:
        try:
            await self._buttons[topic]()
        except GatewayError as error:
            self._refuse(topic, error)
        except Exception:
            # A task's boundary: nobody else would hear of it.
            log.exception("what %s asks for could not be done", topic)
        self._changed.set()

    @staticmethod
    def _is_kept(message: Message) -> bool:
        """Whether the broker kept it: it would be done anew at every start."""
        if message.retained:
            log.info("MQTT: a retained message on %s is not heeded: publish it without the retain flag", message.topic)
        return message.retained


def description(name: str, *, show_words: bool) -> dict[str, Any]:
    """The device, as Home Assistant's discovery takes it; `name` tells it from those of other households."""

    def of_figures(key: str, called: str, icon: str, **more: Any) -> Mapping[str, Any]:
        # What is not known is unknown there as well, not the word None.
        template = f"{{{{ value_json.{key} if value_json.{key} is not none else 'unknown' }}}}"
        if "unit_of_measurement" in more or "state_class" in more:
            template = f"{{{{ value_json.{key} }}}}"  # a number; None is no number and becomes unknown by itself
        return component(
            "sensor", key, called, icon, state_topic=FIGURES, value_template=template, entity_category=None, **more
        )

    def component(platform: str, key: str, called: str, icon: str, **more: Any) -> Mapping[str, Any]:
        given = {
            "platform": platform,
            "unique_id": f"ai_gateway_{name}_{key}",
            "default_entity_id": f"{platform}.{OUR_ENTITIES}{called.lower().replace(' ', '_')}",
            "name": called,
            "icon": icon,
            **more,
        }
        return {field: value for field, value in given.items() if value is not None}

    def of_words(key: str, called: str, icon: str) -> Mapping[str, Any]:
        if not show_words:
            return {"platform": "sensor"}  # Home Assistant then takes away what it was told before
        return component(
            "sensor",
            key,
            called,
            icon,
            state_topic=LAST,
            value_template=f"{{{{ value_json.{key}[:{LONGEST_STATE}] }}}}",
            json_attributes_topic=LAST,
            json_attributes_template=f"{{{{ {{'text': value_json.{key}}} | tojson }}}}",
        )

    components: dict[str, Mapping[str, Any]] = {
        "turns": of_figures("turns", "Turns today", "mdi:forum", state_class="total_increasing"),
        "answer_seconds": of_figures(
            "answer_seconds",
            "Answer time",
            "mdi:timer-outline",
            device_class="duration",
            unit_of_measurement="s",
            state_class="measurement",
            suggested_display_precision=2,
        ),
        "hit_rate": of_figures(
            "hit_rate", "Cache hit rate", "mdi:cached", unit_of_measurement="%", state_class="measurement"
        ),
        "model": of_figures(
            "model",
            "Model",
            "mdi:brain",
            device_class="enum",
            options=["ready", "away"],
            json_attributes_topic=FIGURES,
            json_attributes_template="{{ {'model': value_json.model_name} | tojson }}",
        ),
        "queue": of_figures("queue", "Queue", "mdi:tray-full", state_class="measurement"),
        "memory": of_figures("memory", "Memory entries", "mdi:notebook", state_class="measurement"),
        "question": of_words("question", "Last question", "mdi:comment-question"),
        "answer": of_words("answer", "Last answer", "mdi:comment-text"),
        "turn": component(
            "event",
            "turn",
            "Turn",
            "mdi:account-voice",
            state_topic=EVENT,
            event_types=list(dict.fromkeys(EVENTS.values())),
        ),
        "clear_cache": component(
            "button", "clear_cache", "Clear cache", "mdi:cached", command_topic="ai-gateway/cache/clear", qos=1
        ),
        "warm_model": component(
            "button", "warm_model", "Warm model", "mdi:fire", command_topic="ai-gateway/model/warm", qos=1
        ),
        **{
            switch: component(
                "switch",
                switch,
                switch.capitalize(),
                icon,
                state_topic=f"ai-gateway/{switch}",
                command_topic=f"ai-gateway/{switch}/set",
                entity_category="config",
                qos=1,
            )
            for switch, icon in (("cache", "mdi:cached"), ("learning", "mdi:school"))
        },
    }
    return {
        "device": {"identifiers": [f"ai_gateway_{name}"], "name": "AI gateway", "sw_version": __version__},
        "origin": {"name": "ai-gateway", "sw_version": __version__},
        "availability_topic": STATUS_TOPIC,
        "components": components,
    }
