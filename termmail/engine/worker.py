"""One account at work: what is wanted goes out, what is new comes in, most urgent first.

Two connections: `main` does everything in turn, `watch` idles on INBOX.  A server that allows only one gets
one, which idles when there is nothing else to do.  The order of work is the order of `_turn`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from termmail.engine import carry, sync
from termmail.engine.outbox import Sender, file_copies
from termmail.link import Again
from termmail.model.account import Account, AccountState, Role
from termmail.model.errors import AuthRefused, NetError, NotFound, Refused, SecretError, TermmailError, TlsError
from termmail.model.message import AccountId, FolderId, NewMessage
from termmail.net.actor import BACKGROUND, Actor
from termmail.net.backend import FolderStatus, RemoteFolder, Selected
from termmail.net.imap.session import ImapSession, connect
from termmail.store.db import Store
from termmail.store.mail import FolderState, RemoteFolderRow
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.engine.accounts import AccountManager

log = logging.getLogger("termmail.engine")
T = TypeVar("T")
Ask = Callable[[ImapSession, Callable[[list[NewMessage]], None]], None]

POLL_OPEN, POLL_ALL, FLAGS_ALL = 30.0, 120.0, 600.0  # seconds
IDLE_SECONDS = 280.0  # AOL ends IDLE at 300 (sync.md §5.6)
CHUNK_FIRST, CHUNK_MOST, CHUNK_SECONDS = 200, 4000, 0.4
PREFETCH, PREFETCH_SIZE, PREFETCH_BUDGET = 5, 64 << 10, 60  # at a time, bytes each, messages a session
SLOW_FIRST, SLOW_MOST = 1.0, 60.0
LOGIN_TRIES, LOGIN_PAUSE = 2, 5.0  # a password that was refused twice waits for the user
WORTH_TELLING = 200  # messages to come before progress is shown
_ORDER = {role: place for place, role in enumerate((Role.INBOX, Role.DRAFTS, Role.SENT, Role.ARCHIVE, Role.FLAGGED,
                                                   Role.NONE, Role.ALL, Role.JUNK, Role.TRASH))}  # fmt: skip


class Worker:
    """See the module.  Belongs to the engine's loop."""

    def __init__(self, manager: AccountManager, account: Account, account_id: AccountId) -> None:
        self.manager = manager
        self.account = account
        self.name = account.name
        self.id = account_id
        self.store: Store = manager.store
        self.main = Actor(self._connect, f"{account.name}-main")
        self.watch: Actor | None = None
        self.sender = Sender(self)
        self.poke = asyncio.Event()
        self.dirty: dict[FolderId, bool] = {}  # folders to look at; True: even if STATUS says nothing new
        self.delayed: dict[carry.Course, carry.Delay] = {}
        self.recover_after = 0.0
        self.file_failures = 0
        self.file_after = 0.0
        self.capabilities: frozenset[str] = frozenset()
        self.state = AccountState.OFFLINE
        self.settled = asyncio.Event()  # nothing is left to be done
        self.refreshed: list[tuple[str, int, int, int, float]] = []  # folder, new, changed, vanished, seconds
        self._older: dict[FolderId, list[int]] = {}  # UIDs below `lo`, ascending
        self._chunk = CHUNK_FIRST
        self._flags_at: dict[FolderId, float] = {}
        self._looked = 0.0
        self._polled = 0.0
        self._fetched = 0
        self._sink_error: TermmailError | None = None
        self._task: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._retry_now = asyncio.Event()
        self._resting = False  # between two sessions
        self._refusals = 0  # of the password, in a row
        self._on_screen: FolderId | None = None
        self._unseen: dict[FolderId, int] = {}  # as STATUS said before the look that is due
        self._skipped: set[FolderId] = set()  # folders the server will not let us read on in

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work, until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        self.sender.start()

    async def stop(self) -> None:
        """End within a second; what was under way is looked up at the next start."""
        for task in (self._task, self._watcher):
            if task is not None:
                task.cancel()
        await self.sender.stop()
        await asyncio.gather(self.main.close(0.5), *([self.watch.close(0.5)] if self.watch else []))
        self._tell(AccountState.OFFLINE)

    def look(self, *, sync_now: bool = False) -> None:
        """There may be something new in the store; `sync_now`: ask the server for news too, even after errors."""
        if sync_now or not self._resting:
            self.settled.clear()
        if sync_now:
            self._polled = 0.0
            self._retry_now.set()
        self.poke.set()
        self.sender.poke.set()

    def report(self) -> list[dict[str, Any]]:
        """The folders that were looked at, as `sync --json` tells them (contract.md)."""
        return [
            {"account": self.name, "folder": folder, "new": new, "changed": changed, "vanished": vanished}
            | {"seconds": round(took, 3)}
            for folder, new, changed, vanished, took in self.refreshed
        ]

    def busy(self) -> int:
        """Wishes, and messages to be sent, that still wait."""
        return self.store.intents.pending_count(self.id) + self.store.queue.queued_count(self.name)

    def _connect(self) -> ImapSession:
        """On the actor's thread."""
        return connect(self.account.incoming, self.manager.secret(self.account.incoming), account=self.name)

    async def _live(self) -> None:
        """Work; after errors wait and work again."""
        slow = SLOW_FIRST
        while True:
            began = time.monotonic()
            wait: float | None
            try:
                await self._session()
            except (AuthRefused, SecretError) as error:
                self._refusals += 1
                self.manager.forget_secret(self.account.incoming)
                self._tell(AccountState.AUTH, error)
                wait = LOGIN_PAUSE if self._refusals < LOGIN_TRIES else None
            except TlsError as error:
                self._tell(AccountState.TLS, error)
                wait = None
            except TermmailError as error:
                self._tell(AccountState.OFFLINE, error)
                slow = SLOW_FIRST if time.monotonic() - began > 60 else min(SLOW_MOST, slow * 2)
                wait = slow * random.uniform(0.5, 1.0)  # noqa: S311
            except Exception as error:
                log.exception("%s: the worker failed", self.name)
                self._tell(AccountState.OFFLINE, NetError(f"an internal error ({type(error).__name__}); see the log"))
                wait = SLOW_MOST
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None
            self._retry_now.clear()
            self._resting = True
            self.settled.set()  # for those who wait: nothing more happens by itself now
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._retry_now.wait(), wait)
            self._resting = False

    def _tell(self, state: AccountState, error: TermmailError | None = None) -> None:
        """Write where the account stands."""
        self.state = state
        words = safe_line(f"{error.words}" + (f" ({error.hint})" if error.hint else "")) if error else SafeText("")
        with contextlib.suppress(TermmailError):
            self.store.mail.set_account(self.id, state=state, folder=SafeText(""), done=0, total=0, error=words)
        if error:
            log.info("%s: %s", self.name, type(error).__name__)
        self.news(accounts=True)

    def news(
        self,
        folders: Iterable[int] = (),
        *,
        accounts: bool = False,
        bodies: Iterable[int] = (),
        outbox: bool = False,
        notices: bool = False,
    ) -> None:
        """Tell whoever looks what to read again."""
        self.manager.again(Again(frozenset(folders), accounts, frozenset(bodies), outbox, notices))

    async def call(self, function: Callable[[ImapSession], T]) -> T:
        """Run on the main connection."""
        return await self.main.call(function)

    async def with_create(self, target: FolderState, function: Callable[[ImapSession], T]) -> T:
        """The same; where the server asks for it the target is created first (RFC 3501 TRYCREATE)."""
        try:
            return await self.call(function)
        except Refused as error:
            if error.code != "TRYCREATE":
                raise
        await self.call(lambda s: s.create(target.wire))
        return await self.call(function)

    # -- a session ----------------------------------------------------------------------

    async def _session(self) -> None:
        """Connect and work until something breaks."""
        self._tell(AccountState.CONNECTING)
        self._older.clear()
        self._skipped.clear()
        self._fetched = 0
        await self.look_at_folders()
        self._refusals = 0
        self.manager.connected(self)
        await carry.recover(self)
        self._start_watching()
        while True:
            self.poke.clear()
            while await self._turn():
                await asyncio.sleep(0)
            self._settle()
            await self._wait()

    async def look_at_folders(self) -> None:
        """LIST, and STATUS where it came along: which folders there are, and which have news."""
        remote = await self.call(lambda s: s.list_folders())
        session = self.main.session
        self.capabilities = session.capabilities if session else frozenset()
        rows = [self._row(folder) for folder in remote]
        changes = self.store.mail.sync_folders(self.id, rows)
        self._polled = self._looked = time.monotonic()
        known = {state.wire: state for state in map(self.store.mail.folder_state, self._folder_ids())}
        for folder in remote:
            state = known.get(folder.wire)
            if state is not None and folder.selectable:
                self._note_status(state, folder.status)
                if session and session.selected == folder.wire:  # its STATUS may be old (RFC 3501 §6.3.10)
                    self.dirty[state.id] = True
        if changes:
            self.news(accounts=True, folders=[*changes.added, *changes.removed, *changes.changed])

    def _row(self, folder: RemoteFolder) -> RemoteFolderRow:
        """A folder with the role that the settings give it, if they do."""
        roles = {path: role for role, path in self.account.folders.items()}
        role = roles.get(str(folder.path), folder.role)
        if role == folder.role and role in self.account.folders and role != Role.INBOX:
            role = Role.NONE  # the settings name another folder for this
        return RemoteFolderRow(folder.wire, folder.path, folder.delimiter, role, folder.selectable, folder.subscribed)

    def _note_status(self, state: FolderState, status: FolderStatus | None) -> None:
        if status is None:
            self.dirty.setdefault(state.id, state.role == Role.INBOX)
        elif sync.has_news(state, status):
            self.dirty[state.id] = True
            self._unseen[state.id] = status.unseen
            if status.unseen != state.srv_unseen:
                self._flags_at.pop(state.id, None)  # whose flags changed is not told: ask for all
            if state.srv_total < 0 or state.uidvalidity == 0:
                self.store.mail.set_folder_state(state.id, srv_total=status.messages, srv_unseen=status.unseen)

    def _folder_ids(self) -> list[FolderId]:
        return [folder.id for folder in self.store.mail.folders(self.id)]

    def _start_watching(self) -> None:
        if "IDLE" in self.capabilities and self.store.mail.learned(self.id).get("connections") != 1:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """IDLE on INBOX on the second connection, as long as the first one lives."""
        inbox = self.store.mail.role_folder(self.id, Role.INBOX)
        if inbox is None:
            return
        wire = self.store.mail.folder_state(inbox.id).wire
        pause = 1.0
        while True:
            began = time.monotonic()
            watch = self.watch = Actor(self._connect, f"{self.name}-watch")
            try:
                await watch.call(lambda s: s.reselect(wire))
                self.mark(inbox.id)
                while True:
                    if await watch.idle(IDLE_SECONDS):
                        self.mark(inbox.id)
            except Refused as error:
                if self._too_many(error.words):
                    return
            except TermmailError as error:
                if self._too_many(error.words):
                    return
                log.info("%s: watching broke (%s)", self.name, type(error).__name__)
            finally:
                await watch.close(0.2)
            pause = 1.0 if time.monotonic() - began > 60 else min(60.0, pause * 2)
            await asyncio.sleep(pause)

    def _too_many(self, words: str) -> bool:
        """The server allows no second connection: remember that."""
        low = words.lower()
        if "too many" in low or "maximum number of conn" in low or "simultaneous" in low or "[limit]" in low:
            self.store.mail.learn(self.id, connections=1)
            self._watcher = None
            return True
        return False

    def mark(self, folder_id: FolderId) -> None:
        """Something happened in that folder."""
        self.dirty[folder_id] = True
        self.settled.clear()
        self.poke.set()

    # -- turns ------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Do the most urgent thing; False if there is nothing to do."""
        if (open_id := self.manager.open_folder(self.id)) != self._on_screen:
            self._on_screen = open_id
            if open_id:
                self.dirty[open_id] = True
        if await self._wanted_body():
            return True
        if await carry.carry_out(self):
            return True
        if await file_copies(self):
            return True
        if (folder_id := self._next_dirty()) is not None:
            await self._look(folder_id)
            return True
        return await self._backfill() or await self._prefetch()

    def _settle(self) -> None:
        """Everything is done for now."""
        if self.state != AccountState.ONLINE:
            self.state = AccountState.ONLINE
        self.store.mail.set_account(
            self.id,
            state=AccountState.ONLINE,
            folder=SafeText(""),
            done=0,
            total=0,
            error=SafeText(""),
            last_sync=time.time(),
        )
        self.store.mail.prune()
        self.news(accounts=True)
        if self._polled and not self.poke.is_set():  # else somebody asked for more meanwhile
            self.settled.set()

    async def _wait(self) -> None:
        """Until something is wanted or it is time to ask the server."""
        open_id = self.manager.open_folder(self.id)
        now = time.monotonic()
        due = self._polled + POLL_ALL
        if open_id and not self._is_watched(open_id):
            due = min(due, self._looked + POLL_OPEN)
        due = min(due, now + min(carry.next_try(self), self._file_due()) - time.time())
        seconds = max(0.05, due - now)
        if self._watcher is None and "IDLE" in self.capabilities and not self.poke.is_set():
            await self._idle_on_main(min(seconds, IDLE_SECONDS))
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.poke.wait(), seconds)
        now = time.monotonic()
        if now >= self._polled + POLL_ALL or self._polled == 0.0:
            await self.look_at_folders()
        elif (open_id := self.manager.open_folder(self.id)) and now >= self._looked + POLL_OPEN:
            self._looked = now
            self.dirty[open_id] = True

    def _file_due(self) -> float:
        return self.file_after if self.file_after > time.time() else float("inf")

    def _is_watched(self, folder_id: FolderId) -> bool:
        inbox = self.store.mail.role_folder(self.id, Role.INBOX)
        return self._watcher is not None and inbox is not None and inbox.id == folder_id

    async def _idle_on_main(self, seconds: float) -> None:
        """With one connection only: IDLE on INBOX until anything is wanted."""
        inbox = self.store.mail.role_folder(self.id, Role.INBOX)
        if inbox is None:
            await asyncio.sleep(min(seconds, 1.0))
            return
        wire = self.store.mail.folder_state(inbox.id).wire
        await self.call(lambda s: s.select(wire))
        idling = asyncio.ensure_future(self.main.idle(seconds))
        poked = asyncio.ensure_future(self.poke.wait())
        await asyncio.wait({idling, poked}, return_when=asyncio.FIRST_COMPLETED)
        if not idling.done() and self.main.session is not None:
            self.main.session.wake()
        poked.cancel()
        if await idling:
            self.dirty[inbox.id] = True

    def _next_dirty(self) -> FolderId | None:
        """The folder to look at next: the one on the screen, then by role."""
        if not self.dirty:
            return None
        open_id = self.manager.open_folder(self.id)
        folders = {folder.id: folder for folder in self.store.mail.folders(self.id) if folder.selectable}
        candidates = [folder_id for folder_id in self.dirty if folder_id in folders]
        if not candidates:
            self.dirty.clear()
            return None
        return min(candidates, key=lambda f: (f != open_id, _ORDER[folders[f].role], folders[f].path))

    async def _look(self, folder_id: FolderId) -> None:
        """A folder that may have news: STATUS first where that is cheaper than SELECT."""
        sure = self.dirty.pop(folder_id, True)
        try:
            state = self.store.mail.folder_state(folder_id)
            selected = self.main.session is not None and self.main.session.selected == state.wire
            if not sure and state.uidvalidity and not selected:
                status = await self.call(lambda s: s.status(state.wire))
                if not sync.has_news(state, status):
                    return
                self._note_status(state, status)
            await self.sync_folder(folder_id)
        except NotFound:
            pass
        except Refused as error:  # it went away under us, or is closed to us
            log.info("%s: a folder cannot be read: %s", self.name, error.code)

    # -- a folder ------------------------------------------------------------------------------

    async def sync_folder(self, folder_id: FolderId) -> None:
        """Bring a folder up to date; older mail is left to backfill."""
        self.dirty.pop(folder_id, None)
        began = time.monotonic()
        state = self.store.mail.folder_state(folder_id, counted=True)
        selected = await self.call(lambda s: s.reselect(state.wire))
        self._say_syncing(state)
        due = (
            began - self._flags_at.get(folder_id, -FLAGS_ALL) >= FLAGS_ALL
            or self.manager.open_folder(self.id) == folder_id
        )
        newest = self.store.mail.newest_placement()
        changed = vanished = 0
        for step in sync.plan(state, selected, flags_due=due):
            if isinstance(step, sync.Reset):
                log.info("%s: UIDVALIDITY of a folder changed", self.name)
                self.store.mail.reset_folder(folder_id, step.uidvalidity)
                self._older.pop(folder_id, None)
            elif isinstance(step, sync.Newest):
                await self._newest(folder_id, step.count, selected)
            elif isinstance(step, sync.New):
                await self._fetch_new(folder_id, step.uid)
            elif isinstance(step, sync.Flags):
                changed += await self._fetch_flags(folder_id, step)
            else:
                vanished += await self._find_vanished(folder_id, step)
        if due:
            self._flags_at[folder_id] = began
        self._note_selected(folder_id, selected)
        new = self.store.mail.newest_placement() - newest
        self.refreshed.append((state.path, new, changed, vanished, time.monotonic() - began))
        del self.refreshed[:-200]
        self.news(folders=[folder_id], accounts=True)

    def _note_selected(self, folder_id: FolderId, selected: Selected) -> None:
        """Everything of this look is applied: remember the server's numbers."""
        state = self.store.mail.folder_state(folder_id)
        columns: dict[str, float] = {
            "uidvalidity": selected.uidvalidity, "uidnext": selected.uidnext, "modseq": selected.modseq,
            "srv_total": selected.exists, "synced": time.time(),
        }  # fmt: skip
        if folder_id in self._unseen:
            columns["srv_unseen"] = self._unseen.pop(folder_id)
        if selected.exists == 0:
            columns |= {"lo": 1, "hi": max(0, selected.uidnext - 1)}
        self.store.mail.set_folder_state(folder_id, **columns)
        if state.lo == 1 or selected.exists == 0:
            self.store.mail.drop_unmatched(folder_id)

    def _say_syncing(self, state: FolderState) -> None:
        """Progress for the status line, while there is much to do."""
        folders = [f for f in self.store.mail.folders(self.id) if f.selectable]
        total = sum(max(0, folder.srv_total) for folder in folders)
        done = sum(min(folder.total, max(0, folder.srv_total)) for folder in folders)
        self.state = AccountState.SYNCING
        if total - done > WORTH_TELLING or self._last_sync() == 0:
            self.store.mail.set_account(self.id, state=AccountState.SYNCING, folder=state.path, done=done, total=total)
            self.news(accounts=True)

    def _last_sync(self) -> float:
        return next((one.last_sync for one in self.store.mail.accounts() if one.account_id == self.id), 0.0)

    def _sink(self, folder_id: FolderId, lowest: int = 0) -> Callable[[list[NewMessage]], None]:
        """Takes headers on the connection's thread and stores them on ours."""
        loop = asyncio.get_running_loop()
        self._sink_error = None

        def store(batch: list[NewMessage]) -> None:
            if self._sink_error is not None:
                return
            try:
                self._store(folder_id, batch)
            except TermmailError as error:
                self._sink_error = error

        def hand_over(batch: list[NewMessage]) -> None:
            loop.call_soon_threadsafe(store, batch)

        return hand_over

    def _store(self, folder_id: FolderId, batch: list[NewMessage]) -> None:
        self.store.mail.add_messages(folder_id, batch)
        self.news(folders=[folder_id], accounts=True)

    async def _headers(self, folder_id: FolderId, ask: Ask) -> list[int]:
        """Run a header fetch into the store; the UIDs that came."""
        seen: list[int] = []
        inner = self._sink(folder_id)

        def sink(batch: list[NewMessage]) -> None:
            seen.extend(header.uid for header in batch)
            inner(batch)

        await self.main.call(lambda s: ask(s, sink), BACKGROUND)
        if self._sink_error is not None:
            raise self._sink_error
        return seen

    async def _newest(self, folder_id: FolderId, count: int, selected: Selected) -> None:
        """The first page: what a user sees first."""
        self.store.mail.set_folder_state(folder_id, uidvalidity=selected.uidvalidity, srv_total=selected.exists)
        uids = await self._headers(folder_id, lambda s, sink: s.newest_headers(count, selected.exists, sink))
        if uids:
            everything = len(uids) >= selected.exists
            self.store.mail.set_folder_state(folder_id, lo=1 if everything else min(uids), hi=max(uids))

    async def _fetch_new(self, folder_id: FolderId, uid: int) -> None:
        uids = await self._headers(folder_id, lambda s, sink: s.headers_from(uid, sink))
        if uids:
            self.store.mail.set_folder_state(folder_id, hi=max(uids))

    async def _fetch_flags(self, folder_id: FolderId, step: sync.Flags) -> int:
        if step.hi < step.lo:
            return 0
        found = await self.call(lambda s: s.flags(step.lo, step.hi, step.changed_since))
        return self.store.mail.set_truth_flags(folder_id, [(f.uid, int(f.flags), f.keywords, f.modseq) for f in found])

    async def _find_vanished(self, folder_id: FolderId, step: sync.Uids) -> int:
        """Which messages are gone; so many at once that it may be the server's fault are asked about again."""
        if step.hi < step.lo:
            return 0
        there = set(await self.call(lambda s: s.search(step.lo, step.hi)))
        known = self.store.mail.uids(folder_id, step.lo, step.hi)
        gone = [uid for uid in known if uid not in there]
        if sync.suspicious(len(gone), len(known)):
            wire = self.store.mail.folder_state(folder_id).wire
            selected = await self.call(lambda s: s.reselect(wire))
            everything = await self.call(lambda s: s.search())
            if len(everything) != selected.exists:
                log.warning("%s: the server contradicts itself about deletions; nothing is removed", self.name)
                return 0
            there = {uid for uid in everything if step.lo <= uid <= step.hi}
            gone = [uid for uid in known if uid not in there]
        missing = sorted(there - set(known))
        if missing:  # the server listed them late (sync.md §5.5.6)
            await self._headers(folder_id, lambda s, sink: s.headers(missing[-CHUNK_MOST:], sink))
        return self.store.mail.vanish(folder_id, gone)

    # -- in the background ---------------------------------------------------------------------------

    async def _backfill(self) -> bool:
        """One chunk of older headers, of the most wanted folder that is not complete."""
        open_id = self.manager.open_folder(self.id)
        waiting = [
            f for f in self.store.mail.folders(self.id)
            if f.selectable and not f.complete and f.srv_total > 0 and f.id not in self._skipped
            and self.store.mail.folder_state(f.id).lo > 1
        ]  # fmt: skip
        if not waiting:
            return False
        folder = min(waiting, key=lambda f: (f.id != open_id, _ORDER[f.role], f.path))
        state = self.store.mail.folder_state(folder.id)
        try:
            await self._older_chunk(state)
        except Refused as error:
            log.info("%s: older mail of a folder cannot be read now: %s", self.name, error.code)
            self._skipped.add(folder.id)
        return True

    async def _older_chunk(self, state: FolderState) -> None:
        """The next headers below what is here."""
        selected = await self.call(lambda s: s.select(state.wire))
        if selected.uidvalidity != state.uidvalidity:
            self.dirty[state.id] = True
            return
        older = self._older.get(state.id)
        if older is None:
            older = self._older[state.id] = await self.call(lambda s: s.search(1, state.lo - 1))
        chunk = older[-self._chunk :]
        began = time.monotonic()
        if chunk:
            await self._headers(state.id, lambda s, sink: s.headers(chunk, sink))
            del older[-len(chunk) :]
        took = time.monotonic() - began
        self._chunk = min(CHUNK_MOST, self._chunk * 2) if took < CHUNK_SECONDS else max(50, self._chunk // 2)
        self.store.mail.set_folder_state(state.id, lo=chunk[0] if older else 1)
        if not older:
            self._older.pop(state.id, None)
            self.dirty[state.id] = True  # complete now: what was not found again is gone
        self._say_syncing(state)

    async def _wanted_body(self) -> bool:
        """A message that somebody waits for."""
        for message_id, folder_id, uid in self.store.mail.wanted_bodies(self.id):
            try:
                state = self.store.mail.folder_state(folder_id)
                selected = await self.call(lambda s, state=state: s.select(state.wire))  # type: ignore[misc]
                if selected.uidvalidity != state.uidvalidity:  # that UID may be another message by now
                    await self.sync_folder(folder_id)
                    return True
                raw = await self.call(lambda s, uid=uid: s.body(uid))  # type: ignore[misc]
                self.store.mail.put_body(message_id, raw)
            except (Refused, NotFound) as error:
                self.store.mail.body_failed(message_id, safe_line(error.words))
            self.news(bodies=[message_id])
            return True
        return False

    async def _prefetch(self) -> bool:
        """The newest small messages of INBOX, unread ones first, so that opening them asks nobody."""
        inbox = self.store.mail.role_folder(self.id, Role.INBOX)
        if inbox is None or self._fetched >= PREFETCH_BUDGET or self.manager.headers_only:
            return False
        missing = self.store.mail.bodies_missing(inbox.id, PREFETCH, PREFETCH_SIZE)
        if not missing:
            return False
        state = self.store.mail.folder_state(inbox.id)
        selected = await self.call(lambda s: s.select(state.wire))
        if selected.uidvalidity != state.uidvalidity:
            self.dirty[inbox.id] = True
            return True
        for message_id, uid, _ in missing:
            self._fetched += 1
            with contextlib.suppress(Refused):
                raw = await self.main.call(lambda s, uid=uid: s.body(uid), BACKGROUND)  # type: ignore[misc]
                self.store.mail.put_body(message_id, raw)
            if self.poke.is_set():
                break
        return True
