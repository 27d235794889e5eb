"""Fields of forms: lines, paths, senders, and the bar below a composer.

What is pasted passes the door for text (text.py); nothing blinks; what a field holds is a plain string.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from termmail.text import SafeText, safe_block, safe_line
from termmail.ui.widgets.lines import fit

LINE_LIMIT = 200_000  # characters of a field: a list of some thousand recipients
ENTRIES = 2_000  # names of a folder that are looked at to complete a path

KeyWord = tuple[str, str]  # a key and what it does


class LineInput(Input):
    """A line of text.  `joint` stands between the lines of a paste: ", " for addresses."""

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        password: bool = False,
        id: str | None = None,  # noqa: A002
        joint: str = " ",
    ) -> None:
        shown = value if password else safe_line(value, LINE_LIMIT)
        super().__init__(shown, placeholder=placeholder, password=password, id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False
        self.joint = joint

    def _on_paste(self, event: events.Paste) -> None:
        """All lines that are pasted, on one line, without what a terminal would obey."""
        event.stop()
        event.prevent_default()
        if self.password:
            text = event.text.strip("\r\n").partition("\n")[0]
        else:
            lines = [safe_line(line, LINE_LIMIT) for line in safe_block(event.text).split("\n")]
            text = self.joint.join(filter(None, (line.strip(self.joint) for line in lines)))
        if text:
            self.replace(text, *self.selection)


def complete(typed: str, *, folders_only: bool = False) -> tuple[str, list[str]]:
    """A path as far as it can only be meant, and the names that fit; folders end in "/".

    Names that cannot be typed (controls, no UTF-8) are left out.  Never raises.
    """
    folder, slash, start = typed.rpartition("/")
    names: list[str] = []
    try:
        with os.scandir(Path(folder + slash or ".").expanduser()) as entries:
            for _, entry in zip(range(ENTRIES), entries, strict=False):
                plain = entry.name.isprintable() and safe_line(entry.name) == entry.name
                if plain and entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                    is_folder = entry.is_dir()
                    if is_folder or not folders_only:
                        names.append(entry.name + "/" * is_folder)
    except (OSError, ValueError, RuntimeError):
        return typed, []
    names.sort()
    common = 0
    if names:  # between the first and the last in order stand all others
        pairs = zip(names[0], names[-1], strict=False)
        common = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(names[0]), len(names[-1])))
    return folder + slash + (names[0][:common] if common else start), names


class Chooser(Widget, can_focus=True):
    """Shows one of several values: Left and Right go through them, Enter asks for the list."""

    BINDING_GROUP_TITLE = "sender"

    class Turned(Message):
        """Another one is wanted: `step` further, 0 to choose from the list."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, text: SafeText = SafeText(""), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.text = text

    def show(self, text: SafeText) -> None:
        """The value to show."""
        self.text = text
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        return Strip([Segment(fit(self.text, self.size.width), base)]).adjust_cell_length(self.size.width, base)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        step = {"right": 1, "left": -1, "enter": 0, "space": 0, "i": 0}.get(event.key)
        if step is not None:
            event.stop()
            event.prevent_default()
            self.post_message(self.Turned(step))

    def on_click(self) -> None:
        self.post_message(self.Turned(0))


class Bar(Widget, can_focus=True):
    """Sentences, and below them keys with what they do, in as many rows as they need."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar--key", "bar--word", "bar--problem"}

    class Pressed(Message):
        """A key while the bar has the focus."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.words: list[SafeText] = []
        self.keys: list[KeyWord] = []

    def show(self, words: Sequence[SafeText], keys: Sequence[KeyWord]) -> None:
        """What to say and which keys to offer."""
        self.words, self.keys = list(words), list(keys)
        self.refresh(layout=True)

    def _rows(self, width: int) -> list[list[tuple[str, str]]]:
        """Rows of (component class, text)."""
        rows = [[("bar--problem", line)] for words in self.words for line in textwrap.wrap(words, max(8, width))]
        row: list[tuple[str, str]] = []
        used = 0
        for key, word in self.keys:
            size = len(key) + 1 + len(word)
            if row and used + size > width:
                rows.append(row)
                row, used = [], 0
            row += [("bar--key", key), ("bar--word", f" {word}   ")]
            used += size + 3
        return [*rows, row] if row else rows

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as it takes."""
        return max(1, len(self._rows(width)))

    def render_line(self, y: int) -> Strip:
        base, width = self.rich_style, self.size.width
        rows = self._rows(width)
        row = rows[y] if y < len(rows) else []
        looks: dict[str, Style] = {
            name: base + self.get_component_rich_style(name, partial=True) for name in {name for name, _ in row}
        }
        return Strip([Segment(text, looks[name]) for name, text in row]).adjust_cell_length(width, base)

    def on_key(self, event: events.Key) -> None:
        if event.key not in ("tab", "shift+tab"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(event.key))
