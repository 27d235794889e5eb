"""The composer under keys: what leaves, what stays, what survives, and what gets in by paste, path and editor."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from termmail.config import settings
from termmail.model.draft import Attachment, Draft, Kind, SendState
from termmail.store.db import Store
from termmail.ui import foreign
from termmail.ui.screens.compose import ComposeScreen
from termmail.ui.screens.dialogs import AskPath, Confirm
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled

HOSTILE = "a\x1b]52;c;UFdORUQ=\x07b\x9bc[@click=app.quit]d[/]\u202ee\u200bf"
ADA = "Ada Lovelace <ada@example.org>"


async def composing(pilot: Pilot[Any], draft: Draft | None = None) -> ComposeScreen:
    """The composer with a draft, or as the key opens it."""
    app: Any = pilot.app
    app.run_task(app.writing.open(draft) if draft else app.writing.new())
    await until(lambda: isinstance(app.screen, ComposeScreen) and app.screen.focused)
    await pilot.pause()
    found = app.screen
    assert isinstance(found, ComposeScreen)
    return found


async def typed(pilot: Pilot[Any], text: str) -> None:
    await pilot.press(*({" ": "space", "\n": "enter", "@": "at"}.get(char, char) for char in text))


def value(composer: ComposeScreen, name: str) -> str:
    return composer.query_one(f"#field-{name}", Input).value


def bar(composer: ComposeScreen) -> str:
    """What the bar says."""
    strips = [composer.bar.render_line(y) for y in range(composer.bar.size.height)]
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def draft(**fields: Any) -> Draft:
    known: dict[str, Any] = {
        "account": "home", "sender": ADA, "to": "grace@navy.example", "subject": "Tables", "body": "Dear Grace,\n",
    }  # fmt: skip
    return Draft(**{**known, **fields})


async def test_what_is_typed_and_reviewed_leaves_as_it_was_typed(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        composer = await composing(pilot)
        await typed(pilot, "grace@navy.example\nNotes, again\nDear Grace,\n\nall is well.")
        await pilot.press("escape")
        assert composer.reviewing
        await pilot.press("y")
        await until(lambda: filled.store.queue.outbox())
        await until(lambda: pilot.app.screen is pilot.app.mail)  # type: ignore[attr-defined]
        (out,) = filled.store.queue.outbox()
        assert (out.state, out.subject, out.account) == (SendState.QUEUED, "Notes, again", "home")
        assert [one.email for one in out.recipients] == ["grace@navy.example"]
        message = message_from_bytes(filled.store.queue.raw(out.id), policy=policy.default)
        assert (message["To"], message["Subject"], message["From"]) == ("grace@navy.example", "Notes, again", ADA)
        assert message.get_content().split() == ["Dear", "Grace,", "all", "is", "well."]
        assert filled.store.queue.drafts() == []


async def test_an_account_that_cannot_send_says_so_before_anything_is_queued(filled: Filled, opened: Opened) -> None:
    loaded = settings.load(filled.paths.settings).settings.account("home")
    assert loaded is not None
    settings.save_account(filled.paths.settings, replace(loaded, outgoing=None))
    async with opened(filled, size=(80, 24)) as pilot:
        composer = await composing(pilot, draft())
        await pilot.press("escape")
        assert "no outgoing server" in bar(composer).replace("\n", " ")
        await pilot.press("y")
        await pilot.pause()
        assert pilot.app.screen is composer
        assert filled.store.queue.outbox() == []


async def test_bcc_is_in_the_envelope_only(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        await pilot.press("escape", "b")
        await typed(pilot, "secret@example.net")
        await pilot.press("ctrl+s")
        assert composer.reviewing
        await pilot.press("y")
        await until(lambda: filled.store.queue.outbox())
        (out,) = filled.store.queue.outbox()
        assert {one.email for one in out.recipients} == {"grace@navy.example", "secret@example.net"}
        assert b"secret@" not in filled.store.queue.raw(out.id)


async def test_a_draft_that_cannot_leave_says_why_and_leads_to_the_field(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(to="grace@navy.example, nonsense"))
        await pilot.press("escape")
        assert "nonsense" in bar(composer)
        assert "send" not in bar(composer)
        await pilot.press("y")
        await until(lambda: composer.focused is composer.query_one("#field-to"))
        await until(lambda: "nonsense" in bar(composer))
        assert filled.store.queue.outbox() == []
        assert value(composer, "to") == "grace@navy.example, nonsense"


async def test_a_forgotten_attachment_is_named_and_sent_all_the_same_on_y(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(body="The plan is attached.\n"))
        await pilot.press("escape")
        assert "attached" in bar(composer)
        assert "send anyway" in bar(composer)
        await pilot.press("y")
        await until(lambda: filled.store.queue.outbox())


async def test_a_key_after_a_dialog_does_not_write_into_a_field(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        for key in ("i", "a"):
            await pilot.press("escape", key)
            await until(lambda: pilot.app.screen is not composer)
            await pilot.press("escape")
            await until(lambda: pilot.app.screen is composer)
            assert composer.reviewing
            await pilot.press("x")
            assert value(composer, "to") == "grace@navy.example"
            await pilot.press("e")


async def test_entering_a_field_does_not_select_what_stands_there(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        composer.query_one("#field-to").focus()
        await pilot.pause()
        await pilot.press("x")
        assert value(composer, "to") == "grace@navy.examplex"


async def test_hostile_pastes_are_harmless_in_every_field(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(to="", subject="", body=""))
        for name in ("to", "cc", "bcc", "subject"):
            composer._focus(name)
            await pilot.pause()
            pilot.app.post_message(events.Paste(f"{HOSTILE}\r\nBcc: evil@example.org"))
            await until(lambda name=name: value(composer, name))
            assert value(composer, name).isprintable()
            assert "\u202e" not in value(composer, name)
        composer.editor.focus()
        await pilot.pause()
        pilot.app.post_message(events.Paste(f"{HOSTILE}\nsecond"))
        await until(lambda: composer.editor.text)
        await pilot.pause()
        assert composer.editor.text.count("second") == 1, "a paste goes in once"
        assert composer.editor.text.replace("\n", "").isprintable()
        assert value(composer, "subject").endswith("Bcc: evil@example.org"), "one line, nothing lost"


async def test_pasted_addresses_are_joined_by_commas(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(to=""))
        pilot.app.post_message(events.Paste("ada@example.org,\ngrace@navy.example\n\n"))
        await until(lambda: value(composer, "to"))
        assert value(composer, "to") == "ada@example.org, grace@navy.example"


async def test_a_megabyte_can_be_pasted_and_undone(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(body="before"))
        composer.editor.focus()
        await pilot.pause()
        pilot.app.post_message(events.Paste("a line of text\n" * 70_000))
        await until(lambda: len(composer.editor.text) > 1_000_000, 60)
        await pilot.press("ctrl+z")
        await until(lambda: composer.editor.text == "before", 60)


async def test_what_was_typed_is_in_the_database_without_leaving_the_field(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        assert filled.store.queue.drafts() == [], "nothing was typed yet"
        composer.editor.focus()
        await pilot.pause()
        await typed(pilot, "kept")
        await until(lambda: filled.store.queue.drafts(only_open=True))
        second = Store.open(filled.paths)  # as the next termmail would see it after a kill
        try:
            (found,) = second.queue.drafts(only_open=True)
            assert found.body == "keptDear Grace,\n"
        finally:
            second.close()


async def test_keeping_keeps_and_what_is_kept_goes_on(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        await composing(pilot, draft(cc="mary@example.org"))
        await pilot.press("escape", "p")
        await until(lambda: pilot.app.screen is pilot.app.mail)  # type: ignore[attr-defined]
        (found,) = filled.store.queue.drafts()
        assert filled.store.queue.drafts(only_open=True) == []
        again = await composing(pilot, found)
        assert value(again, "cc") == "mary@example.org"
        assert again.query_one("#row-cc").display
        assert not again.query_one("#row-bcc").display


async def test_throwing_away_asks_only_where_something_would_be_lost(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        await composing(pilot, draft())
        await pilot.press("escape", "n")
        await until(lambda: pilot.app.screen is pilot.app.mail)  # type: ignore[attr-defined]
        composer = await composing(pilot, draft())
        composer.editor.focus()
        await pilot.pause()
        await typed(pilot, "x")
        await pilot.press("escape", "n")
        await until(lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: pilot.app.screen is composer)
        assert composer.editor.text.startswith("x")
        await pilot.press("n")
        await until(lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await until(lambda: pilot.app.screen is pilot.app.mail)  # type: ignore[attr-defined]
        assert filled.store.queue.drafts() == []


async def test_a_file_is_attached_by_a_completed_path_and_arrives(
    filled: Filled, opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "column seven.csv").write_bytes(b"1,2\n")
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        await pilot.press("escape", "a")
        await until(lambda: isinstance(pilot.app.screen, AskPath))
        await typed(pilot, f"{tmp_path}/tab")
        await pilot.press("tab", "tab", "enter")
        await until(lambda: pilot.app.screen is composer)
        await until(lambda: composer.draft.attachments)
        assert composer.draft.attachments[0].filename == "column seven.csv"
        assert filled.store.queue.drafts()[0].attachments[0].path == str(tmp_path / "tables" / "column seven.csv")
        await pilot.press("y")
        await until(lambda: filled.store.queue.outbox())
        message = message_from_bytes(filled.store.queue.raw(filled.store.queue.outbox()[0].id), policy=policy.default)
        (part,) = message.iter_attachments()  # type: ignore[attr-defined]
        assert (part.get_filename(), part.get_payload(decode=True)) == ("column seven.csv", b"1,2\n")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
async def test_what_cannot_be_attached_is_said(filled: Filled, opened: Opened, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        await pilot.press("escape", "a")
        await until(lambda: isinstance(pilot.app.screen, AskPath))
        await typed(pilot, str(path))
        await pilot.press("enter")
        await until(lambda: "cannot be attached" in bar(composer))
        assert composer.draft.attachments == ()


async def test_a_file_that_has_gone_stops_the_sending_in_words(filled: Filled, opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "gone.txt"
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(attachments=(Attachment("gone.txt", "text/plain", str(path), size=3),)))
        await pilot.press("escape")
        assert "gone.txt" in bar(composer)
        await pilot.press("y")
        await pilot.press("r")
        await until(lambda: not composer.draft.attachments)
        await pilot.press("y")
        await until(lambda: filled.store.queue.outbox())


async def test_the_sender_changes_by_key_and_takes_its_account_along(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft())
        composer._focus("from")
        await pilot.pause()
        await pilot.press("right")
        await until(lambda: composer.draft.account == "work")
        assert composer.draft.sender == "Ada Lovelace <ada@engine.example>"
        await pilot.press("right")
        await until(lambda: composer.draft.account == "home")
        await pilot.press("left")
        await until(lambda: composer.draft.account == "work")


async def test_the_signature_changes_with_the_account(filled: Filled, opened: Opened) -> None:
    text = filled.paths.settings.read_text("utf-8")
    text = text.replace('email = "ada@example.org"', 'email = "ada@example.org"\nsignature = "Ada, at home"')
    text = text.replace('email = "ada@engine.example"', 'email = "ada@engine.example"\nsignature = "Countess"')
    filled.paths.settings.write_text(text, "utf-8")
    async with opened(filled) as pilot:
        composer = await composing(pilot, draft(body="Hello\n\n-- \nAda, at home\n"))
        composer._write_as("work", "Ada Lovelace <ada@engine.example>")
        assert composer.editor.text == "Hello\n\n-- \nCountess\n"
        composer.editor.put("Hello\n\n-- \nmy own words\n")
        composer._write_as("home", ADA)
        assert composer.editor.text == "Hello\n\n-- \nmy own words\n"


async def test_a_reply_is_queued_as_one(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        parent = filled.store.mail.page(filled.folders["INBOX"], limit=1)[0][1]
        await pilot.press("r")
        await until(lambda: isinstance(pilot.app.screen, ComposeScreen))
        await typed(pilot, "Yes.")
        await pilot.press("escape", "y")
        await until(lambda: filled.store.queue.outbox())
        (out,) = filled.store.queue.outbox()
        assert (out.kind, out.parent) == (Kind.REPLY, parent)


# -- an editor of the user's ------------------------------------------------------------------------


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """A terminal that needs no lending."""
    yield


def script(folder: Path, body: str) -> list[str]:
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return [str(path)]


def test_the_editor_gets_a_private_file_and_its_words_come_back_safe(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    words = script(
        tmp_path, f'stat -c %a "$1" "$(dirname "$1")" > {tmp_path}/modes; printf "new \\033]0;x\\007" > "$1"'
    )
    assert foreign.edit("old", words, runtime, 7, lent) == "new ␛]0;x␇"
    assert (tmp_path / "modes").read_text().split() == ["600", "700"]
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("body", ["exit 3", 'rm "$1"', 'rm "$1"; mkdir "$1"', "kill -9 $$"])
def test_an_editor_that_fails_changes_nothing_and_says_so(tmp_path: Path, body: str) -> None:
    with pytest.raises(foreign.TermmailError, match="the text is what it was"):
        foreign.edit("old", script(tmp_path, body), tmp_path, 7, lent)
    assert not list(tmp_path.glob("edit-*"))


def test_an_editor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(foreign.TermmailError, match=r"/no/such could not be run"):
        foreign.edit("old", ["/no/such"], tmp_path, 7, lent)


def test_visual_goes_before_editor_and_the_setting_before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "ed")
    monkeypatch.setenv("VISUAL", "vim -n")
    assert foreign.command("") == ["vim", "-n"]
    assert foreign.command("nano 'a b'") == ["nano", "a b"]
    with pytest.raises(foreign.TermmailError):
        foreign.command("'unfinished")


async def test_a_failing_editor_is_said_in_the_bar(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(filled) as pilot:
        monkeypatch.setattr(pilot.app, "suspend", lent)
        monkeypatch.setenv("VISUAL", "/no/such/editor")
        composer = await composing(pilot, draft())
        await pilot.press("escape", "E")
        await until(lambda: "could not be run" in bar(composer))
        assert composer.editor.text == "Dear Grace,\n"


async def test_what_the_editor_wrote_stands_in_the_text_and_undo_takes_it_back(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with opened(filled) as pilot:
        monkeypatch.setattr(pilot.app, "suspend", lent)
        monkeypatch.setenv("VISUAL", script(tmp_path, 'echo written >> "$1"')[0])
        composer = await composing(pilot, draft())
        await pilot.press("escape", "E")
        await until(lambda: composer.editor.text == "Dear Grace,\nwritten\n")
        assert filled.store.queue.drafts()[0].body == "Dear Grace,\nwritten\n"
        await pilot.press("e", "ctrl+z")
        await until(lambda: composer.editor.text == "Dear Grace,\n")


async def test_what_an_editor_saved_while_termmail_was_killed_is_taken_up(filled: Filled, opened: Opened) -> None:
    kept = draft(id=filled.store.queue.save_draft(draft()))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    left = filled.paths.runtime / f"edit-{kept.id}-{child}-abc"
    left.mkdir(mode=0o700)
    (left / foreign.FILE).write_text("saved in vim\n")
    os.utime(left / foreign.FILE, (time.time() + 60, time.time() + 60))
    async with opened(filled) as pilot:
        composer = await composing(pilot, filled.store.queue.draft(kept.id))
        assert composer.editor.text == "saved in vim\n"
        assert not left.exists()
        assert filled.store.queue.draft(kept.id).body == "saved in vim\n"


def test_the_file_of_an_editor_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    left = tmp_path / f"edit-5-{os.getpid()}-abc"
    left.mkdir()
    (left / foreign.FILE).write_text("in work")
    assert foreign.recovered(tmp_path, 5, 0.0) is None
    assert stat.S_ISREG((left / foreign.FILE).stat().st_mode)
