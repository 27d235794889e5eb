"""An IMAP4rev1 server (RFC 3501) with the extensions that matter, each of which can be switched off."""

from __future__ import annotations

import asyncio
import base64
import calendar
import contextlib
import fnmatch
import re
import time
from collections.abc import Callable

from termmail.demo import mime
from termmail.demo.faults import Faults
from termmail.demo.mailbox import Account, Folder, Stored, World

EXTENSIONS = (
    "UIDPLUS", "MOVE", "IDLE", "SPECIAL-USE", "NAMESPACE", "ID", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "CONDSTORE",
    "LITERAL+", "SASL-IR", "UNSELECT", "CHILDREN", "ENABLE",
)  # fmt: skip
SYSTEM = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
_TOKEN = re.compile(rb'\s*("(?:[^"\\]|\\.)*"|\(|\)|[^\s()"]*\[[^\]]*\](?:<[\d.]+>)?|[^\s()"]+)')
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
LINE = 1 << 20


class Problem(Exception):
    """A NO or BAD answer."""


class Quit(Exception):
    """The line is to be dropped."""


class Server:
    """Listens on a port of its own choice."""

    def __init__(self, world: World, faults: Faults, without: frozenset[str] = frozenset()) -> None:
        self.world, self.faults = world, faults
        self.extensions = [name for name in EXTENSIONS if name not in without]
        self.port = 0
        self.sessions = 0
        self._server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            for writer in list(self.writers):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self.writers.add(writer)
        session = Session(self, reader, writer)
        try:
            if self.faults.connections and self.sessions > self.faults.connections:
                await session.say(b"* BYE Too many simultaneous connections")
            else:
                await session.run()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, Quit):
            pass
        finally:
            self.sessions -= 1
            self.writers.discard(writer)
            writer.close()


