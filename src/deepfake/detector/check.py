"""All that is known of one checked video, as one frozen value; its JSON and that JSON's schema are made from the types.

`Check.to_json()` is what `deepfake check --json` writes, `schema()` what `--schema` prints. A new fact is a
field with a description here; `Check.schema_version` is raised whenever a key goes or changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema

from deepfake.ensemble.promise import Promise
from deepfake.media.file_facts import VideoFacts
from deepfake.models.engine import Engine
from deepfake.values import Probability, Seconds, Sha256, Value

Verdict = Literal["likely forged", "likely real", "inconclusive", "no face found", "could not be read"]
FORGED: Verdict = "likely forged"
REAL: Verdict = "likely real"
INCONCLUSIVE: Verdict = "inconclusive"
NO_FACE: Verdict = "no face found"
UNREADABLE: Verdict = "could not be read"
VERDICTS = (FORGED, REAL, INCONCLUSIVE, NO_FACE, UNREADABLE)
STANDS_FOR_S = 0.5  # a frame stands for so much before and after it
SPAN_GAP_S = 1.5  # seconds of one suspicious span lie no further apart


def level_of(p_fake: float, low: float, high: float) -> Verdict:
    """On which side of the inconclusive band a probability lies; a score on a bound is inconclusive."""
    return FORGED if p_fake > high else REAL if p_fake < low else INCONCLUSIVE


class CheckedFile(Value):
    """The file as it lies there."""

    path: str = Field(description="As it was given.")
    name: str
    sha256: Sha256 | None = Field(description="None where it could not be read to its end, or changed meanwhile.")
    size_bytes: int = Field(ge=0)


class Band(Value):
    """Above high is likely forged, below low likely real."""

    low: Probability
    high: Probability

    def level_of(self, p_fake: float) -> Verdict:
        """On which side of the band a probability lies."""
        return level_of(p_fake, self.low, self.high)


class DetectorFacts(Value):
    """The detector that judged."""

    name: str
    weights_sha256: Sha256
    about: dict[str, Any] = Field(description="What the detector's file says of its making, such as commit and run.")
    calibration: Literal["none", "temperature", "platt"]
    n_calibration_videos: int = Field(ge=0)
    error_rate: float = Field(
        description="Share of wrong ones that is allowed: with a promise, of each verdict on other sources; without, "
        "of the reals and of the fakes like its calibration videos."
    )
    fake_share: float | None = Field(description="Share of fakes the calibration expects; null: that of its videos.")
    min_track_frames: int = Field(description="Shorter tracks count only where there is no longer one.")
    max_tracks: int = Field(description="So many tracks are kept, the longest and largest.")
    promise: Promise | None = Field(
        None,
        description="What its verdicts were worth on sources it never learnt from; null where that was never tested.",
    )


class SearchedFrames(Value):
    """Frames of a long video in which faces were searched first, to sample it where they are."""

    n_frames: int = Field(ge=1)
    gap_s: Seconds = Field(description="The longest time between two of them: who is seen for longer was looked at.")
    n_appearances: int = Field(ge=0, description="Faces found there, shot by shot.")
    n_judged: int = Field(ge=0, description="Appearances that got frames of their own.")
    missed: tuple[str, ...] = Field(description="What this may have missed, in words; empty where it is nothing.")


class LookedAt(Value):
    """The sampled frames, in which faces were searched: of the video stream that stands for the file."""

    n_frames: int = Field(description="Sampled frames, in which faces were searched.")
    n_damaged_frames: int = Field(description="Left out beside them; among them if `is_damaged`.")
    is_damaged: bool = Field(
        False,
        description="Whether the undamaged frames show no face, so that damaged ones were taken: no verdict then.",
    )
    turned: Literal[0, 90, 180, 270] = Field(
        0, description="Clockwise degrees by which the picture was turned against what players show, to find its faces."
    )
    times_s: tuple[Seconds, ...]
    unseen_s: tuple[tuple[Seconds, Seconds], ...] = Field(
        description="Parts [from, to] further than half a second from every sampled frame."
    )
    decoder: str
    decoder_reason: str
    search: SearchedFrames | None = Field(None, description="null where frames were spread over the whole video.")


class SecondScore(Value):
    """The score of a track's frames of one second together."""

    second: int = Field(ge=0)
    p_fake: Probability
    n_frames: int = Field(ge=1)


class Span(Value):
    """Successive seconds above the band, from their first to their last frame."""

    from_s: Seconds
    to_s: Seconds
    n_frames: int
    p_fake_max: Probability


class FrameScore(Value):
    """One frame of a track."""

    frame: int = Field(ge=0, description="In display order.")
    time_s: Seconds
    box_px: tuple[float, float, float, float]
    score: Probability


