"""Which mail the list shows: a folder, or what a search has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from termmail.model.account import Role
from termmail.model.errors import NotFound
from termmail.model.message import AccountId, FolderId, PlacementId
from termmail.text import SafeText, safe_line
from termmail.ui.part import Part
from termmail.ui.view import View

if TYPE_CHECKING:
    pass


class Listing(Part):
    """See the module."""

    def go_to_role(self, role: Role) -> None:
        """The folder with that role: of the account that is open, else of the first."""
        account = self.screen.folder.account_id if self.screen.folder else None
        folders = [f for f in self.store.mail.folders() if f.role == role]
        found = next((f for f in folders if f.account_id == account), folders[0] if folders else None)
        if found is None:
            if self.store.mail.folders():
                self.screen.say(safe_line(f"no folder is known as {role.value}"), "error")
            return
        self.go_to(found.id)

    def go_to(self, folder_id: FolderId) -> None:
        """Show a folder."""
        try:
            self.screen.folder = self.store.mail.folder(folder_id)
        except NotFound as error:
            self.screen.say(SafeText(error.words), "error")
            return
        self.screen.searching = ""
        self.screen.reading.close()
        self.show_view(View(self.store, folder_id), self.screen.folder.role)
        self.tree_pane.show_folder(folder_id)
        self.owner.link_say(open=int(folder_id))
        if self.screen.focused is self.tree_pane:
            self.screen.set_focus(self.list)
            self.screen.lay_panes()

    def show_view(self, view: View, role: Role) -> None:
        """Another view into the list."""
        self.list.show(view, role)
        self.screen.reading.shown = PlacementId(0)
        self.reader.say(SafeText(""))
        self.screen.say_empty()
        if self.screen.preview and len(view):
            self.screen.reading.preview_soon()

    def act_next_folder(self) -> None:
        self._to_folder_with_unread(1)

    def act_previous_folder(self) -> None:
        self._to_folder_with_unread(-1)

    def _to_folder_with_unread(self, step: int) -> None:
        folders = [f for f in self.store.mail.folders() if f.selectable]
        if not folders:
            return
        at = next((n for n, f in enumerate(folders) if self.screen.folder and f.id == self.screen.folder.id), 0)
        for distance in range(1, len(folders) + 1):
            one = folders[(at + step * distance) % len(folders)]
            if one.unread and one.role not in (Role.TRASH, Role.JUNK):
                self.go_to(one.id)
                return
        self.screen.say(SafeText("no folder has unread messages"))

    async def act_go_folder(self, arg: str) -> None:
        folder = await self.choose("Go to folder", arg, accounts=None)
        if folder is not None:
            self.go_to(folder)

    async def choose(self, title: str, arg: str, *, accounts: set[AccountId] | None) -> FolderId | None:
        """Ask for a folder, unless it was named."""
        from termmail.ui.screens.dialogs import Choose

        names = {a.account_id: a.name for a in self.store.mail.accounts()}
        folders = [
            f for f in self.store.mail.folders() if f.selectable and (accounts is None or f.account_id in accounts)
        ]
        if arg:
            account = self.screen.folder.account_id if self.screen.folder else next(iter(names), AccountId(0))
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
        self.search("is:starred", everywhere=True)

    async def act_search(self, arg: str) -> None:
        line = arg or await self.screen.prompt.ask(
            "/", hint="words  from:  subject:  is:unread  in:  older:30d   Enter"
        )
        if line:
            self.search(line, everywhere=True)

    async def act_limit(self, arg: str) -> None:
        line = arg or await self.screen.prompt.ask("\\", hint="show only what matches; empty: all")
        if line is None or self.screen.folder is None:
            return
        if not line.strip():
            self.go_to(self.screen.folder.id)
        else:
            self.search(line, everywhere=False)

    def search(self, line: str, *, everywhere: bool) -> None:
        """Show what is found: of all folders, or of the one that is open."""
        folder = None if everywhere or self.screen.folder is None else self.screen.folder.id
        found = self.store.search.find(line, folder_id=folder)
        self.screen.searching = line
        self.screen.reading.close()
        role = self.screen.folder.role if folder and self.screen.folder else Role.NONE
        self.show_view(View(self.store, folder or FolderId(0), found), role)
        self.screen.set_focus(self.list)
        self.screen.say(safe_line(f"{len(found):,} found for {line} · q goes back"))
