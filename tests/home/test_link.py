"""The link to a real broker: what it promises while the broker comes and goes, hangs, forgets, and floods it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from gateway.config import MqttSettings
from gateway.errors import StartError, Unavailable
from gateway.home.line import Message
from gateway.home.link import STATUS_TOPIC, Link, client_id
from gateway.home.registry import Registry
from gateway.home.things import Condition, Thing
from gateway.metrics import Metrics
from gateway.tasks import end
from tests.mosquitto_server import NO_BROKER, Mosquitto, Wire, find_mosquitto

WAIT = 15.0  # how long a test waits for what must come

WORDS = (str(number).encode() for number in count())


class Heard:
    """What a handler was called with, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()

    def __call__(self, message: Message) -> None:
        self.queue.put_nowait(message)

    async def next(self) -> Message:
        return await asyncio.wait_for(self.queue.get(), WAIT)

    async def until(self, holds: Callable[[Message], bool]) -> list[Message]:
        """Everything up to the first message that `holds`."""
        came = [await self.next()]
        while not holds(came[-1]):
            came.append(await self.next())
        return came


def settings(url: str, **more: object) -> MqttSettings:
    return MqttSettings.model_validate({"url": SecretStr(url), **more})


@asynccontextmanager
async def other(broker: Mosquitto, *topics: str) -> AsyncIterator[tuple[aiomqtt.Client, Heard]]:
    """Another client of the broker, which listens to `topics`."""
    heard = Heard()
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:

        async def listen() -> None:
            async for message in client.messages:
                heard(Message(str(message.topic), bytes(message.payload), bool(message.retain)))

        task = asyncio.create_task(listen())
        try:
            for topic in topics:
                await client.subscribe(topic, qos=2)
            yield client, heard
        finally:
            await end(task)


async def settled(link: Link) -> None:
    """Waits until the link is up and what it asked for is in place: its own message came back."""
    heard, word = Heard(), next(WORDS)
    link.subscribe("probe/#", heard)
    async with asyncio.timeout(WAIT):
        await link.listening()
    link.publish("probe/here", word)
    await heard.until(lambda message: message.payload == word)
    link.unsubscribe("probe/#", heard)


async def away(link: Link) -> None:
    """Waits until the link knows that it is down."""
    async with asyncio.timeout(WAIT):
        while link.connected or link._home.connection is not None:
            await asyncio.sleep(0.01)


async def test_what_is_published_comes_back(broker: Mosquitto) -> None:
    heard = Heard()
    async with Link(settings(broker.url), "gateway-1") as link:
        link.subscribe("house/+/state", heard)
        link.publish("house/lamp/state", "ON", retain=True)
        message = await heard.next()
        assert (message.topic, message.payload) == ("house/lamp/state", b"ON")


async def test_it_says_that_it_is_here_and_that_it_goes(broker: Mosquitto) -> None:
    async with other(broker, STATUS_TOPIC) as (_, heard):
        async with Link(settings(broker.url), "gateway-1"):
            assert (await heard.next()).payload == b"online"
        assert (await heard.next()).payload == b"offline"
    async with other(broker, STATUS_TOPIC) as (_, heard):
        kept = await heard.next()
        assert (kept.payload, kept.retained) == (b"offline", True)


async def test_its_will_says_that_it_was_lost(broker: Mosquitto) -> None:
    async with (
        other(broker, STATUS_TOPIC) as (_, heard),
        Wire(broker) as wire,
        Link(settings(wire.url), "gateway-1"),
    ):
        assert (await heard.next()).payload == b"online"
        wire.lose(to_broker=True, to_client=True)
        assert (await heard.next()).payload == b"offline"
        wire.lose(to_broker=False, to_client=False)
        assert (await heard.next()).payload == b"online"


async def test_what_was_waiting_goes_out_before_the_end(broker: Mosquitto) -> None:
    async with other(broker, "house/#") as (_, heard):
        async with Link(settings(broker.url), "gateway-1") as link:
            await settled(link)
            for number in range(100):
                link.publish(f"house/{number}", "x")
        came = [await heard.next() for _ in range(100)]
        assert [message.topic for message in came] == [f"house/{number}" for number in range(100)]


