"""Tasks that end with their owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

AGAIN_SECONDS = 10.0  # longer than what a task does on its way out, which a second cancel would cut off


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels the tasks, and returns when each is over, however it ended.

    A task may go on where it was cancelled: until Python 3.12 `asyncio.wait_for`, by which libraries wait for their
    servers, loses a cancel that comes with the answer. So it is told again.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_SECONDS)
    for task in tasks:
        # Looked at, so that none is reported as a failure that nobody saw.
        _ = task.cancelled() or task.exception()


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Does `work` beside the block, and cancels it at the block's end. Raises there what the work failed with."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await end(task)
    if not task.cancelled():
        task.result()
