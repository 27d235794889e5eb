"""The query language, compiled to SQL with bound values only.

words "a phrase"  from: to: cc: subject:  is:unread|read|starred|answered|forwarded|draft
has:attachment  in:FOLDER  account:NAME  label:WORD  before: after: on:2024-03-01
older:30d newer:2w  larger:1M smaller:20k  id:NUMBER  -negation  OR
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
import time
from collections.abc import Callable
from typing import Any

from termmail.model.errors import UsageError
from termmail.model.message import AccountId, Flag, FolderId, PlacementId
from termmail.store.db import Database
from termmail.store.mail import sort_key
from termmail.text import safe_line

Clause = tuple[str, list[Any]]
_TOKEN = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))', re.I)
_SPAN = {"d": 86400, "w": 7 * 86400, "m": 30 * 86400, "y": 365 * 86400, "h": 3600}
_SIZE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_FLAGS = {
    "unread": (Flag.SEEN, 0), "read": (Flag.SEEN, 1), "starred": (Flag.FLAGGED, 1), "flagged": (Flag.FLAGGED, 1),
    "answered": (Flag.ANSWERED, 1), "forwarded": (Flag.FORWARDED, 1), "draft": (Flag.DRAFT, 1),
    "muted": (Flag.MUTED, 1),
}  # fmt: skip


def _like(*columns: str) -> Callable[[str], Clause]:
    sql = " OR ".join(rf"{column} LIKE ? ESCAPE '\'" for column in columns)

    def clause(value: str) -> Clause:
        pattern = "%" + re.sub(r"([%_\\])", r"\\\1", value) + "%"
        return f"({sql})", [pattern] * len(columns)

    return clause


def _is(value: str) -> Clause:
    if value.lower() not in _FLAGS:
        raise UsageError(f"is:{safe_line(value)} is unknown", hint="is: " + " ".join(_FLAGS))
    flag, wanted = _FLAGS[value.lower()]
    return "((p.flags & ?) <> 0) = ?", [int(flag), wanted]


def _has(value: str) -> Clause:
    if value.lower() not in ("attachment", "attachments"):
        raise UsageError(f"has:{safe_line(value)} is unknown", hint="has:attachment")
    return "m.attachments = 1", []


def _in(value: str) -> Clause:
    return "p.view_id IN (SELECT id FROM folder WHERE path = ? COLLATE NOCASE OR role = lower(?))", [value, value]


def _account(value: str) -> Clause:
    return "m.account_id IN (SELECT id FROM account WHERE name = ? COLLATE NOCASE)", [value]


def _label(value: str) -> Clause:
    return r"(' ' || p.keywords || ' ') LIKE ? ESCAPE '\'", ["% " + re.sub(r"([%_\\])", r"\\\1", value) + " %"]


def _day(name: str, value: str) -> int:
    """The first second of a day in local time."""
    try:
        day = dt.datetime.strptime(value, "%Y-%m-%d").astimezone()
    except ValueError as error:
        raise UsageError(f"{name}:{safe_line(value)} is no date", hint="write it as 2024-03-01") from error
    return int(day.timestamp())


def _span(name: str, value: str) -> int:
    match = re.fullmatch(r"(\d{1,5})([hdwmy])", value.lower())
    if not match:
        raise UsageError(f"{name}:{safe_line(value)} is no length of time", hint="30d, 2w, 6m, 1y")
    return int(time.time()) - int(match[1]) * _SPAN[match[2]]


def _bytes(name: str, value: str) -> int:
    match = re.fullmatch(r"(\d{1,12})([kmg]?)b?", value.lower())
    if not match:
        raise UsageError(f"{name}:{safe_line(value)} is no size", hint="500k, 2M")
    return int(match[1]) * _SIZE[match[2]]


def _id(value: str) -> Clause:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise UsageError(f"id:{safe_line(value)} is no number")
    return "p.id = ?", [int(value)]


_FIELDS: dict[str, Callable[[str], Clause]] = {
    "from": _like("m.from_name", "m.from_email"),
    "to": _like("json_extract(nullif(m.recipients, ''), '$.to')"),
    "cc": _like("json_extract(nullif(m.recipients, ''), '$.cc')"),
    "subject": _like("m.subject"),
    "is": _is,
    "has": _has,
    "in": _in,
    "account": _account,
    "label": _label,
    "id": _id,
    "before": lambda v: ("p.sort < ?", [sort_key(_day("before", v))]),
    "after": lambda v: ("p.sort >= ?", [sort_key(_day("after", v))]),
    "on": lambda v: ("p.sort >= ? AND p.sort < ?", [sort_key(_day("on", v)), sort_key(_day("on", v) + 86400)]),
    "older": lambda v: ("p.sort < ?", [sort_key(_span("older", v))]),
    "newer": lambda v: ("p.sort >= ?", [sort_key(_span("newer", v))]),
    "larger": lambda v: ("m.size > ?", [_bytes("larger", v)]),
    "smaller": lambda v: ("m.size < ?", [_bytes("smaller", v)]),
}
_ANYWHERE = _like("m.subject", "m.from_name", "m.from_email", "m.to_names")


def compile_query(query: str) -> Clause:
    """A query as a condition over `placement p` and `message m`.  Raises UsageError naming the word at fault."""
    alternatives: list[list[Clause]] = [[]]
    for match in _TOKEN.finditer(query):
        minus, field, phrase, word = match.groups()
        value = phrase if phrase is not None else word
        if word == "OR" and not minus and not field:
            alternatives.append([])
            continue
        if field and field.lower() not in _FIELDS:
            if phrase is None and value.startswith("//"):  # a URL, not a field
                field, value = None, f"{field}:{value}"
            else:
                near = difflib.get_close_matches(field.lower(), _FIELDS, 1)
                hint = f"did you mean {near[0]}:?" if near else "one of " + " ".join(f"{name}:" for name in _FIELDS)
                raise UsageError(f"unknown search word {safe_line(field)}:", hint=hint)
        sql, values = _FIELDS[field.lower()](value) if field else _ANYWHERE(value)
        alternatives[-1].append((f"NOT coalesce({sql}, 0)" if minus else sql, values))
    if len(alternatives) > 1 and not all(alternatives):
        raise UsageError("OR stands between two searches")
    joined = [" AND ".join(sql for sql, _ in part) for part in alternatives]
    values = [value for part in alternatives for _, given in part for value in given]
    return " OR ".join(f"({sql})" for sql in joined if sql), values


class Search:
    """Finds placements; the newest first."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def find(
        self,
        query: str,
        *,
        account_id: AccountId | None = None,
        folder_id: FolderId | None = None,
        limit: int = 10_000,
    ) -> list[PlacementId]:
        """What matches, newest first, at most `limit`.  An empty query matches all.  Raises UsageError."""
        condition, values = compile_query(query)
        where = [f"({condition})"] if condition else []
        if account_id is not None:
            where.append("m.account_id = ?")
            values.append(account_id)
        if folder_id is not None:
            where.append("p.view_id = ?")
            values.append(folder_id)
        else:
            where.append("p.view_id IS NOT NULL")
        rows = self.db.all(
            "SELECT p.id FROM placement p JOIN message m ON m.id = p.message_id "
            f"WHERE {' AND '.join(where)} ORDER BY p.sort DESC, p.id DESC LIMIT ?",
            [*values, limit],
        )
        return [PlacementId(row[0]) for row in rows]