async def test_a_subscription_that_is_confirmed_late_does_not_end_the_link(broker: Mosquitto) -> None:
    """In a flood the broker's word comes behind all the messages that it has under way."""
    heard, greeted = Heard(), 0

    async def greet() -> None:
        nonlocal greeted
        greeted += 1

    async with Link(settings(broker.url), "gateway-1") as link:
        link.greet(greet)
        await settled(link)
        connection = link._home.connection
        assert connection is not None
        connection.timeout = 0  # by when no answer of the broker's can be here
        link.subscribe("house/lamp/state", heard)
        link.unsubscribe("house/lamp/state", heard)
        await settled(link)
        link.subscribe("house/lamp/state", heard)
        link.publish("house/lamp/state", "ON", retain=True)
        assert (await heard.next()).payload == b"ON"
        assert link._home.connection is connection
        connection.timeout = 5
    assert greeted == 1


async def test_each_handler_hears_a_message_once_whatever_the_filters(broker: Mosquitto) -> None:
    handlers = {topic: Heard() for topic in ("house/lamp/state", "house/+/state", "house/#", "#", "house/other")}
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        for topic, heard in handlers.items():
            link.subscribe(topic, heard)
        await settled(link)
        await client.publish("house/lamp/state", "ON", qos=1)
        await client.publish("house/end/state", "x", qos=1)
        counts = {}
        for topic in ("house/+/state", "house/#", "#"):
            came = await handlers[topic].until(lambda message: message.topic == "house/end/state")
            counts[topic] = [message.topic for message in came].count("house/lamp/state")
        assert counts == {"house/+/state": 1, "house/#": 1, "#": 1}
        assert handlers["house/lamp/state"].queue.qsize() == 1
        assert handlers["house/other"].queue.empty()


async def test_a_handler_that_comes_late_hears_what_is_retained(broker: Mosquitto) -> None:
    first, second = Heard(), Heard()
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        await client.publish("house/lamp", "ON", qos=1, retain=True)
        link.subscribe("house/lamp", first)
        assert (await first.next()).retained
        link.subscribe("house/lamp", second)
        assert (await second.next()).retained


def test_one_handler_of_two_filters_is_called_once() -> None:
    heard = Heard()
    link = Link(settings("mqtt://127.0.0.1"), "nowhere")
    for topic in ("house/lamp", "house/+", "house/#"):
        link.subscribe(topic, heard)
    assert link._home._who_hears("house/lamp", ()) == [heard]


async def test_nothing_is_heard_after_unsubscribing(broker: Mosquitto) -> None:
    gone, there = Heard(), Heard()
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        for topic in ("house/lamp", "house/+"):
            link.subscribe(topic, gone)
        link.subscribe("house/#", there)
        await settled(link)
        for topic in ("house/lamp", "house/+"):
            link.unsubscribe(topic, gone)
        await client.publish("house/lamp", "ON", qos=1)
        await there.next()
        assert gone.queue.empty()


async def test_what_was_unsubscribed_while_away_is_left_at_the_broker(broker: Mosquitto) -> None:
    """Whose session outlives the connection."""
    gone, metrics = Heard(), Metrics()
    async with (
        other(broker) as (client, _),
        Wire(broker) as wire,
        Link(settings(wire.url), "gateway-1", metrics) as link,
    ):
        link.subscribe("house/lamp", gone)
        await settled(link)
        wire.cut()
        await away(link)
        link.unsubscribe("house/lamp", gone)
        await settled(link)
        before = metrics.registry.get_sample_value("gateway_mqtt_messages_total", {"direction": "in"})
        await client.publish("house/lamp", "ON", qos=1)
        await settled(link)
        after = metrics.registry.get_sample_value("gateway_mqtt_messages_total", {"direction": "in"})
        assert before is not None
        assert after == before + 1  # no more than the probe of `settled`


async def test_one_part_that_fails_does_not_keep_the_others_from_hearing(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Message) -> None:
        raise ValueError("no such thing")

    async def refuse() -> None:
        raise ValueError("no such thing")

    heard = Heard()
    async with Link(settings(broker.url), "gateway-1") as link:
        link.greet(refuse)
        link.subscribe("house/lamp", fail)
        link.subscribe("house/lamp", heard)
        await asyncio.wait_for(link.listening(), WAIT)
        for _ in range(2):
            link.publish("house/lamp", "ON")
            await heard.next()
    assert "a message on house/lamp was too much for one part" in caplog.text
    assert "a greeting failed" in caplog.text


