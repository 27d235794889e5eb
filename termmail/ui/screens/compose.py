"""The composer: fields, an editor, and a bar that is read before anything leaves.

What is typed is in the database two seconds later at the most; a composer that is killed offers it again.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from termmail.model.draft import Draft
from termmail.model.errors import MessageError, TermmailError
from termmail.text import SafeText, safe_block, safe_line
from termmail.ui.screens.dialogs import AskText, Choose, Confirm, line_input
from termmail.ui.widgets.editor import Editor
from termmail.ui.widgets.reader import size
from termmail.ui.writing import attached, identities

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

AUTOSAVE = 1.0  # seconds after the last key
FIELDS = ("to", "cc", "bcc", "subject")


class ComposeScreen(ModalScreen[str]):
    """Gives back what became of the draft: sent, kept, dropped."""

    def __init__(self, app: TermmailApp, draft: Draft) -> None:
        super().__init__(id="compose")
        self.owner = app
        self.draft = draft
        self.more_fields = bool(draft.cc or draft.bcc)
        self.reviewing = False
        self._saved = draft
        self._timer: object | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="compose-head"):
            with Horizontal(classes="field"):
                yield Static("From", classes="field-label", markup=False)
                yield Static("", id="from", classes="field-text", markup=False)
            for name in FIELDS:
                with Horizontal(classes="field", id=f"row-{name}"):
                    yield Static(name.title(), classes="field-label", markup=False)
                    yield line_input(getattr(self.draft, name), id=f"field-{name}")
            with Horizontal(classes="field", id="row-attached"):
                yield Static("Attached", classes="field-label", markup=False)
                yield Static("", id="attached", classes="field-text", markup=False)
        yield Editor(self.draft.body, id="editor")
        with Vertical(id="review"):
            yield Static("", id="review-problems", markup=False)
            yield Static("", id="review-keys", markup=False)

    def on_mount(self) -> None:
        self.show_state()
        if not self.draft.to:
            self.query_one("#field-to", Input).focus()
        else:
            self.edit()
        self.save()

    # -- state ------------------------------------------------------------------------

    def show_state(self) -> None:
        """Sender, attachments, the bar."""
        self.query_one("#from", Static).update(Content(safe_line(self.draft.sender)))
        for name in ("cc", "bcc"):
            self.query_one(f"#row-{name}").display = self.more_fields or bool(getattr(self.draft, name))
        attached = ", ".join(f"{a.filename} ({size(a.size)})" for a in self.draft.attachments)
        self.query_one("#attached", Static).update(Content(safe_line(attached, 400)))
        self.query_one("#row-attached").display = bool(attached)
        problems = self.query_one("#review-problems", Static)
        keys = self.query_one("#review-keys", Static)
        if not self.reviewing:
            problems.update("")
            keys.update(Content("Esc review and send   Tab next field   C-e editor of yours"))
            problems.display = False
            return
        from termmail.mime.compose import check

        found = check(self.draft)
        mark = self.owner.mail.glyphs.warning
        problems.update(Content("\n".join(f"{mark} {one.words}" for one in found)))
        problems.display = bool(found)
        send = (
            "y send"
            if not found
            else "y send anyway"
            if not any(one.fatal for one in found)
            else "(cannot be sent yet)"
        )
        keys.update(
            Content(
                f"{send}   e edit   E $EDITOR   a attach   r remove   i identity   c cc/bcc   p keep draft   n discard"
            )
        )

    def current(self) -> Draft:
        """The draft as it stands in the fields."""
        values = {name: self.query_one(f"#field-{name}", Input).value for name in FIELDS}
        return self.draft.but(body=self.query_one("#editor", Editor).text, **values)

    def save(self) -> None:
        """Write the draft if it has changed."""
        self._timer = None
        self.draft = self.current()
        if self.draft != self._saved:
            try:
                draft_id = self.owner.store.queue.save_draft(self.draft)
            except TermmailError as error:
                self.say(safe_line(f"the draft could not be saved: {error}"))
                return
            self.draft = self.draft.but(id=draft_id)
            self._saved = self.draft

    def say(self, words: SafeText) -> None:
        """A sentence in the bar."""
        problems = self.query_one("#review-problems", Static)
        problems.update(Content(words))
        problems.display = True

    def _typed(self) -> None:
        if self._timer is None:
            self._timer = self.set_timer(AUTOSAVE, self.save)

    def on_input_changed(self, _: Input.Changed) -> None:
        self._typed()

    def on_text_area_changed(self, _: TextArea.Changed) -> None:
        self._typed()

    # -- moving ------------------------------------------------------------------------

    def edit(self) -> None:
        """Into the text."""
        self.reviewing = False
        self.query_one("#editor", Editor).focus()
        self.show_state()

    def review(self) -> None:
        """Out of the text: what stands in the way of sending, and the keys."""
        self.save()
        self.reviewing = True
        self.set_focus(None)
        self.show_state()

    def on_editor_left(self) -> None:
        self.review()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        names = [name for name in FIELDS if self.query_one(f"#row-{name}").display]
        at = names.index((event.input.id or "").removeprefix("field-"))
        if at + 1 < len(names):
            self.query_one(f"#field-{names[at + 1]}", Input).focus()
        else:
            self.edit()

    async def on_key(self, event: events.Key) -> None:
        if event.key == "ctrl+s":
            self.review()
        elif event.key == "ctrl+e":
            await self._foreign_editor()
        elif event.key == "escape" and not self.reviewing:
            self.review()
        elif self.reviewing and not self._busy:
            actions: dict[str, Callable[[], object]] = {
                "y": self._send,
                "e": self.edit,
                "escape": self.edit,
                "enter": self.edit,
                "p": self._keep,
                "n": self._discard,
                "a": self._add_file,
                "r": self._remove_file,
                "i": self._identity,
                "c": self._more,
                "b": self._more,
            }
            if event.key == "E":
                await self._foreign_editor()
            elif event.key in actions:
                result = actions[event.key]()
                if asyncio.iscoroutine(result):
                    self.owner.run_task(result)
            elif event.key == "tab":
                self.query_one("#field-to", Input).focus()
                self.reviewing = False
                self.show_state()
            else:
                return
        else:
            return
        event.stop()
        event.prevent_default()

    # -- the bar ----------------------------------------------------------------------------

    async def _send(self) -> None:
        """Finish the bytes, put them into the outbox, go back to reading."""
        from termmail.mime import compose

        self.save()
        self._busy = True
        try:
            built = await asyncio.to_thread(compose.build, self.draft)
            settings = self.owner.settings
            self.owner.store.queue.enqueue(
                built.raw, account=self.draft.account, mid=built.message_id, sender=built.sender,
                recipients=built.recipients, subject=built.subject, kind=self.draft.kind, parent=self.draft.parent,
                hold=settings.compose.hold, draft_id=self.draft.id,
            )  # fmt: skip
        except MessageError as error:
            self.show_state()
            self.say(safe_line(f"{error.words}"))
            name = error.hint if error.hint in FIELDS else ""
            if name:
                self.reviewing = False
                self.query_one(f"#field-{name}", Input).focus()
            return
        except TermmailError as error:
            self.say(safe_line(str(error)))
            return
        finally:
            self._busy = False
        self.owner.mail.say(
            safe_line(f"queued “{built.subject or 'no subject'}” to {len(built.recipients)} · g o shows the outbox")
        )
        self.owner.link_say(look=True)
        self.dismiss("sent")

    def _keep(self) -> None:
        self.save()
        if self.draft.id:
            self.owner.store.queue.close_draft(self.draft.id)
        self.owner.mail.say(SafeText("the draft is kept · g D goes on with it"))
        self.dismiss("kept")

    async def _discard(self) -> None:
        if await self.owner.ask(Confirm(SafeText("Throw this draft away?"), "discard")):
            if self._timer is not None:
                self._timer.stop()  # type: ignore[attr-defined]
            if self.draft.id:
                self.owner.store.queue.drop_draft(self.draft.id)
            self.dismiss("dropped")

    async def _add_file(self) -> None:
        """Add a file."""
        path = await self.owner.ask(AskText(SafeText("Attach which file?"), ""))
        if not path:
            return
        try:
            one = attached(path)
        except TermmailError as error:
            self.say(safe_line(error.words))
            return
        self._changed(attachments=(*self.draft.attachments, one))

    async def _remove_file(self) -> None:
        if not self.draft.attachments:
            self.say(SafeText("nothing is attached"))
            return
        items = [(str(n), safe_line(a.filename), SafeText(size(a.size))) for n, a in enumerate(self.draft.attachments)]
        chosen = await self.owner.ask(Choose(SafeText("Remove which attachment?"), items))
        if chosen:
            self._changed(attachments=tuple(a for n, a in enumerate(self.draft.attachments) if str(n) != chosen))

    async def _identity(self) -> None:
        """Another sender, of this or another account."""
        items = [
            (f"{account.name}\n{who}", safe_line(who), safe_line(account.name))
            for account in self.owner.settings.accounts
            for who in identities(account)
        ]
        chosen = await self.owner.ask(Choose(SafeText("Write as"), items))
        if chosen:
            account, _, who = chosen.partition("\n")
            self._changed(account=account, sender=who)

    def _more(self) -> None:
        self.more_fields = not self.more_fields
        self.show_state()
        if self.more_fields:
            self.reviewing = False
            self.query_one("#field-cc", Input).focus()
            self.show_state()

    def _changed(self, **changes: object) -> None:
        self.draft = self.current().but(**changes)
        self.save()
        self.show_state()

    # -- an editor of the user's -----------------------------------------------------------------

    async def _foreign_editor(self) -> None:
        """Hand the text to $EDITOR in this terminal; what comes back is made safe, a failure loses nothing."""
        self.save()
        editor = self.owner.settings.compose.editor or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            words = shlex.split(editor)
            with tempfile.TemporaryDirectory(prefix="edit-", dir=self.owner.paths.runtime) as folder:
                path = Path(folder) / "message.txt"
                with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                    file.write(self.draft.body)
                with self.app.suspend():
                    done = subprocess.run([*words, str(path)], check=False)
                text = safe_block(path.read_bytes().decode("utf-8", "replace"))
        except (OSError, ValueError) as error:
            self.say(safe_line(f"{editor} could not be run: {error}"))
            return
        if done.returncode:
            self.say(safe_line(f"{editor} ended with code {done.returncode}; the text is what it was"))
            return
        self.query_one("#editor", Editor).text = text
        self.save()
        self.review()
