"""From the name of a parser to the parser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vestigo_models.errors import ConfigError
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_folder import FolderParser
from vestigo_models.parsing.label_maps import LABEL_SETS

KINDS = "default, package:FOLDER, schp:CHECKPOINT[:lip|atr|pascal], hf:FOLDER_OR_ID or labels:FOLDER"


def make_parser(ref: str, label_map: Mapping[str, str] | None = None, device: str = "cpu") -> Parser:
    """Build the parser that `ref` names: one of `KINDS`. `default` ships with Vestigo.

    `label_map` (class to region) tells what the classes of the last two are, where their names do not.

    Raises:
        ConfigError: no such kind of parser, or a label map that it cannot use.
        ModelError: the checkpoint or the package cannot be loaded.
    """
    kind, _, rest = ref.partition(":")
    if ref != "default" and (not rest or kind not in ("package", "schp", "hf", "labels")):
        raise ConfigError(f"unknown parser {ref!r}: use {KINDS}")
    if kind == "labels":
        return FolderParser(Path(rest), label_map)
    if kind == "hf":
        # transformers takes seconds to import; only those who ask for it wait.
        from vestigo_models.parsing.transformers import TransformersParser

        return TransformersParser(rest, label_map, device=device)
    if label_map is not None:
        raise ConfigError(f"parser {ref!r}: its classes are known; a label map is for hf: and labels:")
    if kind in ("default", "package"):
        from vestigo_models.parsing.small import EmbeddedParser

        return EmbeddedParser.from_pretrained(rest or kind, device=device)
    from vestigo_models.parsing.schp import SchpParser

    path, _, labels = rest.rpartition(":")
    if path and labels in LABEL_SETS:
        return SchpParser.load(path, labels, device=device)
    return SchpParser.load(rest, device=device)
