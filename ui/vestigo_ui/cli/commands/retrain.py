"""`vestigo retrain`: train a candidate model from labels and promote it if it passes the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from vestigo.resolve import open_model
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import print_notes
from vestigo_ui.cli.output import Output, command_line, make_table, number_text, out, progress_stages

if TYPE_CHECKING:
    from vestigo.promotion.judge import PairEvaluation
    from vestigo.store.open import Store
    from vestigo_workers.retraining.candidate import CandidateResult, RetrainRequest


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of a candidate model's training and of the gate."""

    base: Annotated[str, Option(help="Model to train: a name or digest of the registry, default, a folder, hub:ID.")]
    data: Annotated[
        Path | None,
        Option(
            help="Dataset: its training split is replayed, its query and gallery are the test split. Without one, "
            "crops of the store are replayed and a fifth of its annotated people is tested."
        ),
    ] = None
    mode: Annotated[
        Literal["heads", "all"], Option(help="heads: refit the attribute heads only. all: the whole network.")
    ] = "heads"
    margin: Annotated[float, Option(min=0, help="Points that an attribute may lose.")] = 1.0
    map_margin: Annotated[float, Option(min=0, help="Points that the mAP may lose.")] = 1.0
    replay: Annotated[int, Option(min=0, help="Images that are replayed against forgetting.")] = 2000
    schema: opts.SchemaOption = None
    device: opts.DeviceOption = "auto"
    models: Annotated[
        Path | None, Option("--out", help="Folder for candidate models. Default: models in the store's folder.")
    ] = None
    by: opts.ByOption = None

    def request(self, **settings: Any) -> RetrainRequest:
        """Return the request of these options; `settings` are its other fields."""
        from vestigo.promotion.gate import Margins
        from vestigo_models.devices import resolve_device
        from vestigo_workers.retraining.candidate import RetrainRequest

        return RetrainRequest(
            base=self.base,
            data=self.data,
            mode=self.mode,
            replay=self.replay,
            margins=Margins(mAP=self.map_margin, attributes=self.margin),
            folder=self.models,
            by=self.by or opts.login(),
            account=opts.login(),
            device=resolve_device(self.device),
            **settings,
        )

    def check_schema(self, store: Store) -> None:
        """Check `--schema` against the model that is trained further; raises as `opts.check_schema`."""
        if self.schema is not None:
            package = open_model(store, self.base)
            opts.check_schema(self.schema, package.name, package.schema)


def retrain_command(
    *,
    store: opts.StoreOption,
    training: TrainingOptions,
    project: opts.ProjectsOption = None,
    label_set: Annotated[int | None, Option(help="Version of labels. Default: the labels that are agreed now.")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Of --mode all. Default: 3.")] = None,
    seed: Annotated[int, Option(help="Of every random choice.")] = 0,
    workers: Annotated[int, Option(min=1, help="Processes that train together (Ray Train).")] = 1,
    name: Annotated[
        str | None, Option(help="Of the candidate model. Default: that of the base and the label set.")
    ] = None,
    keep: Annotated[bool, Option("--no-promote", help="Train and evaluate only; promote nothing.")] = False,
) -> Output:
    """Train a candidate model from labels, and promote it if it passes the gate.

    The candidate is compared with the serving model on people that neither has learned from: it is promoted only if a
    measure improved significantly and none fell by more than the margin. People in training and test are refused
    before anything is trained.

    Example: vestigo retrain --store archive --base default --data market/
    """
    request = training.request(
        version=label_set,
        projects=tuple(project or ()),
        name=name,
        promote=not keep,
        workers=workers,
        seed=seed,
        epochs=epochs,
    )
    with opts.open_store(store) as opened:
        training.check_schema(opened)
        result = candidate_row(run_retraining(opened, request), store)
    return Output(result, print_candidate)


def run_retraining(store: Store, request: RetrainRequest) -> CandidateResult:
    """Train and evaluate a candidate under progress bars, and print the notes of its test data."""
    from vestigo_workers.retraining.candidate import retrain_candidate

    with progress_stages() as open_progress:
        candidate = retrain_candidate(store, request, open_progress)
    print_notes(candidate.notes)
    return candidate


def candidate_row(candidate: CandidateResult, store: str) -> dict[str, Any]:
    """Return a candidate under the names of the contract."""
    promoted = candidate.promoted
    return {
        "model": candidate.folder.name,
        "digest": candidate.digest,
        "folder": candidate.folder,
        "base": candidate.base,
        "serving": candidate.digest if promoted else candidate.serving,
        "promoted": promoted,
        "passed": candidate.verdict.promoted,
        "reasons": list(candidate.verdict.reasons),
        "before": candidate.scores.before,
        "after": candidate.scores.after,
        "differences": difference_rows(candidate.scores),
        "tested_on": candidate.tested_on,
        "label_set": candidate.label_set.version,
        "lessons": candidate.examples,
        "replayed": candidate.replayed,
        "next": command_line("index", "--reindex-stale", "--store", store) if promoted else None,
    }


def difference_rows(scores: PairEvaluation) -> dict[str, dict[str, float] | None]:
    """Return the differences of a candidate with their intervals by measure, None where nothing was compared."""
    return {
        name: None
        if difference is None
        else {"difference": difference.difference, "low": difference.low, "high": difference.high}
        for name, difference in scores.differences.items()
    }


def print_candidate(result: Mapping[str, Any]) -> None:
    """Print a candidate, its scores and the gate's verdict."""
    out.print(
        f"{result['model']} ({result['digest'][:12]}) learned from {result['lessons']} reviewed tasks (label set "
        f"{result['label_set']}) and {result['replayed']} replayed images; tested on {result['tested_on']}"
    )
    print_scores(result)
    print_verdict(result)


def print_scores(result: Mapping[str, Any]) -> None:
    """Print the scores of the serving model and the candidate."""
    tests, rows = result["tested_on"], []
    first = tests if isinstance(tests, str) else tests[0]
    sides = result["before"], result["after"]
    for name, row in result["differences"].items():
        test, _, measure = name.rpartition(": ")
        is_first = test in ("", first)
        scores = (
            (side["mAP"] if measure == "mAP" else side["attributes"].get(measure)) if is_first else None
            for side in sides
        )
        change = ["–", ""] if row is None else [f"{row['difference']:+.1f}", f"{row['low']:+.1f} to {row['high']:+.1f}"]
        rows.append((name, *map(number_text, scores), *change))
    table = make_table(("", ">before", ">after", ">difference", ">95 %"), rows)
    for title, key in (("attributes, mean", "attributes_mean"), ("attributes, balanced", "attributes_balanced")):
        table.add_row(title, *(number_text(side[key]) for side in sides), style="dim")
    out.print(table)


def print_verdict(result: Mapping[str, Any]) -> None:
    """Print the gate's decision with its reasons, and the next command."""
    if result["promoted"]:
        out.print("promoted: it serves from now on", style="green")
    else:
        out.print("passed the gate; not promoted (--no-promote)" if result["passed"] else "refused", style="yellow")
    for reason in result["reasons"]:
        out.print(f"  {reason}")
    if result["folder"]:
        out.print(f"  saved in {result['folder']}")
    if result["next"]:
        out.print(f"\nnext: {result['next']}")
