"""The command line as a program, against the demo server over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from termmail import link
from termmail.config.settings import save_account
from termmail.demo.server import DemoServer
from termmail.model.account import Account, Security, Server
from termmail.paths import Paths

MAIL = b"From: Grace <grace@navy.example>\r\nTo: ada@demo.example\r\nSubject: %s\r\nMessage-ID: <%s@x>\r\nDate: Mon, 3 Mar 2025 09:41:00 +0000\r\n\r\nHello %s\r\n"  # noqa: E501


def run(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """termmail as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "termmail", *words], input=data, capture_output=True, check=False, timeout=60
    )


def lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


@pytest.fixture
def server(profile: Paths) -> Iterator[DemoServer]:
    """A server with three messages, and an account for it."""
    with DemoServer() as demo:
        for word in (b"one", b"two", b"three"):
            demo.add(MAIL % (word, word, word))
        incoming = Server("imap", "127.0.0.1", demo.imap_port, Security.NONE, "ada", password="secret")
        outgoing = Server("smtp", "127.0.0.1", demo.smtp_port, Security.NONE, "ada", password="secret")
        save_account(profile.settings, Account("home", "ada@demo.example", "Ada", incoming, outgoing))
        yield demo
        run("engine", "stop")


def test_sync_counts_what_came_after_the_first_page_too_and_names_a_folder_once(server: DemoServer) -> None:
    for number in range(150):
        server.add(MAIL % (b"%d" % number, b"%d" % number, b"more"))
    done = lines(run("sync", "--headers-only", "--json"))
    assert [line["new"] for line in done[:-1] if line["folder"] == "INBOX"] == [153]
    assert done[-1]["messages"] == 153


def test_sync_list_and_show(server: DemoServer) -> None:
    done = lines(run("sync", "--json"))
    assert done[-1]["done"] is True
    assert done[-1]["messages"] == 3
    assert {"account", "folder", "new", "changed", "vanished", "seconds"} <= set(done[0])
    found = lines(run("list", "subject:two", "--json"))
    assert len(found) == 1
    assert found[0]["subject"] == "two"
    assert found[0]["from"] == {"name": "Grace", "email": "grace@navy.example"}
    assert (found[0]["date"], found[0]["flags"], found[0]["folder"], found[0]["uid"]) == (
        "2025-03-03T09:41:00Z",
        [],
        "INBOX",
        2,
    )
    shown = lines(run("show", str(found[0]["id"]), "--json"))[0]
    assert shown["text"] == "Hello two\n"
    assert ["Subject", "two"] in shown["headers"]
    assert run("show", str(found[0]["id"]), "--raw").stdout.startswith(b"From: Grace")
    assert run("list", "nothing").returncode == 3
    assert run("list", "form:x").returncode == 2


def test_do_acts_waits_and_undoes(server: DemoServer) -> None:
    run("sync")
    ids = [str(one["id"]) for one in lines(run("list", "--json"))]
    assert lines(run("do", "archive", "--query", "subject:one", "--dry-run", "--json"))[0]["count"] == 1
    assert len(server.folder("INBOX").messages) == 3
    done = run("do", "archive", "--query", "subject:one OR subject:two", "--wait")
    assert done.returncode == 0, done.stderr
    assert [len(server.folder(name).messages) for name in ("INBOX", "Archive")] == [1, 2]
    assert run("do", "undo", "--wait").returncode == 0
    assert [len(server.folder(name).messages) for name in ("INBOX", "Archive")] == [3, 0]
    assert run("do", "star", ids[0], "--wait").returncode == 0
    assert sum("\\Flagged" in one.flags for one in server.folder().messages) == 1
    assert run("do", "archiv", ids[0]).returncode == 2
    assert run("do", "archive", "999999").returncode == 3


def test_what_is_done_offline_is_carried_out_later(server: DemoServer, profile: Paths) -> None:
    run("sync")
    text = profile.settings.read_text()
    profile.settings.write_text(text.replace(f"port = {server.imap_port}", "port = 1"))
    assert run("do", "trash", "--query", "subject:three", "--wait").returncode == 75
    assert lines(run("list", "in:Trash", "--json"))[0]["pending"] is True
    profile.settings.write_text(text)
    assert run("sync").returncode == 0
    assert len(server.folder("Trash").messages) == 1


def test_send_queues_waits_and_files_the_copy(server: DemoServer) -> None:
    raw = b"From: Ada <ada@demo.example>\nTo: Bob <bob@elsewhere.example>\nBcc: carol@elsewhere.example\nSubject: hi\n\n.hello\n"
    done = run("send", "-t", "--wait", "--json", data=raw)
    assert done.returncode == 0, done.stderr
    answer = lines(done)[0]
    assert answer["state"] == "sent"
    assert {r["email"]: r["status"] for r in answer["recipients"]} == {
        "bob@elsewhere.example": "ok",
        "carol@elsewhere.example": "ok",
    }
    (taken,) = server.smtp.taken
    assert b"carol" not in taken.raw
    assert b"\r\n.hello\r\n" in taken.raw
    assert link.wait_until(lambda: len(server.folder("Sent").messages) == 1, 10)
    assert server.folder("Sent").messages[0].raw == taken.raw
    assert run("send", data=b"no message").returncode == 1


