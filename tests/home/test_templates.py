"""Templates of descriptions: as Home Assistant renders them, and never for long."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.home.platforms.templates import MAX_TEXT, BadTemplate, Template


@pytest.mark.parametrize(
    "source, payload, text",
    [
        ("{{ value }}", "ON", "ON"),
        ("{{ value_json.a }}", '{"a": 1}', "1"),
        ("{{value_json['a b'].c}}", '{"a b": {"c": true}}', "True"),
        ('{{ value_json["a"] }}', '{"a": null}', "None"),
        ("{{ value_json.items }}", '{"items": 2}', "2"),
        ("{{ value_json.a }}", "{}", ""),
        ("{{ value_json.a.b }}", "{}", None),
        ("{{ value_json.a }}", "no json", None),
        ("{{ value_json[0] }}", "[5]", "5"),
        ("{{ value_json.a | is_defined }}", "{}", None),
        ("{{ value_json.a | is_defined }}", '{"a": 0}', "0"),
        ("{{ value | float * 2 }}", "1.5", "3.0"),
        ("{{ value | float }}", "x", None),
        ("{{ value | float(0) }}", "x", "0"),
        ("{{ value | int(default=7) }}", "x", "7"),
        ("{{ value | int(base=16) }}", "ff", "255"),
        ("{{ value | float | round(1) }}", "21.46", "21.5"),
        ("{{ value | round }}", "21.6", "22"),
        ("{{ value | round(0, 'floor') }}", "21.6", "21"),
        ("{{ value | multiply(2) | add(1) }}", "4", "9.0"),
        ("{{ value_json.a | default('off', true) }}", '{"a": ""}', "off"),
        ("{{ iif(value == 'ON', 'on', 'off') }}", "ON", "on"),
        ("{{ (value | from_json).a }}", '{"a": 2}', "2"),
        ("{{ value_json | to_json }}", '{"a":[1]}', '{"a":[1]}'),
        ("{{ value | regex_replace('[^0-9.]', '') }}", "21.5 C", "21.5"),
        ("{{ value | regex_findall_index('[0-9]+', 1) }}", "a 1 b 22", "22"),
        ("{% if value is match('Onl') %}yes{% endif %}", "Online", "yes"),
        (r"{{ value | regex_findall_index('(\\d+):(\\d+):(\\d+)') | join('.') }}", "at 7:05:09", "7.05.09"),
        (r"{{ value | regex_replace('^(-?\\d+)(?:[.,]\\d+)? ?(%|km/h|C)?$', '\\1') }}", "-21,5 km/h", "-21"),
        (r"{{ value | regex_findall('(?<=Temp: )[0-9]{1,3}|(?:[]a-c]+)(?!d)') }}", "Temp: 21", "['21']"),
        (r"{{ value is search('(?i)^on|\\{\\x41') }}", "ON", "True"),
        (r"{{ value is match('[^\\]\\\\]*?\\.json$') }}", "a.json", "True"),
        ("{{ value | bitwise_and(4) }}", "6", "4"),
        ("{{ value | int | timestamp_custom('%Y', false) }}", "0", "1970"),
        ("{{ value.split(',')[1] }}", "a,b", "b"),
        ("{{ ','.join(value.split(';')) }}", "a;b", "a,b"),
        ("{{ value.replace('a', 'b') ~ '!' }}", "aa", "bb!"),
        ("{{ '{:.1f}'.format(value | float) }} {{ '%.2f' | format(value | float) }} {{ '%d' % 3 }}", "2", "2.0 2.00 3"),
        ("{{ value_json.values() | list | max }}", '{"a": 2, "b": 3}', "3"),
        ("{% set all = value_json.a %}{% for one in all if one > 1 %}{{ one }}{% endfor %}", '{"a": [1, 2, 3]}', "23"),
        ("{{ {'a': 'x'}[value] }}", "a", "x"),
        ("{{ value | trim | lower }}\n", " ON ", "on"),
        ("{{ value | is_number }}", "nan", "False"),
    ],
)
def test_a_template_is_rendered_as_in_home_assistant(source: str, payload: str, text: str | None) -> None:
    assert Template(source).value(payload) == text


HOSTILE = [
    "{{ ''.__class__.__mro__ }}",
    "{{ value.__init__ }}",
    "{{ value_json.__class__.__bases__[0].__subclasses__() }}",
    "{{ 'x' * 10 ** 9 }}",
    "{{ [0] * 10 ** 9 }}",
    "{{ (1, 2) * 999999999 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ 2.5 ** 10 ** 10 ** 10 }}",
    "{{ 'x'.ljust(10 ** 9) }}",
    "{{ 'x'.zfill(999999999) }}",
    "{{ 'x'.expandtabs(10) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ '{0.__class__}'.format(value) }}",
    "{{ 5 | round(-1000000000) | round(1000000000) | int * 10 ** 10 ** 10 ** 10 ** 10 }}",
    "{{ (7).to_bytes(1000000000) }}",
    "{{ range(10 ** 9) | list }}",
    "{% for a in range(100) %}{% for b in range(100) %}{% endfor %}{% endfor %}done",
    "{% for a in range(900) %}{{ value }}{% endfor %}",
    "{% set x = value %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "{% set x = value %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "{% set x = value %}" + "{% set x = x.replace('a', x) %}" * 60 + "{{ x }}",
    "{% set x = [value] %}" + "{% set x = x + x %}" * 60 + "{{ x | join }}",
    "{% set x = 99 %}" + "{% set x = x * x %}" * 60 + "{{ x }}",
    "{{ value | regex_replace('(a+)+$', '') }}",
    "{{ value | regex_replace('(a|a)*$', '') }}",
    "{{ value | regex_replace('(?:a|aa){1,9999}$', '') }}",
    "{{ value | regex_replace('a*a*a*a*b', '') }}",
    "{{ value | regex_findall('(.*)(.*)\\\\1x') }}",
    "{{ value | regex_replace('(', '') }}",
    "{{ value | regex_replace(')a(', '') }}",
    "{{ value | regex_replace('a**', '') }}",
    "{{ 'ab' is match('" + "a?" * 24 + "a" * 24 + "') or 1 }}",
    "{{ 'ab' is match('" + "(a|a)" * 22 + "') or 1 }}",
    "{{ 'ab' is match('(?x)(a+) +b') or 1 }}",
    "{{ 'ab' is match('(?:a|b(?s:a))') or 1 }}",
    "{{ 'ab' is match('(a)(?(1)b|c)') or 1 }}",
    "{{ 'ab' is match('(?P<x>a)(?P=x)') or 1 }}",
    "{{ 'ab' is match('" + r"[!-\uffff]" * 24 + "', true) or 1 }}",
    r"{{ ('ab' * 200) | regex_replace('(?=(.*))', '\\1' * 100) }}",
    r"{{ '' | regex_replace('x', '\\1' * 5000) }}",
    "{{ missing.something }}",
    "{{ 1 / 0 }}",
    "{{ states('light.kitchen') }}",
    "{{ value_json | to_json }}",
    "{{ ('{0}' * 8000).format('x' * 65000) | length }}",
    "{{ ('%(a)s' * 8000 % {'a': 'x' * 65000}) | length }}",
    "{{ ('%s' * 900) | format(*['x' * 60] * 900) | length }}",
    "{{ ([[1] * 9000] * 9000) | upper | length }}",
    "{{ ([[1] * 9000] * 9000) | float(1) }}",
    "{{ [[1] * 60000] * 60000 == [[1] * 60000] * 60000 or 1 }}",
    "{% set x = value %}" + "{% set x = [x, x] %}" * 60 + "{{ 1 }}",
    "{% set x = value %}" + "{% set x = (x, x) %}" * 60 + "{{ 1 }}",
    "{% set x = value %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ 1 }}",
    "{% set x = [1] %}" + "{% set x = [x] + [x] %}" * 60 + "{{ 1 }}",
    "{% set x = 1 %}" + "{% set x = [x] %}" * 300 + "{{ x | length }}",
    "{% set x = [value] * 13 %}{{ range(900) | map('iif', x) | list | length }}",
    "{% set x = [value] * 13 %}{{ range(900) | map('iif', x) | unique | first | length }}",
    "{{ range(65000) | map('iif', value) | select('search', 'a?a?a?ab') | list | length or 1 }}",
    "{{ range(65000) | map(attribute='" + "a." * 3000 + "', default=value) | list | length }}",
    "{% set x = range(60000) | list %}" + "{% set y = [x] %}" * 300 + "{{ 1 }}",
    "{% set x = range(60000) | list %}" + "{% set y = x ~ '' %}" * 300 + "{{ 1 }}",
    "{% set x = range(60000) | list %}{% set y = range(60000) | list %}" + "{% set z = x == y %}" * 300 + "{{ 1 }}",
    "{{ value.rfind('ab' + value) }}",
    "{{ value.strip('b' * 5000) | length }}",
    "{{ value | trim('b' * 5000) | length }}",
    "{{ (0 | as_datetime).strftime('%Y' * 5000) | length }}",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_what_goes_too_far_fails(source: str) -> None:
    assert not Template(source).value("a" * 5000)


@pytest.mark.parametrize(
    "pattern",
    [
        "a*b",
        "a*a*ab",
        "a*a*a*ab",
        "a*?a*?a*?a*?ab",
        "a?" * 8 + "a" * 8 + "b",
        "a{0,3}" * 6 + "b",
        "a*" + "a" * 200 + "b",
        "(a*)?(a*)?ab",
        "(?=a*a*ab)a",
        "(?=a*ab)a*ab",
        "(a|a)" * 8 + "b",
        "(?:a|aa|aaa)?" * 4 + "a{1,}b",
    ],
)
def test_no_regular_expression_takes_long(pattern: str) -> None:
    template = Template("{{ value is search(pattern) }}")
    few, many = 1, MAX_TEXT
    while many - few > 1:
        middle = (few + many) // 2
        began = time.process_time()
        taken = template.value("a" * middle, pattern=pattern)
        assert time.process_time() - began < 0.1
        few, many = (middle, many) if taken else (few, middle)
    assert few > 9


@pytest.mark.parametrize(
    "source",
    [
        "{{ value",
        "{% for x in value recursive %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% set x %}{{ value }}{% endset %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call x() %}{% endcall %}",
        "{{ value | attr('x') }}",
        "{{ value | center(9) }}",
        "{{ (" * 500,
        "x" * 9000,
    ],
)
def test_what_may_not_be_written_is_refused(source: str) -> None:
    with pytest.raises(BadTemplate):
        Template(source)


@pytest.mark.parametrize("value, text", [(21.5, "21.5"), (3, "3"), ("ON", "ON"), (None, "None")])
def test_a_command_is_made_of_its_value(value: Any, text: str) -> None:
    assert Template("{{ value }}").command(value) == text
    assert Template("{{ value }} {{ position + 1 }}").command(value, position=4) == f"{text} 5"


PAYLOADS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, width=32)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "items"]), inner, max_size=3)
    ),
)


@given(PAYLOADS, st.sampled_from([".a", ".a.b", "['a']['items']", ".items"]))
def test_the_short_way_tells_what_the_sandbox_does(payload: Any, path: str) -> None:
    text = orjson.dumps(payload).decode()
    short, long = Template("{{ value_json" + path + " }}"), Template("{{ (value_json" + path + ") }}")
    quick, slow = short.value(text), long.value(text)
    if slow is not None and "method" not in slow:
        assert quick == slow or (quick is None and slow == "")


@given(st.text(max_size=60))
def test_no_source_raises_but_as_bad(source: str) -> None:
    for whole in (source, "{{ " + source + " }}", "{% " + source + " %}"):
        try:
            template = Template(whole)
        except BadTemplate:
            continue
        rendered = template.value("1")
        assert rendered is None or len(rendered) <= MAX_TEXT
