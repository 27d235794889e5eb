"""An engine without a screen, on servers of both kinds, and what another client sees of them."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import itertools
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from termmail.config.settings import Loaded, Settings
from termmail.demo.server import DemoServer
from termmail.engine.accounts import AccountManager
from termmail.engine.worker import Worker
from termmail.link import Again
from termmail.model.account import Account, Security, Server
from termmail.model.message import WIRE_FLAGS, Flag, PlacementId
from termmail.paths import Paths
from termmail.store.db import Store
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot, need_dovecot
from tests.servers.pymap import Pymap

PATIENCE = 10.0
_numbers = itertools.count(1)
Seen = dict[str, list[tuple[str, frozenset[str]]]]


def letter(n: int, *, body: str = "hello") -> bytes:
    return (
        f"From: Ada <ada@demo.example>\r\nTo: you@example.org\r\nSubject: Letter {n}\r\n"
        f"Message-ID: <letter{n}@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n{body} {n}\r\n"
    ).encode()


class Place:
    """A user on a server, by way of a client that shares no code with ours."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self.host, self.port, self.user, self.password = host, port, user, password
        self.smtp_port = 0
        self.demo: DemoServer | None = None
        self.prefix = ""  # before the name of every folder but INBOX (RFC 2342)
        self.keywords = True  # it keeps keywords

    def path(self, folder: str) -> str:
        """The full name of a folder."""
        if folder == "INBOX" or (self.prefix and folder.startswith(self.prefix)):
            return folder
        return self.prefix + (folder.replace("/", ".") if self.prefix else folder)

    @contextlib.contextmanager
    def client(self) -> Iterator[imaplib.IMAP4]:
        other = imaplib.IMAP4(self.host, self.port, timeout=20)
        other.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other.login(self.user, self.password)
        try:
            yield other
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                other.logout()

    def add(self, *numbers: int, folder: str = "INBOX", flags: str = "") -> None:
        with self.client() as other:
            for n in numbers:
                when = imaplib.Time2Internaldate(1_795_000_000 + n)
                status, words = other.append(self.path(folder), f"({flags})", when, letter(n))
                assert status == "OK", words

    def flag(self, n: int, change: str, flag: str, folder: str = "INBOX") -> None:
        with self.client() as other:
            other.select(self.path(folder))
            assert other.store(self._find(other, n), f"{change}FLAGS", f"({flag})")[0] == "OK"

    def remove(self, *numbers: int, folder: str = "INBOX") -> None:
        with self.client() as other:
            other.select(self.path(folder))
            for n in numbers:
                other.store(self._find(other, n), "+FLAGS", "(\\Deleted)")
            other.expunge()

    @staticmethod
    def _find(other: imaplib.IMAP4, n: int) -> str:
        _, data = other.search(None, "HEADER", "MESSAGE-ID", f"<letter{n}@example.org>")
        return data[0].split()[0].decode()

    def seen(self) -> Seen:
        """Folder → sorted (Message-ID, flags) of everything."""
        found: Seen = {}
        with self.client() as other:
            for line in other.list()[1]:
                assert isinstance(line, bytes)
                match = re.fullmatch(r'\(([^)]*)\) (?:"(.)"|NIL) (.+)', line.decode())
                assert match
                if "noselect" in match[1].lower() or "nonexistent" in match[1].lower():
                    continue
                name = match[3].strip('"')
                if other.select(f'"{name}"', readonly=True)[1] == [b"0"]:
                    found[name] = []
                    continue
                one = []
                _, data = other.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
                for place, part in enumerate(data):
                    if isinstance(part, tuple):
                        tail = data[place + 1]  # Dovecot and ours tell FLAGS before the header
                        told = part[0] + (tail if isinstance(tail, bytes) else b"")
                        flags = re.search(rb"FLAGS \(([^)]*)\)", told)
                        assert flags
                        mid = part[1].decode().partition(":")[2].strip()
                        one.append((mid, frozenset(flags[1].decode().split()) - {"\\Recent"}))
                found[name] = sorted(one, key=lambda pair: (pair[0], sorted(pair[1])))
        return found


