"""The one door for text from the net."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from termmail.text import LINE_LIMIT, MARKS_LIMIT, safe_block, safe_line

FORBIDDEN_IN_LINES = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
FORBIDDEN_IN_BLOCKS = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
def test_no_line_holds_anything_that_moves_the_cursor_or_deceives(text: str) -> None:
    line = safe_line(text)
    assert not FORBIDDEN_IN_LINES.search(line)
    assert len(line) <= LINE_LIMIT


@given(ANY_TEXT)
def test_a_block_holds_no_control_but_the_end_of_line(text: str) -> None:
    assert not FORBIDDEN_IN_BLOCKS.search(safe_block(text))


@given(ANY_TEXT)
def test_the_door_may_be_passed_twice(text: str) -> None:
    assert safe_line(safe_line(text)) == safe_line(text)
    assert safe_block(safe_block(text)) == safe_block(text)


def test_every_code_point_is_safe_on_its_own_and_between_letters() -> None:
    for code in range(0x110000):
        assert not FORBIDDEN_IN_LINES.search(safe_line(f"a{chr(code)}b")), hex(code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Re: minutes", "Re: minutes"),
        ("\x1b]52;c;x\x07", "␛]52;c;x␇"),
        ("a\tb\r\nc", "a b c"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("\x9b31m", "\ufffd31m"),
        ("zero\u200bwidth", "zerowidth"),
        ("  padded  ", "padded"),
        ("日本語", "日本語"),
    ],
)
def test_lines_show_attempts_as_pictures_and_drop_what_is_invisible(text: str, shown: str) -> None:
    assert safe_line(text) == shown


def test_a_pile_of_marks_is_cut_to_what_letters_need() -> None:
    line = safe_line("z" + "\u0351\u036b" * 40)
    assert sum(bool(unicodedata.combining(c)) for c in line) == MARKS_LIMIT


def test_blocks_keep_lines_and_set_tabs() -> None:
    assert safe_block("a\r\n\tb\x00\n") == "a\n        b␀\n"
    assert safe_block("family \U0001f468\u200d\U0001f469") == "family \U0001f468\u200d\U0001f469"
