"""Fixtures of the automations' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.automations.household import Home, living
from tests.mosquitto_server import Mosquitto


@pytest.fixture
async def home(broker: Mosquitto, tmp_path: Path) -> AsyncIterator[Home]:
    async with living(broker, tmp_path) as home:
        yield home
