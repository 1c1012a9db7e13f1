"""What stands at home (`entities`), as the registry knew it last, and what was done there (`actions`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import orjson

# What is raised of a value that can be written in no row; writing it again would raise it again.
REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    TypeError,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A thing and how it stood; the fields are those of `home.things.Thing` and `Condition`."""

    entity_id: str
    name: str
    origin: str
    aliases: tuple[str, ...] = ()
    area: str | None = None
    floor: str | None = None
    device_class: str | None = None
    unit: str | None = None
    device: str | None = None
    capabilities: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    exposed: bool = True
    state: str = "unknown"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    available: bool | None = None
    changed_at: datetime | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing's part in what somebody wanted: `at` (aware), who, through which edge, in which words, what was to be
    done (an action of `home.things.ACTIONS` with its values), what came of it, and how the thing stood before and
    after (state and attributes, where known)."""

    at: datetime
    edge: str
    speaker: str
    words: str
    thing_id: str
    action: str
    values: Mapping[str, Any]
    verdict: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    id: int = 0


_COLUMNS = (
    "entity_id, name, origin, aliases, area, floor, device_class, unit, device, capabilities, limits, options, "
    "exposed, state, attributes, available, changed_at, seen_at"
)


async def keep(connection: asyncpg.Connection, things: Sequence[Kept]) -> None:
    """Keeps each as it is now, whatever was kept of it before. All of them were told of just now."""
    await connection.execute(
        f"""
        INSERT INTO entities ({_COLUMNS})
        SELECT g.entity_id, g.name, g.origin,
               ARRAY (SELECT jsonb_array_elements_text(g.aliases)), g.area, g.floor, g.device_class, g.unit, g.device,
               ARRAY (SELECT jsonb_array_elements_text(g.capabilities)), g.limits, g.options,
               g.exposed, g.state, g.attributes, g.available, g.changed_at, g.seen_at
        FROM jsonb_to_recordset($1) AS g (
            entity_id text, name text, origin text, aliases jsonb, area text, floor text, device_class text, unit text,
            device text, capabilities jsonb, limits jsonb, options jsonb, exposed boolean, state text, attributes jsonb,
            available boolean, changed_at timestamptz, seen_at timestamptz)
        ON CONFLICT (household_id, entity_id) DO UPDATE SET
            (name, origin, aliases, area, floor, device_class, unit, device, capabilities, limits, options, exposed,
             state, attributes, available, changed_at, seen_at, described_at)
            = (EXCLUDED.name, EXCLUDED.origin, EXCLUDED.aliases, EXCLUDED.area, EXCLUDED.floor, EXCLUDED.device_class,
               EXCLUDED.unit, EXCLUDED.device, EXCLUDED.capabilities, EXCLUDED.limits, EXCLUDED.options,
               EXCLUDED.exposed, EXCLUDED.state, EXCLUDED.attributes, EXCLUDED.available, EXCLUDED.changed_at,
               EXCLUDED.seen_at, now())
        """,  # noqa: S608 - a constant
        [orjson.loads(orjson.dumps(thing)) for thing in things],
    )


async def forget(connection: asyncpg.Connection, entity_ids: Sequence[str]) -> None:
    """Forgets things that are no longer there."""
    await connection.execute("DELETE FROM entities WHERE entity_id = ANY ($1::text[])", list(entity_ids))


async def forget_older(connection: asyncpg.Connection, before: datetime) -> int:
    """Forgets what no platform told of since then: how many."""
    gone = await connection.fetch("DELETE FROM entities WHERE described_at < $1 RETURNING 1", before)
    return len(gone)


async def kept(connection: asyncpg.Connection) -> list[Kept]:
    """Every thing, by its id."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM entities ORDER BY entity_id")  # noqa: S608 - a constant
    return [
        Kept(**{**row, "aliases": tuple(row["aliases"]), "capabilities": tuple(row["capabilities"])}) for row in rows
    ]


async def log_actions(connection: asyncpg.Connection, actions: Sequence[Action], member_id: int | None) -> None:
    """Notes what was done for `member_id` (None: the household)."""
    await connection.executemany(
        """
        INSERT INTO actions (member_id, at, edge, speaker, words, thing_id, action, "values", verdict, before, after)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        [
            (
                member_id,
                one.at,
                one.edge,
                one.speaker,
                one.words,
                one.thing_id,
                one.action,
                dict(one.values),
                one.verdict,
                one.before,
                one.after,
            )
            for one in actions
        ],
    )


async def actions(
    connection: asyncpg.Connection, limit: int, *, before: int | None = None, thing_id: str | None = None
) -> list[Action]:
    """What was done, newest first, `limit` at most: of one thing or all, before the action `before` or up to now."""
    rows = await connection.fetch(
        """
        SELECT id, at, edge, speaker, words, thing_id, action, "values", verdict, before, after FROM actions
        WHERE ($2::bigint IS NULL OR id < $2) AND ($3::text IS NULL OR thing_id = $3)
        ORDER BY id DESC LIMIT $1
        """,
        limit,
        before,
        thing_id,
    )
    return [Action(**row) for row in rows]


async def prune_actions(connection: asyncpg.Connection, before: datetime, most: int) -> int:
    """Deletes up to `most` of what was done before then, for whomever of the household: how many."""
    return int(await connection.fetchval("SELECT prune_actions($1, $2)", before, most))
