"""`python -m gateway` and scripts/init_db.py, started as an operator does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from gateway import __version__
from gateway.config import ENVIRONMENT
from gateway.store.address import Address
from gateway.store.server import EmbeddedServer

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Done:
    code: int | None
    out: str
    err: str


async def run(*arguments: str, program: tuple[str, ...] = ("-m", "gateway"), **environment: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        *arguments,
        cwd=ROOT,
        env={**kept, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(process.returncode, out.decode(), err.decode())


def named(address: Address) -> dict[str, str]:
    """The environment that names this database as the household's own."""
    return {
        "POSTGRES_HOST": address.host,
        "POSTGRES_PORT": str(address.port),
        "POSTGRES_USER": address.user,
        "POSTGRES_DB": address.database,
    }


@pytest.fixture
def household(address: Address) -> Mapping[str, str]:
    return named(address)


@pytest.fixture
async def empty(postgres: Address) -> AsyncIterator[Address]:
    """The address of a database that is not there yet."""
    address = replace(postgres, database=f"empty_{uuid.uuid4().hex}")
    yield address
    owner = await postgres.connect()
    await owner.execute(f"DROP DATABASE IF EXISTS {address.database} WITH (FORCE)")
    await owner.close()


async def test_help_names_the_commands() -> None:
    done = await run("--help")
    assert (done.code, done.err) == (0, "")
    for command in ("serve", "migrate", "doctor", "ingest", "spaces", "member"):
        assert re.search(rf"^ +{command} +\w", done.out, re.MULTILINE)
    assert "--down N" in (await run("migrate", "--help")).out
    assert re.search(r"add.*\n.*list.*\n.*revoke", (await run("member", "--help")).out)


async def test_version() -> None:
    assert (await run("--version")).out == f"{__version__}\n"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_wrong_settings_end_with_2_and_one_line(tmp_path: Path, before: bool) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("server: {prot: 1}", encoding="utf-8")
    option = ("--config", str(path))
    done = await run(*option, "doctor") if before else await run("doctor", *option)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"server\.prot is not a setting; allowed here: [^\n]*\n", done.err)


@pytest.mark.parametrize("arguments", [("fly",), ("migrate", "--down", "0"), ("migrate", "--down", "x"), ("member",)])
async def test_a_command_that_is_none(arguments: tuple[str, ...]) -> None:
    done = await run(*arguments)
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("command", [("serve",), ("migrate",), ("member", "list")], ids=" ".join)
async def test_no_database_ends_with_1_and_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("postgres: {start_seconds: 0.01, host: 127.0.0.1, port: 1}", encoding="utf-8")
    done = await run(*command, "--config", str(path), GATEWAY_DATA=str(tmp_path / "data"))
    assert done.code == 1
    assert re.fullmatch(r"PostgreSQL does not answer at 127\.0\.0\.1 port 1 [^\n]*\n", done.err)


async def test_a_members_way(household: Mapping[str, str], admin: asyncpg.Connection) -> None:
    assert "member add NAME" in (await run("member", "list", **household)).out

    added = await run("member", "add", "Ada", **household)
    assert added.code == 0
    token = re.findall(r"^ {4}(\S+)$", added.out, re.MULTILINE)[0]
    assert len(token) >= 43
    assert token not in added.err
    kept = await admin.fetchrow("SELECT * FROM members WHERE name = 'Ada'")
    assert kept["token_hash"] == hashlib.sha256(token.encode()).digest()
    assert token not in str(kept)

    twice = await run("member", "add", "Ada", **household)
    assert (twice.code, twice.out) == (1, "")
    assert twice.err == "Ada is a member already; revoke the token first\n"
    assert re.search(r"^Ada +member +\S+ +valid", (await run("member", "list", **household)).out, re.MULTILINE)

    assert (await run("member", "revoke", "Ada", **household)).code == 0
    assert re.search(r"^Ada .*revoked", (await run("member", "list", **household)).out, re.MULTILINE)
    assert (await run("member", "revoke", "Ada", **household)).code == 1
    again = await run("member", "add", "Ada", **household)
    assert again.code == 0
    assert token not in again.out


async def test_a_spaces_way(household: Mapping[str, str], admin: asyncpg.Connection) -> None:
    assert "no embedding space yet" in (await run("spaces", **household)).out
    await admin.execute(
        """
        INSERT INTO knowledge (household_id, content) VALUES (1, 'told');
        INSERT INTO embedding_spaces (household_id, model, dimensions, state)
        VALUES (1, 'nomic-embed-text', 384, 'retired'), (1, 'bge-m3', 3, 'current'), (1, 'all-minilm', 2, 'building');
        INSERT INTO vectors (household_id, kind, ref_id, space_id, embedding) VALUES (1, 'knowledge', 1, 2, '[1,2,3]')
        """
    )
    listed = (await run("spaces", **household)).out
    assert re.search(r"^ *1 +nomic-embed-text +384 +retired +0 +1 +0\.0 MB", listed, re.MULTILINE)
    assert re.search(r"^ *2 +bge-m3 +3 +current +1 +0 ", listed, re.MULTILINE)
    assert re.search(r"^ *3 +all-minilm +2 +building", listed, re.MULTILINE)

    refused = await run("spaces", "drop", "2", **household)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "The space 2 is the one that is searched; use another first.\n"

    used = await run("spaces", "use", "1", **household)
    assert used.code == 0
    assert used.out.startswith(
        "The memory is searched with nomic-embed-text, 384 wide, from now on.\nWithout a vector in it: 1; "
    )
    listed = (await run("spaces", **household)).out
    assert re.search(r"nomic-embed-text +384 +current", listed)
    assert len(re.findall("set aside", listed)) == 2

    assert (await run("spaces", "drop", "2", **household)).out == "The space 2 and its vectors are gone.\n"
    assert (await run("spaces", "use", "2", **household)).code == 1
    assert (await run("spaces", "use", "-1", **household)).code == 2


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
async def test_a_name_that_is_none(name: str) -> None:
    assert (await run("member", "add", name)).code == 2


