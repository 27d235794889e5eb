"""Bytes into a tree of parts, within limits, whatever they are.

The standard library cuts the message up (compat32, which never raises on access); every decoder of
names, parameters and charsets is ours.  Received mail is never written out again from the tree.
"""

from __future__ import annotations

import email
import email.message
import email.policy
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from termmail.mime import charset, headers, limits
from termmail.model.document import Part
from termmail.text import SafeText, safe_line

_PARAMETER = re.compile(
    r";\s*([!#$&+.^_`|~0-9A-Za-z%'{}-]{1,60}?)(\*\d{1,3})?(\*)?\s*=\s*(\"(?:[^\"\\]|\\.)*\"?|[^;]*)", re.S
)
_TYPE = re.compile(r"\s*([!#$&+.^_0-9A-Za-z-]{1,60})/([!#$&+.^_0-9A-Za-z-]{1,80})")
_NAME_BYTES = 200
_EXTENSIONS = {
    "text/plain": "txt", "text/html": "html", "text/calendar": "ics", "message/rfc822": "eml", "image/png": "png",
    "image/jpeg": "jpg", "image/gif": "gif", "application/pdf": "pdf", "application/zip": "zip", "text/csv": "csv",
    "text/x-patch": "patch", "text/x-diff": "diff", "application/json": "json",
}  # fmt: skip


@dataclass(slots=True)
class Node:
    """A part and what is below it; `n` as IMAP numbers it ("" for a multipart root, RFC 3501 §6.4.5)."""

    n: str
    type: str
    params: dict[str, str]
    disposition: str
    filename: SafeText  # "" if the sender gave none
    cid: str
    source: email.message.Message[str, str] = field(repr=False)
    children: list[Node] = field(default_factory=list)

    @property
    def main(self) -> str:
        return self.type.partition("/")[0]

    def data(self) -> bytes:
        """The content, its transfer encoding undone; broken encodings give what can be read."""
        try:
            payload = self.source.get_payload(decode=True)
        except (ValueError, LookupError, RecursionError, AttributeError, TypeError):
            payload = None
        if isinstance(payload, bytes):
            return payload
        if self.type == "message/rfc822" and self.source.is_multipart():
            inner = self.source.get_payload()
            if isinstance(inner, list) and inner:
                return as_bytes(inner[0])  # type: ignore[arg-type]
        raw = self.source.get_payload()
        return raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else b""

    def text(self) -> str:
        """The content as text, not yet safe."""
        return charset.decode(self.data()[: limits.TEXT], self.params.get("charset", ""))

    def walk(self) -> Iterator[Node]:
        """This part and all below, in order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


@dataclass(slots=True)
class Message:
    """A parsed message: raw header fields in order, the tree, and what was wrong with it."""

    fields: list[tuple[str, bytes]]
    root: Node
    defects: list[str] = field(default_factory=list)

    def first(self, name: str) -> bytes:
        """The first field of that name (lower case), b"" if there is none."""
        return next((value for key, value in self.fields if key.lower() == name), b"")


def parse(raw: bytes) -> Message:
    """A message as a tree.  Never raises; what cannot be parsed becomes one part of plain text."""
    defects: list[str] = []
    try:
        source = email.message_from_bytes(raw, policy=email.policy.compat32)
        root = _tree(source, defects)
    except (
        RecursionError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        IndexError,
        UnicodeError,
        MemoryError,
    ) as error:
        defects.append(f"the structure could not be read ({type(error).__name__})")
        source = email.message.Message(policy=email.policy.compat32)
        head, _, body = raw.partition(b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n")
        source.set_payload((body or head)[: limits.TEXT].decode("ascii", "surrogateescape"))
        root = Node("1", "text/plain", {}, "", SafeText(""), "", source)
    fields = headers.fields(raw)
    names = [name.lower() for name, _ in fields]
    defects += [
        f"{name} stands there {names.count(name)} times" for name in ("from", "subject", "date", "to", "content-type")
        if names.count(name) > 1
    ]  # fmt: skip
    return Message(fields, root, defects)


def _tree(source: email.message.Message[str, str], defects: list[str]) -> Node:
    """The tree below a message, with IMAP's numbers; iterative."""
    root = _node(source, "")
    if not root.children and root.main != "multipart":
        root.n = "1"
    stack: list[tuple[Node, int]] = [(root, 0)]
    count = 1
    while stack:
        node, depth = stack.pop()
        payload = node.source.get_payload()
        inner: list[email.message.Message[str, str]] = payload if isinstance(payload, list) else []  # type: ignore[assignment]
        if not inner:
            continue
        if depth >= limits.DEPTH or count + len(inner) > limits.PARTS:
            defects.append("too many or too deeply nested parts; the rest is not shown")
            break
        count += len(inner)
        if node.main == "multipart":
            prefix = f"{node.n}." if node.n else ""
            node.children = [_node(child, f"{prefix}{place}") for place, child in enumerate(inner, 1)]
        elif node.type == "message/rfc822":  # a multipart inside lends its number to its children
            child = _node(inner[0], node.n)
            if child.main != "multipart":
                child.n = f"{node.n}.1"
            node.children = [child]
        stack.extend((child, depth + 1) for child in node.children)
    return root


