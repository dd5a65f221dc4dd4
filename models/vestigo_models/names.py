"""Names that users type: compared in one Unicode form, refused with the known ones if unknown, and shown as data."""

import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

MAX_LISTED = 20
MIN_RESEMBLANCE = 0.6
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
# Marks that change the direction of the text around them, separators of lines, and bytes of names that are not UTF-8.
_OTHERS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))
_CONTROLS |= {code: f"\\u{code:04x}" for code in _OTHERS}
JSON_CONTROLS = {code: f"\\u{code:04x}" for code in _CONTROLS}
"""Control characters as JSON writes them, for `str.translate`."""
_LINE_CONTROLS = _CONTROLS | {ord(char): repr(char)[1:-1] for char in "\n\t"}


def escape_controls(text: str, *, one_line: bool = False) -> str:
    """Return text in which control characters are written as their codes, with `one_line` also ends of lines.

    A terminal executes them, and marks of direction reorder the text around a name.
    """
    return text.translate(_LINE_CONTROLS if one_line else _CONTROLS)


def normal_form(name: str) -> str:
    """Return a name with composed accents (Unicode NFC), the form in which names are stored and compared."""
    return unicodedata.normalize("NFC", name)


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """Return an error message such as `Unknown camera "gatte". Cameras in this store: gate, hall`, as sentences.

    `kind` is what the name stands for, such as `camera`, and `where` the beginning of the sentence that lists the
    `known` names; those that resemble the name come first.
    """
    names = list(known)
    matcher = SequenceMatcher(b=normal_form(name).casefold())

    def distance(candidate: str) -> float:
        matcher.set_seq1(normal_form(candidate).casefold())
        return 1 - matcher.ratio() if matcher.ratio() >= MIN_RESEMBLANCE else 1.0

    ordered = sorted(names, key=distance)
    listed = ", ".join(f'"{name}"' if "," in name else name for name in ordered[:MAX_LISTED]) or "none yet"
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    return f'Unknown {kind} "{name}". {where}: {listed}{more}.'
