"""The demo server, judged by the standard library's clients, which share no code with either side."""

from __future__ import annotations

import imaplib
import smtplib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from termmail.demo import content, imap, mime
from termmail.demo import run as demo
from termmail.demo.server import DemoServer
from tests.servers.dovecot import Dovecot, need_dovecot

MULTIPART = (
    b'From: "Grace H" <grace@navy.example>\r\nTo: Ada <ada@x.example>, b@x.example\r\nSubject: parts\r\nMessage-ID: <m@x>\r\n'
    b'Date: Mon, 3 Mar 2025 09:41:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
    b"--x\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nfirst\r\nlines\r\n--x\r\nContent-Type: text/csv; "
    b'name="a.csv"\r\n'
    b'Content-Disposition: attachment; filename="a.csv"\r\nContent-Transfer-Encoding: base64\r\n\r\nYSxi\r\n--x--\r\n'
)


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer() as found:
        yield found


def client(server: DemoServer) -> imaplib.IMAP4:
    other = imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=10)
    other.login("ada", "secret")
    return other


def test_the_sample_is_worth_reading() -> None:
    letters = list(content.letters_for(time.time()))
    assert len(letters) >= 200
    assert len({(one.user, one.folder) for one in letters}) >= 8
    assert {one.user for one in letters} == set(content.USERS)
    assert sum("\\Seen" not in one.flags for one in letters) > 10
    raws = b"".join(one.raw for one in letters)
    for needed in (
        b"text/html",
        b"text/calendar",
        b"multipart/report",
        b"iso-2022-jp",
        b"koi8-r",
        b"List-Post",
        b"application/pdf",
    ):
        assert needed in raws, needed
    assert all(one.when <= time.time() + 1 for one in letters)
    subjects = {content.arriving(n, time.time())[1].split(b"Subject: ")[1].split(b"\r\n")[0] for n in range(12)}
    assert len(subjects) == 12


def test_what_imaplib_asks_is_answered(server: DemoServer) -> None:
    for n in range(1, 4):
        server.add(b"Subject: m%d\r\nMessage-ID: <%d@x>\r\n\r\nbody %d\r\n" % (n, n, n))
    other = client(server)
    assert other.select("INBOX") == ("OK", [b"3"])
    assert other.uid("SEARCH", "SUBJECT", "m2") == ("OK", [b"2"])
    assert (
        other.uid("FETCH", "2", "(FLAGS BODY.PEEK[])")[1][0][1] == b"Subject: m2\r\nMessage-ID: <2@x>\r\n\r\nbody 2\r\n"
    )
    assert other.uid("STORE", "2", "+FLAGS", "(\\Seen work)")[0] == "OK"
    assert server.folder().messages[1].flags == {"\\Seen", "work"}
    assert other.uid("MOVE", "2", "Archive")[0] == "OK"
    assert [one.raw[:11] for one in server.folder("Archive").messages] == [b"Subject: m2"]
    assert other.append("Sent", "(\\Seen)", imaplib.Time2Internaldate(1e9), b"Subject: s\r\n\r\nx\r\n")[0] == "OK"
    assert server.folder("Sent").messages[0].date == 1e9
    assert other.create("New/Box")[0] == "OK"
    assert other.rename("New/Box", "Other")[0] == "OK"
    assert other.delete("Other")[0] == "OK"
    assert other.select("nowhere")[0] == "NO"
    other.logout()


def test_a_wrong_password_is_refused(server: DemoServer) -> None:
    other = imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=10)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        other.login("ada", "wrong")
    other.shutdown()


@pytest.mark.parametrize("name", imap.EXTENSIONS)
def test_an_extension_that_is_off_is_neither_named_nor_obeyed(name: str) -> None:
    with DemoServer(without={name}) as server:
        server.add(b"Subject: x\r\n\r\nx\r\n")
        other = client(server)
        other.select("INBOX")
        assert name not in b" ".join(other.capability()[1]).decode().split()
        command = {"MOVE": ("MOVE", "1", "Archive"), "UIDPLUS": ("EXPUNGE", "1")}.get(name)
        if command:
            with pytest.raises(imaplib.IMAP4.error, match="unknown"):
                other.uid(*command)
        other.logout()


