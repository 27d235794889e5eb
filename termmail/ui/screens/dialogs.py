"""Small questions: choose, confirm, type a line, name a file, read a text.  Esc leaves, Enter answers, always."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from termmail.text import SafeText, safe_block
from termmail.ui.widgets.fields import Bar, KeyWord, LineInput, complete
from termmail.ui.widgets.lines import Lines, fit

T = TypeVar("T")
Item = tuple[str, SafeText, SafeText]  # key, label, hint
LINE = 2_000  # characters of a line of a text

_MOVES = {"down": 1, "up": -1, "ctrl+n": 1, "ctrl+p": -1, "pagedown": 10, "pageup": -10}


def content(text: SafeText) -> Content:
    """Safe text for a Static: never markup."""
    return Content(text)


def plain_borders(screen: ModalScreen[T]) -> None:
    """Draw the screen's borders with ASCII characters if the setting says so."""
    settings = getattr(screen.app, "settings", None)
    screen.set_class(bool(settings and settings.ui.ascii), "-ascii")


class Dialog(ModalScreen[T]):
    """What all of them share: the title above, the keys below."""

    def __init__(self, title: SafeText = SafeText("")) -> None:
        super().__init__()
        self.title_text = title

    def heading(self) -> Static:
        """The title."""
        return Static(content(self.title_text), classes="dialog-title", markup=False)

    def footer(self, *keys: KeyWord) -> Bar:
        """The keys; not to be focused."""
        bar = Bar()
        bar.can_focus = False
        bar.add_class("dialog-keys")
        bar.show([], keys)
        return bar

    def on_mount(self) -> None:
        plain_borders(self)


def score(query: str, label: str) -> int:
    """How well a label fits what was typed; 0 for not at all.

    Every word of the query must be there: as it stands best, else its letters in order, where runs and
    beginnings of words count more.
    """
    low = label.casefold()
    values = [_score(word, low) for word in query.split()]
    return 0 if 0 in values else sum(values) or 1


def _score(word: str, low: str) -> int:
    direct = low.find(word)
    if direct >= 0:
        return max(100, 1000 - direct - len(low)) + (200 if direct == 0 or not low[direct - 1].isalnum() else 0)
    at, total, last = 0, 0, -2
    for char in word:
        at = low.find(char, at)
        if at < 0:
            return 0
        total += 3 if at == last + 1 else 2 if at == 0 or not low[at - 1].isalnum() else 1
        last, at = at, at + 1
    return min(total, 99)


