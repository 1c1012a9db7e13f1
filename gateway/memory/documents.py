"""Documents: taken in, read by a process of their own, found like everything else that is known.

A document arrives as a file of the data folder and a row that names it. One task reads what waits, one at a time: a
process makes passages of the file, one transaction puts them in the place of those before. Until it commits the
version before is found. Whoever works on a file holds a lock on it, which ends with the process: what a killed gateway
had begun the next one begins again.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from gateway.config import ENVIRONMENT, DocumentSettings
from gateway.errors import BadRequest, GatewayError, NotFound, PayloadTooLarge, Unavailable, UnsupportedMediaType
from gateway.memory.parsing import EXIT_DISK, READERS, Limits, reader_of
from gateway.memory.rounds import Rounds
from gateway.shapes import Passage, Scope
from gateway.store import documents as rows
from gateway.store import members
from gateway.store.documents import Document, State
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
GONE_AFTER = timedelta(days=1)  # a file that another gateway was to read, and that nobody has
BATCH = 2000  # passages a statement: each counts its words anew, and has the time that a statement has
LAST = 4096  # bytes that how it went takes, at most
BUFFER = 1024 * 1024  # bytes written at once


class Incoming:
    """A file on its way in. `size` and `sha256` are of what was written so far; `kept`: a row names it now."""

    def __init__(self, name: str, path: Path, max_bytes: int) -> None:
        self.name = name
        self.path = path
        self.size = 0
        self.kept = False
        self._max_bytes = max_bytes
        self._sha256 = hashlib.sha256()
        self._buffer = bytearray()
        self._file = path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def sha256(self) -> bytes:
        return self._sha256.digest()

    async def write(self, data: bytes) -> None:
        """Takes the next bytes. Raises PayloadTooLarge, or Unavailable where the disk takes no more."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise PayloadTooLarge(f"The document is over {self._max_bytes} bytes.", field="file")
        self._buffer += data
        if len(self._buffer) >= BUFFER:
            await self._write(False)

    async def complete(self) -> None:
        """Puts all of it on the disk, so that a row may name it."""
        await self._write(True)

    async def _write(self, sync: bool) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            await asyncio.to_thread(self._put, data, sync)
        except OSError as error:
            raise Unavailable(f"The data folder cannot take the document ({error.strerror}).") from error

    def _put(self, data: bytes, sync: bool) -> None:
        self._sha256.update(data)
        self._file.write(data)
        if sync:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Lets go of the file, and takes it away where no row names it."""
        if not self.kept:
            self.path.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk, told already
            self._file.close()


class Documents(Rounds):
    """A household's documents. `async with` starts and ends the task that reads them."""

    def __init__(
        self,
        database: Database,
        settings: DocumentSettings,
        folder: Path,
        household_id: int,
        changed: Callable[[], Awaitable[None]],
        language_of: Callable[[str], str | None],
    ) -> None:
        """`folder` holds files until they are read; `changed` is awaited when what is known has changed; `language_of`
        tells a passage's language, or None, and is called in another thread."""
        super().__init__("documents", self._round)
        self._database = database
        self._settings = settings
        self._folder = folder
        self._household = Scope(household_id)
        self._changed = changed
        self._language_of = language_of
        self._tidied = False

    @asynccontextmanager
    async def receive(self, name: str) -> AsyncIterator[Incoming]:
        """A file to write a document of this name into; gone at the end unless `add` or `replace` took it.

        Raises UnsupportedMediaType for a name whose ending says that nobody reads it.
        """
        if reader_of(name) is None:
            raise UnsupportedMediaType(f"This is not read; allowed are {', '.join(READERS)}.", field="file")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            incoming = Incoming(name, self._folder / secrets.token_hex(16), self._settings.max_bytes)
        except OSError as error:
            raise Unavailable(f"The data folder cannot take the document ({error.strerror}).") from error
        try:
            yield incoming
        finally:
            incoming.close()
            if incoming.kept:
                self.wake()

    async def add(
        self, scope: Scope, incoming: Incoming, *, folder: str | None, tags: Sequence[str], shared: bool
    ) -> tuple[Document, bool]:
        """The document of this content, and whether it is new (or tried anew, having failed): it is read soon."""
        await incoming.complete()
        async with self._database.scoped(scope) as connection:
            document, incoming.kept = await rows.insert(
                connection,
                member_id=None if shared else scope.member_id,
                folder=folder,
                name=incoming.name,
                tags=tags,
                sha256=incoming.sha256,
                size=incoming.size,
                upload=incoming.path.name,
            )
        return document, incoming.kept

    async def replace(self, scope: Scope, document_id: int, incoming: Incoming) -> tuple[Document, bool]:
        """The document with a new version, and whether it has one: not where the content is the one it has.

        The version before is found until the new one is read. Raises NotFound, or Conflict for another's content.
        """
        await incoming.complete()
        async with self._database.scoped(scope) as connection:
            before = _found(await rows.get(connection, document_id), document_id)
            replaced = await rows.replace(
                connection,
                document_id,
                name=incoming.name,
                sha256=incoming.sha256,
                size=incoming.size,
                upload=incoming.path.name,
            )
            document = _found(replaced, document_id)
            incoming.kept = document.upload == incoming.path.name
        if incoming.kept and before.upload is not None:
            self._drop(before.upload)
        return document, incoming.kept

    async def get(self, scope: Scope, document_id: int) -> Document:
        """One document. Raises NotFound."""
        async with self._database.scoped(scope) as connection:
            return _found(await rows.get(connection, document_id), document_id)

    async def page(
        self,
        scope: Scope,
        *,
        after: int = 0,
        limit: int,
        folder: str | None = None,
        tags: Sequence[str] = (),
        state: State | None = None,
    ) -> list[Document]:
        """Up to `limit` documents with ids over `after`, in the order of their ids."""
        async with self._database.scoped(scope) as connection:
            return await rows.page(connection, after=after, limit=limit, folder=folder, tags=tags, state=state)

    async def update(self, scope: Scope, document_id: int, changes: Mapping[str, Any]) -> Document:
        """Changes `name`, `folder` (None: none) and `tags`, those that are given; what came from it follows.

        Raises NotFound, or BadRequest for a name by which another reader would read it.
        """
        name = changes.get("name")
        async with self._database.scoped(scope) as connection:
            before = _found(await rows.get(connection, document_id), document_id)
            if name is not None and reader_of(name) is not reader_of(before.name):
                ending = Path(before.name).suffix
                raise BadRequest(f"The name should end in {ending} as before: that tells how it is read.", field="name")
            document = await rows.update(
                connection,
                document_id,
                name=name,
                tags=changes.get("tags"),
                folders=[changes["folder"]] if "folder" in changes else [],
            )
        await self._changed()
        return _found(document, document_id)

    async def delete(self, scope: Scope, document_id: int) -> None:
        """Forgets a document and all that came from it. Raises NotFound."""
        async with self._database.scoped(scope) as connection:
            there, upload = await rows.delete(connection, document_id)
        if not there:
            raise _missing(document_id)
        if upload is not None:
            self._drop(upload)
        await self._changed()

    async def take_in(
        self, scope: Scope, path: Path, *, folder: str | None, tags: Sequence[str]
    ) -> tuple[Document, bool]:
        """Adds a file of this machine and reads it now: what became of it, and whether it is new.

        Raises PayloadTooLarge, UnsupportedMediaType, or Unavailable where it cannot be read from the disk.
        """
        async with self.receive(path.name) as incoming:
            try:
                with path.open("rb") as file:
                    while data := await asyncio.to_thread(file.read, BUFFER):
                        await incoming.write(data)
            except OSError as error:
                raise Unavailable(f"{path} cannot be read ({error.strerror}).") from error
            document, new = await self.add(scope, incoming, folder=folder, tags=tags, shared=False)
        return (await self.read(document) if new else document), new

    async def read(self, document: Document) -> Document:
        """Reads a document that waits, now, and returns what became of it."""
        scope = Scope(self._household.household_id, document.member_id)
        await self._read(scope, document)
        return await self.get(scope, document.id)

    async def read_waiting(self) -> int:
        """Reads whatever waits and has its file here; how many there were. Raises StoreUnavailable."""
        done = 0
        for scope in await self._scopes():
            async with self._database.scoped(scope) as connection:
                unread = await rows.unread(connection)
            for document in unread:
                if document.member_id == scope.member_id:
                    done += await self._read(scope, document)
        return done

    async def tidy(self) -> None:
        """Takes away files that no row names: of uploads that broke off with the gateway. Raises StoreUnavailable."""
        paths = await asyncio.to_thread(lambda: list(self._folder.glob("*")))
        loose = [(path, file) for path in paths if (file := _locked(path)) is not None]
        try:
            # Asked for while the files are held: one that arrives now is named in time.
            named = set()
            for scope in await self._scopes():
                async with self._database.scoped(scope) as connection:
                    named |= {document.upload for document in await rows.unread(connection)}
            for path, _ in loose:
                if path.name not in named:
                    path.unlink(missing_ok=True)
        finally:
            for _, file in loose:
                os.close(file)

    async def _round(self) -> None:
        if not self._tidied:
            await self.tidy()
        # A round that breaks off may leave a file behind, whose version was stored without a word of it.
        self._tidied = False
        await self.read_waiting()
        self._tidied = True

    async def _scopes(self) -> list[Scope]:
        async with self._database.scoped(self._household) as connection:
            return await members.scopes(connection, self._household.household_id)

    async def _read(self, scope: Scope, document: Document) -> bool:
        """Reads a document whose file is here and that nobody else is reading; whether it did."""
        path = self._folder / (document.upload or "none")
        file = _locked(path)
        if file is None:
            if not path.is_file() and datetime.now(UTC) - document.updated_at > GONE_AFTER:
                await self._fail(scope, document, "has lost its file; upload it again")
            return False
        try:
            async with self._database.scoped(scope) as connection:
                wanted = await rows.begin(connection, document.id, document.version)
            if wanted:
                with TemporaryFile(dir=self._folder) as out:
                    said = await self._parse(path, document.name, out)
                    if "reason" in said:
                        await self._fail(scope, document, said["reason"])
                    else:
                        await self._store(scope, document, out, said)
            path.unlink(missing_ok=True)
        except GatewayError:
            raise
        except OSError as error:  # a full disk, no process to be had: not the document's fault, and it passes
            raise Unavailable(f"a document cannot be read now ({error.strerror})") from error
        except Exception:
            # One document's boundary: what nobody foresaw must not keep those behind it waiting, nor come back.
            LOG.exception("document %d could not be taken in", document.id)
            await self._fail(scope, document, "could not be taken in; the log says why")
            path.unlink(missing_ok=True)
        finally:
            os.close(file)
        return wanted

    async def _parse(self, path: Path, name: str, out: IO[bytes]) -> dict[str, Any]:
        settings = self._settings
        limits = Limits(
            size=settings.passage_characters,
            overlap=settings.overlap_characters,
            max_pages=settings.max_pages,
            seconds=settings.read_seconds,
            megabytes=settings.read_megabytes,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.memory.parsing",
            path,
            name,
            json.dumps(asdict(limits)),
            cwd=ROOT,
            # The gateway's passwords are nothing to a process that reads strangers' files.
            env={key: value for key, value in os.environ.items() if key.removesuffix("_FILE") not in ENVIRONMENT},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.DEVNULL,
        )
        too_long = {"reason": f"takes more than {settings.read_seconds} seconds to be read"}
        try:
            # Twice its own time: on a busy machine the processor is not its alone.
            async with asyncio.timeout(2 * settings.read_seconds):
                await process.wait()
        except TimeoutError:
            return too_long
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return await asyncio.to_thread(_last, out)
        if process.returncode == EXIT_DISK:
            raise Unavailable("the data folder takes no passages: is the disk full?")
        if process.returncode == -signal.SIGXCPU:
            return too_long
        return {"reason": f"broke what reads it (exit code {process.returncode})"}

    async def _store(self, scope: Scope, document: Document, out: IO[bytes], said: dict[str, Any]) -> None:
        async with self._database.scoped(scope) as connection:
            taken = await rows.take_over(
                connection, document.id, document.version, pages=said["pages"], passages=said["passages"]
            )
            if taken is None:
                return
            lines = islice(out, said["passages"])
            first = 1
            while passages := await asyncio.to_thread(self._some, lines):
                await rows.add_passages(connection, taken, passages, first=first)
                first += len(passages)
        LOG.info("document %d is read: %d passages", document.id, said["passages"])
        await self._changed()

    def _some(self, lines: Iterator[bytes]) -> list[tuple[Passage, str | None]]:
        passages = [Passage(*json.loads(line)) for line in islice(lines, BATCH)]
        return [(passage, self._language_of(passage.content)) for passage in passages]

    async def _fail(self, scope: Scope, document: Document, reason: str) -> None:
        LOG.info("document %d %s", document.id, reason)
        async with self._database.scoped(scope) as connection:
            await rows.fail(connection, document.id, document.version, reason)

    def _drop(self, upload: str) -> None:
        # Who is reading it keeps what is open, and finds at the end that nobody wants it.
        (self._folder / upload).unlink(missing_ok=True)


