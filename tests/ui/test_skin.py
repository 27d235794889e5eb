"""Themes on the screen: contrast, the question for the background, NO_COLOR, and answers that come late."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from textual._xterm_parser import XTermParser
from textual.color import Color

from termmail.config import themes
from termmail.config.themes import VARIABLES
from termmail.ui import skin
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled

SHIPPED = themes.load(themes.shipped()).good
COLOURED = sorted(name for name, spec in SHIPPED.items() if not spec.ansi)
PLACES = ("background", "surface", "panel", "cursor", "cursor-blurred")
WRITING = (
    *("foreground", "primary", "secondary", "accent", "success", "warning", "error"),
    *(name for name in VARIABLES if not name.startswith("cursor")),
)


@pytest.mark.parametrize("name", COLOURED)
def test_whatever_is_written_can_be_read_wherever_it_stands(name: str) -> None:
    theme = skin._textual(SHIPPED[name])
    found = theme.to_color_system().generate() | theme.variables
    least = 7.0 if name == "contrast" else 4.5
    for place in PLACES:
        below = Color.parse(found[place])
        for ink in WRITING:
            colour = below + Color.parse(found[ink])
            ratio = contrast(below, colour)
            assert ratio >= least, f"{ink} on {place}: {ratio:.2f}"


def contrast(one: Color, other: Color) -> float:
    """WCAG 2.2, 1.4.3."""

    def luminance(colour: Color) -> float:
        parts = [v / 255 for v in (colour.r, colour.g, colour.b)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


async def test_every_theme_can_be_put_on_and_the_terminal_theme_sends_sixteen_colours_only(
    filled: Filled, opened: Opened
) -> None:
    async with opened(filled) as pilot:
        for name in SHIPPED:
            pilot.app.theme = name
            await pilot.pause()
        pilot.app.theme = "terminal"
        await pilot.pause()
        for strip in pilot.app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    assert colour is None or colour.triplet is None, segment


async def test_a_theme_that_is_set_but_not_there_is_named(filled: Filled, opened: Opened) -> None:
    async with opened(filled, ui='theme = "paperr"') as pilot:
        app: Any = pilot.app
        await until(lambda: "no theme 'paperr'" in app.mail.status.words)
        assert "did you mean paper?" in app.mail.status.words
        assert app.mail.status.kind == "error"


async def test_a_broken_theme_is_named_and_the_others_work(filled: Filled, opened: Opened) -> None:
    filled.paths.themes.mkdir()
    (filled.paths.themes / "mine.toml").write_text('name = "mine"\nprimary = "#12"\n')
    (filled.paths.themes / "good.toml").write_text('primary = "#123456"\n')
    async with opened(filled, size=(200, 40)) as pilot:
        app: Any = pilot.app
        assert "good" in app.themes
        assert "mine" not in app.themes
        app.theme = "good"
        await pilot.pause()
        assert "mine.toml:2: primary" in str(app.mail.status.words)


# -- asking the terminal ------------------------------------------------------------------------------------

ASK = """
import sys, time
from termmail.ui import skin
begun = time.monotonic()
light = skin.is_light()
print("RESULT", light, skin.answers.owed, repr(skin.answers.typed), time.monotonic() - begun < 1.0)
"""


def asked(answer: bytes, **environ: str) -> str:
    """What a process on a terminal that answers like this finds out."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    env = {**os.environ, **environ}
    child = subprocess.Popen([sys.executable, "-c", ASK], stdin=theirs, stdout=theirs, env=env)
    os.close(theirs)
    seen, answered, end = b"", False, time.monotonic() + 30
    while b"RESULT" not in seen or not seen.endswith(b"\n"):
        assert time.monotonic() < end
        seen += os.read(ours, 1024)
        if b"\x1b[c" in seen and not answered:
            answered = True
            os.write(ours, answer)
    child.wait()
    os.close(ours)
    match = re.search(rb"RESULT (.*)", seen)
    assert match
    return match[1].decode().strip()


def test_a_light_terminal_is_found_out() -> None:
    assert asked(b"\x1b]11;rgb:fafa/f8f8/f3f3\x1b\\\x1b[?62;22c") == "True False '' True"


def test_a_dark_terminal_is_found_out_and_keys_typed_meanwhile_are_kept() -> None:
    answer = b"j\x1b]11;rgb:16/18/1f\x07k\x1b[?1;2c"
    assert asked(answer, COLORFGBG="0;15") == "False False 'jk' True"


def test_a_terminal_that_tells_no_colour_is_known_by_its_environment() -> None:
    assert asked(b"\x1b[?1;2c", COLORFGBG="0;15") == "True False '' True"
    assert asked(b"\x1b[?1;2c", COLORFGBG="15;0") == "False False '' True"


def test_a_terminal_that_is_silent_is_not_waited_for_and_owes_an_answer() -> None:
    assert asked(b"", COLORFGBG="") == "False True '' True"


def keys(chunks: list[str], answers: skin.Answers) -> list[str]:
    parser = XTermParser(False)
    found: list[Any] = [event for chunk in chunks for event in parser.feed(answers.strip(chunk))]
    return [event.key for event in found if hasattr(event, "key")]


ANSWER = "\x1b]11;rgb:dede/adad/eeee\x1b\\\x1b[?62;22c"


@pytest.mark.parametrize("cut", range(2, len(ANSWER)))
def test_an_answer_that_comes_late_is_no_key_wherever_it_is_cut(cut: int) -> None:
    answers = skin.Answers()
    answers.owed = True
    assert keys(["j" + ANSWER[:cut], ANSWER[cut:] + "k"], answers) == ["j", "k"]
    assert not answers.owed


def test_without_an_answer_owed_nothing_is_held_back() -> None:
    assert skin.Answers().strip("\x1b]") == "\x1b]"


# -- which theme ---------------------------------------------------------------------------------------------


def test_the_setting_counts_unless_colour_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skin, "is_light", lambda: True)
    assert skin.choose("dusk", SHIPPED) == "dusk"
    assert skin.choose("auto", SHIPPED) == "paper"
    assert skin.choose("no-such", SHIPPED) == "paper"
    monkeypatch.setattr(skin, "is_light", lambda: False)
    assert skin.choose("auto", SHIPPED) == "dusk"
    monkeypatch.setenv("NO_COLOR", "1")
    assert skin.choose("paper", SHIPPED) == "terminal"


async def test_no_colour_means_none_and_the_cursor_is_seen_all_the_same(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(filled) as pilot:
        app: Any = pilot.app
        app.theme = "terminal"
        await pilot.pause()
        strips = [app.mail.list.render_line(y) for y in range(3)]
        assert all(segment.style and segment.style.reverse for segment in strips[0])
        shown = {type(one).__name__ for one in app._filters}
        assert "NoColor" in shown
        assert "Monochrome" not in shown


def test_the_themes_are_found_in_a_checkout_and_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"dusk", "paper", "contrast", "terminal"} <= set(SHIPPED)
    package = tmp_path / "termmail"
    (package / "config").mkdir(parents=True)
    monkeypatch.setattr(themes, "__file__", str(package / "config/themes.py"))
    assert themes.shipped() == tmp_path / "themes"
    (package / "themes").mkdir()
    assert themes.shipped() == package / "themes"