class CheckedTrack(Value):
    """One face in one shot, judged."""

    track: int = Field(ge=0, description="One face in one shot; the number is the file's own, over all its streams.")
    person: int | None = Field(
        None,
        ge=0,
        description="Tracks of one number look like one person, by first appearance from 0; null where faces were not "
        "compared. No score depends on it.",
    )
    p_fake: Probability
    counts: bool = Field(description="Whether it is long enough to be judged by.")
    decides: bool = Field(description="Whether it speaks most for a forgery of those that count.")
    judged_with: tuple[int, ...] = Field(
        description="Tracks of other shots, each too short alone, that it was judged with; p_fake is of all of them."
    )
    trust: Probability = Field(
        description="1, or less where the face is small or blurred: the share of the way from the prior to what the "
        "networks say."
    )
    from_s: Seconds
    to_s: Seconds
    n_frames: int = Field(ge=1)
    seconds: tuple[SecondScore, ...] = Field(description="Seconds with a frame; p_fake of their mean logit.")
    suspicious: tuple[Span, ...] = Field(
        description="Parts of seconds above the band, from their first to their last frame."
    )
    frames: tuple[FrameScore, ...]


class CheckedStream(Value):
    """One video stream of the file. A player shows one of them, but all that move are looked at."""

    stream: int = Field(ge=0, description="Its number among all streams of the file, as ffprobe counts them.")
    codec: str
    width_px: int
    height_px: int
    n_frames: int
    from_s: Seconds
    to_s: Seconds
    is_looked_at: bool
    reason: str | None = Field(description="Why it was not looked at; null where it was.")
    n_sampled: int
    unseen_s: tuple[tuple[Seconds, Seconds], ...] = Field(description="See looked_at.")
    n_tracks: int
    p_fake: Probability | None = Field(description="Of its worst track that counts; null where none does.")
    decides: bool = Field(description="Whether the file's p_fake is that of a track of this stream.")


class Shot(Value):
    """A stretch of a video stream without a cut; shots of further streams are numbered on."""

    shot: int = Field(ge=0)
    stream: int = Field(0, ge=0, description="The video stream that it is of: see streams.")
    from_s: Seconds
    to_s: Seconds
    tracks: tuple[CheckedTrack, ...]


class Sign(Value):
    """Something that was seen beside the score, and that p_fake does not depend on."""

    kind: str = Field(
        pattern=r"^[a-z_]+\.[a-z_]+$",
        description="What was looked at and what was found there, such as sound.late; the first word groups them.",
    )
    finding: str = Field(min_length=1, description="In one sentence.")
    strength: Probability = Field(description="How clear it is; 0 where nothing was found, or could not be looked for.")
    from_s: Seconds | None = Field(description="Where it begins; null where it is of the whole file.")
    to_s: Seconds | None = Field(description="Where it ends; null where it is of the whole file.")
    about: str = Field(min_length=1, description="What it cannot tell.")


class Check(Value):
    """What `deepfake check` says of one video.

    Keys stand in this order. Seconds are the file's presentation times, which players show; boxes are x0 y0 x1 y1 in
    full-frame pixels of their stream's picture as players show it; probabilities and scores are calibrated and lie in
    0..1.
    """

    schema_version: Literal[4] = 4
    file: CheckedFile
    verdict: Verdict
    exit_code: Literal[0, 3, 4, 5] = Field(description="Of this video alone.")
    reason: str | None = Field(description="Why there is no score, or none that a verdict may rest on; else null.")
    p_fake: Probability | None = Field(
        description="Of the whole video, by all faces that count: with many, one of them must stand out. null without "
        "a score."
    )
    n_faces_counted: int = Field(
        ge=0, description="So many faces were judged, tracks that were judged together being one."
    )
    inconclusive_band: Band
    detector: DetectorFacts
    engine: Engine | None = Field(None, description="What ran its networks; null where none was asked.")
    video: VideoFacts | None = Field(description="The file; null where it could not be read.")
    looked_at: LookedAt | None = Field(description="null where the file could not be read.")
    streams: tuple[CheckedStream, ...] = Field(
        (),
        description="All video streams; looked_at and video are of the first. Empty where the file could not be read.",
    )
    shots: tuple[Shot, ...]
    evidence: tuple[Sign, ...] | None = Field(
        None, description="What else is known of the file; no score depends on it. null where it was not asked for."
    )

    @property
    def tracks(self) -> list[tuple[Shot, CheckedTrack]]:
        """All tracks with their shots, in the order of the tracks' numbers."""
        pairs = [(shot, track) for shot in self.shots for track in shot.tracks]
        return sorted(pairs, key=lambda pair: pair[1].track)

    def to_json(self, indent: int | None = 1) -> str:
        """The documented JSON of one video."""
        return json.dumps(self.plain(), indent=indent)

    def plain(self) -> Mapping[str, object]:
        """The same as lists and dicts, for a JSON of several videos."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, text: str) -> Check:
        """The check a JSON was written from; pydantic's ValidationError where it is none of this version."""
        return cls.model_validate(json.loads(text))


class _WithoutTitles(GenerateJsonSchema):
    """Pydantic's schema without a title that repeats the name of each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> Mapping[str, object]:
    """The JSON schema of a check."""
    made = Check.model_json_schema(mode="serialization", schema_generator=_WithoutTitles)
    title = f"deepfake check, version {Check.model_fields['schema_version'].default}: what it says of one video"
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": title}
