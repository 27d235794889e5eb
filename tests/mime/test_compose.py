"""Drafts into bytes, and what must not leave."""

from __future__ import annotations

import email
import email.policy
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from termmail.mime import compose, headers
from termmail.mime.render import part_bytes, render
from termmail.model.draft import Attachment, Draft, Kind
from termmail.model.errors import MessageError

DRAFT = Draft(
    account="home", sender="Ada <ada@x.example>", to="Grace <g@navy.example>", subject="Hello", body="words\n"
)


def test_the_bytes_say_what_the_draft_says() -> None:
    draft = DRAFT.but(
        to='"Hopper, Grace" <g@navy.example>, Zoë <zoe@exämple.org>', cc="c@x.example", subject="Größe " * 30,
        body="Größe\n> quoted\n" + "long words " * 30 + "\nFrom here\n-- \nAda\n",
        attachments=(Attachment("Übersicht.txt", "text/plain", data=b"\x00\xff" * 50, size=100),),
    )  # fmt: skip
    built = compose.build(draft)
    other = email.message_from_bytes(built.raw, policy=email.policy.default)
    assert other["subject"] == ("Größe " * 30).strip()
    assert [a.addr_spec for a in other["to"].addresses] == ["g@navy.example", "zoe@xn--exmple-cua.org"]
    text, attached = other.iter_parts()
    assert b"filename*=utf-8''%C3%9Cbersicht.txt" in built.raw
    assert render(built.raw).parts[-1].filename == "Übersicht.txt"
    assert attached.get_content() == b"\x00\xff" * 50 or attached.get_payload(decode=True) == b"\x00\xff" * 50
    again = render(built.raw)
    assert "long words " * 29 in again.text
    assert "\n> quoted\n" in again.text
    assert "\nFrom here\n" in again.text
    assert built.recipients == ("g@navy.example", "zoe@xn--exmple-cua.org", "c@x.example")
    assert "From " not in {line[:5] for line in built.raw.decode().split("\r\n")}
    assert text.get_content_type() == "text/plain"


def test_bcc_is_in_the_envelope_only() -> None:
    built = compose.build(DRAFT.but(bcc="Secret <secret@hidden.example>"))
    assert "secret@hidden.example" in built.recipients
    assert b"secret" not in built.raw.lower()
    assert b"bcc" not in built.raw.lower()


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_subject_or_body_makes_a_header(subject: str, body: str) -> None:
    try:
        built = compose.build(DRAFT.but(subject=subject, body=body))
    except MessageError:
        assert re.search(r"[\x00-\x1f\x7f]", subject)
        return
    names = [name for name, _ in headers.fields(built.raw)]
    assert names[:2] == ["From", "To"]
    assert "Bcc" not in names
    assert all(len(line) <= 998 for line in built.raw.split(b"\r\n"))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", built.raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "a\r\nBcc: evil@x.example"}, {"to": "a@b.example\r\nBcc: evil@x.example"},
        {"to": "not an address"}, {"to": ""},
        {"sender": "nobody"}, {"attachments": (Attachment("x", path="/nonexistent/file"),)},
    ],
)  # fmt: skip
def test_what_is_wrong_is_not_sent(changes: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        compose.build(DRAFT.but(**changes))


def test_a_reply_goes_where_it_should_and_not_to_oneself() -> None:
    document = render(
        b"From: Grace <g@navy.example>\r\nTo: Ada <ada@x.example>, Bob <b@x.example>\r\nCc: c@x.example, ADA@x.example\r\n"
        b"Subject: Re: AW: plan\r\nMessage-ID: <1@navy.example>\r\nReferences: <0@navy.example>\r\n\r\nfirst\r\n> older\r\n"
    )
    draft = compose.reply(document, account="home", identity="Ada <ada@x.example>", own=["ada@x.example"], to_all=True)
    assert (draft.to, draft.cc, draft.subject) == (
        "Grace <g@navy.example>",
        "Bob <b@x.example>, c@x.example",
        "Re: plan",
    )
    assert draft.references == ("<0@navy.example>", "<1@navy.example>")
    assert "> first\n>> older\n" in draft.body
    assert draft.kind == Kind.REPLY
    alone = compose.reply(document, account="home", identity="Ada <ada@x.example>", own=["ada@x.example"], to_all=False)
    assert alone.cc == ""


def test_reply_to_is_honoured_and_an_own_message_is_answered_to_its_readers() -> None:
    def answered(raw: bytes) -> str:
        document = render(raw)
        return compose.reply(document, account="h", identity="me@x.example", own=["me@x.example"], to_all=False).to

    assert answered(b"From: a@x.example\r\nReply-To: list@x.example\r\nTo: b@x.example\r\n\r\nx") == "list@x.example"
    assert answered(b"From: me@x.example\r\nTo: b@x.example\r\n\r\nx") == "b@x.example"


def test_a_forward_carries_the_attachments_or_the_whole() -> None:
    built = compose.build(DRAFT.but(attachments=(Attachment("a.pdf", "application/pdf", data=b"%PDF", size=4),)))
    document = render(built.raw)
    inline = compose.forward(built.raw, document, account="home", identity="Ada <ada@x.example>", inline=True)
    assert [(a.filename, a.data) for a in inline.attachments] == [("a.pdf", b"%PDF")]
    assert inline.subject == "Fwd: Hello"
    assert "Forwarded message" in inline.body
    whole = compose.forward(built.raw, document, account="home", identity="Ada <ada@x.example>", inline=False)
    again = compose.build(whole.but(to="b@x.example"))
    found = part_bytes(again.raw, "2")
    assert found is not None
    assert found[0].type == "message/rfc822"


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("see the attached file", ["forgotten"]), ("anbei die Datei", ["forgotten"]), ("ci-joint le plan", ["forgotten"]),
        ("no files\n> see the attached file", []), ("", ["empty"]),
    ],
)  # fmt: skip
def test_what_should_be_said_before_sending(body: str, kinds: list[str]) -> None:
    assert [problem.kind for problem in compose.check(DRAFT.but(body=body))] == kinds


def test_a_message_of_another_program_keeps_its_bytes_but_for_bcc() -> None:
    raw = b"From: ada@x.example\nTo: b@x.example\nBcc: c@x.example,\n d@x.example\nSubject: x\n\n.dot\nbody\n"
    built = compose.from_bytes(raw, [], from_headers=True, sender="ada@x.example")
    assert built.recipients == ("b@x.example", "c@x.example", "d@x.example")
    assert b"c@x.example" not in built.raw
    assert built.raw.endswith(b"\r\n\r\n.dot\r\nbody\r\n")
    assert b"\r\nMessage-ID: <" in built.raw
    with pytest.raises(MessageError, match="nobody"):
        compose.from_bytes(b"Subject: x\n\nbody", [], from_headers=True, sender="a@x.example")


def test_answers_to_all_public_test_mail_hold_our_headers_only(corpora: Path) -> None:
    count = 0
    for path in sorted((corpora / "mail").rglob("*")):
        if not path.is_file():
            continue
        document = render(path.read_bytes())
        draft = compose.reply(document, account="h", identity="Ada <ada@x.example>", own=["ada@x.example"], to_all=True)
        if any(problem.fatal for problem in compose.check(draft)):  # nobody, or nonsense, to answer to
            continue
        built = compose.build(draft)
        count += 1
        names = [name for name, _ in headers.fields(built.raw)]
        assert set(names) <= {
            "From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "User-Agent", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding",
        }, path  # fmt: skip
    assert count > 700
