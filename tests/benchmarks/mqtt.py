"""What the home over MQTT costs: `python -m tests.benchmarks.mqtt [--seconds 60] [--entities 2000]`.

A whole gateway with its own PostgreSQL, a real broker, and lamps that do at once what they are told. Prints the time
from an utterance to the command on the wire and from the lamp's own reply to the answer, messages a second taken in,
turns in a flood of --seconds, and the start with retained entities; each beside what a bare paho client does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle, product
from pathlib import Path
from statistics import median
from typing import Any, Self

import aiohttp
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from gateway.home.connection import RECEIVE_MAXIMUM, properties
from tests.benchmarks.__main__ import free_port, p99, resident, running
from tests.mosquitto_server import NO_BROKER, Mosquitto, find_mosquitto
from tests.scripted_model import Answer, ScriptedModel

PLACES = ("Oslo", "Lima", "Cairo", "Quito", "Dakar", "Hanoi", "Delhi", "Turin", "Malta", "Kyoto")
KINDS = ("lamp", "lantern", "candle", "chandelier", "beacon", "torch", "sconce", "globe", "tube", "strip")
PAUSE = 0.05  # seconds between two turns, as people leave them
CALM_SECONDS = 15.0
AS_IT_COMES = "max_queued_messages 1000"  # Mosquitto's own default; the tests' broker has more patience

FLOOD = """
import signal, sys
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

port, sensors, going = int(sys.argv[1]), int(sys.argv[2]), True

def stop(*event):
    global going
    going = False

signal.signal(signal.SIGTERM, stop)
client = Client(CallbackAPIVersion.VERSION2)
client.max_inflight_messages_set(200)
client.connect("127.0.0.1", port)
client.loop_start()
number = 0
while going:
    number += 1
    for sensor in range(sensors):
        last = client.publish(f"bench/sensor/{sensor}", str(number), qos=1, retain=True)
        if sensor % 100 == 99:
            last.wait_for_publish()
    last.wait_for_publish()
client.disconnect()
client.loop_stop()
"""


class Flood:
    """Another process that publishes as fast as the broker takes it, each sensor in turn, kept by the broker."""

    def __init__(self, port: int, sensors: int) -> None:
        self._words = (sys.executable, "-c", FLOOD, str(port), str(sensors))

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._words)

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


@dataclass(frozen=True)
class Done:
    """A command as the device saw it: which came, when, and when the device had its reply out."""

    topic: str
    at: float
    replied: float


class Devices:
    """The devices' side of the broker, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._client = client("devices", port)
        self._client.on_message = self._commanded
        self._client.subscribe("bench/+/+/set", qos=1)

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def keep(self, told: Mapping[str, str]) -> None:
        """Publishes messages that the broker keeps."""
        for sent in [self._client.publish(topic, payload, qos=1, retain=True) for topic, payload in told.items()]:
            sent.wait_for_publish()

    async def next(self) -> Done:
        """The next command that came."""
        return await asyncio.to_thread(self.done.get, True, 20)

    def _commanded(self, mqtt: Client, data: Any, message: MQTTMessage) -> None:
        at = time.perf_counter()
        mqtt.publish(message.topic.removesuffix("/set"), message.payload, qos=1, retain=True)
        self.done.put(Done(message.topic, at, time.perf_counter()))


