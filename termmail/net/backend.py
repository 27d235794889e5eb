"""What the engine knows of servers: values that come over the wire, and one logged-in IMAP connection.

Calls block and belong to the thread of the connection (net/actor.py); only `abort` and `wake` may
be called from others.  Every call ends by its deadline: it returns, raises `Refused` (the connection
lives) or another `NetError` (it is closed and must not be used again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from termmail.model.account import Role
from termmail.model.message import Flag, NewMessage
from termmail.text import SafeText


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """STATUS of a folder (RFC 3501 §6.3.10, RFC 7162 §3.1.7); -1 or 0: not told."""

    messages: int = -1
    unseen: int = -1
    uidnext: int = 0
    uidvalidity: int = 0
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A line of LIST, with STATUS where LIST-STATUS gave it (RFC 5819)."""

    wire: bytes
    path: SafeText
    delimiter: str
    role: Role
    selectable: bool
    subscribed: bool
    status: FolderStatus | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """What is known of a folder, for QRESYNC (RFC 7162 §3.2.5)."""

    uidvalidity: int
    modseq: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that happened to a folder since a `Resume`, but for new messages."""

    vanished: tuple[tuple[int, int], ...]
    flags: tuple[FlagsOf, ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT told."""

    exists: int
    uidvalidity: int
    uidnext: int  # 0: not told
    modseq: int  # 0: none (NOMODSEQ or no CONDSTORE)
    read_only: bool
    permanent_flags: frozenset[str] | None = None  # None: not told; with "\\*": any keyword
    changes: Changes | None = None  # None: QRESYNC did not tell


@dataclass(frozen=True, slots=True)
class FlagsOf:
    """Flags of one message as FETCH told them."""

    uid: int
    flags: Flag
    keywords: str  # those that are no Flag, blank-separated, sorted
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """What the server said unasked since the last look, folded.  It says where to look again."""

    exists: int | None = None
    expunged: bool = False
    vanished: tuple[tuple[int, int], ...] = ()  # ranges of UIDs (RFC 7162 §3.2.10)
    flags: tuple[FlagsOf, ...] = ()  # only those that came with a UID
    statuses: tuple[
        tuple[bytes, FolderStatus], ...
    ] = ()  # other folders with news (NOTIFY, RFC 5465); only what changed
    folders: bool = False  # folders were made, renamed, deleted or subscribed (NOTIFY)
    overflow: bool = False  # the server will tell no more (NOTIFICATIONOVERFLOW)
    alert: SafeText = SafeText("")

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Events()


@dataclass(frozen=True, slots=True)
class Manners:
    """How to talk to a server, as experience has taught."""

    pipelining: bool = False  # it has borne one session without, and nothing speaks against it
    qresync: bool = True  # it has not been caught telling wrong changes


@dataclass(slots=True)
class Traffic:
    """Counters of one connection, for tests, benchmarks and the status line."""

    sent: int = 0
    received: int = 0
    round_trips: int = 0
    commands: list[str] = field(default_factory=list)  # names of the last 200


