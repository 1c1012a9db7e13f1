"""Things that devices tell of in Home Assistant's MQTT discovery: one by one, or a whole device at once.

    homeassistant/<component>/[<node>/]<object>/config   {"name": "Lamp", "cmd_t": "~/set", "~": "lamp", "dev": {...}}
    homeassistant/device/[<node>/]<object>/config        {"dev": {...}, "o": {...}, "cmps": {"a": {"p": "light", ...}}}

An empty message removes what was told there. Nothing in a message is trusted.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.abbreviations import DEVICE_KEYS, KEYS
from gateway.home.platforms.components import COMPONENTS, drive
from gateway.home.platforms.drivers import MAX_PAYLOAD, BadDescription, without_nul
from gateway.home.platforms.following import Following
from gateway.home.registry import Registry
from gateway.home.things import Thing
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

PREFIX = "homeassistant"
FILTERS = (f"{PREFIX}/+/+/config", f"{PREFIX}/+/+/+/config")
OURSELVES = "ai-gateway"  # the origin's name of the gateway's own device
MAX_THINGS = 20_000
MAX_NAME = 200
MAX_COMPLAINTS = 1000  # topics whose mistakes are remembered, so that each is said once
ADDRESS = re.compile(rf"{PREFIX}/(\w+)/(?:([\w-]+)/)?([\w-]+)/config", re.ASCII)
# What components of a device have in common where they do not say otherwise.
SHARED = (
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "command_topic",
    "payload_available",
    "payload_not_available",
    "qos",
    "encoding",
    "state_topic",
)
# Components of Home Assistant's that are nothing to look at or to command here.
OTHERS = frozenset({"camera", "device_automation", "image", "notify", "tag", "update"})
# Letters that have no plain one inside them.
LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"})


@dataclass(frozen=True, slots=True)
class Description:
    """A thing as it is described: its component, its keys spelled out, the device that it is a part of."""

    component: str
    config: Mapping[str, Any]
    device: Mapping[str, Any]
    place: str  # of its topic: what it is called where it has no name that can be written

    @property
    def key(self) -> str:
        """What tells it from all others, at each start the same."""
        unique = self.config.get("unique_id")
        return (
            f"{self.component}/{unique}"
            if isinstance(unique, (str, int)) and unique != ""
            else f"{self.component}:{self.place}"
        )


class Discovery:
    """Keeps the registry's things of origin "discovery" as the devices describe them."""

    def __init__(
        self,
        link: Link,
        registry: Registry,
        now: Callable[[], datetime],
        *,
        ids: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`now` tells the time (aware). `ids`: what `given` was before the restart."""
        self._link = link
        self._registry = registry
        self._following = Following(link, registry, now)
        self._ids = dict(ids or {})
        self._taken = {thing_id: key for key, thing_id in self._ids.items()}
        self._described: dict[str, dict[str, Description]] = {}  # by topic, and a component's key in its device
        self._owners: dict[str, tuple[str, str]] = {}  # which of these describes a thing
        self._tellers: dict[str, dict[tuple[str, str], None]] = {}  # which of these have a key, the last told last
        self._complaints: set[str] = set()
        self.refused = 0  # messages that could not be used
        self._refused = (metrics or Metrics()).discovery_refused
        self.gave = 0  # how often `given` became another

    def open(self) -> None:
        """Begins to listen."""
        for topic in FILTERS:
            self._link.subscribe(topic, self._heard)

    def close(self) -> None:
        """Ends what waits."""
        for topic in FILTERS:
            self._link.unsubscribe(topic, self._heard)
        self._following.close()

    @property
    def given(self) -> dict[str, str]:
        """The ids of things that are there, or that were before the restart and were not heard of yet, by
        Description.key. Who keeps them keeps a thing's id over a restart also where two have the same name."""
        return {key: thing_id for key, thing_id in self._ids.items() if self._taken.get(thing_id) == key}

    def _heard(self, message: Message) -> None:
        found = ADDRESS.fullmatch(message.topic)
        if found is None or found[1] in OTHERS:
            return
        try:
            told = self._read(found, message.payload)
        except BadDescription as error:
            self._complain(message.topic, str(error))
            return
        before = self._described.pop(message.topic, {})
        kept: dict[str, Description] = {}
        self._described[message.topic] = kept
        named = {description.key for description in told.values()}
        for part, description in before.items():
            if description.key not in named:  # what comes in its place may have its id
                self._release(description.key, (message.topic, part))
        for part, description in told.items():
            try:
                self._take(description, (message.topic, part))
            except BadDescription as error:
                self._complain(message.topic, str(error))
                continue
            kept[part] = description
        if not kept:
            del self._described[message.topic]
        for part, description in before.items():
            if part not in kept or kept[part].key != description.key:
                self._release(description.key, (message.topic, part))

    def _read(self, found: re.Match[str], payload: bytes) -> dict[str, Description]:
        """What is described by a message, by the component's key in its device. Raises BadDescription."""
        component, node, name = found.groups()
        if not payload.strip():
            return {}
        if len(payload) > MAX_PAYLOAD:
            raise BadDescription(f"it is longer than {MAX_PAYLOAD // 1024} KiB")
        try:
            told = orjson.loads(without_nul(payload))
        except orjson.JSONDecodeError as error:
            raise BadDescription(f"it is no JSON ({error})") from error
        if not isinstance(told, dict):
            raise BadDescription("it is no JSON object")
        place = f"{node}_{name}" if node else name
        whole = described(component, told, place)
        origin = whole.config.get("origin")
        if isinstance(origin, Mapping) and origin.get("name") == OURSELVES:
            return {}
        if component == "device":
            return dict(self._parts(whole.config, whole.device, place))
        if component not in COMPONENTS:
            raise BadDescription(f"{component} is no component that is known here")
        return {"": replace(whole, config=based(whole.config))}

    @staticmethod
    def _parts(config: Mapping[str, Any], device: Mapping[str, Any], place: str) -> Iterator[tuple[str, Description]]:
        components = config.get("components")
        if not isinstance(components, dict):
            raise BadDescription("components is missing")
        shared = {key: config[key] for key in SHARED if key in config}
        for key, part in components.items():
            if not isinstance(part, dict):
                continue
            own = spelled_out(part)
            platform = own.pop("platform", None)
            if not isinstance(platform, str) or platform not in COMPONENTS or not own:
                continue  # nothing but its platform: it is removed
            base = {"~": config["~"]} if "~" in config else {}
            yield key, Description(platform, based({**base, **shared, **own}), device, f"{place}_{key}")

    def _release(self, key: str, place: tuple[str, str]) -> None:
        """What was described there is no more: the thing is as another still describes it, or gone."""
        tellers = self._tellers.get(key, {})
        tellers.pop(place, None)
        if not tellers:
            self._tellers.pop(key, None)
        thing_id = self._ids.get(key)
        if thing_id is None or self._taken.get(thing_id) != key or self._owners.get(thing_id) != place:
            return
        if tellers:
            topic, part = self._owners[thing_id] = next(reversed(tellers))
            self._following.follow(thing_of(self._described[topic][part], thing_id))
            return
        del self._owners[thing_id]
        del self._taken[thing_id]  # another may have it now
        self.gave += 1
        self._following.forget(thing_id)

    def _take(self, description: Description, owner: tuple[str, str]) -> None:
        """Takes a thing up. Raises BadDescription."""
        thing_id = self._ids.get(description.key)
        if thing_id is None or self._taken.get(thing_id, description.key) != description.key:
            thing_id = self._new_id(description)
        thing = thing_of(description, thing_id)
        if thing_id not in self._owners and len(self._owners) >= MAX_THINGS:
            raise BadDescription(f"there are {MAX_THINGS} things already")
        if len(self._ids) >= 2 * MAX_THINGS:  # things that came and went
            for key in [key for key, old in self._ids.items() if old not in self._owners]:
                self._taken.pop(self._ids.pop(key), None)
        if self._taken.get(thing_id) != description.key:
            self.gave += 1
        self._ids[description.key] = thing_id
        self._taken[thing_id] = description.key
        self._owners[thing_id] = owner
        tellers = self._tellers.setdefault(description.key, {})
        tellers.pop(owner, None)
        tellers[owner] = None
        self._following.follow(thing)

    def _new_id(self, description: Description) -> str:
        wanted = f"{description.component}.{object_of(description)}"
        thing_id, number = wanted, 1
        while self._taken.get(thing_id, description.key) != description.key:
            number += 1
            thing_id = f"{wanted}_{number}"
        return thing_id

    def _complain(self, topic: str, why: str) -> None:
        self.refused += 1
        self._refused.inc()
        if topic not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(topic)
            log.warning("MQTT discovery: %s cannot be used: %s", topic, why)


def described(component: str, told: Mapping[str, Any], place: str) -> Description:
    """What a message describes, with its keys spelled out; its base `~` stands yet (see `based`)."""
    config = spelled_out(told)
    device = config.get("device")
    return Description(component, config, spelled_out(device, DEVICE_KEYS) if isinstance(device, dict) else {}, place)


def thing_of(description: Description, thing_id: str, origin: str = "discovery") -> Thing:
    """The thing that is described, with its driver. Raises BadDescription."""
    driver, draft = drive(description.component, description.config)
    area = description.device.get("suggested_area")
    device = description.device.get("name")
    hidden = draft.text("entity_category") in {"config", "diagnostic"} or not draft.flag("enabled_by_default", True)
    return Thing(
        thing_id,
        name_of(description),
        origin,
        area=short(area) or None,
        device_class=draft.text("device_class") or None,
        unit=draft.text("unit_of_measurement") or None,
        device=short(device) or None,
        capabilities=frozenset(draft.capabilities),
        limits=draft.limits,
        options=draft.options,
        exposed=not hidden,
        driver=driver,
    )


def short(text: Any) -> str:
    """A text to be shown, on one line and of a bounded length; nothing where it is none."""
    return " ".join(text.split())[:MAX_NAME] if isinstance(text, str) else ""


def name_of(description: Description) -> str:
    """Its name as Home Assistant makes it: the device's, then its own."""
    device, own = short(description.device.get("name")), short(description.config.get("name"))
    if not own and "name" not in description.config:
        # Without a name it is called by what it measures; what it is alone would say little.
        own = short(description.config.get("device_class")).replace("_", " ").capitalize()
    if own.casefold().startswith(device.casefold()) or not device:
        return own or device or description.place
    return f"{device} {own}".strip()


def object_of(description: Description) -> str:
    """The second part of its id: the one that it asks for, or of its name."""
    for key in ("default_entity_id", "object_id"):
        wanted = description.config.get(key)
        if isinstance(wanted, str) and (slug := slug_of(wanted.rpartition(".")[2])):
            return slug
    return slug_of(name_of(description)) or slug_of(description.place) or "unnamed"


def slug_of(name: str) -> str:
    """A name of a-z, 0-9 and single underscores; nothing where no letter of it can be written so."""
    plain = unicodedata.normalize("NFKD", name.lower().translate(LETTERS))
    return re.sub(r"[^a-z0-9]+", "_", "".join(one for one in plain if not unicodedata.combining(one))).strip("_")[:100]


def spelled_out(told: Mapping[str, Any], keys: Mapping[str, str] = KEYS) -> dict[str, Any]:
    """The same with no key abbreviated, also in the parts that have keys of their own."""
    config = {keys.get(key, key): value for key, value in told.items()}
    listed = config.get("availability")
    if keys is KEYS and listed is not None:
        listed = listed if isinstance(listed, list) else [listed]
        config["availability"] = [spelled_out(one) if isinstance(one, dict) else one for one in listed]
    return config


def based(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with the base `~` put in where a topic begins or ends with it."""
    config = dict(config)
    base = config.pop("~", None)
    if not isinstance(base, str):
        return config

    def full(topic: Any) -> Any:
        if not isinstance(topic, str):
            return topic
        topic = base + topic[1:] if topic.startswith("~") else topic
        return topic[:-1] + base if topic.endswith("~") else topic

    for key, value in config.items():
        if key.endswith("topic"):
            config[key] = full(value)
    if isinstance(listed := config.get("availability"), list):  # which parts of a device may share
        config["availability"] = [
            {**one, "topic": full(one["topic"])} if isinstance(one, dict) and "topic" in one else one for one in listed
        ]
    return config
