"""A simulated house on a real broker: devices as Home Assistant's discovery and zigbee2mqtt describe them.

Each device takes commands in its own payloads, keeps its own state, and tells it. What it does with a command is its
`manner`: "prompt" answers at once, "slow" when the test lets it, "dead" never, "lying" tells again how it stood and
does nothing, "stubborn" does something else and tells so. `Device.truth` is how it really stands, in the words of
`Condition`; `House.commands` is everything that was sent to anything.
"""

from __future__ import annotations

import asyncio
import colorsys
import json
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

import aiomqtt

from gateway.home.link import Link, Message
from gateway.home.registry import Registry
from gateway.home.things import CannotDo, Condition, Order, Publication, Thing

Manner = Literal["prompt", "slow", "dead", "lying", "stubborn"]
Told = list[tuple[str, str]]


@dataclass
class Device:
    """One device. `config` is its discovery message; `driver` reads and commands it as that message says."""

    id: str
    name: str
    area: str | None = None
    floor: str | None = None
    device_class: str | None = None
    manner: Manner = "prompt"
    state: dict[str, Any] = field(default_factory=dict)
    capabilities: ClassVar[frozenset[str]] = frozenset()

    @property
    def domain(self) -> str:
        return self.id.partition(".")[0]

    @property
    def base(self) -> str:
        return "home/" + self.id.replace(".", "/")

    @property
    def config(self) -> dict[str, Any]:
        """The discovery message, in the single form."""
        told: dict[str, Any] = {
            "uniq_id": self.id.replace(".", "_"),
            "default_entity_id": self.id,
            "name": self.name,
            "~": self.base,
            "avty": [{"t": "~/availability"}],
        }
        if self.device_class is not None:
            told["dev_cla"] = self.device_class
        if self.area is not None:
            told["dev"] = {"ids": [self.id], "sa": self.area}
            told["name"] = self.name
        return told

    @property
    def driver(self) -> Any:
        raise NotImplementedError

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

    def thing(self) -> Thing:
        return Thing(
            self.id,
            self.name,
            "discovery",
            area=self.area,
            floor=self.floor,
            device_class=self.device_class,
            capabilities=self.capabilities,
            driver=self.driver,
        )


@dataclass(frozen=True)
class _Driver:
    """Reads and commands one kind of device by its base topic."""

    base: str

    @property
    def told(self) -> tuple[str, ...]:
        return (self.base,)

    @property
    def topics(self) -> tuple[str, ...]:
        return (*self.told, f"{self.base}/availability")

    def read(self, topic: str, payload: bytes, before: Condition, at: datetime) -> Condition:
        if topic == f"{self.base}/availability":
            return replace(before, available=payload == b"online", seen=at)
        return self.understand(topic.removeprefix(self.base).strip("/"), payload.decode(), before, at)

    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        return before.told(at, state=payload.lower())

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        raise CannotDo(f"no {order.action}")

    def on(self, part: str, payload: str) -> tuple[Publication, ...]:
        return (Publication(f"{self.base}/{part}", payload),)


@dataclass(frozen=True)
class _OnOff(_Driver):
    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action not in {"turn_on", "turn_off"} or order.values:
            raise CannotDo(f"no {order.action}")
        return self.on("set", "ON" if order.action == "turn_on" else "OFF")


