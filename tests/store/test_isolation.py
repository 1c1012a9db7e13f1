"""Nobody else's memory: every table, tried as others and without a scope, by SQL that does not filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest

from gateway.shapes import Scope, Space
from gateway.store import (
    cache,
    conversations,
    documents,
    entities,
    forgetting,
    history,
    knowledge,
    measurements,
    members,
    preferences,
    training,
    vectors,
)
from gateway.store.pool import Database

# How a row of a table is made, for a household and (where the table knows members) a member. A table that is not here
# fails the tests: whoever adds one says here how it is filled.
ROWS: Mapping[str, str] = {
    "conversations": "(household_id, member_id, turn_id, session_id, role, content) "
    "VALUES ($1, $2::bigint, gen_random_uuid(), 's', 'user', 'secret')",
    "knowledge": "(household_id, member_id, content) VALUES ($1, $2, 'secret words')",
    "knowledge_history": "(household_id, member_id, entry_id, content, reason) VALUES ($1, $2, 1, 'secret', 'edited')",
    "folders": "(household_id, member_id, name) VALUES ($1, $2, 'secret')",
    "documents": "(household_id, member_id, name, sha256, bytes) VALUES ($1, $2, 'secret', sha256('secret'), 6)",
    "preferences": "(household_id, member_id, key, value) VALUES ($1, $2, 'secret', '{}')",
    "measurements": "(household_id, member_id, entity, time, value) VALUES ($1, $2, 'secret', now(), 1)",
    "events": "(household_id, member_id, entity, time, state) VALUES ($1, $2, 'secret', now(), 'on')",
    "actions": "(household_id, member_id, edge, speaker, words, thing_id, action, verdict) "
    "VALUES ($1, $2, 'mqtt', 'hall', 'secret', 'light.hall', 'turn_on', 'done')",
    "vectors": "(household_id, member_id, kind, ref_id, space_id, embedding) VALUES ($1, $2, 'test', "
    "coalesce($2::bigint, 0), (SELECT id FROM embedding_spaces WHERE household_id = $1), '[1,2,3]')",
    "response_cache": "(household_id, member_id, query_hash, query_text, response, memory_epoch) "
    "VALUES ($1, $2, 'h', 'secret', 'r', 1)",
    "training_data": "(household_id, member_id, turn_id, input_text, output_text) "
    "VALUES ($1, $2::bigint, gen_random_uuid(), 'secret', 'o')",
}
OF_THE_HOUSEHOLD = {"households", "members", "embedding_spaces", "entities"}
# Kept by the schema itself, to be read only.
KEPT = {"knowledge_words", "knowledge_totals"}


@dataclass(frozen=True)
class People:
    home: Scope
    ada: Scope
    ben: Scope
    other: Scope
    eve: Scope

    @property
    def all(self) -> list[Scope]:
        return [self.home, self.ada, self.ben, self.other, self.eve]


@pytest.fixture
async def people(admin: asyncpg.Connection, household_id: int) -> People:
    """Two households with members, and in every table a row of each of them and of each household's own."""
    other = await admin.fetchval("INSERT INTO households (name) VALUES ('Other') RETURNING id")

    async def member(household: int, name: str) -> Scope:
        row = await members.add(admin, household, name, name.encode().ljust(32))
        return Scope(household, row.id, name)

    found = People(
        Scope(household_id),
        await member(household_id, "Ada"),
        await member(household_id, "Ben"),
        Scope(other),
        await member(other, "Eve"),
    )
    for household in (household_id, other):
        await admin.execute(
            "INSERT INTO embedding_spaces (household_id, model, dimensions, state) VALUES ($1, 'm', 3, 'current')",
            household,
        )
        await admin.execute(
            "INSERT INTO entities (household_id, entity_id, name, origin) VALUES ($1, 'light.hall', 'secret', 'mqtt')",
            household,
        )
    for table, values in ROWS.items():
        for scope in found.all:
            await admin.execute(f"INSERT INTO {table} {values}", scope.household_id, scope.member_id)
    return found


async def tables(admin: asyncpg.Connection) -> list[str]:
    rows = await admin.fetch(
        """
        SELECT table_name FROM information_schema.tables
        WHERE table_schema = 'public' AND table_name <> 'schema_migrations'
        """
    )
    return [row["table_name"] for row in rows]


async def test_every_table_is_held_by_a_policy_and_tried_here(admin: asyncpg.Connection) -> None:
    assert set(await tables(admin)) == ROWS.keys() | OF_THE_HOUSEHOLD | KEPT
    free = await admin.fetch(
        """
        SELECT relname FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'schema_migrations'
          AND NOT (relrowsecurity AND relforcerowsecurity
                   AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polroles = '{0}'))
        """
    )
    assert free == []


