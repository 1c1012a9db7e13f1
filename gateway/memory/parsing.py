"""Documents to passages, in a process of its own: what a hostile file does, it does there, within limits.

`python -m gateway.memory.parsing FILE NAME LIMITS` writes the passages to standard output, a JSON array `[content,
page, heading]` a line, and at last how it went: `{"pages": 12, "passages": 340}`, or `{"reason": "is encrypted ..."}`.
LIMITS is a JSON object of the fields of `Limits`. Of the gateway nothing is loaded here but what cuts text.
"""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import logging
import os
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any, BinaryIO
from xml.parsers import expat

from gateway.memory.chunking import Block, clean, passages

MAX_UNPACKED = 64 * 1024 * 1024  # bytes of one part of an archive
MAX_CHARACTERS = 10_000_000  # of all passages: some 5,000 closely printed pages
MAX_DEPTH = 256  # of elements within each other
MAX_HEADINGS = 10_000  # of a PDF's outline
NICENESS = 10  # whoever speaks goes first
EXIT_DISK = 3  # the exit code where the disk is at fault, not the document
SAMPLE = 65_536  # characters from which the delimiter of a CSV is told


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a document may take. `size` and `overlap` are passages' characters, `seconds` are of processor time."""

    size: int
    overlap: int
    max_pages: int
    seconds: int
    megabytes: int


class UnreadableError(Exception):
    """Why a document cannot be read: the rest of a sentence that begins with its name."""


class Structure:
    """Collects blocks below their headings; a table's rows each with the table's head."""

    def __init__(self) -> None:
        self.page: int | None = None
        self._blocks: list[Block] = []
        self._headings: dict[int, str] = {}
        self._head: list[str] | None = None
        self._rows = 0

    def taken(self) -> list[Block]:
        """The blocks since the last call."""
        blocks, self._blocks = self._blocks, []
        return blocks

    def heading(self, level: int, text: str) -> None:
        """What follows stands below this heading, and those of lower level numbers before it."""
        text = " ".join(clean(text).split())
        self._headings = {above: words for above, words in self._headings.items() if above < level}
        if text and text not in self._headings.values():
            self._headings[level] = text

    def paragraph(self, text: str) -> None:
        """A paragraph; line breaks in it stay out."""
        if text := " ".join(clean(text).split()):
            self._blocks.append(Block(text, self.page, self._path()))

    def begin_table(self) -> None:
        """The next row is a head."""
        self._head, self._rows = None, 0

    def row(self, cells: Sequence[str]) -> None:
        """A row of the table that was begun."""
        cells = [" ".join(clean(cell).split()) for cell in cells]
        if not any(cells):
            return
        if self._head is None:
            self._head = cells
            return
        self._rows += 1
        text = "; ".join(
            f"{name}: {cell}" if name else cell
            for name, cell in itertools.zip_longest(self._head, cells, fillvalue="")
            if cell
        )
        self._blocks.append(Block(text, self.page, self._path(), whole=True))

    def end_table(self) -> None:
        """A table of one row is no more than a paragraph."""
        if self._head is not None and not self._rows:
            self.paragraph("; ".join(cell for cell in self._head if cell))
        self._head = None

    def _path(self) -> str:
        return " > ".join(self._headings[level] for level in sorted(self._headings))


# --- PDF --------------------------------------------------------------------------------------------------------------


def _pdf(file: BinaryIO, limits: Limits) -> Iterator[Block]:
    import pypdf
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError

    try:
        reader = pypdf.PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("is encrypted; save it without a password and try again")
        count = len(reader.pages)
        if count > limits.max_pages:
            raise UnreadableError(f"has {count} pages; at most {limits.max_pages} are read")
        headings = _outline(reader, count)
        found = False
        for number, page in enumerate(reader.pages, start=1):
            for paragraph in _paragraphs(page.extract_text()):
                found = True
                yield Block(paragraph, number, headings.get(number, ""))
        if not found:
            raise UnreadableError("holds no text, only pictures of pages; run a text recognition (OCR) over it first")
    except DependencyError as error:  # what decrypts AES is not among what the gateway needs, even where all may read
        raise UnreadableError("is encrypted with AES; save it without encryption and try again") from error
    except FileNotDecryptedError as error:
        raise UnreadableError("is encrypted; save it without a password and try again") from error
    except LimitReachedError as error:
        raise UnreadableError("unpacks to more than is allowed") from error
    except PyPdfError as error:
        raise UnreadableError(f"is no whole PDF ({_first_line(error)})") from error


