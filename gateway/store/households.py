"""The household itself."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg


class Moment(NamedTuple):
    """Which state a household's memory is in (`epoch`), and which of its stored answers still count (`generation`)."""

    epoch: int
    generation: int


async def moment(connection: asyncpg.Connection) -> Moment | None:
    """The moment of the scope's household; None without a scope, or when there is no such household."""
    row = await connection.fetchrow(
        """
        SELECT memory_epoch, cache_generation FROM households WHERE id = (SELECT current_household())
        """
    )
    return None if row is None else Moment(*row)


async def uid(connection: asyncpg.Connection) -> str:
    """What tells the scope's household apart from those of every other database."""
    return str(await connection.fetchval("SELECT uid FROM households WHERE id = (SELECT current_household())"))