def test_an_idling_client_is_told_at_once(server: DemoServer) -> None:
    other = client(server)
    other.select("INBOX")
    other.send(b"a1 IDLE\r\n")
    assert other.readline().startswith(b"+")
    threading.Timer(0.1, lambda: server.add(b"Subject: new\r\n\r\nx\r\n")).start()
    assert other.readline() == b"* 1 EXISTS\r\n"
    other.send(b"DONE\r\n")
    assert other.readline().startswith(b"a1 OK")
    other.shutdown()


def test_faults_do_what_they_say(server: DemoServer) -> None:
    server.faults.replies["NOOP"] = ["NO [UNAVAILABLE] later"]
    server.faults.split = 1
    other = client(server)
    assert other.noop() == ("NO", [b"[UNAVAILABLE] later"])
    assert other.noop()[0] == "OK"
    server.faults.close_before = {"NOOP"}
    with pytest.raises(imaplib.IMAP4.abort):
        other.noop()
    other.shutdown()


def test_smtp_delivers_and_refuses(server: DemoServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp_port, timeout=10) as sender:
        sender.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            sender.login("ada", "wrong")
        sender.login("ada", "secret")
        sender.sendmail("ada@demo.example", ["ada@demo.example", "b@x.example"], b"Subject: s\r\n\r\n.dots\r\n")
        server.faults.smtp["RCPT"] = ["550 5.1.1 no"]
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            sender.sendmail("ada@demo.example", ["c@x.example"], b"x")
    assert server.folder().messages[0].raw.endswith(b"\r\n\r\n.dots\r\n")
    assert server.smtp.taken[0].recipients == ("ada@demo.example", "b@x.example")


def test_answers_are_those_of_a_real_server(tmp_path: Path) -> None:
    need_dovecot()
    asked = ["ENVELOPE", "RFC822.SIZE", "BODY.PEEK[1]", "BODY.PEEK[2.MIME]", "BODY.PEEK[TEXT]<3.9>"]
    asked.append("BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]")
    answers = []
    with DemoServer() as ours, Dovecot(tmp_path / "d") as real:
        for port in (ours.imap_port, real.imap_port):
            other = imaplib.IMAP4("127.0.0.1", port, timeout=10)
            other.login("ada", "secret")
            other.append("INBOX", "", imaplib.Time2Internaldate(1e9), MULTIPART)
            other.select("INBOX")
            found = []
            for item in asked:
                data = other.uid("FETCH", "1", f"({item})")[1]
                plain = data[0] if isinstance(data[0], bytes) else b"(" + data[0][1]
                found.append(plain.split(b"(", 1)[1].replace(b"UID 1 ", b"").rstrip(b")"))
            found.append(other.uid("SEARCH", "FROM", "grace", "LARGER", "10", "NOT", "SEEN")[1])
            answers.append(found)
            other.logout()
    assert answers[0] == answers[1]


def test_structure_tells_what_is_attached() -> None:
    found = mime.structure(MULTIPART)
    assert found.startswith(b'(("TEXT" "PLAIN" ("CHARSET" "us-ascii")')
    assert b'("ATTACHMENT" ("FILENAME" "a.csv"))' in found


def test_the_demos_process_ends_with_its_input() -> None:
    servers, ports, passwords = demo.start(every=0.2)
    other = imaplib.IMAP4("127.0.0.1", ports["imap"], timeout=10)
    other.login("work", passwords["work"])
    before = int(other.select("INBOX")[1][0])
    for _ in range(50):
        time.sleep(0.1)
        if int(other.select("INBOX")[1][0]) > before:
            break
    assert int(other.select("INBOX")[1][0]) > before
    other.logout()
    demo.stop(servers)
    assert servers.returncode == 0
    assert servers.stdout is not None
    servers.stdout.close()
