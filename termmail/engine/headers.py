"""Headers of a folder come in: the newest page first, then what is new, then older mail chunk by chunk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from termmail.engine.folders import Refreshed
from termmail.engine.spot import MADE_ANEW, ORDER, Spot
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
MANY_NEW = 500  # headers in one command
CHUNK_FIRST, CHUNK_MOST, CHUNK_SECONDS = 200, 16_000, 0.4


class Headers:
    """The header fetches of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self.older: dict[FolderId, list[int]] = {}  # UIDs below `lo`, ascending
        self._chunk = CHUNK_FIRST
        self._skipped: set[FolderId] = set()  # folders the server will not let us read on in

    def begin(self) -> None:
        """A new session: nothing is known of the server's mood."""
        self.older.clear()
        self._skipped.clear()

    async def these(self, spot: Spot, uids: list[int]) -> None:
        """Headers of the newest of these UIDs."""
        await self._headers(spot, lambda s, sink: s.headers(uids[-CHUNK_MOST:], sink))

    async def newest(self, spot: Spot, count: int, selected: Selected) -> None:
        """The first page: what a user sees first."""
        folder_id = spot.folder_id
        self.mail.set_folder_state(folder_id, uidvalidity=selected.uidvalidity, srv_total=selected.exists)
        uids = await self._headers(spot, lambda s, sink: s.newest_headers(count, selected.exists, sink))
        if uids:
            everything = len(uids) >= selected.exists
            self.mail.set_folder_state(folder_id, lo=1 if everything else min(uids), hi=max(uids))

    async def from_uid(self, spot: Spot, uid: int, expected: int) -> None:
        """Headers of that UID and all above; where many are to come, in chunks that others can get between."""
        if expected <= MANY_NEW:
            self._reached(spot, await self._headers(spot, lambda s, sink: s.headers_from(uid, sink)))
            return
        uids = await spot.call(lambda s: s.search(uid))
        for start in range(0, len(uids), MANY_NEW):
            part = uids[start : start + MANY_NEW]
            await self._headers(spot, lambda s, sink, part=part: s.headers(part, sink))  # type: ignore[misc]
            self._reached(spot, part)

    def _reached(self, spot: Spot, uids: list[int]) -> None:
        if uids:
            hi = max(*uids, self.mail.folder_state(spot.folder_id).hi)
            self.mail.set_folder_state(spot.folder_id, hi=hi)

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
            await self._older_chunk(state, Spot(self.worker.back, state, state.uidvalidity))
        except Refused as error:
            if error.code == MADE_ANEW:
                self.worker.dirty[state.id] = True
            log.info("%s: older mail of a folder cannot be read now: %s", self.worker.name, error.code)
            self._skipped.add(folder.id)
        return True

    async def _older_chunk(self, state: FolderState, spot: Spot) -> None:
        """The next headers below what is here."""
        older = self.older.get(state.id)
        if older is None:
            older = self.older[state.id] = await spot.call(lambda s: s.search(1, state.lo - 1))
        chunk = older[-self._chunk :]
        began = time.monotonic()
        if chunk:
            await self._headers(spot, lambda s, sink: s.headers(chunk, sink))
            del older[-len(chunk) :]
        took = time.monotonic() - began
        self.worker.folders.note(state.path, Refreshed(spot.new, seconds=took))
        self._chunk = min(CHUNK_MOST, self._chunk * 2) if took < CHUNK_SECONDS else max(50, self._chunk // 2)
        self.mail.set_folder_state(state.id, lo=chunk[0] if older else 1)
        if not older:
            self.older.pop(state.id, None)
            self.worker.dirty[state.id] = True  # complete now: what was not found again is gone
        self.worker.folders.say_syncing(state)

    async def _headers(self, spot: Spot, ask: Ask) -> list[int]:
        """Run a header fetch into the store; the UIDs that came."""
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        failures: list[TermmailError] = []

        def store(batch: list[NewMessage]) -> None:  # on our thread
            if failures:
                return
            try:
                self._store(spot, batch)
            except TermmailError as error:
                failures.append(error)

        def sink(batch: list[NewMessage]) -> None:  # on the connection's
            seen.extend(header.uid for header in batch)
            loop.call_soon_threadsafe(store, batch)

        await spot.call(lambda s: ask(s, sink), BACKGROUND)
        if failures:
            raise failures[0]
        return seen

    def _store(self, spot: Spot, batch: list[NewMessage]) -> None:
        if self.mail.folder_state(spot.folder_id).uidvalidity not in (0, spot.uidvalidity):
            raise Refused("the folder was made anew", code=MADE_ANEW, temporary=True)
        newest = self.mail.newest_placement()
        self.mail.add_messages(spot.folder_id, batch)
        spot.new += self.mail.newest_placement() - newest
        self.worker.news(folders=[spot.folder_id], accounts=True)
