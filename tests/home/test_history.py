"""The home's past, kept by rule, and asked about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from gateway.config import HistoryRule, HomeSettings, MeasurementSettings, MqttSettings
from gateway.errors import StoreUnavailable
from gateway.home import history
from gateway.home.history import History
from gateway.home.learning import Learning
from gateway.home.link import Link
from gateway.home.registry import Registry
from gateway.home.things import Condition, Thing
from gateway.memory.measurements import Measurements
from gateway.shapes import Scope
from gateway.store import measurements
from gateway.store.pool import Database
from tests.mosquitto_server import Mosquitto

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Home:
    """A registry whose things tell at the test's own time."""

    def __init__(self, database: Database, scope: Scope, *rules: HistoryRule) -> None:
        self.at = AT
        self.registry = Registry()
        self.history = History(self.registry, database, scope, rules, lambda: self.at)

    def tell(self, thing_id: str, state: str, after: float = 0.0) -> None:
        self.at += timedelta(seconds=after)
        if thing_id not in self.registry.things:
            self.registry.put(Thing(thing_id, thing_id, "discovery", unit="°C" if "warm" in thing_id else None))
        self.registry.saw(thing_id, self.registry.condition(thing_id).told(self.at, state=state))


async def kept(admin: asyncpg.Connection) -> list[tuple[str, float | str, float]]:
    rows = await admin.fetch(
        """
        SELECT entity, value::text AS told, time FROM measurements
        UNION ALL SELECT entity, state, time FROM events ORDER BY time, entity
        """
    )
    return [(row["entity"], row["told"], (row["time"] - AT).total_seconds()) for row in rows]


