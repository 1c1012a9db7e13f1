"""What a message holds: found by a path into its JSON."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.automations.messages import MISSING, found_at

VALUE = {"a": {"$ref": 1, "b$c": [2, {"d.e": 3}]}}


@pytest.mark.parametrize(
    "path, found",
    [
        ("$", VALUE),
        ("a.$ref", 1),
        ("$.a.$ref", 1),
        ("$.a.b$c[0]", 2),
        ("$.a['b$c'][1]['d.e']", 3),
        ("$.a.ref", MISSING),
        ("$.a.b$c[2]", MISSING),
    ],
)
def test_a_path_into_json(path: str, found: Any) -> None:
    assert found_at(VALUE, path) == found
