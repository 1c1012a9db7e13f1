"""The breaker of one model server: after failures in a row it is left alone, until it answers again."""

from __future__ import annotations

FAILURES = 3  # in a row, by which it opens
# How long a server that was left alone is given before it is tried again, in seconds; doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Breaker:
    """Counts failures. Closed, turns are given to the server; open, none are, and it is tried after each `pause`.

    A server that answers such a trial is given turns again; the first of them that fails opens the breaker anew.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.pause = FIRST_PAUSE
        self._failures = 0

    def succeeded(self) -> None:
        """A turn was answered whole."""
        self.is_open, self.pause, self._failures = False, FIRST_PAUSE, 0

    def failed(self) -> None:
        """A turn, or a trial, failed."""
        if self.is_open:
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
        self._failures += 1
        if self._failures >= FAILURES:
            self.is_open = True

    def answered(self) -> None:
        """A trial went well: half of what it takes to be trusted again."""
        if self.is_open:
            self.is_open = False
            self._failures = FAILURES - 1
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
