"""settings.toml: the dataclasses below are its documentation, its defaults and its check.

A mistake is a `Problem` with file, line and key; what is right still works.  docs/settings.md is made
from here.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from termmail.model.account import Account, Auth, Role, Security, Server
from termmail.model.errors import SettingsError
from termmail.text import safe_line

PORTS = {
    ("imap", Security.TLS): 993, ("imap", Security.STARTTLS): 143, ("imap", Security.NONE): 143,
    ("pop3", Security.TLS): 995, ("pop3", Security.STARTTLS): 110, ("pop3", Security.NONE): 110,
    ("smtp", Security.TLS): 465, ("smtp", Security.STARTTLS): 587, ("smtp", Security.NONE): 25,
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file; `line` 0 where it cannot be told.  `serious`: something was left out because of it."""

    file: str
    line: int
    key: str
    words: str
    serious: bool = True

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.words}" if self.key else f"{where}: {self.words}"


def _doc(words: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A field with its words for docs/settings.md."""
    return field(default=default, metadata={"doc": words, **more})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """[engine]: the background process that talks to the servers."""

    linger: float | None = _doc(
        'How long the engine stays when nobody looks: "until-done" (until nothing is queued), a number of seconds, '
        'or "forever".',
        0.0,
    )


@dataclass(frozen=True, slots=True)
class UiSettings:
    """[ui]: the screen."""

    theme: str = _doc('A theme\'s name, or "auto": light or dark as the terminal is.', "auto")
    layout: str = _doc("Where the reader stands.", "auto", choices=("auto", "right", "below", "off"))
    mark_read: str = _doc(
        'When a message counts as read: "open" (with Enter), "view" (also when it was on the screen for a second), "never".',
        "view",
        choices=("open", "view", "never"),
    )
    ascii: bool = _doc("Draw with ASCII characters only.", False)
    mouse: bool = _doc("Let the mouse select and scroll.", True)
    footer: bool = _doc("Show the most useful keys in the last line.", True)


@dataclass(frozen=True, slots=True)
class ComposeSettings:
    """[compose]: writing and sending."""

    editor: str = _doc("The editor that E starts; empty: $VISUAL, then $EDITOR, then vi.", "")
    hold: float = _doc("Seconds that a message waits in the outbox before it leaves, so that u can take it back.", 0.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    accounts: tuple[Account, ...] = ()
    engine: EngineSettings = EngineSettings()
    ui: UiSettings = UiSettings()
    compose: ComposeSettings = ComposeSettings()
    save_folder: str = _doc("Where attachments are saved.", "~/Downloads")

    def account(self, name: str) -> Account | None:
        """The account of that name."""
        return next((account for account in self.accounts if account.name == name), None)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings as far as they are right, and what is wrong."""

    settings: Settings
    problems: tuple[Problem, ...] = ()


ACCOUNT_KEYS: dict[str, str] = {
    "email": "The address; required.",
    "name": "The name that recipients see.",
    "aliases": 'Other addresses of yours; "*@example.org" for all of a domain.',
    "signature": "Put below what you write.",
    "cache": 'IMAP: which whole messages are kept here: "headers" (those you open, and the newest), "bodies" (all), "none".',
    "cache-limit": "How many MB of them at most; the oldest go first (left out: no limit).",
    "sent-copy": 'Who puts the copy into Sent: "auto", "append" (termmail) or "server".',
}
_CHOICES = {"sent-copy": ("auto", "append", "server"), "cache": ("headers", "bodies", "none")}  # the default first
SERVER_KEYS: dict[str, str] = {
    "kind": "imap or pop3 (incoming), smtp (outgoing).",
    "host": "The server's name; required.",
    "port": "Left out: 993 or 143, for POP3 995 or 110, 465 or 587, by security.",
    "security": '"tls", "starttls" or "none" (refused off this machine).',
    "user": "Left out: the email address.",
    "auth": '"password", or "none" for outgoing servers that want no log-in.',
    "password-command": "A command that prints the password.",
    "password": "The password itself; the file must then be private (0600).  Prefer the keyring.",
    "ca-file": "A certificate to trust besides the system's.",
    "allow-cleartext": "Really talk without encryption to another machine.",
    "compress": 'Compress what goes over an IMAP connection: "auto" (not on this machine), "yes" or "no".',
    "connections": "How many IMAP connections there may be at once: 1, 2 or 3 (left out: 3, fewer where the server says so).",
    "leave": "POP3: whether mail stays on the server once it is here (left out: true).",
    "delete-after-days": "POP3: delete on the server what was fetched so many days ago (left out: never).",
    "delete-when-deleted-here": "POP3: delete on the server what is deleted for ever here (left out: false).",
    "poll-minutes": "POP3: how often the server is asked for new mail (left out: 10).",
}
_NUMBERS = ("port", "connections", "delete-after-days", "poll-minutes")
_SWITCHES = ("allow-cleartext", "leave", "delete-when-deleted-here")


class _Reader:
    """Takes the file apart and notes what is wrong."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.split("\n")
        self.problems: list[Problem] = []

    def problem(self, table: str, key: str, words: str, *, serious: bool = True) -> None:
        dotted = f"{table}.{key}" if table and key else table or key
        self.problems.append(Problem(str(self.path), self._line(table, key), dotted, words, serious))

    def _line(self, table: str, key: str) -> int:
        """Where a key stands: a scan for its table, then for the key."""
        inside = not table
        head = re.compile(
            r"\s*\[\s*" + r"\s*\.\s*".join(f'"?{re.escape(part)}"?' for part in table.split(".")) + r"\s*\]"
        )
        own = re.compile(rf'\s*"?{re.escape(key)}"?\s*[=.]')
        at = 0
        for number, line in enumerate(self.lines, 1):
            if line.lstrip().startswith("["):
                inside = bool(table and head.match(line))
                if not table and re.match(rf"\s*\[+\s*\"?{re.escape(key)}\"?\s*[.\]]", line):
                    return number
                if inside:
                    at = at or number
                    if not key:
                        return number
            elif inside and own.match(line):
                return number
        return at

    def unknown(self, table: str, found: dict[str, Any], known: Any) -> None:
        """Name keys that nobody knows, with the nearest that somebody does."""
        for key in found:
            if key not in known:
                near = difflib.get_close_matches(key, list(known), 1)
                hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
                self.problem(table, key, f"unknown key{hint}", serious=False)

    def section(self, table: str, found: Any, kind: type[Any], special: dict[str, Callable[[Any], Any]]) -> Any:
        """A dataclass from a table; wrong values keep their default."""
        if not isinstance(found, dict):
            self.problem(table, "", "should be a table")
            return kind()
        fields = {f.name.replace("_", "-"): f for f in dataclasses.fields(kind)}
        self.unknown(table, found, fields)
        values: dict[str, Any] = {}
        for key, value in found.items():
            if key not in fields:
                continue
            try:
                values[fields[key].name] = special[key](value) if key in special else self._typed(fields[key], value)
            except ValueError as error:
                self.problem(table, key, str(error))
        return kind(**values)

    @staticmethod
    def _typed(of: dataclasses.Field[Any], value: Any) -> Any:
        default = of.default
        if isinstance(default, bool) != isinstance(value, bool) or not isinstance(
            value, int | float if isinstance(default, float) else type(default)
        ):
            names = {bool: "true or false", str: "a text", float: "a number", int: "a whole number"}
            raise ValueError(f"should be {names.get(type(default), 'of another kind')}")
        choices = of.metadata.get("choices")
        if choices and value not in choices:
            raise ValueError(f"should be one of {', '.join(choices)}")
        number: Any = value
        return float(number) if type(default) is float else number

    # -- accounts --------------------------------------------------------------

    def account(self, name: str, found: Any) -> Account | None:
        """One account; None, with a problem noted, if it cannot be used."""
        table = f"accounts.{name}"
        if not NAME.fullmatch(name):
            self.problem(table, "", "an account's name is letters, digits, - and _")
            return None
        if not isinstance(found, dict):
            self.problem(table, "", "should be a table")
            return None
        self.unknown(table, found, [*ACCOUNT_KEYS, "incoming", "outgoing", "folders"])
        email = found.get("email")
        if not isinstance(email, str) or "@" not in email:
            self.problem(table, "email", "an account needs its address")
            return None
        incoming = self.server(f"{table}.incoming", found.get("incoming"), email, ("imap", "pop3"))
        outgoing = (
            self.server(f"{table}.outgoing", found["outgoing"], email, ("smtp",)) if "outgoing" in found else None
        )
        if incoming is None or ("outgoing" in found and outgoing is None):
            return None
        texts = {}
        for key in ("name", "signature", *_CHOICES):
            choices = _CHOICES.get(key)
            value = texts[key] = found.get(key, choices[0] if choices else "")
            if not isinstance(value, str) or (choices and value not in choices):
                self.problem(table, key, f"should be {', '.join(choices)}" if choices else "should be a text")
                texts[key] = choices[0] if choices else ""
        limit = found.get("cache-limit", 0)
        if type(limit) is not int or not 0 <= limit <= 1_000_000:
            self.problem(table, "cache-limit", "should be a whole number of MB, 0 for no limit")
            limit = 0
        aliases = found.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(one, str) for one in aliases):
            self.problem(table, "aliases", "should be a list of addresses")
            aliases = []
        return Account(
            name, email, texts["name"], incoming, outgoing, tuple(aliases), texts["signature"],
            self.folders(f"{table}.folders", found.get("folders", {})), texts["sent-copy"],
            texts["cache"], limit,
        )  # fmt: skip

    def folders(self, table: str, found: Any) -> dict[Role, str]:
        """Roles that the user gave to folders."""
        if not isinstance(found, dict):
            self.problem(table, "", "should be a table")
            return {}
        self.unknown(table, found, [role.value for role in Role if role])
        return {Role(key): value for key, value in found.items() if key in set(Role) and key and isinstance(value, str)}

    def server(self, table: str, found: Any, email: str, kinds: tuple[str, ...]) -> Server | None:
        """One server; None, with a problem noted, if it cannot be used."""
        if not isinstance(found, dict):
            self.problem(table, "", "this table is needed")
            return None
        self.unknown(table, found, SERVER_KEYS)
        before = len(self.problems)
        for key, value in found.items():
            wanted = int if key in _NUMBERS else bool if key in _SWITCHES else str
            if key in SERVER_KEYS and type(value) is not wanted:
                said = {int: "a whole number", bool: "true or false", str: "a text"}[wanted]
                self.problem(table, key, f"should be {said}")
        kind = found.get("kind", kinds[0])
        if kind not in kinds:
            self.problem(table, "kind", f"should be {' or '.join(kinds)}")
        host = found.get("host")
        if not isinstance(host, str) or not host.strip() or re.search(r"[\s/\\@]", host):
            self.problem(table, "host", "a server needs its host name")
        security, auth = found.get("security", "tls"), found.get("auth", "password")
        if security not in set(Security):
            self.problem(table, "security", 'should be "tls", "starttls" or "none"')
        if auth not in set(Auth) or (auth == Auth.NONE and "smtp" not in kinds):
            self.problem(table, "auth", 'should be "password"' + (' or "none"' if "smtp" in kinds else ""))
        port = found.get("port")
        if isinstance(port, int) and not 0 < port < 65536:
            self.problem(table, "port", "should be between 1 and 65535")
        compress, connections = found.get("compress", "auto"), found.get("connections", 3)
        if isinstance(compress, str) and compress not in ("auto", "yes", "no"):
            self.problem(table, "compress", 'should be "auto", "yes" or "no"')
        if type(connections) is int and not 1 <= connections <= 3:
            self.problem(table, "connections", "should be 1, 2 or 3")
        days, minutes = found.get("delete-after-days", 0), found.get("poll-minutes", 10)
        if type(days) is int and not 0 <= days <= 36_500:
            self.problem(table, "delete-after-days", "should be between 0 (never) and 36500")
        if type(minutes) is int and not 1 <= minutes <= 1440:
            self.problem(table, "poll-minutes", "should be between 1 and 1440")
        if len(self.problems) > before and any(p.serious for p in self.problems[before:]):
            return None
        return Server(
            kind, str(host), port or PORTS[kind, Security(security)], Security(security), found.get("user", email),
            Auth(auth), found.get("password-command", ""), self._password(table, found), found.get("ca-file", ""),
            found.get("allow-cleartext", False), compress, connections, found.get("leave", True), days,
            found.get("delete-when-deleted-here", False), minutes,
        )  # fmt: skip

    def _password(self, table: str, found: dict[str, Any]) -> str:
        """A password in the file is used only if nobody else can read the file."""
        password = str(found.get("password", ""))
        if password and self.path.exists() and self.path.stat().st_mode & 0o077:
            self.problem(
                table, "password", f"others can read this file: the password is not used; chmod 600 {self.path}"
            )
            return ""
        return password


def _linger(value: Any) -> float | None:
    if value == "forever":
        return None
    if value == "until-done":
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise ValueError('should be "until-done", "forever" or a number of seconds')


def load(path: Path) -> Loaded:
    """The settings of a file, as far as they are right.  A missing file is an empty one; never raises."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Loaded(Settings())
    except (OSError, UnicodeError) as error:
        return Loaded(Settings(), (Problem(str(path), 0, "", f"cannot be read: {error}"),))
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"at line (\d+), column (\d+)", str(error))
        words = re.sub(r" \(at .*", "", str(error))
        return Loaded(
            Settings(),
            (Problem(str(path), int(match[1]) if match else text.count("\n") + 1, "", f"is no TOML: {words}"),),
        )
    reader = _Reader(path, text)
    sections: dict[str, tuple[type[Any], dict[str, Callable[[Any], Any]]]] = {
        "engine": (EngineSettings, {"linger": _linger}),
        "ui": (UiSettings, {}),
        "compose": (ComposeSettings, {}),
    }
    reader.unknown("", found, ["accounts", "save-folder", *sections])
    values: dict[str, Any] = {
        name: reader.section(name, found[name], *parts) for name, parts in sections.items() if name in found
    }
    if isinstance(found.get("save-folder"), str):
        values["save_folder"] = found["save-folder"]
    elif "save-folder" in found:
        reader.problem("", "save-folder", "should be a text")
    tables = found.get("accounts", {})
    if not isinstance(tables, dict):
        reader.problem("accounts", "", "should hold tables: [accounts.NAME]")
        tables = {}
    accounts = tuple(account for name, one in tables.items() if (account := reader.account(name, one)))
    return Loaded(Settings(accounts=accounts, **values), tuple(reader.problems))


