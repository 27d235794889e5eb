"""The planner, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from termmail.engine.sync import WINDOW, Changed, Flags, New, Newest, Reset, Uids, has_news, plan, suspicious
from termmail.model.account import Role
from termmail.model.message import AccountId, FolderId
from termmail.net.backend import Changes, FolderStatus, Selected
from termmail.store.mail import FolderState
from termmail.text import SafeText

HERE = FolderState(
    FolderId(1), AccountId(1), b"INBOX", SafeText("INBOX"), Role.INBOX, True, uidvalidity=7, uidnext=501, modseq=90, lo=1,
    hi=500, srv_total=400, srv_unseen=3, synced=1.0, local_count=400,
)  # fmt: skip
THERE = Selected(exists=400, uidvalidity=7, uidnext=501, modseq=90, read_only=False)
TOLD = Changes(((3, 4),), ())
NEVER = replace(HERE, uidvalidity=0, uidnext=0, modseq=0, lo=0, hi=0, srv_total=-1, local_count=0)


@pytest.mark.parametrize(
    ("state", "selected", "steps"),
    [
        pytest.param(NEVER, THERE, [Newest(WINDOW)], id="never looked at"),
        pytest.param(NEVER, replace(THERE, exists=0), [], id="never looked at, and empty"),
        pytest.param(replace(NEVER, uidvalidity=7), THERE, [Newest(WINDOW)], id="the first look was cut off"),
        pytest.param(HERE, THERE, [], id="nothing happened"),
        pytest.param(HERE, replace(THERE, uidvalidity=8), [Reset(8), Newest(WINDOW)], id="UIDVALIDITY changed"),
        pytest.param(HERE, replace(THERE, uidvalidity=8, exists=0), [Reset(8)], id="UIDVALIDITY changed, and empty"),
        pytest.param(
            HERE, replace(THERE, exists=401, uidnext=502, modseq=91), [New(501), Flags(1, 500, 90)], id="one came"
        ),
        pytest.param(HERE, replace(THERE, modseq=95), [Flags(1, 500, 90)], id="flags changed"),
        pytest.param(
            HERE, replace(THERE, exists=399, modseq=95), [Flags(1, 500, 90), Uids(1, 500)], id="one went"
        ),
        pytest.param(
            HERE, replace(THERE, exists=400, uidnext=502, modseq=95), [New(501), Flags(1, 500, 90), Uids(1, 500)],
            id="one came and one went",
        ),
        pytest.param(HERE, replace(THERE, exists=0), [Uids(1, 500)], id="all went"),
        pytest.param(
            HERE, replace(THERE, exists=399, uidnext=502, modseq=95, changes=TOLD), [New(501), Changed(TOLD)], id="QRESYNC"
        ),
        pytest.param(
            HERE, replace(THERE, modseq=80, changes=TOLD), [Flags(1, 500), Uids(1, 500)], id="QRESYNC of an older state"
        ),
        pytest.param(replace(HERE, local_count=0), replace(THERE, exists=0), [], id="empty as before"),
        pytest.param(HERE, replace(THERE, modseq=80), [Flags(1, 500), Uids(1, 500)], id="MODSEQ went back"),
        pytest.param(HERE, replace(THERE, uidnext=450), [Flags(1, 500), Uids(1, 500)], id="UIDNEXT went back"),
        pytest.param(HERE, replace(THERE, modseq=0), [Flags(300, 500)], id="no MODSEQ"),
        pytest.param(
            replace(HERE, modseq=0), THERE, [Flags(300, 500)], id="MODSEQ is new: never CHANGEDSINCE 0"
        ),
        pytest.param(HERE, replace(THERE, uidnext=0), [New(501)], id="UIDNEXT is not told"),
        pytest.param(
            replace(HERE, lo=300, local_count=101), replace(THERE, modseq=91), [Flags(300, 500, 90), Uids(300, 500)],
            id="incomplete: counts prove nothing",
        ),
    ],
)  # fmt: skip
def test_a_look_asks_for_what_may_have_changed_and_no_more(state, selected, steps):
    assert plan(state, selected, flags_due=False) == steps


def test_without_modseq_all_flags_are_asked_for_when_that_is_due():
    assert plan(HERE, replace(THERE, modseq=0), flags_due=True) == [Flags(1, 500)]


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"messages": 401}, True),
        ({"uidnext": 502}, True),
        ({"uidvalidity": 8}, True),
        ({"modseq": 91}, True),
        ({"modseq": 0, "unseen": 4}, True),
        ({"modseq": 0, "unseen": 3}, False),
    ],
)
def test_status_tells_whether_a_look_is_worth_it(change, news):
    status = replace(FolderStatus(400, 3, 501, 7, 90), **change)
    assert has_news(HERE, status) is news


@pytest.mark.parametrize(
    ("gone", "known", "odd"), [(50, 60, False), (51, 60, True), (51, 1000, False), (201, 1000, True)]
)
def test_many_deletions_at_once_are_verified(gone, known, odd):
    assert suspicious(gone, known) is odd
