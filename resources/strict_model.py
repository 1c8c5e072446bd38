"""The base of every section of the configuration."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Unknown fields are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)
