"""The engine as a process: one per profile, gone within a second, and killed at any moment without harm."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from termmail import link
from termmail.config.settings import save_account
from termmail.demo.server import DemoServer
from termmail.model.draft import SendState
from termmail.model.message import Flag
from termmail.paths import Paths
from tests.engine.conftest import Place, Rig, demo_place, letter

ROOT = Path(__file__).parents[2]


class Profile:
    """A TERMMAIL_HOME with one account, and engines that run in it."""

    def __init__(self, home: Path, place: Place) -> None:
        self.home = home
        self.paths = Paths(home / "config", home / "data", home / "state", home / "cache", home / "run").make()
        self.rig = Rig(self.paths, place)
        save_account(self.paths.settings, self.rig.account)
        self.engines: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, attached: bool = False) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "termmail", "engine", "run", *(["--attached"] if attached else []), *arguments]
        env = os.environ | {"TERMMAIL_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.engines.append(process)
        return process

    def answers(self) -> bool:
        return link.ask(self.paths, {"status": True}, 1.0) is not None

    def settle(self) -> None:
        answer = link.ask(self.paths, {"sync": True, "wait": True, "seconds": 15.0}, 20.0)
        assert answer is not None
        assert answer["settled"]

    def close(self) -> None:
        for process in self.engines:
            if process.poll() is None:
                process.kill()
            process.wait(5)
            if process.stderr:
                process.stderr.close()
        self.rig.ui.close()


@pytest.fixture
def profile(tmp_path: Path, demo: DemoServer) -> Iterator[Profile]:
    made = Profile(tmp_path, demo_place(demo))
    yield made
    made.close()


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    assert link.wait_until(condition, seconds)


def test_an_engine_answers_syncs_and_leaves_when_asked(profile):
    profile.rig.place.add(1)
    engine = profile.run()
    soon(profile.answers)
    profile.settle()
    status = link.ask(profile.paths, {"status": True})["status"]
    assert status["running"]
    assert status["pid"] == engine.pid
    assert [(one["name"], one["state"], one["queued"]) for one in status["accounts"]] == [("here", "online", 0)]
    assert profile.rig.subjects() == ["Letter 1"]
    assert link.ask(profile.paths, {"stop": True}) == {"stopping": True}
    assert engine.wait(3) == 0
    assert not profile.paths.socket.exists()


def test_a_second_engine_is_refused_in_words(profile):
    profile.run()
    soon(profile.answers)
    second = profile.run()
    assert second.wait(10) == 1
    assert b"running" in second.stderr.read()
    assert profile.answers()


def test_an_engine_leaves_on_a_signal_with_its_work_undone_but_kept(profile):
    profile.rig.place.add(1)
    engine = profile.run()
    soon(profile.answers)
    profile.settle()
    profile.rig.place.demo.faults.stall = True
    profile.rig.ui.intents.archive([profile.rig.one(1)])
    link.poke(profile.paths)
    time.sleep(0.3)
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(3) == 0
    profile.rig.place.demo.faults.stall = False
    profile.run()
    soon(lambda: len(profile.rig.place.demo.folder("Archive").messages) == 1)


def test_files_and_socket_are_private_and_the_log_names_nobody(profile):
    profile.rig.place.add(1)
    profile.run()
    soon(profile.answers)
    profile.settle()
    for path in profile.home.rglob("*"):
        assert path.lstat().st_mode & 0o077 == 0, path
    text = profile.paths.log.read_text()
    assert "connected" in text
    for word in ("Letter", "demo.example", "secret"):
        assert word not in text


def test_an_engine_that_a_screen_started_leaves_after_it(profile):
    engine = profile.run(attached=True)
    soon(profile.answers)
    with socket.socket(socket.AF_UNIX) as screen:
        screen.connect(str(profile.paths.socket))
        screen.sendall(b'{"attach": true}\n')
        profile.settle()
        assert engine.poll() is None
    assert engine.wait(10) == 0


def test_junk_on_the_socket_hurts_nobody(profile):
    engine = profile.run()
    soon(profile.answers)
    for junk in (b"\0\xff" * 100, b"[" * 200_000 + b"\n", b'"' * 3_000_000, b"[1]\n", b'{"wait": 1, "seconds": []}\n',
                 b'{"open": "x", "sync": {}, "attach": 3}\n'):  # fmt: skip
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            sock.connect(str(profile.paths.socket))
            sock.sendall(junk)
    assert profile.answers()
    assert engine.poll() is None


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path, seed):
    chance = random.Random(seed)
    without = frozenset({"MOVE"}) if seed % 2 else frozenset[str]()
    with DemoServer(without=without) as demo:
        profile = Profile(tmp_path, demo_place(demo))
        try:
            for n in range(1, 13):
                demo.add(letter(n))
            profile.run()
            soon(profile.answers)
            profile.settle()
            demo.faults.delay = 0.02
            rig = profile.rig
            rig.ui.intents.archive([rig.one(n) for n in range(1, 5)])
            rig.ui.intents.trash([rig.one(n) for n in range(5, 8)])
            rig.ui.intents.flag([rig.one(n) for n in range(8, 11)], add=Flag.SEEN)
            queued = [
                rig.ui.queue.enqueue(
                    letter(n), account="here", mid=f"<letter{n}@example.org>", sender="ada@demo.example",
                    recipients=("grace@example.org",),
                )
                for n in (50, 51)
            ]  # fmt: skip
            for _ in range(3):
                link.poke(profile.paths)
                time.sleep(chance.uniform(0.0, 0.4))
                profile.engines[-1].kill()
                profile.engines[-1].wait()
                profile.run()
                soon(profile.answers)
            demo.faults.delay = 0.0
            soon(lambda: rig.ui.intents.pending_count(rig.ui.mail.account_id("here")) == 0, 20)
            soon(lambda: all(rig.ui.queue.outgoing(o).state in (SendState.SENT, SendState.UNCERTAIN) for o in queued))
            soon(lambda: all(o.filed or o.state == SendState.UNCERTAIN for o in map(rig.ui.queue.outgoing, queued)))
            profile.settle()
            there = rig.place.seen()
            assert rig.shown() == there
            assert [mid for mid, _ in there["Archive"]] == [f"<letter{n}@example.org>" for n in range(1, 5)]
            assert [mid for mid, _ in there["Trash"]] == [f"<letter{n}@example.org>" for n in range(5, 8)]
            assert len(there["INBOX"]) == 5
            assert len(demo.smtp.taken) == len({taken.raw for taken in demo.smtp.taken})
            for outbox_id in queued:
                out = rig.ui.queue.outgoing(outbox_id)
                copies = [mid for mid, _ in there["Sent"] if mid == out.message_id]
                assert len(copies) == (out.state == SendState.SENT)
        finally:
            profile.close()


def test_one_pass_without_an_engine_and_with_one(profile):
    from termmail.config import settings
    from termmail.engine import once

    profile.rig.place.add(1)
    loaded = settings.load(profile.paths.settings)
    done = once.sync_once(profile.paths, loaded, headers_only=True, seconds=15)
    assert done.errors == []
    assert next(line["new"] for line in done.folders if line["folder"] == "INBOX") == 1
    profile.run()
    soon(profile.answers)
    profile.settle()
    profile.rig.place.add(2)
    profile.rig.ui.intents.archive([profile.rig.one(1)])
    done = once.sync_once(profile.paths, loaded, headers_only=True, seconds=15)
    assert done.errors == []
    assert len(profile.rig.place.demo.folder("Archive").messages) == 1
    assert any(line["folder"] == "INBOX" for line in done.folders)


def test_a_password_command_that_hangs_keeps_no_engine(profile):
    account = profile.rig.account
    slow = dataclasses.replace(account.outgoing, password="", password_command="sleep 25")
    save_account(profile.paths.settings, dataclasses.replace(account, outgoing=slow))
    engine = profile.run()
    soon(profile.answers)
    out = profile.rig.ui.queue.enqueue(
        letter(50),
        account="here",
        mid="<letter50@example.org>",
        sender="ada@demo.example",
        recipients=("g@example.org",),
    )
    link.poke(profile.paths)
    soon(lambda: profile.rig.ui.queue.outgoing(out).state == SendState.SENDING)
    began = time.monotonic()
    engine.send_signal(signal.SIGTERM)
    engine.wait(10)
    assert time.monotonic() - began < 10
