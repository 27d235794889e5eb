"""Drafts into bytes, replies and forwards into drafts; and what must not leave.

`build` is the one function that makes messages.  It writes every field itself, refuses controls, and
parses its own output again to compare it with the draft before it lets it go (security.md rows 14–16).
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import re
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from termmail import __version__
from termmail.mime import headers, limits
from termmail.mime.parse import file_name, parse
from termmail.mime.width import cells
from termmail.model.document import Document
from termmail.model.draft import Attachment, Draft, Kind
from termmail.model.errors import MessageError
from termmail.model.message import Address, PlacementId
from termmail.text import SafeText, safe_block, safe_line

WIDTH = 72  # cells of a line of flowed text
_REPLY = re.compile(r"^(?:(?:re|aw|sv|antw|vs|ref|rif|odp|ynt|回复|答复)(?:\[\d+\])?\s*[:：]\s*)+", re.I)
_FORWARD = re.compile(r"^(?:(?:fwd?|wg|tr|rv|enc|vb|doorst|转发)\s*[:：]\s*)+", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCAL = re.compile(r"[^\s<>()\[\],:;\"@\\]{1,64}|\"[^\"\\\r\n]{1,62}\"")
_DOMAIN = re.compile(r"(?:[^\s<>()\[\],:;\"@\\.]{1,63}\.?)+|\[[0-9A-Fa-f.:]+\]")
_ATTACHED = re.compile(
    r"\b(?:attach(?:ed|ment|ments|ing)|enclosed|(?:im|in der|als) anhang|angehängt|anbei|beigefügt|anlagen?\b|ci-joint|"
    r"pièces? jointes?|en pièce jointe|adjunt[oa]s?|in allegato|allegat[oaie]|bijlage|bijgevoegd|anexo|em anexo|bifogad|"
    r"vedhæftet|vedlagt|załącznik|в приложении|вложени[еия]|прикрепл)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to be said before a draft leaves; `fatal` ones keep it here.  `field` names where to look."""

    kind: str
    words: SafeText
    field: str = ""
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """Finished bytes (CRLF, no line over 998) and the envelope that goes with them."""

    raw: bytes = field(repr=False)
    message_id: str
    sender: str
    recipients: tuple[str, ...]
    subject: SafeText


# -- drafts from messages ---------------------------------------------------------------


def _bare(address: str) -> str:
    """The addr-spec of "Ada <ada@x>", in lower case."""
    return next((a.email for a in headers.addresses(address)), "").lower()


def _subject(subject: str, *, reply: bool) -> str:
    bare = _REPLY.sub("", subject).strip() if reply else _FORWARD.sub("", subject).strip()
    return f"{'Re' if reply else 'Fwd'}: {bare}"


