"""A mailbox worth reading, made anew for today: people, threads, lists, letters in many tongues."""

from __future__ import annotations

import base64
import email.utils
import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from termmail.demo import letters
from termmail.demo.mailbox import World

HOME, WORK = "ada@lovelace.example", "ada@analytical.example"
USERS = {"home": HOME, "work": WORK}
DAY, HOUR = 86400.0, 3600.0


@dataclass
class Letter:
    """A message to be put somewhere."""

    user: str
    folder: str
    raw: bytes
    when: float
    flags: set[str] = field(default_factory=set)


def encoded(text: str, charset: str = "utf-8") -> str:
    """A header value in encoded words where it must be."""
    if text.isascii():
        return text
    return f"=?{charset}?b?{base64.b64encode(text.encode(charset)).decode()}?="


class Writer:
    """Writes messages with ids and dates that belong together."""

    def __init__(self, now: float, seed: int = 1843) -> None:
        self.now = now
        self.rng = random.Random(seed)  # noqa: S311
        self.count = 0

    def message(
        self,
        sender: tuple[str, str],
        to: str,
        subject: str,
        body: str | bytes,
        when: float,
        *,
        headers: dict[str, str] | None = None,
        charset: str = "utf-8",
        kind: str = "text/plain",
        parents: tuple[str, ...] = (),
    ) -> tuple[bytes, str]:
        """(bytes, Message-ID).  A bytes body stands with its own Content-* fields in `headers`."""
        self.count += 1
        name, address = sender
        mid = f"<{self.count}.{self.rng.randrange(10**9)}@{address.partition('@')[2]}>"
        fields = {
            "From": f"{encoded(name, charset if charset != 'iso-2022-jp' else 'utf-8')} <{address}>", "To": to,
            "Subject": encoded(subject, charset if charset != "us-ascii" else "utf-8"),
            "Date": email.utils.formatdate(when, localtime=False), "Message-ID": mid, "MIME-Version": "1.0",
        }  # fmt: skip
        if parents:
            fields |= {"In-Reply-To": parents[-1], "References": " ".join(parents)}
        if isinstance(body, str):
            data = body.replace("\n", "\r\n").encode(charset)
            fields |= {
                "Content-Type": f"{kind}; charset={charset}" + ("; format=flowed" if kind == "text/plain" else "")
            }
            fields |= {"Content-Transfer-Encoding": "8bit"}
        else:
            data = body
        fields |= headers or {}
        head = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
        return head.encode("utf-8") + b"\r\n" + data, mid

    def mixed(self, parts: list[tuple[str, bytes]], kind: str = "mixed") -> tuple[bytes, dict[str, str]]:
        """A multipart body of (fields, content), and the field that goes with it."""
        mark = f"=_demo_{self.rng.randrange(10**12)}"
        out = b"".join(f"--{mark}\r\n{fields}\r\n\r\n".encode() + content + b"\r\n" for fields, content in parts)
        return out + f"--{mark}--\r\n".encode(), {"Content-Type": f'multipart/{kind}; boundary="{mark}"'}


def text_part(text: str) -> tuple[str, bytes]:
    return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", text.replace(
        "\n", "\r\n"
    ).encode()


def html_part(source: str) -> tuple[str, bytes]:
    return "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", source.replace(
        "\n", "\r\n"
    ).encode()


def file_part(name: str, kind: str, data: bytes) -> tuple[str, bytes]:
    shown = (
        f'filename="{name}"' if name.isascii() else f"filename*=utf-8''{''.join(f'%{b:02X}' for b in name.encode())}"
    )
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; {shown}"
    return head, base64.encodebytes(data).replace(b"\n", b"\r\n")


