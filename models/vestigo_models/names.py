"""Names that users type: compared in one Unicode form, and refused with the known ones if they are unknown."""

import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

MAX_LISTED = 20
MIN_RESEMBLANCE = 0.6


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
    listed = ", ".join(ordered[:MAX_LISTED]) or "none yet"
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    return f'Unknown {kind} "{name}". {where}: {listed}{more}.'
