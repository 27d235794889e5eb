"""pymap, an IMAP server in Python that is not ours: OBJECTID, no CONDSTORE, answers in many segments.  One mailbox, in memory."""

from __future__ import annotations

import contextlib
import imaplib
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.dovecot import free_port


class Pymap:
    """A running server with an empty mailbox of one user; use it as a context manager."""

    host = "127.0.0.1"
    user, password = "demouser", "demopass"

    def __init__(self) -> None:
        self.imap_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pymap:
        where = ["--host", self.host, "--port", str(self.imap_port)]
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("pymap")), *where, "--no-service", "managesieve", "--no-tls", "dict"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.imap_port), 1) as sock:
                if sock.recv(5):
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("pymap did not start")

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def client(self) -> imaplib.IMAP4:
        """A second client, logged in, from the standard library."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        other.login(self.user, self.password)
        return other
