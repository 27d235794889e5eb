"""Attachments into files: never over another file, never elsewhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from termmail.model.errors import TermmailError
from termmail.ui.saving import write
from tests.ui.conftest import Opened, until
from tests.ui.filling import Filled


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    names = [write(tmp_path, "a.tar.gz", b"%d" % n).name for n in range(3)]
    assert names == ["a.tar.gz", "a.tar-1.gz", "a.tar-2.gz"]
    assert (tmp_path / "a.tar.gz").read_bytes() == b"0"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").symlink_to(tmp_path / "victim")
    assert write(tmp_path / "in", "x", b"data").name == "x-1"
    assert not (tmp_path / "victim").exists()


def test_what_is_saved_is_private_and_not_executable(tmp_path: Path) -> None:
    assert stat.S_IMODE(write(tmp_path / "new", "run.sh", b"#!/bin/sh").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TermmailError, match="file"):
        write(tmp_path / "file" / "sub", "x", b"")


async def test_all_attachments_are_saved_to_the_folder_that_is_named(
    filled: Filled, opened: Opened, tmp_path: Path
) -> None:
    from tests.ui.filling import header

    head = header(60).decode()
    body = (
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee\r\n'
        '--b\r\nContent-Type: text/csv; name="a.csv"\r\nContent-Disposition: attachment; filename="a.csv"\r\n\r\n1,2\r\n'
        '--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="../../evil.pdf"\r\n\r\n'
        "%PDF\r\n--b--\r\n"
    )
    row = filled.store.mail.row(filled.store.mail.page(filled.folders["INBOX"], limit=1)[0][1])  # type: ignore[arg-type]
    assert row is not None
    filled.store.mail.put_body(row.message_id, (head + body).encode())
    async with opened(filled) as pilot:
        mail = pilot.app.mail  # type: ignore[attr-defined]
        await until(lambda: mail.reader.document)
        mail.owner.perform(f"save {tmp_path / 'out'}")
        await pilot.pause()
        await pilot.press("enter")
        await until(lambda: "saved 2 files" in mail.status.words)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "a.csv"
    assert len(names) == 2
    assert names[1].endswith("evil.pdf")
    assert not list(tmp_path.glob("evil*"))