async def test_an_answers_topic_and_correlation_arrive_and_are_given_back(broker: Mosquitto) -> None:
    heard = Heard()
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        link.subscribe("request", heard)
        link.subscribe("answers/1", heard)
        await settled(link)
        told = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        told.ResponseTopic, told.CorrelationData = "answers/1", b"\x00\x01"
        await client.publish("request", "?", qos=1, properties=told)
        request = await heard.next()
        assert (request.response_topic, request.correlation) == ("answers/1", b"\x00\x01")
        link.publish("answers/1", "!", correlation=request.correlation)
        assert (await heard.next()).correlation == b"\x00\x01"


@pytest.mark.parametrize("topic", ["", "a/#/b", "a+/b", "a\0b", "a" * 70_000, "a\udc80"])
async def test_a_topic_that_is_none_does_no_harm(broker: Mosquitto, topic: str) -> None:
    metrics, heard = Metrics(), Heard()
    async with Wire(broker) as wire, Link(settings(wire.url), "gateway-1", metrics) as link:
        link.subscribe(topic, heard)
        link.publish(topic, "x")
        link.subscribe("house/lamp", heard)
        await settled(link)
        with pytest.raises(Unavailable):
            await link.send(topic, "x")
        link.publish("house/lamp", "ON")
        assert (await heard.next()).topic == "house/lamp"
        assert wire.connections == 2
    assert metrics.registry.get_sample_value("gateway_mqtt_dropped_total") == 1


# --- a broker that comes and goes -----------------------------------------------------------------------------------


async def test_a_broker_that_is_restarted(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.home.line")
    metrics, heard, greeted = Metrics(), Heard(), asyncio.Semaphore(0)

    async def greet() -> None:
        greeted.release()

    async with Link(settings(broker.url), "gateway-1", metrics) as link:
        link.subscribe("house/lamp", heard)
        link.greet(greet)
        await settled(link)
        assert metrics.registry.get_sample_value("gateway_mqtt_connected") == 1
        await asyncio.wait_for(greeted.acquire(), WAIT)
        await broker.stop()
        await away(link)
        assert metrics.registry.get_sample_value("gateway_mqtt_connected") == 0
        with pytest.raises(Unavailable, match="MQTT_URL"):
            await link.check()
        await broker.start()
        await asyncio.wait_for(greeted.acquire(), 10)
        await asyncio.wait_for(link.listening(), WAIT)
        assert await link.check() is None
        async with other(broker) as (client, _):
            await client.publish("house/lamp", "ON", qos=1)
            await heard.next()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]


async def test_a_broker_replaced_by_an_empty_one(broker: Mosquitto) -> None:
    heard = Heard()
    async with Link(settings(broker.url), "gateway-1") as link:

        async def greet() -> None:
            link.publish("house/gateway/config", "{}", retain=True)

        link.greet(greet)
        link.subscribe("house/lamp", heard)
        await settled(link)
        await broker.stop()
        broker.forget()
        await away(link)
        await broker.start()
        async with other(broker, "house/+/config", STATUS_TOPIC) as (client, seen):
            told = {(await seen.next()).payload, (await seen.next()).payload}
            assert told == {b"online", b"{}"}
            await asyncio.wait_for(link.listening(), WAIT)
            await client.publish("house/lamp", "ON", qos=1)
            await heard.next()


async def test_a_connection_that_is_half_open(broker: Mosquitto) -> None:
    heard = Heard()
    async with Wire(broker) as wire, Link(settings(wire.url), "gateway-1") as link:
        link.subscribe("house/lamp", heard)
        await settled(link)
        wire.lose(to_broker=True, to_client=True)
        async with asyncio.timeout(10):
            await away(link)
        wire.lose(to_broker=False, to_client=False)
        async with other(broker) as (client, _):
            await client.publish("house/lamp", "ON", qos=1)
            async with asyncio.timeout(10):
                await heard.next()


async def test_a_broker_that_hangs_before_it_answers(broker: Mosquitto) -> None:
    broker.pause()
    try:
        async with Link(settings(broker.url), "gateway-1") as link:
            with pytest.raises(Unavailable, match="away"):
                await link.send("house/lamp/set", "ON")
            broker.resume()
            await settled(link)
    finally:
        broker.resume()


