"""A real broker (Mosquitto), one for each test that asks for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest

UNPACKED = Path(__file__).parent.parent / ".venv" / "mosquitto"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_mosquitto() -> str | None:
    """Where the broker's program is, or None: the system's, or the one that scripts/test fetched."""
    fetched = sorted(UNPACKED.glob("usr/sbin/mosquitto"))
    return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto") or (str(fetched[0]) if fetched else None)


NO_BROKER = "no MQTT broker here, and none could be fetched: sudo apt install mosquitto"
ANYONE = ("allow_anonymous true",)
PATIENT = ("max_queued_messages 100000",)


def _libraries(program: str) -> dict[str, str]:
    """Where a broker that is not installed, only unpacked, finds what it needs."""
    if not program.startswith(str(UNPACKED)):
        return {}
    return {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in UNPACKED.glob("**/lib/*-linux-gnu*"))}


class Mosquitto:
    """A broker on a port of its own. It may be stopped and started again, with what it kept or without."""

    def __init__(self, program: str, folder: Path, *more: str, scheme: str = "mqtt") -> None:
        """`more`: further lines of its configuration, those of the listener first."""
        self._program = program
        self._folder = folder
        self._more = more
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
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
            "\n".join(
                (
                    f"listener {self.port} 127.0.0.1",
                    *self._more,
                    *(() if any(line.startswith("allow_anonymous") for line in self._more) else ANYONE),
                    "set_tcp_nodelay true",
                    "persistence true",
                    f"persistence_location {self._folder}/",
                    *(() if any(line.startswith("max_queued") for line in self._more) else PATIENT),
                    "user root",
                    "",
                )
            )
        )
        self._process = await asyncio.create_subprocess_exec(
            self._program,
            "-c",
            str(conf),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | _libraries(self._program),
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

    def pause(self) -> None:
        """It hangs: its connections stay open, and nothing comes of them."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

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


class Wire:
    """A wire between a client and the broker, at a port of its own: it may be cut, or lose what goes one way."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost_to_broker = False
        self.lost_to_client = False
        self.connections = 0
        self.refused = 0
        self._refusal: bytes | None = None
        self._cut_before: int | None = None
        self.swallowed = asyncio.Event()
        """Something of the broker's did not reach the client."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Ends every connection."""
        for end in tuple(self._ends):
            end.transport.abort()

    def lose(self, *, to_broker: bool, to_client: bool) -> None:
        """Loses what goes to the one, to the other; the connections stay open."""
        self.lost_to_broker, self.lost_to_client = to_broker, to_client

    def cut_before(self, packet: int) -> None:
        """Ends every connection in place of the broker's next packet of that type (as numbered by MQTT)."""
        self._cut_before = packet

    def refuse_5(self, answer: bytes) -> None:
        """Lets only MQTT 3.1.1 through; who begins with MQTT 5 gets `answer`, and that is all."""
        self._refusal = answer

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin = b""
        if self._refusal is not None:
            begin = await reader.read(65536)
            if begin[begin.index(b"MQTT") + 4] == 5:
                self.refused += 1
                writer.write(self._refusal)
                writer.close()
                return
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker.port)
        except OSError:
            writer.close()
            return
        self.connections += 1
        to_broker.write(begin)
        self._ends |= {writer, to_broker}
        for source, target, upwards in ((reader, to_broker, True), (from_broker, writer, False)):
            task = asyncio.create_task(self._carry(source, target, upwards))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, upwards: bool) -> None:
        try:
            while carried := await (source.read(65536) if upwards else packet_of(source)):
                if not upwards and carried[0] >> 4 == self._cut_before:
                    self._cut_before = None
                    self.cut()
                    return
                if self.lost_to_broker if upwards else self.lost_to_client:
                    if not upwards:
                        self.swallowed.set()
                    continue
                target.write(carried)
                await target.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._ends.discard(target)
            target.close()


async def packet_of(source: asyncio.StreamReader) -> bytes:
    """The next packet of an MQTT connection. Raises asyncio.IncompleteReadError at its end."""
    packet = await source.readexactly(2)
    length, place = packet[1] & 0x7F, 7
    while packet[-1] & 0x80:
        packet += await source.readexactly(1)
        length |= (packet[-1] & 0x7F) << place
        place += 7
    return packet + await source.readexactly(length)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    program = find_mosquitto()
    if program is None:
        pytest.skip(NO_BROKER)
    async with Mosquitto(program, tmp_path / "mosquitto") as broker:
        yield broker
