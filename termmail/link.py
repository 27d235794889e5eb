"""The Unix socket between an engine and those who look: "look again", said both ways, and nothing more.

Messages are JSON lines.  They name what to read again and never carry mail; a lost one is harmless, since
clients also watch the database itself.  The socket lies in a private folder and is private itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from termmail import __version__
from termmail.model.errors import EngineError
from termmail.paths import Paths

PROTOCOL = 1
LINE_LIMIT = 1 << 20
REPLACE = 5.0  # seconds that an engine of another version has to leave
PARTING = 0.2  # seconds for clients to hang up
COALESCE = 0.1  # seconds between two "again"


@dataclass(frozen=True, slots=True)
class Again:
    """What to read again; `everything` after a lost connection."""

    folders: frozenset[int] = frozenset()
    accounts: bool = False
    bodies: frozenset[int] = frozenset()
    outbox: bool = False
    notices: bool = False
    everything: bool = False

    def __or__(self, other: Again) -> Again:
        return Again(
            self.folders | other.folders, self.accounts or other.accounts, self.bodies | other.bodies,
            self.outbox or other.outbox, self.notices or other.notices, self.everything or other.everything,
        )  # fmt: skip


def hello() -> dict[str, Any]:
    """What both ends say first."""
    return {"hello": "termmail", "protocol": PROTOCOL, "pid": os.getpid(), "version": __version__}


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


# -- the engine's end ---------------------------------------------------------------------------

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


class Hub:
    """Accepts clients, hands their wishes on, tells all of them what to look at again."""

    def __init__(self, paths: Paths, handler: Handler) -> None:
        self.paths = paths
        self.handler = handler
        self.attached: dict[asyncio.StreamWriter, int] = {}  # clients that stay, and the folder each has open
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._again = Again()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    async def start(self) -> None:
        """Listen.  The lock is held, so a socket that lies there is a dead engine's."""
        with contextlib.suppress(FileNotFoundError):
            self.paths.socket.unlink()
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self.paths.socket), limit=LINE_LIMIT)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop listening and part from all clients."""
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        for writer in list(self._clients):
            writer.close()
        if tasks := [task for task in self._clients.values() if task is not None]:
            await asyncio.wait(tasks, timeout=PARTING)
        with contextlib.suppress(OSError):
            self.paths.socket.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = asyncio.current_task()
        try:
            writer.write(_line(hello()))
            while line := await reader.readline():
                message = json.loads(line)
                if not isinstance(message, dict):
                    break
                if message.get("attach"):
                    self.attached.setdefault(writer, 0)
                if writer in self.attached and isinstance(message.get("open"), int):
                    self.attached[writer] = message["open"]
                answer = await self.handler(message)
                if answer is not None:
                    writer.write(_line(answer))
                    await writer.drain()  # whoever asks has to read
                if message.get("look"):  # somebody's wish is news for the others
                    self.say(Again(everything=True), but=writer)
        except (OSError, ValueError, TypeError, RecursionError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # a client that went away or talks nonsense, or the engine ends
        finally:
            self.attached.pop(writer, None)
            self._clients.pop(writer, None)
            writer.close()

    def again(self, what: Again) -> None:
        """Tell everybody soon, at most ten times a second."""
        self._again |= what
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._last + COALESCE - loop.time()), self._flush)

    def _flush(self) -> None:
        what, self._again, self._timer = self._again, Again(), None
        self._last = asyncio.get_running_loop().time()
        self.say(what)

    def say(self, what: Again, but: asyncio.StreamWriter | None = None) -> None:
        """Tell everybody now; a client that does not read is told nothing more."""
        data = _line({
            "again": {
                "folders": sorted(what.folders), "accounts": what.accounts, "bodies": sorted(what.bodies),
                "outbox": what.outbox, "notices": what.notices, "everything": what.everything,
            }
        })  # fmt: skip
        for writer in self.attached:
            if writer is not but and writer.transport.get_write_buffer_size() < LINE_LIMIT:
                writer.write(data)


# -- a client's end --------------------------------------------------------------------------------


class Link:
    """A client that stays attached and comes back by itself when the engine is replaced."""

    def __init__(self, paths: Paths, on_again: Callable[[Again], None]) -> None:
        self.paths = paths
        self.on_again = on_again
        self.connected = False
        self._writer: asyncio.StreamWriter | None = None
        self._open = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._task = asyncio.get_running_loop().create_task(self._stay())

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._writer is not None:
            self._writer.close()

    def say(self, **message: Any) -> None:
        """Say something to the engine; without one it is not said.  Never blocks, never raises."""
        if "open" in message:
            self._open = message["open"]
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_line(message))

    async def _stay(self) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError, AttributeError, asyncio.LimitOverrunError):
                reader, self._writer = await asyncio.open_unix_connection(str(self.paths.socket), limit=LINE_LIMIT)
                if json.loads(await reader.readline()).get("protocol") != PROTOCOL:
                    await self._replace_engine()
                    continue
                self._writer.write(_line({"attach": True, "open": self._open, "look": True}))
                self.connected = True
                self.on_again(Again(everything=True))
                while line := await reader.readline():
                    found = json.loads(line).get("again")
                    if isinstance(found, dict):
                        self.on_again(_again(found))
            self.connected = False
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            await asyncio.sleep(0.2)

    async def _replace_engine(self) -> None:
        """An engine of another version runs, of before an update: it leaves, ours comes."""
        assert self._writer is not None
        self._writer.write(_line({"stop": True}))
        self._writer.close()
        self._writer = None
        end = time.monotonic() + REPLACE
        while is_running(self.paths) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        with contextlib.suppress(EngineError):
            ensure_engine(self.paths)
        await asyncio.sleep(0.5)


def _again(found: dict[str, Any]) -> Again:
    return Again(
        frozenset(found.get("folders", ())), bool(found.get("accounts")), frozenset(found.get("bodies", ())),
        bool(found.get("outbox")), bool(found.get("notices")), bool(found.get("everything")),
    )  # fmt: skip


def ask(paths: Paths, message: dict[str, Any], timeout: float = 5.0) -> dict[str, Any] | None:
    """Say one thing and return the engine's answer to it; None if there is no engine or no answer in time."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(paths.socket))
            sock.sendall(_line(message))
            with sock.makefile("rb") as lines:
                lines.readline(LINE_LIMIT)  # the hello
                answer = json.loads(lines.readline(LINE_LIMIT))
                return answer if isinstance(answer, dict) else None
    except (OSError, ValueError):
        return None


