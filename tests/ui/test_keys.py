"""Keys, and the table that they, the help and docs/keys.md are made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from termmail.store.verbs import VERBS
from termmail.ui import actions
from termmail.ui.keys import Keys, Outcome
from termmail.ui.screens.mail import MailScreen

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"
TABLE = {
    "list": {"x": "select", "g x": "thing"},
    "everywhere": {"g g": "first", "j": "down", "x": "other", "slash": "search"},
}


def typed(keys: Keys, *names: str, contexts: tuple[str, ...] = ("list", "everywhere")) -> Outcome:
    outcome = Outcome()
    for name in names:
        outcome = keys.feed(name, contexts)
    return outcome


def test_a_sequence_runs_when_it_is_whole() -> None:
    keys = Keys(TABLE)
    assert typed(keys, "g").pending == "g"
    assert typed(keys, "g").action == "first"
    assert typed(keys, "j").action == "down"


def test_the_nearest_context_wins_and_the_others_still_hold() -> None:
    assert typed(Keys(TABLE), "x").action == "select"
    assert typed(Keys(TABLE), "x", contexts=("reader", "everywhere")).action == "other"
    assert typed(Keys(TABLE), "g", "x").action == "thing"
    assert typed(Keys(TABLE), "g", "g").action == "first"


def test_a_count_goes_before_a_key() -> None:
    outcome = typed(Keys(TABLE), "1", "0", "j")
    assert (outcome.action, outcome.count, outcome.counted) == ("down", 10, True)
    assert not typed(Keys(TABLE), "j").counted


def test_a_huge_count_is_bounded() -> None:
    assert typed(Keys(TABLE), *"999999999", "j").count <= 10_000


def test_escape_forgets_what_was_typed() -> None:
    keys = Keys(TABLE)
    assert typed(keys, "5", "g", "escape") == Outcome()
    assert typed(keys, "j").count == 1


def test_a_wrong_sequel_is_swallowed_and_forgotten() -> None:
    keys = Keys(TABLE)
    assert typed(keys, "g", "z") == Outcome(swallowed=True)
    assert typed(keys, "j").action == "down"


def test_a_key_without_a_meaning_is_left_to_others() -> None:
    assert not typed(Keys(TABLE), "z").swallowed


def test_no_default_key_hides_another() -> None:
    for context in actions.CONTEXTS:
        seen: dict[str, str] = {}
        for action in actions.ACTIONS:
            for keys in filter(None, action.keys.split(", ")):
                if action.context == context:
                    keys = actions.normal(keys)
                    assert keys not in seen, f"{keys}: {seen.get(keys)} and {action.id}"
                    seen[keys] = action.id
        starts = [key.split() for key in seen]
        assert not [a for a in starts for b in starts if a != b and b[: len(a)] == a]


@pytest.mark.parametrize("action", actions.ACTIONS, ids=lambda one: one.id)
def test_every_action_can_be_done(action: actions.Action) -> None:
    known = {
        "down",
        "up",
        "next-message",
        "previous-message",
        "go-inbox",
        "go-sent",
        "go-archive",
        "go-junk",
        "go-trash",
    }
    method = "act_" + action.id.replace("-", "_")

    assert any(hasattr(part, method) for part in MailScreen.PARTS) or action.id in VERBS or action.id in known


def test_the_documented_keys_are_those_of_the_program() -> None:
    written = DOCS.read_text("utf-8")
    assert written == actions.keys_markdown(), "write it anew: python -m termmail.ui.actions > docs/keys.md"


def test_the_actions_need_no_screen() -> None:
    code = "import sys, termmail.ui.actions; sys.exit('textual' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=DOCS.parents[1], check=False).returncode == 0


def test_keys_are_shown_as_people_write_them() -> None:
    assert [actions.shown(k) for k in ("ctrl+d", "g g", "question_mark", "shift+tab", "space", "slash")] == [
        "C-d", "gg", "?", "S-Tab", "Space", "/",
    ]  # fmt: skip
