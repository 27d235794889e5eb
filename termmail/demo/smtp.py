"""An SMTP server (RFC 5321) that delivers into the demo's own mailboxes."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from termmail.demo.faults import Faults
from termmail.demo.mailbox import World

SIZE = 50 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was accepted, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes


class Server:
    """Listens on a port of its own choice; `addresses` maps addr-specs to users of the world."""

    def __init__(self, world: World, faults: Faults, addresses: dict[str, str]) -> None:
        self.world, self.faults, self.addresses = world, faults, addresses
        self.port = 0
        self.taken: list[Taken] = []
        self.on_taken: Callable[[Taken], None] = lambda _: None
        self._server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            for writer in list(self.writers):
                writer.close()

    def deliver(self, taken: Taken) -> None:
        """Into the INBOX of every recipient who lives here."""
        self.taken.append(taken)
        with self.world.lock:
            for recipient in taken.recipients:
                user = self.addresses.get(recipient.lower())
                if user is not None:
                    stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
                    received = f"Received: from localhost by demo.example; {stamp}\r\n".encode()
                    self.world.accounts[user].folders["INBOX"].add(received + taken.raw)
        self.world.changed()
        self.on_taken(taken)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = ""
        recipients: list[str] = []

        async def say(words: str) -> None:
            writer.write(words.replace("\n", "\r\n").encode() + b"\r\n")
            await writer.drain()

        await say("220 demo.example ESMTP")
        while line := await reader.readline():
            words = line.decode("utf-8", "replace").rstrip("\r\n")
            name = words.partition(" ")[0].upper()
            if name in self.faults.smtp_close:
                self.faults.smtp_close.discard(name)
                return
            if prepared := self.faults.take(self.faults.smtp, name):
                await say(prepared)
                continue
            if name == "EHLO":
                await say(
                    f"250-demo.example\n250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n250-DSN\n250-SIZE {SIZE}\n"
                    "250-ENHANCEDSTATUSCODES\n250 AUTH PLAIN LOGIN"
                )
            elif name == "HELO":
                await say("250 demo.example")
            elif name == "AUTH":
                await say(await self._auth(words, reader, say))
            elif name == "MAIL":
                sender, recipients = _path(words), []
                await say("250 2.1.0 ok")
            elif name == "RCPT":
                recipients.append(_path(words))
                await say("250 2.1.5 ok")
            elif name == "DATA":
                if not recipients:
                    await say("503 5.5.1 nobody to send to")
                    continue
                await say("354 go on")
                raw = await _data(reader)
                if "." in self.faults.smtp_close:
                    self.faults.smtp_close.discard(".")
                    self.deliver(Taken(sender, tuple(recipients), raw))
                    return
                if prepared := self.faults.take(self.faults.smtp, "."):
                    await say(prepared)
                else:
                    self.deliver(Taken(sender, tuple(recipients), raw))
                    await say("250 2.0.0 taken")
                sender, recipients = "", []
            elif name == "RSET":
                sender, recipients = "", []
                await say("250 2.0.0 ok")
            elif name == "NOOP":
                await say("250 2.0.0 ok")
            elif name == "QUIT":
                await say("221 2.0.0 good-bye")
                return
            else:
                await say("502 5.5.1 unknown")

    async def _auth(self, words: str, reader: asyncio.StreamReader, say: Callable[[str], object]) -> str:
        """AUTH PLAIN and LOGIN."""
        parts = words.split()
        kind = parts[1].upper() if len(parts) > 1 else ""

        async def ask(challenge: str) -> bytes:
            answer = say(f"334 {challenge}")
            if asyncio.iscoroutine(answer):
                await answer
            return base64.b64decode((await reader.readline()).strip())

        if kind == "PLAIN":
            data = base64.b64decode(parts[2]) if len(parts) > 2 else await ask("")
            _, user, password = data.decode().split("\0")
        elif kind == "LOGIN":
            user = (base64.b64decode(parts[2]) if len(parts) > 2 else await ask("VXNlcm5hbWU6")).decode()
            password = (await ask("UGFzc3dvcmQ6")).decode()
        else:
            return "504 5.5.4 unknown mechanism"
        account = self.world.accounts.get(user)
        good = account is not None and account.password == password
        return "235 2.7.0 welcome" if good else "535 5.7.8 wrong user or password"


def _path(words: str) -> str:
    match = re.search(r"<([^>]*)>", words)
    return match[1] if match else ""


async def _data(reader: asyncio.StreamReader) -> bytes:
    """The message up to the dot, dots unstuffed."""
    lines = []
    while (line := await reader.readline()) not in (b".\r\n", b".\n", b""):
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)
