"""Keys that come all at once: each is done where it would have been done had it come alone."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from termmail.ui.screens.compose import ComposeScreen
from termmail.ui.screens.dialogs import Choose
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled

NAMES = {"\t": "tab", "\r": "enter", "\x1b": "escape", " ": "space", "@": "at", ".": "full_stop"}


def burst(pilot: Pilot[Any], text: str) -> None:
    """As the terminal's reader hands them on when they arrive in one piece."""
    for char in text:
        pilot.app.post_message(events.Key(NAMES.get(char, char), char if char.isprintable() else None))


async def test_fields_of_the_composer_are_filled_in_one_burst(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        app: Any = pilot.app
        burst(pilot, "mgrace@navy.example\tTables\tDear Grace\x1b")
        await until(lambda: isinstance(app.screen, ComposeScreen) and app.focused is app.screen.bar)
        assert app.screen.query_one("#field-to", Input).value == "grace@navy.example"
        assert app.screen.query_one("#field-subject", Input).value == "Tables"
        assert app.screen.editor.text.rstrip() == "Dear Grace"


async def test_the_key_behind_the_one_that_closes_a_dialog_is_for_the_list(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(160, 48)) as pilot:
        app: Any = pilot.app
        first = app.mail.list.cursor
        burst(pilot, "v\x1bjj")
        await until(lambda: app.mail.list.cursor == first + 2)
        assert app.screen is app.mail


async def test_a_choice_typed_ahead_is_made_before_the_next_key(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(160, 48)) as pilot:
        app: Any = pilot.app
        burst(pilot, "vtrash\r")
        burst(pilot, "j")
        await until(lambda: "moved" in app.mail.status.words.lower() and app.screen is app.mail)
        await until(lambda: app.mail.list.cursor == 1)
        assert not isinstance(app.screen, Choose)
