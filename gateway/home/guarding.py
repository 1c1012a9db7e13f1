"""What may be moved with an allowance or a confirmation only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from gateway.config import HomeSettings

GUARDED = frozenset({"lock", "cover", "alarm_control_panel", "valve", "script"})  # these can hurt or let somebody in
ALWAYS_SAFE = "stop"  # to stop what moves


class Guard:
    """Allowances and confirmations, by domains, names and ids."""

    def __init__(self, allowed: Iterable[str], confirm: Iterable[str], domains: frozenset[str] = GUARDED) -> None:
        """`domains` need a confirmation unless they, or a thing of theirs, are `allowed`."""
        self._domains = domains
        self._allowed = frozenset(one.casefold() for one in allowed)
        self._confirm = frozenset(one.casefold() for one in confirm)

    @classmethod
    def of(cls, settings: HomeSettings) -> Self:
        """As the settings have it for what the gateway does itself."""
        return cls(settings.allowed, settings.confirm)

    def holds(self, domain: str, names: Iterable[str]) -> bool:
        """Whether a thing of that domain, with these names and ids, needs a confirmation; without any, the domain."""
        known = {name.casefold() for name in names}
        if known & self._confirm or (domain in self._confirm and not known & self._allowed):
            return True
        return domain in self._domains and domain not in self._allowed and not known & self._allowed
