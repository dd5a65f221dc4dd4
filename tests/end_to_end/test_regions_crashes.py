"""Killed at every fault point and begun again, a regions run ends with exactly the maps of an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.drawn_people import drawn, write_model, write_people
from vestigo.store.open import Store
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index
from vestigo_workers.regions.plan import RegionsRequest
from vestigo_workers.regions.run import label_run


def indexed(reference: Path, crops: Path) -> str:
    """Index a folder of crops; the id of the run."""
    request = IndexRequest(sources=(str(crops),), executor="inline", detector="none")
    with Store.open(reference) as store:
        return index(store, request, lambda name: lambda done, total: None).run.id


def maps(store: Store) -> dict[str, tuple[bytes, list[float]]]:
    return {row["crop_id"]: (row["labels"], row["areas"]) for b in store.regions.scan() for row in b.to_pylist()}


def test_regions_recovers_from_every_fault_point(tmp_path: Path, store_reference: Path) -> None:
    truths = {f"{index:03d}": drawn(bag=index % 2 == 0, shift=index % 5) for index in range(9)}
    crops = write_people(tmp_path / "crops", truths, tmp_path / "maps")
    (tmp_path / "maps" / "003.png").unlink()
    parser, model = f"labels:{tmp_path / 'maps'}", str(write_model(tmp_path / "model"))
    run = indexed(tmp_path / "calm", crops)
    with Store.open(tmp_path / "calm") as calm:
        request = RegionsRequest(run=run, parser=parser, model=model, executor="inline", shard_size=4)
        undisturbed = label_run(calm, request, lambda name: lambda done, total: None)
        expected = maps(calm)
    assert (len(expected), undisturbed.totals.quarantined) == (8, 1)

    run = indexed(store_reference, crops)
    command = [sys.executable, "-m", "tests.support.regions_crash_loop", str(store_reference), run, parser, model]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["deaths"] > 10
    with Store.open(store_reference) as store:
        report = store.check()
        assert report.intact, report.problems
        assert maps(store) == expected
        labelled = [listed for listed in store.runs.list() if listed.kind == "regions"]
        assert [listed.status for listed in labelled].count("succeeded") == 1
        assert store.runs.totals(labelled[-1].id) == undisturbed.totals
