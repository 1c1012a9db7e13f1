"""Preferences: a key and a JSON value, shared by the household or a member's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from gateway.errors import Conflict

CHANGEABLE = frozenset({"key", "value", "category"})


@dataclass(frozen=True, slots=True)
class Preference:
    """One preference. `value` is any JSON value but null; `member_id` None: shared by the household."""

    id: int
    key: str
    value: Any
    category: str | None
    member_id: int | None
    created_at: datetime
    updated_at: datetime


async def put(
    connection: asyncpg.Connection, *, key: str, value: Any, category: str | None = None, member_id: int | None = None
) -> tuple[Preference, bool]:
    """Sets it for its owner and tells whether it is new. No category: the one it had stays."""
    row = await connection.fetchrow(
        """
        INSERT INTO preferences (key, value, category, member_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (household_id, member_id, key)
            DO UPDATE SET value = EXCLUDED.value, category = coalesce(EXCLUDED.category, preferences.category)
        RETURNING id, key, value, category, member_id, created_at, updated_at, xmax = 0 AS created
        """,
        key,
        value,
        category,
        member_id,
    )
    columns = dict(row)
    created = columns.pop("created")
    return Preference(**columns), created


async def get(connection: asyncpg.Connection, key: str) -> Preference | None:
    """The preference of this key; the member's own goes before the shared one."""
    row = await connection.fetchrow(
        """
        SELECT id, key, value, category, member_id, created_at, updated_at
        FROM preferences WHERE key = $1
        ORDER BY member_id NULLS LAST LIMIT 1
        """,
        key,
    )
    return None if row is None else Preference(**row)


async def by_id(connection: asyncpg.Connection, row_id: int) -> Preference | None:
    """The preference with this id; None when there is none in the scope."""
    row = await connection.fetchrow(
        """
        SELECT id, key, value, category, member_id, created_at, updated_at FROM preferences WHERE id = $1
        """,
        row_id,
    )
    return None if row is None else Preference(**row)


async def listing(
    connection: asyncpg.Connection, *, category: str | None = None, after: int = 0, limit: int = 50
) -> list[Preference]:
    """By id, those after the id `after`, of one category or of all."""
    rows = await connection.fetch(
        """
        SELECT id, key, value, category, member_id, created_at, updated_at
        FROM preferences
        WHERE id > $1 AND ($3::text IS NULL OR category = $3)
        ORDER BY id LIMIT $2
        """,
        after,
        limit,
        category,
    )
    return [Preference(**row) for row in rows]


async def all_visible(connection: asyncpg.Connection) -> list[Preference]:
    """Every preference that the scope sees, shared ones and the member's own, last changed first."""
    rows = await connection.fetch(
        """
        SELECT id, key, value, category, member_id, created_at, updated_at
        FROM preferences ORDER BY updated_at DESC, id DESC
        """
    )
    return [Preference(**row) for row in rows]


async def update(connection: asyncpg.Connection, row_id: int, **changes: Any) -> Preference | None:
    """Changes the named columns (see CHANGEABLE) and returns the row; None when there is none in the scope.

    Raises Conflict when its owner has another one of that key.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise TypeError(f"no such columns to change: {', '.join(sorted(unknown))}")
    try:
        row = await connection.fetchrow(
            """
            UPDATE preferences
            SET (key, value, category) = (
                SELECT changed.key, changed.value, changed.category
                FROM jsonb_populate_record(preferences, $2) AS changed)
            WHERE id = $1
            RETURNING id, key, value, category, member_id, created_at, updated_at
            """,
            row_id,
            changes,
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict("there is another preference of that key", field="key") from error
    return None if row is None else Preference(**row)


async def delete(connection: asyncpg.Connection, row_id: int) -> bool:
    """Forgets it; False when there is none in the scope."""
    return await connection.fetchval("DELETE FROM preferences WHERE id = $1 RETURNING true", row_id) or False
