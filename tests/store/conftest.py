"""A store with one account and the usual folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from termmail.model.account import Role
from termmail.model.message import AccountId, Address, Flag, FolderId, NewMessage, Summary
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.store.mail import RemoteFolderRow
from termmail.text import SafeText

ROLES = {"INBOX": Role.INBOX, "Archive": Role.ARCHIVE, "Trash": Role.TRASH, "Junk": Role.JUNK, "Other": Role.NONE}


def new(uid: int, flags: Flag = Flag(0), *, seed: str = "", subject: str = "", modseq: int = 0) -> NewMessage:
    """A message as FETCH would tell it; the same seed is the same message."""
    seed = seed or f"m{uid}"
    ident = hashlib.blake2b(seed.encode(), digest_size=16).digest()
    sender = Address(SafeText("Grace"), SafeText("grace@navy.example"))
    to = (Address(SafeText("Ada"), SafeText("ada@x.example")),)
    words = SafeText(subject or f"subject {seed}")
    summary = Summary(1000 + uid, sender, to, (), words, f"<{seed}@x>", "", (), uid, ident)
    return NewMessage(uid, int(flags), "", 1000 + uid, 500, False, modseq, summary)


class Box:
    """The store and the ids of what is in it."""

    def __init__(self, paths: Paths) -> None:
        self.store = Store.open(paths)
        self.account: AccountId = self.store.mail.ensure_account("home", "ada@x.example")
        rows = [RemoteFolderRow(name.encode(), SafeText(name), "/", role, True, True) for name, role in ROLES.items()]
        self.store.mail.sync_folders(self.account, rows)
        self.folders: dict[str, FolderId] = {str(f.path): f.id for f in self.store.mail.folders()}

    def fill(self, count: int, folder: str = "INBOX") -> list[int]:
        """Add messages with UIDs 1..count; their placements, oldest first."""
        return list(self.store.mail.add_messages(self.folders[folder], [new(uid) for uid in range(1, count + 1)]))

    def shown(self, folder: str) -> list[int]:
        """What the list shows, newest first."""
        return [placement for _, placement in self.store.mail.page(self.folders[folder], limit=10_000)]


@pytest.fixture
def box(profile: Paths) -> Iterator[Box]:
    found = Box(profile)
    yield found
    found.store.close()
