"""Messages, folders and placements: what the store holds and the list shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple, NewType

from termmail.model.account import Role
from termmail.text import SafeText

AccountId = NewType("AccountId", int)
FolderId = NewType("FolderId", int)
MessageId = NewType("MessageId", int)
"""Ours, never reused, never the UID: the content of a message."""
PlacementId = NewType("PlacementId", int)
"""Ours, never reused: this message in a folder.  It survives moves.  The `id` of the list,
of `--json` and of `termmail do`."""


class Flag(IntFlag):
    """System flags (RFC 3501 §2.3.2) and the keywords that every client knows (RFC 5788)."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16
    FORWARDED = 32  # $Forwarded
    JUNK = 64  # $Junk
    NOTJUNK = 128  # $NotJunk
    MUTED = 256  # $Muted


WIRE_FLAGS: dict[Flag, str] = {
    Flag.SEEN: "\\Seen",
    Flag.ANSWERED: "\\Answered",
    Flag.FLAGGED: "\\Flagged",
    Flag.DELETED: "\\Deleted",
    Flag.DRAFT: "\\Draft",
    Flag.FORWARDED: "$Forwarded",
    Flag.JUNK: "$Junk",
    Flag.NOTJUNK: "$NotJunk",
    Flag.MUTED: "$Muted",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: display name and addr-spec (RFC 5322 §3.4), both made safe."""

    name: SafeText
    email: SafeText

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name else self.email


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as the tree shows it."""

    id: FolderId
    account_id: AccountId
    path: SafeText  # decoded full name, levels joined by `delimiter`
    delimiter: str
    role: Role
    selectable: bool
    subscribed: bool
    total: int  # messages that are shown here (wishes laid over the server's truth)
    unread: int
    srv_total: int  # what the server said last; -1: not asked yet
    complete: bool  # every message of the server is here
    pending: str = ""  # what the server has not heard of: create, rename, subscribe, unsubscribe


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the message list; times in whole seconds since the epoch, UTC."""

    id: PlacementId
    message_id: MessageId
    folder_id: FolderId
    date: int
    flags: Flag
    keywords: tuple[SafeText, ...]
    sender: Address
    recipients: SafeText  # "Ada, Grace" : what the Sent folder shows instead of the sender
    subject: SafeText
    size: int
    attachments: bool
    thread: int
    pending: bool  # a wish of ours the server has not heard
    sent: int = 0  # the Date field; 0: none or unreadable


class Summary(NamedTuple):
    """What the list needs of a message, decoded from its header fields (see mime/headers.py).

    This and `NewMessage` are made a hundred thousand times in a first sync; a NamedTuple is frozen at a third of the price.
    """

    date: int  # Date field, else 0
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: SafeText
    message_id: str  # with angle brackets, no white space; "" if none
    in_reply_to: str
    references: tuple[str, ...]
    thread: int  # 63-bit hash of the first of References, else In-Reply-To, else Message-ID
    ident: bytes  # 16 bytes: the date, then blake2b of Message-ID, Date, From and Subject; links copies, never deletes


class NewMessage(NamedTuple):
    """A message as FETCH told of it, its header fields decoded."""

    uid: int
    flags: Flag
    keywords: str  # those that are no Flag, blank-separated, sorted
    internal_date: int  # seconds since the epoch; 0: not told
    size: int
    attachments: bool
    modseq: int  # 0: none
    summary: Summary
