"""Moving about: lines, pages, panes, and from message to message."""

from __future__ import annotations

from termmail.model.message import Flag
from termmail.text import SafeText
from termmail.ui.part import Part
from termmail.ui.widgets.folder_tree import FolderTree
from termmail.ui.widgets.message_list import MessageList
from termmail.ui.widgets.reader import Reader


class Moving(Part):
    """See the module."""

    def pane(self) -> FolderTree | MessageList | Reader:
        """The pane that keys move in."""
        focused = self.screen.focused
        return focused if isinstance(focused, FolderTree | Reader) else self.list

    def move(self, lines: int) -> None:
        """The cursor of the focused pane, by lines."""
        pane = self.pane()
        pane.go(pane.cursor + lines)

    def act_half_down(self) -> None:
        self.pane().page(0.5)

    def act_half_up(self) -> None:
        self.pane().page(-0.5)

    def act_page_down(self) -> None:
        self.pane().page(1)

    def act_page_up(self) -> None:
        self.pane().page(-1)

    def act_first(self) -> None:
        self.pane().go(0)

    async def act_last(self) -> None:
        if self.pane() is self.list:
            await self.list.read_all()
        pane = self.pane()
        pane.go(pane.count() - 1)

    def act_left(self) -> None:
        focused = self.screen.focused
        if focused is self.reader:
            self.act_back()
        elif focused is self.tree_pane:
            self.tree_pane.fold(close=True)
        else:
            self.focus_tree()

    def focus_tree(self) -> None:
        self.tree_pane.display = True
        self.screen.set_focus(self.tree_pane)
        self.screen.lay_panes()

    def act_right(self) -> None:
        if self.screen.focused is self.tree_pane:
            if not self.tree_pane.fold(close=False):
                self.act_open()
        elif self.screen.focused is self.list:
            self.screen.reading.open()

    def act_next_pane(self) -> None:
        self._cycle(1)

    def act_previous_pane(self) -> None:
        self._cycle(-1)

    def _cycle(self, step: int) -> None:
        panes: list[FolderTree | MessageList | Reader] = [self.tree_pane, self.list, self.reader]
        at = panes.index(self.pane())
        target = panes[(at + step) % 3]
        if target is self.tree_pane:
            self.focus_tree()
        elif target is self.reader:
            self.screen.reading.open()
        else:
            self.screen.reading.close()
            self.screen.set_focus(self.list)
            self.screen.lay_panes()

    def act_open(self) -> None:
        if self.screen.focused is self.tree_pane:
            entry = self.tree_pane.current()
            if entry is not None and entry.folder is not None and entry.folder.selectable:
                self.screen.listing.go_to(entry.folder.id)
                self.screen.set_focus(self.list)
                self.screen.lay_panes()
            else:
                self.tree_pane.fold()
        elif self.screen.focused is not self.reader:
            self.screen.reading.open()

    def act_back(self) -> None:
        if self.screen.reading.opened:
            self.screen.reading.close()
        elif self.screen.focused is self.tree_pane:
            self.screen.set_focus(self.list)
            self.screen.lay_panes()
        elif self.list.range_from >= 0 or self.list.marked:
            self.list.marked.clear()
            self.list.range_from = -1
            self.list.refresh()
            self.screen.entitle()
        elif self.screen.searching and self.screen.folder is not None:
            self.screen.listing.go_to(self.screen.folder.id)
        else:
            self.screen.say(SafeText("Q quits"))

    def next_message(self, step: int) -> None:
        """The list's cursor, and what is read with it."""
        if self.list.go(self.list.cursor + step) and self.screen.reading.opened:
            self.screen.reading.show(self.list.current())
            self.screen.reading.mark_read(self.list.current())

    def act_next_unread(self) -> None:
        self.to_unread(1)

    def act_previous_unread(self) -> None:
        self.to_unread(-1)

    def to_unread(self, step: int) -> bool:
        """The next unread message in that direction; False if there is none."""
        view = self.list.view
        at = self.list.cursor + step
        looked = 0
        while view is not None and 0 <= at < len(view) and looked < 5000:
            row = view.row(at)
            if row is not None and not row.flags & Flag.SEEN:
                self.next_message(at - self.list.cursor)
                return True
            at, looked = at + step, looked + 1
        self.screen.say(SafeText("no more unread messages here · ] goes on to the next folder"))
        return False
