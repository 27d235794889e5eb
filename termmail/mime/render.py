"""A whole message as a Document: which parts to show, in which order, with what to be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from termmail.mime import flowed, headers, html, limits
from termmail.mime.parse import Message, Node, as_bytes, parse, part
from termmail.model.document import Document, Line, Part, Span, Warning_
from termmail.text import SafeText, safe_block, safe_line

_DEPTH = 5  # forwarded messages inside forwarded messages that are opened in place
_FORWARDED = ("from", "to", "cc", "date", "subject")


class _Page:
    """What rendering gathers."""

    def __init__(self, width: int, prefer: str) -> None:
        self.width = width
        self.prefer = prefer
        self.lines: list[Line] = []
        self.links = flowed.Links()
        self.warnings: list[Warning_] = []
        self.shown: set[str] = set()  # numbers of parts that are in the text
        self.kinds: list[str] = []  # plain, html: what was shown
        self.offered: set[str] = set()

    def gap(self) -> None:
        if self.lines and self.lines[-1].spans:
            self.lines.append(Line())

    def say(self, words: str, ink: str = "dim") -> None:
        self.lines.append(Line((Span(safe_line(words), ink),)))

    def warn(self, kind: str, words: str) -> None:
        self.warnings.append(Warning_(kind, safe_line(words)))


def render(raw: bytes, *, width: int = 80, prefer: str = "plain") -> Document:
    """A message for the reader.

    `prefer` ("plain" or "html") chooses between alternatives; tables are made for `width` cells,
    other lines are left to the reader to fold.  Never raises on any bytes, but for lack of memory.
    """
    message = parse(raw)
    page = _Page(width, prefer)
    _show(page, message.root, 0)
    document = _with_headers(message, page)
    found = page.warnings
    if message.defects:
        found = [*found, Warning_("defect", safe_line("malformed: " + "; ".join(message.defects[:3])))]
    parts = tuple(part(node, shown=node.n in page.shown) for node in message.root.walk() if node.n)
    lines = tuple(page.lines)
    return replace(
        document, parts=parts, lines=lines, links=page.links.all(), warnings=(*document.warnings, *found),
        shown="html" if "html" in page.kinds else "plain" if page.kinds else "none",
        alternatives=tuple(kind for kind in ("plain", "html") if kind in page.offered), text=flowed.to_text(page.lines),
    )  # fmt: skip


def render_raw(raw: bytes) -> Document:
    """The source itself, for messages that no worker survives; does next to nothing with the bytes."""
    text = safe_block(raw[: limits.TEXT].decode("utf-8", "replace"))
    lines = tuple(
        Line((Span(SafeText(line[: limits.LINE])),), wrap=True) if line else Line() for line in text.split("\n")
    )
    warning = Warning_("defect", SafeText("this message could not be rendered; here is its source"))
    return Document(lines=lines, warnings=(warning,), shown="raw", text=text)


def part_bytes(raw: bytes, n: str) -> tuple[Part, bytes] | None:
    """One part by its number, decoded; None if there is no such part."""
    for node in parse(raw).root.walk():
        if node.n == n and node.main != "multipart":
            return part(node), node.data()
    return None


def _with_headers(message: Message, page: _Page) -> Document:
    """The header side of a Document, and what is suspicious about it."""
    first = message.first
    raw_from = headers.text(first("from"))
    sender, ambiguous = headers.one_sender(raw_from)
    reply_to = headers.addresses(headers.text(first("reply-to")))
    if ambiguous:
        page.warn("ambiguous-from", "the sender is ambiguous: other programs may show another address")
    if sender.name and "@" in sender.name and sender.email not in sender.name:
        page.warn("name-is-address", f"the name looks like an address, the true one is {sender.email}")
    domain = sender.email.rpartition("@")[2].lower()
    if reply_to and domain and all(a.email.rpartition("@")[2].lower() != domain for a in reply_to):
        page.warn("reply-to", f"answers go elsewhere: to {reply_to[0].email}")
    ids = headers.message_ids(headers.text(first("references"))) or headers.message_ids(
        headers.text(first("in-reply-to"))
    )
    return Document(
        headers=tuple((safe_line(name, 100), headers.decode(value)) for name, value in message.fields),
        sender=(sender,) if sender != headers.NOBODY else (),
        reply_to=reply_to,
        to=headers.addresses(headers.text(first("to"))),
        cc=headers.addresses(headers.text(first("cc"))),
        subject=headers.decode(first("subject")),
        date=headers.date(headers.text(first("date"))[:100]),
        message_id=next(iter(headers.message_ids(headers.text(first("message-id")))), ""),
        references=ids,
        warnings=(),
    )


# -- choosing what to show ------------------------------------------------------------


def _show(page: _Page, root: Node, depth: int) -> None:
    """The readable parts below a node, in order; iterative but for forwarded messages."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.type == "multipart/alternative" and node.children:
            stack.append(_chosen(page, node.children))
        elif node.type == "multipart/related" and node.children:
            page.offered |= _kinds(node)
            stack.append(node.children[0])
        elif node.type == "multipart/report":
            _report(page, node)
            stack.extend(node.children[:1])
        elif node.children and node.main == "multipart":
            stack.extend(reversed(node.children))
        elif node.type == "message/rfc822" and node.children:
            _forwarded(page, node, depth)
        elif _is_text(node):
            _leaf(page, node)


