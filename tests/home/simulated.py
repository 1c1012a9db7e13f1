"""A simulated house on a real broker: devices that describe themselves, as Home Assistant's discovery or zigbee2mqtt.

The house tells what it is when it comes (`House`), and the gateway's own learning takes it up (`moved_in`). Each device
takes commands in its own payloads, keeps its own state, and tells it. What it does with a command is its `manner`:
"prompt" answers at once, "slow" when the test lets it, "dead" never, "lying" tells again how it stood and does nothing,
"stubborn" does something else and tells so. `Device.truth` is how it really stands, in the words of `Condition`;
`House.commands` is everything that was sent to anything.
"""

from __future__ import annotations

import asyncio
import colorsys
import json
import socket
import tempfile
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import aiomqtt
import yaml

from gateway.config import HomeSettings
from gateway.home.learning import Learning
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.platforms.discovery import based, described, thing_of
from gateway.home.platforms.zigbee2mqtt import things_of
from gateway.home.registry import Registry
from gateway.home.things import CannotDo, Condition, Order, Publication, Thing
from gateway.tasks import end

Manner = Literal["prompt", "slow", "dead", "lying", "stubborn"]
Told = list[tuple[str, str]]


@dataclass
class Device:
    """One device. `config` is what its discovery message says."""

    id: str
    name: str
    area: str | None = None
    floor: str | None = None
    device_class: str | None = None
    manner: Manner = "prompt"
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        return self.id.partition(".")[0]

    @property
    def base(self) -> str:
        return "home/" + self.id.replace(".", "/")

    @property
    def config(self) -> dict[str, Any]:
        """The discovery message, in the single form."""
        device: dict[str, Any] = {"ids": [self.id]}
        if self.area is not None:
            device["sa"] = self.area
        told: dict[str, Any] = {
            "uniq_id": self.id.replace(".", "_"),
            "default_entity_id": self.id,
            "name": self.name,
            "dev": device,
            "~": self.base,
            "avty": [{"t": "~/availability"}],
        }
        if self.device_class is not None:
            told["dev_cla"] = self.device_class
        return told

    def thing(self) -> Thing:
        """The thing that it is, once it is learned."""
        description = described(self.domain, self.config, self.id)
        thing = thing_of(replace(description, config=based(description.config)), self.id)
        return replace(thing, floor=self.floor)

    def announced(self) -> Told:
        """The messages that describe it."""
        config = self.config
        return [(f"homeassistant/{self.domain}/{config['uniq_id']}/config", json.dumps(config))]

    @property
    def commands(self) -> tuple[str, ...]:
        """The topics it listens to."""
        return (f"{self.base}/set",)

    @property
    def truth(self) -> Condition:
        """How it stands."""
        raise NotImplementedError

    def take(self, topic: str, payload: str) -> None:
        """Does what the message says."""
        raise NotImplementedError

    def tell(self) -> Told:
        """The messages that tell how it stands."""
        raise NotImplementedError


class Switch(Device):
    """A switch that tells ON and OFF."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"stat_t": "~", "cmd_t": "~/set"}

    def announced(self) -> Told:
        """In the form that describes a whole device at once."""
        config = self.config
        shared = {"dev": config.pop("dev"), "~": config.pop("~"), "avty": config.pop("avty")}
        whole = shared | {"o": {"name": "simulated"}, "cmps": {"relay": {"p": "switch"} | config}}
        return [(f"homeassistant/device/{config['uniq_id']}/config", json.dumps(whole))]

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("state", "off"))

    def take(self, topic: str, payload: str) -> None:
        self.state["state"] = payload.lower()

    def tell(self) -> Told:
        return [(self.base, self.truth.state.upper())]


class Light(Device):
    """A light of discovery's JSON schema, with brightness, colour and colour temperature."""

    scale: ClassVar[int] = 255

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {
            "schema": "json",
            "stat_t": "~",
            "cmd_t": "~/set",
            "brightness": True,
            "supported_color_modes": ["rgb", "color_temp"],
            "color_temp_kelvin": True,
        }

    @property
    def truth(self) -> Condition:
        told = {key: value for key, value in self.state.items() if key != "state"}
        return Condition(self.state.get("state", "off"), told)

    def take(self, topic: str, payload: str) -> None:
        wanted = json.loads(payload)
        self.state["state"] = wanted["state"].lower()
        if "brightness" in wanted:
            self.state["brightness"] = round(wanted["brightness"] * 255 / self.scale)
        if "color" in wanted:
            color = wanted["color"]
            self.state |= {"rgb_color": (color["r"], color["g"], color["b"]), "color_mode": "rgb"}
        if "color_temp" in wanted:
            kelvin = wanted["color_temp"] if self.scale == 255 else round(1e6 / wanted["color_temp"])
            self.state |= {"color_temp_kelvin": kelvin, "color_mode": "color_temp"}

    def tell(self) -> Told:
        told: dict[str, Any] = {"state": self.truth.state.upper()}
        if "brightness" in self.state:
            told["brightness"] = round(self.state["brightness"] * self.scale / 255)
        if "color_mode" in self.state:
            told["color_mode"] = self.state["color_mode"]
        if self.state.get("color_mode") == "rgb":
            told["color"] = dict(zip("rgb", self.state["rgb_color"], strict=True))
        if self.state.get("color_mode") == "color_temp":
            told["color_temp"] = self.state["color_temp_kelvin"]
        return [(self.base, json.dumps(told))]


