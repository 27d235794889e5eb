"""`termmail demo`: the whole program against servers of its own, with nothing of the user's touched."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from termmail.demo import content

if TYPE_CHECKING:
    from termmail.paths import Paths


def run(keep: Path | None = None) -> int:
    """Start the servers and open the mail client on them; the exit code.

    `keep`: a folder for the trial's settings and mail, else they are gone afterwards.
    """
    from termmail import paths
    from termmail.config import settings
    from termmail.model.errors import EngineError
    from termmail.ui import app

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise EngineError("the demo needs a terminal")
    home = keep.expanduser().absolute() if keep else Path(tempfile.mkdtemp(prefix="termmail-demo-"))
    os.environ["TERMMAIL_HOME"] = str(home)
    place = paths.find().make()
    servers, ports, passwords = start(forget=None if keep else home)
    try:
        write_settings(place.settings, ports, passwords)
        return app.run(place, settings.load(place.settings))
    finally:
        clear(place, None if keep else home)
        stop(servers)


def clear(place: Paths, home: Path | None) -> None:
    """End the trial's engine within seconds, and remove what it kept in `home`."""
    from termmail import link

    link.ask(place, {"stop": True}, 2.0)
    link.wait_until(lambda: not link.is_running(place), 3)
    if home is not None:
        for folder in (place.runtime, home):  # the socket's may have to stand elsewhere: paths.py
            shutil.rmtree(folder, ignore_errors=True)


def start(
    every: float = 60.0, *, forget: Path | None = None
) -> tuple[subprocess.Popen[bytes], dict[str, int], dict[str, str]]:
    """Start the servers' process: it, its ports, and the passwords of its users.

    It outlives this one if the terminal is closed, and then removes `forget`.
    """
    passwords = {user: secrets.token_urlsafe(12) for user in content.USERS}
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    servers = subprocess.Popen(
        [
            sys.executable, "-m", "termmail.demo.server", "--every", str(every),
            *(["--forget", str(forget)] if forget else []),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert servers.stdin is not None
    assert servers.stdout is not None
    servers.stdin.write(json.dumps(passwords).encode() + b"\n")
    servers.stdin.flush()
    line = servers.stdout.readline()
    if not line:
        raise OSError("the demo's servers did not start")
    return servers, json.loads(line), passwords


def stop(servers: subprocess.Popen[bytes]) -> None:
    """Close the servers' input: they end."""
    assert servers.stdin is not None
    servers.stdin.close()
    try:
        servers.wait(2)
    except subprocess.TimeoutExpired:
        servers.kill()
        servers.wait()


def write_settings(path: Path, ports: dict[str, int], passwords: dict[str, str]) -> None:
    """Both accounts, as a user would have them."""
    from termmail.config.settings import save_account
    from termmail.model.account import Account, Security, Server

    path.unlink(missing_ok=True)
    for user, address in content.USERS.items():
        incoming = Server("imap", "127.0.0.1", ports["imap"], Security.NONE, user, password=passwords[user])
        outgoing = Server("smtp", "127.0.0.1", ports["smtp"], Security.NONE, user, password=passwords[user])
        save_account(path, Account(user, address, "Ada Lovelace", incoming, outgoing, signature="-- \nAda"))
