"""`vestigo adapt`: adapt the serving model to the store's own footage, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.commands.retrain import difference_rows, print_scores, print_verdict
from vestigo_ui.cli.datasets import print_notes
from vestigo_ui.cli.output import Output, command_line, make_table, out, progress_stages

if TYPE_CHECKING:
    from vestigo_workers.adaptation.candidate import AdaptResult


def adapt_command(
    *,
    store: opts.StoreOption,
    base: Annotated[
        str | None,
        Option(help="Model to adapt: a name or digest of the registry, default, a folder, hub:ID. Default: serving."),
    ] = None,
    data: Annotated[
        Path | None, Option(help="Labelled dataset: its query and gallery judge the candidate too; nothing is learned.")
    ] = None,
    crops: Annotated[int, Option(min=1, help="Crops to learn from at most; whole tracklets are sampled.")] = 12_000,
    epochs: Annotated[int, Option(min=1, help="Clusterings of the crops, each followed by a pass over them.")] = 12,
    learning_rate: Annotated[
        float | None, Option(min=1e-8, help="Default: that of the backbone's training.", show_default=False)
    ] = None,
    map_margin: Annotated[float, Option(min=0, help="Points that the mAP may lose on labelled people.")] = 1.0,
    rendered_margin: Annotated[float, Option(min=0, help="Points that the mAP may lose on rendered people.")] = 5.0,
    margin: Annotated[float, Option(min=0, help="Points that an attribute may lose.")] = 1.0,
    seed: Annotated[int, Option(help="Of every random choice.")] = 0,
    workers: Annotated[int, Option(min=1, help="Processes that train together (Ray Train).")] = 1,
    device: opts.DeviceOption = "auto",
    name: Annotated[str | None, Option(help="Of the candidate model. Default: that of the base, -adapted.")] = None,
    models: Annotated[
        Path | None, Option("--out", help="Folder for candidate models. Default: models in the store's folder.")
    ] = None,
    keep: Annotated[bool, Option("--no-promote", help="Train and evaluate only; promote nothing.")] = False,
    by: opts.ByOption = None,
) -> Output:
    """Adapt the serving model to the store's footage without labels, and promote it if it passes the gate.

    The crops are clustered over cameras, and the model learns to tell the clusters apart. Identities and labels that
    the store has are not used for learning; they and rendered people judge the result. An interrupted adaptation
    continues with the same command.

    Example: vestigo adapt --store archive
    """
    from vestigo.promotion.gate import Margins
    from vestigo_models.adaptation.config import AdaptationConfig
    from vestigo_models.devices import resolve_device
    from vestigo_workers.adaptation.candidate import AdaptRequest, adapt_candidate

    request = AdaptRequest(
        base=base,
        data=data,
        crops=crops,
        config=AdaptationConfig(seed=seed, epochs=epochs, learning_rate=learning_rate),
        margins=Margins(mAP=map_margin, attributes=margin, rendered=rendered_margin),
        name=name,
        folder=models,
        promote=not keep,
        by=by or opts.login(),
        account=opts.login(),
        workers=workers,
        device=resolve_device(device),
    )
    with opts.open_store(store) as opened, progress_stages() as open_progress:
        result = adapt_candidate(opened, request, open_progress)
    print_notes(result.notes)
    return Output(_row(result, store), _print)


def _row(result: AdaptResult, store: str) -> dict[str, Any]:
    scores = result.scores
    return {
        "model": result.folder.name,
        "digest": result.digest,
        "folder": result.folder if scores else None,
        "base": result.base,
        "serving": result.digest if result.promoted else result.serving,
        "promoted": result.promoted,
        "passed": result.verdict.promoted,
        "reasons": list(result.verdict.reasons),
        "before": scores.before if scores else None,
        "after": scores.after if scores else None,
        "differences": difference_rows(scores) if scores else {},
        "tested_on": list(result.tested_on),
        "crops": result.crops,
        "tracklets": result.tracklets,
        "cameras": result.cameras,
        "epoch": result.best.epoch,
        "share": result.share,
        "epochs": [asdict(record) for record in result.records],
        "next": command_line("index", "--reindex-stale", "--store", store) if result.promoted else None,
    }


def _print(result: Mapping[str, Any]) -> None:
    out.print(
        f"{result['model']} learned from {result['crops']} crops of {result['tracklets']} tracklets and "
        f"{result['cameras']} cameras, without labels"
    )
    rows = [
        (
            record["epoch"] or "base",
            record["clusters"],
            f"{record['clustered']:.1%}",
            f"{record['criterion']:.3f}",
            "kept" if record["epoch"] == result["epoch"] else "",
        )
        for record in result["epochs"]
    ]
    out.print(make_table(("epoch", ">clusters", ">clustered", ">silhouette across cameras", ""), rows))
    if 0 < (share := result["share"]) < 1:
        out.print(f"{share:.0%} of the adapted weights and {1 - share:.0%} of the base's, the most that passes")
    if result["before"] is not None:
        out.print(f"tested on {result['tested_on'][0]}")
        print_scores(result)
    print_verdict(result)
