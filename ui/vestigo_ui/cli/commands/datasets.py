"""`vestigo datasets`: what a dataset is read as."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Typer

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import HoldOutOptions
from vestigo_ui.cli.output import Output, command, make_table, note, out

app = Typer(help="What a dataset is read as: layout, counts, and what is passed over.", no_args_is_help=True)
COUNTS = ("identities", "images", "cameras", "distractors", "junk")


@command(app, "show")
def show_command(
    *,
    dataset: Annotated[
        Path, Argument(help="Folder or archive of a dataset, which may lack splits, or its .mat annotation.")
    ],
    hold_out: HoldOutOptions,
    schema: opts.SchemaOption = None,
) -> Output:
    """Show the layout of a dataset, its identities, images, cameras and attributes by split, and what is passed over.

    Totals are identities of training and query, and images of training and gallery, as datasets are cited. Attributes
    are counted by identity; "none" are identities without a label. Evaluation and training drop junk.

    Example: vestigo datasets show Market-1501-v15.09.15
    """
    from vestigo.datasets.statistics import dataset_statistics

    statistics = dataset_statistics(dataset, opts.read_schema(schema), **hold_out.arguments)
    for text in statistics.notes:
        note(text)
    return Output(statistics.to_dict(), _print)


def _print(result: Mapping[str, Any]) -> None:
    images = "" if result["images"] is None else f", {result['images']} images, {result['cameras']} cameras"
    attributes = f"{result['attributes']} attributes in {result['columns']} columns"
    out.print(f"{result['layout']}: {result['identities']} identities{images}, {attributes}")
    splits = result["splits"]
    rows = [(name, *("–" if row[key] is None else row[key] for key in COUNTS)) for name, row in splits.items()]
    out.print(make_table(("split", *(f">{key}" for key in COUNTS)), rows))
    if result["without_labels"]:
        out.print(f"no attributes: {result['without_labels']}", style="yellow")
    else:
        names = [name for row in splits.values() for name in row["attributes"]]
        cells = [(name, *(_values_text(row["attributes"].get(name)) for row in splits.values())) for name in names]
        out.print(make_table(("attribute", *(f"~{name}" for name in splits)), dict.fromkeys(cells)))
    if any(result["raised"]):
        train, test = result["raised"]
        out.print(f"identities are counted from 0: {train} is added in training, {test} in query and gallery")
    for kind, count in result["passed_over"].items():
        out.print(f"passed over: {count} {kind}", style="yellow")


def _values_text(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{value} {count}" for value, count in (counts or {}).items())
