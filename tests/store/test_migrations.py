"""Migrations: forwards, backwards, on data, on both servers, once, and never another file under the same name."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from gateway.config import PostgresSettings, Settings
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import cache, knowledge, migrations, setup
from gateway.store.address import SERVING_ROLE, Address
from gateway.store.pool import Database
from gateway.store.server import wheel_programs

FILES = [path.name for path in sorted(migrations.DIRECTORY.glob("???_*.sql")) if not path.name.endswith(".down.sql")]


def schema(address: Address) -> list[str]:
    """The database as pg_dump tells it, without rows."""
    dump = subprocess.run(
        [wheel_programs() / "pg_dump", "--schema-only", "-h", address.host, "-U", address.user, address.database],
        check=True,
        capture_output=True,
        text=True,
    )
    return [line for line in dump.stdout.splitlines() if line and not line.startswith(("--", "\\"))]


@pytest.fixture(params=["18", "16"])
async def empty(request: pytest.FixtureRequest, postgres: Address, postgres16: Address) -> Address:
    """An empty database on each of the servers."""
    server = postgres if request.param == "18" else postgres16
    address = replace(server, database=f"empty_{uuid.uuid4().hex}")
    owner = await setup.connect_owner(address, 30)
    await setup.make_role(owner)
    await owner.close()
    return address


async def fill(owner: asyncpg.Connection) -> None:
    """A row in every table."""
    await owner.execute(
        """
        INSERT INTO households (name) VALUES ('Home');
        INSERT INTO members (household_id, name, token_hash) VALUES (1, 'Ada', sha256('a'));
        INSERT INTO conversations (household_id, turn_id, session_id, role, content) VALUES (1, 't', 's', 'user', 'hi');
        INSERT INTO knowledge (household_id, content, tags) VALUES (1, 'The bins go out on Tuesday', '{bins}');
        INSERT INTO folders (household_id, name) VALUES (1, 'manuals');
        INSERT INTO documents (household_id, folder_id, name, sha256, bytes) VALUES (1, 1, 'oven.txt', sha256('x'), 1);
        INSERT INTO knowledge (household_id, content, kind, document_id, page) VALUES (1, 'Clean it', 'document', 1, 1);
        INSERT INTO preferences (household_id, key, value) VALUES (1, 'k', '{}');
        INSERT INTO embedding_spaces (household_id, model, dimensions, state) VALUES (1, 'm', 3, 'current');
        INSERT INTO vectors (household_id, kind, ref_id, space_id, embedding) VALUES (1, 'knowledge', 1, 1, '[1,2,3]');
        INSERT INTO response_cache (household_id, query_hash, query_text, response, memory_epoch)
            VALUES (1, 'h', 'q', 'r', 1);
        INSERT INTO training_data (household_id, turn_id, input_text, output_text) VALUES (1, 't', 'i', 'o');
        """
    )


# What households have applied: a change of it would keep their gateways from starting.
APPLIED = {
    "001_initial_schema.sql": "a2beddee72ce8a0b",
    "002_cache_generation.sql": "69675d8458bbe8e5",
    "003_word_search.sql": "0936fde5e179d0c3",
    "004_documents.sql": "467a5b79830827fb",
    "005_past.sql": "b91a1a92f1e974ab",
    "006_measurements.sql": "ddf9d45f58fac582",
    "007_history.sql": "75fab27835633b91",
    "008_vector_index.sql": "30e956dca7c37f6f",
    "009_space_switch.sql": "ef7f09b7325154da",
    "010_languages.sql": "d3a67e77af226f45",
    "011_learning.sql": "00f28c8492ccdc1d",
}


def test_what_was_applied_is_as_it_was() -> None:
    """A change of the schema is a new file, which is added here once it is in households."""
    files = {f"{one.version:03}_{one.name}.sql": one.sha256[:16] for one in migrations.read()}
    assert {name: files.get(name) for name in APPLIED} == APPLIED


async def test_all_up_all_down_all_up_is_the_same_schema(empty: Address) -> None:
    owner = await empty.connect()
    assert await migrations.migrate(owner) == FILES
    first = schema(empty)
    assert sum("CREATE TABLE" in line for line in first) >= 10
    await fill(owner)
    assert await migrations.migrate(owner) == []
    assert await owner.fetchval("SELECT count(*) FROM knowledge") == 2

    assert len(await migrations.migrate(owner, down=1000)) == len(FILES)
    assert not [line for line in schema(empty) if line.startswith("CREATE ") and "EXTENSION" not in line][1:]

    assert await migrations.migrate(owner) == FILES
    assert schema(empty) == first
    await owner.close()


async def test_the_vector_reads_as_a_column_of_knowledge(empty: Address) -> None:
    owner = await empty.connect()
    await migrations.migrate(owner)
    await fill(owner)
    assert await owner.fetchval("SELECT k.embedding::text FROM knowledge k") == "[1,2,3]"
    await owner.close()


async def test_two_starts_at_once(postgres: Address) -> None:
    address = replace(postgres, database=f"twice_{uuid.uuid4().hex}")
    households = await asyncio.gather(*(setup.prepare(Settings(), address) for _ in range(4)))
    assert len(set(households)) == 1
    owner = await address.connect()
    assert await owner.fetchval("SELECT count(*) FROM households") == 1
    await owner.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may spoil."""
    return Path(shutil.copytree(migrations.DIRECTORY, tmp_path / "migrations"))