class Rig:
    """The engine's rooms in this process, and a store of its own that a screen would have."""

    def __init__(self, paths: Paths, place: Place, *, outgoing: bool = True) -> None:
        self.paths, self.place = paths, place
        imap = Server("imap", place.host, place.port, Security.NONE, place.user, password=place.password)
        smtp = Server("smtp", place.host, place.smtp_port, Security.NONE, place.user, password=place.password)
        sends = outgoing and place.smtp_port
        self.account = Account("here", "ada@demo.example", "Ada", imap, smtp if sends else None)
        self.ui = Store.open(paths)
        self.open_folders: list[int] = []
        self.news: list[Again] = []
        self.manager: AccountManager | None = None
        self.store: Store | None = None

    def account_at(self, port: int) -> Account:
        """The same account by way of another port."""
        return replace(self.account, incoming=replace(self.account.incoming, port=port))

    async def start(self, *, headers_only: bool = True) -> None:
        self.store = Store.open(self.paths)
        self.manager = AccountManager(
            self.store, self.news.append, lambda: self.open_folders, headers_only=headers_only
        )
        await self.manager.apply(Loaded(Settings((self.account,))))

    async def stop(self) -> None:
        if self.manager is not None and self.store is not None:
            await self.manager.stop()
            self.store.close()
            self.manager = None

    @property
    def worker(self) -> Worker:
        assert self.manager is not None
        return self.manager.workers["here"]

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        if self.manager is not None:
            self.worker.look()  # as the link would say
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            await asyncio.sleep(0.02)

    async def settled(self) -> None:
        """Everything is carried out and everything new is here."""
        self.worker.look(sync_now=True)
        await asyncio.wait_for(self.worker.settled.wait(), PATIENCE)
        await asyncio.wait_for(self.worker.sender.idle.wait(), PATIENCE)
        await asyncio.wait_for(self.worker.settled.wait(), PATIENCE)

    def folder(self, path: str) -> int:
        account = self.ui.mail.account_id("here")
        return self.ui.mail.find_folder(account, self.place.path(path)).id

    def ids(self, folder: str = "INBOX") -> list[PlacementId]:
        return [PlacementId(i) for _, i in self.ui.mail.page(self.folder(folder))]

    def one(self, n: int, folder: str = "INBOX") -> PlacementId:
        rows = self.ui.mail.rows(self.ids(folder))
        return next(i for i, row in rows.items() if row.subject == f"Letter {n}")

    def subjects(self, folder: str = "INBOX") -> list[str]:
        ids = self.ids(folder)
        rows = self.ui.mail.rows(ids)
        return [rows[i].subject for i in ids]

    def notices(self) -> list[str]:
        return [str(words) for _, _, words in self.ui.mail.notices_since(0)]

    def shown(self) -> Seen:
        """As `Place.seen`, by what the store shows."""
        found: Seen = {}
        for folder in self.ui.mail.folders(self.ui.mail.account_id("here")):
            one = []
            for place in self.ui.mail.places([PlacementId(i) for _, i in self.ui.mail.page(folder.id, limit=10**6)]):
                names = {WIRE_FLAGS[flag] for flag in Flag if flag & place.flags} | set(place.keywords.split())
                one.append((place.mid, frozenset(names)))
            found[folder.path] = sorted(one, key=lambda pair: (pair[0], sorted(pair[1])))
        return found

    async def watched(self) -> None:
        """The connection that watches waits for news."""
        await self.until(lambda: bool(self.worker.watch.actor and self.worker.watch.actor._idling))

    async def agree(self) -> None:
        """After everything has settled, server and store hold the same."""
        await self.settled()
        there = await asyncio.to_thread(self.place.seen)
        here = self.shown()
        assert here == there
        account = self.ui.mail.account_id("here")
        assert self.ui.intents.pending_count(account) == 0