async def test_home_assistant_comes_back(broker: Mosquitto) -> None:
    greeted = asyncio.Semaphore(0)

    async def greet() -> None:
        greeted.release()

    link = Link(settings(broker.url), "gateway-1")
    link.greet(greet)
    async with link, other(broker) as (client, _):
        await settled(link)
        await asyncio.wait_for(greeted.acquire(), WAIT)
        await client.publish("homeassistant/status", "offline", qos=0)
        await client.publish("homeassistant/status", "online", qos=0)
        await asyncio.wait_for(greeted.acquire(), WAIT)
        await settled(link)
        assert greeted.locked()


async def test_home_assistant_that_was_there_before_is_greeted_once(broker: Mosquitto) -> None:
    greeted: list[str] = []
    heard = Heard()

    async def greet() -> None:
        greeted.append("hello")

    async with other(broker) as (client, _):
        await client.publish("homeassistant/status", "online", qos=1, retain=True)
    async with Link(settings(broker.url), "gateway-1") as link:
        link.greet(greet)
        await settled(link)
        link.subscribe("homeassistant/status", heard)  # so the broker tells it again
        assert (await heard.next()).retained
        await settled(link)
    assert greeted == ["hello"]


async def test_what_came_while_the_gateway_was_stopped_is_heard(broker: Mosquitto) -> None:
    async with Link(settings(broker.url), "gateway-1") as link:
        link.subscribe("house/+/bell", Heard())
        await settled(link)
    async with other(broker) as (client, _):
        await client.publish("house/door/bell", "ring", qos=1)
    heard = Heard()
    link = Link(settings(broker.url), "gateway-1")
    link.subscribe("house/+/bell", heard)
    async with link:
        assert (await heard.next()).payload == b"ring"


# --- what is published while it is away, or as it breaks ------------------------------------------------------------


async def test_while_away_the_newest_is_kept(broker: Mosquitto) -> None:
    metrics = Metrics()
    async with (
        other(broker, "house/#") as (_, heard),
        Link(settings(broker.url, buffer=10), "gateway-1", metrics) as link,
    ):
        # Nothing is awaited here, so it does not get to connect before.
        for number in range(5):
            link.publish("house/state", str(number), retain=True)
        for number in range(12):
            link.publish(f"house/{number}", "x")
        came = await heard.until(lambda message: message.topic == "house/11")
    # Of 1 + 12 the three oldest went, one of them the state, of which only the last was kept at all; and a fourth where
    # the gateway had to say first that it is here.
    assert [message.topic for message in came] == [f"house/{number}" for number in range(12)][-len(came) :]
    assert len(came) in (9, 10)
    assert metrics.registry.get_sample_value("gateway_mqtt_dropped_total") in (3, 4)


async def test_a_command_does_not_come_late(broker: Mosquitto) -> None:
    async with (
        other(broker, "house/#") as (_, heard),
        Wire(broker) as wire,
        Link(settings(wire.url), "gateway-1") as link,
    ):
        await settled(link)
        wire.lose(to_broker=True, to_client=True)
        with pytest.raises(Unavailable, match="did not take"):
            await link.send("house/lamp/set", "TOGGLE")
        wire.cut()
        await away(link)
        with pytest.raises(Unavailable, match="away"):
            await link.send("house/lamp/set", "TOGGLE")
        wire.lose(to_broker=False, to_client=False)
        await settled(link)
        await link.send("house/end", "x")
        assert [message.topic for message in await heard.until(lambda m: m.topic == "house/end")] == ["house/end"]


@pytest.mark.parametrize("lost", ["message", "confirmation"])
async def test_nothing_is_published_twice_by_a_break(broker: Mosquitto, lost: str) -> None:
    async with (
        other(broker, "house/#") as (_, heard),
        Wire(broker) as wire,
        Link(settings(wire.url), "gateway-1") as link,
    ):
        here = Heard()
        link.subscribe("probe", here)
        link.publish("probe", "x")
        await here.next()
        wire.lose(to_broker=lost == "message", to_client=True)
        for number in range(40):
            link.publish(f"house/{number}", "x")
        async with asyncio.timeout(WAIT):
            while (connection := link._ours.connection) is None or not connection.unconfirmed:
                await asyncio.sleep(0)
            if lost == "confirmation":
                await wire.swallowed.wait()
        wire.cut()
        await away(link)
        wire.lose(to_broker=False, to_client=False)
        link.publish("house/end", "x")
        came = await heard.until(lambda message: message.topic == "house/end")
    assert [message.topic for message in came] == [*(f"house/{number}" for number in range(40)), "house/end"]


