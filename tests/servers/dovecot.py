"""Debian's Dovecot on loopback with random ports, a folder of its own and no trace left behind."""

from __future__ import annotations

import contextlib
import grp
import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

BINARY = shutil.which("dovecot") or "/usr/sbin/dovecot"
FOLDERS = {"Drafts": "Drafts", "Sent": "Sent", "Archive": "Archive", "Junk": "Junk", "Trash": "Trash"}


def available() -> str:
    """Why there is no Dovecot; "" if there is one."""
    return "" if Path(BINARY).exists() else "dovecot-imapd is not installed (apt install dovecot-imapd)"


def need_dovecot(*, pop3: bool = False) -> None:
    """Skip, saying why, where there is no Dovecot; fail where the servers are required."""
    reason = available()
    if not reason and pop3 and not Path("/usr/lib/dovecot/pop3").exists():
        reason = "dovecot-pop3d is not installed (apt install dovecot-pop3d)"
    if not reason:
        return
    if os.environ.get("TERMMAIL_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Dovecot:
    """A running server; use it as a context manager.

    Any user with the password may log in, so that one server serves many tests.  `capability` replaces what it
    offers after log-in; `plugins` are mail_plugins of the imap service (`zlib imap_zlib` for COMPRESS);
    `connections` is how many a user may have.
    """

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
        plugins: str = "",
        pop3: bool = False,
        connections: int = 50,
    ) -> None:
        self.directory = directory
        self.capability = capability
        self.tls = tls
        self.users = users
        self.password = password
        self.special_use = special_use
        self.plugins = plugins
        self.pop3 = pop3
        self.imap_port, self.imaps_port, self.pop3_port, self.pop3s_port = (free_port() for _ in range(4))
        self.connections = connections
        self.sockets = self.mail = Path()  # a short path: socket names are at most 107 bytes
        self.ca_file = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "state").mkdir(exist_ok=True)
        self.sockets = Path(tempfile.mkdtemp(prefix="tm-"))
        self.sockets.chmod(0o755)
        self.mail = self.sockets / "mail"  # pytest closes its own folder to others, again and again
        self.mail.mkdir()
        config = self.directory / "dovecot.conf"
        config.write_text(self._config())
        self._own()
        self.process = subprocess.Popen(
            [BINARY, "-F", "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
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
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _own(self) -> None:
        """As root the mail belongs to nobody: Dovecot serves no mail of uid 0."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            shutil.chown(self.mail, nobody.pw_uid, nobody.pw_gid)

    def _certificates(self) -> str:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        self.ca_file = str(self.directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        certificate.private_key_pem.write_to_path(self.directory / "key.pem")
        for place, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(self.directory / "cert.pem", append=place > 0)
        return f"ssl = yes\nssl_cert = <{self.directory}/cert.pem\nssl_key = <{self.directory}/key.pem\n"

    def _config(self) -> str:
        root = os.geteuid() == 0
        me, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        users = (
            ""
            if root
            else f"default_internal_user = {me}\ndefault_login_user = {me}\ndefault_internal_group = {group}\n"
        )
        plugins = f"  mail_plugins = {self.plugins}\n" if self.plugins else ""
        boxes = "".join(
            f"  mailbox {name} {{\n    auto = subscribe\n"
            + (f"    special_use = \\{use}\n" if self.special_use else "")
            + "  }\n"
            for name, use in FOLDERS.items()
        )
        capability = f"  imap_capability = {self.capability}\n" if self.capability else ""
        uid, gid = ("nobody", "nogroup") if root else (str(os.geteuid()), group)
        return f"""
protocols = imap{" pop3" if self.pop3 else ""}
listen = 127.0.0.1
base_dir = {self.sockets}
state_dir = {self.directory}/state
log_path = {self.directory}/log
{users}{self._certificates() if self.tls else "ssl = no"}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = mdbox:{self.mail}/%u
mail_home = {self.mail}/%u
first_valid_uid = 1
mail_uid = {uid}
mail_gid = {gid}
mailbox_list_index = yes
mailbox_idle_check_interval = 1 secs
default_vsz_limit = 1G
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={self.mail}/%u
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
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = {self.pop3s_port if self.tls else 0}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_max_userip_connections = {self.connections}
{capability}{plugins}}}
"""

    # -- another client, independent of termmail --------------------------------------

    def client(self, user: str = "ada") -> imaplib.IMAP4:
        """A second client, logged in, from the standard library; a context manager that logs out."""
        other = imaplib.IMAP4(self.host, self.imap_port, timeout=20)
        other.login(user, self.password)
        return other

    def append(self, user: str, folder: str, raw: bytes, flags: str = "") -> None:
        """Put a message into a folder."""
        with self.client(user) as other:
            status, data = other.append(folder, f"({flags})", imaplib.Time2Internaldate(time.time()), raw)
            assert status == "OK", data