WITHOUT = {
    "demo": frozenset[str](),
    "demo-no-move": frozenset({"MOVE"}),
    "demo-no-uidplus": frozenset({"UIDPLUS"}),
    "demo-no-condstore": frozenset({"CONDSTORE"}),
    "demo-no-esearch": frozenset({"ESEARCH"}),
    "demo-no-idle": frozenset({"IDLE"}),
    "demo-no-list-status": frozenset({"LIST-STATUS"}),
    "demo-no-special-use": frozenset({"SPECIAL-USE"}),
    "demo-bare": frozenset(
        {"MOVE", "UIDPLUS", "CONDSTORE", "ESEARCH", "IDLE", "LIST-STATUS", "LIST-EXTENDED", "SPECIAL-USE", "ENABLE",
         "LITERAL+", "SASL-IR", "UNSELECT", "NAMESPACE", "ID"}
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    need_dovecot()
    with Dovecot(tmp_path_factory.mktemp("dovecot")) as server:
        yield server


def demo_place(server: DemoServer) -> Place:
    place = Place(server.host, server.imap_port, "ada", "secret")
    place.smtp_port, place.demo = server.smtp_port, server
    return place


CAPABILITIES = {
    "dovecot": None,
    "dovecot-middling": "IMAP4rev1 LITERAL+ UIDPLUS IDLE UNSELECT CHILDREN NAMESPACE CONDSTORE ENABLE",
    "dovecot-bare": "IMAP4rev1",
}
OTHERS = ("cyrus", "courier", "pymap")
ROLES = ("Drafts", "Sent", "Archive", "Junk", "Trash")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Dovecot | Cyrus | Courier]]:
    """The server of that name, started when it is first asked for."""
    running: dict[str, Dovecot | Cyrus | Courier] = {}
    with contextlib.ExitStack() as stack:

        def get(name: str) -> Dovecot | Cyrus | Courier:
            if name not in running:
                if name in CAPABILITIES:
                    need_dovecot()
                    made: Dovecot | Cyrus | Courier = Dovecot(
                        tmp_path_factory.mktemp(name), capability=CAPABILITIES[name]
                    )
                else:
                    made = Cyrus() if name == "cyrus" else Courier()
                running[name] = stack.enter_context(made)
            return running[name]

        yield get


@pytest.fixture(params=[*WITHOUT, *CAPABILITIES, *OTHERS])
def place(request: pytest.FixtureRequest, servers: Callable[[str], Dovecot | Cyrus | Courier]) -> Iterator[Place]:
    """A fresh user on every kind of server."""
    if request.param in WITHOUT:
        with DemoServer(without=WITHOUT[request.param]) as demo:
            yield demo_place(demo)
    elif request.param == "pymap":
        with Pymap() as server:  # it knows one user only
            made = Place(server.host, server.imap_port, server.user, server.password)
            made.keywords = False
            with made.client() as other:
                for name in ROLES:
                    other.create(name)
            yield made
    else:
        known = servers(request.param)
        made = Place(known.host, known.imap_port, f"engine{next(_numbers)}", known.password)
        made.prefix = "INBOX." if request.param == "courier" else ""
        yield made


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(*(tmp_path / name for name in ("config", "data", "state", "cache", "run"))).make()


@pytest.fixture
async def rig(place: Place, paths: Paths) -> AsyncIterator[Rig]:
    made = Rig(paths, place)
    yield made
    await made.stop()
    made.ui.close()


@pytest.fixture
def demo() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
async def here(demo: DemoServer, paths: Paths) -> AsyncIterator[Rig]:
    """An engine on the demo server with everything on offer."""
    made = Rig(paths, demo_place(demo))
    yield made
    await made.stop()
    made.ui.close()


@pytest.fixture
async def rig_without(paths: Paths) -> AsyncIterator[Callable[[set[str]], Awaitable[Rig]]]:
    """An engine on a demo server that lacks something."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(without: set[str]) -> Rig:
            made = Rig(paths, demo_place(stack.enter_context(DemoServer(without=without))))
            stack.callback(made.ui.close)
            stack.push_async_callback(made.stop)
            return made

        yield make
