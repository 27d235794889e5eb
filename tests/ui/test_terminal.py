"""The real program in a real pty: what it writes, byte by byte, and how it leaves."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from termmail.model.message import AccountId, Flag
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.text import SafeText, safe_line
from tests.ui.filling import fill, message, profile, raw
from tests.ui.terminal import Terminal

PROGRAM = (
    "import sys; from termmail.paths import find; from termmail.config.settings import load; import termmail.ui.app as app\n"
    "app.TermmailApp._start_engine = lambda self: None\n"  # what is on the screen must not depend on a second process
    "paths = find().make(); sys.exit(app.run(paths, load(paths.settings)))"
)
EVIL = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x9b31m\x1b]0;pwned\x07\u202eevil\x1bP+q\x1b\\\x00\x08"
# What the program itself may send: its own style, position, modes and queries.
OURS = re.compile(
    rb"\x1b\[[0-9;:]*[mHKCGSTXrABD]|\x1b\[[?>=<][0-9;]*[a-zA-Z$]*p?|\x1b\[[0-9;]*[ct]|\x1b\[2J|\x1b\[\?\d+\$p"
    rb"|\x1b\]8;;[^\x1b\x07]*\x1b\\"
    rb"|\x1b\](?:10|11|22);[a-z?]*(?:\x07|\x1b\\)|\x1b[=>78M]|[\r\n]|\x1b\[[0-9 ]*q|\x1b\]2;[^\x07\x1b]*\x07"
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    fill(profile(tmp_path / "home")).store.close()
    return tmp_path / "home"


def run(home: Path, **more: int) -> Terminal:
    return Terminal(["-c", PROGRAM], home=home, **more)  # type: ignore[arg-type]


def test_the_list_is_painted_without_a_connection_and_quitting_is_quick(home: Path) -> None:
    with run(home, width=160, height=48) as term:
        term.wait("Dear Ada")
        assert "Inbox" in term.text
        began = time.monotonic()
        assert term.leave() == 0
        assert time.monotonic() - began < 5, "a bound for a loaded machine: measured 0.1 s"
        assert b"\x1b[?1049l" in term.raw


def test_the_screen_is_the_same_after_scrolling_there_and_back(home: Path) -> None:
    with run(home, width=80, height=24) as term:
        term.wait("Inbox")
        term.settle()
        before = term.text
        for _ in range(30):
            term.send("j")
            term.pump(0.02)
        term.settle()
        assert term.text != before
        term.send("gg")
        term.settle()
        assert term.text == before


def test_scrolling_by_a_line_is_cheap(home: Path) -> None:
    with run(home, width=160, height=48) as term:
        term.wait("Dear Ada")
        term.send("50j")
        term.settle(0.6)
        size = len(term.raw)
        for _ in range(5):
            term.send("j")
            term.settle(0.05)
        assert (len(term.raw) - size) / 5 < 2500


def test_nothing_that_a_sender_or_server_wrote_reaches_the_terminal_as_a_control(tmp_path: Path) -> None:
    filled = fill(profile(tmp_path / "home"), 3)
    hostile = f"=?utf-8?q?{''.join(f'={b:02X}' for b in EVIL.encode())}?="
    (placement,) = filled.add(
        "INBOX", [message(77, int(time.time()), Flag(0), sender=f"{hostile} <a@b.example>", subject=hostile)]
    )
    row = filled.store.mail.row(placement)
    assert row is not None
    body = f"{EVIL}\n> {EVIL}\nhttp://x.example/{EVIL}\n-- \n{EVIL}\n[@click=app.quit]markup[/]\n"
    filled.store.mail.put_body(row.message_id, raw(77, body=body, sender=f"{hostile} <a@b.example>", subject=hostile))
    filled.store.mail.notice("home", safe_line(EVIL))
    filled.store.close()
    with run(tmp_path / "home", width=160, height=48) as term:
        term.wait("markup")
        for keys in (
            "H",
            "\r",
            "i",
            "q",
            "A",
            "\x1b",
            "F",
            "\x1b",
            "gw",
            "\x1b",
            "x",
            "v",
            "\x1b",
            "/evil\r",
            "q",
            "?",
            "\x1b",
        ):
            term.send(keys)
            term.settle(0.15)
        assert term.leave() == 0
        text = term.raw.decode("utf-8")
        rest = OURS.sub(b"", bytes(term.raw)).decode("utf-8")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", rest), repr(rest[:300])
        assert "cHduZWQ" in text, "the attempt is visible"
        assert "]52;" not in re.sub(r"[␀-␡�]\]52;", "", text)
        assert "[@click=app.quit]markup[/]" in rest, "markup is text"


def test_a_key_behind_the_one_that_closes_a_dialog_moves_in_the_list(home: Path) -> None:
    with run(home, width=160, height=48) as term:
        term.wait("Dear Ada")
        term.send("vtrash\rj")  # in one piece, as a slow line delivers them
        term.wait("moved to Trash")
        term.send("e")
        term.wait("archived 1 message")
        assert term.leave() == 0
    store = Store.open(Paths(*(home / one for one in ("config", "data", "state", "cache", "run"))))
    folders = {f.path: f.id for f in store.mail.folders(AccountId(1))}
    (moved,) = [i for _, i in store.mail.page(folders[SafeText("Trash")])]
    (archived,) = [i for _, i in store.mail.page(folders[SafeText("Archive")])]
    store.close()
    assert (moved, archived) == (60, 58), "the newest went, j passed the next one, e took the third"


def test_escape_alone_is_understood_without_a_second_key(home: Path) -> None:
    with run(home) as term:
        term.wait("Inbox")
        term.send(":")
        term.wait("(?m)^ ?:")
        term.send("\x1b")
        term.settle()
        term.send("j")
        term.settle()
        assert "j" not in term.text.splitlines()[-3][:4]


def test_a_fault_at_start_leaves_the_terminal_clean(home: Path) -> None:
    (home / "data" / "mail.db").write_bytes(b"this is no database at all, whatever its name says" * 100)
    with run(home) as term:
        term.wait("set aside|damaged")
        assert "Traceback" not in term.text
        assert term.leave() == 0


def test_without_a_terminal_it_says_so(home: Path) -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "termmail"], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
    )
    assert done.returncode == 2
    assert "terminal" in done.stderr
