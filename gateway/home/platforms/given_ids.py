"""The ids that were given to discovered things, kept in the data folder: of two with the same name, each has its own
after a restart too, whichever is told first then."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

LONGEST_KEY = 500
_ID = re.compile(r"[a-z_]+\.[a-z0-9_]+")


def load(path: Path) -> dict[str, str]:
    """What was kept: ids by discovery's Description.key. Nothing where there is no such file, or it is not readable."""
    try:
        kept = orjson.loads(path.read_bytes())
        if not isinstance(kept, dict):
            raise TypeError("it is no JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        log.warning("the ids of the home's things are given anew: %s is not readable: %s", path, error)
        return {}
    return {key: thing_id for key, thing_id in kept.items() if isinstance(thing_id, str) and _ID.fullmatch(thing_id)}


def save(path: Path, ids: Mapping[str, str]) -> None:
    """Keeps them. Raises OSError, and leaves what was kept as it was."""
    making = path.with_suffix(".new")
    making.write_bytes(orjson.dumps({key: ids[key] for key in ids if len(key) <= LONGEST_KEY}))
    making.replace(path)
