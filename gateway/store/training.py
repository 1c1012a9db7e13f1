"""Training data: turns that someone rated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

EXPORT_BATCH = 1000


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A rated turn. `feedback_score` is 1 to 5; the comment is in `metadata`."""

    id: int
    turn_id: str
    member_id: int | None
    input_text: str
    output_text: str
    feedback_score: int | None
    interaction_type: str | None
    language: str | None
    created_at: datetime
    exported: bool
    metadata: dict[str, Any]


async def upsert_feedback(
    connection: asyncpg.Connection, turn_id: str, score: int, comment: str | None = None
) -> tuple[TrainingRow, bool] | None:
    """Makes the turn's row, or changes its rating, and tells whether it is new; None when the scope has no such turn.

    A changed rating is to be exported again; the same one once more changes nothing.
    """
    row = await connection.fetchrow(
        """
        INSERT INTO training_data AS t
            (turn_id, member_id, input_text, output_text, feedback_score, interaction_type, language, metadata)
        SELECT u.turn_id, u.member_id, u.content, a.content, $2,
               coalesce(a.metadata ->> 'interaction_type', u.metadata ->> 'interaction_type',
                        CASE WHEN u.intent IS NOT NULL THEN 'command'
                             WHEN u.content LIKE '%?' THEN 'question'
                             ELSE 'conversation' END),
               u.language,
               jsonb_strip_nulls(jsonb_build_object('comment', $3::text, 'unlearned', u.metadata -> 'unlearned'))
        FROM conversations u JOIN conversations a ON a.turn_id = u.turn_id AND a.role = 'assistant'
        WHERE u.turn_id = $1 AND u.role = 'user'
        ON CONFLICT (household_id, turn_id) DO UPDATE
            SET feedback_score = EXCLUDED.feedback_score,
                metadata = t.metadata || EXCLUDED.metadata,
                exported = t.exported AND t.feedback_score IS NOT DISTINCT FROM EXCLUDED.feedback_score
                           AND t.metadata @> EXCLUDED.metadata
        RETURNING id, turn_id, member_id, input_text, output_text, feedback_score, interaction_type, language,
                  created_at, exported, metadata, xmax = 0 AS created
        """,
        turn_id,
        score,
        comment,
    )
    if row is None:
        return None
    columns = dict(row)
    created = columns.pop("created")
    return TrainingRow(**columns), created


async def export(
    connection: asyncpg.Connection,
    *,
    min_score: int | None = None,
    since: datetime | None = None,
    only_new: bool = False,
    batch: int = EXPORT_BATCH,
) -> AsyncIterator[list[TrainingRow]]:
    """Batches of rows by id from a server-side cursor, so that any number of them takes the memory of one batch.

    A turn that is not to be learned from has its rating, and is not among them."""
    cursor = await connection.cursor(
        """
        SELECT id, turn_id, member_id, input_text, output_text, feedback_score, interaction_type, language,
               created_at, exported, metadata
        FROM training_data
        WHERE ($1::integer IS NULL OR feedback_score >= $1)
          AND ($2::timestamptz IS NULL OR created_at >= $2)
          AND (NOT $3 OR NOT exported)
          AND NOT metadata ? 'unlearned'
        ORDER BY id
        """,
        min_score,
        since,
        only_new,
    )
    while rows := await cursor.fetch(batch):
        yield [TrainingRow(**row) for row in rows]


async def mark_exported(connection: asyncpg.Connection, ids: Sequence[int]) -> int:
    """Notes that these rows were sent; returns how many were not noted before."""
    rows = await connection.fetch(
        """
        UPDATE training_data SET exported = true WHERE id = ANY ($1::bigint[]) AND NOT exported RETURNING 1
        """,
        list(ids),
    )
    return len(rows)


async def count(connection: asyncpg.Connection) -> int:
    """How many rows the scope sees."""
    return int(await connection.fetchval("SELECT count(*) FROM training_data"))
