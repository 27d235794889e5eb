"""What the parts of the main screen share: each has the commands of one meaning, as methods `act_…`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from termmail.ui.screens.mail import MailScreen

Command = Callable[..., Awaitable[None] | None]


class Part:
    """Commands and the state that only they need; what several parts need is the screen's."""

    def __init__(self, screen: MailScreen) -> None:
        self.screen = screen
        self.owner = screen.owner
        self.store = screen.store
        self.tree_pane = screen.tree_pane
        self.list = screen.list
        self.reader = screen.reader

    def commands(self) -> dict[str, Command]:
        """By id, as in actions.py."""
        names = [name for name in dir(self) if name.startswith("act_")]
        return {name.removeprefix("act_").replace("_", "-"): getattr(self, name) for name in names}
