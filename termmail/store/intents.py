"""What the user wants: desired state laid over truth, undo, and the batches the engine carries out.

A wish is the difference between what a placement should be (`flags`, `keywords`, `view_id`) and what the
server has (`srv_flags`, `srv_keywords`, `folder_id`); `pending` marks which of them is a wish.  Wishes
therefore fold by themselves, survive a crash, and one that is taken back before the server heard of it
costs no command.  A batch under way is a `flight`: its placements keep their pending bits until it lands,
so that a change of mind meanwhile becomes a new wish.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from termmail.model.account import Role
from termmail.model.errors import NotFound, UsageError
from termmail.model.message import AccountId, Flag, FolderId, PlacementId
from termmail.store.db import Database
from termmail.store.mail import (
    PENDING_DELETE,
    PENDING_FLAGS,
    PENDING_KEYWORDS,
    PENDING_MOVE,
    MailStore,
    Placement,
    chunks,
    marks,
)
from termmail.text import SafeText, safe_line

BATCH_LIMIT = 1000  # placements in one batch
UNDO_KEPT = 200
UNCHANGED = -1  # a view that a change leaves alone
GONE = 0  # the view of a message that is to be deleted for ever


@dataclass(frozen=True, slots=True)
class Done:
    """What a verb did; `words` for the status line."""

    words: SafeText
    count: int
    placements: tuple[PlacementId, ...] = ()
    folders: frozenset[FolderId] = frozenset()
    undo_id: int = 0  # 0: nothing to undo


@dataclass(frozen=True, slots=True)
class Change:
    """The state wanted for one placement: flag bits within `mask`, keywords and view unless unchanged."""

    id: PlacementId
    mask: Flag = Flag(0)
    flags: Flag = Flag(0)
    keywords: str | None = None
    view: int = UNCHANGED


@dataclass(frozen=True, slots=True)
class Batch:
    """Wishes that one command can carry out."""

    kind: str  # flags | move | delete
    folder_id: FolderId
    uidvalidity: int
    items: tuple[tuple[PlacementId, int], ...]  # (placement, UID)
    dest_id: FolderId = FolderId(0)
    add: Flag = Flag(0)
    remove: Flag = Flag(0)
    add_keywords: str = ""
    remove_keywords: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch under way, as the database remembers it across a crash."""

    id: int
    kind: str
    phase: str
    folder_id: FolderId
    dest_id: FolderId
    uidvalidity: int
    dest_uidnext: int
    items: tuple[tuple[PlacementId, int], ...]
    arg: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Errand:
    """A wish that is no state of one message: copy, create, rename, delete, subscribe, unsubscribe."""

    id: int
    kind: str
    arg: dict[str, Any]
    phase: str
    attempts: int


