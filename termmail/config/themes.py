"""Themes as TOML: colours and our own variables, checked key by key.  No Textual here."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from termmail.config.settings import Problem

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
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|ansi_[a-z_]+|auto|[a-z]{3,20}|\$[a-z-]+(?: \d{1,3}%)?")


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


def _theme(path: Path) -> tuple[ThemeSpec | None, list[Problem]]:
    """One file; None if it cannot be used."""
    try:
        text = path.read_text("utf-8")
        found = tomllib.loads(text)
    except (OSError, UnicodeError) as error:
        return None, [Problem(str(path), 0, "", f"cannot be read: {error}")]
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        return None, [Problem(str(path), int(match[1]) if match else 0, "", f"is no TOML: {error}")]
    problems: list[Problem] = []

    def wrong(key: str, words: str) -> None:
        lines = text.split("\n")
        line = next((n for n, one in enumerate(lines, 1) if re.match(rf'\s*"?{re.escape(key)}"?\s*=', one)), 0)
        problems.append(Problem(str(path), line, key, words))

    known = ("name", "dark", "ansi", "variables", *COLOURS)
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            wrong(key, "unknown key" + (f"; did you mean {near[0]}?" if near else ""))
    colours = {key: found[key] for key in COLOURS if key in found}
    variables = found.get("variables", {})
    if not isinstance(variables, dict):
        wrong("variables", "should be a table")
        variables = {}
    for key, value in {**colours, **variables}.items():
        if key in variables and key not in VARIABLES:
            near = difflib.get_close_matches(key, VARIABLES, 1)
            wrong(key, "unknown variable" + (f"; did you mean {near[0]}?" if near else ""))
        elif not isinstance(value, str) or not _COLOUR.fullmatch(value):
            wrong(key, f"{value!r} is no colour")
    if "primary" not in found:
        wrong("primary", "a theme needs its primary colour")
    name = found.get("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        wrong("name", "should be small letters, digits and -")
    if problems:
        return None, problems
    return ThemeSpec(name, bool(found.get("dark", True)), colours, variables, bool(found.get("ansi", False))), []
