"""The contract of `ImapBackend`, against a real Dovecot with much, little and almost nothing on offer."""

from __future__ import annotations

import threading
import time

import pytest

from termmail.model.account import Auth, Role, Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, Refused, TlsError, Unreachable
from termmail.model.message import Flag, NewMessage
from termmail.net.imap.folders import encode_name
from termmail.net.imap.session import ImapSession, connect
from tests.servers.dovecot import free_port

pytestmark = pytest.mark.dovecot


def letter(n: int, *, body: str = "hello", extra: str = "") -> bytes:
    return (
        f"From: Ada <ada@example.org>\r\nTo: you@example.org\r\nSubject: Letter {n}\r\n"
        f"Message-ID: <letter{n}@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n{extra}\r\n{body}\r\n"
    ).encode()


def headers(ask, *args) -> list[NewMessage]:
    found: list[NewMessage] = []
    ask(*args, found.extend)
    return found


def test_folders_come_with_roles_whatever_the_server_offers(mailbox):
    session = mailbox.open()
    folders = {folder.path: folder for folder in session.list_folders()}
    assert {path: folder.role for path, folder in folders.items()} == {
        "INBOX": Role.INBOX, "Drafts": Role.DRAFTS, "Sent": Role.SENT, "Archive": Role.ARCHIVE,
        "Junk": Role.JUNK, "Trash": Role.TRASH,
    }  # fmt: skip
    assert folders["Sent"].subscribed
    assert all(folder.selectable and folder.delimiter == "/" for folder in folders.values())


def test_one_round_trip_tells_all_folders_and_their_numbers(modern):
    modern.append(letter(1))
    session = modern.open()
    before = session.traffic.round_trips
    inbox = next(folder for folder in session.list_folders() if folder.role == Role.INBOX)
    assert session.traffic.round_trips == before + 1
    assert inbox.status is not None
    assert (inbox.status.messages, inbox.status.unseen, inbox.status.uidnext) == (1, 1, 2)


def test_status_of_a_folder_that_is_not_selected(mailbox):
    mailbox.append(letter(1))
    mailbox.append(letter(2), flags="\\Seen")
    session = mailbox.open()
    status = session.status(b"INBOX")
    assert (status.messages, status.unseen, status.uidnext) == (2, 1, 3)
    assert status.uidvalidity == session.select(b"INBOX").uidvalidity > 0
    assert (status.modseq > 0) == ("CONDSTORE" in session.capabilities)


def test_status_of_the_selected_folder_is_fresh_too(mailbox):
    mailbox.append(letter(1))
    session = mailbox.open()
    session.select(b"INBOX")
    mailbox.append(letter(2))
    told = {folder.wire: folder.status for folder in session.list_folders()}[b"INBOX"]
    assert told is None or told.messages == 2
    mailbox.append(letter(3))
    assert session.status(b"INBOX").messages == 3
    assert session.drain().exists == 3


def test_selecting_again_asks_nothing_and_a_missing_folder_is_refused(mailbox):
    mailbox.append(letter(1))
    session = mailbox.open()
    selected = session.select(b"INBOX")
    assert (selected.exists, selected.uidnext, selected.read_only) == (1, 2, False)
    before = session.traffic.round_trips
    assert session.select(b"INBOX") == selected
    assert session.traffic.round_trips == before
    with pytest.raises(Refused):
        session.select(b"No such folder")
    assert session.select(b"INBOX").exists == 1


def test_headers_arrive_decoded_and_by_uid(mailbox):
    for n in range(1, 4):
        mailbox.append(letter(n))
    mixed = 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
    parts = (
        "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/pdf\r\n"
        'Content-Disposition: attachment; filename="a \\"UID 99\\" FLAGS (\\\\Deleted).pdf"\r\n\r\nx\r\n--b--'
    )
    mailbox.append(letter(4, body=parts, extra=mixed), flags="\\Seen \\Flagged hobby")
    session = mailbox.open()
    session.select(b"INBOX")
    found = headers(session.headers, [1, 2, 4])
    assert [header.uid for header in found] == [1, 2, 4]
    assert [header.summary.subject for header in found] == ["Letter 1", "Letter 2", "Letter 4"]
    last = found[-1]
    assert last.flags == Flag.SEEN | Flag.FLAGGED
    assert last.keywords == "hobby"
    assert (last.attachments, found[0].attachments) == (True, False)
    assert last.summary.sender.email == "ada@example.org"
    assert found[0].size == len(letter(1))
    assert abs(last.internal_date - time.time()) < 86400
    assert [header.uid for header in headers(session.headers_from, 3)] == [3, 4]
    assert headers(session.headers_from, 5) == []
    assert [header.uid for header in headers(session.newest_headers, 2, 4)] == [3, 4]


