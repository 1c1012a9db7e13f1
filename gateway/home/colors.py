"""Colours by name, as the intents package names them, and in the forms that devices tell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Those of CSS that people say; the intents package's own are all among them.
NAMES: Mapping[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "brown": (165, 42, 42),
    "pink": (255, 192, 203),
    "turquoise": (64, 224, 208),
    "aqua": (0, 255, 255),
    "aquamarine": (127, 255, 212),
    "beige": (245, 245, 220),
    "coral": (255, 127, 80),
    "crimson": (220, 20, 60),
    "cyan": (0, 255, 255),
    "fuchsia": (255, 0, 255),
    "gold": (255, 215, 0),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "indigo": (75, 0, 130),
    "ivory": (255, 255, 240),
    "khaki": (240, 230, 140),
    "lavender": (230, 230, 250),
    "lime": (0, 255, 0),
    "magenta": (255, 0, 255),
    "maroon": (128, 0, 0),
    "navy": (0, 0, 128),
    "olive": (128, 128, 0),
    "salmon": (250, 128, 114),
    "silver": (192, 192, 192),
    "skyblue": (135, 206, 235),
    "teal": (0, 128, 128),
    "tomato": (255, 99, 71),
    "violet": (238, 130, 238),
}
_HEX = re.compile(r"#?([0-9a-f]{6})", re.IGNORECASE)


def parse(value: Any) -> tuple[int, int, int] | None:
    """Red, green and blue (0 to 255) of a name, of #rrggbb or of three numbers; None of anything else."""
    if isinstance(value, str):
        name = re.sub(r"[\s_-]", "", value).casefold()
        if name in NAMES:
            return NAMES[name]
        if (digits := _HEX.fullmatch(value.strip())) is not None:
            red, green, blue = bytes.fromhex(digits[1])
            return red, green, blue
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    if any(isinstance(part, bool) or not isinstance(part, (int, float)) or not 0 <= part <= 255 for part in value):
        return None
    red, green, blue = (round(part) for part in value)
    return red, green, blue
