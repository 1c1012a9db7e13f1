"""The REST edge on a test's own database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.shapes import Scope
from gateway.store.address import Address
from gateway.store.pool import Database
from tests.household import Client, Household, opened
from tests.scripted_model import ScriptedModel


@pytest.fixture
async def household(address: Address, database: Database, scope: Scope, tmp_path: Path) -> AsyncIterator[Household]:
    """The parts behind the edge."""
    async with ScriptedModel() as model, opened(address, database, scope, tmp_path / "journal", model) as household:
        yield household


@pytest.fixture
async def client(household: Household) -> AsyncIterator[Client]:
    """On loopback: the household speaks."""
    async with household.client() as client:
        yield client
