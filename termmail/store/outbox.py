"""Drafts and the send queue: what must never be lost and never be doubled.

The bytes of a message are frozen in a spool file before its row says `queued`; the row says how far
sending got before the next byte leaves.  The states are those of contract.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from termmail.model.draft import Attachment, Draft, DraftId, Kind, OutboxId, Outgoing, Recipient, SendState
from termmail.model.errors import DiskFull, MessageError, NotFound, StoreError, UsageError
from termmail.model.message import PlacementId
from termmail.store.db import Database

_OUTGOING = (
    "SELECT id, account, state, mid, sender, subject, created, attempts, not_before, error, size, progress, filed, "
    "parent, kind FROM outbox"
)
_OPEN = "('held', 'queued', 'refused', 'partial', 'uncertain')"


class Queue:
    """See the module; every commit here is synchronous."""

    def __init__(self, db: Database, spool: Path) -> None:
        self.db = db
        self.spool = spool

    # -- drafts ----------------------------------------------------------------

    def save_draft(self, draft: Draft) -> DraftId:
        """Keep a draft as it is now; its id (new if it had none)."""
        fields = {
            "kind": draft.kind.value, "parent": draft.parent, "sender": draft.sender, "to": draft.to, "cc": draft.cc,
            "bcc": draft.bcc, "reply_to": draft.reply_to, "subject": draft.subject, "in_reply_to": draft.in_reply_to,
            "references": draft.references,
            "attachments": [[a.filename, a.type, a.path, a.size] for a in draft.attachments],
        }  # fmt: skip
        values = (draft.account, time.time(), json.dumps(fields), draft.body)
        with self.db.transaction():
            known = self.db.one("SELECT fields FROM draft WHERE id = ?", (draft.id,)) if draft.id else None
            if known:
                draft_id = draft.id
                self.db.execute(
                    "UPDATE draft SET account = ?, updated = ?, fields = ?, body = ?, open = 1 WHERE id = ?",
                    (*values, draft_id),
                )
            else:
                cursor = self.db.execute(
                    "INSERT INTO draft (account, updated, fields, body) VALUES (?, ?, ?, ?)", values
                )
                draft_id = DraftId(cursor.lastrowid or 0)
            if (
                not known or json.loads(known[0])["attachments"] != fields["attachments"]
            ):  # else a key would write 20 MB
                self.db.execute("DELETE FROM draft_data WHERE draft_id = ?", (draft_id,))
                self.db.many(
                    "INSERT INTO draft_data (draft_id, place, data) VALUES (?, ?, ?)",
                    [(draft_id, place, a.data) for place, a in enumerate(draft.attachments) if a.data],
                )
        return draft_id

    def _draft(self, row: tuple[Any, ...]) -> Draft:
        fields = json.loads(row[3])
        data = dict(self.db.all("SELECT place, data FROM draft_data WHERE draft_id = ?", (row[0],)))
        attachments = tuple(
            Attachment(name, kind, path, data.get(place, b""), size)
            for place, (name, kind, path, size) in enumerate(fields.pop("attachments"))
        )
        return Draft(
            id=DraftId(row[0]), account=row[1], updated=row[2], body=row[4], attachments=attachments,
            kind=Kind(fields.pop("kind")), parent=PlacementId(fields.pop("parent")),
            references=tuple(fields.pop("references")), **fields,
        )  # fmt: skip

    def draft(self, draft_id: DraftId) -> Draft:
        """One draft.  Raises NotFound."""
        row = self.db.one("SELECT id, account, updated, fields, body FROM draft WHERE id = ?", (draft_id,))
        if row is None:
            raise NotFound("that draft is gone")
        return self._draft(row)

    def drafts(self, *, only_open: bool = False) -> list[Draft]:
        """All drafts, the newest first; `only_open`: those a composer had when it ended."""
        where = "WHERE open = 1" if only_open else ""
        rows = self.db.all(
            f"SELECT id, account, updated, fields, body FROM draft {where} ORDER BY updated DESC, id DESC"
        )
        return [self._draft(row) for row in rows]

    def close_draft(self, draft_id: DraftId) -> None:
        """The composer was left and the draft kept."""
        with self.db.transaction():
            self.db.execute("UPDATE draft SET open = 0 WHERE id = ?", (draft_id,))

    def drop_draft(self, draft_id: DraftId) -> None:
        """Throw a draft away."""
        with self.db.transaction():
            self.db.execute("DELETE FROM draft WHERE id = ?", (draft_id,))

    # -- into the outbox ---------------------------------------------------------

    def enqueue(
        self,
        raw: bytes,
        *,
        account: str,
        mid: str,
        sender: str,
        recipients: Sequence[str],
        subject: str = "",
        kind: Kind = Kind.NEW,
        parent: PlacementId = PlacementId(0),
        hold: float = 0.0,
        draft_id: DraftId = DraftId(0),
    ) -> OutboxId:
        """Queue finished bytes; when this returns they survive a power cut.

        `hold` seconds pass before they may leave.  The draft they came from goes in the same commit.
        Raises MessageError if a message with this Message-ID was queued before, DiskFull, StoreError.
        """
        if not recipients:
            raise MessageError("nobody to send to")
        name = f"{secrets.token_hex(8)}.eml"
        self._freeze(name, raw)
        now = time.time()
        try:
            with self.db.transaction():
                cursor = self.db.execute(
                    "INSERT INTO outbox (account, state, mid, sender, subject, spool, size, created, not_before, parent, "
                    "kind) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        account, SendState.HELD if hold else SendState.QUEUED, mid, sender, subject, name, len(raw),
                        now, now + hold if hold else 0.0, parent, kind.value,
                    ),
                )  # fmt: skip
                outbox_id = OutboxId(cursor.lastrowid or 0)
                self.db.many(
                    "INSERT OR IGNORE INTO recipient (outbox_id, email) VALUES (?, ?)",
                    [(outbox_id, email) for email in recipients],
                )
                if draft_id:
                    self.db.execute("DELETE FROM draft WHERE id = ?", (draft_id,))
        except StoreError as error:
            (self.spool / name).unlink(missing_ok=True)
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise MessageError(
                    "this message was queued before", hint="termmail outbox shows what became of it"
                ) from error
            raise
        return outbox_id

    def _freeze(self, name: str, raw: bytes) -> None:
        """Write a spool file so that it is on the disk when this returns."""
        partial = self.spool / f"{name}.part"
        try:
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.spool / name)
            directory = os.open(self.spool, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DiskFull(
                f"the message could not be written to the outbox: {error.strerror}",
                hint=f"look at the disk of {self.spool}",
            ) from error

    def sweep(self) -> int:
        """Delete spool files that no row names (a crash between the two); how many.  For the engine's start."""
        known = {row[0] for row in self.db.all("SELECT spool FROM outbox")}
        limit = time.time() - 600  # a composer may be between file and row right now
        gone = 0
        for path in self.spool.iterdir():
            if path.name not in known:
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < limit:
                        path.unlink()
                        gone += 1
        return gone

    # -- looking ------------------------------------------------------------------

    def _outgoing(self, row: tuple[Any, ...]) -> Outgoing:
        recipients = tuple(
            Recipient(*one)
            for one in self.db.all(
                "SELECT email, status, code, words FROM recipient WHERE outbox_id = ? ORDER BY rowid", (row[0],)
            )
        )
        return Outgoing(
            id=OutboxId(row[0]), account=row[1], state=SendState(row[2]), message_id=row[3], sender=row[4],
            recipients=recipients, subject=row[5], created=row[6], attempts=row[7], next_try=row[8], error=row[9],
            size=row[10], progress=row[11], filed=bool(row[12]), parent=PlacementId(row[13]), kind=Kind(row[14]),
        )  # fmt: skip

    def outbox(self, account: str | None = None) -> list[Outgoing]:
        """Everything in the outbox, sent ones of the last days included, the newest first."""
        where, values = ("WHERE account = ?", (account,)) if account else ("", ())
        return [self._outgoing(row) for row in self.db.all(f"{_OUTGOING} {where} ORDER BY id DESC", values)]

    def outgoing(self, outbox_id: OutboxId) -> Outgoing:
        """One of them.  Raises NotFound."""
        row = self.db.one(f"{_OUTGOING} WHERE id = ?", (outbox_id,))
        if row is None:
            raise NotFound(f"nothing in the outbox has the number {outbox_id}", hint="termmail outbox")
        return self._outgoing(row)

    def raw(self, outbox_id: OutboxId) -> bytes:
        """The frozen bytes.  Raises NotFound, StoreError."""
        row = self.db.one("SELECT spool FROM outbox WHERE id = ?", (outbox_id,))
        if row is None:
            raise NotFound(f"nothing in the outbox has the number {outbox_id}")
        try:
            return (self.spool / str(row[0])).read_bytes()
        except OSError as error:
            raise StoreError(f"the outbox has lost the file of message {outbox_id}: {error.strerror}") from error

    def queued_count(self, account: str) -> int:
        """Messages that wait to be sent, or to be filed in Sent."""
        row = self.db.one(
            "SELECT count(*) FROM outbox WHERE account = ? AND (state IN ('held', 'queued', 'sending') "
            "OR (state = 'sent' AND filed = 0))",
            (account,),
        )
        return int(row[0])

    def next_due(self, account: str) -> float | None:
        """When the next message may leave; None if none waits."""
        row = self.db.one(
            "SELECT min(not_before) FROM outbox WHERE account = ? AND state IN ('held', 'queued')", (account,)
        )
        return None if row[0] is None else float(row[0])

    # -- sending: for the engine ----------------------------------------------------

    def claim(self, account: str, now: float) -> Outgoing | None:
        """Take the next message that is due; nobody else can take it."""
        with self.db.transaction():
            row = self.db.one(
                "UPDATE outbox SET state = 'sending', phase = 'connect', attempts = attempts + 1, progress = 0 "
                "WHERE id = (SELECT id FROM outbox WHERE account = ? AND state IN ('queued', 'held') "
                "AND not_before <= ? ORDER BY not_before, id LIMIT 1) RETURNING id",
                (account, now),
            )
        return self.outgoing(OutboxId(row[0])) if row else None

    def set_phase(self, outbox_id: OutboxId, phase: str) -> None:
        """Commit how far sending got, before the bytes that follow from it leave."""
        self._set(outbox_id, phase=phase)

    def set_progress(self, outbox_id: OutboxId, sent: int) -> None:
        """How many bytes of the message went out."""
        self._set(outbox_id, progress=sent)

    def set_recipient(self, outbox_id: OutboxId, email: str, status: str, code: str, words: str) -> None:
        """What the server said of one recipient."""
        with self.db.transaction():
            self.db.execute(
                "UPDATE recipient SET status = ?, code = ?, words = ? WHERE outbox_id = ? AND email = ?",
                (status, code, words, outbox_id, email),
            )

    def _set(self, outbox_id: OutboxId, **columns: Any) -> None:
        names = ", ".join(f"{name} = :{name}" for name in columns)
        with self.db.transaction():
            self.db.execute(f"UPDATE outbox SET {names} WHERE id = :id", {**columns, "id": outbox_id})

    def accepted(self, outbox_id: OutboxId, *, filed: bool = False) -> None:
        """The server took the message; `filed`: it also puts the copy into Sent."""
        self._set(outbox_id, state="sent", phase="", error="", not_before=0.0, filed=int(filed))

    def retry_at(self, outbox_id: OutboxId, when: float, error: str) -> None:
        """It certainly was not sent; try again then."""
        self._set(outbox_id, state="queued", phase="", not_before=when, error=error)

    def refused(self, outbox_id: OutboxId, error: str) -> None:
        """The server said no for good."""
        self._set(outbox_id, state="refused", phase="", error=error)

    def partial(self, outbox_id: OutboxId, error: str) -> None:
        """Some recipients got it, others did not."""
        self._set(outbox_id, state="partial", phase="", error=error)

    def uncertain(self, outbox_id: OutboxId, error: str) -> None:
        """The last byte left, but no answer came: it may have been sent."""
        self._set(outbox_id, state="uncertain", phase="", error=error)

    def recover(self, account: str) -> list[OutboxId]:
        """After a crash: what had not reached the final dot is queued again, the rest is uncertain; those ids."""
        with self.db.transaction():
            doubtful = self.db.all(
                "UPDATE outbox SET state = 'uncertain', phase = '', error = 'termmail ended while the server was about "
                "to answer' WHERE account = ? AND state = 'sending' AND phase = 'terminator' RETURNING id",
                (account,),
            )
            self.db.execute(
                "UPDATE outbox SET state = 'queued', phase = '' WHERE account = ? AND state = 'sending'", (account,)
            )
        return [OutboxId(row[0]) for row in doubtful]

    def unfiled(self, account: str) -> list[tuple[Outgoing, str, int]]:
        """Sent messages whose copy is not in Sent yet, with the phase and UIDNEXT of an attempt."""
        rows = self.db.all(
            "SELECT id, file_phase, file_uidnext FROM outbox WHERE account = ? AND state = 'sent' AND filed = 0 ORDER BY id",
            (account,),
        )
        return [(self.outgoing(row[0]), row[1], row[2]) for row in rows]

    def filing(self, outbox_id: OutboxId, uidnext: int) -> None:
        """An APPEND to Sent is about to begin."""
        self._set(outbox_id, file_phase="append", file_uidnext=uidnext)

    def filed(self, outbox_id: OutboxId) -> None:
        """The copy stands in Sent."""
        self._set(outbox_id, filed=1, file_phase="")

    # -- the user's say --------------------------------------------------------------

    def retry(self, outbox_id: OutboxId) -> None:
        """Send again, now.  Raises NotFound; UsageError if it was sent or is on its way."""
        self._decide(outbox_id, "queued", "('held', 'queued', 'refused', 'partial', 'uncertain')")
        with self.db.transaction():
            self.db.execute(
                "UPDATE recipient SET status = 'pending' WHERE outbox_id = ? AND status <> 'ok'", (outbox_id,)
            )

    def cancel(self, outbox_id: OutboxId) -> None:
        """Take out of the outbox.  Raises NotFound; UsageError if it was sent or is on its way."""
        self._decide(outbox_id, None, _OPEN)

    def mark_sent(self, outbox_id: OutboxId) -> None:
        """The user knows that an uncertain message arrived.  Raises NotFound, UsageError."""
        self._decide(outbox_id, "sent", "('uncertain', 'partial')")

    def _decide(self, outbox_id: OutboxId, state: str | None, allowed: str) -> None:
        current = self.outgoing(outbox_id)
        spool = ""
        with self.db.transaction():
            if state is None:
                row = self.db.one(
                    f"DELETE FROM outbox WHERE id = ? AND state IN {allowed} RETURNING spool", (outbox_id,)
                )
                spool = row[0] if row else ""
            else:
                row = self.db.one(
                    "UPDATE outbox SET state = ?, phase = '', not_before = 0, error = '' "
                    f"WHERE id = ? AND state IN {allowed} RETURNING id",
                    (state, outbox_id),
                )
        if row is None:
            raise UsageError(f"message {outbox_id} is {current.state.value}: that cannot be done to it now")
        if spool:
            (self.spool / spool).unlink(missing_ok=True)

    def forget_sent(self, before: float) -> None:
        """Drop messages that were sent and filed before that time."""
        with self.db.transaction():
            rows = self.db.all(
                "DELETE FROM outbox WHERE state = 'sent' AND filed = 1 AND created < ? RETURNING spool", (before,)
            )
        for (spool,) in rows:
            (self.spool / spool).unlink(missing_ok=True)
