"""One logged-in IMAP connection (RFC 3501 and the extensions the engine uses).

Commands and their answers are ours (why: docs/decisions/0002); names of folders are coded by
IMAPClient.  Everything unasked that comes with any answer is kept as events for the engine.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from imapclient import imap_utf7

from termmail import __version__
from termmail.mime.headers import summarise
from termmail.model.account import Auth, Role, Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, ProtocolError, Refused, TlsError, Unreachable
from termmail.model.message import WIRE_FLAGS, Flag, NewMessage
from termmail.net import tls
from termmail.net.backend import Events, FlagsOf, FolderStatus, RemoteFolder, Selected, Traffic
from termmail.net.dial import dial
from termmail.net.imap import wire
from termmail.net.imap.quirks import NAMES, PASSING_WORDS, ROLE_ATTRIBUTES
from termmail.text import SafeText, safe_line

log = logging.getLogger("termmail.imap")

CONNECT, LOGIN, SELECT, COMMAND, FETCH, DONE = 15.0, 30.0, 60.0, 60.0, 60.0, 15.0  # seconds
FIELDS = b"DATE FROM SENDER REPLY-TO TO CC SUBJECT MESSAGE-ID IN-REPLY-TO REFERENCES"
BATCHES = (20, 50, 200)  # how many headers are handed over at a time, growing
MODSEQ = 2**63 - 1  # the largest there is (RFC 7162 §3.1.1)
RESPONSES = 2_000_000  # untagged responses to one command
ANSWER_LIMIT = 64 << 20  # bytes kept of one answer
EVENTS_LIMIT = 10_000  # flags and ranges kept between two looks; beyond it the folder is looked at as a whole
_TAGGED = re.compile(rb"([A-Z]\d+) (OK|NO|BAD|PREAUTH|BYE)\b ?(.*)", re.I | re.S)
_UNTAGGED = re.compile(rb"\* (?:(\d{1,10}) )?([A-Za-z0-9.-]+) ?")
_CODE = re.compile(rb"\[([A-Za-z0-9.-]+)(?: ([^\]]*))?\] ?")
_LIST = re.compile(rb'\* (?:LIST|LSUB|XLIST) \(([^)]*)\) (NIL|"(?:\\.|[^"\\])*") ("(?:\\.|[^"\\])*"|[^\s]+)', re.I)
_STATUS = re.compile(rb'\* STATUS ("(?:\\.|[^"\\])*"|[^\s]+) \(([^)]*)\)', re.I)
_PASSING = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "LIMIT", "EXPUNGEISSUED", "THROTTLED"})


def encode_name(path: str) -> bytes:
    """A folder's name as the wire has it (modified UTF-7, RFC 3501 §5.1.3)."""
    return bytes(imap_utf7.encode(path))


def decode_name(name: bytes) -> SafeText:
    """A folder's name for people; what is no modified UTF-7 is read as UTF-8 or Latin-1."""
    try:
        return safe_line(str(imap_utf7.decode(name)))
    except (UnicodeError, ValueError):
        pass
    try:
        return safe_line(name.decode("utf-8"))
    except UnicodeError:
        return safe_line(name.decode("latin-1"))


def connect(server: Server, secret: str, *, account: str = "", compress: bool | None = None) -> ImapSession:
    """Connect, protect, log in.

    `compress` None: where it is offered and the server is not on this machine.  Raises Unreachable,
    TlsError, AuthRefused, SecretError's kin never (the secret is given), ConnectionLost, ProtocolError.
    """
    try:
        session = ImapSession(_open(server), server)
        try:
            session.begin(secret, compress=compress)
        except BaseException:
            session.wire.close()
            raise
    except NetError as error:
        error.account = error.account or account
        raise
    return session


