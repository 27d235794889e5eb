"""The bytes of IMAP: sending commands, reading responses, parsing FETCH as it streams in.

Every command has a deadline over the whole of it, so that a server that drips a byte a second ends as
one that is silent.  Literals and lines have limits before memory is spent on them (security.md S12).
"""

from __future__ import annotations

import calendar
import contextlib
import itertools
import logging
import os
import re
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from termmail.model.errors import ConnectionLost, ProtocolError, Refused
from termmail.model.message import WIRE_FLAGS, Flag
from termmail.net.backend import FlagsOf, Traffic
from termmail.text import safe_line

LINE_LIMIT = 16 << 20  # bytes; SEARCH of a million UIDs is 8 MB
LITERAL_LIMIT = 16 << 20  # of anything but a whole message
MESSAGE_LIMIT = 128 << 20
PARTS_LIMIT = 10_000  # literals in one response
SLOWEST = 2048  # bytes a second; an answer may take as long as it flows faster than that
SILENCE = 30.0  # seconds without a byte inside a command
SET_LIMIT = 1000  # characters of a UID set (RFC 2683 §3.2.1.5)
WHOLE_SET_LIMIT = 7000  # where the command must be all or nothing; servers take lines of 8,000 (RFC 7162 §4)
_CHUNK = 1 << 16

log = logging.getLogger("termmail.imap")
TRACE = bool(os.environ.get("TERMMAIL_TRACE"))

_LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}$")
_UID = re.compile(rb"[( ]UID (\d{1,10})")
_FLAGS = re.compile(rb"[( ]FLAGS \(([^()]*)\)")
_DATE = re.compile(rb'INTERNALDATE "([^"]{10,40})"')
_SIZE = re.compile(rb"RFC822\.SIZE (\d{1,15})")
_MODSEQ = re.compile(rb"MODSEQ \((\d{1,20})\)")
_SECTION = re.compile(rb"BODY\[(HEADER(?:\.FIELDS[^\]]*)?)?\](?:<0>)? ~?\{\d+\+?\}$")
_SHORT = re.compile(rb'[( ]BODY\[(HEADER(?:\.FIELDS[^\]]*)?)?\](?:<0>)? (?:NIL|"((?:[^"\\]|\\.)*)")', re.I | re.S)
_USUAL = re.compile(
    rb'\* \d{1,10} FETCH \(UID (\d{1,10}) FLAGS \(([^()]*)\) INTERNALDATE "([^"]{10,40})" RFC822\.SIZE (\d{1,15}) '
    rb"(?:MODSEQ \((\d{1,20})\) )?BODYSTRUCTURE \("
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+')
_ATTACHED = re.compile(rb'"application" "(?!pgp-signature|pkcs7-signature|x-pkcs7-signature|ms-tnef)')
_MONTHS = {name: n for n, name in enumerate((b"jan feb mar apr may jun jul aug sep oct nov dec").split(), 1)}
_BY_WIRE = {name.lower().encode(): flag for flag, name in WIRE_FLAGS.items()}


@dataclass(slots=True)
class Response:
    """One response: text and literals by turns, beginning with text; without the line's end."""

    parts: list[bytes]

    @property
    def line(self) -> bytes:
        """The text up to the first literal."""
        return self.parts[0]

    def flat(self) -> bytes:
        """All of it with literals put in as quoted strings, for responses that are small."""
        out = [self.parts[0]]
        for place in range(1, len(self.parts), 2):
            head = _LITERAL.sub(b"", out.pop())
            body = self.parts[place].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            out += [head + b'"' + body + b'"' + (self.parts[place + 1] if place + 1 < len(self.parts) else b"")]
        return b"".join(out)


class Wire:
    """One connection's bytes, with deadlines and counters.  Not thread-safe, but for `wake` and `abort`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.traffic = Traffic()
        self.buffer = bytearray()
        self.start = 0  # of what is unread in the buffer
        self.deadline = time.monotonic() + 60
        self.inflate: zlib._Decompress | None = None
        self.deflate: zlib._Compress | None = None
        self.dead = False
        self._aborted = False
        self._woken = False
        self._lock = threading.Lock()  # guards the wake pipe against `close`
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)

    # -- life ------------------------------------------------------------------

    def peer(self) -> str:
        """The address at the other end.  Raises ConnectionLost."""
        try:
            return str(self.sock.getpeername()[0])
        except OSError as error:
            raise self._lost(error) from error

    def expect(self, seconds: float) -> None:
        """A command begins: it has so long."""
        self.deadline = time.monotonic() + seconds

    def compress(self) -> None:
        """Everything from here on is deflated, both ways (RFC 4978)."""
        self.inflate = zlib.decompressobj(-15)
        self.deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        rest = bytes(self.buffer[self.start :])
        self.buffer, self.start = bytearray(self.inflate.decompress(rest) if rest else b""), 0

    def abort(self) -> None:
        """Break the connection; a thread that reads wakes with ConnectionLost."""
        self._aborted = True
        with contextlib.suppress(OSError):
            # not SSLSocket.shutdown: that takes TLS off first, and what is written in that moment goes out in the clear
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        self.wake()

    def wake(self) -> None:
        """End `wait_readable` now, or the next one if nobody waits."""
        with self._lock, contextlib.suppress(OSError):
            if self._wake_in >= 0:
                os.write(self._wake_in, b"w")

    def close(self) -> None:
        """Close everything; safe to call twice."""
        self.dead = True
        with contextlib.suppress(OSError):
            self.sock.close()
        with self._lock:
            for descriptor in (self._wake_in, self._wake_out):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wake_in = self._wake_out = -1

    # -- writing ---------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write all of it before the deadline.  Raises ConnectionLost."""
        self.traffic.sent += len(data)
        if self.deflate is not None:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        view = memoryview(data)
        try:
            while view:
                self.sock.settimeout(self._left())
                view = view[self.sock.send(view[:_CHUNK]) :]
        except (OSError, ValueError) as error:
            raise self._lost(error) from error

    # -- reading ---------------------------------------------------------------

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if self._aborted:
            raise self._lost(ConnectionAbortedError("ended by termmail"))
        if left <= 0:
            raise self._lost(TimeoutError())
        return min(left, SILENCE)

    def _lost(self, error: BaseException) -> ConnectionLost:
        self.dead = True
        if isinstance(error, TimeoutError):
            return ConnectionLost("the server did not answer in time")
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ConnectionLost(f"the connection broke: {safe_line(str(words), 200)}")

    def _fill(self) -> None:
        """Read some more.  Raises ConnectionLost."""
        if self.start > 1 << 20 or self.start == len(self.buffer):
            del self.buffer[: self.start]
            self.start = 0
        try:
            self.sock.settimeout(self._left())
            data = self.sock.recv(_CHUNK)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Bytes that arrived; none: the end.  Raises ConnectionLost, ProtocolError."""
        if self._aborted:
            raise self._lost(ConnectionAbortedError("ended by termmail"))
        if not data:
            self.dead = True
            raise ConnectionLost("the server closed the connection")
        self.traffic.received += len(data)
        self.deadline += len(data) / SLOWEST
        if self.inflate is not None:
            try:
                data = self.inflate.decompress(data)
            except zlib.error as error:
                raise ProtocolError("the server's compressed data is damaged") from error
        self.buffer += data

    def line(self) -> bytes:
        """One line without its end (CR LF, or LF from careless servers).  Raises ConnectionLost, ProtocolError."""
        seen = self.start
        while (end := self.buffer.find(b"\n", seen)) < 0:
            unread = len(self.buffer) - self.start
            if unread > LINE_LIMIT:
                raise ProtocolError("the server sent a line without end")
            self._fill()
            seen = self.start + unread
        found = bytes(self.buffer[self.start : end - 1 if end > self.start and self.buffer[end - 1] == 13 else end])
        self.start = end + 1
        return found

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self.buffer) - self.start < size:
            self._fill()
        found = bytes(self.buffer[self.start : self.start + size])
        self.start += size
        return found

    def response(self, literal_limit: int = LITERAL_LIMIT) -> Response:
        """One response with its literals.  Raises ConnectionLost, ProtocolError."""
        parts = [self.line()]
        total = 0
        while parts[-1].endswith(b"}") and (match := _LITERAL.search(parts[-1])):
            size = int(match[1])
            total += size + len(parts[-1])
            if size > literal_limit or total > 2 * literal_limit or len(parts) > 2 * PARTS_LIMIT:
                raise ProtocolError(f"the server wants to send {size:,} bytes at once")
            parts.append(self.exactly(size))
            parts.append(self.line())
        if TRACE:
            log.debug("< %s", safe_line(parts[0].decode("utf-8", "replace"), 300))
        return Response(parts)

    def pending(self) -> bool:
        """Something has arrived that was not read yet, without asking the network."""
        if self.start < len(self.buffer):
            return True
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def wait_readable(self, seconds: float) -> bool:
        """Wait for the beginning of a line, `wake` or the time; True if there is one.  Raises ConnectionLost."""
        end = time.monotonic() + seconds
        while not self.pending():
            if self._woken or (left := end - time.monotonic()) <= 0:
                self._woken = False
                return False
            try:
                poll = select.poll()
                poll.register(self.sock, select.POLLIN)
                poll.register(self._wake_out, select.POLLIN)
                ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            except (OSError, ValueError) as error:
                raise self._lost(error) from error
            if self._wake_out in ready:
                self._woken = True
                with contextlib.suppress(OSError):
                    os.read(self._wake_out, 4096)
            if ready - {self._wake_out}:
                self._look()
        return True

    def _look(self) -> None:
        """Take what has arrived, without waiting; under TLS that may be nothing for us."""
        try:
            self.sock.settimeout(0)
            data = self.sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        self._take(data)


# -- arguments --------------------------------------------------------------------------------


def argument(value: bytes | str) -> bytes:
    """A string as IMAP wants it: quoted, or as a literal where it is not plain ASCII (RFC 3501 §4.3).

    The one place where strings become commands.  Raises Refused for controls, before a byte is sent:
    nothing that a sender wrote may end a command (security.md S5).
    """
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if re.search(rb"[\x00-\x1f\x7f]", data):
        raise Refused("a value with control characters cannot be sent to the server", code="CANNOT")
    if not data.isascii():
        return b"{%d}\r\n%s" % (len(data), data)
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def flights(command: bytes, *, plus: bool) -> list[bytes]:
    """A command cut behind the literals that the server wants to allow first; `plus`: it allows any (RFC 7888).

    Raises Refused for line ends anywhere else: one call is one command on the wire.
    """
    pieces = command.split(b"\r\n")
    for before, after in itertools.pairwise(pieces):
        match = _LITERAL.search(before)
        if not match or int(match[1]) > len(after):
            raise Refused("a command with a line end inside cannot be sent to the server", code="CANNOT")
    if re.search(rb"[\x00\r\n]", b"".join(pieces)):
        raise Refused("a command with control characters cannot be sent to the server", code="CANNOT")
    pieces = [piece + b"\r\n" for piece in pieces]
    return [b"".join(re.sub(rb"\}\r\n$", b"+}\r\n", piece) for piece in pieces[:-1]) + pieces[-1]] if plus else pieces


def number(text: bytes | None, most: int = 2**32 - 1) -> int:
    """A number of at most 20 digits, 0 if it is none or too large to be true."""
    value = int(text) if text is not None and len(text) <= 20 and text.isdigit() else 0
    return value if value <= most else 0


def uid_set(uids: Iterable[int]) -> bytes:
    """UIDs as a set of ranges, whatever their order."""
    out: list[bytes] = []
    first = last = None
    for uid in sorted(set(uids)):
        if last is not None and uid == last + 1:
            last = uid
            continue
        if first is not None:
            out.append(b"%d" % first if first == last else b"%d:%d" % (first, last or 0))
        first = last = uid
    if first is not None:
        out.append(b"%d" % first if first == last else b"%d:%d" % (first, last or 0))
    return b",".join(out)


def uid_sets(uids: Sequence[int], limit: int = SET_LIMIT) -> Iterator[tuple[bytes, list[int]]]:
    """The same in sets of at most `limit` characters, each with the UIDs in it."""
    ordered = sorted(set(uids))
    start = 0
    while start < len(ordered):
        size = len(ordered) - start
        while len(text := uid_set(ordered[start : start + size])) > limit:
            size = max(1, min(size - 1, size * limit // len(text)))
        yield text, ordered[start : start + size]
        start += size


def ranges(text: bytes) -> tuple[tuple[int, int], ...]:
    """A set as (low, high) pairs, not expanded; what is malformed is left out."""
    out = []
    for piece in text.split(b","):
        first, _, last = piece.partition(b":")
        low, high = number(first), number(last or first)
        if low and high:
            out.append((min(low, high), max(low, high)))
    return tuple(out)


def expand(text: bytes, limit: int = 3_000_000) -> list[int]:
    """The numbers of a set in the order it names them.  Raises ProtocolError for malformed or huge sets."""
    pairs = ranges(text)
    if len(pairs) != text.count(b",") + 1:
        raise ProtocolError("the server sent a malformed set of numbers")
    if sum(high - low + 1 for low, high in pairs) > limit:
        raise ProtocolError("the server sent a set of far too many numbers")
    return [n for low, high in pairs for n in range(low, high + 1)]


# -- FETCH ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Fetched:
    """One FETCH response, taken apart as far as anybody asks."""

    uid: int  # 0: the server did not say
    flags: FlagsOf | None
    date: int
    size: int
    attachments: bool
    header: bytes | None  # None: the response holds none
    body: bytes | None


_flag_cache: dict[bytes, tuple[Flag, str]] = {}


def flags(text: bytes) -> tuple[Flag, str]:
    """Flags as the wire has them: those we know as bits, the others as keywords."""
    found = _flag_cache.get(text)
    if found is None:
        bits, words = Flag(0), set()
        for name in text.split():
            bit = _BY_WIRE.get(name.lower())
            if bit is not None:
                bits |= bit
            elif not name.startswith(b"\\"):
                words.add(safe_line(name.decode("utf-8", "replace"), 100))
        found = bits, " ".join(sorted(word for word in words if word and " " not in word))
        if len(_flag_cache) > 4096:
            _flag_cache.clear()
        _flag_cache[text] = found
    return found


def internal_date(text: bytes) -> int:
    """Seconds since the epoch of `17-Jul-1996 02:44:25 -0700` (RFC 3501 §9 date-time); 0 if malformed."""
    try:
        day, clock, zone = text.split()
        hour, minute, second = clock.split(b":")
        return max(0, _day(day) + int(hour) * 3600 + int(minute) * 60 + int(second) - _zone(zone))
    except (ValueError, KeyError, IndexError, OverflowError):
        return 0


@lru_cache(4096)
def _day(text: bytes) -> int:
    """Seconds since the epoch of the beginning of `17-Jul-1996`; mail of one day comes together."""
    day, month, year = text.split(b"-")
    return calendar.timegm((int(year), _MONTHS[month.lower()], int(day), 0, 0, 0))


@lru_cache(256)
def _zone(text: bytes) -> int:
    """Seconds east of Greenwich of `-0700`."""
    offset = (int(text[1:3]) * 60 + int(text[3:5])) * 60
    return -offset if text.startswith(b"-") else offset


def date_time(when: float) -> bytes:
    """An INTERNALDATE for APPEND, in UTC, in English whatever the locale (RFC 3501 §9 date-time)."""
    moment = time.gmtime(min(max(0.0, when), 253402300799.0))
    month = list(_MONTHS)[moment.tm_mon - 1].capitalize()
    return b"%02d-%s-%04d %02d:%02d:%02d +0000" % (moment.tm_mday, month, moment.tm_year, *moment[3:6])


def fetched(response: Response) -> Fetched:
    """The attributes of a FETCH response, in whatever order they came.

    What stands before BODYSTRUCTURE is the server's own; from there on a sender's strings may look
    like attributes, so the rest is searched with its structure taken out.
    """
    text = response.parts[0]
    header: bytes | None = None
    body: bytes | None = None
    for place in range(1, len(response.parts), 2):
        before = response.parts[place - 1]
        if (match := _SECTION.match(before, max(0, before.rfind(b"BODY[")))) is None:
            continue
        if match[1]:
            header = response.parts[place]
        else:
            body = response.parts[place]
    usual = _USUAL.match(text) if header is not None else None
    if usual and (usual[5] or not _behind(response, usual.end(), b"MODSEQ")):  # as asked: most mail comes this way
        uid, (bits, words) = number(usual[1]), flags(usual[2])
        found = FlagsOf(uid, bits, words, number(usual[5], 2**63 - 1))
        size = number(usual[4], 2**40)
        return Fetched(uid, found, internal_date(usual[3]), size, _attachments(response), header, body)
    structure = text.find(b"BODYSTRUCTURE (")
    plain = text if structure < 0 else text[:structure]
    uid, maybe, date, size = _attributes(plain)
    if not (uid and maybe and date and size and (maybe.modseq or not _behind(response, structure, b"MODSEQ"))):
        plain += b" " + _outside(response, max(structure, 0))
        uid, maybe, date, size = _attributes(plain)
    if header is None and body is None and (match := _SHORT.search(plain)):
        value = re.sub(rb"\\(.)", rb"\1", match[2], flags=re.S) if match[2] is not None else None
        header, body = (value or b"", None) if match[1] else (None, value)
    return Fetched(uid, maybe, date, size, _attachments(response), header, body)


def _attributes(plain: bytes) -> tuple[int, FlagsOf | None, int, int]:
    """(UID, flags, INTERNALDATE, size) in text that holds nothing of a sender's; 0 and None for what is missing."""
    bits, words = Flag(0), ""
    if flag_match := _FLAGS.search(plain):
        bits, words = flags(flag_match[1])
        plain = plain[: flag_match.start()] + plain[flag_match.end() :]  # a keyword may be called UID
    uid = number(_first(_UID, plain))
    date = _first(_DATE, plain)
    found = FlagsOf(uid, bits, words, number(_first(_MODSEQ, plain), 2**63 - 1)) if flag_match else None
    return uid, found, internal_date(date) if date else 0, number(_first(_SIZE, plain), 2**40)


def _behind(response: Response, structure: int, word: bytes) -> bool:
    """The word stands somewhere behind the beginning of BODYSTRUCTURE."""
    return word in response.parts[0][max(structure, 0) :] or any(word in part for part in response.parts[2::2])


def _attachments(response: Response) -> bool:
    """Something in BODYSTRUCTURE is an attachment (a guess that needs no tree)."""
    for place in range(0, len(response.parts), 2):
        start = response.parts[place].find(b"BODYSTRUCTURE (")
        if start >= 0:
            structure = b" ".join([response.parts[place][start:], *response.parts[place + 2 :: 2]]).lower()
            return b'"attachment"' in structure or (
                b'"application" "' in structure and _ATTACHED.search(structure) is not None
            )
    return False


def _first(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    match = pattern.search(text)
    return match[1] if match else b""


def _outside(response: Response, start: int) -> bytes:
    """The text behind `start` that is neither a literal nor inside BODYSTRUCTURE."""
    whole = b" ".join([response.parts[0][start:], *response.parts[2::2]])
    if b"BODYSTRUCTURE (" not in whole:
        return b" ".join(response.parts[2::2])
    depth, inside, out = 0, False, []
    for token in _TOKEN.findall(whole):
        if token == b"BODYSTRUCTURE":
            inside, depth = True, 0
        elif inside:
            depth += (token == b"(") - (token == b")")
            inside = depth > 0
        else:
            out.append(token)
    return b" ".join(out).replace(b"( ", b"(").replace(b" )", b")")
