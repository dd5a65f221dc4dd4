"""The browse index: what screens ask of a store of millions of crops, answered in milliseconds.

One SQLite file a store, made from the visible crop files and brought up to date with them; it may be deleted at any
time. No embeddings and no images are in it.

records                what it hands out
place, database        where the file lies, its tables and connections
grouping, filling      from crop files to rows of the index
choosing, sightings, presence, sureness   questions
index                  the door
archive                the store and its index together, as retrieval reads an archive
"""

from vestigo.browsing.index import BrowseIndex
from vestigo.browsing.records import EVERYBODY, CameraSummary, Choice, Sighting

__all__ = ["EVERYBODY", "BrowseIndex", "CameraSummary", "Choice", "Sighting"]
