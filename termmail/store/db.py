"""Opening, locking and repairing the two databases, and the one way to write to them.

Every process has one `Store`, owned by one thread.  Writers take turns by SQLite's own lock, so
transactions are short.  No sqlite3 error leaves this module: callers see StoreError and its kin.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from termmail.model.errors import DiskFull, StoreBusy, StoreCorrupt, StoreError

if TYPE_CHECKING:
    from termmail.paths import Paths
    from termmail.store.folders import FolderWishes
    from termmail.store.intents import Intents
    from termmail.store.mail import MailStore
    from termmail.store.maildrop import Maildrop
    from termmail.store.outbox import Queue
    from termmail.store.search import Search

VERSION = 2  # PRAGMA user_version of both files
STEPS: dict[int, dict[str, tuple[str, ...]]] = {}  # version: file: what changes tables that were there before it
_MADE = re.compile(r"\s*(?:--[^\n]*\n\s*)*CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER|VIRTUAL TABLE) (\w+)")
BUSY_SECONDS = 5.0
_PAUSE = 0.001  # seconds between two tries to become the writer
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_CORRUPT_VTAB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_BUSY_RECOVERY)


def translated(error: sqlite3.Error, path: Path) -> StoreError:
    """The error of this house for one of sqlite3's."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _CORRUPT:
        return StoreCorrupt(
            f"the database {path.name} is damaged",
            hint="leave termmail and start it again: the file is set aside and built anew from the servers",
        )
    if code in _LOCKED:
        return StoreBusy(f"the database {path.name} stayed locked by another process", hint="try again")
    if code == sqlite3.SQLITE_FULL:
        return DiskFull("the disk is full", hint=f"free some space where {path.parent} is")
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return DiskFull(f"{path.name} cannot be written ({error})", hint=f"look at the disk of {path.parent}")
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        return StoreError(f"{path} is read-only", hint="make it writable for you")
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"{path} cannot be opened", hint="look at its owner and mode")
    return StoreError(f"{path.name}: {error}")


class Database:
    """One SQLite file in WAL mode; `execute` reads, `transaction` writes."""

    def __init__(self, path: Path, schema: str, *, always_durable: bool) -> None:
        self.path = path
        self.always_durable = always_durable
        self._depth = 0
        self._full = always_durable
        self._data_version = -1
        self._patience = BUSY_SECONDS
        try:
            self._open(schema)
        except sqlite3.Error as error:
            self.close()
            raise translated(error, path) from error

    def _open(self, schema: str) -> None:
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self.connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256)
        run = self.connection.execute
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {'FULL' if self.always_durable else 'NORMAL'}")
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA temp_store = MEMORY")
        run("PRAGMA cache_size = -8000")
        (version,) = run("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreError(
                f"{self.path} was written by a newer termmail (version {version}, this one knows {VERSION})",
                hint="install the newer termmail again, or move the file away",
            )
        if version < VERSION:
            self._make(schema)

    def _make(self, schema: str) -> None:
        """Make what is missing, and what is old as the schema has it; once, even if two processes start together."""
        run = self.connection.execute
        run("BEGIN IMMEDIATE")
        try:
            (version,) = run("PRAGMA user_version").fetchone()
            for number in range(version + 1, VERSION + 1) if version else ():
                for statement in STEPS.get(number, {}).get(self.path.name, ()):
                    run(statement)
            have = {name for (name,) in run("SELECT name FROM sqlite_schema")}
            for statement in _statements(schema):
                made = _MADE.match(statement)
                if made is None or made[1] not in have:
                    run(statement)
            run(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement; rows are tuples.  Raises StoreError."""
        try:
            return self.connection.execute(sql, values)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def all(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows of a query.  Raises StoreError."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def one(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first row of a query, or None.  Raises StoreError."""
        try:
            return self.connection.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row.  Raises StoreError."""
        try:
            self.connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All or nothing; inside another one it joins that.  `durable`: on the disk when it returns."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        full = durable or self.always_durable
        if full != self._full:
            self.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full
        self._begin()
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise
        self._depth = 0
        try:
            self.execute("COMMIT")
        except StoreError:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Transactions begun inside do not wait for another writer: they raise StoreBusy."""
        self._patience = 0.0
        try:
            yield
        finally:
            self._patience = BUSY_SECONDS

    def _begin(self) -> None:
        """Take the writers' lock.  SQLite's own wait sleeps up to 0.1 s where others hold it for 0.02.  Raises StoreBusy."""
        end = time.monotonic() + self._patience
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self.connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.Error as error:
                    if getattr(error, "sqlite_errorcode", 0) not in _LOCKED or time.monotonic() > end:
                        raise translated(error, self.path) from error
                time.sleep(_PAUSE)
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY_SECONDS)}")

    def changed_elsewhere(self) -> bool:
        """Another connection has committed since the last call."""
        (version,) = self.one("PRAGMA data_version")
        changed = self._data_version not in (-1, version)
        self._data_version = version
        return changed

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if hasattr(self, "connection"):
            with contextlib.suppress(sqlite3.Error):
                self.connection.close()


