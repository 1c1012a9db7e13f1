"""Templates: what Home Assistant's users know works, and nothing in one takes long, grows, or gets out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.automations.templates import holds, render, render_all
from gateway.home.sandbox import MAX_TEXT, TemplateFailed

NAMES: dict[str, Any] = {
    "payload_json": {"temp": 21.456, "label": "person", "list": [3, 1, 2], "none": None},
    "now": lambda: datetime(2026, 3, 1, 7, 30, tzinfo=UTC),
    "trigger": {"payload": "ON"},
}


@pytest.mark.parametrize(
    "source, said",
    [
        ("{{ payload_json.temp | round(1) }}", "21.5"),
        ("{{ payload_json.temp | round }}", "21"),
        ("{{ payload_json.temp | int + 1 }}", "22"),
        ("{{ '12.9' | int }} {{ '1f' | int(base=16) }} {{ 'x' | int(0) }}", "12 31 0"),
        ("{{ 'x' | float(1.5) }}", "1.5"),
        ("{{ payload_json.missing | default('nothing') }}", "nothing"),
        ("{{ payload_json.list | sort | join(', ') }}", "1, 2, 3"),
        ("{{ payload_json.list | sum }} {{ payload_json.list | max }}", "6 3"),
        ("{% for x in payload_json.list %}{{ x }}{% if not loop.last %}-{% endif %}{% endfor %}", "3-1-2"),
        ("{{ '{\"a\": [1]}' | from_json }} {{ payload_json.list | to_json }}", "{'a': [1]} [3,1,2]"),
        ("{{ now().strftime('%H:%M') }} {{ now().hour < 8 }}", "07:30 True"),
        ("{{ (now() - timedelta(minutes=5)).minute }}", "25"),
        ("{{ 'a' ~ 1 ~ 'b' }}", "a1b"),
        ("{{ payload_json.none is none }}", "True"),
        ("{% set ns = namespace(n=0) %}{% for x in range(5) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", "10"),
        ("{{ iif(trigger.payload == 'ON', 'yes', 'no') }}", "yes"),
        ("{{ 'a-b' | replace('-', '+') }} {{ 'A B'.lower().split() | last }}", "a+b b"),
        (
            "{% set n = namespace(x=[]) %}{% for a in 'ab' %}{% set n.x = n.x + [a] %}{% endfor %}{{ n.x }}",
            "['a', 'b']",
        ),
        ("{% macro f(ns, a) %}{% set ns.x = a %}{% endmacro %}{% set n = namespace() %}{{ f(n, 2) }}{{ n.x }}", "2"),
        ("{% for a, b in {'x': [1, 2]}.items() %}{{ a }}{{ b[1:] }}{% endfor %}", "x[2]"),
        ("{% set a, b = 1, (2, 3) %}{{ a in [1, 2] and b == (2, 3) }}", "True"),
        ("{{ [{'a': 2}, {'a': 1}] | sort(attribute='a') | map(attribute='a') | map('string') | join('-') }}", "1-2"),
        ("{{ [1, 2, 3] | select('gt', 1) | reverse | list }} {{ {'a': 1} | items | first }}", "[3, 2] ('a', 1)"),
        ("{{ '{:02d}:{b}'.format(7, b='x') }} {{ '%s %%' % 5 }} {{ '%s-%s' | format(1, 2) }}", "07:x 5 % 1-2"),
        ("  {{ 1 }}\n", "1"),
        ("{{ as_timestamp('2026-03-01T00:00:00+00:00') | int }}", "1772323200"),
    ],
)
def test_what_is_known(source: str, said: str) -> None:
    assert render(source, NAMES) == said


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{{ range(10 ** 9) | list }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ [0] * 1000000 }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | to_json }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% for i in range(9000) %}0123456789{% endfor %}",
        "{% macro f(n) %}{{ f(varargs, varargs) }}{% endmacro %}{{ f(0) }}",
        "{% set n = namespace(x='a' * 60000) %}{{ n }}",
        "{% set n = namespace(x='a' * 60000) %}{{ n | upper | length }}",
        "{% set n = namespace(x=1) %}{{ [n] * 9000 | length }}",
        "{{ dict.fromkeys(range(900), 'a' * 900) | length }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ now.__globals__.x }}",
        "{{ (1).to_bytes(1000000000) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ payload_json.missing.deeper }}",
        "{{ payload_json.update({'a': 1}) }}",
        "{{ 'x' | float }}",
        "{{ nothing() }}",
        "{{ 1 / 0 }}",
        "{{ ",
        "{{ x | no_such_filter }}",
        "{% include 'secrets' %}",
        "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
        "x" * 10_000,
    ],
)
def test_what_fails_by_itself(source: str) -> None:
    with pytest.raises(TemplateFailed):
        render(source, NAMES)


def test_output_is_bounded() -> None:
    assert len(render("{{ x }}", {"x": "a" * MAX_TEXT})) == MAX_TEXT
    with pytest.raises(TemplateFailed):
        render("{{ x }}b", {"x": "a" * MAX_TEXT})


@pytest.mark.parametrize(
    "source, true",
    [("{{ true }}", True), ("on", True), ("2", True), ("{{ 0 }}", False), ("", False), ("{{ none }}", False)],
)
def test_what_holds(source: str, true: bool) -> None:
    assert holds(source, NAMES) is true


def test_inside_of_what_is_published() -> None:
    assert render_all({"a": ["{{ 1 + 1 }}", 3], "b": None}, NAMES) == {"a": ["2", 3], "b": None}
