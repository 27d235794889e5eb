"""Themes on the screen: from TOML to Textual, and light or dark as the terminal is."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from typing import Any

from textual.app import App
from textual.theme import Theme

from termmail.config.settings import Problem
from termmail.config.themes import COLOURS, STYLES, VARIABLES, ThemeSpec, load, shipped
from termmail.paths import Paths

WAIT = 0.15  # seconds for the terminal's answer


def register(app: App[int], paths: Paths) -> tuple[dict[str, ThemeSpec], list[Problem]]:
    """Make every theme known to the app; those that cannot be used are named."""
    good, bad = load(shipped(), paths.themes)
    for name, spec in list(good.items()):
        try:
            theme = _textual(spec)
            theme.to_color_system().generate()
            app.register_theme(theme)
        except Exception as error:  # noqa: BLE001  whatever Textual finds in a user's file
            del good[name]
            bad.append(Problem(str(paths.themes), 0, name, f"cannot be used: {error}"))
    return good, bad


def _textual(spec: ThemeSpec) -> Theme:
    options: dict[str, Any] = dict(spec.colours)
    if spec.ansi:
        options = dict.fromkeys(_PLAIN, "ansi_default") | options
    variables = _resolved(spec) | (_ANSI_NEEDS | _ANSI_INPUT if spec.ansi else {})
    return Theme(name=spec.name, dark=spec.dark, ansi=spec.ansi, variables=variables, **options)


_PLAIN = ("foreground", "background", "surface", "panel", "boost")
_ANSI_NEEDS = {"ansi-background": "ansi_default", "ansi-foreground": "ansi_default"}  # named in Textual's own CSS
_ANSI_INPUT = {
    "input-cursor-background": "ansi_default",
    "input-cursor-foreground": "ansi_default",
    "input-cursor-text-style": "reverse",
}


def _resolved(spec: ThemeSpec) -> dict[str, str]:
    """Our variables for a theme: what it says, else made from its colours."""
    colours = dict.fromkeys(COLOURS, spec.colours["primary"])
    if spec.ansi:
        colours |= dict.fromkeys(_PLAIN, "ansi_default")
    else:
        colours["foreground"] = "#d0d0d0" if spec.dark else "#202020"
    colours |= spec.colours

    def value(name: str, default: str) -> str:
        said = spec.variables.get(name, default)
        if spec.ansi:  # the sixteen colours have no shades
            said = said.partition(" ")[0]
        return re.sub(r"\$([a-z]+)", lambda match: colours[match[1]], said)

    styles = {name: spec.variables.get(name, default) for name, default in STYLES.items()}
    return {name: value(name, default) for name, default in VARIABLES.items()} | styles


def defaults() -> dict[str, str]:
    """Our variables for Textual's own themes, which do not name them."""
    return _resolved(ThemeSpec("", True, {"primary": "#7aa2f7"})) | _ANSI_NEEDS


def choose(wanted: str, themes: dict[str, ThemeSpec]) -> str:
    """The theme to begin with: the one that was set, else by NO_COLOR and the terminal's background."""
    if os.environ.get("NO_COLOR"):
        return "terminal"
    if wanted in themes:
        return wanted
    return "paper" if is_light() else "dusk"


def is_light() -> bool:
    """The terminal's background is light: it is asked (OSC 11), then COLORFGBG, else dark."""
    answer = _background()
    if answer is not None:
        red, green, blue = answer
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue >= 0.5
    parts = os.environ.get("COLORFGBG", "").split(";")
    return parts[-1] in ("7", "15")


class Answers:
    """What comes from the terminal, without its answers to our questions.

    Over a slow line the answers arrive when the screen is long up; Textual would take "rgb:dede…" for
    keys.  `owed`: they have not come yet.  `typed`: keys that came while we waited for them.
    """

    def __init__(self) -> None:
        self.owed = False
        self.typed = ""
        self._held = ""

    def strip(self, text: str) -> str:
        """Text as it was typed; the beginning of an answer is held back until the rest comes."""
        text = self._held + text
        self._held = ""
        if not self.owed:
            return text
        text, colours = _COLOUR_ANSWER.subn("", text)
        if found := _LAST_ANSWER.search(text):
            self.owed = False
            return text[: found.start()] + text[found.end() :]
        if (begun := _BEGUN.search(text)) and (colours or begun[0] != "\x1b"):  # Esc alone is a key
            self._held, text = text[begun.start() :], text[: begun.start()]
        return text


_COLOUR_ANSWER = re.compile(r"\x1b\]11;[^\x07\x1b]*(?:\x07|\x1b\\)")
_LAST_ANSWER = re.compile(r"\x1b\[\?[\d;]*c")
_BEGUN = re.compile(r"\x1b(?:\](?:1(?:1(?:;[^\x07\x1b]*\x1b?)?)?)?|\[(?:\?[\d;]*)?)?\Z")

answers = Answers()
"""Of this process's terminal: the probe fills it, the driver reads it."""


def _background() -> tuple[float, float, float] | None:
    """The background colour as the terminal tells it; every terminal answers the question behind it (DA1)."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    descriptor = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        return None
    got = b""
    try:
        tty.setcbreak(descriptor)
        os.write(sys.stdout.fileno(), b"\x1b]11;?\x1b\\\x1b[c")
        answers.owed = True
        end = time.monotonic() + WAIT
        while (left := end - time.monotonic()) > 0 and select.select([descriptor], [], [], left)[0]:
            more = os.read(descriptor, 256)
            got += more
            if not more or _LAST_ANSWER.search(got.decode("latin-1")):
                break
    except OSError:
        return None
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    match = re.search(rb"11;rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})", got, re.I)
    answers.typed = answers.strip(got.decode("utf-8", "replace"))
    if not match:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in match.groups())
    return red, green, blue