def _outline(reader: Any, pages: int) -> dict[int, str]:
    """The heading that each page begins below, by the outline. A page with several begins below the first of them."""
    starts: dict[int, str] = {}

    def walk(entries: Sequence[Any], depth: int, above: tuple[str, ...]) -> None:
        within = above
        for entry in entries:
            if len(starts) > MAX_HEADINGS or depth > MAX_DEPTH:
                return
            if isinstance(entry, list):
                walk(entry, depth + 1, within)
                continue
            number = reader.get_destination_page_number(entry)
            within = (*above, " ".join(clean(str(entry.title)).split()))
            if number is not None and number >= 0:
                starts.setdefault(number + 1, " > ".join(title for title in within if title))

    # An outline is a convenience: a broken one is no reason to leave the text unread, whatever breaks in it.
    with suppress(Exception):
        walk(reader.outline, 0, ())
    headings, current = {}, ""
    for number in range(1, pages + 1):
        current = starts.get(number, current)
        headings[number] = current
    return headings


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a page: its lines joined, where they were broken by the width of the page alone."""
    lines = [" ".join(line.split()) for line in clean(text).split("\n")]
    widest = max(map(len, lines), default=0)
    paragraph = ""
    for line in lines:
        if paragraph.endswith("-") and line[:1].islower():
            paragraph = paragraph[:-1] + line
        else:
            paragraph += (" " if paragraph and line else "") + line
        # A line much shorter than the widest one was ended by whoever wrote it.
        if paragraph and len(line) < widest * 0.6 and not paragraph.endswith((",", "-")):
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph


# --- HTML and Markdown ------------------------------------------------------------------------------------------------

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SILENT = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "nav"})
_INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strong|sub|sup|time|tt|u|"
    "var|wbr"
).fullmatch
_IN_TABLES = frozenset({"table", "thead", "tbody", "tfoot", "tr", "td", "th"})


class _Html(HTMLParser):
    def __init__(self, structure: Structure) -> None:
        super().__init__(convert_charrefs=True)
        self._structure = structure
        self._text: list[str] = []
        self._silent: list[str] = []
        self._tables = 0
        self._row: list[str] | None = None
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the base's)
        if tag in _SILENT:
            self._silent.append(tag)
            if len(self._silent) > MAX_DEPTH:
                raise UnreadableError("is nested too deeply")
        elif tag == "br" or (self._row is not None and not _INLINE(tag) and tag not in _IN_TABLES):
            self._text.append(" ")
        elif tag == "table":
            self._tables += 1
            if self._tables == 1:
                self._flush()
                self._structure.begin_table()
        elif tag == "tr" and self._tables == 1:
            self._end_row()
            self._row = []
        elif tag in ("td", "th") and self._row is not None and self._tables == 1:
            self._end_cell()
            self._in_cell = True
        elif not _INLINE(tag) and self._row is None:
            self._flush()

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            if tag in self._silent:
                del self._silent[self._silent.index(tag) :]
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_row()
                self._structure.end_table()
        elif tag in ("td", "th") and self._tables == 1:
            self._end_cell()
        elif tag == "tr" and self._tables == 1:
            self._end_row()
        elif self._row is not None:
            self._text.append("" if _INLINE(tag) else " ")
        elif tag in _HEADINGS or tag == "title":
            words, self._text = "".join(self._text), []
            self._structure.heading(_HEADINGS.get(tag, 0), words)
        elif not _INLINE(tag):
            self._flush()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._text.append(data)

    def close(self) -> None:
        super().close()
        self._end_row()
        if self._tables:
            self._structure.end_table()
        self._flush()

    def _end_cell(self) -> None:
        words, self._text = "".join(self._text), []
        if self._row is not None and self._in_cell:
            self._row.append(words)  # an empty one too: the next stands below the next head
        self._in_cell = False

    def _end_row(self) -> None:
        if self._row is not None:
            self._end_cell()
            self._structure.row(self._row)
            self._row = None

    def _flush(self) -> None:
        words, self._text = "".join(self._text), []
        self._structure.paragraph(words)


def _html(file: BinaryIO, limits: Limits) -> Iterator[Block]:  # noqa: ARG001 (as the other readers)
    yield from _of_html(_decoded(file.read(), html=True))


def _markdown(file: BinaryIO, limits: Limits) -> Iterator[Block]:  # noqa: ARG001
    from markdown_it import MarkdownIt

    yield from _of_html(MarkdownIt("commonmark").enable("table").render(_decoded(file.read())))


def _of_html(text: str) -> Iterator[Block]:
    structure = Structure()
    parser = _Html(structure)
    for start in range(0, len(text), SAMPLE):
        parser.feed(text[start : start + SAMPLE])
        yield from structure.taken()
    parser.close()
    yield from structure.taken()


# --- plain text, CSV --------------------------------------------------------------------------------------------------


def _text(file: BinaryIO, limits: Limits) -> Iterator[Block]:
    pages = _decoded(file.read()).split("\f")
    if len(pages) > limits.max_pages:
        raise UnreadableError(f"has {len(pages)} pages; at most {limits.max_pages} are read")
    structure = Structure()
    for number, page in enumerate(pages, start=1):
        structure.page = number if len(pages) > 1 else None
        for paragraph in re.split(r"\n[ \t]*\n", page.replace("\r\n", "\n")):
            structure.paragraph(paragraph)
        yield from structure.taken()


def _csv(file: BinaryIO, limits: Limits) -> Iterator[Block]:  # noqa: ARG001
    text = _decoded(file.read())
    try:
        dialect: Any = csv.Sniffer().sniff(text[:SAMPLE], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column, or too few lines to tell
    structure = Structure()
    structure.begin_table()
    try:
        for row in csv.reader(io.StringIO(text, newline=""), dialect):
            structure.row(row)
            yield from structure.taken()
    except csv.Error as error:
        raise UnreadableError(f"is no CSV ({_first_line(error)})") from error
    structure.end_table()
    yield from structure.taken()


def _decoded(data: bytes, *, html: bool = False) -> str:
    """Text from its bytes: as its mark or its head says, else UTF-8, else Windows' Western or Central European."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        names = ["utf-16"]
    else:
        named = re.search(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{1,40})", data[:4096]) if html else None
        polish = re.search(rb"[a-z][\xb3\xb9\xbf][a-z]", data)  # ł, ą, ż within a word
        names = ["utf-8-sig", *([named[1].decode("ascii")] if named else []), "cp1250" if polish else "cp1252"]
    if b"\x00" in data[:SAMPLE] and names != ["utf-16"]:
        raise UnreadableError("is no text")
    for name in names:
        with suppress(UnicodeDecodeError, LookupError):
            return data.decode(name)
    return data.decode("utf-8", "replace")


