"""Finding and reading messages of the selected folder: SEARCH, headers as they stream in, flags, bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from termmail.model.errors import Refused
from termmail.model.message import NewMessage
from termmail.net.backend import FlagsOf
from termmail.net.imap import fetched, wire
from termmail.net.imap.conversation import UNTAGGED, Conversation, log

FETCH = 60.0  # seconds
FIELDS = b"DATE FROM SENDER REPLY-TO TO CC SUBJECT MESSAGE-ID IN-REPLY-TO REFERENCES"
BATCHES = (20, 50, 200, 500)  # how many headers are handed over at a time, growing


class Fetch(Conversation):
    """What a session can read."""

    def search(self, lo: int = 1, hi: int | None = None) -> list[int]:
        """See `ImapBackend`."""
        found = self._search(b"UID %d:%s" % (lo, b"*" if hi is None else b"%d" % hi))
        return [uid for uid in found if uid >= lo and (hi is None or uid <= hi)]  # `lo:*` always names the last one

    def search_deleted(self) -> list[int]:
        """See `ImapBackend`."""
        return self._search(b"DELETED")

    def find_message_id(self, message_id: str, from_uid: int = 1) -> list[int]:
        """See `ImapBackend`."""
        if not message_id.isascii():
            return []
        found = self._search(b"UID %d:* HEADER MESSAGE-ID %s" % (max(1, from_uid), wire.argument(message_id)))
        return [uid for uid in found if uid >= from_uid]

    def _search(self, key: bytes) -> list[int]:
        if "ESEARCH" in self.capabilities:
            for response in self._run(b"UID SEARCH", b"RETURN (ALL) " + key):
                if response.line[:9].upper() == b"* ESEARCH":
                    match = re.search(rb" ALL ([0-9:,]+)", response.line, re.I)
                    return sorted(wire.expand(match[1])) if match else []
            log.info("the server does not answer ESEARCH; asking plainly")  # silence is not "none": mail would vanish
        found: set[int] = set()
        for response in self._run(b"UID SEARCH", key):
            if response.line[:8].upper() == b"* SEARCH":
                found.update(map(wire.number, response.line[8:].split()))
        return sorted(found - {0})

    # -- headers, flags, bodies ------------------------------------------------------------

    def _shape(self) -> bytes:
        items = b"(UID FLAGS INTERNALDATE RFC822.SIZE"
        if "CONDSTORE" in self.capabilities:
            items += b" MODSEQ"
        return items + b" BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (" + FIELDS + b")])"

    def newest_headers(self, count: int, exists: int, sink: Callable[[list[NewMessage]], None]) -> None:
        """See `ImapBackend`."""
        if exists:
            self._headers(b"FETCH", b"%d:*" % max(1, exists - count + 1), sink, 1)

    def headers(self, uids: Sequence[int], sink: Callable[[list[NewMessage]], None]) -> None:
        """See `ImapBackend`."""
        for text, _ in wire.uid_sets(uids):
            self._headers(b"UID FETCH", text, sink, 1)

    def headers_from(self, uid: int, sink: Callable[[list[NewMessage]], None]) -> None:
        """See `ImapBackend`."""
        self._headers(b"UID FETCH", b"%d:*" % uid, sink, uid)

    def _headers(self, name: bytes, numbers: bytes, sink: Callable[[list[NewMessage]], None], lowest: int) -> None:
        self.wire.expect(FETCH)
        tag = self._begin(name, numbers + b" " + self._shape())
        batch: list[NewMessage] = []
        handed = 0
        for response in self._answers(tag):
            found = self._message(response, lowest)
            while True:
                if found is not None and found.uid >= lowest:
                    batch.append(found)
                    if len(batch) >= BATCHES[min(handed, len(BATCHES) - 1)]:
                        sink(batch)
                        batch, handed = [], handed + 1
                if (found := fetched.usual(self.wire)) is None:
                    break
        if batch:
            sink(batch)

    def _message(self, response: wire.Response, lowest: int) -> NewMessage | None:
        """A FETCH answer with a header; anything else is an event."""
        match = UNTAGGED.match(response.line)
        if not match or match[2].upper() != b"FETCH" or not (len(response.parts) > 1 or b"BODY[" in response.line):
            self._event(response)
            return None
        return fetched.message(response, lowest)

    def flags(self, lo: int, hi: int, changed_since: int = 0) -> list[FlagsOf]:
        """See `ImapBackend`."""
        rest = b"%d:%d (UID FLAGS)" % (lo, hi)
        if changed_since and "CONDSTORE" in self.capabilities:
            rest += b" (CHANGEDSINCE %d)" % changed_since
        self.wire.expect(FETCH)
        tag = self._begin(b"UID FETCH", rest)
        out: list[FlagsOf] = []
        for response in self._answers(tag):
            match = UNTAGGED.match(response.line)
            if match and match[2].upper() == b"FETCH":
                found = fetched.fetched(response)
                if found.uid and found.flags and lo <= found.uid <= hi:
                    out.append(found.flags)
            else:
                self._event(response)
        return out

    def body(self, uid: int) -> bytes:
        """See `ImapBackend`."""
        found: list[bytes] = []
        self.bodies([uid], lambda _, raw: found.append(raw))
        if not found:
            raise Refused("the message is no longer there", code="NONEXISTENT")
        return found[-1]

    def bodies(self, uids: Sequence[int], sink: Callable[[int, bytes], None]) -> None:
        """See `ImapBackend`."""
        for text, asked in wire.uid_sets(uids):
            self.wire.expect(FETCH)
            tag = self._begin(b"UID FETCH", text + b" (UID BODY.PEEK[])")
            for response in self._answers(tag, literal_limit=wire.MESSAGE_LIMIT):
                found = fetched.fetched(response) if b"BODY[" in response.line else None
                uid = found.uid if found is not None else 0
                if not uid and len(asked) == 1:
                    uid = asked[0]  # some servers leave it out
                if found is not None and found.body is not None and uid in asked:
                    sink(uid, found.body)
                else:
                    self._event(response)
