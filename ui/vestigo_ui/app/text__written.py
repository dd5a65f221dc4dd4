"""What people and files wrote, as text of a page."""

from __future__ import annotations

MARKDOWN = frozenset("\\`*_{}[]<>#|~$:")


def plain(text: str) -> str:
    """Return text for where Markdown is read, so that it shows as it was written."""
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in text)


def counted(number: int, what: str) -> str:
    """Return how many there are of something: `1 crop`, `2,000 crops`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
