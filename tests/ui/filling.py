"""A profile with mail in it, made with the store alone: what tests of the screen look at.

`python -m tests.ui.filling DIR [MESSAGES]` makes one by hand, for TERMMAIL_HOME=DIR.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from termmail.config import settings
from termmail.mime.headers import summarise
from termmail.model.account import Role
from termmail.model.message import Flag, FolderId, NewMessage, PlacementId
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.store.mail import RemoteFolderRow
from termmail.text import safe_line

SETTINGS = """\
[accounts.home]
email = "ada@example.org"
name = "Ada Lovelace"
incoming = { kind = "imap", host = "127.0.0.1", port = 1, security = "none", password = "x", allow-cleartext = true }
outgoing = { kind = "smtp", host = "127.0.0.1", port = 1, security = "none", password = "x", allow-cleartext = true }

[accounts.work]
email = "ada@engine.example"
name = "Ada Lovelace"
incoming = { kind = "imap", host = "127.0.0.1", port = 1, security = "none", password = "x", allow-cleartext = true }
outgoing = { kind = "smtp", host = "127.0.0.1", port = 1, security = "none", password = "x", allow-cleartext = true }
"""
FOLDERS = (
    ("INBOX", Role.INBOX), ("Drafts", Role.DRAFTS), ("Sent", Role.SENT), ("Archive", Role.ARCHIVE), ("Junk", Role.JUNK),
    ("Trash", Role.TRASH), ("Lists", Role.NONE), ("Lists/python-dev", Role.NONE), ("Lists/rust", Role.NONE),
    ("Travel", Role.NONE), ("Receipts 2026", Role.NONE),
)  # fmt: skip
_PEOPLE = (
    "Grace Hopper <grace@navy.example>", "Charles Babbage <charles@engine.example>",
    "=?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <jm@example.de>",
    "=?utf-8?b?5bGx55Sw5aSq6YOO?= <yamada@example.jp>", "Mary Somerville <mary@example.org>", "GitHub <noreply@github.example>",
    "builds@ci.example", "The Analytical Society <society@lists.example.org>", "Luigi Menabrea <l.menabrea@torino.example>",
)  # fmt: skip
_SUBJECTS = (
    "Notes on the engine", "Re: Notes on the engine", "Your receipt from Lovelace & Co", "Meeting moved to Thursday, 14:00",
    "[python-dev] Deprecating the GIL, once more", "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_Z=C3=BCrich?=", "Invoice 2026-118 is due",
    "Fwd: photographs from the lake", "Build #4711 failed on main", "=?utf-8?b?5Lya6K2w44Gu44GK55+l44KJ44Gb?=",
    "A very long subject that will not fit into any column of a terminal of usual width, however hard one tries to make it",
    "Lunch?",
)  # fmt: skip
BODY = """\
Dear Ada,

the difference engine does what we asked of it.  I attach the tables; please have a look at column seven, where
the carry seems to go astray once the seventh digit is reached, which Menabrea noticed first and I can confirm.

On Monday you wrote:
> Would the second version print by itself?
>> It was never meant to, but nothing stands against it.
>>> Then let us try.
> I shall be in London on Thursday.

See https://engine.example/tables for more.

--{blank}
Charles Babbage
1 Dorset Street, Marylebone
""".replace("{blank}", " ")


@dataclass
class Filled:
    """The store of a profile and its folders by path."""

    paths: Paths
    store: Store
    folders: dict[str, FolderId]

    def add(self, folder: str, messages: Sequence[NewMessage]) -> list[PlacementId]:
        """More messages, as if they had come."""
        return self.store.mail.add_messages(self.folders[folder], messages)


def profile(root: Path) -> Paths:
    """The folders of a profile below `root`, with its settings."""
    paths = Paths(root / "config", root / "data", root / "state", root / "cache", root / "run").make()
    paths.settings.write_text(SETTINGS, "utf-8")
    paths.settings.chmod(0o600)
    return paths


def header(number: int, *, sender: str = "", subject: str = "") -> bytes:
    """The header fields of a made-up message."""
    who = sender or _PEOPLE[number * 7 % len(_PEOPLE)]
    what = subject or _SUBJECTS[number * 5 % len(_SUBJECTS)]
    return (
        f"From: {who}\r\nTo: Ada Lovelace <ada@example.org>\r\nSubject: {what}\r\n"
        f"Message-ID: <{number}@engine.example>\r\nDate: Mon, 2 Mar 2026 09:41:00 +0000\r\n"
    ).encode()


def message(number: int, when: int, flags: Flag = Flag.SEEN, *, sender: str = "", subject: str = "") -> NewMessage:
    """Message number `number`, that came at `when`."""
    summary = summarise(header(number, sender=sender, subject=subject))
    return NewMessage(number, int(flags), "", when, 2048, number % 9 == 4, 0, summary)


def raw(number: int, *, body: str = BODY, sender: str = "", subject: str = "") -> bytes:
    """A whole message."""
    head = header(number, sender=sender, subject=subject)
    return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body.replace("\n", "\r\n").encode()


def fill(paths: Paths, count: int = 60, *, now: float | None = None, bodies: int = 30) -> Filled:
    """Two accounts, the usual folders, `count` messages in the first inbox; the newest have bodies."""
    now = time.time() if now is None else now
    store = Store.open(paths)
    folders: dict[str, FolderId] = {}
    for name, email in (("home", "ada@example.org"), ("work", "ada@engine.example")):
        account = store.mail.ensure_account(name, email)
        rows = [RemoteFolderRow(p.encode(), safe_line(p), "/", role, True, True) for p, role in FOLDERS]
        store.mail.sync_folders(account, rows)
        for folder in store.mail.folders(account):
            folders.setdefault(str(folder.path), folder.id)
            store.mail.set_folder_state(folder.id, srv_total=0, uidvalidity=1, uidnext=1, lo=1)
    filled = Filled(paths, store, folders)
    batch = []
    for number in range(1, count + 1):
        age = count - number
        flags = Flag(0) if age % 6 in (0, 1) else Flag.SEEN
        flags |= Flag.FLAGGED if age % 11 == 3 else Flag.ANSWERED if age % 7 == 4 else Flag(0)
        batch.append(message(number, int(now - 1800 - age * 9000), flags))
        if len(batch) == 20_000:
            filled.add("INBOX", batch)
            batch = []
    filled.add("INBOX", batch)
    filled.add("Lists/rust", [message(10_000_000 + n, int(now - n * 7000), Flag(0)) for n in range(12)])
    filled.add("Sent", [message(20_000_000 + n, int(now - n * 7000)) for n in range(5)])
    for placement in [i for _, i in store.mail.page(folders["INBOX"], limit=bodies)]:
        row, place = store.mail.row(placement), store.mail.place(placement)
        assert row is not None
        assert place.uid is not None
        store.mail.put_body(row.message_id, raw(place.uid))
    return filled


if __name__ == "__main__":
    import sys

    home = profile(Path(sys.argv[1]))
    settings.load(home.settings)
    fill(home, int(sys.argv[2]) if len(sys.argv) > 2 else 200).store.close()
