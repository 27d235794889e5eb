"""Drafts and the queue: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from termmail.model.draft import Attachment, Draft, Kind, OutboxId, SendState
from termmail.model.errors import MessageError, NotFound, UsageError
from termmail.paths import Paths
from tests.store.conftest import Box


def queued(box: Box, mid: str = "<1@x>", **more: float) -> OutboxId:
    return box.store.queue.enqueue(
        b"Subject: x\r\n\r\nbody\r\n",
        account="home",
        mid=mid,
        sender="ada@x.example",
        recipients=["b@x", "c@x"],
        **more,
    )


def test_a_draft_comes_back_as_it_was(box: Box) -> None:
    draft = Draft(
        account="home", kind=Kind.REPLY, sender="Ada <ada@x>", to="b@x", subject="Hé", body="text\n", references=("<a@b>",),
        attachments=(
            Attachment("a.txt", "text/plain", "/tmp/a.txt", size=3),
            Attachment("m.eml", "message/rfc822", data=b"raw", size=3),
        ),
    )  # fmt: skip
    draft_id = box.store.queue.save_draft(draft)
    found = box.store.queue.draft(draft_id)
    assert found == draft.but(id=draft_id, updated=found.updated)
    assert box.store.queue.save_draft(found.but(body="more")) == draft_id
    assert [d.body for d in box.store.queue.drafts(only_open=True)] == ["more"]
    box.store.queue.close_draft(draft_id)
    assert box.store.queue.drafts(only_open=True) == []
    box.store.queue.drop_draft(draft_id)
    with pytest.raises(NotFound):
        box.store.queue.draft(draft_id)


def test_queueing_ends_the_draft_in_the_same_commit(box: Box) -> None:
    draft_id = box.store.queue.save_draft(Draft(account="home"))
    box.store.queue.enqueue(b"x", account="home", mid="<1@x>", sender="a@x", recipients=["b@x"], draft_id=draft_id)
    assert box.store.queue.drafts() == []
    assert box.store.queue.raw(box.store.queue.outbox()[0].id) == b"x"


def test_the_same_message_is_not_queued_twice(box: Box) -> None:
    queued(box)
    with pytest.raises(MessageError, match="queued before"):
        queued(box)
    assert len(list(box.store.paths.spool.iterdir())) == 1


def test_only_one_gets_a_message_to_send(box: Box, profile: Paths) -> None:
    from termmail.store.db import Store

    queued(box)
    other = Store.open(profile)
    claims = [box.store.queue.claim("home", time.time()), other.queue.claim("home", time.time())]
    assert sum(claim is not None for claim in claims) == 1
    other.close()


def test_a_held_message_waits_its_time(box: Box) -> None:
    queued(box, hold=60.0)
    assert box.store.queue.outbox()[0].state == SendState.HELD
    assert box.store.queue.claim("home", time.time()) is None
    assert box.store.queue.claim("home", time.time() + 61) is not None


@pytest.mark.parametrize(
    ("phase", "state"), [("connect", "queued"), ("envelope", "queued"), ("data", "queued"), ("terminator", "uncertain")]
)
def test_after_a_crash_only_the_final_dot_leaves_a_doubt(box: Box, phase: str, state: str) -> None:
    outbox_id = queued(box)
    assert box.store.queue.claim("home", time.time())
    box.store.queue.set_phase(outbox_id, phase)
    doubtful = box.store.queue.recover("home")
    assert box.store.queue.outgoing(outbox_id).state == state
    assert doubtful == ([outbox_id] if state == "uncertain" else [])
    assert (box.store.queue.claim("home", time.time()) is None) is (state == "uncertain")


def test_the_user_decides_what_is_uncertain(box: Box) -> None:
    outbox_id = queued(box)
    box.store.queue.claim("home", time.time())
    with pytest.raises(UsageError, match="sending"):
        box.store.queue.cancel(outbox_id)
    box.store.queue.uncertain(outbox_id, "no answer")
    box.store.queue.mark_sent(outbox_id)
    assert box.store.queue.outgoing(outbox_id).state == SendState.SENT
    with pytest.raises(UsageError):
        box.store.queue.retry(outbox_id)
    other = queued(box, "<2@x>")
    box.store.queue.cancel(other)
    with pytest.raises(NotFound):
        box.store.queue.outgoing(other)


def test_spool_files_that_nobody_names_are_swept_and_the_others_stay(box: Box) -> None:
    queued(box)
    orphan = box.store.paths.spool / "orphan.eml"
    orphan.write_bytes(b"x")
    assert box.store.queue.sweep() == 0  # somebody may be writing it right now
    os.utime(orphan, (1, 1))
    for path in box.store.paths.spool.iterdir():
        os.utime(path, (1, 1))
    assert box.store.queue.sweep() == 1
    assert len(list(box.store.paths.spool.iterdir())) == 1


CRASHER = """
import itertools, sys
from termmail import paths
from termmail.store.db import Store
store = Store.open(paths.find().make())
print("ready", flush=True)
for n in itertools.count():
    store.queue.enqueue(b"Subject: x\\r\\n\\r\\n" + b"y" * 5000, account="home", mid=f"<{n}@x>", sender="a@x", recipients=["b@x"])
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [0.02, 0.05, 0.11])
def test_what_was_said_to_be_queued_survives_a_kill(profile: Paths, after: float) -> None:
    from termmail.store.db import Store

    process = subprocess.Popen([sys.executable, "-c", CRASHER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in process.stdout.read().split() if line.strip().isdigit()]
    process.wait()
    process.stdout.close()
    store = Store.open(profile)
    there = {int(one.message_id[1:-3]): one.id for one in store.queue.outbox()}
    assert set(said) <= set(there)
    for outbox_id in there.values():
        assert len(store.queue.raw(outbox_id)) == 5014
    store.close()
