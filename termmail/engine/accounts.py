"""The account manager: one worker an account, started, stopped and told what happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from termmail.config import secrets
from termmail.config.settings import Loaded
from termmail.engine.kinds import AccountWorker
from termmail.engine.pop import PopWorker
from termmail.engine.pulse import Pulse
from termmail.engine.worker import Worker
from termmail.link import Again
from termmail.model.account import Account, Server
from termmail.model.message import AccountId, FolderId
from termmail.store.db import Store

log = logging.getLogger("termmail.engine")


class AccountManager:
    """Holds the workers; `again` is where news goes, `folders_open` tells what is on screens."""

    def __init__(
        self,
        store: Store,
        again: Callable[[Again], None],
        folders_open: Callable[[], list[int]],
        *,
        headers_only: bool = False,
    ) -> None:
        self.store = store
        self.again = again
        self.folders_open = folders_open
        self.headers_only = headers_only
        self.workers: dict[str, AccountWorker] = {}
        self._secrets: dict[str, str] = {}
        self.pulse = Pulse(self._changed)
        self._probing: set[asyncio.Task[None]] = set()

    def secret(self, server: Server) -> str:
        """The password of a server, asked for once.  From any thread.  Raises SecretError."""
        found = self._secrets.get(server.secret_key)
        if found is None:
            found = self._secrets[server.secret_key] = secrets.secret(server)
        return found

    def forget_secret(self, server: Server) -> None:
        """It was refused: ask for it anew the next time."""
        self._secrets.pop(server.secret_key, None)

    async def apply(self, loaded: Loaded, only: list[str] | None = None) -> None:
        """Make the workers those of the settings; an account that changed is begun anew."""
        self._secrets.clear()
        self.pulse.start()
        wanted = {account.name: account for account in loaded.settings.accounts if not only or account.name in only}
        for name in [name for name, worker in self.workers.items() if wanted.get(name) != worker.account]:
            await self.workers.pop(name).stop()
        for name, account in wanted.items():
            if name not in self.workers:
                self._start(account)
        for worker in self.workers.values():
            worker.look(sync_now=True)

    def _start(self, account: Account) -> None:
        account_id = self.store.mail.ensure_account(account.name, account.email)
        kind = PopWorker if account.incoming.kind == "pop3" else Worker
        worker = self.workers[account.name] = kind(self, account, account_id)
        worker.start()

    def _changed(self) -> None:
        """The machine has slept, or its network is another."""
        for worker in self.workers.values():
            task = asyncio.get_running_loop().create_task(worker.resumed())
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)

    def look(self, *, sync_now: bool = False) -> None:
        """Something may be wanted."""
        for worker in self.workers.values():
            worker.look(sync_now=sync_now)

    def connected(self, worker: AccountWorker) -> None:
        """A worker has logged in: its secret was right."""
        log.info("%s: connected", worker.name)

    def open_folder(self, account_id: AccountId) -> FolderId | None:
        """The folder of that account that is on a screen, if any."""
        mine = {folder.id for folder in self.store.mail.folders(account_id)} if any(self.folders_open()) else set()
        return next((FolderId(f) for f in self.folders_open() if f in mine), None)

    def busy(self) -> int:
        """Wishes and messages that still wait, of all accounts."""
        return sum(worker.busy() for worker in self.workers.values())

    async def stop(self) -> None:
        """End all workers, within a second."""
        self.pulse.stop()
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))
        self.workers.clear()