async def test_numbers_at_most_each_minute_states_at_each_change(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    home = Home(database, scope)
    with home.registry.watching(home.history.heard):
        for state, after in (("20", 0), ("21", 10), ("22", 10), ("22", 5)):
            home.tell("sensor.warm", state, after)
        home.tell("switch.plug", "on", 1)
        home.tell("switch.plug", "on", 1)
        home.tell("switch.plug", "off", 1)
        home.tell("sensor.warm", "unavailable")
        home.tell("sun.sun", "above_horizon")
        await home.history.write()
        assert await kept(admin) == [("sensor.warm", "20", 0), ("switch.plug", "on", 26), ("switch.plug", "off", 28)]
        home.at += timedelta(seconds=40)
        await home.history.write()
        assert (await kept(admin))[1] == ("sensor.warm", "22", 20)
        assert await admin.fetchval("SELECT DISTINCT unit FROM measurements") == "°C"
        home.tell("sensor.warm", "23")
        home.tell("sensor.warm", "24", 1)
    async with home.history:
        pass  # at its end it writes what it has
    assert (await kept(admin))[-1][:2] == ("sensor.warm", "24")


async def test_the_households_rules_go_first(admin: asyncpg.Connection, database: Database, scope: Scope) -> None:
    home = Home(
        database,
        scope,
        HistoryRule(of=("sensor.*_linkquality", "switch"), to="nothing"),
        HistoryRule(of=("sensor.attic",), to="measurements", every=0, change=0.5),
        HistoryRule(of=("sun",), to="events", every=0),
    )
    with home.registry.watching(home.history.heard):
        for number, state in enumerate(("20", "20.4", "20.5", "20.9", "21")):
            home.tell("sensor.attic", state, number)
        home.tell("sensor.lamp_linkquality", "90")
        home.tell("switch.plug", "on")
        home.tell("sun.sun", "below_horizon")
    await home.history.write()
    told = [(entity, state) for entity, state, _ in await kept(admin)]
    assert sorted(told) == [
        ("sensor.attic", "20"),
        ("sensor.attic", "20.5"),
        ("sensor.attic", "21"),
        ("sun.sun", "below_horizon"),
    ]


async def test_it_waits_bounded_while_postgresql_is_away(
    admin: asyncpg.Connection, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_WAITING", 3)
    home = Home(database, scope)
    with home.registry.watching(home.history.heard), monkeypatch.context() as away:

        def gone(_: Scope) -> None:
            raise StoreUnavailable("PostgreSQL is away")

        away.setattr(database, "scoped", gone)
        for number in range(5):
            home.tell("switch.plug", "off" if number % 2 else "on", 1)
        with pytest.raises(StoreUnavailable):
            await home.history.write()
    await home.history.write()
    assert [(state, at) for _, state, at in await kept(admin)] == [("on", 3), ("off", 4), ("on", 5)]


async def test_one_that_cannot_be_kept_does_not_take_the_others_with_it(
    admin: asyncpg.Connection, database: Database, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(database, scope)
    with home.registry.watching(home.history.heard):
        home.tell("switch.plug", "on", 1)
        home.tell("switch.plug\x00", "on", 1)
        home.tell("sensor.warm", "20", 1)
        await home.history.write()
    assert [thing_id for thing_id, _, _ in await kept(admin)] == ["switch.plug", "sensor.warm"]
    assert len(caplog.records) == 1


async def test_what_comes_while_it_is_written_is_not_lost(
    admin: asyncpg.Connection, database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_WAITING", 3)
    home = Home(database, scope)
    keep = measurements.keep
    more = [("on", 1.0), ("off", 1.0)]

    async def slow(*given: Any) -> Any:
        while more:
            home.tell("switch.plug", *more.pop(0))  # the two oldest, which are being written, make room for these
        return await keep(*given)

    monkeypatch.setattr(measurements, "keep", slow)
    with home.registry.watching(home.history.heard):
        for state in ("off", "on", "off"):
            home.tell("switch.plug", state, 1)
        await home.history.write()
    assert [(state, at) for _, state, at in await kept(admin)] == [
        (state, number + 1) for number, state in enumerate(("off", "on", "off", "on", "off"))
    ]


async def test_of_an_event_it_is_kept_what_happened_each_time(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    home = Home(database, scope)
    home.registry.put(Thing("event.bell", "Bell", "discovery"))
    home.registry.put(Thing("event.remote", "Remote", "statestream"))
    moments = [(AT + timedelta(seconds=second)).isoformat() for second in (1, 2)]
    with home.registry.watching(home.history.heard):
        for moment in moments:
            stands = Condition().told(datetime.fromisoformat(moment), state=moment, event_type="ring")
            home.registry.saw("event.bell", stands)
            home.registry.saw("event.remote", stands)
        await home.history.write()
    assert await kept(admin) == [
        ("event.bell", "ring", 1),
        ("event.remote", moments[0], 1),
        ("event.bell", "ring", 2),
        ("event.remote", moments[1], 2),
    ]


async def test_what_is_told_again_after_a_restart_is_no_event(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    home = Home(database, scope)
    with home.registry.watching(home.history.heard):
        home.tell("switch.plug", "on", 1)
        await home.history.write()
    again = Home(database, scope)
    thing, stood = home.registry.things["switch.plug"], home.registry.condition("switch.plug")
    with again.registry.watching(again.history.heard):
        again.registry.put(thing, stood)  # as it was kept
        again.registry.saw("switch.plug", replace(stood, seen=AT + timedelta(hours=1), changed=AT + timedelta(hours=1)))
        await again.history.write()
    assert await kept(admin) == [("switch.plug", "on", 1)]


async def test_a_number_that_came_back_soon_is_as_if_it_had_stayed(
    admin: asyncpg.Connection, database: Database, scope: Scope
) -> None:
    home = Home(database, scope)
    with home.registry.watching(home.history.heard):
        for state in ("20", "21", "20"):
            home.tell("sensor.warm", state, 1)
        home.at += timedelta(minutes=2)
        await home.history.write()
    assert await kept(admin) == [("sensor.warm", "20", 1)]


async def test_when_did_the_washing_machine_finish(broker: Mosquitto, database: Database, scope: Scope) -> None:
    settings, registry = MqttSettings(url=SecretStr(broker.url)), Registry()

    def now() -> datetime:
        return datetime.now(UTC)

    async with Link(settings, "ha") as ha, Link(settings, "us") as us:
        async with History(registry, database, scope, (), now), Learning(us, registry, HomeSettings(), now):
            for state in ("running", "finished"):
                ha.publish("homeassistant/statestream/sensor/washing_machine/state", state, retain=True)
                told = await registry.until("sensor.washing_machine", lambda now, state=state: now.state == state, 20)
                assert told is not None
        asked = Measurements(database, MeasurementSettings(), scope.household_id, UTC)
        for words, language in (
            ("When did the washing machine finish?", "en"),
            ("Quand le lave-linge a-t-il fini ?", "fr"),
            ("Kiedy skończyła pralka?", "pl"),
        ):
            (source,) = await asked.recall(scope, words, language, now())
            assert "finished" in source.text
