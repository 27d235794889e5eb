"""A TCP connection to a host that has many addresses, some of which lead nowhere.  Knows no protocol."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Iterable

PATIENCE = 0.25  # seconds before the next address is tried beside the last (RFC 8305 §5)
Target = tuple[int, int, int, object]  # family, type, protocol, address


def dial(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to the first address that answers, IPv6 and IPv4 tried by turns (RFC 8305, without its sorting).

    Raises socket.gaierror, TimeoutError, or the OSError of the first address if none can be reached.
    """
    waiting = _by_turns(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    end = time.monotonic() + seconds
    trouble: OSError | None = None
    next_try = 0.0
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        while (now := time.monotonic()) < end:
            if waiting and now >= next_try:
                next_try = now + PATIENCE
                try:
                    sock = _begin(*waiting.pop(0))
                except OSError as error:
                    trouble, next_try = trouble or error, 0.0
                    continue
                stack.callback(sock.close)
                selector.register(sock, selectors.EVENT_WRITE, sock)
            if not selector.get_map():
                if not waiting:
                    raise trouble or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
                continue
            for key, _ in selector.select(max(0.0, min(end, next_try if waiting else end) - now)):
                tried: socket.socket = key.data
                code = tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    won = tried.dup()  # the original is closed with those that lost
                    won.settimeout(seconds)
                    return won
                selector.unregister(tried)
                tried.close()
                trouble, next_try = trouble or OSError(code, os.strerror(code)), 0.0
    raise TimeoutError


def _by_turns(found: Iterable[tuple[int, int, int, str, object]]) -> list[Target]:
    """The addresses of two families by turns, each family in the order the resolver gave."""
    families: dict[int, list[Target]] = {}
    for family, kind, protocol, _, address in found:
        families.setdefault(family, []).append((family, kind, protocol, address))
    ranked = [(place, order, target) for order, f in enumerate(families.values()) for place, target in enumerate(f)]
    return [target for _, _, target in sorted(ranked, key=lambda entry: entry[:2])]


def _begin(family: int, kind: int, protocol: int, address: object) -> socket.socket:
    """A socket that has begun to connect.  Raises OSError."""
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    code = sock.connect_ex(address)  # type: ignore[arg-type]
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock
