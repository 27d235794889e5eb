"""What all our virtual widgets share: lines on demand, styles by name, cells that cannot break a row."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from termmail.text import SafeText


def fit(text: str, width: int, *, right: bool = False, dots: str = "…") -> str:
    """Text in exactly `width` cells, cut with an ellipsis or padded."""
    if width <= 0:
        return ""
    size = len(text) if text.isascii() else cell_len(text)
    if size > width:
        return set_cell_size(text, width - len(dots)) + dots if width > len(dots) else set_cell_size(text, width)
    return " " * (width - size) + text if right else text + " " * (width - size)


class Lines(ScrollView, can_focus=True):
    """A list of lines of which only those on the screen are made.  `count` and `line` are a subclass's."""

    DEFAULT_CSS = "Lines { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor", "lines--cursor-blurred"}

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._styles: dict[str, Style] = {}
        self.cursor = 0
        self.drawn = 0  # lines made so far, for tests

    # -- for subclasses ----------------------------------------------------------

    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def line(self, index: int, width: int, base: Style) -> list[Segment]:
        """One line; it is cut or padded to the width."""
        raise NotImplementedError

    # -- drawing --------------------------------------------------------------------

    def look(self, name: str) -> Style:
        """The style of a component class."""
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = self.get_component_rich_style(name, partial=True)
        return found

    @property
    def ground(self) -> Style:
        """The style of an empty line."""
        found = self._styles.get("")
        if found is None:
            found = self._styles[""] = self.rich_style
        return found

    def notify_style_update(self) -> None:
        """The theme has changed."""
        self._styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        index = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        base = self.ground
        if not 0 <= index < self.count():
            return Strip.blank(self.size.width, base)
        self.drawn += 1
        if index == self.cursor and self.shows_cursor:
            base += self.look("lines--cursor" if self.has_focus else "lines--cursor-blurred")
        segments = self.line(index, width, base)
        if base.reverse:  # colours in reverse would make a patchwork
            segments = [
                Segment(one.text, Style(reverse=True, bold=bool(one.style and one.style.bold))) for one in segments
            ]
            base = Style(reverse=True)
        return Strip(segments).adjust_cell_length(self.size.width, base)

    @property
    def shows_cursor(self) -> bool:
        return True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The lines that stay on the screen are moved, not drawn again."""
        bar = self.vertical_scrollbar
        if self._eighth(new_value) != self._eighth(bar.position) or bar.grabbed:  # else it would look the same
            bar.position = new_value
        lines = round(new_value) - round(old_value)
        if lines and not self._slide(lines):
            self.refresh(self.size.region)

    def _eighth(self, position: float) -> int:
        """Where the bar's thumb begins, in eighths of a cell: as fine as it is drawn."""
        height, rest = self.size.height, self.max_scroll_y
        thumb = max(1.0, height * height / max(1, self.virtual_size.height))
        return int(8 * (height - thumb) * position / rest) if rest else 0

    def _slide(self, lines: int) -> bool:
        """Move what is drawn up by `lines` (down if negative), in Textual's copy and on the terminal."""
        height, repaint = self.size.height, self._repaint_regions
        if abs(lines) >= height or self.app.screen is not self.screen or any(r.height >= height for r in repaint):
            return False
        place = self.screen.find_widget(self)
        if place.region != place.visible_region or self.screen._compositor._dirty_regions:
            return False
        slide = getattr(self.app._driver, "slide", None)  # only the terminal's driver has to be told
        if slide is not None and not slide(self.scrollable_content_region, lines):
            return False
        top = self.gutter.top
        inside = range(top, top + height)
        cache, late = self._styles_cache._cache, self._styles_cache._dirty_lines
        stay = {y: strip for y, strip in cache.items() if y not in inside}
        moved = {y - lines: strip for y, strip in cache.items() if y in inside and y - lines in inside}
        cache.clear()
        cache.update(stay | moved)
        self._styles_cache._dirty_lines = {y - lines if y in inside else y for y in late}
        self._repaint_regions = {region.translate((0, -lines)) for region in repaint}
        width = self.size.width
        self.refresh(Region(0, height - lines if lines > 0 else 0, width, abs(lines)))
        return True

    def redraw(self, *indices: int) -> None:
        """Draw these lines again."""
        top, height = self.scroll_offset.y, self.size.height
        width = self.size.width
        regions = [Region(0, index - top, width, 1) for index in indices if top <= index < top + height]
        if regions:
            self.refresh(*regions)

    def lengthen(self) -> None:
        """The bar follows the number of lines; the screen need not be laid out anew for that."""
        size = self.virtual_size.with_height(self.count())
        if size != self.virtual_size:
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)

    def resized(self) -> None:
        """The number of lines has changed."""
        self.lengthen()
        self.cursor = max(0, min(self.cursor, self.count() - 1))
        self.refresh()

    # -- moving ------------------------------------------------------------------------

    def go(self, index: int) -> bool:
        """Put the cursor on a line; False if it stands there already."""
        index = max(0, min(index, self.count() - 1))
        if index == self.cursor or not self.count():
            return False
        old, self.cursor = self.cursor, index
        top, height = round(self.scroll_offset.y), self.size.height
        if height and (index < top or index >= top + height):  # without a height it is hidden: `on_show` scrolls
            aim = index if index < top else index - height + 1
            if abs(index - old) > height:
                aim = index - height // 2
            self.scroll_to(y=max(0, aim), animate=False, force=True, immediate=True)
            self.redraw(old, index)
        else:
            self.redraw(old, index)
        self.moved(old)
        return True

    def on_show(self) -> None:
        """The cursor may have moved while nobody saw it: it comes into view by as few lines as it takes."""
        top, height = round(self.scroll_offset.y), self.size.height
        if self.shows_cursor and height and not top <= self.cursor < top + height:
            aim = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=max(0, aim), animate=False, force=True, immediate=True)

    def moved(self, old: int) -> None:
        """The cursor has left a line."""

    def page(self, pages: float) -> bool:
        """Move by pages; the lines scroll as far as the cursor goes, so that it keeps its place on the screen."""
        step = int(self.size.height * pages) or (1 if pages > 0 else -1)
        top = max(0, min(self.scroll_offset.y + step, self.count() - self.size.height))
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, force=True, immediate=True)
        return self.go(self.cursor + step)

    def on_focus(self) -> None:
        self.redraw(self.cursor)

    def on_blur(self) -> None:
        self.redraw(self.cursor)

    def on_click(self, event: object) -> None:
        y = getattr(event, "y", 0)
        self.go(self.scroll_offset.y + int(y))


def seg(text: str | SafeText, style: Style) -> Segment:
    """A run of text that the caller knows to be safe."""
    return Segment(text, style)
