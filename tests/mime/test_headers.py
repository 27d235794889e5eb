"""Header fields, as the net sends them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from termmail.mime import headers

FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def test_a_summary_of_an_ordinary_message() -> None:
    found = headers.summarise(
        b'From: "Grace Hopper" <grace@navy.example>\r\nTo: Ada <ada@x.example>, b@c.example\r\n'
        b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?= and\r\n more\r\nDate: Mon, 3 Mar 2025 09:41:00 +0100\r\n"
        b"Message-ID:\r\n <1@navy.example>\r\nReferences: <a@b> <c@d>\r\nIn-Reply-To: <c@d>\r\n\r\n"
    )
    assert (found.sender.name, found.sender.email) == ("Grace Hopper", "grace@navy.example")
    assert [str(a) for a in found.to] == ["Ada <ada@x.example>", "b@c.example"]
    assert found.subject == "grüße and more"
    assert found.date == 1740991260
    assert (found.message_id, found.in_reply_to, found.references) == ("<1@navy.example>", "<c@d>", ("<a@b>", "<c@d>"))


def test_of_doubled_fields_the_first_counts_and_any_order_will_do() -> None:
    found = headers.summarise(b"Subject: one\r\nFROM: a@b.example\r\nsubject: two\r\n\r\n")
    assert (found.subject, found.sender.email) == ("one", "a@b.example")


def test_a_reply_belongs_to_the_thread_of_its_root() -> None:
    root = headers.summarise(b"Message-ID: <a@b>\r\n\r\n")
    reply = headers.summarise(b"Message-ID: <x@y>\r\nReferences: <a@b> <c@d>\r\n\r\n")
    assert root.thread == reply.thread
    assert root.ident != reply.ident


@pytest.mark.parametrize(
    ("value", "name", "email"),
    [
        ("Grace <g@x.example>", "Grace", "g@x.example"),
        ('"Hopper, Grace" <g@x.example>', "Hopper, Grace", "g@x.example"),
        ("g@x.example (Grace)", "Grace", "g@x.example"),
        ("=?utf-8?b?RsO8LCBY?= <g@x.example>", "Fü, X", "g@x.example"),
        ("<g@x.example>", "", "g@x.example"),
        ("Foo <@route.x:g@x.example>", "Foo", "g@x.example"),
        ('"a \\"quoted\\" name" <g@x.example>', 'a "quoted" name', "g@x.example"),
        ("Grace", "Grace", ""),
        ("", "", ""),
        ("<", "", ""),
        ('"', "", ""),
    ],
)
def test_addresses_are_read_tolerantly(value: str, name: str, email: str) -> None:
    found = headers.addresses(value)
    assert ((found[0].name, found[0].email) if found else ("", "")) == (name, email)


def test_groups_are_opened_and_an_encoded_comma_separates_nothing() -> None:
    found = headers.addresses("team: a@b.example, =?utf-8?q?x=2C_y?= <c@d.example>; , e@f.example")
    assert [a.email for a in found] == ["a@b.example", "c@d.example", "e@f.example"]
    assert found[1].name == "x, y"


@pytest.mark.parametrize(
    ("value", "ambiguous"),
    [
        ("Grace <g@x.example>", False),
        ("Spoofed <spoofed@x.example> <legit@x.example>", True),
        ("alice@x.example)bob@evil.example", True),
        ("a@x.example, b@x.example", True),
        ('"a@b.example" <evil@x.example>', True),
    ],
)
def test_a_sender_that_programs_read_differently_is_ambiguous(value: str, ambiguous: bool) -> None:
    assert headers.one_sender(value)[1] is ambiguous


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Mon, 3 Mar 2025 09:41:00 +0100", 1740991260), ("3 Mar 25 09:41 EST", 1741012860), ("2025-03-03T09:41:00Z", 1740994860),
        ("Mon, 03 Mar 2025 09:41:00 GMT", 1740994860), ("Mon, 3 Mar 2025 09.41.00 -0030", 1740996660), ("yesterday", 0), ("", 0),
        ("32 Foo 2025 00:00", 0), ("Thu, 1 Jan 1969 00:00:00 +0000", 0), ("31 Dec 9999 23:59:59 +0000", 1 << 33),
    ],
)  # fmt: skip
def test_dates(value: str, seconds: int) -> None:
    assert headers.date(value) == seconds


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?b?w7w=?= and", "ü and"),
        ("=?utf-8?b?4oKs?= =?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€€"),
        ("=?x-unknown?q?abc?=", "abc"),
        ("=?unicode_escape?q?=5Cx1b?=", "\\x1b"),
        ("=?utf-8?q?a=0D=0ABcc:_evil?=", "a Bcc: evil"),
        ("=?iso-2022-jp?b?GyRCQ2Y0VjtSGyhC?=", "中間子"),
        ("=?utf-8?b?broken*base64?=", headers.decode("=?utf-8?b?broken*base64?=")),
    ],
)
def test_encoded_words(value: str, words: str) -> None:
    assert headers.decode(value) == words


@given(st.binary(max_size=400))
def test_no_bytes_raise_and_nothing_dangerous_comes_out(raw: bytes) -> None:
    for data in (raw, b"From: " + raw, b"Subject: " + raw + b"\r\nTo: " + raw + b"\r\nDate: " + raw):
        found = headers.summarise(data)
        for text in (
            found.subject,
            found.sender.name,
            found.sender.email,
            *(a.name for a in found.to),
            *(a.email for a in found.to),
        ):
            assert not FORBIDDEN.search(text)


@given(st.text(max_size=80))
def test_any_text_survives_being_encoded_and_read_again(text: str) -> None:
    from termmail.mime.compose import _encoded
    from termmail.text import safe_line

    assert headers.decode(_encoded(text)) == safe_line(text)
