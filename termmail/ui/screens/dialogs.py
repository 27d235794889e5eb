"""Small questions: choose, confirm, type a line, read a text.  Esc leaves, Enter answers, always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from termmail.text import SafeText, safe_line
from termmail.ui.widgets.lines import Lines, fit

Item = tuple[str, SafeText, SafeText]  # key, label, hint


def content(text: SafeText) -> Content:
    """Safe text for a Static: never markup."""
    return Content(text)


def line_input(value: str = "", *, placeholder: str = "", password: bool = False, id: str | None = None) -> Input:  # noqa: A002
    """A one-line field that does not blink."""
    field = Input(value, placeholder=placeholder, password=password, id=id, compact=True)
    field.cursor_blink = False
    return field


def score(query: str, label: str) -> int:
    """How well a label fits what was typed; 0 for not at all.  Letters in order, runs and word starts count more."""
    if not query:
        return 1
    low, at, total, last = label.casefold(), 0, 0, -2
    direct = low.find(query)
    if direct >= 0:
        return 1000 - direct - len(low) + (200 if direct == 0 or not low[direct - 1].isalnum() else 0)
    for char in query:
        at = low.find(char, at)
        if at < 0:
            return 0
        total += 3 if at == last + 1 else 2 if at == 0 or not low[at - 1].isalnum() else 1
        last, at = at, at + 1
    return total


class _Choices(Lines):
    """The list of a `Choose`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--hint"}

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__(id="choices")
        self.all = list(items)
        self.items = self.all
        self.can_focus = False

    @property
    def has_focus(self) -> bool:  # type: ignore[override]
        return True

    def count(self) -> int:
        return len(self.items)

    def filter(self, query: str) -> None:
        query = query.casefold().strip()
        found = [(score(query, label), -place, item) for place, item in enumerate(self.all) for label in (item[1],)]
        self.items = [item for value, _, item in sorted(found, key=lambda one: one[:2], reverse=True) if value > 0]
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.resized()

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        _, label, hint = self.items[index]
        room = max(1, width - len(hint) - 3)
        return [Segment(f" {fit(label, room)} ", base), Segment(f"{hint} ", base + self.look("choices--hint"))]


class Choose(ModalScreen[str]):
    """Choose one of many by typing a part of it; the key of the choice, None for none."""

    def __init__(self, title: SafeText, items: Sequence[Item], *, query: str = "") -> None:
        super().__init__()
        self.title_text, self.items, self.query_text = title, items, query

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static(content(self.title_text), classes="dialog-title", markup=False)
            yield line_input(self.query_text)
            yield _Choices(self.items)

    def on_mount(self) -> None:
        if self.query_text:
            self.query_one(_Choices).filter(self.query_text)
        else:
            self.query_one(_Choices).resized()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one(_Choices).filter(event.value)

    def on_input_submitted(self) -> None:
        choices = self.query_one(_Choices)
        self.dismiss(choices.items[choices.cursor][0] if choices.items else None)

    def on_key(self, event: events.Key) -> None:
        choices = self.query_one(_Choices)
        step = {
            "down": 1,
            "up": -1,
            "ctrl+n": 1,
            "ctrl+p": -1,
            "pagedown": 10,
            "pageup": -10,
            "tab": 1,
            "shift+tab": -1,
        }
        if event.key == "escape":
            self.dismiss(None)
        elif event.key in step:
            choices.go(choices.cursor + step[event.key])
        else:
            return
        event.stop()
        event.prevent_default()


class Confirm(ModalScreen[bool]):
    """A yes or no; Enter and y say yes."""

    def __init__(self, words: SafeText, yes: str = "yes") -> None:
        super().__init__()
        self.words, self.yes = words, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self.words), markup=False)
            yield Static(Content(f"y {self.yes}   n no"), classes="dialog-keys", markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key in ("y", "Y", "enter"):
            self.dismiss(True)
        elif event.key in ("n", "N", "escape", "q"):
            self.dismiss(False)


class AskText(ModalScreen[str]):
    """A line of text, None if the user leaves."""

    def __init__(self, title: SafeText, value: str = "") -> None:
        super().__init__()
        self.title_text, self.value = title, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self.title_text), classes="dialog-title", markup=False)
            yield line_input(self.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.dismiss(None)


class _Text(Lines):
    """The lines of a `ShowText`."""

    def __init__(self, lines: Sequence[SafeText]) -> None:
        super().__init__()
        self.texts = list(lines)

    @property
    def shows_cursor(self) -> bool:
        return False

    def count(self) -> int:
        return len(self.texts)

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        return [Segment(fit(f" {self.texts[index]}", width), base)]


class ShowText(ModalScreen[None]):
    """A text to read."""

    def __init__(self, title: SafeText, lines: Sequence[str]) -> None:
        super().__init__()
        self.title_text = title
        self.lines = [safe_line(line, 300) if line.strip() else SafeText("") for line in lines]
        self.indents = [len(line) - len(line.lstrip(" ")) for line in lines]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static(content(self.title_text), classes="dialog-title", markup=False)
            yield _Text([SafeText(" " * n + line) for n, line in zip(self.indents, self.lines, strict=True)])

    def on_mount(self) -> None:
        self.query_one(_Text).resized()
        self.query_one(_Text).focus()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        text = self.query_one(_Text)
        step = {"j": 1, "down": 1, "k": -1, "up": -1, "pagedown": text.size.height, "space": text.size.height,
                "pageup": -text.size.height}.get(event.key)  # fmt: skip
        if step is not None:
            text.scroll_to(y=text.scroll_offset.y + step, animate=False, force=True)
        elif event.key in ("escape", "q", "enter", "question_mark"):
            self.dismiss(None)