def _when(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y at %H:%M", time.localtime(seconds)) if seconds else "an unknown day"


def quoted(text: str) -> str:
    """Text as a quotation, a level deeper, folded where lines are long."""
    out = []
    for raw in text.rstrip("\n").split("\n"):
        match = re.match(r"(?:> ?)*", raw)
        marks = match[0].count(">") if match else 0
        content = raw[match.end() :] if match else raw
        head = ">" * (marks + 1) + " "
        out += (
            [(head + line).rstrip() for line in _folded(content, WIDTH - len(head) + 4)] if content else [head.rstrip()]
        )
    return "\n".join(out) + "\n"


def _folded(text: str, width: int) -> list[str]:
    """A line in pieces of at most `width` cells, blanks at the ends of all but the last."""
    if cells(text) <= width:
        return [text]
    out, line = [], ""
    for word in re.findall(r"\S+ *|^ +", text):
        if line and cells(line) + cells(word.rstrip()) > width:
            out.append(line)
            line = ""
        line += word
    return [*out, line] if line or not out else out


def signed(body: str, signature: str) -> str:
    """A body with the signature below it."""
    if not signature.strip():
        return body
    mark = "" if signature.startswith("-- \n") else "-- \n"
    return f"{body.rstrip()}\n\n{mark}{signature.rstrip()}\n"


def reply(
    document: Document,
    *,
    account: str,
    identity: str,
    own: Collection[str],
    to_all: bool,
    parent: PlacementId = PlacementId(0),
    signature: str = "",
) -> Draft:
    """A draft that answers a message: to Reply-To or From, with all to To and Cc as well, but not to oneself.

    An answer to one's own message goes to its recipients.  `own` are all addresses of the user.
    """
    mine = {address.lower() for address in own} | {_bare(identity)}
    authors = [a for a in document.reply_to or document.sender if a.email]
    to, cc = authors, [*document.to, *document.cc]
    if authors and all(a.email.lower() in mine for a in authors):
        to, cc = list(document.to), list(document.cc)
    seen = {a.email.lower() for a in to} | mine
    rest = [a for a in cc if a.email and a.email.lower() not in seen]
    who = str(document.sender[0].name or document.sender[0].email) if document.sender else "somebody"
    body = f"\n\nOn {_when(document.date)}, {who} wrote:\n{quoted(document.text)}"
    known = tuple(one for one in document.references if one != document.message_id)
    return Draft(
        account=account, kind=Kind.REPLY, parent=parent, sender=identity, to=_listed(to),
        cc=_listed(_unique(rest)) if to_all else "", subject=_subject(document.subject, reply=True),
        in_reply_to=document.message_id, references=(*known, *([document.message_id] if document.message_id else [])),
        body=signed(body, signature),
    )  # fmt: skip


def _unique(found: Sequence[Address]) -> list[Address]:
    return list({a.email.lower(): a for a in reversed(found)}.values())[::-1]


def _listed(found: Sequence[Address]) -> str:
    return ", ".join(written(a) for a in found)


def written(address: Address) -> str:
    """An address as a user may type it: the name quoted where it must be."""
    if not address.name:
        return address.email
    name = address.name
    if re.search(r'[()<>@,;:\\".\[\]]', name):
        name = SafeText('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return f"{name} <{address.email}>"


def forward(
    raw: bytes,
    document: Document,
    *,
    account: str,
    identity: str,
    inline: bool,
    parent: PlacementId = PlacementId(0),
    signature: str = "",
) -> Draft:
    """A draft that passes a message on: its text and attachments inside, or the whole as an attachment."""
    subject = _subject(document.subject, reply=False)
    if not inline:
        name = file_name(f"{document.subject[:60] or 'message'}.eml".replace("/", "-"))
        attached = (Attachment(name, "message/rfc822", data=raw, size=len(raw)),)
        return Draft(
            account=account, kind=Kind.FORWARD, parent=parent, sender=identity, subject=subject, attachments=attached,
            body=signed("\n\n", signature),
        )  # fmt: skip
    head = ["---------- Forwarded message ----------"]
    head += [f"From: {', '.join(map(written, document.sender))}", f"Date: {_when(document.date)}"]
    head += [f"Subject: {document.subject}", f"To: {_listed(document.to)}"]
    if document.cc:
        head.append(f"Cc: {_listed(document.cc)}")
    wanted = {one.n for one in document.parts if one.attachment}
    tree = parse(raw).root.walk()
    names = {one.n: one.filename for one in document.parts}
    attachments = tuple(
        Attachment(names[node.n], node.type, data=(data := node.data()), size=len(data))
        for node in tree
        if node.n in wanted
    )
    body = "\n\n" + "\n".join(head) + "\n\n" + document.text
    return Draft(
        account=account, kind=Kind.FORWARD, parent=parent, sender=identity, subject=subject, attachments=attachments,
        body=signed("\n", signature) + body,
    )  # fmt: skip


# -- checks ---------------------------------------------------------------------------------


def recipients(draft: Draft) -> list[tuple[str, Address]]:
    """(field, mailbox) of everybody a draft goes to."""
    return [
        (name, address)
        for name, value in (("to", draft.to), ("cc", draft.cc), ("bcc", draft.bcc))
        for address in headers.addresses(value)
    ]


def valid(address: str) -> bool:
    """True for an addr-spec that may stand in an envelope (RFC 5321 §4.1.2, with SMTPUTF8)."""
    local, at, domain = address.rpartition("@")
    return bool(at and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain) and not _CONTROL.search(address))


def check(draft: Draft) -> list[Problem]:
    """What should be said before this leaves, the worst first."""
    problems: list[Problem] = []
    people = recipients(draft)
    if not people:
        problems.append(Problem("nobody", SafeText("nobody to send it to"), "to", fatal=True))
    for name, address in people:
        if not valid(address.email):
            shown = safe_line(address.email or address.name, 60)
            problems.append(Problem("address", safe_line(f"“{shown}” is no address"), name, fatal=True))
    if not valid(_bare(draft.sender)):
        problems.append(Problem("address", SafeText("the sender is no address"), "from", fatal=True))
    for attached in draft.attachments:
        if attached.path and not _readable(attached.path):
            words = safe_line(f"the attachment {attached.filename} cannot be read")
            problems.append(Problem("attachment", words, "attachments", fatal=True))
    if not draft.subject.strip():
        problems.append(Problem("subject", SafeText("no subject"), "subject"))
    own = "\n".join(
        line
        for line in draft.body.partition("\n-- \n")[0].split("\n")
        if not line.startswith((">", "On ")) and line.strip()
    )
    own = own.partition("---------- Forwarded message")[0]
    if (match := _ATTACHED.search(own)) and not draft.attachments:
        words = safe_line(f"you write “{match[0]}”, but nothing is attached")
        problems.append(Problem("forgotten", words, "attachments"))
    if not own.strip() and not draft.attachments and draft.kind != Kind.FORWARD:
        problems.append(Problem("empty", SafeText("the message is empty"), "body"))
    return sorted(problems, key=lambda problem: not problem.fatal)


def _readable(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return True
    except OSError:
        return False


# -- bytes ------------------------------------------------------------------------------------


def build(draft: Draft, *, now: float | None = None) -> Built:
    """The finished message and its envelope; Bcc stands in the envelope only.

    Raises MessageError for what `check` calls fatal, for controls in fields, and if the bytes, parsed
    again, do not say what the draft says.
    """
    for problem in check(draft):
        if problem.fatal:
            raise MessageError(problem.words, hint=problem.field)
    sender = headers.addresses(draft.sender)[0]
    domain = _ascii_domain(sender.email.rpartition("@")[2])
    message_id = f"<{secrets.token_hex(16)}@{domain}>"
    fields = [
        ("From", _mailbox(sender)),
        ("To", _mailboxes(draft.to)),
        ("Cc", _mailboxes(draft.cc)),
        ("Reply-To", _mailboxes(draft.reply_to)),
        ("Subject", _unstructured(draft.subject)),
        ("Date", email.utils.formatdate(time.time() if now is None else now, localtime=True)),
        ("Message-ID", message_id),
        ("In-Reply-To", " ".join(headers.message_ids(draft.in_reply_to))),
        ("References", "\r\n ".join(headers.message_ids(" ".join(draft.references))[-30:])),
        ("User-Agent", f"termmail/{__version__}"),
        ("MIME-Version", "1.0"),
    ]
    if not draft.to.strip() and not draft.cc.strip():
        fields[1] = ("To", "undisclosed-recipients:;")
    head = b"".join(_field(name, value) for name, value in fields if value)
    raw = head + _content(draft)
    people = tuple(dict.fromkeys(_envelope(address.email) for _, address in recipients(draft)))
    built = Built(raw, message_id, _envelope(sender.email), people, safe_line(draft.subject))
    _compare(draft, built, [name for name, value in fields if value])
    return built


def _field(name: str, value: str) -> bytes:
    """A header field, folded; `value` may hold folds of ours only."""
    if not re.fullmatch(r"[!-9;-~]+", name) or _CONTROL.search(value.replace("\r\n ", "")):
        raise MessageError(f"the field {safe_line(name)} holds control characters", hint=name.lower())
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if len(line) + 1 + len(word.split("\r\n")[0]) > 76 and line.strip() and not line.endswith(":"):
            lines.append(line)
            line = ""
        line += f" {word}"
        if "\r\n" in word:
            *done, line = line.split("\r\n")
            lines += done
    return ("\r\n".join([*lines, line]) + "\r\n").encode("utf-8")


def _unstructured(text: str) -> str:
    """Free text for a header: as it is if it is plain, else in encoded words (RFC 2047)."""
    if _CONTROL.search(text):
        raise MessageError("the subject holds control characters", hint="subject")
    text = text.strip()
    longest = max((len(word) for word in text.split(" ")), default=0)
    return text if text.isascii() and "=?" not in text and longest < 900 else _encoded(text)


def _encoded(text: str) -> str:
    """UTF-8 in encoded words of at most 75 characters; no character is cut in two."""
    words, held = [], b""
    for char in text:
        data = char.encode("utf-8", "replace")
        if len(held) + len(data) > 45:
            words.append(held)
            held = b""
        held += data
    return " ".join(f"=?utf-8?b?{base64.b64encode(word).decode('ascii')}?=" for word in [*words, held])


def _mailbox(address: Address) -> str:
    """An address for a header field."""
    name, spec = address.name, _envelope(address.email)
    if not name:
        return spec
    if not name.isascii() or "=?" in name:
        return f"{_encoded(name)} <{spec}>"
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+", name):
        return f"{name} <{spec}>"
    inner = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}" <{spec}>'


def _mailboxes(value: str) -> str:
    if _CONTROL.search(value.replace("\n", " ").replace("\t", " ")):
        raise MessageError("an address holds control characters", hint="to")
    return ", ".join(_mailbox(address) for address in headers.addresses(value))


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise MessageError(f"“{safe_line(domain)}” is no domain") from error


def _envelope(address: str) -> str:
    """An addr-spec with its domain in ASCII."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{_ascii_domain(domain)}"


def _content(draft: Draft) -> bytes:
    """Content fields and body: text alone, or multipart/mixed with attachments."""
    text = _text_part(draft.body)
    if not draft.attachments:
        return text
    parts = [text, *(_attachment(one) for one in draft.attachments)]
    boundary = "=_" + hashlib.blake2b(b"".join(parts[:1]) + secrets.token_bytes(16), digest_size=15).hexdigest()
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
    delimiter = f"--{boundary}\r\n".encode()
    body = b"".join(piece for one in parts for piece in (delimiter, one))
    return head + body + f"--{boundary}--\r\n".encode()


def _text_part(body: str) -> bytes:
    """The body as format=flowed (RFC 3676), quoted-printable where it is not plain ASCII."""
    lines: list[str] = []
    signature = False
    for line in safe_block(body).rstrip("\n").split("\n"):
        signature = signature or line == "-- "
        if line == "-- " or line.startswith(">"):
            lines.append(line if line == "-- " else line.rstrip())
            continue
        stuffed = " " + line if line.startswith((" ", "From ")) else line
        pieces = _folded(stuffed.rstrip(), WIDTH) if not signature else [stuffed.rstrip()]
        lines += [
            " " + piece if n and piece.startswith((" ", ">", "From ")) else piece for n, piece in enumerate(pieces)
        ]
    text = "\r\n".join(lines) + "\r\n"
    head = "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
    if text.isascii() and max(map(len, lines), default=0) < 990:
        return f"{head}Content-Transfer-Encoding: 7bit\r\n\r\n{text}".encode("ascii")
    data = binascii.b2a_qp(text.replace("\r\n", "\n").encode("utf-8", "replace"), istext=True, header=False)
    data = re.sub(rb"(?m)^From ", b"=46rom ", data).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return f"{head}Content-Transfer-Encoding: quoted-printable\r\n\r\n".encode() + data


def _attachment(one: Attachment) -> bytes:
    """One attachment in base64; a forwarded message keeps its bytes where they are 7-bit lines.  Raises MessageError."""
    if one.path:
        try:
            data = Path(one.path).read_bytes()
        except OSError as error:
            words = f"the attachment {safe_line(one.filename)} cannot be read: {error.strerror}"
            raise MessageError(words, hint="attachments") from error
    else:
        data = one.data
    kind = one.type if re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", one.type) else "application/octet-stream"
    name = file_name(one.filename)
    head = f"Content-Type: {kind}{_parameter('name', name)}\r\nContent-Disposition: attachment{_parameter('filename', name)}\r\n"
    if kind == "message/rfc822":
        crlf = re.sub(rb"\r?\n", b"\r\n", data)
        if (
            crlf.isascii()
            and b"\r" not in crlf.replace(b"\r\n", b"")
            and all(len(x) < 998 for x in crlf.split(b"\r\n"))
        ):
            return head.encode() + b"Content-Transfer-Encoding: 7bit\r\n\r\n" + crlf.rstrip(b"\r\n") + b"\r\n"
        head = head.replace("message/rfc822", "application/octet-stream", 1)
    encoded = binascii.b2a_base64(data, newline=False)
    body = b"\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + body + b"\r\n"


def _parameter(name: str, value: str) -> str:
    """A parameter, in RFC 2231 form as well where it is not plain ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in value)
    if plain == value and len(value) < 60:
        return f';\r\n {name}="{value}"'
    octets = value.encode("utf-8", "replace")
    quoted_value = "".join(
        chr(b) if chr(b).isascii() and (chr(b).isalnum() or chr(b) in "-._~") else f"%{b:02X}" for b in octets
    )
    pieces = [quoted_value[i : i + 60] for i in range(0, len(quoted_value), 60)]
    if len(pieces) == 1:
        return f";\r\n {name}=\"{plain[:60]}\";\r\n {name}*=utf-8''{pieces[0]}"
    segments = [f"{name}*{n}*={piece}" for n, piece in enumerate(pieces)]
    segments[0] = segments[0].replace("*0*=", "*0*=utf-8''", 1)
    return "".join(f";\r\n {piece}" for piece in [f'{name}="{plain[:60]}"', *segments])


