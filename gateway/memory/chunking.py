"""Text with its structure, cut into passages: of whole sentences, below their headings, a table's rows one by one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.shapes import Passage

# After these a point ends no sentence; nor does it after a single letter, or after a number that a sentence begins with
# ("1. Open the door").
ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "abb al approx art bd bzw ca cf ch dr e.g ed ex fig i.e inc itp jr m max min mme mr mrs ms n.b nb no np nr p "
        "pkt pl pp prof ref resp rys s sec sr st str tab tel tj ul vol vs z.b",
    )
)
_SENTENCE_END = re.compile(r"""(?:[.!?…]["'”’»)\]]*\s+(?!\W*[a-zà-ÿąćęłńśźż])|[。！？]\s*)""")
_SPACES = re.compile(r"[ \t\r\f\v\u00a0\u2000-\u200a\u202f\u3000]+")
# Ligatures of typesetting, and what shows no character.
_TYPOGRAPHY = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00ad": "", "\u200b": "", "\ufeff": "", "\x00": ""}
)


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, or a row of a table (`whole`: a passage by itself). `heading` is the path of headings over it."""

    text: str
    page: int | None = None
    heading: str = ""
    whole: bool = False


def clean(text: str) -> str:
    """The text as it can be kept and found: composed, without ligatures, control characters and lone surrogates."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).translate(_TYPOGRAPHY)
    text = "".join(character for character in text if character >= " " or character in "\n\t\r\f\v")
    return _SPACES.sub(" ", text).strip()


def passages(blocks: Iterable[Block], *, size: int, overlap: int) -> Iterator[Passage]:
    """Cuts into passages of at most `size` characters, heading included, each in the order of the document.

    Sentences stay whole unless one alone is longer. A passage begins with up to `overlap` characters (whole words) of
    the one before it, where both stand below the same heading.
    """
    under: _Under | None = None
    for block in blocks:
        heading = _shortened(block.heading, size // 3)
        if under is not None and (block.whole or under.heading != heading):
            yield from under.rest()
            under = None
        if block.whole:
            yield from _Under(heading, size, 0).add(block, ending=True)
            continue
        if under is None:
            under = _Under(heading, size, overlap)
        yield from under.add(block)
    if under is not None:
        yield from under.rest()


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, in English, French, Polish and most that write alike."""
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        before = text[start : end.start()].rsplit(None, 1)
        word = before[-1].lower().strip("(\"'«„“") if before else ""
        numbered = len(before) == 1 and word.isdigit()
        if end.group().startswith(".") and (numbered or word in ABBREVIATIONS or (len(word) == 1 and word.isalpha())):
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


class _Under:
    """What stands below one heading, as it fills passages."""

    def __init__(self, heading: str, size: int, overlap: int) -> None:
        self.heading = heading
        self._room = size - (len(heading) + 1 if heading else 0)
        self._overlap = overlap
        self._text = ""
        self._page: int | None = None
        self._new = False  # whether there is more than the overlap

    def add(self, block: Block, *, ending: bool = False) -> Iterator[Passage]:
        between = "\n" if self._text else ""
        for sentence in sentences(block.text):
            for piece in _pieces(sentence, self._room):
                if self._new and len(self._text) + len(between) + len(piece) > self._room:
                    yield self._passage()
                    self._text, between = _last_words(self._text, self._overlap), " "
                    self._new = False
                if not self._new:
                    self._page = block.page
                    if len(self._text) + len(between) + len(piece) > self._room:
                        self._text = ""
                self._text += (between if self._text else "") + piece
                self._new, between = True, " "
        if ending:
            yield from self.rest()

    def rest(self) -> Iterator[Passage]:
        if self._new:
            yield self._passage()
            self._text, self._new = "", False

    def _passage(self) -> Passage:
        content = f"{self.heading}\n{self._text}" if self.heading else self._text
        return Passage(content, self._page, self.heading or None)


def _pieces(sentence: str, room: int) -> Iterator[str]:
    """The sentence, or where it is longer than `room` its parts, cut between words where there are any."""
    while len(sentence) > room:
        cut = sentence.rfind(" ", room // 2, room + 1)
        cut = cut if cut > 0 else room
        yield sentence[:cut].rstrip()
        sentence = sentence[cut:].lstrip()
    if sentence:
        yield sentence


def _last_words(text: str, most: int) -> str:
    if most <= 0:
        return ""
    if len(text) <= most:
        return text
    cut = text.find(" ", len(text) - most - 1)
    return text[cut + 1 :] if cut >= 0 else ""


def _shortened(heading: str, most: int) -> str:
    return heading if len(heading) <= most else heading[: most - 1].rstrip() + "…"
