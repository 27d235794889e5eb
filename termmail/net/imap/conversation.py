"""The conversation with an IMAP server: commands, their answers, and what is said unasked.

The rooms of `ImapSession` (login, folders, fetch, change, waiting) stand on this one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from termmail.model.account import Server
from termmail.model.errors import ConnectionLost, ProtocolError, Refused
from termmail.net.backend import Events, FlagsOf, Selected, Traffic
from termmail.net.imap import fetched, wire
from termmail.net.imap.quirks import PASSING_WORDS
from termmail.text import SafeText, safe_line

log = logging.getLogger("termmail.imap")

COMMAND = 60.0  # seconds
RESPONSES = 2_000_000  # untagged responses to one command
ANSWER_LIMIT = 64 << 20  # bytes kept of one answer
EVENTS_LIMIT = 10_000  # flags and ranges kept between two looks; beyond it the folder is looked at as a whole
TAGGED = re.compile(rb"([A-Z]\d+) (OK|NO|BAD|PREAUTH|BYE)\b ?(.*)", re.I | re.S)
UNTAGGED = re.compile(rb"\* (?:(\d{1,10}) )?([A-Za-z0-9.-]+) ?")
CODE = re.compile(rb"\[([A-Za-z0-9.-]+)(?: ([^\]]*))?\] ?")
_PASSING = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "LIMIT", "EXPUNGEISSUED", "THROTTLED"})


def mailbox(name: bytes) -> bytes:
    """A folder's name as an argument."""
    return wire.argument(name)


