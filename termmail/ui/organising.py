"""Choosing messages, and what the verbs do to them."""

from __future__ import annotations

from termmail.model.account import Role
from termmail.model.message import Flag, PlacementId
from termmail.store.intents import Done
from termmail.store.verbs import VERBS
from termmail.text import SafeText, safe_line
from termmail.ui.part import Part


class Organising(Part):
    """See the module."""

    def act_select(self) -> None:
        current = self.list.current()
        if current:
            self.list.marked ^= {current}
            self.list.redraw(self.list.cursor)
            self.list.go(self.list.cursor + 1)
            self._say_selected()

    def _say_selected(self) -> None:
        """What a verb would act on stands in the title line."""
        self.screen.entitle()

    def act_select_range(self) -> None:
        self.list.range_from = -1 if self.list.range_from >= 0 else self.list.cursor
        self.list.refresh()
        self.screen.entitle()

    def _select_where(self, query: str) -> None:
        view = self.list.view
        if view is None:
            return
        folder = self.screen.folder.id if self.screen.folder and not self.screen.searching else None
        found = set(self.store.search.find(query, folder_id=folder, limit=1_000_000))
        self.list.marked = found & set(view.ids)  # type: ignore[assignment]
        self.list.refresh()
        self._say_selected()

    def act_select_all(self) -> None:
        if self.list.view is not None:
            while self.list.view.more():
                pass
            self.list.marked = set(self.list.view.ids)
            self.list.refresh()
            self._say_selected()

    def act_select_none(self) -> None:
        self.list.marked.clear()
        self.list.range_from = -1
        self.list.refresh()
        self._say_selected()

    def act_select_unread(self) -> None:
        self._select_where("is:unread")

    def act_select_read(self) -> None:
        self._select_where("is:read")

    def act_select_starred(self) -> None:
        self._select_where("is:starred")

    def act_select_sender(self) -> None:
        row = self.store.mail.row(self.list.current())
        if row is not None and row.sender.email:
            self._select_where('from:"' + row.sender.email.replace('"', "") + '"')

    def act_select_thread(self) -> None:
        row, view = self.store.mail.row(self.list.current()), self.list.view
        if row is not None and view is not None:
            self.list.marked = {i for n, i in enumerate(view.ids) if (one := view.row(n)) and one.thread == row.thread}
            self.list.refresh()
            self._say_selected()

    async def verb(self, name: str, arg: str = "") -> None:
        """A verb of the store on the chosen messages."""
        targets = self.list.targets() if VERBS[name].takes_ids else []
        if VERBS[name].takes_ids and not targets:
            self.screen.say(SafeText("no message here"), "error")
            return
        follow = self.list.neighbour(set(targets))
        done = VERBS[name].run(self.store, targets, arg)
        self.acted(done, follow)

    def acted(self, done: Done, follow: PlacementId = PlacementId(0)) -> None:
        """A verb is done: the screen shows it at once, the engine hears of it."""
        if done.count:
            self.list.marked.clear()
            self.list.range_from = -1
        hint = " · u undoes" if done.undo_id and done.count and not done.words.startswith("undone") else ""
        self.screen.say(safe_line(f"{done.words}{hint}", 300))
        self.after_change(follow)

    def after_change(self, follow: PlacementId = PlacementId(0)) -> None:
        """Our own change in the store: show it, pass it on."""
        view = self.list.view
        if view is not None:
            current = self.list.current()
            if view.refresh():
                stays = current in view.ids[max(0, self.list.cursor - 1) : self.list.cursor + 2]
                self.list.refreshed(current if stays or not follow else follow)
        if self.list.current() != self.screen.reading.shown:
            if self.screen.reading.opened and self.list.current():
                self.screen.reading.show(self.list.current())
            elif self.screen.reading.opened:
                self.screen.reading.close()
            elif self.screen.preview:
                self.screen.reading.preview_soon()
        self.screen.look_at_accounts()
        self.owner.link_say(look=True)

    async def act_move(self, arg: str) -> None:
        await self._to_folder("move", "Move to", arg)

    async def act_copy(self, arg: str) -> None:
        await self._to_folder("copy", "Copy to", arg)

    async def _to_folder(self, name: str, title: str, arg: str) -> None:
        targets = self.list.targets()
        if not targets:
            return
        accounts = {place.account_id for place in self.store.mail.places(targets)}
        folder = await self.screen.listing.choose(f"{title} …", arg, accounts=accounts)
        if folder is None:
            return
        follow = self.list.neighbour(set(targets))
        run = self.store.intents.move if name == "move" else self.store.intents.copy
        self.acted(run(targets, folder), follow)

    async def act_star(self) -> None:
        await self._toggle(Flag.FLAGGED, "star", "unstar")

    async def act_unread(self) -> None:
        await self._toggle(Flag.SEEN, "read", "unread")

    async def _toggle(self, flag: Flag, on: str, off: str) -> None:
        rows = self.store.mail.rows(self.list.targets())
        await self.verb(off if rows and all(row.flags & flag for row in rows.values()) else on)

    async def act_spam(self) -> None:
        await self.verb("unspam" if self.screen.folder is not None and self.screen.folder.role == Role.JUNK else "spam")

    async def act_delete(self) -> None:
        from termmail.ui.screens.dialogs import Confirm

        targets = self.list.targets()
        if not targets:
            return
        count = f"{len(targets):,} messages" if len(targets) > 1 else "this message"
        if await self.owner.ask(
            Confirm(SafeText(f"Delete {count} for ever?  It will be gone from the server too."), "delete")
        ):
            await self.verb("delete")

    async def act_label(self, arg: str) -> None:
        if not arg:
            arg = await self.owner.ask_text("Labels: +word adds, -word removes", "+") or ""
        if arg.strip(" +-"):
            await self.verb("label", arg)
