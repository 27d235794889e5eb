"""The reader: a document as lines that are folded once for a width and drawn when they are seen."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from termmail.model.document import Document, Line, Span
from termmail.text import SafeText, safe_line
from termmail.ui import dates
from termmail.ui.widgets.lines import Lines, fit
from termmail.ui.widgets.message_list import Glyphs

QUOTE_LEVELS = 4
FOLD_QUOTES_FROM = 12  # lines of quotation that are folded on the key
WIDEST = 100  # cells that text may take; wider lines are hard to read
_WORDS = re.compile(r"\S+\s*|\s+")


class Reader(Lines):
    """See the module.  `cursor` is the first row on the screen: the reader has no cursor of its own."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"reader--{name}" for name in (
            "text", "strong", "emphasis", "code", "heading", "link", "image", "dim", "rule", "table", "added", "removed",
            "hunk", "signature", "warning", "label", "subject", "address", "quote-1", "quote-2", "quote-3", "quote-4",
        )
    }  # fmt: skip

    def __init__(self, *, glyphs: Glyphs, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.glyphs = glyphs
        self.document: Document | None = None
        self.words = SafeText("")  # what stands there instead of a document
        self.all_headers = False
        self.fold_quotes = False
        self._rows: list[tuple[tuple[Span, ...], int, str]] = []  # spans, quote depth, indent
        self._width = 0

    @property
    def shows_cursor(self) -> bool:
        return False

    def count(self) -> int:
        return len(self._rows)

    # -- content --------------------------------------------------------------------

    def show(self, document: Document) -> None:
        """Show a message from its beginning."""
        self.document, self.words = document, SafeText("")
        self._lay_out()
        self._to_top()

    def say(self, words: SafeText) -> None:
        """Show a sentence instead of a message."""
        if self.document is None and self.words == words:
            return
        self.document, self.words = None, words
        self._rows = [((), 0, ""), ((Span(words, "dim"),), 0, "  ")] if words else []
        self.lengthen()
        self._to_top()

    def _to_top(self) -> None:
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True, immediate=True)
        self.refresh()

    def toggle_headers(self) -> None:
        """All header fields, or the few."""
        self.all_headers = not self.all_headers
        self._lay_out()
        self._to_top()

    def toggle_quotes(self) -> None:
        """Fold long quotations, or show them."""
        self.fold_quotes = not self.fold_quotes
        self._lay_out()
        self.refresh()

    def on_resize(self) -> None:
        if self.document is not None and self._width != self._room():
            self._lay_out()
            self.refresh()

    def _room(self) -> int:
        return max(10, min(WIDEST, (self.scrollable_content_region.width or self.size.width) - 3))

    def _lay_out(self) -> None:
        """Fold everything for the width that there is."""
        document = self.document
        if document is None:
            return
        self._width = width = self._room()
        rows: list[tuple[tuple[Span, ...], int, str]] = []
        for line in [*self._head(document), *self._folded(document.lines)]:
            rows += folded(line, width)
        self._rows = rows
        self.lengthen()

    def _folded(self, lines: tuple[Line, ...]) -> list[Line]:
        """The lines, long quotations as one line if that is wanted."""
        if not self.fold_quotes:
            return list(lines)
        out: list[Line] = []
        held: list[Line] = []
        for line in [*lines, Line()]:
            if line.quote:
                held.append(line)
                continue
            if len(held) >= FOLD_QUOTES_FROM:
                out += [*held[:2], Line((Span(SafeText(f"[{len(held) - 2} more quoted lines: z q]"), "dim"),), 1)]
            else:
                out += held
            held = []
            out.append(line)
        return out[:-1]

    def _head(self, document: Document) -> list[Line]:
        """What stands above the text: it is ours, no body can write here."""

        def field(label: str, words: str, ink: str = "text") -> Line:
            return Line((Span(SafeText(fit(label, 9)), "label"), Span(safe_line(words), ink)), indent=9)

        lines = []
        if self.all_headers:
            lines += [
                Line((Span(SafeText(f"{name}: "), "label"), Span(value)), indent=2) for name, value in document.headers
            ]
        else:
            lines.append(field("Subject", document.subject or "(no subject)", "subject"))
            sender = document.sender[0] if document.sender else None
            who = [Span(SafeText(fit("From", 9)), "label")]
            if sender is not None:
                name = SafeText(f"{sender.name} " if sender.name else "")
                who += [Span(name, "strong"), Span(SafeText(f"<{sender.email}>"), "address")]
            lines.append(Line(tuple(who), indent=9))
            for label, people in (("To", document.to), ("Cc", document.cc)):
                if people:
                    shown = ", ".join(str(a) for a in people[:8]) + (
                        f" and {len(people) - 8} more" if len(people) > 8 else ""
                    )
                    lines.append(field(label, shown))
            if document.date:
                lines.append(field("Date", dates.full(document.date)))
        attached = [part for part in document.parts if part.attachment]
        if attached:
            shown = ", ".join(f"{part.filename} ({size(part.size)})" for part in attached[:6])
            more = f" and {len(attached) - 6} more" if len(attached) > 6 else ""
            lines.append(field("Attached", shown + more, "strong"))
        for warning in document.warnings:
            lines.append(Line((Span(SafeText(f"{self.glyphs.warning} {warning.words}"), "warning"),), indent=2))
        lines.append(
            Line((Span(SafeText(("-" if self.glyphs.dots == "..." else "─") * self._width), "rule"),), wrap=False)
        )
        return lines

    # -- drawing ------------------------------------------------------------------------

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        spans, quote, indent = self._rows[index]
        out = [Segment("  ", base)]
        for level in range(1, min(quote, 8) + 1):
            out.append(
                Segment(f"{self.glyphs.bar} ", base + self.look(f"reader--quote-{(level - 1) % QUOTE_LEVELS + 1}"))
            )
        if indent:
            out.append(Segment(indent, base))
        quoted = f"reader--quote-{(quote - 1) % QUOTE_LEVELS + 1}" if quote else ""
        for span in spans:
            style = self.look(quoted) if quoted and span.ink == "text" else self.look(f"reader--{span.ink}")
            out.append(Segment(span.text, base + style))
        return out

    # -- moving ---------------------------------------------------------------------------

    def go(self, index: int) -> bool:
        """Scroll so that a row is the first one."""
        last = max(0, self.count() - max(1, self.size.height))
        index = max(0, min(index, last))
        if index == self.cursor:
            return False
        self.cursor = index
        self.scroll_to(y=index, animate=False, force=True, immediate=True)
        return True

    def page(self, pages: float) -> bool:
        """Scroll by pages, a line of overlap."""
        step = int((self.size.height - 1) * pages) or (1 if pages > 0 else -1)
        return self.go(self.scroll_offset.y + step)

    def on_click(self, event: object) -> None:
        """A click only takes the focus."""


