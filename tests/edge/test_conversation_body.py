"""What `/conversation` answers is what its documentation states, to the field."""

from __future__ import annotations

import orjson
import pytest

from gateway.edge.conversation import ConversationReply, to_body
from gateway.errors import QueueFull
from gateway.shapes import CacheOutcome, Reply, Source

PLAIN = Reply(
    turn_id="0a",
    conversation_id="c",
    text="In the yard. Shall I look?",
    language="en",
    model="m",
    cache=CacheOutcome("bypass", "state"),
    timings={"total": 1.5, "cache": 0.125},
)
SOURCES = (Source("knowledge", 7, "The bins are in the yard", 0.5), Source("preference", 8, "units: metric"))


@pytest.mark.parametrize(
    "reply",
    [
        PLAIN,
        Reply("0b", "c", "Yes.", "fr", "m", CacheOutcome("hit"), sources=SOURCES, degraded=("memory",)),
        Reply("0c", "c", "Done.", "pl", "m", CacheOutcome("miss"), intent="HassTurnOn"),
        Reply("0d", "c", "Too much.", "en", "m", CacheOutcome("miss"), finish="error", error=QueueFull("full")),
    ],
)
def test_every_field_is_one_that_is_stated(reply: Reply) -> None:
    body = to_body(reply)
    stated = ConversationReply.model_validate_json(orjson.dumps(body), extra="forbid")
    assert orjson.loads(stated.model_dump_json()) == orjson.loads(orjson.dumps(body))


def test_what_it_says() -> None:
    body = to_body(PLAIN)
    assert body["response"]["speech"]["plain"]["speech"] == PLAIN.text
    assert body["response"]["response_type"] == "query_answer"
    assert (body["continue_conversation"], body["cache"], body["interaction_id"]) == (True, "bypass:state", "conv_0a")
