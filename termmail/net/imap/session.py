"""One logged-in IMAP connection (RFC 3501 and the extensions the engine uses).

Commands and their answers are ours (why: docs/decisions/0002); names of folders are coded by
IMAPClient.  Everything unasked that comes with any answer is kept as events for the engine.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from termmail.model.account import Security, Server
from termmail.model.errors import NetError, Unreachable
from termmail.net import tls
from termmail.net.backend import Manners
from termmail.net.dial import dial
from termmail.net.imap import wire
from termmail.net.imap.change import Change
from termmail.net.imap.folders import Folders
from termmail.net.imap.login import CONNECT, Login
from termmail.net.imap.waiting import Waiting
from termmail.text import safe_line


def connect(server: Server, secret: str, *, account: str = "", manners: Manners | None = None) -> ImapSession:
    """Connect, protect, log in.

    Raises Unreachable, TlsError, AuthRefused, SecretError's kin never (the secret is given), ConnectionLost, ProtocolError.
    """
    try:
        session = ImapSession(_open(server), server)
        try:
            session.begin(secret, manners or Manners())
        except BaseException:
            session.wire.close()
            raise
    except NetError as error:
        error.account = error.account or account
        raise
    return session


def _open(server: Server) -> wire.Wire:
    """TCP, and TLS at once where it is implicit."""
    tls.demand_protection(server)
    where = f"{safe_line(server.host)}:{server.port}"
    try:
        sock = dial(server.host, server.port, CONNECT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if server.security == Security.TLS:
            try:
                sock = tls.context(server).wrap_socket(sock, server_hostname=server.host)
            except BaseException:
                sock.close()
                raise
    except ssl.SSLError as error:
        raise tls.explained(error, server) from error
    except TimeoutError as error:
        raise Unreachable(f"{where} does not answer", hint="check host and port, and the network") from error
    except ConnectionRefusedError as error:
        raise Unreachable(f"{where} refuses connections", hint="check host and port") from error
    except socket.gaierror as error:
        raise Unreachable(
            f"the name {safe_line(server.host)} cannot be resolved", hint="check host, and the network"
        ) from error
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"{where} cannot be reached: {safe_line(str(words), 200)}") from error
    return wire.Wire(sock)


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
