"""Parts of a message into files: never over another file, never outside the folder that was named."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from termmail.model.document import Part
from termmail.model.errors import TermmailError, UsageError
from termmail.sandbox import Poison
from termmail.text import SafeText, safe_line
from termmail.ui.widgets.reader import size

if TYPE_CHECKING:
    from termmail.ui.screens.mail import MailScreen

TRIES = 1000


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write a new file, "name-1.pdf" if "name.pdf" is there; its path.

    `name` has been made safe.  Links are not followed, nothing is executable.  Raises TermmailError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise TermmailError(f"{folder} cannot be used: {error.strerror}") from error
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    try:
        for number in range(TRIES):
            candidate = f"{stem}-{number}{dot}{extension}" if number else name
            with contextlib.suppress(FileExistsError):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
                descriptor = os.open(candidate, flags, 0o600, dir_fd=directory)
                with open(descriptor, "wb") as file:
                    file.write(data)
                return folder / candidate
    except OSError as error:
        raise TermmailError(f"{safe_line(name)} cannot be saved: {error.strerror}") from error
    finally:
        os.close(directory)
    raise TermmailError(f"{folder} has too many files named {safe_line(name)}")


def _parts(screen: MailScreen) -> tuple[bytes, list[Part]]:
    """The message that is shown and its attachments.  Raises UsageError."""
    document = screen.reader.document
    row = screen.store.mail.row(screen.reading.shown)
    raw = screen.store.mail.body(row.message_id) if row else None
    if document is None or raw is None:
        raise UsageError("no message is shown")
    return raw, [part for part in document.parts if part.attachment]


async def save(screen: MailScreen, where: str) -> None:
    """Save one attachment, or all."""
    from termmail.ui.screens.dialogs import Choose

    raw, parts = _parts(screen)
    if not parts:
        raise UsageError("no attachments here", hint="A lists all parts")
    wanted = parts
    if len(parts) > 1:
        items = [("*", SafeText(f"all {len(parts)}"), SafeText(""))]
        items += [(part.n, part.filename, SafeText(size(part.size))) for part in parts]
        chosen = await screen.owner.ask(Choose(SafeText("Save which?"), items))
        if chosen is None:
            return
        wanted = parts if chosen == "*" else [part for part in parts if part.n == chosen]
    await _save(screen, raw, wanted, where)


async def _save(screen: MailScreen, raw: bytes, parts: list[Part], where: str) -> None:
    from termmail.ui.screens.dialogs import SavePath

    folder = where or await screen.owner.ask(SavePath(value=screen.owner.settings.save_folder))
    if not folder:
        return
    saved = []
    for part in parts:
        try:
            data = await screen.owner.sandbox.part(raw, part.n)
        except Poison as error:
            raise TermmailError(f"{part.filename} could not be decoded") from error
        if data is not None:
            name = part.filename or SafeText(f"part-{part.n}")
            saved.append(await asyncio.to_thread(write, Path(folder).expanduser(), name, data))
    if len(saved) == 1:
        screen.say(safe_line(f"saved {saved[0]}", 300))
    else:
        screen.say(safe_line(f"saved {len(saved)} files to {folder}", 300))


async def browse(screen: MailScreen) -> None:
    """All parts, to save one."""
    from termmail.ui.screens.dialogs import Choose

    raw, _ = _parts(screen)
    document = screen.reader.document
    parts = [part for part in document.parts if not part.type.startswith("multipart/")] if document else []
    items = [
        (part.n, safe_line(f"{part.n:6} {part.type:24} {part.filename}"), SafeText(size(part.size))) for part in parts
    ]
    chosen = await screen.owner.ask(Choose(SafeText("Parts: Enter saves"), items))
    if chosen:
        await _save(screen, raw, [part for part in parts if part.n == chosen], "")
