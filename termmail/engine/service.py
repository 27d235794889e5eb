"""The engine as a process: lock, socket, signals, log, and when to leave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import logging.handlers
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

from termmail import __version__
from termmail.config import settings
from termmail.engine.accounts import AccountManager
from termmail.link import EngineLock, Hub
from termmail.model.errors import EngineError, TermmailError
from termmail.paths import Paths
from termmail.store.db import Store

log = logging.getLogger("termmail.engine")
LOOK = 0.25  # seconds between two looks at whether to leave
LAST_SECOND = 0.3
GRACE = 10.0  # seconds for the UI that started us to attach
STUCK = 120.0  # seconds that queued work may keep us although no server can be reached


def start_log(paths: Paths, *, debug: bool = False) -> None:
    """Log to a file of ours, at most three times a megabyte; never mail, addresses or secrets."""
    handler = logging.handlers.RotatingFileHandler(paths.log, maxBytes=1 << 20, backupCount=2, encoding="utf-8")
    os.chmod(paths.log, 0o600)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s %(message)s"))
    root = logging.getLogger("termmail")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    root.propagate = False


class Engine:
    """One run of the engine."""

    def __init__(self, paths: Paths, *, attached: bool) -> None:
        self.paths = paths
        self.attached = attached
        self.leaving = asyncio.Event()
        self.seen_client = False
        self.store = Store.open(paths)
        self.store.changed_elsewhere()  # from now on; what is there already is seen by the workers as they start
        self.loaded = settings.load(paths.settings)
        self.hub = Hub(paths, self.handle)
        self.manager = AccountManager(self.store, self.hub.again, lambda: list(self.hub.attached.values()))

    async def run(self) -> None:
        """Work until asked to leave, or until nobody needs us."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leaving.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        await self.hub.start()
        self.store.queue.sweep()
        await self.manager.apply(self.loaded)
        keeper = loop.create_task(self._watch_over())
        await self.leaving.wait()
        keeper.cancel()
        await self.manager.stop()
        await self.hub.stop()
        self.store.close()
        _end_soon()

    async def _watch_over(self) -> None:
        """Notice what others commit, and leave when nobody looks and nothing waits."""
        began = lonely = time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            now = time.monotonic()
            with contextlib.suppress(TermmailError):
                if self.store.changed_elsewhere():
                    self.manager.look()
            if self.hub.attached:
                self.seen_client, lonely = True, now
                continue
            if not self.attached or (not self.seen_client and now - began < GRACE):
                lonely = now if not self.attached else lonely
                continue
            linger = self.loaded.settings.engine.linger
            if (
                linger is not None
                and now - lonely >= linger
                and (not self.manager.busy() or now - lonely > linger + STUCK)
            ):
                self.leaving.set()

    async def handle(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """What a client says."""
        if message.get("attach"):
            self.seen_client = True
        if message.get("look") or "open" in message:
            self.manager.look()
        if message.get("sync"):
            for worker in self.manager.workers.values():
                worker.look_at_all()
            self.manager.look(sync_now=True)
        if message.get("settings"):
            self.loaded = settings.load(self.paths.settings)
            await self.manager.apply(self.loaded)
        if message.get("wait"):
            await self._until_settled(float(message.get("seconds", 60.0)))
            folders = [line for worker in self.manager.workers.values() for line in worker.report()]
            return {"settled": True, "status": self.status(), "folders": folders}
        if message.get("stop"):
            self.leaving.set()
            return {"stopping": True}
        if message.get("status"):
            return {"status": self.status()}
        return None

    async def _until_settled(self, seconds: float) -> None:
        """Until every worker has done what it can."""
        waits = [w.settled.wait() for w in self.manager.workers.values()]
        waits += [w.sender.idle.wait() for w in self.manager.workers.values()]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*waits), seconds)

    def status(self) -> dict[str, Any]:
        """`engine status --json` (contract.md)."""
        return {
            "running": True, "pid": os.getpid(), "version": __version__, "attached": len(self.hub.attached),
            "accounts": accounts_json(self.store),
        }  # fmt: skip


def _end_soon() -> None:
    """Everything is written: a name look-up or password command that hangs on a thread must not keep us."""
    last = threading.Timer(LAST_SECOND, os._exit, (0,))
    last.daemon = True
    last.start()


def accounts_json(store: Store) -> list[dict[str, Any]]:
    """The accounts of a store for `engine status --json`."""
    return [
        {
            "name": one.name, "state": one.state.value, "folder": one.folder,
            "queued": one.queued + store.queue.queued_count(one.name), "last_sync": one.last_sync, "error": one.error,
        }
        for one in store.mail.accounts()
    ]  # fmt: skip


def run(paths: Paths, *, attached: bool) -> int:
    """Be the engine until asked to leave; the exit code.  Raises EngineError if another one runs."""
    os.umask(0o077)
    paths.make()
    lock = EngineLock(paths)
    if not lock.take(patience=0.5):
        raise EngineError("an engine is running for this profile already", hint="termmail engine status")
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(5)
    sys.setswitchinterval(0.0005)
    gc.set_threshold(50_000, 20, 100)  # 100,000 messages are no garbage
    start_log(paths, debug=bool(os.environ.get("TERMMAIL_TRACE")))
    try:
        asyncio.run(_main(paths, attached=attached))
    finally:
        lock.release()
    return 0


async def _main(paths: Paths, *, attached: bool) -> None:
    await Engine(paths, attached=attached).run()
