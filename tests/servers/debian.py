"""Debian packages unpacked into a cache, not installed: mail servers exclude one another there.

    python -m tests.servers.debian     fetches what the tests want; says what cannot be had

Cached under ${XDG_CACHE_HOME:-~/.cache}/termmail-test-servers.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SERVERS: dict[str, tuple[str, ...]] = {
    "cyrus": ("cyrus-imapd", "cyrus-common", "libical3", "libpcre3"),
    "courier": (
        "courier-imap",
        "courier-base",
        "courier-authlib",
        "libcourier-unicode4",
        "libgamin0",
        "gamin",
        "libpcre3",
    ),
}
PROOF = {"cyrus": "usr/lib/cyrus/bin/imapd", "courier": "usr/libexec/gam_server"}
_NOT_NEEDED = ("exim4", "libclamav", "libmspack", "db-util", "db5.3-util", "gnutls-bin")


def root(name: str) -> Path:
    """Where that server is unpacked, whether it is or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "termmail-test-servers" / name


def environment(base: Path) -> dict[str, str]:
    """An environment in which the programs unpacked there find their libraries."""
    arch = f"{platform.machine()}-linux-gnu"
    places = [base / "usr/lib" / arch, base / "lib" / arch, base / "usr/lib", base / "usr/lib/courier-authlib"]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, places))}


def need(name: str) -> Path:
    """Where the server is; skip, saying why, where it cannot be had; fail where the servers are required."""
    if not (root(name) / PROOF[name]).exists():
        reason = f"{name} could not be unpacked (apt-get download {SERVERS[name][0]}; tests/run does it)"
        if os.environ.get("TERMMAIL_REQUIRE_SERVERS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root(name)


def fetch(name: str) -> str:
    """Download and unpack a server; "" if it is there now, else why not."""
    target = root(name)
    if (target / PROOF[name]).exists():
        return ""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return "needs Debian's apt-get and dpkg-deb"
    wanted = {*SERVERS[name], *_dependencies(SERVERS[name][0])}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder)
        done = _download(made, wanted)
        if done.returncode and os.geteuid() == 0:  # there may be no lists yet
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            wanted |= _dependencies(SERVERS[name][0])
            done = _download(made, wanted)
        found = list(made.glob("*.deb"))
        if done.returncode or not found:
            return (done.stderr.strip() or "apt-get download found nothing").splitlines()[-1]
        (made / "root").mkdir()
        for package in found:
            subprocess.run(["dpkg-deb", "-x", str(package), str(made / "root")], check=True)
        shutil.rmtree(target, ignore_errors=True)
        (made / "root").chmod(0o755)
        (made / "root").rename(target)
    return ""


def _download(folder: Path, packages: set[str]) -> subprocess.CompletedProcess[str]:
    words = ["apt-get", "download", "-q", *sorted(packages)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def _dependencies(package: str) -> set[str]:
    """What apt would install with a package, less what a test server never loads."""
    done = subprocess.run(
        ["apt-get", "install", "--print-uris", "--no-install-recommends", "-y", package],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    files = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("'")]
    return {name for file in files if not (name := file.partition("_")[0]).startswith(_NOT_NEEDED)}


def main() -> int:
    """Fetch them all; 1 if one cannot be had."""
    missing = 0
    for name in SERVERS:
        if reason := fetch(name):
            print(f"{name} cannot be had: {reason}", file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
