"""The journal: everything that was appended comes to PostgreSQL, in order, once, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from gateway.errors import JournalFull, StartError, StoreUnavailable, Unavailable
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import conversations, journal, knowledge, preferences, training
from gateway.store.address import Address
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.pool import Database
from tests.store.conftest import until

BOUND = 1_000_000
LONG = 60.0


def turn(number: int, scope: Scope, session: str = "s", **more: Any) -> dict[str, Any]:
    return {
        "kind": "turn",
        "household_id": scope.household_id,
        "member_id": scope.member_id,
        "turn_id": f"turn-{number}",
        "session_id": session,
        "at": "2026-01-01T10:00:00+00:00",
        "done_at": "2026-01-01T10:00:02+00:00",
        "language": "pl",
        "intent": None,
        "user": f"pytanie {number}?",
        "assistant": f"odpowiedź {number}",
        "metadata": {"model": "m"},
        **more,
    }


def told(reference: str, scope: Scope, **more: Any) -> dict[str, Any]:
    return {
        "kind": "knowledge",
        "reference": reference,
        "household_id": scope.household_id,
        "member_id": scope.member_id,
        "content": f"fact {reference}",
        "tags": ["a"],
        **more,
    }


def wanted(key: str, value: Any, scope: Scope) -> dict[str, Any]:
    return {
        "kind": "preference",
        "household_id": scope.household_id,
        "member_id": scope.member_id,
        "key": key,
        "value": value,
    }


def rated(number: int, score: int, scope: Scope) -> dict[str, Any]:
    return {
        "kind": "feedback",
        "household_id": scope.household_id,
        "member_id": scope.member_id,
        "turn_id": f"turn-{number}",
        "score": score,
        "comment": "good",
    }


class Switch:
    """PostgreSQL's being there or away, as the journal meets it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.away = False
        self.asked = 0

    def scoped(self, scope: Scope) -> Any:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.database.scoped(scope)


@pytest.fixture
def switch(database: Database) -> Switch:
    return Switch(database)


@pytest.fixture
async def started(tmp_path: Path, switch: Switch) -> AsyncIterator[Journal]:
    found = Journal(tmp_path / "journal", switch, BOUND, Metrics())  # type: ignore[arg-type]
    await found.start()
    yield found
    switch.away = False
    await found.close()


async def turn_ids(database: Database, scope: Scope) -> list[str]:
    async with database.scoped(scope) as connection:
        rows = await conversations.page(connection, limit=10_000, role="assistant")
    return [row.turn_id for row in reversed(rows)]


async def test_a_turn_becomes_two_rows(started: Journal, database: Database, member: Scope) -> None:
    started.append(turn(1, member, intent="remember", user="nul\x00!"))
    assert await started.flush(LONG)
    async with database.scoped(member) as connection:
        user, assistant = await conversations.turn(connection, "turn-1")
    assert (user.content, user.role, user.intent, user.language) == ("nul!", "user", "remember", "pl")
    assert (assistant.content, assistant.role, assistant.member_id) == ("odpowiedź 1", "assistant", member.member_id)
    assert (assistant.created_at - user.created_at).total_seconds() == 2
    assert assistant.metadata == {"model": "m"}


async def test_everything_in_order_and_scoped(
    started: Journal, switch: Switch, database: Database, scope: Scope, member: Scope
) -> None:
    switch.away = True
    for number in range(600):
        started.append(turn(number, scope if number % 3 else member))
    started.append(rated(1, 4, scope))
    started.append(wanted("k", 1, member))
    started.append(wanted("k", 2, member))
    started.append(told("r", member, shared=True, expires_at="2126-01-01T00:00:00Z", kind_of="note", source="s"))
    assert started.records_waiting == 604
    switch.away = False
    assert await started.flush(LONG)
    assert started.records_waiting == started.bytes_waiting == started.pending_memory == 0
    seen = await turn_ids(database, member)
    assert [name for name in seen if int(name[5:]) % 3] == await turn_ids(database, scope)
    assert sorted(seen, key=lambda name: int(name[5:])) == [f"turn-{number}" for number in range(600)]
    async with database.scoped(member) as connection:
        assert await training.count(connection) == 1
        liked = await preferences.get(connection, "k")
        assert liked is not None
        assert (liked.value, liked.member_id) == (2, member.member_id)
        [known] = await knowledge.page(connection)
        assert (known.member_id, known.kind, known.source, known.tags) == (None, "note", "s", ["a"])
        assert known.expires_at is not None


