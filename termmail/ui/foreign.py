"""The user's own editor on a text: a private file, the terminal lent out, and what comes back made safe.

The folder of the file is named after the draft and this process.  If termmail is killed while the editor
runs, the file stays, and the composer that opens the draft again takes what was written there.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from textual.app import SuspendNotSupported

from termmail.model.errors import TermmailError
from termmail.text import SafeText, safe_block, safe_line

FILE = "message.txt"
SIZE_LIMIT = 32 << 20  # bytes that are taken back


def command(setting: str) -> list[str]:
    """The editor as words: the setting, else $VISUAL, $EDITOR, vi.  Raises TermmailError."""
    said = setting or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(said)
    except ValueError as error:
        raise TermmailError(f"the editor “{safe_line(said, 80)}” cannot be read: {error}") from error
    if not words:
        raise TermmailError("there is no editor", hint="set $EDITOR, or editor under [compose]")
    return words


def edit(
    text: str, words: list[str], runtime: Path, draft_id: int, suspend: Callable[[], AbstractContextManager[None]]
) -> SafeText:
    """Let the user edit a text; what it is then.  Raises TermmailError, and the text is what it was."""
    name = safe_line(words[0], 80)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"edit-{draft_id}-{os.getpid()}-", dir=runtime))
        path = folder / FILE
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise TermmailError(f"no file for the editor: {error.strerror}") from error
    try:
        with suspend(), _interrupts_ignored():
            try:
                code = subprocess.run([*words, str(path)], check=False).returncode
                problem = f"{name} ended with code {code}; the text is what it was" if code else ""
            except (OSError, ValueError) as error:
                problem = f"{name} could not be run: {getattr(error, 'strerror', None) or error}"
        if problem:
            raise TermmailError(problem)
        return _read(path)
    except SuspendNotSupported as error:
        raise TermmailError("an editor cannot be started from here") from error
    except OSError as error:
        raise TermmailError(f"what {name} wrote cannot be read: {error.strerror}; the text is what it was") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> SafeText:
    """What the editor wrote.  Raises OSError, TermmailError."""
    with path.open("rb") as file:
        raw = file.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT:
        raise TermmailError("the file is too large for a message; the text is what it was")
    return safe_block(raw.decode("utf-8-sig", "replace"))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """C-c is for the editor; as a handler, not SIG_IGN, which the editor would inherit."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def recovered(runtime: Path, draft_id: int, saved: float) -> SafeText | None:
    """What an editor wrote after `saved` (seconds since the epoch) for a draft while termmail was killed."""
    found: tuple[float, SafeText] | None = None
    for folder in runtime.glob(f"edit-{draft_id}-*"):
        with contextlib.suppress(OSError, ValueError, TermmailError):
            if _alive(int(folder.name.split("-")[2])):
                continue
            when = (folder / FILE).stat().st_mtime
            if when > saved and (found is None or when > found[0]):
                found = when, _read(folder / FILE)
        shutil.rmtree(folder, ignore_errors=True)
    return found[1] if found else None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
