"""The answer as it grows: what each step of the pipeline found out, until it becomes the `Reply`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.errors import GatewayError
from gateway.memory.recall import Recalled
from gateway.shapes import CacheOutcome, Delta, FinishReason, Message, Reply, Source, ToolCall, Turn, Usage
from gateway.store.households import Moment
from gateway.store.preferences import Preference
from gateway.turn.act import Act
from gateway.turn.phrases import has_phrase, phrase

ACTED = "acted"  # the reason why the cache was not asked: the gateway did itself what was said


@dataclass
class Answer:
    """Belongs to one run of the pipeline. Times are milliseconds. `live` is how things at home stand that were asked
    about; `actions` what became of those that were to be moved; `refused`: what else was to be done could not."""

    turn: Turn
    language: str = "en"
    conversation_id: str = ""
    history: tuple[Message, ...] = ()
    preferences: Sequence[Preference] = ()
    intent: str | None = None
    model: str = ""
    cache: CacheOutcome = field(default_factory=lambda: CacheOutcome("bypass", ACTED))
    cache_key: str | None = None
    moment: Moment | None = None
    recalled: Recalled = field(default_factory=Recalled)
    live: tuple[Source, ...] = ()
    actions: tuple[Mapping[str, Any], ...] = ()
    refused: bool = False
    degraded: set[str] = field(default_factory=set)
    finish: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    error: GatewayError | None = None
    timings: dict[str, float] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _text: list[str] = field(default_factory=list)
    _thinking: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.perf_counter)

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._text)

    def for_all(self) -> Answer:
        """An answer to the same question, for everyone who asks it at the same time."""
        return Answer(
            self.turn,
            language=self.language,
            conversation_id=self.conversation_id,
            history=self.history,
            preferences=self.preferences,
            model=self.model,
            cache=self.cache,
            cache_key=self.cache_key,
            moment=self.moment,
            degraded=set(self.degraded),
        )

    def adopt(self, drawn: Answer, *, joined: bool = False) -> None:
        """Takes over what was found out where this answer was drawn for everyone. Who `joined` it did not wait through
        its steps."""
        self.recalled, self.model = drawn.recalled, drawn.model
        self.degraded |= drawn.degraded
        if not joined:
            self.cache = drawn.cache
            self.timings = {**self.timings, **drawn.timings, **self.timings}  # in the order of the steps, its own first

    def take(self, delta: Delta) -> None:
        """Adds a piece that was (or is about to be) given to the client."""
        if "first_token" not in self.timings and (delta.content or delta.thinking or delta.tool_calls):
            self.timings["first_token"] = _milliseconds(self._began)
        self._text.append(delta.content)
        self._thinking.append(delta.thinking)
        self.tool_calls += delta.tool_calls
        if delta.finish is not None:
            self.finish, self.usage = delta.finish.reason, delta.finish.usage

    def spoken(self, text: str) -> Delta:
        """A sentence of the gateway's own, parted from what was said before it."""
        before = self.text
        return Delta(content=f" {text}" if before and not before[-1].isspace() else text)

    def sentence_for(self, error: GatewayError) -> str:
        """What to say aloud about `error`, in the turn's language."""
        return phrase(self.language, error.code if has_phrase(error.code) else "model_error")

    def acted(self, act: Act) -> None:
        """Takes over what the gateway did itself."""
        self.intent, self.language = act.intent, act.language
        self.actions, self.live = act.actions, act.sources

    def step(self, name: str) -> AbstractContextManager[None]:
        """Times a step."""
        return _Step(self.timings, name)

    def reply(self) -> Reply:
        """The whole, as it stands."""
        self.timings["total"] = _milliseconds(self._began)
        return Reply(
            turn_id=self.turn.id,
            conversation_id=self.conversation_id,
            text=self.text,
            language=self.language,
            model=self.model,
            cache=self.cache,
            finish=self.finish,
            thinking="".join(self._thinking),
            tool_calls=self.tool_calls,
            sources=(*self.live, *self.recalled.sources),
            expanded=self.recalled.added,
            usage=self.usage,
            timings=self.timings,
            intent=self.intent,
            actions=self.actions,
            degraded=tuple(sorted(self.degraded.union(self.recalled.missing))),
            error=self.error,
        )


class _Step:
    """A class and no generator: a cached turn has two of these and little else."""

    __slots__ = ("_began", "_name", "_timings")

    def __init__(self, timings: dict[str, float], name: str) -> None:
        self._timings = timings
        self._name = name
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings[self._name] = round(self._timings.get(self._name, 0.0) + _milliseconds(self._began), 3)


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 3)
