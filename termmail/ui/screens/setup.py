"""The account wizard: a few fields, guesses from the address, a test before anything is kept."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from termmail.config import secrets, settings
from termmail.config.guess import guess
from termmail.model.account import Account
from termmail.model.errors import TermmailError
from termmail.text import SafeText, safe_line
from termmail.ui.screens.dialogs import line_input

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

_FIELDS = (
    ("email", "Email address"), ("name", "Your name"), ("password", "Password"), ("command", "or a command for it"),
    ("imap", "Incoming server"), ("smtp", "Outgoing server"), ("user", "User"),
)  # fmt: skip


class SetupScreen(ModalScreen[bool]):
    """True if an account was added."""

    def __init__(self, app: TermmailApp) -> None:
        super().__init__()
        self.owner = app
        self._guessed = ""
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="setup"):
            yield Static("Add an account", classes="dialog-title", markup=False)
            for name, label in _FIELDS:
                with Horizontal(classes="field"):
                    yield Static(label, classes="field-label", markup=False)
                    yield line_input(password=name == "password", id=f"setup-{name}")
            yield Static("", id="setup-words", markup=False)
            yield Static("Enter next   C-s test and save   Esc not now", id="setup-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one("#setup-email", Input).focus()

    def _value(self, name: str) -> str:
        return self.query_one(f"#setup-{name}", Input).value.strip()

    def say(self, words: str) -> None:
        """A sentence below the fields."""
        self.query_one("#setup-words", Static).update(Content(safe_line(words, 500)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        names = [name for name, _ in _FIELDS]
        name = (event.input.id or "").removeprefix("setup-")
        if name == "email":
            self._fill(self._value("email"))
        at = names.index(name)
        if at + 1 < len(names):
            self.query_one(f"#setup-{names[at + 1]}", Input).focus()
        else:
            self.owner.run_task(self._save())

    def _fill(self, email: str) -> None:
        """Guess the servers from the address."""
        if "@" not in email or email == self._guessed:
            return
        self._guessed = email
        incoming, outgoing = guess(email)
        for name, server in (("imap", incoming), ("smtp", outgoing)):
            self.query_one(f"#setup-{name}", Input).value = f"{server.host}:{server.port} {server.security.value}"
        self.query_one("#setup-user", Input).value = email

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            self.dismiss(False)
        elif event.key == "ctrl+s":
            self.owner.run_task(self._save())
        else:
            return
        event.stop()

    async def _save(self) -> None:
        """Write the account, try it, and take it back if it does not work."""
        from termmail.config.guess import account_from, server_from

        if self._busy:
            return
        self._busy = True
        try:
            email = self._value("email")
            self._fill(email)
            user, command = self._value("user") or email, self._value("command")
            incoming = server_from(self._value("imap"), "imap", user, command)
            outgoing = server_from(self._value("smtp"), "smtp", user, command)
            taken = {account.name for account in self.owner.settings.accounts}
            account = account_from(email, self._value("name"), incoming, outgoing, taken)
            await self._try(account, self.query_one("#setup-password", Input).value)
        except TermmailError as error:
            self.say(str(error))
        finally:
            self._busy = False

    async def _try(self, account: Account, password: str) -> None:
        """Keep the secret and the account, then let `termmail account test` try them."""
        path = self.owner.paths.settings
        if password and not account.incoming.password_command:
            for server in (account.incoming, account.outgoing):
                if server is not None:
                    secrets.store(server, password)
        settings.save_account(path, account)
        self.say("trying …")
        words = [sys.executable, "-m", "termmail", "account", "test", account.name, "--json"]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL
        )
        output, _ = await process.communicate()
        try:
            results = [json.loads(line) for line in output.splitlines() if line.strip()]
        except ValueError:
            results = []
        failed = [f"{one.get('server', '')}: {one.get('words', '')}" for one in results if not one.get("ok")]
        if process.returncode == 0 and results and not failed:
            self.owner.mail.say(SafeText(f"the account {account.name} works"))
            self.dismiss(True)
            return
        settings.remove_account(path, account.name)
        self.say("; ".join(failed) or "the test could not be run")
