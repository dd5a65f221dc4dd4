"""Datasets on the command line: their options, and their notes on standard error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from vestigo_ui.cli.output import note

if TYPE_CHECKING:
    from vestigo.datasets.reid import ReidDataset
    from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class HoldOutOptions:
    """The identities that are held out of the training split and judged."""

    hold_out: Annotated[
        int | None,
        Option(
            "--hold-out",
            metavar="N",
            min=1,
            help="Hold N identities out of the training split and judge them instead of the test splits. Default: "
            "one of five if there is only a training split.",
        ),
    ] = None
    hold_out_seed: Annotated[int, Option("--hold-out-seed", min=0, help="Of the choice of --hold-out.")] = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `vestigo.datasets.recognise.load_dataset`."""
        return {"hold_out_identities": self.hold_out, "hold_out_seed": self.hold_out_seed}

    @property
    def words(self) -> dict[str, int | None]:
        """The options that were given, for `vestigo_ui.cli.options.command_text`."""
        return {"hold-out": self.hold_out, "hold-out-seed": self.hold_out_seed or None}


def read_dataset(source: Path, hold_out: HoldOutOptions = HoldOutOptions(), **options: Any) -> ReidDataset:
    """Load a dataset and print its notes; `options` are those of `vestigo.datasets.recognise.load_dataset`."""
    from vestigo.datasets.recognise import load_dataset

    dataset = load_dataset(source, **hold_out.arguments, **options)
    print_notes(dataset.notes)
    return dataset


def read_dataset_for_model(
    source: Path, schema: AttributeSchema | None, hold_out: HoldOutOptions = HoldOutOptions(), **options: Any
) -> ReidDataset:
    """Load a dataset with a model's attributes if it has labels of them, and print its notes."""
    from vestigo.datasets.recognise import load_dataset_for_model

    dataset = load_dataset_for_model(source, schema, **hold_out.arguments, **options)
    print_notes(dataset.notes)
    return dataset


def print_notes(notes: Iterable[str]) -> None:
    """Print what a user must know of a dataset, such as identities that were held out."""
    for text in notes:
        note(text)
