"""Noticing that the machine has slept, or that its network is another now."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

BEAT = 5.0  # seconds between two looks at the clocks
SLEPT = 30.0  # seconds by which they must have parted
TOGETHER = 2.0  # seconds in which changes of the network are one
_GROUPS = 0x10 | 0x40 | 0x100  # RTMGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR of rtnetlink(7)


def asleep() -> float:
    """Seconds that the monotonic clock has not seen, from some beginning on: time asleep."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME)
    return time.clock_gettime(clock) - time.monotonic()


class Pulse:
    """Calls `changed` on the event loop; `sleep` tells how long the machine has slept so far."""

    def __init__(self, changed: Callable[[], None], sleep: Callable[[], float] = asleep) -> None:
        self.changed = changed
        self.sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._route: socket.socket | None = None
        self._soon: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Notice from now on, until `stop`."""
        if self._task is not None:
            return
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._beat())
        with contextlib.suppress(OSError, AttributeError):  # where there is no netlink the clocks must do
            self._route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._route.bind((0, _GROUPS))
            loop.add_reader(self._route, self._routed)

    def stop(self) -> None:
        """Notice nothing more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._soon is not None:
            self._soon.cancel()
        if self._route is not None:
            asyncio.get_running_loop().remove_reader(self._route)
            self._route.close()
            self._route = None

    async def _beat(self) -> None:
        before = self.sleep()
        while True:
            await asyncio.sleep(BEAT)
            now = self.sleep()
            if abs(now - before) > SLEPT:
                self.changed()
            before = now

    def _routed(self) -> None:
        """An address or a route came or went; usually several do."""
        with contextlib.suppress(OSError):
            while self._route is not None and self._route.recv(65536):
                pass
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(TOGETHER, self._now)

    def _now(self) -> None:
        self._soon = None
        self.changed()
