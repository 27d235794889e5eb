"""What the user wants of folders: made, renamed, deleted, subscribed; laid over what the server has.

Each wish is an errand (intents.py), carried out in order.  The screen shows it at once; one that is refused or taken
back is simply no longer laid over.  A folder to be created has a row of its own, with a name for the wire that no
server can have, so that messages can be moved into it before it is there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from termmail.model.account import Role
from termmail.model.errors import UsageError
from termmail.model.message import AccountId, Folder, FolderId
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.store.intents import Done, Intents
    from termmail.store.mail import MailStore

NOT_THERE = b"\0"  # how the wire's name of a folder begins that is still to be created
NAME_LIMIT = 200  # characters of a path

Wish = tuple[int, str, Mapping[str, Any]]  # account, kind, arg of an errand


@dataclass(frozen=True, slots=True)
class Contents:
    """What would go with a folder: messages in all, and the folders below it."""

    messages: int
    subfolders: tuple[Folder, ...]


def laid_over(folders: Sequence[Folder], wishes: Sequence[Wish]) -> list[Folder]:
    """The folders as they are wanted, in the order given."""
    found = {folder.id: folder for folder in folders}
    for account, kind, arg in wishes:
        folder = found.get(arg.get("folder", 0))
        if folder is None or folder.account_id != account:
            continue
        if kind == "create":
            found[folder.id] = replace(folder, pending=kind)
        elif kind == "rename":
            for one in below(folder, found.values()):
                path = SafeText(arg["path"] + one.path[len(folder.path) :])
                found[one.id] = replace(one, path=path)
            found[folder.id] = replace(folder, path=SafeText(arg["path"]), pending=folder.pending or kind)
        elif kind == "delete":
            del found[folder.id]
        elif kind in ("subscribe", "unsubscribe"):
            found[folder.id] = replace(folder, subscribed=kind == "subscribe", pending=folder.pending or kind)
    return list(found.values())


def below(folder: Folder, folders: Any) -> list[Folder]:
    """The folders below one, however deep."""
    start = str(folder.path) + folder.delimiter
    return [
        one for one in folders
        if folder.delimiter and one.account_id == folder.account_id and str(one.path).startswith(start)
    ]  # fmt: skip


class FolderWishes:
    """The verbs for folders: the same for keys, the `:` line and `termmail folder`.  All raise UsageError."""

    def __init__(self, mail: MailStore, intents: Intents) -> None:
        self.mail = mail
        self.intents = intents
        self.db = mail.db

    def create(self, account_id: AccountId, name: str) -> Done:
        """A new folder; its levels joined by the server's delimiter or by "/"."""
        path, delimiter = self._path(account_id, name)
        with self.db.transaction(durable=True):
            cursor = self.db.execute(
                "INSERT INTO folder (account_id, wire, path, delimiter, uidnext, lo) VALUES (?, ?, ?, ?, 1, 1)",
                (account_id, NOT_THERE + path.encode(), path, delimiter),
            )
            folder_id = FolderId(cursor.lastrowid or 0)
            self.intents.errand(account_id, "create", path=path, folder=folder_id)
        return self._done(f"{path} will be created", folder_id)

    def rename(self, folder_id: FolderId, name: str) -> Done:
        """Another path, and so for the folders below it."""
        folder = self.mail.folder(folder_id)
        if folder.role == Role.INBOX:
            raise UsageError("the inbox keeps its name")
        path, _ = self._path(folder.account_id, name, but=folder)
        if path == folder.path:
            return self._done(f"{path} has that name already", count=0)
        if folder.delimiter and path.startswith(folder.path + folder.delimiter):
            raise UsageError(f"{folder.path} cannot be moved into itself")
        with self.db.transaction(durable=True):
            waiting = self._waiting(folder_id, "create")
            if waiting and not below(
                folder, self.mail.folders(folder.account_id)
            ):  # the server has not heard of it: it is made with that name
                errand, arg = waiting[0]
                self.db.execute("UPDATE errand SET arg = ? WHERE id = ?", (json.dumps(arg | {"path": path}), errand))
                self.db.execute(
                    "UPDATE folder SET path = ?, wire = ? WHERE id = ?", (path, NOT_THERE + path.encode(), folder_id)
                )
            else:
                self.intents.errand(folder.account_id, "rename", folder=folder_id, path=path, old=folder.path)
        return self._done(f"{folder.path} will be {path}", folder_id)

    def move(self, folder_id: FolderId, parent: FolderId | None) -> Done:
        """Under another folder, or to the top (None)."""
        folder = self.mail.folder(folder_id)
        above = self.mail.folder(parent) if parent else None
        if above is not None and above.account_id != folder.account_id:
            raise UsageError("a folder can only be moved within its account")
        if above is not None and above.id == folder.id:
            raise UsageError(f"{folder.path} cannot be moved into itself")
        leaf = folder.path.rpartition(folder.delimiter)[2] if folder.delimiter else folder.path
        return self.rename(folder_id, f"{above.path}{folder.delimiter}{leaf}" if above is not None else leaf)

    def contents(self, folder_id: FolderId) -> Contents:
        """What a deletion would take."""
        folder = self.mail.folder(folder_id)
        inside = below(folder, self.mail.folders(folder.account_id))
        return Contents(sum(map(_messages, [folder, *inside])), tuple(inside))

    def delete(self, folder_id: FolderId) -> Done:
        """Delete a folder with all that is in it, and the folders below it.

        It is not done if there are more messages in it by then than there are now.
        """
        folder = self.mail.folder(folder_id)
        inside = below(folder, self.mail.folders(folder.account_id))
        for one in [folder, *inside]:
            if one.role:
                raise UsageError(f"{one.path} is for {one.role.value} and is not deleted from here")
        with self.db.transaction(durable=True):
            for one in sorted([folder, *inside], key=lambda f: len(f.path), reverse=True):
                if waiting := self._waiting(one.id, "create"):
                    self.intents.cancel_errand(waiting[0][0])
                    continue
                self.intents.errand(one.account_id, "delete", folder=one.id, path=one.path, expected=_messages(one))
        return self._done(f"{folder.path} will be deleted", folder_id)

    def subscribe(self, folder_id: FolderId, *, yes: bool) -> Done:
        """Subscribe or unsubscribe."""
        folder = self.mail.folder(folder_id)
        kind, other = ("subscribe", "unsubscribe") if yes else ("unsubscribe", "subscribe")
        if folder.subscribed == yes:
            return self._done(f"{folder.path} is {kind}d already", count=0)
        with self.db.transaction(durable=True):
            if waiting := self._waiting(folder_id, other):
                self.intents.cancel_errand(waiting[-1][0])
            else:
                self.intents.errand(folder.account_id, kind, folder=folder_id, path=folder.path)
        return self._done(f"{kind}d {'to' if yes else 'from'} {folder.path}", folder_id)

    def _waiting(self, folder_id: FolderId, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """(errand, arg) of what is still wanted of a folder and has not begun."""
        rows = self.db.all("SELECT id, arg FROM errand WHERE kind = ? AND phase = '' ORDER BY id", (kind,))
        found = [(row[0], json.loads(row[1])) for row in rows]
        return [one for one in found if one[1].get("folder") == folder_id]

    def _path(self, account_id: AccountId, name: str, *, but: Folder | None = None) -> tuple[SafeText, str]:
        """The whole path that a name means on this server, and the delimiter."""
        folders = self.mail.folders(account_id)
        delimiters = Counter(folder.delimiter for folder in folders if folder.delimiter)
        delimiter = delimiters.most_common(1)[0][0] if delimiters else "/"
        path = safe_line(name.strip())
        if delimiter != "/" and "/" in path and not any("/" in folder.path for folder in folders):
            path = SafeText(path.replace("/", delimiter))
        personal = f"INBOX{delimiter}"  # Courier, Cyrus: all that is ours stands below INBOX
        others = [folder.path for folder in folders if folder.role != Role.INBOX and folder.path.upper() != "INBOX"]
        if others and all(other.startswith(personal) for other in others) and not path.startswith(personal):
            path = SafeText(personal + path)
        if not path or len(path) > NAME_LIMIT or safe_line(name.strip()) != name.strip():
            raise UsageError("that cannot be the name of a folder")
        if not all(part.strip() for part in path.split(delimiter)):
            raise UsageError(f"{path!r} cannot be the name of a folder", hint=f"{delimiter} stands between its levels")
        if any(one.path == path or one.path.upper() == path.upper() == "INBOX" for one in folders if one != but):
            raise UsageError(f"there is a folder {path} already")
        return path, delimiter

    def _done(self, words: str, *folders: FolderId, count: int = 1) -> Done:
        from termmail.store.intents import Done

        return Done(safe_line(words), count, folders=frozenset(folders))


def _messages(folder: Folder) -> int:
    """How many messages a folder holds, as far as it is known."""
    return folder.total if folder.complete else max(folder.total, folder.srv_total)


def described(kind: str, arg: Mapping[str, Any]) -> SafeText:
    """An errand in words: "create Work", "copy 3 messages"."""
    if kind == "copy":
        count = len(arg.get("placements", ()))
        return SafeText(f"copy {count:,} message{'s' * (count != 1)}")
    if kind == "rename":
        return safe_line(f"rename {arg.get('old', 'a folder')} to {arg.get('path', '')}", 300)
    return safe_line(f"{kind} {arg.get('path', 'a folder')}", 300)
