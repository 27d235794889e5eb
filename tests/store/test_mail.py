"""Truth: what servers said, and what the list reads of it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from termmail.model.account import Role
from termmail.model.errors import NotFound, StoreBusy, StoreError
from termmail.model.message import Flag
from termmail.paths import Paths
from termmail.store import db
from termmail.store.db import Store
from termmail.store.mail import RemoteFolderRow
from termmail.text import SafeText
from tests.store.conftest import Box, new


def test_the_newest_message_is_first_and_counts_are_kept(box: Box) -> None:
    ids = box.fill(5)
    assert box.shown("INBOX") == ids[::-1]
    inbox = box.store.mail.role_folder(box.account, Role.INBOX)
    assert inbox is not None
    assert (inbox.total, inbox.unread) == (5, 5)


def test_messages_of_one_second_keep_the_order_of_their_uids_whatever_came_first(box: Box) -> None:
    same = [new(uid) for uid in (7, 8, 5, 6)]
    same = [type(m)(m.uid, m.flags, "", 5000, m.size, False, 0, m.summary) for m in same]
    box.store.mail.add_messages(box.folders["INBOX"], same[:2])
    box.store.mail.add_messages(box.folders["INBOX"], same[2:])
    uids = [box.store.mail.place(i).uid for i in box.shown("INBOX")]  # type: ignore[arg-type]
    assert uids == [8, 7, 6, 5]


def test_a_uid_that_is_known_is_updated_not_doubled(box: Box) -> None:
    box.fill(3)
    again = box.store.mail.add_messages(box.folders["INBOX"], [new(2, Flag.SEEN)])
    assert len(box.shown("INBOX")) == 3
    row = box.store.mail.row(again[0])
    assert row is not None
    assert row.flags == Flag.SEEN


def test_the_same_message_in_two_folders_is_one_message_in_two_places(box: Box) -> None:
    first = box.store.mail.add_messages(box.folders["INBOX"], [new(1, seed="x")])[0]
    second = box.store.mail.add_messages(box.folders["Other"], [new(9, seed="x")])[0]
    assert box.store.mail.place(first).message_id == box.store.mail.place(second).message_id
    box.store.mail.put_body(box.store.mail.place(first).message_id, b"raw")
    box.store.mail.vanish(box.folders["INBOX"], [1])
    assert box.store.mail.body(box.store.mail.place(second).message_id) == b"raw"
    box.store.mail.vanish(box.folders["Other"], [9])
    assert box.store.db.one("SELECT count(*) FROM message")[0] == 0
    assert box.store.db.one("SELECT count(*) FROM body")[0] == 0


def test_an_older_modseq_changes_nothing(box: Box) -> None:
    box.store.mail.add_messages(box.folders["INBOX"], [new(1, modseq=10)])
    assert box.store.mail.set_truth_flags(box.folders["INBOX"], [(1, int(Flag.SEEN), "", 12)]) == 1
    assert box.store.mail.set_truth_flags(box.folders["INBOX"], [(1, 0, "", 11)]) == 0
    row = box.store.mail.row(box.shown("INBOX")[0])  # type: ignore[arg-type]
    assert row is not None
    assert row.flags == Flag.SEEN


def test_after_a_new_uidvalidity_messages_are_found_again_by_what_they_are(box: Box) -> None:
    ids = box.fill(3)
    box.store.mail.reset_folder(box.folders["INBOX"], 77)
    assert box.shown("INBOX") == ids[::-1]
    again = box.store.mail.add_messages(box.folders["INBOX"], [new(11, seed="m1"), new(13, seed="m3")])
    assert again == [ids[0], ids[2]]
    assert box.store.mail.drop_unmatched(box.folders["INBOX"]) == 1
    assert box.shown("INBOX") == [ids[2], ids[0]]


def test_a_folder_that_is_gone_goes_with_its_mail_and_others_stay(box: Box) -> None:
    box.fill(2, "Other")
    keep = box.fill(1)
    rows = [RemoteFolderRow(b"INBOX", SafeText("INBOX"), "/", Role.INBOX, True, True)]
    changes = box.store.mail.sync_folders(box.account, rows)
    assert len(changes.removed) == 4
    assert box.shown("INBOX") == keep
    assert box.store.db.one("SELECT count(*) FROM placement")[0] == 1


def test_folders_are_found_by_path_and_by_role_and_else_named(box: Box) -> None:
    find = box.store.mail.find_folder
    assert find(box.account, "inbox").path == "INBOX"
    assert find(box.account, "trash").id == box.folders["Trash"]
    with pytest.raises(NotFound, match="nowhere"):
        find(box.account, "nowhere")


def test_views_learn_of_every_change(box: Box) -> None:
    seq, _ = box.store.mail.touched_since(0)
    newest = box.store.mail.newest_placement()
    ids = box.fill(3)
    assert [i for i, _, _ in box.store.mail.added_since(newest)] == ids
    box.store.mail.set_truth_flags(box.folders["INBOX"], [(2, 1, "", 0)])
    box.store.mail.vanish(box.folders["INBOX"], [3])
    _, changed = box.store.mail.touched_since(seq)
    assert set(changed or ()) == {ids[1], ids[2]}


def test_who_is_too_far_behind_reads_all_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("termmail.store.mail.TOUCHED_KEPT", 4)
    box.fill(6)
    for _ in range(2):
        box.store.mail.set_truth_flags(box.folders["INBOX"], [(uid, _ + 1, "", 0) for uid in range(1, 7)])
    assert box.store.mail.touched_since(0)[1] is None
    box.store.mail.prune()
    assert box.store.db.one("SELECT count(*) FROM touched")[0] == 4


@pytest.mark.parametrize(
    ("sql", "values", "index"),
    [
        (
            "SELECT sort, id FROM placement WHERE view_id = ? ORDER BY sort DESC, id DESC LIMIT 5",
            (1,),
            "placement_view",
        ),
        (
            "SELECT sort, id FROM placement WHERE view_id = ? AND (sort, id) < (?, ?) ORDER BY sort DESC, id DESC LIMIT 5",
            (1, 5, 5),
            "placement_view",
        ),
        ("SELECT uid, id FROM placement WHERE folder_id = ? AND uid IN (1,2)", (1,), "placement_uid"),
        ("SELECT id FROM placement WHERE pending <> 0 AND folder_id IN (1)", (), "placement_pending"),
    ],
)
def test_hot_queries_use_their_index_and_sort_nothing(box: Box, sql: str, values: tuple[int, ...], index: str) -> None:
    plan = " ".join(str(row[3]) for row in box.store.db.all(f"EXPLAIN QUERY PLAN {sql}", values))
    assert index in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_everything_is_private(box: Box, profile: Paths) -> None:
    for path in profile.data.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_damaged_cache_is_set_aside_and_the_queue_lives(profile: Paths) -> None:
    store = Store.open(profile)
    store.queue.enqueue(b"A: b\r\n\r\n", account="home", mid="<1@x>", sender="a@x", recipients=["b@x"])
    store.close()
    for path in profile.data.glob("mail.db*"):
        path.unlink()
    profile.mail_db.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    store = Store.open(profile)
    assert "damaged" in store.mishap
    assert len(store.queue.outbox()) == 1
    assert list(profile.data.glob("mail.db.corrupt-*"))
    store.close()


def test_a_newer_database_is_left_alone(profile: Paths) -> None:
    Store.open(profile).close()
    with sqlite3.connect(profile.mail_db) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer termmail"):
        Store.open(profile)


def test_a_lock_that_stays_is_said_in_words(box: Box, profile: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.1)
    other = Store.open(profile)
    with box.store.transaction(), pytest.raises(StoreBusy, match="locked"):
        other.mail.notice("home", SafeText("hello"))
    other.close()


def test_one_store_sees_what_another_commits(box: Box, profile: Paths) -> None:
    other = Store.open(profile)
    other.changed_elsewhere()
    box.fill(1)
    assert other.changed_elsewhere()
    assert not other.changed_elsewhere()
    other.close()


def test_an_account_is_forgotten_whole(box: Box) -> None:
    ids = box.fill(2)
    box.store.mail.put_body(box.store.mail.place(ids[0]).message_id, b"secret words")  # type: ignore[arg-type]
    box.store.mail.remove_account("home")
    for table in ("account", "folder", "message", "placement", "body"):
        assert box.store.db.one(f"SELECT count(*) FROM {table}")[0] == 0, table
    box.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"secret words" not in Path(box.store.db.path).read_bytes()


def test_bodies_are_wanted_and_told_why_they_cannot_be_had(box: Box) -> None:
    message = box.store.mail.place(box.fill(1)[0]).message_id  # type: ignore[arg-type]
    before = time.time()
    box.store.mail.want_body(message)
    assert box.store.mail.wanted_bodies(box.account) == [(message, box.folders["INBOX"], 1)]
    box.store.mail.body_failed(message, SafeText("gone"))
    assert box.store.mail.wanted_bodies(box.account) == []
    assert box.store.mail.body_error(message) == "gone"
    box.store.mail.put_body(message, b"x" * 1000)
    assert box.store.mail.body(message) == b"x" * 1000
    assert box.store.mail.body_error(message) == ""
    assert before <= time.time()
