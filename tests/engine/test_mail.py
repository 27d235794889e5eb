"""The engine on every kind of server: what is there comes here, what is wanted happens there."""

from __future__ import annotations

import asyncio

from termmail.model.message import Flag


async def test_a_first_look_brings_everything(rig):
    rig.place.add(*range(1, 8))
    rig.place.add(8, flags="\\Seen \\Flagged work")
    rig.place.add(9, folder="Archive")
    await rig.start()
    await rig.agree()
    assert rig.subjects()[0] == "Letter 8"
    assert len(rig.subjects()) == 8


async def test_mail_beyond_the_newest_page_follows(rig):
    rig.place.add(*range(1, 131))
    await rig.start()
    await rig.agree()
    assert len(rig.shown()["INBOX"]) == 130


async def test_what_another_client_does_shows_here(rig):
    rig.place.add(*range(1, 7))
    await rig.start()
    await rig.agree()
    rig.place.flag(1, "+", "\\Seen")
    rig.place.flag(2, "+", "\\Flagged work")
    rig.place.remove(3, 4)
    rig.place.add(7)
    rig.place.add(8, folder="Archive")
    await rig.agree()
    assert sorted(rig.subjects()) == ["Letter 1", "Letter 2", "Letter 5", "Letter 6", "Letter 7"]


async def test_wishes_are_carried_out(rig):
    rig.place.add(*range(1, 9))
    await rig.start()
    await rig.agree()
    intents = rig.ui.intents
    intents.flag([rig.one(1), rig.one(2)], add=Flag.SEEN)
    intents.archive([rig.one(3), rig.one(4)])
    intents.trash([rig.one(5)])
    intents.delete_for_ever([rig.one(6)])
    if rig.place.keywords:
        intents.label([rig.one(7)], ["work"], [])
    intents.copy([rig.one(8)], rig.folder("Archive"))
    await rig.agree()
    there = await asyncio.to_thread(rig.place.seen)
    assert [mid for mid, _ in there[rig.place.path("Archive")]] == [f"<letter{n}@example.org>" for n in (3, 4, 8)]
    assert [mid for mid, _ in there[rig.place.path("Trash")]] == ["<letter5@example.org>"]
    assert dict(there["INBOX"])["<letter1@example.org>"] == {"\\Seen"}
    assert dict(there["INBOX"])["<letter7@example.org>"] == ({"work"} if rig.place.keywords else set())
    assert "<letter6@example.org>" not in dict(there["INBOX"])


async def test_wishes_of_an_engine_that_was_away_are_carried_out_after_its_return(rig):
    rig.place.add(*range(1, 5))
    await rig.start()
    await rig.agree()
    await rig.stop()
    rig.ui.intents.archive([rig.one(1)])
    rig.ui.intents.flag([rig.one(2)], add=Flag.FLAGGED)
    rig.ui.intents.archive([rig.one(3)])
    rig.ui.intents.undo()
    assert "Letter 1" in rig.subjects("Archive")
    rig.place.flag(2, "+", "\\Seen")
    await rig.start()
    await rig.agree()
    there = await asyncio.to_thread(rig.place.seen)
    assert [mid for mid, _ in there[rig.place.path("Archive")]] == ["<letter1@example.org>"]
    assert dict(there["INBOX"])["<letter2@example.org>"] == {"\\Seen", "\\Flagged"}


async def test_undo_brings_back_what_the_server_has_done(rig):
    rig.place.add(1, 2)
    await rig.start()
    await rig.agree()
    moved = rig.one(1)
    rig.ui.intents.archive([moved])
    await rig.agree()
    assert rig.subjects() == ["Letter 2"]
    rig.ui.intents.undo()
    await rig.agree()
    assert rig.one(1) == moved
    assert rig.subjects("Archive") == []


async def test_new_mail_comes_by_itself(rig):
    rig.place.add(1)
    await rig.start()
    await rig.agree()
    if "IDLE" not in rig.worker.capabilities:
        rig.worker.look(sync_now=True)
    await rig.until(
        lambda: not rig.worker.watch.runs or bool(rig.worker.watch.actor and rig.worker.watch.actor._idling)
    )
    await asyncio.to_thread(rig.place.add, 2)
    if "IDLE" not in rig.worker.capabilities:
        rig.worker.look(sync_now=True)
    await rig.until(lambda: "Letter 2" in rig.subjects())


async def test_folders_are_made_renamed_and_removed(rig):
    await rig.start()
    await rig.agree()
    account = rig.ui.mail.account_id("here")
    rig.ui.folders.create(account, "Work/Ideen für morgen")
    await rig.settled()
    made = rig.folder("Work/Ideen für morgen")
    rig.ui.folders.rename(made, "Later")
    await rig.settled()
    assert rig.folder("Later") == made
    rig.ui.folders.delete(made)
    await rig.settled()
    assert rig.place.path("Later") not in [folder.path for folder in rig.ui.mail.folders(account)]