def test_folders_are_made_renamed_and_deleted(server: DemoServer) -> None:
    run("sync")
    assert run("folder", "create", "Projects/Ünïcode").returncode == 0
    assert "Projects/&ANw-n&AO8-code" in server.world.accounts["ada"].folders
    assert run("folder", "rename", "Projects/Ünïcode", "Done").returncode == 0
    assert "Done" in server.world.accounts["ada"].folders
    assert {one["folder"] for one in lines(run("folder", "list", "--json"))} >= {"INBOX", "Done"}
    assert run("folder", "delete", "Done").returncode == 0
    assert "Done" not in server.world.accounts["ada"].folders
    refused = run("folder", "delete", "INBOX")
    assert refused.returncode == 2
    assert b"INBOX is for inbox" in refused.stderr
    server.faults.replies["CREATE"] = ["NO [CANNOT] not on a Tuesday"]
    refused = run("folder", "create", "Nope")
    assert refused.returncode == 1
    assert b"the server would not create Nope: not on a Tuesday" in refused.stderr


def test_accounts_are_added_tried_and_removed(server: DemoServer, profile: Paths) -> None:
    words = ["account", "add", "ada@demo.example", "--name", "second", "--user", "ada", "--yes"]
    where = [f"--imap=127.0.0.1:{server.imap_port} none", f"--smtp=127.0.0.1:{server.smtp_port} none"]
    wrong = run(*words, *where, "--password-command", "echo wrong")
    assert wrong.returncode == 1
    assert b"refused user and password" in wrong.stderr
    assert "second" not in profile.settings.read_text()
    assert run(*words, *where, "--password-command", "echo secret").returncode == 0
    assert [one["name"] for one in lines(run("account", "list", "--json"))] == ["home", "second"]
    assert all(one["ok"] for one in lines(run("account", "test", "second", "--json")))
    assert run("account", "remove", "second").returncode == 0
    assert run("account", "test", "second").returncode == 3
    doctor = lines(run("doctor", "--json"))
    assert all(one["ok"] for one in doctor)
    assert any("logged in" in one["words"] for one in doctor)


def test_show_reads_files_and_a_bad_one_does_not_stop_the_rest(home: Path) -> None:
    good = home / "good.eml"
    good.write_bytes(
        b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/html\r\n\r\n<p>hi <a href='https://x.example'>there</a>"
    )
    done = run("show", str(good), str(home / "missing.eml"), str(good))
    first, second, third = lines(done)
    assert (first["subject"], first["text"], first["links"][0]["host"]) == ("grüße", "hi there[1]\n", "x.example")
    assert "error" in second
    assert third["subject"] == "grüße"
    assert run("show", str(good), "--headers").stdout.decode().startswith("Subject: grüße\n")
    assert run("show", str(home / "missing.eml")).returncode == 1


def test_settings_are_checked_with_line_and_key(profile: Paths) -> None:
    assert run("config", "path").stdout.decode().strip() == str(profile.settings)
    profile.settings.write_text("[ui]\ntheem = 'x'\nlayout = 'left'\n")
    checked = run("config", "check")
    assert checked.returncode == 1
    assert b":2: ui.theem: unknown key; did you mean theme?" in checked.stdout
    assert b"ui.theme" in run("config", "show", "ui").stdout
    profile.settings.write_text("[ui]\n\ntheme = 'dusck'\n")
    checked = run("config", "check")
    assert checked.returncode == 1
    assert b":3: ui.theme: there is no theme 'dusck'" in checked.stdout


def test_engines_come_alone_and_leave_when_asked(server: DemoServer, profile: Paths) -> None:
    first = subprocess.Popen([sys.executable, "-m", "termmail", "engine", "run"], stderr=subprocess.PIPE)
    try:
        assert link.wait_until(lambda: bool(lines(run("engine", "status", "--json"))[0]["running"]), 10)
        second = run("engine", "run")
        assert second.returncode == 1
        assert b"already" in second.stderr
        status = lines(run("engine", "status", "--json"))[0]
        assert {"running", "pid", "version", "accounts", "attached"} <= set(status)
        began = time.monotonic()
        assert run("engine", "stop").returncode == 0
        first.wait(5)
        assert time.monotonic() - began < 5
    finally:
        first.kill()
        first.wait()
        assert first.stderr is not None
        first.stderr.close()


def test_a_broken_pipe_is_silent(server: DemoServer) -> None:
    run("sync")
    done = subprocess.run(f"{sys.executable} -m termmail list | true", shell=True, capture_output=True, check=False)
    assert done.stderr == b""


def test_no_secret_is_left_on_the_disk_or_in_the_log(
    server: DemoServer, profile: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERMMAIL_TRACE", "1")
    text = profile.settings.read_text().replace('password = "secret"', 'password-command = "printf secret"')
    profile.settings.write_text(text)
    assert run("sync").returncode == 0
    assert run("send", "-t", "--wait", data=b"From: ada@demo.example\nTo: b@elsewhere.example\n\nx\n").returncode == 0
    run("engine", "stop")
    for path in profile.config.parent.rglob("*"):
        if path.is_file() and path != profile.settings:
            data = path.read_bytes()
            assert b"secret" not in data, path
            assert b"AGFkYQBzZWNyZXQ" not in data, path  # as AUTHENTICATE PLAIN has it
            assert path.stat().st_mode & 0o077 == 0, path


def test_without_a_terminal_the_screen_is_not_opened() -> None:
    done = run()
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr
