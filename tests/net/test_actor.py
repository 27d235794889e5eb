"""One thread, one connection: order, waking, breaking off, and a loop that never waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from termmail.model.account import Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, ProtocolError, Refused, Unreachable
from termmail.net.actor import BACKGROUND, INTERACTIVE, NORMAL, Actor
from termmail.net.imap.session import ImapSession, connect
from tests.servers.dovecot import free_port

pytestmark = pytest.mark.dovecot


class Made:
    """A factory that remembers the sessions it made."""

    def __init__(self, mailbox) -> None:
        self.mailbox = mailbox
        self.sessions: list[ImapSession] = []

    def __call__(self) -> ImapSession:
        self.sessions.append(connect(self.mailbox.server, self.mailbox.dovecot.password))
        return self.sessions[-1]


@pytest.fixture
async def made(modern):
    factory = Made(modern)
    factory.actor = Actor(factory, "test")
    yield factory
    await factory.actor.close()
    assert not factory.actor._thread or not factory.actor._thread.is_alive()


async def test_it_connects_when_it_is_first_needed_and_only_once(made):
    assert made.sessions == []
    assert (await made.actor.call(lambda s: s.select(b"INBOX"))).exists == 0
    assert await made.actor.call(lambda s: s.search()) == []
    assert len(made.sessions) == 1


async def test_urgent_calls_overtake_those_that_wait(made):
    gate, order = threading.Event(), []
    first = asyncio.ensure_future(made.actor.call(lambda s: gate.wait(10)))
    await asyncio.sleep(0)
    waiting = [
        asyncio.ensure_future(made.actor.call(lambda s, p=priority: order.append(p), priority))
        for priority in (BACKGROUND, NORMAL, INTERACTIVE, NORMAL, BACKGROUND)
    ]
    await asyncio.sleep(0)
    assert made.actor.waiting
    gate.set()
    await asyncio.gather(first, *waiting)
    assert order == [INTERACTIVE, NORMAL, NORMAL, BACKGROUND, BACKGROUND]


async def test_the_loop_goes_on_while_the_connection_works(made):
    gate = threading.Event()
    call = asyncio.ensure_future(made.actor.call(lambda s: gate.wait(10)))
    await asyncio.sleep(0.01)  # were the loop to wait for the thread, the gate would never open
    assert not call.done()
    gate.set()
    assert await call


async def test_a_call_ends_an_idle(made):
    await made.actor.call(lambda s: s.select(b"INBOX"))
    idling = asyncio.ensure_future(made.actor.idle(60, b"INBOX"))
    for _ in range(20):
        assert await asyncio.wait_for(made.actor.call(lambda s: s.search()), 10) == []
        if idling.done():
            idling = asyncio.ensure_future(made.actor.idle(60, b"INBOX"))
    made.actor.session.wake()
    assert not await asyncio.wait_for(idling, 10)
    assert len(made.sessions) == 1


async def test_news_end_an_idle(made):
    await made.actor.call(lambda s: s.select(b"INBOX"))
    idling = asyncio.ensure_future(made.actor.idle(60, b"INBOX"))
    await asyncio.to_thread(made.mailbox.append, b"Subject: x\r\n\r\nhi\r\n")
    assert (await asyncio.wait_for(idling, 20)).exists == 1


async def test_a_refusal_keeps_the_connection_and_a_broken_one_is_made_anew(made):
    with pytest.raises(Refused):
        await made.actor.call(lambda s: s.select(b"Nowhere"))
    await made.actor.call(lambda s: s.select(b"INBOX"))
    assert len(made.sessions) == 1
    made.actor.abort()
    await made.actor.call(lambda s: s.select(b"INBOX"))
    assert len(made.sessions) == 2
    assert made.sessions[0].wire.dead


async def test_an_error_of_ours_ends_the_connection_and_says_so(made, caplog):
    def broken(session: ImapSession) -> None:
        raise ZeroDivisionError

    with pytest.raises(ConnectionLost, match="ZeroDivisionError"):
        await made.actor.call(broken)
    assert made.sessions[0].wire.dead
    assert "ZeroDivisionError" in caplog.text

    def nonsense(session: ImapSession) -> None:
        raise ProtocolError("nonsense")

    with pytest.raises(ProtocolError):
        await made.actor.call(nonsense)
    assert made.sessions[1].wire.dead


async def test_aborting_ends_a_call_that_waits_for_the_server(made):
    await made.actor.call(lambda s: s.select(b"INBOX"))
    entered = threading.Event()

    def stuck(session: ImapSession) -> bytes:
        session.wire.expect(60)
        entered.set()
        return session.wire.line()

    call = asyncio.ensure_future(made.actor.call(stuck))
    await asyncio.to_thread(entered.wait, 10)
    made.actor.abort()
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(call, 10)


async def test_a_cancelled_call_that_waits_is_never_made(made):
    gate, ran = threading.Event(), []
    first = asyncio.ensure_future(made.actor.call(lambda s: gate.wait(10)))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(made.actor.call(lambda s: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    gate.set()
    await first
    await made.actor.call(lambda s: None)
    assert ran == []


async def test_closing_tells_everybody_who_waits(made):
    entered = threading.Event()

    def stuck(session: ImapSession) -> bytes:
        session.wire.expect(60)
        entered.set()
        return session.wire.line()

    calls = [asyncio.ensure_future(made.actor.call(stuck))]
    await asyncio.to_thread(entered.wait, 10)
    calls += [asyncio.ensure_future(made.actor.call(lambda s: s.noop())) for _ in range(3)]
    await asyncio.sleep(0)
    await made.actor.close(0.1)
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert all(isinstance(result, ConnectionLost) for result in results)
    with pytest.raises(ConnectionLost):
        await made.actor.call(lambda s: s.noop())


async def test_closing_while_idle_says_good_bye(made):
    await made.actor.call(lambda s: s.select(b"INBOX"))
    idling = asyncio.ensure_future(made.actor.idle(60, b"INBOX"))
    await asyncio.sleep(0.05)
    await made.actor.close(5)
    await asyncio.gather(idling, return_exceptions=True)
    assert idling.done()
    assert made.sessions[0].traffic.commands[-1] == "LOGOUT"


async def test_what_connecting_raises_reaches_the_caller_each_time(modern):
    async def raised(server: Server, secret: str) -> BaseException:
        actor = Actor(lambda: connect(server, secret), "test")
        try:
            with pytest.raises(Exception) as first:  # noqa: PT011
                await actor.call(lambda s: s.noop())
            with pytest.raises(type(first.value)):
                await actor.call(lambda s: s.noop())
            return first.value
        finally:
            await actor.close()

    assert isinstance(await raised(modern.server, "wrong"), AuthRefused)
    nobody = Server("imap", "127.0.0.1", free_port(), Security.NONE, "ada")
    assert isinstance(await raised(nobody, "secret"), Unreachable)


async def test_a_connection_that_is_made_too_late_is_closed_again(modern):
    entered, gate, sessions = threading.Event(), threading.Event(), []

    def slow() -> ImapSession:
        entered.set()
        gate.wait(10)
        sessions.append(connect(modern.server, "secret"))
        return sessions[0]

    actor = Actor(slow, "test")
    call = asyncio.ensure_future(actor.call(lambda s: s.noop()))
    await asyncio.to_thread(entered.wait, 10)
    await actor.close(0.05)
    gate.set()
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(call, 10)
    assert sessions[0].wire.dead