async def test_what_waits_can_be_read(started: Journal, switch: Switch, scope: Scope, member: Scope) -> None:
    switch.away = True
    for number in range(3):
        started.append(turn(number, member, session="mine"))
    started.append(turn(3, scope, session="mine"))
    started.append(turn(4, member, session="other"))
    assert [record["user"] for record in started.pending_turns(member, "mine")] == [
        "pytanie 0?",
        "pytanie 1?",
        "pytanie 2?",
        "pytanie 3?",
    ]
    assert [record["turn_id"] for record in started.pending_turns(scope, "mine")] == ["turn-3"]
    assert started.knows_turn(member, "turn-0")
    assert not started.knows_turn(scope, "turn-0")
    assert not started.knows_turn(Scope(10**6), "turn-3")
    switch.away = False
    assert await started.flush(LONG)
    assert started.pending_turns(member, "mine") == []
    assert not started.knows_turn(member, "turn-0")


async def test_a_flush_tells_when_it_could_not(started: Journal, switch: Switch, scope: Scope) -> None:
    assert await started.flush(LONG)
    switch.away = True
    started.append(turn(1, scope))
    assert not await started.flush(0.01)
    await until(lambda: switch.asked > 2)  # it goes on trying by itself
    switch.away = False
    assert await started.flush(LONG)


async def test_the_bound(tmp_path: Path, switch: Switch, database: Database, scope: Scope) -> None:
    switch.away = True
    metrics = Metrics()
    full = Journal(tmp_path, switch, 2000, metrics)  # type: ignore[arg-type]
    await full.start()
    kept = 0
    with pytest.raises(JournalFull) as refused:  # noqa: PT012
        for number in range(100):
            full.append(turn(number, scope))
            kept += 1
    assert (refused.value.status, refused.value.retry_after) == (503, 30)
    assert 0 < kept < 10
    assert full.bytes_waiting <= 2000
    assert f"gateway_journal_records {kept:.1f}" in metrics.render().decode()
    switch.away = False
    assert await full.flush(LONG)
    full.append(turn(100, scope))
    await full.close()
    assert await turn_ids(database, scope) == [f"turn-{number}" for number in [*range(kept), 100]]


