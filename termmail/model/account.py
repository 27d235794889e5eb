"""Accounts as the settings describe them, and the state an engine reports of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from termmail.text import SafeText


class Security(StrEnum):
    """How a connection is protected (RFC 8314)."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class Auth(StrEnum):
    """How to log in."""

    PASSWORD = "password"
    OAUTH2 = "oauth2"
    NONE = "none"


class Role(StrEnum):
    """What a folder is for (SPECIAL-USE, RFC 6154); the order is the order in the tree."""

    INBOX = "inbox"
    FLAGGED = "flagged"
    DRAFTS = "drafts"
    SENT = "sent"
    ARCHIVE = "archive"
    ALL = "all"
    JUNK = "junk"
    TRASH = "trash"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of an account: `[accounts.NAME.incoming]` or `[accounts.NAME.outgoing]`."""

    kind: str  # imap | pop3 | smtp
    host: str
    port: int
    security: Security
    user: str
    auth: Auth = Auth.PASSWORD
    password_command: str = ""
    password: str = field(default="", repr=False)  # from the settings file (0600), with a warning
    ca_file: str = ""
    allow_cleartext: bool = False
    compress: str = "auto"  # auto | yes | no: COMPRESS=DEFLATE of IMAP; auto: not on this machine
    connections: int = 3  # at most so many to an IMAP server at once
    leave: bool = True  # POP3: mail stays on the server
    delete_after_days: int = 0  # POP3: so long; 0: for ever
    delete_when_deleted_here: bool = False  # POP3
    poll_minutes: int = 10  # POP3: how often the server is asked

    @property
    def secret_key(self) -> str:
        """What a stored secret is bound to: another host or user never gets it."""
        return f"{self.kind}://{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Account:
    """One account as the settings file has it."""

    name: str
    email: str
    full_name: str
    incoming: Server
    outgoing: Server | None
    aliases: tuple[str, ...] = ()
    signature: str = ""
    folders: dict[Role, str] = field(default_factory=dict)
    sent_copy: str = "auto"  # auto | append | server
    cache: str = "headers"  # headers | bodies | none: which whole messages of an IMAP account are kept here
    cache_limit: int = 0  # MB of them; 0: no limit


class AccountState(StrEnum):
    """Where an account stands; the words of the status line."""

    OFFLINE = "offline"  # this machine is cut off, or nothing was tried yet
    UNREACHABLE = "unreachable"  # the server does not answer, or breaks off
    THROTTLED = "throttled"  # the server wants us to wait
    CONNECTING = "connecting"
    SYNCING = "syncing"
    ONLINE = "online"  # up to date, and watched
    AUTH = "auth"  # needs the user: password refused or missing
    TLS = "tls"  # needs the user: certificate or protocol
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What the engine last said of an account."""

    account_id: int
    name: str
    state: AccountState
    folder: SafeText = SafeText("")
    done: int = 0
    total: int = 0
    queued: int = 0
    last_sync: float = 0.0  # seconds since the epoch; 0: never
    error: SafeText = SafeText("")
