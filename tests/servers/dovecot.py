"""Debian's Dovecot on loopback with random ports, a folder of its own and no trace left behind."""

from __future__ import annotations

import contextlib
import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BINARY = shutil.which("dovecot") or "/usr/sbin/dovecot"
FOLDERS = {"Drafts": "Drafts", "Sent": "Sent", "Archive": "Archive", "Junk": "Junk", "Trash": "Trash"}


def need_dovecot() -> None:
    """Skip, saying why, where there is no Dovecot; fail where the servers are required."""
    if Path(BINARY).exists():
        return
    if os.environ.get("TERMMAIL_REQUIRE_SERVERS"):
        pytest.fail("dovecot-imapd is required here and is not installed")
    pytest.skip("dovecot-imapd is not installed (apt install dovecot-imapd)")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Dovecot:
    """A running server; use it as a context manager."""

    host = "127.0.0.1"

    def __init__(
        self,
        directory: Path,
        *,
        capability: str | None = None,
        tls: bool = False,
        users: tuple[str, ...] = ("ada",),
        password: str = "secret",
        special_use: bool = True,
    ) -> None:
        self.directory = directory
        self.capability = capability
        self.tls = tls
        self.users = users
        self.password = password
        self.special_use = special_use
        self.imap_port, self.imaps_port = free_port(), free_port()
        self.ca_file = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("run", "state", "mail"):
            (self.directory / name).mkdir(exist_ok=True)
        config = self.directory / "dovecot.conf"
        config.write_text(self._config())
        self._own()
        self.process = subprocess.Popen(
            [BINARY, "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.imap_port), 1) as sock:
                if sock.recv(5):
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        log = self.directory / "log"
        self.__exit__()
        raise RuntimeError("dovecot did not start: " + (log.read_text()[-2000:] if log.exists() else "no log"))

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _own(self) -> None:
        """As root the mail belongs to nobody (Dovecot serves no mail of uid 0), and the way to it must be open."""
        if os.geteuid() != 0:
            return
        nobody = pwd.getpwnam("nobody")
        shutil.chown(self.directory / "mail", nobody.pw_uid, nobody.pw_gid)
        for folder in [self.directory, *self.directory.parents]:
            with contextlib.suppress(OSError):
                if not folder.stat().st_mode & 0o001:
                    folder.chmod(folder.stat().st_mode | 0o011)

    def _certificates(self) -> str:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.ca_file = str(self.directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        certificate.private_key_pem.write_to_path(self.directory / "key.pem")
        for place, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(self.directory / "cert.pem", append=place > 0)
        return f"ssl = yes\nssl_cert = <{self.directory}/cert.pem\nssl_key = <{self.directory}/key.pem\n"

    def _config(self) -> str:
        root = os.geteuid() == 0
        me, group = pwd.getpwuid(os.geteuid()).pw_name, str(os.getegid())
        users = "" if root else f"default_internal_user = {me}\ndefault_login_user = {me}\ndefault_internal_group = {group}\n"
        boxes = "".join(
            f"  mailbox {name} {{\n    auto = subscribe\n"
            + (f"    special_use = \\{use}\n" if self.special_use else "")
            + "  }\n"
            for name, use in FOLDERS.items()
        )
        capability = f"  imap_capability = {self.capability}\n" if self.capability else ""
        uid, gid = ("nobody", "nogroup") if root else (str(os.geteuid()), group)
        return f"""
protocols = imap
listen = 127.0.0.1
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.directory}/log
{users}{self._certificates() if self.tls else "ssl = no"}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = mdbox:{self.directory}/mail/%u
mail_home = {self.directory}/mail/%u
first_valid_uid = 1
mail_uid = {uid}
mail_gid = {gid}
mailbox_list_index = yes
default_vsz_limit = 1G
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={self.directory}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
{boxes}}}
service imap-login {{
  chroot =
  process_min_avail = 1
  inet_listener imap {{
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = {self.imaps_port if self.tls else 0}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_max_userip_connections = 50
{capability}}}
"""

    # -- another client, independent of termmail --------------------------------------

    @contextlib.contextmanager
    def client(self, user: str = "ada") -> Iterator[imaplib.IMAP4]:
        """A second client, logged in, from the standard library."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        try:
            other.login(user, self.password)
            yield other
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                other.logout()

    def append(self, user: str, folder: str, raw: bytes, flags: str = "") -> None:
        """Put a message into a folder."""
        with self.client(user) as other:
            status, data = other.append(folder, f"({flags})", imaplib.Time2Internaldate(time.time()), raw)
            assert status == "OK", data
