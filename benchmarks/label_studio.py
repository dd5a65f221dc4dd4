"""Pushing to and pulling from a real Label Studio server, compared with its bare SDK.

    python -m benchmarks.label_studio [--tasks 10000] [--answers 1000]

Both sides send the same tasks, 50 a request, with small pictures inside them, to one server, which is started for this
and installed if need be. The peer sends requests and lists what is there, as the SDK's documentation shows it: it keeps
nothing, repeats nothing, looks for nothing that came twice. Each step runs in a process of its own, whose peak memory
counts (VmHWM; `getrusage` begins with that of the process that started it), beyond that of a process which has only
imported what the steps use.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from label_studio_sdk import LabelStudio

from tests.support.label_studio import annotate, open_store, record_sample, render_images, stored_remote_ids
from tools import label_studio
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.form import build_form, build_prediction, build_task_data
from vestigo.review.label_studio.images import InlineImages
from vestigo.review.label_studio.pull import pull
from vestigo.review.label_studio.push import CHUNK, push_tasks
from vestigo_models.schemas.builtin import MARKET_1501

PROJECT, PEER = "ours", "bare SDK"


def nothing(folder: Path, url: str, token: str) -> int:
    with open_store(folder), LabelStudioClient.connect(url, token):
        return 0


def our_push(folder: Path, url: str, token: str) -> int:
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        return push_tasks(store, studio, PROJECT, render_images, InlineImages()).created


def push_again(folder: Path, url: str, token: str) -> int:
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        return push_tasks(store, studio, PROJECT, render_images, InlineImages()).tasks


def our_pull(folder: Path, url: str, token: str) -> int:
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        return pull(store, studio, PROJECT).reviewed


def peer_push(folder: Path, url: str, token: str) -> int:
    client = LabelStudio(base_url=url, api_key=token)
    project = client.projects.create(title=PEER, label_config=build_form(MARKET_1501)).id
    count = 0
    with open_store(folder) as store:
        for page in store.review.tasks(PROJECT, rows=CHUNK):
            request: list[Any] = []
            for task, jpeg in zip(page, render_images(page), strict=True):
                shares = task.prediction
                data = build_task_data(MARKET_1501, shares, InlineImages().save(task.key, jpeg), "")
                request.append({"data": data, "predictions": [build_prediction(MARKET_1501, shares, "m")]})
            count += client.projects.import_tasks(project, request=request).task_count
    return count


def peer_pull(_: Path, url: str, token: str) -> int:
    client = LabelStudio(base_url=url, api_key=token)
    project = next(one.id for one in client.projects.list(title=PEER))
    tasks = client.tasks.list(project=project, fields="all", page_size=500)
    return sum(bool(task.annotations) for task in tasks)


def answer_some(folder: Path, url: str, token: str, count: int) -> None:
    annotation = {attribute.name: attribute.values[0] for attribute in MARKET_1501.attributes}
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        project = next(one.id for one in studio.sdk.projects.list(title=PEER))
        theirs = (task.id for task in studio.sdk.tasks.list(project=project, include="id", page_size=500))
        ours = iter(stored_remote_ids(store, PROJECT).values())
        for _, one, other in zip(range(count), ours, theirs, strict=False):
            annotate(studio, one, annotation)
            annotate(studio, other, annotation)


def measured(work: Callable[..., int], *where: object) -> tuple[int, float, float]:
    """What a step did, seconds, and the peak memory of its process in MB."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[int, float, float]] = context.Queue()
    process = context.Process(target=_measure, args=(work, where, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def _measure(work: Callable[..., int], where: tuple[object, ...], queue: Any) -> None:
    started = time.perf_counter()
    count = work(*where)
    seconds = time.perf_counter() - started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    queue.put((count, seconds, int(status["VmHWM"].split()[0]) / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, token = Path(folder) / "server", secrets.token_hex(20)
        with (
            open_store(Path(folder)) as store,
            label_studio.running(
                label_studio.install(),
                data,
                port=label_studio.free_port(),
                user="ana@example.org",
                password=secrets.token_hex(8),
                token=token,
            ) as server,
        ):
            record_sample(store, PROJECT, args.tasks)
            where = (Path(folder), server.url, token)
            floor = measured(nothing, *where)[2]
            steps: list[tuple[str, Callable[..., int]]] = [
                ("push", our_push),
                ("bare SDK: import", peer_push),
                ("push again", push_again),
            ]
            pulls: list[tuple[str, Callable[..., int]]] = [
                ("pull", our_pull),
                ("bare SDK: list", peer_pull),
                ("pull again", our_pull),
            ]
            print(f"{args.tasks} tasks, {args.answers} answered; a process with nothing to do: {floor:.0f} MB")
            for name, work in steps:
                show(name, args.tasks, *measured(work, *where), floor)
            answer_some(*where, args.answers)
            for name, work in pulls:
                show(name, args.tasks, *measured(work, *where), floor)


def show(name: str, tasks: int, count: int, seconds: float, memory: float, floor: float) -> None:
    speed = f"{tasks / seconds:7.0f} tasks/s  {seconds:6.1f} s"
    print(f"{name:18} {count:6d}  {speed}  +{memory - floor:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
