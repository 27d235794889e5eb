"""Whole messages: those that somebody waits for, and those that somebody is likely to open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from termmail.engine.spot import MADE_ANEW, Spot
from termmail.model.account import Role
from termmail.model.errors import NotFound, Refused
from termmail.net.actor import BACKGROUND, INTERACTIVE
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
        """The newest small messages of INBOX, unread ones first, so that opening them asks nobody."""
        inbox = self.mail.role_folder(self.worker.id, Role.INBOX)
        if inbox is None or self._fetched >= PREFETCH_BUDGET or self.worker.manager.headers_only:
            return False
        missing = self.mail.bodies_missing(inbox.id, PREFETCH, PREFETCH_SIZE)
        if not missing:
            return False
        state = self.mail.folder_state(inbox.id)
        spot = Spot(self.worker.main, state, state.uidvalidity)
        for message_id, uid, _ in missing:
            self._fetched += 1
            try:
                raw = await spot.call(lambda s, uid=uid: s.body(uid), BACKGROUND)  # type: ignore[misc]
                self.mail.put_body(message_id, raw)
            except Refused as error:
                if error.code == MADE_ANEW:
                    self.worker.dirty[inbox.id] = True
                    break
            if self.worker.poke.is_set():
                break
        return True
