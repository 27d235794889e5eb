"""One pass over the accounts, for commands: through the engine that runs, or in this process under the lock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from termmail import link
from termmail.config.settings import Loaded
from termmail.engine.accounts import AccountManager
from termmail.model.account import AccountState
from termmail.model.errors import EngineError
from termmail.paths import Paths
from termmail.store.db import Store


@dataclass(slots=True)
class Pass:
    """What one pass did: a line a folder as contract.md has it, and errors in words."""

    folders: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


def sync_once(
    paths: Paths,
    loaded: Loaded,
    *,
    accounts: list[str] | None = None,
    headers_only: bool = False,
    on_progress: Callable[[str], None] = lambda words: None,
    seconds: float = 3600.0,
) -> Pass:
    """Bring everything up to date and carry out what is queued, once.  Raises EngineError if a starting engine is in the way."""
    began = time.monotonic()
    lock = link.EngineLock(paths)
    if lock.take():
        try:
            done = asyncio.run(_here(paths, loaded, accounts, headers_only, on_progress, seconds))
        finally:
            lock.release()
    else:
        done = _through_engine(paths, accounts, seconds)
    done.seconds = time.monotonic() - began
    return done


def _through_engine(paths: Paths, accounts: list[str] | None, seconds: float) -> Pass:
    """Ask the running engine, and wait until it has nothing left to do."""
    answer = link.ask(paths, {"sync": True, "wait": True, "seconds": seconds}, timeout=seconds + 5)
    if answer is None:
        raise EngineError("the engine does not answer", hint="termmail engine stop, then try again")
    found = Pass([line for line in answer.get("folders", ()) if not accounts or line["account"] in accounts])
    for one in answer.get("status", {}).get("accounts", ()):
        if (not accounts or one["name"] in accounts) and one["error"]:
            found.errors.append(f"{one['name']}: {one['error']}")
    return found


async def _here(
    paths: Paths,
    loaded: Loaded,
    accounts: list[str] | None,
    headers_only: bool,
    on_progress: Callable[[str], None],
    seconds: float,
) -> Pass:
    """Be the engine for one pass."""
    store = Store.open(paths)
    manager = AccountManager(store, lambda _: None, list, headers_only=headers_only)
    found = Pass()
    try:
        store.queue.sweep()
        await manager.apply(loaded, accounts)
        end = time.monotonic() + seconds
        while manager.workers and time.monotonic() < end:
            await asyncio.sleep(0.05)
            for one in store.mail.accounts():
                if one.total:
                    on_progress(f"{one.name}: {one.folder} {one.done:,} of {one.total:,}")
            if all(w.settled.is_set() and w.sender.idle.is_set() for w in manager.workers.values()):
                break
        for name, worker in manager.workers.items():
            found.folders += worker.report()
            if worker.state not in (AccountState.ONLINE, AccountState.SYNCING):
                found.errors.append(_why(store, name))
    finally:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(manager.stop(), 3)
        store.close()
    return found


def _why(store: Store, name: str) -> str:
    """The last error of an account, in words."""
    error = next((one.error for one in store.mail.accounts() if one.name == name), "")
    return f"{name}: {error or 'could not be synchronised'}"
