"""A message in the making, as the composer edits it, and its stations in the outbox."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from termmail.model.message import PlacementId

DraftId = NewType("DraftId", int)
OutboxId = NewType("OutboxId", int)


class Kind(StrEnum):
    """What a draft began as; decides which flag the parent gets."""

    NEW = "new"
    REPLY = "reply"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to be attached: by `path`, or as `data` (a forwarded message)."""

    filename: str
    type: str = "application/octet-stream"
    path: str = ""
    data: bytes = field(default=b"", repr=False)
    size: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """What the user typed.  Address fields are text as typed ("Ada <ada@example.org>, …")."""

    id: DraftId = DraftId(0)
    account: str = ""  # name of the account that sends it
    kind: Kind = Kind.NEW
    parent: PlacementId = PlacementId(0)  # the message that is answered or forwarded
    sender: str = ""  # "Ada Lovelace <ada@example.org>"
    to: str = ""
    cc: str = ""
    bcc: str = ""
    reply_to: str = ""
    subject: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    body: str = ""
    attachments: tuple[Attachment, ...] = ()
    updated: float = 0.0

    def but(self, **changes: object) -> Draft:
        """A copy with these fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


class SendState(StrEnum):
    """Where a message in the outbox stands (contract.md)."""

    HELD = "held"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    PARTIAL = "partial"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Recipient:
    """What became of one recipient: status is pending | ok | temp | perm."""

    email: str
    status: str = "pending"
    code: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message in the outbox: bytes, Message-ID and recipients are frozen."""

    id: OutboxId
    account: str
    state: SendState
    message_id: str
    sender: str  # addr-spec for MAIL FROM
    recipients: tuple[Recipient, ...]
    subject: str
    created: float
    attempts: int = 0
    next_try: float = 0.0
    error: str = ""
    size: int = 0
    progress: int = 0  # bytes of DATA that went out
    filed: bool = False  # the copy stands in Sent, or is not ours to file
    parent: PlacementId = PlacementId(0)
    kind: Kind = Kind.NEW
