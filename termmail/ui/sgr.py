"""Styles as the codes that turn them on (SGR, ECMA-48 §8.3.117), and the way from one to another in few bytes."""

from __future__ import annotations

from functools import lru_cache

_SEEN_ON_BLANKS = frozenset({"4", "7", "9", "21", "51", "52", "53"})  # attributes that show where no letter stands
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "8": "28", "9": "29", "53": "55"}


@lru_cache(4096)
def _parts(sgr: str) -> tuple[frozenset[str], str, str]:
    """SGR codes as attributes, foreground, background (as codes; "" is the terminal's own)."""
    attributes, ink, ground = set(), "", ""
    codes = iter(sgr.split(";") if sgr else ())
    for code in codes:
        if code in ("38", "48"):
            kind = next(codes, "")
            colour = ";".join([code, kind, *(next(codes, "0") for _ in range(3 if kind == "2" else 1))])
            ink, ground = (colour, ground) if code == "38" else (ink, colour)
        elif len(code) > 1 and code[:-1] in ("3", "9"):
            ink = code
        elif len(code) > 1 and code[:-1] in ("4", "10"):
            ground = code
        else:
            attributes.add(code)
    return frozenset(attributes), ink, ground


@lru_cache(4096)
def ground_of(style: str) -> str:
    """What shows of a style where no letter stands: its background, or all of it if it underlines or reverses."""
    attributes, _, ground = _parts(style) if "\x1b" not in style else (_SEEN_ON_BLANKS, "", "")
    return style if attributes & _SEEN_ON_BLANKS else ground


@lru_cache(4096)
def erasable(style: str) -> bool:
    """Blanks in this style look like erased cells: a ground, and nothing that shows on a blank."""
    return "\x1b" not in style and not _parts(style)[0] & _SEEN_ON_BLANKS


def switch(old: str, new: str) -> str:
    """From one style to another, in few bytes: SGR codes, with a hyperlink behind ESC."""
    sgr_old, _, link_old = old.partition("\x1b")
    sgr, _, link = new.partition("\x1b")
    out = ""
    if link != link_old:
        out = f"\x1b{link}\x1b\\" if link else "\x1b]8;;\x1b\\"
    if sgr != sgr_old:
        whole = f"\x1b[0;{sgr}m" if sgr and sgr_old else f"\x1b[{sgr}m"
        change = _change(sgr_old, sgr)
        out += change if change and len(change) < len(whole) else whole
    return out


def _change(old: str, new: str) -> str:
    """Only the codes in which two styles differ; "" if that cannot be said."""
    (had, ink_old, ground_old), (has, ink, ground) = _parts(old), _parts(new)
    gone = had - has
    if any(code not in _OFF for code in gone) or (gone & {"1", "2"} and has & {"1", "2"}):
        return ""
    codes = [*sorted({_OFF[code] for code in gone}), *sorted(has - had)]
    if ink != ink_old:
        codes.append(ink or "39")
    if ground != ground_old:
        codes.append(ground or "49")
    return f"\x1b[{';'.join(codes)}m"
