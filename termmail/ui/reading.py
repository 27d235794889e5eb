"""The message that is read: shown when the cursor rests, opened, marked as read, looked at closely."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.timer import Timer

from termmail.model.account import AccountState, Role
from termmail.model.document import Document
from termmail.model.message import Flag, FolderId, MessageId, PlacementId
from termmail.sandbox import Poison
from termmail.text import SafeText, safe_line
from termmail.ui.part import Part

if TYPE_CHECKING:
    from termmail.ui.screens.mail import MailScreen

PREVIEW = 0.08  # seconds the cursor rests before its message is rendered
PATIENCE = 0.25  # seconds a message may take to open before the one that stood there goes
READ_AFTER = 1.0  # seconds on the screen until a message counts as read
DOCUMENTS = 32  # rendered messages that are kept
CUT_OFF = (
    AccountState.OFFLINE, AccountState.UNREACHABLE, AccountState.THROTTLED, AccountState.AUTH, AccountState.TLS,
)  # fmt: skip


class Reading(Part):
    """See the module."""

    def __init__(self, screen: MailScreen) -> None:
        super().__init__(screen)
        self.opened = False  # the reader has the screen, or the focus
        self.shown = PlacementId(0)
        self.rendering: asyncio.Task[None] | None = None
        self.waits_for = MessageId(0)
        self._prefer: dict[int, str] = {}
        self._documents: dict[tuple[int, str, int], Document] = {}
        self._timer: Timer | None = None
        self._read_timer: Timer | None = None

    def going_on(self) -> bool:
        """Somebody reads: the cursor must stay on its message."""
        return self.opened or (self.screen.preview and self.shown != 0)

    def preview_soon(self) -> None:
        """Show the message under the cursor when it rests there."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.screen.set_timer(PREVIEW, lambda: self.show(self.list.current()))

    def open(self) -> None:
        """Enter: the reader takes the focus, and the screen where there is no room for both."""
        current = self.list.current()
        if not current:
            return
        if self.screen.folder and self.screen.folder.role == Role.DRAFTS and not self.screen.searching:
            self.screen.say(SafeText("a draft: r answers nobody; g D lists the drafts kept here"))
        self.opened = True
        self.screen.lay_panes()
        self.screen.set_focus(self.reader)
        if self.shown != current or self.reader.document is None:
            self.show(current)
        self.mark_read(current)

    def close(self) -> None:
        """Back to the list."""
        if self.opened:
            self.opened = False
            self.screen.lay_panes()
            self.screen.set_focus(self.list)

    def show(self, placement: PlacementId) -> None:
        """Put a message into the reader; from the cache at once, else when it is there."""
        row = self.store.mail.row(placement) if placement else None
        if self.rendering is not None:
            self.rendering.cancel()
        self.waits_for = MessageId(0)
        self.shown = placement
        if row is None:
            self.reader.say(SafeText(""))
            return
        prefer = self._prefer.get(row.message_id, "plain")
        key = (int(row.message_id), prefer, self.reader._room())
        if key in self._documents:
            self._display(placement, self._documents[key])
            return
        raw = self.store.mail.body(row.message_id)
        if raw is None:
            self._wait_for(row.message_id)
            return
        self.rendering = task = self.owner.run_task(self._render_body(placement, row.message_id, raw, key))

        def still_waits() -> None:
            if self.rendering is task and not task.done():
                self.reader.say(SafeText("Opening…"))

        self.screen.set_timer(PATIENCE, still_waits)

    def _wait_for(self, message: MessageId) -> None:
        """The message is not here: ask for it, and say how it stands."""
        self.waits_for = message
        if error := self.store.mail.body_error(message):
            self.reader.say(safe_line(f"This message cannot be fetched: {error}"))
            return
        self.owner.when_free(lambda: self._want(message))
        account = self.screen.account()
        offline = account is not None and account.state in CUT_OFF
        self.reader.say(
            SafeText("Not here yet, and no connection: it comes when there is one" if offline else "Fetching…")
        )

    def _want(self, message: MessageId) -> None:
        self.store.mail.want_body(message)
        self.owner.link_say(look=True)

    async def _render_body(
        self, placement: PlacementId, message: MessageId, raw: bytes, key: tuple[int, str, int]
    ) -> None:
        if self.store.mail.is_poison(message):
            document = await asyncio.to_thread(_as_source, raw)
        else:
            try:
                document = await self.owner.sandbox.render(raw, width=key[2], prefer=key[1])
            except Poison:
                self.store.mail.mark_poison(message)
                document = await asyncio.to_thread(_as_source, raw)
        self._documents[key] = document
        while len(self._documents) > DOCUMENTS:
            del self._documents[next(iter(self._documents))]
        if self.shown == placement:
            self._display(placement, document)

    def _display(self, placement: PlacementId, document: Document) -> None:
        self.reader.show(document)
        if self._read_timer is not None:
            self._read_timer.stop()
        how = self.owner.settings.ui.mark_read
        if how == "view" or (how == "open" and self.opened):
            self._read_timer = self.screen.set_timer(
                0.01 if self.opened else READ_AFTER, lambda: self.mark_read(placement)
            )

    def mark_read(self, placement: PlacementId) -> None:
        """A message was read, if it is still the one that is shown."""
        if placement != self.shown or self.owner.settings.ui.mark_read == "never":
            return
        row = self.store.mail.row(placement)
        if row is not None and not row.flags & Flag.SEEN:
            self.store.intents.flag([placement], add=Flag.SEEN, undoable=False)
            self.screen.organising.after_change()

    def act_read_on(self) -> None:
        if not self.opened:
            self.open()
        elif self.rendering is not None and not self.rendering.done():
            return  # what is on the screen is not what is being opened: nobody has read that yet
        elif not self.reader.page(1):
            self.screen.moving.to_unread(1)

    def act_read_back(self) -> None:
        self.reader.page(-1)

    def act_headers(self) -> None:
        self.reader.toggle_headers()

    def act_quotes(self) -> None:
        self.reader.toggle_quotes()

    def act_html(self) -> None:
        row, document = self.store.mail.row(self.shown), self.reader.document
        if row is None or document is None:
            return
        if len(document.alternatives) < 2:
            self.screen.say(SafeText(f"this message is {document.shown} only"))
            return
        self._prefer[row.message_id] = "html" if self._prefer.get(row.message_id, "plain") == "plain" else "plain"
        self.show(self.shown)

    def act_layout(self) -> None:
        self.screen.next_layout()

    async def act_save(self, arg: str) -> None:
        from termmail.ui import saving

        await saving.save(self.screen, arg)

    async def act_attachments(self) -> None:
        from termmail.ui import saving

        await saving.browse(self.screen)

    async def act_links(self) -> None:
        from termmail.ui.screens.dialogs import Choose

        document = self.reader.document
        if document is None or not document.links:
            self.screen.say(SafeText("no links here"))
            return
        items = [(str(one.n), safe_line(f"[{one.n}] {one.host}  {one.text}"), SafeText("")) for one in document.links]
        chosen = await self.owner.ask(Choose(SafeText("Copy a link"), items))
        if chosen:
            url = document.links[int(chosen) - 1].url
            self.screen.app.copy_to_clipboard(url)
            self.screen.say(safe_line(f"copied {url}", 300))

    def act_copy_text(self) -> None:
        if self.reader.document is not None:
            self.screen.app.copy_to_clipboard(self.reader.document.text)
            self.screen.say(SafeText("copied the text"))

    def act_why(self) -> None:
        """What is known of the message under the cursor."""
        from termmail.ui.screens.dialogs import ShowText

        place = self.store.mail.place(self.list.current())
        folders = {f.id: f.path for f in self.store.mail.folders(place.account_id)}
        lines = [
            f"account        {self.store.mail.account_name(place.account_id)}",
            f"on the server  {folders.get(place.folder_id, '?')}, UID {place.uid or 'not known yet'}",
            f"flags there    {place.srv_flags.name or 'none'} {place.srv_keywords}",
            f"shown in       {folders.get(place.view_id or FolderId(0), 'nowhere: to be deleted')}",
            f"flags here     {place.flags.name or 'none'} {place.keywords}",
            f"waits          {'yes: the server has not heard of it' if place.pending else 'nothing'}",
            f"Message-ID     {place.mid}",
        ]
        self.screen.app.push_screen(ShowText(SafeText("This message"), lines))

    def at_hand(self) -> PlacementId:
        """The message that is read, else the one under the cursor."""
        return self.shown if self.opened and self.shown else self.list.current()


def _as_source(raw: bytes) -> Document:
    from termmail.mime.render import render_raw

    return render_raw(raw)
