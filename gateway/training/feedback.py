"""Feedback: a score from 1 to 5 on a turn makes it training data."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import NotFound, StoreUnavailable
from gateway.shapes import INTERACTION_PREFIX, Scope
from gateway.store import training as rows
from gateway.store.epoch import EpochWatch
from gateway.store.journal import LOW_SCORE, Journal
from gateway.store.pool import Database

LOG = logging.getLogger(__name__)

OUR_TURN = re.compile(r"[0-9a-f]{32}")
JOURNAL_SECONDS = 2.0  # how long feedback waits for its turn to be stored


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where the feedback went: a new row, a row that was there, or (neither) the journal, until PostgreSQL is back."""

    created: bool
    stored: bool


class Feedback:
    """Records scores. A score of 2 or less takes the stored answer back: the database does so with the row (see
    `migrations/002_cache_generation.sql`), and this gateway looks at once."""

    def __init__(self, database: Database, journal: Journal, epoch: EpochWatch) -> None:
        self._database = database
        self._journal = journal
        self._epoch = epoch

    async def record(self, scope: Scope, interaction_id: str, score: int, comment: str | None) -> Recorded:
        """Makes or updates the training row of a turn; with PostgreSQL away it is taken down in the journal.

        Raises NotFound for a turn that the scope does not know, and JournalFull.
        """
        unknown = NotFound("There is no such interaction.", field="interaction_id")
        if not interaction_id.startswith(INTERACTION_PREFIX):
            raise unknown
        turn_id = interaction_id.removeprefix(INTERACTION_PREFIX)
        recorded = None
        if not self._journal.knows_turn(scope, turn_id) or await self._journal.flush(JOURNAL_SECONDS):
            try:
                async with self._database.scoped(scope) as connection:
                    row = await rows.upsert_feedback(connection, turn_id, score, comment)
                if row is None:
                    raise unknown
                recorded = Recorded(created=row[1], stored=True)
            except StoreUnavailable as error:
                # Whether there is such a turn will show when PostgreSQL is back; what cannot be one of ours is refused.
                if not OUR_TURN.fullmatch(turn_id):
                    raise unknown from error
                LOG.warning("feedback goes to the journal: %s", error.message)
        if recorded is None:
            self._journal.append(
                {
                    "kind": "feedback",
                    "household_id": scope.household_id,
                    "member_id": scope.member_id,
                    "turn_id": turn_id,
                    "score": score,
                    "comment": comment,
                    "at": datetime.now(UTC).isoformat(),
                }
            )
            recorded = Recorded(created=False, stored=False)
        if score <= LOW_SCORE:
            await self._epoch.refresh()
        return recorded
