"""The home's past: numbers that sensors told (`measurements`) and states that things changed to (`events`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg

Kind = Literal["measurement", "event"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What `entity` told at `time` (aware): a number, or a state with what came along as JSON."""

    entity: str
    time: datetime
    value: float | str
    unit: str | None = None
    attributes: str = "{}"


@dataclass(frozen=True, slots=True)
class Known:
    """An entity of which something is kept: its kind, the unit last told, and the time of the first and the last."""

    entity: str
    kind: Kind
    unit: str | None
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement."""

    id: int
    time: datetime
    value: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One state, and when it was told."""

    id: int
    time: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was measured within a part of a time that begins `at`; `mean` is of the numbers as they were told."""

    at: datetime
    count: int
    min: float
    max: float
    mean: float
    last: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What was measured within a time. In `mean` each number counts for as long as it was the newest."""

    count: int
    lowest: Measured
    highest: Measured
    last: Measured
    mean: float


async def keep(connection: asyncpg.Connection, readings: Sequence[Reading], member_id: int | None) -> tuple[int, int]:
    """Keeps them all as `member_id`'s (None: shared): how many are new, and how many changed what was there.

    The same entity at the same time is one: the one told last.
    """
    numbers = [reading for reading in readings if isinstance(reading.value, float)]
    states = [reading for reading in readings if isinstance(reading.value, str)]
    counts = [0, 0]
    if numbers:
        row = await connection.fetchrow(
            """
            WITH given AS (
                SELECT DISTINCT ON (entity COLLATE "C", time) entity, time, value, unit
                FROM unnest($2::text[], $3::timestamptz[], $4::double precision[], $5::text[])
                    WITH ORDINALITY AS given (entity, time, value, unit, place)
                ORDER BY entity COLLATE "C", time, place DESC
            ), kept AS (
                INSERT INTO measurements AS m (member_id, entity, time, value, unit)
                SELECT $1, entity, time, value, unit FROM given
                ON CONFLICT ON CONSTRAINT measurements_once DO UPDATE
                    SET value = EXCLUDED.value, unit = coalesce(EXCLUDED.unit, m.unit)
                    WHERE m.value <> EXCLUDED.value OR m.unit IS DISTINCT FROM coalesce(EXCLUDED.unit, m.unit)
                RETURNING xmax = 0 AS new
            )
            SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM kept
            """,
            member_id,
            [reading.entity for reading in numbers],
            [reading.time for reading in numbers],
            [reading.value for reading in numbers],
            [reading.unit for reading in numbers],
        )
        counts = [counts[0] + row[0], counts[1] + row[1]]
    if states:
        row = await connection.fetchrow(
            """
            WITH given AS (
                SELECT DISTINCT ON (entity COLLATE "C", time) entity, time, state, attributes::jsonb AS attributes
                FROM unnest($2::text[], $3::timestamptz[], $4::text[], $5::text[])
                    WITH ORDINALITY AS given (entity, time, state, attributes, place)
                ORDER BY entity COLLATE "C", time, place DESC
            ), kept AS (
                INSERT INTO events AS e (member_id, entity, time, state, attributes)
                SELECT $1, entity, time, state, attributes FROM given
                ON CONFLICT ON CONSTRAINT events_once DO UPDATE
                    SET state = EXCLUDED.state, attributes = EXCLUDED.attributes
                    WHERE e.state <> EXCLUDED.state OR e.attributes <> EXCLUDED.attributes
                RETURNING xmax = 0 AS new
            )
            SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM kept
            """,
            member_id,
            [reading.entity for reading in states],
            [reading.time for reading in states],
            [reading.value for reading in states],
            [reading.attributes for reading in states],
        )
        counts = [counts[0] + row[0], counts[1] + row[1]]
    return counts[0], counts[1]


