"""Embedding spaces, and the vectors in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg
import numpy as np
from pgvector import Vector

from gateway.errors import Conflict, NotFound
from gateway.shapes import Space

SETTLING_LOCK = 0x7370_6163
BUILDING_LOCK = 0x6275_696C

# building: gets vectors until none is missing, then becomes current. retired: another took its place. set_aside: left
# by the operator, and so not built again by itself.
State = Literal["building", "current", "retired", "set_aside"]


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """A space of the household, as the database knows it."""

    id: int
    space: Space
    state: State


@dataclass(frozen=True, slots=True)
class SpaceSize:
    """What a space holds: vectors, the bytes they take, and unexpired entries that have no vector in it."""

    stored: StoredSpace
    vectors: int
    bytes: int
    missing: int


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


async def settle(connection: asyncpg.Connection, space: Space) -> State:
    """Settles, at a start, what becomes of the space that the settings name; its state afterwards.

    The household's first one is current at once, and so is one in which nothing is missing. Otherwise it is to be
    built, unless the operator has set it aside. Another that was being built is not any more.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SETTLING_LOCK)
    if await current_space(connection) is None:
        await use_space(connection, space)
        return "current"
    named = (space.model, space.dimensions, space.query_prefix, space.document_prefix, space.recipe)
    space_id = await connection.fetchval(
        """
        WITH added AS (
            INSERT INTO embedding_spaces (model, dimensions, query_prefix, document_prefix, recipe)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
            RETURNING id
        )
        SELECT id FROM added
        UNION ALL
        SELECT id FROM embedding_spaces
        WHERE (model, dimensions, query_prefix, document_prefix, recipe) = ($1, $2, $3, $4, $5)
        """,
        *named,
    )
    state: State = await connection.fetchval("SELECT state FROM embedding_spaces WHERE id = $1", space_id)
    await connection.execute(
        "UPDATE embedding_spaces SET state = 'retired' WHERE state = 'building' AND id <> $1", space_id
    )
    if state == "current":
        # The settings agree with the operator again: they have their say from here on.
        await connection.execute("UPDATE embedding_spaces SET state = 'retired' WHERE state = 'set_aside'")
        return "current"
    if state == "set_aside":
        return "set_aside"
    if state == "retired":
        await connection.execute("UPDATE embedding_spaces SET state = 'building' WHERE id = $1", space_id)
    return "current" if await switch(connection, space_id) else "building"


async def in_use(connection: asyncpg.Connection) -> list[StoredSpace]:
    """The current space, and the one that is being built where one is."""
    rows = await connection.fetch(
        """
        SELECT id, state, model, dimensions, query_prefix, document_prefix, recipe FROM embedding_spaces
        WHERE state IN ('current', 'building') ORDER BY state = 'current' DESC, id
        """
    )
    return [_stored(row) for row in rows]


async def still_there(connection: asyncpg.Connection, space_id: int) -> bool:
    """Whether the space has not been dropped; it is not until the transaction ends."""
    return bool(await connection.fetchval("SELECT true FROM embedding_spaces WHERE id = $1 FOR KEY SHARE", space_id))


async def progress(connection: asyncpg.Connection, space_id: int) -> tuple[int, int]:
    """How many unexpired entries the household has, everyone's, and how many of them have no vector in this space."""
    row = await connection.fetchrow("SELECT entries, missing FROM space_progress($1)", space_id)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["entries"], row["missing"]


async def switch(connection: asyncpg.Connection, space_id: int) -> bool:
    """Makes the space that is being built the current one, if no entry of anyone's is without a vector in it; whether
    it has."""
    return bool(await connection.fetchval("SELECT switch_space($1)", space_id))


async def begin_building(connection: asyncpg.Connection, household_id: int) -> bool:
    """Whether this connection is now the only one that builds; until `end_building`, or until it is closed."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, hashint8($2))", BUILDING_LOCK, household_id))


async def end_building(connection: asyncpg.Connection, household_id: int) -> None:
    """Lets others build."""
    await connection.execute("SELECT pg_advisory_unlock($1, hashint8($2))", BUILDING_LOCK, household_id)


async def sizes(owner: asyncpg.Connection, household_id: int) -> list[SpaceSize]:
    """Every space of the household, as the schema's owner, by id."""
    rows = await owner.fetch(
        """
        SELECT s.id, s.state, s.model, s.dimensions, s.query_prefix, s.document_prefix, s.recipe, held.vectors,
               held.bytes, missing.entries
        FROM embedding_spaces s
        CROSS JOIN LATERAL (
            SELECT count(*) AS vectors, coalesce(sum(pg_column_size(v)), 0)::bigint AS bytes
            FROM vectors v WHERE v.household_id = s.household_id AND v.space_id = s.id
        ) AS held
        CROSS JOIN LATERAL (
            SELECT count(*) AS entries FROM knowledge k
            WHERE k.household_id = s.household_id AND (k.expires_at IS NULL OR k.expires_at > now())
              AND NOT EXISTS (
                  SELECT FROM vectors v
                  WHERE v.household_id = k.household_id AND v.space_id = s.id AND v.kind = 'knowledge'
                    AND v.ref_id = k.id)
        ) AS missing
        WHERE s.household_id = $1 ORDER BY s.id
        """,
        household_id,
    )
    return [SpaceSize(_stored(row), row["vectors"], row["bytes"], row["entries"]) for row in rows]


async def go_to(owner: asyncpg.Connection, household_id: int, space_id: int) -> None:
    """Makes this the current space now, as the schema's owner, whatever is missing in it. The one that is left, and one
    that is being built, are set aside. Raises NotFound."""
    async with owner.transaction():
        await _lock(owner, household_id, space_id)
        await owner.execute(
            """
            UPDATE embedding_spaces SET state = 'set_aside'
            WHERE household_id = $1 AND id <> $2 AND state IN ('current', 'building')
            """,
            household_id,
            space_id,
        )
        await owner.execute(
            "UPDATE embedding_spaces SET state = 'current' WHERE id = $1 AND state <> 'current'", space_id
        )


async def drop(owner: asyncpg.Connection, household_id: int, space_id: int) -> None:
    """Drops a space with its vectors, as the schema's owner. Raises NotFound, and Conflict for one that is in use."""
    async with owner.transaction():
        state = await _lock(owner, household_id, space_id)
        if state == "current":
            raise Conflict(f"The space {space_id} is the one that is searched; use another first.", field="id")
        if state == "building":
            raise Conflict(f"The space {space_id} is being built; to use the current one sets it aside.", field="id")
        await owner.execute("DELETE FROM embedding_spaces WHERE id = $1", space_id)


async def _lock(owner: asyncpg.Connection, household_id: int, space_id: int) -> State:
    # The household first, as whoever writes memory does: its epoch moves before the vectors are there.
    await owner.execute("SELECT FROM households WHERE id = $1 FOR NO KEY UPDATE", household_id)
    state: State | None = await owner.fetchval(
        "SELECT state FROM embedding_spaces WHERE household_id = $1 AND id = $2", household_id, space_id
    )
    if state is None:
        raise NotFound(f"There is no space {space_id}; python -m gateway spaces tells which there are.", field="id")
    return state


def _stored(row: asyncpg.Record) -> StoredSpace:
    space = Space(row["model"], row["dimensions"], row["query_prefix"], row["document_prefix"], row["recipe"])
    return StoredSpace(row["id"], space, row["state"])


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
