"""The worker behind the reader: leaving a message or the program while it works harms nothing."""

from __future__ import annotations

import asyncio

import pytest

from termmail.sandbox import Closed, Sandbox
from tests.ui.filling import raw


async def test_a_render_that_nobody_waits_for_does_not_disturb_the_next() -> None:
    sandbox = Sandbox()
    try:
        big = raw(1, body="word " * 200_000)
        for number in range(5):
            left = asyncio.ensure_future(sandbox.render(big))
            await asyncio.sleep(0.005)
            left.cancel()
            document = await sandbox.render(raw(number, subject=f"number {number}"))
            assert document.subject == f"number {number}"
    finally:
        sandbox.close()


async def test_closing_while_it_works_blames_no_message() -> None:
    sandbox = Sandbox()
    sandbox.prestart()
    task = asyncio.ensure_future(sandbox.render(raw(1, body="word " * 2_000_000)))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(sandbox.close)
    with pytest.raises(Closed):
        await task
    with pytest.raises(Closed):
        await sandbox.render(raw(2))
