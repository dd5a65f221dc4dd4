"""The layout of Market-1501 (specification section 2.1), which rendered people share."""

from __future__ import annotations

import re

from vestigo.datasets.formats.layout import Layout
from vestigo_models.schemas.builtin import MARKET_1501

MARKET_LAYOUT = Layout(
    name="market-1501",
    schema=MARKET_1501,
    pattern=re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>[1-9]\d*)s\d+_\d+_\d+\."),
    example="0002_c1s1_000451_03.jpg",
    annotation="market_attribute.mat",
)
