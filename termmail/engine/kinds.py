"""What the rest of the engine knows of an account's worker, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from termmail.model.account import Account, AccountState
from termmail.model.message import AccountId
from termmail.store.db import Store

if TYPE_CHECKING:
    from termmail.engine.accounts import AccountManager
    from termmail.engine.outbox import Sender


class AccountWorker(Protocol):
    """One account at work: worker.py (IMAP) and pop.py (POP3)."""

    manager: AccountManager
    account: Account
    name: str
    id: AccountId
    store: Store
    sender: Sender
    state: AccountState
    settled: asyncio.Event  # nothing is left to be done

    def start(self) -> None:
        """Begin to work, until `stop`."""

    async def stop(self) -> None:
        """End within a second."""

    def look(self, *, sync_now: bool = False) -> None:
        """There may be something new in the store; `sync_now`: ask the server for news too, even after errors."""

    async def resumed(self) -> None:
        """The machine has slept, or the network is another: try again at once."""

    def look_at_all(self) -> None:
        """The next look goes to every folder, and `report` tells what it found."""

    def report(self) -> list[dict[str, Any]]:
        """What was done in each folder, as `sync --json` tells it (contract.md)."""

    def busy(self) -> int:
        """Wishes, and messages to be sent, that still wait."""

    def news(
        self,
        folders: Iterable[int] = (),
        *,
        accounts: bool = False,
        bodies: Iterable[int] = (),
        outbox: bool = False,
        notices: bool = False,
    ) -> None:
        """Tell whoever looks what to read again."""
