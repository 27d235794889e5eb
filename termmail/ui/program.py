"""The program itself: its commands, help, accounts, themes, writing, its end."""

from __future__ import annotations

import time

from termmail.model.account import Role
from termmail.store.verbs import VERBS
from termmail.text import SafeText
from termmail.ui import actions
from termmail.ui.part import Part


class Program(Part):
    """See the module."""

    async def act_compose(self) -> None:
        await self.owner.writing.new()

    async def act_reply(self) -> None:
        await self.owner.writing.answer(self.screen.reading.at_hand(), to_all=False)

    async def act_reply_all(self) -> None:
        await self.owner.writing.answer(self.screen.reading.at_hand(), to_all=True)

    async def act_forward(self) -> None:
        await self.owner.writing.pass_on(self.screen.reading.at_hand(), inline=True)

    async def act_forward_attached(self) -> None:
        await self.owner.writing.pass_on(self.screen.reading.at_hand(), inline=False)

    async def act_drafts(self) -> None:
        await self.owner.writing.choose_draft()

    async def act_go_drafts(self) -> None:
        if self.store.queue.drafts():
            await self.owner.writing.choose_draft()
        else:
            self.screen.listing.go_to_role(Role.DRAFTS)

    async def act_outbox(self) -> None:
        await self.owner.writing.outbox()

    async def act_command(self) -> None:
        line = await self.screen.prompt.ask(":", words=sorted({*actions.BY_ID, *VERBS}))
        if line and line.strip():
            await self.screen.do(line)

    async def act_palette(self) -> None:
        from termmail.ui.screens.dialogs import Choose

        table = self.owner.keymap.table
        items = [
            (one.id, SafeText(f"{one.words}  ({one.id})"), SafeText(" ".join(actions.keys_of(table, one.id)[:2])))
            for one in actions.ACTIONS
        ]
        chosen = await self.owner.ask(Choose(SafeText("What shall be done?"), items))
        if chosen:
            await self.screen.do(chosen)

    def act_help(self) -> None:
        from termmail.ui.screens.dialogs import ShowText

        table = self.owner.keymap.table
        context = self.screen.contexts()[0]
        lines: list[str] = []
        for group in dict.fromkeys(one.group for one in actions.ACTIONS):
            here = [
                one for one in actions.ACTIONS if one.group == group and one.context in (context, actions.EVERYWHERE)
            ]
            lines += [group, *(f"  {'  '.join(actions.keys_of(table, one.id)[:3]):14} {one.words}" for one in here), ""]
        self.screen.app.push_screen(ShowText(SafeText("Keys that work here"), lines))

    def act_sync(self) -> None:
        self.owner.link_say(sync=True)
        self.screen.say(SafeText("looking for new mail"))

    def act_accounts(self) -> None:
        from termmail.ui.screens.dialogs import ShowText

        lines = []
        for one in self.store.mail.accounts():
            last = time.strftime("%d %b %H:%M", time.localtime(one.last_sync)) if one.last_sync else "never"
            lines += [one.name, f"  state         {one.state.value} {one.folder}", f"  last complete {last}"]
            lines += [f"  queued        {one.queued} actions, {self.store.queue.queued_count(one.name)} messages"]
            lines += [f"  error         {one.error}", ""] if one.error else [""]
        self.screen.app.push_screen(ShowText(SafeText("Accounts"), lines or ["no account yet: :add-account"]))

    async def act_theme(self, arg: str) -> None:
        await self.owner.choose_theme(arg)

    async def act_add_account(self) -> None:
        await self.owner.add_account()

    def act_suspend(self) -> None:
        self.screen.app.action_suspend_process()

    def act_quit(self) -> None:
        self.screen.app.exit(0)
