"""Servers that the tests of a floor share: started once, a user of its own for every test."""

from __future__ import annotations

import imaplib
import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from termmail.demo.server import DemoServer
from termmail.model.account import Security, Server
from termmail.net.imap.session import ImapSession, connect
from tests.servers.dovecot import Dovecot, need_dovecot

# What a server of 1996 and one of ten years later offer: every fallback runs.
OFFERS = {
    "everything": None,
    "bare": "IMAP4rev1",
    "middling": "IMAP4rev1 LITERAL+ UIDPLUS IDLE UNSELECT CHILDREN NAMESPACE CONDSTORE ENABLE",
}
# The server of the demo, whole and with much taken away: it must be as good a server as the real one.
DEMOS = {
    "demo": frozenset(),
    "old demo": frozenset(
        {"LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "ESEARCH", "MOVE", "UIDPLUS", "CONDSTORE", "ENABLE", "IDLE",
         "LITERAL+", "SASL-IR", "ID", "UNSELECT"}
    ),
}  # fmt: skip
_numbers = itertools.count(1)


class Demo(DemoServer):
    """The server of the demo behind the face of `Dovecot`."""

    password = "secret"

    def client(self, user: str) -> imaplib.IMAP4:
        """A second client, logged in, from the standard library."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        other.login(user, self.password)
        return other

    def append(self, user: str, folder: str, raw: bytes, flags: str = "") -> None:
        """Put a message into a folder."""
        with self.client(user) as other:
            status, data = other.append(folder, f"({flags})", imaplib.Time2Internaldate(time.time()), raw)
            assert status == "OK", data


@pytest.fixture(scope="session")
def dovecots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Dovecot | Demo]]:
    """A server for each name in OFFERS and DEMOS, and "tls"; started when it is first asked for."""
    running: dict[str, Dovecot | Demo] = {}

    def get(name: str) -> Dovecot | Demo:
        if name not in DEMOS:
            need_dovecot()
        if name not in running:
            directory = tmp_path_factory.mktemp(name.replace(" ", "-"))
            server: Dovecot | Demo
            if name in DEMOS:
                server = Demo({f"user{n}": "secret" for n in range(1000)}, without=DEMOS[name])
            elif name == "tls":
                server = Dovecot(directory, tls=True, plugins="zlib imap_zlib")
            else:
                server = Dovecot(directory, capability=OFFERS[name], special_use=name != "bare")
            running[name] = server.__enter__()
        return running[name]

    yield get
    for server in running.values():
        server.__exit__()


class Mailbox:
    """A fresh user on a server: our session, and the same mail through another client."""

    def __init__(self, server: Dovecot | Demo, user: str) -> None:
        self.dovecot = server
        self.user = user
        self.server = Server("imap", server.host, server.imap_port, Security.NONE, user)
        self._sessions: list[ImapSession] = []

    def open(self) -> ImapSession:
        """A new session of ours."""
        self._sessions.append(connect(self.server, self.dovecot.password))
        return self._sessions[-1]

    def append(self, raw: bytes, folder: str = "INBOX", flags: str = "") -> None:
        """The other client adds a message."""
        self.dovecot.append(self.user, folder, raw, flags)

    def contents(self, folder: str) -> dict[int, tuple[set[str], bytes]]:
        """What the other client sees: {uid: (flags, whole message)}."""
        found: dict[int, tuple[set[str], bytes]] = {}
        with self.dovecot.client(self.user) as other:
            assert other.select(f'"{folder}"', readonly=True)[0] == "OK"
            _, data = other.uid("SEARCH", "ALL")
            for uid in data[0].split():
                _, parts = other.uid("FETCH", uid.decode(), "(FLAGS BODY.PEEK[])")
                head = b"".join(part if isinstance(part, bytes) else part[0] for part in parts).decode()
                flags = set(head.partition("FLAGS (")[2].partition(")")[0].split()) - {"\\Recent"}
                found[int(uid)] = flags, next(part[1] for part in parts if isinstance(part, tuple))
        return found

    def close(self) -> None:
        for session in self._sessions:
            session.logout()


@pytest.fixture(params=[*OFFERS, *DEMOS])
def mailbox(request: pytest.FixtureRequest, dovecots: Callable[[str], Dovecot | Demo]) -> Iterator[Mailbox]:
    """A fresh user on each of the servers in turn."""
    made = Mailbox(dovecots(request.param), f"user{next(_numbers)}")
    yield made
    made.close()


@pytest.fixture
def modern(dovecots: Callable[[str], Dovecot | Demo]) -> Iterator[Mailbox]:
    """A fresh user on the server that offers everything."""
    made = Mailbox(dovecots("everything"), f"user{next(_numbers)}")
    yield made
    made.close()
