"""What may be moved with an allowance or a confirmation only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from gateway.config import HomeSettings
from gateway.home.speech.intents import GATED

GUARDED = GATED - {"scene"}  # these can hurt or let somebody in; a scene here is only its device's own
ALWAYS_SAFE = "stop"  # to stop what moves


class Guard:
    """The settings' allowances and confirmations, by domains, names and ids."""

    def __init__(self, allowed: Iterable[str], confirm: Iterable[str]) -> None:
        self._allowed = frozenset(one.casefold() for one in allowed)
        self._confirm = frozenset(one.casefold() for one in confirm)

    @classmethod
    def of(cls, settings: HomeSettings) -> Self:
        """As the settings have it."""
        return cls(settings.allowed, settings.confirm)

    def holds(self, domain: str, names: Iterable[str]) -> bool:
        """Whether a thing of that domain, with these names and ids, needs a confirmation."""
        known = {name.casefold() for name in names}
        if known & self._confirm or (domain in self._confirm and not known & self._allowed):
            return True
        return domain in GUARDED and domain not in self._allowed and not known & self._allowed
