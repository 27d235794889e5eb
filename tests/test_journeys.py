"""End to end: the real program in a terminal, its engine, Dovecot, and an SMTP server."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from termmail import link
from termmail.config.settings import save_account
from termmail.demo.server import DemoServer
from termmail.model.account import Account, Security, Server
from termmail.paths import Paths
from tests.servers.dovecot import Dovecot, need_dovecot
from tests.ui.terminal import Terminal

MAIL = (
    b"From: Grace Hopper <grace@navy.example>\r\nTo: ada@demo.example\r\nSubject: message %d\r\nMessage-ID: <%d@navy.example>\r\n"
    b"Date: Mon, 3 Mar 2025 09:41:00 +0000\r\nContent-Type: text/plain\r\n\r\nThe words of message %d.\r\n"
)
HOSTILE = (
    b"From: =?utf-8?q?=1B=5D52=3Bc=3BQ0FOQVJZ=07Eve?= <eve@evil.example>\r\n"
    b"Subject: =?utf-8?b?G10wO293bmVkBxtbMko=?= [@click=app.quit]x[/]\r\n"
    b"Message-ID: <h@evil.example>\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<p>before &#27;]52;c;Q0FOQVJZ&#7; \x1b[2J\xc2\x9b31m after</p>\r\n"
)
COMMAND = ["-m", "termmail"]
ALLOWED = re.compile(
    rb"\x1b\[[0-9;:]*m|\x1b\[\d*;?\d*[HfABCDGd]|\x1b\[[0-3]?[JK]|\x1b\[\d*[STX]|\x1b\[\d*;?\d*r|\x1b\[\?[0-9;]+(?:[hl]|\$p)"
    rb"|\x1b\[[<>=]?\d*u|\x1b\[>?[0-9;]*[cqt]|\x1b\]11;\?\x1b\\|\x1b\]22;[a-z-]*(?:\x07|\x1b\\)|\r|\n"
)
"""Everything that termmail may send to a terminal besides text."""


def press(screen: Terminal, keys: str) -> None:
    """Keys, one after the other, as a person types them."""
    for key in keys:
        screen.send(key)
        screen.pump(0.05)


def look(screen: Terminal, seconds: float) -> None:
    """Watch the screen for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        screen.pump(0.05)


def strange(screen: Terminal) -> bytes:
    """The first bytes that termmail must not send, b"" if there are none."""
    match = re.search(rb"[\x00-\x09\x0b-\x1f\x7f][^\x1b]{0,40}", ALLOWED.sub(b"", bytes(screen.raw)))
    return match[0] if match else b""


@pytest.fixture
def dovecot(tmp_path: Path, profile: Paths) -> Iterator[Dovecot]:
    """Dovecot for reading, the demo's SMTP for sending, and the account in the settings."""
    need_dovecot()
    with Dovecot(tmp_path / "d") as imap, DemoServer() as smtp:
        for n in range(1, 4):
            imap.append("ada", "INBOX", MAIL % (n, n, n))
        incoming = Server("imap", imap.host, imap.imap_port, Security.NONE, "ada", password="secret")
        outgoing = Server("smtp", "127.0.0.1", smtp.smtp_port, Security.NONE, "ada", password="secret")
        save_account(profile.settings, Account("home", "ada@demo.example", "Ada", incoming, outgoing))
        imap.smtp = smtp  # type: ignore[attr-defined]
        yield imap
        link.ask(profile, {"stop": True}, 2.0)
        link.wait_until(lambda: not link.is_running(profile), 5)


def subjects(server: Dovecot, folder: str) -> list[bytes]:
    """The subjects in a folder, as another client reads them."""
    with server.client("ada") as other:
        count = int(other.select(folder)[1][0] or 0)
        if not count:
            return []
        data = other.fetch(f"1:{count}", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    return sorted(one[1].strip()[9:] for one in data if isinstance(one, tuple))


def until(server: Dovecot, folder: str, wanted: list[bytes]) -> None:
    """Until another client sees exactly these."""
    found: list[bytes] = []
    end = time.monotonic() + 15
    while time.monotonic() < end:
        found = subjects(server, folder)
        if found == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder}: {found}, not {wanted}")


