"""Recording: a turn goes to the journal before its last byte goes out, to the figures, and as one line to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.cache.law import is_question
from gateway.errors import JournalFull
from gateway.metrics import Metrics
from gateway.shapes import Reply, Turn
from gateway.store.journal import Journal
from gateway.switches import Switches

log = logging.getLogger("gateway.turn")

Listener = Callable[[Turn, Reply, str], None]
"""Told of each turn, its reply, and how it ended: answered, cached, acted, failed, cut_off."""


class Recorder:
    """Writes a turn down. `words` lets the log show what was said."""

    def __init__(self, journal: Journal, metrics: Metrics, switches: Switches, *, words: bool) -> None:
        self._journal = journal
        self._metrics = metrics
        self._switches = switches
        self._words = words
        self._listeners: list[Listener] = []
        self._last_question: str | None = None

    def listen(self, listener: Listener) -> None:
        """Calls `listener` after each turn, as long as the gateway runs. It must be quick."""
        self._listeners.append(listener)

    @property
    def last_question(self) -> str | None:
        """What was last asked and answered, where it was the household that asked: a member's own is not told."""
        return self._last_question

    def __call__(self, turn: Turn, reply: Reply, *, started: datetime, cache_key: str | None) -> None:
        """Journals the turn. Nothing is awaited here, so that a turn that is being cancelled is recorded as well."""
        # What an automation asks nobody said: nothing is to be learned of it.
        learning = self._switches.learning and turn.edge != "automation"
        try:
            self._journal.append(_record(turn, reply, started, cache_key, learning=learning))
        except JournalFull as error:
            log.error("turn %s is not recorded: %s", turn.id, error.message)
        asked = turn.acts and not turn.task and turn.scope.member_id is None
        if asked and reply.finish == "stop" and reply.intent is None and is_question(turn.utterance):
            self._last_question = turn.utterance
        self._measure(turn, reply)
        self._tell(turn, reply)
        for listener in self._listeners:
            try:
                listener(turn, reply, _outcome(reply))
            except Exception:
                # A boundary: the turn is answered, whatever becomes of those who want to know of it.
                log.exception("turn %s is recorded, and who listens failed", turn.id)

    def correct(self, turn: Turn, wrong: str) -> None:
        """Journals that in `turn` the answer of the turn `wrong` was called wrong."""
        try:
            self._journal.append(
                {
                    "kind": "correction",
                    "household_id": turn.scope.household_id,
                    "member_id": turn.scope.member_id,
                    "turn_id": wrong,
                    "by": turn.id,
                }
            )
        except JournalFull as error:
            log.error("the correction of turn %s is not recorded: %s", wrong, error.message)

    def _measure(self, turn: Turn, reply: Reply) -> None:
        self._metrics.turns_of(turn.edge, _outcome(reply)).inc()
        for step, milliseconds in reply.timings.items():
            if step == "total":
                self._metrics.turn_seconds_of(turn.edge).observe(milliseconds / 1000)
            else:
                self._metrics.step_seconds_of(step).observe(milliseconds / 1000)
        if reply.cache.outcome not in ("hit", "revalidated", "joined"):
            self._metrics.tokens.labels("prompt").inc(reply.usage.prompt_tokens)
            self._metrics.tokens.labels("completion").inc(reply.usage.completion_tokens)

    def _tell(self, turn: Turn, reply: Reply) -> None:
        level = logging.WARNING if reply.error is not None else logging.INFO
        if not log.isEnabledFor(level):
            return
        fields: dict[str, Any] = {
            "turn": turn.interaction_id,
            "edge": turn.edge,
            "member": turn.scope.member_id,
            "language": reply.language,
            "outcome": _outcome(reply),
            "cache": str(reply.cache),
            "model": reply.model,
            "sources": len(reply.sources),
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            **{f"{step}_ms": milliseconds for step, milliseconds in reply.timings.items()},
        }
        if reply.intent:
            fields["intent"] = reply.intent
        if reply.degraded:
            fields["without"] = list(reply.degraded)
        if reply.error is not None:
            fields["error"] = reply.error.message
        if self._words:
            fields |= {"utterance": turn.utterance, "reply": reply.text}
        log.log(level, "turn", extra={"fields": fields})


def _outcome(reply: Reply) -> str:
    if reply.error is not None:
        return "failed"
    if reply.finish == "cut_off":
        return "cut_off"
    if reply.intent:
        return "acted"
    if reply.cache.outcome in ("hit", "revalidated", "joined"):
        return "cached"
    return "answered"


def _record(turn: Turn, reply: Reply, started: datetime, cache_key: str | None, *, learning: bool) -> dict[str, Any]:
    """The journal's record of a turn. What the model calls for, but does not say, stands in `metadata`; there also
    that it is not to be learned from."""
    return {
        "kind": "turn",
        "household_id": turn.scope.household_id,
        "member_id": turn.scope.member_id,
        "turn_id": turn.id,
        "session_id": reply.conversation_id,
        "at": started.isoformat(),
        "done_at": datetime.now(UTC).isoformat(),
        "language": reply.language,
        "intent": reply.intent,
        "user": turn.utterance,
        "assistant": reply.text,
        "metadata": {
            "edge": turn.edge,
            "area": turn.area,
            "device_id": turn.device_id,
            "model": reply.model,
            "cache": str(reply.cache),
            "cache_key": cache_key,
            "finish": reply.finish,
            "cut_off": reply.finish == "cut_off",
            "unanswered": reply.error is not None,
            "error": reply.error.code if reply.error is not None else None,
            "continuation": bool(turn.continuation),
            "tool_calls": [{"name": call.name, "arguments": dict(call.arguments)} for call in reply.tool_calls],
            "actions": [dict(action) for action in reply.actions],
            "sources": [{"kind": source.kind, "id": source.id, "score": source.score} for source in reply.sources],
            "expanded": {why: list(texts) for why, texts in reply.expanded.items()},
            "timings": dict(reply.timings),
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "without": list(reply.degraded),
            **({} if learning else {"unlearned": True}),
        },
    }
