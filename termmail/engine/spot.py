"""A folder by way of one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from termmail.model.account import Role
from termmail.model.errors import Refused
from termmail.net.actor import NORMAL, Actor
from termmail.net.imap.session import ImapSession
from termmail.store.mail import FolderState

T = TypeVar("T")
MADE_ANEW = "UIDVALIDITY"  # code of a Refused of ours
ORDER = {role: place for place, role in enumerate((Role.INBOX, Role.DRAFTS, Role.SENT, Role.ARCHIVE, Role.FLAGGED,
                                                  Role.NONE, Role.ALL, Role.JUNK, Role.TRASH))}  # fmt: skip
"""Which folder comes first, all else being equal."""


class Spot:
    """Every call selects the folder first, so that others may use the connection in between.

    Raises Refused with code MADE_ANEW where its UIDs are no longer those of `uidvalidity`.
    """

    def __init__(self, actor: Actor, state: FolderState, uidvalidity: int) -> None:
        self.actor = actor
        self.folder_id = state.id
        self.wire = state.wire
        self.uidvalidity = uidvalidity
        self.new = 0  # messages that were not known before

    async def call(self, function: Callable[[ImapSession], T], priority: int = NORMAL) -> T:
        """Run a function on the connection's thread, with the folder selected."""

        def run(session: ImapSession) -> T:
            if session.select(self.wire).uidvalidity != self.uidvalidity:
                raise Refused("the folder was made anew", code=MADE_ANEW, temporary=True)
            return function(session)

        return await self.actor.call(run, priority)
