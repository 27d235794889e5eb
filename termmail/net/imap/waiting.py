"""Waiting for news: NOOP and IDLE."""

from __future__ import annotations

import time

from termmail.model.errors import Refused
from termmail.net.backend import Events
from termmail.net.imap.conversation import COMMAND, TAGGED, Conversation

DONE = 15.0  # seconds


class Waiting(Conversation):
    """How a session waits."""

    def noop(self) -> Events:
        """See `ImapBackend`."""
        for response in self._run(b"NOOP"):
            self._event(response)
        return self.drain()

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
            self._event(response)
        self.wire.expect(DONE)
        self.wire.send(b"DONE\r\n")
        for response in self._answers(tag):
            self._event(response)
        return self.drain()

    def wake(self) -> None:
        """See `ImapBackend`."""
        self.wire.wake()
