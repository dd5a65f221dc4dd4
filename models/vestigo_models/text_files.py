"""Reading of text files of users, whatever program wrote them: a byte-order mark is skipped."""

import codecs
from pathlib import Path

_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def text_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-16 if its byte-order mark says so, else UTF-8 with or without a mark."""
    with path.open("rb") as file:
        start = file.read(2)
    return next((encoding for mark, encoding in _MARKS if start == mark), "utf-8-sig")


def read_text(path: Path) -> str:
    """Return the content of a text file without its byte-order mark; raise OSError or UnicodeDecodeError."""
    return path.read_text(encoding=text_encoding(path))
