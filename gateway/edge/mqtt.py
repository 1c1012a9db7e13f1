"""Turns, memories and feedback by MQTT messages.

    ai-gateway/turn/request    {"text": "...", "conversation_id"?, "language"?, "area"?, "id"?, "token"?}
    ai-gateway/turn/response/<id>   {"id", "speech", "conversation_id", "interaction_id", "language", ..., "error"}
    ai-gateway/remember        {"content": "...", "tags"?, ...}    as POST /memory/add
    ai-gateway/feedback        {"interaction_id": "conv_...", "score": 5, "comment"?}    as POST /training/feedback
    ai-gateway/error           {"topic", "code", "error", "field"}

An answer goes to the request's MQTT 5 response topic, with its correlation data, where it has one. `<id>` is the
request's, or else the turn's. A `token` names the member who speaks; without one it is the household.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar

import orjson
from pydantic import Field

from gateway.config import Settings
from gateway.edge.api import Input, Name, Text, parse
from gateway.edge.conversation import ASKS
from gateway.edge.memory import Addition
from gateway.edge.middleware import Tokens
from gateway.edge.training import Opinion
from gateway.errors import BadRequest, GatewayError, PayloadTooLarge, Unauthorized, Unavailable
from gateway.home.line import Message
from gateway.home.link import Link
from gateway.home.refusals import Refusals
from gateway.memory.knowledge import KnowledgeBase
from gateway.shapes import Reply, Scope, Turn
from gateway.tasks import end
from gateway.training.feedback import Feedback
from gateway.turn.pipeline import Pipeline

log = logging.getLogger(__name__)

REQUEST = "ai-gateway/turn/request"
RESPONSE = "ai-gateway/turn/response"
REMEMBER = "ai-gateway/remember"
FEEDBACK = "ai-gateway/feedback"
OWN = "ai-gateway/"
RESPONSE_TOPIC = "response_topic"  # how errors name it

MAX_BYTES = 131_072  # of a message: the longest text, with every character escaped
MAX_WAITING = 256  # memories and ratings taken in and not yet kept
SAME_SECONDS = 60.0  # for so long the same request again is taken for one that the network sent twice
SAME_REMEMBERED = 1024


class _Spoken(Input):
    token: Name | None = Field(default=None, description="The member's who speaks; none: the household speaks")


class TurnRequest(_Spoken):
    """A message on `ai-gateway/turn/request`."""

    text: Text
    conversation_id: Name | None = None
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] | None = None
    area: Name | None = None
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None


class SpokenAddition(_Spoken, Addition):
    """A message on `ai-gateway/remember`."""


class SpokenOpinion(_Spoken, Opinion):
    """A message on `ai-gateway/feedback`."""


Given = TypeVar("Given", bound=_Spoken)


class MqttEdge:
    """Listens as long as its block runs. Before the link ends, `finish` lets what was begun come to its end."""

    def __init__(
        self,
        *,
        link: Link,
        refusals: Refusals,
        pipeline: Pipeline,
        knowledge: KnowledgeBase,
        feedback: Feedback,
        tokens: Tokens,
        household: Scope,
        settings: Settings,
    ) -> None:
        self._link = link
        self._refuse = refusals
        self._pipeline = pipeline
        self._knowledge = knowledge
        self._feedback = feedback
        self._tokens = tokens
        self._household = household
        self._most_turns = settings.mqtt.turns
        self._max_text = settings.server.max_text_characters
        self._last_seconds = settings.server.shutdown_seconds
        self._turns: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Queue[tuple[str, Callable[[], Awaitable[None]]]] = asyncio.Queue(MAX_WAITING)
        self._keeping: asyncio.Task[None] | None = None
        self._ending = False
        self._lately: OrderedDict[bytes, float] = OrderedDict()

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep(), name="mqtt memories")
        self._link.subscribe(REQUEST, self._asked)
        self._link.subscribe(REMEMBER, self._told)
        self._link.subscribe(FEEDBACK, self._rated)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.unsubscribe(REQUEST, self._asked)
        self._link.unsubscribe(REMEMBER, self._told)
        self._link.unsubscribe(FEEDBACK, self._rated)
        tasks = [*self._turns, *([self._keeping] if self._keeping is not None else [])]
        await end(*tasks)

    async def finish(self) -> None:
        """Begins nothing more, and waits until all is answered and kept, for `server.shutdown_seconds` at most. To be
        called while the link is up: what is answered after its end, nobody hears."""
        self._ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._last_seconds):
                await self._waiting.join()
                if self._turns:
                    await asyncio.wait(self._turns)

    # --- turns

    def _asked(self, message: Message) -> None:
        if self._is_kept(message):
            return
        request = None
        try:
            _check_response_topic(message.response_topic)
            request = self._parsed(message, TurnRequest)
            name = _name(message, request)
            if self._is_recent(name):
                log.info("MQTT: the same request came twice, and is answered once")
                return
            self._check_that_it_goes_on()
            if len(self._turns) >= self._most_turns:
                raise Unavailable(f"{self._most_turns} turns are being answered already; try again in a moment")
        except GatewayError as error:
            self._fail(message, request, error)
            return
        if name is not None:
            self._lately[name] = time.monotonic()
        task = asyncio.create_task(self._answer(message, request), name="mqtt turn")
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    async def _answer(self, message: Message, request: TurnRequest) -> None:
        try:
            turn = Turn(
                scope=await self._speaker(request),
                utterance=request.text.strip(),
                edge="mqtt",
                conversation_id=request.conversation_id,
                area=request.area,
                language=request.language,
                voice=True,
            )
            async with aclosing(self._pipeline.run(turn)) as answer:
                async for piece in answer:
                    if isinstance(piece, Reply):
                        self._respond(message, request.id or turn.id, to_body(piece, request.id))
        except GatewayError as error:
            self._fail(message, request, error)
        except Exception:
            # The boundary: one turn that fails in a way that has no name must not be silent, nor end the others.
            log.exception("a turn by MQTT failed")
            self._fail(message, request, GatewayError("something went wrong; the log has it"))

    def _fail(self, message: Message, request: TurnRequest | None, error: GatewayError) -> None:
        """Tells of the error where all are told, and where the answer is waited for."""
        self._refuse(message.topic, error)
        name = request.id if request is not None else None
        if error.field != RESPONSE_TOPIC and (name is not None or message.response_topic is not None):
            self._respond(message, name or "", {"id": name, "error": _to_json(error)})

    def _respond(self, message: Message, name: str, body: dict[str, Any]) -> None:
        topic = message.response_topic or f"{RESPONSE}/{name}"
        self._link.publish(topic, orjson.dumps(body), correlation=message.correlation)

    def _is_recent(self, name: bytes | None) -> bool:
        """Whether this very request came a moment ago."""
        now = time.monotonic()
        while self._lately and (
            len(self._lately) >= SAME_REMEMBERED or now - next(iter(self._lately.values())) > SAME_SECONDS
        ):
            self._lately.popitem(last=False)
        return name in self._lately

    # --- memories and ratings, kept one after the other

    def _told(self, message: Message) -> None:
        async def keep(addition: SpokenAddition) -> None:
            scope = await self._speaker(addition)
            await self._knowledge.keep(scope, addition.entry(scope))

        self._take(message, SpokenAddition, keep)

    def _rated(self, message: Message) -> None:
        async def rate(opinion: SpokenOpinion) -> None:
            scope = await self._speaker(opinion)
            await self._feedback.record(scope, opinion.interaction_id, opinion.score, opinion.comment)

        self._take(message, SpokenOpinion, rate)

    def _take(self, message: Message, model: type[Given], work: Callable[[Given], Awaitable[None]]) -> None:
        if self._is_kept(message):
            return
        try:
            given = self._parsed(message, model)
            self._check_that_it_goes_on()
            try:
                self._waiting.put_nowait((message.topic, lambda: work(given)))
            except asyncio.QueueFull:
                raise Unavailable(f"{MAX_WAITING} messages wait already; try again in a moment") from None
        except GatewayError as error:
            self._refuse(message.topic, error)

    async def _keep(self) -> None:
        while True:
            topic, work = await self._waiting.get()
            try:
                await work()
            except GatewayError as error:
                self._refuse(topic, error)
            except Exception:
                # The boundary: what cannot be kept for a reason that has no name must not end the keeping of others.
                log.exception("a message on %s failed", topic)
                self._refuse(topic, GatewayError("something went wrong; the log has it"))
            finally:
                self._waiting.task_done()

    # --- every message

    @staticmethod
    def _is_kept(message: Message) -> bool:
        """Whether the broker kept it: it would be done anew at every start."""
        if message.retained:
            log.info("MQTT: a retained message on %s is not heeded: publish it without the retain flag", message.topic)
        return message.retained

    def _check_that_it_goes_on(self) -> None:
        if self._ending:
            raise Unavailable("the gateway is being stopped; try again in a moment")

    def _parsed(self, message: Message, model: type[Given]) -> Given:
        if len(message.payload) > MAX_BYTES:
            raise PayloadTooLarge(f"The message has {len(message.payload)} bytes; at most {MAX_BYTES} are allowed.")
        return parse(message.payload, model, {"max_text": self._max_text})

    async def _speaker(self, given: _Spoken) -> Scope:
        if given.token is None:
            return self._household
        scope = await self._tokens.scope(given.token)
        if scope is None:
            raise Unauthorized("This token is not known.", field="token")
        return scope


def to_body(reply: Reply, request_id: str | None) -> dict[str, Any]:
    """The reply as an answer over MQTT states it: `/conversation`'s, in short."""
    return {
        "id": request_id,
        "speech": reply.text,
        "language": reply.language,
        "conversation_id": reply.conversation_id,
        "continue_conversation": reply.text.rstrip().endswith(ASKS),
        "interaction_id": reply.interaction_id,
        "cache": str(reply.cache),
        "model": reply.model,
        "intent": reply.intent,
        "milliseconds": reply.timings.get("total"),
        "error": _to_json(reply.error) if reply.error is not None else None,
    }


def _to_json(error: GatewayError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def _name(message: Message, request: TurnRequest) -> bytes | None:
    """What only the very same request has; None where nothing names it, and it may well be meant twice."""
    if request.id is None and message.correlation is None:
        return None
    parts = (message.payload, (message.response_topic or "").encode(), message.correlation or b"")
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def _check_response_topic(topic: str | None) -> None:
    """Raises BadRequest for a topic to which nothing can be published, or which is one of the gateway's own: an answer
    must not be a command to it."""
    if topic is None:
        return
    own = topic.startswith(OWN) and not topic.startswith(f"{RESPONSE}/")
    if own or not topic or topic.startswith("$") or any(character in topic for character in "+#\x00"):
        raise BadRequest(
            f"A response topic should have no wildcard and, below {OWN}, begin with {RESPONSE}/.",
            field=RESPONSE_TOPIC,
        )
