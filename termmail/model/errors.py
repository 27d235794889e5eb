"""Every error that termmail raises on purpose, as one tree.

    TermmailError                 what happened, to which account, what the user can do
    ├── UsageError                the command line or a `:` line is wrong (exit code 2)
    ├── NotFound                  no such message, folder or account (exit code 3)
    ├── SettingsError             settings, keys or themes cannot be used
    ├── SecretError               no password to be had (command failed, keyring locked)
    ├── StoreError                the database
    │   ├── StoreBusy             locked by another process for too long
    │   ├── StoreCorrupt          damaged; it was set aside
    │   └── DiskFull
    ├── EngineError               the engine cannot be started or reached
    ├── MessageError              a draft that must not be sent as it is
    └── NetError                  a server; says whether trying again can help
        ├── Unreachable           refused, or timed out while connecting
        │   └── Offline           no route, no DNS: this machine is cut off
        ├── Throttled             the server wants us to come back later, or allows no more connections
        ├── TlsError              certificate, protocol, missing STARTTLS; never retried in the clear
        ├── AuthRefused           the password or token was refused: needs the user
        ├── ConnectionLost        closed, reset or too slow (a deadline); the connection is gone
        ├── ProtocolError         the server sent what no server may send; the connection is gone
        └── Refused               a NO or BAD, a 4xx or 5xx: the connection lives, the wish does not

Texts in errors may stem from servers: they are made safe (`text.safe_line`) by the one who raises.
"""

from __future__ import annotations


class TermmailError(Exception):
    """What happened (`words`), to which `account`, and what the user can do (`hint`)."""

    exit_code = 1
    temporary = False

    def __init__(self, words: str, *, hint: str = "", account: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.hint = hint
        self.account = account

    def __str__(self) -> str:
        where = f"{self.account}: " if self.account else ""
        return f"{where}{self.words}" + (f" ({self.hint})" if self.hint else "")


class UsageError(TermmailError):
    """The command line or a `:` line is wrong."""

    exit_code = 2


class NotFound(TermmailError):
    """No such message, folder or account."""

    exit_code = 3


class SettingsError(TermmailError):
    """Settings, keys or themes cannot be used."""


class SecretError(TermmailError):
    """No password to be had."""


class StoreError(TermmailError):
    """The database cannot be used."""


class StoreBusy(StoreError):
    """The database stayed locked by another process."""

    temporary = True
    exit_code = 75


class StoreCorrupt(StoreError):
    """The database is damaged; the file was set aside."""


class DiskFull(StoreError):
    """No space left for the database or the queue."""

    temporary = True


class EngineError(TermmailError):
    """The engine cannot be started or reached."""


class MessageError(TermmailError):
    """A draft that must not be sent as it is."""


class NetError(TermmailError):
    """A server, or the way to it."""


class Unreachable(NetError):
    """No route, no DNS, refused, or timed out while connecting."""

    temporary = True
    exit_code = 75


class Offline(Unreachable):
    """This machine has no network, or no name server answers."""


class Throttled(NetError):
    """The server is there and will not serve us now.

    `seconds`: when to come back, 0 if it did not say.  `crowded`: it allows no more connections at once.
    """

    temporary = True
    exit_code = 75

    def __init__(self, words: str, *, seconds: float = 0.0, crowded: bool = False) -> None:
        super().__init__(words)
        self.seconds = seconds
        self.crowded = crowded


class TlsError(NetError):
    """Certificate, protocol version or missing STARTTLS; never retried in the clear."""


class AuthRefused(NetError):
    """The server refused the password or token."""


class ConnectionLost(NetError):
    """Closed, reset or past a deadline; the connection is gone."""

    temporary = True
    exit_code = 75


class ProtocolError(NetError):
    """The server sent what no server may send; the connection is gone."""

    temporary = True


class Refused(NetError):
    """The server said no; the connection lives.

    `code` is an IMAP response code (`TRYCREATE`, `OVERQUOTA`, …, RFC 5530) or an SMTP reply
    code with its enhanced status (`550 5.1.1`); empty if none was given.  `temporary` is set
    for IMAP codes that RFC 5530 calls passing and for SMTP 4xx.  `seconds`: when to try again, if the server said.
    """

    def __init__(
        self,
        words: str,
        *,
        code: str = "",
        temporary: bool = False,
        hint: str = "",
        account: str = "",
        seconds: float = 0.0,
    ) -> None:
        super().__init__(words, hint=hint, account=account)
        self.code = code
        self.temporary = temporary
        self.seconds = seconds