class Switch(Device):
    """A switch that tells ON and OFF."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"stat_t": "~", "cmd_t": "~/set"}

    @property
    def driver(self) -> Any:
        return _OnOff(self.base)

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("state", "off"))

    def take(self, topic: str, payload: str) -> None:
        self.state["state"] = payload.lower()

    def tell(self) -> Told:
        return [(self.base, self.truth.state.upper())]


@dataclass(frozen=True)
class _JsonLight(_Driver):
    scale: int = 255

    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        told = json.loads(payload)
        attributes: dict[str, Any] = {}
        if "brightness" in told:
            attributes["brightness"] = round(told["brightness"] * 255 / self.scale)
        color = told.get("color", {})
        if "r" in color:
            attributes |= {"rgb_color": (color["r"], color["g"], color["b"])}
        if "hue" in color:
            attributes |= {"hs_color": (color["hue"], color["saturation"])}
        if "color_temp" in told:
            kelvin = told["color_temp"] if self.scale == 255 else round(1e6 / told["color_temp"])
            attributes["color_temp_kelvin"] = kelvin
        if "color_mode" in told:
            attributes["color_mode"] = told["color_mode"]
        return before.told(at, state=told["state"].lower(), **attributes)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action not in {"turn_on", "turn_off"}:
            raise CannotDo(f"no {order.action}")
        sent: dict[str, Any] = {"state": "ON" if order.action == "turn_on" else "OFF"}
        if "brightness" in order.values:
            sent["brightness"] = round(order.values["brightness"] * self.scale / 255)
        if "rgb_color" in order.values:
            sent["color"] = dict(zip("rgb", order.values["rgb_color"], strict=True))
        if "color_temp_kelvin" in order.values:
            kelvin = order.values["color_temp_kelvin"]
            sent["color_temp"] = kelvin if self.scale == 255 else round(1e6 / kelvin)
        return self.on("set", json.dumps(sent))


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
    def driver(self) -> Any:
        return _JsonLight(self.base, self.scale)

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
        return "zigbee2mqtt/" + self.id.partition(".")[2]

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


@dataclass(frozen=True)
class _Cover(_Driver):
    @property
    def told(self) -> tuple[str, ...]:
        return (f"{self.base}/state", f"{self.base}/position")

    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        if part == "position":
            return before.told(at, current_position=int(payload))
        return before.told(at, state=payload)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action == "set_position":
            return self.on("set_position", str(order.values["position"]))
        if order.action not in {"open", "close", "stop"}:
            raise CannotDo(f"no {order.action}")
        return self.on("set", order.action.upper())


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
    def driver(self) -> Any:
        return _Cover(self.base)

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


@dataclass(frozen=True)
class _Fan(_Driver):
    @property
    def told(self) -> tuple[str, ...]:
        return (f"{self.base}/state", f"{self.base}/speed")

    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        if part == "speed":
            return before.told(at, percentage=int(payload))
        return before.told(at, state=payload.lower())

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if "percentage" in order.values:
            return (*self.on("set", "ON"), *self.on("set_speed", str(order.values["percentage"])))
        if order.action not in {"turn_on", "turn_off"}:
            raise CannotDo(f"no {order.action}")
        return self.on("set", "ON" if order.action == "turn_on" else "OFF")


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
    def driver(self) -> Any:
        return _Fan(self.base)

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


@dataclass(frozen=True)
class _Climate(_Driver):
    @property
    def told(self) -> tuple[str, ...]:
        return (f"{self.base}/mode", f"{self.base}/temperature")

    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        if part == "temperature":
            return before.told(at, temperature=float(payload))
        return before.told(at, state=payload)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        match order.action:
            case "turn_on" | "turn_off":
                return self.on("mode/set", "heat" if order.action == "turn_on" else "off")
            case "set_mode":
                return self.on("mode/set", order.values["mode"])
            case "set_temperature":
                mode = self.on("mode/set", order.values["hvac_mode"]) if "hvac_mode" in order.values else ()
                degrees = order.values.get("temperature")
                return (*mode, *(self.on("temperature/set", str(degrees)) if degrees is not None else ()))
        raise CannotDo(f"no {order.action}")


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
    def driver(self) -> Any:
        return _Climate(self.base)

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


@dataclass(frozen=True)
class _Lock(_Driver):
    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action not in {"lock", "unlock"}:
            raise CannotDo(f"no {order.action}")
        return self.on("set", order.action.upper())


class Lock(Device):
    """A lock."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"stat_t": "~", "cmd_t": "~/set"}

    @property
    def driver(self) -> Any:
        return _Lock(self.base)

    @property
    def truth(self) -> Condition:
        return Condition(self.state.get("state", "locked"))

    def take(self, topic: str, payload: str) -> None:
        self.state["state"] = payload.lower() + "ed"

    def tell(self) -> Told:
        return [(self.base, self.truth.state.upper())]


@dataclass(frozen=True)
class _Media(_Driver):
    def understand(self, part: str, payload: str, before: Condition, at: datetime) -> Condition:
        told = json.loads(payload)
        return before.told(at, **told)

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action not in {"turn_on", "turn_off", "play", "pause", "next", "previous", "set_volume", "mute"}:
            raise CannotDo(f"no {order.action}")
        return self.on("set", json.dumps({"do": order.action, **order.values}))


class Media(Device):
    """A player that is told by `config/entities.yaml`: Home Assistant's discovery knows none."""

    @property
    def driver(self) -> Any:
        return _Media(self.base)

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


@dataclass(frozen=True)
class _Scene(_Driver):
    @property
    def told(self) -> tuple[str, ...]:
        return ()

    def command(self, order: Order, now: Condition) -> tuple[Publication, ...]:
        if order.action != "activate":
            raise CannotDo(f"no {order.action}")
        return self.on("set", "ON")


class Scene(Device):
    """A scene: it says nothing, ever. `state["times"]` counts how often it was activated."""

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"cmd_t": "~/set", "pl_on": "ON"}

    @property
    def driver(self) -> Any:
        return _Scene(self.base)

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
    def driver(self) -> Any:
        return _Driver(self.base)

    @property
    def commands(self) -> tuple[str, ...]:
        return ()

    @property
    def truth(self) -> Condition:
        return Condition(str(self.state.get("state", "20")))

    def tell(self) -> Told:
        return [(self.base, self.truth.state)]


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
    "binary_sensor": Sensor,
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
            add(Sensor, "binary_sensor", "Motion", number)
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
    """The devices' side of the broker. `async with` connects them and tells how they stand, retained."""

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
        await asyncio.gather(*(self.available(device.id, True) for device in self.devices.values()))
        await asyncio.gather(*(self.tell(device.id) for device in self.devices.values()))
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._client.__aexit__(None, None, None)

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


def move_in(registry: Registry, link: Link, devices: Iterable[Device]) -> None:
    """Makes the devices known, each read from its topics, as the discovery of what they announce does."""
    for device in devices:
        thing = device.thing()
        registry.put(thing)
        driver = thing.driver
        assert driver is not None
        for topic in driver.topics:
            link.subscribe(topic, _reader(registry, thing.id, driver))


def _reader(registry: Registry, thing_id: str, driver: Any) -> Any:
    def read(message: Message) -> None:
        before = registry.condition(thing_id)
        registry.saw(thing_id, driver.read(message.topic, message.payload, before, datetime.now(UTC)))

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
        abs(known.get(name, -99) - value) <= 2 if isinstance(value, (int, float)) else True
        for name, value in truth.attributes.items()
        if name not in {"color_temp_kelvin", "is_volume_muted"}
    )


async def settled(registry: Registry, devices: Iterable[Device]) -> None:
    """Waits until everything known of the devices is how they stand."""
    for device in devices:
        held = await registry.until(device.id, lambda now, device=device: agrees(device, now), 20)  # type: ignore[misc]
        assert held is not None, (device.id, device.truth, registry.condition(device.id))
