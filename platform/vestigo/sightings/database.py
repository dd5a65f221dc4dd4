"""The tables of the browse index.

file ◄── sighting ◄── crop        rows of one file have consecutive numbers, so that they are deleted together
  └◄── presence                   a camera in one file: counts, and all times in order
"""

from pathlib import Path

from vestigo.store.index_file import IndexFile, derived_folder

VERSION = 5
TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE);
CREATE TABLE camera (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE file (id INTEGER PRIMARY KEY, state TEXT NOT NULL, model INTEGER NOT NULL,
  first_sighting INTEGER NOT NULL, sightings INTEGER NOT NULL, first_crop INTEGER NOT NULL, crops INTEGER NOT NULL);
CREATE TABLE presence (file INTEGER NOT NULL, model INTEGER NOT NULL, camera INTEGER NOT NULL, crops INTEGER NOT NULL,
  sightings INTEGER NOT NULL, first INTEGER, last INTEGER, times BLOB NOT NULL, histogram BLOB NOT NULL);
CREATE INDEX presence_file ON presence (file);
CREATE INDEX presence_camera ON presence (model, camera, first, last, crops, sightings);
CREATE TABLE sighting (id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, model INTEGER NOT NULL,
  camera INTEGER NOT NULL, time INTEGER, offset_s REAL, tracklet TEXT NOT NULL, pid INTEGER, crop BLOB NOT NULL,
  first_crop INTEGER NOT NULL, crops INTEGER NOT NULL, classes BLOB NOT NULL, confidence BLOB NOT NULL);
CREATE INDEX sighting_browsed ON sighting (model, camera, time, crop, classes);
CREATE INDEX sighting_pid ON sighting (model, pid, camera, time, crop, crops, classes) WHERE pid IS NOT NULL;
CREATE TABLE crop (number INTEGER PRIMARY KEY, id BLOB NOT NULL, sighting INTEGER NOT NULL, place INTEGER NOT NULL,
  scene INTEGER NOT NULL);
CREATE INDEX crop_id ON crop (id);
"""


def index_path(ref: str) -> Path:
    """Return the path of a store's browse index."""
    return derived_folder(ref) / "browse.sqlite"


def open_index(ref: str) -> IndexFile:
    """Open the file of a store's browse index, empty if there is none yet."""
    return IndexFile(index_path(ref), TABLES, VERSION)