# -- writing ------------------------------------------------------------------------------------


def _server_table(server: Server) -> dict[str, Any]:
    """A server as the file has it, without what is the default."""
    table: dict[str, Any] = {"kind": server.kind, "host": server.host, "security": server.security.value}
    if server.port != PORTS[server.kind, server.security]:
        table["port"] = server.port
    table["user"] = server.user
    if server.auth != Auth.PASSWORD:
        table["auth"] = server.auth.value
    if server.password_command:
        table["password-command"] = server.password_command
    if server.password:
        table["password"] = server.password
    if server.ca_file:
        table["ca-file"] = server.ca_file
    if server.allow_cleartext:
        table["allow-cleartext"] = True
    if server.compress != "auto":
        table["compress"] = server.compress
    if server.connections != 3:
        table["connections"] = server.connections
    if not server.leave:
        table["leave"] = False
    if server.delete_after_days:
        table["delete-after-days"] = server.delete_after_days
    if server.delete_when_deleted_here:
        table["delete-when-deleted-here"] = True
    if server.poll_minutes != 10:
        table["poll-minutes"] = server.poll_minutes
    return table


def save_account(path: Path, account: Account) -> None:
    """Write an account into the file, in the place of one of the same name; the rest keeps its comments.

    Raises SettingsError if the file cannot be written or would not read back as it should.
    """
    import tomli_w

    if not NAME.fullmatch(account.name):
        raise SettingsError(f"{safe_line(account.name)!r} cannot be an account's name", hint="letters, digits, - and _")
    table: dict[str, Any] = {"email": account.email}
    if account.full_name:
        table["name"] = account.full_name
    if account.aliases:
        table["aliases"] = list(account.aliases)
    if account.signature:
        table["signature"] = account.signature
    if account.sent_copy != "auto":
        table["sent-copy"] = account.sent_copy
    if account.cache != "headers":
        table["cache"] = account.cache
    if account.cache_limit:
        table["cache-limit"] = account.cache_limit
    table["incoming"] = _server_table(account.incoming)
    if account.outgoing:
        table["outgoing"] = _server_table(account.outgoing)
    if account.folders:
        table["folders"] = {role.value: name for role, name in account.folders.items()}
    block = tomli_w.dumps({"accounts": {account.name: table}})
    rest = _without(_text(path), account.name).rstrip("\n")
    _write(path, f"{rest}\n\n{block}" if rest else block)


