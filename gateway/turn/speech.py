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
from collections.abc import AsyncGenerator, Iterator
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
_UNSAID = re.compile(rf"[{_EMOJI}]|\[\^?\d{{1,3}}\]")
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
        self._gap_before: str | None = None  # the same, on the other side of words that were left out
        self._line: Line = "text"
        self._at_line_start = True
        self._after_bullet = False
        self._cell_ended = False
        self._title: Literal["none", "expected", "inside"] = "none"
        self._last = ""  # the last character let go

    def feed(self, text: str) -> str:
        """Takes the next piece; returns what is to be said of all that came so far and was not returned yet."""
        said: list[str] = []
        for piece in _PIECES.findall(text):
            if piece.isspace():
                said.append(self._finish_word(piece[0]))
                said.append(self._take_gap(piece))
            else:
                said += self._take_letters(piece)
        return "".join(said)

    def end(self) -> str:
        """Returns what was still held back."""
        said = self._finish_word("")
        if self._gap_before is None:
            said += self._gap
        self._gap, self._gap_before = "", None
        return said

    def _take_letters(self, letters: str) -> Iterator[str]:
        for letter in letters:
            self._word += letter
            if len(self._word) >= LONGEST_WORD or _UNSPACED.match(letter):
                yield self._finish_word(letter)

    def _take_gap(self, gap: str) -> str:
        end = ""
        if not self._at_line_start and ("\n" in gap or "\r" in gap):
            end = "." if self._line != "text" and self._last and self._last not in _ENDED else ""
            self._last = end or self._last
            self._line, self._at_line_start = "text", True
            self._after_bullet = self._cell_ended = False
            self._title = "none"
        self._gap += gap
        return end

    # --- a word

    def _finish_word(self, after: str) -> str:
        """What is said of the word held; `after` is the character behind it (nothing at the end)."""
        word, self._word = self._word, ""
        if not word:
            return ""
        if self._title != "none":
            word = self._leave_title_out(word)
        if self._at_line_start:
            if self._opens_line(word, after):
                before = self._join_gaps()
                self._gap, self._gap_before = "", before[: before.rfind("\n") + 1]
                return ""
            word = word.lstrip(">")
            self._at_line_start = False
        if self._after_bullet and _CHECKBOX.fullmatch(word):
            word = ""
        self._after_bullet = False
        if said := self._say(word, after or " "):
            return said
        self._gap, self._gap_before = "", self._join_gaps()
        return ""

    def _leave_title_out(self, word: str) -> str:
        """A link's title stands between its address and its closing bracket; returns what follows the bracket."""
        if self._title == "expected" and word[0] not in "\"'(":
            self._title = "none"
            return word
        _, bracket, rest = word.partition(")")
        self._title = "none" if bracket else "inside"
        self._gap = ""
        return rest

    def _opens_line(self, word: str, after: str) -> bool:
        """Whether the word is a line's opening mark, not to be said; notes what line it opens."""
        followed = after not in ("", "\n", "\r")
        if _FENCE.fullmatch(word):
            return not followed or not word.strip("`~")
        if _RULE.fullmatch(word) or set(word) == {">"}:
            return True
        if word.startswith("|"):
            self._line = "row"
        elif followed and (word in _BULLETS or _HEADING.fullmatch(word)):
            self._line, self._after_bullet = "marked", True
            return True
        elif followed and _NUMBERED.fullmatch(word):
            self._line = "marked"
        return False

    def _say(self, word: str, after: str) -> str:
        """The word without its marks, with the white space before it; cells of a table become a list."""
        said = ""
        row = self._line == "row"
        for position, cell in enumerate(word.split("|") if row or word == "|" else [word]):
            if position:
                self._cell_ended = True
            if row and _RULE_CELL.fullmatch(cell):
                continue
            before = "|" if position else (self._join_gaps() or self._last or " ")[-1]
            if clean := self._without_marks(cell, before, after):
                said += self._let_go(clean, unsaid_first=_UNSAID.match(cell) is not None)
        return said

    def _let_go(self, clean: str, *, unsaid_first: bool) -> str:
        gap = self._join_gaps()
        if self._cell_ended and self._last and "\n" not in gap:
            gap = " " if self._last in _ENDED else ", "
        elif unsaid_first and clean[0] in _BEHIND_A_WORD and "\n" not in gap:
            gap = ""
        self._cell_ended = False
        self._gap, self._gap_before, self._last = "", None, clean[-1]
        return gap + clean

    def _join_gaps(self) -> str:
        """Of the white space on both sides of what was left out, the side that parts more."""
        before, behind = self._gap_before, self._gap
        if before is None:
            return behind
        if not self._last:
            return ""
        return behind if not before or behind.count("\n") > before.count("\n") else before

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
                    self._title = "expected"
                    return ""
                case "stars":
                    product = left.isdigit() and right.isdigit()
                    return "*" if mark["stars"] == "*" and (product or (left + right).isspace()) else ""
                case "underscores":
                    inside = left.isalnum() and right.isalnum()
                    return mark["underscores"] if inside or (left + mark["underscores"] + right) == " _ " else ""
                case "emoji":
                    return " " if left.isalnum() and right.isalnum() else ""
                case _:
                    return ""

        return _MARKS.sub(said, word)


def speakable(text: str) -> str:
    """The whole of `text`, made speakable."""
    speech = Speech()
    return speech.feed(text) + speech.end()


async def spoken(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The same answer with its text made speakable; closes `deltas`.

    What was held back is let go before a tool call and at the end.
    """
    speech = Speech()
    async with aclosing(deltas):
        async for delta in deltas:
            if delta.queue is not None:
                yield delta
                continue
            content = speech.feed(delta.content)
            if delta.finish is not None or delta.tool_calls:
                content += speech.end()
            if content or delta.thinking or delta.tool_calls or delta.finish is not None:
                yield replace(delta, content=content)


def _host(url: str) -> str:
    """Of an address a listener wants to hear where it leads, not every letter."""
    return url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].removeprefix("www.")
