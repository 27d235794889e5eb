"""POP3 accounts: folders that are only here, and what is known of the maildrop on the server.

A POP3 server knows no folders and no flags, so wishes come true here, by the calls that land the flights of IMAP.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from termmail.model.account import Role
from termmail.model.errors import NotFound, Refused
from termmail.model.message import AccountId, FolderId, MessageId, NewMessage, PlacementId
from termmail.store.db import Database
from termmail.store.mail import MailStore
from termmail.text import SafeText

FORGET = 86400.0  # seconds that listings must lack a message before it is forgotten
Key = tuple[str, int]  # unique id, and its place among equal ones in a listing
_FOLDERS = (
    ("INBOX", Role.INBOX), ("Drafts", Role.DRAFTS), ("Sent", Role.SENT), ("Archive", Role.ARCHIVE), ("Junk", Role.JUNK),
    ("Trash", Role.TRASH),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A message of the maildrop that was seen before."""

    message_id: MessageId
    first_seen: float
    whole: bool  # else only its header is here
    deleted: bool  # the server has confirmed it
    here: bool  # it is still in one of our folders


class Maildrop:
    """See the module; every method is one transaction or one read."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.mail = MailStore(db)

    # -- folders ------------------------------------------------------------------

    def ensure_folders(self, account_id: AccountId) -> None:
        """The folders every account needs."""
        roles = {folder.role for folder in self.mail.folders(account_id)}
        for path, role in _FOLDERS:
            if role not in roles:
                self.create_folder(account_id, path, role)

    def create_folder(self, account_id: AccountId, path: str, role: Role = Role.NONE) -> FolderId:
        """A folder that is only here.  Raises Refused if there is one of that name."""
        with self.db.transaction(durable=True):
            if self.db.one("SELECT 1 FROM folder WHERE account_id = ? AND path = ?", (account_id, path)):
                raise Refused("there is a folder of that name", code="ALREADYEXISTS")
            cursor = self.db.execute(
                "INSERT INTO folder (account_id, wire, path, delimiter, role, uidvalidity, uidnext, lo, srv_total) "
                "VALUES (?, ?, ?, '/', ?, 1, 1, 1, 0)",
                (account_id, path.encode(), path, role.value),
            )
        return FolderId(cursor.lastrowid or 0)

    def make_folder(self, folder_id: FolderId) -> None:
        """A folder that was wanted (folders.py) is one now.  Raises NotFound."""
        path = self.mail.folder_state(folder_id).path
        with self.db.transaction(durable=True):
            self.db.execute(
                "UPDATE folder SET wire = ?, uidvalidity = 1, srv_total = 0 WHERE id = ?", (path.encode(), folder_id)
            )

    def rename_folder(self, folder_id: FolderId, path: str) -> None:
        """Another name, for the folders below it too.  Raises NotFound, Refused."""
        folder = self.mail.folder(folder_id)
        if folder.role == Role.INBOX:
            raise Refused("the inbox keeps its name", code="CANNOT")
        with self.db.transaction(durable=True):
            for one in self.mail.folders(folder.account_id):
                if one.id != folder_id and one.path == path:
                    raise Refused("there is a folder of that name", code="ALREADYEXISTS")
                if one.id == folder_id or one.path.startswith(f"{folder.path}/"):
                    self.mail.rename_folder(
                        one.id, (new := path + one.path[len(folder.path) :]).encode(), SafeText(new)
                    )

    def delete_folder(self, folder_id: FolderId) -> None:
        """A folder and what is in it, for ever.  Raises NotFound, Refused for one that has a role."""
        if self.mail.folder_state(folder_id).role:
            raise Refused("this folder is needed", code="CANNOT")
        with self.db.transaction(durable=True):
            self.mail._drop_folder(folder_id)

    def subscribe(self, folder_id: FolderId, yes: bool) -> None:
        """Whether the tree shows it."""
        with self.db.transaction(durable=True):
            self.db.execute("UPDATE folder SET subscribed = ? WHERE id = ?", (int(yes), folder_id))

    def new_uids(self, folder_id: FolderId, count: int) -> range:
        """So many UIDs of our own for a folder, never given twice."""
        with self.db.transaction():
            row = self.db.one("SELECT uidnext FROM folder WHERE id = ?", (folder_id,))
            if row is None:
                raise NotFound("that folder is gone")
            self.db.execute("UPDATE folder SET uidnext = uidnext + ? WHERE id = ?", (count, folder_id))
        return range(row[0], row[0] + count)

    # -- messages -----------------------------------------------------------------

    def known(self, account_id: AccountId) -> dict[Key, Known]:
        """Everything of the maildrop that was seen before."""
        return {
            (row[0], row[1]): Known(MessageId(row[2]), row[3], bool(row[4]), bool(row[5]), bool(row[6]))
            for row in self.db.all(
                "SELECT d.uidl, d.ord, d.message_id, d.first_seen, d.whole, d.deleted, "
                "EXISTS (SELECT 1 FROM placement p WHERE p.message_id = d.message_id) "
                "FROM maildrop d WHERE d.account_id = ?",
                (account_id,),
            )
        }

    def keep(
        self, account_id: AccountId, folder_id: FolderId, key: Key | None, new: NewMessage, raw: bytes | None
    ) -> PlacementId:
        """Store a message and, in the same transaction, that it was seen; on the disk when this returns.

        `new.uid` is given here.  `raw` None: only its header is here yet.  `key` None: it is no message of the maildrop.
        """
        with self.db.transaction(durable=True):
            (uid,) = self.new_uids(folder_id, 1)
            (placement_id,) = self.mail.add_messages(folder_id, [new._replace(uid=uid)])
            message_id = self.mail.place(placement_id).message_id
            if raw is not None:
                self.mail.put_body(message_id, raw)
            if key is not None:
                self.db.execute(
                    "INSERT OR REPLACE INTO maildrop (account_id, uidl, ord, message_id, first_seen, whole) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (account_id, *key, message_id, time.time(), int(raw is not None)),
                )
        return placement_id

    def complete(self, account_id: AccountId, key: Key, raw: bytes) -> None:
        """The rest of a message whose header is here."""
        with self.db.transaction(durable=True):
            row = self.db.one(
                "SELECT message_id FROM maildrop WHERE account_id = ? AND uidl = ? AND ord = ?", (account_id, *key)
            )
            if row is not None:
                self.mail.put_body(MessageId(row[0]), raw)
                self.db.execute(
                    "UPDATE maildrop SET whole = 1 WHERE account_id = ? AND uidl = ? AND ord = ?", (account_id, *key)
                )

    def key_of(self, account_id: AccountId, message_id: MessageId) -> Key | None:
        """Which message of the maildrop that is."""
        row = self.db.one(
            "SELECT uidl, ord FROM maildrop WHERE account_id = ? AND message_id = ? AND deleted = 0 LIMIT 1",
            (account_id, message_id),
        )
        return (row[0], row[1]) if row else None

    def listed(self, account_id: AccountId, present: Collection[Key]) -> None:
        """A whole listing was read: what it lacks is forgotten when another one lacks it a day later."""
        now = time.time()
        there = set(present)
        with self.db.transaction():
            for uidl, order, missing in self.db.all(
                "SELECT uidl, ord, missing FROM maildrop WHERE account_id = ?", (account_id,)
            ):
                key = (account_id, uidl, order)
                if (uidl, order) in there:
                    if missing:
                        self._set("missing = 0", key)
                elif not missing:
                    self._set(f"missing = {now}", key)
                elif now - missing >= FORGET:
                    self.db.execute("DELETE FROM maildrop WHERE account_id = ? AND uidl = ? AND ord = ?", key)

    def deleted(self, account_id: AccountId, keys: Iterable[Key]) -> None:
        """The server has confirmed, by its answer to QUIT, that these are deleted."""
        with self.db.transaction(durable=True):
            for key in keys:
                self._set("deleted = 1", (account_id, *key))

    def _set(self, change: str, key: tuple[int, str, int]) -> None:
        self.db.execute(f"UPDATE maildrop SET {change} WHERE account_id = ? AND uidl = ? AND ord = ?", key)

    def copy(self, placements: Sequence[PlacementId], folder_id: FolderId) -> None:
        """Put these messages into a folder as well.  Raises NotFound."""
        places = self.mail.places(placements)
        with self.db.transaction(durable=True):
            for place, uid in zip(places, self.new_uids(folder_id, len(places)), strict=True):
                self.db.execute(
                    "INSERT INTO placement (message_id, folder_id, uid, srv_flags, srv_keywords, view_id, flags, keywords, "
                    "sort) SELECT message_id, ?, ?, flags, keywords, ?, flags, keywords, sort FROM placement WHERE id = ?",
                    (folder_id, uid, folder_id, place.id),
                )