class ImapBackend(Protocol):
    """One logged-in IMAP connection.  UIDs are ints; sets are any sequences of them."""

    capabilities: frozenset[str]
    traffic: Traffic

    def list_folders(self) -> list[RemoteFolder]:
        """All folders with roles, and STATUS of each in the same round trip if LIST-STATUS is there."""

    def status(self, wire: bytes) -> FolderStatus:
        """STATUS of a folder that is not selected."""

    def arrive(self, inbox: bytes, resume: Resume | None) -> tuple[list[RemoteFolder], Selected | None]:
        """`list_folders` and `select`, in one flight with what is owed where pipelining is allowed."""

    def select(self, wire: bytes, resume: Resume | None = None) -> Selected:
        """SELECT (falls back to EXAMINE where read-only); does nothing if it is selected already.

        With `resume`, and QRESYNC in use, the answer tells what has changed since.
        """

    def reselect(self, wire: bytes, resume: Resume | None = None) -> Selected:
        """SELECT even if the folder is selected: its numbers are fresh then."""

    def count(self, wire: bytes) -> int:
        """Messages in the folder as last told; -1 if it is not selected.  No round trip."""

    def count_anew(self, wire: bytes) -> int:
        """The same, with everything told that there is to tell."""

    def news(self) -> list[tuple[bytes, Events]]:
        """Everything unasked since the last call, by folder.  No round trip."""

    def search(self, lo: int = 1, hi: int | None = None) -> list[int]:
        """The UIDs in [lo, hi] (hi None: to the last one), ascending; ESEARCH where it is there."""

    def search_deleted(self) -> list[int]:
        r"""The UIDs marked \Deleted in the selected folder."""

    def find_message_id(self, message_id: str, from_uid: int = 1) -> list[int]:
        """UIDs >= from_uid of the selected folder with that Message-ID."""

    def newest_headers(self, count: int, exists: int, sink: Callable[[list[NewMessage]], None]) -> None:
        """Headers of the newest `count` messages by sequence number, streamed to `sink` as they come,
        in small batches (20, then up to 200).  A message whose FETCH cannot be parsed gets an
        empty Summary; the rest goes on."""

    def headers(self, uids: Sequence[int], sink: Callable[[list[NewMessage]], None]) -> None:
        """Headers of these UIDs, streamed likewise."""

    def headers_from(self, uid: int, sink: Callable[[list[NewMessage]], None]) -> None:
        """Headers of `uid:*`; the last message below `uid` that servers always add is dropped."""

    def flags(self, lo: int, hi: int, changed_since: int = 0) -> list[FlagsOf]:
        """Flags of UIDs lo..hi; with `changed_since`, those of a higher MODSEQ (CONDSTORE)."""

    def body(self, uid: int) -> bytes:
        r"""The whole message (BODY.PEEK[], never sets \Seen).  Refused with code NONEXISTENT if it is gone."""

    def bodies(self, uids: Sequence[int], sink: Callable[[int, bytes], None]) -> None:
        """The whole messages of these UIDs, each handed to `sink` as it comes; those that are gone are left out."""

    def store(
        self, uids: Sequence[int], *, add: Flag, remove: Flag, add_keywords: str = "", remove_keywords: str = ""
    ) -> None:
        """UID STORE ±FLAGS.SILENT, split at 1,000 characters of set."""

    def move(self, uids: Sequence[int], dest: bytes) -> dict[int, int]:
        """UID MOVE (RFC 6851); old to new UID as COPYUID tells, {} if it does not."""

    def copy(self, uids: Sequence[int], dest: bytes) -> dict[int, int]:
        """UID COPY; as `move`."""

    def expunge(self, uids: Sequence[int]) -> None:
        """UID EXPUNGE of exactly these (UIDPLUS).  Without UIDPLUS: EXPUNGE only if no other message is
        marked deleted, else Refused with code CANNOT."""

    def append(self, wire: bytes, message: bytes, flags: Flag, when: float) -> int:
        """APPEND; the UID as APPENDUID tells, 0 if it does not."""

    def create(self, wire: bytes) -> None: ...

    def rename(self, old: bytes, new: bytes) -> None: ...

    def delete(self, wire: bytes) -> None: ...

    def subscribe(self, wire: bytes, yes: bool) -> None: ...

    def probe(self, seconds: float) -> None:
        """NOOP that must be answered in so long."""

    def noop(self) -> Events:
        """NOOP, and everything unasked that has gathered."""

    def drain(self) -> Events:
        """Everything unasked that came with earlier commands; no round trip."""

    def idle(self, seconds: float) -> Events:
        """IDLE (RFC 2177) until something happens, `wake` is called or the time is up."""

    def notify(self) -> list[tuple[bytes, FolderStatus]]:
        """NOTIFY SET (RFC 5465): `idle` tells of all folders from now on; how they stand.  Refused if it is not there."""

    def wake(self) -> None:
        """End an `idle` now.  From any thread."""

    def logout(self) -> None: ...

    def abort(self) -> None:
        """Break the connection at once; a running call raises ConnectionLost.  From any thread."""