def test_headers_are_handed_over_in_small_batches_first(modern):
    session = modern.open()
    for n in range(30):
        session.append(b"INBOX", letter(n), Flag(0), 0)
    session.select(b"INBOX")
    batches: list[int] = []
    session.newest_headers(100, 30, lambda batch: batches.append(len(batch)))
    assert batches == [20, 10]


def test_searching_finds_uids_in_a_range(mailbox):
    for n in range(1, 5):
        mailbox.append(letter(n), flags="\\Deleted" if n == 2 else "")
    session = mailbox.open()
    session.select(b"INBOX")
    assert session.search() == [1, 2, 3, 4]
    assert session.search(2, 3) == [2, 3]
    assert session.search(9) == []
    assert session.search_deleted() == [2]
    assert session.find_message_id("<letter3@example.org>") == [3]
    assert session.find_message_id("<letter3@example.org>", 4) == []
    assert session.find_message_id('<no"such\\thing>') == []


def test_a_body_comes_byte_for_byte_and_stays_unread(mailbox):
    raw = letter(1, body="å\r\n.\r\nT1 OK done\r\n)\r\n{5}\r\n* BYE\r\n" * 50)
    mailbox.append(raw)
    session = mailbox.open()
    session.select(b"INBOX")
    assert session.body(1) == raw
    assert mailbox.contents("INBOX")[1][0] == set()
    with pytest.raises(Refused) as gone:
        session.body(77)
    assert gone.value.code == "NONEXISTENT"


def test_flags_are_set_and_taken_away(mailbox):
    for n in (1, 2, 3):
        mailbox.append(letter(n), flags="\\Flagged")
    session = mailbox.open()
    session.select(b"INBOX")
    session.store([1, 3], add=Flag.SEEN | Flag.ANSWERED, remove=Flag.FLAGGED, add_keywords="hobby")
    there = {uid: flags for uid, (flags, _) in mailbox.contents("INBOX").items()}
    assert there == {1: {"\\Seen", "\\Answered", "hobby"}, 2: {"\\Flagged"}, 3: {"\\Seen", "\\Answered", "hobby"}}
    assert [(f.uid, f.flags, f.keywords) for f in session.flags(1, 2)] == [
        (1, Flag.SEEN | Flag.ANSWERED, "hobby"), (2, Flag.FLAGGED, ""),
    ]  # fmt: skip


def test_changed_since_names_only_what_changed(modern):
    for n in (1, 2, 3):
        modern.append(letter(n))
    session = modern.open()
    before = session.select(b"INBOX").modseq
    with modern.dovecot.client(modern.user) as other:
        other.select("INBOX")
        other.uid("STORE", "2", "+FLAGS", "(\\Seen)")
    session.noop()
    changed = session.flags(1, 3, before)
    assert [(f.uid, f.flags) for f in changed] == [(2, Flag.SEEN)]
    assert changed[0].modseq > before


