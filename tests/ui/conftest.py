"""The mail screen on a profile that the store filled: no engine, no server, the real sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from termmail.config import settings
from termmail.ui.app import TermmailApp
from tests.ui.filling import Filled, fill, profile

Opened = Callable[..., AbstractAsyncContextManager[Pilot[Any]]]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """Sixty messages in the first inbox."""
    made = fill(profile(tmp_path / "home"))
    yield made
    made.store.close()


@pytest.fixture
def opened() -> Opened:
    """`async with opened(filled, size=(160, 48), ui="…")`: the program on the screen, and the keys to press."""

    @asynccontextmanager
    async def run(
        made: Filled, size: tuple[int, int] = (160, 48), ui: str = "", keys: str = ""
    ) -> AsyncIterator[Pilot[Any]]:
        if ui:
            made.paths.settings.write_text(f"{made.paths.settings.read_text('utf-8')}\n[ui]\n{ui}\n", "utf-8")
        if keys:
            made.paths.keys.write_text(keys, "utf-8")
        app = TermmailApp(made.paths, settings.load(made.paths.settings), made.store, with_engine=False)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            yield pilot

    return run


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a fact, not for a time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.01)
