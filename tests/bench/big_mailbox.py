"""termmail and neomutt side by side on one large mailbox, in one run.

    tests/bench/run [--messages 100000] [--runs 3] [--json FILE]

Fills an INBOX in a real Dovecot on loopback, then drives both programs in a pseudo-terminal with ttybench
(`TTYBENCH`, else ../shared/tools/ttybench.py) and prints: time to the newest row with and without a cache,
time until every header is here, memory of all processes, bytes and latency of keys.  Ratios are termmail
to neomutt: below 1 is better.  These are figures, not tests: run it on a machine that is otherwise idle.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers.dovecot import Dovecot  # noqa: E402

USER, PASSWORD = "ada", "secret"
NEWEST = "The newest message of all"
SIZE = "160x48"
PEOPLE = [
    ("Grace Hopper", "grace@navy.example"),
    ("Alan Turing", "alan@bletchley.example"),
    ("Zoë Müller", "zoe@muller.example"),
    ("Build Robot", "build@ci.example"),
    ("Радия Перельман", "radia@tree.example"),
]
TOPICS = [
    "Quarterly figures",
    "Minutes of the meeting",
    "Re: Patch for the parser",
    "Lunch?",
    "[list] Release plan",
    "Größe",
]


def message(n: int, total: int) -> bytes:
    """The n-th of `total` small messages, a minute apart, the last one now."""
    import email.header
    import email.utils

    rng = random.Random(n)
    name, address = rng.choice(PEOPLE)
    subject = NEWEST if n == total else f"{rng.choice(TOPICS)} {n}"
    when = time.time() - 60 * (total - n)
    fields = [
        f"From: {email.header.Header(name, 'utf-8').encode() if not name.isascii() else name} <{address}>",
        "To: Ada Lovelace <ada@lovelace.example>",
        f"Subject: {email.header.Header(subject, 'utf-8').encode() if not subject.isascii() else subject}",
        f"Date: {email.utils.formatdate(when)}",
        f"Message-ID: <{n}.{rng.randrange(10**9)}@bench.example>",
        f"References: <{max(1, n - 3)}.0@bench.example>" if n % 3 == 0 else "X-Filler: none",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    ]
    body = [f"Line {i} of message {n}, so that there is something to read." for i in range(rng.randrange(3, 30))]
    return "\r\n".join([*fields, "", *body, ""]).encode()


def fill(server: Dovecot, total: int) -> None:
    """APPEND them all by MULTIAPPEND with non-synchronising literals (RFC 3502, RFC 7888)."""
    with socket.create_connection((server.host, server.imap_port)) as sock:
        reader = sock.makefile("rb")
        reader.readline()

        def answer(tag: bytes) -> None:
            while not (line := reader.readline()).startswith(tag):
                if not line:
                    raise ConnectionError("Dovecot closed the connection while the mailbox was filled")
            if b" OK" not in line[:12]:
                raise RuntimeError(line.decode())

        sock.sendall(f"a LOGIN {USER} {PASSWORD}\r\n".encode())
        answer(b"a ")
        for first in range(1, total + 1, 500):
            parts = [b"b APPEND INBOX"]
            for n in range(first, min(first + 500, total + 1)):
                raw = message(n, total)
                flags = b"()" if n % 5 == 0 else b"(\\Seen)"
                stamp = time.strftime('"%d-%b-%Y %H:%M:%S +0000"', time.gmtime(time.time() - 60 * (total - n))).encode()
                parts.append(b" %s %s {%d+}\r\n%s" % (flags, stamp, len(raw), raw))
            sock.sendall(b"".join(parts) + b"\r\n")
            answer(b"b ")
        sock.sendall(b"c LOGOUT\r\n")


@dataclass(frozen=True)
class Key:
    """What one key cost: mean bytes written, ms until the last of them, ms of CPU."""

    bytes: float
    median: float
    p95: float
    cpu: float
    first: float  # p95 ms until the first byte


@dataclass
class Figures:
    """What one program did; times in ms, memory in MiB, bytes per key."""

    cold: float = 0
    full: float = 0
    warm: float = 0
    memory: float = 0
    busy_p95: float = 0
    keys: dict[str, Key] = field(default_factory=dict)


def ttybench(scenario: str, command: list[str], env: dict[str, str], out: Path, runs: int = 1) -> dict[str, Any]:
    """Run one scenario; what ttybench wrote as JSON."""
    tool = os.environ.get("TTYBENCH") or str(ROOT.parent / "shared/tools/ttybench.py")
    if not Path(tool).exists():
        sys.exit("ttybench is not here: set TTYBENCH to its path")
    result = out / "ttybench.json"
    options = ["--size", SIZE, "--runs", str(runs), "--json", str(result), "--no-table", "--out", str(out)]
    settings = [arg for key, value in env.items() for arg in ("--env", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, tool, "-s", "-", *options, *settings, "--", *command],
        input=scenario,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"ttybench failed:\n{done.stdout}\n{done.stderr}")
    return dict(json.loads(result.read_text()))


KEYS = """
settle 400ms timeout 30s
send j x30 as "cursor down"
send k x29 as "cursor up"
send j x45 as "to the bottom"
send j x40 as "scroll by one"
send {page} x10 as "page down"
mem as end
"""


def neomutt(server: Dovecot, work: Path, runs: int) -> Figures:
    """Header cache on, CONDSTORE and QRESYNC on, scrolling by line as we do."""
    cache = work / "neomutt-cache"
    rc = work / "neomuttrc"
    rc.write_text(
        f"""set folder="imap://{USER}@{server.host}:{server.imap_port}/" spoolfile="+INBOX"
