"""Theme files: what is wrong is named with file, line and key; one bad file harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from termmail.config import themes


def only(tmp_path: Path, text: str | bytes) -> themes.Themes:
    """The one file of a folder."""
    (tmp_path / "mine.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return themes.load(tmp_path)


def test_every_shipped_theme_is_right_and_named_after_its_file() -> None:
    good, bad = themes.load(themes.shipped())
    assert bad == []
    assert set(good) == {path.stem for path in themes.shipped().glob("*.toml")}
    assert len(good) >= 4
    assert {spec.dark for spec in good.values()} == {True, False}
    assert any(spec.ansi for spec in good.values())


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ('primary = "#123456"\nacent = "#123456"\n', 2, "acent", "did you mean accent"),
        ('primary = "#12345"\n', 1, "primary", "is no colour"),
        ('primary = "bananas"\n', 1, "primary", "is no colour"),
        ('primary = "ansi_mauve"\n', 1, "primary", "is no colour"),
        ("primary = 7\n", 1, "primary", "is no colour"),
        ('primary = "$accent"\n', 1, "primary", "is no colour"),
        ('primary = "#123"\n\n[variables]\nunred = "#123"\n', 4, "unred", "did you mean unread"),
        ('primary = "#123"\n[variables]\n"unread" = "$nothing"\n', 3, "unread", "is no colour"),
        ('primary = "#123"\n[variables]\nunread = "$primary 500%"\n', 3, "unread", "is no colour"),
        ('primary = "#123"\n[variables]\ncursor-style = "blink"\n', 3, "cursor-style", "is no style"),
        ('primary = "#123"\ndark = "yes"\n', 2, "dark", "true or false"),
        ('primary = "#123"\nname = "No Such Name"\n', 2, "name", "small letters"),
        ('primary = "#123"\nvariables = 3\n', 2, "variables", "should be a table"),
        ("dark = true\n", 0, "primary", "needs its primary"),
        ('primary = "#123"\nprimary = "#456"\n', 2, "", "is no TOML"),
        ("primary = [", 1, "", "is no TOML"),
        (b"primary = '\xff'\n", 0, "", "cannot be read"),
        ("a = " + "[" * 100_000, 0, "", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_key(
    tmp_path: Path, text: str | bytes, line: int, key: str, words: str
) -> None:
    good, bad = only(tmp_path, text)
    assert good == {}
    assert (bad[0].file, bad[0].line, bad[0].key) == (str(tmp_path / "mine.toml"), line, key)
    assert words in bad[0].words


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    _, bad = only(tmp_path, 'primary = "no"\nerror = "no"\nwhat = 1\n')
    assert {one.key for one in bad} == {"primary", "error", "what"}


def test_controls_in_a_file_do_not_get_into_the_words(tmp_path: Path) -> None:
    _, bad = only(tmp_path, 'primary = "\\u001b]0;x\\u0007"\n"\\u001b[2J" = 1\n')
    assert all(one.words.isprintable() and one.key.isprintable() for one in bad)


def test_a_bad_file_a_folder_and_a_missing_folder_harm_no_good_file(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("nonsense")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "good.toml").write_text('primary = "#123456"\n[variables]\nlink = "$primary 50%"\n')
    good, bad = themes.load(tmp_path / "missing", tmp_path)
    assert list(good) == ["good"]
    assert len(bad) == 2


def test_the_users_theme_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "dusk.toml").write_text('primary = "#123456"\n')
    good, _ = themes.load(themes.shipped(), tmp_path)
    assert good["dusk"].colours == {"primary": "#123456"}
