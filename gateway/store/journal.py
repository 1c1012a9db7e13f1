"""The journal: how a turn is recorded, whether PostgreSQL is there or not.

`append` writes one line to a file before the answer's last bytes go out; a task drains the lines into PostgreSQL, in
order, each once in effect. What was appended outlives the process (kill -9) at once, and a power cut after a second.

    <folder>/00000001.jsonl   lines; a new file when one grows over SEGMENT_BYTES, drained files are deleted
    <folder>/position         "00000001 00000000000000004711": all before this byte of this file is in PostgreSQL
    <folder>/rejected.jsonl   lines that PostgreSQL will not take, for a person to look at
    <folder>/lock             held by the gateway that writes here

A file's name is never used twice: whatever the disk refuses to do, a position that is too old is then seen to be so.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from gateway.errors import JournalFull, PoolExhausted, StartError, StoreUnavailable, Unavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import cache, conversations, knowledge, preferences, training
from gateway.store.address import CONNECTION_ERRORS
from gateway.store.epoch import EpochWatch
from gateway.store.pool import Database
from gateway.tasks import end

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
PATIENCE_SECONDS = 5.0  # what waits longer than this is worth a word
MARK_SECONDS = 1.0  # how exactly it is known since when something waits
MEMORY_KINDS = frozenset({"knowledge", "preference"})
LOW_SCORE = 2  # and below: the answer was wrong; as in the database's trigger
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


POSITION = re.compile(rb"(\d+) (\d+)\n")


@dataclass(frozen=True, slots=True, order=True)
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
        self._ending = 0  # records after which stored answers may be wrong
        self._records = 0
        # Bytes since the start, so that a moment of the journal has a number whatever becomes of the files.
        self._appended = 0
        self._drained = 0
        # Since when something waits: bytes appended before that moment, and the moment (seconds since 1970).
        self._marks: deque[tuple[int, float]] = deque()
        self._refused = ""  # why the last record was not kept, if it was not
        self._torn = False  # whether the file may end in a piece of a line
        self._aside: set[_Place] = set()  # unfit lines that are in the other file, and not yet passed
        self._file = self._position_file = self._folder_file = self._lock = -1
        self._left: list[int] = []  # files that are full, and not yet known to be on the disk
        self._done = self._end = _Place(1, 0)
        self._arrived = asyncio.Event()
        self._moved = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._unsynced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Asked for when somebody looks, not told with each turn.
        metrics.journal_bytes.set_function(lambda: self.bytes_waiting)
        metrics.journal_records.set_function(lambda: self._records)
        metrics.journal_oldest.set_function(lambda: self.waiting_seconds)
        try:
            self._open()
        except OSError as error:
            self._let_go()
            raise StartError(f"the journal in {folder} cannot be opened: {error.strerror or error}") from error
        except StartError:
            self._let_go()
            raise

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"another gateway writes in {self._folder}: stop it, or set GATEWAY_DATA for this one"
            ) from error
        self._folder_file = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._position_file = os.open(self._folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        self._open_segments()

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, record: Mapping[str, Any]) -> None:
        """Keeps `record` (see `write` for its kinds) for good; returns when the operating system has it.

        Raises JournalFull when as much waits as may wait, or the disk is full; then nothing was kept.
        """
        line = _line(record)
        if self.bytes_waiting + len(line) > self._max_bytes:
            raise self._refusal("PostgreSQL is away and the journal is full: nothing more can be kept")
        try:
            place = self._write_line(line)
        except OSError as error:
            raise self._refusal(f"the journal cannot be written: {_reason(error)}") from error
        self._refused = ""
        self._mark(_now())
        self._records += 1
        self._appended += len(line)
        self._arrived.set()
        self._unsynced.set()
        self._note(record, place, len(line))

    def _write_line(self, line: bytes) -> _Place:
        """Writes a whole line, or none of it. Returns where it stands."""
        if self._torn:
            self._cut()
        if self._end.offset >= SEGMENT_BYTES:
            self._next_segment()
        self._torn = True
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):  # then before the next line
                self._cut()
            raise
        self._torn = False
        place, self._end = self._end, _Place(self._end.segment, self._end.offset + len(line))
        return place

    def _cut(self) -> None:
        """Takes away what stands behind the last whole line."""
        os.ftruncate(self._file, self._end.offset)
        self._torn = False

    def _refusal(self, words: str) -> JournalFull:
        self._refused = words
        self._metrics.journal_refused.inc()
        return JournalFull(words, retry_after=30)

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
    def waiting_seconds(self) -> float:
        """For how long the oldest record has waited, also in earlier processes; 0 while none waits."""
        return max(_now() - self._marks[0][1], 0.0) if self._marks else 0.0

    async def check(self) -> None:
        """Raises Unavailable, with words, where records are refused or have waited for more than a few seconds."""
        if self._refused:
            raise Unavailable(f"what is said cannot be written down: {self._refused}")
        if (seconds := self.waiting_seconds) > PATIENCE_SECONDS:
            since = datetime.fromtimestamp(self._marks[0][1], UTC)
            raise Unavailable(
                f"{self._records} records ({self.bytes_waiting} bytes) wait for PostgreSQL, the oldest for"
                f" {seconds:.0f} s, since {since:%Y-%m-%d %H:%M:%S} UTC"
            )

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
        await end(*self._tasks)
        self._tasks = []
        if self._file >= 0:
            try:
                for file in (self._position_file, *self._left, self._file, self._folder_file):
                    os.fsync(file)
            except OSError as error:
                log.error("the journal cannot be brought to the disk: %s", _reason(error))
        self._let_go()

    def _let_go(self) -> None:
        for file in (*self._left, self._file, self._position_file, self._folder_file, self._lock):
            if file >= 0:
                os.close(file)
        self._left = []
        self._file = self._position_file = self._folder_file = self._lock = -1

    # --- files ------------------------------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08}.jsonl"

    def _open_segments(self) -> None:
        segments = sorted(int(path.stem) for path in self._folder.glob("[0-9]" * 8 + ".jsonl"))
        noted = self._done = self._noted()
        while segments and segments[0] < self._done.segment:
            self._path(segments.pop(0)).unlink()
        first = segments[0] if segments else max(self._done.segment, 1)
        last = segments[-1] if segments else first
        self._file = os.open(self._path(last), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._end = _Place(last, self._mend(last))
        if first != self._done.segment or not segments:
            self._done = _Place(first, 0)  # killed between two files
        elif self._done.offset > (size := self._path(first).stat().st_size):
            self._done = _Place(first, size)  # a power cut took lines that are in PostgreSQL
        elif not self._begins_a_line(self._done):
            self._done = _Place(first, 0)  # no position of ours
        if self._done != noted:
            # Before anything is appended: later the old one may look as if it were right.
            self._save_position(self._done)
        for place, line in self._lines(self._done):
            written_at = self._path(place.segment).stat().st_mtime
            with contextlib.suppress(*UNFIT):  # draining will set it aside
                record = parse(line)
                self._note(record, place, len(line))
                if (said_at := _time(record.get("done_at") or record.get("at"))) is not None:
                    written_at = said_at.timestamp()
            self._mark(written_at)
            self._records += 1
            self._appended += len(line)
        if self._records:
            log.info("the journal holds %d records that are not yet in PostgreSQL", self._records)
            self._arrived.set()

    def _noted(self) -> _Place:
        """The position as it was saved; the very beginning where none is."""
        found = POSITION.fullmatch(os.pread(self._position_file, 64, 0))
        return _Place(int(found[1]), int(found[2])) if found else _Place(0, 0)

    def _begins_a_line(self, place: _Place) -> bool:
        with self._path(place.segment).open("rb") as file:
            file.seek(max(place.offset - 1, 0))
            return place.offset == 0 or file.read(1) == b"\n"

    def _mend(self, segment: int) -> int:
        """Cuts off a line that a crash tore; it was never acknowledged. Returns the file's size."""
        content = self._path(segment).read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            log.warning("cut %d bytes of a torn line off the journal", len(content) - whole)
            os.ftruncate(self._file, whole)
        return whole

    def _next_segment(self) -> None:
        """Goes on in a new file. Raises OSError, and goes on in the old one, where the disk has no room for it."""
        segment = self._end.segment + 1
        # It may be there already, and empty: from a time when its beginning could not be noted.
        file = os.open(self._path(segment), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        self._left.append(self._file)
        self._file, self._end, self._torn = file, _Place(segment, 0), False
        self._unsynced.set()

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
                    if _Place(segment, offset) >= self._end:
                        return  # a piece of a line that was not kept
                    yield _Place(segment, offset), line
                    offset += len(line)

    def _note(self, record: Mapping[str, Any], place: _Place, length: int) -> None:
        if record["kind"] in MEMORY_KINDS:
            self._memory += 1
        if _ends_answers(record):
            self._ending += 1
            if self._watch is not None:
                self._watch.hold(HOLD)
        elif record["kind"] == "turn":
            self._turns[record["turn_id"]] = _Pending(
                place, length, record["household_id"], record.get("member_id"), record["session_id"]
            )

    def _mark(self, at: float) -> None:
        if not self._marks or at - self._marks[-1][1] >= MARK_SECONDS:
            self._marks.append((self._appended, at))

    # --- draining ---------------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        while True:
            await self._unsynced.wait()
            self._unsynced.clear()
            try:
                await asyncio.to_thread(_bring_to_disk, self._copies())
            except OSError as error:
                log.error("the journal cannot be brought to the disk: %s", _reason(error))
                self._unsynced.set()
            await asyncio.sleep(SYNC_SECONDS)

    def _copies(self) -> list[int]:
        """Descriptors of all that is to be synced, in order: files may be closed for the next ones meanwhile."""
        files: list[int] = []
        try:
            # The position first: with one that is too old lines are written again, with one too new they are lost.
            for file in (self._position_file, *self._left, self._file, self._folder_file):
                files.append(os.dup(file))  # noqa: PERF401 - those that were made are closed when one fails
        except OSError:
            for file in files:
                os.close(file)
            raise
        while self._left:
            os.close(self._left.pop())
        return files

    async def _drain(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._arrived.wait()
            if self._records < BATCH_RECORDS:
                await self._wait(GATHER_SECONDS)
            try:
                batch = self._batch()
                if not batch:
                    self._arrived.clear()
                    continue
                self._set_aside(await self._write_batch(batch))
                await self._advance(batch)
            except OSError as error:
                log.error("the journal cannot be drained: %s", _reason(error))
            except (StoreUnavailable, *CONNECTION_ERRORS) as error:
                if not isinstance(error, PoolExhausted):
                    log.warning("the journal waits for PostgreSQL: %s", type(error.__cause__ or error).__name__)
            except Exception:
                # The boundary of the task: were it to end, everything said from now on would wait unseen.
                log.exception("the journal cannot be drained")
            else:
                pause = FIRST_PAUSE_SECONDS
                continue
            await self._wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

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

    async def _write_batch(self, batch: Sequence[tuple[_Place, bytes]]) -> dict[_Place, bytes]:
        """Writes lines in order, neighbours of one scope in one transaction. Returns those that are unfit."""
        try:
            records = [parse(line) for _, line in batch]
            for scope, group in groupby(records, key=scope_of):
                async with self._database.scoped(scope) as connection:
                    await write(connection, list(group))
        except UNFIT:
            # One of them is unfit. Again, one by one: what was committed before changes nothing the second time.
            unfit: dict[_Place, bytes] = {}
            for place, line in batch:
                try:
                    record = parse(line)
                    async with self._database.scoped(scope_of(record)) as connection:
                        await write(connection, [record])
                except UNFIT as error:
                    unfit[place] = line
                    if place not in self._aside:
                        # Neither the record nor PostgreSQL's message: both may hold the user's words.
                        log.error("a journal record is set aside: %s", type(error).__name__)
            return unfit
        return {}

    def _set_aside(self, unfit: Mapping[_Place, bytes]) -> None:
        """Keeps unfit lines in a file of their own; all of them or, where the disk has no room, none."""
        lines = [line.rstrip(b"\n") + b"\n" for place, line in unfit.items() if place not in self._aside]
        if not lines:
            return
        path = self._folder / "rejected.jsonl"
        if path.exists() and path.stat().st_size > self._max_bytes:
            path.replace(self._folder / "rejected.old.jsonl")  # bounded as the journal is
        content = b"".join(lines)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                # Killed amid a line, which is then in the journal still.
                os.ftruncate(file, path.read_bytes().rfind(b"\n") + 1)
            if os.write(file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
        self._aside |= unfit.keys()
        self._metrics.journal_rejected.inc(len(lines))

    async def _advance(self, batch: Sequence[tuple[_Place, bytes]]) -> None:
        """Notes that a batch is in PostgreSQL. Raises OSError where it cannot be noted: then it counts as not done, and
        what came from it waits on, so that no later write of the same thing can be undone by writing it again."""
        (place, line), first_segment, held = batch[-1], self._done.segment, self._ending > 0
        done = _Place(place.segment, place.offset + len(line))
        if len(batch) == self._records:
            # All of it. The words should not stay here once they may be forgotten there.
            if self._end.offset:
                with contextlib.suppress(OSError):  # they stay until there is room for a new file
                    self._next_segment()
            done = self._end
        self._save_position(done)
        self._done = done
        for segment in range(first_segment, self._done.segment):
            try:
                self._path(segment).unlink(missing_ok=True)
            except OSError as error:
                log.error("a file of the journal that is done with stays until the next start: %s", _reason(error))
        self._aside.clear()
        for done_place, record in batch:
            with contextlib.suppress(orjson.JSONDecodeError, *UNFIT):
                content = orjson.loads(record)
                if content["kind"] in MEMORY_KINDS:
                    self._memory -= 1
                if _ends_answers(content):
                    self._ending -= 1
                elif (
                    content["kind"] == "turn"
                    and (turn := self._turns.get(content["turn_id"]))
                    and turn.place == done_place
                ):
                    del self._turns[content["turn_id"]]
        self._records -= len(batch)
        self._drained += sum(len(record) for _, record in batch)
        while self._marks and (not self._records or (len(self._marks) > 1 and self._marks[1][0] <= self._drained)):
            self._marks.popleft()
        if held and not self._ending and self._watch is not None:
            await self._watch.refresh()
            if not self._ending:
                self._watch.release(HOLD)
        async with self._moved:
            self._moved.notify_all()

    def _save_position(self, place: _Place) -> None:
        # In place, over as many bytes as are there: this needs no room on the disk.
        if os.pwrite(self._position_file, content := b"%08d %020d\n" % (place.segment, place.offset), 0) != len(
            content
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half of a character, as a client or a model may send it, or a number of too many digits.
        return json.dumps(dict(record), ensure_ascii=False).encode(errors="replace") + b"\n"


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)


def _bring_to_disk(files: Sequence[int]) -> None:
    """Syncs the descriptors, in order, and closes them all."""
    try:
        for file in files:
            os.fsync(file)
    finally:
        for file in files:
            os.close(file)


def _ends_answers(record: Mapping[str, Any]) -> bool:
    """Whether a stored answer may be wrong once this is known: until PostgreSQL knows it too, none is given."""
    if record["kind"] == "feedback":
        return int(record["score"]) <= LOW_SCORE
    return record["kind"] in MEMORY_KINDS or record["kind"] == "correction"


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
        {"kind": "correction", "household_id", "member_id", "turn_id", "by"}   turn `by` said that `turn_id` was wrong
        {"kind": "knowledge", "household_id", "member_id", "reference", "content", "source"?, "tags"?, "kind_of"?,
         "pinned"?, "expires_at"?, "language"?}
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
            case "correction":
                for record in group:
                    hash_ = await conversations.mark_corrected(connection, record["turn_id"], record["by"])
                    if hash_ is not None:
                        await cache.take_back(connection, query_hash=hash_)
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
                        pinned=bool(record.get("pinned")),
                        reference=record["reference"],
                        language=record.get("language"),
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
