"""What was done at home is noted, whatever else cannot be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import asyncpg

from gateway.home.acting import ActionRecord
from gateway.home.action_log import ActionLog
from gateway.home.things import Condition
from gateway.shapes import Scope
from gateway.store.pool import Database

OFF, ON = Condition("off"), Condition("on")


async def test_one_that_cannot_be_noted_does_not_cost_the_others(
    database: Database, scope: Scope, admin: asyncpg.Connection
) -> None:
    good = ActionRecord(
        datetime.now(UTC), scope, "conversation", "c1", None, "turn\0 it on", "light.a", "turn_on", {}, "done", OFF, ON
    )
    bad = replace(good, thing_id="light.b", values={"effect": "a\0b"})
    async with ActionLog(database) as log:
        log([good, bad, replace(good, thing_id="light.c")])
        await log.write()
    rows = await admin.fetch("SELECT thing_id, words FROM actions ORDER BY id")
    assert [tuple(row) for row in rows] == [("light.a", "turn it on"), ("light.c", "turn it on")]
