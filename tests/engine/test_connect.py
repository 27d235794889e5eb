"""How few round trips a session begins with, and that what a server tells of changes is checked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from termmail.paths import Paths
from tests.engine.conftest import Place, Rig
from tests.servers.chaos import Chaos, whole, without
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.dovecot
_users = itertools.count(1)


@pytest.fixture
async def on_dovecot(dovecot: Dovecot, paths: Paths) -> AsyncIterator[Rig]:
    made = Rig(paths, Place(dovecot.host, dovecot.imap_port, f"connect{next(_users)}", dovecot.password))
    yield made
    await made.stop()
    made.ui.close()


@pytest.fixture
async def behind(dovecot: Dovecot, paths: Paths) -> AsyncIterator[Callable[[Chaos], Awaitable[Rig]]]:
    """An engine that sees Dovecot by way of a proxy; the other client sees it plainly."""
    rigs = []

    async def make(proxy: Chaos) -> Rig:
        place = Place(dovecot.host, dovecot.imap_port, f"connect{next(_users)}", dovecot.password)
        made = Rig(paths, place)
        made.account = made.account_at(proxy.port)
        rigs.append(made)
        return made

    yield make
    for rig in rigs:
        await rig.stop()
        rig.ui.close()


def trips(rig: Rig) -> tuple[int, list[str]]:
    session = rig.worker.main.session
    assert session is not None
    return session.traffic.round_trips, session.traffic.commands


async def test_the_first_page_takes_six_round_trips_and_the_next_session_two(on_dovecot):
    rig = on_dovecot
    with rig.place.client() as other:
        for n in range(50):
            other.create(f"Folder{n}")
    rig.place.add(*range(50))
    await rig.start()
    await rig.settled()
    made, commands = trips(rig)
    assert commands[:6] == ["AUTHENTICATE", "ID", "ENABLE", "LIST", "SELECT", "FETCH"]
    await rig.settled()
    await rig.stop()
    await rig.start()
    await asyncio.wait_for(rig.worker.settled.wait(), 10)
    made, commands = trips(rig)
    assert commands == ["AUTHENTICATE", "ID", "ENABLE", "LIST", "SELECT"]
    assert made == 2, "the account has learned that it may send them together"
    assert rig.worker.main.session.traffic.received < 20_000
    await rig.agree()


async def test_a_server_that_cannot_take_commands_together_gets_them_one_by_one(behind, dovecot, monkeypatch):
    monkeypatch.setattr("termmail.engine.trouble.SLOW_FIRST", 0.02)

    def deaf(data, before):
        """Says nothing more once it has got two commands in one breath."""
        if b"ENABLED" in data and b"* LIST" in data:
            raise EOFError
        yield data

    with Chaos(dovecot.imap_port) as proxy:
        rig = await behind(proxy)
        await rig.start()
        await rig.settled()
        await rig.stop()
        proxy.spoil = deaf
        await rig.start()
        await rig.until(lambda: rig.ui.mail.learned(rig.worker.id).get("pipelining") is False, 20)
        await rig.agree()


@pytest.mark.parametrize("gap", [False, True], ids=["watching", "after a pause"])
async def test_changes_of_another_client_come_by_qresync(on_dovecot, gap):
    rig = on_dovecot
    rig.place.add(*range(30))
    await rig.start()
    await rig.agree()
    if gap:
        await rig.stop()
    rig.place.flag(3, "+", "\\Flagged")
    rig.place.flag(4, "+", "rare-word")
    rig.place.remove(5, 6, 7, 20)
    rig.place.add(31, 32)
    if gap:
        await rig.start()
    await rig.agree()
    _, commands = trips(rig)
    assert "UID SEARCH" not in commands, "QRESYNC tells what is gone"
    assert rig.ui.mail.learned(rig.worker.id).get("qresync", True)


async def test_a_server_that_forgets_deletions_is_found_out_and_asked_otherwise(behind, dovecot):
    with Chaos(dovecot.imap_port, whole) as proxy:
        rig = await behind(proxy)
        rig.place.add(*range(20))
        await rig.start()
        await rig.agree()
        await rig.stop()
        rig.place.remove(3, 4)
        proxy.spoil = without(b"* VANISHED (EARLIER)")
        await rig.start()
        await rig.agree()
        assert rig.ui.mail.learned(rig.worker.id)["qresync"] is False


async def test_a_server_that_reports_too_many_deletions_loses_no_mail(behind, dovecot):
    def lying(data, before):
        yield data.replace(b"* VANISHED (EARLIER) 4\r\n", b"* VANISHED (EARLIER) 1:70\r\n")

    with Chaos(dovecot.imap_port, whole) as proxy:
        rig = await behind(proxy)
        rig.place.add(*range(1, 101))
        await rig.start()
        await rig.agree()
        kept = set(rig.ids()) - {rig.one(4)}
        await rig.stop()
        rig.place.remove(4)
        proxy.spoil = lying
        await rig.start()
        await rig.agree()
        assert set(rig.ids()) == kept, "not one row was made anew"
        assert rig.ui.mail.learned(rig.worker.id)["qresync"] is False