async def test_migrate_down_and_up(household: Mapping[str, str], admin: asyncpg.Connection) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'knowledge'"
    down = await run("migrate", "--down", "1000", **household)
    assert down.code == 0
    assert down.out.splitlines()[-1] == "took back: 001_initial_schema.down.sql"
    assert await admin.fetchval(tables) == 0
    assert (await run("migrate", "--down", "1", **household)).out == "There is nothing to take back.\n"
    assert (await run("migrate", **household)).out == "The database is up to date.\n"
    assert await admin.fetchval(tables) == 1


async def test_ingest_takes_in_files_and_folders(
    household: Mapping[str, str], admin: asyncpg.Connection, tmp_path: Path
) -> None:
    manuals = tmp_path / "manuals"
    (manuals / "kitchen").mkdir(parents=True)
    (manuals / ".hidden").mkdir()
    (manuals / "kitchen" / "oven.md").write_text("# Oven\nIt heats.", encoding="utf-8")
    (manuals / "kitchen" / "copy.md").write_text("# Oven\nIt heats.", encoding="utf-8")
    (manuals / "broken.pdf").write_bytes(b"no")
    (manuals / "program.exe").write_bytes(b"MZ")
    (manuals / ".hidden" / "no.txt").write_text("hidden", encoding="utf-8")
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all.", encoding="utf-8")
    data = {"GATEWAY_DATA": str(tmp_path / "data"), **household}

    done = await run("ingest", str(manuals), str(letter), "--tag", "home", **data)
    assert done.code == 1
    assert "2 taken in (2 passages), 1 known already, 1 failed." in done.out
    assert "broken.pdf is no whole PDF" in done.err
    rows = await admin.fetch(
        """
        SELECT k.content, k.source, k.tags, f.name AS folder
        FROM knowledge k JOIN documents d ON d.id = k.document_id LEFT JOIN folders f ON f.id = d.folder_id
        ORDER BY k.content
        """
    )
    assert [tuple(row) for row in rows] == [
        ("Dear all.", "letter.txt", ["home"], None),
        ("Oven\nIt heats.", "copy.md", ["home"], "manuals/kitchen"),
    ]
    assert not any((tmp_path / "data" / "documents").iterdir())

    assert (await run("ingest", str(letter), **data)).code == 0
    for wrong, words in [
        ((str(tmp_path / "nowhere"),), "is not there"),
        ((str(manuals / ".hidden" / "none"),), "is not there"),
        ((str(letter), "--member", "Nobody"), "Nobody is no member"),
    ]:
        refused = await run("ingest", *wrong, **data)
        assert (refused.code, refused.out) == (1, "")
        assert words in refused.err


async def test_init_db_prepares_an_empty_database(empty: Address) -> None:
    for _ in range(2):
        done = await run(program=("scripts/init_db.py",), **named(empty))
        assert (done.code, done.err if "error" in done.err else "") == (0, "")
        assert re.fullmatch(r"The database empty_\w+ at \S+ port \d+ is ready \(household 1\)\.\n", done.out)
    connection = await empty.connect()
    try:
        assert await connection.fetchval("SELECT count(*) FROM households") == 1
        extensions = {row["extname"] for row in await connection.fetch("SELECT extname FROM pg_extension")}
        assert {"vector", "pg_trgm", "unaccent"} <= extensions
        role = await connection.fetchrow("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'ai_gateway'")
        assert tuple(role) == (False, False)
    finally:
        await connection.close()


async def test_init_db_is_for_an_external_database() -> None:
    done = await run(program=("scripts/init_db.py",))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("POSTGRES_HOST (postgres.host) is empty; allowed: ")


async def test_the_commands_work_on_the_embedded_database_beside_a_gateway(run_folder: Path) -> None:
    data = run_folder / f"data-{uuid.uuid4().hex[:8]}"
    first = await run("member", "add", "Ada", GATEWAY_DATA=str(data))
    assert first.code == 0, first.err
    async with EmbeddedServer(data / "postgres"):
        beside = await run("member", "list", GATEWAY_DATA=str(data))
        assert re.search(r"^Ada +member", beside.out, re.MULTILINE)
        doctor = await run("doctor", GATEWAY_DATA=str(data), GATEWAY_PORT="0")
        assert re.search(r"^ok +PostgreSQL: embedded, version \d+", doctor.out, re.MULTILINE)
        # The one that came later left, and the first one's server is still there.
        connection = await replace(EmbeddedServer(data / "postgres").address).connect()
        await connection.close()
    assert not (data / "postgres" / "postmaster.pid").exists()