def picture(width: int = 64, height: int = 64) -> bytes:
    """A small PNG: a sunrise."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (255 - 2 * y, 140 + y, 60 + 2 * x)) for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def paper(title: str) -> bytes:
    """A PDF of one page."""
    stream = f"BT /F1 24 Tf 72 720 Td ({title}) Tj ET".encode()
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj\n"
        b"4 0 obj<</Length %d>>stream\n%s\nendstream endobj\n5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%%%EOF\n" % (len(stream), stream)
    )


def quote(text: str, name: str, when: float) -> str:
    """The text as a reply has it."""
    said = "\n".join(
        f"> {line}".rstrip() for line in text.split("\n-- \n")[0].rstrip().split("\n") if not line.startswith("On ")
    )
    return f"\nOn {time.strftime('%a, %d %b at %H:%M', time.gmtime(when))}, {name} wrote:\n{said}\n"


def letters_for(now: float) -> Iterator[Letter]:
    """Everything that is in the mailboxes when the demo begins."""
    writer = Writer(now)
    yield from _threads(writer)
    yield from _newsletters(writer)
    yield from _list(writer)
    yield from _files(writer)
    yield from _tongues(writer)
    yield from _odd(writer)
    yield from _archive(writer)


def _threads(writer: Writer) -> Iterator[Letter]:
    """Conversations; what Ada wrote stands in Sent."""
    for user, ago, subject, turns in letters.THREADS:
        when = writer.now - ago * DAY
        parents: tuple[str, ...] = ()
        before, name_before = "", ""
        me = USERS[user]
        for place, (who, text) in enumerate(turns):
            name, address = ("Ada Lovelace", me) if who == "ada" else letters.PEOPLE[who]
            other = next(letters.PEOPLE[w] for w, _ in turns if w != "ada")
            to = f"{other[0]} <{other[1]}>" if who == "ada" else f"Ada Lovelace <{me}>"
            body = text + (quote(before, name_before, when) if before else "") + letters.SIGNATURES.get(who, "")
            title = subject if place == 0 else f"Re: {subject}"
            raw, mid = writer.message((name, address), to, title, body, when, parents=parents)
            last = place == len(turns) - 1
            flags = {"\\Seen"} if who == "ada" or not last or ago > 4 else set()
            if who != "ada" and not last and turns[place + 1][0] == "ada":
                flags |= {"\\Answered"}
            if place == 0 and ago < 3:
                flags |= {"\\Flagged"}
            yield Letter(user, "Sent" if who == "ada" else "INBOX", raw, when, flags)
            parents, before, name_before = (*parents, mid), text, name
            when += writer.rng.uniform(0.5, 9) * HOUR
            if when > writer.now - 300:
                when = writer.now - 300 + place


def _newsletters(writer: Writer) -> Iterator[Letter]:
    for place, (name, address, subject, plain, source) in enumerate(letters.NEWSLETTERS):
        when = writer.now - (0.2 + 2.3 * place) * DAY
        headers = {
            "List-Unsubscribe": f"<https://{address.partition('@')[2]}/unsubscribe>",
            "List-Id": f"<{address.replace('@', '.')}>",
        }
        if plain:
            body, more = writer.mixed([text_part(plain), html_part(source)], "alternative")
            raw, _ = writer.message((name, address), HOME, subject, body, when, headers=headers | more)
        else:
            raw, _ = writer.message((name, address), HOME, subject, source, when, headers=headers, kind="text/html")
        yield Letter("home", "INBOX", raw, when, set() if place < 2 else {"\\Seen"})


def _list(writer: Writer) -> Iterator[Letter]:
    """A mailing list with patches, in a folder of its own."""
    headers = {
        "List-Id": "Difference engine developers <devel.engine.example>", "List-Post": "<mailto:devel@engine.example>",
        "List-Archive": "<https://engine.example/archive>", "Precedence": "list",
    }  # fmt: skip
    people = list(letters.PEOPLE.values())
    for place, (subject, text) in enumerate(letters.LIST * 2):
        when = writer.now - (0.4 + 3.1 * place) * DAY
        sender = people[place % len(people)]
        root, mid = writer.message(sender, "devel@engine.example", f"[devel] {subject}", text, when, headers=headers)
        yield Letter("work", "Lists/devel", root, when, {"\\Seen"} if place > 1 else set())
        for answer, reply in enumerate(letters.LIST_REPLIES[place % 3 :][:2]):
            later = when + (answer + 1) * 2 * HOUR
            who = people[(place + answer + 1) % len(people)]
            raw, _ = writer.message(
                who, "devel@engine.example", f"Re: [devel] {subject}", reply + quote(text, sender[0], when), later,
                headers=headers, parents=(mid,),
            )  # fmt: skip
            yield Letter("work", "Lists/devel", raw, later, {"\\Seen"} if place else set())


def _files(writer: Writer) -> Iterator[Letter]:
    """Attachments and an invitation."""
    table = "month,cards,errors\n" + "".join(
        f"{month},{1200 + 37 * n},{7 - n % 5}\n" for n, month in enumerate(letters.MONTHS)
    )
    sets = [
        ("work", "grace", "Figures for the quarter", "The table is attached, the summary as well.\n\nGrace\n", 1.1,
         [("figures.csv", "text/csv", table.encode()), ("summary.pdf", "application/pdf", paper("Summary of the quarter"))]),
        ("home", "charles", "Sunrise over the mill pond", "I thought you might like this one.\n", 2.6,
         [("sunrise.png", "image/png", picture())]),
        ("home", "mary", "Die Übersicht, wie versprochen", "Liebe Ada,\n\nanbei die Übersicht.\n\nMary\n", 8.0,
         [("Übersicht für Ada.txt", "text/plain; charset=utf-8", b"Erstens: Lochkarten.\nZweitens: Geduld.\n")]),
        ("work", "build", "Nightly build failed: carry propagation", "The log is attached.\n", 0.3,
         [("build.log", "text/plain", b"step 1 ok\nstep 2 ok\nstep 3 FAILED: column 7 did not carry\n")]),
    ]  # fmt: skip
    for user, who, subject, text, ago, files in sets:
        body, more = writer.mixed([text_part(text), *(file_part(*one) for one in files)])
        when = writer.now - ago * DAY
        raw, _ = writer.message(letters.PEOPLE[who], USERS[user], subject, body, when, headers=more)
        yield Letter(user, "INBOX", raw, when, set() if ago < 2 else {"\\Seen"})
    for place, (title, where) in enumerate(letters.INVITES):
        begin = writer.now + (1 + place) * DAY
        stamp = time.strftime("%Y%m%dT140000Z", time.gmtime(begin))
        card = (
            f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{place}@analytical.example\r\n"
            f"DTSTAMP:{stamp}\r\nDTSTART:{stamp}\r\nDTEND:{stamp[:9]}150000Z\r\nSUMMARY:{title}\r\nLOCATION:{where}\r\n"
            "ORGANIZER:mailto:grace@analytical.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
        calendar = (
            "Content-Type: text/calendar; charset=utf-8; method=REQUEST\r\nContent-Transfer-Encoding: 8bit",
            card.encode(),
        )
        body, more = writer.mixed([text_part(f"{title}\n{where}\n"), calendar], "mixed")
        when = writer.now - (0.6 + place) * DAY
        raw, _ = writer.message(letters.PEOPLE["grace"], WORK, f"Invitation: {title}", body, when, headers=more)
        yield Letter("work", "INBOX", raw, when)


def _tongues(writer: Writer) -> Iterator[Letter]:
    """Letters in the charsets that mail really comes in."""
    for place, (name, address, charset, subject, text) in enumerate(letters.TONGUES):
        when = writer.now - (1.5 + 4.0 * place) * DAY
        raw, _ = writer.message((name, address), HOME, subject, text, when, charset=charset)
        yield Letter("home", "INBOX", raw, when, {"\\Seen"} if place % 3 else set())


def _odd(writer: Writer) -> Iterator[Letter]:
    """A bounce, drafts, spam, a letter whose sender is not quite what he says."""
    when = writer.now - 3.2 * DAY
    status = "Reporting-MTA: dns; mx.analytical.example\r\n\r\n"
    status += "Final-Recipient: rfc822; nobody@nowhere.example\r\nAction: failed\r\n"
    status += "Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
    parts = [
        text_part("Your message could not be delivered.\n"),
        ("Content-Type: message/delivery-status", status.encode()),
    ]
    body, more = writer.mixed(parts, "report; report-type=delivery-status")
    daemon = ("Mail Delivery System", "mailer-daemon@analytical.example")
    raw, _ = writer.message(daemon, WORK, "Undelivered mail returned to sender", body, when, headers=more)
    yield Letter("work", "INBOX", raw, when, {"\\Seen"})
    when = writer.now - 0.9 * DAY
    trick = {"Reply-To": "payments@collector.example"}
    words = "Dear Ada,\n\nplease settle the enclosed invoice today.  Only answer to this message.\n"
    raw, _ = writer.message(
        ("Charles Babbage", "charles@babbage-mail.example"), HOME, "Invoice, urgent", words, when, headers=trick
    )
    yield Letter("home", "INBOX", raw, when)
    for place, (subject, text) in enumerate(letters.SPAM):
        when = writer.now - (1 + place * 2) * DAY
        raw, _ = writer.message(("Lucky Prize", f"win{place}@prizes.example"), HOME, subject, text, when)
        yield Letter("home", "Junk", raw, when, {"\\Seen"} if place else set())
    for place, (subject, text) in enumerate(letters.DRAFTS):
        when = writer.now - DAY * (place + 1)
        raw, _ = writer.message(("Ada Lovelace", HOME), "Mary <mary@somerville.example>", subject, text, when)
        yield Letter("home", "Drafts", raw, when, {"\\Seen", "\\Draft"})


def _archive(writer: Writer) -> Iterator[Letter]:
    """A year of smaller letters."""
    people = list(letters.PEOPLE.values())
    for place in range(135):
        when = writer.now - (16 + 3.6 * place) * DAY
        user = "home" if place % 2 else "work"
        subject, text = letters.SMALL[place % len(letters.SMALL)]
        sender = people[place % len(people)]
        folder = ("Archive", "Projects/Engine", "Archive", "Travel", "Trash")[place % 5]
        if user == "work":
            folder = ("Archive", "Projects/Engine", "Archive", "Projects/Notes", "Trash")[place % 5]
        raw, _ = writer.message(sender, USERS[user], subject, text + letters.SIGNATURES.get("charles", ""), when)
        yield Letter(user, folder, raw, when, {"\\Seen"} | ({"\\Flagged"} if place % 17 == 0 else set()))


def fill(world: World, now: float) -> None:
    """Put everything into the demo's mailboxes, oldest first."""
    for letter in sorted(letters_for(now), key=lambda one: one.when):
        account = world.accounts[letter.user]
        folder = account.folders.get(letter.folder) or account.create(letter.folder)
        folder.add(letter.raw, letter.flags, letter.when)


def arriving(number: int, now: float) -> tuple[str, bytes]:
    """(user, message) that arrives as the `number`-th while the demo runs."""
    writer = Writer(now, seed=number + 7)
    writer.count = 10_000 + number
    user, who, subject, text = letters.ARRIVING[number % len(letters.ARRIVING)]
    raw, _ = writer.message(letters.PEOPLE[who], USERS[user], subject, text, now)
    return user, raw