def test_messages_are_copied_moved_and_expunged(mailbox):
    for n in (1, 2, 3, 4):
        mailbox.append(letter(n), flags="\\Deleted" if n == 4 else "")
    session = mailbox.open()
    session.select(b"INBOX")
    copied = session.copy([1, 2], b"Archive")
    assert sorted(mailbox.contents("Archive")) == [1, 2]
    assert copied == {1: 1, 2: 2} or (copied == {} and "UIDPLUS" not in session.capabilities)
    if "MOVE" in session.capabilities:
        assert session.move([3], b"Archive") == {3: 3}
        assert sorted(mailbox.contents("INBOX")) == [1, 2, 4]
    session.store([1], add=Flag.DELETED, remove=Flag(0))
    if "UIDPLUS" in session.capabilities:
        session.expunge([1])
        assert 1 not in mailbox.contents("INBOX")
    else:
        with pytest.raises(Refused) as refused:
            session.expunge([1])
        assert refused.value.code == "CANNOT"
        session.expunge([1, 4])
        assert not {1, 4} & set(mailbox.contents("INBOX"))
    assert 2 in mailbox.contents("INBOX")
    with pytest.raises(Refused) as refused:
        session.copy([2], b"Nowhere")
    assert refused.value.code == "TRYCREATE"


def test_an_appended_message_is_there_byte_for_byte(mailbox):
    session = mailbox.open()
    raw = letter(1, body="x" * 200_000)
    uid = session.append(b"Sent", raw, Flag.SEEN | Flag.ANSWERED, 852_076_800)
    assert mailbox.contents("Sent") == {1: ({"\\Seen", "\\Answered"}, raw)}
    assert uid in (0, 1)
    session.select(b"Sent")
    assert headers(session.headers, [1])[0].internal_date == 852_076_800
    with pytest.raises(Refused) as refused:
        session.append(b"Nowhere", raw, Flag(0), 0)
    assert refused.value.code == "TRYCREATE"
    assert session.status(b"Sent").messages == 1


def test_folders_are_made_renamed_and_deleted_under_any_name(mailbox):
    session = mailbox.open()
    for name in ("Entwürfe & mehr", "日本語", 'say "hi" \\ there', "a]b (c) {3}", "per cent % star"):
        wire = encode_name(name)
        session.create(wire)
        session.subscribe(wire, True)
        there = {folder.wire: folder for folder in session.list_folders()}
        assert there[wire].path == name
        assert there[wire].subscribed
        assert session.append(wire, letter(1), Flag(0), 0) in (0, 1)
        assert session.select(wire).exists == 1
        session.subscribe(wire, False)
        assert not {folder.wire: folder for folder in session.list_folders()}[wire].subscribed
        session.rename(wire, wire + b" 2")
        assert session.status(wire + b" 2").messages == 1
        session.select(wire + b" 2")
        session.delete(wire + b" 2")
        assert wire + b" 2" not in {folder.wire for folder in session.list_folders()}


def test_noop_tells_what_another_client_did(mailbox):
    mailbox.append(letter(1))
    mailbox.append(letter(2))
    session = mailbox.open()
    session.select(b"INBOX")
    assert not session.noop()
    with mailbox.dovecot.client(mailbox.user) as other:
        other.select("INBOX")
        other.uid("STORE", "1", "+FLAGS", "(\\Seen)")
    assert session.noop()
    mailbox.append(letter(3))
    assert session.noop().exists == 3
    with mailbox.dovecot.client(mailbox.user) as other:
        other.select("INBOX")
        other.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
        other.expunge()
    events = session.noop()
    assert events.expunged or events.vanished == ((2, 2),)
    assert not session.noop()


def test_idle_ends_with_news_or_when_woken_and_the_session_goes_on(modern):
    modern.append(letter(1))
    session = modern.open()
    session.select(b"INBOX")
    threading.Timer(0.1, modern.append, [letter(2)]).start()
    assert session.idle(20).exists == 2
    threading.Timer(0.1, session.wake).start()
    assert not session.idle(20)
    assert not session.idle(0.05)
    assert session.search() == [1, 2]


def test_aborting_from_another_thread_ends_an_idle(modern):
    session = modern.open()
    session.select(b"INBOX")
    threading.Timer(0.1, session.abort).start()
    with pytest.raises(ConnectionLost):
        session.idle(20)


