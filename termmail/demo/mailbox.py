"""What the demo server holds: accounts, folders, messages, and who is told of a change."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

SPECIAL = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Archive": "\\Archive", "Junk": "\\Junk", "Trash": "\\Trash"}


@dataclass(eq=False, slots=True)
class Stored:
    """A message in a folder."""

    uid: int
    raw: bytes
    flags: set[str]
    date: float
    modseq: int


@dataclass(eq=False, slots=True)
class Folder:
    """A folder; `version` grows with every change, so that sessions know when to look."""

    name: str
    uidvalidity: int
    special: str = ""
    subscribed: bool = True
    uidnext: int = 1
    modseq: int = 1
    version: int = 0
    messages: list[Stored] = field(default_factory=list)

    def add(self, raw: bytes, flags: set[str] | None = None, date: float | None = None) -> Stored:
        """Append a message."""
        self.modseq += 1
        self.version += 1
        one = Stored(self.uidnext, raw, set(flags or ()), time.time() if date is None else date, self.modseq)
        self.uidnext += 1
        self.messages.append(one)
        return one

    def set_flags(self, one: Stored, flags: set[str]) -> bool:
        """Change flags; False if they are what they were."""
        if flags == one.flags:
            return False
        self.modseq += 1
        self.version += 1
        one.flags, one.modseq = flags, self.modseq
        return True

    def remove(self, gone: set[int]) -> None:
        """Expunge these UIDs."""
        if any(one.uid in gone for one in self.messages):
            self.messages = [one for one in self.messages if one.uid not in gone]
            self.modseq += 1
            self.version += 1

    def renumber(self) -> None:
        """A new UIDVALIDITY and new UIDs, as after a restore."""
        self.uidvalidity += 1
        self.version += 1
        for uid, one in enumerate(self.messages, 1):
            one.uid = uid
        self.uidnext = len(self.messages) + 1


class Account:
    """A user and his folders."""

    def __init__(self, user: str, password: str, uidvalidity: int) -> None:
        self.user, self.password = user, password
        self.uidvalidity = uidvalidity
        self.folders: dict[str, Folder] = {}
        self.create("INBOX")
        for name in SPECIAL:
            self.create(name)
            self.folders[name].special = SPECIAL[name]

    def create(self, name: str) -> Folder:
        """Make a folder."""
        self.uidvalidity += 1
        folder = self.folders[name] = Folder(name, self.uidvalidity)
        return folder


class World:
    """All accounts, and the sessions that wait for changes.  `lock` guards it against other threads."""

    def __init__(self, users: dict[str, str], uidvalidity: int | None = None) -> None:
        start = int(time.time()) if uidvalidity is None else uidvalidity
        self.accounts = {
            user: Account(user, password, start + 100 * n) for n, (user, password) in enumerate(users.items())
        }
        self.lock = threading.RLock()
        self._waiting: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop that the sessions live on."""
        self._loop = loop

    def watch(self, event: asyncio.Event) -> None:
        """An idling session wants to be woken."""
        self._waiting.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        """It does not any more."""
        self._waiting.discard(event)

    def changed(self) -> None:
        """Wake whoever idles.  From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
