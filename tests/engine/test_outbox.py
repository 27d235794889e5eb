"""Sending: what is accepted is sent once, what is in doubt is never sent again, and the copy stands in Sent once."""

from __future__ import annotations

import asyncio

import pytest

from termmail.model.draft import Kind, SendState
from termmail.model.message import Flag
from tests.engine.conftest import letter


def queue(rig, n: int = 50, *, to: tuple[str, ...] = ("grace@example.org",), **more) -> int:
    return rig.ui.queue.enqueue(
        letter(n), account="here", mid=f"<letter{n}@example.org>", sender="ada@demo.example", recipients=to,
        subject=f"Letter {n}", **more,
    )  # fmt: skip


def sent(rig) -> list[bytes]:
    return [taken.raw for taken in rig.place.demo.smtp.taken]


async def state(rig, outbox_id: int, wanted: SendState) -> None:
    await rig.until(lambda: rig.ui.queue.outgoing(outbox_id).state == wanted)


async def test_a_message_is_sent_and_its_copy_filed_once(rig):
    if rig.place.demo is None:
        pytest.skip("this server has no SMTP beside it")
    await rig.start()
    await rig.agree()
    out = queue(rig)
    await state(rig, out, SendState.SENT)
    await rig.until(lambda: rig.ui.queue.outgoing(out).filed)
    assert [raw.rstrip() for raw in sent(rig)] == [letter(50).rstrip()]
    await rig.agree()
    assert [raw.rstrip() for raw in [one.raw for one in rig.place.demo.folder("Sent").messages]] == [
        letter(50).rstrip()
    ]
    assert rig.subjects("Sent") == ["Letter 50"]


async def test_an_answer_marks_what_it_answers_and_leaves_no_undo(here):
    here.place.add(1)
    await here.start()
    await here.agree()
    out = queue(here, kind=Kind.REPLY, parent=here.one(1))
    await state(here, out, SendState.SENT)
    await here.agree()
    assert here.ui.mail.row(here.one(1)).flags & Flag.ANSWERED
    assert here.ui.intents.undo() is None


async def test_a_passing_refusal_is_tried_again_later(here):
    here.place.demo.faults.smtp["MAIL"] = ["451 4.3.0 come back later"]
    await here.start()
    out = queue(here)
    await here.until(lambda: here.ui.queue.outgoing(out).attempts == 1 and here.ui.queue.outgoing(out).error != "")
    waiting = here.ui.queue.outgoing(out)
    assert waiting.state == SendState.QUEUED
    assert "come back later" in waiting.error
    assert sent(here) == []
    here.ui.queue.retry(out)
    await state(here, out, SendState.SENT)
    assert len(sent(here)) == 1


async def test_a_final_refusal_is_told_and_not_tried_again(here):
    here.place.demo.faults.smtp["RCPT"] = ["550 5.1.1 nobody of that name"]
    await here.start()
    out = queue(here)
    await state(here, out, SendState.REFUSED)
    assert any("nobody of that name" in words for words in here.notices())
    assert here.ui.queue.outgoing(out).recipients[0].status == "perm"
    assert sent(here) == []


async def test_silence_after_the_dot_is_doubt_and_never_sent_again(here):
    here.place.demo.faults.smtp_close.add(".")
    await here.start()
    out = queue(here)
    await state(here, out, SendState.UNCERTAIN)
    await here.stop()
    await here.start()
    await here.settled()
    assert here.ui.queue.outgoing(out).state == SendState.UNCERTAIN
    assert len(sent(here)) == 1
    assert any("may have been sent" in words for words in here.notices())


async def test_a_line_that_drops_before_the_dot_is_tried_again(here):
    here.place.demo.faults.smtp_close.add("DATA")
    await here.start()
    out = queue(here)
    await here.until(lambda: here.ui.queue.outgoing(out).error != "")
    assert here.ui.queue.outgoing(out).state == SendState.QUEUED
    assert sent(here) == []


async def test_sending_works_while_incoming_mail_does_not(here):
    here.place.demo.faults.replies["LIST"] = ["BYE not today"] * 1000
    await here.start()
    out = queue(here)
    await state(here, out, SendState.SENT)
    assert not here.ui.queue.outgoing(out).filed
    here.place.demo.faults.replies.clear()
    here.worker.look(sync_now=True)
    await here.until(lambda: here.ui.queue.outgoing(out).filed)
    assert len(here.place.demo.folder("Sent").messages) == 1


async def test_a_copy_whose_answer_was_lost_is_not_filed_twice(here):
    await here.start()
    await here.agree()
    here.place.demo.faults.close_after_command.add("APPEND")
    out = queue(here)
    await state(here, out, SendState.SENT)
    await here.until(lambda: here.ui.queue.outgoing(out).filed)
    assert len(here.place.demo.folder("Sent").messages) == 1


async def test_a_copy_that_cannot_be_filed_now_does_not_stop_anything_else(here):
    await here.start()
    await here.agree()
    here.place.demo.faults.replies["APPEND"] = ["NO [INUSE] busy"]
    out = queue(here)
    await here.until(lambda: here.worker.file_failures == 1)
    here.place.demo.add(letter(2))
    await here.until(lambda: "Letter 2" in here.subjects())
    assert not here.ui.queue.outgoing(out).filed
    here.worker.file_after = 0.0
    await here.until(lambda: here.ui.queue.outgoing(out).filed)
    assert len(here.place.demo.folder("Sent").messages) == 1


async def test_a_mishap_inside_does_not_end_sending(here, monkeypatch):
    from termmail.engine import outbox

    async def fails(self, out):
        raise ZeroDivisionError

    whole = outbox.Sender._send
    monkeypatch.setattr(outbox.Sender, "_send", fails)
    await here.start()
    out = queue(here)
    await here.until(lambda: here.ui.queue.outgoing(out).state == SendState.SENDING)
    await asyncio.sleep(0.1)
    monkeypatch.setattr(outbox.Sender, "_send", whole)
    here.worker.look()
    await state(here, out, SendState.SENT)
    assert len(sent(here)) == 1
