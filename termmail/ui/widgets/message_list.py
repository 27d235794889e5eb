"""The message list: a million rows as easily as ten."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.timer import Timer

from termmail.model.account import Role
from termmail.model.message import Flag, PlacementId, Row
from termmail.text import SafeText
from termmail.ui import dates
from termmail.ui.view import View
from termmail.ui.widgets.lines import Lines, fit

DATE = 6  # cells
BREATH = 0.01  # seconds between two slices of a view: keys come first


class Glyphs:
    """The signs of a row, in the terminal's or in ASCII characters."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.unread, self.star, self.answered, self.forwarded = (
            ("N", "*", "r", "f") if ascii_only else ("●", "★", "↩", "↪")
        )
        self.attachment, self.pending, self.selected = ("@", "~", ">") if ascii_only else ("⌀", "~", "▌")
        self.attachment = "@"
        self.bar, self.open, self.closed = ("|", "-", "+") if ascii_only else ("▏", "▾", "▸")
        self.dots = "..." if ascii_only else "…"
        self.warning = "!" if ascii_only else "▲"


class MessageList(Lines):
    """Rows of a view.  The cursor is kept on its message, whatever comes above it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "list--unread", "list--dot", "list--star", "list--answered", "list--dim", "list--selected", "list--attachment",
        "list--pending", "list--empty",
    }  # fmt: skip

    class Moved(Message):
        """The cursor stands on another message."""

        def __init__(self, placement: PlacementId) -> None:
            super().__init__()
            self.placement = placement

    class Opened(Message):
        """A message was clicked twice."""

    def __init__(self, *, glyphs: Glyphs, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.view: View | None = None
        self.glyphs = glyphs
        self.marked: set[int] = set()
        self.range_from = -1  # where a range began; -1: none
        self.role = Role.NONE
        self.empty = SafeText("")
        self._growing: Timer | None = None
        self._reading: Timer | None = None

    def count(self) -> int:
        return len(self.view) if self.view is not None else 0

    # -- the view -----------------------------------------------------------------

    def show(self, view: View, role: Role, cursor: int = 0) -> None:
        """Show another view, the cursor on a place in it."""
        self.view, self.role = view, role
        self.marked.clear()
        self.range_from = -1
        self.cursor = max(0, min(cursor, len(view) - 1))
        self.lengthen()
        self.scroll_to(y=max(0, self.cursor - self.size.height // 2), animate=False, force=True, immediate=True)
        self.refresh()
        self.read_on()

    def read_on(self) -> None:
        """Read the rest of the view between keys."""
        if self._reading is None and self.view is not None and not self.view.complete:
            self._reading = self.set_timer(BREATH, self._read_slice)

    def _read_slice(self) -> None:
        self._reading = None
        if self.view is not None:
            current, before = self.current(), self.on_screen()
            self.view.more()
            self.settle(current, before)

    async def read_all(self) -> None:
        """Read the view to its end; others have their turn between the slices."""
        view = self.view
        while view is not None and view is self.view and view.more():
            await asyncio.sleep(0)
        self.lengthen()

    def settle(self, current: PlacementId, before: list[int]) -> None:
        """The view may have changed: draw what looks different from `before`, the cursor on `current` if it is there."""
        if self.looks_like(before) and self.current() == current:
            self.grown()
        else:
            self.refreshed(current)
            if self.current() != current:
                self.post_message(self.Moved(self.current()))
        self.read_on()

    def current(self) -> PlacementId:
        """The message under the cursor, 0 if there is none."""
        if self.view is None or not 0 <= self.cursor < len(self.view):
            return PlacementId(0)
        return PlacementId(self.view.ids[self.cursor])

    def on_screen(self) -> list[int]:
        """The messages that are on the screen."""
        top = self.scroll_offset.y
        return list(self.view.ids[top : top + self.size.height]) if self.view is not None else []

    def looks_like(self, before: list[int]) -> bool:
        """The screen need not be drawn again: the same messages stand there, and none of them has changed."""
        view = self.view
        return (
            view is not None
            and len(before) >= self.size.height
            and before == self.on_screen()
            and view.has_rows(before)
        )

    def grown(self) -> None:
        """Messages came or went where nobody looks: the scroll bar follows, once a second."""
        self.read_on()
        if self._growing is None:
            self._growing = self.set_timer(1.0, self._grow)

    def _grow(self) -> None:
        self._growing = None
        self.lengthen()

    def go(self, index: int) -> bool:
        if self._growing is not None and index + self.size.height >= self.virtual_size.height:
            self._growing.stop()
            self._grow()
        return super().go(index)

    def refreshed(self, current: int) -> None:
        """The view has changed: keep the cursor and the scroll on the message they were on."""
        view = self.view
        if view is None:
            return
        before = self.cursor
        at = view.index(current) if current else -1
        self.cursor = at if at >= 0 else max(0, min(self.cursor, len(view) - 1))
        self.lengthen()
        shift = self.cursor - before
        if shift and at >= 0 and self.scroll_offset.y > 0:
            self.scroll_to(y=max(0, self.scroll_offset.y + shift), animate=False, force=True, immediate=True)
        elif not self.scroll_offset.y <= self.cursor < self.scroll_offset.y + max(1, self.size.height):
            self.scroll_to(y=max(0, self.cursor - self.size.height // 2), animate=False, force=True, immediate=True)
        if self.marked:
            self.marked.intersection_update(view.ids)
        self.refresh()
        self.read_on()

    def targets(self) -> list[PlacementId]:
        """What a verb acts on: the selected messages, else the one under the cursor."""
        if self.range_from >= 0 and self.view is not None:
            low, high = sorted((self.range_from, self.cursor))
            return [PlacementId(i) for i in self.view.ids[low : high + 1]]
        if self.marked and self.view is not None:
            return [PlacementId(i) for i in self.view.ids if i in self.marked]
        current = self.current()
        return [current] if current else []

    def moved(self, old: int) -> None:
        if self.range_from >= 0:
            low, high = min(old, self.cursor, self.range_from), max(old, self.cursor, self.range_from)
            self.redraw(*range(max(low, self.scroll_offset.y), min(high, self.scroll_offset.y + self.size.height) + 1))
        self.post_message(self.Moved(self.current()))

    def neighbour(self, gone: set[int]) -> PlacementId:
        """The message the cursor goes to when these leave: the next one, else the one before."""
        if self.view is None:
            return PlacementId(0)
        ids = self.view.ids
        for at in range(self.cursor, len(ids)):
            if ids[at] not in gone:
                return PlacementId(ids[at])
        for at in range(self.cursor - 1, -1, -1):
            if ids[at] not in gone:
                return PlacementId(ids[at])
        return PlacementId(0)

    # -- drawing ---------------------------------------------------------------------

    def render_line(self, y: int):  # type: ignore[no-untyped-def]
        if self.count() == 0 and self.empty and y == max(0, self.size.height // 3):
            from textual.strip import Strip

            width = self.size.width
            text = fit(self.empty, min(len(self.empty), width))
            left = max(0, (width - len(text)) // 2)
            style = self.rich_style + self.look("list--empty")
            return Strip([Segment(" " * left, self.rich_style), Segment(text, style)]).adjust_cell_length(
                width, self.rich_style
            )
        return super().render_line(y)

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        view = self.view
        row = view.row(index) if view is not None else None
        if row is None:
            return [Segment(" " * width, base)]
        return self.segments(row, self._is_marked(index, row.id), width, base)

    def _is_marked(self, index: int, placement: int) -> bool:
        if self.range_from >= 0 and min(self.range_from, self.cursor) <= index <= max(self.range_from, self.cursor):
            return True
        return placement in self.marked

    def segments(self, row: Row, marked: bool, width: int, base: Style) -> list[Segment]:
        """A row in columns: state, sender, subject, date."""
        glyphs, look = self.glyphs, self.look
        unread = not row.flags & Flag.SEEN
        words = base + look("list--unread") if unread else base
        dim = base + look("list--dim")
        state = " "
        if row.flags & Flag.FLAGGED:
            state = glyphs.star
        elif row.flags & Flag.FORWARDED:
            state = glyphs.forwarded
        elif row.flags & Flag.ANSWERED:
            state = glyphs.answered
        who = (
            row.recipients or "(nobody)"
            if self.role in (Role.SENT, Role.DRAFTS)
            else row.sender.name or row.sender.email
        )
        sender = 28 if width >= 110 else 22 if width >= 84 else max(10, width // 4)
        subject = max(4, width - sender - DATE - 11)
        subject_text = row.subject or SafeText("(no subject)")
        labels = "".join(f" [{word}]" for word in row.keywords if not word.startswith("$"))[:24]
        return [
            Segment(glyphs.selected if marked else " ", base + look("list--selected")),
            Segment(glyphs.unread if unread else " ", base + look("list--dot")),
            Segment(" ", base),
            Segment(state, base + look("list--star" if row.flags & Flag.FLAGGED else "list--answered")),
            Segment(" ", base),
            Segment(fit(who or "(unknown)", sender, dots=glyphs.dots), words),
            Segment("  ", base),
            Segment(fit(subject_text, subject - len(labels), dots=glyphs.dots), words),
            Segment(labels, dim),
            Segment(glyphs.pending if row.pending else " ", base + look("list--pending")),
            Segment(glyphs.attachment if row.attachments else " ", base + look("list--attachment")),
            Segment(fit(dates.short(row.date), DATE, right=True), words if unread else dim),
            Segment(" ", base),
        ]

    def on_click(self, event: object) -> None:
        super().on_click(event)
        if getattr(event, "chain", 1) > 1:
            self.post_message(self.Opened())
