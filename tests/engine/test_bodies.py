"""Which whole messages are kept: the newest, all, or none; and how few commands that takes."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from termmail.engine import bodies
from tests.engine.conftest import letter


def kept(rig) -> list[str]:
    """Subjects of the messages whose body is here."""
    with sqlite3.connect(rig.paths.mail_db) as db:
        return sorted(
            row[0] for row in db.execute("SELECT m.subject FROM body b JOIN message m ON m.id = b.message_id")
        )


async def test_everything_is_kept_where_that_is_wanted_and_what_comes_later_too(rig):
    rig.place.add(*range(1, 131))
    rig.place.add(200, folder="Archive")
    rig.account = replace(rig.account, cache="bodies")
    await rig.start(headers_only=False)
    await rig.settled()
    assert len(kept(rig)) == 131
    assert rig.ui.mail.body(rig.ui.mail.place(rig.one(200, "Archive")).message_id) == letter(200)
    rig.place.add(201, folder="Archive")
    await rig.settled()
    assert "Letter 201" in kept(rig)


async def test_bodies_come_many_at_a_time(here):
    here.place.add(*range(1, 101))
    here.account = replace(here.account, cache="bodies")
    await here.start(headers_only=False)
    await here.settled()
    session = here.worker.main.session
    assert session is not None
    assert len(kept(here)) == 100
    assert session.traffic.commands.count("UID FETCH") <= 2 + 100 // bodies.AT_ONCE + 1


async def test_the_newest_are_kept_else(here, monkeypatch):
    monkeypatch.setattr(bodies, "PREFETCH_BUDGET", 7)
    here.place.add(*range(1, 21))
    await here.start(headers_only=False)
    await here.settled()
    assert kept(here) == sorted(f"Letter {n}" for n in range(14, 21))


async def test_nothing_is_kept_for_long_where_that_is_wanted(here, monkeypatch):
    here.place.add(1, 2)
    here.account = replace(here.account, cache="none")
    await here.start(headers_only=False)
    await here.settled()
    assert kept(here) == []
    message = here.ui.mail.place(here.one(1)).message_id
    here.ui.mail.want_body(message)
    await here.until(lambda: kept(here) == ["Letter 1"])
    await here.settled()
    assert kept(here) == ["Letter 1"]
    monkeypatch.setattr(bodies, "READ_FOR", -1.0)
    await here.settled()
    assert kept(here) == []


async def test_the_oldest_go_where_there_are_too_many(here, monkeypatch):
    monkeypatch.setattr(bodies, "WEIGH", 0.0)
    for n in range(1, 9):
        with here.place.client() as other:
            other.append("INBOX", None, None, letter(n, body="x" * 50 + "\r\n" + ("y" * 60 + "\r\n") * 5000))
    here.account = replace(here.account, cache="bodies", cache_limit=1)
    await here.start(headers_only=False)
    await here.settled()
    await here.settled()
    assert here.ui.mail.bodies_size(here.worker.id) <= 1 << 20
    assert "Letter 8" in kept(here)
    assert "Letter 1" not in kept(here)


async def test_a_message_that_is_not_given_holds_nothing_up(here):
    here.place.add(1, 2, 3)
    here.account = replace(here.account, cache="bodies")
    await here.start(headers_only=True)
    await here.agree()
    await here.stop()
    here.place.remove(2)
    await here.start(headers_only=False)
    await here.settled()
    assert kept(here) == ["Letter 1", "Letter 3"]
