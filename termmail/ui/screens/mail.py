"""The main screen: folders, messages, reader; and what the verbs do to them."""

from __future__ import annotations

import asyncio
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
from termmail.model.account import AccountState, AccountStatus, Role
from termmail.model.document import Document
from termmail.model.errors import NotFound, TermmailError, UsageError
from termmail.model.message import AccountId, Flag, Folder, FolderId, MessageId, PlacementId
from termmail.sandbox import Poison
from termmail.store.intents import Done
from termmail.store.verbs import VERBS
from termmail.text import SafeText, safe_line
from termmail.ui import actions
from termmail.ui.view import View
from termmail.ui.widgets.folder_tree import FolderTree, title
from termmail.ui.widgets.message_list import Glyphs, MessageList
from termmail.ui.widgets.prompt import Prompt
from termmail.ui.widgets.reader import Reader
from termmail.ui.widgets.status import KeyLine, StatusLine, TitleLine, summary

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

PREVIEW = 0.08  # seconds the cursor rests before its message is rendered
PATIENCE = 0.25  # seconds a message may take to open before the one that stood there goes
NEWS = 0.25  # seconds between two looks at what the engine tells
READ_AFTER = 1.0  # seconds on the screen until a message counts as read
NARROW, BESIDE = 100, 150  # columns: below the first one pane at a time, from the second the reader stands beside
DOCUMENTS = 32  # rendered messages that are kept
_CUT_OFF = (AccountState.OFFLINE, AccountState.AUTH, AccountState.TLS)
_ARRANGEMENTS = frozenset({"-right", "-below", "-off", "-narrow"})
LAYOUTS = ("auto", "right", "below", "off")
_ROLES = {
    "go-inbox": Role.INBOX, "go-sent": Role.SENT, "go-archive": Role.ARCHIVE, "go-junk": Role.JUNK, "go-trash": Role.TRASH,
}  # fmt: skip