def _compare(draft: Draft, built: Built, wanted: list[str]) -> None:
    """Parse the finished bytes and refuse them if they do not say what the draft says."""
    found = headers.fields(built.raw)
    names = [name for name, _ in found]
    expected = [*wanted, "Content-Type", *(["Content-Transfer-Encoding"] if not draft.attachments else [])]
    values = {name.lower(): headers.text(value) for name, value in found}
    shown = {_envelope(a.email).lower() for _, a in recipients(draft.but(bcc=""))}
    written_to = {a.email.lower() for name in ("to", "cc") for a in headers.addresses(values.get(name, "")) if a.email}
    secret = {_envelope(a.email).lower() for name, a in recipients(draft) if name == "bcc"} - shown
    head = built.raw.partition(b"\r\n\r\n")[0].lower()
    if names != expected:
        raise MessageError("the finished message has other header fields than it should; it was not queued")
    if written_to != shown or any(one.encode() in head for one in secret if one != built.sender.lower()):
        raise MessageError("the finished message names other recipients than the draft; it was not queued")
    if headers.decode(values.get("subject", "")) != safe_line(draft.subject.strip()):
        raise MessageError("the finished message has another subject than the draft; it was not queued")
    if re.search(rb"(?<!\r)\n|\r(?!\n)", built.raw) or any(len(line) > 998 for line in built.raw.split(b"\r\n")):
        raise MessageError("the finished message has lines that servers refuse; it was not queued")


