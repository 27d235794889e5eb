"""The first line and the last two: what is shown, what goes on, and the most useful keys."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from termmail.model.account import AccountState, AccountStatus
from termmail.text import SafeText
from termmail.ui.widgets.lines import fit


class TitleLine(Widget):
    """What the list shows: the folder and its account, or a search; at the right how much of it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title--name", "title--account", "title--count", "title--selected"}

    def __init__(self, *, dots: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.dots = dots
        self.parts = (SafeText(""), SafeText(""), SafeText(""), 0)

    def show(self, name: SafeText, account: SafeText, count: SafeText, selected: int) -> None:
        """Name, account ("" if there is only one), count in words, number of selected messages."""
        parts = (name, account, count, selected)
        if parts != self.parts:
            self.parts = parts
            self.refresh()

    def render_line(self, y: int) -> Strip:
        name, account, count, selected = self.parts
        width, base = self.size.width, self.rich_style
        look = {one: base + self.get_component_rich_style(f"title--{one}", partial=True) for one in
                ("name", "account", "count", "selected")}  # fmt: skip
        marked = f"{selected:,} selected   " if selected else ""
        room = max(1, width - len(marked) - cell_len(count) - 4)
        title = fit(name, min(cell_len(name), room), dots=self.dots)
        rest = room - cell_len(title)
        return Strip([
            Segment("  ", base), Segment(title, look["name"]),
            Segment(fit(f"  {account}", rest, dots=self.dots), look["account"]),
            Segment(marked, look["selected"]), Segment(count, look["count"]), Segment("  ", base),
        ]).adjust_cell_length(width, base)  # fmt: skip


class StatusLine(Widget):
    """One line: what was said last, and at the right how the accounts stand."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"status--words", "status--error", "status--state", "status--pending"}

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.words, self.kind = SafeText(""), "info"
        self.state = SafeText("")
        self.typed = ""

    def say(self, words: SafeText, kind: str = "info") -> None:
        """Say something; kind: info, error."""
        self.words, self.kind = words, kind
        self.refresh()

    def tell(self, state: SafeText) -> None:
        """How the accounts stand."""
        if state != self.state:
            self.state = state
            self.refresh()

    def pending(self, typed: str) -> None:
        """The keys typed so far."""
        if typed != self.typed:
            self.typed = typed
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        error = self.get_component_rich_style("status--error", partial=True)
        words = base + (error if self.kind == "error" else self.get_component_rich_style("status--words", partial=True))
        state = f"{self.typed}  {self.state}" if self.typed else str(self.state)
        said = min(cell_len(self.words), width // 2)
        right = max(0, min(cell_len(state), width - said - 3))
        left = max(0, width - right - 3)
        style = base + self.get_component_rich_style("status--state", partial=True)
        return Strip([
            Segment(" ", base), Segment(fit(self.words, left), words), Segment(" ", base),
            Segment(fit(state, right, right=True), style), Segment(" ", base),
        ]).adjust_cell_length(width, base)  # fmt: skip


class KeyLine(Widget):
    """The best keys of the focused pane."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--word"}

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.keys: list[tuple[str, str]] = []

    def show(self, keys: list[tuple[str, str]]) -> None:
        """(key, word) in order."""
        if keys != self.keys:
            self.keys = keys
            self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        key = base + self.get_component_rich_style("keys--key", partial=True)
        word = base + self.get_component_rich_style("keys--word", partial=True)
        out = [Segment(" ", base)]
        for name, what in self.keys:
            out += [Segment(name, key), Segment(f" {what}   ", word)]
        return Strip(out).adjust_cell_length(self.size.width, base)


def summary(accounts: list[AccountStatus], sending: int) -> SafeText:
    """How the accounts stand, in words."""
    said = []
    if sending:
        said.append(f"{sending} to send")
    queued = sum(one.queued for one in accounts)
    if queued:
        said.append(f"{queued:,} action{'s' * (queued > 1)} queued")
    several = len(accounts) > 1
    states = [
        (f"{one.name}: " if several else "") + _state(one) for one in accounts if one.state != AccountState.ONLINE
    ]
    if states and len(states) == len(accounts) and len({_state(one) for one in accounts}) == 1:
        states = [_state(accounts[0])]
    said += states or (["up to date"] if accounts else ["no account yet"])
    return SafeText(" · ".join(said))


def _state(one: AccountStatus) -> str:
    if one.state == AccountState.SYNCING and one.total:
        return f"syncing {one.done:,} of {one.total:,}"
    words = {
        AccountState.OFFLINE: "offline", AccountState.UNREACHABLE: "unreachable", AccountState.THROTTLED: "told to wait",
        AccountState.CONNECTING: "connecting", AccountState.SYNCING: "syncing",
        AccountState.ONLINE: "up to date", AccountState.AUTH: "password refused", AccountState.TLS: "not secure: stopped",
        AccountState.DISABLED: "disabled",
    }[one.state]  # fmt: skip
    if one.error and one.state in (AccountState.OFFLINE, AccountState.UNREACHABLE, AccountState.THROTTLED):
        return f"offline: {one.error}"
    return words
