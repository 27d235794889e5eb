"""From the greeting to a session that is logged in: STARTTLS, SASL, ID, COMPRESS, ENABLE."""

from __future__ import annotations

import base64
import re

from termmail import __version__
from termmail.model.account import Auth, Security
from termmail.model.errors import AuthRefused, ProtocolError, Refused, Throttled, TlsError
from termmail.net import tls
from termmail.net.backend import Manners
from termmail.net.imap import wire
from termmail.net.imap.conversation import CODE, TAGGED, Conversation, crowded
from termmail.net.imap.quirks import Quirk, quirks_of
from termmail.net.reach import upgraded
from termmail.text import safe_line

LOGIN = 30.0  # seconds


class Login(Conversation):
    """How a session begins."""

    def begin(self, secret: str, manners: Manners) -> None:
        """Greeting, STARTTLS, log-in, ID, compression, ENABLE; the last go with the next command where they may."""
        self.wire.expect(LOGIN)
        greeting = self._greeting()
        if self.server.security == Security.STARTTLS:
            if greeting == b"PREAUTH":
                raise TlsError("the server skips the log-in before TLS could begin; somebody may be listening in")
            self._starttls()
        elif self.server.security == Security.NONE:
            tls.demand_loopback(self.server, self.wire.peer())
        if not self.capabilities:
            self._run(b"CAPABILITY", seconds=LOGIN)
        quirks = quirks_of(self.server.host)
        if greeting != b"PREAUTH":
            before, self.capabilities = self.capabilities, frozenset()
            self._login(secret, before)
            if not self.capabilities or Quirk.ASK_CAPABILITY in quirks:
                self._run(b"CAPABILITY", seconds=LOGIN)
        self.pipelining = manners.pipelining and Quirk.NO_PIPELINING not in quirks
        if "ID" in self.capabilities:
            self._owed.append((b"ID", b'("name" "termmail" "version" "%s")' % __version__.encode()))
        if "COMPRESS=DEFLATE" in self.capabilities and self._to_be_compressed():
            (answer,) = self._flight([(b"COMPRESS", b"DEFLATE")])
            if not isinstance(answer, Refused):
                self.wire.compress()
        offered = {"ENABLE", "CONDSTORE"} <= self.capabilities
        self.qresync = offered and "QRESYNC" in self.capabilities and manners.qresync and Quirk.NO_QRESYNC not in quirks
        if offered:
            self._owed.append((b"ENABLE", b"QRESYNC" if self.qresync else b"CONDSTORE"))
        if not self.pipelining:
            self._flight(())
            self.qresync = self.qresync and "QRESYNC" in self.enabled

    def _to_be_compressed(self) -> bool:
        if self.server.compress == "auto":
            return not tls.is_loopback(self.wire.peer())
        return self.server.compress == "yes"

    def _greeting(self) -> bytes:
        """OK or PREAUTH; lines that are neither are passed over (Courier puts an ALERT first)."""
        for _ in range(10):
            line = self.wire.response(1 << 16).line
            match = re.match(rb"\* (OK|PREAUTH|BYE)\b ?(.*)", line, re.I | re.S)
            if not match:
                raise ProtocolError(f"this is no IMAP server: it said {safe_line(line.decode('latin-1'), 60)!r}")
            if match[1].upper() == b"BYE":
                raise self._bye(line)
            code = CODE.match(match[2])
            if code and code[1].upper() == b"ALERT" and self.wire.pending():
                continue
            if code and code[1].upper() == b"CAPABILITY":
                self.capabilities = frozenset((code[2] or b"").decode("ascii", "replace").upper().split())
            return match[1].upper()
        raise ProtocolError("the server does not come to the point")

    def _starttls(self) -> None:
        """STARTTLS or nothing: no untagged word before it counts, none may stand beside it (RFC 3501 §6.2.1)."""
        if self.wire.pending():
            raise TlsError("the server spoke before TLS began; somebody may be listening in")
        tag = self._begin(b"STARTTLS")
        line = self.wire.response(1 << 10).line
        match = TAGGED.match(line)
        if match and match[1] == tag and match[2].upper() in (b"NO", b"BAD"):
            raise TlsError(
                f"{safe_line(self.server.host)} does not offer STARTTLS", hint='security = "tls" and port 993 may work'
            )
        if not match or match[1] != tag or self.wire.pending():
            raise TlsError("the server mixed other words into the beginning of TLS; somebody may be listening in")
        self.wire.sock = upgraded(self.wire.sock, self.server)
        self.capabilities = frozenset()

    def _login(self, secret: str, offered: frozenset[str]) -> None:
        """AUTHENTICATE PLAIN or LOGIN.  Raises AuthRefused."""
        user = self.server.user
        if self.server.auth == Auth.OAUTH2:
            raise AuthRefused("signing in by OAuth2 is not there yet", hint="use an app password")
        for value in (user, secret):
            if re.search(r"[\x00-\x1f\x7f]", value):
                raise AuthRefused("user or password hold control characters")
        try:
            if "AUTH=PLAIN" in offered:
                self._plain(user, secret, initial="SASL-IR" in offered)
            elif "LOGINDISABLED" in offered:
                raise AuthRefused(
                    "the server offers no way to log in that termmail knows",
                    hint=safe_line(" ".join(sorted(word for word in offered if word.startswith("AUTH="))), 100),
                )
            else:
                rest = wire.argument(user) + b" " + wire.argument(secret)
                self._run(b"LOGIN", rest, seconds=LOGIN, shown="LOGIN …")
        except Refused as error:
            if crowded(error.words) or error.code in ("LIMIT", "INUSE"):
                raise Throttled(f"the server allows no more connections: {error.words}", crowded=True) from error
            if error.temporary:
                words = f"the server cannot log anybody in now: {error.words}"
                raise Throttled(words, seconds=error.seconds) from error
            raise AuthRefused(
                f"the server refused user and password: {error.words}",
                hint="termmail account add to enter the password anew",
            ) from error
        match = CODE.match(self._tagged)
        if match and match[1].upper() == b"CAPABILITY":
            self.capabilities = frozenset((match[2] or b"").decode("ascii", "replace").upper().split())

    def _plain(self, user: str, secret: str, *, initial: bool) -> None:
        """AUTHENTICATE PLAIN (RFC 4616), the answer at once with SASL-IR."""
        answer = base64.b64encode(f"\0{user}\0{secret}".encode())
        self.wire.expect(LOGIN)
        tag = self._begin(b"AUTHENTICATE", b"PLAIN" + (b" " + answer if initial else b""), shown="AUTHENTICATE PLAIN …")
        if not initial:
            self._continuation(tag)
            self.wire.send(answer + b"\r\n")
        for response in self._answers(tag):
            self._event(response)
