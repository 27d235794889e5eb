"""FETCH responses taken apart: those of a header sync as they stream in, and any other.

A first sync reads a hundred thousand answers of one shape, so that shape is taken from the buffer in one match
(`usual`); whatever deviates goes the long way (`fetched`).
"""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import dataclass
from functools import lru_cache

from termmail.mime.headers import summarise
from termmail.model.message import WIRE_FLAGS, Flag, NewMessage
from termmail.net.backend import FlagsOf
from termmail.net.imap import wire
from termmail.text import safe_line

_UID = re.compile(rb"[( ]UID (\d{1,10})")
_FLAGS = re.compile(rb"[( ]FLAGS \(([^()]*)\)")
_DATE = re.compile(rb'INTERNALDATE "([^"]{10,40})"')
_SIZE = re.compile(rb"RFC822\.SIZE (\d{1,15})")
_MODSEQ = re.compile(rb"MODSEQ \((\d{1,20})\)")
_SECTION = re.compile(rb"BODY\[(HEADER(?:\.FIELDS[^\]]*)?)?\](?:<0>)? ~?\{\d+\+?\}$")
_SHORT = re.compile(rb'[( ]BODY\[(HEADER(?:\.FIELDS[^\]]*)?)?\](?:<0>)? (?:NIL|"((?:[^"\\]|\\.)*)")', re.I | re.S)
_USUAL = re.compile(
    rb'\* \d{1,10} FETCH \(UID (\d{1,10}) FLAGS \(([^()\r\n]*)\) INTERNALDATE "([^"\r\n]{10,40})" RFC822\.SIZE (\d{1,15}) '
    rb"(?:MODSEQ \((\d{1,19})\) )?BODYSTRUCTURE (\([^{}\r\n]*\)) BODY\[HEADER\.FIELDS \([^()\r\n]*\)\] \{(\d{1,7})\}\r\n"
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+')
_ATTACHED = re.compile(rb'"application" "(?!pgp-signature|pkcs7-signature|x-pkcs7-signature|ms-tnef)')
_MONTHS = {name: n for n, name in enumerate((b"jan feb mar apr may jun jul aug sep oct nov dec").split(), 1)}
_BY_WIRE = {name.lower().encode(): flag for flag, name in WIRE_FLAGS.items()}


@dataclass(slots=True)
class Fetched:
    """One FETCH response, taken apart as far as anybody asks."""

    uid: int  # 0: the server did not say
    flags: FlagsOf | None
    date: int
    size: int
    attachments: bool
    header: bytes | None  # None: the response holds none
    body: bytes | None


_flag_cache: dict[bytes, tuple[Flag, str]] = {}


def flags(text: bytes) -> tuple[Flag, str]:
    """Flags as the wire has them: those we know as bits, the others as keywords."""
    found = _flag_cache.get(text)
    if found is None:
        bits, words = Flag(0), set()
        for name in text.split():
            bit = _BY_WIRE.get(name.lower())
            if bit is not None:
                bits |= bit
            elif not name.startswith(b"\\"):
                words.add(safe_line(name.decode("utf-8", "replace"), 100))
        found = bits, " ".join(sorted(word for word in words if word and " " not in word))
        if len(_flag_cache) > 4096:
            _flag_cache.clear()
        _flag_cache[text] = found
    return found


def internal_date(text: bytes) -> int:
    """Seconds since the epoch of `17-Jul-1996 02:44:25 -0700` (RFC 3501 §9 date-time); 0 if malformed."""
    if len(text) != 26:
        text = text.strip().rjust(26)  # a day of one digit, without the blank that belongs before it
    try:
        clock = int(text[12:14]) * 3600 + int(text[15:17]) * 60 + int(text[18:20])
        return max(0, _day(text[:11]) + clock - _zone(text[21:]))
    except (ValueError, KeyError, IndexError, OverflowError):
        return 0


@lru_cache(4096)
def _day(text: bytes) -> int:
    """Seconds since the epoch of the beginning of `17-Jul-1996`; mail of one day comes together."""
    day, month, year = text.split(b"-")
    return calendar.timegm((int(year), _MONTHS[month.lower()], int(day), 0, 0, 0))


@lru_cache(256)
def _zone(text: bytes) -> int:
    """Seconds east of Greenwich of `-0700`."""
    offset = (int(text[1:3]) * 60 + int(text[3:5])) * 60
    return -offset if text.startswith(b"-") else offset


def date_time(when: float) -> bytes:
    """An INTERNALDATE for APPEND, in UTC, in English whatever the locale (RFC 3501 §9 date-time)."""
    moment = time.gmtime(min(max(0.0, when), 253402300799.0))
    month = list(_MONTHS)[moment.tm_mon - 1].capitalize()
    return b"%02d-%s-%04d %02d:%02d:%02d +0000" % (moment.tm_mday, month, moment.tm_year, *moment[3:6])


def usual(source: wire.Wire) -> NewMessage | None:
    """The next message of a header fetch, if its answer is of the shape asked for and has arrived whole; else None.

    A sender's strings stand in BODYSTRUCTURE, where a line's end or a brace would be a literal of its own: what the
    pattern takes for the header's literal is the last thing on its line, so it is the server's.
    """
    match = _USUAL.match(source.buffer, source.start)
    if match is None:
        return None
    uid, names, date, size, modseq, structure, length = match.groups()
    start = match.end()
    end = start + int(length)
    if source.buffer[end : end + 3] != b")\r\n" or (modseq is None and b"MODSEQ" in structure):
        return None
    header = bytes(source.buffer[start:end])
    source.start = end + 3
    bits, words = flags(names)
    return NewMessage(
        int(uid), bits, words, internal_date(date), int(size), _attached(structure), int(modseq or 0), summarise(header)
    )


def message(response: wire.Response, lowest: int) -> NewMessage | None:
    """The same from a response of any shape; None if it is not about a message from UID `lowest` on."""
    found = fetched(response)
    if not found.uid or found.uid < lowest:
        return None
    told = found.flags or FlagsOf(found.uid, Flag(0), "")
    return NewMessage(
        found.uid, told.flags, told.keywords, found.date, found.size, found.attachments, told.modseq,
        summarise(found.header or b""),
    )  # fmt: skip


def fetched(response: wire.Response) -> Fetched:
    """The attributes of a FETCH response, in whatever order they came.

    What stands before BODYSTRUCTURE is the server's own; from there on a sender's strings may look
    like attributes, so the rest is searched with its structure taken out.
    """
    text = response.parts[0]
    header: bytes | None = None
    body: bytes | None = None
    for place in range(1, len(response.parts), 2):
        before = response.parts[place - 1]
        if (match := _SECTION.match(before, max(0, before.rfind(b"BODY[")))) is None:
            continue
        if match[1]:
            header = response.parts[place]
        else:
            body = response.parts[place]
    structure = text.find(b"BODYSTRUCTURE (")
    plain = text if structure < 0 else text[:structure]
    uid, maybe, date, size = _attributes(plain)
    if not (uid and maybe and date and size and (maybe.modseq or not _behind(response, structure, b"MODSEQ"))):
        plain += b" " + _outside(response, max(structure, 0))
        uid, maybe, date, size = _attributes(plain)
    if header is None and body is None and (match := _SHORT.search(plain)):
        value = re.sub(rb"\\(.)", rb"\1", match[2], flags=re.S) if match[2] is not None else None
        header, body = (value or b"", None) if match[1] else (None, value)
    return Fetched(uid, maybe, date, size, _attachments(response), header, body)


def _attributes(plain: bytes) -> tuple[int, FlagsOf | None, int, int]:
    """(UID, flags, INTERNALDATE, size) in text that holds nothing of a sender's; 0 and None for what is missing."""
    bits, words = Flag(0), ""
    if flag_match := _FLAGS.search(plain):
        bits, words = flags(flag_match[1])
        plain = plain[: flag_match.start()] + plain[flag_match.end() :]  # a keyword may be called UID
    uid = wire.number(_first(_UID, plain))
    date = _first(_DATE, plain)
    found = FlagsOf(uid, bits, words, wire.number(_first(_MODSEQ, plain), 2**63 - 1)) if flag_match else None
    return uid, found, internal_date(date) if date else 0, wire.number(_first(_SIZE, plain), 2**40)


def _behind(response: wire.Response, structure: int, word: bytes) -> bool:
    """The word stands somewhere behind the beginning of BODYSTRUCTURE."""
    return word in response.parts[0][max(structure, 0) :] or any(word in part for part in response.parts[2::2])


def _attachments(response: wire.Response) -> bool:
    """Something in BODYSTRUCTURE is an attachment."""
    for place in range(0, len(response.parts), 2):
        start = response.parts[place].find(b"BODYSTRUCTURE (")
        if start >= 0:
            return _attached(b" ".join([response.parts[place][start:], *response.parts[place + 2 :: 2]]))
    return False


def _attached(structure: bytes) -> bool:
    """A guess that needs no tree."""
    low = structure.lower()
    return b'"attachment"' in low or (b'"application" "' in low and _ATTACHED.search(low) is not None)


def _first(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    match = pattern.search(text)
    return match[1] if match else b""


def _outside(response: wire.Response, start: int) -> bytes:
    """The text behind `start` that is neither a literal nor inside BODYSTRUCTURE."""
    whole = b" ".join([response.parts[0][start:], *response.parts[2::2]])
    if b"BODYSTRUCTURE (" not in whole:
        return b" ".join(response.parts[2::2])
    depth, inside, out = 0, False, []
    for token in _TOKEN.findall(whole):
        if token == b"BODYSTRUCTURE":
            inside, depth = True, 0
        elif inside:
            depth += (token == b"(") - (token == b")")
            inside = depth > 0
        else:
            out.append(token)
    return b" ".join(out).replace(b"( ", b"(").replace(b" )", b")")
