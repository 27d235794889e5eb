"""Wishes about folders: shown at once, folded, taken back when the server will not."""

from __future__ import annotations

import pytest

from termmail.model.account import Role
from termmail.model.errors import UsageError
from termmail.model.message import FolderId, PlacementId
from termmail.store.folders import described
from termmail.store.mail import RemoteFolderRow
from termmail.text import SafeText
from tests.store.conftest import Box


def paths(box: Box) -> dict[str, str]:
    """Path → what waits."""
    return {str(f.path): f.pending for f in box.store.mail.folders()}


def errands(box: Box) -> list[str]:
    return [str(described(one.kind, one.arg)) for one in box.store.intents.errands(box.account, 2e9)]


def listed(box: Box, *names: str, delimiter: str = "/") -> None:
    """What LIST says now."""
    rows = [
        RemoteFolderRow(n.encode(), SafeText(n), delimiter, Role.INBOX if n == "INBOX" else Role.NONE, True, True)
        for n in names
    ]
    box.store.mail.sync_folders(box.account, rows)


def test_a_folder_is_there_at_once_and_stays_while_the_server_does_not_know_it(box: Box) -> None:
    done = box.store.folders.create(box.account, "Work/Ideas")
    assert done.words == "Work/Ideas will be created"
    assert paths(box)["Work/Ideas"] == "create"
    listed(box, "INBOX", "Other")
    assert set(paths(box)) == {"INBOX", "Other", "Work/Ideas"}


def test_messages_moved_into_a_folder_that_is_refused_come_back(box: Box) -> None:
    ids = [PlacementId(i) for i in box.fill(2)]
    made = next(iter(box.store.folders.create(box.account, "New").folders))
    box.store.intents.move(ids, made)
    assert box.shown("INBOX") == []
    (errand,) = box.store.intents.errands(box.account, 2e9)
    box.store.intents.errand_failed(errand.id, SafeText("no"), "home")
    assert "New" not in paths(box)
    assert len(box.shown("INBOX")) == 2
    assert box.store.intents.pending_count(box.account) == 0


def test_a_folder_that_another_client_made_meanwhile_is_the_same(box: Box) -> None:
    ids = [PlacementId(i) for i in box.fill(1)]
    made = next(iter(box.store.folders.create(box.account, "New").folders))
    box.store.intents.move(ids, made)
    listed(box, "INBOX", "New")
    box.store.mail.name_folder(made, b"New")
    box.store.intents.errand_done(box.store.intents.errands(box.account, 2e9)[0].id)
    (there,) = [f for f in box.store.mail.folders() if f.path == "New"]
    assert (there.pending, there.total) == ("", 1)
    assert [batch.dest_id for batch in box.store.intents.batches(box.account)] == [there.id]


def test_a_rename_takes_the_folders_below_along(box: Box) -> None:
    listed(box, "INBOX", "Work", "Work/2025", "Work/2025/May", "Workshop")
    work = box.store.mail.find_folder(box.account, "Work")
    box.store.folders.rename(work.id, "Jobs")
    assert paths(box) == {"INBOX": "", "Jobs": "rename", "Jobs/2025": "", "Jobs/2025/May": "", "Workshop": ""}
    before = {f.id for f in box.store.mail.folders()}
    (errand,) = box.store.intents.errands(box.account, 2e9)
    box.store.mail.rename_folder(work.id, b"Jobs", SafeText("Jobs"))
    box.store.intents.errand_done(errand.id)
    listed(box, "INBOX", "Jobs", "Jobs/2025", "Jobs/2025/May", "Workshop")
    assert {f.id for f in box.store.mail.folders()} == before


def test_a_rename_that_was_cut_off_behind_the_servers_yes_loses_nothing(box: Box) -> None:
    other = box.folders["Other"]
    box.fill(3, "Other")
    box.store.folders.rename(other, "Misc")
    (errand,) = box.store.intents.errands(box.account, 2e9)
    box.store.intents.errand_phase(errand, "begun", wire=b"Misc".hex())
    listed(box, "INBOX", "Misc")
    assert box.store.mail.folder(other).path == "Misc"
    assert box.store.mail.folder(other).total == 3


def test_wishes_about_one_folder_fold(box: Box) -> None:
    folders = box.store.folders
    made = next(iter(folders.create(box.account, "A").folders))
    folders.rename(made, "B")
    assert errands(box) == ["create B"]
    folders.delete(made)
    assert errands(box) == []
    assert "B" not in paths(box)
    folders.subscribe(box.folders["Other"], yes=False)
    folders.subscribe(box.folders["Other"], yes=True)
    assert errands(box) == []
    assert folders.subscribe(box.folders["Other"], yes=True).count == 0


def test_a_deletion_says_what_goes_and_takes_the_deepest_first(box: Box) -> None:
    listed(box, "INBOX", "Work", "Work/2025", "Work/2025/May")
    box.folders = {str(f.path): f.id for f in box.store.mail.folders()}
    box.fill(4, "Work/2025")
    box.store.mail.set_folder_state(box.folders["Work/2025/May"], srv_total=7)
    contents = box.store.folders.contents(box.folders["Work"])
    assert contents.messages == 11
    assert [str(f.path) for f in contents.subfolders] == ["Work/2025", "Work/2025/May"]
    box.store.folders.delete(box.folders["Work"])
    assert errands(box) == ["delete Work/2025/May", "delete Work/2025", "delete Work"]
    assert set(paths(box)) == {"INBOX"}
    for one in box.store.intents.errands(box.account, 2e9):
        box.store.intents.errand_failed(one.id, SafeText("no"), "home")
    assert len(paths(box)) == 4


def test_a_folder_moves_below_another_and_to_the_top(box: Box) -> None:
    folders = box.store.folders
    folders.move(box.folders["Other"], box.folders["Archive"])
    assert "Archive/Other" in paths(box)
    folders.move(box.folders["Other"], None)
    assert paths(box)["Other"] == "rename"
    with pytest.raises(UsageError, match="into itself"):
        folders.move(box.folders["Archive"], box.folders["Archive"])


@pytest.mark.parametrize("name", ["", "  ", "a//b", "/a", "a/", "x" * 300, "a\x1b[2Jb", "Other", "inbox", "\u202eevil"])
def test_names_that_cannot_be_are_refused_here(box: Box, name: str) -> None:
    with pytest.raises(UsageError):
        box.store.folders.create(box.account, name)
    assert errands(box) == []


def test_the_inbox_and_folders_with_a_role_stay(box: Box) -> None:
    with pytest.raises(UsageError):
        box.store.folders.rename(box.folders["INBOX"], "Mine")
    with pytest.raises(UsageError):
        box.store.folders.delete(box.folders["Trash"])
    with pytest.raises(UsageError, match="itself"):
        box.store.folders.rename(box.folders["Other"], "Other/below")


def test_where_everything_stands_below_inbox_so_does_what_is_made(box: Box) -> None:
    listed(box, "INBOX", "INBOX.Sent", "INBOX.Work", delimiter=".")
    box.store.folders.create(box.account, "Plans/2026")
    assert "INBOX.Plans.2026" in paths(box)


def test_a_folder_that_is_gone_takes_its_wishes_along(box: Box) -> None:
    box.store.folders.rename(box.folders["Other"], "Misc")
    listed(box, "INBOX")
    assert paths(box) == {"INBOX": ""}
    assert FolderId(box.folders["Other"]) not in {f.id for f in box.store.mail.folders()}
