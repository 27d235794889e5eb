"""Whole messages: those that somebody waits for, those that somebody is likely to open, and all if that is wanted.

What is kept is the account's choice: `cache = "headers"` keeps what was opened and the newest small messages of INBOX,
"bodies" everything, "none" nothing for longer than a message is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from termmail.engine.spot import MADE_ANEW, ORDER, Spot
from termmail.model.account import Role
from termmail.model.errors import NotFound, Refused
from termmail.model.message import FolderId, MessageId
from termmail.net.actor import BACKGROUND, INTERACTIVE
from termmail.text import safe_line

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
Missing = Sequence[tuple[MessageId, int, int]]  # message, UID, size

PREFETCH_SIZE, PREFETCH_BUDGET = 64 << 10, 60  # bytes each, messages a session
AT_ONCE, AT_ONCE_BYTES = 50, 4 << 20  # messages and bytes between two commits
PAGE = 500  # rows looked at in one query
LARGEST = 32 << 20  # of what is fetched unasked
READ_FOR = 600.0  # seconds a message is kept where nothing is to be kept
WEIGH = 600.0  # seconds between two looks at how much is kept
_TOP = (2**63 - 1, 2**63 - 1)


class Bodies:
    """The message fetches of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self._fetched = 0
        self._below: dict[FolderId, tuple[int, int] | None] = {}  # how far down everything is here; None: all of it
        self._newest = 0  # the placement that was newest at the last look
        self._fresh: set[FolderId] = set()  # folders that may have new mail at the top
        self._not_given: set[MessageId] = set()  # asked for in this session, in vain
        self._weighed = 0.0
        self._kept = 0  # bytes, as far as they were weighed

    def begin(self) -> None:
        """A new session, a new budget."""
        self._fetched = 0
        self._below.clear()
        self._not_given.clear()

    async def wanted(self) -> bool:
        """A message that somebody waits for."""
        for message_id, folder_id, uid in self.mail.wanted_bodies(self.worker.id):
            try:
                state = self.mail.folder_state(folder_id)
                spot = Spot(self.worker.main, state, state.uidvalidity)
                raw = await spot.call(lambda s, uid=uid: s.body(uid), INTERACTIVE)  # type: ignore[misc]
                self.mail.put_body(message_id, raw)
            except (Refused, NotFound) as error:
                if isinstance(error, Refused) and error.code == MADE_ANEW:  # that UID may be another message by now
                    await self.worker.folders.refresh(folder_id)
                    return True
                self.mail.body_failed(message_id, safe_line(error.words))
            self.worker.news(bodies=[message_id])
            return True
        return False

    async def prefetch(self) -> bool:
        """Some messages that nobody waits for yet; False if there is nothing to do."""
        if self.worker.manager.headers_only:
            return False
        cache = self.worker.account.cache
        if cache == "none":
            self.mail.forget_bodies(self.worker.id, fetched_before=time.time() - READ_FOR)
            return False
        self._keep_within_limit()
        return await (self._everything() if cache == "bodies" else self._likely())

    async def _likely(self) -> bool:
        """The newest small messages of INBOX, unread ones first, so that opening them asks nobody."""
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        if inbox is None or self._fetched >= PREFETCH_BUDGET:
            return False
        missing = self.mail.bodies_missing(inbox.id, min(20, PREFETCH_BUDGET - self._fetched), PREFETCH_SIZE)
        missing = [one for one in missing if one[0] not in self._not_given]
        if not missing:
            return False
        self._fetched += len(missing)
        await self._fetch(inbox.id, missing)
        return True

    async def _everything(self) -> bool:
        """The next messages of the first folder that lacks some, the newest first."""
        folders = [folder for folder in self.mail.folders(self.worker.id) if folder.selectable]
        if (newest := self.mail.newest_placement()) != self._newest:
            self._newest = newest
            self._fresh = {folder.id for folder in folders}
        for folder in sorted(folders, key=lambda f: (ORDER[f.role], f.path)):
            if folder.id in self._fresh:  # what came since stands at the top
                if await self._page(folder.id, _TOP)[0]:
                    return True
                self._fresh.discard(folder.id)
            below = self._below.get(folder.id, _TOP) if not self._full() else None
            while below is not None:
                work, further = self._page(folder.id, below)
                if await work:
                    return True
                self._below[folder.id] = below = further
        return False

    def _page(self, folder_id: FolderId, below: tuple[int, int]) -> tuple[Awaitable[bool], tuple[int, int] | None]:
        """What fetches the missing bodies of a page, True if there are any; and where the next page begins."""
        missing, further = self.mail.bodies_below(folder_id, PAGE, LARGEST, below)
        missing = [one for one in missing if one[0] not in self._not_given]

        async def work() -> bool:
            for part in _parts(missing):
                await self._fetch(folder_id, part)
                if self.worker.poke.is_set():
                    break
            return bool(missing)

        return work(), further

    async def _fetch(self, folder_id: FolderId, missing: Missing) -> None:
        """These bodies into the store; one that the server does not give is left for when somebody opens it."""
        try:
            state = self.mail.folder_state(folder_id)
        except NotFound:
            return
        spot = Spot(self.worker.back, state, state.uidvalidity)
        by_uid = {uid: message_id for message_id, uid, _ in missing}
        found: list[tuple[MessageId, bytes]] = []
        try:
            await spot.call(
                lambda s: s.bodies(list(by_uid), lambda uid, raw: found.append((by_uid[uid], raw))), BACKGROUND
            )
        except Refused as error:
            log.info("%s: some messages are not to be had now: %s", self.worker.name, error.code)
            if error.code == MADE_ANEW:
                self.worker.dirty[folder_id] = True
        self.mail.put_bodies(found)
        self._kept += sum(len(raw) for _, raw in found)
        self._not_given |= set(by_uid.values()) - {message_id for message_id, _ in found}

    def _full(self) -> bool:
        """There is no room for older mail."""
        limit = self.worker.account.cache_limit << 20
        return 0 < limit <= self._kept

    def _keep_within_limit(self) -> None:
        """Bodies of the oldest mail go where there are more than the account may keep."""
        limit = self.worker.account.cache_limit << 20
        if not limit:
            return
        if time.monotonic() >= self._weighed:
            self._weighed = time.monotonic() + WEIGH
            self._kept = self.mail.bodies_size(self.worker.id)
        if self._kept > limit:
            room = limit // 20  # for what comes
            self.mail.forget_bodies(self.worker.id, fetched_before=time.time() + 1, size=self._kept - limit + room)
            self._kept = self.mail.bodies_size(self.worker.id)
            self._below = {folder.id: None for folder in self.mail.folders(self.worker.id)}  # older mail has no place
            self._fresh.clear()


def _parts(missing: Missing) -> list[Missing]:
    """So many that a commit between them is worth it, few enough to be held in memory."""
    parts: list[list[tuple[MessageId, int, int]]] = []
    size = 0
    for one in missing:
        if not parts or len(parts[-1]) >= AT_ONCE or size + one[2] > AT_ONCE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += one[2]
    return list(parts)