class Session:
    """One connection."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.world, self.faults = server, server.world, server.faults
        self.reader, self.writer = reader, writer
        self.account: Account | None = None
        self.folder: Folder | None = None
        self.read_only = False
        self.condstore = False
        self.view: list[Stored] = []
        self.known: dict[int, int] = {}  # UID → MODSEQ the client has heard of
        self.version = -1
        self.sent = 0

    def has(self, name: str) -> bool:
        return name in self.server.extensions

    # -- lines -----------------------------------------------------------------------

    async def say(self, line: bytes) -> None:
        """One line to the client, with whatever fault is set."""
        if self.faults.stall:
            await asyncio.sleep(3600)
        data = line + b"\r\n"
        if self.faults.close_after and self.sent + len(data) > self.faults.close_after:
            self.writer.write(data[: self.faults.close_after - self.sent])
            self.faults.close_after = 0
            await self.writer.drain()
            raise Quit
        self.sent += len(data)
        if self.faults.split:
            for start in range(0, len(data), self.faults.split):
                self.writer.write(data[start : start + self.faults.split])
                await self.writer.drain()
                await asyncio.sleep(0)
        else:
            self.writer.write(data)
        if self.writer.transport.get_write_buffer_size() > 1 << 16:
            await self.writer.drain()

    async def command(self) -> list[bytes] | None:
        """One command: text and literals by turns; None at the end."""
        parts: list[bytes] = []
        while True:
            line = await self.reader.readline()
            if not line:
                return None
            line = line.rstrip(b"\r\n")
            match = re.search(rb"\{(\d+)(\+?)\}$", line)
            if not match:
                return [*parts, line]
            if match[2] and not self.has("LITERAL+"):
                raise Quit
            if not match[2]:
                await self.say(b"+ go on")
                await self.writer.drain()
            parts += [line[: match.start()], await self.reader.readexactly(int(match[1]))]

    async def run(self) -> None:
        """Greet, then obey."""
        await self.say(b"* OK [CAPABILITY " + self.capability() + b"] termmail demo server")
        while (parts := await self.command()) is not None:
            tag, _, rest = parts[0].partition(b" ")
            words = self.words([rest, *parts[1:]])
            name = words.pop(0).upper().decode("latin-1") if words else ""
            if name == "UID" and words:
                name = f"UID {words.pop(0).upper().decode('latin-1')}"
            if self.faults.delay:
                await asyncio.sleep(self.faults.delay)
            if name in self.faults.close_before:
                self.faults.close_before.discard(name)
                raise Quit
            prepared = self.faults.take(self.faults.replies, name)
            if prepared:
                await self.say(
                    b"* " + prepared.encode() if prepared.startswith("BYE") else tag + b" " + prepared.encode()
                )
                if prepared.startswith("BYE"):
                    return
                continue
            try:
                answer = await self.obey(tag, name, words)
            except Problem as problem:
                answer = str(problem).encode()
            if name in self.faults.close_after_command:
                self.faults.close_after_command.discard(name)
                raise Quit
            if self.folder is not None and name not in ("FETCH", "STORE", "SEARCH"):
                await self.news(expunges=True)
            await self.say(tag + b" " + answer)
            await self.writer.drain()
            if name == "LOGOUT":
                return

    def words(self, parts: list[bytes]) -> list[bytes]:
        """Tokens: atoms, strings (marked by a leading NUL), parentheses."""
        out: list[bytes] = []
        for place, part in enumerate(parts):
            if place % 2:
                out.append(b"\0" + part)
                continue
            for match in _TOKEN.finditer(part):
                token = match[1]
                if token.startswith(b'"'):
                    token = b"\0" + re.sub(rb"\\(.)", rb"\1", token[1:-1])
                out.append(token)
        return out

    def capability(self) -> bytes:
        plain = "LOGIN" if self.account else "AUTH=PLAIN"
        return " ".join(["IMAP4rev1", plain, *self.server.extensions]).replace("LOGIN ", "").encode()

    # -- commands --------------------------------------------------------------------------

    async def obey(self, tag: bytes, name: str, words: list[bytes]) -> bytes:
        """Carry out a command; the answer behind the tag."""
        if name == "CAPABILITY":
            await self.say(b"* CAPABILITY " + self.capability())
            return b"OK done"
        if name in ("NOOP", "CHECK"):
            return b"OK done"
        if name == "LOGOUT":
            await self.say(b"* BYE good-bye")
            return b"OK done"
        if name == "ID" and self.has("ID"):
            await self.say(b'* ID ("name" "termmail demo")')
            return b"OK done"
        if self.account is None:
            if name == "LOGIN" and len(words) == 2:
                return self.login(text(words[0]), text(words[1]))
            if name == "AUTHENTICATE" and words and words[0].upper() == b"PLAIN":
                return await self.authenticate(words[1] if len(words) > 1 and self.has("SASL-IR") else None)
            raise Problem("BAD not now")
        method: Callable[..., object] | None = getattr(self, "do_" + name.lower().replace(" ", "_"), None)
        if method is None or (name in _NEEDS and not self.has(_NEEDS[name])):
            raise Problem("BAD unknown command")
        if (name in _SELECTED or name.startswith("UID ")) and self.folder is None:
            raise Problem("BAD no folder is selected")
        with self.world.lock:
            result = method(words)
        return await result if asyncio.iscoroutine(result) else result  # type: ignore[return-value]

    def login(self, user: str, password: str) -> bytes:
        account = self.world.accounts.get(user)
        if account is None or account.password != password:
            raise Problem("NO [AUTHENTICATIONFAILED] wrong user or password")
        self.account = account
        return b"OK [CAPABILITY " + self.capability() + b"] welcome"

    async def authenticate(self, initial: bytes | None) -> bytes:
        if initial is None:
            await self.say(b"+ ")
            await self.writer.drain()
            initial = (await self.reader.readline()).strip()
        try:
            _, user, password = base64.b64decode(initial).decode().split("\0")
        except ValueError as error:
            raise Problem("BAD malformed") from error
        return self.login(user, password)

    def find(self, word: bytes) -> Folder:
        assert self.account is not None
        name = text(word)
        found = self.account.folders.get("INBOX" if name.upper() == "INBOX" else name)
        if found is None:
            raise Problem("NO [NONEXISTENT] no such folder")
        return found

    def target(self, word: bytes) -> Folder:
        try:
            return self.find(word)
        except Problem as error:
            raise Problem("NO [TRYCREATE] no such folder") from error

    def do_namespace(self, _words: list[bytes]) -> object:
        return self._lines([b'* NAMESPACE (("" "/")) NIL NIL'], b"OK done")

    def do_enable(self, words: list[bytes]) -> object:
        on = [word.upper() for word in words if word.upper() == b"CONDSTORE" and self.has("CONDSTORE")]
        self.condstore = self.condstore or bool(on)
        return self._lines([b" ".join([b"* ENABLED", *on])], b"OK done")

    async def _lines(self, lines: list[bytes], answer: bytes) -> bytes:
        for line in lines:
            await self.say(line)
        return answer

    def do_list(self, words: list[bytes]) -> object:
        assert self.account is not None
        options: list[bytes] = []
        if b"RETURN" in [word.upper() for word in words]:
            at = [word.upper() for word in words].index(b"RETURN")
            options = [word.upper() for word in words[at + 1 :]]
            words = words[:at]
            if not (self.has("LIST-EXTENDED") or self.has("LIST-STATUS")):
                raise Problem("BAD no such option")
        pattern = text(words[-1]).replace("%", "*") if len(words) > 1 else "*"
        lines = []
        for name, folder in self.account.folders.items():
            if not fnmatch.fnmatchcase(name, pattern):
                continue
            attributes = [
                b"\\HasChildren" if any(o.startswith(name + "/") for o in self.account.folders) else b"\\HasNoChildren"
            ]
            if self.has("SPECIAL-USE") and folder.special:
                attributes.append(folder.special.encode())
            if b"SUBSCRIBED" in options and folder.subscribed:
                attributes.append(b"\\Subscribed")
            lines.append(b'* LIST (%s) "/" %s' % (b" ".join(attributes), mime.quoted(name)))
            if b"STATUS" in options and self.has("LIST-STATUS"):
                lines.append(self._status(folder, options[options.index(b"STATUS") + 1 :]))
        return self._lines(lines, b"OK done")

    def do_lsub(self, _words: list[bytes]) -> object:
        assert self.account is not None
        lines = [b'* LSUB () "/" ' + mime.quoted(n) for n, f in self.account.folders.items() if f.subscribed]
        return self._lines(lines, b"OK done")

    def _status(self, folder: Folder, items: list[bytes]) -> bytes:
        unseen = sum("\\Seen" not in one.flags for one in folder.messages)
        values = {
            b"MESSAGES": len(folder.messages), b"UNSEEN": unseen, b"UIDNEXT": folder.uidnext,
            b"UIDVALIDITY": folder.uidvalidity, b"RECENT": 0,
        }  # fmt: skip
        if self.has("CONDSTORE"):
            values[b"HIGHESTMODSEQ"] = folder.modseq
        said = b" ".join(b"%s %d" % (item, values[item]) for item in items if item in values)
        return b"* STATUS " + mime.quoted(folder.name) + b" (" + said + b")"

    def do_status(self, words: list[bytes]) -> object:
        return self._lines([self._status(self.find(words[0]), [word.upper() for word in words[1:]])], b"OK done")

    def do_create(self, words: list[bytes]) -> bytes:
        assert self.account is not None
        name = text(words[0]).rstrip("/")
        if name in self.account.folders or name.upper() == "INBOX":
            raise Problem("NO [ALREADYEXISTS] it is there")
        self.account.create(name)
        return b"OK done"

    def do_delete(self, words: list[bytes]) -> bytes:
        assert self.account is not None
        folder = self.find(words[0])
        if folder.name == "INBOX":
            raise Problem("NO [CANNOT] not INBOX")
        del self.account.folders[folder.name]
        return b"OK done"

    def do_rename(self, words: list[bytes]) -> bytes:
        assert self.account is not None
        folder, new = self.find(words[0]), text(words[1])
        if new in self.account.folders:
            raise Problem("NO [ALREADYEXISTS] it is there")
        old = folder.name
        for name in [n for n in self.account.folders if n == old or n.startswith(old + "/")]:
            moved = self.account.folders.pop(name)
            moved.name = new + name[len(old) :]
            self.account.folders[moved.name] = moved
        return b"OK done"

    def do_subscribe(self, words: list[bytes]) -> bytes:
        self.find(words[0]).subscribed = True
        return b"OK done"

    def do_unsubscribe(self, words: list[bytes]) -> bytes:
        self.find(words[0]).subscribed = False
        return b"OK done"

    def do_select(self, words: list[bytes]) -> object:
        return self._select(words, read_only=False)

    def do_examine(self, words: list[bytes]) -> object:
        return self._select(words, read_only=True)

    def _select(self, words: list[bytes], *, read_only: bool) -> object:
        self.folder = None
        folder = self.folder = self.find(words[0])
        self.read_only = read_only
        if b"CONDSTORE" in [word.upper() for word in words[1:]]:
            self.condstore = True
        self.view, self.version = list(folder.messages), folder.version
        self.known = {one.uid: one.modseq for one in self.view}
        keywords = sorted({flag for one in self.view for flag in one.flags if not flag.startswith("\\")})
        lines = [
            b"* FLAGS (" + " ".join([*SYSTEM, *keywords]).encode() + b")",
            b"* OK [PERMANENTFLAGS (" + " ".join([*SYSTEM, *keywords, "\\*"]).encode() + b")] all of them",
            b"* %d EXISTS" % len(self.view), b"* 0 RECENT", b"* OK [UIDVALIDITY %d] valid" % folder.uidvalidity,
            b"* OK [UIDNEXT %d] next" % folder.uidnext,
        ]  # fmt: skip
        if self.has("CONDSTORE"):
            lines.append(b"* OK [HIGHESTMODSEQ %d] highest" % folder.modseq)
        return self._lines(lines, b"OK [READ-ONLY] done" if read_only else b"OK [READ-WRITE] done")

    def do_unselect(self, _words: list[bytes]) -> bytes:
        self.folder = None
        return b"OK done"

    def do_close(self, _words: list[bytes]) -> bytes:
        if self.folder is not None and not self.read_only:
            self.folder.remove({one.uid for one in self.view if "\\Deleted" in one.flags})
            self.world.changed()
        self.folder = None
        return b"OK done"

    # -- unasked ------------------------------------------------------------------------------

    async def news(self, *, expunges: bool) -> None:
        """Tell what has changed since the client last heard."""
        folder = self.folder
        if folder is None or folder.version == self.version:
            return
        lines = []
        with self.world.lock:
            now = {id(one) for one in folder.messages}
            if expunges:
                for place in range(len(self.view), 0, -1):
                    if id(self.view[place - 1]) not in now:
                        lines.append(b"* %d EXPUNGE" % place)
                        del self.view[place - 1]
                self.version = folder.version
            here = {id(one) for one in self.view}
            fresh = [one for one in folder.messages if id(one) not in here]
            if fresh:
                self.view += fresh
                lines.append(b"* %d EXISTS" % len(self.view))
                self.known.update((one.uid, one.modseq) for one in fresh)
            for place, one in enumerate(self.view, 1):
                if self.known.get(one.uid) != one.modseq and id(one) in now:
                    self.known[one.uid] = one.modseq
                    lines.append(b"* %d FETCH (%s)" % (place, self._flags(one, uid=True)))
        for line in lines:
            await self.say(line)

    async def do_idle(self, _words: list[bytes]) -> bytes:
        """IDLE until DONE."""
        event = asyncio.Event()
        self.world.watch(event)
        await self.say(b"+ idling")
        await self.writer.drain()
        done = asyncio.ensure_future(self.reader.readline())
        try:
            while not done.done():
                await self.news(expunges=True)
                await self.writer.drain()
                event.clear()
                woken = asyncio.ensure_future(event.wait())
                await asyncio.wait({done, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
        finally:
            self.world.unwatch(event)
            done.cancel()
        if done.cancelled() or not done.result().strip().upper().startswith(b"DONE"):
            raise Quit
        return b"OK done"

    # -- messages -------------------------------------------------------------------------------

    def numbers(self, word: bytes, *, uid: bool) -> list[tuple[int, Stored]]:
        """(sequence number, message) of a set."""
        wanted = []
        top = (self.view[-1].uid if uid else len(self.view)) if self.view else 0
        for piece in word.split(b","):
            low, _, high = piece.partition(b":")
            ends = [top if end == b"*" else int(end) for end in (low, high or low)]
            wanted.append((min(ends), max(ends)))
        return [
            (place, one) for place, one in enumerate(self.view, 1)
            if any(low <= (one.uid if uid else place) <= high for low, high in wanted)
        ]  # fmt: skip

    def _flags(self, one: Stored, *, uid: bool) -> bytes:
        out = b"UID %d " % one.uid if uid else b""
        out += b"FLAGS (" + " ".join(sorted(one.flags)).encode() + b")"
        return out + (b" MODSEQ (%d)" % one.modseq if self.condstore else b"")

    def do_fetch(self, words: list[bytes]) -> object:
        return self._fetch(words, uid=False)

    def do_uid_fetch(self, words: list[bytes]) -> object:
        return self._fetch(words, uid=True)

    async def _fetch(self, words: list[bytes], *, uid: bool) -> bytes:
        items = [word.decode("latin-1") for word in words[1:]]
        since = 0
        upper = [item.upper() for item in items]
        if "CHANGEDSINCE" in upper and self.has("CONDSTORE"):
            at = upper.index("CHANGEDSINCE")
            since, items = int(items[at + 1]), items[: at - 1]
            self.condstore = True
        items = [item for item in items if item not in ("(", ")")]
        for place, one in self.numbers(words[0], uid=uid):
            if one.modseq > since or not since:
                await self.say(b"* %d FETCH (%s)" % (place, self._items(one, items, uid=uid, modseq=bool(since))))
        return b"OK done"

    def _items(self, one: Stored, items: list[str], *, uid: bool, modseq: bool) -> bytes:
        out: list[bytes] = [b"UID %d" % one.uid] if uid else []
        if modseq:
            out.append(b"MODSEQ (%d)" % one.modseq)
        for item in items:
            name = item.upper()
            if name in ("ALL", "FAST", "FULL"):
                more = {"ALL": ["ENVELOPE"], "FULL": ["ENVELOPE", "BODY"]}.get(name, [])
                out.append(self._items(one, ["FLAGS", "INTERNALDATE", "RFC822.SIZE", *more], uid=False, modseq=False))
            elif name == "UID":
                if not uid:
                    out.append(b"UID %d" % one.uid)
            elif name == "FLAGS":
                out.append(b"FLAGS (" + " ".join(sorted(one.flags)).encode() + b")")
            elif name == "MODSEQ" and self.has("CONDSTORE"):
                self.condstore = True
                out.append(b"MODSEQ (%d)" % one.modseq)
            elif name == "INTERNALDATE":
                out.append(b'INTERNALDATE "' + _stamp(one.date) + b'"')
            elif name == "RFC822.SIZE":
                out.append(b"RFC822.SIZE %d" % len(one.raw))
            elif name == "ENVELOPE":
                out.append(b"ENVELOPE " + mime.envelope(one.raw))
            elif name in ("BODYSTRUCTURE", "BODY"):
                out.append(name.encode() + b" " + mime.structure(one.raw, extended=name != "BODY"))
            else:
                out.append(self._section(one, item))
        return b" ".join(out)

    def _section(self, one: Stored, item: str) -> bytes:
        """BODY[…], BODY.PEEK[…], RFC822 and its kin."""
        old = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}
        match = re.fullmatch(r"BODY(\.PEEK)?\[(.*)\](?:<(\d+)\.(\d+)>)?", item, re.I | re.S)
        if item.upper() in old:
            data, label, peek = (
                mime.section(one.raw, old[item.upper()]),
                item.upper().encode(),
                item.upper() == "RFC822.HEADER",
            )
        elif match:
            data, peek = mime.section(one.raw, match[2]), bool(match[1])
            label = b"BODY[" + match[2].encode() + b"]"
            if match[3] and data is not None:
                data = data[int(match[3]) : int(match[3]) + int(match[4])]
                label += b"<%s>" % match[3].encode()
        else:
            raise Problem("BAD unknown item")
        if not peek and not self.read_only and self.folder is not None:
            self.folder.set_flags(one, one.flags | {"\\Seen"})
            self.world.changed()
        return label + b" NIL" if data is None else label + b" {%d}\r\n%s" % (len(data), data)

    def do_store(self, words: list[bytes]) -> object:
        return self._store(words, uid=False)

    def do_uid_store(self, words: list[bytes]) -> object:
        return self._store(words, uid=True)

    async def _store(self, words: list[bytes], *, uid: bool) -> bytes:
        if self.read_only or self.folder is None:
            raise Problem("NO [READ-ONLY] nothing can be changed")
        rest = words[1:]
        unchanged = None
        if rest and rest[0] == b"(" and rest[1].upper() == b"UNCHANGEDSINCE":
            unchanged, rest = int(rest[2]), rest[4:]
        what = rest[0].upper().decode()
        flags = {_flag(word.decode("latin-1")) for word in rest[1:] if word not in (b"(", b")")}
        lines, modified = [], []
        for place, one in self.numbers(words[0], uid=uid):
            if unchanged is not None and one.modseq > unchanged:
                modified.append(b"%d" % (one.uid if uid else place))
                continue
            new = (
                one.flags | flags if what.startswith("+") else one.flags - flags if what.startswith("-") else set(flags)
            )
            self.folder.set_flags(one, new)
            self.known[one.uid] = one.modseq
            if "SILENT" not in what or self.condstore:
                said = (
                    self._flags(one, uid=uid) if "SILENT" not in what else b"UID %d MODSEQ (%d)" % (one.uid, one.modseq)
                )
                lines.append(b"* %d FETCH (%s)" % (place, said))
        self.world.changed()
        return await self._lines(lines, b"OK [MODIFIED " + b",".join(modified) + b"] done" if modified else b"OK done")

    def do_expunge(self, _words: list[bytes]) -> bytes:
        assert self.folder is not None
        self.folder.remove({one.uid for one in self.view if "\\Deleted" in one.flags})
        self.world.changed()
        return b"OK done"

    def do_uid_expunge(self, words: list[bytes]) -> bytes:
        assert self.folder is not None
        if not self.has("UIDPLUS"):
            raise Problem("BAD unknown command")
        chosen = self.numbers(words[0], uid=True)
        self.folder.remove({one.uid for _, one in chosen if "\\Deleted" in one.flags})
        self.world.changed()
        return b"OK done"

    def do_copy(self, words: list[bytes]) -> bytes:
        return self._copy(words, uid=False)

    def do_uid_copy(self, words: list[bytes]) -> bytes:
        return self._copy(words, uid=True)

    def _copy(self, words: list[bytes], *, uid: bool) -> bytes:
        target = self.target(words[1])
        chosen = self.numbers(words[0], uid=uid)
        new = [target.add(one.raw, set(one.flags), one.date).uid for _, one in chosen]
        self.world.changed()
        return b"OK " + self._copyuid(target, [one.uid for _, one in chosen], new) + b"done"

    def _copyuid(self, target: Folder, old: list[int], new: list[int]) -> bytes:
        if not old or not self.has("UIDPLUS"):
            return b""
        return b"[COPYUID %d %s %s] " % (
            target.uidvalidity, b",".join(b"%d" % n for n in old), b",".join(b"%d" % n for n in new)
        )  # fmt: skip

    def do_move(self, words: list[bytes]) -> object:
        return self._move(words, uid=False)

    def do_uid_move(self, words: list[bytes]) -> object:
        if not self.has("MOVE"):
            raise Problem("BAD unknown command")
        return self._move(words, uid=True)

    async def _move(self, words: list[bytes], *, uid: bool) -> bytes:
        assert self.folder is not None
        target = self.target(words[1])
        chosen = self.numbers(words[0], uid=uid)
        new = [target.add(one.raw, set(one.flags), one.date).uid for _, one in chosen]
        said = self._copyuid(target, [one.uid for _, one in chosen], new)
        self.folder.remove({one.uid for _, one in chosen})
        self.world.changed()
        return await self._lines([b"* OK " + said + b"moved"] if said else [], b"OK done")

    def do_append(self, words: list[bytes]) -> bytes:
        folder = self.target(words[0])
        flags = {
            _flag(word.decode("latin-1")) for word in words[1:-1] if word not in (b"(", b")") and word[:1] != b"\0"
        }
        stamp = next((_date(word[1:]) for word in words[1:-1] if word.startswith(b"\0")), None)
        if not words[-1].startswith(b"\0"):
            raise Problem("BAD no message")
        one = folder.add(words[-1][1:], flags, stamp)
        self.world.changed()
        return b"OK [APPENDUID %d %d] done" % (folder.uidvalidity, one.uid) if self.has("UIDPLUS") else b"OK done"

    def do_search(self, words: list[bytes]) -> object:
        return self._search(words, uid=False)

    def do_uid_search(self, words: list[bytes]) -> object:
        return self._search(words, uid=True)

    async def _search(self, words: list[bytes], *, uid: bool) -> bytes:
        returns: list[bytes] | None = None
        if words and words[0].upper() == b"RETURN" and self.has("ESEARCH"):
            end = words.index(b")")
            returns, words = [word.upper() for word in words[2:end]] or [b"ALL"], words[end + 1 :]
        if words and words[0].upper() == b"CHARSET":
            words = words[2:]
        test = _Search(self).all(words)
        found = [one.uid if uid else place for place, one in enumerate(self.view, 1) if test(place, one)]
        if returns is None:
            return await self._lines([b" ".join([b"* SEARCH", *(b"%d" % n for n in found)])], b"OK done")
        said = b'* ESEARCH (TAG "x")' + (b" UID" if uid else b"")
        if b"COUNT" in returns:
            said += b" COUNT %d" % len(found)
        if found:
            values = {b"MIN": b"%d" % found[0], b"MAX": b"%d" % found[-1], b"ALL": b",".join(b"%d" % n for n in found)}
            said += b"".join(b" %s %s" % (name, values[name]) for name in returns if name in values)
        return await self._lines([said], b"OK done")


_NEEDS = {"NAMESPACE": "NAMESPACE", "ENABLE": "ENABLE", "IDLE": "IDLE", "UNSELECT": "UNSELECT", "MOVE": "MOVE"}
_SELECTED = {"FETCH", "STORE", "COPY", "MOVE", "SEARCH", "EXPUNGE", "CLOSE", "UNSELECT"}
Test = Callable[[int, Stored], bool]


class _Search:
    """Search keys (RFC 3501 §6.4.4) as tests."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def all(self, words: list[bytes]) -> Test:
        """All of the keys."""
        rest, tests = list(words), []
        while rest:
            tests.append(self.one(rest))
        return lambda place, one: all(test(place, one) for test in tests)

    def one(self, rest: list[bytes]) -> Test:
        """The next key, taken off the list."""
        word = rest.pop(0)
        name = word.upper().decode("latin-1")
        flags = {
            "SEEN": "\\Seen",
            "ANSWERED": "\\Answered",
            "FLAGGED": "\\Flagged",
            "DELETED": "\\Deleted",
            "DRAFT": "\\Draft",
        }
        if word == b"(":
            depth, inner = 1, []
            while rest:
                token = rest.pop(0)
                depth += (token == b"(") - (token == b")")
                if not depth:
                    break
                inner.append(token)
            return self.all(inner)
        if name == "NOT":
            inside = self.one(rest)
            return lambda place, one: not inside(place, one)
        if name == "OR":
            left, right = self.one(rest), self.one(rest)
            return lambda place, one: left(place, one) or right(place, one)
        if name in ("ALL", "OLD"):
            return lambda _place, _one: True
        if name in ("NEW", "RECENT"):
            return lambda _place, _one: False
        if name in flags or (name.startswith("UN") and name[2:] in flags):
            flag, wanted = (flags[name], True) if name in flags else (flags[name[2:]], False)
            return lambda _place, one: (flag in one.flags) is wanted
        if name in ("KEYWORD", "UNKEYWORD"):
            keyword = text(rest.pop(0))
            return lambda _place, one: (keyword in one.flags) is (name == "KEYWORD")
        if name == "UID":
            chosen = {id(one) for _, one in self.session.numbers(rest.pop(0), uid=True)}
            return lambda _place, one: id(one) in chosen
        if name in ("LARGER", "SMALLER"):
            size = int(rest.pop(0))
            return lambda _place, one: len(one.raw) > size if name == "LARGER" else len(one.raw) < size
        if name in ("SINCE", "BEFORE", "ON"):
            day = _date(rest.pop(0).lstrip(b"\0") + b" 00:00:00 +0000")
            return {
                "SINCE": lambda _p, one: one.date >= day, "BEFORE": lambda _p, one: one.date < day,
                "ON": lambda _p, one: day <= one.date < day + 86400,
            }[name]  # fmt: skip
        if name in ("FROM", "TO", "CC", "BCC", "SUBJECT", "HEADER"):
            field = text(rest.pop(0)) if name == "HEADER" else name
            value = text(rest.pop(0)).lower()
            return lambda _place, one: self._in_header(one, field, value)
        if name in ("TEXT", "BODY"):
            needle = text(rest.pop(0)).lower().encode()
            return lambda _place, one: needle in (one.raw if name == "TEXT" else mime.text_of(one.raw)).lower()
        if re.fullmatch(rb"[\d*:,]+", word):
            places = {id(one) for _, one in self.session.numbers(word, uid=False)}
            return lambda _place, one: id(one) in places
        raise Problem("BAD unknown search key")

    @staticmethod
    def _in_header(one: Stored, field: str, value: str) -> bool:
        import email.header

        for found in mime.parsed(one.raw).get_all(field, []):
            raw = str(found)
            with contextlib.suppress(LookupError, ValueError, UnicodeError):
                raw = f"{raw}\n{email.header.make_header(email.header.decode_header(raw))}"
            if value in raw.lower():
                return True
        return False


def text(word: bytes) -> str:
    """A string or atom as text."""
    return word.removeprefix(b"\0").decode("utf-8", "surrogateescape")


def _flag(name: str) -> str:
    return next((one for one in SYSTEM if one.lower() == name.lower()), name)


def _stamp(when: float) -> bytes:
    then = time.gmtime(when)
    return f"{then.tm_mday:2}-{_MONTHS.split()[then.tm_mon - 1]}-{then.tm_year} {time.strftime('%H:%M:%S', then)} +0000".encode()


def _date(word: bytes) -> float:
    match = re.fullmatch(rb"\s*(\d{1,2})-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", word)
    if not match:
        raise Problem("BAD malformed date")
    month = _MONTHS.split().index(match[2].decode().title()) + 1
    seconds = calendar.timegm((int(match[3]), month, int(match[1]), int(match[4]), int(match[5]), int(match[6])))
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return seconds - offset if match[7] == b"+" else seconds + offset