class ZigbeeLight(Light):
    """A light as zigbee2mqtt tells it: brightness to 254, mired, hue and saturation."""

    scale = 254

    @property
    def base(self) -> str:
        return f"zigbee2mqtt/{self.name}"

    @property
    def config(self) -> dict[str, Any]:
        """The device as it stands in zigbee2mqtt's list."""
        features: list[dict[str, Any]] = [
            {"type": "binary", "name": "state", "value_on": "ON", "value_off": "OFF", "value_toggle": "TOGGLE"},
            {"type": "numeric", "name": "brightness", "value_min": 0, "value_max": 254},
            {"type": "numeric", "name": "color_temp", "value_min": 150, "value_max": 500, "unit": "mired"},
            {"type": "composite", "name": "color_hs", "property": "color", "features": []},
        ]
        exposed = [{"property": one["name"], "access": 7} | one for one in features]
        return {
            "ieee_address": f"0x{zlib.crc32(self.id.encode()):016x}",
            "type": "Router",
            "friendly_name": self.name,
            "definition": {"model": "S1", "vendor": "Simulated", "exposes": [{"type": "light", "features": exposed}]},
        }

    def thing(self) -> Thing:
        (thing,) = things_of("zigbee2mqtt", self.config)
        return replace(thing, area=self.area, floor=self.floor)

    def announced(self) -> Told:
        """Nothing: all of them stand in one list."""
        return []

    def tell(self) -> Told:
        told: dict[str, Any] = {"state": self.truth.state.upper(), "linkquality": 99}
        if "brightness" in self.state:
            told["brightness"] = round(self.state["brightness"] * 254 / 255)
        if self.state.get("color_mode") == "rgb":
            hue, saturation, _ = colorsys.rgb_to_hsv(*(part / 255 for part in self.state["rgb_color"]))
            told |= {"color": {"hue": round(hue * 360), "saturation": round(saturation * 100)}, "color_mode": "hs"}
        if self.state.get("color_mode") == "color_temp":
            told |= {"color_temp": round(1e6 / self.state["color_temp_kelvin"]), "color_mode": "color_temp"}
        return [(self.base, json.dumps(told))]


class Cover(Device):
    """A cover with a position. A prompt one is there at once."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {
            "stat_t": "~/state",
            "pos_t": "~/position",
            "cmd_t": "~/set",
            "set_pos_t": "~/set_position",
        }

    @property
    def commands(self) -> tuple[str, ...]:
        return (f"{self.base}/set", f"{self.base}/set_position")

    @property
    def truth(self) -> Condition:
        position = self.state.get("position", 0)
        state = self.state.get("state", "closed" if position == 0 else "open")
        return Condition(state, {"current_position": position})

    def take(self, topic: str, payload: str) -> None:
        self.state.pop("state", None)
        if topic.endswith("/set_position"):
            self.state["position"] = int(payload)
        elif payload in {"OPEN", "CLOSE"}:
            self.state["position"] = 100 if payload == "OPEN" else 0

    def tell(self) -> Told:
        truth = self.truth
        return [
            (f"{self.base}/position", str(truth.attributes["current_position"])),
            (f"{self.base}/state", truth.state),
        ]


class Fan(Device):
    """A fan with speeds in per cent."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {
            "stat_t": "~/state",
            "cmd_t": "~/set",
            "pct_stat_t": "~/speed",
            "pct_cmd_t": "~/set_speed",
        }

    @property
    def commands(self) -> tuple[str, ...]:
        return (f"{self.base}/set", f"{self.base}/set_speed")

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("state", "off"), {"percentage": self.state.get("percentage", 50)})

    def take(self, topic: str, payload: str) -> None:
        if topic.endswith("/set_speed"):
            self.state["percentage"] = int(payload)
        else:
            self.state["state"] = payload.lower()

    def tell(self) -> Told:
        truth = self.truth
        return [
            (f"{self.base}/speed", str(truth.attributes["percentage"])),
            (f"{self.base}/state", truth.state.upper()),
        ]


