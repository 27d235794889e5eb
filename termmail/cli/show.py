"""`termmail show`: a message as the reader would show it, from the store or from a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from termmail.cli.commands import opened, utc
from termmail.config import settings
from termmail.model.document import Document
from termmail.model.errors import NotFound, TermmailError
from termmail.model.message import PlacementId
from termmail.paths import Paths
from termmail.sandbox import Poison, Sandbox
from termmail.text import safe_line


def run(place: Paths, options: argparse.Namespace) -> int:
    """Print every message; with several, one that cannot be read does not stop the rest."""
    how = options.how or "text"
    sandbox = Sandbox()
    several = len(options.what) > 1
    code = 0
    try:
        for what in options.what:
            try:
                _one(place, sandbox, what, how, several=several)
            except (TermmailError, OSError) as error:
                code = getattr(error, "exit_code", 1)
                words = safe_line(getattr(error, "strerror", None) or str(error), 300)
                if several:
                    print(json.dumps({"file": what, "error": words}), flush=True)
                print(f"termmail: {safe_line(what, 200)}: {words}", file=sys.stderr)
    finally:
        sandbox.close()
    return code


def _one(place: Paths, sandbox: Sandbox, what: str, how: str, *, several: bool) -> None:
    known: dict[str, Any] = {}
    if what.isascii() and what.isdigit() and not Path(what).exists():
        raw, known = _from_store(place, PlacementId(int(what)))
    else:
        raw = Path(what).read_bytes()
    if how == "raw" and not several:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return
    try:
        document = sandbox.render_sync(raw, width=80, prefer="html" if how == "html" else "plain")
    except Poison:
        from termmail.mime.render import render_raw

        document = render_raw(raw)
    if how == "json" or several:
        value = {**known, **as_json(document)}
        print(json.dumps({"file": what, **value} if several else value, ensure_ascii=False), flush=True)
    elif how == "headers":
        print("\n".join(f"{name}: {value}" for name, value in document.headers))
    else:
        _print_text(document)


def _from_store(place: Paths, placement: PlacementId) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a message of ours; fetched if they are not here.  Raises NotFound."""
    from termmail.cli.commands import row_json
    from termmail.engine import once

    place.make()
    loaded = settings.load(place.settings)
    store = opened(place, loaded)
    try:
        row = store.mail.row(placement)
        if row is None:
            raise NotFound(f"no message {placement}", hint="termmail list shows the numbers")
        raw = store.mail.body(row.message_id)
        if raw is None:
            store.mail.want_body(row.message_id)
            once.sync_once(place, loaded, headers_only=True, seconds=60)
            raw = store.mail.body(row.message_id)
        if raw is None:
            raise NotFound(
                "the message is not here and could not be fetched", hint=store.mail.body_error(row.message_id)
            )
        return raw, row_json(store, row)
    finally:
        store.close()


def as_json(document: Document) -> dict[str, Any]:
    """A message as `show --json` has it (contract.md)."""
    sender = document.sender[0] if document.sender else None
    return {
        "message_id": document.message_id, "date": utc(document.date),
        "from": {"name": sender.name if sender else "", "email": sender.email if sender else ""},
        "to": [{"name": a.name, "email": a.email} for a in document.to],
        "cc": [{"name": a.name, "email": a.email} for a in document.cc],
        "subject": document.subject, "headers": [[name, value] for name, value in document.headers],
        "parts": [
            {"n": p.n, "type": p.type, "charset": p.charset, "filename": p.filename, "size": p.size,
             "disposition": p.disposition, "cid": p.cid}
            for p in document.parts
        ],
        "attachments": sum(p.attachment for p in document.parts),
        "text": document.text, "links": [{"text": one.text, "url": one.url, "host": one.host} for one in document.links],
        "warnings": [{"kind": one.kind, "words": one.words} for one in document.warnings],
    }  # fmt: skip


def _print_text(document: Document) -> None:
    """Head, text, links, attachments."""
    for label, people in (("From", document.sender), ("To", document.to), ("Cc", document.cc)):
        if people:
            print(f"{label}: {', '.join(map(str, people))}")
    if document.date:
        print(f"Date: {utc(document.date)}")
    print(f"Subject: {document.subject}")
    for warning in document.warnings:
        print(f"! {warning.words}")
    print()
    print(document.text, end="")
    if document.links:
        print("\n" + "\n".join(f"[{one.n}] {one.url}" for one in document.links))
    attached = [part for part in document.parts if part.attachment]
    if attached:
        print("\n" + "\n".join(f"@ {part.n} {part.filename} ({part.type}, {part.size:,} bytes)" for part in attached))
