"""Small questions: what is typed finds, what is chosen comes back, and nothing from outside is obeyed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import ModalScreen

from termmail.text import SafeText, safe_line
from termmail.ui.screens.dialogs import AskPath, AskText, Choose, Confirm, SavePath, ShowText, _Choices, _Text, score
from termmail.ui.widgets.fields import LineInput, complete
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled

MARKUP = SafeText("[@click=app.quit]Invoice[/] [/x]")


async def asked(pilot: Pilot[Any], dialog: ModalScreen[Any]) -> asyncio.Task[Any]:
    app: Any = pilot.app
    task = asyncio.get_running_loop().create_task(app.ask(dialog))
    await until(lambda: app.screen is dialog)
    await pilot.pause()
    return task


def items(*labels: str) -> list[tuple[str, SafeText, SafeText]]:
    return [(label, safe_line(label), SafeText("")) for label in labels]


def test_whole_words_go_before_letters_and_all_words_must_be_there() -> None:
    labels = ["Archive/2024", "Charter hive", "Lists/archery", "Work/Archive"]
    ranked = sorted(labels, key=lambda label: -score("archive", label))
    assert ranked[0] == "Archive/2024"
    assert set(ranked[:2]) == {"Archive/2024", "Work/Archive"}
    assert score("arch work", "Work/Archive") > 0
    assert score("arch work", "Archive/2024") == 0
    assert score("wrk", "Work/Archive") > 0
    assert score("", "anything") > 0


async def test_typing_finds_and_enter_takes_the_best(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        task = await asked(pilot, Choose(SafeText("Move to"), items("Inbox", "Lists/rust", "Travel", "Trash")))
        await pilot.press("t", "r", "down", "up", "ctrl+n", "enter")
        assert await task == "Travel"


async def test_five_thousand_folders_are_drawn_by_the_screenful(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        dialog = Choose(SafeText("Move to"), items(*(f"Folder {n}" for n in range(5_000))))
        task = await asked(pilot, dialog)
        choices = dialog.query_one(_Choices)
        assert choices.drawn < 100
        for char in "4711":
            await pilot.press(char)
        await until(lambda: len(choices.items) == 1)
        await pilot.press("enter")
        assert await task == "Folder 4711"


async def test_where_nothing_fits_enter_takes_nothing_and_escape_leaves(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        dialog = Choose(SafeText("Move to"), items("Inbox"))
        task = await asked(pilot, dialog)
        await pilot.press("z", "enter")
        assert pilot.app.screen is dialog
        await pilot.press("escape")
        assert await task is None


@pytest.mark.parametrize(("key", "answer"), [("y", True), ("enter", True), ("n", False), ("escape", False)])
async def test_a_question_is_answered_by_one_key(filled: Filled, opened: Opened, key: str, answer: bool) -> None:
    async with opened(filled) as pilot:
        task = await asked(pilot, Confirm(SafeText("Delete for ever?"), "delete"))
        await pilot.press(key)
        assert await task is answer


async def test_markup_in_titles_items_and_texts_is_text(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        for dialog in (
            Choose(MARKUP, items(MARKUP)), Confirm(MARKUP), AskText(MARKUP, MARKUP), AskPath(MARKUP), ShowText(MARKUP, [MARKUP]),
        ):  # fmt: skip
            task = await asked(pilot, dialog)
            strips = pilot.app.screen._compositor.render_strips()
            text = "\n".join("".join(segment.text for segment in strip) for strip in strips)
            assert "[@click=app.quit]Invoice" in text
            assert not any(s.style and s.style.meta.get("@click") for strip in strips for s in strip)
            await pilot.press("escape")
            await task


async def test_a_line_comes_back_as_typed(filled: Filled, opened: Opened) -> None:
    async with opened(filled) as pilot:
        task = await asked(pilot, AskText(SafeText("New name"), "Trav"))
        await pilot.press("e", "l", "enter")
        assert await task == "Travel"


async def test_long_lines_of_a_text_are_folded_and_the_end_can_be_reached(filled: Filled, opened: Opened) -> None:
    async with opened(filled, size=(80, 24)) as pilot:
        words = " ".join(f"word{n}" for n in range(120))
        dialog = ShowText(SafeText("Notice"), [f"  {words}", "", "日本語" * 60, "end \x1b[2J"])
        await asked(pilot, dialog)
        text = dialog.query_one(_Text)
        joined = " ".join(row.strip() for row in text.rows)
        assert words in joined
        assert all(row.startswith("  ") for row in text.rows[:3])
        await pilot.press("G")
        await pilot.pause()
        shown = ["".join(s.text for s in text.render_line(y)) for y in range(text.size.height)]
        assert "end ␛[2J" in shown[-1]


# -- paths ----------------------------------------------------------------------------------------------


def test_a_path_is_completed_as_far_as_it_can_only_be_meant(tmp_path: Path) -> None:
    (tmp_path / "report-a.pdf").touch()
    (tmp_path / "report-b.pdf").touch()
    (tmp_path / "rest").mkdir()
    (tmp_path / ".hidden").touch()
    (tmp_path / "re\x1b]0;x\x07").touch()
    here = f"{tmp_path}/"
    assert complete(f"{here}rep") == (f"{here}report-", ["report-a.pdf", "report-b.pdf"])
    assert complete(f"{here}r") == (f"{here}re", ["report-a.pdf", "report-b.pdf", "rest/"])
    assert complete(f"{here}r", folders_only=True) == (f"{here}rest/", ["rest/"])
    assert complete(f"{here}.h") == (f"{here}.hidden", [".hidden"])
    assert complete(f"{here}none/x") == (f"{here}none/x", [])
    assert complete("~no-such-user-here/x") == ("~no-such-user-here/x", [])
    assert complete("a\0/x") == ("a\0/x", [])


async def test_a_name_can_be_chosen_with_the_arrows(filled: Filled, opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").touch()
    (tmp_path / "folder" / "a.txt").touch()
    async with opened(filled) as pilot:
        dialog = AskPath(SafeText("Attach"), f"{tmp_path}/")
        task = await asked(pilot, dialog)
        assert not dialog.chosen
        await until(lambda: any(item[0] == "folder/" for item in dialog.query_one(_Choices).items))
        await pilot.press(*"fo", "down", "enter")
        assert dialog.query_one(LineInput).value == f"{tmp_path}/folder/"
        await pilot.press("down", "down", "enter")
        assert await task == f"{tmp_path}/folder/b.txt"


async def test_a_file_is_no_folder_to_save_to(filled: Filled, opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with opened(filled) as pilot:
        dialog = SavePath(value=str(tmp_path / "file"))
        task = await asked(pilot, dialog)
        await pilot.press("enter")
        assert pilot.app.screen is dialog
        await pilot.press("2", "enter")
        assert await task == f"{tmp_path}/file2"


async def test_borders_are_ascii_where_that_is_set(filled: Filled, opened: Opened) -> None:
    async with opened(filled, ui="ascii = true") as pilot:
        await asked(pilot, Confirm(SafeText("Sure?")))
        strips = pilot.app.screen._compositor.render_strips()
        rows = ["".join(segment.text for segment in strip) for strip in strips]
        assert any("+-----" in row for row in rows)
        assert not any("╭" in row for row in rows)
