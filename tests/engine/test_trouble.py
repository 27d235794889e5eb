"""What servers refuse, forget, break and contradict."""

from __future__ import annotations

import asyncio
import dataclasses
import json

from termmail.model.account import AccountState
from termmail.model.message import Flag, PlacementId
from tests.engine.conftest import letter


def state_of(rig) -> AccountState:
    return rig.ui.mail.accounts()[0].state


def error_of(rig) -> str:
    return rig.ui.mail.accounts()[0].error


async def test_a_refused_move_comes_back_with_the_servers_words(here):
    here.place.add(1, 2)
    await here.start()
    await here.agree()
    here.place.demo.faults.replies["UID MOVE"] = ["NO [NOPERM] this folder is closed"]
    here.ui.intents.archive([here.one(1)])
    await here.agree()
    assert sorted(here.subjects()) == ["Letter 1", "Letter 2"]
    assert any("this folder is closed" in words for words in here.notices())


async def test_a_refusal_that_may_pass_delays_only_its_own_kind(here):
    here.place.add(1, 2)
    await here.start()
    await here.agree()
    here.place.demo.faults.replies["UID MOVE"] = ["NO [INUSE] try again later"]
    here.ui.intents.archive([here.one(1)])
    here.ui.intents.flag([here.one(2)], add=Flag.FLAGGED)
    await here.settled()
    assert dict(here.place.seen()["INBOX"])["<letter2@example.org>"] == {"\\Flagged"}
    assert here.notices() == []
    here.worker.delayed = dict.fromkeys(here.worker.delayed, (1, 0.0))
    await here.agree()
    assert here.subjects("Archive") == ["Letter 1"]


async def test_a_folder_that_cannot_be_opened_does_not_stop_the_others(here):
    here.place.add(1)
    here.place.add(2, folder="Archive")
    await here.start()
    await here.agree()
    await here.worker.call(lambda session: session.select(b"Trash"))
    here.ui.intents.flag([here.one(2, "Archive")], add=Flag.SEEN)
    here.place.demo.faults.replies["SELECT"] = ["NO this folder is out of order"]
    here.worker.look()
    await here.until(lambda: any("out of order" in words for words in here.notices()))
    here.place.add(3)
    await here.agree()
    assert "Letter 3" in here.subjects()


async def test_a_copy_is_not_made_twice_when_removing_the_original_has_to_wait(paths, rig_without):
    rig = await rig_without({"MOVE"})
    rig.place.add(1)
    await rig.start()
    await rig.agree()
    rig.place.demo.faults.replies["UID STORE"] = ["NO [INUSE] busy"]
    rig.ui.intents.archive([rig.one(1)])
    await rig.settled()
    assert len(rig.place.seen()["Archive"]) == 1
    rig.worker.recover_after = 0.0
    await rig.agree()
    assert len(rig.place.seen()["Archive"]) == 1
    assert rig.place.seen()["INBOX"] == []


async def test_messages_without_message_id_are_not_doubled_by_a_crash_after_copy(rig_without):
    rig = await rig_without({"MOVE"})
    raw = letter(1).replace(b"Message-ID: <letter1@example.org>\r\n", b"")
    rig.place.demo.add(raw)
    rig.place.demo.add(raw)
    await rig.start()
    await rig.agree()
    rig.place.demo.faults.close_after_command.add("UID COPY")
    rig.ui.intents.archive(rig.ids())
    await rig.until(lambda: len(rig.place.seen()["INBOX"]) == 0)
    await rig.agree()
    assert len(rig.place.seen()["Archive"]) == 2


async def test_a_lost_answer_to_a_move_is_looked_up(rig):
    if rig.place.demo is None:
        return
    rig.place.add(1, 2)
    await rig.start()
    await rig.agree()
    command = "UID MOVE" if "MOVE" in rig.worker.capabilities else "UID EXPUNGE"
    if "UIDPLUS" not in rig.worker.capabilities and command == "UID EXPUNGE":
        command = "EXPUNGE"
    rig.place.demo.faults.close_after_command.add(command)
    kept = rig.one(1)
    rig.ui.intents.archive([kept])
    await rig.until(lambda: not rig.place.demo.faults.close_after_command)
    await rig.agree()
    assert rig.ids("Archive") == [kept]


async def test_uids_that_change_keep_their_messages_and_wishes(rig):
    if rig.place.demo is None:
        return
    rig.place.add(*range(1, 6))
    await rig.start()
    await rig.agree()
    await rig.stop()
    first = rig.one(2)
    rig.ui.intents.flag([first], add=Flag.FLAGGED)
    rig.ui.intents.archive([rig.one(3)])
    rig.place.demo.expunge({1})
    rig.place.demo.renumber()
    await rig.start()
    await rig.agree()
    assert rig.one(2) == first
    there = dict(rig.place.seen()["INBOX"])
    assert set(there) == {f"<letter{n}@example.org>" for n in (2, 4, 5)}
    assert there["<letter2@example.org>"] == {"\\Flagged"}