async def test_a_full_disk_keeps_whole_lines(
    started: Journal, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch.away = True
    started.append(turn(1, scope))
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, line: real(file, line[:10]))
    with pytest.raises(JournalFull, match="disk is full"):
        started.append(turn(2, scope))
    monkeypatch.setattr(os, "write", lambda file, line: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(JournalFull, match="Input/output"):
        started.append(turn(2, scope))
    monkeypatch.undo()
    started.append(turn(3, scope))
    switch.away = False
    assert await started.flush(LONG)
    assert await turn_ids(database, scope) == ["turn-1", "turn-3"]


async def test_files_roll_over_and_go(
    tmp_path: Path, started: Journal, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 2000)
    monkeypatch.setattr(journal, "BATCH_RECORDS", 3)
    switch.away = True
    for number in range(40):
        started.append(turn(number, scope))
    files = sorted((tmp_path / "journal").glob("0*.jsonl"))
    assert len(files) > 4
    assert len(started.pending_turns(scope, "s")) == 40
    switch.away = False
    assert await started.flush(LONG)
    assert await turn_ids(database, scope) == [f"turn-{number}" for number in range(40)]
    left = list((tmp_path / "journal").glob("0*.jsonl"))
    # A new one, and empty: what was said does not stay here once it may be forgotten there.
    assert [file.stat().st_size for file in left] == [0]
    assert left[0].name > files[-1].name


async def test_the_next_start_goes_on(
    tmp_path: Path, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(journal, "CLOSE_SECONDS", 0.01)
    for start in range(4):
        switch.away = start != 3
        one = Journal(tmp_path, switch, BOUND, Metrics())  # type: ignore[arg-type]
        assert one.records_waiting == 5 * start
        assert len(one.pending_turns(scope, "s")) == 5 * start
        await one.start()
        for number in range(5):
            one.append(turn(start * 5 + number, scope))
        if start == 3:
            assert await one.flush(LONG)
        await one.close()
        await one.close()
    assert await turn_ids(database, scope) == [f"turn-{number}" for number in range(20)]


@pytest.mark.parametrize(
    "position",
    [
        b"",
        b"garbage",
        b"two words\n",
        b"00000009 00000000000000000000\n",
        b"00000009 0000000000",  # torn
        b"00000009 00000000000000000007\n",  # in the middle of a line
        b"00000001 9999999999\n",
    ],
)
@pytest.mark.parametrize("torn", [b"", b'{"kind":"turn","user":"cut o'])
async def test_what_a_crash_leaves(
    tmp_path: Path, database: Database, scope: Scope, position: bytes, torn: bytes
) -> None:
    lines = b"".join(orjson.dumps(turn(number, scope)) + b"\n" for number in range(3))
    (tmp_path / "00000009.jsonl").write_bytes(lines + torn)
    (tmp_path / "position").write_bytes(position)
    one = Journal(tmp_path, database, BOUND, Metrics())
    one.append(turn(3, scope))
    await one.start()
    assert await one.flush(LONG)
    await one.close()
    assert await turn_ids(database, scope) == [f"turn-{number}" for number in range(4)]
    assert not (tmp_path / "rejected.jsonl").exists()


async def test_killed_between_emptying_and_noting_it(tmp_path: Path, database: Database, scope: Scope) -> None:
    (tmp_path / "00000003.jsonl").write_bytes(b"")
    (tmp_path / "position").write_bytes(b"00000003 00000000000000004711\n")
    one = Journal(tmp_path, database, BOUND, Metrics())
    await one.start()
    one.append(turn(1, scope))
    await one.close()
    assert await turn_ids(database, scope) == ["turn-1"]


async def test_a_power_cut_that_took_drained_lines_takes_no_later_ones(
    tmp_path: Path, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position is behind the file's end then; once the file has grown past it, it must not be believed."""
    monkeypatch.setattr(journal, "CLOSE_SECONDS", 0.01)
    (tmp_path / "00000001.jsonl").write_bytes(b"")
    drained = 2 * len(orjson.dumps(turn(0, scope)) + b"\n")  # where a line will begin again
    (tmp_path / "position").write_bytes(b"00000001 %020d\n" % drained)
    switch.away = True
    one = Journal(tmp_path, switch, BOUND, Metrics())  # type: ignore[arg-type]
    for number in range(3):
        one.append(turn(number, scope))
    await one.close()
    switch.away = False
    another = Journal(tmp_path, switch, BOUND, Metrics())  # type: ignore[arg-type]
    await another.start()
    assert await another.flush(LONG)
    await another.close()
    assert await turn_ids(database, scope) == ["turn-0", "turn-1", "turn-2"]


async def test_a_full_disk_at_a_new_file(
    started: Journal, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file is gone on with once there is room; nobody who speaks meets more than JournalFull."""
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    switch.away = True
    started.append(turn(1, scope))
    real = os.open

    def full(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", full)
    for _ in range(2):
        with pytest.raises(JournalFull, match="the disk is full"):
            started.append(turn(2, scope))
    with pytest.raises(Unavailable, match="cannot be written down"):
        await started.check()
    monkeypatch.setattr(os, "open", real)
    started.append(turn(3, scope))
    switch.away = False
    assert await started.flush(LONG)
    await started.check()
    assert await turn_ids(database, scope) == ["turn-1", "turn-3"]


async def test_half_a_character_is_no_reason_to_lose_a_turn(started: Journal, database: Database, scope: Scope) -> None:
    started.append(turn(1, scope, user="caf\ud83d", metadata={"tokens": 10**30}))
    assert await started.flush(LONG)
    async with database.scoped(scope) as connection:
        user, _ = await conversations.turn(connection, "turn-1")
    assert user.content == "caf?"


async def test_how_much_waits_and_since_when(
    tmp_path: Path, switch: Switch, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CLOSE_SECONDS", 0.01)
    switch.away = True
    metrics = Metrics()
    one = Journal(tmp_path, switch, BOUND, metrics)  # type: ignore[arg-type]
    await one.check()
    assert one.waiting_seconds == 0
    one.append(turn(1, scope, done_at="2026-01-01T10:00:02+00:00"))
    await one.check()  # for a moment everything waits
    await one.close()

    metrics = Metrics()
    another = Journal(tmp_path, switch, BOUND, metrics)  # type: ignore[arg-type]
    another.append(turn(2, scope))
    with pytest.raises(Unavailable) as told:
        await another.check()
    assert told.value.message.startswith(f"2 records ({another.bytes_waiting} bytes) wait for PostgreSQL")
    assert told.value.message.endswith("since 2026-01-01 10:00:02 UTC")
    [age] = [line for line in metrics.render().decode().splitlines() if line.startswith("gateway_journal_oldest_")]
    assert float(age.split()[1]) > 1_000_000
    switch.away = False
    await another.start()
    assert await another.flush(LONG)
    await another.check()
    assert "gateway_journal_oldest_seconds 0.0" in metrics.render().decode()
    await another.close()


async def test_what_cannot_be_noted_is_tried_again_and_set_aside_once(
    tmp_path: Path, started: Journal, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = os.pwrite, 0

    def unwell(*arguments: Any) -> int:
        nonlocal tried
        tried += 1
        if tried < 4:
            raise OSError(5, "Input/output error")
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", unwell)
    started.append({"kind": "dance", "household_id": scope.household_id})
    started.append(turn(1, scope))
    assert await started.flush(LONG)
    assert tried >= 4
    assert (tmp_path / "journal" / "rejected.jsonl").read_bytes().count(b"\n") == 1
    assert await turn_ids(database, scope) == ["turn-1"]


async def test_a_mistake_of_ours_does_not_end_the_draining(
    started: Journal,
    database: Database,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = journal.write

    async def broken(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(journal, "write", broken)
    started.append(turn(1, scope))
    await until(lambda: "a mistake" in caplog.text)
    monkeypatch.setattr(journal, "write", real)
    assert await started.flush(LONG)
    assert await turn_ids(database, scope) == ["turn-1"]


async def test_killed_before_a_drained_file_was_deleted(tmp_path: Path, database: Database, scope: Scope) -> None:
    (tmp_path / "00000001.jsonl").write_bytes(orjson.dumps(turn(1, scope)) + b"\n")
    (tmp_path / "00000002.jsonl").write_bytes(orjson.dumps(turn(2, scope)) + b"\n")
    (tmp_path / "position").write_bytes(b"00000002 00000000000000000000\n")
    one = Journal(tmp_path, database, BOUND, Metrics())
    await one.start()
    await one.close()
    assert await turn_ids(database, scope) == ["turn-2"]


async def test_written_twice_it_is_there_once(database: Database, scope: Scope) -> None:
    records = [turn(1, scope), rated(1, 5, scope), told("r", scope), wanted("k", 1, scope)]
    for _ in range(2):
        async with database.scoped(scope) as connection:
            await journal.write(connection, records)
    async with database.scoped(scope) as connection:
        assert len(await conversations.page(connection)) == 2
        assert await training.count(connection) == await knowledge.count(connection) == 1
        assert len(await preferences.all_visible(connection)) == 1


@pytest.mark.parametrize(
    "poison",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"kind":"turn","household_id":"one"}\n',
        b'{"kind":"turn","household_id":1,"member_id":null,"turn_id":"x"}\n',
        b'{"kind":"turn","household_id":1,"turn_id":"x","session_id":"s","at":"yesterday","user":"u","assistant":"a"}\n',
        b'{"kind":"turn","household_id":1,"turn_id":5,"session_id":"s","at":"2026-01-01","user":"u","assistant":"a"}\n',
        b'{"kind":"dance","household_id":1}\n',
        b'{"kind":"feedback","household_id":1,"turn_id":"never","score":5}\n',
        b'{"kind":"feedback","household_id":1,"turn_id":"turn-0","score":9}\n',
        b'{"kind":"knowledge","household_id":1,"reference":"r","content":""}\n',
        b'{"kind":"preference","household_id":1,"key":"k","value":"\\u0000"}\n',
        b'{"kind":"preference","household_id":999999,"key":"k","value":1}\n',
        b'{"kind":"preference","household_id":1,"member_id":999999,"key":"k","value":1}\n',
    ],
)
async def test_a_poisoned_record_is_set_aside(
    tmp_path: Path,
    database: Database,
    scope: Scope,
    poison: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = [orjson.dumps(turn(number, scope)) + b"\n" for number in range(4)]
    (tmp_path / "00000001.jsonl").write_bytes(b"".join([*good[:2], poison, *good[2:]]))
    one = Journal(tmp_path, database, BOUND, Metrics())
    assert one.records_waiting == 5
    await one.start()
    assert await one.flush(LONG)
    assert (one.records_waiting, one.pending_memory) == (0, 0)
    await one.close()
    assert await turn_ids(database, scope) == [f"turn-{number}" for number in range(4)]
    assert (tmp_path / "rejected.jsonl").read_bytes() == poison
    assert "set aside" in caplog.text
    assert "yesterday" not in caplog.text


async def test_a_database_that_is_not_right_now_is_waited_for(
    started: Journal, database: Database, admin: asyncpg.Connection, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing table is no record's fault."""
    await admin.execute("ALTER TABLE conversations RENAME TO gone")
    started.append(turn(1, scope))
    await until(lambda: "UndefinedTableError" in caplog.text)
    await admin.execute("ALTER TABLE gone RENAME TO conversations")
    assert await started.flush(LONG)
    assert await turn_ids(database, scope) == ["turn-1"]


async def test_one_gateway_a_folder(tmp_path: Path, database: Database) -> None:
    one = Journal(tmp_path, database, BOUND, Metrics())
    with pytest.raises(StartError, match="another gateway"):
        Journal(tmp_path, database, BOUND, Metrics())
    await one.close()
    await Journal(tmp_path, database, BOUND, Metrics()).close()


async def test_the_epoch_is_unknown_while_memory_waits(
    tmp_path: Path, address: Address, switch: Switch, scope: Scope
) -> None:
    switch.away = True
    async with EpochWatch(address, scope.household_id) as watch:
        one = Journal(tmp_path, switch, BOUND, Metrics(), watch)  # type: ignore[arg-type]
        await one.start()
        await watch.refresh()
        one.append(turn(1, scope))
        assert watch.current() == 1
        one.append(told("r", scope))
        one.append(wanted("k", 1, scope))
        assert one.pending_memory == 2
        await watch.refresh()
        assert watch.current() is None
        switch.away = False
        assert await one.flush(LONG)
        await watch.refresh()
        assert (watch.current() or 0) > 1
        await one.close()


async def test_a_journal_that_holds_memory_holds_the_epoch_from_the_start(
    tmp_path: Path, address: Address, database: Database, scope: Scope
) -> None:
    (tmp_path / "00000001.jsonl").write_bytes(orjson.dumps(told("r", scope)) + b"\n")
    async with EpochWatch(address, scope.household_id) as watch:
        one = Journal(tmp_path, database, BOUND, Metrics(), watch)
        await watch.refresh()
        assert watch.current() is None
        await one.start()
        await one.close()
        await watch.refresh()
        assert (watch.current() or 0) > 1


WRITER = """
import asyncio, os, sys
from pathlib import Path
from gateway.config import PostgresSettings
from gateway.metrics import Metrics
from gateway.store import journal
from gateway.store.address import Address
from gateway.store.journal import Journal
from gateway.store.pool import Database
from tests.store.test_journal import BOUND, turn
from gateway.shapes import Scope

async def main(folder, start, household, host, port, user, password, database):
    journal.SEGMENT_BYTES = 20_000
    journal.GATHER_SECONDS = 0
    opened = await Database.open(Address(host, int(port), user, password, database), PostgresSettings(), Metrics())
    one = Journal(Path(folder), opened, 100 * BOUND, Metrics())
    await one.start()
    number = int(start)
    while True:
        one.append(turn(number, Scope(int(household))))
        os.write(1, b"%d\\n" % number)  # answered
        number += 1
        await asyncio.sleep(0)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_kill_9_in_the_middle_of_draining(
    tmp_path: Path, address: Address, database: Database, scope: Scope
) -> None:
    """Twice: what was answered is there, in order, once."""
    answered = -1
    for _ in range(2):
        where = [str(value) for value in asdict(address).values()]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WRITER,
            str(tmp_path),
            str(answered + 1),
            str(scope.household_id),
            *where,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        first = answered + 1
        while answered < first + 500 or len(await turn_ids(database, scope)) <= first:
            answered = int(await process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).split(b"\n")[:-1]
        answered = int(rest[-1]) if rest else answered
        await process.wait()

    left = Journal(tmp_path, database, 100 * BOUND, Metrics())
    await left.start()
    assert await left.flush(LONG)
    await left.close()
    async with database.scoped(scope) as connection:
        rows = await connection.fetch("SELECT turn_id FROM conversations WHERE role = 'assistant' ORDER BY id")
    numbers = [int(row["turn_id"][5:]) for row in rows]
    assert numbers == sorted(set(numbers))
    # The last one may have been kept and not yet answered.
    assert set(range(answered + 1)) <= set(numbers) <= set(range(answered + 2))


async def test_what_is_drained_is_not_written_again(
    tmp_path: Path, switch: Switch, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a preference that was changed since would come back."""
    monkeypatch.setattr(journal, "BATCH_RECORDS", 1)
    monkeypatch.setattr(journal, "CLOSE_SECONDS", 0.01)
    one = Journal(tmp_path, switch, BOUND, Metrics())  # type: ignore[arg-type]
    for number in range(3):
        one.append(wanted(f"k{number}", "old", scope))
    taken = one._advance

    async def advance_once(batch: Any) -> None:
        await taken(batch)
        switch.away = True

    monkeypatch.setattr(one, "_advance", advance_once)
    await one.start()
    await until(lambda: one.pending_memory == 2)
    await one.close()
    async with database.scoped(scope) as connection:
        await preferences.put(connection, key="k0", value="new")

    switch.away = False
    another = Journal(tmp_path, switch, BOUND, Metrics())  # type: ignore[arg-type]
    assert another.records_waiting == another.pending_memory == 2
    await another.start()
    assert await another.flush(LONG)
    await another.close()
    async with database.scoped(scope) as connection:
        liked = await preferences.listing(connection)
    assert {row.key: row.value for row in liked} == {"k0": "new", "k1": "old", "k2": "old"}
