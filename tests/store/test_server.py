"""The embedded PostgreSQL: shared while it is used, stopped by the last, and up again after every kind of end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.errors import StartError
from gateway.store import server as server_module
from gateway.store.server import EmbeddedServer
from tests.store.conftest import QUICK, until


@pytest.fixture
def folder(run_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    place = run_folder / f"server-{request.node.name}"
    place.mkdir()
    yield place / "postgres"
    # Nothing may be left running.
    assert not (place / "postgres" / "postmaster.pid").exists()


async def tables(server: EmbeddedServer) -> int:
    connection = await asyncpg.connect(host=server.address.host, user="postgres", database="postgres")
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename = 'kept'"))
    finally:
        await connection.close()


def postmaster(server: EmbeddedServer) -> int:
    return int((server.folder / "postmaster.pid").read_text().split("\n")[0])


async def test_the_last_to_leave_stops_it(folder: Path) -> None:
    one, another = EmbeddedServer(folder, options=QUICK), EmbeddedServer(folder, options=QUICK)
    await one.start()
    process = postmaster(one)
    await another.start()
    assert postmaster(another) == process
    await one.stop()
    assert await tables(another) == 0
    await another.stop()
    await another.stop()
    assert not (folder / "postmaster.pid").exists()
    assert folder.stat().st_mode & 0o077 == 0


async def test_after_a_kill_it_recovers(folder: Path) -> None:
    async with EmbeddedServer(folder, options=[*QUICK, "fsync=on", "synchronous_commit=on"]) as server:
        connection = await asyncpg.connect(host=server.address.host, user="postgres", database="postgres")
        await connection.execute("CREATE TABLE kept (id int)")
        process = postmaster(server)
        os.kill(process, signal.SIGKILL)
        await until(lambda: server._process is not None and server._process.poll() is not None)
        await until(connection.is_closed)
    async with EmbeddedServer(folder, options=QUICK) as server:
        assert postmaster(server) != process
        assert await tables(server) == 1


async def test_a_pid_file_that_names_another_program(folder: Path) -> None:
    """In a container the number of a crashed postmaster soon belongs to something else, perhaps to the gateway."""
    async with EmbeddedServer(folder, options=QUICK):
        pass
    (folder / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}\n1\n5432\n{folder}\n\n  1 1\nready\n")
    async with EmbeddedServer(folder, options=QUICK) as server:
        assert postmaster(server) != os.getpid()


LEAVER = """
import asyncio, os, sys
from pathlib import Path
from gateway.store.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), options=("fsync=off",))
asyncio.run(server.start())
os.kill(os.getpid(), 9)
"""


async def test_a_server_left_by_a_killed_gateway_is_taken_over(folder: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVER, str(folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    process = int((folder / "postmaster.pid").read_text().split("\n")[0])
    server = EmbeddedServer(folder, options=QUICK)
    await server.start()
    assert postmaster(server) == process
    await server.stop()


async def test_a_folder_whose_name_is_too_long_for_a_socket(folder: Path) -> None:
    deep = folder.parent / ("x" * 60) / ("y" * 60) / "postgres"
    async with EmbeddedServer(deep, options=QUICK) as server:
        assert len(server.address.host) < 80
        assert Path(server.address.host).stat().st_mode & 0o077 == 0
        assert await tables(server) == 0


async def test_a_socket_folder_of_someone_else_is_refused(folder: Path) -> None:
    deep = folder.parent / ("x" * 60) / ("z" * 60) / "postgres"
    server = EmbeddedServer(deep, options=QUICK)
    Path(server.address.host).mkdir(mode=0o755)
    try:
        with pytest.raises(StartError, match="not a private folder"):
            await server.start()
    finally:
        Path(server.address.host).rmdir()


async def test_it_says_why_it_cannot_start(folder: Path) -> None:
    async with EmbeddedServer(folder, options=QUICK):
        pass
    with pytest.raises(StartError, match="nonsense"):
        await EmbeddedServer(folder, options=["nonsense=1"]).start()


async def test_an_initdb_that_was_killed_half_way(folder: Path) -> None:
    (folder.parent / "postgres.new").mkdir()
    (folder.parent / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with EmbeddedServer(folder, options=QUICK) as server:
        assert await tables(server) == 0


async def test_it_waits_however_long_recovery_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(server_module, "TELL_SECONDS", -1.0)
    async with EmbeddedServer(folder, options=QUICK):
        pass
    assert "recovering" in caplog.text
    monkeypatch.setattr(server_module, "RECOVERY_SECONDS", -1.0)
    with pytest.raises(StartError, match="did not become ready"):
        await EmbeddedServer(folder, options=QUICK).start()


async def test_without_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StartError, match="POSTGRES_HOST"):
        server_module.wheel_programs()


async def test_many_start_it_at_once(folder: Path) -> None:
    servers = [EmbeddedServer(folder, options=QUICK) for _ in range(4)]
    await asyncio.gather(*(server.start() for server in servers))
    assert await asyncio.gather(*(tables(server) for server in servers)) == [0] * 4
    await asyncio.gather(*(server.stop() for server in servers))
