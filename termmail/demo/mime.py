"""ENVELOPE, BODYSTRUCTURE and sections of a message, as RFC 3501 §7.4.2 has them."""

from __future__ import annotations

import email
import email.message
import email.policy
import email.utils
import re
from functools import lru_cache

Parsed = email.message.Message


@lru_cache(64)
def parsed(raw: bytes) -> Parsed:
    """The message as the standard library cuts it up."""
    return email.message_from_bytes(raw, policy=email.policy.compat32)


def quoted(text: str | None) -> bytes:
    """An nstring: NIL, quoted, or a literal where it must be."""
    if text is None:
        return b"NIL"
    data = re.sub(r"\r?\n[ \t]+", " ", text).encode("utf-8", "surrogateescape")
    if re.search(rb"[\r\n\x00\x80-\xff]", data) or len(data) > 900:
        return b"{%d}\r\n%s" % (len(data), data)
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def header_of(raw: bytes) -> bytes:
    """The header with its empty line."""
    match = re.search(rb"\r\n\r\n", raw)
    return raw[: match.end()] if match else raw


def text_of(raw: bytes) -> bytes:
    """What follows the header."""
    return raw[len(header_of(raw)) :]


def fields_of(raw: bytes, names: set[str], *, keep: bool) -> bytes:
    """HEADER.FIELDS and HEADER.FIELDS.NOT."""
    out = []
    for match in re.finditer(rb"([^\r\n:]+):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", header_of(raw)):
        if (match[1].strip().decode("latin-1").upper() in names) is keep:
            out.append(match[0])
    return b"".join(out) + b"\r\n"


def envelope(raw: bytes) -> bytes:
    """ENVELOPE."""
    message = parsed(raw)

    def first(name: str) -> str | None:
        value = message[name]
        return None if value is None else str(value)

    def people(name: str) -> bytes:
        found = email.utils.getaddresses([str(v) for v in message.get_all(name, [])])
        parts = []
        for shown, address in found:
            local, at, domain = address.rpartition("@")
            who = quoted(local if at else address), quoted(domain if at else None)
            parts.append(b"(" + quoted(shown or None) + b" NIL " + who[0] + b" " + who[1] + b")")
        return b"(" + b"".join(parts) + b")" if parts else b"NIL"

    sender = people("From")
    lists = [
        sender,
        *(people(n) if message[n] else sender for n in ("Sender", "Reply-To")),
        *map(people, ("To", "Cc", "Bcc")),
    ]
    return b"(" + b" ".join(
        [quoted(first("Date")), quoted(first("Subject")), *lists, quoted(first("In-Reply-To")), quoted(first("Message-ID"))]
    ) + b")"  # fmt: skip


def _params(part: Parsed, header: str) -> bytes:
    found = part.get_params(header=header)
    pairs = [(key, value) for key, value in (found or [])[1:] if key]
    if not pairs:
        return b"NIL"
    words = []
    for key, value in pairs:
        text = email.utils.collapse_rfc2231_value(value) if isinstance(value, tuple) else value
        words += [quoted(str(key).upper()), quoted(str(text))]
    return b"(" + b" ".join(words) + b")"


def structure(raw: bytes, *, extended: bool = True) -> bytes:
    """BODYSTRUCTURE, or BODY without the extension data."""
    return _structure(parsed(raw), extended, 0)


def _structure(part: Parsed, extended: bool, depth: int) -> bytes:
    kind, _, sub = part.get_content_type().partition("/")
    payload = part.get_payload()
    disposition = part.get("Content-Disposition")
    said = str(disposition).partition(";")[0].strip() if disposition else ""
    tail = b"NIL"
    if said:
        tail = b"(" + quoted(said.upper()) + b" " + _params(part, "Content-Disposition") + b")"
    if kind == "multipart" and isinstance(payload, list) and payload and depth < 50:
        inner = b"".join(_structure(child, extended, depth + 1) for child in payload)  # type: ignore[arg-type]
        more = b" " + _params(part, "Content-Type") + b" " + tail + b" NIL NIL" if extended else b""
        return b"(" + inner + b" " + quoted(sub.upper()) + more + b")"
    body = body_bytes(part)
    encoding = str(part.get("Content-Transfer-Encoding", "7BIT")).upper()
    fields = [quoted(kind.upper()), quoted(sub.upper()), _params(part, "Content-Type"), quoted(part.get("Content-ID")),
              quoted(part.get("Content-Description")), quoted(encoding), b"%d" % len(body)]  # fmt: skip
    if kind == "message" and sub == "rfc822" and isinstance(payload, list) and payload and depth < 50:
        inner_raw = body
        fields += [envelope(inner_raw), _structure(payload[0], extended, depth + 1), b"%d" % body.count(b"\n")]  # type: ignore[arg-type]
    elif kind == "text":
        fields.append(b"%d" % body.count(b"\n"))
    if extended:
        fields += [b"NIL", tail, b"NIL", b"NIL"]
    return b"(" + b" ".join(fields) + b")"


def body_bytes(part: Parsed) -> bytes:
    """The body of a part as it stands, ends of line as CRLF."""
    payload = vars(part).get("_payload")  # get_payload would decode it
    if isinstance(payload, str):
        data = payload.encode("utf-8", "surrogateescape")
    elif part.get_content_type() == "message/rfc822" and isinstance(payload, list) and payload:
        data = payload[0].as_bytes(policy=email.policy.compat32)
    else:
        data = part.as_bytes(policy=email.policy.compat32).partition(b"\n\n")[2]
    return re.sub(rb"\r?\n", b"\r\n", data)


def section(raw: bytes, name: str) -> bytes | None:
    """BODY[name]; None if there is no such part."""
    upper = name.upper()
    match = re.match(r"((?:\d+\.?)*)(.*)", upper, re.S)
    assert match is not None
    numbers, rest = match[1].strip("."), match[2].strip()
    data = raw
    part: Parsed | None = None
    if numbers:
        part = _part(parsed(raw), [int(n) for n in numbers.split(".")])
        if part is None:
            return None
        data = body_bytes(part)
    if rest == "":
        return data if part is not None else raw
    if rest == "MIME" and part is not None:
        return b"".join(f"{k}: {v}\r\n".encode("utf-8", "surrogateescape") for k, v in part.items()) + b"\r\n"
    if rest == "HEADER":
        return header_of(data)
    if rest == "TEXT":
        return text_of(data)
    found = re.match(r"HEADER\.FIELDS(\.NOT)? \(([^)]*)\)", rest)
    if found:
        return fields_of(data, set(found[2].replace('"', "").split()), keep=not found[1])
    return None


def _part(message: Parsed, numbers: list[int]) -> Parsed | None:
    """A part by its number."""
    node = message
    for number in numbers:
        payload = node.get_payload()
        if node.get_content_type() == "message/rfc822" and isinstance(payload, list) and payload:
            node = payload[0]  # type: ignore[assignment]
            payload = node.get_payload()
        if isinstance(payload, list) and node.get_content_maintype() == "multipart":
            if not 1 <= number <= len(payload):
                return None
            node = payload[number - 1]  # type: ignore[assignment]
        elif number != 1:
            return None
    return node
