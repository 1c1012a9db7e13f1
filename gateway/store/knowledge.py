"""Knowledge: what the household was told. Search by meaning (vectors) and by words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg
import numpy as np

CHANGEABLE = frozenset(
    {"content", "language", "source", "tags", "kind", "member_id", "confidence", "pinned", "expires_at"}
)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """One thing known. `member_id` None: shared by the household. `confidence` is 0 to 1. A document's passage has its
    `document_id`, and where there are such its `page` and the `heading` above it. `language` is a two- or three-letter
    code, None where it is not known."""

    id: int
    content: str
    source: str | None
    tags: list[str]
    kind: str
    member_id: int | None
    confidence: float
    pinned: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    document_id: int | None = None
    page: int | None = None
    heading: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class NewKnowledge:
    """One thing to be known. Of two with the same `reference` the first one stays."""

    content: str
    source: str | None = None
    tags: Sequence[str] = ()
    kind: str = "fact"
    member_id: int | None = None
    expires_at: datetime | None = None
    pinned: bool = False
    reference: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search keeps to: what has every one of `tags`, is `member`'s own, is of this kind, was told at `since` or
    after, and before `until`, and is a passage of this document (its id)."""

    tags: Sequence[str] = ()
    member: int | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    document: int | None = None


EVERYTHING = Filter()
EXACT_ROWS = 20_000  # among so many the nearest are found in 20 ms by looking at all: no index is quicker and exact


@dataclass(frozen=True, slots=True)
class WordMatch:
    """How a row matches a question's words: BM25's score; `strength`, what part that is of the most that the question
    could give (0 to 1); `share`, the part of the question's words (by their weight) that the row has (0 to 1);
    `misspelt`, the part of them that nobody here ever said, and for which words much like them were looked for."""

    bm25: float
    strength: float
    share: float
    misspelt: float = 0.0


async def insert(
    connection: asyncpg.Connection,
    *,
    content: str,
    source: str | None = None,
    tags: Sequence[str] = (),
    kind: str = "fact",
    member_id: int | None = None,
    expires_at: datetime | None = None,
    pinned: bool = False,
    reference: str | None = None,
    language: str | None = None,
) -> Knowledge:
    """Adds one and returns it; where `reference` is there already, returns that one unchanged."""
    row = await connection.fetchrow(
        """
        WITH added AS (
            INSERT INTO knowledge (content, source, tags, kind, member_id, expires_at, pinned, reference, language)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (household_id, reference) DO NOTHING
            RETURNING id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at,
                  updated_at, document_id, page, heading, language
        )
        SELECT * FROM added
        UNION ALL
        SELECT id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at, updated_at,
               document_id, page, heading, language
        FROM knowledge WHERE reference = $8
        LIMIT 1
        """,
        content,
        source,
        list(tags),
        kind,
        member_id,
        expires_at,
        pinned,
        reference,
        language,
    )
    return Knowledge(**row)


async def insert_many(connection: asyncpg.Connection, rows: Sequence[NewKnowledge]) -> list[int]:
    """Adds many in one statement (the epoch moves once) and returns their ids in the same order.

    Rows whose `reference` is there already are left out, and so are their ids.
    """
    added = await connection.fetch(
        """
        INSERT INTO knowledge (content, source, tags, kind, member_id, expires_at, pinned, reference, language)
        SELECT content, source, tags, kind, member_id, expires_at, pinned, reference, language
        FROM ROWS FROM (jsonb_to_recordset($1) AS (
            content text, source text, tags text[], kind text, member_id bigint, expires_at timestamptz,
            pinned boolean, reference text, language text)) WITH ORDINALITY
        ORDER BY ordinality
        ON CONFLICT (household_id, reference) DO NOTHING
        RETURNING id
        """,
        [asdict(row) for row in rows],
    )
    return [row["id"] for row in added]