async def entities(connection: asyncpg.Connection) -> list[Known]:
    """Every entity of which something is kept, by name; one that told numbers and states is there twice.

    Steps from one to the next in the index: as long as there are entities, however much they told.
    """
    rows = await connection.fetch(
        """
        WITH RECURSIVE numbers AS (
            (SELECT m.entity FROM measurements m ORDER BY m.entity LIMIT 1)
            UNION ALL
            SELECT (SELECT m.entity FROM measurements m WHERE m.entity > n.entity ORDER BY m.entity LIMIT 1)
            FROM numbers n WHERE n.entity IS NOT NULL
        ), states AS (
            (SELECT e.entity FROM events e ORDER BY e.entity LIMIT 1)
            UNION ALL
            SELECT (SELECT e.entity FROM events e WHERE e.entity > s.entity ORDER BY e.entity LIMIT 1)
            FROM states s WHERE s.entity IS NOT NULL
        )
        SELECT n.entity, 'measurement' AS kind, newest.unit, oldest.time AS first, newest.time AS last
        FROM numbers n
        CROSS JOIN LATERAL (
            SELECT m.time FROM measurements m WHERE m.entity = n.entity ORDER BY m.time LIMIT 1) AS oldest
        CROSS JOIN LATERAL (
            SELECT m.time, m.unit FROM measurements m WHERE m.entity = n.entity ORDER BY m.time DESC LIMIT 1) AS newest
        UNION ALL
        SELECT s.entity, 'event', NULL, oldest.time, newest.time
        FROM states s
        CROSS JOIN LATERAL (
            SELECT e.time FROM events e WHERE e.entity = s.entity ORDER BY e.time LIMIT 1) AS oldest
        CROSS JOIN LATERAL (
            SELECT e.time FROM events e WHERE e.entity = s.entity ORDER BY e.time DESC LIMIT 1) AS newest
        ORDER BY 1, 2
        """
    )
    return [Known(**row) for row in rows]


async def buckets(
    connection: asyncpg.Connection, entity: str, since: datetime, until: datetime, width: timedelta
) -> tuple[list[Bucket], str | None]:
    """What was measured from `since` to `until` in parts of `width`, those without a measurement left out; the unit."""
    rows = await connection.fetch(
        """
        SELECT date_bin($4, time, $2) AS at, count(*) AS count, min(value) AS min, max(value) AS max,
               avg(value) AS mean, (array_agg(value ORDER BY time DESC))[1] AS last
        FROM measurements
        WHERE entity = $1 AND time >= $2 AND time < $3
        GROUP BY 1 ORDER BY 1
        """,
        entity,
        since,
        until,
        width,
    )
    unit = await connection.fetchval(
        """
        SELECT unit FROM measurements WHERE entity = $1 AND time < $2 ORDER BY time DESC LIMIT 1
        """,
        entity,
        until,
    )
    return [Bucket(**row) for row in rows], unit


async def summary(connection: asyncpg.Connection, entity: str, since: datetime, until: datetime) -> Summary | None:
    """The lowest, highest, last and mean of what was measured from `since` to `until`; None where nothing was."""
    row = await connection.fetchrow(
        """
        WITH told AS MATERIALIZED (
            SELECT id, time, value, unit,
                   date_part('epoch', lead(time, 1, $3) OVER (ORDER BY time) - time) AS held
            FROM measurements
            WHERE entity = $1 AND time >= $2 AND time < $3
        ), total AS (
            SELECT count(*) AS count, min(value) AS lowest, max(value) AS highest, max(time) AS last,
                   coalesce(sum(value * held) / nullif(sum(held), 0), avg(value)) AS mean
            FROM told
        )
        SELECT count, mean,
               (SELECT row(id, time, value, unit) FROM told
                WHERE value = total.lowest ORDER BY time LIMIT 1) AS lowest,
               (SELECT row(id, time, value, unit) FROM told
                WHERE value = total.highest ORDER BY time LIMIT 1) AS highest,
               (SELECT row(id, time, value, unit) FROM told WHERE time = total.last LIMIT 1) AS last
        FROM total
        """,
        entity,
        since,
        until,
    )
    if row is None or not row["count"]:
        return None
    lowest, highest, last = (Measured(*row[name]) for name in ("lowest", "highest", "last"))
    return Summary(row["count"], lowest, highest, last, row["mean"])


