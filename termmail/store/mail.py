"""Accounts, folders, messages and bodies: what servers said, and what the list shows of it.

Writes truth only; the effective columns of a placement follow from truth and pending wishes by
`EFFECTIVE_FLAGS`, here and in intents.py alike.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from termmail.model.account import AccountState, AccountStatus, Role
from termmail.model.errors import NotFound
from termmail.model.message import (
    AccountId,
    Address,
    Flag,
    Folder,
    FolderId,
    MessageId,
    NewMessage,
    PlacementId,
    Row,
)
from termmail.store.db import Database
from termmail.store.folders import NOT_THERE, Wish, laid_over
from termmail.text import SafeText, safe_line

PENDING_FLAGS = 0xFFFF  # the low bits of `pending` are Flag bits
PENDING_MOVE = 1 << 16
PENDING_DELETE = 1 << 17
PENDING_KEYWORDS = 1 << 18

SORT_SHIFT = 20  # a sort key is seconds << SORT_SHIFT | low bits of the UID, so that equal seconds keep the UIDs' order
TOUCHED_KEPT = 20_000
SQL_LIST = 500  # ids in one IN (…)
ROWS_AT_ONCE = 200  # rows in one INSERT
_ROLE_ORDER = {role.value: n for n, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class RemoteFolderRow:
    """A folder as LIST told it."""

    wire: bytes
    path: SafeText
    delimiter: str
    role: Role
    selectable: bool
    subscribed: bool


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """What a LIST changed here."""

    added: tuple[FolderId, ...] = ()
    removed: tuple[FolderId, ...] = ()
    changed: tuple[FolderId, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What sync knows of a folder; see schema.sql for the columns."""

    id: FolderId
    account_id: AccountId
    wire: bytes
    path: SafeText
    role: Role
    selectable: bool
    uidvalidity: int
    uidnext: int
    modseq: int
    lo: int
    hi: int
    srv_total: int
    srv_unseen: int
    synced: float
    local_count: int  # placements with a UID; -1: not counted


@dataclass(frozen=True, slots=True)
class Placement:
    """All columns of a placement, and of its message what finding it elsewhere takes."""

    id: PlacementId
    message_id: MessageId
    account_id: AccountId
    folder_id: FolderId
    uid: int | None
    view_id: FolderId | None
    srv_flags: Flag
    flags: Flag
    srv_keywords: str
    keywords: str
    pending: int
    mid: str
    ident: bytes


_PLACEMENT = (
    "SELECT p.id, p.message_id, m.account_id, p.folder_id, p.uid, p.view_id, p.srv_flags, p.flags, "
    "p.srv_keywords, p.keywords, p.pending, m.mid, m.ident FROM placement p JOIN message m ON m.id = p.message_id"
)
_ROW = (
    "SELECT p.id, p.message_id, p.view_id, p.sort, p.flags, p.keywords, m.from_name, m.from_email, m.to_names, "
    "m.subject, m.size, m.attachments, m.thread, p.pending, m.date FROM placement p JOIN message m ON m.id = p.message_id"
)


