"""POP3 accounts: mail comes once, is never lost, is deleted there only when it is here; the rest happens here."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from termmail.engine.pop import LARGE, PopWorker
from termmail.model.account import AccountState, Security, Server
from termmail.model.draft import SendState
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, ProtocolError, Refused, TlsError
from termmail.model.message import Flag, MessageId
from termmail.net.pop3 import connect
from termmail.paths import Paths
from tests.engine.conftest import PATIENCE, Place, Rig, letter
from tests.servers.chaos import Chaos, cut_at
from tests.servers.dovecot import Dovecot, need_dovecot
from tests.servers.scripted import Peer, Scripted

_numbers = itertools.count(1)
pytestmark = pytest.mark.dovecot


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    need_dovecot(pop3=True)
    with Dovecot(tmp_path_factory.mktemp("pop"), pop3=True, tls=True) as server:
        yield server


class PopRig(Rig):
    """An engine with a POP3 account; the place is looked at by IMAP."""

    def __init__(self, paths: Paths, place: Place, port: int, smtp_port: int = 0) -> None:
        place.smtp_port = smtp_port
        super().__init__(paths, place)
        self.incoming(kind="pop3", port=port)

    def incoming(self, **changes: Any) -> None:
        self.account = replace(self.account, incoming=replace(self.account.incoming, **changes))

    @property
    def pop(self) -> PopWorker:
        assert self.manager is not None
        worker = self.manager.workers["here"]
        assert isinstance(worker, PopWorker)
        return worker

    async def settled(self) -> None:
        self.pop.look(sync_now=True)
        await asyncio.wait_for(self.pop.settled.wait(), PATIENCE)
        await asyncio.wait_for(self.pop.sender.idle.wait(), PATIENCE)
        await asyncio.wait_for(self.pop.settled.wait(), PATIENCE)

    async def once(self) -> None:
        """Start, one pass, stop."""
        await self.start()
        await self.settled()
        await self.stop()

    def there(self) -> list[str]:
        """Subjects in the maildrop."""
        with self.place.client() as other:
            if other.select("INBOX", readonly=True)[1] == [b"0"]:
                return []
            _, found = other.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().partition(":")[2].strip() for part in found if isinstance(part, tuple)]


@pytest.fixture
async def rig(dovecot: Dovecot, paths: Paths) -> AsyncIterator[PopRig]:
    place = Place(dovecot.host, dovecot.imap_port, f"pop{next(_numbers)}", dovecot.password)
    made = PopRig(paths, place, dovecot.pop3_port)
    yield made
    await made.stop()
    made.ui.close()


async def test_mail_comes_once_and_whole_and_stays_on_the_server(rig: PopRig) -> None:
    rig.place.add(1, 2, 3)
    await rig.start()
    await rig.settled()
    assert sorted(rig.subjects()) == ["Letter 1", "Letter 2", "Letter 3"]
    body = rig.ui.mail.body(rig.ui.mail.place(rig.one(2)).message_id)
    assert body == letter(2)
    assert {f.path for f in rig.ui.mail.folders()} == {"INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"}
    rig.place.add(4)
    rig.pop.look_at_all()
    await rig.settled()
    assert len(rig.subjects()) == len(rig.there()) == 4
    assert rig.pop.report()[0]["new"] == 1
    assert rig.pop.state == AccountState.ONLINE


async def test_everything_else_happens_here_and_can_be_undone(rig: PopRig) -> None:
    rig.place.add(1, 2, 3)
    await rig.start()
    await rig.settled()
    account = rig.ui.mail.account_id("here")
    rig.ui.intents.flag([rig.one(1)], add=Flag.SEEN | Flag.FLAGGED)
    rig.ui.intents.archive([rig.one(2)])
    await rig.until(lambda: rig.ui.intents.pending_count(account) == 0)
    assert rig.subjects("Archive") == ["Letter 2"]
    rig.ui.intents.undo()
    await rig.until(lambda: rig.ui.intents.pending_count(account) == 0)
    assert sorted(rig.subjects()) == ["Letter 1", "Letter 2", "Letter 3"]
    rig.ui.folders.create(account, "Work")
    rig.ui.intents.copy([rig.one(3)], rig.folder("Work"))
    await rig.until(lambda: rig.ui.intents.pending_count(account) == 0)
    rig.ui.folders.create(account, "Old")
    rig.ui.intents.move([rig.one(3, "Work")], rig.folder("Old"))
    rig.ui.folders.delete(rig.folder("Work"))
    rig.ui.folders.rename(rig.folder("Old"), "Deeds")
    await rig.until(lambda: rig.ui.intents.pending_count(account) == 0)
    assert rig.subjects("Deeds") == ["Letter 3"]
    assert "Work" not in [f.path for f in rig.ui.mail.folders()]
    rig.ui.intents.errand(account, "delete", folder=rig.folder("Sent"))
    await rig.until(lambda: bool(rig.notices()))
    rig.ui.intents.delete_for_ever([rig.one(1)])
    await rig.until(lambda: rig.ui.intents.pending_count(account) == 0)
    await rig.stop()
    await rig.once()
    assert sorted(rig.subjects()) == ["Letter 2", "Letter 3"]
    assert len(rig.there()) == 3


async def test_what_is_not_to_be_left_goes_when_it_is_here(rig: PopRig) -> None:
    rig.place.add(1, 2)
    rig.incoming(leave=False)
    await rig.once()
    assert rig.there() == []
    assert len(rig.subjects()) == 2


async def test_what_is_deleted_here_is_deleted_there_if_that_is_wanted(rig: PopRig) -> None:
    rig.place.add(1, 2)
    rig.incoming(delete_when_deleted_here=True)
    await rig.start()
    await rig.settled()
    rig.ui.intents.trash([rig.one(1)])
    await rig.settled()
    assert len(rig.there()) == 2
    rig.ui.intents.delete_for_ever([rig.one(1, "Trash")])
    await rig.until(lambda: rig.ui.intents.pending_count(rig.ui.mail.account_id("here")) == 0)
    await rig.settled()
    assert rig.there() == ["Letter 2"]


async def test_old_mail_goes_after_its_days(rig: PopRig) -> None:
    rig.place.add(1, 2)
    rig.incoming(delete_after_days=3)
    await rig.once()
    assert len(rig.there()) == 2
    with sqlite3.connect(rig.paths.mail_db) as db:
        db.execute(
            "UPDATE maildrop SET first_seen = ? WHERE uidl = (SELECT min(uidl) FROM maildrop)",
            (time.time() - 4 * 86400,),
        )
    await rig.once()
    assert len(rig.there()) == 1
    assert len(rig.subjects()) == 2


async def test_a_large_message_is_listed_first_and_fetched_when_somebody_waits(rig: PopRig) -> None:
    with rig.place.client() as other:
        other.append("INBOX", None, None, letter(1, body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * (LARGE // 60)))
    order: list[str] = []
    await rig.start()
    drop = rig.pop.store.maildrop
    keep, complete = drop.keep, drop.complete
    drop.keep = lambda *a: (order.append("header" if a[4] is None else "whole"), keep(*a))[1]  # type: ignore[method-assign]
    drop.complete = lambda *a: (order.append("rest"), complete(*a))[1]  # type: ignore[method-assign, func-returns-value]
    await rig.settled()
    assert order == ["header", "rest"]
    raw = rig.ui.mail.body(rig.ui.mail.place(rig.one(1)).message_id)
    assert raw is not None
    assert len(raw) > LARGE


async def test_mail_sent_is_kept_here(dovecot: Dovecot, paths: Paths) -> None:
    from termmail.demo.server import DemoServer

    with DemoServer() as demo:
        place = Place(dovecot.host, dovecot.imap_port, f"pop{next(_numbers)}", dovecot.password)
        rig = PopRig(paths, place, dovecot.pop3_port, demo.smtp_port)
        rig.account = replace(
            rig.account,
            outgoing=replace(rig.account.outgoing, user="ada", password="secret", port=demo.smtp_port),  # type: ignore[type-var]
        )
        try:
            await rig.start()
            out = rig.ui.queue.enqueue(
                letter(9),
                account="here",
                mid="<letter9@example.org>",
                sender="ada@demo.example",
                recipients=("ada@demo.example",),
            )
            await rig.until(
                lambda: rig.ui.queue.outgoing(out).state == SendState.SENT and rig.subjects("Sent") == ["Letter 9"]
            )
            await rig.stop()
            await rig.once()
            assert rig.subjects("Sent") == ["Letter 9"]
        finally:
            await rig.stop()
            rig.ui.close()


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_protected_sessions(rig: PopRig, dovecot: Dovecot, security: Security) -> None:
    rig.place.add(1)
    port = dovecot.pop3s_port if security == Security.TLS else dovecot.pop3_port
    rig.incoming(security=security, host="localhost", port=port, ca_file=dovecot.ca_file)
    await rig.once()
    assert rig.subjects() == ["Letter 1"]


async def test_a_wrong_password_waits_for_the_user(rig: PopRig) -> None:
    rig.incoming(password="wrong")
    await rig.start()
    await rig.settled()
    assert rig.pop.state == AccountState.AUTH


async def test_cut_off_at_every_place_nothing_is_lost_and_nothing_comes_twice(rig: PopRig, dovecot: Dovecot) -> None:
    """The session with its deletions is cut behind more and more bytes until it gets through."""
    numbers = list(range(1, 6))
    rig.place.add(*numbers)
    wanted = {f"Letter {n}" for n in numbers}
    at = 3
    while True:
        with Chaos(dovecot.pop3_port, cut_at(at), reset=at % 2 == 0) as proxy:
            rig.incoming(leave=False, port=proxy.port)
            await rig.once()
        have, left = rig.subjects() if rig.ui.mail.folders() else [], rig.there()
        assert len(have) == len(set(have)), f"cut at {at}"
        assert set(have) | set(left) == wanted, f"cut at {at}"
        if not left:
            break
        at += 13
        assert at < 20_000
    assert set(rig.subjects()) == wanted
    assert at > 500


# -- servers that no one should run ------------------------------------------------------------


def served(peer: Peer, answers: dict[bytes, bytes]) -> None:
    """A POP3 server that answers by the first word of a command."""
    peer.send(b"+OK hello\r\n")
    while line := peer.line():
        words = line.split()
        known = answers.get(line.strip(), answers.get(words[0].upper() if words else b""))
        peer.send(known if known is not None else b"+OK\r\n")
        if words and words[0].upper() == b"QUIT":
            return


BASE = {
    b"CAPA": b"+OK\r\nUIDL\r\nTOP\r\n.\r\n", b"LIST": b"+OK\r\n1 120\r\n2 120\r\n.\r\n", b"UIDL": b"+OK\r\n1 a\r\n2 b\r\n.\r\n",
    b"RETR": b"+OK\r\nSubject: x\r\nFrom: a@b.c\r\n\r\n..dot\r\n.\r\n",
}  # fmt: skip
Hosted = Callable[[dict[bytes, bytes]], Any]


@pytest.fixture
async def hosted(paths: Paths) -> AsyncIterator[Callable[..., Any]]:
    made: list[PopRig] = []

    async def run(answers: dict[bytes, bytes], **changes: Any) -> tuple[PopRig, Scripted]:
        with Scripted(lambda peer: served(peer, BASE | answers)) as server:
            rig = PopRig(paths, Place("127.0.0.1", 1, "ada", "secret"), server.port)
            made.append(rig)
            rig.incoming(**changes)
            await rig.start()
            await rig.settled()
            return rig, server

    yield run
    for rig in made:
        await rig.stop()
        rig.ui.close()


async def test_dots_are_taken_back_and_equal_ids_are_two_messages(hosted: Callable[..., Any]) -> None:
    rig, server = await hosted({b"UIDL": b"+OK\r\n1 same\r\n2 same\r\n.\r\n"})
    assert len(rig.ids()) == 2
    assert rig.ui.mail.body(MessageId(1)).endswith(b"\r\n\r\n.dot\r\n")
    await rig.settled()
    assert len(rig.ids()) == 2
    assert server.got.count(b"RETR") == 2


async def test_without_ids_mail_is_known_by_its_header(hosted: Callable[..., Any]) -> None:
    top = {b"TOP 1 0": b"+OK\r\nSubject: x\r\nFrom: a@b.c\r\n\r\n.\r\n", b"TOP 2 0": b"+OK\r\nSubject: y\r\n\r\n.\r\n"}
    rig, server = await hosted({b"UIDL": b"-ERR no\r\n"} | top)
    await rig.settled()
    assert len(rig.ids()) == 2
    assert server.got.count(b"RETR") == 2


async def test_a_server_that_cannot_tell_old_from_new_is_refused_in_words(hosted: Callable[..., Any]) -> None:
    rig, server = await hosted({b"UIDL": b"-ERR no\r\n", b"TOP": b"-ERR no\r\n"}, leave=False)
    assert rig.pop.state == AccountState.UNREACHABLE
    assert "UIDL" in rig.ui.mail.accounts()[0].error
    assert b"DELE" not in server.got


async def test_what_quit_does_not_confirm_is_not_deleted(hosted: Callable[..., Any]) -> None:
    rig, server = await hosted({b"QUIT": b"-ERR some were not removed\r\n"}, leave=False)
    assert server.got.count(b"DELE") == 2
    assert not any(known.deleted for known in rig.ui.maildrop.known(rig.ui.mail.account_id("here")).values())


async def test_a_maildrop_in_use_is_tried_again(hosted: Callable[..., Any]) -> None:
    rig, _ = await hosted({b"PASS": b"-ERR [IN-USE] locked by another session\r\n"})
    assert rig.pop.state == AccountState.THROTTLED
    assert "locked" in rig.ui.mail.accounts()[0].error


async def test_a_message_that_cannot_be_had_holds_nothing_up(hosted: Callable[..., Any]) -> None:
    rig, server = await hosted({b"RETR 2": b"-ERR damaged\r\n"}, leave=False)
    assert len(rig.ids()) == 1
    assert b"DELE 1" in server.got
    assert b"DELE 2" not in server.got


def session(script: Callable[[Peer], None], **changes: Any) -> None:
    """Log in to a scripted server with a secret, and ask what there is."""
    with Scripted(script) as server:
        known = Server("pop3", "127.0.0.1", server.port, Security.NONE, "ada", password="hunter2")
        talk = connect(replace(known, **changes), "hunter2")
        try:
            talk.listing()
        finally:
            talk.stream.close()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ((b"+OK hi\r\n", b"-ERR unknown\r\n", b"-ERR no TLS here\r\n"), TlsError),
        ((b"+OK hi\r\n", b"+OK\r\nSTLS\r\n.\r\n", b"+OK begin\r\n+OK injected\r\n"), TlsError),
        ((b"+OK hi\r\n", b"+OK\r\nSTLS\r\n.\r\n+OK early\r\n", b"+OK begin\r\n"), TlsError),
        ((b"-ERR go away\r\n",), ConnectionLost),
        ((b"* OK IMAP4rev1\r\n",), ProtocolError),
    ],
)
def test_no_secret_leaves_before_tls(said: tuple[bytes, ...], error: type[NetError]) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(said[0])
        for answer in said[1:]:
            seen.append(peer.line())
            peer.send(answer)
        seen.append(bytes(peer.got))
        peer.until_gone()
        seen.append(bytes(peer.got))

    with pytest.raises(error):
        session(script, security=Security.STARTTLS, host="localhost")
    assert not any(re.search(rb"hunter2|USER|PASS|AUTH", one) for one in seen)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({b"PASS": b"-ERR wrong\r\n"}, AuthRefused),
        ({b"PASS": b"-ERR [SYS/TEMP] later\r\n"}, Refused),
        ({b"LIST": b"what\r\n"}, ProtocolError),
        ({b"LIST": b"+OK\r\n" + b"1 1\r\n" * 100}, ConnectionLost),
        ({b"CAPA": b"+OK\r\n\x00\xff\x1b[2J\r\n.\r\n", b"LIST": b"-ERR \x1b]0;x\x07no\r\n"}, Refused),
    ],
)
def test_nonsense_ends_in_words(answers: dict[bytes, bytes], error: type[NetError]) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"+OK hello\r\n")
        while line := peer.line():
            peer.send((BASE | answers).get(line.split()[0].upper(), b"+OK\r\n"))
            if line[:4] == b"LIST":
                return

    with pytest.raises(error) as broken:
        session(script)
    assert str(broken.value).isprintable()


def test_a_user_cannot_smuggle_a_command() -> None:
    with pytest.raises(AuthRefused):
        session(lambda peer: served(peer, BASE), user="ada\r\nDELE 1")


def test_a_database_of_the_version_before_gets_what_is_new(tmp_path: Path) -> None:
    from termmail.store.db import VERSION, Store

    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache", "run"))).make()
    Store.open(paths).close()
    with sqlite3.connect(paths.mail_db) as db:
        db.execute("DROP TABLE maildrop")
        db.execute("INSERT INTO account (name) VALUES ('kept')")
        db.execute("PRAGMA user_version = 1")
    store = Store.open(paths)
    assert store.mishap == ""
    assert store.maildrop.known(store.mail.account_id("kept")) == {}
    assert store.db.one("PRAGMA user_version") == (VERSION,)
    store.close()
