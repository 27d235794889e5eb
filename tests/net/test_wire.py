"""Parsing and arguments: every order, every split, and strings that pretend to be protocol."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from termmail.model.errors import ConnectionLost, ProtocolError, Refused
from termmail.model.message import Flag
from termmail.net import stream
from termmail.net.imap import fetched, wire

HEADER = b"Subject: hi\r\nFrom: a@b.example\r\n\r\n"
ATTRIBUTES = [
    b"UID 7",
    b"FLAGS (\\Seen hobby UID RFC822.SIZE)",
    b'INTERNALDATE "17-Jul-1996 02:44:25 -0700"',
    b"RFC822.SIZE 4423",
    b"MODSEQ (12345678901)",
    b'BODYSTRUCTURE (("text" "plain" NIL NIL NIL "7bit" 5 1)("application" "pdf" ("name" "UID 9 (\\" FLAGS (\\\\Deleted)")'
    b' NIL NIL "base64" 99 NIL ("attachment" ("filename" " MODSEQ (1) UID 8")) NIL NIL) "mixed")',
    b"BODY[HEADER.FIELDS (SUBJECT FROM)] {%d}\r\n%s" % (len(HEADER), HEADER),
]


class Segments:
    """A socket that hands out what it was given, piece by piece, then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""

    def settimeout(self, seconds: float) -> None:
        assert seconds >= 0

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def send(self, data: bytes) -> int:
        self.sent += bytes(data)
        return len(data)

    def close(self) -> None: ...


def reader(*pieces: bytes) -> wire.Wire:
    return wire.Wire(Segments(*pieces))  # type: ignore[arg-type]


def parsed(text: bytes) -> fetched.Fetched:
    source = reader(text + b"\r\n")
    try:
        return fetched.fetched(source.response())
    finally:
        source.close()


def test_attributes_are_found_in_any_order():
    orders = list(itertools.permutations(ATTRIBUTES))
    for order in random.Random(1).sample(orders, 300):
        found = parsed(b"* 3 FETCH (" + b" ".join(order) + b")")
        assert (found.uid, found.size, found.date) == (7, 4423, 837596665), order
        assert found.flags is not None
        assert (found.flags.flags, found.flags.keywords) == (Flag.SEEN, "RFC822.SIZE UID hobby")
        assert found.flags.modseq == 12345678901
        assert found.attachments
        assert found.header == HEADER


@pytest.mark.parametrize("missing", range(len(ATTRIBUTES)))
def test_what_is_missing_is_not_made_up_from_what_a_sender_wrote(missing):
    found = parsed(b"* 3 FETCH (" + b" ".join(a for n, a in enumerate(ATTRIBUTES) if n != missing) + b")")
    assert found.uid == (0 if missing == 0 else 7)
    assert (found.flags is None) == (missing == 1)
    assert (found.date == 0) == (missing == 2)
    assert (found.size == 0) == (missing == 3)
    assert found.flags is None or (found.flags.modseq == 0) == (missing == 4)
    assert found.attachments == (missing != 5)
    assert (found.header is None) == (missing == 6)


def test_a_literal_inside_the_structure_is_not_taken_for_the_header():
    evil = b"x) UID 66 FLAGS (\\Deleted) BODY[] {3}"
    text = b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("name" {%d}\r\n%s) NIL NIL "7bit" 5 1) UID 5 FLAGS ())' % (
        len(evil), evil,
    )  # fmt: skip
    found = parsed(text)
    assert (found.uid, found.header, found.body) == (5, None, None)
    assert found.flags is not None
    assert found.flags.flags == Flag(0)


