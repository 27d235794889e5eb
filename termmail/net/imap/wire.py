"""The bytes of IMAP: sending commands and reading responses.

Every command has a deadline over the whole of it, so that a server that drips a byte a second ends as
one that is silent.  Literals and lines have limits before memory is spent on them (security.md S12).
"""

from __future__ import annotations

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

from termmail.model.errors import ConnectionLost, ProtocolError, Refused
from termmail.net.backend import Traffic
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

LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}$")


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
            head = LITERAL.sub(b"", out.pop())
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
        while parts[-1].endswith(b"}") and (match := LITERAL.search(parts[-1])):
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
        match = LITERAL.search(before)
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