set imap_pass="{PASSWORD}" ssl_starttls=no ssl_force_tls=no header_cache="{cache}" message_cachedir="{cache}"
set imap_condstore=yes imap_qresync=yes menu_scroll=yes sort=reverse-date-received sleep_time=0 timeout=600
set mail_check=600 quit=yes confirmappend=no check_new=no\n"""
    )
    command = ["neomutt", "-n", "-F", str(rc)]
    env = {"HOME": str(work)}
    figures = Figures()
    cold, warm, full = [], [], []
    for _ in range(runs):
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        run = ttybench(f'wait "{NEWEST}" timeout 120s as newest\n', command, env, work)
        cold.append(waited(run, "newest"))
        full.append(cold[-1])  # neomutt shows its first row when it has them all
        warm.append(waited(ttybench(f'wait "{NEWEST}" timeout 120s as newest\n', command, env, work), "newest"))
    run = ttybench(f'wait "{NEWEST}" timeout 120s as newest\n' + KEYS.format(page="<pgdn>"), command, env, work)
    figures.cold, figures.full, figures.warm = median(cold), median(full), median(warm)
    figures.memory, figures.keys = memory(run), keys(run)
    return figures


def termmail(server: Dovecot, work: Path, total: int, runs: int) -> Figures:
    """The program as a user starts it; its engine included in every figure."""
    home = work / "tm"
    command = [sys.executable, "-m", "termmail"]
    env = {"TERMMAIL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    figures = Figures()
    cold, warm, full = [], [], []
    for _ in range(runs):
        stop(env)
        shutil.rmtree(home, ignore_errors=True)
        settings(home, server)
        started = time.monotonic()
        with FullSync(home, total, started) as finished:
            run = ttybench(
                f'wait "{NEWEST}" timeout 60s as newest\nsend j x60 as "busy"\n' + "sleep 12s\n", command, env, work
            )
        cold.append(waited(run, "newest"))
        full.append(finished())
        figures.busy_p95 = max(figures.busy_p95, keys(run)["busy"].first)
        stop(env)
        warm.append(waited(ttybench(f'wait "{NEWEST}" timeout 60s as newest\n', command, env, work), "newest"))
        stop(env)
    scenario = f'wait "{NEWEST}" timeout 60s as newest\nsleep 3s\n' + KEYS.format(page="<pgdn>")
    with_reader = keys(ttybench(scenario, command, env, work))
    stop(env)
    settings(home, server, "off")  # as neomutt's index: a list without a preview beside it
    run = ttybench(scenario, command, env, work)
    stop(env)
    figures.cold, figures.full, figures.warm = median(cold), median(full), median(warm)
    figures.memory, figures.keys = memory(run), keys(run)
    figures.keys |= {f"{label}, with the reader beside": key for label, key in with_reader.items()}
    return figures


def settings(home: Path, server: Dovecot, layout: str = "auto") -> None:
    """One account on that server, as `termmail account add` would write it."""
    (home / "config").mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "config/settings.toml"
    path.touch(mode=0o600)
    path.write_text(
        f"""[ui]
