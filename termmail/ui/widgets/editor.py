"""The built-in editor: soft wrap, undo, quotations and signature coloured; pastes are made safe."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import TextArea

from termmail.text import safe_block

QUOTE_LEVELS = 4
_MARKS = re.compile(r"(?:> ?)+")


class Editor(TextArea):
    """See the module.  Esc leaves it."""

    # the scrollbar stays: where undo makes it go, Textual 8.2.8 looks for a line that is no longer there
    DEFAULT_CSS = "Editor { overflow-y: scroll; scrollbar-size-vertical: 1; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "editor--signature", *(f"editor--quote-{level + 1}" for level in range(QUOTE_LEVELS)),
    }  # fmt: skip

    class Left(Message):
        """The user is done with the text for now."""

    def __init__(self, text: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(
            safe_block(text), id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus", compact=True
        )
        self.cursor_blink = False

    def put(self, text: str) -> None:
        """Another text, which undo takes back."""
        self.replace(safe_block(text), (0, 0), self.document.end, maintain_selection_offset=False)
        self.move_cursor((0, 0))

    def get_line(self, line_index: int) -> Text:
        """A line, coloured by its depth of quotation or as part of the signature."""
        line = super().get_line(line_index)
        look = ""
        if match := _MARKS.match(line.plain):
            look = f"editor--quote-{(match[0].count('>') - 1) % QUOTE_LEVELS + 1}"
        elif line_index >= self._signature():
            look = "editor--signature"
        if look:
            line.stylize(self.get_component_rich_style(look, partial=True))
        return line

    def _signature(self) -> int:
        """The line of the last "-- " (RFC 3676 §4.3), or one behind the end."""
        count = self.document.line_count
        for index in range(count - 1, max(-1, count - 30), -1):
            if self.document.get_line(index) == "-- ":
                return index
        return count

    async def _on_paste(self, event: events.Paste) -> None:
        """What is pasted may hold anything; TextArea's own handler comes after this one."""
        event.text = safe_block(event.text)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
