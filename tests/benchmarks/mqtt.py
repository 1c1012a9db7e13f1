"""What the link to the broker costs: `python -m tests.benchmarks.mqtt [--seconds 5] [--entities 2000]`.

Prints messages a second taken in (link and registry, against a bare paho subscriber), the time that a moment of the
gateway's loop takes with and without a flood, and how long the start takes with retained entities.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pydantic import SecretStr

from gateway.config import MqttSettings
from gateway.home.link import Link, Message
from gateway.home.registry import Registry
from gateway.home.things import Condition, Thing
from tests.mosquitto_server import NO_BROKER, Mosquitto, find_mosquitto

FLOOD = """
import sys
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

port, entities = int(sys.argv[1]), int(sys.argv[2])
client = Client(CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", port)
client.loop_start()
number = 0
while True:
    for entity in range(entities):
        client.publish(f"bench/{entity}", f'{{"state": "{number}"}}').wait_for_publish()
    number += 1
"""


class Flood:
    """Another process that publishes as fast as it can."""

    def __init__(self, port: int, entities: int) -> None:
        self._words = (sys.executable, "-c", FLOOD, str(port), str(entities))

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._words)

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


def bare(port: int, seconds: float) -> float:
    """Messages a second that paho alone takes in."""
    came = 0

    def count(*event: object) -> None:
        nonlocal came
        came += 1

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = count
    client.connect("127.0.0.1", port)
    client.subscribe("bench/#", qos=1)
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        client.loop(timeout=0.1)
    client.disconnect()
    return came / seconds


class Home:
    """A registry filled by the link."""

    def __init__(self, url: str, entities: int) -> None:
        self.registry = Registry()
        self.link = Link(MqttSettings(url=SecretStr(url)), "benchmark")
        self.came = 0
        for number in range(entities):
            self.registry.put(Thing(f"sensor.s{number}", f"Sensor {number}", "configured"))
            self.link.subscribe(f"bench/{number}", self._saw(f"sensor.s{number}"))

    def _saw(self, thing_id: str) -> Callable[[Message], None]:
        def saw(message: Message) -> None:
            self.came += 1
            self.registry.saw(thing_id, Condition(message.payload.decode()))

        return saw


async def moments(seconds: float) -> float:
    """The median time, in ms, of what a turn does to the loop: twenty rounds of it and a thread's answer."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.to_thread(threading.get_ident)
        taken.append(time.perf_counter() - started)
        await asyncio.sleep(0.01)
    return statistics.median(taken) * 1000


def memory() -> float:
    """The most that this process took so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(seconds: float, entities: int) -> None:
    program = find_mosquitto()
    if program is None:
        raise SystemExit(NO_BROKER)
    with tempfile.TemporaryDirectory() as folder:
        async with Mosquitto(program, Path(folder)) as broker:
            with Flood(broker.port, entities):
                alone = await asyncio.to_thread(bare, broker.port, seconds)
            home = Home(broker.url, entities)
            async with home.link:
                calm = await moments(seconds)
                with Flood(broker.port, entities):
                    await asyncio.sleep(1)  # the flood takes a moment to begin
                    before, home.came = memory(), 0
                    flooded = await moments(seconds)
                    taken = home.came / seconds
                    after = memory()
            print(f"taken in: {taken:,.0f} messages/s; a bare paho subscriber: {alone:,.0f}/s")
            print(f"twenty rounds of the loop, p50: {calm:.2f} ms; in a flood: {flooded:.2f} ms")
            print(f"memory at the most: {before:.0f} MB before, {after:.0f} MB after {seconds:g} s of it")

            keep = Client(CallbackAPIVersion.VERSION2)
            keep.connect("127.0.0.1", broker.port)
            keep.loop_start()
            for number in range(entities):
                keep.publish(f"bench/{number}", "kept", qos=1, retain=True).wait_for_publish()
            keep.disconnect()
            keep.loop_stop()
            home = Home(broker.url, entities)
            started = time.monotonic()
            async with home.link:
                for number in range(entities):
                    await home.registry.until(f"sensor.s{number}", lambda now: now.state == "kept", 60)
                print(f"start with {entities} retained entities: {time.monotonic() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="for each figure")
    parser.add_argument("--entities", type=int, default=2000)
    words = parser.parse_args()
    asyncio.run(measure(words.seconds, words.entities))


if __name__ == "__main__":
    main()