def remove_account(path: Path, name: str) -> bool:
    """Take an account out of the file; False if it was not there.  Raises SettingsError."""
    text = _text(path)
    rest = _without(text, name)
    if rest == text:
        return False
    _write(path, rest)
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _without(text: str, name: str) -> str:
    """The file without the tables of one account."""
    head = re.compile(rf'\s*\[\s*accounts\s*\.\s*"?{re.escape(name)}"?\s*[.\]]')
    out, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = bool(head.match(line))
        if not inside:
            out.append(line)
    return "".join(out)


def _write(path: Path, text: str) -> None:
    """Replace the file at once, private, and only by what can be read again."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} could not be changed safely: {error}", hint="termmail config check") from error
    partial = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def documentation() -> str:
    """docs/settings.md."""
    out = [
        "# Settings",
        "",
        "`termmail config path` tells where the file is, `termmail config check` what is wrong in it.",
        "",
    ]
    out += ["## `[accounts.NAME]`", "", "| key | meaning |", "| --- | --- |"]
    out += [f"| `{key}` | {words} |" for key, words in ACCOUNT_KEYS.items()]
    out += ["", "## `[accounts.NAME.incoming]`, `[accounts.NAME.outgoing]`", "", "| key | meaning |", "| --- | --- |"]
    out += [f"| `{key}` | {words} |" for key, words in SERVER_KEYS.items()]
    roles = ", ".join(f"`{role.value}`" for role in Role if role)
    out += [
        "",
        "## `[accounts.NAME.folders]`",
        "",
        f"Which folder is for what, where the server does not say: {roles}.",
        "",
    ]
    for kind in (Settings, EngineSettings, UiSettings, ComposeSettings):
        fields = [f for f in dataclasses.fields(kind) if "doc" in f.metadata]
        title = (kind.__doc__ or "").partition(":")[0]
        out += [f"## `{title}`" if title.startswith("[") else "## At the top of the file", ""]
        out += ["| key | default | meaning |", "| --- | --- | --- |"]
        for one in fields:
            default: Any = "until-done" if one.name == "linger" else one.default
            shown = (
                str(default).lower()
                if isinstance(default, bool)
                else f'"{default}"'
                if isinstance(default, str)
                else default
            )
            choices = one.metadata.get("choices")
            words = one.metadata["doc"] + (f" One of {', '.join(choices)}." if choices and one.name == "layout" else "")
            out.append(f"| `{one.name.replace('_', '-')}` | `{shown}` | {words} |")
        out.append("")
    return "\n".join(out).rstrip() + "\n"
