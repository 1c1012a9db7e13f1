"""The household's time zone: named, or this machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.app import home_zone


def test_the_named_one_and_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home_zone("Europe/Warsaw") == ZoneInfo("Europe/Warsaw")
    monkeypatch.setenv("TZ", ":America/New_York")
    assert home_zone("") == ZoneInfo("America/New_York")
    monkeypatch.setenv("TZ", "Nowhere/Nothing")
    assert home_zone("") == UTC
    monkeypatch.delenv("TZ")
    offset = datetime(2026, 7, 1, tzinfo=home_zone("")).utcoffset()
    assert offset is not None
    assert abs(offset) <= timedelta(hours=14)
