"""The composition root of the screen: store, keys, theme, link, and the screens on top of one another."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from textual import events
from textual.app import App
from textual.binding import Binding
from textual.screen import ModalScreen

from termmail.config import keymap
from termmail.config import themes as theme_files
from termmail.config.settings import Loaded, Settings, load
from termmail.link import Again, Link, ensure_engine
from termmail.model.errors import StoreBusy, TermmailError
from termmail.paths import Paths
from termmail.sandbox import Sandbox
from termmail.store.db import Store
from termmail.text import SafeText, safe_line
from termmail.ui import actions, skin
from termmail.ui.ahead import Ahead
from termmail.ui.driver import DiffDriver
from termmail.ui.keys import Keys
from termmail.ui.screens.mail import MailScreen
from termmail.ui.writing import Writing

log = logging.getLogger("termmail.ui")
T = TypeVar("T")
_FREE = 0.01  # seconds until a write that did not get its turn is tried again


class _Rest:
    """The rest of a coroutine that was begun by hand and now waits for something."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self.work, self.waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self.waits_for
        while True:
            try:
                got = yield waits_for
            except BaseException as error:  # noqa: BLE001  handed on to whom it is meant for
                failure: BaseException | None = error
            else:
                failure = None
            try:
                waits_for = self.work.send(got) if failure is None else self.work.throw(failure)
            except StopIteration:
                return


