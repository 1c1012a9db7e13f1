"""A real broker (Mosquitto), one for each test that asks for it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_mosquitto() -> str | None:
    """Where the broker's program is, or None."""
    return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


class Mosquitto:
    """A broker on a port of its own. It may be stopped and started again, with what it kept or without."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts it and waits until it listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        conf = self._folder / "mosquitto.conf"
        conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence true\n"
            f"persistence_location {self._folder}/\nmax_queued_messages 100000\nuser root\n"
        )
        self._process = await asyncio.create_subprocess_exec(
            self._program, "-c", str(conf), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def stop(self, *, kill: bool = False) -> None:
        """Ends it; `kill`: without a chance to write down what it keeps."""
        if self._process is None or self._process.returncode is not None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        await self._process.wait()

    def forget(self) -> None:
        """Takes away what it kept (while it is stopped)."""
        (self._folder / "mosquitto.db").unlink(missing_ok=True)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("no MQTT broker here: sudo apt install mosquitto")
    async with Mosquitto(program, tmp_path / "mosquitto") as broker:
        yield broker
