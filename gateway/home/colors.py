"""Colours, from how one is said or sent to how another is."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from typing import Any

Rgb = tuple[int, int, int]

# The names of CSS that people say for light.
NAMES: Mapping[str, str] = {
    "amber": "ffbf00", "aqua": "00ffff", "beige": "f5f5dc", "black": "000000", "blue": "0000ff", "brown": "a52a2a",
    "coral": "ff7f50", "crimson": "dc143c", "cyan": "00ffff", "fuchsia": "ff00ff", "gold": "ffd700",
    "gray": "808080", "green": "008000", "grey": "808080", "indigo": "4b0082", "ivory": "fffff0", "khaki": "f0e68c",
    "lavender": "e6e6fa", "lime": "00ff00", "magenta": "ff00ff", "maroon": "800000", "navy": "000080",
    "olive": "808000", "orange": "ffa500", "orchid": "da70d6", "pink": "ffc0cb", "plum": "dda0dd",
    "purple": "800080", "red": "ff0000", "salmon": "fa8072", "silver": "c0c0c0", "tan": "d2b48c", "teal": "008080",
    "tomato": "ff6347", "turquoise": "40e0d0", "violet": "ee82ee", "white": "ffffff", "yellow": "ffff00",
}  # fmt: skip


def rgb_of(said: Any) -> Rgb | None:
    """The colour of a name, of #rrggbb or of three numbers; None where it is none."""
    if isinstance(said, str):
        digits = NAMES.get(said.strip().lower().replace(" ", ""), said.strip().lstrip("#").lower())
        if re.fullmatch("[0-9a-f]{6}", digits):
            return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
        return None
    try:
        red, green, blue = (max(0, min(255, round(float(part)))) for part in said)
    except (TypeError, ValueError, OverflowError):
        return None
    return red, green, blue


def hs_of(rgb: Rgb) -> tuple[float, float]:
    """Hue (0 to 360) and saturation (0 to 100)."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(part / 255 for part in rgb))
    return round(hue * 360, 3), round(saturation * 100, 3)


def rgb_from_hs(hue: float, saturation: float) -> Rgb:
    """The colour at its full brightness."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, max(0.0, min(1.0, saturation / 100)), 1)
    return round(red * 255), round(green * 255), round(blue * 255)


# Between CIE 1931 and sRGB of the white point D65 (IEC 61966-2-1).
def xy_of(rgb: Rgb) -> tuple[float, float]:
    """The CIE 1931 coordinates; those of white where it is black."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (one / 255 for one in rgb)
    )
    x = 0.4124 * red + 0.3576 * green + 0.1805 * blue
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = 0.0193 * red + 0.1192 * green + 0.9505 * blue
    total = x + y + z
    return (round(x / total, 4), round(y / total, 4)) if total else (0.3127, 0.329)


def rgb_from_xy(x: float, y: float) -> Rgb:
    """The colour at its full brightness."""
    if y <= 0:
        return 0, 0, 0
    big_x, big_z = x / y, (1 - x - y) / y
    linear = [
        max(0.0, part)
        for part in (
            3.2406 * big_x - 1.5372 - 0.4986 * big_z,
            -0.9689 * big_x + 1.8758 + 0.0415 * big_z,
            0.0557 * big_x - 0.2040 + 1.0570 * big_z,
        )
    ]
    most = max(linear) or 1.0
    red, green, blue = (
        round(255 * (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055))
        for part in (one / most for one in linear)
    )
    return red, green, blue


def kelvin_of(mireds: float) -> int:
    """Kelvin of mireds, and mireds of kelvin: each is a million divided by the other."""
    return round(1_000_000 / mireds)