class Conversation:
    """Commands out, answers in; what is unasked is kept until `drain`."""

    def __init__(self, connection: wire.Wire, server: Server) -> None:
        self.wire = connection
        self.server = server
        self.capabilities: frozenset[str] = frozenset()
        self.selected: bytes = b""
        self._selection: Selected | None = None
        self._count = 0
        self._exists: int | None = None  # news: a number that was not told before
        self._known = -1  # messages in the selected folder, as last told
        self._expunged = False
        self._vanished: list[tuple[int, int]] = []
        self._flags: list[FlagsOf] = []
        self._alert = SafeText("")
        self._tagged = b""  # what stood behind OK, NO or BAD

    @property
    def traffic(self) -> Traffic:
        return self.wire.traffic

    def _begin(self, name: bytes, rest: bytes = b"", *, shown: str = "") -> bytes:
        """Send a command; its tag.  `shown`: what a trace may say of it."""
        self._count += 1
        tag = b"T%d" % self._count
        if wire.TRACE:
            log.debug("> %s", shown or safe_line((name + b" " + rest).decode("utf-8", "replace"), 300))
        self.traffic.round_trips += 1
        self.traffic.commands = [*self.traffic.commands[-199:], name.decode("ascii")]
        plus = bool({"LITERAL+", "LITERAL-"} & self.capabilities)
        *first, last = wire.flights(tag + b" " + name + (b" " + rest if rest else b""), plus=plus)
        for piece in first:
            self.wire.send(piece)
            self._continuation(tag)
        self.wire.send(last)
        return tag

    def _answers(self, tag: bytes, *, literal_limit: int = wire.LITERAL_LIMIT) -> Iterator[wire.Response]:
        """Untagged responses until the tagged one.  Raises Refused for NO and BAD, and NetError."""
        count = 0
        self._tagged = b""
        while True:
            response = self.wire.response(literal_limit)
            line = response.line
            if line.startswith(b"*"):
                count += 1
                if count > RESPONSES:
                    raise ProtocolError("the server does not come to an end")
                if line[2:5].upper() == b"BYE":
                    raise self._bye(line)
                yield response
            elif line.startswith(tag):
                match = TAGGED.match(line + b" ")
                if not match or match[1] != tag:
                    raise ProtocolError("the server answered what was not asked")
                self._tagged = match[3].strip()
                if match[2].upper() != b"OK":
                    raise self._refusal(match[2], self._tagged)
                return
            elif line.startswith(b"+"):
                continue
            elif line:
                raise ProtocolError(
                    f"the server said something that is no IMAP: {safe_line(line.decode('latin-1'), 80)}"
                )

    def _bye(self, line: bytes) -> ConnectionLost:
        words = CODE.sub(b"", line[5:].strip())
        self.wire.dead = True
        return ConnectionLost(f"the server said good-bye: {safe_line(words.decode('utf-8', 'replace'), 200)}")

    @staticmethod
    def _refusal(kind: bytes, text: bytes) -> Refused:
        match = CODE.match(text)
        code = match[1].decode("ascii").upper() if match else ""
        words = safe_line((text[match.end() :] if match else text).decode("utf-8", "replace"), 300)
        low = words.lower()
        passing = code in _PASSING or any(phrase in low for phrase in PASSING_WORDS)
        return Refused(words or f"the server said {kind.decode().upper()}", code=code, temporary=passing)

    def _run(self, name: bytes, rest: bytes = b"", *, seconds: float = COMMAND, shown: str = "") -> list[wire.Response]:
        """A command and the untagged responses that are not events."""
        self.wire.expect(seconds)
        tag = self._begin(name, rest, shown=shown)
        kept: list[wire.Response] = []
        size = 0
        for response in self._answers(tag):
            if not self._event(response):
                kept.append(response)
                size += 100 + sum(map(len, response.parts))
                if size > ANSWER_LIMIT:
                    raise ProtocolError("the server does not come to an end")
        return kept

    def _event(self, response: wire.Response) -> bool:
        """Keep what the server says unasked; False if it is an answer."""
        match = UNTAGGED.match(response.line)
        if not match:
            return True
        number, kind = match[1], match[2].upper()
        if kind == b"EXISTS" and number:
            if int(number) != self._known:  # some servers say it again and again
                self._exists = self._known = int(number)
        elif kind == b"EXPUNGE" and number:
            self._expunged = True
            self._known -= 1
        elif kind == b"VANISHED":
            text = response.line[match.end() :].replace(b"(EARLIER)", b"").strip()
            if len(text) > 10 * EVENTS_LIMIT:
                self._expunged = True
            else:
                self._vanished += wire.ranges(text)
            self._known = -1
            self._fold()
        elif kind == b"FETCH" and number:
            found = fetched.fetched(response)
            if found.uid and found.flags:
                self._flags.append(found.flags)
                self._fold()
            elif not found.uid:
                self._expunged = True  # flags of we know not which: look again
        elif kind == b"CAPABILITY":
            self.capabilities = frozenset(response.line.decode("ascii", "replace").upper().split()[2:])
        elif kind in (b"OK", b"NO", b"BAD", b"PREAUTH"):
            code = CODE.match(response.line[match.end() :])
            if code and code[1].upper() == b"ALERT":
                self._alert = safe_line(response.line[match.end() + code.end() :].decode("utf-8", "replace"), 300)
            return kind != b"OK" or not code
        elif kind in (b"RECENT", b"FLAGS", b"ID", b"NAMESPACE", b"ENABLED"):
            return kind in (b"RECENT", b"FLAGS")
        else:
            return False
        return True

    def _fold(self) -> None:
        """Too many events: only that something happened is kept."""
        if len(self._flags) + len(self._vanished) > EVENTS_LIMIT:
            self._flags, self._vanished, self._expunged = [], [], True

    def _continuation(self, tag: bytes) -> None:
        """Wait for `+`.  Raises Refused if the server says no instead."""
        while True:
            response = self.wire.response()
            if response.line.startswith(b"+"):
                return
            match = TAGGED.match(response.line)
            if match and match[1] == tag:
                raise self._refusal(match[2], match[3].strip())
            if response.line[:5].upper() == b"* BYE":
                raise self._bye(response.line)
            self._event(response)

    # -- what is said unasked -------------------------------------------------------

    def _forget(self) -> None:
        self._expunged, self._vanished, self._flags = False, [], []
        self._exists = None

    def drain(self) -> Events:
        """See `ImapBackend`."""
        found = Events(self._exists, self._expunged, tuple(self._vanished), tuple(self._flags), (), self._alert)
        if self._selection and self._exists is not None:
            old = self._selection
            self._selection = Selected(
                self._exists, old.uidvalidity, old.uidnext, old.modseq, old.read_only, old.permanent_flags
            )
        self._forget()
        self._alert = SafeText("")
        return found

    def _something(self) -> bool:
        return bool(self._exists is not None or self._expunged or self._vanished or self._flags or self._alert)