class MailScreen(Screen[None]):
    """See the module."""

    AUTO_FOCUS = ""  # None would mean the application's: the first pane

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
        self.opened = False  # the reader has the screen, or the focus
        self.searching = ""  # what the list shows is the answer to this
        self._shown = PlacementId(0)
        self._prefer: dict[int, str] = {}
        self._documents: dict[tuple[int, str, int], Document] = {}
        self._timer: Timer | None = None
        self._read_timer: Timer | None = None
        self._slices: Timer | None = None
        self._rendering: asyncio.Task[None] | None = None
        self._notice = 0
        self._waits_for = MessageId(0)
        self._news = Again()
        self._news_timer: Timer | None = None
        self._news_at = 0.0

    # -- life -----------------------------------------------------------------------

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
        self.reader.display = not alone or self.opened
        self.list.display = not (alone and self.opened)
        self.tree_pane.display = not narrow or in_tree
        self.query_one("#mailbox").display = not (narrow and in_tree)
        if self.preview and not previewed and self.list.current() != self._shown:
            self._preview_soon()

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

    # -- looking at the store -----------------------------------------------------------

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
        if self._waits_for and (what.everything or self._waits_for in what.bodies):
            self.show_message(self._shown)
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
            self.go_to_role(Role.INBOX)
        elif self.folder is not None:
            fresh = next((f for f in folders if f.id == self.folder.id), None)
            if fresh is None:
                self.folder = None
                self.go_to_role(Role.INBOX)
            else:
                self.folder = fresh
        self._say_empty()

    def _account(self) -> AccountStatus | None:
        """How the account of the open folder stands."""
        wanted = self.folder.account_id if self.folder else 0
        return next((one for one in self.tree_pane.accounts if one.account_id == wanted), None)

    def _say_empty(self) -> None:
        """What stands in an empty list."""
        words = ""
        if self.list.count() == 0:
            account = self._account()
            if self.searching:
                words = "Nothing found"
            elif self.folder is None:
                words = "Connecting…" if self.tree_pane.accounts else "No account yet — :add-account"
            elif account and account.state in _CUT_OFF and not self.folder.complete:
                words = "No connection: showing what is here"
            elif not self.folder.complete and self.folder.srv_total != 0:
                words = "Fetching…"
            else:
                words = "Inbox zero" if self.folder.role == Role.INBOX else "Nothing here"
        if words != self.list.empty:
            self.list.empty = SafeText(words)
            self.list.refresh()
        self._entitle()

    def _entitle(self) -> None:
        """The line above the list."""
        selected, folder = len(self.list.marked), self.folder
        if self.list.range_from >= 0:
            selected = abs(self.list.cursor - self.list.range_from) + 1
        if folder is None:
            self.title_line.show(SafeText("termmail"), SafeText(""), SafeText(""), 0)
            return
        account = self._account()
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
        was_top = self.list.cursor == 0 and self.list.scroll_offset.y == 0 and not self.preview_is_read()
        before = self.list.on_screen()
        if view.refresh():
            if self.list.looks_like(before):
                self.list.grown()
                return
            self.list.refreshed(0 if was_top and not self.opened else current)
            self._more()
            if self.list.current() != self._shown and self.preview and not self.opened:
                self._preview_soon()
        self._say_empty()

    def preview_is_read(self) -> bool:
        """Somebody reads: the cursor must stay on its message."""
        return self.opened or (self.preview and self._shown != 0)

    # -- folders ---------------------------------------------------------------------------

    def go_to_role(self, role: Role) -> None:
        """The folder with that role: of the account that is open, else of the first."""
        account = self.folder.account_id if self.folder else None
        folders = [f for f in self.store.mail.folders() if f.role == role]
        found = next((f for f in folders if f.account_id == account), folders[0] if folders else None)
        if found is None:
            if self.store.mail.folders():
                self.say(safe_line(f"no folder is known as {role.value}"), "error")
            return
        self.go_to_folder(found.id)

    def go_to_folder(self, folder_id: FolderId) -> None:
        """Show a folder."""
        try:
            self.folder = self.store.mail.folder(folder_id)
        except NotFound as error:
            self.say(SafeText(error.words), "error")
            return
        self.searching = ""
        self._close_reader()
        self._show_view(View(self.store, folder_id), self.folder.role)
        self.tree_pane.show_folder(folder_id)
        self.owner.link_say(open=int(folder_id))
        if self.focused is self.tree_pane:
            self.set_focus(self.list)
            self.lay_panes()

    def _show_view(self, view: View, role: Role) -> None:
        self.list.show(view, role)
        self._shown = PlacementId(0)
        self.reader.say(SafeText(""))
        self._more()
        self._say_empty()
        if self.preview and len(view):
            self._preview_soon()

    def _more(self) -> None:
        """Read the rest of the view between keys."""
        view = self.list.view
        if view is not None and not view.complete and self._slices is None:
            self._slices = self.set_timer(0.01, self._slice)

    def _slice(self) -> None:
        self._slices = None
        view = self.list.view
        if view is None:
            return
        more = view.more()
        self.list.virtual_size = self.list.virtual_size.with_height(len(view))
        if more:
            self._more()

    def on_folder_tree_chosen(self, event: FolderTree.Chosen) -> None:
        self.go_to_folder(event.folder)

    # -- reading ------------------------------------------------------------------------------

    def on_message_list_moved(self, event: MessageList.Moved) -> None:
        if self.preview or self.opened:
            self._preview_soon()

    def on_message_list_opened(self) -> None:
        self.open_message()

    def _preview_soon(self) -> None:
        """Show the message under the cursor when it rests there."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PREVIEW, lambda: self.show_message(self.list.current()))

    def open_message(self) -> None:
        """Enter: the reader takes the focus, and the screen where there is no room for both."""
        current = self.list.current()
        if not current:
            return
        if self.folder and self.folder.role == Role.DRAFTS and not self.searching:
            self.say(SafeText("a draft: r answers nobody; g D lists the drafts kept here"))
        self.opened = True
        self.lay_panes()
        self.set_focus(self.reader)
        if self._shown != current or self.reader.document is None:
            self.show_message(current)
        self._mark_read(current)

    def _close_reader(self) -> None:
        if self.opened:
            self.opened = False
            self.lay_panes()
            self.set_focus(self.list)

    def show_message(self, placement: PlacementId) -> None:
        """Put a message into the reader; from the cache at once, else when it is there."""
        row = self.store.mail.row(placement) if placement else None
        if self._rendering is not None:
            self._rendering.cancel()
        self._waits_for = MessageId(0)
        self._shown = placement
        if row is None:
            self.reader.say(SafeText(""))
            return
        prefer = self._prefer.get(row.message_id, "plain")
        key = (int(row.message_id), prefer, self.reader._room())
        if key in self._documents:
            self._display(placement, self._documents[key])
            return
        raw = self.store.mail.body(row.message_id)
        if raw is None:
            self._wait_for(row.message_id)
            return
        self._rendering = task = self.owner.run_task(self._render_body(placement, row.message_id, raw, key))

        def still_waits() -> None:
            if self._rendering is task and not task.done():
                self.reader.say(SafeText("Opening…"))

        self.set_timer(PATIENCE, still_waits)

    def _wait_for(self, message: MessageId) -> None:
        """The message is not here: ask for it, and say how it stands."""
        self._waits_for = message
        if error := self.store.mail.body_error(message):
            self.reader.say(safe_line(f"This message cannot be fetched: {error}"))
            return
        self.store.mail.want_body(message)
        self.owner.link_say(look=True)
        account = self._account()
        offline = account is not None and account.state in _CUT_OFF
        self.reader.say(
            SafeText("Not here yet, and no connection: it comes when there is one" if offline else "Fetching…")
        )

    async def _render_body(
        self, placement: PlacementId, message: MessageId, raw: bytes, key: tuple[int, str, int]
    ) -> None:
        if self.store.mail.is_poison(message):
            document = await asyncio.to_thread(_as_source, raw)
        else:
            try:
                document = await self.owner.sandbox.render(raw, width=key[2], prefer=key[1])
            except Poison:
                self.store.mail.mark_poison(message)
                document = await asyncio.to_thread(_as_source, raw)
        self._documents[key] = document
        while len(self._documents) > DOCUMENTS:
            del self._documents[next(iter(self._documents))]
        if self._shown == placement:
            self._display(placement, document)

    def _display(self, placement: PlacementId, document: Document) -> None:
        self.reader.show(document)
        if self._read_timer is not None:
            self._read_timer.stop()
        how = self.owner.settings.ui.mark_read
        if how == "view" or (how == "open" and self.opened):
            self._read_timer = self.set_timer(0.01 if self.opened else READ_AFTER, lambda: self._mark_read(placement))

    def _mark_read(self, placement: PlacementId) -> None:
        """A message was read, if it is still the one that is shown."""
        if placement != self._shown or self.owner.settings.ui.mark_read == "never":
            return
        row = self.store.mail.row(placement)
        if row is not None and not row.flags & Flag.SEEN:
            self.store.intents.flag([placement], add=Flag.SEEN, undoable=False)
            self.after_change()

    # -- actions ---------------------------------------------------------------------------------

    async def do(self, line: str, count: int = 1, *, counted: bool = False) -> None:
        """Run a command: an action of actions.py, or a verb of the store, with what it takes."""
        name, _, arg = line.strip().partition(" ")
        arg = arg.strip()
        method = getattr(self, "act_" + name.replace("-", "_"), None)
        try:
            if name in ("down", "up"):
                self._move(count if name == "down" else -count)
            elif name in ("next-message", "previous-message"):
                self._next_message(count if name == "next-message" else -count)
            elif counted and name in ("last", "first"):
                self._pane().go(count - 1)
            elif name in _ROLES:
                self.go_to_role(_ROLES[name])
            elif method is not None:
                result = method(arg) if name in _TAKES else method()
                if result is not None:
                    await result
            elif name in VERBS:
                await self.verb(name, arg)
            else:
                self.say(safe_line(f"no command {name!r}"), "error")
        except TermmailError as error:
            self.say(safe_line(str(error)), "error")

    def _pane(self) -> FolderTree | MessageList | Reader:
        focused = self.focused
        return focused if isinstance(focused, FolderTree | Reader) else self.list

    def _move(self, lines: int) -> None:
        pane = self._pane()
        pane.go(pane.cursor + lines)

    def act_half_down(self) -> None:
        self._pane().page(0.5)

    def act_half_up(self) -> None:
        self._pane().page(-0.5)

    def act_page_down(self) -> None:
        self._pane().page(1)

    def act_page_up(self) -> None:
        self._pane().page(-1)

    def act_first(self) -> None:
        self._pane().go(0)

    def act_last(self) -> None:
        view = self.list.view
        while self._pane() is self.list and view is not None and view.more():
            pass
        self._slice()
        pane = self._pane()
        pane.go(pane.count() - 1)

    def act_left(self) -> None:
        focused = self.focused
        if focused is self.reader:
            self.act_back()
        elif focused is self.tree_pane:
            self.tree_pane.fold(close=True)
        else:
            self._focus_tree()

    def _focus_tree(self) -> None:
        self.tree_pane.display = True
        self.set_focus(self.tree_pane)
        self.lay_panes()

    def act_right(self) -> None:
        if self.focused is self.tree_pane:
            if not self.tree_pane.fold(close=False):
                self.act_open()
        elif self.focused is self.list:
            self.open_message()

    def act_next_pane(self) -> None:
        self._cycle(1)

    def act_previous_pane(self) -> None:
        self._cycle(-1)

    def _cycle(self, step: int) -> None:
        panes: list[FolderTree | MessageList | Reader] = [self.tree_pane, self.list, self.reader]
        at = panes.index(self._pane())
        target = panes[(at + step) % 3]
        if target is self.tree_pane:
            self._focus_tree()
        elif target is self.reader:
            self.open_message()
        else:
            self._close_reader()
            self.set_focus(self.list)
            self.lay_panes()

    def act_open(self) -> None:
        if self.focused is self.tree_pane:
            entry = self.tree_pane.current()
            if entry is not None and entry.folder is not None and entry.folder.selectable:
                self.go_to_folder(entry.folder.id)
                self.set_focus(self.list)
                self.lay_panes()
            else:
                self.tree_pane.fold()
        elif self.focused is not self.reader:
            self.open_message()

    def act_back(self) -> None:
        if self.opened:
            self._close_reader()
        elif self.focused is self.tree_pane:
            self.set_focus(self.list)
            self.lay_panes()
        elif self.list.range_from >= 0 or self.list.marked:
            self.list.marked.clear()
            self.list.range_from = -1
            self.list.refresh()
            self._entitle()
        elif self.searching and self.folder is not None:
            self.go_to_folder(self.folder.id)
        else:
            self.say(SafeText("Q quits"))

    def _next_message(self, step: int) -> None:
        if self.list.go(self.list.cursor + step) and self.opened:
            self.show_message(self.list.current())
            self._mark_read(self.list.current())

    def act_next_unread(self) -> None:
        self._to_unread(1)

    def act_previous_unread(self) -> None:
        self._to_unread(-1)

    def _to_unread(self, step: int) -> bool:
        view = self.list.view
        at = self.list.cursor + step
        looked = 0
        while view is not None and 0 <= at < len(view) and looked < 5000:
            row = view.row(at)
            if row is not None and not row.flags & Flag.SEEN:
                self._next_message(at - self.list.cursor)
                return True
            at, looked = at + step, looked + 1
        self.say(SafeText("no more unread messages here · ] goes on to the next folder"))
        return False

    def act_read_on(self) -> None:
        if not self.opened:
            self.open_message()
        elif self._rendering is not None and not self._rendering.done():
            return  # what is on the screen is not what is being opened: nobody has read that yet
        elif not self.reader.page(1):
            self._to_unread(1)

    def act_read_back(self) -> None:
        self.reader.page(-1)

    def act_next_folder(self) -> None:
        self._to_folder_with_unread(1)

    def act_previous_folder(self) -> None:
        self._to_folder_with_unread(-1)

    def _to_folder_with_unread(self, step: int) -> None:
        folders = [f for f in self.store.mail.folders() if f.selectable]
        if not folders:
            return
        at = next((n for n, f in enumerate(folders) if self.folder and f.id == self.folder.id), 0)
        for distance in range(1, len(folders) + 1):
            one = folders[(at + step * distance) % len(folders)]
            if one.unread and one.role not in (Role.TRASH, Role.JUNK):
                self.go_to_folder(one.id)
                return
        self.say(SafeText("no folder has unread messages"))

    async def act_go_folder(self, arg: str) -> None:
        folder = await self._choose_folder("Go to folder", arg, accounts=None)
        if folder is not None:
            self.go_to_folder(folder)

    async def _choose_folder(self, title: str, arg: str, *, accounts: set[AccountId] | None) -> FolderId | None:
        """Ask for a folder, unless it was named."""
        from termmail.ui.screens.dialogs import Choose

        names = {a.account_id: a.name for a in self.store.mail.accounts()}
        folders = [
            f for f in self.store.mail.folders() if f.selectable and (accounts is None or f.account_id in accounts)
        ]
        if arg:
            account = self.folder.account_id if self.folder else next(iter(names), AccountId(0))
            return self.store.mail.find_folder(AccountId(account), arg).id
        several = len({f.account_id for f in folders}) > 1
        items = [
            (
                str(f.id),
                SafeText(f"{names.get(f.account_id, '')}: {f.path}" if several else str(f.path)),
                SafeText(f.role.value),
            )
            for f in folders
        ]
        chosen = await self.owner.ask(Choose(SafeText(title), items))
        return FolderId(int(chosen)) if chosen else None

    def act_go_starred(self) -> None:
        self._search("is:starred", everywhere=True)

    def act_fold(self) -> None:
        self.tree_pane.fold()

    # -- choosing ------------------------------------------------------------------------------

    def act_select(self) -> None:
        current = self.list.current()
        if current:
            self.list.marked ^= {current}
            self.list.redraw(self.list.cursor)
            self.list.go(self.list.cursor + 1)
            self._say_selected()

    def _say_selected(self) -> None:
        """What a verb would act on stands in the title line."""
        self._entitle()

    def act_select_range(self) -> None:
        self.list.range_from = -1 if self.list.range_from >= 0 else self.list.cursor
        self.list.refresh()
        self._entitle()

    def _select_where(self, query: str) -> None:
        view = self.list.view
        if view is None:
            return
        folder = self.folder.id if self.folder and not self.searching else None
        found = set(self.store.search.find(query, folder_id=folder, limit=1_000_000))
        self.list.marked = found & set(view.ids)  # type: ignore[assignment]
        self.list.refresh()
        self._say_selected()

    def act_select_all(self) -> None:
        if self.list.view is not None:
            while self.list.view.more():
                pass
            self.list.marked = set(self.list.view.ids)
            self.list.refresh()
            self._say_selected()

    def act_select_none(self) -> None:
        self.list.marked.clear()
        self.list.range_from = -1
        self.list.refresh()
        self._say_selected()

    def act_select_unread(self) -> None:
        self._select_where("is:unread")

    def act_select_read(self) -> None:
        self._select_where("is:read")

    def act_select_starred(self) -> None:
        self._select_where("is:starred")

    def act_select_sender(self) -> None:
        row = self.store.mail.row(self.list.current())
        if row is not None and row.sender.email:
            self._select_where('from:"' + row.sender.email.replace('"', "") + '"')

    def act_select_thread(self) -> None:
        row, view = self.store.mail.row(self.list.current()), self.list.view
        if row is not None and view is not None:
            self.list.marked = {i for n, i in enumerate(view.ids) if (one := view.row(n)) and one.thread == row.thread}
            self.list.refresh()
            self._say_selected()

    # -- verbs -------------------------------------------------------------------------------------

    async def verb(self, name: str, arg: str = "") -> None:
        """A verb of the store on the chosen messages."""
        targets = self.list.targets() if VERBS[name].takes_ids else []
        if VERBS[name].takes_ids and not targets:
            self.say(SafeText("no message here"), "error")
            return
        follow = self.list.neighbour(set(targets))
        done = VERBS[name].run(self.store, targets, arg)
        self.acted(done, follow)

    def acted(self, done: Done, follow: PlacementId = PlacementId(0)) -> None:
        """A verb is done: the screen shows it at once, the engine hears of it."""
        if done.count:
            self.list.marked.clear()
            self.list.range_from = -1
        hint = " · u undoes" if done.undo_id and done.count and not done.words.startswith("undone") else ""
        self.say(safe_line(f"{done.words}{hint}", 300))
        self.after_change(follow)

    def after_change(self, follow: PlacementId = PlacementId(0)) -> None:
        """Our own change in the store: show it, pass it on."""
        view = self.list.view
        if view is not None:
            current = self.list.current()
            if view.refresh():
                stays = current in view.ids[max(0, self.list.cursor - 1) : self.list.cursor + 2]
                self.list.refreshed(current if stays or not follow else follow)
        if self.list.current() != self._shown:
            if self.opened and self.list.current():
                self.show_message(self.list.current())
            elif self.opened:
                self._close_reader()
            elif self.preview:
                self._preview_soon()
        self.look_at_accounts()
        self.owner.link_say(look=True)

    async def act_move(self, arg: str) -> None:
        await self._to_folder("move", "Move to", arg)

    async def act_copy(self, arg: str) -> None:
        await self._to_folder("copy", "Copy to", arg)

    async def _to_folder(self, name: str, title: str, arg: str) -> None:
        targets = self.list.targets()
        if not targets:
            return
        accounts = {place.account_id for place in self.store.mail.places(targets)}
        folder = await self._choose_folder(f"{title} …", arg, accounts=accounts)
        if folder is None:
            return
        follow = self.list.neighbour(set(targets))
        run = self.store.intents.move if name == "move" else self.store.intents.copy
        self.acted(run(targets, folder), follow)

    async def act_star(self) -> None:
        await self._toggle(Flag.FLAGGED, "star", "unstar")

    async def act_unread(self) -> None:
        await self._toggle(Flag.SEEN, "read", "unread")

    async def _toggle(self, flag: Flag, on: str, off: str) -> None:
        rows = self.store.mail.rows(self.list.targets())
        await self.verb(off if rows and all(row.flags & flag for row in rows.values()) else on)

    async def act_spam(self) -> None:
        await self.verb("unspam" if self.folder is not None and self.folder.role == Role.JUNK else "spam")

    async def act_delete(self) -> None:
        from termmail.ui.screens.dialogs import Confirm

        targets = self.list.targets()
        if not targets:
            return
        count = f"{len(targets):,} messages" if len(targets) > 1 else "this message"
        if await self.owner.ask(
            Confirm(SafeText(f"Delete {count} for ever?  It will be gone from the server too."), "delete")
        ):
            await self.verb("delete")

    async def act_label(self, arg: str) -> None:
        if not arg:
            arg = await self.owner.ask_text("Labels: +word adds, -word removes", "+") or ""
        if arg.strip(" +-"):
            await self.verb("label", arg)

    def act_read_all(self) -> None:
        if self.folder is not None:
            self.acted(self.store.intents.mark_all_read(self.folder.id), self.list.current())

    async def act_empty_trash(self) -> None:
        from termmail.ui.screens.dialogs import Confirm

        account = self.folder.account_id if self.folder else AccountId(1)
        trash = self.store.mail.role_folder(account, Role.TRASH)
        if trash is None or not trash.total:
            self.say(SafeText("the Trash is empty"))
            return
        if await self.owner.ask(Confirm(SafeText(f"Delete {trash.total:,} messages in the Trash for ever?"), "delete")):
            self.acted(self.store.intents.empty(trash.id))

    async def act_create_folder(self, arg: str) -> None:
        name = arg or await self.owner.ask_text("Name of the new folder", "")
        if name and self.folder is not None:
            self.store.intents.errand(self.folder.account_id, "create", path=name)
            self._errand(f"{name} will be created")

    async def act_rename_folder(self, arg: str) -> None:
        folder = self._folder_at_hand()
        name = arg or await self.owner.ask_text("New name", str(folder.path))
        if name and name != folder.path:
            self.store.intents.errand(folder.account_id, "rename", folder=folder.id, path=name)
            self._errand(f"{folder.path} will be renamed to {name}")

    async def act_delete_folder(self) -> None:
        from termmail.ui.screens.dialogs import Confirm

        folder = self._folder_at_hand()
        if folder.role:
            raise UsageError(f"{folder.path} has a role and is not deleted from here")
        words = SafeText(f"Delete {folder.path} with {max(folder.total, folder.srv_total):,} messages on the server?")
        if await self.owner.ask(Confirm(words, "delete")):
            self.store.intents.errand(folder.account_id, "delete", folder=folder.id)
            self._errand(f"{folder.path} will be deleted")

    def _folder_at_hand(self) -> Folder:
        """The folder under the tree's cursor, else the one that is shown.  Raises UsageError."""
        entry = self.tree_pane.current() if self.focused is self.tree_pane else None
        folder = entry.folder if entry is not None else self.folder
        if folder is None:
            raise UsageError("no folder here")
        return folder

    def _errand(self, words: str) -> None:
        self.say(safe_line(words))
        self.owner.link_say(look=True)
        self.look_at_accounts()

    # -- reading on ----------------------------------------------------------------------------------

    def act_headers(self) -> None:
        self.reader.toggle_headers()

    def act_quotes(self) -> None:
        self.reader.toggle_quotes()

    def act_html(self) -> None:
        row, document = self.store.mail.row(self._shown), self.reader.document
        if row is None or document is None:
            return
        if len(document.alternatives) < 2:
            self.say(SafeText(f"this message is {document.shown} only"))
            return
        self._prefer[row.message_id] = "html" if self._prefer.get(row.message_id, "plain") == "plain" else "plain"
        self.show_message(self._shown)

    def act_layout(self) -> None:
        self.layout_choice = LAYOUTS[(LAYOUTS.index(self.layout_choice) + 1) % len(LAYOUTS)]
        self._remember()
        self.lay_panes()
        self.say(SafeText(f"reader: {self.layout_choice}"))
        if self.preview:
            self._preview_soon()

    async def act_save(self, arg: str) -> None:
        from termmail.ui import saving

        await saving.save(self, arg)

    async def act_attachments(self) -> None:
        from termmail.ui import saving

        await saving.browse(self)

    async def act_links(self) -> None:
        from termmail.ui.screens.dialogs import Choose

        document = self.reader.document
        if document is None or not document.links:
            self.say(SafeText("no links here"))
            return
        items = [(str(one.n), safe_line(f"[{one.n}] {one.host}  {one.text}"), SafeText("")) for one in document.links]
        chosen = await self.owner.ask(Choose(SafeText("Copy a link"), items))
        if chosen:
            url = document.links[int(chosen) - 1].url
            self.app.copy_to_clipboard(url)
            self.say(safe_line(f"copied {url}", 300))

    def act_copy_text(self) -> None:
        if self.reader.document is not None:
            self.app.copy_to_clipboard(self.reader.document.text)
            self.say(SafeText("copied the text"))

    def act_why(self) -> None:
        """What is known of the message under the cursor."""
        from termmail.ui.screens.dialogs import ShowText

        place = self.store.mail.place(self.list.current())
        folders = {f.id: f.path for f in self.store.mail.folders(place.account_id)}
        lines = [
            f"account        {self.store.mail.account_name(place.account_id)}",
            f"on the server  {folders.get(place.folder_id, '?')}, UID {place.uid or 'not known yet'}",
            f"flags there    {place.srv_flags.name or 'none'} {place.srv_keywords}",
            f"shown in       {folders.get(place.view_id or FolderId(0), 'nowhere: to be deleted')}",
            f"flags here     {place.flags.name or 'none'} {place.keywords}",
            f"waits          {'yes: the server has not heard of it' if place.pending else 'nothing'}",
            f"Message-ID     {place.mid}",
        ]
        self.app.push_screen(ShowText(SafeText("This message"), lines))

    # -- writing --------------------------------------------------------------------------------------

    async def act_compose(self) -> None:
        await self.owner.writing.new()

    async def act_reply(self) -> None:
        await self.owner.writing.answer(self._at_hand(), to_all=False)

    async def act_reply_all(self) -> None:
        await self.owner.writing.answer(self._at_hand(), to_all=True)

    async def act_forward(self) -> None:
        await self.owner.writing.pass_on(self._at_hand(), inline=True)

    async def act_forward_attached(self) -> None:
        await self.owner.writing.pass_on(self._at_hand(), inline=False)

    async def act_drafts(self) -> None:
        await self.owner.writing.choose_draft()

    async def act_go_drafts(self) -> None:
        if self.store.queue.drafts():
            await self.owner.writing.choose_draft()
        else:
            self.go_to_role(Role.DRAFTS)

    async def act_outbox(self) -> None:
        await self.owner.writing.outbox()

    def _at_hand(self) -> PlacementId:
        """The message that is read, else the one under the cursor."""
        return self._shown if self.opened and self._shown else self.list.current()

    # -- the program --------------------------------------------------------------------------------------

    async def act_search(self, arg: str) -> None:
        line = arg or await self.prompt.ask("/", hint="words  from:  subject:  is:unread  in:  older:30d   Enter")
        if line:
            self._search(line, everywhere=True)

    async def act_limit(self, arg: str) -> None:
        line = arg or await self.prompt.ask("\\", hint="show only what matches; empty: all")
        if line is None or self.folder is None:
            return
        if not line.strip():
            self.go_to_folder(self.folder.id)
        else:
            self._search(line, everywhere=False)

    def _search(self, line: str, *, everywhere: bool) -> None:
        folder = None if everywhere or self.folder is None else self.folder.id
        found = self.store.search.find(line, folder_id=folder)
        self.searching = line
        self._close_reader()
        self._show_view(
            View(self.store, folder or FolderId(0), found), self.folder.role if folder and self.folder else Role.NONE
        )
        self.set_focus(self.list)
        self.say(safe_line(f"{len(found):,} found for {line} · q goes back"))

    async def act_command(self) -> None:
        line = await self.prompt.ask(":", words=sorted({*actions.BY_ID, *VERBS}))
        if line and line.strip():
            await self.do(line)

    async def act_palette(self) -> None:
        from termmail.ui.screens.dialogs import Choose

        table = self.owner.keymap.table
        items = [
            (one.id, SafeText(f"{one.words}  ({one.id})"), SafeText(" ".join(actions.keys_of(table, one.id)[:2])))
            for one in actions.ACTIONS
        ]
        chosen = await self.owner.ask(Choose(SafeText("What shall be done?"), items))
        if chosen:
            await self.do(chosen)

    def act_help(self) -> None:
        from termmail.ui.screens.dialogs import ShowText

        table = self.owner.keymap.table
        context = self.contexts()[0]
        lines: list[str] = []
        for group in dict.fromkeys(one.group for one in actions.ACTIONS):
            here = [
                one for one in actions.ACTIONS if one.group == group and one.context in (context, actions.EVERYWHERE)
            ]
            lines += [group, *(f"  {'  '.join(actions.keys_of(table, one.id)[:3]):14} {one.words}" for one in here), ""]
        self.app.push_screen(ShowText(SafeText("Keys that work here"), lines))

    def act_sync(self) -> None:
        self.owner.link_say(sync=True)
        self.say(SafeText("looking for new mail"))

    def act_accounts(self) -> None:
        from termmail.ui.screens.dialogs import ShowText

        lines = []
        for one in self.store.mail.accounts():
            last = time.strftime("%d %b %H:%M", time.localtime(one.last_sync)) if one.last_sync else "never"
            lines += [one.name, f"  state         {one.state.value} {one.folder}", f"  last complete {last}"]
            lines += [f"  queued        {one.queued} actions, {self.store.queue.queued_count(one.name)} messages"]
            lines += [f"  error         {one.error}", ""] if one.error else [""]
        self.app.push_screen(ShowText(SafeText("Accounts"), lines or ["no account yet: :add-account"]))

    async def act_theme(self, arg: str) -> None:
        await self.owner.choose_theme(arg)

    async def act_add_account(self) -> None:
        await self.owner.add_account()

    def act_suspend(self) -> None:
        self.app.action_suspend_process()

    def act_quit(self) -> None:
        self.app.exit(0)


_TAKES = frozenset(action.id for action in actions.ACTIONS if action.args)


def _as_source(raw: bytes) -> Document:
    from termmail.mime.render import render_raw

    return render_raw(raw)
