"""Waiting for news: NOOP and IDLE."""

from __future__ import annotations

import time

from termmail.model.errors import Refused
from termmail.net.backend import Events, FolderStatus
from termmail.net.imap import wire
from termmail.net.imap.conversation import COMMAND, EVENTS_LIMIT, TAGGED, Conversation
from termmail.net.imap.folders import LIST, STATUS, status_of, string_of

DONE = 15.0  # seconds
NOTIFY = (
    b"SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) "
    b"(personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))"
)


class Waiting(Conversation):
    """How a session waits."""

    def noop(self) -> Events:
        """See `ImapBackend`."""
        for response in self._run(b"NOOP"):
            self._hear(response)
        return self.drain()

    def probe(self, seconds: float) -> None:
        """NOOP with little patience.  Raises ConnectionLost."""
        self._run(b"NOOP", seconds=seconds)

    def count_anew(self, name: bytes) -> int:
        """`count`, with everything told that there is to tell."""
        self._run(b"NOOP")
        return self.count(name)

    def idle(self, seconds: float) -> Events:
        """See `ImapBackend`."""
        if waiting := self.drain():
            return waiting
        if "IDLE" not in self.capabilities:
            self.wire.wait_readable(seconds)
            return self.noop()
        self.wire.expect(COMMAND)
        tag = self._begin(b"IDLE")
        try:
            self._continuation(tag)
        except Refused:  # it offers what it does not have: from now on we ask
            self.capabilities -= {"IDLE"}
            return self.drain()
        end = time.monotonic() + seconds
        while not self._something() and self.wire.wait_readable(end - time.monotonic()):
            self.wire.expect(COMMAND)
            response = self.wire.response()
            if response.line[:5].upper() == b"* BYE":
                raise self._bye(response.line)
            match = TAGGED.match(response.line)
            if match and match[1] == tag:
                return self.drain()
            self._hear(response)
        self.wire.expect(DONE)
        self.wire.send(b"DONE\r\n")
        for response in self._answers(tag):
            self._hear(response)
        return self.drain()

    def notify(self) -> list[tuple[bytes, FolderStatus]]:
        """See `ImapBackend`."""
        found = []
        for response in self._run(b"NOTIFY", NOTIFY):
            if match := STATUS.match(response.flat()):
                found.append((string_of(match[1]), status_of(match[2])))
        return found

    def _hear(self, response: wire.Response) -> None:
        """News while nothing is asked; with NOTIFY also of other folders."""
        if self._event(response):
            return
        line = response.flat()
        if match := STATUS.match(line):
            self._statuses = [*self._statuses[-EVENTS_LIMIT:], (string_of(match[1]), status_of(match[2]))]
        elif LIST.match(line):
            self._listed = True

    def wake(self) -> None:
        """See `ImapBackend`."""
        self.wire.wake()