layout = "{layout}"
[accounts.bench]
email = "ada@lovelace.example"
[accounts.bench.incoming]
kind = "imap"
host = "{server.host}"
port = {server.imap_port}
security = "none"
user = "{USER}"
password = "{PASSWORD}"
"""
    )


def stop(env: dict[str, str]) -> None:
    """Ask the engine to leave and wait until it has."""
    whole = {**os.environ, **env}
    subprocess.run([sys.executable, "-m", "termmail", "engine", "stop"], env=whole, capture_output=True, check=False)
    lock = Path(env["TERMMAIL_HOME"]) / "run/engine.sock"
    for _ in range(100):
        if not lock.exists():
            return
        time.sleep(0.1)


class FullSync:
    """Watches the database from outside; calling it gives the ms from the start until all headers were in."""

    def __init__(self, home: Path, total: int, started: float) -> None:
        import threading

        self.path, self.total, self.started, self.took = home / "data/mail.db", total, started, 0.0
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> FullSync:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(120)

    def __call__(self) -> float:
        return self.took

    def _watch(self) -> None:
        while time.monotonic() - self.started < 120:
            time.sleep(0.05)
            try:
                with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as db:
                    row = db.execute("SELECT max(total) FROM folder").fetchone()
            except sqlite3.Error:
                continue
            if row and (row[0] or 0) >= self.total:
                self.took = 1000 * (time.monotonic() - self.started)
                return


def waited(run: dict[str, Any], label: str) -> float:
    """The ms from spawn of a `wait` step."""
    return next(event["ms"] for event in run["summary"]["events"] if event["label"] == label)


def keys(run: dict[str, Any]) -> dict[str, Key]:
    """What each labelled group of keys cost."""
    return {
        key["label"]: Key(
            key["bytes_mean"], key["last_ms_median"], key["last_ms_p95"], key["cpu_ms_median"], key["first_ms_p95"]
        )
        for key in run["summary"]["keys"]
    }


def memory(run: dict[str, Any]) -> float:
    """PSS of the whole process tree at the end, MiB."""
    return float(run["summary"]["memory"][-1]["pss_mib"])


# Figures to reach, as ratios to neomutt.
GOALS = {
    "newest row, cold (ms)": 0.3,
    "newest row, warm (ms)": 0.7,
    "full header sync (ms)": 1.0,
    "memory (PSS MiB)": 1.0,
    "cursor down (bytes)": 1.5,
    "scroll by one (bytes)": 2.0,
    "page down (bytes)": 1.5,
}


def report(ours: Figures, theirs: Figures) -> list[dict[str, Any]]:
    """The lines of the table: what, termmail, neomutt, ratio, goal."""
    lines = [
        ("newest row, cold (ms)", ours.cold, theirs.cold),
        ("newest row, warm (ms)", ours.warm, theirs.warm),
        ("full header sync (ms)", ours.full, theirs.full),
        ("memory (PSS MiB)", ours.memory, theirs.memory),
    ]
    for label in ("cursor down", "scroll by one", "page down"):
        mine, other = ours.keys[label], theirs.keys[label]
        lines.append((f"{label} (bytes)", mine.bytes, other.bytes))
        lines.append((f"{label} (median ms)", mine.median, other.median))
        lines.append((f"{label} (p95 ms)", mine.p95, other.p95))
        beside = ours.keys[f"{label}, with the reader beside"]
        lines.append((f"{label}, reader beside (bytes)", beside.bytes, other.bytes))
    return [
        {
            "what": what,
            "termmail": mine,
            "neomutt": other,
            "ratio": mine / other if other else 0.0,
            "goal": GOALS.get(what),
        }
        for what, mine, other in lines
    ]


def main() -> int:
    """Fill, measure, print; the table goes to stdout, and to a file with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmbench-") as name:
        work = Path(name)
        with Dovecot(work / "dovecot", users=(USER,), password=PASSWORD) as server:
            print(f"filling {args.messages:,} messages …", file=sys.stderr, flush=True)
            fill(server, args.messages)
            theirs = neomutt(server, work, args.runs)
            ours = termmail(server, work, args.messages, args.runs)
    lines = report(ours, theirs)
    print(f"{args.messages:,} messages, median of {args.runs}, load {os.getloadavg()[0]:.2f}")
    print(f"{'':40}{'termmail':>10}{'neomutt':>10}{'ratio':>8}{'goal':>8}")
    for line in lines:
        goal = f"≤ {line['goal']}" if line["goal"] else ""
        print(f"{line['what']:40}{line['termmail']:>10.1f}{line['neomutt']:>10.1f}{line['ratio']:>8.2f}{goal:>8}")
    print(f"p95 of `j` during the first sync, to its first byte: {ours.busy_p95:.1f} ms (goal ≤ 20)")
    if args.json:
        args.json.write_text(json.dumps({"lines": lines, "busy_p95": ours.busy_p95}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
