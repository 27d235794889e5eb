"""Passwords: from a command, from the settings file, from the system keyring.  Never in a log, an argument or a core."""

from __future__ import annotations

import shlex
import subprocess

from termmail.model.account import Auth, Server
from termmail.model.errors import SecretError
from termmail.text import safe_line

SERVICE = "termmail"
COMMAND_SECONDS = 60


def secret(server: Server) -> str:
    """The password of a server, "" if it wants none.  Raises SecretError."""
    if server.auth == Auth.NONE:
        return ""
    if server.auth == Auth.OAUTH2:
        raise SecretError("signing in by OAuth2 is not there yet", hint="use an app password")
    if server.password_command:
        return _from_command(server.password_command)
    if server.password:
        return server.password
    found = _keyring_get(server.secret_key)
    if not found:
        raise SecretError(
            f"no password is known for {safe_line(server.user)} at {safe_line(server.host)}",
            hint="termmail account add asks for it, or set password-command",
        )
    return found


def _from_command(command: str) -> str:
    """The first line that a command prints; it is started without a shell."""
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, capture_output=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, ValueError, IndexError) as error:
        raise SecretError(f"the password-command cannot be run: {safe_line(str(error), 200)}") from error
    except subprocess.TimeoutExpired as error:
        raise SecretError(f"the password-command did not end within {COMMAND_SECONDS} seconds") from error
    if done.returncode:
        said = safe_line(done.stderr.decode("utf-8", "replace"), 200)
        raise SecretError(f"the password-command failed with code {done.returncode}", hint=said)
    line = done.stdout.decode("utf-8", "replace").partition("\n")[0].rstrip("\r")
    if not line:
        raise SecretError("the password-command printed nothing")
    return line


def _backend() -> object | None:
    """The keyring if it is one that keeps secrets: not a file in the clear, not one that forgets."""
    import keyring
    import keyring.errors

    try:
        backend = keyring.get_keyring()
    except (keyring.errors.KeyringError, RuntimeError, OSError):
        return None
    module = type(backend).__module__
    if any(word in module for word in ("fail", "null", "plaintext", "PlaintextKeyring")) or backend.priority < 1:
        return None
    return backend


def _keyring_get(key: str) -> str:
    import keyring
    import keyring.errors

    if _backend() is None:
        return ""
    try:
        return keyring.get_password(SERVICE, key) or ""
    except (keyring.errors.KeyringError, RuntimeError, OSError) as error:
        words = f"the keyring cannot be opened: {safe_line(str(error), 200)}"
        raise SecretError(words, hint="unlock it, or set password-command") from error


def has_keyring() -> bool:
    """Secrets can be kept in a keyring here; over SSH there often is none."""
    return _backend() is not None


def store(server: Server, value: str) -> None:
    """Keep a password in the keyring, bound to this server, port and user.  Raises SecretError."""
    import keyring
    import keyring.errors

    if _backend() is None:
        raise SecretError("there is no keyring here to keep the password in", hint="give a password-command instead")
    try:
        keyring.set_password(SERVICE, server.secret_key, value)
    except (keyring.errors.KeyringError, RuntimeError, OSError) as error:
        raise SecretError(f"the keyring did not take the password: {safe_line(str(error), 200)}") from error


def forget(server: Server) -> None:
    """Remove a password from the keyring, if it is there."""
    import contextlib

    import keyring
    import keyring.errors

    if _backend() is not None:
        with contextlib.suppress(keyring.errors.KeyringError, RuntimeError, OSError):
            keyring.delete_password(SERVICE, server.secret_key)
