"""`vestigo retrain`: corrected labels become a challenger, which serves if it is proven better."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer
from rich.table import Table

from vestigo_ui.cli.commands.label_sets import ProjectsOption
from vestigo_ui.cli.options import SchemaOption, check_schema, login
from vestigo_ui.cli.output import DeviceOption, JsonOption, StoreOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo_workers.retraining.candidate import CandidateResult, RetrainRequest

BaseOption = Annotated[
    str, typer.Option("--base", help="Model to train on: a name or digest of the registry, default, a folder, hub:ID.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Dataset: its training split is replayed, its query and gallery are the test split. Without one, crops of "
        "the store are replayed and a fifth of its reviewed people is tested on.",
        show_default=False,
    ),
]
ModeOption = Annotated[
    str, typer.Option("--mode", help="heads: refit the attribute heads only. all: the whole network.")
]
MarginOption = Annotated[float, typer.Option("--margin", min=0, help="Points that an attribute may lose.")]
MapMarginOption = Annotated[float, typer.Option("--map-margin", min=0, help="Points that the mAP may lose.")]
ReplayOption = Annotated[int, typer.Option("--replay", min=0, help="Images that are replayed against forgetting.")]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for challengers. Default: models beside the store.", show_default=False),
]
Mode = Literal["heads", "all"]


def retrain_command(
    store: StoreOption,
    base: BaseOption,
    data: DataOption = None,
    mode: ModeOption = "heads",
    project: ProjectsOption = None,
    label_set: Annotated[
        int | None,
        typer.Option("--label-set", help="Version of labels. Default: what is agreed on now.", show_default=False),
    ] = None,
    margin: MarginOption = 1.0,
    map_margin: MapMarginOption = 1.0,
    replay: ReplayOption = 2000,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of --mode all. Default: 3.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train together (Ray Train).")] = 1,
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    name: Annotated[
        str | None, typer.Option(help="Of the challenger. Default: the base's and the label set.", show_default=False)
    ] = None,
    models: ModelsOption = None,
    by: Annotated[str | None, typer.Option(help="Who asks. Default: the login name.", show_default=False)] = None,
    keep: Annotated[bool, typer.Option("--no-promote", help="Train and judge only; nothing begins to serve.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn from corrected labels, and let the result serve if it passes the gate.

    The challenger is compared with the model that serves on people whom neither has learnt from: it is promoted only if
    something improved beyond chance and nothing worsened beyond the margin. People who would be learnt from and tested
    on are refused before anything is trained.

    Example: vestigo retrain --store archive --base default --data market/
    """
    from vestigo.promotion.gate import Margins
    from vestigo.store.open import Store
    from vestigo_models.devices import resolve_device
    from vestigo_workers.retraining.candidate import RetrainRequest

    request = RetrainRequest(
        base=base,
        data=data,
        version=label_set,
        projects=tuple(project or ()),
        mode=read_mode(mode),
        replay=replay,
        margins=Margins(mAP=map_margin, attributes=margin),
        name=name,
        folder=models,
        promote=not keep,
        by=by or login(),
        account=login(),
        workers=workers,
        device=resolve_device(device),
        seed=seed,
        epochs=epochs,
    )
    with Store.open(store, create=False) as opened:
        check_base_schema(opened, base, schema)
        result = retrain_result(run_retraining(opened, request), store)
    emit(result, as_json, print_candidate)


def read_mode(mode: str) -> Mode:
    """Read `--mode`; raises UsageError for another word."""
    from vestigo_models.errors import UsageError

    if mode not in get_args(Mode):
        raise UsageError(f"--mode {mode!r} is not one of {', '.join(get_args(Mode))}")
    return cast("Mode", mode)


def check_base_schema(store: Store, base: str, schema: str | None) -> None:
    """Check `--schema` against the model that is trained further; raises as `check_schema`."""
    from vestigo.resolve import open_model

    if schema is not None:
        package = open_model(store, base)
        check_schema(schema, package.name, package.schema)


def run_retraining(store: Store, request: RetrainRequest) -> CandidateResult:
    """Train and judge under progress bars."""
    from vestigo_workers.retraining.candidate import retrain_candidate

    with ExitStack() as bars:
        return retrain_candidate(store, request, lambda label: bars.enter_context(progress(label)))


def retrain_result(found: CandidateResult, store: str) -> dict[str, Any]:
    """The result as `--json` has it."""
    done = f"vestigo index --reindex-stale --store {store}" if found.promoted else None
    return {
        "model": found.model,
        "digest": found.digest,
        "folder": found.folder,
        "base": found.base,
        "serving": found.digest if found.promoted else found.serving,
        "promoted": found.promoted,
        "passed": found.verdict.promoted,
        "reasons": list(found.verdict.reasons),
        "before": found.before,
        "after": found.after,
        "differences": {
            name: None if one is None else {"difference": one.difference, "low": one.low, "high": one.high}
            for name, one in found.differences.items()
        },
        "tested_on": found.tested_on,
        "label_set": found.label_set.version,
        "lessons": found.examples,
        "replayed": found.replayed,
        "next": done,
    }


def print_candidate(result: Mapping[str, Any]) -> None:
    """Print how a challenger fared, for people."""
    out.print(
        f"{result['model']} ({result['digest'][:12]}) learnt from {result['lessons']} reviewed tasks (label set "
        f"{result['label_set']}) and {result['replayed']} replayed images; tested on {result['tested_on']}",
        markup=False,
    )
    table = Table(box=None)
    for title in ("", "before", "after", "difference", "95 %"):
        table.add_column(title, justify="left" if not title else "right")
    for name, one in result["differences"].items():
        before, after = (
            side["mAP"] if name == "mAP" else side["attributes"].get(name)
            for side in (result["before"], result["after"])
        )
        cells = ["–", ""] if one is None else [f"{one['difference']:+.1f}", f"{one['low']:+.1f} to {one['high']:+.1f}"]
        table.add_row(name, *("–" if value is None else f"{value:.1f}" for value in (before, after)), *cells)
    for title, key in (("attributes, mean", "attributes_mean"), ("attributes, balanced", "attributes_balanced")):
        cells = [result[side][key] for side in ("before", "after")]
        table.add_row(title, *("–" if value is None else f"{value:.1f}" for value in cells), style="dim")
    out.print(table)
    if result["promoted"]:
        out.print("promoted: it serves from now on", style="green")
    else:
        out.print("passed the gate; not promoted (--no-promote)" if result["passed"] else "refused", style="yellow")
    for reason in result["reasons"]:
        out.print(f"  {reason}", markup=False)
    out.print(f"  kept in {result['folder']}", markup=False)
    if result["next"]:
        out.print(f"\nnext: {result['next']}", markup=False)