def _node(source: email.message.Message[str, str], n: str) -> Node:
    raw_type = _raw(source, "Content-Type")
    match = _TYPE.match(raw_type)
    kind = f"{match[1]}/{match[2]}".lower() if match else "text/plain"
    if kind.startswith("multipart/") and not source.is_multipart():
        kind = "text/plain"
    params = parameters(raw_type)
    raw_disposition = _raw(source, "Content-Disposition")
    disposition = raw_disposition.partition(";")[0].strip().lower()
    name = parameters(raw_disposition).get("filename") or params.get("name") or ""
    return Node(
        n, kind, params, safe_line(disposition, 40), file_name(name) if name else SafeText(""),
        _raw(source, "Content-ID").strip(" <>\t\r\n")[:200], source,
    )  # fmt: skip


def _raw(source: email.message.Message[str, str], name: str) -> str:
    """A header of a part as text, surrogates read as UTF-8 or Windows-1252."""
    value = next((v for k, v in source._headers if k.lower() == name.lower()), "")  # type: ignore[attr-defined]
    return headers.text(str(value)[: limits.FIELD].encode("ascii", "surrogateescape"))


def parameters(value: str) -> dict[str, str]:
    """Parameters of a Content-* field, names in lower case: RFC 2231 segments joined, RFC 2047 words decoded."""
    plain: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for count, match in enumerate(_PARAMETER.finditer(value)):
        if count >= limits.PARAMETERS:
            break
        name, segment, star, content = match[1].lower(), match[2], match[3], match[4].strip()
        if content.startswith('"'):
            content = re.sub(
                r"\\(.)", r"\1", content[1:-1] if content.endswith('"') and len(content) > 1 else content[1:]
            )
        if segment or star:
            pieces.setdefault(name, []).append((int(segment[1:]) if segment else 0, bool(star), content))
        else:
            plain.setdefault(name, headers.words(content))
    for name, parts in pieces.items():
        plain[name] = _joined(sorted(parts[: limits.SEGMENTS], key=lambda piece: piece[0]))
    return plain


def _joined(pieces: list[tuple[int, bool, str]]) -> str:
    """The segments of one parameter (RFC 2231 §3, §4)."""
    label = ""
    data = b""
    for place, (_, encoded, content) in enumerate(pieces):
        piece = content
        if encoded and place == 0 and content.count("'") >= 2:
            label, _, piece = content.split("'", 2)
        data += unquote_to_bytes(piece) if encoded else piece.encode("utf-8", "surrogateescape")
    return charset.decode(data, label)


def file_name(name: str, default: str = "attachment") -> SafeText:
    """A name that is safe for a file system and a terminal: no folders, no controls, no leading dots."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    name = safe_line(name).translate(dict.fromkeys(map(ord, '<>:"|?*'), "_")).lstrip(". ").rstrip(". ")
    name = "".join("_" if 0x2400 <= ord(c) <= 0x2421 else c for c in name)
    stem, dot, extension = name.rpartition(".")
    while len(name.encode("utf-8", "replace")) > _NAME_BYTES and name:
        if stem:
            stem = stem[:-1]
            name = f"{stem}{dot}{extension[:20]}"
        else:
            name = name[:-1]
    return SafeText(name or default)


def part(node: Node, *, shown: bool = False) -> Part:
    """What a list of parts says of a leaf; `shown`: it is part of the text."""
    named = node.filename
    attachment = not shown and node.main != "multipart" and (
        bool(named) or node.disposition == "attachment" or node.main not in ("text", "message") or node.type == "message/rfc822"
    )  # fmt: skip
    if attachment and not named:
        named = file_name(f"attachment-{node.n}.{_EXTENSIONS.get(node.type, 'bin')}")
    return Part(
        n=node.n, type=safe_line(node.type), charset=safe_line(node.params.get("charset", ""), 40), filename=named,
        size=0 if node.main == "multipart" else len(node.data()), disposition=safe_line(node.disposition),
        cid=safe_line(node.cid), attachment=attachment,
    )  # fmt: skip


def as_bytes(source: email.message.Message[str, str]) -> bytes:
    """A forwarded message as it came, as nearly as the parser kept it; b"" if it cannot be written."""
    try:
        return source.as_bytes(policy=email.policy.compat32)
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError, UnicodeError):
        return b""
