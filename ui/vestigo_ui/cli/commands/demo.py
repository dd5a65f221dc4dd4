"""`vestigo demo`: the main job on the embedded defaults, with a report to look at."""

from __future__ import annotations

import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.evaluation import judged_attributes, write_page
from vestigo_ui.cli.output import JsonOption, emit, note, out, progress

if TYPE_CHECKING:
    from vestigo.store.open import Store


USERS = "users.toml"
NAME = "demo"


@dataclass(frozen=True)
class Invitation:
    """Who may sign in to the demo's screen; the password is told once and kept only as its hash."""

    folder: Path
    password: str

    @property
    def command(self) -> str:
        """What opens the screen."""
        return " ".join(["vestigo ui", *map(shlex.quote, self.arguments)])

    @property
    def arguments(self) -> list[str]:
        """The arguments of that command."""
        return ["--store", str(self.folder / "store"), "--users", str(self.folder / USERS)]


def invite(folder: Path) -> Invitation:
    """Let somebody sign in to the screen of the demo in `folder`, with a password of this very demo."""
    from vestigo_ui.web.auth.users import Role, Users

    invitation = Invitation(folder, secrets.token_urlsafe(12))
    Users(folder / USERS).add(NAME, Role.ADMIN, invitation.password)
    return invitation


def offer(invitation: Invitation) -> None:
    """Say how the screen is opened, and open it at once where somebody at a terminal says so."""
    from vestigo_ui.cli.main import run

    out.print(f"look at it: [bold]{invitation.command}[/bold]", soft_wrap=True)
    out.print(f"  sign in as [bold]{NAME}[/bold] with the password [bold]{invitation.password}[/bold]")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if typer.confirm("Open the screen now?", default=True):
        note("Ctrl-C ends it")
        run(["ui", *invitation.arguments])


MARK = ".vestigo-demo"
"""A folder with this file was made by the demo and may be made anew."""
IDENTITIES, CAMERAS, IMAGES_PER_CAMERA, VIDEO_SECONDS = 60, 3, 4, 8.0
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
"""When the rendered footage is said to begin."""
RANKING = "demo"