def from_bytes(raw: bytes, to: Sequence[str], *, from_headers: bool, sender: str) -> Built:
    """A message that another program wrote, for the outbox (`termmail send`).

    Recipients are `to`, with `from_headers` those of To, Cc and Bcc too.  Bcc fields are taken out, Date
    and Message-ID added where they are missing, ends of line made CRLF; no other byte changes.
    Raises MessageError.
    """
    raw = re.sub(rb"\r\n|\r|\n", b"\r\n", raw)
    if raw.startswith(b"From "):
        raw = raw.partition(b"\r\n")[2]
    found = headers.fields(raw)
    if not found:
        raise MessageError(
            "this is no message: it has no header fields", hint="begin with To: and Subject:, then an empty line"
        )
    head, gap, body = raw.partition(b"\r\n\r\n")
    people = [a.email for value in to for a in headers.addresses(value)]
    if from_headers:
        names = ("to", "cc", "bcc")
        people += [
            a.email for name, value in found if name.lower() in names for a in headers.addresses(headers.text(value))
        ]
    for one in people:
        if not valid(one):
            raise MessageError(f"“{safe_line(one, 60)}” is no address")
    if not people:
        raise MessageError("nobody to send to", hint="name recipients, or use -t")
    head = re.sub(rb"(?im)^bcc:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)", b"", head + b"\r\n").rstrip(b"\r\n")
    names_there = {name.lower() for name, _ in found}
    ids = headers.message_ids(next((headers.text(v) for n, v in found if n.lower() == "message-id"), ""))
    message_id = (
        ids[0] if ids else f"<{secrets.token_hex(16)}@{_ascii_domain(sender.rpartition('@')[2]) or 'localhost'}>"
    )
    if not ids:
        head += f"\r\nMessage-ID: {message_id}".encode()
    if "date" not in names_there:
        head += f"\r\nDate: {email.utils.formatdate(localtime=True)}".encode()
    if "from" not in names_there:
        head += f"\r\nFrom: {sender}".encode()
    finished = head + (gap or b"\r\n\r\n") + body
    if len(head) > limits.HEADER_BLOCK or any(len(line) > 998 for line in finished.split(b"\r\n")):
        raise MessageError("a line is longer than the 998 bytes that mail may have", hint="encode the body")
    if b"\0" in finished:
        raise MessageError("the message holds NUL bytes", hint="encode the body")
    subject = headers.decode(next((v for n, v in found if n.lower() == "subject"), b""))
    unique = tuple(dict.fromkeys(_envelope(one) for one in people))
    return Built(finished, message_id, _envelope(sender), unique, subject)
