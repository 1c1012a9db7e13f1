"""The memory and training parts on a test's own database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.shapes import Scope
from gateway.store.address import Address
from gateway.store.pool import Database
from tests.household import Household, opened
from tests.scripted_model import ScriptedModel


@pytest.fixture
async def household(address: Address, database: Database, scope: Scope, tmp_path: Path) -> AsyncIterator[Household]:
    """The parts, put together."""
    async with ScriptedModel() as model, opened(address, database, scope, tmp_path / "journal", model) as household:
        yield household
