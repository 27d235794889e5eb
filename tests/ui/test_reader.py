"""The reader: folding, quotations, header fields, and what a long text costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from termmail.model.document import Document, Line, Span
from termmail.model.message import Address
from termmail.store.db import Store
from termmail.text import SafeText, safe_block, safe_line
from termmail.ui.widgets.reader import folded, size
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled


def text_of(widget: Any) -> list[str]:
    return ["".join(s.text for s in widget.render_line(y)).rstrip() for y in range(widget.size.height)]


def document(lines: list[Line], **more: Any) -> Document:
    return Document(
        sender=(Address(safe_line("Grace"), safe_line("grace@navy.example")),),
        subject=safe_line("Tables"),
        lines=tuple(lines),
        **more,
    )


@given(st.text(alphabet="ab ü日本 \u0301x-", max_size=200), st.integers(8, 60), st.integers(0, 3))
def test_folding_loses_nothing_and_fits(text: str, width: int, quote: int) -> None:
    text = safe_block(text)
    line = Line((Span(SafeText(text)),), quote=quote)
    rows = folded(line, width)
    joined = "".join(span.text for spans, _, _ in rows for span in spans)
    assert joined.replace(" ", "") == text.replace(" ", "")
    room = max(8, width - 2 * quote)
    for spans, depth, _ in rows:
        assert depth == quote
        assert cell_len("".join(span.text for span in spans).rstrip()) <= room


def test_fixed_text_is_not_folded() -> None:
    assert len(folded(Line((Span(SafeText("x" * 300)),), wrap=False), 40)) == 1


def test_a_list_item_hangs() -> None:
    rows = folded(Line((Span(SafeText("one two three four five six")),), indent=4, hang=SafeText("  • ")), 16)
    assert [indent for _, _, indent in rows] == ["  • ", *["    "] * (len(rows) - 1)]


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (48_200, "48 kB"), (3_400_000, "3.4 MB")]
)
def test_sizes_are_said_as_people_say_them(number: int, words: str) -> None:
    assert size(number) == words


async def test_the_address_of_the_sender_is_always_shown_and_headers_on_a_key(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        reader = pilot.app.mail.reader  # type: ignore[attr-defined]
        await until(lambda: reader.document)
        head = "\n".join(text_of(reader)[:6])
        assert f"<{reader.document.sender[0].email}>" in head
        assert "Message-ID" not in head
        await pilot.press("H")
        assert "Message-ID: <60@engine.example>" in "\n".join(text_of(reader)[:8])


async def test_quotations_have_bars_and_signatures_their_own_ink(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        reader = pilot.app.mail.reader  # type: ignore[attr-defined]
        await until(lambda: reader.document)
        shown = text_of(reader)
        assert any(line.strip().startswith("▏ ▏ ▏ Then let us try") for line in shown)
        inks = {span.ink for line in reader.document.lines for span in line.spans}
        assert "signature" in inks


async def test_ascii_is_enough_where_it_is_asked_for(filled: Filled, opened: Opened) -> None:
    async with opened(filled, ui="ascii = true") as pilot:
        mail = pilot.app.mail  # type: ignore[attr-defined]
        await until(lambda: mail.reader.document)
        ours = text_of(mail.reader) + text_of(mail.tree_pane)
        assert all(line.isascii() for line in ours), [line for line in ours if not line.isascii()]
        assert not any(c in "".join(text_of(mail.list)) for c in "●★↩↪▌…")


async def test_a_long_text_is_drawn_by_the_screen_not_by_the_text(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = pilot.app.mail  # type: ignore[attr-defined]
        reader = mail.reader
        await until(lambda: reader.document)
        reader.show(document([Line((Span(safe_line(f"line {n}")),)) for n in range(12_000)]))
        await pilot.pause()
        mail.reading.opened = True
        mail.set_focus(reader)
        drawn = reader.drawn
        await pilot.press("j")
        await pilot.pause()
        assert reader.drawn - drawn <= 2 * reader.size.height
        await pilot.press("G")
        await pilot.pause()
        assert text_of(reader)[-1].endswith("line 11999")


async def test_space_reads_on_and_then_goes_to_the_next_unread(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 12)) as pilot:
        mail = pilot.app.mail  # type: ignore[attr-defined]
        await pilot.press("space")
        await until(lambda: mail.reader.document)
        first = mail.reading.shown
        await pilot.press("space")
        assert mail.reading.shown == first
        assert mail.reader.scroll_offset.y > 0
        for _ in range(3):  # keys that come while it opens do not skip it
            await pilot.press("space")
        await until(lambda: mail.reading.shown != first)
        assert mail.list.cursor == 1


async def test_a_poisonous_message_is_shown_as_source(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    from termmail.sandbox import Poison

    async def killed(*_: object, **__: object) -> Document:
        raise Poison("it took too long")

    async with opened(filled) as pilot:
        await poisoned(pilot, filled, monkeypatch, killed)


async def poisoned(pilot: Pilot[Any], filled: Filled, monkeypatch: pytest.MonkeyPatch, killed: Any) -> None:
    mail = pilot.app.mail  # type: ignore[attr-defined]
    await until(lambda: mail.reader.document)
    monkeypatch.setattr(mail.owner.sandbox, "render", killed)
    await pilot.press("j")
    await until(lambda: mail.reader.document and mail.reader.document.shown == "raw")
    row = filled.store.mail.row(mail.list.current())
    assert row is not None
    assert filled.store.mail.is_poison(row.message_id)


async def test_a_message_is_asked_for_when_no_other_process_writes(filled: Filled, opened: Opened) -> None:
    other = Store.open(filled.paths)
    async with opened(filled) as pilot:
        mail = pilot.app.mail  # type: ignore[attr-defined]
        mail.list.go(50)  # it has no body
        row = filled.store.mail.row(mail.list.current())
        assert row is not None
        with other.transaction():
            mail.reading.show(mail.list.current())
            assert mail.reader.words.startswith("Not here yet")
        asked = "SELECT 1 FROM body_wanted WHERE message_id = ?"
        await until(lambda: other.db.one(asked, (row.message_id,)))
    other.close()
