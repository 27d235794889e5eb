"""The composer: fields, an editor, and a bar that is read before anything leaves.

What is typed is in the database two seconds later at the most; a composer that is killed offers it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from termmail.model.draft import Draft, Kind
from termmail.model.errors import MessageError, TermmailError
from termmail.text import SafeText, safe_line
from termmail.ui import foreign
from termmail.ui.screens.dialogs import AskPath, Choose, Confirm, plain_borders
from termmail.ui.widgets.editor import Editor
from termmail.ui.widgets.fields import Bar, Chooser, LineInput
from termmail.ui.widgets.reader import size
from termmail.ui.writing import attached, identities

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp

AUTOSAVE = 1.0  # seconds after the first key that is not saved yet
FIELDS = ("to", "cc", "bcc", "subject")
_ADDRESSES = ("to", "cc", "bcc")
MUTE = SafeText(
    "this account has no outgoing server and cannot send: choose another identity, or add one to the settings"
)


class ComposeScreen(ModalScreen[str]):
    """Gives back what became of the draft: sent, kept, dropped."""

    AUTO_FOCUS = ""

    def __init__(self, app: TermmailApp, draft: Draft) -> None:
        super().__init__(id="compose")
        self.owner = app
        self.draft = draft
        self.untouched = draft  # thrown away without a question
        self.opened: set[str] = set()  # fields that are shown although they are empty
        self.words = SafeText("")  # the last thing that went wrong
        self._saved = draft
        self._timer: Timer | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="compose-head"):
            with Horizontal(classes="field"):
                yield Static("From", classes="field-label", markup=False)
                yield Chooser(id="field-from")
            for name in FIELDS:
                with Horizontal(classes="field", id=f"row-{name}"):
                    yield Static(name.title(), classes="field-label", markup=False)
                    joint = ", " if name in _ADDRESSES else " "
                    yield LineInput(getattr(self.draft, name), id=f"field-{name}", joint=joint)
            with Horizontal(classes="field", id="row-attached"):
                yield Static("Attached", classes="field-label", markup=False)
                yield Static("", id="attached", classes="field-text", markup=False)
        yield Editor(self.draft.body, id="editor")
        yield Bar(id="review")

    def on_mount(self) -> None:
        plain_borders(self)
        self.untouched = self.draft = self._saved = self.current()
        if self.draft.id:
            text = foreign.recovered(self.owner.paths.runtime, self.draft.id, self.draft.updated)
            if text is not None:
                self.editor.put(text)
                self.words = SafeText("the text is what your editor saved when termmail ended")
                self.save()
        self.show_fields()
        if not self.draft.to:
            self._focus("to")
        elif not self.draft.subject and self.draft.kind == Kind.NEW:
            self._focus("subject")
        else:
            self.editor.focus()

    # -- state ------------------------------------------------------------------------

    @property
    def editor(self) -> Editor:
        return self.query_one("#editor", Editor)

    @property
    def bar(self) -> Bar:
        return self.query_one("#review", Bar)

    @property
    def reviewing(self) -> bool:
        """The bar has the keys."""
        return self.focused is self.bar

    def current(self) -> Draft:
        """The draft as it stands in the fields."""
        values = {name: self.query_one(f"#field-{name}", Input).value for name in FIELDS}
        return self.draft.but(body=self.editor.text, **values)

    def save(self, *, always: bool = False) -> None:
        """Write the draft if it has changed; what goes wrong is said in the bar."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self.draft = self.current()
        if self.draft == self._saved and not (always and not self.draft.id):
            return
        try:
            draft_id = self.owner.store.queue.save_draft(self.draft)
        except TermmailError as error:
            self.say(safe_line(f"the draft could not be saved: {error}"))
            return
        self.draft = self._saved = self.draft.but(id=draft_id)

    def say(self, words: SafeText) -> None:
        """A sentence in the bar."""
        self.words = words
        self.show_bar()

    def show_fields(self) -> None:
        """Sender, empty fields, attachments."""
        self.query_one("#field-from", Chooser).show(safe_line(self.draft.sender))
        for name in ("cc", "bcc"):
            self.query_one(f"#row-{name}").display = name in self.opened or bool(getattr(self.draft, name))
        names = ", ".join(f"{one.filename} ({size(one.size)})" for one in self.draft.attachments)
        self.query_one("#attached", Static).update(Content(safe_line(names)))
        self.query_one("#row-attached").display = bool(names)
        self.show_bar()

    def show_bar(self) -> None:
        """What stands in the way of sending, and the keys."""
        words = [self.words] if self.words else []
        if not self.reviewing:
            self.bar.show(words, (("Esc", "review and send"), ("Tab", "next field"), ("C-o", "your editor")))
            return
        from termmail.mime.compose import check

        found = check(self.draft)
        mark = self.owner.mail.glyphs.warning
        words += [safe_line(f"{mark} {one.words}") for one in found if one.words != self.words]
        words += [safe_line(f"{mark} {MUTE}")] if self._mute() and self.words != MUTE else []
        fatal = any(one.fatal for one in found) or self._mute()
        send = [] if fatal else [("y", "send anyway" if found else "send")]
        self.bar.show(
            words,
            [
                *send, ("e", "edit"), ("E", "your editor"), ("a", "attach"),
                *([("r", "remove")] if self.draft.attachments else []), ("i", "identity"), ("c b", "cc, bcc"),
                ("p", "keep draft"), ("n", "discard"),
            ],
        )  # fmt: skip

    def _mute(self) -> bool:
        """The account has no server to send by."""
        account = self.owner.settings.account(self.draft.account)
        return account is not None and account.outgoing is None

    def on_input_changed(self, _: Input.Changed) -> None:
        self._typed()

    def on_text_area_changed(self, _: TextArea.Changed) -> None:
        self._typed()

    def _typed(self) -> None:
        if self._timer is None:
            self._timer = self.set_timer(AUTOSAVE, self.save)

    # -- moving ------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Into the bar: the draft is saved and looked at; out of it: the words have been read."""
        if event.widget is self.bar:
            self.save()
        self.show_fields()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if event.widget is self.bar:
            self.words = SafeText("")

    def review(self) -> None:
        """Out of the text."""
        self.bar.focus()

    def on_editor_left(self) -> None:
        self.review()

    def _focus(self, name: str) -> None:
        """Into a field, "body" or "from"; a hidden one is shown."""
        if name in ("cc", "bcc"):
            self.opened.add(name)
            self.query_one(f"#row-{name}").display = True
        target = "#editor" if name == "body" else f"#field-{name}"
        self.query_one(target, Widget).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        names = [name for name in FIELDS if self.query_one(f"#row-{name}").display]
        at = names.index((event.input.id or "").removeprefix("field-"))
        self._focus([*names, "body"][at + 1])

    async def on_key(self, event: events.Key) -> None:
        if event.key == "ctrl+s" or (event.key == "escape" and not self.reviewing):
            self.review()
        elif event.key == "ctrl+o":
            self._foreign_editor()
        else:
            return
        event.stop()
        event.prevent_default()

    def on_bar_pressed(self, event: Bar.Pressed) -> None:
        """A key of the bar; none while a message is being finished."""
        actions: dict[str, Callable[[], Awaitable[None] | None]] = {
            "y": self._send, "e": self._edit, "escape": self._edit, "enter": self._edit, "ctrl+o": self._foreign_editor,
            "E": self._foreign_editor, "p": self._keep, "n": self._discard, "a": self._add_file, "r": self._remove_file,
            "i": self._identity, "c": lambda: self._focus("cc"), "b": lambda: self._focus("bcc"),
        }  # fmt: skip
        if self._busy:
            return
        action = actions.get(event.key)
        if action is not None:
            work = action()
            if work is not None:
                self.owner.run_task(work)
        elif event.key not in ("ctrl+s",) and len(event.key) == 1:
            self.say(safe_line(f"no command on {event.key}"))

    def _edit(self) -> None:
        self.editor.focus()

    # -- what the bar does --------------------------------------------------------------------

    async def _send(self) -> None:
        """Finish the bytes, put them into the outbox, go back to reading."""
        from termmail.mime import compose

        self.save()
        if self._mute():
            self.say(MUTE)
            return
        self._busy = True
        draft = self.draft
        try:
            built = await asyncio.to_thread(compose.build, draft)
            self.owner.store.queue.enqueue(
                built.raw, account=draft.account, mid=built.message_id, sender=built.sender,
                recipients=built.recipients, subject=built.subject, kind=draft.kind, parent=draft.parent,
                hold=self.owner.settings.compose.hold, draft_id=draft.id,
            )  # fmt: skip
        except MessageError as error:
            if error.hint in (*FIELDS, "from", "body"):
                self._focus(error.hint)
                await asyncio.sleep(0)
            self.call_after_refresh(self.say, safe_line(error.words))
            return
        except TermmailError as error:
            self.say(safe_line(str(error)))
            return
        except Exception:
            self.say(SafeText("the message could not be finished; it is kept as a draft, and the log says more"))
            raise
        finally:
            self._busy = False
        people = "1 recipient" if len(built.recipients) == 1 else f"{len(built.recipients)} recipients"
        self.owner.mail.say(safe_line(f"queued “{built.subject or 'no subject'}” to {people} · g o shows the outbox"))
        self.owner.link_say(look=True)
        self._leave("sent")

    def _keep(self) -> None:
        self.save(always=True)
        if not self.draft.id:
            return  # it could not be saved, and that was said
        self.owner.store.queue.close_draft(self.draft.id)
        self.owner.mail.say(SafeText("the draft is kept · g D goes on with it"))
        self._leave("kept")

    async def _discard(self) -> None:
        self.draft = self.current()
        touched = self.draft.but(id=self.untouched.id) != self.untouched or self.untouched.id
        if touched and not await self.owner.ask(Confirm(SafeText("Throw this draft away?"), "discard")):
            return
        if self.draft.id:
            self.owner.store.queue.drop_draft(self.draft.id)
        self._leave("dropped")

    def _leave(self, how: str) -> None:
        """Close the composer; nothing is saved after this."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = None
        self.dismiss(how)

    async def _add_file(self) -> None:
        path = await self.owner.ask(AskPath(SafeText("Attach which file?")))
        if not path:
            return
        try:
            one = attached(path)
        except TermmailError as error:
            self.say(safe_line(error.words))
            return
        self.words = SafeText("")
        self._changed(attachments=(*self.draft.attachments, one))

    async def _remove_file(self) -> None:
        there = self.draft.attachments
        if not there:
            self.say(SafeText("nothing is attached"))
            return
        items = [(str(n), safe_line(one.filename), SafeText(size(one.size))) for n, one in enumerate(there)]
        chosen: str | None = "0"
        if len(items) > 1:
            chosen = await self.owner.ask(Choose(SafeText("Remove which attachment?"), items))
        if chosen:
            self._changed(attachments=tuple(one for n, one in enumerate(there) if str(n) != chosen))

    # -- the sender -----------------------------------------------------------------------------

    def _senders(self) -> list[tuple[str, str]]:
        """(account, sender) of all accounts."""
        return [(account.name, who) for account in self.owner.settings.accounts for who in identities(account)]

    def on_chooser_turned(self, event: Chooser.Turned) -> None:
        if not event.step:
            self.owner.run_task(self._identity())
            return
        known = self._senders()
        now = (self.draft.account, self.draft.sender)
        at = known.index(now) if now in known else -min(event.step, 0)
        self._write_as(*known[(at + event.step) % len(known)])

    async def _identity(self) -> None:
        """Another sender, of this or another account."""
        items = [(f"{name}\n{who}", safe_line(who), safe_line(name)) for name, who in self._senders()]
        chosen = await self.owner.ask(Choose(SafeText("Write as"), items))
        if chosen:
            account, _, who = chosen.partition("\n")
            self._write_as(account, who)

    def _write_as(self, account: str, sender: str) -> None:
        """Take a sender; the signature changes with the account if it stands there untouched."""
        from termmail.mime.compose import signed

        settings = self.owner.settings
        old, new = settings.account(self.draft.account), settings.account(account)
        if old is not None and new is not None and old.signature != new.signature:
            text = self.editor.text
            block = signed("", old.signature).rstrip() if old.signature.strip() else ""
            if text.rstrip().endswith(block):
                bare = text.rstrip().removesuffix(block).rstrip("\n") if block else text
                self.editor.put(signed(bare or "\n", new.signature))
        self._changed(account=account, sender=sender)

    def _changed(self, **changes: object) -> None:
        self.draft = self.current().but(**changes)
        self.save()
        self.show_fields()

    # -- an editor of the user's -----------------------------------------------------------------

    def _foreign_editor(self) -> None:
        """Hand the text to $EDITOR in this terminal; what comes back is made safe, a failure loses nothing."""
        self.save(always=True)
        try:
            words = foreign.command(self.owner.settings.compose.editor)
            text = foreign.edit(self.editor.text, words, self.owner.paths.runtime, self.draft.id, self.app.suspend)
        except TermmailError as error:
            self.say(safe_line(str(error)))
            return
        if text != self.editor.text:
            self.editor.put(text)
        self.words = SafeText("")
        self.save()
        self.review()
