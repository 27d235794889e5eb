"""The command line (contract.md): what it takes, and who carries it out.  Heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from termmail import __version__

MAILTO = ("to", "cc", "subject", "body", "in-reply-to")  # what a link may fill in; never files, never the sender


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="termmail", description="A mail client for the terminal.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"termmail {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands (none opens the mail client)")

    def command(name: str, words: str, **more: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=words, description=words, allow_abbrev=False, **more)

    def json_option(of: argparse.ArgumentParser) -> None:
        of.add_argument("--json", action="store_true", help="JSON Lines on standard output")

    demo = command("demo", "try it on a built-in server with sample mail; touches none of your accounts")
    demo.add_argument("--keep", metavar="DIR", help="keep the trial's settings and mail in DIR")
    command("setup", "add an account step by step")
    _account(command("account", "add, list, test and remove accounts"))
    sync = command("sync", "bring everything up to date once, push what is queued, exit")
    sync.add_argument("accounts", nargs="*", metavar="ACCOUNT")
    sync.add_argument("--folder", action="append", metavar="NAME", help="report only these folders")
    sync.add_argument("--headers-only", action="store_true", help="fetch no bodies")
    json_option(sync)
    engine = command("engine", "the background process by hand")
    which = engine.add_subparsers(dest="what", required=True, metavar="run | status | stop")
    run = which.add_parser("run", help="run in the foreground")
    run.add_argument("--attached", action="store_true", help=argparse.SUPPRESS)
    json_option(which.add_parser("status", help="who is attached, what is queued"))
    which.add_parser("stop", help="ask it to leave")
    for name, words in (("list", "list messages"), ("search", "search all accounts and folders")):
        one = command(name, words)
        one.add_argument("query", nargs="*", metavar="QUERY")
        if name == "list":
            one.add_argument("--account", metavar="A")
            one.add_argument("--folder", metavar="NAME")
        one.add_argument("--limit", type=int, default=50, metavar="N")
        json_option(one)
    show = command("show", "print a message, from here or from a file")
    show.add_argument("what", nargs="+", metavar="ID|FILE.eml")
    how = show.add_mutually_exclusive_group()
    for name in ("text", "html", "raw", "headers", "json"):
        how.add_argument(f"--{name}", action="store_const", const=name, dest="how")
    do = command("do", "the verbs of keys and of the `:` line")
    do.add_argument("verb", metavar="'VERB [ARGS]'")
    do.add_argument("ids", nargs="*", metavar="ID")
    do.add_argument("--query", metavar="QUERY", help="act on what matches")
    do.add_argument("--dry-run", action="store_true", help="say what would be done")
    do.add_argument("--wait", action="store_true", help="return when the server has it")
    json_option(do)
    _folder(command("folder", "list and change folders"))
    send = command("send", "queue a message from standard input (like sendmail)")
    send.add_argument("recipients", nargs="*", metavar="RECIPIENT")
    send.add_argument("--account", metavar="A")
    send.add_argument("-t", dest="from_headers", action="store_true", help="recipients from To, Cc and Bcc")
    send.add_argument(
        "-i", "-oi", action="store_true", dest="dots", help="a line with a dot ends nothing (it never does here)"
    )
    send.add_argument("-f", dest="sender", metavar="ADDRESS", help="envelope sender")
    send.add_argument("-F", dest="full_name", metavar="NAME", help=argparse.SUPPRESS)
    send.add_argument("--wait", action="store_true", help="return when it was accepted or refused")
    json_option(send)
    write = command("compose", "open the composer")
    write.add_argument("url", nargs="?", metavar="mailto:URL")
    for name in ("to", "cc", "subject"):
        write.add_argument(f"--{name}", default="")
    write.add_argument("--attach", action="append", default=[], metavar="FILE")
    write.add_argument("--body-file", metavar="FILE")
    outbox = command("outbox", "what waits to be sent")
    outbox.add_argument("what", nargs="?", default="list", choices=("list", "retry", "cancel", "mark-sent"))
    outbox.add_argument("id", nargs="?", type=int)
    json_option(outbox)
    config = command("config", "where settings are, and what is wrong in them")
    config.add_argument("what", choices=("path", "check", "show"))
    config.add_argument("key", nargs="?")
    json_option(command("doctor", "find out what is wrong"))
    return top


def _account(of: argparse.ArgumentParser) -> None:
    which = of.add_subparsers(dest="what", required=True, metavar="add | list | test | remove")
    add = which.add_parser("add", help="add an account", allow_abbrev=False)
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", help="what the account is called here")
    add.add_argument("--full-name", default="", help="the name recipients see")
    add.add_argument("--imap", metavar="HOST[:PORT] [tls|starttls|none]")
    add.add_argument("--pop3", metavar="HOST[:PORT] [tls|starttls|none]", help="instead of IMAP: mail is kept here")
    add.add_argument("--smtp", metavar="HOST[:PORT] [tls|starttls|none]")
    add.add_argument("--user")
    add.add_argument("--password-command", default="", metavar="COMMAND")
    add.add_argument("--ca-file", default="", metavar="FILE")
    add.add_argument("--yes", action="store_true", help="ask nothing; the password comes on standard input")
    add.add_argument("--no-test", action="store_true", help="do not try it")
    which.add_parser("list", help="list accounts").add_argument("--json", action="store_true")
    test = which.add_parser("test", help="log in and look")
    test.add_argument("name", nargs="?")
    test.add_argument("--json", action="store_true")
    which.add_parser("remove", help="forget an account and its mail here").add_argument("name")


def _folder(of: argparse.ArgumentParser) -> None:
    which = of.add_subparsers(
        dest="what", required=True, metavar="list | create | rename | delete | subscribe | unsubscribe"
    )
    for name in ("list", "create", "rename", "delete", "subscribe", "unsubscribe"):
        one = which.add_parser(name)
        one.add_argument("--account", metavar="A")
        one.add_argument("--json", action="store_true")
        if name != "list":
            one.add_argument("name")
        if name == "rename":
            one.add_argument("new")


def mailto(options: argparse.Namespace) -> dict[str, str]:
    """What `termmail compose` fills in; of a URL only the fields that a link may name (security.md row 15)."""
    found = {
        "to": options.to,
        "cc": options.cc,
        "subject": options.subject,
        "body": "",
        "attach": "\n".join(options.attach),
    }
    if options.url:
        parts = urlsplit(options.url)
        if parts.scheme.lower() != "mailto":
            from termmail.model.errors import UsageError

            raise UsageError("compose takes a mailto: URL")
        fields = {"to": unquote(parts.path)} | {
            name.lower(): value for name, value in parse_qsl(parts.query[:100_000]) if name.lower() in MAILTO
        }
        found |= {
            name: value.replace("\r\n", "\n") for name, value in fields.items() if name in found and name != "attach"
        }
    if options.body_file:
        with open(options.body_file, encoding="utf-8", errors="replace") as file:
            found["body"] = file.read()
    return found


def main(words: list[str]) -> int:
    """Run a command; its exit code."""
    from termmail.model.errors import TermmailError

    options = parser().parse_args(words)
    try:
        from termmail.cli import commands

        code = commands.run(options)
        sys.stdout.flush()
    except TermmailError as error:
        print(f"termmail: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"termmail: {error}", file=sys.stderr)
        return 1
    return code
