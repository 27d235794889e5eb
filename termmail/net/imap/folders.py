"""Folders of a session: LIST, STATUS, SELECT, and their creation and end."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace

from imapclient import imap_utf7

from termmail.model.account import Role
from termmail.model.errors import Refused
from termmail.net.backend import Changes, FolderStatus, RemoteFolder, Resume, Selected
from termmail.net.imap import wire
from termmail.net.imap.conversation import CODE, Conversation, log, mailbox
from termmail.net.imap.quirks import NAMES, ROLE_ATTRIBUTES
from termmail.text import SafeText, safe_line

SELECT = 60.0  # seconds
MODSEQ = 2**63 - 1  # the largest there is (RFC 7162 §3.1.1)
LIST = re.compile(rb'\* (?:LIST|LSUB|XLIST) \(([^)]*)\) (NIL|"(?:\\.|[^"\\])*") ("(?:\\.|[^"\\])*"|[^\s]+)', re.I)
STATUS = re.compile(rb'\* STATUS ("(?:\\.|[^"\\])*"|[^\s]+) \(([^)]*)\)', re.I)


def encode_name(path: str) -> bytes:
    """A folder's name as the wire has it (modified UTF-7, RFC 3501 §5.1.3)."""
    return bytes(imap_utf7.encode(path))


def decode_name(name: bytes) -> SafeText:
    """A folder's name for people; what is no modified UTF-7 is read as UTF-8 or Latin-1."""
    try:
        return safe_line(str(imap_utf7.decode(name)))
    except (UnicodeError, ValueError):
        pass
    try:
        return safe_line(name.decode("utf-8"))
    except UnicodeError:
        return safe_line(name.decode("latin-1"))


class Folders(Conversation):
    """What a session can do with folders."""

    def list_folders(self) -> list[RemoteFolder]:
        """See `ImapBackend`."""
        if "LIST-STATUS" in self.capabilities and self.selected:
            self._catch_up()
        if options := self._list_options():
            try:
                return self._folders(self._run(b"LIST", options))
            except Refused:
                log.info("LIST with RETURN was refused; asking plainly")
        return self._list_plainly()

    def arrive(self, inbox: bytes, resume: Resume | None) -> tuple[list[RemoteFolder], Selected | None]:
        """See `ImapBackend`."""
        options = self._list_options()
        if not options or b"\r\n" in mailbox(inbox):
            return self.list_folders(), None
        how = self._how(resume)
        self._part()
        listed, selected = self._flight([(b"LIST", options), (b"SELECT", mailbox(inbox) + how)], seconds=SELECT)
        found = None if isinstance(selected, Refused) else self._told(inbox, selected, resume, how)
        return (self._list_plainly() if isinstance(listed, Refused) else self._folders(listed)), found

    def _list_options(self) -> bytes:
        """What to ask of LIST besides names (RFC 5258, 5819, 6154); b"" if it must be plain."""
        extended = "LIST-EXTENDED" in self.capabilities or "LIST-STATUS" in self.capabilities
        options: list[bytes] = []
        if extended:
            options.append(b"SUBSCRIBED")
        if extended and "SPECIAL-USE" in self.capabilities:
            options.append(b"SPECIAL-USE")
        if "LIST-STATUS" in self.capabilities:
            options.append(b"STATUS (" + self._status_items() + b")")
        return b'"" "*" RETURN (' + b" ".join(options) + b")" if options else b""

    def _list_plainly(self) -> list[RemoteFolder]:
        """LIST or XLIST, and LSUB for the subscriptions."""
        name = b"XLIST" if "XLIST" in self.capabilities and "SPECIAL-USE" not in self.capabilities else b"LIST"
        answers = self._run(name, b'"" "*"')
        folders = self._folders(answers)
        try:
            subscribed = {folder.wire for folder in self._folders(self._run(b"LSUB", b'"" "*"')) if folder.selectable}
        except Refused:
            subscribed = {folder.wire for folder in folders}
        return [replace(folder, subscribed=folder.wire in subscribed) for folder in folders]

    def _status_items(self) -> bytes:
        return b"MESSAGES UNSEEN UIDNEXT UIDVALIDITY" + (b" HIGHESTMODSEQ" if "CONDSTORE" in self.capabilities else b"")

    @staticmethod
    def _folders(answers: Sequence[wire.Response]) -> list[RemoteFolder]:
        """The folders in LIST, LSUB or XLIST lines, with the STATUS lines between them."""
        statuses: dict[bytes, FolderStatus] = {}
        found: dict[bytes, tuple[set[str], str]] = {}
        for response in answers:
            line = response.flat()
            if match := LIST.match(line):
                name = string_of(match[3])
                attributes = {word.decode("ascii", "replace").lower() for word in match[1].split()}
                found[name] = attributes, "" if match[2].upper() == b"NIL" else string_of(match[2]).decode("latin-1")
            elif match := STATUS.match(line):
                statuses[string_of(match[1])] = status_of(match[2])
        roles = _roles(found)
        return [
            RemoteFolder(
                wire=name, path=decode_name(name), delimiter=delimiter, role=roles.get(name, Role.NONE),
                selectable=not attributes & {"\\noselect", "\\nonexistent"} and not re.search(rb"[\x00-\x1f\x7f]", name),
                subscribed="\\subscribed" in attributes,
                status=statuses.get(name),
            )
            for name, (attributes, delimiter) in found.items()
        ]  # fmt: skip

    def _catch_up(self) -> None:
        """STATUS of the selected folder tells what the session has seen of it (RFC 3501 §6.3.10): see all of it first."""
        self._run(b"NOOP")

    def status(self, name: bytes) -> FolderStatus:
        """See `ImapBackend`."""
        if name == self.selected:
            self._catch_up()
        for response in self._run(b"STATUS", mailbox(name) + b" (" + self._status_items() + b")"):
            if match := STATUS.match(response.flat()):
                return status_of(match[2])
        raise Refused("the server did not say how the folder stands", temporary=True)

    def select(self, name: bytes, resume: Resume | None = None) -> Selected:
        """See `ImapBackend`."""
        if self.selected == name and self._selection is not None:
            return self._selection
        self._part()
        how = self._how(resume)
        try:
            responses = self._run(b"SELECT", mailbox(name) + how, seconds=SELECT)
        except Refused:
            if b"QRESYNC" not in how:
                raise
            self.qresync, how = False, self._how(None)
            responses = self._run(b"SELECT", mailbox(name) + how, seconds=SELECT)
        return self._told(name, responses, resume, how)

    def _how(self, resume: Resume | None) -> bytes:
        """The parameters of SELECT (RFC 7162 §3.1.8, §3.2.5)."""
        if resume is not None and resume.modseq and self.qresync:
            return b" (QRESYNC (%d %d))" % (resume.uidvalidity, resume.modseq)
        return b" (CONDSTORE)" if "CONDSTORE" in self.capabilities else b""

    def _told(self, name: bytes, responses: list[wire.Response], resume: Resume | None, how: bytes) -> Selected:
        """What SELECT told; the folder is the selected one now."""
        uidvalidity = uidnext = modseq = 0
        permanent: frozenset[str] | None = None
        for response in responses:
            match = CODE.match(response.line[5:])
            if not match:
                continue
            code, value = match[1].upper(), match[2] or b""
            if code == b"UIDVALIDITY":
                uidvalidity = wire.number(value)
            elif code == b"UIDNEXT":
                uidnext = wire.number(value)
            elif code == b"HIGHESTMODSEQ":
                modseq = wire.number(value, MODSEQ)
            elif code == b"PERMANENTFLAGS":
                permanent = frozenset(value.decode("ascii", "replace").strip("()").split())
        changes = None
        if resume is not None and b"QRESYNC" in how and uidvalidity == resume.uidvalidity and not self._expunges:
            changes = Changes(tuple(self._vanished), tuple(self._flags))
        read_only = b"[READ-ONLY]" in self._tagged.upper()
        self.selected = name
        self._selection = Selected(self._exists or 0, uidvalidity, uidnext, modseq, read_only, permanent, changes)
        self._forget()
        return self._selection

    def reselect(self, name: bytes, resume: Resume | None = None) -> Selected:
        """See `ImapBackend`."""
        self._part()
        return self.select(name, resume)

    def create(self, name: bytes) -> None:
        """CREATE."""
        self._run(b"CREATE", mailbox(name))

    def rename(self, old: bytes, new: bytes) -> None:
        """RENAME; the folder is left first if it is selected."""
        self._leave(old)
        self._run(b"RENAME", mailbox(old) + b" " + mailbox(new))

    def delete(self, name: bytes) -> None:
        """DELETE; the folder is left first if it is selected."""
        self._leave(name)
        self._run(b"DELETE", mailbox(name))

    def _leave(self, name: bytes) -> None:
        """Close a folder that is about to change, or one below it, without expunging anything.

        Cyrus 3.6 says that all messages of a selected folder have vanished when the one above it is renamed.
        """
        if self.selected and self.selected.startswith(name):
            self._part()
            with contextlib.suppress(Refused):
                self._run(*((b"UNSELECT",) if "UNSELECT" in self.capabilities else (b"EXAMINE", b"INBOX")))

    def subscribe(self, name: bytes, yes: bool) -> None:
        """SUBSCRIBE or UNSUBSCRIBE."""
        self._run(b"SUBSCRIBE" if yes else b"UNSUBSCRIBE", mailbox(name))


