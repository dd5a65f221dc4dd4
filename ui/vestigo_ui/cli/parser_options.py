"""Options of the commands that use a parser.

They are apart from the other options, because their help lists the parsers of all installed packages.
"""

from pathlib import Path
from typing import Annotated

from typer import Option

from vestigo_models.parsing.registry import PARSERS

ParserOption = Annotated[str, Option("--parser", help=f"Parser of the images: {PARSERS.usage}.")]
TrainingParserOption = Annotated[
    str | None, Option("--parser", help=f"Parser of the training images: {PARSERS.usage}.")
]
LabelMapOption = Annotated[
    Path | None,
    Option("--label-map", help="YAML file with the region of each class that hf: or labels: does not name."),
]
