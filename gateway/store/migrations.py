"""Applies `migrations/NNN_name.sql` in order, each once, each in a transaction of its own."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from gateway.errors import StartError

log = logging.getLogger(__name__)

DIRECTORY = Path(__file__).resolve().parents[2] / "migrations"
LOCK = 0x6169_6777  # "aigw": one migrates, the others wait and find nothing to do
OLDEST_SERVER = 16
OLDEST_PGVECTOR = (0, 8, 4)
FILE = re.compile(r"(?P<version>\d{3})_(?P<name>\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, and the one that takes it back."""

    version: int
    name: str
    up: str
    down: str
    sha256: str


def read(directory: Path = DIRECTORY) -> list[Migration]:
    """The migrations of a folder, in order. Raises StartError for a gap or a missing rollback."""
    found = []
    for path in sorted(directory.glob("*.sql")):
        if (match := FILE.fullmatch(path.name)) is None:
            if not path.name.endswith(".down.sql"):
                raise StartError(f"{path.name} is no migration; names look like 002_what_it_does.sql")
            continue
        down = path.with_name(f"{path.stem}.down.sql")
        if not down.exists():
            raise StartError(f"{path.name} has no rollback: {down.name} is missing")
        up = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(up.encode()).hexdigest()
        found.append(Migration(int(match["version"]), match["name"], up, down.read_text(encoding="utf-8"), digest))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise StartError(f"the migrations in {directory} are not numbered 1, 2, 3 and on, each once")
    return found


async def migrate(connection: asyncpg.Connection, directory: Path = DIRECTORY, down: int = 0) -> list[str]:
    """Applies what is missing, or takes back the last `down`; returns the names of the files that ran.

    `connection` is the owner's. Raises StartError when an applied file was changed, the database is newer than the
    code, or the server or pgvector is too old.
    """
    migrations = read(directory)
    await check_versions(connection)
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer PRIMARY KEY,
                name       text NOT NULL,
                sha256     text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        applied = {
            row["version"]: row
            for row in await connection.fetch("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")
        }
        _agree(migrations, applied)
        if down:
            taken = [migration for migration in reversed(migrations) if migration.version in applied][:down]
            return [await _take_back(connection, migration) for migration in taken]
        missing = [migration for migration in migrations if migration.version not in applied]
        return [await _apply(connection, migration) for migration in missing]
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)


async def pending(connection: asyncpg.Connection, directory: Path = DIRECTORY) -> list[str]:
    """The names of the files not yet applied, without changing anything."""
    there = await connection.fetchval("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
    rows = await connection.fetch("SELECT version FROM schema_migrations") if there else []
    applied = {row["version"] for row in rows}
    return [_file(migration) for migration in read(directory) if migration.version not in applied]


async def check_versions(connection: asyncpg.Connection) -> None:
    """Raises StartError when the server, or the pgvector it offers or has, is older than needed."""
    server = connection.get_server_version()
    if server.major < OLDEST_SERVER:
        raise StartError(f"PostgreSQL is {server.major}.{server.minor}; {OLDEST_SERVER} or newer is needed")
    version = await connection.fetchval(
        """
        SELECT coalesce(e.extversion, a.default_version)
        FROM pg_available_extensions a LEFT JOIN pg_extension e ON e.extname = a.name
        WHERE a.name = 'vector'
        """
    )
    wanted = ".".join(map(str, OLDEST_PGVECTOR))
    if version is None:
        raise StartError(f"this PostgreSQL has no pgvector; {wanted} or newer is needed (image pgvector/pgvector:pg16)")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < OLDEST_PGVECTOR:
        raise StartError(
            f"pgvector is {version}; {wanted} or newer is needed: update the image, then ALTER EXTENSION vector UPDATE"
        )


def _agree(migrations: list[Migration], applied: dict[int, asyncpg.Record]) -> None:
    known = {migration.version: migration for migration in migrations}
    for version, row in applied.items():
        if version not in known:
            raise StartError(f"the database has migration {version:03}_{row['name']}, which this version does not know")
        if known[version].sha256 != row["sha256"]:
            raise StartError(f"{_file(known[version])} was changed after it had been applied; put it back as it was")


async def _apply(connection: asyncpg.Connection, migration: Migration) -> str:
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL search_path = public")
            await connection.execute(migration.up)
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        raise StartError(f"migration {_file(migration)} failed: {error}") from error
    log.info("applied migration %s", _file(migration))
    return _file(migration)


async def _take_back(connection: asyncpg.Connection, migration: Migration) -> str:
    name = f"{migration.version:03}_{migration.name}.down.sql"
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL search_path = public")
            await connection.execute(migration.down)
            await connection.execute("DELETE FROM schema_migrations WHERE version = $1", migration.version)
    except asyncpg.PostgresError as error:
        raise StartError(f"migration {name} failed: {error}") from error
    log.info("took back migration %s", name)
    return name


def _file(migration: Migration) -> str:
    return f"{migration.version:03}_{migration.name}.sql"
