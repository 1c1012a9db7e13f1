"""Understanding: what the gateway does itself, without the model: memory commands, and commands to the home.

A command to the home is one of the tools that the client offers. The gateway calls it; the client acts, and asks again
with the result; that turn's last words are understood once more, and the result is put in words. Nothing is kept in
between, so that a restart changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gateway.errors import BadRequest, JournalFull, StoreUnavailable
from gateway.home.speech import answers
from gateway.home.speech.intents import Commands, Understood
from gateway.home.speech.wishes import asks_to_act
from gateway.memory import commands
from gateway.memory.aliases import aliases_of
from gateway.memory.forgetting import Forgetting, Wish
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.preferences import Accepted, Preferences
from gateway.shapes import Entity, Scope, ToolCall, Turn
from gateway.store.knowledge import NewKnowledge
from gateway.store.preferences import Preference
from gateway.turn.act import Act, Consents
from gateway.turn.home import Home, Live
from gateway.turn.phrases import phrase

PATIENCE_SECONDS = 2.0  # with a database that hangs, before it is said so
LISTED = 8  # facts told aloud; more would not be listened to
SOURCE = "conversation"
TOLD_BEFORE_FORGETTING = 3
REMEMBERED = {
    "added": "remembered",
    "known": "remembered_already",
    "replaced": "remembered_instead",
    "pending": "remembered_soon",
}


class Understanding:
    """Acts on the commands of `gateway.memory.commands` and `gateway.home.speech.intents`."""

    def __init__(
        self,
        knowledge: KnowledgeBase,
        preferences: Preferences,
        forgetting: Forgetting,
        commands: Commands,
        consents: Consents,
        home: Home | None,
    ) -> None:
        """`home` is what the gateway itself can reach; `commands` understands for clients that act themselves."""
        self._knowledge = knowledge
        self._preferences = preferences
        self._forgetting = forgetting
        self._commands = commands
        self._consents = consents
        self._home = home

    async def __call__(
        self, turn: Turn, language: str, preferences: Iterable[Preference], conversation_id: str
    ) -> Act | Live | None:
        """What was done for the utterance; how things stand, where that is asked; None: the model should answer it."""
        if turn.task or not turn.acts:
            return None
        if not turn.continuation:
            act = await self._consents.heard((conversation_id, turn.scope), turn.utterance)
            if act is not None:
                return act
            match commands.understand(turn.utterance, language):
                case commands.Remember() as command:
                    return await self._remember(turn.scope, command)
                case commands.CallIt() as command:
                    return await self._call(turn, command)
                case commands.Correct() as command:
                    if (act := await self._correct(turn.scope, command)) is not None:
                        return act
                case commands.Forget() as command:
                    return await self._ask_to_forget(turn.scope, conversation_id, command)
                case commands.WhatDoYouKnow() as command:
                    return await self._tell(turn.scope, command)
                case None:
                    pass
        return await self._command(turn, language, preferences, conversation_id)

    async def _command(
        self, turn: Turn, language: str, preferences: Iterable[Preference], conversation_id: str
    ) -> Act | Live | None:
        if turn.voice and not turn.head and not turn.tools:
            # An assistant's client without a prompt and tools of its own can say what is wanted, and cannot do it.
            if not asks_to_act(turn.utterance, language):
                return None
            # A broker that was never there is why nothing at home is known.
            away = self._home is not None and not self._home.is_reachable
            return self._said("home.out_of_reach", language, "home_away" if away else "out_of_reach")
        turn, aliases = _with_aliases(turn, preferences)
        if self._home is not None and self._home.offers(turn):
            return await self._home.understood(turn, language, aliases, conversation_id)
        understood = self._commands.understand(turn, language, aliases)
        # Recognition holds the interpreter for some milliseconds: whoever waits for less goes first.
        await asyncio.sleep(0)
        if not isinstance(understood, Understood):
            return None
        if not turn.continuation:
            call = ToolCall(understood.tool, understood.arguments)
            return Act(understood.intent, understood.language, tool_calls=(call,))
        result = answers.results(understood, turn.continuation)
        text = answers.confirm(understood, result) if result is not None else None
        return Act(understood.intent, understood.language, text) if text else None

    async def _remember(self, scope: Scope, command: commands.Remember) -> Act:
        new = NewKnowledge(content=command.content, source=SOURCE, member_id=scope.member_id)
        try:
            kept = await self._knowledge.add_once(scope, new)
        except JournalFull:
            return self._said("memory.remember", command.language, "memory_full")
        return self._said("memory.remember", command.language, REMEMBERED[kept], content=command.content)

    async def _correct(self, scope: Scope, command: commands.Correct) -> Act | None:
        """None where nothing known is put right by that: then it is a sentence for the model."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                corrected = await self._knowledge.correct(scope, command.content, SOURCE)
        except (StoreUnavailable, TimeoutError, JournalFull):
            return None
        if not corrected:
            return None
        return self._said("memory.correct", command.language, "remembered_instead", content=command.content)

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
                hurry=True,
            )
        except JournalFull:
            return self._said("memory.alias", command.language, "memory_full")
        name = "alias_soon" if isinstance(kept, Accepted) else "alias"
        return self._said("memory.alias", command.language, name, alias=command.alias, name=command.name)

    async def _tell(self, scope: Scope, command: commands.WhatDoYouKnow) -> Act:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                newest, total = await self._knowledge.newest(scope, limit=LISTED)
                visible = await self._preferences.visible(scope)
        except (StoreUnavailable, TimeoutError):
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

    async def _ask_to_forget(self, scope: Scope, conversation_id: str, command: commands.Forget) -> Act:
        """Says what would go, and asks: a yes in the next turn of the conversation, and nothing else, lets it go."""
        wish = Wish(query=command.topic, passages=False)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._forgetting.find(scope, wish)
        except BadRequest:
            return self._said("memory.forget", command.language, "forget_nothing")
        except (StoreUnavailable, TimeoutError):
            return self._said("memory.forget", command.language, "memory_away")
        if not found:
            return self._said("memory.forget", command.language, "forget_nothing")
        language = command.language

        async def forget() -> Act:
            try:
                await self._forgetting.forget(scope, wish)
            except StoreUnavailable:
                return self._said("memory.forget", language, "memory_away")
            return self._said("memory.forget", language, "forgotten")

        kept = self._said("memory.forget", language, "forget_kept")
        self._consents.ask((conversation_id, scope), language, forget, kept, forgetting=True)
        meant = found.entries or found.versions or found.turns or found.training or found.actions
        texts = [row.text for row in meant]
        texts = list(dict.fromkeys(text.strip().rstrip(" .!") for text in texts))
        facts, more = texts[:TOLD_BEFORE_FORGETTING], len(texts) - TOLD_BEFORE_FORGETTING
        name = "forget_ask" if more <= 0 else "forget_ask_more"
        return self._said("memory.forget", command.language, name, facts="; ".join(facts), more=more)

    @staticmethod
    def _said(intent: str, language: str, sentence: str, /, **values: object) -> Act:
        return Act(intent, language, phrase(language, sentence, **values))


def _with_aliases(turn: Turn, preferences: Iterable[Preference]) -> tuple[Turn, dict[str, str]]:
    """What the household calls things: alias to name. One that stands for an entity id makes that a thing at home:
    Home Assistant finds things by their ids as well, and says so where there is none."""
    aliases: dict[str, str] = {}
    more: list[Entity] = []
    given = aliases_of(preferences)
    known = {name.casefold() for entity in turn.entities for name in entity.names} if given else set()
    for alias, name, entity_id in given:
        if name is not None and name.casefold() in known:
            aliases[alias] = name
        elif entity_id is not None and turn.entities:
            aliases[alias] = entity_id
            if entity_id.casefold() not in known:
                more.append(Entity((entity_id,), entity_id.split(".", 1)[0]))
    return (replace(turn, entities=(*turn.entities, *more)) if more else turn), aliases


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_spoken(inner) for inner in value.values())
    if isinstance(value, list):
        return ", ".join(_spoken(inner) for inner in value)
    return str(value)
