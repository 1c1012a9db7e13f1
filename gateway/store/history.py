"""What was known before: versions of knowledge that are out of force, and the ways there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg

from gateway.store import knowledge
from gateway.store.knowledge import Knowledge

Reason = Literal["edited", "superseded", "merged", "archived"]

# The entry $1, and every one that it, or one of these, took the place of.
_CHAIN = """
    chain (entry) AS (
        SELECT $1::bigint
        UNION
        SELECT h.entry_id FROM chain c JOIN knowledge_history h ON h.replaced_by = c.entry
    )
"""


@dataclass(frozen=True, slots=True)
class Version:
    """What an entry was until `ended_at`; `created_at` is when it was first told. `entry_id` is the entry's own, or
    (merged) that of the one it went into; `replaced_by` the one that took its place, None where none did."""

    id: int
    entry_id: int
    content: str
    source: str | None
    tags: list[str]
    kind: str
    member_id: int | None
    confidence: float
    pinned: bool
    expires_at: datetime | None
    created_at: datetime
    ended_at: datetime
    reason: Reason
    replaced_by: int | None


async def lock(connection: asyncpg.Connection) -> None:
    """Until the transaction's end no other one sets the household's knowledge in order: what two are told at once is
    compared all the same. To be taken before anything is written."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('order of household ' || current_household(), 0))"
    )


async def same_words(connection: asyncpg.Connection, contents: Sequence[str], member_id: int | None) -> list[Knowledge]:
    """This owner's unexpired entries, no passages, with the words of one of `contents`; the newest first."""
    rows = await connection.fetch(
        """
        SELECT id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at, updated_at,
               document_id, page, heading
        FROM knowledge
        WHERE words_hash = ANY (ARRAY(SELECT words_hash(content) FROM unnest($1::text[]) AS content))
          AND document_id IS NULL AND member_id IS NOT DISTINCT FROM $2
          AND (expires_at IS NULL OR expires_at > now())
        ORDER BY id DESC
        """,
        list(contents),
        member_id,
    )
    return [Knowledge(**row) for row in rows]


async def keep_before(connection: asyncpg.Connection, entry_id: int, changes: Mapping[str, Any]) -> None:
    """Keeps an entry as it is, before these columns are changed; not where they say what it says already."""
    await connection.execute(
        """
        INSERT INTO knowledge_history (member_id, entry_id, content, source, tags, kind, confidence, pinned, expires_at,
                                       created_at, reason)
        SELECT k.member_id, k.id, k.content, k.source, k.tags, k.kind, k.confidence, k.pinned, k.expires_at,
               k.created_at, 'edited'
        FROM knowledge k CROSS JOIN LATERAL jsonb_populate_record(k, $2) AS changed
        WHERE k.id = $1
          AND (k.content, k.source, k.tags, k.kind, k.pinned, k.expires_at)
              IS DISTINCT FROM (changed.content, changed.source, changed.tags, changed.kind, changed.pinned,
                                changed.expires_at)
        """,
        entry_id,
        dict(changes),
    )


async def merge(
    connection: asyncpg.Connection,
    entry: Knowledge,
    *,
    content: str,
    source: str | None,
    tags: Sequence[str],
    pinned: bool,
    expires_at: datetime | None,
) -> Knowledge:
    """Tells `entry` once more, in these words: its own wording, where it is another one, is kept as a version."""
    if content != entry.content:
        await connection.execute(
            """
            INSERT INTO knowledge_history (member_id, entry_id, content, source, tags, kind, confidence, pinned,
                                           expires_at, created_at, reason, replaced_by)
            SELECT member_id, id, content, source, tags, kind, confidence, pinned, expires_at, created_at, 'merged', id
            FROM knowledge WHERE id = $1
            """,
            entry.id,
        )
    merged = await knowledge.update(
        connection,
        entry.id,
        content=content,
        source=source,
        tags=list(tags),
        pinned=pinned,
        expires_at=expires_at.isoformat() if expires_at else None,
        confidence=1,
    )
    assert merged is not None  # noqa: S101 - this transaction has just seen it
    await recalled(connection, [entry.id])
    return merged


async def put_away(
    connection: asyncpg.Connection, ids: Sequence[int], reason: Reason, *, replaced_by: int | None = None
) -> int:
    """Takes entries out of force, with their vectors; how many there were."""
    rows = await connection.fetch(
        """
        WITH gone AS (
            DELETE FROM knowledge WHERE id = ANY ($1::bigint[])
            RETURNING member_id, id, content, source, tags, kind, confidence, pinned, expires_at, created_at
        )
        INSERT INTO knowledge_history (member_id, entry_id, content, source, tags, kind, confidence, pinned, expires_at,
                                       created_at, reason, replaced_by)
        SELECT member_id, id, content, source, tags, kind, confidence, pinned, expires_at, created_at, $2, $3 FROM gone
        RETURNING 1
        """,
        list(ids),
        reason,
        replaced_by,
    )
    return len(rows)


async def versions(connection: asyncpg.Connection, entry_id: int) -> list[Version]:
    """What the entry was before, and what it took the place of, however long ago; the newest first."""
    rows = await connection.fetch(
        f"""
        WITH RECURSIVE {_CHAIN}
        SELECT id, entry_id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at,
               ended_at, reason, replaced_by
        FROM knowledge_history WHERE entry_id IN (SELECT entry FROM chain)
        ORDER BY ended_at DESC, id DESC
        """,  # noqa: S608 - a constant
        entry_id,
    )
    return [Version(**row) for row in rows]


async def get(connection: asyncpg.Connection, version_id: int) -> Version | None:
    """The version with this id; None when there is none in the scope."""
    row = await connection.fetchrow(
        """
        SELECT id, entry_id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at,
               ended_at, reason, replaced_by
        FROM knowledge_history WHERE id = $1
        """,
        version_id,
    )
    return None if row is None else Version(**row)


