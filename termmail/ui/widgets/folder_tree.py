"""The folders of all accounts: roles first, branches that close, unread counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.message import Message

from termmail.model.account import AccountState, AccountStatus, Role
from termmail.model.message import Folder, FolderId
from termmail.text import SafeText, safe_line
from termmail.ui.widgets.lines import Lines, fit
from termmail.ui.widgets.message_list import Glyphs

_TITLES = {
    Role.INBOX: "Inbox", Role.DRAFTS: "Drafts", Role.SENT: "Sent", Role.ARCHIVE: "Archive", Role.JUNK: "Junk",
    Role.TRASH: "Trash", Role.ALL: "All mail", Role.FLAGGED: "Starred",
}  # fmt: skip


def title(folder: Folder) -> SafeText:
    """A folder's name for people: what it is for, else its path."""
    return SafeText(_TITLES[folder.role]) if folder.role in _TITLES else folder.path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: an account (folder None), or a folder."""

    account: AccountStatus
    folder: Folder | None
    depth: int
    title: SafeText
    branch: bool  # has folders below it
    key: str

    def shows(self) -> tuple[object, ...]:
        """What its line is made of."""
        folder = self.folder
        if folder is None:
            return self.title, self.branch, self.account.state
        count = folder.total if folder.role == Role.DRAFTS else folder.unread
        return self.title, self.branch, self.depth, folder.role, count


class FolderTree(Lines):
    """See the module."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tree--account", "tree--role", "tree--count", "tree--unread", "tree--current", "tree--error", "tree--ok", "tree--dim",
    }  # fmt: skip

    class Chosen(Message):
        """A folder is to be shown."""

        def __init__(self, folder: FolderId) -> None:
            super().__init__()
            self.folder = folder

    def __init__(self, *, glyphs: Glyphs, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.glyphs = glyphs
        self.entries: list[Entry] = []
        self.closed: set[str] = set()
        self.shown_folder = FolderId(0)
        self.accounts: list[AccountStatus] = []
        self._folders: list[Folder] = []

    def count(self) -> int:
        return len(self.entries)

    def load(self, accounts: list[AccountStatus], folders: list[Folder]) -> None:
        """Show these."""
        if accounts == self.accounts and folders == self._folders:
            return
        self.accounts, self._folders = accounts, folders
        self._rebuild()

    def _rebuild(self) -> None:
        key = self.entries[self.cursor].key if self.entries else ""
        entries: list[Entry] = []
        for account in self.accounts:
            mine = [f for f in self._folders if f.account_id == account.account_id]
            name = safe_line(account.name)
            entries.append(Entry(account, None, 0, name, bool(mine), f"a:{account.name}"))
            if f"a:{account.name}" not in self.closed:
                entries += self._below(account, mine)
        before, self.entries = self.entries, entries
        keys = [entry.key for entry in entries]
        if keys == [entry.key for entry in before]:  # only counts or states: the cursor stays, few lines change
            pairs = zip(before, entries, strict=True)
            self.redraw(*(n for n, (old, new) in enumerate(pairs) if old.shows() != new.shows()))
            return
        if key in keys and (self.has_focus or not self.shown_folder):
            self.cursor = keys.index(key)
        elif self.shown_folder:
            self.cursor = max(0, self._place_of(self.shown_folder))
        self.resized()

    def _below(self, account: AccountStatus, folders: list[Folder]) -> list[Entry]:
        """An account's folders: those with a role, then the others as a tree."""
        out = [Entry(account, f, 1, title(f), False, f"f:{f.id}") for f in folders if f.role]
        roles = {str(f.path) for f in folders if f.role}
        plain = sorted((f for f in folders if not f.role), key=lambda f: f.path.casefold().split(f.delimiter or "\0"))
        here = {str(f.path) for f in plain}
        above = {str(f.path): [p for p in _parents(f.path, f.delimiter) if p in here] for f in plain}
        branches = {parent for parents in above.values() for parent in parents}
        hidden: set[str] = set()
        for folder in plain:
            path, parents, key = str(folder.path), above[str(folder.path)], f"f:{folder.id}"
            if hidden.isdisjoint(parents):
                name = _below_name(path, folder.delimiter, parents, roles)
                out.append(Entry(account, folder, 1 + len(parents), name, path in branches, key))
                if path in branches and key in self.closed:
                    hidden.add(path)
        return out

    def _place_of(self, folder: FolderId) -> int:
        return next((n for n, entry in enumerate(self.entries) if entry.folder and entry.folder.id == folder), -1)

    def show_folder(self, folder: FolderId) -> None:
        """Mark the folder that the list shows."""
        old = self._place_of(self.shown_folder)
        self.shown_folder = folder
        new = self._place_of(folder)
        if new >= 0 and not self.has_focus:
            self.go(new)
        self.redraw(old, new)

    def current(self) -> Entry | None:
        """The entry under the cursor."""
        return self.entries[self.cursor] if 0 <= self.cursor < len(self.entries) else None

    def fold(self, *, close: bool | None = None) -> bool:
        """Open or close the branch under the cursor; False if it is none."""
        entry = self.current()
        if entry is None or not entry.branch:
            return False
        closed = entry.key in self.closed
        if close is closed:
            return False
        self.closed ^= {entry.key}
        self._rebuild()
        return True

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        entry, look, glyphs = self.entries[index], self.look, self.glyphs
        mark = " "
        if entry.branch:
            mark = glyphs.closed if entry.key in self.closed else glyphs.open
        if entry.folder is None:
            state, style = _STATES.get(entry.account.state, ("", "tree--dim"))
            text = fit(entry.title, max(1, width - len(state) - 5), dots=glyphs.dots)
            return [
                Segment(f" {mark} ", base), Segment(text, base + look("tree--account")),
                Segment(f" {state} ", base + look(style)),
            ]  # fmt: skip
        folder = entry.folder
        unread = f"{folder.unread:,}" if folder.unread and folder.role not in (Role.TRASH, Role.JUNK) else ""
        if folder.role == Role.DRAFTS:
            unread = f"{folder.total:,}" if folder.total else ""
        name = base + look("tree--role") if folder.role else base
        if unread and folder.role != Role.DRAFTS:
            name += look("tree--unread")
        if folder.id == self.shown_folder:
            name += look("tree--current")
        left = "  " * entry.depth
        room = max(1, width - len(left) - len(unread) - 4)
        return [
            Segment(f" {left[1:]}{mark} ", base), Segment(fit(entry.title, room, dots=glyphs.dots), name),
            Segment(f" {unread} ", base + look("tree--count")),
        ]  # fmt: skip

    def on_click(self, event: object) -> None:
        super().on_click(event)
        entry = self.current()
        if entry is not None and entry.folder is not None:
            self.post_message(self.Chosen(entry.folder.id))
        elif entry is not None:
            self.fold()


_STATES = {
    AccountState.OFFLINE: ("off", "tree--dim"),
    AccountState.UNREACHABLE: ("off", "tree--dim"),
    AccountState.THROTTLED: ("off", "tree--dim"),
    AccountState.CONNECTING: ("…", "tree--dim"),
    AccountState.SYNCING: ("…", "tree--dim"),
    AccountState.AUTH: ("!", "tree--error"),
    AccountState.TLS: ("!", "tree--error"),
}


def _parents(path: str, delimiter: str) -> list[str]:
    """The folders above a path, the topmost first."""
    if not delimiter:
        return []
    parts = path.split(delimiter)
    return [delimiter.join(parts[:size]) for size in range(1, len(parts))]


def _below_name(path: str, delimiter: str, parents: list[str], roles: set[str]) -> SafeText:
    """What is left to say of a path below the folders that stand above it; INBOX is not said."""
    if parents:
        return SafeText(path[len(parents[-1]) + len(delimiter) :])
    inbox = f"INBOX{delimiter}"
    return SafeText(path[len(inbox) :] if delimiter and "INBOX" in roles and path.startswith(inbox) else path)
