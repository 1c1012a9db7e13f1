"""Documents from upload to recall: read apart, replaced whole, forgotten whole, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from gateway.config import DocumentSettings
from gateway.errors import StoreUnavailable, Unavailable
from gateway.memory.documents import Documents
from gateway.shapes import Scope
from gateway.store.pool import Database
from tests.house import House
from tests.household import Client, Household, add_member, language_of
from tests.papers import pdf
from tests.store.conftest import until

MANUAL = pdf(["Welcome.", "Turn the dishwasher filter to the left and lift it out."])


def form(data: bytes, name: str = "dishwasher.pdf", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", io.BytesIO(data), filename=name)
    for key, value in fields.items():
        made.add_field(key, value)
    return made


async def upload(client: Client, data: bytes, name: str = "dishwasher.pdf", **fields: str) -> dict[str, Any]:
    response = await client.post("/documents", data=form(data, name, **fields))
    assert response.status in (200, 202), await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def read(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    """The document once it is ready or has failed."""
    while True:
        found: dict[str, Any] = await (await client.get(f"/documents/{document['id']}")).json()
        if found["state"] in ("ready", "failed"):
            return found
        await asyncio.sleep(0.02)


async def contents(client: Client) -> list[str]:
    return [entry["content"] for entry in (await (await client.get("/memory")).json())["entries"]]


async def test_a_document_is_found_by_name_and_page(client: Client, household: Household) -> None:
    given = await upload(client, MANUAL, folder="manuals", tags="kitchen,appliances")
    assert (given["name"], given["folder"], given["tags"]) == ("dishwasher.pdf", "manuals", ["kitchen", "appliances"])
    assert given["sha256"] == hashlib.sha256(MANUAL).hexdigest()
    assert (given["bytes"], given["served"]) == (len(MANUAL), None)
    ready = await read(client, given)
    assert (ready["state"], ready["pages"], ready["passages"], ready["served"]) == ("ready", 2, 1, 1)
    await household.late.embed_all()
    search = await (await client.get("/memory/search?query=dishwasher+filter&tags=kitchen")).json()
    assert search["results"][0]["source"] == "dishwasher.pdf, page 1"
    assert search["results"][0]["kind"] == "document"
    for document, passages in ((given["id"], 1), (given["id"] + 1, 0)):
        for mode in ("hybrid", "vector", "text"):
            search = await (await client.get(f"/memory/search?query=filter&document={document}&mode={mode}")).json()
            assert len(search["results"]) == passages
    listed = await (await client.get("/documents?folder=manuals&tags=kitchen&state=ready")).json()
    assert listed == {"documents": [ready], "next": None}
    assert (await (await client.get("/documents?folder=other")).json())["documents"] == []


async def test_the_same_content_is_one_document(client: Client) -> None:
    first = await read(client, await upload(client, MANUAL))
    response = await client.post("/documents", data=form(MANUAL, "again.pdf"))
    assert response.status == 200
    assert await response.json() == first
    assert len(await contents(client)) == 1


async def test_a_replacement_takes_over_when_it_is_ready(client: Client) -> None:
    given = await read(client, await upload(client, b"The old text.", "note.txt"))
    path = f"/documents/{given['id']}"
    # One that cannot be read leaves what was there.
    assert (await client.put(path, data=form(b"no", "note.pdf"))).status == 202
    failed = await read(client, given)
    assert (failed["state"], failed["version"], failed["served"]) == ("failed", 2, 1)
    assert "no whole PDF" in failed["reason"]
    assert await contents(client) == ["The old text."]
    assert (await client.put(path, data=form(b"The new text.", "note2.txt"))).status == 202
    ready = await read(client, given)
    assert (ready["state"], ready["version"], ready["served"], ready["name"]) == ("ready", 3, 3, "note2.txt")
    assert await contents(client) == ["The new text."]
    same = await client.put(path, data=form(b"The new text.", "note2.txt"))
    assert (same.status, await same.json()) == (200, ready)
    other = await upload(client, b"Another.", "other.txt")
    conflict = await client.put(f"/documents/{other['id']}", data=form(b"The new text.", "x.txt"))
    assert (conflict.status, (await conflict.json())["error"]["field"]) == (409, "file")
    assert (await client.put("/documents/999", data=form(b"x", "x.txt"))).status == 404


async def test_another_name_folder_and_tags(client: Client, household: Household, admin: asyncpg.Connection) -> None:
    given = await read(client, await upload(client, MANUAL, folder="manuals", tags="kitchen"))
    note = await read(client, await upload(client, b"A note.", "note.txt", folder="manuals"))
    await household.late.embed_all()
    path = f"/documents/{given['id']}"
    epoch = household.epoch.current()
    response = await client.patch(path, json={"name": "Oven.PDF", "folder": "old", "tags": ["a", "b", "a"]})
    changed = await response.json()
    assert response.status == 200, changed
    assert {key for key in given if given[key] != changed[key]} == {"name", "folder", "tags", "updated_at"}
    assert (changed["name"], changed["folder"], changed["tags"]) == ("Oven.PDF", "old", ["a", "b"])
    assert household.epoch.current() != epoch, "no answer that names the old source is given again"
    assert [
        (row["source"], row["tags"]) for row in await admin.fetch("SELECT source, tags FROM knowledge ORDER BY id")
    ] == [
        ("Oven.PDF, page 1", ["a", "b"]),
        ("note.txt", []),
    ]
    assert await admin.fetchval("SELECT count(*) FROM vectors WHERE kind = 'knowledge'") == 2, "its vectors stay"
    search = await (await client.get("/memory/search?query=dishwasher+filter&tags=b")).json()
    assert [hit["source"] for hit in search["results"]] == ["Oven.PDF, page 1"]
    # What is not given stays; the last document that leaves a folder takes it away.
    out = await (await client.patch(path, json={"folder": None})).json()
    assert (out["name"], out["folder"], out["tags"]) == ("Oven.PDF", None, ["a", "b"])
    assert [row["name"] for row in await admin.fetch("SELECT name FROM folders")] == ["manuals"]
    await client.patch(f"/documents/{note['id']}", json={"folder": "manuals"})
    assert (await (await client.get(f"/documents/{note['id']}")).json())["folder"] == "manuals"


@pytest.mark.parametrize(
    "body,field",
    [
        ({}, None),
        ({"name": "note.pdf"}, "name"),
        ({"name": "note"}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"folder": " "}, "folder"),
        ({"tags": ["a,b"]}, "tags.0"),
        ({"tags": None}, "tags"),
        ({"state": "ready"}, "state"),
    ],
)
async def test_a_bad_change_changes_nothing(client: Client, body: dict[str, Any], field: str | None) -> None:
    given = await read(client, await upload(client, b"A note.", "note.txt", folder="notes", tags="a"))
    response = await client.patch(f"/documents/{given['id']}", json=body)
    assert (response.status, (await response.json())["error"].get("field")) == (400, field)
    assert await read(client, given) == given


async def test_a_document_is_changed_by_whom_it_belongs_to(household: Household, admin: asyncpg.Connection) -> None:
    await add_member(admin, household.scope, "Ada", "ada-token")
    async with household.client() as home, household.client(headers={"Authorization": "Bearer ada-token"}) as ada:
        own = await read(ada, await upload(ada, b"Ada's own diary.", "diary.txt", folder="notes"))
        shared = await read(home, await upload(home, b"For all to read.", "letter.txt", folder="notes"))
        assert (await home.patch(f"/documents/{own['id']}", json={"tags": ["x"]})).status == 404
        assert (await home.patch("/documents/999", json={"tags": ["x"]})).status == 404
        moved = await (await ada.patch(f"/documents/{shared['id']}", json={"folder": "letters"})).json()
        assert (moved["folder"], moved["member_id"]) == ("letters", None)
    assert {
        (row["name"], row["own"]) for row in await admin.fetch("SELECT name, member_id IS NOT NULL AS own FROM folders")
    } == {
        ("notes", True),
        ("letters", False),
    }


async def test_a_name_given_while_it_is_read_is_the_name_of_its_passages(
    household: Household, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed() -> None:
        pass

    documents = Documents(
        database, DocumentSettings(), household.documents._folder / "own", scope.household_id, changed, language_of
    )
    async with documents.receive("a.txt") as incoming:
        await incoming.write(b"Once.")
        document, _ = await documents.add(scope, incoming, folder=None, tags=("old",), shared=False)
    parse = documents._parse

    async def renamed_meanwhile(*given: Any) -> dict[str, Any]:
        said = await parse(*given)
        await documents.update(scope, document.id, {"name": "b.txt", "tags": ("new",)})
        return said

    monkeypatch.setattr(documents, "_parse", renamed_meanwhile)
    assert (await documents.read(document)).state == "ready"
    entries = await household.knowledge.page(scope, limit=5)
    assert [(entry.source, entry.tags) for entry in entries] == [("b.txt", ["new"])]


async def test_documents_change_places(household: Household, admin: asyncpg.Connection) -> None:
    """Many at once between the same folders: none waits for another for ever, and no folder is lost."""
    async with household.client() as client:
        given = [await upload(client, f"Note {number}.".encode(), f"{number}.txt", folder="x") for number in range(4)]

        async def move(document: dict[str, Any]) -> None:
            for turn in range(10):
                folder = ("x", "y", None)[(turn + document["id"]) % 3]
                moved = await client.patch(f"/documents/{document['id']}", json={"folder": folder})
                assert moved.status == 200, await moved.text()
                assert (await moved.json())["folder"] == folder

        await asyncio.gather(*(move(document) for document in given))
    used = {row["folder_id"] for row in await admin.fetch("SELECT folder_id FROM documents")} - {None}
    assert {row["id"] for row in await admin.fetch("SELECT id FROM folders")} == used


async def test_a_deleted_document_leaves_nothing(
    client: Client, household: Household, admin: asyncpg.Connection
) -> None:
    given = await read(client, await upload(client, MANUAL, folder="manuals"))
    await household.late.embed_all()
    assert (await client.delete(f"/documents/{given['id']}")).status == 204
    assert (await client.delete(f"/documents/{given['id']}")).status == 404
    assert (await client.get(f"/documents/{given['id']}")).status == 404
    for table in ("documents", "folders", "knowledge", "vectors"):
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert not any(household.documents._folder.iterdir())


async def test_whose_it_is(household: Household, admin: asyncpg.Connection) -> None:
    await add_member(admin, household.scope, "Ada", "ada-token")
    async with (
        household.client() as home,
        household.client(headers={"Authorization": "Bearer ada-token"}) as ada,
    ):
        own = await read(ada, await upload(ada, b"Ada's own diary.", "diary.txt"))
        shared = await read(ada, await upload(ada, b"For all to read.", "letter.txt", shared="true"))
        assert own["member_id"] is not None
        assert shared["member_id"] is None
        assert await contents(home) == ["For all to read."]
        assert await contents(ada) == ["Ada's own diary.", "For all to read."]
        assert (await home.get(f"/documents/{own['id']}")).status == 404
        assert (await home.delete(f"/documents/{own['id']}")).status == 404


@pytest.mark.parametrize(
    "name,data,reason",
    [
        ("a.pdf", pdf(["Hello."], password="secret"), "encrypted"),
        ("a.pdf", b"%PDF-1.4\n1 0 obj\n<<", "PDF"),
        ("a.txt", b"", "no text"),
        ("a.docx", b"PK\x03\x04", "no whole Word document"),
    ],
)
async def test_what_cannot_be_read_fails_and_says_why(client: Client, name: str, data: bytes, reason: str) -> None:
    failed = await read(client, await upload(client, data, name))
    assert failed["state"] == "failed"
    assert reason in failed["reason"]
    assert await contents(client) == []
    # Tried again, it fails again, and is still one.
    assert (await read(client, await upload(client, data, name)))["id"] == failed["id"]


@pytest.mark.parametrize(
    "limits,reason",
    [
        ({"read_seconds": 1}, "more than 1 seconds"),
        ({"read_megabytes": 128}, "more than 128 MB"),
    ],
)
async def test_a_greedy_file_is_stopped(
    client: Client, household: Household, limits: dict[str, int], reason: str
) -> None:
    household.documents._settings = DocumentSettings(**limits)
    # Python's reader of HTML remembers what was not closed, and looks through it again and again.
    greedy = b"<p>x" + b"<a" * 5_000_000 if "seconds" in reason else b"word " * 8_000_000
    failed = await read(client, await upload(client, greedy, "a.html"))
    assert failed["state"] == "failed"
    assert reason in failed["reason"]


@pytest.mark.parametrize(
    "body,status,field",
    [
        (form(b"x", "a.exe"), 415, "file"),
        (form(b"x", "a"), 415, "file"),
        (form(b"x", "n" * 300 + ".txt"), 400, "file"),
        (form(b"x", "a.txt", colour="red"), 400, "colour"),
        (form(b"x", "a.txt", tags="a,,b"), 400, "tags.1"),
        (form(b"x", "a.txt", folder=" "), 400, "folder"),
        (form(b"x", "a.txt", shared="maybe"), 400, "shared"),
        (aiohttp.FormData({"folder": "x"}), 415, None),
        (b"{}", 415, None),
    ],
)
async def test_a_bad_form_changes_nothing(
    client: Client, household: Household, admin: asyncpg.Connection, body: Any, status: int, field: str | None
) -> None:
    response = await client.post("/documents", data=body)
    assert response.status == status
    assert (await response.json())["error"].get("field") == field
    assert await admin.fetchval("SELECT count(*) FROM documents") == 0
    folder = household.documents._folder
    assert not folder.exists() or not any(folder.iterdir())


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data", b"--x--\r\n", b"no"])
async def test_a_form_that_is_none(client: Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    no_file = b'--x\r\nContent-Disposition: form-data; name="folder"\r\n\r\nx\r\n--x--\r\n'
    missing = await client.post("/documents", data=no_file, headers=headers)
    assert (missing.status, (await missing.json())["error"]["field"]) == (400, "file")
    assert (await client.post("/documents", data=body, headers=headers)).status == 400
    assert (await client.post("/documents", data=body, headers={"Content-Type": "multipart/form-data"})).status == 400


async def test_a_document_over_the_limit_leaves_no_file(client: Client, household: Household) -> None:
    household.documents._settings = DocumentSettings(max_bytes=1000)
    assert (await client.post("/documents", data=form(b"x" * 1001, "a.txt"))).status == 413
    assert not any(household.documents._folder.iterdir())


async def test_what_waits_is_read_by_the_next_run(
    household: Household, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the row says it is being read, the file is there, nobody holds it; and a file nobody named."""
    calls = []

    async def changed() -> None:
        calls.append(1)

    def documents() -> Documents:
        return Documents(
            database, DocumentSettings(), household.documents._folder / "own", scope.household_id, changed, language_of
        )

    before = documents()  # its task is not started
    async with before.receive("a.txt") as incoming:
        await incoming.write(b"Kept through a kill.")
        document, new = await before.add(scope, incoming, folder=None, tags=(), shared=False)
    assert new
    (before._folder / "torn").write_bytes(b"half")

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone in the middle")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.documents.add_passages", away)
        with pytest.raises(StoreUnavailable):
            await before.read(document)
    assert (await before.get(scope, document.id)).state == "parsing"
    async with documents() as after:
        await until(lambda: calls)
        found = await after.get(scope, document.id)
    assert (found.state, found.passages) == ("ready", 1)
    assert not any(before._folder.iterdir())


