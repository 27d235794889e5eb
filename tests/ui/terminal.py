"""A terminal for tests: the real program in a pty, pyte as its screen, and every byte it wrote."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte
from wcwidth import wcwidth

ROOT = Path(__file__).parents[2]


def _without_stubs(row: Sequence[str]) -> Iterator[str]:
    """The characters of a row: behind a wide one stands an empty cell, which is none."""
    wide = False
    for char in row:
        if char or not wide:
            yield char or " "
        wide = bool(char) and wcwidth(char[0]) == 2


class Terminal:
    """`with Terminal(["-m", "termmail"], home=…) as term: term.wait("Inbox"); term.send("j")`."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        home: Path,
        width: int = 100,
        height: int = 30,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.args, self.width, self.height = [sys.executable, *args], width, height
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "TERMMAIL_HOME": str(home), "TERM": "xterm-256color",
            "COLORTERM": "truecolor", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **(env or {}),
        }  # fmt: skip
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)
        self.raw = bytearray()
        self.status: int | None = None
        self._held = ""
        self._decode = getincrementaldecoder("utf-8")("ignore").decode  # a read may end inside a character

    def __enter__(self) -> Terminal:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(self.args[0], self.args, self.env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", self.height, self.width, 0, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            _, self.status = os.waitpid(self.pid, 0)
        os.close(self.fd)

    @property
    def text(self) -> str:
        """What is on the screen; half a wide character, as it may stand in the middle of a frame, is a blank."""
        rows = (self.screen.buffer[y] for y in range(self.height))
        cells = [[row[x].data for x in range(self.width)] for row in rows]
        return "\n".join("".join(_without_stubs(row)).rstrip() for row in cells)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def pump(self, seconds: float) -> bool:
        """Read what comes within that time; False if the program has gone."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            return False
        self.raw += data
        self._show(data)
        return True

    def _show(self, data: bytes) -> None:
        """To the screen; what pyte does not know (SU, SD, strings) is done or left out here."""
        text = self._held + self._decode(data)
        cut = text.rfind("\x1b")
        self._held = ""
        if cut >= 0 and len(text) - cut < 40 and not re.match(r"\x1b(\[[0-?]*[ -/]*[@-~]|[^\[\]P_])", text[cut:]):
            text, self._held = text[:cut], text[cut:]
        text = re.sub(r"\x1b[\]P_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[<>=?][^a-zA-Z]*[u-w]", "", text)
        for piece in re.split(r"(\x1b\[\d*[ST])", text):
            if match := re.fullmatch(r"\x1b\[(\d*)([ST])", piece):
                y, x = self.screen.cursor.y, self.screen.cursor.x
                self.screen.cursor.y = self.screen.margins.top if self.screen.margins else 0
                move = self.screen.delete_lines if match[2] == "S" else self.screen.insert_lines
                move(int(match[1] or 1))
                self.screen.cursor.y, self.screen.cursor.x = y, x
            else:
                self.stream.feed(piece)

    def wait(self, pattern: str, seconds: float = 20.0) -> None:
        """Until the screen shows it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert self.pump(0.1), f"the program ended; the screen:\n{self.text}"
            assert time.monotonic() < end, f"{pattern!r} never came; the screen:\n{self.text}"

    def settle(self, seconds: float = 0.3) -> None:
        """Until nothing comes for that time."""
        size = -1
        while size != len(self.raw):
            size = len(self.raw)
            if not self.pump(seconds):
                return

    def leave(self, keys: str = "Q", seconds: float = 10.0) -> int:
        """Type what ends the program; its exit code."""
        self.send(keys)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                while select.select([self.fd], [], [], 0)[0] and self.pump(0):
                    pass
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it does not end; the screen:\n{self.text}")
