"""Bytes to text: charset labels as the Web knows them (WHATWG), then detection.

Only labels in the table are trusted: a codec such as `unicode_escape` or `utf-7` would make controls
out of printable bytes.
"""

from __future__ import annotations

from functools import lru_cache

_LABELS: dict[str, str] = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 x-unicode20utf8",
    "cp1252": "iso-8859-1 iso8859-1 iso88591 latin1 latin-1 l1 ascii us-ascii ansi_x3.4-1968 windows-1252 cp1252 x-cp1252 "
    "iso_8859-1 8859-1 cp819 ibm819 iso-ir-100",
    "iso8859-2": "iso-8859-2 iso8859-2 iso_8859-2 latin2 l2",
    "iso8859-3": "iso-8859-3 latin3",
    "iso8859-4": "iso-8859-4 latin4",
    "iso8859-5": "iso-8859-5 cyrillic iso_8859-5",
    "iso8859-6": "iso-8859-6 arabic iso-8859-6-i iso-8859-6-e",
    "iso8859-7": "iso-8859-7 greek iso_8859-7",
    "iso8859-8": "iso-8859-8 hebrew iso-8859-8-i iso-8859-8-e",
    "cp1254": "iso-8859-9 latin5 windows-1254 cp1254",
    "iso8859-10": "iso-8859-10 latin6",
    "iso8859-13": "iso-8859-13",
    "iso8859-14": "iso-8859-14",
    "iso8859-15": "iso-8859-15 latin-9 latin9 iso8859-15",
    "iso8859-16": "iso-8859-16",
    "cp1250": "windows-1250 cp1250 x-cp1250",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp874": "windows-874 tis-620 iso-8859-11 dos-874",
    "koi8-r": "koi8-r koi8 koi cskoi8r koi8_r",
    "koi8-u": "koi8-u koi8-ru",
    "cp866": "ibm866 cp866 866",
    "cp437": "cp437 ibm437",
    "cp850": "cp850 ibm850",
    "mac_roman": "macintosh mac x-mac-roman",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "gb18030 gbk gb2312 gb_2312 gb_2312-80 chinese x-gbk cp936 ms936 csgb2312",
    "hz": "hz-gb-2312",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5 csbig5",
    "cp932": "shift_jis shift-jis sjis x-sjis windows-31j ms_kanji cp932 csshiftjis",
    "euc_jp": "euc-jp x-euc-jp eucjp",
    "iso2022_jp_ext": "iso-2022-jp csiso2022jp iso-2022-jp-2 iso-2022-jp-ms",
    "cp949": "euc-kr ks_c_5601-1987 ks_c_5601 korean ksc5601 windows-949 cp949",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
}
CODECS: dict[str, str] = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_CANDIDATES = [
    "utf_8", "cp1252", "cp1251", "koi8_r", "cp1250", "iso8859_2", "iso8859_7", "cp1254", "cp1255", "cp1256",
    "gb18030", "big5", "shift_jis", "euc_jp", "cp949", "iso8859_15",
]  # fmt: skip
_SAMPLE = 20_000  # bytes that detection looks at


def codec(label: str) -> str:
    """Python's codec for a charset label, "" if the label is not one of the Web's."""
    return CODECS.get(label.strip().strip("\"'").lower(), "")


def decode(data: bytes, label: str = "") -> str:
    """Text of bytes in a declared charset; undeclared, unknown or plainly wrong ones are detected.  Never raises."""
    if data.isascii() and b"\x1b" not in data and b"~{" not in data and b"\0" not in data:
        return data.decode("ascii")
    name = codec(label)
    if name:
        try:
            return data.decode(name)
        except (UnicodeError, ValueError):
            pass
    try:
        return data.decode("utf-8")
    except UnicodeError:
        pass
    if name and name != "utf-8" and label.strip().lower() not in ("us-ascii", "ascii"):
        return data.decode(name, "replace")
    return data.decode(detect(data[:_SAMPLE]), "replace")


@lru_cache(256)
def detect(data: bytes) -> str:
    """The codec that mail in these bytes is most likely in; cp1252 if nothing fits."""
    import charset_normalizer

    try:
        best = charset_normalizer.from_bytes(data, cp_isolation=_CANDIDATES, threshold=0.3).best()
    except (UnicodeError, ValueError, TypeError):
        return "cp1252"
    return best.encoding if best else "cp1252"
