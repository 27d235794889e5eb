"""Hosts with many addresses."""

from __future__ import annotations

import contextlib
import socket

import pytest

from termmail.net import dial as dial_module
from termmail.net.dial import dial
from tests.servers.dovecot import free_port


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def black_hole():
    """A port where connections neither succeed nor fail: its queue is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(hole.getsockname())
        yield hole.getsockname()


@pytest.fixture
def resolves(monkeypatch):
    """Makes every name resolve to these IPv4 addresses."""

    def to(*addresses: tuple[str, int]) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(dial_module.socket, "getaddrinfo", lambda *_, **__: found)

    return to


def test_the_first_address_that_answers_is_taken(listener, resolves):
    resolves(("127.0.0.1", free_port()), listener.getsockname(), ("127.0.0.1", free_port()))
    with dial("x.example", 1, 5) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == 5


def test_an_address_that_leads_nowhere_does_not_hold_up_the_next(listener, black_hole, resolves):
    resolves(black_hole, listener.getsockname())
    with dial("x.example", 1, 20) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_when_none_answers_it_says_why(black_hole, resolves):
    resolves(("127.0.0.1", free_port()), ("127.0.0.1", free_port()))
    with pytest.raises(ConnectionRefusedError):
        dial("x.example", 1, 5)
    resolves(black_hole)
    with pytest.raises(TimeoutError):
        dial("x.example", 1, 0.1)
    resolves()
    with pytest.raises(OSError, match="address"):
        dial("x.example", 1, 5)


def test_families_are_tried_by_turns():
    six = [(socket.AF_INET6, 1, 6, "", (f"::{n}", 1)) for n in range(3)]
    four = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", n)) for n in range(2)]
    order = [target[3][0] for target in dial_module._by_turns([*six, *four])]
    assert order == ["::0", "127.0.0.1", "::1", "127.0.0.1", "::2"]
