"""Training data as JSONL: chat messages a line, from a cursor, in bounded memory, marked as exported once sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

import orjson

from gateway.errors import Conflict, StoreUnavailable
from gateway.shapes import Scope
from gateway.store import training as rows
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)

BATCH_ROWS = 1000  # rows held at once, and marked at once
PIECE_ROWS = 50  # rows sent at once: of these a client that goes away may have got some that are not marked

# JSON may hold these as they are, but many readers (Python's `splitlines` is one) take them for the end of a line.
LINE_ENDS = tuple((end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029")

Send = Callable[[bytes], Awaitable[None]]
"""Sends a chunk; returns when it has left the process, raises ConnectionError when it can't."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows: scored at least `min_score`, made at `since` or after it, and with `only_new` not exported yet."""

    min_score: int | None = None
    since: datetime | None = None
    only_new: bool = False


class Export:
    """Exports, one at a time a scope: two at once would each send what the other is about to mark."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[int, int | None]] = set()

    @property
    def running(self) -> bool:
        """Whether an export is being sent."""
        return bool(self._running)

    async def send(self, scope: Scope, choice: Choice, send: Send) -> int:
        """Sends the chosen rows through `send`, and marks as exported exactly those whose lines were sent.

        Also when `send` fails half-way: a batch is marked as soon as it has left, in a transaction of its own. Returns
        how many rows were sent. Raises Conflict while another export of this scope runs, StoreUnavailable, and what
        `send` raises.
        """
        who = (scope.household_id, scope.member_id)
        if who in self._running:
            raise Conflict("Another export is running; wait for its end.")
        self._running.add(who)
        try:
            sent = 0
            async with aclosing(self._batches(scope, choice)) as batches:
                async for batch in batches:
                    sent += await self._send_batch(scope, batch, send)
            return sent
        finally:
            self._running.discard(who)

    async def _send_batch(self, scope: Scope, batch: Sequence[rows.TrainingRow], send: Send) -> int:
        sent: list[int] = []
        try:
            for begin in range(0, len(batch), PIECE_ROWS):
                piece = batch[begin : begin + PIECE_ROWS]
                await send(b"".join(_line(row.input_text, row.output_text) for row in piece))
                sent += [row.id for row in piece]
        finally:
            if sent:
                await self._mark(scope, sent)
        return len(sent)

    async def _batches(self, scope: Scope, choice: Choice) -> AsyncGenerator[list[rows.TrainingRow]]:
        async with self._database.scoped(scope) as connection:
            async for batch in rows.export(
                connection, min_score=choice.min_score, since=choice.since, only_new=choice.only_new, batch=BATCH_ROWS
            ):
                yield batch

    async def _mark(self, scope: Scope, ids: list[int]) -> None:
        """Marks what has left, also where the client goes away at this moment and the request is cancelled."""
        marking = asyncio.create_task(self._mark_now(scope, ids), name="mark exported")
        try:
            await asyncio.shield(marking)
        except asyncio.CancelledError:
            await marking
            raise

    async def _mark_now(self, scope: Scope, ids: list[int]) -> None:
        try:
            async with self._database.scoped(scope) as connection:
                await rows.mark_exported(connection, ids)
        except StoreUnavailable:
            LOG.warning("%d rows were exported and could not be marked so", len(ids))
            raise


def _line(asked: str, answered: str) -> bytes:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    line = orjson.dumps({"messages": messages}, option=orjson.OPT_APPEND_NEWLINE)
    for character, escaped in LINE_ENDS:
        line = line.replace(character, escaped)
    return line
