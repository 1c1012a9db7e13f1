"""Drivers: how a thing is read and commanded over MQTT, by its description in Home Assistant's discovery vocabulary.

The keys of a description are spelled out here; `discovery` expands the abbreviations. A description may say anything:
what is not usable raises BadDescription when it is read, and no message raises later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.platforms.templates import BadTemplate, Template
from gateway.home.things import UNKNOWN, CannotDo, Condition, Order, Publication

MAX_STATE = 255  # characters of a state, as in Home Assistant
MAX_PAYLOAD = 64 * 1024
MAX_TOPICS = 20  # of a thing's availability
MAX_NAMED = 500  # modes, effects, options of one thing
NONE = "None"  # what a template makes of nothing: the state is not known

Said = Mapping[str, Any]
Take = Callable[[str, Condition], Said | None]
Write = Callable[[Mapping[str, Any], Condition], Iterable[Publication]]


class BadDescription(ValueError):
    """The description of a thing cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read from a topic: the template makes a text of the message, `take` says what that tells (state,
    attributes), None where it tells nothing."""

    template: Template | None
    take: Take
    names: Mapping[str, Any] = field(default_factory=dict)

    def of(self, payload: str, before: Condition) -> Said | None:
        """What a message says, None where it cannot be understood."""
        text = payload if self.template is None else self.template.value(payload, **self.names)
        if not text:
            return None
        try:
            return self.take(text, before)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError):
            return None


@dataclass(frozen=True, slots=True)
class Sender:
    """Where something is commanded, and the template that makes the payload of it."""

    topic: str
    template: Template | None
    qos: int
    retain: bool

    def __call__(self, value: Any, **names: Any) -> Publication:
        payload = str(value) if self.template is None else self.template.command(value, **names)
        if payload is None:
            raise CannotDo("the template of its command fails")
        return Publication(self.topic, payload, self.qos, self.retain)


@dataclass(frozen=True, slots=True)
class Availability:
    """The topics that tell whether a thing can be reached, and how they are taken together: all, any or latest."""

    mode: str = "latest"
    readings: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)

    def after(self, heard: dict[str, bool], topic: str, payload: str) -> bool | None:
        """Whether the thing can be reached after that message; None where it is not known. Notes it in `heard`."""
        for reading in self.readings.get(topic, ()):
            said = reading.of(payload, Condition())
            if said is not None and "available" in said:
                heard[topic] = said["available"]
                if self.mode == "latest":
                    return heard[topic]
        if self.mode == "latest":
            return None
        told = [heard.get(one) for one in self.readings]
        decisive = self.mode == "any"
        if decisive in told:
            return decisive
        return None if None in told else not decisive


@dataclass(slots=True)
class Heard:
    """What was heard of a thing beside how it stands: the last word of each topic of its availability and what they
    come to, how many messages told how it stands, and whether the last of them is too long ago."""

    words: dict[str, bool] = field(default_factory=dict)
    available: bool | None = None
    told: int = 0
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Driver:
    """A thing's driver, made by `drive`. Two of the same description are equal."""

    component: str
    config: Mapping[str, Any]
    readings: Mapping[str, tuple[Reading, ...]] = field(compare=False, repr=False)
    orders: Mapping[str, Write] = field(compare=False, repr=False)
    availability: Availability = field(compare=False, repr=False)
    assumed: bool = field(compare=False, default=False)
    # Seconds after the last message that told how it stands, in which it is "off" again, or "away": out of reach.
    lapses: Mapping[str, float] = field(compare=False, default_factory=dict)
    heard: Heard = field(compare=False, repr=False, default_factory=Heard)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics whose messages `read` understands."""
        return tuple(dict.fromkeys((*self.availability.readings, *self.readings)))

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        """How the thing stands after that message. The very same condition where nothing could be understood."""
        if len(payload) > MAX_PAYLOAD:
            return before
        try:
            text = without_nul(payload).decode()
        except UnicodeDecodeError:
            return before
        now = before
        if topic in self.availability.readings:
            available = self.availability.after(self.heard.words, topic, text)
            if available is not None:
                self.heard.available = available
                now = replace(now, available=available and not self.heard.expired, seen=at)
        for reading in self.readings.get(topic, ()):
            said = reading.of(text, now)
            if said is None:
                continue
            # What happens twice alike happened twice: as in Home Assistant, the state of an event is its time.
            state = at.isoformat() if self.component == "event" else said.get("state")
            if isinstance(state, str) and len(state) > MAX_STATE:
                continue
            attributes = {name: value for name, value in said.items() if name != "state"}
            now = self.begun(now.told(at, state=state, **attributes))
            self.heard.told += 1
            if not self.availability.readings and not self.assumed:
                now = replace(now, available=True)
            elif self.heard.expired:
                now = replace(now, available=self.heard.available)
            self.heard.expired = False
        return now

    def begun(self, now: Condition) -> Condition:
        """The same condition, marked by the attribute `assumed_state` if the thing never tells how it stands."""
        if bool(now.attributes.get("assumed_state")) == self.assumed:
            return now
        kept = {name: value for name, value in now.attributes.items() if name != "assumed_state"}
        return replace(now, attributes=kept | ({"assumed_state": True} if self.assumed else {}))

    def lapsed(self, lapse: str, now: Condition, at: datetime) -> Condition:
        """How the thing stands when nothing told that for the seconds of that one of `lapses`."""
        if lapse == "away":
            self.heard.expired = True
            return replace(now, available=False)
        return now.told(at, state="off") if now.state == "on" else now

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        """The messages that carry `order` out. Raises CannotDo."""
        action = order.action
        if action == "toggle":
            action = self._opposite(now)
        write = self.orders.get(action)
        if write is None:
            raise CannotDo(f"it cannot {order.action.replace('_', ' ')}")
        try:
            return tuple(write(order.values, now))
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise CannotDo(f"it cannot {order.action.replace('_', ' ')} like that") from error

    def _opposite(self, now: Condition) -> str:
        for ending, beginning, states in (
            ("turn_off", "turn_on", {"off", UNKNOWN}),
            ("unlock", "lock", {"unlocked", "unlocking", "open", "opening"}),  # a lock's `open` draws its latch
            ("close", "open", {"closed", "closing", UNKNOWN}),
        ):
            if {ending, beginning} <= self.orders.keys():
                if ending == "unlock" and now.state in {UNKNOWN, "jammed"}:
                    raise CannotDo("whether it is locked is not known")
                return beginning if now.state in states else ending
        return "toggle"


class Draft:
    """A description while it is read: its values, checked, and what they came to."""

    def __init__(self, component: str, config: Mapping[str, Any]) -> None:
        self.component = component
        self.config = config
        self.optimistic = self.flag("optimistic")
        self.readings: dict[str, list[Reading]] = {}
        self.orders: dict[str, Write] = {}
        self.capabilities: set[str] = set()
        self.limits: dict[str, tuple[float, float]] = {}
        self.options: dict[str, tuple[str, ...]] = {}
        self.assumed = False
        self.lapses: dict[str, float] = {}
        self.qos = 2 if self.config.get("qos") == 2 else 1
        self.retain = self.flag("retain")

    # What the description says.

    def text(self, key: str, default: str = "") -> str:
        """A text; a number or a truth value is taken as one, as a template would write it."""
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, (str, int, float)):
            raise BadDescription(f"{key} must be a text")
        return str(value)

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self.config.get(key, default)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadDescription(f"{key} must be a number") from error
        if not abs(number) < 1e12:
            raise BadDescription(f"{key} must be a number of a usual size")
        return number

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.config.get(key, default)
        if isinstance(value, str):
            return value.strip().lower() in {"true", "yes", "on", "1"}
        return bool(value)

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts; a single one is a list of one."""
        value = self.config.get(key)
        if value is None:
            return tuple(default)
        values = value if isinstance(value, list) else [value]
        if len(values) > MAX_NAMED or not all(isinstance(one, (str, int, float)) for one in values):
            raise BadDescription(f"{key} must be a list of texts")
        return tuple(str(one) for one in values)

    def template(self, key: str) -> Template | None:
        """A template, None where there is none."""
        source = self.text(key)
        try:
            return Template(source) if source else None
        except BadTemplate as error:
            raise BadDescription(f"{key}: {error}") from error

    def topic(self, key: str) -> str | None:
        """A topic without wildcards, None where there is none."""
        return valid_topic(self.text(key), key)

    # What it comes to.

    def reads(
        self,
        key: str,
        template: str,
        take: Take,
        *,
        echo: Sender | None = None,
        names: Mapping[str, Any] | None = None,
    ) -> bool:
        """What the topic of `key` tells, through the template of that name. Without such a topic the commands of `echo`
        are taken for what then is; and so they are of a thing that is `optimistic`. Returns whether it is so. They are
        read where they are sent, but for what a template made: that need not look like what is told."""
        topic = self.topic(key)
        if topic is not None:
            self.readings.setdefault(topic, []).append(Reading(self.template(template), take, names or {}))
            if not self.optimistic:
                return False
        if echo is not None and echo.template is None:
            self.readings.setdefault(echo.topic, []).append(Reading(None, take))
        return echo is not None

    def tells_state(
        self, key: str, template: str, told: Mapping[str, str], sender: Sender | None, sent: Mapping[str, str]
    ) -> None:
        """The state, by the payloads that tell it (`told`: a state for each payload). Without a topic of `key`, and of
        a thing that is `optimistic`, it is taken to be what was commanded last (`sent`: the same for what is sent)."""
        topic = self.topic(key)
        if topic is not None:
            take = words_take({payload: {"state": state} for payload, state in told.items()})
            self.readings.setdefault(topic, []).append(Reading(self.template(template), take))
        if (topic is None or self.optimistic) and sender is not None:
            words: dict[str, Said] = {}
            for payload, state in sent.items():
                with suppress(CannotDo):  # what cannot be sent is never heard back
                    words.setdefault(sender(payload).payload, {"state": state})
            self.readings.setdefault(sender.topic, []).append(Reading(None, words_take(words)))
            self.assumed = True

    def sends(self, key: str, template: str = "") -> Sender | None:
        """Where something is commanded, None where it cannot be."""
        topic = self.topic(key)
        if topic is None:
            return None
        return Sender(topic, self.template(template) if template else None, self.qos, self.retain)

    def can(self, *capabilities: str, **orders: Write) -> None:
        """Adds attributes and actions."""
        self.capabilities.update(capabilities, orders)
        self.orders.update(orders)

    def lapses_after(self, key: str, lapse: str) -> None:
        """What it is after the seconds of `key` without a message, where there are any (see Driver.lapses)."""
        seconds = self.number(key, 0)
        if seconds > 0:
            self.lapses[lapse] = seconds

    def bounds(self, attribute: str, least: float, most: float) -> None:
        """The least and the greatest value of an attribute."""
        if least < most:
            self.limits[attribute] = (least, most)

    def driver(self) -> Driver:
        """The driver that all this comes to."""
        if {"turn_on", "turn_off"} <= self.orders.keys() or {"open", "close"} <= self.orders.keys():
            self.capabilities.add("toggle")
        return Driver(
            self.component,
            self.config,
            {topic: tuple(readings) for topic, readings in self.readings.items()},
            self.orders,
            availability(self),
            self.assumed,
            self.lapses,
        )


