"""What could be neither kept nor passed on is refused, wherever in a body it stands: a quick look misses none of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.edge.ollama import MAX_DEPTH, parse_object
from gateway.errors import BadRequest


def nested(levels: int, innermost: Any) -> Any:
    """`innermost` within so many lists and objects, by turns."""
    for level in range(levels):
        innermost = [innermost] if level % 2 else {"in": innermost}
    return innermost


@pytest.mark.parametrize("place", [{"a": "x\x00y"}, {"a": {"b\x00": 1}}, {"a": [1, [{"c": "\x00"}]]}])
def test_a_nul_character_is_refused_and_its_field_named(place: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="a holds a NUL character"):
        parse_object(orjson.dumps(place))


def test_what_only_looks_like_one_is_not() -> None:
    assert parse_object(rb'{"a": "\\u0000"}') == {"a": r"\u0000"}


@pytest.mark.parametrize("levels", [0, 1, 10, MAX_DEPTH - 3, MAX_DEPTH - 2, MAX_DEPTH - 1])
@pytest.mark.parametrize("innermost", [1, "x", [], {}])
def test_what_is_nested_as_deep_as_may_be_is_taken(levels: int, innermost: Any) -> None:
    body = {"a": nested(levels, innermost)}
    assert parse_object(orjson.dumps(body)) == body


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 200])
@pytest.mark.parametrize("innermost", [1, "x", [1]])
def test_what_is_nested_deeper_is_refused(levels: int, innermost: Any) -> None:
    with pytest.raises(BadRequest, match=f"a is nested more than {MAX_DEPTH} levels deep"):
        parse_object(orjson.dumps({"b": 1, "a": nested(levels, innermost)}))
