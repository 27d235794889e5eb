"""The bytes of one connection: deadlines, limits, counters, compression, and ways to end a wait.

Every command has a deadline over the whole of it, so that a server that drips a byte a second ends as
one that is silent.  Lines have a limit before memory is spent on them (security.md S12).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
import zlib

from termmail.model.errors import ConnectionLost, ProtocolError
from termmail.net.backend import Traffic
from termmail.text import safe_line

LINE_LIMIT = 16 << 20  # bytes; SEARCH of a million UIDs is 8 MB
SLOWEST = 2048  # bytes a second; an answer may take as long as it flows faster than that
SILENCE = 30.0  # seconds without a byte inside a command
_CHUNK = 1 << 16


class Stream:
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

    @property
    def over(self) -> bool:
        """Broken, by the server or by us."""
        return self.dead or self._aborted

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