def chunks(ids: Sequence[int], size: int = SQL_LIST) -> Iterable[Sequence[int]]:
    """The ids in slices that fit into one statement."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def marks(ids: Sequence[int]) -> str:
    """As many question marks as ids."""
    return ",".join("?" * len(ids))


class MailStore:
    """See the module; every method is one transaction or one read."""

    def __init__(self, db: Database) -> None:
        self.db = db

    # -- accounts ------------------------------------------------------------

    def ensure_account(self, name: str, email: str) -> AccountId:
        """The account of that name, made if it is not there."""
        row = self.db.one("SELECT id, email FROM account WHERE name = ?", (name,))
        if row is None or row[1] != email:
            with self.db.transaction():
                self.db.execute(
                    "INSERT INTO account (name, email) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET email = excluded.email",
                    (name, email),
                )
            row = self.db.one("SELECT id FROM account WHERE name = ?", (name,))
        return AccountId(row[0])

    def accounts(self) -> list[AccountStatus]:
        """All accounts in the order they were added, with the wishes that wait."""
        waiting = dict(
            self.db.all(
                "SELECT f.account_id, count(*) FROM placement p JOIN folder f ON f.id = p.folder_id "
                "WHERE p.pending <> 0 GROUP BY f.account_id"
            )
        )
        errands = dict(self.db.all("SELECT account_id, count(*) FROM errand GROUP BY account_id"))
        return [
            AccountStatus(
                row[0], row[1], AccountState(row[2]), SafeText(row[3]), row[4], row[5],
                waiting.get(row[0], 0) + errands.get(row[0], 0), row[6], SafeText(row[7]),
            )
            for row in self.db.all("SELECT id, name, state, folder, done, total, last_sync, error FROM account ORDER BY id")
        ]  # fmt: skip

    def account_id(self, name: str) -> AccountId:
        """The id of an account.  Raises NotFound."""
        row = self.db.one("SELECT id FROM account WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"no account {name!r}", hint="termmail account list")
        return AccountId(row[0])

    def account_name(self, account_id: int) -> str:
        """The name of an account, "" if it is gone."""
        row = self.db.one("SELECT name FROM account WHERE id = ?", (account_id,))
        return str(row[0]) if row else ""

    def set_account(
        self,
        account_id: AccountId,
        *,
        state: AccountState | None = None,
        folder: SafeText | None = None,
        done: int | None = None,
        total: int | None = None,
        last_sync: float | None = None,
        error: SafeText | None = None,
    ) -> None:
        """Change what is told of an account; None leaves a column alone."""
        given = {
            "state": state, "folder": folder, "done": done, "total": total, "last_sync": last_sync, "error": error,
        }  # fmt: skip
        changes = {column: value for column, value in given.items() if value is not None}
        if changes:
            columns = ", ".join(f"{column} = :{column}" for column in changes)
            with self.db.transaction():
                self.db.execute(f"UPDATE account SET {columns} WHERE id = :id", {**changes, "id": account_id})

    def learned(self, account_id: AccountId) -> dict[str, Any]:
        """What experience taught about this account's servers."""
        row = self.db.one("SELECT learned FROM account WHERE id = ?", (account_id,))
        return dict(json.loads(row[0])) if row else {}

    def learn(self, account_id: AccountId, **facts: Any) -> None:
        """Add to what is known about this account's servers."""
        with self.db.transaction():
            known = self.learned(account_id) | facts
            self.db.execute("UPDATE account SET learned = ? WHERE id = ?", (json.dumps(known), account_id))

    def remove_account(self, name: str) -> None:
        """Forget an account and all its mail here; the server keeps its own.  Raises NotFound."""
        account_id = self.account_id(name)
        with self.db.transaction(durable=True):
            self.db.execute(
                "DELETE FROM placement WHERE folder_id IN (SELECT id FROM folder WHERE account_id = ?)", (account_id,)
            )
            for table in ("message", "folder", "flight", "errand"):
                self.db.execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))
            self.db.execute("DELETE FROM account WHERE id = ?", (account_id,))

    # -- folders -------------------------------------------------------------

    def folders(self, account_id: AccountId | None = None) -> list[Folder]:
        """Folders by account, those with a role first (in the order of Role), then by name."""
        where, values = ("WHERE account_id = ?", (account_id,)) if account_id else ("", ())
        found = [
            Folder(
                FolderId(row[0]), AccountId(row[1]), SafeText(row[2]), row[3], Role(row[4]), bool(row[5]),
                bool(row[6]), row[7], row[8], row[9], row[10] == 1,
            )
            for row in self.db.all(
                "SELECT id, account_id, path, delimiter, role, selectable, subscribed, total, unread, srv_total, lo "
                f"FROM folder {where}",
                values,
            )
        ]  # fmt: skip
        if wishes := self._folder_wishes():
            found = laid_over(found, wishes)
        return sorted(found, key=lambda f: (f.account_id, _ROLE_ORDER[f.role], f.path.casefold()))

    def _folder_wishes(self) -> list[Wish]:
        """What is wanted of folders and not carried out, in order."""
        rows = self.db.all("SELECT account_id, kind, arg FROM errand WHERE kind <> 'copy' ORDER BY id")
        return [(account, kind, json.loads(arg)) for account, kind, arg in rows]

    def folder(self, folder_id: FolderId) -> Folder:
        """One folder.  Raises NotFound."""
        row = self.db.one("SELECT account_id FROM folder WHERE id = ?", (folder_id,))
        found = [f for f in self.folders(AccountId(row[0])) if f.id == folder_id] if row else []
        if not found:
            raise NotFound("that folder is gone")
        return found[0]

    def role_folder(self, account_id: AccountId, role: Role) -> Folder | None:
        """The account's folder for that role, if it has one."""
        return next((f for f in self.folders(account_id) if f.role == role), None)

    def find_folder(self, account_id: AccountId, name: str) -> Folder:
        """A folder by its path or the name of its role; INBOX in any case.  Raises NotFound."""
        folders = self.folders(account_id)
        for folder in folders:
            if folder.path == name or (folder.path.upper() == "INBOX" == name.upper()):
                return folder
        for folder in folders:
            if folder.role and folder.role == name.lower():
                return folder
        low = name.casefold()
        similar = [f for f in folders if f.path.casefold() == low]
        if len(similar) == 1:
            return similar[0]
        raise NotFound(
            f"no folder {safe_line(name)!r}", hint="termmail folder list", account=self.account_name(account_id)
        )

    def sync_folders(self, account_id: AccountId, remote: Sequence[RemoteFolderRow]) -> FolderChanges:
        """Make the folders here those of the server; one that is gone goes with its placements."""
        self._finish_renames(account_id, {row.wire for row in remote})
        known = {
            bytes(row[1]): (FolderId(row[0]), row[2:])
            for row in self.db.all(
                "SELECT id, wire, path, delimiter, role, selectable, subscribed FROM folder WHERE account_id = ?",
                (account_id,),
            )
        }
        added, changed = [], []
        there = {row.wire for row in remote}
        removed = [
            folder_id for wire, (folder_id, _) in known.items() if wire not in there and not wire.startswith(NOT_THERE)
        ]
        with self.db.transaction():
            for row in remote:
                now = (row.path, row.delimiter, row.role.value, int(row.selectable), int(row.subscribed))
                if row.wire not in known:
                    cursor = self.db.execute(
                        "INSERT INTO folder (account_id, wire, path, delimiter, role, selectable, subscribed) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (account_id, row.wire, *now),
                    )
                    added.append(FolderId(cursor.lastrowid or 0))
                elif known[row.wire][1] != now:
                    self.db.execute(
                        "UPDATE folder SET path = ?, delimiter = ?, role = ?, selectable = ?, subscribed = ? WHERE id = ?",
                        (*now, known[row.wire][0]),
                    )
                    changed.append(known[row.wire][0])
            for folder_id in removed:
                self._drop_folder(folder_id)
        return FolderChanges(tuple(added), tuple(removed), tuple(changed))

    def rename_folder(self, folder_id: FolderId, wire: bytes, path: SafeText) -> None:
        """The server has renamed a folder: it and those below it keep their ids and their mail here."""
        row = self.db.one("SELECT account_id, wire, path, delimiter FROM folder WHERE id = ?", (folder_id,))
        if row is None or bytes(row[1]) == wire:
            return
        account_id, old, old_path, delimiter = row[0], bytes(row[1]), row[2], row[3]
        with self.db.transaction():
            for one, its_wire, its_path in self.db.all(
                "SELECT id, wire, path FROM folder WHERE account_id = ?", (account_id,)
            ):
                inside = delimiter and bytes(its_wire).startswith(old + delimiter.encode())
                if one == folder_id or inside:
                    self.db.execute(
                        "UPDATE folder SET wire = ?, path = ? WHERE id = ?",
                        (wire + bytes(its_wire)[len(old) :], path + its_path[len(old_path) :], one),
                    )

    def _finish_renames(self, account_id: AccountId, there: set[bytes]) -> None:
        """A rename that the server did before we heard of it: the new name is there, the old one is not."""
        for account, kind, arg in self._folder_wishes():
            if account != account_id or kind != "rename" or "wire" not in arg:
                continue
            row = self.db.one("SELECT wire FROM folder WHERE id = ?", (arg["folder"],))
            new = bytes.fromhex(arg["wire"])
            known = self.db.one("SELECT 1 FROM folder WHERE account_id = ? AND wire = ?", (account_id, new))
            if row is not None and bytes(row[0]) not in there and new in there and known is None:
                self.rename_folder(FolderId(arg["folder"]), new, SafeText(arg["path"]))

    def name_folder(self, folder_id: FolderId, wire: bytes) -> None:
        """A folder that was to be created is there now; if it was known already, the two become one."""
        twin = self.db.one(
            "SELECT id FROM folder WHERE wire = ? AND account_id = (SELECT account_id FROM folder WHERE id = ?)",
            (wire, folder_id),
        )
        with self.db.transaction():
            if twin is None:
                self.db.execute("UPDATE folder SET wire = ?, lo = 0 WHERE id = ?", (wire, folder_id))
            elif twin[0] != folder_id:
                self.db.execute("UPDATE placement SET view_id = ? WHERE view_id = ?", (twin[0], folder_id))
                self.db.execute("DELETE FROM folder WHERE id = ?", (folder_id,))

    def has_inferiors(self, folder_id: FolderId) -> bool:
        """There are folders below it on the server, as of the last LIST."""
        row = self.db.one("SELECT account_id, wire, delimiter FROM folder WHERE id = ?", (folder_id,))
        if row is None or not row[2]:
            return False
        start = bytes(row[1]) + row[2].encode()
        wires = self.db.all("SELECT wire FROM folder WHERE account_id = ?", (row[0],))
        return any(bytes(wire).startswith(start) for (wire,) in wires)

    def unmake_folder(self, folder_id: FolderId) -> None:
        """Forget a folder that was to be created, if it has not been."""
        row = self.db.one("SELECT wire FROM folder WHERE id = ?", (folder_id,))
        if row is not None and bytes(row[0]).startswith(NOT_THERE):
            with self.db.transaction():
                self._drop_folder(folder_id)

    def _drop_folder(self, folder_id: FolderId) -> None:
        """Delete a folder that the server no longer has, and what was in it."""
        # what was on its way into it stays where it truly is
        self.db.execute(
            "UPDATE placement SET view_id = folder_id, pending = pending & ~? WHERE view_id = ? AND folder_id <> ?",
            (PENDING_MOVE, folder_id, folder_id),
        )
        gone = [row[0] for row in self.db.all("SELECT id FROM placement WHERE folder_id = ?", (folder_id,))]
        self._delete_placements(gone)
        self.db.execute("DELETE FROM folder WHERE id = ?", (folder_id,))

    def folder_state(self, folder_id: FolderId, *, counted: bool = False) -> FolderState:
        """What sync knows of a folder; only `counted` says how many messages are here (it reads them all).  Raises NotFound."""
        count = (
            "(SELECT count(*) FROM placement p WHERE p.folder_id = folder.id AND p.uid IS NOT NULL)"
            if counted
            else "-1"
        )
        row = self.db.one(
            "SELECT id, account_id, wire, path, role, selectable, uidvalidity, uidnext, modseq, lo, hi, srv_total, "
            f"srv_unseen, synced, {count} FROM folder WHERE id = ?",
            (folder_id,),
        )
        if row is None:
            raise NotFound("that folder is gone")
        return FolderState(row[0], row[1], bytes(row[2]), SafeText(row[3]), Role(row[4]), bool(row[5]), *row[6:])

    def set_folder_state(self, folder_id: FolderId, **columns: float) -> None:
        """Write columns of `FolderState` (uidvalidity, uidnext, modseq, lo, hi, srv_total, srv_unseen, synced)."""
        names = ", ".join(f"{name} = :{name}" for name in columns)
        with self.db.transaction():
            self.db.execute(f"UPDATE folder SET {names} WHERE id = :id", {**columns, "id": folder_id})

    def reset_folder(self, folder_id: FolderId, uidvalidity: int) -> None:
        """UIDVALIDITY changed (RFC 3501 §2.3.1.1): every UID known here is void.

        Placements stay visible without a UID until `add_messages` finds their message again by
        ident; `drop_unmatched` removes the rest once the folder is complete.
        """
        with self.db.transaction():
            self.db.execute("UPDATE placement SET uid = NULL, modseq = 0 WHERE folder_id = ?", (folder_id,))
            self.db.execute(
                "UPDATE folder SET uidvalidity = ?, uidnext = 0, modseq = 0, lo = 0, hi = 0, synced = 0 WHERE id = ?",
                (uidvalidity, folder_id),
            )

    def drop_unmatched(self, folder_id: FolderId) -> int:
        """Remove placements that have no UID although the folder is complete; how many."""
        with self.db.transaction():
            gone = [
                row[0]
                for row in self.db.all("SELECT id FROM placement WHERE folder_id = ? AND uid IS NULL", (folder_id,))
            ]
            self._delete_placements(gone)
        return len(gone)

    # -- truth comes in ------------------------------------------------------

    def add_messages(self, folder_id: FolderId, batch: Sequence[NewMessage]) -> list[PlacementId]:
        """Add messages to a folder; the ids of their placements, in order.

        A UID that is known gets the new flags.  A placement here without UID and with the same
        ident (a move whose target UID the server did not tell, or a folder whose UIDVALIDITY
        changed) is the same message: it gets the UID and keeps its id.
        """
        result: list[PlacementId] = []
        messages: list[tuple[Any, ...]] = []
        placements: list[tuple[Any, ...]] = []
        with self.db.transaction():
            (account_id,) = self.db.one("SELECT account_id FROM folder WHERE id = ?", (folder_id,)) or (None,)
            if account_id is None:
                raise NotFound("that folder is gone")
            known = self._known_uids(folder_id, [new.uid for new in batch])
            waiting = self._waiting(folder_id)
            copies = self._copies(account_id, [new.summary.ident for new in batch])
            next_message, next_placement = self._next_id("message"), self._next_id("placement")
            for new in batch:
                placement_id = known.get(new.uid)
                if placement_id is None and waiting:
                    placement_id = self._adopt(waiting, new)
                if placement_id is not None:
                    self._set_flags(placement_id, int(new.flags), new.keywords, new.modseq)
                else:
                    message_id = copies.get(new.summary.ident)
                    if message_id is None:
                        message_id = copies[new.summary.ident] = MessageId(next_message + len(messages))
                        messages.append(_message_row(message_id, account_id, new))
                    placement_id = known[new.uid] = PlacementId(next_placement + len(placements))
                    placements.append(_placement_row(placement_id, message_id, folder_id, new))
                result.append(placement_id)
            self._insert("message", _MESSAGE_COLUMNS, messages)
            self._insert("placement", _PLACEMENT_COLUMNS, placements)
        return result

    def _next_id(self, table: str) -> int:
        """The id that AUTOINCREMENT would give next; ids are never given twice."""
        row = self.db.one("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        return int(row[0]) + 1 if row else 1

    def _insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Many rows in one statement: SQLite works through them without Python, beside the thread that parses."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            one = f"({marks(part[0])})"
            values = [value for row in part for value in row]
            self.db.execute(f"INSERT INTO {table} ({columns}) VALUES {', '.join([one] * len(part))}", values)

    def _known_uids(self, folder_id: int, uids: Sequence[int]) -> dict[int, PlacementId]:
        known: dict[int, PlacementId] = {}
        for part in chunks(uids):
            known.update(
                self.db.all(
                    f"SELECT uid, id FROM placement WHERE folder_id = ? AND uid IN ({marks(part)})",
                    (folder_id, *part),
                )
            )
        return known

    def _waiting(self, folder_id: int) -> dict[bytes, list[PlacementId]]:
        """Placements of the folder without UID, by ident."""
        waiting: dict[bytes, list[PlacementId]] = {}
        for placement_id, ident in self.db.all(
            "SELECT p.id, m.ident FROM placement p JOIN message m ON m.id = p.message_id "
            "WHERE p.folder_id = ? AND p.uid IS NULL",
            (folder_id,),
        ):
            waiting.setdefault(ident, []).append(placement_id)
        return waiting

    def _adopt(self, waiting: dict[bytes, list[PlacementId]], new: NewMessage) -> PlacementId | None:
        candidates = waiting.get(new.summary.ident)
        if not candidates:
            return None
        placement_id = candidates.pop(0)
        self.db.execute("UPDATE placement SET uid = ? WHERE id = ?", (new.uid, placement_id))
        return placement_id

    def _copies(self, account_id: int, idents: Sequence[bytes]) -> dict[bytes, MessageId]:
        """Messages of the account that are known by ident."""
        found: dict[bytes, MessageId] = {}
        for start in range(0, len(idents), SQL_LIST):
            part = idents[start : start + SQL_LIST]
            found.update(
                self.db.all(
                    f"SELECT ident, id FROM message WHERE account_id = ? AND ident IN ({','.join('?' * len(part))})",
                    (account_id, *part),
                )
            )
        return found

    def _set_flags(self, placement_id: int, flags: int, keywords: str, modseq: int) -> bool:
        """New truth for one placement; True if anything about it changed."""
        cursor = self.db.execute(
            "UPDATE placement SET srv_flags = :f, srv_keywords = :k, modseq = :m, "
            "flags = (:f & ~(pending & 65535)) | (flags & (pending & 65535)), "
            "keywords = CASE WHEN pending & 262144 THEN keywords ELSE :k END "
            "WHERE id = :id AND (srv_flags <> :f OR srv_keywords <> :k) AND (:m = 0 OR modseq <= :m)",
            {"f": flags, "k": keywords, "m": modseq, "id": placement_id},
        )
        return cursor.rowcount > 0

    def set_truth_flags(self, folder_id: FolderId, rows: Sequence[tuple[int, int, str, int]]) -> int:
        """Flags as the server has them: (uid, flags, keywords, modseq) each; how many differed.

        Bits that the user wants otherwise keep his wish.  An older MODSEQ changes nothing.
        """
        changed = 0
        with self.db.transaction():
            for start in range(0, len(rows), SQL_LIST):
                part = rows[start : start + SQL_LIST]
                known = {
                    uid: (placement_id, flags, keywords)
                    for uid, placement_id, flags, keywords in self.db.all(
                        "SELECT uid, id, srv_flags, srv_keywords FROM placement "
                        f"WHERE folder_id = ? AND uid IN ({','.join('?' * len(part))})",
                        (folder_id, *[row[0] for row in part]),
                    )
                }
                for uid, flags, keywords, modseq in part:
                    was = known.get(uid)
                    if was and was[1:] != (flags, keywords):
                        changed += self._set_flags(was[0], flags, keywords, modseq)
        return changed

    def vanish(self, folder_id: FolderId, uids: Collection[int]) -> int:
        """These UIDs are no longer there; how many placements went.  The server's deletion wins over wishes."""
        gone: list[int] = []
        with self.db.transaction():
            for part in chunks(sorted(uids)):
                gone += self._known_uids(folder_id, part).values()
            self._delete_placements(gone)
        return len(gone)

    def _delete_placements(self, ids: Sequence[int]) -> None:
        """Delete placements, and messages that are nowhere any more."""
        for part in chunks(ids):
            messages = [
                row[0]
                for row in self.db.all(
                    f"SELECT DISTINCT message_id FROM placement WHERE id IN ({marks(part)})",
                    part,
                )
            ]
            self.db.execute(f"DELETE FROM placement WHERE id IN ({marks(part)})", part)
            self.db.execute(
                f"DELETE FROM message WHERE id IN ({marks(messages)}) "
                "AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.message_id = message.id)",
                messages,
            )

    def uids(self, folder_id: FolderId, lo: int = 1, hi: int = 2**32) -> list[int]:
        """The UIDs known in [lo, hi], ascending."""
        return [
            row[0]
            for row in self.db.all(
                "SELECT uid FROM placement WHERE folder_id = ? AND uid BETWEEN ? AND ? ORDER BY uid",
                (folder_id, lo, hi),
            )
        ]

    def placement_of(self, folder_id: FolderId, uid: int) -> PlacementId | None:
        """The placement with that UID."""
        row = self.db.one("SELECT id FROM placement WHERE folder_id = ? AND uid = ?", (folder_id, uid))
        return PlacementId(row[0]) if row else None

    # -- views ---------------------------------------------------------------

    def page(
        self, folder_id: FolderId, *, before: tuple[int, int] | None = None, limit: int = 500
    ) -> list[tuple[int, int]]:
        """(sort, placement) of what the folder shows, newest first, from after `before` on."""
        if before is None:
            return self.db.all(
                "SELECT sort, id FROM placement WHERE view_id = ? ORDER BY sort DESC, id DESC LIMIT ?",
                (folder_id, limit),
            )
        return self.db.all(
            "SELECT sort, id FROM placement WHERE view_id = ? AND (sort, id) < (?, ?) ORDER BY sort DESC, id DESC LIMIT ?",
            (folder_id, *before, limit),
        )

    def rows(self, ids: Sequence[PlacementId]) -> dict[PlacementId, Row]:
        """The list's lines for these placements; those that are gone are left out."""
        found: dict[PlacementId, Row] = {}
        for part in chunks(ids):
            for row in self.db.all(f"{_ROW} WHERE p.id IN ({marks(part)})", part):
                found[row[0]] = Row(
                    row[0], row[1], row[2] or FolderId(0), row[3] >> SORT_SHIFT, Flag(row[4]),
                    tuple(map(SafeText, row[5].split())), Address(SafeText(row[6]), SafeText(row[7])),
                    SafeText(row[8]), SafeText(row[9]), row[10], bool(row[11]), row[12], bool(row[13]), row[14],
                )  # fmt: skip
        return found

    def row(self, placement_id: PlacementId) -> Row | None:
        """One line of the list."""
        return self.rows([placement_id]).get(placement_id)

    def recipients(self, message_id: MessageId) -> dict[str, list[Address]]:
        """{"to": …, "cc": …} of a message."""
        row = self.db.one("SELECT recipients FROM message WHERE id = ?", (message_id,))
        fields = json.loads(row[0]) if row and row[0] else {}
        return {
            kind: [Address(SafeText(name), SafeText(email)) for name, email in fields.get(kind, ())]
            for kind in ("to", "cc")
        }

    def place(self, placement_id: PlacementId) -> Placement:
        """All columns of one placement.  Raises NotFound."""
        found = self.places([placement_id])
        if not found:
            raise NotFound(f"no message {placement_id}", hint="it may have been moved or deleted by another client")
        return found[0]

    def places(self, ids: Sequence[PlacementId]) -> list[Placement]:
        """All columns of these placements, in the order given; those that are gone are left out."""
        found: dict[int, Placement] = {}
        for part in chunks(ids):
            for row in self.db.all(f"{_PLACEMENT} WHERE p.id IN ({marks(part)})", part):
                (pid, mid, account, folder, uid, view, srv, flags, *rest) = row
                found[pid] = Placement(pid, mid, account, folder, uid, view, Flag(srv), Flag(flags), *rest)
        return [found[i] for i in ids if i in found]

    def newest_placement(self) -> int:
        """The highest id given so far."""
        row = self.db.one("SELECT seq FROM sqlite_sequence WHERE name = 'placement'")
        return int(row[0]) if row else 0

    def added_since(self, placement_id: int, limit: int = 20_000) -> list[tuple[int, int | None, int]]:
        """(id, view, sort) of placements that came after that id, in order."""
        return self.db.all(
            "SELECT id, view_id, sort FROM placement WHERE id > ? ORDER BY id LIMIT ?", (placement_id, limit)
        )

    def touched_since(self, seq: int) -> tuple[int, list[PlacementId] | None]:
        """The newest sequence number, and the placements that changed or went since `seq` (None: read all again)."""
        newest = (self.db.one("SELECT seq FROM sqlite_sequence WHERE name = 'touched'") or (0,))[0]
        if newest == seq:
            return newest, []
        if newest - seq > TOUCHED_KEPT // 2:
            return newest, None
        rows = self.db.all("SELECT DISTINCT placement_id FROM touched WHERE seq > ? AND seq <= ?", (seq, newest))
        return newest, [PlacementId(row[0]) for row in rows]

    def prune(self) -> None:
        """Drop what no view can still ask for."""
        with self.db.transaction():
            self.db.execute(
                "DELETE FROM touched WHERE seq <= (SELECT seq FROM sqlite_sequence WHERE name = 'touched') - ?",
                (TOUCHED_KEPT,),
            )
            self.db.execute("DELETE FROM notice WHERE at < ?", (time.time() - 7 * 86400,))

    def view_keys(self, ids: Sequence[PlacementId]) -> dict[PlacementId, tuple[FolderId | None, int]]:
        """Where these placements are shown and their sort key; those that are gone are left out."""
        found: dict[PlacementId, tuple[FolderId | None, int]] = {}
        for part in chunks(ids):
            for row in self.db.all(f"SELECT id, view_id, sort FROM placement WHERE id IN ({marks(part)})", part):
                found[row[0]] = (row[1], row[2])
        return found

    # -- bodies --------------------------------------------------------------

    def body(self, message_id: MessageId) -> bytes | None:
        """The whole message as it came, None if it is not here."""
        row = self.db.one("SELECT raw FROM body WHERE message_id = ?", (message_id,))
        return zlib.decompress(row[0]) if row else None

    def put_body(self, message_id: MessageId, raw: bytes) -> None:
        """Keep a message; nobody waits for it any more."""
        self.put_bodies([(message_id, raw)])

    def put_bodies(self, bodies: Sequence[tuple[MessageId, bytes]]) -> None:
        """The same for several; those whose message is gone are passed over."""
        now = time.time()
        packed = [(zlib.compress(raw, 1), len(raw), now, message_id) for message_id, raw in bodies]
        with self.db.transaction():
            self.db.many(
                "INSERT OR REPLACE INTO body (raw, size, fetched, message_id) SELECT ?, ?, ?, id FROM message WHERE id = ?",
                packed,
            )
            self.db.many("DELETE FROM body_wanted WHERE message_id = ?", [(message_id,) for message_id, _ in bodies])

    def want_body(self, message_id: MessageId) -> None:
        """Somebody waits for this message."""
        with self.db.transaction():
            self.db.execute(
                "INSERT OR REPLACE INTO body_wanted (message_id, asked) SELECT id, ? FROM message WHERE id = ?",
                (time.time(), message_id),
            )

    def wanted_bodies(self, account_id: AccountId) -> list[tuple[MessageId, FolderId, int]]:
        """(message, folder, UID) that somebody waits for, the latest wish first."""
        return self.db.all(
            "SELECT w.message_id, p.folder_id, p.uid FROM body_wanted w JOIN placement p ON p.message_id = w.message_id "
            "JOIN folder f ON f.id = p.folder_id WHERE w.error = '' AND p.uid IS NOT NULL AND f.account_id = ? "
            "GROUP BY w.message_id ORDER BY w.asked DESC",
            (account_id,),
        )

    def body_failed(self, message_id: MessageId, words: SafeText) -> None:
        """Say why a message cannot be had."""
        with self.db.transaction():
            self.db.execute("UPDATE body_wanted SET error = ? WHERE message_id = ?", (words, message_id))

    def body_error(self, message_id: MessageId) -> SafeText:
        """Why a message cannot be had, "" if it can or nobody asked."""
        row = self.db.one("SELECT error FROM body_wanted WHERE message_id = ?", (message_id,))
        return SafeText(row[0] if row else "")

    def bodies_missing(self, folder_id: FolderId, limit: int, max_size: int) -> list[tuple[MessageId, int, int]]:
        """(message, UID, size) of the newest messages here without a body, unread ones first."""
        return self.db.all(
            "SELECT m.id, p.uid, m.size FROM (SELECT message_id, uid, sort, flags FROM placement WHERE view_id = ? "
            "AND uid IS NOT NULL AND folder_id = view_id ORDER BY sort DESC, id DESC LIMIT 500) p "
            "JOIN message m ON m.id = p.message_id WHERE m.size <= ? "
            "AND NOT EXISTS (SELECT 1 FROM body b WHERE b.message_id = m.id) "
            "ORDER BY p.flags & 1, p.sort DESC LIMIT ?",
            (folder_id, max_size, limit),
        )

    def bodies_below(
        self, folder_id: FolderId, limit: int, max_size: int, below: tuple[int, int]
    ) -> tuple[list[tuple[MessageId, int, int]], tuple[int, int] | None]:
        """(message, UID, size) of the next messages without a body, newest first from (sort, placement) `below` on.

        And where to go on; None at the end of the folder.
        """
        rows = self.db.all(
            "SELECT p.sort, p.id, m.id, p.uid, m.size, EXISTS (SELECT 1 FROM body b WHERE b.message_id = m.id) "
            "FROM placement p JOIN message m ON m.id = p.message_id WHERE p.view_id = ? AND (p.sort, p.id) < (?, ?) "
            "ORDER BY p.sort DESC, p.id DESC LIMIT ?",
            (folder_id, *below, limit),
        )
        missing = [
            (MessageId(row[2]), row[3], row[4])
            for row in rows
            if row[3] is not None and not row[5] and row[4] <= max_size
        ]
        return missing, (rows[-1][0], rows[-1][1]) if len(rows) == limit else None

    def bodies_size(self, account_id: AccountId) -> int:
        """Bytes of all bodies of an account, unpacked.  Reads every body's head: not for every day."""
        row = self.db.one(
            "SELECT coalesce(sum(b.size), 0) FROM body b JOIN message m ON m.id = b.message_id WHERE m.account_id = ?",
            (account_id,),
        )
        return int(row[0])

    def forget_bodies(self, account_id: AccountId, *, fetched_before: float, size: int = 2**63) -> None:
        """Drop bodies that were fetched before that time, those of the oldest mail first, until so many bytes are gone."""
        with self.db.transaction():
            gone: list[tuple[MessageId]] = []
            for message_id, has in self.db.execute(
                "SELECT b.message_id, b.size FROM body b JOIN message m ON m.id = b.message_id "
                "WHERE m.account_id = ? AND b.fetched < ? "
                "ORDER BY (SELECT max(p.sort) FROM placement p WHERE p.message_id = m.id)",
                (account_id, fetched_before),
            ):
                if size <= 0:
                    break
                gone.append((message_id,))
                size -= has
            self.db.many("DELETE FROM body WHERE message_id = ?", gone)

    def mark_poison(self, message_id: MessageId) -> None:
        """This message killed the worker: it is shown as source from now on."""
        with self.db.transaction():
            self.db.execute("UPDATE body SET poison = 1 WHERE message_id = ?", (message_id,))

    def is_poison(self, message_id: MessageId) -> bool:
        """True if this message killed the worker once."""
        row = self.db.one("SELECT poison FROM body WHERE message_id = ?", (message_id,))
        return bool(row and row[0])

    # -- notices -------------------------------------------------------------

    def notice(self, account: str, words: SafeText) -> None:
        """Something the user should be told once."""
        with self.db.transaction():
            self.db.execute("INSERT INTO notice (at, account, words) VALUES (?, ?, ?)", (time.time(), account, words))

    def notices_since(self, notice_id: int) -> list[tuple[int, str, SafeText]]:
        """(id, account, words) of the notices after that one."""
        return self.db.all("SELECT id, account, words FROM notice WHERE id > ? ORDER BY id", (notice_id,))

    def newest_notice(self) -> int:
        """The id of the last notice so far."""
        row = self.db.one("SELECT seq FROM sqlite_sequence WHERE name = 'notice'")
        return int(row[0]) if row else 0


def sort_key(seconds: int, uid: int = 0) -> int:
    """The order of lists: by time, then by UID."""
    return seconds << SORT_SHIFT | uid & ((1 << SORT_SHIFT) - 1)


_MESSAGE_COLUMNS = (
    "id, account_id, ident, thread, date, size, attachments, from_name, from_email, to_names, recipients, subject, "
    "mid, refs"
)
_PLACEMENT_COLUMNS = "id, message_id, folder_id, uid, srv_flags, srv_keywords, modseq, view_id, flags, keywords, sort"


def _message_row(message_id: MessageId, account_id: int, new: NewMessage) -> tuple[Any, ...]:
    summary = new.summary
    return (
        message_id, account_id, summary.ident, summary.thread, summary.date, new.size, int(new.attachments),
        summary.sender.name, summary.sender.email, ", ".join([a.name or a.email for a in summary.to[:5]]),
        recipients_json(summary.to, summary.cc), summary.subject, summary.message_id,
        " ".join([*summary.references, summary.in_reply_to]).strip(),
    )  # fmt: skip


def _placement_row(
    placement_id: PlacementId, message_id: MessageId, folder_id: int, new: NewMessage
) -> tuple[Any, ...]:
    flags = int(new.flags)
    return (
        placement_id, message_id, folder_id, new.uid, flags, new.keywords, new.modseq, folder_id, flags,
        new.keywords, sort_key(new.internal_date or new.summary.date, new.uid),
    )  # fmt: skip


@lru_cache(1024)
def recipients_json(to: tuple[Address, ...], cc: tuple[Address, ...]) -> str:
    """To and Cc as the message table keeps them; at most 50 of each."""
    if not (to or cc):
        return ""
    return json.dumps(
        {"to": [[a.name, a.email] for a in to[:50]], "cc": [[a.name, a.email] for a in cc[:50]]},
        ensure_ascii=False,
        separators=(",", ":"),
    )
