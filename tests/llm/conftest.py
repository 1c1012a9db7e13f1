"""What the tests of the models share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.scripted_model import ScriptedModel


@pytest.fixture
async def scripted_model() -> AsyncIterator[ScriptedModel]:
    """A model server that answers what the test told it to."""
    async with ScriptedModel() as model:
        yield model
