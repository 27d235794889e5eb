"""The commands: each reads or writes the store, and leaves the talking to the engine."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from termmail import link, paths
from termmail.config import settings
from termmail.config.settings import Loaded
from termmail.model.draft import OutboxId, SendState
from termmail.model.errors import NotFound, SettingsError, UsageError
from termmail.model.message import AccountId, FolderId, PlacementId, Row
from termmail.paths import Paths
from termmail.store.db import Store
from termmail.text import safe_line

FLAG_WORDS = {1: "seen", 4: "flagged", 2: "answered", 16: "draft"}
WAIT = 120.0  # seconds that --wait waits at the most


def run(options: argparse.Namespace) -> int:
    """Carry out a parsed command line."""
    place = paths.find()
    if options.command == "show":
        from termmail.cli import show

        return show.run(place, options)
    if options.command == "config":
        return _config(place, options)
    place.make()
    loaded = settings.load(place.settings)
    if options.command == "engine":
        return _engine(place, options)
    if options.command in ("account", "doctor"):
        from termmail.cli import accounts

        return accounts.run(place, loaded, options)
    for problem in loaded.problems:
        if problem.serious:
            print(f"termmail: {problem}", file=sys.stderr)
    command = {
        "sync": _sync, "list": _list, "search": _list, "do": _do, "folder": _folder, "send": _send, "outbox": _outbox,
    }[options.command]  # fmt: skip
    return command(place, loaded, options)


def _print(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def opened(place: Paths, loaded: Loaded) -> Store:
    """The store, with the accounts of the settings in it."""
    store = Store.open(place)
    for account in loaded.settings.accounts:
        store.mail.ensure_account(account.name, account.email)
    return store


# -- engine, sync -----------------------------------------------------------------------


def _engine(place: Paths, options: argparse.Namespace) -> int:
    if options.what == "run":
        from termmail.engine import service

        return service.run(place, attached=options.attached)
    if options.what == "stop":
        if link.ask(place, {"stop": True}, 2.0) is None and not link.is_running(place):
            print("no engine is running")
            return 0
        return 0 if link.wait_until(lambda: not link.is_running(place), 10) else 1
    answer = link.ask(place, {"status": True}, 5.0)
    status: dict[str, Any] = (
        answer["status"] if answer else {"running": False, "pid": 0, "version": "", "accounts": [], "attached": 0}
    )
    if options.json:
        _print(status)
        return 0
    if not answer:
        print("no engine is running")
        return 0
    print(f"engine {status['version']}, pid {status['pid']}, {status['attached']} attached")
    for one in list(status["accounts"]):
        said = f": {one['error']}" if one["error"] else ""
        print(f"  {one['name']:16} {one['state']}, {one['queued']} queued{said}")
    return 0


def _names(loaded: Loaded, wanted: Sequence[str]) -> list[str]:
    """Account names, checked.  Raises NotFound."""
    known = [account.name for account in loaded.settings.accounts]
    if not known:
        raise SettingsError("there is no account yet", hint="termmail account add EMAIL")
    for name in wanted:
        if name not in known:
            raise NotFound(f"no account {safe_line(name)!r}", hint=f"there are {', '.join(known)}")
    return list(wanted) or known


def _sync(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    from termmail.engine import once

    names = _names(loaded, options.accounts)
    tty = sys.stderr.isatty() and not options.json

    def progress(words: str) -> None:
        if tty:
            print(f"\r\x1b[K{safe_line(words, 100)}", end="", file=sys.stderr, flush=True)

    done = once.sync_once(place, loaded, accounts=names, headers_only=options.headers_only, on_progress=progress)
    if tty:
        print("\r\x1b[K", end="", file=sys.stderr)
    wanted = {name.casefold() for name in (options.folder or [])}
    lines: list[dict[str, Any]] = [one for one in done.folders if not wanted or str(one["folder"]).casefold() in wanted]
    new = sum(int(one["new"]) for one in lines)
    for one in lines:
        if options.json:
            _print(one)
        elif one["new"] or one["changed"] or one["vanished"]:
            print(
                f"{one['account']} {one['folder']}: {one['new']} new, {one['changed']} changed, {one['vanished']} gone"
            )
    if options.json:
        _print({"done": not done.errors, "messages": new, "seconds": round(done.seconds, 3), "errors": done.errors})
    for error in done.errors:
        print(f"termmail: {error}", file=sys.stderr)
    return 1 if done.errors else 0


# -- lists ---------------------------------------------------------------------------------


def row_json(store: Store, row: Row) -> dict[str, Any]:
    """A message as `list --json` has it (contract.md)."""
    place = store.mail.place(row.id)
    folder = store.mail.folder(row.folder_id)
    people = store.mail.recipients(row.message_id)
    return {
        "id": row.id, "account": store.mail.account_name(place.account_id), "folder": folder.path, "uid": place.uid,
        "message_id": place.mid, "thread": row.thread, "date": utc(row.sent or row.date),
        "from": {"name": row.sender.name, "email": row.sender.email},
        "to": [{"name": a.name, "email": a.email} for a in people["to"]],
        "cc": [{"name": a.name, "email": a.email} for a in people["cc"]],
        "subject": row.subject, "flags": [word for bit, word in FLAG_WORDS.items() if row.flags & bit],
        "keywords": list(row.keywords), "size": row.size, "attachments": int(row.attachments), "pending": row.pending,
    }  # fmt: skip


def utc(seconds: int) -> str:
    """RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _list(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    store = opened(place, loaded)
    try:
        account: AccountId | None = None
        folder: FolderId | None = None
        name = getattr(options, "account", None)
        if name:
            account = store.mail.account_id(name)
        if getattr(options, "folder", None):
            owner = account or next((a.account_id for a in store.mail.accounts()), 0)
            folder = store.mail.find_folder(AccountId(owner), options.folder).id
        found = store.search.find(
            " ".join(options.query), account_id=account, folder_id=folder, limit=max(1, options.limit)
        )
        rows = store.mail.rows(found)
        for placement in found:
            if placement not in rows:
                continue
            if options.json:
                _print(row_json(store, rows[placement]))
            else:
                print(_line(rows[placement]))
        return 0 if found else 3
    finally:
        store.close()


def _line(row: Row) -> str:
    """A message as a line of text."""
    from termmail.mime.width import cells, cut

    width = shutil.get_terminal_size((100, 24)).columns
    sender = cut(row.sender.name or row.sender.email, 22)
    head = f"{row.id:>7} {' ' if row.flags & 1 else 'N'}{'*' if row.flags & 4 else ' '} "
    head += time.strftime("%Y-%m-%d %H:%M", time.localtime(row.date)) + f"  {sender}{' ' * (22 - cells(sender))}  "
    return head + cut(row.subject or "(no subject)", max(10, width - cells(head)))


# -- verbs ------------------------------------------------------------------------------------


def _do(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    from termmail.store import verbs

    verb, arg = verbs.parse(options.verb)
    store = opened(place, loaded)
    try:
        ids: list[PlacementId] = []
        if verb.takes_ids:
            ids = _ids(options.ids)
            if options.query is not None:
                ids += store.search.find(options.query, limit=1_000_000)
            if not ids:
                raise NotFound("nothing to act on", hint="name messages by ID, or with --query")
            known = store.mail.rows(ids)
            missing = [one for one in ids if one not in known]
            if missing:
                raise NotFound(f"no message {missing[0]}", hint="termmail list shows the numbers")
        if options.dry_run:
            _say(options, {"verb": verb.name, "count": len(ids), "ids": ids}, f"would {verb.name} {len(ids)} messages")
            return 0
        done = verb.run(store, ids, arg)
        _say(options, {"verb": verb.name, "count": done.count, "words": done.words, "undo": done.undo_id}, done.words)
    finally:
        store.close()
    link.poke(place)
    return _wait(place, loaded) if options.wait else 0


def _ids(words: Sequence[str]) -> list[PlacementId]:
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 19):
            raise UsageError(f"{safe_line(word)!r} is no message number")
    return [PlacementId(int(word)) for word in words]


def _say(options: argparse.Namespace, value: dict[str, Any], words: str) -> None:
    if options.json:
        _print(value)
    else:
        print(words)


def _wait(place: Paths, loaded: Loaded) -> int:
    """Until the servers have everything; 75 if they could not be reached."""
    from termmail.engine import once

    done = once.sync_once(place, loaded, headers_only=True, seconds=WAIT)
    store = opened(place, loaded)
    try:
        left = sum(one.queued for one in store.mail.accounts())
    finally:
        store.close()
    for error in done.errors:
        print(f"termmail: {error}", file=sys.stderr)
    return 75 if left else 0


def _folder(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    store = opened(place, loaded)
    try:
        if options.what == "list":
            for one in store.mail.folders(store.mail.account_id(options.account) if options.account else None):
                name = store.mail.account_name(one.account_id)
                value = {
                    "account": name, "folder": one.path, "role": one.role.value, "total": one.total, "unread": one.unread,
                    "subscribed": one.subscribed,
                }  # fmt: skip
                words = f"{name:12} {one.path:40} {one.total:>8,} {one.unread:>7,} unread  {one.role.value}".rstrip()
                _say(options, value, words)
            return 0
        names = _names(loaded, [options.account] if options.account else [])
        account = store.mail.account_id(names[0])
        folder = store.mail.find_folder(account, options.name).id if options.what != "create" else FolderId(0)
        if options.what == "create":
            store.folders.create(account, options.name)
        elif options.what == "rename":
            store.folders.rename(folder, options.new)
        elif options.what == "delete":
            store.folders.delete(folder)
        else:
            store.folders.subscribe(folder, yes=options.what == "subscribe")
        before = store.mail.newest_notice()
    finally:
        store.close()
    link.poke(place)
    code = _wait(place, loaded)
    store = opened(place, loaded)
    try:
        refused = store.mail.notices_since(before)
    finally:
        store.close()
    for _, _, words in refused:
        print(f"termmail: {words}", file=sys.stderr)
    return 1 if refused else code


# -- sending -------------------------------------------------------------------------------------


def _send(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    from termmail.mime import compose, headers

    names = _names(loaded, [options.account] if options.account else [])
    raw = sys.stdin.buffer.read()
    chosen = options.account
    if not chosen:  # the account whose address the message comes from
        fields = headers.fields(raw)
        sender = headers.addresses(headers.text(next((v for n, v in fields if n.lower() == "from"), b"")))
        emails = {a.email.lower() for a in sender} | {(options.sender or "").lower()}
        accounts = loaded.settings.accounts
        chosen = next((a.name for a in accounts if {a.email.lower(), *map(str.lower, a.aliases)} & emails), names[0])
    account = loaded.settings.account(chosen)
    assert account is not None
    people = [*options.recipients]
    built = compose.from_bytes(
        raw, people, from_headers=options.from_headers or not people, sender=options.sender or account.email
    )
    store = opened(place, loaded)
    try:
        outbox_id = store.queue.enqueue(
            built.raw, account=chosen, mid=built.message_id, sender=built.sender, recipients=built.recipients,
            subject=built.subject,
        )  # fmt: skip
    finally:
        store.close()
    link.poke(place)
    if not options.wait:
        link.ensure_engine(place)
        _say(options, {"id": outbox_id, "state": "queued", "message_id": built.message_id}, f"queued as {outbox_id}")
        return 0
    return _wait_sent(place, loaded, outbox_id, options)


def _wait_sent(place: Paths, loaded: Loaded, outbox_id: OutboxId, options: argparse.Namespace) -> int:
    """Until a message was accepted or refused."""
    link.ensure_engine(place)
    store = opened(place, loaded)
    final = (SendState.SENT, SendState.REFUSED, SendState.PARTIAL, SendState.UNCERTAIN)
    try:
        link.wait_until(
            lambda: (o := store.queue.outgoing(outbox_id)).state in final or (o.attempts > 0 and bool(o.error)), WAIT
        )
        one = store.queue.outgoing(outbox_id)
        _say(options, outgoing_json(one), f"{one.state.value}: {one.error or one.subject}")
    finally:
        store.close()
    return 0 if one.state == SendState.SENT else 1 if one.state in final else 75


def outgoing_json(one: Any) -> dict[str, Any]:
    """A message of the outbox as contract.md has it."""
    return {
        "id": one.id, "state": one.state.value, "message_id": one.message_id, "subject": one.subject,
        "recipients": [{"email": r.email, "status": r.status, "code": r.code, "words": r.words} for r in one.recipients],
        "attempts": one.attempts, "next_try": utc(int(one.next_try)) if one.next_try else None, "error": one.error,
    }  # fmt: skip


def _outbox(place: Paths, loaded: Loaded, options: argparse.Namespace) -> int:
    store = opened(place, loaded)
    try:
        if options.what == "list":
            for one in store.queue.outbox():
                people = ", ".join(r.email for r in one.recipients)
                said = f"  ({one.error})" if one.error else ""
                _say(options, outgoing_json(one), f"{one.id:>5} {one.state.value:10} {one.subject} → {people}{said}")
            return 0
        if options.id is None:
            raise UsageError(f"outbox {options.what} wants a number", hint="termmail outbox lists them")
        {"retry": store.queue.retry, "cancel": store.queue.cancel, "mark-sent": store.queue.mark_sent}[options.what](
            OutboxId(options.id)
        )
    finally:
        store.close()
    link.poke(place)
    return 0


# -- settings ---------------------------------------------------------------------------------------


def _config(place: Paths, options: argparse.Namespace) -> int:
    if options.what == "path":
        print(place.settings)
        return 0
    loaded = settings.load(place.settings)
    if options.what == "check":
        from termmail.config import themes

        good, bad = themes.load(themes.shipped(), place.themes)
        problems = [*loaded.problems, *bad, *themes.unknown(loaded.settings.ui.theme, good, place.settings)]
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{place.settings}: nothing is wrong")
        return 1 if any(problem.serious for problem in problems) else 0
    return _config_show(loaded, options.key or "")


def _config_show(loaded: Loaded, key: str) -> int:
    """Every setting with its value, secrets left out; or those that begin with a key."""
    import dataclasses

    def walk(value: Any, name: str) -> None:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for one in dataclasses.fields(value):
                if one.name not in ("password", "accounts"):
                    walk(getattr(value, one.name), f"{name}.{one.name.replace('_', '-')}".lstrip("."))
        elif not key or name == key or name.startswith(f"{key}."):
            found.append(f"{name} = {json.dumps(value, default=str, ensure_ascii=False)}")

    found: list[str] = []
    walk(loaded.settings, "")
    for account in loaded.settings.accounts:
        walk(account, f"accounts.{account.name}")
    if not found:
        raise NotFound(f"no setting {safe_line(key)!r}")
    print("\n".join(found))
    return 0