async def test_the_serving_role_owns_nothing_and_is_above_nothing(admin: asyncpg.Connection) -> None:
    role = await admin.fetchrow("SELECT * FROM pg_roles WHERE rolname = 'ai_gateway'")
    assert not any(role[right] for right in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb"))
    assert await admin.fetchval("SELECT count(*) FROM pg_class WHERE relowner = 'ai_gateway'::regrole") == 0
    assert await admin.fetchval("SELECT count(*) FROM pg_proc WHERE proowner = 'ai_gateway'::regrole") == 0
    assert not await admin.fetchval(
        "SELECT bool_or(has_table_privilege('ai_gateway', oid, 'TRUNCATE')) FROM pg_class WHERE relkind = 'r'"
    )


@pytest.mark.parametrize("table", sorted(ROWS.keys() | KEPT))
async def test_one_sees_the_shared_rows_and_ones_own(database: Database, people: People, table: str) -> None:
    for scope in people.all:
        async with database.scoped(scope) as connection:
            seen = {(row["household_id"], row["member_id"]) for row in await connection.fetch(f"SELECT * FROM {table}")}
        assert seen == {(scope.household_id, None), (scope.household_id, scope.member_id)}


@pytest.mark.parametrize("table", sorted(ROWS.keys() | OF_THE_HOUSEHOLD | KEPT))
async def test_without_a_scope_there_is_nothing(database: Database, people: People, table: str) -> None:
    columns = "id, name" if table == "members" else "*"
    async with database.unscoped() as connection:
        assert await connection.fetch(f"SELECT {columns} FROM {table}") == []
    # After a scope the setting is an empty string, not null; with a pool of several connections, on each of them.
    for _ in range(4):
        async with database.scoped(people.ada) as connection:
            assert await connection.fetch(f"SELECT {columns} FROM {table}") != []
            async with database.unscoped() as another:
                assert await another.fetch(f"SELECT {columns} FROM {table}") == []
        async with database.unscoped() as connection:
            assert await connection.fetch(f"SELECT {columns} FROM {table}") == []


@pytest.mark.parametrize("table", sorted(ROWS))
async def test_one_changes_and_deletes_nobody_elses(
    admin: asyncpg.Connection, database: Database, people: People, table: str
) -> None:
    async with database.scoped(people.ada) as connection:
        await connection.execute(f"UPDATE {table} SET household_id = household_id")
        await connection.execute(f"DELETE FROM {table}")
    left = await admin.fetch(f"SELECT household_id, member_id FROM {table}")
    assert {tuple(row) for row in left} == {
        (scope.household_id, scope.member_id) for scope in (people.ben, people.other, people.eve)
    }


@pytest.mark.parametrize("table", sorted(ROWS))
async def test_one_writes_for_nobody_else(database: Database, people: People, table: str) -> None:
    for scope, whose in [
        (people.ada, people.ben),
        (people.ada, people.eve),
        (people.ada, people.other),
        (people.home, people.ada),
    ]:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.NotNullViolationError)):
            async with database.scoped(scope) as connection:
                await connection.execute(f"INSERT INTO {table} {ROWS[table]}", whose.household_id, whose.member_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.scoped(scope) as connection:
                await connection.execute(f"UPDATE {table} SET member_id = $1", whose.member_id or 10**6)


@pytest.mark.parametrize("table", sorted(KEPT))
async def test_what_is_kept_by_itself_is_changed_by_nobody(database: Database, people: People, table: str) -> None:
    for statement in (f"UPDATE {table} SET household_id = household_id", f"DELETE FROM {table}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.scoped(people.ada) as connection:
                await connection.execute(statement)


async def test_a_members_words_are_theirs(database: Database, people: People) -> None:
    """Neither a completion, nor a guess at a misspelt word, nor a score tells what another member's entries say."""
    async with database.scoped(people.ben) as connection:
        await knowledge.insert(connection, content="xylophone zeppelin", member_id=people.ben.member_id)
        assert await knowledge.suggest_words(connection, "xylo", 5) == [("xylophone", 1)]
        assert len(await knowledge.matching(connection, query="xylofone", limit=5)) == 1
    for scope in (people.ada, people.home, people.eve, people.other):
        async with database.scoped(scope) as connection:
            assert await knowledge.suggest_words(connection, "xylo", 5) == []
            assert await knowledge.matching(connection, query="xylofone zeppelin", limit=5) == []
            before = await knowledge.matching(connection, query="secret", limit=5)
        async with database.scoped(people.ben) as connection:
            await knowledge.insert(connection, content="secret secret", member_id=people.ben.member_id)
        async with database.scoped(scope) as connection:
            assert await knowledge.matching(connection, query="secret", limit=5) == before
    async with database.unscoped() as connection:
        assert await knowledge.suggest_words(connection, "se", 5) == []


async def test_a_member_belongs_to_the_rows_household(admin: asyncpg.Connection, people: People) -> None:
    for table, values in ROWS.items():
        with pytest.raises(asyncpg.PostgresError):
            await admin.execute(f"INSERT INTO {table} {values}", people.home.household_id, people.eve.member_id)


async def test_households_and_members(database: Database, people: People) -> None:
    for scope, names in [(people.home, {"Ada", "Ben"}), (people.ada, {"Ada"}), (people.eve, {"Eve"})]:
        async with database.scoped(scope) as connection:
            assert {row["id"] for row in await connection.fetch("SELECT * FROM households")} == {scope.household_id}
            assert {member.name for member in await members.listing(connection, scope.household_id)} == names
    for statement in (
        "SELECT token_hash FROM members",
        "UPDATE members SET name = 'x'",
        "DELETE FROM members",
        "INSERT INTO members (name) VALUES ('x')",
        "UPDATE households SET name = 'x'",
        "SELECT * FROM schema_migrations",
        "SET ROLE postgres",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.scoped(people.ada) as connection:
                await connection.execute(statement)


async def test_what_runs_with_the_owners_rights_keeps_to_the_scope(database: Database, people: People) -> None:
    for scope in people.all:
        async with database.scoped(scope) as connection:
            found = await connection.fetch("SELECT id FROM search_knowledge('secret', '{}', NULL, 100)")
            seen = await connection.fetch("SELECT id FROM knowledge")
            assert {row["id"] for row in found} == {row["id"] for row in seen}
    async with database.scoped(people.other) as connection:
        assert (await cache.stats(connection)).entries == 2
        assert await cache.clear_all(connection) == 2
    async with database.scoped(people.ada) as connection:
        assert (await cache.stats(connection)).entries == 3
        assert await connection.fetchval("SELECT trim_response_cache(1)") == 2
    async with database.unscoped() as connection:
        assert await connection.fetch("SELECT id FROM search_knowledge('secret', '{}', NULL, 100)") == []
        assert (await cache.stats(connection)).entries == 0
        assert await cache.clear_all(connection) == 0


async def test_retention_is_of_the_household_and_of_no_other(
    admin: asyncpg.Connection, database: Database, people: People
) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    kinds: tuple[tuple[measurements.Kind, str], ...] = (("measurement", "measurements"), ("event", "events"))
    async with database.unscoped() as connection:
        for kind, _ in kinds:
            assert await measurements.prune(connection, kind, soon, 10) == 0
    async with database.scoped(people.home) as connection:
        for kind, table in kinds:
            assert await measurements.prune(connection, kind, soon, 2) == 2
            assert await measurements.prune(connection, kind, soon, 10) == 1
            left = await admin.fetch(f"SELECT household_id FROM {table}")
            assert {row["household_id"] for row in left} <= {people.home.household_id, people.other.household_id}
    for _, table in kinds:
        left = await admin.fetch(f"SELECT household_id FROM {table}")
        assert [row["household_id"] for row in left] == [people.other.household_id] * 2


async def test_what_was_done_ends_and_is_forgotten_in_its_scope(
    admin: asyncpg.Connection, database: Database, people: People
) -> None:
    of_ben = await admin.fetchval("SELECT id FROM actions WHERE member_id = $1", people.ben.member_id)
    for scope in (people.ada, people.home, people.eve):
        async with database.scoped(scope) as connection:
            assert of_ben not in {done.id for done in await entities.actions(connection, 10)}
            assert of_ben not in {
                row.id for row in await forgetting.said(connection, "actions", after=0, beginnings=["secr"])
            }
            await forgetting.empty_actions(connection, [of_ben])
    assert await admin.fetchval("SELECT words FROM actions WHERE id = $1", of_ben) == "secret"
    soon = datetime.now(UTC) + timedelta(days=1)
    async with database.unscoped() as connection:
        assert await entities.prune_actions(connection, soon, 10) == 0
    async with database.scoped(people.home) as connection:
        assert await entities.prune_actions(connection, soon, 2) == 2
        assert await entities.prune_actions(connection, soon, 10) == 1
    left = await admin.fetch("SELECT household_id FROM actions")
    assert [row["household_id"] for row in left] == [people.other.household_id] * 2


async def test_the_store_itself_asks_within_the_scope(
    admin: asyncpg.Connection, database: Database, people: People
) -> None:
    """The functions of the modules filter by no household: with another's ids they find nothing."""
    space_id = await admin.fetchval("SELECT id FROM embedding_spaces WHERE household_id = $1", people.home.household_id)
    of_ben = await admin.fetchval("SELECT id FROM knowledge WHERE member_id = $1", people.ben.member_id)
    old = await admin.fetchval("SELECT id FROM knowledge_history WHERE member_id = $1", people.ben.member_id)
    liked = await admin.fetchval("SELECT id FROM preferences WHERE member_id = $1", people.ben.member_id)
    document = await admin.fetchval("SELECT id FROM documents WHERE member_id = $1", people.ben.member_id)
    turn = await admin.fetchval("SELECT turn_id FROM conversations WHERE member_id = $1", people.ben.member_id)
    for scope in (people.ada, people.home, people.eve):
        async with database.scoped(scope) as connection:
            assert await knowledge.get(connection, of_ben) is None
            assert old not in {version.id for version in await history.matching(connection, ["secr"], limit=100)}
            assert of_ben not in {
                row.id for row in await forgetting.with_words(connection, ["secr"], passages=True, after=0, limit=100)
            }
            assert await knowledge.update(connection, of_ben, content="x") is None
            assert not await knowledge.delete(connection, of_ben)
            assert await knowledge.page(connection, member=people.ben.member_id) == []
            assert await documents.get(connection, document) is None
            assert document not in {other.id for other in await documents.unread(connection)}
            assert await documents.replace(connection, document, name="x", sha256=b"x" * 32, size=1, upload="x") is None
            assert not await documents.begin(connection, document, 1)
            assert not await documents.fail(connection, document, 1, "no")
            assert not await documents.take_over(connection, document, 1, pages=None, passages=0)
            assert await documents.delete(connection, document) == (False, None)
            assert await preferences.by_id(connection, liked) is None
            assert not await preferences.delete(connection, liked)
            assert await conversations.turn(connection, turn) == []
            assert await training.upsert_feedback(connection, turn, 5) is None
            assert (
                await knowledge.nearest(
                    connection,
                    space_id=space_id,
                    embedding=np.ones(3, np.float32),
                    limit=10,
                    only=knowledge.Filter(member=people.ben.member_id),
                )
                == []
            )


async def test_what_stands_at_home_is_known_to_its_household_alone(
    admin: asyncpg.Connection, database: Database, people: People
) -> None:
    for scope in people.all:
        async with database.scoped(scope) as connection:
            assert [thing.entity_id for thing in await entities.kept(connection)] == ["light.hall"]
        another = people.home.household_id + people.other.household_id - scope.household_id
        for statement in (
            "INSERT INTO entities (household_id, entity_id, name, origin) VALUES ($1, 'light.x', 'x', 'mqtt')",
            "UPDATE entities SET household_id = $1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.scoped(scope) as connection:
                    await connection.execute(statement, another)
    async with database.scoped(people.eve) as connection:
        await entities.keep(
            connection, [entities.Kept("light.hall", "Hers", "mqtt"), entities.Kept("lock.a", "A", "x")]
        )
        await entities.forget(connection, ["light.hall", "lock.b"])
        assert await entities.forget_older(connection, datetime.now(UTC) + timedelta(days=1)) == 1
        assert await entities.actions(connection, 10, thing_id="light.hall") != []
    left = await admin.fetch("SELECT household_id, entity_id, name FROM entities")
    assert [tuple(row) for row in left] == [(people.home.household_id, "light.hall", "secret")]


async def test_tokens(admin: asyncpg.Connection, database: Database, people: People) -> None:
    async with database.unscoped() as connection:
        assert await members.by_token_hash(connection, b"Ada".ljust(32)) == people.ada
        assert await members.by_token_hash(connection, b"Eve".ljust(32)) == people.eve
        assert await members.by_token_hash(connection, b"Nobody".ljust(32)) is None
        assert await members.revoke(admin, people.home.household_id, "Ada")
        assert await members.by_token_hash(connection, b"Ada".ljust(32)) is None


async def test_another_households_space_takes_no_vectors(
    admin: asyncpg.Connection, database: Database, people: People
) -> None:
    foreign = await admin.fetchval("SELECT id FROM embedding_spaces WHERE household_id = $1", people.other.household_id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.scoped(people.ada) as connection:
            await vectors.upsert(connection, foreign, "test", [(1, None, np.ones(3, np.float32))])
    async with database.scoped(people.ada) as connection:
        assert await vectors.current_space(connection) == Space("m", 3, "", "", "")