def _is_text(node: Node) -> bool:
    """This leaf is meant to be read in place."""
    if node.disposition == "attachment":
        return False
    return node.type in ("text/plain", "text/html", "text/calendar", "text/enriched") or (
        node.main == "text" and (not node.filename or node.disposition == "inline")
    )


def _kinds(node: Node) -> set[str]:
    names = {"text/plain": "plain", "text/html": "html"}
    return {names[one.type] for one in node.walk() if one.type in names and one.disposition != "attachment"}


def _chosen(page: _Page, children: Sequence[Node]) -> Node:
    """Of alternatives the wanted kind, unless it is empty; a calendar never hides the words."""
    page.offered |= set().union(*(_kinds(child) for child in children))
    plain = next((c for c in children if c.type == "text/plain" and c.data().strip()), None)
    rich = next((c for c in children if "html" in _kinds(c)), None)
    order = [rich, plain] if page.prefer == "html" else [plain, rich]
    for child in children:
        if child.type == "text/calendar":
            page.shown.add(child.n)
    return next((child for child in order if child), children[-1])


def _leaf(page: _Page, node: Node) -> None:
    page.shown.add(node.n)
    text = node.text()
    if node.type == "text/html":
        page.gap()
        page.kinds.append("html")
        page.offered.add("html")
        done = html.render(text, page.links, width=page.width)
        page.lines += done.lines
        if done.hidden > 40:
            page.warn("hidden", f"hidden text is not shown: {done.hidden:,} characters")
        for said, host in done.lying[:3]:
            page.warn("link", f"a link says {said} but leads to {host}")
        return
    if not text.strip():
        return
    page.gap()
    page.kinds.append("plain")
    page.offered.add("plain")
    if node.type == "text/calendar":
        _calendar(page, text)
        return
    is_flowed = node.params.get("format", "").lower() == "flowed"
    page.lines += flowed.lines(text, page.links, flowed=is_flowed, delsp=node.params.get("delsp", "").lower() == "yes")


def _forwarded(page: _Page, node: Node, depth: int) -> None:
    """A message inside the message: its head, then its text."""
    if node.disposition == "attachment" and depth == 0 and page.lines:
        return
    if depth >= _DEPTH:
        page.say(f"[part {node.n}: a forwarded message, nested too deeply]")
        return
    page.gap()
    page.say("─── Forwarded message ───", "rule")
    fields = headers.fields(as_bytes(node.children[0].source)[: limits.HEADER_BLOCK])
    for wanted in _FORWARDED:
        value = next((v for name, v in fields if name.lower() == wanted), None)
        if value is not None:
            page.lines.append(
                Line((Span(SafeText(f"{wanted.title()}: "), "dim"), Span(headers.decode(value), "strong")))
            )
    page.lines.append(Line())
    _show(page, node.children[0], depth + 1)


def _report(page: _Page, node: Node) -> None:
    """A delivery report (RFC 3464) in words."""
    status = next((child for child in node.children if child.type == "message/delivery-status"), None)
    if status is None:
        return
    inner = status.source.get_payload()
    text = "\n".join(map(str, inner)) if isinstance(inner, list) else status.text()
    blocks = text.encode("utf-8", "replace")
    fields: dict[str, str] = {}
    for name, value in headers._FIELD.findall(blocks.replace(b"\n\n", b"\n")):
        fields.setdefault(name.decode("ascii").lower(), headers.decode(value))
    who = fields.get("final-recipient", fields.get("original-recipient", "")).rpartition(";")[2].strip()
    action = fields.get("action", "").lower()
    said = {
        "failed": "was not delivered to", "delayed": "is delayed on its way to", "delivered": "was delivered to",
        "relayed": "was passed on towards", "expanded": "was delivered to the list",
    }.get(action)  # fmt: skip
    if not (who and said):
        return
    page.lines.append(Line((Span(safe_line(f"Your message {said} {who}"), "strong"),)))
    why = fields.get("diagnostic-code", "").partition(";")[2].strip() or fields.get("status", "")
    if why:
        page.lines.append(Line((Span(safe_line(f"The server said: {why}"), "text"),)))
    page.lines.append(Line())


def _calendar(page: _Page, text: str) -> None:
    """The first event of an invitation: what, when, where, who."""
    unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "")
    event = unfolded.partition("BEGIN:VEVENT")[2].partition("END:VEVENT")[0]
    values: dict[str, str] = {}
    for raw in event.split("\n")[:200]:
        name, _, value = raw.partition(":")
        plain = value.replace("\\n", " ").replace("\\,", ",").replace("\\;", ";").strip()
        values.setdefault(name.partition(";")[0].upper(), plain)
    for name, label in (
        ("SUMMARY", "Invitation"), ("DTSTART", "Begins"), ("DTEND", "Ends"), ("LOCATION", "Where"), ("ORGANIZER", "From"),
    ):  # fmt: skip
        if found := values.get(name):
            shown = _moment(found) if name.startswith("DT") else found.removeprefix("mailto:").removeprefix("MAILTO:")
            page.lines.append(Line((Span(SafeText(f"{label}: "), "dim"), Span(safe_line(shown), "strong"))))


def _moment(value: str) -> str:
    """20250303T094100Z as people write it."""
    digits = value.rstrip("Z")
    if len(digits) == 8 and digits.isdigit():
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    if len(digits) == 15 and digits[8] == "T":
        zone = " UTC" if value.endswith("Z") else ""
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[9:11]}:{digits[11:13]}{zone}"
    return value
