"""What happened: what was said, what the home did and what its sensors saw, for questions about the past."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from gateway.memory.measurements import Measurements
from gateway.memory.selection import Candidate
from gateway.memory.spans import Span, asks_about_past, past_span
from gateway.shapes import Scope, Source
from gateway.store import conversations
from gateway.store.conversations import PastTurn
from gateway.store.pool import Database

CANDIDATES = 10
MIN_SHARE = 0.5  # of a question's words, by their weight, that a turn must have to have to do with it
LONGEST = 300  # characters of what was said by either side

# How one asks for what was said. What is left is what it was about.
_ASKING = re.compile(
    r"\b(?:what|when|where|why|how|which|who|did|do|does|have|has|had|i|we|you|me|us|my|say|said|tell|told|ask|asked|asking|talk|talked|talking|"
    r"mention|mentioned|discuss|discussed|answer|answered|reply|replied|remember|about|again|the|a|an|of|to|was|were|it|that|is|on|in|"
    r"qu'est-ce|qu'est|est-ce|que|qu|quoi|quand|o[ùu]|comment|pourquoi|ai-je|j'ai|ai|as-tu|tu|t'ai|t'ai-je|m'as|m'as-tu|as|avons-nous|avons|nous|on|a|dit|"
    r"demand[ée]|parl[ée]|racont[ée]|r[ée]pondu|ce|je|de|du|des|la|le|les|sur|[àa]|propos|au|sujet|"
    r"co|kiedy|gdzie|jak|dlaczego|czy|m[óo]wi(?:[łl](?:em|am|e[śs]|a[śs])|li[śs]my)|powiedzia(?:[łl](?:em|am|e[śs]|a[śs]))|pyta(?:[łl](?:em|am|e[śs]|a[śs]))|"
    r"rozmawiali[śs]my|ci|mi|tobie|mnie|o|na|temat|w|z|si[ęe])\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w{2,}")


class Past:
    """Finds what happened. Nothing that came from here may be cached."""

    def __init__(self, database: Database, measurements: Measurements, is_question: Callable[[str], bool]) -> None:
        """`is_question` tells whether an utterance asks something."""
        self._database = database
        self._is_question = is_question
        self._measurements = measurements

    async def __call__(
        self,
        scope: Scope,
        utterance: str,
        *,
        language: str,
        now: datetime,
        conversation_id: str | None,
        called: Mapping[str, Sequence[str]],
    ) -> list[Candidate]:
        """What of the past belongs to `utterance`, best first; nothing unless it asks about the past.

        `now` is aware, in the household's zone. What was said in the conversation `conversation_id` is left out: it
        stands before the model anyway. `called` is what things of the home are called, by their ids. Raises
        StoreUnavailable.
        """
        if not asks_about_past(utterance, language):
            return []
        span = past_span(utterance, language, now)
        seen, said = await asyncio.gather(
            self._measurements.recall(scope, utterance, language, now, names=called),
            self._said(scope, utterance, span, language, conversation_id),
        )
        found = [Candidate(source, 1.0 if source.score is None else min(1.0, source.score)) for source in seen]
        return sorted([*found, *said], key=lambda candidate: -candidate.usefulness)[:CANDIDATES]

    async def _said(
        self, scope: Scope, utterance: str, span: Span | None, language: str, conversation_id: str | None
    ) -> list[Candidate]:
        about = utterance.replace(span.words, " ") if span is not None else utterance
        about = " ".join(_WORD.findall(_ASKING.sub(" ", about)))
        since, until = (span.since, span.until) if span is not None else (None, None)
        async with self._database.scoped(scope) as connection:
            if about:
                found = await conversations.matching(
                    connection,
                    question=about,
                    since=since,
                    until=until,
                    but_session=conversation_id,
                    limit=2 * CANDIDATES,
                )
            elif span is not None:
                turns = await conversations.between(
                    connection,
                    since=span.since,
                    until=span.until,
                    but_session=conversation_id,
                    limit=CANDIDATES,
                )
                found = [(turn, MIN_SHARE) for turn in turns]
            else:
                found = []
        return [
            Candidate(_source(turn, share), share)
            for turn, share in found
            # A question like this one has all of its words, and tells nothing.
            if share >= MIN_SHARE and not (asks_about_past(turn.user, language) and self._is_question(turn.user))
        ][:CANDIDATES]


def _source(turn: PastTurn, share: float) -> Source:
    text = f'said: "{_short(turn.user)}"'
    if turn.assistant:
        text += f'; answered: "{_short(turn.assistant)}"'
    return Source("conversation", turn.id, text, round(share, 4), turn.at, "conversation")


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
