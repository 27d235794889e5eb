"""Messages made readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from termmail.mime import flowed, html
from termmail.mime.parse import file_name, parameters, parse
from termmail.mime.render import part_bytes, render, render_raw

FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def mail(body: str, kind: str = "text/plain; charset=utf-8", head: str = "") -> bytes:
    return (
        f"From: a@b.example\r\n{head}Content-Type: {kind}\r\n\r\n{body}".replace("\n", "\r\n")
        .replace("\r\r", "\r")
        .encode()
    )


def page(source: str, width: int = 60) -> str:
    return flowed.to_text(html.render(source, flowed.Links(), width=width).lines)


ALTERNATIVE = """--x
Content-Type: text/plain

the plain words
--x
Content-Type: text/html

<p>the <b>rich</b> words</p>
--x--
"""


def test_the_better_alternative_is_chosen_and_the_other_can_be() -> None:
    raw = mail(ALTERNATIVE, 'multipart/alternative; boundary="x"')
    plain, rich = render(raw), render(raw, prefer="html")
    assert (plain.text, plain.shown, plain.alternatives) == ("the plain words\n", "plain", ("plain", "html"))
    assert (rich.text, rich.shown) == ("the rich words\n", "html")


def test_parts_have_the_numbers_that_imap_gives_them() -> None:
    inner = 'Content-Type: multipart/mixed; boundary="y"\n\n--y\n\none\n--y\nContent-Type: image/png; name=a.png\n\ndata\n--y--\n'
    raw = mail(
        f"--x\n{inner}--x\nContent-Type: message/rfc822\n\nSubject: s\n\ntext\n--x--\n", 'multipart/mixed; boundary="x"'
    )
    numbers = [(node.n, node.type) for node in parse(raw).root.walk()]
    assert numbers == [
        ("", "multipart/mixed"), ("1", "multipart/mixed"), ("1.1", "text/plain"), ("1.2", "image/png"), ("2", "message/rfc822"),
        ("2.1", "text/plain"),
    ]  # fmt: skip
    found = part_bytes(raw, "1.2")
    assert found is not None
    assert (found[0].filename, found[1].strip()) == ("a.png", b"data")
    assert part_bytes(raw, "9") is None


def test_flowed_text_is_joined_and_quotes_are_counted() -> None:
    found = flowed.lines("a \nb\n> c \n> d\n>> e\n-- \nme\n", flowed.Links(), flowed=True)
    assert [("".join(s.text for s in line.spans), line.quote) for line in found] == [
        ("a b", 0), ("c d", 1), ("e", 2), ("-- ", 0), ("me", 0),
    ]  # fmt: skip
    assert found[-1].spans[0].ink == "signature"


def test_links_of_plain_text_are_numbered_once_each() -> None:
    links = flowed.Links()
    flowed.lines("see https://a.example/x, (https://b.example) and https://a.example/x.", links)
    assert [(link.n, link.url, link.host) for link in links.all()] == [
        (1, "https://a.example/x", "a.example"), (2, "https://b.example", "b.example"),
    ]  # fmt: skip


def test_a_patch_keeps_its_columns_and_is_coloured() -> None:
    found = flowed.lines("why\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n", flowed.Links())
    assert [line.spans[0].ink for line in found[-3:]] == ["hunk", "removed", "added"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<h1>Title</h1><p>one</p><p>two<br>three</p>", "Title\n\none\n\ntwo\nthree\n"),
        ("<ul><li>a<li>b<ol start=3><li>c</ol></ul>", "• a\n• b\n  3. c\n"),
        ("<blockquote>q<blockquote>r</blockquote></blockquote>", "> q\n>\n> > r\n"),
        ("a<script>b</script><style>c</style><!-- d -->e", "ae\n"),
        ("<pre>x\n  y</pre>", "x\n  y\n"),
        ("<a href='https://x.example/p'>words</a>", "words[1]\n"),
        ("<a href='javascript:alert(1)'>words</a>", "words\n"),
        ("<img alt='A cat'><img src=t.gif width=1>", "[A cat]\n"),
        ("a &amp; b&nbsp;c &#27;]52;c;x&#7;", "a & b c ␛]52;c;x␇\n"),
        ("one <b>two</b> <i>three</i>.", "one two three.\n"),
    ],
)
def test_html_reads_as_a_person_would_read_it(source: str, text: str) -> None:
    assert page(source) == text


def test_a_table_of_data_is_a_table_and_one_of_layout_is_not() -> None:
    data = "<table><tr><th>Name<th>Sum</tr><tr><td>Ada<td>12</tr><tr><td>Charles<td>7</tr></table>"
    assert page(data) == "Name     Sum\n───────  ───\nAda       12\nCharles    7\n"
    inside = f"<table role=presentation><tr><td><h1>T</h1>{data}</td></tr></table>"
    assert page(inside) == "T\n\nName     Sum\n───────  ───\nAda       12\nCharles    7\n"
    layout = "<table role=presentation><tr><td><p>One</p></td><td><p>Two</p></td></tr></table>"
    assert page(layout) == "One\n\nTwo\n"


def test_a_wide_table_fits_the_width() -> None:
    source = (
        "<table><tr><th>a<th>b</tr>" + "<tr><td>" + "long words " * 4 + "<td>" + "more words " * 4 + "</tr></table>"
    )
    assert max(map(len, page(source, 40).split("\n"))) <= 40


def test_what_is_hidden_is_counted_not_shown() -> None:
    done = html.render("<div style='display:none'>secret words</div><p>seen</p>", flowed.Links())
    assert flowed.to_text(done.lines) == "seen\n"
    assert done.hidden == len("secretwords")


def test_a_link_that_says_another_host_is_noticed() -> None:
    done = html.render(
        "<a href='https://evil.example/x'>https://bank.example</a> <a href='https://www.ok.example'>ok.example</a>",
        flowed.Links(),
    )
    assert done.lying == [("bank.example", "evil.example")]


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 40_000,
        "<a " * 50_000,
        "<" * 500_000,
        "<p " + "x=y " * 20_000 + ">",
        "<table>" * 3000 + "x",
        "&" * 300_000,
    ],
)
def test_hostile_html_ends(source: str) -> None:
    html.render(source, flowed.Links())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\x\\y.txt", "y.txt"), (".bashrc", "bashrc"), ("a\x1b]0;x.txt", "a_]0;x.txt"),
        ("", "attachment"), ("...", "attachment"), ("a" * 400 + ".pdf", "a" * 196 + ".pdf"),
        ("ü.txt", "ü.txt"), ("a\u202egnp.exe", "agnp.exe"),
    ],
)  # fmt: skip
def test_file_names_are_made_safe(name: str, safe: str) -> None:
    assert file_name(name) == safe


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ("attachment; filename*=utf-8''%e2%82%ac.txt", "€.txt"),
        ("attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac; filename*2=.txt", "€.txt"),
        ("attachment; filename==?utf-8?q?=C3=BC?=", "ü"),
        ("attachment; filename*=\x00''x", "x"),
        ("attachment; filename*999999=x", ""),
    ],
)
def test_parameters(value: str, name: str) -> None:
    assert parameters(value).get("filename", "") == name


def test_a_bounce_is_read_as_words() -> None:
    status = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
    status += "Final-Recipient: rfc822; no@x.example\nAction: failed\nDiagnostic-Code: smtp; 550 no such user\n"
    raw = mail(f"--x\n\nSorry.\n--x\n{status}--x--\n", 'multipart/report; report-type=delivery-status; boundary="x"')
    assert render(raw).text.startswith(
        "Your message was not delivered to no@x.example\nThe server said: 550 no such user\n"
    )


def test_what_is_suspicious_is_said() -> None:
    raw = mail("x", head="Reply-To: other@elsewhere.example\r\n")
    assert [w.kind for w in render(raw).warnings] == ["reply-to"]


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=600),
    st.sampled_from(["text/plain", "text/html", 'multipart/mixed; boundary="-"', "message/rfc822"]),
)
def test_no_bytes_raise_and_no_control_comes_out(body: bytes, kind: str) -> None:
    raw = f"Content-Type: {kind}\r\nSubject: ".encode() + body[:40] + b"\r\n\r\n" + body
    for document in (render(raw), render(raw, prefer="html"), render_raw(raw)):
        assert not FORBIDDEN.search(document.text)
        for line in document.lines:
            assert not any(FORBIDDEN.search(span.text) or "\n" in span.text for span in line.spans)
        for part in document.parts:
            assert not FORBIDDEN.search(part.filename + part.type + part.charset)


def test_all_public_test_mail_renders(corpora: Path) -> None:
    files = [path for path in sorted((corpora / "mail").rglob("*")) if path.is_file()]
    assert len(files) > 900
    for path in files:
        raw = path.read_bytes()
        for prefer in ("plain", "html"):
            document = render(raw, prefer=prefer)
            assert not FORBIDDEN.search(document.text), path
