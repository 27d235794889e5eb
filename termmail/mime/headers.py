"""Header fields: fast decoding of addresses, dates, ids and encoded words, on whatever the net sends.

`summarise` runs once for each of 100,000 messages of a first sync, so the common shapes have a fast
path and repeated senders are cached.  Nothing here raises, whatever the bytes.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from functools import lru_cache
from itertools import islice

from termmail.mime import charset, limits
from termmail.model.message import Address, Summary
from termmail.text import SafeText, safe_line

_FIELD = re.compile(rb"^([!-9;-~]{1,100})[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.M)
_FOLD = re.compile(r"\r?\n[ \t]+")
_RAW_FOLD = re.compile(rb"\r?\n[ \t]+")
_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?[^?\s]{1,80}\?[bBqQ]\?)")
_SIMPLE = re.compile(r'\s*(?:"([^"\\<>]*)"|([^"<>(),:;@\\]*?))\s*<\s*([^\s<>(),:;"@]+@[^\s<>(),:;"@]+)\s*>\s*')
_BARE = re.compile(r'\s*([^\s<>(),:;"@\\]+@[^\s<>(),:;"@\\]+)\s*')
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"?|<([^<>]*)>?|([,;:()])|([^"<>,;:()]+)|(.)', re.S)
_DATE = re.compile(
    r"\s*(?:[A-Za-z]{2,9}\.?,?\s+)?(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?[\s-]+(\d{2,4})\s+"
    r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?\s*(?:([+-]\d{2}):?(\d{2})|([A-Za-z]{1,5}))?"
)
_ISO_DATE = re.compile(r"\s*(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d))?(?:\.\d+)?\s*(?:([+-]\d\d):?(\d\d)|Z)?")
_ID = re.compile(r"<[^<>\s]{1,995}>")
_ONE_ID = re.compile(r"\s*(<[!-;=?-~]{1,995}>)\s*")
_RECEIVED = re.compile(rb"^Received[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.M | re.I)
_ATTACHED = re.compile(
    rb"^Content-Disposition:[ \t]*attachment\b|"
    rb"^Content-Type:[ \t]*application/(?!pgp-signature|pkcs7-signature|x-pkcs7-signature|ms-tnef)",
    re.M | re.I,
)
_MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "CET": 1, "CEST": 2,
          "JST": 9, "BST": 1, "MSK": 3}  # fmt: skip
_EPOCH = dt.date(1970, 1, 1).toordinal()
_LATEST = 1 << 33  # seconds: the year 2242
_blake = hashlib.blake2b
NOBODY = Address(SafeText(""), SafeText(""))


def fields(raw: bytes) -> list[tuple[str, bytes]]:
    """(name, raw value) of the header fields at the start of a message, in order; junk lines are passed over."""
    end = re.search(rb"\r?\n\r?\n", raw[: limits.HEADER_BLOCK])
    block = raw[: end.start() + 1 if end else limits.HEADER_BLOCK]
    found = _FIELD.findall(block)[: limits.FIELDS]
    return [(name.decode("ascii"), value[: limits.FIELD]) for name, value in found]


def text(value: bytes) -> str:
    """A raw value as text: unfolded, UTF-8 or else Windows-1252; encoded words are left alone."""
    if value.isascii():
        found = value.decode("ascii")
    else:
        try:
            found = value.decode("utf-8")
        except UnicodeDecodeError:
            found = value.decode("cp1252", "replace")
    if "\n" in found:
        found = _FOLD.sub(" ", found)
    return found.strip()


def decode(value: bytes | str) -> SafeText:
    """An unstructured field in words (RFC 2047), safe."""
    found = text(value) if isinstance(value, bytes) else value
    return safe_line(words(found) if "=?" in found else found)


def words(value: str) -> str:
    """Encoded words decoded (RFC 2047 §6.2): blanks between two of them go, split characters are joined."""
    if "=?" not in value:
        return value
    value = _BETWEEN_WORDS.sub(r"\1", value)
    out: list[str] = []
    end = 0
    held, held_charset = b"", ""
    for match in islice(_WORD.finditer(value), limits.ENCODED_WORDS):
        name = match[1].partition("*")[0].lower()
        data = _word_bytes(match[2], match[3])
        between = value[end : match.start()]
        if held and (between or name != held_charset):
            out.append(charset.decode(held, held_charset))
            held = b""
        out.append(between)
        held, held_charset, end = held + data, name, match.end()
    if held:
        out.append(charset.decode(held, held_charset))
    out.append(value[end:])
    return "".join(out)


def _word_bytes(encoding: str, data: str) -> bytes:
    """The bytes of one encoded word; broken base64 gives what can be read of it."""
    raw = data.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw.replace(b"_", b" ").replace(b"\n", b""), header=False)
    raw = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    if len(raw) % 4 == 1:
        raw = raw[:-1]
    return base64.b64decode(raw + b"=" * (-len(raw) % 4))


# -- addresses -----------------------------------------------------------------


@lru_cache(4096)
def addresses(value: str) -> tuple[Address, ...]:
    """The mailboxes of an address field (RFC 5322 §3.4), groups opened, comments as names.  Never raises.

    Names are decoded after the field is taken apart, so that an encoded comma separates nothing.
    A part without an address is kept with an empty `email`.
    """
    simple = _SIMPLE.fullmatch(value)
    if simple:
        return (_address(simple[1] if simple[1] is not None else simple[2], simple[3]),)
    bare = _BARE.fullmatch(value)
    if bare:
        return (_address("", bare[1]),)
    return tuple(found for found, _ in _taken_apart(value))


def one_sender(value: str) -> tuple[Address, bool]:
    """The mailbox of a From field, and whether it is ambiguous: two addresses where one may stand.

    Clients differ on such fields, and forgers know (CVE-2023-27043): the last address is
    what most servers check, so that one is given and the whole text stands as the name.
    """
    found = _taken_apart(value)
    if not found:
        return NOBODY, False
    mailboxes = [(address, odd) for address, odd in found if address.email] or found
    address, odd = mailboxes[-1] if len(mailboxes) == 1 else mailboxes[0]
    ambiguous = odd or len(mailboxes) > 1
    if ambiguous:
        address = Address(decode(value), address.email)
    return address, ambiguous


def _address(name: str, email: str) -> Address:
    """An address of raw parts: the name decoded, both safe."""
    name = words(name) if "=?" in name else name
    shown = safe_line(name.strip().strip("'") if name else "")
    return Address(shown if shown != email else SafeText(""), safe_line(re.sub(r"\s+", "", words(email))))


def _taken_apart(value: str) -> list[tuple[Address, bool]]:
    """(mailbox, odd) by the full grammar; odd: more than one address in one place."""
    found: list[tuple[Address, bool]] = []
    phrase: list[str] = []
    angles: list[str] = []
    comment: list[str] = []
    depth = 0

    def flush() -> None:
        if not (phrase or angles or comment) or len(found) >= limits.ADDRESSES:
            return
        name = " ".join(part for part in (p.strip() for p in phrase) if part)
        aside = " ".join(comment).strip()
        if angles:
            found.append((_address(name or aside, angles[-1]), len(angles) > 1 or "@" in name or "@" not in angles[-1]))
        elif "@" in name:
            email = re.sub(r"\s+", "", name)
            found.append((_address(aside, email), email.count("@") > 1 or "@" in aside))
        elif name:
            found.append((_address(name, ""), False))
        for part in (phrase, angles, comment):
            part.clear()

    for match in _TOKEN.finditer(value[: limits.FIELD]):
        quoted, angle, mark, plain, _ = match.groups()
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth = max(0, depth - 1)
        elif depth:
            comment.append(match[0])
        elif mark in (",", ";"):
            flush()
        elif mark == ":":
            if not angles and "@" not in "".join(phrase):
                phrase.clear()  # the name of a group
        elif angle is not None:
            angles.append(angle.strip().rpartition(":")[2] if angle.lstrip().startswith("@") else angle.strip())
        elif quoted is not None:
            phrase.append(re.sub(r"\\(.)", r"\1", quoted))
        elif plain:
            phrase.append(plain)
    flush()
    return found


# -- dates and ids ---------------------------------------------------------------


def date(value: str) -> int:
    """Seconds since the epoch of a Date field (RFC 5322 §3.3, its obsolete forms, ISO 8601); 0 if unreadable."""
    match = _DATE.match(value)
    try:
        if match:
            day, month, year, hour, minute, second, zone_h, zone_m, zone = match.groups()
            days = _days(day, month, year)
            offset = _offset(zone_h, zone_m) if zone_h else _ZONES.get((zone or "").upper(), 0) * 3600
        else:
            match = _ISO_DATE.match(value)
            if not match:
                return 0
            year, month, day, hour, minute, second, zone_h, zone_m = match.groups()
            days = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH
            offset = _offset(zone_h, zone_m) if zone_h else 0
    except (ValueError, KeyError, OverflowError):
        return 0
    seconds = days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0) - offset
    return min(max(seconds, 0), _LATEST)


@lru_cache(4096)
def _days(day: str, month: str, year: str) -> int:
    """Days since the epoch; mail of one day comes together."""
    number = int(year)
    if len(year) < 4:
        number += 2000 if number < 50 else 1900
    return dt.date(number, _MONTHS[month.lower()], int(day)).toordinal() - _EPOCH


@lru_cache(256)
def _offset(hours: str, minutes: str) -> int:
    """Seconds east of Greenwich."""
    return int(hours) * 3600 + int(hours[0] + minutes) * 60


def message_ids(value: str) -> tuple[str, ...]:
    """The message ids of a References or In-Reply-To field, in order, each once; at most 100."""
    if (only := _ONE_ID.fullmatch(value)) is not None:
        return (only[1],)
    found = dict.fromkeys(_ID.findall(value))
    ids = [one for one in found if one.isascii() and one.isprintable()]
    return tuple(ids if len(ids) <= 100 else ids[:1] + ids[-99:])


# -- the summary -------------------------------------------------------------------


def summarise(raw: bytes) -> Summary:
    """What the list shows of a message, from its header fields in any order; of doubles the first counts."""
    found = _by_name(raw)
    get = found.get
    message_id = next(iter(message_ids(get("message-id", ""))), "")
    references = message_ids(found["references"]) if "references" in found else ()
    reply = message_ids(found["in-reply-to"]) if "in-reply-to" in found else ()
    when, sender, subject = get("date", "").strip(), get("from", "").strip(), get("subject", "").strip()
    root = references[0] if references else reply[0] if reply else message_id
    seconds = date(when[:100])
    told = f"{message_id}\n{when}\n{sender}\n{subject}".encode("utf-8", "surrogatepass")
    ident = seconds.to_bytes(5, "big") + _blake(told, digest_size=11).digest()
    return Summary(
        seconds,
        _sender(sender or get("sender", "").strip() or get("reply-to", "").strip()),
        _mailboxes(get("to", "")),
        _mailboxes(found["cc"]) if "cc" in found else (),
        decode(subject),
        message_id,
        reply[0] if reply else "",
        references,
        int.from_bytes(_blake(root.encode() or ident, digest_size=8).digest(), "big") >> 1,
        ident,
    )


def received(raw: bytes) -> int:
    """When the last server took the message, by its topmost Received field (RFC 5321 §4.4); 0 if it does not say."""
    match = _RECEIVED.search(raw[: limits.HEADER_BLOCK])
    return date(text(match[1].rpartition(b";")[2])[:100]) if match and b";" in match[1] else 0


def has_attachment(raw: bytes) -> bool:
    """Some part, by its own fields, is an attachment: a guess that needs no tree."""
    return _ATTACHED.search(raw) is not None


def _by_name(raw: bytes) -> dict[str, str]:
    """The fields of a header block, unfolded, by name in small letters; what is no field is there under names nobody asks for."""
    raw = raw[: limits.HEADER_BLOCK]
    if b"\n " in raw or b"\n\t" in raw:
        raw = _RAW_FOLD.sub(b" ", raw)
    lines = raw.decode("ascii").split("\n") if raw.isascii() else map(text, raw.split(b"\n"))
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.rstrip().lower(), value)
    return found


@lru_cache(8192)
def _sender(value: str) -> Address:
    return one_sender(value)[0]


@lru_cache(1024)
def _mailboxes(value: str) -> tuple[Address, ...]:
    return addresses(value.strip())
