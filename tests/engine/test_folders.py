"""Wishes about folders, carried out: on every kind of server, after hours offline, and refused."""

from __future__ import annotations

import asyncio


def paths(rig) -> list[str]:
    return [str(f.path) for f in rig.ui.mail.folders(rig.ui.mail.account_id("here"))]


async def test_what_was_wanted_offline_happens_in_order(rig):
    rig.place.add(*range(1, 6))
    await rig.start()
    await rig.agree()
    await rig.stop()
    account, folders, intents = rig.ui.mail.account_id("here"), rig.ui.folders, rig.ui.intents
    work = next(iter(folders.create(account, "Work").folders))
    ideas = next(iter(folders.create(account, "Work/Ideas").folders))
    intents.move([rig.one(1), rig.one(2)], ideas)
    intents.copy([rig.one(3)], work)
    folders.rename(work, "Jobs")
    assert rig.place.path("Jobs/Ideas") in paths(rig)
    await rig.start()
    await rig.agree()
    assert sorted(rig.subjects("Jobs/Ideas")) == ["Letter 1", "Letter 2"]
    assert rig.subjects("Jobs") == ["Letter 3"]
    assert rig.folder("Jobs") == work
    assert rig.folder("Jobs/Ideas") == ideas
    jobs = [f for f in rig.ui.mail.folders(account) if f.path.startswith(rig.place.path("Jobs"))]
    assert all(f.pending == "" and f.subscribed for f in jobs)


async def test_a_folder_that_is_renamed_keeps_its_mail_here(rig):
    with rig.place.client() as other:
        for name in ("Work", "Work/2025"):
            other.create(rig.place.path(name))
    rig.place.add(1, 2, folder="Work/2025")
    await rig.start()
    await rig.agree()
    before = rig.ids("Work/2025")
    rig.ui.folders.move(rig.folder("Work"), rig.folder("Archive"))
    await rig.agree()
    assert rig.ids("Archive/Work/2025") == before
    assert rig.place.path("Work") not in paths(rig)


async def test_a_folder_goes_with_what_is_below_it_but_not_with_what_was_moved_away(rig):
    with rig.place.client() as other:
        for name in ("Work", "Work/2025"):
            other.create(rig.place.path(name))
    rig.place.add(1, 2, folder="Work/2025")
    await rig.start()
    await rig.agree()
    await rig.stop()
    rig.ui.intents.move([rig.one(1, "Work/2025")], rig.folder("Archive"))
    rig.ui.folders.delete(rig.folder("Work"))
    assert rig.place.path("Work") not in paths(rig)
    await rig.start()
    await rig.agree()
    assert rig.subjects("Archive") == ["Letter 1"]
    assert not [path for path in paths(rig) if path.startswith(rig.place.path("Work"))]


async def test_a_folder_that_has_filled_since_is_not_deleted(rig):
    with rig.place.client() as other:
        other.create(rig.place.path("Work"))
    rig.place.add(1, folder="Work")
    await rig.start()
    await rig.agree()
    await rig.stop()
    rig.ui.folders.delete(rig.folder("Work"))
    rig.place.add(2, folder="Work")
    await rig.start()
    await rig.agree()
    assert sorted(rig.subjects("Work")) == ["Letter 1", "Letter 2"]
    assert "it holds 2 messages now, 1 when you asked" in rig.notices()[-1]


async def test_a_folder_that_the_server_will_not_make_goes_again_and_its_mail_comes_back(here):
    here.place.add(1)
    await here.start()
    await here.agree()
    here.place.demo.faults.replies["CREATE"] = ["NO [CANNOT] not on a Tuesday"]
    made = next(iter(here.ui.folders.create(here.ui.mail.account_id("here"), "Nope").folders))
    here.ui.intents.move([here.one(1)], made)
    assert "Nope" in paths(here)
    await here.agree()
    assert "Nope" not in paths(here)
    assert here.subjects() == ["Letter 1"]
    assert "the server would not create Nope: not on a Tuesday" in here.notices()


async def test_what_must_wait_says_why_and_when(here):
    await here.start()
    await here.agree()
    here.place.demo.faults.replies["CREATE"] = ["NO [UNAVAILABLE] later, please"]
    here.ui.folders.create(here.ui.mail.account_id("here"), "Later")
    await here.until(lambda: any(one.attempts for one in here.ui.intents.errands(1, 2e9)))
    (errand,) = here.ui.intents.errands(1, 2e9)
    assert errand.arg["error"] == "later, please"
    assert here.ui.intents.next_errand(here.worker.id, 0) < 2e9
    assert "Later" in paths(here)
    here.place.demo.faults.replies.clear()


async def test_subscriptions_are_changed(rig):
    with rig.place.client() as other:
        other.create(rig.place.path("Lists"))
        other.subscribe(rig.place.path("Lists"))
    await rig.start()
    await rig.agree()
    for yes in (False, True):
        rig.ui.folders.subscribe(rig.folder("Lists"), yes=yes)
        assert next(f for f in rig.ui.mail.folders() if f.path == rig.place.path("Lists")).subscribed == yes
        await rig.settled()
        with rig.place.client() as other:
            there = await asyncio.to_thread(lambda: other.lsub()[1])
        assert any(b"Lists" in (line or b"") for line in there) == yes
        lists = next(f for f in rig.ui.mail.folders() if f.path == rig.place.path("Lists"))
        assert (lists.subscribed, lists.pending) == (yes, "")
