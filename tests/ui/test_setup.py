"""The account wizard: guesses, a real test against servers that are not there, and nothing kept that fails."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, Static

from termmail.config import settings
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.ui.app import TermmailApp
from termmail.ui.screens.dialogs import Confirm
from termmail.ui.screens.setup import SetupScreen
from tests.ui.conftest import until


@asynccontextmanager
async def wizard(paths: Paths) -> AsyncIterator[tuple[Pilot[Any], SetupScreen]]:
    """The program with no account: the wizard opens by itself."""
    store = Store.open(paths)
    app = TermmailApp(paths, settings.load(paths.settings), store, with_engine=False)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(lambda: isinstance(app.screen, SetupScreen) and app.screen.focused)
            await pilot.pause()
            assert isinstance(app.screen, SetupScreen)
            yield pilot, app.screen
    finally:
        store.close()


def put(screen: SetupScreen, **values: str) -> None:
    for name, value in values.items():
        screen.query_one(f"#setup-{name}", Input).value = value


def value(screen: SetupScreen, name: str) -> str:
    return screen.query_one(f"#setup-{name}", Input).value


def words(screen: SetupScreen) -> str:
    return str(screen.query_one("#setup-words", Static).render())


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_servers_are_guessed_and_what_the_user_wrote_stays(profile: Paths) -> None:
    async with wizard(profile) as (pilot, screen):
        await pilot.press(*"ada", "at", *"gmx.de", "enter")
        assert value(screen, "imap") == "imap.gmx.net:993 tls"
        assert value(screen, "smtp") == "mail.gmx.net:587 starttls"
        put(screen, imap="mine.example:143 starttls", email="ada@example.org")
        screen._fill("ada@example.org")
        assert value(screen, "imap") == "mine.example:143 starttls"
        assert value(screen, "smtp") == "smtp.example.org:465 tls"
        assert value(screen, "user") == "ada@example.org"


async def test_the_password_is_not_on_the_screen(profile: Paths) -> None:
    async with wizard(profile) as (pilot, screen):
        put(screen, password="hunter2")
        await pilot.pause()
        strips = screen._compositor.render_strips()
        assert "hunter2" not in "\n".join("".join(s.text for s in strip) for strip in strips)


async def test_what_is_missing_is_said_and_gets_the_focus(profile: Paths) -> None:
    async with wizard(profile) as (pilot, screen):
        await pilot.press("ctrl+s")
        await until(lambda: "address is needed" in words(screen))
        assert screen.focused is screen.query_one("#setup-email")
        put(screen, email="ada@example.org")
        await pilot.press("ctrl+s")
        await until(lambda: "password" in words(screen))
        assert screen.focused is screen.query_one("#setup-password")
        put(screen, password="x", smtp="not a server at all")
        await pilot.press("ctrl+s")
        await until(lambda: "is no server" in words(screen))
        assert screen.focused is screen.query_one("#setup-smtp")
        assert not profile.settings.exists()


async def test_an_account_that_fails_is_not_kept_and_the_fields_stay(profile: Paths, tmp_path: Path) -> None:
    port = closed_port()
    async with wizard(profile) as (pilot, screen):
        put(
            screen,
            email="ada@example.org",
            command="echo x",
            imap=f"127.0.0.1:{port} tls",
            smtp=f"127.0.0.1:{port} tls",
        )
        await pilot.press("ctrl+s")
        await until(lambda: f"127.0.0.1:{port}" in words(screen) and not screen._busy, 60)
        assert screen.focused is screen.query_one("#setup-imap")
        assert value(screen, "email") == "ada@example.org"
        assert settings.load(profile.settings).settings.accounts == ()
        await pilot.press("ctrl+o")
        await until(lambda: pilot.app.screen is not screen)
        (account,) = settings.load(profile.settings).settings.accounts
        assert (account.email, account.incoming.port) == ("ada@example.org", port)


async def test_without_a_keyring_the_password_goes_into_the_file_only_if_that_is_wanted(profile: Paths) -> None:
    async with wizard(profile) as (pilot, screen):
        put(screen, email="ada@example.org", password="hunter2", imap="127.0.0.1:1 tls", smtp="127.0.0.1:1 tls")
        await pilot.press("ctrl+o")
        await until(lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: "not kept" in words(screen))
        assert not profile.settings.exists()
        await until(lambda: not screen._busy)
        await pilot.press("ctrl+o")
        await until(lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await until(lambda: pilot.app.screen is not screen and profile.settings.exists())
        assert "hunter2" in profile.settings.read_text("utf-8")
        assert profile.settings.stat().st_mode & 0o077 == 0


async def test_escape_leaves_and_writes_nothing(profile: Paths) -> None:
    async with wizard(profile) as (pilot, screen):
        await pilot.press("escape")
        await until(lambda: pilot.app.screen is not screen)
        assert not profile.settings.exists()
