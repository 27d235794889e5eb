"""News comes by itself, over as many connections as the server allows, and after a sleep."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from termmail.demo.server import DemoServer
from termmail.engine.pulse import Pulse
from termmail.model.account import AccountState
from termmail.paths import Paths
from tests.engine.conftest import Place, Rig, demo_place
from tests.servers.chaos import Chaos
from tests.servers.dovecot import Dovecot, need_dovecot

_users = itertools.count(1)
Make = Callable[..., Awaitable[Rig]]


@pytest.fixture(autouse=True)
def nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in these tests was told by the server."""
    for name in ("POLL_OPEN", "POLL_ALL", "POLL_NOTIFIED"):
        monkeypatch.setattr(f"termmail.engine.worker.{name}", 1000.0)


@pytest.fixture
async def on(paths: Paths, tmp_path: Path) -> AsyncIterator[Make]:
    """An engine on a server, perhaps behind a proxy, with so many connections allowed here."""
    with ExitStack() as servers:
        async with AsyncExitStack() as stack:

            async def make(server: Dovecot | DemoServer, *, port: int = 0, connections: int = 3) -> Rig:
                if isinstance(server, Dovecot):
                    place = Place(server.host, server.imap_port, f"watch{next(_users)}", server.password)
                else:
                    place = demo_place(server)
                rig = Rig(paths, place)
                incoming = replace(rig.account.incoming, connections=connections, port=port or place.port)
                rig.account = replace(rig.account, incoming=incoming)
                stack.callback(rig.ui.close)
                stack.push_async_callback(rig.stop)
                return rig

            make.servers = servers  # type: ignore[attr-defined]
            yield make


@pytest.fixture
def plain() -> AsyncIterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.mark.dovecot
async def test_mail_for_any_folder_comes_by_notify(on, dovecot):
    rig = await on(dovecot)
    await rig.start()
    await rig.settled()
    await rig.watched()
    assert rig.worker.watch.notified
    await asyncio.to_thread(rig.place.add, 1, folder="Archive")
    await rig.until(lambda: rig.subjects("Archive") == ["Letter 1"])
    await asyncio.to_thread(rig.place.add, 2)
    await rig.until(lambda: rig.subjects() == ["Letter 2"])
    await asyncio.to_thread(rig.place.flag, 1, "+", "\\Seen", "Archive")
    await rig.until(lambda: rig.ui.mail.row(rig.one(1, "Archive")).flags.name == "SEEN")
    await asyncio.to_thread(rig.place.remove, 1, folder="Archive")
    await rig.until(lambda: rig.subjects("Archive") == [])


@pytest.mark.dovecot
async def test_folders_of_another_client_come_by_notify(on, dovecot):
    rig = await on(dovecot)
    await rig.start()
    await rig.settled()
    await rig.watched()

    def make() -> None:
        with rig.place.client() as other:
            other.create('"Made elsewhere"')

    await asyncio.to_thread(make)
    account = rig.ui.mail.account_id("here")
    await rig.until(lambda: "Made elsewhere" in {f.path for f in rig.ui.mail.folders(account)})


@pytest.mark.parametrize("connections", [1, 2, 3])
async def test_new_mail_comes_over_as_many_connections_as_there_may_be(on, plain, connections):
    rig = await on(plain, connections=connections)
    rig.place.add(1)
    await rig.start()
    await rig.agree()
    assert plain.faults.connections == 0
    await asyncio.to_thread(rig.place.add, 2)
    await rig.until(lambda: "Letter 2" in rig.subjects())
    rig.ui.intents.archive([rig.one(1)])
    await rig.agree()


async def test_the_open_folder_is_watched_by_a_second_idle(on, plain):
    rig = await on(plain)
    await rig.start()
    await rig.agree()
    rig.open_folders.append(rig.folder("Archive"))
    await rig.settled()
    await rig.until(lambda: rig.worker.main._idling)
    await asyncio.to_thread(rig.place.add, 1, folder="Archive")
    await rig.until(lambda: rig.subjects("Archive") == ["Letter 1"])


@pytest.mark.dovecot
@pytest.mark.parametrize("allowed", [1, 2])
async def test_a_server_that_allows_fewer_connections_gets_fewer_and_that_is_remembered(on, tmp_path, allowed):
    need_dovecot()
    with Dovecot(tmp_path / "dovecot", connections=allowed) as server:
        rig = await on(server)
        rig.place.add(3, folder="Archive")  # so that there is work behind
        await rig.start()
        await rig.until(lambda: rig.worker.allowed == allowed, 20)
        await rig.settled()
        assert rig.ui.mail.learned(rig.worker.id)["connections"] == allowed
        await rig.stop()  # the other client needs a place
        await asyncio.to_thread(rig.place.add, 1)
        await rig.start()
        await rig.settled()
        assert rig.subjects() == ["Letter 1"]
        assert rig.worker.allowed == allowed
        assert rig.worker.state == AccountState.ONLINE


@pytest.mark.parametrize("what", ["body", "move"])
async def test_what_somebody_waits_for_overtakes_what_nobody_does(on, plain, what):
    rig = await on(plain)
    rig.place.add(1, 2)
    await rig.start()
    await rig.agree()
    held = threading.Event()
    background = asyncio.ensure_future(rig.worker.back.call(lambda s: held.wait(20)))
    try:
        if what == "body":
            place = rig.ui.mail.place(rig.one(1))
            rig.ui.mail.want_body(place.message_id)
            await rig.until(lambda: rig.ui.mail.body(place.message_id) is not None)
        else:
            rig.ui.intents.archive([rig.one(1)])
            await rig.until(lambda: rig.ui.intents.pending_count(rig.worker.id) == 0)
    finally:
        held.set()
        assert await background


async def test_connections_that_nobody_uses_are_given_back(on, plain, monkeypatch):
    monkeypatch.setattr("termmail.net.actor.REST", 0.2)
    rig = await on(plain)
    rig.place.add(1)
    await rig.start()
    await rig.agree()
    await rig.until(lambda: rig.worker._back.session is None)
    await rig.until(lambda: rig.worker.main.session is None)
    rig.ui.intents.archive([rig.one(1)])
    await rig.agree()


async def test_after_a_sleep_dead_connections_are_noticed_and_made_anew(on, plain, monkeypatch):
    monkeypatch.setattr("termmail.net.actor.PROBE", 0.3)
    monkeypatch.setattr("termmail.engine.trouble.SLOW_FIRST", 0.05)
    with Chaos(plain.imap_port) as proxy:
        rig = await on(plain, port=proxy.port)
        await rig.start()
        await rig.settled()
        await rig.watched()
        proxy.sleep()
        await asyncio.to_thread(rig.place.add, 1)
        rig.manager.pulse.changed()
        await rig.until(lambda: rig.subjects() == ["Letter 1"])
        await rig.watched()
        await asyncio.to_thread(rig.place.add, 2)
        await rig.until(lambda: len(rig.subjects()) == 2)


async def test_a_gap_between_the_clocks_is_a_sleep(monkeypatch):
    monkeypatch.setattr("termmail.engine.pulse.BEAT", 0.01)
    slept, changed = [0.0], asyncio.Event()
    pulse = Pulse(changed.set, lambda: slept[0])
    pulse.start()
    try:
        slept[0] = 5.0
        await asyncio.sleep(0.1)
        assert not changed.is_set()
        slept[0] = 3600.0
        await asyncio.wait_for(changed.wait(), 10)
    finally:
        pulse.stop()
