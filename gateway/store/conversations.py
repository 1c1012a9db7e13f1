"""What was said: two rows a turn, the user's and the assistant's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """One side of a turn as it is kept."""

    id: int
    turn_id: str
    session_id: str
    member_id: int | None
    role: str
    content: str
    language: str | None
    intent: str | None
    created_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One side of a turn to be kept."""

    turn_id: str
    session_id: str
    member_id: int | None
    role: str
    content: str
    language: str | None
    intent: str | None
    created_at: datetime
    metadata: dict[str, Any] = field(default_factory=dict)


class PastTurn(NamedTuple):
    """A turn of the past, to be put before the model."""

    id: int
    turn_id: str
    user: str
    assistant: str
    at: datetime


async def insert(connection: asyncpg.Connection, rows: Sequence[Said]) -> None:
    """Adds rows; a side of a turn that is there already stays as it is."""
    await connection.executemany(
        """
        INSERT INTO conversations
            (turn_id, session_id, member_id, role, content, language, intent, created_at, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (household_id, turn_id, role) DO NOTHING
        """,
        [
            (
                row.turn_id,
                row.session_id,
                row.member_id,
                row.role,
                row.content,
                row.language,
                row.intent,
                row.created_at,
                row.metadata,
            )
            for row in rows
        ],
    )


async def mark_corrected(connection: asyncpg.Connection, turn_id: str, by: str) -> str | None:
    """Notes that turn `by` called this turn's answer wrong; the cache key of that answer, where it has one."""
    rows = await connection.fetch(
        """
        UPDATE conversations SET metadata = metadata || jsonb_build_object('corrected_by', $2::text)
        WHERE turn_id = $1
        RETURNING metadata ->> 'cache_key' AS cache_key
        """,
        turn_id,
        by,
    )
    return next((row["cache_key"] for row in rows if row["cache_key"]), None)


async def last_turns(connection: asyncpg.Connection, session_id: str, turns: int, since: datetime) -> list[PastTurn]:
    """The last `turns` turns of a session not before `since`, oldest first; unanswered ones have an empty answer."""
    rows = await connection.fetch(
        """
        SELECT u.id, u.turn_id, u.content AS "user", coalesce(a.content, '') AS assistant, u.created_at AS at
        FROM conversations u LEFT JOIN conversations a ON a.turn_id = u.turn_id AND a.role = 'assistant'
        WHERE u.session_id = $1 AND u.role = 'user' AND u.created_at >= $3
        ORDER BY u.created_at DESC, u.id DESC LIMIT $2
        """,
        session_id,
        turns,
        since,
    )
    return [PastTurn(**row) for row in reversed(rows)]


async def matching(
    connection: asyncpg.Connection,
    *,
    question: str,
    since: datetime | None,
    until: datetime | None,
    but_session: str | None,
    limit: int,
) -> list[tuple[PastTurn, float]]:
    """Turns from `since` to before `until` in which words of `question` were said, best first, with the share of the
    question's words, by their weight, that they have (0 to 1). None of the session `but_session`, and none that is not
    to be learned from."""
    rows = await connection.fetch(
        """
        SELECT u.id, found.turn_id, u.content AS "user", coalesce(a.content, '') AS assistant, u.created_at AS at,
               found.share
        FROM search_conversations($1, $2, $3, $4, $5) AS found
        JOIN conversations u ON u.turn_id = found.turn_id AND u.role = 'user'
        LEFT JOIN conversations a ON a.turn_id = found.turn_id AND a.role = 'assistant'
        ORDER BY found.share DESC, u.created_at DESC
        """,
        question,
        since,
        until,
        but_session,
        limit,
    )
    return [
        (PastTurn(row["id"], row["turn_id"], row["user"], row["assistant"], row["at"]), row["share"]) for row in rows
    ]


async def between(
    connection: asyncpg.Connection,
    *,
    since: datetime,
    until: datetime,
    but_session: str | None,
    limit: int,
) -> list[PastTurn]:
    """The newest turns from `since` to before `until`, newest first; none of the session `but_session`, and none that
    is not to be learned from."""
    rows = await connection.fetch(
        """
        SELECT u.id, u.turn_id, u.content AS "user", coalesce(a.content, '') AS assistant, u.created_at AS at
        FROM conversations u LEFT JOIN conversations a ON a.turn_id = u.turn_id AND a.role = 'assistant'
        WHERE u.role = 'user' AND u.created_at >= $1 AND u.created_at < $2 AND u.session_id IS DISTINCT FROM $3
          AND NOT u.metadata ? 'unlearned'
        ORDER BY u.created_at DESC, u.id DESC LIMIT $4
        """,
        since,
        until,
        but_session,
        limit,
    )
    return [PastTurn(**row) for row in rows]


async def count_since(connection: asyncpg.Connection, since: datetime) -> int:
    """How many turns the scope sees from `since` on."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM conversations WHERE role = 'user' AND created_at >= $1",
            since,
        )
    )


async def page(
    connection: asyncpg.Connection,
    *,
    before_id: int | None = None,
    limit: int = 50,
    session_id: str | None = None,
    role: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[ConversationRow]:
    """Newest first, those before the id `before_id`; of one session, one role, from `since` to before `until`."""
    rows = await connection.fetch(
        """
        SELECT id, turn_id, session_id, member_id, role, content, language, intent, created_at, metadata
        FROM conversations
        WHERE ($1::bigint IS NULL OR id < $1)
          AND ($3::text IS NULL OR session_id = $3)
          AND ($4::text IS NULL OR role = $4)
          AND ($5::timestamptz IS NULL OR created_at >= $5)
          AND ($6::timestamptz IS NULL OR created_at < $6)
        ORDER BY id DESC LIMIT $2
        """,
        before_id,
        limit,
        session_id,
        role,
        since,
        until,
    )
    return [ConversationRow(**row) for row in rows]


async def turn(connection: asyncpg.Connection, turn_id: str) -> list[ConversationRow]:
    """Both sides of a turn, the user's first; empty when there is none in the scope."""
    rows = await connection.fetch(
        """
        SELECT id, turn_id, session_id, member_id, role, content, language, intent, created_at, metadata
        FROM conversations WHERE turn_id = $1 ORDER BY role DESC
        """,
        turn_id,
    )
    return [ConversationRow(**row) for row in rows]
