"""`python -m tools.fixed_points`: compare the program with what is recorded, print its values, or record them anew."""

from __future__ import annotations

import os

# One thread: sums come in one order. It counts only before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tools.fixed_points import RECORDED, collect, compare

LINE_LENGTH = 110


def main() -> int:
    """Run the tool; returns the exit status: 1 if a recorded value has changed."""
    parser = argparse.ArgumentParser(prog="python -m tools.fixed_points", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"record the current values in {RECORDED.name}")
    parser.add_argument("--print", action="store_true", help="print the current values, with digests of this machine")
    parser.add_argument("--against", type=Path, default=RECORDED, help="values to compare with, as --print gives them")
    arguments = parser.parse_args()
    current = collect()
    if arguments.print:
        print(_text(current))
        return 0
    if arguments.write:
        # Digests cover every bit of the embeddings, which differ between processors.
        portable = {part: values for part, values in current.items() if part != "digests"}
        RECORDED.write_text(_text(portable) + "\n", encoding="utf-8")
        print(RECORDED)
        return 0
    differences = compare(json.loads(arguments.against.read_text("utf-8")), current)
    print("\n".join(differences) or f"as recorded in {arguments.against.name}")
    return 1 if differences else 0


def _text(value: Any, indent: str = "") -> str:
    """Return JSON with sorted keys; what fits stands on one line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(line) <= LINE_LENGTH:
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(key)}: {_text(value[key], inner)}" for key in sorted(value)]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{_text(item, inner)}" for item in value) + f"\n{indent}]"


if __name__ == "__main__":
    sys.exit(main())
