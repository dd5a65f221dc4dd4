"""Values that a refactoring must not change: numbers, options, JSON keys, exit statuses, the SQL schema, old stores.

`python -m tools.fixed_points` compares the program with `tests/fixed_points.json`; `--write` records it anew.
"""

from tools.fixed_points.comparison import compare
from tools.fixed_points.record import RECORDED, collect

__all__ = ["RECORDED", "collect", "compare"]
