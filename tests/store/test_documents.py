"""Documents in their tables: once by content, a version after another, and with all that came of them gone."""

from __future__ import annotations

import asyncpg
import numpy as np
import pytest

from gateway.errors import Conflict
from gateway.shapes import Passage, Scope, Space
from gateway.store import documents, households, knowledge, vectors
from gateway.store.documents import Document
from gateway.store.pool import Database

PASSAGES = [Passage("Turn the filter to the left.", 12, "Filter"), Passage("Rinse it.", None, None)]


async def add(connection: asyncpg.Connection, content: bytes = b"a" * 32, **more: object) -> tuple[Document, bool]:
    given: dict[str, object] = {"member_id": None, "folder": None, "name": "oven.pdf", "tags": [], **more}
    return await documents.insert(connection, sha256=content, size=5, upload="file", **given)  # type: ignore[arg-type]


async def read(connection: asyncpg.Connection, document: Document, passages: list[Passage] = PASSAGES) -> bool:
    taken = await documents.take_over(connection, document.id, document.version, pages=20, passages=len(passages))
    if taken:
        await documents.add_passages(connection, document, [(passage, "en") for passage in passages], first=1)
    return taken


async def test_the_same_content_is_there_once(database: Database, scope: Scope, member: Scope) -> None:
    async with database.scoped(member) as connection:
        first, new = await add(connection, folder="manuals", tags=["oven"])
        assert new
        assert (first.state, first.folder, first.tags, first.served) == ("waiting", "manuals", ["oven"], None)
        again, new = await add(connection, name="copy.pdf", folder="elsewhere")
        assert (again, new) == (first, False)
        assert [row["name"] for row in await connection.fetch("SELECT name FROM folders")] == ["manuals"]
        own, new = await add(connection, member_id=member.member_id)
        assert new
        assert own.id != first.id
        # What failed is tried again with the same content.
        assert await documents.fail(connection, first.id, 1, "is broken")
        again, new = await add(connection)
        assert (again.id, again.state, again.reason, new) == (first.id, "waiting", None, True)
    async with database.scoped(scope) as connection:
        assert [found.id for found in await documents.page(connection)] == [first.id]
        assert await documents.page(connection, folder="manuals", tags=["oven"], state="ready") == []


async def test_a_version_takes_over_at_once_and_moves_the_epoch(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        document, _ = await add(connection, tags=["kitchen"])
        before = await households.moment(connection)
    async with database.scoped(scope) as connection:
        assert await documents.begin(connection, document.id, 1)
        assert await households.moment(connection) == before
        assert await read(connection, document)
        assert not await read(connection, document)
        after = await households.moment(connection)
    assert before is not None
    assert after is not None
    assert after.epoch > before.epoch
    async with database.scoped(scope) as connection:
        rows = await knowledge.page(connection)
        assert [(row.content, row.source, row.kind, row.tags) for row in rows] == [
            ("Turn the filter to the left.", "oven.pdf, page 12", "document", ["kitchen"]),
            ("Rinse it.", "oven.pdf", "document", ["kitchen"]),
        ]
        assert await knowledge.newest(connection, 10) == []
        assert await knowledge.count(connection) == 0
        newer = await documents.replace(
            connection, document.id, name="oven 2.pdf", sha256=b"b" * 32, size=6, upload="new"
        )
        assert newer is not None
        assert (newer.version, newer.served, newer.state, newer.passages) == (2, 1, "waiting", 2)
        assert len(await knowledge.page(connection)) == 2
        # A reader of the version before comes too late.
        assert not await read(connection, document)
        assert await read(connection, newer, PASSAGES[:1])
        assert [row.source for row in await knowledge.page(connection)] == ["oven 2.pdf, page 12"]
        same = await documents.replace(connection, document.id, name="x", sha256=b"b" * 32, size=6, upload="newer")
        assert same is not None
        assert (same.version, same.state, same.name) == (2, "ready", "oven 2.pdf")


async def test_another_documents_content_is_refused(database: Database, scope: Scope) -> None:
    async with database.scoped(scope) as connection:
        await add(connection)
        other, _ = await add(connection, b"b" * 32)
    with pytest.raises(Conflict):
        async with database.scoped(scope) as connection:
            await documents.replace(connection, other.id, name="x", sha256=b"a" * 32, size=5, upload="x")


async def test_a_deleted_document_takes_everything_along(
    admin: asyncpg.Connection, database: Database, member: Scope
) -> None:
    async with database.scoped(member) as connection:
        document, _ = await add(connection, member_id=member.member_id, folder="mine")
        await read(connection, document)
        space = await vectors.use_space(connection, Space("m", 3))
        rows = [(row.id, row.member_id, np.ones(3, np.float32)) for row in await knowledge.page(connection)]
        await vectors.upsert(connection, space, "knowledge", rows)
        assert await documents.delete(connection, document.id) == (True, None)
        assert await documents.delete(connection, document.id) == (False, None)
    for table in ("documents", "folders", "knowledge", "vectors"):
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0
