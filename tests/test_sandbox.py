"""The worker: what it may not do, and that it is replaced."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from termmail.mime.render import render
from termmail.sandbox import Poison, Sandbox

RAW = b"From: =?utf-8?q?Zo=C3=AB?= <z@x.example>\r\nSubject: Hello\r\nContent-Type: text/html\r\n\r\n<p>a <a href='https://x.example'>b</a></p>"


def test_what_comes_back_is_what_mime_would_say() -> None:
    box = Sandbox()
    assert box.render_sync(RAW) == render(RAW)
    assert box.part_sync(RAW, "1") == b"<p>a <a href='https://x.example'>b</a></p>"
    assert box.part_sync(RAW, "7") is None
    box.close()


async def test_many_at_once_wait_for_one_another() -> None:
    box = Sandbox()
    documents = await asyncio.gather(*(box.render(b"Subject: %d\r\n\r\nx" % n) for n in range(20)))
    assert [d.subject for d in documents] == [str(n) for n in range(20)]
    box.close()


def test_a_worker_that_dies_is_replaced() -> None:
    box = Sandbox()
    box.render_sync(RAW)
    assert box._process is not None
    box._process.kill()
    box._process.wait()
    assert box.render_sync(RAW).subject == "Hello"
    box.close()


def test_a_worker_that_is_late_is_killed_and_its_message_named() -> None:
    box = Sandbox(deadline=0.3)
    box.prestart()
    assert box._process is not None
    os.kill(box._process.pid, 19)  # SIGSTOP: it does not answer
    began = time.monotonic()
    with pytest.raises(Poison):
        box.render_sync(RAW)
    assert time.monotonic() - began < 5
    box.deadline = 3.0
    assert box.render_sync(RAW).subject == "Hello"
    box.close()


def test_the_worker_cannot_write_files_nor_take_memory() -> None:
    import subprocess
    import sys

    code = (
        "from termmail import sandbox; sandbox._lock_in()\n"
        "import tempfile\n"
        "try:\n    f = open(tempfile.mktemp(), 'wb'); f.write(b'x' * 100); f.flush(); print('wrote')\n"
        "except OSError: print('refused')\n"
        "try:\n    b = bytearray(1 << 30); print('memory')\n"
        "except MemoryError: print('refused')\n"
        "import os\n"
        "try:\n    os.fork(); print('forked')\n"
        "except OSError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[:2] == ["refused", "refused"], done.stderr
