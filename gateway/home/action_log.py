"""What was done at home, written to the table `actions` after the answer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

from gateway.errors import GatewayError
from gateway.home.acting import ActionRecord
from gateway.home.things import Condition
from gateway.shapes import Scope
from gateway.store import entities as rows
from gateway.store.pool import Database
from gateway.tasks import running

log = logging.getLogger(__name__)

MOST = 10_000  # records that wait for a database that is away; the log has them all
PAUSE_SECONDS = 2.0  # before a database that is away is tried again


class ActionLog:
    """`async with` it, and call it with what was done. At its end it writes what it has."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[ActionRecord] = deque(maxlen=MOST)
        self._more = asyncio.Event()
        self._writing = asyncio.Lock()  # nothing is noted twice
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(running(self._run(), "actions"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        with suppress(GatewayError):
            await self.write()

    def __call__(self, records: Sequence[ActionRecord]) -> None:
        """Takes up what was done."""
        self._waiting.extend(records)
        self._more.set()

    async def write(self) -> None:
        """Writes all that waits. Raises StoreUnavailable; it waits on then."""
        async with self._writing:
            while self._waiting:
                scope = self._waiting[0].scope
                batch = [record for record in list(self._waiting) if record.scope == scope]
                await self._write(scope, batch)
                written = {id(record) for record in batch}
                self._waiting = deque((one for one in self._waiting if id(one) not in written), MOST)

    async def _write(self, scope: Scope, batch: Sequence[ActionRecord]) -> None:
        try:
            async with self._database.scoped(scope) as connection:
                await rows.log_actions(connection, [_row(record) for record in batch], scope.member_id)
        except GatewayError:
            raise
        except Exception:
            # A boundary: one record that PostgreSQL refuses must not cost the others.
            if len(batch) == 1:
                log.exception("an order to %s could not be noted", batch[0].thing_id)
            else:
                for record in batch:
                    await self._write(scope, [record])

    async def _run(self) -> None:
        away = False
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self.write()
            except GatewayError as error:
                if not away:
                    log.warning("what was done at home waits to be noted: %s", error.message)
                away = True
                self._more.set()
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                away = False


def _row(record: ActionRecord) -> rows.Action:
    return rows.Action(
        record.at,
        record.edge,
        record.speaker,
        record.words.replace("\0", ""),  # which PostgreSQL takes in no text
        record.thing_id,
        record.action,
        record.values,
        record.verdict,
        _stood(record.before),
        _stood(record.after),
    )


def _stood(condition: Condition) -> Mapping[str, Any]:
    return {"state": condition.state, "attributes": dict(condition.attributes)}
