"""Where something that was told may stand: found in every table of the scope, and deleted for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

Table = Literal["knowledge", "knowledge_history", "conversations", "training_data"]
Said = Literal["conversations", "training_data", "actions"]

WINDOW = 20_000  # rows that one statement reads through; what was said has no index of words
# The text of a row, what names it, its time, and which are looked at, of the tables that are read through.
_SAID = {
    "conversations": ("content", "turn_id", "created_at", "true"),
    "training_data": ("input_text || ' ' || output_text", "turn_id", "created_at", "true"),
    "actions": ("words", "''", "at", "words <> ''"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row and its text."""

    id: int
    text: str
    turn_id: str = ""


async def told(
    connection: asyncpg.Connection, *, before: datetime | None = None, source: str | None = None
) -> list[Row]:
    """Entries, passages left out, that were told before then, or come from that source (also where it is one of
    several)."""
    rows = await connection.fetch(
        """
        SELECT id, content AS text FROM knowledge
        WHERE document_id IS NULL AND (created_at < $1 OR $2 = ANY (string_to_array(source, '; ')))
        ORDER BY id
        """,
        before,
        source,
    )
    return [Row(**row) for row in rows]


async def documents(
    connection: asyncpg.Connection, *, before: datetime | None = None, source: str | None = None
) -> list[Row]:
    """Documents that were taken in before then, or have this name."""
    rows = await connection.fetch(
        "SELECT id, name AS text FROM documents WHERE created_at < $1 OR name = $2 ORDER BY id", before, source
    )
    return [Row(**row) for row in rows]


async def with_words(
    connection: asyncpg.Connection, beginnings: Sequence[str], *, passages: bool, after: int, limit: int
) -> list[Row]:
    """Entries, and `passages` where they are wanted, with ids over `after` and a word for each of the plain
    `beginnings`; by id."""
    rows = await connection.fetch(
        """
        SELECT k.id, k.content AS text
        FROM knowledge_with_words($1, $2, $3, $4) AS found (id) JOIN knowledge k USING (id)
        ORDER BY k.id
        """,
        list(beginnings),
        passages,
        after,
        limit,
    )
    return [Row(**row) for row in rows]


async def by_ids(connection: asyncpg.Connection, ids: Sequence[int]) -> list[Row]:
    """The entries and passages with these ids that are there."""
    rows = await connection.fetch(
        "SELECT id, content AS text FROM knowledge WHERE id = ANY ($1::bigint[]) ORDER BY id", list(ids)
    )
    return [Row(**row) for row in rows]


async def versions(
    connection: asyncpg.Connection,
    *,
    of: Sequence[int] = (),
    before: datetime | None = None,
    source: str | None = None,
) -> list[Row]:
    """What these entries were and took the place of; and versions told before then, or that come from that source."""
    rows = await connection.fetch(
        """
        WITH RECURSIVE chain (entry) AS (
            SELECT unnest($1::bigint[])
            UNION
            SELECT h.entry_id FROM chain c JOIN knowledge_history h ON h.replaced_by = c.entry
        )
        SELECT id, content AS text FROM knowledge_history
        WHERE entry_id IN (SELECT entry FROM chain) OR created_at < $2 OR $3 = ANY (string_to_array(source, '; '))
        ORDER BY id
        """,
        list(of),
        before,
        source,
    )
    return [Row(**row) for row in rows]


async def last_id(connection: asyncpg.Connection, table: Said) -> int:
    """The greatest id that the scope sees; 0 where there is none."""
    return int(await connection.fetchval(f"SELECT coalesce(max(id), 0) FROM {table}"))  # noqa: S608 - one of three names


async def said(
    connection: asyncpg.Connection,
    table: Said,
    *,
    after: int,
    beginnings: Sequence[str] = (),
    phrases: Sequence[str] = (),
    before: datetime | None = None,
) -> list[Row]:
    """Of the next WINDOW ids after `after`: rows that have a word for each of the `beginnings`, that have one of the
    `phrases` (the words in their order, whatever their capitals, accents and punctuation), or that are older."""
    text, turn, at, which = _SAID[table]
    rows = await connection.fetch(
        f"""
        WITH wanted AS (
            SELECT (SELECT string_agg('''' || replace(replace(b, '\\', '\\\\'), '''', '''''') || ''':*', ' & ')::tsquery
                    FROM unnest($3::text[]) AS b) AS together,
                   (SELECT string_agg(q::text, ' | ')::tsquery
                    FROM unnest($4::text[]) AS p CROSS JOIN phraseto_tsquery('public.gateway'::regconfig, p) AS q
                    WHERE numnode(q) > 0) AS phrases
        )
        SELECT r.id, {text} AS text, {turn} AS turn_id FROM {table} r CROSS JOIN wanted w
        WHERE r.id > $1 AND r.id <= $2 AND {which}
          AND (r.{at} < $5
               OR to_tsvector('public.gateway'::regconfig, {text}) @@ coalesce(w.together, '')
               OR to_tsvector('public.gateway'::regconfig, {text}) @@ coalesce(w.phrases, ''))
        ORDER BY r.id
        """,  # noqa: S608 - of constants
        after,
        after + WINDOW,
        list(beginnings),
        list(phrases),
        before,
    )
    return [Row(**row) for row in rows]


async def delete(connection: asyncpg.Connection, table: Table, ids: Sequence[int]) -> int:
    """Deletes these rows (entries with their vectors); how many there were."""
    rows = await connection.fetch(
        f"DELETE FROM {table} WHERE id = ANY ($1::bigint[]) RETURNING 1",  # noqa: S608 - one of four names
        list(ids),
    )
    return len(rows)


async def empty_actions(connection: asyncpg.Connection, ids: Sequence[int]) -> None:
    """Takes the words away in which these things were asked for; what was done stays."""
    await connection.execute("UPDATE actions SET words = '' WHERE id = ANY ($1::bigint[])", list(ids))


async def delete_turns(connection: asyncpg.Connection, turn_ids: Sequence[str]) -> None:
    """Deletes both sides of these turns, and what they were to train with."""
    await connection.execute("DELETE FROM conversations WHERE turn_id = ANY ($1::text[])", list(turn_ids))
    await connection.execute("DELETE FROM training_data WHERE turn_id = ANY ($1::text[])", list(turn_ids))


async def count_vectors(connection: asyncpg.Connection, ids: Sequence[int]) -> int:
    """How many vectors there are of these entries, in every space."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM vectors WHERE kind = 'knowledge' AND ref_id = ANY ($1::bigint[])", list(ids)
        )
    )


async def count_answers(connection: asyncpg.Connection, before: datetime | None = None) -> int:
    """How many answers are stored, of those made before then."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM response_cache WHERE $1::timestamptz IS NULL OR created_at < $1", before
        )
    )


async def now(connection: asyncpg.Connection) -> datetime:
    """The database's own time."""
    value: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return value
