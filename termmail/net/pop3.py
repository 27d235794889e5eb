"""One POP3 session (RFC 1939, CAPA of RFC 2449, STLS of RFC 2595, AUTH of RFC 5034), from greeting to QUIT.

Calls block and belong to one thread at a time; only `abort` may be called from others.  Every call ends by its
deadline: it returns, raises Refused (the session lives) or another NetError (it is closed).
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from termmail.model.account import Auth, Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, ProtocolError, Refused, TlsError
from termmail.net import tls
from termmail.net.reach import reach, upgraded
from termmail.net.stream import Stream
from termmail.text import safe_line

log = logging.getLogger("termmail.pop3")

LOGIN, COMMAND, LISTING, MESSAGE = 30.0, 60.0, 120.0, 60.0  # seconds; longer while bytes flow (see stream.py)
MESSAGE_LIMIT, HEADER_LIMIT = 128 << 20, 8 << 20
LIST_LIMIT = 64 << 20  # bytes of a listing
MESSAGES = 1_000_000
WINDOW = 8  # commands on their way at once, where the server has PIPELINING
_CODE = re.compile(rb"\[([A-Za-z0-9/-]{1,40})(?: (\d{1,9}))?\] ?")
_PASSING = frozenset({"IN-USE", "LOGIN-DELAY", "SYS/TEMP"})  # RFC 2449 §8, RFC 3206
_BUSY = re.compile(r"\b(locked?|in use|busy|try (again )?later|temporar)", re.I)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the maildrop: its number in this session, its size, its unique id ("": the server gives none)."""

    number: int
    size: int
    uidl: str


def connect(server: Server, secret: str, *, account: str = "") -> Pop3Session:
    """Connect, protect, log in.

    Raises Unreachable, TlsError, AuthRefused, ConnectionLost, ProtocolError; Refused if the maildrop is not to be had now.
    """
    try:
        session = Pop3Session(Stream(reach(server)), server)
        try:
            session.begin(secret)
        except BaseException:
            session.stream.close()
            raise
    except NetError as error:
        error.account = error.account or account
        raise
    return session


