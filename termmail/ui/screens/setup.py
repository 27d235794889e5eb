"""The account wizard: a few fields, guesses from the address, a test before anything is kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from termmail.config import secrets, settings
from termmail.config.guess import account_from, guess, server_from
from termmail.model.account import Account, Server
from termmail.model.errors import SecretError, TermmailError, UsageError
from termmail.text import SafeText, safe_line
from termmail.ui.screens.dialogs import Confirm, plain_borders
from termmail.ui.widgets.fields import Bar, KeyWord, LineInput

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

_FIELDS = (
    ("email", "Email address", ""), ("name", "Your name", "as others shall see it"), ("password", "Password", ""),
    ("command", "or a command", "prints the password: pass show mail/ada"),
    ("imap", "Incoming", "imap.example.org:993 tls, or pop.example.org:995"), ("smtp", "Outgoing", "smtp.example.org:465 tls"),
    ("user", "User", "left out: the address"),
)  # fmt: skip
_NAMES = [name for name, _, _ in _FIELDS]
_GROUPS = ("password", "imap")  # fields with a gap above
_LOG_IN = ("password", "log in", "login", "authentic", "credential")


class SetupScreen(ModalScreen[bool]):
    """True if an account was added."""

    AUTO_FOCUS = ""

    def __init__(self, app: TermmailApp) -> None:
        super().__init__()
        self.owner = app
        self._guessed: dict[str, str] = {}
        self._test: asyncio.subprocess.Process | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="setup"):
            yield Static("Add an account", classes="dialog-title", markup=False)
            for name, label, example in _FIELDS:
                with Horizontal(classes="field gap" if name in _GROUPS else "field"):
                    yield Static(label, classes="field-label", markup=False)
                    yield LineInput(placeholder=example, password=name == "password", id=f"setup-{name}")
            yield Static("", id="setup-words", markup=False)
            yield Bar(id="setup-keys")

    def on_mount(self) -> None:
        plain_borders(self)
        self._bar.can_focus = False
        self._keys(("Enter", "next field"), ("C-s", "test and save"), ("Esc", "not now"))
        self.say("")
        self._field("email").focus()

    # -- what is on the screen -------------------------------------------------------------

    @property
    def _bar(self) -> Bar:
        return self.query_one("#setup-keys", Bar)

    def _keys(self, *keys: KeyWord) -> None:
        self._bar.show([], keys)

    def _field(self, name: str) -> Input:
        return self.query_one(f"#setup-{name}", Input)

    def _value(self, name: str) -> str:
        return self._field(name).value.strip()

    def say(self, words: str, *, good: bool = False) -> None:
        """A sentence below the fields."""
        place = self.query_one("#setup-words", Static)
        place.update(Content(safe_line(words, 500)))
        place.set_class(good, "-good")
        place.display = bool(words)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if isinstance(event.widget, Widget) and event.widget.id == "setup-email":
            self._fill(self._value("email"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        at = _NAMES.index((event.input.id or "").removeprefix("setup-"))
        if at + 1 < len(_NAMES):
            self._field(_NAMES[at + 1]).focus()
        else:
            self.owner.run_task(self._save())

    def _fill(self, email: str) -> None:
        """Guess the servers from the address; what the user wrote himself stays."""
        if not email.partition("@")[2]:
            return
        guesses = {"user": email}
        for name, server in zip(("imap", "smtp"), guess(email), strict=True):
            guesses[name] = f"{server.host}:{server.port} {server.security.value}"
        for name, value in guesses.items():
            if self._value(name) in ("", self._guessed.get(name, "")):
                self._field(name).value = value
        self._guessed = guesses

    async def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            self._stop() if self._busy else self.dismiss(False)
        elif event.key == "ctrl+s":
            self.owner.run_task(self._save())
        elif event.key == "ctrl+o":
            self.owner.run_task(self._save(test=False))
        else:
            return
        event.stop()
        event.prevent_default()

    def _stop(self) -> None:
        """End the test."""
        if self._test is not None and self._test.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._test.kill()

    def on_unmount(self) -> None:
        self._stop()

    # -- saving ------------------------------------------------------------------------------

    async def _save(self, *, test: bool = True) -> None:
        """Write the account, try it, and take it back if it does not work."""
        if self._busy:
            return
        self._busy = True
        try:
            account = self._account()
            account, kept = await self._with_password(account, self._field("password").value)
            settings.save_account(self.owner.paths.settings, account)
            failed = await self._try(account) if test else []
            if not failed:
                self.owner.mail.say(safe_line(f"the account {account.name} {'works' if test else 'is saved'}"))
                self.dismiss(True)
                return
            settings.remove_account(self.owner.paths.settings, account.name)
            for server in kept:
                await asyncio.to_thread(secrets.forget, server)
            self._failed(failed)
        except TermmailError as error:
            self.say(str(error))
            if isinstance(error, SecretError):
                self._field("command").focus()
        finally:
            self._busy = False

    def _account(self) -> Account:
        """The account as the fields describe it; the one at fault gets the focus.  Raises UsageError."""
        email = self._value("email")
        self._fill(email)
        user, command = self._value("user") or email, self._value("command")
        found: list[Server] = []
        for name in ("imap", "smtp"):
            try:
                found.append(server_from(self._value(name), name, user, command))
            except UsageError:
                self._field(name if email else "email").focus()
                if not email:
                    raise UsageError("the address is needed", hint="ada@example.org") from None
                raise
        taken = {account.name for account in self.owner.settings.accounts}
        try:
            account = account_from(email, self._value("name"), found[0], found[1], taken)
        except UsageError:
            self._field("email").focus()
            raise
        if not command and not self._field("password").value:
            self._field("password").focus()
            raise UsageError("a password is needed, or a command that prints it")
        return account

    async def _with_password(self, account: Account, password: str) -> tuple[Account, list[Server]]:
        """Keep the password in the keyring, else, if the user wants that, in the settings; (account, kept for)."""
        if account.incoming.password_command:
            return account, []
        both = [server for server in (account.incoming, account.outgoing) if server is not None]
        if await asyncio.to_thread(secrets.has_keyring):
            for server in both:
                await asyncio.to_thread(secrets.store, server, password)
            return account, both
        question = "There is no system keyring here.  Keep the password in settings.toml, readable by you only?"
        if not await self.owner.ask(Confirm(SafeText(question), "keep it there")):
            raise SecretError("the password was not kept", hint="give a command that prints it")
        incoming, outgoing = account.incoming, account.outgoing
        return replace(
            account, incoming=replace(incoming, password=password),
            outgoing=replace(outgoing, password=password) if outgoing else None,
        ), []  # fmt: skip

    async def _try(self, account: Account) -> list[dict[str, Any]]:
        """What `termmail account test` finds wrong; the network is not this process's business."""
        self.say(f"trying {account.incoming.host} …", good=True)
        self._keys(("Esc", "stop"))
        words = [sys.executable, "-m", "termmail", "account", "test", account.name, "--json"]
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._test = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, stdin=null)
        output, said = await self._test.communicate()
        code = self._test.returncode or 0
        self._test = None
        try:
            results = [json.loads(line) for line in output.splitlines() if line.strip()]
        except ValueError:
            results = []
        failed = [one for one in results if not one.get("ok")]
        if code < 0:
            return [{"words": "stopped"}]
        if not failed and (code or not results):
            last = said.decode("utf-8", "replace").strip().rpartition("\n")[2].removeprefix("termmail: ")
            return [{"words": last or "the test could not be run"}]
        return failed

    def _failed(self, failed: list[dict[str, Any]]) -> None:
        """Say what is wrong and go to where it can be mended."""
        self.say("; ".join(f"{one.get('server', '')}: {one.get('words', '')}".removeprefix(": ") for one in failed))
        self._keys(("C-s", "try again"), ("C-o", "keep it as it is"), ("Esc", "not now"))
        words, server = str(failed[0].get("words", "")).lower(), str(failed[0].get("server", ""))
        if any(word in words for word in _LOG_IN):
            self._field("command" if self._value("command") else "password").focus()
        elif server:
            self._field("smtp" if server.startswith("smtp") else "imap").focus()
