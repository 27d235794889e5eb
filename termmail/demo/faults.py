"""What can be made to go wrong, for tests: set at any time, from any thread."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """`replies`: command name → (words to answer instead, how many times); `close_after`: bytes until the line drops;
    `delay`: seconds before each answer; `split`: send in pieces of so many bytes; `stall`: answer nothing any more;
    `close_before` / `close_after_command`: names of commands before or after whose execution the line drops."""

    replies: dict[str, list[str]] = field(default_factory=dict)
    close_after: int = 0
    delay: float = 0.0
    split: int = 0
    stall: bool = False
    close_before: set[str] = field(default_factory=set)
    close_after_command: set[str] = field(default_factory=set)
    smtp: dict[str, list[str]] = field(default_factory=dict)  # MAIL, RCPT, DATA, ".": replies, one each time
    smtp_close: set[str] = field(default_factory=set)  # drop the line instead of answering these, "." included
    connections: int = 0  # refuse connections beyond so many; 0: any number

    def take(self, table: dict[str, list[str]], name: str) -> str:
        """The next prepared answer to a command, "" for none."""
        waiting = table.get(name)
        return waiting.pop(0) if waiting else ""
