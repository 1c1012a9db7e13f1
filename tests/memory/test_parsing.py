"""Documents to passages: every format, what cannot be read, and how text is cut."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
import zlib
from typing import Any

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.chunking import Block, clean, passages, sentences
from gateway.memory.parsing import Limits, UnreadableError, parse
from tests.papers import WORD, docx, paragraph, pdf, pdf_of

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


def bomb(name: str = "word/document.xml") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if name != "word/document.xml":
            archive.writestr("word/document.xml", f"<w:document {WORD}>{paragraph('Fine.')}</w:document>")
        with archive.open(name, "w") as part:
            for _ in range(80):
                part.write(b" " * 1024 * 1024)
    return out.getvalue()


def typed(entities: str, name: str = "word/document.xml") -> bytes:
    """A Word document one part of which declares entities, and makes use of `a`."""
    parts = {"word/document.xml": f"<w:document {WORD}>{paragraph('Fine.')}</w:document>"}
    parts[name] = f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><w:document {WORD}>{paragraph("&a;")}</w:document>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)
    return out.getvalue()


LAUGHS = (
    '<!ENTITY l0 "lol">' + "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12)) + '<!ENTITY a "&l12;">'
)


def page_of(content: bytes, *more: bytes, resources: bytes = b"") -> bytes:
    """A PDF of one page with this content; `more` objects are numbered from 5."""
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font "
            b"<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> %s >> >>" % resources,
            content,
            *more,
        ]
    )


def packed(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = zlib.compress(data, 9)
    filters = b" ".join([b"/FlateDecode"] * times)
    return b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (len(data), filters, data)


def endless_forms(depth: int = 30) -> bytes:
    """Each form draws the next one twice."""
    forms = [
        b"<< /Type /XObject /Subtype /Form /Length 11 /Resources << /XObject << /X %d 0 R >> >> >>\nstream\n"
        b"/X Do /X Do\nendstream" % (number + 6)
        for number in range(depth)
    ]
    last = b"<< /Type /XObject /Subtype /Form /Length 1 >>\nstream\n \nendstream"
    drawn = b"<< /Length 5 >>\nstream\n/X Do\nendstream"
    return page_of(drawn, *forms, last, resources=b"/XObject << /X 5 0 R >>")


def page_tree(levels: int) -> bytes:
    """Pages within pages; the last are those of the first."""
    nodes = [b"<< /Type /Pages /Count 1 /Kids [%d 0 R] >>" % (number + 3) for number in range(levels)]
    return pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"])


def aes_256() -> bytes:
    """Says that it is encrypted, as whatever makes PDFs says it today."""
    encryption = (
        b"<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /U <%s> /O <%s> /UE <%s> /OE <%s> /Perms <%s> "
        b"/CF << /StdCF << /CFM /AESV3 /AuthEvent /DocOpen /Length 32 >> >> /StmF /StdCF /StrF /StdCF >>"
        % (b"00" * 48, b"00" * 48, b"00" * 32, b"00" * 32, b"00" * 16)
    )
    return pdf_of(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 0 /Kids [] >>", encryption],
        b"/Encrypt 3 0 R /ID [<00> <00>] ",
    )


@pytest.mark.parametrize(
    "name,data,reason",
    [
        ("a.pdf", b"", "no whole PDF"),
        ("a.pdf", b"hello", "no whole PDF"),
        ("a.pdf", pdf(["Hello there."])[:200], "no whole PDF"),
        ("a.pdf", pdf(["Hello."], password="secret"), "encrypted"),
        ("a.pdf", pdf(["", " "]), "only pictures"),
        ("a.pdf", pdf(["x"] * 10_000), "has 10000 pages"),
        ("a.docx", b"PK hello", "no whole Word document"),
        ("a.docx", docx("x")[:300], "no whole Word document"),
        ("a.docx", docx("<w:p>" * 300 + "</w:p>" * 300), "nested too deeply"),
        ("a.docx", docx("<w:p>"), "no whole Word document"),
        ("a.docx", bomb(), "unpacks to more"),
        ("a.docx", bomb("word/styles.xml"), "unpacks to more"),
        ("a.docx", docx("<w:tbl><w:tr><w:tc>" * 100), "nested too deeply"),
        ("a.docx", docx(paragraph("A page.", before="<w:lastRenderedPageBreak/>") * 10_000), "more than 100 pages"),
        ("a.docx", typed('<!ENTITY a "b">'), "document type"),
        ("a.docx", typed(LAUGHS), "document type"),
        ("a.docx", typed(LAUGHS, "word/styles.xml"), "document type"),
        ("a.docx", typed('<!ENTITY a SYSTEM "file:///etc/passwd">'), "document type"),
        ("a.docx", docx(paragraph("&a;")), "no whole Word document"),
        ("a.pdf", page_of(packed(bytes(200_000_000))), "unpacks to more"),
        ("a.pdf", page_of(packed(bytes(200_000_000), times=2)), "unpacks to more"),
        ("a.pdf", endless_forms(), "only pictures"),
        ("a.pdf", page_tree(1), "no whole PDF"),
        ("a.pdf", page_tree(5000), "unpacks to more"),
        ("a.pdf", aes_256(), "encrypted with AES"),
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


def test_a_pdf_that_all_may_read_is_read_though_it_is_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many a manual may be read and not be changed: its password is empty for who reads it."""

    def encrypted(algorithm: str) -> bytes:
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Hello there."])))
        writer.encrypt("", "the maker's", algorithm=algorithm)
        out = io.BytesIO()
        writer.write(out)
        return out.getvalue()

    for algorithm in ("RC4-40", "RC4-128"):
        assert read("a.pdf", encrypted(algorithm))[1] == [["Hello there.", 1, None]]
    # What would encrypt it is not there either, and that it is garbage shows only once it is decrypted.
    monkeypatch.setattr("pypdf._encryption.CryptAES.encrypt", lambda self, data: data)
    with pytest.raises(UnreadableError, match="encrypted with AES; save it without encryption"):
        read("a.pdf", encrypted("AES-128"))


def test_entities_of_a_page_are_not_expanded() -> None:
    page = f"<!DOCTYPE html [{LAUGHS}]><html><body><p>Hello &a; there</p></body></html>"
    _, found = read("a.xhtml", page.encode())
    assert len(found) < 10
    assert any("Hello &a; there" in content for content, _, _ in found)


def test_deep_markup_is_only_text() -> None:
    assert read("a.html", b"<table><tr><td>" * 20_000 + b"deep")[1] == [["deep", None, None]]
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
