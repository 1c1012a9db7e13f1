"""Embedding spaces, and the vectors in them."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import numpy as np
from pgvector import Vector

from gateway.shapes import Space


async def current_space(connection: asyncpg.Connection) -> Space | None:
    """The space that the household's memory is searched in; None before the first one is chosen."""
    row = await connection.fetchrow(
        """
        SELECT model, dimensions, query_prefix, document_prefix, recipe FROM embedding_spaces WHERE state = 'current'
        """
    )
    return None if row is None else Space(**row)


async def use_space(connection: asyncpg.Connection, space: Space) -> int:
    """Makes `space` the current one, retires the other, and returns its id. Vectors of both stay."""
    await connection.execute(
        """
        UPDATE embedding_spaces SET state = 'retired'
        WHERE state = 'current'
          AND (model, dimensions, query_prefix, document_prefix, recipe) IS DISTINCT FROM ($1, $2, $3, $4, $5)
        """,
        space.model,
        space.dimensions,
        space.query_prefix,
        space.document_prefix,
        space.recipe,
    )
    return int(
        await connection.fetchval(
            """
            INSERT INTO embedding_spaces (model, dimensions, query_prefix, document_prefix, recipe, state)
            VALUES ($1, $2, $3, $4, $5, 'current')
            ON CONFLICT (household_id, model, dimensions, query_prefix, document_prefix, recipe)
                DO UPDATE SET state = 'current'
            RETURNING id
            """,
            space.model,
            space.dimensions,
            space.query_prefix,
            space.document_prefix,
            space.recipe,
        )
    )


async def upsert(
    connection: asyncpg.Connection,
    space_id: int,
    kind: str,
    rows: Sequence[tuple[int, int | None, np.ndarray]],
    *,
    made_of: Sequence[str] | None = None,
) -> int:
    """Stores vectors, each (id of its row, that row's member_id, vector), in one statement; returns how many.

    With `made_of`, the texts that knowledge vectors were made of, those are left out whose row is gone or says
    something else by now: embedding takes long enough for that.
    """
    stored = await connection.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::vector[], $6::text[])
                AS given (ref_id, member_id, embedding, content)
        ), unchanged AS (
            -- The lock holds off a change of the text until this vector is there, to be dropped with it.
            SELECT k.id FROM knowledge k JOIN given ON given.ref_id = k.id AND given.content = k.content
            WHERE $2 = 'knowledge' ORDER BY k.id FOR SHARE OF k
        )
        INSERT INTO vectors (space_id, kind, ref_id, member_id, embedding)
        SELECT $1, $2, ref_id, member_id, embedding FROM given
        WHERE content IS NULL OR ref_id IN (SELECT id FROM unchanged)
        ON CONFLICT (household_id, space_id, kind, ref_id)
            DO UPDATE SET embedding = EXCLUDED.embedding, member_id = EXCLUDED.member_id
        RETURNING 1
        """,
        space_id,
        kind,
        [row[0] for row in rows],
        [row[1] for row in rows],
        [Vector(row[2]) for row in rows],  # asyncpg would take an ndarray within a list for a deeper list
        [None] * len(rows) if made_of is None else list(made_of),
    )
    return len(stored)


async def of_rows(
    connection: asyncpg.Connection, space_id: int, kind: str, ids: Sequence[int]
) -> dict[int, np.ndarray]:
    """The vectors of these rows in this space, by the row's id; one without a vector is missing."""
    rows = await connection.fetch(
        """
        SELECT ref_id, embedding FROM vectors WHERE space_id = $1 AND kind = $2 AND ref_id = ANY ($3::bigint[])
        """,
        space_id,
        kind,
        list(ids),
    )
    return {row["ref_id"]: row["embedding"] for row in rows}


async def sample(connection: asyncpg.Connection, space_id: int, kind: str, limit: int) -> dict[int, np.ndarray]:
    """Up to `limit` vectors (2 or more) of this space, by the row's id, from all over what the scope sees; all of them
    where the ids span no more. The same rows have the same sample."""
    rows = await connection.fetch(
        """
        WITH ends AS (
            SELECT min(ref_id) AS first, max(ref_id) AS last FROM vectors WHERE space_id = $1 AND kind = $2
        )
        SELECT DISTINCT ON (found.ref_id) found.ref_id, found.embedding
        FROM ends CROSS JOIN generate_series(0, $3::bigint - 1) AS step CROSS JOIN LATERAL (
            SELECT v.ref_id, v.embedding FROM vectors v
            WHERE v.space_id = $1 AND v.kind = $2 AND v.ref_id >= first + (last - first) * step / ($3::bigint - 1)
            ORDER BY v.ref_id LIMIT 1
        ) AS found
        ORDER BY found.ref_id
        """,
        space_id,
        kind,
        limit,
    )
    return {row["ref_id"]: row["embedding"] for row in rows}
