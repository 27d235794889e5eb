"""Themes as TOML: colours and our own variables, checked key by key.  No Textual here."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from termmail.config.settings import Problem
from termmail.text import safe_line

COLOURS = (
    "primary", "secondary", "accent", "foreground", "background", "surface", "panel", "boost", "success", "warning", "error",
)  # fmt: skip
VARIABLES: dict[str, str] = {
    "unread": "$accent", "flagged": "$warning", "answered": "$secondary", "attachment": "$secondary", "pending": "$warning",
    "selected": "$accent", "quote-1": "$primary", "quote-2": "$secondary", "quote-3": "$success", "quote-4": "$warning",
    "link": "$accent", "signature": "$foreground 55%", "heading": "$primary", "added": "$success", "removed": "$error",
    "hunk": "$secondary", "dim": "$foreground 60%", "account": "$primary", "role": "$foreground", "cursor": "$primary 35%",
    "cursor-blurred": "$foreground 12%", "alert": "$warning",
}  # fmt: skip
"""Our variables and what they are where a theme does not say."""
STYLES: dict[str, str] = {"cursor-style": "none", "cursor-blurred-style": "none"}
"""Variables that are no colours: how the line under the cursor is written, where colour is not to be had."""
_STYLE_WORDS = ("none", "bold", "dim", "italic", "reverse", "underline")
_ANSI = {
    f"ansi_{bright}{one}"
    for bright in ("", "bright_") for one in ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
} | {"ansi_default"}  # fmt: skip
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_REFERENCE = re.compile(r"\$([a-z-]+)(?: (?:100|\d{1,2})%)?")


@dataclass(frozen=True, slots=True)
class ThemeSpec:
    """A theme as its file has it."""

    name: str
    dark: bool
    colours: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    ansi: bool = False


class Themes(NamedTuple):
    """Those that can be used, by name, and what is wrong with the others."""

    good: dict[str, ThemeSpec]
    bad: list[Problem]


def shipped() -> Path:
    """The folder of the themes that come with termmail: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def load(*folders: Path) -> Themes:
    """The themes of these folders; a later one of the same name counts.  Never raises."""
    good: dict[str, ThemeSpec] = {}
    bad: list[Problem] = []
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in sorted(folder.glob("*.toml")):
            spec, problems = _theme(path)
            bad += problems
            if spec is not None:
                good[spec.name] = spec
    return Themes(good, bad)


def unknown(wanted: str, good: Mapping[str, ThemeSpec], file: Path) -> list[Problem]:
    """What to say of a theme that is set in the settings but is none of these."""
    if wanted == "auto" or wanted in good:
        return []
    words = f"there is no theme {safe_line(wanted)!r}; there are {', '.join(sorted(good))}" + _near(wanted, list(good))
    try:
        line = _line_of(file.read_text("utf-8"), "theme")
    except (OSError, ValueError):
        line = 0
    return [Problem(str(file), line, "ui.theme", words)]


def _theme(path: Path) -> tuple[ThemeSpec | None, list[Problem]]:
    """One file; None if it cannot be used."""
    try:
        text = path.read_text("utf-8")
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        line = int(match[1]) if match else len(text.splitlines())  # "at end of document"
        return None, [Problem(str(path), line, "", f"is no TOML: {safe_line(str(error))}")]
    except (OSError, ValueError, RecursionError) as error:
        words = safe_line(getattr(error, "strerror", None) or str(error))
        return None, [Problem(str(path), 0, "", f"cannot be read: {words}")]
    problems: list[Problem] = []

    def wrong(key: str, words: str) -> None:
        problems.append(Problem(str(path), _line_of(text, key), safe_line(key), safe_line(words)))

    known = ("name", "dark", "ansi", "variables", *COLOURS)
    for key in found:
        if key not in known:
            wrong(key, "unknown key" + _near(key, known))
    variables = found.get("variables", {})
    if not isinstance(variables, dict):
        wrong("variables", "should be a table")
        variables = {}
    colours = {key: found[key] for key in COLOURS if key in found}
    for key, value in colours.items():
        if fault := _colour_fault(value, references=False):
            wrong(key, fault)
    for key, value in variables.items():
        if key in STYLES:
            fault = _style_fault(value)
        elif key in VARIABLES:
            fault = _colour_fault(value, references=True)
        else:
            fault = "unknown variable" + _near(key, (*VARIABLES, *STYLES))
        if fault:
            wrong(key, fault)
    if "primary" not in found:
        wrong("primary", "a theme needs its primary colour")
    for key in ("dark", "ansi"):
        if not isinstance(found.get(key, True), bool):
            wrong(key, "should be true or false")
    name = found.get("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        wrong("name", "should be small letters, digits and -")
    if problems:
        return None, problems
    return ThemeSpec(name, found.get("dark", True), colours, variables, found.get("ansi", False)), []


def _line_of(text: str, key: str) -> int:
    """The line where a key is set, 0 if it is not found."""
    setting = re.compile(
        rf"""\s*(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')\s*=|\s*\[{re.escape(key)}\]"""
    )
    return next((n for n, line in enumerate(text.split("\n"), 1) if setting.match(line)), 0)


def _near(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _colour_fault(value: object, *, references: bool) -> str:
    """What is wrong with a colour, "" for nothing; `references` to the theme's colours may stand in variables."""
    if isinstance(value, str):
        if _COLOUR.fullmatch(value) or value in _ANSI:
            return ""
        if references and (match := _REFERENCE.fullmatch(value)) and match[1] in COLOURS:
            return ""
    more = ", ansi_blue or $primary 50%" if references else " or ansi_blue"
    return f"{value!r} is no colour; write it as #7aa2f7{more}"


def _style_fault(value: object) -> str:
    if isinstance(value, str) and value and all(word in _STYLE_WORDS for word in value.split(" ")):
        return ""
    return f"{value!r} is no style; there are {', '.join(_STYLE_WORDS)}"
