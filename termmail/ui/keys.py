"""Keys into actions: sequences (g g), counts (5 j), contexts.  Textual itself binds single keys only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from termmail.config.keymap import Table

COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a key did: `action` to run `count` times; `pending` what is typed so far; `swallowed`: not for anybody else."""

    action: str = ""
    count: int = 1
    counted: bool = False
    pending: str = ""
    swallowed: bool = True


class Keys:
    """Feeds on key names; knows what was typed before."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.typed: tuple[str, ...] = ()
        self.count = ""
        self._prefixes = {
            (context, tuple(keys.split()[:size]))
            for context, by_keys in table.items() for keys in by_keys for size in range(1, len(keys.split()))
        }  # fmt: skip

    def reset(self) -> None:
        """Forget what was typed."""
        self.typed, self.count = (), ""

    def feed(self, key: str, contexts: Sequence[str]) -> Outcome:
        """One key in these contexts, the nearest first."""
        if not self.typed and key.isdigit() and len(key) == 1 and (self.count or key != "0"):
            self.count = (self.count + key)[:5]
            return Outcome(pending=self.count)
        if key == "escape" and (self.typed or self.count):
            self.reset()
            return Outcome()
        typed = (*self.typed, key)
        for context in contexts:
            action = self.table.get(context, {}).get(" ".join(typed), "")
            if action:
                count, counted = min(int(self.count or 1), COUNT_LIMIT), bool(self.count)
                self.reset()
                return Outcome(action, max(1, count), counted)
            if (context, typed) in self._prefixes:
                self.typed = typed
                return Outcome(pending=self.count + " ".join(typed))
        begun = bool(self.typed or self.count)
        self.reset()
        return Outcome(swallowed=begun)
