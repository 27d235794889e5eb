"""The line that opens for `:` and `/`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from termmail.text import SafeText

HISTORY = 100


class Prompt(Horizontal):
    """Asks for one line; Tab completes, ↑ brings back what was typed before, Esc leaves."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.mark = Static("", id="prompt-mark", markup=False)
        self.input = Input(id="prompt-input", compact=True)
        self.input.cursor_blink = False
        self.hint = Static("", id="prompt-hint", markup=False)
        self.history: dict[str, list[str]] = {}
        self._words: Sequence[str] = ()
        self._future: asyncio.Future[str | None] | None = None
        self._back = 0

    def compose(self) -> ComposeResult:
        yield self.mark
        yield self.input
        yield self.hint

    async def ask(self, mark: str, *, hint: str = "", words: Sequence[str] = ()) -> str | None:
        """The line that was typed, None if the user left."""
        before = self.screen.focused
        self.mark.update(Content(mark))
        self.hint.update(Content(SafeText(hint)))
        self.input.value = ""
        self._words, self._back = words, 0
        self.display = True
        self.screen.set_focus(self.input)  # at once: the next key may be here already, and it is not a verb
        self._future = asyncio.get_running_loop().create_future()
        try:
            line = await self._future
        finally:
            self._future = None
            self.display = False
            if before is not None:
                self.screen.set_focus(before)
        if line:
            self.history.setdefault(mark, []).append(line)
            del self.history[mark][:-HISTORY]
        return line

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._future is not None and not self._future.done():
            self._future.set_result(event.value)

    def on_key(self, event: events.Key) -> None:
        if self._future is None:
            return
        if event.key == "escape" or (event.key == "backspace" and not self.input.value):
            self._future.set_result(None)
        elif event.key == "tab":
            self._complete()
        elif event.key in ("up", "down"):
            self._recall(1 if event.key == "up" else -1)
        else:
            return
        event.stop()
        event.prevent_default()

    def _complete(self) -> None:
        """As much as all words that begin so have in common."""
        typed = self.input.value
        fitting = [word for word in self._words if word.startswith(typed)]
        if not fitting:
            return
        common = fitting[0]
        for word in fitting[1:]:
            while not word.startswith(common):
                common = common[:-1]
        self.input.value = common + (" " if len(fitting) == 1 else "")
        self.input.cursor_position = len(self.input.value)
        self.hint.update(Content(SafeText("  ".join(fitting[:8]))))

    def _recall(self, step: int) -> None:
        past = self.history.get(str(self.mark.content), [])
        self._back = max(0, min(len(past), self._back + step))
        self.input.value = past[-self._back] if self._back else ""
        self.input.cursor_position = len(self.input.value)
