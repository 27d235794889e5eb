"""Servers for an address: a small table of well-known providers, else the usual names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from termmail.config.settings import PORTS
from termmail.model.account import Account, Security, Server
from termmail.model.errors import UsageError
from termmail.text import safe_line

_KNOWN: dict[str, tuple[str, str, str]] = {
    # domain: (incoming, outgoing, security of outgoing); as the providers publish them
    "gmail.com": ("imap.gmail.com", "smtp.gmail.com", "tls"),
    "googlemail.com": ("imap.gmail.com", "smtp.gmail.com", "tls"),
    "icloud.com": ("imap.mail.me.com", "smtp.mail.me.com", "starttls"),
    "me.com": ("imap.mail.me.com", "smtp.mail.me.com", "starttls"),
    "yahoo.com": ("imap.mail.yahoo.com", "smtp.mail.yahoo.com", "tls"),
    "fastmail.com": ("imap.fastmail.com", "smtp.fastmail.com", "tls"),
    "gmx.net": ("imap.gmx.net", "mail.gmx.net", "starttls"),
    "gmx.de": ("imap.gmx.net", "mail.gmx.net", "starttls"),
    "web.de": ("imap.web.de", "smtp.web.de", "starttls"),
    "posteo.de": ("posteo.de", "posteo.de", "tls"),
    "mailbox.org": ("imap.mailbox.org", "smtp.mailbox.org", "tls"),
    "zoho.com": ("imap.zoho.com", "smtp.zoho.com", "tls"),
    "yandex.ru": ("imap.yandex.ru", "smtp.yandex.ru", "tls"),
    "mail.ru": ("imap.mail.ru", "smtp.mail.ru", "tls"),
    "aol.com": ("imap.aol.com", "smtp.aol.com", "tls"),
}


def guess(email: str) -> tuple[Server, Server]:
    """(incoming, outgoing) for an address; a guess that is shown before it is used."""
    domain = email.rpartition("@")[2].lower()
    incoming, outgoing, security = _KNOWN.get(domain, (f"imap.{domain}", f"smtp.{domain}", "tls"))
    way = Security(security)
    return (
        Server("imap", incoming, 993, Security.TLS, email),
        Server("smtp", outgoing, PORTS["smtp", way], way, email),
    )


def server_from(text: str, kind: str, user: str, command: str = "") -> Server:
    """A server as people write it: "imap.example.org:993 tls".  Raises UsageError.

    An incoming server is POP3 if its port or its name says so ("pop.example.org", ":995"), or the word "pop3" behind it.
    """
    match = re.fullmatch(
        r"\s*\[?([^\s\[\]]+?)\]?(?::(\d{1,5}))?(?:\s+(tls|starttls|none))?(?:\s+(imap|pop3))?\s*", text
    )
    if not match:
        raise UsageError(f"“{safe_line(text, 60)}” is no server", hint="write it as imap.example.org:993 tls")
    port = int(match[2] or 0)
    if kind == "imap" and (
        match[4] == "pop3" or (not match[4] and (port in (110, 995) or match[1].lower().startswith("pop")))
    ):
        kind = "pop3"
    security = Security(match[3]) if match[3] else Security.STARTTLS if port in (110, 143, 587) else Security.TLS
    server = Server(kind, match[1], port or PORTS[kind, security], security, user, password_command=command)
    if not 0 < server.port < 65536:
        raise UsageError(f"{port} is no port")
    return server


def account_from(
    email: str, full_name: str, incoming: Server, outgoing: Server | None, taken: Collection[str]
) -> Account:
    """An account named after its domain, with a number if that name is taken.  Raises UsageError."""
    if not re.fullmatch(r"[^\s@]+@[^\s@]+", email):
        raise UsageError(f"“{safe_line(email, 60)}” is no address")
    base = re.sub(r"[^a-z0-9-]", "-", email.rpartition("@")[2].lower().split(".")[0]).strip("-")[:30] or "mail"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return Account(name, email, full_name, replace(incoming), outgoing)
