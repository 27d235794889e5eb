"""A message made readable: what the worker process hands to the reader, `show` and replies.

Lines are *logical*: the reader wraps them to its own width.  All text is SafeText.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from termmail.model.message import Address
from termmail.text import SafeText

# Inks: what a run of text is, not how it looks; themes say that.
INKS = frozenset(
    {"text", "strong", "emphasis", "code", "heading", "link", "image", "dim", "rule", "table"}
    | {"added", "removed", "hunk", "signature", "warning"}
)


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in one ink; `link` is the number of a link, 0 for none."""

    text: SafeText
    ink: str = "text"
    link: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line: a paragraph of HTML or flowed text, or a line of fixed text.

    `quote` is the depth of quotation (the reader draws the bars); `indent` cells stand before
    the continuation rows when it is wrapped (`hang` replaces them on the first row: a bullet).
    `wrap` is False for text whose columns matter (tables, code): it is cut, not folded.
    """

    spans: tuple[Span, ...] = ()
    quote: int = 0
    indent: int = 0
    hang: SafeText = SafeText("")
    wrap: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the message: `n` is its number in the text, `host` what it really leads to."""

    n: int
    url: SafeText
    text: SafeText
    host: SafeText


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf or branch of the MIME tree; `n` is the IMAP part number ("1.2"; RFC 3501 §6.4.5)."""

    n: str
    type: SafeText  # "text/plain", lower case
    charset: SafeText
    filename: SafeText  # safe for a file system and a terminal; "" if none
    size: int  # decoded bytes
    disposition: SafeText
    cid: SafeText
    attachment: bool  # offered in the list of attachments


@dataclass(frozen=True, slots=True)
class Warning_:  # noqa: N801
    """Something the reader should know: `kind` is a fixed word, `words` for people."""

    kind: str
    words: SafeText


@dataclass(frozen=True, slots=True)
class Document:
    """A whole message, readable.  `headers` are decoded, in order, all of them."""

    headers: tuple[tuple[SafeText, SafeText], ...] = ()
    sender: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    subject: SafeText = SafeText("")
    date: int = 0
    message_id: str = ""
    references: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    lines: tuple[Line, ...] = ()
    links: tuple[Link, ...] = ()
    warnings: tuple[Warning_, ...] = ()
    shown: str = "plain"  # plain | html | raw | none
    alternatives: tuple[str, ...] = ()  # of "plain", "html": what `i` can switch between
    text: SafeText = field(default=SafeText(""), repr=False)  # without style, for `show` and quoting

    def header(self, name: str) -> SafeText:
        """The first header field of that name (any case), "" if there is none."""
        low = name.lower()
        return next((value for key, value in self.headers if key.lower() == low), SafeText(""))
