"""Sums of descriptors by camera, kept for each file of crops so that a search reads only new files."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from sqlite3 import Connection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.ranking.camera_bias import CameraSums, sum_by_camera
from vestigo.sightings.database import IndexFile
from vestigo.sightings.refresh import file_state, first_batch
from vestigo.store.crops.repository import CropRepository
from vestigo.store.crops.visible import VisibleFile
from vestigo.store.faults import fault_point
from vestigo.store.models.records import Model
from vestigo.store.parquet.descriptors import descriptors_of
from vestigo_models.arrays import Float64Array
from vestigo_models.progress import ProgressCallback

COLUMNS = ("camera", "tracklet", "embedding", "visible")


def read_camera_sums(
    crops: CropRepository, index: IndexFile, model: Model, progress: ProgressCallback
) -> dict[Hashable, CameraSums]:
    """Return the sums of the visible crops of a model by camera, with progress in crops that are read for it.

    A tracklet has weight 1, shared by its crops, as has a crop without one. Files are read once; each transaction adds
    some of them, so a process that dies loses nothing that was committed. Memory is that of a few row groups.
    """
    done = 0
    while True:
        visible = [file for file in crops.files() if file.model == model.digest]
        with index.read() as connection:
            outdated = _outdated(connection, visible)
            if not outdated:
                return _total(connection, model.digest, visible)
        with index.write() as connection:
            outdated = _outdated(connection, visible)
            batch = list(first_batch(outdated))
            _drop(connection, model.digest, visible)
            for file in batch:
                _add(connection, file, _sum_file(crops, file, model))
                fault_point("camera-sums.file")
        done += sum(file.rows for file in batch)
        progress(done, done + sum(file.rows for file in outdated[len(batch) :]))


def _sum_file(crops: CropRepository, file: VisibleFile, model: Model) -> dict[Hashable, CameraSums]:
    tracklets = [batch.column(0) for batch in crops.scan_file(file, ("tracklet",))]
    lengths = pa.chunked_array(tracklets, pa.string()).value_counts()
    names, counts = lengths.field("values"), lengths.field("counts").to_numpy()
    sums: dict[Hashable, CameraSums] = {}
    for batch in crops.scan_file(file, COLUMNS):
        descriptors = descriptors_of(batch.column("embedding"), batch.column("visible"), model.facts)
        weights = _weights(batch.column("tracklet"), names, counts)
        for camera, more in sum_by_camera(descriptors, weights, batch.column("camera")).items():
            sums[camera] = sums[camera] + more if camera in sums else more
    return sums


def _weights(tracklets: pa.Array, names: pa.Array, counts: Sequence[int]) -> Float64Array:
    lengths = np.asarray(counts)[pc.index_in(tracklets, names).to_numpy()]
    return np.where(pc.equal(tracklets, "").to_numpy(zero_copy_only=False), 1.0, 1.0 / lengths)


def _outdated(connection: Connection, visible: Sequence[VisibleFile]) -> list[VisibleFile]:
    known = dict(connection.execute("SELECT id, state FROM summed_file"))
    return [file for file in visible if known.get(file.id) != file_state(file)]


def _drop(connection: Connection, model: str, visible: Sequence[VisibleFile]) -> None:
    states = {file.id: file_state(file) for file in visible}
    for number, state in connection.execute("SELECT id, state FROM summed_file WHERE model = ?", (model,)).fetchall():
        if states.get(number) != state:
            connection.execute("DELETE FROM camera_sum WHERE file = ?", (number,))
            connection.execute("DELETE FROM summed_file WHERE id = ?", (number,))


def _add(connection: Connection, file: VisibleFile, sums: dict[Hashable, CameraSums]) -> None:
    connection.execute("INSERT INTO summed_file VALUES (?, ?, ?)", (file.id, file_state(file), file.model))
    rows = [(file.id, camera, part.weights.tobytes(), part.vectors.tobytes()) for camera, part in sums.items()]
    connection.executemany("INSERT INTO camera_sum VALUES (?, ?, ?, ?)", rows)


def _total(connection: Connection, model: str, visible: Sequence[VisibleFile]) -> dict[Hashable, CameraSums]:
    ids = {file.id for file in visible}
    rows = connection.execute(
        "SELECT file, camera, weights, vectors FROM camera_sum JOIN summed_file ON summed_file.id = file"
        " WHERE model = ?",
        (model,),
    )
    sums: dict[Hashable, CameraSums] = {}
    for file, camera, weights, vectors in rows:
        # Files that are no longer visible are dropped when others are added.
        if file in ids:
            part = CameraSums(weights=np.frombuffer(weights, np.int64), vectors=np.frombuffer(vectors, np.int64))
            sums[camera] = sums[camera] + part if camera in sums else part
    return sums
