"""What stands at home and what was done there: what goes in comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.shapes import Scope
from gateway.store import entities
from gateway.store.entities import Action, Kept
from gateway.store.pool import Database

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
LAMP = Kept(
    "light.desk",
    "Desk lamp",
    "zigbee2mqtt",
    ("reading light",),
    "Office",
    "ground",
    capabilities=("brightness", "turn_on"),
    limits={"color_temp_kelvin": [2000, 6500]},
    options={"effect": ["blink"]},
    state="on",
    attributes={"brightness": 120, "rgb_color": [255, 0, 0]},
    available=True,
    changed_at=AT,
    seen_at=AT,
)


async def test_a_thing_is_kept_as_it_was_told_last(database: Database, scope: Scope) -> None:
    plug = Kept("switch.plug", "Plug", "statestream")
    async with database.scoped(scope) as connection:
        await entities.keep(connection, [plug, LAMP])
        assert await entities.kept(connection) == [LAMP, plug]
        darker = replace(LAMP, state="off", attributes={}, area=None, exposed=False)
        await entities.keep(connection, [darker])
        assert await entities.kept(connection) == [darker, plug]
        await entities.forget(connection, ["light.desk"])
        assert await entities.forget_older(connection, AT) == 0
        assert await entities.kept(connection) == [plug]
        assert await connection.fetchval("SELECT domain FROM entities") == "switch"


async def test_actions_are_listed_newest_first(database: Database, scope: Scope, member: Scope) -> None:
    done = Action(AT, "wyoming", "kitchen", "lamp on", "light.desk", "turn_on", {"brightness": 9}, "done", {}, {"a": 1})
    other = replace(done, at=AT + timedelta(seconds=1), thing_id="cover.gate", verdict="no_answer", before=None)
    async with database.scoped(scope) as connection:
        await entities.log_actions(connection, [done, other], None)
    async with database.scoped(member) as connection:
        await entities.log_actions(connection, [done], member.member_id)
        assert len(await entities.actions(connection, 10)) == 3
    async with database.scoped(scope) as connection:
        told = await entities.actions(connection, 10)
        assert [replace(one, id=0) for one in told] == [other, done]
        assert await entities.actions(connection, 1, before=told[0].id) == [told[1]]
        assert await entities.actions(connection, 10, thing_id="cover.gate") == [told[0]]
