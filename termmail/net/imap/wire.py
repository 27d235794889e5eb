"""The bytes of IMAP: responses with their literals, arguments, sets of numbers.

Literals have limits before memory is spent on them (security.md S12).
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from termmail.model.errors import ProtocolError, Refused
from termmail.net.stream import Stream
from termmail.text import safe_line

LITERAL_LIMIT = 16 << 20  # of anything but a whole message
MESSAGE_LIMIT = 128 << 20
PARTS_LIMIT = 10_000  # literals in one response
SET_LIMIT = 1000  # characters of a UID set (RFC 2683 §3.2.1.5)
WHOLE_SET_LIMIT = 7000  # where the command must be all or nothing; servers take lines of 8,000 (RFC 7162 §4)

log = logging.getLogger("termmail.imap")
TRACE = bool(os.environ.get("TERMMAIL_TRACE"))

LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}$")


@dataclass(slots=True)
class Response:
    """One response: text and literals by turns, beginning with text; without the line's end."""

    parts: list[bytes]

    @property
    def line(self) -> bytes:
        """The text up to the first literal."""
        return self.parts[0]

    def flat(self) -> bytes:
        """All of it with literals put in as quoted strings, for responses that are small."""
        out = [self.parts[0]]
        for place in range(1, len(self.parts), 2):
            head = LITERAL.sub(b"", out.pop())
            body = self.parts[place].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            out += [head + b'"' + body + b'"' + (self.parts[place + 1] if place + 1 < len(self.parts) else b"")]
        return b"".join(out)


class Wire(Stream):
    """One connection that speaks IMAP."""

    def response(self, literal_limit: int = LITERAL_LIMIT) -> Response:
        """One response with its literals.  Raises ConnectionLost, ProtocolError."""
        parts = [self.line()]
        total = 0
        while parts[-1].endswith(b"}") and (match := LITERAL.search(parts[-1])):
            size = int(match[1])
            total += size + len(parts[-1])
            if size > literal_limit or total > 2 * literal_limit or len(parts) > 2 * PARTS_LIMIT:
                raise ProtocolError(f"the server wants to send {size:,} bytes at once")
            parts.append(self.exactly(size))
            parts.append(self.line())
        if TRACE:
            log.debug("< %s", safe_line(parts[0].decode("utf-8", "replace"), 300))
        return Response(parts)


# -- arguments --------------------------------------------------------------------------------


def argument(value: bytes | str) -> bytes:
    """A string as IMAP wants it: quoted, or as a literal where it is not plain ASCII (RFC 3501 §4.3).

    The one place where strings become commands.  Raises Refused for controls, before a byte is sent:
    nothing that a sender wrote may end a command (security.md S5).
    """
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if re.search(rb"[\x00-\x1f\x7f]", data):
        raise Refused("a value with control characters cannot be sent to the server", code="CANNOT")
    if not data.isascii():
        return b"{%d}\r\n%s" % (len(data), data)
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def flights(command: bytes, *, plus: bool) -> list[bytes]:
    """A command cut behind the literals that the server wants to allow first; `plus`: it allows any (RFC 7888).

    Raises Refused for line ends anywhere else: one call is one command on the wire.
    """
    pieces = command.split(b"\r\n")
    for before, after in itertools.pairwise(pieces):
        match = LITERAL.search(before)
        if not match or int(match[1]) > len(after):
            raise Refused("a command with a line end inside cannot be sent to the server", code="CANNOT")
    if re.search(rb"[\x00\r\n]", b"".join(pieces)):
        raise Refused("a command with control characters cannot be sent to the server", code="CANNOT")
    pieces = [piece + b"\r\n" for piece in pieces]
    return [b"".join(re.sub(rb"\}\r\n$", b"+}\r\n", piece) for piece in pieces[:-1]) + pieces[-1]] if plus else pieces


def number(text: bytes | None, most: int = 2**32 - 1) -> int:
    """A number of at most 20 digits, 0 if it is none or too large to be true."""
    value = int(text) if text is not None and len(text) <= 20 and text.isdigit() else 0
    return value if value <= most else 0


def uid_set(uids: Iterable[int]) -> bytes:
    """UIDs as a set of ranges, whatever their order."""
    out: list[bytes] = []
    first = last = None
    for uid in sorted(set(uids)):
        if last is not None and uid == last + 1:
            last = uid
            continue
        if first is not None:
            out.append(b"%d" % first if first == last else b"%d:%d" % (first, last or 0))
        first = last = uid
    if first is not None:
        out.append(b"%d" % first if first == last else b"%d:%d" % (first, last or 0))
    return b",".join(out)


def uid_sets(uids: Sequence[int], limit: int = SET_LIMIT) -> Iterator[tuple[bytes, list[int]]]:
    """The same in sets of at most `limit` characters, each with the UIDs in it."""
    ordered = sorted(set(uids))
    start = 0
    while start < len(ordered):
        size = len(ordered) - start
        while len(text := uid_set(ordered[start : start + size])) > limit:
            size = max(1, min(size - 1, size * limit // len(text)))
        yield text, ordered[start : start + size]
        start += size


def ranges(text: bytes) -> tuple[tuple[int, int], ...]:
    """A set as (low, high) pairs, not expanded; what is malformed is left out."""
    out = []
    for piece in text.split(b","):
        first, _, last = piece.partition(b":")
        low, high = number(first), number(last or first)
        if low and high:
            out.append((min(low, high), max(low, high)))
    return tuple(out)


def expand(text: bytes, limit: int = 3_000_000) -> list[int]:
    """The numbers of a set in the order it names them.  Raises ProtocolError for malformed or huge sets."""
    pairs = ranges(text)
    if len(pairs) != text.count(b",") + 1:
        raise ProtocolError("the server sent a malformed set of numbers")
    if sum(high - low + 1 for low, high in pairs) > limit:
        raise ProtocolError("the server sent a set of far too many numbers")
    return [n for low, high in pairs for n in range(low, high + 1)]
