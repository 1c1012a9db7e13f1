"""Members and their tokens. Tokens are known by their SHA-256 only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from gateway.errors import Conflict
from gateway.shapes import Scope


@dataclass(frozen=True, slots=True)
class Member:
    """Someone of the household who has, or had, a token."""

    id: int
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None


async def by_token_hash(connection: asyncpg.Connection, token_hash: bytes) -> Scope | None:
    """Whose token this is; needs no scope. None for an unknown or revoked one."""
    row = await connection.fetchrow(
        """
        SELECT household_id, member_id, name FROM member_by_token($1)
        """,
        token_hash,
    )
    return None if row is None else Scope(row["household_id"], row["member_id"], row["name"])


async def by_name(connection: asyncpg.Connection, name: str) -> Scope | None:
    """The member of the scope's household who is called so, in any case of letters; not one whose token was revoked."""
    row = await connection.fetchrow(
        """
        SELECT household_id, id, name FROM members
        WHERE lower(name) = lower($1) AND revoked_at IS NULL ORDER BY id LIMIT 1
        """,
        name,
    )
    return None if row is None else Scope(row["household_id"], row["id"], row["name"])


async def add(
    owner: asyncpg.Connection, household_id: int, name: str, token_hash: bytes, *, role: str = "member"
) -> Member:
    """Makes a member, or gives one whose token was revoked a new token, as the schema's owner.

    Raises Conflict when someone of that name has a token.
    """
    row = await owner.fetchrow(
        """
        INSERT INTO members (household_id, name, role, token_hash) VALUES ($1, $2, $3, $4)
        ON CONFLICT (household_id, name) DO UPDATE
            SET token_hash = EXCLUDED.token_hash, role = EXCLUDED.role, revoked_at = NULL
            WHERE members.revoked_at IS NOT NULL
        RETURNING id, name, role, created_at, revoked_at
        """,
        household_id,
        name,
        role,
        token_hash,
    )
    if row is None:
        raise Conflict(f"{name} is a member already; revoke the token first", field="name")
    return Member(**row)


async def revoke(owner: asyncpg.Connection, household_id: int, name: str) -> bool:
    """Ends a member's token, as the schema's owner; the member's memory stays. False when there is none to end."""
    row = await owner.fetchrow(
        """
        UPDATE members SET token_hash = NULL, revoked_at = now()
        WHERE household_id = $1 AND name = $2 AND revoked_at IS NULL
        RETURNING id
        """,
        household_id,
        name,
    )
    return row is not None


async def scopes(connection: asyncpg.Connection, household_id: int) -> list[Scope]:
    """The household's own scope and every member's: together they see everything. Asked in the household's scope."""
    everyone = await listing(connection, household_id)
    return [Scope(household_id), *(Scope(household_id, member.id) for member in everyone)]


async def listing(connection: asyncpg.Connection, household_id: int) -> list[Member]:
    """The household's members by name. Through a member's own scope: that member alone."""
    rows = await connection.fetch(
        """
        SELECT id, name, role, created_at, revoked_at FROM members WHERE household_id = $1 ORDER BY name
        """,
        household_id,
    )
    return [Member(**row) for row in rows]
