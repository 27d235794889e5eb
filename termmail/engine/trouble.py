"""What an error means for an account, and when to try again: decided here and nowhere else (sync.md §5.13)."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field

from termmail.model.account import AccountState
from termmail.model.errors import AuthRefused, Offline, Refused, SecretError, TermmailError, Throttled, TlsError

SLOW_FIRST, SLOW_MOST = 1.0, 60.0
LASTED = 60.0  # seconds after which a session counts as a success
THROTTLED = 300.0  # seconds, where a server does not say how long
LOGIN_TRIES, LOGIN_PAUSE = 2, 5.0  # a password that was refused twice waits for the user
CONNECTS, CONNECTS_SECONDS = 6, 600.0  # so many short sessions in such a time are enough: the server accepts and drops


def classify(error: TermmailError) -> AccountState:
    """Where an account stands after an error."""
    if isinstance(error, AuthRefused | SecretError):
        return AccountState.AUTH
    if isinstance(error, TlsError):
        return AccountState.TLS
    if isinstance(error, Offline):
        return AccountState.OFFLINE
    if isinstance(error, Throttled) or (isinstance(error, Refused) and error.temporary):
        return AccountState.THROTTLED
    return AccountState.UNREACHABLE


@dataclass(slots=True)
class Patience:
    """How long one account waits after errors in a row."""

    slow: float = field(default_factory=lambda: SLOW_FIRST)
    refusals: int = 0  # of the password, in a row
    begun: deque[float] = field(default_factory=lambda: deque(maxlen=CONNECTS))  # when the last sessions began

    def connected(self) -> None:
        """A session has begun: the password was right."""
        self.refusals = 0
        self.begun.append(time.monotonic())

    def lasted(self, seconds: float) -> None:
        """A session has ended after so long."""
        if seconds >= LASTED:
            self.anew()

    def anew(self) -> None:
        """All is well, or the network is another: the errors so far do not count."""
        self.slow = SLOW_FIRST
        self.begun.clear()

    def pause(self, error: TermmailError) -> float | None:
        """Seconds to wait before the next attempt; None: until the user has done something."""
        state = classify(error)
        if state == AccountState.AUTH:
            self.refusals += 1
            return LOGIN_PAUSE if self.refusals < LOGIN_TRIES else None
        if state == AccountState.TLS:
            return None
        if state == AccountState.THROTTLED:
            said = error.seconds if isinstance(error, Throttled | Refused) else 0.0
            return said or THROTTLED * random.uniform(0.8, 1.2)  # noqa: S311
        wait = self.slow * random.uniform(0.5, 1.0)  # noqa: S311
        self.slow = min(SLOW_MOST, self.slow * 2)
        if len(self.begun) == CONNECTS:
            wait = max(wait, self.begun[0] + CONNECTS_SECONDS - time.monotonic())
        return wait
