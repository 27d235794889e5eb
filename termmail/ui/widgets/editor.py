"""The built-in editor: soft wrap, undo, quotations dimmed; pastes are made safe."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import TextArea

from termmail.text import safe_block


class Editor(TextArea):
    """See the module.  Esc leaves it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"editor--quote"}
    DEFAULT_CSS = "Editor .editor--quote { color: $quote-1; }"

    class Left(Message):
        """The user is done with the text for now."""

    def __init__(self, text: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(text, id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus", compact=True)
        self.cursor_blink = False

    def get_line(self, line_index: int) -> Text:
        """A line, coloured if it is quoted."""
        line = super().get_line(line_index)
        if line.plain.startswith(">"):
            line.stylize(self.get_component_rich_style("editor--quote", partial=True))
        return line

    async def _on_paste(self, event: events.Paste) -> None:
        """What is pasted may hold anything."""
        event.text = safe_block(event.text)
        await super()._on_paste(event)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
            return
        await super()._on_key(event)