@asynccontextmanager
async def breaking(broker: Mosquitto, version: int) -> AsyncIterator[tuple[Wire, Link, Heard]]:
    """A link over a wire that can be cut, with nothing on its way; and who hears all of the house."""
    async with other(broker, "house/#") as (_, heard), Wire(broker) as wire:
        if version == 3:
            wire.refuse_5(b"")
        async with Link(settings(wire.url), "gateway-1") as link:
            await settled(link)
            async with asyncio.timeout(WAIT):
                while (connection := link._ours.connection) is None or connection.unconfirmed or link._waiting:
                    await asyncio.sleep(0)
            yield wire, link, heard


@pytest.mark.parametrize("version", [5, 3])
@pytest.mark.parametrize("packet", [PacketTypes.PUBREC, PacketTypes.PUBCOMP])
async def test_what_the_broker_has_and_did_not_confirm_is_heard_once(
    broker: Mosquitto, version: int, packet: int
) -> None:
    """The connection ends once the message is with the broker, and in place of its first or second confirmation."""
    async with breaking(broker, version) as (wire, link, heard):
        wire.cut_before(packet)
        for number in range(3):
            link.publish(f"house/{number}", "x")
        await away(link)
        link.publish("house/end", "x")
        came = await heard.until(lambda message: message.topic == "house/end")
        assert [message.topic for message in came] == ["house/0", "house/1", "house/2", "house/end"]
        await asyncio.wait_for(link.listening(), WAIT)
        assert wire.connections == 4


@pytest.mark.parametrize("version", [5, 3])
async def test_a_command_whose_confirmation_is_lost_is_not_sent_again(broker: Mosquitto, version: int) -> None:
    async with breaking(broker, version) as (wire, link, heard):
        wire.cut_before(PacketTypes.PUBACK)
        with pytest.raises(Unavailable):
            await link.send("house/gate/set", "TOGGLE")
        assert (await heard.next()).topic == "house/gate/set"
        await away(link)
        link.publish("house/end", "x")
        assert (await heard.next()).topic == "house/end"
        await asyncio.wait_for(link.listening(), WAIT)
        assert wire.connections == 4


async def test_who_talks_is_there_though_its_answer_to_a_ping_is_late(broker: Mosquitto) -> None:
    """In a flood the answer stands behind all that the broker has to say."""
    heard = Heard()
    async with Wire(broker) as wire, Link(settings(wire.url), "gateway-1") as link, asyncio.timeout(WAIT):
        link.subscribe("house/#", heard)
        await settled(link)
        assert link._home._session is not None
        paho = link._home._session._client
        paho._ping_t = time.monotonic() - 60
        while paho._ping_t:
            link.publish("house/lamp", "on")
            await heard.next()
        assert wire.connections == 2


async def test_a_retained_state_arrives_though_its_confirmation_was_lost(broker: Mosquitto) -> None:
    async with (
        other(broker, "house/#") as (_, heard),
        Wire(broker) as wire,
        Link(settings(wire.url), "gateway-1") as link,
    ):
        await settled(link)
        wire.lose(to_broker=True, to_client=True)
        link.publish("house/state", "1", retain=True)
        await asyncio.sleep(0)
        wire.cut()
        await away(link)
        link.publish("house/state", "2", retain=True)
        wire.lose(to_broker=False, to_client=False)
        assert (await heard.until(lambda message: message.payload == b"2"))[-1].topic == "house/state"


# --- how it gets in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
async def test_a_broker_without_mqtt_5(broker: Mosquitto, answer: bytes) -> None:
    first, second = Heard(), Heard()
    async with Wire(broker) as wire:
        wire.refuse_5(answer)
        async with Link(settings(wire.url), "gateway-1") as link:
            link.subscribe("house/lamp", first)
            link.subscribe("house/+", second)
            await settled(link)
            wire.cut()
            await away(link)
            await settled(link)
            assert wire.connections == 4
            assert wire.refused == 2  # it is not asked for MQTT 5 again
            link.publish("house/lamp", "ON")
            assert (await first.next()).topic == (await second.next()).topic == "house/lamp"


