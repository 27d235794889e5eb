"""Keys typed ahead: each is done before the next is taken, so that it goes where it is meant to go.

Textual hands a key to the widget that has the focus now, and only later, by way of queues, does the key before it
move the focus, open a dialog or close one.  Over a slow line, or from quick fingers, several keys come at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from textual import events

if TYPE_CHECKING:
    from textual.message_pump import MessagePump
    from textual.timer import Timer

    from termmail.ui.app import TermmailApp

_POLL = 0.01  # seconds between looks whether a screen takes keys by now
_PATIENCE = 0.5  # seconds that a widget may take over one key; then the next one is taken all the same
_ROUNDS = 20  # messages that follow from one another because of one key


class Ahead:
    """See the module.  `take` hands an event on; True if it went to a widget, which will do it in its own time."""

    def __init__(self, app: TermmailApp, take: Callable[[events.Event], Awaitable[bool]]) -> None:
        self.app = app
        self.take = take
        self.waiting: list[events.Event] = []
        self._at_work = 0  # number of the key that a widget is at; 0: none
        self._count = 0
        self._polling = False
        self._limit: Timer | None = None

    async def __call__(self, event: events.Event) -> None:
        """A key or a paste from the terminal."""
        self.waiting.append(event)
        await self._go_on()

    async def _go_on(self) -> None:
        while self.waiting and not self._at_work:
            if self.app.opening():
                if not self._polling:
                    self._polling = True
                    self.app.set_timer(_POLL, self._look)
                return
            event = self.waiting.pop(0)
            self._at_work = self._count = self._count + 1
            if await self.take(event):
                self._limit = self.app.set_timer(_PATIENCE, partial(self._done, self._at_work))
                self._follow(self.app.focused or self.app.screen, self._at_work, 0)
            else:
                self._at_work = 0

    async def _look(self) -> None:
        self._polling = False
        await self._go_on()

    def _follow(self, pump: MessagePump, number: int, rounds: int) -> None:
        """A marker takes the way of the key, from queue to queue up to the app, always right behind it."""

        def arrived() -> None:
            parent = pump._parent
            if parent is not None and parent is not self.app:
                self._follow(parent, number, rounds)
            else:
                self.app.call_later(self._back, number, rounds)

        if not pump.call_later(arrived):  # it is gone: the dialog that was closed
            arrived()

    async def _back(self, number: int, rounds: int) -> None:
        """The marker is at the app; what the key set off may still be under way."""
        pump: MessagePump | None = self.app.focused or self.app.screen
        busy = False
        while pump is not None:
            busy = busy or pump.message_queue_size > 0
            pump = pump._parent
        if busy and rounds < _ROUNDS:
            self._follow(self.app.focused or self.app.screen, number, rounds + 1)
        else:
            await self._done(number)

    async def _done(self, number: int) -> None:
        if self._at_work == number:
            self._at_work = 0
            if self._limit is not None:
                self._limit.stop()
            await self._go_on()
