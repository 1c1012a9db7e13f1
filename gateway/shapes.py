"""The canonical shapes. An edge makes a `Turn` of a request, and its own wire format of `Delta`s and a `Reply`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

from gateway.errors import GatewayError

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "cut_off", "error"]

INTERACTION_PREFIX = "conv_"
# A name is no secret, as who uses it is checked; it need only be nobody else's. The system takes ten times as long.
_chance = random.Random(os.urandom(32))  # noqa: S311


def new_turn_id() -> str:
    """32 hexadecimal digits that sort by time (48 bits of milliseconds, then random), like UUID version 7."""
    return f"{time.time_ns() // 1_000_000:012x}{_chance.getrandbits(80):020x}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a unit of work may see: the household's shared ones, and those of `member_id` where it is known."""

    household_id: int
    member_id: int | None = None
    member_name: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's (or the gateway's) request that the client run a tool. `arguments` is always an object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `images` are base64; `extra` holds fields passed through untouched."""

    role: Role
    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    images: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing at home that the assistant may touch, as the client's prompt or the registry states it."""

    names: tuple[str, ...]
    domain: str
    areas: tuple[str, ...] = ()
    floor: str | None = None


class Things(tuple[Entity, ...]):  # noqa: SLOT001 (the hash has to be kept somewhere)
    """A house's entities. Their hash is made once: much is remembered by them, and there are hundreds."""

    _hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash


class CacheControl(StrEnum):
    """What the client asks of the response cache."""

    DEFAULT = "default"
    NO_CACHE = "no-cache"  # ask the model, then store
    NO_STORE = "no-store"  # neither answer from the cache nor store


class Priority(IntEnum):
    """Who goes first where turns wait for a model: the lower the more urgent."""

    VOICE = 0  # somebody stands there and waits for a word
    CHAT = 1
    AUTOMATION = 2
    BACKGROUND = 3  # only while nobody waits


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance and everything the client said around it, taken apart once by the edge.

    `head` is the client's system text without the lines that differ from room to room (`volatile`: area, timers) and
    from minute to minute (`clock`: time and date). `history` is what came before the utterance; what stands behind it
    (tool calls and their results) is the `continuation`, and `utterance` is then the last user message. `language` is
    what the client gave, if it did. `voice`: a failure is to be told in words; `task`: data to be worked on, no
    question; without `acts` it is a question, but nothing in it is carried out, kept or forgotten: it may hold words of
    somebody who has nothing to say here. `request` holds model options and every unknown field by name, to be passed
    through and to be part of the cache's key.
    """

    scope: Scope
    utterance: str
    edge: str
    id: str = field(default_factory=new_turn_id)
    conversation_id: str | None = None
    head: str = ""
    volatile: tuple[str, ...] = ()
    clock: tuple[str, ...] = ()
    history: tuple[Message, ...] = ()
    sends_history: bool = False
    continuation: tuple[Message, ...] = ()
    images: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    entities: tuple[Entity, ...] = ()
    area: str | None = None
    floor: str | None = None
    device_id: str | None = None
    language: str | None = None
    voice: bool = False
    task: bool = False
    acts: bool = True
    model: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    cache_control: CacheControl = CacheControl.DEFAULT

    @property
    def interaction_id(self) -> str:
        """The id that feedback names."""
        return INTERACTION_PREFIX + self.id


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the model reported them, and its own durations in nanoseconds (0: not told)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int | None = None
    load_ns: int = 0
    prompt_ns: int = 0
    completion_ns: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """How a model's stream ended."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    model: str = ""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a turn stands that waits for a model: 1 is the next, 0 has its place. `expected_seconds` is a guess."""

    position: int
    expected_seconds: float


@dataclass(frozen=True, slots=True)
class Delta:
    """One streamed piece of an answer. The last one of a stream, and only that one, has `finish`.

    One with `queue` says nothing but where the turn stands in the queue.
    """

    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    queue: QueuePlace | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a chat model is asked. `options`, `format`, `think`, `keep_alive` are Ollama's; `extra` goes along."""

    messages: tuple[Message, ...]
    model: str
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    format: Any = None
    think: Any = None
    keep_alive: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """Where vectors can be compared with each other: one model, one width, one way of making them.

    The prefixes are what is put before a query and before a text to be stored (for the model, not by the caller);
    `recipe` names what is done to the model's numbers afterwards, so that a changed recipe is another space.
    """

    model: str
    dimensions: int
    query_prefix: str = ""
    document_prefix: str = ""
    recipe: str = "l2"


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of memory that was put before the model.

    `kind` is preference, knowledge, document, conversation, event, measurement or state (how a thing at home stands, of
    no row: `id` 0); `at` when it was told, said or seen;
    `origin` where it comes from, in words; `outdated`: something newer says otherwise.
    """

    kind: str
    id: int
    text: str
    score: float | None = None
    at: datetime | None = None
    origin: str | None = None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as it is to be found. `page` counts from 1; None where the format has no pages."""

    content: str
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class CacheOutcome:
    """Why the cache did or did not answer: hit, miss, or bypass with its reason."""

    outcome: Literal["hit", "revalidated", "joined", "miss", "bypass"]
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.outcome}:{self.reason}" if self.reason else self.outcome


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to a turn. `timings` are milliseconds by step; `intent` is set where the gateway acted itself;
    `degraded` names the parts that were away; `error` is what ended a failed turn (then `text` says so in words).
    `expanded` is what the question was expanded by for the recall, and why. `actions` is what became of each thing at
    home that the gateway itself was to move: thing, action, verdict."""

    turn_id: str
    conversation_id: str
    text: str
    language: str
    model: str
    cache: CacheOutcome
    finish: FinishReason = "stop"
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    sources: tuple[Source, ...] = ()
    expanded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    timings: Mapping[str, float] = field(default_factory=dict)
    intent: str | None = None
    actions: tuple[Mapping[str, Any], ...] = ()
    degraded: tuple[str, ...] = ()
    error: GatewayError | None = None

    @property
    def interaction_id(self) -> str:
        """The id that feedback names."""
        return INTERACTION_PREFIX + self.turn_id
