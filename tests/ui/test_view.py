"""Views: the order, slices, and changes read from the store's feed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from termmail.model.message import Flag, FolderId, PlacementId
from termmail.ui import view as module
from termmail.ui.view import View
from tests.ui.filling import Filled, fill, message, profile


def everything(filled: Filled, folder: str = "INBOX") -> list[int]:
    """The truth: all of a folder, newest first."""
    return [placement for _, placement in filled.store.mail.page(filled.folders[folder], limit=1_000_000)]


def loaded(filled: Filled, folder: str = "INBOX") -> View:
    view = View(filled.store, filled.folders[folder])
    while view.more():
        pass
    return view


@pytest.fixture
def big(tmp_path: Path) -> Filled:
    return fill(profile(tmp_path / "big"), 3000, bodies=0)


def test_the_first_page_is_there_at_once_and_the_rest_in_slices(big: Filled) -> None:
    view = View(big.store, big.folders["INBOX"])
    assert len(view) == module.FIRST
    assert not view.complete
    while view.more():
        pass
    assert list(view.ids) == everything(big)


def test_a_new_message_is_inserted_where_it_belongs(filled: Filled) -> None:
    view = loaded(filled)
    filled.add("INBOX", [message(900, int(time.time())), message(901, int(time.time()) - 200_000), message(902, 1000)])
    assert view.refresh()
    assert list(view.ids) == everything(filled)
    assert list(view.order) == sorted(view.order)


def test_an_old_message_that_comes_while_slices_are_read_appears_once(big: Filled) -> None:
    view = View(big.store, big.folders["INBOX"])
    big.add("INBOX", [message(9000, 1000), message(9001, int(time.time()))])
    view.refresh()
    while view.more():
        pass
    assert list(view.ids) == everything(big)


def test_much_that_comes_is_taken_in_a_step_at_a_time(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    view = loaded(filled)
    now = int(time.time())
    filled.add("INBOX", [message(5000 + n, now - n * 7919 % 500_000) for n in range(2 * module.STEP + 10)])
    filled.add("Sent", [message(90_000 + n, now) for n in range(10)])
    asked: list[int] = []
    added = filled.store.mail.added_since
    monkeypatch.setattr(filled.store.mail, "added_since", lambda *a: asked.append(len(rows := added(*a))) or rows)
    assert view.refresh()
    assert not view.complete
    while view.more():
        pass
    assert asked == [module.STEP, module.STEP, 20]
    assert list(view.ids) == everything(filled)
    assert list(view.order) == sorted(view.order)


def test_much_that_changes_is_followed_a_step_at_a_time(big: Filled) -> None:
    view = loaded(big)
    ids = [PlacementId(i) for i in view.ids[: module.STEP + 500]]
    big.store.intents.archive(ids)
    assert view.refresh()
    assert not view.complete
    while view.more():
        pass
    assert list(view.ids) == everything(big)


@pytest.mark.parametrize("count", [1, 7, 49, 50, 51, 300])
def test_moved_messages_leave_and_come_back_with_undo(big: Filled, count: int) -> None:
    view, archive = loaded(big), loaded(big, "Archive")
    before = list(view.ids)
    big.store.intents.archive([PlacementId(i) for i in before[10 : 10 + count]])
    view.refresh()
    archive.refresh()
    assert list(view.ids) == before[:10] + before[10 + count :] == everything(big)
    assert list(archive.ids) == before[10 : 10 + count]
    big.store.intents.undo()
    view.refresh()
    archive.refresh()
    assert list(view.ids) == before
    assert not archive.ids


@pytest.mark.parametrize("count", [2, 80])
def test_messages_that_vanish_on_the_server_leave(big: Filled, count: int) -> None:
    view = loaded(big)
    uids = big.store.mail.uids(big.folders["INBOX"])[5 : 5 + count]
    big.store.mail.vanish(big.folders["INBOX"], uids)
    assert view.refresh()
    assert list(view.ids) == everything(big)


def test_a_change_elsewhere_does_not_alter_the_view(filled: Filled) -> None:
    view, other = loaded(filled), loaded(filled, "Lists/rust")
    filled.store.intents.flag([PlacementId(i) for i in other.ids], add=Flag.SEEN)
    assert not view.refresh()
    assert other.refresh()


def test_a_changed_flag_is_read_again(filled: Filled) -> None:
    view = loaded(filled)
    first = view.row(5)
    assert first is not None
    filled.store.intents.flag([first.id], add=Flag.FLAGGED | Flag.SEEN)
    assert view.refresh()
    again = view.row(5)
    assert again is not None
    assert again.flags & Flag.FLAGGED


def test_rows_are_read_by_the_page_and_kept(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    view = loaded(filled)
    asked: list[int] = []
    rows = filled.store.mail.rows
    monkeypatch.setattr(filled.store.mail, "rows", lambda ids: asked.append(len(ids)) or rows(ids))
    for index in range(30):
        view.row(index)
    assert len(asked) <= 2
    for index in range(30):
        view.row(index)
    assert len(asked) <= 2


def test_the_rows_that_are_kept_are_bounded(big: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_KEPT", 100)
    view = loaded(big)
    for index in range(0, 3000, 7):
        row = view.row(index)
        assert row is not None
        assert row.id == view.ids[index]
    assert len(view._rows) <= 100


def test_too_many_changes_to_follow_are_read_anew(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    view = loaded(filled)
    filled.store.intents.archive([PlacementId(i) for i in view.ids[:3]])
    touched = filled.store.mail.touched_since
    monkeypatch.setattr(filled.store.mail, "touched_since", lambda seq: (touched(seq)[0], None))
    assert view.refresh()
    assert list(view.ids) == everything(filled)


def test_a_search_keeps_its_members_and_drops_what_goes_to_the_trash(filled: Filled) -> None:
    found = filled.store.search.find("from:grace")
    assert len(found) > 4
    view = View(filled.store, FolderId(0), found)
    filled.store.intents.archive([found[0]])
    filled.store.intents.trash([found[1]])
    filled.store.intents.delete_for_ever([found[2]])
    view.refresh()
    assert list(view.ids) == [found[0], *found[3:]]


def test_a_limited_folder_drops_what_leaves_the_folder(filled: Filled) -> None:
    inbox = filled.folders["INBOX"]
    found = filled.store.search.find("from:grace", folder_id=inbox)
    view = View(filled.store, inbox, found)
    filled.store.intents.archive([found[0]])
    view.refresh()
    assert list(view.ids) == found[1:]


def test_the_place_of_a_message_is_found_by_its_key(big: Filled) -> None:
    view = loaded(big)
    for place in (0, 1, 1499, 2999):
        assert view.index(view.ids[place]) == place
    assert view.index(10**9) == -1
