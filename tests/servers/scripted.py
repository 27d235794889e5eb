"""A server on loopback that does what a script says, down to the byte: for everything no honest server does."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable

LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n$")


class Peer:
    """One connection as the script sees it.  `got` holds every byte the client sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = bytearray()
        self._read = 0

    def send(self, data: bytes) -> None:
        """Send these bytes, in one segment if they are few."""
        self.sock.sendall(data)

    def more(self) -> bool:
        """Wait for bytes from the client; False: it is gone."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.got += data
        return bool(data)

    def line(self) -> bytes:
        """A line with its end; b"" if the client is gone."""
        while (end := self.got.find(b"\n", self._read)) < 0:
            if not self.more():
                return b""
        found = bytes(self.got[self._read : end + 1])
        self._read = end + 1
        return found

    def exactly(self, size: int) -> bytes:
        """So many bytes, or fewer if the client is gone."""
        while len(self.got) - self._read < size and self.more():
            pass
        found = bytes(self.got[self._read : self._read + size])
        self._read += len(found)
        return found

    def command(self) -> bytes:
        """One IMAP command with its literals, which are allowed; without its end; b"" if the client is gone."""
        whole = b""
        while line := self.line():
            whole += line
            match = LITERAL.search(line)
            if not match:
                break
            if not match[2]:
                self.send(b"+ go on\r\n")
            whole += self.exactly(int(match[1]))
        return whole.removesuffix(b"\r\n")

    def answer(self, untagged: bytes = b"", said: bytes = b"OK done") -> bytes:
        """Read a command, send `untagged` and the tagged answer; the command without its tag."""
        tag, _, rest = self.command().partition(b" ")
        if tag:
            self.send(untagged + tag + b" " + said + b"\r\n")
        return rest

    def log_in(self, capabilities: bytes = b"IMAP4rev1 IDLE") -> None:
        """Greeting and log-in of a harmless server."""
        self.send(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        self.answer(said=b"OK [CAPABILITY " + capabilities + b"] welcome")

    def until_gone(self) -> None:
        """Say nothing until the client hangs up."""
        while self.more():
            pass


class Scripted:
    """Listens on loopback; each connection is handed to `script` on a thread of its own.  A context manager."""

    host = "127.0.0.1"

    def __init__(self, script: Callable[[Peer], None]) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])

    @property
    def got(self) -> bytes:
        """Everything any client has sent."""
        return b"".join(bytes(peer.got) for peer in self.peers)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            try:
                self.script(peer)
            except AssertionError as failure:
                self.failures.append(failure)
            finally:
                peer.sock.close()

    def __enter__(self) -> Scripted:
        self._threads.append(threading.Thread(target=self._accept, daemon=True))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        if self.failures:
            raise self.failures[0]
