"""Human parsing: which pixel of a person is head, clothes, shoes (specification, section 4)."""

from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.factory import make_parser
from vestigo_models.parsing.labels import LABEL_SETS, LabelSet, read_label_map

__all__ = ["LABEL_SETS", "LabelSet", "Parsed", "Parser", "make_parser", "read_label_map"]
