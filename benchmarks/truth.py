"""Read the true boxes and identities of a video."""

from pathlib import Path

import pandas as pd

BOX = ["x", "y", "w", "h"]


def read_truth(path: Path) -> pd.DataFrame:
    """Return the columns frame (from 0), pid, x, y, w, h of a file in MOT format."""
    with path.open(encoding="utf-8") as file:
        has_header = not file.readline().split(",")[0].strip().isdigit()
    table = pd.read_csv(path, header=0 if has_header else None)
    if not has_header:
        if table.shape[1] > 6:
            table = table[table[6] != 0]
        table[0] -= 1
    table = table.iloc[:, :6]
    table.columns = pd.Index(["frame", "pid", *BOX])
    return table
