"""Turns, memories and feedback by MQTT, over a real broker and through the whole gateway."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from gateway.app import open_gateway
from gateway.config import MqttSettings, Settings
from gateway.edge import keys
from gateway.edge.mqtt import MAX_BYTES, MqttEdge
from gateway.home.link import Link
from gateway.tasks import end
from tests.house import House
from tests.mosquitto_server import Mosquitto
from tests.scripted_model import Answer, ScriptedModel

REQUEST, RESPONSE = "ai-gateway/turn/request", "ai-gateway/turn/response"
ERROR = "ai-gateway/error"
SECONDS = 20


@pytest.fixture
def settings(settings: Settings, broker: Mosquitto) -> Settings:
    return settings.model_copy(update={"mqtt": MqttSettings(url=SecretStr(broker.url), turns=3)})


class Speaker:
    """A client of the broker that hears all that the gateway says."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._heard: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()

    async def listen(self) -> None:
        async for message in self._client.messages:
            self._heard.put_nowait(message)

    async def say(
        self,
        topic: str,
        payload: object,
        *,
        respond_to: str | None = None,
        correlation: bytes | None = None,
        retain: bool = False,
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if respond_to is not None:
            properties.ResponseTopic = respond_to
        if correlation is not None:
            properties.CorrelationData = correlation
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self._client.publish(topic, data, qos=1, retain=retain, properties=properties)

    async def hears(self, topic: str) -> tuple[aiomqtt.Message, dict[str, Any]]:
        """The next message; it has to be on that topic (or below it, where it ends with a slash; "": any)."""
        message = await asyncio.wait_for(self._heard.get(), SECONDS)
        said = str(message.topic)
        assert said.startswith(topic) if not topic or topic.endswith("/") else said == topic, (said, message.payload)
        assert isinstance(message.payload, bytes)
        body: dict[str, Any] = json.loads(message.payload)
        return message, body

    async def asks(self, text: str, **more: Any) -> dict[str, Any]:
        """One turn, by the plainest of ways."""
        await self.say(REQUEST, {"text": text, **more})
        _, body = await self.hears(f"{RESPONSE}/")
        return body


@asynccontextmanager
async def speaking(broker: Mosquitto) -> AsyncIterator[Speaker]:
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        speaker = Speaker(client)
        for topic in (f"{RESPONSE}/#", "answers/#", ERROR):
            await client.subscribe(topic, qos=1)
        listening = asyncio.create_task(speaker.listen())
        try:
            yield speaker
        finally:
            await end(listening)


async def until_heard(link: Link | None) -> None:
    """Returns when the gateway hears what is published."""
    assert link is not None
    async with asyncio.timeout(SECONDS):
        await link.listening()


@pytest.fixture
async def speaker(house: House, broker: Mosquitto) -> AsyncIterator[Speaker]:
    await until_heard(house.gateway.application[keys.LINK])
    async with speaking(broker) as speaker:
        yield speaker


@pytest.fixture
async def token(house: House) -> str:
    await house.admin.execute(
        "INSERT INTO members (household_id, name, token_hash) VALUES ($1, 'Ada', $2)",
        house.gateway.household_id,
        hashlib.sha256(b"ada-token").digest(),
    )
    return "ada-token"


async def test_a_question_is_answered_on_a_topic_with_its_id(house: House, speaker: Speaker) -> None:
    house.model.script(Answer("Paris", "."))
    await speaker.say(REQUEST, {"text": "What is the capital of France?", "id": "one", "area": "Kitchen"})
    _, body = await speaker.hears(f"{RESPONSE}/one")
    assert (body["id"], body["speech"], body["language"], body["error"]) == ("one", "Paris.", "en", None)
    assert body["cache"] == "miss"
    user, assistant = await house.logged()
    assert (user["content"], assistant["content"]) == ("What is the capital of France?", "Paris.")
    assert body["interaction_id"] == f"conv_{user['turn_id']}"
    assert user["metadata"]["edge"] == "mqtt"
    assert user["metadata"]["area"] == "Kitchen"
    # The household's own system text, as at every edge whose clients bring none.
    assert "voice assistant" in house.model.chats[-1]["messages"][0]["content"]


async def test_an_answer_goes_to_the_response_topic_with_its_correlation_data(speaker: Speaker) -> None:
    await speaker.say(REQUEST, {"text": "Who wrote Hamlet?"}, respond_to="answers/me", correlation=b"\x00\xff7")
    message, body = await speaker.hears("answers/me")
    assert getattr(message.properties, "CorrelationData", None) == b"\x00\xff7"
    assert body["speech"].endswith("Who wrote Hamlet?")


async def test_without_an_id_the_turns_own_names_the_topic(speaker: Speaker) -> None:
    await speaker.say(REQUEST, {"text": "Who wrote Hamlet?"})
    message, body = await speaker.hears(f"{RESPONSE}/")
    assert body["interaction_id"] == "conv_" + str(message.topic).rsplit("/", 1)[1]


async def test_a_conversation_goes_on_in_its_language(house: House, speaker: Speaker) -> None:
    first = await speaker.asks("Kto napisał Hamleta?", language="pl")
    assert first["language"] == "pl"
    await speaker.asks("A kiedy?", conversation_id=first["conversation_id"])
    said = [message["content"] for message in house.model.chats[-1]["messages"]]
    assert "Kto napisał Hamleta?" in said


async def test_a_model_that_fails_is_told_in_words_and_by_its_code(house: House, speaker: Speaker) -> None:
    house.model.script(Answer(status=500, error="out of memory"))
    body = await speaker.asks("Who wrote Hamlet?")
    assert body["speech"] == "My language model could not answer that."
    assert body["error"]["code"] == "model_refused"


MALFORMED: list[tuple[str, bytes, str | None]] = [
    (REQUEST, b"", None),
    (REQUEST, b"\xff\xfe", None),
    (REQUEST, b"what time is it", None),
    (REQUEST, b"[]", None),
    (REQUEST, b"{}", "text"),
    (REQUEST, b'{"text": " "}', "text"),
    (REQUEST, b'{"text": 7}', "text"),
    (REQUEST, b'{"text": "hi", "lamp": 1}', "lamp"),
    (REQUEST, b'{"text": "hi", "id": "a/b"}', "id"),
    (REQUEST, b'{"text": "hi", "id": "+"}', "id"),
    (REQUEST, b'{"text": "hi", "language": "the king\'s"}', "language"),
    (REQUEST, b'{"text": "' + b"x" * 9000 + b'"}', "text"),
    (REQUEST, b"x" * (MAX_BYTES + 1), None),
    (REQUEST, b'{"text": "hi"}' + b" " * MAX_BYTES, None),
    (REQUEST, b"[" * 5000, None),
    ("ai-gateway/remember", b"{}", "content"),
    ("ai-gateway/remember", b'{"content": "x", "tags": "y"}', "tags"),
    ("ai-gateway/feedback", b'{"interaction_id": "conv_1", "score": 9}', "score"),
    ("ai-gateway/feedback", b'{"interaction_id": "conv_1", "score": 5}', "interaction_id"),
]


async def test_what_makes_no_sense_is_answered_by_an_error_and_counted(house: House, speaker: Speaker) -> None:
    for topic, payload, field in MALFORMED:
        await speaker.say(topic, payload)
        _, body = await speaker.hears(ERROR)
        assert body["topic"] == topic
        assert (body["field"] or "").split(".")[0] == (field or ""), (payload[:60], body)
        assert body["error"]
        assert body["code"] in ("bad_request", "too_large", "not_found")
    async with house.client.get("/metrics") as response:
        figures = await response.text()
    counted = sum(
        float(line.rsplit(" ", 1)[1]) for line in figures.splitlines() if line.startswith("gateway_mqtt_refused_total")
    )
    assert counted == len(MALFORMED)
    assert (await speaker.asks("Who wrote Hamlet?"))["error"] is None  # and it goes on


async def test_an_error_is_also_told_to_whoever_waits_for_the_answer(speaker: Speaker) -> None:
    await speaker.say(REQUEST, {"text": ""}, respond_to="answers/me", correlation=b"7")
    assert (await speaker.hears(ERROR))[1]["field"] == "text"
    message, body = await speaker.hears("answers/me")
    assert body["error"]["code"] == "bad_request"
    assert getattr(message.properties, "CorrelationData", None) == b"7"


@pytest.mark.parametrize("topic", ["ai-gateway/remember", "ai-gateway/turn/request", "$SYS/broker"])
async def test_an_answer_is_no_command_to_the_gateway(house: House, speaker: Speaker, topic: str) -> None:
    await speaker.say(REQUEST, {"text": "Who wrote Hamlet?"}, respond_to=topic)
    assert (await speaker.hears(ERROR))[1]["field"] == "response_topic"
    assert house.model.chats == []


async def test_the_same_request_twice_is_answered_once(house: House, speaker: Speaker) -> None:
    for _ in range(2):
        await speaker.say(REQUEST, {"text": "Who wrote Hamlet?", "id": "one"})
    for _ in range(2):
        await speaker.say(REQUEST, {"text": "Who wrote Faust?"}, respond_to="answers/me", correlation=b"2")
    await speaker.say(REQUEST, {"text": "Who wrote Emma?", "id": "one"})  # the same id, and another question
    said = [(await speaker.hears(""))[1]["speech"].splitlines()[-1] for _ in range(3)]
    assert sorted(said) == [f"Who wrote {work}?" for work in ("Emma", "Faust", "Hamlet")]
    assert len(await house.logged()) == 6


async def test_a_fact_that_the_broker_keeps_is_not_kept_anew(house: House, broker: Mosquitto, speaker: Speaker) -> None:
    async with speaking(broker) as early:
        await early.say("ai-gateway/remember", {"content": "The bins go out on Tuesday"}, retain=True)
    await eventually(lambda: _knows(house, "The bins go out on Tuesday"))
    await house.admin.execute("DELETE FROM knowledge")  # and then it was forgotten
    heard: asyncio.Queue[bool] = asyncio.Queue()
    link = house.gateway.application[keys.LINK]
    assert link is not None
    link.subscribe("ai-gateway/remember", lambda message: heard.put_nowait(message.retained))
    assert await asyncio.wait_for(heard.get(), SECONDS)  # it comes again, as it does at each start
    await speaker.say("ai-gateway/remember", {"content": "The key is under the mat"})
    await eventually(lambda: _knows(house, "The key is under the mat"))
    assert not await _knows(house, "The bins go out on Tuesday")


async def test_what_is_asked_twice_is_answered_twice(house: House, speaker: Speaker) -> None:
    for _ in range(2):
        assert (await speaker.asks("Who wrote Hamlet?"))["speech"].endswith("Who wrote Hamlet?")
    assert len(await house.logged()) == 4


async def test_a_turn_in_flight_is_answered_before_the_end(
    settings: Settings, model: ScriptedModel, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, ending, finish = asyncio.Event(), asyncio.Event(), MqttEdge.finish

    async def finishing(edge: MqttEdge) -> None:
        ending.set()
        await finish(edge)

    monkeypatch.setattr(MqttEdge, "finish", finishing)
    model.script(Answer(gate, "At last."))
    settings = settings.model_copy(
        update={"server": settings.server.model_copy(update={"shutdown_seconds": float(SECONDS)})}
    )
    async with speaking(broker) as speaker, AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(settings, lambda words: None))
        await until_heard(gateway.application[keys.LINK])
        await speaker.say(REQUEST, {"text": "Who wrote Hamlet?", "id": "last"})
        await model.arrived(1)
        closing = asyncio.create_task(stack.aclose())
        await ending.wait()
        # Nothing new is begun.
        await speaker.say(REQUEST, {"text": "Who wrote Faust?", "id": "late"})
        assert (await speaker.hears(ERROR))[1]["error"].startswith("the gateway is being stopped")
        assert (await speaker.hears(f"{RESPONSE}/late"))[1]["error"]["code"] == "unavailable"
        await speaker.say("ai-gateway/remember", {"content": "The bins go out on Tuesday"})
        assert (await speaker.hears(ERROR))[1]["topic"] == "ai-gateway/remember"
        gate.set()
        assert (await speaker.hears(f"{RESPONSE}/last"))[1]["speech"] == "At last."
        await closing


async def test_a_request_that_the_broker_keeps_is_not_asked(house: House, broker: Mosquitto, speaker: Speaker) -> None:
    await speaker.say(REQUEST, {"text": "Who wrote Hamlet?", "id": "kept"}, retain=True)
    await speaker.hears(f"{RESPONSE}/kept")  # who listens hears it as any other
    heard: asyncio.Queue[bool] = asyncio.Queue()
    link = house.gateway.application[keys.LINK]
    assert link is not None
    await broker.stop()
    await broker.start()
    link.subscribe(REQUEST, lambda message: heard.put_nowait(message.retained))
    assert await asyncio.wait_for(heard.get(), SECONDS)  # it came again, as it does at each start
    await until_heard(link)
    async with speaking(broker) as later:
        assert (await later.asks("Who wrote Faust?"))["error"] is None
    assert [row["content"] for row in await house.logged() if row["role"] == "user"] == [
        "Who wrote Hamlet?",
        "Who wrote Faust?",
    ]


async def test_more_turns_at_once_than_allowed_are_refused(house: House, speaker: Speaker) -> None:
    gate = asyncio.Event()
    house.model.script(*(Answer(gate, f"Number {number}.") for number in range(3)))
    for number in range(4):
        await speaker.say(REQUEST, {"text": f"Tell me about the number {number}", "id": f"n{number}"})
    _, body = await speaker.hears(ERROR)
    assert (body["code"], body["topic"]) == ("unavailable", REQUEST)
    _, refused = await speaker.hears(f"{RESPONSE}/n3")
    assert refused["error"]["code"] == "unavailable"
    gate.set()
    answered = {(await speaker.hears(f"{RESPONSE}/"))[1]["id"] for _ in range(3)}
    assert answered == {"n0", "n1", "n2"}


async def test_what_is_to_be_remembered_is(house: House, speaker: Speaker) -> None:
    await speaker.say("ai-gateway/remember", {"content": "The bins go out on Tuesday", "tags": ["bins"]})
    await eventually(lambda: _knows(house, "The bins go out on Tuesday"))
    row = await house.admin.fetchrow("SELECT tags, member_id FROM knowledge")
    assert (row["tags"], row["member_id"]) == (["bins"], None)


async def test_a_token_makes_it_the_members(house: House, speaker: Speaker, token: str) -> None:
    await speaker.say("ai-gateway/remember", {"content": "My locker number is 77", "token": token})
    await eventually(lambda: _knows(house, "My locker number is 77"))
    assert "77" not in (await speaker.asks("What do you know about me?"))["speech"]
    assert "77" in (await speaker.asks("What do you know about me?", token=token))["speech"]
    await speaker.say(REQUEST, {"text": "What do you know about me?", "token": "nobody's"})
    assert (await speaker.hears(ERROR))[1]["code"] == "unauthorized"
    assert token not in str([row["metadata"] for row in await house.logged()])


async def test_a_turn_is_rated(house: House, speaker: Speaker) -> None:
    body = await speaker.asks("Who wrote Hamlet?")
    await speaker.say("ai-gateway/feedback", {"interaction_id": body["interaction_id"], "score": 2, "comment": "no"})

    async def rated() -> bool:
        return await house.admin.fetchval("SELECT feedback_score FROM training_data") == 2

    await eventually(rated)


async def _knows(house: House, content: str) -> bool:
    return bool(await house.admin.fetchval("SELECT count(*) FROM knowledge WHERE content = $1", content))


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await holds():
            await asyncio.sleep(0.02)
