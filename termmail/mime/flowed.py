"""Plain text into logical lines: format=flowed, quote levels, signature, links, diffs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from termmail.mime import limits
from termmail.model.document import Line, Link, Span
from termmail.text import SafeText, safe_block, safe_line

_QUOTE = re.compile(r"(?:> ?)+")
URL = re.compile(r"(?:https?://|mailto:)[^\s<>\"“”]+[^\s<>\"“”.,;:!?)\]}'’`*]", re.I)
_PATCH = re.compile(r"^(?:diff --git |--- [^\n]+\n\+\+\+ |Index: )", re.M)


class Links:
    """Numbers the links of a message; the same address keeps its number."""

    def __init__(self) -> None:
        self.found: dict[str, Link] = {}

    def number(self, url: str, text: str) -> int:
        """The number of a link, 0 if it is none that may be followed (only http, https, mailto) or there are too many."""
        url = re.sub(r"\s+", "", url)
        if url in self.found:
            return self.found[url].n
        host = true_host(url)
        if not host or len(self.found) >= limits.LINKS:
            return 0
        n = len(self.found) + 1
        self.found[url] = Link(n, safe_line(url, 4000), safe_line(text, 200), host)
        return n

    def all(self) -> tuple[Link, ...]:
        return tuple(self.found.values())


def true_host(url: str) -> SafeText:
    """Where a link really leads: the host in ASCII (punycode), the address of a mailto; "" if it may not be followed."""
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
    except ValueError:
        return SafeText("")
    if scheme == "mailto":
        return safe_line(parts.path, 200)
    if scheme not in ("http", "https") or not host:
        return SafeText("")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return SafeText("")
    return safe_line(host, 260)


def lines(text: str, links: Links, *, flowed: bool = False, delsp: bool = False) -> list[Line]:
    """Logical lines of a text part: paragraphs where it is format=flowed (RFC 3676), else line by line."""
    text = safe_block(text[: limits.TEXT])
    if not flowed and _PATCH.search(text):
        return _patch(text)
    out: list[Line] = []
    signature = False
    held: tuple[int, str] | None = None  # quote depth and text of a paragraph that goes on
    for raw in text.rstrip("\n").split("\n"):
        quote, content = _unquoted(raw, flowed=flowed)
        if content in ("-- ", "--") and raw.rstrip("> ") == "--" and (content == "-- " or not flowed):
            if held:
                out.append(_line(held[1], held[0], links))
                held = None
            signature = signature or quote == 0
            out.append(Line((Span(SafeText("-- "), "signature"),), quote))
            continue
        if held and held[0] != quote:
            out.append(_line(held[1], held[0], links))
            held = None
        soft = flowed and content.endswith(" ") and not signature
        if held:
            content = held[1] + content
        if soft:
            held = quote, content[:-1] if delsp else content
            if len(content) > limits.LINE:
                out.append(_line(content, quote, links))
                held = None
            continue
        held = None
        out.append(_line(content, quote, links, ink="signature" if signature and not quote else "text"))
    if held:
        out.append(_line(held[1], held[0], links))
    return out


def _unquoted(raw: str, *, flowed: bool) -> tuple[int, str]:
    """Depth of quotation and the text behind it; stuffed blanks of flowed text go."""
    match = _QUOTE.match(raw)
    if not match:
        return 0, raw[1:] if flowed and raw.startswith(" ") else raw
    depth = match[0].count(">")
    rest = raw[match.end() :]
    return min(depth, 50), rest


def _line(text: str, quote: int, links: Links, ink: str = "text") -> Line:
    """One logical line with its links marked."""
    text = text.rstrip()
    spans: list[Span] = []
    end = 0
    if "://" in text or "mailto:" in text:
        for match in URL.finditer(text):
            if number := links.number(match[0], match[0]):
                if match.start() > end:
                    spans.append(Span(SafeText(text[end : match.start()]), ink))
                spans.append(Span(SafeText(match[0]), "link", number))
                end = match.end()
    if end < len(text):
        spans.append(Span(SafeText(text[end:]), ink))
    return Line(tuple(spans), quote)


def _patch(text: str) -> list[Line]:
    """A patch, coloured; its columns are kept."""
    out: list[Line] = []
    inside = False
    for raw in text.rstrip("\n").split("\n"):
        inside = inside or raw.startswith(("diff --git ", "--- ", "Index: "))
        ink = "text"
        if inside:
            if raw in ("-- ", "--"):
                inside = False
                ink = "signature"
            elif raw.startswith("@@"):
                ink = "hunk"
            elif raw.startswith(
                ("diff ", "index ", "+++ ", "--- ", "new file", "deleted file", "similarity", "rename")
            ):
                ink = "strong"
            elif raw.startswith("+"):
                ink = "added"
            elif raw.startswith("-"):
                ink = "removed"
        out.append(Line((Span(SafeText(raw[: limits.LINE]), ink),) if raw else (), wrap=not inside))
    return out


def to_text(found: list[Line]) -> SafeText:
    """Lines as plain text without style: quote marks, indents and bullets spelled out."""
    out = []
    for line in found:
        head = "> " * line.quote + (line.hang or " " * line.indent)
        out.append((head + "".join(span.text for span in line.spans)).rstrip())
    return SafeText("\n".join(out) + "\n" if out else "")
