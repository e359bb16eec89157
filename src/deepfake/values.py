"""Bases of the values that travel: frozen, and nothing unknown or not a number in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


Seconds = Annotated[float, Field(ge=0)]


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Value(BaseModel):
    """Base of a check's parts: frozen, and nothing unknown or not a number in them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
        defer_build=True,  # a process that reads a video makes no check
    )
