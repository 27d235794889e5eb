"""`termmail account` and `termmail doctor`: adding, trying and forgetting accounts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import json
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from termmail import link
from termmail.config import secrets, settings
from termmail.config.guess import account_from, guess, server_from
from termmail.config.settings import Loaded
from termmail.model.account import Account, Server
from termmail.model.errors import NotFound, SecretError, SettingsError, TermmailError, UsageError
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.text import safe_line


def run(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    """Carry out `account …` or `doctor`."""
    if options.command == "doctor":
        return _doctor(place, loaded, json_lines=options.json)
    if options.what == "add":
        return _add(place, loaded, options)
    if options.what == "list":
        return _list(loaded, json_lines=options.json)
    if options.what == "remove":
        return _remove(place, loaded, options.name)
    return _test(loaded, options.name, json_lines=options.json)


def _ask(words: str, default: str = "") -> str:
    """A line from the terminal; empty is the default."""
    print(f"{words}{f' [{default}]' if default else ''}: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise UsageError("nobody answered", hint="use --yes and options where there is no terminal")
    return line.strip() or default


def _add(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    """Ask what is not given, try it, keep it."""
    incoming, outgoing = guess(options.email)
    shown = [f"{one.host}:{one.port} {one.security.value}" for one in (incoming, outgoing)]
    asks = not options.yes
    asked = "Incoming server (IMAP; or POP3 as pop.example.org:995)"
    imap = options.imap or (f"{options.pop3} pop3" if options.pop3 else _ask(asked, shown[0]) if asks else shown[0])
    smtp = options.smtp or (_ask("Outgoing server (SMTP)", shown[1]) if asks else shown[1])
    user = options.user or (_ask("User", options.email) if asks else options.email)
    full_name = options.full_name or (_ask("Your name", "") if asks else "")
    servers = [
        replace(server_from(text, kind, user, options.password_command), ca_file=options.ca_file)
        for text, kind in ((imap, "imap"), (smtp, "smtp"))
    ]
    account = account_from(options.email, full_name, servers[0], servers[1], {a.name for a in loaded.settings.accounts})
    if options.name:
        account = replace(account, name=options.name)
    password = ""
    if not options.password_command:
        password = getpass.getpass("Password: ") if asks else sys.stdin.readline().rstrip("\n")
        if not password:
            raise SecretError("no password was given", hint="or give --password-command")
        account = _keep(account, password, asks=asks)
    if not options.no_test:
        failed = [result for result in _trials(account, password) if not result["ok"]]
        for result in failed:
            print(f"termmail: {result['server']}: {result['words']}", file=sys.stderr)
        if failed and not (asks and _ask("It does not work yet.  Keep it all the same?", "no").lower().startswith("y")):
            return 1
    settings.save_account(place.settings, account)
    link.ask(place, {"settings": True}, 1.0)
    print(f"added {account.name}")
    return 0


def _keep(account: Account, password: str, *, asks: bool) -> Account:
    """The password into the keyring; without one into the private settings file, if the user wants that."""
    both = [server for server in (account.incoming, account.outgoing) if server is not None]
    if secrets.has_keyring():
        for server in both:
            secrets.store(server, password)
        return account
    if asks:
        print("There is no system keyring here (over SSH there often is none).", file=sys.stderr)
        if not _ask("Keep the password in settings.toml, readable by you only?", "no").lower().startswith("y"):
            raise SecretError("the password was not kept", hint='give a command: --password-command "pass show mail"')
    incoming = replace(account.incoming, password=password)
    return replace(
        account, incoming=incoming, outgoing=replace(account.outgoing, password=password) if account.outgoing else None
    )


def _list(loaded: Loaded, *, json_lines: bool) -> int:
    for account in loaded.settings.accounts:
        value = {
            "name": account.name, "email": account.email, "incoming": account.incoming.host,
            "outgoing": account.outgoing.host if account.outgoing else "",
        }  # fmt: skip
        print(json.dumps(value) if json_lines else f"{account.name:16} {account.email:32} {account.incoming.host}")
    return 0 if loaded.settings.accounts else 3


def _remove(place: Paths, loaded: Loaded, name: str) -> int:
    """Forget the account, its mail here and its password; the server keeps everything."""
    account = loaded.settings.account(name)
    if not settings.remove_account(place.settings, name):
        raise NotFound(f"no account {safe_line(name)!r}", hint="termmail account list")
    if account is not None:
        for server in (account.incoming, account.outgoing):
            if server is not None:
                secrets.forget(server)
    link.ask(place, {"settings": True}, 1.0)
    store = Store.open(place)
    try:
        with contextlib.suppress(NotFound):
            store.mail.remove_account(name)
    finally:
        store.close()
    print(f"removed {name}")
    return 0


# -- trying ---------------------------------------------------------------------------------


def _test(loaded: Loaded, name: str | None, *, json_lines: bool) -> int:
    accounts = [a for a in loaded.settings.accounts if name in (None, a.name)]
    if not accounts:
        raise NotFound(
            f"no account {safe_line(name or '')!r}" if name else "there is no account yet", hint="termmail account add"
        )
    good = True
    for account in accounts:
        for result in _trials(account):
            good = good and bool(result["ok"])
            if json_lines:
                print(json.dumps({"account": account.name, **result}), flush=True)
            else:
                print(
                    f"{account.name}: {result['server']}: {'ok' if result['ok'] else 'FAILED'}: {result['words']}",
                    flush=True,
                )
    return 0 if good else 1


def _trials(account: Account, password: str = "") -> Iterator[dict[str, Any]]:
    """Log in to each server; what was found, or what is wrong."""
    for server in (account.incoming, account.outgoing):
        if server is None:
            continue
        name = f"{server.kind} {server.host}:{server.port}"
        try:
            secret = password or secrets.secret(server)
            words = {"imap": _try_imap, "pop3": _try_pop3, "smtp": _try_smtp}[server.kind](server, secret)
            yield {"server": name, "ok": True, "words": words}
        except TermmailError as error:
            yield {"server": name, "ok": False, "words": str(error)}


def _try_imap(server: Server, secret: str) -> str:
    from termmail.net.imap.session import connect

    session = connect(server, secret)
    try:
        folders = session.list_folders()
    finally:
        session.logout()
    roles = ", ".join(f"{f.role.value} = {f.path}" for f in folders if f.role)
    useful = [name for name in ("IDLE", "MOVE", "UIDPLUS", "CONDSTORE", "LIST-STATUS") if name in session.capabilities]
    return f"logged in, {server.security.value}; {len(folders)} folders ({roles}); {' '.join(useful)}"


def _try_pop3(server: Server, secret: str) -> str:
    from termmail.net.pop3 import connect

    session = connect(server, secret)
    try:
        waiting = session.listing()
        session.quit()
    finally:
        session.stream.close()
    ids = "" if all(one.uidl for one in waiting) else "; it has no UIDL"
    return f"logged in, {server.security.value}; {len(waiting)} messages wait{ids}"


def _try_smtp(server: Server, secret: str) -> str:
    from termmail.net import smtp

    asyncio.run(smtp.check(server, secret))
    return f"logged in, {server.security.value}" if server.auth != "none" else f"reached, {server.security.value}"


def _doctor(place: Paths, loaded: Loaded, *, json_lines: bool) -> int:
    """Settings, names, ports, log-in, folders, clock: what is right and what is not."""
    results: list[dict[str, Any]] = []

    def note(what: str, words: str, *, ok: bool) -> None:
        result = {"check": what, "ok": ok, "words": safe_line(words, 500)}
        results.append(result)
        print(json.dumps(result) if json_lines else f"{'ok ' if ok else 'BAD'} {what}: {words}", flush=True)

    for problem in loaded.problems:
        note("settings", str(problem), ok=not problem.serious)
    if not loaded.problems:
        note("settings", str(place.settings), ok=True)
    if not loaded.settings.accounts:
        raise SettingsError("there is no account to look at", hint="termmail account add EMAIL")
    for account in loaded.settings.accounts:
        for server in (account.incoming, account.outgoing):
            if server is not None:
                try:
                    found = {one[4][0] for one in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)}
                    note(f"{account.name} name", f"{server.host} is {', '.join(sorted(map(str, found)))}", ok=True)
                except OSError as error:
                    note(f"{account.name} name", f"{server.host}: {error.strerror}", ok=False)
        for result in _trials(account):
            note(f"{account.name} {result['server']}", result["words"], ok=result["ok"])
    year = time.gmtime().tm_year
    note("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), ok=2024 <= year < 2100)
    return 0 if all(result["ok"] for result in results) else 1
