"""Courier IMAP on loopback: no CONDSTORE, no ESEARCH, folders below "INBOX." and a UIDVALIDITY of its own making.

Its imapd speaks on standard input and output to somebody who is logged in; greeting and log-in are done here.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.servers import debian
from tests.servers.scripted import Peer, Scripted

CAPABILITY = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"
FOLDERS = ("Drafts", "Sent", "Archive", "Junk", "Trash")
_LOGIN = re.compile(rb'(\S+) (?:LOGIN "?([^" ]+)"? "?([^" \r\n]+)"?|(\S+).*)\r\n', re.I | re.S)


class Courier:
    """A running server; use it as a context manager."""

    host = "127.0.0.1"
    password = "secret"

    def __init__(self) -> None:
        self.program = debian.need("courier")
        self.home = Path()
        self._server = Scripted(self._serve)
        self.imap_port = self._server.port
        self._running: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Courier:
        self.home = Path(tempfile.mkdtemp(prefix="tm-courier-"))
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        self._server.__exit__()
        self._end_watching()
        shutil.rmtree(self.home, ignore_errors=True)

    def _end_watching(self) -> None:
        """The server for file alterations outlives those who started it."""
        mark = f"GAM_CLIENT_ID={self.home.name}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    def _maildir(self, user: str) -> Path:
        """The user's mail, made when he comes first."""
        made = self.home / user
        with self._lock:
            if not made.exists():
                make = [str(self.program / "usr/bin/maildirmake.courier")]
                environment = debian.environment(self.program)
                subprocess.run([*make, str(made)], env=environment, check=True)
                for name in FOLDERS:
                    subprocess.run([*make, "-f", name, str(made)], env=environment, check=True)
        return made

    def _serve(self, peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.send(b"* OK [CAPABILITY " + CAPABILITY.encode() + b"] Courier-IMAP ready.\r\n")
        while line := peer.line():
            match = _LOGIN.fullmatch(line)
            if match is None:
                peer.send(b"* BAD\r\n")
            elif match[2]:
                if match[3].decode() != self.password:
                    peer.send(match[1] + b" NO Login failed.\r\n")
                    continue
                peer.send(match[1] + b" OK LOGIN Ok.\r\n")
                self._hand_over(peer, match[2].decode())
                return
            elif match[4].upper() == b"CAPABILITY":
                peer.send(b"* CAPABILITY " + CAPABILITY.encode() + b"\r\n" + match[1] + b" OK CAPABILITY completed\r\n")
            elif match[4].upper() == b"LOGOUT":
                peer.send(b"* BYE\r\n" + match[1] + b" OK LOGOUT completed\r\n")
                return
            else:
                peer.send(match[1] + b" NO Log in first.\r\n")

    def _hand_over(self, peer: Peer, user: str) -> None:
        """Let an imapd of the user's own go on with the conversation."""
        environment = {
            **debian.environment(self.program), "IMAP_CAPABILITY": CAPABILITY, "IMAP_KEYWORDS": "1", "IMAP_ACL": "0",
            "HOME": str(self.home), "IMAP_TRASHFOLDERNAME": "Trash", "IMAP_USELOCKS": "1",
            "IMAP_ENHANCEDIDLE": "1", "IMAP_IDLE_TIMEOUT": "1",
            # without a server for file alterations every start takes a second and IDLE sees nothing
            "GAMIN_DEBUG_SERVER": str(self.program / "usr/libexec/gam_server"), "GAM_CLIENT_ID": self.home.name,
        }  # fmt: skip
        environment.pop("AUTHENTICATED", None)
        process = subprocess.Popen(
            [str(self.program / "usr/bin/imapd"), str(self._maildir(user))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        self._running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"* PREAUTH"):  # an ALERT about FAM may stand before it
            if process.poll() is not None:
                return
        down = threading.Thread(target=self._down, args=(process, peer), daemon=True)
        down.start()
        with contextlib.suppress(OSError):
            process.stdin.write(bytes(peer.got[peer._read :]))
            while data := peer.sock.recv(65536):
                process.stdin.write(data)
        with contextlib.suppress(OSError):
            process.stdin.close()
        down.join(5)
        process.kill()
        process.wait()

    @staticmethod
    def _down(process: subprocess.Popen[bytes], peer: Peer) -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            while data := os.read(process.stdout.fileno(), 65536):
                peer.send(data)
            peer.sock.shutdown(socket.SHUT_RDWR)
        process.stdout.close()

    def client(self, user: str = "ada") -> imaplib.IMAP4:
        """A second client, logged in, from the standard library."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        other.login(user, self.password)
        return other
