"""Wishes: desired state over truth, undo, batches, and what a change of mind does to a batch under way."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from termmail import paths
from termmail.model.errors import NotFound, UsageError
from termmail.model.message import Flag, PlacementId
from termmail.store.intents import Flight
from termmail.store.verbs import VERBS, parse
from termmail.text import SafeText
from tests.store.conftest import Box, new


def ids_of(box: Box, count: int) -> list[PlacementId]:
    return [PlacementId(i) for i in box.fill(count)]


def test_archiving_shows_at_once_and_becomes_one_batch(box: Box) -> None:
    ids = ids_of(box, 3)
    done = box.store.intents.archive(ids[:2])
    assert done.words == "archived 2 messages"
    assert box.shown("INBOX") == [ids[2]]
    assert box.shown("Archive") == [ids[1], ids[0]]
    (batch,) = box.store.intents.batches(box.account)
    assert (batch.kind, batch.dest_id) == ("move", box.folders["Archive"])
    assert batch.items == ((ids[0], 1), (ids[1], 2))


def test_what_is_undone_before_the_server_heard_costs_no_command(box: Box) -> None:
    ids = ids_of(box, 2)
    box.store.intents.archive(ids)
    box.store.intents.flag(ids, add=Flag.FLAGGED)
    assert box.store.intents.undo()
    assert box.store.intents.undo()
    assert box.store.intents.batches(box.account) == []
    assert box.store.intents.undo() is None
    assert len(box.shown("INBOX")) == 2
    assert box.store.intents.redo()
    assert box.shown("INBOX") == []


def test_undo_of_what_the_server_has_done_is_a_wish_back(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.archive(ids)
    flight = box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0])
    box.store.intents.acked_move(flight, {ids[0]: 44})
    assert box.store.intents.batches(box.account) == []
    box.store.intents.undo()
    (batch,) = box.store.intents.batches(box.account)
    assert (batch.folder_id, batch.dest_id, batch.items) == (
        box.folders["Archive"],
        box.folders["INBOX"],
        ((ids[0], 44),),
    )


def test_a_change_of_mind_under_way_becomes_a_new_wish(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.flag(ids, add=Flag.SEEN)
    flight = box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0])
    box.store.intents.flag(ids, remove=Flag.SEEN)
    assert box.store.intents.batches(box.account) == []
    box.store.intents.acked_flags(flight)
    (batch,) = box.store.intents.batches(box.account)
    assert (batch.add, batch.remove) == (Flag(0), Flag.SEEN)
    row = box.store.mail.row(ids[0])
    assert row is not None
    assert not row.flags & Flag.SEEN


def test_sync_does_not_overwrite_what_the_user_wants(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.flag(ids, add=Flag.FLAGGED)
    box.store.mail.set_truth_flags(box.folders["INBOX"], [(1, int(Flag.SEEN), "", 0)])
    row = box.store.mail.row(ids[0])
    assert row is not None
    assert row.flags == Flag.SEEN | Flag.FLAGGED
    assert row.pending


def test_a_refusal_brings_the_message_back_with_the_servers_words(box: Box) -> None:
    ids = ids_of(box, 1)
    before = box.store.mail.newest_notice()
    box.store.intents.trash(ids)
    flight = box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0])
    box.store.intents.refused(flight, SafeText("quota exceeded"), "home")
    assert box.shown("INBOX") == ids
    assert box.store.mail.notices_since(before)[0][2] == "quota exceeded"
    assert box.store.intents.pending_count(box.account) == 0


def test_a_moved_message_whose_uid_nobody_told_is_adopted_when_it_is_seen(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.archive(ids)
    flight = box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0])
    box.store.intents.acked_move(flight, {ids[0]: None})
    box.store.intents.flag(ids, add=Flag.SEEN)
    assert box.store.intents.batches(box.account) == []  # it waits for its UID
    assert box.store.mail.add_messages(box.folders["Archive"], [new(5, seed="m1")]) == ids
    (batch,) = box.store.intents.batches(box.account)
    assert batch.items == ((ids[0], 5),)


def test_flags_go_before_the_move_of_the_same_message(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.spam(ids)
    kinds = [batch.kind for batch in box.store.intents.batches(box.account)]
    assert kinds == ["flags"]
    box.store.intents.acked_flags(box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0]))
    assert [batch.kind for batch in box.store.intents.batches(box.account)] == ["move"]


def test_delete_for_ever_can_be_undone_until_it_is_done(box: Box) -> None:
    ids = ids_of(box, 2)
    box.store.intents.delete_for_ever(ids[:1])
    assert box.shown("INBOX") == ids[1:]
    box.store.intents.undo()
    assert len(box.shown("INBOX")) == 2
    box.store.intents.delete_for_ever(ids[:1])
    flight = box.store.intents.take_off(box.account, box.store.intents.batches(box.account)[0])
    box.store.intents.acked_delete(flight)
    done = box.store.intents.undo()
    assert done is not None
    assert "cannot come back" in done.words


def test_trash_moves_and_what_is_there_already_is_said(box: Box) -> None:
    ids = ids_of(box, 1)
    box.store.intents.trash(ids)
    assert box.shown("Trash") == ids
    with pytest.raises(NotFound, match="already in the Trash"):
        box.store.intents.trash(ids)


@pytest.mark.parametrize("word", ["", "two words", "par(en", 'quo"te', "back\\slash", "ü", "new\nline", "]"])
def test_a_label_that_is_no_atom_is_refused(box: Box, word: str) -> None:
    with pytest.raises(UsageError):
        box.store.intents.label(ids_of(box, 1), [word], [])


def test_a_large_folder_is_sent_in_bounded_batches(box: Box) -> None:
    ids = ids_of(box, 2500)
    box.store.intents.flag(ids, add=Flag.SEEN)
    assert [len(batch.items) for batch in box.store.intents.batches(box.account)] == [1000, 1000, 500]


@pytest.mark.parametrize(("line", "word"), [("archiv", "archive"), ("move", "FOLDER"), ("read now", "no argument")])
def test_a_wrong_verb_is_named(line: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse(line)


def test_every_verb_leaves_counts_right_and_is_undone(box: Box) -> None:
    ids = ids_of(box, 3)
    before = [(f.path, f.total, f.unread) for f in box.store.mail.folders()]
    for verb in VERBS.values():
        if not verb.takes_ids or verb.name == "copy":
            continue
        arg = {"FOLDER": "Other", "LABELS": "+work"}.get(verb.args, "")
        done = verb.run(box.store, ids, arg)
        if done.count:
            box.store.intents.undo()
        assert [(f.path, f.total, f.unread) for f in box.store.mail.folders()] == before, verb.name
    assert box.store.intents.pending_count(box.account) == 0


class Algebra(RuleBasedStateMachine):
    """Any order of verbs, undo, answers and refusals keeps what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="tm-")
        os.environ["TERMMAIL_HOME"] = self.directory.name
        self.box = Box(paths.find().make())
        self.ids = [PlacementId(i) for i in self.box.fill(4)]
        self.flights: list[Flight] = []
        self.uid = 100

    def teardown(self) -> None:
        self.box.store.close()
        self.directory.cleanup()

    def some(self, pick: int) -> list[PlacementId]:
        return [i for n, i in enumerate(self.ids) if pick >> n & 1]

    @rule(pick=st.integers(1, 15), add=st.sampled_from([Flag.SEEN, Flag.FLAGGED]), on=st.booleans())
    def flag(self, pick: int, add: Flag, on: bool) -> None:
        self.box.store.intents.flag(self.some(pick), add=add if on else Flag(0), remove=Flag(0) if on else add)

    @rule(pick=st.integers(1, 15), name=st.sampled_from(["INBOX", "Archive", "Trash", "Other"]))
    def move(self, pick: int, name: str) -> None:
        self.box.store.intents.move(self.some(pick), self.box.folders[name])

    @rule(back=st.booleans())
    def turn(self, back: bool) -> None:
        (self.box.store.intents.undo if back else self.box.store.intents.redo)()

    @rule()
    def send(self) -> None:
        batches = self.box.store.intents.batches(self.box.account)
        if batches:
            self.flights.append(self.box.store.intents.take_off(self.box.account, batches[0]))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def answer(self, data: Any) -> None:
        flight = self.flights.pop(0)
        kind = data.draw(st.sampled_from(["ok", "no", "lost"]))
        if kind == "no":
            self.box.store.intents.refused(flight, SafeText("no"), "home")
        elif kind == "lost":
            self.box.store.intents.land(flight)
        elif flight.kind == "flags":
            self.box.store.intents.acked_flags(flight)
        else:
            mapping: dict[PlacementId, int | None] = {}
            for placement, _ in flight.items:
                self.uid += 1
                mapping[placement] = self.uid
            self.box.store.intents.acked_move(flight, mapping)

    @rule(bits=st.integers(0, 7))
    def other_client(self, bits: int) -> None:
        for place in self.box.store.mail.places(self.ids):
            if place.uid is not None:
                self.box.store.mail.set_truth_flags(place.folder_id, [(place.uid, bits, "", 0)])

    @invariant()
    def holds(self) -> None:
        db = self.box.store.db
        self.box.store.intents.batches(self.box.account)  # drops wishes that came true by themselves
        for folder, total, unread in db.all("SELECT id, total, unread FROM folder"):
            found = db.one(
                "SELECT count(*), coalesce(sum(flags & 1 = 0), 0) FROM placement WHERE view_id = ?", (folder,)
            )
            assert (total, unread) == found
        for place in self.box.store.mail.places(self.ids):
            flying = any(place.id == item[0] for flight in self.flights for item in flight.items)
            if not place.pending:
                assert place.flags == place.srv_flags
                assert place.view_id == place.folder_id
            elif not flying:
                assert place.flags != place.srv_flags or place.view_id != place.folder_id
        assert len(self.box.store.mail.places(self.ids)) == 4


TestAlgebra = Algebra.TestCase
TestAlgebra.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