def _several(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"


class Intents:
    """Verbs for the user, batches for the engine.  Every verb is one durable transaction and one undo."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.mail = MailStore(db)

    # -- verbs ---------------------------------------------------------------

    def flag(
        self,
        ids: Sequence[PlacementId],
        *,
        add: Flag = Flag(0),
        remove: Flag = Flag(0),
        words: str = "flagged",
        undoable: bool = True,
    ) -> Done:
        """Set and clear flags."""
        return self._apply([Change(i, add | remove, add) for i in ids], words, undoable=undoable)

    def label(self, ids: Sequence[PlacementId], add: Iterable[str], remove: Iterable[str]) -> Done:
        """Add and remove keywords.  Raises UsageError for a word that is no IMAP atom."""
        add, remove = list(add), set(remove)
        for word in [*add, *remove]:
            if not word or not word.isascii() or not word.isprintable() or set(word) & set(' (){%*"\\]'):
                raise UsageError(
                    f"{safe_line(word)!r} cannot be a label", hint="letters, digits, - and _ without blanks"
                )
        changes = []
        for place in self.mail.places(ids):
            words = sorted((set(place.keywords.split()) | set(add)) - remove)
            changes.append(Change(place.id, keywords=" ".join(words)))
        return self._apply(changes, "labelled")

    def move(self, ids: Sequence[PlacementId], folder_id: FolderId, *, words: str = "") -> Done:
        """Move to a folder of the same account.  Raises UsageError across accounts."""
        target = self.mail.folder(folder_id)
        if not target.selectable:
            raise UsageError(f"{target.path} holds no messages")
        changes = []
        for place in self.mail.places(ids):
            if place.account_id != target.account_id:
                raise UsageError("a message can only be moved within its account", hint="copy it instead")
            changes.append(Change(place.id, view=folder_id))
        return self._apply(changes, words or f"moved to {target.path}:")

    def _to_roles(self, ids: Sequence[PlacementId], roles: Sequence[Role]) -> list[tuple[Placement, FolderId]]:
        """The folder of the first of these roles that each message's account has.  Raises NotFound."""
        targets: dict[AccountId, FolderId] = {}
        pairs = []
        for place in self.mail.places(ids):
            if place.account_id not in targets:
                folders = [self.mail.role_folder(place.account_id, role) for role in roles]
                folder = next((f for f in folders if f), None)
                if folder is None:
                    raise NotFound(
                        f"no folder is known as {roles[0].value}",
                        hint=f'name it in the settings: folders.{roles[0].value} = "…"',
                        account=self.mail.account_name(place.account_id),
                    )
                targets[place.account_id] = folder.id
            pairs.append((place, targets[place.account_id]))
        return pairs

    def archive(self, ids: Sequence[PlacementId]) -> Done:
        """Move to the archive (Gmail: to All Mail)."""
        pairs = self._to_roles(ids, (Role.ARCHIVE, Role.ALL))
        return self._apply([Change(place.id, view=folder) for place, folder in pairs], "archived")

    def trash(self, ids: Sequence[PlacementId]) -> Done:
        """Move to the Trash; nothing is deleted.  Raises NotFound if all of them are there already."""
        pairs = self._to_roles(ids, (Role.TRASH,))
        if pairs and all(place.view_id == folder for place, folder in pairs):
            raise NotFound("already in the Trash", hint="D deletes for ever")
        return self._apply([Change(place.id, view=folder) for place, folder in pairs], "moved to Trash:")

    def spam(self, ids: Sequence[PlacementId]) -> Done:
        """Move to Junk and say so to the server's filter."""
        mask = Flag.JUNK | Flag.NOTJUNK
        pairs = self._to_roles(ids, (Role.JUNK,))
        return self._apply(
            [Change(place.id, mask, Flag.JUNK, view=folder) for place, folder in pairs], "marked as spam:"
        )

    def unspam(self, ids: Sequence[PlacementId]) -> Done:
        """Move back to the inbox and say so to the server's filter."""
        mask = Flag.JUNK | Flag.NOTJUNK
        pairs = self._to_roles(ids, (Role.INBOX,))
        return self._apply([Change(p.id, mask, Flag.NOTJUNK, view=f) for p, f in pairs], "marked as not spam:")

    def delete_for_ever(self, ids: Sequence[PlacementId]) -> Done:
        """Delete on the server; can be undone until the server has done it."""
        return self._apply([Change(i, view=GONE) for i in ids], "deleted for ever:")

    def mark_all_read(self, folder_id: FolderId) -> Done:
        """Mark everything in a folder as read."""
        rows = self.db.all("SELECT id FROM placement WHERE view_id = ? AND flags & 1 = 0", (folder_id,))
        return self.flag([PlacementId(row[0]) for row in rows], add=Flag.SEEN, words="marked as read:")

    def empty(self, folder_id: FolderId) -> Done:
        """Delete everything in a folder for ever."""
        rows = self.db.all("SELECT id FROM placement WHERE view_id = ?", (folder_id,))
        return self.delete_for_ever([PlacementId(row[0]) for row in rows])

    def copy(self, ids: Sequence[PlacementId], folder_id: FolderId) -> Done:
        """Copy to a folder of the same account; done by the server when it is reached."""
        target = self.mail.folder(folder_id)
        places = self.mail.places(ids)
        if any(place.account_id != target.account_id for place in places):
            raise UsageError("a message can only be copied within its account")
        self.errand(target.account_id, "copy", placements=[place.id for place in places], dest=folder_id)
        return Done(SafeText(f"copied {_several(len(places))} to {target.path}"), len(places))

    def errand(self, account_id: AccountId, kind: str, **arg: Any) -> int:
        """Queue a copy or a folder change (folders.py); its id."""
        arg["at"] = time.time()
        with self.db.transaction(durable=True):
            cursor = self.db.execute(
                "INSERT INTO errand (account_id, kind, arg) VALUES (?, ?, ?)", (account_id, kind, json.dumps(arg))
            )
        return cursor.lastrowid or 0

    def undo(self) -> Done | None:
        """Take back the last action that is not taken back yet; None if there is none."""
        return self._turn(
            "SELECT id, words, items FROM undo WHERE undone = 0 ORDER BY id DESC LIMIT 1", undone=1, said="undone: "
        )

    def redo(self) -> Done | None:
        """Do again what was last undone, unless something else was done since."""
        return self._turn(
            "SELECT id, words, items FROM undo WHERE undone = 1 AND id > "
            "(SELECT coalesce(max(id), 0) FROM undo WHERE undone = 0) ORDER BY id LIMIT 1",
            undone=0,
            said="again: ",
        )

    def _turn(self, query: str, *, undone: int, said: str) -> Done | None:
        row = self.db.one(query)
        if row is None:
            return None
        undo_id, words, items = row[0], row[1], json.loads(row[2])
        state = 0 if undone else 1  # which of (before, after) to bring back
        changes = [
            Change(item[0], Flag(item[1]), Flag(item[2 + state]), item[4 + state], item[6 + state]) for item in items
        ]
        with self.db.transaction(durable=True):
            done = self._apply(changes, words, undoable=False)
            self.db.execute("UPDATE undo SET undone = ? WHERE id = ?", (undone, undo_id))
        lost = len(items) - len(self.mail.view_keys([item[0] for item in items]))
        rest = f" ({_several(lost)} cannot come back)" if lost else ""
        return Done(SafeText(said + words + rest), done.count, done.placements, done.folders, undo_id)

    # -- the one place that writes wishes ---------------------------------------

    def _apply(self, changes: Sequence[Change], words: str, *, undoable: bool = True) -> Done:
        """Write the wanted states and what they replace; placements that are gone are passed over."""
        with self.db.transaction(durable=True):
            places = {place.id: place for place in self.mail.places([change.id for change in changes])}
            flying = self._flying()
            updates, items, folders = [], [], set()
            for change in changes:
                place = places.get(change.id)
                if place is None or (wanted := _wanted(place, change)) is None:
                    continue
                flags, keywords, view = wanted
                pending = _pending(place, flags, keywords, view, change.mask, flying=place.id in flying)
                updates.append((flags, keywords, view, pending, place.id))
                items.append(_undo_item(place, change, flags, keywords, view))
                folders |= {f for f in (place.view_id, view) if f}
            self.db.many("UPDATE placement SET flags = ?, keywords = ?, view_id = ?, pending = ? WHERE id = ?", updates)
            said = f"{words} {_several(len(updates))}" if undoable else words
            undo_id = self._remember(said, items) if undoable and items else 0
        ids = tuple(PlacementId(update[4]) for update in updates)
        return Done(SafeText(said), len(updates), ids, frozenset(FolderId(f) for f in folders), undo_id)

    def _remember(self, words: str, items: list[list[Any]]) -> int:
        self.db.execute("DELETE FROM undo WHERE undone = 1")  # a new action ends what could be done again
        cursor = self.db.execute(
            "INSERT INTO undo (at, words, items) VALUES (?, ?, ?)",
            (time.time(), words, json.dumps(items, separators=(",", ":"))),
        )
        self.db.execute("DELETE FROM undo WHERE id <= (SELECT max(id) FROM undo) - ?", (UNDO_KEPT,))
        return cursor.lastrowid or 0

    def _flying(self) -> set[int]:
        """Placements that are part of a batch under way."""
        return {item[0] for (items,) in self.db.all("SELECT items FROM flight") for item in json.loads(items)}

    # -- for the engine ---------------------------------------------------------

    def pending_count(self, account_id: AccountId) -> int:
        """Wishes and errands that the server has not heard of."""
        row = self.db.one(
            "SELECT (SELECT count(*) FROM placement p WHERE p.pending <> 0 AND p.folder_id IN "
            "(SELECT id FROM folder WHERE account_id = :a)) + (SELECT count(*) FROM errand WHERE account_id = :a)",
            {"a": account_id},
        )
        return int(row[0])

    def batches(self, account_id: AccountId) -> list[Batch]:
        """The wishes of an account as commands; flags before moves, nothing that is under way."""
        flying = self._flying()
        groups: dict[tuple[Any, ...], list[tuple[PlacementId, int]]] = {}
        came_true: list[int] = []
        for placement_id, folder_id, uid, view, srv, flags, srv_kw, kw, pending, validity in self.db.all(
            "SELECT p.id, p.folder_id, p.uid, p.view_id, p.srv_flags, p.flags, p.srv_keywords, p.keywords, p.pending, "
            "f.uidvalidity FROM placement p JOIN folder f ON f.id = p.folder_id WHERE p.pending <> 0 "
            "AND p.uid IS NOT NULL AND p.folder_id IN (SELECT id FROM folder WHERE account_id = ?) ORDER BY p.uid",
            (account_id,),
        ):
            if placement_id in flying:
                continue
            bits = (flags ^ srv) & pending & PENDING_FLAGS
            old, new = set(srv_kw.split()), set(kw.split())
            if pending & PENDING_DELETE:
                key: tuple[Any, ...] = ("2delete", folder_id, validity)
            elif bits or (pending & PENDING_KEYWORDS and old != new):
                more, less = (new - old, old - new) if pending & PENDING_KEYWORDS else (set(), set())
                words = " ".join(sorted(more)), " ".join(sorted(less))
                key = ("0flags", folder_id, validity, 0, flags & bits, srv & bits, *words)
            elif pending & PENDING_MOVE:
                key = ("1move", folder_id, validity, view)
            else:
                came_true.append(placement_id)  # another client did the same
                continue
            groups.setdefault(key, []).append((placement_id, uid))
        for part in chunks(came_true):
            with self.db.transaction():
                self.db.execute(f"UPDATE placement SET pending = 0 WHERE id IN ({marks(part)})", part)
        found = []
        for key in sorted(groups):
            kind, folder_id, validity, *rest = key
            defaults: list[Any] = [0, 0, 0, "", ""]
            dest, add, remove, words, less_words = [*rest, *defaults[len(rest) :]]
            for start in range(0, len(groups[key]), BATCH_LIMIT):
                items = tuple(groups[key][start : start + BATCH_LIMIT])
                found.append(
                    Batch(kind[1:], folder_id, validity, items, dest, Flag(add), Flag(remove), words, less_words)
                )
        return found

    def take_off(self, account_id: AccountId, batch: Batch, dest_uidnext: int = 0) -> Flight:
        """Commit, durably, that a batch is about to be sent."""
        arg = {
            "add": int(batch.add), "remove": int(batch.remove),
            "add_keywords": batch.add_keywords, "remove_keywords": batch.remove_keywords,
        }  # fmt: skip
        with self.db.transaction(durable=True):
            cursor = self.db.execute(
                "INSERT INTO flight (account_id, kind, folder_id, dest_id, uidvalidity, dest_uidnext, items, arg) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    account_id, batch.kind, batch.folder_id, batch.dest_id, batch.uidvalidity, dest_uidnext,
                    json.dumps(batch.items), json.dumps(arg),
                ),
            )  # fmt: skip
        return Flight(
            cursor.lastrowid or 0, batch.kind, "", batch.folder_id, batch.dest_id, batch.uidvalidity, dest_uidnext,
            batch.items, arg,
        )  # fmt: skip

    def flights(self, account_id: AccountId) -> list[Flight]:
        """Batches that were under way when the engine ended."""
        return [
            Flight(row[0], row[1], row[2], row[3], row[4], row[5], row[6],
                   tuple((item[0], item[1]) for item in json.loads(row[7])), json.loads(row[8]))
            for row in self.db.all(
                "SELECT id, kind, phase, folder_id, dest_id, uidvalidity, dest_uidnext, items, arg FROM flight "
                "WHERE account_id = ? ORDER BY id",
                (account_id,),
            )
        ]  # fmt: skip

    def set_phase(self, flight: Flight, phase: str, **facts: Any) -> None:
        """Commit, durably, how far a batch got, and what the server told."""
        with self.db.transaction(durable=True):
            self.db.execute(
                "UPDATE flight SET phase = ?, arg = ? WHERE id = ?", (phase, json.dumps(flight.arg | facts), flight.id)
            )

    def acked_flags(self, flight: Flight) -> None:
        """The server has set these flags and keywords."""
        add, remove = flight.arg["add"], flight.arg["remove"]
        more, less = set(flight.arg["add_keywords"].split()), set(flight.arg["remove_keywords"].split())
        with self.db.transaction(durable=True):
            for place in self.mail.places([item[0] for item in flight.items]):
                srv = (place.srv_flags | add) & ~remove
                words = " ".join(sorted((set(place.srv_keywords.split()) | more) - less))
                self.db.execute(
                    "UPDATE placement SET srv_flags = ?, srv_keywords = ? WHERE id = ?", (srv, words, place.id)
                )
            self.land(flight)

    def acked_move(self, flight: Flight, mapping: dict[PlacementId, int | None]) -> None:
        """The server has moved these; their UID in the target, None where it is not known yet."""
        with self.db.transaction(durable=True):
            for placement_id, uid in mapping.items():
                if uid is not None:  # another pass may have seen the copy before we did
                    self._merge(placement_id, flight.dest_id, uid)
                self.db.execute(
                    "UPDATE placement SET folder_id = ?, uid = ?, modseq = 0 WHERE id = ?",
                    (flight.dest_id, uid, placement_id),
                )
            self.land(flight)

    def _merge(self, placement_id: PlacementId, folder_id: FolderId, uid: int) -> None:
        """Drop a placement that sync made for the copy which is really this one."""
        twin = self.mail.placement_of(folder_id, uid)
        if twin is not None and twin != placement_id:
            self.db.execute(
                "UPDATE placement SET message_id = (SELECT message_id FROM placement t WHERE t.id = ?) WHERE id = ?",
                (twin, placement_id),
            )
            self.db.execute("DELETE FROM placement WHERE id = ?", (twin,))

    def acked_delete(self, flight: Flight) -> None:
        """The server has deleted these."""
        with self.db.transaction(durable=True):
            self.mail._delete_placements([item[0] for item in flight.items])
            self.land(flight)

    def refused(self, flight: Flight, words: SafeText, account: str) -> None:
        """The server will not do it: the messages are again what they are there, and the user is told."""
        bits = flight.arg.get("add", 0) | flight.arg.get("remove", 0)
        with self.db.transaction(durable=True):
            for part in chunks([item[0] for item in flight.items]):
                if flight.kind == "flags":
                    self.db.execute(
                        f"UPDATE placement SET flags = (flags & ~?) | (srv_flags & ?), keywords = srv_keywords, "
                        f"pending = pending & ~? WHERE id IN ({marks(part)})",
                        (bits, bits, bits | PENDING_KEYWORDS, *part),
                    )
                else:
                    self.db.execute(
                        f"UPDATE placement SET view_id = folder_id, pending = pending & ~? WHERE id IN ({marks(part)})",
                        (PENDING_MOVE | PENDING_DELETE, *part),
                    )
            self.land(flight)
            self.mail.notice(account, words)

    def land(self, flight: Flight) -> None:
        """The batch is over: what is wanted still is a wish, the rest is none any more."""
        with self.db.transaction(durable=True):
            self.db.execute("DELETE FROM flight WHERE id = ?", (flight.id,))
            for part in chunks([item[0] for item in flight.items]):
                self.db.execute(
                    "UPDATE placement SET pending = (pending & 65535 & ((flags | srv_flags) - (flags & srv_flags))) "
                    "| CASE WHEN view_id IS NULL THEN 131072 WHEN view_id <> folder_id THEN 65536 ELSE 0 END "
                    "| CASE WHEN pending & 262144 AND keywords <> srv_keywords THEN 262144 ELSE 0 END "
                    f"WHERE id IN ({marks(part)})",
                    part,
                )

    def errands(self, account_id: AccountId, now: float) -> list[Errand]:
        """Errands that are due, in order."""
        return [
            Errand(row[0], row[1], json.loads(row[2]), row[3], row[4])
            for row in self.db.all(
                "SELECT id, kind, arg, phase, attempts FROM errand WHERE account_id = ? AND not_before <= ? ORDER BY id",
                (account_id, now),
            )
        ]

    def errand_phase(self, errand: Errand, phase: str, **facts: Any) -> None:
        """Commit, durably, how far an errand got."""
        with self.db.transaction(durable=True):
            self.db.execute(
                "UPDATE errand SET phase = ?, arg = ? WHERE id = ?", (phase, json.dumps(errand.arg | facts), errand.id)
            )

    def cancel_errand(self, errand_id: int) -> None:
        """It is no longer wanted; a folder that was only to be made is none any more."""
        with self.db.transaction(durable=True):
            row = self.db.one("SELECT kind, arg FROM errand WHERE id = ?", (errand_id,))
            self.db.execute("DELETE FROM errand WHERE id = ?", (errand_id,))
            if row is not None and row[0] == "create" and (folder := json.loads(row[1]).get("folder")):
                self.mail.unmake_folder(FolderId(folder))

    def errand_done(self, errand_id: int) -> None:
        """It is carried out."""
        with self.db.transaction(durable=True):
            self.db.execute("DELETE FROM errand WHERE id = ?", (errand_id,))

    def errand_failed(self, errand_id: int, words: SafeText, account: str) -> None:
        """The server will not do it; what was shown of it goes, and the user is told."""
        with self.db.transaction(durable=True):
            self.cancel_errand(errand_id)
            self.mail.notice(account, words)

    def errand_later(self, errand: Errand, not_before: float, words: SafeText) -> None:
        """Try again then; `words`: why not now."""
        with self.db.transaction():
            self.db.execute(
                "UPDATE errand SET attempts = attempts + 1, not_before = ?, arg = ? WHERE id = ?",
                (not_before, json.dumps(errand.arg | {"error": words}), errand.id),
            )

    def next_errand(self, account_id: AccountId, now: float) -> float:
        """When an errand that must wait is due; infinity if none waits."""
        row = self.db.one(
            "SELECT min(not_before) FROM errand WHERE account_id = ? AND not_before > ?", (account_id, now)
        )
        return float(row[0]) if row and row[0] is not None else float("inf")


