"""What runs do: in earnest, and on trial."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.automations.run import Answered
from gateway.errors import Forbidden, GatewayError, NotFound, Unavailable
from gateway.home.acting import Actor, Asker
from gateway.home.guarding import ALWAYS_SAFE, Guard
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.sandbox import to_json
from gateway.home.speech.intents import ASKING
from gateway.home.things import Order
from gateway.shapes import Reply, Scope, Turn

EDGE = "automation"
ANNOUNCE_TOPIC = "ai-gateway/announce"
WELL = ("done", "already")
NOT_UNDERSTOOD = "home.not_understood"  # the intent of a turn that says so


@dataclass(frozen=True, slots=True)
class Assistant:
    """What the rest of the gateway does for automations. `actor` is None where nothing can be commanded."""

    scope: Scope
    registry: Registry
    link: Link
    actor: Actor | None
    ask: Callable[[Turn], Awaitable[Reply]]
    remember: Callable[[str, Sequence[str]], Awaitable[None]]
    prefer: Callable[[str, Any], Awaitable[None]]
    last_question: Callable[[], str | None]


class InEarnest:
    """Does what one automation's runs say."""

    def __init__(self, assistant: Assistant, automation_id: str) -> None:
        self._assistant = assistant
        self._speaker = f"automation:{automation_id}"

    async def ask(
        self, prompt: str, *, conversation_id: str | None, language: str | None, area: str | None
    ) -> Answered:
        """The assistant's answer, from the model and the memory, to words that are not taken for a command."""
        return await self._answered(prompt, conversation_id, language, area, acts=False)

    async def say(self, sentence: str, *, language: str | None, area: str | None) -> Answered:
        """Says a command. Raises NotFound where it was not understood as one, Unavailable where it was not done."""
        return await self._answered(sentence, None, language, area, acts=True)

    async def act(self, orders: Mapping[str, Order]) -> str:
        """Commands things that are exposed and need no confirmation. Raises GatewayError where one does not do it."""
        actor = self._assistant.actor
        if actor is None:
            raise Unavailable("nothing can be commanded here")
        action = next(iter(orders.values())).action
        wanted = actor.ordered(orders)
        if guarded := actor.guarded(wanted):
            raise Forbidden(f"{', '.join(guarded)} may not be moved without a confirmation; see home.allowed")
        asker = Asker(self._assistant.scope, EDGE, self._speaker, f"{action} {', '.join(orders)}")
        outcome = await actor.carry_out(wanted, asker)
        told = ", ".join(f"{result.thing_id}: {result.verdict}" for result in outcome.results)
        if any(result.verdict not in WELL for result in outcome.results):
            raise Unavailable(told)
        return told

    async def publish(self, topic: str, payload: str, *, qos: int, retain: bool) -> None:
        """Sends a message now. Raises Unavailable."""
        await self._assistant.link.send(topic, payload, qos=qos, retain=retain)

    async def announce(self, text: str, *, area: str | None, language: str | None) -> None:
        """Publishes what is to be said aloud. Raises Unavailable."""
        said = {"text": text, "area": area, "language": language}
        await self._assistant.link.send(
            ANNOUNCE_TOPIC, to_json({name: value for name, value in said.items() if value is not None})
        )

    async def remember(self, content: str, tags: Sequence[str]) -> None:
        """Keeps it for the household."""
        await self._assistant.remember(content, tags)

    async def prefer(self, key: str, value: Any) -> None:
        """Sets the household's preference."""
        await self._assistant.prefer(key, value)

    async def wait(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    async def _answered(
        self, words: str, conversation_id: str | None, language: str | None, area: str | None, *, acts: bool
    ) -> Answered:
        turn = Turn(
            self._assistant.scope,
            words,
            EDGE,
            conversation_id=conversation_id,
            language=language,
            area=area,
            device_id=self._speaker,
            acts=acts,
        )
        reply = await self._assistant.ask(turn)
        if reply.error is not None:
            raise reply.error
        if acts:
            _must_be_done(reply)
        if not reply.text.strip():
            raise GatewayError("the assistant answered nothing")
        return Answered(reply.text, reply.conversation_id)


class OnTrial:
    """Does nothing, and tells what would be done."""

    def __init__(self, tell: Callable[[str], None], guard: Guard, answer: str = "(the assistant's answer)") -> None:
        self._tell = tell
        self._guard = guard
        self._answer = answer

    async def ask(
        self, prompt: str, *, conversation_id: str | None, language: str | None, area: str | None
    ) -> Answered:
        """Tells what would be asked."""
        self._tell(f"asks{_where(area, language)}: {prompt}")
        return Answered(self._answer, conversation_id or "(the conversation)")

    async def say(self, sentence: str, *, language: str | None, area: str | None) -> Answered:
        """Tells what would be said."""
        self._tell(f"commands{_where(area, language)}: {sentence}")
        return Answered(self._answer)

    async def act(self, orders: Mapping[str, Order]) -> str:
        """Tells what would be commanded."""
        for thing_id, order in orders.items():
            values = f" {to_json(dict(order.values))}" if order.values else ""
            # By its names, which nobody knows here, it may be allowed still.
            held = order.action != ALWAYS_SAFE and self._guard.holds(thing_id.partition(".")[0], [thing_id])
            guarded = " (guarded: not done unless home.allowed names it)" if held else ""
            self._tell(f"commands {thing_id}: {order.action}{values}{guarded}")
        return "(not done)"

    async def publish(self, topic: str, payload: str, *, qos: int, retain: bool) -> None:
        """Tells what would be published."""
        kept = ", retained" if retain else ""
        self._tell(f"publishes to {topic} (qos {qos}{kept}): {payload}")

    async def announce(self, text: str, *, area: str | None, language: str | None) -> None:
        """Tells what would be announced."""
        self._tell(f"announces{_where(area, language)}: {text}")

    async def remember(self, content: str, tags: Sequence[str]) -> None:
        """Tells what would be remembered."""
        tagged = f" ({', '.join(tags)})" if tags else ""
        self._tell(f"remembers{tagged}: {content}")

    async def prefer(self, key: str, value: Any) -> None:
        """Tells what would be preferred."""
        self._tell(f"sets the preference {key}: {to_json(value)}")

    async def wait(self, seconds: float) -> None:
        """Tells how long it would wait."""
        self._tell(f"waits {seconds:g} s")


def _must_be_done(reply: Reply) -> None:
    """Raises GatewayError where a sentence did not come to what it wanted: not understood, asked back, or failed."""
    if not reply.intent or reply.intent == NOT_UNDERSTOOD:
        raise NotFound("the sentence was not understood as a command")
    moves = reply.intent.startswith(("Hass", "home.")) and reply.intent not in ASKING
    if (moves and not reply.actions) or any(action["verdict"] not in WELL for action in reply.actions):
        raise Unavailable(reply.text)


def _where(area: str | None, language: str | None) -> str:
    more = [part for part in (area, language) if part]
    return f" ({', '.join(more)})" if more else ""
