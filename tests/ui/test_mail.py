"""The mail screen under keys: what moves, what a verb does, and what it costs."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.strip import Strip

from termmail.link import Again
from termmail.model.account import AccountState, Role
from termmail.model.message import Flag, PlacementId
from termmail.ui.screens.mail import MailScreen
from termmail.ui.widgets.lines import Lines
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled, fill, message, profile, raw


def screen(pilot: Pilot[Any]) -> MailScreen:
    found = pilot.app.mail  # type: ignore[attr-defined]
    assert isinstance(found, MailScreen)
    return found


def lines(widget: Any) -> list[str]:
    """A widget as text."""
    return ["".join(s.text for s in widget.render_line(y)).rstrip() for y in range(widget.size.height)]


async def test_the_newest_message_is_previewed_at_start(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        assert mail.focused is mail.list
        await until(lambda: mail.reader.document)
        assert "Dear Ada," in "\n".join(lines(mail.reader))


async def test_columns_stand_in_line_whatever_the_width_of_the_letters(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(120, 40)) as pilot:
        mail = screen(pilot)
        from rich.cells import cell_len

        for line in lines(mail.list):
            assert cell_len(line) <= mail.list.size.width
        widths = {cell_len(line) for line in lines(mail.list) if line}
        assert len(widths) == 1, "dates end in one column"


async def test_a_cursor_key_draws_two_rows_and_asks_the_store_for_nothing(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("j")
        await pilot.pause()
        asked: list[str] = []
        execute = filled.store.mail.db.all
        monkeypatch.setattr(filled.store.mail.db, "all", lambda *a: asked.append(a[0]) or execute(*a))
        drawn = mail.list.drawn
        mail.list.go(mail.list.cursor + 1)
        await pilot.app.animator.wait_until_complete()
        await pilot.pause(0)
        assert mail.list.drawn - drawn <= 2
        assert not asked


async def test_mail_that_comes_where_nobody_looks_draws_no_row_and_lays_nothing_out(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(filled, size=(160, 24)) as pilot:
        mail = screen(pilot)
        await until(lambda: mail.reader.document)
        laid_out: list[object] = []
        reflow = mail._compositor.reflow
        monkeypatch.setattr(mail._compositor, "reflow", lambda *a: laid_out.append(a) or reflow(*a))
        drawn = mail.list.drawn
        filled.add("INBOX", [message(5000 + n, 1_000_000 + n) for n in range(5000)])
        mail.look_again(Again(everything=True))
        await until(lambda: mail.list.count() == 5060 and mail.list.view.complete)
        mail.list._grow()
        await pilot.pause()
        assert mail.list.virtual_size.height == 5060
        assert mail.list.drawn == drawn
        assert not laid_out


@pytest.mark.parametrize("layout", ["off", "right", "below"])
async def test_a_scrolled_line_draws_only_what_it_uncovers_and_leaves_the_rest_as_a_fresh_screen_would_be(
    filled: Filled, opened: Opened, layout: str
) -> None:
    rng = random.Random(layout)
    async with opened(filled, size=(160, 24), ui=f'layout = "{layout}"') as pilot:
        panes = (screen(pilot).list, screen(pilot).tree_pane, screen(pilot).reader)
        for pane in panes:
            pane.scroll_to(y=2, animate=False, force=True, immediate=True)
        for _ in range(12):
            await pilot.pause()
            for pane in panes:
                drawn, strips = pane.drawn, [strip.text for strip in shown(pane)]
                by = rng.choice((1, 1, 2, -1))
                before = pane.scroll_offset.y
                pane.scroll_to(y=before + by, animate=False, force=True, immediate=True)
                moved = pane.scroll_offset.y - before
                pane.redraw(pane.scroll_offset.y + 1)
                after = shown(pane)
                assert pane.drawn - drawn <= abs(moved) + 1
                pane.refresh()
                assert after == shown(pane), f"{pane} after {by} lines; before: {strips}"


def shown(pane: Lines) -> list[Strip]:
    """A pane as the compositor gets it."""
    return pane.render_lines(pane.outer_size.region)


async def test_paging_keeps_the_cursor_in_its_place_on_the_screen(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        mail = screen(pilot)
        await pilot.press("3", "j", "pagedown")
        assert mail.list.cursor == 3 + mail.list.size.height
        assert mail.list.scroll_offset.y == mail.list.size.height
        await pilot.press("ctrl+u")
        assert mail.list.cursor - mail.list.scroll_offset.y == 3
        await pilot.press("G")
        assert mail.list.cursor == 59
        await pilot.press("g", "g")
        assert mail.list.cursor == 0


async def test_the_list_comes_back_as_it_was_after_reading_on(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        mail = screen(pilot)
        await pilot.press("j", "enter", "J", "J", "h")
        await until(lambda: mail.list.size.height)
        await pilot.pause()
        assert (mail.list.cursor, mail.list.scroll_offset.y) == (3, 0)
        await pilot.press("enter", *("J",) * 30, "h")
        await pilot.pause()
        assert mail.list.cursor == 33
        assert 33 - mail.list.size.height < mail.list.scroll_offset.y <= 33


async def test_a_new_message_above_moves_neither_cursor_nor_scroll(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        mail = screen(pilot)
        await pilot.press("3", "0", "j")
        current, shown = mail.list.current(), lines(mail.list)
        filled.add("INBOX", [message(n, int(time.time())) for n in (900, 901)])
        mail.refresh_list()
        await pilot.pause()
        assert mail.list.current() == current
        assert lines(mail.list) == shown
        assert len(mail.list.view or ()) == 62


async def test_archiving_goes_to_the_next_message_and_undo_brings_it_back(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("j", "j")
        view = mail.list.view
        assert view is not None
        gone, following = view.ids[2], view.ids[3]
        await pilot.press("e")
        assert mail.list.current() == following
        assert gone not in view.ids
        assert "u undoes" in mail.status.words
        assert filled.store.mail.place(PlacementId(gone)).view_id == filled.folders["Archive"]
        await pilot.press("u")
        assert gone in view.ids


async def test_verbs_act_on_all_selected_and_tell_the_count(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("x", "x", "j", "x")
        assert len(mail.list.marked) == 3
        assert "3 selected" in lines(mail.title_line)[0]
        await pilot.press("d")
        assert "3" in mail.status.words
        assert len(mail.list.view or ()) == 57
        assert not mail.list.marked
        assert "selected" not in lines(mail.title_line)[0]


async def test_a_range_reaches_to_where_you_go(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("V", "4", "j", "s")
        rows = [mail.list.view.row(n) for n in range(6)] if mail.list.view else []
        assert [bool(row and row.flags & Flag.FLAGGED) for row in rows[:5]] == [True] * 5


@pytest.mark.parametrize(
    ("keys", "expected"), [("a", 60), ("n", 0), ("u", 20), ("r", 40)]
)  # fmt: skip
async def test_families_are_selected(filled: Filled, opened: Opened, keys: str, expected: int) -> None:
    async with opened(filled) as pilot:
        await pilot.press("x", "asterisk", *keys)
        assert len(screen(pilot).list.marked) == expected


async def test_deleting_for_ever_asks_first(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("D")
        await pilot.pause()
        assert pilot.app.screen is not mail
        await pilot.press("escape")
        await pilot.pause()
        assert len(mail.list.view or ()) == 60
        await pilot.press("D")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        await until(lambda: len(mail.list.view or ()) == 59)


async def test_a_message_is_moved_to_a_folder_found_by_a_few_letters(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        moved = mail.list.current()
        await pilot.press("v")
        await pilot.pause()
        await pilot.press(*"trav", "enter")
        await until(lambda: len(mail.list.view or ()) == 59)
        assert filled.store.mail.place(moved).view_id == filled.folders["Travel"]


async def test_opening_marks_as_read_and_closing_leaves_the_cursor(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        mail = screen(pilot)
        current = mail.list.current()
        await pilot.press("enter")
        await until(lambda: mail.reader.document)
        assert mail.focused is mail.reader
        assert not mail.list.display
        row = filled.store.mail.row(current)
        assert row is not None
        assert row.flags & Flag.SEEN
        await pilot.press("J")
        await until(lambda: mail.reading.shown == mail.list.current() != current)
        await pilot.press("q")
        assert mail.focused is mail.list
        assert mail.list.display


async def test_nothing_is_marked_when_the_setting_says_never(filled: Filled, opened: Opened) -> None:
    async with opened(filled, ui='mark-read = "never"') as pilot:
        mail = screen(pilot)
        current = mail.list.current()
        await pilot.press("enter")
        await until(lambda: mail.reader.document)
        await pilot.pause(0.05)
        row = filled.store.mail.row(current)
        assert row is not None
        assert not row.flags & Flag.SEEN


async def test_the_next_unread_message_and_the_next_folder_with_unread(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("n")
        assert mail.list.cursor == 1
        await pilot.press("n")
        assert mail.list.cursor == 6
        await pilot.press("N")
        assert mail.list.cursor == 1
        await pilot.press("right_square_bracket")
        assert mail.folder is not None
        assert mail.folder.path == "Lists/rust"


async def test_panes_fold_at_eighty_columns(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        mail = screen(pilot)
        assert not mail.tree_pane.display
        assert not mail.reader.display
        await pilot.press("h")
        await pilot.pause()
        assert mail.tree_pane.display
        assert not mail.query_one("#mailbox").display
        entry = mail.tree_pane.current()
        assert entry is not None
        assert entry.title == "Inbox"
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert mail.folder is not None
        assert mail.folder.role == Role.SENT
        assert mail.list.has_focus
        assert not mail.tree_pane.display


async def test_the_layout_goes_round_and_is_remembered(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        seen = []
        for _ in range(4):
            await pilot.press("z", "v")
            await pilot.pause()
            seen.append((mail.layout_choice, mail.reader.display))
        assert seen == [("right", True), ("below", True), ("off", False), ("auto", True)]
        await pilot.press("z", "v", "z", "v")
    again = fill_again(filled)
    async with opened(again) as pilot:
        assert screen(pilot).layout_choice == "below"
    again.store.close()


def fill_again(filled: Filled) -> Filled:
    """The same profile in a new store."""
    from termmail.store.db import Store

    return Filled(filled.paths, Store.open(filled.paths), filled.folders)


async def test_search_shows_what_is_found_and_q_goes_back(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"from:grace", "enter")
        await until(lambda: mail.searching)
        found = len(mail.list.view or ())
        assert 0 < found < 60
        assert "from:grace" in lines(mail.title_line)[0]
        await pilot.press("q")
        assert len(mail.list.view or ()) == 60


async def test_a_bad_search_says_what_is_wrong(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"is:purple", "enter")
        await until(lambda: mail.status.kind == "error")
        assert "purple" in mail.status.words


async def test_the_command_line_completes_and_runs_verbs(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        current = mail.list.current()
        await pilot.press("colon")
        await pilot.pause()
        await pilot.press(*"archi", "tab", "enter")
        await until(lambda: mail.list.current() != current)
        assert filled.store.mail.place(current).view_id == filled.folders["Archive"]
        await pilot.press("colon")
        await pilot.pause()
        await pilot.press(*"frobnicate", "enter")
        await until(lambda: mail.status.kind == "error")
        assert "frobnicate" in mail.status.words


async def test_letters_typed_into_a_field_are_not_verbs(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("colon")
        await pilot.pause()
        await pilot.press(*"deQ")
        assert mail.prompt.input.value == "deQ"
        assert len(mail.list.view or ()) == 60
        await pilot.press("escape")
        await pilot.pause()
        assert mail.list.has_focus


async def test_a_body_that_is_not_here_is_asked_for_and_shown_when_it_comes(tmp_path: Path, opened: Opened) -> None:
    filled = fill(profile(tmp_path / "home"), 5, bodies=0)
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await until(lambda: "Fetching" in mail.reader.words or "no connection" in mail.reader.words)
        row = filled.store.mail.row(mail.list.current())
        assert row is not None
        assert [one[0] for one in filled.store.mail.wanted_bodies(filled.store.mail.account_id("home"))] == [
            row.message_id
        ]
        filled.store.mail.put_body(row.message_id, raw(5))
        from termmail.link import Again

        mail.look_again(Again(bodies=frozenset({int(row.message_id)})))
        await until(lambda: mail.reader.document)
    filled.store.close()


async def test_a_body_that_cannot_be_had_says_why(tmp_path: Path, opened: Opened) -> None:
    from termmail.text import safe_line

    filled = fill(profile(tmp_path / "home"), 5, bodies=0)
    async with opened(filled) as pilot:
        mail = screen(pilot)
        row = filled.store.mail.row(mail.list.current())
        assert row is not None
        filled.store.mail.want_body(row.message_id)
        filled.store.mail.body_failed(row.message_id, safe_line("the server has lost it"))
        mail.reading.show(row.id)
        assert "the server has lost it" in mail.reader.words
    filled.store.close()


async def test_empty_folders_say_why_they_are_empty(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        state = filled.store.mail
        work = state.account_id("work")
        inbox = state.role_folder(work, Role.INBOX)
        assert inbox is not None
        state.set_folder_state(inbox.id, lo=1)
        mail.listing.go_to(inbox.id)
        await pilot.pause()
        assert "Inbox zero" in "\n".join(lines(mail.list))
        state.set_folder_state(inbox.id, lo=0, srv_total=50)
        state.set_account(work, state=AccountState.OFFLINE)
        mail.look_at_accounts()
        mail.listing.go_to(inbox.id)
        await pilot.pause()
        assert "No connection: showing what is here" in "\n".join(lines(mail.list))


async def test_a_fault_of_ours_becomes_words_and_a_log_entry(
    filled: Filled, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        monkeypatch.setitem(mail.commands, "help", lambda: 1 / 0)
        await pilot.press("question_mark")
        assert "ZeroDivisionError" in mail.status.words
        assert mail.status.kind == "error"
        await pilot.press("j")
        assert mail.list.cursor == 1
    assert "ZeroDivisionError" in caplog.text


async def test_an_unknown_key_says_where_to_look(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        await pilot.press("Z")
        assert "? shows the keys" in screen(pilot).status.words


async def test_own_keys_are_obeyed_and_wrong_ones_named(filled: Filled, opened: Opened) -> None:
    async with opened(filled, keys='[list]\n"X" = "archive"\n"Y" = "achrive"\n') as pilot:
        mail = screen(pilot)
        await pilot.pause(0.05)
        assert "achrive" in mail.status.words
        await pilot.press("X")
        assert len(mail.list.view or ()) == 59


async def test_help_lists_the_keys_of_the_pane(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert pilot.app.screen is not screen(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen is screen(pilot)


async def test_the_tree_folds_its_branches(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await pilot.press("h")
        await pilot.pause()
        tree = mail.tree_pane
        titles = [entry.title for entry in tree.entries]
        assert titles[:8] == ["home", "Inbox", "Drafts", "Sent", "Archive", "Junk", "Trash", "Lists"]
        tree.go(7)
        await pilot.press("h")
        assert len(tree.entries) == len(titles) - 2
        await pilot.press("l")
        assert [entry.title for entry in tree.entries] == titles
        assert "12" in lines(tree)[9]


async def test_a_million_messages_cost_no_more_per_key_than_ten(tmp_path: Path, opened: Opened) -> None:
    filled = fill(profile(tmp_path / "home"), 30_000, bodies=0)
    async with opened(filled) as pilot:
        mail = screen(pilot)
        await until(lambda: len(mail.list.view or ()) == 30_000)
        await pilot.press("G")
        assert mail.list.cursor == 29_999
        drawn = mail.list.drawn
        await pilot.press("k")
        await pilot.pause(0)
        assert mail.list.drawn - drawn <= 2 + mail.list.size.height  # the tail of the repaint of G
        drawn = mail.list.drawn
        mail.list.go(29_990)
        await pilot.pause(0)
        assert mail.list.drawn - drawn <= 2
    filled.store.close()


async def test_keys_typed_ahead_go_where_they_are_meant_to_go(filled: Filled, opened: Opened) -> None:
    from textual import events

    async with opened(filled, size=(80, 24)) as pilot:
        mail, app = screen(pilot), pilot.app

        def rush(*keys: str) -> None:
            for key in keys:
                app.post_message(events.Key(key, key if len(key) == 1 else {"slash": "/", "colon": ":"}.get(key)))

        rush("slash", *"evil")
        await until(lambda: mail.prompt.input.value == "evil")
        rush("escape")
        await until(lambda: not mail.prompt.display)
        rush("v", *"trav", "enter")
        await until(lambda: len(mail.list.view or ()) == 59)
        assert filled.store.mail.folder(filled.folders["Travel"]).total == 1
        assert filled.store.mail.folder(filled.folders["Archive"]).total == 0
        await until(lambda: app.screen is mail)
        rush("h", "j", "j", "enter")
        await until(lambda: mail.folder and mail.folder.role == Role.SENT)


async def test_the_help_stands_in_columns(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(100, 40)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        shown: list[str] = pilot.app.screen.lines  # type: ignore[attr-defined]
        words = {
            line.index(words)
            for line in shown
            for words in ("half a page down", "to the first", "undo")
            if line.endswith(words)
        }
        assert len(words) == 1
