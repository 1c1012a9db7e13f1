"""Preferences are remembered for as long as the memory epoch stays the same."""

from __future__ import annotations

import asyncpg
import pytest

from gateway.shapes import Scope
from gateway.store import preferences as rows
from tests.household import Household


async def test_they_are_read_once_an_epoch(
    household: Household, scope: Scope, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = rows.all_visible

    async def counted(connection: asyncpg.Connection) -> list[rows.Preference]:
        nonlocal reads
        reads += 1
        return await read(connection)

    await household.late.embed_all()  # what it does at its start, choosing a space, moves the epoch
    monkeypatch.setattr(rows, "all_visible", counted)
    monkeypatch.setattr("gateway.store.epoch.CONFIRMED_SECONDS", 60.0)
    await household.preferences.set(scope, key="a", value=1, category=None, member_id=None)
    for _ in range(3):
        assert [preference.value for preference in await household.preferences.visible(scope)] == [1]
    assert reads == 1
    await household.preferences.set(scope, key="a", value=2, category=None, member_id=None)
    assert [preference.value for preference in await household.preferences.visible(scope)] == [2]
    assert reads == 2
    await admin.execute("UPDATE preferences SET value = '3'")
    await household.epoch.refresh()
    assert [preference.value for preference in await household.preferences.visible(scope)] == [3]
    household.epoch.hold("test")
    await household.preferences.visible(scope)
    await household.preferences.visible(scope)
    assert reads == 5
    household.epoch.release("test")