def _open(server: Server) -> wire.Wire:
    """TCP, and TLS at once where it is implicit."""
    tls.demand_protection(server)
    where = f"{safe_line(server.host)}:{server.port}"
    try:
        sock = dial(server.host, server.port, CONNECT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if server.security == Security.TLS:
            try:
                sock = tls.context(server).wrap_socket(sock, server_hostname=server.host)
            except BaseException:
                sock.close()
                raise
    except ssl.SSLError as error:
        raise tls.explained(error, server) from error
    except TimeoutError as error:
        raise Unreachable(f"{where} does not answer", hint="check host and port, and the network") from error
    except ConnectionRefusedError as error:
        raise Unreachable(f"{where} refuses connections", hint="check host and port") from error
    except socket.gaierror as error:
        raise Unreachable(
            f"the name {safe_line(server.host)} cannot be resolved", hint="check host, and the network"
        ) from error
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"{where} cannot be reached: {safe_line(str(words), 200)}") from error
    return wire.Wire(sock)


class ImapSession:
    """See `ImapBackend`."""

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

    # -- the conversation -----------------------------------------------------------

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
                match = _TAGGED.match(line + b" ")
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
        words = _CODE.sub(b"", line[5:].strip())
        self.wire.dead = True
        return ConnectionLost(f"the server said good-bye: {safe_line(words.decode('utf-8', 'replace'), 200)}")

    @staticmethod
    def _refusal(kind: bytes, text: bytes) -> Refused:
        match = _CODE.match(text)
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
        match = _UNTAGGED.match(response.line)
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
            found = wire.fetched(response)
            if found.uid and found.flags:
                self._flags.append(found.flags)
                self._fold()
            elif not found.uid:
                self._expunged = True  # flags of we know not which: look again
        elif kind == b"CAPABILITY":
            self.capabilities = frozenset(response.line.decode("ascii", "replace").upper().split()[2:])
        elif kind in (b"OK", b"NO", b"BAD", b"PREAUTH"):
            code = _CODE.match(response.line[match.end() :])
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

    # -- the beginning -----------------------------------------------------------------

    def begin(self, secret: str, *, compress: bool | None) -> None:
        """Greeting, STARTTLS, log-in, ID, compression, ENABLE."""
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
        if greeting != b"PREAUTH":
            before, self.capabilities = self.capabilities, frozenset()
            self._login(secret, before)
            if not self.capabilities:
                self._run(b"CAPABILITY", seconds=LOGIN)
        if "ID" in self.capabilities:
            with contextlib.suppress(Refused):
                self._run(b"ID", b'("name" "termmail" "version" "%s")' % __version__.encode())
        wanted = compress if compress is not None else not tls.is_loopback(self.wire.peer())
        if wanted and "COMPRESS=DEFLATE" in self.capabilities:
            with contextlib.suppress(Refused):
                self._run(b"COMPRESS", b"DEFLATE")
                self.wire.compress()
        if "ENABLE" in self.capabilities and "CONDSTORE" in self.capabilities:
            with contextlib.suppress(Refused):
                self._run(b"ENABLE", b"CONDSTORE")

    def _greeting(self) -> bytes:
        """OK or PREAUTH; lines that are neither are passed over (Courier puts an ALERT first)."""
        for _ in range(10):
            line = self.wire.response(1 << 16).line
            match = re.match(rb"\* (OK|PREAUTH|BYE)\b ?(.*)", line, re.I | re.S)
            if not match:
                raise ProtocolError(f"this is no IMAP server: it said {safe_line(line.decode('latin-1'), 60)!r}")
            if match[1].upper() == b"BYE":
                raise self._bye(line)
            code = _CODE.match(match[2])
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
        match = _TAGGED.match(line)
        if match and match[1] == tag and match[2].upper() in (b"NO", b"BAD"):
            raise TlsError(
                f"{safe_line(self.server.host)} does not offer STARTTLS", hint='security = "tls" and port 993 may work'
            )
        if not match or match[1] != tag or self.wire.pending():
            raise TlsError("the server mixed other words into the beginning of TLS; somebody may be listening in")
        try:
            self.wire.sock.settimeout(CONNECT)
            self.wire.sock = tls.context(self.server).wrap_socket(self.wire.sock, server_hostname=self.server.host)
        except ssl.SSLError as error:
            raise tls.explained(error, self.server) from error
        except OSError as error:
            raise ConnectionLost("the connection broke while TLS began") from error
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
            if error.temporary or error.code == "UNAVAILABLE":
                raise ConnectionLost(f"the server cannot log anybody in now: {error.words}") from error
            raise AuthRefused(
                f"the server refused user and password: {error.words}",
                hint="termmail account add to enter the password anew",
            ) from error
        match = _CODE.match(self._tagged)
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

    def _continuation(self, tag: bytes) -> None:
        """Wait for `+`.  Raises Refused if the server says no instead."""
        while True:
            response = self.wire.response()
            if response.line.startswith(b"+"):
                return
            match = _TAGGED.match(response.line)
            if match and match[1] == tag:
                raise self._refusal(match[2], match[3].strip())
            if response.line[:5].upper() == b"* BYE":
                raise self._bye(response.line)
            self._event(response)

    # -- folders -------------------------------------------------------------------------

    def list_folders(self) -> list[RemoteFolder]:
        """See `ImapBackend`."""
        extended = "LIST-EXTENDED" in self.capabilities or "LIST-STATUS" in self.capabilities
        options: list[bytes] = []
        if extended:
            options.append(b"SUBSCRIBED")
        if extended and "SPECIAL-USE" in self.capabilities:
            options.append(b"SPECIAL-USE")
        if "LIST-STATUS" in self.capabilities:
            options.append(b"STATUS (" + self._status_items() + b")")
        if "LIST-STATUS" in self.capabilities and self.selected:
            self._catch_up()
        if options:
            try:
                return self._folders(self._run(b"LIST", b'"" "*" RETURN (' + b" ".join(options) + b")"))
            except Refused:
                log.info("LIST with RETURN was refused; asking plainly")
        name = b"XLIST" if "XLIST" in self.capabilities and "SPECIAL-USE" not in self.capabilities else b"LIST"
        answers = self._run(name, b'"" "*"')
        folders = self._folders(answers)
        try:
            subscribed = {folder.wire for folder in self._folders(self._run(b"LSUB", b'"" "*"')) if folder.selectable}
        except Refused:
            subscribed = {folder.wire for folder in folders}
        return [replace(folder, subscribed=folder.wire in subscribed) for folder in folders]

    def _status_items(self) -> bytes:
        return b"MESSAGES UNSEEN UIDNEXT UIDVALIDITY" + (b" HIGHESTMODSEQ" if "CONDSTORE" in self.capabilities else b"")

    @staticmethod
    def _folders(answers: Sequence[wire.Response]) -> list[RemoteFolder]:
        """The folders in LIST, LSUB or XLIST lines, with the STATUS lines between them."""
        statuses: dict[bytes, FolderStatus] = {}
        found: dict[bytes, tuple[set[str], str]] = {}
        for response in answers:
            line = response.flat()
            if match := _LIST.match(line):
                name = _string(match[3])
                attributes = {word.decode("ascii", "replace").lower() for word in match[1].split()}
                found[name] = attributes, "" if match[2].upper() == b"NIL" else _string(match[2]).decode("latin-1")
            elif match := _STATUS.match(line):
                statuses[_string(match[1])] = _status(match[2])
        roles = _roles(found)
        return [
            RemoteFolder(
                wire=name, path=decode_name(name), delimiter=delimiter, role=roles.get(name, Role.NONE),
                selectable=not attributes & {"\\noselect", "\\nonexistent"} and not re.search(rb"[\x00-\x1f\x7f]", name),
                subscribed="\\subscribed" in attributes,
                status=statuses.get(name),
            )
            for name, (attributes, delimiter) in found.items()
        ]  # fmt: skip

    def _catch_up(self) -> None:
        """STATUS of the selected folder tells what the session has seen of it (RFC 3501 §6.3.10): see all of it first."""
        self._run(b"NOOP")

    def status(self, name: bytes) -> FolderStatus:
        """See `ImapBackend`."""
        if name == self.selected:
            self._catch_up()
        for response in self._run(b"STATUS", _mailbox(name) + b" (" + self._status_items() + b")"):
            if match := _STATUS.match(response.flat()):
                return _status(match[2])
        raise Refused("the server did not say how the folder stands", temporary=True)

    def select(self, name: bytes) -> Selected:
        """See `ImapBackend`."""
        if self.selected == name and self._selection is not None:
            return self._selection
        self.selected = b""
        self._forget()
        self._known = -1
        uidvalidity = uidnext = modseq = 0
        permanent: frozenset[str] | None = None
        condstore = b" (CONDSTORE)" if "CONDSTORE" in self.capabilities else b""
        for response in self._run(b"SELECT", _mailbox(name) + condstore, seconds=SELECT):
            match = _CODE.match(response.line[5:])
            if not match:
                continue
            code, value = match[1].upper(), match[2] or b""
            if code == b"UIDVALIDITY":
                uidvalidity = wire.number(value)
            elif code == b"UIDNEXT":
                uidnext = wire.number(value)
            elif code == b"HIGHESTMODSEQ":
                modseq = wire.number(value, MODSEQ)
            elif code == b"PERMANENTFLAGS":
                permanent = frozenset(value.decode("ascii", "replace").strip("()").split())
        read_only = b"[READ-ONLY]" in self._tagged.upper()
        self.selected = name
        self._selection = Selected(self._exists or 0, uidvalidity, uidnext, modseq, read_only, permanent)
        self._forget()
        return self._selection

    def reselect(self, name: bytes) -> Selected:
        """SELECT even if the folder is selected: its numbers are fresh then."""
        self.selected = b""
        return self.select(name)

    def create(self, name: bytes) -> None:
        """CREATE."""
        self._run(b"CREATE", _mailbox(name))

    def rename(self, old: bytes, new: bytes) -> None:
        """RENAME; the folder is left first if it is selected."""
        self._leave(old)
        self._run(b"RENAME", _mailbox(old) + b" " + _mailbox(new))

    def delete(self, name: bytes) -> None:
        """DELETE; the folder is left first if it is selected."""
        self._leave(name)
        self._run(b"DELETE", _mailbox(name))

    def _leave(self, name: bytes) -> None:
        """Close a folder that is about to change, without expunging anything."""
        if self.selected and self.selected == name:
            self.selected = b""
            with contextlib.suppress(Refused):
                self._run(*((b"UNSELECT",) if "UNSELECT" in self.capabilities else (b"EXAMINE", b"INBOX")))

    def subscribe(self, name: bytes, yes: bool) -> None:
        """SUBSCRIBE or UNSUBSCRIBE."""
        self._run(b"SUBSCRIBE" if yes else b"UNSUBSCRIBE", _mailbox(name))

    # -- looking for messages ---------------------------------------------------------------

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

    # -- fetching ---------------------------------------------------------------------------------

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
            header = self._header(response, lowest)
            if header is None:
                continue
            batch.append(header)
            if len(batch) >= BATCHES[min(handed, len(BATCHES) - 1)]:
                sink(batch)
                batch, handed = [], handed + 1
        if batch:
            sink(batch)

    def _header(self, response: wire.Response, lowest: int) -> NewMessage | None:
        """A FETCH answer with a header; anything else is an event."""
        match = _UNTAGGED.match(response.line)
        if not match or match[2].upper() != b"FETCH" or not (len(response.parts) > 1 or b"BODY[" in response.line):
            self._event(response)
            return None
        found = wire.fetched(response)
        if not found.uid or found.uid < lowest:
            return None
        flags = found.flags or FlagsOf(found.uid, Flag(0), "")
        return NewMessage(
            found.uid, flags.flags, flags.keywords, found.date, found.size, found.attachments, flags.modseq,
            summarise(found.header or b""),
        )  # fmt: skip

    def flags(self, lo: int, hi: int, changed_since: int = 0) -> list[FlagsOf]:
        """See `ImapBackend`."""
        rest = b"%d:%d (UID FLAGS)" % (lo, hi)
        if changed_since and "CONDSTORE" in self.capabilities:
            rest += b" (CHANGEDSINCE %d)" % changed_since
        self.wire.expect(FETCH)
        tag = self._begin(b"UID FETCH", rest)
        out: list[FlagsOf] = []
        for response in self._answers(tag):
            match = _UNTAGGED.match(response.line)
            if match and match[2].upper() == b"FETCH":
                found = wire.fetched(response)
                if found.uid and found.flags and lo <= found.uid <= hi:
                    out.append(found.flags)
            else:
                self._event(response)
        return out

    def body(self, uid: int) -> bytes:
        """See `ImapBackend`."""
        self.wire.expect(FETCH)
        tag = self._begin(b"UID FETCH", b"%d (UID BODY.PEEK[])" % uid)
        body: bytes | None = None
        for response in self._answers(tag, literal_limit=wire.MESSAGE_LIMIT):
            found = wire.fetched(response) if b"BODY[" in response.line else None
            if found and found.body is not None and found.uid in (uid, 0):
                body = found.body
            else:
                self._event(response)
        if body is None:
            raise Refused("the message is no longer there", code="NONEXISTENT")
        return body

    # -- changing ------------------------------------------------------------------------------------

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
        for text, _ in wire.uid_sets(uids, wire.WHOLE_SET_LIMIT):
            said = self._run(name, text + b" " + _mailbox(dest))
            for line in [*(response.line[5:] for response in said), self._tagged]:
                match = _CODE.match(line)
                if match and match[1].upper() == b"COPYUID":
                    mapping |= _copied((match[2] or b"").split())
        return mapping

    def expunge(self, uids: Sequence[int]) -> None:
        """See `ImapBackend`."""
        if "UIDPLUS" in self.capabilities:
            for text, _ in wire.uid_sets(uids):
                self._run(b"UID EXPUNGE", text)
            return
        others = set(self.search_deleted()) - set(uids)
        if others:
            raise Refused(
                f"the server can only remove these together with {len(others)} that another program has marked",
                code="CANNOT",
            )
        self._run(b"EXPUNGE")

    def append(self, name: bytes, message: bytes, flags: Flag, when: float) -> int:
        """See `ImapBackend`."""
        names = b" ".join(WIRE_FLAGS[flag].encode() for flag in Flag if flag & flags)
        stamp = wire.date_time(when)
        plus = "LITERAL+" in self.capabilities or ("LITERAL-" in self.capabilities and len(message) <= 4096)
        rest = _mailbox(name) + b" (" + names + b') "' + stamp + b'" {%d%s}' % (len(message), b"+" if plus else b"")
        self.wire.expect(COMMAND + len(message) / wire.SLOWEST)
        tag = self._begin(b"APPEND", rest)
        if not plus:
            self._continuation(tag)
        self.wire.send(message + b"\r\n")
        for response in self._answers(tag):
            self._event(response)
        match = _CODE.match(self._tagged)
        words = (match[2] or b"").split() if match and match[1].upper() == b"APPENDUID" else []
        return wire.number(words[1]) if len(words) == 2 else 0

    # -- waiting ---------------------------------------------------------------------------------------

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

    def noop(self) -> Events:
        """See `ImapBackend`."""
        for response in self._run(b"NOOP"):
            self._event(response)
        return self.drain()

    def idle(self, seconds: float) -> Events:
        """See `ImapBackend`."""
        if waiting := self.drain():
            return waiting
        if "IDLE" not in self.capabilities:
            self.wire.wait_readable(seconds)
            return self.noop()
        self.wire.expect(COMMAND)
        tag = self._begin(b"IDLE")
        try:
            self._continuation(tag)
        except Refused:  # it offers what it does not have: from now on we ask
            self.capabilities -= {"IDLE"}
            return self.drain()
        end = time.monotonic() + seconds
        while not self._something() and self.wire.wait_readable(end - time.monotonic()):
            self.wire.expect(COMMAND)
            response = self.wire.response()
            if response.line[:5].upper() == b"* BYE":
                raise self._bye(response.line)
            match = _TAGGED.match(response.line)
            if match and match[1] == tag:
                return self.drain()
            self._event(response)
        self.wire.expect(DONE)
        self.wire.send(b"DONE\r\n")
        for response in self._answers(tag):
            self._event(response)
        return self.drain()

    def _something(self) -> bool:
        return bool(self._exists is not None or self._expunged or self._vanished or self._flags or self._alert)

    def wake(self) -> None:
        """See `ImapBackend`."""
        self.wire.wake()

    def logout(self) -> None:
        """Say good-bye if the connection still lives, then close it."""
        if not self.wire.dead:
            with contextlib.suppress(NetError):
                self.wire.expect(2.0)
                for _ in self._answers(self._begin(b"LOGOUT")):
                    pass
        self.wire.close()

    def abort(self) -> None:
        """See `ImapBackend`."""
        self.wire.abort()


