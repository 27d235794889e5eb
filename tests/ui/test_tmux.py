"""The same keys in real tmux and in pyte must give the same screen: two terminals that share no code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.ui.filling import fill, profile
from tests.ui.terminal import ROOT, Terminal
from tests.ui.test_terminal import PROGRAM

WIDTH, HEIGHT = 120, 32
KEYS = [
    *("j" * 25),
    "G",
    "k",
    "k",
    "gg",
    "\x04",
    "\x15",
    "x",
    "x",
    "s",
    "zv",
    "j",
    "j",
    "?",
    "j",
    "q",
    "h",
    "l",
    "i",
    "H",
    "gg",
]


def need_tmux() -> str:
    """tmux's path; skips where there is none, fails where the servers are required."""
    found = shutil.which("tmux")
    if found:
        return found
    if os.environ.get("TERMMAIL_REQUIRE_SERVERS"):
        pytest.fail("tmux is required here and is not installed")
    pytest.skip("tmux is not installed (apt install tmux)")


class Tmux:
    """A tmux server of its own with the program in its only pane."""

    def __init__(self, home: Path) -> None:
        self.tmux = [need_tmux(), "-L", f"termmail-{uuid.uuid4().hex[:8]}", "-f", os.devnull]
        self.home = home

    def __enter__(self) -> Tmux:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        env |= {"TERMMAIL_HOME": str(self.home), "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor", "TZ": "UTC"}
        program = self.home / "program.py"
        program.write_text(PROGRAM)
        size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
        subprocess.run(
            [*self.tmux, "new-session", "-d", *size, f"exec {sys.executable} {program}"], env=env, check=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)

    def send(self, keys: str) -> None:
        """Type."""
        for key in keys:
            subprocess.run([*self.tmux, "send-keys", "-H", f"{ord(key):02x}"], check=True)

    @property
    def text(self) -> str:
        """What is on the screen."""
        done = subprocess.run([*self.tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True)
        return "\n".join(line.rstrip() for line in done.stdout.rstrip("\n").split("\n"))

    def settle(self) -> str:
        """The screen when it has stopped to change."""
        before = ""
        for _ in range(60):
            time.sleep(0.25)
            now = self.text
            if now == before and now.strip():
                return now
            before = now
        return before


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    """The same mail twice."""
    for name in ("a", "b"):
        fill(profile(tmp_path / name)).store.close()
        with (tmp_path / name / "config/settings.toml").open("a") as file:
            file.write('\n[ui]\nmark-read = "never"\n')  # what is read depends on time, and time differs
    return tmp_path / "a", tmp_path / "b"


def test_the_screen_in_tmux_is_the_screen_in_pyte(homes: tuple[Path, Path]) -> None:
    need_tmux()
    with (
        Tmux(homes[0]) as real,
        Terminal(["-c", PROGRAM], home=homes[1], width=WIDTH, height=HEIGHT, env={"TZ": "UTC"}) as model,
    ):
        model.wait("Inbox")
        for keys in ["", *KEYS]:
            if keys:
                real.send(keys)
                model.send(keys)
            if keys in ("", "G", "\x15", "zv", "?", "q", "H"):
                model.settle(0.6)
                expected = model.text.rstrip("\n")
                assert real.settle() == expected, f"after {keys!r}"
            else:
                model.pump(0.05)
                time.sleep(0.05)
