"""A proxy on loopback that spoils what the server says: cuts it, chops it, garbles it."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from tests.servers.scripted import Peer, Scripted

Spoil = Callable[[bytes, int], Iterator[bytes]]
"""Takes what the server sent and how many bytes went before; gives pieces to send on.  Ends the connection by EOFError."""


def whole(data: bytes, before: int) -> Iterator[bytes]:
    """Everything as it is."""
    yield data


def chopped(data: bytes, before: int) -> Iterator[bytes]:
    """Every byte in a segment of its own."""
    for place in range(len(data)):
        yield data[place : place + 1]


def cut_at(limit: int) -> Spoil:
    """The connection ends behind that byte."""

    def spoil(data: bytes, before: int) -> Iterator[bytes]:
        yield data[: max(0, limit - before)]
        if before + len(data) >= limit:
            raise EOFError

    return spoil


def garbled(seed: int, one_in: int = 200) -> Spoil:
    """Some bytes are others."""
    chance = random.Random(seed)

    def spoil(data: bytes, before: int) -> Iterator[bytes]:
        yield bytes(chance.choice(b'\0 ()"{}\\*+\r\n09AZ\xff]') if chance.randrange(one_in) == 0 else b for b in data)

    return spoil


def doubled(seed: int, one_in: int = 6) -> Spoil:
    """Some lines come twice."""
    chance = random.Random(seed)

    def spoil(data: bytes, before: int) -> Iterator[bytes]:
        for line in data.splitlines(keepends=True):
            yield line
            if chance.randrange(one_in) == 0:
                yield line

    return spoil


class Chaos(Scripted):
    """A proxy to a port of this machine; `passed` counts the bytes of the server.  A context manager."""

    def __init__(self, port: int, spoil: Spoil = whole, *, reset: bool = False) -> None:
        super().__init__(self._carry)
        self.target = port
        self.spoil = spoil
        self.reset = reset
        self.passed = 0
        self.silent: set[Peer] = set()  # what these say is swallowed, both ways, and nobody is told

    def sleep(self) -> None:
        """Every connection there is now is dead from here on, without a word; new ones live."""
        self.silent.update(self.peers)

    def _carry(self, peer: Peer) -> None:
        with socket.create_connection((self.host, self.target)) as upstream:
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = threading.Thread(target=self._down, args=(upstream, peer), daemon=True)
            down.start()
            with contextlib.suppress(OSError):
                while data := peer.sock.recv(65536):
                    if peer not in self.silent:
                        upstream.sendall(data)
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            down.join(5)

    def _down(self, upstream: socket.socket, peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            try:
                while data := upstream.recv(65536):
                    for piece in self.spoil(data, self.passed):
                        if peer not in self.silent:
                            peer.send(piece)
                    self.passed += len(data)
            finally:
                if self.reset:
                    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.sock.shutdown(socket.SHUT_RD)  # ends `_carry`; with no time to linger its close is a reset
                else:
                    peer.sock.shutdown(socket.SHUT_RDWR)


def without(pattern: bytes) -> Spoil:
    """Lines that begin so are never seen."""

    def spoil(data: bytes, before: int) -> Iterator[bytes]:
        yield b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(pattern))

    return spoil
