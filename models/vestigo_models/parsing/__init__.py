"""Human parsing: which pixel of a person is head, clothes, shoes (specification, section 4)."""

from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.labels import LABEL_SETS, LabelSet
from vestigo_models.parsing.schp import SchpParser

__all__ = ["LABEL_SETS", "LabelSet", "Parsed", "Parser", "SchpParser"]