@pytest.mark.parametrize(
    ("text", "header", "body"),
    [
        (b'* 1 FETCH (UID 5 BODY[HEADER.FIELDS (DATE)] "Date: \\"x\\"\\\\")', b'Date: "x"\\', None),
        (b'* 1 FETCH (BODY[HEADER.FIELDS (DATE)] "" UID 5)', b"", None),
        (b"* 1 FETCH (UID 5 BODY[HEADER.FIELDS (DATE)] NIL)", b"", None),
        (b"* 1 FETCH (UID 5 BODY[HEADER] {2}\r\nhi)", b"hi", None),
        (b"* 1 FETCH (UID 5 BODY[] {2+}\r\nhi)", None, b"hi"),
        (b"* 1 FETCH (UID 5 BODY[] ~{2}\r\nhi)", None, b"hi"),
        (b'* 1 FETCH (UID 5 BODY[] "")', None, b""),
        (b"* 1 FETCH (UID 5 BODY[] NIL)", None, None),
    ],
)
def test_short_strings_may_come_without_a_literal(text, header, body):
    found = parsed(text)
    assert (found.uid, found.header, found.body) == (5, header, body)


def test_a_transcript_split_at_any_byte_reads_the_same():
    text = (
        b"* OK ready\r\n* 3 FETCH (" + b" ".join(ATTRIBUTES) + b")\r\n* 4 EXISTS\n"
        b'* LIST () "/" {4}\r\na\r\nb\r\n* 5 FETCH (UID 5 BODY[] {6}\r\nx\r\n\r\n{)\r\nT1 OK\r\n'
    )
    whole = _responses(text)
    assert len(whole) == 6
    for place in range(1, len(text)):
        assert _responses(text[:place], text[place:]) == whole, place
    assert _responses(*(bytes([byte]) for byte in text)) == whole


def test_a_compressed_transcript_reads_the_same():
    text = b"* 1 EXISTS\r\n* 5 FETCH (UID 5 BODY[] {6}\r\nx\r\n\r\n{)\r\n" * 50
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    small = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
    for size in (1, 7, 1000):
        pieces = [small[n : n + size] for n in range(3, len(small), size)]
        source = reader(b"* OK\r\n" + small[:3], *pieces)
        assert source.response().line == b"* OK"
        source.compress()
        assert [source.response().parts for _ in range(100)] == _responses(text)
        source.close()


def _responses(*pieces: bytes) -> list[list[bytes]]:
    source = reader(*pieces)
    out = []
    try:
        while True:
            out.append(source.response().parts)
    except ConnectionLost:
        return out
    finally:
        source.close()


@pytest.mark.parametrize("size", [2**31, 10**18, 128 << 20, 10**19])
def test_a_literal_over_the_limit_ends_the_connection_before_memory_is_spent(size):
    source = reader(b"* 1 FETCH (UID 5 BODY[] {%d}\r\n" % size, b"x")
    with pytest.raises(ProtocolError):
        source.response()
    assert len(source.buffer) < 100
    source.close()


def test_lines_and_chains_of_literals_have_an_end(monkeypatch):
    monkeypatch.setattr(stream, "LINE_LIMIT", 1 << 16)
    source = reader(*[b"x" * 4096] * 100)
    with pytest.raises(ProtocolError, match="without end"):
        source.response()
    source.close()
    monkeypatch.setattr(wire, "PARTS_LIMIT", 100)
    source = reader(b"* LIST {0}\r\n" + b"{0}\r\n" * 1000)
    with pytest.raises(ProtocolError):
        source.response()
    source.close()