# --- DOCX -------------------------------------------------------------------------------------------------------------

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main "


class _Docx:
    """Reads `word/document.xml` as it comes. Pages are those that Word last laid out, where it wrote them down."""

    def __init__(self, structure: Structure, levels: Mapping[str, int]) -> None:
        self._structure = structure
        self._levels = levels  # by a style's id: the level of a heading
        self._depth = 0
        self._tables = 0
        self._text: list[str] = []
        self._cell: list[str] = []
        self._row: list[str] = []
        self._level: int | None = None
        self._in_text = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError("is nested too deeply")
        match name.removeprefix(_WORD):
            case "t":
                self._in_text = True
            case "tab" | "br" | "cr":
                self._text.append(" ")
            case "lastRenderedPageBreak" if self._structure.page is not None:
                self._structure.page += 1
            case "pStyle":
                self._level = self._levels.get(attributes.get(_WORD + "val", ""))
            case "tbl":
                self._tables += 1
                if self._tables == 1:
                    self._structure.begin_table()

    def end(self, name: str) -> None:
        self._depth -= 1
        match name.removeprefix(_WORD):
            case "t":
                self._in_text = False
            case "p":
                words, self._text = "".join(self._text), []
                if self._tables:
                    self._cell.append(words)
                elif self._level is not None:
                    self._structure.heading(self._level, words)
                else:
                    self._structure.paragraph(words)
                self._level = None
            case "tc" if self._tables == 1:
                self._row.append(" ".join(self._cell))
                self._cell = []
            case "tr" if self._tables == 1:
                self._structure.row(self._row)
                self._row = []
            case "tbl":
                self._tables -= 1
                if not self._tables:
                    self._structure.end_table()

    def characters(self, words: str) -> None:
        if self._in_text:
            self._text.append(words)


def _docx(file: BinaryIO, limits: Limits) -> Iterator[Block]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if "word/document.xml" not in names:
                raise UnreadableError("is no Word document")
            text = _unpacked(archive, "word/document.xml")
            styles = _unpacked(archive, "word/styles.xml") if "word/styles.xml" in names else b""
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise UnreadableError(f"is no whole Word document ({_first_line(error)})") from error
    except RuntimeError as error:  # zipfile's word for an encrypted part
        raise UnreadableError("is encrypted; save it without a password and try again") from error
    structure = Structure()
    structure.page = 1 if b"lastRenderedPageBreak" in text else None
    reader = _Docx(structure, _levels(styles))
    for _ in _xml(text, reader.start, reader.end, reader.characters):
        yield from structure.taken()
        if (structure.page or 0) > limits.max_pages:
            raise UnreadableError(f"has more than {limits.max_pages} pages")


