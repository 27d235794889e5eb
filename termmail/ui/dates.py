"""Dates as people write them."""

from __future__ import annotations

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def short(seconds: int, now: float | None = None) -> str:
    """At most six cells: 09:41 today, Mon this week, 3 Mar this year, else 2024."""
    if seconds <= 0:
        return ""
    then, today = time.localtime(seconds), time.localtime(now)
    if (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday):
        return f"{then.tm_hour:02}:{then.tm_min:02}"
    age = time.mktime(today) - seconds
    if 0 < age < 6 * 86400:
        return _DAYS[then.tm_wday]
    if then.tm_year == today.tm_year or 0 < age < 180 * 86400:
        return f"{then.tm_mday} {_MONTHS[then.tm_mon - 1]}"
    return str(then.tm_year)


def full(seconds: int) -> str:
    """Mon 3 Mar 2025, 09:41."""
    if seconds <= 0:
        return ""
    then = time.localtime(seconds)
    month = _MONTHS[then.tm_mon - 1]
    return f"{_DAYS[then.tm_wday]} {then.tm_mday} {month} {then.tm_year}, {then.tm_hour:02}:{then.tm_min:02}"
