"""Things that zigbee2mqtt tells of at `<base>/bridge/devices` and `/groups`: how they stand, and how they are moved.

    <base>/bridge/devices   [{"friendly_name": "kitchen/lamp", "definition": {"exposes": [...]}, ...}, ...]   retained
    <base>/kitchen/lamp     {"state": "ON", "brightness": 120, ...}
    <base>/kitchen/lamp/set {"state": "OFF"}
    <base>/kitchen/lamp/availability   {"state": "online"}, before 2.0 also plain: online                      retained

What a device has is in its `exposes`; their `access` says whether something is told (1), may be set (2), may be asked
for (4).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from gateway.home.colors import kelvin_of
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.discovery import slug_of
from gateway.home.platforms.following import Following
from gateway.home.platforms.zigbee2mqtt_drivers import (
    SET,
    TOLD,
    Climate,
    Cover,
    Fan,
    Feature,
    Features,
    Light,
    Lock,
    Scene,
    Single,
    Switch,
    Z2mDriver,
    feature_of,
    features_of,
    objects,
)
from gateway.home.registry import Registry
from gateway.home.things import Thing

log = logging.getLogger(__name__)

MOST_THINGS = 20_000
# Sensors by the name of what they expose: Home Assistant's class of the device.
CLASSES: Mapping[str, str] = {
    "temperature": "temperature", "device_temperature": "temperature", "soil_moisture": "moisture",
    "humidity": "humidity", "pressure": "pressure", "illuminance": "illuminance", "illuminance_lux": "illuminance",
    "battery": "battery", "battery_low": "battery", "power": "power", "energy": "energy", "voltage": "voltage",
    "current": "current", "co2": "carbon_dioxide", "co": "carbon_monoxide", "carbon_monoxide": "carbon_monoxide",
    "carbon_monoxide_alarm": "carbon_monoxide", "pm25": "pm25", "voc": "volatile_organic_compounds", "noise": "sound",
    "occupancy": "occupancy", "presence": "presence", "motion": "motion", "contact": "door", "water_leak": "moisture",
    "smoke": "smoke", "gas": "gas", "vibration": "vibration", "tamper": "tamper", "moving": "moving",
}  # fmt: skip
NOT_FOR_EARS = frozenset({"linkquality", "update", "update_available", "identify", "effect"})


def called(name: str, address: Any, *parts: str) -> str:
    """The second part of an id: of a device's name (of its address, where no letter of the name can be written so), and
    of a part of it."""
    return "_".join(filter(None, (slug_of(name) or slug_of(str(address)), *map(slug_of, parts)))) or "thing"


def spoken(name: str) -> str:
    """A device's name as people say it: `kitchen/desk_lamp` is the kitchen desk lamp."""
    return " ".join(re.split(r"[/_\s]+", name.strip("/_ "))) or name


# --- things -------------------------------------------------------------------------------------------------------


def things_of(base: str, device: Mapping[str, Any]) -> list[Thing]:
    """What a device of `bridge/devices` is, by what it exposes; empty where it cannot be used."""
    name, definition = device.get("friendly_name"), device.get("definition")
    if not isinstance(name, str) or not name or not isinstance(definition, dict):
        return []
    if device.get("disabled") is True or device.get("type") == "Coordinator":
        return []
    found = []
    for expose in objects(definition.get("exposes")):
        thing = _described(f"{base}/{name}", name, device.get("ieee_address"), expose)
        if thing is not None:
            found.append(thing)
    return found


def _described(topic: str, device: str, address: Any, expose: Mapping[str, Any]) -> Thing | None:
    kind, features = expose.get("type"), features_of(expose)
    endpoint = expose.get("endpoint")
    place = spoken(endpoint) if isinstance(endpoint, str) else ""
    name = " ".join(filter(None, (spoken(device), place)))
    thing_id = called(device, address, endpoint if isinstance(endpoint, str) else "")
    match kind:
        case "light":
            return light(thing_id, name, topic, features)
        case "switch" if "state" in features:
            return Thing(
                f"switch.{thing_id}",
                name,
                "zigbee2mqtt",
                device=device,
                capabilities=_able(features["state"].settable, "turn_on", "turn_off", "toggle"),
                driver=Switch(topic, features),
            )
        case "cover":
            return _cover(thing_id, name, topic, features)
        case "lock":
            able = _able("state" in features and features["state"].settable, "lock", "unlock")
            return Thing(
                f"lock.{thing_id}",
                name,
                "zigbee2mqtt",
                device=device,
                capabilities=able,
                driver=Lock(topic, features),
            )
        case "fan":
            return _fan(thing_id, name, topic, features)
        case "climate":
            return _climate(thing_id, name, topic, features)
        case "binary" | "numeric" | "enum" | "text":
            return _single(topic, device, address, expose)
    return None  # lists and composites: nothing that can be said or asked in a sentence


