"""Which conversation a turn belongs to, and what was said in it before.

Home Assistant resends the whole history and no id. So a turn is chained to the conversation whose last words its
history ends with. A client that sends an id and no history gets the last turns recalled from what was logged.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from gateway.config import RecallSettings
from gateway.errors import StoreUnavailable
from gateway.shapes import CacheControl, Message, Reply, Scope, Turn, new_turn_id
from gateway.store import conversations as conversation_store
from gateway.store.journal import Journal
from gateway.store.pool import Database

log = logging.getLogger(__name__)

CHAIN_SECONDS = 300  # Home Assistant's own sessions end after five idle minutes
MAX_CHAINS = 1024
CHAIN_WORDS = 4  # messages that are compared; a client trims the beginning of a long history


class Conversations:
    """Names conversations and finds their past."""

    def __init__(self, database: Database, journal: Journal, settings: RecallSettings) -> None:
        self._database = database
        self._journal = journal
        self._settings = settings
        self._chains: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._last: OrderedDict[str, str] = OrderedDict()

    def identify(self, turn: Turn) -> str:
        """The turn's conversation: the client's own id, else the one its history continues, else a new one."""
        if turn.conversation_id:
            return turn.conversation_id
        said = _said(turn.history)
        if turn.continuation:
            said.append(turn.utterance)
        if said:
            conversation_id, at = self._chains.get(_fingerprint(turn.scope, said), ("", 0.0))
            if conversation_id and time.monotonic() - at < CHAIN_SECONDS:
                return conversation_id
        return new_turn_id()

    def follow(self, turn: Turn, reply: Reply) -> None:
        """Lets the next request of this conversation be recognised."""
        said = [*_said(turn.history), turn.utterance]
        if reply.text:
            said.append(reply.text)
        chain = _fingerprint(turn.scope, said)
        self._chains[chain] = (reply.conversation_id, time.monotonic())
        self._chains.move_to_end(chain)
        while len(self._chains) > MAX_CHAINS:
            self._chains.popitem(last=False)
        self._last[reply.conversation_id] = reply.turn_id
        self._last.move_to_end(reply.conversation_id)
        while len(self._last) > MAX_CHAINS:
            self._last.popitem(last=False)

    def last(self, conversation_id: str) -> str | None:
        """The id of the conversation's last turn that ended here, if it is not long ago."""
        return self._last.get(conversation_id)

    async def history(self, turn: Turn, conversation_id: str) -> tuple[Message, ...]:
        """What was said before: the client's own history, else the logged turns. Raises StoreUnavailable."""
        if turn.sends_history or not turn.conversation_id or self._settings.history_turns == 0:
            return turn.history
        since = datetime.now(UTC) - timedelta(minutes=self._settings.history_minutes)
        waiting = self._journal.pending_turns(turn.scope, conversation_id)
        try:
            async with self._database.scoped(turn.scope) as connection:
                rows = await conversation_store.last_turns(
                    connection, conversation_id, self._settings.history_turns, since
                )
        except StoreUnavailable:
            if not waiting:
                raise
            rows = []
        exchanges = {row.turn_id: (row.user, row.assistant) for row in rows}
        for record in waiting:
            exchanges[record["turn_id"]] = (record["user"], record["assistant"])
        last = list(exchanges.values())[-self._settings.history_turns :]
        return tuple(
            message
            for user, assistant in last
            if user and assistant
            for message in (Message("user", user), Message("assistant", assistant))
        )


def asked_again(turn: Turn, history: tuple[Message, ...]) -> tuple[Turn, tuple[Message, ...]]:
    """The turn that asks the question before it anew, of the model, and what was said before that question; the same
    turn where there was none."""
    for place in range(len(history) - 1, -1, -1):
        if (asked := history[place]).role == "user":
            control = turn.cache_control if turn.cache_control is CacheControl.NO_STORE else CacheControl.NO_CACHE
            again = replace(turn, utterance=asked.content, images=asked.images, cache_control=control)
            return again, history[:place]
    return turn, history


def _said(history: Sequence[Message]) -> list[str]:
    return [message.content for message in history if message.role in ("user", "assistant") and message.content]


def _fingerprint(scope: Scope, said: Sequence[str]) -> str:
    named = [scope.household_id, scope.member_id, *said[-CHAIN_WORDS:]]
    return hashlib.sha256(orjson.dumps(named)).hexdigest()
