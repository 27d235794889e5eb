"""What the terminal shows, cell by cell, and the bytes that make it show something else.

A frame is what Textual writes for a change: style, text, position.  `Screen` reads it into rows of cells and
sends the difference: changed runs of cells, and where a block of lines has moved a scroll of the terminal's own
(DECSTBM with SU or SD).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from rich.cells import split_graphemes

from termmail.ui.sgr import erasable, ground_of, switch

_TOKEN = re.compile(
    r"([^\x00-\x1f\x7f-\x9f]+)"  # 1 text
    r"|\x1b\[([0-9;:]*)m"  # 2 style
    r"|\x1b\[(\d+);(\d+)H"  # 3, 4 position
    r"|(\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\))"  # 5 hyperlink
    r"|(\n)"  # 6
    r"|(\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x1f\x7f-\x9f])",  # 7 not ours
    re.S,
)
_LONG_BLANK = re.compile(r" {11,}")  # shorter runs are sent as they are
_GAP = 4  # unchanged cells that are cheaper to send again than to skip
_GROUP_FROM = 8  # pieces from which to try whether another order saves styles
_SCROLL_FROM = 400  # characters of output from which a scroll is looked for
_LINE = 30  # characters that a changed line takes at least, nearly always
_BLANKS = re.compile(" +")


class Row:
    """One line of the terminal: characters and styles by cell.

    A wide character stands in its first cell, "" in its second; None is what is not known.  A blank has only
    what shows of its style.  `odd`: it holds clusters whose width terminals disagree on, so it is always sent whole.
    """

    __slots__ = ("chars", "odd", "styles")

    def __init__(self, width: int, fill: str | None = " ") -> None:
        self.chars: list[str | None] = [fill] * width
        self.styles: list[str] = [""] * width
        self.odd = False

    def copy(self) -> Row:
        """A row of its own with the same content."""
        row = Row.__new__(Row)
        row.chars, row.styles, row.odd = self.chars[:], self.styles[:], self.odd
        return row

    def same(self, other: Row) -> bool:
        """They look the same."""
        return self.chars == other.chars and self.styles == other.styles


class Piece(NamedTuple):
    """Cells of one line in one style, to be sent."""

    y: int
    start: int
    stop: int
    style: str
    text: str


class Screen:
    """What the terminal shows, and how to make it show something else with few bytes."""

    def __init__(self) -> None:
        self.width = 0
        self.rows: list[Row] = []
        self.cursor = (0, 0)
        self.dropped = 0  # sequences that were kept from the terminal
        self._ahead: dict[int, Row] = {}  # rows as they will be after the slides that were told
        self._slid: tuple[int, int, int] | None = None

    def forget(self, width: int, height: int) -> None:
        """Nothing is known of the terminal any more."""
        self.width, self.rows = width, [Row(width, None) for _ in range(height)]
        self._ahead, self._slid = {}, None

    def slide(self, x: int, y: int, width: int, height: int, lines: int) -> bool:
        """What stands in this region moves up by `lines` (down if negative) before the next frame is shown.

        The frame has to bring the lines that the move uncovers.  False: not possible, it has to bring all.
        """
        if x < 0 or y < 0 or x + width > self.width or y + height > len(self.rows) or abs(lines) >= height:
            return False
        rows = [self._ahead.get(n) or self.rows[n] for n in range(y, y + height)]
        whole = width == self.width
        for n, row in enumerate(rows):
            if not 0 <= n + lines < height:
                continue
            source = rows[n + lines]
            moved = self._ahead[y + n] = source.copy() if whole else row.copy()
            if not whole:
                moved.chars[x : x + width] = source.chars[x : x + width]
                moved.styles[x : x + width] = source.styles[x : x + width]
                moved.odd = row.odd or source.odd
        top, bottom, before = self._slid or (y, y + height - 1, 0)
        self._slid = (top, bottom, before + lines) if (top, bottom) == (y, y + height - 1) else None
        return True

    def update(self, frame: str) -> str | None:
        """The bytes that have the effect of a frame; None if the frame is not understood."""
        dropped = self.dropped
        slid = self._slid if self._slid and 0 < abs(self._slid[2]) < len(self.rows) else None
        told = bool(self._ahead)
        wanted = self._read(frame)
        self._ahead, self._slid = {}, None
        if wanted is None:
            return None
        best, rows, final = "", self.rows, wanted
        if slid:
            best, rows, final = self._after_scroll(slid, wanted)
        if not slid or len(best) > _LINE * sum(row.chars != self.rows[y].chars for y, row in wanted.items()):
            plain = self._write(self.rows, wanted)
            if not slid or len(plain) < len(best):
                best, rows, final = plain, self.rows, wanted
            if not slid and len(best) > _SCROLL_FROM and (move := self._moved(wanted)):
                attempt = self._after_scroll(move, wanted)
                if len(attempt[0]) < len(best):
                    best, rows, final = attempt
        if not told and len(frame) < len(best) and self.dropped == dropped:
            best, rows, final = frame, self.rows, wanted
        for y, row in final.items():
            rows[y] = row
        self.rows = rows
        y, x = self.cursor
        return f"{best}\x1b[{y + 1};{x + 1}H"

    def _after_scroll(
        self, move: tuple[int, int, int], wanted: dict[int, Row]
    ) -> tuple[str, list[Row], dict[int, Row]]:
        """(bytes, rows of the terminal, rows to be written) if the terminal scrolls first."""
        everything = {**dict(enumerate(self.rows[move[0] : move[1] + 1], move[0])), **wanted}
        shifted, prefix = self._scrolled(*move)
        return prefix + self._write(shifted, everything), shifted, everything

    # -- reading a frame -----------------------------------------------------------

    def _read(self, frame: str) -> dict[int, Row] | None:
        """The rows that a frame writes to, as they will be."""
        wanted = dict(self._ahead)
        x = y = at = 0
        style, row = "", None
        touched: set[int] = set()
        while at < len(frame):
            match = _TOKEN.match(frame, at)
            if match is None:
                return None
            at = match.end()
            kind = match.lastindex
            if kind == 1:
                if row is None:
                    if not 0 <= y < len(self.rows):
                        return None
                    row = wanted.get(y)
                    if row is None:
                        row = wanted[y] = self.rows[y].copy()
                if not match[1].isascii():
                    touched.add(y)
                x = self._put(row, x, match[1], style)
            elif kind == 2:
                link = style.partition("\x1b")[2]
                sgr = "" if match[2] in ("", "0") else match[2]
                style = f"{sgr}\x1b{link}" if link else sgr
            elif kind == 4:
                y, x, row = int(match[3]) - 1, int(match[4]) - 1, None
            elif kind == 5:
                url, sgr = match[5][1:].rstrip("\x07").removesuffix("\x1b\\"), style.partition("\x1b")[0]
                style = sgr if url.startswith("]8;;") and len(url) == 4 else f"{sgr}\x1b{url}"
            elif kind == 6:
                y, row = y + 1, None
            else:
                self.dropped += 1
        for number, one in wanted.items():
            if one.odd or number in touched:
                one.odd = any(c is not None and (len(c) > 1 or c >= "\U0001f000") for c in one.chars)
        self.cursor = (min(max(y, 0), len(self.rows) - 1), x)
        return wanted

    def _put(self, row: Row, x: int, text: str, style: str) -> int:
        """Write text into a row; the column behind it."""
        if text.isascii():
            size = max(0, min(len(text), self.width - x))
            row.chars[x : x + size] = text[:size]
            row.styles[x : x + size] = [style] * size
            if " " in text and (ground := ground_of(style)) != style:
                for blanks in _BLANKS.finditer(text, 0, size):
                    low, high = blanks.span()
                    row.styles[x + low : x + high] = [ground] * (high - low)
            return x + size
        for first, last, size in split_graphemes(text)[0]:
            cluster = text[first:last]
            if size == 0:
                if x and row.chars[x - 1] is not None:
                    row.chars[x - 1] = f"{row.chars[x - 1]}{cluster}"
            elif x + size <= self.width:
                row.chars[x], row.styles[x] = cluster, style if cluster != " " else ground_of(style)
                if size == 2:
                    row.chars[x + 1], row.styles[x + 1] = "", style
                x += size
        return x

    # -- writing the difference -------------------------------------------------------

    def _write(self, old: list[Row], new: dict[int, Row]) -> str:
        """What turns the old rows into the new ones: row by row or style by style, whichever is shorter."""
        pieces: list[Piece] = []
        whole = set()
        for y in sorted(new):
            row, was = new[y], old[y]
            if row.odd or was.odd:
                whole.add(y)
            if not row.same(was):
                _cut(pieces, y, was, row, whole=y in whole)
        by_row = self._emit(pieces)
        if len(pieces) < _GROUP_FROM:
            return by_row
        rank = {style: n for n, style in enumerate(dict.fromkeys(piece.style for piece in pieces))}
        pieces.sort(key=lambda piece: -1 if piece.y in whole else rank[piece.style])
        by_style = self._emit(pieces)
        return by_style if len(by_style) < len(by_row) else by_row

    def _emit(self, pieces: list[Piece]) -> str:
        """The pieces in their order, with the moves and styles between them."""
        out: list[str] = []
        at: tuple[int, int] | None = None  # where the terminal's cursor is
        sure = False  # terminals agree on that
        style = ""
        for y, start, stop, wanted, text in pieces:
            if at != (y, start):
                move = _go(at, y, start, sure=sure)
                sure = sure or move[-1] in "HG\r"
                out.append(move)
            bare = text.rstrip(" ")
            if wanted != style and (bare or ground_of(style) != wanted):
                out.append(switch(style, wanted))
                style = wanted
            sure = sure and text.isascii()
            blanks = len(text) - len(bare)
            if erasable(wanted):
                text, end = _LONG_BLANK.sub(_skip, bare), "K" if stop == self.width else f"{blanks}X"
                if blanks > 1 + len(end):
                    out.append(f"{text}\x1b[{end}")
                    at = (y, stop - blanks)
                    continue
                text += " " * blanks
            out.append(text)
            at = (y, stop) if stop < self.width else None
        if style:
            out.append(switch(style, ""))
        return "".join(out)

    # -- scrolling ------------------------------------------------------------------------

    def _moved(self, new: dict[int, Row]) -> tuple[int, int, int] | None:
        """(top, bottom, lines): the block of rows whose text has moved up by `lines` (down if negative)."""
        changed = [y for y, row in new.items() if row.chars != self.rows[y].chars]
        if len(changed) < 4 or any(None in self.rows[y].chars for y in changed):
            return None
        low, high = self.width, 0  # only the columns that changed: another pane may stand beside
        for y in changed[:8]:
            differs = [x for x in range(self.width) if new[y].chars[x] != self.rows[y].chars[x]]
            low, high = min(low, differs[0]), max(high, differs[-1] + 1)

        def key(row: Row) -> str:
            return "".join(char or "" for char in row.chars[low:high])

        where: dict[str, list[int]] = {}
        for y, row in enumerate(self.rows):
            if None not in row.chars:
                where.setdefault(key(row), []).append(y)
        keys = {y: key(new[y]) for y in changed}
        votes = Counter(src - y for y in changed if keys[y].strip() for src in where.get(keys[y], ()) if src != y)
        if not votes:
            return None
        lines, count = votes.most_common(1)[0]
        if count < max(3, len(changed) // 3):
            return None
        hits = [y for y in changed if y + lines in where.get(keys[y], ())]
        top = max(0, min(hits) + min(lines, 0))
        bottom = min(len(self.rows) - 1, max(hits) + max(lines, 0))
        if any(None in row.chars for row in self.rows[top : bottom + 1]):
            return None
        return top, bottom, lines

    def _scrolled(self, top: int, bottom: int, lines: int) -> tuple[list[Row], str]:
        """The rows after a scroll of a region, and the sequence that does it."""
        block = self.rows[top : bottom + 1]
        blank = [Row(self.width) for _ in range(min(abs(lines), len(block)))]
        block = block[lines:] + blank if lines > 0 else blank + block[:lines]
        rows = self.rows[:top] + block + self.rows[bottom + 1 :]
        return rows, f"\x1b[{top + 1};{bottom + 1}r\x1b[{abs(lines)}{'S' if lines > 0 else 'T'}\x1b[r"


def _cut(pieces: list[Piece], y: int, was: Row, row: Row, *, whole: bool) -> None:
    """Add the pieces of a row that have to be sent; blanks go with what stands beside them on the same ground."""
    for start, stop in _known(row) if whole or None in row.chars else _changed(was, row):
        x = start
        while x < stop:
            style, end = row.styles[x], x + 1
            while end < stop and row.styles[end] == style:
                end += 1
            text, first = "".join(char or "" for char in row.chars[x:end]), x
            blank = not text.strip(" ")
            last = pieces[-1] if pieces else None
            if last is not None and last.y == y and last.stop == x:
                if blank and ground_of(last.style) == style:
                    style = last.style
                if style == last.style or (not last.text.strip(" ") and ground_of(style) == last.style):
                    text, first = last.text + text, last.start
                    del pieces[-1]
            same = row.chars[x:end] == was.chars[x:end] and row.styles[x:end] == was.styles[x:end]
            if first < x or blank or whole or not same:  # else it would want a style of its own, to change nothing
                pieces.append(Piece(y, first, end, style, text))
            x = end


def _known(row: Row) -> list[tuple[int, int]]:
    """The ranges of cells whose content is known."""
    return _ranges([x for x, char in enumerate(row.chars) if char is not None], 0)


def _changed(was: Row, row: Row) -> list[tuple[int, int]]:
    """The ranges of cells to send, small gaps closed, wide characters whole."""
    differs = [
        x
        for x, (a, b, c, d) in enumerate(zip(was.chars, row.chars, was.styles, row.styles, strict=True))
        if a != b or c != d
    ]
    out = []
    for start, stop in _ranges(differs, _GAP):
        low, high = start, stop
        for chars in (was.chars, row.chars):
            while low and chars[low] == "":
                low -= 1
            while high < len(chars) and chars[high] == "":
                high += 1
        out.append((low, high))
    return out


def _ranges(cells: list[int], gap: int) -> list[tuple[int, int]]:
    """Cells as (start, stop), those at most `gap` apart together."""
    out: list[tuple[int, int]] = []
    for x in cells:
        if out and x - out[-1][1] <= gap:
            out[-1] = (out[-1][0], x + 1)
        else:
            out.append((x, x + 1))
    return out


def _skip(match: re.Match[str]) -> str:
    """Blanks by ECH and CUF: the terminal fills them with the ground that is on."""
    size = len(match[0])
    return f"\x1b[{size}X\x1b[{size}C"


def _go(at: tuple[int, int] | None, y: int, x: int, *, sure: bool) -> str:
    """The shortest way of the cursor; only from where terminals agree that it is by steps."""
    best = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"
    if at is None:
        return best
    down, right = y - at[0], x - at[1]
    ways = ["\r"] if not x else [f"\x1b[{x + 1}G"]
    if sure:
        ways.append(_step(right, "C", "D"))
    return min([best, *(_step(down, "B", "A") + way for way in ways)], key=len)


def _step(by: int, forth: str, back: str) -> str:
    """A relative move; nothing if there is none."""
    if not by:
        return ""
    return f"\x1b[{abs(by) if abs(by) > 1 else ''}{forth if by > 0 else back}"