async def restore(connection: asyncpg.Connection, version: Version) -> Knowledge:
    """Puts a version back in force, fresh, and out of the history.

    Where its entry is there, that one says again what it said, and what it says now is kept; where it is gone, it is
    there again under its id. What was merged into another entry becomes one of its own. An end that has passed is none.
    """
    ends = version.expires_at if version.expires_at and version.expires_at > datetime.now(UTC) else None
    alive = await knowledge.get(connection, version.entry_id)
    if version.reason == "merged":
        restored: Knowledge | None = await knowledge.insert(
            connection,
            content=version.content,
            source=version.source,
            tags=version.tags,
            kind=version.kind,
            member_id=version.member_id,
            expires_at=ends,
            pinned=version.pinned,
        )
    elif alive is not None:
        changes: dict[str, Any] = {
            "content": version.content,
            "source": version.source,
            "tags": version.tags,
            "kind": version.kind,
            "pinned": version.pinned,
            "expires_at": ends.isoformat() if ends else None,
        }
        await keep_before(connection, alive.id, changes)
        restored = await knowledge.update(connection, alive.id, confidence=1, **changes)
    else:
        await connection.execute(
            """
            INSERT INTO knowledge (id, content, source, tags, kind, member_id, expires_at, pinned, created_at)
            OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            """,
            version.entry_id,
            version.content,
            version.source,
            version.tags,
            version.kind,
            version.member_id,
            ends,
            version.pinned,
            version.created_at,
        )
        restored = await knowledge.get(connection, version.entry_id)
    assert restored is not None  # noqa: S101 - this transaction has just written it
    await connection.execute("DELETE FROM knowledge_history WHERE id = $1", version.id)
    await recalled(connection, [restored.id])
    return restored


async def forget(connection: asyncpg.Connection, entry_id: int) -> int:
    """Deletes what the entry was before, and what it took the place of, for good; how many versions."""
    rows = await connection.fetch(
        f"""
        WITH RECURSIVE {_CHAIN}
        DELETE FROM knowledge_history WHERE entry_id IN (SELECT entry FROM chain) RETURNING 1
        """,  # noqa: S608 - a constant
        entry_id,
    )
    return len(rows)


async def matching(
    connection: asyncpg.Connection, beginnings: Sequence[str], *, limit: int, archived: bool = False
) -> list[Version]:
    """Versions that have words which begin so (plain: no capitals, no accents), those first that have most of them;
    with `archived` only what nobody recalled any more."""
    rows = await connection.fetch(
        """
        SELECT h.id, h.entry_id, h.content, h.source, h.tags, h.kind, h.member_id, h.confidence, h.pinned,
               h.expires_at, h.created_at, h.ended_at, h.reason, h.replaced_by
        FROM search_history($1, $2, $3) WITH ORDINALITY AS found (id, place) JOIN knowledge_history h USING (id)
        ORDER BY place
        """,
        list(beginnings),
        archived,
        limit,
    )
    return [Version(**row) for row in rows]


async def recalled(connection: asyncpg.Connection, ids: Sequence[int]) -> None:
    """Notes that these entries were put before the model just now."""
    await connection.execute("UPDATE knowledge SET last_recalled_at = now() WHERE id = ANY ($1::bigint[])", list(ids))


async def fade(
    connection: asyncpg.Connection, *, half_life: timedelta, after: int, limit: int, step: float = 0.01
) -> int | None:
    """Writes how sure it still is that the entries are wanted: 1 when they were told, changed or recalled, half of that
    a half-life later; pinned ones stay at 1, and passages of documents are left alone. Of a member's scope the member's
    own. Goes through `limit` entries
    with ids over `after`, and changes by less than `step` wait; the last id it saw, or None at the end.
    """
    last: int | None = await connection.fetchval(
        """
        WITH seen AS (
            SELECT id, confidence,
                   CASE WHEN pinned THEN 1 ELSE
                        power(0.5, extract(epoch FROM greatest(now() - greatest(updated_at, last_recalled_at), '0'))
                                   / extract(epoch FROM $1::interval))
                   END AS faded
            FROM knowledge
            WHERE id > $2 AND document_id IS NULL AND member_id IS NOT DISTINCT FROM (SELECT current_member())
            ORDER BY id LIMIT $3
        ), written AS (
            UPDATE knowledge k SET confidence = s.faded FROM seen s
            WHERE k.id = s.id AND abs(s.confidence - s.faded) >= $4
        )
        SELECT max(id) FROM seen
        """,
        half_life,
        after,
        limit,
        step,
    )
    return last


async def faded(connection: asyncpg.Connection, below: float, limit: int) -> list[int]:
    """Entries whose confidence is below that, the oldest first; never pinned ones or passages. Of a member's scope the
    member's own."""
    rows = await connection.fetch(
        """
        SELECT id FROM knowledge
        WHERE confidence < $1 AND NOT pinned AND document_id IS NULL
          AND member_id IS NOT DISTINCT FROM (SELECT current_member())
        ORDER BY id LIMIT $2
        """,
        below,
        limit,
    )
    return [row["id"] for row in rows]


async def delete_archived(connection: asyncpg.Connection, before: datetime) -> int:
    """Deletes for good what was archived before then, with what it had been; how many versions."""
    rows = await connection.fetch(
        """
        DELETE FROM knowledge_history WHERE entry_id IN (
            SELECT entry_id FROM knowledge_history WHERE reason = 'archived' AND ended_at < $1)
          AND NOT EXISTS (SELECT FROM knowledge k WHERE k.id = entry_id)
        RETURNING 1
        """,
        before,
    )
    return len(rows)
