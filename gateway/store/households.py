"""The household itself."""

from __future__ import annotations

import asyncpg


async def epoch(connection: asyncpg.Connection) -> int | None:
    """The memory epoch of the scope's household; None without a scope, or when there is no such household."""
    value = await connection.fetchval(
        """
        SELECT memory_epoch FROM households WHERE id = (SELECT current_household())
        """
    )
    return None if value is None else int(value)
