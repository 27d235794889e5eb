"""HTML into logical lines, for reading: no layout engine, no network, no surprises.

The parser is lexbor; the renderer walks its tree once, without recursion, and turns it into paragraphs,
lists, quotes and tables.  What a page hides is counted, not shown.  Sources over the limits, on
which any parser may hang, go through a linear stripper of tags instead.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from termmail.mime import flowed, limits
from termmail.mime.width import cells, cut, wrap
from termmail.model.document import Line, Span
from termmail.text import SafeText, safe_block, safe_line

_SKIPPED = frozenset(
    {"script", "style", "head", "title", "meta", "link", "noscript", "template", "svg", "math", "object", "embed"}
    | {"iframe", "canvas", "audio", "video", "select", "textarea", "input", "map", "area", "xml"}
)
_BLOCKS = frozenset(
    {
        "p",
        "div",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "aside",
        "nav",
        "address",
        "center",
        "form",
        "fieldset",
    }
    | {"figure", "figcaption", "table", "tbody", "thead", "tfoot", "tr", "td", "th", "caption", "ul", "ol", "li", "dl"}
    | {"dt", "dd", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "body", "html", "details", "summary"}
    | {"menu", "dir", "listing", "xmp", "hgroup", "search"}
)
_SPACED = frozenset({"p", "ul", "ol", "dl", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "table", "figure"})
_INKS = {
    "b": "strong", "strong": "strong", "em": "emphasis", "i": "emphasis", "cite": "emphasis", "code": "code", "tt": "code",
    "kbd": "code", "samp": "code", "h1": "heading", "h2": "heading", "h3": "heading", "h4": "heading", "h5": "heading",
    "h6": "heading", "th": "strong", "ins": "added", "del": "removed", "s": "removed", "strike": "removed",
}  # fmt: skip
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|font-size\s*:\s*0(?:px|pt|em|%)?\s*(?:;|!|$)|"
    r"(?:^|;)\s*opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|$)|max-height\s*:\s*0(?:px)?\s*(?:;|!|$)",
    re.I,
)
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_TAG = re.compile(r"<[^>]{0,%d}>?" % limits.HTML_TAG)  # noqa: UP031
_CELL = 48  # cells of text that a data table's cell may hold
_COLUMNS = 12


@dataclass(slots=True)
class _Context:
    """What holds for everything inside an element."""

    quote: int = 0
    indent: int = 0
    pre: bool = False
    ink: str = "text"
    link: int = 0
    hidden: bool = False
    ordered: list[int] | None = None  # counter of the list that is open; None for bullets


@dataclass(slots=True)
class Rendered:
    """Lines, how many characters the page hid, and links whose text names another host."""

    lines: list[Line] = field(default_factory=list)
    hidden: int = 0
    lying: list[tuple[str, str]] = field(default_factory=list)


def render(source: str, links: flowed.Links, *, width: int = 80) -> Rendered:
    """A page as logical lines; data tables are made to fit `width` cells.  Never raises on any source."""
    if _too_much(source):
        return Rendered(stripped(source[: limits.HTML], links))
    tree = LexborHTMLParser(source)
    if tree.root is None:
        return Rendered()
    renderer = _Renderer(links, max(20, width))
    renderer.walk(tree.root)
    return renderer.result


def _too_much(source: str) -> bool:
    """True for sources on which a parser may take seconds."""
    if len(source) > limits.HTML or source.count("<") > limits.HTML_TAGS:
        return True
    start = -1
    while (start := source.find("<", start + 1)) >= 0:
        end = source.find(">", start)
        if (len(source) if end < 0 else end) - start > limits.HTML_TAG and source[start : start + 4] != "<!--":
            return True
        if end > start:
            start = end
    return False


def stripped(source: str, links: flowed.Links) -> list[Line]:
    """The text of a page by cutting out tags, in linear time."""
    text = (
        re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)", " ", source)
        if source.count("<") < limits.HTML_TAGS
        else source
    )
    text = _TAG.sub(lambda m: "\n" if m[0][1:4].lower().startswith(("p", "br", "di", "tr", "li", "h")) else " ", text)
    text = entities.unescape(text)
    return flowed.lines(re.sub(r"\n\s*\n+", "\n\n", re.sub(r"[ \t]+", " ", text)).strip(), links)


class _Renderer:
    """One walk over one tree."""

    def __init__(self, links: flowed.Links, width: int) -> None:
        self.links = links
        self.width = width
        self.result = Rendered()
        self.spans: list[Span] = []
        self.space = False  # a blank is due before the next word
        self.gap = False  # an empty line is due before the next one
        self.hang = ""  # the bullet of the next line
        self.context = _Context()
        self.size = 0
        self.link_text: list[str] | None = None

    def walk(self, root: LexborNode) -> None:
        """Depth first, with an own stack: pages nest thousands of elements deep."""
        stack: list[tuple[LexborNode, _Context | None, str]] = [(root, None, "")]
        while stack:
            node, leaving, url = stack.pop()
            if leaving is not None:
                self._leave(node, url)
                self.context = leaving
                continue
            tag = node.tag or ""
            if tag == "-text":
                self._text(node.text_content or "")
                continue
            if not tag or tag.startswith(("-", "!")) or tag in _SKIPPED:
                continue
            before, opened = self.context, self._enter(node, tag)
            if opened is None:
                continue
            url, self.context = opened
            stack.append((node, before, url))
            children = []
            child = node.child
            while child is not None:
                children.append(child)
                child = child.next
            stack.extend((one, None, "") for one in reversed(children))
            if self.size > limits.TEXT:
                break
        self._flush()

    # -- elements ----------------------------------------------------------------

    def _enter(self, node: LexborNode, tag: str) -> tuple[str, _Context] | None:
        """The context inside an element and its link; None if nothing inside is to be walked."""
        was = self.context
        attributes = node.attributes
        now = _Context(was.quote, was.indent, was.pre, was.ink, was.link, was.hidden, was.ordered)
        if "hidden" in attributes or _HIDDEN.search(attributes.get("style") or ""):
            now.hidden = True
        if tag == "br":
            self._flush(force=True)
            return None
        if tag == "hr":
            self._break(gap=True)
            self._emit([Span(SafeText("─" * 24), "rule")])
            self.gap = True
            return None
        if tag == "img":
            self._image(attributes, now)
            return None
        if tag == "table" and not now.hidden and (rows := _data_table(node)):
            self._break(gap=True)
            self._table(rows)
            self.gap = True
            return None
        if tag in _BLOCKS:
            self._break(gap=tag in _SPACED and not (tag in ("ul", "ol") and was.indent) and not _is_layout(tag))
        now.ink = _INKS.get(tag, now.ink)
        url = ""
        if tag == "blockquote":
            now.quote = min(was.quote + 1, 20)
        elif tag in ("ul", "ol", "menu", "dir"):
            now.indent = min(was.indent + 2, 20)
            now.ordered = [_number(attributes.get("start"))] if tag == "ol" else None
        elif tag == "dd":
            now.indent = min(was.indent + 4, 20)
        elif tag == "li":
            now.indent = max(was.indent, 2)
            self.hang = " " * (now.indent - 2) + "• "
            if was.ordered is not None:
                self.hang = " " * (now.indent - 2) + f"{was.ordered[0]}. "
                was.ordered[0] += 1
                now.indent = len(self.hang)
        elif tag in ("pre", "listing", "xmp"):
            now.pre, now.ink = True, "code"
        elif tag == "a" and not was.link and (url := (attributes.get("href") or "").strip()):
            now.link = 0 if now.hidden else self.links.number(url, "")
            if now.link:
                now.ink = "link"
                self.link_text = []
            else:
                url = ""
        elif tag in ("td", "th") and self.spans:
            self.space = True
        return url, now

    def _leave(self, node: LexborNode, url: str) -> None:
        tag = node.tag or ""
        if url and self.link_text is not None:
            self._close_link(url)
        if tag in _BLOCKS:
            self._break(gap=tag in _SPACED and not _is_layout(tag))
            if tag == "li":
                self.hang = ""

    def _close_link(self, url: str) -> None:
        """Put the number behind a link's text, and notice a text that names another host."""
        said = "".join(self.link_text or ()).strip()
        self.link_text = None
        number = self.context.link
        if not said:
            self._word(_short(url), "link", number)
        link = self.links.found.get(re.sub(r"\s+", "", url))
        if link and not link.text:
            self.links.found[link.url] = type(link)(link.n, link.url, safe_line(said or _short(url), 200), link.host)
        named = re.fullmatch(r"(?:https?://)?((?:[\w-]+\.)+[a-z]{2,})(?:[/?#:].*)?", said.lower())
        if named and link and not _same_site(named[1], link.host):
            self.result.lying.append((named[1], link.host))
        if flowed.URL.fullmatch(said) is None:
            self.spans.append(Span(SafeText(f"[{number}]"), "dim", number))

    def _image(self, attributes: dict[str, str | None], context: _Context) -> None:
        """An image is what its sender says it is; unnamed ones say nothing."""
        alt = _BLANKS.sub(" ", attributes.get("alt") or "").strip()
        if alt and not context.hidden:
            self.context, before = context, self.context
            self._word(f"[{alt}]" if not context.link else alt, "image" if not context.link else "link", context.link)
            self.context = before

    # -- text ----------------------------------------------------------------------

    def _text(self, raw: str) -> None:
        context = self.context
        if context.hidden:
            self.result.hidden += len(_BLANKS.sub("", raw))
            return
        self.size += len(raw)
        if context.pre:
            self._preformatted(raw)
            return
        raw = raw.replace("\u200c", "").replace("\u034f", "").replace("\u00ad", "")
        text = _BLANKS.sub(" ", raw)
        if not text.strip(" "):
            self.space = self.space or (bool(text) and bool(self.spans))
            return
        if text.startswith(" "):
            self.space = True
        self._word(text.strip(" "), context.ink, context.link)
        self.space = text.endswith(" ")

    def _word(self, text: str, ink: str, link: int) -> None:
        """Append text to the line that is open."""
        shown = safe_block(text.replace("\xa0", " ")).replace("\n", " ")
        if self.link_text is not None:
            self.link_text.append((" " if self.space else "") + shown)
        if self.space and self.spans:
            last = self.spans[-1]
            ink_of_blank = "link" if last.link and last.link == link else "text"
            self.spans.append(Span(SafeText(" "), ink_of_blank, link if ink_of_blank == "link" else 0))
        self.space = False
        if shown:
            self.spans.append(Span(SafeText(shown), ink, link))

    def _preformatted(self, raw: str) -> None:
        for place, line in enumerate(safe_block(raw).split("\n")):
            if place:
                self._flush(force=True)
            if line:
                self.spans.append(Span(SafeText(line), self.context.ink, self.context.link))

    # -- lines -----------------------------------------------------------------------

    def _break(self, *, gap: bool) -> None:
        """A block begins or ends here."""
        self._flush()
        self.gap = self.gap or gap

    def _flush(self, *, force: bool = False) -> None:
        """End the open line; `force`: even if it is empty (<br>)."""
        spans, self.spans, self.space = self.spans, [], False
        if any(span.text.strip() for span in spans):
            self._emit(_merged(spans) if not self.context.pre else spans)
        elif force and not self.gap and any(line.spans for line in self.result.lines[-2:]):
            self._append(Line((), self.context.quote))  # at most two empty lines in a row

    def _emit(self, spans: list[Span], *, wrapping: bool = True) -> None:
        if self.gap and self.result.lines and self.result.lines[-1].spans:
            quote = min(self.context.quote, self.result.lines[-1].quote)
            self._append(Line((), quote))
        self.gap = False
        indent, hang = self.context.indent, SafeText(self.hang)
        self.hang = ""
        self._append(
            Line(
                tuple(spans),
                self.context.quote,
                indent,
                hang or SafeText(" " * indent),
                wrapping and not self.context.pre,
            )
        )

    def _append(self, line: Line) -> None:
        self.result.lines.append(line)

    # -- tables ------------------------------------------------------------------------

    def _table(self, rows: list[list[tuple[str, bool]]]) -> None:
        """A data table: columns as wide as they must be, cut down from the widest where they do not fit."""
        columns = max(len(row) for row in rows)
        texts = [[safe_line(text) for text, _ in row] + [SafeText("")] * (columns - len(row)) for row in rows]
        widths = [max(cells(row[column]) for row in texts) for column in range(columns)]
        room = self.width - 2 * (columns - 1) - 2 * self.context.quote - self.context.indent
        while sum(widths) > max(room, 4 * columns):
            widest = max(range(columns), key=lambda column: widths[column])
            widths[widest] -= 1
        numeric = [
            all(re.fullmatch(r"[-+−]?[€$£¥]?\s?[\d.,' ]+\s?[%€$£¥]?|", row[column]) for row in texts[1:] or texts)
            and any(row[column] for row in texts[1:])
            for column in range(columns)
        ]
        for place, row in enumerate(texts):
            heading = all(is_heading for _, is_heading in rows[place])
            folded = [wrap(text, widths[column]) if widths[column] else [""] for column, text in enumerate(row)]
            for level in range(min(max(map(len, folded)), 6)):
                pieces = []
                for column in range(columns):
                    text = cut(folded[column][level] if level < len(folded[column]) else "", widths[column])
                    blank = " " * (widths[column] - cells(text))
                    pieces.append(blank + text if numeric[column] else text + blank)
                ink = "strong" if heading else "table"
                self._emit([Span(SafeText("  ".join(pieces).rstrip()), ink)], wrapping=False)
            if heading and place == 0:
                rule = "  ".join("─" * width for width in widths)
                self._emit([Span(SafeText(rule), "rule")], wrapping=False)


