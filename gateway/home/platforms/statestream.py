"""What Home Assistant's `mqtt_statestream` tells: the states of entities that the broker cannot move, to be looked at.

<base>/<domain>/<object>/state        on                  retained, without quotes
<base>/<domain>/<object>/<attribute>  "Kitchen lamp", 3   retained, JSON, where publish_attributes is set

What the gateway shows of itself in Home Assistant comes back this way, and is none of the home's things.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.drivers import without_nul
from gateway.home.presence import OUR_ENTITIES
from gateway.home.registry import Registry
from gateway.home.things import UNKNOWN, Condition, Thing

MOST_THINGS = 20_000
MOST_ATTRIBUTES = 64  # of one thing
LONGEST = 4096  # bytes of an attribute; longer ones (a forecast, a picture) are left out
LONGEST_STATE = LONGEST_ID = 255
_PART = re.compile("[a-z0-9_]+")
# Told of the thing itself, not of how it stands.
_OF_THE_THING = ("friendly_name", "device_class", "unit_of_measurement")
_TIMES = ("last_changed", "last_updated")
_COLORS = ("rgb_color", "hs_color", "xy_color")


class Statestream:
    """One stream: `open` begins to listen below its base topic and keeps `registry` as it says."""

    def __init__(self, link: Link, registry: Registry, base: str, now: Callable[[], datetime]) -> None:
        """`registry` is this one's alone (see `learning`). `now` is aware."""
        self._link = link
        self._registry = registry
        self._base = base
        self._now = now

    def open(self) -> None:
        """Listens from now on."""
        self._link.subscribe(f"{self._base}/+/+/+", self.heard)

    def heard(self, message: Message) -> None:
        """Takes in one message; what cannot be understood changes nothing."""
        domain, name, key = message.topic.removeprefix(f"{self._base}/").split("/")
        if not _PART.fullmatch(domain) or not _PART.fullmatch(name) or key == "config":
            return
        if name.startswith(OUR_ENTITIES):
            return
        thing_id = f"{domain}.{name}"
        if len(thing_id) > LONGEST_ID:
            return
        if key == "state":
            self._state(thing_id, message.payload)
        elif len(message.payload) <= LONGEST and message.payload:
            try:
                value = orjson.loads(without_nul(message.payload))
            except orjson.JSONDecodeError:
                return
            self._attribute(thing_id, key, value)

    def _state(self, thing_id: str, payload: bytes) -> None:
        state = payload.decode("utf-8", "replace").replace("\x00", "")[:LONGEST_STATE]
        if not state:
            self._registry.drop(thing_id)
            return
        thing = self._known(thing_id)
        if thing is None:
            return
        before, at = self._registry.condition(thing_id), self._now()
        if state == "unavailable":
            self._registry.saw(thing_id, replace(before, available=False, seen=at))
        else:
            self._registry.saw(thing_id, replace(before.told(at, state=state), available=True))

    def _attribute(self, thing_id: str, key: str, value: Any) -> None:
        thing = self._known(thing_id)
        if thing is None:
            return
        before, at = self._registry.condition(thing_id), self._now()
        if key in _OF_THE_THING:
            if isinstance(value, str) and value.strip():
                self._registry.put(_described(thing, key, value.strip()[:255]))
            if key != "unit_of_measurement":
                return
        if key in _TIMES:
            changed = _moment(value)
            if key == "last_changed" and changed is not None and changed <= at and before.state != UNKNOWN:
                self._registry.saw(thing_id, replace(before, changed=changed))
            return
        if key in before.attributes or len(before.attributes) < MOST_ATTRIBUTES:
            if key in _COLORS and isinstance(value, list):
                value = tuple(value)
            self._registry.saw(thing_id, _with(before, at, key, value))

    def _known(self, thing_id: str) -> Thing | None:
        """The thing, taken up where it was not known; None where there are too many."""
        thing = self._registry.things.get(thing_id)
        if thing is None and len(self._registry.things) < MOST_THINGS:
            thing = Thing(thing_id, thing_id.partition(".")[2].replace("_", " "), "statestream")
            self._registry.put(thing)
        return thing


def _described(thing: Thing, key: str, value: str) -> Thing:
    if key == "friendly_name":
        return replace(thing, name=value)
    return replace(thing, device_class=value) if key == "device_class" else replace(thing, unit=value)


def _with(before: Condition, at: datetime, key: str, value: Any) -> Condition:
    attributes = {name: kept for name, kept in before.attributes.items() if name != key}
    if value is not None:
        attributes[key] = value
    return replace(before, attributes=attributes, seen=at)


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
