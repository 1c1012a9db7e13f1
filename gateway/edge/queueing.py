"""Where a turn stands in the queue, for streaming clients that ask for it: `Prefer: queue-status` (RFC 7240).

The answer says `Preference-Applied: queue-status`, and while the turn waits its stream tells, in each edge's own wire,

    {"position": 2, "expected_seconds": 4.5}

whenever the position changes: 1 is the next, 0 has its place. Nobody else sees it. A turn that need not wait says
nothing of it, and keeps its status where it fails.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.shapes import Delta, QueuePlace, Reply

PREFERENCE = "queue-status"


def to_json(place: QueuePlace) -> dict[str, Any]:
    """The object that is told."""
    return {"position": place.position, "expected_seconds": place.expected_seconds}


class QueueStatus:
    """Whether one stream tells its client where its turn stands."""

    def __init__(self, request: web.Request) -> None:
        preferences = ",".join(request.headers.getall("Prefer", ())).split(",")
        self._wanted = any(one.partition(";")[0].partition("=")[0].strip().lower() == PREFERENCE for one in preferences)

    @property
    def headers(self) -> dict[str, str]:
        """The answer's header for who asked."""
        return {"Preference-Applied": PREFERENCE} if self._wanted else {}

    def hides(self, piece: Delta | Reply) -> bool:
        """Whether the client is not to see this piece of the answer."""
        return isinstance(piece, Delta) and piece.queue is not None and not self._wanted