def _wanted(place: Placement, change: Change) -> tuple[int, str, FolderId | None] | None:
    """(flags, keywords, view) after a change, None if it changes nothing."""
    flags = int((place.flags & ~change.mask) | (change.flags & change.mask))
    keywords = place.keywords if change.keywords is None else change.keywords
    view = place.view_id if change.view == UNCHANGED else FolderId(change.view) if change.view != GONE else None
    if (flags, keywords, view) == (int(place.flags), place.keywords, place.view_id):
        return None
    return flags, keywords, view


def _pending(place: Placement, flags: int, keywords: str, view: FolderId | None, mask: Flag, *, flying: bool) -> int:
    """The pending bits of a placement with these wishes."""
    bits = (place.pending & PENDING_FLAGS & ~mask) | ((flags ^ place.srv_flags) & mask)
    if flying:  # what the server is about to hear may no longer be wanted
        bits |= mask
    if keywords != place.srv_keywords or (flying and keywords != place.keywords):
        bits |= PENDING_KEYWORDS
    if view is None:
        bits |= PENDING_DELETE
    elif view != place.folder_id or (flying and place.pending & PENDING_MOVE):
        bits |= PENDING_MOVE
    return int(bits)


def _undo_item(place: Placement, change: Change, flags: int, keywords: str, view: FolderId | None) -> list[Any]:
    """[id, mask, flags before, after, keywords before, after, view before, after]."""
    words = change.keywords is not None
    moved = change.view != UNCHANGED
    return [
        place.id,
        int(change.mask),
        int(place.flags),
        flags,
        place.keywords if words else None,
        keywords if words else None,
        (place.view_id or GONE) if moved else UNCHANGED,
        (view or GONE) if moved else UNCHANGED,
    ]
