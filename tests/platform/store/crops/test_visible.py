"""The snapshot and the state of a store change with what readers see, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.fake_pipeline import MODEL, begin, crop, crop_table, images, index
from vestigo.store.open import Store
from vestigo.store.runs.records import InputOutcome

NAMES = ("a", "b")


def add(store: Store, names: tuple[str, ...], fingerprint: str, *, shown: bool = True) -> str:
    """Index images, in place of what other fingerprints hold of them; their crops tell the fingerprints apart."""
    run = begin(store, fingerprint=fingerprint, replaces=True)
    store.shards.plan(run.id, [images(*names)])
    (task,) = store.shards.pending(run.id, limit=1)
    rows = crop_table([crop(name, quality=float(fingerprint[0] == "e")) for name in names])
    file = store.root.write("crops", run.id, task.id, rows)
    store.shards.commit(
        task.id, files=[file], outcomes=[InputOutcome(place, "done", rows=1) for place in range(len(names))]
    )
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "succeeded" if shown else "failed")
    return run.id


def test_snapshot_and_state_change_with_visible_rows(store_ref: Path) -> None:
    with Store.open(store_ref) as store:
        seen = [(store.crops.snapshot(), store.crops.state())]
        add(store, NAMES, "f" * 64)
        seen.append((store.crops.snapshot(), store.crops.state()))
        store.cameras.set_clock_offset(crop("a")["camera"], 1.5)
        seen.append((store.crops.snapshot(), store.crops.state()))
        # The new file takes the place of rows, and then of the rest of the file.
        add(store, NAMES[:1], "e" * 64)
        seen.append((store.crops.snapshot(), store.crops.state()))
        add(store, NAMES[1:], "d" * 64)
        seen.append((store.crops.snapshot(), store.crops.state()))
        snapshots, states = zip(*seen, strict=True)
        assert len(set(snapshots)) == len(set(states)) == len(seen)
        assert all(len(digest) == 64 for digest in snapshots)


def test_snapshot_is_equal_while_visible_rows_are(store_ref: Path) -> None:
    with Store.open(store_ref) as store:
        add(store, NAMES, "f" * 64)
        before, state = store.crops.snapshot(), store.crops.state()
        store.cameras.set_clock_offset(crop("a")["camera"], 1.5)
        store.cameras.set_clock_offset(crop("a")["camera"], 0)
        add(store, NAMES, "e" * 64, shown=False)
        store.audit.record("ana", "view", details={})
        store.models.register("c" * 64, name="idle", location="nowhere")
        assert store.crops.snapshot() == before
        store.vacuum(now=True)
        assert store.crops.snapshot() == before
        assert store.crops.state() == state


def test_snapshot_is_independent_of_location_and_order(tmp_path: Path) -> None:
    index(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    for name, order in (("two", NAMES), ("three", NAMES[::-1])):
        with Store.open(tmp_path / name) as store:
            for letter in order:
                run = begin(store, model=MODEL)
                store.shards.plan(run.id, [images(letter)])
                (task,) = store.shards.pending(run.id, limit=1)
                file = store.root.write("crops", run.id, task.id, crop_table([crop(letter)]))
                store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(0, "done", rows=1)])

    def snapshot(name: str) -> str:
        with Store.open(tmp_path / name) as store:
            return store.crops.snapshot()

    assert snapshot("one") == snapshot("copy") != snapshot("two") == snapshot("three")
