"""Servers that lie, strip, inject, stall and break off: nothing leaks, nothing hangs, nothing is lost."""

from __future__ import annotations

import contextlib
import datetime
import logging
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from termmail.model.account import Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, ProtocolError, Refused, Throttled, TlsError
from termmail.model.message import Flag, NewMessage
from termmail.net import stream
from termmail.net.imap import conversation, waiting, wire
from termmail.net.imap.session import ImapSession, connect
from tests.servers.scripted import Peer, Scripted

SECRET = "canary-Pa55"


def at(server: Scripted, security: Security = Security.NONE, **changes) -> Server:
    return Server("imap", "localhost", server.port, security, "ada", **changes)


Talk = Callable[..., tuple[Scripted, ImapSession]]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Makes a logged-in session with a server that goes on with a script; everything is closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(
            script: Callable[[Peer], object], capabilities: bytes = b"IMAP4rev1 IDLE"
        ) -> tuple[Scripted, ImapSession]:
            server = stack.enter_context(Scripted(lambda peer: (peer.log_in(capabilities), script(peer))))
            session = connect(at(server), SECRET)
            stack.callback(session.wire.close)
            return server, session

        yield opened


# -- STARTTLS ------------------------------------------------------------------------------------


def _refuses(peer: Peer) -> None:
    peer.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n")
    peer.answer(said=b"BAD what?")
    peer.until_gone()


