"""The house itself: floors, rooms, documents."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from termmail.config import settings
from termmail.ui import actions

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "termmail").rglob("*.py"))
ROOMS = {
    "imapclient": ["net/imap/"], "aiosmtplib": ["net/smtp.py"], "sqlite3": ["store/"], "tomli_w": ["config/"],
    "keyring": ["config/secrets.py"], "selectolax": ["mime/html.py"], "wcwidth": ["mime/width.py"],
    "charset_normalizer": ["mime/charset.py"], "textual": ["ui/"], "rich": ["ui/"], "platformdirs": ["paths.py"],
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """The top names of everything a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("library", ROOMS)
def test_a_library_lives_in_one_room(library: str) -> None:
    users = [str(path.relative_to(ROOT / "termmail")) for path in MODULES if library in imported(path)]
    assert users, f"{library} is used nowhere"
    assert all(user.startswith(tuple(ROOMS[library])) for user in users), users


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["engine", "status"], ["outbox"], ["do", "undo"], ["list"]]
)
def test_commands_load_no_screen(words: list[str]) -> None:
    code = (
        "import sys; from termmail.__main__ import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "sys.exit(any(m.partition('.')[0] in ('textual', 'rich') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_engine_loads_no_screen_and_the_screen_no_server() -> None:
    for module, banned in (
        ("termmail.engine.service", "textual"),
        ("termmail.ui.app", "imapclient"),
        ("termmail.ui.app", "selectolax"),
    ):
        code = f"import sys, {module}; sys.exit({banned!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, (module, banned)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno and not node.name.startswith("test"):
            assert node.end_lineno - node.lineno < 90, f"{node.name} does not fit on a screen"


def test_the_documents_are_made_from_their_source() -> None:
    assert (ROOT / "docs/keys.md").read_text("utf-8") == actions.keys_markdown()
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings.documentation()


def test_every_action_has_words_and_no_two_share_a_key() -> None:
    table = actions.default_keys()
    count = sum(len(action.keys.split(", ")) for action in actions.ACTIONS if action.keys)
    assert sum(len(keys) for keys in table.values()) == count
    assert all(action.words and action.group for action in actions.ACTIONS)
    everywhere = set(table[actions.EVERYWHERE])
    for context in (actions.LIST, actions.READER, actions.TREE):
        assert not everywhere & set(table[context])


def test_the_readme_names_the_commands_that_work() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/termmail demo" in readme
    assert "tests/run" in readme
    assert "exec tests/run --require-servers" in (ROOT / ".ci/run").read_text("utf-8")
    for picture in re.findall(r"\]\((screenshots/[^)]+)\)", readme):
        assert (ROOT / picture).exists(), picture


def test_nothing_is_left_unfinished() -> None:
    pattern = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    for path in MODULES:
        assert not pattern.search(path.read_text("utf-8")), path
