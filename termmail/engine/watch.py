"""Waiting for news of the server: IDLE on INBOX, on a connection of its own or between other work."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from termmail.model.account import Role
from termmail.model.errors import Refused, TermmailError
from termmail.model.message import FolderId
from termmail.net.actor import Actor

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
IDLE_SECONDS = 280.0  # AOL ends IDLE at 300 (sync.md §5.6)


class Watch:
    """The watching of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self.actor: Actor | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """A connection of its own idles."""
        return self._task is not None

    def end(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def start(self) -> None:
        if "IDLE" in self.worker.capabilities and self.mail.learned(self.worker.id).get("connections") != 1:
            self._task = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        """IDLE on INBOX on the second connection, as long as the first one lives."""
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        if inbox is None:
            return
        wire = self.mail.folder_state(inbox.id).wire
        pause = 1.0
        while True:
            began = time.monotonic()
            watch = self.actor = self.worker.actor("watch")
            try:
                await watch.call(lambda s: s.reselect(wire))
                self.worker.mark(inbox.id)
                while True:
                    if await watch.idle(IDLE_SECONDS):
                        self.worker.mark(inbox.id)
            except Refused as error:
                if self._too_many(error.words):
                    return
            except TermmailError as error:
                if self._too_many(error.words):
                    return
                log.info("%s: watching broke (%s)", self.worker.name, type(error).__name__)
            finally:
                await watch.close(0.2)
            pause = 1.0 if time.monotonic() - began > 60 else min(60.0, pause * 2)
            await asyncio.sleep(pause)

    def _too_many(self, words: str) -> bool:
        """The server allows no second connection: remember that."""
        low = words.lower()
        if "too many" in low or "maximum number of conn" in low or "simultaneous" in low or "[limit]" in low:
            self.mail.learn(self.worker.id, connections=1)
            self._task = None
            return True
        return False

    def covers(self, folder_id: FolderId) -> bool:
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        return self._task is not None and inbox is not None and inbox.id == folder_id

    async def on_main(self, seconds: float) -> None:
        """With one connection only: IDLE on INBOX until anything is wanted."""
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        if inbox is None:
            await asyncio.sleep(min(seconds, 1.0))
            return
        wire = self.mail.folder_state(inbox.id).wire
        await self.worker.call(lambda s: s.select(wire))
        idling = asyncio.ensure_future(self.worker.main.idle(seconds))
        poked = asyncio.ensure_future(self.worker.poke.wait())
        await asyncio.wait({idling, poked}, return_when=asyncio.FIRST_COMPLETED)
        if not idling.done() and self.worker.main.session is not None:
            self.worker.main.session.wake()
        poked.cancel()
        if await idling:
            self.worker.dirty[inbox.id] = True
