"""What the screen does while a large mailbox comes for the first time.

    .venv-test/bin/python -m tests.bench.first_sync [--messages 100000] [--json FILE]

Fills an INBOX in a real Dovecot on loopback and opens termmail on it in a pseudo-terminal, with a probe in the
screen's event loop that sleeps for 5 ms and notes how much later it wakes.  Prints that lag (goal: p95 at most
10 ms), CPU seconds of the screen and of the engine, and the time from a `j` to the first byte of its answer
(goal: p95 at most 20 ms).  These are figures, not tests: run it on a machine that is otherwise idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.big_mailbox import PASSWORD, USER, fill, settings, stop
from tests.servers.dovecot import Dovecot
from tests.ui.terminal import Terminal

PROBE = 0.005  # seconds between two looks at the clock
KEYS = 0.033  # seconds between two keys
OUT = "TERMMAIL_BENCH_LAG"


class Quiet(Terminal):
    """A terminal that shows nothing: an emulator would take the CPU that is measured."""

    def _show(self, data: bytes) -> None:
        pass


def probed() -> None:
    """termmail as it is, with the probe in its loop; runs in the pseudo-terminal."""
    from termmail.__main__ import main as termmail
    from termmail.ui.app import TermmailApp

    mounted = TermmailApp.on_mount
    lags: list[float] = []

    async def probe() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(PROBE)
            lags.append(1000 * (time.perf_counter() - before - PROBE))
            if len(lags) % 100 == 0:
                Path(os.environ[OUT]).write_text(json.dumps(lags))

    def begin(self: TermmailApp) -> None:
        self.run_task(probe())

    def on_mount(self: TermmailApp) -> None:
        mounted(self)
        self.call_after_refresh(begin, self)

    TermmailApp.on_mount = on_mount  # type: ignore[method-assign]
    sys.exit(termmail([]))


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def cpu(pid: int) -> float:
    """Seconds of CPU that a process and its threads have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def have(home: Path) -> int:
    """Messages in the store."""
    try:
        with sqlite3.connect(f"file:{home / 'data/mail.db'}?mode=ro", uri=True) as db:
            return int((db.execute("SELECT max(total) FROM folder").fetchone() or (0,))[0] or 0)
    except sqlite3.Error:
        return 0


def first_sync(home: Path, total: int, port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """Open termmail on an empty profile and press `j` until every header is here."""
    server = type("Server", (), {"host": host, "imap_port": port})()
    settings(home, server)
    lags = home / "lags.json"
    waits: list[float] = []
    with Quiet(
        ["-m", "tests.bench.first_sync", "--probed"], home=home, width=160, height=48, env={OUT: str(lags)}
    ) as term:
        began = time.monotonic()
        while have(home) < 50:
            term.pump(0.02)
        newest = time.monotonic() - began
        looked = 0.0
        while time.monotonic() - began < 180:
            if time.monotonic() - looked > 0.5:
                looked = time.monotonic()
                if have(home) >= total:
                    break
            while select.select([term.fd], [], [], 0)[0]:
                term.pump(0)
            sent = time.perf_counter()
            term.send("j")
            if select.select([term.fd], [], [], 2)[0]:
                waits.append(1000 * (time.perf_counter() - sent))
            until = time.monotonic() + KEYS
            while (left := until - time.monotonic()) > 0:
                term.pump(left)
        took = time.monotonic() - began
        engine = int((home / "state/engine.lock").read_text().split()[0])
        figures = {
            "newest_s": newest, "sync_s": took, "ui_cpu_s": cpu(term.pid), "engine_cpu_s": cpu(engine),
            "keys": len(waits), "key_p95_ms": quantile(waits, 0.95), "key_max_ms": max(waits),
        }  # fmt: skip
        found = json.loads(lags.read_text())
        term.leave()
    figures |= {f"lag_p{share}_ms": quantile(found, share / 100) for share in (50, 95, 99)} | {"lag_max_ms": max(found)}
    stop({"TERMMAIL_HOME": str(home), "PYTHONPATH": os.getcwd()})
    return figures


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--probed", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probed:
        sys.argv = ["termmail"]
        probed()
    with tempfile.TemporaryDirectory(prefix="tmbench-") as name:
        work = Path(name)
        with Dovecot(work / "dovecot", users=(USER,), password=PASSWORD) as server:
            print(f"filling {args.messages:,} messages …", file=sys.stderr, flush=True)
            fill(server, args.messages)
            figures = first_sync(work / "home", args.messages, server.imap_port, server.host)
    for name, value in figures.items():
        print(f"{name:14}{value:10.1f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
