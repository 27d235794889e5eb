"""Writes the pictures beside it from the demo: `python screenshots/make.py`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from termmail import paths
from termmail.config import settings
from termmail.demo import run as demo
from termmail.engine.once import sync_once
from termmail.model.account import AccountState
from termmail.model.message import AccountId
from termmail.store.db import Store
from termmail.ui.app import TermmailApp

HERE = Path(__file__).resolve().parent
WIDE, SMALL = (160, 48), (80, 24)
Steps = Callable[[Pilot[int]], Awaitable[None]]


def keys(*names: str) -> Steps:
    """Press keys, one after the other, and let the screen settle."""

    async def steps(pilot: Pilot[int]) -> None:
        for name in names:
            await pilot.press(*name.split())
            await pilot.pause(0.6)

    return steps


PICTURES: list[tuple[str, tuple[int, int], str, Steps]] = [
    ("panes-dark-160x48", WIDE, "dusk", keys("j j j")),
    ("panes-light-160x48", WIDE, "paper", keys("j j j")),
    ("list-dark-80x24", SMALL, "dusk", keys("j j")),
    ("reader-light-80x24", SMALL, "paper", keys("j", "enter")),
    ("newsletter-dark-160x48", WIDE, "dusk", keys("j")),
    ("composer-dark-160x48", WIDE, "dusk", keys("j j j", "r", "escape")),
    ("composer-light-80x24", SMALL, "paper", keys("j j j", "r", "escape")),
    ("contrast-80x24", SMALL, "contrast", keys("j")),
]


async def picture(place: paths.Paths, size: tuple[int, int], theme: str, steps: Steps) -> str:
    """One screen as SVG."""
    store = Store.open(place)
    for account in store.mail.accounts():
        store.mail.set_account(AccountId(account.account_id), state=AccountState.ONLINE)
    app = TermmailApp(place, settings.load(place.settings), store, theme=theme, with_engine=False)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1.0)
        await steps(pilot)
        await pilot.pause(0.3)
        return app.export_screenshot(title="termmail")


def main() -> None:
    """Start the demo's servers, fetch everything, take the pictures."""
    with tempfile.TemporaryDirectory(prefix="tm-") as home:
        os.environ["TERMMAIL_HOME"] = home
        os.environ["TZ"] = "UTC"
        place = paths.find().make()
        servers, ports, passwords = demo.start(every=3600)
        try:
            demo.write_settings(place.settings, ports, passwords)
            sync_once(place, settings.load(place.settings))
            for name, size, theme, steps in PICTURES:
                (HERE / f"{name}.svg").write_text(asyncio.run(picture(place, size, theme, steps)), "utf-8")
        finally:
            demo.stop(servers)


if __name__ == "__main__":
    main()
