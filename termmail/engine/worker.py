"""One account at work: what is wanted goes out, what is new comes in, most urgent first.

Three connections, if the server allows them: `main` for what somebody waits for, `back` for everything else, and
one that watches.  With two, `back` watches when it has nothing to do; with one, that one does all in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from termmail.engine import carry, trouble
from termmail.engine.bodies import Bodies
from termmail.engine.folders import Folders
from termmail.engine.headers import Headers
from termmail.engine.outbox import Sender, file_copies
from termmail.engine.trouble import Patience, classify
from termmail.engine.watch import Watch
from termmail.link import Again
from termmail.model.account import Account, AccountState
from termmail.model.errors import AuthRefused, NetError, Refused, SecretError, TermmailError, Throttled
from termmail.model.message import AccountId, FolderId
from termmail.net.actor import INTERACTIVE, PROBE, Actor
from termmail.net.backend import Manners
from termmail.net.imap.session import ImapSession, connect
from termmail.store.db import Store
from termmail.store.mail import FolderState
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.engine.accounts import AccountManager

log = logging.getLogger("termmail.engine")
T = TypeVar("T")

POLL_OPEN, POLL_ALL, POLL_NOTIFIED = 30.0, 120.0, 900.0  # seconds
FALLS = 2  # sessions broken so: the server bears no pipelining
ALERTS = 10  # different ones a run
FORGET_CROWDED = 86_400.0  # seconds after which more connections are tried again
CONNECTING = 2  # connections of an account that may be made at the same time


class Worker:
    """See the module.  Belongs to the engine's loop."""

    def __init__(self, manager: AccountManager, account: Account, account_id: AccountId) -> None:
        self.manager = manager
        self.account = account
        self.name = account.name
        self.id = account_id
        self.store: Store = manager.store
        self.folders = Folders(self)
        self.main = self.actor("main")
        self._back = self.actor("back")
        self.allowed = account.incoming.connections
        self.headers = Headers(self)
        self.bodies = Bodies(self)
        self.watch = Watch(self)
        self.sender = Sender(self)
        self.poke = asyncio.Event()  # for `main`
        self._poke_back = asyncio.Event()
        self._poke_bodies = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._active: set[str] = set()  # which of the tasks have something to do
        self._alone = asyncio.Lock()  # held by what takes several commands on `main` with a folder selected
        self._doubts = False  # another connection broke: does this one live?
        self._patience = Patience()
        self._slots = threading.BoundedSemaphore(CONNECTING)
        self.dirty: dict[FolderId, bool] = {}  # folders to look at; True: even if STATUS says nothing new
        self.delayed: dict[carry.Course, carry.Delay] = {}
        self.recover_after = 0.0
        self.file_failures = 0
        self.file_after = 0.0
        self.capabilities: frozenset[str] = frozenset()
        self.manners = Manners()
        self._latest: dict[str, ImapSession] = {}
        self._fallen = 0  # sessions that broke while commands were pipelined
        self._alerts: set[str] = set()
        self.state = AccountState.OFFLINE
        self.settled = asyncio.Event()  # nothing is left to be done
        self._task: asyncio.Task[None] | None = None
        self._retry_now = asyncio.Event()
        self._resting = False  # between two sessions
        self._on_screen: FolderId | None = None

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work, until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        self.sender.start()

    async def stop(self) -> None:
        """End within a second; what was under way is looked up at the next start."""
        if self._task is not None:
            self._task.cancel()
        self._end_session()
        await self.sender.stop()
        actors = [self.main, self._back, *([self.watch.actor] if self.watch.actor else [])]
        await asyncio.gather(*(actor.close(0.5) for actor in actors))
        self._tell(AccountState.OFFLINE)

    def look(self, *, sync_now: bool = False) -> None:
        """There may be something new in the store; `sync_now`: ask the server for news too, even after errors."""
        if sync_now or not self._resting:
            self.settled.clear()
        if sync_now:
            self.folders.polled = 0.0
            self._retry_now.set()
        self.stir()
        self.sender.poke.set()

    def look_at_all(self) -> None:
        """The next look goes to every folder, and `report` tells what it found."""
        self.folders.refreshed.clear()
        for folder_id in self.folders.ids():
            self.dirty.setdefault(folder_id, False)

    def stir(self) -> None:
        """All tasks look whether there is something for them."""
        if self._tasks:
            self.settled.clear()
            self._active = {"main", "back", "bodies"} if self.allowed > 1 else {"main", "bodies"}
        for event in (self.poke, self._poke_back, self._poke_bodies):
            event.set()

    @property
    def back(self) -> Actor:
        """The connection for what nobody waits for."""
        return self._back if self.allowed > 1 else self.main

    async def resumed(self) -> None:
        """The machine has slept, or the network is another: see which connections live, and try again at once."""
        self._patience.anew()
        if self._resting:
            self.look(sync_now=True)
            return
        actors = [self.main, self._back, *([self.watch.actor] if self.watch.actor else [])]
        if not all(await asyncio.gather(*(actor.probe() for actor in actors))):
            self._doubts = True
            self.look(sync_now=True)

    def report(self) -> list[dict[str, Any]]:
        """The folders that were looked at, as `sync --json` tells them (contract.md)."""
        return [
            {"account": self.name, "folder": folder} | done._asdict() | {"seconds": round(done.seconds, 3)}
            for folder, done in self.folders.refreshed.items()
        ]

    def busy(self) -> int:
        """Wishes, and messages to be sent, that still wait."""
        return self.store.intents.pending_count(self.id) + self.store.queue.queued_count(self.name)

    def _connect(self, role: str) -> ImapSession:
        """On the actor's thread."""
        if role in self._latest and self._latest[role].flying:
            self._fallen += 1
        server, manners = self.account.incoming, self.manners
        if self._fallen >= FALLS:
            manners = replace(manners, pipelining=False)
        with self._slots:
            session = connect(server, self.manager.secret(server), account=self.name, manners=manners)
        self._latest[role] = session
        return session

    def actor(self, role: str) -> Actor:
        """A connection of this account, not made yet."""
        return Actor(lambda: self._connect(role), f"{self.name}-{role}", self.folders.harvest)

    def _recall(self) -> None:
        """How to talk to the server, as earlier sessions have taught."""
        learned = self.store.mail.learned(self.id)
        self.manners = Manners(learned.get("pipelining", False), learned.get("qresync", True))
        self.allowed = self.account.incoming.connections
        if learned.get("crowded", 0.0) > time.time() - FORGET_CROWDED:
            self.allowed = min(self.allowed, learned.get("connections", 3))

    def _remember(self) -> None:
        """The server has borne what it was asked."""
        bears = self._fallen < FALLS
        if not bears or "pipelining" not in self.store.mail.learned(self.id):
            self.store.mail.learn(self.id, pipelining=bears)
            self._recall()

    def distrust_qresync(self) -> None:
        """It told wrong changes: from now on only MODSEQs are believed."""
        self.store.mail.learn(self.id, qresync=False)
        self._recall()
        for session in self._latest.values():
            session.qresync = False

    def crowded(self, error: TermmailError) -> bool:
        """If it says so: the server allows fewer connections than there are; remember that."""
        if not (isinstance(error, Throttled) and error.crowded) or self.allowed == 1:
            return False
        self.allowed -= 1
        if self.allowed == 1:
            self._back.abort()
        self.store.mail.learn(self.id, connections=self.allowed, crowded=time.time())
        log.info("%s: the server allows no more than %d connections", self.name, self.allowed)
        self.stir()
        return True

    def doubt(self, error: TermmailError) -> None:
        """A connection broke: the one that counts is looked at."""
        if isinstance(error, NetError) and not isinstance(error, Refused):
            self._doubts = True
            self.poke.set()

    def alert(self, words: SafeText) -> None:
        """What the server wants the user to read (RFC 3501 §7.1), once."""
        if words not in self._alerts and len(self._alerts) < ALERTS:
            self._alerts.add(words)
            self.store.mail.notice(self.name, safe_line(f"the server says: {words}"))
            self.news(notices=True)

    async def _live(self) -> None:
        """Work; after errors wait and work again."""
        while True:
            began = time.monotonic()
            wait: float | None
            try:
                await self._session()
            except TermmailError as error:
                self._patience.lasted(time.monotonic() - began)
                if isinstance(error, AuthRefused | SecretError):
                    self.manager.forget_secret(self.account.incoming)
                self._tell(classify(error), error)
                wait = self._patience.pause(error)
            except Exception as error:
                log.exception("%s: the worker failed", self.name)
                self._tell(AccountState.OFFLINE, NetError(f"an internal error ({type(error).__name__}); see the log"))
                wait = trouble.SLOW_MOST
            self._end_session()
            self._retry_now.clear()
            self._resting = True
            self.settled.set()  # for those who wait: nothing more happens by itself now
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._retry_now.wait(), wait)
            self._resting = False

    def _end_session(self) -> None:
        self.watch.end()
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._active.clear()
        self._back.abort()

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
        self.headers.begin()
        self.bodies.begin()
        self._recall()
        arrived = await self.folders.arrive()
        self._remember()
        self._patience.connected()
        self._doubts = False
        self.manager.connected(self)
        if self.store.intents.flights(self.id):
            await carry.recover(self)
            if arrived is not None:
                self.dirty[arrived[0]] = True
        elif arrived is not None:
            await self.folders.refresh(*arrived)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._behind()), loop.create_task(self._serve_bodies())]
        self.watch.start()
        self.stir()
        while True:
            self.poke.clear()
            while await self._turn():
                self._pass_on("back", self._poke_back)
                await asyncio.sleep(0)
            self._rests("main")
            await self._wait()

    async def _behind(self) -> None:
        """What nobody waits for, on a connection of its own; none if there is but one."""
        pause = trouble.SLOW_FIRST
        while True:
            self._poke_back.clear()
            try:
                while self.allowed > 1 and await self._turn_behind():
                    self._pass_on("main", self.poke)
                    await asyncio.sleep(0)
                pause = trouble.SLOW_FIRST
                self._rests("back")
                watches = self.allowed == 2 and not self._poke_back.is_set()
                await self.watch.between(self.back, self.folders.inbox() if watches else None, 3600.0, self._poke_back)
            except TermmailError as error:
                log.info("%s: work behind broke (%s)", self.name, type(error).__name__)
                if self.crowded(error):
                    await self.watch.ended()  # one of the two must go
                else:
                    self.doubt(error)
                    self._rests("back")
                await asyncio.sleep(pause)
                pause = min(trouble.SLOW_MOST, pause * 2)

    async def _serve_bodies(self) -> None:
        """Messages that somebody waits for, before and between everything else."""
        while True:
            self._poke_bodies.clear()
            try:
                while True:
                    async with self._alone:
                        if not await self.bodies.wanted():
                            break
            except TermmailError as error:
                self.doubt(error)
            self._rests("bodies")
            await self._poke_bodies.wait()

    def mark(self, folder_id: FolderId) -> None:
        """Something happened in that folder."""
        self.dirty[folder_id] = True
        self.stir()

    # -- turns ------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Do the most urgent thing that is for `main`; False if there is nothing to do."""
        if self._doubts:
            self._doubts = False
            await self.main.call(lambda s: s.probe(PROBE), INTERACTIVE)
        if (open_id := self.manager.open_folder(self.id)) != self._on_screen:
            self._on_screen = open_id
            if open_id:
                self.dirty[open_id] = True
        async with self._alone:
            if await carry.carry_out(self) or await file_copies(self):
                return True
        if (folder_id := self.folders.next_dirty(open_one=True, others=self.allowed == 1)) is not None:
            await self.folders.look(folder_id, self.main)
            return True
        return self.allowed == 1 and await self._turn_behind()

    async def _turn_behind(self) -> bool:
        """Do the most urgent thing of the rest; False if there is nothing to do."""
        if (folder_id := self.folders.next_dirty(open_one=False, others=True)) is not None:
            await self.folders.look(folder_id, self.back)
            return True
        return await self.headers.backfill() or await self.bodies.prefetch()

    def _pass_on(self, task: str, event: asyncio.Event) -> None:
        """What was done here may have left something to do for the other task."""
        if self.dirty and self.allowed > 1:
            self._active.add(task)
            event.set()

    def _rests(self, task: str) -> None:
        """One of the tasks has nothing to do; if none has, everything is done for now."""
        self._active.discard(task)
        if not self._active:
            self._settle()

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
        if self.folders.polled and not self.poke.is_set():  # else somebody asked for more meanwhile
            self.settled.set()

    async def _wait(self) -> None:
        """Until something is wanted or it is time to ask the server."""
        open_id = self.manager.open_folder(self.id)
        now = time.monotonic()
        poll = POLL_NOTIFIED if self.watch.notified else POLL_ALL
        due = self.folders.polled + poll
        alone = self.allowed == 1
        watched = self.folders.inbox() if alone else open_id if open_id and not self.watch.covers(open_id) else None
        if open_id and open_id != watched and not self.watch.covers(open_id):
            due = min(due, self.folders.looked + POLL_OPEN)
        due = min(due, now + min(carry.next_try(self), self._file_due()) - time.time())
        await self.watch.between(self.main, watched, max(0.05, due - now), self.poke)
        now = time.monotonic()
        if now >= self.folders.polled + poll or self.folders.polled == 0.0:
            await self.folders.list_all()
            if self.dirty:
                self.stir()
        elif (open_id := self.manager.open_folder(self.id)) and now >= self.folders.looked + POLL_OPEN:
            self.folders.looked = now
            if not self.watch.covers(open_id):
                self.dirty[open_id] = True

    def _file_due(self) -> float:
        return self.file_after if self.file_after > time.time() else float("inf")