class Climate(Device):
    """A thermostat."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {
            "mode_stat_t": "~/mode",
            "mode_cmd_t": "~/mode/set",
            "temp_stat_t": "~/temperature",
            "temp_cmd_t": "~/temperature/set",
            "modes": ["off", "heat", "cool"],
            "min_temp": 0,
            "max_temp": 100,
        }

    @property
    def commands(self) -> tuple[str, ...]:
        return (f"{self.base}/mode/set", f"{self.base}/temperature/set")

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("mode", "heat"), {"temperature": self.state.get("temperature", 21.0)})

    def take(self, topic: str, payload: str) -> None:
        if topic.endswith("temperature/set"):
            self.state["temperature"] = float(payload)
        else:
            self.state["mode"] = payload

    def tell(self) -> Told:
        truth = self.truth
        return [(f"{self.base}/temperature", str(truth.attributes["temperature"])), (f"{self.base}/mode", truth.state)]


class Lock(Device):
    """A lock."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"stat_t": "~", "cmd_t": "~/set"}

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("state", "locked"))

    def take(self, topic: str, payload: str) -> None:
        self.state["state"] = payload.lower() + "ed"

    def tell(self) -> Told:
        return [(self.base, self.truth.state.upper())]


@dataclass(frozen=True)
class Player:
    """Reads and commands a player: nothing that describes itself over MQTT is one."""

    base: str

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.base, f"{self.base}/availability")

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        if topic == f"{self.base}/availability":
            return replace(before, available=payload == b"online", seen=at)
        return before.told(at, **json.loads(payload))

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action not in {"turn_on", "turn_off", "play", "pause", "next", "previous", "set_volume", "mute"}:
            raise CannotDo(f"no {order.action}")
        return (Publication(f"{self.base}/set", json.dumps({"do": order.action, **order.values})),)


class Media(Device):
    """A player. Home Assistant's discovery knows none, so it is put into the registry by hand."""

    def announced(self) -> Told:
        return []

    def thing(self) -> Thing:
        return Thing(
            self.id,
            self.name,
            "discovery",
            area=self.area,
            floor=self.floor,
            device_class=self.device_class,
            driver=Player(self.base),
        )

    @property
    def truth(self) -> Condition:
        told: dict[str, Any] = {"volume_level": 0.5, "media_title": "track 5"} | self.state
        return Condition(told.pop("state", "playing"), told)

    def take(self, topic: str, payload: str) -> None:
        wanted = json.loads(payload)
        match wanted["do"]:
            case "play" | "pause":
                self.state["state"] = {"play": "playing", "pause": "paused"}[wanted["do"]]
            case "turn_on" | "turn_off":
                self.state["state"] = wanted["do"].removeprefix("turn_")
            case "set_volume":
                self.state["volume_level"] = wanted["volume_level"]
            case "mute":
                self.state["is_volume_muted"] = True
            case "next" | "previous":
                number = int(self.truth.attributes["media_title"].split()[1])
                self.state["media_title"] = f"track {number + (1 if wanted['do'] == 'next' else -1)}"

    def tell(self) -> Told:
        truth = self.truth
        return [(self.base, json.dumps({"state": truth.state, **truth.attributes}))]


class Scene(Device):
    """A scene: it says nothing, ever. `state["times"]` counts how often it was activated."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"cmd_t": "~/set", "pl_on": "ON"}

    @property
    def truth(self) -> Condition:
        return Condition("unknown", {"times": self.state.get("times", 0)})

    def take(self, topic: str, payload: str) -> None:
        self.state["times"] = self.state.get("times", 0) + 1

    def tell(self) -> Told:
        return []


class Sensor(Device):
    """Something that is only looked at."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"stat_t": "~"}

    @property
    def commands(self) -> tuple[str, ...]:
        return ()

    @property
    def truth(self) -> Condition:
        return Condition(str(self.state.get("state", "20")))

    def tell(self) -> Told:
        return [(self.base, self.truth.state)]