async def test_a_changed_file_is_named(admin: asyncpg.Connection, folder: Path) -> None:
    with (folder / FILES[0]).open("a") as file:
        file.write("-- changed\n")
    with pytest.raises(StartError, match=FILES[0]):
        await migrations.migrate(admin, folder)


async def test_a_database_from_the_future_is_refused(admin: asyncpg.Connection, folder: Path) -> None:
    await admin.execute("INSERT INTO schema_migrations (version, name, sha256) VALUES (999, 'later', '')")
    with pytest.raises(StartError, match="999_later"):
        await migrations.migrate(admin, folder)


async def test_a_failing_migration_leaves_nothing(admin: asyncpg.Connection, folder: Path) -> None:
    number = len(FILES) + 1
    (folder / f"{number:03}_broken.sql").write_text("CREATE TABLE half (id int); SELECT 1 / 0;")
    (folder / f"{number:03}_broken.down.sql").write_text("DROP TABLE half;")
    with pytest.raises(StartError, match=f"{number:03}_broken.sql failed: division by zero"):
        await migrations.migrate(admin, folder)
    assert await admin.fetchval("SELECT to_regclass('half')") is None
    assert await migrations.pending(admin, folder) == [f"{number:03}_broken.sql"]


@pytest.mark.parametrize(
    "file,words",
    [("009_gap.sql", "has no rollback"), ("readme.sql", "is no migration"), ("0002_x.sql", "is no migration")],
)
async def test_a_folder_out_of_order_is_refused(folder: Path, file: str, words: str) -> None:
    (folder / file).write_text("SELECT 1;")
    with pytest.raises(StartError, match=words):
        migrations.read(folder)


async def test_a_gap_is_refused(folder: Path) -> None:
    (folder / "999_gap.sql").write_text("SELECT 1;")
    (folder / "999_gap.down.sql").write_text("SELECT 1;")
    with pytest.raises(StartError, match="not numbered"):
        migrations.read(folder)


@pytest.mark.parametrize("constant,value", [("OLDEST_SERVER", 99), ("OLDEST_PGVECTOR", (99, 0, 0))])
async def test_what_is_too_old_is_told(
    admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, constant: str, value: object
) -> None:
    monkeypatch.setattr(migrations, constant, value)
    with pytest.raises(StartError, match=r"99.* or newer is needed"):
        await migrations.migrate(admin)


async def test_an_owner_who_is_no_superuser(postgres: Address) -> None:
    """Managed servers give one: the functions that run with the owner's rights must work all the same."""
    name = f"plain_{uuid.uuid4().hex}"
    root = await postgres.connect()
    await setup.make_role(root)
    await root.execute(f"CREATE ROLE {name} LOGIN CREATEROLE; ")
    await root.execute(f"CREATE DATABASE {name} OWNER {name}")
    address = replace(postgres, database=name)
    in_it = await address.connect()
    await in_it.execute(f"CREATE EXTENSION vector; ALTER SCHEMA public OWNER TO {name}")
    await in_it.close()

    household = await setup.prepare(Settings(), replace(address, user=name))
    database = await Database.open(address, PostgresSettings(pool_size=2), Metrics())
    async with database.scoped(Scope(household)) as connection:
        await knowledge.insert(connection, content="The bins go out on Tuesday")
        assert await connection.fetchval("SELECT memory_epoch FROM households") > 1
        assert await knowledge.matching(connection, query="bins", limit=5)
        assert await cache.clear_all(connection) == 0
    await database.close()
    await root.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await root.execute(f"DROP ROLE {name}")
    await root.close()


async def test_a_role_above_the_policies_is_refused(postgres: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "SERVING_ROLE", "postgres")
    owner = await postgres.connect()
    with pytest.raises(StartError, match="above row-level security"):
        await setup.make_role(owner)
    await owner.close()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    settings = Settings(postgres=PostgresSettings(start_seconds=0.1))
    with pytest.raises(StartError, match=r"does not answer at .* after 0.1 s"):
        await setup.prepare(settings, Address(str(tmp_path), 5432, "postgres", "", "x"))


async def test_passwords_of_the_serving_role() -> None:
    address = Address("db", 5432, "ai_assistant", "secret", "ai_assistant")
    assert address.serving.user == SERVING_ROLE
    assert address.serving.password == replace(address, host="elsewhere").serving.password
    assert address.serving.password != replace(address, password="other").serving.password
    assert address.serving.serving == address.serving
    assert "secret" not in repr(address)