def string_of(text: bytes) -> bytes:
    """A quoted string or atom as its bytes."""
    if text.startswith(b'"'):
        return re.sub(rb"\\(.)", rb"\1", text[1:-1])
    return text


def status_of(text: bytes) -> FolderStatus:
    """The numbers of a STATUS response."""
    values = {name.upper(): wire.number(value, MODSEQ) for name, value in re.findall(rb"([A-Za-z]+) (\d{1,20})", text)}
    return FolderStatus(
        values.get(b"MESSAGES", -1), values.get(b"UNSEEN", -1), values.get(b"UIDNEXT", 0), values.get(b"UIDVALIDITY", 0),
        values.get(b"HIGHESTMODSEQ", 0),
    )  # fmt: skip


def _roles(found: dict[bytes, tuple[set[str], str]]) -> dict[bytes, Role]:
    """Which folder is for what: SPECIAL-USE or XLIST attributes first, then the names people use."""
    roles: dict[bytes, Role] = {}
    taken: set[Role] = set()
    for name, (attributes, _) in found.items():
        role = next((ROLE_ATTRIBUTES[word] for word in attributes if word in ROLE_ATTRIBUTES), None)
        if name.upper() == b"INBOX":
            role = Role.INBOX
        if role and role not in taken:
            roles[name] = role
            taken.add(role)
    for name, (attributes, delimiter) in sorted(
        found.items(), key=lambda item: item[0].count(b"/") + item[0].count(b".")
    ):
        if name in roles or attributes & {"\\noselect", "\\nonexistent"}:
            continue
        path = decode_name(name)
        parents = path.rpartition(delimiter)[0] if delimiter else ""
        role = NAMES.get((path.rpartition(delimiter)[2] if delimiter else path).casefold())
        if role and role not in taken and parents.upper() in ("", "INBOX", "[GMAIL]", "[GOOGLE MAIL]"):
            roles[name] = role
            taken.add(role)
    return roles