class TermmailApp(App[int]):
    """See the module."""

    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [Binding("ctrl+q", "app.none", show=False, priority=True), Binding("ctrl+c", "app.none", show=False)]  # noqa: RUF012
    TITLE = "termmail"

    def __init__(
        self, paths: Paths, loaded: Loaded, store: Store, *, theme: str = "", with_engine: bool = True
    ) -> None:
        no_colour = True if os.environ.get("NO_COLOR") else None  # else Textual would still send shades of grey
        super().__init__(driver_class=DiffDriver, ansi_color=no_colour)
        self.animation_level = "none"
        self.paths = paths
        self.loaded = loaded
        self.store = store
        self.with_engine = with_engine
        self.themes, self._theme_problems = skin.register(self, paths)
        self._begin_with(theme if theme in self.themes else "dusk")
        self.sandbox = Sandbox()
        self.keymap = keymap.load(paths.keys, actions.default_keys(), list(actions.BY_ID))
        self.keys = Keys(self.keymap.table)
        self.link: Link | None = None
        self.writing = Writing(self)
        self.mail = MailScreen(self)
        self.first: tuple[str, dict[str, str]] | None = None  # what to open at once: setup, compose
        self._tasks: set[asyncio.Task[None]] = set()
        self._ahead = Ahead(self, self._take)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our variables for themes that do not name them."""
        return skin.defaults()

    def _begin_with(self, theme: str) -> None:
        """A theme before the style sheet is read for the first time: each reading takes a tenth of the start."""
        self.set_reactive(App.theme, theme)
        dark = self.current_theme.dark
        self.update_classes({f"-theme-{theme}": True, "-dark-mode": dark, "-light-mode": not dark}, update=False)
        self.stylesheet.set_variables(self.get_css_variables())

    def action_none(self) -> None:
        """Keys that Textual binds and we do not want bound."""

    # -- life -------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.push_screen(self.mail)
        problems = self._theme_problems
        problems += theme_files.unknown(self.settings.ui.theme, self.themes, self.paths.settings)
        problems += [*self.keymap.problems, *self.loaded.problems]
        self.call_after_refresh(self._after_first_paint, [str(one) for one in problems])

    def _after_first_paint(self, problems: list[str]) -> None:
        """The list is on the screen: now the engine, the worker, and what has to be said."""
        gc.collect()
        gc.freeze()
        gc.enable()
        if problems:
            more = f" (and {len(problems) - 1} more: termmail config check)" if len(problems) > 1 else ""
            self.mail.say(safe_line(problems[0] + more, 400), "error")
        if self.with_engine:
            self._start_engine()
        self.link = Link(self.paths, self._again)
        self.link.start()
        if self.mail.folder is not None:
            self.link.say(open=int(self.mail.folder.id))
        self.sandbox.prestart()
        if self.first is not None:
            what, fields = self.first
            self.run_task(self.add_account() if what == "setup" else self.writing.new(**fields))
        elif not self.settings.accounts and not self.store.mail.accounts():
            self.run_task(self.add_account())
        elif drafts := self.store.queue.drafts(only_open=True):
            words = drafts[0].subject or drafts[0].to or "without subject"
            self.mail.say(safe_line(f"a draft was open when termmail ended: “{words}” · g D goes on with it"))

    def _start_engine(self) -> None:
        try:
            ensure_engine(self.paths)
        except TermmailError as error:
            self.mail.say(safe_line(str(error)), "error")

    def _again(self, what: Again) -> None:
        """The engine says: look again."""
        try:
            self.mail.look_again(what)
        except TermmailError as error:
            self.mail.say(safe_line(str(error)), "error")

    def link_say(self, **message: Any) -> None:
        """Say something to the engine, if it is there."""
        if self.link is not None:
            self.link.say(**message)

    async def on_unmount(self) -> None:
        if self.link is not None:
            await self.link.close()
        self.sandbox.close()

    def _handle_exception(self, error: Exception) -> None:
        """A fault of ours: into the log and the status line, never a traceback on the screen."""
        log.error("a fault", exc_info=error)
        words = (
            error.words
            if isinstance(error, TermmailError)
            else f"{type(error).__name__} (a fault of termmail; see the log)"
        )
        if self._running and self.mail.is_mounted:
            self.mail.say(safe_line(words), "error")
        else:
            self._return_code = 1
            self.exit(1, message=safe_line(words))

    # -- keys --------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """What is typed is done in the order in which it was typed."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self._ahead(event)
        else:
            await super().on_event(event)

    def opening(self) -> bool:
        """A dialog or composer has been called and cannot take keys yet."""
        screen = self.screen
        return screen is not self.mail and not (screen.is_mounted and (screen.focused or not screen.focus_chain))

    async def _take(self, event: events.Event) -> bool:
        """Keys of the mail screen go through our sequences first; True if a widget has it now."""
        if isinstance(event, events.Key) and self._ours():
            outcome = self.keys.feed(event.key, self.mail.contexts())
            self.mail.status.pending(outcome.pending)
            if outcome.action:
                self.perform(outcome.action, outcome.count, counted=outcome.counted)
                return False
            if outcome.swallowed:
                return False
            if event.is_printable:
                self.mail.say(safe_line(f"no command on {event.character} · ? shows the keys"))
                return False
        await super().on_event(event)
        return True

    def _ours(self) -> bool:
        """The mail screen has the keys, and no field wants letters."""
        if self.screen is not self.mail:
            return False
        return not (self.mail.focused is not None and self.mail.focused.check_consume_key("a", "a"))

    def perform(self, line: str, count: int = 1, *, counted: bool = False) -> None:
        """Run a command; what does not wait for an answer is done before this returns."""
        work = self._guarded(self.mail.do(line, count, counted=counted))
        try:
            waits_for = work.send(None)
        except StopIteration:
            return
        self.run_task(_Rest(work, waits_for))

    def when_free(self, write: Callable[[], None]) -> None:
        """A write that nobody waits for: done as soon as no other process writes; keys have their turn meanwhile."""
        try:
            with self.store.db.impatient():
                write()
        except StoreBusy:
            self.set_timer(_FREE, lambda: self.when_free(write))
        except TermmailError as error:
            self.mail.say(safe_line(str(error)), "error")

    def run_task(self, work: Any) -> asyncio.Task[None]:
        """Something that waits, for the user or for a worker; what goes wrong is said in the status line."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except TermmailError as error:
            self.mail.say(safe_line(str(error)), "error")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  shown in words, kept in the log
            self._handle_exception(error)

    # -- asking --------------------------------------------------------------------------

    async def ask(self, dialog: ModalScreen[T]) -> T | None:
        """Show a dialog and wait for its answer."""
        future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

        def answered(value: T | None) -> None:
            if not future.done():
                future.set_result(value)

        self.push_screen(dialog, answered)
        return await future

    async def ask_text(self, title: str, value: str = "") -> str | None:
        """A line of text."""
        from termmail.ui.screens.dialogs import AskText

        return await self.ask(AskText(SafeText(title), value))

    async def choose_theme(self, name: str) -> None:
        """Another theme, for now."""
        from termmail.ui.screens.dialogs import Choose

        if not name:
            items = [
                (one, SafeText(one), SafeText("dark" if spec.dark else "light")) for one, spec in self.themes.items()
            ]
            name = await self.ask(Choose(SafeText("Theme"), items)) or ""
        if name in self.themes:
            self.theme = name
        elif name:
            self.mail.say(safe_line(f"no theme {name!r}; there are {', '.join(self.themes)}"), "error")

    async def add_account(self) -> None:
        """The wizard; the engine hears of what it made."""
        from termmail.ui.screens.setup import SetupScreen

        if await self.ask(SetupScreen(self)):
            self.loaded = load(self.paths.settings)
            for account in self.settings.accounts:
                self.store.mail.ensure_account(account.name, account.email)
            self.link_say(settings=True)
            self.mail.look_at_accounts()


def run(paths: Paths, loaded: Loaded, *, setup: bool = False, compose: dict[str, str] | None = None) -> int:
    """Open the mail client; the exit code.  Raises StoreError."""
    gc.disable()
    paths.make()
    _start_log(paths)
    store = Store.open(paths)
    for account in loaded.settings.accounts:
        store.mail.ensure_account(account.name, account.email)
    themes, _ = theme_files.load(theme_files.shipped(), paths.themes)
    theme = skin.choose(loaded.settings.ui.theme, themes)
    app = TermmailApp(paths, loaded, store, theme=theme)
    app.first = ("setup", {}) if setup else ("compose", compose) if compose is not None else None
    try:
        code = app.run(mouse=loaded.settings.ui.mouse)
    finally:
        with contextlib.suppress(TermmailError):
            store.close()
    return code or 0


def _start_log(paths: Paths) -> None:
    """The UI's log is its own file: two processes cannot turn one over."""
    from logging.handlers import RotatingFileHandler

    path = paths.state / "log-ui"
    handler = RotatingFileHandler(path, maxBytes=1 << 20, backupCount=1, encoding="utf-8")
    os.chmod(path, 0o600)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s %(message)s"))
    root = logging.getLogger("termmail")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
