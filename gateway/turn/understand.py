"""Understanding: what the gateway can do itself, without the model. Here: memory commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.errors import JournalFull, StoreUnavailable
from gateway.memory import commands
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.preferences import Accepted, Preferences
from gateway.shapes import Scope, Turn
from gateway.store.knowledge import NewKnowledge
from gateway.turn.phrases import phrase

LISTED = 8  # facts told aloud; more would not be listened to
SOURCE = "conversation"
REMEMBERED = {"added": "remembered", "known": "remembered_already", "pending": "remembered_soon"}


@dataclass(frozen=True, slots=True)
class Act:
    """What was done, and how to say so, in `language`."""

    intent: str
    text: str
    language: str


class Understanding:
    """Acts on the memory commands of `gateway.memory.commands`."""

    def __init__(self, knowledge: KnowledgeBase, preferences: Preferences) -> None:
        self._knowledge = knowledge
        self._preferences = preferences

    async def __call__(self, turn: Turn, language: str) -> Act | None:
        """What was done for the utterance, or None where the model should answer it."""
        if turn.continuation or turn.task:
            return None
        match commands.understand(turn.utterance, language):
            case commands.Remember() as command:
                return await self._remember(turn.scope, command)
            case commands.CallIt() as command:
                return await self._call(turn, command)
            case commands.WhatDoYouKnow() as command:
                return await self._tell(turn.scope, command)
            case _:
                return None

    async def _remember(self, scope: Scope, command: commands.Remember) -> Act:
        new = NewKnowledge(content=command.content, source=SOURCE, member_id=scope.member_id)
        try:
            kept = await self._knowledge.add_once(scope, new)
        except JournalFull:
            return self._said("memory.remember", command.language, "memory_full")
        return self._said("memory.remember", command.language, REMEMBERED[kept], content=command.content)

    async def _call(self, turn: Turn, command: commands.CallIt) -> Act | None:
        value: dict[str, Any] = {"alias": command.alias, "name": command.name}
        if turn.entities:
            # Where the client says what is at home, a name that is not there is no alias but a sentence for the model.
            entity = commands.entity_named(command.name, turn.entities)
            if entity is None:
                return None
            value |= {"name": entity.names[0], "domain": entity.domain}
        try:
            kept = await self._preferences.set(
                turn.scope,
                key=commands.alias_key(command.alias),
                value=value,
                category="aliases",
                member_id=turn.scope.member_id,
            )
        except JournalFull:
            return self._said("memory.alias", command.language, "memory_full")
        name = "alias_soon" if isinstance(kept, Accepted) else "alias"
        return self._said("memory.alias", command.language, name, alias=command.alias, name=command.name)

    async def _tell(self, scope: Scope, command: commands.WhatDoYouKnow) -> Act:
        try:
            newest, total = await self._knowledge.newest(scope, limit=LISTED)
            visible = await self._preferences.visible(scope)
        except StoreUnavailable:
            return self._said("memory.list", command.language, "memory_away")
        wishes = [
            f"{wish.key}: {_spoken(wish.value)}"
            for wish in visible
            if wish.category != "aliases" and not wish.key.startswith(commands.ALIAS_PREFIX)
        ]
        total += len(wishes)
        facts = [fact.rstrip(" .") for fact in (*(entry.content for entry in newest), *wishes)][:LISTED]
        if not facts:
            return self._said("memory.list", command.language, "know_nothing")
        name = "know" if total <= len(facts) else "know_more"
        return self._said("memory.list", command.language, name, facts="; ".join(facts), more=total - len(facts))

    @staticmethod
    def _said(intent: str, language: str, sentence: str, /, **values: object) -> Act:
        return Act(intent, phrase(language, sentence, **values), language)


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_spoken(inner) for inner in value.values())
    if isinstance(value, list):
        return ", ".join(_spoken(inner) for inner in value)
    return str(value)
