"""`vestigo demo`: render, index, search and evaluate with the defaults, and write a report."""

import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from vestigo_models.errors import UsageError
from vestigo_models.progress import ProgressCallback
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.commands.index import crops_of_run, read_strips
from vestigo_ui.cli.evaluation import write_evaluation_page
from vestigo_ui.cli.output import Output, command_line, note, out, progress, write_page
from vestigo_ui.search.answer import make_page
from vestigo_ui.web.auth.users import Role, Users

MARK = ".vestigo-demo"
"""A folder with this file was created by the demo and may be replaced."""
USERS, USER = "users.toml", "demo"
IDENTITIES, CAMERAS, IMAGES_PER_CAMERA, VIDEO_SECONDS = 60, 3, 4, 8.0
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
"""Start time of the rendered footage."""


def create_account(folder: Path) -> str:
    """Create the account of the demo's screen and return its random password, of which only a hash is stored."""
    password = secrets.token_urlsafe(12)
    Users(folder / USERS).add(USER, Role.ADMIN, password)
    return password


def offer_screen(folder: Path, password: str) -> None:
    """Print how the screen is opened, and open it if the user at a terminal confirms."""
    from vestigo_ui.cli.main import run

    arguments = ["ui", "--store", str(folder / "store"), "--users", str(folder / USERS)]
    out.print(f"open the screen: {command_line(*arguments)}", soft_wrap=True)
    out.print(f"  sign in as {USER} with the password {password}")
    if sys.stdin.isatty() and sys.stdout.isatty() and typer.confirm("Open the screen now?", default=True):
        note("Ctrl-C ends it")
        run(arguments)


def demo_command(
    folder: Annotated[Path, Option("--out", help="Output folder; an earlier demo in it is replaced.")] = Path("demo"),
    seed: Annotated[int, Option(help="Of the rendered world.")] = 2026,
) -> Output:
    """Render a small camera network, index it, search, evaluate, and write an HTML report with images.

    At the end, the command that opens the screen on the demo's store is printed; at a terminal it can open at once.

    Example: vestigo demo --out demo
    """
    from vestigo.datasets.synthetic import write_rendered
    from vestigo.retrieval.bulk import image_queries, rank_gallery
    from vestigo.retrieval.query import open_encoder
    from vestigo.store.open import Store
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

        def open_progress(name: str) -> ProgressCallback:
            note(f"{name} ...")
            return bars.enter_context(progress(name))

        rendered = write_rendered(
            archive,
            identities=IDENTITIES,
            cameras=CAMERAS,
            images_per_camera=IMAGES_PER_CAMERA,
            video_seconds=VIDEO_SECONDS,
            seed=seed,
            progress=open_progress("rendering people and cameras"),
        )
        with Store.open(folder / "store") as store:
            request = IndexRequest(
                sources=(str(archive / "videos"),), start=START, executor="auto", slice_seconds=VIDEO_SECONDS
            )
            videos = index(store, request, lambda name: open_progress(f"{name} the videos"))
            request = IndexRequest(sources=(str(archive),), executor="inline")
            stills = index(store, request, lambda name: open_progress(f"{name} the crops"))
            figures = evaluate(archive, folder / "evaluation.html", open_progress("evaluating"))
            queries, _ = image_queries(archive, lambda: open_encoder(store), open_progress("ranking the queries"))
            rank_gallery(store, queries, name="demo")
            query = search_best_crop(store, videos.run.id, folder / "search.html")
            report = write_report(store, folder, videos.run.id, figures, query)
    result = {
        "report": report.resolve(),
        "crops": videos.totals.crops + stills.totals.crops,
        "tracklets": videos.totals.tracklets,
        "identities": rendered["identities"],
        **figures,
        "seconds": time.monotonic() - begin,
        "next": next_commands(folder, query),
    }
    password = create_account(folder)

    def print_result(result: Mapping[str, Any]) -> None:
        out.print(f"{result['crops']} crops, {result['tracklets']} tracklets in {result['seconds']:.0f} s")
        out.print(f"mAP {result['mAP']:.1f} %, Rank-1 {result['rank1']:.1f} % on identities not used in training")
        out.print(f"report: {result['report']}")
        for command in result["next"]:
            out.print(f"  next: {command}")
        offer_screen(folder, password)

    return Output(result, print_result)


def evaluate(dataset: Path, page: Path, progress: ProgressCallback, model: str = "default") -> dict[str, Any]:
    """Evaluate a model on the rendered dataset's test identities and write the page."""
    from vestigo.datasets.recognise import load_dataset
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo.evaluation.ranking import EvaluationOptions
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.inference.package import ModelPackage

    package = ModelPackage.from_pretrained(model)
    loaded = load_dataset(dataset)
    evaluation = evaluate_model(loaded, Extractor(package), EvaluationOptions(), lambda _: progress)
    facts = {"Dataset": "rendered people", "Model": f"{package.name} ({package.digest[:12]})"}
    write_evaluation_page(page, loaded, [(package, evaluation)], None, facts, "cross-camera", device="cpu")
    metrics, attributes = evaluation.metrics, evaluation.attributes
    mean = None if attributes is None else attributes.metrics.official_mean
    return {"mAP": metrics.mAP, "rank1": metrics.cmc[1], "attributes": mean}


def search_best_crop(store: opts.OpenStore, run: str, page: Path) -> str | None:
    """Search for the best crop of the longest tracklet of a run, write the page, return the crop; None without any."""
    from vestigo.retrieval.query import Query
    from vestigo.retrieval.search import search_query

    crops: dict[str, list[tuple[float, str]]] = {}
    for row in crops_of_run(store, run, ["crop_id", "tracklet", "quality"]):
        crops.setdefault(row["tracklet"], []).append((row["quality"], row["crop_id"]))
    if not crops:
        return None
    longest = max(crops, key=lambda tracklet: (len(crops[tracklet]), tracklet))
    _, query = max(crops[longest])
    result = search_query(store, Query(crops=(query,)), top=20)
    write_page(page, make_page(store, result, {}, crops=[query]))
    return query


def write_report(store: opts.OpenStore, folder: Path, run: str, figures: Mapping[str, Any], query: str | None) -> Path:
    """Write the page that links the others and return its path."""
    from vestigo.reports.page import render

    strips, total = read_strips(store, run, limit=24)
    cards = {
        "tracklets in the footage": str(total),
        "mAP": f"{figures['mAP']:.1f} %",
        "Rank-1": f"{figures['rank1']:.1f} %",
    }
    if figures["attributes"] is not None:
        cards["Attributes right"] = f"{figures['attributes']:.1f} %"
    links = {"evaluation.html": "quality of the ranking, with good and bad examples"}
    if query is not None:
        links["search.html"] = "search for one person in the whole archive"
    page = folder / "report.html"
    facts = {"Store": str(folder / "store"), "Footage": str(folder / "archive" / "videos")}
    commands = next_commands(folder, query)
    write_page(page, render("demo.html", rows=strips, facts=facts, figures=cards, links=links, commands=commands))
    return page


def next_commands(folder: Path, query: str | None) -> list[str]:
    """Return commands to continue with."""
    store = ("--store", folder / "store")
    search = [command_line("search", query, *store, "--html", "result.html")] if query is not None else []
    return [*search, command_line("ui", *store, "--users", folder / USERS), command_line("store", "check", *store)]
