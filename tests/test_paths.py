"""Where things are, and that nobody else may look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from termmail import paths


def test_the_home_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMMAIL_HOME", str(tmp_path))
    found = paths.find()
    assert found.settings == tmp_path / "config" / "settings.toml"
    assert found.mail_db == tmp_path / "data" / "mail.db"
    assert found.log == tmp_path / "state" / "log"


def test_folders_are_made_private_even_if_they_were_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMMAIL_HOME", str(tmp_path))
    found = paths.find()
    found.data.mkdir(parents=True)
    found.data.chmod(0o755)
    found.make()
    for folder in (found.config, found.data, found.state, found.cache, found.runtime, found.spool):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_deep_home_gets_a_socket_path_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 90)
    monkeypatch.setenv("TERMMAIL_HOME", str(deep))
    assert len(os.fsencode(paths.find().socket)) <= paths.SOCKET_LIMIT
    assert paths.find().socket == paths.find().socket


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMMAIL_HOME", str(tmp_path))
    found = paths.find().make()
    monkeypatch.setattr(os, "getuid", lambda: 4_242_424)
    with pytest.raises(PermissionError, match="another user"):
        found.make()
