"""Where things are: config, data, state, cache and runtime folders, all of them private.

`TERMMAIL_HOME=DIR` puts everything below DIR; tests, trials and the demo use it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_LIMIT = 100  # bytes a Unix socket's path may have (sun_path is 108 on Linux, 104 on macOS)


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one profile; asking for them makes them, with mode 0700."""

    config: Path
    data: Path
    state: Path
    cache: Path
    runtime: Path

    @property
    def settings(self) -> Path:
        return self.config / "settings.toml"

    @property
    def keys(self) -> Path:
        return self.config / "keys.toml"

    @property
    def themes(self) -> Path:
        return self.config / "themes"

    @property
    def mail_db(self) -> Path:
        return self.data / "mail.db"

    @property
    def queue_db(self) -> Path:
        return self.data / "queue.db"

    @property
    def spool(self) -> Path:
        return self.data / "outbox"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def lock(self) -> Path:
        return self.state / "engine.lock"

    @property
    def socket(self) -> Path:
        return self.runtime / "engine.sock"

    def make(self) -> Paths:
        """Make the folders (0700).  Raises OSError."""
        for folder in (self.config, self.data, self.state, self.cache, self.runtime, self.spool):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            info = folder.stat()
            if info.st_uid != os.getuid():
                raise PermissionError(f"{folder} belongs to another user")
            if info.st_mode & 0o077:
                folder.chmod(0o700)
        return self


def find() -> Paths:
    """The folders of this user's profile, or of `TERMMAIL_HOME`."""
    if home := os.environ.get("TERMMAIL_HOME"):
        root = Path(home).expanduser().absolute()
        runtime = root / "run"
        if len(os.fsencode(runtime / "engine.sock")) > SOCKET_LIMIT:
            runtime = _short_runtime(root)
        return Paths(root / "config", root / "data", root / "state", root / "cache", runtime)
    import warnings

    import platformdirs

    dirs = platformdirs.PlatformDirs("termmail", appauthor=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no runtime folder; we have a way on
        runtime = Path(dirs.user_runtime_dir)
    if not runtime.parent.is_dir() or len(os.fsencode(runtime / "engine.sock")) > SOCKET_LIMIT:
        runtime = _short_runtime(Path(dirs.user_state_dir))
    return Paths(
        Path(dirs.user_config_dir),
        Path(dirs.user_data_dir),
        Path(dirs.user_state_dir),
        Path(dirs.user_cache_dir),
        runtime,
    )


def _short_runtime(root: Path) -> Path:
    """A private folder with a short name that belongs to `root`, for the socket."""
    import hashlib

    tag = hashlib.blake2b(os.fsencode(root), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"termmail-{os.getuid()}-{tag}"
