"""Waiting for news of the server: NOTIFY or IDLE on a connection of its own, or IDLE between other work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from termmail.engine import sync, trouble
from termmail.model.errors import Refused, TermmailError
from termmail.model.message import FolderId
from termmail.net.actor import Actor
from termmail.net.backend import Events, FolderStatus

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
IDLE_SECONDS = 280.0  # AOL ends IDLE at 300 (sync.md §5.6)
TOGETHER = 0.1  # seconds in which more news of the same kind is waited for


class Watch:
    """The watching of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self.actor: Actor | None = None
        self.notified = False  # the server tells of all folders
        self._notify = True  # it has not shown that it cannot
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """A connection of its own waits."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Watch on a connection of its own, if there may be one, until `end`."""
        if self.worker.allowed >= 3 and "IDLE" in self.worker.capabilities and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._live())

    def end(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.notified = False

    async def ended(self) -> None:
        """Watch no more; the connection is closed when this returns."""
        task = self._task
        self.end()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def covers(self, folder_id: FolderId) -> bool:
        """News of that folder is told without being asked for."""
        if "IDLE" not in self.worker.capabilities:
            return False
        return self.notified or folder_id == self.worker.folders.inbox()

    async def _live(self) -> None:
        """Watch as long as the session of the worker lasts, over whatever befalls this connection."""
        pause = trouble.SLOW_FIRST
        while True:
            began = time.monotonic()
            self.actor = self.worker.actor("watch")
            try:
                await self._wait(self.actor)
            except TermmailError as error:
                log.info("%s: watching broke (%s)", self.worker.name, type(error).__name__)
                if self.worker.crowded(error):
                    return
                self.worker.doubt(error)
            finally:
                self.notified = False
                await self.actor.close(0.2)
            pause = (
                trouble.SLOW_FIRST if time.monotonic() - began > trouble.LASTED else min(trouble.SLOW_MOST, pause * 2)
            )
            await asyncio.sleep(pause)

    async def _wait(self, actor: Actor) -> None:
        """NOTIFY where it is there, SELECT of INBOX, and IDLE again and again."""
        inbox = self.worker.folders.inbox()
        if inbox is None:
            return
        wire = self.mail.folder_state(inbox).wire
        if "NOTIFY" in self.worker.capabilities and self._notify:
            try:
                statuses = await actor.call(lambda s: s.notify())
                self.worker.folders.harvest([(b"", Events(statuses=tuple(statuses)))])
                self.notified = True
            except Refused as error:
                log.info("%s: NOTIFY was refused: %s", self.worker.name, error.code)
                self._notify = False
        told = await actor.call(lambda s: s.reselect(wire))
        status = FolderStatus(told.exists, uidnext=told.uidnext, uidvalidity=told.uidvalidity, modseq=told.modseq)
        if not told.modseq or sync.has_news(self.mail.folder_state(inbox), status):
            self.worker.mark(inbox)
        made = actor.made
        while True:
            events = await actor.idle(IDLE_SECONDS, wire, made)
            if not events:
                continue
            self.worker.folders.harvest([(wire, events)])
            if events.overflow:
                self._notify = self.notified = False
                self.worker.look(sync_now=True)
            if events.folders:
                await asyncio.sleep(TOGETHER)
                self.worker.look(sync_now=True)
            elif events.flags or events.vanished:
                self.worker.mark(inbox)  # MODSEQ has moved

    async def between(self, actor: Actor, folder_id: FolderId | None, seconds: float, until: asyncio.Event) -> None:
        """IDLE on a folder on a connection that has other work, until `until` is set."""
        if folder_id is None or "IDLE" not in self.worker.capabilities or until.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(until.wait(), seconds)
            return
        wire = self.mail.folder_state(folder_id).wire
        idling = asyncio.ensure_future(actor.idle(min(seconds, IDLE_SECONDS), wire))
        told = asyncio.ensure_future(until.wait())
        try:
            await asyncio.wait({idling, told}, return_when=asyncio.FIRST_COMPLETED)
            if not idling.done() and actor.session is not None:
                actor.session.wake()
            events = await idling
        finally:
            told.cancel()
        if events:
            self.worker.folders.harvest([(wire, events)])
            self.worker.mark(folder_id)
