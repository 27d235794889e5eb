"""What to ask a server for, given what is known here: pure, so that every case can be a line in a test.

A folder is described by `FolderState` (what is here) and `Selected` (what SELECT told).  The merge table:

    UIDVALIDITY differs          → Reset, then as if new
    nothing here yet             → Newest
    UIDNEXT or MODSEQ went back  → New, Flags of all, Uids (a backup was restored; GMX, sync.md §5.5.2)
    QRESYNC told the changes     → New if UIDNEXT grew, Changed; the count is verified afterwards
    MODSEQ known on both sides   → New if UIDNEXT grew, Flags changed since, Uids if the count is off
    no MODSEQ                    → New, Flags of all if due (else of the newest), Uids if the count is off
"""

from __future__ import annotations

from dataclasses import dataclass

from termmail.net.backend import Changes, FolderStatus, Resume, Selected
from termmail.store.mail import FolderState

WINDOW = 100  # messages of a first look
RECENT = 200  # newest messages whose flags every look without MODSEQ asks for
VANISH_COUNT, VANISH_SHARE = 50, 0.2  # beyond both, a mass deletion is verified first


@dataclass(frozen=True, slots=True)
class Reset:
    """Every UID known here is void."""

    uidvalidity: int


@dataclass(frozen=True, slots=True)
class Newest:
    """Headers of the newest `count` by sequence number."""

    count: int


@dataclass(frozen=True, slots=True)
class New:
    """Headers of `uid:*`."""

    uid: int


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags of UIDs lo..hi, `changed_since` a MODSEQ (0: all)."""

    lo: int
    hi: int
    changed_since: int = 0


@dataclass(frozen=True, slots=True)
class Uids:
    """Which of the UIDs lo..hi are left; the others vanished."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What QRESYNC told of messages that are known."""

    changes: Changes


Step = Reset | Newest | New | Flags | Uids | Changed


def resume(state: FolderState) -> Resume | None:
    """What to tell QRESYNC of a folder; None where there is nothing to go on from."""
    return Resume(state.uidvalidity, state.modseq) if state.uidvalidity and state.modseq and state.hi else None


def has_news(state: FolderState, status: FolderStatus) -> bool:
    """STATUS says that a look at the folder is worth it; what it does not tell is as it was."""
    if state.uidvalidity == 0:
        return status.messages != 0
    if status.uidvalidity not in (0, state.uidvalidity):
        return True
    if status.uidnext not in (0, state.uidnext) or status.messages not in (-1, state.srv_total):
        return True
    if status.modseq and state.modseq:
        return status.modseq != state.modseq
    return status.unseen not in (-1, state.srv_unseen)


def plan(state: FolderState, selected: Selected, *, flags_due: bool) -> list[Step]:
    """The steps that bring a folder up to date; backfill of older mail is not among them.

    `flags_due`: it is time to ask for all flags where the server has no MODSEQ.
    """
    if state.uidvalidity == 0:
        return [Newest(WINDOW)] if selected.exists else []
    if selected.uidvalidity != state.uidvalidity:
        return [Reset(selected.uidvalidity), *([Newest(WINDOW)] if selected.exists else [])]
    if state.hi == 0:
        return [Newest(WINDOW)] if selected.exists else []
    steps: list[Step] = []
    went_back = 0 < selected.uidnext < state.uidnext or 0 < selected.modseq < state.modseq
    if selected.exists == 0:
        return [Uids(state.lo, state.hi)] if state.local_count else []
    if selected.uidnext == 0 or selected.uidnext > state.hi + 1:
        steps.append(New(state.hi + 1))
    if selected.changes is not None and not went_back:
        return [*steps, Changed(selected.changes)]
    known = state.modseq > 0 and selected.modseq > 0 and not went_back
    if known:
        if selected.modseq != state.modseq:
            steps.append(Flags(state.lo, state.hi, state.modseq))
    elif flags_due or went_back:
        steps.append(Flags(state.lo, state.hi))
    else:
        steps.append(Flags(max(state.lo, state.hi - RECENT), state.hi))
    fresh = max(0, selected.uidnext - state.hi - 1) if selected.uidnext else 0
    same = known and selected.modseq == state.modseq and selected.exists == state.srv_total
    complete_and_even = state.lo == 1 and selected.exists == state.local_count + fresh
    if went_back or not (same or complete_and_even):
        steps.append(Uids(state.lo, state.hi))
    return steps


def suspicious(vanishing: int, known: int) -> bool:
    """So many deletions at once that the server's word is checked first (sync.md §5.5.10)."""
    return vanishing > VANISH_COUNT and vanishing > VANISH_SHARE * known
