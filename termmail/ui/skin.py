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
from termmail.config.themes import COLOURS, VARIABLES, ThemeSpec, load, shipped
from termmail.paths import Paths

WAIT = 0.15  # seconds for the terminal's answer


def register(app: App[int], paths: Paths) -> tuple[dict[str, ThemeSpec], list[Problem]]:
    """Make every theme known to the app; those that cannot be used are named."""
    good, bad = load(shipped(), paths.themes)
    for name, spec in list(good.items()):
        try:
            app.register_theme(_textual(spec))
        except Exception as error:  # noqa: BLE001  whatever Textual finds in a user's file
            del good[name]
            bad.append(Problem(str(paths.themes), 0, name, f"cannot be used: {error}"))
    return good, bad


def _textual(spec: ThemeSpec) -> Theme:
    options: dict[str, Any] = dict(spec.colours)
    return Theme(name=spec.name, dark=spec.dark, variables=_resolved(spec), **options)


def _resolved(spec: ThemeSpec) -> dict[str, str]:
    """Our variables for a theme: what it says, else made from its colours."""
    colours = (
        dict.fromkeys(COLOURS, spec.colours["primary"])
        | {"foreground": "#d0d0d0" if spec.dark else "#202020"}
        | spec.colours
    )
    return {
        name: re.sub(r"\$([a-z]+)", lambda match: colours[match[1]], spec.variables.get(name, default))
        for name, default in VARIABLES.items()
    }


def defaults() -> dict[str, str]:
    """Our variables for Textual's own themes, which do not name them."""
    return _resolved(ThemeSpec("", True, {"primary": "#7aa2f7"}))


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
        end = time.monotonic() + WAIT
        while (left := end - time.monotonic()) > 0 and select.select([descriptor], [], [], left)[0]:
            got += os.read(descriptor, 256)
            if re.search(rb"\x1b\[\?[\d;]*c", got):
                break
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    match = re.search(rb"11;rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})", got, re.I)
    if not match:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in match.groups())
    return red, green, blue
