"""The response cache's table: its slowest and longest-lived layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg


@dataclass(frozen=True, slots=True)
class CacheRow:
    """A stored answer. `query_hash` is the whole request's; `query_text` the normalised words; times are UTC."""

    query_hash: str
    query_text: str
    response: str
    memory_epoch: int
    prompt_fingerprint: str = ""
    member_id: int | None = None
    expires_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    hit_count: int = 0
    created_at: datetime | None = None
    last_used_at: datetime | None = None


class CacheTotals(NamedTuple):
    """The household's cache: how many answers, their bytes (questions and answers), how often they were used."""

    entries: int
    bytes: int
    hits: int


async def get(connection: asyncpg.Connection, query_hash: str) -> CacheRow | None:
    """The unexpired answer to this hash in the scope."""
    row = await connection.fetchrow(
        """
        SELECT query_hash, query_text, response, memory_epoch, prompt_fingerprint, member_id, expires_at, metadata,
               hit_count, created_at, last_used_at
        FROM response_cache
        WHERE query_hash = $1 AND (expires_at IS NULL OR expires_at > now())
        ORDER BY member_id NULLS LAST LIMIT 1
        """,
        query_hash,
    )
    return None if row is None else CacheRow(**row)


async def put(connection: asyncpg.Connection, rows: Sequence[CacheRow], generation: int, max_entries: int) -> bool:
    """Stores answers in place of those before; over `max_entries` the household's least recently used go.

    False, and nothing is stored, where answers were taken back since `generation`: these may be among them.
    """
    await connection.execute("SELECT pg_advisory_xact_lock_shared(answers_lock(current_household()))")
    # A statement of its own: it sees what was committed while the lock was waited for.
    current = await connection.fetchval("SELECT cache_generation FROM households WHERE id = current_household()")
    if current != generation:
        return False
    await connection.executemany(
        """
        INSERT INTO response_cache
            (query_hash, query_text, response, memory_epoch, prompt_fingerprint, member_id, expires_at, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (household_id, member_id, query_hash) DO UPDATE
            SET query_text = EXCLUDED.query_text, response = EXCLUDED.response, memory_epoch = EXCLUDED.memory_epoch,
                prompt_fingerprint = EXCLUDED.prompt_fingerprint, expires_at = EXCLUDED.expires_at,
                metadata = EXCLUDED.metadata, hit_count = 0, created_at = now(), last_used_at = now()
        """,
        [
            (
                row.query_hash,
                row.query_text,
                row.response,
                row.memory_epoch,
                row.prompt_fingerprint,
                row.member_id,
                row.expires_at,
                row.metadata,
            )
            for row in rows
        ],
    )
    await connection.fetchval("SELECT trim_response_cache($1)", max_entries)
    return True


async def renew(connection: asyncpg.Connection, renewed: Sequence[tuple[str, str, int, datetime]]) -> None:
    """Takes answers over into another memory epoch, each (hash, fingerprint, epoch, when it ends), where they are still
    the answers to that prompt."""
    await connection.execute(
        """
        UPDATE response_cache c
        SET memory_epoch = renewed.epoch, expires_at = least(c.expires_at, renewed.ends)
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
            AS renewed (query_hash, fingerprint, epoch, ends)
        WHERE c.query_hash = renewed.query_hash AND c.prompt_fingerprint = renewed.fingerprint
        """,
        [query_hash for query_hash, _, _, _ in renewed],
        [fingerprint for _, fingerprint, _, _ in renewed],
        [epoch for _, _, epoch, _ in renewed],
        [ends for _, _, _, ends in renewed],
    )


async def touch(connection: asyncpg.Connection, used: Sequence[tuple[str, int, datetime]]) -> None:
    """Adds up uses, each (hash, hits since the last time, when last)."""
    await connection.execute(
        """
        UPDATE response_cache c
        SET hit_count = c.hit_count + used.hits, last_used_at = greatest(c.last_used_at, used.at)
        FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS used (query_hash, hits, at)
        WHERE c.query_hash = used.query_hash
        """,
        [query_hash for query_hash, _, _ in used],
        [hits for _, hits, _ in used],
        [at for _, _, at in used],
    )


async def take_back(
    connection: asyncpg.Connection, *, query_hash: str | None = None, query_text: str | None = None
) -> list[str]:
    """Ends the answers in the scope to one request, or to these normalised words, for every gateway; their hashes."""
    rows = await connection.fetch(
        "SELECT take_back_answers($1, $2) AS query_hash", [query_hash] if query_hash else [], query_text
    )
    return [row["query_hash"] for row in rows]


async def clear_expired(connection: asyncpg.Connection) -> int:
    """Deletes what has expired, of the whole household; returns how many."""
    return int(await connection.fetchval("SELECT clear_response_cache(true)"))


async def clear_all(connection: asyncpg.Connection) -> int:
    """Ends every answer of the household, for every gateway; returns how many."""
    return int(await connection.fetchval("SELECT clear_response_cache(false)"))


async def stats(connection: asyncpg.Connection) -> CacheTotals:
    """The household's totals."""
    row = await connection.fetchrow("SELECT entries, bytes, hits FROM response_cache_totals()")
    return CacheTotals(**row)
