"""The output driver: sends the terminal only what changed, and nothing that is not ours.

Textual repaints whole lines.  This driver keeps a copy of what the terminal shows (`cells.Screen`), reads each
frame that Textual writes, and sends the difference.  It is the last gate before the terminal: a control
character or escape sequence inside a frame that is not style, position or a link is dropped.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.message import Message

from termmail.ui.cells import Screen
from termmail.ui.skin import answers

FRAME = re.compile(r"\x1b\[\d+;\d+H")
_SYNC = ("\x1b[?2026h", "\x1b[?2026l")
_ESCAPE = 0.04  # seconds after which an ESC without a sequel was the key
_TICK = 0.1  # seconds between looks whether the program ends


class DiffDriver(LinuxDriver):
    """Textual's driver with `Screen` between it and the terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.screen = Screen()
        self._size = (0, 0)
        self._suspended = False
        self._in_tmux = "TMUX" in os.environ

    def suspend_application_mode(self) -> None:
        """Another program has the terminal: whatever Textual writes meanwhile is dropped, not queued."""
        super().suspend_application_mode()
        self._suspended = True

    def resume_application_mode(self) -> None:
        """We have it again, and know nothing of what it shows."""
        self._suspended = False
        self._size = (0, 0)
        super().resume_application_mode()

    def _enable_mouse_support(self) -> None:
        """Clicks and the wheel; not every motion, which costs bytes both ways."""
        if self._mouse:
            self.write("\x1b[?1000h\x1b[?1006h")

    def _enable_mouse_pixels(self) -> None:
        """Cells are fine."""

    def run_input_thread(self) -> None:
        """Read keys.  Textual's own looks ten times a second whether an ESC stands alone: too slow for a key."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            self._hand_on(parser.feed(answers.typed) if answers.typed else ())
            while not self.exit_event.is_set():
                escape = parser._timeout_time is not None
                if selector.select(_ESCAPE if escape else _TICK):
                    data = b""
                    with contextlib.suppress(OSError):  # EIO: the terminal has gone
                        data = os.read(self.fileno, 4096)
                    if not data:
                        break
                    self._hand_on(parser.feed(answers.strip(decode(data))))
                elif escape:
                    parser._timeout_time = 0.0
                self._hand_on(parser.tick())
        with contextlib.suppress(EOFError, ParseError):
            self._hand_on(parser.feed(""))

    def _hand_on(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)

    def slide(self, region: Region, lines: int) -> bool:
        """A widget's lines move before its next frame; see `Screen.slide`."""
        return (
            not self._suspended
            and self._fresh()
            and self.screen.slide(region.x, region.y, region.width, region.height, lines)
        )

    def write(self, data: str) -> None:
        """Frames as differences; everything else as it is."""
        if self._suspended or (self._in_tmux and data in _SYNC):  # tmux 3.4 redraws the region (textual.md §3.1)
            return
        if FRAME.match(data):
            data = self._frame(data)
        elif "\x1b[?1049" in data or "\x1b[2J" in data:
            self._size = (0, 0)
        super().write(data)

    def _fresh(self) -> bool:
        """What the screen knows is of the size that the terminal has."""
        return self._size == (self._app.size.width, self._app.size.height)

    def _frame(self, data: str) -> str:
        size = (self._app.size.width, self._app.size.height)
        if not self._fresh():
            self._size = size
            self.screen.forget(*size)
        out = self.screen.update(data)
        if out is None:  # a frame for another size than the terminal's: a resize is under way
            self.screen.forget(*size)
            return ""
        return out
