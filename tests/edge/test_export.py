"""An export that breaks off, and one that another is in the way of."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from gateway.errors import Conflict
from gateway.shapes import Scope
from gateway.training.export import BATCH_ROWS, PIECE_ROWS, Choice
from tests.household import Household

ROWS = 20 * BATCH_ROWS


@pytest.fixture
async def many(admin: asyncpg.Connection, household_id: int) -> None:
    await admin.execute(
        """
        INSERT INTO training_data (household_id, turn_id, input_text, output_text, feedback_score)
        SELECT $1, number::text, 'asked ' || number, repeat('answered ', 100), 5 FROM generate_series(1, $2) AS number
        """,
        household_id,
        ROWS,
    )


def asked(lines: bytes) -> list[str]:
    return [json.loads(line)["messages"][0]["content"] for line in lines.splitlines()]


async def test_what_a_client_got_before_it_left_is_marked_and_nothing_is_lost(
    household: Household, admin: asyncpg.Connection, many: None
) -> None:
    async with household.client() as client:
        answer = await client.get("/training/export")
        first = await answer.content.readline()
        for _ in range(2 * BATCH_ROWS):
            await answer.content.readline()
        assert asked(first) == ["asked 1"]
        answer.close()
        while household.export.running:
            await asyncio.sleep(0)
        marked = await admin.fetchval("SELECT count(*) FROM training_data WHERE exported")
        assert 2 * BATCH_ROWS <= marked < ROWS
        assert marked % PIECE_ROWS == 0
        rest = await (await client.get("/training/export?only_new=true")).read()
        assert asked(rest) == [f"asked {number}" for number in range(marked + 1, ROWS + 1)]
    assert await admin.fetchval("SELECT bool_and(exported) FROM training_data")


async def test_a_failure_marks_exactly_the_pieces_that_were_sent(
    household: Household, scope: Scope, admin: asyncpg.Connection, many: None
) -> None:
    sent: list[str] = []

    async def send(lines: bytes) -> None:
        if len(sent) == BATCH_ROWS + 3 * PIECE_ROWS:
            raise ConnectionResetError
        sent.extend(asked(lines))

    with pytest.raises(ConnectionResetError):
        await household.export.send(scope, Choice(), send)
    marked = await admin.fetch("SELECT input_text FROM training_data WHERE exported ORDER BY id")
    assert [row["input_text"] for row in marked] == sent


async def test_one_export_at_a_time(household: Household, scope: Scope, many: None) -> None:
    async def send(lines: bytes) -> None:
        with pytest.raises(Conflict):
            await household.export.send(scope, Choice(), send)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await household.export.send(scope, Choice(), send)
    assert not household.export.running
