"""The link: what is said arrives, once per tenth of a second; who talks nonsense is alone with it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from termmail import link
from termmail.link import Again, EngineLock, Hub, Link
from termmail.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(*(tmp_path / name for name in ("config", "data", "state", "cache", "run"))).make()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_news_reaches_a_client_folded(paths):
    heard: list[dict] = []
    news: list[Again] = []

    async def handler(message):
        heard.append(message)

    hub = Hub(paths, handler)
    await hub.start()
    assert stat.S_IMODE(paths.socket.stat().st_mode) == 0o600
    client = Link(paths, news.append)
    client.start()
    await until(lambda: client.connected and hub.attached)
    client.say(open=7)
    await until(lambda: list(hub.attached.values()) == [7])
    assert heard[-1] == {"open": 7}
    hub.again(Again(folders=frozenset({1})))
    await until(lambda: any(one.folders for one in news))
    news.clear()
    for n in range(100):
        hub.again(Again(folders=frozenset({n}), bodies=frozenset({n})))
    await until(lambda: bool(news))
    assert news == [Again(folders=frozenset(range(100)), bodies=frozenset(range(100)))]
    await client.close()
    await hub.stop()


async def test_a_client_comes_back_to_a_new_engine(paths):
    news: list[Again] = []

    async def handler(_message):
        return None

    first = Hub(paths, handler)
    await first.start()
    client = Link(paths, news.append)
    client.say(open=3)
    client.start()
    await until(lambda: bool(first.attached))
    await first.stop()
    await until(lambda: not client.connected)
    client.say(look=True)
    second = Hub(paths, handler)
    await second.start()
    await until(lambda: list(second.attached.values()) == [3])
    assert news[-1].everything
    await client.close()
    await second.stop()


async def test_an_engine_of_another_protocol_is_asked_to_leave(paths, monkeypatch):
    asked: list[dict] = []
    started: list[Paths] = []
    monkeypatch.setattr(link, "ensure_engine", started.append)

    async def old(reader, writer):
        writer.write(b'{"hello": "termmail", "protocol": 0}\n')
        asked.append(json.loads(await reader.readline()))
        writer.close()

    server = await asyncio.start_unix_server(old, str(paths.socket))
    client = Link(paths, lambda _: None)
    client.start()
    await until(lambda: bool(started))
    assert asked[0] == {"stop": True}
    assert not client.connected
    await client.close()
    server.close()


async def test_a_question_gets_its_answer_and_no_engine_gives_none(paths):
    async def handler(message):
        return {"echo": message}

    assert link.ask(paths, {"status": True}) is None
    assert link.poke(paths) is False
    hub = Hub(paths, handler)
    await hub.start()
    assert await asyncio.to_thread(link.ask, paths, {"status": True}) == {"echo": {"status": True}}
    await hub.stop()


def test_the_lock_has_one_holder_and_ends_with_its_process(paths):
    assert not link.is_running(paths)
    script = (
        "import sys\nfrom pathlib import Path\nfrom termmail.link import EngineLock\nfrom termmail.paths import Paths\n"
        "p = Path(sys.argv[1])\nlock = EngineLock(Paths(p, p, p / 'state', p, p))\nprint(lock.take(), flush=True)\n"
        "sys.stdin.read()"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(paths.state.parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == b"True\n"
        assert link.is_running(paths)
        assert not EngineLock(paths).take()
        assert paths.lock.read_text() == f"{holder.pid}\n"
        holder.kill()
    assert not link.is_running(paths)
    mine = EngineLock(paths)
    assert mine.take()
    mine.release()