class Store:
    """Both databases of one profile, for one process.  Not thread-safe: one owner thread."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.mishap = ""  # what the user must be told of the opening, "" if nothing
        self.db = self._opened(paths.mail_db, "schema.sql", always_durable=False)
        self.queue_db = self._opened(paths.queue_db, "queue.sql", always_durable=True)

    @classmethod
    def open(cls, paths: Paths) -> Store:
        """Open the profile, making what is not there yet.

        A damaged file is set aside, with its time in the name, and begun anew; `mishap` says so.
        Raises StoreError (newer schema, no access), StoreBusy, DiskFull.
        """
        paths.make()
        return cls(paths)

    def _opened(self, path: Path, schema: str, *, always_durable: bool) -> Database:
        text = resources.files("termmail.store").joinpath(schema).read_text("utf-8")
        try:
            database = Database(path, text, always_durable=always_durable)
            if database.one("SELECT count(*) FROM sqlite_schema WHERE name IN ('folder', 'outbox')")[0] == 0:
                raise StoreCorrupt(f"{path.name} has lost its tables")
        except StoreCorrupt:
            aside = _set_aside(path)
            lost = "mail comes again from the servers" if schema == "schema.sql" else "drafts and unsent mail are in it"
            self.mishap = f"{path.name} was damaged; it was set aside as {aside.name} ({lost})"
            database = Database(path, text, always_durable=always_durable)
        return database

    @cached_property
    def mail(self) -> MailStore:
        """Accounts, folders, messages, bodies."""
        from termmail.store.mail import MailStore

        return MailStore(self.db)

    @cached_property
    def maildrop(self) -> Maildrop:
        """POP3 accounts."""
        from termmail.store.maildrop import Maildrop

        return Maildrop(self.db)

    @cached_property
    def intents(self) -> Intents:
        """What the user wants."""
        from termmail.store.intents import Intents

        return Intents(self.db)

    @cached_property
    def folders(self) -> FolderWishes:
        """What the user wants of folders."""
        from termmail.store.folders import FolderWishes

        return FolderWishes(self.mail, self.intents)

    @cached_property
    def queue(self) -> Queue:
        """Drafts and the outbox."""
        from termmail.store.outbox import Queue

        return Queue(self.queue_db, self.paths.spool)

    @cached_property
    def search(self) -> Search:
        """The query language."""
        from termmail.store.search import Search

        return Search(self.db)

    def transaction(self, *, durable: bool = False) -> contextlib.AbstractContextManager[None]:
        """A transaction on mail.db; see `Database.transaction`."""
        return self.db.transaction(durable=durable)

    def changed_elsewhere(self) -> bool:
        """Another process has committed to either file since the last call."""
        return self.db.changed_elsewhere() | self.queue_db.changed_elsewhere()

    def close(self) -> None:
        """Close both files."""
        self.db.close()
        self.queue_db.close()


def _statements(schema: str) -> Iterator[str]:
    """The statements of a schema, each with the comments above it."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _set_aside(path: Path) -> Path:
    """Rename a damaged file and its WAL; the new name of the file."""
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside
