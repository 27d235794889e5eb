"""Sending what is queued, filing the copy, and marking what was answered.

A message is claimed, its phase is committed before each step, and only a reply decides its fate.  What
was cut off behind the final dot is `uncertain` and never sent again without the user (sync.md §5.15).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from termmail.model.account import Role
from termmail.model.draft import Kind, Outgoing
from termmail.model.errors import AuthRefused, Refused, SecretError, StoreError, TermmailError, TlsError
from termmail.model.message import Flag
from termmail.net.imap.quirks import FILES_SENT_ITSELF
from termmail.text import safe_line

if TYPE_CHECKING:
    from termmail.engine.kinds import AccountWorker
    from termmail.engine.worker import Worker
    from termmail.net.smtp import SendResult

log = logging.getLogger("termmail.engine")
RETRY = (60.0, 300.0, 900.0, 3600.0, 3600.0, 4 * 3600.0)  # seconds after the n-th failure; the last one goes on
GIVE_UP = 5 * 86400.0
NEEDS_USER = 300.0
ATTEMPTS = 8
KEEP_SENT = 7 * 86400.0
LAST_WORD = 0.5  # seconds that leaving waits for the answer to a final dot
PROGRESS = 0.25  # seconds between two notes of progress


class Sender:
    """The outgoing side of an account; works whether or not its incoming side does."""

    def __init__(self, worker: AccountWorker) -> None:
        self.worker = worker
        self.poke = asyncio.Event()
        self.idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._at_the_dot = False  # the last byte is leaving, its answer will decide

    def start(self) -> None:
        """Begin, with what the last run left in the middle."""
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def stop(self) -> None:
        """End now; a message in the middle is looked at again at the next start."""
        if self._task is not None:
            end = time.monotonic() + LAST_WORD
            while self._at_the_dot and time.monotonic() < end:
                await asyncio.sleep(0.02)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _live(self) -> None:
        queue, name = self.worker.store.queue, self.worker.name
        broken = True  # what is "sending" now was left so, by a crash or by an error of ours
        queue.forget_sent(time.time() - KEEP_SENT)
        while True:
            self.poke.clear()
            try:
                if broken:
                    for outbox_id in queue.recover(name):
                        self._doubt(queue.outgoing(outbox_id))
                    broken = False
                claimed = queue.claim(name, time.time())
                if claimed is not None:
                    self.idle.clear()
                    await self._send(claimed)
                    self.worker.news(outbox=True, accounts=True)
                    self.worker.look()
                    continue
                self.idle.set()
                due = queue.next_due(name)
            except Exception:
                log.exception("%s: the outbox cannot be worked on", name)
                broken, due = True, time.time() + 10
                self.idle.set()
                await asyncio.sleep(1)
            wait = max(0.02, due - time.time()) if due is not None else None
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.poke.wait(), wait)

    async def _send(self, out: Outgoing) -> None:
        """One message, one attempt."""
        from termmail.net import smtp

        queue, account = self.worker.store.queue, self.worker.account
        noted = time.monotonic()

        def phase(name: str) -> None:
            queue.set_phase(out.id, name)
            self._at_the_dot = name == "terminator"

        def progress(sent: int) -> None:
            nonlocal noted
            if time.monotonic() - noted > PROGRESS:
                noted = time.monotonic()
                queue.set_progress(out.id, sent)
                self.worker.news(outbox=True)

        self.worker.news(outbox=True, accounts=True)
        try:
            if account.outgoing is None:
                queue.refused(out.id, "the account has no outgoing server")
                return
            secret = await asyncio.to_thread(self.worker.manager.secret, account.outgoing)
            result = await smtp.send(
                account.outgoing,
                secret,
                sender=out.sender,
                recipients=[r.email for r in out.recipients if r.status != "ok"],
                raw=queue.raw(out.id),
                on_phase=phase,
                on_progress=progress,
                on_recipient=lambda email, status, code, words: queue.set_recipient(out.id, email, status, code, words),
            )
        except (AuthRefused, SecretError, TlsError) as error:
            if account.outgoing is not None:
                self.worker.manager.forget_secret(account.outgoing)
            self._again(out, str(error.words), NEEDS_USER)
            self._notice(f"“{out.subject}” waits: {error.words}")
        except TermmailError as error:
            if error.temporary:
                self._again(out, error.words)
            else:
                self._refuse(out, error.words)
        else:
            self._settle(out, result)
        finally:
            self._at_the_dot = False

    def _settle(self, out: Outgoing, result: SendResult) -> None:
        """Write what became of it."""
        from termmail.net.smtp import Outcome

        queue = self.worker.store.queue
        words = f"{result.code} {result.words}".strip()
        if result.outcome == Outcome.ACCEPTED:
            queue.accepted(out.id, filed=self._files_itself())
            self._mark_parent(out)
        elif result.outcome == Outcome.UNCERTAIN:
            queue.uncertain(out.id, words)
            self._doubt(out)
        elif result.outcome == Outcome.PARTIAL:
            queue.partial(out.id, words)
            self._notice(f"“{out.subject}” reached only some: {words}")
        elif result.outcome == Outcome.TEMPORARY:
            self._again(out, words)
        else:
            self._refuse(out, words)

    def _files_itself(self) -> bool:
        """The provider puts the copy into Sent."""
        account = self.worker.account
        if account.sent_copy != "auto":
            return account.sent_copy == "server"
        host = account.outgoing.host.lower() if account.outgoing else ""
        return any(host == domain or host.endswith("." + domain) for domain in FILES_SENT_ITSELF)

    def _again(self, out: Outgoing, words: str, wait: float | None = None) -> None:
        """It certainly was not sent: later."""
        if time.time() - out.created > GIVE_UP:
            self._refuse(out, f"given up after five days: {words}")
            return
        seconds = wait or RETRY[min(out.attempts, len(RETRY)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
        self.worker.store.queue.retry_at(out.id, time.time() + seconds, safe_line(words, 500))

    def _refuse(self, out: Outgoing, words: str) -> None:
        self.worker.store.queue.refused(out.id, safe_line(words, 500))
        self._notice(f"“{out.subject}” was not sent: {words}")

    def _doubt(self, out: Outgoing) -> None:
        self._notice(f"“{out.subject}” may have been sent: look at the outbox")

    def _notice(self, words: str) -> None:
        self.worker.store.mail.notice(self.worker.name, safe_line(words, 500))
        self.worker.news(notices=True, outbox=True)

    def _mark_parent(self, out: Outgoing) -> None:
        r"""\Answered or $Forwarded on the message this one came from."""
        flag = {Kind.REPLY: Flag.ANSWERED, Kind.FORWARD: Flag.FORWARDED}.get(out.kind)
        if out.parent and flag:
            done = self.worker.store.intents.flag([out.parent], add=flag, undoable=False)
            self.worker.news(folders=done.folders)


async def file_copies(worker: Worker) -> bool:
    """Put one copy of a sent message into Sent; False if none waits, or it must wait."""
    if time.time() < worker.file_after:
        return False
    for out, phase, uidnext in worker.store.queue.unfiled(worker.name):
        try:
            await _file(worker, out, uidnext if phase == "append" else 0)
        except (Refused, StoreError) as error:
            worker.file_failures += 1
            if error.temporary and worker.file_failures < ATTEMPTS:
                worker.file_after = time.time() + min(900.0, 10.0 * 2**worker.file_failures)
                return False
            words = f"the copy of “{out.subject}” could not be kept: {error.words}"
            worker.store.mail.notice(worker.name, safe_line(words))
            worker.news(notices=True)
        worker.file_failures = 0
        worker.store.queue.filed(out.id)
        worker.news(outbox=True, accounts=True)
        return True
    return False


async def _file(worker: Worker, out: Outgoing, begun: int) -> None:
    """APPEND the copy unless it stands there; `begun`: UIDNEXT when an APPEND was begun.  Raises Refused."""
    queue = worker.store.queue
    sent = worker.store.mail.role_folder(worker.id, Role.SENT)
    if sent is None:
        raise Refused("there is no folder for sent mail")
    wire = worker.store.mail.folder_state(sent.id).wire
    selected = await worker.call(lambda s: s.reselect(wire))
    # after a crash the copy may stand there already; so it may where the server files it unasked
    first = begun or max(1, selected.uidnext - 20)
    if not await worker.call(lambda s: s.find_message_id(out.message_id, first)):
        queue.filing(out.id, selected.uidnext)
        raw = queue.raw(out.id)
        await worker.with_create(
            worker.store.mail.folder_state(sent.id), lambda s: s.append(wire, raw, Flag.SEEN, out.created)
        )
    worker.dirty[sent.id] = True
