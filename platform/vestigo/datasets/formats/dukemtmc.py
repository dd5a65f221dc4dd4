"""The layout of DukeMTMC-reID (specification section 2.2).

Its authors withdrew the dataset; the layout stays because archives and tools still use it.
"""

from __future__ import annotations

import re

from vestigo.datasets.formats.layout import Layout
from vestigo_models.schemas.builtin import DUKEMTMC_REID

DUKE_LAYOUT = Layout(
    name="dukemtmc-reid",
    schema=DUKEMTMC_REID,
    pattern=re.compile(r"(?P<pid>\d+)_c(?P<camera>[1-9]\d*)_f\d+\."),
    example="0001_c2_f0046182.jpg",
    annotation="duke_attribute.mat",
    # Missing (0) in the public file; the public attribute baseline hard-codes these two.
    overrides={(370, "upper_length"): "short", (679, "upper_length"): "long"},
)
