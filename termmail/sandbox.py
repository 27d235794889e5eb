"""A worker process that runs mime/ on foreign bytes: no secrets, no new files, little memory, little time.

The parent's side is small on purpose (the UI loads it at its start).  Requests and answers are JSON behind
a length, with the message as raw bytes: nothing is ever unpickled.  A worker that is late is killed;
the message that did it is `Poison`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from termmail.model.document import Document, Line, Link, Part, Span, Warning_
from termmail.model.errors import TermmailError
from termmail.model.message import Address

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 3.0  # seconds for one message
MEMORY = 512 << 20
CPU_SECONDS = 600  # of a worker's whole life; then it is replaced
_HEAD = struct.Struct(">II")  # lengths of the JSON and of the bytes behind it
_ANSWER_LIMIT = 256 << 20


class Poison(Exception):
    """This message killed the worker or took too long."""


class Closed(TermmailError):
    """The program ends; nothing is wrong with the message."""

    def __init__(self) -> None:
        super().__init__("termmail is ending")


class Sandbox:
    """One worker, started when it is first needed; requests wait for one another."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self.deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        # A lock of threads, not of tasks: a task that is cancelled leaves its thread talking to the worker.
        self._lock = threading.Lock()

    def prestart(self) -> None:
        """Start the worker now, so that the first message finds it warm."""
        if self._lock.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._lock.release()

    def _start(self) -> None:
        if self._closed:
            raise Closed
        if self._process is not None and self._process.poll() is not None:
            self._kill(self._process)
            self._process = None
        if self._process is None:
            keep = {
                name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH") if name in os.environ
            }
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from termmail.sandbox import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=keep | {"PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )

    async def render(self, raw: bytes, *, width: int = 80, prefer: str = "plain") -> Document:
        """`mime.render.render` in the worker.  Raises Poison."""
        answer, _ = await asyncio.to_thread(self._ask, {"do": "render", "width": width, "prefer": prefer}, raw)
        return document(answer)

    def render_sync(self, raw: bytes, *, width: int = 80, prefer: str = "plain") -> Document:
        """The same for programs without a loop.  Raises Poison."""
        return document(self._ask({"do": "render", "width": width, "prefer": prefer}, raw)[0])

    async def part(self, raw: bytes, n: str) -> bytes | None:
        """The decoded content of one part, None if there is none.  Raises Poison."""
        return await asyncio.to_thread(self.part_sync, raw, n)

    def part_sync(self, raw: bytes, n: str) -> bytes | None:
        """The same for programs without a loop.  Raises Poison."""
        answer, data = self._ask({"do": "part", "n": n}, raw)
        return data if answer.get("found") else None

    def close(self) -> None:
        """End the worker; who waits for it hears Closed."""
        self._closed = True
        if (process := self._process) is not None:
            with contextlib.suppress(OSError):
                process.kill()
        if self._lock.acquire(timeout=0.5):
            try:
                if self._process is not None:
                    self._kill(self._process)
                    self._process = None
            finally:
                self._lock.release()

    def _ask(self, request: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            return self._ask_worker(request, raw)

    def _ask_worker(self, request: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        head = json.dumps(request).encode()
        end = time.monotonic() + self.deadline + len(raw) / (20 << 20)
        try:
            _write(process.stdin, _HEAD.pack(len(head), len(raw)) + head, end)
            _write(process.stdin, raw, end)
            sizes = _HEAD.unpack(_read(process.stdout, _HEAD.size, end))
            if sum(sizes) > _ANSWER_LIMIT:
                raise EOFError
            answer = json.loads(_read(process.stdout, sizes[0], end))
            data = _read(process.stdout, sizes[1], end)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._kill(process)
            self._process = None
            if self._closed:
                raise Closed from error
            raise Poison("the message could not be read in the time and memory it may take") from error
        if "failed" in answer:
            raise Poison(f"the message could not be read: {answer['failed']}")
        return answer, data

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _write(pipe: IO[bytes], data: bytes, end: float) -> None:
    """Write all of it before the deadline.  Raises OSError, TimeoutError."""
    view = memoryview(data)
    descriptor = pipe.fileno()
    os.set_blocking(descriptor, False)
    while view:
        if not select.select([], [descriptor], [], _left(end))[1]:
            raise TimeoutError
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(descriptor, view[: 1 << 16]) :]


def _read(pipe: IO[bytes], size: int, end: float) -> bytes:
    """Read exactly so much before the deadline.  Raises EOFError, OSError, TimeoutError."""
    out = bytearray()
    descriptor = pipe.fileno()
    while len(out) < size:
        if not select.select([descriptor], [], [], _left(end))[0]:
            raise TimeoutError
        data = os.read(descriptor, min(size - len(out), 1 << 20))
        if not data:
            raise EOFError
        out += data
    return bytes(out)


def document(found: dict[str, Any]) -> Document:
    """A Document from the worker's JSON.  Spans are [text, ink, link], lines [spans, quote, indent, hang, wrap]."""
    people: Callable[[str], tuple[Address, ...]] = lambda name: tuple(Address(*one) for one in found[name])  # noqa: E731
    return Document(
        headers=tuple((name, value) for name, value in found["headers"]),
        sender=people("sender"), reply_to=people("reply_to"), to=people("to"), cc=people("cc"),
        subject=found["subject"], date=found["date"], message_id=found["message_id"],
        references=tuple(found["references"]), parts=tuple(Part(**one) for one in found["parts"]),
        lines=tuple(
            Line(tuple([Span(*span) for span in spans]), quote, indent, hang, wrap)
            for spans, quote, indent, hang, wrap in found["lines"]
        ),
        links=tuple(Link(*one) for one in found["links"]), warnings=tuple(Warning_(*one) for one in found["warnings"]),
        shown=found["shown"], alternatives=tuple(found["alternatives"]), text=found["text"],
    )  # fmt: skip


def _packed(found: Document) -> dict[str, Any]:
    """A Document as `document` reads it."""
    people = {name: [[a.name, a.email] for a in getattr(found, name)] for name in ("sender", "reply_to", "to", "cc")}
    return {
        "headers": found.headers, **people, "subject": found.subject, "date": found.date, "message_id": found.message_id,
        "references": found.references, "parts": [asdict(one) for one in found.parts],
        "lines": [
            [[[span.text, span.ink, span.link] for span in line.spans], line.quote, line.indent, line.hang, line.wrap]
            for line in found.lines
        ],
        "links": [[one.n, one.url, one.text, one.host] for one in found.links],
        "warnings": [[one.kind, one.words] for one in found.warnings],
        "shown": found.shown, "alternatives": found.alternatives, "text": found.text,
    }  # fmt: skip


# -- the worker -----------------------------------------------------------------------------


def serve() -> None:
    """The worker's life: lock itself in, then answer until the other end closes."""
    from termmail.mime import render

    _lock_in()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(_HEAD.size):
        if len(head) < _HEAD.size:
            return
        sizes = _HEAD.unpack(head)
        request = json.loads(source.read(sizes[0]))
        raw = source.read(sizes[1])
        data = b""
        try:
            if request["do"] == "render":
                answer = _packed(render.render(raw, width=request["width"], prefer=request["prefer"]))
            else:
                found = render.part_bytes(raw, request["n"])
                answer, data = {"found": found is not None}, found[1] if found else b""
        except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001  whatever foreign bytes can raise
            answer = {"failed": type(error).__name__}
        body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        sink.write(_HEAD.pack(len(body), len(data)) + body + data)
        sink.flush()


def _lock_in() -> None:
    """Give up what the worker does not need, as far as the system lets it."""
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))
    with contextlib.suppress(OSError):
        os.nice(5)
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            libc.unshare(0x40000000)  # CLONE_NEWNET: no network at all, where the system allows it