class Pop3Session:
    """See the module."""

    def __init__(self, stream: Stream, server: Server) -> None:
        self.stream = stream
        self.server = server
        self.capabilities: dict[str, str] = {}  # name: what stands behind it
        self.login_delay = 0  # seconds between two sessions that the server wants

    # -- the conversation -----------------------------------------------------------

    def _send(self, *commands: bytes) -> None:
        for command in commands:
            if re.search(rb"[\x00-\x1f\x7f]", command):
                raise Refused("a command with control characters cannot be sent to the server", code="CANNOT")
        self.stream.send(b"".join(command + b"\r\n" for command in commands))

    def _answer(self) -> bytes:
        """What stands behind +OK.  Raises Refused for -ERR."""
        return self._judged(self.stream.line())

    def _judged(self, line: bytes) -> bytes:
        if line[:3].upper() == b"+OK":
            return line[3:].strip()
        if line[:4].upper() == b"-ERR":
            raise self._refusal(line[4:].strip())
        self.stream.close()
        raise ProtocolError(f"the server said something that is no POP3: {safe_line(line.decode('latin-1'), 80)}")

    @staticmethod
    def _refusal(text: bytes) -> Refused:
        match = _CODE.match(text)
        code = match[1].decode("ascii").upper() if match else ""
        words = safe_line((text[match.end() :] if match else text).decode("utf-8", "replace"), 300)
        passing = code in _PASSING or (not code and _BUSY.search(words) is not None)
        return Refused(words or "the server said no", code=code, temporary=passing)

    def _run(self, command: bytes, seconds: float = COMMAND) -> bytes:
        self.stream.expect(seconds)
        self._send(command)
        return self._answer()

    def _lines(self, limit: int) -> Iterator[bytes]:
        """The lines of a multi-line answer, dots taken back (RFC 1939 §3)."""
        size = 0
        while (line := self.stream.line()) != b".":
            size += len(line) + 2
            if size > limit:
                self.stream.close()
                raise ProtocolError("the server sends more than a message may have")
            yield line[1:] if line.startswith(b".") else line

    # -- the beginning -----------------------------------------------------------------

    def begin(self, secret: str) -> None:
        """Greeting, STLS, log-in."""
        self.stream.expect(LOGIN)
        try:
            self._answer()
        except Refused as error:
            raise ConnectionLost(f"the server takes nobody now: {error.words}") from error
        self._ask_capabilities()
        if self.server.security == Security.STARTTLS:
            self._stls()
            self._ask_capabilities()
        elif self.server.security == Security.NONE:
            tls.demand_loopback(self.server, self.stream.peer())
        self._login(secret)
        self._ask_capabilities()  # it may have more after log-in (RFC 2449 §5)

    def _ask_capabilities(self) -> None:
        self.capabilities = {}
        with contextlib.suppress(Refused):
            self._run(b"CAPA", LOGIN)
            for line in self._lines(1 << 16):
                name, _, rest = line.decode("ascii", "replace").upper().partition(" ")
                self.capabilities[name] = rest
        if (delay := self.capabilities.get("LOGIN-DELAY", "").split()[:1]) and delay[0].isdigit():
            self.login_delay = min(int(delay[0]), 86_400)

    def _stls(self) -> None:
        """STLS or nothing; what the server said before it does not count (RFC 2595 §4)."""
        if self.stream.pending():
            raise TlsError("the server spoke before TLS began; somebody may be listening in")
        try:
            self._run(b"STLS", LOGIN)
        except Refused as error:
            host = safe_line(self.server.host)
            raise TlsError(f"{host} does not offer STLS", hint='security = "tls" and port 995 may work') from error
        if self.stream.pending():
            raise TlsError("the server mixed other words into the beginning of TLS; somebody may be listening in")
        self.stream.sock = upgraded(self.stream.sock, self.server)

    def _login(self, secret: str) -> None:
        """AUTH PLAIN, else USER and PASS.  Raises AuthRefused, Refused if it may be tried again later."""
        user = self.server.user
        if self.server.auth == Auth.OAUTH2:
            raise AuthRefused("signing in by OAuth2 is not there yet", hint="use an app password")
        if re.search(r"[\x00-\x1f\x7f]", user + secret):
            raise AuthRefused("user or password hold control characters")
        try:
            if "PLAIN" in self.capabilities.get("SASL", "").split():
                self._plain(user, secret)
            else:
                self._run(b"USER " + user.encode(), LOGIN)
                self._run(b"PASS " + secret.encode(), LOGIN)
        except Refused as error:
            if error.temporary:
                raise
            raise AuthRefused(
                f"the server refused user and password: {error.words}",
                hint="termmail account add to enter the password anew",
            ) from error

    def _plain(self, user: str, secret: str) -> None:
        """AUTH PLAIN, the answer with it where the line is not too long (RFC 5034 §4)."""
        answer = base64.b64encode(f"\0{user}\0{secret}".encode())
        self.stream.expect(LOGIN)
        self._send(b"AUTH PLAIN " + answer if len(answer) < 240 else b"AUTH PLAIN")
        line = self.stream.line()
        if line.rstrip() == b"+" or line.startswith(b"+ "):  # it asks for the answer, given or not
            self._send(answer)
            line = self.stream.line()
        self._judged(line)

    # -- the maildrop --------------------------------------------------------------------

    def listing(self) -> list[Waiting]:
        """All messages, the oldest first; without UIDL their ids are empty."""
        self._run(b"LIST", LISTING)
        sizes: dict[int, int] = {}
        for line in self._lines(LIST_LIMIT):
            words = line.split()
            if len(words) >= 2 and words[0].isdigit() and words[1].isdigit() and len(sizes) < MESSAGES:
                sizes[int(words[0][:10])] = int(words[1][:15])
        uidls: dict[int, str] = {}
        with contextlib.suppress(Refused):
            self._run(b"UIDL", LISTING)
            for line in self._lines(LIST_LIMIT):
                number, _, uidl = line.strip().partition(b" ")
                if number.isdigit() and uidl:
                    uidls[int(number[:10])] = uidl.strip()[:200].decode("latin-1")
        return [Waiting(number, size, uidls.get(number, "")) for number, size in sorted(sizes.items())]

    def headers(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """The header of each of these that the server gives (TOP)."""
        return self._several(b"TOP %d 0", numbers, HEADER_LIMIT)

    def messages(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Each of these that the server gives, whole (RETR)."""
        return self._several(b"RETR %d", numbers, MESSAGE_LIMIT)

    def _several(self, command: bytes, numbers: Sequence[int], limit: int) -> dict[int, bytes]:
        """Commands in a window, their answers in order."""
        window = WINDOW if "PIPELINING" in self.capabilities else 1
        found: dict[int, bytes] = {}
        sent = 0
        for place, number in enumerate(numbers):
            if sent <= place:
                batch = numbers[sent : sent + window]
                self._send(*(command % one for one in batch))
                sent += len(batch)
            self.stream.expect(MESSAGE)
            try:
                self._answer()
            except Refused as error:
                log.info("a message cannot be had now: %s", error.code)
                continue
            found[number] = b"".join(line + b"\r\n" for line in self._lines(limit))
        return found

    def delete(self, number: int) -> None:
        """Mark for deletion; only the answer to QUIT makes it true (RFC 1939 §6)."""
        self._run(b"DELE %d" % number)

    def quit(self) -> None:
        """Say good-bye; when this returns, what was marked is deleted.  Raises Refused or ConnectionLost if it may not be."""
        try:
            self._run(b"QUIT", MESSAGE)
        finally:
            self.stream.close()

    def abort(self) -> None:
        """Break the connection at once: nothing that was marked is deleted.  From any thread."""
        self.stream.abort()