def light(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    """A light with those features."""
    can = {"turn_on", "turn_off", "toggle"}
    limits, options = {}, {}
    if "brightness" in features:
        can.add("brightness")
        limits["brightness"] = (0.0, 255.0)
    if (warmth := features.get("color_temp")) is not None:
        can.add("color_temp_kelvin")
        if warmth.least and warmth.most:
            limits["color_temp_kelvin"] = (float(kelvin_of(warmth.most)), float(kelvin_of(warmth.least)))
    if "color_xy" in features or "color_hs" in features:
        can |= {"color", "rgb_color", "hs_color"}
    if (effect := features.get("effect")) is not None:
        can.add("effect")
        options["effect"] = effect.values
    return Thing(
        f"light.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        limits=limits,
        options=options,
        driver=Light(topic, features),
    )


def _cover(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    can = {"open", "close", "toggle"}
    if "state" in features:
        can.add("stop")
    for feature, able in (("position", "set_position"), ("tilt", "set_tilt")):
        if feature in features:
            can.add(able)
    return Thing(
        f"cover.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        driver=Cover(topic, features),
    )


def _fan(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    driver = Fan(topic, features)
    can = {"turn_on", "turn_off", "toggle"}
    if driver.speeds or "speed" in features:
        can |= {"set_speed", "percentage"}
    options = {}
    if (mode := features.get("mode")) is not None:
        can.add("set_mode")
        options["mode"] = mode.values
    return Thing(
        f"fan.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        options=options,
        driver=driver,
    )


def _climate(thing_id: str, name: str, topic: str, features: Features) -> Thing:
    driver = Climate(topic, features)
    can, limits, options = {"temperature", "current_temperature"}, {}, {}
    wanted = features.get(driver.setpoint)
    if wanted is not None and wanted.settable:
        can.add("set_temperature")
        if wanted.least is not None and wanted.most is not None:
            limits["temperature"] = (wanted.least, wanted.most)
    for feature, actions in (("system_mode", ("set_mode", "turn_on", "turn_off")), ("fan_mode", ("set_fan_mode",))):
        if (one := features.get(feature)) is not None and one.settable:
            can |= set(actions)
            options["hvac_mode" if feature == "system_mode" else feature] = one.values
    return Thing(
        f"climate.{thing_id}",
        name,
        "zigbee2mqtt",
        device=name,
        capabilities=frozenset(can),
        limits=limits,
        options=options,
        driver=driver,
    )


def _single(topic: str, device: str, address: Any, expose: Mapping[str, Any]) -> Thing | None:
    one = feature_of(expose)
    if one is None or not one.access & (TOLD | SET):
        return None
    settable = one.settable
    domain, actions = {
        "binary": ("switch", ("turn_on", "turn_off", "toggle")) if settable else ("binary_sensor", ()),
        "numeric": ("number", ("set_value",)) if settable else ("sensor", ()),
        "enum": ("select", ("select",)) if settable else ("sensor", ()),
        "text": ("text", ("set_value",)) if settable else ("sensor", ()),
    }[one.kind]
    if one.name == "action":
        domain, actions = "event", ()
    limits = {"value": (one.least, one.most)} if one.least is not None and one.most is not None else {}
    return Thing(
        f"{domain}.{called(device, address, one.key)}",
        f"{spoken(device)} {spoken(one.key)}",
        "zigbee2mqtt",
        device_class=CLASSES.get(one.name),
        unit=one.unit,
        device=device,
        capabilities=frozenset(actions),
        limits=limits,
        options={"option": one.values} if domain == "select" else {},
        # What sets a device up, or tells of its radio, is not spoken of, as in Home Assistant.
        exposed=one.name not in NOT_FOR_EARS and expose.get("category") != "config",
        driver=Single(topic, {one.name: one}, domain),
    )


def _able(able: bool, *actions: str) -> frozenset[str]:
    return frozenset(actions if able else ())


def group_of(base: str, group: Mapping[str, Any], devices: Mapping[str, list[Thing]]) -> Iterator[Thing]:
    """What a group of `bridge/groups` is, of lights or of switches, and its scenes; `devices` are the things of each
    device's address.

    A group of lights can what one of its lights can: zigbee2mqtt tells each what it understands.
    """
    name, address = group.get("friendly_name"), group_address(group)
    if not isinstance(name, str) or not name:
        return
    topic, group_id = f"{base}/{name}", called(name, address)
    members = [
        next((thing for thing in devices.get(str(member.get("ieee_address")), ()) if _leads(thing)), None)
        for member in objects(group.get("members"))
    ]
    drivers = [thing.driver for thing in members if thing is not None]
    lights = [driver for driver in drivers if isinstance(driver, Light)]
    if lights and len(lights) == len(drivers):
        features = {
            key: replace(one, key=_PLAIN.get(one.name, one.name))
            for driver in lights
            for key, one in driver.features.items()
            if key != "effect"
        }
        yield light(group_id, spoken(name), topic, features)
    elif drivers and all(isinstance(driver, Switch) for driver in drivers):
        state = {"state": Feature("state", "state", "binary", TOLD | SET)}
        able = _able(True, "turn_on", "turn_off", "toggle")
        yield Thing(
            f"switch.{group_id}",
            spoken(name),
            "zigbee2mqtt",
            device=name,
            capabilities=able,
            driver=Switch(topic, state),
        )
    for scene in objects(group.get("scenes")):
        number, word = scene.get("id"), scene.get("name")
        if isinstance(number, int) and isinstance(word, str) and word:
            yield Thing(
                f"scene.{called(name, address, slug_of(word) or str(number))}",
                spoken(word),
                "zigbee2mqtt",
                device=name,
                capabilities=frozenset({"activate"}),
                driver=Scene(topic, number),
            )


def group_address(group: Mapping[str, Any]) -> str:
    """What tells a group from all others, as its address does a device."""
    return f"group_{group.get('id')}"


_PLAIN = {"color_xy": "color", "color_hs": "color"}


def _leads(thing: Thing) -> bool:
    return thing.domain in ("light", "switch") and isinstance(thing.driver, Light | Switch)


# --- the source ---------------------------------------------------------------------------------------------------


Owner = tuple[str, str, int]  # an address, the id that its thing would have, which of those that would have the same


class Ids:
    """The ids of a bridge's things. Of those that would have the same, each has its address in its own: an id must not
    pass to another thing because a third one is gone, or because they are told in another order. What is there keeps
    its id, whatever comes."""

    def __init__(self) -> None:
        self._given: dict[Owner, str] = {}

    @property
    def owners(self) -> dict[str, Owner]:
        """What the ids stand for."""
        return {thing_id: owner for owner, thing_id in self._given.items()}

    def give(self, told: Iterable[tuple[str, Thing]]) -> dict[str, Thing]:
        """The things by their ids, of those that are told of now, each with the address of its device or group."""
        things: dict[Owner, Thing] = {}
        count: Counter[tuple[str, str]] = Counter()
        for address, thing in told:
            count[address, thing.id] += 1
            if len(things) < MOST_THINGS:
                things[address, thing.id, count[address, thing.id]] = thing
        self._given = {owner: thing_id for owner, thing_id in self._given.items() if owner in things}
        taken = set(self._given.values())
        wanting = Counter(thing_id for _, thing_id in count)
        for owner in [one for one in things if one not in self._given]:
            address, wanted, _ = owner
            alone = wanting[wanted] == 1 and wanted not in taken
            base = thing_id = wanted if alone else f"{wanted}_{slug_of(address)}"
            number = 1
            while thing_id in taken:
                number += 1
                thing_id = f"{base}_{number}"
            taken.add(thing_id)
            self._given[owner] = thing_id
        return {self._given[owner]: replace(thing, id=self._given[owner]) for owner, thing in things.items()}


class Zigbee2Mqtt:
    """One zigbee2mqtt: `open` begins to listen below its base topic and keeps `registry` as it says."""

    def __init__(self, link: Link, registry: Registry, base: str, now: Callable[[], datetime]) -> None:
        """`registry` is this one's alone (see `learning`). `now` is aware."""
        self._link = link
        self._following = Following(link, registry, now)
        self._base = base
        self._devices: Any = []
        self._groups: Any = []
        self._ids = Ids()

    def open(self) -> None:
        """Listens from now on."""
        self._link.subscribe(f"{self._base}/bridge/devices", self._told_devices)
        self._link.subscribe(f"{self._base}/bridge/groups", self._told_groups)

    def _told_devices(self, message: Message) -> None:
        devices = self._list(message)
        if devices is not None:
            self._devices = devices
            self._describe()

    def _told_groups(self, message: Message) -> None:
        groups = self._list(message)
        if groups is not None:
            self._groups = groups
            self._describe()

    def _list(self, message: Message) -> list[Any] | None:
        try:
            told = orjson.loads(message.payload) if message.payload else []
        except orjson.JSONDecodeError:
            told = None
        if isinstance(told, list):
            return told
        log.warning("zigbee2mqtt: what it tells at %s cannot be read", message.topic)
        return None

    def _describe(self) -> None:
        """Takes up what is there now, and drops what is not."""
        by_address: dict[str, list[Thing]] = {}
        for device in objects(self._devices):
            by_address[str(device.get("ieee_address"))] = things_of(self._base, device)
        told = [(address, thing) for address, things in by_address.items() for thing in things]
        for group in objects(self._groups):
            told += ((group_address(group), thing) for thing in group_of(self._base, group, by_address))
        before = self._ids.owners
        found, owners = self._ids.give(told), self._ids.owners
        # All of them first: what one tells that is gone, another of the same name must not be told by what was kept.
        for thing_id in [thing_id for thing_id, owner in before.items() if owners.get(thing_id) != owner]:
            self._following.forget(thing_id)
        for thing in found.values():
            driver = thing.driver
            if isinstance(driver, Z2mDriver):
                driver = replace(driver, bridge=f"{self._base}/bridge/state")
            self._following.follow(replace(thing, driver=driver))