def test_a_server_that_drips_runs_into_the_deadline(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(stream.time, "monotonic", lambda: clock[0])

    class Drip(Segments):
        def recv(self, size: int) -> bytes:
            clock[0] += 1.0
            return b"x"

    source = wire.Wire(Drip())  # type: ignore[arg-type]
    source.expect(60)
    with pytest.raises(ConnectionLost, match="in time"):
        source.line()
    assert clock[0] < 1000 + 62
    assert source.dead
    source.close()


def test_a_slow_line_may_take_as_long_as_it_flows(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(stream.time, "monotonic", lambda: clock[0])

    class Slow(Segments):
        def recv(self, size: int) -> bytes:
            clock[0] += 1.0
            return b"x" * 5000

    source = wire.Wire(Slow())  # type: ignore[arg-type]
    source.expect(60)
    assert len(source.exactly(5_000_000)) == 5_000_000
    source.close()


@given(st.sets(st.integers(1, 2**32 - 1) | st.integers(1, 60), max_size=300))
def test_sets_name_each_uid_once_within_the_limit(uids):
    seen: list[int] = []
    for text, part in wire.uid_sets(list(uids)):
        assert len(text) <= wire.SET_LIMIT
        assert wire.expand(text) == part
        seen += part
    assert seen == sorted(uids)


@pytest.mark.parametrize("text", [b"", b"1:*", b"a", b"1,,2", b"-1", b"1:4294967295", b"9" * 5000, b"0"])
def test_sets_that_are_no_sets_are_protocol_errors(text):
    with pytest.raises(ProtocolError):
        wire.expand(text)
    wire.ranges(text)


@given(st.binary(max_size=60) | st.text(max_size=40))
def test_an_argument_is_one_string_or_is_refused(value):
    data = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    if any(byte < 32 or byte == 127 for byte in data):
        with pytest.raises(Refused):
            wire.argument(value)
        return
    made = wire.argument(value)
    if made.startswith(b"{"):
        assert made == b"{%d}\r\n" % len(data) + data
    else:
        assert made[:1] == made[-1:] == b'"'
        inner = made[1:-1]
        assert inner.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') == 0
        assert inner.replace(b'\\"', b'"').replace(b"\\\\", b"\\") == data


@pytest.mark.parametrize(
    "command", [b"T1 NOOP\r\nT2 DELETE INBOX", b"T1 X {3}\r\nab", b"T1 X\nT2 Y", b"T1 X\rT2 Y", b"T1 X\0", b"T1\r\n"]
)
def test_a_command_with_a_line_end_inside_is_never_sent(command):
    for plus in (False, True):
        with pytest.raises(Refused):
            wire.flights(command, plus=plus)


def test_literals_wait_for_leave_unless_the_server_gives_it_in_advance():
    command = b'T1 RENAME {2}\r\n\xc3\xa9 {3}\r\n"\xc3\xa8'
    assert wire.flights(command, plus=False) == [b"T1 RENAME {2}\r\n", b"\xc3\xa9 {3}\r\n", b'"\xc3\xa8\r\n']
    assert wire.flights(command, plus=True) == [b'T1 RENAME {2+}\r\n\xc3\xa9 {3+}\r\n"\xc3\xa8\r\n']


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"17-Jul-1996 02:44:25 -0700", 837596665),
        (b" 1-Jan-1970 00:00:01 +0000", 1),
        (b"01-jan-1970 01:00:01 +0100", 1),
        (b"01-Jan-1900 00:00:00 +0000", 0),
        (b"99-Foo-1970 00:00:00 +0000", 0),
        (b"01-Jan-99999999 00:00:00 +0000", 0),
        (b"nonsense", 0),
        (b"", 0),
    ],
)
def test_internal_dates_are_read_and_nonsense_is_zero(text, seconds):
    assert fetched.internal_date(text) == seconds


@given(st.integers(0, 4_000_000_000))
def test_a_date_that_is_written_is_read_again(when):
    assert fetched.internal_date(fetched.date_time(when)) == when


@pytest.mark.parametrize("when", [-5.0, 1e30])
def test_a_date_no_calendar_has_is_still_written(when):
    assert len(fetched.date_time(when)) == 26


@given(st.binary(max_size=300))
def test_no_response_breaks_the_parser(junk):
    source = reader(b"* 1 FETCH (" + junk + b"\r\n" * 3)
    try:
        fetched.fetched(source.response())
    except (ConnectionLost, ProtocolError):
        pass
    finally:
        source.close()


def test_numbers_that_no_database_takes_are_not_believed():
    assert wire.number(b"4294967295") == 2**32 - 1
    assert wire.number(b"4294967296") == 0
    assert wire.number(b"9" * 5000) == 0
    assert wire.number(None) == wire.number(b"x") == 0
    found = parsed(b"* 1 FETCH (UID 9999999999 MODSEQ (99999999999999999999) FLAGS ())")
    assert found.uid == 0
    assert found.flags is not None
    assert found.flags.modseq == 0


def test_flags_keep_their_keywords_and_drop_what_is_none():
    assert fetched.flags(b"\\Seen \\Recent $Forwarded b A \xff\x1b") == (
        Flag.SEEN | Flag.FORWARDED, "A b \ufffd\u241b",
    )  # fmt: skip