async def test_user_and_password(tmp_path: Path) -> None:
    program = find_mosquitto()
    if program is None:
        pytest.skip(NO_BROKER)
    people = tmp_path / "people"
    # mosquitto_passwd's form: PBKDF2 of the password "open sesame/@"
    people.write_text(f"house:{_hashed('open sesame/@')}\n")
    people.chmod(0o600)
    lines = ("allow_anonymous false", f"password_file {people}")
    async with Mosquitto(program, tmp_path / "mosquitto", *lines) as broker:
        url = f"mqtt://house:open%20sesame%2F%40@127.0.0.1:{broker.port}"
        async with Link(settings(url), "gateway-1") as link:
            await settled(link)
        async with Link(settings(broker.url), "gateway-2") as link:
            async with asyncio.timeout(WAIT):
                while "uthori" not in await _failure(link):
                    await asyncio.sleep(0.01)


async def _failure(link: Link) -> str:
    try:
        await link.check()
    except Unavailable as error:
        return error.message
    return ""


def _hashed(password: str) -> str:
    import base64
    import hashlib

    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def certificates(folder: Path) -> None:
    """Makes, in `folder`, an authority (ca.pem) and by it a broker's and a gateway's certificate and key."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    own = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *own, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=home")
    for name in ("broker", "gateway"):
        openssl("req", *own, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *by, "-out", f"{name}.pem")


async def test_certificates(tmp_path: Path) -> None:
    program = find_mosquitto()
    if program is None:
        pytest.skip(NO_BROKER)
    certificates(tmp_path)
    lines = (
        f"cafile {tmp_path}/ca.pem",
        f"certfile {tmp_path}/broker.pem",
        f"keyfile {tmp_path}/broker.key",
        "require_certificate true",
    )
    ours = {"cert_file": f"{tmp_path}/gateway.pem", "key_file": f"{tmp_path}/gateway.key"}
    async with Mosquitto(program, tmp_path / "mosquitto", *lines, scheme="mqtts") as broker:
        heard = Heard()
        async with Link(settings(broker.url, ca_file=f"{tmp_path}/ca.pem", **ours), "gateway-1") as link:
            link.subscribe("house/#", heard)
            await settled(link)
            for number in range(200):
                link.publish(f"house/{number}", "x" * 1000)
            assert [(await heard.next()).topic for _ in range(200)] == [f"house/{number}" for number in range(200)]
        for more, words in (
            (ours, "certificate verify failed"),
            ({"ca_file": f"{tmp_path}/none.pem", **ours}, r"mqtt.ca_file is .*none.pem"),
            ({"ca_file": f"{tmp_path}/ca.pem", "cert_file": f"{tmp_path}/names"}, "mqtt.cert_file cannot be used"),
        ):
            async with Link(settings(broker.url, **more), "gateway-2") as link:
                async with asyncio.timeout(WAIT):
                    while "not reached yet" in await _failure(link):
                        await asyncio.sleep(0.01)
                with pytest.raises(Unavailable, match=words):
                    await link.check()


def test_the_client_id_is_the_data_folders_own(tmp_path: Path) -> None:
    first = client_id(tmp_path / "mqtt-client-id")
    assert client_id(tmp_path / "mqtt-client-id") == first
    assert client_id(tmp_path / "another") != first
    assert len(first) <= 23
    with pytest.raises(StartError, match="none/id cannot be kept"):
        client_id(tmp_path / "none" / "id")


async def test_no_retained_message_is_lost_at_the_start(tmp_path: Path) -> None:
    """With a broker as it comes, which queues a thousand for each client."""
    program = find_mosquitto()
    if program is None:
        pytest.skip(NO_BROKER)
    async with Mosquitto(program, tmp_path / "mosquitto", "max_queued_messages 1000") as broker:
        async with other(broker) as (client, _):
            client.pending_calls_threshold = 10_000
            for block in range(50):
                await asyncio.gather(
                    *(client.publish(f"house/{block}/{one}", "x" * 500, qos=1, retain=True) for one in range(50))
                )
        async with Wire(broker) as wire:
            for url in (broker.url, wire.url):
                wire.refuse_5(b"")
                heard = Heard()
                async with Link(settings(url), "gateway-1") as link:
                    link.subscribe("house/#", heard)
                    came = {(await heard.next()).topic for _ in range(2500)}
                assert len(came) == 2500


# --- a flood --------------------------------------------------------------------------------------------------------


async def test_after_a_flood_what_is_kept_is_asked_for_again(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.home.link.FLOOD", 20)
    heard = Heard()
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        await client.publish("house/lamp", "ON", qos=1, retain=True)
        link.subscribe("house/#", heard)
        assert (await heard.next()).retained
        # Until it is told again; a second may end amid them.
        async with flood(client):
            await heard.until(lambda message: message.topic == "house/flood/200")
        assert (await heard.until(lambda message: message.retained))[-1].topic == "house/lamp"


@asynccontextmanager
async def flood(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Publishes one message after another as long as the block runs."""
    over = False

    async def publish() -> None:
        for number in count():
            if over:
                return
            await client.publish(f"house/flood/{number}", "x", qos=1)

    task = asyncio.create_task(publish(), name="flood")
    try:
        yield
    finally:
        over = True  # it is not cancelled: aiomqtt may be so busy that it does not notice
        await task


