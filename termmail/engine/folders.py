"""Folders of an account: which there are, which have news, and one of them brought up to date."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from termmail.engine import sync
from termmail.engine.spot import MADE_ANEW, ORDER, Spot
from termmail.model.account import AccountState, Role
from termmail.model.errors import NotFound, Refused
from termmail.model.message import FolderId
from termmail.net.actor import Actor
from termmail.net.backend import Changes, Events, FlagsOf, FolderStatus, RemoteFolder, Selected
from termmail.store.mail import FolderState, RemoteFolderRow

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
FLAGS_ALL = 600.0  # seconds
WORTH_TELLING = 200  # messages to come before progress is shown


class Refreshed(NamedTuple):
    """What was done in a folder: messages that came, that changed and that went, and how long it took."""

    new: int = 0
    changed: int = 0
    vanished: int = 0
    seconds: float = 0.0


class Folders:
    """The folders of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self.refreshed: dict[str, Refreshed] = {}  # what was done in each folder since somebody asked
        self.polled = 0.0  # when all of them were listed
        self.looked = 0.0  # when the open one was looked at, or all
        self._flags_at: dict[FolderId, float] = {}
        self._spared: set[FolderId] = set()  # not all that was told of their flags has been applied
        self._locks: dict[FolderId, asyncio.Lock] = {}
        self._unseen: dict[FolderId, int] = {}  # as STATUS said before the look that is due

    async def arrive(self) -> tuple[FolderId, Selected] | None:
        """The first look of a session: LIST and, in the same flight where that may be, SELECT of INBOX."""
        worker = self.worker
        inbox = self.mail.role_folder(worker.id, Role.INBOX)
        state = self.mail.folder_state(inbox.id) if inbox else None
        wire, resume = (state.wire, sync.resume(state)) if state else (b"INBOX", None)
        remote, selected = await worker.call(lambda s: s.arrive(wire, resume))
        self._listed(remote)
        inbox = self.mail.role_folder(worker.id, Role.INBOX)
        return (inbox.id, selected) if inbox and selected and self.mail.folder_state(inbox.id).wire == wire else None

    async def list_all(self) -> None:
        """LIST, and STATUS where it came along: which folders there are, and which have news."""
        self._listed(await self.worker.call(lambda s: s.list_folders()))

    def _listed(self, remote: list[RemoteFolder]) -> None:
        if session := self.worker.main.session:
            self.worker.capabilities = session.capabilities
        rows = [self._row(folder) for folder in remote]
        changes = self.mail.sync_folders(self.worker.id, rows)
        self.polled = self.looked = time.monotonic()
        known = {state.wire: state for state in map(self.mail.folder_state, self.ids())}
        for folder in remote:
            state = known.get(folder.wire)
            if state is not None and folder.selectable:
                self.note_status(state, folder.status)
        if changes:
            self.worker.news(accounts=True, folders=[*changes.added, *changes.removed, *changes.changed])

    def _row(self, folder: RemoteFolder) -> RemoteFolderRow:
        """A folder with the role that the settings give it, if they do."""
        roles = {path: role for role, path in self.worker.account.folders.items()}
        role = roles.get(str(folder.path), folder.role)
        if role == folder.role and role in self.worker.account.folders and role != Role.INBOX:
            role = Role.NONE  # the settings name another folder for this
        return RemoteFolderRow(folder.wire, folder.path, folder.delimiter, role, folder.selectable, folder.subscribed)

    def note_status(self, state: FolderState, status: FolderStatus | None) -> None:
        if status is None:
            self.worker.dirty.setdefault(state.id, state.role == Role.INBOX)
        elif sync.has_news(state, status):
            self.worker.dirty[state.id] = True
            self._unseen[state.id] = status.unseen
            if status.unseen != state.srv_unseen:
                self._flags_at.pop(state.id, None)  # whose flags changed is not told: ask for all
            if state.srv_total < 0 or state.uidvalidity == 0:
                self.mail.set_folder_state(state.id, srv_total=status.messages, srv_unseen=status.unseen)

    def inbox(self) -> FolderId | None:
        """The INBOX, if the account has one."""
        folder = self.mail.role_folder(self.worker.id, Role.INBOX)
        return folder.id if folder else None

    def ids(self) -> list[FolderId]:
        """All folders of the account."""
        return [folder.id for folder in self.mail.folders(self.worker.id)]

    def next_dirty(self, *, open_one: bool, others: bool) -> FolderId | None:
        """The folder to look at next: the one on the screen, then by role."""
        if not self.worker.dirty:
            return None
        open_id = self.worker.manager.open_folder(self.worker.id)
        folders = {
            folder.id: folder
            for folder in self.mail.folders(self.worker.id)
            if folder.selectable and folder.pending != "create"
        }
        candidates = [folder_id for folder_id in self.worker.dirty if folder_id in folders]
        for folder_id in self.worker.dirty.keys() - set(candidates):
            del self.worker.dirty[folder_id]
        candidates = [one for one in candidates if (open_one if one == open_id else others)]
        if not candidates:
            return None
        return min(candidates, key=lambda f: (f != open_id, ORDER[folders[f].role], folders[f].path))

    async def look(self, folder_id: FolderId, line: Actor) -> None:
        """A folder that may have news: STATUS first where that is cheaper than SELECT."""
        sure = self.worker.dirty.pop(folder_id, True)
        try:
            state = self.mail.folder_state(folder_id)
            selected = line.session is not None and line.session.selected == state.wire
            if not sure and state.uidvalidity and not selected:
                status = await line.call(lambda s: s.status(state.wire))
                if not sync.has_news(state, status):
                    return
                self.note_status(state, status)
            await self.refresh(folder_id, line=line)
        except NotFound:
            pass
        except Refused as error:  # it went away under us, or is closed to us
            if error.code == MADE_ANEW:
                self.worker.dirty[folder_id] = True
            log.info("%s: a folder cannot be read: %s", self.worker.name, error.code)

    async def refresh(self, folder_id: FolderId, selected: Selected | None = None, line: Actor | None = None) -> None:
        """Bring a folder up to date, by way of `line`; older mail is left to backfill.

        `selected`: SELECT has just told this on the connection that is waited for.
        """
        async with self._locks.setdefault(folder_id, asyncio.Lock()):
            await self._refresh(folder_id, selected, line or self.worker.main)

    async def _refresh(self, folder_id: FolderId, selected: Selected | None, line: Actor) -> None:
        worker = self.worker
        worker.dirty.pop(folder_id, None)
        began = time.monotonic()
        state = self.mail.folder_state(folder_id, counted=True)
        if selected is None:
            known = sync.resume(state)
            selected = await line.call(lambda s: s.reselect(state.wire, known))
        self.say_syncing(state)
        due = (
            began - self._flags_at.get(folder_id, -FLAGS_ALL) >= FLAGS_ALL
            or worker.manager.open_folder(worker.id) == folder_id
        )
        spot = Spot(line, state, selected.uidvalidity)
        changed = vanished = 0
        for step in sync.plan(state, selected, flags_due=due):
            if isinstance(step, sync.Reset):
                log.info("%s: UIDVALIDITY of a folder changed", worker.name)
                self.mail.reset_folder(folder_id, step.uidvalidity)
                worker.headers.older.pop(folder_id, None)
            elif isinstance(step, sync.Newest):
                await worker.headers.newest(spot, step.count, selected)
            elif isinstance(step, sync.New):
                await worker.headers.from_uid(spot, step.uid, selected.exists - state.local_count)
            elif isinstance(step, sync.Flags):
                changed += await self._fetch_flags(spot, step)
            elif isinstance(step, sync.Changed):
                flags, gone = await self._apply(spot, state, step.changes)
                changed, vanished = changed + flags, vanished + gone
            else:
                vanished += await self._find_vanished(spot, step)
        if due:
            self._flags_at[folder_id] = began
        self._note_selected(folder_id, selected)
        self.note(state.path, Refreshed(spot.new, changed, vanished, time.monotonic() - began))
        worker.news(folders=[folder_id], accounts=True)

    async def _apply(self, spot: Spot, state: FolderState, changes: Changes) -> tuple[int, int]:
        """What QRESYNC told; then count: a server that told wrong is not asked so again (sync.md §5.5.10)."""
        changed = self.set_flags(spot.folder_id, changes.flags)
        gone = self._among(spot.folder_id, changes.vanished)
        doubtful = sync.suspicious(len(gone), state.local_count)
        vanished = 0 if doubtful else self._vanish(spot.folder_id, gone)
        now = self.mail.folder_state(spot.folder_id, counted=True)
        if not doubtful:
            for look in (lambda s: s.count(spot.wire), lambda s: s.count_anew(spot.wire)):
                told = await spot.call(look)
                now = self.mail.folder_state(spot.folder_id, counted=True)  # what came with that is applied
                if now.lo != 1 or told in (-1, now.local_count):
                    return changed, vanished
        found = await self._find_vanished(spot, sync.Uids(now.lo, now.hi))
        after = self.mail.folder_state(spot.folder_id, counted=True).local_count
        if (doubtful and found < len(gone)) or (not doubtful and after != now.local_count):
            log.warning("%s: the server told wrong changes; it is asked another way from now on", self.worker.name)
            self.worker.distrust_qresync()
        return changed, vanished + found

    def _among(self, folder_id: FolderId, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """The UIDs known here that lie in these ranges."""
        if not ranges:
            return []
        known = self.mail.uids(folder_id, min(low for low, _ in ranges), max(high for _, high in ranges))
        found: set[int] = set()
        for low, high in ranges:
            found.update(known[bisect_left(known, low) : bisect_right(known, high)])
        return sorted(found)

    def _flying(self, folder_id: FolderId) -> set[int]:
        """UIDs of messages that we are changing just now: what became of them is for the flight to say."""
        flights = self.worker.store.intents.flights(self.worker.id)
        return {uid for flight in flights if flight.folder_id == folder_id for _, uid in flight.items}

    def _vanish(self, folder_id: FolderId, gone: Sequence[int]) -> int:
        """These are gone; how many were here."""
        ours = self._flying(folder_id).intersection(gone)
        return self.mail.vanish(folder_id, [uid for uid in gone if uid not in ours])

    def set_flags(self, folder_id: FolderId, flags: Sequence[FlagsOf]) -> int:
        """Flags as the server told them; how many differed."""
        rows = [(f.uid, int(f.flags), f.keywords, f.modseq) for f in flags]
        if ours := self._flying(folder_id).intersection(row[0] for row in rows):
            self._spared.add(folder_id)
            rows = [row for row in rows if row[0] not in ours]
        return self.mail.set_truth_flags(folder_id, rows)

    def harvest(self, news: list[tuple[bytes, Events]]) -> None:
        """What servers said unasked, along with any answer: what is certain is applied, the rest is looked at."""
        before = len(self.worker.dirty)
        by_wire = {state.wire: state for state in map(self.mail.folder_state, self.ids())}
        for wire, events in news:
            state = by_wire.get(wire)
            if events.alert:
                self.worker.alert(events.alert)
            for name, status in events.statuses:
                if name in by_wire and by_wire[name].selectable:
                    self.note_status(by_wire[name], status)
            if state is None or state.uidvalidity == 0:
                continue
            self.set_flags(state.id, events.flags)
            gone = self._among(state.id, events.vanished)
            if sync.suspicious(len(gone), self.mail.folder_state(state.id, counted=True).local_count if gone else 0):
                self.worker.mark(state.id)
            elif gone:
                self._vanish(state.id, gone)
            if events.expunged or events.exists is not None:
                self.worker.mark(state.id)
            if events.flags or gone:
                self.worker.news(folders=[state.id], accounts=True)
        if len(self.worker.dirty) > before:
            self.worker.stir()

    def note(self, path: str, more: Refreshed) -> None:
        """Add to what was done in a folder."""
        new, changed, vanished, seconds = self.refreshed.get(path, Refreshed())
        self.refreshed[path] = Refreshed(
            new + more.new, changed + more.changed, vanished + more.vanished, seconds + more.seconds
        )

    def _note_selected(self, folder_id: FolderId, selected: Selected) -> None:
        """Everything of this look is applied: remember the server's numbers."""
        state = self.mail.folder_state(folder_id)
        columns: dict[str, float] = {
            "uidvalidity": selected.uidvalidity, "uidnext": selected.uidnext, "modseq": selected.modseq,
            "srv_total": selected.exists, "synced": time.time(),
        }  # fmt: skip
        if folder_id in self._spared:
            self._spared.discard(folder_id)
            del columns["modseq"]
        if folder_id in self._unseen:
            columns["srv_unseen"] = self._unseen.pop(folder_id)
        if selected.exists == 0:
            columns |= {"lo": 1, "hi": max(0, selected.uidnext - 1)}
        self.mail.set_folder_state(folder_id, **columns)
        if state.lo == 1 or selected.exists == 0:
            self.mail.drop_unmatched(folder_id)

    def say_syncing(self, state: FolderState) -> None:
        """Progress for the status line, while there is much to do."""
        folders = [f for f in self.mail.folders(self.worker.id) if f.selectable]
        total = sum(max(0, folder.srv_total) for folder in folders)
        done = sum(min(folder.total, max(0, folder.srv_total)) for folder in folders)
        self.worker.state = AccountState.SYNCING
        if total - done > WORTH_TELLING or self._last_sync() == 0:
            self.mail.set_account(self.worker.id, state=AccountState.SYNCING, folder=state.path, done=done, total=total)
            self.worker.news(accounts=True)

    def _last_sync(self) -> float:
        return next((one.last_sync for one in self.mail.accounts() if one.account_id == self.worker.id), 0.0)

    async def _fetch_flags(self, spot: Spot, step: sync.Flags) -> int:
        if step.hi < step.lo:
            return 0
        return self.set_flags(spot.folder_id, await spot.call(lambda s: s.flags(step.lo, step.hi, step.changed_since)))

    async def _find_vanished(self, spot: Spot, step: sync.Uids) -> int:
        """Which messages are gone; so many at once that it may be the server's fault are asked about again."""
        if step.hi < step.lo:
            return 0
        there = set(await spot.call(lambda s: s.search(step.lo, step.hi)))
        known = self.mail.uids(spot.folder_id, step.lo, step.hi)
        gone = [uid for uid in known if uid not in there]
        if sync.suspicious(len(gone), len(known)):
            selected = await spot.actor.call(lambda s: s.reselect(spot.wire))
            everything = await spot.call(lambda s: s.search())
            if len(everything) != selected.exists:
                log.warning("%s: the server contradicts itself about deletions; nothing is removed", self.worker.name)
                return 0
            there = {uid for uid in everything if step.lo <= uid <= step.hi}
            gone = [uid for uid in known if uid not in there]
        missing = sorted(there - set(known))
        if missing:  # the server listed them late (sync.md §5.5.6)
            await self.worker.headers.these(spot, missing)
        return self._vanish(spot.folder_id, gone)