def poke(paths: Paths) -> bool:
    """Tell a running engine that there is something new in the store; False if none runs."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1.0)
            sock.connect(str(paths.socket))
            sock.sendall(_line({"look": True}))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):  # hanging up on what was not read would take our words back
                pass
            return True
    except OSError:
        return False


# -- one engine per profile ---------------------------------------------------------------------------


class EngineLock:
    """The lock that only one engine of a profile can hold; it ends with the process, however that ends."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.lock
        self._descriptor = -1

    def take(self, patience: float = 0.0) -> bool:
        """True if it is ours now; `patience`: seconds to wait for one who only looked whether it is free."""
        descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        if not wait_until(lambda: _locked(descriptor, fcntl.LOCK_EX), patience):
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _locked(descriptor: int, kind: int) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_running(paths: Paths) -> bool:
    """An engine holds the lock."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def ensure_engine(paths: Paths) -> None:
    """Start an engine in the background unless one runs.  Raises EngineError."""
    if is_running(paths):
        return
    try:
        subprocess.Popen(
            [sys.executable, "-m", "termmail", "engine", "run", "--attached"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    except OSError as error:
        raise EngineError(f"the engine cannot be started: {error.strerror}") from error


def _environment() -> dict[str, str]:
    """The environment for an engine: ours, with the way to this very package."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    known = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look until it holds or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
