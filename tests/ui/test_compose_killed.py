"""The real program on a pseudo-terminal, killed while somebody writes: what was typed is there again."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from termmail import paths
from termmail.store.db import Store
from tests.ui.filling import fill, profile

RUN = """
from termmail import paths
from termmail.config import settings
from termmail.ui import app
app.TermmailApp.__init__.__kwdefaults__["with_engine"] = False
place = paths.find().make()
app.run(place, settings.load(place.settings), compose={"to": "grace@navy.example", "subject": "Tables"})
"""


def test_a_kill_loses_two_seconds_at_the_most(home: Path) -> None:
    fill(profile(home)).store.close()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)

    def listen(seconds: float, until: bytes = b"\0") -> bytes:
        seen, end = b"", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and until not in seen:
            if select.select([ours], [], [], left)[0]:
                seen += os.read(ours, 65536)
        return seen

    try:
        assert b"review" in listen(30, b"review and send")
        os.write(ours, b"not to be lost")
        listen(2.0)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        os.close(ours)
    store = Store.open(paths.find())
    try:
        (found,) = store.queue.drafts(only_open=True)
        assert found.body.startswith("not to be lost")
        assert (found.to, found.subject) == ("grace@navy.example", "Tables")
    finally:
        store.close()
