"""Documents to passages: every format, what cannot be read, and how text is cut."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.chunking import Block, clean, passages, sentences
from gateway.memory.parsing import Limits, UnreadableError, parse
from tests.papers import WORD, docx, paragraph, pdf

LIMITS = Limits(size=500, overlap=50, max_pages=100, seconds=30, megabytes=512)
HEADED = "<w:tr><w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc></w:tr>"


def read(name: str, data: bytes, limits: Limits = LIMITS) -> tuple[dict[str, Any], list[list[Any]]]:
    out = io.StringIO()
    said = parse(io.BytesIO(data), name, limits, out)
    return said, [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_pdf_has_pages_and_headings() -> None:
    data = pdf(
        ["Welcome to your dishwasher.", "Turn the filter to the left and lift it out, then rinse\nit under the tap."],
        headings=[("Welcome", 1), ("Cleaning the filter", 2)],
    )
    said, found = read("manual.PDF", data)
    assert said == {"pages": 2, "passages": 2}
    assert found == [
        ["Welcome\nWelcome to your dishwasher.", 1, "Welcome"],
        [
            "Cleaning the filter\nTurn the filter to the left and lift it out, then rinse it under the tap.",
            2,
            "Cleaning the filter",
        ],
    ]


def test_markdown_has_headings_and_tables() -> None:
    text = """# Oven
Heats *quickly*, and `evenly`.

## Programmes
| Number | For | Minutes |
|---|---|---|
| 1 | Cake | 40 |
| 2 |  | 20 |

