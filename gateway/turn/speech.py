"""Markdown made speakable, while it streams: what a voice reads aloud has no asterisks, tables or smiling faces.

    speech = Speech()
    speech.feed("**Two** things:\\n- mi")  ->  "Two things:\\n"
    speech.feed("lk 🥛\\n- eggs")          ->  "milk.\\n"
    speech.end()                          ->  "eggs"

Text is looked at word by word, so no more than the word being written is held back, and how the text was cut into
pieces never shows. A mark that a language or a sum needs stays: `3 * 4`, `user_name`, `~5`, `21 °C`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from gateway.shapes import Delta

# A word without an end, such as a key in base64: it is let go in pieces of this length.
LONGEST_WORD = 1000

_EMOJI = (
    "\U0001f000-\U0001fbff"  # faces, things, flags, skin tones
    "\u2600-\u27bf"  # weather, check marks, dingbats
    "\u2b00-\u2bff\u23e9-\u23fa\u231a\u231b\u2328\u23cf"  # stars, player buttons, watches
    "\u25a0-\u25ff"  # squares and circles
    "\U000e0020-\U000e007f\ufe0f\u20e3"  # the invisible parts of flags and keycaps
)
# What is written without blanks between words: each of these characters may be let go by itself.
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60\u0e00-\u0eff\u1780-\u17ff]")
_PIECES = re.compile(r"\s+|\S+")
_MARKS = re.compile(
    r"""
      \\(?P<escaped>[!-/:-@\[-`{-~])
    | <?(?P<url>https?://[^\s<>|*`]*[^\s<>|*`.,;:!?'")\]}])>?
    | (?P<line_break><br\s*/?>)
    | </?(?:b|strong|i|em|u|s|p|ul|ol|li|code|pre|sub|sup|hr|div|span|small|mark|kbd|h[1-6])\s*/?>
    | !?\[(?:\^?\d{1,3}\](?:\([^()\s]*\))?)?             # a link or image begins; [1] and [^1] are references, unsaid
    | \](?:\((?:[^()\s]|\([^()\s]*\))*\)|\[[^\[\]\s]*\]|(?P<cut_target>\([^()\s]*$))?
    | (?P<stars>\*+)
    | (?P<underscores>_+)
    | `+
    | ~~+
    | (?P<emoji>[EMOJI](?:\u200d?[EMOJI])*)
    """.replace("EMOJI", _EMOJI),
    re.VERBOSE,
)
_BULLETS = frozenset("-*+•◦▪‣●○■⁃")
_HEADING = re.compile(r"#{1,6}")
_NUMBERED = re.compile(r"\d{1,3}[.)]")
_FENCE = re.compile(r"(?:`{3,}|~{3,})[\w+#.-]*")
_RULE = re.compile(r"(?=.*(?:--|==|\*\*|__|-\||\|-))[-=*_|:+]{3,}")
_RULE_CELL = re.compile(r":?-+:?")
_CHECKBOX = re.compile(r"\[[xX]?\]")
_ENDED = frozenset(".!?…,;:。！？、，；：")
_BEHIND_A_WORD = frozenset(".!?…,;:)")

Line = Literal["text", "marked", "row"]
"""What the line being written is: prose, a heading or list item (which ends like a sentence), or a table's row."""


class Speech:
    """The filter for one answer. `feed` takes text as it comes and returns what can be said already; `end` the rest."""

    def __init__(self) -> None:
        self._word = ""
        self._gap = ""  # white space that was not let go yet
        self._gap_is_ours = False  # something was left out there: it need not be said at the end
        self._line: Line = "text"
        self._at_line_start = True
        self._after_bullet = False
        self._cell_ended = False
        self._in_title = False
        self._last = ""  # the last character let go

    def feed(self, text: str) -> str:
        """Takes the next piece; returns what is to be said of all that came so far and was not returned yet."""
        said: list[str] = []
        for piece in _PIECES.findall(text):
            if piece.isspace():
                said.append(self._finish_word(piece[0]))
                self._take_gap(piece, said)
            else:
                self._take_letters(piece, said)
        return "".join(said)

    def end(self) -> str:
        """Returns what was still held back."""
        said = self._finish_word("")
        if not self._gap_is_ours:
            said += self._gap
        self._gap = ""
        return said

    def _take_letters(self, letters: str, said: list[str]) -> None:
        for letter in letters:
            self._word += letter
            if len(self._word) >= LONGEST_WORD or _UNSPACED.match(letter):
                said.append(self._finish_word("x"))

    def _take_gap(self, gap: str, said: list[str]) -> None:
        for space in gap:
            if space in "\r\n" and not self._at_line_start:
                said.append(self._end_line())
            self._gap += space

    def _end_line(self) -> str:
        end = "." if self._line != "text" and self._last and self._last not in _ENDED else ""
        self._line, self._at_line_start = "text", True
        self._after_bullet = self._cell_ended = self._in_title = False
        self._last = end or self._last
        return end

    # --- a word

    def _finish_word(self, after: str) -> str:
        """What is said of the word held; `after` is the character behind it (nothing at the end)."""
        word, self._word = self._word, ""
        if not word:
            return ""
        before = self._gap[-1:] or self._last or " "
        if self._in_title:
            self._in_title = ")" not in word
            word = word.partition(")")[2]
        if self._at_line_start and self._begins_line(word, after):
            return self._leave_out(at_line_start=True)
        word = word.lstrip(">") if self._at_line_start else word
        self._at_line_start = False
        if self._after_bullet and _CHECKBOX.fullmatch(word):
            word = ""
        self._after_bullet = False
        return self._say(word, before, after or " ")

    def _begins_line(self, word: str, after: str) -> bool:
        """Whether the word is a line's opening mark, not to be said; notes what line it opens."""
        followed = after not in ("", "\n", "\r")
        if _FENCE.fullmatch(word):
            return not followed or not word.strip("`~")
        if _RULE.fullmatch(word) or set(word) == {">"}:
            return True
        if word.startswith("|"):
            self._line = "row"
            return word == "|"
        if followed and (word in _BULLETS or _HEADING.fullmatch(word)):
            self._line, self._after_bullet = "marked", True
            return True
        if followed and _NUMBERED.fullmatch(word):
            self._line = "marked"
        return False

    def _say(self, word: str, before: str, after: str) -> str:
        """The word without its marks, with the white space before it; cells of a table become a list."""
        cells = word.split("|") if self._line == "row" or word == "|" else [word]
        said = ""
        for position, cell in enumerate(cells):
            if position:
                self._cell_ended = True
            if self._line == "row" and _RULE_CELL.fullmatch(cell):
                continue
            if clean := self._without_marks(cell, before if not position else "|", after):
                said += self._let_go(clean, marks_first=not cell.startswith(clean[0]))
        return said or self._leave_out()

    def _let_go(self, clean: str, *, marks_first: bool) -> str:
        if self._cell_ended:
            self._cell_ended = False
            if self._last and "\n" not in self._gap:
                self._gap = " " if self._last in _ENDED else ", "
        elif clean[0] in _BEHIND_A_WORD and (marks_first or self._gap_is_ours) and self._gap == " " == clean[:0] + " ":
            self._gap = "" if marks_first else self._gap
        said = self._gap + clean
        self._gap, self._gap_is_ours, self._last = "", False, clean[-1]
        return said

    def _leave_out(self, *, at_line_start: bool = False) -> str:
        """A word that is not said: of the white space around it one side is kept."""
        self._gap = self._gap[: self._gap.rfind("\n") + 1] if at_line_start else self._gap
        self._gap_is_ours = True
        return ""

    def _without_marks(self, word: str, before: str, after: str) -> str:
        def said(mark: re.Match[str]) -> str:
            left = word[mark.start() - 1] if mark.start() else before
            right = word[mark.end()] if mark.end() < len(word) else after
            match mark.lastgroup:
                case "escaped":
                    return mark["escaped"]
                case "url":
                    return _host(mark["url"])
                case "line_break":
                    return " "
                case "cut_target":
                    self._in_title = True
                    return ""
                case "stars":
                    sum_ = left.isdigit() and right.isdigit()
                    return "*" if mark["stars"] == "*" and (sum_ or (left.isspace() and right.isspace())) else ""
                case "underscores":
                    inside = left.isalnum() and right.isalnum()
                    alone = mark["underscores"] == "_" and left.isspace() and right.isspace()
                    return mark["underscores"] if inside or alone else ""
                case _:
                    return ""

        return _MARKS.sub(said, word)


def speakable(text: str) -> str:
    """The whole of `text`, made speakable."""
    speech = Speech()
    return speech.feed(text) + speech.end()


async def spoken(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The same answer with its text made speakable. A tool call or the end lets go of what was held back."""
    speech = Speech()
    async with aclosing(deltas):
        async for delta in deltas:
            content = speech.feed(delta.content)
            if delta.finish is not None or delta.tool_calls:
                content += speech.end()
            if content or delta.thinking or delta.tool_calls or delta.finish is not None:
                yield replace(delta, content=content)


def _host(url: str) -> str:
    """Of an address a listener wants to hear where it leads, not every letter."""
    return url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].removeprefix("www.")