def demo_command(
    folder: Annotated[
        Path, typer.Option("--out", help="Where everything goes; an earlier demo there is made anew.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the rendered world.")] = 2026,
    as_json: JsonOption = False,
) -> None:
    """Render a small camera network, index it, search, evaluate, and write an HTML report with pictures.

    At the end the screen is offered on the demo's store, with a user of its own; at a terminal it opens at once.

    Example: vestigo demo --out demo
    """
    from vestigo.datasets.synthetic import write_rendered
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError
    from vestigo_workers.indexing.request import IndexRequest
    from vestigo_workers.indexing.run import index

    if (folder / MARK).exists():
        shutil.rmtree(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty and no earlier demo; name another folder with --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    begin = time.monotonic()
    archive = folder / "archive"
    with ExitStack() as bars:

        def stage(name: str) -> Callable[[int, int | None], None]:
            note(f"{name} ...")
            return bars.enter_context(progress(name))

        rendered = write_rendered(
            archive,
            identities=IDENTITIES,
            cameras=CAMERAS,
            images_per_camera=IMAGES_PER_CAMERA,
            video_seconds=VIDEO_SECONDS,
            seed=seed,
            progress=stage("rendering people and cameras"),
        )
        with Store.open(folder / "store") as store:
            request = IndexRequest(
                sources=(str(archive / "videos"),), start=START, executor="auto", slice_seconds=VIDEO_SECONDS
            )
            videos = index(store, request, lambda name: stage(f"{name} the videos"))
            stills = index(
                store, IndexRequest(sources=(str(archive),), executor="inline"), lambda name: stage(f"{name} the crops")
            )
            figures = evaluate(archive, folder / "evaluation.html", stage("evaluating"))
            rank_queries(store, archive, stage("ranking the queries"))
            found = search_one(store, videos.run.id, folder / "search.html")
            report = write_report(store, folder, videos.run.id, figures, found)
            crops = videos.totals.crops + stills.totals.crops
    result = {
        "report": str(report.resolve()),
        "crops": crops,
        "tracklets": videos.totals.tracklets,
        "identities": rendered["identities"],
        **figures,
        "seconds": time.monotonic() - begin,
        "next": next_commands(folder, found),
    }
    invitation = invite(folder)
    emit(result, as_json, _print)
    if not as_json:
        offer(invitation)


def evaluate(
    dataset: Path, page: Path, report: Callable[[int, int | None], None], model: str = "default"
) -> dict[str, Any]:
    """Judge a model on the rendered dataset's test identities and write the page."""
    from vestigo.datasets.recognise import load_dataset
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo.evaluation.options import EvaluationOptions
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.inference.package import ModelPackage

    package = ModelPackage.from_pretrained(model)
    loaded = load_dataset(dataset)
    extractor = Extractor(package)
    benchmark = evaluate_model(loaded, extractor, EvaluationOptions(), lambda stage: report)
    facts = {"Dataset": "rendered people", "Model": f"{package.name} ({package.digest[:12]})"}
    write_page(page, loaded, [extractor], [benchmark], None, facts, "cross-camera")
    metrics = benchmark.metrics
    return {"mAP": metrics.mAP, "rank1": metrics.cmc[1], "attributes": judged_attributes(benchmark)["attributes_mean"]}


def rank_queries(store: Store, dataset: Path, report: Callable[[int, int | None], None]) -> None:
    """Rank the store for the dataset's queries and keep the ranking, whose truth is known."""
    from vestigo.retrieval.bulk import rank_gallery
    from vestigo.retrieval.image_queries import image_queries
    from vestigo.retrieval.query import open_encoder

    queries, _ = image_queries(dataset, lambda: open_encoder(store), report)
    rank_gallery(store, queries, RANKING)


def search_one(store: Store, run: str, page: Path) -> str | None:
    """Search for the best crop of the longest tracklet of a run, write the page, return the crop; None without any."""
    from vestigo.reports.search import search_page
    from vestigo.retrieval.query import Query
    from vestigo.retrieval.search import search_query
    from vestigo_models.inference.images import decode_image

    crops: dict[str, list[tuple[float, str]]] = {}
    for batch in store.crops.scan(["crop_id", "tracklet", "quality", "run"]):
        for row in batch.to_pylist():
            if row["run"] == run:
                crops.setdefault(row["tracklet"], []).append((row["quality"], row["crop_id"]))
    if not crops:
        return None
    longest = max(crops, key=lambda tracklet: (len(crops[tracklet]), tracklet))
    _, query = max(crops[longest])
    result = search_query(store, Query(crops=(query,)), top=20)

    def pictures(ids: tuple[str, ...]) -> list[Any]:
        return [decode_image(row["image"]) for row in store.crops.get(ids, ["image"], model=result.model)]

    facts = {"Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    shown = search_page(result, pictures((query,)), pictures(tuple(hit.crop for hit in result.hits)), facts)
    page.write_text(shown, encoding="utf-8")
    return query


def write_report(store: Store, folder: Path, run: str, figures: Mapping[str, Any], query: str | None) -> Path:
    """Write the page that ties the others together and return its path."""
    from vestigo.reports.contact_sheet import demo_page
    from vestigo_ui.cli.contact_sheet import read_strips

    strips, total = read_strips(store, run, shown=24)
    cards = {
        "tracklets in the footage": str(total),
        "mAP": f"{figures['mAP']:.1f} %",
        "Rank-1": f"{figures['rank1']:.1f} %",
    }
    if figures["attributes"] is not None:
        cards["Attributes right"] = f"{figures['attributes']:.1f} %"
    links = {"evaluation.html": "how good the ranking is, with rankings right and wrong"}
    if query is not None:
        links["search.html"] = "one person searched for in the whole archive"
    page = folder / "report.html"
    facts = {"Store": str(folder / "store"), "Footage": str(folder / "archive" / "videos")}
    page.write_text(demo_page(strips, facts, cards, links, next_commands(folder, query)), encoding="utf-8")
    return page


def next_commands(folder: Path, query: str | None) -> list[str]:
    """Return commands to go on with."""
    store = shlex.quote(str(folder / "store"))
    search = [f"vestigo search {query} --store {store} --html answer.html"] if query is not None else []
    users = shlex.quote(str(folder / USERS))
    return [*search, f"vestigo ui --store {store} --users {users}", f"vestigo store check --store {store}"]


def _print(result: Mapping[str, Any]) -> None:
    out.print(f"{result['crops']} crops, {result['tracklets']} tracklets in {result['seconds']:.0f} s")
    out.print(f"mAP {result['mAP']:.1f} %, Rank-1 {result['rank1']:.1f} % on identities the model never saw")
    out.print(f"report: [bold]{result['report']}[/bold]")
    for command in result["next"]:
        out.print(f"  next: {command}", markup=False)