def _data_table(table: LexborNode) -> list[list[tuple[str, bool]]] | None:
    """The cells of a table of data as (text, is heading); None for one that only arranges the page."""
    if (table.attributes.get("role") or "").lower() in ("presentation", "none"):
        return None
    if any(inner.mem_id != table.mem_id for inner in table.css("table")):
        return None
    if table.css_first("ul, ol, p + p, img, h1, h2, h3, blockquote, pre, div div, a") is not None:
        return None
    rows = []
    for row in table.css("tr")[:500]:
        found = [
            (_BLANKS.sub(" ", cell.text(deep=True) or "").strip(), cell.tag == "th")
            for cell in row.css("td, th")[: _COLUMNS + 1]
        ]
        if found:
            rows.append(found)
    columns = max((len(row) for row in rows), default=0)
    if len(rows) < 2 or not 2 <= columns <= _COLUMNS:
        return None
    texts = [text for row in rows for text, _ in row]
    if max(map(len, texts)) > 4 * _CELL or sum(len(t) > _CELL for t in texts) > len(texts) // 4:
        return None
    filled = sum(bool(text) for text in texts)
    has_heading = any(heading for row in rows for _, heading in row)
    return rows if has_heading or (filled > len(texts) * 0.6 and len({len(row) for row in rows}) <= 2) else None


def _is_layout(tag: str) -> bool:
    """Tables that are walked are page layout: they make no gaps of their own."""
    return tag == "table"


def _number(value: str | None) -> int:
    """The start of an ordered list."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 7 else 1


def _short(url: str) -> str:
    """Something to show for a link without words."""
    return flowed.true_host(url) or "link"


def _same_site(said: str, host: str) -> bool:
    """The named host and the true one belong together (one is below the other)."""
    said, host = said.removeprefix("www."), host.removeprefix("www.")
    return said == host or said.endswith("." + host) or host.endswith("." + said)


def _merged(spans: list[Span]) -> list[Span]:
    """Neighbours of one ink and link made one; no blanks at the ends."""
    out: list[Span] = []
    for span in spans:
        if out and out[-1].ink == span.ink and out[-1].link == span.link:
            out[-1] = Span(SafeText(out[-1].text + span.text), span.ink, span.link)
        else:
            out.append(span)
    out[0] = Span(SafeText(out[0].text.lstrip(" ")), out[0].ink, out[0].link)
    out[-1] = Span(SafeText(out[-1].text.rstrip(" ")), out[-1].ink, out[-1].link)
    return [span for span in out if span.text]
