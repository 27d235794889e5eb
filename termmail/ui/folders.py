"""What is done to folders: made, renamed, deleted, read through, emptied."""

from __future__ import annotations

from termmail.model.account import Role
from termmail.model.errors import UsageError
from termmail.model.message import AccountId, Folder
from termmail.text import SafeText, safe_line
from termmail.ui.part import Part


class Folders(Part):
    """See the module."""

    def act_fold(self) -> None:
        self.tree_pane.fold()

    def act_read_all(self) -> None:
        if self.screen.folder is not None:
            self.screen.organising.acted(self.store.intents.mark_all_read(self.screen.folder.id), self.list.current())

    async def act_empty_trash(self) -> None:
        from termmail.ui.screens.dialogs import Confirm

        account = self.screen.folder.account_id if self.screen.folder else AccountId(1)
        trash = self.store.mail.role_folder(account, Role.TRASH)
        if trash is None or not trash.total:
            self.screen.say(SafeText("the Trash is empty"))
            return
        if await self.owner.ask(Confirm(SafeText(f"Delete {trash.total:,} messages in the Trash for ever?"), "delete")):
            self.screen.organising.acted(self.store.intents.empty(trash.id))

    async def act_create_folder(self, arg: str) -> None:
        name = arg or await self.owner.ask_text("Name of the new folder", "")
        if name and self.screen.folder is not None:
            self.store.intents.errand(self.screen.folder.account_id, "create", path=name)
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
        entry = self.tree_pane.current() if self.screen.focused is self.tree_pane else None
        folder = entry.folder if entry is not None else self.screen.folder
        if folder is None:
            raise UsageError("no folder here")
        return folder

    def _errand(self, words: str) -> None:
        self.screen.say(safe_line(words))
        self.owner.link_say(look=True)
        self.screen.look_at_accounts()
