"""The store of one archive: a SQL catalogue, Parquet files, and one repository for each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from sqlalchemy.exc import DBAPIError

from vestigo.store.location import Location, locate, without_secrets
from vestigo.store.runs.repository import RunRepository
from vestigo.store.sql.database import Database
from vestigo.store.sql.migrate import migrate, open_schema
from vestigo_models.errors import StoreError, StoreUnavailable, first_line
from vestigo_models.progress import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from vestigo.store.audit.log import AuditRepository
    from vestigo.store.audit.verdicts import VerdictRepository
    from vestigo.store.crops.cameras import CameraRepository
    from vestigo.store.crops.repository import CropRepository, RegionRepository
    from vestigo.store.crops.visible import CropSelection
    from vestigo.store.maintenance.check import CheckReport
    from vestigo.store.maintenance.export import ExportReport
    from vestigo.store.maintenance.mot import MotFile
    from vestigo.store.maintenance.vacuum import VacuumReport
    from vestigo.store.models.repository import ModelRepository
    from vestigo.store.parquet.files import DataRoot
    from vestigo.store.rankings.repository import RankingRepository
    from vestigo.store.review.annotations import AnnotationRepository
    from vestigo.store.review.repository import LabelSetRepository, ReviewRepository
    from vestigo.store.runs.shards import ShardRepository


def _repository(module: str, name: str, *, with_files: bool = False) -> Any:
    """Return a property that imports a repository on first use: commands that only read the catalogue stay light."""

    def make(store: Store) -> Any:
        repository = getattr(import_module(f"vestigo.store.{module}"), name)
        return repository(store.database, store.root) if with_files else repository(store.database)

    return cached_property(make)


class Store(AbstractContextManager["Store"]):
    """An open store; safe to use from several threads and processes.

    Attributes:
        ref: Absolute folder or TOML file, with which another process opens the same store.
        data: Path or URI of the data root; it may hold credentials.
        database: Connections to the catalogue.
    """

    shards: ShardRepository = _repository("runs.shards", "ShardRepository", with_files=True)
    crops: CropRepository = _repository("crops.repository", "CropRepository", with_files=True)
    regions: RegionRepository = _repository("crops.repository", "RegionRepository", with_files=True)
    cameras: CameraRepository = _repository("crops.cameras", "CameraRepository")
    models: ModelRepository = _repository("models.repository", "ModelRepository")
    rankings: RankingRepository = _repository("rankings.repository", "RankingRepository", with_files=True)
    review: ReviewRepository = _repository("review.repository", "ReviewRepository", with_files=True)
    annotations: AnnotationRepository = _repository("review.annotations", "AnnotationRepository")
    label_sets: LabelSetRepository = _repository("review.repository", "LabelSetRepository", with_files=True)
    audit: AuditRepository = _repository("audit.log", "AuditRepository")
    verdicts: VerdictRepository = _repository("audit.verdicts", "VerdictRepository")

    def __init__(self, location: Location, database: Database) -> None:
        self.ref = location.ref
        self.data = location.data
        self.database = database
        self.runs = RunRepository(database)
        self._location = location

    @cached_property
    def root(self) -> DataRoot:
        """Reads and writes files below the data root."""
        from vestigo.store.parquet.files import DataRoot

        return DataRoot(self.data)

    @classmethod
    def open(cls, ref: str | Path, *, create: bool = True) -> Self:
        """Open the store in a folder or behind a TOML file, with `create` a new one where there is none.

        Raises:
            StoreError: If `ref` is not a store, the database does not answer, or the schema is older or newer.
        """
        location = locate(ref, create=create)
        with _connected(location) as database:
            store = cls(location, database)
            open_schema(database, location, store._claim_data)
        return store

    @staticmethod
    def migrate(ref: str | Path) -> tuple[str | None, str]:
        """Migrate a store to the schema of this version; return the revisions before and after.

        Raises:
            StoreError: If `ref` is not a store, the database does not answer, or the schema is newer.
        """
        location = locate(ref, create=False)
        with _connected(location) as database:
            revisions = migrate(database, location)
        database.close()
        return revisions

    def describe(self) -> str:
        """Return database and data root, without credentials."""
        return self._location.describe()

    def close(self) -> None:
        """Close the database connections."""
        self.database.close()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def check(self, progress: ProgressCallback = ignore_progress) -> CheckReport:
        """Verify every file, row and count; `progress` is called with the files done and all files."""
        from vestigo.store.maintenance.check import check

        return check(self.database, self.root, progress)

    def vacuum(self, *, dry_run: bool = False, now: bool = False) -> VacuumReport:
        """Delete retired and unreferenced files that are older than an hour, or with `now` of any age."""
        from vestigo.store.maintenance.vacuum import vacuum

        return vacuum(self.database, self.root, dry_run=dry_run, now=now)

    def export_market(
        self,
        out: Path,
        *,
        before: Callable[[], None] = lambda: None,
        progress: ProgressCallback = ignore_progress,
        **selection: Unpack[CropSelection],
    ) -> ExportReport:
        """Write the crops of the serving model, else of the newest, in the Market-1501 layout; see `export_market`."""
        from vestigo.store.crops.visible import CropFilter
        from vestigo.store.maintenance.export import export_market

        reader = self.crops.reader(self.models.with_crops()[0].digest, CropFilter(**selection))
        return export_market(reader, out, progress, before)

    def export_mot(
        self,
        out: Path,
        *,
        cameras: Collection[str] | None = None,
        before: Callable[[], None] = lambda: None,
        progress: ProgressCallback = ignore_progress,
    ) -> list[MotFile]:
        """Write the tracklets of every video as text in MOT form; see `export_mot`."""
        from vestigo.store.maintenance.mot import export_mot

        return export_mot(self.database, self.root, out, cameras=cameras, before=before, progress=progress)

    def person_numbers(self, ids: Collection[str]) -> dict[str, int]:
        """Return by crop id the identity numbers of `export_market`; without crops that have none."""
        from vestigo.store.maintenance.export import person_numbers

        return person_numbers(self.crops.reader(self.models.with_crops()[0].digest), ids)

    def _claim_data(self) -> None:
        # Two catalogues over one data root would delete each other's files as unreferenced.
        self.root.folder.make()
        if next(self.root.folder.walk(), None) is not None:
            where = without_secrets(self.data)
            raise StoreError(f"data {where} holds files already and the catalogue is new: name an empty place")


@contextmanager
def _connected(location: Location) -> Iterator[Database]:
    """Connect to the catalogue; the connections are closed if the block raises."""
    database = Database(location.database)
    try:
        yield database
    except BaseException as error:
        database.close()
        if isinstance(error, StoreUnavailable):
            raise StoreError(f"store {location.ref}: {error}") from error
        if isinstance(error, DBAPIError):
            reason = first_line(error.orig or error)
            raise StoreError(f"store {location.ref}: {location.describe()} does not answer: {reason}") from error
        raise