def test_read_archive_undo_answer_and_quit(dovecot: Dovecot, profile: Paths, home: Path) -> None:
    with Terminal(COMMAND, home=home, width=160, height=44) as screen:
        screen.wait("up to date")
        screen.wait("message 3")
        press(screen, "\r")
        screen.wait("The words of message 3")
        press(screen, "q")
        press(screen, "e")
        screen.wait("archived 1 message")
        until(dovecot, "Archive", [b"message 3"])
        press(screen, "u")
        screen.wait("undone: archived")
        until(dovecot, "Archive", [])
        until(dovecot, "INBOX", [b"message 1", b"message 2", b"message 3"])
        dovecot.append("ada", "INBOX", MAIL % (4, 4, 4))
        screen.wait("message 4")
        press(screen, "g")
        press(screen, "g")
        press(screen, "r")
        screen.wait("Re: message 4")
        press(screen, "Thank you, Grace.\x1b")
        screen.wait("send")
        press(screen, "y")
        screen.wait("queued|up to date")
        until(dovecot, "Sent", [b"Re: message 4"])
        (taken,) = dovecot.smtp.smtp.taken  # type: ignore[attr-defined]
        assert taken.recipients == ("grace@navy.example",)
        assert b"Thank you, Grace." in taken.raw
        with dovecot.client("ada") as other:
            other.select("INBOX")
            assert link.wait_until(lambda: other.noop() and other.search(None, "ANSWERED")[1] == [b"4"], 10)
        began = time.monotonic()
        assert screen.leave() == 0
        assert time.monotonic() - began < 3
        assert strange(screen) == b""


def test_what_was_done_with_the_server_away_reaches_it_later(dovecot: Dovecot, profile: Paths, home: Path) -> None:
    with Terminal(COMMAND, home=home) as screen:
        screen.wait("up to date")
        screen.wait("message 3")
        assert screen.leave() == 0
    link.ask(profile, {"stop": True}, 2.0)
    link.wait_until(lambda: not link.is_running(profile), 5)
    text = profile.settings.read_text()
    profile.settings.write_text(text.replace(f"port = {dovecot.imap_port}", "port = 1"))
    with Terminal(COMMAND, home=home) as screen:
        screen.wait("message 3")  # with no connection at all
        screen.wait("offline")
        press(screen, "gg")
        press(screen, "d")
        screen.wait("moved to Trash")
        assert screen.leave() == 0
    link.ask(profile, {"stop": True}, 2.0)
    link.wait_until(lambda: not link.is_running(profile), 5)
    profile.settings.write_text(text)
    with Terminal(COMMAND, home=home) as screen:
        screen.wait("up to date")
        until(dovecot, "Trash", [b"message 3"])
        press(screen, "u")
        until(dovecot, "INBOX", [b"message 1", b"message 2", b"message 3"])


def test_hostile_mail_neither_fools_the_terminal_nor_ends_the_program(dovecot: Dovecot, home: Path) -> None:
    dovecot.append("ada", "INBOX", HOSTILE)
    with Terminal(COMMAND, home=home, width=140, height=40) as screen:
        screen.wait("up to date")
        screen.wait("Eve")
        press(screen, "gg\r")
        screen.wait("before")
        assert "after" in screen.text
        press(screen, "H")
        screen.wait("Content-Type")
        press(screen, "q?")
        screen.wait("Moving")
        press(screen, "q")
        look(screen, 0.5)
        assert screen.leave() == 0
        assert strange(screen) == b""
        assert b"Q0FOQVJZ\x07" not in screen.raw
        assert b"\x1b]52" not in screen.raw


def test_a_draft_survives_a_kill_of_the_terminal(dovecot: Dovecot, profile: Paths, home: Path) -> None:
    with Terminal(COMMAND, home=home) as screen:
        screen.wait("up to date")
        press(screen, "m")
        screen.wait("Subject")
        press(screen, "b@x.example\tunfinished business")
        look(screen, 2.5)
    with Terminal(COMMAND, home=home) as screen:  # the first one was killed
        screen.wait("unfinished business")
        press(screen, "gD")
        screen.wait("Go on with a draft")
        press(screen, "\r")
        screen.wait("b@x.example")


def test_the_demo_leaves_nothing_behind_when_its_terminal_is_closed(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "t"
    place.mkdir()
    with Terminal([*COMMAND, "demo"], home=home, env={"TMPDIR": str(place)}) as screen:
        screen.wait("Charles|Mary", 30)
        assert list(place.glob("termmail-demo-*"))
        look(screen, 1.0)
        os.close(screen.fd)  # as a terminal does when its window is closed: SIGHUP, then nothing to read or write
        screen.fd = os.open(os.devnull, os.O_RDWR)
        end = time.monotonic() + 30
        screen.status = os.waitpid(screen.pid, 0)[1]
        while list(place.iterdir()) or running(str(place)):
            assert time.monotonic() < end, [*place.rglob("*"), *running(str(place))]
            time.sleep(0.1)


def running(words: str) -> list[str]:
    """Command lines of processes that live in that place."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if words.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode().replace("\0", " "))
    return [one for one in found if "termmail" in one]


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 10)])
def test_the_demo_runs_at_every_size(size: tuple[int, int], home: Path) -> None:
    with Terminal([*COMMAND, "demo"], home=home, width=size[0], height=size[1]) as screen:
        screen.wait("Charles|Mary", 30)
        press(screen, "jj\r")
        look(screen, 0.5)
        press(screen, "qlhjk?")
        look(screen, 0.3)
        press(screen, "q")
        assert screen.leave() == 0
        assert strange(screen) == b""
