"""The driver's output against pyte, an emulator that is not ours: the screens must be equal."""

from __future__ import annotations

import random
import re

import pyte
import pytest

from termmail.ui.cells import Screen

WIDTH, HEIGHT = 40, 12
STYLES = (
    "",
    "1",
    "1;3;38;5;4",
    "3;33;44",
    "1;92;104",
    "9",
    "38;2;10;20;30",
    "38;2;10;20;30;48;2;1;2;3",
    "48;2;40;50;60",
    "4;38;5;9",
    "7",
)
TEXTS = ("a", "hello world", "山田太郎", "ü", "      ", "…", "x" * 50, "日本 and more", "● ★ ↩")


class Terminal:
    """What a terminal shows of what is fed to it (pyte, and SU/SD which it lacks)."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)

    def feed(self, data: str) -> None:
        for piece in re.split(r"(\x1b\[\d*[ST])", data):
            if match := re.fullmatch(r"\x1b\[(\d*)([ST])", piece):
                self._scroll(int(match[1] or 1), match[2])
            else:
                self.stream.feed(re.sub(r"\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\)", "", piece))

    def _scroll(self, lines: int, way: str) -> None:
        margins = self.screen.margins or pyte.screens.Margins(0, self.screen.lines - 1)
        y, x = self.screen.cursor.y, self.screen.cursor.x
        self.screen.cursor.y = margins.top
        (self.screen.delete_lines if way == "S" else self.screen.insert_lines)(lines)
        self.screen.cursor.y, self.screen.cursor.x = y, x

    def cells(self) -> list[list[pyte.screens.Char]]:
        """What can be seen: the ink of a blank cannot."""
        buffer = self.screen.buffer
        return [[seen(buffer[y][x]) for x in range(self.screen.columns)] for y in range(self.screen.lines)]


def seen(cell: pyte.screens.Char) -> pyte.screens.Char:
    if cell.data == " " and not (cell.underscore or cell.reverse or cell.strikethrough):
        return cell._replace(fg="default", bold=False, italics=False)
    return cell


def styled(text: str, style: str) -> str:
    """As rich writes it."""
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


def fitted(rng: random.Random, width: int) -> str:
    """A run of text of exactly `width` cells, in some style."""
    from termmail.ui.widgets.lines import fit

    return styled(fit(rng.choice(TEXTS) * rng.choice((1, 1, 3)), width), rng.choice(STYLES))


def frame(rng: random.Random, lines: list[str]) -> str:
    """A frame as Textual writes one: spans of some lines, or all lines."""
    if rng.random() < 0.4:  # the lines have moved
        by = rng.choice((1, 1, 2, -1, -3))
        top, bottom = sorted(rng.sample(range(HEIGHT + 1), 2))
        block = lines[top:bottom]
        fresh = [fitted(rng, WIDTH) for _ in range(min(abs(by), len(block)))]
        lines[top:bottom] = (block[by:] + fresh if by > 0 else fresh + block[:by])[: bottom - top]
        return "".join(f"\x1b[{y + 1};1H{lines[y]}" for y in range(top, bottom))
    out = []
    for y in sorted(rng.sample(range(HEIGHT), rng.randint(1, HEIGHT))):
        lines[y] = "".join(fitted(rng, 10) for _ in range(4))
        out.append(f"\x1b[{y + 1};1H{lines[y]}")
    return "".join(out)


@pytest.mark.parametrize("seed", range(12))
def test_a_terminal_shows_the_same_with_the_differences_as_with_whole_frames(seed: int) -> None:
    rng = random.Random(seed)
    ours, plain, screen = Terminal(), Terminal(), Screen()
    screen.forget(WIDTH, HEIGHT)
    lines = [fitted(rng, WIDTH) for _ in range(HEIGHT)]
    first = "".join(f"\x1b[{y + 1};1H{line}" for y, line in enumerate(lines))
    for number in range(40):
        data = frame(rng, lines) if number else first
        out = screen.update(data)
        assert out is not None
        plain.feed(data)
        ours.feed(out)
        assert ours.cells() == plain.cells(), f"frame {number}: {data!r} became {out!r}"


@pytest.mark.parametrize("seed", range(12))
def test_a_region_that_slides_needs_only_the_lines_that_it_uncovers(seed: int) -> None:
    rng = random.Random(seed)
    ours, plain, screen = Terminal(), Terminal(), Screen()
    screen.forget(WIDTH, HEIGHT)
    left, right = sorted(rng.sample(range(0, WIDTH + 1, 10), 2)) if seed % 3 else (0, WIDTH)
    top, bottom = sorted(rng.sample(range(HEIGHT + 1), 2))
    size, width = bottom - top, right - left
    beside = [fitted(rng, WIDTH) for _ in range(HEIGHT)]
    lines = [fitted(rng, width) for _ in range(200)]
    at = 100

    def span(y: int) -> str:
        return f"\x1b[{top + y + 1};{left + 1}H{lines[at + y]}"

    whole = "".join(f"\x1b[{y + 1};1H{line}" for y, line in enumerate(beside)) + "".join(map(span, range(size)))
    plain.feed(whole)
    ours.feed(screen.update(whole) or "")
    for number in range(40):
        first, dirty = at, set()
        for _ in range(rng.choice((1, 1, 1, 2))):
            by = rng.choice((1, 1, 2, -1, -2))
            if not size <= at + by <= 200 - size or not screen.slide(left, top, width, size, by):
                continue
            at += by
            dirty = {y - by for y in dirty} | set(range(size - by, size) if by > 0 else range(-by))
        if rng.random() < 0.5:  # the cursor
            dirty.add(rng.randrange(size))
            lines[at + max(dirty)] = fitted(rng, width)
            dirty.add(max(dirty))
        dirty = {y for y in dirty if 0 <= y < size} or {0}
        frame = "".join(span(y) for y in sorted(dirty))
        plain.feed("".join(map(span, range(size))))
        out = screen.update(frame)
        assert out is not None
        ours.feed(out)
        assert ours.cells() == plain.cells(), f"frame {number}, from {first} to {at}: {frame!r} became {out!r}"


def test_scrolling_a_block_costs_a_scroll_and_the_new_line() -> None:
    screen = Screen()
    screen.forget(80, 24)
    words = ("engine", "carry", "column", "seventh digit", "Menabrea", "tables")
    lines = [f"{n:3} {' '.join(words[(n * k + k) % 6] for k in range(1, 9))}"[:80].ljust(80) for n in range(30)]
    show = "".join(f"\x1b[{y + 1};1H{lines[y]}" for y in range(24))
    screen.update(show)
    out = screen.update("".join(f"\x1b[{y + 1};1H{lines[y + 1]}" for y in range(24)))
    assert out is not None
    assert "\x1b[1;24r\x1b[1S\x1b[r" in out
    assert len(out) < 150


def test_a_frame_that_changes_nothing_sends_only_the_cursor() -> None:
    screen = Screen()
    screen.forget(20, 3)
    screen.update("\x1b[1;1Hsame                ")
    assert screen.update("\x1b[1;1Hsame                ") == "\x1b[1;21H"


HOSTILE = (
    "\x1b]52;c;cHduZWQ=\x07", "\x1b]0;title\x07", "\x1b[2J", "\x1b[5n", "\x1b[c", "\x1bP+q544e\x1b\\", "\x07",
    "\x9b31m", "\x90q\x9c", "\x1b_Gi=1;AAAA\x1b\\", "\x1b[?1049l", "\x1b[10;3r", "\x1bc", "\x0e", "\x08\x08\x08",
    "\x00", "\x7f", "\x1b]8;;http://x\x1b]52;c;x\x07", "\x1b",
)  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_control_sequence_inside_a_text_never_reaches_the_terminal(hostile: str) -> None:
    screen = Screen()
    screen.forget(30, 2)
    out = screen.update(f"\x1b[1;1Hbefore{hostile}after" + " " * 10)
    assert out is not None
    assert screen.dropped
    rest = re.sub(r"\x1b\[\d*(;\d+)*[A-DGHKXm]|\x1b\]8;;[^\x1b\x07]*\x1b\\", "", out)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", rest), repr(out)


def test_a_frame_below_the_screen_is_refused_as_a_whole() -> None:
    screen = Screen()
    screen.forget(10, 2)
    assert screen.update("\x1b[5;1Hhello") is None


def test_hyperlinks_are_kept_and_closed() -> None:
    screen = Screen()
    screen.forget(30, 1)
    out = screen.update("\x1b[1;1H\x1b]8;id=1;https://a.example/\x1b\\link\x1b]8;;\x1b\\ text" + " " * 21)
    assert out is not None
    assert "\x1b]8;id=1;https://a.example/\x1b\\link\x1b]8;;\x1b\\" in out


def test_only_what_changes_of_a_style_is_sent() -> None:
    screen = Screen()
    screen.forget(30, 1)
    ground = "48;2;10;10;10"
    out = screen.update(
        f"\x1b[1;1H{styled('name', f'1;38;2;1;2;3;{ground}')}{styled('  text', f'38;2;4;5;6;{ground}')}"
    )
    assert out is not None
    assert "name  " in out, "the ink of a blank cannot be seen"
    assert "\x1b[22;38;2;4;5;6mtext" in out


def test_a_row_that_only_gets_another_ground_is_sent_with_one_style() -> None:
    screen = Screen()
    screen.forget(20, 1)
    screen.update("\x1b[1;1H" + styled("a    b    c         ", "38;5;1"))
    out = screen.update("\x1b[1;1H" + styled("a    b    c         ", "38;5;1;48;5;2"))
    assert out is not None
    assert "a    b    c\x1b[K" in out, "one style, and the rest of the line erased"
