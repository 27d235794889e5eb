"""The conversation with an IMAP server: commands, their answers, and what is said unasked.

The rooms of `ImapSession` (login, folders, fetch, change, waiting) stand on this one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from termmail.model.account import Server
from termmail.model.errors import ConnectionLost, ProtocolError, Refused, Throttled
from termmail.net.backend import Events, FlagsOf, FolderStatus, Selected, Traffic
from termmail.net.imap import fetched, wire
from termmail.net.imap.quirks import CROWDED_WORDS, PASSING_WORDS
from termmail.text import SafeText, safe_line

log = logging.getLogger("termmail.imap")

COMMAND = 60.0  # seconds
RESPONSES = 2_000_000  # untagged responses to one command
ANSWER_LIMIT = 64 << 20  # bytes kept of one answer
EVENTS_LIMIT = 10_000  # flags and ranges kept between two looks; beyond it the folder is looked at as a whole
TAGGED = re.compile(rb"([A-Z]\d+) (OK|NO|BAD|PREAUTH|BYE)\b ?(.*)", re.I | re.S)
UNTAGGED = re.compile(rb"\* (?:(\d{1,10}) )?([A-Za-z0-9.-]+) ?")
CODE = re.compile(rb"\[([A-Za-z0-9.-]+)(?: ([^\]]*))?\] ?")
_BACKOFF = re.compile(r"backoff time:? (\d{1,9}) milli", re.I)  # imapsync#198
_PASSING = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "LIMIT", "EXPUNGEISSUED", "THROTTLED"})


def mailbox(name: bytes) -> bytes:
    """A folder's name as an argument."""
    return wire.argument(name)


Command = tuple[bytes, bytes]  # name, arguments
Answer = list[wire.Response] | Refused


def backoff(words: str) -> float:
    """Seconds until the server wants to see us again, as Exchange says it; 0 if it does not."""
    match = _BACKOFF.search(words)
    return min(86_400.0, int(match[1]) / 1000) if match else 0.0


def crowded(words: str) -> bool:
    """The server allows no more connections at once."""
    low = words.lower()
    return any(phrase in low for phrase in CROWDED_WORDS)


