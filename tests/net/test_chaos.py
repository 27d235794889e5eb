"""A whole session over a line that cuts, chops and garbles: it ends as it should or with a `NetError`, never otherwise."""

from __future__ import annotations

import pytest

from termmail.model.account import Security, Server
from termmail.model.errors import NetError
from termmail.model.message import Flag, NewMessage
from termmail.net import stream
from termmail.net.imap import waiting
from termmail.net.imap.session import connect
from tests.servers.chaos import Chaos, Spoil, chopped, cut_at, doubled, garbled, whole

RAW = (
    b"From: Ada <ada@example.org>\r\nSubject: =?utf-8?q?h=C3=A9?=\r\nMessage-ID: <1@example.org>\r\n\r\n(hi)\r\n{3}\r\n"
)


@pytest.fixture
def through(dovecots, monkeypatch):
    """Run the same session through a proxy; what it saw."""
    monkeypatch.setattr(stream, "SILENCE", 0.3)
    monkeypatch.setattr(waiting, "DONE", 0.3)
    demo = dovecots("demo")
    folder = demo.world.accounts["user900"].folders["INBOX"]
    if not folder.messages:
        for _ in range(3):
            demo.add(RAW, user="user900")

    def run(spoil: Spoil, *, reset: bool = False) -> tuple[object, int]:
        with Chaos(demo.imap_port, spoil, reset=reset) as proxy:
            session = connect(Server("imap", "127.0.0.1", proxy.port, Security.NONE, "user900"), "secret")
            found: list[NewMessage] = []
            try:
                names = sorted(folder.path for folder in session.list_folders())
                selected = session.select(b"INBOX")
                session.newest_headers(10, selected.exists, found.extend)
                uids = session.search()
                body = session.body(uids[0]) if uids else b""
                session.store(uids, add=Flag.SEEN, remove=Flag(0))
                flags = [(f.uid, f.flags) for f in session.flags(1, 10)]
                session.idle(0.0)
                session.noop()
            finally:
                session.wire.close()
            return (names, [(h.uid, h.summary.subject) for h in found], uids, body, flags), proxy.passed

    return run


def test_a_chopped_line_tells_the_same(through):
    seen, size = through(whole)
    assert seen[1] == [(uid, "hé") for uid in seen[2]]
    assert seen[3] == RAW
    assert size > 1000
    assert through(chopped)[0] == seen


@pytest.mark.parametrize("reset", [False, True])
def test_a_line_that_is_cut_anywhere_is_an_error_of_the_net(through, reset):
    _, size = through(whole)
    for limit in range(0, size - 60, 13):
        with pytest.raises(NetError) as lost:
            through(cut_at(limit), reset=reset)
        assert lost.value.temporary, limit
        assert str(lost.value).isprintable()


def test_a_garbled_line_is_an_error_of_the_net_or_goes_unnoticed(through):
    survived = 0
    for seed in range(60):
        try:
            through(garbled(seed))
            survived += 1
        except NetError as error:
            assert str(error).isprintable()  # noqa: PT017
    assert survived < 60


def test_lines_that_come_twice_break_nothing(through):
    for seed in range(30):
        try:
            through(doubled(seed))
        except NetError as error:
            assert str(error).isprintable()  # noqa: PT017
