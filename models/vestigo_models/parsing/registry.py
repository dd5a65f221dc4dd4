"""The registry of human parsers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vestigo_models.errors import ConfigError
from vestigo_models.registry import Component, ComponentRegistry

if TYPE_CHECKING:
    from vestigo_models.parsing.base import Parser

LabelMap = Mapping[str, str]
"""Regions of classes by name."""
ParserFactory = Callable[[str, LabelMap | None, str], "Parser"]
"""Makes a parser from what follows the colon of its reference, a label map, and a torch device."""


def _package(argument: str, _label_map: LabelMap | None, device: str) -> Parser:
    from vestigo_models.parsing.small import EmbeddedParser

    return EmbeddedParser.from_pretrained(Path(argument or "default"), device=device)


def _schp(argument: str, _label_map: LabelMap | None, device: str) -> Parser:
    from vestigo_models.parsing.schp import SchpParser

    path, labels = _split_label_set(argument)
    return SchpParser.load(path, labels, device=device)


def _transformers(argument: str, label_map: LabelMap | None, device: str) -> Parser:
    from vestigo_models.parsing.transformers import TransformersParser

    return TransformersParser(argument, label_map, device=device)


def _label_folder(argument: str, label_map: LabelMap | None, _device: str) -> Parser:
    from vestigo_models.parsing.label_folder import FolderParser

    path, labels = _split_label_set(argument)
    return FolderParser(Path(path), label_map, labels)


def _split_label_set(argument: str) -> tuple[str, str | None]:
    """Return the path and the name of the label set of `PATH[:lip|atr|pascal]`."""
    from vestigo_models.parsing.label_maps import LABEL_SETS

    path, _, labels = argument.rpartition(":")
    return (path, labels) if path and labels in LABEL_SETS else (argument, None)


_BUILT_IN: tuple[tuple[str, str, ParserFactory, str], ...] = (
    ("default", "", _package, "The parser that ships with Vestigo."),
    ("package", "FOLDER", _package, "A package of `vestigo train-parser`."),
    ("schp", "CHECKPOINT[:lip|atr|pascal]", _schp, "A public checkpoint of Self-Correction Human Parsing."),
    ("hf", "FOLDER_OR_ID", _transformers, "A semantic segmentation model of the transformers library."),
    ("labels", "FOLDER[:lip|atr|pascal]", _label_folder, "A folder with a PNG for each image."),
)
PARSERS: ComponentRegistry[ParserFactory] = ComponentRegistry(
    "parser",
    "vestigo.parsers",
    [Component(name=name, argument=arg, factory=factory, help=text) for name, arg, factory, text in _BUILT_IN],
)


def register_parser(name: str, factory: ParserFactory, *, help: str = "", argument: str = "") -> None:
    """Add a parser that `--parser NAME`, or `NAME:ARGUMENT` if `argument` is given, selects.

    Installed packages add one with an entry point of the group `vestigo.parsers` that names an `Component`.

    Raises:
        ConfigError: If the name is taken.
    """
    PARSERS.register(Component(name=name, factory=factory, help=help, argument=argument))


def make_parser(reference: str, label_map: LabelMap | None = None, device: str = "cpu") -> Parser:
    """Return the parser that `reference` names, one of `PARSERS.usages`.

    `label_map` has the region of each class for `hf` and `labels`, whose classes may have unknown names.

    Raises:
        ConfigError: If there is no such parser, or it cannot use the label map.
        ModelError: If the checkpoint or package cannot be loaded.
    """
    entry, argument = PARSERS.find(reference)
    if label_map is not None and entry.factory in (_package, _schp):
        raise ConfigError(f"parser {reference!r}: its classes are known; a label map is for hf: and labels:")
    return entry.factory(argument, label_map, device)
