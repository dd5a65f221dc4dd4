"""What a user asks of a regions run: the label maps of the crops that another run left in the store."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vestigo_models.fls.config import FlsConfig
from vestigo_models.parsing.label_maps import LABEL_SETS
from vestigo_workers.executors.pool import ExecutorName
from vestigo_workers.indexing.request import absolute

REGIONS_SCHEMA_VERSION = 1


class RegionsRequest(BaseModel):
    """Everything `vestigo regions --store` can be told that a later `vestigo runs resume` has to know.

    Attributes:
        run: the run whose crops are labelled.
        parser: as `make_parser` takes it; folders and files with their whole path.
        label_map: regions of the classes that the parser does not name.
        model: whose features FLS clusters: `default`, a package folder or `hub:ID`; None for the parser alone.
        fls: keys of FLS.
        executor: `inline`, `ray`, or `auto` (Ray where several shards can run side by side).
        actors: Ray actors; by default one a GPU share or one a CPU.
        gpus_per_actor: share of a GPU an actor is pinned to.
        device: where the networks run: `auto`, `cpu`, `cuda`.
        shard_size: crops a shard, at most; a tracklet is never cut.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    parser: str = "default"
    label_map: dict[str, str] | None = None
    model: str | None = None
    fls: FlsConfig = FlsConfig()
    executor: ExecutorName = "auto"
    actors: int | None = Field(default=None, ge=1)
    gpus_per_actor: float | None = Field(default=None, ge=0)
    device: str = "auto"
    shard_size: int = Field(default=256, ge=1)

    @field_validator("parser")
    @classmethod
    def _parser_from_anywhere(cls, parser: str) -> str:
        """A run is resumed from another folder than it was begun in."""
        kind, colon, rest = parser.partition(":")
        place, _, labels = rest.rpartition(":")
        if kind == "schp" and place and labels in LABEL_SETS:
            return f"{kind}:{_whole(place)}:{labels}"
        return f"{kind}{colon}{_whole(rest)}" if rest else parser

    @field_validator("model")
    @classmethod
    def _model_from_anywhere(cls, model: str | None) -> str | None:
        return None if model is None else absolute(model)


def _whole(place: str) -> str:
    return str(Path(place).resolve()) if Path(place).exists() else place
