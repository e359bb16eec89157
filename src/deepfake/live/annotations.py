"""What a watch says of a stream, row by row: the values, and their lines of JSON.

`Row.to_line()` is one line of the annotations, `schema()` describes it. A new fact is a field with a description here;
`schema_version` is raised whenever a key goes or changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema

from deepfake.detector.check import Verdict
from deepfake.values import Probability, Seconds, Value

Kind = Literal["update", "gap", "notice", "end"]


class LiveFace(Value):
    """One face in the newest frame."""

    person: int = Field(ge=0, description="Who it is, by first appearance from 0.")
    track: int = Field(ge=0, description="One face in one shot.")
    box_px: tuple[float, float, float, float] = Field(description="x0 y0 x1 y1 in the picture of this row.")
    is_carried: bool = Field(description="Whether the box was carried on from an earlier frame, not detected in this.")
    score: Probability | None = Field(description="Of the newest crop of this track that was scored; null before one.")


class LivePerson(Value):
    """What is known by now of one person."""

    person: int = Field(ge=0)
    verdict: Verdict = Field(description="Over all that was seen; inconclusive at first.")
    recent: Probability | None = Field(description="p_fake of the last 10 s; null where nothing was scored in them.")
    overall: Probability | None = Field(description="p_fake of all that was seen; null before the first score.")
    is_alarmed: bool = Field(description="Whether the recent score is, or was until lately, above the band.")
    alarmed_since_s: Seconds | None = Field(description="Since when; null without an alarm.")
    first_seen_s: Seconds
    last_seen_s: Seconds
    n_scored: int = Field(ge=0, description="Crops that were scored.")
    reason: str | None = Field(None, description="What is too little for a verdict, in words; null otherwise.")


class Row(Value):
    """One line: an update; a gap, where nothing came; a notice, such as a change of size; or the end.

    `time_s` is the stream's own time, from 0 at the first frame, across gaps and reconnections; `frame` counts all
    frames that were decoded.
    """

    schema_version: Literal[1] = 1
    kind: Kind
    time_s: Seconds
    clock: str = Field(description="Wall clock when this was known: ISO 8601 with its offset from UTC.")
    frame: int = Field(ge=0)
    width_px: int = Field(ge=0, description="Of the upright picture; 0 before the first frame.")
    height_px: int = Field(ge=0)
    faces: tuple[LiveFace, ...] = ()
    persons: tuple[LivePerson, ...] = Field(
        (), description="Who was seen in the last minute; in the row of the end everybody."
    )
    latency_ms: float | None = Field(None, ge=0, description="Age of the frame when its row was known; null without.")
    n_dropped: int = Field(0, ge=0, description="Frames that came and were not looked at, by now.")
    seconds: Seconds | None = Field(None, description="How long a gap lasted; null in other rows.")
    reason: str | None = Field(None, description="What happened, in words; null in updates.")

    def to_line(self) -> str:
        """The row as one line of JSON, without its end."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Row:
        """The row that a line was written from; pydantic's ValidationError where it is none of this version."""
        return cls.model_validate(json.loads(line))


def schema() -> Mapping[str, object]:
    """The JSON schema of a row."""
    made = Row.model_json_schema(mode="serialization")
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": "deepfake watch, version 1: one row"}