class Conversation:
    """Commands out, answers in; what is unasked is kept until `drain`."""

    def __init__(self, connection: wire.Wire, server: Server) -> None:
        self.wire = connection
        self.server = server
        self.capabilities: frozenset[str] = frozenset()
        self.enabled: frozenset[str] = frozenset()  # by ENABLE (RFC 5161)
        self.pipelining = False  # commands may be sent before the one before them is answered
        self.flying = False  # such commands are under way: who breaks off now may not bear it
        self.qresync = False  # SELECT may be asked what has changed
        self._owed: list[Command] = []  # to be sent along with the next command
        self.selected: bytes = b""
        self._selection: Selected | None = None
        self._count = 0
        self._exists: int | None = None  # news: a number that was not told before
        self._known = -1  # messages in the selected folder, as last told
        self._expunges = 0
        self._vanished: list[tuple[int, int]] = []
        self._flags: list[FlagsOf] = []
        self._alert = SafeText("")
        self._statuses: list[tuple[bytes, FolderStatus]] = []
        self._listed = self._overflow = False
        self._parted: list[tuple[bytes, Events]] = []
        self._tagged = b""  # what stood behind OK, NO or BAD

    @property
    def traffic(self) -> Traffic:
        return self.wire.traffic

    def _begin(self, name: bytes, rest: bytes = b"", *, shown: str = "") -> bytes:
        """Send a command; its tag.  `shown`: what a trace may say of it."""
        if self._owed:
            self._flight(())
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

    def _bye(self, line: bytes) -> ConnectionLost | Throttled:
        words = safe_line(CODE.sub(b"", line[5:].strip()).decode("utf-8", "replace"), 200)
        self.wire.dead = True
        if crowded(words):
            return Throttled(f"the server said good-bye: {words}", crowded=True)
        return ConnectionLost(f"the server said good-bye: {words}")

    @staticmethod
    def _refusal(kind: bytes, text: bytes) -> Refused:
        match = CODE.match(text)
        code = match[1].decode("ascii").upper() if match else ""
        words = safe_line((text[match.end() :] if match else text).decode("utf-8", "replace"), 300)
        low = words.lower()
        passing = code in _PASSING or any(phrase in low for phrase in PASSING_WORDS)
        return Refused(
            words or f"the server said {kind.decode().upper()}", code=code, temporary=passing, seconds=backoff(words)
        )

    def _run(self, name: bytes, rest: bytes = b"", *, seconds: float = COMMAND, shown: str = "") -> list[wire.Response]:
        """A command and the untagged responses that are not events."""
        if self._owed and b"\r\n" not in rest:
            (answer,) = self._flight([(name, rest)], seconds=seconds)
            if isinstance(answer, Refused):
                raise answer
            return answer
        self.wire.expect(seconds)
        return self._collect(self._begin(name, rest, shown=shown))

    def _flight(self, commands: Sequence[Command], *, seconds: float = COMMAND) -> list[Answer]:
        """Several commands, sent together where pipelining is allowed, each with its answer or refusal.

        What is owed goes first; its answers are dropped.  Literals must not be among the arguments.
        """
        owed, self._owed = self._owed, []
        every = [*owed, *commands]
        if not self.pipelining or len(every) < 2:
            answers = [self._tried(name, rest, seconds) for name, rest in every]
            return answers[len(owed) :]
        self.wire.expect(seconds)
        tags, lines = [], []
        for name, rest in every:
            self._count += 1
            tags.append(b"T%d" % self._count)
            lines += wire.flights(tags[-1] + b" " + name + (b" " + rest if rest else b""), plus=False)
            self.traffic.commands = [*self.traffic.commands[-199:], name.decode("ascii")]
        self.traffic.round_trips += 1
        self.flying = True
        self.wire.send(b"".join(lines))
        answers = []
        for tag in tags:
            try:
                answers.append(self._collect(tag))
            except Refused as error:
                answers.append(error)
        self.flying = False
        return answers[len(owed) :]

    def _tried(self, name: bytes, rest: bytes, seconds: float) -> Answer:
        try:
            return self._run(name, rest, seconds=seconds)
        except Refused as error:
            return error

    def _collect(self, tag: bytes) -> list[wire.Response]:
        """The untagged responses to a command that are not events."""
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
            self._expunges += 1
            self._known -= 1
        elif kind == b"VANISHED":
            self._gone(response.line[match.end() :])
        elif kind == b"FETCH" and number:
            found = fetched.fetched(response)
            if found.uid and found.flags:
                self._flags.append(found.flags)
                self._fold()
            elif not found.uid:
                self._expunges += 1  # flags of we know not which: look again
        elif kind == b"CAPABILITY":
            self.capabilities = frozenset(response.line.decode("ascii", "replace").upper().split()[2:])
        elif kind in (b"OK", b"NO", b"BAD", b"PREAUTH"):
            code = CODE.match(response.line[match.end() :])
            if code and code[1].upper() == b"CLOSED":  # what was said before was of the folder that is left
                self._forget()
                self._known = -1
            elif code and code[1].upper() == b"NOTIFICATIONOVERFLOW":
                self._overflow = True
            elif code and code[1].upper() == b"ALERT":
                self._alert = safe_line(response.line[match.end() + code.end() :].decode("utf-8", "replace"), 300)
            return kind != b"OK" or not code
        elif kind == b"ENABLED":
            self.enabled |= frozenset(response.line.decode("ascii", "replace").upper().split()[2:])
        else:
            return kind in (b"RECENT", b"FLAGS")
        return True

    def _fold(self) -> None:
        """Too many events: only that something happened is kept."""
        if len(self._flags) + len(self._vanished) > EVENTS_LIMIT:
            self._flags, self._vanished, self._expunges = [], [], 1

    def _gone(self, text: bytes) -> None:
        """VANISHED: UIDs that are gone now, or (EARLIER) were gone before (RFC 7162 §3.2.10)."""
        earlier = b"(EARLIER)" in text.upper()
        text = text.rpartition(b")")[2].strip()
        if len(text) > 10 * EVENTS_LIMIT:
            self._expunges += 1
            return
        gone = wire.ranges(text)
        self._vanished += gone
        if not earlier:
            self._known -= sum(high - low + 1 for low, high in gone)
        self._fold()

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
        self._expunges, self._vanished, self._flags = 0, [], []
        self._exists = None

    def _part(self) -> None:
        """The selected folder is left: what was said of it is kept until `news`."""
        name, self.selected = self.selected, b""
        if name and (found := self.drain()):
            self._parted = [*self._parted[-99:], (name, found)]
        self._forget()
        self._selection, self._known = None, -1

    def news(self) -> list[tuple[bytes, Events]]:
        """Everything unasked since the last look, by folder; no round trip."""
        found, self._parted = self._parted, []
        if self.selected and (latest := self.drain()):
            found.append((self.selected, latest))
        return found

    def count(self, name: bytes) -> int:
        """Messages in the folder as the server last told; -1 if it is not selected, or nobody can know."""
        return self._known if name == self.selected else -1

    def drain(self) -> Events:
        """See `ImapBackend`."""
        found = Events(
            self._exists, self._expunges > 0, tuple(self._vanished), tuple(self._flags), tuple(self._statuses), self._listed,
            self._overflow, self._alert,
        )  # fmt: skip
        if self._selection and self._exists is not None:
            self._selection = replace(self._selection, exists=self._exists, changes=None)
        self._forget()
        self._alert = SafeText("")
        self._statuses, self._listed, self._overflow = [], False, False
        return found

    def _something(self) -> bool:
        return bool(
            self._exists is not None or self._expunges or self._vanished or self._flags or self._alert
            or self._statuses or self._listed or self._overflow
        )  # fmt: skip