async def test_a_server_that_hides_its_mail_does_not_make_it_vanish_here(here):
    here.place.add(*range(1, 81))
    await here.start()
    await here.agree()
    demo = here.place.demo

    async def nothing(words, *, uid):
        return b"OK done"

    from termmail.demo.imap import Session

    kept, Session._search = Session._search, nothing
    try:
        demo.expunge({1})
        here.worker.look(sync_now=True)
        await asyncio.wait_for(here.worker.settled.wait(), 10)
        assert len(here.ids()) == 80
    finally:
        Session._search = kept
    await here.agree()
    assert len(here.ids()) == 79


async def test_a_server_with_room_for_one_connection_gets_one(here):
    here.place.demo.faults.connections = 1
    here.place.demo.add(letter(1))
    await here.start()
    await here.settled()
    await here.until(lambda: here.ui.mail.learned(here.ui.mail.account_id("here")).get("connections") == 1)
    await here.until(lambda: here.worker.main._idling)
    here.place.demo.add(letter(2))
    await here.until(lambda: "Letter 2" in here.subjects())
    await here.until(lambda: here.worker.main._idling)
    here.ui.intents.flag([here.one(1)], add=Flag.SEEN)
    here.worker.look()
    await here.until(lambda: "\\Seen" in here.place.demo.folder().messages[0].flags)


async def test_a_wrong_password_is_tried_twice_and_then_waits_for_the_user(here, monkeypatch):
    monkeypatch.setattr("termmail.engine.trouble.LOGIN_PAUSE", 0.1)
    right = here.account
    here.account = dataclasses.replace(right, incoming=dataclasses.replace(right.incoming, password="wrong"))
    await here.start()
    await here.until(lambda: here.worker._patience.refusals == 2)
    await asyncio.sleep(0.5)
    assert here.worker._patience.refusals == 2
    assert state_of(here) == AccountState.AUTH
    assert "refused" in error_of(here)


async def test_an_unreachable_server_is_tried_again(here, monkeypatch):
    monkeypatch.setattr("termmail.engine.trouble.SLOW_FIRST", 0.05)
    here.place.add(1)
    here.place.demo.faults.replies["LIST"] = ["BYE gone for lunch"] * 2
    await here.start()
    await here.until(lambda: "lunch" in error_of(here))
    await here.until(lambda: state_of(here) == AccountState.ONLINE)
    assert here.subjects() == ["Letter 1"]
    assert error_of(here) == ""


async def test_a_line_that_drops_in_the_middle_of_headers_loses_nothing(here, monkeypatch):
    monkeypatch.setattr("termmail.engine.trouble.SLOW_FIRST", 0.05)
    here.place.add(*range(1, 121))
    here.place.demo.faults.close_after = 20_000
    await here.start()
    await here.until(lambda: len(here.ids()) == 120 if here.ui.mail.folders() else False)
    await here.agree()


async def test_a_message_somebody_waits_for_comes_at_once(here):
    here.place.add(1, 2)
    await here.start()
    await here.agree()
    message = here.ui.mail.place(here.one(1)).message_id
    here.ui.mail.want_body(message)
    here.worker.look()
    await here.until(lambda: here.ui.mail.body(message) is not None)
    assert here.ui.mail.body(message) == letter(1)


async def test_a_message_that_is_gone_says_so(here):
    here.place.add(1)
    await here.start()
    await here.agree()
    message = here.ui.mail.place(here.one(1)).message_id
    here.place.demo.faults.replies["UID FETCH"] = ["NO [NONEXISTENT] it is gone"]
    here.ui.mail.want_body(message)
    here.worker.look()
    await here.until(lambda: here.ui.mail.body_error(message) == "it is gone")


async def test_the_folder_on_the_screen_is_looked_at_at_once(here):
    here.place.add(1, folder="Archive")
    await here.start()
    await here.agree()
    here.place.demo.flag(1, {"\\Flagged"}, set(), folder="Archive")
    assert here.ui.mail.row(here.one(1, "Archive")).flags == 0
    here.open_folders.append(here.folder("Archive"))
    here.worker.look()
    await here.until(lambda: here.ui.mail.row(here.one(1, "Archive")).flags == Flag.FLAGGED)


async def test_a_change_of_mind_while_the_command_is_under_way_is_heard(here):
    here.place.add(1)
    await here.start()
    await here.agree()
    one = here.one(1)
    here.place.demo.faults.delay = 0.2
    here.ui.intents.flag([one], add=Flag.FLAGGED)
    here.worker.look()
    await here.until(lambda: bool(here.ui.db.one("SELECT 1 FROM flight")))
    here.ui.intents.flag([one], remove=Flag.FLAGGED)
    here.place.demo.faults.delay = 0.0
    await here.agree()
    assert here.place.demo.folder().messages[0].flags == set()


async def test_wishes_of_many_messages_need_few_commands(here):
    here.place.add(*range(1, 61))
    await here.start()
    await here.agree()
    before = len(here.worker.main.session.traffic.commands)
    here.ui.intents.flag([PlacementId(i) for i in here.ids()], add=Flag.SEEN)
    await here.agree()
    commands = here.worker.main.session.traffic.commands[before:]
    assert commands.count("UID STORE") == 1, json.dumps(commands)