def _levels(styles: bytes) -> dict[str, int]:
    """The styles that are headings. A style's id is in the language of whoever wrote the document, its name is not."""
    levels: dict[str, int] = {}
    style = ""

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal style
        if name == _WORD + "style":
            style = attributes.get(_WORD + "styleId", "")
        elif name == _WORD + "name":
            value = attributes.get(_WORD + "val", "").lower()
            if match := re.fullmatch(r"heading ([1-9])", value):
                levels[style] = int(match[1])
            elif value == "title":
                levels[style] = 0

    for _ in _xml(styles, start, lambda _: None, lambda _: None) if styles else ():
        pass
    return levels


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as part:
        data = part.read(MAX_UNPACKED + 1)
    if len(data) > MAX_UNPACKED:
        raise UnreadableError("unpacks to more than is allowed")
    return data


def _xml(
    data: bytes,
    start: Callable[[str, Mapping[str, str]], None],
    end: Callable[[str], None],
    characters: Callable[[str], None],
) -> Iterator[None]:
    """Reads XML without a document type (so without entities of its own), a piece a step."""

    def refuse(*_: object) -> None:
        raise UnreadableError("declares a document type, which no Word document does")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        for at in range(0, len(data), SAMPLE):
            parser.Parse(data[at : at + SAMPLE], False)
            yield
        parser.Parse(b"", True)
        yield
    except expat.ExpatError as error:
        raise UnreadableError(f"is no whole Word document ({_first_line(error)})") from error


# --- the process ------------------------------------------------------------------------------------------------------

Reader = Callable[[BinaryIO, Limits], Iterator[Block]]

READERS: Mapping[str, Reader] = {
    ".pdf": _pdf,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".xhtml": _html,
    ".txt": _text,
    ".text": _text,
    ".docx": _docx,
    ".csv": _csv,
    ".tsv": _csv,
}
"""By the ending of a document's name."""


def reader_of(name: str) -> Reader | None:
    """Who reads a document of this name; None where nobody does."""
    return READERS.get(Path(name).suffix.lower())


def parse(file: BinaryIO, name: str, limits: Limits, out: IO[str]) -> dict[str, Any]:
    """Writes the passages of `file` to `out` and returns how many pages (None: it has none) and passages there are.

    Raises UnreadableError with the reason.
    """
    read = reader_of(name)
    if read is None:
        raise UnreadableError("is of a kind that is not read")
    pages: int | None = None

    def counted() -> Iterator[Block]:
        nonlocal pages
        for block in read(file, limits):
            pages = max(pages or 0, block.page) if block.page is not None else pages
            yield block

    count = characters = 0
    for passage in passages(counted(), size=limits.size, overlap=limits.overlap):
        count += 1
        characters += len(passage.content)
        if characters > MAX_CHARACTERS:
            raise UnreadableError(f"holds more than {MAX_CHARACTERS} characters of text")
        out.write(json.dumps([passage.content, passage.page, passage.heading], ensure_ascii=False) + "\n")
    if not count:
        raise UnreadableError("holds no text")
    return {"pages": pages, "passages": count}


def main(arguments: Sequence[str]) -> int:
    """The process: see the head of this file. The exit code is 0 where standard output says how it went."""
    path, name, given = arguments
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    limits = Limits(**json.loads(given))
    logging.disable()
    csv.field_size_limit(SAMPLE * 16)
    # Where a system knows a limit not at all, the time that the gateway waits still holds.
    with suppress(OSError, ValueError):
        os.nice(NICENESS)
        resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (limits.megabytes * 1024 * 1024,) * 2)
    try:
        with Path(path).open("rb") as file:
            said = parse(file, name, limits, out)
    except UnreadableError as error:
        said = {"reason": str(error)}
    except MemoryError:
        said = {"reason": f"needs more than {limits.megabytes} MB of memory to be read"}
    except RecursionError:
        said = {"reason": "is nested too deeply"}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            os._exit(EXIT_DISK)  # at once: whatever else would be written fails as well
        said = {"reason": f"is broken, or no {Path(name).suffix[1:].upper()} ({type(error).__name__})"}
    except Exception as error:  # noqa: BLE001 - the boundary: a file that no library foresaw ends like any broken one
        said = {"reason": f"is broken, or no {Path(name).suffix[1:].upper()} ({type(error).__name__})"}
    out.write(json.dumps(said))
    out.flush()
    return 0


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
