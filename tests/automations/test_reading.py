"""The file of automations: Home Assistant's spelling, and mistakes told by their line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.automations.model import Ask, Command, MqttTrigger, Must, Publish, StateTrigger
from gateway.automations.reading import Mistakes, parse, read

PATH = Path("automations.yaml")


def test_as_home_assistant_writes_it() -> None:
    new, old = parse(
        """
- alias: Front door
  triggers:
    - trigger: state
      entity_id: binary_sensor.front_door
      from: off
      to: on
      for: "00:10:00"
  conditions:
    - condition: time
      after: "08:00"
      weekday: [mon, tue]
    - "{{ true }}"
    - or:
        - condition: state
          entity_id: light.a
          state: [on, "dim"]
  actions:
    - action: mqtt.publish
      data: {topic: a/b, payload: "{{ trigger.to_state.state }}"}
    - action: light.turn_on
      target: {entity_id: light.a}
      data: {brightness: 10}
    - action: cover.open_cover
      target: {entity_id: [cover.a, cover.b]}
    - action: climate.set_hvac_mode
      target: {entity_id: climate.a}
      data: {hvac_mode: off}
    - condition: state
      entity_id: light.a
      state: on
- id: '1678901234567'
  alias: Older
  initial_state: false
  trigger:
    platform: mqtt
    topic: zigbee2mqtt/+/action
    payload: single
  action:
    - ask: What is new?
      response_variable: news
""",
        PATH,
    )
    trigger = new.triggers[0]
    assert isinstance(trigger, StateTrigger)
    assert (new.id, trigger.before, trigger.to, trigger.stays) == ("front_door", ("off",), ("on",), 600)
    publish, light, covers, climate, must = new.actions
    assert isinstance(publish, Publish)
    assert isinstance(light, Command)
    assert isinstance(covers, Command)
    assert isinstance(climate, Command)
    assert (climate.command.action, dict(climate.command.values)) == ("set_mode", {"mode": "off"})
    assert isinstance(must, Must)
    assert (light.command.action, dict(light.command.values)) == ("turn_on", {"brightness": 10})
    assert (covers.command.action, covers.command.entity_id) == ("open", ("cover.a", "cover.b"))
    assert isinstance(old.triggers[0], MqttTrigger)
    assert (old.id, old.enabled, old.name) == ("1678901234567", False, "Older")
    assert isinstance(old.actions[0], Ask)


GOOD = """- id: a
  triggers:
    - trigger: mqtt
      topic: a/b
  actions:
    - ask: hello
"""


@pytest.mark.parametrize(
    "old, new, line, words",
    [
        ("topic: a/b", "topic: a/#/b", 4, "# for all the last"),
        ("topic: a/b", "topik: a/b", 3, "topic is missing"),
        ("topic: a/b", "topik: a/b", 4, "topik is not known here"),
        ("trigger: mqtt", "trigger: sun", 3, "is no trigger"),
        ("trigger: mqtt", "platform: sun", 3, "is no trigger"),
        ("topic: a/b", "topic: a/b\n      payload: on", 5, "payload should be in quotes"),
        (
            "mqtt\n",
            "state\n      entity_id: light.a\n      from: on\n      attribute: x\n",
            5,
            "from should be in quotes",
        ),
        (
            "id: a",
            "id: a\n  conditions: {condition: state, entity_id: a.b, state: [a, on], attribute: x}",
            2,
            "in quotes",
        ),
        ("ask: hello", 'ask: "{{ x"', 6, "template"),
        ("ask: hello", "ask: {prompt: hello, area: 1, langage: fr}", 6, "ask.langage is not known here"),
        ("ask: hello", "aks: hello", 6, "is no action"),
        ("ask: hello", "publish: {topic: a, payload: {b: ['{{ x']}}", 6, "template"),
        ("ask: hello", "command: {entity_id: light.a, action: explode}", 6, "one of turn_on"),
        ("ask: hello", "command: {entity_id: light.a, action: turn_off, values: {brightness: 1}}", 6, "takes none"),
        ("ask: hello", "command: {entity_id: light.a}", 6, "needs entity_id and action"),
        ("ask: hello", "delay: soon", 6, "a time: seconds"),
        ("ask: hello", "if: [{condition: moon}]\n      then: []", 6, "is no condition"),
        (
            "ask: hello",
            "choose:\n        - conditions: []\n          sequence:\n            - dance: 1",
            9,
            "no action",
        ),
        ("id: a", "id: A b", 1, "has the id 'A b'"),
        ("id: a", "id: a\n  mode: parallel", 2, "mode should be 'single', 'restart' or 'queued'"),
        ("id: a", "id: a\n  id: b", 2, "id stands here twice"),
        ("id: a", "id: a\n  cooldown: -1", 2, "cooldown should be greater"),
        ("id: a", f"id: a\n  cooldown: {{hours: 1.0e+308, days: {'9' * 400}}}", 2, "a time: seconds"),
        ("id: a", "id: a\n  trigger: {trigger: mqtt, topic: a}", 1, "has trigger and triggers"),
        ("id: a", "id: a\n  conditions: [{condition: time, after: 7:00}]", 2, "in quotes"),
        ("id: a", "id: a\n  variables: {a b: 1}", 2, "should match"),
        ("id: a", "id: [", 3, "is not YAML"),
        ("  actions:", "  \tactions:", 5, "is not YAML"),
        ("- id: a", "id: a\nx:\n- y: 1", 1, ""),
        ("id: a", "on: a", 1, "put it in quotes"),
    ],
)
def test_a_mistake_is_told_by_its_line(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(Mistakes) as caught:
        parse(GOOD.replace(old, new), PATH)
    assert any(mistake.line == line and words in mistake.message for mistake in caught.value.mistakes), (
        caught.value.message
    )


def test_several_mistakes_and_an_id_twice() -> None:
    with pytest.raises(Mistakes) as caught:
        parse(GOOD.replace("topic", "topik").replace("ask", "aks"), PATH)
    assert [mistake.line for mistake in caught.value.mistakes] == [3, 4, 6]
    with pytest.raises(Mistakes, match="line 7: the id a is that of line 1 too"):
        parse(GOOD + GOOD, PATH)


def test_no_file_and_one_that_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere.yaml") == ()
    assert parse("# nothing\n", PATH) == ()
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(Mistakes, match="cannot be read"):
        read(tmp_path / "a.yaml")
    with pytest.raises(Mistakes):
        parse("- &a [" + "*a, " * 3 + "]", PATH)
    with pytest.raises(Mistakes):
        parse("a: &a [1,1,1,1]\n" + "".join(f"k{n}: &k{n} [{f'*k{n - 1}, ' * 9}]\n" for n in range(1, 9)), PATH)


@pytest.mark.parametrize(
    "value", ["!!bool maybe", "!!int ''", "!!float ''", "!!timestamp x", "!!int 0x", "!!python/none", "[" * 3000]
)
def test_a_value_that_is_not_what_its_tag_says(value: str) -> None:
    with pytest.raises(Mistakes):
        parse(GOOD.replace("ask: hello", f"ask: {value}"), PATH)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "trigger",
                    "triggers",
                    "topic",
                    "actions",
                    "action",
                    "ask",
                    "if",
                    "then",
                    "choose",
                    "condition",
                    "id",
                    "command",
                    "data",
                    "target",
                    "values",
                    "entity_id",
                    "platform",
                    "not",
                    "conditions",
                    "publish",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_values)
def test_whatever_it_holds_it_is_read_or_refused(values: object) -> None:
    with suppress(Mistakes):
        parse(yaml.safe_dump([values]), PATH)
