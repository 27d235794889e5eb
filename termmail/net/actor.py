"""One thread that owns one connection, and an asyncio face for it.

Calls queue up by priority; an idle connection is woken by any call.  The connection is made when it is
first needed, dropped when a call breaks it, and made anew by the next call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from termmail.model.errors import ConnectionLost, NetError, Refused, TermmailError
from termmail.net.backend import Events
from termmail.net.imap.session import ImapSession

log = logging.getLogger("termmail.net")
T = TypeVar("T")
INTERACTIVE, NORMAL, BACKGROUND = 0, 5, 9
_LAST = 99
REST = 300.0  # seconds without a call after which a connection is closed
PROBE = 10.0  # seconds in which a connection that lives must answer


def _ignore(_: list[tuple[bytes, Events]]) -> None:
    """Nobody wants the news."""


class Actor:
    """See the module.  All methods belong to the event loop's thread, but for `abort`."""

    def __init__(
        self,
        factory: Callable[[], ImapSession],
        name: str,
        on_news: Callable[[list[tuple[bytes, Events]]], None] = _ignore,
    ) -> None:
        self.factory = factory
        self.on_news = on_news  # on the event loop, before the result of the call that the news came with
        self.name = name
        self.session: ImapSession | None = None
        self.made = 0  # connections so far
        self._queue: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._idling = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Calls are queued behind the one that runs."""
        return not self._queue.empty()

    async def call(self, function: Callable[[ImapSession], T], priority: int = NORMAL) -> T:
        """Run a function on the connection's thread; lower priorities first.  Raises what it raises."""
        return await self._submit(function, priority)

    async def idle(self, seconds: float, wire: bytes, since: int | None = None) -> Events:
        """IDLE on a folder until news, the time, or another call; then the news.

        `since`: the number of the connection (`made`) that was prepared for it; ConnectionLost if it is another by now.
        """

        def run(session: ImapSession) -> Events:
            if since not in (None, self.made):
                raise ConnectionLost("the connection is not the one that was prepared")
            session.select(wire)
            with self._lock:
                self._idling = self._queue.empty()
            try:
                return session.idle(seconds if self._idling else 0.0)
            finally:
                with self._lock:
                    self._idling = False

        return await self._submit(run, _LAST)

    async def _submit(self, function: Callable[[ImapSession], T], priority: int) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: BaseException | None, news: list[tuple[bytes, Events]]) -> None:
            if news:
                self.on_news(news)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def job() -> None:
            result: T | None = None
            failure: BaseException | None = None
            if future.cancelled():
                return
            try:
                result = function(self._connected())
            except Refused as error:
                failure = error
            except TermmailError as error:
                failure = error
                self._drop()
            except Exception as error:
                log.exception("%s failed", self.name)
                failure = ConnectionLost(
                    f"an internal error ended the connection ({type(error).__name__}); see the log"
                )
                self._drop()
            news = self.session.news() if self.session is not None else []
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(finish, result, failure, news)

        with self._lock:
            if self._closed:
                raise ConnectionLost("the connection is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"imap-{self.name}", daemon=True)
                self._thread.start()
            self._queue.put((priority, next(self._order), job))
            if self._idling and self.session is not None:
                self.session.wake()
        return await future

    def _connected(self) -> ImapSession:
        if self._closed:
            raise ConnectionLost("the connection is closed")
        if self.session is not None and self.session.wire.over:
            self._drop()
        if self.session is None:
            session = self.factory()
            if self._closed:  # while it was being made
                session.wire.close()
                raise ConnectionLost("the connection is closed")
            self.session = session
            self.made += 1
        return self.session

    def _drop(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.wire.close()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
        session, self.session = self.session, None
        if session is not None:
            with contextlib.suppress(NetError):
                session.logout()
        with contextlib.suppress(queue.Empty):  # whoever still waits is told that it is closed
            while True:
                if (job := self._queue.get_nowait()[2]) is not None:
                    job()

    def _next(self) -> Callable[[], None] | None:
        """The next job; while none comes for long the connection is given back, politely."""
        while True:
            try:
                return self._queue.get(timeout=REST)[2]
            except queue.Empty:
                session, self.session = self.session, None
                if session is not None:
                    with contextlib.suppress(NetError):
                        session.logout()

    async def probe(self) -> bool:
        """False if the connection no longer lives; it is ended then, so that the next call makes a new one."""
        if self.session is None:
            return True
        try:
            await asyncio.wait_for(self._submit(lambda s: s.probe(PROBE), INTERACTIVE), PROBE + 1)
        except (TermmailError, TimeoutError):
            self.abort()
            return False
        return True

    def abort(self) -> None:
        """Break the connection now; the running call raises ConnectionLost."""
        session = self.session
        if session is not None:
            session.abort()

    async def close(self, seconds: float = 1.0) -> None:
        """End the thread: politely if it is quick about it, else by breaking the connection."""
        self._closed = True
        if self._thread is None:
            return
        with self._lock:  # no call is put behind the end
            self._queue.put((-1, next(self._order), None))
            if self._idling and self.session is not None:
                self.session.wake()
        end = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if self._thread.is_alive():
            self.abort()
