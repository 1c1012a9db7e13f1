"""Work that is done in rounds, by one task: when it is asked for, and now and then, since others may have made some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from gateway.errors import GatewayError
from gateway.tasks import running

log = logging.getLogger(__name__)

IDLE_SECONDS = 30.0  # what came from elsewhere (another gateway, SQL by hand, an earlier run) waits no longer than this


class Rounds:
    """`async with` starts and ends the task; `wake` says that there is something to do."""

    def __init__(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """`work` does all there is to do. What it raises ends the round: a part that is away is tried again."""
        self._name = name
        self._work = work
        self._wanted = asyncio.Event()
        self._stack = AsyncExitStack()
        self._waiting = False

    async def __aenter__(self) -> Self:
        self._wanted.set()  # what an earlier run left
        await self._stack.enter_async_context(running(self._run(), self._name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def wake(self) -> None:
        """Begins a round soon."""
        self._wanted.set()

    @property
    def wanted(self) -> bool:
        """Whether a further round has been asked for since this one began."""
        return self._wanted.is_set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._work()
            except GatewayError as error:
                # Said once, not every half minute for as long as a part is away.
                level = logging.DEBUG if self._waiting else logging.WARNING
                log.log(level, "%s: what there is to do waits: %s", self._name, error.message)
                self._waiting = True
            except Exception:
                # A task's boundary: what is wrong with one round must not end all later ones.
                log.exception("%s: a round failed", self._name)
            else:
                self._waiting = False
