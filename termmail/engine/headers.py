"""Headers of a folder come in: the newest page first, then what is new, then older mail chunk by chunk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from termmail.engine.folders import ORDER, Refreshed
from termmail.model.errors import Refused, TermmailError
from termmail.model.message import FolderId, NewMessage
from termmail.net.actor import BACKGROUND
from termmail.net.backend import Selected
from termmail.net.imap.session import ImapSession
from termmail.store.mail import FolderState

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
Ask = Callable[[ImapSession, Callable[[list[NewMessage]], None]], None]
CHUNK_FIRST, CHUNK_MOST, CHUNK_SECONDS = 200, 16_000, 0.4


class Headers:
    """The header fetches of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self.older: dict[FolderId, list[int]] = {}  # UIDs below `lo`, ascending
        self._chunk = CHUNK_FIRST
        self._sink_error: TermmailError | None = None
        self._skipped: set[FolderId] = set()  # folders the server will not let us read on in

    def begin(self) -> None:
        """A new session: nothing is known of the server's mood."""
        self.older.clear()
        self._skipped.clear()

    async def these(self, folder_id: FolderId, uids: list[int]) -> None:
        """Headers of the newest of these UIDs."""
        await self._headers(folder_id, lambda s, sink: s.headers(uids[-CHUNK_MOST:], sink))

    async def newest(self, folder_id: FolderId, count: int, selected: Selected) -> None:
        """The first page: what a user sees first."""
        self.mail.set_folder_state(folder_id, uidvalidity=selected.uidvalidity, srv_total=selected.exists)
        uids = await self._headers(folder_id, lambda s, sink: s.newest_headers(count, selected.exists, sink))
        if uids:
            everything = len(uids) >= selected.exists
            self.mail.set_folder_state(folder_id, lo=1 if everything else min(uids), hi=max(uids))

    async def from_uid(self, folder_id: FolderId, uid: int) -> None:
        """Headers of that UID and all above."""
        uids = await self._headers(folder_id, lambda s, sink: s.headers_from(uid, sink))
        if uids:
            self.mail.set_folder_state(folder_id, hi=max(uids))

    async def backfill(self) -> bool:
        """One chunk of older headers, of the most wanted folder that is not complete."""
        open_id = self.worker.manager.open_folder(self.worker.id)
        waiting = [
            f for f in self.mail.folders(self.worker.id)
            if f.selectable and not f.complete and f.srv_total > 0 and f.id not in self._skipped
            and self.mail.folder_state(f.id).lo > 1
        ]  # fmt: skip
        if not waiting:
            return False
        folder = min(waiting, key=lambda f: (f.id != open_id, ORDER[f.role], f.path))
        state = self.mail.folder_state(folder.id)
        try:
            await self._older_chunk(state)
        except Refused as error:
            log.info("%s: older mail of a folder cannot be read now: %s", self.worker.name, error.code)
            self._skipped.add(folder.id)
        return True

    async def _older_chunk(self, state: FolderState) -> None:
        """The next headers below what is here."""
        selected = await self.worker.call(lambda s: s.select(state.wire))
        if selected.uidvalidity != state.uidvalidity:
            self.worker.dirty[state.id] = True
            return
        older = self.older.get(state.id)
        if older is None:
            older = self.older[state.id] = await self.worker.call(lambda s: s.search(1, state.lo - 1))
        chunk = older[-self._chunk :]
        began, newest = time.monotonic(), self.mail.newest_placement()
        if chunk:
            await self._headers(state.id, lambda s, sink: s.headers(chunk, sink))
            del older[-len(chunk) :]
        took = time.monotonic() - began
        self.worker.folders.note(state.path, Refreshed(self.mail.newest_placement() - newest, seconds=took))
        self._chunk = min(CHUNK_MOST, self._chunk * 2) if took < CHUNK_SECONDS else max(50, self._chunk // 2)
        self.mail.set_folder_state(state.id, lo=chunk[0] if older else 1)
        if not older:
            self.older.pop(state.id, None)
            self.worker.dirty[state.id] = True  # complete now: what was not found again is gone
        self.worker.folders.say_syncing(state)

    async def _headers(self, folder_id: FolderId, ask: Ask) -> list[int]:
        """Run a header fetch into the store; the UIDs that came."""
        seen: list[int] = []
        inner = self._sink(folder_id)

        def sink(batch: list[NewMessage]) -> None:
            seen.extend(header.uid for header in batch)
            inner(batch)

        await self.worker.main.call(lambda s: ask(s, sink), BACKGROUND)
        if self._sink_error is not None:
            raise self._sink_error
        return seen

    def _sink(self, folder_id: FolderId) -> Callable[[list[NewMessage]], None]:
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
        self.mail.add_messages(folder_id, batch)
        self.worker.news(folders=[folder_id], accounts=True)