def test_large_sets_of_uids_are_split_and_nothing_is_forgotten(modern):
    session = modern.open()
    for n in range(400):
        session.append(b"INBOX", letter(n), Flag(0), 0)
    session.select(b"INBOX")
    odd = list(range(1, 401, 2))
    assert [header.uid for header in headers(session.headers, odd)] == odd
    before = session.traffic.round_trips
    mapping = session.move(odd, b"Archive")
    assert len(mapping) == 200
    assert session.traffic.round_trips == before + 1
    assert session.search() == list(range(2, 401, 2))


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("compress", ["no", "yes"])
def test_tls_and_compression_carry_the_same_mail(dovecots, security, compress):
    running = dovecots("tls")
    port = running.imaps_port if security == Security.TLS else running.imap_port
    user = f"{security}{compress}"
    session = connect(
        Server("imap", "localhost", port, security, user, ca_file=running.ca_file, compress=compress),
        "secret",
    )
    raw = letter(1, body="abcdefgh" * 40_000)
    session.append(b"INBOX", raw, Flag(0), 0)
    session.select(b"INBOX")
    before = session.traffic.received
    assert session.body(1) == raw
    assert (session.traffic.received - before < len(raw) / 4) == (compress == "yes")
    threading.Timer(0.1, running.append, [user, "INBOX", raw]).start()
    assert session.idle(20).exists == 2
    session.logout()


def _server(running, **changes) -> Server:
    values = {"host": "localhost", "port": running.imaps_port, "security": Security.TLS, "ca_file": running.ca_file}
    values |= changes
    return Server(kind="imap", user="ada", **values)


def test_a_certificate_that_does_not_fit_is_refused_with_a_hint(dovecots):
    running = dovecots("tls")
    with pytest.raises(TlsError) as unknown:
        connect(_server(running, ca_file=""), "secret")
    assert "ca-file" in unknown.value.hint
    with pytest.raises(TlsError) as name:
        connect(_server(running, host="127.0.0.1"), "secret")
    assert "use the server's name" in name.value.hint
    with pytest.raises(TlsError) as plain:
        connect(_server(running, port=running.imap_port), "secret")
    assert "starttls" in plain.value.hint
    with pytest.raises(TlsError):
        connect(_server(running, ca_file="/nonexistent.pem"), "secret")


def test_servers_that_cannot_be_reached_are_told_apart(dovecots):
    with pytest.raises(Unreachable, match="refuses"):
        connect(Server("imap", "127.0.0.1", free_port(), Security.NONE, "ada"), "secret")
    with pytest.raises(Unreachable, match="resolved"):
        connect(Server("imap", "no-such-host.invalid", 993, Security.TLS, "ada"), "secret")


def test_nothing_is_sent_in_the_clear_to_another_machine():
    with pytest.raises(TlsError, match="without encryption"):
        connect(Server("imap", "192.0.2.1", 143, Security.NONE, "ada"), "secret")


def test_a_wrong_password_needs_the_user_and_stays_out_of_the_words(modern):
    with pytest.raises(AuthRefused) as refused:
        connect(modern.server, "wrong-canary", account="home")
    assert refused.value.account == "home"
    assert "canary" not in repr(refused.value) + str(refused.value) + refused.value.hint


@pytest.mark.parametrize("secret", ["", "a\r\nT2 LOGOUT", "a\0b"])
def test_secrets_with_controls_are_not_sent(modern, secret):
    with pytest.raises(AuthRefused):
        connect(modern.server, secret)


def test_signing_in_by_oauth_is_refused_before_anything_is_sent(modern):
    server = Server("imap", modern.server.host, modern.server.port, Security.NONE, "ada", auth=Auth.OAUTH2)
    with pytest.raises(AuthRefused):
        connect(server, "token")


def test_a_fallback_is_taken_only_where_it_is_needed(mailbox):
    mailbox.append(letter(1))
    session: ImapSession = mailbox.open()
    session.list_folders()
    session.select(b"INBOX")
    session.idle(0.01)
    session.append(b"Sent", letter(2), Flag(0), 0)
    used = set(session.traffic.commands)
    assert ("LSUB" in used) == ("LIST-STATUS" not in session.capabilities)
    assert ("IDLE" in used) == ("IDLE" in session.capabilities)
    assert ("NOOP" in used) == ("IDLE" not in session.capabilities)
    assert ("ENABLE" in used) == ("CONDSTORE" in session.capabilities)
