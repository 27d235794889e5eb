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
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from termmail.engine import carry
from termmail.engine.bodies import Bodies
from termmail.engine.folders import Folders
from termmail.engine.headers import Headers
from termmail.engine.outbox import Sender, file_copies
from termmail.engine.watch import IDLE_SECONDS, Watch
from termmail.link import Again
from termmail.model.account import Account, AccountState
from termmail.model.errors import AuthRefused, NetError, Refused, SecretError, TermmailError, TlsError
from termmail.model.message import AccountId, FolderId
from termmail.net.actor import Actor
from termmail.net.backend import Manners
from termmail.net.imap.session import ImapSession, connect
from termmail.store.db import Store
from termmail.store.mail import FolderState
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.engine.accounts import AccountManager

log = logging.getLogger("termmail.engine")
T = TypeVar("T")

POLL_OPEN, POLL_ALL = 30.0, 120.0  # seconds
SLOW_FIRST, SLOW_MOST = 1.0, 60.0
FALLS = 2  # sessions broken so: the server bears no pipelining
ALERTS = 10  # different ones a run
LOGIN_TRIES, LOGIN_PAUSE = 2, 5.0  # a password that was refused twice waits for the user


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
        self.headers = Headers(self)
        self.bodies = Bodies(self)
        self.watch = Watch(self)
        self.sender = Sender(self)
        self.poke = asyncio.Event()
        self.dirty: dict[FolderId, bool] = {}  # folders to look at; True: even if STATUS says nothing new
        self.delayed: dict[carry.Course, carry.Delay] = {}
        self.recover_after = 0.0
        self.file_failures = 0
        self.file_after = 0.0
        self.capabilities: frozenset[str] = frozenset()
        self.manners = Manners()
        self._latest: ImapSession | None = None
        self._fallen = 0  # sessions that broke while commands were pipelined
        self._alerts: set[str] = set()
        self.state = AccountState.OFFLINE
        self.settled = asyncio.Event()  # nothing is left to be done
        self._task: asyncio.Task[None] | None = None
        self._retry_now = asyncio.Event()
        self._resting = False  # between two sessions
        self._refusals = 0  # of the password, in a row
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
        self.watch.end()
        await self.sender.stop()
        await asyncio.gather(self.main.close(0.5), *([self.watch.actor.close(0.5)] if self.watch.actor else []))
        self._tell(AccountState.OFFLINE)

    def look(self, *, sync_now: bool = False) -> None:
        """There may be something new in the store; `sync_now`: ask the server for news too, even after errors."""
        if sync_now or not self._resting:
            self.settled.clear()
        if sync_now:
            self.folders.polled = 0.0
            self._retry_now.set()
        self.poke.set()
        self.sender.poke.set()

    def look_at_all(self) -> None:
        """The next look goes to every folder, and `report` tells what it found."""
        self.folders.refreshed.clear()
        for folder_id in self.folders.ids():
            self.dirty.setdefault(folder_id, False)

    def report(self) -> list[dict[str, Any]]:
        """The folders that were looked at, as `sync --json` tells them (contract.md)."""
        return [
            {"account": self.name, "folder": folder} | done._asdict() | {"seconds": round(done.seconds, 3)}
            for folder, done in self.folders.refreshed.items()
        ]

    def busy(self) -> int:
        """Wishes, and messages to be sent, that still wait."""
        return self.store.intents.pending_count(self.id) + self.store.queue.queued_count(self.name)

    def connect(self) -> ImapSession:
        """On the actor's thread."""
        if self._latest is not None and self._latest.flying:
            self._fallen += 1
        server, manners = self.account.incoming, self.manners
        if self._fallen >= FALLS:
            manners = replace(manners, pipelining=False)
        self._latest = connect(server, self.manager.secret(server), account=self.name, manners=manners)
        return self._latest

    def actor(self, role: str) -> Actor:
        """A connection of this account, not made yet."""
        return Actor(self.connect, f"{self.name}-{role}", self.folders.harvest)

    def _recall(self) -> None:
        """How to talk to the server, as earlier sessions have taught."""
        learned = self.store.mail.learned(self.id)
        self.manners = Manners(learned.get("pipelining", False), learned.get("qresync", True))

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
        if self.main.session is not None:
            self.main.session.qresync = False

    def alert(self, words: SafeText) -> None:
        """What the server wants the user to read (RFC 3501 §7.1), once."""
        if words not in self._alerts and len(self._alerts) < ALERTS:
            self._alerts.add(words)
            self.store.mail.notice(self.name, safe_line(f"the server says: {words}"))
            self.news(notices=True)

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
            self.watch.end()
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
        self.headers.begin()
        self.bodies.begin()
        self._recall()
        arrived = await self.folders.arrive()
        self._remember()
        self._refusals = 0
        self.manager.connected(self)
        if self.store.intents.flights(self.id):
            await carry.recover(self)
        elif arrived is not None:
            await self.folders.refresh(*arrived)
        self.watch.start()
        while True:
            self.poke.clear()
            while await self._turn():
                await asyncio.sleep(0)
            self._settle()
            await self._wait()

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
        if await self.bodies.wanted():
            return True
        if await carry.carry_out(self):
            return True
        if await file_copies(self):
            return True
        if (folder_id := self.folders.next_dirty()) is not None:
            await self.folders.look(folder_id)
            return True
        return await self.headers.backfill() or await self.bodies.prefetch()

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
        due = self.folders.polled + POLL_ALL
        if open_id and not self.watch.covers(open_id):
            due = min(due, self.folders.looked + POLL_OPEN)
        due = min(due, now + min(carry.next_try(self), self._file_due()) - time.time())
        seconds = max(0.05, due - now)
        if not self.watch.runs and "IDLE" in self.capabilities and not self.poke.is_set():
            await self.watch.on_main(min(seconds, IDLE_SECONDS))
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.poke.wait(), seconds)
        now = time.monotonic()
        if now >= self.folders.polled + POLL_ALL or self.folders.polled == 0.0:
            await self.folders.list_all()
        elif (open_id := self.manager.open_folder(self.id)) and now >= self.folders.looked + POLL_OPEN:
            self.folders.looked = now
            self.dirty[open_id] = True

    def _file_due(self) -> float:
        return self.file_after if self.file_after > time.time() else float("inf")