class Contact(Sensor):
    """Something that is on or off, and only looked at."""

    @property
    def truth(self) -> Condition:
        return Condition(str(self.state.get("state", "off")))

    def tell(self) -> Told:
        return [(self.base, self.truth.state.upper())]


KINDS: dict[str, type[Device]] = {
    "light": Light,
    "switch": Switch,
    "cover": Cover,
    "fan": Fan,
    "climate": Climate,
    "lock": Lock,
    "media_player": Media,
    "scene": Scene,
    "sensor": Sensor,
    "binary_sensor": Contact,
}
ROOMS = (
    ("Kitchen", "Ground Floor"),
    ("Living Room", "Ground Floor"),
    ("Entrance", "Ground Floor"),
    ("Garage", "Ground Floor"),
    ("Bedroom", "Upstairs"),
    ("Guest Room", "Upstairs"),
    ("Bathroom", "Upstairs"),
    ("Office", "Upstairs"),
)


def whole_house() -> list[Device]:
    """Two hundred devices, twenty five in each of eight rooms."""
    devices: list[Device] = []
    for room, floor in ROOMS:
        slug = room.lower().replace(" ", "_")

        def add(
            kind: type[Device], domain: str, what: str, number: int, room: str = room, slug: str = slug, on: str = floor
        ) -> None:
            ident = f"{domain}.{slug}_{what.lower().replace(' ', '_')}_{number}"
            devices.append(kind(ident, f"{room} {what} {number}", room, on))

        for number in range(1, 5):
            add(Light, "light", "Lamp", number)
            add(ZigbeeLight, "light", "Spot", number)
            add(Sensor, "sensor", "Temperature", number)
        for number in range(1, 4):
            add(Switch, "switch", "Socket", number)
            add(Contact, "binary_sensor", "Motion", number)
        for number in range(1, 3):
            add(Cover, "cover", "Blind", number)
        for kind, domain, what in (
            (Fan, "fan", "Fan"),
            (Climate, "climate", "Thermostat"),
            (Lock, "lock", "Door"),
            (Media, "media_player", "Speaker"),
            (Scene, "scene", "Evening"),
        ):
            add(kind, domain, what, 1)
    return devices


class House:
    """The devices' side of the broker. `async with` connects them and tells what they are and how they stand."""

    def __init__(self, port: int, devices: Iterable[Device]) -> None:
        self.devices = {device.id: device for device in devices}
        self.commands: list[tuple[str, str]] = []  # the id of the one that was commanded, and the payload
        self.stood: list[tuple[str, Condition]] = []  # how anything stood, each time it was touched
        self.came = asyncio.Event()
        self._by_topic = {topic: device for device in self.devices.values() for topic in device.commands}
        self._held: dict[str, deque[tuple[str, str]]] = {}
        at_once = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = aiomqtt.Client("127.0.0.1", port, identifier="house", socket_options=[at_once])
        self._client.pending_calls_threshold = 10 * len(self.devices) + 100
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        if self._by_topic:
            await self._client.subscribe([(topic, 1) for topic in self._by_topic])
        self._task = asyncio.create_task(self._listen(), name="simulated house")
        await self.announce()
        await asyncio.gather(*(self.available(device.id, True) for device in self.devices.values()))
        await asyncio.gather(*(self.tell(device.id) for device in self.devices.values()))
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        await end(self._task)
        await self._client.__aexit__(None, None, None)
        if not self._task.cancelled():
            self._task.result()

    async def announce(self) -> None:
        """Tells what the devices are."""
        zigbee = [device.config for device in self.devices.values() if isinstance(device, ZigbeeLight)]
        told = [one for device in self.devices.values() for one in device.announced()]
        if zigbee:
            told += [("zigbee2mqtt/bridge/devices", json.dumps(zigbee)), ("zigbee2mqtt/bridge/state", "online")]
        await asyncio.gather(*(self._client.publish(topic, payload, qos=1, retain=True) for topic, payload in told))

    async def tell(self, device_id: str) -> None:
        """Lets the device tell how it stands."""
        self.stood.append((device_id, self.devices[device_id].truth))
        for topic, payload in self.devices[device_id].tell():
            await self._client.publish(topic, payload, qos=1, retain=True)

    async def available(self, device_id: str, there: bool) -> None:
        """Says for the device that it is there, or is not."""
        payload = "online" if there else "offline"
        await self._client.publish(f"{self.devices[device_id].base}/availability", payload, qos=1, retain=True)

    async def by_hand(self, device_id: str, **state: Any) -> None:
        """Somebody does something to the device where it stands."""
        self.devices[device_id].state.update(state)
        await self.tell(device_id)

    async def let(self, device_id: str) -> None:
        """Lets a slow device do what it was told, as far as it was told."""
        held = self._held.get(device_id, deque())
        while held:
            await self._do(self.devices[device_id], *held.popleft())

    async def until_commanded(self, times: int) -> None:
        """Waits until that many commands came, to anything, since the beginning."""
        while len(self.commands) < times:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 20)

    async def _listen(self) -> None:
        async for message in self._client.messages:
            topic = str(message.topic)
            device = self._by_topic.get(topic)
            if device is None or message.retain:
                continue
            payload = bytes(message.payload).decode()
            self.commands.append((device.id, payload))
            self.came.set()
            match device.manner:
                case "prompt":
                    await self._do(device, topic, payload)
                case "slow":
                    self._held.setdefault(device.id, deque()).append((topic, payload))
                case "lying":
                    await self.tell(device.id)
                case "stubborn":
                    await self._refuse(device)
                case "dead":
                    pass

    async def _do(self, device: Device, topic: str, payload: str) -> None:
        device.take(topic, payload)
        await self.tell(device.id)

    async def _refuse(self, device: Device) -> None:
        """Something happens, but not what was asked for."""
        device.state |= {"state": "on", "brightness": 7} if isinstance(device, Light) else {"state": "stuck"}
        await self.tell(device.id)


