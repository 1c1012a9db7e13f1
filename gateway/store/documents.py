"""Documents, their folders and their passages (rows of `knowledge` of the kind `document`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from gateway.errors import Conflict
from gateway.shapes import Passage

State = Literal["waiting", "parsing", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Document:
    """What is known of a document. `member_id` None: shared by the household.

    `version` counts the uploads; `served` is the one whose passages are found, None while there is none. `state` and
    `reason` (why it failed) are of the newest; `pages` and `passages` of the served one. `upload` names the file that
    is to be read.
    """

    id: int
    member_id: int | None
    folder: str | None
    name: str
    tags: list[str]
    sha256: bytes
    bytes: int
    version: int
    served: int | None
    state: State
    reason: str | None
    upload: str | None
    pages: int | None
    passages: int
    created_at: datetime
    updated_at: datetime


async def insert(
    connection: asyncpg.Connection,
    *,
    member_id: int | None,
    folder: str | None,
    name: str,
    tags: Sequence[str],
    sha256: bytes,
    size: int,
    upload: str,
) -> tuple[Document, bool]:
    """Adds one that waits to be read, and whether it is new: the same content of the same owner is there once.

    One that is there and has failed takes the new file, to be read again.
    """
    folder_id = await _folder(connection, folder, member_id)
    row = await connection.fetchrow(
        """
        INSERT INTO documents AS d (member_id, folder_id, name, tags, sha256, bytes, upload)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT ON CONSTRAINT documents_once DO UPDATE
            SET upload = EXCLUDED.upload, name = EXCLUDED.name, state = 'waiting', reason = NULL
            WHERE d.state = 'failed'
        RETURNING d.id
        """,
        member_id,
        folder_id,
        name,
        list(tags),
        sha256,
        size,
        upload,
    )
    new = row is not None
    if row is None:
        row = await connection.fetchrow(
            """
            SELECT id FROM documents WHERE sha256 = $1 AND member_id IS NOT DISTINCT FROM $2
            """,
            sha256,
            member_id,
        )
        await _drop_if_empty(connection, folder_id)
    assert row is not None  # noqa: S101 - the insert was refused because it is there
    found = await get(connection, row["id"])
    assert found is not None  # noqa: S101 - this transaction has just seen it
    return found, new


async def replace(
    connection: asyncpg.Connection, document_id: int, *, name: str, sha256: bytes, size: int, upload: str
) -> Document | None:
    """A new version that waits to be read; the served one stays until then. None where there is no such document.

    The same content as the newest version's changes nothing, unless that failed. Raises Conflict where it is another
    document's.
    """
    try:
        await connection.execute(
            """
            UPDATE documents
            SET name = $2, sha256 = $3, bytes = $4, upload = $5, version = version + 1, state = 'waiting', reason = NULL
            WHERE id = $1 AND (sha256 <> $3 OR state = 'failed')
            """,
            document_id,
            name,
            sha256,
            size,
            upload,
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict("Another document has this content already.", field="file") from error
    return await get(connection, document_id)


async def get(connection: asyncpg.Connection, document_id: int) -> Document | None:
    """The one with this id; None when there is none in the scope."""
    row = await connection.fetchrow(
        """
        SELECT d.id, d.member_id, f.name AS folder, d.name, d.tags, d.sha256, d.bytes, d.version, d.served, d.state,
               d.reason, d.upload, d.pages, d.passages, d.created_at, d.updated_at
        FROM documents d LEFT JOIN folders f ON f.id = d.folder_id
        WHERE d.id = $1
        """,
        document_id,
    )
    return None if row is None else Document(**row)


async def page(
    connection: asyncpg.Connection,
    *,
    after: int = 0,
    limit: int = 50,
    folder: str | None = None,
    tags: Sequence[str] = (),
    state: State | None = None,
) -> list[Document]:
    """By id, those after the id `after`; only those in that folder, with every one of `tags`, in that state."""
    rows = await connection.fetch(
        """
        SELECT d.id, d.member_id, f.name AS folder, d.name, d.tags, d.sha256, d.bytes, d.version, d.served, d.state,
               d.reason, d.upload, d.pages, d.passages, d.created_at, d.updated_at
        FROM documents d LEFT JOIN folders f ON f.id = d.folder_id
        WHERE d.id > $1 AND ($3::text IS NULL OR f.name = $3) AND d.tags @> $4 AND ($5::text IS NULL OR d.state = $5)
        ORDER BY d.id LIMIT $2
        """,
        after,
        limit,
        folder,
        list(tags),
        state,
    )
    return [Document(**row) for row in rows]


async def unread(connection: asyncpg.Connection) -> list[Document]:
    """Those whose newest version is still to be read, or was being read when the reader ended; oldest first."""
    rows = await connection.fetch(
        """
        SELECT d.id, d.member_id, f.name AS folder, d.name, d.tags, d.sha256, d.bytes, d.version, d.served, d.state,
               d.reason, d.upload, d.pages, d.passages, d.created_at, d.updated_at
        FROM documents d LEFT JOIN folders f ON f.id = d.folder_id
        WHERE d.state IN ('waiting', 'parsing')
        ORDER BY d.id
        """
    )
    return [Document(**row) for row in rows]


async def begin(connection: asyncpg.Connection, document_id: int, version: int) -> bool:
    """Says that this version is being read; False where it is no longer to be read."""
    found = await connection.fetchval(
        """
        UPDATE documents SET state = 'parsing'
        WHERE id = $1 AND version = $2 AND state IN ('waiting', 'parsing')
        RETURNING true
        """,
        document_id,
        version,
    )
    return found or False


async def fail(connection: asyncpg.Connection, document_id: int, version: int, reason: str) -> bool:
    """Ends this version with the reason; what is served stays. False where it is no longer to be read."""
    found = await connection.fetchval(
        """
        UPDATE documents SET state = 'failed', reason = $3, upload = NULL
        WHERE id = $1 AND version = $2 AND state IN ('waiting', 'parsing')
        RETURNING true
        """,
        document_id,
        version,
        reason,
    )
    return found or False


async def update(
    connection: asyncpg.Connection,
    document_id: int,
    *,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    folders: Sequence[str | None] = (),
) -> Document | None:
    """Changes what is given, and its passages with it; `folders` holds the one that it goes into (None: none), or
    nothing. None where there is no such document.
    """
    row = await connection.fetchrow(
        """
        UPDATE documents SET name = coalesce($2, name), tags = coalesce($3, tags)
        WHERE id = $1
        RETURNING name, tags, member_id, folder_id
        """,
        document_id,
        name,
        None if tags is None else list(tags),
    )
    if row is None:
        return None
    for folder in folders:
        # Both folders are held from here on, in one order: two documents that change places do not lock each other out.
        await connection.execute(
            """
            SELECT FROM folders WHERE id = $1 OR (name = $2 AND member_id IS NOT DISTINCT FROM $3)
            ORDER BY id FOR UPDATE
            """,
            row["folder_id"],
            folder,
            row["member_id"],
        )
        folder_id = await _folder(connection, folder, row["member_id"])
        await connection.execute("UPDATE documents SET folder_id = $2 WHERE id = $1", document_id, folder_id)
        await _drop_if_empty(connection, row["folder_id"])
    # Some at a time: a statement has its bound, and a long document many passages.
    last: int | None = 0
    while last is not None:
        last = await connection.fetchval(
            """
            WITH piece AS (
                SELECT id FROM knowledge WHERE document_id = $1 AND id > $2 ORDER BY id LIMIT 2000
            ), changed AS (
                UPDATE knowledge k
                SET source = CASE WHEN page IS NULL THEN $3 ELSE $3 || ', page ' || page END, tags = $4
                FROM piece
                WHERE k.id = piece.id
                  AND (k.tags <> $4 OR k.source IS DISTINCT FROM
                       CASE WHEN page IS NULL THEN $3 ELSE $3 || ', page ' || page END)
            )
            SELECT max(id) FROM piece
            """,
            document_id,
            last,
            row["name"],
            row["tags"],
        )
    return await get(connection, document_id)


async def take_over(
    connection: asyncpg.Connection, document_id: int, version: int, *, pages: int | None, passages: int
) -> Document | None:
    """Makes this version the served one and drops the passages before it: the document as it is called and tagged by
    now. None where it is no longer to be read.

    The passages follow in the same transaction, by `add_passages`: others see all of it or nothing.
    """
    found = await connection.fetchval(
        """
        UPDATE documents
        SET state = 'ready', reason = NULL, upload = NULL, served = version, pages = $3, passages = $4
        WHERE id = $1 AND version = $2 AND state IN ('waiting', 'parsing')
        RETURNING true
        """,
        document_id,
        version,
        pages,
        passages,
    )
    if not found:
        return None
    await connection.execute("DELETE FROM knowledge WHERE document_id = $1", document_id)
    return await get(connection, document_id)


async def add_passages(
    connection: asyncpg.Connection, document: Document, passages: Sequence[tuple[Passage, str | None]], *, first: int
) -> None:
    """Adds passages, each with its language, in one statement; `first` is the number of the first in its document."""
    await connection.execute(
        """
        INSERT INTO knowledge (content, source, tags, kind, member_id, document_id, page, heading, language,
                               reference)
        SELECT content, CASE WHEN page IS NULL THEN $2 ELSE $2 || ', page ' || page END, $3, 'document', $4, $1, page,
               heading, language, format('doc_%s_%s_%s', $1::bigint, $5::integer, $6::integer + place - 1)
        FROM ROWS FROM (jsonb_to_recordset($7) AS (
            content text, page integer, heading text, language text))
            WITH ORDINALITY AS given (content, page, heading, language, place)
        ORDER BY place
        """,
        document.id,
        document.name,
        document.tags,
        document.member_id,
        document.version,
        first,
        [asdict(passage) | {"language": language} for passage, language in passages],
    )


async def delete(connection: asyncpg.Connection, document_id: int) -> tuple[bool, str | None]:
    """Forgets a document with its passages and their vectors: whether it was there, and the file not read yet."""
    row = await connection.fetchrow("DELETE FROM documents WHERE id = $1 RETURNING folder_id, upload", document_id)
    if row is None:
        return False, None
    await _drop_if_empty(connection, row["folder_id"])
    return True, row["upload"]


async def _folder(connection: asyncpg.Connection, name: str | None, member_id: int | None) -> int | None:
    """The owner's folder of that name, made where it is missing."""
    if name is None:
        return None
    return int(
        await connection.fetchval(
            """
            INSERT INTO folders (member_id, name) VALUES ($1, $2)
            ON CONFLICT (household_id, member_id, name) DO UPDATE SET name = EXCLUDED.name
            RETURNING id
            """,
            member_id,
            name,
        )
    )


async def _drop_if_empty(connection: asyncpg.Connection, folder_id: int | None) -> None:
    # A folder's documents have its owner, so the scope that sees the folder sees them all. It is held first: what
    # somebody is putting into it right now is seen only by a statement that begins after that.
    await connection.execute("SELECT FROM folders WHERE id = $1 FOR UPDATE", folder_id)
    await connection.execute(
        """
        DELETE FROM folders WHERE id = $1 AND NOT EXISTS (SELECT FROM documents WHERE folder_id = $1)
        """,
        folder_id,
    )