def folded(line: Line, width: int) -> list[tuple[tuple[Span, ...], int, str]]:
    """A logical line as rows of at most `width` cells: (spans, quote, indent)."""
    hang = line.hang or SafeText("")
    rest = " " * line.indent if line.indent and hang else ""
    room = max(8, width - 2 * min(line.quote, 8) - max(cell_len(hang), len(rest)))
    if (
        not line.wrap
        or sum(len(span.text) if span.text.isascii() else cell_len(span.text) for span in line.spans) <= room
    ):
        return [(line.spans, line.quote, hang)]
    rows: list[tuple[tuple[Span, ...], int, str]] = []
    current: list[Span] = []
    used = 0
    indent = str(hang)
    follow = rest or " " * line.indent

    def flush() -> None:
        nonlocal current, used, indent, room
        rows.append((tuple(current), line.quote, indent))
        current, used, indent = [], 0, follow
        room = max(8, width - 2 * min(line.quote, 8) - len(follow))

    for span in line.spans:
        for word in _WORDS.findall(span.text):
            bare = word.rstrip()
            cells = len(bare) if bare.isascii() else cell_len(bare)
            if used and used + cells > room:
                flush()
                if not bare:
                    continue
            while cells > room:
                head, word = _cut(word, room)
                if not head:
                    break
                current.append(Span(SafeText(head), span.ink, span.link))
                flush()
                bare = word.rstrip()
                cells = len(bare) if bare.isascii() else cell_len(bare)
            if current and current[-1].ink == span.ink and current[-1].link == span.link:
                current[-1] = Span(SafeText(current[-1].text + word), span.ink, span.link)
            elif word:
                current.append(Span(SafeText(word), span.ink, span.link))
            used += len(word) if word.isascii() else cell_len(word)
    if current or not rows:
        flush()
    return rows


def _cut(word: str, width: int) -> tuple[str, str]:
    """As much of a word as fits, and the rest."""
    if word.isascii():
        return word[:width], word[width:]
    used = 0
    for place, char in enumerate(word):
        used += cell_len(char)
        if used > width:
            return word[:place], word[place:]
    return word, ""


def size(number: int) -> str:
    """Bytes as people read them."""
    if number < 1000:
        return f"{number} B"
    for unit in ("kB", "MB", "GB"):
        number_of = number / 1000
        if number_of < 1000 or unit == "GB":
            return f"{number_of:.1f} {unit}" if number_of < 10 else f"{number_of:,.0f} {unit}"
        number = int(number_of)
    return ""
