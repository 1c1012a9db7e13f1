"""Markdown becomes speech, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.shapes import Delta, Finish, ToolCall
from gateway.turn.speech import LONGEST_WORD, Speech, speakable, spoken

CASES = [
    # marks inside a line
    ("**Bold**, *soft*, _soft_, __bold__, ***both*** and ~~gone~~.", "Bold, soft, soft, bold, both and gone."),
    ("Call `light.turn_on` with ``a `b` ``.", "Call light.turn_on with a b ."),
    ("It is 3 * 4, 3*4 or 2**3; snake_case stays, ~5 °C too.", "It is 3 * 4, 3*4 or 23; snake_case stays, ~5 °C too."),
    (r"Not \*bold\*, a \_name\_.", "Not *bold*, a _name_."),
    ("a<br>b, <b>c</b> and x < y > z", "a b, c and x < y > z"),
    # links
    ("See [the docs](https://example.com/a_(b)?c=d), please.", "See the docs, please."),
    ('See [the docs](https://example.com "A fine title").', "See the docs."),
    ("![A cat](cat.png) and [text][ref] and [cut](https://example.com and on", "A cat and text and cut and on"),
    (
        "It is so [1], see <https://www.example.org/x>, or https://example.com/a/b?c.",
        "It is so, see example.org, or example.com.",
    ),
    ("[Note]: brackets [alone] go.", "Note: brackets alone go."),
    # emoji
    ("Done ✅!", "Done!"),
    ("Hi 👋🏽 there 👨‍👩‍👧‍👦", "Hi there"),
    ("Super 🎉 !\n☀️ Sunny", "Super !\nSunny"),
    ("Bread🍞and 1️⃣ ©️", "Bread and 1 ©"),
    ("🇫🇷 France", "France"),
    # lists
    ("Buy:\n- milk 🥛\n* **eggs**\n  + two, three!\n• tea", "Buy:\nmilk.\neggs.\ntwo, three!\ntea"),
    ("1. First\n2) Second\n\nDone", "1. First.\n2) Second.\n\nDone"),
    ("- [x] Paid\n- [ ] Sent\n", "Paid.\nSent.\n"),
    # headings, quotations, rules
    ("# Title\n\nText\n### Next:\nMore", "Title.\n\nText\nNext:\nMore"),
    ("> Said\n>> twice\n>so", "Said\ntwice\nso"),
    ("One\n\n---\n\nTwo\n===\nThree", "One\n\nTwo\nThree"),
    ("#5 is -5 and # alone", "#5 is -5 and # alone"),
    # code
    ("Run:\n```bash\nls -l\n```\nDone", "Run:\nls -l\nDone"),
    ("```\nThe answer is 42.\n```", "The answer is 42."),
    ("```42```", "42"),
    ("~~~\nx\n~~~\n", "x"),
    # tables
    ("| Room | °C |\n|---|:-:|\n| Hall | 21 |\n| Bath | 24 |\n", "Room, °C.\nHall, 21.\nBath, 24."),
    ("|a|b|\n| --- | --- |\n|c d|e|\n\nSo.", "a, b.\nc d, e.\n\nSo."),
    ("Room | °C\n--- | ---\nHall | 21", "Room, °C.\nHall, 21"),
    # what is not spaced
    ("**重要**です。[日本](https://example.com)", "重要です。日本"),
    ("", ""),
    ("🙂", ""),
    ("  \n", "  \n"),
]


@pytest.mark.parametrize("written, said", CASES)
def test_what_is_said(written: str, said: str) -> None:
    assert speakable(written) == said


@pytest.mark.parametrize("said", [said for _, said in CASES if "*" not in said and " _" not in said])
def test_what_can_be_said_stays_as_it_is(said: str) -> None:
    assert speakable(said) == said


# Letters, marks and white space in the proportions that make marks meet.
markdown = st.lists(
    st.one_of(
        st.sampled_from("ab1 \n|*_-`#>[]()!.~\\<é重🙂"),
        st.sampled_from(
            ["**", "```", "\n- ", "\n| ", "](http://x.y/z) ", "https://a.b/c", "\n\n", "---", "👨‍👩‍👧", "<br>", ' "']
        ),
        st.text(max_size=3),
    ),
    max_size=40,
).map("".join)


@given(markdown, st.data())
def test_how_the_text_is_cut_never_shows(text: str, data: st.DataObject) -> None:
    speech, said, at = Speech(), "", 0
    while at < len(text):
        size = data.draw(st.integers(1, 8))
        said += speech.feed(text[at : at + size])
        at += size
    assert said + speech.end() == speakable(text)


plain_word = st.text(st.sampled_from("abcéłżàABC"), min_size=1, max_size=8)
plain_mark = st.sampled_from(["", ",", ".", "!", "?", " 21,5", " °C", "'s", "-5", " « x »", " 50%"])
plain_space = st.sampled_from([" ", "  ", "\n", "\u00a0"])
plain = st.lists(st.tuples(plain_word, plain_mark, plain_space)).map(
    lambda parts: "".join(word + mark + space for word, mark, space in parts)
)


@given(plain)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert speakable(text) == text


@given(plain)
def test_no_more_than_a_word_is_held_back(text: str) -> None:
    speech, said = Speech(), ""
    for at, letter in enumerate(text):
        said += speech.feed(letter)
        assert not text[len(said) : at + 1].strip() or len(text[len(said) : at + 1].split()) == 1


def test_a_word_without_an_end_is_let_go() -> None:
    assert len(Speech().feed("x" * (5 * LONGEST_WORD))) == 5 * LONGEST_WORD


async def test_a_stream_is_spoken_and_keeps_the_rest() -> None:
    call = ToolCall("HassTurnOn", {"name": "lamp"})

    async def deltas() -> AsyncGenerator[Delta, None]:
        yield Delta("**O")
        yield Delta(thinking="**hm**")
        yield Delta("K**, on")
        yield Delta(tool_calls=(call,))
        yield Delta("it")
        yield Delta("", finish=Finish("tool_calls"))

    assert [delta async for delta in spoken(deltas())] == [
        Delta(thinking="**hm**"),
        Delta("OK,"),
        Delta(" on", tool_calls=(call,)),
        Delta("it", finish=Finish("tool_calls")),
    ]
