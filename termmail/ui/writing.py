"""Beginning to write: identities, replies, forwards, drafts, the outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from termmail.model.account import Account
from termmail.model.document import Document
from termmail.model.draft import Attachment, Draft, DraftId, OutboxId
from termmail.model.errors import NotFound, UsageError
from termmail.model.message import PlacementId
from termmail.sandbox import Poison
from termmail.text import SafeText, safe_line

if TYPE_CHECKING:
    from termmail.ui.app import TermmailApp


def identities(account: Account) -> list[str]:
    """The senders an account may write as; patterns are none."""
    from termmail.mime.compose import written
    from termmail.model.message import Address

    addresses = [account.email, *(alias for alias in account.aliases if "*" not in alias)]
    return [written(Address(SafeText(account.full_name), SafeText(one))) for one in addresses]


def attached(path: str) -> Attachment:
    """A file as an attachment.  Raises UsageError if it cannot be read."""
    import mimetypes

    found = Path(path)
    try:
        found = found.expanduser()
        if found.exists() and not found.is_file():  # opening a named pipe would wait for ever
            raise UsageError(f"{safe_line(path, 200)} cannot be attached: it is no file")
        with found.open("rb"):
            length = found.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{safe_line(path, 200)} cannot be attached: {words}") from error
    kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    return Attachment(safe_line(found.name, 200), kind, str(found.absolute()), size=length)


def _item(number: int, subject: str, people: str, hint: str) -> tuple[str, SafeText, SafeText]:
    """A draft or message as a line to choose."""
    return str(number), safe_line(f"{subject or '(no subject)'} — {people or 'nobody yet'}"), safe_line(hint)


class Writing:
    """Opens composers for the app."""

    def __init__(self, app: TermmailApp) -> None:
        self.app = app

    def _account(self, placement: PlacementId = PlacementId(0)) -> Account:
        """The account to write from: that of a message, of the open folder, else the first.  Raises UsageError."""
        settings, store = self.app.settings, self.app.store
        name = ""
        if placement:
            name = store.mail.account_name(store.mail.place(placement).account_id)
        elif self.app.mail.folder is not None:
            name = store.mail.account_name(self.app.mail.folder.account_id)
        account = settings.account(name) or next(iter(settings.accounts), None)
        if account is None:
            raise UsageError("there is no account to write from", hint=":add-account")
        return account

    async def open(self, draft: Draft) -> None:
        """A composer with this draft."""
        from termmail.ui.screens.compose import ComposeScreen

        await self.app.ask(ComposeScreen(self.app, draft))
        self.app.mail.look_at_accounts()

    async def new(self, *, to: str = "", subject: str = "", body: str = "", cc: str = "", attach: str = "") -> None:
        """A message that nothing came before; `attach` names files, a line each."""
        from termmail.mime.compose import signed

        account = self._account()
        await self.open(
            Draft(
                account=account.name, sender=identities(account)[0], to=to, cc=cc, subject=subject,
                body=signed(body or "\n", account.signature),
                attachments=tuple(attached(path) for path in filter(None, attach.split("\n"))),
            )
        )  # fmt: skip

    async def _document(self, placement: PlacementId) -> tuple[bytes, Document]:
        """The message to answer, as plain text.  Raises NotFound while it is not here."""
        if not placement:
            raise NotFound("no message here")
        store = self.app.store
        message = store.mail.place(placement).message_id
        raw = store.mail.body(message)
        if raw is None:
            store.mail.want_body(message)
            self.app.link_say(look=True)
            for _ in range(100):
                await asyncio.sleep(0.05)
                raw = store.mail.body(message)
                if raw is not None:
                    break
            else:
                raise NotFound("the message is not here yet", hint="try again when it has come")
        try:
            return raw, await self.app.sandbox.render(raw, width=72, prefer="plain")
        except Poison as error:
            raise NotFound("this message cannot be read, so it cannot be quoted") from error

    def _identity(self, account: Account, document: Document) -> str:
        """The sender for an answer: the address the message was sent to, if it is one of ours."""
        there = {a.email.lower() for a in (*document.to, *document.cc)}
        known = identities(account)
        return next((one for one in known if any(f"{e}>" in one.lower() or one.lower() == e for e in there)), known[0])

    async def answer(self, placement: PlacementId, *, to_all: bool) -> None:
        """A reply."""
        from termmail.mime import compose

        _, document = await self._document(placement)
        account = self._account(placement)
        own = [account.email, *account.aliases]
        draft = compose.reply(
            document, account=account.name, identity=self._identity(account, document), own=own, to_all=to_all,
            parent=placement, signature=account.signature,
        )  # fmt: skip
        await self.open(draft)

    async def pass_on(self, placement: PlacementId, *, inline: bool) -> None:
        """A forward."""
        from termmail.mime import compose

        raw, document = await self._document(placement)
        account = self._account(placement)
        draft = await asyncio.to_thread(
            compose.forward, raw, document, account=account.name, identity=self._identity(account, document), inline=inline,
            parent=placement, signature=account.signature,
        )  # fmt: skip
        await self.open(draft)

    async def choose_draft(self) -> None:
        """Go on with one of the drafts that are kept here."""
        from termmail.ui import dates
        from termmail.ui.screens.dialogs import Choose

        drafts = self.app.store.queue.drafts()
        if not drafts:
            self.app.mail.say(SafeText("no drafts are kept here"))
            return
        items = [
            (
                str(d.id),
                safe_line(f"{d.subject or '(no subject)'} — {d.to or 'nobody yet'}"),
                SafeText(dates.short(int(d.updated))),
            )
            for d in drafts
        ]
        chosen = await self.app.ask(Choose(SafeText("Go on with a draft"), items))
        if chosen:
            await self.open(self.app.store.queue.draft(DraftId(int(chosen))))

    async def outbox(self) -> None:
        """What waits to be sent, and what can be done about it."""
        from termmail.ui.screens.dialogs import Choose

        queue = self.app.store.queue
        found = queue.outbox()
        if not found:
            self.app.mail.say(SafeText("the outbox is empty"))
            return
        items = [
            (
                str(o.id),
                safe_line(f"{o.subject or '(no subject)'} → {', '.join(r.email for r in o.recipients)}"),
                safe_line(o.state.value),
            )
            for o in found
        ]
        chosen = await self.app.ask(Choose(SafeText("Outbox"), items))
        if not chosen:
            return
        one = queue.outgoing(OutboxId(int(chosen)))
        what = [
            ("retry", SafeText("send again now"), SafeText("")),
            ("cancel", SafeText("take out of the outbox"), SafeText("")),
        ]
        what.append(("mark", SafeText("it was sent: settle it"), SafeText("")))
        title = safe_line(f"{one.state.value}: {one.error or one.subject}", 200)
        done = await self.app.ask(Choose(title, what))
        if done == "retry":
            queue.retry(one.id)
        elif done == "cancel":
            queue.cancel(one.id)
        elif done == "mark":
            queue.mark_sent(one.id)
        self.app.link_say(look=True)
        self.app.mail.look_at_accounts()
