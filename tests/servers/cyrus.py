"""Cyrus IMAP on loopback with a random port: QRESYNC, OBJECTID and a mind of its own.  Any password is right."""

from __future__ import annotations

import contextlib
import imaplib
import os
import pwd
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers import debian
from tests.servers.dovecot import free_port


class Cyrus:
    """A running server; use it as a context manager.  A user's mailboxes are made when he logs in first."""

    host = "127.0.0.1"
    password = "secret"

    def __init__(self) -> None:
        self.program = debian.need("cyrus")
        self.imap_port = free_port()
        self.home = Path()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cyrus:
        self.home = Path(tempfile.mkdtemp(prefix="tm-cyrus-"))
        self.home.chmod(0o755)
        shutil.copytree(
            self.program, self.home / "root", symlinks=True
        )  # it serves as nobody, who cannot look into our cache
        for name in ("db", "socket", "proc", "log", "msg", "ptclient", "lock", "sync"):
            (self.home / "conf" / name).mkdir(parents=True)
        for letter in string.ascii_lowercase:
            for name in ("conf/user", "conf/quota", "spool"):
                (self.home / name / letter).mkdir(parents=True)
        (self.home / "imapd.conf").write_text(self._imapd())
        (self.home / "cyrus.conf").write_text(self._services())
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in [self.home, *self.home.rglob("*")]:
                os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        files = ["-C", f"{self.home}/imapd.conf", "-M", f"{self.home}/cyrus.conf", "-p", f"{self.home}/pid"]
        self.process = subprocess.Popen(
            [str(self._bin("master")), *files, "-D"],
            env=debian.environment(self.home / "root"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.imap_port), 1) as sock:
                if sock.recv(5):
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("cyrus did not start")

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _bin(self, name: str) -> Path:
        return self.home / "root/usr/lib/cyrus/bin" / name

    def _imapd(self) -> str:
        me = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        boxes = " | ".join(("Drafts", "Sent", "Archive", "Junk", "Trash"))
        roles = "".join(f"xlist-{name.lower()}: {name}\n" for name in boxes.split(" | "))
        return f"""configdirectory: {self.home}/conf
partition-default: {self.home}/spool
defaultpartition: default
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
autocreate_quota: 0
autocreate_inbox_folders: {boxes}
autocreate_subscribe_folders: {boxes}
{roles}unixhierarchysep: yes
altnamespace: yes
cyrus_user: {me}
imapidlepoll: 1
servername: localhost
expunge_mode: immediate
"""

    def _services(self) -> str:
        config = f"-C {self.home}/imapd.conf"
        return f"""START {{
  recover cmd="{self._bin("ctl_cyrusdb")} {config} -r"
}}
SERVICES {{
  imap cmd="{self._bin("imapd")} {config} -U 30" listen="{self.host}:{self.imap_port}" prefork=1
}}
EVENTS {{
}}
"""

    def client(self, user: str = "ada") -> imaplib.IMAP4:
        """A second client, logged in, from the standard library."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        other.login(user, self.password)
        return other
