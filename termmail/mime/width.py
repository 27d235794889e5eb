"""How many cells of a terminal text takes."""

from __future__ import annotations

from functools import lru_cache

import wcwidth


@lru_cache(4096)
def cells(text: str) -> int:
    """Cells of safe text; ASCII at once, the rest by its graphemes."""
    return len(text) if text.isascii() else max(0, wcwidth.wcswidth(text))


def cut(text: str, width: int) -> str:
    """As much of the text as fits, with an ellipsis where something is left out."""
    if cells(text) <= width:
        return text
    out, used = [], 0
    for char in text:
        size = cells(char)
        if used + size > width - 1:
            break
        out.append(char)
        used += size
    return "".join(out) + "…" if width > 0 else ""


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at blanks where there are any."""
    lines: list[str] = []
    line, used = "", 0
    for word in text.split():
        size = cells(word)
        if line and used + 1 + size <= width:
            line, used = f"{line} {word}", used + 1 + size
            continue
        if line:
            lines.append(line)
        while size > width > 0:
            head, taken = "", 0
            for char in word:
                if taken + cells(char) > width:
                    break
                head, taken = head + char, taken + cells(char)
            if not head:
                break
            lines.append(head)
            word = word[len(head) :]
            size = cells(word)
        line, used = word, size
    return [*lines, line] if line or not lines else lines
