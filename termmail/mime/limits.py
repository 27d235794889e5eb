"""What a message may cost (security.md §1.1): beyond these, parsing stops and the rest is not shown."""

HEADER_BLOCK = 4 << 20  # bytes
FIELD = 256 << 10  # bytes of one header field
FIELDS = 5_000
DEPTH = 100  # nesting of MIME parts
PARTS = 5_000
PARAMETERS = 500  # of one Content-* field
SEGMENTS = 1_000  # of one RFC 2231 parameter
ADDRESSES = 5_000  # parsed of one field
ENCODED_WORDS = 2_000  # decoded of one field
HTML = 2 << 20  # characters
HTML_TAGS = 30_000  # "<" in the source
HTML_TAG = 16 << 10  # characters of one tag
TEXT = 10 << 20  # characters rendered
LINE = 10_000  # characters of one rendered line that is not folded
LINKS = 5_000
