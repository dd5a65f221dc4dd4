"""The base class of configurations and records that are read from files."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A constant record; unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