def valid_topic(topic: str, key: str) -> str | None:
    """The topic, if something may be published there; None where there is none."""
    if not topic:
        return None
    if len(topic.encode(errors="replace")) > 1024 or re.search(r"[+#\x00-\x1f\x7f\ud800-\udfff]", topic):
        raise BadDescription(f"{key} is no topic")
    if topic.startswith("$"):
        raise BadDescription(f"{key} is the broker's own topic")
    return topic


def availability(draft: Draft) -> Availability:
    """Of `availability_topic` or the list `availability`."""
    listed = draft.config.get("availability")
    if listed is None:
        listed = []
    listed = listed if isinstance(listed, list) else [listed]
    if len(listed) > MAX_TOPICS or not all(isinstance(one, Mapping) for one in listed):
        raise BadDescription("availability must be a list of topics")
    described = [Draft("", one) for one in listed]
    if draft.config.get("availability_topic"):
        single = {
            "topic": draft.config["availability_topic"],
            "value_template": draft.config.get("availability_template"),
            "payload_available": draft.config.get("payload_available"),
            "payload_not_available": draft.config.get("payload_not_available"),
        }
        described.append(Draft("", single))
    readings: dict[str, tuple[Reading, ...]] = {}
    for one in described:
        topic = one.topic("topic")
        if topic is not None:
            words = {
                one.text("payload_available", "online"): {"available": True},
                one.text("payload_not_available", "offline"): {"available": False},
            }
            reading = Reading(one.template("value_template"), words_take(words))
            readings[topic] = (*readings.get(topic, ()), reading)
    mode = draft.text("availability_mode", "latest")
    return Availability(mode if mode in {"all", "any"} else "latest", readings)


