"""The store: what an archive showed, which runs saw it, and what became of every input.

catalogue (SQLite or PostgreSQL)   tables, database, migrate      what must be true
files (Parquet, local or S3)       schema, folder, data_root      what grows with the archive
what crops mean                    facts, features
a run                              runs, leases, planning, work, deaths, retrying, replacing
review                             reviewing, review, review_answers, label_sets
models                             registry, registry_store
accountability                     auditing, audit_log, verdicts
readers                            visible, crops, regions, cameras, exporting
rankings                           ranking_store, rankings
care                               ledger, digest, checking, vacuuming, faults
"""

from vestigo.store.audit_records import (
    AuditAction,
    AuditEntry,
    AuditReport,
    Verdict,
    VerdictValue,
    query_key,
    shown_crops,
)
from vestigo.store.data_root import DataRoot
from vestigo.store.deaths import Fate
from vestigo.store.facts import ModelFacts
from vestigo.store.ranking_records import Ranking
from vestigo.store.records import (
    Camera,
    CheckReport,
    ExportReport,
    Failure,
    FailureCount,
    FileKind,
    FrameFailure,
    InputOutcome,
    InputPlan,
    InputState,
    Model,
    Owner,
    PlanResult,
    Promotion,
    Retried,
    Run,
    RunStatus,
    RunTotals,
    ShardKind,
    ShardPlan,
    ShardTask,
    StoredFile,
    VacuumReport,
    WrittenFile,
    status_text,
)
from vestigo.store.review_records import (
    Draw,
    LabelAnswer,
    LabelBatch,
    LabelProject,
    LabelSet,
    LabelTask,
    NewTask,
    TaskState,
    Unit,
)
from vestigo.store.store import Store

__all__ = [
    "AuditAction",
    "AuditEntry",
    "AuditReport",
    "Camera",
    "CheckReport",
    "DataRoot",
    "Draw",
    "ExportReport",
    "Failure",
    "FailureCount",
    "Fate",
    "FileKind",
    "FrameFailure",
    "InputOutcome",
    "InputPlan",
    "InputState",
    "LabelAnswer",
    "LabelBatch",
    "LabelProject",
    "LabelSet",
    "LabelTask",
    "Model",
    "ModelFacts",
    "NewTask",
    "Owner",
    "PlanResult",
    "Promotion",
    "Ranking",
    "Retried",
    "Run",
    "RunStatus",
    "RunTotals",
    "ShardKind",
    "ShardPlan",
    "ShardTask",
    "Store",
    "StoredFile",
    "TaskState",
    "Unit",
    "VacuumReport",
    "Verdict",
    "VerdictValue",
    "WrittenFile",
    "query_key",
    "shown_crops",
    "status_text",
]
