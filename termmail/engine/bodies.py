"""Whole messages: those that somebody waits for, and those that somebody is likely to open."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from termmail.model.account import Role
from termmail.model.errors import NotFound, Refused
from termmail.net.actor import BACKGROUND
from termmail.text import safe_line

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

PREFETCH, PREFETCH_SIZE, PREFETCH_BUDGET = 5, 64 << 10, 60  # at a time, bytes each, messages a session


class Bodies:
    """The message fetches of one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = worker.store.mail
        self._fetched = 0

    def begin(self) -> None:
        """A new session, a new budget."""
        self._fetched = 0

    async def wanted(self) -> bool:
        """A message that somebody waits for."""
        for message_id, folder_id, uid in self.mail.wanted_bodies(self.worker.id):
            try:
                state = self.mail.folder_state(folder_id)
                selected = await self.worker.call(lambda s, state=state: s.select(state.wire))  # type: ignore[misc]
                if selected.uidvalidity != state.uidvalidity:  # that UID may be another message by now
                    await self.worker.folders.refresh(folder_id)
                    return True
                raw = await self.worker.call(lambda s, uid=uid: s.body(uid))  # type: ignore[misc]
                self.mail.put_body(message_id, raw)
            except (Refused, NotFound) as error:
                self.mail.body_failed(message_id, safe_line(error.words))
            self.worker.news(bodies=[message_id])
            return True
        return False

    async def prefetch(self) -> bool:
        """The newest small messages of INBOX, unread ones first, so that opening them asks nobody."""
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        if inbox is None or self._fetched >= PREFETCH_BUDGET or self.worker.manager.headers_only:
            return False
        missing = self.mail.bodies_missing(inbox.id, PREFETCH, PREFETCH_SIZE)
        if not missing:
            return False
        state = self.mail.folder_state(inbox.id)
        selected = await self.worker.call(lambda s: s.select(state.wire))
        if selected.uidvalidity != state.uidvalidity:
            self.worker.dirty[inbox.id] = True
            return True
        for message_id, uid, _ in missing:
            self._fetched += 1
            with contextlib.suppress(Refused):
                raw = await self.worker.main.call(lambda s, uid=uid: s.body(uid), BACKGROUND)  # type: ignore[misc]
                self.mail.put_body(message_id, raw)
            if self.worker.poke.is_set():
                break
        return True
