"""The one door for text from the net: `safe_line` and `safe_block` make `SafeText`.

Everything that a sender or a server wrote passes here once, after all decoding and before
anything else sees it.  Controls are shown as control pictures, not dropped, so that an attempt
stays visible.  What only serves to deceive (bidi overrides, invisible characters, tags) goes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NewType

SafeText = NewType("SafeText", str)
"""The only text that a widget accepts."""

LINE_LIMIT = 1000  # characters of a header, a file name, a server's words
MARKS_LIMIT = 8  # combining marks on one base (security.md, row 3)

_INVISIBLE = [
    0x00AD,
    0x061C,
    0x115F,
    0x1160,
    0x180E,
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0x3164,
    *range(0xFE00, 0xFE10),
    0xFEFF,
    0xFFA0,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
    *range(0xE0100, 0xE01F0),
]
_Table = dict[int, int | str | None]
_PICTURES: _Table = {code: 0x2400 + code for code in range(0x20)}
_UNKNOWN: _Table = dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
_CONTROLS: _Table = _PICTURES | {0x7F: 0x2421} | _UNKNOWN
_SPACES: _Table = dict.fromkeys((0x09, 0x0A, 0x0D, 0x85, 0x2028, 0x2029), " ")
_NOTHING: _Table = dict.fromkeys(_INVISIBLE)
_LINE = _CONTROLS | _NOTHING | _SPACES
_JOINERS = (0x200C, 0x200D, 0xFE0E, 0xFE0F)  # shape letters and emoji; they hide nothing in a body
_ENDS: _Table = {0x0A: "\n", 0x0D: None, 0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
_BLOCK = {code: to for code, to in (_CONTROLS | _NOTHING | _ENDS).items() if code not in _JOINERS}
_RUN_OF_MARKS = re.compile(
    r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    rf"\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{{{MARKS_LIMIT + 1},}}"
)
_BLANKS = re.compile(r"  +")


def safe_line(text: str, limit: int = LINE_LIMIT) -> SafeText:
    """One line for a cell, a title or a message: white space folded, at most `limit` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable() and "  " not in text:
        return SafeText(text.strip())
    text = unicodedata.normalize("NFC", text[: 4 * limit]).translate(_LINE)
    text = _BLANKS.sub(" ", _RUN_OF_MARKS.sub(lambda m: m[0][:MARKS_LIMIT], text)).strip()
    return SafeText(text if len(text) <= limit else text[: limit - 1] + "…")


def safe_block(text: str) -> SafeText:
    """Text of several lines, ends of line as "\\n", tabs as blanks to the next multiple of 8."""
    if "\t" in text:
        text = "\n".join(line.expandtabs(8) for line in text.replace("\r\n", "\n").split("\n"))
    if text.isascii() and text.replace("\n", "").isprintable():
        return SafeText(text)
    text = unicodedata.normalize("NFC", text).translate(_BLOCK)
    return SafeText(_RUN_OF_MARKS.sub(lambda m: m[0][:MARKS_LIMIT], text))