def _no(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    peer.answer(said=b"NO not today")
    peer.until_gone()


def _preauth(peer: Peer) -> None:
    peer.send(b"* PREAUTH [CAPABILITY IMAP4rev1 AUTH=PLAIN] welcome back\r\n")
    peer.until_gone()


def _speaks_early(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN EVIL\r\n")
    peer.until_gone()


def _untagged_before(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    peer.answer(b'* LIST () "/" evil\r\n')
    peer.until_gone()


def _injects_behind(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    tag = peer.command().split()[0]
    peer.send(tag + b" OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nT2 OK [CAPABILITY EVIL] logged in\r\n")
    peer.until_gone()


def _literal_before(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    peer.answer(b"* OK {5}\r\nhello\r\n")
    peer.until_gone()


def _other_tag(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    peer.command()
    peer.send(b"T99 OK go\r\n")
    peer.until_gone()


def _no_handshake(peer: Peer) -> None:
    peer.send(b"* OK hello\r\n")
    peer.answer(said=b"OK go")
    peer.line()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.until_gone()


STRIPPERS = [
    _refuses, _no, _preauth, _speaks_early, _untagged_before, _injects_behind, _literal_before, _other_tag, _no_handshake
]  # fmt: skip


@pytest.mark.parametrize("script", STRIPPERS, ids=lambda script: script.__name__)
def test_starttls_happens_or_nothing_is_said(script):
    with Scripted(script) as server, pytest.raises(TlsError):
        connect(at(server, Security.STARTTLS), SECRET)
    assert server.got[:13] in (b"", b"T1 STARTTLS\r\n")
    for word in (b"ada", SECRET.encode(), b"LOGIN", b"AUTHENTICATE", b"LIST"):
        assert word not in server.got


def test_capabilities_from_before_tls_are_forgotten():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR XEVIL] hello\r\n")
        peer.answer(said=b"OK go")
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        assert peer.answer(b"* CAPABILITY IMAP4rev1\r\n") == b"CAPABILITY"
        assert peer.answer().startswith(b"LOGIN")
        assert peer.answer(b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n") == b"CAPABILITY"
        peer.until_gone()

    with Scripted(script) as server, authority.cert_pem.tempfile() as ca_file:
        session = connect(at(server, Security.STARTTLS, ca_file=ca_file), SECRET)
        assert session.capabilities == {"IMAP4REV1", "UIDPLUS"}
        session.wire.close()


@pytest.mark.parametrize("what", ["expired", "early", "other name"])
def test_certificates_that_prove_nothing_are_refused(what):
    now = datetime.datetime.now(datetime.UTC)
    authority = trustme.CA()
    certificate = authority.issue_cert(
        "other.example" if what == "other name" else "localhost",
        not_before=now + datetime.timedelta(days=1) if what == "early" else None,
        not_after=now - datetime.timedelta(days=1) if what == "expired" else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def script(peer: Peer) -> None:
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        peer.until_gone()

    with Scripted(script) as server, authority.cert_pem.tempfile() as ca_file, pytest.raises(TlsError) as refused:
        connect(at(server, Security.TLS, ca_file=ca_file), SECRET)
    assert {"expired": "expired", "early": "not valid yet", "other name": "host"}[what] in refused.value.hint
    assert server.got == b""


# -- greeting and log-in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.0 400 Bad\r\n", b"220 smtp ready\r\n", b"\r\n", b"* BYE too busy\r\n", b"* OK {99999999}\r\n", b""],
)
def test_what_is_no_imap_server_gets_no_password(greeting):
    def script(peer: Peer) -> None:
        peer.send(greeting)
        if greeting:
            peer.until_gone()

    with Scripted(script) as server, pytest.raises(NetError) as refused:
        connect(at(server), SECRET)
    assert isinstance(refused.value, ProtocolError | ConnectionLost)
    assert SECRET.encode() not in server.got


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"NO [AUTHENTICATIONFAILED] Invalid \x1b]52;c;Q0FOQVJZ\x07credentials", AuthRefused),
        (b"NO", AuthRefused),
        (b"BAD LOGIN what?", AuthRefused),
        (b"NO [UNAVAILABLE] back end is down", Throttled),
        (b"NO [LIMIT] too many connections", Throttled),
    ],
)
def test_refusals_of_a_login_are_told_apart_and_made_safe(said, error):
    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        peer.answer(said=said)
        peer.until_gone()

    with Scripted(script) as server, pytest.raises(error) as refused:
        connect(at(server), SECRET)
    words = str(refused.value)
    assert words.isprintable()
    assert SECRET not in words


def test_a_server_that_forbids_passwords_in_the_clear_gets_none():
    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=\x1b[31mX] hello\r\n")
        peer.until_gone()

    with Scripted(script) as server, pytest.raises(AuthRefused) as refused:
        connect(at(server), SECRET)
    assert server.got == b""
    assert str(refused.value).isprintable()


def test_the_password_waits_for_the_challenge_without_sasl_ir():
    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n")
        tag, rest = peer.line().split(b" ", 1)
        assert rest == b"AUTHENTICATE PLAIN\r\n"
        assert len(peer.got) == len(tag) + 1 + len(rest)
        peer.send(b"+ \r\n")
        assert peer.line() == b"AGFkYQBjYW5hcnktUGE1NQ==\r\n"
        peer.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        peer.until_gone()

    with Scripted(script) as server:
        connect(at(server), SECRET).wire.close()


def test_a_password_beyond_ascii_travels_as_a_literal():
    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        assert peer.answer(said=b"OK [CAPABILITY IMAP4rev1] in") == 'LOGIN "ada" {7}\r\npässwo'.encode()
        peer.until_gone()

    with Scripted(script) as server:
        connect(at(server), "pässwo").wire.close()


def test_a_trace_never_holds_a_secret(monkeypatch, caplog):
    monkeypatch.setattr(wire, "TRACE", True)
    caplog.set_level(logging.DEBUG)
    for capabilities in (b"IMAP4rev1", b"IMAP4rev1 AUTH=PLAIN", b"IMAP4rev1 AUTH=PLAIN SASL-IR"):

        def script(peer: Peer, capabilities: bytes = capabilities) -> None:
            peer.send(b"* OK [CAPABILITY " + capabilities + b"] hello\r\n")
            tag, _, rest = peer.command().partition(b" ")
            if rest == b"AUTHENTICATE PLAIN":
                peer.send(b"+ \r\n")
                peer.line()
            peer.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
            peer.answer(b"* 3 EXISTS\r\n")
            peer.until_gone()

        with Scripted(script) as server:
            session = connect(at(server), SECRET)
            session.noop()
            session.wire.close()
    assert "NOOP" in caplog.text
    assert "EXISTS" in caplog.text
    assert SECRET not in caplog.text
    assert "AGFkYQBjYW5hcnktUGE1NQ" not in caplog.text


# -- a session -------------------------------------------------------------------------------------------


def fetch(n: int, rest: bytes) -> bytes:
    return b"* %d FETCH (%s)\r\n" % (n, rest)


def full(uid: int, field: bytes = b"Subject: fine\r\n\r\n") -> bytes:
    return fetch(
        uid, b"UID %d FLAGS () RFC822.SIZE 9 BODY[HEADER.FIELDS (SUBJECT)] {%d}\r\n%s" % (uid, len(field), field)
    )


def test_one_message_that_cannot_be_read_does_not_cost_the_others(talk):
    odd = (
        fetch(2, b'UID 2 FLAGS () BODYSTRUCTURE ((((" BODY[HEADER.FIELDS (SUBJECT)] {14}\r\nSubject: odd\r\n')
        + fetch(3, b"UID 3 BODY[HEADER.FIELDS (SUBJECT)] NIL")
        + fetch(4, b'UID 4 BODY[HEADER.FIELDS (SUBJECT)] "Subject: short"')
        + fetch(5, b"FLAGS (\\Seen)")
        + b"* junk\r\n* 6 FETCH\r\n* 6 FETCH (\r\n* 99999999999999 FETCH (UID 1)\r\n* OK\r\n*\r\n* \r\n"
    )
    _, session = talk(lambda peer: (peer.answer(full(1) + odd + full(7)), peer.until_gone()))
    found: list[NewMessage] = []
    try:
        session.headers([1, 2, 3, 4, 7], found.extend)
    except ProtocolError:
        pytest.fail("the connection was given up")
    subjects = {header.uid: header.summary.subject for header in found}
    assert subjects[1] == subjects[7] == "fine"
    assert subjects[4] == "short"
    assert subjects[3] == ""
    assert session.drain().expunged


@pytest.mark.parametrize(
    "noise",
    [
        b"garbage\r\n",
        b"T77 OK not yours\r\n",
        b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % 10**18,
        b"* LIST () NIL {%d}\r\n" % (wire.LITERAL_LIMIT + 1),
        b"* BYE \x1b[2Jgone\r\n",
        b"",
    ],
)
def test_nonsense_ends_the_connection_and_nothing_else(talk, noise):
    def script(peer: Peer) -> None:
        peer.command()
        peer.send(noise)
        if noise:
            peer.until_gone()

    _, session = talk(script)
    with pytest.raises((ProtocolError, ConnectionLost)) as broken:
        session.noop()
    assert str(broken.value).isprintable()


def test_a_silent_server_is_given_up(talk, monkeypatch):
    monkeypatch.setattr(stream, "SILENCE", 0.2)
    _, session = talk(lambda peer: peer.until_gone())
    with pytest.raises(ConnectionLost, match="in time"):
        session.noop()
    assert session.wire.dead


def test_an_answer_without_end_is_not_kept(talk, monkeypatch):
    monkeypatch.setattr(conversation, "ANSWER_LIMIT", 1 << 16)

    def script(peer: Peer) -> None:
        peer.command()
        while True:
            peer.send(b'* LIST () "/" x\r\n' * 1000)

    _, session = talk(script)
    with pytest.raises(ProtocolError, match="end"):
        session.list_folders()


def test_a_flood_of_events_is_folded(talk):
    flood = b"".join(fetch(n, b"UID %d FLAGS (\\Seen)" % n) for n in range(1, 15_000))
    _, session = talk(lambda peer: (peer.answer(flood + b"* VANISHED 1:4294967295\r\n"), peer.until_gone()))
    events = session.noop()
    assert events.expunged
    assert len(events.flags) <= conversation.EVENTS_LIMIT


def test_silence_to_an_esearch_is_not_taken_for_an_empty_folder(talk):
    def script(peer: Peer) -> None:
        assert b"RETURN" in peer.answer()
        assert b"RETURN" not in peer.answer(b"* SEARCH 3 1 99999999999999999999 x 2\r\n")
        peer.until_gone()

    _, session = talk(script, b"IMAP4rev1 ESEARCH")
    assert session.search() == [1, 2, 3]


@pytest.mark.parametrize(
    ("said", "code", "temporary"),
    [
        (b"NO [OVERQUOTA] full", "OVERQUOTA", False),
        (b"NO [INUSE] locked", "INUSE", True),
        (b"NO [UNAVAILABLE] UID FETCH Server error", "UNAVAILABLE", True),
        (b"BAD User is authenticated but not connected.", "", True),
        (b"BAD Request is throttled. Suggested Backoff Time: 8000 milliseconds", "", True),
        (b"BAD what?", "", False),
        (b"NO", "", False),
    ],
)
def test_refusals_say_whether_trying_again_can_help_and_the_session_goes_on(talk, said, code, temporary):
    _, session = talk(lambda peer: (peer.answer(said=said), peer.answer(b"* 1 EXISTS\r\n"), peer.until_gone()))
    with pytest.raises(Refused) as refused:
        session.create(b"x")
    assert (refused.value.code, refused.value.temporary) == (code, temporary)
    assert refused.value.words
    assert session.noop().exists == 1


def test_names_of_folders_survive_whatever_they_are(talk):
    names = (
        b'* LIST (\\HasNoChildren) "/" &bad-\r\n* LIST () NIL {8}\r\nwi"t\\h x\r\n* LIST () "." 123\r\n'
        b'* LIST (\\Noselect) "/" "a/\xe9"\r\n* LIST () "/" {4}\r\na\r\nb\r\n'
        b'* LIST () "/" "Gesendete Objekte"\r\n* LIST () "/" Sent ("CHILDINFO" ("SUBSCRIBED"))\r\n'
        b'* LIST () "\\\\" "x\x1b[31m"\r\n* LIST bogus\r\n'
    )
    lsub = b'* LSUB () "/" "Gesendete Objekte"\r\n'
    _, session = talk(lambda peer: (peer.answer(names), peer.answer(lsub), peer.until_gone()))
    folders = {folder.wire: folder for folder in session.list_folders()}
    assert set(folders) == {
        b"&bad-", b'wi"t\\h x', b"123", b"a/\xe9", b"a\r\nb", b"Gesendete Objekte", b"Sent", b"x\x1b[31m",
    }  # fmt: skip
    assert all(folder.path.isprintable() for folder in folders.values())
    assert [name for name, folder in folders.items() if not folder.selectable] == [b"a/\xe9", b"a\r\nb", b"x\x1b[31m"]
    assert [folder.role.value for folder in folders.values()].count("sent") == 1
    assert [name for name, folder in folders.items() if folder.subscribed] == [b"Gesendete Objekte"]


# -- idle ---------------------------------------------------------------------------------------------------


def test_events_before_the_plus_count(talk):
    def script(peer: Peer) -> None:
        tag = peer.command().split()[0]
        peer.send(b"* 5 EXISTS\r\n+ idling\r\n")
        assert peer.line() == b"DONE\r\n"
        peer.send(b"* 2 EXPUNGE\r\n" + tag + b" OK\r\n")
        peer.until_gone()

    _, session = talk(script)
    events = session.idle(20)
    assert (events.exists, events.expunged) == (5, True)


def test_signs_of_life_do_not_end_an_idle_and_a_wake_among_them_is_not_lost(talk):
    alive = threading.Event()

    def script(peer: Peer) -> None:
        tag = peer.command().split()[0]
        peer.send(b"+ idling\r\n")
        for _ in range(50):
            peer.send(b"* OK Still here\r\n")
        alive.set()
        assert peer.line() == b"DONE\r\n"
        peer.send(tag + b" OK\r\n")
        peer.until_gone()

    _, session = talk(script)
    threading.Thread(target=lambda: (alive.wait(5), session.wake())).start()
    assert not session.idle(20)


def test_a_number_that_is_told_again_is_no_news(talk):
    def script(peer: Peer) -> None:
        peer.answer(b"* 5 EXISTS\r\n")
        for told in (b"* 5 EXISTS\r\n* 0 RECENT\r\n", b"* 3 EXPUNGE\r\n* 4 EXISTS\r\n", b"* 5 EXISTS\r\n"):
            peer.answer(told)
        peer.until_gone()

    _, session = talk(script, b"IMAP4rev1")
    session.select(b"INBOX")
    assert not session.noop()
    events = session.noop()
    assert (events.exists, events.expunged) == (None, True)
    assert session.noop().exists == 5


def test_a_wake_before_the_idle_ends_it_at_once(talk):
    def script(peer: Peer) -> None:
        tag = peer.command().split()[0]
        peer.send(b"+ idling\r\n")
        assert peer.line() == b"DONE\r\n"
        peer.send(tag + b" OK\r\n")
        peer.until_gone()

    _, session = talk(script)
    session.wake()
    assert not session.idle(60)


@pytest.mark.parametrize("end", [b"* BYE sleep well\r\n", b""])
def test_a_good_bye_in_idle_ends_the_connection_without_spinning(talk, end):
    def script(peer: Peer) -> None:
        peer.command()
        peer.send(b"+ idling\r\n" + end)

    _, session = talk(script)
    with pytest.raises(ConnectionLost):
        session.idle(60)


def test_a_server_that_refuses_idle_is_polled_from_then_on(talk):
    def script(peer: Peer) -> None:
        peer.answer(said=b"BAD no IDLE here")
        assert peer.answer(b"* 9 EXISTS\r\n") == b"NOOP"
        peer.until_gone()

    _, session = talk(script)
    assert not session.idle(5)
    assert "IDLE" not in session.capabilities
    assert session.idle(0.01).exists == 9


def test_a_server_that_does_not_end_an_idle_is_given_up(talk, monkeypatch):
    monkeypatch.setattr(waiting, "DONE", 0.2)

    def script(peer: Peer) -> None:
        peer.command()
        peer.send(b"+ idling\r\n")
        peer.until_gone()

    _, session = talk(script)
    with pytest.raises(ConnectionLost):
        session.idle(0.01)


# -- injection ------------------------------------------------------------------------------------------------


class Agreeable:
    """Says OK to everything and counts what was asked."""

    def __init__(self, capabilities: bytes) -> None:
        self.capabilities = capabilities
        self.commands: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        peer.log_in(self.capabilities)
        while command := peer.command():
            tag, _, rest = command.partition(b" ")
            self.commands.append(rest)
            peer.send(tag + b" OK fine\r\n")


CALLS: list[Callable[[ImapSession, bytes], object]] = [
    lambda s, x: s.create(x),
    lambda s, x: s.delete(x),
    lambda s, x: s.rename(b"a", x),
    lambda s, x: s.subscribe(x, True),
    lambda s, x: s.reselect(x),
    lambda s, x: s.find_message_id(x.decode("latin-1")),
    lambda s, x: s.copy([1], x),
    lambda s, x: s.append(x, x, Flag(0), 0),
    lambda s, x: s.store([1], add=Flag(0), remove=Flag(0), add_keywords=x.decode("latin-1")),
]
NASTY = st.binary(max_size=30) | st.sampled_from(
    [
        b"x\r\nA666 DELETE INBOX",
        b'" DELETE "',
        b"{3}",
        b"{3+}\r\nabc",
        b"\\",
        b'"',
        b"a\nb",
        b"\xff\r\n",
        b"a) (b",
        b"~{1}",
    ]
)


@pytest.mark.parametrize("capabilities", [b"IMAP4rev1", b"IMAP4rev1 LITERAL+"])
def test_one_call_is_one_command_whatever_it_is_given(capabilities):
    agreeable = Agreeable(capabilities)
    with Scripted(agreeable) as server:
        session = connect(at(server), SECRET)

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(CALLS), NASTY)
        def one(call: Callable[[ImapSession, bytes], object], value: bytes) -> None:
            before = len(agreeable.commands)
            session.selected = b""
            try:
                call(session, value)
            except Refused:
                assert len(agreeable.commands) == before
                return
            session.noop()  # a command smuggled behind would be answered before it
            made = agreeable.commands[before:]
            assert made[-1] == b"NOOP"
            words = value.decode("latin-1").split()
            assert len(made) == 2 or (len(made) == 1 and (not words or not value.isascii()))

        one()
        session.logout()