class _Choices(Lines):
    """The list of a `Choose`: it never has the focus, but always shows where it stands."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--hint"}

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__(id="choices")
        self.all = list(items)
        self.items = self.all
        self.can_focus = False
        self.marked = True  # the cursor is shown

    @property
    def shows_cursor(self) -> bool:
        return self.marked

    @property
    def has_focus(self) -> bool:  # type: ignore[override]
        return True

    def count(self) -> int:
        return len(self.items)

    def filter(self, query: str) -> None:
        """Show what fits, the best first; equal ones in their order."""
        query = query.casefold().strip()
        found = [(score(query, item[1]), -place, item) for place, item in enumerate(self.all)]
        self.show([item for value, _, item in sorted(found, key=lambda one: one[:2], reverse=True) if value > 0])

    def show(self, items: list[Item]) -> None:
        """Other items, from the top."""
        self.items = items
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.resized()

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        _, label, hint = self.items[index]
        hint = SafeText(fit(hint, min(len(hint), width // 2)))
        room = max(1, width - len(hint) - 3)
        return [Segment(f" {fit(label, room)} ", base), Segment(f"{hint} ", base + self.look("choices--hint"))]


class Choose(Dialog[str]):
    """Choose one of many by typing a part of it; the key of the choice, None for none."""

    def __init__(self, title: SafeText, items: Sequence[Item], *, query: str = "") -> None:
        super().__init__(title)
        self.items, self.query_text = items, query

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield self.heading()
            yield LineInput(self.query_text, placeholder="type to find")
            yield _Choices(self.items)
            yield self.footer(("Enter", "choose"), ("Esc", "leave"))

    def on_mount(self) -> None:
        choices = self.query_one(_Choices)
        choices.styles.height = max(1, len(self.items))
        if self.query_text:
            choices.filter(self.query_text)
        else:
            choices.resized()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one(_Choices).filter(event.value)

    def on_input_submitted(self) -> None:
        choices = self.query_one(_Choices)
        if choices.items:
            self.dismiss(choices.items[choices.cursor][0])

    def on_click(self, event: events.Click) -> None:
        if isinstance(event.widget, _Choices):
            self.on_input_submitted()

    def on_key(self, event: events.Key) -> None:
        choices = self.query_one(_Choices)
        step = {**_MOVES, "tab": 1, "shift+tab": -1}.get(event.key)
        if event.key == "escape":
            self.dismiss(None)
        elif step is not None:
            choices.go(choices.cursor + step)
        else:
            return
        event.stop()
        event.prevent_default()


class Confirm(Dialog[bool]):
    """A yes or no; Enter and y say yes."""

    def __init__(self, words: SafeText, yes: str = "yes") -> None:
        super().__init__(words)
        self.yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self.title_text), markup=False)
            yield self.footer(("y", self.yes), ("n", "no"))

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key in ("y", "Y", "enter"):
            self.dismiss(True)
        elif event.key in ("n", "N", "escape", "q"):
            self.dismiss(False)


class AskText(Dialog[str]):
    """A line of text, None if the user leaves."""

    def __init__(self, title: SafeText, value: str = "") -> None:
        super().__init__(title)
        self.value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield self.heading()
            yield LineInput(self.value)
            yield self.footer(("Enter", "done"), ("Esc", "leave"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.dismiss(None)


class AskPath(Dialog[str]):
    """The path of a file or folder, completed by Tab; None if the user leaves.

    `folders_only` offers folders; what is typed need not exist.  Up and Down choose among what fits.
    """

    def __init__(self, title: SafeText, value: str = "", *, folders_only: bool = False) -> None:
        super().__init__(title)
        self.value, self.folders_only = value, folders_only

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield self.heading()
            yield LineInput(self.value)
            yield _Choices(())
            yield self.footer(("Tab", "complete"), ("Enter", "done"), ("Esc", "leave"))

    def on_mount(self) -> None:
        self.query_one(_Choices).styles.height = 8
        self._look(self.value)

    def _look(self, typed: str) -> None:
        """Show the names that fit."""
        _, names = complete(typed, folders_only=self.folders_only)
        choices = self.query_one(_Choices)
        choices.marked = False
        choices.show([(name, SafeText(name), SafeText("")) for name in names])

    @property
    def chosen(self) -> bool:
        """The cursor was moved into the names."""
        choices = self.query_one(_Choices)
        return choices.marked and bool(choices.items)

    def _take(self) -> bool:
        """The name under the cursor into the field; True if it is a folder to go on in."""
        choices, field = self.query_one(_Choices), self.query_one(LineInput)
        folder, slash, _ = field.value.rpartition("/")
        name = choices.items[choices.cursor][0]
        self._type(folder + slash + name)
        return name.endswith("/")

    def _type(self, text: str) -> None:
        field = self.query_one(LineInput)
        field.value = text
        field.cursor_position = len(text)
        self._look(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._look(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self.chosen and self._take() and not self.folders_only:
            return
        value = self.query_one(LineInput).value.strip()
        if words := self.fault(value):
            self.query_one(Bar).show([words], self.query_one(Bar).keys)
        elif value:
            self.dismiss(value)

    def fault(self, value: str) -> SafeText:
        """What is wrong with a path, "" for nothing."""
        return SafeText("")

    def on_click(self, event: events.Click) -> None:
        if isinstance(event.widget, _Choices) and self.query_one(_Choices).items:
            self._take()

    def on_key(self, event: events.Key) -> None:
        choices = self.query_one(_Choices)
        if event.key == "escape":
            self.dismiss(None)
        elif event.key == "tab":
            if self.chosen:
                self._take()
            else:
                self._type(complete(self.query_one(LineInput).value, folders_only=self.folders_only)[0])
        elif event.key in _MOVES and choices.items:
            choices.go(choices.cursor + (_MOVES[event.key] if self.chosen else 0))
            choices.marked = True
            choices.refresh()
        else:
            return
        event.stop()
        event.prevent_default()


class SavePath(AskPath):
    """The folder to save to."""

    def __init__(self, title: SafeText = SafeText("Save to folder"), value: str = "") -> None:
        super().__init__(title, value, folders_only=True)

    def fault(self, value: str) -> SafeText:
        """A file is no place to save to."""
        try:
            is_file = Path(value).expanduser().is_file()
        except (RuntimeError, ValueError):
            return SafeText("there is no such place")
        return SafeText("that is a file, not a folder") if is_file else SafeText("")


class _Text(Lines):
    """The lines of a `ShowText`, folded to the width."""

    def __init__(self, lines: Sequence[SafeText]) -> None:
        super().__init__()
        self.texts = list(lines)
        self.rows: list[str] = []

    @property
    def shows_cursor(self) -> bool:
        return False

    def on_resize(self) -> None:
        width = max(10, self.size.width - 3)
        self.rows = [row for text in self.texts for row in _folded(text, width)]
        self.resized()

    def count(self) -> int:
        return len(self.rows)

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        return [Segment(fit(f" {self.rows[index]}", width), base)]


def _folded(text: str, width: int) -> list[str]:
    """A line in rows of at most `width` cells, all indented like the first."""
    line = Content(text.lstrip(" "))
    indent = " " * min(len(text) - len(text.lstrip(" ")), width // 2)
    return [indent + row.plain for row in line.wrap(max(4, width - len(indent)))] if line.plain else [""]


class ShowText(Dialog[None]):
    """A text to read."""

    def __init__(self, title: SafeText, lines: Sequence[str]) -> None:
        super().__init__(title)
        self.lines = [SafeText(safe_block(line)[:LINE].replace("\n", " ")) for line in lines]  # blanks keep columns

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield self.heading()
            yield _Text(self.lines)
            yield self.footer(("j k", "scroll"), ("Esc", "leave"))

    def on_mount(self) -> None:
        self.query_one(_Text).focus()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        text = self.query_one(_Text)
        page = max(1, text.size.height - 1)
        step = {
            "j": 1, "down": 1, "ctrl+n": 1, "k": -1, "up": -1, "ctrl+p": -1, "pagedown": page, "space": page,
            "pageup": -page, "ctrl+d": page // 2, "ctrl+u": -(page // 2), "g": -len(text.rows), "home": -len(text.rows),
            "G": len(text.rows), "end": len(text.rows),
        }.get(event.key)  # fmt: skip
        if step is not None:
            text.scroll_to(y=text.scroll_offset.y + step, animate=False, force=True)
        elif event.key in ("escape", "q", "enter", "question_mark"):
            self.dismiss(None)