@asynccontextmanager
async def moved_in(registry: Registry, link: Link, devices: Sequence[Device]) -> AsyncIterator[Learning]:
    """Learns the devices from what they tell of themselves. What none of these messages can tell the household says in
    its file: the floors of the areas, the areas of zigbee2mqtt's devices. Players are put in by hand."""
    floors: dict[str, list[str]] = {}
    for device in devices:
        if device.area is not None and device.floor is not None and device.area not in floors.get(device.floor, ()):
            floors.setdefault(device.floor, []).append(device.area)
    areas = {one.id: {"area": one.area} for one in devices if isinstance(one, ZigbeeLight) and one.area is not None}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "entities.yaml"
        file.write_text(yaml.safe_dump({"floors": floors, "entities": areas}), encoding="utf-8")
        for device in devices:
            if isinstance(device, Media):
                thing = device.thing()
                registry.put(thing)
                for topic in Player(device.base).topics:
                    link.subscribe(topic, _reader(registry, thing.id, Player(device.base)))
        async with Learning(link, registry, HomeSettings(entities_file=file), lambda: datetime.now(UTC)) as learning:
            yield learning


def _reader(registry: Registry, thing_id: str, player: Player) -> Callable[[Message], None]:
    def read(message: Message) -> None:
        before = registry.condition(thing_id)
        registry.saw(thing_id, player.read(message.topic, message.payload, before, datetime.now(UTC)))

    return read


def agrees(device: Device, condition: Condition) -> bool:
    """Whether what is known of the device is how it stands."""
    truth = device.truth
    if isinstance(device, Scene):
        return True
    if condition.state != truth.state:
        return False
    known = condition.attributes
    return all(
        abs(known.get(name, -99) - value) <= 2
        for name, value in truth.attributes.items()
        if isinstance(value, (int, float)) and name not in {"color_temp_kelvin", "is_volume_muted"}
    ) and (truth.attributes.get("color_mode") != "rgb" or _alike(truth.attributes["rgb_color"], known.get("rgb_color")))


def _alike(one: Any, other: Any) -> bool:
    """Whether both are the same colour, however bright: zigbee2mqtt tells hue and saturation alone."""
    if other is None:
        return False
    return all(abs(a / max(one) - b / max(other)) < 0.02 for a, b in zip(one, other, strict=True))


async def settled(registry: Registry, devices: Iterable[Device]) -> None:
    """Waits until all the devices are known, and everything known of them is how they stand."""
    for device in devices:

        def holds(now: Condition, device: Device = device) -> bool:
            return device.id in registry.things and agrees(device, now)

        held = await registry.until(device.id, holds, 20)
        assert held is not None, (device.id, device.truth, registry.condition(device.id))


async def reachable(registry: Registry, devices: Iterable[Device]) -> None:
    """Waits until all the devices have said that they are there."""
    for device in devices:
        assert await registry.until(device.id, lambda now: now.available is True, 20) is not None, device.id
