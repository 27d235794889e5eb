"""One logged-in IMAP connection (RFC 3501 and the extensions the engine uses).

Commands and their answers are ours (why: docs/decisions/0002); names of folders are coded by
IMAPClient.  Everything unasked that comes with any answer is kept as events for the engine.
"""

from __future__ import annotations

import contextlib

from termmail.model.account import Server
from termmail.model.errors import NetError
from termmail.net.backend import Manners
from termmail.net.imap import wire
from termmail.net.imap.change import Change
from termmail.net.imap.folders import Folders
from termmail.net.imap.login import Login
from termmail.net.imap.waiting import Waiting
from termmail.net.reach import reach


def connect(server: Server, secret: str, *, account: str = "", manners: Manners | None = None) -> ImapSession:
    """Connect, protect, log in.

    Raises Unreachable, TlsError, AuthRefused, SecretError's kin never (the secret is given), ConnectionLost, ProtocolError.
    """
    try:
        session = ImapSession(wire.Wire(reach(server)), server)
        try:
            session.begin(secret, manners or Manners())
        except BaseException:
            session.wire.close()
            raise
    except NetError as error:
        error.account = error.account or account
        raise
    return session


class ImapSession(Login, Folders, Change, Waiting):
    """See `ImapBackend`."""

    def logout(self) -> None:
        """Say good-bye if the connection still lives, then close it."""
        if not self.wire.dead:
            with contextlib.suppress(NetError):
                self.wire.expect(2.0)
                for _ in self._answers(self._begin(b"LOGOUT")):
                    pass
        self.wire.close()

    def abort(self) -> None:
        """See `ImapBackend`."""
        self.wire.abort()
