"""keys.toml: the user's own keys, laid over the defaults.

[list]                 # a context: list, reader, tree, everywhere
"g x" = "archive"      # keys, one after the other: an action of docs/keys.md
"e" = ""               # nothing
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from termmail.config.settings import Problem

Table = dict[str, dict[str, str]]  # context → keys → action

_NAMES = {
    " ": "space", "return": "enter", "esc": "escape", "bs": "backspace", "pgup": "pageup", "pgdn": "pagedown", "/": "slash",
    ":": "colon", "?": "question_mark", "!": "exclamation_mark", "#": "number_sign", "$": "dollar_sign", "&": "ampersand",
    "*": "asterisk", "+": "plus", "-": "minus", ".": "full_stop", ",": "comma", ";": "semicolon", "@": "at", "|": "vertical_line",
    "[": "left_square_bracket", "]": "right_square_bracket", "\\": "backslash", "=": "equals_sign", "<": "less_than_sign",
    ">": "greater_than_sign", "'": "apostrophe", '"': "quotation_mark", "(": "left_parenthesis", ")": "right_parenthesis",
    "_": "underscore", "~": "tilde", "^": "circumflex_accent", "`": "grave_accent", "%": "percent_sign",
}  # fmt: skip


class Keys(NamedTuple):
    """The table to use, and what is wrong in the file."""

    table: Table
    problems: list[Problem]


def normal(keys: str) -> str:
    """A sequence as Textual names its keys: "C-d" → ctrl+d, "g  g" → g g, "<space>" → space.  Raises ValueError."""
    out = []
    for one in keys.split():
        key = one[1:-1] if re.fullmatch(r"<.{2,}>", one) else one
        if match := re.fullmatch(r"(?:C|ctrl)[-+](.)", key, re.I):
            key = f"ctrl+{match[1].lower()}"
        elif match := re.fullmatch(r"(?:M|A|alt)[-+](.)", key):
            key = f"alt+{match[1]}"
        elif match := re.fullmatch(r"(?:S|shift)[-+](\w{2,})", key, re.I):
            key = f"shift+{match[1].lower()}"
        else:
            key = _NAMES.get(key.lower() if len(key) > 1 else key, key)
        if not key:
            raise ValueError("an empty key")
        out.append(key)
    if not out:
        raise ValueError("an empty sequence of keys")
    return " ".join(out)


def load(path: Path, defaults: Mapping[str, Mapping[str, str]], actions: Collection[str]) -> Keys:
    """The user's keys over the defaults; mistakes are named and passed over.  Never raises."""
    table: Table = {context: dict(keys) for context, keys in defaults.items()}
    problems: list[Problem] = []
    try:
        text = path.read_text("utf-8")
        found = tomllib.loads(text)
    except FileNotFoundError:
        return Keys(table, problems)
    except (OSError, UnicodeError) as error:
        return Keys(table, [Problem(str(path), 0, "", f"cannot be read: {error}")])
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        return Keys(table, [Problem(str(path), int(match[1]) if match else 0, "", f"is no TOML: {error}")])
    lines = text.split("\n")

    def wrong(key: str, words: str) -> None:
        line = next((n for n, one in enumerate(lines, 1) if key in one), 0)
        problems.append(Problem(str(path), line, key, words, serious=False))

    for context, keys in found.items():
        if context not in table or not isinstance(keys, dict):
            wrong(context, f"no such context; there are {', '.join(table)}")
            continue
        for sequence, action in keys.items():
            try:
                name = normal(sequence)
            except ValueError as error:
                wrong(sequence, str(error))
                continue
            if action == "":
                table[context].pop(name, None)
            elif not isinstance(action, str) or action.partition(" ")[0] not in actions:
                near = difflib.get_close_matches(str(action), list(actions), 1)
                wrong(sequence, f"no action {action!r}" + (f"; did you mean {near[0]}?" if near else ""))
            else:
                table[context][name] = action
    return Keys(table, problems)
