"""What stood at home is known again after a restart, before the broker tells."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from pydantic import SecretStr

from gateway.config import HomeSettings, MqttSettings
from gateway.errors import StoreUnavailable
from gateway.home.keeping import Keeping
from gateway.home.learning import Learning
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.things import Condition, Thing
from gateway.shapes import Scope
from gateway.store.pool import Database
from tests.mosquitto_server import Mosquitto

LAMP = "homeassistant/statestream/light/desk"


def now() -> datetime:
    return datetime.now(UTC)


async def test_it_is_known_again_with_its_age(
    broker: Mosquitto, admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    settings = MqttSettings(url=SecretStr(broker.url))
    async with Link(settings, "ha") as ha:
        registry = Registry()
        async with (
            Link(settings, "us") as us,
            Keeping(registry, database, scope, now) as keeping,
            Learning(us, registry, HomeSettings(), now, keeping),
        ):
            for key, value in (("friendly_name", '"Desk"'), ("brightness", "7"), ("state", "on")):
                ha.publish(f"{LAMP}/{key}", value, retain=True)
            assert await registry.until("light.desk", lambda now: now.state == "on", 20) is not None
            was = registry.condition("light.desk")
        row = await admin.fetchrow("SELECT name, domain, origin, state, seen_at FROM entities")
        assert row is not None
        assert tuple(row)[:4] == ("Desk", "light", "statestream", "on")

        registry = Registry()
        async with (
            Link(MqttSettings(url=SecretStr("mqtt://127.0.0.1:1")), "us") as away,
            Keeping(registry, database, scope, now) as keeping,
            Learning(away, registry, HomeSettings(), now, keeping),
        ):
            thing, condition = registry.things["light.desk"], registry.condition("light.desk")
            assert (thing.name, thing.origin, thing.driver) == ("Desk", "kept", None)
            assert (condition.state, condition.attributes, condition.available) == ("on", {"brightness": 7}, None)
            assert (condition.changed, condition.seen) == (was.changed, was.seen)
        assert await admin.fetchval("SELECT origin FROM entities") == "statestream"

        registry = Registry()
        async with (
            Link(settings, "us") as us,
            Keeping(registry, database, scope, now) as keeping,
            Learning(us, registry, HomeSettings(), now, keeping),
        ):
            told = await registry.until(
                "light.desk",
                lambda now: registry.things["light.desk"].origin == "statestream" and now.available is True,
                20,
            )
            assert told is not None
            assert told.changed == was.changed  # it is told anew, and is what it was
            # What was known of it before does not shine through what is told now.
            ha.publish(f"{LAMP}/brightness", "null", retain=True)
            ha.publish(f"{LAMP}/state", "off", retain=True)
            told = await registry.until("light.desk", lambda now: now.state == "off", 20)
            assert told is not None
            assert told.changed is not None
            assert was.changed is not None
            assert told.changed > was.changed
            assert told.attributes == {}
            gone = asyncio.Event()
            with registry.watching(lambda change: gone.set() if change.thing is None else None):
                ha.publish(f"{LAMP}/state", "", retain=True)
                await asyncio.wait_for(gone.wait(), 20)
        assert await admin.fetch("SELECT * FROM entities") == []


async def test_what_could_not_be_written_is_written_later(
    admin: asyncpg.Connection, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    async with Keeping(registry, database, scope, now) as keeping:
        registry.put(Thing("light.desk", "Desk", "discovery"))
        registry.put(Thing("light.attic", "Attic", "kept"))
        with monkeypatch.context() as away:

            def gone(_: Scope) -> None:
                raise StoreUnavailable("PostgreSQL is away")

            away.setattr(database, "scoped", gone)
            with pytest.raises(StoreUnavailable):
                await keeping.write()
        await keeping.write()
        # What was only known from before is as it was kept, and keeps its age.
        assert await admin.fetchval("SELECT array_agg(entity_id) FROM entities") == ["light.desk"]
        registry.saw("light.desk", replace(registry.condition("light.desk"), available=False))
        await keeping.write()
        assert await admin.fetchval("SELECT available FROM entities") is False


async def test_one_that_cannot_be_kept_does_not_take_the_others_with_it(
    admin: asyncpg.Connection, database: Database, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    async with Keeping(registry, database, scope, now) as keeping:
        for name, unit in (("a", None), ("b", "\x00"), ("c", None)):
            registry.put(Thing(f"light.{name}", name, "discovery", unit=unit))
        await keeping.write()
        assert await admin.fetchval("SELECT array_agg(name ORDER BY name) FROM entities") == ["a", "c"]
        assert ["light.b" in record.message for record in caplog.records] == [True]
        registry.put(Thing("light.b", "b", "discovery"))
        await keeping.write()
    assert await admin.fetchval("SELECT count(*) FROM entities") == 3


async def test_what_changes_while_it_writes_is_written_the_next_time(
    admin: asyncpg.Connection, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a home that never stops telling would have it write for ever."""
    registry, scoped, written = Registry(), database.scoped, 0

    def meanwhile(asked: Scope) -> AbstractAsyncContextManager[asyncpg.Connection]:
        nonlocal written
        written += 1
        assert written <= 2, "it does not stop"
        for name in "ab":
            registry.saw(f"sensor.{name}", Condition(str(written)))
        return scoped(asked)

    async with Keeping(registry, database, scope, now) as keeping:
        for name in "ab":
            registry.put(Thing(f"sensor.{name}", name, "discovery"), Condition("0"))
        with monkeypatch.context() as busy:
            busy.setattr(database, "scoped", meanwhile)
            busy.setattr("gateway.home.keeping.BATCH", 1)
            await keeping.write()
        assert written == 2
        await keeping.write()
        assert await admin.fetchval("SELECT array_agg(state) FROM entities") == ["2", "2"]


async def test_what_is_there_is_not_forgotten_for_never_changing(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    registry, at = Registry(), [now()]
    async with Keeping(registry, database, scope, lambda: at[0]) as keeping:
        registry.put(Thing("light.desk", "Desk", "discovery"))
        await keeping.write()
        was = await admin.fetchval("SELECT described_at FROM entities")
        for hours, again in ((23, False), (24, True)):
            at[0] = now() + timedelta(hours=hours)
            await keeping.write()
            assert (await admin.fetchval("SELECT described_at FROM entities") > was) is again


async def test_what_nothing_tells_of_for_a_month_is_forgotten(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    registry = Registry()
    async with Keeping(registry, database, scope, now) as keeping:
        registry.put(Thing("light.desk", "Desk", "discovery"))
        await keeping.write()
        for days, known in ((20, {"light.desk"}), (31, set())):
            later = now() + timedelta(days=days)
            kept = Registry()
            await Keeping(Registry(), database, scope, lambda later=later: later).load(kept)
            assert set(kept.things) == known
    assert await admin.fetchval("SELECT count(*) FROM entities") == 0