async def test_a_full_disk_is_not_the_documents_fault(
    household: Household, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed() -> None:
        pass

    documents = Documents(
        database, DocumentSettings(), household.documents._folder / "own", scope.household_id, changed, language_of
    )
    async with documents.receive("a.txt") as incoming:
        await incoming.write(b"Some words. " * 10_000)
        document, _ = await documents.add(scope, incoming, folder=None, tags=(), shared=False)
    with monkeypatch.context() as patch:
        # Stands for the folder's disk: a device that is always full.
        full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115 (closed by who gets it)
        patch.setattr("gateway.memory.documents.TemporaryFile", lambda **_: full)
        with pytest.raises(Unavailable, match="is the disk full"):
            await documents.read(document)
    assert (await documents.get(scope, document.id)).state == "parsing"
    assert (await documents.read(document)).state == "ready"


async def test_two_readers_do_not_read_the_same(household: Household, database: Database, scope: Scope) -> None:
    async def changed() -> None:
        pass

    documents = Documents(
        database, DocumentSettings(), household.documents._folder / "own", scope.household_id, changed, language_of
    )
    async with documents.receive("a.txt") as incoming:
        await incoming.write(b"Once.")
        await documents.add(scope, incoming, folder=None, tags=(), shared=False)
        assert await documents.read_waiting() == 0  # it is still being written
    assert sorted(await asyncio.gather(documents.read_waiting(), documents.read_waiting())) == [0, 1]


async def test_a_turn_is_told_the_name_and_the_page(house: House) -> None:
    manual = pdf([" ", "The dishwasher filter is cleaned by rinsing it under the tap."])
    async with house.client.post("/documents", data=form(manual)) as response:
        given = await response.json()
    while (await (await house.client.get(f"/documents/{given['id']}")).json())["state"] != "ready":
        await asyncio.sleep(0.02)
    reply = await house.say("The dishwasher filter is cleaned by rinsing it how?")
    documents = [source for source in reply["sources"] if source["kind"] == "document"]
    assert documents[0]["source"] == "dishwasher.pdf, page 2"
    prompt = house.model.chats[-1]["messages"][-1]["content"]
    label = f"[dishwasher.pdf, page 2: document, {documents[0]['at'][:10]}]"
    assert f"- {label} The dishwasher filter is cleaned" in prompt
    listed = await house.say("What do you know about me?")
    assert "dishwasher" not in listed["response"]["speech"]["plain"]["speech"]
