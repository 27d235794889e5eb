"""settings.toml: what is right works, what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from termmail.config import keymap, secrets, settings
from termmail.config.guess import account_from, guess, server_from
from termmail.model.account import Account, Auth, Role, Security, Server
from termmail.model.errors import SecretError, SettingsError, UsageError
from termmail.ui import actions

GOOD = """
# mine
save-folder = "~/mail"

[ui]
theme = "paper"   # of course

[accounts.work]
email = "ada@x.example"
aliases = ["*@y.example"]
[accounts.work.incoming]
host = "imap.x.example"
password-command = "pass show x"
[accounts.work.outgoing]
host = "smtp.x.example"
security = "starttls"
[accounts.work.folders]
archive = "Old"
"""


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_defaults_come_from_what_is_said(tmp_path: Path) -> None:
    loaded = settings.load(written(tmp_path, GOOD))
    assert loaded.problems == ()
    (account,) = loaded.settings.accounts
    assert (account.incoming.port, account.incoming.security, account.incoming.user) == (
        993,
        Security.TLS,
        "ada@x.example",
    )
    assert account.outgoing is not None
    assert account.outgoing.port == 587
    assert account.folders == {Role.ARCHIVE: "Old"}
    assert loaded.settings.ui.theme == "paper"
    assert loaded.settings.engine.linger == 0.0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[ui]\ntheem = 'x'", 2, "did you mean theme?"),
        ("[ui]\nmouse = 'yes'", 2, "true or false"),
        ("[ui]\n\nlayout = 'left'", 3, "one of auto, right"),
        ("[engine]\nlinger = -1", 2, "until-done"),
        ("[acounts.x]", 1, "did you mean accounts?"),
        ("x = [1,", 1, "TOML"),
        ("[accounts.a]\nemail = 'a'", 2, "needs its address"),
        ("[accounts.a]\nemail = 'a@b'\n[accounts.a.incoming]\nhost = 'x'\nport = 99999", 5, "65535"),
        ("[accounts.a]\nemail = 'a@b'\n[accounts.a.incoming]\nhost = 'x'\nsecurity = 'ssl'", 5, "starttls"),
        ("[accounts.a]\nemail = 'a@b'\n[accounts.a.incoming]\nhots = 'x'", 4, "did you mean host?"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    problems = settings.load(written(tmp_path, text)).problems
    assert any(problem.line == line and words in problem.words for problem in problems), [str(p) for p in problems]


def test_a_bad_account_is_left_out_and_the_others_work(tmp_path: Path) -> None:
    loaded = settings.load(written(tmp_path, GOOD + "\n[accounts.bad]\nemail = 'x'\n"))
    assert [account.name for account in loaded.settings.accounts] == ["work"]
    assert loaded.problems


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    text = "[accounts.a]\nemail='a@b'\n[accounts.a.incoming]\nhost='x'\npassword='secret'\n"
    assert settings.load(written(tmp_path, text)).settings.accounts[0].incoming.password == "secret"
    loaded = settings.load(written(tmp_path, text, 0o644))
    assert loaded.settings.accounts[0].incoming.password == ""
    assert "chmod 600" in str(loaded.problems[0])


def test_saving_keeps_comments_and_replaces_only_the_account(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    server = Server("imap", "new.example", 1143, Security.NONE, "ada", password="p")
    settings.save_account(path, Account("work", "ada@x.example", "Ada", server, None))
    text = path.read_text()
    assert "# mine" in text
    assert "# of course" in text
    assert "imap.x.example" not in text
    loaded = settings.load(path)
    assert loaded.problems == ()
    assert loaded.settings.accounts[0].incoming == server
    assert path.stat().st_mode & 0o077 == 0
    assert settings.remove_account(path, "work")
    assert settings.load(path).settings.accounts == ()
    assert not settings.remove_account(path, "work")


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "x = [")
    with pytest.raises(SettingsError, match="safely"):
        settings.save_account(path, Account("a", "a@b", "", Server("imap", "h", 993, Security.TLS, "a"), None))
    assert path.read_text() == "x = ["


def test_passwords_come_from_a_command_without_a_shell(tmp_path: Path) -> None:
    server = Server("imap", "h", 993, Security.TLS, "a", password_command="printf 'se;cret\\nsecond'")
    assert secrets.secret(server) == "se;cret"
    for command, words in (
        ("false", "code 1"),
        ("/no/such/program", "cannot be run"),
        ("true", "nothing"),
        ("'", "cannot be run"),
    ):
        with pytest.raises(SecretError, match=words):
            secrets.secret(Server("imap", "h", 993, Security.TLS, "a", password_command=command))
    assert secrets.secret(Server("smtp", "h", 25, Security.NONE, "a", auth=Auth.NONE)) == ""


def test_without_a_keyring_that_is_said() -> None:
    server = Server("imap", "h", 993, Security.TLS, "a")
    assert not secrets.has_keyring()
    with pytest.raises(SecretError, match="no password is known"):
        secrets.secret(server)
    with pytest.raises(SecretError, match="no keyring"):
        secrets.store(server, "x")


def test_a_secret_never_shows_in_words_about_its_server() -> None:
    assert "hunter2" not in repr(Server("imap", "h", 993, Security.TLS, "a", password="hunter2"))


@pytest.mark.parametrize(
    ("text", "host", "port", "security"),
    [
        ("imap.x.example", "imap.x.example", 993, "tls"), ("h:143", "h", 143, "starttls"), ("h:1143 none", "h", 1143, "none"),
        ("[::1]:993 tls", "::1", 993, "tls"), ("h starttls", "h", 143, "starttls"),
    ],
)  # fmt: skip
def test_servers_as_people_write_them(text: str, host: str, port: int, security: str) -> None:
    server = server_from(text, "imap", "ada")
    assert (server.host, server.port, server.security.value) == (host, port, security)


def test_nonsense_is_no_server_and_names_do_not_collide() -> None:
    with pytest.raises(UsageError):
        server_from("a b c", "imap", "x")
    incoming, outgoing = guess("ada@gmail.com")
    assert incoming.host == "imap.gmail.com"
    assert account_from("ada@gmail.com", "", incoming, outgoing, {"gmail"}).name == "gmail-2"


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("C-d", "ctrl+d"), ("g  g", "g g"), ("<space>", "space"), ("Ctrl+K", "ctrl+k"), ("?", "question_mark"),
        ("S-tab", "shift+tab"), ("* a", "asterisk a"),
    ],
)  # fmt: skip
def test_keys_are_spelled_as_people_do(keys: str, name: str) -> None:
    assert keymap.normal(keys) == name


def test_own_keys_lie_over_the_defaults_and_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[everywhere]\n"g x" = "archive"\n"e" = ""\n"z" = "archiv"\n[nowhere]\n"a" = "up"\n')
    found = keymap.load(path, actions.default_keys(), list(actions.BY_ID))
    assert found.table["everywhere"]["g x"] == "archive"
    assert "e" not in found.table["everywhere"]
    assert [(p.line, p.key) for p in found.problems] == [(4, "z"), (5, "nowhere")]
    assert "archive" in found.problems[0].words