async def languages(connection: asyncpg.Connection, ids: Sequence[int]) -> dict[int, str | None]:
    """The language of each of these rows, None where it is not known."""
    rows = await connection.fetch("SELECT id, language FROM knowledge WHERE id = ANY ($1::bigint[])", list(ids))
    return {row["id"]: row["language"] for row in rows}


async def count_referenced(connection: asyncpg.Connection, references: Sequence[str | None]) -> int:
    """How many of these references are stored."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM knowledge WHERE reference = ANY ($1::text[])",
            [reference for reference in references if reference is not None],
        )
    )


async def get(connection: asyncpg.Connection, row_id: int) -> Knowledge | None:
    """The one with this id, expired or not; None when there is none in the scope."""
    row = await connection.fetchrow(
        """
        SELECT id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at, updated_at,
               document_id, page, heading, language
        FROM knowledge WHERE id = $1
        """,
        row_id,
    )
    return None if row is None else Knowledge(**row)


async def update(connection: asyncpg.Connection, row_id: int, **changes: Any) -> Knowledge | None:
    """Changes the named columns (see CHANGEABLE) and returns the row; None when there is none in the scope.

    Changed content, or another owner, drops the row's vectors.
    """
    _only(changes, CHANGEABLE)
    row = await connection.fetchrow(
        """
        UPDATE knowledge
        SET (content, language, source, tags, kind, member_id, confidence, pinned, expires_at) = (
            SELECT changed.content, changed.language, changed.source, changed.tags, changed.kind, changed.member_id,
                   changed.confidence, changed.pinned, changed.expires_at
            FROM jsonb_populate_record(knowledge, $2) AS changed)
        WHERE id = $1
        RETURNING id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at,
                  updated_at, document_id, page, heading, language
        """,
        row_id,
        changes,
    )
    return None if row is None else Knowledge(**row)


async def delete(connection: asyncpg.Connection, row_id: int) -> bool:
    """Forgets it and its vectors; False when there is none in the scope."""
    return await connection.fetchval("DELETE FROM knowledge WHERE id = $1 RETURNING true", row_id) or False


async def page(
    connection: asyncpg.Connection,
    *,
    after: int = 0,
    limit: int = 50,
    tags: Sequence[str] = (),
    member: int | None = None,
) -> list[Knowledge]:
    """By id, those after the id `after`; only those with every one of `tags`, only that member's own."""
    rows = await connection.fetch(
        """
        SELECT id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at, updated_at,
               document_id, page, heading, language
        FROM knowledge
        WHERE id > $1 AND tags @> $3 AND ($4::bigint IS NULL OR member_id = $4)
        ORDER BY id LIMIT $2
        """,
        after,
        limit,
        list(tags),
        member,
    )
    return [Knowledge(**row) for row in rows]


async def newest(connection: asyncpg.Connection, limit: int) -> list[Knowledge]:
    """What was told last, the newest first; nothing that has expired, and no passages of documents."""
    rows = await connection.fetch(
        """
        SELECT id, content, source, tags, kind, member_id, confidence, pinned, expires_at, created_at, updated_at,
               document_id, page, heading, language
        FROM knowledge
        WHERE document_id IS NULL AND (expires_at IS NULL OR expires_at > now())
        ORDER BY id DESC LIMIT $1
        """,
        limit,
    )
    return [Knowledge(**row) for row in rows]


async def nearest(
    connection: asyncpg.Connection,
    *,
    space_id: int,
    embedding: np.ndarray,
    limit: int,
    only: Filter = EVERYTHING,
    exact_rows: int = EXACT_ROWS,
) -> list[tuple[Knowledge, float]]:
    """The unexpired ones nearest in meaning, best first, each with its cosine similarity (-1 to 1).

    Exact while the scope and the filter leave up to `exact_rows` to choose from, and while the space has no index.
    """
    rows = await connection.fetch(
        """
        SELECT k.id, k.content, k.source, k.tags, k.kind, k.member_id, k.confidence, k.pinned, k.expires_at,
               k.created_at, k.updated_at, k.document_id, k.page, k.heading, k.language,
               1 - near.distance AS score
        FROM nearest_knowledge($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS near JOIN knowledge k ON k.id = near.id
        ORDER BY near.distance, k.id DESC
        """,
        space_id,
        embedding,
        limit,
        exact_rows,
        list(only.tags),
        only.member,
        only.kind,
        only.since,
        only.until,
        only.document,
    )
    return [_scored(row) for row in rows]


async def matching(
    connection: asyncpg.Connection, *, query: str, also: Sequence[str] = (), limit: int, only: Filter = EVERYTHING
) -> list[tuple[Knowledge, WordMatch]]:
    """The unexpired ones that have words of `query`, or words much like them; best first, ranked as BM25 does. Words of
    `also` count where they are, and are not missed where they are not."""
    rows = await connection.fetch(
        """
        SELECT k.id, k.content, k.source, k.tags, k.kind, k.member_id, k.confidence, k.pinned, k.expires_at,
               k.created_at, k.updated_at, k.document_id, k.page, k.heading, k.language,
               found.score, found.strength, found.share, found.misspelt
        FROM search_knowledge($1, $2, $3, $4, $5, $6, $7, $8, $9) AS found JOIN knowledge k ON k.id = found.id
        ORDER BY found.score DESC, k.id DESC
        """,
        query,
        list(only.tags),
        only.member,
        limit,
        only.kind,
        only.since,
        only.until,
        only.document,
        " ".join(also),
    )
    found = []
    for row in rows:
        columns = dict(row)
        match = WordMatch(*(columns.pop(name) for name in ("score", "strength", "share", "misspelt")))
        found.append((Knowledge(**columns), match))
    return found


async def suggest_words(connection: asyncpg.Connection, beginning: str, limit: int) -> list[tuple[str, int]]:
    """Words of the scope's knowledge that begin so (without capitals and accents), each with the number of entries
    that have it; the commonest first."""
    rows = await connection.fetch("SELECT word, entries FROM suggest_words($1, $2)", beginning, limit)
    return [(row["word"], row["entries"]) for row in rows]


async def without_vector(
    connection: asyncpg.Connection, space_id: int, limit: int, *, after: int = 0
) -> list[tuple[int, str, int | None]]:
    """(id, content, member_id) of rows with ids over `after` that have no vector in this space yet, oldest first."""
    rows = await connection.fetch(
        """
        SELECT k.id, k.content, k.member_id FROM knowledge k
        WHERE k.id > $3 AND (k.expires_at IS NULL OR k.expires_at > now())
          AND NOT EXISTS (SELECT FROM vectors v WHERE v.space_id = $1 AND v.kind = 'knowledge' AND v.ref_id = k.id)
        ORDER BY k.id LIMIT $2
        """,
        space_id,
        limit,
        after,
    )
    return [(row["id"], row["content"], row["member_id"]) for row in rows]


async def next_expiry(connection: asyncpg.Connection) -> datetime | None:
    """When the next row that the scope sees expires; None when none will."""
    value: datetime | None = await connection.fetchval(
        """
        SELECT min(expires_at) FROM knowledge WHERE expires_at > now()
        """
    )
    return value


async def count(connection: asyncpg.Connection) -> int:
    """How many the scope sees, expired ones too; passages of documents not counted."""
    return int(await connection.fetchval("SELECT count(*) FROM knowledge WHERE document_id IS NULL"))


def _scored(row: asyncpg.Record) -> tuple[Knowledge, float]:
    columns = dict(row)
    score = columns.pop("score")
    return Knowledge(**columns), float(score)


def _only(changes: Mapping[str, Any], allowed: frozenset[str]) -> None:
    if unknown := changes.keys() - allowed:
        raise TypeError(f"no such columns to change: {', '.join(sorted(unknown))}")