def _copied(words: Sequence[bytes]) -> dict[int, int]:
    """Old to new UIDs of a COPYUID code (RFC 4315 §3); {} if it is malformed: the copy was made all the same."""
    with contextlib.suppress(ProtocolError):
        if len(words) == 3:
            old, new = wire.expand(words[1]), wire.expand(words[2])
            if len(old) == len(new):
                return dict(zip(old, new, strict=True))
    return {}


def _string(text: bytes) -> bytes:
    """A quoted string or atom as its bytes."""
    if text.startswith(b'"'):
        return re.sub(rb"\\(.)", rb"\1", text[1:-1])
    return text


def _mailbox(name: bytes) -> bytes:
    """A folder's name as an argument."""
    return wire.argument(name)


def _status(text: bytes) -> FolderStatus:
    values = {name.upper(): wire.number(value, MODSEQ) for name, value in re.findall(rb"([A-Za-z]+) (\d{1,20})", text)}
    return FolderStatus(
        values.get(b"MESSAGES", -1), values.get(b"UNSEEN", -1), values.get(b"UIDNEXT", 0), values.get(b"UIDVALIDITY", 0),
        values.get(b"HIGHESTMODSEQ", 0),
    )  # fmt: skip


def _roles(found: dict[bytes, tuple[set[str], str]]) -> dict[bytes, Role]:
    """Which folder is for what: SPECIAL-USE or XLIST attributes first, then the names people use."""
    roles: dict[bytes, Role] = {}
    taken: set[Role] = set()
    for name, (attributes, _) in found.items():
        role = next((ROLE_ATTRIBUTES[word] for word in attributes if word in ROLE_ATTRIBUTES), None)
        if name.upper() == b"INBOX":
            role = Role.INBOX
        if role and role not in taken:
            roles[name] = role
            taken.add(role)
    for name, (attributes, delimiter) in sorted(
        found.items(), key=lambda item: item[0].count(b"/") + item[0].count(b".")
    ):
        if name in roles or attributes & {"\\noselect", "\\nonexistent"}:
            continue
        path = decode_name(name)
        parents = path.rpartition(delimiter)[0] if delimiter else ""
        role = NAMES.get((path.rpartition(delimiter)[2] if delimiter else path).casefold())
        if role and role not in taken and parents.upper() in ("", "INBOX", "[GMAIL]", "[GOOGLE MAIL]"):
            roles[name] = role
            taken.add(role)
    return roles