def client(name: str, port: int) -> Client:
    """A bare paho client, connected, that sends what it has at once and takes as much as there is."""

    def at_once(mqtt: Client, data: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    made = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    made.on_socket_open = at_once
    much = properties(PacketTypes.CONNECT)
    much.ReceiveMaximum = RECEIVE_MAXIMUM
    made.connect("127.0.0.1", port, properties=much)
    return made


def lamps() -> dict[str, str]:
    """The topics of lamps by their names."""
    return {f"{place} {kind}": f"bench/lamp/{place}_{kind}".lower() for place, kind in product(PLACES, KINDS)}


def described(component: str, name: str, topic: str, **more: Any) -> dict[str, str]:
    """The discovery message of a thing."""
    unique = topic.replace("/", "_")
    config = {"name": name, "uniq_id": unique, "stat_t": topic, **more}
    return {f"homeassistant/{component}/{unique}/config": json.dumps(config)}


@dataclass
class Bench:
    """A gateway that runs, and who speaks to it."""

    http: aiohttp.ClientSession
    url: str
    process: asyncio.subprocess.Process
    devices: Devices

    async def say(self, text: str) -> str:
        """One turn. Returns the answer's words."""
        async with self.http.post(f"{self.url}/conversation", json={"text": text}) as response:
            body = await response.json()
            response.raise_for_status()
            return str(body["response"]["speech"]["plain"]["speech"])

    async def command(self, text: str) -> tuple[float, float, float]:
        """One turn that commands one lamp: ms to the command, from the lamp's reply to the answer, and altogether."""
        began = time.perf_counter()
        words = await self.say(text)
        ended = time.perf_counter()
        try:
            done = await self.devices.next()
        except queue.Empty:
            raise SystemExit(f"{text!r} moved nothing; the answer was {words!r}") from None
        return (done.at - began) * 1000, (ended - done.replied) * 1000, (ended - began) * 1000

    async def taken_in(self) -> float:
        """MQTT messages that came so far."""
        async with self.http.get(f"{self.url}/metrics") as response:
            for line in (await response.text()).splitlines():
                if line.startswith('gateway_mqtt_messages_total{direction="in"}'):
                    return float(line.split()[-1])
        raise RuntimeError("the gateway tells nothing of MQTT messages")

    async def states(self, domain: str) -> dict[str, str]:
        """How the things of a domain stand, by id."""
        async with self.http.get(f"{self.url}/home/entities", params={"domain": domain}) as response:
            return {one["id"]: one["state"] for one in (await response.json())["entities"]}

    async def until(self, domain: str, wanted: Mapping[str, str], seconds: float) -> int:
        """Waits until the things of the domain stand so. Returns how many did not in that time."""
        end = time.monotonic() + seconds
        while True:
            stand = await self.states(domain)
            wrong = sum(stand.get(thing_id) != state for thing_id, state in wanted.items())
            if not wrong or time.monotonic() > end:
                return wrong
            await asyncio.sleep(0.1)


def told(name: str, taken: Sequence[float]) -> None:
    """A row: p50 and p99, in ms."""
    print(f"{name:<58} {median(taken):>9.2f} {p99(taken):>9.2f}", flush=True)


async def bare(port: int, devices: Devices, times: int) -> None:
    """What paho alone takes for a command, and for the device's reply."""
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    mqtt = client("bare", port)
    mqtt.on_message = lambda *event: heard.put(time.perf_counter())
    mqtt.subscribe("bench/bare/one", qos=1)
    mqtt.loop_start()
    await asyncio.sleep(1)
    there, back = [], []
    for _ in range(times):
        began = time.perf_counter()
        mqtt.publish("bench/bare/one/set", '{"state":"ON"}', qos=1)
        done = await devices.next()
        there.append((done.at - began) * 1000)
        back.append((await asyncio.to_thread(heard.get, True, 20) - done.replied) * 1000)
        await asyncio.sleep(0.01)
    mqtt.disconnect()
    mqtt.loop_stop()
    told("a bare paho publish to the device", there)
    told("the device's reply to a bare paho subscriber", back)


async def commands(bench: Bench) -> None:
    """From the utterance to the wire, and from the reply to the answer: said for the first time, and again."""
    await bench.command("turn on the Oslo lamp")  # the house is made ready for recognition
    await bench.command("turn off the Oslo lamp")
    for time_said in ("first time", "again"):
        wire, answer, whole = [], [], []
        for word, name in product(("on", "off"), list(lamps())[1:]):
            sent, after, both = await bench.command(f"turn {word} the {name}")
            wire.append(sent)
            answer.append(after)
            whole.append(both)
            await asyncio.sleep(PAUSE)
        told(f"utterance to the command on the wire, said {time_said}", wire)
        told("    the device's reply to the answer", answer)
        told("    utterance to the answer", whole)


async def turns(bench: Bench, seconds: float, said: Iterator[str], asked: Iterator[str]) -> tuple[list[float], ...]:
    """Turns one after another: ms to a command on the wire, of the turns that command, and of those that ask the
    model."""
    wire, acting, asking = [], [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent, _, whole = await bench.command(next(said))
        wire.append(sent)
        acting.append(whole)
        await asyncio.sleep(PAUSE)
        began = time.perf_counter()
        await bench.say(next(asked))
        asking.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE)
    return wire, acting, asking


def rate(port: int, seconds: float) -> float:
    """Messages a second that paho alone takes in."""
    came = 0

    def take(*event: object) -> None:
        nonlocal came
        came += 1

    mqtt = client("taker", port)
    mqtt.on_message = take
    mqtt.subscribe("bench/sensor/+", qos=1)
    end = time.monotonic() + 1
    while time.monotonic() < end:  # what was kept, and the beginning
        mqtt.loop(timeout=0.1)
    came, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        mqtt.loop(timeout=0.1)
    mqtt.disconnect()
    return came / seconds


def kept(port: int, sensors: int) -> dict[str, str]:
    """The last message of every sensor, as the broker has it, by the sensor's id."""
    found: dict[str, str] = {}

    def take(mqtt: Client, data: Any, message: MQTTMessage) -> None:
        found[f"sensor.meter_{message.topic.rpartition('/')[2]}"] = message.payload.decode()

    mqtt = client("reader", port)
    mqtt.on_message = take
    mqtt.subscribe("bench/sensor/+", qos=1)
    while len(found) < sensors:
        mqtt.loop(timeout=0.1)
    mqtt.disconnect()
    return found


async def flooded(bench: Bench, port: int, sensors: int, seconds: float) -> None:
    """Turns without and with a flood, what is taken in, memory, and whether the last states are right."""
    commands = [f"turn {word} the {name}" for word, name in product(("on", "off"), lamps())]
    for text in commands:  # so that none is said for the first time, neither alone nor in the flood
        await bench.command(text)
    said = cycle(commands)
    asked = (f"What is {number} times seven?" for number in count())
    calm = await turns(bench, min(seconds, CALM_SECONDS), said, asked)
    with Flood(port, sensors):
        alone = await asyncio.to_thread(rate, port, min(seconds, CALM_SECONDS))
    behind = await bench.until("sensor", await asyncio.to_thread(kept, port, sensors), 300)
    if behind:
        raise SystemExit(f"{behind} sensors are still not as they were told, minutes after a flood")
    memory = [resident(bench.process.pid)]
    with Flood(port, sensors):
        await asyncio.sleep(1)
        before, began = await bench.taken_in(), time.monotonic()
        first = await turns(bench, seconds / 2, said, asked)
        memory.append(resident(bench.process.pid))
        second = await turns(bench, seconds / 2, said, asked)
        memory.append(resident(bench.process.pid))
        a_second = (await bench.taken_in() - before) / (time.monotonic() - began)
    ended = time.monotonic()
    wrong = await bench.until("sensor", await asyncio.to_thread(kept, port, sensors), 300)
    names = ("utterance to the command on the wire", "utterance to its answer", "a question to the model")
    for name, quiet, loud in zip(names, calm, (a + b for a, b in zip(first, second, strict=True)), strict=True):
        told(f"{name}, alone", quiet)
        told(f"    in a flood ({median(loud) / median(quiet):.2f} times)", loud)
    print(f"taken in: {a_second:,.0f} messages/s, with turns beside; a bare paho subscriber: {alone:,.0f}/s")
    print(f"memory: {memory[0]} MB before, {memory[1]} MB in the middle, {memory[2]} MB after {seconds:g} s of it")
    print(f"last states wrong: {wrong} of {sensors}, {time.monotonic() - ended:.1f} s after its end")


@asynccontextmanager
async def gateway(folder: Path, broker: Mosquitto, devices: Devices) -> AsyncIterator[tuple[Bench, float, float]]:
    """A gateway that answers; when it was started, and the seconds until it answered."""
    async with ScriptedModel() as model, aiohttp.ClientSession() as http:
        model.answer = lambda body: Answer("That is a number.")
        url = f"http://127.0.0.1:{free_port()}"
        environment = {
            "GATEWAY_DATA": str(folder / "data"),
            "GATEWAY_WYOMING_PORT": "0",
            "GATEWAY_PORT": url.rsplit(":", 1)[1],
            "OLLAMA_URL": model.url,
            "MQTT_URL": broker.url,
            "GATEWAY_LOG_LEVEL": "warning",
        }
        began = time.monotonic()
        async with running(http, ["gateway", "serve"], url, environment) as (process, seconds):
            yield Bench(http, url, process, devices), began, seconds


async def measure(seconds: float, entities: int) -> None:
    """Everything, in two starts of the gateway."""
    program = find_mosquitto()
    if program is None:
        raise SystemExit(NO_BROKER)
    sensors = entities - len(lamps())
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-mqtt-"))
    try:
        async with Mosquitto(program, folder / "broker", AS_IT_COMES) as broker:
            with Devices(broker.port) as devices:
                for name, topic in lamps().items():
                    devices.keep(described("light", name, topic, schema="json", cmd_t=f"{topic}/set"))
                    devices.keep({topic: '{"state":"OFF"}'})
                print(f"{'ms':<58} {'p50':>9} {'p99':>9}")
                await bare(broker.port, devices, 400)
                async with gateway(folder, broker, devices) as (bench, _, _):
                    ids = [f"light.{name.lower().replace(' ', '_')}" for name in lamps()]
                    if await bench.until("light", dict.fromkeys(ids, "off"), 20):
                        raise SystemExit("the lamps are not all known")
                    await commands(bench)
                for number in range(sensors):
                    topic = f"bench/sensor/{number}"
                    devices.keep(described("sensor", f"Meter {number}", topic) | {topic: "0"})
                async with gateway(folder, broker, devices) as (bench, began, until_ready):
                    wanted = {f"sensor.meter_{number}": "0" for number in range(sensors)}
                    missing = await bench.until("sensor", wanted, 60)
                    print(
                        f"start with {entities} retained entities: {until_ready:.1f} s until it answers, "
                        f"{time.monotonic() - began:.1f} s until all are known ({missing} missing)"
                    )
                    await flooded(bench, broker.port, sensors, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mqtt", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="of the flood")
    parser.add_argument("--entities", type=int, default=2000)
    words = parser.parse_args()
    asyncio.run(measure(words.seconds, words.entities))


if __name__ == "__main__":
    main()
