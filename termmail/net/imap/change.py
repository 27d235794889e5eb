"""Changing messages of the selected folder, and adding some: STORE, MOVE, COPY, EXPUNGE, APPEND."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from termmail.model.errors import ProtocolError, Refused
from termmail.model.message import WIRE_FLAGS, Flag
from termmail.net.imap import fetched, wire
from termmail.net.imap.conversation import CODE, COMMAND, EVENTS_LIMIT, mailbox
from termmail.net.imap.fetch import Fetch
from termmail.net.stream import SLOWEST
from termmail.text import safe_line


class Change(Fetch):
    """What a session can change; it looks before it removes."""

    def store(
        self, uids: Sequence[int], *, add: Flag, remove: Flag, add_keywords: str = "", remove_keywords: str = ""
    ) -> None:
        """See `ImapBackend`."""
        for sign, bits, words in ((b"+", add, add_keywords), (b"-", remove, remove_keywords)):
            names = [WIRE_FLAGS[flag] for flag in Flag if flag & bits] + words.split()
            if not names:
                continue
            for name in names:
                if re.search(r'[\x00-\x20\x7f(){%*"\]]', name) or not name.isascii():
                    raise Refused(f"{safe_line(name)!r} is no flag", code="CANNOT")
            flags = " ".join(names).encode("ascii")
            for text, _ in wire.uid_sets(uids):
                self._run(b"UID STORE", text + b" " + sign + b"FLAGS.SILENT (" + flags + b")")

    def move(self, uids: Sequence[int], dest: bytes) -> dict[int, int]:
        """See `ImapBackend`."""
        return self._transfer(b"UID MOVE", uids, dest)

    def copy(self, uids: Sequence[int], dest: bytes) -> dict[int, int]:
        """See `ImapBackend`."""
        return self._transfer(b"UID COPY", uids, dest)

    def _transfer(self, name: bytes, uids: Sequence[int], dest: bytes) -> dict[int, int]:
        """UID MOVE or UID COPY; COPYUID may come untagged (RFC 6851 §4.3) or with the OK.

        In one command where that is possible: a COPY that is refused has copied nothing (RFC 3501 §6.4.7).
        """
        mapping: dict[int, int] = {}
        for text, part in wire.uid_sets(uids, wire.WHOLE_SET_LIMIT):
            before = self._expunges
            said = self._run(name, text + b" " + mailbox(dest))
            if name == b"UID MOVE":
                self._disown(part, before)
            for line in [*(response.line[5:] for response in said), self._tagged]:
                match = CODE.match(line)
                if match and match[1].upper() == b"COPYUID":
                    mapping |= _copied((match[2] or b"").split())
        return mapping

    def expunge(self, uids: Sequence[int]) -> None:
        """See `ImapBackend`."""
        if "UIDPLUS" in self.capabilities:
            for text, part in wire.uid_sets(uids):
                before = self._expunges
                self._run(b"UID EXPUNGE", text)
                self._disown(part, before)
            return
        others = set(self.search_deleted()) - set(uids)
        if others:
            raise Refused(
                f"the server can only remove these together with {len(others)} that another program has marked",
                code="CANNOT",
            )
        before = self._expunges
        self._run(b"EXPUNGE")
        self._disown(uids, before)

    def _disown(self, uids: Sequence[int], before: int) -> None:
        """What the command just given has removed is no news."""
        self._expunges = max(before, self._expunges - len(uids))
        ours = set(uids)
        kept: list[tuple[int, int]] = []
        for low, high in self._vanished:
            if high - low < len(ours) + EVENTS_LIMIT and ours.intersection(range(low, high + 1)):
                left = wire.uid_set(set(range(low, high + 1)) - ours)
                kept += wire.ranges(left) if left else ()
            else:
                kept.append((low, high))
        self._vanished = kept

    def append(self, name: bytes, message: bytes, flags: Flag, when: float) -> int:
        """See `ImapBackend`."""
        names = b" ".join(WIRE_FLAGS[flag].encode() for flag in Flag if flag & flags)
        stamp = fetched.date_time(when)
        plus = "LITERAL+" in self.capabilities or ("LITERAL-" in self.capabilities and len(message) <= 4096)
        rest = mailbox(name) + b" (" + names + b') "' + stamp + b'" {%d%s}' % (len(message), b"+" if plus else b"")
        self.wire.expect(COMMAND + len(message) / SLOWEST)
        tag = self._begin(b"APPEND", rest)
        if not plus:
            self._continuation(tag)
        self.wire.send(message + b"\r\n")
        for response in self._answers(tag):
            self._event(response)
        match = CODE.match(self._tagged)
        words = (match[2] or b"").split() if match and match[1].upper() == b"APPENDUID" else []
        return wire.number(words[1]) if len(words) == 2 else 0


def _copied(words: Sequence[bytes]) -> dict[int, int]:
    """Old to new UIDs of a COPYUID code (RFC 4315 §3); {} if it is malformed: the copy was made all the same."""
    with contextlib.suppress(ProtocolError):
        if len(words) == 3:
            old, new = wire.expand(words[1]), wire.expand(words[2])
            if len(old) == len(new):
                return dict(zip(old, new, strict=True))
    return {}
