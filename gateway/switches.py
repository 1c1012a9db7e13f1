"""What the household switches off and on while the gateway runs. It holds until it is switched again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, get_args

import orjson

from gateway.errors import Unavailable

log = logging.getLogger(__name__)

Switch = Literal["cache", "learning"]
SWITCHES: tuple[Switch, ...] = get_args(Switch)


class Switches:
    """All on, but those that were switched off; kept in `file`.

    `cache` off: no answer comes from the response cache, and none is stored. `learning` off: a turn is answered and
    logged, and neither becomes training data nor is recalled when the past is asked about.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._off: set[Switch] = set()
        try:
            kept = orjson.loads(file.read_bytes())
            self._off = {name for name in SWITCHES if kept.get(name) is False}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError) as error:
            log.warning("what was switched off in the last run is not readable, so all is on: %s", error)

    @property
    def cache(self) -> bool:
        """Whether answers come from the response cache and go into it."""
        return "cache" not in self._off

    @property
    def learning(self) -> bool:
        """Whether turns become training data and part of the past that is recalled."""
        return "learning" not in self._off

    @property
    def off(self) -> tuple[Switch, ...]:
        """What is switched off."""
        return tuple(name for name in SWITCHES if name in self._off)

    def is_on(self, name: Switch) -> bool:
        """Whether that is on."""
        return name not in self._off

    def turn(self, name: Switch, *, on: bool) -> None:
        """Switches, from the next turn on. Raises Unavailable, and leaves all as it was, where that cannot be kept."""
        off = self._off - {name} if on else self._off | {name}
        making = self._file.with_suffix(".new")
        try:
            making.write_bytes(orjson.dumps({switch: switch not in off for switch in SWITCHES}))
            making.replace(self._file)
        except OSError as error:
            raise Unavailable(f"what is switched on and off cannot be kept in {self._file}: {error}") from error
        self._off = off
        log.info("%s is switched %s", name, "on" if on else "off")
