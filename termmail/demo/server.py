"""The demo's servers, in a thread for tests and in a process of their own for the demo."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import threading
import time
from pathlib import Path

from termmail.demo import content, imap, smtp
from termmail.demo.faults import Faults
from termmail.demo.mailbox import Folder, World

LOOKS = 3  # at whether the trial's folder is gone, a second apart


class DemoServer:
    """IMAP and SMTP on loopback in a thread; use it as a context manager."""

    host = "127.0.0.1"

    def __init__(
        self,
        users: dict[str, str] | None = None,
        *,
        sample: bool = False,
        without: set[str] | frozenset[str] = frozenset(),
        addresses: dict[str, str] | None = None,
    ) -> None:
        self.users = users or {"ada": "secret"}
        self.world = World(self.users)
        self.faults = Faults()
        self.imap = imap.Server(self.world, self.faults, frozenset(without))
        self.smtp = smtp.Server(
            self.world, self.faults, addresses or {f"{user}@demo.example": user for user in self.users}
        )
        if sample:
            content.fill(self.world, time.time())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._main: asyncio.Task[None] | None = None

    @property
    def imap_port(self) -> int:
        return self.imap.port

    @property
    def smtp_port(self) -> int:
        return self.smtp.port

    def __enter__(self) -> DemoServer:
        self._thread = threading.Thread(target=self._run, name="demo-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the demo server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._stop)
            thread.join(5)

    def _stop(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._main = asyncio.current_task()
            self.world.bind(self._loop)
            await self.imap.start()
            await self.smtp.start()
            self._ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await self.imap.stop()
            await self.smtp.stop()
            await asyncio.sleep(0.05)  # connections end

        asyncio.run(main())

    # -- as another client would ----------------------------------------------------

    def folder(self, name: str = "INBOX", user: str = "ada") -> Folder:
        """A folder, to look at."""
        return self.world.accounts[user].folders[name]

    def add(self, raw: bytes, folder: str = "INBOX", user: str = "ada", flags: set[str] | None = None) -> int:
        """Deliver a message; its UID."""
        with self.world.lock:
            account = self.world.accounts[user]
            uid = (account.folders.get(folder) or account.create(folder)).add(raw, flags).uid
        self.world.changed()
        return uid

    def expunge(self, uids: set[int], folder: str = "INBOX", user: str = "ada") -> None:
        """Another client removes messages."""
        with self.world.lock:
            self.folder(folder, user).remove(uids)
        self.world.changed()

    def flag(self, uid: int, add: set[str], remove: set[str], folder: str = "INBOX", user: str = "ada") -> None:
        """Another client changes flags."""
        with self.world.lock:
            box = self.folder(folder, user)
            one = next(one for one in box.messages if one.uid == uid)
            box.set_flags(one, (one.flags | add) - remove)
        self.world.changed()

    def renumber(self, folder: str = "INBOX", user: str = "ada") -> None:
        """UIDVALIDITY changes, and every UID."""
        with self.world.lock:
            self.folder(folder, user).renumber()
        self.world.changed()


async def _demo(every: float, passwords: dict[str, str]) -> None:
    """The demo's life: until standard input closes."""
    world = World(passwords)
    content.fill(world, time.time())
    loop = asyncio.get_running_loop()
    world.bind(loop)
    receiver = imap.Server(world, Faults())
    addresses = {address: user for user, address in content.USERS.items()}
    sender = smtp.Server(world, Faults(), addresses)
    await receiver.start()
    await sender.start()
    print(json.dumps({"imap": receiver.port, "smtp": sender.port}), flush=True)
    gone = loop.run_in_executor(None, sys.stdin.buffer.read)
    number = 0
    while not gone.done():
        done, _ = await asyncio.wait({gone}, timeout=every)
        if done:
            break
        user, raw = content.arriving(number, time.time())
        number += 1
        with world.lock:
            world.accounts[user].folders["INBOX"].add(raw)
        world.changed()


def main() -> None:
    """`python -m termmail.demo.server`: ports as a line of JSON on standard output; passwords come as one on standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument(
        "--forget", type=Path, help="remove this folder, and end its engine, if the mail client could not"
    )
    options = parser.parse_args()
    passwords = json.loads(sys.stdin.buffer.readline())
    asyncio.run(_demo(options.every, passwords))
    if options.forget is not None:
        _clear(options.forget)


def _clear(home: Path) -> None:
    """The terminal was closed, or the mail client killed: do what it would have done; an engine may just have begun."""
    from termmail import paths
    from termmail.demo import run

    place = paths.find()
    for _ in range(LOOKS):
        if not home.exists():
            return
        run.clear(place, home)
        time.sleep(1.0)


if __name__ == "__main__":
    main()
