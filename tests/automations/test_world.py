"""What automations say: whether it was done."""

from __future__ import annotations

import pytest

from gateway.automations.world import Assistant, InEarnest
from gateway.errors import GatewayError, NotFound, Unavailable
from gateway.shapes import CacheOutcome, Reply, Scope, Turn


@pytest.mark.parametrize(
    "intent, verdicts, fails",
    [
        ("HassTurnOn", ["done", "already"], None),
        ("HassTurnOn", ["done", "no_answer"], Unavailable),
        ("HassTurnOn", [], Unavailable),  # asked whether it should, or could not
        ("home.undo", [], Unavailable),
        ("home.undo", ["done"], None),
        ("home.not_understood", [], NotFound),
        (None, [], NotFound),
        ("HassGetState", [], None),
        ("memory.remember", [], None),
    ],
)
async def test_a_sentence_is_done_or_fails(
    intent: str | None, verdicts: list[str], fails: type[GatewayError] | None
) -> None:
    async def ask(turn: Turn) -> Reply:
        actions = tuple({"thing": "light.a", "action": "turn_on", "verdict": verdict} for verdict in verdicts)
        return Reply(turn.id, "c", "Words.", "en", "m", CacheOutcome("miss"), intent=intent, actions=actions)

    assistant = Assistant(Scope(1), None, None, None, ask, None, None, lambda: None)  # type: ignore[arg-type]
    said = InEarnest(assistant, "a").say("Turn on the light", language=None, area=None)
    if fails is None:
        assert (await said).text == "Words."
    else:
        with pytest.raises(fails):
            await said
