"""One POP3 account at work: what is wanted comes true here, what is new is fetched, stored, and only then deleted there.

A pass is one session: listing, what is new (newest first), deletions, QUIT.  Nothing is deleted on the server that is
not on this disk, and nothing counts as deleted before the answer to QUIT (RFC 1939 §6, sync.md §5.16).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from termmail.engine.outbox import Sender
from termmail.engine.trouble import classify
from termmail.link import Again
from termmail.mime.headers import has_attachment, received, summarise
from termmail.model.account import Account, AccountState, Role
from termmail.model.errors import (
    AuthRefused,
    ConnectionLost,
    NetError,
    NotFound,
    Refused,
    SecretError,
    TermmailError,
    TlsError,
)
from termmail.model.message import AccountId, Flag, FolderId, NewMessage
from termmail.net.pop3 import Pop3Session, Waiting, connect
from termmail.store.db import Store
from termmail.store.maildrop import Key, Known
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.engine.accounts import AccountManager
    from termmail.store.intents import Errand, Flight

log = logging.getLogger("termmail.engine")
T = TypeVar("T")

LARGE = 256 << 10  # bytes from which on a message is listed before it is fetched
AT_ONCE, AT_ONCE_BYTES = 20, 4 << 20  # messages and bytes between two commits
SLOW_FIRST, SLOW_MOST = 60.0, 600.0  # after errors; a maildrop is locked for a while by whoever reads it
LOGIN_TRIES = 2
DAY = 86400.0


class PopWorker:
    """See the module.  Belongs to the engine's loop; it looks to others as `Worker` does."""

    def __init__(self, manager: AccountManager, account: Account, account_id: AccountId) -> None:
        self.manager = manager
        self.account = account
        self.name = account.name
        self.id = account_id
        self.store: Store = manager.store
        self.sender = Sender(self)
        self.poke = asyncio.Event()
        self.settled = asyncio.Event()
        self.state = AccountState.OFFLINE
        self._session: Pop3Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._due = 0.0  # when the server is asked next, by the monotonic clock
        self._last = 0.0  # when the last session ended
        self._delay = 0  # seconds that the server wants between two sessions
        self._failures = 0
        self._refusals = 0  # of the password, in a row
        self._new = 0
        self._took = 0.0
        self._asked = False  # the user wants news now

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work, until `stop`."""
        self.store.maildrop.ensure_folders(self.id)
        self._task = asyncio.get_running_loop().create_task(self._live())
        self.sender.start()

    async def stop(self) -> None:
        """End within a second; the server forgets what was marked in a session that is broken off."""
        if self._task is not None:
            self._task.cancel()
        if self._session is not None:
            self._session.abort()
        await self.sender.stop()
        self._tell(AccountState.OFFLINE)

    def look(self, *, sync_now: bool = False) -> None:
        """There may be something new in the store; `sync_now`: ask the server for news too, even after errors."""
        self.settled.clear()
        if sync_now:
            self._asked = True
            self._refusals = 0
        self.poke.set()
        self.sender.poke.set()

    async def resumed(self) -> None:
        """The machine has slept, or the network is another: try again at once."""
        self._failures = 0
        self.look(sync_now=True)

    def look_at_all(self) -> None:
        """Count from here what `report` tells."""
        self._new, self._took = 0, 0.0

    def report(self) -> list[dict[str, Any]]:
        """As `sync --json` tells it (contract.md)."""
        counts = {"new": self._new, "changed": 0, "vanished": 0, "seconds": round(self._took, 3)}
        return [{"account": self.name, "folder": "INBOX"} | counts]

    def busy(self) -> int:
        """Wishes, and messages to be sent, that still wait."""
        return self.store.intents.pending_count(self.id) + self.store.queue.queued_count(self.name)

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

    def _tell(self, state: AccountState, error: TermmailError | None = None, done: int = 0, total: int = 0) -> None:
        """Write where the account stands."""
        self.state = state
        words = safe_line(f"{error.words}" + (f" ({error.hint})" if error.hint else "")) if error else SafeText("")
        folder = SafeText("INBOX" if total else "")
        with contextlib.suppress(TermmailError):
            self.store.mail.set_account(self.id, state=state, folder=folder, done=done, total=total, error=words)
        self.news(accounts=True)

    async def _live(self) -> None:
        for flight in self.store.intents.flights(self.id):
            self.store.intents.land(flight)  # the engine ended between two commits: the wish stands
        while True:
            self.poke.clear()
            try:
                self._carry_out()
                self._file_copies()
                if self._asked or time.monotonic() >= self._due or self.store.mail.wanted_bodies(self.id):
                    await self._pass()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.exception("%s: the worker failed", self.name)
                self._tell(
                    AccountState.UNREACHABLE, NetError(f"an internal error ({type(error).__name__}); see the log")
                )
                self._due = time.monotonic() + SLOW_MOST
            if not self.poke.is_set():
                self.settled.set()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.poke.wait(), max(0.05, self._due - time.monotonic()))

    # -- wishes come true here ----------------------------------------------------------

    def _carry_out(self) -> None:
        """Flags, moves, deletions, copies and folders: the server has no part in them."""
        intents, drop = self.store.intents, self.store.maildrop
        folders: set[FolderId] = set()
        while batches := intents.batches(self.id):
            for batch in batches:
                flight: Flight = intents.take_off(self.id, batch)
                if batch.kind == "flags":
                    intents.acked_flags(flight)
                elif batch.kind == "delete":
                    intents.acked_delete(flight)
                else:
                    uids = drop.new_uids(batch.dest_id, len(batch.items))
                    intents.acked_move(flight, {item[0]: uid for item, uid in zip(batch.items, uids, strict=True)})
                folders |= {batch.folder_id, batch.dest_id}
        for errand in intents.errands(self.id, time.time()):
            try:
                self._errand(errand)
                intents.errand_done(errand.id)
            except (NotFound, Refused) as error:
                intents.errand_failed(errand.id, safe_line(f"cannot {errand.kind}: {error.words}"), self.name)
            self.news(accounts=True, notices=True)
        if folders:
            self.news(folders - {FolderId(0)}, accounts=True)

    def _errand(self, errand: Errand) -> None:
        drop, arg = self.store.maildrop, errand.arg
        if errand.kind == "copy":
            drop.copy(arg["placements"], FolderId(arg["dest"]))
        elif errand.kind == "create":
            drop.make_folder(FolderId(arg["folder"]))
        elif errand.kind == "rename":
            drop.rename_folder(FolderId(arg["folder"]), arg["path"])
        elif errand.kind == "delete":
            drop.delete_folder(FolderId(arg["folder"]))
        else:
            drop.subscribe(FolderId(arg["folder"]), errand.kind == "subscribe")

    def _file_copies(self) -> None:
        """One copy of each sent message into Sent."""
        sent = self.store.mail.role_folder(self.id, Role.SENT)
        for out, _, _ in self.store.queue.unfiled(self.name):
            if sent is not None and not self._has(sent.id, out.message_id):
                raw = self.store.queue.raw(out.id)
                new = _message(raw, len(raw), int(out.created))._replace(flags=Flag.SEEN)
                self.store.maildrop.keep(self.id, sent.id, None, new, raw)
                self.news([sent.id], accounts=True)
            self.store.queue.filed(out.id)
            self.news(outbox=True)

    def _has(self, folder_id: FolderId, message_id: str) -> bool:
        """The engine may have ended after the copy was kept and before that was noted."""
        newest = self.store.mail.page(folder_id, limit=200)
        return any(place.mid == message_id for place in self.store.mail.places([id_ for _, id_ in newest]))  # type: ignore[misc]

    # -- a session ----------------------------------------------------------------------------

    async def _pass(self) -> None:
        """Connect, take what is new, delete what may go; what goes wrong is told and tried again."""
        if (wait := self._last + self._delay - time.monotonic()) > 0:  # LOGIN-DELAY (RFC 2449 §6.5)
            self._due = time.monotonic() + wait
            return
        began = time.monotonic()
        self._asked = False
        try:
            self._tell(AccountState.CONNECTING)
            await self._converse()
        except (AuthRefused, SecretError) as error:
            self._refusals += 1
            self.manager.forget_secret(self.account.incoming)
            self._tell(AccountState.AUTH, error)
            self._due = time.monotonic() + (SLOW_FIRST if self._refusals < LOGIN_TRIES else DAY)
        except TlsError as error:
            self._tell(AccountState.TLS, error)
            self._due = time.monotonic() + DAY
        except TermmailError as error:
            log.info("%s: %s", self.name, type(error).__name__)
            self._tell(classify(error), error)
            slow = min(SLOW_MOST, SLOW_FIRST * 2.0**self._failures)
            self._failures += 1
            self._due = time.monotonic() + slow * random.uniform(0.8, 1.2)  # noqa: S311
        else:
            self._failures = self._refusals = 0
            self._due = time.monotonic() + 60.0 * self.account.incoming.poll_minutes
            self._tell(AccountState.ONLINE)
            self.store.mail.set_account(self.id, last_sync=time.time())
            self.store.mail.prune()
            self.manager.connected(self)
        finally:
            if self._session is not None:  # broken off: nothing that was marked is deleted
                self._session.abort()
                self._session.stream.close()
                self._session = None
            self._last = time.monotonic()
            self._took += self._last - began

    async def _converse(self) -> None:
        server = self.account.incoming
        secret = await asyncio.to_thread(self.manager.secret, server)
        session = self._session = await asyncio.to_thread(connect, server, secret, account=self.name)
        self._delay = session.login_delay
        listing = await asyncio.to_thread(session.listing)
        numbers = await self._keyed(session, listing)
        known = self.store.maildrop.known(self.id)
        self.store.maildrop.listed(self.id, numbers)
        await self._wanted(session, numbers)
        newest_first = sorted(numbers.items(), key=lambda one: -one[1].number)
        await self._fetch(session, [(key, one) for key, one in newest_first if key not in known])
        await self._complete(session, newest_first)
        await self._delete(session, numbers)
        self._session = None

    async def _keyed(self, session: Pop3Session, listing: Sequence[Waiting]) -> dict[Key, Waiting]:
        """The messages by what they are known by; equal ids are told apart by their order."""
        prints: dict[int, str] = {}
        if nameless := [one.number for one in listing if not one.uidl]:
            headers = await asyncio.to_thread(session.headers, nameless)
            if len(headers) < len(nameless):
                raise Refused(
                    "the server cannot tell old mail from new (it has neither UIDL nor TOP)",
                    hint="ask who runs it, or use IMAP",
                )
            prints = {number: f"top:{summarise(raw).ident.hex()}" for number, raw in headers.items()}
        found: dict[Key, Waiting] = {}
        counts: dict[str, int] = {}
        for one in listing:
            uidl = one.uidl or prints[one.number]
            found[uidl, counts.get(uidl, 0)] = one
            counts[uidl] = counts.get(uidl, 0) + 1
        return found

    async def _fetch(self, session: Pop3Session, new: Sequence[tuple[Key, Waiting]]) -> None:
        """What is new, the newest first: small messages whole, of large ones the header."""
        inbox = self._inbox()
        done = 0
        for part in _parts(new):
            small = [one.number for _, one in part if one.size <= LARGE]
            large = [one.number for _, one in part if one.size > LARGE]
            bodies = await asyncio.to_thread(session.messages, small) if small else {}
            heads = await asyncio.to_thread(session.headers, large) if large else {}
            now = int(time.time())
            for key, one in reversed(part):  # of one second, the later one stands above
                raw = bodies.get(one.number)
                told = raw if raw is not None else heads.get(one.number)
                if told is not None:
                    self.store.maildrop.keep(self.id, inbox, key, _message(told, one.size, now), raw)
                    self._new += 1
            done += len(part)
            self.news([inbox], accounts=True)
            if len(new) > len(part):
                self._tell(AccountState.SYNCING, done=done, total=len(new))

    async def _wanted(self, session: Pop3Session, numbers: dict[Key, Waiting]) -> None:
        """Messages that somebody waits for go first."""
        for message_id, _, _ in self.store.mail.wanted_bodies(self.id):
            key = self.store.maildrop.key_of(self.id, message_id)
            one = numbers.get(key) if key is not None else None
            raw = (await asyncio.to_thread(session.messages, [one.number])).get(one.number) if one else None
            if key is None or raw is None:
                self.store.mail.body_failed(message_id, SafeText("it is no longer on the server"))
            else:
                self.store.maildrop.complete(self.id, key, raw)
            self.news(bodies=[message_id])

    async def _complete(self, session: Pop3Session, waiting: Sequence[tuple[Key, Waiting]]) -> None:
        """The rest of large messages, one by one."""
        known = self.store.maildrop.known(self.id)
        for key, one in waiting:
            if (has := known.get(key)) is not None and not has.whole and has.here:
                raw = (await asyncio.to_thread(session.messages, [one.number])).get(one.number)
                if raw is not None:
                    self.store.maildrop.complete(self.id, key, raw)
                    self.news(bodies=[has.message_id])

    async def _delete(self, session: Pop3Session, numbers: dict[Key, Waiting]) -> None:
        """Mark what may go, and QUIT: only its answer makes it true."""
        known = self.store.maildrop.known(self.id)
        gone = [key for key in numbers if key in known and self._may_go(known[key])]
        marked = []
        for key in gone:
            with contextlib.suppress(Refused):
                await asyncio.to_thread(session.delete, numbers[key].number)
                marked.append(key)
        try:
            await asyncio.to_thread(session.quit)
        except Refused as error:
            raise ConnectionLost(f"the server did not confirm what it deleted: {error.words}") from error
        self.store.maildrop.deleted(self.id, marked)

    def _may_go(self, one: Known) -> bool:
        """By the account's policy; never before the whole message is here, or was deleted here."""
        server = self.account.incoming
        if one.deleted:
            return True  # the server said so once, and has it again
        if not one.here:
            return server.delete_when_deleted_here or not server.leave
        if not one.whole:
            return False
        days = server.delete_after_days
        return not server.leave or (days > 0 and time.time() - one.first_seen >= days * DAY)

    def _inbox(self) -> FolderId:
        inbox = self.store.mail.role_folder(self.id, Role.INBOX)
        if inbox is None:
            raise NotFound("the account has no inbox")
        return inbox.id


def _parts(new: Sequence[tuple[Key, Waiting]]) -> Iterable[Sequence[tuple[Key, Waiting]]]:
    """So many that a commit between them is worth it, few enough to be held in memory."""
    part: list[tuple[Key, Waiting]] = []
    size = 0
    for key, one in new:
        small = min(one.size, LARGE)
        if part and (len(part) >= AT_ONCE or size + small > AT_ONCE_BYTES):
            yield part
            part, size = [], 0
        part.append((key, one))
        size += small
    if part:
        yield part


def _message(raw: bytes, size: int, now: int) -> NewMessage:
    """A message as FETCH would have told of it; `raw` may be its header alone."""
    summary = summarise(raw)
    when = received(raw) or summary.date or now
    return NewMessage(0, Flag(0), "", min(when, now), size, has_attachment(raw), 0, summary)