async def measured_at(connection: asyncpg.Connection, entity: str, at: datetime, within: timedelta) -> Measured | None:
    """What the sensor had told last at that time; None where that was more than `within` before."""
    row = await connection.fetchrow(
        """
        SELECT id, time, value, unit FROM measurements
        WHERE entity = $1 AND time <= $2 AND time > $2 - $3::interval
        ORDER BY time DESC LIMIT 1
        """,
        entity,
        at,
        within,
    )
    return None if row is None else Measured(**row)


async def state_at(connection: asyncpg.Connection, entity: str, at: datetime) -> Change | None:
    """The state that it was in at that time, and since when it told so; None where it had told nothing yet."""
    row = await connection.fetchrow(
        """
        SELECT id, time, state FROM events WHERE entity = $1 AND time <= $2 ORDER BY time DESC LIMIT 1
        """,
        entity,
        at,
    )
    return None if row is None else Change(**row)


async def changes(
    connection: asyncpg.Connection, entity: str, since: datetime, until: datetime, limit: int
) -> list[Change]:
    """The newest states told from `since` to `until`, oldest first; the same one told again is no change."""
    rows = await connection.fetch(
        """
        SELECT id, time, state FROM (
            SELECT e.id, e.time, e.state FROM events e
            WHERE e.entity = $1 AND e.time >= $2 AND e.time < $3
              AND e.state IS DISTINCT FROM (
                  SELECT b.state FROM events b
                  WHERE b.entity = e.entity AND b.time < e.time ORDER BY b.time DESC LIMIT 1)
            ORDER BY e.time DESC LIMIT $4) AS newest
        ORDER BY time
        """,
        entity,
        since,
        until,
        limit,
    )
    return [Change(**row) for row in rows]


async def last_change(
    connection: asyncpg.Connection, entity: str, states: Sequence[str], since: datetime | None, until: datetime
) -> Change | None:
    """When it last became one of `states` (in lower case) that it was not before; None where that is not known."""
    row = await connection.fetchrow(
        """
        SELECT e.id, e.time, e.state FROM events e
        WHERE e.entity = $1 AND lower(e.state) = ANY ($2::text[])
          AND ($3::timestamptz IS NULL OR e.time >= $3) AND e.time < $4
          AND NOT (SELECT lower(b.state) = ANY ($2::text[]) FROM events b
                   WHERE b.entity = e.entity AND b.time < e.time ORDER BY b.time DESC LIMIT 1)
        ORDER BY e.time DESC LIMIT 1
        """,
        entity,
        list(states),
        since,
        until,
    )
    return None if row is None else Change(**row)


async def delete(connection: asyncpg.Connection, entity: str, since: datetime | None, until: datetime | None) -> int:
    """Forgets what `entity` told from `since` (None: the beginning) to `until` (None: the end): how many rows."""
    return int(
        await connection.fetchval(
            """
            WITH numbers AS (
                DELETE FROM measurements
                WHERE entity = $1 AND ($2::timestamptz IS NULL OR time >= $2) AND ($3::timestamptz IS NULL OR time < $3)
                RETURNING 1
            ), states AS (
                DELETE FROM events
                WHERE entity = $1 AND ($2::timestamptz IS NULL OR time >= $2) AND ($3::timestamptz IS NULL OR time < $3)
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM numbers) + (SELECT count(*) FROM states)
            """,
            entity,
            since,
            until,
        )
    )


async def prune(connection: asyncpg.Connection, kind: Kind, before: datetime, most: int) -> int:
    """Deletes up to `most` of the household's, every member's too, that are older than `before`: how many."""
    statement: dict[Kind, Any] = {
        "measurement": "SELECT prune_measurements($1, $2)",
        "event": "SELECT prune_events($1, $2)",
    }
    return int(await connection.fetchval(statement[kind], before, most))
