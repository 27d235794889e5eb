"""The query language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from termmail.model.errors import UsageError
from termmail.model.message import Flag
from termmail.store.search import compile_query
from tests.store.conftest import Box, new


@pytest.fixture
def full(box: Box) -> Box:
    box.store.mail.add_messages(
        box.folders["INBOX"],
        [
            new(1, subject="quarterly figures"),
            new(2, Flag.SEEN, subject="100% sure"),
            new(3, Flag.FLAGGED, subject="lunch_time"),
        ],
    )
    box.store.mail.add_messages(box.folders["Other"], [new(9, Flag.SEEN, seed="o", subject="figures again")])
    return box


@pytest.mark.parametrize(
    ("query", "uids"),
    [
        ("figures", [9, 1]), ('"quarterly figures"', [1]), ("subject:FIGURES in:INBOX", [1]), ("is:unread", [3, 1]),
        ("-is:unread", [9, 2]), ("is:starred OR subject:sure", [3, 2]), ("100%", [2]), ("h_t", [3]), ("%", [2]),
        ("from:grace to:ada", [9, 3, 2, 1]), ("from:nobody", []), ("larger:1k", []), ("smaller:1k is:starred", [3]),
        ("in:inbox -subject:lunch -is:read", [1]), ("account:home", [9, 3, 2, 1]), ("before:1980-01-01", [9, 3, 2, 1]),
        ("newer:1d", []), ("has:attachment", []), ("", [9, 3, 2, 1]),
    ],
)  # fmt: skip
def test_queries_find_what_they_say(full: Box, query: str, uids: list[int]) -> None:
    found = full.store.search.find(query)
    assert [full.store.mail.place(i).uid for i in found] == uids


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("form:ada", "from:"),
        ("is:green", "is:green"),
        ("older:soon", "older:soon"),
        ("before:3.3.24", "2024-03-01"),
        ("a OR", "OR"),
        ("larger:big", "larger:big"),
    ],
)
def test_mistakes_are_named(query: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_query(query)
    assert words in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_a_usage_error(text: str) -> None:
    try:
        sql, values = compile_query(text)
    except UsageError:
        return
    assert sql.count("?") == len(values)
    assert all(ch not in sql for ch in ';"')
