"""The main screen: folders, messages, reader, and how it follows the store; its commands are its parts'."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer

from termmail.link import Again
from termmail.model.account import AccountStatus, Role
from termmail.model.errors import TermmailError
from termmail.model.message import Folder
from termmail.store.verbs import VERBS
from termmail.text import SafeText, safe_line
from termmail.ui import actions
from termmail.ui.folders import Folders
from termmail.ui.listing import Listing
from termmail.ui.moving import Moving
from termmail.ui.organising import Organising
from termmail.ui.part import Command
from termmail.ui.program import Program
from termmail.ui.reading import CUT_OFF, Reading
from termmail.ui.widgets.folder_tree import FolderTree, title
from termmail.ui.widgets.message_list import Glyphs, MessageList
from termmail.ui.widgets.prompt import Prompt
from termmail.ui.widgets.reader import Reader
from termmail.ui.widgets.status import KeyLine, StatusLine, TitleLine, summary

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

NEWS = 0.25  # seconds between two looks at what the engine tells
NARROW, BESIDE = 100, 150  # columns: below the first one pane at a time, from the second the reader stands beside
_ARRANGEMENTS = frozenset({"-right", "-below", "-off", "-narrow"})
LAYOUTS = ("auto", "right", "below", "off")
_ROLES = {
    "go-inbox": Role.INBOX, "go-sent": Role.SENT, "go-archive": Role.ARCHIVE, "go-junk": Role.JUNK, "go-trash": Role.TRASH,
}  # fmt: skip


class MailScreen(Screen[None]):
    """See the module."""

    AUTO_FOCUS = ""  # None would mean the application's: the first pane
    PARTS = (Listing, Reading, Moving, Organising, Folders, Program)

    def __init__(self, app: TermmailApp) -> None:
        super().__init__(id="mail")
        self.owner = app
        self.store = app.store
        self.glyphs = Glyphs(ascii_only=app.settings.ui.ascii)
        self.tree_pane = FolderTree(glyphs=self.glyphs, id="tree")
        self.list = MessageList(glyphs=self.glyphs, id="list")
        self.reader = Reader(glyphs=self.glyphs, id="reader")
        self.title_line = TitleLine(dots=self.glyphs.dots, id="title")
        self.status = StatusLine(id="status")
        self.keys = KeyLine(id="keys")
        self.prompt = Prompt(id="prompt")
        self.folder: Folder | None = None
        self.layout_choice = "auto"
        self.searching = ""  # what the list shows is the answer to this
        self._notice = 0
        self._news = Again()
        self._news_timer: Timer | None = None
        self._news_at = 0.0
        self.listing, self.reading, self.moving = Listing(self), Reading(self), Moving(self)
        self.organising, self.folders, self.program = Organising(self), Folders(self), Program(self)
        self.commands: dict[str, Command] = {}
        for part in (self.listing, self.reading, self.moving, self.organising, self.folders, self.program):
            self.commands |= part.commands()

    def compose(self) -> ComposeResult:
        self._remember(load=True)
        self._arrange(update=False)
        with Horizontal(id="panes"):
            yield self.tree_pane
            with Vertical(id="mailbox"):
                yield self.title_line
                with Container(id="split"):
                    yield self.list
                    yield self.reader
        yield self.prompt
        yield self.status
        yield self.keys

    def on_mount(self) -> None:
        self.prompt.display = False
        self.keys.display = self.owner.settings.ui.footer
        self._notice = self.store.mail.newest_notice()
        self.lay_panes()
        self.look_at_accounts()
        self.set_focus(self.list)
        if self.store.mishap:
            self.say(safe_line(self.store.mishap), "error")
        self.set_interval(1.0, self._watch)

    def on_resize(self, event: events.Resize) -> None:
        self.lay_panes()

    def _arrange(self, *, update: bool) -> None:
        """The classes for the size and the user's choice; styles are worked out once, not for each class."""
        width = self.app.size.width
        choice = self.layout_choice
        if choice == "auto":
            choice = "right" if width >= BESIDE else "below"
        wanted = {"-narrow", "-off"} if width < NARROW else {f"-{choice}"}
        have = _ARRANGEMENTS & self.classes
        if wanted != have:
            self.remove_class(*have - wanted, update=False)
            self.add_class(*wanted - have, update=False)
            if update:
                self.update_node_styles()

    def lay_panes(self) -> None:
        """Which panes stand where."""
        previewed = self.preview
        self._arrange(update=True)
        narrow, alone = self.has_class("-narrow"), not self.preview
        in_tree = self.focused is self.tree_pane
        self.reader.display = not alone or self.reading.opened
        self.list.display = not (alone and self.reading.opened)
        self.tree_pane.display = not narrow or in_tree
        self.query_one("#mailbox").display = not (narrow and in_tree)
        if self.preview and not previewed and self.list.current() != self.reading.shown:
            self.reading.preview_soon()

    @property
    def preview(self) -> bool:
        """The reader stands beside the list."""
        return not self.has_class("-off")

    def contexts(self) -> list[str]:
        """Where keys are looked up, the nearest first."""
        focused = self.focused
        here = {self.tree_pane: actions.TREE, self.reader: actions.READER}.get(focused, actions.LIST)  # type: ignore[call-overload]
        return [here, actions.EVERYWHERE]

    def on_descendant_focus(self) -> None:
        self.show_keys()

    def show_keys(self) -> None:
        """The best keys of the focused pane."""
        wanted = {
            actions.LIST: ("open", "archive", "trash", "reply", "search", "undo", "help"),
            actions.READER: ("reply", "archive", "save", "html", "back", "help"),
            actions.TREE: ("open", "go-folder", "compose", "search", "help"),
        }[self.contexts()[0]]
        table = self.owner.keymap.table
        shown = []
        for one in wanted:
            if keys := actions.keys_of(table, one):
                shown.append((keys[0], actions.BY_ID[one].footer or actions.BY_ID[one].words))
        self.keys.show(shown)

    def say(self, words: SafeText, kind: str = "info") -> None:
        """Say something in the status line."""
        self.status.say(words, kind)

    def _remember(self, *, load: bool = False) -> None:
        """The layout outlives the program."""
        path = self.owner.paths.state / "ui.json"
        with contextlib.suppress(OSError, ValueError):
            if load:
                self.layout_choice = self.owner.settings.ui.layout
                found = json.loads(path.read_text("utf-8")).get("layout")
                if found in LAYOUTS and self.layout_choice == "auto":
                    self.layout_choice = found
            else:
                path.write_text(json.dumps({"layout": self.layout_choice}), "utf-8")

    def _watch(self) -> None:
        """Once a second: others may have committed although no link told us."""
        with contextlib.suppress(TermmailError):
            if self.store.changed_elsewhere():
                self.look_again(Again(everything=True))

    def look_again(self, what: Again) -> None:
        """Read again what changed."""
        self._news |= what
        wait = self._news_at + NEWS - time.monotonic()
        if wait <= 0:
            self._take_news()
        elif self._news_timer is None:  # while mail streams in there is news ten times a second: four are enough
            self._news_timer = self.set_timer(wait, self._take_news)
        if self.reading.waits_for and (what.everything or self.reading.waits_for in what.bodies):
            self.reading.show(self.reading.shown)
        for number, account, words in self.store.mail.notices_since(self._notice):
            self._notice = number
            self.say(safe_line(f"{account}: {words}" if account else words), "error")

    def _take_news(self) -> None:
        """Show what has gathered."""
        if self._news_timer is not None:
            self._news_timer.stop()
        what, self._news, self._news_timer = self._news, Again(), None
        if what.everything or what.accounts or what.folders or what.outbox:
            self.look_at_accounts()
        if what.everything or what.folders:
            self.refresh_list()
        self._news_at = time.monotonic()

    def look_at_accounts(self) -> None:
        """Tree, counts, the state of the accounts."""
        accounts = self.store.mail.accounts()
        folders = [f for f in self.store.mail.folders() if f.selectable or f.total]
        self.tree_pane.load(accounts, folders)
        sending = sum(self.store.queue.queued_count(one.name) for one in accounts)
        self.status.tell(safe_line(summary(accounts, sending), 300))
        if self.folder is None and folders:
            self.listing.go_to_role(Role.INBOX)
        elif self.folder is not None:
            fresh = next((f for f in folders if f.id == self.folder.id), None)
            if fresh is None:
                self.folder = None
                self.listing.go_to_role(Role.INBOX)
            else:
                self.folder = fresh
        self.say_empty()

    def account(self) -> AccountStatus | None:
        """How the account of the open folder stands."""
        wanted = self.folder.account_id if self.folder else 0
        return next((one for one in self.tree_pane.accounts if one.account_id == wanted), None)

    def say_empty(self) -> None:
        """What stands in an empty list."""
        words = ""
        if self.list.count() == 0:
            account = self.account()
            if self.searching:
                words = "Nothing found"
            elif self.folder is None:
                words = "Connecting…" if self.tree_pane.accounts else "No account yet — :add-account"
            elif account and account.state in CUT_OFF and not self.folder.complete:
                words = "No connection: showing what is here"
            elif not self.folder.complete and self.folder.srv_total != 0:
                words = "Fetching…"
            else:
                words = "Inbox zero" if self.folder.role == Role.INBOX else "Nothing here"
        if words != self.list.empty:
            self.list.empty = SafeText(words)
            self.list.refresh()
        self.entitle()

    def entitle(self) -> None:
        """The line above the list."""
        selected, folder = len(self.list.marked), self.folder
        if self.list.range_from >= 0:
            selected = abs(self.list.cursor - self.list.range_from) + 1
        if folder is None:
            self.title_line.show(SafeText("termmail"), SafeText(""), SafeText(""), 0)
            return
        account = self.account()
        several = len(self.tree_pane.accounts) > 1
        where = safe_line(account.name) if account is not None and several else SafeText("")
        if self.searching:
            inside = title(folder) if self.list.view is not None and self.list.view.folder_id else SafeText("")
            self.title_line.show(
                safe_line(f"“{self.searching}”"), inside, SafeText(f"{self.list.count():,} found"), selected
            )
            return
        said = [f"{folder.unread:,} unread"] if folder.unread else []
        if folder.total:
            all_of = f" of {folder.srv_total:,}" if not folder.complete and folder.srv_total > folder.total else ""
            said.append(f"{folder.total:,}{all_of}")
        self.title_line.show(title(folder), where, SafeText(" · ".join(said)), selected)

    def refresh_list(self) -> None:
        """The list's view may have changed."""
        view = self.list.view
        if view is None:
            return
        current = self.list.current()
        was_top = self.list.cursor == 0 and self.list.scroll_offset.y == 0 and not self.reading.going_on()
        before = self.list.on_screen()
        if view.refresh():
            if self.list.looks_like(before):
                self.list.grown()
                return
            self.list.refreshed(0 if was_top and not self.reading.opened else current)
            if self.list.current() != self.reading.shown and self.preview and not self.reading.opened:
                self.reading.preview_soon()
        self.say_empty()

    def on_folder_tree_chosen(self, event: FolderTree.Chosen) -> None:
        self.listing.go_to(event.folder)

    def on_message_list_moved(self, event: MessageList.Moved) -> None:
        if self.preview or self.reading.opened:
            self.reading.preview_soon()

    def on_message_list_opened(self) -> None:
        self.reading.open()

    async def do(self, line: str, count: int = 1, *, counted: bool = False) -> None:
        """Run a command: an action of actions.py, or a verb of the store, with what it takes."""
        name, _, arg = line.strip().partition(" ")
        arg = arg.strip()
        command = self.commands.get(name)
        try:
            if name in ("down", "up"):
                self.moving.move(count if name == "down" else -count)
            elif name in ("next-message", "previous-message"):
                self.moving.next_message(count if name == "next-message" else -count)
            elif counted and name in ("last", "first"):
                self.moving.pane().go(count - 1)
            elif name in _ROLES:
                self.listing.go_to_role(_ROLES[name])
            elif command is not None:
                result = command(arg) if name in _TAKES else command()
                if result is not None:
                    await result
            elif name in VERBS:
                await self.organising.verb(name, arg)
            else:
                self.say(safe_line(f"no command {name!r}"), "error")
        except TermmailError as error:
            self.say(safe_line(str(error)), "error")

    def next_layout(self) -> None:
        """The reader elsewhere, or nowhere."""
        self.layout_choice = LAYOUTS[(LAYOUTS.index(self.layout_choice) + 1) % len(LAYOUTS)]
        self._remember()
        self.lay_panes()
        self.say(SafeText(f"reader: {self.layout_choice}"))
        if self.preview:
            self.reading.preview_soon()


_TAKES = frozenset(action.id for action in actions.ACTIONS if action.args)