async def test_after_a_flood_the_last_state_of_each_is_known(tmp_path: Path) -> None:
    """A broker as it comes, which drops what it cannot deliver in time."""
    program = find_mosquitto()
    if program is None:
        pytest.skip(NO_BROKER)
    things, rounds = 100, 200
    registry = Registry()

    def saw(message: Message) -> None:
        before = registry.condition(f"sensor.s{message.topic.rpartition('/')[2]}")
        registry.saw(
            f"sensor.s{message.topic.rpartition('/')[2]}",
            Condition(message.payload.decode(), before.attributes),
        )

    for number in range(things):
        registry.put(Thing(f"sensor.s{number}", f"Sensor {number}", "configured"))
    async with (
        Mosquitto(program, tmp_path / "mosquitto", "max_queued_messages 50") as broker,
        other(broker) as (client, _),
        Link(settings(broker.url), "gateway-1") as link,
    ):
        for number in range(things):
            link.subscribe(f"flood/{number}", saw)
        await settled(link)
        client.pending_calls_threshold = 10_000
        for number in range(rounds):
            await asyncio.gather(
                *(client.publish(f"flood/{one}", str(number), qos=1, retain=True) for one in range(things))
            )
        for one in range(things):
            last = await registry.until(f"sensor.s{one}", lambda now: now.state == str(rounds - 1), WAIT)
            assert last is not None, (one, registry.condition(f"sensor.s{one}"))


async def test_what_is_waited_for_in_a_flood_is_heard_at_once(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home's line has more to read than it can; what a command is answered by comes over our own."""
    monkeypatch.setattr("gateway.home.link.FLOOD", 20)
    lamp, all_lamps = Heard(), Heard()
    async with Link(settings(broker.url), "gateway-1") as link, other(broker) as (client, _):
        link.subscribe("house/lamp", lamp)
        link.subscribe("house/+", all_lamps)
        link.subscribe("house/flood/#", lambda message: None)
        await settled(link)
        await link.hear_now(["house/lamp"])
        assert "house/lamp" not in link._ours.topics  # it is calm
        async with flood(client):
            async with asyncio.timeout(WAIT):
                while "house/lamp" not in link._ours.topics:
                    await link.hear_now(["house/lamp"])
                    await asyncio.sleep(0.01)
            home = link._home.connection
            assert home is not None
            monkeypatch.setattr(home._client, "loop_read", lambda: None)  # it does not get to its messages
            await client.publish("house/lamp", "ON", qos=1)
            assert (await lamp.next()).payload == b"ON"
            assert (await all_lamps.next()).payload == b"ON"
            monkeypatch.undo()
        async with asyncio.timeout(WAIT):
            while "house/lamp" in link._ours.topics:
                await asyncio.sleep(0.01)
        await settled(link)
        await client.publish("house/lamp", "OFF", qos=1)
        assert (await lamp.next()).payload == b"OFF"  # once, though it came by both before
        assert (await all_lamps.next()).payload == b"OFF"
        assert lamp.queue.empty()
        assert all_lamps.queue.empty()
