"""What holds for every test: a home of its own, no keyring, no network but loopback."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from termmail import paths
from termmail.paths import Paths

ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
os.environ["TZ"] = "UTC"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A profile with a short path, so that its socket fits."""
    with tempfile.TemporaryDirectory(prefix="tm-") as name:
        monkeypatch.setenv("TERMMAIL_HOME", name)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.delenv("NO_COLOR", raising=False)
        yield Path(name)


@pytest.fixture
def profile(home: Path) -> Paths:
    """The folders of the profile, made."""
    return paths.find().make()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise OSError(f"a test wanted to connect to {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of public test mail; skips, saying so, where it is not there."""
    found = Path(os.environ.get("TERMMAIL_CORPORA", ROOT.parent / "shared/corpora"))
    if not found.is_dir():
        pytest.skip("the corpora of test mail are not here (TERMMAIL_CORPORA)")
    return found