# --- what is told ---------------------------------------------------------------------------------------------------


def words_take(words: Mapping[str, Said]) -> Take:
    """What each of some payloads tells; "None" tells that the state is not known."""

    def take(text: str, _before: Condition) -> Said | None:
        said = words.get(text)
        return {"state": UNKNOWN} if said is None and text == NONE and words else said

    return take


def attribute_take(name: str, convert: Callable[[str], Any] = str) -> Take:
    """The attribute of that name; nothing of it where the payload is "None"."""

    def take(text: str, _before: Condition) -> Said:
        return {name: None if text == NONE else convert(text)}

    return take


def without_nul(payload: bytes) -> bytes:
    """A message without NULs, which PostgreSQL keeps in no text: as they are, or as JSON writes them."""
    return re.sub(rb"(\\\\)|\\u0000|\x00", rb"\1", payload)


def number_of(text: str) -> float:
    """A finite number of a text, whole where it is one."""
    number = float(text)
    if not abs(number) < 1e15:
        raise ValueError(text)
    return int(number) if number.is_integer() else number


def json_object(text: str) -> dict[str, Any]:
    """The object of a JSON text. Raises ValueError or TypeError."""
    told = orjson.loads(text)
    if not isinstance(told, dict):
        raise TypeError("no object")
    return told


def scaled(value: float, least: float, most: float) -> int:
    """A device's value in percent of the way from `least` to `most` (which may be the smaller one)."""
    return max(0, min(100, round((value - least) / (most - least) * 100)))


def unscaled(percent: float, least: float, most: float) -> int:
    """The device's value of a percentage."""
    if not 0 <= percent <= 100:
        raise ValueError(percent)
    return round(least + percent / 100 * (most - least))