def files_below(path: Path) -> list[tuple[Path, str | None]]:
    """The documents at a path, each with the folder it belongs into; hidden ones and those nobody reads left out.

    A file belongs into none, what is in a folder into one of that name, and so on below: `manuals/kitchen`.
    """
    if path.is_file():
        return [(path, None)]
    top = path.resolve()
    return [
        (file, "/".join((top.name, *file.relative_to(top).parts[:-1])))
        for file in sorted(top.rglob("*"))
        if file.is_file()
        and reader_of(file.name) is not None
        and not any(part.startswith(".") for part in file.relative_to(top).parts)
    ]


def _last(out: IO[bytes]) -> dict[str, Any]:
    """How the reading went: the last line. Leaves the file at its beginning."""
    out.seek(0, os.SEEK_END)
    out.seek(max(0, out.tell() - LAST))
    said: dict[str, Any] = json.loads(out.read().rsplit(b"\n", 1)[-1])
    out.seek(0)
    return said


def _locked(path: Path) -> int | None:
    """The file, open and locked, for as long as it stays open; None where it is not there or someone has it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _found(document: Document | None, document_id: int) -> Document:
    if document is None:
        raise _missing(document_id)
    return document


def _missing(document_id: int) -> NotFound:
    return NotFound(f"There is no document {document_id}.", field="id")