- Never open it.
- Keep it clean.
"""
    _, found = read("oven.md", text.encode())
    assert found == [
        ["Oven\nHeats quickly, and evenly.", None, "Oven"],
        ["Oven > Programmes\nNumber: 1; For: Cake; Minutes: 40", None, "Oven > Programmes"],
        ["Oven > Programmes\nNumber: 2; Minutes: 20", None, "Oven > Programmes"],
        ["Oven > Programmes\nNever open it.\nKeep it clean.", None, "Oven > Programmes"],
    ]


def test_html_keeps_what_is_read_and_nothing_else() -> None:
    page = """<!doctype html><html><head><title>Caf&eacute;</title><style>p {}</style></head><body>
    <nav>Home About</nav><script>alert("<p>no</p>")</script>
    <h1>Opening</h1><p>On <b>Mon</b>day<br>from nine.<p>Closed at noon.
    <table><tr><th>Day<th>Hours</tr><tr><td>Sunday<td></td></tr><tr><td>Monday<td>9 to 5 <b>sharp</b></table>
    <table><tr><td>alone</td></tr></table></body>"""
    _, found = read("cafe.html", page.encode())
    assert found == [
        ["Café > Opening\nOn Monday from nine.\nClosed at noon.", None, "Café > Opening"],
        ["Café > Opening\nDay: Sunday", None, "Café > Opening"],
        ["Café > Opening\nDay: Monday; Hours: 9 to 5 sharp", None, "Café > Opening"],
        ["Café > Opening\nalone", None, "Café > Opening"],
    ]


def test_a_word_document_has_headings_pages_and_tables() -> None:
    body = (
        paragraph("Pralka", "Nagwek1")
        + paragraph("Filtr jest z przodu.")
        + paragraph("Czyść go co miesiąc.", before="<w:lastRenderedPageBreak/>")
        + f"<w:tbl>{HEADED.format('Program', 'Czas')}{HEADED.format('Wełna', '40 min')}</w:tbl>"
    )
    said, found = read("pralka.docx", docx(body))
    assert said == {"pages": 2, "passages": 2}
    assert found == [
        ["Pralka\nFiltr jest z przodu.\nCzyść go co miesiąc.", 1, "Pralka"],
        ["Pralka\nProgram: Wełna; Czas: 40 min", 2, "Pralka"],
    ]
    assert read("x.docx", docx(paragraph("No pages known.")))[1] == [["No pages known.", None, None]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_has_a_passage_a_row(delimiter: str) -> None:
    rows = [["device", "model", "bought"], ["oven", "X 200", "2021"], ["fridge", "", "2019"]]
    _, found = read("things.csv", "\r\n".join(delimiter.join(row) for row in rows).encode())
    assert [content for content, _, _ in found] == [
        "device: oven; model: X 200; bought: 2021",
        "device: fridge; bought: 2019",
    ]


@pytest.mark.parametrize(
    "data",
    [
        "Żółta łódź płynie.".encode(),
        "\ufeffŻółta łódź płynie.".encode(),
        "Żółta łódź płynie.".encode("utf-16"),
        "Żółta łódź płynie.".encode("cp1250"),
    ],
)
def test_text_in_the_encodings_there_are(data: bytes) -> None:
    assert read("a.txt", data)[1] == [["Żółta łódź płynie.", None, None]]
    assert read("a.txt", "Élève, très cœur.".encode("cp1252"))[1] == [["Élève, très cœur.", None, None]]


def test_text_may_have_pages() -> None:
    said, found = read("a.txt", b"One.\n\nTwo.\fThree.")
    assert said == {"pages": 2, "passages": 1}
    assert found == [["One.\nTwo.\nThree.", 1, None]]


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as part:
        for _ in range(80):
            part.write(b" " * 1024 * 1024)
    return out.getvalue()


def typed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", f'<!DOCTYPE x [<!ENTITY a "b">]><w:document {WORD}>&a;</w:document>')
    return out.getvalue()


@pytest.mark.parametrize(
    "name,data,reason",
    [
        ("a.pdf", b"", "no whole PDF"),
        ("a.pdf", b"hello", "no whole PDF"),
        ("a.pdf", pdf(["Hello there."])[:200], "no whole PDF"),
        ("a.pdf", pdf(["Hello."], password="secret"), "encrypted"),
        ("a.pdf", pdf(["", " "]), "only pictures"),
        ("a.pdf", pdf(["x"] * 101), "has 101 pages"),
        ("a.docx", b"PK hello", "no whole Word document"),
        ("a.docx", docx("x")[:300], "no whole Word document"),
        ("a.docx", docx("<w:p>" * 300 + "</w:p>" * 300), "nested too deeply"),
        ("a.docx", docx("<w:p>"), "no whole Word document"),
        ("a.docx", bomb(), "unpacks to more"),
        ("a.docx", typed(), "document type"),
        ("a.txt", b" \n\n ", "no text"),
        ("a.txt", b"\x89PNG\x00\x00", "no text"),
        ("a.txt", b"a\f" * 200, "has 201 pages"),
        ("a.html", b"<script>x</script>", "no text"),
        ("a.html", b"<svg>" * 100_000, "nested too deeply"),
        ("a.exe", b"MZ", "a kind that is not read"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read(name, data)


def test_deep_markup_is_only_text() -> None:
    assert read("a.html", b"<div>" * 50_000 + b"deep")[1] == [["deep", None, None]]
    with pytest.raises(UnreadableError, match="no text"):
        read("a.md", b"> " * 5_000 + b"deep")


# --- cutting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,count",
    [
        ("It is on. It is off! Is it? Yes.", 4),
        ("Ask Dr. Brown at no. 5 about fig. 3. He knows.", 2),
        ("1. Open the door. 2. Close it.", 2),
        ("Il pèse 3.5 kg. Élevé ? Non.", 3),
        ("Np. lampa przy ul. Długiej świeci. Łatwo ją zgasić.", 2),
        ("See section 3. then go on", 1),
        ('He said "stop." Then he left.', 2),
        ("", 0),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentences(text)) == count
    assert " ".join(sentences(text)) == text


def test_passages_overlap_below_the_same_heading_only() -> None:
    words = [f"Sentence number {number} says something of its own." for number in range(40)]
    found = list(passages([Block(" ".join(words), 3, "A"), Block("Other.", 4, "B")], size=500, overlap=50))
    assert found[-1].content == "B\nOther."
    assert found[-1].page == 4
    bodies = [passage.content.removeprefix("A\n") for passage in found[:-1]]
    assert len(bodies) > 3
    for before, after in itertools.pairwise(bodies):
        assert after[:20] in before[-50:]
    for word in words:
        assert any(word in body for body in bodies)


@given(
    st.lists(
        st.builds(
            Block, st.text(max_size=300).map(clean), st.just(1), st.sampled_from(["", "H", "h" * 400]), st.booleans()
        )
    ),
    st.integers(100, 600),
    st.integers(0, 50),
)
def test_no_passage_is_too_long_and_no_character_is_lost(blocks: list[Block], size: int, overlap: int) -> None:
    found = list(passages(blocks, size=size, overlap=overlap))
    assert all(0 < len(passage.content) <= size for passage in found)
    if overlap == 0:
        bodies = "".join(
            passage.content.removeprefix(f"{passage.heading}\n" if passage.heading else "") for passage in found
        )
        assert "".join(bodies.split()) == "".join("".join(block.text for block in blocks).split())


@pytest.mark.parametrize(
    "dirty,words",
    [("of\u00adfice \ufb01lter", "office filter"), ("a\x00b\x07", "ab"), ("\ud800x", "?x"), ("e\u0301", "é")],
)
def test_clean(dirty: str, words: str) -> None:
    assert clean(dirty) == words
