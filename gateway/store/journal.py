"""The journal: how a turn is recorded, whether PostgreSQL is there or not.

`append` writes one line to a file before the answer's last bytes go out; a task drains the lines into PostgreSQL, in
order, each once in effect. What was appended outlives the process (kill -9) at once, and a power cut after a second.

    <folder>/00000001.jsonl   lines; a new file when one grows over SEGMENT_BYTES, drained files are deleted
    <folder>/position         "00000001 00000000000000004711": all before this byte of this file is in PostgreSQL
    <folder>/rejected.jsonl   lines that PostgreSQL will not take, for a person to look at
    <folder>/lock             held by the gateway that writes here
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from gateway.errors import JournalFull, PoolExhausted, StartError, StoreUnavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import conversations, knowledge, preferences, training
from gateway.store.address import CONNECTION_ERRORS
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database

log = logging.getLogger(__name__)

Record = dict[str, Any]

SEGMENT_BYTES = 1_048_576
BATCH_RECORDS = 256
BATCH_BYTES = 1_048_576
GATHER_SECONDS = 0.02  # turns that end together go into PostgreSQL together
SYNC_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CLOSE_SECONDS = 5.0
MEMORY_KINDS = frozenset({"knowledge", "preference"})
HOLD = "journal"

# What makes a record unfit, whenever it is tried. Everything else is PostgreSQL's state and may pass.
UNFIT = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.InsufficientPrivilegeError,  # a row that its own scope may not write
    asyncpg.ProgramLimitExceededError,
    LookupError,
    TypeError,
    ValueError,
)


class Unfit(ValueError):
    """A record that can never be written."""


@dataclass(frozen=True, slots=True)
class _Place:
    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Pending:
    """Where a turn waits; the record itself stays in the file."""

    place: _Place
    length: int
    household_id: int
    member_id: int | None
    session_id: str

    def visible(self, scope: Scope) -> bool:
        return self.household_id == scope.household_id and self.member_id in (None, scope.member_id)


class Journal:
    """The one writer of turns, and of what was told while PostgreSQL is away."""

    def __init__(
        self, folder: Path, database: Database, max_bytes: int, metrics: Metrics, watch: EpochWatch | None = None
    ) -> None:
        """Opens the journal in `folder`, repairing what a crash left. Raises StartError when another process has it."""
        self._folder = folder
        self._database = database
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._watch = watch
        self._turns: dict[str, _Pending] = {}
        self._memory = 0
        self._records = 0
        # Bytes since the start, so that a moment of the journal has a number whatever becomes of the files.
        self._appended = 0
        self._drained = 0
        self._file = -1
        self._done = self._end = _Place(1, 0)
        self._arrived = asyncio.Event()
        self._moved = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._unsynced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StartError(
                f"another gateway writes in {folder}: stop it, or set GATEWAY_DATA for this one"
            ) from error
        self._position_file = os.open(folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        self._open_segments()

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, record: Mapping[str, Any]) -> None:
        """Keeps `record` (see `write` for its kinds) for good; returns when the operating system has it.

        Raises JournalFull when as much waits as may wait, or the disk is full; then nothing was kept.
        """
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        if self.bytes_waiting + len(line) > self._max_bytes:
            raise JournalFull("PostgreSQL is away and the journal is full: nothing more can be kept", retry_after=30)
        if self._end.offset >= SEGMENT_BYTES:
            self._next_segment()
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise JournalFull(f"the journal cannot be written: {error.strerror}", retry_after=30) from error
        if written != len(line):
            os.ftruncate(self._file, self._end.offset)
            raise JournalFull("the journal cannot be written: the disk is full", retry_after=30)
        place, self._end = self._end, _Place(self._end.segment, self._end.offset + len(line))
        self._records += 1
        self._appended += len(line)
        self._arrived.set()
        self._unsynced.set()
        self._measure()
        self._note(record, place, len(line))

    async def flush(self, timeout: float) -> bool:  # noqa: ASYNC109 - it tells, and does not raise
        """Waits until all that was appended so far is in PostgreSQL (or set aside); False after `timeout` seconds."""
        target = self._appended
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(lambda: self._drained >= target)
        except TimeoutError:
            return False
        return True

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def bytes_waiting(self) -> int:
        """Bytes not yet in PostgreSQL."""
        return self._appended - self._drained

    @property
    def records_waiting(self) -> int:
        """Records not yet in PostgreSQL."""
        return self._records

    @property
    def pending_memory(self) -> int:
        """Memory writes not yet in PostgreSQL. While there are any, every memory write has to come here, in order."""
        return self._memory

    def knows_turn(self, scope: Scope, turn_id: str) -> bool:
        """Whether this turn waits here, for one who may see it."""
        found = self._turns.get(turn_id)
        return found is not None and found.visible(scope)

    def pending_turns(self, scope: Scope, session_id: str) -> list[Record]:
        """The records of a session's turns that are not yet in PostgreSQL, in order."""
        found = [turn for turn in self._turns.values() if turn.session_id == session_id and turn.visible(scope)]
        return [orjson.loads(self._read(turn.place, turn.length)) for turn in found]

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts draining, first of all what an earlier process left."""
        self._tasks = [
            asyncio.create_task(self._drain(), name="journal drain"),
            asyncio.create_task(self._sync(), name="journal sync"),
        ]

    async def close(self) -> None:
        """Drains for a few seconds at most, then lets go; what is left waits for the next start."""
        if self._tasks:
            await self.flush(CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._file >= 0:
            os.fsync(self._file)
            for descriptor in (self._file, self._position_file, self._lock):
                os.close(descriptor)
            self._file = -1

    # --- files ------------------------------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08}.jsonl"

    def _open_segments(self) -> None:
        segments = sorted(int(path.stem) for path in self._folder.glob("[0-9]" * 8 + ".jsonl"))
        words = os.pread(self._position_file, 64, 0).split()
        self._done = _Place(int(words[0]), int(words[1])) if len(words) == 2 else _Place(0, 0)
        while segments and segments[0] < self._done.segment:
            self._path(segments.pop(0)).unlink()
        first = segments[0] if segments else max(self._done.segment, 1)
        if first != self._done.segment or not segments or self._done.offset > self._path(first).stat().st_size:
            # Killed between two files, or between emptying a file and noting it.
            self._done = _Place(first, 0)
        last = segments[-1] if segments else first
        self._file = os.open(self._path(last), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._end = _Place(last, self._mend(last))
        for place, line in self._lines(self._done):
            with contextlib.suppress(orjson.JSONDecodeError, *UNFIT):  # draining will set it aside
                self._note(orjson.loads(line), place, len(line))
            self._records += 1
            self._appended += len(line)
        self._measure()
        if self._records:
            log.info("the journal holds %d records that are not yet in PostgreSQL", self._records)
            self._arrived.set()

    def _mend(self, segment: int) -> int:
        """Cuts off a line that a crash tore; it was never acknowledged. Returns the file's size."""
        content = self._path(segment).read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            log.warning("cut %d bytes of a torn line off the journal", len(content) - whole)
            os.ftruncate(self._file, whole)
        return whole

    def _next_segment(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        self._end = _Place(self._end.segment + 1, 0)
        self._file = os.open(self._path(self._end.segment), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def _read(self, place: _Place, length: int) -> bytes:
        if place.segment == self._end.segment:
            return os.pread(self._file, length, place.offset)
        with self._path(place.segment).open("rb") as file:
            file.seek(place.offset)
            return file.read(length)

    def _lines(self, start: _Place) -> Iterator[tuple[_Place, bytes]]:
        for segment in range(start.segment, self._end.segment + 1):
            offset = start.offset if segment == start.segment else 0
            with self._path(segment).open("rb") as file:
                file.seek(offset)
                for line in file:
                    yield _Place(segment, offset), line
                    offset += len(line)

    def _note(self, record: Mapping[str, Any], place: _Place, length: int) -> None:
        if record["kind"] in MEMORY_KINDS:
            self._memory += 1
            if self._watch is not None:
                self._watch.hold(HOLD)
        elif record["kind"] == "turn":
            self._turns[record["turn_id"]] = _Pending(
                place, length, record["household_id"], record.get("member_id"), record["session_id"]
            )

    def _measure(self) -> None:
        self._metrics.journal_bytes.set(self.bytes_waiting)
        self._metrics.journal_records.set(self._records)

    # --- draining ---------------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        while True:
            await self._unsynced.wait()
            self._unsynced.clear()
            # A descriptor of its own: the file may be closed for the next one meanwhile.
            file = os.dup(self._file)
            try:
                # The position first: with one that is too old lines are written again, with one too new they are lost.
                await asyncio.to_thread(os.fsync, self._position_file)
                await asyncio.to_thread(os.fsync, file)
            except OSError:
                log.exception("the journal cannot be brought to the disk")
            finally:
                os.close(file)
            await asyncio.sleep(SYNC_SECONDS)

    async def _drain(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._arrived.wait()
            await self._wait(GATHER_SECONDS)
            try:
                batch = self._batch()
                if not batch:
                    self._arrived.clear()
                    continue
                await self._write_batch([line for _, line in batch])
                await self._advance(batch)
            except (StoreUnavailable, *CONNECTION_ERRORS) as error:
                if not isinstance(error, PoolExhausted):
                    log.warning("the journal waits for PostgreSQL: %s", type(error.__cause__ or error).__name__)
                await self._wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS

    async def _wait(self, seconds: float) -> None:
        """Pauses, unless someone waits for the journal to be empty."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    def _batch(self) -> list[tuple[_Place, bytes]]:
        batch: list[tuple[_Place, bytes]] = []
        size = 0
        for place, line in self._lines(self._done):
            batch.append((place, line))
            size += len(line)
            if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
                break
        return batch

    async def _write_batch(self, lines: Sequence[bytes]) -> None:
        """Writes lines in order, neighbours of one scope in one transaction; unfit ones are set aside."""
        try:
            records = [parse(line) for line in lines]
            for scope, group in groupby(records, key=scope_of):
                async with self._database.scoped(scope) as connection:
                    await write(connection, list(group))
        except UNFIT:
            # One of them is unfit. Again, one by one: what was committed before changes nothing the second time.
            for line in lines:
                try:
                    record = parse(line)
                    async with self._database.scoped(scope_of(record)) as connection:
                        await write(connection, [record])
                except UNFIT as error:
                    self._set_aside(line, error)

    def _set_aside(self, line: bytes, error: Exception) -> None:
        path = self._folder / "rejected.jsonl"
        with path.open("ab") as file:
            file.write(line)
        # Neither the record nor PostgreSQL's message: both may hold the user's words.
        log.error("a journal record was set aside in %s: %s", path, type(error).__name__)

    async def _advance(self, batch: Sequence[tuple[_Place, bytes]]) -> None:
        (place, line), first_segment, memory_waited = batch[-1], self._done.segment, self._memory > 0
        self._done = _Place(place.segment, place.offset + len(line))
        if self._done == self._end:
            # The words should not stay here once they may be forgotten there. In this order: see _open_segments.
            os.ftruncate(self._file, 0)
            self._done = self._end = _Place(self._end.segment, 0)
        self._save_position()
        for segment in range(first_segment, self._done.segment):
            self._path(segment).unlink(missing_ok=True)
        for done, record in batch:
            with contextlib.suppress(orjson.JSONDecodeError, *UNFIT):
                content = orjson.loads(record)
                if content["kind"] in MEMORY_KINDS:
                    self._memory -= 1
                elif content["kind"] == "turn" and (turn := self._turns.get(content["turn_id"])) and turn.place == done:
                    del self._turns[content["turn_id"]]
        self._records -= len(batch)
        self._drained += sum(len(record) for _, record in batch)
        self._measure()
        if memory_waited and not self._memory and self._watch is not None:
            await self._watch.refresh()
            if not self._memory:
                self._watch.release(HOLD)
        async with self._moved:
            self._moved.notify_all()

    def _save_position(self) -> None:
        os.pwrite(self._position_file, b"%08d %020d\n" % (self._done.segment, self._done.offset), 0)


def parse(line: bytes) -> Record:
    """A line's record. Raises Unfit."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Unfit("not JSON") from error
    if not isinstance(record, dict):
        raise Unfit("not an object")
    return record


def scope_of(record: Mapping[str, Any]) -> Scope:
    """For whom a record speaks. Raises Unfit."""
    household_id, member_id = record.get("household_id"), record.get("member_id")
    if not isinstance(household_id, int) or not isinstance(member_id, int | None):
        raise Unfit("no scope")
    return Scope(household_id, member_id)


async def write(connection: asyncpg.Connection, records: Sequence[Record]) -> None:
    """Writes records of one scope, in order; again, and nothing changes. Raises one of UNFIT for what cannot be.

        {"kind": "turn", "household_id", "member_id", "turn_id", "session_id", "at", "done_at"?, "language"?, "intent"?,
         "user", "assistant", "metadata"?}
        {"kind": "feedback", "household_id", "member_id", "turn_id", "score", "comment"?}
        {"kind": "knowledge", "household_id", "member_id", "reference", "content", "source"?, "tags"?, "kind_of"?,
         "expires_at"?}
        {"kind": "preference", "household_id", "member_id", "key", "value", "category"?}

    Times are ISO 8601. An `assistant` of null is a turn without an answer. `shared` true writes memory that the whole
    household sees, whoever says it.
    """
    for kind, group in groupby(records, key=lambda record: record.get("kind")):
        match kind:
            case "turn":
                await conversations.insert(connection, [row for record in group for row in _said(record)])
            case "feedback":
                for record in group:
                    rated = await training.upsert_feedback(
                        connection, record["turn_id"], record["score"], record.get("comment")
                    )
                    if rated is None:
                        raise Unfit("feedback to a turn that is not there")
            case "knowledge":
                for record in group:
                    await knowledge.insert(
                        connection,
                        content=record["content"],
                        source=record.get("source"),
                        tags=record.get("tags") or (),
                        kind=record.get("kind_of") or "fact",
                        member_id=None if record.get("shared") else record.get("member_id"),
                        expires_at=_time(record.get("expires_at")),
                        reference=record["reference"],
                    )
            case "preference":
                for record in group:
                    await preferences.put(
                        connection,
                        key=record["key"],
                        value=record["value"],
                        category=record.get("category"),
                        member_id=None if record.get("shared") else record.get("member_id"),
                    )
            case _:
                raise Unfit("an unknown kind")


def _said(record: Mapping[str, Any]) -> Iterator[conversations.Said]:
    at = _time(record["at"])
    done_at = _time(record.get("done_at")) or at
    for role, time in (("user", at), ("assistant", done_at)):
        if record.get(role) is not None and time is not None:
            yield conversations.Said(
                turn_id=record["turn_id"],
                session_id=record["session_id"],
                member_id=record.get("member_id"),
                role=role,
                content=record[role].replace("\x00", ""),  # PostgreSQL has no text with it; a model may say it
                language=record.get("language"),
                intent=record.get("intent"),
                created_at=time,
                metadata=record.get("metadata") or {},
            )


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
